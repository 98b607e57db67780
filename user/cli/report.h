/* SPDX-License-Identifier: GPL-2.0-only */
/* What `cidsteer report` takes from other commands, and what it looks at besides. */
#ifndef CS_REPORT_H
#define CS_REPORT_H

#include <jansson.h>

#include "cli/view.h"

/* As the commands of these names: each prints, or makes JSON.  Returns 0 or a negative errno. */
json_t *workers_json(const struct view *view);
int workers_print(const struct view *view);
int counters_json(const struct view *view, json_t **json);
int counters_print(const struct view *view);
int status_report(const char *dir, json_t **json, struct error *error); /* @json NULL: prints */

/* Interfaces of this network namespace: driver and settings; @plane NULL: not what is at XDP. */
json_t *netdevs_json(const struct plane *plane);

#endif

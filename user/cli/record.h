/* SPDX-License-Identifier: GPL-2.0-only */
/* A record of one packet, of a trace or of the recorder, for people and as JSON. */
#ifndef CS_RECORD_H
#define CS_RECORD_H

#include <jansson.h>

#include "cli/view.h"
#include "core/watch.h"

/* "by_table"; "?" for what is none. */
const char *record_reason(__u32 reason);
/* The reason with this name, or 0: there is none that a packet can have. */
__u32 record_find_reason(const char *name, size_t len);

/* "unknown_cid", "stray" */
const char *record_kind(__u8 kind);

/* One line; with the date, if @date. */
void record_print(const struct view *view, const struct cs_record *record, bool date);
json_t *record_json(const struct view *view, const struct cs_record *record);

#endif

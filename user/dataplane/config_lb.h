/* SPDX-License-Identifier: GPL-2.0-only */
/* Between config.c and config_lb.c: the sections of a service whose IDs say who made them. */
#ifndef CS_CONFIG_LB_H
#define CS_CONFIG_LB_H

#include <confuse.h>

#include "dataplane/config.h"

/* Of quic_lb and of worker_key. */
extern cfg_opt_t config_lb_options[], config_key_options[];

/* Sets the hooks that check each of these options. */
void config_lb_watch(cfg_t *cfg);

/*
 * config_lb_take - what the sections of a service say, checked
 * @index:	of the service, whose own options have been taken
 *
 * A mistake is said by cfg_error(), with the line of the section's end: libconfuse knows no other.
 *
 * Returns 0 or a negative errno.
 */
int config_lb_take(cfg_t *service, struct config *config, unsigned int index);

/* What a hook returns of an option that is a number. */
int config_check_range(cfg_t *cfg, cfg_opt_t *opt, long least, long most);

#endif

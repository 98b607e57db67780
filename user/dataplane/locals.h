/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which addresses are local in a network namespace, for wildcards at XDP: its local routing table
 * in cs_locals and cs_prefixes.
 */
#ifndef CS_LOCALS_H
#define CS_LOCALS_H

#include "common/error.h"
#include "dataplane/plane.h"

/* A netlink socket to list what is local: the caller's, or a negative errno. */
int locals_open(const char *netns, struct error *error);

/* One that hears when that may have changed; not blocking. */
int locals_subscribe(const char *netns, struct error *error);

/* Takes all that has come.  Returns whether to call locals_sync(). */
bool locals_changed(int fd);

/*
 * locals_sync - make the maps say what is local
 * @netns:	index into cs_abi.netns_cookie
 * @fd:		of locals_open() in that namespace; -1: nothing is local there
 * @note:	receives a line that names what the maps have no room for; empty: there is none
 *
 * An address that stays local is found by every packet meanwhile.
 *
 * Returns 0 or, with @error written, a negative errno.
 */
int locals_sync(const struct plane *plane, __u32 netns, int fd, struct error *note,
		struct error *error);

#endif

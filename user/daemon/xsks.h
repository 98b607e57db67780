/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * AF_XDP sockets of workers: which slots of cs_xsks are whose.
 *
 * A worker has a run of slots on each of its interfaces, from its first queue to its last.  The
 * kernel takes a packet that comes to a socket of another interface or queue away, and empties the
 * slot of a socket that is closed.  So what a worker says wrong costs its own packets only.
 */
#ifndef CS_XSKS_H
#define CS_XSKS_H

#include "daemon/workers.h"

/*
 * xsks_set - the AF_XDP sockets that a worker has from now on
 * @fds:	descriptors, in the order of @asked; the caller closes them
 *
 * A packet finds the old ones or the new ones.  Returns 0, or a negative errno with the line:
 * then the worker has what it had.
 */
int xsks_set(struct worker *worker, const struct cs_xsk *asked, const int *fds, __u32 count,
	     struct error *error);

/* Its slots are emptied. */
void xsks_leave(struct worker *worker);

/* Of an adopted worker: the slots that its target names are its own, unless another has them. */
void xsks_adopt(struct worker *worker, const struct cs_target *target);

#endif

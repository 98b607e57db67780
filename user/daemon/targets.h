/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Targets: where XDP sends a worker's packets, and to which CPU it moves them.  For devices see
 * devices.h, for AF_XDP sockets xsks.h.
 *
 * A CPU has a queue and a thread in the kernel (cs_cpus) for as long as a worker uses it.  What
 * cannot be had costs the move, never the worker: its packets stay where they are.
 */
#ifndef CS_TARGETS_H
#define CS_TARGETS_H

#include "daemon/workers.h"

/* Is there such a CPU?  One that is offline is.  Returns 0, or -EINVAL and says why not. */
int target_check(__u32 cpu, struct error *error);

/*
 * By what the worker asked for, its service and its affinity.  Writes its entry, if it has one:
 * before, it is only in its value.
 */
void target_choose(struct worker *worker);

/*
 * target_name - write into a worker's entry what CS_TARGET_* it has
 *
 * The entry says whether packets are sent on; one that is not written yet will.  What the target
 * needs is there before.  Returns 0, or a negative errno: then it is as it was.
 */
int target_name(struct worker *worker, __u8 target);

/* It is moved to no CPU any more; its entry has another target. */
void target_leave_cpu(struct worker *worker);

/* It is sent nothing any more. */
void target_leave(struct worker *worker);

/* Of an adopted worker: what its entry says is counted.  Returns 0, or a negative errno: that could
 * not be read.
 */
int target_adopt(struct worker *worker);

/*
 * All are adopted: makes the queues that are used, as they are to be, and removes the others.
 * Returns 0, or the first errno; what is owed is tried again each second.
 */
int targets_settle(struct workers *workers);

/* Of the queues: so many packets.  Returns 0, or a negative errno, and some are as they were. */
int targets_resize(struct workers *workers, __u32 queue);

/* Once a second: affinities change, CPUs come and go. */
void targets_follow(struct workers *workers);

#endif

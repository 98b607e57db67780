/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a worker holds: its entry in cs_workers, buckets of the ring, slots of cs_sockets, a usage
 * line, an id.  Who may hold what is decided in workers.c, adopt.c and reap.c.
 */
#ifndef CS_HOLDINGS_H
#define CS_HOLDINGS_H

#include "daemon/workers.h"

__u64 now_ms(void); /* CLOCK_MONOTONIC */

/* Each returns 0 or a negative errno. */
int entry_write(const struct worker *worker);
int ring_write(struct workers *workers, __u32 service);
int ring_join(struct worker *worker);
int ring_leave(struct worker *worker); /* it is active no more: its buckets go to the others */

/*
 * A worker that serves already is about to join: are there others, that the daemon does not know
 * yet?  Packets of theirs must not go to the first by the ring.  While it is empty the kernel's own
 * hash gives them to the sockets that had them before.
 */
void ring_hold(struct service *service);
void rings_release(struct workers *workers); /* those that were held for long enough */

/* First of @count slots in a row, or CS_MAX_SOCKETS. */
__u32 slots_take(struct workers *workers, __u32 count);
void slots_give_back(struct workers *workers, __u32 first, __u32 count);
void slots_clear(const struct worker *worker); /* its sockets leave cs_sockets */

/* An emptied usage line, or 0. */
__u32 usage_take(struct service *service);

/* The id that has been free for the longest time, or 0. */
__u32 id_take(struct workers *workers);
void id_give_back(struct workers *workers, __u32 id);

/* Lets the daemon write routes as this worker.  Returns 0 or -ENOMEM. */
int routes_start(struct worker *worker);

/* Start time of a process (proc(5), stat field 22).  Returns 0, -ESRCH (it is gone), or why that
 * cannot be told.
 */
int process_start(pid_t pid, __u64 *start);

#endif

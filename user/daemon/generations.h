/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Generations: the workers of one start of the server.
 *
 * New connections go to the active workers of a service, which are of one generation, but for
 * those that name none.  The workers of another one wait until their server says that it is ready;
 * then they become active, and all others drain.
 *
 *	registered        WAITING, or ACTIVE if nobody is, or if its generation is
 *	READY             this generation ACTIVE, every other one DRAINING
 *	the last active   one is gone: the newest generation that waits becomes ACTIVE
 *
 * The order of a change: new entries, the ring, old entries; so a packet always finds a worker that
 * may have it.  A daemon that dies in between leaves two generations active, which the server's
 * next READY settles.
 */
#ifndef CS_GENERATIONS_H
#define CS_GENERATIONS_H

#include "daemon/workers.h"

/* Says which generation a worker that registers is of, and what it is: sets both in its value. */
void generation_enter(struct worker *worker, __u8 earlier);

/* The worker is there: its generation counts.  Returns 0 or a negative errno. */
int generation_entered(const struct worker *worker);

/* Returns 0, -ESTALE (a newer generation is active: this one drains now), or another errno. */
int generation_ready(struct worker *worker);

/* A worker is active no more. */
void generation_left(struct workers *workers, __u32 service);

/* A worker drains from now on: until when? */
void generation_drains(struct worker *worker);

/* Routes of a worker, and of all workers of its generation. */
__u64 worker_routes(const struct worker *worker);
__u64 generation_routes(const struct worker *worker);

/* Milliseconds until a draining worker is expelled; 0: it is not. */
__u64 worker_drain_ms(const struct worker *worker);

/*
 * Once a second: tells draining workers their numbers, expels those whose time is over, and writes
 * rings that were held.
 */
int generations_watch(struct workers *workers);

#endif

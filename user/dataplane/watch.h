/* SPDX-License-Identifier: GPL-2.0-only */
/* Traces and the recorder, core/watch.h, from user space. */
#ifndef CS_DATAPLANE_WATCH_H
#define CS_DATAPLANE_WATCH_H

#include "core/watch.h"
#include "dataplane/plane.h"

/* Both mapped, writable: the programs, the daemon and a command write them at once. */
struct watch {
	struct cs_watch *state;
	struct cs_record *record; /* CS_RECORDS */
};

/* Returns 0 or a negative errno; undo with watch_close(), in every case. */
int watch_open(const struct plane *plane, struct watch *watch);
void watch_close(struct watch *watch);
#define _cleanup_watch_ __attribute__((cleanup(watch_close)))

/* Nanoseconds of CLOCK_MONOTONIC, the clock of the programs. */
__u64 watch_now(void);

/* One more anomaly, all but its serial, as the programs do it: with too many of its kind it is
 * only counted.
 */
void watch_add(const struct watch *watch, const struct cs_record *record);

/*
 * watch_read - what the recorder holds, oldest first
 * @records:	CS_RECORDS; what is being written is left out
 *
 * Returns how many there are.
 */
unsigned int watch_read(const struct watch *watch, struct cs_record *records);

/* Sums over hooks, CPUs and the daemon what was not kept.  Returns 0 or a negative errno. */
int watch_left_out(const struct plane *plane, const struct watch *watch, struct cs_left_out *sum);

#endif

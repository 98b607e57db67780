/* SPDX-License-Identifier: GPL-2.0-only */
/* A program that is taken off again unless somebody says that it may stay. */
#ifndef CS_ATTACH_TRY_H
#define CS_ATTACH_TRY_H

#include <stdbool.h>
#include <sys/types.h>
#include <time.h>

#include "dataplane/attach.h"

struct attach_try {
	pid_t watcher;
	int from_command, to_watcher;
	struct timespec end; /* CLOCK_MONOTONIC */
};

enum {
	ATTACH_KEPT,
	ATTACH_TAKEN_OFF,
};

/* Before the program is attached: from now on it is taken off again.  Returns 0 or an errno. */
int attach_try_begin(struct attach_try *try, unsigned int seconds, const struct attach_place *place,
		     const char *interface);

/*
 * Waits for a line from standard input, or until the time is over; without @ask it is over.
 * Returns ATTACH_KEPT, ATTACH_TAKEN_OFF, or a negative errno: it cannot be taken off.
 */
int attach_try_end(struct attach_try *try, bool ask);

#endif

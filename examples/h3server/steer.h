/* SPDX-License-Identifier: GPL-2.0-only */
/* What a worker has to do with cidsteer's daemon. */
#ifndef H3SERVER_STEER_H
#define H3SERVER_STEER_H

#include "h3server/worker.h"

/* steer_open - register; not with --no-steer.  Returns 0, or -1 after a message. */
int steer_open(struct worker *worker);

/* cidsteer_fd() is readable. */
void steer_dispatch(struct worker *worker);

/* steer_ready - all workers of the generation serve.  Returns 0, or -1 after a message. */
int steer_ready(struct worker *worker);

/* steer_state - in each round: begins to drain, or stops, when the daemon says so */
void steer_state(struct worker *worker);

/* A draining worker has nothing left to do, or its time is up. */
bool steer_is_drained(const struct worker *worker);

#endif

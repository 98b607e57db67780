/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a generation's process learns from the supervisor that executed it
 *
 * It has the supervisor's command line, so this comes by the environment.  A program that knows
 * nothing of it starts as a server of its own, and the supervisor ends it in time.
 */
#ifndef H3SERVER_BIRTH_H
#define H3SERVER_BIRTH_H

#include <stdbool.h>
#include <stdint.h>

struct birth {
	uint32_t generation;
	bool first;  /* this supervisor has started none before */
	int orders;  /* pipe, ORDER_* of worker.h; its end means that the supervisor is gone */
	int reports; /* pipe, struct birth_report */
};

/* Messages to the supervisor; short enough for a pipe to keep them whole. */
enum birth_event {
	BIRTH_SERVES = 1, /* and takes the new connections */
	BIRTH_NOT_EXECUTED
};
struct birth_report {
	uint32_t generation;
	uint16_t event; /* enum birth_event */
	uint16_t error; /* errno of BIRTH_NOT_EXECUTED */
};

/* birth_give - in the child that is about to execute.  Returns 0, or -1 with errno set. */
int birth_give(const struct birth *birth);

/* birth_take - returns 1, 0 if nobody gave it: this is the supervisor, or -1 after a message. */
int birth_take(struct birth *birth);

void birth_report(const struct birth *birth, enum birth_event event, int error);

#endif

/* SPDX-License-Identifier: GPL-2.0-only */
/* The one event loop: descriptors that became ready, and work in small pieces meanwhile. */
#ifndef CS_LOOP_H
#define CS_LOOP_H

#include <stdbool.h>
#include <stdint.h>

/* Member of what is watched; it lives until loop_forget(). */
struct source {
	int fd;
	void (*ready)(struct source *source, uint32_t events);
};

struct loop {
	int epoll;
	bool stop;
	/* Does a piece of background work; returns whether more is left. */
	bool (*idle)(void *arg);
	void *arg;
};

/* Each returns 0 or a negative errno. */
int loop_init(struct loop *loop);
int loop_watch(struct loop *loop, struct source *source);
void loop_forget(struct loop *loop, struct source *source);

/* Until loop->stop. */
int loop_run(struct loop *loop);

#endif

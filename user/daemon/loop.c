// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stddef.h>
#include <sys/epoll.h>

#include "daemon/loop.h"

/* Then background work has its turn, however busy the descriptors are. */
#define EVENTS_IN_A_ROW 64

int loop_init(struct loop *loop)
{
	loop->epoll = epoll_create1(EPOLL_CLOEXEC);
	return loop->epoll < 0 ? -errno : 0;
}

int loop_watch(struct loop *loop, struct source *source)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = source };

	return epoll_ctl(loop->epoll, EPOLL_CTL_ADD, source->fd, &event) ? -errno : 0;
}

void loop_forget(struct loop *loop, struct source *source)
{
	epoll_ctl(loop->epoll, EPOLL_CTL_DEL, source->fd, NULL);
}

int loop_run(struct loop *loop)
{
	unsigned int in_a_row = 0;
	bool more = true;

	while (!loop->stop) {
		struct epoll_event event;
		struct source *source;
		/* One event at a time: its handler may free any other source. */
		int ready = epoll_wait(loop->epoll, &event, 1, more ? 0 : -1);

		if (ready < 0 && errno != EINTR)
			return -errno;
		if (ready > 0) {
			source = event.data.ptr;
			source->ready(source, event.events);
			more = true;
			if (++in_a_row < EVENTS_IN_A_ROW)
				continue;
		}
		in_a_row = 0;
		more = loop->idle(loop->arg);
	}
	return 0;
}

// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/discard.h"

static int xsk_pipe[2], other_pipe[2];

static void *close_all(void *arg)
{
	const int *pipe_fds = arg;
	int fd;

	while (read(pipe_fds[0], &fd, sizeof(fd)) == sizeof(fd))
		close(fd);
	return NULL;
}

static int start(int pipe_fds[2])
{
	pthread_attr_t attributes;
	pthread_t thread;
	int err;

	if (pipe2(pipe_fds, O_CLOEXEC) || fcntl(pipe_fds[1], F_SETFL, O_NONBLOCK))
		return -errno;
	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	err = pthread_create(&thread, &attributes, close_all, pipe_fds);
	pthread_attr_destroy(&attributes);
	return -err;
}

int discard_start(void)
{
	int err = start(xsk_pipe);

	return err ? err : start(other_pipe);
}

static int option(int fd, int name)
{
	int value = 0;
	socklen_t len = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, name, &value, &len) ? -1 : value;
}

/* With the pipe full of what never closes, a descriptor is lost: there are no more of them than
 * a process may have.  Not that of an AF_XDP socket, which closes, and would keep its queue.
 */
void discard_fd(int fd)
{
	bool xsk = option(fd, SO_DOMAIN) == AF_XDP;
	const int *to = xsk ? xsk_pipe : other_pipe;
	bool udp = option(fd, SO_PROTOCOL) == IPPROTO_UDP;

	if (udp || (write(to[1], &fd, sizeof(fd)) != sizeof(fd) && xsk))
		close(fd);
}

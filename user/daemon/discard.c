// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/discard.h"

static int pipe_fds[2];

static void *close_all(void *arg)
{
	int fd;

	(void)arg;
	while (read(pipe_fds[0], &fd, sizeof(fd)) == sizeof(fd))
		close(fd);
	return NULL;
}

int discard_start(void)
{
	pthread_attr_t attributes;
	pthread_t thread;
	int err;

	if (pipe2(pipe_fds, O_CLOEXEC) || fcntl(pipe_fds[1], F_SETFL, O_NONBLOCK))
		return -errno;
	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	err = pthread_create(&thread, &attributes, close_all, NULL);
	pthread_attr_destroy(&attributes);
	return -err;
}

static int is_udp(int fd)
{
	int protocol = 0;
	socklen_t len = sizeof(protocol);

	return !getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len) && protocol == IPPROTO_UDP;
}

/* With the pipe full of what never closes, a descriptor is lost: there are no more of them than
 * a process may have.
 */
void discard_fd(int fd)
{
	if (is_udp(fd))
		close(fd);
	else if (write(pipe_fds[1], &fd, sizeof(fd)) != sizeof(fd))
		return;
}

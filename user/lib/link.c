// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/internal.h"

#define MAX_FDS CS_MAX_WORKER_XSKS

union control_buffer {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(MAX_FDS * sizeof(int))];
};

/* Blocking for a while, so that a full backlog is waited for; with @timeout_ms 0 it is not. */
static int connect_within(int fd, const struct sockaddr_un *addr, int timeout_ms)
{
	struct timeval timeout = { .tv_sec = timeout_ms / 1000,
				   .tv_usec = timeout_ms % 1000 * 1000 };

	if (timeout_ms && setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)))
		return -errno;
	if (!timeout_ms && fcntl(fd, F_SETFL, O_NONBLOCK))
		return -errno;
	if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)))
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	return fcntl(fd, F_SETFL, O_NONBLOCK) ? -errno : 0;
}

int link_connect(struct cidsteer *handle, int timeout_ms)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct epoll_event event = { .events = EPOLLIN };
	int fd, err;

	memcpy(addr.sun_path, handle->path, sizeof(addr.sun_path));
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	err = connect_within(fd, &addr, timeout_ms);
	if (!err && epoll_ctl(handle->poll, EPOLL_CTL_ADD, fd, &event))
		err = -errno;
	if (err)
		close(fd);
	else
		handle->control = fd;
	return err;
}

void link_close(struct cidsteer *handle)
{
	if (handle->control < 0)
		return;
	epoll_ctl(handle->poll, EPOLL_CTL_DEL, handle->control, NULL);
	/* Not close() alone: a child may hold a copy. */
	shutdown(handle->control, SHUT_RDWR);
	close(handle->control);
	handle->control = -1;
	handle->registering = false;
	handle->ready_serial = 0;
	handle->xsks_serial = 0;
	handle->follow = 0;
	generator_away(handle);
	batch_lost(handle, false);
}

/* Waits until @events; returns 0 or a negative errno. */
static int wait_for(int fd, short events, int timeout_ms)
{
	struct pollfd poll_fd = { .fd = fd, .events = events };
	int ready;

	do {
		ready = poll(&poll_fd, 1, timeout_ms);
	} while (ready < 0 && errno == EINTR);
	if (ready < 0)
		return -errno;
	return ready ? 0 : timeout_ms ? -ETIMEDOUT : -EAGAIN;
}

static void put_fds(struct msghdr *msg, union control_buffer *control, const int *fds, size_t count)
{
	struct cmsghdr *cmsg;

	if (!count)
		return;
	msg->msg_control = control->bytes;
	msg->msg_controllen = CMSG_SPACE(count * sizeof(int));
	cmsg = CMSG_FIRSTHDR(msg);
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(count * sizeof(int));
	memcpy(CMSG_DATA(cmsg), fds, count * sizeof(int));
}

int link_send(struct cidsteer *handle, struct cs_msg *message, uint16_t type, size_t bytes,
	      const int *fds, size_t count, int timeout_ms)
{
	struct iovec iov = { message, bytes };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	union control_buffer control = {};
	ssize_t sent;
	int err;

	if (handle->control < 0)
		return -ENOTCONN;
	if (count > MAX_FDS)
		return -EINVAL;
	message->magic = CS_PROTOCOL_MAGIC;
	message->version = CS_PROTOCOL_VERSION;
	message->type = type;
	message->bytes = bytes;
	message->serial = ++handle->serial;
	put_fds(&msg, &control, fds, count);
	for (;;) {
		sent = sendmsg(handle->control, &msg, MSG_NOSIGNAL);
		if (sent >= 0)
			return 0;
		if (errno == EPIPE || errno == ECONNRESET)
			return -ENOTCONN;
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		err = wait_for(handle->control, POLLOUT, timeout_ms);
		if (err)
			return err;
	}
}

static void take_fds(struct msghdr *msg, int *fds, size_t *count)
{
	size_t room = count ? *count : 0, got = 0;

	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {
		size_t n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		int fd;

		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(fd));
			if (got < room)
				fds[got++] = fd;
			else
				close(fd);
		}
	}
	if (count)
		*count = got;
}

int link_receive(struct cidsteer *handle, void *message, size_t size, int *fds, size_t *count,
		 int timeout_ms)
{
	struct iovec iov = { message, size };
	union control_buffer control;
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.bytes,
			      .msg_controllen = sizeof(control.bytes) };
	ssize_t received;
	int err;

	if (handle->control < 0)
		return -ENOTCONN;
	err = wait_for(handle->control, POLLIN, timeout_ms);
	if (err)
		return err;
	received = recvmsg(handle->control, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (received < 0)
		return errno == ECONNRESET ? -ENOTCONN : -errno;
	if (!received)
		count = NULL; /* the end, or a message of no bytes: nothing of it is wanted */
	take_fds(&msg, fds, count);
	return received ? received : -ENOTCONN;
}

bool link_is(const struct cs_msg *message, size_t received, uint16_t type, size_t bytes)
{
	return received >= sizeof(*message) && message->magic == CS_PROTOCOL_MAGIC &&
	       message->version == CS_PROTOCOL_VERSION && message->type == type &&
	       message->bytes == received && received == bytes;
}

// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/connection.h"
#include "daemon/discard.h"
#include "daemon/log.h"

/* Messages that fit into a peer's send buffer, of 212,992 bytes unless root gave it more. */
#define MAX_QUEUED 512

/* Keeps what fits, closes the rest: more can come than were made room for, since the kernel counts
 * the room that alignment leaves.
 */
static void take_fds(struct msghdr *msg, struct request *request)
{
	request->truncated = msg->msg_flags & MSG_CTRUNC;
	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {
		size_t count = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(fd));
			if (request->fds < MAX_FDS) {
				request->fd[request->fds++] = fd;
			} else {
				discard_fd(fd);
				request->truncated = true;
			}
		}
	}
}

ssize_t connection_receive(int fd, struct request *request)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(MAX_FDS * sizeof(int))];
	} control;
	struct iovec iov = { &request->message, sizeof(request->message) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.bytes,
			      .msg_controllen = sizeof(control.bytes) };
	ssize_t received;

	request->fds = 0;
	request->bytes = 0;
	received = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (received < 0)
		return received;
	request->bytes = received;
	take_fds(&msg, request);
	return received;
}

void request_close_fds(struct request *request)
{
	for (unsigned int i = 0; i < request->fds; i++)
		discard_fd(request->fd[i]);
	request->fds = 0;
}

/* What is still queued may hold descriptors whose close waits: the kernel would do it in ours. */
static void drain_connection(int fd)
{
	struct request request;

	shutdown(fd, SHUT_RDWR); /* nothing more comes */
	/* A message of no bytes reads like the end, so go on for as many as a peer can queue. */
	for (int i = 0; i < MAX_QUEUED && connection_receive(fd, &request) >= 0; i++)
		request_close_fds(&request);
}

void connection_close(struct connection *connection)
{
	struct control *control = connection->control;

	loop_forget(control->loop, &connection->source);
	drain_connection(connection->source.fd);
	close(connection->source.fd);
	if (connection->worker) {
		connection->worker->holder = NULL;
		workers_bury(connection->worker);
	}
	if (connection->previous)
		connection->previous->next = connection->next;
	else
		control->first = connection->next;
	if (connection->next)
		connection->next->previous = connection->previous;
	control->count--;
	free(connection);
}

int connection_answer(struct connection *connection, struct cs_msg *message, __u16 type,
		      size_t bytes, __u32 serial, const int *fds, size_t count)
{
	struct iovec iov = { message, bytes };
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(2 * sizeof(int))];
	} control = {};
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *cmsg;

	message->magic = CS_PROTOCOL_MAGIC;
	message->version = CS_PROTOCOL_VERSION;
	message->type = type;
	message->bytes = bytes;
	message->serial = serial;
	if (count) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(count * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, count * sizeof(int));
	}
	if (sendmsg(connection->source.fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return -errno;
	return 0;
}

int connection_say_refused(struct connection *connection, __u32 serial, int err,
			   const struct error *error)
{
	struct cs_msg_refused refused = { .error = err };

	snprintf(refused.line, sizeof(refused.line), "%s", error->line);
	log_limited("refused pid %d (uid %u): %s", connection->peer.pid, connection->peer.uid,
		    error->line);
	return connection_answer(connection, &refused.head, CS_MSG_REFUSED, sizeof(refused), serial,
				 NULL, 0);
}

void connection_refuse(struct connection *connection, __u32 serial, int err,
		       const struct error *error)
{
	connection_say_refused(connection, serial, err, error);
	connection_close(connection);
}

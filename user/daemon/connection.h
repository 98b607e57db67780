/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A connection of the control socket, and one message that came over it.
 *
 *   control.c     listens and accepts
 *   connection.c  receives, answers, closes
 *   request.c     checks a message and does what it asks for
 */
#ifndef CS_CONNECTION_H
#define CS_CONNECTION_H

#include <sys/socket.h>

#include "common/protocol.h"
#include "daemon/control.h"

/* One more than a worker may pass, so that one too many is noticed. */
#define MAX_FDS (CS_MAX_WORKER_XSKS + 1)

struct connection {
	struct source source;
	struct control *control;
	struct connection *next, *previous;
	struct ucred peer;
	struct worker *worker; /* NULL: not registered, or its worker is no more */
	bool registered;
};

union message {
	struct cs_msg head;
	struct cs_msg_register registers;
	struct cs_msg_write write;
	struct cs_msg_command command;
	struct cs_msg_stray stray;
	struct cs_msg_xsks xsks;
	struct cs_msg_lease lease;
	struct cs_msg_config config;
	char bytes[sizeof(struct cs_msg_write) + 1]; /* one more: too long is noticed */
};

struct request {
	union message message;
	size_t bytes;
	int fd[MAX_FDS];
	unsigned int fds;
	bool truncated;
};

/* Returns the bytes of a message, or what recvmsg() says. */
ssize_t connection_receive(int fd, struct request *request);

/* Closes the descriptors that came with a request. */
void request_close_fds(struct request *request);

/*
 * Sends an answer with up to two descriptors.  A peer that does not read is given up: returns a
 * negative errno, and nothing waits.
 */
int connection_answer(struct connection *connection, struct cs_msg *message, __u16 type,
		      size_t bytes, __u32 serial, const int *fds, size_t count);

/* Says why.  Returns as connection_answer(). */
int connection_say_refused(struct connection *connection, __u32 serial, int err,
			   const struct error *error);

/* Says why, and closes: the caller must not touch the connection any more. */
void connection_refuse(struct connection *connection, __u32 serial, int err,
		       const struct error *error);

/* Ends the connection, and with it its worker. */
void connection_close(struct connection *connection);

/* Tells a worker what it is now, if it can hear. */
void connection_tell(struct worker *worker);

/* Does what a message asks for; may close the connection. */
void request_handle(struct connection *connection, struct request *request);

#endif

// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "cli/ask.h"
#include "common/cleanup.h"

#define ANSWER_SECONDS 60 /* a reload loads a program for each new listener */

union answer {
	struct cs_msg head;
	struct cs_msg_done done;
	struct cs_msg_refused refused;
};

static int connect_daemon(const struct args *args)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct timeval limit = { .tv_sec = ANSWER_SECONDS };
	_cleanup_fd_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (strlen(args->control) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	strcpy(addr.sun_path, args->control);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) ||
	    connect(fd, (struct sockaddr *)&addr, sizeof(addr)))
		return -errno;
	return take_fd(&fd);
}

static bool is_answer(const union answer *answer, ssize_t received, __u16 type, size_t bytes)
{
	return received == (ssize_t)bytes && answer->head.magic == CS_PROTOCOL_MAGIC &&
	       answer->head.version == CS_PROTOCOL_VERSION && answer->head.type == type;
}

/* Returns a descriptor, or -1 when what is wrong is printed. */
static int reach_daemon(const struct args *args)
{
	int fd = connect_daemon(args);

	if (fd >= 0)
		return fd;
	fail(args, "%s: %s: is cidsteerd running?", args->control, strerror(-fd));
	return -1;
}

int ask_is_there(const struct args *args)
{
	_cleanup_fd_ int fd = reach_daemon(args);

	return fd < 0 ? CLI_FAILED : CLI_DONE;
}

int ask_daemon(const struct args *args, struct cs_msg *message, __u16 type, size_t bytes)
{
	_cleanup_fd_ int fd = reach_daemon(args);
	union answer answer;
	ssize_t received;

	if (fd < 0)
		return CLI_FAILED;
	*message = (struct cs_msg){ CS_PROTOCOL_MAGIC, CS_PROTOCOL_VERSION, type, bytes, 1 };
	if (send(fd, message, bytes, MSG_NOSIGNAL) < 0)
		return fail(args, "%s: %s", args->control, strerror(errno));
	received = recv(fd, &answer, sizeof(answer), 0);
	if (!received)
		return fail(args, "%s: the daemon closed the connection", args->control);
	if (received < 0)
		return fail(args, "%s: no answer: %s", args->control, strerror(errno));
	if (is_answer(&answer, received, CS_MSG_DONE, sizeof(answer.done)))
		return CLI_DONE;
	if (!is_answer(&answer, received, CS_MSG_REFUSED, sizeof(answer.refused)))
		return fail(args, "%s: the daemon speaks another version of the protocol",
			    args->control);
	answer.refused.line[sizeof(answer.refused.line) - 1] = '\0';
	return fail(args, "%s", answer.refused.line);
}

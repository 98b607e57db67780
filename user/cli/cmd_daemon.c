// SPDX-License-Identifier: GPL-2.0-only
/* drain, expel, reload: what the daemon is asked to do */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/output.h"
#include "common/cleanup.h"
#include "common/protocol.h"

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

static int ask(const struct args *args, __u32 kind, __u32 worker)
{
	struct cs_msg_command command = {
		.head = { CS_PROTOCOL_MAGIC, CS_PROTOCOL_VERSION, CS_MSG_COMMAND, sizeof(command),
			  1 },
		.kind = kind,
		.worker = worker,
	};
	_cleanup_fd_ int fd = connect_daemon(args);
	union answer answer;
	ssize_t received;

	if (fd < 0)
		return fail(args, "%s: %s: is cidsteerd running?", args->control, strerror(-fd));
	if (send(fd, &command, sizeof(command), MSG_NOSIGNAL) < 0)
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

static int ask_about_worker(const struct args *args, __u32 kind, const char *done)
{
	char *end;
	unsigned long id = strtoul(args->operand[0], &end, 10);
	int result;

	if (*end || end == args->operand[0] || !id || id >= CS_MAX_WORKERS)
		return misuse(args, "%s: not a worker's id, 1 to %d", args->operand[0],
			      CS_MAX_WORKERS - 1);
	result = ask(args, kind, id);
	if (result)
		return result;
	if (!args->json)
		printf("worker %lu: %s\n", id, done);
	else if (json_print(json_pack("{s:I, s:s}", "worker", (json_int_t)id, "state", done)))
		return fail(args, "out of memory");
	return CLI_DONE;
}

int cmd_drain(const struct args *args)
{
	return ask_about_worker(args, CS_COMMAND_DRAIN, "draining");
}

int cmd_expel(const struct args *args)
{
	return ask_about_worker(args, CS_COMMAND_EXPEL, "expelled");
}

int cmd_reload(const struct args *args)
{
	int result = ask(args, CS_COMMAND_RELOAD, 0);

	if (!result && !args->json)
		puts("the daemon has read its configuration again");
	if (!result && args->json && json_print(json_pack("{s:b}", "reloaded", 1)))
		return fail(args, "out of memory");
	return result;
}

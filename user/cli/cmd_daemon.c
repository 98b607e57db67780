// SPDX-License-Identifier: GPL-2.0-only
/* drain, expel, reload: what the daemon is asked to do */
#include <stdio.h>
#include <stdlib.h>

#include "cli/ask.h"
#include "cli/cli.h"
#include "cli/output.h"

static int ask(const struct args *args, __u32 kind, __u32 worker)
{
	struct cs_msg_command command = { .kind = kind, .worker = worker };

	return ask_daemon(args, &command.head, CS_MSG_COMMAND, sizeof(command));
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

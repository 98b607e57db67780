/* SPDX-License-Identifier: GPL-2.0-only */
/* What main.c and the commands agree on: arguments, results, and who prints what is wrong. */
#ifndef CS_CLI_H
#define CS_CLI_H

#include <stdbool.h>

#include "common/protocol.h"

/* Results of a command, which are exit codes. */
#define CLI_DONE 0
#define CLI_FAILED 1
#define CLI_MISUSE 2
#define CLI_DEGRADED 3
#define CLI_NOT_STEERING 4

struct args {
	const char *command;
	const char *dir;     /* pins */
	const char *config;  /* file */
	const char *control; /* socket */
	bool json;
	bool force;
	bool alone;
	/* NULL: not given */
	const char *mode, *try, *service, *netns, *hex, *pcap, *packet, *cid;
	const char *reason, *worker, *rate, *count;
	const char *server_id_length, *nonce_length, *cid_length, *key_file, *host, *wait;
	const char *other_host[CS_MAX_MSG_HOSTS];
	int other_hosts; /* that were given: more than are kept is a mistake */
	bool tells_length;
	char **operand;
	int operands;
};

/* Each prints "cidsteer: command: what: reason" and returns its exit code. */
int fail(const struct args *args, const char *format, ...) __attribute__((format(printf, 2, 3)));
int misuse(const struct args *args, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Of --netns.  Returns CLI_DONE or CLI_MISUSE. */
int check_netns(const struct args *args);

int cmd_load(const struct args *args);
int cmd_unload(const struct args *args);
int cmd_attach(const struct args *args);
int cmd_detach(const struct args *args);
int cmd_status(const struct args *args);
int cmd_workers(const struct args *args);
int cmd_counters(const struct args *args);
int cmd_lookup(const struct args *args);
int cmd_explain(const struct args *args);
int cmd_trace(const struct args *args);
int cmd_report(const struct args *args);
int cmd_drain(const struct args *args);
int cmd_expel(const struct args *args);
int cmd_reload(const struct args *args);
int cmd_config(const struct args *args);
int cmd_config_add(const struct args *args);
int cmd_config_activate(const struct args *args);
int cmd_config_retire(const struct args *args);

#endif

// SPDX-License-Identifier: GPL-2.0-only
/* config add, activate, retire: from one key to the next. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/ask.h"
#include "cli/cli.h"
#include "cli/output.h"
#include "cli/view.h"
#include "dataplane/config.h"
#include "dataplane/lb.h"

#define DEFAULT_WAIT 60
#define MAX_WAIT 86400

/* It may have a key. */
static void wipe_message(struct cs_msg_config *message)
{
	explicit_bzero(message, sizeof(*message));
}

#define _cleanup_message_ __attribute__((cleanup(wipe_message)))

static bool read_number(const char *text, unsigned long most, unsigned int *number)
{
	unsigned long value;
	char *end;

	value = strtoul(text, &end, 10);
	*number = value;
	return *text >= '0' && *text <= '9' && !*end && value <= most;
}

static int ask(const struct args *args, struct cs_msg_config *message)
{
	const char *service = args->operand[0];

	/* Cut, it might be the name of another one. */
	if (strlen(service) >= sizeof(message->service))
		return fail(args, "service \"%s\" is not configured", service);
	strcpy(message->service, service);
	return ask_daemon(args, &message->head, CS_MSG_CONFIG, sizeof(*message));
}

static int say_done(const struct args *args, json_t *json, const char *line)
{
	if (args->json)
		return json_print(json) ? fail(args, "out of memory") : CLI_DONE;
	json_decref(json);
	printf("%s: %s\n", args->operand[0], line);
	return CLI_DONE;
}

static json_t *change_json(const struct args *args, unsigned int id, const char *state)
{
	return json_pack("{s:s, s:o, s:s}", "service", args->operand[0], "id",
			 id == CS_LB_CONFIGS ? json_null() : json_integer(id), "state", state);
}

/* ---- add --------------------------------------------------------------------------------------
 */

#define MOST_OCTETS 1000 /* that a number may say: that they are too many, others say better */

static int read_octets(const struct args *args, const char *option, const char *text,
		       unsigned int *octets)
{
	if (!text)
		return misuse(args, "--%s is missing; see cidsteer config add --help", option);
	if (!read_number(text, MOST_OCTETS, octets))
		return misuse(args, "--%s %s: not a number of octets", option, text);
	return CLI_DONE;
}

static int read_lengths(const struct args *args, struct cs_msg_config *message)
{
	unsigned int id, server_id_len = 0, nonce_len = 0, cid_len, least;
	const char *mistake;
	int result;

	if (!read_number(args->operand[1], MOST_OCTETS, &id))
		return misuse(args, "%s: not a configuration's id, 0 to %d", args->operand[1],
			      CS_LB_CONFIGS - 1);
	result = read_octets(args, "server-id-length", args->server_id_length, &server_id_len) ?:
			 read_octets(args, "nonce-length", args->nonce_length, &nonce_len);
	if (result)
		return result;
	mistake = cs_lb_mistake(id, server_id_len, nonce_len);
	if (mistake)
		return misuse(args, "configuration %u: %s", id, mistake);
	least = cid_len = 1 + server_id_len + nonce_len;
	if (args->cid_length && args->tells_length)
		return misuse(args, "--cid-length and --tells-length: only one of them");
	if (args->cid_length &&
	    (!read_number(args->cid_length, CS_MAX_CID, &cid_len) || cid_len < least))
		return misuse(args,
			      "--cid-length %s: not %u to %d: first octet, server ID and nonce "
			      "have %u",
			      args->cid_length, least, CS_MAX_CID, least);
	message->id = id;
	message->format = (struct cs_format){ .used = 1,
					      .server_id_len = server_id_len,
					      .nonce_len = nonce_len,
					      .cid_len = args->tells_length ? 0 : cid_len };
	return CLI_DONE;
}

static int read_host(const struct args *args, const char *option, const char *text, __u8 host[16],
		     int *len)
{
	*len = config_hex(text, host, CS_LB_MAX_SERVER_ID - 1);
	if (*len > 0)
		return CLI_DONE;
	return misuse(args, "--%s %s: not 1 to %d octets of two hexadecimal digits", option, text,
		      CS_LB_MAX_SERVER_ID - 1);
}

static int read_other_hosts(const struct args *args, struct cs_msg_config *message)
{
	if (args->other_hosts > CS_MAX_MSG_HOSTS)
		return misuse(args, "--other-host: more than %d: the configuration file takes more",
			      CS_MAX_MSG_HOSTS);
	if (args->other_hosts && !args->host)
		return misuse(args, "--other-host is for --host, which says what is this one");
	for (int i = 0; i < args->other_hosts; i++) {
		const char *text = args->other_host[i];
		int len, result = read_host(args, "other-host", text, message->other_host[i], &len);

		if (result)
			return result;
		if (len != message->host_len)
			return misuse(args, "--other-host %s: not as many octets as --host %s",
				      text, args->host);
		if (!memcmp(message->other_host[i], message->host, len))
			return misuse(args, "--other-host %s: it is this one, as --host says",
				      text);
	}
	message->hosts = args->other_hosts;
	return CLI_DONE;
}

static int read_hosts(const struct args *args, struct cs_msg_config *message)
{
	int len = 0, result = CLI_DONE;

	if (args->host)
		result = read_host(args, "host", args->host, message->host, &len);
	message->host_len = len;
	return result ? result : read_other_hosts(args, message);
}

static int read_key(const struct args *args, struct cs_format *format)
{
	struct error error;

	if (!args->key_file)
		return CLI_DONE;
	format->has_key = 1;
	if (config_read_key(args->key_file, format->key, &error))
		return fail(args, "%s", error.line);
	return CLI_DONE;
}

int cmd_config_add(const struct args *args)
{
	_cleanup_message_ struct cs_msg_config message = { .kind = CS_CONFIG_ADD };
	char line[64];
	int result = read_lengths(args, &message) ?: read_hosts(args, &message);

	if (!result)
		result = read_key(args, &message.format);
	if (!result)
		result = ask(args, &message);
	if (result)
		return result;
	snprintf(line, sizeof(line), "configuration %u is added", message.id);
	return say_done(args, change_json(args, message.id, "added"), line);
}

/* ---- activate ---------------------------------------------------------------------------------
 */

static int read_id(const struct args *args, const char * or, unsigned int *id)
{
	if (read_number(args->operand[1], CS_LB_CONFIGS - 1, id))
		return CLI_DONE;
	return misuse(args, "%s: not a configuration's id, 0 to %d%s", args->operand[1],
		      CS_LB_CONFIGS - 1, or);
}

int cmd_config_activate(const struct args *args)
{
	struct cs_msg_config message = { .kind = CS_CONFIG_ACTIVATE };
	unsigned int id = CS_LB_CONFIGS;
	char line[64];
	int result = CLI_DONE;

	if (strcmp(args->operand[1], "none"))
		result = read_id(args, ", nor none", &id);
	message.id = id;
	if (!result)
		result = ask(args, &message);
	if (result)
		return result;
	if (id == CS_LB_CONFIGS)
		return say_done(args, change_json(args, id, "none"),
				"no configuration is what IDs are made with: they go to the table");
	snprintf(line, sizeof(line), "configuration %u is what IDs are made with", id);
	return say_done(args, change_json(args, id, "active"), line);
}

/* ---- retire -----------------------------------------------------------------------------------
 */

static int read_wait(const struct args *args, unsigned int *seconds)
{
	*seconds = DEFAULT_WAIT;
	if (args->wait && !read_number(args->wait, MAX_WAIT, seconds))
		return misuse(args, "--wait %s: not 0 to %d seconds", args->wait, MAX_WAIT);
	if (!*seconds && !args->force)
		return misuse(args, "--wait 0 is for --force: in no time no packet is seen");
	return CLI_DONE;
}

/* What the daemon would refuse, too, but not before the time is over. */
static int check_retire(const struct args *args, const struct view_service *service,
			unsigned int id)
{
	if (!service)
		return fail(args, "service \"%s\" is not configured", args->operand[0]);
	if (!(service->settings.lb_configs >> id & 1))
		return fail(args, "service \"%s\" has no configuration %u", service->name, id);
	if (service->settings.lb_active == 1 + id)
		return fail(args,
			    "workers make IDs with configuration %u: first cidsteer config "
			    "activate %s with another one, or with none",
			    id, service->name);
	return ask_is_there(args);
}

/* Returns 0, or -EINTR: somebody has pressed Ctrl-C, or wants this process to end. */
static int wait_seconds(unsigned int seconds)
{
	struct timespec end, now, left;
	sigset_t signals, before;
	int got = -1;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, &before);
	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += seconds;
	for (;;) {
		clock_gettime(CLOCK_MONOTONIC, &now);
		left.tv_sec = end.tv_sec - now.tv_sec;
		left.tv_nsec = end.tv_nsec - now.tv_nsec;
		if (left.tv_nsec < 0) {
			left.tv_sec--;
			left.tv_nsec += 1000000000;
		}
		if (left.tv_sec < 0)
			break;
		got = sigtimedwait(&signals, NULL, &left);
		if (got > 0 || errno != EINTR) /* a signal of another kind has come */
			break;
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	return got > 0 ? -EINTR : 0;
}

/*
 * Packets of clients that have the ID from a server; who opens a connection chooses it.  Both hooks
 * count what XDP passes: the larger number is one of packets.
 */
static __u64 count_known(const struct cs_hits *before, const struct cs_hits *now)
{
	__u64 most = 0;

	for (int hook = 0; hook < CS_HOOKS; hook++) {
		__u64 came = now->known[hook];

		/* Less than before: it is another one, whose counts began anew. */
		if (came >= before->known[hook])
			came -= before->known[hook];
		if (came > most)
			most = came;
	}
	return most;
}

/* Without time, @packets are all since the configuration came. */
static int watch(const struct args *args, const struct view *view, __u32 service, unsigned int id,
		 unsigned int seconds, __u64 *packets)
{
	struct cs_hits before = {}, now;
	int err = seconds ? lb_hits(&view->plane, service, id, &before) : 0;

	if (seconds && !err) {
		fprintf(stderr,
			"cidsteer: %s: %s: %u s to see whether packets with IDs of configuration "
			"%u come; Ctrl-C changes nothing\n",
			args->command, args->operand[0], seconds, id);
		if (wait_seconds(seconds))
			return fail(args, "interrupted: configuration %u of %s is as it was", id,
				    args->operand[0]);
	}
	if (!err)
		err = lb_hits(&view->plane, service, id, &now);
	if (err)
		return fail(args, "cs_hits: %s", strerror(-err));
	*packets = count_known(&before, &now);
	return CLI_DONE;
}

/* "at least 12 packets with its IDs came in 60 s" */
static void print_came(char *text, size_t size, __u64 packets, unsigned int seconds)
{
	if (packets)
		snprintf(text, size, "at least %s packet%s with its IDs came", NUMBER(packets),
			 packets == 1 ? "" : "s");
	else
		snprintf(text, size, "no packet with its IDs came");
	if (seconds)
		append(text, size, " in %u s", seconds);
	else
		append(text, size, " since it was added");
}

static int say_retired(const struct args *args, unsigned int id, __u64 packets,
		       unsigned int seconds)
{
	json_t *json = change_json(args, id, "retired");
	char came[96], line[160];

	json_object_set_new(json, "packets", json_integer(packets));
	json_object_set_new(json, "seconds", seconds ? json_integer(seconds) : json_null());
	print_came(came, sizeof(came), packets, seconds);
	snprintf(line, sizeof(line), "configuration %u is retired; %s", id, came);
	return say_done(args, json, line);
}

static int retire(const struct args *args, const struct view *view, unsigned int id,
		  unsigned int seconds)
{
	const struct view_service *service = view_service_by_name(view, args->operand[0]);
	struct cs_msg_config message = { .kind = CS_CONFIG_RETIRE, .id = id };
	__u64 packets = 0;
	char came[96];
	int result = check_retire(args, service, id);

	if (!result)
		result = watch(args, view, service->id, id, seconds, &packets);
	if (result)
		return result;
	print_came(came, sizeof(came), packets, seconds);
	if (packets && !args->force)
		return fail(args,
			    "configuration %u of %s: %s: try again when these connections are "
			    "over, or use --force, which ends them",
			    id, service->name, came);
	result = ask(args, &message);
	return result ? result : say_retired(args, id, packets, seconds);
}

int cmd_config_retire(const struct args *args)
{
	_cleanup_view_ struct view *view = NULL;
	unsigned int id, seconds;
	struct error error;
	int result = read_id(args, "", &id) ?: read_wait(args, &seconds);

	if (result)
		return result;
	if (view_open(&view, args->dir, &error))
		return fail(args, "%s", error.line);
	return retire(args, view, id, seconds);
}

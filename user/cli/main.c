// SPDX-License-Identifier: GPL-2.0-only
/* cidsteer, the operator's command.  Commands and options are rows; usage is made from them. */
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "common/protocol.h"
#include "dataplane/netns.h"
#include "dataplane/plane.h"

#ifndef CIDSTEER_VERSION
#define CIDSTEER_VERSION "unknown"
#endif

#define DEFAULT_CONFIG "/etc/cidsteer.conf"

enum option_id {
	OPTION_JSON = 256,
	OPTION_BPFFS,
	OPTION_CONFIG,
	OPTION_CONTROL,
	OPTION_FORCE,
	OPTION_MODE,
	OPTION_TRY,
	OPTION_SERVICE,
	OPTION_HEX,
	OPTION_NETNS,
	OPTION_ALONE,
	OPTION_PCAP,
	OPTION_PACKET,
	OPTION_CID,
	OPTION_REASON,
	OPTION_WORKER,
	OPTION_RATE,
	OPTION_COUNT,
	OPTION_SERVER_ID_LENGTH,
	OPTION_NONCE_LENGTH,
	OPTION_CID_LENGTH,
	OPTION_TELLS_LENGTH,
	OPTION_KEY_FILE,
	OPTION_HOST,
	OPTION_OTHER_HOST,
	OPTION_WAIT,
	OPTION_HELP,
	OPTION_VERSION,
};
#define BIT(option) (1u << ((option)-OPTION_JSON))
#define EVERYWHERE                                                                                 \
	(BIT(OPTION_JSON) | BIT(OPTION_BPFFS) | BIT(OPTION_CONFIG) | BIT(OPTION_HELP) |            \
	 BIT(OPTION_VERSION))

static const struct option_row {
	const char *name, *argument, *help;
	enum option_id id;
} option_rows[] = {
	{ "json", NULL, "print JSON", OPTION_JSON },
	{ "bpffs", "DIR", "where the pins are: $CIDSTEER_BPFFS, /sys/fs/bpf/cidsteer",
	  OPTION_BPFFS },
	{ "config", "FILE", "configuration: $CIDSTEER_CONFIG, " DEFAULT_CONFIG, OPTION_CONFIG },
	{ "control", "PATH", "the daemon's socket: $CIDSTEER_CONTROL, " CS_CONTROL_PATH,
	  OPTION_CONTROL },
	{ "force", NULL, "also while workers are registered, or packets come", OPTION_FORCE },
	{ "mode", "MODE", "native, generic, or auto: native where the driver has it", OPTION_MODE },
	{ "try", "SECONDS", "take it off again then, unless Enter is pressed", OPTION_TRY },
	{ "alone", NULL, "not behind libxdp's dispatcher, where nothing can be moved or sent",
	  OPTION_ALONE },
	{ "service", "NAME", "look in this service only", OPTION_SERVICE },
	{ "netns", "NAME", "the interface, or the packet, is in this network namespace",
	  OPTION_NETNS },
	{ "hex", "PACKET", "an Ethernet frame or an IP packet", OPTION_HEX },
	{ "pcap", "FILE", "a packet of this pcap or pcapng file", OPTION_PCAP },
	{ "packet", "N", "which, from 1 on: 1", OPTION_PACKET },
	{ "cid", "CID", "packets with this DCID", OPTION_CID },
	{ "reason", "NAMES", "these reasons only, with commas between them", OPTION_REASON },
	{ "worker", "ID", "packets for this worker only", OPTION_WORKER },
	{ "rate", "N", "at most so many in a second: 100", OPTION_RATE },
	{ "count", "N", "end after so many", OPTION_COUNT },
	{ "server-id-length", "N", "octets of a server ID, 1 to 15", OPTION_SERVER_ID_LENGTH },
	{ "nonce-length", "N", "octets of a nonce, 4 or more", OPTION_NONCE_LENGTH },
	{ "cid-length", "N", "octets of an ID: no more than that takes", OPTION_CID_LENGTH },
	{ "tells-length", NULL, "the first octet of each ID tells its length",
	  OPTION_TELLS_LENGTH },
	{ "key-file", "FILE", "has the key; without one, server IDs can be read by everybody",
	  OPTION_KEY_FILE },
	{ "host", "HEX", "server IDs of this host begin with it", OPTION_HOST },
	{ "other-host", "HEX", "those of another host do; once for each", OPTION_OTHER_HOST },
	{ "wait", "SECONDS", "see for so long whether packets come: 60", OPTION_WAIT },
	{ "help", NULL, "print this", OPTION_HELP },
	{ "version", NULL, "print the version", OPTION_VERSION },
};
#define OPTION_ROWS (sizeof(option_rows) / sizeof(option_rows[0]))

/* A name may have two words. */
static const struct command {
	const char *name, *synopsis, *help;
	unsigned int options; /* besides EVERYWHERE */
	int operands;	      /* exactly so many; below 0: at most as many */
	int (*run)(const struct args *args);
} commands[] = {
	{ "load", "", "load and pin the programs and maps, set up services, attach", 0, 0,
	  cmd_load },
	{ "unload", "[--force]", "take away everything that load has pinned", BIT(OPTION_FORCE), 0,
	  cmd_unload },
	{ "attach", "IFACE [--mode MODE] [--alone] [--try SECONDS]",
	  "put the XDP program on an interface",
	  BIT(OPTION_MODE) | BIT(OPTION_ALONE) | BIT(OPTION_TRY) | BIT(OPTION_NETNS), 1,
	  cmd_attach },
	{ "detach", "IFACE [--force]", "take the XDP program off an interface",
	  BIT(OPTION_FORCE) | BIT(OPTION_NETNS), 1, cmd_detach },
	{ "status", "", "say of each service whether it is steered, and if not, why", 0, 0,
	  cmd_status },
	{ "workers", "", "list the registered workers", 0, 0, cmd_workers },
	{ "drain", "WORKER [--control PATH]", "give a worker no more new connections",
	  BIT(OPTION_CONTROL), 1, cmd_drain },
	{ "expel", "WORKER [--control PATH]",
	  "declare a worker dead: its routes go; for one that hangs", BIT(OPTION_CONTROL), 1,
	  cmd_expel },
	{ "reload", "[--control PATH]", "have the daemon read its configuration again",
	  BIT(OPTION_CONTROL), 0, cmd_reload },
	{ "counters", "", "print what the programs counted", 0, 0, cmd_counters },
	{ "lookup", "CID [--service NAME]", "find the worker that issued a connection ID",
	  BIT(OPTION_SERVICE), 1, cmd_lookup },
	{ "explain", "--hex PACKET | --pcap FILE [--packet N] | --cid CID [--service NAME]",
	  "say where a packet would go and why; counts nothing",
	  BIT(OPTION_HEX) | BIT(OPTION_PCAP) | BIT(OPTION_PACKET) | BIT(OPTION_CID) |
		  BIT(OPTION_SERVICE) | BIT(OPTION_NETNS),
	  0, cmd_explain },
	{ "trace", "[filters] [--rate N]", "show decisions as they are made, some in each second",
	  BIT(OPTION_SERVICE) | BIT(OPTION_REASON) | BIT(OPTION_WORKER) | BIT(OPTION_CID) |
		  BIT(OPTION_RATE) | BIT(OPTION_COUNT),
	  0, cmd_trace },
	{ "config", "[SERVICE]", "list QUIC-LB configurations: server IDs, packets; no keys", 0, -1,
	  cmd_config },
	{ "config add", "SERVICE ID --server-id-length N --nonce-length N [--key-file FILE] [...]",
	  "give a service one more; no IDs are made with it yet",
	  BIT(OPTION_CONTROL) | BIT(OPTION_SERVER_ID_LENGTH) | BIT(OPTION_NONCE_LENGTH) |
		  BIT(OPTION_CID_LENGTH) | BIT(OPTION_TELLS_LENGTH) | BIT(OPTION_KEY_FILE) |
		  BIT(OPTION_HOST) | BIT(OPTION_OTHER_HOST),
	  2, cmd_config_add },
	{ "config activate", "SERVICE ID|none [--control PATH]",
	  "have IDs made with it from now on", BIT(OPTION_CONTROL), 2, cmd_config_activate },
	{ "config retire", "SERVICE ID [--wait SECONDS] [--force] [--control PATH]",
	  "take it away, if no packets with its IDs come any more",
	  BIT(OPTION_CONTROL) | BIT(OPTION_WAIT) | BIT(OPTION_FORCE), 2, cmd_config_retire },
	{ "report", "", "print what somebody needs who is to find out what is wrong; no keys", 0, 0,
	  cmd_report },
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void complain(const struct args *args, const char *format, va_list list)
{
	fflush(stdout);
	fprintf(stderr, "cidsteer: ");
	if (args->command)
		fprintf(stderr, "%s: ", args->command);
	vfprintf(stderr, format, list);
	fputc('\n', stderr);
}

int fail(const struct args *args, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	complain(args, format, list);
	va_end(list);
	return CLI_FAILED;
}

int misuse(const struct args *args, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	complain(args, format, list);
	va_end(list);
	return CLI_MISUSE;
}

int check_netns(const struct args *args)
{
	if (!args->netns || netns_is_name(args->netns))
		return CLI_DONE;
	return misuse(args, "--netns %s: not a name of 1 to %d letters, digits, '-' or '_'",
		      args->netns, NETNS_NAME - 1);
}

static void print_option(const struct option_row *row)
{
	char left[40];

	snprintf(left, sizeof(left), "--%s %s", row->name, row->argument ? row->argument : "");
	printf("  %-20s %s\n", left, row->help);
}

/* What has a long synopsis has its help on a line of its own. */
static void print_command(const struct command *command)
{
	if (strlen(command->name) < 9 && strlen(command->synopsis) <= 23)
		printf("  %-8s %-23s %s\n", command->name, command->synopsis, command->help);
	else
		printf("  %-8s %s\n%35s%s\n", command->name, command->synopsis, "", command->help);
}

/* Is it one of @above, by its second word? */
static bool is_part(const struct command *command, const struct command *above)
{
	size_t len = strlen(above->name);

	return !strncmp(command->name, above->name, len) && command->name[len] == ' ';
}

static int print_help(const struct command *command)
{
	unsigned int shown = EVERYWHERE | (command ? command->options : ~0u);
	bool parts = false;

	if (command)
		printf("usage: cidsteer %s%s%s\n%s\n\n", command->name,
		       *command->synopsis ? " " : "", command->synopsis, command->help);
	else
		printf("usage: cidsteer [options] command\n\n");
	for (size_t i = 0; i < COMMANDS; i++) {
		if (command && !is_part(&commands[i], command))
			continue;
		print_command(&commands[i]);
		parts = true;
	}
	if (parts)
		putchar('\n');
	for (size_t i = 0; i < OPTION_ROWS; i++) {
		if (shown & BIT(option_rows[i].id))
			print_option(&option_rows[i]);
	}
	if (!command || command->run == cmd_status)
		printf("\nstatus exits with 0 (all steering), 3 (something degraded), 4 (something "
		       "not steering).\n");
	return CLI_DONE;
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < COMMANDS; i++) {
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	}
	return NULL;
}

/* The first words: two if there is such a command, else one.  Returns how many, 0: there is none.
 */
static int take_command(char **word, int words, const struct command **command)
{
	char both[32];

	*command = NULL;
	if (words > 1 && snprintf(both, sizeof(both), "%s %s", word[0], word[1]) < 32)
		*command = find_command(both);
	if (*command)
		return 2;
	*command = find_command(word[0]);
	return *command ? 1 : 0;
}

static void take_config_option(struct args *args, int id)
{
	switch (id) {
	case OPTION_SERVER_ID_LENGTH:
		args->server_id_length = optarg;
		break;
	case OPTION_NONCE_LENGTH:
		args->nonce_length = optarg;
		break;
	case OPTION_CID_LENGTH:
		args->cid_length = optarg;
		break;
	case OPTION_TELLS_LENGTH:
		args->tells_length = true;
		break;
	case OPTION_KEY_FILE:
		args->key_file = optarg;
		break;
	case OPTION_HOST:
		args->host = optarg;
		break;
	case OPTION_OTHER_HOST:
		if (args->other_hosts < CS_MAX_MSG_HOSTS)
			args->other_host[args->other_hosts] = optarg;
		args->other_hosts++; /* too many are seen by who reads them */
		break;
	case OPTION_WAIT:
		args->wait = optarg;
		break;
	}
}

static void take_option(struct args *args, int id)
{
	switch (id) {
	case OPTION_JSON:
		args->json = true;
		break;
	case OPTION_BPFFS:
		args->dir = optarg;
		break;
	case OPTION_CONFIG:
		args->config = optarg;
		break;
	case OPTION_CONTROL:
		args->control = optarg;
		break;
	case OPTION_FORCE:
		args->force = true;
		break;
	case OPTION_MODE:
		args->mode = optarg;
		break;
	case OPTION_ALONE:
		args->alone = true;
		break;
	case OPTION_TRY:
		args->try = optarg;
		break;
	case OPTION_SERVICE:
		args->service = optarg;
		break;
	case OPTION_NETNS:
		args->netns = optarg;
		break;
	case OPTION_HEX:
		args->hex = optarg;
		break;
	case OPTION_REASON:
		args->reason = optarg;
		break;
	case OPTION_WORKER:
		args->worker = optarg;
		break;
	case OPTION_PCAP:
		args->pcap = optarg;
		break;
	case OPTION_PACKET:
		args->packet = optarg;
		break;
	case OPTION_CID:
		args->cid = optarg;
		break;
	case OPTION_RATE:
		args->rate = optarg;
		break;
	case OPTION_COUNT:
		args->count = optarg;
		break;
	default:
		take_config_option(args, id);
	}
}

/* Options may stand before and behind the command; @given receives which there are. */
static int parse_options(struct args *args, int argc, char **argv, unsigned int *given)
{
	struct option options[OPTION_ROWS + 1] = {};
	int id;

	for (size_t i = 0; i < OPTION_ROWS; i++)
		options[i] = (struct option){ option_rows[i].name, !!option_rows[i].argument, NULL,
					      option_rows[i].id };
	opterr = 0;
	while ((id = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		if (id == ':')
			return misuse(args, "%s: its value is missing", argv[optind - 1]);
		if (id == '?')
			return misuse(args, "%s: there is no such option; see cidsteer --help",
				      argv[optind - 1]);
		id = id == 'h' ? OPTION_HELP : id;
		*given |= BIT(id);
		take_option(args, id);
	}
	return CLI_DONE;
}

static int check_usage(const struct args *args, const struct command *command, unsigned int given)
{
	int most = abs(command->operands);

	for (size_t i = 0; i < OPTION_ROWS; i++) {
		if (given & ~(command->options | EVERYWHERE) & BIT(option_rows[i].id))
			return misuse(args, "--%s is not for this command", option_rows[i].name);
	}
	if (args->operands > most)
		return misuse(args, "%s: one word too many; see cidsteer %s --help",
			      args->operand[most], command->name);
	if (args->operands < command->operands)
		return misuse(args, "its operand is missing: cidsteer %s %s", command->name,
			      command->synopsis);
	return CLI_DONE;
}

static int run(int argc, char **argv)
{
	const char *config = getenv("CIDSTEER_CONFIG"), *control = getenv("CIDSTEER_CONTROL");
	struct args args = { .dir = plane_default_dir(),
			     .config = config && *config ? config : DEFAULT_CONFIG,
			     .control = control && *control ? control : CS_CONTROL_PATH };
	const struct command *command = NULL;
	unsigned int given = 0;
	int words, result = parse_options(&args, argc, argv, &given);

	if (result)
		return result;
	if (optind < argc) {
		words = take_command(argv + optind, argc - optind, &command);
		if (!words)
			return misuse(&args, "%s: there is no such command; see cidsteer --help",
				      argv[optind]);
		args.command = command->name;
		args.operand = argv + optind + words;
		args.operands = argc - optind - words;
	}
	if (given & BIT(OPTION_HELP))
		return print_help(command);
	if (given & BIT(OPTION_VERSION)) {
		printf("cidsteer %s, layout %d\n", CIDSTEER_VERSION, CS_LAYOUT);
		return CLI_DONE;
	}
	if (!command)
		return misuse(&args, "a command is missing; see cidsteer --help");
	result = check_usage(&args, command, given);
	return result ? result : command->run(&args);
}

int main(int argc, char **argv)
{
	int result = run(argc, argv);

	if ((fflush(stdout) || ferror(stdout)) && result != CLI_MISUSE) {
		perror("cidsteer: standard output");
		return CLI_FAILED;
	}
	return result;
}

// SPDX-License-Identifier: GPL-2.0-only
/* The command line. */
#include "h3server/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ngtcp2/ngtcp2.h>

static const char help[] =
	"Usage: h3server [OPTION]...\n"
	"Serve HTTP/3 with several workers, each with its own SO_REUSEPORT socket, whose\n"
	"connections cidsteer routes by connection ID.\n"
	"\n"
	"  --listen ADDR:PORT   listen here; may be given more than once ([::]:443)\n"
	"  --workers N          number of workers (4)\n"
	"  --first-worker N     number of the first worker in the statistics (1), where\n"
	"                       several servers write them into one file\n"
	"  --threads            workers are threads of one process, not processes\n"
	"  --gro                receive trains of datagrams (UDP_GRO): the kernel picks the\n"
	"                       worker by the first, so others in it may be strays\n"
	"  --cpu                each worker runs on a CPU of its own, where XDP moves its\n"
	"                       packets\n"
	"  --io udp             receive and send through UDP sockets (the default)\n"
	"  --io xsk:IFACE[,IFACE...]\n"
	"                       where cidsteer's XDP is attached, through AF_XDP sockets; what\n"
	"                       comes another way through UDP sockets.  With --threads every\n"
	"                       worker has all queues of the interfaces; else worker i of n\n"
	"                       has the queues q with q % n = i - 1.  To start takes\n"
	"                       CAP_NET_RAW, and CAP_IPC_LOCK or RLIMIT_MEMLOCK: 8 MB for a\n"
	"                       queue, and more for many threads; the workers keep neither\n"
	"  --user NAME          become this user once the sockets are bound\n"
	"  --cert FILE, --key FILE\n"
	"                       certificate chain and key, PEM; without: made up at start\n"
	"  --root DIR           serve the files below DIR\n"
	"  --stats FILE         append one JSON line for each transfer and each worker\n"
	"  --preferred-address ADDR:PORT\n"
	"                       ask clients to move to this listener (RFC 9000, section 9.6)\n"
	"\n"
	"  --service NAME       service in the daemon's configuration (h3)\n"
	"  --control PATH       the daemon's control socket\n"
	"  --without-daemon     serve although no daemon is there; when one comes, be steered\n"
	"  --generation N       number of the first generation of workers (0); each reload\n"
	"                       adds one\n"
	"  --drain-seconds N    end an old generation then, with what connections it has (0:\n"
	"                       when they are over)\n"
	"  --no-steer           the same server without cidsteer\n"
	"  --cid-length N       length of connection IDs with --no-steer, and with\n"
	"                       --without-daemon, where it is the service's (8)\n"
	"  --help               print this\n"
	"\n"
	"Besides files there are /bytes/N, N bytes that a client can check by itself, and\n"
	"/sink, which takes any upload and answers with its SHA-256 and its length.\n"
	"\n"
	"SIGHUP reloads: new workers, of the binary and the certificate that are on disk now,\n"
	"take the new connections when all of them serve; the old workers end when their\n"
	"connections are over.  If a new one cannot serve, nothing changes.  A SIGHUP during a\n"
	"reload is remembered, and one more reload follows.\n"
	"SIGTERM ends the server; SIGUSR1 writes each worker's line to --stats.\n";

enum {
	OPT_LISTEN = 256,
	OPT_WORKERS,
	OPT_THREADS,
	OPT_GRO,
	OPT_CPU,
	OPT_IO,
	OPT_USER,
	OPT_CERT,
	OPT_KEY,
	OPT_ROOT,
	OPT_STATS,
	OPT_PREFERRED,
	OPT_SERVICE,
	OPT_CONTROL,
	OPT_FIRST_WORKER,
	OPT_GENERATION,
	OPT_DRAIN,
	OPT_WITHOUT_DAEMON,
	OPT_NO_STEER,
	OPT_CID_LENGTH,
	OPT_HELP,
};

static const struct option long_options[] = {
	{ "listen", required_argument, NULL, OPT_LISTEN },
	{ "workers", required_argument, NULL, OPT_WORKERS },
	{ "threads", no_argument, NULL, OPT_THREADS },
	{ "gro", no_argument, NULL, OPT_GRO },
	{ "cpu", no_argument, NULL, OPT_CPU },
	{ "io", required_argument, NULL, OPT_IO },
	{ "user", required_argument, NULL, OPT_USER },
	{ "cert", required_argument, NULL, OPT_CERT },
	{ "key", required_argument, NULL, OPT_KEY },
	{ "root", required_argument, NULL, OPT_ROOT },
	{ "stats", required_argument, NULL, OPT_STATS },
	{ "preferred-address", required_argument, NULL, OPT_PREFERRED },
	{ "service", required_argument, NULL, OPT_SERVICE },
	{ "control", required_argument, NULL, OPT_CONTROL },
	{ "first-worker", required_argument, NULL, OPT_FIRST_WORKER },
	{ "generation", required_argument, NULL, OPT_GENERATION },
	{ "drain-seconds", required_argument, NULL, OPT_DRAIN },
	{ "without-daemon", no_argument, NULL, OPT_WITHOUT_DAEMON },
	{ "no-steer", no_argument, NULL, OPT_NO_STEER },
	{ "cid-length", required_argument, NULL, OPT_CID_LENGTH },
	{ "help", no_argument, NULL, OPT_HELP },
	{ NULL, 0, NULL, 0 },
};

static int wrong(const char *what, const char *value, const char *reason)
{
	fprintf(stderr, "h3server: %s%s%s: %s\n", what, value ? " " : "", value ? value : "",
		reason);
	return -1;
}

static int parse_number(const char *what, const char *text, uint64_t min, uint64_t max,
			uint64_t *number)
{
	char *end, reason[64];

	errno = 0;
	*number = strtoull(text, &end, 10);
	if (text[0] >= '0' && text[0] <= '9' && !*end && !errno && *number >= min && *number <= max)
		return 0;
	snprintf(reason, sizeof(reason), "expected a number from %llu to %llu",
		 (unsigned long long)min, (unsigned long long)max);
	return wrong(what, text, reason);
}

static int add_listener(struct options *options, const char *text)
{
	if (options->listeners == MAX_LISTENERS)
		return wrong("--listen", text, "too many listeners, 8 is the limit");
	if (addr_parse(&options->listen[options->listeners], text) < 0)
		return wrong("--listen", text,
			     "expected ADDR:PORT, as in 192.0.2.1:443 or [::]:443");
	options->listeners++;
	return 0;
}

static int parse_preferred(struct options *options, const char *text)
{
	if (addr_parse(&options->preferred, text) < 0 || addr_is_wildcard(&options->preferred))
		return wrong("--preferred-address", text, "expected ADDR:PORT, no wildcard");
	options->has_preferred = true;
	return 0;
}

static int add_interface(struct options *options, const char *what, const char *name, size_t len)
{
	unsigned int i;

	if (len == 0 || len >= IF_NAMESIZE)
		return wrong("--io", what, "expected names of interfaces, as in xsk:eth0,eth1");
	if (options->interfaces == MAX_INTERFACES)
		return wrong("--io", what, "too many interfaces, 4 is the limit");
	for (i = 0; i < options->interfaces; i++)
		if (!strncmp(options->interface[i], name, len) && !options->interface[i][len])
			return wrong("--io", what, "an interface is named twice");
	memcpy(options->interface[options->interfaces], name, len);
	options->interface[options->interfaces++][len] = '\0';
	return 0;
}

static int parse_io(struct options *options, const char *text)
{
	const char *name = text + strlen("xsk:");

	options->interfaces = 0;
	if (!strcmp(text, "udp"))
		return 0;
	if (strncmp(text, "xsk:", strlen("xsk:")))
		return wrong("--io", text, "expected udp or xsk:IFACE[,IFACE...]");
	for (;;) {
		size_t len = strcspn(name, ",");

		if (add_interface(options, text, name, len) < 0)
			return -1;
		if (!name[len])
			return 0;
		name += len + 1;
	}
}

static int parse_numeric(struct options *options, int opt, const char *text)
{
	uint64_t n;

	switch (opt) {
	case OPT_WORKERS:
		if (parse_number("--workers", text, 1, MAX_WORKERS, &n) < 0)
			return -1;
		options->workers = (unsigned int)n;
		return 0;
	case OPT_FIRST_WORKER:
		if (parse_number("--first-worker", text, 1, MAX_WORKERS, &n) < 0)
			return -1;
		options->first_worker = (unsigned int)n;
		return 0;
	case OPT_GENERATION:
		if (parse_number("--generation", text, 0, UINT32_MAX, &n) < 0)
			return -1;
		options->generation = (uint32_t)n;
		return 0;
	case OPT_DRAIN:
		if (parse_number("--drain-seconds", text, 0, 86400, &n) < 0)
			return -1;
		options->drain_seconds = (uint32_t)n;
		return 0;
	default:
		if (parse_number("--cid-length", text, 4, NGTCP2_MAX_CIDLEN, &n) < 0)
			return -1;
		options->cid_length = (size_t)n;
		return 0;
	}
}

static int parse_one(struct options *options, int opt, const char *value)
{
	switch (opt) {
	case OPT_LISTEN:
		return add_listener(options, value);
	case OPT_IO:
		return parse_io(options, value);
	case OPT_PREFERRED:
		return parse_preferred(options, value);
	case OPT_WORKERS:
	case OPT_FIRST_WORKER:
	case OPT_GENERATION:
	case OPT_DRAIN:
	case OPT_CID_LENGTH:
		return parse_numeric(options, opt, value);
	case OPT_THREADS:
		options->threads = true;
		return 0;
	case OPT_GRO:
		options->gro = true;
		return 0;
	case OPT_CPU:
		options->cpu = true;
		return 0;
	case OPT_WITHOUT_DAEMON:
		options->without_daemon = true;
		return 0;
	case OPT_NO_STEER:
		options->steer = false;
		return 0;
	case OPT_USER:
		options->user = value;
		return 0;
	case OPT_CERT:
		options->cert = value;
		return 0;
	case OPT_KEY:
		options->key = value;
		return 0;
	case OPT_ROOT:
		options->root = value;
		return 0;
	case OPT_STATS:
		options->stats = value;
		return 0;
	case OPT_SERVICE:
		options->service = value;
		return 0;
	case OPT_CONTROL:
		options->control = value;
		return 0;
	default:
		fputs("Try 'h3server --help'.\n", stderr);
		return -1;
	}
}

/* A client that moves must find a socket there. */
static int check_preferred(const struct options *options)
{
	char text[ADDR_TEXT];
	unsigned int i;

	for (i = 0; i < options->listeners; i++) {
		const union addr *listen = &options->listen[i];

		if (addr_equal(listen, &options->preferred))
			return 0;
		if (addr_is_wildcard(listen) &&
		    addr_port(listen) == addr_port(&options->preferred) &&
		    (listen->sa.sa_family == AF_INET6 ||
		     options->preferred.sa.sa_family == AF_INET))
			return 0;
	}
	return wrong("--preferred-address", addr_format(&options->preferred, text),
		     "no --listen covers it");
}

int options_parse(struct options *options, int argc, char **argv)
{
	int opt;

	memset(options, 0, sizeof(*options));
	options->workers = 4;
	options->first_worker = 1;
	options->steer = true;
	options->service = "h3";
	options->cid_length = 8;
	while ((opt = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		if (opt == OPT_HELP) {
			fputs(help, stdout);
			return 1;
		}
		if (parse_one(options, opt, optarg) < 0)
			return -1;
	}
	if (optind < argc)
		return wrong("unexpected argument", argv[optind], "see --help");
	if (!options->cert != !options->key)
		return wrong("--cert, --key", NULL, "give both or neither");
	if (options->interfaces && !options->steer)
		return wrong("--io xsk, --no-steer", NULL,
			     "AF_XDP sockets get their packets from cidsteer");
	if (options->listeners == 0 && add_listener(options, "[::]:443") < 0)
		return -1;
	return options->has_preferred ? check_preferred(options) : 0;
}

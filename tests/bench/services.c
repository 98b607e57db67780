// SPDX-License-Identifier: GPL-2.0-only
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/in6.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "bench.h"
#include "common/cleanup.h"

/* A tmpfs of the own mount namespace covers it. */
#define SANDBOX "/mnt"
#define PINS SANDBOX "/bpf/cidsteer"
#define CONFIG SANDBOX "/cidsteer.conf"
#define CONTROL SANDBOX "/control.sock"
#define DAEMON_LOG SANDBOX "/log"

struct plane plane = PLANE_INIT;

struct service_spec services[SERVICES] = {
	[SERVICE_1] = { .name = "r1", .port = 4001, .routes = 1 },
	[SERVICE_1K] = { .name = "r1k", .port = 4002, .routes = 1000 },
	[SERVICE_100K] = { .name = "r100k", .port = 4003, .routes = 100000 },
	[SERVICE_1M] = { .name = "r1m", .port = 4004, .routes = 1000000 },
	[SERVICE_EXACT] = { .name = "exact", .port = 4005, .routes = 1 },
	[SERVICE_ISSUE] = { .name = "issue", .port = 4006, .routes = 1000000 },
	[SERVICE_SERVERS] = { .name = "servers", .port = 4011, .routes = 16 },
	[SERVICE_PASS] = { .name = "pass", .port = 4007, .routes = BENCH_TARGET_ROUTES },
	[SERVICE_CPU] = { .name = "cpu", .port = 4008, .routes = BENCH_TARGET_ROUTES },
	[SERVICE_XSK] = { .name = "xsk", .port = 4009, .routes = BENCH_TARGET_ROUTES },
	[SERVICE_DEVICE] = { .name = "device",
			     .port = 4010,
			     .routes = BENCH_TARGET_ROUTES,
			     .settings = "behind_device = \"allowed\"" },
};

static int socket_of[SERVICES][BENCH_WORKERS];

static void sandbox_enter(void)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	_cleanup_fd_ int fd = -1;

	check(!geteuid(), "this needs root");
	check(!unshare(CLONE_NEWNS | CLONE_NEWNET), "unshare: %s", strerror(errno));
	check(!mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "mount: %s", strerror(errno));
	check(!mount("tmpfs", SANDBOX, "tmpfs", 0, "mode=755"), "tmpfs: %s", strerror(errno));
	check(!mkdir(SANDBOX "/bpf", 0755), "mkdir: %s", strerror(errno));
	check(!mount("bpf", SANDBOX "/bpf", "bpf", 0, NULL), "bpffs: %s", strerror(errno));
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	check(!ioctl(fd, SIOCSIFFLAGS, &request), "lo: %s", strerror(errno));
}

static void write_config(void)
{
	FILE *file = fopen(CONFIG, "we");

	check(file, "%s: %s", CONFIG, strerror(errno));
	for (int i = 0; i < SERVICES; i++) {
		const struct service_spec *spec = &services[i];

		fprintf(file,
			"service \"%s\" {\n"
			"\tlisten = {\"%s:%u\"}\n"
			"\tcid_length = %d\n"
			"\tmax_cids = %u\n"
			"\t%s\n"
			"}\n",
			spec->name, i == SERVICE_EXACT ? "127.0.0.1" : "[::]", spec->port,
			BENCH_CID, spec->routes, spec->settings ? spec->settings : "");
	}
	check(!fclose(file), "%s: %s", CONFIG, strerror(errno));
}

/* $CIDSTEERD, or cidsteerd one directory above this program. */
static void daemon_exec(void)
{
	const char *given = getenv("CIDSTEERD");
	char self[200], path[256];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);

	self[len < 0 ? 0 : len] = '\0';
	for (int i = 0; i < 2 && strrchr(self, '/'); i++)
		*strrchr(self, '/') = '\0';
	snprintf(path, sizeof(path), "%s%s", given ? given : self, given ? "" : "/cidsteerd");
	check(freopen(DAEMON_LOG, "w", stderr), "log: %s", strerror(errno));
	dup2(2, 1);
	execl(path, path, "--config", CONFIG, "--control", CONTROL, "--bpffs", PINS, NULL);
	_exit(127);
}

static const char *last_log(void)
{
	_cleanup_file_ FILE *file = fopen(DAEMON_LOG, "re");
	static char line[512] = "does not start\n";

	while (file && fgets(line, sizeof(line), file))
		;
	return line;
}

static int note_listener(const struct cs_addr *addr, const struct cs_listener *listener, void *arg)
{
	(void)arg;
	for (int i = 0; i < SERVICES; i++) {
		if (services[i].port != ntohs(addr->port))
			continue;
		services[i].id = listener->service;
		services[i].listener = listener->listener;
	}
	return 0;
}

void services_start(void)
{
	struct timespec nap = { 0, 10 * 1000 * 1000 };
	struct error error = { "" };
	pid_t daemon;

	sandbox_enter();
	links_start();
	write_config();
	daemon = fork();
	check(daemon >= 0, "fork: %s", strerror(errno));
	if (!daemon) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		daemon_exec();
	}
	for (int i = 0; !strstr(last_log(), ": ready at "); i++) {
		check(i < 1000 && !waitpid(daemon, NULL, WNOHANG), "cidsteerd: %s", last_log());
		nanosleep(&nap, NULL);
	}
	setenv("CIDSTEER_CONTROL", CONTROL, 1);
	check(!plane_open(&plane, PINS, &error), "%s", error.line);
	check(!plane_each_address(&plane, note_listener, NULL), "cs_addrs");
}

int group_socket(__u16 port, bool exact)
{
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				  .sin_port = htons(port) };
	int fd = socket(exact ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0), one = 1;

	check(!setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) &&
		      !bind(fd, exact ? (void *)&in : (void *)&in6,
			    exact ? sizeof(in) : sizeof(in6)),
	      "port %u: %s", port, strerror(errno));
	return fd;
}

struct cidsteer *worker_register(enum service service, int socket, __u32 cpu)
{
	struct cidsteer_options options = CIDSTEER_OPTIONS_INIT;
	struct cidsteer *handle;
	char line[256] = "";

	options.error = line;
	options.error_size = sizeof(line);
	options.cpu = cpu;
	check(!cidsteer_open(&handle, services[service].name, &socket, 1, &options), "%s", line);
	return handle;
}

struct cidsteer *worker_open(enum service service, int *socket)
{
	*socket = group_socket(services[service].port, service == SERVICE_EXACT);
	return worker_register(service, *socket, 0);
}

const int *service_sockets(enum service service)
{
	return socket_of[service];
}

void services_fill(void (*each)(enum service service, uint64_t cid, __u32 worker))
{
	uint64_t seed = 1;

	for (int s = 0; s < SERVICES_FILLED; s++) {
		struct cidsteer *handle[BENCH_WORKERS];

		for (int w = 0; w < BENCH_WORKERS; w++)
			handle[w] = worker_open(s, &socket_of[s][w]);
		for (__u32 i = 0; i < services[s].routes; i++) {
			uint64_t cid = random_word(&seed);
			struct cidsteer *by = handle[i % BENCH_WORKERS];

			check(!cidsteer_issue(by, (uint8_t *)&cid, BENCH_CID), "issue");
			each(s, cid, cidsteer_worker_id(by));
			services[s].cid = cid;
		}
	}
}

__u64 counter_of(__u32 id, __u32 hook, __u32 reason)
{
	struct cs_counters sum;

	check(!plane_counters(&plane, hook, id, &sum), "cs_counters");
	return ((__u64 *)&sum)[reason];
}

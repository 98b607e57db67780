// SPDX-License-Identifier: GPL-2.0-only
/*
 * sk_reuseport by the kernel's run statistics, in nanoseconds per run, which include the reading of
 * a clock.  The packets are datagrams over loopback: the kernel runs the program for each, on the
 * sender's CPU.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "bench.h"
#include "bench/programs.skel.h"
#include "common/cleanup.h"
#include "core/quic.h"

#define BATCH 64
#define DATAGRAMS (256 * BATCH) /* of one measurement */
#define DATAGRAM 64		/* bytes */
#define OWN_PORT 4100		/* of the groups that are no service's, and above */

enum program {
	PROGRAM_PASS,
	PROGRAM_INDEX,
	PROGRAM_STUB,
	PROGRAM_SERVERS, /* the stub, too: of the service whose IDs carry their server */
};

struct group {
	int socket[BENCH_WORKERS];
	int sockets;
	int client; /* connected to it */
	int prog;
};

static int udp_socket(__u16 port, bool bound)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct sockaddr_in here = { .sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				    .sin_port = htons(port) };
	int fd = socket(bound ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), one = 1, err;

	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	if (bound)
		err = bind(fd, (struct sockaddr *)&any, sizeof(any));
	else
		err = connect(fd, (struct sockaddr *)&here, sizeof(here));
	check(!err, "port %u: %s", port, strerror(errno));
	return fd;
}

/* A group with one of the benchmark's own programs. */
static void group_own(struct group *group, enum program program)
{
	const struct bpf_program *prog = programs->progs.bench_pass;
	int map = bpf_map__fd(programs->maps.bench_sockets);

	if (program == PROGRAM_INDEX)
		prog = programs->progs.bench_index;
	group->prog = bpf_program__fd(prog);
	group->sockets = BENCH_WORKERS;
	group->client = udp_socket(OWN_PORT + program, false);
	for (__u32 i = 0; i < BENCH_WORKERS; i++) {
		__u64 value = group->socket[i] = udp_socket(OWN_PORT + program, true);

		check(program != PROGRAM_INDEX || !bpf_map_update_elem(map, &i, &value, BPF_ANY),
		      "bench_sockets: %s", strerror(errno));
	}
}

/* The group of a service.  Its stub takes the place of the daemon's, which nobody can name. */
static void group_service(struct group *group, enum service service)
{
	struct error error = { "" };

	group->prog = plane_stub(&plane, services[service].listener, &error);
	check(group->prog >= 0, "%s", error.line);
	group->client = udp_socket(services[service].port, false);
	if (service == SERVICE_SERVERS) {
		server_cid(ROW_TABLE);
		group->socket[0] = server_socket();
		group->sockets = 1;
		return;
	}
	memcpy(group->socket, service_sockets(service), sizeof(group->socket));
	group->sockets = BENCH_WORKERS;
}

static const struct group *group_of(const struct bench_case *this)
{
	static struct group groups[PROGRAM_STUB + BENCH_LISTS], of_servers;
	bool is_servers = this->what == PROGRAM_SERVERS;
	struct group *group = is_servers ? &of_servers : &groups[this->what + this->size];

	if (group->prog)
		return group;
	if (is_servers)
		group_service(group, SERVICE_SERVERS);
	else if (this->what == PROGRAM_STUB)
		group_service(group, this->size);
	else
		group_own(group, this->what);
	check(!setsockopt(group->socket[0], SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, &group->prog,
			  sizeof(group->prog)),
	      "attach: %s", strerror(errno));
	return group;
}

/* Takes what has come, at most a batch for each socket; returns how many datagrams. */
static unsigned int take(const struct group *group)
{
	struct mmsghdr messages[BATCH] = {};
	unsigned int came = 0;

	for (int i = 0; i < group->sockets; i++) {
		int taken = recvmmsg(group->socket[i], messages, BATCH, MSG_DONTWAIT, NULL);

		came += taken < 0 ? 0 : taken;
	}
	return came;
}

/* The next ID of a list, or the one of a row. */
static void put_cid(const struct bench_case *this, __u8 *to)
{
	static __u32 turn;

	if (this->what == PROGRAM_SERVERS)
		memcpy(to, server_cid(this->size), CS_MAX_CID);
	else
		memcpy(to, &list_of(this->size)[turn++ % BENCH_LIST], BENCH_CID);
}

/* Sends a batch; returns how many datagrams came. */
static unsigned int exchange(const struct group *group, const struct bench_case *this)
{
	static __u8 datagram[BATCH][DATAGRAM];
	struct mmsghdr messages[BATCH] = {};
	struct iovec iov[BATCH];

	for (int i = 0; i < BATCH; i++) {
		datagram[i][0] = 0x40; /* a short header */
		put_cid(this, &datagram[i][CS_SHORT_HEADER_DCID]);
		iov[i] = (struct iovec){ datagram[i], DATAGRAM };
		messages[i].msg_hdr.msg_iov = &iov[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	check(sendmmsg(group->client, messages, BATCH, 0) == BATCH, "send: %s", strerror(errno));
	return take(group);
}

/* A busy kernel delivers the last ones from another thread; returns how many of @missing came. */
static unsigned int take_late(const struct group *group, unsigned int missing)
{
	struct timespec nap = { 0, 1000 * 1000 };
	unsigned int came = 0;

	for (int i = 0; came < missing && i < 2000; i++) {
		nanosleep(&nap, NULL);
		came += take(group);
	}
	return came;
}

static struct bpf_prog_info statistics(int prog)
{
	struct bpf_prog_info info = {};
	__u32 len = sizeof(info);

	check(!bpf_obj_get_info_by_fd(prog, &info, &len), "statistics: %s", strerror(errno));
	return info;
}

/* In the data plane; 0: none. */
static __u32 service_of(const struct bench_case *this)
{
	if (this->what == PROGRAM_SERVERS)
		return services[SERVICE_SERVERS].id;
	return this->what == PROGRAM_STUB ? services[this->size].id : 0;
}

static __u32 reason_of(const struct bench_case *this)
{
	return this->what == PROGRAM_SERVERS ? server_reason(this->size) : CS_C_by_table;
}

static double measure(const struct bench_case *this)
{
	__u32 id = service_of(this), reason = reason_of(this);
	const struct group *group = group_of(this);
	_cleanup_fd_ int enabled = bpf_enable_stats(BPF_STATS_RUN_TIME);
	__u64 before = counter_of(id, CS_HOOK_REUSEPORT, reason);
	struct bpf_prog_info start, end;
	unsigned int came = 0;

	check(enabled >= 0, "run statistics: %s", strerror(errno));
	start = statistics(group->prog);
	for (int i = 0; i < DATAGRAMS / BATCH; i++)
		came += exchange(group, this);
	came += take_late(group, DATAGRAMS - came);
	end = statistics(group->prog);
	check(came == DATAGRAMS, "%s: %u of %u datagrams came", this->name, came, DATAGRAMS);
	check(end.run_cnt - start.run_cnt == DATAGRAMS, "%s: %llu runs for %u datagrams",
	      this->name, end.run_cnt - start.run_cnt, DATAGRAMS);
	check(!id || counter_of(id, CS_HOOK_REUSEPORT, reason) - before == DATAGRAMS,
	      "%s: not all got this verdict", this->name);
	return (double)(end.run_time_ns - start.run_time_ns) / DATAGRAMS;
}

static const struct bench_case cases[] = {
	{ .name = "trivial: return SK_PASS", .measure = measure, .what = PROGRAM_PASS },
	{ .name = "index from a byte of the DCID", .measure = measure, .what = PROGRAM_INDEX },
	{ .name = "table, 1 k routes",
	  .rival = "index from a byte of the DCID",
	  .measure = measure,
	  .what = PROGRAM_STUB,
	  .size = SERVICE_1K },
	{ .name = "table, 1 M routes",
	  .rival = "index from a byte of the DCID",
	  .measure = measure,
	  .what = PROGRAM_STUB,
	  .size = SERVICE_1M },
	{ .name = "server ID without a key",
	  .measure = measure,
	  .what = PROGRAM_SERVERS,
	  .size = ROW_PLAIN },
	{ .name = "server ID, single pass",
	  .measure = measure,
	  .what = PROGRAM_SERVERS,
	  .size = ROW_SINGLE },
	{ .name = "server ID, three passes",
	  .measure = measure,
	  .what = PROGRAM_SERVERS,
	  .size = ROW_THREE },
	{ .name = "server ID, four passes",
	  .measure = measure,
	  .what = PROGRAM_SERVERS,
	  .size = ROW_FOUR },
};

const struct bench_group sockets = {
	.title = "sk_reuseport: run statistics, UDP over loopback",
	.unit = "ns",
	.base = "trivial: return SK_PASS",
	.cases = cases,
	.count = COUNT(cases),
};

// SPDX-License-Identifier: GPL-2.0-only
/*
 * Runs packets through cs_xdp and cs_explain by BPF_PROG_TEST_RUN, for tests/oracle/run.
 *
 * Requests on standard input, answers on standard output, numbers as this host has them:
 *
 *   'S'                         answer (1): 1 if the kernel lets us split frames
 *   'W' seed (8)                a new world; answer: bytes (4) of JSON, JSON
 *   'B' packets (4) bytes (4)   a batch: struct request and frame of each; answer: a struct
 *                               result for each, after the whole batch was read
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "../xsk.h"
#include "oracle.h"

#define MAX_FRAME 16384
#define MAX_BATCH (16 << 20)

struct request {
	__u16 bytes; /* of the frame */
	__u16 first; /* of them in its first buffer; 0: as the kernel likes */
	__u16 lease; /* 1: verdicts may drop */
};

struct result {
	__u32 retval;
	__u32 notes; /* bit of each counter of group note that grew */
	__u16 service;
	__u8 reason; /* counter of group verdict that grew */
	__u8 odd;    /* ODD_* */
	/* What cs_explain says. */
	__u16 said_service, listener, worker;
	__u8 said_reason, drop;
	__u8 small, form, type, dcid_len;
	__u8 dcid[CS_MAX_CID];
	__u32 version, routed;
	__u8 config, pad[3];
};
_Static_assert(sizeof(struct result) == 56, "as tests/oracle/run reads it");

#define ODD_COUNTED 1 /* not one packet seen, one verdict, each note once, of one service */
#define ODD_ALTERED 2 /* the frame */
#define ODD_EXPLAIN 4 /* what cs_explain did to the frame, or it counted */
#define ODD_REFUSED 8 /* BPF_PROG_TEST_RUN does not take it */

#define CS_COUNTER(name, group, text) #group[0],
static const char group_of[] = {
#include "core/counters.def"
};
#undef CS_COUNTER

static __u64 counted[CS_MAX_SERVICES + 1][CS_COUNTERS];

static void sandbox_enter(void)
{
	check(!geteuid(), "this needs root");
	check(!unshare(CLONE_NEWNS | CLONE_NEWNET), "unshare: %s", strerror(errno));
	check(!mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "mount: %s", strerror(errno));
	check(!mount("tmpfs", SANDBOX, "tmpfs", 0, "mode=755"), "tmpfs: %s", strerror(errno));
	check(!mkdir(SANDBOX "/bpf", 0755), "mkdir: %s", strerror(errno));
	check(!mount("bpf", SANDBOX "/bpf", "bpf", 0, NULL), "bpffs: %s", strerror(errno));
}

/* ---- counters ------------------------------------------------------------------------------- */

/* The first @lines of cs_counters, which are cs_xdp's, summed over the CPUs. */
static void read_counters(__u32 lines, __u64 sum[][CS_COUNTERS])
{
	static __u64 *each;
	static __u32 *keys;
	int cpus = libbpf_num_possible_cpus();
	__u32 next, count = lines;

	if (!each) {
		each = calloc((size_t)CS_COUNTER_LINES * cpus, sizeof(struct cs_counters));
		keys = calloc(CS_COUNTER_LINES, sizeof(*keys));
		check(each && keys, "no memory");
	}
	if (bpf_map_lookup_batch(plane.map[PLANE_COUNTERS], NULL, &next, keys, each, &count, NULL))
		check(errno == ENOENT, "cs_counters: %s", strerror(errno));
	check(count == lines, "cs_counters has %u lines", count);
	for (__u32 i = 0; i < lines; i++) {
		check(keys[i] == i, "line %u of cs_counters has key %u", i, keys[i]);
		memset(sum[i], 0, sizeof(sum[i]));
		for (int cpu = 0; cpu < cpus; cpu++) {
			for (int c = 0; c < CS_COUNTERS; c++)
				sum[i][c] += each[((size_t)i * cpus + cpu) * CS_COUNTERS + c];
		}
	}
}

/* What one packet has added. */
static void take_counters(struct result *result)
{
	static __u64 now[CS_MAX_SERVICES + 1][CS_COUNTERS];
	int seen = 0, verdicts = 0;

	read_counters(world_services + 1, now);
	for (__u32 i = 0; i <= world_services; i++) {
		for (int c = 0; c < CS_COUNTERS; c++) {
			__u64 grown = now[i][c] - counted[i][c];

			if (!grown)
				continue;
			if (grown != 1 || (seen + verdicts && result->service != i))
				result->odd |= ODD_COUNTED;
			result->service = i;
			if (group_of[c] == 'r') {
				seen++;
			} else if (group_of[c] == 'v') {
				verdicts++;
				result->reason = c;
			} else {
				result->notes |= 1u << c;
			}
		}
	}
	if (seen != 1 || verdicts != 1)
		result->odd |= ODD_COUNTED;
	memcpy(counted, now, sizeof(counted[0]) * (world_services + 1));
}

/* cs_hits has those that were counted as sent by server ID, of each service, and no others. */
static void check_hits(void)
{
	int cpus = libbpf_num_possible_cpus();
	struct cs_hits each[cpus], sum;

	for (__u32 i = 0; i <= world_services; i++) {
		sum = (struct cs_hits){};
		for (__u32 k = i * CS_CONFIGS; k < (i + 1) * CS_CONFIGS; k++) {
			check(!bpf_map_lookup_elem(plane.map[PLANE_HITS], &k, each), "cs_hits");
			for (int cpu = 0; cpu < cpus; cpu++) {
				for (int hook = 0; hook < CS_HOOKS; hook++) {
					sum.known[hook] += each[cpu].known[hook];
					sum.opening[hook] += each[cpu].opening[hook];
				}
			}
		}
		check(sum.known[CS_HOOK_XDP] == counted[i][CS_C_by_server_id] &&
			      sum.opening[CS_HOOK_XDP] ==
				      counted[i][CS_C_opens_by_server_id] +
					      counted[i][CS_C_opens_by_draining] &&
			      !sum.known[CS_HOOK_REUSEPORT] && !sum.opening[CS_HOOK_REUSEPORT],
		      "cs_hits of service %u", i);
	}
}

/* Lines that no packet may count in: of other services, of the other hook. */
static void check_others(void)
{
	static __u64 all[CS_COUNTER_LINES][CS_COUNTERS];

	read_counters(CS_COUNTER_LINES, all);
	for (__u32 i = world_services + 1; i < CS_COUNTER_LINES; i++) {
		for (int c = 0; c < CS_COUNTERS; c++)
			check(!all[i][c], "line %u of cs_counters has grown", i);
	}
	check(!memcmp(all, counted, sizeof(counted[0]) * (world_services + 1)),
	      "cs_explain has counted");
	check_hits();
}

/* ---- packets -------------------------------------------------------------------------------- */

/* @first as in struct request; cs_explain takes no frame of several buffers. */
static int run(int program, const __u8 *frame, __u32 bytes, __u32 first, __u8 *out, __u32 *size,
	       __u32 *retval)
{
	struct xdp_md split = { .data_end = first };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = bytes,
		    .data_out = out, .data_size_out = *size, .repeat = 1,
		    .ctx_in = first ? &split : NULL, .ctx_size_in = first ? sizeof(split) : 0);
	int err = bpf_prog_test_run_opts(program, &opts);

	*size = opts.data_size_out;
	*retval = opts.retval;
	return err;
}

static void run_xdp(const __u8 *frame, __u32 bytes, __u32 first, struct result *result)
{
	static __u8 got[MAX_FRAME];
	__u32 size = sizeof(got), mac;

	if (run(plane.xdp, frame, bytes, first, got, &size, &result->retval)) {
		result->odd |= ODD_REFUSED;
		return;
	}
	take_counters(result);
	mac = result->notes >> CS_C_to_device & 1 ? sizeof(world_mac) : 0;
	if (size != bytes || memcmp(got, world_mac, mac) ||
	    memcmp(got + mac, frame + mac, bytes - mac))
		result->odd |= ODD_ALTERED;
}

/* Linux 6.18 and newer. */
static int can_split(void)
{
	__u8 frame[64] = {}, got[64];
	__u32 size = sizeof(got), retval;

	if (run(plane.xdp, frame, sizeof(frame), ETH_HLEN, got, &size, &retval))
		return 0;
	read_counters(world_services + 1, counted);
	return 1;
}

static void run_explain(const __u8 *frame, __u32 bytes, struct result *result)
{
	static __u8 got[MAX_FRAME + sizeof(struct cs_verdict)];
	__u32 size = sizeof(got), retval;
	struct cs_verdict verdict;

	if (run(plane.explain, frame, bytes, 0, got, &size, &retval) ||
	    size != bytes + sizeof(verdict) || memcmp(got + sizeof(verdict), frame, bytes)) {
		result->odd |= ODD_EXPLAIN;
		return;
	}
	memcpy(&verdict, got, sizeof(verdict));
	result->said_service = verdict.service;
	result->listener = verdict.listener;
	result->worker = verdict.worker;
	result->said_reason = verdict.reason;
	result->drop = verdict.drop;
	result->small = verdict.small;
	result->form = verdict.form;
	result->type = verdict.type;
	result->dcid_len = verdict.dcid_len;
	memcpy(result->dcid, verdict.dcid, sizeof(result->dcid));
	result->version = verdict.version;
	result->routed = verdict.routed;
	result->config = verdict.config;
}

static void run_packet(const struct request *request, const __u8 *frame)
{
	struct result result = {};
	static int lease = -1;

	if (request->lease != lease) {
		lease = request->lease;
		world_lease(lease);
	}
	run_xdp(frame, request->bytes, request->first, &result);
	if (!request->first)
		run_explain(frame, request->bytes, &result);
	check(fwrite(&result, sizeof(result), 1, stdout) == 1, "write: %s", strerror(errno));
}

/* ---- requests ------------------------------------------------------------------------------- */

static void take(void *to, size_t bytes)
{
	check(fread(to, 1, bytes, stdin) == bytes, "a request is cut");
}

static void answer_world(void)
{
	_cleanup_free_ char *json = NULL;
	__u32 bytes;
	size_t size;
	__u64 seed;
	FILE *out;

	take(&seed, sizeof(seed));
	out = open_memstream(&json, &size);
	check(out, "no memory");
	world_make(seed, out);
	check(!fclose(out), "no memory");
	bytes = size;
	check(fwrite(&bytes, sizeof(bytes), 1, stdout) == 1 && fwrite(json, size, 1, stdout) == 1,
	      "write: %s", strerror(errno));
}

static void answer_batch(void)
{
	_cleanup_free_ __u8 *batch = NULL;
	struct request request;
	__u32 head[2], at = 0;

	take(head, sizeof(head));
	check(head[1] <= MAX_BATCH, "a batch of %u bytes", head[1]);
	batch = malloc(head[1]);
	check(batch, "no memory");
	take(batch, head[1]);
	for (__u32 i = 0; i < head[0]; i++) {
		check(head[1] - at >= sizeof(request), "the batch is cut");
		memcpy(&request, batch + at, sizeof(request));
		at += sizeof(request);
		check(request.bytes <= MAX_FRAME && request.bytes <= head[1] - at,
		      "a frame of %u bytes", request.bytes);
		run_packet(&request, batch + at);
		at += request.bytes;
	}
	check_others();
}

/* Each process stays on a CPU, and XDP with it: not all on the same. */
static void choose_cpus(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	struct bpf_cpumap_val queue = { .qsize = 64, .bpf_prog.fd = plane.cpu };
	cpu_set_t set;

	world_cpu = getpid() % cpus;
	world_other_cpu = (world_cpu + 1) % cpus;
	CPU_ZERO(&set);
	CPU_SET(world_cpu, &set);
	check(!sched_setaffinity(0, sizeof(set), &set), "CPU %u: %s", world_cpu, strerror(errno));
	check(!bpf_map_update_elem(plane.map[PLANE_CPUS], &world_cpu, &queue, BPF_ANY) &&
		      !bpf_map_update_elem(plane.map[PLANE_CPUS], &world_other_cpu, &queue,
					   BPF_ANY),
	      "cs_cpus: %s", strerror(errno));
}

/* The namespace's own loopback stands for a veth. */
static void make_device(void)
{
	_cleanup_fd_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = { .ifr_name = "lo", .ifr_mtu = WORLD_MTU };
	__u32 slot = 0;

	check(!ioctl(fd, SIOCSIFMTU, &request), "lo: %s", strerror(errno));
	world_device = if_nametoindex("lo");
	check(!bpf_map_update_elem(plane.map[PLANE_DEVS], &slot, &world_device, BPF_ANY),
	      "cs_devs: %s", strerror(errno));
}

static void make_xsk(void)
{
	int fd = make_unbound_xsk();
	__u32 slot = WORLD_XSK;

	check(fd >= 0 && !bpf_map_update_elem(plane.map[PLANE_XSKS], &slot, &fd, BPF_ANY),
	      "cs_xsks: %s", strerror(errno));
}

int main(void)
{
	int kind;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sandbox_enter();
	world_load();
	choose_cpus();
	make_device();
	make_xsk();
	check_others(); /* nothing is counted yet */
	while ((kind = getchar()) != EOF) {
		check(strchr("SWB", kind), "no such request: %d", kind);
		if (kind == 'S')
			putchar(can_split());
		else if (kind == 'W')
			answer_world();
		else
			answer_batch();
		check(!fflush(stdout), "write: %s", strerror(errno));
	}
	return 0;
}

// SPDX-License-Identifier: GPL-2.0-only
/*
 * XDP by BPF_PROG_TEST_RUN, in whole nanoseconds per packet, as the kernel measures them: without
 * its own preparations and without the time that other processes had.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

#include "bench.h"
#include "bench/programs.skel.h"
#include "core/quic.h"

#define PACKETS (1 << 18) /* of one measurement */
#define WARM_UP (1 << 15) /* packets before it, at least */

#define LONG_HEADER 0xc0
#define SHORT_HEADER 0x40

enum packet {
	PACKET_TCP,
	PACKET_OTHER_PORT,
	PACKET_INITIAL,
	PACKET_UNKNOWN,
	PACKET_KNOWN,
};

enum program {
	PROGRAM_EMPTY,
	PROGRAM_FEED,
	PROGRAM_PARSE,
	PROGRAM_TABLE,
	PROGRAM_HASH,
};

void frame_build(struct frame *frame, __u16 port)
{
	memset(frame, 0x5a, sizeof(*frame));
	frame->eth.h_proto = htons(ETH_P_IP);
	frame->ip = (struct iphdr){
		.version = 4,
		.ihl = 5,
		.ttl = 64,
		.protocol = IPPROTO_UDP,
		.tot_len = htons(sizeof(*frame) - sizeof(frame->eth)),
		.saddr = htonl(0x0a000009),
		.daddr = htonl(INADDR_LOOPBACK),
	};
	frame->udp.dest = htons(port);
	frame->udp.len = htons(sizeof(frame->udp) + sizeof(frame->payload));
	frame->payload[0] = SHORT_HEADER;
}

/* Makes of it what the case asks for; returns its verdict. */
static __u32 frame_become(struct frame *frame, enum packet packet, enum service service)
{
	static const __u8 initial[] = { LONG_HEADER, 0, 0, 0, CS_QUIC_V1, BENCH_CID };

	if (packet == PACKET_TCP)
		frame->ip.protocol = IPPROTO_TCP;
	if (packet == PACKET_OTHER_PORT)
		frame->udp.dest = htons(53);
	if (packet == PACKET_TCP || packet == PACKET_OTHER_PORT)
		return CS_C_not_ours;
	if (packet == PACKET_INITIAL) {
		memcpy(frame->payload, initial, sizeof(initial));
		return CS_C_by_ring;
	}
	if (packet == PACKET_UNKNOWN)
		return CS_C_unknown_cid;
	memcpy(frame->payload + CS_SHORT_HEADER_DCID, &services[service].cid, BENCH_CID);
	return CS_C_by_table;
}

/* Returns ns per packet. */
static __u32 run(int prog, const struct frame *frame, int repeat)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = sizeof(*frame),
		    .repeat = repeat);

	check(!bpf_prog_test_run_opts(prog, &opts), "BPF_PROG_TEST_RUN: %s", strerror(errno));
	check(opts.retval == XDP_PASS, "the program returned %u", opts.retval);
	return opts.duration;
}

/* Every packet has to get @reason; CS_C_seen: the program does not count.  Returns ns. */
static double run_counted(int prog, const struct frame *frame, int warm_up, __u32 service,
			  __u32 reason)
{
	__u64 before = counter_of(service, CS_HOOK_XDP, reason);
	double ns;

	run(prog, frame, warm_up);
	ns = run(prog, frame, PACKETS);
	check(reason == CS_C_seen ||
		      counter_of(service, CS_HOOK_XDP, reason) - before == (__u64)warm_up + PACKETS,
	      "service %u: not all packets got verdict %u", service, reason);
	return ns;
}

/* One packet, again and again. */
static double measure_packet(const struct bench_case *this)
{
	struct frame frame;
	__u32 reason, id;

	frame_build(&frame, services[this->size].port);
	reason = frame_become(&frame, this->what, this->size);
	id = reason == CS_C_not_ours ? 0 : services[this->size].id;
	return run_counted(plane.xdp, &frame, WARM_UP, id, reason);
}

double measure_frame(const struct frame *frame, enum service service, __u32 reason)
{
	return run_counted(plane.xdp, frame, WARM_UP, services[service].id, reason);
}

static int program_fd(enum program program)
{
	const struct bpf_program *const prog[] = {
		[PROGRAM_EMPTY] = programs->progs.bench_empty,
		[PROGRAM_FEED] = programs->progs.bench_feed,
		[PROGRAM_PARSE] = programs->progs.bench_parse,
		[PROGRAM_TABLE] = programs->progs.bench_table,
		[PROGRAM_HASH] = programs->progs.bench_hash,
	};

	return bpf_program__fd(prog[program]);
}

/* Another connection ID of the service's list in each packet or train. */
static double measure_list(const struct bench_case *this)
{
	__u32 routes = services[this->size].routes, reason = CS_C_seen;
	struct frame frame;

	if (this->what == PROGRAM_TABLE || this->what == PROGRAM_HASH)
		reason = CS_C_by_table;
	programs->bss->bench_first = this->size * BENCH_LIST;
	programs->bss->bench_train = this->train;
	frame_build(&frame, services[this->size].port);
	return run_counted(program_fd(this->what), &frame, routes > WARM_UP ? routes : WARM_UP,
			   services[this->size].id, reason);
}

#define PACKET(text, packet, service)                                                              \
	{                                                                                          \
		.name = text, .measure = measure_packet, .what = packet, .size = service           \
	}

static const struct bench_case packet_cases[] = {
	{ .name = "empty program", .measure = measure_list, .what = PROGRAM_EMPTY },
	PACKET("not ours: TCP", PACKET_TCP, SERVICE_1),
	PACKET("not ours: UDP, another port", PACKET_OTHER_PORT, SERVICE_1),
	PACKET("in the table", PACKET_KNOWN, SERVICE_1),
	PACKET("in the table, not a wildcard listener", PACKET_KNOWN, SERVICE_EXACT),
	PACKET("Initial: ring by DCID", PACKET_INITIAL, SERVICE_1),
	PACKET("unknown: ring by 4-tuple", PACKET_UNKNOWN, SERVICE_1),
};

const struct bench_group xdp_packets = {
	.title = "XDP: cs_xdp, the same packet again and again",
	.unit = "ns",
	.base = "empty program",
	.cases = packet_cases,
	.count = COUNT(packet_cases),
};

#define LIST(text, program, service)                                                               \
	{                                                                                          \
		.name = text, .measure = measure_list, .what = program, .size = service            \
	}
#define PAIR(text, service, log2)                                                                  \
	{ .name = "table, " text,                                                                  \
	  .rival = "hash map, " text,                                                              \
	  .measure = measure_list,                                                                 \
	  .what = PROGRAM_TABLE,                                                                   \
	  .size = service,                                                                         \
	  .train = log2 },                                                                         \
	{                                                                                          \
		.name = "hash map, " text, .measure = measure_list, .what = PROGRAM_HASH,          \
		.size = service, .train = log2                                                     \
	}

static const struct bench_case route_cases[] = {
	LIST("write the DCID only", PROGRAM_FEED, SERVICE_1M),
	LIST("write and parse only", PROGRAM_PARSE, SERVICE_1M),
	PAIR("1 route", SERVICE_1, 0),
	PAIR("1 k, random", SERVICE_1K, 0),
	PAIR("1 k, trains of 16", SERVICE_1K, 4),
	PAIR("100 k, random", SERVICE_100K, 0),
	PAIR("100 k, trains of 16", SERVICE_100K, 4),
	PAIR("1 M, random", SERVICE_1M, 0),
	PAIR("1 M, trains of 16", SERVICE_1M, 4),
};

const struct bench_group xdp_routes = {
	.title = "XDP: routes, another DCID in each packet (or train)",
	.unit = "ns",
	.base = "write and parse only",
	.cases = route_cases,
	.count = COUNT(route_cases),
};

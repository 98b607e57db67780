// SPDX-License-Identifier: GPL-2.0-only
/*
 * What cs_xdp and cs_reuseport are compared with.
 *
 * BPF_PROG_TEST_RUN repeats one packet.  So the programs bench_feed ... bench_hash first write the
 * next connection ID of a list into it; bench_feed does nothing else, and bench_parse stops where
 * the first map would be asked.  Then come cs_xdp's own lines, or the same with a hash map of whole
 * connection IDs in place of SipHash and table.
 */
#include "xdp.bpf.h"
#include "programs.h"

char LICENSE[] SEC("license") = "GPL";

/* Where an IPv4 short-header packet has its DCID. */
#define BENCH_DCID                                                                                 \
	(sizeof(struct ethhdr) + sizeof(struct iphdr) + sizeof(struct udphdr) +                    \
	 CS_SHORT_HEADER_DCID)

/* All lists, one behind the other.  Written by the benchmark through a mapping. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, BENCH_LISTS *BENCH_LIST);
	__type(key, __u32);
	__type(value, __u64);
} bench_list SEC(".maps");

struct bench_hash_map {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(struct bench_key));
	__uint(value_size, sizeof(__u32));
};

/* Service id -> whole connection ID -> worker: what cs_cids would be without its own table. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, CS_MAX_SERVICES);
	__type(key, __u32);
	__array(values, struct bench_hash_map);
} bench_hashes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_REUSEPORT_SOCKARRAY);
	__uint(max_entries, BENCH_WORKERS);
	__type(key, __u32);
	__type(value, __u64);
} bench_sockets SEC(".maps");

__u64 bench_packets;	   /* written so far */
__u32 bench_first;	   /* where the list in use begins */
__u32 bench_train;	   /* log2 of how many packets in a row carry one ID */
volatile __u64 bench_sink; /* keeps what is only parsed from being optimized away */

/* Writes the next ID into the packet; returns 0 if there is no room. */
CS_INLINE int feed(const struct xdp_md *ctx)
{
	__u32 turn = bench_packets++ >> bench_train;
	__u32 index = bench_first + (turn & (BENCH_LIST - 1));
	const __u64 *cid = bpf_map_lookup_elem(&bench_list, &index);
	__u8 *data = (void *)(long)ctx->data;

	if (!cid || data + BENCH_DCID + BENCH_CID > (__u8 *)(long)ctx->data_end)
		return 0;
	*(__u64 *)(data + BENCH_DCID) = *cid;
	return 1;
}

SEC("xdp")
int bench_empty(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_PASS;
}

SEC("xdp")
int bench_feed(struct xdp_md *ctx)
{
	return feed(ctx) ? XDP_PASS : XDP_ABORTED;
}

SEC("xdp")
int bench_parse(struct xdp_md *ctx)
{
	struct cs_datagram datagram = {};
	struct cs_packet packet = { .xdp = ctx, .datagram = &datagram };
	const struct cs_tuple *tuple = &datagram.tuple;
	struct cs_service service = { .cid_len = BENCH_CID };
	struct cs_quic quic = {};

	if (!feed(ctx))
		return XDP_ABORTED;
	if (cs_parse(ctx, &datagram) != CS_C_seen)
		return XDP_ABORTED;
	if (cs_packet_quic(&packet, &service, &quic))
		return XDP_ABORTED;
	bench_sink = quic.dcid.word[0] ^ tuple->word[2] ^ tuple->word[3] ^ tuple->word[4];
	return XDP_PASS;
}

SEC("xdp")
int bench_table(struct xdp_md *ctx)
{
	struct cs_verdict verdict;

	if (!feed(ctx))
		return XDP_ABORTED;
	frame_verdict(ctx, &verdict);
	cs_count(CS_HOOK_XDP, &verdict, 0);
	return XDP_PASS;
}

/* Worker that the service's hash map names, or 0. */
CS_INLINE __u32 find_whole(__u32 service, const struct cs_cid *cid)
{
	void *map = bpf_map_lookup_elem(&bench_hashes, &service);
	struct bench_key key = { .len = cid->len };
	const __u32 *worker;

	if (!map)
		return 0;
	__builtin_memcpy(key.cid, cid->byte, CS_MAX_CID);
	worker = bpf_map_lookup_elem(map, &key);
	return worker ? *worker : 0;
}

/* The way of a hit through frame_verdict() and cs_decide(). */
CS_INLINE void whole_verdict(struct xdp_md *ctx, struct cs_verdict *verdict)
{
	const struct cs_listener *listener;
	const struct cs_service *service;
	const struct cs_worker *worker;
	struct cs_datagram datagram = {};
	struct cs_packet packet = { .xdp = ctx, .datagram = &datagram };
	struct cs_quic quic = {};

	verdict->reason = cs_parse(ctx, &datagram);
	if (verdict->reason != CS_C_seen)
		return;
	verdict->reason = CS_C_not_ours;
	listener = find_listener(&datagram.tuple);
	service = listener ? cs_map_service(listener->service) : NULL;
	if (!service || !service->used || !service->cid_len)
		return;
	verdict->service = listener->service;
	verdict->reason = CS_C_malformed;
	if (cs_packet_quic(&packet, service, &quic))
		return;
	verdict->reason = CS_C_unknown_cid;
	verdict->routed = find_whole(verdict->service, &quic.dcid);
	worker = verdict->routed ? cs_map_worker(verdict->routed) : NULL;
	if (!worker || worker->service != verdict->service)
		return;
	if (cs_worker_serves(worker->state))
		verdict->reason = CS_C_by_table;
}

SEC("xdp")
int bench_hash(struct xdp_md *ctx)
{
	struct cs_verdict verdict = {};

	if (!feed(ctx))
		return XDP_ABORTED;
	whole_verdict(ctx, &verdict);
	cs_count(CS_HOOK_XDP, &verdict, 0);
	return XDP_PASS;
}

__u32 bench_way;     /* interface by which bench_send sends */
__u32 bench_sum;     /* of its datagrams without their IDs (RFC 1071), not complemented */
__u8 bench_owner;    /* whose IDs they have */
__u64 bench_sent;    /* by bench_send */
__u64 bench_taken;   /* of these; written by the worker */
__u64 bench_window;  /* how many are under way at most */
__u64 bench_wait_ns; /* that bench_send has waited for the worker */
__u64 bench_dropped; /* by bench_drop */

CS_INLINE __u32 fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

CS_INLINE int is_full(void)
{
	return bench_sent - *(volatile __u64 *)&bench_taken >= bench_window;
}

static long look_again(__u32 index, void *unused)
{
	(void)index;
	(void)unused;
	return !is_full();
}

/* The thread cannot lose its CPU here, so the time that passes is its CPU time. */
CS_INLINE void wait_for_room(void)
{
	__u64 start = bpf_ktime_get_ns();

	bpf_loop(BENCH_SPIN, look_again, NULL, 0);
	bench_wait_ns += bpf_ktime_get_ns() - start;
}

/*
 * Sends a frame of the kernel's own making (BPF_F_TEST_XDP_LIVE_FRAMES), with the next ID; or,
 * after some waiting, drops it: others may want the CPU.
 */
SEC("xdp")
int bench_send(struct xdp_md *ctx)
{
	__u64 cid = bench_cid(bench_owner, bench_sent);
	__u8 *data = (void *)(long)ctx->data;
	struct udphdr *udp = (void *)(data + sizeof(struct ethhdr) + sizeof(struct iphdr));
	__u32 sum = 0;

	if (data + BENCH_DCID + BENCH_CID > (__u8 *)(long)ctx->data_end)
		return XDP_ABORTED;
	if (is_full())
		wait_for_room();
	if (is_full())
		return XDP_DROP;
	bench_sent++;
	*(__u64 *)(data + BENCH_DCID) = cid;
	for (int i = 0; i < BENCH_CID / 2; i++)
		sum += (__u16)(cid >> 16 * i);
	/* At an odd place of the datagram the bytes of each word count the other way round. */
	udp->check = ~fold(bench_sum + __builtin_bswap16(fold(sum)));
	return bpf_redirect(bench_way, 0);
}

SEC("xdp")
int bench_drop(struct xdp_md *ctx)
{
	(void)ctx;
	bench_dropped++;
	return XDP_DROP;
}

SEC("sk_reuseport")
int bench_pass(struct sk_reuseport_md *md)
{
	(void)md;
	return SK_PASS;
}

/* What servers do today: the worker's index is a byte of the connection ID. */
SEC("sk_reuseport")
int bench_index(struct sk_reuseport_md *md)
{
	const __u8 *data = md->data;
	__u32 slot;

	cs_keep_types();
	data += sizeof(struct udphdr) + CS_SHORT_HEADER_DCID;
	if (data + 1 > (const __u8 *)md->data_end)
		return SK_PASS;
	slot = *data % BENCH_WORKERS;
	bpf_sk_select_reuseport(md, &bench_sockets, &slot, 0);
	return SK_PASS;
}

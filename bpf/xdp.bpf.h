/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What cs_xdp and cs_explain share: from a frame to a verdict.  Nothing here counts or acts.
 */
#ifndef CS_XDP_BPF_H
#define CS_XDP_BPF_H

#include "maps.bpf.h"
#include "parse.bpf.h"

/* Network namespace that this instance serves: an index into cs_abi.netns_cookie.  XDP cannot
 * ask for the namespace of its device, so each namespace has an instance.
 */
const volatile __u16 cs_netns = 0;

/* At sk_reuseport the IP header lies before the data: read it only when it is asked for. */
CS_INLINE void cs_packet_tuple(const struct cs_packet *packet, struct cs_tuple *tuple)
{
	if (!packet->md) {
		*tuple = packet->tuple;
		return;
	}
	if (packet->md->eth_protocol == bpf_htons(ETH_P_IP)) {
		__be32 addrs[2] = {};

		bpf_skb_load_bytes_relative(packet->md, offsetof(struct iphdr, saddr), addrs,
					    sizeof(addrs), BPF_HDR_START_NET);
		cs_map_ipv4(tuple->saddr, addrs[0]);
		cs_map_ipv4(tuple->daddr, addrs[1]);
	} else {
		bpf_skb_load_bytes_relative(packet->md, offsetof(struct ipv6hdr, saddr),
					    tuple->saddr, 32, BPF_HDR_START_NET);
	}
	bpf_skb_load_bytes(packet->md, 0, &tuple->sport, 4);
}

CS_INLINE int is_mapped_ipv4(const __u8 ip[16])
{
	const __u32 *word = (const __u32 *)ip;

	return !word[0] && !word[1] && word[2] == bpf_htonl(0xffff);
}

/* The listener of an address: the exact one before the wildcard. */
CS_INLINE const struct cs_listener *find_listener(const struct cs_tuple *tuple)
{
	struct cs_addr addr = { .port = tuple->dport, .netns = cs_netns };
	const struct cs_listener *exact, *any;
	__u32 netns = cs_netns, line;
	const struct cs_ports *ports = bpf_map_lookup_elem(&cs_ports, &netns);
	const struct cs_line *found;

	line = ports ? ports->line[tuple->dport] : 0;
	if (!line)
		return NULL;
	found = bpf_map_lookup_elem(&cs_lines, &line);
	if (!found)
		return NULL;
	if (found->exact) {
		__builtin_memcpy(addr.ip, tuple->daddr, 16);
		exact = bpf_map_lookup_elem(&cs_addrs, &addr);
		if (exact)
			return exact;
	}
	any = is_mapped_ipv4(tuple->daddr) ? &found->any[1] : &found->any[0];
	return any->service ? any : NULL;
}

CS_INLINE void frame_verdict(const struct xdp_md *ctx, struct cs_verdict *verdict)
{
	struct cs_cursor cursor = { (void *)(long)ctx->data, (void *)(long)ctx->data_end };
	const struct cs_listener *listener;
	struct cs_packet packet = {};
	__u32 length = 0;

	*verdict = (struct cs_verdict){};
	verdict->reason = parse_frame(&cursor, &packet.tuple, &length);
	if (verdict->reason != CS_C_seen)
		return;
	listener = find_listener(&packet.tuple);
	if (!listener) {
		verdict->reason = CS_C_not_ours;
		return;
	}
	cs_decide(&packet, listener, cursor.at, cursor.end, length, verdict);
}

#endif

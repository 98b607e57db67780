/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What cs_xdp and cs_explain share: from a frame to a verdict.  Nothing here counts or acts.
 */
#ifndef CS_XDP_BPF_H
#define CS_XDP_BPF_H

#include "maps.bpf.h"
#include "packet.bpf.h"

/* Network namespace that this instance serves: an index into cs_abi.netns_cookie.  XDP cannot
 * ask for the namespace of its device, so each namespace has an instance.
 */
const volatile __u16 cs_netns = 0;

CS_INLINE int is_mapped_ipv4(const __u8 ip[16])
{
	const __u32 *word = (const __u32 *)ip;

	return !word[0] && !word[1] && word[2] == bpf_htonl(0xffff);
}

/* Keys of cs_addrs for all addresses, which a packet may name as well. */
CS_INLINE int is_wildcard(const __u8 ip[16])
{
	const __u32 *word = (const __u32 *)ip;

	return !word[0] && !word[1] && (!word[2] || is_mapped_ipv4(ip)) && !word[3];
}

/* Is this an address of the namespace?  A router also forwards other hosts' UDP. */
CS_INLINE int is_local(const struct cs_ports *ports, const struct cs_tuple *tuple)
{
	const __u64 *addr = (const __u64 *)tuple->daddr;
	__u32 line = cs_local_line(cs_netns, addr);
	const struct cs_local *local = bpf_map_lookup_elem(&cs_locals, &line);
	struct cs_prefix prefix = { .len = 32 + 128, .netns = cs_netns };

	/* A free slot is not the address ::, which is nobody's. */
	for (int i = 0; local && i < 4; i++) {
		if (local->addr[i][0] == addr[0] && local->addr[i][1] == addr[1])
			return addr[0] || addr[1];
	}
	if (!ports->prefixes)
		return 0;
	__builtin_memcpy(prefix.ip, tuple->daddr, 16);
	return !!bpf_map_lookup_elem(&cs_prefixes, &prefix);
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
	if (found->exact && !is_wildcard(tuple->daddr)) {
		__builtin_memcpy(addr.ip, tuple->daddr, 16);
		exact = bpf_map_lookup_elem(&cs_addrs, &addr);
		if (exact)
			return exact;
	}
	any = is_mapped_ipv4(tuple->daddr) ? &found->any[1] : &found->any[0];
	return any->service && is_local(ports, tuple) ? any : NULL;
}

CS_INLINE void frame_verdict(struct xdp_md *ctx, struct cs_verdict *verdict)
{
	const struct cs_listener *listener;
	struct cs_datagram datagram = {};
	struct cs_packet packet = { .xdp = ctx, .datagram = &datagram };

	__builtin_memset(verdict, 0, sizeof(*verdict));
	verdict->reason = cs_parse(ctx, &datagram);
	if (verdict->reason != CS_C_seen)
		return;
	listener = find_listener(&datagram.tuple);
	if (!listener) {
		verdict->reason = CS_C_not_ours;
		return;
	}
	cs_decide(&packet, listener, verdict);
}

#endif

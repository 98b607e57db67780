/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * From the frame to the UDP payload: Ethernet, IPv4 or IPv6, UDP.
 *
 * A cursor that each step advances.  What is not plain UDP over IP is the stack's: VLAN tags,
 * IPv6 extension headers, tunnels.  cs_reuseport routes all of that when it comes out there.
 */
#ifndef CS_PARSE_BPF_H
#define CS_PARSE_BPF_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "core/decide.h"

#define CS_IP_FRAGMENT 0x3fff /* more fragments, or an offset (RFC 791) */

/* What was read of a packet; the hook sets @md when only the packet itself has the 4-tuple. */
struct cs_packet {
	struct cs_tuple tuple;
	struct sk_reuseport_md *md;
};

struct cs_cursor {
	const __u8 *at;
	const __u8 *end;
};

CS_INLINE void cs_map_ipv4(__u8 to[16], __be32 addr)
{
	__u32 *word = (__u32 *)to;

	word[0] = 0;
	word[1] = 0;
	word[2] = bpf_htonl(0xffff);
	word[3] = addr;
}

/* Returns CS_C_seen for "go on", else the reason to pass. */
CS_INLINE __u32 parse_ipv4(struct cs_cursor *cursor, struct cs_tuple *tuple)
{
	const struct iphdr *ip = (const void *)cursor->at;
	__u32 len;

	if (cursor->at + sizeof(*ip) > cursor->end)
		return CS_C_not_ours;
	len = ip->ihl * 4;
	if (len < sizeof(*ip) || ip->protocol != IPPROTO_UDP)
		return CS_C_not_ours;
	if (ip->frag_off & bpf_htons(CS_IP_FRAGMENT))
		return CS_C_fragment;
	cs_map_ipv4(tuple->saddr, ip->saddr);
	cs_map_ipv4(tuple->daddr, ip->daddr);
	cursor->at += len;
	return CS_C_seen;
}

CS_INLINE __u32 parse_ipv6(struct cs_cursor *cursor, struct cs_tuple *tuple)
{
	const struct ipv6hdr *ip = (const void *)cursor->at;

	if (cursor->at + sizeof(*ip) > cursor->end)
		return CS_C_not_ours;
	if (ip->nexthdr == IPPROTO_FRAGMENT)
		return CS_C_fragment;
	if (ip->nexthdr != IPPROTO_UDP)
		return CS_C_not_ours;
	__builtin_memcpy(tuple->saddr, &ip->saddr, 16);
	__builtin_memcpy(tuple->daddr, &ip->daddr, 16);
	cursor->at += sizeof(*ip);
	return CS_C_seen;
}

/* The payload ends where UDP says, padding of short frames behind it is not part of it. */
CS_INLINE __u32 parse_udp(struct cs_cursor *cursor, struct cs_tuple *tuple, __u32 *length)
{
	const struct udphdr *udp = (const void *)cursor->at;
	__u32 len;

	if (cursor->at + sizeof(*udp) > cursor->end)
		return CS_C_not_ours;
	len = bpf_ntohs(udp->len);
	/* Not valid; or a jumbogram, whose length is elsewhere (RFC 2675): cs_reuseport sees it. */
	if (len < sizeof(*udp))
		return CS_C_not_ours;
	tuple->sport = udp->source;
	tuple->dport = udp->dest;
	*length = len - sizeof(*udp);
	cursor->at += sizeof(*udp);
	return CS_C_seen;
}

CS_INLINE __u32 parse_frame(struct cs_cursor *cursor, struct cs_tuple *tuple, __u32 *length)
{
	const struct ethhdr *eth = (const void *)cursor->at;
	__u32 reason;

	if (cursor->at + sizeof(*eth) > cursor->end)
		return CS_C_not_ours;
	cursor->at += sizeof(*eth);
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		reason = parse_ipv4(cursor, tuple);
	else if (eth->h_proto == bpf_htons(ETH_P_IPV6))
		reason = parse_ipv6(cursor, tuple);
	else
		return CS_C_not_ours;
	if (reason != CS_C_seen)
		return reason;
	return parse_udp(cursor, tuple, length);
}

#endif

/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * From the frame to the UDP payload: Ethernet with up to two tags, IPv4 or IPv6 with extension
 * headers, UDP.  docs/packets.md, section 1, has the same in words.
 *
 * What is not UDP over IP for this host is the stack's, which discards or reassembles it;
 * cs_reuseport routes what comes out there.
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

#define CS_TAGS 2
#define CS_EXTENSIONS 8
#define CS_HEADERS 512		/* bytes of a frame that all headers lie in */
#define CS_IPV4_FRAGMENT 0x3fff /* more fragments, or an offset (RFC 791) */
#define CS_IPV6_FRAGMENT 0xfff9 /* the same (RFC 8200, section 4.5) */

/* Where a UDP datagram lies in its frame. */
struct cs_datagram {
	struct cs_tuple tuple;
	__u32 offset; /* of the payload in the frame, bytes */
	__u32 length; /* of the payload; 0 also if UDP's length and IP's contradict each other */
};

/* An IP packet whose header was read. */
struct cs_ip {
	__u32 offset; /* of what comes next in the frame */
	__u32 length; /* from there to the packet's end */
	__u8 next;    /* protocol */
	__u8 is_ipv6;
};

struct cs_tag {
	__be16 control;
	__be16 type;
};

/* Does the frame have @length bytes from @offset on?  The first buffer is asked first: it is all
 * there is, unless the driver has several for a frame.
 */
CS_INLINE int frame_has(struct xdp_md *ctx, __u32 offset, __u32 length)
{
	const __u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;

	return data + offset + length <= end || offset + length <= bpf_xdp_get_buff_len(ctx);
}

CS_INLINE void cs_map_ipv4(__u8 to[16], __be32 addr)
{
	__u32 *word = (__u32 *)to;

	word[0] = 0;
	word[1] = 0;
	word[2] = bpf_htonl(0xffff);
	word[3] = addr;
}

/* Each of these returns CS_C_seen for "go on", else the reason to pass. */
CS_INLINE __u32 parse_ipv4(struct xdp_md *ctx, struct cs_ip *ip, struct cs_tuple *tuple)
{
	const __u8 *at = (void *)(long)ctx->data + ip->offset;
	const struct iphdr *header = (const void *)at;
	__u32 len, total;

	if (at + sizeof(*header) > (const __u8 *)(long)ctx->data_end)
		return CS_C_not_ours;
	len = header->ihl * 4;
	total = bpf_ntohs(header->tot_len);
	if (header->version != 4 || len < sizeof(*header) || total < len ||
	    !frame_has(ctx, ip->offset, total))
		return CS_C_not_ours;
	if (header->protocol != IPPROTO_UDP)
		return CS_C_not_ours;
	if (header->frag_off & bpf_htons(CS_IPV4_FRAGMENT))
		return CS_C_fragment;
	cs_map_ipv4(tuple->saddr, header->saddr);
	cs_map_ipv4(tuple->daddr, header->daddr);
	ip->offset += len;
	ip->length = total - len;
	return CS_C_seen;
}

/* One extension header (RFC 8200, section 4). */
CS_INLINE __u32 parse_extension(struct xdp_md *ctx, struct cs_ip *ip, int first)
{
	__u8 header[8];
	__u32 len;

	if (ip->length < sizeof(header) || ip->offset > CS_HEADERS - sizeof(header) ||
	    bpf_xdp_load_bytes(ctx, ip->offset, header, sizeof(header)))
		return CS_C_not_ours;
	len = (header[1] + 1) * 8;
	switch (ip->next) {
	case IPPROTO_HOPOPTS:
		if (!first)
			return CS_C_not_ours;
		break;
	case IPPROTO_DSTOPTS:
		break;
	case IPPROTO_ROUTING: /* while segments are left, the packet is still under way */
		if (header[3])
			return CS_C_not_ours;
		break;
	case IPPROTO_FRAGMENT: /* a whole datagram may have one, too (RFC 6946) */
		if (*(__be16 *)&header[2] & bpf_htons(CS_IPV6_FRAGMENT))
			return CS_C_fragment;
		len = sizeof(header);
		break;
	default:
		return CS_C_not_ours;
	}
	if (len > ip->length)
		return CS_C_not_ours;
	ip->next = header[0];
	ip->offset += len;
	ip->length -= len;
	return CS_C_seen;
}

/* A function of its own for the verifier, which so looks at the loop once. */
__attribute__((noinline)) int cs_extensions(struct xdp_md *ctx, struct cs_ip *out)
{
	__u32 reason = CS_C_not_ours;
	struct cs_ip ip;

	if (!out)
		return CS_C_not_ours;
	ip = *out;
	for (int i = 0; i < CS_EXTENSIONS && ip.next != IPPROTO_UDP; i++) {
		reason = parse_extension(ctx, &ip, !i);
		if (reason != CS_C_seen)
			return reason;
	}
	if (ip.next != IPPROTO_UDP)
		return CS_C_not_ours;
	*out = ip;
	return CS_C_seen;
}

CS_INLINE __u32 parse_ipv6(struct xdp_md *ctx, struct cs_ip *ip, struct cs_tuple *tuple)
{
	const __u8 *at = (void *)(long)ctx->data + ip->offset;
	const struct ipv6hdr *header = (const void *)at;

	if (at + sizeof(*header) > (const __u8 *)(long)ctx->data_end)
		return CS_C_not_ours;
	ip->length = bpf_ntohs(header->payload_len);
	/* Without a length a jumbogram (RFC 2675): cs_reuseport sees it. */
	if (header->version != 6 || !ip->length ||
	    !frame_has(ctx, ip->offset, sizeof(*header) + ip->length))
		return CS_C_not_ours;
	__builtin_memcpy(tuple->saddr, &header->saddr, 16);
	__builtin_memcpy(tuple->daddr, &header->daddr, 16);
	ip->offset += sizeof(*header);
	ip->next = header->nexthdr;
	ip->is_ipv6 = 1;
	return ip->next == IPPROTO_UDP ? CS_C_seen : cs_extensions(ctx, ip);
}

/* The payload ends where UDP says; what lies behind it in the frame is padding. */
CS_INLINE __u32 parse_udp(struct xdp_md *ctx, const struct cs_ip *ip, struct cs_datagram *datagram)
{
	const struct udphdr *udp;
	__u32 len;

	if (ip->length < sizeof(*udp) || ip->offset > CS_HEADERS - sizeof(*udp))
		return CS_C_not_ours;
	udp = (void *)(long)ctx->data + ip->offset;
	if ((const void *)(udp + 1) > (const void *)(long)ctx->data_end)
		return CS_C_not_ours;
	len = bpf_ntohs(udp->len);
	if (!len && ip->is_ipv6)
		return CS_C_not_ours;
	datagram->tuple.sport = udp->source;
	datagram->tuple.dport = udp->dest;
	datagram->offset = ip->offset + sizeof(*udp);
	datagram->length = len < sizeof(*udp) || len > ip->length ? 0 : len - sizeof(*udp);
	return CS_C_seen;
}

/*
 * cs_parse - find the UDP payload
 * @datagram:	all zero; written as far as it was read
 *
 * Returns CS_C_seen, or the reason to pass: CS_C_not_ours, CS_C_fragment.  A function of its own
 * for the verifier: what follows is then verified once, not once for each sort of frame.
 */
__attribute__((noinline)) int cs_parse(struct xdp_md *ctx, struct cs_datagram *datagram)
{
	const __u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct cs_ip ip = { .offset = ETH_HLEN };
	const struct cs_tag *tag;
	__u32 reason;
	__be16 type;

	if (!datagram || data + ETH_HLEN > end)
		return CS_C_not_ours;
	type = ((const struct ethhdr *)data)->h_proto;
	for (int i = 0; i < CS_TAGS; i++) {
		if (type != bpf_htons(ETH_P_8021Q) && type != bpf_htons(ETH_P_8021AD))
			break;
		tag = (const void *)(data + ip.offset);
		if ((const __u8 *)(tag + 1) > end)
			return CS_C_not_ours;
		type = tag->type;
		ip.offset += sizeof(*tag);
	}
	if (type == bpf_htons(ETH_P_IP))
		reason = parse_ipv4(ctx, &ip, &datagram->tuple);
	else if (type == bpf_htons(ETH_P_IPV6))
		reason = parse_ipv6(ctx, &ip, &datagram->tuple);
	else
		return CS_C_not_ours;
	if (reason != CS_C_seen)
		return reason;
	return parse_udp(ctx, &ip, datagram);
}

#endif

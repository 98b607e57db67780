/* SPDX-License-Identifier: GPL-2.0-only */
/* What cs_decide() asks of a packet, at both hooks: its QUIC header, its 4-tuple. */
#ifndef CS_PACKET_BPF_H
#define CS_PACKET_BPF_H

#include "maps.bpf.h"
#include "parse.bpf.h"

/* One of both contexts; at XDP the headers before QUIC have been read. */
struct cs_packet {
	struct cs_datagram datagram;
	struct xdp_md *xdp;
	struct sk_reuseport_md *md;
};

/* At sk_reuseport the IP header lies before the data: read it only when it is asked for. */
CS_INLINE void cs_packet_tuple(const struct cs_packet *packet, struct cs_tuple *tuple)
{
	if (!packet->md) {
		*tuple = packet->datagram.tuple;
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

/*
 * The head of a payload that is not all to be read in place, copied; NULL: it cannot be read.
 * The last byte's index rather than their number: the verifier of 6.1 does not learn from "not 0"
 * that a number is 1 or more.  Without the barrier clang makes it a number again.  Nothing is
 * lost; scripts/kernels is red without it.
 */
CS_INLINE const __u8 *copy_head(const struct cs_packet *packet, __u32 offset, __u32 length)
{
	__u32 hook = packet->md ? CS_HOOK_REUSEPORT : CS_HOOK_XDP, last;
	struct cs_head *head = bpf_map_lookup_elem(&cs_head, &hook);
	long err;

	if (!head)
		return NULL;
	last = length - 1 < CS_HEAD_BYTES ? length - 1 : CS_HEAD_BYTES - 1;
	barrier_var(last);
	if (!length)
		return head->byte;
	err = packet->md ? bpf_skb_load_bytes(packet->md, offset, head, last + 1) :
			   bpf_xdp_load_bytes(packet->xdp, offset, head, last + 1);
	return err ? NULL : head->byte;
}

CS_INLINE int cs_packet_quic(const struct cs_packet *packet, __u8 cid_len, struct cs_quic *quic)
{
	__u32 offset, length;
	const __u8 *at, *end;

	if (packet->md) {
		at = packet->md->data;
		end = packet->md->data_end;
		offset = sizeof(struct udphdr);
		length = packet->md->len - offset;
	} else {
		at = (void *)(long)packet->xdp->data;
		end = (void *)(long)packet->xdp->data_end;
		offset = packet->datagram.offset;
		length = packet->datagram.length;
		if (offset > CS_HEADERS) /* never; for the verifier */
			return -1;
	}
	at += offset;
	if (at + CS_HEAD_BYTES <= end)
		return cs_quic_parse(at, length, cid_len, quic);
	at = copy_head(packet, offset, length);
	return at ? cs_quic_parse(at, length, cid_len, quic) : -1;
}

#endif

/* SPDX-License-Identifier: GPL-2.0-only */
/* What cs_decide() asks of a packet, at both hooks: its QUIC header, its 4-tuple. */
#ifndef CS_PACKET_BPF_H
#define CS_PACKET_BPF_H

#include "maps.bpf.h"
#include "parse.bpf.h"

/* At XDP the datagram, which was found already; at sk_reuseport NULL, by which clang knows which
 * hook it is: the verifier of 6.1 looks at code of the other one, too, and refuses it.
 */
struct cs_packet {
	const struct cs_datagram *datagram;
	struct xdp_md *xdp;
	struct sk_reuseport_md *md;
};

/* At sk_reuseport the IP header lies before the data: read it only when it is asked for. */
CS_INLINE void cs_packet_tuple(const struct cs_packet *packet, struct cs_tuple *tuple)
{
	if (packet->datagram) {
		*tuple = packet->datagram->tuple;
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
CS_INLINE const __u8 *copy_head(__u32 hook, void *ctx, __u32 offset, __u32 length)
{
	__u32 line = hook, last; /* clang knows @hook for as long as nobody has its address */
	struct cs_head *head = bpf_map_lookup_elem(&cs_head, &line);
	long err;

	if (!head)
		return NULL;
	last = length - 1 < CS_HEAD_BYTES ? length - 1 : CS_HEAD_BYTES - 1;
	barrier_var(last);
	if (!length)
		return head->byte;
	err = hook == CS_HOOK_XDP ? bpf_xdp_load_bytes(ctx, offset, head, last + 1) :
				    bpf_skb_load_bytes(ctx, offset, head, last + 1);
	return err ? NULL : head->byte;
}

/*
 * Functions of their own for the verifier: what follows is verified once, not once for each form
 * of header and length of DCID.
 */
__attribute__((noinline)) int cs_read_xdp(struct xdp_md *ctx, __u32 offset, __u32 length,
					  const struct cs_service *service, struct cs_quic *quic)
{
	const __u8 *at, *end = (void *)(long)ctx->data_end;

	if (!service || !quic || offset > CS_HEADERS) /* never; for the verifier */
		return -1;
	at = (void *)(long)ctx->data + offset;
	if (at + CS_HEAD_BYTES <= end)
		return cs_quic_parse(at, length, service, quic);
	at = copy_head(CS_HOOK_XDP, ctx, offset, length);
	return at ? cs_quic_parse(at, length, service, quic) : -1;
}

__attribute__((noinline)) int cs_read_socket(struct sk_reuseport_md *md,
					     const struct cs_service *service, struct cs_quic *quic)
{
	const __u8 *at = md->data, *end = md->data_end;
	__u32 offset = sizeof(struct udphdr), length = md->len - offset;

	if (!service || !quic)
		return -1;
	at += offset;
	if (at + CS_HEAD_BYTES <= end)
		return cs_quic_parse(at, length, service, quic);
	at = copy_head(CS_HOOK_REUSEPORT, md, offset, length);
	return at ? cs_quic_parse(at, length, service, quic) : -1;
}

CS_INLINE int cs_packet_quic(const struct cs_packet *packet, const struct cs_service *service,
			     struct cs_quic *quic)
{
	if (packet->datagram)
		return cs_read_xdp(packet->xdp, packet->datagram->offset, packet->datagram->length,
				   service, quic);
	return cs_read_socket(packet->md, service, quic);
}

#endif

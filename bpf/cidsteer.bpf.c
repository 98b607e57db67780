// SPDX-License-Identifier: GPL-2.0-only
/*
 * The two hooks: parse, decide, act, count.
 */
#include "xdp.bpf.h"

char LICENSE[] SEC("license") = "GPL";

/* Listener that an instance of cs_reuseport serves: told, never looked up, because DNAT may
 * have altered the address that XDP saw.
 */
const volatile struct cs_listener cs_listener = {};

SEC("xdp")
int cs_xdp(struct xdp_md *ctx)
{
	struct cs_verdict verdict;

	frame_verdict(ctx, &verdict);
	cs_count(CS_HOOK_XDP, verdict.service, verdict.reason);
	return XDP_PASS;
}

CS_INLINE void datagram_verdict(struct sk_reuseport_md *md, const struct cs_listener *listener,
				struct cs_verdict *verdict)
{
	const __u8 *data = md->data, *end = md->data_end;
	struct cs_packet packet = { .md = md };
	__u32 length = md->len - sizeof(struct udphdr), zero = 0, last;
	struct cs_head *head;

	data += sizeof(struct udphdr);
	if (data + CS_HEAD_BYTES <= end || data + length <= end) {
		cs_decide(&packet, listener, data, end, length, verdict);
		return;
	}
	/* In fragments of the skb: a large send on loopback, or a driver that keeps only the
	 * headers linear.
	 */
	head = bpf_map_lookup_elem(&cs_head, &zero);
	if (!head)
		return;
	/* The last byte rather than their number: the verifier of 6.1 does not learn from "not 0"
	 * that a number is 1 or more.  Without the barrier clang makes it a number again.  Nothing
	 * is lost; scripts/kernels is red without it.
	 */
	last = length - 1 < CS_HEAD_BYTES ? length - 1 : CS_HEAD_BYTES - 1;
	barrier_var(last);
	if (length)
		bpf_skb_load_bytes(md, sizeof(struct udphdr), head, last + 1);
	data = head->byte;
	cs_decide(&packet, listener, data, data + CS_HEAD_BYTES, length, verdict);
}

/* Never SK_DROP: it is answered with an ICMP, which tells a prober which IDs exist. */
SEC("sk_reuseport")
int cs_reuseport(struct sk_reuseport_md *md)
{
	struct cs_listener listener = {
		.service = cs_listener.service,
		.listener = cs_listener.listener,
		.position = cs_listener.position,
	};
	struct cs_verdict verdict = { .reason = CS_C_no_worker };
	__u32 slot;

	cs_keep_types();
	datagram_verdict(md, &listener, &verdict);
	if (verdict.worker) {
		slot = verdict.index + listener.position;
		/* Empty: the worker died a moment ago.  The kernel's own hash then picks a
		 * socket that is still there.
		 */
		if (bpf_sk_select_reuseport(md, &cs_sockets, &slot, 0))
			verdict.reason = CS_C_no_socket;
	}
	cs_count(CS_HOOK_REUSEPORT, listener.service, verdict.reason);
	return SK_PASS;
}

// SPDX-License-Identifier: GPL-2.0-only
/*
 * The two hooks: parse, decide, act, count.
 */
#include "xdp.bpf.h"
#include "targets.bpf.h"
#include "watch.bpf.h"

char LICENSE[] SEC("license") = "GPL";

/* A daemon that is there knows who serves.  Without one a server may have been started anew,
 * unknown to us, whose packets would be dropped, or sent to where it is not.
 */
CS_INLINE int lease_is_valid(void)
{
	__u32 zero = 0;
	const struct cs_lease *lease = bpf_map_lookup_elem(&cs_lease, &zero);

	return lease && bpf_ktime_get_ns() < lease->until_ns;
}

/* What takes a packet away from the stack. */
CS_INLINE int needs_lease(const struct cs_verdict *verdict)
{
	return verdict->drop || verdict->target == CS_TARGET_DEVICE;
}

/* What a service says of packets whose worker has no AF_XDP socket for them. */
CS_INLINE int drops_without_xsk(const struct cs_verdict *verdict)
{
	const struct cs_service *service = cs_map_service(verdict->service);

	return service && service->no_xsk == CS_POLICY_DROP;
}

/* Returns XDP_REDIRECT, or XDP_PASS, which a drop may take the place of. */
CS_INLINE int send_to_xsk(struct xdp_md *ctx, struct cs_verdict *verdict, int *dropped, __u32 *note)
{
	int missing = 0, action = cs_send_to_xsk(ctx, verdict, &missing, note);

	if (!missing || !drops_without_xsk(verdict))
		return action;
	verdict->drop = CS_C_dropped_no_xsk;
	*dropped = lease_is_valid();
	if (*dropped)
		*note = 0;
	return action;
}

SEC("xdp")
int cs_xdp(struct xdp_md *ctx)
{
	int leased, dropped, action = XDP_PASS;
	struct cs_verdict verdict;
	__u32 note = 0;

	frame_verdict(ctx, &verdict);
	leased = needs_lease(&verdict) && lease_is_valid();
	dropped = verdict.drop && leased;
	/* Before it is watched: here it may turn out that it is to be dropped. */
	if (verdict.target == CS_TARGET_XSK && !dropped)
		action = send_to_xsk(ctx, &verdict, &dropped, &note);
	if (dropped) {
		verdict.reason = verdict.drop;
		verdict.drop = 0;
		verdict.worker = 0;
	}
	/* Before it is sent to a device: a trace has it as it came. */
	if (cs_is_watched(verdict.reason, verdict.drop))
		cs_watch_xdp(ctx, verdict.reason, verdict.drop, verdict.worker, verdict.routed);
	if (dropped)
		action = XDP_DROP;
	else if (verdict.target != CS_TARGET_XSK)
		action = cs_send(ctx, &verdict, leased, &note);
	cs_count(CS_HOOK_XDP, &verdict, note);
	return action;
}

/* Never SK_DROP: it is answered with an ICMP, which tells a prober which IDs exist. */
SEC("sk_reuseport")
int cs_reuseport(struct sk_reuseport_md *md)
{
	struct cs_listener listener = this_listener();
	struct cs_packet packet = { .md = md };
	struct cs_verdict verdict;
	__u32 slot;

	cs_keep_types();
	cs_decide(&packet, &listener, &verdict);
	if (verdict.worker) {
		slot = verdict.index + listener.position;
		/* Empty: the worker died a moment ago.  The kernel's own hash then picks a
		 * socket that is still there.
		 */
		if (bpf_sk_select_reuseport(md, &cs_sockets, &slot, 0))
			verdict.reason = CS_C_no_socket;
	}
	cs_count(CS_HOOK_REUSEPORT, &verdict, 0);
	if (cs_is_watched(verdict.reason, verdict.drop))
		cs_watch_socket(md, verdict.reason, verdict.drop, verdict.worker, verdict.routed);
	return SK_PASS;
}

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

/* What a service says of packets whose worker has no AF_XDP socket for them. */
CS_INLINE int drops_without_xsk(__u32 service_id)
{
	const struct cs_service *service = cs_map_service(service_id);

	return service && service->no_xsk == CS_POLICY_DROP;
}

/*
 * cs_send - to where the packets of @worker go
 * @target:	of @worker, CS_TARGET_*
 *
 * A function of its own for the verifier: what comes behind it is the same for each target.  A
 * target that is not there (any more) is none: the packet is passed, as every other.  To a device
 * within the daemon's lease only: it would take packets from a stack that may have a server again.
 * Returns what to count beside the verdict, CS_C_*, which also says if the packet was sent; 0 for
 * nothing; CS_C_dropped_no_xsk where the service drops for want of an AF_XDP socket.
 */
__attribute__((noinline)) __u32 cs_send(struct xdp_md *ctx, __u32 target, __u32 service,
					__u32 worker)
{
	const struct cs_target *to = bpf_map_lookup_elem(&cs_targets, &worker);
	int missing = 0;
	__u32 note = 0;

	if (target == CS_TARGET_XSK)
		note = send_to_xsk(ctx, to, &missing);
	else if (to && target == CS_TARGET_CPU)
		note = send_to_cpu(to);
	else if (to && target == CS_TARGET_DEVICE)
		note = lease_is_valid() ? send_to_device(ctx, to) : CS_C_not_to_device;
	return missing && drops_without_xsk(service) ? CS_C_dropped_no_xsk : note;
}

CS_INLINE int is_sent(__u32 note)
{
	return note == CS_C_to_cpu || note == CS_C_to_device || note == CS_C_to_xsk;
}

SEC("xdp")
int cs_xdp(struct xdp_md *ctx)
{
	struct cs_verdict verdict;
	__u32 note = 0;
	int dropped;

	frame_verdict(ctx, &verdict);
	dropped = verdict.drop && lease_is_valid();
	if (verdict.target != CS_TARGET_SOCKET && !dropped)
		note = cs_send(ctx, verdict.target, verdict.service, verdict.worker);
	if (note == CS_C_dropped_no_xsk) {
		verdict.drop = CS_C_dropped_no_xsk;
		note = CS_C_not_to_xsk;
		dropped = lease_is_valid();
	}
	if (dropped) {
		verdict.reason = verdict.drop;
		verdict.drop = 0;
		verdict.worker = 0;
		note = 0;
	}
	if (cs_is_watched(verdict.reason, verdict.drop))
		cs_watch_xdp(ctx, verdict.reason, verdict.drop, verdict.worker, verdict.routed);
	cs_count(CS_HOOK_XDP, &verdict, note);
	if (dropped)
		return XDP_DROP;
	return is_sent(note) ? XDP_REDIRECT : XDP_PASS;
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

/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where XDP sends a packet of a worker: the maps, and a function for each kind of target.
 */
#ifndef CS_TARGETS_BPF_H
#define CS_TARGETS_BPF_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "core/abi.h"

/* Worker id -> what its target needs.  Written: daemon, before its entry in cs_workers names the
 * target.  Read: XDP, for such workers only, and command.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CS_MAX_WORKERS);
	__type(key, __u32);
	__type(value, struct cs_target);
} cs_targets SEC(".maps");

/*
 * CPU -> its queue, and the thread that takes packets from it (Documentation/bpf/map_cpumap.rst).
 * Written: daemon, for CPUs that workers name.  Full: a queue drops, which no program sees.
 * Made with CS_MAX_CPUS entries, or as many as the kernel takes; who loads the object otherwise has
 * one, and nothing in it.
 */
struct {
	__uint(type, BPF_MAP_TYPE_CPUMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct bpf_cpumap_val);
} cs_cpus SEC(".maps");

/* CPU -> what was sent to it, and what arrived.  Written: programs.  Read: command. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CS_MAX_CPUS);
	__type(key, __u32);
	__type(value, struct cs_cpu_count);
} cs_cpu_counts SEC(".maps");

/*
 * Slot -> device that workers are behind.  Written: daemon, in the namespace of the device; the
 * kernel, which empties the slot when the device goes.  Read: XDP, for such workers only.
 */
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, CS_MAX_DEVICES);
	__type(key, __u32);
	__type(value, __u32);
} cs_devs SEC(".maps");

/* Slot of cs_devs -> what was sent to it.  Written: XDP; daemon, when a slot changes hands. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CS_MAX_DEVICES);
	__type(key, __u32);
	__type(value, struct cs_dev_count);
} cs_dev_counts SEC(".maps");

/*
 * Slot -> AF_XDP socket.  Written: daemon, for its worker; the kernel, which empties the slot when
 * the socket is closed.  Read: XDP, for such workers only.  Full: the daemon refuses the sockets.
 */
struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, CS_MAX_XSKS);
	__type(key, __u32);
	__type(value, __u32);
} cs_xsks SEC(".maps");

/* Each of these returns what to count beside the verdict, CS_C_*, or 0 for nothing. */
static inline __attribute__((always_inline)) __u32 send_to_cpu(const struct cs_target *target)
{
	struct cs_cpu_count *count;
	__u32 cpu = target->index;

	if (cpu == bpf_get_smp_processor_id())
		return 0; /* it is there */
	if (bpf_redirect_map(&cs_cpus, cpu, XDP_PASS) != XDP_REDIRECT)
		return 0;
	count = bpf_map_lookup_elem(&cs_cpu_counts, &cpu);
	if (count)
		count->sent++;
	return CS_C_to_cpu;
}

/* Without a tag: a frame with one is another interface's. */
static inline __attribute__((always_inline)) int is_untagged(struct xdp_md *ctx)
{
	const struct ethhdr *eth = (void *)(long)ctx->data;

	if ((void *)(eth + 1) > (void *)(long)ctx->data_end)
		return 0;
	return eth->h_proto == bpf_htons(ETH_P_IP) || eth->h_proto == bpf_htons(ETH_P_IPV6);
}

/*
 * Is the frame one that the other end of the device takes: without a tag, which that end has no
 * interface for, and not too large for it?  Returns 0, or what to count instead.
 */
static inline __attribute__((always_inline)) __u32 cannot_be_sent(struct xdp_md *ctx, __u32 ifindex)
{
	__u32 l3_bytes = bpf_xdp_get_buff_len(ctx) - ETH_HLEN;
	long fits;

	if (!is_untagged(ctx))
		return CS_C_not_to_device;
	/* Told the length: by itself the helper looks at the first buffer only. */
	fits = bpf_check_mtu(ctx, ifindex, &l3_bytes, 0, 0);
	if (!fits)
		return 0;
	return fits > 0 ? CS_C_too_large : CS_C_not_to_device; /* no such device */
}

/* As a bridge does, but for whom it is: the namespace behind the device has another MAC. */
static inline __attribute__((always_inline)) __u32 send_to_device(struct xdp_md *ctx,
								  const struct cs_target *target)
{
	struct ethhdr *eth;
	struct cs_dev_count *count;
	__u32 slot = target->index, why_not = cannot_be_sent(ctx, target->ifindex);

	if (why_not)
		return why_not;
	eth = (void *)(long)ctx->data;
	if ((void *)(eth + 1) > (void *)(long)ctx->data_end)
		return CS_C_not_to_device;
	/* Before anything is written: what passes is as it came. */
	if (bpf_redirect_map(&cs_devs, slot, XDP_PASS) != XDP_REDIRECT)
		return CS_C_not_to_device;
	__builtin_memcpy(eth->h_dest, target->mac, ETH_ALEN);
	count = bpf_map_lookup_elem(&cs_dev_counts, &slot);
	if (count)
		count->sent++;
	return CS_C_to_device;
}

/* Slot of the worker's socket for where the packet came in, or CS_MAX_XSKS.  Each word of the
 * target is read once: the daemon may be writing it.
 */
static inline __attribute__((always_inline)) __u32 find_xsk(struct xdp_md *ctx,
							    const struct cs_target *target)
{
	__u32 ifindex = ctx->ingress_ifindex, queue = ctx->rx_queue_index;

	for (int i = 0; i < CS_MAX_WORKER_NICS; i++) {
		union {
			__u64 word;
			struct cs_nic nic;
		} at = { .word = *(const volatile __u64 *)&target->nic[i] };

		if (at.nic.ifindex != ifindex)
			continue;
		if (queue - at.nic.queue > at.nic.queues)
			return CS_MAX_XSKS;
		return at.nic.first + queue - at.nic.queue;
	}
	return CS_MAX_XSKS;
}

/*
 * The frame as it came.  @missing is set if there is no socket for it (any more): the service says
 * what becomes of it.
 *
 * An empty slot is one whose socket was closed: the kernel says so, therefore no lease is needed.
 * A frame of several buffers is not for every socket, and before Linux 6.6 for none.
 */
static inline __attribute__((always_inline)) __u32
send_to_xsk(struct xdp_md *ctx, const struct cs_target *target, int *missing)
{
	__u32 slot;

	if (!is_untagged(ctx) || bpf_xdp_get_buff_len(ctx) != ctx->data_end - ctx->data)
		return CS_C_not_to_xsk;
	slot = target ? find_xsk(ctx, target) : CS_MAX_XSKS;
	if (bpf_redirect_map(&cs_xsks, slot, XDP_PASS) == XDP_REDIRECT)
		return CS_C_to_xsk;
	*missing = 1;
	return CS_C_not_to_xsk;
}

#endif

/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where XDP sends a packet of a worker: the maps, and cs_send().
 */
#ifndef CS_TARGETS_BPF_H
#define CS_TARGETS_BPF_H

#include <linux/bpf.h>
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
 * cs_send - to the worker of a verdict, if it has one
 *
 * A target that is not there (any more) is none: the packet is passed, as every other.  Returns
 * XDP_PASS or XDP_REDIRECT.
 */
static inline __attribute__((always_inline)) int cs_send(const struct cs_verdict *verdict)
{
	const struct cs_target *target;
	struct cs_cpu_count *count;
	__u32 id = verdict->worker, cpu;
	int action;

	if (verdict->target != CS_TARGET_CPU)
		return XDP_PASS;
	target = bpf_map_lookup_elem(&cs_targets, &id);
	if (!target)
		return XDP_PASS;
	cpu = target->cpu;
	if (cpu == bpf_get_smp_processor_id())
		return XDP_PASS; /* it is there */
	action = bpf_redirect_map(&cs_cpus, cpu, XDP_PASS);
	if (action != XDP_REDIRECT)
		return action;
	count = bpf_map_lookup_elem(&cs_cpu_counts, &cpu);
	if (count)
		count->sent++;
	return action;
}

#endif

// SPDX-License-Identifier: GPL-2.0-only
/*
 * cs_cpu: the first that happens to a packet on the CPU it was sent to.  It counts: what a full
 * queue drops is told by nobody else.
 */
#include "targets.bpf.h"

char LICENSE[] SEC("license") = "GPL";

SEC("xdp/cpumap")
int cs_cpu(struct xdp_md *ctx)
{
	__u32 cpu = bpf_get_smp_processor_id();
	struct cs_cpu_count *count = bpf_map_lookup_elem(&cs_cpu_counts, &cpu);

	(void)ctx;
#ifdef CS_EDITION /* see cs_count() */
	asm volatile("r0 = %0" ::"i"(CS_EDITION) : "r0");
#endif
	if (count)
		count->arrived++;
	return XDP_PASS;
}

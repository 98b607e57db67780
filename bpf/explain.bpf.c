// SPDX-License-Identifier: GPL-2.0-only
/*
 * cs_explain: what cs_xdp would say of a frame.  Never attached; run by BPF_PROG_TEST_RUN over
 * the live maps.  It writes its struct cs_verdict in front of the frame and counts nothing.
 */
#include "xdp.bpf.h"

char LICENSE[] SEC("license") = "GPL";

SEC("xdp")
int cs_explain(struct xdp_md *ctx)
{
	struct cs_verdict verdict, *out = &verdict;

	cs_keep_types();
	barrier_var(out); /* it is in memory only, not in a copy as well: the stack is short */
	frame_verdict(ctx, out);
	if (bpf_xdp_adjust_head(ctx, -(int)sizeof(verdict)))
		return XDP_ABORTED;
	out = (void *)(long)ctx->data;
	if ((void *)(out + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	*out = verdict;
	return XDP_PASS;
}

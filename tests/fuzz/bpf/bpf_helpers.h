/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Stands in for libbpf's header of this name, so that the programs compile for user space as they
 * are.  The helpers are functions of hooks.h, over memory.
 */
#ifndef FUZZ_BPF_HELPERS_H
#define FUZZ_BPF_HELPERS_H

#include <linux/bpf.h>

#define SEC(name)
#define __uint(name, value) int(*name)[value]
#define __type(name, value) typeof(value) *name
#define __array(name, value) typeof(value) *name[]
#define barrier_var(var) asm volatile("" : "+r"(var))

void *bpf_map_lookup_elem(void *map, const void *key);
__u64 bpf_ktime_get_ns(void);
__u32 bpf_get_smp_processor_id(void);
long bpf_redirect_map(void *map, __u64 key, __u64 flags);
long bpf_check_mtu(void *ctx, __u32 ifindex, __u32 *bytes, __s32 difference, __u64 flags);
__u64 bpf_xdp_get_buff_len(struct xdp_md *ctx);
long bpf_xdp_load_bytes(struct xdp_md *ctx, __u32 offset, void *to, __u32 length);
long bpf_skb_load_bytes(const void *md, __u32 offset, void *to, __u32 length);
long bpf_skb_load_bytes_relative(const void *md, __u32 offset, void *to, __u32 length, __u32 start);
long bpf_ringbuf_output(void *map, void *data, __u64 size, __u64 flags);
long bpf_sk_select_reuseport(struct sk_reuseport_md *md, void *map, void *key, __u64 flags);

#endif

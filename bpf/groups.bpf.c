// SPDX-License-Identifier: GPL-2.0-only
/*
 * cs_groups: lists the UDP sockets of the reading process's network namespace that are in a
 * SO_REUSEPORT group and are not connected, each with its group's program.  No socket option
 * tells that.  One struct cs_member for each, read from an iterator
 * (Documentation/bpf/bpf_iterators.rst).
 */
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "core/member.h"

char LICENSE[] SEC("license") = "GPL";

/* The few members that are read, as CO-RE finds them in the running kernel. */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct in6_addr {
	union {
		__u8 u6_addr8[16];
	} in6_u;
};
struct inode {
	unsigned long i_ino;
};
struct file {
	struct inode *f_inode;
};
struct socket {
	struct file *file;
};
struct bpf_prog_aux {
	__u32 id;
};
struct bpf_prog {
	struct bpf_prog_aux *aux;
};
struct sock_reuseport {
	struct bpf_prog *prog;
};
typedef struct {
	long long counter;
} atomic64_t;
struct sock_common {
	__u32 skc_daddr;
	__u32 skc_rcv_saddr;
	__u16 skc_num;
	unsigned short skc_family;
	unsigned char skc_state;
	struct in6_addr skc_v6_rcv_saddr;
	atomic64_t skc_cookie;
};
struct sock {
	struct sock_common __sk_common;
	struct sock_reuseport *sk_reuseport_cb;
	struct socket *sk_socket;
};
struct inet_sock {
	struct sock sk;
};
struct udp_sock {
	struct inet_sock inet;
};
struct seq_file;
struct bpf_iter_meta {
	struct seq_file *seq;
};
struct bpf_iter__udp {
	struct bpf_iter_meta *meta;
	struct udp_sock *udp_sk;
};
#pragma clang attribute pop

#define AF_INET6 10
#define TCP_ESTABLISHED 1 /* of a UDP socket: it is connected */

SEC("iter/udp")
int cs_groups(struct bpf_iter__udp *ctx)
{
	struct udp_sock *udp = ctx->udp_sk;
	struct cs_member member = {};
	struct sock_reuseport *group;
	struct sock *sk;
	__u32 ipv4;

	if (!udp)
		return 0;
	sk = &udp->inet.sk;
	/* It wins its own 4-tuple before the group is asked, and is never chosen in the group. */
	if (BPF_CORE_READ(sk, __sk_common.skc_state) == TCP_ESTABLISHED)
		return 0;
	group = BPF_CORE_READ(sk, sk_reuseport_cb);
	if (!group)
		return 0;
	member.group = (__u64)group;
	member.cookie = BPF_CORE_READ(sk, __sk_common.skc_cookie.counter);
	member.inode = BPF_CORE_READ(sk, sk_socket, file, f_inode, i_ino);
	member.prog_id = BPF_CORE_READ(group, prog, aux, id);
	member.family = BPF_CORE_READ(sk, __sk_common.skc_family);
	member.port = BPF_CORE_READ(sk, __sk_common.skc_num);
	if (member.family == AF_INET6) {
		BPF_CORE_READ_INTO(&member.ip, sk, __sk_common.skc_v6_rcv_saddr);
	} else {
		ipv4 = BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr);
		__builtin_memcpy(&member.ip[12], &ipv4, sizeof(ipv4));
	}
	bpf_seq_write(ctx->meta->seq, &member, sizeof(member));
	return 0;
}

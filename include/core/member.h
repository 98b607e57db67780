/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the iterator cs_groups says of one UDP socket in a SO_REUSEPORT group. */
#ifndef CS_MEMBER_H
#define CS_MEMBER_H

#include <linux/types.h>

struct cs_member {
	__u64 group;   /* the same for sockets of one group; means nothing else */
	__u64 cookie;  /* SO_COOKIE; 0: nobody has asked for it, so it is in no map */
	__u64 inode;   /* as in /proc/PID/fd; 0: the kernel's own */
	__u32 prog_id; /* program of the group; 0: the kernel's own hash */
	__u16 family;  /* AF_INET, AF_INET6 */
	__u16 port;    /* host order */
	__u8 ip[16];   /* bound address; IPv4 in the last four bytes, the others zero */
};
_Static_assert(sizeof(struct cs_member) == 48, "iterator record layout");

#endif

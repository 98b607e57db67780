/* SPDX-License-Identifier: GPL-2.0-only */
/* Sockets in SO_REUSEPORT groups, and who holds them. */
#ifndef CS_GROUPS_H
#define CS_GROUPS_H

#include <stddef.h>
#include <sys/types.h>

#include "common/error.h"
#include "core/member.h"
#include "dataplane/way.h"

/*
 * groups_read - all UDP sockets in groups of a network namespace
 * @netns:	its name; "": this one
 * @members:	receives them; the caller frees
 *
 * Returns 0, -EPERM, -E2BIG, or what an old kernel says to a UDP iterator or to CO-RE.
 */
int groups_read(const char *netns, struct cs_member **members, size_t *count, struct error *error);

/*
 * groups_read_behind - the same of the namespace at the other end of a veth
 * @netns:	where the veth is
 * @pid:	of a process at the other end
 *
 * Returns also -ENOENT: it is where this process cannot look.
 */
int groups_read_behind(const struct way *way, const char *netns, pid_t pid,
		       struct cs_member **members, size_t *count, struct error *error);

struct owner {
	__u64 inode;
	pid_t pid; /* one of those that hold the socket; 0: none that can be seen */
};

/* Finds the pid of each inode, in one walk through /proc. */
void owners_find(struct owner *owners, size_t count);

#endif

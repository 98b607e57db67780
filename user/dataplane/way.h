/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The way into another network namespace: a veth, and what is at its other end.
 *
 * Nobody enters the other namespace: rtnetlink tells of it (IFLA_TARGET_NETNSID) who has
 * CAP_NET_ADMIN over it.
 */
#ifndef CS_WAY_H
#define CS_WAY_H

#include <net/if.h>
#include <stdbool.h>

#include "dataplane/netns.h"

struct way {
	int ifindex; /* of the veth */
	char name[IFNAMSIZ];
	bool up;  /* both ends are */
	int nsid; /* what the veth's namespace calls the other one */
	__u32 mtu, peer_mtu;
	int peer; /* the other end there */
	char peer_name[IFNAMSIZ];
	__u8 mac[6];  /* of the other end */
	bool has_xdp; /* the other end */
};

/*
 * way_nsid - what a namespace calls that of a socket
 * @netns:	where a veth is looked for; "": that of this process
 * @socket:	of any sort
 *
 * Returns the number; -EINVAL: no veth of @netns leads there; -EPERM, or another errno; with the
 * line.
 */
int way_nsid(const char *netns, int socket, struct error *error);

/*
 * way_find - the veth of a namespace that leads to another one
 * @netns:	where it is
 * @nsid:	where it leads to
 * @addr:	if there are several: that whose other end has this address
 *
 * Returns 0; -EINVAL: there is none, there are several, or it is not up; -EPERM, or another errno;
 * with the line.
 */
int way_find(const char *netns, int nsid, const struct cs_addr *addr, struct way *way,
	     struct error *error);

/* What is to be said of a veth now.  Returns 0, -ENODEV (it has gone), or another errno. */
int way_read(const char *netns, int ifindex, struct way *way);

#endif

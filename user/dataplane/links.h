/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What network interfaces are to each other, and how they are set (rtnetlink(7), ethtool's ioctl).
 */
#ifndef CS_LINKS_H
#define CS_LINKS_H

#include <net/if.h>
#include <stdbool.h>

#include "dataplane/way.h"

struct link {
	char netns[NETNS_NAME]; /* "": that of this process */
	char name[IFNAMSIZ];
	int index;
	char kind[16];	   /* "veth", "bond", "bridge", "vlan", ...; "": hardware */
	char instead[128]; /* of a bond, bridge or VLAN device: what is below, as "eth0, eth1" */
	bool has_vlans;	   /* there are VLAN devices above it */
	int peer_index, peer_nsid; /* of a veth, or of what is below; -1: the same namespace */
	bool tx_checksum, tx_vlan, rx_vlan; /* offloads that are on */
};

/* All but the offloads.  Returns 0, -ENODEV, or another errno. */
int link_find(const char *netns, const char *name, struct link *link);

/* Returns 0, -ENODEV, or another errno: what is set cannot be told. */
int link_read(const char *netns, const char *name, struct link *link);

/*
 * link_read_gro - has the other end of a veth GRO?
 * @netns:	where the veth is
 * @pid:	of a process that is where the other end is
 *
 * Returns 0, or -ENOENT: it is where this process cannot look.
 */
int link_read_gro(const struct way *way, const char *netns, pid_t pid, bool *gro);

/* The other end of a veth.  Returns 0, or -ENOENT: it is where this process cannot look. */
int link_read_peer(const struct link *link, struct link *peer);

#endif

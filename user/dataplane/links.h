/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What network interfaces are to each other, and how they are set (rtnetlink(7), ethtool's ioctl).
 */
#ifndef CS_LINKS_H
#define CS_LINKS_H

#include <net/if.h>
#include <stdbool.h>

#include "dataplane/features.h"
#include "dataplane/way.h"

struct link {
	char netns[NETNS_NAME]; /* "": that of this process */
	char name[IFNAMSIZ];
	int index;
	char kind[16];	   /* "veth", "bond", "bridge", "vlan", ...; "": hardware */
	char instead[128]; /* of a bond, bridge or VLAN device: what is below, as "eth0, eth1" */
	char master[IFNAMSIZ]; /* its bond or bridge; "": it has none */
	char above[128];       /* devices that are above it: its bond or bridge, its VLANs */
	bool has_vlans;	       /* there are VLAN devices among them */
	int mtu;
	int peer_index, peer_nsid; /* of a veth, or of what is below; -1: the same namespace */
	bool tx_checksum, tx_vlan, rx_vlan; /* offloads that are on */
	struct joins {
		bool lro, gro_hw, gro, gro_list; /* what joins packets, and is on */
		bool fixed; /* one of the first two, and it cannot be turned off */
	} joins;
	struct queues queues;
};

/* All but the offloads and queues.  Returns 0, -ENODEV, or another errno. */
int link_find(const char *netns, const char *name, struct link *link);

/* Returns 0, -ENODEV, or another errno: what is set cannot be told. */
int link_read(const char *netns, const char *name, struct link *link);

/* @fd: any socket of the interface's namespace. */
void link_read_joins(int fd, const char *name, struct joins *joins);

/*
 * link_run_behind - call a function in the namespace at the other end of a veth
 * @netns:	where the veth is
 * @pid:	of a process that is at the other end
 *
 * As netns_run() does.  Returns what @run returns, or -ENOENT: it is where this process cannot
 * look.
 */
int link_run_behind(const struct way *way, const char *netns, pid_t pid, int (*run)(void *arg),
		    void *arg);

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

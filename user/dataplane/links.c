// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "dataplane/links.h"
#include "dataplane/rtnl.h"

/* ---- who is above and behind it -------------------------------------------------------------- */

struct search {
	struct link *link;
	int master;
	bool found;
	bool again; /* what it is, is known: now for what is above and below it */
};

static void add_name(char *list, size_t size, const char *name)
{
	size_t len = strlen(list);

	snprintf(list + len, size - len, "%s%s", len ? ", " : "", name);
}

static bool is_over_ports(const struct link *link)
{
	return !strcmp(link->kind, "bond") || !strcmp(link->kind, "bridge") ||
	       !strcmp(link->kind, "team");
}

/* What one message says of an interface. */
struct about {
	int index, below, nsid, master, mtu;
	const char *name, *kind;
};

static void read_link(const struct nlmsghdr *message, struct about *about)
{
	const struct ifinfomsg *info = NLMSG_DATA(message);
	int len = IFLA_PAYLOAD(message);

	*about = (struct about){ info->ifi_index, -1, -1, -1, -1, "", "" };
	for (const struct rtattr *at = IFLA_RTA(info); RTA_OK(at, len); at = RTA_NEXT(at, len)) {
		switch (at->rta_type) {
		case IFLA_LINK:
			about->below = rtnl_int(at);
			break;
		case IFLA_LINK_NETNSID:
			about->nsid = rtnl_int(at);
			break;
		case IFLA_MASTER:
			about->master = rtnl_int(at);
			break;
		case IFLA_MTU:
			about->mtu = rtnl_int(at);
			break;
		case IFLA_IFNAME:
			about->name = RTA_DATA(at);
			break;
		case IFLA_LINKINFO:
			about->kind = rtnl_kind(at);
		}
	}
}

static bool is_below(const struct link *link, const struct about *about)
{
	if (is_over_ports(link))
		return about->master == link->index;
	return !strcmp(link->kind, "vlan") && about->index == link->peer_index &&
	       link->peer_nsid < 0;
}

/* Of a veth the same words say who its other end is. */
static bool is_above(const struct search *search, const struct about *about)
{
	return about->index == search->master || (about->below == search->link->index &&
						  about->nsid < 0 && strcmp(about->kind, "veth"));
}

static void take_link(const struct nlmsghdr *message, void *arg)
{
	struct search *search = arg;
	struct link *link = search->link;
	struct about about;

	if (message->nlmsg_type != RTM_NEWLINK)
		return;
	read_link(message, &about);
	if (search->again) {
		if (is_below(link, &about))
			add_name(link->instead, sizeof(link->instead), about.name);
		if (about.index == search->master)
			snprintf(link->master, sizeof(link->master), "%s", about.name);
		if (is_above(search, &about))
			add_name(link->above, sizeof(link->above), about.name);
		return;
	}
	if (!strcmp(about.kind, "vlan") && about.below == link->index && about.nsid < 0)
		link->has_vlans = true;
	if (about.index != link->index)
		return;
	search->found = true;
	search->master = about.master;
	link->mtu = about.mtu;
	snprintf(link->kind, sizeof(link->kind), "%s", about.kind);
	link->peer_index = about.below;
	link->peer_nsid = about.nsid;
}

static int read_relations(struct link *link)
{
	struct rtnl_question question = RTNL_QUESTION(RTM_GETLINK, link, NLM_F_DUMP);
	struct search search = { .link = link, .master = -1 };
	struct error unused;
	_cleanup_fd_ int fd = netns_socket(link->netns, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE,
					   &unused);
	int err = fd < 0 ? fd : rtnl_ask(fd, &question);

	if (!err)
		err = rtnl_each(fd, take_link, &search);
	if (err || !search.found)
		return err ? err : -ENODEV;
	search.again = true;
	err = rtnl_ask(fd, &question);
	return err ? err : rtnl_each(fd, take_link, &search);
}

/* ---- how it is set --------------------------------------------------------------------------- */

static int flag_of(int fd, const char *name, __u32 command, __u32 flag, bool *on)
{
	struct ethtool_value value = { .cmd = command };
	struct ifreq request = { .ifr_data = (void *)&value };

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (ioctl(fd, SIOCETHTOOL, &request))
		return -errno;
	*on = value.data & flag;
	return 0;
}

static void take_feature(const struct feature *feature, void *arg)
{
	struct joins *joins = arg;
	bool *which = !strcmp(feature->name, "rx-lro")	    ? &joins->lro :
		      !strcmp(feature->name, "rx-gro-hw")   ? &joins->gro_hw :
		      !strcmp(feature->name, "rx-gro")	    ? &joins->gro :
		      !strcmp(feature->name, "rx-gro-list") ? &joins->gro_list :
							      NULL;

	if (!which)
		return;
	*which = feature->on;
	if (which == &joins->lro || which == &joins->gro_hw)
		joins->fixed |= feature->on && feature->fixed;
}

void link_read_joins(int fd, const char *name, struct joins *joins)
{
	*joins = (struct joins){};
	features_each(fd, name, take_feature, joins);
}

static int read_offloads(int fd, struct link *link)
{
	link_read_joins(fd, link->name, &link->joins);
	queues_read(fd, link->name, &link->queues); /* many have none */
	return flag_of(fd, link->name, ETHTOOL_GTXCSUM, ~0u, &link->tx_checksum)		?:
		       flag_of(fd, link->name, ETHTOOL_GFLAGS, ETH_FLAG_TXVLAN, &link->tx_vlan) ?:
		       flag_of(fd, link->name, ETHTOOL_GFLAGS, ETH_FLAG_RXVLAN, &link->rx_vlan);
}

int link_find(const char *netns, const char *name, struct link *link)
{
	struct ifreq request = {};
	struct error unused;
	_cleanup_fd_ int fd = netns_socket(netns, AF_UNIX, SOCK_DGRAM, 0, &unused);

	*link = (struct link){ .peer_index = -1, .peer_nsid = -1 };
	snprintf(link->netns, sizeof(link->netns), "%s", netns);
	snprintf(link->name, sizeof(link->name), "%s", name);
	memcpy(request.ifr_name, link->name, sizeof(request.ifr_name));
	if (fd < 0)
		return fd;
	if (ioctl(fd, SIOCGIFINDEX, &request))
		return -errno;
	link->index = request.ifr_ifindex;
	return read_relations(link);
}

int link_read(const char *netns, const char *name, struct link *link)
{
	int err = link_find(netns, name, link);
	struct error unused;
	_cleanup_fd_ int fd = err ? -1 : netns_socket(netns, AF_UNIX, SOCK_DGRAM, 0, &unused);

	if (err)
		return err;
	return fd < 0 ? fd : read_offloads(fd, link);
}

/* ---- the other end --------------------------------------------------------------------------- */

struct names {
	const struct link *link;
	int rtnl; /* in its namespace */
	bool found;
	char netns[NETNS_NAME];
};

static void try_name(const char *name, void *arg)
{
	char path[sizeof("/run/netns/") + NETNS_NAME] = "/proc/self/ns/net";
	struct names *names = arg;
	_cleanup_fd_ int fd = -1;

	if (names->found)
		return;
	if (*name)
		snprintf(path, sizeof(path), "/run/netns/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || rtnl_nsid(names->rtnl, fd) != names->link->peer_nsid)
		return;
	names->found = true;
	snprintf(names->netns, sizeof(names->netns), "%s", name);
}

/* The namespace that the other end is in, by a name that this process can enter it with. */
static int find_netns(const struct link *link, char netns[NETNS_NAME])
{
	struct error unused;
	_cleanup_fd_ int fd = netns_socket(link->netns, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE,
					   &unused);
	struct names names = { .link = link, .rtnl = fd };

	if (fd < 0)
		return fd;
	if (link->peer_nsid < 0) {
		snprintf(netns, NETNS_NAME, "%s", link->netns);
		return 0;
	}
	try_name("", &names);
	netns_each(try_name, &names);
	snprintf(netns, NETNS_NAME, "%s", names.netns);
	return names.found ? 0 : -ENOENT;
}

int link_read_peer(const struct link *link, struct link *peer)
{
	struct ifreq request = { .ifr_ifindex = link->peer_index };
	_cleanup_fd_ int fd = -1;
	char netns[NETNS_NAME];
	struct error unused;

	if (strcmp(link->kind, "veth") || link->peer_index <= 0 || find_netns(link, netns))
		return -ENOENT;
	fd = netns_socket(netns, AF_UNIX, SOCK_DGRAM, 0, &unused);
	if (fd < 0 || ioctl(fd, SIOCGIFNAME, &request))
		return -ENOENT;
	return link_read(netns, request.ifr_name, peer) ? -ENOENT : 0;
}

/* ---- the other end of a way ------------------------------------------------------------------ */

struct gro {
	const char *name;
	bool on;
};

static int read_gro(void *arg)
{
	struct gro *gro = arg;
	_cleanup_fd_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : flag_of(fd, gro->name, ETHTOOL_GGRO, ~0u, &gro->on);
}

int link_run_behind(const struct way *way, const char *netns, pid_t pid, int (*run)(void *arg),
		    void *arg)
{
	struct error unused;
	_cleanup_fd_ int rtnl = netns_socket(netns, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE, &unused);
	_cleanup_fd_ int fd = -1;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || rtnl < 0 || rtnl_nsid(rtnl, fd) != way->nsid)
		return -ENOENT;
	return netns_run_file(fd, path, run, arg, &unused);
}

int link_read_gro(const struct way *way, const char *netns, pid_t pid, bool *gro)
{
	struct gro read = { way->peer_name, false };

	if (link_run_behind(way, netns, pid, read_gro, &read))
		return -ENOENT;
	*gro = read.on;
	return 0;
}

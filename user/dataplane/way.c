// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "common/address.h"
#include "common/cleanup.h"
#include "dataplane/rtnl.h"
#include "dataplane/way.h"

#define WAYS_MAX 16 /* from one namespace to one other */

static int open_rtnl(const char *netns, struct error *error)
{
	int fd = netns_socket(netns, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE, error), one = 1;

	/* Else the kernel passes over IFA_TARGET_NETNSID. */
	if (fd >= 0)
		setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &one, sizeof(one));
	return fd;
}

/* ---- one interface --------------------------------------------------------------------------- */

struct end {
	int index, below, nsid, mtu;
	bool up, is_veth, has_xdp;
	char name[IFNAMSIZ];
	__u8 mac[6];
};

static bool is_attached(const struct rtattr *xdp)
{
	int len = RTA_PAYLOAD(xdp);

	for (const struct rtattr *at = RTA_DATA(xdp); RTA_OK(at, len); at = RTA_NEXT(at, len)) {
		if (at->rta_type == IFLA_XDP_ATTACHED)
			return *(const __u8 *)RTA_DATA(at) != XDP_ATTACHED_NONE;
	}
	return false;
}

static void take_end(const struct nlmsghdr *message, void *arg)
{
	const struct ifinfomsg *info = NLMSG_DATA(message);
	int len = IFLA_PAYLOAD(message);
	struct end *end = arg;

	if (message->nlmsg_type != RTM_NEWLINK)
		return;
	*end = (struct end){ info->ifi_index, -1, -1, 0, .up = info->ifi_flags & IFF_UP };
	for (const struct rtattr *at = IFLA_RTA(info); RTA_OK(at, len); at = RTA_NEXT(at, len)) {
		switch (at->rta_type & NLA_TYPE_MASK) {
		case IFLA_LINK:
			end->below = rtnl_int(at);
			break;
		case IFLA_LINK_NETNSID:
			end->nsid = rtnl_int(at);
			break;
		case IFLA_MTU:
			end->mtu = rtnl_int(at);
			break;
		case IFLA_IFNAME:
			snprintf(end->name, sizeof(end->name), "%s", (const char *)RTA_DATA(at));
			break;
		case IFLA_ADDRESS:
			if (RTA_PAYLOAD(at) == sizeof(end->mac))
				memcpy(end->mac, RTA_DATA(at), sizeof(end->mac));
			break;
		case IFLA_XDP:
			end->has_xdp = is_attached(at);
			break;
		case IFLA_LINKINFO:
			end->is_veth = !strcmp(rtnl_kind(at), "veth");
		}
	}
}

/* @nsid: of the namespace it is in, as that of @rtnl calls it; -1: the same. */
static int read_end(int rtnl, int nsid, int ifindex, struct end *end)
{
	struct rtnl_question question = RTNL_QUESTION(RTM_GETLINK, link, 0);
	int err;

	question.link.ifi_index = ifindex;
	if (nsid >= 0)
		rtnl_add_int(&question, IFLA_TARGET_NETNSID, nsid);
	end->index = 0;
	err = rtnl_ask(rtnl, &question);
	if (!err)
		err = rtnl_each(rtnl, take_end, end);
	return err ? err : end->index == ifindex ? 0 : -EPROTO;
}

/* ---- both ends ------------------------------------------------------------------------------- */

static int complete(int rtnl, const struct end *near, struct way *way)
{
	struct end far;
	int err = read_end(rtnl, near->nsid, near->below, &far);

	if (err)
		return err;
	*way = (struct way){
		.ifindex = near->index,
		.up = near->up && far.up,
		.nsid = near->nsid,
		.mtu = near->mtu,
		.peer = far.index,
		.peer_mtu = far.mtu,
		.has_xdp = far.has_xdp,
	};
	memcpy(way->name, near->name, sizeof(way->name));
	memcpy(way->peer_name, far.name, sizeof(way->peer_name));
	memcpy(way->mac, far.mac, sizeof(way->mac));
	return 0;
}

int way_read(const char *netns, int ifindex, struct way *way)
{
	struct error unused;
	_cleanup_fd_ int rtnl = open_rtnl(netns, &unused);
	struct end near;
	int err = rtnl < 0 ? rtnl : read_end(rtnl, -1, ifindex, &near);

	if (!err && (!near.is_veth || near.nsid < 0 || near.below <= 0))
		err = -ENODEV; /* another, which has its number */
	return err ? err : complete(rtnl, &near, way);
}

/* ---- which it is ----------------------------------------------------------------------------- */

struct search {
	int nsid;
	unsigned int count;
	struct end found[WAYS_MAX];
};

static void take_way(const struct nlmsghdr *message, void *arg)
{
	struct search *search = arg;
	struct end end = {};

	take_end(message, &end);
	if (end.is_veth && end.nsid == search->nsid && end.nsid >= 0 && search->count < WAYS_MAX)
		search->found[search->count++] = end;
}

static int list_ways(int rtnl, struct search *search)
{
	struct rtnl_question question = RTNL_QUESTION(RTM_GETLINK, link, NLM_F_DUMP);
	int err = rtnl_ask(rtnl, &question);

	return err ? err : rtnl_each(rtnl, take_way, search);
}

static int no_way(struct error *error)
{
	return error_set(error, -EINVAL,
			 "no veth leads from the service's network namespace to that of the "
			 "socket: behind_device is for those that one leads to");
}

int way_nsid(const char *netns, int socket, struct error *error)
{
	_cleanup_fd_ int rtnl = open_rtnl(netns, error);
	_cleanup_fd_ int target = -1;
	struct search unused = { .nsid = -1 };
	int err, nsid;

	if (rtnl < 0)
		return rtnl;
	target = ioctl(socket, SIOCGSKNS);
	if (target < 0)
		return error_set(error, -errno, "asking for the socket's network namespace: %s%s",
				 strerror(errno),
				 errno == EPERM ? ": the daemon needs CAP_NET_ADMIN over it" : "");
	/* The kernel gives a namespace its number when it first lists a device that leads there. */
	err = list_ways(rtnl, &unused);
	if (err)
		return error_set(error, err, "listing interfaces: %s", strerror(-err));
	nsid = rtnl_nsid(rtnl, target);
	return nsid < 0 ? no_way(error) : nsid;
}

/* Interfaces of the other namespace that have an address. */
struct owners {
	const struct cs_addr *addr;
	unsigned int count;
	int index[WAYS_MAX];
};

static void take_owner(const struct nlmsghdr *message, void *arg)
{
	const struct ifaddrmsg *info = NLMSG_DATA(message);
	int len = IFA_PAYLOAD(message);
	struct owners *owners = arg;
	size_t bytes = info->ifa_family == AF_INET ? 4 : 16;
	bool local = false, same = false;

	if (message->nlmsg_type != RTM_NEWADDR)
		return;
	/* Of a point-to-point link IFA_ADDRESS is the other's. */
	for (const struct rtattr *at = IFA_RTA(info); RTA_OK(at, len); at = RTA_NEXT(at, len)) {
		if ((at->rta_type != IFA_LOCAL && (at->rta_type != IFA_ADDRESS || local)) ||
		    RTA_PAYLOAD(at) != bytes)
			continue;
		local = at->rta_type == IFA_LOCAL;
		same = !memcmp(RTA_DATA(at), owners->addr->ip + 16 - bytes, bytes);
	}
	if (same && owners->count < WAYS_MAX)
		owners->index[owners->count++] = info->ifa_index;
}

static int list_owners(int rtnl, int nsid, struct owners *owners)
{
	struct rtnl_question question = RTNL_QUESTION(RTM_GETADDR, address, NLM_F_DUMP);
	int err;

	question.address.ifa_family = address_is_ipv4(owners->addr) ? AF_INET : AF_INET6;
	rtnl_add_int(&question, IFA_TARGET_NETNSID, nsid);
	err = rtnl_ask(rtnl, &question);
	return err ? err : rtnl_each(rtnl, take_owner, owners);
}

static int several(const struct search *search, const struct cs_addr *addr, struct error *error)
{
	char text[ADDRESS_TEXT];

	address_print(addr, text);
	return error_set(error, -EINVAL,
			 "%u veths lead to the socket's network namespace, %s and %s among them: "
			 "the service's address, %s, has to be at the other end of one of them",
			 search->count, search->found[0].name, search->found[1].name, text);
}

/* Leaves the one whose other end has the address. */
static int choose(int rtnl, const struct cs_addr *addr, struct search *search, struct error *error)
{
	struct owners owners = { .addr = addr };
	unsigned int matches = 0;
	struct end match = {};
	int err;

	if (search->count < 2)
		return search->count ? 0 : no_way(error);
	err = list_owners(rtnl, search->nsid, &owners);
	if (err)
		return error_set(error, err, "listing addresses of the socket's namespace: %s",
				 strerror(-err));
	for (unsigned int i = 0; i < search->count; i++) {
		for (unsigned int o = 0; o < owners.count; o++) {
			if (search->found[i].below != owners.index[o])
				continue;
			match = search->found[i];
			matches++;
		}
	}
	if (matches != 1)
		return several(search, addr, error);
	search->found[0] = match;
	return 0;
}

int way_find(const char *netns, int nsid, const struct cs_addr *addr, struct way *way,
	     struct error *error)
{
	_cleanup_fd_ int rtnl = open_rtnl(netns, error);
	struct search search = { .nsid = nsid };
	struct way found;
	int err;

	if (rtnl < 0)
		return rtnl;
	err = list_ways(rtnl, &search);
	if (err)
		return error_set(error, err, "listing interfaces: %s", strerror(-err));
	err = choose(rtnl, addr, &search, error);
	if (err)
		return err;
	err = complete(rtnl, &search.found[0], &found);
	if (err)
		return error_set(error, err, "reading the other end of %s: %s",
				 search.found[0].name, strerror(-err));
	if (!found.up)
		return error_set(error, -EINVAL, "%s or its other end, %s, is down: ip link set up",
				 found.name, found.peer_name);
	*way = found;
	return 0;
}

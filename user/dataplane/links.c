// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "dataplane/links.h"

#define ANSWER_BYTES 32768
#define ANSWERS_MAX 10000 /* of one question; more is a mistake */

struct question {
	struct nlmsghdr head;
	union {
		struct ifinfomsg link;
		struct rtgenmsg nsid;
	};
	char attributes[64];
};

static int ask(int fd, struct question *question)
{
	question->head.nlmsg_flags |= NLM_F_REQUEST;
	return send(fd, question, question->head.nlmsg_len, 0) < 0 ? -errno : 0;
}

/* Hands each message of an answer to @take, until one is the last.  Returns 0 or an errno. */
static int each_message(int fd, void (*take)(const struct nlmsghdr *message, void *arg), void *arg)
{
	static union {
		struct nlmsghdr head;
		char bytes[ANSWER_BYTES];
	} answer;

	for (int count = 0; count < ANSWERS_MAX; count++) {
		int len = recv(fd, &answer, sizeof(answer), 0);

		if (len < 0)
			return -errno;
		for (struct nlmsghdr *at = &answer.head; NLMSG_OK(at, (unsigned int)len);
		     at = NLMSG_NEXT(at, len)) {
			if (at->nlmsg_type == NLMSG_ERROR)
				return ((struct nlmsgerr *)NLMSG_DATA(at))->error ?: 0;
			if (at->nlmsg_type == NLMSG_DONE)
				return 0;
			take(at, arg);
			if (!(at->nlmsg_flags & NLM_F_MULTI))
				return 0;
		}
	}
	return -EPROTO;
}

/* ---- who is above and behind it -------------------------------------------------------------- */

struct search {
	struct link *link;
	bool found;
	bool again; /* what it is, is known: now for what is below it */
};

static void add_name(struct link *link, const char *name)
{
	size_t len = strlen(link->instead);

	snprintf(link->instead + len, sizeof(link->instead) - len, "%s%s", len ? ", " : "", name);
}

static bool is_over_ports(const struct link *link)
{
	return !strcmp(link->kind, "bond") || !strcmp(link->kind, "bridge") ||
	       !strcmp(link->kind, "team");
}

static const char *kind_of(const struct rtattr *info)
{
	int len = RTA_PAYLOAD(info);

	for (const struct rtattr *at = RTA_DATA(info); RTA_OK(at, len); at = RTA_NEXT(at, len)) {
		if (at->rta_type == IFLA_INFO_KIND && RTA_PAYLOAD(at) &&
		    !((const char *)RTA_DATA(at))[RTA_PAYLOAD(at) - 1])
			return RTA_DATA(at);
	}
	return "";
}

static int number_of(const struct rtattr *at)
{
	return RTA_PAYLOAD(at) == sizeof(int) ? *(const int *)RTA_DATA(at) : -1;
}

/* What one message says of an interface. */
struct about {
	int index, below, nsid, master;
	const char *name, *kind;
};

static void read_link(const struct nlmsghdr *message, struct about *about)
{
	const struct ifinfomsg *info = NLMSG_DATA(message);
	int len = IFLA_PAYLOAD(message);

	*about = (struct about){ info->ifi_index, -1, -1, -1, "", "" };
	for (const struct rtattr *at = IFLA_RTA(info); RTA_OK(at, len); at = RTA_NEXT(at, len)) {
		switch (at->rta_type) {
		case IFLA_LINK:
			about->below = number_of(at);
			break;
		case IFLA_LINK_NETNSID:
			about->nsid = number_of(at);
			break;
		case IFLA_MASTER:
			about->master = number_of(at);
			break;
		case IFLA_IFNAME:
			about->name = RTA_DATA(at);
			break;
		case IFLA_LINKINFO:
			about->kind = kind_of(at);
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
			add_name(link, about.name);
		return;
	}
	if (!strcmp(about.kind, "vlan") && about.below == link->index && about.nsid < 0)
		link->has_vlans = true;
	if (about.index != link->index)
		return;
	search->found = true;
	snprintf(link->kind, sizeof(link->kind), "%s", about.kind);
	link->peer_index = about.below;
	link->peer_nsid = about.nsid;
}

static int read_relations(struct link *link)
{
	struct question question = { .head = { .nlmsg_len = NLMSG_LENGTH(sizeof(question.link)),
					       .nlmsg_type = RTM_GETLINK,
					       .nlmsg_flags = NLM_F_DUMP } };
	struct search search = { .link = link };
	struct error unused;
	_cleanup_fd_ int fd = netns_socket(link->netns, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE,
					   &unused);
	int err = fd < 0 ? fd : ask(fd, &question);

	if (!err)
		err = each_message(fd, take_link, &search);
	if (err || !search.found)
		return err ? err : -ENODEV;
	search.again = true;
	err = ask(fd, &question);
	return err ? err : each_message(fd, take_link, &search);
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

static int read_offloads(int fd, struct link *link)
{
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

static void take_nsid(const struct nlmsghdr *message, void *arg)
{
	int len = message->nlmsg_len - NLMSG_SPACE(sizeof(struct rtgenmsg));
	const struct rtattr *at =
		(const void *)((const char *)message + NLMSG_SPACE(sizeof(struct rtgenmsg)));

	for (; RTA_OK(at, len); at = RTA_NEXT(at, len)) {
		if (at->rta_type == NETNSA_NSID)
			*(int *)arg = number_of(at);
	}
}

/* What the namespace of @rtnl calls another one. */
static int nsid_of(int rtnl, int netns)
{
	struct question question = { .head = { .nlmsg_len = NLMSG_SPACE(sizeof(question.nsid)),
					       .nlmsg_type = RTM_GETNSID },
				     .nsid = { .rtgen_family = AF_UNSPEC } };
	struct rtattr *at = (void *)((char *)&question + question.head.nlmsg_len);
	int nsid = -1;

	*at = (struct rtattr){ RTA_LENGTH(sizeof(netns)), NETNSA_FD };
	memcpy(RTA_DATA(at), &netns, sizeof(netns));
	question.head.nlmsg_len += RTA_SPACE(sizeof(netns));
	if (ask(rtnl, &question) || each_message(rtnl, take_nsid, &nsid))
		return -1;
	return nsid;
}

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
	if (fd < 0 || nsid_of(names->rtnl, fd) != names->link->peer_nsid)
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

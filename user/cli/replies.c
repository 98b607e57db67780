// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a worker behind a device answers.  Where host and container have the same IPv4 address, the
 * host takes what comes from it for martian, unless its veth has accept_local and no reverse path
 * filter (fib_validate_source() in net/ipv4/fib_frontend.c).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/output.h"
#include "cli/status.h"
#include "common/cleanup.h"
#include "dataplane/advice.h"
#include "dataplane/links.h"
#include "dataplane/rtnl.h"

#define ADDRESSES_MAX 1024 /* of one namespace; of more the rest is not compared */

/* ---- addresses ------------------------------------------------------------------------------- */

struct addresses {
	unsigned int count;
	struct {
		__u32 ip; /* as on the wire */
		int ifindex;
	} list[ADDRESSES_MAX];
};

static void take_address(const struct nlmsghdr *message, void *arg)
{
	const struct ifaddrmsg *info = NLMSG_DATA(message);
	int len = IFA_PAYLOAD(message);
	struct addresses *addresses = arg;

	if (message->nlmsg_type != RTM_NEWADDR || info->ifa_family != AF_INET)
		return;
	for (const struct rtattr *at = IFA_RTA(info); RTA_OK(at, len); at = RTA_NEXT(at, len)) {
		if (at->rta_type != IFA_LOCAL || RTA_PAYLOAD(at) != sizeof(__u32) ||
		    addresses->count == ADDRESSES_MAX)
			continue;
		memcpy(&addresses->list[addresses->count].ip, RTA_DATA(at), sizeof(__u32));
		addresses->list[addresses->count++].ifindex = info->ifa_index;
	}
}

/* @nsid: as @netns calls another one; -1: of @netns itself. */
static int read_addresses(const char *netns, int nsid, struct addresses *addresses)
{
	struct rtnl_question question = RTNL_QUESTION(RTM_GETADDR, address, NLM_F_DUMP);
	struct error unused;
	_cleanup_fd_ int rtnl = netns_socket(netns, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE, &unused);
	int err, one = 1;

	if (rtnl < 0)
		return rtnl;
	/* Else the kernel passes over IFA_TARGET_NETNSID. */
	setsockopt(rtnl, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &one, sizeof(one));
	question.address.ifa_family = AF_INET;
	if (nsid >= 0)
		rtnl_add_int(&question, IFA_TARGET_NETNSID, nsid);
	addresses->count = 0;
	err = rtnl_ask(rtnl, &question);
	return err ? err : rtnl_each(rtnl, take_address, addresses);
}

static bool has_address(const struct addresses *addresses, __u32 ip)
{
	for (unsigned int i = 0; i < addresses->count; i++) {
		if (addresses->list[i].ip == ip)
			return true;
	}
	return false;
}

static bool has_interface(const struct addresses *addresses, int ifindex)
{
	for (unsigned int i = 0; i < addresses->count; i++) {
		if (addresses->list[i].ifindex == ifindex)
			return true;
	}
	return false;
}

static bool listens_at(const struct view_listener *listener, __u32 ip)
{
	if (address_is_wildcard(&listener->addr))
		return address_is_ipv4(&listener->addr) || listener->dual;
	return address_is_ipv4(&listener->addr) && !memcmp(listener->addr.ip + 12, &ip, sizeof(ip));
}

/* Is it an address of a service that has workers behind the device? */
static bool is_served(const struct view *view, const struct status_device *device, __u32 ip)
{
	for (int id = 1; id < CS_MAX_WORKERS; id++) {
		const struct view_service *service;
		struct cs_target target;

		if (!view_is_live(&view->worker[id]) || !view_device(view, id, &target) ||
		    target.index != device->slot)
			continue;
		service = view_service_by_id(view, view->worker[id].service);
		for (unsigned int i = 0; service && i < service->listeners; i++) {
			if (listens_at(&service->listener[i], ip))
				return true;
		}
	}
	return false;
}

/* 0: host and container share none that is served. */
static __u32 find_shared(const struct view *view, const struct status_device *device,
			 const struct addresses *here, const struct addresses *there)
{
	for (unsigned int i = 0; i < there->count; i++) {
		__u32 ip = there->list[i].ip;

		if (ntohl(ip) >> 24 != 127 && has_address(here, ip) && is_served(view, device, ip))
			return ip;
	}
	return 0;
}

/* ---- the container's routes ------------------------------------------------------------------ */

struct routes {
	int ifindex;
	bool leads_out;
};

static void take_route(const struct nlmsghdr *message, void *arg)
{
	const struct rtmsg *info = NLMSG_DATA(message);
	int len = RTM_PAYLOAD(message);
	struct routes *routes = arg;

	if (message->nlmsg_type != RTM_NEWROUTE || info->rtm_family != AF_INET ||
	    info->rtm_type != RTN_UNICAST)
		return;
	for (const struct rtattr *at = RTM_RTA(info); RTA_OK(at, len); at = RTA_NEXT(at, len)) {
		if (at->rta_type == RTA_OIF && rtnl_int(at) == routes->ifindex)
			routes->leads_out = true;
	}
}

static int read_routes(void *arg)
{
	struct rtnl_question question = RTNL_QUESTION(RTM_GETROUTE, route, NLM_F_DUMP);
	_cleanup_fd_ int rtnl = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	int err;

	question.route.rtm_family = AF_INET;
	err = rtnl < 0 ? -errno : rtnl_ask(rtnl, &question);
	return err ? err : rtnl_each(rtnl, take_route, arg);
}

/* Do its packets leave it by the veth?  Where nobody can look, nothing is said. */
static bool answers_through(const struct way *way, const struct status_device *device, pid_t pid)
{
	struct routes routes = { .ifindex = way->peer };

	return !link_run_behind(way, device->netns, pid, read_routes, &routes) && routes.leads_out;
}

/* ---- sysctls --------------------------------------------------------------------------------- */

/* Of all interfaces, and of one. */
struct filters {
	const char *interface;
	int accept_all, accept, filter_all, filter;
};

static int read_number(const char *interface, const char *name)
{
	char path[128];
	_cleanup_file_ FILE *file = NULL;
	int value;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/%s", interface, name);
	file = fopen(path, "re");
	return file && fscanf(file, "%d", &value) == 1 ? value : 0;
}

static int read_filters(void *arg)
{
	struct filters *filters = arg;

	filters->accept_all = read_number("all", "accept_local");
	filters->accept = read_number(filters->interface, "accept_local");
	filters->filter_all = read_number("all", "rp_filter");
	filters->filter = read_number(filters->interface, "rp_filter");
	return 0;
}

static bool is_filtered(const struct filters *filters, bool has_addresses)
{
	int most = filters->filter > filters->filter_all ? filters->filter : filters->filter_all;

	/* 2 asks for any route back, but an interface without an address is strict. */
	return most == 1 || (most && !has_addresses);
}

/* What to run; false: nothing is discarded. */
static bool advise(const struct filters *filters, const char *netns, bool has_addresses,
		   char *action, size_t size)
{
	bool refused = !filters->accept && !filters->accept_all;
	bool filtered = is_filtered(filters, has_addresses);
	char in[ADVICE_IN];

	snprintf(action, size, "%ssysctl -w", advice_in(netns, in));
	if (refused)
		append(action, size, " net/ipv4/conf/%s/accept_local=1", filters->interface);
	if (filtered && filters->filter)
		append(action, size, " net/ipv4/conf/%s/rp_filter=0", filters->interface);
	if (filtered && filters->filter_all)
		append(action, size, " net/ipv4/conf/all/rp_filter=0");
	return refused || filtered;
}

/* ---- the finding ----------------------------------------------------------------------------- */

/* What IP takes for the interface: its bridge, if it is a port of one. */
static const char *interface_of(const struct link *link)
{
	return *link->master ? link->master : link->name;
}

static void judge_device(struct status *status, const struct status_device *device)
{
	const struct cs_worker *worker = &status->view->worker[device->worker];
	static struct addresses here, there;
	char action[sizeof(((struct finding *)0)->action)], text[INET_ADDRSTRLEN];
	struct link link, outer;
	struct filters filters;
	struct error unused;
	struct way way;
	__u32 shared;

	if (!device->there || way_read(device->netns, device->ifindex, &way) ||
	    read_addresses(device->netns, -1, &here) ||
	    read_addresses(device->netns, way.nsid, &there))
		return;
	shared = find_shared(status->view, device, &here, &there);
	if (!shared || !answers_through(&way, device, worker->pid) ||
	    link_find(device->netns, way.name, &link) ||
	    link_find(device->netns, interface_of(&link), &outer))
		return;
	filters = (struct filters){ .interface = outer.name };
	if (netns_run(device->netns, read_filters, &filters, &unused) ||
	    !advise(&filters, device->netns, has_interface(&here, outer.index), action,
		    sizeof(action)))
		return;
	inet_ntop(AF_INET, &shared, text, sizeof(text));
	findings_add(
		&status->findings, WORD_NOT_STEERING, action,
		"%s is an address here, too: what worker %d (%s, pid %u) sends from it through "
		"%s is discarded",
		text, device->worker, view_service_name(status->view, worker), worker->pid,
		way.name);
}

void findings_of_replies(struct status *status)
{
	for (unsigned int i = 0; i < status->devices; i++)
		judge_device(status, &status->device[i]);
}

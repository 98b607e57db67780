// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who else is at a service's addresses.
 *
 * With cs_stub on it, a group's packets go to registered sockets; one that is not registered
 * gets what is left to the kernel's own hash.  A socket of a more special address, or of IPv4
 * beside a dual-stack one, is in a group of its own and wins all packets to that address.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/groups.h"
#include "cli/output.h"
#include "cli/status.h"
#include "common/cleanup.h"
#include "dataplane/links.h"

#define STRANGERS_NAMED 4 /* of a group; the rest is a number */

/* Whose groups. */
struct where {
	__u32 netns;			    /* of services */
	const struct status_device *device; /* that it is behind; NULL: this very one */
};

struct group {
	__u64 id;
	struct status_service *service;
	const struct view_listener *listener;
	char text[ADDRESS_TEXT + IFNAMSIZ + 8]; /* the listener, and what it is behind */
	struct cs_addr addr;
	__u32 prog_id;
	unsigned int registered, strangers;
	struct owner stranger[STRANGERS_NAMED];
};

struct cookies {
	__u64 *cookie;
	size_t count, size;
};

static int add_cookie(struct cookies *cookies, __u64 cookie)
{
	if (cookies->count == cookies->size) {
		size_t size = cookies->size ? cookies->size * 2 : 256;
		__u64 *more = reallocarray(cookies->cookie, size, sizeof(*more));

		if (!more)
			return -ENOMEM;
		cookies->cookie = more;
		cookies->size = size;
	}
	cookies->cookie[cookies->count++] = cookie;
	return 0;
}

/* Slots of all workers, those that are being reaped too. */
static int add_registered(const struct view *view, struct cookies *cookies)
{
	for (int id = 1; id < CS_MAX_WORKERS; id++) {
		const struct cs_worker *worker = &view->worker[id];
		const struct view_service *service;

		if (worker->state == CS_WORKER_NONE)
			continue;
		service = view_service_by_id(view, worker->service);
		for (unsigned int i = 0; service && i < service->listeners; i++) {
			__u32 slot = worker->index + service->listener[i].position;
			__u64 cookie;

			if (bpf_map_lookup_elem(view->plane.map[PLANE_SOCKETS], &slot, &cookie))
				continue;
			if (add_cookie(cookies, cookie))
				return -ENOMEM;
		}
	}
	return 0;
}

static int compare_cookies(const void *a, const void *b)
{
	__u64 left = *(const __u64 *)a, right = *(const __u64 *)b;

	return left < right ? -1 : left > right;
}

static bool is_registered(const struct cookies *cookies, __u64 cookie)
{
	return cookie && cookies->count &&
	       bsearch(&cookie, cookies->cookie, cookies->count, sizeof(cookie), compare_cookies);
}

static struct cs_addr member_addr(const struct cs_member *member)
{
	struct cs_addr addr = { .port = htons(member->port) };

	memcpy(addr.ip, member->ip, sizeof(addr.ip));
	if (member->family == AF_INET) {
		addr.ip[10] = 0xff;
		addr.ip[11] = 0xff;
	}
	return addr;
}

/* 2: the same address; 1: within the listener's wildcard; 0: neither. */
static int match(const struct view_listener *listener, const struct cs_addr *addr)
{
	if (listener->addr.port != addr->port)
		return 0;
	if (!memcmp(listener->addr.ip, addr->ip, sizeof(addr->ip)))
		return 2;
	if (!address_is_wildcard(&listener->addr))
		return 0;
	if (address_is_ipv4(&listener->addr))
		return address_is_ipv4(addr);
	return listener->dual || !address_is_ipv4(addr);
}

static bool is_there(const struct view *view, const struct view_service *service,
		     const struct where *where)
{
	if (view_netns(service) != where->netns || !where->device)
		return view_netns(service) == where->netns;
	for (int id = 1; id < CS_MAX_WORKERS; id++) {
		struct cs_target target;

		if (view->worker[id].service == service->id && view_is_live(&view->worker[id]) &&
		    view_device(view, id, &target) && target.index == where->device->slot)
			return true;
	}
	return false;
}

static bool find_listener(struct status *status, const struct where *where, struct group *group)
{
	int best = 0;

	for (unsigned int s = 0; s < status->services; s++) {
		struct status_service *service = &status->service[s];

		if (!is_there(status->view, service->view, where))
			continue;
		for (unsigned int i = 0; i < service->view->listeners; i++) {
			int found = match(&service->view->listener[i], &group->addr);

			if (found <= best)
				continue;
			best = found;
			group->service = service;
			group->listener = &service->view->listener[i];
		}
	}
	if (best)
		snprintf(group->text, sizeof(group->text), "%s%s%s", group->listener->text,
			 where->device ? " behind " : "", where->device ? where->device->name : "");
	return best;
}

static struct group *find_group(struct status *status, const struct where *where,
				struct group *groups, size_t *count, const struct cs_member *member)
{
	struct group made = { .id = member->group,
			      .prog_id = member->prog_id,
			      .addr = member_addr(member) };

	for (size_t i = 0; i < *count; i++) {
		if (groups[i].id == member->group)
			return &groups[i];
	}
	if (!find_listener(status, where, &made))
		return NULL;
	groups[*count] = made;
	return &groups[(*count)++];
}

static void add_member(struct group *group, const struct cs_member *member, bool registered)
{
	if (registered) {
		group->registered++;
		return;
	}
	for (unsigned int i = 0; i < group->strangers && i < STRANGERS_NAMED; i++) {
		if (group->stranger[i].inode == member->inode)
			return; /* listed twice: the kernel's list changed under the iterator */
	}
	if (group->strangers < STRANGERS_NAMED)
		group->stranger[group->strangers].inode = member->inode;
	group->strangers++;
}

/* Is it cs_stub, over the pinned cs_listeners?  Writes what it is called. */
static bool is_our_stub(const struct view *view, __u32 prog_id, char name[BPF_OBJ_NAME_LEN])
{
	_cleanup_fd_ int fd = bpf_prog_get_fd_by_id(prog_id);
	struct bpf_map_info listeners = {};
	__u32 ids[16] = {}, len = sizeof(listeners);
	struct bpf_prog_info info = { .nr_map_ids = 16, .map_ids = (__u64)(unsigned long)ids };

	strcpy(name, "?");
	if (fd < 0 || bpf_obj_get_info_by_fd(view->plane.map[PLANE_LISTENERS], &listeners, &len))
		return false;
	len = sizeof(info);
	if (bpf_obj_get_info_by_fd(fd, &info, &len))
		return false;
	name_copy(name, info.name, BPF_OBJ_NAME_LEN);
	for (__u32 i = 0; i < info.nr_map_ids && i < 16; i++) {
		if (ids[i] == listeners.id)
			return !strcmp(name, "cs_stub");
	}
	return false;
}

static void judge_program(const struct group *group, enum word word, const char *name)
{
	const char *action = "stop what has put it there, and restart the server";

	if (group->prog_id)
		findings_add(&group->service->findings, word, action,
			     "another program (id %u, %s) is on the group of %s: it picks the "
			     "worker",
			     group->prog_id, name, group->text);
	else
		findings_add(&group->service->findings, word, action,
			     "cs_stub is no longer on the group of %s: the kernel's own hash, or a "
			     "classic filter, picks the worker",
			     group->text);
}

/* "a socket of pid 4711", "3 sockets of pids 4711, 4712" */
static void name_strangers(struct group *group, char *text, size_t size)
{
	unsigned int named = group->strangers < STRANGERS_NAMED ? group->strangers :
								  STRANGERS_NAMED;
	pid_t seen = 0;

	owners_find(group->stranger, named);
	snprintf(text, size, group->strangers == 1 ? "a socket" : "%u sockets", group->strangers);
	for (unsigned int i = 0; i < named; i++) {
		if (!group->stranger[i].pid || group->stranger[i].pid == seen)
			continue;
		append(text, size, "%s%d", seen ? ", " : " of pid ", group->stranger[i].pid);
		seen = group->stranger[i].pid;
	}
	if (!seen)
		append(text, size, " of no process that can be seen (inode %llu)",
		       (unsigned long long)group->stranger[0].inode);
}

static void judge_strangers(struct group *group)
{
	const char *is = group->strangers == 1 ? "is" : "are";
	const char *to = group->strangers == 1 ? "it" : "them";
	const char *action = group->strangers == 1 ? "start it with libcidsteer, or stop it" :
						     "start them with libcidsteer, or stop them";
	char who[160], at[ADDRESS_TEXT];
	const char *behind = group->text + strlen(group->listener->text);

	if (!group->strangers)
		return;
	name_strangers(group, who, sizeof(who));
	address_print(&group->addr, at);
	if (group->registered)
		findings_add(&group->service->findings, WORD_DEGRADED, action,
			     "%s %s in the group of %s without being registered: what is left to "
			     "the kernel's own hash can go to %s",
			     who, is, group->text, to);
	else
		findings_add(&group->service->findings, WORD_DEGRADED, action,
			     "%s %s at %s%s without being registered: packets to that address go "
			     "to %s, whoever owns the connection",
			     who, is, at, behind, to);
}

static void judge_groups(struct status *status, struct group *groups, size_t count)
{
	char name[BPF_OBJ_NAME_LEN];

	for (unsigned int s = 0; s < status->services; s++) {
		unsigned int all = 0, foreign = 0;
		enum word word;

		for (size_t i = 0; i < count; i++) {
			if (groups[i].service != &status->service[s] || !groups[i].registered)
				continue;
			all++;
			foreign += !is_our_stub(status->view, groups[i].prog_id, name);
		}
		word = foreign == all ? WORD_NOT_STEERING : WORD_DEGRADED;
		for (size_t i = 0; i < count && foreign; i++) {
			if (groups[i].service == &status->service[s] && groups[i].registered &&
			    !is_our_stub(status->view, groups[i].prog_id, name))
				judge_program(&groups[i], word, name);
		}
	}
	for (size_t i = 0; i < count; i++)
		judge_strangers(&groups[i]);
}

static int read_members(const struct status *status, const struct where *where,
			struct cs_member **members, size_t *count, struct error *error)
{
	const char *netns = status->view->plane.netns[where->netns];
	struct way way;

	if (!where->device)
		return groups_read(netns, members, count, error);
	if (way_read(netns, where->device->ifindex, &way))
		return 0; /* it has gone */
	return groups_read_behind(&way, netns, status->view->worker[where->device->worker].pid,
				  members, count, error);
}

static int look_at_groups(struct status *status, const struct where *where, struct error *error)
{
	_cleanup_free_ struct cs_member *members = NULL;
	_cleanup_free_ struct group *groups = NULL;
	struct cookies cookies = {};
	size_t count = 0, found = 0;
	int err;

	/* The slots first: reading one gives its socket the cookie that the iterator shows.
	 * And again, for sockets that were registered meanwhile.
	 */
	err = add_registered(status->view, &cookies);
	if (!err)
		err = read_members(status, where, &members, &count, error);
	if (!err && !plane_workers(&status->view->plane, status->view->worker))
		err = add_registered(status->view, &cookies);
	if (!err && count) {
		groups = calloc(count, sizeof(*groups));
		err = groups ? 0 : -ENOMEM;
	}
	if (err == -ENOMEM)
		error_set(error, err, "out of memory");
	if (!err && cookies.count)
		qsort(cookies.cookie, cookies.count, sizeof(__u64), compare_cookies);
	for (size_t i = 0; i < count && !err; i++) {
		struct group *group = find_group(status, where, groups, &found, &members[i]);

		if (group)
			add_member(group, &members[i], is_registered(&cookies, members[i].cookie));
	}
	if (!err)
		judge_groups(status, groups, found);
	free(cookies.cookie);
	return err;
}

int findings_of_groups(struct status *status, __u32 netns, struct error *error)
{
	return look_at_groups(status, &(struct where){ netns, NULL }, error);
}

void findings_of_groups_behind(struct status *status,
			       void (*note)(struct status *status, const char *line))
{
	for (unsigned int i = 0; i < status->devices; i++) {
		const struct status_device *device = &status->device[i];
		const struct cs_worker *worker = &status->view->worker[device->worker];
		const struct view_service *service = view_service_by_id(status->view,
									worker->service);
		struct error error;

		if (device->there && service &&
		    look_at_groups(status, &(struct where){ view_netns(service), device }, &error))
			note(status, error.line);
	}
}

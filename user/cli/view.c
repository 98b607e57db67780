// SPDX-License-Identifier: GPL-2.0-only
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/output.h"
#include "cli/view.h"
#include "common/cleanup.h"

#define NAMED_WORKERS 8 /* the rest is a number */

static struct view_service *find_service(struct view *view, __u32 id)
{
	for (unsigned int i = 0; i < view->services; i++) {
		if (view->service[i].id == id)
			return &view->service[i];
	}
	return NULL;
}

static struct view_listener *find_listener(struct view_service *service, __u16 id)
{
	for (unsigned int i = 0; i < service->listeners; i++) {
		if (service->listener[i].id == id)
			return &service->listener[i];
	}
	if (service->listeners == CS_MAX_SERVICE_LISTENERS)
		return NULL;
	service->listener[service->listeners].id = id;
	return &service->listener[service->listeners++];
}

static int add_address(const struct cs_addr *addr, const struct cs_listener *from, void *arg)
{
	struct view_service *service = find_service(arg, from->service);
	struct view_listener *listener;

	if (!service || from->listener >= CS_MAX_LISTENERS ||
	    from->position >= CS_MAX_SERVICE_LISTENERS)
		return 0;
	listener = find_listener(service, from->listener);
	if (!listener)
		return 0;
	listener->position = from->position;
	if (from->flags & CS_LISTENER_ALIAS) {
		listener->dual = true;
	} else {
		listener->addr = *addr;
		address_print(addr, listener->text);
	}
	return 0;
}

static int by_position(const void *a, const void *b)
{
	return ((const struct view_listener *)a)->position -
	       ((const struct view_listener *)b)->position;
}

static int read_services(struct view *view)
{
	int err;

	for (__u32 id = 1; id < CS_MAX_SERVICES; id++) {
		struct view_service *service = &view->service[view->services];

		err = plane_service(&view->plane, id, &service->settings);
		if (err == -ENOENT)
			continue;
		if (err)
			return err;
		service->id = id;
		name_copy(service->name, service->settings.name, sizeof(service->name));
		view->services++;
	}
	err = plane_each_address(&view->plane, add_address, view);
	for (unsigned int i = 0; i < view->services; i++)
		qsort(view->service[i].listener, view->service[i].listeners,
		      sizeof(struct view_listener), by_position);
	return err;
}

static int read_lease(struct view *view)
{
	struct cs_lease lease;
	struct timespec time;
	__u32 key = 0;
	__u64 now;

	if (bpf_map_lookup_elem(view->plane.map[PLANE_LEASE], &key, &lease))
		return -errno;
	clock_gettime(CLOCK_MONOTONIC, &time);
	now = time.tv_sec * 1000000000ULL + time.tv_nsec;
	view->lease_ns = lease.until_ns > now ? lease.until_ns - now : 0;
	return 0;
}

int view_open(struct view **view, const char *dir, struct error *error)
{
	struct view *made = calloc(1, sizeof(*made));
	int err;

	*view = made;
	if (!made)
		return error_set(error, -ENOMEM, "out of memory");
	made->plane = (struct plane)PLANE_INIT;
	err = plane_open(&made->plane, dir, error);
	if (err)
		return err;
	plane_find_netns(&made->plane);
	err = read_services(made);
	if (!err)
		err = read_lease(made);
	if (!err)
		err = plane_workers(&made->plane, made->worker);
	if (err)
		return error_set(error, err, "%s: reading the maps: %s", dir, strerror(-err));
	return 0;
}

void view_close(struct view **view)
{
	if (!*view)
		return;
	for (int i = 0; i < CS_MAX_NETNS; i++) {
		if ((*view)->explain[i])
			close((*view)->explain[i]);
	}
	plane_close(&(*view)->plane);
	free(*view);
	*view = NULL;
}

const struct view_service *view_service_by_id(const struct view *view, __u32 id)
{
	return find_service((struct view *)view, id);
}

const struct view_service *view_service_by_name(const struct view *view, const char *name)
{
	for (unsigned int i = 0; i < view->services; i++) {
		if (!strcmp(view->service[i].name, name))
			return &view->service[i];
	}
	return NULL;
}

const char *view_service_name(const struct view *view, const struct cs_worker *worker)
{
	const struct view_service *service = view_service_by_id(view, worker->service);

	return service ? service->name : "?";
}

const char *view_state(__u8 state)
{
	switch (state) {
	case CS_WORKER_WAITING:
		return "waiting";
	case CS_WORKER_ACTIVE:
		return "active";
	case CS_WORKER_DRAINING:
		return "draining";
	case CS_WORKER_DEAD:
		return "reaping";
	}
	return "?";
}

bool view_is_live(const struct cs_worker *worker)
{
	return cs_worker_serves(worker->state);
}

bool view_drops(const struct view_service *service)
{
	const struct cs_service *settings = &service->settings;

	return settings->unknown_cid == CS_POLICY_DROP || settings->malformed == CS_POLICY_DROP ||
	       settings->not_quic == CS_POLICY_DROP || settings->small_initial == CS_POLICY_DROP ||
	       settings->no_xsk == CS_POLICY_DROP;
}

__u32 view_netns(const struct view_service *service)
{
	__u32 netns = service->listeners ? service->listener[0].addr.netns : 0;

	return netns < CS_MAX_NETNS ? netns : 0;
}

bool view_is_open(const struct view *view, __u32 netns)
{
	if (!netns)
		return view->plane.abi.netns_cookie[0] == plane_netns_cookie();
	return *view->plane.netns[netns];
}

int view_find_netns(const struct view *view, const char *name, struct error *error)
{
	__u64 cookie;
	int err = netns_cookie(name, &cookie, error);

	if (err)
		return err;
	for (int i = 0; i < CS_MAX_NETNS; i++) {
		if (view->plane.abi.netns_cookie[i] == cookie)
			return i;
	}
	return error_set(error, -ENOENT, "no service is in network namespace %s", name);
}

int view_explain(struct view *view, __u32 netns, struct error *error)
{
	int fd;

	if (!netns)
		return view->plane.explain;
	if (!view->explain[netns]) {
		fd = plane_load_explain(&view->plane, netns);
		if (fd < 0)
			return error_set(error, fd, "loading cs_explain: %s", strerror(-fd));
		view->explain[netns] = fd;
	}
	return view->explain[netns];
}

unsigned int view_name_workers(const struct view *view, char *text, size_t size)
{
	unsigned int count = 0;

	text[0] = '\0';
	for (int id = 1; id < CS_MAX_WORKERS; id++) {
		const struct cs_worker *worker = &view->worker[id];

		if (!view_is_live(worker) || ++count > NAMED_WORKERS)
			continue;
		append(text, size, "%sworker %d (%s, pid %u)", count > 1 ? ", " : "", id,
		       view_service_name(view, worker), worker->pid);
	}
	if (count > NAMED_WORKERS)
		append(text, size, " and %u more", count - NAMED_WORKERS);
	return count;
}

struct cs_usage *view_usage(const struct view *view, const struct view_service *service)
{
	_cleanup_fd_ int fd = plane_usage_fd(&view->plane, service->id);

	return fd < 0 ? NULL : plane_map_usage(fd, false);
}

struct cs_usage view_usage_line(const struct cs_usage *lines, __u32 line)
{
	return lines && line < CS_MAX_SERVICE_WORKERS ? lines[line] : (struct cs_usage){};
}

__u64 view_strays(const struct cs_usage *usage)
{
	return usage->strays + usage->decoded_strays;
}

__u64 view_routes(const struct cs_usage *usage)
{
	return usage->issued > usage->retired ? usage->issued - usage->retired : 0;
}

// SPDX-License-Identifier: GPL-2.0-only
#include <bpf/bpf.h>
#include <stdarg.h>
#include <stdio.h>

#include "cli/output.h"
#include "cli/status.h"

#define TABLE_FULL_PERCENT 80

void findings_add(struct findings *findings, enum word word, const char *action, const char *reason,
		  ...)
{
	struct finding *finding = &findings->list[findings->count];
	va_list args;

	if (word > findings->word)
		findings->word = word;
	if (findings->count == FINDINGS_MAX)
		return;
	findings->count++;
	for (; finding > findings->list && finding[-1].word < word; finding--)
		finding[0] = finding[-1];
	finding->word = word;
	snprintf(finding->action, sizeof(finding->action), "%s", action);
	va_start(args, reason);
	vsnprintf(finding->reason, sizeof(finding->reason), reason, args);
	va_end(args);
}

static void add_usage(struct status_service *service, const struct cs_usage *usage)
{
	service->routes += view_routes(usage);
	service->usage.provisional += usage->provisional;
	service->usage.refused += usage->refused;
	service->strays += view_strays(usage);
	service->usage.path_changes += usage->path_changes;
}

static void count_workers(const struct view *view, struct status_service *service)
{
	struct cs_usage *lines = view_usage(view, service->view);
	struct cs_usage usage = view_usage_line(lines, 0);

	service->strays = view_strays(&usage);
	service->usage.path_changes = usage.path_changes;
	for (int id = 1; id < CS_MAX_WORKERS; id++) {
		const struct cs_worker *worker = &view->worker[id];

		if (worker->state == CS_WORKER_NONE || worker->service != service->view->id)
			continue;
		service->waiting += worker->state == CS_WORKER_WAITING;
		service->active += worker->state == CS_WORKER_ACTIVE;
		service->draining += worker->state == CS_WORKER_DRAINING;
		service->reaping += worker->state == CS_WORKER_DEAD;
		if (!view_is_live(worker))
			continue;
		usage = view_usage_line(lines, worker->usage);
		add_usage(service, &usage);
	}
	plane_unmap_usage(lines);
}

static bool has_socket(const struct view *view, const struct cs_worker *worker, __u8 position)
{
	__u32 slot = worker->index + position;
	__u64 cookie;

	return !bpf_map_lookup_elem(view->plane.map[PLANE_SOCKETS], &slot, &cookie);
}

/* A worker that died while no daemon ran is active for ever, and swallows its share. */
static void judge_sockets(const struct view *view, struct status_service *service,
			  const struct view_listener *listener)
{
	unsigned int ready = 0, without = 0;
	int first = 0;

	for (int id = 1; id < CS_MAX_WORKERS; id++) {
		const struct cs_worker *worker = &view->worker[id];

		if (worker->service != service->view->id || !view_is_live(worker))
			continue;
		if (has_socket(view, worker, listener->position)) {
			ready += worker->state == CS_WORKER_ACTIVE;
			continue;
		}
		first = first ? first : id;
		without++;
	}
	if (!ready)
		findings_add(&service->findings, WORD_NOT_STEERING,
			     "start cidsteerd, which removes workers that are gone, and the server",
			     "no active worker has a socket at %s", listener->text);
	else if (without > 1)
		findings_add(&service->findings, WORD_DEGRADED,
			     "start cidsteerd, if it does not run, or restart the server",
			     "%u workers, worker %d (pid %u) the first, have no socket at %s: "
			     "their packets are left to the kernel's own hash",
			     without, first, view->worker[first].pid, listener->text);
	else if (without)
		findings_add(&service->findings, WORD_DEGRADED,
			     "start cidsteerd, if it does not run, or restart the server",
			     "worker %d (pid %u) has no socket at %s: its packets are left to the "
			     "kernel's own hash",
			     first, view->worker[first].pid, listener->text);
}

static void judge_workers(const struct view *view, struct status_service *service)
{
	if (!service->view->listeners)
		findings_add(&service->findings, WORD_NOT_STEERING,
			     "cidsteer load, or start cidsteerd", "it has no address");
	if (!service->active) {
		findings_add(&service->findings, WORD_NOT_STEERING,
			     "run the server, or see cidsteer workers", "no active worker");
		return;
	}
	for (unsigned int i = 0; i < service->view->listeners; i++)
		judge_sockets(view, service, &service->view->listener[i]);
}

/* GRO joins what comes from one address and port, also of several connections. */
static void judge_trains(const struct view *view, struct status_service *service)
{
	const char *action = "have the server clear UDP_GRO before it registers; till then it has "
			     "to check the DCID of each segment";
	unsigned int count = 0;
	int first = 0;

	for (int id = 1; id < CS_MAX_WORKERS; id++) {
		const struct cs_worker *worker = &view->worker[id];

		if (worker->service != service->view->id || !view_is_live(worker) ||
		    !(worker->flags & CS_WORKER_GRO))
			continue;
		first = first ? first : id;
		count++;
	}
	if (count)
		findings_add(&service->findings, WORD_DEGRADED, action,
			     "%u worker%s, worker %d (pid %u) the first, %s sockets with UDP_GRO: "
			     "the kernel picks a worker once for a train of segments, whatever "
			     "connections they are of",
			     count, count == 1 ? "" : "s", first, view->worker[first].pid,
			     count == 1 ? "has" : "have");
}

static void judge_listeners(const struct view *view, struct status_service *service)
{
	for (unsigned int i = 0; i < service->view->listeners; i++) {
		const struct view_listener *listener = &service->view->listener[i];
		__u32 slot = listener->id, prog_id;

		if (!bpf_map_lookup_elem(view->plane.map[PLANE_LISTENERS], &slot, &prog_id))
			continue;
		findings_add(&service->findings, WORD_NOT_STEERING,
			     "cidsteer load, or start cidsteerd",
			     "no program is in the slot of %s: the kernel's own hash picks the "
			     "worker",
			     listener->text);
	}
}

static void judge_table(struct status_service *service)
{
	__u64 max = service->view->settings.max_cids;
	__u64 routes = service->routes;

	if (!max || routes > max * CS_BUCKET_ROUTES * 2) /* no such number is true */
		return;
	if (routes * 100 >= max * TABLE_FULL_PERCENT)
		findings_add(&service->findings, WORD_DEGRADED, "raise max_cids",
			     "table is %u%% full (%s of %s)", (unsigned int)(routes * 100 / max),
			     NUMBER(routes), NUMBER(max));
}

static void judge_lease(const struct view *view, struct status_service *service)
{
	if (view_drops(service->view) && !view->lease_ns)
		findings_add(&service->findings, WORD_DEGRADED,
			     "start cidsteerd, if it does not run; it begins after five seconds",
			     "nothing is dropped: the lease that the daemon renews has run out");
}

static void judge_netns(const struct view *view, struct status_service *service)
{
	__u32 netns = view_netns(service->view);

	if (netns && !view_is_open(view, netns))
		findings_add(
			&service->findings, WORD_DEGRADED,
			"when the name is there again and the old workers are not: cidsteer "
			"reload",
			"its network namespace has no name any more, or cannot be entered: its "
			"interfaces and groups are not looked at");
}

void findings_of_service(const struct view *view, struct status_service *service)
{
	count_workers(view, service);
	judge_workers(view, service);
	judge_listeners(view, service);
	judge_trains(view, service);
	judge_table(service);
	judge_lease(view, service);
	judge_netns(view, service);
}

void findings_of_interfaces(struct status *status)
{
	char action[sizeof(((struct finding *)0)->action)];

	for (unsigned int i = 0; i < status->attached_count; i++) {
		const struct attached *at = &status->attached[i];
		const char *option = *at->netns ? " --netns " : "";

		if (at->info.state == ATTACH_OTHER_NETNS) {
			snprintf(action, sizeof(action), "cidsteer attach %s%s%s", at->name, option,
				 at->netns);
			findings_add(&status->findings, WORD_DEGRADED, action,
				     "%s has the cs_xdp of another network namespace", at->name);
		}
		if (at->info.state != ATTACH_FOREIGN_MAPS)
			continue;
		snprintf(action, sizeof(action),
			 "ip link set dev %s xdp off, then cidsteer attach %s", at->name, at->name);
		findings_add(&status->findings, WORD_DEGRADED, action,
			     "%s has a cs_xdp over maps of its own, which are empty: loaded with "
			     "ip link ... obj, or left by an unload",
			     at->name);
	}
}

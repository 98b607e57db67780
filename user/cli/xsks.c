// SPDX-License-Identifier: GPL-2.0-only
/* AF_XDP sockets of workers. */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "cli/output.h"
#include "cli/status.h"
#include "common/cleanup.h"
#include "dataplane/links.h"

bool view_xsks(const struct view *view, int id, struct cs_target *target)
{
	__u32 key = id;

	return view->worker[id].target == CS_TARGET_XSK &&
	       !bpf_map_lookup_elem(view->plane.map[PLANE_TARGETS], &key, target);
}

/* Of the namespace that a worker's packets come to. */
static const char *netns_of(const struct view *view, int id)
{
	const struct view_service *service = view_service_by_id(view, view->worker[id].service);

	return service ? view->plane.netns[view_netns(service)] : "";
}

/* "?": there is none, or that cannot be told. */
static void name_interface(const char *netns, __u32 ifindex, char name[IFNAMSIZ])
{
	struct ifreq request = { .ifr_ifindex = ifindex };
	struct error unused;
	_cleanup_fd_ int fd = netns_socket(netns, AF_UNIX, SOCK_DGRAM, 0, &unused);

	if (fd < 0 || ioctl(fd, SIOCGIFNAME, &request))
		strcpy(request.ifr_name, "?");
	memcpy(name, request.ifr_name, IFNAMSIZ);
}

/* "0", "0-3" */
static void append_queues(char *text, size_t size, unsigned int first, unsigned int last)
{
	append(text, size, first == last ? "%u" : "%u-%u", first, last);
}

const char *view_xsks_text(const struct view *view, int id, char text[XSKS_TEXT])
{
	struct cs_target target;
	char name[IFNAMSIZ];

	text[0] = '\0';
	if (!view_xsks(view, id, &target))
		return NULL;
	for (int i = 0; i < CS_MAX_WORKER_NICS; i++) {
		const struct cs_nic *nic = &target.nic[i];

		if (!nic->ifindex)
			continue;
		name_interface(netns_of(view, id), nic->ifindex, name);
		append(text, XSKS_TEXT, "%s%s:", *text ? "," : "", name);
		append_queues(text, XSKS_TEXT, nic->queue, nic->queue + nic->queues);
	}
	return text;
}

json_t *view_xsks_json(const struct view *view, int id)
{
	json_t *list = json_array();
	struct cs_target target = {};
	char name[IFNAMSIZ];

	if (!view_xsks(view, id, &target))
		return list;
	for (int i = 0; i < CS_MAX_WORKER_NICS; i++) {
		const struct cs_nic *nic = &target.nic[i];

		if (!nic->ifindex)
			continue;
		name_interface(netns_of(view, id), nic->ifindex, name);
		json_array_append_new(list,
				      json_pack("{s:s, s:i, s:i}", "interface", name, "first_queue",
						nic->queue, "queues", nic->queues + 1));
	}
	return list;
}

/* ---- by interface and service ---------------------------------------------------------------- */

/* Each service has one for each interface. */
static struct status_nic *nic_of(struct status *status, int id, __u32 ifindex)
{
	const struct view *view = status->view;
	struct status_nic *nic;

	for (unsigned int i = 0; i < status->nics; i++) {
		if (status->nic[i].service == view->worker[id].service &&
		    status->nic[i].ifindex == ifindex)
			return &status->nic[i];
	}
	nic = reallocarray(status->nic, status->nics + 1, sizeof(*nic));
	if (!nic)
		return NULL;
	status->nic = nic;
	nic = &status->nic[status->nics++];
	*nic = (struct status_nic){ .service = view->worker[id].service, .ifindex = ifindex };
	nic->worker = id;
	snprintf(nic->netns, sizeof(nic->netns), "%s", netns_of(view, id));
	name_interface(nic->netns, ifindex, nic->name);
	return nic;
}

static int read_worker(struct status *status, int id)
{
	struct cs_target target;

	if (!view_is_live(&status->view->worker[id]) || !view_xsks(status->view, id, &target))
		return 0;
	for (int i = 0; i < CS_MAX_WORKER_NICS; i++) {
		const struct cs_nic *at = &target.nic[i];
		struct status_nic *nic = at->ifindex ? nic_of(status, id, at->ifindex) : NULL;

		if (!at->ifindex)
			continue;
		if (!nic)
			return -ENOMEM;
		nic->workers++;
		for (unsigned int queue = at->queue; queue <= (unsigned int)at->queue + at->queues;
		     queue++)
			nic->covered[queue % CS_MAX_QUEUES] = true;
	}
	return 0;
}

int xsks_read(struct status *status)
{
	int err = 0;

	for (int id = 1; id < CS_MAX_WORKERS && !err; id++)
		err = read_worker(status, id);
	for (unsigned int i = 0; i < status->nics; i++) {
		struct link link;

		if (!link_read(status->nic[i].netns, status->nic[i].name, &link))
			status->nic[i].queues = link.queues.rx + link.queues.combined;
	}
	return err;
}

/* ---- what gets nothing ----------------------------------------------------------------------- */

static const struct attached *find_attached(const struct status *status,
					    const struct status_nic *nic)
{
	for (unsigned int i = 0; i < status->attached_count; i++) {
		const struct attached *at = &status->attached[i];

		if (at->info.state == ATTACH_OURS && !strcmp(at->netns, nic->netns) &&
		    !strcmp(at->name, nic->name))
			return at;
	}
	return NULL;
}

/* Lists the queues that no socket is for, "2-3, 5".  Returns how many. */
static unsigned int list_missing(const struct status_nic *nic, char *text, size_t size)
{
	unsigned int missing = 0;

	for (unsigned int queue = 0; queue < nic->queues && queue < CS_MAX_QUEUES; queue++) {
		unsigned int first = queue;

		if (nic->covered[queue])
			continue;
		while (queue + 1 < nic->queues && queue + 1 < CS_MAX_QUEUES &&
		       !nic->covered[queue + 1])
			queue++;
		append(text, size, "%s", *text ? ", " : "");
		append_queues(text, size, first, queue);
		missing += queue - first + 1;
	}
	return missing;
}

static void judge_queues(struct status *status, const struct status_nic *nic)
{
	const struct view_service *service = view_service_by_id(status->view, nic->service);
	bool drops = service && service->settings.no_xsk == CS_POLICY_DROP;
	char missing[128] = "";
	unsigned int count = list_missing(nic, missing, sizeof(missing));

	if (!count)
		return;
	findings_add(&status->findings, drops ? WORD_NOT_STEERING : WORD_DEGRADED,
		     "have the server open one for each queue, or give the interface fewer queues "
		     "(ethtool -L)",
		     "%s: no worker of %s has an AF_XDP socket for queue%s %s of %u: what comes in "
		     "there %s",
		     nic->name, service ? service->name : "?", count == 1 ? "" : "s", missing,
		     nic->queues, drops ? "is dropped" : "goes through the stack");
}

static void judge_nic(struct status *status, const struct status_nic *nic)
{
	const struct cs_worker *worker = &status->view->worker[nic->worker];
	const char *option = *nic->netns ? " --netns " : "";
	char action[sizeof(((struct finding *)0)->action)];

	if (!strcmp(nic->name, "?")) {
		findings_add(&status->findings, WORD_DEGRADED,
			     "have the server open others, or restart it",
			     "worker %d (%s, pid %u) has AF_XDP sockets on an interface that is "
			     "gone: its packets go to its UDP sockets",
			     nic->worker, view_service_name(status->view, worker), worker->pid);
	} else if (!find_attached(status, nic)) {
		snprintf(action, sizeof(action), "cidsteer attach %s%s%s", nic->name, option,
			 nic->netns);
		findings_add(
			&status->findings, WORD_DEGRADED, action,
			"%s: %u worker%s AF_XDP sockets there, and it has no XDP that sends to "
			"them: packets go to UDP sockets",
			nic->name, nic->workers, nic->workers == 1 ? " has" : "s have");
	} else {
		judge_queues(status, nic);
	}
}

void findings_of_xsks(struct status *status)
{
	for (unsigned int i = 0; i < status->nics; i++)
		judge_nic(status, &status->nic[i]);
}

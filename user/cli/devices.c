// SPDX-License-Identifier: GPL-2.0-only
/* Devices that workers are behind. */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "cli/output.h"
#include "cli/status.h"
#include "common/cleanup.h"
#include "dataplane/links.h"
#include "dataplane/way.h"

bool view_device(const struct view *view, int id, struct cs_target *target)
{
	__u32 key = id;

	return view->worker[id].target == CS_TARGET_DEVICE &&
	       !bpf_map_lookup_elem(view->plane.map[PLANE_TARGETS], &key, target) &&
	       target->index < CS_MAX_DEVICES;
}

bool view_device_is_there(const struct view *view, const struct cs_target *target)
{
	__u32 ifindex;

	return !bpf_map_lookup_elem(view->plane.map[PLANE_DEVS], &target->index, &ifindex) &&
	       ifindex == target->ifindex;
}

/* Of the namespace that a worker's packets come to. */
static const char *netns_of(const struct view *view, int id)
{
	const struct view_service *service = view_service_by_id(view, view->worker[id].service);

	return service ? view->plane.netns[view_netns(service)] : "";
}

const char *view_device_name(const struct view *view, int id, char name[IFNAMSIZ])
{
	struct ifreq request = {};
	struct cs_target target;
	struct error unused;
	_cleanup_fd_ int fd = -1;

	if (!view_device(view, id, &target))
		return NULL;
	fd = netns_socket(netns_of(view, id), AF_UNIX, SOCK_DGRAM, 0, &unused);
	request.ifr_ifindex = target.ifindex;
	if (fd < 0 || !view_device_is_there(view, &target) || ioctl(fd, SIOCGIFNAME, &request))
		return "?";
	memcpy(name, request.ifr_name, IFNAMSIZ);
	return name;
}

static struct status_device *device_of(struct status *status, int id,
				       const struct cs_target *target)
{
	struct status_device *device;

	for (unsigned int i = 0; i < status->devices; i++) {
		if (status->device[i].slot == target->index)
			return &status->device[i];
	}
	device = &status->device[status->devices++];
	*device = (struct status_device){ .slot = target->index, .ifindex = target->ifindex };
	device->worker = id;
	device->there = view_device_is_there(status->view, target);
	snprintf(device->netns, sizeof(device->netns), "%s", netns_of(status->view, id));
	view_device_name(status->view, id, device->name);
	return device;
}

int devices_read(struct status *status)
{
	int err = 0;

	for (int id = 1; id < CS_MAX_WORKERS; id++) {
		struct cs_target target;

		if (view_is_live(&status->view->worker[id]) &&
		    view_device(status->view, id, &target))
			device_of(status, id, &target)->workers++;
	}
	for (unsigned int i = 0; i < status->devices && !err; i++)
		err = plane_device_count(&status->view->plane, status->device[i].slot,
					 &status->device[i].count);
	return err;
}

/* ---- what is lost ---------------------------------------------------------------------------- */

static void judge_worker(struct status *status, const struct status_device *device)
{
	const struct cs_worker *worker = &status->view->worker[device->worker];

	if (!device->there)
		findings_add(
			&status->findings, WORD_NOT_STEERING,
			"set both of its ends up, or start the worker anew",
			"the device that worker %d (%s, pid %u) is behind is gone or down: its "
			"packets go to the stack",
			device->worker, view_service_name(status->view, worker), worker->pid);
}

/* A veth takes what XDP sends only if its other end polls: for a program of its own, or for GRO. */
static void judge_other_end(struct status *status, const struct status_device *device,
			    void (*note)(struct status *status, const char *line))
{
	const struct cs_worker *worker = &status->view->worker[device->worker];
	char action[sizeof(((struct finding *)0)->action)];
	struct error line;
	struct way way;
	bool gro;

	if (!device->there || way_read(device->netns, device->ifindex, &way))
		return;
	if (way.peer_mtu < way.mtu) {
		snprintf(action, sizeof(action), "nsenter -t %u -n ip link set %s mtu %u",
			 worker->pid, way.peer_name, way.mtu);
		findings_add(&status->findings, WORD_DEGRADED, action,
			     "%s: its other end, %s, takes packets of up to %u bytes only: larger "
			     "ones are lost",
			     way.name, way.peer_name, way.peer_mtu);
	}
	if (way.has_xdp)
		return;
	if (link_read_gro(&way, device->netns, worker->pid, &gro)) {
		error_set(&line, 0,
			  "%s: its other end, %s, is where this process cannot look: it must have "
			  "GRO or XDP: ethtool -K %s gro on",
			  way.name, way.peer_name, way.peer_name);
		note(status, line.line);
	} else if (!gro) {
		snprintf(action, sizeof(action), "nsenter -t %u -n ethtool -K %s gro on",
			 worker->pid, way.peer_name);
		findings_add(&status->findings, WORD_NOT_STEERING, action,
			     "%s: its other end, %s, has neither GRO nor XDP: what XDP sends there "
			     "is lost",
			     way.name, way.peer_name);
	}
}

/* One of several in a namespace: what is to be said of that is said once. */
static bool is_first(const struct status *status, const struct status_device *device)
{
	for (const struct status_device *other = status->device; other < device; other++) {
		if (!strcmp(other->netns, device->netns))
			return false;
	}
	return true;
}

/* Who sends there: the interfaces of its namespace. */
static void judge_senders(struct status *status, const struct status_device *device, bool *native)
{
	unsigned int senders = 0;

	*native = false;
	for (unsigned int i = 0; i < status->attached_count; i++) {
		const struct attached *at = &status->attached[i];

		if (at->info.state != ATTACH_OURS || strcmp(at->netns, device->netns))
			continue;
		senders++;
		*native |= at->info.mode == ATTACH_NATIVE;
	}
	if (!senders && is_first(status, device))
		findings_add(&status->findings, WORD_NOT_STEERING, "cidsteer attach INTERFACE",
			     "workers are behind %s, and no interface has XDP that sends to it",
			     *device->name ? device->name : "a device");
}

void findings_of_devices(struct status *status,
			 void (*note)(struct status *status, const char *line))
{
	for (unsigned int i = 0; i < status->devices; i++) {
		const struct status_device *device = &status->device[i];
		bool native;

		judge_worker(status, device);
		judge_senders(status, device, &native);
		if (native)
			judge_other_end(status, device, note);
	}
	if (status->devices && !status->view->lease_ns)
		findings_add(&status->findings, WORD_NOT_STEERING,
			     "start cidsteerd, if it does not run; it begins after five seconds",
			     "nothing is sent to devices: the lease that the daemon renews has run "
			     "out");
}

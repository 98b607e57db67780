// SPDX-License-Identifier: GPL-2.0-only
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

#include "daemon/devices.h"
#include "daemon/holdings.h"
#include "daemon/log.h"

static const struct listener *first_listener(const struct workers *workers, __u32 service)
{
	for (int i = 0; i < CS_MAX_LISTENERS; i++) {
		const struct listener *listener = &workers->listener[i];

		if (listener->used && listener->value.service == service)
			return listener;
	}
	return NULL;
}

static const char *netns_of(const struct workers *workers, __u16 netns)
{
	return netns < CS_MAX_NETNS ? workers->plane->netns[netns] : "";
}

/* ---- targets --------------------------------------------------------------------------------- */

static int write_target(const struct worker *worker, __u32 slot)
{
	const struct way *way = &worker->all->device[slot].way;
	struct cs_target target = { .index = slot, .ifindex = way->ifindex };

	memcpy(target.mac, way->mac, sizeof(target.mac));
	return bpf_map_update_elem(worker->all->plane->map[PLANE_TARGETS], &worker->id, &target,
				   BPF_ANY) ?
		       -errno :
		       0;
}

static bool is_same(const struct way *a, const struct way *b)
{
	return a->ifindex == b->ifindex && !memcmp(a->mac, b->mac, sizeof(a->mac));
}

/* Of all that are behind it. */
static void write_targets(struct workers *workers, __u32 slot)
{
	for (__u32 id = 1; id < CS_MAX_WORKERS; id++) {
		const struct worker *worker = workers->worker[id];
		int err = worker && worker->device == slot + 1 ? write_target(worker, slot) : 0;

		if (err)
			log_limited("cs_targets: worker %u: %s: its packets may be lost", id,
				    strerror(-err));
	}
}

/* ---- slots ----------------------------------------------------------------------------------- */

struct update {
	int map;
	__u32 slot, ifindex;
};

static int write_slot(void *arg)
{
	const struct update *update = arg;

	return bpf_map_update_elem(update->map, &update->slot, &update->ifindex, BPF_ANY) ? -errno :
											    0;
}

/* The kernel looks the device up in the namespace of who writes. */
static int fill_slot(struct workers *workers, __u32 slot)
{
	struct device *device = &workers->device[slot];
	struct update update = { workers->plane->map[PLANE_DEVS], slot, device->way.ifindex };
	struct error unused;
	int err = netns_run(netns_of(workers, device->netns), write_slot, &update, &unused);

	device->there = !err;
	device->lost = err;
	return err;
}

static void empty_slot(struct workers *workers, __u32 slot)
{
	bpf_map_delete_elem(workers->plane->map[PLANE_DEVS], &slot);
	workers->device[slot].there = false;
}

/* The kernel empties a slot by itself when the device goes. */
static bool has_device(const struct workers *workers, __u32 slot, __u32 ifindex)
{
	__u32 found;

	return slot < CS_MAX_DEVICES &&
	       !bpf_map_lookup_elem(workers->plane->map[PLANE_DEVS], &slot, &found) &&
	       found == ifindex;
}

/* That of a device, or one that is free; CS_MAX_DEVICES: there is none. */
static __u32 find_slot(const struct workers *workers, __u16 netns, int ifindex)
{
	__u32 free = CS_MAX_DEVICES;

	for (__u32 slot = CS_MAX_DEVICES; slot--;) {
		const struct device *device = &workers->device[slot];

		if (!device->users)
			free = slot;
		else if (device->netns == netns && device->way.ifindex == ifindex)
			return slot;
	}
	return free;
}

static void renew_way(struct workers *workers, __u32 slot, __u16 netns, const struct way *way)
{
	struct device *device = &workers->device[slot];
	bool write = device->users && !is_same(&device->way, way);

	device->netns = netns;
	device->way = *way;
	if (write)
		write_targets(workers, slot);
}

static int take_slot(struct workers *workers, __u16 netns, const struct way *way, __u32 *slot,
		     struct error *error)
{
	struct device *device;
	int err = 0;

	*slot = find_slot(workers, netns, way->ifindex);
	if (*slot == CS_MAX_DEVICES)
		return error_set(error, -ENOSPC, "workers are behind %d devices: no more can be",
				 CS_MAX_DEVICES);
	device = &workers->device[*slot];
	if (!device->users)
		err = plane_clear_device_count(workers->plane, *slot);
	renew_way(workers, *slot, netns, way);
	if (!err && !device->there)
		err = fill_slot(workers, *slot);
	if (err)
		return error_set(error, err, "cs_devs: %s: %s", way->name, strerror(-err));
	device->users++;
	return 0;
}

static void leave_slot(struct workers *workers, __u32 slot)
{
	if (!--workers->device[slot].users)
		empty_slot(workers, slot);
}

/* Slot and target are there before a packet is sent. */
static int name_target(struct worker *worker, __u32 slot)
{
	__u8 before = worker->value.target;
	int err = write_target(worker, slot);

	if (err)
		return err;
	worker->value.target = CS_TARGET_DEVICE;
	if (worker->all->worker[worker->id] == worker && before != CS_TARGET_DEVICE)
		err = entry_write(worker);
	if (err)
		worker->value.target = before;
	return err;
}

/* Devices are looked for by the namespace's name: does that still lead to it? */
static int check_name(const struct workers *workers, __u16 netns, struct error *error)
{
	const char *name = netns_of(workers, netns);
	__u64 cookie;
	int err = *name ? netns_cookie(name, &cookie, error) : 0;

	if (err || !*name || cookie == workers->plane->abi.netns_cookie[netns])
		return err;
	return error_set(error, -EINVAL, "%s is another network namespace than the service's",
			 name);
}

int device_take(struct worker *worker, int socket, struct error *error)
{
	struct workers *all = worker->all;
	const struct listener *listener = first_listener(all, worker->value.service);
	const char *netns;
	struct way way;
	__u32 slot, before = worker->device;
	int err;

	if (!listener)
		return error_set(error, -EINVAL, "service \"%s\" has no address",
				 worker_service(worker)->value.name);
	netns = netns_of(all, listener->addr.netns);
	err = check_name(all, listener->addr.netns, error);
	if (err)
		return err;
	err = way_nsid(netns, socket, error);
	if (err >= 0)
		err = way_find(netns, err, &listener->addr, &way, error);
	if (err)
		return err;
	err = take_slot(all, listener->addr.netns, &way, &slot, error);
	if (err)
		return err;
	err = name_target(worker, slot);
	if (err) {
		leave_slot(all, slot);
		return error_set(error, err, "cs_targets: %s", strerror(-err));
	}
	worker->device = slot + 1;
	if (before)
		leave_slot(all, before - 1);
	if (all->device[slot].users == 1)
		log_line("%s: workers are behind it: nftables and tcpdump here do not see what XDP "
			 "sends there, %s does",
			 way.name, way.peer_name);
	return 0;
}

void device_leave(struct worker *worker)
{
	if (worker->device)
		leave_slot(worker->all, worker->device - 1);
	worker->device = 0;
}

/* ---- adoption -------------------------------------------------------------------------------- */

/* What the maps say is input: is it a slot, with that device in it, which is such a veth? */
static bool is_as_written(const struct workers *workers, const struct cs_target *target,
			  __u16 netns, struct way *way)
{
	return has_device(workers, target->index, target->ifindex) &&
	       !way_read(netns_of(workers, netns), target->ifindex, way);
}

void device_adopt(struct worker *worker, const struct cs_target *target)
{
	struct workers *all = worker->all;
	const struct listener *listener = first_listener(all, worker->value.service);
	struct device *device;
	struct way way;

	if (!listener || !is_as_written(all, target, listener->addr.netns, &way))
		return;
	device = &all->device[target->index];
	if (device->users &&
	    (device->netns != listener->addr.netns || device->way.ifindex != way.ifindex))
		return;
	device->netns = listener->addr.netns;
	device->way = way;
	device->there = true;
	device->users++;
	worker->device = target->index + 1;
	write_target(worker, target->index); /* the other end may have another MAC */
}

void devices_settle(struct workers *workers)
{
	for (__u32 slot = 0; slot < CS_MAX_DEVICES; slot++) {
		if (!workers->device[slot].users)
			empty_slot(workers, slot);
	}
}

/* ---- each second ----------------------------------------------------------------------------- */

/* As long as it has a socket its namespace is there, and keeps its nsid. */
static bool has_socket(const struct worker *worker)
{
	for (__u32 i = 0; i < worker->value.slots; i++) {
		__u32 slot = worker->value.index + i;
		__u64 cookie;

		if (!bpf_map_lookup_elem(worker->all->plane->map[PLANE_SOCKETS], &slot, &cookie))
			return true;
	}
	return false;
}

/* A worker behind a device, or NULL. */
static const struct worker *find_user(const struct workers *workers, __u32 slot)
{
	for (__u32 id = 1; id < CS_MAX_WORKERS; id++) {
		const struct worker *worker = workers->worker[id];

		if (worker && worker->device == slot + 1 && has_socket(worker))
			return worker;
	}
	return NULL;
}

static void lose_device(struct workers *workers, __u32 slot)
{
	struct device *device = &workers->device[slot];

	if (!device->lost)
		log_line("%s, behind which %u worker%s, is gone or down: their packets go to the "
			 "stack",
			 device->way.name, device->users, device->users == 1 ? " is" : "s are");
	empty_slot(workers, slot);
	device->lost = true;
}

/* Gone, it may have come again as another. */
static void find_again(struct workers *workers, __u32 slot)
{
	struct device *device = &workers->device[slot];
	const struct worker *user = find_user(workers, slot);
	const struct listener *listener = user ? first_listener(workers, user->value.service) :
						 NULL;
	struct error unused;

	if (!listener || way_find(netns_of(workers, device->netns), device->way.nsid,
				  &listener->addr, &device->way, &unused))
		return;
	write_targets(workers, slot);
	if (!fill_slot(workers, slot))
		log_line("%s: packets are sent there again", device->way.name);
}

static void follow(struct workers *workers, __u32 slot)
{
	struct device *device = &workers->device[slot];
	struct way now;
	int err = way_read(netns_of(workers, device->netns), device->way.ifindex, &now);

	if (err && err != -ENODEV)
		return; /* that it cannot be told is no reason to send nothing there */
	device->there = device->there && has_device(workers, slot, device->way.ifindex);
	if (err || !now.up || now.nsid != device->way.nsid) {
		lose_device(workers, slot);
		find_again(workers, slot);
	} else if (!device->there) {
		find_again(workers, slot);
	} else if (!is_same(&now, &device->way)) {
		device->way = now;
		write_targets(workers, slot);
	}
}

void devices_follow(struct workers *workers)
{
	for (__u32 slot = 0; slot < CS_MAX_DEVICES; slot++) {
		if (workers->device[slot].users)
			follow(workers, slot);
	}
}

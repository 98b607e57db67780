// SPDX-License-Identifier: GPL-2.0-only
#include <bpf/bpf.h>
#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "common/cleanup.h"
#include "common/point.h"
#include "daemon/admit.h"
#include "daemon/log.h"
#include "daemon/targets.h"
#include "daemon/xsks.h"

struct placed {
	struct cs_xsk at;
	int fd;
};

static __u32 slots_of(const struct cs_nic *nic)
{
	return nic->ifindex ? nic->queues + 1 : 0;
}

/* ---- what is asked for ----------------------------------------------------------------------- */

/*
 * The kernel puts any AF_XDP socket into the map, and looks no more at what it has when it delivers
 * to it: a packet for one that is bound without an RX ring would be written through a pointer that
 * is NULL.  A socket that is bound keeps the rings that it has.  Asked without MSG_DONTWAIT the
 * kernel does nothing, and says what is missing, EOPNOTSUPP last.
 */
static int check_ring(int fd, struct error *error)
{
	char byte;

	if (recv(fd, &byte, sizeof(byte), 0) >= 0 || errno == EOPNOTSUPP)
		return 0;
	switch (errno) {
	case ENXIO:
		return error_set(error, -EINVAL,
				 "an AF_XDP socket is not bound, or its interface is gone");
	case ENETDOWN:
		return error_set(error, -EINVAL, "the interface of an AF_XDP socket is down");
	case ENOBUFS:
		return error_set(error, -EINVAL, "an AF_XDP socket has no RX ring");
	}
	return error_set(error, -errno, "asking an AF_XDP socket: %s", strerror(errno));
}

static int check_socket(const struct worker *worker, int fd, struct error *error)
{
	const struct workers *all = worker->all;
	__u16 netns = service_netns(all, worker->value.service);
	__u64 cookie = 0;
	int family = 0;
	socklen_t len = sizeof(family);

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &len) || family != AF_XDP)
		return error_set(error, -EINVAL, "a descriptor is not an AF_XDP socket");
	len = sizeof(cookie);
	if (getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len) ||
	    cookie != all->plane->abi.netns_cookie[netns])
		return error_set(error, -EINVAL,
				 "an AF_XDP socket is in another network namespace than the "
				 "service");
	return check_ring(fd, error);
}

/* Where the service is.  That it cannot be told is no reason to refuse. */
static int check_interface(const struct worker *worker, __u32 ifindex, struct error *error)
{
	const struct workers *all = worker->all;
	const char *netns = all->plane->netns[service_netns(all, worker->value.service)];
	_cleanup_fd_ int fd = netns_socket(netns, AF_UNIX, SOCK_DGRAM, 0, error);
	struct ifreq request = { .ifr_ifindex = ifindex };

	if (fd < 0 || !ioctl(fd, SIOCGIFNAME, &request) || errno != ENODEV)
		return 0;
	return error_set(error, -EINVAL,
			 "there is no interface %u in the service's network namespace", ifindex);
}

static int by_place(const void *one, const void *other)
{
	const struct cs_xsk *a = &((const struct placed *)one)->at;
	const struct cs_xsk *b = &((const struct placed *)other)->at;

	if (a->ifindex != b->ifindex)
		return a->ifindex < b->ifindex ? -1 : 1;
	return a->queue < b->queue ? -1 : a->queue > b->queue;
}

/* Sorts them, and finds the interfaces and which queues of each are meant; no slots yet. */
static int lay_out(const struct worker *worker, struct placed *placed, __u32 count,
		   struct cs_nic nic[CS_MAX_WORKER_NICS], struct error *error)
{
	int at = -1;

	qsort(placed, count, sizeof(*placed), by_place);
	for (__u32 i = 0; i < count; i++) {
		const struct cs_xsk *xsk = &placed[i].at;
		int err = 0;

		if (xsk->queue >= CS_MAX_QUEUES)
			return error_set(error, -EINVAL, "an AF_XDP socket is for queue %u: 0..%d",
					 xsk->queue, CS_MAX_QUEUES - 1);
		if (i && !by_place(&placed[i - 1], &placed[i]))
			return error_set(error, -EINVAL,
					 "two AF_XDP sockets are for queue %u of interface %u",
					 xsk->queue, xsk->ifindex);
		if (!i || placed[i - 1].at.ifindex != xsk->ifindex) {
			if (++at == CS_MAX_WORKER_NICS)
				return error_set(error, -EINVAL,
						 "AF_XDP sockets on more than %d interfaces",
						 CS_MAX_WORKER_NICS);
			nic[at] = (struct cs_nic){ .ifindex = xsk->ifindex, .queue = xsk->queue };
			err = check_interface(worker, xsk->ifindex, error);
		}
		nic[at].queues = xsk->queue - nic[at].queue;
		if (!err)
			err = check_socket(worker, placed[i].fd, error);
		if (err)
			return err;
	}
	return 0;
}

/* ---- slots ----------------------------------------------------------------------------------- */

/*
 * The search goes on where the last one ended: a program that has read a number is done long before
 * the slot is somebody else's.  Returns the first of @count, or CS_MAX_XSKS.
 */
static __u32 take_run(struct workers *workers, __u32 count)
{
	__u32 run = 0, slot = workers->xsk_next;

	for (__u32 looked = 0; looked < CS_MAX_XSKS + count; looked++, slot++) {
		if (slot >= CS_MAX_XSKS)
			slot = run = 0;
		run = workers->xsk_taken[slot] ? 0 : run + 1;
		if (run < count)
			continue;
		for (__u32 i = 0; i < count; i++)
			workers->xsk_taken[slot - i] = true;
		workers->xsk_next = slot + 1;
		return slot + 1 - count;
	}
	return CS_MAX_XSKS;
}

static void empty_slot(const struct workers *workers, __u32 slot)
{
	bpf_map_delete_elem(workers->plane->map[PLANE_XSKS], &slot);
}

static void give_back(struct workers *workers, struct cs_nic nic[CS_MAX_WORKER_NICS])
{
	for (int at = 0; at < CS_MAX_WORKER_NICS; at++) {
		for (__u32 i = 0; i < slots_of(&nic[at]); i++) {
			empty_slot(workers, nic[at].first + i);
			workers->xsk_taken[nic[at].first + i] = false;
		}
		nic[at] = (struct cs_nic){};
	}
}

/* For each interface a run.  On failure none is taken. */
static int take_slots(struct workers *workers, struct cs_nic nic[CS_MAX_WORKER_NICS],
		      struct error *error)
{
	for (int at = 0; at < CS_MAX_WORKER_NICS && nic[at].ifindex; at++) {
		__u32 wanted = slots_of(&nic[at]), first = take_run(workers, wanted);

		if (first < CS_MAX_XSKS) {
			nic[at].first = first;
			continue;
		}
		for (; at < CS_MAX_WORKER_NICS; at++)
			nic[at] = (struct cs_nic){}; /* those have no slots */
		give_back(workers, nic);
		return error_set(
			error, -ENOSPC,
			"of the %d AF_XDP sockets that there can be, no %u in a row are free",
			CS_MAX_XSKS, wanted);
	}
	return 0;
}

/* A slot without a socket is emptied: a daemon that was killed may have left one there. */
static int fill_slots(const struct workers *workers, const struct cs_nic *nic,
		      const struct placed *placed, __u32 count, struct error *error)
{
	for (__u32 i = 0; i < slots_of(nic); i++)
		empty_slot(workers, nic->first + i);
	for (__u32 i = 0; i < count; i++) {
		__u32 slot = nic->first + placed[i].at.queue - nic->queue, fd = placed[i].fd;

		if (placed[i].at.ifindex != nic->ifindex ||
		    !bpf_map_update_elem(workers->plane->map[PLANE_XSKS], &slot, &fd, BPF_ANY))
			continue;
		return error_set(error, -errno, "cs_xsks: %s", strerror(errno));
	}
	return 0;
}

/* ---- of a worker ----------------------------------------------------------------------------- */

static int write_target(const struct worker *worker, const struct cs_nic *nic)
{
	/* Until its entry says otherwise its packets are moved to its CPU. */
	struct cs_target target = { .index = worker->cpu ? worker->cpu - 1 : 0 };

	memcpy(target.nic, nic, sizeof(target.nic));
	return bpf_map_update_elem(worker->all->plane->map[PLANE_TARGETS], &worker->id, &target,
				   BPF_ANY) ?
		       -errno :
		       0;
}

/* Slots and target are there before a packet is sent. */
static int send_there(struct worker *worker, struct cs_nic nic[CS_MAX_WORKER_NICS],
		      struct error *error)
{
	int err = write_target(worker, nic);

	CS_POINT("xsks"); /* the slots are filled, and the entry names another target */
	if (!err)
		err = target_name(worker, CS_TARGET_XSK);
	if (err) {
		write_target(worker, worker->nic);
		return error_set(error, err, "cs_targets: %s", strerror(-err));
	}
	return 0;
}

/* To the stack, or to its CPU. */
static int send_elsewhere(struct worker *worker, struct error *error)
{
	int err = worker->value.target == CS_TARGET_XSK ? target_name(worker, CS_TARGET_SOCKET) : 0;

	if (err)
		return error_set(error, err, "cs_workers: %s", strerror(-err));
	give_back(worker->all, worker->nic);
	target_choose(worker);
	return 0;
}

int xsks_set(struct worker *worker, const struct cs_xsk *asked, const int *fds, __u32 count,
	     struct error *error)
{
	struct cs_nic nic[CS_MAX_WORKER_NICS] = {};
	struct placed placed[CS_MAX_WORKER_XSKS];
	int err;

	if (!count)
		return send_elsewhere(worker, error);
	if (worker->value.target == CS_TARGET_DEVICE)
		return error_set(error, -EINVAL,
				 "a worker behind a device has no AF_XDP sockets here");
	for (__u32 i = 0; i < count; i++)
		placed[i] = (struct placed){ asked[i], fds[i] };
	err = lay_out(worker, placed, count, nic, error);
	if (!err)
		err = take_slots(worker->all, nic, error);
	if (err)
		return err;
	for (int at = 0; at < CS_MAX_WORKER_NICS && !err; at++)
		err = fill_slots(worker->all, &nic[at], placed, count, error);
	if (!err)
		err = send_there(worker, nic, error);
	if (err) {
		give_back(worker->all, nic);
		return err;
	}
	give_back(worker->all, worker->nic);
	memcpy(worker->nic, nic, sizeof(nic));
	target_leave_cpu(worker);
	return 0;
}

void xsks_leave(struct worker *worker)
{
	give_back(worker->all, worker->nic);
}

/* ---- adoption -------------------------------------------------------------------------------- */

/* What the maps say is input. */
static bool is_free(const struct workers *workers, const struct cs_nic *nic)
{
	if (nic->first + slots_of(nic) > CS_MAX_XSKS)
		return false;
	for (__u32 i = 0; i < slots_of(nic); i++) {
		if (workers->xsk_taken[nic->first + i])
			return false;
	}
	return true;
}

void xsks_adopt(struct worker *worker, const struct cs_target *target)
{
	struct workers *all = worker->all;
	bool any = false;

	for (int at = 0; at < CS_MAX_WORKER_NICS; at++) {
		if (!target->nic[at].ifindex || !is_free(all, &target->nic[at]))
			continue;
		worker->nic[at] = target->nic[at];
		any = true;
		for (__u32 i = 0; i < slots_of(&worker->nic[at]); i++)
			all->xsk_taken[worker->nic[at].first + i] = true;
	}
	write_target(worker, worker->nic); /* nothing that another has */
	/* Its packets find the stack until it says so again. */
	if (!any)
		target_name(worker, CS_TARGET_SOCKET);
}

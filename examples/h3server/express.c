// SPDX-License-Identifier: GPL-2.0-only
/* Lanes: opened, bound when their queues are free, told to the daemon, closed. */
#include "h3server/express.h"

#include "common/quic.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_NS NGTCP2_SECONDS
#define SEND_AGAIN_NS NGTCP2_MILLISECONDS

static int failed(const char *name, const char *reason)
{
	fprintf(stderr, "h3server: --io xsk:%s: %s\n", name, reason);
	return -1;
}

static void said(const struct worker *worker, const char *what, const char *reason)
{
	fprintf(stderr, "h3server: worker %u: %s: %s\n", worker->index, what, reason);
}

/* ---- what a process has ---------------------------------------------------------------------- */

int express_find(struct express_queues *queues, const struct options *options)
{
	unsigned int i;

	for (i = 0; i < options->interfaces; i++) {
		int err = device_find(&queues->devices[i], options->interface[i]);

		if (err)
			return failed(options->interface[i],
				      err == -ENODEV ? "no such interface here" : strerror(-err));
		queues->devices_count++;
	}
	return 0;
}

static int open_failed(const struct device *device, int err)
{
	if (err == -EPERM)
		return failed(device->name, "AF_XDP sockets take CAP_NET_RAW");
	if (err == -ENOBUFS)
		return failed(device->name, "no more memory may be locked: it takes CAP_IPC_LOCK "
					    "or a higher RLIMIT_MEMLOCK");
	return failed(device->name, strerror(-err));
}

static int open_queue(struct express_queues *queues, unsigned int device, uint32_t number,
		      unsigned int workers)
{
	const struct device *d = &queues->devices[device];
	int err = xsk_queue_open(&queues->queues[queues->count].memory, d->index, number, workers);

	if (err)
		return open_failed(d, err);
	queues->queues[queues->count].device = device;
	queues->queues[queues->count].number = number;
	queues->count++;
	return 0;
}

int express_open_queues(struct express_queues *queues, unsigned int first, unsigned int every,
			unsigned int workers)
{
	unsigned int i;
	uint32_t q;

	for (i = 0; i < queues->devices_count; i++) {
		const struct device *device = &queues->devices[i];

		for (q = first; q < device->queues; q += every) {
			if (queues->count == CIDSTEER_XSKS_MAX) {
				failed(device->name, "a worker has 128 sockets at most: the other "
						     "queues go through the UDP sockets");
				return 0;
			}
			if (open_queue(queues, i, q, workers) < 0)
				return -1;
		}
	}
	return 0;
}

void express_close_queues(struct express_queues *queues)
{
	while (queues->count)
		xsk_queue_close(queues->queues[--queues->count].memory);
}

/* ---- what a worker has ----------------------------------------------------------------------- */

int express_open(struct worker *worker, const struct express_queues *queues)
{
	struct express *express;
	unsigned int i;
	int err;

	if (!queues->devices_count)
		return 0;
	express = worker->express = calloc(1, sizeof(*express));
	if (!express)
		return failed(queues->devices[0].name, strerror(ENOMEM));
	neighbors_init(&express->neighbors);
	memcpy(express->devices, queues->devices, sizeof(express->devices));
	express->devices_count = queues->devices_count;
	for (i = 0; i < queues->count; i++) {
		struct lane *lane = &express->lanes[i];

		lane->device = queues->queues[i].device;
		lane->queue = queues->queues[i].number;
		err = xsk_open(&lane->xsk, queues->queues[i].memory);
		if (err)
			return open_failed(&express->devices[lane->device], err);
		express->count++;
	}
	return 0;
}

void express_close(struct worker *worker)
{
	struct express *express = worker->express;

	if (!express)
		return;
	while (express->count)
		xsk_close(express->lanes[--express->count].xsk);
	free(express);
	worker->express = NULL;
}

/* ---- once a second --------------------------------------------------------------------------- */

static void device_gone(struct worker *worker, unsigned int device)
{
	struct express *express = worker->express;
	unsigned int i;

	said(worker, express->devices[device].name,
	     "the interface is gone; its packets go through the UDP sockets");
	for (i = 0; i < express->count; i++) {
		struct lane *lane = &express->lanes[i];

		if (lane->device != device)
			continue;
		express->untold |= lane->bound;
		xsk_close(lane->xsk);
		lane->xsk = NULL;
		lane->bound = false;
	}
}

static void look_at_devices(struct worker *worker)
{
	struct express *express = worker->express;
	unsigned int i;

	for (i = 0; i < express->devices_count; i++) {
		struct device *device = &express->devices[i];

		if (!device->mtu)
			continue;
		device_look(device);
		if (!device->mtu)
			device_gone(worker, i);
	}
}

/* One line when another number of queues is missing, not one for each. */
static void say_missing(struct worker *worker, unsigned int device, unsigned int missing, int err)
{
	struct express *express = worker->express;
	char reason[160];

	if (express->missing[device] == missing)
		return;
	express->missing[device] = missing;
	if (missing)
		snprintf(reason, sizeof(reason),
			 "no AF_XDP socket on %u queue%s yet: %s; UDP sockets until then", missing,
			 missing == 1 ? "" : "s",
			 err == -EBUSY ? "another process has it" : strerror(-err));
	else
		snprintf(reason, sizeof(reason), "AF_XDP sockets on all its queues now");
	said(worker, express->devices[device].name, reason);
}

/* Returns the number of lanes that could not be bound. */
static unsigned int bind_lanes(struct worker *worker, unsigned int device, int *err)
{
	struct express *express = worker->express;
	unsigned int i, missing = 0;

	for (i = 0; i < express->count; i++) {
		struct lane *lane = &express->lanes[i];
		int result;

		if (lane->device != device || lane->bound || !lane->xsk)
			continue;
		result = xsk_bind(lane->xsk);
		if (!result && worker_watch(worker, xsk_fd(lane->xsk), READY_LANE + i) == 0) {
			lane->bound = express->untold = true;
			continue;
		}
		missing++;
		if (result)
			*err = result;
	}
	return missing;
}

/* All that the worker has now; it stays untold until the daemon has, or will have, heard of it. */
static void tell_daemon(struct worker *worker)
{
	struct express *express = worker->express;
	struct cidsteer_xsk xsks[CIDSTEER_XSKS_MAX];
	unsigned int i, n = 0;
	int err;

	for (i = 0; i < express->count; i++) {
		const struct lane *lane = &express->lanes[i];

		if (lane->bound)
			xsks[n++] = (struct cidsteer_xsk){
				.fd = xsk_fd(lane->xsk),
				.ifindex = express->devices[lane->device].index,
				.queue = lane->queue,
			};
	}
	err = cidsteer_set_xsks(worker->steer, xsks, n);
	express->untold = err && err != -ENOTCONN;
	if (err && err != -ENOTCONN && err != -ESTALE && !express->refused)
		said(worker, "cidsteer: AF_XDP sockets are refused, and tried again",
		     err == -ETIMEDOUT ? strerror(-err) : cidsteer_error(worker->steer));
	else if (!err && express->refused)
		said(worker, "cidsteer", "AF_XDP sockets are taken now");
	express->refused = express->untold;
}

void express_look(struct worker *worker)
{
	struct express *express = worker->express;
	uint64_t now = express ? quic_now() : 0;
	unsigned int i;

	if (!express || now < express->next_look)
		return;
	express->next_look = now + LOOK_NS;
	look_at_devices(worker);
	for (i = 0; i < express->devices_count; i++) {
		int err = -EBUSY;
		unsigned int missing = bind_lanes(worker, i, &err);

		if (express->devices[i].mtu)
			say_missing(worker, i, missing, err);
	}
	if (express->untold)
		tell_daemon(worker);
}

void express_untold(struct worker *worker)
{
	struct express *express = worker->express;

	said(worker, "cidsteer: AF_XDP sockets are not served, and will be set again",
	     cidsteer_error(worker->steer));
	if (!express)
		return;
	express->untold = true;
	express->refused = true;
	express->next_look = quic_now() + LOOK_NS;
}

uint64_t express_until(const struct worker *worker)
{
	const struct express *express = worker->express;

	if (!express)
		return UINT64_MAX;
	return express->pending ? quic_now() + SEND_AGAIN_NS : express->next_look;
}

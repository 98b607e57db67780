// SPDX-License-Identifier: GPL-2.0-only
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cidsteer/cidsteer.h"
#include "common/point.h"
#include "daemon/admit.h"
#include "daemon/devices.h"
#include "daemon/generations.h"
#include "daemon/holdings.h"
#include "daemon/log.h"
#include "daemon/reap.h"
#include "daemon/server_ids.h"
#include "daemon/targets.h"

const struct service *worker_service(const struct worker *worker)
{
	return &worker->all->service[worker->value.service];
}

int workers_drain(struct worker *worker)
{
	__u8 before = worker->value.state;
	int err;

	if (before != CS_WORKER_ACTIVE && before != CS_WORKER_WAITING)
		return 0;
	worker->value.state = CS_WORKER_DRAINING;
	err = entry_write(worker);
	if (err) {
		worker->value.state = before;
		return err;
	}
	generation_drains(worker);
	if (before == CS_WORKER_ACTIVE) {
		err = ring_leave(worker);
		generation_left(worker->all, worker->value.service);
	}
	worker->all->tell(worker);
	return err;
}

struct worker *workers_find(struct workers *workers, __u32 id)
{
	struct worker *worker = id < CS_MAX_WORKERS ? workers->worker[id] : NULL;

	return worker && !worker->dead ? worker : NULL;
}

__u32 workers_service(const struct workers *workers, const char *name)
{
	for (__u32 id = 1; id < CS_MAX_SERVICES; id++) {
		if (workers->service[id].value.used &&
		    !strcmp(workers->service[id].value.name, name))
			return id;
	}
	return 0;
}

/* Puts each socket into its slot; @by_position says which descriptor goes where. */
static int fill_slots(struct worker *worker, const int *by_position, struct error *error)
{
	int map = worker->all->plane->map[PLANE_SOCKETS];

	for (__u32 i = 0; i < worker->value.slots; i++) {
		__u32 slot = worker->value.index + i;
		__u64 fd = by_position[i];

		if (by_position[i] < 0 || !bpf_map_update_elem(map, &slot, &fd, BPF_ANY))
			continue;
		if (errno == EBUSY)
			return error_set(error, -EBUSY,
					 "a socket is registered already, as another worker's");
		if (errno == EINVAL)
			return error_set(
				error, -EINVAL,
				"a socket is in no SO_REUSEPORT group: set the option before "
				"bind()");
		return error_set(error, -errno, "cs_sockets: %s", strerror(errno));
	}
	return 0;
}

static int attach_stub(struct workers *workers, struct listener *listener, int fd,
		       struct error *error)
{
	if (listener->stub < 0)
		listener->stub = plane_stub(workers->plane, listener->value.listener, error);
	if (listener->stub < 0)
		return listener->stub;
	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, &listener->stub,
		       sizeof(listener->stub)))
		return error_set(error, -errno, "attaching cs_stub: %s", strerror(errno));
	return 0;
}

/* A worker's sockets, by their listeners' positions. */
struct sorted {
	struct listener *listener[CS_MAX_SERVICE_LISTENERS];
	int socket[CS_MAX_SERVICE_LISTENERS]; /* -1: none */
	__u64 elsewhere; /* cookie of their network namespace, if not the service's; else 0 */
};

/* Checks each socket and sorts it by its listener's position. */
static int check_sockets(struct workers *workers, const struct admission *asked, __u32 service,
			 struct sorted *sorted, __u32 *notes, struct error *error)
{
	__u32 want = workers->service[service].value.listeners;
	__u64 elsewhere;
	int err;

	for (int i = 0; i < CS_MAX_SERVICE_LISTENERS; i++)
		sorted->socket[i] = -1;
	for (__u32 i = 0; i < asked->count; i++) {
		struct listener *found = admit_socket(workers, service, asked->sockets[i], notes,
						      &elsewhere, &err, error);

		if (!found)
			return err;
		if (sorted->socket[found->value.position] >= 0)
			return error_set(error, -EINVAL, "two sockets are bound to one listener");
		if (i && elsewhere != sorted->elsewhere)
			return error_set(error, -EINVAL,
					 "its sockets are in different network namespaces");
		sorted->elsewhere = elsewhere;
		sorted->socket[found->value.position] = asked->sockets[i];
		sorted->listener[found->value.position] = found;
	}
	if (asked->count != want)
		return error_set(error, -EINVAL, "service \"%s\" has %u listeners, %u sockets came",
				 workers->service[service].value.name, want, asked->count);
	return 0;
}

/* One more than the last position in use: positions can have gaps after a listener went. */
static __u32 slots_for(const int *by_position)
{
	__u32 slots = 0;

	for (__u32 i = 0; i < CS_MAX_SERVICE_LISTENERS; i++)
		slots = by_position[i] >= 0 ? i + 1 : slots;
	return slots;
}

/* Takes an id, a usage line and slots; gives all of it back if one is not to be had. */
static int take_numbers(struct worker *worker, struct error *error)
{
	struct workers *all = worker->all;
	struct service *service = &all->service[worker->value.service];

	worker->value.index = slots_take(all, worker->value.slots);
	if (worker->value.index == CS_MAX_SOCKETS)
		return error_set(error, -ENOSPC, "no more than %d sockets can be registered",
				 CS_MAX_SOCKETS);
	worker->value.usage = usage_take(service);
	if (!worker->value.usage) {
		slots_give_back(all, worker->value.index, worker->value.slots);
		return error_set(error, -ENOSPC,
				 "service \"%s\" has %d workers, those that are being reaped "
				 "included: no more can register",
				 service->value.name, CS_MAX_SERVICE_WORKERS - 1);
	}
	worker->id = id_take(all);
	if (worker->id)
		return 0;
	slots_give_back(all, worker->value.index, worker->value.slots);
	service->usage_taken[worker->value.usage] = false;
	return error_set(error, -ENOSPC, "all %d worker ids are in use", CS_MAX_WORKERS - 1);
}

/*
 * A socket must not be in a slot that no entry names: the kernel takes it into no other.  So the
 * entry comes first, and says that the worker is dead: who is killed in between leaves it to be
 * buried.
 */
static int announce(struct worker *worker, struct error *error)
{
	__u8 state = worker->value.state;
	int err;

	worker->value.state = CS_WORKER_DEAD;
	err = entry_write(worker);
	worker->value.state = state;
	return err ? error_set(error, err, "cs_workers: %s", strerror(-err)) : 0;
}

static int start_worker(struct worker *worker, const struct sorted *sorted, struct error *error)
{
	struct workers *all = worker->all;
	int err = announce(worker, error);

	if (!err)
		err = fill_slots(worker, sorted->socket, error);
	for (__u32 i = 0; i < worker->value.slots && !err; i++) {
		if (sorted->socket[i] >= 0)
			err = attach_stub(all, sorted->listener[i], sorted->socket[i], error);
	}
	if (err)
		return err;
	CS_POINT("registration"); /* sockets are in their slots, the entry says dead */
	err = routes_start(worker);
	if (!err)
		err = loop_watch(all->loop, &worker->process);
	if (err)
		return error_set(error, err, "%s", strerror(-err));
	all->worker[worker->id] = worker;
	err = entry_write(worker);
	if (!err && worker->value.state == CS_WORKER_ACTIVE)
		err = ring_join(worker);
	CS_POINT("registration"); /* in the ring, and not told */
	if (!err)
		err = generation_entered(worker);
	if (err)
		return error_set(error, err, "cs_workers: %s", strerror(-err));
	return 0;
}

/* An admission failed half way: as if it had never been asked for. */
static void undo_worker(struct worker *worker)
{
	struct workers *all = worker->all;
	__u32 service = worker->value.service;
	int forgotten = server_ids_leave(worker); /* else its id is lost: a server ID names it */

	slots_clear(worker);
	target_leave(worker);
	if (all->worker[worker->id]) {
		all->worker[worker->id] = NULL;
		if (worker->value.state == CS_WORKER_ACTIVE)
			ring_leave(worker);
	}
	loop_forget(all->loop, &worker->process);
	slots_give_back(all, worker->value.index, worker->value.slots);
	all->service[service].usage_taken[worker->value.usage] = false;
	memset(&worker->value, 0, sizeof(worker->value));
	entry_write(worker);
	routes_free(&worker->routes);
	if (!forgotten)
		id_give_back(all, worker->id);
	free(worker);
}

static int check_user(const struct service *service, const struct ucred *peer, struct error *error)
{
	if (peer->uid == 0 || peer->uid == service->value.uid)
		return 0;
	return error_set(error, -EACCES,
			 "uid %u is not allowed in service \"%s\", its user is uid %u", peer->uid,
			 service->value.name, service->value.uid);
}

static __u64 socket_cookie(int fd)
{
	__u64 cookie = 0;
	socklen_t len = sizeof(cookie);

	return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) ? 0 : cookie;
}

static bool is_among(__u64 cookie, const struct admission *asked)
{
	for (__u32 i = 0; i < asked->count; i++) {
		if (socket_cookie(asked->sockets[i]) == cookie)
			return true;
	}
	return false;
}

/*
 * Is what the worker's slots hold among these sockets?  Not more: a listener may have gone, or have
 * come, since it registered.
 */
static bool has_sockets(const struct worker *worker, const struct admission *asked)
{
	bool any = false;

	for (__u32 i = 0; i < worker->value.slots; i++) {
		__u32 slot = worker->value.index + i;
		__u64 cookie;

		if (bpf_map_lookup_elem(worker->all->plane->map[PLANE_SOCKETS], &slot, &cookie))
			continue;
		if (!is_among(cookie, asked))
			return false;
		any = true;
	}
	return any;
}

/* A worker without a connection, adopted from an earlier daemon, that asks again. */
static struct worker *find_returning(struct workers *workers, const struct admission *asked,
				     __u32 service)
{
	for (__u32 id = 1; id < CS_MAX_WORKERS; id++) {
		struct worker *worker = workers->worker[id];

		if (worker && !worker->dead && !worker->holder &&
		    worker->value.service == service &&
		    worker->value.pid == (__u32)asked->peer.pid &&
		    worker->value.start == asked->start && has_sockets(worker, asked))
			return worker;
	}
	return NULL;
}

/* What `cidsteer status` finds in cs_workers. */
static __u8 flags_of(__u32 notes, bool served)
{
	return (notes & CIDSTEER_NOTE_GRO ? CS_WORKER_GRO : 0) | (served ? CS_WORKER_SERVED : 0);
}

static struct worker *make_worker(struct workers *workers, const struct admission *asked,
				  __u32 service, const int *by_position)
{
	struct worker *worker = calloc(1, sizeof(*worker));

	if (!worker)
		return NULL;
	worker->all = workers;
	worker->process = (struct source){ asked->pidfd, worker_process_ended };
	worker->value = (struct cs_worker){
		.token = asked->token,
		.service = service,
		.pid = asked->peer.pid,
		.slots = slots_for(by_position),
		.start = asked->start,
	};
	return worker;
}

static int admit_new(struct workers *workers, const struct admission *asked, __u32 service,
		     const struct sorted *sorted, __u32 notes, struct worker **admitted,
		     struct error *error)
{
	struct worker *worker = make_worker(workers, asked, service, sorted->socket);
	__u64 ring_from = workers->service[service].ring_from;
	int err;

	if (!worker)
		return error_set(error, -ENOMEM, "out of memory");
	worker->value.flags = flags_of(notes, asked->serves);
	err = take_numbers(worker, error);
	if (err) {
		free(worker);
		return err;
	}
	generation_enter(worker, asked->state);
	if (asked->serves)
		ring_hold(&workers->service[service]);
	worker->cpu_asked = asked->cpu;
	err = sorted->elsewhere ? device_take(worker, asked->sockets[0], error) : 0;
	target_choose(worker);
	if (!err)
		err = server_ids_enter(worker, asked, error);
	if (!err)
		err = start_worker(worker, sorted, error);
	if (err) {
		workers->service[service].ring_from = ring_from;
		undo_worker(worker);
	} else {
		*admitted = worker;
	}
	return err;
}

/* Options may have changed since it registered.  A hint for people, so no reason to refuse. */
static void renew_flags(struct worker *worker, __u32 notes)
{
	__u8 before = worker->value.flags;

	worker->value.flags = flags_of(notes, before & CS_WORKER_SERVED);
	if (worker->value.flags != before && entry_write(worker))
		worker->value.flags = before;
}

/* What an earlier daemon has known.  Without it the packets go to the stack, as they did until now.
 */
static void find_device(struct worker *worker, int socket)
{
	struct error error;

	if (worker->value.target == CS_TARGET_DEVICE && device_take(worker, socket, &error))
		log_line("%s: worker %u is sent nothing: %s", worker_service(worker)->value.name,
			 worker->id, error.line);
}

struct worker *workers_admit(struct workers *workers, const struct admission *asked, __u32 *notes,
			     bool *returning, int *err, struct error *error)
{
	struct sorted sorted = {};
	__u32 service = workers_service(workers, asked->service);
	struct worker *worker = NULL;

	*notes = 0;
	*returning = false;
	*err = -ENOENT;
	if (!service) {
		error_set(error, *err, "service \"%s\" is not configured", asked->service);
		return NULL;
	}
	*err = check_user(&workers->service[service], &asked->peer, error);
	if (*err)
		return NULL;
	worker = find_returning(workers, asked, service);
	if (worker) {
		for (__u32 i = 0; i < asked->count; i++)
			*notes |= admit_notes(asked->sockets[i]);
		renew_flags(worker, *notes);
		worker->cpu_asked = asked->cpu;
		target_choose(worker);
		find_device(worker, asked->sockets[0]);
		close(asked->pidfd); /* it is watched already */
		*returning = true;
		if (asked->state == CS_WORKER_DRAINING)
			workers_drain(worker); /* it said so while no daemon was there */
		return worker;
	}
	*err = check_sockets(workers, asked, service, &sorted, notes, error);
	if (!*err && asked->cpu)
		*err = target_check(asked->cpu - 1, error);
	if (!*err)
		*err = admit_new(workers, asked, service, &sorted, *notes, &worker, error);
	return worker;
}

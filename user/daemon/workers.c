// SPDX-License-Identifier: GPL-2.0-only
#include <bpf/bpf.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "daemon/admit.h"
#include "daemon/log.h"
#include "daemon/workers.h"

/* Buckets that one piece of sweeping looks at: some hundred microseconds. */
#define SWEEP_BUCKETS 4096

const struct service *worker_service(const struct worker *worker)
{
	return &worker->all->service[worker->value.service];
}

static int write_worker(const struct worker *worker)
{
	return bpf_map_update_elem(worker->all->plane->map[PLANE_WORKERS], &worker->id,
				   &worker->value, BPF_ANY)
		       ? -errno
		       : 0;
}

static int write_ring(struct workers *workers, __u32 service)
{
	return bpf_map_update_elem(workers->plane->map[PLANE_RING], &service,
				   &workers->service[service].ring, BPF_ANY)
		       ? -errno
		       : 0;
}

static int join_ring(struct worker *worker)
{
	struct service *service = &worker->all->service[worker->value.service];

	cs_ring_join(&service->ring, &service->scores, service->value.key, worker->id);
	return write_ring(worker->all, worker->value.service);
}

/* @worker is active no more: its buckets go to the others. */
static int leave_ring(struct worker *worker)
{
	struct workers *all = worker->all;
	struct service *service = &all->service[worker->value.service];
	__u16 others[CS_MAX_SERVICE_WORKERS];
	__u32 count = 0;

	for (__u32 id = 1; id < CS_MAX_WORKERS; id++) {
		const struct worker *other = all->worker[id];

		if (other && other->value.service == worker->value.service &&
		    other->value.state == CS_WORKER_ACTIVE && count < CS_MAX_SERVICE_WORKERS)
			others[count++] = id;
	}
	cs_ring_leave(&service->ring, &service->scores, service->value.key, worker->id, others,
		      count);
	return write_ring(all, worker->value.service);
}

static void clear_slots(const struct worker *worker)
{
	for (__u32 i = 0; i < worker->value.slots; i++) {
		__u32 slot = worker->value.index + i;

		bpf_map_delete_elem(worker->all->plane->map[PLANE_SOCKETS], &slot);
	}
}

static void give_back_slots(struct workers *workers, __u32 first, __u32 count)
{
	for (__u32 i = first; i < first + count && i < CS_MAX_SOCKETS; i++)
		workers->slot_taken[i] = false;
}

/* First of @count slots in a row, or CS_MAX_SOCKETS. */
static __u32 take_slots(struct workers *workers, __u32 count)
{
	__u32 run = 0;

	for (__u32 i = 0; i < CS_MAX_SOCKETS; i++) {
		run = workers->slot_taken[i] ? 0 : run + 1;
		if (run < count)
			continue;
		for (__u32 slot = i + 1 - count; slot <= i; slot++)
			workers->slot_taken[slot] = true;
		return i + 1 - count;
	}
	return CS_MAX_SOCKETS;
}

static __u32 take_usage(struct service *service)
{
	for (__u32 line = 1; line < CS_MAX_SERVICE_WORKERS; line++) {
		if (service->usage_taken[line])
			continue;
		service->usage_taken[line] = true;
		memset(&service->usage[line], 0, sizeof(service->usage[line]));
		return line;
	}
	return 0;
}

/* Adds a departed worker's line to line 0. */
static void settle_usage(struct service *service, __u32 line)
{
	struct cs_usage *sum = &service->usage[0], *gone = &service->usage[line];

	sum->issued += gone->issued;
	sum->retired += gone->issued; /* what it had not retired was swept */
	sum->refused += gone->refused;
	sum->strays += gone->strays;
	sum->path_changes += gone->path_changes;
	__atomic_fetch_sub(&sum->provisional, gone->provisional, __ATOMIC_RELAXED);
	memset(gone, 0, sizeof(*gone));
	service->usage_taken[line] = false;
}

static void give_back_id(struct workers *workers, __u32 id)
{
	__u32 last = (workers->free_first + workers->free_count++) % CS_MAX_WORKERS;

	workers->free_id[last] = id;
}

static __u32 take_id(struct workers *workers)
{
	__u32 id;

	if (!workers->free_count)
		return 0;
	id = workers->free_id[workers->free_first];
	workers->free_first = (workers->free_first + 1) % CS_MAX_WORKERS;
	workers->free_count--;
	return id;
}

static void close_process(struct worker *worker)
{
	if (worker->process.fd < 0)
		return;
	loop_forget(worker->all->loop, &worker->process);
	close(worker->process.fd);
	worker->process.fd = -1;
}

/* Nothing of the worker is left: its id may be somebody else's. */
static void free_worker(struct worker *worker)
{
	struct workers *all = worker->all;

	settle_usage(&all->service[worker->value.service], worker->value.usage);
	give_back_slots(all, worker->value.index, worker->value.slots);
	memset(&worker->value, 0, sizeof(worker->value));
	write_worker(worker);
	close_process(worker);
	routes_free(&worker->routes);
	if (worker->holder)
		*worker->holder = NULL;
	all->worker[worker->id] = NULL;
	give_back_id(all, worker->id);
	free(worker);
}

static void log_swept(struct worker *worker)
{
	if (worker->logged)
		return;
	worker->logged = true;
	log_line("%s: worker %u (pid %u) is gone, %llu routes removed",
		 worker_service(worker)->value.name, worker->id, worker->value.pid,
		 (unsigned long long)worker->swept);
}

/* A worker whose table is not shared has nothing to write with. */
static bool may_still_write(const struct worker *worker)
{
	return !worker->gone && worker_service(worker)->value.shared_table;
}

static void sweep_some(struct worker *worker)
{
	const struct cs_table *table = &worker_service(worker)->table;

	worker->swept += cs_table_sweep(table, worker->sweep_next, SWEEP_BUCKETS, worker->id);
	worker->sweep_next += SWEEP_BUCKETS;
	if (worker->sweep_next <= table->mask)
		return;
	worker->sweeping = false;
	worker->all->sweeping--;
	log_swept(worker);
	if (!may_still_write(worker))
		free_worker(worker);
}

bool workers_reap_some(void *arg)
{
	struct workers *workers = arg;

	for (__u32 id = 1; id < CS_MAX_WORKERS && workers->sweeping; id++) {
		struct worker *worker = workers->worker[id];

		if (!worker || !worker->sweeping)
			continue;
		sweep_some(worker);
		break;
	}
	return workers->sweeping;
}

static void begin_sweep(struct worker *worker)
{
	worker->all->sweeping += !worker->sweeping;
	worker->sweeping = true;
	worker->sweep_next = 0;
}

void workers_bury(struct worker *worker)
{
	struct service *service = &worker->all->service[worker->value.service];
	bool active = worker->value.state == CS_WORKER_ACTIVE;

	if (worker->dead)
		return;
	worker->dead = true;
	worker->value.state = CS_WORKER_DEAD;
	__atomic_store_n(&service->usage[worker->value.usage].buried, 1, __ATOMIC_SEQ_CST);
	/* First out of the ring, so that new connections never find it dead. */
	if (active)
		leave_ring(worker);
	write_worker(worker);
	clear_slots(worker);
	begin_sweep(worker);
}

static void process_ended(struct source *source, uint32_t events)
{
	struct worker *worker = (struct worker *)source;

	(void)events;
	worker->gone = true;
	close_process(worker);
	if (!worker->dead)
		workers_bury(worker);
	else
		begin_sweep(worker); /* once more: it could write until now */
}

int workers_drain(struct worker *worker)
{
	int err;

	if (worker->value.state != CS_WORKER_ACTIVE)
		return 0;
	worker->value.state = CS_WORKER_DRAINING;
	err = write_worker(worker);
	if (err) {
		worker->value.state = CS_WORKER_ACTIVE;
		return err;
	}
	return leave_ring(worker);
}

/* proc(5), field 22 of stat; the name in field 2 may hold anything, also ')'. */
static __u64 process_start(pid_t pid)
{
	char path[64], text[1024], *at;
	_cleanup_file_ FILE *file = NULL;
	unsigned long long start = 0;
	size_t len;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "re");
	if (!file)
		return 0;
	len = fread(text, 1, sizeof(text) - 1, file);
	text[len] = '\0';
	at = strrchr(text, ')');
	if (!at)
		return 0;
	if (sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d "
			   "%*d %*d %*d %llu",
		   &start) != 1)
		return 0;
	return start;
}

static __u32 find_service(const struct workers *workers, const char *name)
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
			return error_set(error, -EINVAL,
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

/* Checks each socket and sorts it by its listener's position. */
static int check_sockets(struct workers *workers, const struct admission *asked, __u32 service,
			 struct listener **listener, int *by_position, __u32 *notes,
			 struct error *error)
{
	__u32 want = workers->service[service].value.listeners;
	int err;

	for (int i = 0; i < CS_MAX_SERVICE_LISTENERS; i++)
		by_position[i] = -1;
	for (__u32 i = 0; i < asked->count; i++) {
		struct listener *found =
			admit_socket(workers, service, asked->sockets[i], notes, &err, error);

		if (!found)
			return err;
		if (by_position[found->value.position] >= 0)
			return error_set(error, -EINVAL, "two sockets are bound to one listener");
		by_position[found->value.position] = asked->sockets[i];
		listener[found->value.position] = found;
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

static int start_routes(struct worker *worker)
{
	struct service *service = &worker->all->service[worker->value.service];
	struct routes *routes = &worker->routes;

	routes->table = service->table;
	routes->usage = &service->usage[worker->value.usage];
	routes->sum = &service->usage[0];
	routes->worker = worker->id;
	routes->cid_len = service->value.cid_len;
	memcpy(routes->key, service->value.key, sizeof(routes->key));
	return service->value.shared_table ? 0 :
					     routes_init(routes, routes_share(service->value.max_cids));
}

/* Takes an id, a usage line and slots; gives all of it back if one is not to be had. */
static int take_numbers(struct worker *worker, struct error *error)
{
	struct workers *all = worker->all;
	struct service *service = &all->service[worker->value.service];

	worker->value.index = take_slots(all, worker->value.slots);
	if (worker->value.index == CS_MAX_SOCKETS)
		return error_set(error, -ENOSPC, "no more than %d sockets can be registered",
				 CS_MAX_SOCKETS);
	worker->value.usage = take_usage(service);
	if (!worker->value.usage) {
		give_back_slots(all, worker->value.index, worker->value.slots);
		return error_set(error, -ENOSPC,
				 "service \"%s\" has %d workers, those that are being reaped "
				 "included: no more can register",
				 service->value.name, CS_MAX_SERVICE_WORKERS - 1);
	}
	worker->id = take_id(all);
	if (worker->id)
		return 0;
	give_back_slots(all, worker->value.index, worker->value.slots);
	service->usage_taken[worker->value.usage] = false;
	return error_set(error, -ENOSPC, "all %d worker ids are in use", CS_MAX_WORKERS - 1);
}

static int start_worker(struct worker *worker, struct listener **listener,
			const int *by_position, struct error *error)
{
	struct workers *all = worker->all;
	int err = fill_slots(worker, by_position, error);

	for (__u32 i = 0; i < worker->value.slots && !err; i++) {
		if (by_position[i] >= 0)
			err = attach_stub(all, listener[i], by_position[i], error);
	}
	if (err)
		return err;
	err = start_routes(worker);
	if (!err)
		err = loop_watch(all->loop, &worker->process);
	if (err)
		return error_set(error, err, "%s", strerror(-err));
	worker->value.state = CS_WORKER_ACTIVE;
	all->worker[worker->id] = worker;
	err = write_worker(worker);
	if (!err)
		err = join_ring(worker);
	if (err)
		return error_set(error, err, "cs_workers: %s", strerror(-err));
	return 0;
}

/* An admission failed half way: as if it had never been asked for. */
static void undo_worker(struct worker *worker)
{
	struct workers *all = worker->all;
	__u32 service = worker->value.service;

	clear_slots(worker);
	if (all->worker[worker->id]) {
		all->worker[worker->id] = NULL;
		leave_ring(worker);
	}
	loop_forget(all->loop, &worker->process);
	give_back_slots(all, worker->value.index, worker->value.slots);
	all->service[service].usage_taken[worker->value.usage] = false;
	memset(&worker->value, 0, sizeof(worker->value));
	write_worker(worker);
	routes_free(&worker->routes);
	give_back_id(all, worker->id);
	free(worker);
}

static int check_user(const struct service *service, const struct ucred *peer,
		      struct error *error)
{
	if (peer->uid == 0 || peer->uid == service->value.uid)
		return 0;
	return error_set(error, -EACCES, "uid %u is not allowed in service \"%s\", its user is uid %u",
			 peer->uid, service->value.name, service->value.uid);
}

static __u64 socket_cookie(int fd)
{
	__u64 cookie = 0;
	socklen_t len = sizeof(cookie);

	return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) ? 0 : cookie;
}

/* Do the worker's slots hold just these sockets? */
static bool has_sockets(const struct worker *worker, const int *by_position)
{
	for (__u32 i = 0; i < worker->value.slots; i++) {
		__u32 slot = worker->value.index + i;
		__u64 cookie = 0;

		bpf_map_lookup_elem(worker->all->plane->map[PLANE_SOCKETS], &slot, &cookie);
		if (cookie != (by_position[i] < 0 ? 0 : socket_cookie(by_position[i])))
			return false;
	}
	return true;
}

/* A worker without a connection, adopted from an earlier daemon, that asks again. */
static struct worker *find_returning(struct workers *workers, const struct admission *asked,
				     __u32 service, const int *by_position)
{
	__u64 start = process_start(asked->peer.pid);

	for (__u32 id = 1; id < CS_MAX_WORKERS; id++) {
		struct worker *worker = workers->worker[id];

		if (worker && !worker->dead && !worker->holder &&
		    worker->value.service == service &&
		    worker->value.pid == (__u32)asked->peer.pid && worker->value.start == start &&
		    worker->value.slots == slots_for(by_position) &&
		    has_sockets(worker, by_position))
			return worker;
	}
	return NULL;
}

static struct worker *make_worker(struct workers *workers, const struct admission *asked,
				  __u32 service, const int *by_position)
{
	struct worker *worker = calloc(1, sizeof(*worker));

	if (!worker)
		return NULL;
	worker->all = workers;
	worker->process = (struct source){ asked->pidfd, process_ended };
	worker->value = (struct cs_worker){
		.generation = asked->generation,
		.service = service,
		.pid = asked->peer.pid,
		.slots = slots_for(by_position),
		.start = process_start(asked->peer.pid),
	};
	return worker;
}

static int admit_new(struct workers *workers, const struct admission *asked, __u32 service,
		     struct listener **listener, const int *by_position, struct worker **admitted,
		     struct error *error)
{
	struct worker *worker = make_worker(workers, asked, service, by_position);
	int err;

	if (!worker)
		return error_set(error, -ENOMEM, "out of memory");
	err = take_numbers(worker, error);
	if (err) {
		free(worker);
		return err;
	}
	err = start_worker(worker, listener, by_position, error);
	if (err)
		undo_worker(worker);
	else
		*admitted = worker;
	return err;
}

struct worker *workers_admit(struct workers *workers, const struct admission *asked, __u32 *notes,
			     int *err, struct error *error)
{
	struct listener *listener[CS_MAX_SERVICE_LISTENERS] = {};
	int by_position[CS_MAX_SERVICE_LISTENERS];
	__u32 service = find_service(workers, asked->service);
	struct worker *worker = NULL;

	*notes = 0;
	*err = -ENOENT;
	if (!service) {
		error_set(error, *err, "service \"%s\" is not configured", asked->service);
		return NULL;
	}
	*err = check_user(&workers->service[service], &asked->peer, error);
	if (!*err)
		*err = check_sockets(workers, asked, service, listener, by_position, notes, error);
	if (*err)
		return NULL;
	worker = find_returning(workers, asked, service, by_position);
	if (worker) {
		close(asked->pidfd); /* it is watched already */
		return worker;
	}
	*err = admit_new(workers, asked, service, listener, by_position, &worker, error);
	return worker;
}

/* Returns 0, -ESRCH (the process that registered is gone), or why that cannot be told. */
static int adopt_process(struct worker *worker)
{
	int fd = syscall(SYS_pidfd_open, worker->value.pid, 0);
	struct pollfd ended = { .fd = fd, .events = POLLIN };
	int err;

	if (fd < 0)
		return -errno;
	if (process_start(worker->value.pid) != worker->value.start || poll(&ended, 1, 0)) {
		close(fd);
		return -ESRCH;
	}
	worker->process = (struct source){ fd, process_ended };
	err = loop_watch(worker->all->loop, &worker->process);
	if (err)
		close(fd);
	return err;
}

/* A slot reads as its socket's cookie for as long as any descriptor of it is open. */
static bool has_any_socket(const struct worker *worker)
{
	for (__u32 i = 0; i < worker->value.slots; i++) {
		__u32 slot = worker->value.index + i;
		__u64 cookie;

		if (!bpf_map_lookup_elem(worker->all->plane->map[PLANE_SOCKETS], &slot, &cookie))
			return true;
	}
	return false;
}

/* What the maps say is input: numbers that cannot be, or that another worker has, are refused. */
static bool is_plausible(const struct workers *workers, const struct cs_worker *value)
{
	if (!value->service || value->service >= CS_MAX_SERVICES ||
	    !workers->service[value->service].value.used || value->state > CS_WORKER_DEAD)
		return false;
	if (!value->pid || !value->usage || value->usage >= CS_MAX_SERVICE_WORKERS ||
	    workers->service[value->service].usage_taken[value->usage])
		return false;
	if (!value->slots || value->slots > CS_MAX_SERVICE_LISTENERS ||
	    value->index > CS_MAX_SOCKETS - value->slots)
		return false;
	for (__u32 i = 0; i < value->slots; i++) {
		if (workers->slot_taken[value->index + i])
			return false;
	}
	return true;
}

static void take_adopted_numbers(struct worker *worker)
{
	struct workers *all = worker->all;

	for (__u32 i = 0; i < worker->value.slots; i++)
		all->slot_taken[worker->value.index + i] = true;
	all->service[worker->value.service].usage_taken[worker->value.usage] = true;
	all->worker[worker->id] = worker;
}

static int adopt(struct workers *workers, __u32 id, const struct cs_worker *value)
{
	struct worker *worker = calloc(1, sizeof(*worker));
	int err;

	if (!worker)
		return -ENOMEM;
	worker->all = workers;
	worker->id = id;
	worker->value = *value;
	worker->process.fd = -1;
	take_adopted_numbers(worker);
	err = start_routes(worker);
	if (!err)
		err = adopt_process(worker);
	if (err != -ESRCH)
		return err;
	worker->gone = true;
	return 0;
}

/* Nobody else's packets go by what cannot be: the id is left alone for as long as this daemon runs. */
static void refuse_adoption(struct workers *workers, __u32 id)
{
	static const struct cs_worker none;

	bpf_map_update_elem(workers->plane->map[PLANE_WORKERS], &id, &none, BPF_ANY);
	log_line("worker %u of the pinned cs_workers cannot be: removed", id);
}

/* Only when all are known: a ring without those that live would be wrong for a moment. */
static int settle_adopted(struct workers *workers)
{
	int err = 0;

	for (__u32 id = 1; id < CS_MAX_WORKERS; id++) {
		struct worker *worker = workers->worker[id];

		if (worker && worker->value.state == CS_WORKER_ACTIVE)
			cs_ring_join(&workers->service[worker->value.service].ring,
				     &workers->service[worker->value.service].scores,
				     workers->service[worker->value.service].value.key, id);
	}
	for (__u32 id = 1; id < CS_MAX_SERVICES && !err; id++) {
		if (workers->service[id].value.used)
			err = write_ring(workers, id);
	}
	for (__u32 id = 1; id < CS_MAX_WORKERS && !err; id++) {
		struct worker *worker = workers->worker[id];

		if (!worker)
			continue;
		if (worker->gone || worker->value.state == CS_WORKER_DEAD || !has_any_socket(worker))
			workers_bury(worker);
		else
			log_line("%s: worker %u (pid %u) goes on",
				 worker_service(worker)->value.name, id, worker->value.pid);
	}
	return err;
}

static int adopt_all(struct workers *workers)
{
	_cleanup_free_ struct cs_worker *value = calloc(CS_MAX_WORKERS, sizeof(*value));
	int err = value ? plane_workers(workers->plane, value) : -ENOMEM;

	for (__u32 id = 1; id < CS_MAX_WORKERS && !err; id++) {
		if (value[id].state == CS_WORKER_NONE)
			give_back_id(workers, id);
		else if (is_plausible(workers, &value[id]))
			err = adopt(workers, id, &value[id]);
		else
			refuse_adoption(workers, id);
	}
	return err ? err : settle_adopted(workers);
}

static int map_service(struct workers *workers, __u32 id)
{
	struct service *service = &workers->service[id];
	int err;

	service->table_fd = plane_table_fd(workers->plane, id);
	service->usage_fd = plane_usage_fd(workers->plane, id);
	if (service->table_fd < 0 || service->usage_fd < 0)
		return service->table_fd < 0 ? service->table_fd : service->usage_fd;
	err = plane_map_table(service->table_fd, true, &service->table);
	if (err)
		return err;
	service->usage = plane_map_usage(service->usage_fd, true);
	return service->usage ? 0 : -errno;
}

static void unmap_service(struct service *service)
{
	plane_unmap_table(&service->table);
	plane_unmap_usage(service->usage);
	cleanup_fd(&service->table_fd);
	cleanup_fd(&service->usage_fd);
}

/*
 * Mapped for as long as the daemon runs: with a writable mapping held, nobody who was handed the
 * descriptor can freeze the map.  One that was frozen while no daemon ran is replaced: then
 * nobody had it mapped, so there is no live worker that would lose a route.
 */
static int open_service(struct workers *workers, __u32 id)
{
	struct service *service = &workers->service[id];
	int err = map_service(workers, id);

	if (err != -EPERM)
		return err;
	log_line("%s: its table was frozen by somebody who had its descriptor: replaced by an empty "
		 "one",
		 service->value.name);
	unmap_service(service);
	err = plane_renew_table(workers->plane, id);
	return err ? err : map_service(workers, id);
}

static int note_listener(const struct cs_addr *addr, const struct cs_listener *value, void *arg)
{
	struct workers *workers = arg;
	struct listener *listener;

	if (value->listener >= CS_MAX_LISTENERS || value->position >= CS_MAX_SERVICE_LISTENERS ||
	    value->service >= CS_MAX_SERVICES)
		return -EPROTO;
	listener = &workers->listener[value->listener];
	if (value->flags & CS_LISTENER_ALIAS) {
		listener->dual = true;
		return 0;
	}
	listener->addr = *addr;
	listener->value = *value;
	listener->used = true;
	return 0;
}

int workers_init(struct workers *workers, struct plane *plane, struct loop *loop,
		 struct error *error)
{
	int err;

	workers->plane = plane;
	workers->loop = loop;
	loop->idle = workers_reap_some;
	loop->arg = workers;
	for (int i = 0; i < CS_MAX_LISTENERS; i++)
		workers->listener[i].stub = -1;
	err = plane_each_address(plane, note_listener, workers);
	for (__u32 id = 1; id < CS_MAX_SERVICES && !err; id++) {
		if (!plane_service(plane, id, &workers->service[id].value))
			err = open_service(workers, id);
	}
	if (!err)
		err = adopt_all(workers);
	return err ? error_set(error, err, "reading the maps: %s", strerror(-err)) : 0;
}

// SPDX-License-Identifier: GPL-2.0-only
/* What a daemon finds when it starts: tables, listeners, and the workers of an earlier one. */
#include <bpf/bpf.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "daemon/generations.h"
#include "daemon/holdings.h"
#include "daemon/log.h"
#include "daemon/reap.h"
#include "daemon/server_ids.h"
#include "daemon/targets.h"

/* Returns 0, -ESRCH (the process that registered is gone), or why that cannot be told. */
static int adopt_process(struct worker *worker)
{
	int fd = syscall(SYS_pidfd_open, worker->value.pid, 0);
	struct pollfd ended = { .fd = fd, .events = POLLIN };
	__u64 start;
	int err;

	/* Of a number that is now a thread's: ENOENT (seen on 6.18), on older kernels EINVAL. */
	if (fd < 0)
		return errno == ENOENT || errno == EINVAL ? -ESRCH : -errno;
	err = process_start(worker->value.pid, &start);
	if (!err && start != worker->value.start)
		err = -ESRCH;
	if (!err && poll(&ended, 1, 0))
		err = ended.revents ? -ESRCH : -errno;
	worker->process = (struct source){ fd, worker_process_ended };
	if (!err)
		err = loop_watch(worker->all->loop, &worker->process);
	if (!err)
		return 0;
	worker->process.fd = -1;
	close(fd);
	return err;
}

/* A slot reads as its socket's cookie for as long as any descriptor of it is open.  Returns 0,
 * -ENOENT (there is none), or another errno.
 */
static int find_socket(const struct worker *worker)
{
	for (__u32 i = 0; i < worker->value.slots; i++) {
		__u32 slot = worker->value.index + i;
		__u64 cookie;

		if (!bpf_map_lookup_elem(worker->all->plane->map[PLANE_SOCKETS], &slot, &cookie))
			return 0;
		if (errno != ENOENT)
			return -errno;
	}
	return -ENOENT;
}

/* What the maps say is input: numbers that cannot be, or that another worker has, are refused. */
static bool is_plausible(const struct workers *workers, const struct cs_worker *value)
{
	if (value->target > CS_TARGET_XSK || !value->service || value->service >= CS_MAX_SERVICES ||
	    !workers->service[value->service].value.used || value->state > CS_WORKER_DEAD)
		return false;
	if (!value->pid || !value->usage || value->usage >= CS_MAX_SERVICE_WORKERS ||
	    workers->service[value->service].usage_taken[value->usage])
		return false;
	if (!value->slots || value->slots > CS_MAX_SERVICE_LISTENERS ||
	    value->index > (__u32)CS_MAX_SOCKETS - value->slots)
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
	err = target_adopt(worker);
	if (err)
		return err;
	/* Which of its routes are provisional the daemon that wrote them has known, and no other.
	 */
	if (!workers->service[value->service].value.shared_table)
		worker_return_share(worker);
	err = routes_start(worker);
	if (!err)
		err = adopt_process(worker);
	if (err != -ESRCH)
		return err;
	worker->gone = true;
	return 0;
}

/* Nobody else's packets go by what cannot be: the id is left alone for as long as this daemon runs.
 */
static void refuse_adoption(struct workers *workers, __u32 id)
{
	static const struct cs_worker none;

	bpf_map_update_elem(workers->plane->map[PLANE_WORKERS], &id, &none, BPF_ANY);
	log_line("worker %u of the pinned cs_workers cannot be: removed", id);
}

/* It was declared dead, though its entry does not say so yet; or it has closed without a daemon. */
static bool is_buried(const struct worker *worker)
{
	const struct cs_usage *usage = &worker_service(worker)->usage[worker->value.usage];

	return __atomic_load_n(&usage->buried, __ATOMIC_SEQ_CST);
}

/* Lives on, or is buried. */
static int settle_worker(struct worker *worker)
{
	int err = generation_entered(worker);

	if (err)
		return err;
	if (worker->value.state == CS_WORKER_DRAINING)
		generation_drains(worker);
	err = worker->gone || worker->value.state == CS_WORKER_DEAD || is_buried(worker) ?
		      -ENOENT :
		      find_socket(worker);
	if (!err)
		log_line("%s: worker %u (pid %u) goes on", worker_service(worker)->value.name,
			 worker->id, worker->value.pid);
	if (err == -ENOENT)
		workers_bury(worker); /* model: bury */
	return err == -ENOENT ? 0 : err;
}

/* One that the daemon before had not written yet. */
static int ring_is_empty(const struct workers *workers, __u32 service, bool *empty)
{
	struct cs_ring ring;

	if (bpf_map_lookup_elem(workers->plane->map[PLANE_RING], &service, &ring))
		return -errno;
	*empty = !ring.worker[0];
	return 0;
}

/* That daemon may have held it, for workers that it has not seen any more: it is held again. */
static int hold_rings(struct workers *workers)
{
	for (__u32 id = 1; id < CS_MAX_WORKERS; id++) {
		const struct worker *worker = workers->worker[id];
		bool empty = false;
		int err;

		if (!worker || !(worker->value.flags & CS_WORKER_SERVED) ||
		    worker->value.state != CS_WORKER_ACTIVE || is_buried(worker))
			continue;
		err = ring_is_empty(workers, worker->value.service, &empty);
		if (err)
			return err;
		if (empty)
			ring_hold(&workers->service[worker->value.service]);
	}
	return 0;
}

/* Only when all are known: a ring without those that live would be wrong for a moment. */
static int write_rings(struct workers *workers)
{
	int err = hold_rings(workers);

	for (__u32 id = 1; id < CS_MAX_WORKERS; id++) {
		struct worker *worker = workers->worker[id];

		if (worker && worker->value.state == CS_WORKER_ACTIVE && !is_buried(worker))
			cs_ring_join(&workers->service[worker->value.service].ring,
				     &workers->service[worker->value.service].scores,
				     workers->service[worker->value.service].value.key, id);
	}
	for (__u32 id = 1; id < CS_MAX_SERVICES && !err; id++) {
		if (workers->service[id].value.used)
			err = ring_write(workers, id);
	}
	return err;
}

/* What a daemon that was killed between two steps has left undone is done. */
static int settle_adopted(struct workers *workers)
{
	int err = write_rings(workers);

	for (__u32 id = 1; id < CS_MAX_WORKERS && !err; id++) {
		if (workers->worker[id])
			err = settle_worker(workers->worker[id]);
	}
	for (__u32 id = 1; id < CS_MAX_SERVICES && !err; id++) {
		if (workers->service[id].value.used)
			generation_left(workers, id);
	}
	return err;
}

static int adopt_all(struct workers *workers)
{
	_cleanup_free_ struct cs_worker *value = calloc(CS_MAX_WORKERS, sizeof(*value));
	int err = value ? plane_workers(workers->plane, value) : -ENOMEM;

	for (__u32 id = 1; id < CS_MAX_WORKERS && !err; id++) {
		if (value[id].state == CS_WORKER_NONE)
			id_give_back(workers, id);
		else if (is_plausible(workers, &value[id]))
			err = adopt(workers, id, &value[id]);
		else
			refuse_adoption(workers, id);
	}
	if (err)
		return err;
	targets_settle(workers); /* what it cannot make costs the move only */
	return settle_adopted(workers);
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
	log_line(
		"%s: its table was frozen by somebody who had its descriptor: replaced by an empty "
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

/* What only the configuration says. */
static void configure_service(struct service *service, const struct config *config)
{
	for (unsigned int i = 0; i < config->count; i++) {
		if (strcmp(config->service[i].name, service->value.name))
			continue;
		service->drain_seconds = config->service[i].drain_seconds;
		service->cpu = config->service[i].cpu;
		service->behind_device = config->service[i].behind_device;
		service->key = config->service[i].extract.key;
		service->little_endian = config->service[i].extract.little_endian;
	}
}

static void close_service(struct service *service)
{
	if (!service->value.used)
		return; /* all zero: there is room for many, and most are never touched */
	for (__u32 c = 0; c < CS_CONFIGS; c++)
		server_ids_close(service, c);
	unmap_service(service);
	memset(service, 0, sizeof(*service));
}

/* With another key it has another table: it had no workers. */
static int reload_service(struct workers *workers, __u32 id, const struct config *config)
{
	struct service *service = &workers->service[id];
	struct cs_service value;
	int err;

	err = plane_service(workers->plane, id, &value);
	if (err && err != -ENOENT)
		return err;
	if (err || memcmp(value.key, service->value.key, sizeof(value.key)))
		close_service(service);
	if (err)
		return 0;
	if (!service->value.used) {
		service->value = value;
		err = open_service(workers, id);
		if (err) {
			close_service(service);
			return err;
		}
	}
	service->value = value;
	configure_service(service, config);
	return server_ids_follow(workers, id);
}

static int reload_listeners(struct workers *workers)
{
	int err;

	for (int i = 0; i < CS_MAX_LISTENERS; i++) {
		workers->listener[i].used = false;
		workers->listener[i].dual = false;
	}
	err = plane_each_address(workers->plane, note_listener, workers);
	if (err)
		return err; /* those that were not come to are there all the same */
	for (int i = 0; i < CS_MAX_LISTENERS; i++) {
		if (workers->listener[i].used || workers->listener[i].stub < 0)
			continue;
		close(workers->listener[i].stub);
		workers->listener[i].stub = -1;
	}
	return 0;
}

int workers_reload(struct workers *workers, const struct config *config, struct error *error)
{
	int err = reload_listeners(workers), failed = 0;

	for (__u32 id = 1; id < CS_MAX_SERVICES; id++) {
		failed = reload_service(workers, id, config);
		err = failed ? failed : err;
	}
	if (!err && (err = targets_resize(workers, config->cpu_queue)))
		return error_set(error, err, "cpu_queue: making the queues of CPUs: %s",
				 strerror(-err));
	return err ? error_set(error, err, "reading the maps: %s", strerror(-err)) : 0;
}

int workers_init(struct workers *workers, struct plane *plane, struct loop *loop,
		 const struct config *config, struct error *error)
{
	int err;

	workers->plane = plane;
	workers->loop = loop;
	loop->idle = workers_reap_some;
	loop->arg = workers;
	for (int i = 0; i < CS_MAX_LISTENERS; i++)
		workers->listener[i].stub = -1;
	err = watch_open(plane, &workers->watch);
	if (err)
		return error_set(error, err, "the recorder: %s", strerror(-err));
	workers->cpu_queue = config->cpu_queue; /* nothing to alter yet */
	err = workers_reload(workers, config, error);
	if (err)
		return err;
	err = generations_watch(workers);
	if (!err)
		err = adopt_all(workers);
	if (!err)
		err = server_ids_adopt(workers);
	return err ? error_set(error, err, "reading the maps: %s", strerror(-err)) : 0;
}

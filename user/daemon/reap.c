// SPDX-License-Identifier: GPL-2.0-only
/* How a worker ends: buried, swept piece by piece, freed. */
#include <bpf/bpf.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/point.h"
#include "daemon/generations.h"
#include "daemon/holdings.h"
#include "daemon/log.h"
#include "daemon/reap.h"
#include "daemon/server_ids.h"
#include "daemon/targets.h"

/* Buckets that one piece of sweeping looks at: some hundred microseconds. */
#define SWEEP_BUCKETS 4096

static void return_share(struct service *service, __u32 line)
{
	routes_return_share(&service->usage[0], &service->usage[line],
			    routes_share(service->value.max_cids));
}

void worker_return_share(const struct worker *worker)
{
	return_share(&worker->all->service[worker->value.service], worker->value.usage);
}

static bool is_without_workers(const struct service *service)
{
	for (__u32 line = 1; line < CS_MAX_SERVICE_WORKERS; line++) {
		if (service->usage_taken[line])
			return false;
	}
	return true;
}

/* Adds a departed worker's line to line 0; a second time adds nothing. */
static void settle_usage(struct service *service, __u32 line)
{
	struct cs_usage *sum = &service->usage[0], *gone = &service->usage[line];

	sum->issued += gone->issued;
	sum->retired += gone->issued; /* what it had not retired was swept */
	sum->refused += gone->refused;
	sum->strays += gone->strays;
	sum->decoded_strays += gone->decoded_strays;
	sum->path_changes += gone->path_changes;
	return_share(service, line);
	memset(gone, 0, sizeof(*gone)); /* model: clear */
}

static void give_back_line(struct service *service, __u32 line)
{
	service->usage_taken[line] = false;
	/* A process that was killed between a line and line 0 has left them apart: they meet here.
	 */
	if (is_without_workers(service))
		service->usage[0].provisional = 0;
}

static void close_process(struct worker *worker)
{
	if (worker->process.fd < 0)
		return;
	loop_forget(worker->all->loop, &worker->process);
	close(worker->process.fd);
	worker->process.fd = -1;
}

static void begin_sweep(struct worker *worker)
{
	worker->all->sweeping += !worker->sweeping;
	worker->sweeping = true;
	worker->sweep_next = 0; /* model: start */
}

/* Nothing of the worker is left: its id may be somebody else's. */
static void free_worker(struct worker *worker)
{
	struct workers *all = worker->all;
	const struct cs_worker was = worker->value;
	struct service *service = &all->service[was.service];

	/* As long as something names it, its id is its own. */
	if (server_ids_leave(worker)) {
		begin_sweep(worker);
		return;
	}
	settle_usage(service, was.usage);
	memset(&worker->value, 0, sizeof(worker->value));
	if (entry_write(worker)) {
		worker->value = was;
		begin_sweep(worker);
		return;
	}
	give_back_line(service, was.usage);
	slots_give_back(all, was.index, was.slots);
	close_process(worker);
	routes_free(&worker->routes);
	if (worker->holder)
		*worker->holder = NULL;
	all->worker[worker->id] = NULL;
	id_give_back(all, worker->id); /* model: free */
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
	/* model: wait */
	return !worker->gone && worker_service(worker)->value.shared_table;
}

static void sweep_some(struct worker *worker)
{
	const struct cs_table *table = &worker_service(worker)->table;
	int err = 0;

	worker->swept += cs_table_sweep(table, worker->sweep_next, SWEEP_BUCKETS, worker->id);
	worker->sweep_next += SWEEP_BUCKETS; /* model: piece */
	CS_POINT("sweep");
	if (worker->sweep_next <= table->mask)
		return;
	worker->sweeping = false;
	worker->all->sweeping--;
	worker_return_share(worker);
	/* Once more: it names the dead one. */
	if (worker_service(worker)->ring_owed)
		err = ring_write(worker->all, worker->value.service);
	if (err)
		log_limited("%s: writing its ring: %s", worker_service(worker)->value.name,
			    strerror(-err));
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

void workers_bury(struct worker *worker)
{
	struct service *service = &worker->all->service[worker->value.service];
	bool active = worker->value.state == CS_WORKER_ACTIVE;

	if (worker->dead)
		return;
	worker->dead = true;
	worker->value.state = CS_WORKER_DEAD;
	/* model: mark */
	__atomic_store_n(&service->usage[worker->value.usage].buried, 1, __ATOMIC_SEQ_CST);
	/* First out of the ring, so that new connections never find it dead. */
	if (active) {
		ring_leave(worker);
		generation_left(worker->all, worker->value.service);
	}
	entry_write(worker);
	CS_POINT("sweep"); /* declared dead, and its sockets can be chosen */
	slots_clear(worker);
	target_leave(worker);
	begin_sweep(worker);
}

int workers_expel(struct workers *workers, __u32 id, struct error *error)
{
	struct worker *worker = workers_find(workers, id);

	if (!worker)
		return error_set(error, -ENOENT, "there is no worker %u: see cidsteer workers", id);
	workers_bury(worker);
	workers->tell(worker);
	return 0;
}

void worker_process_ended(struct source *source, uint32_t events)
{
	struct worker *worker = (struct worker *)source;

	(void)events;
	worker->gone = true; /* model: gone */
	close_process(worker);
	if (!worker->dead)
		workers_bury(worker);
	else
		begin_sweep(worker); /* once more: it could write until now; model: again */
}

// SPDX-License-Identifier: GPL-2.0-only
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "common/point.h"
#include "daemon/generations.h"
#include "daemon/holdings.h"
#include "daemon/log.h"
#include "daemon/targets.h"

/* The next living worker of a service behind @id, or NULL. */
static struct worker *next_of(struct workers *workers, __u32 service, __u32 *id)
{
	while (++*id < CS_MAX_WORKERS) {
		struct worker *worker = workers->worker[*id];

		if (worker && !worker->dead && worker->value.service == service)
			return worker;
	}
	return NULL;
}

/* Newest generation that has a worker in this state; 0: none has, or one without a number. */
static __u32 newest(struct workers *workers, __u32 service, __u8 state, bool *any)
{
	struct worker *worker;
	__u32 id = 0, found = 0;

	*any = false;
	while ((worker = next_of(workers, service, &id))) {
		if (worker->value.state != state)
			continue;
		*any = true;
		if (worker->value.generation > found)
			found = worker->value.generation;
	}
	return found;
}

/* Of the workers of its generation, one that is active, else one that waits, else one that drains.
 */
static struct worker *find_generation(struct worker *of)
{
	struct worker *worker, *found = NULL;
	__u32 id = 0;

	while ((worker = next_of(of->all, of->value.service, &id))) {
		if (worker == of || worker->value.token != of->value.token)
			continue;
		if (!found || worker->value.state == CS_WORKER_ACTIVE ||
		    found->value.state == CS_WORKER_DRAINING)
			found = worker;
		if (found->value.state == CS_WORKER_ACTIVE)
			break;
	}
	return found;
}

void generation_enter(struct worker *worker, __u8 earlier)
{
	const struct service *service = worker_service(worker);
	struct worker *of = worker->value.token ? find_generation(worker) : NULL;
	bool any;

	newest(worker->all, worker->value.service, CS_WORKER_ACTIVE, &any);
	if (of)
		worker->value.generation = of->value.generation;
	else
		worker->value.generation = worker->value.token ?
						   service->value.generation + 1 ?: 1 :
						   0;
	if (earlier == CS_WORKER_ACTIVE || earlier == CS_WORKER_DRAINING)
		worker->value.state = earlier;
	else if (!worker->value.token || !any)
		worker->value.state = CS_WORKER_ACTIVE;
	else
		worker->value.state = of ? of->value.state : CS_WORKER_WAITING;
}

int generation_entered(const struct worker *worker)
{
	struct cs_service *value = &worker->all->service[worker->value.service].value;
	__u32 id = worker->value.service;

	if (worker->value.generation <= value->generation)
		return 0;
	value->generation = worker->value.generation;
	return bpf_map_update_elem(worker->all->plane->map[PLANE_SERVICES], &id, value, BPF_ANY) ?
		       -errno :
		       0;
}

void generation_drains(struct worker *worker)
{
	__u32 seconds = worker_service(worker)->drain_seconds;

	worker->drain_seconds = seconds;
	worker->drain_end = seconds ? now_ms() + seconds * 1000ULL : 0;
}

static int set_state(struct worker *worker, __u8 state)
{
	__u8 before = worker->value.state;
	int err;

	if (before == state)
		return 0;
	worker->value.state = state;
	err = entry_write(worker);
	if (err) {
		worker->value.state = before;
		return err;
	}
	if (state == CS_WORKER_DRAINING)
		generation_drains(worker);
	worker->all->tell(worker);
	return 0;
}

/* Every worker of a service that is of @generation, or, with @others, is not, and not newer. */
static int set_states(struct workers *workers, __u32 service, __u32 generation, bool others,
		      __u8 state)
{
	struct worker *worker;
	__u32 id = 0;
	int err = 0;

	while (!err && (worker = next_of(workers, service, &id))) {
		bool waits_for_later = worker->value.state == CS_WORKER_WAITING &&
				       worker->value.generation > generation;

		if ((worker->value.generation == generation) == others || waits_for_later)
			continue;
		/* A worker of this generation that drains was told to by its server. */
		if (!others && worker->value.state == CS_WORKER_DRAINING)
			continue;
		err = set_state(worker, state);
	}
	return err;
}

/* The ring of the active workers of one generation. */
static int write_ring(struct workers *workers, __u32 id, __u32 generation)
{
	struct service *service = &workers->service[id];
	struct worker *worker;
	__u32 at = 0;

	memset(&service->ring, 0, sizeof(service->ring));
	while ((worker = next_of(workers, id, &at))) {
		if (worker->value.state == CS_WORKER_ACTIVE &&
		    worker->value.generation == generation)
			cs_ring_join(&service->ring, &service->scores, service->value.key,
				     worker->id);
	}
	return ring_write(workers, id);
}

static int make_active(struct workers *workers, __u32 service, __u32 generation)
{
	int err = set_states(workers, service, generation, false, CS_WORKER_ACTIVE);

	CS_POINT("reload"); /* both generations are active */
	if (!err)
		err = write_ring(workers, service, generation);
	CS_POINT("reload"); /* the ring has the new one */
	if (!err)
		err = set_states(workers, service, generation, true, CS_WORKER_DRAINING);
	return err;
}

/* It is active, and no other is: said by each of its workers, READY costs the daemon nothing. */
static bool is_settled(struct workers *workers, __u32 service, __u32 generation)
{
	struct worker *worker;
	__u32 id = 0;

	while ((worker = next_of(workers, service, &id))) {
		__u8 wrong = worker->value.generation == generation ? CS_WORKER_WAITING :
								      CS_WORKER_ACTIVE;

		if (worker->value.state == wrong)
			return false;
	}
	return true;
}

int generation_ready(struct worker *worker)
{
	struct workers *all = worker->all;
	__u32 service = worker->value.service, generation = worker->value.generation;
	bool any, waits = worker->value.state == CS_WORKER_WAITING;
	__u32 newer;
	int err;

	if (!generation)
		return 0;
	if (worker->value.state == CS_WORKER_DRAINING)
		return -ESTALE;
	newer = newest(all, service, CS_WORKER_ACTIVE, &any);
	if (newer > generation) {
		err = set_states(all, service, generation, false, CS_WORKER_DRAINING);
		if (!err)
			err = write_ring(all, service, newer);
		return err ? err : -ESTALE;
	}
	if (is_settled(all, service, generation))
		return 0;
	err = make_active(all, service, generation);
	if (!err && waits)
		log_line("%s: generation %u is ready, the others drain",
			 all->service[service].value.name, generation);
	return err;
}

void generation_left(struct workers *workers, __u32 service)
{
	__u32 generation;
	bool any;

	newest(workers, service, CS_WORKER_ACTIVE, &any);
	if (any)
		return;
	generation = newest(workers, service, CS_WORKER_WAITING, &any);
	if (!any)
		return;
	log_line("%s: generation %u takes over before it said that it is ready: no other worker is "
		 "active",
		 workers->service[service].value.name, generation);
	make_active(workers, service, generation);
}

__u64 worker_routes(const struct worker *worker)
{
	const struct cs_usage *usage = &worker_service(worker)->usage[worker->value.usage];
	__u64 retired = __atomic_load_n(&usage->retired, __ATOMIC_RELAXED);
	__u64 issued = __atomic_load_n(&usage->issued, __ATOMIC_RELAXED);

	return issued > retired ? issued - retired : 0;
}

__u64 generation_routes(const struct worker *worker)
{
	struct worker *other;
	__u64 routes = 0;
	__u32 id = 0;

	while ((other = next_of(worker->all, worker->value.service, &id))) {
		if (other->value.generation == worker->value.generation)
			routes += worker_routes(other);
	}
	return routes;
}

__u64 worker_drain_ms(const struct worker *worker)
{
	__u64 now = now_ms();

	if (worker->value.state != CS_WORKER_DRAINING || !worker->drain_end)
		return 0;
	return worker->drain_end > now ? worker->drain_end - now : 1;
}

static void look_after(struct worker *worker)
{
	__u64 routes = generation_routes(worker);
	struct error error;

	if (worker->drain_end && now_ms() >= worker->drain_end) {
		log_line("%s: worker %u (pid %u) has drained for %u s: expelled",
			 worker_service(worker)->value.name, worker->id, worker->value.pid,
			 worker->drain_seconds);
		workers_expel(worker->all, worker->id, &error);
	} else if (routes != worker->told_routes) {
		worker->all->tell(worker);
	}
}

static void tick(struct source *source, uint32_t events)
{
	struct workers *workers =
		(struct workers *)((char *)source - offsetof(struct workers, tick));
	__u64 times;

	(void)events;
	if (read(source->fd, &times, sizeof(times)) != sizeof(times))
		return;
	for (__u32 id = 1; id < CS_MAX_WORKERS; id++) {
		struct worker *worker = workers->worker[id];

		if (worker && !worker->dead && worker->value.state == CS_WORKER_DRAINING)
			look_after(worker);
	}
	rings_release(workers);
	targets_follow(workers);
}

int generations_watch(struct workers *workers)
{
	const struct itimerspec second = { .it_interval.tv_sec = 1, .it_value.tv_sec = 1 };

	workers->tick = (struct source){
		timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC),
		tick,
	};
	if (workers->tick.fd < 0 || timerfd_settime(workers->tick.fd, 0, &second, NULL))
		return -errno;
	return loop_watch(workers->loop, &workers->tick);
}

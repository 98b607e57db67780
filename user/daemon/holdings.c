// SPDX-License-Identifier: GPL-2.0-only
#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/cleanup.h"
#include "daemon/holdings.h"
#include "daemon/log.h"

/* Longer than the others take: they try every two seconds (lib/session.c, LAST_RETRY_MS). */
#define RING_HELD_MS 3000

__u64 now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000ULL + now.tv_nsec / 1000000;
}

int entry_write(const struct worker *worker)
{
	return bpf_map_update_elem(worker->all->plane->map[PLANE_WORKERS], &worker->id,
				   &worker->value, BPF_ANY) ?
		       -errno :
		       0;
}

int ring_write(struct workers *workers, __u32 service)
{
	static const struct cs_ring empty;
	struct service *of = &workers->service[service];
	int err = bpf_map_update_elem(workers->plane->map[PLANE_RING], &service,
				      of->ring_from ? &empty : &of->ring, BPF_ANY) ?
			  -errno :
			  0;

	of->ring_owed = err;
	return err;
}

void ring_hold(struct service *service)
{
	if (service->ring.worker[0])
		return;
	if (!service->ring_from)
		log_limited("%s: its workers were there before this daemon: for %u s more, packets "
			    "without a route are left to the kernel's own hash",
			    service->value.name, RING_HELD_MS / 1000);
	service->ring_from = now_ms() + RING_HELD_MS;
}

void rings_release(struct workers *workers)
{
	__u64 now = now_ms();

	for (__u32 id = 1; id < CS_MAX_SERVICES; id++) {
		struct service *service = &workers->service[id];
		__u64 from = service->ring_from;
		int err;

		if (!from || now < from)
			continue;
		service->ring_from = 0;
		err = ring_write(workers, id);
		if (!err)
			continue;
		service->ring_from = from; /* in a second, again */
		log_limited("%s: writing its ring: %s", service->value.name, strerror(-err));
	}
}

int ring_join(struct worker *worker)
{
	struct service *service = &worker->all->service[worker->value.service];

	cs_ring_join(&service->ring, &service->scores, service->value.key, worker->id);
	return ring_write(worker->all, worker->value.service);
}

/* @worker is active no more: its buckets go to the others. */
int ring_leave(struct worker *worker)
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
	return ring_write(all, worker->value.service);
}

void slots_clear(const struct worker *worker)
{
	for (__u32 i = 0; i < worker->value.slots; i++) {
		__u32 slot = worker->value.index + i;

		bpf_map_delete_elem(worker->all->plane->map[PLANE_SOCKETS], &slot);
	}
}

void slots_give_back(struct workers *workers, __u32 first, __u32 count)
{
	for (__u32 i = first; i < first + count && i < CS_MAX_SOCKETS; i++)
		workers->slot_taken[i] = false;
}

/* First of @count slots in a row, or CS_MAX_SOCKETS. */
__u32 slots_take(struct workers *workers, __u32 count)
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

__u32 usage_take(struct service *service)
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

void id_give_back(struct workers *workers, __u32 id)
{
	__u32 last = (workers->free_first + workers->free_count++) % CS_MAX_WORKERS;

	workers->free_id[last] = id;
}

__u32 id_take(struct workers *workers)
{
	__u32 id;

	if (!workers->free_count)
		return 0;
	id = workers->free_id[workers->free_first]; /* model: take */
	workers->free_first = (workers->free_first + 1) % CS_MAX_WORKERS;
	workers->free_count--;
	return id;
}

/* proc(5), field 22 of stat; the name in field 2 may hold anything, also ')'. */
int process_start(pid_t pid, __u64 *start)
{
	char path[64], text[1024], *at;
	_cleanup_file_ FILE *file = NULL;
	unsigned long long ticks;
	size_t len;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "re");
	if (!file)
		return errno == ENOENT ? -ESRCH : -errno;
	len = fread(text, 1, sizeof(text) - 1, file);
	if (ferror(file))
		return -errno;
	text[len] = '\0';
	at = strrchr(text, ')');
	if (!at || sscanf(at + 1,
			  " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d "
			  "%*d %*d %*d %llu",
			  &ticks) != 1)
		return -EIO;
	*start = ticks;
	return 0;
}

int routes_start(struct worker *worker)
{
	struct service *service = &worker->all->service[worker->value.service];
	struct routes *routes = &worker->routes;

	routes->table = service->table;
	routes->usage = &service->usage[worker->value.usage];
	routes->sum = &service->usage[0];
	routes->worker = worker->id;
	routes->cid_len = service->value.cid_len;
	memcpy(routes->key, service->value.key, sizeof(routes->key));
	return service->value.shared_table ?
		       0 :
		       routes_init(routes, routes_share(service->value.max_cids));
}

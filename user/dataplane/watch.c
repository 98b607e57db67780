// SPDX-License-Identifier: GPL-2.0-only
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "common/cleanup.h"
#include "dataplane/watch.h"

#define RECORDS_BYTES (CS_RECORDS * sizeof(struct cs_record))

static int map_memory(int fd, size_t bytes, void **memory)
{
	*memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (*memory != MAP_FAILED)
		return 0;
	*memory = NULL;
	return -errno;
}

int watch_open(const struct plane *plane, struct watch *watch)
{
	int err;

	*watch = (struct watch){};
	err = map_memory(plane->map[PLANE_WATCH], sizeof(*watch->state), (void **)&watch->state);
	return err ? err :
		     map_memory(plane->map[PLANE_RECORD], RECORDS_BYTES, (void **)&watch->record);
}

void watch_close(struct watch *watch)
{
	if (watch->state)
		munmap(watch->state, sizeof(*watch->state));
	if (watch->record)
		munmap(watch->record, RECORDS_BYTES);
	*watch = (struct watch){};
}

__u64 watch_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

void watch_add(const struct watch *watch, const struct cs_record *record)
{
	struct cs_recorder *recorder = &watch->state->recorder;
	struct cs_record *to;
	__u64 place;

	if (!cs_record_is_due(&recorder->spent_ns[record->kind], record->time_ns)) {
		__atomic_fetch_add(&recorder->left_out, 1, __ATOMIC_RELAXED);
		return;
	}
	place = __atomic_fetch_add(&recorder->next, 1, __ATOMIC_SEQ_CST);
	to = &watch->record[place % CS_RECORDS];
	__atomic_exchange_n(&to->serial, 0, __ATOMIC_SEQ_CST);
	memcpy(&to->time_ns, &record->time_ns, sizeof(*to) - sizeof(to->serial));
	__atomic_exchange_n(&to->serial, place + 1, __ATOMIC_SEQ_CST);
}

static int by_serial(const void *a, const void *b)
{
	__u64 left = ((const struct cs_record *)a)->serial;
	__u64 right = ((const struct cs_record *)b)->serial;

	return left < right ? -1 : left > right;
}

unsigned int watch_read(const struct watch *watch, struct cs_record *records)
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < CS_RECORDS; i++) {
		struct cs_record *from = &watch->record[i], *to = &records[count];
		__u64 serial = __atomic_load_n(&from->serial, __ATOMIC_ACQUIRE);

		*to = *from;
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		to->serial = serial;
		count += serial && __atomic_load_n(&from->serial, __ATOMIC_RELAXED) == serial;
	}
	qsort(records, count, sizeof(*records), by_serial);
	return count;
}

int watch_left_out(const struct plane *plane, const struct watch *watch, struct cs_left_out *sum)
{
	int cpus = libbpf_num_possible_cpus();
	_cleanup_free_ struct cs_left_out *each = NULL;

	if (cpus < 0)
		return cpus;
	each = calloc(cpus, sizeof(*each));
	if (!each)
		return -ENOMEM;
	memset(sum, 0, sizeof(*sum));
	sum->kind[CS_KIND_STRAY] = watch->state->recorder.left_out;
	for (__u32 hook = 0; hook < CS_HOOKS; hook++) {
		if (bpf_map_lookup_elem(plane->map[PLANE_LEFT_OUT], &hook, each))
			return -errno;
		for (int cpu = 0; cpu < cpus; cpu++) {
			for (size_t i = 0; i < sizeof(*sum) / sizeof(__u64); i++)
				((__u64 *)sum)[i] += ((__u64 *)&each[cpu])[i];
		}
	}
	return 0;
}

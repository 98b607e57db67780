// SPDX-License-Identifier: GPL-2.0-only
/* Reading the pinned maps, and mapping the inner ones. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/cleanup.h"
#include "dataplane/plane.h"

int plane_workers(const struct plane *plane, struct cs_worker *workers)
{
	__u32 next, count = CS_MAX_WORKERS;
	_cleanup_free_ __u32 *keys = calloc(count, sizeof(*keys));

	if (!keys)
		return -ENOMEM;
	/* An array's batch ends with ENOENT behind its last element. */
	if (bpf_map_lookup_batch(plane->map[PLANE_WORKERS], NULL, &next, keys, workers, &count,
				 NULL) &&
	    errno != ENOENT)
		return -errno;
	return count == CS_MAX_WORKERS ? 0 : -EIO;
}

int plane_service(const struct plane *plane, __u32 id, struct cs_service *service)
{
	if (!id || id >= CS_MAX_SERVICES)
		return -ENOENT;
	if (bpf_map_lookup_elem(plane->map[PLANE_SERVICES], &id, service))
		return -errno;
	service->name[CS_NAME_SIZE - 1] = '\0';
	return service->used ? 0 : -ENOENT;
}

int plane_each_address(const struct plane *plane,
		       int (*visit)(const struct cs_addr *, const struct cs_listener *, void *),
		       void *arg)
{
	struct cs_listener listener;
	struct cs_addr addr, *at = NULL;
	int result;

	/* Bounded: a key that is removed meanwhile makes the kernel begin again. */
	for (int i = 0; i < 2 * CS_MAX_ADDRS; i++) {
		if (bpf_map_get_next_key(plane->map[PLANE_ADDRS], at, &addr))
			return errno == ENOENT ? 0 : -errno;
		at = &addr;
		if (bpf_map_lookup_elem(plane->map[PLANE_ADDRS], &addr, &listener)) {
			if (errno == ENOENT)
				continue;
			return -errno;
		}
		result = visit(&addr, &listener, arg);
		if (result)
			return result;
	}
	return 0;
}

int plane_sum_line(int map, __u32 key, void *sum, size_t bytes)
{
	const size_t words = bytes / sizeof(__u64);
	int cpus = libbpf_num_possible_cpus();
	_cleanup_free_ __u64 *each = NULL;

	if (cpus < 0)
		return cpus;
	each = calloc(cpus, bytes);
	if (!each)
		return -ENOMEM;
	if (bpf_map_lookup_elem(map, &key, each))
		return -errno;
	memset(sum, 0, bytes);
	for (size_t i = 0; i < cpus * words; i++)
		((__u64 *)sum)[i % words] += each[i];
	return 0;
}

int plane_clear_line(int map, __u32 key, size_t bytes)
{
	int cpus = libbpf_num_possible_cpus();
	_cleanup_free_ void *zero = NULL;

	if (cpus < 0)
		return cpus;
	zero = calloc(cpus, bytes);
	if (!zero)
		return -ENOMEM;
	return bpf_map_update_elem(map, &key, zero, BPF_ANY) ? -errno : 0;
}

int plane_counters(const struct plane *plane, __u32 hook, __u32 service, struct cs_counters *sum)
{
	return plane_sum_line(plane->map[PLANE_COUNTERS], CS_COUNTER_KEY(hook, service), sum,
			      sizeof(*sum));
}

int plane_cpu_count(const struct plane *plane, __u32 cpu, struct cs_cpu_count *sum)
{
	return plane_sum_line(plane->map[PLANE_CPU_COUNTS], cpu, sum, sizeof(*sum));
}

int plane_device_count(const struct plane *plane, __u32 slot, struct cs_dev_count *sum)
{
	return plane_sum_line(plane->map[PLANE_DEV_COUNTS], slot, sum, sizeof(*sum));
}

int plane_clear_device_count(const struct plane *plane, __u32 slot)
{
	return plane_clear_line(plane->map[PLANE_DEV_COUNTS], slot, sizeof(struct cs_dev_count));
}

static size_t table_bytes(const struct cs_table *table)
{
	return ((size_t)table->mask + 1) * sizeof(struct cs_bucket);
}

static void *map_memory(int fd, size_t bytes, bool writable)
{
	int protection = PROT_READ | (writable ? PROT_WRITE : 0);

	return mmap(NULL, bytes, protection, MAP_SHARED, fd, 0);
}

int plane_map_table(int fd, bool writable, struct cs_table *table)
{
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);
	struct cs_table made;
	void *memory;

	if (bpf_obj_get_info_by_fd(fd, &info, &len))
		return -errno;
	if (info.value_size != sizeof(struct cs_bucket) || info.max_entries < CS_MIN_BUCKETS ||
	    info.max_entries > CS_MAX_BUCKETS || info.max_entries & (info.max_entries - 1))
		return -EPROTO;
	made.mask = info.max_entries - 1;
	memory = map_memory(fd, table_bytes(&made), writable);
	if (memory == MAP_FAILED)
		return -errno;
	made.buckets = memory;
	*table = made;
	return 0;
}

void plane_unmap_table(struct cs_table *table)
{
	if (table->buckets)
		munmap(table->buckets, table_bytes(table));
	table->buckets = NULL;
}

struct cs_usage *plane_map_usage(int fd, bool writable)
{
	void *memory = map_memory(fd, CS_MAX_SERVICE_WORKERS * sizeof(struct cs_usage), writable);

	return memory == MAP_FAILED ? NULL : memory;
}

void plane_unmap_usage(struct cs_usage *usage)
{
	if (usage)
		munmap(usage, CS_MAX_SERVICE_WORKERS * sizeof(struct cs_usage));
}

// SPDX-License-Identifier: GPL-2.0-only
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "bench.h"
#include "bench/programs.skel.h"

struct programs *programs;

static uint64_t *lists; /* bench_list, mapped */
static uint64_t *issued[BENCH_LISTS];
static __u32 issued_count[BENCH_LISTS];
static int hash[BENCH_LISTS];

int hash_make(__u32 routes)
{
	int fd = bpf_map_create(BPF_MAP_TYPE_HASH, "bench_hash", sizeof(struct bench_key),
				sizeof(__u32), routes, NULL);

	check(fd >= 0, "hash map of %u: %s", routes, strerror(errno));
	return fd;
}

struct bench_key hash_key(uint64_t cid)
{
	struct bench_key key = { .len = BENCH_CID };

	memcpy(key.cid, &cid, sizeof(cid));
	return key;
}

/* The data plane's maps, by their pins, and the benchmark's own. */
static void load_programs(void)
{
	struct bpf_map *map;

	programs = programs__open();
	check(programs, "open: %s", strerror(errno));
	bpf_object__for_each_map (map, programs->obj) {
		char path[320];
		int fd;

		snprintf(path, sizeof(path), "%s/%s", plane.dir, bpf_map__name(map));
		fd = bpf_obj_get(path);
		if (fd >= 0)
			check(!bpf_map__reuse_fd(map, fd), "%s", path);
	}
	check(!programs__load(programs), "load: %s", strerror(errno));
	lists = mmap(NULL, BENCH_LISTS * BENCH_LIST * sizeof(*lists), PROT_READ | PROT_WRITE,
		     MAP_SHARED, bpf_map__fd(programs->maps.bench_list), 0);
	check(lists != MAP_FAILED, "bench_list: %s", strerror(errno));
}

static void make_hashes(void)
{
	for (int i = 0; i < BENCH_LISTS; i++) {
		hash[i] = hash_make(services[i].routes);
		check(!bpf_map_update_elem(bpf_map__fd(programs->maps.bench_hashes),
					   &services[i].id, &hash[i], BPF_ANY),
		      "bench_hashes: %s", strerror(errno));
		issued[i] = calloc(services[i].routes, sizeof(*issued[i]));
		check(issued[i], "out of memory");
	}
}

static void note_route(enum service service, uint64_t cid, __u32 worker)
{
	struct bench_key key = hash_key(cid);

	if (service >= BENCH_LISTS)
		return;
	issued[service][issued_count[service]++] = cid;
	check(!bpf_map_update_elem(hash[service], &key, &worker, BPF_NOEXIST), "hash map: %s",
	      strerror(errno));
}

/* All routes in random order, then again in another, until the list is full. */
static void fill_list(int service, uint64_t *seed)
{
	uint64_t *list = lists + (size_t)service * BENCH_LIST, *from = issued[service];
	__u32 count = issued_count[service];

	for (__u32 i = 0; i < BENCH_LIST; i++) {
		__u32 done = i % count;
		__u32 pick = done + (random_word(seed) >> 32) * (count - done) / (1ULL << 32);
		uint64_t cid = from[pick];

		from[pick] = from[done];
		from[done] = cid;
		list[i] = cid;
	}
}

void lists_fill(void)
{
	uint64_t seed = 2;

	load_programs();
	make_hashes();
	services_fill(note_route);
	for (int i = 0; i < BENCH_LISTS; i++)
		fill_list(i, &seed);
}

const uint64_t *list_of(enum service service)
{
	return lists + (size_t)service * BENCH_LIST;
}

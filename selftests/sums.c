// SPDX-License-Identifier: GPL-2.0-only
/*
 * sums: what is in pinned maps, a line each
 *
 *   sums PIN...
 *
 * Prints PIN, how many entries the map has, and a checksum of all keys and values (FNV-1a, 64
 * bits). Of a map of maps the values are ids.  A dump by bpftool says the same, at a hundred times
 * the price, which counts on an emulated processor.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fail(const char *what, const char *pin)
{
	fprintf(stderr, "sums: %s: %s: %s\n", pin, what, strerror(errno));
	exit(1);
}

static void add(uint64_t *sum, const unsigned char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		*sum = (*sum ^ bytes[i]) * 0x100000001b3;
}

static void sum_up(const char *pin)
{
	struct bpf_map_info info = {};
	__u32 len = sizeof(info), entries = 0;
	uint64_t sum = 0xcbf29ce484222325;
	unsigned char *key, *value;
	int fd = bpf_obj_get(pin);
	const void *at = NULL;

	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len))
		fail("opening", pin);
	if (info.type == BPF_MAP_TYPE_PERCPU_ARRAY || info.type == BPF_MAP_TYPE_PERCPU_HASH ||
	    info.type == BPF_MAP_TYPE_LRU_PERCPU_HASH) {
		errno = ENOTSUP;
		fail("a value for each processor", pin);
	}
	key = malloc(info.key_size);
	value = malloc(info.value_size);
	if (!key || !value)
		fail("memory", pin);
	for (; !bpf_map_get_next_key(fd, at, key); at = key) {
		if (bpf_map_lookup_elem(fd, key, value)) {
			if (errno == ENOENT) /* of an array of sockets or maps: empty */
				continue;
			fail("reading", pin);
		}
		add(&sum, key, info.key_size);
		add(&sum, value, info.value_size);
		if (++entries > info.max_entries) {
			errno = EBUSY;
			fail("it changes", pin);
		}
	}
	if (errno != ENOENT)
		fail("reading", pin);
	printf("%s %u %016llx\n", pin, entries, (unsigned long long)sum);
	free(key);
	free(value);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		sum_up(argv[i]);
	return argc > 1 ? 0 : 2;
}

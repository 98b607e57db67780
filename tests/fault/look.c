// SPDX-License-Identifier: GPL-2.0-only
#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "core/quic.h"
#include "dataplane/lb.h"
#include "driver.h"

#define CPUS 8 /* that are looked at; workers use the first */

#define SOME 64 /* slots of the large arrays that the driver's few workers can be in */

static void open_plane(struct plane *plane)
{
	struct error error = { "" };

	*plane = (struct plane)PLANE_INIT;
	if (plane_open(plane, PINS, &error))
		complain("what is pinned: %s", error.line);
}

static void close_plane(struct plane *plane)
{
	plane_close(plane);
}

#define _cleanup_plane_ __attribute__((cleanup(close_plane)))

/* FNV-1a */
static void mix(__u64 *hash, const void *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		*hash = (*hash ^ ((const __u8 *)bytes)[i]) * 0x100000001b3ULL;
}

/* ---- snapshots ---------------------------------------------------------------------------- */

static void mix_map(__u64 *hash, int fd, __u32 entries, size_t size)
{
	_cleanup_free_ __u8 *value = calloc(1, size);

	for (__u32 i = 0; i < entries; i++) {
		memset(value, 0, size);
		bpf_map_lookup_elem(fd, &i, value);
		mix(hash, value, size);
	}
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void mix_pins(__u64 *hash)
{
	struct dirent **entry;
	int count = scandir(PINS, &entry, NULL, by_name);

	for (int i = 0; i < count; i++) {
		mix(hash, entry[i]->d_name, strlen(entry[i]->d_name));
		free(entry[i]);
	}
	if (count >= 0)
		free(entry);
}

static void mix_prog_name(__u64 *hash, int fd)
{
	struct bpf_prog_info info = {};
	__u32 len = sizeof(info);

	bpf_obj_get_info_by_fd(fd, &info, &len);
	mix(hash, info.name, sizeof(info.name));
	mix(hash, info.btf_id ? "btf" : "", 3);
}

/* What bpftool shows, and status and attach go by. */
static void mix_names(__u64 *hash, const struct plane *plane)
{
	for (int i = 0; i < PLANE_MAPS; i++) {
		struct bpf_map_info info = {};
		__u32 len = sizeof(info);

		bpf_obj_get_info_by_fd(plane->map[i], &info, &len);
		mix(hash, info.name, sizeof(info.name));
		mix(hash, info.btf_id ? "btf" : "", 3);
	}
	mix_prog_name(hash, plane->xdp);
	mix_prog_name(hash, plane->explain);
}

static void mix_prog_id(__u64 *hash, int fd)
{
	struct bpf_prog_info info = {};
	__u32 len = sizeof(info);

	bpf_obj_get_info_by_fd(fd, &info, &len);
	mix(hash, &info.id, sizeof(info.id));
}

static void mix_slot(__u64 *hash, const struct plane *plane, __u32 slot, bool exact)
{
	__u32 id = 0;
	_cleanup_fd_ int fd = -1;

	if (bpf_map_lookup_elem(plane->map[PLANE_LISTENERS], &slot, &id))
		return;
	fd = bpf_prog_get_fd_by_id(id);
	mix(hash, &slot, sizeof(slot));
	mix_prog_name(hash, fd);
	if (exact)
		mix(hash, &id, sizeof(id));
}

struct addresses {
	const struct plane *plane;
	__u64 hash, slots;
};

/* The order of a hash map means nothing, so the hashes of its elements are added. */
static int mix_address(const struct cs_addr *addr, const struct cs_listener *listener, void *arg)
{
	struct addresses *to = arg;
	__u64 hash = 0xcbf29ce484222325ULL, slot = hash;

	mix(&hash, addr, sizeof(*addr));
	mix(&hash, listener, sizeof(*listener));
	to->hash += hash;
	mix_slot(&slot, to->plane, listener->listener, false);
	to->slots += slot;
	return 0;
}

/* A slot that no address leads to does no harm, but who changes nothing does not leave one. */
static void mix_addresses(struct snapshot *to, const struct plane *plane, bool exact)
{
	struct addresses sum = { .plane = plane };

	plane_each_address(plane, mix_address, &sum);
	to->hash[SNAPSHOT_ADDRS] = sum.hash;
	to->hash[SNAPSHOT_LISTENERS] = sum.slots;
	for (__u32 slot = 0; exact && slot < SOME; slot++)
		mix_slot(&to->hash[SNAPSHOT_LISTENERS], plane, slot, true);
}

static void mix_service(struct snapshot *to, const struct plane *plane, __u32 id, bool exact)
{
	_cleanup_fd_ int table_fd = plane_table_fd(plane, id);
	_cleanup_fd_ int usage_fd = plane_usage_fd(plane, id);
	struct cs_usage *usage = plane_map_usage(usage_fd, false);
	struct cs_service service;
	struct cs_table table;

	plane_service(plane, id, &service);
	if (!exact)
		memset(service.key, 0, sizeof(service.key));
	mix(&to->hash[SNAPSHOT_SERVICES], &service, sizeof(service));
	if (!usage || plane_map_table(table_fd, false, &table)) {
		complain("service %u has no table", id);
		plane_unmap_usage(usage);
		return;
	}
	mix(&to->hash[SNAPSHOT_TABLES], table.buckets, (table.mask + 1) * sizeof(struct cs_bucket));
	/* Line 0 sums up who is gone. */
	mix(&to->hash[SNAPSHOT_USAGE], usage + 1, SOME * sizeof(*usage));
	mix(&to->hash[SNAPSHOT_USAGE], &usage->provisional, sizeof(usage->provisional));
	plane_unmap_table(&table);
	plane_unmap_usage(usage);
}

static void mix_ports(__u64 *hash, const struct plane *plane)
{
	_cleanup_free_ struct cs_ports *ports = calloc(1, sizeof(*ports));
	__u32 zero = 0;

	bpf_map_lookup_elem(plane->map[PLANE_PORTS], &zero, ports);
	for (__u32 port = 0; port < COUNT(ports->line); port++) {
		__u32 number = ports->line[port];
		struct cs_line line = {};

		if (!number)
			continue;
		bpf_map_lookup_elem(plane->map[PLANE_LINES], &number, &line);
		mix(hash, &port, sizeof(port));
		mix(hash, &line, sizeof(line));
	}
}

void snapshot_take(struct snapshot *to, bool exact)
{
	_cleanup_free_ struct cs_worker *workers = calloc(CS_MAX_WORKERS, sizeof(*workers));
	_cleanup_plane_ struct plane plane;
	struct cs_service service;

	memset(to, 0, sizeof(*to));
	open_plane(&plane);
	mix_pins(&to->hash[SNAPSHOT_PINS]);
	mix_names(&to->hash[SNAPSHOT_NAMES], &plane);
	mix(&to->hash[SNAPSHOT_SERVICES], &plane.abi, sizeof(plane.abi));
	if (exact) {
		mix_prog_id(&to->hash[SNAPSHOT_PINS], plane.xdp);
		mix_prog_id(&to->hash[SNAPSHOT_PINS], plane.explain);
		mix_prog_id(&to->hash[SNAPSHOT_PINS], plane.cpu);
	}
	mix_addresses(to, &plane, exact);
	mix_ports(&to->hash[SNAPSHOT_LINES], &plane);
	mix_map(&to->hash[SNAPSHOT_SOCKETS], plane.map[PLANE_SOCKETS], SOME, sizeof(__u64));
	plane_workers(&plane, workers);
	for (int i = 0; i < CS_MAX_WORKERS; i++) {
		if (workers[i].state)
			mix(&to->hash[SNAPSHOT_WORKERS], &workers[i], sizeof(workers[i]));
	}
	for (__u32 id = 1; id < CS_MAX_SERVICES; id++) {
		if (!plane_service(&plane, id, &service))
			mix_service(to, &plane, id, exact);
	}
	mix_map(&to->hash[SNAPSHOT_RING], plane.map[PLANE_RING], 4, sizeof(struct cs_ring));
}

void snapshot_compare(const struct snapshot *expected, bool exact)
{
	static const char *const names[] = {
		[SNAPSHOT_PINS] = "pins",	    [SNAPSHOT_NAMES] = "names and BTF",
		[SNAPSHOT_SERVICES] = "services",   [SNAPSHOT_ADDRS] = "addresses",
		[SNAPSHOT_LISTENERS] = "listeners", [SNAPSHOT_LINES] = "ports",
		[SNAPSHOT_RING] = "ring",	    [SNAPSHOT_WORKERS] = "workers",
		[SNAPSHOT_SOCKETS] = "sockets",	    [SNAPSHOT_TABLES] = "tables",
		[SNAPSHOT_USAGE] = "usage lines",
	};
	struct snapshot got;

	snapshot_take(&got, exact);
	for (int i = 0; i < SNAPSHOT_PARTS; i++) {
		if (got.hash[i] != expected->hash[i])
			complain("%s differ from what they should be", names[i]);
	}
}

/* ---- laws --------------------------------------------------------------------------------- */

static void check_ring(const struct plane *plane, __u32 id, const struct cs_worker *workers)
{
	struct cs_ring ring;
	bool any = false;

	for (int i = 0; i < CS_MAX_WORKERS; i++)
		any |= workers[i].state == CS_WORKER_ACTIVE && workers[i].service == id;
	if (bpf_map_lookup_elem(plane->map[PLANE_RING], &id, &ring))
		give_up("cs_ring: %s", strerror(errno));
	for (int i = 0; i < CS_RING_SIZE; i++) {
		__u32 worker = ring.worker[i];

		if (!worker && any) {
			complain("service %u has workers and a bucket of its ring has none", id);
			return;
		}
		if (worker &&
		    (worker >= CS_MAX_WORKERS || workers[worker].state != CS_WORKER_ACTIVE ||
		     workers[worker].service != id)) {
			complain("worker %u is in the ring of service %u and not active there",
				 worker, id);
			return;
		}
	}
}

/* A CPU has a queue if, and only if, packets of a worker are sent there. */
static bool queues_agree(const struct plane *plane)
{
	_cleanup_free_ struct cs_worker *workers = calloc(CS_MAX_WORKERS, sizeof(*workers));
	bool used[CPUS] = {};

	if (plane_workers(plane, workers))
		give_up("cs_workers cannot be read");
	for (__u32 id = 1; id < CS_MAX_WORKERS; id++) {
		struct cs_target target;

		if (workers[id].target != CS_TARGET_CPU || !cs_worker_serves(workers[id].state))
			continue;
		if (bpf_map_lookup_elem(plane->map[PLANE_TARGETS], &id, &target) ||
		    target.index >= CPUS)
			return false;
		used[target.index] = true;
	}
	for (__u32 cpu = 0; cpu < CPUS; cpu++) {
		struct bpf_cpumap_val queue;

		if (used[cpu] != !bpf_map_lookup_elem(plane->map[PLANE_CPUS], &cpu, &queue))
			return false;
	}
	return true;
}

/* The same of devices, which have the first slots. */
static bool devices_agree(const struct plane *plane)
{
	_cleanup_free_ struct cs_worker *workers = calloc(CS_MAX_WORKERS, sizeof(*workers));
	bool used[SOME] = {};

	if (plane_workers(plane, workers))
		give_up("cs_workers cannot be read");
	for (__u32 id = 1; id < CS_MAX_WORKERS; id++) {
		struct cs_target target;

		if (workers[id].target != CS_TARGET_DEVICE || !cs_worker_serves(workers[id].state))
			continue;
		if (bpf_map_lookup_elem(plane->map[PLANE_TARGETS], &id, &target) ||
		    target.index >= SOME)
			return false;
		used[target.index] = true;
	}
	for (__u32 slot = 0; slot < SOME; slot++) {
		__u32 ifindex;

		if (used[slot] != !bpf_map_lookup_elem(plane->map[PLANE_DEVS], &slot, &ifindex))
			return false;
	}
	return true;
}

static void check_sockets(const struct plane *plane, const struct cs_worker *workers)
{
	for (__u32 slot = 0; slot < SOME; slot++) {
		bool owned = false;
		__u64 cookie;

		if (bpf_map_lookup_elem(plane->map[PLANE_SOCKETS], &slot, &cookie))
			continue;
		for (int i = 0; i < CS_MAX_WORKERS; i++)
			owned |= workers[i].state && slot >= workers[i].index &&
				 slot < workers[i].index + workers[i].slots;
		if (!owned)
			complain("slot %u of cs_sockets has a socket and no worker", slot);
	}
}

struct owners {
	const struct cs_worker *workers;
	unsigned int wrong;
};

static int check_server(const struct cs_server_key *key, const struct cs_server *server, void *arg)
{
	struct owners *owners = arg;
	const struct cs_worker *worker = &owners->workers[server->worker % CS_MAX_WORKERS];

	owners->wrong += server->worker && (!worker->state || worker->service != key->service);
	return 0;
}

/* A server ID is a worker's that there is, or nobody's. */
static void check_servers(const struct plane *plane, const struct cs_worker *workers)
{
	struct owners owners = { workers, 0 };

	if (lb_each_server(plane, check_server, &owners))
		complain("cs_servers cannot be read");
	if (owners.wrong)
		complain("%u server IDs name a worker that is not there", owners.wrong);
}

void look_consistent(void)
{
	_cleanup_free_ struct cs_worker *workers = calloc(CS_MAX_WORKERS, sizeof(*workers));
	_cleanup_plane_ struct plane plane;
	struct cs_service service;

	open_plane(&plane);
	if (plane_workers(&plane, workers)) {
		complain("cs_workers cannot be read");
		return;
	}
	for (__u32 id = 1; id < CS_MAX_SERVICES; id++) {
		if (!plane_service(&plane, id, &service))
			check_ring(&plane, id, workers);
	}
	check_sockets(&plane, workers);
	check_servers(&plane, workers);
	/* What it could not make a daemon tries again each second. */
	if (!eventually(queues_agree(&plane)))
		complain("queues of CPUs are not what workers use");
	if (!eventually(devices_agree(&plane)))
		complain("devices are not what workers are behind");
}

unsigned int look_up(const char *name, const __u8 bytes[8])
{
	_cleanup_plane_ struct plane plane;
	struct cs_cid cid = { .len = 8 };
	unsigned int worker = 0;
	struct cs_service service;
	struct cs_table table;

	memcpy(cid.byte, bytes, 8);
	open_plane(&plane);
	for (__u32 id = 1; id < CS_MAX_SERVICES; id++) {
		_cleanup_fd_ int fd = -1;

		if (plane_service(&plane, id, &service) || strcmp(service.name, name))
			continue;
		fd = plane_table_fd(&plane, id);
		if (plane_map_table(fd, false, &table))
			break;
		worker = cs_table_find(&table, cs_tag(cs_cid_hash(service.key, &cid)));
		plane_unmap_table(&table);
	}
	return worker;
}

unsigned int look_state(unsigned int id)
{
	_cleanup_plane_ struct plane plane;
	struct cs_worker worker = {};

	open_plane(&plane);
	bpf_map_lookup_elem(plane.map[PLANE_WORKERS], &id, &worker);
	return worker.state;
}

unsigned int look_target(unsigned int id)
{
	_cleanup_plane_ struct plane plane;
	struct cs_worker worker = {};

	open_plane(&plane);
	bpf_map_lookup_elem(plane.map[PLANE_WORKERS], &id, &worker);
	return worker.target;
}

/* The kernel does not tell, but refuses to put another socket there. */
unsigned int look_xsks(void)
{
	_cleanup_fd_ int xsk = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
	_cleanup_plane_ struct plane plane;
	unsigned int count = 0;

	open_plane(&plane);
	for (__u32 slot = 0; slot < CS_MAX_XSKS; slot++) {
		if (!bpf_map_update_elem(plane.map[PLANE_XSKS], &slot, &xsk, BPF_NOEXIST))
			bpf_map_delete_elem(plane.map[PLANE_XSKS], &slot);
		else
			count += errno == EEXIST;
	}
	return count;
}

unsigned int look_workers_of(pid_t pid)
{
	_cleanup_free_ struct cs_worker *workers = calloc(CS_MAX_WORKERS, sizeof(*workers));
	_cleanup_plane_ struct plane plane;
	unsigned int count = 0;

	open_plane(&plane);
	plane_workers(&plane, workers);
	for (int i = 0; i < CS_MAX_WORKERS; i++)
		count += workers[i].state && workers[i].pid == (__u32)pid;
	return count;
}

bool look_has_ring(const char *service)
{
	_cleanup_plane_ struct plane plane;
	struct cs_service value;
	struct cs_ring ring;

	open_plane(&plane);
	for (__u32 id = 1; id < CS_MAX_SERVICES; id++) {
		if (plane_service(&plane, id, &value) || strcmp(value.name, service))
			continue;
		if (bpf_map_lookup_elem(plane.map[PLANE_RING], &id, &ring))
			give_up("cs_ring: %s", strerror(errno));
		return ring.worker[0];
	}
	return false;
}

static bool is_there(const char *path)
{
	struct stat status;

	return !lstat(path, &status);
}

bool look_same_sockets(const struct snapshot *as)
{
	_cleanup_plane_ struct plane plane;
	__u64 hash = 0;

	open_plane(&plane);
	mix_map(&hash, plane.map[PLANE_SOCKETS], SOME, sizeof(__u64));
	return hash == as->hash[SNAPSHOT_SOCKETS];
}

void look_nothing_left(void)
{
	if (is_there(PINS))
		complain("%s is left", PINS);
	if (is_there(CONTROL))
		complain("%s is left", CONTROL);
	if (!eventually(!objects_left()))
		complain("%u of the kernel's objects are left", objects_left());
}

void unload(void)
{
	struct plane plane = PLANE_INIT;
	struct error error = { "" };

	if (is_there(PINS) && (plane_lock(&plane, PINS, &error) || plane_unload(&plane, &error)))
		complain("unloading: %s", error.line);
	plane_close(&plane);
}

// SPDX-License-Identifier: GPL-2.0-only
#include <bpf/bpf.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "daemon/devices.h"
#include "daemon/holdings.h"
#include "daemon/log.h"
#include "daemon/targets.h"
#include "daemon/xsks.h"

#define CPU_BITS 8192 /* the kernel refuses a set that is smaller than its own */

/* A list of the kernel's, like "0-3,5", of those below CS_MAX_CPUS.  Without one it is all. */
static void read_cpus(const char *name, bool *set)
{
	_cleanup_file_ FILE *file = NULL;
	unsigned int first, last;
	char path[64], behind = ',';

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/%s", name);
	file = fopen(path, "re");
	memset(set, !file, CS_MAX_CPUS * sizeof(*set));
	while (file && behind == ',' && fscanf(file, "%u", &first) == 1) {
		last = first;
		behind = fgetc(file);
		if (behind == '-' && fscanf(file, "%u", &last) == 1)
			behind = fgetc(file);
		for (; first <= last && first < CS_MAX_CPUS; first++)
			set[first] = true;
	}
}

int target_check(__u32 cpu, struct error *error)
{
	bool possible[CS_MAX_CPUS];

	if (cpu >= CS_MAX_CPUS)
		return error_set(error, -EINVAL, "CPU %u: packets can be moved to 0..%d only", cpu,
				 CS_MAX_CPUS - 1);
	read_cpus("possible", possible);
	return possible[cpu] ? 0 : error_set(error, -EINVAL, "there is no CPU %u", cpu);
}

/* The one that a process may run on, and 1; 0: there are several, or it is gone. */
static __u32 affinity_of(pid_t pid)
{
	unsigned long set[CPU_BITS / 8 / sizeof(unsigned long)];
	cpu_set_t *cpus = (cpu_set_t *)set;

	if (sched_getaffinity(pid, sizeof(set), cpus) || CPU_COUNT_S(sizeof(set), cpus) != 1)
		return 0;
	for (__u32 cpu = 0; cpu < CPU_BITS; cpu++) {
		if (CPU_ISSET_S(cpu, sizeof(set), cpus))
			return cpu + 1;
	}
	return 0;
}

static __u32 wanted_cpu(const struct worker *worker)
{
	enum config_cpu policy = worker_service(worker)->cpu;
	__u32 cpu = policy == CONFIG_CPU_NEVER ? 0 : worker->cpu_asked;

	/* The stack of another namespace takes its packets, or none does. */
	if (worker->value.target == CS_TARGET_DEVICE || worker->value.target == CS_TARGET_XSK)
		return 0;
	if (!cpu && policy == CONFIG_CPU_AFFINITY)
		cpu = affinity_of(worker->value.pid);
	return cpu && cpu <= CS_MAX_CPUS && worker->all->cpu_online[cpu - 1] ? cpu : 0;
}

static int write_queue(const struct workers *workers, __u32 cpu, __u32 queue)
{
	struct bpf_cpumap_val value = { .qsize = queue, .bpf_prog.fd = workers->plane->cpu };

	return bpf_map_update_elem(workers->plane->map[PLANE_CPUS], &cpu, &value, BPF_ANY) ?
		       -errno :
		       0;
}

/* The kernel's thread takes what is queued still, and ends. */
static void remove_queue(const struct workers *workers, __u32 cpu)
{
	bpf_map_delete_elem(workers->plane->map[PLANE_CPUS], &cpu);
}

static int take_cpu(struct workers *workers, __u32 cpu)
{
	int err = workers->cpu_users[cpu] ? 0 : write_queue(workers, cpu, workers->cpu_queue);

	if (!err)
		workers->cpu_users[cpu]++;
	return err;
}

static void leave_cpu(struct workers *workers, __u32 cpu)
{
	if (!--workers->cpu_users[cpu])
		remove_queue(workers, cpu);
}

static int write_target(const struct worker *worker, __u32 cpu)
{
	const struct cs_target target = { .index = cpu };

	return bpf_map_update_elem(worker->all->plane->map[PLANE_TARGETS], &worker->id, &target,
				   BPF_ANY) ?
		       -errno :
		       0;
}

int target_name(struct worker *worker, __u8 target)
{
	__u8 before = worker->value.target;
	int err = 0;

	worker->value.target = target;
	if (worker->all->worker[worker->id] == worker && before != target)
		err = entry_write(worker);
	if (err)
		worker->value.target = before;
	return err;
}

/* To @cpu, and 1, or to none.  Queue and number are there before a packet is sent. */
static int move(struct worker *worker, __u32 cpu)
{
	struct workers *all = worker->all;
	int err = cpu ? take_cpu(all, cpu - 1) : 0;

	if (err)
		return err;
	if (cpu)
		err = write_target(worker, cpu - 1);
	if (!err)
		err = target_name(worker, cpu ? CS_TARGET_CPU : CS_TARGET_SOCKET);
	if (err) {
		if (cpu)
			leave_cpu(all, cpu - 1);
		return err;
	}
	if (worker->cpu)
		leave_cpu(all, worker->cpu - 1);
	worker->cpu = cpu;
	return 0;
}

void target_choose(struct worker *worker)
{
	__u32 cpu = wanted_cpu(worker);
	int err = cpu == worker->cpu ? 0 : move(worker, cpu);

	if (err)
		log_limited("%s: moving the packets of worker %u to its CPU: %s: they stay where "
			    "they are",
			    worker_service(worker)->value.name, worker->id, strerror(-err));
}

void target_leave_cpu(struct worker *worker)
{
	if (worker->cpu)
		leave_cpu(worker->all, worker->cpu - 1);
	worker->cpu = 0;
}

void target_leave(struct worker *worker)
{
	target_leave_cpu(worker);
	device_leave(worker);
	xsks_leave(worker);
}

static void adopt_cpu(struct worker *worker, const struct cs_target *target)
{
	if (target->index < CS_MAX_CPUS) {
		worker->cpu = target->index + 1;
		worker->all->cpu_users[target->index]++;
	} else {
		target_name(worker, CS_TARGET_SOCKET); /* no such CPU */
	}
	/* Until it says so itself. */
	if (worker_service(worker)->cpu == CONFIG_CPU_ASKED)
		worker->cpu_asked = worker->cpu;
}

int target_adopt(struct worker *worker)
{
	struct cs_target target;

	if (worker->value.target == CS_TARGET_SOCKET)
		return 0;
	if (bpf_map_lookup_elem(worker->all->plane->map[PLANE_TARGETS], &worker->id, &target))
		return -errno;
	if (worker->value.target == CS_TARGET_CPU)
		adopt_cpu(worker, &target);
	else if (worker->value.target == CS_TARGET_DEVICE)
		device_adopt(worker, &target);
	else if (worker->value.target == CS_TARGET_XSK)
		xsks_adopt(worker, &target);
	return 0;
}

static __u32 program_id(int fd)
{
	struct bpf_prog_info info = {};
	__u32 len = sizeof(info);

	return bpf_obj_get_info_by_fd(fd, &info, &len) ? 0 : info.id;
}

/* As it is to be.  What is queued in one that is replaced is not lost. */
static int settle_queue(struct workers *workers, __u32 cpu, __u32 program)
{
	struct bpf_cpumap_val is = {};
	bool there = !bpf_map_lookup_elem(workers->plane->map[PLANE_CPUS], &cpu, &is);

	if (!workers->cpu_users[cpu]) {
		if (there)
			remove_queue(workers, cpu);
		return 0;
	}
	if (there && is.qsize == workers->cpu_queue && is.bpf_prog.id == program)
		return 0;
	return write_queue(workers, cpu, workers->cpu_queue);
}

int targets_settle(struct workers *workers)
{
	__u32 program = program_id(workers->plane->cpu);
	bool possible[CS_MAX_CPUS];
	int first = 0;

	devices_settle(workers);
	read_cpus("possible", possible);
	read_cpus("online", workers->cpu_online);
	for (__u32 cpu = 0; cpu < CS_MAX_CPUS; cpu++) {
		int err = possible[cpu] ? settle_queue(workers, cpu, program) : 0;

		first = first ? first : err;
	}
	workers->cpu_owed = first;
	return first;
}

int targets_resize(struct workers *workers, __u32 queue)
{
	if (queue == workers->cpu_queue)
		return 0;
	workers->cpu_queue = queue;
	return targets_settle(workers);
}

void targets_follow(struct workers *workers)
{
	devices_follow(workers);
	read_cpus("online", workers->cpu_online);
	if (workers->cpu_owed) {
		int err = targets_settle(workers);

		if (err)
			log_limited("queues of CPUs: %s: packets stay where they come in",
				    strerror(-err));
	}
	for (__u32 id = 1; id < CS_MAX_WORKERS; id++) {
		struct worker *worker = workers->worker[id];

		if (worker && !worker->dead)
			target_choose(worker);
	}
}

// SPDX-License-Identifier: GPL-2.0-only
/* cs_xdp in the kernel: where it sends what has a worker. */
#include <linux/bpf.h>
#include <sched.h>

#include "packet.h"

TestSuite(target, .init = make_all);

static struct frame frame;

/* The tests run where they say, and XDP with them. */
static bool run_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return !sched_setaffinity(0, sizeof(set), &set);
}

static void set_target(__u32 id, __u8 target, __u32 cpu)
{
	const struct cs_target value = { .cpu = cpu };
	struct cs_worker worker;

	check(!bpf_map_update_elem(plane.map[PLANE_TARGETS], &id, &value, BPF_ANY), "target");
	check(!bpf_map_lookup_elem(plane.map[PLANE_WORKERS], &id, &worker), "worker");
	worker.target = target;
	check(!bpf_map_update_elem(plane.map[PLANE_WORKERS], &id, &worker, BPF_ANY), "worker");
}

static void set_queue(__u32 cpu)
{
	struct bpf_cpumap_val value = { .qsize = 64, .bpf_prog.fd = plane.cpu };

	check(!bpf_map_update_elem(plane.map[PLANE_CPUS], &cpu, &value, BPF_ANY), "queue: %s",
	      strerror(errno));
}

static struct cs_cpu_count count_of(__u32 cpu)
{
	struct cs_cpu_count count;

	check(!plane_cpu_count(&plane, cpu, &count), "count");
	return count;
}

static __u64 moved(void)
{
	struct cs_counters counters;

	check(!plane_counters(&plane, CS_HOOK_XDP, H3, &counters), "counters");
	return counters.to_cpu;
}

/* A packet of worker ACTIVE, by the table. */
static void make_frame(void)
{
	struct frame_spec spec = short_spec();

	add_route(H3, dcid_one, 8, ACTIVE);
	frame_build(&frame, &spec);
}

static void acts(__u32 action, const char *what)
{
	__u32 got = run_xdp_action(&plane, frame.byte, frame.len, what);

	check(got == action, "%s: action %u", what, got);
}

Test(target, packets_are_moved_to_a_queue_that_is_there_from_another_cpu)
{
	make_frame();
	set_target(ACTIVE, CS_TARGET_SOCKET, 1);
	check(run_on(0), "CPU 0");
	acts(XDP_PASS, "no target");
	set_target(ACTIVE, CS_TARGET_CPU, 0);
	set_queue(0);
	acts(XDP_PASS, "it is there");
	set_target(ACTIVE, CS_TARGET_CPU, 1);
	acts(XDP_PASS, "no queue");
	set_target(ACTIVE, CS_TARGET_CPU, CS_MAX_CPUS);
	acts(XDP_PASS, "no such CPU");
	set_target(ACTIVE, CS_TARGET_CPU, ~0u);
	acts(XDP_PASS, "no such CPU");
	set_target(ACTIVE, CS_TARGET_CPU + 1, 0);
	acts(XDP_PASS, "no such target");
	check(!count_of(0).sent && !count_of(1).sent && !moved(), "counted");
	check(run_explain(&plane, frame.byte, frame.len, "explain").target == CS_TARGET_CPU + 1,
	      "explain has another target");
	if (!run_on(1))
		cr_skip_test("this machine has one CPU");
	set_target(ACTIVE, CS_TARGET_CPU, 0);
	acts(XDP_REDIRECT, "moved");
	acts(XDP_REDIRECT, "moved");
	check(count_of(0).sent == 2 && !count_of(0).arrived && moved() == 2, "not counted");
}

Test(target, what_is_dropped_is_not_moved)
{
	struct frame_spec spec = short_spec();

	if (!run_on(1))
		cr_skip_test("this machine has one CPU");
	frame_build(&frame, &spec);
	set_queue(0);
	for (__u32 i = 1; i <= RING_WORKERS; i++)
		set_target(20 * H3 + i, CS_TARGET_CPU, 0);
	acts(XDP_REDIRECT, "by the ring");
	set_policies(H3, CS_POLICY_DROP, CS_POLICY_HASH, CS_POLICY_QUIC, CS_POLICY_HASH);
	set_lease(true);
	acts(XDP_DROP, "dropped");
	set_lease(false);
	acts(XDP_REDIRECT, "not dropped");
	check(count_of(0).sent == 2 && moved() == 2, "counted");
}

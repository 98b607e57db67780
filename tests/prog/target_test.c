// SPDX-License-Identifier: GPL-2.0-only
/* cs_xdp in the kernel: where it sends what has a worker. */
#include <linux/bpf.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

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
	const struct cs_target value = { .index = cpu };
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
	set_target(ACTIVE, CS_TARGET_DEVICE + 1, 0);
	acts(XDP_PASS, "no such target");
	check(!count_of(0).sent && !count_of(1).sent && !moved(), "counted");
	check(run_explain(&plane, frame.byte, frame.len, "explain").target == CS_TARGET_DEVICE + 1,
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

/* ---- devices: the test's own loopback stands for a veth ---- */

#define MTU 1300
static const __u8 far_mac[6] = { 2, 0, 0, 0xd, 0xe, 0xf };

static void set_device(__u32 slot, __u32 ifindex)
{
	check(!bpf_map_update_elem(plane.map[PLANE_DEVS], &slot, &ifindex, BPF_ANY), "cs_devs: %s",
	      strerror(errno));
}

/* Worker ACTIVE is behind it. */
static void set_behind(__u32 slot, __u32 ifindex)
{
	struct cs_target value = { .index = slot, .ifindex = ifindex };
	__u32 id = ACTIVE;

	set_target(id, CS_TARGET_DEVICE, 0);
	memcpy(value.mac, far_mac, sizeof(value.mac));
	check(!bpf_map_update_elem(plane.map[PLANE_TARGETS], &id, &value, BPF_ANY), "target");
}

static __u32 make_device(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = { .ifr_name = "lo", .ifr_mtu = MTU };
	__u32 lo = if_nametoindex("lo");

	check(!ioctl(fd, SIOCSIFMTU, &request) && lo, "lo: %s", strerror(errno));
	close(fd);
	set_device(3, lo);
	set_behind(3, lo);
	return lo;
}

/* One packet: its verdict, all of its bytes, and all that is counted. */
static void is_noted(__u32 note, const char *what)
{
	bool sent = note == CS_C_to_device;
	static struct counters expected, got;
	struct frame altered = frame;
	struct cs_dev_count before, after;
	__u8 out[4096];
	__u32 action;

	counters_read(&plane, &expected);
	counters_expect(&expected, CS_HOOK_XDP, H3, CS_C_by_table, 1);
	expected.value[CS_COUNTER_KEY(CS_HOOK_XDP, H3)][note] += note != CS_C_seen;
	check(!plane_device_count(&plane, 3, &before), "count");
	action = run_xdp_bytes(&plane, frame.byte, frame.len, out, sizeof(out), what);
	check(action == (sent ? XDP_REDIRECT : XDP_PASS), "%s: action %u", what, action);
	if (sent)
		memcpy(altered.byte, far_mac, sizeof(far_mac));
	check(!memcmp(out, altered.byte, frame.len), "%s: its bytes", what);
	counters_read(&plane, &got);
	counters_check(&expected, &got, what);
	check(!plane_device_count(&plane, 3, &after) && after.sent == before.sent + sent,
	      "%s: %llu sent", what, after.sent);
}

/* A packet of worker ACTIVE that has so many bytes behind the Ethernet header. */
static void make_frame_of(size_t bytes, int vlan)
{
	static __u8 payload[2048];
	struct frame_spec spec = short_spec();

	quic_short(payload, 0x40, dcid_one, 8, sizeof(payload));
	spec.payload = payload;
	spec.payload_len = bytes - 28;
	spec.vlan = vlan;
	frame_build(&frame, &spec);
}

Test(target, packets_are_sent_to_a_device_with_the_mac_of_its_other_end)
{
	__u32 lo = make_device();

	add_route(H3, dcid_one, 8, ACTIVE);
	make_frame_of(100, 0);
	set_lease(true);
	is_noted(CS_C_to_device, "sent");
	is_noted(CS_C_to_device, "sent again");
	make_frame_of(MTU, 0);
	is_noted(CS_C_to_device, "as large as it may be");
	make_frame_of(MTU + 1, 0);
	is_noted(CS_C_too_large, "too large");
	make_frame_of(100, 7);
	is_noted(CS_C_not_to_device, "with a tag");
	make_frame_of(100, 0);
	set_behind(4, lo);
	is_noted(CS_C_not_to_device, "an empty slot");
	set_behind(CS_MAX_DEVICES, lo);
	is_noted(CS_C_not_to_device, "no such slot");
	set_behind(~0u, lo);
	is_noted(CS_C_not_to_device, "no such slot");
	set_behind(3, 99999);
	is_noted(CS_C_not_to_device, "no such device");
	set_behind(3, lo);
	is_noted(CS_C_to_device, "sent as before");
	set_target(ACTIVE, CS_TARGET_SOCKET, 0);
	is_noted(CS_C_seen, "no target");
}

Test(target, nothing_is_sent_to_a_device_past_the_lease)
{
	make_device();
	add_route(H3, dcid_one, 8, ACTIVE);
	make_frame_of(100, 0);
	set_lease(false);
	is_noted(CS_C_not_to_device, "past the lease");
	set_lease(true);
	is_noted(CS_C_to_device, "with the lease");
	set_lease(false);
	is_noted(CS_C_not_to_device, "past the next");
}

Test(target, what_is_dropped_is_not_sent_to_a_device)
{
	struct frame_spec spec = short_spec();
	__u32 lo = make_device();
	static struct counters expected, got;

	frame_build(&frame, &spec);
	for (__u32 i = 1; i <= RING_WORKERS; i++) {
		__u32 id = 20 * H3 + i;
		struct cs_target value = { .index = 3, .ifindex = lo };

		set_target(id, CS_TARGET_DEVICE, 0);
		check(!bpf_map_update_elem(plane.map[PLANE_TARGETS], &id, &value, BPF_ANY),
		      "target");
	}
	set_policies(H3, CS_POLICY_DROP, CS_POLICY_HASH, CS_POLICY_QUIC, CS_POLICY_HASH);
	set_lease(true);
	counters_read(&plane, &expected);
	counters_expect(&expected, CS_HOOK_XDP, H3, CS_C_dropped_unknown, 1);
	acts(XDP_DROP, "dropped");
	counters_read(&plane, &got);
	counters_check(&expected, &got, "dropped");
	set_lease(false);
	counters_expect(&expected, CS_HOOK_XDP, H3, CS_C_unknown_cid, 1);
	expected.value[CS_COUNTER_KEY(CS_HOOK_XDP, H3)][CS_C_not_enforced]++;
	expected.value[CS_COUNTER_KEY(CS_HOOK_XDP, H3)][CS_C_not_to_device]++;
	acts(XDP_PASS, "neither dropped nor sent");
	counters_read(&plane, &got);
	counters_check(&expected, &got, "past the lease");
}

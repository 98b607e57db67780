// SPDX-License-Identifier: GPL-2.0-only
/* cs_xdp in the kernel: where it sends what has a worker. */
#include <linux/bpf.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "../xsk.h"
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
	set_target(ACTIVE, CS_TARGET_XSK + 1, 0);
	acts(XDP_PASS, "no such target");
	check(!count_of(0).sent && !count_of(1).sent && !moved(), "counted");
	check(run_explain(&plane, frame.byte, frame.len, "explain").target == CS_TARGET_XSK + 1,
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

/* ---- AF_XDP sockets: which slot is looked into is known by the only one that has a socket ---- */

static int xsk = -1;
static __u32 nic[CS_MAX_WORKER_NICS + 1]; /* interfaces that have 256 queues */

static void fill_slot(__u32 slot)
{
	check(!bpf_map_update_elem(plane.map[PLANE_XSKS], &slot, &xsk, BPF_NOEXIST), "slot %u: %s",
	      slot, strerror(errno));
}

static void empty_slot(__u32 slot)
{
	check(!bpf_map_delete_elem(plane.map[PLANE_XSKS], &slot), "slot %u", slot);
}

/* Worker ACTIVE has sockets for these. */
static void set_nics(const struct cs_nic *nics, size_t count)
{
	struct cs_target value = {};
	__u32 id = ACTIVE;

	set_target(id, CS_TARGET_XSK, 0);
	memcpy(value.nic, nics, count * sizeof(*nics));
	check(!bpf_map_update_elem(plane.map[PLANE_TARGETS], &id, &value, BPF_ANY), "target");
}

static void set_no_xsk(__u8 policy)
{
	struct cs_service service;
	__u32 id = H3;

	check(!bpf_map_lookup_elem(plane.map[PLANE_SERVICES], &id, &service), "service");
	service.no_xsk = policy;
	check(!bpf_map_update_elem(plane.map[PLANE_SERVICES], &id, &service, BPF_ANY), "service");
}

static void make_nics(void)
{
	for (size_t i = 0; i < COUNT(nic); i++) {
		char command[128];

		snprintf(command, sizeof(command),
			 "ip link add n%zu numrxqueues 256 type veth peer name p%zu", i, i);
		check(!system(command), "%s", command);
		snprintf(command, sizeof(command), "n%zu", i);
		nic[i] = if_nametoindex(command);
	}
	xsk = make_unbound_xsk();
	check(xsk >= 0, "AF_XDP: %s", strerror(errno));
	set_no_xsk(CS_POLICY_PASS);
}

/* One packet that comes in there: its verdict, its bytes, and all that is counted. */
static void comes_as(const void *bytes, __u32 len, __u32 ifindex, __u32 queue, __u32 reason,
		     __u32 note, const char *what)
{
	static struct counters expected, got;
	static __u8 out[16384];
	struct xdp_md md = { .data_end = len, .ingress_ifindex = ifindex, .rx_queue_index = queue };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = bytes, .data_size_in = len, .data_out = out,
		    .data_size_out = sizeof(out), .ctx_in = &md, .ctx_size_in = sizeof(md),
		    .repeat = 1);
	__u32 action = note == CS_C_to_xsk	     ? XDP_REDIRECT :
		       reason == CS_C_dropped_no_xsk ? XDP_DROP :
						       XDP_PASS;

	counters_read(&plane, &expected);
	counters_expect(&expected, CS_HOOK_XDP, H3, reason, 1);
	expected.value[CS_COUNTER_KEY(CS_HOOK_XDP, H3)][note] += note != CS_C_seen;
	check(!bpf_prog_test_run_opts(plane.xdp, &opts), "%s: %s", what, strerror(errno));
	check(opts.retval == action, "%s: action %u", what, opts.retval);
	check(opts.data_size_out == len && !memcmp(out, bytes, len), "%s: its bytes", what);
	counters_read(&plane, &got);
	counters_check(&expected, &got, what);
}

static void comes(__u32 ifindex, __u32 queue, __u32 note, const char *what)
{
	comes_as(frame.byte, frame.len, ifindex, queue, CS_C_by_table, note, what);
}

/* Only this slot has a socket: a packet that comes in there, and none other of those, finds it. */
static void is_in_slot(__u32 ifindex, __u32 queue, __u32 slot, const char *what)
{
	comes(ifindex, queue, CS_C_not_to_xsk, what);
	fill_slot(slot);
	comes(ifindex, queue, CS_C_to_xsk, what);
	empty_slot(slot);
	comes(ifindex, queue, CS_C_not_to_xsk, what);
}

Test(target, packets_go_to_the_socket_of_the_queue_that_they_came_in_on)
{
	make_nics();
	make_frame();
	set_nics((struct cs_nic[]){ { nic[0], 100, 3, 4 } }, 1);
	for (__u32 queue = 3; queue <= 7; queue++)
		is_in_slot(nic[0], queue, 100 + queue - 3, "a queue");
	for (__u32 slot = 90; slot < 120; slot++)
		fill_slot(slot);
	for (__u32 queue = 0; queue < 256; queue++)
		comes(nic[0], queue, queue >= 3 && queue <= 7 ? CS_C_to_xsk : CS_C_not_to_xsk,
		      "each queue");
	comes(nic[1], 3, CS_C_not_to_xsk, "another interface");
	set_target(ACTIVE, CS_TARGET_SOCKET, 0);
	comes(nic[0], 3, CS_C_seen, "no target");
}

Test(target, a_worker_has_sockets_on_four_interfaces)
{
	struct cs_nic all[CS_MAX_WORKER_NICS] = { { .first = 0, .queue = 0, .queues = 0 },
						  { .first = 10, .queue = 255, .queues = 0 },
						  { .first = 20, .queue = 7, .queues = 1 },
						  { .first = 30, .queue = 0, .queues = 255 } };

	make_nics();
	make_frame();
	for (int i = 0; i < CS_MAX_WORKER_NICS; i++)
		all[i].ifindex = nic[i];
	set_nics(all, CS_MAX_WORKER_NICS);
	is_in_slot(nic[0], 0, 0, "the first");
	comes(nic[0], 1, CS_C_not_to_xsk, "above its only queue");
	is_in_slot(nic[1], 255, 10, "the second");
	comes(nic[1], 254, CS_C_not_to_xsk, "below its only queue");
	comes(nic[1], 0, CS_C_not_to_xsk, "far below its only queue");
	is_in_slot(nic[2], 7, 20, "the third");
	is_in_slot(nic[2], 8, 21, "the third's other queue");
	comes(nic[2], 6, CS_C_not_to_xsk, "below its queues");
	comes(nic[2], 9, CS_C_not_to_xsk, "above its queues");
	is_in_slot(nic[3], 0, 30, "the fourth");
	is_in_slot(nic[3], 255, 285, "the fourth's last queue");
	comes(nic[4], 0, CS_C_not_to_xsk, "a fifth");
	set_nics(all + 1, 2);
	comes(nic[0], 0, CS_C_not_to_xsk, "no more");
	is_in_slot(nic[2], 8, 21, "still");
}

Test(target, a_target_that_cannot_be_passes)
{
	make_nics();
	make_frame();
	set_nics((struct cs_nic[]){ { nic[0], CS_MAX_XSKS - 1, 0, 1 } }, 1);
	is_in_slot(nic[0], 0, CS_MAX_XSKS - 1, "the last slot");
	comes(nic[0], 1, CS_C_not_to_xsk, "behind the last slot");
	set_nics((struct cs_nic[]){ { nic[0], 0xffff, 0, 255 } }, 1);
	comes(nic[0], 0, CS_C_not_to_xsk, "far behind");
	fill_slot(0);
	comes(nic[0], 1, CS_C_not_to_xsk, "which is not the first");
	set_nics(NULL, 0);
	comes(nic[0], 0, CS_C_not_to_xsk, "no interfaces");
}

Test(target, what_is_no_whole_untagged_frame_is_no_sockets)
{
	struct cs_nic on = { .queues = 3 };
	struct frame_spec spec = short_spec();
	static __u8 large[6000];

	make_nics();
	make_frame();
	on.ifindex = nic[0];
	set_nics(&on, 1);
	set_no_xsk(CS_POLICY_DROP);
	set_lease(true);
	for (__u32 slot = 0; slot < 4; slot++)
		fill_slot(slot);
	comes(nic[0], 2, CS_C_to_xsk, "whole");
	spec.vlan = 7;
	frame_build(&frame, &spec);
	comes(nic[0], 2, CS_C_not_to_xsk, "with a tag, and not dropped");
	spec.outer = 8;
	frame_build(&frame, &spec);
	comes(nic[0], 2, CS_C_not_to_xsk, "with two");
	spec.vlan = spec.outer = 0;
	frame_build(&frame, &spec);
	spec.ip_longer = spec.udp_longer = sizeof(large) - frame.len;
	frame_build(&frame, &spec);
	memcpy(large, frame.byte, frame.len);
	comes_as(large, sizeof(large), nic[0], 2, CS_C_by_table, CS_C_not_to_xsk,
		 "in two buffers, and not dropped");
}

Test(target, no_xsk_drops_while_there_is_a_lease)
{
	make_nics();
	make_frame();
	set_nics((struct cs_nic[]){ { nic[0], 100, 3, 1 } }, 1);
	set_no_xsk(CS_POLICY_DROP);
	fill_slot(100);
	set_lease(true);
	comes_as(frame.byte, frame.len, nic[0], 4, CS_C_dropped_no_xsk, CS_C_seen, "an empty slot");
	comes_as(frame.byte, frame.len, nic[0], 2, CS_C_dropped_no_xsk, CS_C_seen, "another queue");
	comes_as(frame.byte, frame.len, nic[1], 3, CS_C_dropped_no_xsk, CS_C_seen,
		 "another interface");
	comes(nic[0], 3, CS_C_to_xsk, "its queue");
	set_no_xsk(CS_POLICY_PASS);
	comes(nic[0], 4, CS_C_not_to_xsk, "pass");
	set_target(ACTIVE, CS_TARGET_SOCKET, 0);
	set_no_xsk(CS_POLICY_DROP);
	comes(nic[0], 4, CS_C_seen, "a worker without sockets");
}

Test(target, no_xsk_drops_nothing_past_the_lease)
{
	static struct counters expected, got;

	make_nics();
	make_frame();
	set_nics((struct cs_nic[]){ { nic[0], 100, 3, 1 } }, 1);
	set_no_xsk(CS_POLICY_DROP);
	set_lease(false);
	counters_read(&plane, &expected);
	counters_expect(&expected, CS_HOOK_XDP, H3, CS_C_by_table, 1);
	expected.value[CS_COUNTER_KEY(CS_HOOK_XDP, H3)][CS_C_not_to_xsk]++;
	expected.value[CS_COUNTER_KEY(CS_HOOK_XDP, H3)][CS_C_not_enforced]++;
	acts(XDP_PASS, "past the lease");
	counters_read(&plane, &got);
	counters_check(&expected, &got, "past the lease");
	fill_slot(100);
	comes(nic[0], 3, CS_C_to_xsk, "what has a socket needs none");
}

Test(target, what_is_dropped_is_handed_to_no_socket)
{
	struct frame_spec spec = short_spec();
	static struct counters expected, got;

	make_nics();
	frame_build(&frame, &spec);
	for (__u32 i = 1; i <= RING_WORKERS; i++) {
		struct cs_target value = { .nic = { { nic[0], 100, 0, 0 } } };
		__u32 id = 20 * H3 + i;

		set_target(id, CS_TARGET_XSK, 0);
		check(!bpf_map_update_elem(plane.map[PLANE_TARGETS], &id, &value, BPF_ANY),
		      "target");
	}
	fill_slot(100);
	comes_as(frame.byte, frame.len, nic[0], 0, CS_C_unknown_cid, CS_C_to_xsk, "by the ring");
	set_policies(H3, CS_POLICY_DROP, CS_POLICY_HASH, CS_POLICY_QUIC, CS_POLICY_HASH);
	set_no_xsk(CS_POLICY_DROP);
	set_lease(true);
	counters_read(&plane, &expected);
	counters_expect(&expected, CS_HOOK_XDP, H3, CS_C_dropped_unknown, 1);
	acts(XDP_DROP, "dropped");
	counters_read(&plane, &got);
	counters_check(&expected, &got, "dropped");
}

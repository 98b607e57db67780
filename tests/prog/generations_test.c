// SPDX-License-Identifier: GPL-2.0-only
/* Generations, expulsion, and a daemon that comes back. */

#include "generations.h"

TestSuite(generations, .init = begin);

Test(generations, one_waits_until_it_is_ready_then_the_others_drain)
{
	for (int mode = 0; mode < 2; mode++) {
		const char *service = modes[mode];
		struct cidsteer *old[2], *new[2];

		plane_look(&plane);
		for (int i = 0; i < 2; i++)
			old[i] = open_generation(service, 10);
		for (int i = 0; i < 2; i++)
			new[i] = open_generation(service, 20);
		check(is(old[1]) == CS_WORKER_ACTIVE && told(old[1]).state == CIDSTEER_ACTIVE,
		      "the first is not active");
		check(is(new[0]) == CS_WORKER_WAITING && told(new[0]).state == CIDSTEER_WAITING,
		      "the second does not wait");
		check(!share(service, new[0]) && !share(service, new[1]), "it has connections");
		check(!cidsteer_issue(new[0], cid_number(1), 8), "it cannot issue");

		check(!cidsteer_ready(new[1]), "ready");
		check(told(new[0]).state == CIDSTEER_ACTIVE &&
			      told(new[1]).state == CIDSTEER_ACTIVE,
		      "it is not told");
		check(share(service, new[0]) + share(service, new[1]) == CS_RING_SIZE,
		      "the ring is not its own");
		for (int i = 0; i < 2; i++) {
			check(is(old[i]) == CS_WORKER_DRAINING, "the old one does not drain");
			check(told(old[i]).state == CIDSTEER_DRAINING, "and is not told");
			check(!cidsteer_issue(old[i], cid_number(10 + i), 8), "it cannot issue");
		}
		check(!cidsteer_ready(new[0]), "again");
		check(cidsteer_ready(old[0]) == -ESTALE, "an old one is ready");
		for (int i = 0; i < 2; i++) {
			cidsteer_close(old[i]);
			cidsteer_close(new[i]);
		}
	}
}

Test(generations, are_numbered_by_their_service_in_the_order_in_which_they_came)
{
	static const uint32_t tokens[] = { 700, 3, 0xffffffff, 3 };
	struct cidsteer *handle[COUNT(tokens)];
	struct cs_worker worker;

	plane_look(&plane);
	for (size_t i = 0; i < COUNT(tokens); i++) {
		__u32 id;

		handle[i] = open_generation("h3", tokens[i]);
		id = cidsteer_worker_id(handle[i]);
		check(!bpf_map_lookup_elem(plane.map[PLANE_WORKERS], &id, &worker), "worker");
		check(worker.generation == (i == 3 ? 2 : i + 1), "%u has number %u", tokens[i],
		      worker.generation);
	}
	new_daemon();
	check(eventually(told(handle[0]).connected), "not back");
	check(is(handle[1]) == CS_WORKER_WAITING, "it waits no more");
	cidsteer_close(open_generation("h3", 5));
	for (size_t i = 0; i < COUNT(tokens); i++)
		cidsteer_close(handle[i]);
	handle[0] = open_generation("h3", 6);
	check(!bpf_map_lookup_elem(plane.map[PLANE_WORKERS],
				   &(__u32){ cidsteer_worker_id(handle[0]) }, &worker),
	      "worker");
	check(worker.generation == 5, "number %u after four and one", worker.generation);
	cidsteer_close(handle[0]);
}

Test(generations, an_older_one_that_is_ready_too_late_drains)
{
	struct cidsteer *one = open_generation("h3", 1), *two = open_generation("h3", 2);
	struct cidsteer *three = open_generation("h3", 3);

	plane_look(&plane);
	check(!cidsteer_ready(three), "ready");
	check(is(one) == CS_WORKER_DRAINING && is(two) == CS_WORKER_DRAINING, "they do not drain");
	check(cidsteer_ready(two) == -ESTALE && is(three) == CS_WORKER_ACTIVE, "too late");
	check(share("h3", three) == CS_RING_SIZE, "the ring");
	cidsteer_close(one);
	cidsteer_close(two);
	cidsteer_close(three);
}

Test(generations, a_later_one_that_is_not_ready_goes_on_waiting)
{
	struct cidsteer *one = open_generation("h3", 1), *two = open_generation("h3", 2);
	struct cidsteer *three = open_generation("h3", 3);

	plane_look(&plane);
	check(!cidsteer_ready(two), "ready");
	check(is(one) == CS_WORKER_DRAINING && is(three) == CS_WORKER_WAITING, "states");
	check(!cidsteer_ready(three), "ready");
	check(is(two) == CS_WORKER_DRAINING && share("h3", three) == CS_RING_SIZE, "states");
	cidsteer_close(one);
	cidsteer_close(two);
	cidsteer_close(three);
}

Test(generations, a_worker_without_one_never_waits_and_drains_with_the_others)
{
	struct cidsteer *one = open_generation("h3", 1), *none = open_generation("h3", 0);
	struct cidsteer *two = open_generation("h3", 2);

	plane_look(&plane);
	check(is(none) == CS_WORKER_ACTIVE && share("h3", none), "it waits");
	check(!cidsteer_ready(none) && is(one) == CS_WORKER_ACTIVE, "ready without generation");
	check(!cidsteer_ready(two), "ready");
	check(is(none) == CS_WORKER_DRAINING && !share("h3", none), "it does not drain");
	cidsteer_close(one);
	cidsteer_close(none);
	cidsteer_close(two);
}

Test(generations, that_wait_take_over_when_nobody_is_active)
{
	struct cidsteer *one = open_generation("h3", 1), *two = open_generation("h3", 2);
	struct cidsteer *three = open_generation("h3", 3), *four;

	plane_look(&plane);
	cidsteer_close(one);
	check(eventually(is(three) == CS_WORKER_ACTIVE), "nobody takes over");
	check(eventually(share("h3", three) == CS_RING_SIZE), "ring");
	check(eventually(is(two) == CS_WORKER_DRAINING), "the older of two");
	check(told(three).state == CIDSTEER_ACTIVE, "it is not told");
	four = open_generation("h3", 4);
	check(is(four) == CS_WORKER_WAITING, "waits");
	check(!cidsteer_drain(three), "drain");
	check(is(four) == CS_WORKER_ACTIVE && share("h3", four) == CS_RING_SIZE, "nobody");
	cidsteer_close(two);
	cidsteer_close(three);
	cidsteer_close(four);
}

Test(generations, a_draining_worker_is_told_what_is_left)
{
	for (int mode = 0; mode < 2; mode++) {
		struct cidsteer *one = open_generation(modes[mode], 1);
		struct cidsteer *two = open_generation(modes[mode], 1);
		struct cidsteer *new = open_generation(modes[mode], 2);

		for (int i = 0; i < 5; i++)
			check(!cidsteer_issue(i < 2 ? one : two, cid_number(i), 8), "issue");
		check(!cidsteer_ready(new), "ready");
		check(told(one).state == CIDSTEER_DRAINING, "drains");
		check(told(one).routes == 2 && told(one).generation_routes == 5, "%s: %llu, %llu",
		      modes[mode], (unsigned long long)told(one).routes,
		      (unsigned long long)told(one).generation_routes);
		for (int i = 0; i < 5; i++)
			check(!cidsteer_retire(i < 2 ? one : two, cid_number(i), 8), "retire");
		/* In a service without shared table that is sent by dispatch. */
		check(eventually(told(two).state && told(one).generation_routes == 0),
		      "the end is not told");
		check(told(one).routes == 0 && told(one).drain_ms == 0, "its own");
		cidsteer_close(one);
		cidsteer_close(two);
		cidsteer_close(new);
	}
}

/* ---- expulsion ------------------------------------------------------------------------------ */

static int command(uid_t uid, __u32 kind, __u32 worker)
{
	struct {
		uid_t uid;
		__u32 kind, worker;
	} asked = { uid, kind, worker };
	pid_t pid;

	pid = fork();
	if (!pid) {
		struct cs_msg_command message = { .kind = asked.kind, .worker = asked.worker };
		union {
			struct cs_msg head;
			struct cs_msg_done done;
			struct cs_msg_refused refused;
		} answer = {};
		int fd;

		must(!setresuid(uid, uid, uid));
		fd = control_connect();
		message_head(&message.head, CS_MSG_COMMAND, sizeof(message));
		must(!control_send(fd, &message, sizeof(message), NULL, 0));
		must(control_receive(fd, &answer, sizeof(answer)) > 0);
		_exit(answer.head.type == CS_MSG_DONE ? answer.done.result : -answer.refused.error);
	}
	return spawn_result(pid);
}

static void check_expelled(struct cidsteer *handle, bool shared)
{
	__u8 state = is(handle);

	check(told(handle).state == CIDSTEER_EXPELLED, "it is not told");
	check(cidsteer_issue(handle, cid_number(3), 8) == -ESTALE, "it may issue");
	check(cidsteer_drain(handle) == -ESTALE && cidsteer_ready(handle) == -ESTALE,
	      "it may drain");
	check(!cidsteer_dispatch(handle) && !told(handle).connected, "it comes back");
	/* What has a mapping could still write: its id is blocked while its process lives. */
	check(shared ? state == CS_WORKER_DEAD : true, "the id is free");
}

Test(generations, an_operator_drains_and_expels_a_worker_and_nobody_else_may)
{
	for (int mode = 0; mode < 2; mode++) {
		struct cidsteer *one = open_worker(modes[mode]), *two = open_worker(modes[mode]);
		struct cidsteer *three;
		__u32 id = cidsteer_worker_id(one);

		plane_look(&plane);
		check(!cidsteer_issue(one, cid_number(1), 8), "issue");
		check(command(UID_NOBODY, CS_COMMAND_EXPEL, id) == EPERM, "a stranger may");
		check(command(0, CS_COMMAND_EXPEL, 0) == ENOENT, "worker 0");
		check(command(0, CS_COMMAND_EXPEL, 32767) == ENOENT, "no worker");
		check(command(0, CS_COMMAND_EXPEL, 0xffffffff) == ENOENT, "no id");
		check(command(0, 99, id) == EPROTO, "an unknown command");
		check(!command(0, CS_COMMAND_DRAIN, id), "drain");
		check(is(one) == CS_WORKER_DRAINING && told(one).state == CIDSTEER_DRAINING,
		      "does not drain");
		check(!command(0, CS_COMMAND_EXPEL, id), "expel");
		check_expelled(one, !mode);
		/* By message it had nothing to write with: its id is free when it is swept. */
		check(mode ? eventually(command(0, CS_COMMAND_EXPEL, id) == ENOENT) :
			     command(0, CS_COMMAND_EXPEL, id) == EALREADY,
		      "twice");
		check(eventually(!cidsteer_report_stray(two, cid_number(1), 8)), "its route stays");
		three = open_worker(modes[mode]);
		check(mode || cidsteer_worker_id(three) != id, "its id was given out");
		cidsteer_close(one);
		cidsteer_close(two);
		cidsteer_close(three);
	}
}

Test(generations, the_time_to_drain_ends)
{
	struct cidsteer *one, *two;

	daemon_end(SIGKILL);
	check(!system("rm -r " PINS), "unload");
	daemon_start("service \"h3\" { listen = {\"127.0.0.1:4433\"} drain_seconds = 2 }\n");
	plane_look(&plane);
	one = open_generation("h3", 1);
	two = open_generation("h3", 2);
	check(!cidsteer_issue(one, cid_number(1), 8), "issue");
	check(!cidsteer_ready(two), "ready");
	check(told(one).state == CIDSTEER_DRAINING && told(one).drain_ms > 0 &&
		      told(one).drain_ms <= 2000,
	      "%llu ms", (unsigned long long)told(one).drain_ms);
	check(eventually(told(one).state == CIDSTEER_EXPELLED), "it goes on");
	check(daemon_logged("has drained for 2 s: expelled"), "the log");
	check(eventually(!cidsteer_report_stray(two, cid_number(1), 8)), "its route stays");
	check_expelled(one, true);
	cidsteer_close(one);
	cidsteer_close(two);
}

/* ---- a daemon that comes back -----------------------------------------------------------------
 */

Test(generations, a_worker_comes_back_by_itself_and_keeps_its_id_and_routes)
{
	for (int mode = 0; mode < 2; mode++) {
		struct cidsteer *one = open_worker(modes[mode]), *two = open_worker(modes[mode]);
		unsigned int id = cidsteer_worker_id(one);

		plane_look(&plane);
		check(!cidsteer_issue(one, cid_number(1), 8), "issue");
		for (int round = 0; round < 3; round++) {
			new_daemon();
			check(!come_back(one) && !come_back(two), "IDs are asked for");
			check(cidsteer_worker_id(one) == id, "another id");
			check(cidsteer_report_stray(two, cid_number(1), 8) == 1, "the route");
			check(!cidsteer_issue(two, cid_number(2), 8), "issue");
			check(!cidsteer_retire(two, cid_number(2), 8), "retire");
			check(share(modes[mode], one) + share(modes[mode], two) == CS_RING_SIZE,
			      "the ring");
		}
		cidsteer_close(one);
		cidsteer_close(two);
	}
}

Test(generations, what_was_missed_by_message_is_asked_for_and_what_was_retired_is)
{
	struct cidsteer *one = open_worker("told"), *two = open_worker("told");

	for (__u32 i = 0; i < 1000; i++)
		check(!cidsteer_issue(one, cid_number(i), 8), "issue");
	daemon_end(SIGKILL);
	for (__u32 i = 0; i < 1000; i++)
		check(!cidsteer_retire(one, cid_number(i), 8), "retire");
	check(cidsteer_issue(one, cid_number(2000), 8) == -ENOTCONN, "issue");
	check(eventually(cidsteer_dispatch(one) == -ENOTCONN || !told(one).connected), "gone");
	daemon_start(NULL);
	check(come_back(one), "nothing is asked for");
	check(!come_back(two), "the other is asked");
	check(!cidsteer_issue(one, cid_number(2000), 8), "issue");
	for (__u32 i = 0; i < 1000; i++)
		check(!cidsteer_report_stray(two, cid_number(i), 8), "%u is routed", i);
	check(cidsteer_report_stray(two, cid_number(2000), 8) == 1, "it is not routed");
	cidsteer_close(one);
	cidsteer_close(two);
}

Test(generations, a_daemon_with_new_maps_is_given_all_ids_anew)
{
	for (int mode = 0; mode < 2; mode++) {
		struct cidsteer *one = open_worker(modes[mode]), *two;

		check(!cidsteer_issue(one, cid_number(1), 8), "issue");
		daemon_end(SIGKILL);
		check(!system("rm -r " PINS), "unload");
		daemon_start(NULL);
		check(come_back(one), "nothing is asked for");
		two = open_worker(modes[mode]);
		check(!cidsteer_report_stray(two, cid_number(1), 8), "an old route");
		check(!cidsteer_issue(one, cid_number(1), 8), "issue");
		check(cidsteer_report_stray(two, cid_number(1), 8) == 1, "no route");
		cidsteer_close(one);
		cidsteer_close(two);
	}
}

Test(generations, a_server_that_is_there_first_is_steered_when_the_daemon_comes)
{
	struct cidsteer_options options = CIDSTEER_OPTIONS_INIT;

	for (int mode = 0; mode < 2; mode++) {
		int socket = udp_bind(address_of(modes[mode]));
		struct cidsteer *one, *two;

		daemon_end(SIGKILL);
		options.control = CONTROL;
		options.cid_length = 0;
		check(cidsteer_open(&one, modes[mode], &socket, 1, &options) == -ECONNREFUSED,
		      "without a length it opens");
		options.cid_length = 8;
		check(!cidsteer_open(&one, modes[mode], &socket, 1, &options), "open");
		check(told(one).state == CIDSTEER_UNSTEERED && !told(one).connected, "state");
		check(cidsteer_cid_length(one) == 8, "length");
		check(cidsteer_issue(one, cid_number(1), 8) == -ENOTCONN, "issue");
		check(cidsteer_retire(one, cid_number(1), 8) == -ENOTCONN, "retire");
		check(cidsteer_drain(one) == -ENOTCONN, "drain");
		cidsteer_close(one);
		check(!cidsteer_open(&one, modes[mode], &socket, 1, &options), "open");
		check(cidsteer_issue(one, cid_number(1), 8) == -ENOTCONN, "issue");
		daemon_start(NULL);
		check(come_back(one), "nothing is asked for");
		check(told(one).state == CIDSTEER_ACTIVE, "state");
		check(!cidsteer_issue(one, cid_number(1), 8), "issue");
		two = open_worker(modes[mode]);
		check(cidsteer_report_stray(two, cid_number(1), 8) == 1, "no route");
		cidsteer_close(one);
		cidsteer_close(two);
	}
	options.cid_length = 7;
	check(cidsteer_open(&(struct cidsteer *){ NULL }, "h3",
			    &(int){ udp_bind(address_of("h3")) }, 1, &options) == -EINVAL,
	      "a length that is not the service's");
}

static bool no_ring(const char *service, double begin)
{
	double seconds = seconds_now() - begin;

	if (buckets_of(service, 0) == CS_RING_SIZE)
		return true;
	fprintf(stderr, "%s: it has a ring after %.1f s\n", service, seconds);
	return seconds > 3; /* then it may: this machine is slow, and nothing is shown */
}

/*
 * Its sockets are in one group: what the first worker to register does not know may be another's,
 * and is left to the kernel's own hash, which has served it until now.
 */
Test(generations, a_server_that_is_there_first_has_no_ring_before_all_have_registered)
{
	struct cidsteer_options options = CIDSTEER_OPTIONS_INIT;
	struct cidsteer *handle[2], *fresh;
	double begin;

	options.control = CONTROL;
	options.cid_length = 8;
	plane_look(&plane);
	for (int mode = 0; mode < 2; mode++) {
		daemon_end(SIGKILL);
		for (int i = 0; i < 2; i++) {
			int socket = udp_bind(address_of(modes[mode]));

			check(!cidsteer_open(&handle[i], modes[mode], &socket, 1, &options),
			      "open");
		}
		daemon_start(NULL);
		begin = seconds_now();
		come_back(handle[0]);
		check(told(handle[0]).state == CIDSTEER_ACTIVE, "not active");
		check(no_ring(modes[mode], begin), "%s: the first has all", modes[mode]);
		begin = seconds_now();
		new_daemon();
		check(no_ring(modes[mode], begin), "%s: the first has all, adopted", modes[mode]);
		come_back(handle[0]);
		come_back(handle[1]);
		fresh = open_worker(modes[mode]);
		check(no_ring(modes[mode], begin), "%s: one has a share", modes[mode]);
		check(eventually(share(modes[mode], handle[0]) && share(modes[mode], handle[1]) &&
				 share(modes[mode], fresh)),
		      "%s: no ring", modes[mode]);
		check(!buckets_of(modes[mode], 0), "%s: half a ring", modes[mode]);
		for (int i = 0; i < 2; i++)
			cidsteer_close(handle[i]);
		cidsteer_close(fresh);
		check(eventually(buckets_of(modes[mode], 0) == CS_RING_SIZE), "it is not empty");
		fresh = open_worker(modes[mode]);
		check(share(modes[mode], fresh) == CS_RING_SIZE, "a new server has to wait");
		cidsteer_close(fresh);
	}
}

Test(generations, what_is_said_without_a_daemon_is_told_to_the_next)
{
	struct cidsteer *one = open_generation("h3", 1), *two = open_generation("h3", 2);
	struct cidsteer *three = open_worker("told");

	plane_look(&plane);
	daemon_end(SIGKILL);
	check(cidsteer_ready(two) == -ENOTCONN, "ready");
	check(cidsteer_drain(three) == -ENOTCONN, "drain");
	daemon_start(NULL);
	come_back(two);
	come_back(three);
	check(eventually(is(two) == CS_WORKER_ACTIVE && is(one) == CS_WORKER_DRAINING), "ready");
	check(is(three) == CS_WORKER_DRAINING && !share("told", three), "drain");
	cidsteer_close(one);
	cidsteer_close(two);
	cidsteer_close(three);
}

/* The daemon buries who has no socket any more, and says so where there is a table to say it in. */
Test(generations, without_its_sockets_nobody_comes_back)
{
	for (int mode = 0; mode < 2; mode++) {
		int socket = udp_bind(address_of(modes[mode])), other = udp_bind("127.0.0.1:9");
		struct cidsteer *one;

		check(!try_open(&one, modes[mode], socket, 0), "open");
		daemon_end(SIGKILL);
		check(dup2(other, socket) == socket, "another socket with its number");
		daemon_start(NULL);
		check(eventually(told(one).state == CIDSTEER_EXPELLED ||
				 strstr(cidsteer_error(one), "closed")),
		      "%s: it was tried: %s", modes[mode], cidsteer_error(one));
		check(!told(one).connected, "connected");
		cidsteer_close(one);
		close(other);
	}
}

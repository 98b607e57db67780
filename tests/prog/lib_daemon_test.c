// SPDX-License-Identifier: GPL-2.0-only
/* libcidsteer: what is batched for the daemon, and life without it. */

#include "lib.h"

TestSuite(lib_daemon, .init = begin);

/* ---- the daemon's end ---------------------------------------------------------------------- */

static void after_the_daemon(struct cidsteer *handle)
{
	int fd = cidsteer_fd(handle);

	check(eventually(is_readable(handle)), "the end is not announced");
	check(cidsteer_dispatch(handle) == -ENOTCONN, "dispatch");
	check(!cidsteer_dispatch(handle), "it is said twice");
	/* To try again, now and then. */
	check(eventually(is_readable(handle)) && !cidsteer_dispatch(handle), "no attempt");
	check(cidsteer_fd(handle) == fd, "another descriptor");
	check(strstr(cidsteer_error(handle), CONTROL), "the reason is \"%s\"",
	      cidsteer_error(handle));
}

Test(lib_daemon, without_its_daemon_a_worker_with_a_shared_table_goes_on)
{
	struct cidsteer *one = open_worker("h3"), *two = open_worker("h3");

	check(!cidsteer_issue(one, cid_number(1), 8), "issue");
	daemon_end(SIGKILL);
	for (int said = 0; said < 2; said++) {
		check(!cidsteer_issue(one, cid_number(2), 8), "issue");
		check(cidsteer_report_stray(two, cid_number(1), 8) == 1, "stray");
		check(cidsteer_report_stray(two, cid_number(2), 8) == 1, "stray");
		check(!cidsteer_retire(one, cid_number(2), 8), "retire");
		check(!cidsteer_issue_provisional(one, cid_number(2), 12), "provisional");
		check(!cidsteer_retire(one, cid_number(2), 12), "retire");
		check(!cidsteer_report_path_change(one), "path change");
		if (!said)
			after_the_daemon(one);
	}
	daemon_start(NULL);
	check(eventually(daemon_logged("goes on")), "the worker was not adopted");
	check(!cidsteer_issue(one, cid_number(3), 8), "issue");
	check(cidsteer_report_stray(two, cid_number(1), 8) == 1, "the route is gone");
	cidsteer_close(one);
	cidsteer_close(two);
}

/*
 * The same process with the same sockets, while no daemon heard that it closed.  In the shared
 * table it has said so itself, and is another worker; by message it could not, and is the same.
 */
Test(lib_daemon, a_worker_that_closed_without_a_daemon_opens_again)
{
	for (int mode = 0; mode < 2; mode++) {
		struct cidsteer *one, *two = open_worker(modes[mode]);
		int socket = udp_bind(address_of(modes[mode]));
		unsigned int id;

		check(!try_open(&one, modes[mode], socket, 0), "open");
		id = cidsteer_worker_id(one);
		check(!cidsteer_issue(one, cid_number(1), 8), "issue");
		daemon_end(SIGKILL);
		cidsteer_close(one);
		daemon_start(NULL);
		check(!try_open(&one, modes[mode], socket, 0), "%s: coming back", modes[mode]);
		check((cidsteer_worker_id(one) == id) == mode, "worker %u was %u",
		      cidsteer_worker_id(one), id);
		/* The daemon may be about to sweep what the other worker had. */
		check(mode ? cidsteer_issue(one, cid_number(1), 8) == -EEXIST :
			     eventually(!cidsteer_issue(one, cid_number(1), 8)),
		      "its route");
		check(!cidsteer_retire(one, cid_number(1), 8), "retire");
		check(!cidsteer_issue(one, cid_number(1), 8), "issue");
		cidsteer_close(one);
		cidsteer_close(two);
	}
}

Test(lib_daemon, without_its_daemon_a_worker_by_message_is_told)
{
	struct cidsteer *one = open_worker("told"), *two = open_worker("told");

	check(!cidsteer_issue(one, cid_number(1), 8), "issue");
	check(!cidsteer_retire(two, cid_number(1), 8), "something batched");
	daemon_end(SIGKILL);
	after_the_daemon(one);
	check(cidsteer_issue(one, cid_number(2), 8) == -ENOTCONN, "issue");
	check(cidsteer_issue(one, cid_number(2), 7) == -EINVAL, "issue");
	check(cidsteer_issue_provisional(one, cid_number(2), 8) == -ENOTCONN, "provisional");
	check(cidsteer_report_stray(one, cid_number(1), 8) == -ENOTCONN, "stray");
	check(cidsteer_drain(one) == -ENOTCONN, "drain");
	/* What need not be answered is kept for the next daemon. */
	check(!cidsteer_retire(one, cid_number(1), 8), "retire");
	check(!cidsteer_report_path_change(one), "path change");
	/* Told by a call that fails, not by dispatch. */
	check(cidsteer_issue(two, cid_number(2), 8) == -ENOTCONN, "issue");
	check(!cidsteer_dispatch(two), "dispatch");
	cidsteer_close(one);
	cidsteer_close(two);
}

/* ---- batches ------------------------------------------------------------------------------- */

Test(lib_daemon, a_batch_keeps_the_callers_order)
{
	struct cidsteer *one = open_worker("told"), *two = open_worker("told");

	for (__u32 round = 0; round < 200; round++) {
		check(!cidsteer_issue(one, cid_number(1), 8), "round %u", round);
		for (__u32 i = 0; i < round % 70; i++)
			check(!cidsteer_report_path_change(one), "path change");
		check(!cidsteer_retire(one, cid_number(1), 8), "retire");
	}
	check(!cidsteer_issue(one, cid_number(1), 8), "issue");
	check(!cidsteer_retire(one, cid_number(1), 8), "retire");
	check(!cidsteer_drain(one), "drain sends what is batched");
	check(!cidsteer_issue(two, cid_number(1), 8), "issue by another");
	cidsteer_close(one);
	cidsteer_close(two);
}

/* As a server's event loop would; returns how often it was woken. */
static int turn_until_quiet(struct cidsteer *handle)
{
	int turns = 0;

	while (is_readable(handle)) {
		check(!cidsteer_dispatch(handle), "dispatch");
		check(++turns < 1000000, "the descriptor stays readable");
	}
	return turns;
}

Test(lib_daemon, what_is_batched_makes_the_descriptor_readable_until_it_is_sent)
{
	struct cidsteer *one = open_worker("told"), *two = open_worker("told");

	for (int round = 0; round < 20; round++) {
		check(!cidsteer_issue(one, cid_number(1), 8), "issue");
		check(!is_readable(one), "readable without a reason");
		check(!cidsteer_retire(one, cid_number(1), 8), "retire");
		check(is_readable(one), "nothing announces the batch");
		check(!cidsteer_dispatch(one), "dispatch");
		check(eventually(!cidsteer_report_stray(two, cid_number(1), 8)), "not sent");
		check(eventually(turn_until_quiet(one) >= 0 && !is_readable(one)), "not quiet");
	}
	cidsteer_close(one);
	cidsteer_close(two);
}

Test(lib_daemon, ten_thousand_retires_are_each_done)
{
	struct cidsteer *one;
	static struct plane plane;

	daemon_end(SIGKILL);
	check(!system("rm -r " PINS), "unload");
	daemon_start("service \"told\" { listen = {\"127.0.0.1:4435\"} shared_table = no }\n");
	plane_look(&plane);
	one = open_worker("told");
	for (__u32 i = 0; i < 10000; i++)
		check(!cidsteer_issue(one, cid_number(i), 8), "issue %u", i);
	for (__u32 i = 0; i < 10000; i++) {
		check(!cidsteer_retire(one, cid_number(i), 8), "retire %u", i);
		if (i % 100 == 0)
			turn_until_quiet(one);
	}
	check(eventually(turn_until_quiet(one) >= 0 &&
			 usage_of(&plane, "told", one).retired == 10000),
	      "%llu were retired", usage_of(&plane, "told", one).retired);
	check(!cidsteer_issue(one, cid_number(0), 8), "issue");
	cidsteer_close(one);
}

Test(lib_daemon, dispatch_never_waits_for_the_daemon)
{
	for (int mode = 0; mode < 2; mode++) {
		struct cidsteer *handle;
		int retires = 0;
		double start;

		check(!try_open(&handle, modes[mode], udp_bind(address_of(modes[mode])), 4000),
		      "open");
		kill(daemon_pid, SIGSTOP);
		/* As much as is sent without waiting for an answer, and a little more. */
		while (mode && retires++ < 16 * 64 + 10)
			check(!cidsteer_retire(handle, cid_number(1), 8), "retire");
		start = seconds_now();
		for (int i = 0; i < 10; i++)
			check(!cidsteer_dispatch(handle), "dispatch");
		check(seconds_now() - start < 1, "%s: ten calls took %.1f s", modes[mode],
		      seconds_now() - start);
		check(!is_readable(handle), "%s: a loop would spin on it", modes[mode]);
		kill(daemon_pid, SIGCONT);
		check(!cidsteer_issue(handle, cid_number(1), 8), "later");
		cidsteer_close(handle);
	}
}

/* ---- what a worker is handed --------------------------------------------------------------- */

/* Registers by hand; returns the connection, and the two descriptors that the worker is given. */
static int register_by_hand(const char *service, int fds[2])
{
	struct cs_msg_registered answer;
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(2 * sizeof(int))];
	} control;
	struct iovec iov = { &answer, sizeof(answer) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.bytes,
			      .msg_controllen = sizeof(control.bytes) };
	struct cs_msg_register message;
	int fd = control_connect(), socket = udp_bind(address_of(service));

	message_register(&message, service, 1);
	must(!control_send(fd, &message, sizeof(message), &socket, 1));
	must(recvmsg(fd, &msg, 0) == sizeof(answer) && answer.head.type == CS_MSG_REGISTERED);
	must(CMSG_FIRSTHDR(&msg) && CMSG_FIRSTHDR(&msg)->cmsg_len == CMSG_LEN(2 * sizeof(int)));
	memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&msg)), 2 * sizeof(int));
	return fd;
}

static int freeze_as_worker(void *arg)
{
	int fds[2];

	(void)arg;
	register_by_hand("h3", fds);
	must(bpf_map_freeze(fds[0]) == -EBUSY);
	must(bpf_map_freeze(fds[1]) == -EBUSY);
	return 0;
}

Test(lib_daemon, a_worker_cannot_freeze_what_it_is_handed)
{
	struct cidsteer *handle;

	daemon_end(SIGKILL);
	check(!system("rm -r " PINS), "unload");
	daemon_start("service \"h3\" { listen = {\"127.0.0.1:4433\"} user = \"nobody\" }\n");
	check(!spawn_result(spawn_as(UID_NOBODY, freeze_as_worker, NULL)), "worker");
	handle = open_worker("h3");
	check(!cidsteer_issue(handle, cid_number(1), 8), "issue");
	cidsteer_close(handle);
}

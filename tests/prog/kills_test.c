// SPDX-License-Identifier: GPL-2.0-only
/*
 * A daemon that was killed between two steps, and what the next one makes of it.
 *
 * What a kill leaves is written into the pinned maps while no daemon runs, so each test finds its
 * moment every time.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sys/wait.h>

#include "generations.h"

TestSuite(kills, .init = begin);

static struct cs_worker entry_of(struct cidsteer *handle)
{
	__u32 id = cidsteer_worker_id(handle);
	struct cs_worker worker = {};

	check(!bpf_map_lookup_elem(plane.map[PLANE_WORKERS], &id, &worker), "worker");
	return worker;
}

static void put_entry(struct cidsteer *handle, const struct cs_worker *worker)
{
	__u32 id = cidsteer_worker_id(handle);

	check(!bpf_map_update_elem(plane.map[PLANE_WORKERS], &id, worker, BPF_ANY), "worker");
}

static void put_state(struct cidsteer *handle, __u8 state)
{
	struct cs_worker worker = entry_of(handle);

	worker.state = state;
	put_entry(handle, &worker);
}

/* The daemon does nothing more, and what is sent to it waits. */
static void daemon_stop(void)
{
	int status;

	check(!kill(daemon_pid, SIGSTOP) && waitpid(daemon_pid, &status, WUNTRACED) == daemon_pid &&
		      WIFSTOPPED(status),
	      "it does not stop");
}

static bool is_gone(__u32 worker)
{
	__u8 state = state_of(&plane, worker);

	return state == CS_WORKER_DEAD || state == CS_WORKER_NONE;
}

/* ---- generations ---------------------------------------------------------------------------- */

/* The entry is written, the number not yet counted in the service. */
Test(kills, no_two_generations_have_one_number)
{
	struct cidsteer *one = open_generation("h3", 11), *two = open_generation("h3", 22), *three;
	__u32 id, number;
	struct cs_service service;

	plane_look(&plane);
	id = service_named(&plane, "h3");
	number = entry_of(two).generation;
	daemon_end(SIGKILL);
	check(!plane_service(&plane, id, &service) && service.generation == number, "service");
	service.generation = number - 1;
	check(!bpf_map_update_elem(plane.map[PLANE_SERVICES], &id, &service, BPF_ANY), "service");
	daemon_start(NULL);
	three = open_generation("h3", 33);
	check(entry_of(three).generation == number + 1, "number %u after %u",
	      entry_of(three).generation, number);
	check(!cidsteer_ready(three), "ready");
	check(is(one) == CS_WORKER_DRAINING && is(two) == CS_WORKER_DRAINING, "they do not drain");
	check(share("h3", three) == CS_RING_SIZE, "the ring");
	cidsteer_close(one);
	cidsteer_close(two);
	cidsteer_close(three);
}

/* The last active worker's entry drains, and nobody has taken over. */
Test(kills, a_generation_that_waits_takes_over_from_one_that_drains)
{
	for (int mode = 0; mode < 2; mode++) {
		struct cidsteer *one = open_generation(modes[mode], 1);
		struct cidsteer *two = open_generation(modes[mode], 2);

		plane_look(&plane);
		check(is(two) == CS_WORKER_WAITING, "it does not wait");
		daemon_end(SIGKILL);
		put_state(one, CS_WORKER_DRAINING);
		daemon_start(NULL);
		check(is(two) == CS_WORKER_ACTIVE, "nobody takes over: state %u", is(two));
		check(share(modes[mode], two) == CS_RING_SIZE, "%d buckets",
		      share(modes[mode], two));
		check(is(one) == CS_WORKER_DRAINING, "it does not drain");
		cidsteer_close(one);
		cidsteer_close(two);
	}
}

static void put_ring(const char *service, struct cidsteer *handle)
{
	__u32 id = service_named(&plane, service);
	static struct cs_ring ring;

	for (int i = 0; i < CS_RING_SIZE; i++)
		ring.worker[i] = cidsteer_worker_id(handle);
	check(!bpf_map_update_elem(plane.map[PLANE_RING], &id, &ring, BPF_ANY), "ring");
}

/* The newer one is active, the older one still: before the ring was written, and after that. */
Test(kills, of_two_active_generations_the_newer_one_stays)
{
	for (int written = 0; written < 2; written++) {
		const char *service = modes[written];
		struct cidsteer *one = open_generation(service, 1);
		struct cidsteer *two = open_generation(service, 2);
		int err;

		plane_look(&plane);
		daemon_end(SIGKILL);
		put_state(two, CS_WORKER_ACTIVE);
		if (written)
			put_ring(service, two);
		daemon_start(NULL);
		come_back(one);
		err = cidsteer_ready(one);
		check(err == -ESTALE, "the older one is ready: %d", err);
		check(is(one) == CS_WORKER_DRAINING, "state %u", is(one));
		check(!share(service, one), "it has %d buckets", share(service, one));
		check(share(service, two) == CS_RING_SIZE, "%d buckets", share(service, two));
		check(is(two) == CS_WORKER_ACTIVE, "state %u", is(two));
		cidsteer_close(one);
		cidsteer_close(two);
	}
}

/* What one worker does by itself is not what its generation does, before a restart and after it. */
Test(kills, who_joins_a_generation_is_not_what_one_of_it_that_drains_is)
{
	for (int drains = 0; drains < 2; drains++) {
		for (int again = 0; again < 2; again++) {
			struct cidsteer *first[2], *three;

			for (int i = 0; i < 2; i++)
				first[i] = open_generation("h3", 1);
			plane_look(&plane);
			check(!cidsteer_drain(first[drains]), "drain");
			if (again)
				new_daemon();
			three = open_generation("h3", 1);
			check(entry_of(three).generation == entry_of(first[0]).generation,
			      "another generation");
			check(is(three) == CS_WORKER_ACTIVE, "number %d drains: state %u", drains,
			      is(three));
			check(!cidsteer_ready(three), "ready");
			check(is(first[drains]) == CS_WORKER_DRAINING, "it drains no more");
			for (int i = 0; i < 2; i++)
				cidsteer_close(first[i]);
			cidsteer_close(three);
		}
	}
}

/* ---- workers that end ----------------------------------------------------------------------- */

/* It is told by its usage line that it is dead, and its entry says that it is active. */
Test(kills, who_was_declared_dead_stays_dead)
{
	for (int mode = 0; mode < 2; mode++) {
		int socket = udp_bind(address_of(modes[mode])), usage_fd, err;
		struct cidsteer *one, *two;
		struct cs_usage usage;
		__u32 id, line;

		check(!try_open(&one, modes[mode], socket, 0), "open");
		plane_look(&plane);
		id = cidsteer_worker_id(one);
		line = entry_of(one).usage;
		daemon_end(SIGKILL);
		usage = usage_of(&plane, modes[mode], one);
		usage.buried = 1;
		usage_fd = plane_usage_fd(&plane, service_named(&plane, modes[mode]));
		check(!bpf_map_update_elem(usage_fd, &line, &usage, BPF_ANY), "usage");
		close(usage_fd);
		daemon_start(NULL);
		/* By message it had nothing to write with: it is swept, and its id is free. */
		check(mode ? is_gone(id) : state_of(&plane, id) == CS_WORKER_DEAD, "%s: state %u",
		      modes[mode], state_of(&plane, id));
		check(!buckets_of(modes[mode], id), "%d buckets", buckets_of(modes[mode], id));
		cidsteer_close(one);
		check(!try_open(&two, modes[mode], socket, 0), "it cannot come again");
		err = cidsteer_issue(two, cid_number(1), 8);
		check(!err, "%s: issue: %s", modes[mode], strerror(-err));
		check(share(modes[mode], two) == CS_RING_SIZE, "the ring");
		cidsteer_close(two);
		close(socket);
	}
}

/* Its process goes on, and so do its sockets; whether it has noticed that the daemon is gone. */
Test(kills, who_leaves_while_no_daemon_is_there_is_reaped_by_the_next)
{
	for (int noticed = 0; noticed < 2; noticed++) {
		int socket = udp_bind(address_of("h3"));
		struct cidsteer *one, *two = open_worker("h3");
		__u32 id;

		check(!try_open(&one, "h3", socket, 0), "open");
		check(eventually(!cidsteer_issue(one, cid_number(1), 8)),
		      "issue"); /* the last one is swept */
		plane_look(&plane);
		id = cidsteer_worker_id(one);
		daemon_end(SIGKILL);
		check(!noticed || eventually(cidsteer_dispatch(one) == -ENOTCONN), "not noticed");
		cidsteer_close(one);
		daemon_start(NULL);
		check(is_gone(id), "noticed %d: it goes on in state %u", noticed,
		      state_of(&plane, id));
		check(!buckets_of("h3", id), "%d buckets", buckets_of("h3", id));
		check(share("h3", two) == CS_RING_SIZE && is(two) == CS_WORKER_ACTIVE, "the other");
		check(eventually(!cidsteer_report_stray(two, cid_number(1), 8)), "its route stays");
		check(!try_open(&one, "h3", socket, 0), "it cannot come again");
		check(!cidsteer_issue(one, cid_number(1), 8), "issue");
		cidsteer_close(one);
		cidsteer_close(two);
		close(socket);
	}
}

static int said[2], goes_on[2];

static void *say_id(void *arg)
{
	pid_t self = gettid();
	char byte;

	(void)arg;
	if (write(said[1], &self, sizeof(self)) != sizeof(self))
		return NULL;
	while (read(goes_on[0], &byte, 1) > 0)
		;
	return NULL;
}

/* A number that was a process is now a thread of another. */
Test(kills, a_thread_that_has_a_workers_pid_is_not_the_worker)
{
	struct cidsteer *one = open_worker("h3"), *two = open_worker("h3");
	struct cs_worker worker;
	pthread_t thread;
	pid_t number;

	plane_look(&plane);
	worker = entry_of(one);
	check(!pipe2(said, O_CLOEXEC) && !pipe2(goes_on, O_CLOEXEC), "pipe");
	check(!pthread_create(&thread, NULL, say_id, NULL), "thread");
	check(read(said[0], &number, sizeof(number)) == sizeof(number), "thread");
	check(number != getpid(), "it is a process");
	daemon_end(SIGKILL);
	worker.pid = number;
	put_entry(one, &worker);
	daemon_start(NULL);
	check(eventually(is(one) == CS_WORKER_NONE), "it is not reaped: state %u", is(one));
	check(!share("h3", one), "%d buckets", share("h3", one));
	check(is(two) == CS_WORKER_ACTIVE && share("h3", two) == CS_RING_SIZE, "the other");
	close(goes_on[1]);
	check(!pthread_join(thread, NULL), "thread");
	cidsteer_close(one);
	cidsteer_close(two);
}

/* ---- sockets -------------------------------------------------------------------------------- */

/* The sockets are in their slots, and their worker is not one yet: its entry says that it is dead.
 */
Test(kills, a_socket_whose_registration_was_not_finished_can_be_registered)
{
	static const __u32 slot[] = { 1, 3, 4, CS_MAX_SOCKETS - 1 };
	struct cidsteer *one = open_worker("h3"), *new[COUNT(slot)];
	__u64 cookie, before;
	int socket[COUNT(slot)];
	__u32 first;

	plane_look(&plane);
	first = entry_of(one).index;
	check(!first && !bpf_map_lookup_elem(plane.map[PLANE_SOCKETS], &first, &before), "slot");
	daemon_end(SIGKILL);
	for (size_t i = 0; i < COUNT(slot); i++) {
		__u64 fd = socket[i] = udp_bind(address_of("h3"));
		struct cs_worker unfinished = entry_of(one);
		__u32 id = 100 + i;

		unfinished.state = CS_WORKER_DEAD;
		unfinished.index = slot[i];
		unfinished.usage = 10 + i;
		check(!bpf_map_update_elem(plane.map[PLANE_WORKERS], &id, &unfinished, BPF_ANY),
		      "entry");
		check(!bpf_map_update_elem(plane.map[PLANE_SOCKETS], &slot[i], &fd, BPF_ANY),
		      "slot %u: %s", slot[i], strerror(errno));
	}
	daemon_start(NULL);
	check(!bpf_map_lookup_elem(plane.map[PLANE_SOCKETS], &first, &cookie) && cookie == before,
	      "a worker has lost its socket");
	/* The last first: it is not in the slot that a new worker is given. */
	for (size_t i = COUNT(slot); i-- > 0;) {
		int err = try_open(&new[i], "h3", socket[i], 0);

		check(!err, "slot %u: %s", slot[i], strerror(-err));
		check(!cidsteer_issue(new[i], cid_number(i), 8), "issue");
	}
	for (size_t i = 0; i < COUNT(slot); i++)
		cidsteer_close(new[i]);
	cidsteer_close(one);
}

/* ---- what a worker says --------------------------------------------------------------------- */

/* The next daemon has answered REGISTER, and was killed before it read READY. */
Test(kills, what_is_ready_is_said_until_a_daemon_has_heard_it)
{
	for (int mode = 0; mode < 2; mode++) {
		struct cidsteer *one = open_generation(modes[mode], 1);
		struct cidsteer *two = open_generation(modes[mode], 2);

		plane_look(&plane);
		daemon_end(SIGKILL);
		check(cidsteer_ready(two) == -ENOTCONN, "ready");
		daemon_start(NULL);
		daemon_stop();
		check(eventually(is_readable(two)), "it does not try");
		check(!cidsteer_dispatch(two) && !told(two).connected, "who has answered?");
		check(!kill(daemon_pid, SIGCONT) && eventually(is_readable(two)), "no answer");
		daemon_stop();
		check(!cidsteer_dispatch(two) && told(two).connected, "it is not back");
		check(is(two) == CS_WORKER_WAITING, "it was heard");
		new_daemon();
		come_back(two);
		check(eventually(told(two).state == CIDSTEER_ACTIVE), "%s: state %d", modes[mode],
		      told(two).state);
		/* It is told before the others drain. */
		check(eventually(is(two) == CS_WORKER_ACTIVE && is(one) == CS_WORKER_DRAINING),
		      "states");
		check(share(modes[mode], two) == CS_RING_SIZE, "the ring");
		cidsteer_close(one);
		cidsteer_close(two);
	}
}

static struct cidsteer *open_impatient(const char *service, uint32_t generation)
{
	struct cidsteer_options options = CIDSTEER_OPTIONS_INIT;
	int socket = udp_bind(address_of(service)), err;
	struct cidsteer *handle = NULL;

	options.control = CONTROL;
	options.generation = generation;
	options.timeout_ms = 1000;
	err = cidsteer_open(&handle, service, &socket, 1, &options);
	check(!err, "opening: %s", strerror(-err));
	return handle;
}

/* @handle drains, and the daemon is ended before it reads that. */
static void drain_unheard(struct cidsteer *handle, bool stopped)
{
	int err;

	if (stopped)
		daemon_stop();
	else
		daemon_end(SIGKILL);
	err = cidsteer_drain(handle);
	check(err == (stopped ? -ETIMEDOUT : -ENOTCONN), "drain: %d", err);
	check(is(handle) == CS_WORKER_ACTIVE, "it was heard");
	if (stopped)
		daemon_end(SIGKILL);
	daemon_start(NULL);
	come_back(handle);
	check(eventually(is(handle) == CS_WORKER_DRAINING), "stopped %d: state %u", stopped,
	      is(handle));
	check(told(handle).state == CIDSTEER_DRAINING, "told %d", told(handle).state);
}

Test(kills, who_drains_unheard_says_so_to_the_next)
{
	for (int mode = 0; mode < 2; mode++) {
		for (int stopped = 0; stopped < 2; stopped++) {
			struct cidsteer *one = open_impatient(modes[mode], 0);

			plane_look(&plane);
			drain_unheard(one, stopped);
			check(!share(modes[mode], one), "the ring");
			cidsteer_close(one);
		}
	}
}

/* The daemon's last word, that it is active, is read when it has said that it drains. */
Test(kills, a_state_that_was_told_before_does_not_undo_a_drain)
{
	for (int stopped = 0; stopped < 2; stopped++) {
		struct cidsteer *one = open_generation("h3", 1), *two = open_impatient("h3", 2);

		plane_look(&plane);
		check(is(two) == CS_WORKER_WAITING, "it does not wait");
		check(!cidsteer_drain(one) && is(two) == CS_WORKER_ACTIVE, "it does not take over");
		check(eventually(is_readable(two)), "it is not told");
		drain_unheard(two, stopped);
		cidsteer_close(one);
		cidsteer_close(two);
	}
}

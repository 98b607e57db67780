// SPDX-License-Identifier: GPL-2.0-only
/* libcidsteer: threads, children, opening, and a worker's rights. */
#include <pthread.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "lib.h"

TestSuite(lib_process, .init = begin);

/* ---- several handles, threads, fork -------------------------------------------------------- */

#define THREADS 4
#define PER_THREAD 500

static void *thread(void *arg)
{
	struct cidsteer *worker = arg;
	__u32 base = cidsteer_worker_id(worker) * PER_THREAD;
	__u8 cid[8] = { 0 };
	long failed = 0;

	for (__u32 i = 0; i < PER_THREAD; i++) {
		__u32 number = base + i;

		memcpy(cid, &number, sizeof(number));
		failed += cidsteer_issue(worker, cid, 8) != 0;
	}
	return (void *)failed;
}

Test(lib_process, handles_of_several_threads_do_not_meet)
{
	for (int mode = 0; mode < 2; mode++) {
		struct cidsteer *worker[THREADS];
		pthread_t id[THREADS];

		for (int i = 0; i < THREADS; i++) {
			worker[i] = open_worker(modes[mode]);
			check(!pthread_create(&id[i], NULL, thread, worker[i]), "thread");
		}
		for (int i = 0; i < THREADS; i++) {
			void *failed;

			check(!pthread_join(id[i], &failed) && !failed, "%ld failed", (long)failed);
		}
		for (__u32 i = 0; i < THREADS * PER_THREAD; i++) {
			struct cidsteer *owner = worker[i / PER_THREAD];
			__u32 number = cidsteer_worker_id(owner) * PER_THREAD + i % PER_THREAD;
			__u8 cid[8] = { 0 };

			memcpy(cid, &number, sizeof(number));
			check(cidsteer_issue(owner, cid, 8) == -EEXIST, "%u is lost", number);
			check(cidsteer_report_stray(worker[(i / PER_THREAD + 1) % THREADS], cid,
						    8) == 1,
			      "%u is lost", number);
		}
		for (int i = 0; i < THREADS; i++)
			cidsteer_close(worker[i]);
	}
}

/* Mappings of BPF maps in this process. */
static int mappings(void)
{
	FILE *file = fopen("/proc/self/maps", "re");
	char line[512];
	int count = 0;

	while (file && fgets(line, sizeof(line), file))
		count += strstr(line, "bpf-map") != NULL;
	if (file)
		fclose(file);
	return count;
}

static int use_in_child(void *arg)
{
	struct cidsteer *handle = arg;

	must(!mappings());
	must(cidsteer_issue(handle, cid_number(2), 8) == -ECHILD);
	must(cidsteer_issue(handle, cid_number(2), 0) == -ECHILD);
	must(cidsteer_issue_provisional(handle, cid_number(3), 8) == -ECHILD);
	must(cidsteer_retire(handle, cid_number(1), 8) == -ECHILD);
	must(cidsteer_report_stray(handle, cid_number(1), 8) == -ECHILD);
	must(cidsteer_report_path_change(handle) == -ECHILD);
	must(cidsteer_drain(handle) == -ECHILD);
	must(cidsteer_dispatch(handle) == -ECHILD);
	must(cidsteer_worker_id(handle) && cidsteer_cid_length(handle) == 8);
	cidsteer_close(handle);
	return 0;
}

Test(lib_process, a_child_is_refused_and_its_close_harms_nobody)
{
	static struct plane plane;

	plane_look(&plane);
	for (int mode = 0; mode < 2; mode++) {
		struct cidsteer *one = open_worker(modes[mode]), *two = open_worker(modes[mode]);
		struct cs_worker worker;
		__u32 id = cidsteer_worker_id(one);

		check(!cidsteer_issue(one, cid_number(1), 8), "issue");
		check(!cidsteer_retire(one, cid_number(7), 8) || !mode, "something batched");
		check(mappings() == (mode ? 0 : 4), "%d mappings: no table and lines of each",
		      mappings());
		check(!spawn_result(spawn_as(0, use_in_child, one)), "child");
		check(cidsteer_report_stray(two, cid_number(1), 8) == 1, "the route is gone");
		check(!cidsteer_issue(one, cid_number(2), 8), "issue");
		check(!cidsteer_retire(one, cid_number(1), 8), "retire");
		check(!cidsteer_dispatch(one), "dispatch");
		check(!bpf_map_lookup_elem(plane.map[PLANE_WORKERS], &id, &worker) &&
			      worker.state == CS_WORKER_ACTIVE,
		      "state %u", worker.state);
		cidsteer_close(one);
		cidsteer_close(two);
	}
}

static int sleep_on(void *arg)
{
	(void)arg;
	pause();
	return 0;
}

/* It holds a copy of the connection, which must not count. */
Test(lib_process, a_child_that_lives_on_does_not_keep_its_parents_worker)
{
	static struct plane plane;

	plane_look(&plane);
	for (int mode = 0; mode < 2; mode++) {
		struct cidsteer *handle = open_worker(modes[mode]);
		__u32 id = cidsteer_worker_id(handle);
		pid_t child = spawn_as(0, sleep_on, NULL);
		bool gone;

		cidsteer_close(handle);
		gone = eventually(state_of(&plane, id) != CS_WORKER_ACTIVE);
		kill(child, SIGKILL);
		spawn_result(child);
		check(gone, "%s: worker %u is still active", modes[mode], id);
	}
}

/* ---- opening ------------------------------------------------------------------------------- */

Test(lib_process, options_of_older_and_newer_callers_are_understood)
{
	struct {
		struct cidsteer_options known;
		__u8 newer[24];
	} options = { .known = CIDSTEER_OPTIONS_INIT };
	int socket = udp_bind(address_of("h3"));
	struct cidsteer *handle = (void *)1;
	struct cs_worker worker;
	static struct plane plane;
	__u32 id;

	plane_look(&plane);
	options.known.control = CONTROL;
	options.known.generation = 77;
	for (size_t size = 0; size <= sizeof(options); size++) {
		size_t least = offsetof(struct cidsteer_options, generation);
		int err;

		/* A caller's structure ends with a whole member. */
		if (size > least && size < least + sizeof(uint32_t))
			continue;
		options.known.size = size;
		err = cidsteer_open(&handle, "h3", &socket, 1, &options.known);
		check(err == (size < least ? -EINVAL : 0), "size %zu: %d", size, err);
		if (err)
			continue;
		id = cidsteer_worker_id(handle);
		check(!bpf_map_lookup_elem(plane.map[PLANE_WORKERS], &id, &worker), "worker");
		check(worker.token == (size > least ? 77 : 0), "size %zu: token %u", size,
		      worker.token);
		cidsteer_close(handle);
		check(eventually(state_of(&plane, id) == CS_WORKER_DEAD), "not gone");
	}
	for (size_t i = 0; i < sizeof(options.newer); i++) {
		options.newer[i] = 1;
		check(cidsteer_open(&handle, "h3", &socket, 1, &options.known) == -EINVAL,
		      "byte %zu is not known", i);
		options.newer[i] = 0;
	}
}

/* What open must answer, with the same line; the handle is not written. */
static void open_fails(const char *control, const char *service, size_t count, int err,
		       const char *line)
{
	struct cidsteer *untouched = (void *)&untouched, *handle = untouched;
	struct cidsteer_options options = CIDSTEER_OPTIONS_INIT;
	int sockets[300];
	char said[256] = "before";
	int result;

	for (size_t i = 0; i < COUNT(sockets); i++)
		sockets[i] = 0;
	options.control = control;
	options.error = said;
	options.error_size = sizeof(said);
	result = cidsteer_open(&handle, service, sockets, count, &options);
	check(result == err && strstr(said, line), "%d \"%s\" instead of %d \"%s\"", result, said,
	      err, line);
	check(handle == untouched, "a handle was written");
	options.error_size = 8;
	memset(said, 0x55, sizeof(said));
	check(cidsteer_open(&handle, service, sockets, count, &options) == err, "again");
	check(memchr(said, 0, 8) && said[8] == 0x55, "the line is longer than its place");
}

Test(lib_process, open_says_what_is_wrong)
{
	char path[200];
	int fd;

	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[199] = '\0';
	open_fails("/mnt/nowhere", "h3", 1, -ENOENT, "/mnt/nowhere: No such file");
	open_fails(path, "h3", 1, -ENAMETOOLONG, "File name too long");
	open_fails(CONFIG, "h3", 1, -ECONNREFUSED, "Connection refused");
	open_fails(CONTROL, "", 1, -EINVAL, "name");
	open_fails(CONTROL, NULL, 1, -EINVAL, "name");
	open_fails(CONTROL, "a-name-of-16-byt", 1, -EINVAL, "name");
	open_fails(CONTROL, "h3", 0, -EINVAL, "sockets");
	open_fails(CONTROL, "h3", 17, -EINVAL, "sockets");
	open_fails(CONTROL, "h3", (size_t)1 << 32, -EINVAL, "sockets");
	open_fails(CONTROL, "h4", 1, -ENOENT, "service \"h4\" is not configured");
	open_fails(CONTROL, "h3", 1, -EINVAL, "socket");
	check(!chmod(CONTROL, 0), "chmod");
	fd = open_worker("h3") ? 0 : -1;
	check(!fd, "root may");
	daemon_end(SIGKILL);
	open_fails(CONTROL, "h3", 1, -ECONNREFUSED, "Connection refused");
}

static int open_as_nobody(void *arg)
{
	struct cidsteer *handle;
	int fd = udp_bind(address_of("h3"));

	(void)arg;
	return -try_open(&handle, "h3", fd, 0);
}

Test(lib_process, a_user_without_the_right_is_refused)
{
	check(spawn_result(spawn_as(UID_NOBODY, open_as_nobody, NULL)) == EACCES, "not the user");
	check(!chmod(CONTROL, 0600), "chmod");
	check(spawn_result(spawn_as(UID_NOBODY, open_as_nobody, NULL)) == EACCES, "the file");
}

static int serve_as_nobody(void *arg)
{
	struct cidsteer *handle;
	int fd = udp_bind(address_of("h3"));

	(void)arg;
	must(!try_open(&handle, "h3", fd, 0));
	must(!cidsteer_issue(handle, cid_number(1), 8));
	must(!cidsteer_issue_provisional(handle, cid_number(1), 20));
	must(!cidsteer_retire(handle, cid_number(1), 8));
	must(!cidsteer_drain(handle));
	cidsteer_close(handle);
	return 0;
}

Test(lib_process, a_worker_needs_no_capability)
{
	daemon_end(SIGKILL);
	check(!system("rm -r " PINS), "unload");
	daemon_start("service \"h3\" { listen = {\"127.0.0.1:4433\"} user = \"nobody\" }\n");
	check(!spawn_result(spawn_as(UID_NOBODY, serve_as_nobody, NULL)), "nobody");
}

Test(lib_process, a_daemon_that_does_not_answer_is_given_up_in_time)
{
	struct cidsteer *handle;
	int socket = udp_bind(address_of("h3"));

	kill(daemon_pid, SIGSTOP);
	/* Also when more wait than listen(2) holds. */
	for (int i = 0; i < 200; i++) {
		double start = seconds_now();
		int err = try_open(&handle, "h3", socket, 20);

		check(err == -ETIMEDOUT, "open %d: %s", i, strerror(-err));
		check(seconds_now() - start < 3, "open %d took %.1f s", i, seconds_now() - start);
	}
	kill(daemon_pid, SIGCONT);
	check(!cidsteer_issue(open_worker("told"), cid_number(1), 8), "later");
}

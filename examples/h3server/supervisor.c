// SPDX-License-Identifier: GPL-2.0-only
/*
 * The supervisor
 *
 * Nothing passes between workers.  Each has a pipe for orders from here, and all share one
 * pipe for reports to here.  Every socket of every worker is bound before the first worker
 * serves, so that no packet finds a group that is not complete; and each is open in its own
 * worker only, because a socket lives until its last descriptor is closed, and the kernel
 * would go on handing packets to the socket of a worker that is dead.
 */
#define _GNU_SOURCE 1
#include "h3server/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum child_state {
	CHILD_NONE,
	CHILD_STARTING,
	CHILD_SERVES,
	CHILD_GONE
};

struct child {
	struct worker worker;
	enum child_state state;
	int orders; /* our end of its pipe */
	pid_t pid;
	pthread_t thread;
};

struct supervisor {
	const struct server *server;
	const struct identity *identity;
	struct child *children;
	unsigned int count;
	int reports[2];
	int signals;
	bool stopping;
	bool failed; /* a worker could not start */
};

static int failed(const char *what, const char *reason)
{
	fprintf(stderr, "h3server: %s: %s\n", what, reason);
	return -1;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void close_sockets(struct supervisor *s, struct child *child)
{
	unsigned int i;

	for (i = 0; i < s->server->options->listeners; i++)
		close_fd(&child->worker.sockets[i]);
}

/* [::]:443 leaves IPv4 to 0.0.0.0:443, if that is listed too. */
static bool is_v6only(const struct options *options, const union addr *addr)
{
	unsigned int i;

	for (i = 0; i < options->listeners; i++)
		if (options->listen[i].sa.sa_family == AF_INET &&
		    addr_is_wildcard(&options->listen[i]) &&
		    addr_port(&options->listen[i]) == addr_port(addr))
			return true;
	return false;
}

static int bind_sockets(struct supervisor *s, struct child *child)
{
	const struct options *options = s->server->options;
	char text[ADDR_TEXT];
	unsigned int i;

	for (i = 0; i < options->listeners; i++) {
		int fd = udp_bind(&options->listen[i], is_v6only(options, &options->listen[i]));

		if (fd < 0)
			return failed(addr_format(&options->listen[i], text), strerror(-fd));
		child->worker.sockets[i] = fd;
	}
	return 0;
}

static int prepare_child(struct supervisor *s, unsigned int index)
{
	struct child *child = &s->children[index];
	int orders[2];

	if (pipe2(orders, O_CLOEXEC) < 0)
		return failed("pipe", strerror(errno));
	child->orders = orders[1];
	child->worker.server = s->server;
	child->worker.index = index + 1;
	child->worker.orders = orders[0];
	child->worker.reports = s->reports[1];
	child->worker.is_process = !s->server->options->threads;
	return bind_sockets(s, child);
}

/* Only these reach signalfd: they have to be blocked in every thread and process. */
static int open_signals(struct supervisor *s)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return failed("sigprocmask", strerror(errno));
	signal(SIGPIPE, SIG_IGN); /* the order to a worker that has just gone */
	s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return s->signals < 0 ? failed("signalfd", strerror(errno)) : 0;
}

static int prepare(struct supervisor *s)
{
	unsigned int i, j;

	s->children = calloc(s->count, sizeof(*s->children));
	if (!s->children)
		return failed("start", strerror(ENOMEM));
	for (i = 0; i < s->count; i++) {
		s->children[i].orders = -1;
		s->children[i].worker.orders = -1;
		for (j = 0; j < MAX_LISTENERS; j++)
			s->children[i].worker.sockets[j] = -1;
	}
	if (pipe2(s->reports, O_CLOEXEC) < 0)
		return failed("pipe", strerror(errno));
	if (open_signals(s) < 0)
		return -1;
	for (i = 0; i < s->count; i++)
		if (prepare_child(s, i) < 0)
			return -1;
	return 0;
}

static int print_identity(const struct worker *worker)
{
	char text[128];

	if (privilege_describe(text, sizeof(text)) < 0)
		return -1;
	printf("worker %u: %s\n", worker->index, text);
	fflush(stdout);
	return 0;
}

/* In a new worker process: keep nothing that belongs to another one or to the supervisor. */
static void keep_own(struct supervisor *s, unsigned int index)
{
	unsigned int i;

	for (i = 0; i < s->count; i++) {
		close_fd(&s->children[i].orders);
		if (i == index)
			continue;
		close_sockets(s, &s->children[i]);
		close_fd(&s->children[i].worker.orders);
	}
	close_fd(&s->reports[0]);
	close_fd(&s->signals);
}

static int run_process(struct supervisor *s, unsigned int index)
{
	struct worker *worker = &s->children[index].worker;

	keep_own(s, index);
	if (privilege_drop(s->identity) < 0 || print_identity(worker) < 0)
		return 1;
	return worker_run(worker) < 0 ? 1 : 0;
}

static void *run_thread(void *arg)
{
	struct worker *worker = arg;

	print_identity(worker);
	worker_run(worker);
	return NULL;
}

/* Returns the exit code in a new worker process, -1 everywhere else. */
static int start_processes(struct supervisor *s)
{
	unsigned int i;

	for (i = 0; i < s->count; i++) {
		struct child *child = &s->children[i];

		fflush(NULL);
		child->pid = fork();
		if (child->pid == 0)
			return run_process(s, i);
		if (child->pid < 0) {
			failed("fork", strerror(errno));
			s->failed = true;
			break;
		}
		child->state = CHILD_STARTING;
	}
	for (i = 0; i < s->count; i++) {
		close_sockets(s, &s->children[i]);
		close_fd(&s->children[i].worker.orders);
	}
	/* Supervising takes no privilege either. */
	if (privilege_drop(s->identity) < 0)
		s->failed = true;
	return -1;
}

static void start_threads(struct supervisor *s)
{
	unsigned int i;

	if (privilege_drop(s->identity) < 0) {
		s->failed = true;
		return;
	}
	for (i = 0; i < s->count; i++) {
		struct child *child = &s->children[i];
		int err = pthread_create(&child->thread, NULL, run_thread, &child->worker);

		if (err) {
			failed("pthread_create", strerror(err));
			s->failed = true;
			return;
		}
		child->state = CHILD_STARTING;
	}
}

static bool is_alive(const struct child *child)
{
	return child->state == CHILD_STARTING || child->state == CHILD_SERVES;
}

static void order(struct supervisor *s, char what)
{
	unsigned int i;

	for (i = 0; i < s->count; i++)
		if (is_alive(&s->children[i]) && write(s->children[i].orders, &what, 1) < 0 &&
		    errno != EPIPE)
			failed("order", strerror(errno));
}

static void stop(struct supervisor *s)
{
	if (!s->stopping)
		order(s, ORDER_QUIT);
	s->stopping = true;
}

static unsigned int count_state(const struct supervisor *s, enum child_state state)
{
	unsigned int i, n = 0;

	for (i = 0; i < s->count; i++)
		n += s->children[i].state == state;
	return n;
}

static void print_ready(const struct supervisor *s)
{
	const struct options *options = s->server->options;
	char text[ADDR_TEXT];
	unsigned int i;

	printf("h3server: serving");
	for (i = 0; i < options->listeners; i++)
		printf("%s %s", i ? "," : "", addr_format(&options->listen[i], text));
	printf(" with %u worker%s%s\n", s->count, s->count == 1 ? "" : "s",
	       options->steer ? "" : ", not steered");
	fflush(stdout);
}

/* A worker that ends before it serves stops the server: the operator must see why. */
static void child_gone(struct supervisor *s, struct child *child)
{
	if (child->state == CHILD_STARTING)
		s->failed = true;
	child->state = CHILD_GONE;
}

static void take_report(struct supervisor *s)
{
	struct worker_report r;
	struct child *child;

	if (read(s->reports[0], &r, sizeof(r)) != sizeof(r) || r.index == 0 || r.index > s->count)
		return;
	child = &s->children[r.index - 1];
	if (r.event == WORKER_SERVES && child->state == CHILD_STARTING) {
		child->state = CHILD_SERVES;
		if (count_state(s, CHILD_SERVES) == s->count)
			print_ready(s);
	} else if (r.event != WORKER_SERVES && s->server->options->threads) {
		pthread_join(child->thread, NULL);
		child_gone(s, child);
	}
}

static void describe_death(const struct supervisor *s, const struct child *child, int status)
{
	const char *rest = s->stopping ? "" : "; the others go on";

	if (WIFSIGNALED(status))
		fprintf(stderr, "h3server: worker %u (pid %d) was killed by signal %d%s\n",
			child->worker.index, child->pid, WTERMSIG(status), rest);
	else if (WEXITSTATUS(status) != 0 || !s->stopping)
		fprintf(stderr, "h3server: worker %u (pid %d) ended with code %d%s\n",
			child->worker.index, child->pid, WEXITSTATUS(status), rest);
}

static void reap(struct supervisor *s)
{
	unsigned int i;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (i = 0; i < s->count && s->children[i].pid != pid; i++)
			;
		if (i == s->count)
			continue;
		/* What the worker reported last may still be in the pipe. */
		if (s->children[i].state == CHILD_SERVES)
			describe_death(s, &s->children[i], status);
		child_gone(s, &s->children[i]);
	}
}

static void take_signal(struct supervisor *s)
{
	struct signalfd_siginfo info;

	if (read(s->signals, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGCHLD)
		reap(s);
	else if (info.ssi_signo == SIGUSR1)
		order(s, ORDER_STATS);
	else
		stop(s);
}

static void supervise(struct supervisor *s)
{
	struct pollfd fds[2] = { { s->reports[0], POLLIN, 0 }, { s->signals, POLLIN, 0 } };

	while (count_state(s, CHILD_STARTING) + count_state(s, CHILD_SERVES) > 0) {
		if (s->failed)
			stop(s);
		if (poll(fds, 2, -1) < 0)
			continue;
		if (fds[0].revents)
			take_report(s);
		else if (fds[1].revents) /* reports first: they are older */
			take_signal(s);
	}
}

static void finish(struct supervisor *s)
{
	unsigned int i;

	for (i = 0; s->children && i < s->count; i++) {
		close_sockets(s, &s->children[i]);
		close_fd(&s->children[i].orders);
		close_fd(&s->children[i].worker.orders);
	}
	close_fd(&s->reports[0]);
	close_fd(&s->reports[1]);
	close_fd(&s->signals);
	free(s->children);
}

int supervisor_run(const struct server *server, const struct identity *identity)
{
	struct supervisor s = {
		.server = server,
		.identity = identity,
		.count = server->options->workers,
		.reports = { -1, -1 },
		.signals = -1,
	};
	int code = 1;

	if (prepare(&s) == 0) {
		code = -1;
		if (server->options->threads)
			start_threads(&s);
		else
			code = start_processes(&s);
		if (code < 0) {
			supervise(&s);
			code = s.stopping && !s.failed ? 0 : 1;
		}
	}
	finish(&s);
	return code;
}

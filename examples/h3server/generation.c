// SPDX-License-Identifier: GPL-2.0-only
/*
 * A generation: the workers of one start
 *
 * Nothing passes between workers.  Each has a pipe for orders from here, and all share one
 * pipe for reports to here.  Every socket of every worker is bound before the first worker
 * serves, so that no packet finds a group that is not complete; and each is open in its own
 * worker only, because a socket lives until its last descriptor is closed, and the kernel
 * would go on handing packets to the socket of a worker that is dead.
 *
 * When all workers serve, they are ordered to be ready: then the new connections are theirs.  Until
 * that order a worker that ends takes the whole generation with it; afterwards the others go on.
 */
#define _GNU_SOURCE 1
#include "h3server/generation.h"

#include "h3server/express.h"

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
	CHILD_DRAINED, /* and will be gone */
	CHILD_GONE
};

struct child {
	struct worker worker;
	enum child_state state;
	int orders; /* our end of its pipe */
	pid_t pid;
	pthread_t thread;
};

struct workers {
	const struct server *server;
	const struct identity *identity;
	struct birth *birth;
	struct child *children;
	struct express_queues queues; /* of the workers of this process */
	unsigned int count;
	int reports[2];
	int signals;
	bool ordered; /* to be ready */
	bool ready;
	bool drained; /* one of them, at least */
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

static void close_sockets(struct workers *all, struct child *child)
{
	unsigned int i;

	for (i = 0; i < all->server->options->listeners; i++)
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

static int bind_sockets(struct workers *all, struct child *child)
{
	const struct options *options = all->server->options;
	char text[ADDR_TEXT];
	unsigned int i;

	for (i = 0; i < options->listeners; i++) {
		int fd = udp_bind(&options->listen[i], is_v6only(options, &options->listen[i]),
				  options->gro);

		if (fd < 0)
			return failed(addr_format(&options->listen[i], text), strerror(-fd));
		child->worker.sockets[i] = fd;
	}
	return 0;
}

static int prepare_child(struct workers *all, unsigned int index)
{
	struct child *child = &all->children[index];
	int orders[2];

	if (pipe2(orders, O_CLOEXEC) < 0)
		return failed("pipe", strerror(errno));
	child->orders = orders[1];
	child->worker.server = all->server;
	child->worker.index = index + 1;
	child->worker.orders = orders[0];
	child->worker.reports = all->reports[1];
	child->worker.is_process = !all->server->options->threads;
	return bind_sockets(all, child);
}

/* Only these reach signalfd: they have to be blocked in every thread and process. */
static int open_signals(struct workers *all)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGHUP); /* the supervisor's, but a terminal tells everybody */
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return failed("sigprocmask", strerror(errno));
	signal(SIGPIPE, SIG_IGN); /* the order to a worker that has just gone */
	all->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return all->signals < 0 ? failed("signalfd", strerror(errno)) : 0;
}

static int prepare(struct workers *all)
{
	unsigned int i, j;

	all->children = calloc(all->count, sizeof(*all->children));
	if (!all->children)
		return failed("start", strerror(ENOMEM));
	for (i = 0; i < all->count; i++) {
		all->children[i].orders = -1;
		all->children[i].worker.orders = -1;
		for (j = 0; j < MAX_LISTENERS; j++)
			all->children[i].worker.sockets[j] = -1;
	}
	if (pipe2(all->reports, O_CLOEXEC) < 0 || fcntl(all->reports[0], F_SETFL, O_NONBLOCK) < 0)
		return failed("pipe", strerror(errno));
	if (open_signals(all) < 0 || express_find(&all->queues, all->server->options) < 0)
		return -1;
	for (i = 0; i < all->count; i++)
		if (prepare_child(all, i) < 0)
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
static void keep_own(struct workers *all, unsigned int index)
{
	unsigned int i;

	for (i = 0; i < all->count; i++) {
		close_fd(&all->children[i].orders);
		if (i == index)
			continue;
		close_sockets(all, &all->children[i]);
		close_fd(&all->children[i].worker.orders);
	}
	close_fd(&all->reports[0]);
	close_fd(&all->signals);
	close_fd(&all->birth->orders);
	close_fd(&all->birth->reports);
}

static int run_process(struct workers *all, unsigned int index)
{
	struct worker *worker = &all->children[index].worker;

	keep_own(all, index);
	if (express_open_queues(&all->queues, index, all->count, 1) < 0 ||
	    express_open(worker, &all->queues) < 0)
		return 1;
	if (privilege_drop(all->identity) < 0 || print_identity(worker) < 0)
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
static int start_processes(struct workers *all)
{
	unsigned int i;

	for (i = 0; i < all->count; i++) {
		struct child *child = &all->children[i];

		fflush(NULL);
		child->pid = fork();
		if (child->pid == 0)
			return run_process(all, i);
		if (child->pid < 0) {
			failed("fork", strerror(errno));
			all->failed = true;
			break;
		}
		child->state = CHILD_STARTING;
	}
	for (i = 0; i < all->count; i++) {
		close_sockets(all, &all->children[i]);
		close_fd(&all->children[i].worker.orders);
	}
	/* What is left to do here takes no privilege either. */
	if (privilege_drop(all->identity) < 0)
		all->failed = true;
	return -1;
}

static int open_lanes(struct workers *all)
{
	unsigned int i;

	if (express_open_queues(&all->queues, 0, 1, all->count) < 0)
		return -1;
	for (i = 0; i < all->count; i++)
		if (express_open(&all->children[i].worker, &all->queues) < 0)
			return -1;
	return 0;
}

static void start_threads(struct workers *all)
{
	unsigned int i;

	if (open_lanes(all) < 0 || privilege_drop(all->identity) < 0) {
		all->failed = true;
		return;
	}
	for (i = 0; i < all->count; i++) {
		struct child *child = &all->children[i];
		int err = pthread_create(&child->thread, NULL, run_thread, &child->worker);

		if (err) {
			failed("pthread_create", strerror(err));
			all->failed = true;
			return;
		}
		child->state = CHILD_STARTING;
	}
}

static bool is_alive(const struct child *child)
{
	return child->state != CHILD_NONE && child->state != CHILD_GONE;
}

static void order(struct workers *all, char what)
{
	unsigned int i;

	for (i = 0; i < all->count; i++)
		if (is_alive(&all->children[i]) && write(all->children[i].orders, &what, 1) < 0 &&
		    errno != EPIPE)
			failed("order", strerror(errno));
}

static void stop(struct workers *all)
{
	if (!all->stopping)
		order(all, ORDER_QUIT);
	all->stopping = true;
}

static unsigned int count_state(const struct workers *all, enum child_state state)
{
	unsigned int i, n = 0;

	for (i = 0; i < all->count; i++)
		n += all->children[i].state == state;
	return n;
}

static void print_ready(const struct workers *all)
{
	const struct options *options = all->server->options;
	char text[ADDR_TEXT];
	unsigned int i;

	printf("h3server: serving");
	for (i = 0; i < options->listeners; i++)
		printf("%s %s", i ? "," : "", addr_format(&options->listen[i], text));
	printf(" with %u worker%s%s, generation %u\n", all->count, all->count == 1 ? "" : "s",
	       options->steer ? "" : ", not steered", all->server->generation);
	fflush(stdout);
}

/* Until all serve, one that ends stops them all: the operator must see why. */
static void child_gone(struct workers *all, struct child *child)
{
	if (!all->ordered && !all->stopping)
		all->failed = true;
	child->state = CHILD_GONE;
}

static void child_serves(struct workers *all, struct child *child)
{
	child->state = CHILD_SERVES;
	if (count_state(all, CHILD_SERVES) < all->count || all->stopping)
		return;
	/* One would be enough; but that one may end before it has done it. */
	order(all, ORDER_READY);
	all->ordered = true;
}

static void child_ready(struct workers *all)
{
	if (all->ready)
		return;
	all->ready = true;
	print_ready(all);
	birth_report(all->birth, BIRTH_SERVES, 0);
}

/* Returns whether there was one. */
static bool take_report(struct workers *all)
{
	struct worker_report r;
	struct child *child;

	if (read(all->reports[0], &r, sizeof(r)) != sizeof(r))
		return false;
	if (r.index == 0 || r.index > all->count)
		return true;
	child = &all->children[r.index - 1];
	if (r.event == WORKER_SERVES && child->state == CHILD_STARTING) {
		child_serves(all, child);
	} else if (r.event == WORKER_READY && child->state == CHILD_SERVES) {
		child_ready(all);
	} else if (r.event == WORKER_DRAINED) {
		child->state = CHILD_DRAINED;
		all->drained = true;
	} else if (all->server->options->threads) {
		pthread_join(child->thread, NULL);
		child_gone(all, child);
	}
	return true;
}

static void describe_death(const struct workers *all, const struct child *child, int status)
{
	const char *rest = all->ordered && !all->stopping ? "; the others go on" : "";

	if (WIFSIGNALED(status))
		fprintf(stderr, "h3server: worker %u (pid %d) was killed by signal %d%s\n",
			child->worker.index, child->pid, WTERMSIG(status), rest);
	else if (WEXITSTATUS(status) != 0 || (!all->stopping && child->state != CHILD_DRAINED))
		fprintf(stderr, "h3server: worker %u (pid %d) ended with code %d%s\n",
			child->worker.index, child->pid, WEXITSTATUS(status), rest);
}

static void reap(struct workers *all)
{
	unsigned int i;
	int status;
	pid_t pid;

	while (take_report(all)) /* what those who ended have said before */
		;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (i = 0; i < all->count && all->children[i].pid != pid; i++)
			;
		if (i == all->count)
			continue;
		if (all->children[i].state != CHILD_STARTING)
			describe_death(all, &all->children[i], status);
		child_gone(all, &all->children[i]);
	}
}

static void take_signal(struct workers *all)
{
	struct signalfd_siginfo info;

	if (read(all->signals, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGCHLD)
		reap(all);
	else if (info.ssi_signo == SIGUSR1)
		order(all, ORDER_STATS);
	else if (info.ssi_signo != SIGHUP)
		stop(all);
}

static void take_order(struct workers *all)
{
	char what = ORDER_QUIT;

	if (read(all->birth->orders, &what, 1) == 1 && what == ORDER_STATS) {
		order(all, ORDER_STATS);
		return;
	}
	stop(all);
	close_fd(&all->birth->orders); /* after that, or without a supervisor, nothing comes */
}

static unsigned int count_alive(const struct workers *all)
{
	unsigned int i, n = 0;

	for (i = 0; i < all->count; i++)
		n += is_alive(&all->children[i]);
	return n;
}

static void watch_over(struct workers *all)
{
	while (count_alive(all) > 0) {
		struct pollfd fds[3] = { { all->reports[0], POLLIN, 0 },
					 { all->signals, POLLIN, 0 },
					 { all->birth->orders, POLLIN, 0 } };

		if (all->failed)
			stop(all);
		if (poll(fds, 3, -1) < 0)
			continue;
		if (fds[0].revents)
			take_report(all);
		if (fds[1].revents)
			take_signal(all);
		if (fds[2].revents)
			take_order(all);
	}
}

static void finish(struct workers *all)
{
	unsigned int i;

	for (i = 0; all->children && i < all->count; i++) {
		close_sockets(all, &all->children[i]);
		close_fd(&all->children[i].orders);
		close_fd(&all->children[i].worker.orders);
		express_close(&all->children[i].worker);
	}
	express_close_queues(&all->queues);
	close_fd(&all->reports[0]);
	close_fd(&all->reports[1]);
	close_fd(&all->signals);
	close_fd(&all->birth->orders);
	close_fd(&all->birth->reports);
	free(all->children);
}

int generation_run(const struct server *server, const struct identity *identity,
		   struct birth *birth)
{
	struct workers all = {
		.server = server,
		.identity = identity,
		.birth = birth,
		.count = server->options->workers,
		.reports = { -1, -1 },
		.signals = -1,
	};
	int code = 1;

	if (prepare(&all) == 0) {
		code = -1;
		if (server->options->threads)
			start_threads(&all);
		else
			code = start_processes(&all);
		if (code < 0) {
			watch_over(&all);
			code = !all.failed && (all.stopping || all.drained) ? 0 : 1;
		}
	}
	finish(&all);
	return code;
}

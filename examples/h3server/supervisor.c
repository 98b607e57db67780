// SPDX-License-Identifier: GPL-2.0-only
/*
 * The supervisor
 *
 *   supervisor ---- generation 0, drains ---- its workers, old binary
 *        |`-------- generation 1, serves ---- its workers, new binary
 *        `--------- ...
 *
 * A generation is one process of its own, which executes the binary that is on disk when it starts,
 * reads certificate and key, binds sockets, starts the workers, and gives its privilege up.  What
 * it takes to do that again is all that the supervisor keeps, and it never reads what comes from
 * outside.  It learns by reports when a generation serves; the old ones learn from cidsteer's
 * daemon that they drain, and end by themselves.  So a generation that does not come to serve
 * changes nothing.
 *
 * One generation starts at a time.  A SIGHUP meanwhile is remembered: when that start is over,
 * well or not, another one follows, because the binary may have changed since.
 */
#define _GNU_SOURCE 1
#include "h3server/supervisor.h"

#include "common/quic.h"
#include "h3server/birth.h"
#include "h3server/privilege.h"
#include "h3server/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

/* Longer than the library waits for the daemon; then a generation will never serve. */
#define START_S 30

enum generation_state {
	GENERATION_STARTS,
	GENERATION_SERVES,
	GENERATION_DRAINS
};

struct generation {
	struct generation *next; /* an older one */
	uint32_t number;
	enum generation_state state;
	pid_t pid;
	int orders;	/* our end of its pipe */
	uint64_t until; /* when it has to serve */
	bool late;	/* it did not, and was killed */
	int error;	/* why it was not executed; 0 */
};

struct supervisor {
	const struct options *options;
	const char *program;
	char **argv;
	struct generation *newest;
	uint32_t next;
	int reports[2];
	int signals;
	bool first;
	bool again; /* a SIGHUP that has started nothing yet */
	bool stopping;
	bool failed; /* nobody takes new connections, and nobody asked for that */
};

static int failed(const char *what, const char *reason)
{
	fprintf(stderr, "h3server: %s: %s\n", what, reason);
	return -1;
}

static struct generation *find(struct supervisor *s, enum generation_state state)
{
	struct generation *g = s->newest;

	while (g && g->state != state)
		g = g->next;
	return g;
}

/* A reload that failed: one line, and that nothing else has changed. */
static void reload_failed(struct supervisor *s, const char *what, const char *reason)
{
	const struct generation *old = find(s, GENERATION_SERVES);
	char rest[64] = "no generation serves";

	if (old)
		snprintf(rest, sizeof(rest), "generation %u goes on", old->number);
	fprintf(stderr, "h3server: reload: %s%s%s; %s\n", what, reason ? ": " : "",
		reason ? reason : "", rest);
}

/* ---- starting -------------------------------------------------------------------------------- */

/* Only these reach signalfd: they have to be blocked. */
static void signals_of(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
	sigaddset(set, SIGUSR1);
	sigaddset(set, SIGCHLD);
}

static int prepare(struct supervisor *s)
{
	sigset_t set;

	signals_of(&set);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return failed("sigprocmask", strerror(errno));
	signal(SIGPIPE, SIG_IGN); /* the order to a generation that has just gone */
	s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (s->signals < 0)
		return failed("signalfd", strerror(errno));
	if (pipe2(s->reports, O_CLOEXEC) < 0 || fcntl(s->reports[0], F_SETFL, O_NONBLOCK) < 0)
		return failed("pipe", strerror(errno));
	return privilege_restrict();
}

/* In the child: the same command line, the binary that has this path now. */
static void execute(struct supervisor *s, const struct birth *birth)
{
	sigset_t set;

	signals_of(&set);
	signal(SIGPIPE, SIG_DFL);
	if (birth_give(birth) == 0 && sigprocmask(SIG_UNBLOCK, &set, NULL) == 0)
		execv(s->program, s->argv);
	birth_report(birth, BIRTH_NOT_EXECUTED, errno);
	_exit(127);
}

/* Returns 0, or -1 after a message. */
static int start(struct supervisor *s, struct generation *g)
{
	int orders[2];
	struct birth birth = { .generation = g->number, .first = s->first };

	if (pipe2(orders, O_CLOEXEC) < 0)
		return failed("pipe", strerror(errno));
	birth.orders = orders[0];
	birth.reports = s->reports[1];
	fflush(NULL);
	g->pid = fork();
	if (g->pid == 0)
		execute(s, &birth);
	close(orders[0]);
	if (g->pid < 0) {
		close(orders[1]);
		return failed("fork", strerror(errno));
	}
	g->orders = orders[1];
	return 0;
}

static void start_generation(struct supervisor *s)
{
	struct generation *g = calloc(1, sizeof(*g));

	s->again = false;
	if (!g || (g->number = s->next, start(s, g)) < 0) {
		if (s->first)
			s->failed = true;
		else
			reload_failed(s, "no process can be started", NULL);
		free(g);
		return;
	}
	g->until = quic_now() + START_S * NGTCP2_SECONDS;
	g->next = s->newest;
	s->newest = g;
	s->first = false;
	/* 0 means that a worker never waits. */
	if (++s->next == 0)
		s->next = 1;
}

/* ---- what generations say, and how they end -------------------------------------------------- */

static void serves(struct supervisor *s, struct generation *g)
{
	struct generation *old;

	for (old = g->next; old; old = old->next)
		old->state = GENERATION_DRAINS;
	g->state = GENERATION_SERVES;
	s->failed = false;
}

/* Returns whether there was one. */
static bool take_report(struct supervisor *s)
{
	struct generation *g = find(s, GENERATION_STARTS);
	struct birth_report r;

	if (read(s->reports[0], &r, sizeof(r)) != sizeof(r))
		return false;
	if (!g || r.generation != g->number)
		return true;
	if (r.event == BIRTH_SERVES)
		serves(s, g);
	else if (r.event == BIRTH_NOT_EXECUTED)
		g->error = r.error;
	return true;
}

/* "was killed by signal 9", "ended with code 1" */
static const char *describe(int status, char text[64])
{
	if (WIFSIGNALED(status))
		snprintf(text, 64, "was killed by signal %d", WTERMSIG(status));
	else
		snprintf(text, 64, "ended with code %d", WEXITSTATUS(status));
	return text;
}

static void did_not_serve(struct supervisor *s, const struct generation *g, int status)
{
	bool reload = find(s, GENERATION_SERVES) || find(s, GENERATION_DRAINS);
	char text[64], what[128];

	if (s->stopping)
		return;
	s->failed |= !reload;
	if (g->late)
		snprintf(text, sizeof(text), "did not serve within %d s", START_S);
	else
		describe(status, text);
	snprintf(what, sizeof(what), "generation %u %s%s", g->number, text,
		 g->late ? "" : " before it served");
	if (g->error && reload)
		reload_failed(s, s->program, strerror(g->error));
	else if (g->error)
		failed(s->program, strerror(g->error));
	else if (reload)
		reload_failed(s, what, NULL);
	else if (WIFSIGNALED(status))
		failed("start", what);
	/* else it has said why itself */
}

static void ended(struct supervisor *s, const struct generation *g, int status)
{
	bool orderly = WIFEXITED(status) && WEXITSTATUS(status) == 0;
	char text[64];

	if (g->state == GENERATION_STARTS) {
		did_not_serve(s, g, status);
		return;
	}
	if (s->stopping) {
		s->failed |= !orderly;
	} else if (orderly) {
		printf("h3server: generation %u has drained\n", g->number);
		fflush(stdout);
	} else {
		s->failed |= g->state == GENERATION_SERVES;
		fprintf(stderr, "h3server: generation %u %s%s\n", g->number, describe(status, text),
			g->state == GENERATION_SERVES ? "; SIGHUP starts another" : "");
	}
}

static void reap(struct supervisor *s)
{
	struct generation **p, *g;
	int status;
	pid_t pid;

	while (take_report(s)) /* what those who ended have said before */
		;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (p = &s->newest; *p && (*p)->pid != pid; p = &(*p)->next)
			;
		g = *p;
		if (!g)
			continue;
		*p = g->next;
		ended(s, g, status);
		close(g->orders);
		free(g);
	}
}

/* ---- orders ---------------------------------------------------------------------------------- */

static void order(struct supervisor *s, char what)
{
	struct generation *g;

	for (g = s->newest; g; g = g->next)
		if (write(g->orders, &what, 1) < 0 && errno != EPIPE)
			failed("order", strerror(errno));
}

static void reload(struct supervisor *s)
{
	if (s->options->steer)
		s->again = true;
	else
		failed("reload", "without steering new sockets would take the packets of old "
				 "connections; nothing has changed");
}

static void take_signal(struct supervisor *s)
{
	struct signalfd_siginfo info;

	if (read(s->signals, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGCHLD) {
		reap(s);
	} else if (info.ssi_signo == SIGUSR1) {
		order(s, ORDER_STATS);
	} else if (info.ssi_signo == SIGHUP) {
		reload(s);
	} else if (!s->stopping) {
		order(s, ORDER_QUIT);
		s->stopping = true;
	}
}

/* A generation that neither serves nor ends: its workers end when their pipe does. */
static int wait_ms(struct generation *starting)
{
	uint64_t now = quic_now();

	if (!starting)
		return -1;
	if (now < starting->until)
		return (int)((starting->until - now) / NGTCP2_MILLISECONDS) + 1;
	starting->late = true;
	kill(starting->pid, SIGKILL);
	return -1;
}

static void supervise(struct supervisor *s)
{
	struct pollfd fds[2] = { { s->reports[0], POLLIN, 0 }, { s->signals, POLLIN, 0 } };

	while (s->newest || (s->again && !s->stopping)) {
		struct generation *starting = find(s, GENERATION_STARTS);

		if (s->again && !starting && !s->stopping) {
			start_generation(s);
			continue;
		}
		if (poll(fds, 2, wait_ms(starting)) <= 0)
			continue;
		if (fds[0].revents)
			take_report(s);
		if (fds[1].revents)
			take_signal(s);
	}
}

int supervisor_run(const struct options *options, char **argv)
{
	struct supervisor s = {
		.options = options,
		.program = (const char *)getauxval(AT_EXECFN), /* as it was named: maybe a link */
		.argv = argv,
		.next = options->generation,
		.reports = { -1, -1 },
		.signals = -1,
		.first = true,
		.again = true,
	};

	if (prepare(&s) < 0)
		return 1;
	supervise(&s);
	close(s.reports[0]);
	close(s.reports[1]);
	close(s.signals);
	return s.failed ? 1 : 0;
}

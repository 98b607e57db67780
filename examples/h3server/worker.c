// SPDX-License-Identifier: GPL-2.0-only
/* A worker's event loop. */
#define _GNU_SOURCE 1
#include "h3server/worker.h"

#include "common/quic.h"
#include "h3server/conn.h"
#include "h3server/express.h"
#include "h3server/steer.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* Datagrams from one socket before the others, and the senders, get their turn. */
#define BATCH 32
/* What is served in one round. */
#define EVENTS (MAX_LISTENERS + 3 + CIDSTEER_XSKS_MAX)

static int failed(const struct worker *worker, const char *what, const char *reason)
{
	fprintf(stderr, "h3server: worker %u: %s: %s\n", worker->index, what, reason);
	return -1;
}

static void report(const struct worker *worker, enum worker_event event)
{
	struct worker_report r = { (uint16_t)worker->index, (uint16_t)event };

	/* EPIPE: the generation's process is gone, and has to be told nothing any more. */
	if (write(worker->reports, &r, sizeof(r)) < 0 && errno != EPIPE)
		failed(worker, "report", strerror(errno));
}

int worker_listener(const struct worker *worker, const union addr *local)
{
	const struct options *options = worker->server->options;
	unsigned int i;

	for (i = 0; i < options->listeners; i++)
		if (addr_equal(&options->listen[i], local))
			return (int)i;
	for (i = 0; i < options->listeners; i++)
		if (addr_is_wildcard(&options->listen[i]) &&
		    options->listen[i].sa.sa_family == local->sa.sa_family &&
		    addr_port(&options->listen[i]) == addr_port(local))
			return (int)i;
	return -1;
}

static int send_udp(struct worker *worker, const ngtcp2_path *path, const uint8_t *bytes,
		    size_t len)
{
	union addr local = { 0 };
	int listener;

	memcpy(&local, path->local.addr, path->local.addrlen);
	listener = worker_listener(worker, &local);
	if (listener < 0)
		return -EADDRNOTAVAIL;
	return udp_send(worker->sockets[listener], path->local.addr, path->remote.addr,
			path->remote.addrlen, bytes, len);
}

void worker_send(struct worker *worker, const ngtcp2_path *path, const uint8_t *bytes, size_t len)
{
	if (express_send(worker, path, bytes, len) || send_udp(worker, path, bytes, len) == 0)
		worker->stats.datagrams_out++;
}

/* A version that we do not speak: name those that we do (RFC 9000, section 6.1). */
static void negotiate_version(struct worker *worker, const struct udp_datagram *in,
			      const ngtcp2_version_cid *cid)
{
	const uint32_t versions[] = { NGTCP2_PROTO_VER_V1 };
	ngtcp2_path path = {
		.local = { (struct sockaddr *)&in->local.sa, addr_len(&in->local) },
		.remote = { (struct sockaddr *)&in->remote.sa, addr_len(&in->remote) },
	};
	uint8_t bytes[QUIC_DATAGRAM_MAX], random;
	ngtcp2_ssize n;

	/* Answer nothing that is smaller than the answer might be. */
	if (in->len < NGTCP2_MAX_UDP_PAYLOAD_SIZE)
		return;
	quic_random(&random, sizeof(random));
	n = ngtcp2_pkt_write_version_negotiation(bytes, sizeof(bytes), random, cid->scid,
						 cid->scidlen, cid->dcid, cid->dcidlen, versions,
						 1);
	if (n > 0)
		worker_send(worker, &path, bytes, (size_t)n);
}

/*
 * A DCID that is not ours: of another worker's connection, or of none.  Neither is answered.
 * A stateless reset is right only if the connection is nobody's; the token is the same in all
 * workers, so sent for a stray it would end a healthy connection: with --gro each datagram of a
 * train but the first may be one.  A client whose connection is really gone finds out by its idle
 * timeout.
 */
static void unknown_cid(struct worker *worker, bool stray)
{
	if (stray)
		worker->stats.strays++;
	else
		worker->stats.unknown++;
}

static void take_long(struct worker *worker, struct udp_datagram *in)
{
	ngtcp2_version_cid cid;
	struct conn *conn;
	ngtcp2_pkt_hd hd;
	int err;

	err = ngtcp2_pkt_decode_version_cid(&cid, in->bytes, in->len, 0);
	if (err == NGTCP2_ERR_VERSION_NEGOTIATION) {
		negotiate_version(worker, in, &cid);
		return;
	}
	/* Version 0 is Version Negotiation, which servers do not get. */
	if (err || cid.version == 0)
		return;
	conn = cids_find(worker->cids, cid.dcid, cid.dcidlen);
	if (conn)
		conn_receive(conn, in);
	else if (ngtcp2_accept(&hd, in->bytes, in->len) == 0)
		conn_accept(worker, &hd, in);
	else
		unknown_cid(worker, cids_is_stray(worker->cids, cid.dcid, cid.dcidlen));
}

/* The DCID is behind the first octet (RFC 9000, section 17.3). */
static void take_short(struct worker *worker, struct udp_datagram *in)
{
	const uint8_t *cid = in->bytes + 1;
	size_t len = in->len - 1;
	struct conn *conn = cids_find_short(worker->cids, cid, len);

	if (conn)
		conn_receive(conn, in);
	else
		unknown_cid(worker, cids_is_short_stray(worker->cids, cid, len));
}

void worker_dispatch(struct worker *worker, struct udp_datagram *in)
{
	worker->stats.datagrams_in++;
	if (!in->len)
		return;
	if (in->bytes[0] & 0x80)
		take_long(worker, in);
	else
		take_short(worker, in);
}

static void receive(struct worker *worker, unsigned int listener)
{
	struct udp_train *train = worker->train;
	int i;

	for (i = 0; i < BATCH; i++) {
		int err = udp_receive(worker->sockets[listener],
				      &worker->server->options->listen[listener], train);
		struct udp_datagram *in;

		/* Anything but a datagram is an ICMP error, and those prove nothing. */
		if (err == -EAGAIN)
			return;
		worker->idle = false;
		if (err)
			continue;
		worker->stats.trains += train->segment < train->len;
		while ((in = udp_next(train)))
			worker_dispatch(worker, in);
	}
}

static void expire(struct worker *worker)
{
	uint64_t now = quic_now();
	struct conn *conn;

	/*
	 * Looking at every connection is cheap as long as it is rare: the bound may be early,
	 * when timers moved on, but it never lets one pass.
	 */
	if (now < worker->next_expiry)
		return;
	worker->next_expiry = UINT64_MAX;
	for (conn = worker->conns; conn; conn = conn->next) {
		if (conn->expiry <= now)
			conn_expired(conn);
		else if (conn->expiry < worker->next_expiry)
			worker->next_expiry = conn->expiry;
	}
}

static void flush(struct worker *worker)
{
	while (worker->touched) {
		struct conn *conn = worker->touched;

		worker->touched = conn->next_touched;
		conn_flush(conn);
	}
}

static void take_orders(struct worker *worker)
{
	char order = ORDER_QUIT;

	/* The end of the pipe: nobody would ever stop us. */
	if (read(worker->orders, &order, 1) < 0)
		return;
	if (order == ORDER_STATS) {
		stats_worker(&worker->stats);
	} else if (order == ORDER_READY) {
		if (steer_ready(worker) == 0)
			report(worker, WORKER_READY);
		else
			worker->failed = worker->stop = true;
	} else {
		worker->stop = true;
	}
}

static void take_signal(struct worker *worker, int fd)
{
	struct signalfd_siginfo info;

	if (read(fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGUSR1)
		stats_worker(&worker->stats);
	else if (info.ssi_signo != SIGHUP)
		worker->stop = true;
}

int worker_watch(struct worker *worker, int fd, uint32_t what)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u32 = what };

	if (fd < 0 || epoll_ctl(worker->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
		return failed(worker, "epoll", strerror(fd < 0 ? EBADF : errno));
	return 0;
}

/* Returns NULL for no limit. */
static struct timespec *limit_wait(const struct worker *worker, struct timespec *timeout)
{
	uint64_t now = quic_now(), until = worker->next_expiry, wait;

	if (express_until(worker) < until)
		until = express_until(worker);
	if (worker->draining && worker->drain_until < until)
		until = worker->drain_until;
	if (worker->draining && !worker->conns)
		until = now; /* only to see whether a datagram has come */
	if (until == UINT64_MAX)
		return NULL;
	wait = until > now ? until - now : 0;
	timeout->tv_sec = (time_t)(wait / NGTCP2_SECONDS);
	timeout->tv_nsec = (long)(wait % NGTCP2_SECONDS);
	return timeout;
}

static void wait_and_serve(struct worker *worker, int signals)
{
	struct epoll_event events[EVENTS];
	struct timespec timeout, *limit = limit_wait(worker, &timeout);
	int i, n;

	worker->idle = true;
	n = epoll_pwait2(worker->epoll, events, EVENTS, limit, NULL);
	for (i = 0; i < n; i++) {
		uint32_t what = events[i].data.u32;

		if (what < MAX_LISTENERS)
			receive(worker, what);
		else if (what == READY_ORDERS)
			take_orders(worker);
		else if (what == READY_STEER)
			steer_dispatch(worker);
		else if (what >= READY_LANE)
			express_receive(worker, what - READY_LANE, BATCH);
		else
			take_signal(worker, signals);
	}
	expire(worker);
	flush(worker);
	express_flush(worker);
	express_look(worker);
	steer_state(worker);
	if (steer_is_drained(worker))
		worker->stop = worker->drained = true;
}

/* The CPUs that it may run on are dealt out in turn. */
static int run_on_own_cpu(const struct worker *worker)
{
	unsigned int left;
	cpu_set_t set;
	int cpu = -1;

	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return failed(worker, "its CPUs", strerror(errno));
	left = (worker->index - 1) % CPU_COUNT(&set) + 1;
	while (left) {
		cpu++;
		left -= !!CPU_ISSET(cpu, &set);
	}
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		return failed(worker, "its CPU", strerror(errno));
	return 0;
}

static int prepare(struct worker *worker)
{
	const struct options *options = worker->server->options;
	unsigned int i;

	if (options->cpu && run_on_own_cpu(worker) < 0)
		return -1;
	worker->epoll = epoll_create1(EPOLL_CLOEXEC);
	worker->train = malloc(sizeof(*worker->train));
	if (worker->epoll < 0 || !worker->train)
		return failed(worker, "start", strerror(errno));
	for (i = 0; i < options->listeners; i++)
		if (worker_watch(worker, worker->sockets[i], i) < 0)
			return -1;
	if (worker_watch(worker, worker->orders, READY_ORDERS) < 0 || steer_open(worker) < 0)
		return -1;
	if (worker->steer && worker_watch(worker, cidsteer_fd(worker->steer), READY_STEER) < 0)
		return -1;
	worker->cids = cids_new(worker->steer, options->cid_length);
	if (!worker->cids)
		return failed(worker, "start", strerror(ENOMEM));
	express_look(worker);
	return 0;
}

/* The signals are blocked already, in every process of the server. */
static int open_signals(struct worker *worker)
{
	sigset_t set;
	int fd;

	if (!worker->is_process)
		return -1;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGHUP);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0 || worker_watch(worker, fd, READY_SIGNAL) < 0)
		worker->stop = true;
	return fd;
}

static void finish(struct worker *worker)
{
	unsigned int i;

	while (worker->conns)
		conn_shutdown(worker->conns);
	if (worker->cids)
		cids_free(worker->cids);
	express_flush(worker);
	cidsteer_close(worker->steer);
	express_close(worker);
	for (i = 0; i < worker->server->options->listeners; i++) {
		close(worker->sockets[i]);
		worker->sockets[i] = -1;
	}
	if (worker->epoll >= 0)
		close(worker->epoll);
	free(worker->train);
}

static void print_summary(const struct worker *worker)
{
	const struct stats *s = &worker->stats;

	printf("worker %u%s: %" PRIu64 " connections, %" PRIu64 " transfers, %" PRIu64
	       " path changes, %" PRIu64 " strays, %" PRIu64 " unknown\n",
	       worker->index, worker->drained ? ", drained" : "", s->connections, s->transfers,
	       s->path_changes, s->strays, s->unknown);
	fflush(stdout);
}

int worker_run(struct worker *worker)
{
	int signals = -1;

	worker->next_expiry = UINT64_MAX;
	worker->stats.fd = worker->server->stats;
	worker->stats.worker = worker->index;
	worker->stats.index = worker->server->options->first_worker + worker->index - 1;
	worker->stats.generation = worker->server->generation;
	if (prepare(worker) < 0) {
		finish(worker);
		report(worker, WORKER_FAILED);
		return -1;
	}
	signals = open_signals(worker);
	report(worker, WORKER_SERVES);
	while (!worker->stop)
		wait_and_serve(worker, signals);
	if (worker->drained)
		report(worker, WORKER_DRAINED);
	finish(worker);
	if (signals >= 0)
		close(signals);
	stats_worker(&worker->stats);
	print_summary(worker);
	report(worker, WORKER_ENDED);
	return worker->failed ? -1 : 0;
}

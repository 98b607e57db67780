// SPDX-License-Identifier: GPL-2.0-only
/*
 * Many connections in one loop
 *
 * A connection is looked at when one of its sockets is readable or its time has come; between, it
 * costs eight bytes to read.  One that breaks is counted, with its transfer, and followed by
 * another: never is a transfer tried a second time.
 */
#define _GNU_SOURCE 1
#include "h3client/busy.h"

#include "h3client/client.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#define EVENTS 256

/* --rate lets more pass after so long. */
#define TICK (20 * NGTCP2_MILLISECONDS)

/* A migration that was not possible is tried again; a connection that broke is replaced. */
#define RETRY (50 * NGTCP2_MILLISECONDS)

enum state {
	STATE_CLOSED, /* and to be opened when it is due */
	STATE_OPEN,
	STATE_LINGERS, /* so that the server knows that all of it arrived */
	STATE_OVER
};

struct connection {
	struct client client;
	enum state state;
	uint64_t requests;
	uint64_t until;	    /* of lingering */
	uint64_t change_at; /* UINT64_MAX: never */
	bool rebinds;	    /* else it migrates */
	bool begun;	    /* the request of this transfer is sent */
};

struct busy {
	struct options *options;
	struct busy_result *result;
	struct connection *connections;
	uint64_t *due; /* of each connection */
	unsigned int over;
	uint64_t end;
	int epoll;
};

static volatile sig_atomic_t told_to_end;

/* ---- one connection -------------------------------------------------------------------------- */

static void watch(struct busy *b, unsigned int i)
{
	struct path *path = b->connections[i].client.path;
	struct epoll_event event = { .events = EPOLLIN, .data.u32 = i };

	epoll_ctl(b->epoll, EPOLL_CTL_ADD, path->fd, &event);
}

/* What was received since the transfer began is counted once, at its end. */
static void count_transfer(struct busy *b, struct connection *c, bool complete)
{
	const struct client *client = &c->client;
	double gap = (double)client->longest_gap / NGTCP2_SECONDS;

	b->result->bytes += client->transfer.received;
	if (gap > b->result->longest_gap)
		b->result->longest_gap = gap;
	if (!c->begun)
		return;
	c->begun = false;
	if (complete)
		b->result->completed++;
	else
		b->result->lost++;
}

static void close_connection(struct busy *b, unsigned int i)
{
	struct connection *c = &b->connections[i];
	uint64_t now = quic_now();

	client_close(&c->client);
	client_free(&c->client);
	c->state = now < b->end ? STATE_CLOSED : STATE_OVER;
	b->over += c->state == STATE_OVER;
	b->due[i] = c->state == STATE_OVER ? UINT64_MAX : now;
}

static void broken(struct busy *b, unsigned int i)
{
	struct connection *c = &b->connections[i];

	char cid[2 * NGTCP2_MAX_CIDLEN + 1];

	b->result->broken++;
	fprintf(stderr, "h3client: connection %s: %s\n", quic_cid_hex(&c->client.first_dcid, cid),
		c->client.transfer.error);
	if (!b->result->error[0])
		snprintf(b->result->error, sizeof(b->result->error), "%s",
			 c->client.transfer.error);
	count_transfer(b, c, false);
	close_connection(b, i);
	if (c->state == STATE_CLOSED)
		b->due[i] += RETRY;
}

/* Spread over the interval, so that they do not all move at once. */
static uint64_t first_change(const struct busy *b, unsigned int i)
{
	uint64_t every = b->options->change_every_ms * NGTCP2_MILLISECONDS;

	return every ? quic_now() + every * (i + 1) / b->options->busy : UINT64_MAX;
}

static void open_connection(struct busy *b, unsigned int i)
{
	struct connection *c = &b->connections[i];

	b->result->connections++;
	c->state = STATE_OPEN;
	c->requests = 0;
	c->change_at = first_change(b, i);
	/* Not both by turns: then ngtcp2 0.12 soon exceeds its peer's limit of connection IDs. */
	c->rebinds = i % 2;
	if (client_open(&c->client, b->options) < 0 || client_flush(&c->client) < 0) {
		broken(b, i);
		return;
	}
	watch(b, i);
	b->due[i] = quic_now();
}

/* Returns 0 or -1. */
static int change_path(struct busy *b, unsigned int i)
{
	struct connection *c = &b->connections[i];
	int moved = 1;

	if (quic_now() < c->change_at)
		return 0;
	/* Before it is confirmed that the handshake is done, nobody may move (RFC 9000, 9). */
	if (c->requests == 0 && c->client.transfer.received == 0) {
		c->change_at = quic_now() + RETRY;
		return 0;
	}
	if (c->rebinds)
		moved = client_rebind(&c->client) < 0 ? -1 : 1;
	else
		moved = client_migrate(&c->client);
	if (moved < 0)
		return -1;
	if (moved == 0) {
		c->change_at = quic_now() + RETRY;
		return 0;
	}
	watch(b, i);
	if (c->rebinds)
		b->result->rebindings++;
	else
		b->result->migrations++;
	c->change_at = quic_now() + b->options->change_every_ms * NGTCP2_MILLISECONDS;
	return 0;
}

/* The transfer is complete: the next one, or the end of the connection.  Returns 0 or -1. */
static int completed(struct busy *b, struct connection *c)
{
	if (transfer_check(&c->client.transfer) < 0)
		return -1;
	count_transfer(b, c, true);
	c->requests++;
	if (quic_now() < b->end && (!b->options->requests || c->requests < b->options->requests)) {
		c->client.longest_gap = 0;
		return client_again(&c->client);
	}
	c->client.transfer.received = 0; /* is counted */
	c->state = STATE_LINGERS;
	c->until = quic_now() + CLIENT_LINGER;
	return 0;
}

/* Returns 0 or -1. */
static int go_on(struct busy *b, unsigned int i)
{
	struct connection *c = &b->connections[i];
	struct transfer *t = &c->client.transfer;

	if (client_advance(&c->client) < 0)
		return -1;
	if (c->state == STATE_OPEN && t->stream >= 0 && !c->begun) {
		c->begun = true;
		b->result->begun++;
	}
	if (c->state == STATE_OPEN && t->complete && !transfer_waits(t) && completed(b, c) < 0)
		return -1;
	if (c->state == STATE_OPEN && !t->complete && client_check_progress(&c->client) < 0)
		return -1;
	if (c->state == STATE_OPEN && change_path(b, i) < 0)
		return -1;
	return client_flush(&c->client);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t next_due(const struct busy *b, const struct connection *c)
{
	uint64_t due = ngtcp2_conn_get_expiry(c->client.h3.quic);

	if (c->state == STATE_LINGERS)
		return earlier(due, c->until);
	due = earlier(due, c->change_at);
	due = earlier(due, c->client.progress_at + b->options->stall_s * NGTCP2_SECONDS);
	/* The request of the next transfer goes out with the next round. */
	if (c->client.transfer.stream < 0 && c->client.h3.http)
		return quic_now();
	return transfer_waits(&c->client.transfer) ? earlier(due, quic_now() + TICK) : due;
}

static void look_at(struct busy *b, unsigned int i)
{
	struct connection *c = &b->connections[i];

	if (c->state == STATE_CLOSED)
		open_connection(b, i);
	else if (go_on(b, i) < 0)
		broken(b, i);
	else if (c->state == STATE_LINGERS && quic_now() >= c->until)
		close_connection(b, i);
	else
		b->due[i] = next_due(b, c);
}

/* ---- all of them ----------------------------------------------------------------------------- */

static void receive(struct busy *b, unsigned int i)
{
	struct connection *c = &b->connections[i];
	size_t n;

	/* Of an event of this round the connection may have gone since. */
	if (c->state != STATE_OPEN && c->state != STATE_LINGERS)
		return;
	b->due[i] = 0;
	for (n = 0; n < PATHS_MAX; n++)
		if (c->client.paths.path[n].fd >= 0 &&
		    client_receive(&c->client, &c->client.paths.path[n]) < 0) {
			broken(b, i);
			return;
		}
}

static void wait_and_receive(struct busy *b)
{
	struct epoll_event events[EVENTS];
	uint64_t next = UINT64_MAX, now = quic_now();
	struct timespec timeout;
	unsigned int i;
	int n;

	for (i = 0; i < b->options->busy; i++)
		next = earlier(next, b->due[i]);
	next = next > now ? next - now : 0;
	timeout.tv_sec = (time_t)(next / NGTCP2_SECONDS);
	timeout.tv_nsec = (long)(next % NGTCP2_SECONDS);
	n = epoll_pwait2(b->epoll, events, EVENTS, &timeout, NULL);
	while (n-- > 0)
		receive(b, events[n].data.u32);
}

static void run(struct busy *b)
{
	unsigned int i;

	while (b->over < b->options->busy) {
		uint64_t now;

		wait_and_receive(b);
		now = quic_now();
		if (told_to_end && now < b->end)
			b->end = now;
		for (i = 0; i < b->options->busy; i++) {
			if (b->due[i] > now)
				continue;
			look_at(b, i);
		}
	}
}

static void end(int signal)
{
	(void)signal;
	told_to_end = 1;
}

/* Two paths and a new one for each connection. */
static void raise_limit(unsigned int connections)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= 3 * connections + 16)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

int busy_run(struct options *options, struct busy_result *result)
{
	uint64_t start = quic_now();
	struct busy b = { .options = options, .result = result };

	memset(result, 0, sizeof(*result));
	raise_limit(options->busy);
	signal(SIGTERM, end);
	b.end = start + options->seconds * NGTCP2_SECONDS;
	b.connections = calloc(options->busy, sizeof(*b.connections));
	b.due = calloc(options->busy, sizeof(*b.due));
	b.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (b.connections && b.due && b.epoll >= 0)
		run(&b);
	else
		fprintf(stderr, "h3client: --busy: %s\n", strerror(errno));
	result->seconds = (double)(quic_now() - start) / NGTCP2_SECONDS;
	free(b.connections);
	free(b.due);
	if (b.epoll < 0)
		return -1;
	close(b.epoll);
	return b.over == options->busy ? 0 : -1;
}

// SPDX-License-Identifier: GPL-2.0-only
/* One connection, one transfer, and what happens in its course. */
#define _GNU_SOURCE 1
#include "h3client/once.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <time.h>

/* While --rate, a trigger or the end is awaited. */
#define TICK (10 * NGTCP2_MILLISECONDS)

static bool is_due(const struct client *client, const struct trigger *trigger)
{
	const struct transfer *t = &client->transfer;

	if (trigger->kind == TRIGGER_NONE || trigger->done || t->stream < 0)
		return false;
	if (trigger->kind == TRIGGER_PERCENT)
		return transfer_reached(t, trigger->value);
	return quic_now() - t->requested_at >= trigger->value * NGTCP2_MILLISECONDS;
}

static int fire_triggers(struct client *client)
{
	struct options *options = client->options;

	if (is_due(client, &options->report)) {
		options->report.done = true;
		printf("at %" PRIu64 "%%\n", options->report.value);
		fflush(stdout);
	}
	if (client->transfer.complete)
		return 0; /* too late: what has not happened by now proves nothing */
	if (is_due(client, &options->rebind)) {
		if (client_rebind(client) < 0)
			return -1;
		options->rebind.done = true;
	}
	if (is_due(client, &options->migrate)) {
		/* Until it is possible, try again with the next tick. */
		int moved = client_migrate(client);

		if (moved < 0)
			return -1;
		options->migrate.done = moved;
	}
	return 0;
}

static void wait_ready(struct client *client, struct pollfd *fds, uint64_t until)
{
	uint64_t now = quic_now(), wait = until > now ? until - now : 0;
	struct timespec timeout = { (time_t)(wait / NGTCP2_SECONDS),
				    (long)(wait % NGTCP2_SECONDS) };
	size_t i;

	for (i = 0; i < PATHS_MAX; i++) {
		fds[i].fd = client->paths.path[i].fd; /* poll() passes over -1 */
		fds[i].events = POLLIN;
		fds[i].revents = 0;
	}
	ppoll(fds, PATHS_MAX, &timeout, NULL);
}

/* One round of the loop.  Returns 0, or -1 when the connection has failed. */
static int serve(struct client *client)
{
	uint64_t expiry = ngtcp2_conn_get_expiry(client->h3.quic), tick = quic_now() + TICK;
	struct pollfd fds[PATHS_MAX];
	size_t i;

	wait_ready(client, fds, expiry < tick ? expiry : tick);
	for (i = 0; i < PATHS_MAX; i++)
		if (fds[i].revents && client_receive(client, &client->paths.path[i]) < 0)
			return -1;
	if (client_advance(client) < 0 || fire_triggers(client) < 0)
		return -1;
	return client_flush(client);
}

/* Returns 0, or -1 when it makes no sense to wait any longer. */
static int check_time(struct client *client)
{
	const struct options *options = client->options;

	if (client_check_progress(client) < 0)
		return -1;
	if (quic_now() - client->started_at < options->timeout_s * NGTCP2_SECONDS)
		return 0;
	return client_failed(client, "not complete within %u s, after %" PRIu64 " bytes",
			     options->timeout_s, transfer_progress(&client->transfer));
}

static int transfer_all(struct client *client)
{
	uint64_t until;

	if (client_flush(client) < 0)
		return -1;
	while (!client->transfer.complete)
		if (serve(client) < 0 || check_time(client) < 0)
			return -1;
	if (transfer_check(&client->transfer) < 0)
		return -1;
	if ((client->options->rebind.kind && !client->options->rebind.done) ||
	    (client->options->migrate.kind && !client->options->migrate.done))
		return client_failed(client, "the transfer was over before the path changed");
	client->ended_at = quic_now();
	/* So that the server knows that all of it arrived. */
	for (until = quic_now() + CLIENT_LINGER; quic_now() < until;)
		if (serve(client) < 0)
			return -1;
	return 0;
}

int once_run(struct client *client, struct options *options)
{
	int err = client_open(client, options);

	if (!err)
		err = transfer_all(client);
	if (!client->ended_at)
		client->ended_at = quic_now();
	client_close(client);
	return err;
}

// SPDX-License-Identifier: GPL-2.0-only
/*
 * A worker and cidsteer's daemon
 *
 * The daemon says who takes new connections, so it also says when a worker drains: not before the
 * new connections go elsewhere.  A worker whose daemon is away goes on as it was.
 */
#include "h3server/steer.h"

#include "common/quic.h"
#include "h3server/express.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int said(const struct worker *worker, const char *what)
{
	fprintf(stderr, "h3server: worker %u: cidsteer: %s\n", worker->index, what);
	return -1;
}

static void get_state(const struct worker *worker, struct cidsteer_state *state)
{
	memset(state, 0, sizeof(*state));
	state->size = sizeof(*state);
	cidsteer_get_state(worker->steer, state);
}

/* A daemon that has just come may have given us an id. */
static void connection_changed(struct worker *worker)
{
	struct cidsteer_state state;

	get_state(worker, &state);
	worker->connected = state.connected;
	if (state.state != CIDSTEER_UNSTEERED)
		worker->stats.worker = cidsteer_worker_id(worker->steer);
}

int steer_open(struct worker *worker)
{
	const struct options *options = worker->server->options;
	struct cidsteer_options o = CIDSTEER_OPTIONS_INIT;
	char error[256] = "";
	int err;

	if (!options->steer)
		return 0;
	o.control = options->control;
	o.generation = worker->server->generation;
	o.cpu = options->cpu ? CIDSTEER_CPU_OWN : 0;
	o.error = error;
	o.error_size = sizeof(error);
	/* Beside older workers a new one that is not steered would take their packets. */
	if (options->without_daemon && worker->server->first)
		o.cid_length = options->cid_length;
	err = cidsteer_open(&worker->steer, options->service, worker->sockets, options->listeners,
			    &o);
	if (err) {
		worker->steer = NULL;
		fprintf(stderr, "h3server: worker %u: service %s: %s\n", worker->index,
			options->service, error[0] ? error : strerror(-err));
		return -1;
	}
	connection_changed(worker);
	if (!worker->connected)
		fprintf(stderr, "h3server: worker %u: not steered: %s\n", worker->index,
			cidsteer_error(worker->steer));
	return 0;
}

void steer_dispatch(struct worker *worker)
{
	bool was_connected = worker->connected;
	int err = cidsteer_dispatch(worker->steer);

	connection_changed(worker);
	if (err == -ENOTCONN)
		said(worker, "the daemon is gone; packets go on being routed");
	else if (worker->connected && !was_connected)
		said(worker, "the daemon is there");
	if (err == CIDSTEER_REISSUE)
		cids_reissue(worker->cids);
	else if (err == CIDSTEER_NO_XSKS)
		express_untold(worker);
}

int steer_ready(struct worker *worker)
{
	int err = worker->steer ? cidsteer_ready(worker->steer) : 0;

	/* No answer is no reason to end: whoever is active in the end, all of them serve. */
	if (err == -ENOTCONN || err == -ETIMEDOUT)
		return 0;
	return err ? said(worker, err == -ESTALE ? "a newer generation is ready" : strerror(-err)) :
		     0;
}

static void start_draining(struct worker *worker)
{
	uint32_t seconds = worker->server->options->drain_seconds;

	worker->draining = true;
	worker->drain_until = seconds ? quic_now() + seconds * NGTCP2_SECONDS : UINT64_MAX;
}

void steer_state(struct worker *worker)
{
	struct cidsteer_state state;

	if (!worker->steer || worker->stop)
		return;
	get_state(worker, &state);
	if (state.state == CIDSTEER_EXPELLED) {
		said(worker, "expelled, its connections cannot be reached any more");
		worker->stop = true;
		worker->drained = true;
	} else if (state.state == CIDSTEER_DRAINING && !worker->draining) {
		start_draining(worker);
	} else if (state.state != CIDSTEER_DRAINING) {
		worker->draining = false;
	}
}

/*
 * What the kernel gave to our socket before the new connections went elsewhere is still ours, so
 * not before a round in which nothing came.
 */
bool steer_is_drained(const struct worker *worker)
{
	return worker->draining &&
	       ((!worker->conns && worker->idle) || quic_now() >= worker->drain_until);
}

// SPDX-License-Identifier: GPL-2.0-only
/* Datagrams through the lanes. */
#include "h3server/express.h"

#include <string.h>

#define KICK_EVERY 32 /* frames; the kernel copies as many with one call */

/* ---- receiving ------------------------------------------------------------------------------- */

/*
 * A path must have one name, whether its packets come through here or through the UDP socket: so
 * its addresses are as the socket that covers them would tell.  Returns whether there is one.
 */
static bool name_as_socket(const struct worker *worker, struct frame_ends *ends, uint32_t ifindex)
{
	const struct options *options = worker->server->options;
	union addr local = ends->local;
	int listener = worker_listener(worker, &local);

	if (listener < 0) {
		addr_map(&local);
		listener = worker_listener(worker, &local);
	}
	if (listener < 0)
		return false;
	if (options->listen[listener].sa.sa_family == AF_INET6) {
		addr_map(&ends->local);
		addr_map(&ends->remote);
		if (IN6_IS_ADDR_LINKLOCAL(&ends->remote.in6.sin6_addr))
			ends->remote.in6.sin6_scope_id = ifindex;
		ends->local.in6.sin6_scope_id = options->listen[listener].in6.sin6_scope_id;
	}
	return true;
}

static void take_frame(struct worker *worker, unsigned int lane, const uint8_t *bytes, size_t len)
{
	struct express *express = worker->express;
	const uint8_t *payload;
	struct udp_datagram in;
	struct frame_ends ends;
	int n = frame_parse(&ends, &payload, bytes, len);

	if (n < 0 ||
	    !name_as_socket(worker, &ends, express->devices[express->lanes[lane].device].index))
		return;
	/* Before it is known whether the datagram is worth anything: its answer needs it. */
	neighbors_learn(&express->neighbors, &ends, lane);
	in = (struct udp_datagram){
		.local = ends.local,
		.remote = ends.remote,
		.bytes = (uint8_t *)payload,
		.len = (size_t)n,
	};
	worker->stats.xsk_in++;
	worker_dispatch(worker, &in);
}

void express_receive(struct worker *worker, unsigned int lane, unsigned int most)
{
	struct xsk *xsk = worker->express->lanes[lane].xsk;
	const uint8_t *bytes;
	size_t len;

	while (most-- && (bytes = xsk_next(xsk, &len))) {
		worker->idle = false;
		take_frame(worker, lane, bytes, len);
	}
	xsk_give_back(xsk);
}

/* ---- sending --------------------------------------------------------------------------------- */

/* Of a lane that is full the kernel may have taken something meanwhile. */
static uint8_t *room_in(struct xsk *xsk)
{
	uint8_t *room = xsk_room(xsk);

	if (room)
		return room;
	xsk_kick(xsk);
	return xsk_room(xsk);
}

bool express_send(struct worker *worker, const ngtcp2_path *path, const uint8_t *bytes, size_t len)
{
	struct express *express = worker->express;
	union addr local = { 0 }, remote = { 0 };
	const struct neighbor *to;
	const struct lane *lane;
	uint8_t *room;
	size_t size;

	if (!express)
		return false;
	memcpy(&local, path->local.addr, path->local.addrlen);
	memcpy(&remote, path->remote.addr, path->remote.addrlen);
	to = neighbors_find(&express->neighbors, &local, &remote);
	lane = to ? &express->lanes[to->lane] : NULL;
	room = lane && lane->bound ? room_in(lane->xsk) : NULL;
	if (!room)
		return false;
	size = frame_build(room, XSK_FRAME, &to->ends, bytes, len);
	if (!size || size > FRAME_ETHERNET + express->devices[lane->device].mtu)
		return false;
	xsk_send(lane->xsk, size);
	worker->stats.xsk_out++;
	if (worker->stats.xsk_out % KICK_EVERY == 0)
		xsk_kick(lane->xsk);
	return true;
}

void express_flush(struct worker *worker)
{
	struct express *express = worker->express;
	unsigned int i;

	if (!express)
		return;
	express->pending = false;
	for (i = 0; i < express->count; i++)
		if (express->lanes[i].bound)
			express->pending |= xsk_kick(express->lanes[i].xsk);
}

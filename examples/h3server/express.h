/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * --io xsk: datagrams through AF_XDP sockets, past the stack, beside the UDP sockets
 *
 *   XDP ---- queue 0 of s0 ----> lane 0 --.
 *       `--- queue 1 of s0 ----> lane 1 ---> worker_dispatch()
 *       `--- anything else ----> stack ---> UDP sockets -^
 *
 * A lane is a worker's socket on one queue of one interface.
 *
 * Workers that are threads (--threads) have a lane on every queue each: those of one queue share
 * its memory, and the kernel gives each packet to the worker that its connection ID names.
 * Workers that are processes share no memory, and a queue has one: so worker i of n has the queues
 * q with q % n == i - 1.  What comes in on another worker's queue reaches it through the stack and
 * its UDP socket.
 *
 * An answer leaves as the latest packet of its path came: on that interface and queue, to that MAC
 * address.  If nothing is known, the datagram is too large or the lane is full, the UDP socket
 * sends it.
 *
 * All is opened before the privilege is dropped (common/xsk.h); to bind takes none.  So a queue
 * that is taken, by an old generation that drains, is tried again each second.
 */
#ifndef H3SERVER_EXPRESS_H
#define H3SERVER_EXPRESS_H

#include "common/device.h"
#include "common/xsk.h"
#include "h3server/neighbors.h"
#include "h3server/worker.h"

#include <cidsteer/cidsteer.h>

/* The interfaces of --io, and the queues that this process has of them. */
struct express_queues {
	struct device devices[MAX_INTERFACES];
	struct {
		struct xsk_queue *memory;
		unsigned int device; /* of @devices */
		uint32_t number;
	} queues[CIDSTEER_XSKS_MAX];
	unsigned int devices_count, count;
};

struct lane {
	struct xsk *xsk; /* NULL: the interface is gone */
	unsigned int device;
	uint32_t queue;
	bool bound;
};

struct express {
	struct device devices[MAX_INTERFACES];
	unsigned int missing[MAX_INTERFACES]; /* lanes that are not bound, as was last said */
	unsigned int devices_count;
	struct lane lanes[CIDSTEER_XSKS_MAX];
	unsigned int count;
	struct neighbors neighbors;
	uint64_t next_look; /* at interfaces, queues that are taken, the daemon */
	bool untold;	    /* the daemon does not know our sockets as they are */
	bool refused;	    /* it has refused them, and that was said */
	bool pending;	    /* a lane has something to send that the kernel did not take */
};

/* express_find - the interfaces of --io; there may be none.  Returns 0, or -1 after a message. */
int express_find(struct express_queues *queues, const struct options *options);

/*
 * express_open_queues - for the workers of this process
 * @first, @every:	of each interface the queues @first, @first + @every, ...
 * @workers:		that express_open() will be called for
 *
 * Returns 0, or -1 after a message.
 */
int express_open_queues(struct express_queues *queues, unsigned int first, unsigned int every,
			unsigned int workers);

/* After all workers of this process. */
void express_close_queues(struct express_queues *queues);

/* express_open - the worker's lanes, if there is --io xsk.  Returns 0, or -1 after a message. */
int express_open(struct worker *worker, const struct express_queues *queues);

/* What follows may be called for every worker, also without --io xsk. */
void express_close(struct worker *worker);

/* express_look - in each round: once a second does what could not be done before */
void express_look(struct worker *worker);

/* express_untold - the daemon does not have the sockets any more */
void express_untold(struct worker *worker);

/* When to call express_look() or express_flush() next; UINT64_MAX: no need. */
uint64_t express_until(const struct worker *worker);

/* Hands what has come to worker_dispatch(), @most datagrams. */
void express_receive(struct worker *worker, unsigned int lane, unsigned int most);

/* Returns false if the UDP socket has to send it. */
bool express_send(struct worker *worker, const ngtcp2_path *path, const uint8_t *bytes, size_t len);

/* At the end of each round: the kernel sends what express_send() took. */
void express_flush(struct worker *worker);

#endif

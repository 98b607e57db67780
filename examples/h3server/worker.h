/* SPDX-License-Identifier: GPL-2.0-only */
/* One worker: its sockets, its connections, and its event loop. */
#ifndef H3SERVER_WORKER_H
#define H3SERVER_WORKER_H

#include "h3server/cids.h"
#include "h3server/options.h"
#include "h3server/stats.h"
#include "h3server/udp.h"

#include <gnutls/gnutls.h>

#define RESET_SECRET_BYTES 32

/* What all workers of a generation share; none of them changes it. */
struct server {
	const struct options *options;
	gnutls_certificate_credentials_t credentials;
	uint32_t generation;
	bool first;				  /* of this server; there were no workers before */
	uint8_t reset_secret[RESET_SECRET_BYTES]; /* key of stateless reset tokens */
	int root;				  /* directory of --root, or -1 */
	int stats;				  /* file of --stats, or -1 */
};

/* Orders, one byte each: from the supervisor to a generation, from there to its workers. */
#define ORDER_QUIT 'q'
#define ORDER_READY 'r' /* to workers only: all of them serve */
#define ORDER_STATS 's'

/* Messages to the generation's process; short enough for a pipe to keep them whole. */
enum worker_event {
	WORKER_SERVES = 1,
	WORKER_READY,
	WORKER_DRAINED, /* it will end, because nothing is left to do */
	WORKER_FAILED,
	WORKER_ENDED
};
struct worker_report {
	uint16_t index;
	uint16_t event; /* enum worker_event */
};

/* What became ready: a listener's index, or one of these. */
enum {
	READY_ORDERS = MAX_LISTENERS,
	READY_STEER,
	READY_SIGNAL,
	READY_LANE /* and those that follow */
};

struct express;

struct worker {
	const struct server *server;
	unsigned int index;	    /* 1 .. workers */
	int sockets[MAX_LISTENERS]; /* in the order of --listen */
	int orders;		    /* pipe; its end means that nobody is there to give any */
	int reports;		    /* pipe */
	bool is_process;	    /* has signals of its own */
	bool stop;
	bool failed; /* it ends, and not as it should */

	struct cidsteer *steer; /* NULL with --no-steer */
	bool connected;		/* to the daemon */
	bool draining;
	bool drained;
	bool idle;	      /* no datagram came in this round */
	uint64_t drain_until; /* UINT64_MAX: as long as connections last */
	struct cids *cids;
	struct conn *conns;   /* all */
	struct conn *touched; /* those that may have something to send */
	uint64_t next_expiry; /* no connection's timer ends earlier */
	int epoll;
	struct udp_train *train;
	struct express *express; /* NULL with --io udp */
	struct stats stats;
};

/* worker_run - serve until told to stop, or drained; returns 0, or -1 after a message */
int worker_run(struct worker *worker);

/* A datagram that has come in, from whatever socket. */
void worker_dispatch(struct worker *worker, struct udp_datagram *in);

/* The listener that covers @local, or -1. */
int worker_listener(const struct worker *worker, const union addr *local);

/* Has its event loop look at @fd.  Returns 0, or -1 after a message. */
int worker_watch(struct worker *worker, int fd, uint32_t what);

/* Sends the way that the path's packets come, else from the socket that @local belongs to. */
void worker_send(struct worker *worker, const ngtcp2_path *path, const uint8_t *bytes, size_t len);

#endif

/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A connection, from its first Initial until its last ID is retired
 *
 *   open ---- error, or the server stops ----> closing --.
 *    | \                                                  3 PTO --> over
 *    |  `---- CONNECTION_CLOSE came ---------> draining -'            ^
 *    `------- idle timeout, nothing to say ---------------------------'
 *
 * In closing and draining (RFC 9000, section 10.2) packets of the client still come, and must
 * come here: the IDs stay issued until the period is over.
 */
#ifndef H3SERVER_CONN_H
#define H3SERVER_CONN_H

#include "common/h3.h"
#include "h3server/worker.h"

enum conn_state {
	CONN_OPEN,
	CONN_CLOSING,
	CONN_DRAINING,
	CONN_OVER
};

struct request;

struct conn {
	struct h3 h3; /* first: ngtcp2 knows it by this address */
	struct worker *worker;
	struct conn *prev; /* of all connections of the worker */
	struct conn *next;
	struct conn *next_touched;
	bool touched;
	enum conn_state state;
	uint64_t expiry;
	struct cid_entry *cids;
	ngtcp2_cid first_dcid; /* the client's choice: the name of this connection in the stats */
	union addr local;      /* the path that was validated last: here, */
	union addr peer;       /* and there */
	struct request *requests;

	ngtcp2_path_storage close_path;
	size_t close_len;
	uint8_t close_bytes[NGTCP2_MAX_UDP_PAYLOAD_SIZE];
	unsigned int close_seen; /* datagrams since closing began */
};

/* conn_accept - the first datagram of a client; @hd is its Initial's header */
void conn_accept(struct worker *worker, const ngtcp2_pkt_hd *hd, struct udp_datagram *datagram);

void conn_receive(struct conn *conn, struct udp_datagram *datagram);

/* Its timer has expired. */
void conn_expired(struct conn *conn);

/* Has something to send, or a new timer: conn_flush() at the end of this round. */
void conn_touch(struct conn *conn);

/* Sends what may be sent and sets the timer.  Frees @conn if it is over. */
void conn_flush(struct conn *conn);

/* Tells the client and frees @conn at once: the server stops. */
void conn_shutdown(struct conn *conn);

#endif

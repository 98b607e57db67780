// SPDX-License-Identifier: GPL-2.0-only
/* The life of a connection. */
#include "h3server/conn.h"

#include "h3server/http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STREAM_WINDOW (1024 * 1024)
#define IDLE_S 30

static struct conn *conn_of(struct h3 *h3)
{
	return (struct conn *)h3;
}

/* A token that any worker could compute again from the ID (RFC 9000, section 10.3.2). */
static int reset_token(struct conn *conn, const ngtcp2_cid *cid, uint8_t *token)
{
	return ngtcp2_crypto_generate_stateless_reset_token(token,
							    conn->worker->server->reset_secret,
							    RESET_SECRET_BYTES, cid);
}

/*
 * Both of them, ID and token, are going into a NEW_CONNECTION_ID frame.  To fail would end the
 * connection, which does without as long as its client keeps the ID that it has.
 */
static int get_new_connection_id(ngtcp2_conn *quic, ngtcp2_cid *cid, uint8_t *token, size_t len,
				 void *user)
{
	struct conn *conn = conn_of(user);
	struct cids *cids = conn->worker->cids;

	(void)quic;
	if (cids_issue(cids, conn, cid, len) && cids_go_without(cids, conn, cid, len))
		return NGTCP2_ERR_CALLBACK_FAILURE;
	if (reset_token(conn, cid, token))
		return NGTCP2_ERR_CALLBACK_FAILURE;
	return 0;
}

/* RETIRE_CONNECTION_ID: the client sends no more packets with it. */
static int remove_connection_id(ngtcp2_conn *quic, const ngtcp2_cid *cid, void *user)
{
	struct conn *conn = conn_of(user);

	(void)quic;
	cids_retire(conn->worker->cids, conn, cid);
	return 0;
}

/* From now on the client uses the IDs that it got from us (RFC 9000, section 7.2). */
static int handshake_completed(ngtcp2_conn *quic, void *user)
{
	struct conn *conn = conn_of(user);

	(void)quic;
	cids_retire(conn->worker->cids, conn, &conn->first_dcid);
	return 0;
}

/*
 * ngtcp2 also validates the path that a client has left, in case an attacker moved it; only
 * the path in use counts.
 */
static int path_validation(ngtcp2_conn *quic, uint32_t flags, const ngtcp2_path *path,
			   ngtcp2_path_validation_result result, void *user)
{
	struct conn *conn = conn_of(user);
	union addr local = { 0 }, peer = { 0 };

	(void)flags;
	if (result != NGTCP2_PATH_VALIDATION_RESULT_SUCCESS ||
	    !ngtcp2_path_eq(path, ngtcp2_conn_get_path(quic)))
		return 0;
	memcpy(&local, path->local.addr, path->local.addrlen);
	memcpy(&peer, path->remote.addr, path->remote.addrlen);
	if (addr_equal(&local, &conn->local) && addr_equal(&peer, &conn->peer))
		return 0;
	conn->local = local;
	conn->peer = peer;
	conn->worker->stats.path_changes++;
	if (conn->worker->steer)
		cidsteer_report_path_change(conn->worker->steer);
	http_path_changed(conn);
	return 0;
}

static ngtcp2_path path_of(struct udp_datagram *datagram)
{
	ngtcp2_path path = {
		.local = { &datagram->local.sa, addr_len(&datagram->local) },
		.remote = { &datagram->remote.sa, addr_len(&datagram->remote) },
	};
	return path;
}

static int set_preferred_address(struct conn *conn, ngtcp2_transport_params *params, size_t len)
{
	const struct options *options = conn->worker->server->options;
	ngtcp2_preferred_addr *preferred = &params->preferred_address;

	if (!options->has_preferred)
		return 0;
	if (cids_issue(conn->worker->cids, conn, &preferred->cid, len) ||
	    reset_token(conn, &preferred->cid, preferred->stateless_reset_token))
		return -1;
	if (options->preferred.sa.sa_family == AF_INET) {
		preferred->ipv4 = options->preferred.in;
		preferred->ipv4_present = 1;
	} else {
		preferred->ipv6 = options->preferred.in6;
		preferred->ipv6_present = 1;
	}
	params->preferred_address_present = 1;
	return 0;
}

static int create_quic(struct conn *conn, const ngtcp2_pkt_hd *hd, struct udp_datagram *datagram)
{
	ngtcp2_path path = path_of(datagram);
	ngtcp2_transport_params params;
	ngtcp2_callbacks callbacks;
	ngtcp2_settings settings;
	ngtcp2_cid scid;

	h3_callbacks(&callbacks, 1);
	callbacks.get_new_connection_id = get_new_connection_id;
	callbacks.remove_connection_id = remove_connection_id;
	callbacks.handshake_completed = handshake_completed;
	callbacks.path_validation = path_validation;
	quic_limits(&settings, &params, STREAM_WINDOW, IDLE_S);
	if (cids_issue_first(conn->worker->cids, conn, &scid))
		return -1;
	params.original_dcid = hd->dcid;
	params.stateless_reset_token_present = 1;
	if (reset_token(conn, &scid, params.stateless_reset_token) ||
	    set_preferred_address(conn, &params, scid.datalen) < 0)
		return -1;
	return ngtcp2_conn_server_new(&conn->h3.quic, &hd->scid, &scid, &path, hd->version,
				      &callbacks, &settings, &params, NULL, &conn->h3) ?
		       -1 :
		       0;
}

static int start_http(struct h3 *h3)
{
	return http_start(conn_of(h3));
}

static void conn_link(struct conn *conn)
{
	struct worker *worker = conn->worker;

	conn->next = worker->conns;
	if (conn->next)
		conn->next->prev = conn;
	worker->conns = conn;
}

static void conn_free(struct conn *conn)
{
	if (conn->prev)
		conn->prev->next = conn->next;
	else
		conn->worker->conns = conn->next;
	if (conn->next)
		conn->next->prev = conn->prev;
	http_over(conn);
	cids_retire_all(conn->worker->cids, conn);
	h3_free(&conn->h3);
	free(conn);
}

void conn_accept(struct worker *worker, const ngtcp2_pkt_hd *hd, struct udp_datagram *datagram)
{
	struct conn *conn = calloc(1, sizeof(*conn));

	if (!conn)
		return;
	h3_init(&conn->h3, start_http);
	conn->worker = worker;
	conn->first_dcid = hd->dcid;
	conn->local = datagram->local;
	conn->peer = datagram->remote;
	conn->expiry = UINT64_MAX;
	conn_link(conn);
	/* No answer to a client that finds no room here: it will try again. */
	if (cids_issue_provisional(worker->cids, conn, &hd->dcid) ||
	    create_quic(conn, hd, datagram) < 0 ||
	    quic_tls_session(&conn->h3.tls, worker->server->credentials, &conn->h3.ref, 1) < 0) {
		conn_free(conn);
		return;
	}
	ngtcp2_conn_set_tls_native_handle(conn->h3.quic, conn->h3.tls);
	worker->stats.connections++;
	stats_connection(&worker->stats, &conn->first_dcid);
	conn_receive(conn, datagram);
}

void conn_touch(struct conn *conn)
{
	if (conn->touched)
		return;
	conn->touched = true;
	conn->next_touched = conn->worker->touched;
	conn->worker->touched = conn;
}

/* No request goes on; IDs are kept for three PTO (RFC 9000, section 10.2). */
static void leave(struct conn *conn, enum conn_state state)
{
	conn->state = state;
	conn->expiry = quic_now() + 3 * ngtcp2_conn_get_pto(conn->h3.quic);
	http_over(conn);
}

static void send_close(struct conn *conn)
{
	worker_send(conn->worker, &conn->close_path.path, conn->close_bytes, conn->close_len);
}

static void start_closing(struct conn *conn)
{
	conn->close_len = h3_write_close(&conn->h3, &conn->close_path, conn->close_bytes,
					 sizeof(conn->close_bytes));
	leave(conn, conn->close_len > 0 ? CONN_CLOSING : CONN_OVER);
	if (conn->state == CONN_CLOSING)
		send_close(conn);
}

/* What an error of ngtcp2 means for the connection. */
static void failed(struct conn *conn, int err)
{
	switch (err) {
	case NGTCP2_ERR_DRAINING:
		leave(conn, CONN_DRAINING);
		break;
	case NGTCP2_ERR_RETRY: /* the Initial is no valid one */
	case NGTCP2_ERR_DROP_CONN:
	case NGTCP2_ERR_IDLE_CLOSE: /* both sides know: no packet, no period */
	case NGTCP2_ERR_HANDSHAKE_TIMEOUT:
		conn->state = CONN_OVER;
		break;
	default:
		start_closing(conn);
	}
}

/* Ever fewer answers to a client that goes on sending (RFC 9000, section 10.2.1). */
static void receive_while_closing(struct conn *conn)
{
	conn->close_seen++;
	if ((conn->close_seen & (conn->close_seen - 1)) == 0)
		send_close(conn);
}

void conn_receive(struct conn *conn, struct udp_datagram *datagram)
{
	ngtcp2_path path = path_of(datagram);
	int err;

	if (conn->state == CONN_CLOSING)
		receive_while_closing(conn);
	if (conn->state != CONN_OPEN)
		return;
	err = h3_read(&conn->h3, &path, datagram->bytes, datagram->len);
	if (err)
		failed(conn, err);
	conn_touch(conn);
}

void conn_expired(struct conn *conn)
{
	int err = 0;

	if (conn->state == CONN_OPEN)
		err = ngtcp2_conn_handle_expiry(conn->h3.quic, quic_now());
	else
		conn->state = CONN_OVER;
	if (err)
		failed(conn, err);
	conn_touch(conn);
}

static void send_one(struct h3 *h3, const ngtcp2_path *path, const uint8_t *bytes, size_t len)
{
	worker_send(conn_of(h3)->worker, path, bytes, len);
}

void conn_flush(struct conn *conn)
{
	struct worker *worker = conn->worker;
	int err;

	conn->touched = false;
	if (conn->state == CONN_OPEN) {
		err = h3_write(&conn->h3, send_one);
		if (err)
			failed(conn, err);
	}
	if (conn->state == CONN_OVER) {
		conn_free(conn);
		return;
	}
	if (conn->state == CONN_OPEN)
		conn->expiry = ngtcp2_conn_get_expiry(conn->h3.quic);
	if (conn->expiry < worker->next_expiry)
		worker->next_expiry = conn->expiry;
}

void conn_shutdown(struct conn *conn)
{
	if (conn->state == CONN_OPEN) {
		h3_end(&conn->h3);
		start_closing(conn);
	}
	conn_free(conn);
}

// SPDX-License-Identifier: GPL-2.0-only
/* nghttp3 on top of ngtcp2, the same for server and client. */
#include "common/h3.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MAX_VECS 16

static ngtcp2_conn *ref_conn(ngtcp2_crypto_conn_ref *ref)
{
	return ((struct h3 *)ref->user_data)->quic;
}

void h3_init(struct h3 *h3, int (*start_http)(struct h3 *h3))
{
	memset(h3, 0, sizeof(*h3));
	h3->ref.get_conn = ref_conn;
	h3->ref.user_data = h3;
	h3->start_http = start_http;
	ngtcp2_connection_close_error_default(&h3->error);
}

/* An error of nghttp3: the connection is closed with the HTTP/3 code for it. */
static int http_failed(struct h3 *h3, int err)
{
	ngtcp2_connection_close_error_set_application_error(
		&h3->error, nghttp3_err_infer_quic_app_error_code(err), NULL, 0);
	return NGTCP2_ERR_CALLBACK_FAILURE;
}

/* An error of ngtcp2, unless something more precise was said before. */
static int quic_failed(struct h3 *h3, int err)
{
	if (h3->error.error_code)
		return err;
	if (err == NGTCP2_ERR_CRYPTO)
		ngtcp2_connection_close_error_set_transport_error_tls_alert(
			&h3->error, ngtcp2_conn_get_tls_alert(h3->quic), NULL, 0);
	else
		ngtcp2_connection_close_error_set_transport_error_liberr(&h3->error, err, NULL, 0);
	return err;
}

void h3_consumed(struct h3 *h3, int64_t stream, size_t len)
{
	/* A stream that is closed by now needs no credit; the connection does. */
	ngtcp2_conn_extend_max_stream_offset(h3->quic, stream, len);
	ngtcp2_conn_extend_max_offset(h3->quic, len);
}

static int recv_stream_data(ngtcp2_conn *quic, uint32_t flags, int64_t stream, uint64_t offset,
			    const uint8_t *data, size_t len, void *user, void *stream_user)
{
	struct h3 *h3 = user;
	nghttp3_ssize n;

	(void)quic, (void)offset, (void)stream_user;
	if (!h3->http)
		return 0;
	n = nghttp3_conn_read_stream(h3->http, stream, data, len,
				     flags & NGTCP2_STREAM_DATA_FLAG_FIN);
	if (n < 0)
		return http_failed(h3, (int)n);
	/* These were frame headers; bodies are consumed by who reads them. */
	h3_consumed(h3, stream, (size_t)n);
	return 0;
}

static int acked_stream_data(ngtcp2_conn *quic, int64_t stream, uint64_t offset, uint64_t len,
			     void *user, void *stream_user)
{
	struct h3 *h3 = user;
	int err;

	(void)quic, (void)offset, (void)stream_user;
	if (!h3->http)
		return 0;
	err = nghttp3_conn_add_ack_offset(h3->http, stream, len);
	return err ? http_failed(h3, err) : 0;
}

static int stream_close(ngtcp2_conn *quic, uint32_t flags, int64_t stream, uint64_t code,
			void *user, void *stream_user)
{
	struct h3 *h3 = user;
	int err;

	(void)stream_user;
	if (!(flags & NGTCP2_STREAM_CLOSE_FLAG_APP_ERROR_CODE_SET))
		code = NGHTTP3_H3_NO_ERROR;
	if (ngtcp2_conn_is_server(quic) && ngtcp2_is_bidi_stream(stream))
		ngtcp2_conn_extend_max_streams_bidi(quic, 1);
	if (!h3->http)
		return 0;
	err = nghttp3_conn_close_stream(h3->http, stream, code);
	return err && err != NGHTTP3_ERR_STREAM_NOT_FOUND ? http_failed(h3, err) : 0;
}

static int stream_reset(ngtcp2_conn *quic, int64_t stream, uint64_t final_size, uint64_t code,
			void *user, void *stream_user)
{
	struct h3 *h3 = user;

	(void)quic, (void)final_size, (void)code, (void)stream_user;
	if (h3->http && nghttp3_conn_shutdown_stream_read(h3->http, stream))
		return NGTCP2_ERR_CALLBACK_FAILURE;
	return 0;
}

static int stream_stop_sending(ngtcp2_conn *quic, int64_t stream, uint64_t code, void *user,
			       void *stream_user)
{
	return stream_reset(quic, stream, 0, code, user, stream_user);
}

static int extend_max_stream_data(ngtcp2_conn *quic, int64_t stream, uint64_t max, void *user,
				  void *stream_user)
{
	struct h3 *h3 = user;

	(void)quic, (void)max, (void)stream_user;
	if (h3->http && nghttp3_conn_unblock_stream(h3->http, stream))
		return NGTCP2_ERR_CALLBACK_FAILURE;
	return 0;
}

/* A PRIORITY_UPDATE may name a stream that is not there yet; nghttp3 asks how far that may go. */
static int extend_max_streams(ngtcp2_conn *quic, uint64_t max, void *user)
{
	struct h3 *h3 = user;

	(void)quic;
	if (h3->http)
		nghttp3_conn_set_max_client_streams_bidi(h3->http, max);
	return 0;
}

/*
 * The server may send, the client receive, before the handshake is complete: the server's
 * control stream can be in its first packets.
 */
static int recv_key(ngtcp2_conn *quic, ngtcp2_crypto_level level, void *user)
{
	struct h3 *h3 = user;

	(void)quic;
	return level == NGTCP2_CRYPTO_LEVEL_APPLICATION ? h3->start_http(h3) : 0;
}

void h3_callbacks(ngtcp2_callbacks *callbacks, int server)
{
	memset(callbacks, 0, sizeof(*callbacks));
	quic_crypto_callbacks(callbacks, server);
	if (server) {
		callbacks->recv_tx_key = recv_key;
		callbacks->extend_max_remote_streams_bidi = extend_max_streams;
	} else {
		callbacks->recv_rx_key = recv_key;
	}
	callbacks->recv_stream_data = recv_stream_data;
	callbacks->acked_stream_data_offset = acked_stream_data;
	callbacks->stream_close = stream_close;
	callbacks->stream_reset = stream_reset;
	callbacks->stream_stop_sending = stream_stop_sending;
	callbacks->extend_max_stream_data = extend_max_stream_data;
}

int h3_start_http(struct h3 *h3, const nghttp3_callbacks *callbacks, int server, void *user)
{
	nghttp3_settings settings;
	int64_t control, encoder, decoder;
	int err;

	if (h3->http)
		return 0;
	nghttp3_settings_default(&settings);
	settings.max_field_section_size = 16 * 1024;
	err = server ? nghttp3_conn_server_new(&h3->http, callbacks, &settings, NULL, user) :
		       nghttp3_conn_client_new(&h3->http, callbacks, &settings, NULL, user);
	if (err)
		return http_failed(h3, err);
	if (server)
		nghttp3_conn_set_max_client_streams_bidi(
			h3->http,
			ngtcp2_conn_get_local_transport_params(h3->quic)->initial_max_streams_bidi);
	if (ngtcp2_conn_open_uni_stream(h3->quic, &control, NULL) ||
	    ngtcp2_conn_open_uni_stream(h3->quic, &encoder, NULL) ||
	    ngtcp2_conn_open_uni_stream(h3->quic, &decoder, NULL))
		return http_failed(h3, NGHTTP3_ERR_FATAL);
	err = nghttp3_conn_bind_control_stream(h3->http, control);
	if (!err)
		err = nghttp3_conn_bind_qpack_streams(h3->http, encoder, decoder);
	return err ? http_failed(h3, err) : 0;
}

int h3_read(struct h3 *h3, const ngtcp2_path *path, const uint8_t *bytes, size_t len)
{
	ngtcp2_pkt_info info = { 0 };
	int err = ngtcp2_conn_read_pkt(h3->quic, path, &info, bytes, len, quic_now());

	return err ? quic_failed(h3, err) : 0;
}

/* What nghttp3 wants to send next: a stream, or -1 for none. */
struct pending {
	int64_t stream;
	int fin;
	ngtcp2_vec vecs[MAX_VECS];
	size_t count;
};

static int pending_get(struct h3 *h3, struct pending *p)
{
	nghttp3_vec vecs[MAX_VECS];
	nghttp3_ssize n = 0;

	p->stream = -1;
	p->fin = 0;
	if (h3->http && ngtcp2_conn_get_max_data_left(h3->quic) > 0)
		n = nghttp3_conn_writev_stream(h3->http, &p->stream, &p->fin, vecs, MAX_VECS);
	if (n < 0)
		return http_failed(h3, (int)n);
	for (p->count = 0; p->count < (size_t)n; p->count++) {
		p->vecs[p->count].base = vecs[p->count].base;
		p->vecs[p->count].len = vecs[p->count].len;
	}
	return 0;
}

/*
 * One call of ngtcp2 and what it means for nghttp3.  Returns the length of a packet that is
 * complete, 0 when nothing more can be sent, NGTCP2_ERR_WRITE_MORE when the packet has room,
 * or an error.
 */
static ngtcp2_ssize write_some(struct h3 *h3, ngtcp2_path *path, uint8_t *bytes, size_t size,
			       uint64_t now)
{
	uint32_t flags = NGTCP2_WRITE_STREAM_FLAG_MORE;
	ngtcp2_pkt_info info;
	ngtcp2_ssize taken, n;
	struct pending p;
	int err = pending_get(h3, &p);

	if (err)
		return err;
	if (p.fin)
		flags |= NGTCP2_WRITE_STREAM_FLAG_FIN;
	n = ngtcp2_conn_writev_stream(h3->quic, path, &info, bytes, size, &taken, flags, p.stream,
				      p.vecs, p.count, now);
	if (n == NGTCP2_ERR_STREAM_DATA_BLOCKED) {
		nghttp3_conn_block_stream(h3->http, p.stream);
		return NGTCP2_ERR_WRITE_MORE;
	}
	if (n == NGTCP2_ERR_STREAM_SHUT_WR || n == NGTCP2_ERR_STREAM_NOT_FOUND) {
		nghttp3_conn_shutdown_stream_write(h3->http, p.stream);
		return NGTCP2_ERR_WRITE_MORE;
	}
	if (taken >= 0 && (n >= 0 || n == NGTCP2_ERR_WRITE_MORE) && p.stream >= 0) {
		err = nghttp3_conn_add_write_offset(h3->http, p.stream, (size_t)taken);
		if (err)
			return http_failed(h3, err);
	}
	return n;
}

int h3_write(struct h3 *h3, h3_send send)
{
	size_t quantum = ngtcp2_conn_get_send_quantum(h3->quic);
	uint8_t bytes[QUIC_DATAGRAM_MAX];
	uint64_t now = quic_now();
	ngtcp2_path_storage path;
	size_t sent = 0;

	ngtcp2_path_storage_zero(&path);
	/* Stop at the send quantum: ngtcp2's pacing says by its timer when to go on. */
	while (sent < quantum) {
		ngtcp2_ssize n = write_some(h3, &path.path, bytes, sizeof(bytes), now);

		if (n == NGTCP2_ERR_WRITE_MORE)
			continue;
		if (n < 0)
			return quic_failed(h3, (int)n);
		if (n == 0)
			break;
		send(h3, &path.path, bytes, (size_t)n);
		sent += (size_t)n;
	}
	ngtcp2_conn_update_pkt_tx_time(h3->quic, now);
	return 0;
}

void h3_end(struct h3 *h3)
{
	if (h3->error.error_code == 0)
		ngtcp2_connection_close_error_set_application_error(&h3->error, NGHTTP3_H3_NO_ERROR,
								    NULL, 0);
}

void h3_describe_close(struct h3 *h3, char *text, size_t size)
{
	ngtcp2_connection_close_error e;

	ngtcp2_conn_get_connection_close_error(h3->quic, &e);
	snprintf(text, size, "%s error 0x%" PRIx64,
		 e.type == NGTCP2_CONNECTION_CLOSE_ERROR_CODE_TYPE_APPLICATION ? "HTTP/3" : "QUIC",
		 e.error_code);
}

size_t h3_write_close(struct h3 *h3, ngtcp2_path_storage *path, uint8_t *bytes, size_t size)
{
	ngtcp2_pkt_info info;
	ngtcp2_ssize n;

	ngtcp2_path_storage_zero(path);
	n = ngtcp2_conn_write_connection_close(h3->quic, &path->path, &info, bytes, size,
					       &h3->error, quic_now());
	return n < 0 ? 0 : (size_t)n;
}

void h3_free(struct h3 *h3)
{
	nghttp3_conn_del(h3->http);
	ngtcp2_conn_del(h3->quic);
	if (h3->tls)
		gnutls_deinit(h3->tls);
	h3->http = NULL;
	h3->quic = NULL;
	h3->tls = NULL;
}

nghttp3_nv h3_field(const char *name, const char *value)
{
	nghttp3_nv nv = { (uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value),
			  NGHTTP3_NV_FLAG_NONE };
	return nv;
}

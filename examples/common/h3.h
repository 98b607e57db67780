/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One HTTP/3 connection, of either side: nghttp3 on top of ngtcp2
 *
 * Knows nothing of sockets, of requests, or of who issues connection IDs: server and client
 * embed a struct h3, add their own callbacks, and send what h3_write() hands them.
 */
#ifndef EXAMPLES_COMMON_H3_H
#define EXAMPLES_COMMON_H3_H

#include "common/quic.h"

#include <nghttp3/nghttp3.h>

struct h3 {
	ngtcp2_crypto_conn_ref ref;
	ngtcp2_conn *quic;  /* its user data is this struct */
	nghttp3_conn *http; /* NULL until the keys for requests are there */
	gnutls_session_t tls;
	ngtcp2_connection_close_error error; /* what to tell the peer, once something failed */
	int (*start_http)(struct h3 *h3);    /* the keys for requests are there: h3_start_http() */
};

/* Sends one datagram; what cannot be sent is lost, and QUIC's loss recovery repeats it. */
typedef void (*h3_send)(struct h3 *h3, const ngtcp2_path *path, const uint8_t *bytes, size_t len);

/* Prepares @h3 for quic_tls_session() and ngtcp2_conn_*_new(). */
void h3_init(struct h3 *h3, int (*start_http)(struct h3 *h3));

/* Callbacks between ngtcp2 and nghttp3, and those of the crypto library. */
void h3_callbacks(ngtcp2_callbacks *callbacks, int server);

/*
 * h3_start_http - create nghttp3's side and its three unidirectional streams
 *
 * Call it from @h3->start_http.  Returns 0, or NGTCP2_ERR_CALLBACK_FAILURE.
 */
int h3_start_http(struct h3 *h3, const nghttp3_callbacks *callbacks, int server, void *user);

/* The application is done with @len bytes of a stream: the peer may send as many more. */
void h3_consumed(struct h3 *h3, int64_t stream, size_t len);

/*
 * h3_read - take in one datagram
 *
 * Returns 0 or an error of ngtcp2_conn_read_pkt(); @h3->error is then what to close with.
 */
int h3_read(struct h3 *h3, const ngtcp2_path *path, const uint8_t *bytes, size_t len);

/*
 * h3_write - send what may be sent now
 *
 * Returns 0 or an error of ngtcp2; @h3->error is then what to close with.
 */
int h3_write(struct h3 *h3, h3_send send);

/* All is well, and the connection ends: what h3_write_close() will say, unless it failed. */
void h3_end(struct h3 *h3);

/* Why the peer closed the connection, as in "HTTP/3 error 0x100". */
void h3_describe_close(struct h3 *h3, char *text, size_t size);

/*
 * h3_write_close - the packet that closes the connection with @h3->error
 *
 * Returns its length, or 0 when there is none to send.
 */
size_t h3_write_close(struct h3 *h3, ngtcp2_path_storage *path, uint8_t *bytes, size_t size);

void h3_free(struct h3 *h3);

/* A header field that nghttp3 must copy. */
nghttp3_nv h3_field(const char *name, const char *value);

#endif

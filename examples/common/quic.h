/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What differs from one release of ngtcp2 to the next, in one place
 *
 * Written for ngtcp2 0.12 with its GnuTLS crypto library.  Later releases renamed the crypto
 * levels, the close error and a few transport parameters: the first two are used in h3.c only,
 * the parameters here, in conn.c's create_quic() and set_preferred_address().
 */
#ifndef EXAMPLES_COMMON_QUIC_H
#define EXAMPLES_COMMON_QUIC_H

#include <stddef.h>
#include <stdint.h>

#include <gnutls/gnutls.h>
#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>

/* No datagram that this project's examples send is longer: path MTU discovery ends at 1452. */
#define QUIC_DATAGRAM_MAX 1500

/* The clock of all timestamps, in nanoseconds. */
uint64_t quic_now(void);

/* Unpredictable bytes, fit for connection IDs and for keys. */
void quic_random(void *bytes, size_t len);

void quic_cid_random(ngtcp2_cid *cid, size_t len);

/* "8f1c02..." into @text, which holds 2 * NGTCP2_MAX_CIDLEN + 1 bytes; returns @text. */
char *quic_cid_hex(const ngtcp2_cid *cid, char *text);

/* The callbacks that TLS and packet protection need, as the crypto library provides them. */
void quic_crypto_callbacks(ngtcp2_callbacks *callbacks, int server);

/*
 * quic_limits - settings and transport parameters that both sides start from
 * @window:	flow control of one stream, in bytes; a connection may have four times as much
 * @idle_s:	seconds without a packet after which the connection is over
 */
void quic_limits(ngtcp2_settings *settings, ngtcp2_transport_params *params, uint64_t window,
		 unsigned int idle_s);

/*
 * quic_tls_session - a TLS 1.3 session for QUIC that speaks ALPN "h3" and nothing else
 * @ref:	how the crypto library finds the connection; lives as long as the session
 *
 * Returns 0, or a negative GnuTLS error.
 */
int quic_tls_session(gnutls_session_t *session, gnutls_certificate_credentials_t credentials,
		     ngtcp2_crypto_conn_ref *ref, int server);

#endif

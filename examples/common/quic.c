// SPDX-License-Identifier: GPL-2.0-only
/* The glue between ngtcp2 0.12, GnuTLS and the examples. */
#include "common/quic.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <gnutls/crypto.h>
#include <ngtcp2/ngtcp2_crypto_gnutls.h>

/*
 * TLS 1.3 alone, without the middlebox compatibility that RFC 9001, section 8.4, forbids, and
 * with the cipher suites that ngtcp2's packet protection knows.
 */
static const char priority[] =
	"NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM:"
	"+CHACHA20-POLY1305:+AES-128-CCM:-GROUP-ALL:+GROUP-X25519:"
	"+GROUP-SECP256R1:+GROUP-SECP384R1:%DISABLE_TLS13_COMPAT_MODE";

uint64_t quic_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NGTCP2_SECONDS + (uint64_t)ts.tv_nsec;
}

void quic_random(void *bytes, size_t len)
{
	/* GnuTLS notices a fork, so no two workers draw the same bytes. */
	if (gnutls_rnd(GNUTLS_RND_RANDOM, bytes, len) < 0)
		abort();
}

void quic_cid_random(ngtcp2_cid *cid, size_t len)
{
	uint8_t bytes[NGTCP2_MAX_CIDLEN];

	quic_random(bytes, len);
	ngtcp2_cid_init(cid, bytes, len);
}

char *quic_cid_hex(const ngtcp2_cid *cid, char *text)
{
	static const char digits[] = "0123456789abcdef";
	size_t i;

	for (i = 0; i < cid->datalen; i++) {
		text[2 * i] = digits[cid->data[i] >> 4];
		text[2 * i + 1] = digits[cid->data[i] & 15];
	}
	text[2 * i] = '\0';
	return text;
}

/* ngtcp2 uses these bytes outside of cryptography only. */
static void random_bytes(uint8_t *dest, size_t len, const ngtcp2_rand_ctx *ctx)
{
	(void)ctx;
	if (gnutls_rnd(GNUTLS_RND_NONCE, dest, len) < 0)
		abort();
}

void quic_crypto_callbacks(ngtcp2_callbacks *callbacks, int server)
{
	if (server) {
		callbacks->recv_client_initial = ngtcp2_crypto_recv_client_initial_cb;
	} else {
		callbacks->client_initial = ngtcp2_crypto_client_initial_cb;
		callbacks->recv_retry = ngtcp2_crypto_recv_retry_cb;
	}
	callbacks->recv_crypto_data = ngtcp2_crypto_recv_crypto_data_cb;
	callbacks->encrypt = ngtcp2_crypto_encrypt_cb;
	callbacks->decrypt = ngtcp2_crypto_decrypt_cb;
	callbacks->hp_mask = ngtcp2_crypto_hp_mask_cb;
	callbacks->update_key = ngtcp2_crypto_update_key_cb;
	callbacks->delete_crypto_aead_ctx = ngtcp2_crypto_delete_crypto_aead_ctx_cb;
	callbacks->delete_crypto_cipher_ctx = ngtcp2_crypto_delete_crypto_cipher_ctx_cb;
	callbacks->get_path_challenge_data = ngtcp2_crypto_get_path_challenge_data_cb;
	callbacks->version_negotiation = ngtcp2_crypto_version_negotiation_cb;
	callbacks->rand = random_bytes;
}

void quic_limits(ngtcp2_settings *settings, ngtcp2_transport_params *params, uint64_t window,
		 unsigned int idle_s)
{
	ngtcp2_settings_default(settings);
	settings->initial_ts = quic_now();

	ngtcp2_transport_params_default(params);
	params->initial_max_stream_data_bidi_local = window;
	params->initial_max_stream_data_bidi_remote = window;
	params->initial_max_stream_data_uni = 64 * 1024;
	params->initial_max_data = 4 * window;
	params->initial_max_streams_bidi = 64;
	params->initial_max_streams_uni = 3; /* control, QPACK encoder, QPACK decoder */
	params->max_idle_timeout = idle_s * NGTCP2_SECONDS;
	params->active_connection_id_limit = 7; /* each new path takes one */
}

int quic_tls_session(gnutls_session_t *session, gnutls_certificate_credentials_t credentials,
		     ngtcp2_crypto_conn_ref *ref, int server)
{
	gnutls_datum_t alpn = { (unsigned char *)"h3", 2 };
	/* Without tickets there is no 0-RTT, and no key that workers would have to share. */
	unsigned int flags = GNUTLS_NO_END_OF_EARLY_DATA | GNUTLS_NO_TICKETS |
			     (server ? GNUTLS_SERVER | GNUTLS_NO_AUTO_SEND_TICKET : GNUTLS_CLIENT);
	int err = gnutls_init(session, flags);

	if (err < 0)
		return err;
	err = gnutls_priority_set_direct(*session, priority, NULL);
	if (err >= 0)
		err = gnutls_credentials_set(*session, GNUTLS_CRD_CERTIFICATE, credentials);
	if (err >= 0)
		err = gnutls_alpn_set_protocols(*session, &alpn, 1, GNUTLS_ALPN_MANDATORY);
	if (err >= 0)
		err = server ? ngtcp2_crypto_gnutls_configure_server_session(*session) :
			       ngtcp2_crypto_gnutls_configure_client_session(*session);
	if (err < 0) {
		gnutls_deinit(*session);
		*session = NULL;
		return err;
	}
	gnutls_session_set_ptr(*session, ref);
	return 0;
}

// SPDX-License-Identifier: GPL-2.0-only
/* The server's certificate. */
#include "h3server/tls.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include <gnutls/crypto.h>
#include <gnutls/x509.h>

#define VALID_S (14 * 24 * 3600)

static int failed(const char *what, int err)
{
	fprintf(stderr, "h3server: %s: %s\n", what, gnutls_strerror(err));
	return -1;
}

static int name_certificate(gnutls_x509_crt_t crt)
{
	static const unsigned char loopback4[] = { 127, 0, 0, 1 };
	static const unsigned char loopback6[16] = { [15] = 1 };
	int err = gnutls_x509_crt_set_dn(crt, "CN=h3server", NULL);

	if (err >= 0)
		err = gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_DNSNAME, "localhost", 9,
							   GNUTLS_FSAN_SET);
	if (err >= 0)
		err = gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, loopback4,
							   sizeof(loopback4), GNUTLS_FSAN_APPEND);
	if (err >= 0)
		err = gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, loopback6,
							   sizeof(loopback6), GNUTLS_FSAN_APPEND);
	return err;
}

static int fill_certificate(gnutls_x509_crt_t crt, gnutls_x509_privkey_t key)
{
	time_t now = time(NULL);
	unsigned char serial[16];
	int err;

	err = gnutls_rnd(GNUTLS_RND_NONCE, serial, sizeof(serial));
	serial[0] = (serial[0] & 0x7f) | 1; /* positive and not zero (RFC 5280, 4.1.2.2) */
	if (err >= 0)
		err = gnutls_x509_crt_set_serial(crt, serial, sizeof(serial));
	if (err >= 0)
		err = gnutls_x509_crt_set_version(crt, 3);
	if (err >= 0)
		err = name_certificate(crt);
	if (err >= 0)
		err = gnutls_x509_crt_set_activation_time(crt, now - 3600);
	if (err >= 0)
		err = gnutls_x509_crt_set_expiration_time(crt, now + VALID_S);
	if (err >= 0)
		err = gnutls_x509_crt_set_key_usage(crt, GNUTLS_KEY_DIGITAL_SIGNATURE);
	if (err >= 0)
		err = gnutls_x509_crt_set_key(crt, key);
	if (err >= 0)
		err = gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA256, 0);
	return err;
}

/* The form in which Chromium takes --ignore-certificate-errors-spki-list. */
static void print_fingerprint(gnutls_x509_crt_t crt)
{
	unsigned char id[64];
	size_t size = sizeof(id);
	gnutls_datum_t raw = { id, 0 }, text;

	if (gnutls_x509_crt_get_key_id(crt, GNUTLS_KEYID_USE_SHA256, id, &size) < 0)
		return;
	raw.size = (unsigned int)size;
	if (gnutls_base64_encode2(&raw, &text) < 0)
		return;
	printf("h3server: self-signed certificate, SPKI SHA-256 %.*s\n", (int)text.size, text.data);
	gnutls_free(text.data);
}

static int make_certificate(gnutls_certificate_credentials_t credentials)
{
	gnutls_x509_privkey_t key = NULL;
	gnutls_x509_crt_t crt = NULL;
	int err = gnutls_x509_privkey_init(&key);

	if (err >= 0)
		err = gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA,
						   GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1),
						   0);
	if (err >= 0)
		err = gnutls_x509_crt_init(&crt);
	if (err >= 0)
		err = fill_certificate(crt, key);
	if (err >= 0)
		err = gnutls_certificate_set_x509_key(credentials, &crt, 1, key);
	if (err >= 0)
		print_fingerprint(crt);
	if (crt)
		gnutls_x509_crt_deinit(crt);
	if (key)
		gnutls_x509_privkey_deinit(key);
	return err;
}

int tls_credentials(gnutls_certificate_credentials_t *credentials, const char *cert,
		    const char *key)
{
	int err = gnutls_certificate_allocate_credentials(credentials);

	if (err < 0)
		return failed("TLS credentials", err);
	if (cert)
		err = gnutls_certificate_set_x509_key_file(*credentials, cert, key,
							   GNUTLS_X509_FMT_PEM);
	else
		err = make_certificate(*credentials);
	if (err < 0) {
		gnutls_certificate_free_credentials(*credentials);
		*credentials = NULL;
		return failed(cert ? cert : "self-signed certificate", err);
	}
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-only */
/* The server's certificate: from files, or made up at start. */
#ifndef H3SERVER_TLS_H
#define H3SERVER_TLS_H

#include <gnutls/gnutls.h>

/*
 * tls_credentials - read @cert and @key, or make a self-signed certificate if they are NULL
 *
 * Call it before there are workers, so that all of them present the same certificate.
 * Returns 0, or -1 after a message.
 */
int tls_credentials(gnutls_certificate_credentials_t *credentials, const char *cert,
		    const char *key);

#endif

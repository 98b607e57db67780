/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The bytes behind /bytes/N, and SHA-256
 *
 * Byte i of every such body is the same on every machine and needs no state, so a client
 * knows what it must receive without having been told, and a server can start anywhere.
 */
#ifndef EXAMPLES_COMMON_PATTERN_H
#define EXAMPLES_COMMON_PATTERN_H

#include <stddef.h>
#include <stdint.h>

#include <gnutls/crypto.h>

/* Longest body that is generated. */
#define PATTERN_MAX (UINT64_C(1) << 40)

#define SHA256_BYTES 32
#define SHA256_TEXT (2 * SHA256_BYTES + 1)

void pattern_fill(uint64_t offset, uint8_t *bytes, size_t len);

/* NULL when there is no memory. */
gnutls_hash_hd_t sha256_new(void);

/* Ends @hash, which may be NULL, and writes its value in hexadecimal. */
void sha256_text(gnutls_hash_hd_t hash, char text[SHA256_TEXT]);

#endif

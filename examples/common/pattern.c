// SPDX-License-Identifier: GPL-2.0-only
/* Generated bodies: word i is SplitMix64 of i, little endian. */
#include "common/pattern.h"

#include <endian.h>
#include <stdio.h>
#include <string.h>

static uint64_t pattern_word(uint64_t index)
{
	uint64_t z = (index + 1) * UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return htole64(z ^ (z >> 31));
}

void pattern_fill(uint64_t offset, uint8_t *bytes, size_t len)
{
	while (len > 0) {
		uint64_t word = pattern_word(offset / 8);
		size_t skip = offset % 8;
		size_t n = 8 - skip < len ? 8 - skip : len;

		memcpy(bytes, (uint8_t *)&word + skip, n);
		offset += n;
		bytes += n;
		len -= n;
	}
}

gnutls_hash_hd_t sha256_new(void)
{
	gnutls_hash_hd_t hash;

	return gnutls_hash_init(&hash, GNUTLS_DIG_SHA256) < 0 ? NULL : hash;
}

void sha256_text(gnutls_hash_hd_t hash, char text[SHA256_TEXT])
{
	uint8_t digest[SHA256_BYTES];
	size_t i;

	text[0] = '\0';
	if (!hash)
		return;
	gnutls_hash_deinit(hash, digest);
	for (i = 0; i < sizeof(digest); i++)
		snprintf(text + 2 * i, 3, "%02x", digest[i]);
}

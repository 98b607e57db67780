/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The part of nettle that the unit tests use, for targets that have no nettle: found first by -I
 * in the arm64 step of scripts/check.  AES-128 octet by octet, as FIPS 197 tells it.
 */
#ifndef CS_PLAIN_NETTLE_AES_H
#define CS_PLAIN_NETTLE_AES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct aes128_ctx {
	uint8_t round[11][16];
	uint8_t s[256], s_inverse[256];
};

static inline uint8_t plain_times(uint8_t a, uint8_t b)
{
	uint8_t product = 0;

	for (int i = 0; i < 8; i++) {
		product ^= b >> i & 1 ? a : 0;
		a = a & 0x80 ? a << 1 ^ 0x1b : a << 1;
	}
	return product;
}

/* The S-box by a generator of the field: 3^i and 3^-i are inverses (sections 4.2 and 5.1.1). */
static inline void plain_s_box(struct aes128_ctx *aes)
{
	uint8_t power = 1, inverse = 1;

	aes->s[0] = 0x63;
	do {
		unsigned int twice;

		power = plain_times(power, 3);
		inverse = plain_times(inverse, 0xf6);
		twice = inverse * 0x101u;
		aes->s[power] = 0x63 ^ inverse ^ twice >> 4 ^ twice >> 5 ^ twice >> 6 ^ twice >> 7;
	} while (power != 1);
	for (int i = 0; i < 256; i++)
		aes->s_inverse[aes->s[i]] = i;
}

/* Section 5.2 */
static inline void aes128_set_encrypt_key(struct aes128_ctx *aes, const uint8_t *key)
{
	uint8_t *octet = aes->round[0], rcon = 1;

	plain_s_box(aes);
	memcpy(octet, key, 16);
	for (int i = 16; i < 176; i++) {
		octet[i] = octet[i - 16];
		if (i % 16 >= 4)
			octet[i] ^= octet[i - 4];
		else
			octet[i] ^= aes->s[octet[i - (i % 4 == 3 ? 7 : 3)]];
		if (i % 16 == 0) {
			octet[i] ^= rcon;
			rcon = plain_times(rcon, 2);
		}
	}
}

static inline void aes128_set_decrypt_key(struct aes128_ctx *aes, const uint8_t *key)
{
	aes128_set_encrypt_key(aes, key);
}

static inline void plain_add_key(uint8_t state[16], const uint8_t key[16])
{
	for (int i = 0; i < 16; i++)
		state[i] ^= key[i];
}

/* S-box, and row r turned by r columns: to the left with @turn 1, to the right with 3. */
static inline void plain_substitute(uint8_t state[16], const uint8_t s[256], int turn)
{
	uint8_t before[16];

	memcpy(before, state, 16);
	for (int i = 0; i < 16; i++)
		state[i] = s[before[(i + i % 4 * turn * 4) % 16]];
}

static inline void plain_mix(uint8_t state[16], const uint8_t factor[4])
{
	uint8_t before[16];

	memcpy(before, state, 16);
	for (int i = 0; i < 16; i++) {
		state[i] = 0;
		for (int r = 0; r < 4; r++)
			state[i] ^= plain_times(before[i / 4 * 4 + r], factor[(r + 4 - i % 4) % 4]);
	}
}

/* Section 5.1; of one block */
static inline void aes128_encrypt(const struct aes128_ctx *aes, size_t length, uint8_t *to,
				  const uint8_t *from)
{
	static const uint8_t factor[4] = { 2, 3, 1, 1 };

	memmove(to, from, length);
	plain_add_key(to, aes->round[0]);
	for (int i = 1; i <= 10; i++) {
		plain_substitute(to, aes->s, 1);
		if (i < 10)
			plain_mix(to, factor);
		plain_add_key(to, aes->round[i]);
	}
}

/* Section 5.3 */
static inline void aes128_decrypt(const struct aes128_ctx *aes, size_t length, uint8_t *to,
				  const uint8_t *from)
{
	static const uint8_t factor[4] = { 14, 11, 13, 9 };

	memmove(to, from, length);
	for (int i = 10; i >= 1; i--) {
		plain_add_key(to, aes->round[i]);
		if (i < 10)
			plain_mix(to, factor);
		plain_substitute(to, aes->s_inverse, 3);
	}
	plain_add_key(to, aes->round[0]);
}

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * SipHash-1-3: a keyed hash that a stranger who chooses the connection IDs cannot steer.
 *
 * Aumasson and Bernstein, "SipHash: a fast short-input PRF", with one compression and three
 * finalization rounds.  The input comes as little-endian words; the caller has put the rest of
 * the bytes and the length into the last one, as the paper says.
 */
#ifndef CS_SIPHASH_H
#define CS_SIPHASH_H

#include <linux/types.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "cidsteer: the words of a connection ID are read as little-endian"
#endif

#define CS_INLINE static inline __attribute__((always_inline, unused))

CS_INLINE __u64 cs_rotl(__u64 x, int bits)
{
	return x << bits | x >> (64 - bits);
}

CS_INLINE void cs_sipround(__u64 v[4])
{
	v[0] += v[1];
	v[1] = cs_rotl(v[1], 13) ^ v[0];
	v[0] = cs_rotl(v[0], 32);
	v[2] += v[3];
	v[3] = cs_rotl(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = cs_rotl(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = cs_rotl(v[1], 17) ^ v[2];
	v[2] = cs_rotl(v[2], 32);
}

CS_INLINE void cs_siphash_init(__u64 v[4], const __u64 key[2])
{
	v[0] = key[0] ^ 0x736f6d6570736575ULL;
	v[1] = key[1] ^ 0x646f72616e646f6dULL;
	v[2] = key[0] ^ 0x6c7967656e657261ULL;
	v[3] = key[1] ^ 0x7465646279746573ULL;
}

CS_INLINE void cs_siphash_word(__u64 v[4], __u64 word)
{
	v[3] ^= word;
	cs_sipround(v);
	v[0] ^= word;
}

CS_INLINE __u64 cs_siphash_final(__u64 v[4])
{
	v[2] ^= 0xff;
	cs_sipround(v);
	cs_sipround(v);
	cs_sipround(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

#endif

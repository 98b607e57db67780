/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * SipHash-c-d as its paper tells it (Aumasson and Bernstein, "SipHash: a fast short-input PRF",
 * section 2), byte by byte: what the project's own hash is compared with.  It shares no line
 * with include/core/siphash.h and is itself held to the paper's vectors by siphash_test.c.
 */
#ifndef CS_TEST_SIPHASH_REFERENCE_H
#define CS_TEST_SIPHASH_REFERENCE_H

#include <stddef.h>
#include <stdint.h>

struct siphash_state {
	uint64_t v0, v1, v2, v3;
};

static inline uint64_t siphash_little_endian(const uint8_t byte[8])
{
	uint64_t word = 0;

	for (int i = 7; i >= 0; i--)
		word = word * 256 + byte[i];
	return word;
}

static inline uint64_t siphash_turn(uint64_t x, unsigned int bits)
{
	return (x << bits) + (x >> (64 - bits));
}

/* Figure 2.1 of the paper, its two halves one after the other. */
static inline void siphash_rounds(struct siphash_state *s, int count)
{
	while (count-- > 0) {
		s->v0 = s->v0 + s->v1;
		s->v2 = s->v2 + s->v3;
		s->v1 = siphash_turn(s->v1, 13);
		s->v3 = siphash_turn(s->v3, 16);
		s->v1 = s->v1 ^ s->v0;
		s->v3 = s->v3 ^ s->v2;
		s->v0 = siphash_turn(s->v0, 32);

		s->v2 = s->v2 + s->v1;
		s->v0 = s->v0 + s->v3;
		s->v1 = siphash_turn(s->v1, 17);
		s->v3 = siphash_turn(s->v3, 21);
		s->v1 = s->v1 ^ s->v2;
		s->v3 = s->v3 ^ s->v0;
		s->v2 = siphash_turn(s->v2, 32);
	}
}

/* @c compression and @d finalization rounds. */
static inline uint64_t siphash_reference(int c, int d, const uint8_t key[16], const void *input,
					 size_t size)
{
	uint64_t k0 = siphash_little_endian(key), k1 = siphash_little_endian(key + 8);
	struct siphash_state s = {
		/* "somepseudorandomlygeneratedbytes" */
		k0 ^ 0x736f6d6570736575,
		k1 ^ 0x646f72616e646f6d,
		k0 ^ 0x6c7967656e657261,
		k1 ^ 0x7465646279746573,
	};
	const uint8_t *byte = input;

	for (size_t word = 0; word <= size / 8; word++) {
		uint8_t block[8] = { 0 };
		uint64_t m;

		for (size_t i = 0; i < 8 && word * 8 + i < size; i++)
			block[i] = byte[word * 8 + i];
		if (word == size / 8)
			block[7] = size % 256;
		m = siphash_little_endian(block);
		s.v3 ^= m;
		siphash_rounds(&s, c);
		s.v0 ^= m;
	}
	s.v2 ^= 0xff;
	siphash_rounds(&s, d);
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

#endif

// SPDX-License-Identifier: GPL-2.0-only
/*
 * The hash of connection IDs is SipHash-1-3 of their bytes.  (That of 4-tuples: decide_test.c.)
 */
#include <criterion/criterion.h>
#include <string.h>
#include "core/quic.h"
#include "law.h"
#include "siphash_reference.h"

/* 00 01 02 ..: key and input of the paper's appendix A. */
static const __u8 count_up[32] = {
	0,  1,	2,  3,	4,  5,	6,  7,	8,  9,	10, 11, 12, 13, 14, 15,
	16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31,
};

static struct cs_cid cid_of(const void *byte, __u32 len)
{
	struct cs_cid cid = { .len = len };

	memcpy(cid.byte, byte, len);
	return cid;
}

static void key_words(__u64 key[2], const __u8 byte[16])
{
	key[0] = siphash_little_endian(byte);
	key[1] = siphash_little_endian(byte + 8);
}

/* Input of 0..15 bytes; the last one is the example of the paper, the others its authors' code. */
Test(siphash, the_reference_gives_the_published_values_of_siphash_2_4)
{
	static const __u64 published[] = {
		0x726fdb47dd0e0e31, 0x74f839c593dc67fd, 0x0d6c8009d9a94f5a, 0x85676696d7fb7e2d,
		0xcf2794e0277187b7, 0x18765564cd99a68d, 0xcbc9466e58fee3ce, 0xab0200f58b01d137,
		0x93f5f5799a932462, 0x9e0082df0ba9e4b0, 0x7a5dbbc594ddb9f3, 0xf4b32f46226bada7,
		0x751e8fbc860ee5fb, 0x14ea5627c0843d90, 0xf723ca908e7af2ee, 0xa129ca6149be45e5,
	};

	for (size_t len = 0; len < 16; len++)
		cr_assert_eq(siphash_reference(2, 4, count_up, count_up, len), published[len],
			     "input of %zu bytes", len);
}

/* CPython's own SipHash-1-3, `_imp.source_hash(0x0706050403020100, bytes(range(len)))`. */
Test(siphash, a_connection_id_hashes_as_another_implementation_says)
{
	static const struct {
		__u32 len;
		__u64 hash;
	} cpython[] = {
		{ 0, 0xf46d3bfe2ea281dc }, { 1, 0x5bb2c195fe70a449 },  { 7, 0x3dd20bc6123b60e0 },
		{ 8, 0x5124317f8cfc24cb }, { 15, 0x7f501f340ece0c62 }, { 20, 0x4aad727d76ff2693 },
	};
	static const __u64 key[2] = { 0x0706050403020100, 0 };

	for (size_t i = 0; i < sizeof(cpython) / sizeof(cpython[0]); i++) {
		struct cs_cid cid = cid_of(count_up, cpython[i].len);

		cr_assert_eq(cs_cid_hash(key, &cid), cpython[i].hash, "%u bytes", cid.len);
	}
}

Test(siphash, a_connection_id_of_any_length_hashes_as_its_bytes)
{
	__u64 seed = 1, count = rounds(20000);

	for (__u64 round = 0; round < count; round++) {
		__u8 key_byte[16], byte[CS_MAX_CID];
		__u64 key[2];

		random_fill(&seed, key_byte, sizeof(key_byte));
		random_fill(&seed, byte, sizeof(byte));
		key_words(key, key_byte);
		for (__u32 len = 0; len <= CS_MAX_CID; len++) {
			struct cs_cid cid = cid_of(byte, len);

			check(cs_cid_hash(key, &cid) ==
				      siphash_reference(1, 3, key_byte, byte, len),
			      "round %llu: %u bytes", round, len);
		}
	}
	cr_assert_gt(count, 0);
}

Test(siphash, zeros_at_the_end_make_another_connection_id)
{
	static const __u64 key[2] = { 1, 2 };
	static const __u8 zeros[CS_MAX_CID];
	__u64 hash[CS_MAX_CID + 1];

	for (__u32 len = 0; len <= CS_MAX_CID; len++) {
		struct cs_cid cid = cid_of(zeros, len);

		hash[len] = cs_cid_hash(key, &cid);
		for (__u32 shorter = 0; shorter < len; shorter++)
			cr_assert_neq(hash[len], hash[shorter], "%u and %u zeros", len, shorter);
	}
}

/* Each bit of key and input reaches every bit of the result: 1 in 2 turns, 6 sigma. */
Test(siphash, a_bit_of_the_key_or_of_the_id_turns_half_of_the_hash)
{
	enum {
		BITS = 128 + 8 * CS_MAX_CID
	};
	__u64 seed = 2, turned = 0, bits = 0, count = rounds(200);

	for (__u64 round = 0; round < count; round++) {
		struct {
			__u8 key[16];
			__u8 byte[CS_MAX_CID];
		} before, after;
		struct cs_cid cid;
		__u64 key[2], hash;

		random_fill(&seed, &before, sizeof(before));
		key_words(key, before.key);
		cid = cid_of(before.byte, CS_MAX_CID);
		hash = cs_cid_hash(key, &cid);
		for (int bit = 0; bit < BITS; bit++) {
			after = before;
			((__u8 *)&after)[bit / 8] ^= 1 << bit % 8;
			key_words(key, after.key);
			cid = cid_of(after.byte, CS_MAX_CID);
			turned += __builtin_popcountll(hash ^ cs_cid_hash(key, &cid));
			bits += 64;
		}
	}
	/* sigma of the share is 1 / (2 sqrt(bits)) */
	cr_assert_lt(4.0 * (turned - bits / 2.0) * (turned - bits / 2.0), 36.0 * bits,
		     "%llu of %llu bits", turned, bits);
}

// SPDX-License-Identifier: GPL-2.0-only
/*
 * The block cipher is AES-128: by the standard's examples, by nettle's, and its tables by their
 * definition.
 */
#include <criterion/criterion.h>
#include <nettle/aes.h>
#include <string.h>
#include "core/aes.h"
#include "hex.h"
#include "law.h"

struct keys {
	struct cs_aes_key encrypt, decrypt;
};

static struct keys keys_of(const __u8 octet[16])
{
	struct keys keys;

	cs_aes_expand(&keys.encrypt, octet);
	cs_aes_invert(&keys.decrypt, &keys.encrypt);
	return keys;
}

static void encrypt(const struct keys *keys, __u8 to[16], const __u8 from[16])
{
	__u64 block[2];

	memcpy(block, from, sizeof(block));
	cs_aes_encrypt(&keys->encrypt, block);
	memcpy(to, block, sizeof(block));
}

static void decrypt(const struct keys *keys, __u8 to[16], const __u8 from[16])
{
	__u64 block[2];

	memcpy(block, from, sizeof(block));
	cs_aes_decrypt(&keys->decrypt, block);
	memcpy(to, block, sizeof(block));
}

/* FIPS 197, appendices B and C.1; SP 800-38A, appendix F.1.1. */
Test(aes, a_block_is_encrypted_and_decrypted_as_the_standard_says)
{
	static const struct {
		const char *key, *plain, *cipher;
	} published[] = {
		{ "2b7e151628aed2a6abf7158809cf4f3c", "3243f6a8885a308d313198a2e0370734",
		  "3925841d02dc09fbdc118597196a0b32" },
		{ "000102030405060708090a0b0c0d0e0f", "00112233445566778899aabbccddeeff",
		  "69c4e0d86a7b0430d8cdb78070b4c55a" },
		{ "2b7e151628aed2a6abf7158809cf4f3c", "6bc1bee22e409f96e93d7e117393172a",
		  "3ad77bb40d7a3660a89ecaf32466ef97" },
		{ "2b7e151628aed2a6abf7158809cf4f3c", "ae2d8a571e03ac9c9eb76fac45af8e51",
		  "f5d3d58503b9699de785895a96fdbaaf" },
		{ "2b7e151628aed2a6abf7158809cf4f3c", "30c81c46a35ce411e5fbc1191a0a52ef",
		  "43b1cd7f598ece23881b00e3ed030688" },
		{ "2b7e151628aed2a6abf7158809cf4f3c", "f69f2445df4f9b17ad2b417be66c3710",
		  "7b0c785e27e8ad3f8223207104725dd4" },
	};

	for (size_t i = 0; i < sizeof(published) / sizeof(published[0]); i++) {
		__u8 key[16], plain[16], cipher[16], block[16];
		struct keys keys;

		from_hex(key, sizeof(key), published[i].key);
		from_hex(plain, sizeof(plain), published[i].plain);
		from_hex(cipher, sizeof(cipher), published[i].cipher);
		keys = keys_of(key);
		encrypt(&keys, block, plain);
		cr_assert_arr_eq(block, cipher, 16, "%s encrypted", published[i].plain);
		decrypt(&keys, block, cipher);
		cr_assert_arr_eq(block, plain, 16, "%s decrypted", published[i].cipher);
	}
}

/* FIPS 197, appendix A.1: the first and the last words; those of C.1 that the inverse cipher has.
 */
Test(aes, a_key_is_expanded_as_the_standard_says)
{
	__u8 key[16], expected[16];
	struct keys keys;

	from_hex(key, sizeof(key), "2b7e1516 28aed2a6 abf71588 09cf4f3c");
	keys = keys_of(key);
	cr_assert_arr_eq(keys.encrypt.round[0], key, 16);
	from_hex(expected, sizeof(expected), "a0fafe17 88542cb1 23a33939 2a6c7605");
	cr_assert_arr_eq(keys.encrypt.round[1], expected, 16);
	from_hex(expected, sizeof(expected), "d014f9a8 c9ee2589 e13f0cc8 b6630ca6");
	cr_assert_arr_eq(keys.encrypt.round[10], expected, 16);
	cr_assert_arr_eq(keys.decrypt.round[0], expected, 16);
	cr_assert_arr_eq(keys.decrypt.round[10], key, 16);

	from_hex(key, sizeof(key), "00010203 04050607 08090a0b 0c0d0e0f");
	keys = keys_of(key);
	from_hex(expected, sizeof(expected), "13aa29be 9c8faff6 f770f580 00f7bf03");
	cr_assert_arr_eq(keys.decrypt.round[1], expected, 16);
	from_hex(expected, sizeof(expected), "8c56dff0 825dd3f9 805ad3fc 8659d7fd");
	cr_assert_arr_eq(keys.decrypt.round[9], expected, 16);
}

Test(aes, any_block_under_any_key_is_what_nettle_says)
{
	__u64 seed = 1, count = rounds(50000);

	for (__u64 round = 0; round < count; round++) {
		struct aes128_ctx to_encrypt, to_decrypt;
		__u8 key[16], block[16], mine[16], nettle[16];
		struct keys keys;

		random_fill(&seed, key, sizeof(key));
		random_fill(&seed, block, sizeof(block));
		keys = keys_of(key);
		aes128_set_encrypt_key(&to_encrypt, key);
		aes128_set_decrypt_key(&to_decrypt, key);

		encrypt(&keys, mine, block);
		aes128_encrypt(&to_encrypt, 16, nettle, block);
		check(!memcmp(mine, nettle, 16), "round %llu: encrypted", round);
		decrypt(&keys, mine, block);
		aes128_decrypt(&to_decrypt, 16, nettle, block);
		check(!memcmp(mine, nettle, 16), "round %llu: decrypted", round);
	}
	cr_assert_gt(count, 0);
}

/* What is known when the key is: the last six octets.  What the block has there is not read. */
Test(aes, half_a_block_is_what_the_whole_one_begins_with)
{
	__u64 seed = 2, count = rounds(50000);

	for (__u64 round = 0; round < count; round++) {
		struct aes128_ctx to_encrypt;
		__u8 key[16], block[16], nettle[16];
		__u64 half[2], end;
		__u32 start[4];
		struct keys keys;

		random_fill(&seed, key, sizeof(key));
		random_fill(&seed, block, sizeof(block));
		keys = keys_of(key);
		aes128_set_encrypt_key(&to_encrypt, key);
		aes128_encrypt(&to_encrypt, 16, nettle, block);

		memcpy(&end, block + 8, sizeof(end));
		cs_aes_start(start, &keys.encrypt, end);
		memset(block + CS_AES_HALF, 0xee, sizeof(block) - CS_AES_HALF);
		memcpy(half, block, sizeof(half));
		cs_aes_encrypt_half(&keys.encrypt, start, half);
		check(!memcmp(half, nettle, CS_AES_HALF), "round %llu", round);
	}
	cr_assert_gt(count, 0);
}

/* In GF(2^8) with x^8 = x^4 + x^3 + x + 1 (FIPS 197, section 4.2). */
static __u8 times(__u8 a, __u8 b)
{
	__u8 product = 0;

	for (; b; b >>= 1) {
		if (b & 1)
			product ^= a;
		a = a & 0x80 ? a << 1 ^ 0x1b : a << 1;
	}
	return product;
}

static __u8 inverse_of(__u8 a)
{
	for (int b = 1; b < 256; b++) {
		if (times(a, b) == 1)
			return b;
	}
	return 0;
}

/* FIPS 197, section 5.1.1. */
static __u8 substituted(__u8 a)
{
	__u8 b = inverse_of(a), s = 0;

	for (int i = 0; i < 8; i++) {
		int bit = b >> i ^ b >> (i + 4) % 8 ^ b >> (i + 5) % 8 ^ b >> (i + 6) % 8 ^
			  b >> (i + 7) % 8 ^ 0x63 >> i;

		s |= (bit & 1) << i;
	}
	return s;
}

static void check_entry(const char *table, const __u64 *entry, __u8 s, const __u8 factor[4])
{
	const __u8 *octet = (const __u8 *)entry;

	for (int i = 0; i < 7; i++)
		check(octet[i] == times(s, factor[i % 4]), "%s: octet %d for 0x%02x", table, i, s);
	check(octet[7] == s, "%s: S-box for 0x%02x", table, s);
}

Test(aes, the_tables_are_what_their_definition_says)
{
	static const __u8 mix[4] = { 2, 1, 1, 3 }, unmix[4] = { 14, 9, 13, 11 };

	for (int a = 0; a < 256; a++) {
		__u8 s = substituted(a);

		check_entry("forward", &cs_aes_forward[a], s, mix);
		check_entry("inverse", &cs_aes_inverse[s], a, unmix);
	}
	cr_assert_eq(sizeof(cs_aes_forward), 2048, "an index is masked to 0x7f8");
	cr_assert_eq(sizeof(cs_aes_inverse), 2048, "the same");
}

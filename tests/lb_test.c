// SPDX-License-Identifier: GPL-2.0-only
/*
 * Server IDs in connection IDs are those of draft-ietf-quic-load-balancers-21: by its examples,
 * and by a second implementation, written from its text over nettle's AES, that computes with one
 * nibble at a time and shares nothing with the first.
 */
#include <criterion/criterion.h>
#include <nettle/aes.h>
#include <string.h>
#include "core/lb.h"
#include "hex.h"
#include "law.h"
#include "lb_vectors.h"

/* ---- the draft's algorithm, nibble by nibble --------------------------------------------------
 */

static void reference_aes(const __u8 key[16], __u8 block[16])
{
	struct aes128_ctx aes;
	__u8 result[16];

	aes128_set_encrypt_key(&aes, key);
	aes128_encrypt(&aes, 16, result, block);
	memcpy(block, result, 16);
}

/*
 * A half as nibbles, @len of them.  In octets an odd number of nibbles has a zero one behind the
 * left half (@gap 0) and before the right one (@gap 1).
 */
struct reference_half {
	__u8 nibble[20];
	int gap;
};

static void reference_pass(const __u8 key[16], int len, int pass, const struct reference_half *from,
			   struct reference_half *to)
{
	__u8 block[16] = { 0 };

	for (int i = 0; i < len; i++) {
		int at = from->gap + i;

		block[at / 2] |= at % 2 ? from->nibble[i] : from->nibble[i] * 16;
	}
	block[14] = len;
	block[15] = pass;
	reference_aes(key, block);
	for (int i = 0; i < len; i++) {
		int at = to->gap + i;

		to->nibble[i] ^= at % 2 ? block[at / 2] % 16 : block[at / 2] / 16;
	}
}

/* Passes @first to @last, up or down, over @len octets in place. */
static void reference_passes(const __u8 key[16], int len, __u8 *octet, int first, int last)
{
	struct reference_half left = { .gap = 0 }, right = { .gap = len % 2 };
	int step = first < last ? 1 : -1;

	for (int i = 0; i < 2 * len; i++) {
		__u8 nibble = i % 2 ? octet[i / 2] % 16 : octet[i / 2] / 16;

		if (i < len)
			left.nibble[i] = nibble;
		else
			right.nibble[i - len] = nibble;
	}
	for (int pass = first; pass != last + step; pass += step) {
		if (pass % 2)
			reference_pass(key, len, pass, &left, &right);
		else
			reference_pass(key, len, pass, &right, &left);
	}
	for (int i = 0; i < len; i++) {
		__u8 high = 2 * i < len ? left.nibble[2 * i] : right.nibble[2 * i - len];
		__u8 low = 2 * i + 1 < len ? left.nibble[2 * i + 1] : right.nibble[2 * i + 1 - len];

		octet[i] = high * 16 + low;
	}
}

/* @key NULL: no encryption. */
static void reference_encode(const __u8 *key, const __u8 *server_id, int server_id_len,
			     const __u8 *nonce, int nonce_len, __u8 *octet)
{
	memcpy(octet, server_id, server_id_len);
	memcpy(octet + server_id_len, nonce, nonce_len);
	if (!key)
		return;
	if (server_id_len + nonce_len == 16)
		reference_aes(key, octet);
	else
		reference_passes(key, server_id_len + nonce_len, octet, 1, 4);
}

static void reference_decode(const __u8 *key, int len, __u8 *octet)
{
	struct aes128_ctx aes;
	__u8 block[16];

	if (key && len == 16) {
		aes128_set_decrypt_key(&aes, key);
		memcpy(block, octet, 16);
		aes128_decrypt(&aes, 16, octet, block);
	} else if (key) {
		reference_passes(key, len, octet, 4, 1);
	}
}

/* ---- helpers ----------------------------------------------------------------------------------
 */

static struct cs_cid cid_of(const __u8 *byte, __u32 len)
{
	struct cs_cid cid = { .len = len };

	memcpy(cid.byte, byte, len);
	return cid;
}

static struct cs_lb lb_of(__u32 id, __u32 server_id_len, __u32 nonce_len, int tells_length,
			  const char *key_text)
{
	const char *mistake = cs_lb_mistake(id, server_id_len, nonce_len);
	struct cs_lb lb;
	__u8 key[16];

	cr_assert(!mistake, "%s", mistake);
	if (key_text)
		from_hex(key, sizeof(key), key_text);
	cs_lb_init(&lb, id, server_id_len, nonce_len, tells_length, key_text ? key : NULL);
	return lb;
}

/* A configuration of the lengths, with a key or without, and values for it. */
struct sample {
	struct cs_lb lb;
	__u32 len; /* of server ID and nonce */
	int has_key;
	__u8 key[16], server_id[15], nonce[18], random;
	__u8 octet[20]; /* a whole connection ID */
	__u32 cid_len;
};

static void sample_draw(struct sample *sample, __u64 *seed, int server_id_len, int nonce_len,
			int has_key)
{
	sample->len = server_id_len + nonce_len;
	sample->has_key = has_key;
	random_fill(seed, sample->key, sizeof(sample->key));
	random_fill(seed, sample->server_id, sizeof(sample->server_id));
	random_fill(seed, sample->nonce, sizeof(sample->nonce));
	random_fill(seed, sample->octet, sizeof(sample->octet));
	sample->random = random_word(seed);
	sample->cid_len = 1 + sample->len + random_below(seed, CS_MAX_CID - sample->len);
	cs_lb_init(&sample->lb, random_below(seed, CS_LB_CONFIGS), server_id_len, nonce_len,
		   random_below(seed, 2), has_key ? sample->key : NULL);
}

static int sample_encode(struct sample *sample)
{
	return cs_lb_encode(&sample->lb, sample->server_id, sample->nonce, sample->random,
			    sample->octet, sample->cid_len);
}

/* Runs @law for all lengths, with a key and without, @count times; returns how often that was. */
static __u64 for_all_lengths(__u64 count, void (*law)(struct sample *sample, __u64 *seed))
{
	__u64 seed = 1, runs = 0;

	for (int server_id_len = 1; server_id_len <= 15; server_id_len++) {
		for (int nonce_len = 4; server_id_len + nonce_len <= 19; nonce_len++) {
			for (__u64 i = 0; i < 2 * count; i++) {
				struct sample sample;

				sample_draw(&sample, &seed, server_id_len, nonce_len, i % 2);
				law(&sample, &seed);
				runs++;
			}
		}
	}
	return runs;
}

#define LENGTHS(sample)                                                                            \
	(sample)->lb.server_id_len, (sample)->lb.nonce_len, (sample)->has_key ? "" : "out"
#define OF_LENGTHS "%d and %d octets with%s a key"

/* ---- the draft's examples ----------------------------------------------------------------------
 */

Test(lb, an_id_of_the_draft_s_examples_is_encoded_and_decoded)
{
	for (size_t i = 0; i < sizeof(published) / sizeof(published[0]); i++) {
		__u8 server_id[16], nonce[20], octet[20], written[20];
		size_t server_id_len = from_hex(server_id, 16, published[i].server_id);
		size_t nonce_len = from_hex(nonce, 20, published[i].nonce);
		size_t len = from_hex(octet, 20, published[i].cid);
		struct cs_lb lb = lb_of(published[i].id, server_id_len, nonce_len, 1,
					published[i].key);
		struct cs_cid cid = cid_of(octet, len);
		struct cs_server_id server;

		cr_assert_eq(cs_lb_encode(&lb, server_id, nonce, 0, written, len), 0);
		cr_assert_arr_eq(written, octet, len, "%s", published[i].cid);
		cr_assert_eq(cs_lb_id(&cid), published[i].id);
		cr_assert_eq(cs_lb_decode(&lb, &cid, &server), 0, "%s", published[i].cid);
		cr_assert_arr_eq(server.byte, server_id, server_id_len, "%s", published[i].cid);
	}
}

/*
 * Section B.2 prints 3 as the configuration of the ID 12577..., whose first octet has 0.  With 3
 * it would be 72577...
 */
Test(lb, misprint_the_fourth_encrypted_example_is_of_configuration_0)
{
	struct cs_lb zero = lb_of(0, 9, 9, 1, EXAMPLE_KEY), three = lb_of(3, 9, 9, 1, EXAMPLE_KEY);
	__u8 server_id[9], nonce[9], printed[19], written[19];
	struct cs_server_id server;
	struct cs_cid cid;

	from_hex(server_id, 9, "ed793a51d49b8f5fab");
	from_hex(nonce, 9, "ee080dbf48c0d1e55d");
	from_hex(printed, 19, "12 5779c9cc86beb3a3a4a3ca96fce4bfe0cdbc");
	cid = cid_of(printed, 19);
	cr_assert_eq(cs_lb_encode(&zero, server_id, nonce, 0, written, 19), 0);
	cr_assert_arr_eq(written, printed, 19);
	cr_assert_eq(cs_lb_decode(&zero, &cid, &server), 0);
	cr_assert_arr_eq(server.byte, server_id, 9);

	cr_assert_eq(cs_lb_decode(&three, &cid, &server), -1);
	cr_assert_eq(cs_lb_encode(&three, server_id, nonce, 0, written, 19), 0);
	cr_assert_eq(written[0], 0x72);
	cr_assert_arr_eq(written + 1, printed + 1, 18);
}

/*
 * Section B.1 prints server ID 350d28b420 and nonce 3487d970b, nine digits, for the ID
 * 20a350d28b4203487d970b.  Its first octet tells a length of 0, and its digits are those of
 * a350d28b42 and 03487d970b, which make 2aa350...
 */
Test(lb, misprint_the_second_plaintext_example_is_shifted_by_a_digit)
{
	struct cs_lb lb = lb_of(1, 5, 5, 1, NULL), random = lb_of(1, 5, 5, 0, NULL);
	__u8 printed[11], server_id[5], meant[5], nonce[5], written[11];
	struct cs_server_id server;
	struct cs_cid cid;

	from_hex(printed, 11, "20a350d28b4203487d970b");
	from_hex(server_id, 5, "350d28b420");
	from_hex(meant, 5, "a350d28b42");
	from_hex(nonce, 5, "03487d970b");
	cid = cid_of(printed, 11);
	cr_assert_eq(cs_lb_decode(&lb, &cid, &server), -1, "it tells another length");
	cr_assert_eq(cs_lb_decode(&random, &cid, &server), 0);
	cr_assert_neq(memcmp(server.byte, server_id, 5), 0);
	cr_assert_arr_eq(server.byte, meant, 5);
	cr_assert_eq(cs_lb_encode(&lb, meant, nonce, 0, written, 11), 0);
	cr_assert_eq(written[0], 0x2a);
	cr_assert_arr_eq(written + 1, printed + 1, 10);
}

/* The steps of section 5.4.2.4, in octets: what goes into the cipher and what comes out. */
static const struct {
	const char *in, *out;
} example_pass[] = {
	{ "31441a90 00000000 00000000 00000701", "a255dd8c dacf0194 8d3a848c 3c7fee23" },
	{ "0e3c1ff9 00000000 00000000 00000702", "e5e452cb 9e1bedb0 b2bf8305 06bf4c4e" },
	{ "d4a04850 00000000 00000000 00000703", "b7821ab3 024fed09 13b6a04d 18e3216f" },
	{ "09be054a 00000000 00000000 00000704", "b334357c fdf81e3f afe18015 4eaf7378" },
};

static void example_encrypt(const char *in, __u8 out[16])
{
	struct cs_lb lb = lb_of(0, 3, 4, 1, "fdf726a9893ec05c0632d3956680baf0");
	__u64 block[2];

	from_hex((__u8 *)block, 16, in);
	cs_aes_encrypt(&lb.encrypt, block);
	memcpy(out, block, 16);
}

Test(lb, the_passes_of_the_draft_s_worked_example_are_these)
{
	struct cs_lb lb = lb_of(0, 3, 4, 1, "fdf726a9893ec05c0632d3956680baf0");
	__u64 octets[3] = { 0 }, half[2][2];
	__u8 block[16], expected[16];

	from_hex((__u8 *)octets, 7, "31441a 9c69c275");
	cs_lb_split(&lb, octets, half[CS_LB_LEFT], half[CS_LB_RIGHT]);
	for (int pass = 1; pass <= 4; pass++) {
		__u64 *from = half[pass % 2 ? CS_LB_LEFT : CS_LB_RIGHT];
		__u64 *to = half[pass % 2 ? CS_LB_RIGHT : CS_LB_LEFT];

		from_hex(expected, 16, example_pass[pass - 1].in);
		memcpy(block, from, 14);
		block[14] = 7;
		block[15] = pass;
		cr_assert_arr_eq(block, expected, 16, "into pass %d", pass);
		example_encrypt(example_pass[pass - 1].in, block);
		from_hex(expected, 16, example_pass[pass - 1].out);
		cr_assert_arr_eq(block, expected, 16, "out of pass %d", pass);
		cs_lb_pass(&lb, pass, from, to);
	}
	from_hex(expected, 4, "67947d20");
	cr_assert_arr_eq(half[CS_LB_LEFT], expected, 4);
	from_hex(expected, 4, "09be054a");
	cr_assert_arr_eq(half[CS_LB_RIGHT], expected, 4);
}

/* Step 10 prints "left_2 = 0xd4a04850 ^ 0xb3e4357c = 0x67947d2c"; the cipher's is b334357c. */
Test(lb, misprint_step_10_of_the_worked_example_has_another_digit)
{
	__u8 left[4], cipher[4], printed[4], result[4];

	from_hex(left, 4, "d4a04850");
	from_hex(cipher, 4, "b334357c");
	from_hex(printed, 4, "b3e4357c");
	from_hex(result, 4, "67947d2c");
	for (int i = 0; i < 4; i++)
		cr_assert_eq(left[i] ^ cipher[i], result[i]);
	cr_assert_neq(left[1] ^ printed[1], result[1]);
}

/*
 * Section 5.5.2, of pass 3: "right_1 = XOR(right_2, ...); clear_first_bits(left_1, 4)".  It is
 * right_1 whose first bits have to be cleared: else the server ID is another one.
 */
Test(lb, misprint_the_draft_s_decryption_clears_the_wrong_half)
{
	__u8 cleared[16], as_printed[16], left[4], server_id[3];

	from_hex(left, 4, "d4a04850");
	from_hex(server_id, 3, "31441a");
	/* right_1 = 09be054a ^ b7821ab3 = be3c1ff9 */
	example_encrypt("0e3c1ff9 00000000 00000000 00000702", cleared);
	example_encrypt("be3c1ff9 00000000 00000000 00000702", as_printed);
	for (int i = 0; i < 4; i++) {
		cleared[i] ^= left[i];
		as_printed[i] ^= left[i];
	}
	cr_assert_arr_eq(cleared, server_id, 3);
	cr_assert_neq(memcmp(as_printed, server_id, 3), 0);
}

/* ---- laws -------------------------------------------------------------------------------------
 */

static void law_encode(struct sample *sample, __u64 *seed)
{
	__u8 before[20], expected[20];
	struct cs_lb *lb = &sample->lb;
	__u32 first = lb->id * 32 +
		      (lb->tells_length ? sample->cid_len - 1 : (__u32)sample->random % 32);

	(void)seed;
	memcpy(before, sample->octet, 20);
	check(sample_encode(sample) == 0, OF_LENGTHS, LENGTHS(sample));
	reference_encode(sample->has_key ? sample->key : NULL, sample->server_id, lb->server_id_len,
			 sample->nonce, lb->nonce_len, expected);
	check(sample->octet[0] == first, OF_LENGTHS ": first octet 0x%02x, not 0x%02x",
	      LENGTHS(sample), sample->octet[0], first);
	check(!memcmp(sample->octet + 1, expected, sample->len), OF_LENGTHS, LENGTHS(sample));
	check(!memcmp(sample->octet + 1 + sample->len, before + 1 + sample->len, 19 - sample->len),
	      OF_LENGTHS ": the server's own octets are others", LENGTHS(sample));
}

Test(lb, any_id_is_encoded_as_the_draft_s_text_says)
{
	cr_assert_gt(for_all_lengths(rounds(150), law_encode), 0);
}

static void law_decode(struct sample *sample, __u64 *seed)
{
	struct cs_server_id server, expected = { { { 0 } } };
	struct cs_cid cid;

	(void)seed;
	check(sample_encode(sample) == 0, OF_LENGTHS, LENGTHS(sample));
	memcpy(expected.byte, sample->server_id, sample->lb.server_id_len);
	cid = cid_of(sample->octet, sample->cid_len);
	memset(&server, 0xee, sizeof(server));
	check(cs_lb_decode(&sample->lb, &cid, &server) == 0, OF_LENGTHS ": no server",
	      LENGTHS(sample));
	check(!memcmp(&server, &expected, sizeof(server)), OF_LENGTHS ": another server",
	      LENGTHS(sample));
}

Test(lb, what_was_encoded_is_decoded_with_zeros_behind_the_server_id)
{
	cr_assert_gt(for_all_lengths(rounds(150), law_decode), 0);
}

/* What a stranger sends decodes as well: to what the draft's text makes of it. */
static void law_decode_any(struct sample *sample, __u64 *seed)
{
	struct cs_server_id server, expected = { { { 0 } } };
	struct cs_cid cid;

	(void)seed;
	sample->lb.tells_length = 0;
	sample->octet[0] = sample->lb.id << 5 | sample->random >> 3;
	cid = cid_of(sample->octet, sample->cid_len);
	reference_decode(sample->has_key ? sample->key : NULL, sample->len, sample->octet + 1);
	memcpy(expected.byte, sample->octet + 1, sample->lb.server_id_len);
	check(cs_lb_decode(&sample->lb, &cid, &server) == 0, OF_LENGTHS, LENGTHS(sample));
	check(!memcmp(&server, &expected, sizeof(server)), OF_LENGTHS, LENGTHS(sample));
}

Test(lb, any_octets_are_decoded_as_the_draft_s_text_says)
{
	cr_assert_gt(for_all_lengths(rounds(150), law_decode_any), 0);
}

static __u64 wrong_with_three; /* of those that need four passes */

/* Three passes exactly if the nonce is at least as long as the server ID; then four say the same.
 */
static void law_passes(struct sample *sample, __u64 *seed)
{
	struct cs_lb *lb = &sample->lb, other = *lb;
	int three = lb->server_id_len <= lb->nonce_len;
	struct cs_server_id server, by_other;
	struct cs_cid cid;

	(void)seed;
	if (!sample->has_key || sample->len == 16) {
		check(lb->last_pass == 0, OF_LENGTHS ": there are no passes", LENGTHS(sample));
		return;
	}
	check(lb->last_pass == (three ? 2 : 1), OF_LENGTHS, LENGTHS(sample));
	other.last_pass = three ? 1 : 2;
	check(sample_encode(sample) == 0, OF_LENGTHS, LENGTHS(sample));
	cid = cid_of(sample->octet, sample->cid_len);
	check(cs_lb_decode(lb, &cid, &server) == 0, OF_LENGTHS, LENGTHS(sample));
	check(cs_lb_decode(&other, &cid, &by_other) == 0, OF_LENGTHS, LENGTHS(sample));
	if (three)
		check(!memcmp(&server, &by_other, sizeof(server)), OF_LENGTHS, LENGTHS(sample));
	else
		wrong_with_three += !!memcmp(&server, &by_other, sizeof(server));
}

Test(lb, three_passes_are_made_exactly_if_they_say_what_four_say)
{
	cr_assert_gt(for_all_lengths(rounds(100), law_passes), 0);
	cr_assert_gt(wrong_with_three, 0);
}

/* The tightest case: the server ID needs one nibble of the right half. */
Test(lb, a_server_id_that_ends_in_the_middle_octet_needs_four_passes)
{
	struct cs_lb lb = lb_of(0, 5, 4, 1, EXAMPLE_KEY), three = lb;
	__u64 seed = 3, others = 0;

	cr_assert_eq(lb.last_pass, 1);
	three.last_pass = 2;
	for (int i = 0; i < 100; i++) {
		__u8 server_id[5], nonce[4], octet[10];
		struct cs_server_id server;
		struct cs_cid cid;

		random_fill(&seed, server_id, 5);
		random_fill(&seed, nonce, 4);
		check(cs_lb_encode(&lb, server_id, nonce, 0, octet, 10) == 0, "round %d", i);
		cid = cid_of(octet, 10);
		check(cs_lb_decode(&three, &cid, &server) == 0, "round %d", i);
		check(!memcmp(server.byte, server_id, 4), "round %d", i);
		check(server.byte[4] / 16 == server_id[4] / 16, "round %d", i);
		others += server.byte[4] != server_id[4];
	}
	cr_assert_gt(others, 50, "15 of 16 nibbles are wrong");
}

/* ---- what does not match ----------------------------------------------------------------------
 */

/* The answer for @cid, which is -1 exactly if @server was not written. */
static int decode(const struct cs_lb *lb, const struct cs_cid *cid)
{
	struct cs_server_id server, untouched;
	int err;

	memset(&server, 0xee, sizeof(server));
	untouched = server;
	err = cs_lb_decode(lb, cid, &server);
	check(err == (memcmp(&server, &untouched, sizeof(server)) ? 0 : -1),
	      "%d, and the server was %swritten", err, err ? "" : "not ");
	return err;
}

static void law_too_short(struct sample *sample, __u64 *seed)
{
	(void)seed;
	sample->lb.tells_length = 0;
	check(sample_encode(sample) == 0, OF_LENGTHS, LENGTHS(sample));
	for (__u32 len = 0; len <= CS_MAX_CID; len++) {
		struct cs_cid cid = cid_of(sample->octet, len);

		check(decode(&sample->lb, &cid) == (len > sample->len ? 0 : -1),
		      OF_LENGTHS ": an ID of %u octets", LENGTHS(sample), len);
	}
}

Test(lb, an_id_that_is_too_short_does_not_match_and_what_is_behind_the_nonce_says_nothing)
{
	cr_assert_gt(for_all_lengths(rounds(3), law_too_short), 0);
}

Test(lb, an_id_of_another_configuration_does_not_match)
{
	__u8 octet[20] = { 0 };

	for (__u32 id = 0; id < CS_LB_CONFIGS; id++) {
		struct cs_lb lb = lb_of(id, 3, 4, 0, EXAMPLE_KEY);

		for (int first = 0; first < 256; first++) {
			struct cs_cid cid;

			octet[0] = first;
			cid = cid_of(octet, 8);
			check(cs_lb_id(&cid) == (__u32)first / 32, "0x%02x", first);
			check(decode(&lb, &cid) == ((__u32)first / 32 == id ? 0 : -1),
			      "configuration %u, first octet 0x%02x", id, first);
		}
	}
}

Test(lb, without_a_configuration_nothing_matches)
{
	static const struct cs_lb none;

	for (__u32 len = 0; len <= CS_MAX_CID; len++) {
		static const __u8 zeros[CS_MAX_CID];
		struct cs_cid cid = cid_of(zeros, len);

		cr_assert_eq(decode(&none, &cid), -1, "%u octets", len);
	}
	cr_assert_eq(cs_lb_id(&(struct cs_cid){ .len = 0 }), CS_LB_CONFIGS, "no octet, no id");
}

Test(lb, an_id_that_tells_another_length_does_not_match)
{
	struct cs_lb lb = lb_of(0, 3, 4, 1, NULL);
	__u8 octet[20] = { 0 };

	for (__u32 len = 8; len <= CS_MAX_CID; len++) {
		for (__u32 told = 0; told < 32; told++) {
			struct cs_cid cid;

			octet[0] = told;
			octet[1] = 0xaa;
			cid = cid_of(octet, len);
			check(decode(&lb, &cid) == (told == len - 1 ? 0 : -1), "%u octets, %u told",
			      len, told);
		}
	}
}

/* ---- other formats --------------------------------------------------------------------------
 */

/* Octet by octet. */
static int reference_extract(const struct cs_cid *cid, __u32 at, __u32 len, __u8 octet[16])
{
	memset(octet, 0, 16);
	if (at + len > cid->len)
		return -1;
	memcpy(octet, cid->byte + at, len);
	return 0;
}

Test(lb, what_another_format_says_is_cut_out_at_every_place)
{
	__u64 seed = 7;

	for (__u32 size = 0; size <= CS_MAX_CID; size++) {
		for (__u32 at = 0; at < CS_MAX_CID; at++) {
			for (__u32 len = 1; len <= CS_LB_MAX_SERVER_ID; len++) {
				struct cs_server_id id;
				__u8 octet[CS_MAX_CID], expected[16];
				struct cs_cid cid;
				int err;

				random_fill(&seed, octet, sizeof(octet));
				cid = cid_of(octet, size);
				err = reference_extract(&cid, at, len, expected);
				check(cs_extract(&cid, at, len, &id) == err,
				      "%u octets at %u of %u", len, at, size);
				check(err || !memcmp(&id, expected, sizeof(id)),
				      "%u octets at %u of %u: others", len, at, size);
			}
		}
	}
}

/* ---- configurations ---------------------------------------------------------------------------
 */

Test(lb, what_a_configuration_must_not_have_is_said)
{
	static const struct {
		__u32 id, server_id_len, nonce_len;
		const char *mistake; /* begins so */
	} rows[] = {
		{ 0, 1, 4, NULL },
		{ 6, 15, 4, NULL },
		{ 6, 1, 18, NULL },
		{ 3, 8, 8, NULL },
		{ 7, 8, 8, "its id" },
		{ ~0u, 8, 8, "its id" },
		{ 0, 0, 8, "the server ID has no octet" },
		{ 0, 16, 4, "the server ID has more than 15" },
		{ 0, ~0u, 5, "the server ID has more than 15" },
		{ 0, 8, 3, "the nonce" },
		{ 0, 8, 0, "the nonce" },
		{ 0, 15, 5, "server ID and nonce" },
		{ 0, 1, 19, "server ID and nonce" },
		{ 0, 5, ~0u, "server ID and nonce" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *said = cs_lb_mistake(rows[i].id, rows[i].server_id_len,
						 rows[i].nonce_len);
		const char *expected = rows[i].mistake;

		cr_assert(expected ? said && !strncmp(said, expected, strlen(expected)) : !said,
			  "row %zu: %s", i, said ? said : "nothing");
	}
}

static void law_algorithm(struct sample *sample, __u64 *seed)
{
	struct cs_lb *lb = &sample->lb;
	int algorithm = !sample->has_key  ? CS_LB_PLAIN :
			sample->len == 16 ? CS_LB_SINGLE :
					    CS_LB_FOUR;

	(void)seed;
	check(lb->algorithm == algorithm, OF_LENGTHS, LENGTHS(sample));
	check(lb->host_len == 0, OF_LENGTHS ": a host", LENGTHS(sample));
	check(cs_lb_mistake(lb->id, lb->server_id_len, lb->nonce_len) == NULL, OF_LENGTHS,
	      LENGTHS(sample));
}

Test(lb, the_lengths_and_the_key_say_the_algorithm)
{
	cr_assert_gt(for_all_lengths(1, law_algorithm), 0);
}

Test(lb, an_id_is_not_encoded_into_too_few_octets_or_too_many)
{
	struct cs_lb lb = lb_of(2, 3, 4, 1, EXAMPLE_KEY);
	__u8 server_id[3] = { 1, 2, 3 }, nonce[4] = { 4, 5, 6, 7 };

	for (__u32 len = 0; len <= 40; len++) {
		__u8 octet[40], untouched[40];
		int err;

		memset(octet, 0xee, sizeof(octet));
		memset(untouched, 0xee, sizeof(untouched));
		err = cs_lb_encode(&lb, server_id, nonce, 0, octet, len);
		cr_assert_eq(err, len >= 8 && len <= 20 ? 0 : -EINVAL, "%u octets", len);
		if (err)
			cr_assert_arr_eq(octet, untouched, sizeof(octet), "%u octets", len);
	}
}

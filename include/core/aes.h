/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * AES-128, one block at a time (FIPS 197).
 *
 * A block is two words: columns 0 and 1 in the first, 2 and 3 in the second, row r of a column in
 * its octet r, as they lie in memory.  Between the rounds each column is a word of its own.
 *
 * SubBytes, ShiftRows and MixColumns of a round are 16 look-ups.  A table's entry has what an
 * octet of row 0 adds to a column (c0..c3), the same again, and the S-box's octet in the place
 * that is left:
 *
 *     octet    0    1    2    3    4    5    6    7
 *           +----+----+----+----+----+----+----+----+    row 0 reads 32 bits at 0, row 1 at 3,
 *           | c0 | c1 | c2 | c3 | c0 | c1 | c2 | S  |    row 2 at 2, row 3 at 1;
 *           +----+----+----+----+----+----+----+----+    the last round reads S
 *
 * So a direction has 2 KB instead of four tables of 1 KB and an S-box, and no look-up turns a
 * word, which takes BPF four instructions.  An entry lies in one cache line.
 *
 * What the cache leaks.  Which lines of a table are touched depends on key and block.  Code that
 * shares the core's caches can learn the key from that after some hundred blocks (Osvik, Shamir,
 * Tromer, "Cache Attacks and Countermeasures: The Case of AES", 2006), and that it cannot be done
 * from afar, by the time of packets alone, nobody has shown (Bernstein, "Cache-timing attacks on
 * AES", 2005).  It has tables all the same, because BPF has no AES instruction, the kernel's
 * ciphers are not to be had at socket selection, and bit-slicing wants many blocks at once, where
 * each pass of an ID waits for the one before.  So this is for keys of connection IDs and for no
 * others.
 *
 * Who has such a key can tell which server an ID leads to and which IDs have neighbouring nonces,
 * and can make IDs that lead to a server of his choice: what everybody can do when there is no
 * key.  No packet is opened with it and no connection taken over.  For most hosts that is
 * acceptable.  It is not where strangers' code runs on the same CPUs (shared hosts, sibling
 * threads) and the server behind an address must stay hidden from them: then issue IDs through
 * the table, which tell nothing, and leave keys alone.  A key is no other key's derivative, and
 * is changed by a configuration with another id.
 */
#ifndef CS_AES_H
#define CS_AES_H

#include <linux/types.h>
#include "core/siphash.h"

#define CS_AES_ROUNDS 10

/* One of the two directions; the key of a round by columns, and by the words of a block. */
struct cs_aes_key {
	union {
		__u32 round[CS_AES_ROUNDS + 1][4];
		__u64 word[CS_AES_ROUNDS + 1][2];
	};
};
_Static_assert(sizeof(struct cs_aes_key) == 176, "part of a map value");

#define CS_AES_WHOLE 16 /* octets of a block that are used */
#define CS_AES_HALF 10

/* Multiples in GF(2^8); what has left the octet comes back as multiples of x^8 = 0x11b. */
#define CS_AES_X2(s) ((s) << 1 ^ ((s) >> 7) * 0x11bULL)
#define CS_AES_X4(s) ((s) << 2 ^ ((s) >> 6 & 1) * 0x11bULL ^ ((s) >> 7) * 0x236ULL)
#define CS_AES_X8(s)                                                                               \
	((s) << 3 ^ ((s) >> 5 & 1) * 0x11bULL ^ ((s) >> 6 & 1) * 0x236ULL ^ ((s) >> 7) * 0x46cULL)

#define CS_AES_ENTRY(c0, c1, c2, c3, s)                                                            \
	(((c0) | (c1) << 8 | (c2) << 16) * 0x100000001ULL | (c3) << 24 | (s) << 56)

/* The columns of MixColumns and InvMixColumns (FIPS 197, sections 5.1.3 and 5.3.3). */
#define CS_AES_FORWARD(s) CS_AES_ENTRY(CS_AES_X2(s), (s), (s), CS_AES_X2(s) ^ (s), (s))
#define CS_AES_INVERSE(s)                                                                          \
	CS_AES_ENTRY(CS_AES_X8(s) ^ CS_AES_X4(s) ^ CS_AES_X2(s), CS_AES_X8(s) ^ (s),               \
		     CS_AES_X8(s) ^ CS_AES_X4(s) ^ (s), CS_AES_X8(s) ^ CS_AES_X2(s) ^ (s), (s))

#define CS_AES_ROW(F, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p)                              \
	F(0x##a##ULL), F(0x##b##ULL), F(0x##c##ULL), F(0x##d##ULL), F(0x##e##ULL), F(0x##f##ULL),  \
		F(0x##g##ULL), F(0x##h##ULL), F(0x##i##ULL), F(0x##j##ULL), F(0x##k##ULL),         \
		F(0x##l##ULL), F(0x##m##ULL), F(0x##n##ULL), F(0x##o##ULL), F(0x##p##ULL)

/* FIPS 197, figures 7 and 14. */
#define CS_AES_SBOX(F)                                                                             \
	CS_AES_ROW(F, 63, 7c, 77, 7b, f2, 6b, 6f, c5, 30, 01, 67, 2b, fe, d7, ab, 76),             \
		CS_AES_ROW(F, ca, 82, c9, 7d, fa, 59, 47, f0, ad, d4, a2, af, 9c, a4, 72, c0),     \
		CS_AES_ROW(F, b7, fd, 93, 26, 36, 3f, f7, cc, 34, a5, e5, f1, 71, d8, 31, 15),     \
		CS_AES_ROW(F, 04, c7, 23, c3, 18, 96, 05, 9a, 07, 12, 80, e2, eb, 27, b2, 75),     \
		CS_AES_ROW(F, 09, 83, 2c, 1a, 1b, 6e, 5a, a0, 52, 3b, d6, b3, 29, e3, 2f, 84),     \
		CS_AES_ROW(F, 53, d1, 00, ed, 20, fc, b1, 5b, 6a, cb, be, 39, 4a, 4c, 58, cf),     \
		CS_AES_ROW(F, d0, ef, aa, fb, 43, 4d, 33, 85, 45, f9, 02, 7f, 50, 3c, 9f, a8),     \
		CS_AES_ROW(F, 51, a3, 40, 8f, 92, 9d, 38, f5, bc, b6, da, 21, 10, ff, f3, d2),     \
		CS_AES_ROW(F, cd, 0c, 13, ec, 5f, 97, 44, 17, c4, a7, 7e, 3d, 64, 5d, 19, 73),     \
		CS_AES_ROW(F, 60, 81, 4f, dc, 22, 2a, 90, 88, 46, ee, b8, 14, de, 5e, 0b, db),     \
		CS_AES_ROW(F, e0, 32, 3a, 0a, 49, 06, 24, 5c, c2, d3, ac, 62, 91, 95, e4, 79),     \
		CS_AES_ROW(F, e7, c8, 37, 6d, 8d, d5, 4e, a9, 6c, 56, f4, ea, 65, 7a, ae, 08),     \
		CS_AES_ROW(F, ba, 78, 25, 2e, 1c, a6, b4, c6, e8, dd, 74, 1f, 4b, bd, 8b, 8a),     \
		CS_AES_ROW(F, 70, 3e, b5, 66, 48, 03, f6, 0e, 61, 35, 57, b9, 86, c1, 1d, 9e),     \
		CS_AES_ROW(F, e1, f8, 98, 11, 69, d9, 8e, 94, 9b, 1e, 87, e9, ce, 55, 28, df),     \
		CS_AES_ROW(F, 8c, a1, 89, 0d, bf, e6, 42, 68, 41, 99, 2d, 0f, b0, 54, bb, 16)

#define CS_AES_INVERSE_SBOX(F)                                                                     \
	CS_AES_ROW(F, 52, 09, 6a, d5, 30, 36, a5, 38, bf, 40, a3, 9e, 81, f3, d7, fb),             \
		CS_AES_ROW(F, 7c, e3, 39, 82, 9b, 2f, ff, 87, 34, 8e, 43, 44, c4, de, e9, cb),     \
		CS_AES_ROW(F, 54, 7b, 94, 32, a6, c2, 23, 3d, ee, 4c, 95, 0b, 42, fa, c3, 4e),     \
		CS_AES_ROW(F, 08, 2e, a1, 66, 28, d9, 24, b2, 76, 5b, a2, 49, 6d, 8b, d1, 25),     \
		CS_AES_ROW(F, 72, f8, f6, 64, 86, 68, 98, 16, d4, a4, 5c, cc, 5d, 65, b6, 92),     \
		CS_AES_ROW(F, 6c, 70, 48, 50, fd, ed, b9, da, 5e, 15, 46, 57, a7, 8d, 9d, 84),     \
		CS_AES_ROW(F, 90, d8, ab, 00, 8c, bc, d3, 0a, f7, e4, 58, 05, b8, b3, 45, 06),     \
		CS_AES_ROW(F, d0, 2c, 1e, 8f, ca, 3f, 0f, 02, c1, af, bd, 03, 01, 13, 8a, 6b),     \
		CS_AES_ROW(F, 3a, 91, 11, 41, 4f, 67, dc, ea, 97, f2, cf, ce, f0, b4, e6, 73),     \
		CS_AES_ROW(F, 96, ac, 74, 22, e7, ad, 35, 85, e2, f9, 37, e8, 1c, 75, df, 6e),     \
		CS_AES_ROW(F, 47, f1, 1a, 71, 1d, 29, c5, 89, 6f, b7, 62, 0e, aa, 18, be, 1b),     \
		CS_AES_ROW(F, fc, 56, 3e, 4b, c6, d2, 79, 20, 9a, db, c0, fe, 78, cd, 5a, f4),     \
		CS_AES_ROW(F, 1f, dd, a8, 33, 88, 07, c7, 31, b1, 12, 10, 59, 27, 80, ec, 5f),     \
		CS_AES_ROW(F, 60, 51, 7f, a9, 19, b5, 4a, 0d, 2d, e5, 7a, 9f, 93, c9, 9c, ef),     \
		CS_AES_ROW(F, a0, e0, 3b, 4d, ae, 2a, f5, b0, c8, eb, bb, 3c, 83, 53, 99, 61),     \
		CS_AES_ROW(F, 17, 2b, 04, 7e, ba, 77, d6, 26, e1, 69, 14, 63, 55, 21, 0c, 7d)

#ifdef __bpf__
/* A section of its own is a map of its own, which the instances of a program can share: each with
 * its tables would be each with its cache lines.
 */
#define CS_AES_TABLE static const __attribute__((section(".rodata.cs_aes"), unused))
#else
#define CS_AES_TABLE static const __attribute__((unused))
#endif

CS_AES_TABLE __u64 cs_aes_forward[256] = { CS_AES_SBOX(CS_AES_FORWARD) };
CS_AES_TABLE __u64 cs_aes_inverse[256] = { CS_AES_INVERSE_SBOX(CS_AES_INVERSE) };

/* Where the entry for the octet at @bit of @word is; the mask keeps it inside the table. */
CS_INLINE __u64 cs_aes_index(__u64 word, int bit)
{
	return (bit ? word >> (bit - 3) : word << 3) & 0xff << 3;
}

/*
 * @sum with what the octet at @bit of @word, row @bit / 8 of its column, adds to a column.
 *
 * In BPF's words, because clang (seen with 14) would compute the addresses of a whole round before
 * it reads anything, and put them on the stack.  What is lost: it cannot order the look-ups.
 */
CS_INLINE __u64 cs_aes_row(__u64 sum, const __u64 *table, __u64 word, int bit)
{
	__u64 at = cs_aes_index(word, bit);
	const int part = (4 - bit / 8) & 3;

#ifdef __bpf__
	asm volatile("%1 += %2\n%1 = *(u32 *)(%1 + %3)\n%0 ^= %1"
		     : "+&r"(sum), "+&r"(at)
		     : "r"(table), "i"(part));
	return sum;
#else
	__u32 rows;

	__builtin_memcpy(&rows, (const __u8 *)table + at + part, sizeof(rows));
	return sum ^ rows;
#endif
}

/* The same of the last round, which mixes no columns: row @row only. */
CS_INLINE __u64 cs_aes_last_row(__u64 sum, const __u64 *table, __u64 column, int row)
{
	__u64 at = cs_aes_index(column, row * 8);

#ifdef __bpf__
	if (row)
		asm volatile("%1 += %2\n%1 = *(u8 *)(%1 + 7)\n%1 <<= %3\n%0 ^= %1"
			     : "+&r"(sum), "+&r"(at)
			     : "r"(table), "i"(row * 8));
	else
		asm volatile("%1 += %2\n%1 = *(u8 *)(%1 + 7)\n%0 ^= %1"
			     : "+&r"(sum), "+&r"(at)
			     : "r"(table));
	return sum;
#else
	return sum ^ (__u64)((const __u8 *)table)[at + 7] << row * 8;
#endif
}

/*
 * Which row of column @from goes into column @c.  Row r of that comes from column c + r when
 * encrypting (@turn 1: ShiftRows), from c - r when decrypting (@turn -1).
 */
CS_INLINE int cs_aes_turned(int from, int c, int turn)
{
	return (from - c) * turn & 3;
}

/* The first round finds its columns in the block. */
CS_INLINE __u64 cs_aes_octet(__u64 sum, const __u64 *table, const __u64 block[2], int from, int row,
			     int octets)
{
	if (from * 4 + row >= octets)
		return sum;
	return cs_aes_row(sum, table, block[from >> 1], (from & 1) * 32 + row * 8);
}

/* Column @c of the first round, of the block's first @octets; @sum has what the others add. */
CS_INLINE __u64 cs_aes_first(__u64 sum, const __u64 *table, const __u64 block[2], int c, int turn,
			     int octets)
{
	sum = cs_aes_octet(sum, table, block, 0, cs_aes_turned(0, c, turn), octets);
	sum = cs_aes_octet(sum, table, block, 1, cs_aes_turned(1, c, turn), octets);
	sum = cs_aes_octet(sum, table, block, 2, cs_aes_turned(2, c, turn), octets);
	return cs_aes_octet(sum, table, block, 3, cs_aes_turned(3, c, turn), octets);
}

CS_INLINE __u64 cs_aes_column(__u64 sum, const __u64 *table, const __u64 state[4], int c, int turn)
{
	sum = cs_aes_row(sum, table, state[0], cs_aes_turned(0, c, turn) * 8);
	sum = cs_aes_row(sum, table, state[1], cs_aes_turned(1, c, turn) * 8);
	sum = cs_aes_row(sum, table, state[2], cs_aes_turned(2, c, turn) * 8);
	return cs_aes_row(sum, table, state[3], cs_aes_turned(3, c, turn) * 8);
}

/*
 * Column by column, and in each the look-ups in the order in which the round before has made its
 * columns: the processor begins with the first while the last are not there yet.
 */
CS_INLINE void cs_aes_round(const __u64 *table, const __u32 key[4], int turn, __u64 state[4])
{
	__u64 sum[4];

	sum[0] = cs_aes_column(key[0], table, state, 0, turn);
	sum[1] = cs_aes_column(key[1], table, state, 1, turn);
	sum[2] = cs_aes_column(key[2], table, state, 2, turn);
	sum[3] = cs_aes_column(key[3], table, state, 3, turn);
	state[0] = sum[0];
	state[1] = sum[1];
	state[2] = sum[2];
	state[3] = sum[3];
}

CS_INLINE __u64 cs_aes_last_octet(__u64 sum, const __u64 *table, __u64 column, int c, int row,
				  int octets)
{
	return c * 4 + row < octets ? cs_aes_last_row(sum, table, column, row) : sum;
}

CS_INLINE __u64 cs_aes_last(__u64 sum, const __u64 *table, const __u64 state[4], int c, int turn,
			    int octets)
{
	sum = cs_aes_last_octet(sum, table, state[0], c, cs_aes_turned(0, c, turn), octets);
	sum = cs_aes_last_octet(sum, table, state[1], c, cs_aes_turned(1, c, turn), octets);
	sum = cs_aes_last_octet(sum, table, state[2], c, cs_aes_turned(2, c, turn), octets);
	return cs_aes_last_octet(sum, table, state[3], c, cs_aes_turned(3, c, turn), octets);
}

/*
 * Reads the first @octets of the block and makes as many of the other; what is behind them is not
 * to be used.  @start: key of round 1 with what the octets add that are not read.  Two rounds in a
 * loop are 200 instructions; all of them in line are no faster.
 */
CS_INLINE void cs_aes_block(const struct cs_aes_key *key, const __u32 start[4], const __u64 *table,
			    int turn, int octets, __u64 block[2])
{
	const __u32 *last = key->round[CS_AES_ROUNDS];
	__u64 state[4], sum[4];

	block[0] ^= key->word[0][0];
	block[1] ^= key->word[0][1];
#ifdef __bpf__
	asm("" : "+r"(table)); /* else clang has the address once more in each look-up */
#endif
	state[0] = cs_aes_first(start[0], table, block, 0, turn, octets);
	state[1] = cs_aes_first(start[1], table, block, 1, turn, octets);
	state[2] = cs_aes_first(start[2], table, block, 2, turn, octets);
	state[3] = cs_aes_first(start[3], table, block, 3, turn, octets);
	for (int i = 2; i < CS_AES_ROUNDS; i += 2) {
		cs_aes_round(table, key->round[i], turn, state);
		cs_aes_round(table, key->round[i + 1], turn, state);
	}
	sum[0] = cs_aes_last(last[0], table, state, 0, turn, octets);
	sum[1] = cs_aes_last(last[1], table, state, 1, turn, octets);
	sum[2] = cs_aes_last(last[2], table, state, 2, turn, octets);
	sum[3] = cs_aes_last(last[3], table, state, 3, turn, octets);
	block[0] = sum[0] | sum[1] << 32;
	block[1] = sum[2] | sum[3] << 32;
}

/* The first CS_AES_HALF octets of a block; @start is of cs_aes_start(). */
CS_INLINE void cs_aes_encrypt_half(const struct cs_aes_key *key, const __u32 start[4],
				   __u64 block[2])
{
	cs_aes_block(key, start, cs_aes_forward, 1, CS_AES_HALF, block);
}

/* @key is of cs_aes_expand() */
CS_INLINE void cs_aes_encrypt(const struct cs_aes_key *key, __u64 block[2])
{
	cs_aes_block(key, key->round[1], cs_aes_forward, 1, CS_AES_WHOLE, block);
}

/* @key is of cs_aes_invert() (FIPS 197, section 5.3.5, the equivalent inverse cipher) */
CS_INLINE void cs_aes_decrypt(const struct cs_aes_key *key, __u64 block[2])
{
	cs_aes_block(key, key->round[1], cs_aes_inverse, -1, CS_AES_WHOLE, block);
}

#ifndef __bpf__

CS_INLINE __u32 cs_aes_s(__u32 octet)
{
	return cs_aes_forward[octet & 0xff] >> 56;
}

/* Schedule of a key's 16 octets (FIPS 197, section 5.2). */
static inline void cs_aes_expand(struct cs_aes_key *key, const __u8 octet[16])
{
	__u32 word[4 * (CS_AES_ROUNDS + 1)], rcon = 1;

	__builtin_memcpy(word, octet, 16);
	for (int i = 4; i < 4 * (CS_AES_ROUNDS + 1); i++) {
		__u32 last = word[i - 1];

		if (i % 4 == 0) {
			last = cs_aes_s(last >> 8) | cs_aes_s(last >> 16) << 8 |
			       cs_aes_s(last >> 24) << 16 | cs_aes_s(last) << 24;
			last ^= rcon;
			rcon = CS_AES_X2(rcon);
		}
		word[i] = word[i - 4] ^ last;
	}
	__builtin_memcpy(key, word, sizeof(*key));
}

/* InvMixColumns: the inverse table undoes the S-box, so that comes first. */
static inline __u32 cs_aes_unmix(__u32 column)
{
	__u64 mixed = 0;

	for (int bit = 0; bit < 32; bit += 8)
		mixed = cs_aes_row(mixed, cs_aes_inverse, (__u64)cs_aes_s(column >> bit) << bit,
				   bit);
	return mixed;
}

/* From the schedule for encryption, @key, that for decryption. */
static inline void cs_aes_invert(struct cs_aes_key *inverse, const struct cs_aes_key *key)
{
	for (int i = 0; i <= CS_AES_ROUNDS; i++) {
		for (int c = 0; c < 4; c++) {
			__u32 column = key->round[CS_AES_ROUNDS - i][c];

			inverse->round[i][c] = i % CS_AES_ROUNDS ? cs_aes_unmix(column) : column;
		}
	}
}

/*
 * The columns with which cs_aes_encrypt_half() begins for blocks whose second word ends with the
 * octets of @end: key of round 1, and what those from CS_AES_HALF on add.
 */
static inline void cs_aes_start(__u32 start[4], const struct cs_aes_key *key, __u64 end)
{
	__u64 block[2] = { 0, end ^ key->word[0][1] };

	for (int c = 0; c < 4; c++)
		start[c] = key->round[1][c];
	for (int at = CS_AES_HALF; at < CS_AES_WHOLE; at++) {
		int c = (at / 4 - at % 4) & 3;

		start[c] = cs_aes_octet(start[c], cs_aes_forward, block, at / 4, at % 4,
					CS_AES_WHOLE);
	}
}

#endif
#endif

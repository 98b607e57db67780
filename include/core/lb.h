/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * QUIC-LB: a connection ID that says which server made it (draft-ietf-quic-load-balancers-21).
 *
 *    0        1                                      1 + len          20
 *   +---+----+-----------------+--------------------+------- - - -----+
 *   |id | 5  |    server ID    |       nonce        | the server's own|
 *   +---+----+-----------------+--------------------+------- - - -----+
 *     3 bits  `-- len octets: as they are, or encrypted --'
 *
 * The 5 bits are the number of octets behind the first, or random.  With a key, 16 octets are one
 * block of AES-128.  Any other number is a Feistel network of four passes over two halves; in an
 * odd number the middle octet's high nibble belongs to the left, its low nibble to the right:
 *
 *    left  | o o o H.|        pass 1:  right ^= AES(left || 0 .. || len || 1)
 *    right       |.L o o o |  pass 2:  left ^= AES(right || 0 .. || len || 2),  and so on
 *
 * A half is at most 10 octets and lies in two words, zero where it has nothing; so are the masks
 * that keep it so.  They and the one shift, by which the right half lies behind the left one,
 * depend on the configuration alone and are part of it: the programs compute with words, without
 * a loop over octets and without a branch that the verifier would follow twice.
 *
 * Deciphering goes from pass 4 to 1.  Pass 1 changes the right half only and is left out if the
 * server ID is complete without that, which is when it is no longer than the nonce.
 */
#ifndef CS_LB_H
#define CS_LB_H

#include <linux/errno.h>
#include <linux/types.h>
#include <stddef.h>
#include "core/aes.h"
#include "core/quic.h"

#define CS_LB_MIN_SERVER_ID 1 /* octets */
#define CS_LB_MAX_SERVER_ID 15
#define CS_LB_MIN_NONCE 4
#define CS_LB_MAX_LEN (CS_MAX_CID - 1) /* of server ID and nonce */

#define CS_LB_NONE 0   /* there is no such configuration */
#define CS_LB_PLAIN 1  /* no key */
#define CS_LB_SINGLE 2 /* one block */
#define CS_LB_FOUR 3   /* four passes */

#define CS_LB_LEFT 0
#define CS_LB_RIGHT 1

/* One configuration; fit for a map's value.  Only cs_lb_init() makes one. */
struct cs_lb {
	__u8 algorithm;	    /* CS_LB_* */
	__u8 id;	    /* 0..6 */
	__u8 server_id_len; /* octets */
	__u8 nonce_len;
	__u8 tells_length;  /* 1: each ID's first octet does */
	__u8 last_pass;	    /* of decoding: 2 if three passes are enough, else 1 */
	__u8 shift;	    /* bits from the left to the right half, divided by two */
	__u8 host_len;	    /* octets of server IDs that say which host; 0: all are of one */
	__u64 server_id[2]; /* mask */
	__u64 half[2][2];   /* masks: CS_LB_LEFT, CS_LB_RIGHT */
	__u32 start[4][4];  /* of passes 1 to 4: cs_aes_start() */
	struct cs_aes_key encrypt;
	struct cs_aes_key decrypt;
};
_Static_assert(sizeof(struct cs_lb) == 472, "map value layout");

/* A server ID, zero behind its octets: fit for a map's key. */
struct cs_server_id {
	union {
		__u8 byte[16];
		__u64 word[2];
	};
};
_Static_assert(sizeof(struct cs_server_id) == 16, "map key layout");

/* Which configuration an ID is of; CS_LB_CONFIGS: none. */
CS_INLINE __u32 cs_lb_id(const struct cs_cid *cid)
{
	return cid->len ? cid->byte[0] >> 5 : CS_LB_CONFIGS;
}

/* Moves 24 octets towards the first, by less than a word. */
CS_INLINE void cs_lb_down(__u64 word[3], int bits)
{
	word[0] = word[0] >> bits | word[1] << (64 - bits);
	word[1] = word[1] >> bits | word[2] << (64 - bits);
	word[2] >>= bits;
}

CS_INLINE void cs_lb_up(__u64 word[3], int bits)
{
	word[2] = word[2] << bits | word[1] >> (64 - bits);
	word[1] = word[1] << bits | word[0] >> (64 - bits);
	word[0] <<= bits;
}

/* The right half is 2 to 9 octets behind the left one, which may be more than a word: two steps. */
CS_INLINE void cs_lb_split(const struct cs_lb *lb, __u64 octets[3], __u64 left[2], __u64 right[2])
{
	left[0] = octets[0] & lb->half[CS_LB_LEFT][0];
	left[1] = octets[1] & lb->half[CS_LB_LEFT][1];
	cs_lb_down(octets, lb->shift);
	cs_lb_down(octets, lb->shift);
	right[0] = octets[0] & lb->half[CS_LB_RIGHT][0];
	right[1] = octets[1] & lb->half[CS_LB_RIGHT][1];
}

CS_INLINE void cs_lb_join(const struct cs_lb *lb, const __u64 left[2], const __u64 right[2],
			  __u64 octets[3])
{
	octets[0] = right[0];
	octets[1] = right[1];
	octets[2] = 0;
	cs_lb_up(octets, lb->shift);
	cs_lb_up(octets, lb->shift);
	octets[0] |= left[0];
	octets[1] |= left[1];
}

#ifdef __bpf__
#define CS_LB_FUNCTION __attribute__((noinline))
#else
#define CS_LB_FUNCTION CS_INLINE
#endif

/*
 * What pass @pass adds to a half, from the other one, of words @first and @second.  Returns the
 * first word of it and writes the second.
 *
 * A function of its own for the verifier, which looks at it once, not for each pass; in numbers,
 * so that the halves stay in registers.
 */
CS_LB_FUNCTION __u64 cs_lb_encrypt(const struct cs_lb *lb, __u32 pass, __u64 first, __u64 second,
				   __u64 *rest)
{
	__u64 block[2] = { first, second };
	const __u64 *mask;

	if (!lb || !rest) /* the verifier's: there is no such caller */
		return 0;
	mask = lb->half[pass & 1];
	cs_aes_encrypt_half(&lb->encrypt, lb->start[(pass - 1) & 3], block);
	*rest = block[1] & mask[1];
	return block[0] & mask[0];
}

/* Passes 1 and 3 change the right half, 2 and 4 the left one. */
CS_INLINE void cs_lb_pass(const struct cs_lb *lb, __u32 pass, const __u64 from[2], __u64 to[2])
{
	__u64 rest = 0;

	to[0] ^= cs_lb_encrypt(lb, pass, from[0], from[1], &rest);
	to[1] ^= rest;
}

/* Leaves the server ID and what else is known of the plaintext. */
CS_INLINE void cs_lb_decipher(const struct cs_lb *lb, __u64 octets[3])
{
	__u64 left[2], right[2];

	cs_lb_split(lb, octets, left, right);
	cs_lb_pass(lb, 4, right, left);
	cs_lb_pass(lb, 3, left, right);
	cs_lb_pass(lb, 2, right, left);
	if (lb->last_pass == 1)
		cs_lb_pass(lb, 1, left, right);
	cs_lb_join(lb, left, right, octets);
}

/*
 * cs_lb_decode - which server made a connection ID
 * @lb:		the configuration with the ID's cs_lb_id(); may be all zero
 * @server:	written on success only
 *
 * Octets behind the nonce say nothing.  A client's first DCID is as good as any: that a server
 * ID comes out does not mean that the ID was issued.
 *
 * Returns 0, or -1: the ID is not of this configuration, is too short for it, or tells another
 * length.
 */
CS_INLINE int cs_lb_decode(const struct cs_lb *lb, const struct cs_cid *cid,
			   struct cs_server_id *server)
{
	__u64 octets[3] = { cid->word[0], cid->word[1], cid->word[2] };
	__u32 len = lb->server_id_len + lb->nonce_len;

	if (lb->algorithm == CS_LB_NONE || cs_lb_id(cid) != lb->id || cid->len < 1 + len)
		return -1;
	if (lb->tells_length && 1 + (cid->byte[0] & 0x1fu) != cid->len)
		return -1;
	cs_lb_down(octets, 8);
	if (lb->algorithm == CS_LB_SINGLE)
		cs_aes_decrypt(&lb->decrypt, octets);
	else if (lb->algorithm == CS_LB_FOUR)
		cs_lb_decipher(lb, octets);
	server->word[0] = octets[0] & lb->server_id[0];
	server->word[1] = octets[1] & lb->server_id[1];
	return 0;
}

/*
 * cs_extract - what a CID of another format says of who made it
 * @at, @len:	octets of it
 *
 * Returns 0, or -1: the CID is too short.
 */
CS_INLINE int cs_extract(const struct cs_cid *cid, __u32 at, __u32 len, struct cs_server_id *id)
{
	__u64 word[3] = { cid->word[0], cid->word[1], cid->word[2] };

	if (at + len > cid->len)
		return -1;
	for (int i = 0; i < 2 && at >= 8; i++, at -= 8) {
		word[0] = word[1];
		word[1] = word[2];
		word[2] = 0;
	}
	if (at)
		cs_lb_down(word, (at & 7) * 8);
	id->word[0] = cs_keep_bytes(word[0], len);
	id->word[1] = cs_keep_bytes(word[1], (int)len - 8);
	return 0;
}

#ifndef __bpf__

/* What is wrong with a configuration, as part of a sentence; NULL: nothing. */
static inline const char *cs_lb_mistake(__u32 id, __u32 server_id_len, __u32 nonce_len)
{
	if (id >= CS_LB_CONFIGS)
		return "its id is not 0 to 6: 3 bits have no more, and 7 means that there is none";
	if (server_id_len < CS_LB_MIN_SERVER_ID)
		return "the server ID has no octet: there would be one server";
	if (server_id_len > CS_LB_MAX_SERVER_ID)
		return "the server ID has more than 15 octets: with the shortest nonce, 4, a "
		       "connection ID has no room for it";
	if (nonce_len < CS_LB_MIN_NONCE)
		return "the nonce has less than 4 octets: a server would run out of them";
	if (nonce_len > CS_LB_MAX_LEN || server_id_len + nonce_len > CS_LB_MAX_LEN)
		return "server ID and nonce have more than 19 octets: with the first one, that is "
		       "longer than a connection ID may be";
	return NULL;
}

/* Masks of the halves, and the way between them, for @len octets. */
static inline void cs_lb_halve(struct cs_lb *lb, __u32 len)
{
	__u8 *left = (__u8 *)lb->half[CS_LB_LEFT], *right = (__u8 *)lb->half[CS_LB_RIGHT];
	__u32 whole = len / 2;

	for (__u32 i = 0; i < whole; i++)
		left[i] = right[i] = 0xff;
	if (len % 2) {
		left[whole] = 0xf0;
		right[whole] = 0xff;
		right[0] = 0x0f;
	}
	lb->shift = whole * 8 / 2;
}

/*
 * cs_lb_init - make a configuration of which cs_lb_mistake() finds nothing
 * @tells_length:	1: the first octet of each ID tells its length
 * @key:		16 octets, or NULL: server IDs can be read by everybody
 */
static inline void cs_lb_init(struct cs_lb *lb, __u32 id, __u32 server_id_len, __u32 nonce_len,
			      int tells_length, const __u8 *key)
{
	__u32 len = server_id_len + nonce_len;

	*lb = (struct cs_lb){ .algorithm = CS_LB_PLAIN,
			      .id = id,
			      .server_id_len = server_id_len,
			      .nonce_len = nonce_len,
			      .tells_length = tells_length };
	for (__u32 i = 0; i < server_id_len; i++)
		((__u8 *)lb->server_id)[i] = 0xff;
	if (!key)
		return;
	cs_aes_expand(&lb->encrypt, key);
	cs_aes_invert(&lb->decrypt, &lb->encrypt);
	lb->algorithm = len == 16 ? CS_LB_SINGLE : CS_LB_FOUR;
	if (lb->algorithm == CS_LB_FOUR) {
		cs_lb_halve(lb, len);
		lb->last_pass = server_id_len <= nonce_len ? 2 : 1;
		for (__u64 pass = 1; pass <= 4; pass++)
			cs_aes_start(lb->start[pass - 1], &lb->encrypt, (len | pass << 8) << 48);
	}
}

static inline void cs_lb_encipher(const struct cs_lb *lb, __u64 octets[3])
{
	__u64 left[2], right[2];

	cs_lb_split(lb, octets, left, right);
	cs_lb_pass(lb, 1, left, right);
	cs_lb_pass(lb, 2, right, left);
	cs_lb_pass(lb, 3, left, right);
	cs_lb_pass(lb, 4, right, left);
	cs_lb_join(lb, left, right, octets);
}

/*
 * cs_lb_encode - write a connection ID that says which server made it
 * @server_id, @nonce:	as many octets as @lb says; with the same @server_id no nonce twice
 * @random:		5 bits of the first octet, unless that tells the length
 * @cid, @len:		first octet, server ID and nonce are written, what is behind them is
 *			the caller's
 *
 * Returns 0, or -EINVAL: @len is too small for them, or more than CS_MAX_CID.
 */
static inline int cs_lb_encode(const struct cs_lb *lb, const __u8 *server_id, const __u8 *nonce,
			       __u8 random, __u8 *cid, __u32 len)
{
	__u32 octets_len = lb->server_id_len + lb->nonce_len;
	union {
		__u8 byte[24];
		__u64 word[3];
	} octets = { { 0 } };

	if (len < 1 + octets_len || len > CS_MAX_CID)
		return -EINVAL;
	__builtin_memcpy(octets.byte, server_id, lb->server_id_len);
	__builtin_memcpy(octets.byte + lb->server_id_len, nonce, lb->nonce_len);
	if (lb->algorithm == CS_LB_SINGLE)
		cs_aes_encrypt(&lb->encrypt, octets.word);
	else if (lb->algorithm == CS_LB_FOUR)
		cs_lb_encipher(lb, octets.word);
	cid[0] = lb->id << 5 | (lb->tells_length ? len - 1 : random & 0x1f);
	__builtin_memcpy(cid + 1, octets.byte, octets_len);
	return 0;
}

#endif
#endif

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The part of a QUIC packet that routing needs: form, version, type, DCID.
 *
 *   long header (RFC 8999, section 5.1)          short header (RFC 8999, section 5.2)
 *   0     1        5    6                        0     1
 *   +-----+--------+----+------+---- - -         +-----+------+---- - -
 *   |1FTT.| version|len | DCID | SCID ...        |0F...| DCID | ...
 *   +-----+--------+----+------+---- - -         +-----+------+---- - -
 *
 * Only form bit, version and connection IDs are invariant; the two type bits T mean something
 * else in each version.  The fixed bit F may be 0 (RFC 9287).
 */
#ifndef CS_QUIC_H
#define CS_QUIC_H

#include <linux/types.h>
#include "core/abi.h"
#include "core/siphash.h"

#define CS_FORM_SHORT 0
#define CS_FORM_LONG 1

#define CS_TYPE_NONE 0 /* a short header, or a version whose types are not known */
#define CS_TYPE_INITIAL 1
#define CS_TYPE_0RTT 2
#define CS_TYPE_HANDSHAKE 3
#define CS_TYPE_RETRY 4

#define CS_QUIC_V1 0x00000001u /* RFC 9000 */
#define CS_QUIC_V2 0x6b3343cfu /* RFC 9369 */

#define CS_LONG_HEADER_DCID 6 /* offset in bytes */
#define CS_SHORT_HEADER_DCID 1
#define CS_HEAD_BYTES (CS_LONG_HEADER_DCID + CS_MAX_CID) /* of a payload, no more is read */

#define CS_FIXED_BIT 0x40 /* of the first byte */
#define CS_INITIAL_DATAGRAM                                                                        \
	1200u /* bytes that a client's Initial comes in (RFC 9000, section 14.1) */

/*
 * A connection ID, zero behind its @len bytes.  Longer ones, which only versions that are not
 * known can have (RFC 8999, section 5.3), are cut to CS_MAX_CID: consistent is enough for them.
 */
struct cs_cid {
	union {
		__u8 byte[24];
		__u64 word[3];
	};
	__u32 len;
};

struct cs_quic {
	struct cs_cid dcid;
	__u32 version; /* host order; 0 in a short header */
	__u32 length;  /* of the UDP payload, bytes */
	__u8 first;    /* byte of it; 0: it is empty */
	__u8 form;
	__u8 type;
};

/* 64 bits of a connection ID: the upper 48 are its tag, the lower 12 choose in the ring
 * (core/ring.h). */
CS_INLINE __u64 cs_cid_hash(const __u64 key[2], const struct cs_cid *cid)
{
	__u64 v[4], last = (__u64)cid->len << 56;

	cs_siphash_init(v, key);
	if (cid->len >= 16) {
		cs_siphash_word(v, cid->word[0]);
		cs_siphash_word(v, cid->word[1]);
		last |= cid->word[2];
	} else if (cid->len >= 8) {
		cs_siphash_word(v, cid->word[0]);
		last |= cid->word[1];
	} else {
		last |= cid->word[0];
	}
	cs_siphash_word(v, last);
	return cs_siphash_final(v);
}

#ifdef __bpf__
/* clang takes a word apart into bytes when it has to assume that it is not aligned. */
#define CS_LOAD64(p) (*(const __u64 *)(p))
#define CS_LOAD32(p) (*(const __u32 *)(p))
#else
CS_INLINE __u64 cs_load64(const void *p)
{
	__u64 word;

	__builtin_memcpy(&word, p, sizeof(word));
	return word;
}

CS_INLINE __u32 cs_load32(const void *p)
{
	__u32 word;

	__builtin_memcpy(&word, p, sizeof(word));
	return word;
}
#define CS_LOAD64(p) cs_load64(p)
#define CS_LOAD32(p) cs_load32(p)
#endif

/* @word with its bytes from @len on cleared; @len may be 0 or above 8. */
CS_INLINE __u64 cs_keep_bytes(__u64 word, int len)
{
	if (len <= 0)
		return 0;
	return len >= 8 ? word : word & ((1ULL << (len * 8)) - 1);
}

/* Copies @len bytes, at most CS_MAX_CID; CS_MAX_CID can be read. */
CS_INLINE void cs_cid_copy(struct cs_cid *cid, const __u8 *from, __u32 len)
{
	cid->word[0] = cs_keep_bytes(CS_LOAD64(from), len);
	cid->word[1] = cs_keep_bytes(CS_LOAD64(from + 8), (int)len - 8);
	cid->word[2] = cs_keep_bytes(CS_LOAD32(from + 16), (int)len - 16);
	cid->len = len;
}

/*
 * Bytes of a short header's DCID.  Its first octet says which QUIC-LB configuration made it, and
 * may say how long it is; one of more than 20 bytes is cut, and no server's.
 */
CS_INLINE __u32 cs_short_dcid_len(const struct cs_service *service, __u8 octet)
{
	__u32 config = octet >> 5, len;

	if (!(service->lb_configs >> config & 1))
		return service->cid_len;
	len = service->lb_len[config < CS_LB_CONFIGS ? config : 0];
	if (len)
		return len;
	len = 1 + (octet & 0x1f);
	return len < CS_MAX_CID ? len : CS_MAX_CID;
}

CS_INLINE __u8 cs_quic_type(__u32 version, __u8 first)
{
	__u8 bits = first >> 4 & 3;

	if (version == CS_QUIC_V1) /* RFC 9000, table 5 */
		return CS_TYPE_INITIAL + bits;
	if (version == CS_QUIC_V2) /* RFC 9369, section 3.2: the same, turned by one */
		return CS_TYPE_INITIAL + ((bits + 3) & 3);
	return CS_TYPE_NONE;
}

/*
 * cs_quic_parse - read the head of a UDP payload
 * @head:	CS_HEAD_BYTES that can be read; what lies behind the payload's end says nothing
 * @length:	bytes of the payload
 * @service:	knows how long a short header's DCID is
 * @quic:	all zero; written as far as it was read
 *
 * Returns 0, or -1 if the payload is shorter than its first bytes say, or is QUIC v1 or v2 with
 * a connection ID above 20 bytes (RFC 9000, section 17.2).
 */
CS_INLINE int cs_quic_parse(const __u8 *head, __u32 length, const struct cs_service *service,
			    struct cs_quic *quic)
{
	__u32 len;

	quic->length = length;
	quic->first = length ? head[0] : 0;
	quic->form = quic->first >> 7;
	if (quic->form == CS_FORM_SHORT) {
		/* Without an octet to look at no length is short enough, or each is 0. */
		len = cs_short_dcid_len(service, head[CS_SHORT_HEADER_DCID]);
		if (length < CS_SHORT_HEADER_DCID + len)
			return -1;
		cs_cid_copy(&quic->dcid, head + CS_SHORT_HEADER_DCID, len);
		return 0;
	}
	if (length < CS_LONG_HEADER_DCID)
		return -1;
	quic->version = (__u32)head[1] << 24 | head[2] << 16 | head[3] << 8 | head[4];
	quic->type = cs_quic_type(quic->version, head[0]);
	len = head[5];
	if (length < CS_LONG_HEADER_DCID + len)
		return -1;
	if (len > CS_MAX_CID) {
		if (quic->type != CS_TYPE_NONE)
			return -1;
		len = CS_MAX_CID;
	}
	cs_cid_copy(&quic->dcid, head + CS_LONG_HEADER_DCID, len);
	return 0;
}

#endif

// SPDX-License-Identifier: GPL-2.0-only
/*
 * What cs_quic_parse() says of a packet, and that it reads nothing that is not there.
 *
 * Each packet is parsed with the bytes that the parser may look at before a page that cannot be
 * read, and behind one, with this and that behind the payload's end.  A read outside kills the
 * test.
 */
#include <criterion/criterion.h>
#include <string.h>
#include <sys/mman.h>
#include "core/quic.h"
#include "law.h"

#define PAGE 4096

/* A page between two that cannot be read. */
static __u8 *island;

static void island_make(void)
{
	__u8 *map = mmap(NULL, 3 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	cr_assert_neq(map, MAP_FAILED);
	island = map + PAGE;
	cr_assert_eq(mprotect(island, PAGE, PROT_READ | PROT_WRITE), 0);
	bound_time(30);
}

TestSuite(quic, .init = island_make);

/* A parser without a trick: what is expected of @length bytes. */
static int parse_plainly(const __u8 *byte, size_t length, size_t cid_len, struct cs_quic *quic)
{
	int is_v1, is_v2;
	size_t first = 1, in_packet = cid_len;

	memset(quic, 0, sizeof(*quic));
	quic->length = length;
	if (length == 0)
		return -1;
	quic->first = byte[0];
	if (byte[0] >= 0x80) {
		if (length < 6)
			return -1;
		first = 6;
		in_packet = byte[5];
		quic->form = CS_FORM_LONG;
		for (int i = 1; i <= 4; i++)
			quic->version = quic->version * 256 + byte[i];
	}
	is_v1 = quic->version == 1;
	is_v2 = quic->version == 0x6b3343cf;
	if (is_v1)
		quic->type = (const __u8[]){ CS_TYPE_INITIAL, CS_TYPE_0RTT, CS_TYPE_HANDSHAKE,
					     CS_TYPE_RETRY }[byte[0] / 16 % 4];
	if (is_v2)
		quic->type = (const __u8[]){ CS_TYPE_RETRY, CS_TYPE_INITIAL, CS_TYPE_0RTT,
					     CS_TYPE_HANDSHAKE }[byte[0] / 16 % 4];
	if (first + in_packet > length || ((is_v1 || is_v2) && in_packet > 20))
		return -1;
	quic->dcid.len = in_packet > 20 ? 20 : in_packet;
	memcpy(quic->dcid.byte, byte + first, quic->dcid.len);
	return 0;
}

/* Parses a payload whose head lies at @at, with @noise behind its end. */
static int parse_at(__u8 *at, const __u8 *byte, size_t length, __u8 noise, __u8 cid_len,
		    struct cs_quic *quic)
{
	memset(island, noise, PAGE);
	memcpy(at, byte, length < CS_HEAD_BYTES ? length : CS_HEAD_BYTES);
	memset(quic, 0, sizeof(*quic));
	return cs_quic_parse(at, length, &(struct cs_service){ .cid_len = cid_len }, quic);
}

/* The parser for a short header of a service with configurations. */
static int parse_short(const struct cs_service *service, __u8 octet, size_t length,
		       struct cs_quic *quic)
{
	__u8 byte[1 + CS_MAX_CID] = { 0x40, octet };

	memset(island, 0xee, PAGE);
	memcpy(island, byte, length < sizeof(byte) ? length : sizeof(byte));
	memset(quic, 0, sizeof(*quic));
	return cs_quic_parse(island, length, service, quic);
}

static int same_quic(const struct cs_quic *a, const struct cs_quic *b)
{
	return a->form == b->form && a->type == b->type && a->version == b->version &&
	       a->dcid.len == b->dcid.len && !memcmp(a->dcid.byte, b->dcid.byte, 24);
}

/*
 * Parses the head of a payload of @length bytes against each guard, with one and another noise
 * behind it, and compares with the plain parser.  Returns what cs_quic_parse() returned, and its
 * answer in @quic.
 */
static int parse(const __u8 *byte, size_t length, __u8 cid_len, struct cs_quic *quic)
{
	__u8 *at[2] = { island, island + PAGE - CS_HEAD_BYTES };
	struct cs_quic plain;
	int expected = parse_plainly(byte, length, cid_len, &plain);

	for (int i = 0; i < 4; i++) {
		int err = parse_at(at[i % 2], byte, length, i / 2 ? 0 : 0xee, cid_len, quic);

		check(err == expected, "place %d: %zu bytes, first 0x%02x: %d instead of %d", i,
		      length, length ? byte[0] : 0, err, expected);
		check(err || same_quic(quic, &plain),
		      "place %d: %zu bytes, first 0x%02x: another answer", i, length,
		      length ? byte[0] : 0);
		check(quic->length == plain.length && quic->first == plain.first,
		      "place %d: another first byte or length", i);
	}
	return expected;
}

/* A long header in front of 64 bytes; returns its size. */
static size_t long_header(__u8 packet[400], __u8 first, __u32 version, __u8 dcid_len)
{
	size_t size = CS_LONG_HEADER_DCID + dcid_len + 64;

	for (size_t i = 0; i < size; i++)
		packet[i] = 0xa0 + i;
	packet[0] = first | 0x80;
	for (int i = 0; i < 4; i++)
		packet[1 + i] = version >> (24 - 8 * i);
	packet[5] = dcid_len;
	return size;
}

static const __u32 versions_unknown[] = {
	0x00000000, /* version negotiation */
	0x00000002, 0x01000000, 0x6b3343ce, 0x6b3343df, 0xcf43336b,
	0xff00001d, 0x0a0a0a0a, 0x1a2a3a4a, 0xfafafafa, /* greased: RFC 9000, section 15 */
};
#define UNKNOWN (sizeof(versions_unknown) / sizeof(versions_unknown[0]))

/* Every first byte of a long header: the fixed bit may be 0, the low four bits are not seen. */
Test(quic, the_types_of_v1_and_v2_are_those_of_their_rfcs)
{
	static const struct {
		__u32 version;
		__u8 bits;
		__u8 type;
	} rfc[] = {
		{ 0x00000001, 0x00, CS_TYPE_INITIAL }, /* RFC 9000, table 5 */
		{ 0x00000001, 0x10, CS_TYPE_0RTT },
		{ 0x00000001, 0x20, CS_TYPE_HANDSHAKE },
		{ 0x00000001, 0x30, CS_TYPE_RETRY },
		{ 0x6b3343cf, 0x10, CS_TYPE_INITIAL }, /* RFC 9369, section 3.2 */
		{ 0x6b3343cf, 0x20, CS_TYPE_0RTT },
		{ 0x6b3343cf, 0x30, CS_TYPE_HANDSHAKE },
		{ 0x6b3343cf, 0x00, CS_TYPE_RETRY },
	};
	struct cs_quic quic;
	__u8 packet[400];

	for (size_t i = 0; i < sizeof(rfc) / sizeof(rfc[0]); i++) {
		for (int other = 0; other < 256; other++) {
			__u8 first = (other & 0xcf) | rfc[i].bits | 0x80;
			size_t size = long_header(packet, first, rfc[i].version, 8);

			cr_assert_eq(parse(packet, size, 4, &quic), 0);
			cr_assert_eq(quic.form, CS_FORM_LONG);
			cr_assert_eq(quic.version, rfc[i].version);
			cr_assert_eq(quic.type, rfc[i].type, "0x%02x of version 0x%x", first,
				     rfc[i].version);
		}
	}
}

Test(quic, other_versions_have_a_dcid_and_no_type)
{
	struct cs_quic quic;
	__u8 packet[400];

	for (size_t i = 0; i < UNKNOWN; i++) {
		for (int first = 0x80; first < 0x100; first += 0x10) {
			size_t size = long_header(packet, first, versions_unknown[i], 8);

			cr_assert_eq(parse(packet, size, 4, &quic), 0);
			cr_assert_eq(quic.form, CS_FORM_LONG);
			cr_assert_eq(quic.type, CS_TYPE_NONE, "version 0x%x", versions_unknown[i]);
			cr_assert_eq(quic.version, versions_unknown[i]);
			cr_assert_eq(quic.dcid.len, 8);
			cr_assert_arr_eq(quic.dcid.byte, packet + CS_LONG_HEADER_DCID, 8);
		}
	}
}

/* RFC 9000, section 17.2, and RFC 8999, section 5.1. */
Test(quic, a_dcid_above_20_bytes_is_malformed_in_v1_and_v2_and_cut_in_others)
{
	struct cs_quic quic;
	__u8 packet[400];

	for (int len = 0; len < 256; len++) {
		size_t size = long_header(packet, 0xc0, CS_QUIC_V1, len);
		__u32 taken = len > 20 ? 20 : len;

		cr_assert_eq(parse(packet, size, 4, &quic), len > 20 ? -1 : 0, "%d", len);
		long_header(packet, 0xd0, CS_QUIC_V2, len);
		cr_assert_eq(parse(packet, size, 4, &quic), len > 20 ? -1 : 0, "%d", len);
		long_header(packet, 0xc0, 0x0a1a2a3a, len);
		cr_assert_eq(parse(packet, size, 4, &quic), 0, "%d", len);
		cr_assert_eq(quic.dcid.len, taken);
		for (__u32 i = 0; i < 24; i++)
			cr_assert_eq(quic.dcid.byte[i],
				     i < taken ? packet[CS_LONG_HEADER_DCID + i] : 0,
				     "DCID of %d bytes: byte %u", len, i);
	}
}

Test(quic, a_short_header_has_the_dcid_length_of_its_service)
{
	struct cs_quic quic;
	__u8 packet[64];

	for (int i = 0; i < 64; i++)
		packet[i] = 0x55 + i;
	for (int first = 0; first < 0x80; first++) {
		packet[0] = first;
		for (__u32 len = 1; len <= CS_MAX_CID; len++) {
			cr_assert_eq(parse(packet, sizeof(packet), len, &quic), 0);
			cr_assert_eq(quic.form, CS_FORM_SHORT);
			cr_assert_eq(quic.type, CS_TYPE_NONE);
			cr_assert_eq(quic.version, 0);
			cr_assert_eq(quic.dcid.len, len);
			for (__u32 i = 0; i < 24; i++)
				cr_assert_eq(quic.dcid.byte[i], i < len ? packet[1 + i] : 0);
		}
	}
}

/* The payload ends at each of its bytes: it is whole from the last byte of the DCID on. */
Test(quic, a_cut_packet_is_malformed_and_nothing_behind_it_is_read)
{
	static const __u32 version[] = { CS_QUIC_V1, CS_QUIC_V2, 0x0a0a0a0a };
	struct cs_quic quic;
	__u8 packet[400];

	for (int i = 0; i < 3; i++) {
		for (size_t len = 0; len <= CS_MAX_CID; len++) {
			size_t whole = long_header(packet, 0xc0, version[i], len);

			for (size_t size = 0; size <= whole; size++)
				cr_assert_eq(parse(packet, size, 8, &quic),
					     size < CS_LONG_HEADER_DCID + len ? -1 : 0,
					     "DCID of %zu bytes, cut to %zu", len, size);
		}
	}
	packet[0] = 0x40;
	for (size_t len = 1; len <= CS_MAX_CID; len++) {
		for (size_t size = 0; size <= 64; size++)
			cr_assert_eq(parse(packet, size, len, &quic),
				     size < CS_SHORT_HEADER_DCID + len ? -1 : 0,
				     "short header, DCID of %zu bytes, cut to %zu", len, size);
	}
}

Test(quic, a_payload_has_to_hold_all_that_its_head_says)
{
	struct cs_quic quic;
	__u8 packet[400], large[65527] = { 0x40 };

	/* 255 bytes said, 20 read. */
	long_header(packet, 0xc0, 0x0a0a0a0a, 255);
	cr_assert_eq(parse(packet, 6 + 255, 8, &quic), 0);
	cr_assert_eq(parse(packet, 6 + 254, 8, &quic), -1);
	/* A datagram may have 64 KiB. */
	cr_assert_eq(parse(large, sizeof(large), 8, &quic), 0);
}

Test(quic, a_service_may_have_empty_connection_ids)
{
	static const __u8 packet[2] = { 0x41, 7 };
	struct cs_quic quic;

	cr_assert_eq(parse(packet, 0, 0, &quic), -1);
	cr_assert_eq(parse(packet, 1, 0, &quic), 0);
	cr_assert_eq(parse(packet, 2, 0, &quic), 0);
	cr_assert_eq(quic.dcid.len, 0);
}

/* Half of them with a version and a DCID length that lead somewhere. */
static size_t random_packet(__u64 *seed, __u8 packet[64])
{
	static const __u32 version[] = { CS_QUIC_V1, CS_QUIC_V2, 0, 0x0a0a0a0a };

	random_fill(seed, packet, 64);
	if (random_below(seed, 2)) {
		__u32 chosen = version[random_below(seed, 4)];

		packet[0] |= 0x80;
		for (int i = 0; i < 4; i++)
			packet[1 + i] = chosen >> (24 - 8 * i);
		packet[5] = random_below(seed, 24);
	}
	return random_below(seed, 65);
}

Test(quic, any_bytes_parse_as_a_plain_parser_says)
{
	__u64 seed = 3, count = rounds(1000000), right = 0, wrong = 0;

	for (__u64 round = 0; round < count; round++) {
		__u8 packet[64], cid_len = random_below(&seed, CS_MAX_CID + 1);
		size_t length = random_packet(&seed, packet);
		struct cs_quic quic;

		if (parse(packet, length, cid_len, &quic))
			wrong++;
		else
			right++;
	}
	cr_assert_gt(right, count / 10);
	cr_assert_gt(wrong, count / 10);
}

/* How long the DCID of a short header is if its first octet is @octet. */
static __u32 plain_short_len(const struct cs_service *service, __u8 octet)
{
	static const __u8 bit[8] = { 1, 2, 4, 8, 16, 32, 64, 128 };
	__u32 told = 1 + octet % 32;

	if (!(service->lb_configs & bit[octet / 32]))
		return service->cid_len;
	if (service->lb_len[octet / 32])
		return service->lb_len[octet / 32];
	return told > 20 ? 20 : told;
}

Test(quic, a_short_header_s_dcid_is_as_long_as_its_first_octet_s_configuration_says)
{
	struct cs_service service = { .cid_len = 9,
				      .lb_configs = 0x55,
				      .lb_len = { 12, 7, 0, 7, 0, 7, 20 } };

	for (int octet = 0; octet < 256; octet++) {
		__u32 len = plain_short_len(&service, octet);

		for (__u32 length = 1; length <= 22; length++) {
			struct cs_quic quic;
			int err = parse_short(&service, octet, length, &quic);

			check(err == (length < 1 + len ? -1 : 0), "0x%02x, %u bytes: %d", octet,
			      length, err);
			check(err || quic.dcid.len == len, "0x%02x: %u bytes of DCID, not %u",
			      octet, quic.dcid.len, len);
			check(err || quic.dcid.byte[0] == octet, "0x%02x", octet);
		}
	}
}

// SPDX-License-Identifier: GPL-2.0-only
/*
 * Frames of the example server: what is built can be read and has the right checksums; what is
 * not whole, or nobody could answer, is not read.
 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <string.h>
#include "common/frame.h"
#include "law.h"

#define ETHERNET 14
#define IPV4 20
#define IPV6 40
#define UDP 8
#define MOST 2048

enum {
	NEXT_HOP = 0,
	NEXT_TCP = 6,
	NEXT_UDP = 17,
	NEXT_ROUTING = 43,
	NEXT_FRAGMENT = 44,
	NEXT_AUTH = 51,
	NEXT_DESTINATION = 60
};

struct sample {
	uint8_t bytes[MOST];
	size_t len;
	size_t ip; /* bytes of the IP header, with all that belongs to it */
};

static const uint8_t payload[] = "a datagram of some length";
#define PAYLOAD sizeof(payload)

static void put16(uint8_t *at, unsigned int value)
{
	at[0] = value >> 8;
	at[1] = value;
}

static unsigned int get16(const uint8_t *at)
{
	return at[0] << 8 | at[1];
}

static struct frame_ends ends_of(const char *local, const char *remote)
{
	struct frame_ends ends = { .local_mac = { 2, 0, 0, 0, 0, 1 },
				   .remote_mac = { 2, 0, 0, 0, 0, 2 } };

	cr_assert_eq(addr_parse(&ends.local, local), 0);
	cr_assert_eq(addr_parse(&ends.remote, remote), 0);
	return ends;
}

/* What a client sends, by hand: headers of @options more bytes, whose first has number @next. */
static struct sample received(int family, const uint8_t *options, size_t more, uint8_t next)
{
	struct sample s = { .ip = (family == 4 ? IPV4 : IPV6) + more };
	uint8_t *ip = s.bytes + ETHERNET, *udp = ip + s.ip;

	memcpy(s.bytes, "\2\0\0\0\0\1\2\0\0\0\0\2", 12);
	put16(s.bytes + 12, family == 4 ? 0x0800 : 0x86dd);
	if (family == 4) {
		ip[0] = 0x40 | s.ip / 4;
		put16(ip + 2, s.ip + UDP + PAYLOAD);
		ip[9] = NEXT_UDP;
		memcpy(ip + 12, "\12\11\1\2\12\11\1\1", 8);
	} else {
		ip[0] = 0x60;
		put16(ip + 4, more + UDP + PAYLOAD);
		ip[6] = next;
		inet_pton(AF_INET6, "fd09:1::2", ip + 8);
		inet_pton(AF_INET6, "fd09:1::1", ip + 24);
	}
	if (more)
		memcpy(udp - more, options, more);
	put16(udp, 40000);
	put16(udp + 2, 443);
	put16(udp + 4, UDP + PAYLOAD);
	memcpy(udp + UDP, payload, PAYLOAD);
	s.len = ETHERNET + s.ip + UDP + PAYLOAD;
	return s;
}

static struct sample plain(int family)
{
	return received(family, NULL, 0, NEXT_UDP);
}

/* In memory of just that size, for sanitizers; on failure nothing is written. */
static int parse(const struct sample *s, size_t len, struct frame_ends *ends)
{
	struct frame_ends before = *ends;
	uint8_t *bytes = malloc(len ? len : 1);
	const uint8_t *at = NULL;
	int n;

	memcpy(bytes, s->bytes, len);
	n = frame_parse(ends, &at, bytes, len);
	if (n < 0)
		cr_assert(!at && !memcmp(&before, ends, sizeof(before)), "it wrote, and failed");
	else
		cr_assert(!memcmp(at, payload, (size_t)n), "another payload");
	free(bytes);
	return n;
}

static bool is_read(const struct sample *s)
{
	struct frame_ends ends, wanted;
	int n;

	memset(&ends, 0, sizeof(ends));
	n = parse(s, s->len, &ends);
	if (n < 0)
		return false;
	wanted = s->bytes[12] == 8 ? ends_of("10.9.1.1:443", "10.9.1.2:40000") :
				     ends_of("[fd09:1::1]:443", "[fd09:1::2]:40000");
	cr_assert_eq(n, PAYLOAD);
	cr_assert(addr_equal(&ends.local, &wanted.local));
	cr_assert(addr_equal(&ends.remote, &wanted.remote));
	cr_assert_eq(ends.local.sa.sa_family, wanted.local.sa.sa_family);
	cr_assert_eq(ends.remote.sa.sa_family, wanted.remote.sa.sa_family);
	cr_assert_arr_eq(ends.local_mac, wanted.local_mac, FRAME_MAC);
	cr_assert_arr_eq(ends.remote_mac, wanted.remote_mac, FRAME_MAC);
	return true;
}

/* One byte is another one. */
static bool is_read_with(struct sample s, size_t at, uint8_t byte)
{
	s.bytes[at] = byte;
	return is_read(&s);
}

static bool is_read_with16(struct sample s, size_t at, unsigned int value)
{
	put16(s.bytes + at, value);
	return is_read(&s);
}

/* ---- what is read ---------------------------------------------------------------------------- */

Test(frame, a_whole_frame_is_read_and_padding_is_no_part_of_it)
{
	for (int family = 4; family <= 6; family += 2) {
		struct sample s = plain(family);

		cr_assert(is_read(&s));
		s.len += 100;
		cr_assert(is_read(&s));
	}
}

Test(frame, a_frame_that_ends_early_is_not_read)
{
	static const uint8_t options[16] = { NEXT_DESTINATION, 0, [8] = NEXT_UDP };
	struct sample samples[] = { plain(4), plain(6), received(4, options, 16, 0),
				    received(6, options, 16, NEXT_HOP) };
	struct frame_ends ends;

	memset(&ends, 0x5a, sizeof(ends));
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++)
		for (size_t len = 0; len < samples[i].len; len++)
			cr_assert_eq(parse(&samples[i], len, &ends), -1, "%zu, %zu bytes", i, len);
}

Test(frame, of_ipv4_any_options_are_skipped)
{
	uint8_t options[40];

	memset(options, 1, sizeof(options)); /* no operation */
	for (size_t more = 0; more <= sizeof(options); more += 4) {
		struct sample s = received(4, options, more, 0);

		cr_assert(is_read(&s), "%zu bytes", more);
	}
}

Test(frame, of_ipv6_hop_by_hop_destination_and_routing_headers_are_skipped)
{
	uint8_t headers[64] = { NEXT_DESTINATION,	 0, [8] = NEXT_ROUTING, 1,
				[24] = NEXT_DESTINATION, 0, [32] = NEXT_UDP,	3 };
	struct sample s = received(6, headers, 64, NEXT_HOP);

	cr_assert(is_read(&s));
	cr_assert(!is_read_with(s, ETHERNET + IPV6 + 24 + 3, 1), "segments are left");
	cr_assert(!is_read_with(s, ETHERNET + IPV6, NEXT_HOP), "hop-by-hop is not the first");
	cr_assert(!is_read_with(s, ETHERNET + IPV6, NEXT_AUTH), "a header that is not known");
	cr_assert(!is_read_with(s, ETHERNET + IPV6 + 33, 255), "longer than the packet");
}

Test(frame, of_ipv6_eight_extension_headers_are_skipped_and_no_more)
{
	uint8_t headers[72] = { 0 };
	struct sample s;

	for (size_t i = 0; i < 9; i++)
		headers[8 * i] = NEXT_DESTINATION;
	headers[64] = headers[56] = NEXT_UDP;
	s = received(6, headers, 64, NEXT_DESTINATION);
	cr_assert(is_read(&s));
	headers[56] = NEXT_DESTINATION;
	s = received(6, headers, 72, NEXT_DESTINATION);
	cr_assert(!is_read(&s));
}

Test(frame, a_fragment_is_not_read_and_a_whole_datagram_is)
{
	uint8_t fragment[8] = { NEXT_UDP, 0, 0, 6, 1, 2, 3, 4 }; /* reserved bits, a number */
	struct sample s = received(6, fragment, 8, NEXT_FRAGMENT);

	cr_assert(is_read(&s));
	cr_assert(!is_read_with(s, ETHERNET + IPV6 + 3, 1), "more fragments");
	cr_assert(!is_read_with(s, ETHERNET + IPV6 + 2, 1), "an offset");
	s = plain(4);
	cr_assert(is_read_with16(s, ETHERNET + 6, 0x4000), "it may not be fragmented");
	cr_assert(!is_read_with16(s, ETHERNET + 6, 0x2000), "more fragments");
	cr_assert(!is_read_with16(s, ETHERNET + 6, 1), "an offset");
}

/* ---- what is not ----------------------------------------------------------------------------- */

Test(frame, lengths_that_contradict_each_other_are_refused)
{
	struct sample s = plain(4);
	size_t udp_len = ETHERNET + IPV4 + 4;

	for (unsigned int total = 0; total <= 0xffff; total++)
		cr_assert_eq(is_read_with16(s, ETHERNET + 2, total), total == IPV4 + UDP + PAYLOAD,
			     "%u", total);
	for (uint8_t words = 0; words < 5; words++)
		cr_assert(!is_read_with(s, ETHERNET, 0x40 | words), "%u words", words);
	for (unsigned int len = 0; len < UDP; len++)
		cr_assert(!is_read_with16(s, udp_len, len), "%u", len);
	for (unsigned int len = UDP + PAYLOAD + 1; len <= 0xffff; len++)
		cr_assert(!is_read_with16(s, udp_len, len), "%u", len);
	s = plain(6);
	for (unsigned int len = 0; len <= 0xffff; len++)
		cr_assert_eq(is_read_with16(s, ETHERNET + 4, len), len == UDP + PAYLOAD, "%u", len);
}

Test(frame, the_payload_ends_where_udp_says)
{
	struct sample s = plain(4);
	struct frame_ends ends;

	for (size_t len = 0; len <= PAYLOAD; len++) {
		memset(&ends, 0, sizeof(ends));
		put16(s.bytes + ETHERNET + IPV4 + 4, UDP + len);
		cr_assert_eq(parse(&s, s.len, &ends), (int)len);
	}
}

Test(frame, what_is_not_udp_over_ip_is_refused)
{
	cr_assert(!is_read_with16(plain(4), 12, 0x86dd));
	cr_assert(!is_read_with16(plain(6), 12, 0x0800));
	cr_assert(!is_read_with16(plain(4), 12, 0x0806), "ARP");
	cr_assert(!is_read_with16(plain(4), 12, 0x8100), "a VLAN tag");
	cr_assert(!is_read_with(plain(4), ETHERNET, 0x65));
	cr_assert(!is_read_with(plain(6), ETHERNET, 0x40));
	cr_assert(!is_read_with(plain(4), ETHERNET + 9, NEXT_TCP));
	cr_assert(!is_read_with(plain(6), ETHERNET + 6, NEXT_TCP));
}

/* @at: where the address lies in the frame. */
static bool is_read_from(struct sample s, size_t at, const char *address)
{
	cr_assert_eq(inet_pton(at == ETHERNET + 12 || at == ETHERNET + 16 ? AF_INET : AF_INET6,
			       address, s.bytes + at),
		     1);
	return is_read(&s);
}

Test(frame, nobody_is_answered_who_is_not_one_other_host)
{
	static const char *const nobody4[] = { "0.0.0.0",   "0.1.2.3",	 "127.0.0.1",
					       "224.0.0.1", "240.0.0.1", "255.255.255.255" };
	static const char *const nobody6[] = { "::", "::1", "ff02::1", "::ffff:10.9.1.2" };

	for (size_t i = 0; i < sizeof(nobody4) / sizeof(nobody4[0]); i++) {
		cr_assert(!is_read_from(plain(4), ETHERNET + 12, nobody4[i]), "%s", nobody4[i]);
		cr_assert(!is_read_from(plain(4), ETHERNET + 16, nobody4[i]), "%s", nobody4[i]);
	}
	for (size_t i = 0; i < sizeof(nobody6) / sizeof(nobody6[0]); i++) {
		cr_assert(!is_read_from(plain(6), ETHERNET + 8, nobody6[i]), "%s", nobody6[i]);
		cr_assert(!is_read_from(plain(6), ETHERNET + 24, nobody6[i]), "%s", nobody6[i]);
	}
	cr_assert(!is_read_from(plain(4), ETHERNET + 12, "10.9.1.1"), "from itself");
	cr_assert(!is_read_from(plain(6), ETHERNET + 8, "fd09:1::1"), "from itself");
	cr_assert(!is_read_with16(plain(4), ETHERNET + IPV4, 0), "from no port");
	cr_assert(!is_read_with(plain(4), 0, 0x01), "to a group");
	cr_assert(!is_read_with(plain(4), 6, 0x03), "from a group");
}

Test(frame, any_bytes_at_all_are_read_within_their_bounds)
{
	__u64 seed = 11;

	bound_time(60);
	for (__u64 i = 0; i < rounds(200000); i++) {
		struct sample s = plain(i % 2 ? 4 : 6);
		const uint8_t *at;
		struct frame_ends ends;
		uint8_t *bytes;
		size_t len;
		int n;

		for (int j = random_below(&seed, 4); j >= 0; j--)
			s.bytes[random_below(&seed, s.len)] = random_word(&seed);
		len = random_below(&seed, 8) ? s.len : random_below(&seed, s.len);
		bytes = malloc(len ? len : 1);
		memcpy(bytes, s.bytes, len);
		n = frame_parse(&ends, &at, bytes, len);
		check(n < 0 || (at >= bytes + ETHERNET + IPV4 + UDP && at + n <= bytes + len),
		      "the payload lies outside");
		free(bytes);
	}
}

/* ---- what is built --------------------------------------------------------------------------- */

/* Of 16-bit words with end-around carry, as RFC 1071 defines it: 0xffff where a checksum is right.
 */
static uint16_t ones_sum(uint16_t so_far, const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned int word = i % 2 ? bytes[i] : bytes[i] << 8;
		unsigned int s = so_far + word;

		so_far = s > 0xffff ? s - 0xffff : s;
	}
	return so_far;
}

static bool sums_are_right(const uint8_t *frame, size_t len)
{
	const uint8_t *ip = frame + ETHERNET;
	size_t ip_len = get16(frame + 12) == 0x0800 ? IPV4 : IPV6;
	size_t udp_len = len - ETHERNET - ip_len;
	uint8_t pseudo[4] = { 0, NEXT_UDP, udp_len >> 8, udp_len };
	uint16_t s = ip_len == IPV4 ? ones_sum(0, ip + 12, 8) : ones_sum(0, ip + 8, 32);

	if (ip_len == IPV4 && ones_sum(0, ip, IPV4) != 0xffff)
		return false;
	return get16(ip + ip_len + 6) != 0 &&
	       ones_sum(ones_sum(s, pseudo, 4), ip + ip_len, udp_len) == 0xffff;
}

/* The same path in the eyes of the client. */
static struct frame_ends turned(const struct frame_ends *ends)
{
	struct frame_ends other = { .local = ends->remote, .remote = ends->local };

	memcpy(other.local_mac, ends->remote_mac, FRAME_MAC);
	memcpy(other.remote_mac, ends->local_mac, FRAME_MAC);
	return other;
}

static void build_and_read(const struct frame_ends *ends, const uint8_t *bytes, size_t len)
{
	struct frame_ends read, wanted = turned(ends);
	uint8_t frame[MOST];
	size_t size = frame_build(frame, sizeof(frame), ends, bytes, len);
	const uint8_t *at = NULL;
	int n;

	check(size > 0, "%zu bytes are not built", len);
	check(sums_are_right(frame, size), "%zu bytes: a checksum is wrong", len);
	n = frame_parse(&read, &at, frame, size);
	check(n == (int)len && !memcmp(at, bytes, len), "%zu bytes become %d", len, n);
	check(addr_equal(&read.local, &wanted.local) && addr_equal(&read.remote, &wanted.remote),
	      "the addresses are others");
	check(!memcmp(read.local_mac, wanted.local_mac, FRAME_MAC) &&
		      !memcmp(read.remote_mac, wanted.remote_mac, FRAME_MAC),
	      "the MAC addresses are others");
}

Test(frame, what_is_built_is_read_again_with_right_checksums)
{
	struct frame_ends ends[] = {
		ends_of("10.9.1.1:443", "192.0.2.7:40001"),
		ends_of("[fd09:1::1]:443", "[2001:db8::7]:40001"),
		ends_of("[::ffff:10.9.1.1]:443", "[::ffff:192.0.2.7]:40001"),
	};
	__u64 seed = 12;
	uint8_t bytes[1500];

	bound_time(60);
	for (__u64 i = 0; i < rounds(30000); i++) {
		size_t len = random_below(&seed, sizeof(bytes) + 1);

		random_fill(&seed, bytes, len);
		build_and_read(&ends[i % 3], bytes, len);
	}
}

Test(frame, a_udp_checksum_of_zero_is_sent_as_all_ones)
{
	struct frame_ends ends = ends_of("[fd09:1::1]:443", "[2001:db8::7]:40001");
	uint8_t frame[MOST], word[2] = { 0 };
	uint8_t *sum = frame + ETHERNET + IPV6 + 6;
	size_t size = frame_build(frame, sizeof(frame), &ends, word, 2);

	/* The payload takes up what is missing. */
	memcpy(word, sum, 2);
	size = frame_build(frame, sizeof(frame), &ends, word, 2);
	cr_assert_eq(get16(sum), 0xffff);
	cr_assert(sums_are_right(frame, size));
}

Test(frame, an_ipv4_frame_may_not_be_fragmented)
{
	struct frame_ends ends = ends_of("10.9.1.1:443", "192.0.2.7:40001");
	uint8_t frame[MOST];

	cr_assert_eq(frame_build(frame, sizeof(frame), &ends, payload, PAYLOAD),
		     ETHERNET + IPV4 + UDP + PAYLOAD);
	cr_assert_eq(get16(frame + ETHERNET + 6), 0x4000);
}

Test(frame, nothing_is_built_that_does_not_fit)
{
	struct frame_ends ends = ends_of("10.9.1.1:443", "192.0.2.7:40001");
	struct frame_ends mixed = ends_of("10.9.1.1:443", "[2001:db8::7]:40001");
	size_t whole = ETHERNET + IPV4 + UDP + PAYLOAD;
	uint8_t *big = calloc(1, 70000), *room = malloc(whole);

	for (size_t size = 0; size < whole; size++)
		cr_assert_eq(frame_build(room, size, &ends, payload, PAYLOAD), 0, "%zu", size);
	cr_assert_eq(frame_build(room, whole, &ends, payload, PAYLOAD), whole);
	cr_assert_eq(frame_build(room, whole, &mixed, payload, 0), 0, "two families");
	cr_assert_eq(frame_build(big, 70000, &ends, big, 65535 - IPV4 - UDP + 1), 0);
	cr_assert_eq(frame_build(big, 70000, &ends, big, SIZE_MAX), 0);
	free(big);
	free(room);
}

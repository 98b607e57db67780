// SPDX-License-Identifier: GPL-2.0-only
/* cs_reuseport: packets whose bytes lie in several pieces, and headers that XDP leaves alone. */
#include <net/if.h>
#include <sys/ioctl.h>

#include "sockets.h"

TestSuite(pieces, .init = begin);

/* ---- payloads that are not linear ---------------------------------------------------------- */

/* Above 16 KB the loopback carries the whole payload in fragments of the skb. */
Test(pieces, a_large_datagram_is_read_where_it_lies)
{
	static const size_t sizes[] = { 1500, 16000, 16384, 17000, 30000, 65000 };
	static __u8 packet[65000];

	for (size_t i = 0; i < COUNT(sizes) * COUNT(to_h3); i++) {
		const struct path *path = &to_h3[i % COUNT(to_h3)];
		const struct worker *owner = &worker[0][i / 2 % WORKERS];
		__u8 random[8] = { i, 9 };

		quic_short(packet, 0x40, owner->cid[0], 8, sizes[i / COUNT(to_h3)]);
		check_datagram(0, path, packet, sizes[i / COUNT(to_h3)], CS_C_by_table);
		quic_long(packet, 0xf0, CS_QUIC_V2, owner->cid[1], 8, sizes[i / COUNT(to_h3)]);
		check_datagram(0, path, packet, sizes[i / COUNT(to_h3)], CS_C_by_table);
		quic_long(packet, 0xc0, CS_QUIC_V1, random, 8, sizes[i / COUNT(to_h3)]);
		check_datagram(0, path, packet, sizes[i / COUNT(to_h3)], CS_C_by_ring);
		quic_short(packet, 0x40, random, 8, sizes[i / COUNT(to_h3)]);
		check_datagram(0, path, packet, sizes[i / COUNT(to_h3)], CS_C_unknown_cid);
	}
}

/* With MSG_MORE the second part lies in another piece of memory than the first. */
Test(pieces, a_head_in_two_pieces_is_read_whole)
{
	for (size_t cork = 1; cork < 40; cork++) {
		struct path path = to_h3[cork % COUNT(to_h3)];
		const struct worker *owner = &worker[0][cork % WORKERS];
		__u8 packet[100], random[CS_MAX_CID] = { cork, 9 };

		path.cork = cork;
		quic_short(packet, 0x40, owner->cid[0], 8, sizeof(packet));
		check_datagram(0, &path, packet, sizeof(packet), CS_C_by_table);
		check_datagram(0, &path, packet, 9, CS_C_by_table);
		check_datagram(0, &path, packet, 8, CS_C_malformed);
		quic_long(packet, 0xc0, CS_QUIC_V1, owner->cid[1], 8, sizeof(packet));
		check_datagram(0, &path, packet, sizeof(packet), CS_C_by_table);
		quic_long(packet, 0xc0, CS_QUIC_V1, random, CS_MAX_CID, sizeof(packet));
		check_datagram(0, &path, packet, sizeof(packet), CS_C_by_ring);
	}
}

/* What an earlier packet left in the program's buffer is no part of a shorter one. */
Test(pieces, a_short_payload_in_pieces_has_nothing_of_the_one_before)
{
	struct path path = to_h3[3];
	__u8 packet[64];

	path.zerocopy = true;
	for (size_t len = 1; len <= 14; len++) {
		quic_long(packet, 0xe0, CS_QUIC_V1, worker[0][1].cid[0], 8, sizeof(packet));
		check_datagram(0, &path, packet, sizeof(packet), CS_C_by_table);
		check_datagram(0, &path, packet, len, len < 14 ? CS_C_malformed : CS_C_by_table);
	}
}

Test(pieces, a_zerocopy_datagram_is_read_where_it_lies)
{
	for (int round = 0; round < 40; round++) {
		struct path path = to_h3[round % COUNT(to_h3)];
		__u8 packet[1200];

		path.zerocopy = true;
		quic_short(packet, 0x40, worker[0][round % WORKERS].cid[0], 8, sizeof(packet));
		check_datagram(0, &path, packet, sizeof(packet), CS_C_by_table);
		quic_long(packet, 0xc0, CS_QUIC_V1, (__u8[8]){ round }, 8, sizeof(packet));
		check_datagram(0, &path, packet, sizeof(packet), CS_C_by_ring);
		check_datagram(0, &path, packet, round % 14, CS_C_malformed);
	}
}

static void set_mtu(int mtu)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_mtu = mtu };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	check(!ioctl(fd, SIOCSIFMTU, &request), "mtu: %s", strerror(errno));
	close(fd);
}

Test(pieces, a_fragmented_datagram_is_routed_once_when_it_is_whole)
{
	static __u8 packet[20000];

	set_mtu(1300);
	for (int round = 0; round < 16; round++) {
		const struct path *path = &to_h3[round % COUNT(to_h3)];
		size_t len = 1300 + 1200 * round;

		quic_short(packet, 0x40, worker[0][round / 4].cid[0], 8, len);
		check_datagram(0, path, packet, len, CS_C_by_table);
		quic_long(packet, 0xc0, CS_QUIC_V1, (__u8[8]){ round }, 8, len);
		check_datagram(0, path, packet, len, CS_C_by_ring);
		quic_short(packet, 0x40, (__u8[8]){ round }, 8, len);
		check_datagram(0, path, packet, len, CS_C_unknown_cid);
	}
}

/* ---- headers that XDP leaves to the stack -------------------------------------------------- */

Test(pieces, ip_options_and_extension_headers_change_nothing)
{
	__u8 packet[64];

	for (int round = 0; round < 40; round++) {
		struct path path = to_h3[round % COUNT(to_h3)];

		if (strchr(path.from, ':'))
			path.dst_options = true;
		else
			path.ipv4_options = 4 + 4 * (round % 10);
		quic_short(packet, 0x40, worker[0][round % WORKERS].cid[0], 8, sizeof(packet));
		check_datagram(0, &path, packet, sizeof(packet), CS_C_by_table);
		quic_short(packet, 0x40, (__u8[8]){ round }, 8, sizeof(packet));
		check_datagram(0, &path, packet, sizeof(packet), CS_C_unknown_cid);
	}
}

/*
 * A UDP header by hand, with a length that is not the packet's; returns what explain says.
 * The kernel has computed the checksum over what is there.
 */
static void send_by_hand(const char *address, __u16 udp_len, const void *payload, size_t len)
{
	struct sockaddr_storage to;
	socklen_t to_len = to_address(address, 0, &to);
	int fd = socket(to.ss_family, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_UDP), offset = 6;
	__be16 head[4] = { htons(5000), htons(4433), htons(udp_len), 0 };
	__u8 packet[256];

	if (to.ss_family == AF_INET6)
		check(!setsockopt(fd, SOL_RAW, IPV6_CHECKSUM, &offset, sizeof(offset)),
		      "IPV6_CHECKSUM: %s", strerror(errno));
	memcpy(packet, head, sizeof(head));
	memcpy(packet + sizeof(head), payload, len);
	check(sendto(fd, packet, sizeof(head) + len, 0, (struct sockaddr *)&to, to_len) ==
		      (ssize_t)(sizeof(head) + len),
	      "sendto: %s", strerror(errno));
	close(fd);
}

/* What the socket's hook must make of it; @reason above 0 differs from what explain says. */
static void check_by_hand(const char *address, __u16 udp_len, const void *payload, size_t len,
			  size_t expected, __u32 reason)
{
	struct frame_spec spec = { .saddr = address,
				   .daddr = address,
				   .payload = payload,
				   .payload_len = len,
				   .udp_longer = udp_len - 8 - (int)len };
	static struct counters before, after;
	struct cs_verdict said;
	struct frame frame;
	int got;

	frame_build(&frame, &spec);
	said = run_explain(&plane, frame.byte, frame.len, address);
	counters_read(&plane, &before);
	send_by_hand(address, udp_len, payload, len);
	got = receiver(0, expected);
	counters_read(&plane, &after);
	counters_expect(&before, CS_HOOK_REUSEPORT, service_named(&plane, "h3"),
			reason ? reason : said.reason, 1);
	counters_check(&before, &after, address);
	if (reason)
		check(said.reason == CS_C_not_ours && got % 100 == 2, "number %d", got % 100);
	else
		check(got % 100 == number_of(0, said.worker),
		      "%s, UDP length %u: number %d, explain says %d", address, udp_len, got % 100,
		      number_of(0, said.worker));
}

/* The stack cuts off what is behind the UDP length before it asks the program. */
Test(pieces, a_udp_length_below_the_packets_is_where_the_payload_ends)
{
	__u8 packet[64];

	quic_short(packet, 0x40, worker[0][2].cid[0], 8, sizeof(packet));
	for (size_t len = 0; len <= 20; len++)
		check_by_hand("127.0.0.1", 8 + len, packet, sizeof(packet), len, 0);
}

static __u64 seen_by_sockets(void)
{
	static struct counters now;

	counters_read(&plane, &now);
	return now.value[CS_COUNTER_KEY(CS_HOOK_REUSEPORT, service_named(&plane, "h3"))][CS_C_seen];
}

/*
 * RFC 2675: over IPv6 the stack reads a UDP length of 0 as "to the packet's end".  Linux 7.3 does
 * so no more, and discards it.
 */
Test(pieces, an_ipv6_packet_with_a_udp_length_of_0_is_left_to_this_hook)
{
	__u64 before;
	__u8 packet[64];

	quic_short(packet, 0x40, worker[0][2].cid[0], 8, sizeof(packet));
	before = seen_by_sockets();
	send_by_hand("::1", 0, packet, sizeof(packet));
	if (!eventually(seen_by_sockets() != before))
		cr_skip_test("this kernel discards such packets");
	receiver(0, sizeof(packet));
	check_by_hand("::1", 0, packet, sizeof(packet), sizeof(packet), CS_C_by_table);
}

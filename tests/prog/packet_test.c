// SPDX-License-Identifier: GPL-2.0-only
/* cs_xdp and cs_explain in the kernel: from the frame to the UDP payload and its listener. */
#include "packet.h"

TestSuite(packet, .init = make_all);

/* What is not plain UDP over IP is the stack's, and counted under service 0. */
Test(packet, what_is_not_udp_to_a_service_passes_and_belongs_to_no_service)
{
	static const struct {
		const char *name;
		struct frame_spec spec;
	} cases[] = {
		{ "ARP", { .eth_type = ETH_P_ARP } },
		{ "an 802.3 length", { .eth_type = 0x0100 } },
		{ "VLAN", { .vlan = 7 } },
		{ "VLAN, priority tag", { .vlan = 0xe000 } },
		{ "VLAN, IPv6", { .vlan = 7, .saddr = V6("1"), .daddr = V6("7") } },
		{ "IPv4 in an IPv6 frame", { .eth_type = ETH_P_IPV6 } },
		{ "IPv6 in an IPv4 frame",
		  { .eth_type = ETH_P_IP, .saddr = V6("1"), .daddr = V6("7") } },
		{ "ihl 0", { .ihl = 1 } },
		{ "ihl 4", { .ihl = 1 + 4 } },
		{ "TCP", { .proto = IPPROTO_TCP } },
		{ "ICMP", { .proto = IPPROTO_ICMP } },
		{ "UDP-Lite", { .proto = IPPROTO_UDPLITE } },
		{ "TCP, fragment", { .proto = IPPROTO_TCP, .frag_off = 0x2000 } },
		{ "TCP, IPv6", { .proto = IPPROTO_TCP, .saddr = V6("1"), .daddr = V6("7") } },
		{ "hop-by-hop",
		  { .extended = true,
		    .extension = IPPROTO_HOPOPTS,
		    .saddr = V6("1"),
		    .daddr = V6("7") } },
		{ "routing",
		  { .extended = true,
		    .extension = IPPROTO_ROUTING,
		    .saddr = V6("1"),
		    .daddr = V6("7") } },
		{ "destination",
		  { .extended = true,
		    .extension = IPPROTO_DSTOPTS,
		    .saddr = V6("1"),
		    .daddr = V6("7") } },
		{ "another port", { .dport = 4434 } },
		{ "another port, IPv6", { .dport = 4434, .saddr = V6("1"), .daddr = V6("7") } },
		{ "a service's port as source", { .sport = 4433, .dport = 5000 } },
		{ "another address, no wildcard",
		  { .dport = 4800, .saddr = V6("1"), .daddr = V6("8") } },
		{ "an IPv4 wildcard, IPv6", { .dport = 4600, .saddr = V6("1"), .daddr = V6("7") } },
		{ "an exact address of IPv6, IPv4", { .dport = 4800 } },
		{ "a UDP length of 0", { .udp_longer = -8 - 64 } },
		{ "a UDP length of 7", { .udp_longer = -1 - 64 } },
	};

	add_route(H3, dcid_one, 8, ACTIVE);
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct frame_spec spec = short_spec(), own = cases[i].spec;

		own.payload = spec.payload;
		own.payload_len = spec.payload_len;
		check_spec(&own, CS_C_not_ours, 0, cases[i].name);
	}
}

Test(packet, fragments_pass_and_are_counted_as_such)
{
	static const struct {
		const char *name;
		struct frame_spec spec;
	} cases[] = {
		{ "first", { .frag_off = 0x2000 } },
		{ "first, may not be fragmented", { .frag_off = 0x6000 } },
		{ "middle", { .frag_off = 0x2000 | 185 } },
		{ "last", { .frag_off = 185 } },
		{ "least offset", { .frag_off = 1 } },
		{ "an offset in the upper bits of the last byte", { .frag_off = 0x40 } },
		{ "and the uppermost", { .frag_off = 0x80 } },
		{ "largest offset", { .frag_off = 0x1fff } },
		{ "another port", { .frag_off = 0x2000, .dport = 9 } },
		{ "IPv6",
		  { .extended = true,
		    .extension = IPPROTO_FRAGMENT,
		    .saddr = V6("1"),
		    .daddr = V6("7") } },
	};

	add_route(H3, dcid_one, 8, ACTIVE);
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct frame_spec spec = short_spec(), own = cases[i].spec;

		own.payload = spec.payload;
		own.payload_len = spec.payload_len;
		check_spec(&own, CS_C_fragment, 0, cases[i].name);
	}
}

/* DF is in most packets that Linux sends; a reserved bit says nothing (RFC 791, section 3.1). */
Test(packet, what_may_not_be_fragmented_is_no_fragment)
{
	static const __u16 flags[] = { 0x4000, 0x8000, 0xc000 };

	add_route(H3, dcid_one, 8, ACTIVE);
	for (size_t i = 0; i < COUNT(flags); i++) {
		struct frame_spec spec = short_spec();

		spec.frag_off = flags[i];
		check_spec(&spec, CS_C_by_table, H3, "flags");
	}
}

Test(packet, addresses_find_their_listener_the_exact_one_before_the_wildcard)
{
	static const struct {
		const char *saddr, *daddr;
		__u16 dport, service, position, listener; /* as in make_listeners() */
	} cases[] = {
		{ "10.0.0.9", "10.0.0.1", 4433, H3, 0, 1 },
		{ "10.0.0.9", "255.255.255.255", 4433, H3, 0, 1 },
		{ V6("1"), V6("1"), 4433, H3, 0, 0 },
		{ "10.0.0.9", "10.0.0.7", 4433, H3, 1, 2 },
		{ V6("1"), V6("7"), 4433, H3, 2, 3 },
		{ "10.0.0.9", "10.0.0.8", 4433, EXACT, 0, 4 },
		{ V6("1"), V6("8"), 4433, H3, 0, 0 },
		{ V6("1"), V6("1"), 4500, BOTH, 0, 5 },
		{ "10.0.0.9", "10.0.0.1", 4500, BOTH, 1, 6 },
		{ "10.0.0.9", "10.0.0.1", 4600, V4, 0, 7 },
		{ V6("1"), V6("1"), 4700, BARE, 0, 8 },
		{ "10.0.0.9", "10.0.0.1", 4700, BARE, 0, 9 },
		{ V6("1"), V6("9"), 4800, IDLE, 0, 10 },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct frame_spec spec = short_spec();
		__u16 service = cases[i].service;
		__u32 reason = service == BARE ? CS_C_by_tuple :
			       service == IDLE ? CS_C_no_worker :
						 CS_C_unknown_cid;
		struct cs_verdict got;

		spec.saddr = cases[i].saddr;
		spec.daddr = cases[i].daddr;
		spec.dport = cases[i].dport;
		got = check_spec(&spec, reason, service, cases[i].daddr);
		check(got.position == cases[i].position &&
			      got.listener == model.listener[cases[i].listener].number,
		      "%s:%u: listener %u at position %u", cases[i].daddr, cases[i].dport,
		      got.listener, got.position);
	}
}

Test(packet, ipv4_options_are_skipped)
{
	for (int options = 0; options <= 40; options += 4) {
		struct frame_spec spec = short_spec();

		clear_routes(H3);
		spec.options = options;
		check_spec(&spec, CS_C_unknown_cid, H3, "options");
		add_route(H3, dcid_one, 8, ACTIVE);
		check(check_spec(&spec, CS_C_by_table, H3, "options").worker == ACTIVE, "worker");
	}
}

/* Every length of a valid packet from its Ethernet header on. */
static void cut_everywhere(struct frame_spec *spec, size_t dcid_end, const char *what)
{
	struct frame frame;

	frame_build(&frame, spec);
	for (size_t len = ETH_HLEN; len <= frame.len; len++) {
		if (len < frame.payload)
			check_packet(frame.byte, len, CS_C_not_ours, 0, what);
		else if (len < frame.payload + dcid_end)
			check_packet(frame.byte, len, CS_C_malformed, H3, what);
		else
			check_packet(frame.byte, len, CS_C_by_table, H3, what);
	}
}

Test(packet, a_packet_cut_anywhere_passes_and_goes_by_what_is_left)
{
	struct frame_spec spec = short_spec();
	__u8 payload[64];

	add_route(H3, dcid_one, 8, ACTIVE);
	cut_everywhere(&spec, 1 + 8, "short header, IPv4");
	spec.options = 12;
	cut_everywhere(&spec, 1 + 8, "short header, IPv4 options");
	spec.options = 0;
	spec.saddr = V6("1");
	spec.daddr = V6("7");
	cut_everywhere(&spec, 1 + 8, "short header, IPv6");
	spec.payload = payload;
	quic_long(payload, 0xe0, CS_QUIC_V1, dcid_one, 8, sizeof(payload));
	cut_everywhere(&spec, 6 + 8, "Handshake, IPv6");
	quic_long(payload, 0xc0, CS_QUIC_V1, dcid_one, 20, sizeof(payload));
	add_route(H3, dcid_one, 20, DRAINING);
	spec.saddr = spec.daddr = NULL;
	cut_everywhere(&spec, 6 + 20, "Initial, IPv4");
}

/* The payload ends where UDP says; what lies behind it in the frame does not count. */
Test(packet, a_payload_ends_where_udp_says)
{
	struct frame_spec spec = short_spec();
	__u8 payload[64];

	add_route(H3, dcid_one, 8, ACTIVE);
	for (int len = 0; len <= 64; len++) {
		spec.udp_longer = len - 64;
		check_spec(&spec, len < 1 + 8 ? CS_C_malformed : CS_C_by_table, H3, "short header");
	}
	quic_long(payload, 0xd0, CS_QUIC_V2, dcid_one, 8, sizeof(payload));
	spec.payload = payload;
	for (int len = 0; len <= 64; len++) {
		spec.udp_longer = len - 64;
		check_spec(&spec, len < 6 + 8 ? CS_C_malformed : CS_C_by_table, H3, "long header");
	}
	for (int longer = 1; longer < 1500; longer += 111) {
		spec.udp_longer = longer;
		check_spec(&spec, CS_C_by_table, H3, "a UDP length above the frame's");
	}
	spec.udp_longer = 0;
	spec.padding = 46;
	check_spec(&spec, CS_C_by_table, H3, "padding");
}

Test(packet, an_empty_datagram_goes_by_its_tuple)
{
	struct frame_spec spec = {};

	check_spec(&spec, CS_C_malformed, H3, "nothing");
	spec.padding = 18;
	check_spec(&spec, CS_C_malformed, H3, "nothing but padding");
	spec.dport = 4700;
	check_spec(&spec, CS_C_by_tuple, BARE, "nothing, without IDs");
}

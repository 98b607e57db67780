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
		{ "another port", { .dport = 4434 } },
		{ "another port, IPv6", { .dport = 4434, .saddr = V6("1"), .daddr = V6("7") } },
		{ "a service's port as source", { .sport = 4433, .dport = 5000 } },
		{ "another address, no wildcard",
		  { .dport = 4800, .saddr = V6("1"), .daddr = V6("8") } },
		{ "an IPv4 wildcard, IPv6", { .dport = 4600, .saddr = V6("1"), .daddr = V6("7") } },
		{ "an exact address of IPv6, IPv4", { .dport = 4800 } },
		{ "a UDP length of 0 over IPv6",
		  { .udp_longer = -8 - 64, .saddr = V6("1"), .daddr = V6("7") } },
		{ "IPv4, a total length of 19", { .ip_longer = -8 - 64 - 1 } },
		{ "IPv4, room for 7 bytes", { .ip_longer = -64 - 1 } },
		{ "IPv4, longer than the frame", { .ip_longer = 1 } },
		{ "IPv6, room for 7 bytes",
		  { .ip_longer = -64 - 1, .saddr = V6("1"), .daddr = V6("7") } },
		{ "IPv6, an empty payload",
		  { .ip_longer = -64 - 8, .saddr = V6("1"), .daddr = V6("7") } },
		{ "IPv6, longer than the frame",
		  { .ip_longer = 1, .saddr = V6("1"), .daddr = V6("7") } },
		{ "a wildcard, not our address", { .daddr = "10.0.0.2" } },
		{ "a wildcard, broadcast", { .daddr = "255.255.255.255" } },
		{ "a wildcard, not our address, IPv6", { .saddr = V6("1"), .daddr = V6("2") } },
		{ "a wildcard, multicast", { .saddr = V6("1"), .daddr = "ff02::1" } },
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

/* ---- tags and extension headers --------------------------------------------------------- */

Test(packet, up_to_two_tags_are_passed_over)
{
	static const char *const daddr[] = { "10.0.0.1", V6("7") };
	struct frame_spec spec;
	struct frame frame;

	for (int i = 0; i < 2; i++) {
		spec = short_spec();
		clear_routes(H3);
		spec.saddr = i ? V6("1") : NULL;
		spec.daddr = daddr[i];
		spec.vlan = 7;
		check_spec(&spec, CS_C_unknown_cid, H3, "802.1Q");
		add_route(H3, dcid_one, 8, ACTIVE);
		check_spec(&spec, CS_C_by_table, H3, "802.1Q");
		spec.vlan = 0xe000;
		check_spec(&spec, CS_C_by_table, H3, "priority tag");
		spec.outer = 8;
		check_spec(&spec, CS_C_by_table, H3, "802.1ad and 802.1Q");
		spec.vlan = 0;
		check_spec(&spec, CS_C_by_table, H3, "802.1ad");
		spec.vlan = 7;
		spec.eth_type = ETH_P_8021Q;
		check_spec(&spec, CS_C_not_ours, 0, "three tags");
		spec.eth_type = ETH_P_ARP;
		check_spec(&spec, CS_C_not_ours, 0, "ARP");
	}
	/* A third tag, and a whole packet behind it. */
	spec = short_spec();
	spec.vlan = 7;
	spec.outer = 8;
	frame_build(&frame, &spec);
	memmove(frame.byte + 12 + 4, frame.byte + 12, frame.len - 12);
	memcpy(frame.byte + 12, "\x88\xa8\0\1", 4);
	check_packet(frame.byte, frame.len + 4, CS_C_not_ours, 0, "three tags before IPv4");
}

/* A chain of extension headers of IPv6, as it is put together. */
struct chain {
	__u8 byte[1024];
	size_t len, last; /* offset of the last header's own next header */
	__u8 first;
};

static void chain_add(struct chain *chain, __u8 type, size_t len)
{
	__u8 *to = chain->byte + chain->len;

	if (chain->len)
		chain->byte[chain->last] = type;
	else
		chain->first = type;
	memset(to, 0, len);
	to[0] = IPPROTO_UDP;
	to[1] = type == IPPROTO_FRAGMENT ? 0 : len / 8 - 1;
	chain->last = chain->len;
	chain->len += len;
}

static void check_chain(const struct chain *chain, __u32 reason, const char *what)
{
	struct frame_spec spec = short_spec();

	spec.saddr = V6("1");
	spec.daddr = V6("7");
	spec.extensions = chain->byte;
	spec.extensions_len = chain->len;
	spec.first_extension = chain->first;
	check_spec(&spec, reason, reason == CS_C_by_table ? H3 : 0, what);
}

static const __u8 extension_types[] = { IPPROTO_HOPOPTS, IPPROTO_ROUTING, IPPROTO_FRAGMENT,
					IPPROTO_DSTOPTS };

/* RFC 8200, section 4.1. */
Test(packet, extension_headers_are_passed_over_in_any_legal_order)
{
	add_route(H3, dcid_one, 8, ACTIVE);
	for (int i = 0; i < 4 * 4 * 4; i++) {
		struct chain chain = { .len = 0 };
		bool legal = true;

		for (int j = 0, rest = i; j < 3; j++, rest /= 4) {
			__u8 type = extension_types[rest % 4];

			chain_add(&chain, type, type == IPPROTO_FRAGMENT ? 8 : 8 * (1 + j));
			legal &= !j || type != IPPROTO_HOPOPTS;
			check_chain(&chain, legal ? CS_C_by_table : CS_C_not_ours, "chain");
		}
	}
	for (size_t len = 8; len <= 1000; len += 8) {
		struct chain chain = { .len = 0 };

		chain_add(&chain, IPPROTO_DSTOPTS, len);
		check_chain(&chain, 54 + len + 8 <= 512 ? CS_C_by_table : CS_C_not_ours, "long");
	}
	for (int count = 1; count <= 12; count++) {
		struct chain chain = { .len = 0 };

		for (int i = 0; i < count; i++)
			chain_add(&chain, IPPROTO_DSTOPTS, 8);
		check_chain(&chain, count <= 8 ? CS_C_by_table : CS_C_not_ours, "many");
	}
}

Test(packet, other_extension_headers_are_the_stacks)
{
	add_route(H3, dcid_one, 8, ACTIVE);
	for (int type = 0; type < 256; type++) {
		struct chain chain = { .len = 0 };
		bool known = type == IPPROTO_HOPOPTS || type == IPPROTO_ROUTING ||
			     type == IPPROTO_FRAGMENT || type == IPPROTO_DSTOPTS;

		if (type == IPPROTO_UDP)
			continue;
		chain_add(&chain, type, 8);
		check_chain(&chain, known ? CS_C_by_table : CS_C_not_ours, "first");
		chain.len = 0;
		chain_add(&chain, IPPROTO_DSTOPTS, 8);
		chain_add(&chain, type, 8);
		check_chain(&chain, known && type ? CS_C_by_table : CS_C_not_ours, "second");
	}
}

/* RFC 8200, section 4.4: while segments are left, the destination is not the last one. */
Test(packet, a_packet_under_way_is_the_stacks)
{
	struct chain chain = { .len = 0 };

	add_route(H3, dcid_one, 8, ACTIVE);
	chain_add(&chain, IPPROTO_ROUTING, 24);
	check_chain(&chain, CS_C_by_table, "no segments left");
	for (int left = 1; left < 256; left++) {
		chain.byte[3] = left;
		check_chain(&chain, CS_C_not_ours, "segments left");
	}
}

/* RFC 8200, section 4.5, and RFC 6946. */
Test(packet, fragments_of_ipv6_pass_and_whole_datagrams_do_not)
{
	struct chain chain = { .len = 0 };

	add_route(H3, dcid_one, 8, ACTIVE);
	chain_add(&chain, IPPROTO_DSTOPTS, 16);
	chain_add(&chain, IPPROTO_FRAGMENT, 8);
	for (int bit = 0; bit < 16; bit++) {
		__u16 value = 1 << bit;

		chain.byte[16 + 2] = value >> 8;
		chain.byte[16 + 3] = value;
		check_chain(&chain, value & 0xfff9 ? CS_C_fragment : CS_C_by_table, "one bit");
	}
	chain.byte[16 + 1] = 0xff; /* reserved */
	chain.byte[16 + 2] = chain.byte[16 + 3] = 0;
	check_chain(&chain, CS_C_by_table, "reserved bits");
}

/* A header that says that it is longer than the payload. */
Test(packet, extension_headers_lie_in_the_payload)
{
	struct chain chain = { .len = 0 };
	struct frame_spec spec = short_spec();

	add_route(H3, dcid_one, 8, ACTIVE);
	chain_add(&chain, IPPROTO_DSTOPTS, 8);
	spec.saddr = V6("1");
	spec.daddr = V6("7");
	spec.extensions = chain.byte;
	spec.extensions_len = chain.len;
	spec.first_extension = chain.first;
	for (int longer = -8 - 64 - 8; longer <= 0; longer++) {
		int udp = 8 + 64 + longer;

		spec.ip_longer = longer;
		spec.udp_longer = longer > -64 - 8 ? longer : 0;
		check_spec(&spec,
			   udp < 8     ? CS_C_not_ours :
			   udp < 8 + 9 ? CS_C_malformed :
					 CS_C_by_table,
			   udp < 8 ? 0 : H3, "cut");
	}
	spec.ip_longer = spec.udp_longer = 0;
	for (int says = 1; says < 256; says++) {
		chain.byte[1] = says;
		spec.payload_len = 64;
		check_spec(&spec, CS_C_not_ours, 0, "longer than the payload, or no UDP there");
	}
}

/* ---- lengths ---------------------------------------------------------------------------- */

/* Every length of a valid frame from its Ethernet header on: what is cut is the stack's. */
static void cut_everywhere(struct frame_spec *spec, const char *what)
{
	struct frame frame;

	frame_build(&frame, spec);
	for (size_t len = ETH_HLEN; len < frame.len; len++)
		check_packet(frame.byte, len, CS_C_not_ours, 0, what);
	check_packet(frame.byte, frame.len, CS_C_by_table, H3, what);
}

Test(packet, a_packet_cut_anywhere_is_the_stacks)
{
	struct frame_spec spec = short_spec();

	add_route(H3, dcid_one, 8, ACTIVE);
	cut_everywhere(&spec, "IPv4");
	spec.options = 12;
	cut_everywhere(&spec, "IPv4 options");
	spec.options = 0;
	spec.vlan = 9;
	spec.outer = 10;
	cut_everywhere(&spec, "IPv4, two tags");
	spec.saddr = V6("1");
	spec.daddr = V6("7");
	cut_everywhere(&spec, "IPv6, two tags");
	spec.vlan = spec.outer = 0;
	cut_everywhere(&spec, "IPv6");
}

/* The frame ends with the payload, close behind its DCID. */
Test(packet, a_payload_of_any_length_is_read_to_its_end)
{
	struct frame_spec spec = short_spec();
	__u8 payload[64];

	add_route(H3, dcid_one, 8, ACTIVE);
	add_route(H3, dcid_one, 20, DRAINING);
	for (int len = 0; len <= 64; len++) {
		spec.payload_len = len;
		check_spec(&spec, len < 1 + 8 ? CS_C_malformed : CS_C_by_table, H3, "short");
	}
	quic_long(payload, 0xc0, CS_QUIC_V1, dcid_one, 20, sizeof(payload));
	spec.payload = payload;
	for (int len = 0; len <= 64; len++) {
		spec.payload_len = len;
		check_spec(&spec, len < 6 + 20 ? CS_C_malformed : CS_C_by_table, H3, "Initial");
	}
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
		check_spec(&spec, CS_C_malformed, H3, "a UDP length above the packet's");
	}
	for (int len = 0; len < 8; len++) {
		spec.udp_longer = len - 8 - 64;
		check_spec(&spec, CS_C_malformed, H3, "a UDP length below 8");
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
	check_spec(&spec, CS_C_malformed, BARE, "nothing, without IDs");
}

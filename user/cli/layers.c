// SPDX-License-Identifier: GPL-2.0-only
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <string.h>

#include "cli/layers.h"

#define IPV4_HEADER 20
#define IPV6_HEADER 40
#define UDP_HEADER 8

static const struct {
	__u8 number;
	bool extension;
	const char *name;
} protocols[] = {
	{ 0, true, "hop-by-hop options" },
	{ 43, true, "routing header" },
	{ 44, true, "fragment header" },
	{ 51, true, "authentication header" },
	{ 60, true, "destination options" },
	{ 1, false, "ICMP" },
	{ 6, false, "TCP" },
	{ 50, false, "ESP" },
	{ 58, false, "ICMPv6" },
};

static const char *find_name(int number, bool extension)
{
	for (size_t i = 0; i < sizeof(protocols) / sizeof(protocols[0]); i++) {
		if (protocols[i].number == number && protocols[i].extension == extension)
			return protocols[i].name;
	}
	return NULL;
}

const char *layers_extension(__u8 number)
{
	return find_name(number, true);
}

const char *layers_protocol(int number)
{
	return find_name(number, false);
}

static __u16 read16(const __u8 *from)
{
	return from[0] << 8 | from[1];
}

/* @bytes from @at on; NULL, and notes in what the frame ends, if they are not there. */
static const __u8 *look(const struct frame *frame, struct layers *layers, size_t at, size_t bytes,
			const char *what)
{
	if (at + bytes <= frame->len)
		return frame->byte + at;
	layers->ended = what;
	return NULL;
}

static void map_ipv4(__u8 to[16], const __u8 *from)
{
	memset(to, 0, 10);
	memset(to + 10, 0xff, 2);
	memcpy(to + 12, from, 4);
}

/* Each returns where the next layer begins, or 0: there is nothing more to read. */
static size_t read_ipv4(const struct frame *frame, struct layers *layers, size_t at)
{
	const __u8 *ip = look(frame, layers, at, IPV4_HEADER, "IPv4 header");
	unsigned int flags;

	if (!ip)
		return 0;
	layers->ip = 4;
	layers->version = ip[0] >> 4;
	layers->header_words = ip[0] & 15;
	layers->ip_len = read16(ip + 2);
	layers->protocol = ip[9];
	map_ipv4(layers->from.ip, ip + 12);
	map_ipv4(layers->to.ip, ip + 16);
	flags = read16(ip + 6);
	layers->fragment_at = (flags & 0x1fff) * 8;
	if (flags & 0x3fff) /* RFC 791: more fragments, or an offset */
		layers->fragment = layers->fragment_at ? FRAGMENT_LATER : FRAGMENT_FIRST;
	return layers->header_words < 5 ? 0 : at + layers->header_words * 4;
}

/* Bytes of an extension header (RFC 8200, section 4; RFC 4302, section 2.2). */
static size_t extension_bytes(const __u8 *header, __u8 number)
{
	if (number == IPPROTO_FRAGMENT)
		return 8;
	if (number == IPPROTO_AH)
		return (header[1] + 2) * 4;
	return (header[1] + 1) * 8;
}

static size_t read_extensions(const struct frame *frame, struct layers *layers, size_t at,
			      __u8 next)
{
	while (layers_extension(next)) {
		const char *name = layers_extension(next);
		const __u8 *header = look(frame, layers, at, 8, name);

		if (layers->extensions < LAYERS_EXTENSIONS)
			layers->extension[layers->extensions] = next;
		layers->extensions++;
		if (!header || !look(frame, layers, at, extension_bytes(header, next), name))
			return 0;
		if (next == IPPROTO_FRAGMENT) {
			layers->fragment_at = read16(header + 2) & ~7u;
			layers->fragment = layers->fragment_at ? FRAGMENT_LATER :
					   header[3] & 1       ? FRAGMENT_FIRST :
								 FRAGMENT_ATOMIC;
		}
		at += extension_bytes(header, next);
		next = header[0];
		if (layers->fragment == FRAGMENT_LATER)
			break; /* what follows is in the middle of something */
	}
	layers->protocol = next;
	return at;
}

static size_t read_ipv6(const struct frame *frame, struct layers *layers, size_t at)
{
	const __u8 *ip = look(frame, layers, at, IPV6_HEADER, "IPv6 header");

	if (!ip)
		return 0;
	layers->ip = 6;
	layers->version = ip[0] >> 4;
	layers->ip_len = IPV6_HEADER + read16(ip + 4);
	memcpy(layers->from.ip, ip + 8, 16);
	memcpy(layers->to.ip, ip + 24, 16);
	return read_extensions(frame, layers, at + IPV6_HEADER, ip[6]);
}

static void read_udp(const struct frame *frame, struct layers *layers, size_t at)
{
	const __u8 *udp = look(frame, layers, at, UDP_HEADER, "UDP header");

	if (!udp)
		return;
	layers->udp = true;
	memcpy(&layers->from.port, udp, 2);
	memcpy(&layers->to.port, udp + 2, 2);
	layers->udp_len = read16(udp + 4);
	layers->udp_at = at;
}

static size_t read_ethernet(const struct frame *frame, struct layers *layers)
{
	size_t at = ETH_HLEN;
	const __u8 *tag;

	layers->ether_type = read16(frame->byte + 12);
	while (layers->ether_type == ETH_P_8021Q || layers->ether_type == ETH_P_8021AD) {
		tag = look(frame, layers, at, 4, "VLAN tag");
		if (!tag)
			return 0;
		if (layers->vlans < LAYERS_VLANS)
			layers->vlan[layers->vlans] = read16(tag) & 0xfff;
		layers->vlans++;
		layers->ether_type = read16(tag + 2);
		at += 4;
	}
	return at;
}

void layers_read(const struct frame *frame, struct layers *layers)
{
	size_t at;

	*layers = (struct layers){ .protocol = -1 };
	at = read_ethernet(frame, layers);
	if (!at)
		return;
	layers->ip_at = at;
	if (layers->ether_type == ETH_P_IP)
		at = read_ipv4(frame, layers, at);
	else if (layers->ether_type == ETH_P_IPV6)
		at = read_ipv6(frame, layers, at);
	else
		return;
	if (at && layers->protocol == IPPROTO_UDP && layers->fragment != FRAGMENT_LATER)
		read_udp(frame, layers, at);
}

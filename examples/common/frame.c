// SPDX-License-Identifier: GPL-2.0-only
/* Frames: read with every length checked, because anybody can send them; and built. */
#include "common/frame.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <string.h>

#define EXTENSIONS 8		  /* of IPv6; cidsteer reads no more either */
#define IPV4_FRAGMENT 0x3fff	  /* more fragments, or an offset (RFC 791) */
#define IPV6_FRAGMENT 0xfff9	  /* the same (RFC 8200, section 4.5) */
#define IPV4_DONT_FRAGMENT 0x4000 /* RFC 9000, section 14 */
#define IPV6_EXTENSION 8	  /* bytes that the shortest one has */
#define HOPS 64

/* What is left of a frame. */
struct cursor {
	const uint8_t *at;
	size_t left;
};

/* ---- reading --------------------------------------------------------------------------------- */

/* Headers are copied: they may lie at any address. */
static int take(struct cursor *c, void *header, size_t size)
{
	if (c->left < size)
		return -1;
	memcpy(header, c->at, size);
	c->at += size;
	c->left -= size;
	return 0;
}

static int skip(struct cursor *c, size_t size)
{
	if (c->left < size)
		return -1;
	c->at += size;
	c->left -= size;
	return 0;
}

/* Frames are padded to 60 bytes: IP says where the packet ends. */
static int cut(struct cursor *c, size_t size)
{
	if (c->left < size)
		return -1;
	c->left = size;
	return 0;
}

/* Who could be one other host; "this network", loopback, groups, class E and broadcast could not.
 */
static bool is_host4(uint32_t address)
{
	uint32_t net = ntohl(address) >> 24;

	return net != 0 && net != 127 && net < 224;
}

static bool is_host6(const struct in6_addr *address)
{
	return !IN6_IS_ADDR_MULTICAST(address) && !IN6_IS_ADDR_UNSPECIFIED(address) &&
	       !IN6_IS_ADDR_LOOPBACK(address) && !IN6_IS_ADDR_V4MAPPED(address);
}

static int parse_ipv4(struct cursor *c, struct frame_ends *ends)
{
	struct cursor packet = *c;
	struct iphdr ip;
	size_t total;

	if (take(c, &ip, sizeof(ip)) < 0)
		return -1;
	total = ntohs(ip.tot_len);
	if (ip.version != 4 || ip.ihl * 4 < (int)sizeof(ip) || total < (size_t)ip.ihl * 4 ||
	    ip.protocol != IPPROTO_UDP || (ntohs(ip.frag_off) & IPV4_FRAGMENT))
		return -1;
	if (!is_host4(ip.saddr) || !is_host4(ip.daddr) || ip.saddr == ip.daddr)
		return -1;
	*c = packet;
	ends->local.in.sin_family = ends->remote.in.sin_family = AF_INET;
	ends->local.in.sin_addr.s_addr = ip.daddr;
	ends->remote.in.sin_addr.s_addr = ip.saddr;
	return cut(c, total) < 0 ? -1 : skip(c, (size_t)ip.ihl * 4);
}

/* RFC 8200, section 4.  Returns 0, or -1 if the datagram is not all here, or not for us. */
static int skip_extension(struct cursor *c, uint8_t *next, bool first)
{
	uint8_t header[IPV6_EXTENSION];
	size_t len;

	if (c->left < sizeof(header))
		return -1;
	memcpy(header, c->at, sizeof(header));
	len = (size_t)(header[1] + 1) * IPV6_EXTENSION;
	switch (*next) {
	case IPPROTO_HOPOPTS:
		if (!first)
			return -1;
		break;
	case IPPROTO_DSTOPTS:
		break;
	case IPPROTO_ROUTING: /* while segments are left, the packet is still under way */
		if (header[3])
			return -1;
		break;
	case IPPROTO_FRAGMENT: /* a whole datagram may have one, too (RFC 6946) */
		if ((header[2] << 8 | header[3]) & IPV6_FRAGMENT)
			return -1;
		len = sizeof(header);
		break;
	default:
		return -1;
	}
	*next = header[0];
	return skip(c, len);
}

static int parse_ipv6(struct cursor *c, struct frame_ends *ends)
{
	struct ipv6hdr ip;
	int i;

	if (take(c, &ip, sizeof(ip)) < 0 || ip.version != 6 || cut(c, ntohs(ip.payload_len)) < 0)
		return -1;
	memset(&ends->local, 0, sizeof(ends->local));
	memset(&ends->remote, 0, sizeof(ends->remote));
	ends->local.in6.sin6_family = ends->remote.in6.sin6_family = AF_INET6;
	memcpy(&ends->local.in6.sin6_addr, &ip.daddr, sizeof(ip.daddr));
	memcpy(&ends->remote.in6.sin6_addr, &ip.saddr, sizeof(ip.saddr));
	if (!is_host6(&ends->remote.in6.sin6_addr) || !is_host6(&ends->local.in6.sin6_addr) ||
	    IN6_ARE_ADDR_EQUAL(&ends->remote.in6.sin6_addr, &ends->local.in6.sin6_addr))
		return -1;
	for (i = 0; i < EXTENSIONS && ip.nexthdr != IPPROTO_UDP; i++)
		if (skip_extension(c, &ip.nexthdr, i == 0) < 0)
			return -1;
	return ip.nexthdr == IPPROTO_UDP ? 0 : -1;
}

static int parse_udp(struct cursor *c, struct frame_ends *ends)
{
	struct udphdr udp;

	if (take(c, &udp, sizeof(udp)) < 0 || ntohs(udp.len) < sizeof(udp) ||
	    cut(c, ntohs(udp.len) - sizeof(udp)) < 0)
		return -1;
	if (udp.source == 0) /* nobody could be answered there */
		return -1;
	if (ends->local.sa.sa_family == AF_INET) {
		ends->local.in.sin_port = udp.dest;
		ends->remote.in.sin_port = udp.source;
	} else {
		ends->local.in6.sin6_port = udp.dest;
		ends->remote.in6.sin6_port = udp.source;
	}
	return 0;
}

int frame_parse(struct frame_ends *ends, const uint8_t **payload, const uint8_t *bytes, size_t len)
{
	struct cursor c = { bytes, len };
	struct frame_ends read = { 0 };
	struct ethhdr ethernet;
	int err;

	/* The lowest bit of the first byte stands for a group. */
	if (take(&c, &ethernet, sizeof(ethernet)) < 0 || (ethernet.h_dest[0] & 1) ||
	    (ethernet.h_source[0] & 1))
		return -1;
	memcpy(read.local_mac, ethernet.h_dest, FRAME_MAC);
	memcpy(read.remote_mac, ethernet.h_source, FRAME_MAC);
	if (ethernet.h_proto == htons(ETH_P_IP))
		err = parse_ipv4(&c, &read);
	else if (ethernet.h_proto == htons(ETH_P_IPV6))
		err = parse_ipv6(&c, &read);
	else
		return -1;
	if (err < 0 || parse_udp(&c, &read) < 0)
		return -1;
	*ends = read;
	*payload = c.at;
	return (int)c.left;
}

/* ---- building -------------------------------------------------------------------------------- */

/* The sum of RFC 1071, not folded, of words as they lie in memory: so it is right in any order. */
static uint64_t sum(uint64_t so_far, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;
	size_t i;

	for (i = 0; i < len; i += sizeof(uint16_t)) {
		uint16_t word = 0;

		memcpy(&word, at + i, len - i > 1 ? sizeof(word) : 1);
		so_far += word;
	}
	return so_far;
}

static uint16_t checksum(uint64_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* Over both addresses, the protocol, the length, and the datagram. */
static uint16_t udp_checksum(const void *addresses, size_t addresses_len, const struct udphdr *udp,
			     const uint8_t *payload, size_t len)
{
	uint64_t s = sum(htons(IPPROTO_UDP) + udp->len, addresses, addresses_len);
	uint16_t check = checksum(sum(sum(s, udp, sizeof(*udp)), payload, len));

	return check ? check : 0xffff; /* zero says that there is none (RFC 768) */
}

static bool is_ipv4(const union addr *addr)
{
	return addr->sa.sa_family == AF_INET || IN6_IS_ADDR_V4MAPPED(&addr->in6.sin6_addr);
}

static uint32_t ipv4_of(const union addr *addr)
{
	uint32_t address;

	if (addr->sa.sa_family == AF_INET)
		return addr->in.sin_addr.s_addr;
	memcpy(&address, addr->in6.sin6_addr.s6_addr + 12, sizeof(address));
	return address;
}

/* Each puts the IP header and UDP's checksum where they belong. */
static void put_ipv4(uint8_t *to, const struct frame_ends *ends, struct udphdr *udp,
		     const uint8_t *payload, size_t len)
{
	struct iphdr ip = {
		.version = 4,
		.ihl = sizeof(ip) / 4,
		.tot_len = htons((uint16_t)(sizeof(ip) + sizeof(*udp) + len)),
		.frag_off = htons(IPV4_DONT_FRAGMENT),
		.ttl = HOPS,
		.protocol = IPPROTO_UDP,
		.saddr = ipv4_of(&ends->local),
		.daddr = ipv4_of(&ends->remote),
	};
	uint32_t addresses[2] = { ip.saddr, ip.daddr };

	ip.check = checksum(sum(0, &ip, sizeof(ip)));
	memcpy(to, &ip, sizeof(ip));
	udp->check = udp_checksum(addresses, sizeof(addresses), udp, payload, len);
}

static void put_ipv6(uint8_t *to, const struct frame_ends *ends, struct udphdr *udp,
		     const uint8_t *payload, size_t len)
{
	struct ipv6hdr ip = {
		.version = 6,
		.payload_len = htons((uint16_t)(sizeof(*udp) + len)),
		.nexthdr = IPPROTO_UDP,
		.hop_limit = HOPS,
	};
	struct in6_addr addresses[2] = { ends->local.in6.sin6_addr, ends->remote.in6.sin6_addr };

	memcpy(&ip.saddr, &addresses[0], sizeof(ip.saddr));
	memcpy(&ip.daddr, &addresses[1], sizeof(ip.daddr));
	memcpy(to, &ip, sizeof(ip));
	udp->check = udp_checksum(addresses, sizeof(addresses), udp, payload, len);
}

size_t frame_build(uint8_t *bytes, size_t size, const struct frame_ends *ends,
		   const uint8_t *payload, size_t len)
{
	bool ipv4 = is_ipv4(&ends->remote);
	size_t ip_len = ipv4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	size_t headers = FRAME_ETHERNET + ip_len + sizeof(struct udphdr);
	struct ethhdr ethernet = { .h_proto = htons(ipv4 ? ETH_P_IP : ETH_P_IPV6) };
	struct udphdr udp = {
		.source = htons(addr_port(&ends->local)),
		.dest = htons(addr_port(&ends->remote)),
		.len = htons((uint16_t)(sizeof(udp) + len)),
	};

	if (is_ipv4(&ends->local) != ipv4 || len > size || headers > size - len ||
	    headers - FRAME_ETHERNET + len > UINT16_MAX)
		return 0;
	memcpy(ethernet.h_dest, ends->remote_mac, FRAME_MAC);
	memcpy(ethernet.h_source, ends->local_mac, FRAME_MAC);
	memcpy(bytes, &ethernet, sizeof(ethernet));
	if (ipv4)
		put_ipv4(bytes + FRAME_ETHERNET, ends, &udp, payload, len);
	else
		put_ipv6(bytes + FRAME_ETHERNET, ends, &udp, payload, len);
	memcpy(bytes + FRAME_ETHERNET + ip_len, &udp, sizeof(udp));
	memcpy(bytes + headers, payload, len);
	return headers + len;
}

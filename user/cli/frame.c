// SPDX-License-Identifier: GPL-2.0-only
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <string.h>

#include "cli/frame.h"
#include "cli/layers.h"
#include "cli/output.h"
#include "common/address.h"

#define IPV6_HEADER 40

static int ip_version(const __u8 *ip, size_t len)
{
	return len ? ip[0] >> 4 : 0;
}

/* Does the length that the header has agree with the length that is there? */
static bool ip_agrees(const __u8 *ip, size_t len)
{
	if (ip_version(ip, len) == 4 && len >= 20)
		return (size_t)(ip[2] << 8 | ip[3]) == len;
	if (ip_version(ip, len) == 6 && len >= IPV6_HEADER)
		return (size_t)(ip[4] << 8 | ip[5]) + IPV6_HEADER == len;
	return false;
}

static bool ethernet_agrees(const __u8 *frame, size_t len)
{
	size_t at = 12;
	int type, version;

	while (at + 2 < len && (frame[at] << 8 | frame[at + 1]) == ETH_P_8021Q)
		at += 4;
	if (len <= at + 2)
		return false;
	type = frame[at] << 8 | frame[at + 1];
	version = ip_version(frame + at + 2, len - at - 2);
	return (type == ETH_P_IP && version == 4) || (type == ETH_P_IPV6 && version == 6);
}

static bool is_ip(const __u8 *packet, size_t len)
{
	int version = ip_version(packet, len);

	if (ip_agrees(packet, len))
		return true;
	return !ethernet_agrees(packet, len) && (version == 4 || version == 6);
}

/* Bytes of a frame that has as many as its IP header says, if that are more. */
static size_t whole_by_ip(const struct frame *frame)
{
	struct layers layers;
	size_t whole;

	layers_read(frame, &layers);
	whole = layers.ip_at + layers.ip_len;
	return layers.ip && whole > frame->len ? whole : frame->len;
}

int frame_parse(const char *hex, struct frame *frame)
{
	__u8 byte[FRAME_MAX - ETH_HLEN];
	int len = hex_parse(hex, byte, sizeof(byte));
	__u16 type = 0;

	if (len < 0)
		return len;
	if (is_ip(byte, len))
		type = ip_version(byte, len) == 4 ? ETH_P_IP : ETH_P_IPV6;
	frame_put(frame, type, byte, len, len);
	if (frame->len < FRAME_MIN)
		return -ENODATA;
	frame->link = type ? "raw IP" : "Ethernet";
	frame->whole = whole_by_ip(frame);
	frame->captured = len;
	frame->length = len + frame->whole - frame->len;
	return 0;
}

void frame_put(struct frame *frame, __u16 ether_type, const __u8 *bytes, size_t len, size_t whole)
{
	/* Locally administered addresses; nothing looks at them. */
	const __u8 header[ETH_HLEN] = {
		2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, ether_type >> 8, ether_type & 0xff
	};
	size_t at = ether_type ? ETH_HLEN : 0;

	memcpy(frame->byte, header, at);
	if (len > FRAME_MAX - at)
		len = FRAME_MAX - at;
	memcpy(frame->byte + at, bytes, len);
	frame->len = at + len;
	frame->whole = at + whole;
}

static size_t put_ip(__u8 *at, const struct cs_addr *from, const struct cs_addr *to, __u16 udp_len)
{
	if (address_is_ipv4(to)) {
		struct iphdr ip = { .version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP };

		ip.tot_len = htons(sizeof(ip) + udp_len);
		memcpy(&ip.saddr, from->ip + 12, 4);
		memcpy(&ip.daddr, to->ip + 12, 4);
		memcpy(at, &ip, sizeof(ip));
		return sizeof(ip);
	} else {
		struct ipv6hdr ip = { .version = 6, .nexthdr = IPPROTO_UDP, .hop_limit = 64 };

		ip.payload_len = htons(udp_len);
		memcpy(&ip.saddr, from->ip, 16);
		memcpy(&ip.daddr, to->ip, 16);
		memcpy(at, &ip, sizeof(ip));
		return sizeof(ip);
	}
}

void frame_plain(struct frame *frame, const struct cs_addr *from, const struct cs_addr *to,
		 const __u8 *payload, size_t there, __u16 udp_len)
{
	struct udphdr udp = { from->port, to->port, htons(udp_len), 0 };
	__u8 packet[IPV6_HEADER + sizeof(udp) + FRAME_MAX];
	size_t at = put_ip(packet, from, to, udp_len), whole = at + udp_len;

	memcpy(packet + at, &udp, sizeof(udp));
	at += sizeof(udp);
	memcpy(packet + at, payload, there);
	at += there;
	whole = whole > at ? whole : at;
	frame_put(frame, address_is_ipv4(to) ? ETH_P_IP : ETH_P_IPV6, packet, at, whole);
	frame->captured = frame->len;
	frame->length = whole > at ? frame->whole : frame->len;
}

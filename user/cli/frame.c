// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <linux/if_ether.h>
#include <stdbool.h>
#include <string.h>

#include "cli/frame.h"
#include "cli/output.h"

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
	int type, version;

	if (len <= ETH_HLEN)
		return false;
	type = frame[12] << 8 | frame[13];
	version = ip_version(frame + ETH_HLEN, len - ETH_HLEN);
	return (type == ETH_P_IP && version == 4) || (type == ETH_P_IPV6 && version == 6);
}

static bool is_ip(const __u8 *packet, size_t len)
{
	int version = ip_version(packet, len);

	if (ip_agrees(packet, len))
		return true;
	return !ethernet_agrees(packet, len) && (version == 4 || version == 6);
}

int frame_parse(const char *hex, struct frame *frame)
{
	/* Locally administered addresses; nothing looks at them. */
	__u8 header[ETH_HLEN] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2 };
	int len = hex_parse(hex, frame->byte, sizeof(frame->byte) - sizeof(header));
	int type;

	if (len < 0)
		return len;
	frame->len = len;
	if (is_ip(frame->byte, len)) {
		type = ip_version(frame->byte, len) == 4 ? ETH_P_IP : ETH_P_IPV6;
		header[12] = type >> 8;
		header[13] = type & 0xff;
		memmove(frame->byte + sizeof(header), frame->byte, len);
		memcpy(frame->byte, header, sizeof(header));
		frame->len += sizeof(header);
	}
	return frame->len < FRAME_MIN ? -ENODATA : 0;
}

// SPDX-License-Identifier: GPL-2.0-only
/*
 * cs_reuseport with any UDP payload.
 *
 * An input: service and flags, bytes that are readable in place (2), zero bytes behind the input's
 * (2), the payload.
 */
#include "hooks.h"

#define SERVICE 7
#define IS_IPV6 8
#define IS_CUT 16	/* only some of it is readable in place */
#define MOST_ZEROS 2048 /* QUIC asks for 1200 bytes; no more is looked at */
#define NO_SOCKET 32	/* position of a listener that no worker has a socket for */

static void try_payload(const struct bytes *datagram, __u32 linear, __u8 flags)
{
	struct cs_listener listener = { .service = flags & SERVICE,
					.position = !!(flags & NO_SOCKET) };
	__u8 header[sizeof(struct ipv6hdr)] = { flags & IS_IPV6 ? 0x60 : 0x45 };
	struct bytes ip = { header,
			    flags & IS_IPV6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr) };
	__u16 type = flags & IS_IPV6 ? ETH_P_IPV6 : ETH_P_IP;
	struct sk_reuseport_md md = skb_context(datagram, datagram->length, &ip, type);
	struct cs_verdict verdict, cut;

	run_reuseport(&md, &listener, &verdict);
	LAW(verdict.reason != CS_C_seen && verdict.reason < CS_COUNTERS);
	md = skb_context(datagram, linear, &ip, type);
	run_reuseport(&md, &listener, &cut);
	LAW(!memcmp(&cut, &verdict, sizeof(cut)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = { data, size };
	__u8 flags = input_byte(&input);
	__u32 linear = input_u16(&input), zeros = input_u16(&input) % MOST_ZEROS;
	struct bytes datagram = { .length = sizeof(struct udphdr) + input.left + zeros };

	if (datagram.length > 0xffff)
		return -1; /* no input of the corpus */
	datagram.byte = calloc(1, datagram.length);
	input_bytes(&input, datagram.byte + sizeof(struct udphdr),
		    datagram.length - sizeof(struct udphdr));
	linear += sizeof(struct udphdr); /* which the kernel has read in place */
	if (!(flags & IS_CUT) || linear > datagram.length)
		linear = datagram.length;
	try_payload(&datagram, linear, flags);
	free(datagram.byte);
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * UDP datagrams in Ethernet frames, for who has no stack between itself and the wire
 *
 *   0           14                    34 or 54       + 8
 *   | Ethernet  | IPv4, 20 bytes      | UDP, 8 bytes | payload
 *   |           | or IPv6, 40 bytes   |              |
 *
 * What is received may have options and extension headers besides; what is built has none.
 */
#ifndef EXAMPLES_COMMON_FRAME_H
#define EXAMPLES_COMMON_FRAME_H

#include "common/addr.h"

#include <stddef.h>
#include <stdint.h>

#define FRAME_MAC 6
#define FRAME_ETHERNET 14 /* bytes; not a part of the MTU */

/* Both ends, as the one who holds the frame sees them. */
struct frame_ends {
	union addr local;
	union addr remote;
	uint8_t local_mac[FRAME_MAC];
	uint8_t remote_mac[FRAME_MAC]; /* of the client, or of the router that it is behind */
};

/*
 * frame_parse - the datagram in a frame that was received
 * @ends:	its destination is local, its source remote
 * @payload:	receives where the payload lies in @bytes
 *
 * Checks what has to be true for an answer to go to one host: lengths, and that neither end is a
 * group or a host's own loopback.  It does not check checksums: QUIC protects its packets better,
 * and a sender on the same machine leaves them to hardware that is not there.
 *
 * Returns the payload's length, or -1.
 */
int frame_parse(struct frame_ends *ends, const uint8_t **payload, const uint8_t *bytes, size_t len);

/*
 * frame_build - a frame from local to remote, with its checksums
 * @bytes, @size: where to
 *
 * An IPv4-mapped IPv6 address is its IPv4 address; both ends are of one family.
 * Returns the frame's length, or 0: it does not fit, or is longer than IP can say.
 */
size_t frame_build(uint8_t *bytes, size_t size, const struct frame_ends *ends,
		   const uint8_t *payload, size_t len);

#endif

/* SPDX-License-Identifier: GPL-2.0-only */
/* A packet that somebody typed or captured, as the frame that XDP would see. */
#ifndef CS_FRAME_H
#define CS_FRAME_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "core/abi.h"

#define FRAME_MAX 3400	   /* bytes that are kept: far more than all headers */
#define FRAME_SHOWN 66000  /* that programs are shown: an IP packet and what is in front of it */
#define FRAME_MIN 14	   /* an Ethernet header */
#define FRAME_NO_IP 0xffff /* EtherType of what has none and is no IP packet */

/* Zero it before it is made: nothing is read behind @len, but the compiler cannot know that. */
struct frame {
	__u8 byte[FRAME_MAX];
	size_t len;	  /* bytes that are there */
	size_t whole;	  /* bytes that it had on the wire */
	const char *link; /* what it was captured from: "Ethernet", "raw IP" ... */
	size_t captured;  /* bytes of the packet as it was captured ... */
	size_t length;	  /* ... of so many; the link's own header is in both */
};

/* Was less captured than there was? */
static inline bool frame_is_cut(const struct frame *frame)
{
	return frame->captured < frame->length;
}

/* Bytes that the programs are shown: they look at headers, and whether there is what those say. */
static inline size_t frame_shown(const struct frame *frame)
{
	return frame->whole < FRAME_SHOWN ? frame->whole : FRAME_SHOWN;
}

/*
 * frame_parse - read hex digits of an Ethernet frame, or of an IP packet
 *
 * An IP packet gets an Ethernet header.  Which of both it is, the lengths say, then the
 * EtherType, then the IP version's digit.  If IP says that it has more bytes, it was cut.
 *
 * Returns 0, -EINVAL (not hex), -ENODATA (shorter than FRAME_MIN), or -E2BIG.
 */
int frame_parse(const char *hex, struct frame *frame);

/*
 * frame_put - a frame of what was behind a link header
 * @ether_type:	gives @bytes an Ethernet header; 0: they have one
 * @len, @whole:	bytes that are there, and that there were
 */
void frame_put(struct frame *frame, __u16 ether_type, const __u8 *bytes, size_t len, size_t whole);

/*
 * frame_plain - a datagram with the fewest headers: Ethernet, IP, UDP
 * @from, @to:	both IPv4, or both IPv6
 * @payload, @there:	of the datagram, so much as is known; at most FRAME_MAX
 * @udp_len:	as its UDP header says
 */
void frame_plain(struct frame *frame, const struct cs_addr *from, const struct cs_addr *to,
		 const __u8 *payload, size_t there, __u16 udp_len);

#endif

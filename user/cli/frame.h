/* SPDX-License-Identifier: GPL-2.0-only */
/* A packet that somebody typed, as the frame that XDP would see. */
#ifndef CS_FRAME_H
#define CS_FRAME_H

#include <linux/types.h>
#include <stddef.h>

/* BPF_PROG_TEST_RUN takes a page without headroom and tail: 3,520 bytes with 4 KB pages. */
#define FRAME_MAX 3400
#define FRAME_MIN 14 /* an Ethernet header */

struct frame {
	__u8 byte[FRAME_MAX];
	size_t len;
};

/*
 * frame_parse - read hex digits of an Ethernet frame, or of an IP packet
 *
 * An IP packet gets an Ethernet header.  Which of both it is, the lengths say, then the
 * EtherType, then the IP version's digit.
 *
 * Returns 0, -EINVAL (not hex), -ENODATA (shorter than FRAME_MIN), or -E2BIG.
 */
int frame_parse(const char *hex, struct frame *frame);

#endif

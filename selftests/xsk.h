/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * AF_XDP sockets of the test worker: rings, frames, and nothing of cidsteer.
 *
 * Sockets of one queue share its UMEM: frames, fill ring and completion ring.  They are for one
 * thread.
 */
#ifndef CS_SELFTEST_XSK_H
#define CS_SELFTEST_XSK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct xsk_umem;

struct xsk {
	int fd;
	uint32_t ifindex, queue;
	unsigned long frames; /* that were read */
	struct xsk_umem *umem;
	char *map; /* of its RX ring */
	size_t map_bytes;
	volatile uint32_t *producer, *consumer;
	const struct xdp_desc *desc;
	bool lent; /* the frame at this address is the caller's */
	uint64_t lent_address;
};

/* What a socket is that is no good. */
enum xsk_flaw {
	XSK_BARE,    /* nothing but a socket */
	XSK_UNBOUND, /* all but bound */
	XSK_TX_ONLY, /* bound, without an RX ring */
};

/*
 * xsk_open - a socket that receives what is sent to it from this queue
 * @other:	has that queue already: its UMEM is shared; or NULL
 *
 * Returns 0 or a negative errno.
 */
int xsk_open(struct xsk *xsk, uint32_t ifindex, uint32_t queue, const struct xsk *other);

void xsk_close(struct xsk *xsk);

/* The next frame, or NULL.  It is there until the next call. */
const uint8_t *xsk_next(struct xsk *xsk, size_t *len);

/* Returns a descriptor, or a negative errno.  What else was made is there until the process ends.
 */
int xsk_open_flawed(enum xsk_flaw flaw, uint32_t ifindex, uint32_t queue);

#endif

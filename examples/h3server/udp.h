/* SPDX-License-Identifier: GPL-2.0-only */
/* UDP sockets of the server, and datagrams with both their addresses. */
#ifndef H3SERVER_UDP_H
#define H3SERVER_UDP_H

#include "common/addr.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct udp_datagram {
	union addr local; /* the address that the client sent to, also on a wildcard socket */
	union addr remote;
	uint8_t *bytes;
	size_t len;
};

/* What one call receives: a datagram, or, with UDP_GRO, a train of them. */
struct udp_train {
	struct udp_datagram next; /* as udp_next() finds it */
	size_t at, len, segment;  /* bytes */
	uint8_t bytes[65536];
};

/*
 * udp_bind - a socket that workers share an address with (SO_REUSEPORT)
 *
 * @v6only:	IPv4 has a socket of its own; else an IPv6 wildcard takes both
 * @gro:	UDP_GRO: the kernel picks a worker once for a whole train of datagrams from
 *		one address and port, also if they belong to connections of several workers
 *
 * Returns the descriptor or a negative errno.
 */
int udp_bind(const union addr *addr, bool v6only, bool gro);

/* Returns 0, or a negative errno; -EAGAIN when there is none. */
int udp_receive(int fd, const union addr *bound, struct udp_train *train);

/* The next datagram that was received; NULL: there is none left. */
struct udp_datagram *udp_next(struct udp_train *train);

/*
 * Sends from @local.  A datagram that the kernel does not take is lost as any other may be:
 * loss recovery repeats it, and congestion control slows the sender down.  Returns 0 or a
 * negative errno.
 */
int udp_send(int fd, const struct sockaddr *local, const struct sockaddr *remote, socklen_t len,
	     const uint8_t *bytes, size_t size);

#endif

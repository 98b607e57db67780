/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How paths are reached from an AF_XDP socket: as the latest frame of each has come
 *
 * There is no stack that would know routes and neighbours.  Anybody can send frames, so the table
 * is bounded: the oldest of a few gives way, and that path goes through the UDP sockets.
 */
#ifndef H3SERVER_NEIGHBORS_H
#define H3SERVER_NEIGHBORS_H

#include "common/frame.h"

#define NEIGHBOR_SETS 256 /* a power of two */
#define NEIGHBOR_WAYS 4

struct neighbor {
	struct frame_ends ends; /* .local and .remote are the path */
	unsigned int lane;	/* the socket that it came in through */
	uint64_t seen;		/* in the order of frames; 0: empty */
};

struct neighbors {
	struct neighbor sets[NEIGHBOR_SETS][NEIGHBOR_WAYS];
	uint64_t clock;
	uint64_t key; /* random: nobody knows which paths share a set */
};

void neighbors_init(struct neighbors *table);

void neighbors_learn(struct neighbors *table, const struct frame_ends *ends, unsigned int lane);

/* NULL: no frame of that path is remembered. */
const struct neighbor *neighbors_find(const struct neighbors *table, const union addr *local,
				      const union addr *remote);

#endif

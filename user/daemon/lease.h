/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The lease without which nothing is dropped: XDP cannot see sockets, so what drops there has to
 * know that somebody keeps the maps true.
 */
#ifndef CS_LEASE_H
#define CS_LEASE_H

#include "dataplane/plane.h"

struct lease {
	const struct plane *plane;
	__u64 begin_ns; /* CLOCK_MONOTONIC: not renewed before */
	__u64 until_ns; /* as written last; 0: not yet */
};

/* Workers of an earlier daemon are adopted: the others are waited for from now on. */
void lease_start(struct lease *lease, const struct plane *plane);

/* Once a second. */
void lease_renew(struct lease *lease);

#endif

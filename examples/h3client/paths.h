/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The client's sockets: one for each path that QUIC knows
 *
 * A socket is connected, so that the kernel names its local address.  A NAT rebinding is a
 * path whose socket is exchanged while QUIC goes on believing in the old local address.
 */
#ifndef H3CLIENT_PATHS_H
#define H3CLIENT_PATHS_H

#include "common/addr.h"

#include <stddef.h>
#include <stdint.h>

#include <ngtcp2/ngtcp2.h>

#define PATHS_MAX 4

struct path {
	int fd;		  /* -1: unused */
	union addr local; /* as QUIC knows it */
	union addr remote;
};

struct paths {
	struct path path[PATHS_MAX];
};

void paths_init(struct paths *paths);

/*
 * paths_open - a new path
 * @bind:	local address, its port ignored; NULL: the kernel chooses
 *
 * Returns the path, or NULL with errno set.
 */
struct path *paths_open(struct paths *paths, const union addr *bind, const union addr *remote);

/* Closes all but these two. */
void paths_keep(struct paths *paths, const struct path *a, const struct path *b);

/* Another port for the same path.  Returns 0 or -1 with errno set. */
int path_rebind(struct path *path);

void path_close(struct path *path);

/* In the form that ngtcp2 takes; valid as long as @path. */
ngtcp2_path path_quic(struct path *path);

/* The one that ngtcp2 means, or NULL. */
struct path *paths_find(struct paths *paths, const ngtcp2_path *quic);

void paths_close(struct paths *paths);

#endif

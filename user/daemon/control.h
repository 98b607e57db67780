/* SPDX-License-Identifier: GPL-2.0-only */
/* The control socket: connections of workers, the messages of common/protocol.h. */
#ifndef CS_CONTROL_H
#define CS_CONTROL_H

#include "common/error.h"
#include "daemon/loop.h"
#include "daemon/workers.h"

/* Limits that a peer can reach, and what happens at them. */
#define MAX_CONNECTIONS 8192 /* at once: further ones are closed */
#define MAX_UNREGISTERED 256 /* of one user at once: further ones are closed */

struct control {
	struct source source; /* the listening socket */
	struct loop *loop;
	struct workers *workers;
	struct connection *first;
	unsigned int count;
	int spare; /* descriptor to give up when none is left */
	int lock;  /* of two daemons that find a stale socket at once, one replaces it */
	char path[108];
	/* Reads the configuration anew; set by who owns it. */
	int (*reload)(struct control *control, struct error *error);
};

/*
 * control_listen - make the socket; replaces a stale one
 *
 * Returns 0, -EADDRINUSE (a daemon answers there, or it is no socket), or another errno.
 */
int control_listen(struct control *control, const char *path, struct workers *workers,
		   struct loop *loop, struct error *error);

/* Removes the socket.  Workers go on. */
void control_close(struct control *control);

#endif

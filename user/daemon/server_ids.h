/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Server IDs: what a connection ID says of who made it.
 *
 *	of a QUIC-LB configuration	the host's octets, and a number that is given to the worker
 *	of a service's own format	a socket's cookie, what the worker says, or such a number
 *
 * A number comes back when its worker's id does, and the one that has been back for the longest
 * time is given away first.  In cs_servers it names the dead worker until then, nobody behind
 * that; it stays there with the nonces that were never given to anybody.
 */
#ifndef CS_SERVER_IDS_H
#define CS_SERVER_IDS_H

#include "daemon/workers.h"

#define MAX_NUMBERS 4096 /* of a configuration: four times as many as a service has workers */
#define MAX_KEYS (CS_MAX_SERVICE_WORKERS * CS_MAX_SERVICE_LISTENERS) /* of a format of its own */
#define NONCE_BLOCK (1 << 16) /* nonces that a worker is given at once */

/* What cs_servers says, once the living workers are known.  Returns 0 or a negative errno. */
int server_ids_adopt(struct workers *workers);

/* What configurations the service has now.  Returns 0 or a negative errno. */
int server_ids_follow(struct workers *workers, __u32 service);
void server_ids_close(struct service *service, __u32 config);

/*
 * server_ids_enter - a worker registers: in a service with its own format, what its IDs have
 *
 * Returns 0, -EEXIST (another worker has that), -ENOSPC (no number is left), -EINVAL (the worker
 * says something, and there is no such format, or of another length), or another errno.
 */
int server_ids_enter(struct worker *worker, const struct admission *asked, struct error *error);

/* Its id is about to be free: so are its server IDs.  Returns 0, or a negative errno: some still
 * name it.
 */
int server_ids_leave(const struct worker *worker);

/*
 * server_ids_lease - a server ID of a worker, and nonces for it
 * @lease:	what the worker asks for
 * @leased:	receives it
 *
 * Returns 0, -ENOENT (there is no such configuration), -ENOSPC (no number, or no room in
 * cs_servers, is left), or another errno.
 */
int server_ids_lease(struct worker *worker, const struct cs_msg_lease *lease,
		     struct cs_msg_leased *leased);

/* The octets that a worker's IDs have in its service's own format; all zero: none. */
void server_ids_key(const struct worker *worker, __u8 key[16]);

/* Does an ID carry a server ID of this host?  @worker receives whose it is; 0: nobody's now. */
bool server_ids_find(const struct workers *workers, __u32 service, const __u8 *cid, size_t len,
		     __u32 *worker);

#endif

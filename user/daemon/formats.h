/* SPDX-License-Identifier: GPL-2.0-only */
/* How IDs are made: what workers are told of it, and what an operator changes. */
#ifndef CS_FORMATS_H
#define CS_FORMATS_H

#include "daemon/connection.h"

/*
 * Messages that follow REGISTERED: the formats, and, unless the worker served before, nonces of the
 * active one.  Who served before has nonces, or server IDs to claim.
 */
__u8 formats_count(const struct worker *worker, bool serves);
/* Sends them.  Returns 0 or a negative errno, as connection_answer(). */
int formats_follow(struct connection *connection, bool serves);

/* All workers of a service hear what has changed. */
void formats_tell(struct workers *workers, __u32 service);

/* LEASE: answers, or refuses and closes. */
void formats_lease(struct connection *connection, const struct request *request);

/* CONFIG: returns 0, or a negative errno with the reason. */
int formats_config(struct connection *connection, const struct request *request,
		   struct error *error);

#endif

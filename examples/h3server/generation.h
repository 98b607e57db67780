/* SPDX-License-Identifier: GPL-2.0-only */
/* The workers of one start, as processes or as threads. */
#ifndef H3SERVER_GENERATION_H
#define H3SERVER_GENERATION_H

#include "h3server/birth.h"
#include "h3server/privilege.h"
#include "h3server/worker.h"

/*
 * generation_run - bind all sockets, start all workers, wait until they have ended
 *
 * Returns the exit code of this process.  In a worker process it returns too, with that
 * worker's exit code.
 */
int generation_run(const struct server *server, const struct identity *identity,
		   struct birth *birth);

#endif

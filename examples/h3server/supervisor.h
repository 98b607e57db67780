/* SPDX-License-Identifier: GPL-2.0-only */
/* Starts the workers, as processes or as threads, and ends them. */
#ifndef H3SERVER_SUPERVISOR_H
#define H3SERVER_SUPERVISOR_H

#include "h3server/privilege.h"
#include "h3server/worker.h"

/*
 * supervisor_run - bind all sockets, start all workers, wait until they have ended
 *
 * Returns the exit code of the server.  In a worker process it returns too, with that
 * worker's exit code.
 */
int supervisor_run(const struct server *server, const struct identity *identity);

#endif

/* SPDX-License-Identifier: GPL-2.0-only */
/* Starts generations of workers, and ends them. */
#ifndef H3SERVER_SUPERVISOR_H
#define H3SERVER_SUPERVISOR_H

#include "h3server/options.h"

/*
 * supervisor_run - the first generation, one more for each SIGHUP, until all of them are over
 * @argv:	the command line of each generation
 *
 * Returns the exit code of the server.
 */
int supervisor_run(const struct options *options, char **argv);

#endif

/* SPDX-License-Identifier: GPL-2.0-only */
/* One connection with one transfer, from the first Initial to CONNECTION_CLOSE. */
#ifndef H3CLIENT_ONCE_H
#define H3CLIENT_ONCE_H

#include "h3client/client.h"

/*
 * once_run - connect, transfer, check, close
 *
 * Returns 0, or -1 with @client->transfer.error set.  Call client_free() in both cases.
 */
int once_run(struct client *client, struct options *options);

#endif

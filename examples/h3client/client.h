/* SPDX-License-Identifier: GPL-2.0-only */
/* One connection of the client, from the first Initial to CONNECTION_CLOSE. */
#ifndef H3CLIENT_CLIENT_H
#define H3CLIENT_CLIENT_H

#include "common/h3.h"
#include "h3client/paths.h"
#include "h3client/transfer.h"

struct client {
	struct h3 h3; /* first: ngtcp2 knows it by this address */
	struct options *options;
	gnutls_certificate_credentials_t credentials;
	struct paths paths;
	struct path *path; /* the one in use */
	struct transfer transfer;
	ngtcp2_cid first_dcid;
	uint64_t started_at;
	uint64_t ended_at;    /* when the transfer was complete, or had failed */
	uint64_t progress_at; /* when there was progress last */
	uint64_t progress;    /* and how far it was */
	int socket_error;     /* last one, 0 for none */
	bool reset;	      /* the server sent a stateless reset */
};

/*
 * client_run - connect, transfer, check, close
 *
 * Returns 0, or -1 with @client->transfer.error set.  Call client_free() in both cases.
 */
int client_run(struct client *client, struct options *options);

void client_free(struct client *client);

#endif

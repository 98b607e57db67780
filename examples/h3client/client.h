/* SPDX-License-Identifier: GPL-2.0-only */
/* One connection of the client; who drives it is in once.c and busy.c. */
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
	uint64_t longest_gap; /* nanoseconds between two moments of progress */
	int socket_error;     /* last one, 0 for none */
	bool reset;	      /* the server sent a stateless reset */
};

/* The last packets of the server are acknowledged after its max_ack_delay at the latest. */
#define CLIENT_LINGER (60 * NGTCP2_MILLISECONDS)

/*
 * Each returns 0, or -1 with @client->transfer.error set: then nothing goes on any more.  Call
 * client_free() also when client_open() has failed.
 */
int client_open(struct client *client, struct options *options);
int client_receive(struct client *client, struct path *path); /* what is there to read */
int client_advance(struct client *client);		      /* what is due */
int client_flush(struct client *client);		      /* sends what may be sent */

/* Another request, when the one before is complete and checked. */
int client_again(struct client *client);

/* Notes progress, and fails after --stall without any. */
int client_check_progress(struct client *client);

/* Another local port, without telling QUIC, as behind a NAT.  Returns 0 or -1. */
int client_rebind(struct client *client);

/*
 * client_migrate - a new socket and a new connection ID
 *
 * Returns 1; 0 before the handshake is confirmed or while there is no spare ID; or -1.
 */
int client_migrate(struct client *client);

/* The first reason counts.  Returns -1. */
__attribute__((format(printf, 2, 3))) int client_failed(struct client *client, const char *format,
							...);

void client_close(struct client *client); /* tells the server */
void client_free(struct client *client);

#endif

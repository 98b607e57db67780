/* SPDX-License-Identifier: GPL-2.0-only */
/* One request at a time: its body, its check, its progress, its pace. */
#ifndef H3CLIENT_TRANSFER_H
#define H3CLIENT_TRANSFER_H

#include "common/body.h"
#include "common/h3.h"
#include "common/pattern.h"
#include "h3client/options.h"

#define TRANSFER_ERROR 256

struct transfer {
	const struct options *options;
	struct h3 *h3;
	int64_t stream; /* -1: not requested yet */
	uint64_t requested_at;
	int status;
	bool complete; /* the response has ended, and so has the stream */
	bool failed;
	bool total_known;
	uint64_t total;	     /* length of the body that counts */
	uint64_t received;   /* of the response's body */
	uint64_t unconsumed; /* received, but not yet paid for by --rate */
	double tokens;	     /* bytes that --rate allows now */
	uint64_t refilled_at;
	struct body body;	   /* of an upload */
	bool generated;		   /* GET /bytes/N: we know what must come */
	bool differs;		   /* with --busy: and it did not */
	gnutls_hash_hd_t expected; /* of what was sent, or of what had to come; not with --busy */
	gnutls_hash_hd_t got;
	char reply[256]; /* to an upload */
	char sha256[SHA256_TEXT];
	char error[TRANSFER_ERROR];
};

/* Returns 0 or -1. */
int transfer_init(struct transfer *transfer, const struct options *options, struct h3 *h3);

/* HTTP/3 may begin.  Returns 0 or NGTCP2_ERR_CALLBACK_FAILURE. */
int transfer_start_http(struct transfer *transfer);

/* Sends the request as soon as the server allows a stream; refills --rate.  0 or -1. */
int transfer_step(struct transfer *transfer);

/* Only --rate keeps it from going on, or the next one from beginning. */
bool transfer_waits(const struct transfer *transfer);

/* Bytes that are there: acknowledged by the server, or received from it. */
uint64_t transfer_progress(const struct transfer *transfer);

/* The share of the body that is transferred is at least @percent. */
bool transfer_reached(const struct transfer *transfer, uint64_t percent);

/* Is what came, or what the server says that it got, right?  Returns 0, or -1 with an error. */
int transfer_check(struct transfer *transfer);

void transfer_free(struct transfer *transfer);

#endif

/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What --stats records: one line of JSON for each event, written with one write(2), so that
 * the lines of all workers can share a file that is open for appending.
 */
#ifndef H3SERVER_STATS_H
#define H3SERVER_STATS_H

#include <stdbool.h>
#include <stdint.h>

#include <ngtcp2/ngtcp2.h>

struct stats {
	int fd;		     /* -1: nobody reads it */
	unsigned int worker; /* cidsteer's id, or the index */
	unsigned int index;  /* from 1 on, or from --first-worker on */
	uint32_t generation;
	uint64_t connections;  /* accepted */
	uint64_t transfers;    /* completed */
	uint64_t path_changes; /* validated after the client's address had changed */
	uint64_t strays;       /* datagrams of another worker's connections */
	uint64_t unknown;      /* datagrams of no connection */
	uint64_t datagrams_in;
	uint64_t xsk_in; /* of these, through AF_XDP sockets (--io xsk) */
	uint64_t trains; /* of several of them, received at once (--gro) */
	uint64_t datagrams_out;
	uint64_t xsk_out; /* of these, through AF_XDP sockets */
};

struct transfer {
	const ngtcp2_cid *connection; /* DCID of the client's first Initial */
	const char *method;
	const char *path;
	int status;	/* 0: none was sent */
	uint64_t bytes; /* acknowledged by the client, or received from it */
	bool complete;
	unsigned int path_changes; /* while it ran */
	uint64_t bytes_at_change;  /* @bytes at the first of them */
};

/* A client was answered; @cid is the DCID of its first Initial. */
void stats_connection(const struct stats *stats, const ngtcp2_cid *cid);
void stats_transfer(struct stats *stats, const struct transfer *transfer);
void stats_worker(const struct stats *stats);

#endif

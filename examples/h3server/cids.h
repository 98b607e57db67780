/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The connection IDs of one worker
 *
 * Each ID that a client may put into a packet is in two tables: in this one, which finds the
 * connection, and in cidsteer's, by which the kernel finds the worker.  The order makes it
 * safe: an ID is issued before any packet tells a client of it, and retired when no packet
 * with it can come any more.
 */
#ifndef H3SERVER_CIDS_H
#define H3SERVER_CIDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cidsteer/cidsteer.h>
#include <ngtcp2/ngtcp2.h>

#define CIDS_BUCKETS 16384

struct conn;

struct cid_entry {
	struct cid_entry *next; /* in the bucket */
	struct cid_entry *next_of_conn;
	struct conn *conn;
	ngtcp2_cid cid;
	bool issued; /* cidsteer knows it */
	bool provisional;
};

struct cids {
	struct cidsteer *steer; /* NULL: without steering */
	size_t length;
	uint64_t seed; /* so that clients cannot aim their first DCIDs at one bucket */
	struct cid_entry *buckets[CIDS_BUCKETS];
};

/* NULL when there is no memory. */
struct cids *cids_new(struct cidsteer *steer, size_t length);

/*
 * cids_issue - choose a connection ID for @conn and make it routable
 * @cid:	receives it; the client may be told once this returned 0
 *
 * Without a daemon it waits for cids_reissue().  Returns 0 or a negative errno.
 */
int cids_issue(struct cids *cids, struct conn *conn, ngtcp2_cid *cid);

/*
 * cids_issue_provisional - route the DCID that a client opened its connection with
 *
 * The client uses it until it has seen a packet of ours.  Going without a route is allowed:
 * the packets still come here as long as the set of workers does not change.
 * Returns 0 or -ENOMEM.
 */
int cids_issue_provisional(struct cids *cids, struct conn *conn, const ngtcp2_cid *cid);

/* A daemon does not know all of them: all that are alive once more (CIDSTEER_REISSUE). */
void cids_reissue(struct cids *cids);

/* NULL if it is no ID of this worker. */
struct conn *cids_find(const struct cids *cids, const uint8_t *bytes, size_t len);

/* Does nothing if @conn has no such ID. */
void cids_retire(struct cids *cids, struct conn *conn, const ngtcp2_cid *cid);

void cids_retire_all(struct cids *cids, struct conn *conn);

/* When all connections are gone. */
void cids_free(struct cids *cids);

#endif

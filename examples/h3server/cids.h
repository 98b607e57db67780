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

/* A length that IDs of this worker have, or had. */
struct cid_length {
	size_t octets; /* 0: behind the last of them */
	size_t live;   /* IDs; not provisional ones, which no short header has */
};

struct cids {
	struct cidsteer *steer;				 /* NULL: without steering */
	size_t length;					 /* of IDs without steering */
	struct cid_length lengths[CIDSTEER_CID_MAX + 1]; /* the most used one first */
	uint64_t seed; /* so that clients cannot aim their first DCIDs at one bucket */
	struct cid_entry *buckets[CIDS_BUCKETS];
};

/* @length: where no service says it.  NULL when there is no memory. */
struct cids *cids_new(struct cidsteer *steer, size_t length);

/*
 * cids_issue - make a connection ID for @conn, and make it routable
 * @cid:	receives it; the client may be told once this returned 0
 * @len:	octets of it: all IDs of a connection have as many
 *
 * What is in it is the service's affair: where IDs carry their worker no route is needed.
 * Without a daemon it waits for cids_reissue().  Returns 0 or a negative errno.
 */
int cids_issue(struct cids *cids, struct conn *conn, ngtcp2_cid *cid, size_t len);

/* cids_issue_first - the same for a connection that has none; its length is the service's affair */
int cids_issue_first(struct cids *cids, struct conn *conn, ngtcp2_cid *cid);

/*
 * cids_go_without - an ID for @conn that nothing routes, when cids_issue() has failed
 *
 * Packets with it come here by chance only.  Returns 0, -EEXIST or -ENOMEM.
 */
int cids_go_without(struct cids *cids, struct conn *conn, ngtcp2_cid *cid, size_t len);

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

/*
 * cids_find_short - the same for a short header, which does not say where its DCID ends
 * @bytes, @len:	the DCID, and what is behind it
 */
struct conn *cids_find_short(const struct cids *cids, const uint8_t *bytes, size_t len);

/* A DCID that is none of ours: has another worker issued it? */
bool cids_is_stray(const struct cids *cids, const uint8_t *bytes, size_t len);
bool cids_is_short_stray(const struct cids *cids, const uint8_t *bytes, size_t len);

/* Does nothing if @conn has no such ID. */
void cids_retire(struct cids *cids, struct conn *conn, const ngtcp2_cid *cid);

void cids_retire_all(struct cids *cids, struct conn *conn);

/* When all connections are gone. */
void cids_free(struct cids *cids);

#endif

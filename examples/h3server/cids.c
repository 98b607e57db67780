// SPDX-License-Identifier: GPL-2.0-only
/* The connection IDs of one worker: a chained hash table, and cidsteer behind it. */
#include "h3server/cids.h"

#include "common/quic.h"
#include "h3server/conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* An ID is refused by chance only; so many in a row are no chance. */
#define ISSUE_TRIES 8

struct cids *cids_new(struct cidsteer *steer, size_t length)
{
	struct cids *cids = calloc(1, sizeof(*cids));

	if (!cids)
		return NULL;
	cids->steer = steer;
	cids->length = length;
	quic_random(&cids->seed, sizeof(cids->seed));
	return cids;
}

static size_t bucket_of(const struct cids *cids, const uint8_t *bytes, size_t len)
{
	uint64_t h = cids->seed;
	size_t i;

	for (i = 0; i < len; i++) {
		h = (h ^ bytes[i]) * UINT64_C(0x9e3779b97f4a7c15);
		h ^= h >> 29;
	}
	return h % CIDS_BUCKETS;
}

static struct cid_entry *find(const struct cids *cids, const uint8_t *bytes, size_t len)
{
	struct cid_entry *entry = cids->buckets[bucket_of(cids, bytes, len)];

	while (entry && (entry->cid.datalen != len || memcmp(entry->cid.data, bytes, len)))
		entry = entry->next;
	return entry;
}

struct conn *cids_find(const struct cids *cids, const uint8_t *bytes, size_t len)
{
	struct cid_entry *entry = find(cids, bytes, len);

	return entry ? entry->conn : NULL;
}

/* Returns the entry, or NULL when there is no memory. */
static struct cid_entry *insert(struct cids *cids, struct conn *conn, const ngtcp2_cid *cid)
{
	struct cid_entry **bucket = &cids->buckets[bucket_of(cids, cid->data, cid->datalen)];
	struct cid_entry *entry = calloc(1, sizeof(*entry));

	if (!entry)
		return NULL;
	entry->conn = conn;
	entry->cid = *cid;
	entry->next = *bucket;
	*bucket = entry;
	entry->next_of_conn = conn->cids;
	conn->cids = entry;
	return entry;
}

/*
 * Returns 0, or a negative errno.  In both cases @entry says whether there is something to take
 * back: what was not answered in time may still have happened.
 */
static int issue(struct cids *cids, struct cid_entry *entry)
{
	const ngtcp2_cid *cid = &entry->cid;
	int err;

	if (!cids->steer)
		return 0;
	err = entry->provisional ?
		      cidsteer_issue_provisional(cids->steer, cid->data, cid->datalen) :
		      cidsteer_issue(cids->steer, cid->data, cid->datalen);
	if (err != -ENOTCONN)
		entry->issued = !err || err == -ETIMEDOUT;
	return err;
}

/* Takes @entry out of its bucket, out of the kernel's table, and out of memory. */
static void drop(struct cids *cids, struct cid_entry *entry)
{
	struct cid_entry **p = &cids->buckets[bucket_of(cids, entry->cid.data, entry->cid.datalen)];

	while (*p != entry)
		p = &(*p)->next;
	*p = entry->next;
	if (entry->issued)
		cidsteer_retire(cids->steer, entry->cid.data, entry->cid.datalen);
	free(entry);
}

/* The entry was made last: it is the first of its connection. */
static void undo(struct cids *cids, struct conn *conn)
{
	struct cid_entry *entry = conn->cids;

	conn->cids = entry->next_of_conn;
	drop(cids, entry);
}

int cids_issue(struct cids *cids, struct conn *conn, ngtcp2_cid *cid)
{
	int err = -EEXIST;
	int i;

	for (i = 0; i < ISSUE_TRIES && (err == -EEXIST || err == -ENOSPC); i++) {
		struct cid_entry *entry;

		quic_cid_random(cid, cids->length);
		if (find(cids, cid->data, cid->datalen))
			continue;
		entry = insert(cids, conn, cid);
		if (!entry)
			return -ENOMEM;
		err = issue(cids, entry);
		if (err == -ENOTCONN)
			return 0;
		if (err)
			undo(cids, conn);
	}
	return err;
}

int cids_issue_provisional(struct cids *cids, struct conn *conn, const ngtcp2_cid *cid)
{
	struct cid_entry *entry = insert(cids, conn, cid);

	if (!entry)
		return -ENOMEM;
	entry->provisional = true;
	issue(cids, entry);
	return 0;
}

/* One that is refused goes without a route; the client cannot be told to use another. */
void cids_reissue(struct cids *cids)
{
	struct cid_entry *entry;
	size_t i;

	for (i = 0; i < CIDS_BUCKETS; i++) {
		for (entry = cids->buckets[i]; entry; entry = entry->next) {
			int err = issue(cids, entry);

			if (err == -EEXIST)
				entry->issued = true;
			if (err == -ENOTCONN)
				return; /* and we shall be asked again */
		}
	}
}

void cids_retire(struct cids *cids, struct conn *conn, const ngtcp2_cid *cid)
{
	struct cid_entry **p = &conn->cids;

	while (*p && !ngtcp2_cid_eq(&(*p)->cid, cid))
		p = &(*p)->next_of_conn;
	if (*p) {
		struct cid_entry *entry = *p;

		*p = entry->next_of_conn;
		drop(cids, entry);
	}
}

void cids_retire_all(struct cids *cids, struct conn *conn)
{
	while (conn->cids) {
		struct cid_entry *entry = conn->cids;

		conn->cids = entry->next_of_conn;
		drop(cids, entry);
	}
}

void cids_free(struct cids *cids)
{
	free(cids);
}

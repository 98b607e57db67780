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

static int insert(struct cids *cids, struct conn *conn, const ngtcp2_cid *cid, bool issued)
{
	struct cid_entry **bucket = &cids->buckets[bucket_of(cids, cid->data, cid->datalen)];
	struct cid_entry *entry = calloc(1, sizeof(*entry));

	if (!entry)
		return -ENOMEM;
	entry->conn = conn;
	entry->cid = *cid;
	entry->issued = issued;
	entry->next = *bucket;
	*bucket = entry;
	entry->next_of_conn = conn->cids;
	conn->cids = entry;
	return 0;
}

int cids_issue(struct cids *cids, struct conn *conn, ngtcp2_cid *cid)
{
	int err = -EEXIST;
	int i;

	for (i = 0; i < ISSUE_TRIES; i++) {
		quic_cid_random(cid, cids->length);
		if (find(cids, cid->data, cid->datalen))
			continue;
		err = cids->steer ? cidsteer_issue(cids->steer, cid->data, cid->datalen) : 0;
		if (err != -EEXIST && err != -ENOSPC)
			break;
	}
	if (err)
		return err;
	err = insert(cids, conn, cid, cids->steer != NULL);
	if (err && cids->steer)
		cidsteer_retire(cids->steer, cid->data, cid->datalen);
	return err;
}

int cids_issue_provisional(struct cids *cids, struct conn *conn, const ngtcp2_cid *cid)
{
	bool issued = cids->steer &&
		      cidsteer_issue_provisional(cids->steer, cid->data, cid->datalen) == 0;
	int err = insert(cids, conn, cid, issued);

	if (err && issued)
		cidsteer_retire(cids->steer, cid->data, cid->datalen);
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

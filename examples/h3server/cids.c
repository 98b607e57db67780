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
/* Of the first octet: no server ID is read from what begins so. */
#define TABLE_BITS 0xe0

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

struct conn *cids_find_short(const struct cids *cids, const uint8_t *bytes, size_t len)
{
	const struct cid_length *length;

	for (length = cids->lengths; length->live; length++) {
		struct conn *conn = NULL;

		if (length->octets <= len)
			conn = cids_find(cids, bytes, length->octets);
		if (conn)
			return conn;
	}
	return NULL;
}

static void swap(struct cid_length *a, struct cid_length *b)
{
	struct cid_length was = *a;

	*a = *b;
	*b = was;
}

/* @by: 1 or -1.  A length that nobody has any more stays: other workers may have it. */
static void count_length(struct cids *cids, const struct cid_entry *entry, int by)
{
	struct cid_length *length = cids->lengths;

	if (entry->provisional)
		return;
	while (length->octets && length->octets != entry->cid.datalen)
		length++;
	length->octets = entry->cid.datalen;
	length->live += (size_t)by;
	for (; length > cids->lengths && length[-1].live < length->live; length--)
		swap(length - 1, length);
	for (; length->live < length[1].live; length++)
		swap(length, length + 1);
}

/* Returns the entry, or NULL when there is no memory. */
static struct cid_entry *insert(struct cids *cids, struct conn *conn, const ngtcp2_cid *cid,
				bool provisional)
{
	struct cid_entry **bucket = &cids->buckets[bucket_of(cids, cid->data, cid->datalen)];
	struct cid_entry *entry = calloc(1, sizeof(*entry));

	if (!entry)
		return NULL;
	entry->conn = conn;
	entry->cid = *cid;
	entry->provisional = provisional;
	entry->next = *bucket;
	*bucket = entry;
	entry->next_of_conn = conn->cids;
	conn->cids = entry;
	count_length(cids, entry, 1);
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
	count_length(cids, entry, -1);
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

/* Returns 0; -EEXIST or -ENOSPC, and another ID may do; or another negative errno. */
static int add(struct cids *cids, struct conn *conn, const ngtcp2_cid *cid)
{
	struct cid_entry *entry;
	int err;

	if (find(cids, cid->data, cid->datalen))
		return -EEXIST;
	entry = insert(cids, conn, cid, false);
	if (!entry)
		return -ENOMEM;
	err = issue(cids, entry);
	if (err == -ENOTCONN)
		return 0;
	if (err)
		undo(cids, conn);
	return err;
}

static int generate(const struct cids *cids, ngtcp2_cid *cid, size_t len)
{
	uint8_t bytes[CIDSTEER_CID_MAX];
	int err;

	if (!cids->steer) {
		quic_cid_random(cid, len);
		return 0;
	}
	err = cidsteer_generate(cids->steer, bytes, len);
	if (!err)
		ngtcp2_cid_init(cid, bytes, len);
	return err;
}

int cids_issue(struct cids *cids, struct conn *conn, ngtcp2_cid *cid, size_t len)
{
	int err = -EEXIST;
	int i;

	for (i = 0; i < ISSUE_TRIES && (err == -EEXIST || err == -ENOSPC); i++) {
		err = generate(cids, cid, len);
		if (err)
			return err;
		err = add(cids, conn, cid);
	}
	return err;
}

static bool is_missing(int err)
{
	return err == -EAGAIN || err == -ENOSPC || err == -ENOTCONN || err == -EINVAL;
}

/*
 * Where nonces or a server ID are missing, IDs of another length may be had: of a configuration
 * from before, or those that the table is to know.  It is their service that knows which.  If there
 * are none the client gets no answer, and tries again in a second: by then there may be.
 */
int cids_issue_first(struct cids *cids, struct conn *conn, ngtcp2_cid *cid)
{
	size_t len = cids->steer ? cidsteer_cid_length(cids->steer) : cids->length;
	int err = cids_issue(cids, conn, cid, len);

	for (len = CIDSTEER_CID_MAX; len && is_missing(err); len--)
		err = cids_issue(cids, conn, cid, len);
	return err;
}

int cids_go_without(struct cids *cids, struct conn *conn, ngtcp2_cid *cid, size_t len)
{
	quic_cid_random(cid, len);
	cid->data[0] |= TABLE_BITS;
	if (find(cids, cid->data, cid->datalen))
		return -EEXIST;
	return insert(cids, conn, cid, false) ? 0 : -ENOMEM;
}

int cids_issue_provisional(struct cids *cids, struct conn *conn, const ngtcp2_cid *cid)
{
	struct cid_entry *entry = insert(cids, conn, cid, true);

	if (!entry)
		return -ENOMEM;
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

bool cids_is_stray(const struct cids *cids, const uint8_t *bytes, size_t len)
{
	return cids->steer && cidsteer_report_stray(cids->steer, bytes, len) == 1;
}

/* Of the length that all workers go over to, or of one that this worker has had too. */
bool cids_is_short_stray(const struct cids *cids, const uint8_t *bytes, size_t len)
{
	size_t now = cids->steer ? cidsteer_cid_length(cids->steer) : cids->length;
	const struct cid_length *length;

	if (now <= len && cids_is_stray(cids, bytes, now))
		return true;
	for (length = cids->lengths; length->octets; length++)
		if (length->octets != now && length->octets <= len &&
		    cids_is_stray(cids, bytes, length->octets))
			return true;
	return false;
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

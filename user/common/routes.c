// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/point.h"
#define CS_TABLE_POINT(name) CS_POINT(name)
#include "common/routes.h"
#include "core/quic.h"

/*
 * The set of provisional tags: linear probing, at most half full, so that retire knows which
 * account a route is on.  0 is an empty slot; a tag of 0 is stored as EMPTY_TAG.
 */
#define EMPTY_TAG (1ULL << 48)
#define SET_MOST 65536 /* provisional routes of one worker */

static __u32 set_home(const struct routes *routes, __u64 tag)
{
	return (tag ^ tag >> 24) & routes->provisional_mask;
}

static void set_add(struct routes *routes, __u64 tag)
{
	__u32 i;

	tag = tag ? tag : EMPTY_TAG;
	for (i = set_home(routes, tag); routes->provisional[i];)
		i = (i + 1) & routes->provisional_mask;
	routes->provisional[i] = tag;
}

/* Closes the hole at @hole: moves back what can no longer be reached over it. */
static void set_close(struct routes *routes, __u32 hole)
{
	__u32 mask = routes->provisional_mask;

	routes->provisional[hole] = 0;
	for (__u32 i = (hole + 1) & mask; routes->provisional[i]; i = (i + 1) & mask) {
		__u32 home = set_home(routes, routes->provisional[i]);

		if (((i - home) & mask) < ((i - hole) & mask))
			continue;
		routes->provisional[hole] = routes->provisional[i];
		routes->provisional[i] = 0;
		hole = i;
	}
}

static bool set_remove(struct routes *routes, __u64 tag)
{
	tag = tag ? tag : EMPTY_TAG;
	for (__u32 i = set_home(routes, tag); routes->provisional[i];
	     i = (i + 1) & routes->provisional_mask) {
		if (routes->provisional[i] != tag)
			continue;
		set_close(routes, i);
		return true;
	}
	return false;
}

int routes_init(struct routes *routes, __u32 share)
{
	__u32 slots = 4;

	routes->provisional_share = share;
	routes->provisional_most = share < SET_MOST ? share : SET_MOST;
	while (slots < 2 * routes->provisional_most)
		slots *= 2;
	routes->provisional = calloc(slots, sizeof(*routes->provisional));
	routes->provisional_mask = slots - 1;
	return routes->provisional ? 0 : -ENOMEM;
}

void routes_free(struct routes *routes)
{
	free(routes->provisional);
	routes->provisional = NULL;
}

/* The line is written by its owner alone and read by others at any time: whole words. */
static void account(__u64 *value, __s64 change)
{
	__atomic_store_n(value, *value + change, __ATOMIC_RELAXED);
}

static __u64 tag_of(const struct routes *routes, const uint8_t *bytes, size_t len)
{
	struct cs_cid cid = { .len = len };

	memcpy(cid.byte, bytes, len);
	return cs_tag(cs_cid_hash(routes->key, &cid));
}

/* SEQ_CST: see cs_table_sweep(). */
static bool is_buried(const struct routes *routes)
{
	return __atomic_load_n(&routes->usage->buried, __ATOMIC_SEQ_CST); /* model: read */
}

/* What is inserted while the daemon buries this worker may come behind its sweep. */
static int insert(struct routes *routes, __u64 tag, __u32 limit)
{
	int err;

	if (is_buried(routes)) /* model: before */
		return -ESTALE;
	CS_POINT("issue"); /* nothing is written */
	err = cs_table_insert(&routes->table, tag, routes->worker, limit); /* model: table */
	CS_POINT("issue"); /* committed, and not in the accounts */
	/* model: after */
	if (err || !is_buried(routes))
		return err;
	cs_table_remove(&routes->table, tag, routes->worker); /* model: undo */
	return -ESTALE;
}

int routes_issue(struct routes *routes, const uint8_t *cid, size_t len)
{
	int err;

	if (!len || len != routes->cid_len)
		return -EINVAL;
	err = insert(routes, tag_of(routes, cid, len), CS_BUCKET_ROUTES);
	if (!err)
		account(&routes->usage->issued, 1);
	else if (err == -ENOSPC)
		account(&routes->usage->refused, 1);
	return err;
}

/*
 * A provisional route is counted in two numbers: the worker's line, and line 0, one number for all
 * workers of the service (a share for each would be too small or too large).
 *
 * The daemon may empty the line of a buried worker between any two steps: so what is taken from
 * the line is taken in one step, by the worker or by the daemon.  A worker may be killed there:
 * then the line says one more than line 0, never one less, which the service would miss for ever.
 */
static void give_share_back(struct routes *routes)
{
	__u64 *line = &routes->usage->provisional, *sum = &routes->sum->provisional;
	__u64 count = __atomic_load_n(line, __ATOMIC_SEQ_CST);

	__atomic_fetch_sub(sum, 1, __ATOMIC_SEQ_CST);
	if (!count || !__atomic_compare_exchange_n(line, &count, count - 1, 0, __ATOMIC_SEQ_CST,
						   __ATOMIC_SEQ_CST))
		__atomic_fetch_add(sum, 1, __ATOMIC_SEQ_CST); /* the daemon has given it back */
}

static bool take_share(struct routes *routes)
{
	__s64 taken;

	if (routes->provisional_count >= routes->provisional_most)
		return false;
	__atomic_fetch_add(&routes->usage->provisional, 1, __ATOMIC_SEQ_CST);
	/* Signed: it is below 0 where the daemon was quicker. */
	taken = __atomic_fetch_add(&routes->sum->provisional, 1, __ATOMIC_SEQ_CST);
	if (taken < routes->provisional_share)
		return true;
	give_share_back(routes);
	return false;
}

void routes_return_share(struct cs_usage *sum, struct cs_usage *line, __u32 share)
{
	__u64 count = __atomic_exchange_n(&line->provisional, 0, __ATOMIC_SEQ_CST);

	__atomic_fetch_sub(&sum->provisional, count < share ? count : share, __ATOMIC_SEQ_CST);
}

int routes_issue_provisional(struct routes *routes, const uint8_t *cid, size_t len)
{
	__u64 tag;
	int err = -ENOSPC;

	if (!len || len > CS_MAX_CID)
		return -EINVAL;
	tag = tag_of(routes, cid, len);
	if (take_share(routes)) {
		err = insert(routes, tag, CS_BUCKET_PROVISIONAL);
		if (err)
			give_share_back(routes);
	}
	if (err == -ENOSPC) {
		account(&routes->usage->refused, 1);
		return -EDQUOT;
	}
	if (err)
		return err;
	set_add(routes, tag);
	routes->provisional_count++;
	account(&routes->usage->issued, 1);
	return 0;
}

int routes_retire(struct routes *routes, const uint8_t *cid, size_t len)
{
	__u64 tag;
	int err;

	if (!len || len > CS_MAX_CID)
		return -EINVAL;
	tag = tag_of(routes, cid, len);
	CS_POINT("retire"); /* nothing is written */
	err = cs_table_remove(&routes->table, tag, routes->worker); /* model: remove */
	if (err)
		return err;
	CS_POINT("retire"); /* taken back, and still in the accounts */
	if (set_remove(routes, tag)) {
		routes->provisional_count--;
		give_share_back(routes);
	}
	account(&routes->usage->retired, 1);
	return 0;
}

int routes_stray(struct routes *routes, const uint8_t *cid, size_t len)
{
	if (!len || len > CS_MAX_CID)
		return -EINVAL;
	/* Also if the route names this very worker, which says that it has not issued the ID:
	 * then somebody has altered the table.
	 */
	if (!cs_table_find(&routes->table, tag_of(routes, cid, len)))
		return 0;
	account(&routes->usage->strays, 1);
	return 1;
}

void routes_path_change(struct routes *routes)
{
	account(&routes->usage->path_changes, 1);
}

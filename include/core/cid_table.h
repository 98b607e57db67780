/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The CID table: one word is one route.
 *
 *    63                                16  15  14             0
 *   +------------------------------------+---+----------------+
 *   | tag: 48 bits of SipHash-1-3(CID)   | p | worker id      |   word 0 = empty
 *   +------------------------------------+---+----------------+   p = pending
 *   bucket: 8 words = one cache line; 2^k buckets; a tag has two: i1 = its low bits,
 *   i2 = i1 ^ its high bits, never the same.
 *
 * Several processes write it at once without a lock; programs in the kernel read it meanwhile,
 * each word once.  What holds:
 *
 *  - a committed word never moves: a reader that looks at both buckets finds it, whatever
 *    others do.  Readers pass over pending words.
 *  - of two writers of one tag at most one wins.  Each stores its pending word with a
 *    compare-and-swap, then looks at both buckets again and gives up if it sees the tag a
 *    second time.  The compare-and-swaps are totally ordered, so the later of the two sees the
 *    other's word.  (Committing at once and undoing a double later would show readers of a
 *    live route another worker for a moment.)
 *  - a writer that dies between any two instructions leaves at most one pending or committed
 *    word with its own id, which the sweep for that id removes.
 *  - first bucket below CS_BUCKET_FIRST routes, else the emptier of the two: at half load an
 *    issue into two full buckets is rarer than 1 in 10^7, and about three of four routes are
 *    found in their first cache line.
 */
#ifndef CS_CID_TABLE_H
#define CS_CID_TABLE_H

#include <linux/errno.h>
#include <linux/types.h>
#include <stddef.h>
#include "core/abi.h"
#include "core/siphash.h"

#define CS_BUCKET_ROUTES 8
#define CS_BUCKET_FIRST 5 /* fill the first bucket up to here before looking at the second */
/* Provisional routes leave the rest of a bucket free; that they stay a share of the load, which
 * real routes need as well, is the caller's business (routes_share()).
 */
#define CS_BUCKET_PROVISIONAL 4
#define CS_PENDING (1ULL << 15)
#define CS_WORKER_MASK 0x7fffULL
#define CS_TAG_SHIFT 16

/* A place at which a test can stop a writer; a build that has such places defines it. */
#ifndef CS_TABLE_POINT
#define CS_TABLE_POINT(name) ((void)0)
#endif

CS_INLINE __u64 cs_tag(__u64 hash)
{
	return hash >> CS_TAG_SHIFT;
}

CS_INLINE __u32 cs_bucket_first(__u64 tag, __u32 mask)
{
	return (__u32)tag & mask;
}

CS_INLINE __u32 cs_bucket_second(__u64 tag, __u32 mask)
{
	__u32 other = (__u32)(tag >> 24) & mask;

	return ((__u32)tag & mask) ^ (other ? other : 1);
}

CS_INLINE __u64 cs_word(__u64 tag, __u32 worker)
{
	return tag << CS_TAG_SHIFT | worker;
}

/* Worker that a bucket names for a tag, or 0.  Each word is read once. */
CS_INLINE __u32 cs_bucket_find(const struct cs_bucket *bucket, __u64 tag)
{
	const volatile __u64 *word = (const volatile __u64 *)bucket;

	for (int i = 0; i < CS_BUCKET_ROUTES; i++) {
		__u64 found = word[i]; /* model: read */

		/* Equal but for the worker's bits: same tag, not pending. */
		if ((found ^ tag << CS_TAG_SHIFT) <= CS_WORKER_MASK && found)
			return found & CS_WORKER_MASK;
	}
	return 0;
}

#ifndef __bpf__

/* A mapped table.  @mask is the inner map's max_entries - 1, never a setting beside it. */
struct cs_table {
	struct cs_bucket *buckets;
	__u32 mask;
};

/* What one look at both buckets saw of a tag. */
struct cs_sight {
	__u64 *empty[2]; /* an empty word of each bucket, or NULL */
	__u32 routes[2]; /* words in use, pending ones too */
	__u32 same;	 /* words with the tag, pending or not */
};

CS_INLINE __u64 *cs_bucket_words(const struct cs_table *table, __u32 index)
{
	return (__u64 *)&table->buckets[index];
}

CS_INLINE __u32 cs_table_find(const struct cs_table *table, __u64 tag)
{
	__u32 first = cs_bucket_first(tag, table->mask);
	__u32 worker = cs_bucket_find(&table->buckets[first], tag); /* model: first */

	if (worker)
		return worker;
	/* model: second */
	return cs_bucket_find(&table->buckets[cs_bucket_second(tag, table->mask)], tag);
}

static inline void cs_table_look(const struct cs_table *table, __u64 tag, struct cs_sight *sight)
{
	__u32 index[2] = { cs_bucket_first(tag, table->mask), cs_bucket_second(tag, table->mask) };

	*sight = (struct cs_sight){ { 0 }, { 0 }, 0 };
	for (int b = 0; b < 2; b++) {
		__u64 *word = cs_bucket_words(table, index[b]);

		for (int i = 0; i < CS_BUCKET_ROUTES; i++) {
			__u64 found = __atomic_load_n(&word[i], __ATOMIC_SEQ_CST); /* model: read */

			if (!found) {
				if (!sight->empty[b])
					sight->empty[b] = &word[i];
				continue;
			}
			sight->routes[b]++;
			sight->same += found >> CS_TAG_SHIFT == tag;
		}
	}
}

/* The word to take, in a bucket with less than @limit routes; NULL: none. */
static inline __u64 *cs_sight_choose(const struct cs_sight *sight, __u32 limit)
{
	int b = 0; /* model: choose */

	if (sight->routes[0] >= CS_BUCKET_FIRST && sight->routes[1] < sight->routes[0])
		b = 1;
	if (sight->routes[b] >= limit)
		b = !b;
	return sight->routes[b] < limit ? sight->empty[b] : NULL;
}

CS_INLINE int cs_word_swap(__u64 *word, __u64 from, __u64 to)
{
	/* model: swap */
	return __atomic_compare_exchange_n(word, &from, to, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

/*
 * cs_table_insert - commit a route
 * @limit:	CS_BUCKET_ROUTES, or CS_BUCKET_PROVISIONAL for what strangers can cause
 *
 * Returns 0, -EEXIST (the tag is there, or is being written), -ENOSPC (no room in either
 * bucket), or -ESTALE (the route was swept meanwhile: this worker has been declared dead).
 */
static inline int cs_table_insert(const struct cs_table *table, __u64 tag, __u32 worker,
				  __u32 limit)
{
	__u64 final = cs_word(tag, worker);
	struct cs_sight sight;
	__u64 *word;

	/* A swap fails only when another writer took the word: bounded by the bucket's size,
	 * but for writers that take and give back all the time.
	 */
	for (int tries = 0;; tries++) {
		cs_table_look(table, tag, &sight);
		if (sight.same) /* model: exists */
			return -EEXIST;
		word = cs_sight_choose(&sight, limit);
		if (!word || tries == 64) /* model: full */
			return -ENOSPC;
		if (cs_word_swap(word, 0, final | CS_PENDING)) /* model: pend */
			break;
	}
	CS_TABLE_POINT("issue"); /* pending */
	cs_table_look(table, tag, &sight); /* model: again */
	if (sight.same > 1) {
		cs_word_swap(word, final | CS_PENDING, 0); /* model: undo */
		return -EEXIST;
	}
	return cs_word_swap(word, final | CS_PENDING, final) ? 0 : -ESTALE; /* model: commit */
}

/* Takes back a worker's own route.  Returns 0, or -ENOENT: this worker has none of that tag. */
static inline int cs_table_remove(const struct cs_table *table, __u64 tag, __u32 worker)
{
	__u32 index[2] = { cs_bucket_first(tag, table->mask), cs_bucket_second(tag, table->mask) };

	for (int b = 0; b < 2; b++) {
		__u64 *word = cs_bucket_words(table, index[b]);

		for (int i = 0; i < CS_BUCKET_ROUTES; i++) {
			/* The worker's own words: no order with others is asked for. */
			/* model: read */
			__u64 found = __atomic_load_n(&word[i], __ATOMIC_RELAXED);

			/* model: take */
			if (found == cs_word(tag, worker) && cs_word_swap(&word[i], found, 0))
				return 0;
		}
	}
	return -ENOENT;
}

/*
 * Empties each word of @worker, pending or not, in @count buckets from @first on.
 *
 * The daemon stores `buried`, then this loads; the worker swaps a word, then loads `buried`: one
 * of the two sees the other only if all four are SEQ_CST.
 */
static inline __u32 cs_table_sweep(const struct cs_table *table, __u32 first, __u32 count,
				   __u32 worker)
{
	__u32 swept = 0;

	for (__u32 index = first; index - first < count && index <= table->mask; index++) {
		__u64 *word = cs_bucket_words(table, index);

		for (int i = 0; i < CS_BUCKET_ROUTES; i++) {
			/* model: read */
			__u64 found = __atomic_load_n(&word[i], __ATOMIC_SEQ_CST);

			/* model: take */
			if ((found & CS_WORKER_MASK) == worker && cs_word_swap(&word[i], found, 0))
				swept += !(found & CS_PENDING);
		}
	}
	return swept;
}

/* Buckets of a table for @max_cids routes at half load: a power of two. */
static inline __u32 cs_table_buckets(__u32 max_cids)
{
	__u32 buckets = CS_MIN_BUCKETS;

	while (buckets < CS_MAX_BUCKETS && buckets * (CS_BUCKET_ROUTES / 2) < max_cids)
		buckets *= 2;
	return buckets;
}

#endif
#endif

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The ring: where a connection without a route starts.
 *
 * Each of a service's CS_RING_SIZE buckets belongs to the active worker with the highest keyed
 * hash of (bucket, worker) (rendezvous hashing: Thaler and Ravishankar, "Using Name-Based
 * Mappings to Increase Hit Rates", 1998).  So a worker that comes or goes moves only the buckets
 * that it gets or had, about 1 in n, and every daemon computes the same ring from the same key.
 */
#ifndef CS_RING_H
#define CS_RING_H

#include "core/abi.h"
#include "core/siphash.h"

CS_INLINE __u32 cs_ring_bucket(__u64 hash)
{
	return hash & (CS_RING_SIZE - 1);
}

#ifndef __bpf__

static inline __u64 cs_ring_score(const __u64 key[2], __u32 bucket, __u16 worker)
{
	__u64 v[4];

	cs_siphash_init(v, key);
	cs_siphash_word(v, (__u64)bucket << 32 | worker);
	cs_siphash_word(v, 8ULL << 56);
	return cs_siphash_final(v);
}

/* The highest score of a bucket, so that a worker that joins is compared with one other only. */
struct cs_ring_scores {
	__u64 best[CS_RING_SIZE];
};

static inline void cs_ring_offer(struct cs_ring *ring, struct cs_ring_scores *scores,
				 const __u64 key[2], __u32 bucket, __u16 worker)
{
	__u64 score = cs_ring_score(key, bucket, worker);

	if (ring->worker[bucket] && score <= scores->best[bucket])
		return;
	ring->worker[bucket] = worker;
	scores->best[bucket] = score;
}

/* Gives a worker the buckets in which it scores highest. */
static inline void cs_ring_join(struct cs_ring *ring, struct cs_ring_scores *scores,
				const __u64 key[2], __u16 worker)
{
	for (__u32 bucket = 0; bucket < CS_RING_SIZE; bucket++)
		cs_ring_offer(ring, scores, key, bucket, worker);
}

/* Gives the buckets of a worker that leaves to the @count others; with none, to nobody. */
static inline void cs_ring_leave(struct cs_ring *ring, struct cs_ring_scores *scores,
				 const __u64 key[2], __u16 worker, const __u16 *others, __u32 count)
{
	for (__u32 bucket = 0; bucket < CS_RING_SIZE; bucket++) {
		if (ring->worker[bucket] != worker)
			continue;
		ring->worker[bucket] = 0;
		for (__u32 i = 0; i < count; i++)
			cs_ring_offer(ring, scores, key, bucket, others[i]);
	}
}

#endif
#endif

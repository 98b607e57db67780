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

/* Gives each bucket to one of @count @workers; with none, all buckets are 0. */
static inline void cs_ring_fill(struct cs_ring *ring, const __u64 key[2], const __u16 *workers,
				__u32 count)
{
	for (__u32 bucket = 0; bucket < CS_RING_SIZE; bucket++) {
		__u64 best = 0;

		ring->worker[bucket] = 0;
		for (__u32 i = 0; i < count; i++) {
			__u64 score = cs_ring_score(key, bucket, workers[i]);

			if (ring->worker[bucket] && score <= best)
				continue;
			ring->worker[bucket] = workers[i];
			best = score;
		}
	}
}

#endif
#endif

// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ring's laws: it names its workers evenly, and moves as little as it can.
 */
#include <criterion/criterion.h>
#include <string.h>
#include "core/cid_table.h"
#include "core/quic.h"
#include "core/ring.h"
#include "law.h"

#define MOST_WORKERS 32

struct members {
	__u64 key[2];
	__u16 worker[MOST_WORKERS];
	__u32 count;
};

/* @count different ids, among them the first and the last that are given out. */
static struct members random_members(__u64 *seed, __u32 count)
{
	struct members members = { .count = count };
	__u8 taken[CS_MAX_WORKERS] = { 0 };

	members.key[0] = random_word(seed);
	members.key[1] = random_word(seed);
	for (__u32 i = 0; i < count;) {
		__u16 id = 1 + random_below(seed, CS_MAX_WORKERS - 1);

		if (i == 0)
			id = 1;
		if (i == 1)
			id = CS_MAX_WORKERS - 1;
		if (!taken[id])
			members.worker[i++] = id;
		taken[id] = 1;
	}
	return members;
}

static void fill(struct cs_ring *ring, const struct members *members)
{
	struct cs_ring_scores scores;

	memset(&scores, 0xff, sizeof(scores)); /* of nobody: not to be looked at */
	memset(ring, 0, sizeof(*ring));
	for (__u32 i = 0; i < members->count; i++)
		cs_ring_join(ring, &scores, members->key, members->worker[i]);
}

static __u32 buckets_of(const struct cs_ring *ring, __u16 worker)
{
	__u32 buckets = 0;

	for (__u32 i = 0; i < CS_RING_SIZE; i++)
		buckets += ring->worker[i] == worker;
	return buckets;
}

/* @trials independent ones, each a hit with 1 in @n: @hits within 6 sigma (2 in 10^9 are not)? */
static int is_binomial(double hits, double trials, double n)
{
	double off = hits - trials / n;

	return off * off <= 36 * trials * (1 / n) * (1 - 1 / n);
}

/* Joining and leaving in any order gives the ring that the members alone would have. */
Test(ring, it_depends_on_its_members_alone)
{
	__u64 seed = 9, count = rounds(10);

	for (__u64 round = 0; round < count; round++) {
		struct members all = random_members(&seed, MOST_WORKERS), some = all;
		struct cs_ring ring = {}, expected;
		struct cs_ring_scores scores;
		__u32 gone = 1 + random_below(&seed, MOST_WORKERS - 1);

		for (__u32 i = 0; i < all.count; i++)
			cs_ring_join(&ring, &scores, all.key, all.worker[i]);
		for (__u32 i = 0; i < gone; i++) {
			some.count--;
			cs_ring_leave(&ring, &scores, all.key, some.worker[some.count], some.worker,
				      some.count);
		}
		fill(&expected, &some);
		check(!memcmp(&ring, &expected, sizeof(ring)), "%u of %u left", gone, all.count);
	}
}

Test(ring, without_workers_it_names_nobody)
{
	static const __u64 key[2] = { 1, 2 };
	static const struct cs_ring zeros;
	struct cs_ring ring = {};
	struct cs_ring_scores scores;

	cs_ring_join(&ring, &scores, key, 7);
	cs_ring_leave(&ring, &scores, key, 7, NULL, 0);
	cr_assert_arr_eq(&ring, &zeros, sizeof(ring));
}

Test(ring, each_bucket_names_one_of_the_workers_and_each_worker_has_its_share)
{
	__u64 seed = 4, count = rounds(10);

	for (__u64 round = 0; round < count; round++) {
		for (__u32 n = 1; n <= MOST_WORKERS; n++) {
			struct members members = random_members(&seed, n);
			struct cs_ring ring;
			__u32 named = 0;

			fill(&ring, &members);
			for (__u32 i = 0; i < n; i++) {
				__u32 buckets = buckets_of(&ring, members.worker[i]);

				check(is_binomial(buckets, CS_RING_SIZE, n),
				      "%u workers: one has %u buckets", n, buckets);
				named += buckets;
			}
			cr_assert_eq(named, CS_RING_SIZE, "%u workers", n);
		}
	}
}

/* Read backwards: a worker that comes takes buckets for itself and moves none between others. */
Test(ring, a_worker_that_leaves_moves_only_the_buckets_that_it_had)
{
	__u64 seed = 5, count = rounds(2), moved = 0;

	for (__u64 round = 0; round < count; round++) {
		for (__u32 n = 1; n <= MOST_WORKERS; n++) {
			struct members all = random_members(&seed, n), rest = all;
			__u32 leaver = random_below(&seed, n);
			struct cs_ring before, after;

			memmove(&rest.worker[leaver], &rest.worker[leaver + 1],
				(n - leaver - 1) * sizeof(rest.worker[0]));
			rest.count--;
			fill(&before, &all);
			fill(&after, &rest);
			for (__u32 i = 0; i < CS_RING_SIZE; i++) {
				int had = before.worker[i] == all.worker[leaver];

				check((before.worker[i] != after.worker[i]) == had,
				      "%u workers: bucket %u went from %u to %u, %u left", n, i,
				      before.worker[i], after.worker[i], all.worker[leaver]);
				moved += had;
			}
		}
	}
	cr_assert_gt(moved, CS_RING_SIZE);
}

/* What the leaver had goes to all that stay, not to a neighbour. */
Test(ring, the_buckets_of_a_leaver_are_shared_by_those_who_stay)
{
	enum {
		N = 8
	};
	__u64 seed = 6;

	for (int round = 0; round < 20; round++) {
		struct members all = random_members(&seed, N), rest = all;
		struct cs_ring before, after;
		__u32 had;

		rest.count--;
		fill(&before, &all);
		fill(&after, &rest);
		had = buckets_of(&before, all.worker[N - 1]);
		for (__u32 i = 0; i < N - 1; i++) {
			__u32 got = buckets_of(&after, all.worker[i]) -
				    buckets_of(&before, all.worker[i]);

			cr_assert(is_binomial(got, had, N - 1), "%u of %u buckets", got, had);
		}
	}
}

Test(ring, the_order_of_the_workers_does_not_matter)
{
	__u64 seed = 7, count = rounds(2);

	for (__u64 round = 0; round < count; round++) {
		for (__u32 n = 2; n <= MOST_WORKERS; n++) {
			struct members members = random_members(&seed, n), shuffled = members;
			struct cs_ring one, other;

			for (__u32 i = n - 1; i > 0; i--) {
				__u32 j = random_below(&seed, i + 1);
				__u16 worker = shuffled.worker[i];

				shuffled.worker[i] = shuffled.worker[j];
				shuffled.worker[j] = worker;
			}
			fill(&one, &members);
			fill(&other, &shuffled);
			cr_assert_arr_eq(&one, &other, sizeof(one), "%u workers", n);
		}
	}
}

/* Two keys agree about a bucket by chance only; either half of the key is enough. */
Test(ring, another_key_makes_another_ring)
{
	__u64 seed = 8;

	for (__u32 n = 2; n <= MOST_WORKERS; n++) {
		for (int half = 0; half < 2; half++) {
			struct members members = random_members(&seed, n), other = members;
			struct cs_ring one, two;
			__u32 agree = 0;

			other.key[half] ^= 1;
			fill(&one, &members);
			fill(&two, &other);
			for (__u32 i = 0; i < CS_RING_SIZE; i++)
				agree += one.worker[i] == two.worker[i];
			cr_assert(is_binomial(agree, CS_RING_SIZE, n), "%u workers: %u agree", n,
				  agree);
		}
	}
}

/* So who has a bucket does not tell in which part of the table a route lies, nor the reverse. */
Test(ring, a_hash_chooses_bucket_and_tag_by_different_bits)
{
	__u64 seed = 9, reached = 0;

	for (int round = 0; round < 100000; round++) {
		__u64 hash = random_word(&seed);
		__u32 bucket = cs_ring_bucket(hash);

		check(bucket < CS_RING_SIZE, "bucket %u", bucket);
		reached |= 1ULL << bucket % 64;
		for (int bit = 0; bit < 64; bit++) {
			__u64 turned = hash ^ 1ULL << bit;

			check(cs_ring_bucket(turned) == bucket || cs_tag(turned) == cs_tag(hash),
			      "bit %d is in both", bit);
		}
	}
	cr_assert_eq(reached, ~0ULL);
}

#define KEYS 100000

/* Which worker each of KEYS connections starts at, whose DCIDs are numbers. */
static void place(const struct cs_ring *ring, const __u64 key[2], __u16 *worker)
{
	struct cs_cid cid = { .len = 8 };

	for (__u64 i = 0; i < KEYS; i++) {
		cid.word[0] = i;
		worker[i] = ring->worker[cs_ring_bucket(cs_cid_hash(key, &cid))];
	}
}

/*
 * Mean square of the differences from an even share, by what chance alone makes of it: which bucket
 * is whose, and which DCID falls into it.
 */
static double unevenness(const __u16 *worker, const struct members *members)
{
	double even = (double)KEYS / members->count, squares = 0, chance;

	for (__u32 w = 0; w < members->count; w++) {
		double off = -even;

		for (__u32 i = 0; i < KEYS; i++)
			off += worker[i] == members->worker[w];
		squares += off * off / even / even;
	}
	chance = (members->count - 1) * (1.0 / CS_RING_SIZE + 1.0 / KEYS);
	return squares / members->count / chance;
}

/* Chance is 1.6% with two workers and 4.2% with eight. */
Test(ring, a_hundred_thousand_connections_are_spread_within_a_few_percent)
{
	static __u16 worker[KEYS];
	__u64 seed = 10;

	for (__u32 n = 2; n <= 8; n++) {
		double sum = 0;

		for (int round = 0; round < 10; round++) {
			struct members members = random_members(&seed, n);
			struct cs_ring ring;

			fill(&ring, &members);
			place(&ring, members.key, worker);
			sum += unevenness(worker, &members);
		}
		check(sum / 10 < 2.5, "%u workers: %.2f times what chance makes", n, sum / 10);
	}
}

/* Joining and, read backwards, leaving. */
Test(ring, of_a_hundred_thousand_connections_only_those_of_the_newcomer_move)
{
	static __u16 before[KEYS], after[KEYS];
	__u64 seed = 11;

	for (__u32 n = 1; n < MOST_WORKERS; n++) {
		struct members more = random_members(&seed, n + 1), members = more;
		struct cs_ring ring;
		double moved = 0, share;

		members.count = n;
		fill(&ring, &members);
		place(&ring, members.key, before);
		fill(&ring, &more);
		place(&ring, members.key, after);
		for (__u32 i = 0; i < KEYS; i++) {
			check(after[i] == before[i] || after[i] == more.worker[n],
			      "%u workers: a connection went from %u to %u", n, before[i],
			      after[i]);
			moved += after[i] != before[i];
		}
		/* Its buckets are 1 in n + 1, give or take 6 sigma of CS_RING_SIZE trials. */
		share = moved / KEYS * CS_RING_SIZE;
		check(is_binomial(share, CS_RING_SIZE, n + 1), "%u workers: %.0f moved", n, moved);
	}
}

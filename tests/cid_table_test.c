// SPDX-License-Identifier: GPL-2.0-only
/*
 * The CID table's laws for one writer.  Several at once: table_race_test.c; in each other's
 * steps, and killed in every step: table_step_test.c.
 */
#include <criterion/criterion.h>
#include <string.h>
#include "core/cid_table.h"
#include "law.h"

#define MOST_BUCKETS 4096
#define SLOTS (2 * CS_BUCKET_ROUTES) /* words where one tag can be */
#define TAG_MASK ((1ULL << 48) - 1)

static struct cs_bucket buckets[MOST_BUCKETS], saved[MOST_BUCKETS];

static struct cs_table table_empty(__u32 count)
{
	memset(buckets, 0, sizeof(buckets));
	return (struct cs_table){ buckets, count - 1 };
}

static __u64 random_tag(__u64 *seed)
{
	return random_word(seed) & TAG_MASK;
}

static void save(void)
{
	memcpy(saved, buckets, sizeof(buckets));
}

static int is_unchanged(void)
{
	return !memcmp(saved, buckets, sizeof(buckets));
}

static int insert(const struct cs_table *table, __u64 tag, __u32 worker)
{
	return cs_table_insert(table, tag, worker, CS_BUCKET_ROUTES);
}

/* The words where a tag can be, first bucket first, as the drawing in cid_table.h says. */
static void slots(const struct cs_table *table, __u64 tag, __u64 *slot[SLOTS])
{
	__u32 first = cs_bucket_first(tag, table->mask);
	__u32 second = cs_bucket_second(tag, table->mask);

	for (int i = 0; i < SLOTS; i++)
		slot[i] = (__u64 *)&table->buckets[i < 8 ? first : second] + i % 8;
}

/* Fills @count slots from @from on with other tags. */
static void occupy(__u64 *slot[SLOTS], int from, int count, __u32 worker)
{
	for (int i = from; i < from + count; i++)
		*slot[i] = (0xdead00000000ULL + i) << 16 | worker;
}

static __u32 used(__u64 *slot[SLOTS], int from)
{
	__u32 count = 0;

	for (int i = from; i < from + CS_BUCKET_ROUTES; i++)
		count += *slot[i] != 0;
	return count;
}

static const __u64 tags_extreme[] = {
	0, 1, TAG_MASK, 0xffffff000000, 0x000000ffffff, 0x800000000000
};
#define EXTREME (sizeof(tags_extreme) / sizeof(tags_extreme[0]))

/* From an empty table to half load, in tables of several sizes. */
Test(cid_table, what_was_issued_is_found_and_nothing_else)
{
	static __u64 tag[MOST_BUCKETS * CS_BUCKET_ROUTES / 2];
	__u64 seed = 20;

	for (__u32 size = CS_MIN_BUCKETS; size <= MOST_BUCKETS; size *= 4) {
		struct cs_table table = table_empty(size);
		__u32 count = size * CS_BUCKET_ROUTES / 2;

		for (__u32 i = 0; i < count; i++) {
			tag[i] = random_tag(&seed);
			check(!insert(&table, tag[i], 1 + i % (CS_MAX_WORKERS - 1)), "insert %u",
			      i);
		}
		for (__u32 i = 0; i < count; i++) {
			check(cs_table_find(&table, tag[i]) == 1 + i % (CS_MAX_WORKERS - 1),
			      "%u buckets: route %u", size, i);
			check(!cs_table_find(&table, random_tag(&seed)), "%u buckets", size);
		}
	}
	cr_assert_neq(tag[0], 0);
}

/* Also of tags with all bits 0 or 1, and of the first and the last worker. */
Test(cid_table, a_route_is_found_in_each_word_of_both_buckets_unless_it_is_pending)
{
	static const __u32 workers[] = { 1, 2, 0x4000, CS_MAX_WORKERS - 1 };
	struct cs_table table = table_empty(16);
	__u64 *slot[SLOTS];

	for (size_t t = 0; t < EXTREME; t++) {
		__u64 tag = tags_extreme[t];

		slots(&table, tag, slot);
		for (int i = 0; i < SLOTS; i++) {
			for (int w = 0; w < 4; w++) {
				*slot[i] = tag << 16 | workers[w];
				cr_assert_eq(cs_table_find(&table, tag), workers[w]);
				for (int bit = 0; bit < 48; bit++)
					cr_assert_eq(cs_table_find(&table, tag ^ 1ULL << bit), 0);
				*slot[i] |= CS_PENDING;
				cr_assert_eq(cs_table_find(&table, tag), 0);
			}
			*slot[i] = 0;
			cr_assert_eq(cs_table_find(&table, tag), 0);
		}
	}
}

/* In buckets with room and in full ones. */
Test(cid_table, an_equal_tag_is_refused_wherever_it_lies_whoever_has_it)
{
	struct cs_table table = table_empty(16);
	__u64 *slot[SLOTS];

	for (size_t t = 0; t < EXTREME; t++) {
		__u64 tag = tags_extreme[t];

		slots(&table, tag, slot);
		for (int i = 0; i < 4 * SLOTS; i++) {
			int at = i % SLOTS, is_full = i / SLOTS % 2, is_pending = i / SLOTS / 2;

			memset(buckets, 0, sizeof(buckets));
			occupy(slot, 0, is_full ? SLOTS : 0, 9);
			*slot[at] = tag << 16 | (is_pending ? CS_PENDING : 0) | 7;
			save();
			cr_assert_eq(insert(&table, tag, 7), -EEXIST, "own, slot %d", at);
			cr_assert_eq(insert(&table, tag, 8), -EEXIST, "slot %d", at);
			cr_assert_eq(cs_table_insert(&table, tag, 8, CS_BUCKET_PROVISIONAL),
				     -EEXIST, "provisional, slot %d", at);
			cr_assert(is_unchanged());
		}
	}
}

Test(cid_table, only_its_own_committed_route_is_removed_by_a_worker)
{
	struct cs_table table = table_empty(16);
	__u64 *slot[SLOTS];

	for (size_t t = 0; t < EXTREME; t++) {
		__u64 tag = tags_extreme[t];

		slots(&table, tag, slot);
		for (int i = 0; i < SLOTS; i++) {
			memset(buckets, 0, sizeof(buckets));
			occupy(slot, 0, SLOTS, 7);
			*slot[i] = tag << 16 | 7;
			save();
			cr_assert_eq(cs_table_remove(&table, tag, 8), -ENOENT);
			cr_assert_eq(cs_table_remove(&table, tag ^ 1, 7), -ENOENT);
			cr_assert(is_unchanged());
			cr_assert_eq(cs_table_remove(&table, tag, 7), 0, "slot %d", i);
			cr_assert_eq(*slot[i], 0);
			cr_assert_eq(cs_table_remove(&table, tag, 7), -ENOENT);
			*slot[i] = tag << 16 | CS_PENDING | 7;
			save();
			cr_assert_eq(cs_table_remove(&table, tag, 7), -ENOENT);
			cr_assert(is_unchanged());
		}
	}
}

/* Every number of routes in either bucket; @limit is the one of the issue. */
static void check_room(const struct cs_table *table, __u64 tag, __u32 limit)
{
	__u64 *slot[SLOTS];

	slots(table, tag, slot);
	for (int first = 0; first <= 8; first++) {
		for (int second = 0; second <= 8; second++) {
			int room = first < (int)limit || second < (int)limit, err;

			memset(buckets, 0, sizeof(buckets));
			occupy(slot, 0, first, 9);
			occupy(slot, 8, second, 9);
			save();
			err = cs_table_insert(table, tag, 7, limit);
			cr_assert_eq(err, room ? 0 : -ENOSPC, "%d and %d routes: %d", first, second,
				     err);
			cr_assert_eq(cs_table_find(table, tag), room ? 7 : 0);
			cr_assert_leq(used(slot, 0), first < (int)limit ? limit : (__u32)first);
			cr_assert_leq(used(slot, 8), second < (int)limit ? limit : (__u32)second);
			if (room)
				cr_assert_eq(cs_table_remove(table, tag, 7), 0);
			cr_assert(is_unchanged(), "%d and %d routes", first, second);
		}
	}
}

Test(cid_table, an_issue_fails_only_without_room_in_both_buckets_and_changes_nothing)
{
	struct cs_table table = table_empty(16);

	for (size_t t = 0; t < EXTREME; t++)
		check_room(&table, tags_extreme[t], CS_BUCKET_ROUTES);
}

Test(cid_table, a_provisional_issue_takes_no_word_above_its_limit_in_a_bucket)
{
	struct cs_table table = table_empty(16);

	for (size_t t = 0; t < EXTREME; t++)
		check_room(&table, tags_extreme[t], CS_BUCKET_PROVISIONAL);
}

/* Strangers issue until nothing of theirs goes in: a real issue still goes into any bucket. */
Test(cid_table, a_flood_of_provisional_routes_leaves_room_in_every_bucket)
{
	enum {
		SIZE = 256
	};
	struct cs_table table = table_empty(SIZE);
	__u64 seed = 21, taken = 0, refused = 0;

	while (refused < 100 * SIZE) {
		int err = cs_table_insert(&table, random_tag(&seed), 3, CS_BUCKET_PROVISIONAL);

		cr_assert(err == 0 || err == -ENOSPC);
		taken += !err;
		refused = err ? refused + 1 : 0;
	}
	cr_assert_eq(taken, SIZE * CS_BUCKET_PROVISIONAL);
	for (int i = 0; i < 10000; i++) {
		__u64 tag = random_tag(&seed);

		check(!insert(&table, tag, 4), "issue %d", i);
		check(cs_table_find(&table, tag) == 4, "issue %d", i);
		check(!cs_table_remove(&table, tag, 4), "issue %d", i);
	}
}

/* Every third word pending, five workers; swept at once, and in pieces that overlap nothing. */
Test(cid_table, a_sweep_empties_the_words_of_one_worker_and_no_other)
{
	enum {
		SIZE = 64,
		WORKERS = 5
	};
	struct cs_table table = table_empty(SIZE);
	__u64 seed = 22, *word = (__u64 *)buckets;

	for (int worker = 1; worker <= WORKERS; worker++) {
		__u32 committed = 0, swept = 0;

		for (int i = 0; i < SIZE * CS_BUCKET_ROUTES; i++) {
			int is_pending = random_below(&seed, 3) == 0;
			__u32 whose = random_below(&seed, WORKERS + 1);

			word[i] = whose ? random_tag(&seed) << 16 | is_pending << 15 | whose : 0;
			committed += (int)whose == worker && !is_pending;
		}
		save();
		for (__u32 first = 0; first < SIZE; first += 10)
			swept += cs_table_sweep(&table, first, 10, worker);
		cr_assert_eq(swept, committed);
		for (int i = 0; i < SIZE * CS_BUCKET_ROUTES; i++) {
			__u64 before = ((__u64 *)saved)[i];
			int was_its = (int)(before & CS_WORKER_MASK) == worker;

			check(word[i] == (was_its ? 0 : before), "word %d", i);
		}
		memcpy(buckets, saved, sizeof(buckets));
		cr_assert_eq(cs_table_sweep(&table, 0, ~0U, worker), committed);
	}
}

Test(cid_table, a_sweep_touches_only_the_buckets_that_it_was_given)
{
	struct cs_table table = table_empty(16);
	__u64 *word = (__u64 *)buckets;

	for (__u32 first = 0; first < 20; first++) {
		for (__u32 count = 0; count < 20; count++) {
			__u32 end = first + count < 16 ? first + count : 16;

			for (int i = 0; i < 32 * CS_BUCKET_ROUTES; i++)
				word[i] = (__u64)i << 16 | 1;
			cr_assert_eq(cs_table_sweep(&table, first, count, 1),
				     first < end ? 8 * (end - first) : 0);
			for (__u32 i = 0; i < 32 * CS_BUCKET_ROUTES; i++)
				check(!word[i] == (i / 8 >= first && i / 8 < end), "word %u", i);
		}
	}
	cr_assert_neq(word[0], 0);
}

/* A tag whose two buckets are one would be the common overflow of a small table. */
Test(cid_table, the_second_bucket_is_another_one)
{
	__u64 seed = 23, count = rounds(200000);

	for (__u32 size = CS_MIN_BUCKETS; size <= CS_MAX_BUCKETS; size *= 2) {
		for (__u64 round = 0; round < count; round++) {
			__u64 tag = random_tag(&seed);
			__u32 first, second;

			/* Half of them with the second bucket's bits 0. */
			if (round % 2)
				tag &= 0xffffff;
			first = cs_bucket_first(tag, size - 1);
			second = cs_bucket_second(tag, size - 1);
			check(first < size && second < size, "%u buckets", size);
			check(first != second, "%u buckets: tag 0x%llx", size, tag);
		}
	}
	cr_assert_gt(count, 0);
}

Test(cid_table, a_table_is_at_most_half_full_at_max_cids_and_no_larger_than_that_needs)
{
	static const struct {
		__u32 max_cids, buckets;
	} sizes[] = {
		{ 0, 16 },	     { 1, 16 },
		{ 64, 16 },	     { 65, 32 },
		{ 128, 32 },	     { 129, 64 },
		{ 1000000, 262144 }, { 1048576, 262144 },
		{ 1048577, 524288 }, { 67108864, 1 << 24 },
		{ ~0U, 1 << 24 },
	};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		cr_assert_eq(cs_table_buckets(sizes[i].max_cids), sizes[i].buckets,
			     "max_cids %u: %u", sizes[i].max_cids,
			     cs_table_buckets(sizes[i].max_cids));
}

/* What issues and look-ups of random tags came to. */
struct tally {
	__u64 issued;
	__u64 refused;	    /* -ENOSPC */
	__u64 first_bucket; /* routes found in their first cache line, at half load */
	__u64 routes;
};

static void issue_random(const struct cs_table *table, __u64 *seed, __u64 *tag, struct tally *tally)
{
	*tag = random_tag(seed);
	tally->issued++;
	if (insert(table, *tag, 1))
		tally->refused++;
}

/* Fills a table to exactly half load, then replaces @replaced routes, a random one each time. */
static void fill_and_replace(__u32 size, __u64 replaced, __u64 *seed, struct tally *tally)
{
	static __u64 tag[MOST_BUCKETS * CS_BUCKET_ROUTES / 2];
	struct cs_table table = table_empty(size);
	__u32 count = size * CS_BUCKET_ROUTES / 2;

	for (__u32 i = 0; i < count; i++)
		issue_random(&table, seed, &tag[i], tally);
	for (__u64 i = 0; i < replaced; i++) {
		__u32 which = random_below(seed, count);

		cs_table_remove(&table, tag[which], 1);
		issue_random(&table, seed, &tag[which], tally);
	}
	for (__u32 i = 0; i < count; i++) {
		__u32 first = cs_bucket_first(tag[i], table.mask);

		tally->first_bucket += cs_bucket_find(&buckets[first], tag[i]) == 1;
		tally->routes++;
	}
}

/*
 * "At half load an issue into two full buckets is rarer than 1 in 10^7": by simulation of this
 * rule it is 5e-9, so of 2 * 10^7 issues 0.1 are expected to fail and 3 may; with a rule that
 * breaks the law by ten times it is 20.  Routes are replaced at half load
 * because that is the worst: a table that was only filled has nine of ten routes in their first
 * bucket, and one in use has fewer.
 */
Test(cid_table, at_half_load_an_issue_hardly_ever_fails_and_most_routes_are_in_their_first_bucket)
{
	static const __u32 sizes[] = { 16, 1024 };
	__u64 seed = 24;
	struct tally all = { 0 };

	for (int i = 0; i < 2; i++) {
		__u64 usual = rounds(10000000);
		struct tally tally = { 0 };

		while (tally.issued < usual)
			fill_and_replace(sizes[i], 400 * sizes[i], &seed, &tally);
		/* 73% by the same simulation */
		cr_assert_gt(tally.first_bucket, 0.68 * tally.routes, "%u buckets: %llu of %llu",
			     sizes[i], tally.first_bucket, tally.routes);
		all.issued += tally.issued;
		all.refused += tally.refused;
	}
	cr_assert_leq(1e7 * all.refused, all.issued + 1e7, "%llu of %llu issues failed",
		      all.refused, all.issued);
}

/*
 * The daemon lets one in eight of max_cids be provisional.  On top of these, and wherever they
 * lie, max_cids real issues go in.
 */
Test(cid_table, an_eighth_of_provisional_routes_takes_nothing_from_max_cids)
{
	__u64 seed = 25, count = rounds(100), issued = 0;

	for (__u64 round = 0; round < count; round++) {
		__u32 size = CS_MIN_BUCKETS << random_below(&seed, 6);
		__u32 max_cids = size * CS_BUCKET_ROUTES / 2, provisional = 0;
		struct cs_table table = table_empty(size);

		check(cs_table_buckets(max_cids) == size, "max_cids %u", max_cids);
		while (provisional < max_cids / 8)
			provisional += !cs_table_insert(&table, random_tag(&seed), 3,
							CS_BUCKET_PROVISIONAL);
		for (__u32 i = 0; i < max_cids; i++, issued++)
			check(!insert(&table, random_tag(&seed), 4), "%u buckets: issue %u", size,
			      i);
	}
	cr_assert_gt(issued, count * 64);
}

// SPDX-License-Identifier: GPL-2.0-only
/*
 * The CID table with several writer processes at once, on 16 buckets and a fixed key.
 *
 * A child never calls Criterion: it leaves a line in the arena and exits with 1.
 */
#include <criterion/criterion.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include "core/cid_table.h"
#include "core/quic.h"
#include "law.h"

#define BUCKETS 16
#define WRITERS 4     /* ids 1..4 */
#define PERMANENT 100 /* worker of the routes that stay */
#define STAY 16
#define IDS 128	    /* connection IDs that all writers issue, so that they often collide */
#define MOST_OWN 26 /* routes that a writer holds at once: 15 of 16 words are taken */
#define RACE 8	    /* tags that two issue at once; each has two buckets of its own */

/* Shared by the processes of a test. */
static struct arena {
	struct cs_bucket bucket[BUCKETS];
	/* Who holds each ID: set after its issue, cleared before it is retired.  Counted up in
	 * the upper bits, so that an unchanged value is one route all the time.
	 */
	__u64 holder[IDS];
	__u64 issued, exists, full, looks;
	__u64 arrived;
	__u64 round; /* even: two contend; odd: the winner is removed */
	int result[2][RACE];
	__u64 won[3]; /* tags, by the winner's id; [0]: nobody */
	int stop;
	int failed;
	char why[160];
} * arena;

static struct cs_table table;
static __u64 id_tag[IDS], stay_tag[STAY], race_tag[RACE];

#define claim(law, ...)                                                                            \
	do {                                                                                       \
		if (!(law)) {                                                                      \
			snprintf(arena->why, sizeof(arena->why), __VA_ARGS__);                     \
			__atomic_store_n(&arena->failed, 1, __ATOMIC_SEQ_CST);                     \
			_exit(1);                                                                  \
		}                                                                                  \
	} while (0)

static __u64 tag_of(__u64 number)
{
	static const __u64 key[2] = { 0x0706050403020100, 0x0f0e0d0c0b0a0908 };
	struct cs_cid cid = { .word = { number }, .len = 8 };

	return cs_tag(cs_cid_hash(key, &cid));
}

static void arena_make(void)
{
	arena = mmap(NULL, sizeof(*arena), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	cr_assert_neq(arena, MAP_FAILED);
	table = (struct cs_table){ arena->bucket, BUCKETS - 1 };
	for (int i = 0; i < IDS; i++)
		id_tag[i] = tag_of(i);
	for (int i = 0; i < STAY; i++) {
		stay_tag[i] = tag_of(IDS + i);
		cr_assert_eq(cs_table_insert(&table, stay_tag[i], PERMANENT, CS_BUCKET_ROUTES), 0);
	}
	/* Bits 0..3 choose the first bucket, bits 24..27 its distance to the second. */
	for (int i = 0; i < RACE; i++)
		race_tag[i] = (tag_of(IDS + STAY + i) & ~0xf00000fULL) | 1 << 24 | 2 * i;
	bound_time(60);
}

TestSuite(table_race, .init = arena_make);

static pid_t start(void (*run)(__u32 id), __u32 id)
{
	pid_t pid = fork();

	cr_assert_geq(pid, 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		run(id);
		_exit(0);
	}
	return pid;
}

static void finish(pid_t pid)
{
	int status;

	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(arena->failed, 0, "%s", arena->why);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status 0x%x", status);
}

static double seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec * 1e-9;
}

static void add(__u64 *sum, __u64 count)
{
	__atomic_fetch_add(sum, count, __ATOMIC_SEQ_CST);
}

/* What one writer knows of itself. */
struct model {
	__u8 own[IDS];
	__u32 count;
	__u32 epoch;
	__u64 issued, exists, full;
};

static void retire(struct model *model, __u32 id, int which)
{
	__u64 mine = (__u64)model->epoch << 8 | id;

	claim((__atomic_exchange_n(&arena->holder[which], 0, __ATOMIC_SEQ_CST) & 0xff) == id,
	      "ID %d was taken over from writer %u", which, id);
	claim(!cs_table_remove(&table, id_tag[which], id), "writer %u: ID %d is lost", id, which);
	claim(cs_table_find(&table, id_tag[which]) != id, "writer %u: ID %d stays", id, which);
	model->own[which] = 0;
	model->count--;
	model->epoch = (mine >> 8) + 1;
}

static void issue(struct model *model, __u32 id, int which)
{
	__u64 before, mine = (__u64)++model->epoch << 8 | id;
	int err = cs_table_insert(&table, id_tag[which], id, CS_BUCKET_ROUTES);

	model->exists += err == -EEXIST;
	model->full += err == -ENOSPC;
	claim(!err || err == -EEXIST || err == -ENOSPC, "writer %u: error %d", id, err);
	if (err)
		return;
	before = __atomic_exchange_n(&arena->holder[which], mine, __ATOMIC_SEQ_CST);
	claim(!before, "ID %d: writers %llu and %u both issued it", which, before & 0xff, id);
	model->own[which] = 1;
	model->count++;
	model->issued++;
}

/* Issues and retires at random; after each step every route that it holds is found, as its own. */
static void write_at_random(__u32 id)
{
	struct model model = { .count = 0 };
	__u64 seed = id, count = rounds(600000);

	for (__u64 round = 0; round < count; round++) {
		int which = random_below(&seed, IDS);

		if (model.own[which])
			retire(&model, id, which);
		else if (model.count < MOST_OWN)
			issue(&model, id, which);
		for (int i = 0; i < IDS; i++)
			claim(!model.own[i] || cs_table_find(&table, id_tag[i]) == id,
			      "writer %u does not find its ID %d", id, i);
	}
	add(&arena->issued, model.issued);
	add(&arena->exists, model.exists);
	add(&arena->full, model.full);
}

/* Looks, until told to stop, for the routes that stay and for those that are held meanwhile. */
static void read_all_the_time(__u32 id)
{
	__u64 looks = 0, held = 0;

	(void)id;
	while (!__atomic_load_n(&arena->stop, __ATOMIC_SEQ_CST)) {
		for (int i = 0; i < STAY; i++)
			claim(cs_table_find(&table, stay_tag[i]) == PERMANENT,
			      "route %d that stays is missed", i);
		for (int i = 0; i < IDS; i++) {
			__u64 before = __atomic_load_n(&arena->holder[i], __ATOMIC_SEQ_CST);
			__u32 found = cs_table_find(&table, id_tag[i]);

			claim(found <= WRITERS, "ID %d: worker %u", i, found);
			if (!before ||
			    __atomic_load_n(&arena->holder[i], __ATOMIC_SEQ_CST) != before)
				continue;
			held++;
			claim(found == (before & 0xff), "ID %d of writer %llu: found %u", i,
			      before & 0xff, found);
		}
		looks++;
	}
	claim(held, "no route was held");
	add(&arena->looks, looks);
}

/* With all writers gone each word is a route that somebody holds. */
static void check_that_nothing_is_left_over(void)
{
	__u32 words = 0, held = STAY;

	for (int i = 0; i < BUCKETS * CS_BUCKET_ROUTES; i++) {
		__u64 word = ((__u64 *)arena->bucket)[i];

		words += word != 0;
		cr_assert_eq(word & CS_PENDING, 0);
	}
	for (int i = 0; i < IDS; i++) {
		held += arena->holder[i] != 0;
		cr_assert_eq(cs_table_find(&table, id_tag[i]), arena->holder[i] & 0xff);
	}
	cr_assert_eq(words, held);
}

Test(table_race, a_live_route_is_always_found_while_four_processes_write)
{
	pid_t writer[WRITERS], reader = start(read_all_the_time, 0);

	for (int i = 0; i < WRITERS; i++)
		writer[i] = start(write_at_random, i + 1);
	for (int i = 0; i < WRITERS; i++)
		finish(writer[i]);
	arena->stop = 1;
	finish(reader);
	check_that_nothing_is_left_over();
	cr_assert_gt(arena->looks, 100);
	cr_assert_gt(arena->issued, rounds(600000) / 10);
	cr_assert_gt(arena->exists, 1000);
	cr_assert_gt(arena->full, 0);
}

/* One processor for each of the two, where there are two. */
static void pin(int nth)
{
	cpu_set_t all, one;

	if (sched_getaffinity(0, sizeof(all), &all) || CPU_COUNT(&all) < 2)
		return;
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &all) || nth--)
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		sched_setaffinity(0, sizeof(one), &one);
	}
}

/* Waits for the other one; spins for some microseconds first: then both leave at once. */
static void meet(__u64 *phase)
{
	*phase += 2;
	add(&arena->arrived, 1);
	for (int spin = 0; __atomic_load_n(&arena->arrived, __ATOMIC_SEQ_CST) < *phase; spin++) {
		if (__atomic_load_n(&arena->failed, __ATOMIC_SEQ_CST))
			_exit(0);
		if (spin > 10000)
			sched_yield();
	}
}

/* At most one has won a tag, and the table says who.  Returns the winner, or 0. */
static __u32 winner_of(int i)
{
	int one = arena->result[0][i], two = arena->result[1][i];
	__u32 winner = !one ? 1 : !two ? 2 : 0;
	__u64 word = 0, expected = winner ? cs_word(race_tag[i], winner) : 0;

	claim(one || two, "round %llu: tag %d was issued by both", arena->round, i);
	claim(!one || one == -EEXIST, "error %d", one);
	claim(!two || two == -EEXIST, "error %d", two);
	for (int w = 0; w < BUCKETS * CS_BUCKET_ROUTES; w++) {
		__u64 found = __atomic_load_n((__u64 *)arena->bucket + w, __ATOMIC_SEQ_CST);

		if (cs_tag(found) != race_tag[i])
			continue;
		claim(!word, "round %llu: tag %d is there twice", arena->round, i);
		word = found;
	}
	claim(word == expected, "round %llu: word 0x%llx", arena->round, word);
	return winner;
}

/* Done by one of the two, while the other waits. */
static void end_round(double deadline)
{
	__u32 winner[RACE];

	for (int i = 0; i < RACE; i++) {
		winner[i] = winner_of(i);
		arena->won[winner[i]]++;
	}
	add(&arena->round, 1);
	for (int i = 0; i < RACE; i++)
		claim(!winner[i] || !cs_table_remove(&table, race_tag[i], winner[i]), "remove");
	add(&arena->round, 1);
	arena->stop = arena->round / 2 >= rounds(60000) || seconds_now() > deadline;
}

/* Takes or gives back a word of the same buckets, so that not all choose the same word next. */
static void disturb(__u64 tag, __u32 id)
{
	__u64 neighbour = tag ^ (__u64)id << 40;

	if (cs_table_remove(&table, neighbour, id))
		cs_table_insert(&table, neighbour, id, CS_BUCKET_ROUTES);
}

static void race(__u32 id)
{
	__u64 seed = id, phase = 0;
	double deadline = seconds_now() + 5 * (rounds_factor() > 1 ? rounds_factor() : 1);

	pin(id - 1);
	while (!arena->stop) {
		volatile __u32 wait = random_below(&seed, 100);

		meet(&phase);
		while (wait)
			wait--;
		for (int i = 0; i < RACE; i++) {
			disturb(race_tag[i], id);
			arena->result[id - 1][i] = cs_table_insert(&table, race_tag[i], id,
								   CS_BUCKET_ROUTES);
		}
		meet(&phase);
		if (id == 1)
			end_round(deadline);
		meet(&phase);
	}
}

/* Looks who has a tag, which within a round may only become known. */
static void disturb_and_look(__u32 id)
{
	__u64 seed = id, round_seen = 0, looks = 0;
	__u32 seen[RACE] = { 0 };

	while (!__atomic_load_n(&arena->stop, __ATOMIC_SEQ_CST)) {
		int i = random_below(&seed, RACE);
		__u64 round = __atomic_load_n(&arena->round, __ATOMIC_SEQ_CST);
		__u32 found = cs_table_find(&table, race_tag[i]);

		if (round != round_seen)
			memset(seen, 0, sizeof(seen));
		round_seen = round;
		if (round % 2 == 0 && round == __atomic_load_n(&arena->round, __ATOMIC_SEQ_CST)) {
			claim(!seen[i] || found == seen[i],
			      "round %llu: of tag %d first %u was seen, then %u", round, i, seen[i],
			      found);
			seen[i] = found;
		}
		disturb(race_tag[i], id);
		if (++looks % 256 == 0)
			sched_yield();
	}
	add(&arena->looks, looks);
}

Test(table_race, of_two_processes_that_issue_equal_tags_at_once_at_most_one_wins)
{
	pid_t one = start(race, 1), two = start(race, 2), third = start(disturb_and_look, 3);

	finish(one);
	finish(two);
	finish(third);
	cr_log_info("%llu rounds, won: %llu and %llu, by nobody: %llu", arena->round / 2,
		    arena->won[1], arena->won[2], arena->won[0]);
	cr_assert_gt(arena->round, 100);
	cr_assert_gt(arena->won[1], 0);
	cr_assert_gt(arena->won[2], 0);
	cr_assert_gt(arena->looks, 100);
}

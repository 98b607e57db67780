// SPDX-License-Identifier: GPL-2.0-only
/*
 * The CID table with writers stopped between any two of their instructions.
 *
 * The writers are children that ptrace(2) moves by single instructions, so that each
 * interleaving is a chosen one and each red run is red again.  (What processors reorder is not
 * seen like this; for that: table_race_test.c.)
 *
 * Only for processors with a compare-and-swap instruction: a load-linked, store-conditional
 * loop never ends in single steps.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include "common/routes.h"
#include "law.h"

#define BUCKETS 16
#define ALICE 1
#define BOB 2
#define OTHERS 100	      /* worker of the routes around */
#define TAG 0x500000300003ULL /* first bucket 3, second 3 ^ 5 */
#define SLOTS (2 * CS_BUCKET_ROUTES)

struct writer {
	pid_t pid;
	int started; /* told by the child, right before and behind its one call */
	int done;
	int result;
};

/* Shared with the children. */
static struct arena {
	struct cs_bucket bucket[BUCKETS];
	struct writer alice, bob;
	struct cs_usage usage[2]; /* the service's line, Alice's */
} * arena;

static struct cs_table table;
static struct cs_bucket saved[BUCKETS];

/* Parent and children on one processor: a step costs a third of what it costs across two. */
static void arena_make(void)
{
	cpu_set_t one;
	int cpu = sched_getcpu();

	CPU_ZERO(&one);
	CPU_SET(cpu < 0 ? 0 : cpu, &one);
	sched_setaffinity(0, sizeof(one), &one);
	arena = mmap(NULL, sizeof(*arena), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	cr_assert_neq(arena, MAP_FAILED);
	table = (struct cs_table){ arena->bucket, BUCKETS - 1 };
	bound_time(120);
}

TestSuite(table_step, .init = arena_make);

static int insert_tag(__u32 worker)
{
	return cs_table_insert(&table, TAG, worker, CS_BUCKET_ROUTES);
}

static int remove_tag(__u32 worker)
{
	return cs_table_remove(&table, TAG, worker);
}

static void wait_for_stop(const struct writer *writer)
{
	int status;

	check(waitpid(writer->pid, &status, 0) == writer->pid, "waitpid: %s", strerror(errno));
	check(WIFSTOPPED(status), "the child was not to end: status 0x%x", status);
}

static void step(struct writer *writer)
{
	check(!ptrace(PTRACE_SINGLESTEP, writer->pid, 0, 0), "ptrace: %s", strerror(errno));
	wait_for_stop(writer);
}

/* A child that stands before the first instruction of one call. */
static void start(struct writer *writer, __u32 worker, int (*call)(__u32 worker))
{
	pid_t pid;

	memset(writer, 0, sizeof(*writer));
	pid = fork();
	check(pid >= 0, "fork: %s", strerror(errno));
	if (!pid) {
		volatile struct writer *self = writer;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (ptrace(PTRACE_TRACEME, 0, 0, 0) || raise(SIGSTOP))
			_exit(1);
		self->started = 1;
		self->result = call(worker);
		self->done = 1;
		_exit(0);
	}
	writer->pid = pid;
	wait_for_stop(writer);
	while (!writer->started)
		step(writer);
}

static void end(struct writer *writer)
{
	int status;

	kill(writer->pid, SIGKILL);
	check(waitpid(writer->pid, &status, 0) == writer->pid, "waitpid: %s", strerror(errno));
}

/* Lets the call go on to its end at once. */
static void finish(struct writer *writer)
{
	int status;

	check(!ptrace(PTRACE_CONT, writer->pid, 0, 0), "ptrace: %s", strerror(errno));
	check(waitpid(writer->pid, &status, 0) == writer->pid, "waitpid: %s", strerror(errno));
	check(WIFEXITED(status) && writer->done, "status 0x%x", status);
}

/* Instructions of a call.  Of long ones (sanitizers) only some steps are tried, to end in time. */
static int steps_of(int (*call)(__u32 worker), int *stride)
{
	int steps = 0;

	memcpy(saved, arena->bucket, sizeof(saved));
	for (start(&arena->alice, ALICE, call); !arena->alice.done; steps++)
		step(&arena->alice);
	end(&arena->alice);
	memcpy(arena->bucket, saved, sizeof(saved));
	*stride = 1 + steps * steps / 400000;
	if (*stride > 1)
		cr_log_info("only every %dth of %d instructions is tried", *stride, steps);
	return steps;
}

/*
 * Words taken around the tag's place, a bit for each of its 16 words, and the one of them that
 * is given back meanwhile, so that an earlier look and a later one choose different words.
 */
static const struct scene {
	__u32 taken;
	int freed; /* -1: none */
} scenes[] = {
	{ 0x0007, 0 },	/* of the same bucket, an earlier word */
	{ 0x0f1f, 2 },	/* a word of the second bucket, then one of the first */
	{ 0xfffe, 15 }, /* the last word of the first bucket, then one of the second too */
	{ 0x0000, -1 }, /* always the same word */
};

/* An instruction takes its time: what goes through all of them does so in the first two. */
#define SCENES ((int)(sizeof(scenes) / sizeof(scenes[0])))
#define SCENES_THROUGH 2

static __u64 *slot(int i)
{
	__u32 first = cs_bucket_first(TAG, table.mask);
	__u32 second = cs_bucket_second(TAG, table.mask);

	return (__u64 *)&arena->bucket[i < CS_BUCKET_ROUTES ? first : second] + i % 8;
}

/* Tag of the route around in one of the 16 words: one that belongs there. */
static __u64 tag_around(int i)
{
	return TAG ^ (__u64)(i + 1) << 40;
}

static void set_scene(const struct scene *scene)
{
	memset(arena->bucket, 0, sizeof(arena->bucket));
	for (int i = 0; i < SLOTS; i++) {
		if (scene->taken >> i & 1)
			*slot(i) = cs_word(tag_around(i), OTHERS);
	}
}

static void free_word(const struct scene *scene)
{
	if (scene->freed >= 0)
		check(!cs_table_remove(&table, tag_around(scene->freed), OTHERS), "remove");
}

/* What a reader may see at any time. */
static void look(const struct scene *scene, int freed, __u32 *seen)
{
	__u32 found = cs_table_find(&table, TAG);

	check(!*seen || found == *seen, "worker %u was seen, then %u", *seen, found);
	*seen = found;
	for (int i = 0; i < SLOTS; i++) {
		__u32 expected = scene->taken >> i & 1 ? OTHERS : 0;

		if (freed && i == scene->freed)
			expected = 0;
		check(cs_table_find(&table, tag_around(i)) == expected, "route %d around", i);
	}
}

/* Both calls are over: at most one has won, and nothing else has changed. */
static void check_end(const struct scene *scene, __u64 won[3])
{
	__u32 winner = !arena->alice.result ? ALICE : !arena->bob.result ? BOB : 0;

	check(arena->alice.result || arena->bob.result, "both have won");
	check(!winner || cs_table_find(&table, TAG) == winner, "the winner is not found");
	check(!winner || !cs_table_remove(&table, TAG, winner), "the winner cannot remove");
	memcpy(saved, arena->bucket, sizeof(saved));
	set_scene(scene);
	free_word(scene);
	check(!memcmp(saved, arena->bucket, sizeof(saved)), "a word is left");
	won[winner]++;
}

/* Alice @steps instructions, a word becomes free, Bob's whole call, the rest of Alice's. */
static void overtake(const struct scene *scene, int steps, __u64 won[3])
{
	__u32 seen = 0;

	set_scene(scene);
	start(&arena->alice, ALICE, insert_tag);
	for (int i = 0; i < steps; i++)
		step(&arena->alice);
	look(scene, 0, &seen);
	free_word(scene);
	start(&arena->bob, BOB, insert_tag);
	finish(&arena->bob);
	look(scene, 1, &seen);
	while (!arena->alice.done) {
		step(&arena->alice);
		look(scene, 1, &seen);
	}
	end(&arena->alice);
	check_end(scene, won);
}

Test(table_step, a_writer_overtaken_in_any_step_of_issue_never_makes_a_second_winner)
{
	__u64 won[3] = { 0 };

	for (int i = 0; i < SCENES_THROUGH; i++) {
		int stride, steps;

		set_scene(&scenes[i]);
		steps = steps_of(insert_tag, &stride);
		for (int k = 0; k <= steps; k += stride)
			overtake(&scenes[i], k, won);
	}
	cr_log_info("won: Alice %llu, Bob %llu, nobody %llu", won[ALICE], won[BOB], won[0]);
	cr_assert_gt(won[ALICE], 0);
	cr_assert_gt(won[BOB], 0);
}

/* Both in turns of random length, with a look after every step of either. */
static void take_turns(const struct scene *scene, __u64 *seed, int steps, __u64 won[3])
{
	int longest = 1 + random_below(seed, steps), freed = 0, turn = 0, left = 0;
	int free_at = random_below(seed, steps);
	__u32 seen = 0;

	set_scene(scene);
	start(&arena->alice, ALICE, insert_tag);
	start(&arena->bob, BOB, insert_tag);
	for (int i = 0; !arena->alice.done || !arena->bob.done; i++) {
		struct writer *next;

		if (i == free_at) {
			free_word(scene);
			freed = 1;
		}
		if (left-- <= 0) {
			turn = !turn;
			left = random_below(seed, longest);
		}
		next = turn ? &arena->alice : &arena->bob;
		if (next->done)
			next = turn ? &arena->bob : &arena->alice;
		step(next);
		look(scene, freed, &seen);
	}
	end(&arena->alice);
	end(&arena->bob);
	if (!freed)
		free_word(scene);
	check_end(scene, won);
}

Test(table_step, writers_that_take_turns_never_both_win_and_show_readers_one_worker)
{
	__u64 seed = 30, won[3] = { 0 };
	int stride, steps[SCENES], count;

	for (int i = 0; i < SCENES; i++) {
		set_scene(&scenes[i]);
		steps[i] = steps_of(insert_tag, &stride);
	}
	count = rounds(200) / stride;
	/* So many that each has won some. */
	count = count < 4 * SCENES ? 4 * SCENES : count;
	for (int round = 0; round < count; round++) {
		int i = round % SCENES;

		set_scene(&scenes[i]);
		take_turns(&scenes[i], &seed, steps[i], won);
	}
	cr_log_info("won: Alice %llu, Bob %llu, nobody %llu", won[ALICE], won[BOB], won[0]);
	cr_assert_gt(won[ALICE], 0);
	cr_assert_gt(won[BOB], 0);
}

/* The words of the tag, and what they say. */
enum {
	NOTHING,
	PENDING,
	COMMITTED,
	STATES
};

static int state_of(__u32 worker)
{
	int state = NOTHING;

	for (int i = 0; i < SLOTS; i++) {
		if (cs_tag(*slot(i)) != TAG)
			continue;
		check(state == NOTHING, "two words");
		check((*slot(i) & CS_WORKER_MASK) == worker, "word 0x%llx", *slot(i));
		state = *slot(i) & CS_PENDING ? PENDING : COMMITTED;
	}
	return state;
}

/*
 * Kills a call after @steps instructions.  The routes around are found, the tag is found with
 * its worker or not at all, and the sweep takes away all that is left: then the tag is free.
 */
static int kill_after(const struct scene *scene, int (*call)(__u32 worker), int steps)
{
	__u32 seen = 0;
	int state;

	start(&arena->alice, ALICE, call);
	for (int i = 0; i < steps; i++)
		step(&arena->alice);
	end(&arena->alice);
	state = state_of(ALICE);
	look(scene, 0, &seen);
	check(seen == (state == COMMITTED ? ALICE : 0), "worker %u", seen);
	check(cs_table_sweep(&table, 0, BUCKETS, ALICE) == (state == COMMITTED), "sweep");
	memcpy(saved, arena->bucket, sizeof(saved));
	set_scene(scene);
	check(!memcmp(saved, arena->bucket, sizeof(saved)), "step %d: the sweep left a word",
	      steps);
	check(!insert_tag(BOB), "the tag cannot be issued anew");
	check(cs_table_find(&table, TAG) == BOB, "the tag is not found anew");
	return state;
}

Test(table_step, a_writer_killed_in_any_step_of_issue_leaves_nothing_that_a_sweep_does_not_take)
{
	for (int i = 0; i < SCENES_THROUGH; i++) {
		int stride, steps, left[STATES] = { 0 };

		set_scene(&scenes[i]);
		steps = steps_of(insert_tag, &stride);
		for (int k = 0; k <= steps; k += stride) {
			set_scene(&scenes[i]);
			left[kill_after(&scenes[i], insert_tag, k)]++;
		}
		for (int state = 0; state < STATES; state++)
			cr_assert_gt(left[state], 0, "scene %d, state %d", i, state);
	}
}

Test(table_step, a_writer_killed_in_any_step_of_retire_leaves_its_route_or_nothing)
{
	for (int i = 0; i < SCENES_THROUGH; i++) {
		int stride, steps, left[STATES] = { 0 };

		set_scene(&scenes[i]);
		cr_assert_eq(insert_tag(ALICE), 0);
		steps = steps_of(remove_tag, &stride);
		for (int k = 0; k <= steps; k += stride) {
			set_scene(&scenes[i]);
			cr_assert_eq(insert_tag(ALICE), 0);
			left[kill_after(&scenes[i], remove_tag, k)]++;
		}
		cr_assert_gt(left[NOTHING], 0);
		cr_assert_gt(left[COMMITTED], 0);
		cr_assert_eq(left[PENDING], 0);
	}
}

/* A worker that is swept as dead and lives: it is told, or its route is there, or it was taken. */
static int sweep_after(const struct scene *scene, int steps)
{
	int state, expected;

	set_scene(scene);
	start(&arena->alice, ALICE, insert_tag);
	for (int i = 0; i < steps; i++)
		step(&arena->alice);
	state = state_of(ALICE);
	check(cs_table_sweep(&table, 0, BUCKETS, ALICE) == (state == COMMITTED), "sweep");
	finish(&arena->alice);
	expected = state == PENDING ? -ESTALE : 0;
	check(arena->alice.result == expected, "step %d: %d", steps, arena->alice.result);
	check(state_of(ALICE) == (state == NOTHING ? COMMITTED : NOTHING), "step %d", steps);
	return state;
}

Test(table_step, a_writer_swept_in_any_step_of_issue_is_told_when_its_route_is_gone)
{
	for (int i = 0; i < SCENES_THROUGH; i++) {
		int stride, steps, swept[STATES] = { 0 };

		set_scene(&scenes[i]);
		steps = steps_of(insert_tag, &stride);
		for (int k = 0; k < steps; k += stride)
			swept[sweep_after(&scenes[i], k)]++;
		cr_assert_gt(swept[NOTHING], 0);
		cr_assert_gt(swept[PENDING], 0);
	}
}

static int sweep_bucket(__u32 worker)
{
	return cs_table_sweep(&table, cs_bucket_first(TAG, table.mask), 1, worker);
}

/*
 * Alice was declared dead, lives, and retires a route while it is swept; Bob issues another one
 * into the word that became free.  The sweep must not take it.
 */
Test(table_step, a_word_that_changes_hands_in_any_step_of_a_sweep_is_left_to_its_new_holder)
{
	static const struct scene scene = { 0x0007, -1 };
	int stride, steps, swept[2] = { 0 };

	set_scene(&scene);
	cr_assert_eq(insert_tag(ALICE), 0);
	steps = steps_of(sweep_bucket, &stride);
	for (int k = 0; k < steps; k += stride) {
		int is_swept;

		set_scene(&scene);
		check(!insert_tag(ALICE), "insert");
		start(&arena->alice, ALICE, sweep_bucket);
		for (int i = 0; i < k; i++)
			step(&arena->alice);
		is_swept = remove_tag(ALICE) == -ENOENT;
		check(!insert_tag(BOB), "insert");
		finish(&arena->alice);
		check(cs_table_find(&table, TAG) == BOB, "step %d: Bob's route is gone", k);
		check(arena->alice.result == is_swept, "step %d: %d", k, arena->alice.result);
		swept[is_swept]++;
	}
	cr_assert_gt(swept[0], 0);
	cr_assert_gt(swept[1], 0);
}

/* ---- the share of provisional routes ----------------------------------------------------------
 */
#define SHARE 16
#define ALICES_ROUTES 3 /* before her call; nobody else has any */

static struct routes routes; /* Alice's; a child has its copy */

static int issue_provisional(__u32 worker)
{
	uint8_t cid[8] = { worker, 0xff };

	return routes_issue_provisional(&routes, cid, sizeof(cid));
}

static int retire_provisional(__u32 worker)
{
	uint8_t cid[8] = { worker, 0 };

	return routes_retire(&routes, cid, sizeof(cid));
}

static void set_shares(void)
{
	memset(arena->bucket, 0, sizeof(arena->bucket));
	memset(arena->usage, 0, sizeof(arena->usage));
	routes_free(&routes);
	routes = (struct routes){ table, &arena->usage[1], &arena->usage[0], .worker = ALICE };
	check(!routes_init(&routes, SHARE), "no memory");
	for (int i = 0; i < ALICES_ROUTES; i++) {
		uint8_t cid[8] = { ALICE, i };

		check(!routes_issue_provisional(&routes, cid, sizeof(cid)), "route %d", i);
	}
	check(arena->usage[0].provisional == ALICES_ROUTES, "shares");
}

/* What the daemon does when the worker's connection has ended, and when its process has. */
static void bury(void)
{
	__atomic_store_n(&arena->usage[1].buried, 1, __ATOMIC_SEQ_CST);
	cs_table_sweep(&table, 0, BUCKETS, ALICE);
	routes_return_share(&arena->usage[0], &arena->usage[1], SHARE);
}

/* Of the service's number, when nothing is left of Alice: what is too much in it. */
static int buried_after(int (*call)(__u32 worker), int steps, bool is_killed)
{
	set_shares();
	start(&arena->alice, ALICE, call);
	for (int i = 0; i < steps; i++)
		step(&arena->alice);
	if (!is_killed) {
		bury();
		finish(&arena->alice);
	} else {
		end(&arena->alice);
	}
	bury();
	for (int i = 0; i < BUCKETS * CS_BUCKET_ROUTES; i++)
		check(!((__u64 *)arena->bucket)[i], "step %d: a route is left", steps);
	return arena->usage[0].provisional;
}

static int (*const calls[])(__u32 worker) = { issue_provisional, retire_provisional };

Test(table_step, a_worker_buried_in_any_step_of_a_call_gives_each_share_back_once)
{
	for (int i = 0; i < 2; i++) {
		int stride, steps;

		set_shares();
		steps = steps_of(calls[i], &stride);
		for (int k = 0; k < steps; k += stride) {
			int left = buried_after(calls[i], k, false);

			check(!left, "call %d, step %d: %d too many", i, k, left);
		}
	}
}

/* The two numbers are two stores: the one that the kill leaves out is never a share that is lost.
 */
Test(table_step, a_worker_killed_in_any_step_of_a_call_takes_no_share_with_it)
{
	for (int i = 0; i < 2; i++) {
		int stride, steps;

		set_shares();
		steps = steps_of(calls[i], &stride);
		for (int k = 0; k <= steps; k += stride) {
			int left = buried_after(calls[i], k, true);

			check(left == 0 || left == -1, "call %d, step %d: %d too many", i, k, left);
			memset(&arena->usage[1], 0, sizeof(arena->usage[1]));
			check(!issue_provisional(ALICE), "call %d, step %d: no more routes", i, k);
		}
	}
}

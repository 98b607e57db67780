/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tests of laws share: numbers that look random and are the same in each run, how long
 * to go on, and a check for loops.
 *
 * CS_TEST_ROUNDS=N in the environment makes the rounds N times as many (0.1: a tenth).
 */
#ifndef CS_TEST_LAW_H
#define CS_TEST_LAW_H

#include <criterion/criterion.h>
#include <linux/types.h>
#include <stdlib.h>
#include <unistd.h>

/* cr_assert() reports each success to the runner, which is too slow for millions of them. */
#define check(law, ...)                                                                            \
	do {                                                                                       \
		if (!(law))                                                                        \
			cr_assert_fail(__VA_ARGS__);                                               \
	} while (0)

static inline double rounds_factor(void)
{
	const char *text = getenv("CS_TEST_ROUNDS");
	double factor = text ? strtod(text, NULL) : 1;

	return factor > 0 ? factor : 1;
}

static inline __u64 rounds(__u64 usual)
{
	return usual * rounds_factor() + 1;
}

/* Kills the test after that long: a process that waits for ever has broken a law too. */
static inline void bound_time(unsigned int seconds)
{
	double factor = rounds_factor();

	alarm(seconds * (factor > 1 ? factor : 1));
}

/* SplitMix64 (Steele, Lea, Flood 2014). */
static inline __u64 random_word(__u64 *seed)
{
	__u64 z = *seed += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

/* 0 .. @bound - 1 */
static inline __u32 random_below(__u64 *seed, __u32 bound)
{
	return (random_word(seed) >> 32) * bound >> 32;
}

static inline void random_fill(__u64 *seed, void *to, size_t size)
{
	for (size_t i = 0; i < size; i++)
		((__u8 *)to)[i] = random_word(seed);
}

#endif

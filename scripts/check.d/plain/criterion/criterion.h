/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The part of Criterion that the unit tests use, for targets that have no Criterion: found first by
 * -I in the arm64 step of scripts/check.  Each test is a child of its own, as there.  Defines main.
 */
#ifndef CS_PLAIN_CRITERION_H
#define CS_PLAIN_CRITERION_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct plain_test {
	const char *suite, *name;
	void (*run)(void);
	struct plain_test *next;
};

struct plain_suite {
	const char *name;
	void (*init)(void);
	struct plain_suite *next;
};

static struct plain_test *plain_tests;
static struct plain_suite *plain_suites;

#define Test(suite_name, test_name)                                                                \
	static void suite_name##_##test_name(void);                                                \
	static struct plain_test plain_##suite_name##_##test_name = { #suite_name, #test_name,     \
								      suite_name##_##test_name,    \
								      NULL };                      \
	__attribute__((constructor)) static void plain_add_##suite_name##_##test_name(void)        \
	{                                                                                          \
		plain_##suite_name##_##test_name.next = plain_tests;                               \
		plain_tests = &plain_##suite_name##_##test_name;                                   \
	}                                                                                          \
	static void suite_name##_##test_name(void)

/* Only .init is known: another member does not compile. */
#define TestSuite(suite_name, ...)                                                                 \
	static struct plain_suite plain_##suite_name = { .name = #suite_name, __VA_ARGS__ };       \
	__attribute__((constructor)) static void plain_add_##suite_name(void)                      \
	{                                                                                          \
		plain_##suite_name.next = plain_suites;                                            \
		plain_suites = &plain_##suite_name;                                                \
	}                                                                                          \
	struct plain_suite

__attribute__((format(printf, 4, 5), noreturn)) static inline void
plain_fail(const char *file, int line, const char *law, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "%s:%d: %s:", file, line, law);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

/* The message is a literal, or there is none. */
#define plain_assert(law, text, ...)                                                               \
	do {                                                                                       \
		if (!(law))                                                                        \
			plain_fail(__FILE__, __LINE__, text, " " __VA_ARGS__);                     \
	} while (0)

#define cr_assert_fail(...) plain_fail(__FILE__, __LINE__, "failed", " " __VA_ARGS__)
#define cr_assert(law, ...) plain_assert(law, #law, __VA_ARGS__)
#define cr_assert_eq(a, b, ...) plain_assert((a) == (b), #a " == " #b, __VA_ARGS__)
#define cr_assert_neq(a, b, ...) plain_assert((a) != (b), #a " != " #b, __VA_ARGS__)
#define cr_assert_lt(a, b, ...) plain_assert((a) < (b), #a " < " #b, __VA_ARGS__)
#define cr_assert_leq(a, b, ...) plain_assert((a) <= (b), #a " <= " #b, __VA_ARGS__)
#define cr_assert_gt(a, b, ...) plain_assert((a) > (b), #a " > " #b, __VA_ARGS__)
#define cr_assert_geq(a, b, ...) plain_assert((a) >= (b), #a " >= " #b, __VA_ARGS__)
#define cr_assert_arr_eq(a, b, size, ...)                                                          \
	plain_assert(!memcmp(a, b, size), #a " == " #b, __VA_ARGS__)
#define cr_log_info(...) ((void)fprintf(stderr, __VA_ARGS__), (void)fputc('\n', stderr))
#define cr_log_warn cr_log_info

static void plain_run(const struct plain_test *test)
{
	for (struct plain_suite *suite = plain_suites; suite; suite = suite->next) {
		if (!strcmp(suite->name, test->suite) && suite->init)
			suite->init();
	}
	test->run();
	exit(0);
}

int main(void)
{
	int ran = 0, failed = 0;

	for (struct plain_test *test = plain_tests; test; test = test->next) {
		int status = -1;
		pid_t pid = fork();

		if (!pid)
			plain_run(test);
		if (pid > 0)
			waitpid(pid, &status, 0);
		ran++;
		if (status) {
			failed++;
			printf("FAILED %s::%s (status 0x%x)\n", test->suite, test->name, status);
		}
		fflush(stdout);
	}
	printf("%d tests, %d failed\n", ran, failed);
	return !ran || failed;
}

#endif

// SPDX-License-Identifier: GPL-2.0-only
/*
 * bench SECONDS FILE: measures round by round, each case once in each, until the seconds are over,
 * and writes what was measured as JSON.  scripts/bench makes the tables of it.
 */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <time.h>

#include "bench.h"

#define MAX_ROUNDS 1000
#define MIN_ROUNDS 3
#define MAX_CASES 64

static const struct bench_group *const groups[] = { &xdp_packets, &xdp_routes, &servers,
						    &sockets,	  &targets,    &issues };

static double value[MAX_CASES][MAX_ROUNDS];

static double seconds(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

double thread_seconds(void)
{
	return seconds(CLOCK_THREAD_CPUTIME_ID);
}

void pin_cpu(int index)
{
	static cpu_set_t allowed;
	cpu_set_t one;
	int cpu = -1;

	if (!CPU_COUNT(&allowed))
		sched_getaffinity(0, sizeof(allowed), &allowed);
	for (int left = index % CPU_COUNT(&allowed); left >= 0; left--) {
		while (!CPU_ISSET(++cpu, &allowed))
			;
	}
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	check(!sched_setaffinity(0, sizeof(one), &one), "CPU %d: %s", cpu, strerror(errno));
}

static void measure_round(int round)
{
	int row = 0;

	for (unsigned int g = 0; g < COUNT(groups); g++) {
		check(row + groups[g]->count <= MAX_CASES, "more than %d cases", MAX_CASES);
		for (unsigned int i = 0; i < groups[g]->count; i++)
			value[row++][round] = groups[g]->cases[i].measure(&groups[g]->cases[i]);
	}
}

static int measure_rounds(double end)
{
	double left = end - seconds(CLOCK_MONOTONIC);
	int round = 0;

	while (round < MAX_ROUNDS && (round < MIN_ROUNDS || left > 0)) {
		measure_round(round++);
		left = end - seconds(CLOCK_MONOTONIC);
		fprintf(stderr, "bench: round %d, %.0f s left\n", round, left > 0 ? left : 0);
	}
	return round;
}

static void write_text(FILE *file, const char *name, const char *text)
{
	if (text)
		fprintf(file, "\"%s\": \"%s\", ", name, text);
}

/* No text here has a character that JSON would quote. */
static void write_group(FILE *file, const struct bench_group *group, int *row, int rounds)
{
	fprintf(file, "{");
	write_text(file, "title", group->title);
	write_text(file, "unit", group->unit);
	write_text(file, "base", group->base);
	fprintf(file, "\"cases\": [");
	for (unsigned int i = 0; i < group->count; i++, (*row)++) {
		fprintf(file, "%s\n  {", i ? "," : "");
		write_text(file, "name", group->cases[i].name);
		write_text(file, "rival", group->cases[i].rival);
		if (group->cases[i].apart)
			fprintf(file, "\"apart\": true, ");
		fprintf(file, "\"rounds\": [");
		for (int round = 0; round < rounds; round++)
			fprintf(file, "%s%.2f", round ? ", " : "", value[*row][round]);
		fprintf(file, "]}");
	}
	fprintf(file, "]}");
}

int main(int argc, char **argv)
{
	double end = seconds(CLOCK_MONOTONIC);
	int rounds, row = 0;
	FILE *file;

	check(argc == 3, "usage: bench SECONDS FILE");
	end += strtod(argv[1], NULL);
	file = fopen(argv[2], "we");
	check(file, "%s: %s", argv[2], strerror(errno));
	fprintf(stderr, "bench: filling tables\n");
	services_start();
	issuers_start();
	lists_fill();
	pin_cpu(1);
	sender_start();
	targets_start();
	rounds = measure_rounds(end);
	fprintf(file, "[");
	for (unsigned int g = 0; g < COUNT(groups); g++) {
		fprintf(file, "%s\n", g ? "," : "");
		write_group(file, groups[g], &row, rounds);
	}
	fprintf(file, "]\n");
	check(!fclose(file), "%s: %s", argv[2], strerror(errno));
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The benchmark: cases in groups, measured in turn, round by round.
 *
 * Everything lives in a mount and a network namespace of its own and in children that die with
 * this process, so nothing is left behind, however it ends.
 */
#ifndef CS_BENCH_H
#define CS_BENCH_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "cidsteer/cidsteer.h"
#include "dataplane/plane.h"
#include "programs.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A benchmark that does not measure what it says ends. */
#define check(fact, ...)                                                                           \
	do {                                                                                       \
		if (fact)                                                                          \
			break;                                                                     \
		fprintf(stderr, "bench: " __VA_ARGS__);                                            \
		fputc('\n', stderr);                                                               \
		exit(1);                                                                           \
	} while (0)

struct bench_case {
	const char *name;  /* a row of the group's table */
	const char *rival; /* row that it is compared with, or NULL */
	double (*measure)(const struct bench_case *);
	int what; /* of @measure's own: which program, packet or operation */
	int size; /* of @measure's own: which list, how many processes */
	int train;
};

struct bench_group {
	const char *title;
	const char *unit;
	const char *base; /* row that all others are compared with, or NULL */
	const struct bench_case *cases;
	unsigned int count;
};

extern const struct bench_group xdp_packets, xdp_routes, sockets, issues;

/* ---- services.c: the daemon, its services, their workers and routes -------------------------- */

enum service {
	SERVICE_1,
	SERVICE_1K,
	SERVICE_100K,
	SERVICE_1M,
	SERVICE_EXACT, /* listens on one address, the others on the wildcard */
	SERVICE_ISSUE, /* for workers that issue and retire */
	SERVICES,
};

struct service_spec {
	const char *name;
	__u16 port;
	__u32 routes; /* that are issued at start */
	__u32 id;     /* in the data plane */
	__u16 listener;
	uint64_t cid; /* one of the routes */
};
extern struct service_spec services[SERVICES];

extern struct plane plane;

/* Own namespaces, a daemon, its data plane opened. */
void services_start(void);

/* A worker of a service, with its socket; both the caller's. */
struct cidsteer *worker_open(enum service service, int *socket);

/* The sockets of a service's workers. */
const int *service_sockets(enum service service);

/*
 * Opens the workers of the services with routes and issues those; @each is told of each route.
 */
void services_fill(void (*each)(enum service service, uint64_t cid, __u32 worker));

/* A counter of a service by its id in the data plane; 0: of what is nobody's. */
__u64 counter_of(__u32 id, __u32 hook, __u32 reason);

/* ---- lists.c: programs, and lists of connection IDs ------------------------------------------ */

struct programs;
extern struct programs *programs; /* the skeleton, loaded over the data plane's maps */

/* Loads the programs, fills services, hash maps and lists. */
void lists_fill(void);

/* The list of a service with routes: BENCH_LIST connection IDs. */
const uint64_t *list_of(enum service service);

/* An empty hash map of whole connection IDs. */
int hash_make(__u32 routes);
struct bench_key hash_key(uint64_t cid);

/* ---- issue.c -------------------------------------------------------------------------------- */

/* Starts the processes that issue and retire; before this process has handles. */
void issuers_start(void);

/* ---- main.c --------------------------------------------------------------------------------- */

/* Runs this process on the @index-th of the CPUs it may use, modulo their number. */
void pin_cpu(int index);

double thread_seconds(void); /* of CPU time */

/* SplitMix64 (Steele, Lea, Flood 2014). */
static inline uint64_t random_word(uint64_t *seed)
{
	uint64_t z = *seed += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

#endif

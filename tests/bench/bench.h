/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The benchmark: cases in groups, measured in turn, round by round.
 *
 * Everything lives in a mount and a network namespace of its own and in children that die with
 * this process, so nothing is left behind, however it ends.
 */
#ifndef CS_BENCH_H
#define CS_BENCH_H

#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <stdbool.h>
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
	bool apart; /* is compared with nothing */
};

struct bench_group {
	const char *title;
	const char *unit;
	const char *base; /* row that all others are compared with, or NULL */
	const struct bench_case *cases;
	unsigned int count;
};

/* ---- servers.c: connection IDs that carry their server ----------------------------------------
 */

/* How the ID of SERVICE_SERVERS' one worker is decoded. */
enum server_row {
	ROW_TABLE, /* it is not, by its first three bits */
	ROW_OTHER, /* nor is this, of a configuration that there is not */
	ROW_PLAIN,
	ROW_SINGLE,
	ROW_THREE,
	ROW_FOUR,
	SERVER_ROWS,
};

/* CS_MAX_CID octets, of which as many count as the ID has. */
const __u8 *server_cid(enum server_row row);
/* What its packets are counted as. */
__u32 server_reason(enum server_row row);
/* The worker's socket. */
int server_socket(void);

extern const struct bench_group xdp_packets, xdp_routes, servers, sockets, targets, issues;

/* ---- services.c: the daemon, its services, their workers and routes -------------------------- */

enum service {
	SERVICE_1,
	SERVICE_1K,
	SERVICE_100K,
	SERVICE_1M,
	SERVICE_EXACT,	 /* listens on one address, the others on the wildcard */
	SERVICE_ISSUE,	 /* for workers that issue and retire */
	SERVICE_SERVERS, /* its connection IDs carry their server */
	SERVICE_PASS,	 /* and below: with one worker, whose target is measured */
	SERVICE_CPU,
	SERVICE_XSK,
	SERVICE_DEVICE,
	SERVICES,
};
#define SERVICES_FILLED SERVICE_ISSUE /* those before it have workers and routes from the start */

struct service_spec {
	const char *name;
	__u16 port;
	__u32 routes; /* that it has room for; SERVICES_FILLED: and that are issued at start */
	const char *settings; /* besides; or NULL */
	__u32 id;	      /* in the data plane */
	__u16 listener;
	uint64_t cid; /* one of the routes */
};
extern struct service_spec services[SERVICES];

extern struct plane plane;

/* Own namespaces, their links, a daemon, its data plane opened. */
void services_start(void);

/* A UDP socket in a group: for all addresses, but for SERVICE_EXACT's. */
int group_socket(__u16 port, bool exact);

/* A worker of a service, which gets its socket; both the caller's. */
struct cidsteer *worker_open(enum service service, int *socket);

/* The same with a socket that is there; @cpu: as in struct cidsteer_options. */
struct cidsteer *worker_register(enum service service, int socket, __u32 cpu);

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

/* ---- xdp.c ---------------------------------------------------------------------------------- */

struct frame {
	struct ethhdr eth;
	struct iphdr ip;
	struct udphdr udp;
	__u8 payload[1200];
} __attribute__((packed));

/* A short header with an unknown DCID.  Without checksums. */
void frame_build(struct frame *frame, __u16 port);

/* cs_xdp with one packet, again and again; each has to get @reason.  Returns ns. */
double measure_frame(const struct frame *frame, enum service service, __u32 reason);

/* ---- links.c: veths of the own namespace, and who sends over them ---------------------------- */

enum link {
	LINK_PLAIN,   /* receives without XDP */
	LINK_EMPTY,   /* XDP passes all */
	LINK_DROP,    /* XDP drops all */
	LINK_STEERED, /* cs_xdp */
	LINKS,
};

/* All of them, and one that leads to another namespace; before the daemon looks for addresses. */
void links_start(void);

/* Starts who sends, and attaches the programs, which have to be loaded. */
void sender_start(void);

/* The receiving end. */
__u32 link_index(enum link link);

/* The socket of a worker in the other namespace, which has the address of LINK_STEERED too. */
int box_socket(__u16 port);

/* What is sent from now on: to a port at the receiving end, with the IDs of @owner. */
void sender_aim(enum link link, __u16 port, __u8 owner);

/*
 * Sends from another CPU than this thread's, while this goes on: at most @window more than the
 * thread has written to bench_taken.
 */
void sender_begin(__u32 packets, __u32 window);

/*
 * Returns seconds of CPU time: of the system calls that have sent, without their waiting, and of
 * the softirqs that took the packets from the veth, and ran therein.
 */
double sender_end(void);

int sender_cpu(void);

/* ---- xsk.c: an AF_XDP socket in copy mode ---------------------------------------------------- */

struct xsk;

/* For queue 0 of an interface. */
struct xsk *xsk_open(__u32 ifindex);
int xsk_fd(const struct xsk *xsk);

/* Takes at most @most frames, shows each to @look, and gives their room back.  Returns how many. */
__u32 xsk_take(struct xsk *xsk, __u32 most, void (*look)(const struct frame *frame));

/* ---- targets.c ------------------------------------------------------------------------------ */

/* Opens the workers whose targets are measured. */
void targets_start(void);

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

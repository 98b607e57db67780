/* SPDX-License-Identifier: GPL-2.0-only */
/* What the programs of the benchmark and their user share. */
#ifndef CS_BENCH_PROGRAMS_H
#define CS_BENCH_PROGRAMS_H

#include <linux/types.h>
#include "core/abi.h"

#define BENCH_CID 8	      /* bytes of every connection ID here */
#define BENCH_LIST (1u << 20) /* IDs in a list, from which packets take theirs in turn */
#define BENCH_LISTS 4	      /* one for each service "table 1" .. "table 1M" */
#define BENCH_WORKERS 4	      /* sockets of each group */

/* Routes of a worker whose target is measured, and what their IDs are: the first byte says whose.
 */
#define BENCH_TARGET_ROUTES 1024u

static inline __attribute__((always_inline, unused)) __u64 bench_cid(__u8 owner, __u32 turn)
{
	__u64 mixed = (turn % BENCH_TARGET_ROUTES + 1) * 0x9e3779b97f4a7c15ULL;
	union {
		__u64 word;
		__u8 byte[BENCH_CID];
	} cid = { .word = mixed ^ mixed >> 31 };

	cid.byte[0] = owner;
	return cid.word;
}

#define BENCH_SPIN 20000 /* looks of bench_send at bench_taken, some 50 us */

/* Key of the hash maps that the table is compared with: a whole connection ID. */
struct bench_key {
	__u8 len; /* bytes of @cid, which is zero behind them */
	__u8 cid[CS_MAX_CID];
	__u8 pad[3]; /* must be zero */
};
_Static_assert(sizeof(struct bench_key) == 24, "map key layout");

#endif

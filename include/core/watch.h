/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What is kept of single packets: a trace, while somebody asks for one, and the recorder, always.
 *
 * Both have the same record.  A trace goes through the ring buffer cs_traced to one command; the
 * recorder is cs_record, written round and round, of anomalies alone.
 */
#ifndef CS_WATCH_H
#define CS_WATCH_H

#include <linux/types.h>
#include "core/abi.h"
#include "core/siphash.h"

#define CS_RECORDS 4096			 /* of the recorder: the oldest is overwritten */
#define CS_RECORD_BURST 512		 /* of one kind at once; further ones are only counted, */
#define CS_RECORD_EVERY_NS 1000000000ULL /* but for one in that time */
#define CS_TRACE_BYTES (256 << 10)	 /* of cs_traced: what finds no room there is counted */

/* Why a record is in the recorder: anomalies that have a share of it for themselves. */
#define CS_KIND_NONE 0
#define CS_KIND_MALFORMED 1    /* dropped or not, as the next */
#define CS_KIND_UNKNOWN_CID 2  /* a DCID that is not in the table */
#define CS_KIND_DEAD_WORKER 3  /* the table's worker is gone */
#define CS_KIND_NO_WORKER 4    /* no active worker */
#define CS_KIND_NO_SOCKET 5    /* the worker has no socket in the group */
#define CS_KIND_NOT_ENFORCED 6 /* none of these, and to be dropped, but it went on */
#define CS_KIND_STRAY 7	       /* a worker has told the daemon */
#define CS_KINDS 8

/* All kinds at their worst at once do not push each other out. */
_Static_assert(CS_KINDS *CS_RECORD_BURST <= CS_RECORDS, "a burst of each kind fits");

#define CS_HOOK_NONE CS_HOOKS /* of a record: no hook, a worker has told the daemon */

/* Value of cs_record, and what comes out of cs_traced. */
struct cs_record {
	__u64 serial;  /* recorder: 1 is the first of all, 0: being written; trace: its run */
	__u64 time_ns; /* CLOCK_MONOTONIC */
	/*
	 * As decided, but: @reason is what was counted; @drop is not 0 if the packet was to be
	 * dropped and was not.  Of a stray: the worker that says so, and what the table says.
	 */
	struct cs_verdict verdict;
	__u8 saddr[16]; /* as in struct cs_addr; all zero: not read */
	__u8 daddr[16];
	__be16 sport;
	__be16 dport;
	__u8 hook; /* CS_HOOK_* */
	__u8 kind; /* CS_KIND_* */
	__u16 pad; /* must be zero */
};
_Static_assert(sizeof(struct cs_record) == 112, "map value layout");

/* What a trace asks for.  One at a time: @run says whose it is. */
struct cs_trace {
	__u32 on;	/* 0: no trace; of all this a packet then reads this word alone */
	__u32 reasons;	/* bit for each CS_C_* that is wanted */
	__u64 run;	/* pid << 32 and a number; 0: nobody's */
	__u64 until_ns; /* CLOCK_MONOTONIC: the first packet behind it sets @on to 0 */
	__u32 rate;	/* records a second, all CPUs together */
	__u16 service;	/* 0: any */
	__u16 worker;	/* 0: any */
	__u8 dcid_len;	/* 0: any DCID */
	__u8 dcid[CS_MAX_CID];
	__u8 pad[11]; /* must be zero */
	__u64 window; /* second of the clock << 32 and the records in it */
	__u64 pad_line[7];
};
_Static_assert(sizeof(struct cs_trace) == 128, "map value layout");

#define CS_TUPLE_BYTES 36 /* of a record, from @saddr on: as in struct cs_tuple */

struct cs_recorder {
	__u64 next;		  /* records that were written */
	__u64 spent_ns[CS_KINDS]; /* see cs_record_is_due() */
	__u64 left_out;		  /* strays that the daemon did not keep */
};

/* Value of cs_watch. */
struct cs_watch {
	struct cs_trace trace;
	struct cs_recorder recorder;
};

/* Value of cs_left_out: what was not kept. */
struct cs_left_out {
	__u64 kind[CS_KINDS]; /* of the recorder: too many of a kind */
	__u64 rate;	      /* of the trace: too many in a second */
	__u64 full;	      /* of the trace: no room in cs_traced */
};

/*
 * One more of a kind?  @spent_ns is the time at which the whole burst is there again: each record
 * moves it on by CS_RECORD_EVERY_NS, and it is never further away than a burst.  The programs on
 * all CPUs and the daemon call this at once; one that loses each time is left out.
 */
CS_INLINE int cs_record_is_due(__u64 *spent_ns, __u64 now_ns)
{
	for (int i = 0; i < 4; i++) {
		__u64 was = *(volatile __u64 *)spent_ns, next = was > now_ns ? was : now_ns;

		next += CS_RECORD_EVERY_NS;
		if (next > now_ns + CS_RECORD_BURST * CS_RECORD_EVERY_NS)
			return 0;
		if (__sync_val_compare_and_swap(spent_ns, was, next) == was)
			return 1;
	}
	return 0;
}

#endif

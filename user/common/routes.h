/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * One worker's side of the CID table: issue and retire, with the accounts of its usage line.
 * In the library over the worker's own mappings; in the daemon for a service whose workers do
 * not share the table.
 */
#ifndef CS_ROUTES_H
#define CS_ROUTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/abi.h"
#include "core/cid_table.h"

struct routes {
	struct cs_table table;	 /* mapped; not owned */
	struct cs_usage *usage;	 /* this worker's line; not owned */
	struct cs_usage *sum;	 /* line 0, which counts the service's provisional routes */
	__u64 key[2];		 /* of the table */
	__u32 worker;		 /* id */
	__u8 cid_len;		 /* bytes of what issue takes */
	__u32 provisional_share; /* provisional routes of the whole service at once */
	__u32 provisional_count; /* this worker's, as it knows itself: the line can be overwritten
				  */
	__u32 provisional_most;	 /* this worker's at once: half of the set */
	__u64 *provisional;	 /* tags of those, open addressing; owned */
	__u32 provisional_mask;
};

/* Provisional routes that a service may have at once: so many that real ones always fit. */
static inline __u32 routes_share(__u32 max_cids)
{
	return max_cids / 8;
}

/* Makes room for the tags of up to @share provisional routes.  Returns 0 or -ENOMEM. */
int routes_init(struct routes *routes, __u32 share);
void routes_free(struct routes *routes);

/*
 * routes_return_share - a worker's provisional routes are swept: the service may have as many
 * others
 *
 * For the daemon; the worker may still write.  The line is the worker's, so what it says is
 * believed up to @share.
 */
void routes_return_share(struct cs_usage *sum, struct cs_usage *line, __u32 share);

/* As the functions of cidsteer.h say. */
int routes_issue(struct routes *routes, const uint8_t *cid, size_t len);
int routes_issue_provisional(struct routes *routes, const uint8_t *cid, size_t len);
int routes_retire(struct routes *routes, const uint8_t *cid, size_t len);
int routes_stray(struct routes *routes, const uint8_t *cid, size_t len);
void routes_path_change(struct routes *routes);

#endif

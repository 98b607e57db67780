/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the loaded programs say of a frame: cs_explain, which counts nothing.
 *
 * The verdict is the program's alone.  What is told beside it is what is written in the frame
 * (cli/layers.h), and what the maps call what the verdict names.
 */
#ifndef CS_EXPLAIN_H
#define CS_EXPLAIN_H

#include <jansson.h>

#include "cli/frame.h"
#include "cli/layers.h"
#include "cli/view.h"

struct explanation {
	const struct frame *frame;
	__u32 netns; /* that it comes to */
	struct layers layers;
	struct cs_verdict verdict;
	const struct view_service *service;   /* NULL: none, or it is gone */
	const struct view_listener *listener; /* NULL: none, or it is gone */
	const char *version;		      /* NULL: a short header, or none that was read */
	char version_text[24];
	const char *routed_state; /* of a worker that has the route and gets nothing; NULL: gone */
	bool dropped;		  /* it is to be, and the lease is valid */
	bool has_socket;	  /* the worker, at the listener */
	int cpu;		  /* that XDP moves it to, if it comes in on another; -1: none */
	bool xsk;		  /* XDP sends it to its worker's AF_XDP socket, if there is one */
	bool xsk_drops;		  /* if there is none, it is dropped */
	char device[IFNAMSIZ];	  /* that XDP sends it to, but for a larger one; "": none */
	bool any_client; /* the client was made up: what its 4-tuple decides is not known */
	int bucket;	 /* of the ring; -1: not asked for, or not known */
	bool by_tuple;	 /* the bucket is that of the 4-tuple; else of the DCID */
};

/*
 * explain_frame - ask the program about a frame
 * @netns:	network namespace that it comes to, an index into cs_abi.netns_cookie
 *
 * Returns 0, -ENODATA (it is cut before what decides), or another errno, with the line.
 */
int explain_frame(struct view *view, __u32 netns, const struct frame *frame, struct explanation *ex,
		  struct error *error);

/*
 * explain_behind - the same of the datagram in a frame that XDP passes without a service, as
 * sk_reuseport would see it: without VLAN tags and extension headers, reassembled
 * @plain:	room for its frame, which @behind points to
 *
 * Returns whether it comes to a service.
 */
bool explain_behind(struct view *view, const struct explanation *ex, struct frame *plain,
		    struct explanation *behind);

/* Which bucket of its service's ring the verdict is from; sets @bucket and @by_tuple. */
void explain_bucket(const struct view *view, struct explanation *ex);

/* The steps, one a line.  @behind may be NULL. */
void explain_print(const struct explanation *ex, const struct explanation *behind);
/* The steps from the listener on. */
void explain_print_decision(const struct explanation *ex);
void explain_print_listener(const struct view_service *service,
			    const struct view_listener *listener);

/* NULL: out of memory. */
json_t *explain_json(const struct explanation *ex, const struct explanation *behind);
json_t *explain_json_decision(const struct explanation *ex);

/*
 * explain_cid - ask about packets with a DCID, made up for each service, or for @only
 *
 * Prints, or fills @list if it is not NULL.  Returns 0 or a negative errno, with the line.
 */
struct cs_cid;
int explain_cid(struct view *view, const struct view_service *only, const struct cs_cid *cid,
		json_t *list, struct error *error);

#endif

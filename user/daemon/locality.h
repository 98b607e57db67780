/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Keeps what the maps say of local addresses true, by what rtnetlink says; and notices that a
 * network namespace went away.
 */
#ifndef CS_LOCALITY_H
#define CS_LOCALITY_H

#include "daemon/loop.h"
#include "dataplane/netns.h"
#include "dataplane/plane.h"

/* One network namespace; sockets in it keep it alive. */
struct locality {
	struct source changes; /* rtnetlink; -1: nothing is watched */
	struct plane *plane;
	__u32 netns; /* index into cs_abi.netns_cookie */
	__u64 cookie;
	struct netns_file file; /* that its name leads to */
	int listing;		/* another socket, to ask */
	bool again;
	struct error note; /* as it was logged */
};

struct localities {
	struct locality one[CS_MAX_NETNS];
	struct plane *plane;
	struct loop *loop;
};

void localities_init(struct localities *all, struct plane *plane, struct loop *loop);

/*
 * localities_follow - watch those that the configuration has now, and no others
 *
 * Makes the maps true of each that is new.  Returns 0 or, with @error written, an errno: of the
 * last that cannot be watched; it is tried again within the second.
 */
int localities_follow(struct localities *all, struct error *error);

/* Once a second. */
void localities_again(struct localities *all);

#endif

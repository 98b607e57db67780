/* SPDX-License-Identifier: GPL-2.0-only */
/* Keeps what the maps say of local addresses true, by what rtnetlink says. */
#ifndef CS_LOCALITY_H
#define CS_LOCALITY_H

#include "daemon/loop.h"
#include "dataplane/plane.h"

/* Of one network namespace. */
struct locality {
	struct source changes; /* rtnetlink */
	const struct plane *plane;
	__u32 netns; /* index into cs_abi.netns_cookie */
	int listing; /* another socket, to ask */
	bool again;
	struct error note; /* as it was logged */
};

/* Begins to watch, and makes the maps true.  Returns 0 or, with @error written, an errno. */
int locality_start(struct locality *locality, const struct plane *plane, struct loop *loop,
		   __u32 netns, const char *name, struct error *error);

/* Once a second. */
void locality_again(struct locality *locality);

void locality_stop(struct locality *locality, struct loop *loop);

#endif

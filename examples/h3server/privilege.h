/* SPDX-License-Identifier: GPL-2.0-only */
/* From root to an ordinary user without any capability, and the proof of it. */
#ifndef H3SERVER_PRIVILEGE_H
#define H3SERVER_PRIVILEGE_H

#include <stddef.h>
#include <sys/types.h>

struct identity {
	const char *name; /* NULL: stay who we are */
	uid_t uid;
	gid_t gid;
};

/* Returns 0, or -1 after a message.  @name may be NULL. */
int privilege_lookup(struct identity *identity, const char *name);

/*
 * privilege_restrict - keep no more than it takes to start workers again
 *
 * What is executed afterwards has no more either.  Changes little for who is not root.
 * Returns 0, or -1 after a message.
 */
int privilege_restrict(void);

/*
 * privilege_drop - become @identity, for good and in the whole process
 *
 * Leaves no capability, not even to a process that stays root, and no way to get one by exec.
 * Call it while there is one thread.  Returns 0, or -1 after a message.
 */
int privilege_drop(const struct identity *identity);

/*
 * privilege_describe - "pid 811 uid 33 CapEff 0000000000000000 NoNewPrivs 1"
 *
 * As the kernel tells it of the calling thread.  Returns 0, or -1 after a message.
 */
int privilege_describe(char *text, size_t size);

#endif

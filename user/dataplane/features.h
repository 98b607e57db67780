/* SPDX-License-Identifier: GPL-2.0-only */
/* How a network interface is set, by ethtool's ioctl. */
#ifndef CS_FEATURES_H
#define CS_FEATURES_H

#include <stdbool.h>

/* A feature as the kernel calls it; `ethtool -k` has other names for some. */
struct feature {
	const char *name;
	bool on;
	bool fixed; /* `ethtool -K` cannot change it */
};

/* Calls @visit for each that an interface has.  @fd: any socket of its namespace. */
void features_each(int fd, const char *interface,
		   void (*visit)(const struct feature *feature, void *arg), void *arg);

struct queues {
	unsigned int rx, tx, combined; /* in use; a combined one is of both sorts */
	unsigned int rx_max, tx_max, combined_max;
};

/* Returns 0 or a negative errno: it has no queues to set. */
int queues_read(int fd, const char *interface, struct queues *queues);

#endif

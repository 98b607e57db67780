/* SPDX-License-Identifier: GPL-2.0-only */
/* What the command line says. */
#ifndef H3SERVER_OPTIONS_H
#define H3SERVER_OPTIONS_H

#include "common/addr.h"

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAX_LISTENERS 8
#define MAX_WORKERS 1024
#define MAX_INTERFACES 4

struct options {
	union addr listen[MAX_LISTENERS];
	unsigned int listeners;
	unsigned int workers;
	unsigned int first_worker; /* its number in the statistics */
	bool threads;
	bool steer;
	bool without_daemon;
	bool gro;
	bool cpu; /* each worker on one, where its packets are moved */
	char interface[MAX_INTERFACES][IF_NAMESIZE]; /* of --io xsk */
	unsigned int interfaces;		     /* 0: --io udp */
	bool has_preferred;
	union addr preferred; /* preferred_address, RFC 9000, section 9.6 */
	const char *user;
	const char *cert;
	const char *key;
	const char *root;
	const char *service;
	const char *control;
	const char *stats;
	uint32_t generation;	/* the first one */
	uint32_t drain_seconds; /* 0: as long as its connections last */
	size_t cid_length;	/* where no service says it */
};

/* Returns 0; 1 after --help; or -1 after a message about wrong use. */
int options_parse(struct options *options, int argc, char **argv);

#endif

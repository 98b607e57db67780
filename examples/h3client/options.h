/* SPDX-License-Identifier: GPL-2.0-only */
/* What the command line says. */
#ifndef H3CLIENT_OPTIONS_H
#define H3CLIENT_OPTIONS_H

#include "common/addr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BUSY_MAX 1000  /* three descriptors each */
#define HELLO_MAX 8000 /* of an extension; servers take a ClientHello of less than 16 KB */

/* When something happens in the course of the transfer. */
enum trigger_kind {
	TRIGGER_NONE,
	TRIGGER_MS,
	TRIGGER_PERCENT
};
struct trigger {
	enum trigger_kind kind;
	uint64_t value; /* milliseconds since the request, or percent of the body */
	bool done;
};

struct options {
	union addr server;
	const char *path;
	bool upload;
	unsigned int hello; /* bytes by which the ClientHello is longer */
	uint64_t upload_bytes;
	struct trigger rebind;
	struct trigger migrate;
	struct trigger report;
	bool has_bind;
	union addr bind; /* local address of the first path */
	bool has_migrate_to;
	union addr migrate_to; /* and of the path after migration */
	bool follow_preferred;
	unsigned int busy; /* connections at once; 0: one connection, one transfer */
	unsigned int seconds;
	uint64_t change_every_ms; /* 0: never */
	uint64_t requests;	  /* of one connection, 0: no limit */
	uint64_t rate;		  /* bytes per second, 0: as fast as it goes */
	unsigned int timeout_s;
	unsigned int stall_s;
	size_t cid_length;
	const char *sha256;
	const char *ca;
	const char *server_name;
	bool json;
};

/* Returns 0; 1 after --help; or -1 after a message about wrong use. */
int options_parse(struct options *options, int argc, char **argv);

#endif

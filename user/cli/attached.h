/* SPDX-License-Identifier: GPL-2.0-only */
/* Interfaces that have a program at their XDP hook, of this network namespace and of those that
 * services are in.
 */
#ifndef CS_ATTACHED_H
#define CS_ATTACHED_H

#include <jansson.h>
#include <net/if.h>

#include "common/error.h"
#include "dataplane/attach.h"

struct attached {
	char netns[NETNS_NAME]; /* "": this one */
	char name[IFNAMSIZ];
	struct attach_info info;
};

/* The caller frees @list.  Returns 0 or a negative errno. */
int attached_read(const struct plane *plane, struct attached **list, unsigned int *count,
		  struct error *error);

/* "native", "generic" */
const char *attached_mode(const struct attach_info *info);

json_t *attached_json(const char *netns, const char *interface, const struct attach_info *info);

#endif

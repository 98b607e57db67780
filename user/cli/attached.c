// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/attached.h"
#include "cli/output.h"

int attached_read(const struct plane *plane, struct attached **list, unsigned int *count,
		  struct error *error)
{
	struct if_nameindex *interfaces = if_nameindex();
	struct attached *made;
	unsigned int all = 0, found = 0;
	struct error gone;

	if (!interfaces)
		return error_set(error, -errno, "listing the interfaces: %s", strerror(errno));
	while (interfaces[all].if_index)
		all++;
	made = calloc(all + 1, sizeof(*made));
	for (unsigned int i = 0; i < all && made; i++) {
		struct attached *at = &made[found];

		/* It may have gone away since it was listed. */
		if (attach_query(plane, interfaces[i].if_name, &at->info, &gone) ||
		    at->info.state == ATTACH_NONE)
			continue;
		snprintf(at->name, sizeof(at->name), "%s", interfaces[i].if_name);
		found++;
	}
	if_freenameindex(interfaces);
	if (!made)
		return error_set(error, -ENOMEM, "out of memory");
	*list = made;
	*count = found;
	return 0;
}

const char *attached_mode(const struct attach_info *info)
{
	return info->mode == ATTACH_GENERIC ? "generic" : "native";
}

json_t *attached_json(const char *interface, const struct attach_info *info)
{
	static const char *const states[] = {
		[ATTACH_NONE] = "none",
		[ATTACH_OURS] = "attached",
		[ATTACH_FOREIGN_MAPS] = "foreign maps",
		[ATTACH_OTHER] = "other program",
	};
	char name[sizeof(info->prog_name)];

	name_copy(name, info->prog_name, sizeof(name));
	return json_pack("{s:s, s:s, s:s, s:b, s:i, s:s}", "interface", interface, "state",
			 states[info->state], "mode", attached_mode(info), "dispatcher",
			 info->dispatcher, "program_id", info->prog_id, "program", name);
}

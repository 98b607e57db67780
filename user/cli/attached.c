// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/attached.h"
#include "cli/output.h"

struct search {
	const struct attach_place *place;
	struct attached *list;
	unsigned int count, size;
	bool failed;
};

static void look(const char *interface, void *arg)
{
	struct search *search = arg;
	struct attached at = {};
	struct error gone;

	/* It may have gone away since it was listed. */
	if (attach_query(search->place, interface, &at.info, &gone) || at.info.state == ATTACH_NONE)
		return;
	if (search->count == search->size) {
		unsigned int size = search->size ? 2 * search->size : 16;
		struct attached *more = reallocarray(search->list, size, sizeof(*more));

		if (!more) {
			search->failed = true;
			return;
		}
		search->list = more;
		search->size = size;
	}
	snprintf(at.name, sizeof(at.name), "%s", interface);
	snprintf(at.netns, sizeof(at.netns), "%s", search->place->netns);
	search->list[search->count++] = at;
}

static int read_place(const struct plane *plane, const char *netns, struct search *search,
		      struct error *error)
{
	_cleanup_place_ struct attach_place place = ATTACH_PLACE_INIT;
	int err = attach_enter(&place, plane, netns, error);

	search->place = &place;
	if (!err)
		err = attach_each(&place, look, search, error);
	search->place = NULL;
	if (!err && search->failed)
		err = error_set(error, -ENOMEM, "out of memory");
	return err;
}

int attached_read(const struct plane *plane, struct attached **list, unsigned int *count,
		  struct error *error)
{
	struct search search = {};
	int err = 0;

	for (int i = 0; i < CS_MAX_NETNS && !err; i++) {
		if (!i || *plane->netns[i])
			err = read_place(plane, plane->netns[i], &search, error);
	}
	if (err) {
		free(search.list);
		return err;
	}
	*list = search.list;
	*count = search.count;
	return 0;
}

const char *attached_mode(const struct attach_info *info)
{
	return info->mode == ATTACH_GENERIC ? "generic" : "native";
}

json_t *attached_json(const char *netns, const char *interface, const struct attach_info *info)
{
	static const char *const states[] = {
		[ATTACH_NONE] = "none",
		[ATTACH_OURS] = "attached",
		[ATTACH_OTHER_NETNS] = "other namespace",
		[ATTACH_FOREIGN_MAPS] = "foreign maps",
		[ATTACH_OTHER] = "other program",
	};
	char name[sizeof(info->prog_name)];

	name_copy(name, info->prog_name, sizeof(name));
	return json_pack("{s:s, s:s, s:s, s:s, s:b, s:i, s:s}", "netns", netns, "interface",
			 interface, "state", states[info->state], "mode", attached_mode(info),
			 "dispatcher", info->dispatcher, "program_id", info->prog_id, "program",
			 name);
}

// SPDX-License-Identifier: GPL-2.0-only
/*
 * Programs of another build over the same maps.
 *
 * A program is known by its tag, a hash of its instructions that the kernel makes.  New ones are
 * loaded first; then each takes the old one's place in one step: the pins by rename(2), a
 * listener's instance by an update of its slot in cs_listeners, the program of an interface by
 * XDP_FLAGS_REPLACE (attach.c).  What comes meanwhile finds an old program or a new one, over the
 * same maps; a build of another layout never gets here.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/point.h"
#include "dataplane/internal.h"

struct tag {
	__u8 byte[BPF_TAG_SIZE];
};

static int get_tag(int fd, struct tag *tag)
{
	struct bpf_prog_info info = {};
	__u32 len = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &len))
		return -errno;
	memcpy(tag->byte, info.tag, sizeof(tag->byte));
	return 0;
}

bool plane_same_code(int a, int b)
{
	struct tag one, other;

	return !get_tag(a, &one) && !get_tag(b, &other) && !memcmp(&one, &other, sizeof(one));
}

/* Keeps a program only if it differs from the one that is pinned; @loaded may be an error. */
static int keep_other(int loaded, int pinned, int *kept)
{
	struct tag one, other;
	int err;

	if (loaded < 0)
		return loaded;
	err = get_tag(loaded, &one) ?: get_tag(pinned, &other);
	if (!err && memcmp(&one, &other, sizeof(one)))
		*kept = loaded;
	else
		close(loaded);
	return err;
}

struct search {
	const struct plane *plane;
	struct upgrade *upgrade;
	bool known;
	struct tag tag; /* of this build's cs_reuseport */
};

static int slot_tag(const struct plane *plane, __u32 slot, struct tag *tag)
{
	_cleanup_fd_ int fd = -1;
	__u32 id;

	if (bpf_map_lookup_elem(plane->map[PLANE_LISTENERS], &slot, &id))
		return -errno;
	fd = bpf_prog_get_fd_by_id(id);
	if (fd < 0)
		return fd;
	return get_tag(fd, tag);
}

static int prepare_listener(const struct cs_addr *addr, const struct cs_listener *listener,
			    void *arg)
{
	struct search *search = arg;
	struct tag old;
	int fd, err;

	(void)addr;
	if (listener->flags & CS_LISTENER_ALIAS || listener->listener >= CS_MAX_LISTENERS)
		return 0;
	err = slot_tag(search->plane, listener->listener, &old);
	if (err == -ENOENT)
		return 0; /* plane_sync() fills it */
	if (err)
		return err;
	if (search->known && !memcmp(&old, &search->tag, sizeof(old)))
		return 0;
	fd = plane_load_instance(search->plane, listener);
	if (fd < 0)
		return fd;
	err = get_tag(fd, &search->tag);
	search->known = !err;
	if (err || !memcmp(&old, &search->tag, sizeof(old))) {
		close(fd);
		return err;
	}
	search->upgrade->instance[listener->listener] = fd;
	search->upgrade->listeners++;
	return 0;
}

int upgrade_prepare(const struct plane *plane, struct upgrade *upgrade)
{
	struct search search = { .plane = plane, .upgrade = upgrade };
	int err;

	upgrade->xdp = upgrade->explain = -1;
	err = keep_other(plane_load_xdp(plane), plane->xdp, &upgrade->xdp);
	if (!err)
		err = keep_other(plane_load_explain(plane), plane->explain, &upgrade->explain);
	return err ? err : plane_each_address(plane, prepare_listener, &search);
}

static int replace_program(const struct plane *plane, int *is, int *by, const char *name)
{
	int err;

	if (*by < 0)
		return 0;
	err = plane_repin(plane, *by, name);
	if (err)
		return err;
	close(*is);
	*is = *by;
	*by = -1;
	return 0;
}

int upgrade_commit(struct plane *plane, struct upgrade *upgrade)
{
	int err = 0;

	for (__u32 slot = 0; slot < CS_MAX_LISTENERS && !err; slot++) {
		__u32 id;

		/* A listener that went meanwhile stays away. */
		if (upgrade->instance[slot] <= 0 ||
		    bpf_map_lookup_elem(plane->map[PLANE_LISTENERS], &slot, &id))
			continue;
		if (bpf_map_update_elem(plane->map[PLANE_LISTENERS], &slot,
					&upgrade->instance[slot], BPF_ANY))
			err = -errno;
		CS_POINT("between two listeners");
	}
	if (!err)
		err = replace_program(plane, &plane->explain, &upgrade->explain, "explain");
	if (!err)
		err = replace_program(plane, &plane->xdp, &upgrade->xdp, "xdp");
	return err;
}

void upgrade_free(struct upgrade *upgrade)
{
	if (upgrade->xdp >= 0)
		close(upgrade->xdp);
	if (upgrade->explain >= 0)
		close(upgrade->explain);
	for (int slot = 0; slot < CS_MAX_LISTENERS; slot++) {
		if (upgrade->instance[slot] > 0)
			close(upgrade->instance[slot]);
	}
}

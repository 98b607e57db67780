// SPDX-License-Identifier: GPL-2.0-only
/*
 * Programs of another build over the same maps.
 *
 * A program is known by its tag, a hash of its instructions that the kernel makes.  New ones are
 * loaded first; then each takes the old one's place in one step: the pins by rename(2), a
 * listener's instance by an update of its slot in cs_listeners, the program of an interface by
 * XDP_FLAGS_REPLACE (attach.c).  What comes meanwhile finds an old program or a new one, over the
 * same maps; a build of another layout never gets here.
 *
 * Only CAP_SYS_ADMIN opens a program by the id that a slot or an interface shows, so two kinds of
 * pins tell what is there:
 *
 *   DIR/reuseport   an instance of cs_reuseport; while it is pinned, all slots have its code.  It
 *                   goes before the first slot changes and comes back behind the last.
 *   DIR/xdp_ID      a cs_xdp of ours that is not, or no longer, DIR/xdp: while an interface has it
 */
#include <bpf/bpf.h>
#include <dirent.h>
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

/* Keeps a program only if it differs from the one that is pinned, if one is; either descriptor may
 * be an error.
 */
static int keep_other(int loaded, int pinned, int *kept)
{
	struct tag one, other;
	int err;

	if (loaded < 0)
		return loaded;
	if (pinned == -ENOENT) {
		*kept = loaded;
		return 0;
	}
	err = pinned < 0 ? pinned : get_tag(loaded, &one) ?: get_tag(pinned, &other);
	if (!err && memcmp(&one, &other, sizeof(one)))
		*kept = loaded;
	else
		close(loaded);
	return err;
}

struct search {
	const struct plane *plane;
	struct upgrade *upgrade;
};

/* Returns 0, -ENOENT (it is empty), or another errno. */
static int find_instance(const struct plane *plane, __u32 slot)
{
	__u32 id;

	return bpf_map_lookup_elem(plane->map[PLANE_LISTENERS], &slot, &id) ? -errno : 0;
}

static int prepare_listener(const struct cs_addr *addr, const struct cs_listener *listener,
			    void *arg)
{
	struct search *search = arg;
	int fd, err;

	(void)addr;
	if (listener->flags & CS_LISTENER_ALIAS || listener->listener >= CS_MAX_LISTENERS)
		return 0;
	err = find_instance(search->plane, listener->listener);
	if (err)
		return err == -ENOENT ? 0 : err; /* an empty one is filled by plane_sync() */
	fd = plane_load_instance(search->plane, listener);
	if (fd < 0)
		return fd;
	search->upgrade->instance[listener->listener] = fd;
	search->upgrade->listeners++;
	plane_count_loaded(search->plane);
	return 0;
}

/* The code of an instance is that of all: its listener is data. */
static int load_any_instance(const struct plane *plane)
{
	static const struct cs_listener any;

	return plane_load_instance(plane, &any);
}

static int prepare_listeners(const struct plane *plane, struct upgrade *upgrade)
{
	struct search search = { .plane = plane, .upgrade = upgrade };
	_cleanup_fd_ int pinned = plane_open_pin(plane, "reuseport");
	int err = keep_other(load_any_instance(plane), pinned, &upgrade->reuseport);

	if (err || upgrade->reuseport < 0)
		return err;
	err = plane_each_address(plane, prepare_listener, &search);
	/* Slots change from here on: who is killed leaves them to the next one, all of them. */
	return err ? err : plane_unpin(plane, "reuseport");
}

int upgrade_pin_instance(const struct plane *plane)
{
	_cleanup_fd_ int fd = load_any_instance(plane);

	return fd < 0 ? fd : plane_repin(plane, fd, "reuseport");
}

int upgrade_prepare(const struct plane *plane, struct upgrade *upgrade)
{
	int err;

	upgrade->xdp = upgrade->explain = upgrade->cpu = upgrade->reuseport = -1;
	err = keep_other(plane_load_xdp(plane, 0), plane->xdp, &upgrade->xdp);
	if (!err)
		err = keep_other(plane_load_explain(plane, 0), plane->explain, &upgrade->explain);
	if (!err)
		err = keep_other(plane_load_cpu(plane), plane->cpu, &upgrade->cpu);
	return err ? err : prepare_listeners(plane, upgrade);
}

static __u32 program_id(int fd)
{
	struct bpf_prog_info info = {};
	__u32 len = sizeof(info);

	return bpf_obj_get_info_by_fd(fd, &info, &len) ? 0 : info.id;
}

static void name_xdp(char name[PLANE_NAME], __u32 id)
{
	snprintf(name, PLANE_NAME, "xdp_%u", id);
}

int plane_keep_xdp(const struct plane *plane, int fd)
{
	char name[PLANE_NAME];
	int err;

	name_xdp(name, program_id(fd));
	err = plane_pin(plane, fd, name);
	return err == -EEXIST ? 0 : err;
}

int plane_open_xdp(const struct plane *plane, __u32 id)
{
	char name[PLANE_NAME];
	int fd;

	if (id == program_id(plane->xdp))
		return plane_open_pin(plane, "xdp");
	name_xdp(name, id);
	fd = plane_open_pin(plane, name);
	return fd >= 0 ? fd : bpf_prog_get_fd_by_id(id);
}

int plane_tidy_xdp(const struct plane *plane, const __u32 *used, unsigned int count)
{
	DIR *dir = opendir(plane->dir);
	struct dirent *entry;
	int err = 0;

	if (!dir)
		return errno == ENOENT ? 0 : -errno;
	while ((entry = readdir(dir))) {
		unsigned int id;
		bool keep = sscanf(entry->d_name, "xdp_%u", &id) != 1;

		for (unsigned int i = 0; i < count && !keep; i++)
			keep = used[i] == id;
		if (!keep && unlinkat(dirfd(dir), entry->d_name, 0) && errno != ENOENT)
			err = -errno;
	}
	closedir(dir);
	return err;
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
		if (upgrade->instance[slot] <= 0)
			continue;
		err = find_instance(plane, slot);
		if (err == -ENOENT) {
			err = 0; /* a listener that went meanwhile stays away */
			continue;
		}
		if (!err && bpf_map_update_elem(plane->map[PLANE_LISTENERS], &slot,
						&upgrade->instance[slot], BPF_ANY))
			err = -errno;
		CS_POINT("between two listeners");
	}
	if (!err && upgrade->reuseport >= 0)
		err = plane_repin(plane, upgrade->reuseport, "reuseport");
	if (!err)
		err = replace_program(plane, &plane->explain, &upgrade->explain, "explain");
	if (!err)
		err = replace_program(plane, &plane->cpu, &upgrade->cpu, "cpu");
	if (!err && upgrade->xdp >= 0)
		err = plane_keep_xdp(plane, plane->xdp); /* attach_upgrade() will ask for it */
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
	if (upgrade->cpu >= 0)
		close(upgrade->cpu);
	if (upgrade->reuseport >= 0)
		close(upgrade->reuseport);
	for (int slot = 0; slot < CS_MAX_LISTENERS; slot++) {
		if (upgrade->instance[slot] > 0)
			close(upgrade->instance[slot]);
	}
}

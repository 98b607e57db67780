// SPDX-License-Identifier: GPL-2.0-only
/*
 * The inner maps of cs_cids and cs_usage: tables and usage lines.
 *
 * User space reads an inner map's id, and only CAP_SYS_ADMIN opens a map by its id.  So each is
 * pinned as well, under its id, DIR/inner/ID: before the outer map has it, and until the outer map
 * has it no more.  Who is killed in between leaves a pin too many, which the next one removes.
 */
#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "dataplane/internal.h"

static const enum plane_map outers[] = { PLANE_CIDS, PLANE_USAGE };

#define OUTERS (sizeof(outers) / sizeof(outers[0]))

static void inner_dir(const struct plane *plane, char path[PLANE_PATH])
{
	snprintf(path, PLANE_PATH, "%s/inner", plane->dir);
}

static void inner_path(const struct plane *plane, __u32 id, char path[PLANE_PATH])
{
	snprintf(path, PLANE_PATH, "%s/inner/%u", plane->dir, id);
}

static int pin(const struct plane *plane, int fd)
{
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);
	char path[PLANE_PATH];

	inner_dir(plane, path);
	if (mkdir(path, 0700) && errno != EEXIST)
		return -errno;
	if (bpf_obj_get_info_by_fd(fd, &info, &len))
		return -errno;
	inner_path(plane, info.id, path);
	/* It may be pinned already; another map cannot have its id. */
	return bpf_obj_pin(fd, path) && errno != EEXIST ? -errno : 0;
}

int plane_inner_put(const struct plane *plane, __u32 service, int table, int usage)
{
	int err = pin(plane, table);

	if (!err)
		err = pin(plane, usage);
	if (err)
		return err;
	if (bpf_map_update_elem(plane->map[PLANE_CIDS], &service, &table, BPF_ANY) ||
	    bpf_map_update_elem(plane->map[PLANE_USAGE], &service, &usage, BPF_ANY))
		return -errno;
	return 0;
}

/*
 * On Linux 6.1, not on 6.12, each look at an outer map from user space waits for an RCU grace
 * period, about ten milliseconds (seen in a guest): only services that there are are looked up.
 */
static bool is_used(const struct plane *plane, __u32 service)
{
	struct cs_service value;

	return !plane_service(plane, service, &value);
}

/* A missing pin is nobody's fault but somebody's who removed it: put back while that can be done.
 */
static int restore(const struct plane *plane, enum plane_map outer, __u32 service,
		   struct error *error)
{
	char path[PLANE_PATH];
	_cleanup_fd_ int fd = -1;
	__u32 id;
	int err;

	if (!is_used(plane, service) || bpf_map_lookup_elem(plane->map[outer], &service, &id))
		return 0;
	inner_path(plane, id, path);
	if (!access(path, F_OK))
		return 0;
	fd = bpf_map_get_fd_by_id(id);
	err = fd < 0 ? fd : pin(plane, fd);
	if (!err)
		return 0;
	return error_set(error, err,
			 "%s is missing, and cannot be put back without CAP_SYS_ADMIN: run "
			 "cidsteer load as root",
			 path);
}

int plane_inner_restore(const struct plane *plane, struct error *error)
{
	int err = 0;

	for (size_t i = 0; i < OUTERS; i++) {
		for (__u32 service = 1; service < CS_MAX_SERVICES && !err; service++)
			err = restore(plane, outers[i], service, error);
	}
	return err;
}

static int open_inner(const struct plane *plane, enum plane_map outer, __u32 service)
{
	char path[PLANE_PATH];
	__u32 id;
	int fd;

	if (bpf_map_lookup_elem(plane->map[outer], &service, &id))
		return -errno;
	inner_path(plane, id, path);
	fd = bpf_obj_get(path);
	if (fd != -ENOENT)
		return fd;
	/* The daemon has just replaced the map.  -EPERM would mean a table that was frozen. */
	fd = bpf_map_get_fd_by_id(id);
	return fd == -EPERM ? -ENOENT : fd;
}

int plane_table_fd(const struct plane *plane, __u32 service)
{
	return open_inner(plane, PLANE_CIDS, service);
}

int plane_usage_fd(const struct plane *plane, __u32 service)
{
	return open_inner(plane, PLANE_USAGE, service);
}

/* Removes the pins of all ids that are not in @used. */
static int keep(const struct plane *plane, const __u32 *used, size_t count)
{
	char path[PLANE_PATH];
	struct dirent *entry;
	int err = 0;
	DIR *dir;

	inner_dir(plane, path);
	dir = opendir(path);
	if (!dir)
		return errno == ENOENT ? 0 : -errno;
	while ((entry = readdir(dir))) {
		char *end;
		__u32 id = strtoul(entry->d_name, &end, 10);
		bool found = *end || end == entry->d_name;

		for (size_t i = 0; i < count && !found; i++)
			found = used[i] == id;
		if (!found && unlinkat(dirfd(dir), entry->d_name, 0) && errno != ENOENT)
			err = -errno;
	}
	closedir(dir);
	return err;
}

int plane_inner_tidy(const struct plane *plane)
{
	__u32 used[OUTERS * CS_MAX_SERVICES];
	size_t count = 0;

	for (size_t i = 0; i < OUTERS; i++) {
		for (__u32 service = 1; service < CS_MAX_SERVICES; service++)
			count += is_used(plane, service) &&
				 !bpf_map_lookup_elem(plane->map[outers[i]], &service,
						      &used[count]);
	}
	return keep(plane, used, count);
}

int plane_inner_unpin_all(const struct plane *plane)
{
	char path[PLANE_PATH];
	int err = keep(plane, NULL, 0);

	inner_dir(plane, path);
	return rmdir(path) && errno != ENOENT && errno != ENOTEMPTY ? -errno : err;
}

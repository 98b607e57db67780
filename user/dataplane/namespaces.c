// SPDX-License-Identifier: GPL-2.0-only
/*
 * Network namespaces of the services.
 *
 * XDP cannot ask for the namespace of its device, and the same address may be another's in each.
 * So each has an index, which is in the keys of its addresses and in the read-only data of the
 * instance of cs_xdp that is for it, pinned as DIR/xdp-NAME.  Index 0 is that of who loads.
 *
 * A namespace is its cookie, which is in cs_abi: a name that leads to another cookie leads to
 * another namespace, which gets another index.  An index is given away again only when no address
 * has it, and the next one first.
 */
#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "dataplane/internal.h"
#include "dataplane/locals.h"

void plane_netns_pin(const char *netns, char pin[NETNS_NAME + 4])
{
	snprintf(pin, NETNS_NAME + 4, "xdp%s%s", *netns ? "-" : "", netns);
}

static int find_cookie(const struct cs_abi *abi, __u64 cookie)
{
	for (int i = 0; i < CS_MAX_NETNS; i++) {
		if (abi->netns_cookie[i] == cookie)
			return i;
	}
	return -ENOENT;
}

/* Behind the last that is in use: an XDP program that nobody took off may still be the old one. */
static int free_index(const struct cs_abi *abi)
{
	int last = CS_MAX_NETNS - 1;

	while (last && !abi->netns_cookie[last])
		last--;
	return last + 1 < CS_MAX_NETNS ? last + 1 : find_cookie(abi, 0);
}

/* Returns an index or, with @error written, a negative errno. */
static int plan_one(struct namespaces *all, const struct config_service *service,
		    struct error *error)
{
	struct error reason;
	__u64 cookie;
	int index, err = netns_cookie(service->netns, &cookie, &reason);

	if (err)
		return error_set(error, err, "service \"%s\": %.400s", service->name, reason.line);
	index = find_cookie(&all->abi, cookie);
	if (index < 0)
		index = free_index(&all->abi);
	if (index < 0)
		return error_set(error, -ENOSPC,
				 "service \"%s\": no more than %d network namespaces",
				 service->name, CS_MAX_NETNS);
	all->abi.netns_cookie[index] = cookie;
	if (*all->name[index] && strcmp(all->name[index], service->netns))
		return error_set(
			error, -EINVAL,
			"service \"%s\": %s and %s are the same network namespace: use one "
			"name",
			service->name, service->netns, all->name[index]);
	if (index)
		strcpy(all->name[index], service->netns);
	all->wanted[index] = true;
	return index;
}

int namespaces_plan(const struct plane *plane, struct config *config, struct namespaces *all,
		    struct error *error)
{
	all->abi = plane->abi;
	all->wanted[0] = true;
	for (unsigned int s = 0; s < config->count; s++) {
		struct config_service *service = &config->service[s];
		int index = *service->netns ? plan_one(all, service, error) : 0;

		if (index < 0)
			return index;
		for (unsigned int i = 0; i < service->listen_count; i++)
			service->listen[i].netns = index;
	}
	return 0;
}

/* Is what is pinned this instance? */
static bool is_pinned(const struct plane *plane, const char *netns, __u32 index, int made)
{
	char pin[NETNS_NAME + 4];
	_cleanup_fd_ int pinned = -1;

	plane_netns_pin(netns, pin);
	pinned = plane_open_pin(plane, pin);
	return pinned >= 0 && plane_same_code(pinned, made) &&
	       plane_instance_netns(pinned) == (int)index;
}

int namespaces_prepare(const struct plane *plane, struct namespaces *all)
{
	for (__u32 i = 1; i < CS_MAX_NETNS; i++) {
		_cleanup_fd_ int made = -1;

		if (!all->wanted[i])
			continue;
		made = plane_load_xdp(plane, i);
		if (made < 0)
			return made;
		if (!is_pinned(plane, all->name[i], i, made))
			all->xdp[i] = take_fd(&made);
	}
	return 0;
}

void namespaces_free(struct namespaces *all)
{
	for (int i = 0; i < CS_MAX_NETNS; i++) {
		if (all->xdp[i] > 0)
			close(all->xdp[i]);
	}
}

static int write_abi(struct plane *plane, const struct cs_abi *abi)
{
	__u32 key = 0;

	if (memcmp(&plane->abi, abi, sizeof(*abi)) &&
	    bpf_map_update_elem(plane->map[PLANE_ABI], &key, abi, BPF_ANY))
		return -errno;
	plane->abi = *abi;
	return 0;
}

int namespaces_add(struct plane *plane, const struct namespaces *all)
{
	return write_abi(plane, &all->abi);
}

int namespaces_pin(struct plane *plane, const struct namespaces *all)
{
	char pin[NETNS_NAME + 4];
	int err = 0;

	for (int i = 0; i < CS_MAX_NETNS && !err; i++) {
		if (!all->xdp[i])
			continue;
		plane_netns_pin(all->name[i], pin);
		err = plane_repin(plane, all->xdp[i], pin);
	}
	return err;
}

static bool is_wanted(const struct namespaces *all, const char *name)
{
	for (int i = 1; i < CS_MAX_NETNS && all; i++) {
		if (all->wanted[i] && !strcmp(all->name[i], name))
			return true;
	}
	return false;
}

/* Pins of namespaces that are not wanted; @all NULL: none is. */
static int unpin_others(const struct plane *plane, const struct namespaces *all)
{
	DIR *dir = opendir(plane->dir);
	struct dirent *entry;
	int err = 0;

	if (!dir)
		return errno == ENOENT ? 0 : -errno;
	while ((entry = readdir(dir))) {
		const char *name = entry->d_name;

		if (!strncmp(name, "xdp-", 4) && !is_wanted(all, name + 4) &&
		    unlinkat(dirfd(dir), name, 0) && errno != ENOENT)
			err = -errno;
	}
	closedir(dir);
	return err;
}

int namespaces_unpin_all(const struct plane *plane)
{
	return unpin_others(plane, NULL);
}

/* What fails here is tried again by the next reload: the cookie stays until all is done. */
void namespaces_remove(struct plane *plane, const struct namespaces *all)
{
	struct cs_abi abi = all->abi;
	struct error unused;
	int err = unpin_others(plane, all);

	for (__u32 i = 1; i < CS_MAX_NETNS && !err; i++) {
		if (all->wanted[i] || !abi.netns_cookie[i])
			continue;
		if (!locals_sync(plane, i, -1, &unused, &unused))
			abi.netns_cookie[i] = 0;
	}
	write_abi(plane, &abi);
	memcpy(plane->netns, all->name, sizeof(plane->netns));
}

/* A pin that was replaced goes: none is better than a wrong one, and the next reload makes it. */
void namespaces_undo(struct plane *plane, const struct cs_abi *was, const struct namespaces *all)
{
	char pin[NETNS_NAME + 4];

	for (int i = 1; i < CS_MAX_NETNS; i++) {
		plane_netns_pin(all->name[i], pin);
		if (all->xdp[i])
			plane_unpin(plane, pin);
	}
	write_abi(plane, was);
}

static void note_name(const char *name, void *arg)
{
	struct plane *plane = arg;
	struct error unused;
	__u64 cookie;
	int index;

	if (netns_cookie(name, &cookie, &unused))
		return;
	index = find_cookie(&plane->abi, cookie);
	if (index > 0)
		snprintf(plane->netns[index], NETNS_NAME, "%s", name);
}

void plane_find_netns(struct plane *plane)
{
	for (int i = 1; i < CS_MAX_NETNS; i++) {
		if (plane->abi.netns_cookie[i]) {
			netns_each(note_name, plane);
			return;
		}
	}
}

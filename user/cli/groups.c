// SPDX-License-Identifier: GPL-2.0-only
/* No socket option tells what is in a group: cs_groups is loaded for a moment to list it. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/groups.h"
#include "common/cleanup.h"
#include "dataplane/links.h"
#include "dataplane/netns.h"
#include "groups.skel.h"

#define MEMBERS_MAX (1 << 20) /* of one namespace: more are -E2BIG */

static int quiet(enum libbpf_print_level level, const char *format, va_list args)
{
	(void)level, (void)format, (void)args;
	return 0;
}

static int read_members(int fd, struct cs_member **members, size_t *count)
{
	size_t size = 0, len = 0;
	char *bytes = NULL;

	for (;;) {
		ssize_t got;

		if (len == size) {
			char *more;

			size = size ? size * 2 : 64 * sizeof(**members);
			more = size > MEMBERS_MAX * sizeof(**members) ? NULL : realloc(bytes, size);
			if (!more) {
				free(bytes);
				return -E2BIG;
			}
			bytes = more;
		}
		got = read(fd, bytes + len, size - len);
		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (got < 0) {
			free(bytes);
			return -errno;
		}
		if (!got)
			break;
		len += got;
	}
	*members = (struct cs_member *)bytes;
	*count = len / sizeof(**members);
	return 0;
}

static int iterate(struct groups *skel, struct cs_member **members, size_t *count)
{
	struct bpf_link *link = bpf_program__attach_iter(skel->progs.cs_groups, NULL);
	_cleanup_fd_ int fd = -1;
	int err;

	if (!link)
		return -errno;
	fd = bpf_iter_create(bpf_link__fd(link));
	err = fd < 0 ? fd : read_members(fd, members, count);
	bpf_link__destroy(link);
	return err;
}

struct listing {
	struct cs_member **members;
	size_t *count;
	int err;
};

/* An iterator lists the namespace of who opens it. */
static int load_and_iterate(void *arg)
{
	struct listing *listing = arg;
	struct groups *skel = groups__open_and_load();

	listing->err = skel ? iterate(skel, listing->members, listing->count) : -errno;
	groups__destroy(skel);
	return 0;
}

static int cannot(const struct listing *listing, struct error *error)
{
	return listing->err ? error_set(error, listing->err, "the groups cannot be looked at: %s",
					strerror(-listing->err)) :
			      0;
}

int groups_read(const char *netns, struct cs_member **members, size_t *count, struct error *error)
{
	libbpf_print_fn_t print = libbpf_set_print(quiet);
	struct listing listing = { members, count, 0 };
	int err = netns_run(netns, load_and_iterate, &listing, error);

	libbpf_set_print(print);
	return err ? err : cannot(&listing, error);
}

int groups_read_behind(const struct way *way, const char *netns, pid_t pid,
		       struct cs_member **members, size_t *count, struct error *error)
{
	libbpf_print_fn_t print = libbpf_set_print(quiet);
	struct listing listing = { members, count, 0 };
	int err = link_run_behind(way, netns, pid, load_and_iterate, &listing);

	libbpf_set_print(print);
	if (err)
		return error_set(
			error, err,
			"%s: the groups at its other end are where this process cannot look",
			way->name);
	return cannot(&listing, error);
}

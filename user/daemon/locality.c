// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "daemon/locality.h"
#include "daemon/log.h"
#include "dataplane/locals.h"

static int sync_now(struct locality *locality, struct error *error)
{
	struct error note;
	int err = locals_sync(locality->plane, locality->netns, locality->listing, &note, error);

	if (err)
		return err;
	if (*note.line && strcmp(note.line, locality->note.line))
		log_line("%s", note.line);
	locality->note = note;
	return 0;
}

/* What fails is tried again within the second. */
static void sync_or_say(struct locality *locality)
{
	struct error error;

	if (!sync_now(locality, &error))
		return;
	log_limited("%s: they are read again", error.line);
	locality->again = true;
}

static void changed(struct source *source, uint32_t events)
{
	struct locality *locality =
		(struct locality *)((char *)source - offsetof(struct locality, changes));

	(void)events;
	if (!locals_changed(source->fd))
		return;
	/* The last address of a device takes other IPv4 routes with it, a moment after the kernel
	 * has told of the address, and it tells nothing of those.
	 */
	locality->again = true;
	sync_or_say(locality);
}

static void stop(struct locality *locality, struct loop *loop)
{
	if (locality->changes.fd >= 0) {
		loop_forget(loop, &locality->changes);
		close(locality->changes.fd);
	}
	if (locality->listing >= 0)
		close(locality->listing);
	locality->changes.fd = locality->listing = -1;
	locality->again = false;
	locality->cookie = 0;
}

static int start(struct locality *locality, struct loop *loop, struct error *error)
{
	const char *name = locality->plane->netns[locality->netns];
	__u64 cookie;
	int err = *name ? netns_file(name, &locality->file, error) : 0;

	/* Before the first look: what changes behind it is heard of. */
	if (!err)
		err = locality->changes.fd = locals_subscribe(name, error);
	if (err >= 0)
		err = locality->listing = locals_open(name, error);
	if (err >= 0)
		err = netns_cookie(name, &cookie, error);
	locality->cookie = locality->plane->abi.netns_cookie[locality->netns];
	if (err >= 0 && cookie != locality->cookie)
		err = error_set(error, -ENOENT, "network namespace %s was replaced by another",
				name);
	if (err >= 0)
		err = sync_now(locality, error);
	if (err >= 0 && (err = loop_watch(loop, &locality->changes)))
		error_set(error, err, "epoll: %s", strerror(-err));
	if (err < 0)
		stop(locality, loop);
	return err < 0 ? err : 0;
}

void localities_init(struct localities *all, struct plane *plane, struct loop *loop)
{
	all->plane = plane;
	all->loop = loop;
	for (int i = 0; i < CS_MAX_NETNS; i++)
		all->one[i] = (struct locality){
			.changes = { -1, changed }, .plane = plane, .netns = i, .listing = -1
		};
}

static bool is_wanted(const struct localities *all, int index)
{
	return !index || *all->plane->netns[index];
}

int localities_follow(struct localities *all, struct error *error)
{
	int err = 0, failed;

	for (int i = 0; i < CS_MAX_NETNS; i++) {
		struct locality *one = &all->one[i];

		if (one->cookie &&
		    (!is_wanted(all, i) || one->cookie != all->plane->abi.netns_cookie[i]))
			stop(one, all->loop);
		if (!is_wanted(all, i) || one->changes.fd >= 0)
			continue;
		if ((failed = start(one, all->loop, error))) {
			one->again = true;
			err = failed;
		}
	}
	return err;
}

/*
 * A namespace whose name went away lives for as long as somebody has a socket in it: that shall
 * not be this daemon.  Who takes the pin meanwhile would have it for a namespace that is no more.
 */
static void leave_if_gone(struct locality *locality, struct loop *loop)
{
	const char *name = locality->plane->netns[locality->netns];
	char pin[NETNS_NAME + 4];
	struct netns_file file;
	struct error unused;
	int err;

	if (!*name || locality->changes.fd < 0)
		return;
	err = netns_file(name, &file, &unused);
	if (err ? err != -ENOENT : netns_same_file(&file, &locality->file))
		return;
	log_line("network namespace %s is gone: what has its name then is not served before the "
		 "configuration is read again",
		 name);
	stop(locality, loop);
	locality->cookie = locality->plane->abi.netns_cookie[locality->netns];
	plane_netns_pin(name, pin);
	plane_unpin(locality->plane, pin);
}

void localities_again(struct localities *all)
{
	struct error error;

	for (int i = 0; i < CS_MAX_NETNS; i++) {
		struct locality *one = &all->one[i];

		leave_if_gone(one, all->loop);
		if (!one->again)
			continue;
		one->again = false;
		if (one->changes.fd >= 0)
			sync_or_say(one);
		else if ((one->again = start(one, all->loop, &error)))
			log_limited("%s", error.line);
	}
}

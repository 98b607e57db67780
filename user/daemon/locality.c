// SPDX-License-Identifier: GPL-2.0-only
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

void locality_again(struct locality *locality)
{
	if (!locality->again)
		return;
	locality->again = false;
	sync_or_say(locality);
}

int locality_start(struct locality *locality, const struct plane *plane, struct loop *loop,
		   __u32 netns, const char *name, struct error *error)
{
	int err;

	*locality = (struct locality){
		.changes = { -1, changed }, .plane = plane, .netns = netns, .listing = -1
	};
	/* Before the first look: what changes behind it is heard of. */
	err = locality->changes.fd = locals_subscribe(name, error);
	if (err >= 0)
		err = locality->listing = locals_open(name, error);
	if (err >= 0)
		err = sync_now(locality, error);
	if (err >= 0 && (err = loop_watch(loop, &locality->changes)))
		error_set(error, err, "epoll: %s", strerror(-err));
	if (err < 0)
		locality_stop(locality, loop);
	return err < 0 ? err : 0;
}

void locality_stop(struct locality *locality, struct loop *loop)
{
	if (locality->changes.fd >= 0) {
		loop_forget(loop, &locality->changes);
		close(locality->changes.fd);
	}
	if (locality->listing >= 0)
		close(locality->listing);
	locality->changes.fd = locality->listing = -1;
	locality->again = false;
}

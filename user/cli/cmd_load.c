// SPDX-License-Identifier: GPL-2.0-only
/* load, unload */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/attached.h"
#include "cli/cli.h"
#include "cli/interfaces.h"
#include "cli/output.h"
#include "cli/view.h"
#include "common/cleanup.h"
#include "dataplane/attach.h"
#include "dataplane/config.h"
#include "dataplane/locals.h"
#include "dataplane/plane.h"

static void print_loaded(const struct args *args, const struct config *config, bool adopted,
			 bool upgraded)
{
	unsigned int listeners = 0;

	for (unsigned int i = 0; i < config->count; i++)
		listeners += config->service[i].listen_count;
	if (args->json) {
		json_print(json_pack("{s:b, s:b, s:i, s:i, s:s}", "adopted", adopted, "upgraded",
				     upgraded, "services", config->count, "listeners", listeners,
				     "bpffs", args->dir));
		return;
	}
	printf("%s: %u service%s, %u listener%s, pinned in %s\n", adopted ? "adopted" : "loaded",
	       config->count, config->count == 1 ? "" : "s", listeners, listeners == 1 ? "" : "s",
	       args->dir);
	if (upgraded)
		puts("the programs of another version were replaced");
}

struct said {
	const struct args *args;
	int result;
};

/* An interface without XDP is steered all the same: said, not fatal, but not success either. */
static void say_attached(const char *line, bool failed, void *arg)
{
	struct said *said = arg;

	if (failed)
		said->result = fail(said->args, "%s", line);
	else if (!said->args->json)
		puts(line);
}

/* As `cidsteer attach` says it. */
static void say_notes(const struct args *args, const struct config *config)
{
	for (unsigned int s = 0; s < config->count && !args->json; s++) {
		const struct config_service *service = &config->service[s];

		for (unsigned int i = 0; i < service->interface_count; i++) {
			struct findings findings = {};

			findings_of_attached(args->dir, service->netns, service->interface[i],
					     &findings);
			findings_note(&findings);
		}
	}
}

/*
 * Once: only a daemon follows what changes.  Returns 0 or a negative errno.  What has no room is
 * said, not fatal, but not success either.
 */
static int sync_locals(const struct args *args, const struct plane *plane, int *result,
		       struct error *error)
{
	for (int i = 0; i < CS_MAX_NETNS; i++) {
		_cleanup_fd_ int fd = -1;
		struct error note;
		int err;

		if (i && !*plane->netns[i])
			continue;
		fd = locals_open(plane->netns[i], error);
		err = fd < 0 ? fd : locals_sync(plane, i, fd, &note, error);
		if (err)
			return err;
		if (*note.line)
			*result = fail(args, "%s", note.line);
	}
	return 0;
}

static void say_loaded(unsigned int loaded)
{
	fprintf(stderr, "cidsteer: load: the programs of %u listeners so far\n", loaded);
}

int cmd_load(const struct args *args)
{
	struct plane_progress progress = { .say = say_loaded };
	_cleanup_config_ struct config *config = NULL;
	struct said said = { args, CLI_DONE };
	struct plane plane = PLANE_INIT;
	struct error error, unused;
	bool adopted, upgraded;
	int err;

	if (config_read(args->config, &config, &error))
		return fail(args, "%s", error.line);
	plane_raise_descriptors(0);
	plane.progress = &progress;
	err = plane_start(&plane, args->dir, config, &adopted, &upgraded, &error);
	if (!err) {
		err = sync_locals(args, &plane, &said.result, &error);
		if (err && !adopted)
			plane_unload(&plane, &unused);
		else
			print_loaded(args, config, adopted, upgraded);
	}
	if (err) {
		plane_close(&plane);
		return fail(args, "%s", error.line);
	}
	attach_upgrade(&plane, upgraded, say_attached, &said);
	attach_configured(&plane, config, say_attached, &said);
	say_notes(args, config);
	plane_close(&plane);
	return said.result;
}

/* Nobody may need what is taken away. */
static int check_unused(const struct args *args, const struct view *view,
			const struct attached *attached, unsigned int count)
{
	char text[512];

	if (args->force)
		return CLI_DONE;
	if (view_name_workers(view, text, sizeof(text)))
		return fail(args, "still registered: %s; stop the server, or use --force", text);
	for (unsigned int i = 0; i < count; i++) {
		if (attach_is_ours(&attached[i].info))
			return fail(args,
				    "attached to %s: run cidsteer detach %s%s%s first, or use "
				    "--force",
				    attached[i].name, attached[i].name,
				    *attached[i].netns ? " --netns " : "", attached[i].netns);
	}
	return CLI_DONE;
}

static int take_off(const struct view *view, const struct attached *at, struct error *error)
{
	struct attach_place place _cleanup_place_ = ATTACH_PLACE_INIT;

	return attach_enter(&place, &view->plane, at->netns, error) ?:
		       detach_interface(&place, at->name, error);
}

static int unload_view(const struct args *args, const struct view *view)
{
	_cleanup_free_ struct attached *attached = NULL;
	unsigned int count = 0;
	struct error error;
	int result;

	if (attached_read(&view->plane, &attached, &count, &error))
		return fail(args, "%s", error.line);
	result = check_unused(args, view, attached, count);
	for (unsigned int i = 0; i < count && !result; i++) {
		if (!attach_is_ours(&attached[i].info))
			continue;
		if (take_off(view, &attached[i], &error))
			result = fail(args, "%s", error.line);
	}
	return result;
}

/* The lock first, so that nobody registers between the look and the end. */
static int unload_locked(const struct args *args, struct plane *plane)
{
	_cleanup_view_ struct view *view = NULL;
	struct error error;
	int err = view_open(&view, args->dir, &error);
	int result = err ? CLI_DONE : unload_view(args, view);

	if (result)
		return result;
	/* Without cs_abi it is what an unload or a load has left that did not come to its end. */
	if (err && err != -ENOENT && !(err == -EPROTO && args->force))
		return fail(args, "%s", error.line);
	if (plane_unload(plane, &error))
		return fail(args, "%s", error.line);
	if (!args->json)
		printf("unloaded: %s is gone\n", args->dir);
	else if (json_print(json_pack("{s:s}", "unloaded", args->dir)))
		return fail(args, "out of memory");
	return CLI_DONE;
}

int cmd_unload(const struct args *args)
{
	struct plane plane = PLANE_INIT;
	struct error error;
	int result, err;

	/* plane_lock() would make the directory. */
	err = plane_open(&plane, args->dir, &error);
	plane_close(&plane);
	if (err == -ENOENT && access(args->dir, F_OK))
		return fail(args, "%s", error.line);
	if (plane_lock(&plane, args->dir, &error))
		result = fail(args, "%s", error.line);
	else
		result = unload_locked(args, &plane);
	plane_close(&plane);
	return result;
}

// SPDX-License-Identifier: GPL-2.0-only
/* attach, detach */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/attach_try.h"
#include "cli/attached.h"
#include "cli/cli.h"
#include "cli/interfaces.h"
#include "cli/output.h"
#include "cli/view.h"

#define MAX_TRY_SECONDS 3600

static int parse_mode(const char *text, enum attach_mode *mode)
{
	if (!text || !strcmp(text, "auto"))
		*mode = ATTACH_AUTO;
	else if (!strcmp(text, "native"))
		*mode = ATTACH_NATIVE;
	else if (!strcmp(text, "generic"))
		*mode = ATTACH_GENERIC;
	else
		return -EINVAL;
	return 0;
}

static const char *netns_of(const struct args *args)
{
	return args->netns ? args->netns : "";
}

static json_t *info_json(const struct args *args, const struct attach_info *info,
			 const struct findings *findings)
{
	json_t *json = attached_json(netns_of(args), args->operand[0], info);

	json_object_set_new(json, "why", json_string(info->why));
	json_object_set_new(json, "advice", json_string(info->advice));
	json_object_set_new(json, "findings", findings_json(findings));
	return json;
}

static int print_attached(const struct args *args, const struct attach_info *info)
{
	const char *interface = args->operand[0];
	struct findings findings = {};
	struct error line;

	findings_of_attached(args->dir, netns_of(args), interface, &findings);
	if (args->json)
		return json_print(info_json(args, info, &findings)) ? fail(args, "out of memory") :
								      CLI_DONE;
	attach_describe(interface, info, &line);
	puts(line.line);
	findings_note(&findings);
	return CLI_DONE;
}

static int try_end(const struct args *args, struct attach_try *try, const struct attach_info *info)
{
	const char *interface = args->operand[0];
	int result;

	print_attached(args, info);
	printf("%s: taken off again in %s s, unless you press Enter\n", interface, args->try);
	fflush(stdout);
	result = attach_try_end(try, true);
	if (result < 0)
		return fail(args, "%s: it cannot be taken off: ip link set dev %s xdp off",
			    interface, interface);
	if (result == ATTACH_TAKEN_OFF)
		return fail(args, "%s: taken off again: nobody pressed Enter in %s s", interface,
			    args->try);
	printf("%s: stays attached\n", interface);
	return CLI_DONE;
}

/* @seconds: 0: it stays */
static int attach(const struct args *args, const struct attach_place *place, enum attach_mode mode,
		  unsigned int seconds)
{
	const char *interface = args->operand[0];
	struct attach_info info;
	struct attach_try try;
	struct error error;
	int err = attach_query(place, interface, &info, &error);

	if (!err && seconds && info.state == ATTACH_OURS)
		seconds = 0; /* it was there before */
	if (!err && seconds && (err = attach_try_begin(&try, seconds, place, interface)))
		return fail(args, "%s: %s", interface, strerror(-err));
	if (!err)
		err = attach_interface(place, interface, mode, &info, &error);
	if (!err)
		return seconds ? try_end(args, &try, &info) : print_attached(args, &info);
	if (seconds)
		attach_try_end(&try, false);
	return fail(args, "%s", error.line);
}

static int parse_seconds(const struct args *args, unsigned int *seconds)
{
	char *end = NULL;
	long value = args->try ? strtol(args->try, &end, 10) : 0;

	*seconds = value;
	if (!args->try)
		return CLI_DONE;
	if (end == args->try || *end || value < 1 || value > MAX_TRY_SECONDS)
		return misuse(args, "--try %s: not 1 to %d seconds", args->try, MAX_TRY_SECONDS);
	if (args->json)
		return misuse(args, "--try asks somebody: not with --json");
	return CLI_DONE;
}

int cmd_attach(const struct args *args)
{
	struct attach_place place _cleanup_place_ = ATTACH_PLACE_INIT;
	struct plane plane = PLANE_INIT;
	unsigned int seconds;
	struct error error;
	enum attach_mode mode;
	int err = check_netns(args) ?: parse_seconds(args, &seconds);

	if (err)
		return err;
	if (parse_mode(args->mode, &mode))
		return misuse(args, "--mode %s: not native, generic or auto", args->mode);
	err = plane_open(&plane, args->dir, &error);
	if (!err)
		err = attach_enter(&place, &plane, netns_of(args), &error);
	place.alone = args->alone;
	err = err ? fail(args, "%s", error.line) : attach(args, &place, mode, seconds);
	plane_close(&plane);
	return err;
}

int cmd_detach(const struct args *args)
{
	const char *interface = args->operand[0];
	_cleanup_view_ struct view *view = NULL;
	struct attach_place place _cleanup_place_ = ATTACH_PLACE_INIT;
	struct error error;
	char text[512];

	if (check_netns(args))
		return CLI_MISUSE;
	if (view_open(&view, args->dir, &error))
		return fail(args, "%s", error.line);
	if (!args->force && view_name_workers(view, text, sizeof(text)))
		return fail(args, "%s: still registered: %s; stop the server, or use --force",
			    interface, text);
	if (attach_enter(&place, &view->plane, netns_of(args), &error) ||
	    detach_interface(&place, interface, &error))
		return fail(args, "%s", error.line);
	if (!args->json)
		printf("%s: detached\n", interface);
	else if (json_print(json_pack("{s:s, s:s, s:s}", "netns", netns_of(args), "interface",
				      interface, "state", "none")))
		return fail(args, "out of memory");
	return CLI_DONE;
}

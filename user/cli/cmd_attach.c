// SPDX-License-Identifier: GPL-2.0-only
/* attach, detach */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/attached.h"
#include "cli/cli.h"
#include "cli/output.h"
#include "cli/view.h"

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

static int check_netns(const struct args *args)
{
	if (!args->netns || netns_is_name(args->netns))
		return CLI_DONE;
	return misuse(args, "--netns %s: not a name of 1 to %d letters, digits, '-' or '_'",
		      args->netns, NETNS_NAME - 1);
}

static int print_attached(const struct args *args, const struct attach_info *info)
{
	const char *interface = args->operand[0];
	struct error line;

	if (args->json)
		return json_print(attached_json(netns_of(args), interface, info)) ?
			       fail(args, "out of memory") :
			       CLI_DONE;
	attach_describe(interface, info, &line);
	puts(line.line);
	return CLI_DONE;
}

int cmd_attach(const struct args *args)
{
	struct attach_place place _cleanup_place_ = ATTACH_PLACE_INIT;
	struct plane plane = PLANE_INIT;
	struct attach_info info;
	struct error error;
	enum attach_mode mode;
	int err = check_netns(args);

	if (err)
		return err;

	if (parse_mode(args->mode, &mode))
		return misuse(args, "--mode %s: not native, generic or auto", args->mode);
	err = plane_open(&plane, args->dir, &error);
	if (!err)
		err = attach_enter(&place, &plane, netns_of(args), &error);
	if (!err)
		err = attach_interface(&place, args->operand[0], mode, &info, &error);
	plane_close(&plane);
	return err ? fail(args, "%s", error.line) : print_attached(args, &info);
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

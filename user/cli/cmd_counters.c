// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/names.h"
#include "cli/output.h"
#include "cli/report.h"
#include "cli/view.h"

static const char *const hooks[CS_HOOKS] = {
	[CS_HOOK_XDP] = "xdp",
	[CS_HOOK_REUSEPORT] = "reuseport",
};

/* "-" is no service; one that is no longer there has its number. */
static const char *service_name(const struct view *view, __u32 id, char text[CS_NAME_SIZE])
{
	const struct view_service *service = view_service_by_id(view, id);

	if (!id)
		return "-";
	if (service)
		return service->name;
	snprintf(text, CS_NAME_SIZE, "(%u)", id);
	return text;
}

static void add_rows(struct table *table, const char *hook, const char *service,
		     const struct cs_counters *sum)
{
	for (int i = 0; i < CS_COUNTERS; i++) {
		__u64 value = ((const __u64 *)sum)[i];

		if (!value)
			continue;
		table_add(table, hook);
		table_add(table, service);
		table_add(table, counter_names[i].name);
		table_add(table, NUMBER(value));
		table_add(table, counter_names[i].text);
	}
}

static json_t *line_json(const char *hook, const char *service, __u32 id,
			 const struct cs_counters *sum)
{
	json_t *line = json_pack("{s:s, s:s, s:i}", "hook", hook, "service", service, "service_id",
				 id);

	for (int i = 0; i < CS_COUNTERS && line; i++)
		json_object_set_new(line, counter_names[i].name,
				    json_integer(((const __u64 *)sum)[i]));
	return line;
}

/* Reads all lines; a line of zeros is kept in JSON if its service is there. */
static int read_lines(const struct view *view, struct table *table, json_t *list)
{
	static const struct cs_counters zero;
	char text[CS_NAME_SIZE];

	for (__u32 hook = 0; hook < CS_HOOKS; hook++) {
		for (__u32 id = 0; id < CS_MAX_SERVICES; id++) {
			const char *name = service_name(view, id, text);
			struct cs_counters sum;
			int err = plane_counters(&view->plane, hook, id, &sum);

			if (err)
				return err;
			if (name == text && !memcmp(&sum, &zero, sizeof(sum)))
				continue;
			if (list)
				json_array_append_new(list, line_json(hooks[hook], name, id, &sum));
			else
				add_rows(table, hooks[hook], name, &sum);
		}
	}
	return 0;
}

int counters_json(const struct view *view, json_t **json)
{
	json_t *list = json_array();
	int err = list ? read_lines(view, NULL, list) : -ENOMEM;

	if (err)
		json_decref(list);
	else
		*json = list;
	return err;
}

int counters_print(const struct view *view)
{
	static const char *const heads[] = { "HOOK", "SERVICE", "COUNTER", "COUNT", "MEANING" };
	struct table table = { .columns = 5, .right = 1u << 3 };
	int err;

	for (int i = 0; i < 5; i++)
		table_add(&table, heads[i]);
	err = read_lines(view, &table, NULL);
	if (err)
		table.failed = true; /* nothing is printed, all is freed */
	return table_print(&table) ? err ?: -ENOMEM : 0;
}

int cmd_counters(const struct args *args)
{
	_cleanup_view_ struct view *view = NULL;
	json_t *list = NULL;
	struct error error;
	int err;

	if (view_open(&view, args->dir, &error))
		return fail(args, "%s", error.line);
	if (!args->json)
		err = counters_print(view);
	else if (!(err = counters_json(view, &list)))
		err = json_print(json_pack("{s:o}", "counters", list));
	return err ? fail(args, "reading the counters: %s", strerror(-err)) : CLI_DONE;
}

// SPDX-License-Identifier: GPL-2.0-only
#include <stdio.h>

#include "cli/cli.h"
#include "cli/output.h"
#include "cli/report.h"
#include "cli/view.h"

static const char *const heads[] = {
	"ID",	       "SERVICE", "GEN",    "PID", "STATE",  "ROUTES",
	"PROVISIONAL", "REFUSED", "STRAYS", "CPU", "DEVICE", "XSK",
};
#define COLUMNS (sizeof(heads) / sizeof(heads[0]))
#define RIGHT (1u << 0 | 1u << 2 | 1u << 3 | 1u << 5 | 1u << 6 | 1u << 7 | 1u << 8 | 1u << 9)

/* A service's usage lines, mapped when its first worker asks for them. */
struct usage_cache {
	const struct view *view;
	struct cs_usage *lines[CS_MAX_SERVICES];
};

static struct cs_usage usage_of(struct usage_cache *cache, const struct cs_worker *worker)
{
	const struct view_service *service = view_service_by_id(cache->view, worker->service);

	if (!service || worker->state == CS_WORKER_DEAD)
		return (struct cs_usage){};
	if (!cache->lines[service->id])
		cache->lines[service->id] = view_usage(cache->view, service);
	return view_usage_line(cache->lines[service->id], worker->usage);
}

static void add_row(struct table *table, const struct view *view, int id,
		    const struct cs_usage *usage)
{
	const struct cs_worker *worker = &view->worker[id];
	char text[16], name[IFNAMSIZ], queues[XSKS_TEXT];
	const char *device, *xsks;

	snprintf(text, sizeof(text), "%d", id);
	table_add(table, text);
	table_add(table, view_service_name(view, worker));
	snprintf(text, sizeof(text), "%u", worker->generation);
	table_add(table, text);
	snprintf(text, sizeof(text), "%u", worker->pid);
	table_add(table, text);
	table_add(table, view_state(worker->state));
	table_add(table, NUMBER(view_routes(usage)));
	table_add(table, NUMBER(usage->provisional));
	table_add(table, NUMBER(usage->refused));
	table_add(table, NUMBER(view_strays(usage)));
	snprintf(text, sizeof(text), view_cpu(view, id) < 0 ? "-" : "%d", view_cpu(view, id));
	table_add(table, text);
	device = view_device_name(view, id, name);
	table_add(table, device ? device : "-");
	xsks = view_xsks_text(view, id, queues);
	table_add(table, xsks ? xsks : "-");
}

static json_t *worker_json(const struct view *view, int id, const struct cs_usage *usage)
{
	const struct cs_worker *worker = &view->worker[id];
	char name[IFNAMSIZ];
	const char *device = view_device_name(view, id, name);

	return json_pack(
		"{s:i, s:s, s:I, s:I, s:s, s:o, s:s?, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
		"id", id, "service", view_service_name(view, worker), "generation",
		(json_int_t)worker->generation, "pid", (json_int_t)worker->pid, "state",
		view_state(worker->state), "cpu",
		view_cpu(view, id) < 0 ? json_null() : json_integer(view_cpu(view, id)), "device",
		device, "xsks", view_xsks_json(view, id), "routes", (json_int_t)view_routes(usage),
		"provisional", (json_int_t)usage->provisional, "issued", (json_int_t)usage->issued,
		"retired", (json_int_t)usage->retired, "refused", (json_int_t)usage->refused,
		"strays", (json_int_t)view_strays(usage), "path_changes",
		(json_int_t)usage->path_changes);
}

/* Into one of both. */
static void read_workers(const struct view *view, struct table *table, json_t *list)
{
	struct usage_cache cache = { .view = view };

	for (int id = 1; id < CS_MAX_WORKERS; id++) {
		struct cs_usage usage;

		if (view->worker[id].state == CS_WORKER_NONE)
			continue;
		usage = usage_of(&cache, &view->worker[id]);
		if (list)
			json_array_append_new(list, worker_json(view, id, &usage));
		else
			add_row(table, view, id, &usage);
	}
	for (int i = 0; i < CS_MAX_SERVICES; i++)
		plane_unmap_usage(cache.lines[i]);
}

json_t *workers_json(const struct view *view)
{
	json_t *list = json_array();

	read_workers(view, NULL, list);
	return list;
}

int workers_print(const struct view *view)
{
	struct table table = { .columns = COLUMNS, .right = RIGHT };

	for (size_t i = 0; i < COLUMNS; i++)
		table_add(&table, heads[i]);
	read_workers(view, &table, NULL);
	return table_print(&table);
}

int cmd_workers(const struct args *args)
{
	_cleanup_view_ struct view *view = NULL;
	struct error error;
	int err;

	if (view_open(&view, args->dir, &error))
		return fail(args, "%s", error.line);
	err = args->json ? json_print(json_pack("{s:o}", "workers", workers_json(view))) :
			   workers_print(view);
	return err ? fail(args, "out of memory") : CLI_DONE;
}

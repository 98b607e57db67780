// SPDX-License-Identifier: GPL-2.0-only
/*
 * Everything that somebody needs who is to find out from afar what is wrong.  What is secret is
 * left out: a service's key, with which connection IDs could be chosen that collide.
 */
#include <bpf/libbpf.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <xdp/libxdp.h>

#include "cli/cli.h"
#include "cli/output.h"
#include "cli/record.h"
#include "cli/report.h"
#include "common/cleanup.h"
#include "dataplane/config.h"
#include "dataplane/watch.h"

static const char *const sysctls[] = {
	"kernel/bpf_stats_enabled",    "kernel/unprivileged_bpf_disabled",
	"net/core/bpf_jit_enable",     "net/core/bpf_jit_harden",
	"net/core/netdev_budget",      "net/core/netdev_max_backlog",
	"net/core/rmem_default",       "net/core/rmem_max",
	"net/ipv4/conf/all/rp_filter", "net/ipv4/ip_forward",
	"net/ipv4/udp_early_demux",    "net/ipv4/udp_mem",
	"net/ipv4/udp_rmem_min",       "net/ipv6/conf/all/forwarding",
};

/* The library that is there now, not the one that this was built with: by its file's name. */
static json_t *libxdp_json(void)
{
	_cleanup_free_ char *path = NULL;
	const char *version;
	Dl_info info;

	if (!dladdr((void *)xdp_program__create, &info))
		return json_null();
	path = realpath(info.dli_fname, NULL);
	version = path ? strstr(path, "libxdp.so.") : NULL;
	return version ? json_string(version + strlen("libxdp.so.")) : json_null();
}

static json_t *versions_json(void)
{
	struct utsname kernel;

	uname(&kernel);
	return json_pack("{s:s, s:i, s:s, s:s, s:s, s:o}", "cidsteer", CIDSTEER_VERSION, "layout",
			 CS_LAYOUT, "kernel", kernel.release, "machine", kernel.machine, "libbpf",
			 libbpf_version_string(), "libxdp", libxdp_json());
}

/* NULL: this kernel has none. */
static json_t *sysctl_json(const char *name)
{
	char path[128], value[128] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/sys/%s", name);
	file = fopen(path, "re");
	if (!file)
		return json_null();
	if (!fgets(value, sizeof(value), file))
		value[0] = '\0';
	fclose(file);
	for (char *at = value; *at; at++)
		*at = *at == '\t' ? ' ' : *at == '\n' ? '\0' : *at;
	return json_string(value);
}

static json_t *sysctls_json(void)
{
	json_t *json = json_object();

	for (size_t i = 0; i < sizeof(sysctls) / sizeof(sysctls[0]); i++) {
		char name[64];

		snprintf(name, sizeof(name), "%s", sysctls[i]);
		for (char *at = name; *at; at++)
			*at = *at == '/' ? '.' : *at;
		json_object_set_new(json, name, sysctl_json(sysctls[i]));
	}
	return json;
}

/* Members by name: so that a secret that comes to struct cs_service later is not printed. */
static json_t *services_json(const struct view *view)
{
	json_t *list = json_array();

	for (unsigned int i = 0; i < view->services; i++) {
		const struct view_service *service = &view->service[i];
		const struct cs_service *settings = &service->settings;

		json_array_append_new(
			list,
			json_pack("{s:i, s:s, s:i, s:i, s:I, s:b, s:i, s:s, s:s, s:s, s:s, s:s}",
				  "id", service->id, "name", service->name, "cid_length",
				  settings->cid_len, "listeners", service->listeners, "max_cids",
				  (json_int_t)settings->max_cids, "shared_table",
				  settings->shared_table, "generation", settings->generation,
				  "unknown_cid",
				  config_policy("unknown_cid", settings->unknown_cid), "malformed",
				  config_policy("malformed", settings->malformed), "not_quic",
				  config_policy("not_quic", settings->not_quic), "small_initial",
				  config_policy("small_initial", settings->small_initial), "no_xsk",
				  config_policy("no_xsk", settings->no_xsk)));
	}
	return list;
}

struct recording {
	struct cs_record record[CS_RECORDS];
	unsigned int count;
	__u64 ever;
	__u32 tracing; /* pid of who traces; 0: nobody */
	struct cs_left_out left_out;
};

static int recording_read(const struct plane *plane, struct recording *recording)
{
	_cleanup_watch_ struct watch watch = {};
	int err = watch_open(plane, &watch);

	if (err)
		return err;
	recording->count = watch_read(&watch, recording->record);
	recording->ever = watch.state->recorder.next;
	if (watch.state->trace.on && watch.state->trace.until_ns > watch_now())
		recording->tracing = watch.state->trace.run >> 32;
	return watch_left_out(plane, &watch, &recording->left_out);
}

static json_t *recording_json(const struct view *view, const struct recording *recording)
{
	json_t *records = json_array(), *left_out = json_object();

	for (unsigned int i = 0; i < recording->count; i++) {
		json_t *record = record_json(view, &recording->record[i]);

		json_object_set_new(record, "kind",
				    json_string(record_kind(recording->record[i].kind)));
		json_object_set_new(record, "number", json_integer(recording->record[i].serial));
		json_array_append_new(records, record);
	}
	for (int kind = 1; kind < CS_KINDS; kind++)
		json_object_set_new(left_out, record_kind(kind),
				    json_integer(recording->left_out.kind[kind]));
	return json_pack("{s:I, s:i, s:o, s:o}", "ever", (json_int_t)recording->ever, "size",
			 CS_RECORDS, "left_out", left_out, "records", records);
}

static void recording_print(const struct view *view, const struct recording *recording)
{
	printf("%s records, of %s that there ever were; room for %s\n", NUMBER(recording->count),
	       NUMBER(recording->ever), NUMBER(CS_RECORDS));
	for (int kind = 1; kind < CS_KINDS; kind++) {
		if (recording->left_out.kind[kind])
			printf("left out: %s %s\n", NUMBER(recording->left_out.kind[kind]),
			       record_kind(kind));
	}
	for (unsigned int i = 0; i < recording->count; i++)
		record_print(view, &recording->record[i], true);
}

static void print_value(const char *name, const json_t *value)
{
	if (json_is_string(value))
		printf("%s %s", name, json_string_value(value));
	else if (json_is_integer(value))
		printf("%s %lld", name, (long long)json_integer_value(value));
	else if (json_is_boolean(value))
		printf("%s %s", name, json_is_true(value) ? "on" : "off");
	else
		printf("%s -", name);
}

/* "rx 256, tx 256", without what is an object itself. */
static void print_members(json_t *json)
{
	const char *separator = "";

	for (void *at = json_object_iter(json); at; at = json_object_iter_next(json, at)) {
		if (json_is_object(json_object_iter_value(at)))
			continue;
		printf("%s", separator);
		print_value(json_object_iter_key(at), json_object_iter_value(at));
		separator = ", ";
	}
	putchar('\n');
}

static void print_lines(json_t *json)
{
	for (void *at = json_object_iter(json); at; at = json_object_iter_next(json, at)) {
		print_value(json_object_iter_key(at), json_object_iter_value(at));
		putchar('\n');
	}
}

/* A line for each of these, and one for each object that is in it. */
static void print_list(const json_t *list)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		json_t *entry = json_array_get(list, i);

		print_members(entry);
		for (void *at = json_object_iter(entry); at;
		     at = json_object_iter_next(entry, at)) {
			json_t *value = json_object_iter_value(at);

			if (!json_object_size(value))
				continue;
			printf("    %s: ", json_object_iter_key(at));
			print_members(value);
		}
	}
}

static void heading(const char *text)
{
	printf("\n== %s\n", text);
}

/* What is there without programs and maps, too. */
static void print_host(json_t *host)
{
	printf("== versions\n");
	print_members(json_object_get(host, "versions"));
	heading("sysctls");
	print_lines(json_object_get(host, "sysctls"));
	heading("interfaces");
	print_list(json_object_get(host, "interfaces"));
}

static int print_plane(const struct args *args, const struct view *view,
		       const struct recording *recording)
{
	json_t *services = services_json(view);
	struct error error;
	int err;

	heading("services");
	print_list(services);
	json_decref(services);
	heading("status");
	if (status_report(args->dir, NULL, &error))
		return fail(args, "%s", error.line);
	heading("workers");
	err = workers_print(view);
	heading("counters");
	err = counters_print(view) ?: err;
	if (recording->tracing)
		printf("\npid %u traces\n", recording->tracing);
	heading("recorder");
	recording_print(view, recording);
	return err ? fail(args, "%s", strerror(-err)) : CLI_DONE;
}

static int add_plane(const struct args *args, const struct view *view,
		     const struct recording *recording, json_t *report)
{
	json_t *status = NULL, *counters = NULL;
	struct error error;
	int err;

	if (status_report(args->dir, &status, &error))
		return fail(args, "%s", error.line);
	err = counters_json(view, &counters);
	if (err)
		return fail(args, "reading the counters: %s", strerror(-err));
	json_object_set_new(report, "services", services_json(view));
	json_object_set_new(report, "status", status);
	json_object_set_new(report, "workers", workers_json(view));
	json_object_set_new(report, "counters", counters);
	json_object_set_new(report, "tracing", json_integer(recording->tracing));
	json_object_set_new(report, "recorder", recording_json(view, recording));
	return CLI_DONE;
}

int cmd_report(const struct args *args)
{
	_cleanup_free_ struct recording *recording = calloc(1, sizeof(*recording));
	_cleanup_view_ struct view *view = NULL;
	int result = CLI_DONE, loaded, err = 0;
	struct error error;
	json_t *report;

	if (!recording)
		return fail(args, "out of memory");
	loaded = !view_open(&view, args->dir, &error);
	if (loaded)
		err = recording_read(&view->plane, recording);
	report = json_pack("{s:o, s:o, s:o}", "versions", versions_json(), "sysctls",
			   sysctls_json(), "interfaces",
			   netdevs_json(loaded ? &view->plane : NULL));
	if (!report)
		return fail(args, "out of memory");
	if (!args->json)
		print_host(report);
	if (err)
		result = fail(args, "reading the recorder: %s", strerror(-err));
	else if (!loaded) /* of use all the same */
		result = fail(args, "%s", error.line);
	else if (args->json)
		result = add_plane(args, view, recording, report);
	else
		result = print_plane(args, view, recording);
	if (args->json)
		json_print(report);
	else
		json_decref(report);
	return result;
}

// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/output.h"
#include "cli/report.h"
#include "cli/status.h"
#include "common/cleanup.h"

static const char *const words[] = {
	[WORD_STEERING] = "steering",
	[WORD_DEGRADED] = "degraded",
	[WORD_NOT_STEERING] = "not steering",
};
#define WORD_WIDTH 12

static const int exit_codes[] = {
	[WORD_STEERING] = CLI_DONE,
	[WORD_DEGRADED] = CLI_DEGRADED,
	[WORD_NOT_STEERING] = CLI_NOT_STEERING,
};

static void status_free(struct status **status)
{
	if (!*status)
		return;
	view_close(&(*status)->view);
	free((*status)->attached);
	free((*status)->nic);
	free(*status);
}

static void note(struct status *status, const char *line)
{
	if (status->notes < STATUS_NOTES)
		error_set(&status->note[status->notes++], 0, "%s", line);
}

static void look_at_kernel(struct status *status)
{
	struct error error;

	if (!view_is_open(status->view, 0)) {
		note(status, "loaded from another network namespace: groups of sockets and "
			     "interfaces there are not looked at");
		return;
	}
	if (attached_read(&status->view->plane, &status->attached, &status->attached_count, &error))
		note(status, error.line);
	findings_of_interfaces(status);
	findings_of_moves(status, note);
	findings_of_devices(status, note);
	findings_of_xsks(status);
	for (__u32 netns = 0; netns < CS_MAX_NETNS; netns++) {
		if (view_is_open(status->view, netns) &&
		    findings_of_groups(status, netns, &error)) {
			note(status, error.line);
			break;
		}
	}
	findings_of_groups_behind(status, note);
	findings_of_replies(status);
	findings_of_settings(status);
}

static int status_read(struct status *status, const char *dir, struct error *error)
{
	int err = view_open(&status->view, dir, error);

	/* Somebody asked whether it steers: these are answers. */
	if (err == -ENOENT || err == -EPROTO) {
		view_close(&status->view);
		findings_add(&status->findings, WORD_NOT_STEERING, "", "%s", error->line);
		status->word = WORD_NOT_STEERING;
		return 0;
	}
	if (err)
		return err;
	status->services = status->view->services;
	for (unsigned int i = 0; i < status->services; i++) {
		status->service[i].view = &status->view->service[i];
		findings_of_service(status->view, &status->service[i]);
	}
	if (!status->services)
		findings_add(&status->findings, WORD_NOT_STEERING,
			     "cidsteer load, or start cidsteerd", "no service is set up");
	err = cpus_read(status);
	if (err)
		return error_set(error, err, "cs_cpus: %s", strerror(-err));
	err = devices_read(status);
	if (err)
		return error_set(error, err, "cs_devs: %s", strerror(-err));
	err = xsks_read(status);
	if (err)
		return error_set(error, err, "cs_targets: %s", strerror(-err));
	look_at_kernel(status);
	status->word = status->findings.word;
	for (unsigned int i = 0; i < status->services; i++) {
		if (status->service[i].findings.word > status->word)
			status->word = status->service[i].findings.word;
	}
	return 0;
}

/* The lines of one row: name and word stand on the first. */
struct row {
	const char *name, *word;
	int width; /* of names */
};

static void print_line(struct row *row, const char *text)
{
	int column = printf("%-*s  %-*s  ", row->width, row->name, WORD_WIDTH, row->word);

	print_wrapped(text, column);
	row->name = row->word = "";
}

/* What to do stands once, behind the last of several findings that ask for it. */
static void print_findings(struct row *row, const struct findings *findings)
{
	int column = row->width + WORD_WIDTH + 4;

	for (unsigned int i = 0; i < findings->count; i++) {
		const struct finding *finding = &findings->list[i];
		char text[sizeof(finding->reason) + sizeof(finding->action) + 2];

		if (!finding->action[0] ||
		    (i + 1 < findings->count && !strcmp(finding->action, finding[1].action))) {
			print_line(row, finding->reason);
			continue;
		}
		snprintf(text, sizeof(text), "%s: %s", finding->reason, finding->action);
		if (strstr(finding->reason, ": ") || column + strlen(text) > OUTPUT_COLUMNS) {
			print_line(row, finding->reason);
			print_line(row, finding->action);
		} else {
			print_line(row, text);
		}
	}
}

static void print_sums(struct row *row, const struct status_service *service)
{
	unsigned int workers = service->waiting + service->active + service->draining;
	char text[512] = "";

	if (!workers && !service->reaping)
		return;
	append(text, sizeof(text), "%u worker%s", workers, workers == 1 ? "" : "s");
	if (service->waiting)
		append(text, sizeof(text), " (%u waiting)", service->waiting);
	if (service->draining)
		append(text, sizeof(text), " (%u draining)", service->draining);
	if (service->reaping)
		append(text, sizeof(text), ", %u being reaped", service->reaping);
	append(text, sizeof(text), ", %s route%s, %s path change%s survived, %s stray%s",
	       NUMBER(service->routes), service->routes == 1 ? "" : "s",
	       NUMBER(service->usage.path_changes), service->usage.path_changes == 1 ? "" : "s",
	       NUMBER(service->strays), service->strays == 1 ? "" : "s");
	if (service->usage.refused)
		append(text, sizeof(text), ", %s refused", NUMBER(service->usage.refused));
	print_line(row, text);
}

static void print_places(struct row *row, const struct status *status,
			 const struct status_service *service)
{
	__u32 netns = view_netns(service->view);
	const char *name = status->view->plane.netns[netns];
	char text[2048] = "";
	const char *separator = "";

	for (unsigned int i = 0; i < status->attached_count; i++) {
		if (status->attached[i].info.state != ATTACH_OURS ||
		    strcmp(status->attached[i].netns, name))
			continue;
		append(text, sizeof(text), "%s%s %s XDP", separator, status->attached[i].name,
		       attached_mode(&status->attached[i].info));
		separator = ", ";
	}
	if (!*separator && view_is_open(status->view, netns))
		append(text, sizeof(text), "no XDP attached");
	separator = text[0] ? "; " : "";
	for (unsigned int i = 0; i < service->view->listeners; i++) {
		append(text, sizeof(text), "%s%s%s", separator, service->view->listener[i].text,
		       service->view->listener[i].dual ? " dual-stack" : "");
		separator = ", ";
	}
	if (*name)
		append(text, sizeof(text), "; network namespace %s", name);
	print_line(row, text);
}

static void print_cpu(struct row *row, const struct status_cpu *cpu)
{
	char text[256] = "";

	append(text, sizeof(text), "CPU %u: packets of %u worker%s are moved there, %s so far",
	       cpu->cpu, cpu->workers, cpu->workers == 1 ? "" : "s", NUMBER(cpu->count.sent));
	if (cpu->lost)
		append(text, sizeof(text),
		       ", of which %s were lost, because its queue (%u now) was full: raise "
		       "cpu_queue",
		       NUMBER(cpu->lost), cpu->queue);
	print_line(row, text);
}

static void print_device(struct row *row, const struct status_device *device)
{
	char text[256] = "";

	append(text, sizeof(text),
	       "device %s: packets of %u worker%s are sent there, %s so far, which nftables and "
	       "tcpdump here do not see",
	       *device->name ? device->name : "?", device->workers, device->workers == 1 ? "" : "s",
	       NUMBER(device->count.sent));
	if (*device->netns)
		append(text, sizeof(text), "; network namespace %s", device->netns);
	print_line(row, text);
}

static void print_nic(struct row *row, const struct status *status, const struct status_nic *nic)
{
	const struct view_service *service = view_service_by_id(status->view, nic->service);
	char text[256] = "";

	append(text, sizeof(text),
	       "AF_XDP on %s: sockets of %u worker%s of %s; nftables and tcpdump do not see what "
	       "goes there",
	       nic->name, nic->workers, nic->workers == 1 ? "" : "s",
	       service ? service->name : "?");
	if (*nic->netns)
		append(text, sizeof(text), "; network namespace %s", nic->netns);
	print_line(row, text);
}

static void status_print(const struct status *status)
{
	struct row row = { "", "", status->services ? 0 : strlen("cidsteer") };

	for (unsigned int i = 0; i < status->services; i++) {
		int len = strlen(status->service[i].view->name);

		row.width = len > row.width ? len : row.width;
	}
	for (unsigned int i = 0; i < status->services; i++) {
		const struct status_service *service = &status->service[i];

		row.name = service->view->name;
		row.word = words[service->findings.word];
		print_findings(&row, &service->findings);
		print_sums(&row, service);
		print_places(&row, status, service);
	}
	if (status->findings.count) {
		row.name = status->services ? "-" : "cidsteer";
		row.word = words[status->findings.word];
		print_findings(&row, &status->findings);
	}
	row.name = row.word = "";
	for (unsigned int i = 0; i < status->cpus; i++)
		print_cpu(&row, &status->cpu[i]);
	for (unsigned int i = 0; i < status->devices; i++)
		print_device(&row, &status->device[i]);
	for (unsigned int i = 0; i < status->nics; i++)
		print_nic(&row, status, &status->nic[i]);
	for (unsigned int i = 0; i < status->notes; i++)
		printf("note: %s\n", status->note[i].line);
}

json_t *findings_json(const struct findings *findings)
{
	json_t *list = json_array();

	for (unsigned int i = 0; i < findings->count; i++) {
		const struct finding *finding = &findings->list[i];

		json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "word",
						      words[finding->word], "reason",
						      finding->reason, "action", finding->action));
	}
	return list;
}

static json_t *service_json(const struct status *status, const struct status_service *service)
{
	const struct view_service *view = service->view;
	json_t *listeners = json_array();

	for (unsigned int i = 0; i < view->listeners; i++)
		json_array_append_new(listeners,
				      json_pack("{s:s, s:b}", "address", view->listener[i].text,
						"dual_stack", view->listener[i].dual));
	return json_pack("{s:s, s:s, s:s, s:{s:i, s:i, s:i, s:i}, s:I, s:I, s:I, s:I, s:I, s:I, "
			 "s:b, s:o, s:o}",
			 "name", view->name, "netns", status->view->plane.netns[view_netns(view)],
			 "word", words[service->findings.word], "workers", "waiting",
			 service->waiting, "active", service->active, "draining", service->draining,
			 "reaping", service->reaping, "routes", (json_int_t)service->routes,
			 "provisional", (json_int_t)service->usage.provisional, "max_cids",
			 (json_int_t)view->settings.max_cids, "refused",
			 (json_int_t)service->usage.refused, "path_changes",
			 (json_int_t)service->usage.path_changes, "strays",
			 (json_int_t)service->strays, "drops", view_drops(view), "listeners",
			 listeners, "findings", findings_json(&service->findings));
}

static json_t *cpu_json(const struct status_cpu *cpu)
{
	return json_pack("{s:i, s:i, s:i, s:I, s:I, s:I}", "cpu", cpu->cpu, "queue", cpu->queue,
			 "workers", cpu->workers, "sent", (json_int_t)cpu->count.sent, "arrived",
			 (json_int_t)cpu->count.arrived, "lost", (json_int_t)cpu->lost);
}

static json_t *device_json(const struct status_device *device)
{
	return json_pack("{s:s, s:o, s:b, s:i, s:I}", "netns", device->netns, "device",
			 *device->name ? json_string(device->name) : json_null(), "there",
			 device->there, "workers", device->workers, "sent",
			 (json_int_t)device->count.sent);
}

static json_t *nic_json(const struct status *status, const struct status_nic *nic)
{
	const struct view_service *service = view_service_by_id(status->view, nic->service);
	json_t *covered = json_array();

	for (unsigned int queue = 0; queue < CS_MAX_QUEUES; queue++) {
		if (nic->covered[queue])
			json_array_append_new(covered, json_integer(queue));
	}
	return json_pack("{s:s, s:s, s:s, s:i, s:o, s:o}", "netns", nic->netns, "interface",
			 nic->name, "service", service ? service->name : "?", "workers",
			 nic->workers, "queues",
			 nic->queues ? json_integer(nic->queues) : json_null(), "covered", covered);
}

static json_t *status_json(const struct status *status)
{
	json_t *services = json_array(), *interfaces = json_array(), *notes = json_array();
	json_t *cpus = json_array(), *devices = json_array(), *xsks = json_array();

	for (unsigned int i = 0; i < status->services; i++)
		json_array_append_new(services, service_json(status, &status->service[i]));
	for (unsigned int i = 0; i < status->attached_count; i++)
		json_array_append_new(interfaces, attached_json(status->attached[i].netns,
								status->attached[i].name,
								&status->attached[i].info));
	for (unsigned int i = 0; i < status->notes; i++)
		json_array_append_new(notes, json_string(status->note[i].line));
	for (unsigned int i = 0; i < status->cpus; i++)
		json_array_append_new(cpus, cpu_json(&status->cpu[i]));
	for (unsigned int i = 0; i < status->devices; i++)
		json_array_append_new(devices, device_json(&status->device[i]));
	for (unsigned int i = 0; i < status->nics; i++)
		json_array_append_new(xsks, nic_json(status, &status->nic[i]));
	return json_pack(
		"{s:s, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "word", words[status->word],
		"lease_seconds",
		(json_int_t)(status->view ? (status->view->lease_ns + 999999999) / 1000000000 : 0),
		"services", services, "interfaces", interfaces, "cpus", cpus, "devices", devices,
		"xsks", xsks, "findings", findings_json(&status->findings), "notes", notes);
}

int status_report(const char *dir, json_t **json, struct error *error)
{
	struct status *status __attribute__((cleanup(status_free))) = calloc(1, sizeof(*status));
	int err = status ? status_read(status, dir, error) :
			   error_set(error, -ENOMEM, "out of memory");

	if (err)
		return err;
	if (json)
		*json = status_json(status);
	else
		status_print(status);
	return 0;
}

int cmd_status(const struct args *args)
{
	struct status *status __attribute__((cleanup(status_free))) = calloc(1, sizeof(*status));
	struct error error;

	if (!status)
		return fail(args, "out of memory");
	if (status_read(status, args->dir, &error))
		return fail(args, "%s", error.line);
	if (!args->json)
		status_print(status);
	else if (json_print(status_json(status)))
		return fail(args, "out of memory");
	return exit_codes[status->word];
}

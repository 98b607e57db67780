// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which QUIC-LB configurations a service has, and how its own format lies.  Keys are read with
 * them, and wiped: nothing here prints one.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/output.h"
#include "cli/view.h"
#include "common/cleanup.h"
#include "dataplane/lb.h"

struct shown {
	const char *how; /* NULL: there is no such configuration */
	__u8 at;	 /* first octet of the server ID */
	__u8 server_id_len, nonce_len, host_len;
	__u8 cid_len; /* 0: each tells its length */
	bool active;
	__u8 host[16];
	unsigned int other_hosts, in_use, resting, elsewhere;
	struct cs_hits hits;
};

/* By configuration, or CS_BY_EXTRACTOR. */
struct listing {
	struct shown shown[CS_MAX_SERVICES][CS_CONFIGS];
};

/* ---- what is in the maps ----------------------------------------------------------------------
 */

static const char *name_algorithm(const struct cs_lb *lb)
{
	switch (lb->algorithm) {
	case CS_LB_PLAIN:
		return "plain";
	case CS_LB_SINGLE:
		return "single pass";
	case CS_LB_FOUR:
		return lb->last_pass == 2 ? "three passes" : "four passes";
	}
	return "?";
}

static int read_config(const struct view *view, const struct view_service *service, __u32 id,
		       struct shown *shown)
{
	struct cs_lb lb;
	int err = lb_find(&view->plane, service->id, id, &lb);

	if (!err)
		*shown = (struct shown){
			.how = name_algorithm(&lb),
			.at = 1,
			.server_id_len = lb.server_id_len,
			.nonce_len = lb.nonce_len,
			.host_len = lb.host_len,
			.cid_len = service->settings.lb_len[id],
			.active = service->settings.lb_active == 1 + id,
		};
	explicit_bzero(&lb, sizeof(lb));
	return err ? err : lb_hits(&view->plane, service->id, id, &shown->hits);
}

static int read_extractor(const struct view *view, const struct view_service *service,
			  struct shown *shown)
{
	*shown = (struct shown){
		.how = "worker_key",
		.at = service->settings.key_at,
		.server_id_len = service->settings.key_len,
		.cid_len = service->settings.cid_len,
		.active = true,
	};
	return lb_hits(&view->plane, service->id, CS_BY_EXTRACTOR, &shown->hits);
}

static int read_service(const struct view *view, const struct view_service *service,
			struct shown shown[CS_CONFIGS])
{
	int err = 0;

	for (__u32 id = 0; id < CS_LB_CONFIGS && !err; id++) {
		if (service->settings.lb_configs >> id & 1)
			err = read_config(view, service, id, &shown[id]);
	}
	if (!err && service->settings.key_len)
		err = read_extractor(view, service, &shown[CS_BY_EXTRACTOR]);
	return err;
}

static int count_server(const struct cs_server_key *key, const struct cs_server *server, void *arg)
{
	struct listing *listing = arg;
	bool elsewhere = server->flags & CS_SERVER_ELSEWHERE;
	struct shown *shown;

	if (key->service >= CS_MAX_SERVICES || key->config >= CS_CONFIGS)
		return 0;
	shown = &listing->shown[key->service][key->config];
	if (key->host && elsewhere)
		shown->other_hosts++;
	else if (key->host)
		memcpy(shown->host, key->id, sizeof(shown->host));
	else if (elsewhere)
		shown->elsewhere++;
	else if (server->worker)
		shown->in_use++;
	else
		shown->resting++;
	return 0;
}

static int read_listing(const struct view *view, struct listing *listing)
{
	int err = 0;

	for (unsigned int i = 0; i < view->services && !err; i++) {
		const struct view_service *service = &view->service[i];

		err = read_service(view, service, listing->shown[service->id]);
	}
	return err ? err : lb_each_server(&view->plane, count_server, listing);
}

/* ---- printing ---------------------------------------------------------------------------------
 */

static const char *const heads[] = {
	"SERVICE", "ID",     "HOW",	"OCTETS",    "LENGTH", "HOST",	  "OTHERS",
	"ACTIVE",  "IN USE", "RESTING", "ELSEWHERE", "KNOWN",  "OPENING",
};
#define COLUMNS (sizeof(heads) / sizeof(heads[0]))
#define RIGHT (1u << 1 | 1u << 4 | 1u << 6 | 1u << 8 | 1u << 9 | 1u << 10 | 1u << 11 | 1u << 12)

/* Both hooks count what XDP passes: there were so many packets at least. */
static __u64 most(const __u64 hook[CS_HOOKS])
{
	return hook[CS_HOOK_XDP] > hook[CS_HOOK_REUSEPORT] ? hook[CS_HOOK_XDP] :
							     hook[CS_HOOK_REUSEPORT];
}

static void add_row(struct table *table, const char *service, __u32 id, const struct shown *shown)
{
	char text[32];

	table_add(table, service);
	snprintf(text, sizeof(text), id == CS_BY_EXTRACTOR ? "-" : "%u", id);
	table_add(table, text);
	table_add(table, shown->how);
	if (id == CS_BY_EXTRACTOR)
		snprintf(text, sizeof(text), "%u at %u", shown->server_id_len, shown->at);
	else
		snprintf(text, sizeof(text), "%u+%u", shown->server_id_len, shown->nonce_len);
	table_add(table, text);
	snprintf(text, sizeof(text), shown->cid_len ? "%u" : "tells", shown->cid_len);
	table_add(table, text);
	table_add(table, shown->host_len ? HEX(shown->host, shown->host_len) : "-");
	table_add(table, NUMBER(shown->other_hosts));
	table_add(table, shown->active ? "yes" : "-");
	table_add(table, NUMBER(shown->in_use));
	table_add(table, NUMBER(shown->resting));
	table_add(table, NUMBER(shown->elsewhere));
	table_add(table, NUMBER(most(shown->hits.known)));
	table_add(table, NUMBER(most(shown->hits.opening)));
}

static json_t *hooks_json(const __u64 hook[CS_HOOKS])
{
	return json_pack("{s:I, s:I}", "xdp", (json_int_t)hook[CS_HOOK_XDP], "reuseport",
			 (json_int_t)hook[CS_HOOK_REUSEPORT]);
}

static json_t *shown_json(const char *service, __u32 id, const struct shown *shown)
{
	bool is_lb = id != CS_BY_EXTRACTOR;

	return json_pack("{s:s, s:o, s:s, s:i, s:i, s:o, s:o, s:o, s:i, s:b, s:{s:i, s:i, s:i}, "
			 "s:o, s:o}",
			 "service", service, "id", is_lb ? json_integer(id) : json_null(), "how",
			 shown->how, "at", shown->at, "server_id_length", shown->server_id_len,
			 "nonce_length", is_lb ? json_integer(shown->nonce_len) : json_null(),
			 "cid_length", shown->cid_len ? json_integer(shown->cid_len) : json_null(),
			 "host",
			 shown->host_len ? json_string(HEX(shown->host, shown->host_len)) :
					   json_null(),
			 "other_hosts", shown->other_hosts, "active", shown->active, "server_ids",
			 "in_use", shown->in_use, "resting", shown->resting, "elsewhere",
			 shown->elsewhere, "known", hooks_json(shown->hits.known), "opening",
			 hooks_json(shown->hits.opening));
}

/* Of one service, or of all; into one of both. */
static void list(const struct view *view, const struct view_service *only,
		 const struct listing *listing, struct table *table, json_t *json)
{
	for (unsigned int i = 0; i < view->services; i++) {
		const struct view_service *service = &view->service[i];

		if (only && only != service)
			continue;
		for (__u32 id = 0; id < CS_CONFIGS; id++) {
			const struct shown *shown = &listing->shown[service->id][id];

			if (!shown->how)
				continue;
			if (json)
				json_array_append_new(json, shown_json(service->name, id, shown));
			else
				add_row(table, service->name, id, shown);
		}
	}
}

static int print(const struct view *view, const struct view_service *only,
		 const struct listing *listing)
{
	struct table table = { .columns = COLUMNS, .right = RIGHT };

	for (size_t i = 0; i < COLUMNS; i++)
		table_add(&table, heads[i]);
	list(view, only, listing, &table, NULL);
	return table_print(&table);
}

static int print_json(const struct view *view, const struct view_service *only,
		      const struct listing *listing)
{
	json_t *json = json_array();

	list(view, only, listing, NULL, json);
	return json_print(json_pack("{s:o}", "configs", json));
}

int cmd_config(const struct args *args)
{
	_cleanup_free_ struct listing *listing = calloc(1, sizeof(*listing));
	const struct view_service *only = NULL;
	_cleanup_view_ struct view *view = NULL;
	struct error error;
	int err;

	if (!listing)
		return fail(args, "out of memory");
	if (view_open(&view, args->dir, &error))
		return fail(args, "%s", error.line);
	if (args->operands && !(only = view_service_by_name(view, args->operand[0])))
		return fail(args, "there is no service %s", args->operand[0]);
	err = read_listing(view, listing);
	if (err)
		return fail(args, "reading the configurations: %s", strerror(-err));
	err = args->json ? print_json(view, only, listing) : print(view, only, listing);
	return err ? fail(args, "out of memory") : CLI_DONE;
}

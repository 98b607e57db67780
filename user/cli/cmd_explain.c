// SPDX-License-Identifier: GPL-2.0-only
/* Runs the loaded decide() over the live maps: cs_explain, which counts nothing. */
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/frame.h"
#include "cli/output.h"
#include "cli/view.h"
#include "core/quic.h"

static const struct {
	const char *name, *text;
} reasons[CS_COUNTERS] = {
#define CS_COUNTER(name, group, text) [CS_C_##name] = { #name, text },
#include "core/counters.def"
#undef CS_COUNTER
};

/* A verdict, and the names of what is in it. */
struct explanation {
	struct cs_verdict verdict;
	const char *service;  /* NULL: none */
	const char *listener; /* address; NULL: none */
	const char *version;  /* NULL: a short header, or none that was read */
	char version_text[24];
	bool has_socket; /* the worker, at the listener */
};

static const char *const types[] = {
	[CS_TYPE_INITIAL] = "Initial",
	[CS_TYPE_0RTT] = "0-RTT",
	[CS_TYPE_HANDSHAKE] = "Handshake",
	[CS_TYPE_RETRY] = "Retry",
};

static int run(const struct plane *plane, const struct frame *frame, struct cs_verdict *verdict,
	       struct error *error)
{
	__u8 out[FRAME_MAX + sizeof(*verdict)];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame->byte, .data_size_in = frame->len,
		    .data_out = out, .data_size_out = sizeof(out), .repeat = 1);
	int err = bpf_prog_test_run_opts(plane->explain, &opts);

	if (err)
		return error_set(error, err, "running cs_explain: %s", strerror(-err));
	if (opts.retval != XDP_PASS || opts.data_size_out < sizeof(*verdict))
		return error_set(error, -EPROTO, "cs_explain gave no verdict (result %u)",
				 opts.retval);
	memcpy(verdict, out, sizeof(*verdict));
	if (verdict->reason >= CS_COUNTERS || verdict->type > CS_TYPE_RETRY ||
	    verdict->dcid_len > CS_MAX_CID || verdict->worker >= CS_MAX_WORKERS)
		return error_set(error, -EPROTO,
				 "cs_explain's verdict makes no sense: it is of "
				 "another version");
	return 0;
}

static const char *name_version(__u32 version, char text[24])
{
	if (version == CS_QUIC_V1)
		return "QUIC v1";
	if (version == CS_QUIC_V2)
		return "QUIC v2";
	if (!version)
		return "Version Negotiation";
	snprintf(text, 24, "version 0x%08x", version);
	return text;
}

static void name_parts(const struct view *view, struct explanation *ex)
{
	const struct cs_verdict *verdict = &ex->verdict;
	const struct view_service *service = view_service_by_id(view, verdict->service);
	__u32 slot = view->worker[verdict->worker].index + verdict->position;
	__u64 cookie;

	if (verdict->form == CS_FORM_LONG)
		ex->version = name_version(verdict->version, ex->version_text);
	if (!service)
		return;
	ex->service = service->name;
	for (unsigned int i = 0; i < service->listeners; i++) {
		if (service->listener[i].id == verdict->listener)
			ex->listener = service->listener[i].text;
	}
	ex->has_socket = verdict->worker &&
			 !bpf_map_lookup_elem(view->plane.map[PLANE_SOCKETS], &slot, &cookie);
}

static void print_address(const struct explanation *ex)
{
	__u32 reason = ex->verdict.reason;

	if (reason == CS_C_fragment || reason == CS_C_not_ours)
		printf("%s\n", reasons[reason].text);
	else
		printf("not a fragment; UDP to %s, service %s\n",
		       ex->listener ? ex->listener : "an address that is gone",
		       ex->service ? ex->service : "that is gone");
}

/* A service without connection IDs, or a payload that is cut, leaves nothing to print. */
static void print_header(const struct explanation *ex)
{
	const struct cs_verdict *verdict = &ex->verdict;

	if (verdict->reason == CS_C_malformed) {
		printf("%s\n", reasons[CS_C_malformed].text);
		return;
	}
	if (verdict->form == CS_FORM_LONG)
		printf("long header, %s%s%s", ex->version, verdict->type ? ", " : "",
		       verdict->type ? types[verdict->type] : "");
	else if (verdict->dcid_len)
		printf("short header");
	else
		printf("the service's connection IDs are empty");
	if (verdict->dcid_len)
		printf(", DCID %s (%u)\n", HEX(verdict->dcid, verdict->dcid_len),
		       verdict->dcid_len);
	else
		printf("%s\n", verdict->form == CS_FORM_LONG ? ", empty DCID" : "");
}

static void print_route(const struct explanation *ex)
{
	const struct cs_verdict *verdict = &ex->verdict;

	if (!verdict->dcid_len)
		return;
	if (!verdict->routed)
		printf("not in the table");
	else
		printf("in the table: worker %u%s", verdict->routed,
		       verdict->routed == verdict->worker ? "" : ", which is gone");
	printf("%s\n", verdict->reason == CS_C_by_ring ? "; it opens a connection" : "");
}

static void print_result(const struct explanation *ex)
{
	const struct cs_verdict *verdict = &ex->verdict;

	printf("reason %s; XDP passes", reasons[verdict->reason].name);
	if (verdict->reason == CS_C_fragment || verdict->reason == CS_C_not_ours)
		printf("\n");
	else if (!verdict->worker)
		printf(", the kernel's own hash picks the socket\n");
	else if (!ex->has_socket)
		printf(", worker %u has no socket there: the kernel's own hash picks one\n",
		       verdict->worker);
	else
		printf(", socket of worker %u%s\n", verdict->worker,
		       verdict->state == CS_WORKER_DRAINING ? ", which is draining" : "");
}

static void explanation_print(const struct explanation *ex)
{
	print_address(ex);
	if (ex->verdict.reason != CS_C_fragment && ex->verdict.reason != CS_C_not_ours &&
	    ex->verdict.reason != CS_C_no_service) {
		print_header(ex);
		print_route(ex);
	}
	print_result(ex);
}

static json_t *explanation_json(const struct explanation *ex)
{
	const struct cs_verdict *verdict = &ex->verdict;
	json_t *json = json_pack("{s:s, s:s, s:s?, s:s?, s:i}", "reason",
				 reasons[verdict->reason].name, "meaning",
				 reasons[verdict->reason].text, "service", ex->service, "listener",
				 ex->listener, "worker", verdict->worker);

	if (!json || !verdict->service)
		return json;
	json_object_set_new(json, "table_worker", json_integer(verdict->routed));
	json_object_set_new(json, "has_socket", json_boolean(ex->has_socket));
	if (verdict->worker)
		json_object_set_new(json, "state", json_string(view_state(verdict->state)));
	if (verdict->dcid_len)
		json_object_set_new(json, "dcid",
				    json_string(HEX(verdict->dcid, verdict->dcid_len)));
	if (verdict->dcid_len || ex->version)
		json_object_set_new(json, "header", json_string(ex->version ? "long" : "short"));
	if (ex->version)
		json_object_set_new(json, "version", json_integer(verdict->version));
	if (verdict->type)
		json_object_set_new(json, "type", json_string(types[verdict->type]));
	return json;
}

static int parse(const struct args *args, struct frame *frame)
{
	if (!args->hex)
		return misuse(args, "the packet is missing: --hex PACKET");
	switch (frame_parse(args->hex, frame)) {
	case 0:
		return CLI_DONE;
	case -E2BIG:
		return misuse(args, "--hex: longer than %d bytes; the first 128 are enough",
			      FRAME_MAX - FRAME_MIN);
	case -ENODATA:
		return misuse(args, "--hex: shorter than an Ethernet header, %d bytes", FRAME_MIN);
	}
	return misuse(args, "--hex: not pairs of hex digits");
}

int cmd_explain(const struct args *args)
{
	_cleanup_view_ struct view *view = NULL;
	struct explanation ex = {};
	struct frame frame;
	struct error error;
	int result = parse(args, &frame);

	if (result)
		return result;
	if (view_open(&view, args->dir, &error) || run(&view->plane, &frame, &ex.verdict, &error))
		return fail(args, "%s", error.line);
	name_parts(view, &ex);
	if (!args->json)
		explanation_print(&ex);
	else if (json_print(explanation_json(&ex)))
		return fail(args, "out of memory");
	return CLI_DONE;
}

// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/capture.h"
#include "cli/cli.h"
#include "cli/explain.h"
#include "cli/output.h"
#include "core/quic.h"

static int check_options(const struct args *args)
{
	int sources = !!args->hex + !!args->pcap + !!args->cid;

	if (!sources)
		return misuse(args,
			      "the packet is missing: --hex PACKET, --pcap FILE or --cid CID");
	if (sources > 1)
		return misuse(args, "--hex, --pcap and --cid: only one of them");
	if (args->packet && !args->pcap)
		return misuse(args, "--packet is for --pcap");
	if (args->service && !args->cid)
		return misuse(args, "--service is for --cid");
	if (args->netns && args->cid)
		return misuse(args, "--netns is for --hex and --pcap: a service is in its own");
	return check_netns(args);
}

static int parse_number(const struct args *args, unsigned long *number)
{
	const char *text = args->packet ? args->packet : "1";
	char *end;

	errno = 0;
	*number = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || !*number)
		return misuse(args, "--packet: %s: not a number from 1 on", text);
	return CLI_DONE;
}

static int parse_hex(const struct args *args, struct frame *frame)
{
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

static int parse_cid(const struct args *args, struct cs_cid *cid)
{
	int len;

	memset(cid, 0, sizeof(*cid));
	len = hex_parse(args->cid, cid->byte, CS_MAX_CID);
	if (len < 1)
		return misuse(args, "--cid: %s: not a connection ID of 1 to %d bytes in hex",
			      args->cid, CS_MAX_CID);
	cid->len = len;
	return CLI_DONE;
}

/* @number: of the packet in --pcap's file; 0: it is not from a file. */
static int print_packet(const struct args *args, const struct explanation *ex,
			const struct explanation *behind, unsigned long number)
{
	json_t *json;

	if (!args->json) {
		explain_print(ex, behind);
		return CLI_DONE;
	}
	json = explain_json(ex, behind);
	if (number && json) {
		json_object_set_new(json, "file", json_string(args->pcap));
		json_object_set_new(json, "packet", json_integer(number));
	}
	return json_print(json) ? fail(args, "out of memory") : CLI_DONE;
}

static int explain_packet(const struct args *args, const struct frame *frame, unsigned long number)
{
	_cleanup_view_ struct view *view = NULL;
	struct explanation ex, behind;
	struct frame plain = {};
	struct error error;
	int err, netns = 0;

	if (view_open(&view, args->dir, &error))
		return fail(args, "%s", error.line);
	if (args->netns && (netns = view_find_netns(view, args->netns, &error)) < 0)
		return fail(args, "%s", error.line);
	err = explain_frame(view, netns, frame, &ex, &error);
	if (err == -ENODATA && number)
		return fail(args, "%s: packet %lu: %s", args->pcap, number, error.line);
	if (err)
		return fail(args, "%s", error.line);
	return print_packet(args, &ex, explain_behind(view, &ex, &plain, &behind) ? &behind : NULL,
			    number);
}

static int explain_hex(const struct args *args)
{
	struct frame frame = {};
	int result = parse_hex(args, &frame);

	return result ? result : explain_packet(args, &frame, 0);
}

static int explain_pcap(const struct args *args)
{
	struct frame frame = {};
	unsigned long number;
	struct error error;
	int result = parse_number(args, &number);

	if (result)
		return result;
	if (capture_read(args->pcap, number, &frame, &error))
		return fail(args, "%s", error.line);
	return explain_packet(args, &frame, number);
}

static int explain_id(const struct args *args)
{
	const struct view_service *only = NULL;
	_cleanup_view_ struct view *view = NULL;
	json_t *list = NULL;
	struct error error;
	struct cs_cid cid;
	int result = parse_cid(args, &cid);

	if (result)
		return result;
	if (view_open(&view, args->dir, &error))
		return fail(args, "%s", error.line);
	if (args->service) {
		only = view_service_by_name(view, args->service);
		if (!only)
			return fail(args, "there is no service %s", args->service);
	}
	if (args->json)
		list = json_array();
	if (explain_cid(view, only, &cid, list, &error)) {
		json_decref(list);
		return fail(args, "%s", error.line);
	}
	if (list &&
	    json_print(json_pack("{s:s, s:o}", "cid", HEX(cid.byte, cid.len), "services", list)))
		return fail(args, "out of memory");
	return CLI_DONE;
}

int cmd_explain(const struct args *args)
{
	int result = check_options(args);

	if (result)
		return result;
	if (args->hex)
		return explain_hex(args);
	return args->pcap ? explain_pcap(args) : explain_id(args);
}

// SPDX-License-Identifier: GPL-2.0-only
/* What would become of packets with a DCID: frames are made up, and the program is asked. */
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <stdio.h>
#include <string.h>

#include "cli/explain.h"
#include "cli/output.h"
#include "core/quic.h"
#include "dataplane/netns.h"

#define UDP_HEADER 8
#define REST 24 /* bytes behind the DCID, which nothing looks at */

static size_t make_payload(__u8 *payload, bool is_long, const struct cs_cid *cid)
{
	static const __u8 handshake[] = { 0xe0, 0, 0, 0, 1 }; /* RFC 9000, section 17.2.4 */
	size_t len = 0;

	if (is_long) {
		memcpy(payload, handshake, sizeof(handshake));
		len = sizeof(handshake);
		payload[len++] = cid->len;
	} else {
		payload[len++] = 0x40;
	}
	memcpy(payload + len, cid->byte, cid->len);
	return len + cid->len + REST;
}

/* A made-up packet to one address.  Returns what explain_frame() does. */
static int ask_at(struct view *view, const struct cs_addr *to, const __u8 *payload, size_t len,
		  struct frame *frame, struct explanation *ex, struct error *error)
{
	struct cs_addr from = *to;

	from.port = htons(1024);
	frame_plain(frame, &from, to, payload, len, UDP_HEADER + len);
	return explain_frame(view, to->netns, frame, ex, error);
}

static int get_addresses(void *addresses)
{
	return getifaddrs(addresses) ? -errno : 0;
}

/* Of a service's namespace. */
static int read_addresses(const struct view *view, __u32 netns, struct ifaddrs **addresses,
			  struct error *error)
{
	struct error why;
	int err;

	if (!view_is_open(view, netns))
		return error_set(error, -ENOENT,
				 "its network namespace cannot be looked into from here");
	err = netns_run(view->plane.netns[netns], get_addresses, addresses, &why);
	return err ? error_set(error, err, "its addresses: %s", strerror(-err)) : 0;
}

/*
 * To the listener's address; for a wildcard to each of its namespace's in turn until the
 * program says that one leads to it.
 */
static int ask(struct view *view, const struct view_listener *listener, bool is_long,
	       const struct cs_cid *cid, struct frame *frame, struct explanation *ex,
	       struct error *error)
{
	__u8 payload[CS_LONG_HEADER_DCID + CS_MAX_CID + REST] = {};
	size_t len = make_payload(payload, is_long, cid);
	struct ifaddrs *addresses = NULL;
	struct cs_addr to = listener->addr;
	int err = 0;

	ex->listener = NULL;
	if (!address_is_wildcard(&listener->addr))
		err = ask_at(view, &to, payload, len, frame, ex, error);
	else
		err = read_addresses(view, to.netns, &addresses, error);
	for (struct ifaddrs *at = addresses; at && !err && ex->listener != listener;
	     at = at->ifa_next) {
		if (!at->ifa_addr || address_from_socket(at->ifa_addr, &to))
			continue;
		to.port = listener->addr.port;
		to.netns = listener->addr.netns;
		err = ask_at(view, &to, payload, len, frame, ex, error);
	}
	if (addresses)
		freeifaddrs(addresses);
	if (!err && ex->listener != listener)
		err = error_set(error, -ENOENT, "no packet to an address of %s comes to %s",
				listener->addr.netns ? "its namespace" : "this host",
				listener->text);
	ex->any_client = true;
	ex->bucket = -1;
	return err;
}

static void print_no_short(const struct view_service *service, const struct cs_cid *cid)
{
	if (service->settings.cid_len)
		printf("no short header has it: this service reads %u bytes, and it has %u\n",
		       service->settings.cid_len, cid->len);
	else
		printf("no short header has it: this service's connection IDs are empty\n");
}

/* Asks about one kind of packet; prints, or adds to @json under @name. */
static int explain_form(struct view *view, const struct view_service *service, bool is_long,
			const struct cs_cid *cid, json_t *json, struct error *error)
{
	struct frame frame = {};
	struct explanation ex;
	int err;

	if (!is_long && service->settings.cid_len != cid->len) {
		if (json)
			json_object_set_new(json, "short", json_null());
		else
			print_no_short(service, cid);
		return 0;
	}
	err = ask(view, &service->listener[0], is_long, cid, &frame, &ex, error);
	if (err == -ENOENT) {
		/* What is wrong with one service is no reason to say nothing of the others. */
		if (json)
			json_object_set_new(json, "why", json_string(error->line));
		else
			puts(error->line);
		return 0;
	}
	if (err)
		return err;
	if (json)
		json_object_set_new(json, is_long ? "handshake" : "short",
				    explain_json_decision(&ex));
	else
		explain_print_decision(&ex);
	return 0;
}

static int explain_service(struct view *view, const struct view_service *service,
			   const struct cs_cid *cid, json_t *list, struct error *error)
{
	json_t *json = list ? json_pack("{s:s}", "service", service->name) : NULL;
	int err;

	if (list)
		json_array_append_new(list, json);
	/* Between the making of a service and that of its addresses. */
	if (!service->listeners) {
		if (!list)
			printf("service %s has no listener\n", service->name);
		return 0;
	}
	if (!list)
		explain_print_listener(service, &service->listener[0]);
	err = explain_form(view, service, false, cid, json, error);
	return err ? err : explain_form(view, service, true, cid, json, error);
}

int explain_cid(struct view *view, const struct view_service *only, const struct cs_cid *cid,
		json_t *list, struct error *error)
{
	for (unsigned int i = 0; i < view->services; i++) {
		struct error why;
		int err;

		if (only && only != &view->service[i])
			continue;
		err = explain_service(view, &view->service[i], cid, list, &why);
		if (err)
			return error_set(error, err, "%s: %s", view->service[i].name, why.line);
	}
	return 0;
}

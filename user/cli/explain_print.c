// SPDX-License-Identifier: GPL-2.0-only
/* The steps of a decision, for people and as JSON. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "cli/explain.h"
#include "cli/names.h"
#include "cli/output.h"

static const char *const fragments[] = {
	[FRAGMENT_NONE] = "not a fragment",
	[FRAGMENT_ATOMIC] = "whole in its fragment",
	[FRAGMENT_FIRST] = "first fragment",
	[FRAGMENT_LATER] = "later fragment",
};

/* ---- up to UDP ---------------------------------------------------------------------------------
 */
static const char *ip_text(const struct cs_addr *addr, int version, char text[ADDRESS_TEXT])
{
	const __u8 *ip = version == 4 ? addr->ip + 12 : addr->ip;

	if (!inet_ntop(version == 4 ? AF_INET : AF_INET6, ip, text, ADDRESS_TEXT))
		text[0] = '\0';
	return text;
}
#define IP(addr, version) ip_text(addr, version, (char[ADDRESS_TEXT]){})

/* Bytes of the frame on the wire from @at on. */
static size_t rest(const struct frame *frame, size_t at)
{
	return frame->whole > at ? frame->whole - at : 0;
}

/* A length in a header, and whether there was so much. */
static void print_length(size_t says, size_t there)
{
	printf(", %s bytes", NUMBER(says));
	if (says > there)
		printf(" of which %s are there", NUMBER(there));
}

static void print_link(const struct explanation *ex)
{
	const struct layers *layers = &ex->layers;
	const struct frame *frame = ex->frame;

	printf("%s", frame->link);
	for (unsigned int i = 0; i < layers->vlans && i < LAYERS_VLANS; i++)
		printf(", VLAN %u", layers->vlan[i]);
	if (layers->vlans > LAYERS_VLANS)
		printf(", %u more", layers->vlans - LAYERS_VLANS);
	printf("; %s bytes\n", NUMBER(frame->length));
	if (frame_is_cut(frame))
		printf("cut: %s of them are there; the rest is taken to have been there, as "
		       "long as the headers say\n",
		       NUMBER(frame->captured));
}

static void print_ip(const struct explanation *ex)
{
	const struct layers *layers = &ex->layers;
	const char *name = layers_protocol(layers->protocol);

	printf("IPv%d %s to %s", layers->ip, IP(&layers->from, layers->ip),
	       IP(&layers->to, layers->ip));
	if (layers->version != layers->ip)
		printf(", with %d in its version field", layers->version);
	if (layers->ip == 4 && layers->header_words < 5)
		printf(", with a header of %d bytes", layers->header_words * 4);
	for (unsigned int i = 0; i < layers->extensions && i < LAYERS_EXTENSIONS; i++)
		printf(", %s", layers_extension(layers->extension[i]));
	if (layers->extensions > LAYERS_EXTENSIONS)
		printf(", %u more", layers->extensions - LAYERS_EXTENSIONS);
	/* What a fragment is, the program has the last word on. */
	if (layers->fragment != FRAGMENT_NONE || ex->verdict.reason != CS_C_fragment)
		printf(", %s", fragments[layers->fragment]);
	if (layers->fragment == FRAGMENT_LATER)
		printf(", from byte %s on", NUMBER(layers->fragment_at));
	if (layers->protocol >= 0 && layers->protocol != IPPROTO_UDP && name)
		printf(", %s", name);
	else if (layers->protocol >= 0 && layers->protocol != IPPROTO_UDP)
		printf(", protocol %d", layers->protocol);
	print_length(layers->ip_len, rest(ex->frame, layers->ip_at));
	putchar('\n');
}

static void print_udp(const struct explanation *ex)
{
	const struct layers *layers = &ex->layers;
	size_t there = rest(ex->frame, layers->udp_at);

	printf("UDP port %u to %u", ntohs(layers->from.port), ntohs(layers->to.port));
	if (layers->udp_len < 8)
		printf(", length %u, which is less than its header\n", layers->udp_len);
	else {
		/* The rest of a first fragment comes in the others. */
		print_length(layers->udp_len,
			     layers->fragment == FRAGMENT_FIRST ? layers->udp_len : there);
		putchar('\n');
	}
}

static void print_layers(const struct explanation *ex)
{
	const struct layers *layers = &ex->layers;

	print_link(ex);
	if (layers->ip)
		print_ip(ex);
	else if (!layers->ended && layers->ether_type == FRAME_NO_IP)
		printf("neither IPv4 nor IPv6\n");
	else if (!layers->ended)
		printf("neither IPv4 nor IPv6: EtherType 0x%04x\n", layers->ether_type);
	if (layers->ended)
		printf("it ends inside its %s\n", layers->ended);
	if (layers->udp)
		print_udp(ex);
}

/* ---- the decision ------------------------------------------------------------------------------
 */
void explain_print_listener(const struct view_service *service,
			    const struct view_listener *listener)
{
	printf("listener %s", listener ? listener->text : "that is gone");
	if (listener)
		printf(", %s", address_is_wildcard(&listener->addr) ? "a wildcard" : "exact");
	printf(", of service %s\n", service ? service->name : "that is gone");
}

/* Without a header that could be read there are no connection IDs to look up. */
static bool is_read(const struct explanation *ex)
{
	return ex->verdict.form == CS_FORM_LONG || ex->verdict.dcid_len;
}

/* Of an empty short header's ID nothing is read, but it is one. */
static void print_unread(const struct explanation *ex)
{
	__u32 reason = ex->verdict.reason;

	if (reason == CS_C_no_worker)
		printf("without a connection ID that could be read\n");
	else if (reason == CS_C_by_tuple)
		printf("the service's connection IDs are empty\n");
	else
		printf("%s\n", counter_names[reason].text);
}

static void print_header(const struct explanation *ex)
{
	const struct cs_verdict *verdict = &ex->verdict;

	if (!is_read(ex)) {
		print_unread(ex);
		return;
	}
	if (verdict->form == CS_FORM_LONG)
		printf("long header, %s%s%s", ex->version, verdict->type ? ", " : "",
		       verdict->type ? packet_types[verdict->type] : "");
	else
		printf("short header");
	if (verdict->dcid_len)
		printf(", DCID %s (%u)\n", HEX(verdict->dcid, verdict->dcid_len),
		       verdict->dcid_len);
	else
		printf(", empty DCID\n");
	if (verdict->small)
		printf("%s\n", counter_names[CS_C_small_initial].text);
}

/* Of whom the server ID is that was found. */
static void print_server(const struct explanation *ex)
{
	const struct cs_verdict *verdict = &ex->verdict;

	if (verdict->config <= CS_LB_CONFIGS)
		printf("carries a server ID, by QUIC-LB configuration %u: ", verdict->config - 1u);
	else
		printf("carries a server's key: ");
	if (verdict->reason == CS_C_elsewhere)
		printf("another host's\n");
	else if (verdict->routed && verdict->routed == verdict->worker)
		printf("worker %u, %s\n", verdict->routed, view_state(verdict->state));
	else if (verdict->routed)
		printf("worker %u, which is %s\n", verdict->routed,
		       ex->routed_state ? ex->routed_state : "gone");
	else if (verdict->reason == CS_C_no_worker) /* which does not say whose it is */
		printf("no worker's\n");
	else
		printf("a worker that is gone\n");
}

static void print_table(const struct explanation *ex)
{
	const struct cs_verdict *verdict = &ex->verdict;

	if (!verdict->dcid_len)
		return;
	if (verdict->config && verdict->reason != CS_C_by_table)
		print_server(ex);
	else if (ex->service && !ex->service->settings.cid_len)
		printf("the service's connection IDs are empty\n");
	else if (!verdict->routed)
		printf("not in the table\n");
	else if (verdict->routed == verdict->worker)
		printf("in the table: worker %u, %s\n", verdict->routed,
		       view_state(verdict->state));
	else
		printf("in the table: worker %u, which is %s\n", verdict->routed,
		       ex->routed_state ? ex->routed_state : "gone");
}

/* Is the worker the ring's? */
static bool is_by_ring(const struct explanation *ex)
{
	return ex->verdict.worker && ex->verdict.worker != ex->verdict.routed;
}

static void print_ring(const struct explanation *ex)
{
	const struct cs_verdict *verdict = &ex->verdict;

	if (verdict->reason != CS_C_no_worker && !is_by_ring(ex)) {
		if (verdict->reason == CS_C_no_service)
			printf("%s\n", counter_names[verdict->reason].text);
		else if (!verdict->worker)
			printf("nobody is chosen: the policy is \"pass\"\n");
		return;
	}
	if (ex->any_client && verdict->worker) {
		printf("the ring's worker for the client's 4-tuple\n");
		return;
	}
	if (ex->bucket >= 0)
		printf("ring bucket %s of %s, of its %s: ", NUMBER(ex->bucket),
		       NUMBER(CS_RING_SIZE), ex->by_tuple ? "4-tuple" : "DCID");
	else
		printf("the ring: ");
	if (verdict->worker)
		printf("worker %u, %s\n", verdict->worker, view_state(verdict->state));
	else
		printf("no active worker\n");
}

/* What sk_reuseport does with it. */
static void print_socket(const struct explanation *ex)
{
	const struct cs_verdict *verdict = &ex->verdict;

	if (ex->any_client && is_by_ring(ex))
		printf("sk_reuseport picks that worker's socket\n");
	else if (!verdict->worker)
		printf("sk_reuseport leaves it to the kernel's own hash\n");
	else if (!ex->has_socket)
		printf("worker %u has no socket there: sk_reuseport leaves it to the kernel's own "
		       "hash\n",
		       verdict->worker);
	else
		printf("sk_reuseport picks the socket of worker %u\n", verdict->worker);
}

static void print_steps(const struct explanation *ex)
{
	if (ex->verdict.reason != CS_C_no_service)
		print_header(ex);
	print_table(ex);
	print_ring(ex);
}

/* What XDP does. */
static void print_reason(const struct explanation *ex)
{
	__u32 drop = ex->verdict.drop;

	printf("reason %s; XDP ", counter_names[ex->verdict.reason].name);
	if (ex->dropped)
		printf("drops it, as %s; without XDP", counter_names[drop].name);
	else if (drop)
		printf("would drop it, as %s, if it had the daemon's lease: it passes",
		       counter_names[drop].name);
	else if (ex->cpu >= 0)
		printf("moves it to CPU %d, if it comes in on another", ex->cpu);
	else if (*ex->device)
		printf("sends it to the device %s, if it is not too large for that", ex->device);
	else if (ex->xsk)
		printf("sends it to the AF_XDP socket of worker %u for the queue that it comes in "
		       "on; "
		       "if there is none, it %s",
		       ex->verdict.worker, ex->xsk_drops ? "drops it; without XDP" : "passes");
	else
		printf("passes");
}

void explain_print_decision(const struct explanation *ex)
{
	print_steps(ex);
	print_reason(ex);
	printf(", ");
	print_socket(ex);
}

void explain_print(const struct explanation *ex, const struct explanation *behind)
{
	print_layers(ex);
	if (ex->verdict.service) {
		explain_print_listener(ex->service, ex->listener);
		explain_print_decision(ex);
		return;
	}
	if (!behind) {
		printf("%s\n", counter_names[ex->verdict.reason].text);
		print_reason(ex);
		putchar('\n');
		return;
	}
	print_reason(ex);
	printf("; then, if the stack delivers it:\n");
	explain_print_listener(behind->service, behind->listener);
	print_steps(behind);
	printf("reason %s; ", counter_names[behind->verdict.reason].name);
	print_socket(behind);
}

/* ---- JSON --------------------------------------------------------------------------------------
 */
static void json_put_link(json_t *json, const struct explanation *ex)
{
	const struct layers *layers = &ex->layers;
	json_t *vlans = json_array();

	for (unsigned int i = 0; i < layers->vlans && i < LAYERS_VLANS; i++)
		json_array_append_new(vlans, json_integer(layers->vlan[i]));
	json_object_set_new(json, "link", json_string(ex->frame->link));
	json_object_set_new(json, "length", json_integer(ex->frame->length));
	json_object_set_new(json, "captured", json_integer(ex->frame->captured));
	json_object_set_new(json, "vlans", vlans);
	json_object_set_new(json, "ether_type", json_integer(layers->ether_type));
	if (layers->ended)
		json_object_set_new(json, "ends_inside", json_string(layers->ended));
}

static void json_put_layers(json_t *json, const struct explanation *ex)
{
	const struct layers *layers = &ex->layers;
	json_t *extensions = json_array();

	for (unsigned int i = 0; i < layers->extensions && i < LAYERS_EXTENSIONS; i++)
		json_array_append_new(extensions, json_integer(layers->extension[i]));
	json_object_set_new(json, "ip", json_integer(layers->ip));
	json_object_set_new(json, "source", json_string(IP(&layers->from, layers->ip)));
	json_object_set_new(json, "destination", json_string(IP(&layers->to, layers->ip)));
	json_object_set_new(json, "ip_length", json_integer(layers->ip_len));
	json_object_set_new(json, "extensions", extensions);
	json_object_set_new(json, "fragment", json_string(fragments[layers->fragment]));
	if (layers->protocol >= 0)
		json_object_set_new(json, "protocol", json_integer(layers->protocol));
	if (!layers->udp)
		return;
	json_object_set_new(json, "source_port", json_integer(ntohs(layers->from.port)));
	json_object_set_new(json, "destination_port", json_integer(ntohs(layers->to.port)));
	json_object_set_new(json, "udp_length", json_integer(layers->udp_len));
}

static void json_put_header(json_t *json, const struct explanation *ex)
{
	const struct cs_verdict *verdict = &ex->verdict;

	if (verdict->dcid_len)
		json_object_set_new(json, "dcid",
				    json_string(HEX(verdict->dcid, verdict->dcid_len)));
	if (is_read(ex)) {
		json_object_set_new(json, "dcid_length", json_integer(verdict->dcid_len));
		json_object_set_new(json, "header", json_string(ex->version ? "long" : "short"));
	}
	if (ex->version)
		json_object_set_new(json, "version", json_integer(verdict->version));
	if (verdict->type)
		json_object_set_new(json, "type", json_string(packet_types[verdict->type]));
}

static void json_put_ring(json_t *json, const struct explanation *ex)
{
	if (ex->bucket < 0)
		return;
	json_object_set_new(json, "ring_bucket", json_integer(ex->bucket));
	json_object_set_new(json, "ring_key", json_string(ex->by_tuple ? "4-tuple" : "dcid"));
}

static json_t *json_decision(const struct explanation *ex)
{
	const struct cs_verdict *verdict = &ex->verdict;
	bool of_nobody = ex->any_client && is_by_ring(ex);
	__u32 worker = of_nobody ? 0 : verdict->worker;
	json_t *json = json_pack("{s:s, s:s, s:s?, s:s?, s:i}", "reason",
				 counter_names[verdict->reason].name, "meaning",
				 counter_names[verdict->reason].text, "service",
				 ex->service ? ex->service->name : NULL, "listener",
				 ex->listener ? ex->listener->text : NULL, "worker", worker);

	if (!json || !verdict->service)
		return json;
	if (ex->listener)
		json_object_set_new(json, "match",
				    json_string(address_is_wildcard(&ex->listener->addr) ?
							"wildcard" :
							"exact"));
	if (verdict->drop)
		json_object_set_new(json, "drop", json_string(counter_names[verdict->drop].name));
	json_object_set_new(json, "small_initial", json_boolean(verdict->small));
	if (verdict->config && verdict->reason != CS_C_by_table) {
		json_object_set_new(json, "server_id_by", json_integer(verdict->config - 1));
		json_object_set_new(json, "server_worker", json_integer(verdict->routed));
	} else {
		json_object_set_new(json, "table_worker", json_integer(verdict->routed));
	}
	if (!of_nobody)
		json_object_set_new(json, "has_socket", json_boolean(ex->has_socket));
	if (worker)
		json_object_set_new(json, "state", json_string(view_state(verdict->state)));
	json_put_header(json, ex);
	json_put_ring(json, ex);
	json_object_set_new(json, "sk_reuseport",
			    json_string(of_nobody || (worker && ex->has_socket) ? "socket" :
										  "hash"));
	return json;
}

json_t *explain_json_decision(const struct explanation *ex)
{
	json_t *json = json_decision(ex);

	if (json)
		json_object_set_new(json, "xdp",
				    json_string(ex->dropped	       ? "drop" :
						ex->cpu >= 0	       ? "move" :
						*ex->device || ex->xsk ? "send" :
									 "pass"));
	if (json && !ex->dropped && ex->cpu >= 0)
		json_object_set_new(json, "cpu", json_integer(ex->cpu));
	if (json && !ex->dropped && ex->xsk)
		json_object_set_new(json, "xsk", json_true());
	if (json && !ex->dropped && *ex->device)
		json_object_set_new(json, "device", json_string(ex->device));
	return json;
}

json_t *explain_json(const struct explanation *ex, const struct explanation *behind)
{
	json_t *json = explain_json_decision(ex);

	if (!json)
		return NULL;
	json_put_link(json, ex);
	if (ex->layers.ip)
		json_put_layers(json, ex);
	if (behind)
		json_object_set_new(json, "behind", json_decision(behind));
	return json;
}

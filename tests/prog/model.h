/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A model of the routing that shares no line with include/core/ or bpf/: it reads the frame byte
 * by byte, keeps the routes as a list of whole connection IDs, and hashes with the reference.
 */
#ifndef CS_TEST_MODEL_H
#define CS_TEST_MODEL_H

#include <arpa/inet.h>
#include <string.h>

#include "../siphash_reference.h"
#include "fixture.h"

#define MODEL_SERVICES 16
#define MODEL_WORKERS 256

struct model_listener {
	__u8 ip[16];
	__u16 port, service, number;
	__u8 position;
};

struct model_route {
	__u16 service, worker;
	__u8 len;
	__u8 cid[CS_MAX_CID];
};

struct model {
	struct model_listener listener[32];
	unsigned int listeners;
	__u8 local[32][16]; /* addresses of this host */
	unsigned int locals;
	struct {
		bool used;
		__u8 cid_len, unknown_cid, malformed, not_quic, small_initial;
		__u8 key[16];
		__u16 ring[CS_RING_SIZE];
	} service[MODEL_SERVICES];
	struct {
		__u8 state;
		__u16 service;
		__u32 index;
	} worker[MODEL_WORKERS];
	struct model_route route[256];
	unsigned int routes;
};

/* A frame as the model reads it. */
struct model_packet {
	__u8 tuple[36];
	const __u8 *payload;
	size_t length; /* bytes of the payload */
	const struct model_listener *listener;
};

static inline __u32 model_number(const __u8 *from, int bytes)
{
	__u32 value = 0;

	while (bytes--)
		value = value << 8 | *from++;
	return value;
}

static inline void model_mapped(__u8 to[16], const __u8 from[4])
{
	memset(to, 0, 10);
	memset(to + 10, 0xff, 2);
	memcpy(to + 12, from, 4);
}

/* What lies behind headers that have been read. */
struct model_rest {
	const __u8 *at;
	size_t len;
};

static inline void model_skip(struct model_rest *rest, size_t bytes)
{
	rest->at += bytes;
	rest->len -= bytes;
}

static inline __u32 model_ipv4(struct model_rest *rest, __u8 tuple[36])
{
	const __u8 *ip = rest->at;
	size_t header, total;

	if (rest->len < 20 || ip[0] >> 4 != 4)
		return CS_C_not_ours;
	header = ip[0] % 16 * 4;
	total = model_number(ip + 2, 2);
	if (header < 20 || total < header || total > rest->len || ip[9] != 17)
		return CS_C_not_ours;
	if (model_number(ip + 6, 2) & 0x3fff)
		return CS_C_fragment;
	model_mapped(tuple, ip + 12);
	model_mapped(tuple + 16, ip + 16);
	rest->len = total;
	model_skip(rest, header);
	return CS_C_seen;
}

/* At most eight headers, each in the payload; hop-by-hop options come first or not at all. */
static inline __u32 model_extensions(struct model_rest *rest, __u8 next, const __u8 *frame)
{
	for (int i = 0; next != 17; i++) {
		const __u8 *header = rest->at;
		size_t len;

		if (i == 8 || rest->len < 8 || header + 8 > frame + 512)
			return CS_C_not_ours;
		len = next == 44 ? 8 : 8 * (header[1] + 1u);
		if (next != 44 && next != 60 && next != 43 && (next != 0 || i))
			return CS_C_not_ours;
		if (next == 43 && header[3])
			return CS_C_not_ours;
		if (next == 44 && model_number(header + 2, 2) & 0xfff9)
			return CS_C_fragment;
		if (len > rest->len)
			return CS_C_not_ours;
		next = header[0];
		model_skip(rest, len);
	}
	return CS_C_seen;
}

static inline __u32 model_ipv6(struct model_rest *rest, __u8 tuple[36], const __u8 *frame)
{
	const __u8 *ip = rest->at;
	size_t payload;

	if (rest->len < 40 || ip[0] >> 4 != 6)
		return CS_C_not_ours;
	payload = model_number(ip + 4, 2);
	if (!payload || payload > rest->len - 40)
		return CS_C_not_ours;
	memcpy(tuple, ip + 8, 32);
	rest->len = 40 + payload;
	model_skip(rest, 40);
	return model_extensions(rest, ip[6], frame);
}

/* Up to the UDP header.  Returns CS_C_seen, or why the packet is the stack's. */
static inline __u32 model_ip(const __u8 *frame, size_t len, struct model_rest *rest, __u8 tuple[36],
			     bool *ipv6)
{
	__u32 type = len < 14 ? 0 : model_number(frame + 12, 2);

	rest->at = frame;
	rest->len = len;
	if (len < 14)
		return CS_C_not_ours;
	model_skip(rest, 14);
	for (int tags = 0; tags < 2 && (type == 0x8100 || type == 0x88a8); tags++) {
		if (rest->len < 4)
			return CS_C_not_ours;
		type = model_number(rest->at + 2, 2);
		model_skip(rest, 4);
	}
	*ipv6 = type == 0x86dd;
	if (*ipv6)
		return model_ipv6(rest, tuple, frame);
	return type == 0x0800 ? model_ipv4(rest, tuple) : CS_C_not_ours;
}

static inline bool model_is_local(const struct model *model, const __u8 ip[16])
{
	for (unsigned int i = 0; i < model->locals; i++) {
		if (!memcmp(model->local[i], ip, 16))
			return true;
	}
	return false;
}

static inline const struct model_listener *model_find(const struct model *model, const __u8 ip[16],
						      __u16 port)
{
	const struct model_listener *wild = NULL;
	__u8 any[16] = { 0 };

	if (!memcmp(ip, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 12))
		memcpy(any, ip, 12);
	for (unsigned int i = 0; i < model->listeners; i++) {
		const struct model_listener *at = &model->listener[i];

		if (at->port == port && !memcmp(at->ip, ip, 16))
			return at;
		if (at->port == port && !memcmp(at->ip, any, 16))
			wild = at;
	}
	return model_is_local(model, ip) ? wild : NULL;
}

/* Reads a frame; returns CS_C_seen, or why it is the stack's. */
static inline __u32 model_read(const struct model *model, const __u8 *frame, size_t len,
			       struct model_packet *packet)
{
	struct model_rest rest;
	bool ipv6 = false;
	__u32 reason = model_ip(frame, len, &rest, packet->tuple, &ipv6);
	size_t udp;

	if (reason != CS_C_seen)
		return reason;
	if (rest.len < 8 || rest.at + 8 > frame + 512)
		return CS_C_not_ours;
	udp = model_number(rest.at + 4, 2);
	if (ipv6 && !udp)
		return CS_C_not_ours;
	memcpy(packet->tuple + 32, rest.at, 4);
	packet->payload = rest.at + 8;
	packet->length = udp < 8 || udp > rest.len ? 0 : udp - 8;
	packet->listener = model_find(model, packet->tuple + 16, model_number(rest.at + 2, 2));
	return packet->listener ? CS_C_seen : CS_C_not_ours;
}

static inline bool model_alive(const struct model *model, __u16 worker, __u16 service)
{
	return worker < MODEL_WORKERS && model->worker[worker].service == service &&
	       (model->worker[worker].state == CS_WORKER_WAITING ||
		model->worker[worker].state == CS_WORKER_ACTIVE ||
		model->worker[worker].state == CS_WORKER_DRAINING);
}

static inline void model_name(const struct model *model, __u16 worker, struct cs_verdict *verdict)
{
	verdict->worker = worker;
	verdict->state = model->worker[worker].state;
	verdict->index = model->worker[worker].index;
}

/* The ring's worker for some bytes: those of the DCID, or those of the 4-tuple. */
static inline __u16 model_ringed(const struct model *model, __u16 service, const void *bytes,
				 size_t len)
{
	__u64 hash = siphash_reference(1, 3, model->service[service].key, bytes, len);

	return model->service[service].ring[hash % CS_RING_SIZE];
}

static inline void model_ring(const struct model *model, const void *bytes, size_t len,
			      __u32 reason, struct cs_verdict *verdict)
{
	__u16 worker = model_ringed(model, verdict->service, bytes, len);

	verdict->reason = CS_C_no_worker;
	if (!worker || !model_alive(model, worker, verdict->service))
		return;
	verdict->reason = reason;
	model_name(model, worker, verdict);
}

/* Bytes of the DCID that count, or -1: malformed. */
static inline int model_quic(const struct model_packet *packet, __u8 cid_len,
			     struct cs_verdict *verdict)
{
	static const __u8 v1[4] = { CS_TYPE_INITIAL, CS_TYPE_0RTT, CS_TYPE_HANDSHAKE,
				    CS_TYPE_RETRY };
	static const __u8 v2[4] = { CS_TYPE_RETRY, CS_TYPE_INITIAL, CS_TYPE_0RTT,
				    CS_TYPE_HANDSHAKE };
	const __u8 *at = packet->payload;
	size_t len, kept;

	if (packet->length && at[0] < 0x80) {
		if (packet->length < 1u + cid_len)
			return -1;
		memcpy(verdict->dcid, at + 1, cid_len);
		return cid_len;
	}
	if (packet->length < 6)
		return -1;
	len = at[5];
	kept = len > 20 ? 20 : len;
	if (packet->length < 6 + len)
		return -1;
	verdict->version = model_number(at + 1, 4);
	verdict->type = verdict->version == 1	       ? v1[at[0] >> 4 & 3] :
			verdict->version == 0x6b3343cf ? v2[at[0] >> 4 & 3] :
							 CS_TYPE_NONE;
	if (len > 20 && verdict->type != CS_TYPE_NONE) {
		verdict->version = verdict->type = 0;
		return -1;
	}
	verdict->form = CS_FORM_LONG;
	memcpy(verdict->dcid, at + 6, kept);
	return kept;
}

static inline __u16 model_route(const struct model *model, const struct cs_verdict *verdict)
{
	for (unsigned int i = 0; i < model->routes; i++) {
		const struct model_route *route = &model->route[i];

		if (route->service == verdict->service && route->len == verdict->dcid_len &&
		    !memcmp(route->cid, verdict->dcid, route->len))
			return route->worker;
	}
	return 0;
}

/* A packet without a route: by a policy, with the 4-tuple in the ring. */
static inline void model_policy(const struct model *model, const struct model_packet *packet,
				__u8 policy, __u32 reason, __u32 dropped,
				struct cs_verdict *verdict)
{
	verdict->reason = reason;
	if (policy == CS_POLICY_PASS)
		return;
	model_ring(model, packet->tuple, 36, reason, verdict);
	if (policy == CS_POLICY_DROP && verdict->worker)
		verdict->drop = dropped;
}

static inline void model_route_it(const struct model *model, const struct model_packet *packet,
				  struct cs_verdict *verdict)
{
	__u8 policy = model->service[verdict->service].unknown_cid;

	if (!model->service[verdict->service].cid_len || !verdict->dcid_len) {
		model_ring(model, packet->tuple, 36, CS_C_by_tuple, verdict);
		return;
	}
	verdict->routed = model_route(model, verdict);
	if (verdict->routed && model_alive(model, verdict->routed, verdict->service)) {
		verdict->reason = CS_C_by_table;
		model_name(model, verdict->routed, verdict);
		return;
	}
	if (verdict->form == CS_FORM_LONG && verdict->type <= CS_TYPE_0RTT)
		model_ring(model, verdict->dcid, verdict->dcid_len,
			   verdict->routed ? CS_C_dead_worker : CS_C_by_ring, verdict);
	else
		model_policy(model, packet, policy,
			     verdict->routed ? CS_C_dead_worker : CS_C_unknown_cid,
			     CS_C_dropped_unknown, verdict);
}

static inline void model_decide(const struct model *model, const struct model_packet *packet,
				struct cs_verdict *verdict)
{
	__u16 service = packet->listener->service;
	int len;

	verdict->service = service;
	verdict->listener = packet->listener->number;
	verdict->position = packet->listener->position;
	verdict->reason = CS_C_no_service;
	if (!model->service[service].used)
		return;
	if (model->service[service].not_quic != CS_POLICY_QUIC && packet->length &&
	    !(packet->payload[0] & 0x40)) {
		model_policy(model, packet, model->service[service].not_quic, CS_C_not_quic,
			     CS_C_dropped_not_quic, verdict);
		return;
	}
	len = model_quic(packet, model->service[service].cid_len, verdict);
	if (len < 0) {
		model_policy(model, packet, model->service[service].malformed, CS_C_malformed,
			     CS_C_dropped_malformed, verdict);
		return;
	}
	verdict->dcid_len = len;
	verdict->small = verdict->type == CS_TYPE_INITIAL && packet->length < 1200;
	model_route_it(model, packet, verdict);
	if (verdict->small && model->service[service].small_initial == CS_POLICY_DROP &&
	    verdict->worker)
		verdict->drop = CS_C_dropped_initial;
}

static inline struct cs_verdict model_verdict(const struct model *model, const __u8 *frame,
					      size_t len)
{
	struct cs_verdict verdict = {};
	struct model_packet packet = {};

	verdict.reason = model_read(model, frame, len, &packet);
	if (verdict.reason == CS_C_seen)
		model_decide(model, &packet, &verdict);
	return verdict;
}

#endif

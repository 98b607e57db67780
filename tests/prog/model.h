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
	struct {
		bool used;
		__u8 cid_len;
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
	size_t there;  /* bytes of the payload in the frame */
	size_t length; /* bytes of the payload that UDP announces */
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

/* Offset of the UDP header with both addresses read; 0 with *@reason: the packet is the stack's. */
static inline size_t model_ip(const __u8 *frame, size_t len, __u8 tuple[36], __u32 *reason)
{
	__u32 type = len < 14 ? 0 : model_number(frame + 12, 2);
	size_t header;

	*reason = CS_C_not_ours;
	if (type == 0x0800) {
		header = len < 34 ? 0 : (frame[14] & 15) * 4u;
		if (header < 20 || frame[23] != 17)
			return 0;
		*reason = CS_C_fragment;
		if (model_number(frame + 20, 2) & 0x3fff)
			return 0;
		model_mapped(tuple, frame + 26);
		model_mapped(tuple + 16, frame + 30);
		return 14 + header;
	}
	if (type != 0x86dd || len < 54)
		return 0;
	*reason = frame[20] == 44 ? CS_C_fragment : CS_C_not_ours;
	memcpy(tuple, frame + 22, 32);
	return frame[20] == 17 ? 54 : 0;
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
	return wild;
}

/* Reads a frame; returns CS_C_seen, or why it is the stack's. */
static inline __u32 model_read(const struct model *model, const __u8 *frame, size_t len,
			       struct model_packet *packet)
{
	__u32 reason;
	size_t udp = model_ip(frame, len, packet->tuple, &reason);

	if (!udp)
		return reason;
	if (len < udp + 8 || model_number(frame + udp + 4, 2) < 8)
		return CS_C_not_ours;
	memcpy(packet->tuple + 32, frame + udp, 4);
	packet->payload = frame + udp + 8;
	packet->there = len - udp - 8;
	packet->length = model_number(frame + udp + 4, 2) - 8;
	packet->listener = model_find(model, packet->tuple + 16, model_number(frame + udp + 2, 2));
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
	size_t usable = packet->there < packet->length ? packet->there : packet->length;
	size_t len, kept;

	if (usable && at[0] < 0x80) {
		if (usable < 1u + cid_len)
			return -1;
		memcpy(verdict->dcid, at + 1, cid_len);
		return cid_len;
	}
	if (usable < 6)
		return -1;
	len = at[5];
	kept = len > 20 ? 20 : len;
	/* UDP says how long the payload is; only what counts must be in the frame. */
	if (packet->length < 6 + len || packet->there < 6 + kept)
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

static inline void model_decide(const struct model *model, const struct model_packet *packet,
				struct cs_verdict *verdict)
{
	__u16 service = packet->listener->service;
	__u8 cid_len = model->service[service].cid_len;
	int len;

	verdict->service = service;
	verdict->listener = packet->listener->number;
	verdict->position = packet->listener->position;
	verdict->reason = CS_C_no_service;
	if (!model->service[service].used)
		return;
	len = cid_len ? model_quic(packet, cid_len, verdict) : 0;
	if (len <= 0) {
		model_ring(model, packet->tuple, 36, len ? CS_C_malformed : CS_C_by_tuple, verdict);
		return;
	}
	verdict->dcid_len = len;
	verdict->routed = model_route(model, verdict);
	if (verdict->routed && model_alive(model, verdict->routed, service)) {
		verdict->reason = CS_C_by_table;
		model_name(model, verdict->routed, verdict);
		return;
	}
	if (verdict->form == CS_FORM_LONG && verdict->type <= CS_TYPE_0RTT)
		model_ring(model, verdict->dcid, len,
			   verdict->routed ? CS_C_dead_worker : CS_C_by_ring, verdict);
	else
		model_ring(model, packet->tuple, 36,
			   verdict->routed ? CS_C_dead_worker : CS_C_unknown_cid, verdict);
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

// SPDX-License-Identifier: GPL-2.0-only
/*
 * The verdict does not say which bucket of the ring it is from.  So the same cs_decide() is asked
 * here once more about the same packet, over maps that answer as they must have answered the
 * program; it comes to one question for a bucket.  If what that bucket holds is not what the
 * program found, because the ring has changed meanwhile, or the loaded program is another, then
 * the bucket is not known.
 */
#include <bpf/bpf.h>

#include "cli/explain.h"
#include "core/decide.h"

#define UDP_HEADER 8

struct cs_packet {
	const struct layers *layers;
	__u8 head[CS_HEAD_BYTES]; /* of its payload */
	__u32 length;
};

static struct {
	const struct view *view;
	int bucket;
	bool by_tuple;
} asked;

CS_INLINE const struct cs_service *cs_map_service(__u32 id)
{
	const struct view_service *service = view_service_by_id(asked.view, id);

	return service ? &service->settings : NULL;
}

CS_INLINE const struct cs_worker *cs_map_worker(__u32 id)
{
	return id < CS_MAX_WORKERS ? &asked.view->worker[id] : NULL;
}

CS_INLINE __u32 cs_map_route(__u32 service, __u64 tag)
{
	(void)service;
	(void)tag;
	return 0; /* nobody asks for a bucket who has a route */
}

CS_INLINE __u32 cs_map_server(__u32 service, const struct cs_cid *cid)
{
	(void)service;
	(void)cid;
	return CS_ID_UNKNOWN; /* nor who has a server ID */
}

CS_INLINE __u32 cs_map_ring(__u32 service, __u32 bucket)
{
	struct cs_ring ring;

	asked.bucket = bucket;
	if (bpf_map_lookup_elem(asked.view->plane.map[PLANE_RING], &service, &ring))
		return 0;
	return ring.worker[bucket];
}

CS_INLINE void cs_packet_tuple(const struct cs_packet *packet, struct cs_tuple *tuple)
{
	const struct layers *layers = packet->layers;

	asked.by_tuple = true;
	__builtin_memcpy(tuple->saddr, layers->from.ip, 16);
	__builtin_memcpy(tuple->daddr, layers->to.ip, 16);
	tuple->sport = layers->from.port;
	tuple->dport = layers->to.port;
}

CS_INLINE int cs_packet_quic(const struct cs_packet *packet, const struct cs_service *service,
			     struct cs_quic *quic)
{
	return cs_quic_parse(packet->head, packet->length, service, quic);
}

/* Of its payload what the program reads.  A UDP length that is above what IP leaves is none. */
static void read_payload(const struct explanation *ex, struct cs_packet *packet)
{
	const struct layers *layers = &ex->layers;
	size_t at = layers->udp_at + UDP_HEADER, there;

	there = ex->frame->len > at ? ex->frame->len - at : 0;
	packet->layers = layers;
	if (layers->udp_len >= UDP_HEADER &&
	    layers->ip_at + layers->ip_len >= layers->udp_at + layers->udp_len)
		packet->length = layers->udp_len - UDP_HEADER;
	__builtin_memcpy(packet->head, ex->frame->byte + at,
			 there < CS_HEAD_BYTES ? there : CS_HEAD_BYTES);
}

void explain_bucket(const struct view *view, struct explanation *ex)
{
	const struct cs_verdict *verdict = &ex->verdict;
	struct cs_listener listener = { .service = verdict->service };
	const struct layers *layers = &ex->layers;
	struct cs_packet packet = {};
	struct cs_verdict here;

	if (!ex->service || !layers->udp || (verdict->worker && verdict->worker == verdict->routed))
		return;
	asked.view = view;
	asked.bucket = -1;
	asked.by_tuple = false;
	read_payload(ex, &packet);
	cs_decide(&packet, &listener, &here);
	if (here.worker != verdict->worker || here.form != verdict->form ||
	    here.dcid_len != verdict->dcid_len)
		return;
	ex->bucket = asked.bucket;
	ex->by_tuple = asked.by_tuple;
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * cs_decide(): which worker a packet belongs to, and why.
 *
 * Pure: it reads the packet and the maps and writes nothing but its answer.  Both hooks, the
 * command's `explain` and the tests call this function, so they agree on every packet.
 *
 * Who includes this header defines the seven functions declared first, over maps or over a
 * test's memory.
 *
 * struct cs_packet is the includer's own: this code only hands it on.  A 4-tuple is asked for
 * only when it is needed, because at sk_reuseport it costs a call to read the IP header.
 *
 * docs/packets.md has the same in words.
 */
#ifndef CS_DECIDE_H
#define CS_DECIDE_H

#include <stddef.h>
#include "core/abi.h"
#include "core/cid_table.h"
#include "core/quic.h"
#include "core/ring.h"

/* Addresses as in struct cs_addr, ports in network order. */
struct cs_tuple {
	union {
		struct {
			__u8 saddr[16];
			__u8 daddr[16];
			__be16 sport;
			__be16 dport;
			__u32 pad; /* must be zero */
		};
		__u64 word[5];
	};
};

struct cs_packet;

CS_INLINE const struct cs_service *cs_map_service(__u32 service);
CS_INLINE const struct cs_worker *cs_map_worker(__u32 worker);
/* Worker that the service's table names for a tag, or that its ring names; 0: none. */
CS_INLINE __u32 cs_map_route(__u32 service, __u64 tag);
CS_INLINE __u32 cs_map_ring(__u32 service, __u32 bucket);
/* What is known of the server ID that a CID carries, CS_ID_*, and below it a worker, or nobody. */
CS_INLINE __u32 cs_map_server(__u32 service, const struct cs_cid *cid);
CS_INLINE void cs_packet_tuple(const struct cs_packet *packet, struct cs_tuple *tuple);
/* cs_quic_parse() of the packet's payload. */
CS_INLINE int cs_packet_quic(const struct cs_packet *packet, const struct cs_service *service,
			     struct cs_quic *quic);

#define CS_ID_UNKNOWN 0		 /* it carries none, or one that nobody has */
#define CS_ID_HERE 0x10000u	 /* a worker's, or one that had been */
#define CS_ID_ELSEWHERE 0x20000u /* another host's */
#define CS_ID_WORKER(id) ((id)&0x7fffu)

/*
 * A function of its own in the programs: what comes before it and behind it is then looked at by
 * the verifier as often as there are ways to it, what is in it once.  It has to look at pointers
 * that nobody hands over, therefore NULL.
 */
#ifdef __bpf__
#define CS_CALL __attribute__((noinline))
#else
#define CS_CALL CS_INLINE
#endif

CS_INLINE __u64 cs_tuple_hash(const __u64 key[2], const struct cs_tuple *tuple)
{
	__u64 v[4];

	cs_siphash_init(v, key);
	for (int i = 0; i < 4; i++)
		cs_siphash_word(v, tuple->word[i]);
	cs_siphash_word(v, tuple->word[4] | 36ULL << 56);
	return cs_siphash_final(v);
}

CS_CALL __u64 cs_hash_tuple(const struct cs_service *service, const struct cs_tuple *tuple)
{
	return service && tuple ? cs_tuple_hash(service->key, tuple) : 0;
}

CS_CALL __u64 cs_hash_dcid(const struct cs_service *service, const struct cs_quic *quic)
{
	return service && quic ? cs_cid_hash(service->key, &quic->dcid) : 0;
}

CS_INLINE void cs_decide_worker(struct cs_verdict *verdict, __u32 id,
				const struct cs_worker *worker, __u32 reason)
{
	verdict->reason = reason;
	verdict->worker = id;
	verdict->state = worker->state;
	verdict->index = worker->index;
	verdict->target = worker->target;
}

/* Sends to the ring's worker for @hash, or, without an active worker, to nobody. */
CS_INLINE void cs_decide_ring(struct cs_verdict *verdict, __u64 hash, __u32 reason)
{
	__u32 id = cs_map_ring(verdict->service, cs_ring_bucket(hash));
	const struct cs_worker *worker = id ? cs_map_worker(id) : NULL;

	verdict->reason = CS_C_no_worker;
	if (!worker || worker->service != verdict->service)
		return;
	/* The ring is renewed before a worker is declared dead; this covers the moment between
	 * reading one and the other.
	 */
	if (cs_worker_serves(worker->state))
		cs_decide_worker(verdict, id, worker, reason);
}

/* The worker that a route or a server ID names, if it is there to be sent to. */
CS_INLINE const struct cs_worker *cs_routed_worker(const struct cs_verdict *verdict)
{
	const struct cs_worker *worker = verdict->routed ? cs_map_worker(verdict->routed) : NULL;

	if (!worker)
		return NULL;
	/* A worker of another service: nobody but a hostile writer of this table puts that. */
	if (worker->service != verdict->service)
		return NULL;
	return cs_worker_serves(worker->state) ? worker : NULL;
}

/* A route that was issued.  Returns whether its worker is there to be sent to. */
CS_INLINE int cs_decide_route(struct cs_verdict *verdict, __u64 hash)
{
	const struct cs_worker *worker;

	verdict->routed = cs_map_route(verdict->service, cs_tag(hash));
	worker = cs_routed_worker(verdict);
	if (!worker)
		return 0;
	cs_decide_worker(verdict, verdict->routed, worker, CS_C_by_table);
	return 1;
}

/* Client's first flight: Initial, 0-RTT, any long header of a version that is not known. */
CS_INLINE int cs_opens_connection(const struct cs_quic *quic)
{
	if (quic->form != CS_FORM_LONG)
		return 0;
	return quic->type == CS_TYPE_INITIAL || quic->type == CS_TYPE_0RTT ||
	       quic->type == CS_TYPE_NONE;
}

/* What is to be done without a route. */
struct cs_fallback {
	__u32 reason;
	__u32 dropped;	/* reason of CS_POLICY_DROP */
	__u8 policy;	/* CS_POLICY_* */
	__u8 by_dcid;	/* the ring is asked by @hash, not by the 4-tuple */
	__u8 gone;	/* there was a route, or a server ID, of a worker that is not there */
	__u8 elsewhere; /* the DCID carries the server ID of another host */
	__u64 hash;	/* of the DCID */
};

/* Who has no DCID that could be looked up. */
CS_INLINE int cs_decide_early(const struct cs_service *service, const struct cs_quic *quic,
			      int malformed, struct cs_fallback *fallback)
{
	/* RFC 9443: STUN, DTLS, RTP share the port.  An empty payload is nobody's. */
	if (service->not_quic != CS_POLICY_QUIC && quic->length && !(quic->first & CS_FIXED_BIT)) {
		fallback->reason = CS_C_not_quic;
		fallback->dropped = CS_C_dropped_not_quic;
		fallback->policy = service->not_quic;
		return 1;
	}
	if (malformed) {
		fallback->reason = CS_C_malformed;
		fallback->dropped = CS_C_dropped_malformed;
		fallback->policy = service->malformed;
		return 1;
	}
	fallback->policy = CS_POLICY_HASH;
	fallback->reason = CS_C_by_tuple;
	return 0;
}

/* Tells what was read of the header. */
CS_INLINE void cs_decide_header(const struct cs_service *service, const struct cs_quic *quic,
				struct cs_verdict *verdict)
{
	verdict->form = quic->form;
	verdict->type = quic->type;
	verdict->version = quic->version;
	verdict->dcid_len = quic->dcid.len;
	__builtin_memcpy(verdict->dcid, quic->dcid.byte, CS_MAX_CID);
	if (quic->type != CS_TYPE_INITIAL || quic->length >= CS_INITIAL_DATAGRAM)
		return;
	verdict->small = 1;
	if (service->small_initial == CS_POLICY_DROP)
		verdict->drop = CS_C_dropped_initial;
}

/* May the DCID carry a server ID?  Most services have none: one look at a byte says so. */
CS_INLINE int cs_carries_server(const struct cs_service *service, const struct cs_cid *dcid)
{
	return service->lb_configs >> (dcid->byte[0] >> 5) & 1 || service->key_len;
}

/*
 * By the server ID that the DCID carries.  A client's first DCID may carry one by chance: then it
 * does so in each packet of that connection, until the server's own comes.  Returns whether its
 * worker is there to be sent to.
 */
CS_INLINE int cs_decide_server(const struct cs_service *service, const struct cs_quic *quic,
			       struct cs_verdict *verdict, struct cs_fallback *fallback)
{
	const struct cs_worker *worker;
	__u32 found, reason = CS_C_by_server_id;

	if (!cs_carries_server(service, &quic->dcid))
		return 0;
	found = cs_map_server(verdict->service, &quic->dcid);
	if (found == CS_ID_UNKNOWN)
		return 0;
	verdict->config = 1 + (service->key_len ? CS_BY_EXTRACTOR : quic->dcid.byte[0] >> 5);
	if (found & CS_ID_ELSEWHERE) {
		fallback->elsewhere = 1;
		return 0;
	}
	fallback->gone = 1;
	verdict->routed = CS_ID_WORKER(found);
	worker = cs_routed_worker(verdict);
	if (!worker)
		return 0;
	if (cs_opens_connection(quic))
		reason = worker->state == CS_WORKER_DRAINING ? CS_C_opens_by_draining :
							       CS_C_opens_by_server_id;
	cs_decide_worker(verdict, verdict->routed, worker, reason);
	return 1;
}

/*
 * By server ID and table.  A short header's DCID was made by a server: the first three bits say
 * whether a route can be in the table.  In a long header a route that was issued goes before an ID
 * that may carry what it does by chance.
 */
CS_INLINE int cs_decide_known(const struct cs_service *service, const struct cs_quic *quic,
			      struct cs_verdict *verdict, struct cs_fallback *fallback)
{
	int server_first = quic->form == CS_FORM_SHORT && !service->key_len;

	if (server_first && cs_decide_server(service, quic, verdict, fallback))
		return 1;
	fallback->hash = cs_hash_dcid(service, quic);
	if (!fallback->gone && cs_decide_route(verdict, fallback->hash))
		return 1;
	if (verdict->routed)
		fallback->gone = 1;
	return !server_first && !fallback->gone &&
	       cs_decide_server(service, quic, verdict, fallback);
}

/* By the DCID.  Returns whether that says it all; if not, what else is in @fallback. */
CS_INLINE int cs_decide_cid(const struct cs_service *service, const struct cs_quic *quic,
			    struct cs_verdict *verdict, struct cs_fallback *fallback)
{
	/* Nothing in such a service's packets says more than their 4-tuple. */
	if (!service->cid_len || !quic->dcid.len)
		return 0;
	if (cs_decide_known(service, quic, verdict, fallback))
		return 1;
	/* Keyed by the DCID that the client chose: its retransmissions and the second half of
	 * its ClientHello come to the same worker, also from another address.
	 */
	if (cs_opens_connection(quic)) {
		fallback->by_dcid = 1;
		fallback->reason = CS_C_by_ring;
	} else {
		fallback->policy = service->unknown_cid;
		fallback->dropped = CS_C_dropped_unknown;
		fallback->reason = CS_C_unknown_cid;
	}
	if (fallback->gone)
		fallback->reason = CS_C_dead_worker;
	else if (fallback->elsewhere)
		fallback->reason = CS_C_elsewhere;
	return 0;
}

/*
 * cs_decide - route one packet
 * @packet:	handed to cs_packet_tuple() and cs_packet_quic()
 * @listener:	what it came to
 * @verdict:	the answer; all of it is written
 */
CS_INLINE void cs_decide(const struct cs_packet *packet, const struct cs_listener *listener,
			 struct cs_verdict *verdict)
{
	const struct cs_service *service = cs_map_service(listener->service);
	struct cs_fallback fallback = {};
	struct cs_tuple tuple = {};
	struct cs_quic quic = {};
	int malformed;

	__builtin_memset(verdict, 0, sizeof(*verdict));
	verdict->service = listener->service;
	verdict->listener = listener->listener;
	verdict->position = listener->position;
	/* Between the removal of a service and that of its addresses. */
	if (!service || !service->used) {
		verdict->reason = CS_C_no_service;
		return;
	}
	malformed = cs_packet_quic(packet, service, &quic);
	if (!cs_decide_early(service, &quic, malformed, &fallback)) {
		cs_decide_header(service, &quic, verdict);
		if (cs_decide_cid(service, &quic, verdict, &fallback))
			return;
	}
	if (fallback.policy == CS_POLICY_PASS) {
		verdict->reason = fallback.reason;
		return;
	}
	if (!fallback.by_dcid) {
		cs_packet_tuple(packet, &tuple);
		fallback.hash = cs_hash_tuple(service, &tuple);
	}
	cs_decide_ring(verdict, fallback.hash, fallback.reason);
	/* With nobody registered the packets may be those of a server that is not steered. */
	if (verdict->reason == CS_C_no_worker)
		verdict->drop = 0;
	else if (fallback.policy == CS_POLICY_DROP)
		verdict->drop = fallback.dropped;
}

#endif

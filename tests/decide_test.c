// SPDX-License-Identifier: GPL-2.0-only
/*
 * cs_decide() over maps in memory that it cannot write: each way to each verdict, the whole verdict
 * compared.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "core/decide.h"
#include "law.h"
#include "siphash_reference.h"

#define SERVICES 5
#define BUCKETS 64

/* Services.  BARE has no connection IDs, GONE is not in use, NOWHERE has no value in the map. */
enum {
	H3 = 1,
	BARE = 2,
	GONE = 3,
	OTHER = 4,
	NOWHERE = 200
};

/* Workers; NEVER has no value in the map. */
enum {
	NOBODY,
	ACTIVE,
	DRAINING,
	DEAD,
	UNUSED,
	FOREIGN,
	BY_DCID,
	BY_TUPLE,
	REST,
	WORKERS,
	NEVER
};

/* All that the functions below read, in pages of its own; @seen is the same, not to be written. */
static struct maps {
	struct cs_service service[SERVICES];
	struct cs_worker worker[WORKERS];
	struct cs_bucket table[SERVICES][BUCKETS];
	struct cs_ring ring[SERVICES];
	__u32 server[SERVICES]; /* what is known of the ID in any CID */
} * maps;
static const struct maps *seen;

struct cs_packet {
	struct cs_tuple tuple;
	const __u8 *payload;
	__u32 length;
	__u32 *asked;
};

CS_INLINE const struct cs_service *cs_map_service(__u32 service)
{
	return service < SERVICES ? &seen->service[service] : NULL;
}

CS_INLINE const struct cs_worker *cs_map_worker(__u32 worker)
{
	return worker < WORKERS ? &seen->worker[worker] : NULL;
}

CS_INLINE __u32 cs_map_route(__u32 service, __u64 tag)
{
	struct cs_table table = { (struct cs_bucket *)seen->table[service], BUCKETS - 1 };

	return cs_table_find(&table, tag);
}

CS_INLINE __u32 cs_map_ring(__u32 service, __u32 bucket)
{
	return seen->ring[service].worker[bucket];
}

CS_INLINE __u32 cs_map_server(__u32 service, const struct cs_cid *cid)
{
	(void)cid;
	return seen->server[service];
}

CS_INLINE void cs_packet_tuple(const struct cs_packet *packet, struct cs_tuple *tuple)
{
	++*packet->asked;
	*tuple = packet->tuple;
}

/* Behind the payload lies what is not 0. */
CS_INLINE int cs_packet_quic(const struct cs_packet *packet, const struct cs_service *service,
			     struct cs_quic *quic)
{
	__u8 head[CS_HEAD_BYTES];

	memset(head, 0xee, sizeof(head));
	memcpy(head, packet->payload,
	       packet->length < sizeof(head) ? packet->length : sizeof(head));
	return cs_quic_parse(head, packet->length, service, quic);
}

static void maps_make(void)
{
	static const __u8 state[WORKERS] = {
		[ACTIVE] = CS_WORKER_ACTIVE,   [DRAINING] = CS_WORKER_DRAINING,
		[DEAD] = CS_WORKER_DEAD,       [UNUSED] = CS_WORKER_NONE,
		[FOREIGN] = CS_WORKER_ACTIVE,  [BY_DCID] = CS_WORKER_ACTIVE,
		[BY_TUPLE] = CS_WORKER_ACTIVE, [REST] = CS_WORKER_ACTIVE,
	};

	int fd = memfd_create("maps", MFD_CLOEXEC);

	cr_assert_eq(ftruncate(fd, sizeof(*maps)), 0);
	maps = mmap(NULL, sizeof(*maps), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	seen = mmap(NULL, sizeof(*seen), PROT_READ, MAP_SHARED, fd, 0);
	cr_assert(maps != MAP_FAILED && seen != MAP_FAILED);
	close(fd);
	for (int i = 1; i < SERVICES; i++) {
		maps->service[i].used = i != GONE;
		maps->service[i].not_quic = CS_POLICY_QUIC;
		maps->service[i].cid_len = i == BARE ? 0 : 8;
		maps->service[i].key[0] = 0x0102030405060708 * i;
		maps->service[i].key[1] = 0xf1f2f3f4f5f6f7f8 + i;
		for (int bucket = 0; bucket < CS_RING_SIZE; bucket++)
			maps->ring[i].worker[bucket] = REST;
	}
	for (int i = 1; i < WORKERS; i++) {
		maps->worker[i].state = state[i];
		maps->worker[i].service = i == FOREIGN ? OTHER : H3;
	}
	bound_time(30);
}

TestSuite(decide, .init = maps_make);

/* Says how often the 4-tuple was asked for. */
static struct cs_verdict decide(__u16 service, const struct cs_tuple *tuple, const void *byte,
				size_t size, __u32 *asked)
{
	const struct cs_listener listener = { service, 77, 5, CS_LISTENER_ALIAS, 0 };
	const struct cs_packet packet = { *tuple, byte, size, asked };
	struct cs_verdict verdict;

	*asked = 0;
	memset(&verdict, 0xee, sizeof(verdict));
	cs_decide(&packet, &listener, &verdict);
	return verdict;
}

static void same_verdict(const struct cs_verdict *got, const struct cs_verdict *expected,
			 const char *what)
{
	cr_assert_eq(got->reason, expected->reason, "%s: reason %u instead of %u", what,
		     got->reason, expected->reason);
	cr_assert_eq(got->worker, expected->worker, "%s: worker %u instead of %u", what,
		     got->worker, expected->worker);
	cr_assert_arr_eq(got, expected, sizeof(*got), "%s: another verdict", what);
}

static __u64 reference_hash(__u16 service, const void *byte, size_t size)
{
	return siphash_reference(1, 3, (const __u8 *)maps->service[service].key, byte, size);
}

static __u16 *ring_of(__u16 service, const void *byte, size_t size)
{
	return &maps->ring[service].worker[reference_hash(service, byte, size) % CS_RING_SIZE];
}

static void route(__u16 service, const void *dcid, size_t len, __u16 worker)
{
	struct cs_table table = { maps->table[service], BUCKETS - 1 };

	memset(maps->table[service], 0, sizeof(maps->table[service]));
	if (worker)
		check(!cs_table_insert(&table, reference_hash(service, dcid, len) >> 16, worker,
				       CS_BUCKET_ROUTES),
		      "insert");
}

static const struct cs_tuple tuple_one = {
	.saddr = { 0x20, 0x01, 0x0d, 0xb8, [15] = 1 },
	.daddr = { 0x20, 0x01, 0x0d, 0xb8, [15] = 2 },
	.sport = 0x3412,
	.dport = 0xbb01,
};
#define TUPLE_BYTES 36

static const __u8 dcid_one[CS_MAX_CID] = { 0xd0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 };

/* A packet that can be built, and what is expected of its head. */
struct kind {
	const char *name;
	__u8 first;
	__u32 version;
	__u8 len;
	__u8 form;
	__u8 type;
	__u8 opens; /* a connection */
};

#define LONG CS_FORM_LONG
#define SHORT CS_FORM_SHORT
static const struct kind kinds[] = {
	{ "v1 Initial", 0xc3, CS_QUIC_V1, 8, LONG, CS_TYPE_INITIAL, 1 },
	{ "v1 0-RTT", 0xd0, CS_QUIC_V1, 8, LONG, CS_TYPE_0RTT, 1 },
	{ "v1 Handshake", 0xe0, CS_QUIC_V1, 8, LONG, CS_TYPE_HANDSHAKE, 0 },
	{ "v1 Retry", 0xf0, CS_QUIC_V1, 8, LONG, CS_TYPE_RETRY, 0 },
	{ "v2 Initial", 0xd0, CS_QUIC_V2, 20, LONG, CS_TYPE_INITIAL, 1 },
	{ "v2 0-RTT", 0xe0, CS_QUIC_V2, 20, LONG, CS_TYPE_0RTT, 1 },
	{ "v2 Handshake", 0xf0, CS_QUIC_V2, 20, LONG, CS_TYPE_HANDSHAKE, 0 },
	{ "v2 Retry", 0xc0, CS_QUIC_V2, 1, LONG, CS_TYPE_RETRY, 0 },
	{ "greased version", 0xe0, 0x1a2a3a4a, 11, LONG, CS_TYPE_NONE, 1 },
	{ "version negotiation", 0x80, 0, 8, LONG, CS_TYPE_NONE, 1 },
	{ "Initial, fixed bit 0", 0x80, CS_QUIC_V1, 8, LONG, CS_TYPE_INITIAL, 1 },
	{ "short header", 0x40, 0, 8, SHORT, CS_TYPE_NONE, 0 },
	{ "short, fixed bit 0", 0x3f, 0, 8, SHORT, CS_TYPE_NONE, 0 },
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static size_t build(const struct kind *kind, __u8 len, __u8 packet[64])
{
	size_t at = CS_SHORT_HEADER_DCID;

	memset(packet, 0x99, 64);
	packet[0] = kind->first;
	if (kind->form == CS_FORM_LONG) {
		for (int i = 0; i < 4; i++)
			packet[1 + i] = kind->version >> (24 - 8 * i);
		packet[5] = len;
		at = CS_LONG_HEADER_DCID;
	}
	memcpy(packet + at, dcid_one, len);
	return 64;
}

/* The part of the verdict that the packet alone decides. */
static struct cs_verdict verdict_of(const struct kind *kind, __u8 len)
{
	struct cs_verdict verdict;

	memset(&verdict, 0, sizeof(verdict));
	verdict.service = H3;
	verdict.listener = 77;
	verdict.position = 5;
	verdict.version = kind->version;
	verdict.form = kind->form;
	verdict.type = kind->type;
	verdict.dcid_len = len;
	memcpy(verdict.dcid, dcid_one, len);
	verdict.small = kind->type == CS_TYPE_INITIAL; /* build() makes 64 bytes */
	return verdict;
}

static void sent_to(struct cs_verdict *verdict, __u32 reason, __u16 worker)
{
	verdict->reason = worker ? reason : CS_C_no_worker;
	verdict->worker = worker;
	verdict->state = worker ? maps->worker[worker].state : 0;
}

static int is_there(__u16 worker)
{
	return worker == ACTIVE || worker == DRAINING;
}

/* What is known of the DCID: a worker in the table, CS_ID_* of the server ID. */
struct known {
	__u16 routed;
	__u32 server;
};

static int carries_server(__u16 service, const __u8 *dcid)
{
	return maps->service[service].key_len ||
	       (maps->service[service].lb_configs & 1 << dcid[0] / 32);
}

/*
 * Which of both counts: the server ID first in a short header, the table first in a long one and
 * where there is an extractor.  Returns the reason if the worker is there; @expected is told who
 * that would be.
 */
static __u32 known_reason(const struct kind *kind, const struct known *known,
			  struct cs_verdict *expected, int *gone)
{
	int server_first = kind->form == SHORT && !maps->service[H3].key_len;
	int here = carries_server(H3, dcid_one) && known->server & CS_ID_HERE;
	__u16 server = known->server & 0x7fff;

	*gone = 0;
	if (known->routed && !(server_first && here)) {
		expected->routed = known->routed;
		*gone = !is_there(known->routed);
	} else if (here) {
		expected->routed = server;
		*gone = !is_there(server);
	}
	if (carries_server(H3, dcid_one) && known->server && (server_first || !known->routed))
		expected->config = maps->service[H3].key_len ? 8 : 1 + dcid_one[0] / 32;
	if (*gone)
		return CS_C_dead_worker;
	if (known->routed && !(server_first && here))
		return CS_C_by_table;
	if (!here)
		return 0;
	if (!kind->opens)
		return CS_C_by_server_id;
	return server == DRAINING ? CS_C_opens_by_draining : CS_C_opens_by_server_id;
}

/*
 * One kind of packet, with what is @known and @ringed in the ring's bucket that counts.  The bucket
 * that does not count names another worker.
 */
static void check_case(const struct kind *kind, const struct known *known, __u16 ringed)
{
	struct cs_verdict expected = verdict_of(kind, kind->len), got;
	__u16 *by_dcid = ring_of(H3, dcid_one, kind->len);
	__u16 *by_tuple = ring_of(H3, &tuple_one, TUPLE_BYTES);
	__u32 asked, reason;
	char what[128];
	__u8 packet[64];
	size_t size = build(kind, kind->len, packet);
	int gone, sent;

	route(H3, dcid_one, kind->len, known->routed);
	maps->server[H3] = known->server;
	*by_dcid = kind->opens ? ringed : BY_DCID;
	*by_tuple = kind->opens ? BY_TUPLE : ringed;
	reason = known_reason(kind, known, &expected, &gone);
	sent = reason && !gone;
	if (!reason)
		reason = expected.config ? CS_C_elsewhere :
			 kind->opens	 ? CS_C_by_ring :
					   CS_C_unknown_cid;
	sent_to(&expected, reason, sent ? expected.routed : is_there(ringed) ? ringed : 0);
	got = decide(H3, &tuple_one, packet, size, &asked);
	snprintf(what, sizeof(what), "%s, table: %u, server ID: %x, ring: %u", kind->name,
		 known->routed, known->server, ringed);
	same_verdict(&got, &expected, what);
	/* sk_reuseport pays for the question. */
	cr_assert_eq(asked, !sent && !kind->opens, "%s: tuple asked %u times", what, asked);
	*by_dcid = *by_tuple = REST;
}

static const __u16 anybody[] = { NOBODY, ACTIVE, DRAINING, DEAD, UNUSED, FOREIGN, NEVER };
#define ANYBODY (sizeof(anybody) / sizeof(anybody[0]))

static void check_cases(__u32 server)
{
	for (size_t i = 0; i < KINDS; i++) {
		for (size_t j = 0; j < ANYBODY; j++) {
			for (size_t k = 0; k < ANYBODY; k++)
				check_case(&kinds[i], &(struct known){ anybody[j], server },
					   anybody[k]);
		}
	}
}

static void check_servers(void)
{
	check_cases(CS_ID_UNKNOWN);
	check_cases(CS_ID_ELSEWHERE);
	for (size_t i = 0; i < ANYBODY; i++)
		check_cases(CS_ID_HERE | anybody[i]);
}

/* by_table, by_ring, unknown_cid, dead_worker and no_worker, each by every way to it. */
Test(decide, the_table_is_asked_first_then_the_ring_by_dcid_or_tuple)
{
	check_cases(CS_ID_UNKNOWN);
}

/* Each way to by_server_id, opens_by_server_id, opens_by_draining and elsewhere. */
Test(decide, a_server_id_comes_before_the_table_in_a_short_header_and_behind_it_in_a_long_one)
{
	struct cs_service *service = &maps->service[H3];

	service->lb_configs = 1 << dcid_one[0] / 32;
	service->lb_len[dcid_one[0] / 32] = 8;
	check_servers();
}

Test(decide, an_id_of_no_configuration_is_not_decoded)
{
	maps->service[H3].lb_configs = 0x7f & ~(1 << dcid_one[0] / 32);
	check_servers();
}

Test(decide, the_table_comes_before_an_extractor)
{
	maps->service[H3].key_at = 1;
	maps->service[H3].key_len = 7;
	check_servers();
}

/* A route of the empty ID in the table changes nothing: nobody can issue it. */
Test(decide, a_zero_length_dcid_goes_by_tuple)
{
	__u16 *by_tuple = ring_of(H3, &tuple_one, TUPLE_BYTES);
	static const __u16 ringed[] = { NOBODY, ACTIVE, DRAINING, DEAD, FOREIGN };

	route(H3, dcid_one, 0, ACTIVE);
	for (size_t i = 0; i < KINDS; i++) {
		for (size_t j = 0; j < sizeof(ringed) / sizeof(ringed[0]); j++) {
			struct cs_verdict expected = verdict_of(&kinds[i], 0), got;
			__u32 asked;
			__u8 packet[64];
			size_t size = build(&kinds[i], 0, packet);

			if (kinds[i].form == CS_FORM_SHORT)
				continue;
			*by_tuple = ringed[j];
			sent_to(&expected, CS_C_by_tuple, is_there(ringed[j]) ? ringed[j] : 0);
			got = decide(H3, &tuple_one, packet, size, &asked);
			same_verdict(&got, &expected, kinds[i].name);
			cr_assert_eq(asked, 1);
		}
	}
}

/* What a packet looks like that the parser did not get through, or was not asked about. */
static struct cs_verdict verdict_unparsed(__u16 service)
{
	static const struct kind nothing;
	struct cs_verdict verdict = verdict_of(&nothing, 0);

	verdict.service = service;
	return verdict;
}

Test(decide, a_service_without_connection_ids_goes_by_tuple_whatever_the_packet_says)
{
	__u8 packet[64];

	maps->worker[ACTIVE].service = BARE;
	for (size_t i = 0; i < KINDS; i++) {
		size_t whole = build(&kinds[i], kinds[i].len, packet);
		__u8 len = kinds[i].form == CS_FORM_LONG ? kinds[i].len : 0;
		size_t least = kinds[i].form == CS_FORM_LONG ? CS_LONG_HEADER_DCID + (size_t)len :
							       1;

		route(BARE, dcid_one, kinds[i].len, BY_DCID);
		for (size_t size = 0; size <= whole; size++) {
			struct cs_verdict expected = verdict_of(&kinds[i], len), got;
			__u32 asked;

			if (size < least)
				expected = verdict_unparsed(BARE);
			expected.service = BARE;
			*ring_of(BARE, &tuple_one, TUPLE_BYTES) = size % 2 ? ACTIVE : NOBODY;
			sent_to(&expected, size < least ? CS_C_malformed : CS_C_by_tuple,
				size % 2 ? ACTIVE : NOBODY);
			got = decide(BARE, &tuple_one, packet, size, &asked);
			same_verdict(&got, &expected, kinds[i].name);
			cr_assert_eq(asked, 1);
		}
	}
}

Test(decide, a_malformed_packet_goes_by_tuple_and_nothing_is_said_of_its_head)
{
	static const __u16 ringed[] = { NOBODY, ACTIVE, DRAINING, DEAD, FOREIGN };
	__u8 packet[64];

	for (size_t i = 0; i < KINDS; i++) {
		size_t whole = kinds[i].len + (kinds[i].form ? CS_LONG_HEADER_DCID : 1);

		build(&kinds[i], kinds[i].len, packet);
		route(H3, dcid_one, kinds[i].len, ACTIVE);
		for (size_t size = 0; size < whole; size++) {
			__u16 to = ringed[size % 5];
			__u32 asked;
			struct cs_verdict expected = verdict_unparsed(H3), got;

			*ring_of(H3, &tuple_one, TUPLE_BYTES) = to;
			sent_to(&expected, CS_C_malformed, is_there(to) ? to : 0);
			got = decide(H3, &tuple_one, packet, size, &asked);
			same_verdict(&got, &expected, kinds[i].name);
			cr_assert_eq(asked, 1);
		}
	}
	*ring_of(H3, &tuple_one, TUPLE_BYTES) = ACTIVE;
	for (int len = CS_MAX_CID + 1; len < 40; len++) {
		struct cs_verdict expected = verdict_unparsed(H3), got;
		__u32 asked;

		build(&kinds[0], 8, packet);
		packet[5] = len;
		sent_to(&expected, CS_C_malformed, ACTIVE);
		got = decide(H3, &tuple_one, packet, sizeof(packet), &asked);
		same_verdict(&got, &expected, "v1, DCID above 20 bytes");
	}
}

Test(decide, a_service_that_is_not_there_sends_to_nobody)
{
	static const __u16 service[] = { GONE, NOWHERE };
	__u8 packet[64];

	for (size_t i = 0; i < KINDS; i++) {
		size_t size = build(&kinds[i], kinds[i].len, packet);

		for (int j = 0; j < 2; j++) {
			struct cs_verdict expected = verdict_unparsed(service[j]), got;
			__u32 asked;

			expected.reason = CS_C_no_service;
			got = decide(service[j], &tuple_one, packet, size, &asked);
			same_verdict(&got, &expected, kinds[i].name);
			cr_assert_eq(asked, 0);
		}
	}
}

/* A DCID of an unknown version above 20 bytes: its first 20 are its name. */
Test(decide, a_dcid_that_is_cut_goes_by_what_is_left)
{
	const struct kind *greased = &kinds[8];
	__u8 packet[300];

	*ring_of(H3, dcid_one, CS_MAX_CID) = BY_DCID;
	for (int len = CS_MAX_CID; len < 256; len++) {
		struct cs_verdict expected = verdict_of(greased, CS_MAX_CID), got;
		__u32 asked;

		build(greased, CS_MAX_CID, packet);
		memset(packet + CS_LONG_HEADER_DCID + CS_MAX_CID, len, 255);
		packet[5] = len;
		sent_to(&expected, CS_C_by_ring, BY_DCID);
		got = decide(H3, &tuple_one, packet, sizeof(packet), &asked);
		same_verdict(&got, &expected, "greased version");
	}
}

static const __u8 all_policies[] = { CS_POLICY_HASH, CS_POLICY_PASS, CS_POLICY_DROP };

/* What a policy makes of a packet without a route, with @ringed in the ring. */
static void by_policy(struct cs_verdict *verdict, __u8 policy, __u16 ringed, __u32 reason,
		      __u32 dropped)
{
	verdict->reason = reason;
	if (policy == CS_POLICY_PASS)
		return;
	sent_to(verdict, reason, is_there(ringed) ? ringed : 0);
	if (policy == CS_POLICY_DROP && is_there(ringed))
		verdict->drop = dropped;
}

/* A packet of @size under a policy, with each worker in the ring; @expected without an end. */
static void check_policy(__u8 policy, const struct cs_verdict *expected, const __u8 *packet,
			 size_t size, __u32 reason, __u32 dropped)
{
	static const __u16 ringed[] = { NOBODY, ACTIVE, DRAINING, DEAD, FOREIGN };

	for (size_t i = 0; i < sizeof(ringed) / sizeof(ringed[0]); i++) {
		struct cs_verdict want = *expected, got;
		char what[64];
		__u32 asked;

		*ring_of(H3, &tuple_one, TUPLE_BYTES) = ringed[i];
		by_policy(&want, policy, ringed[i], reason, dropped);
		got = decide(H3, &tuple_one, packet, size, &asked);
		snprintf(what, sizeof(what), "policy %u, reason %u, ring %u", policy, reason,
			 ringed[i]);
		same_verdict(&got, &want, what);
		cr_assert_eq(asked, policy != CS_POLICY_PASS, "%s: tuple asked", what);
	}
}

/* With the other policies set to something else, so that each is read where it belongs. */
static void set_policies(__u8 unknown_cid, __u8 malformed, __u8 not_quic)
{
	maps->service[H3].unknown_cid = unknown_cid;
	maps->service[H3].malformed = malformed;
	maps->service[H3].not_quic = not_quic;
}

Test(decide, an_unknown_id_goes_by_the_policy_also_if_its_worker_is_dead)
{
	__u8 packet[64];

	for (size_t i = 0; i < KINDS; i++) {
		struct cs_verdict expected = verdict_of(&kinds[i], kinds[i].len);
		size_t size = build(&kinds[i], kinds[i].len, packet);

		if (kinds[i].opens)
			continue;
		for (int j = 0; j < 3; j++) {
			set_policies(all_policies[j], all_policies[(j + 1) % 3], CS_POLICY_QUIC);
			route(H3, dcid_one, kinds[i].len, NOBODY);
			expected.routed = NOBODY;
			check_policy(all_policies[j], &expected, packet, size, CS_C_unknown_cid,
				     CS_C_dropped_unknown);
			route(H3, dcid_one, kinds[i].len, DEAD);
			expected.routed = DEAD;
			check_policy(all_policies[j], &expected, packet, size, CS_C_dead_worker,
				     CS_C_dropped_unknown);
		}
	}
}

Test(decide, a_malformed_packet_goes_by_the_policy)
{
	struct cs_verdict expected = verdict_unparsed(H3);
	__u8 packet[64];

	build(&kinds[0], 8, packet);
	for (int j = 0; j < 3; j++) {
		set_policies(all_policies[(j + 1) % 3], all_policies[j], CS_POLICY_QUIC);
		for (size_t size = 0; size < CS_LONG_HEADER_DCID + 8; size++)
			check_policy(all_policies[j], &expected, packet, size, CS_C_malformed,
				     CS_C_dropped_malformed);
	}
}

/* RFC 9443: every first byte without the fixed bit, whatever follows; an empty payload is not. */
Test(decide, what_is_not_quic_goes_by_the_policy)
{
	struct cs_verdict expected = verdict_unparsed(H3);
	__u8 packet[64];

	build(&kinds[0], 8, packet);
	route(H3, dcid_one, 8, ACTIVE);
	for (int j = 0; j < 3; j++) {
		set_policies(all_policies[(j + 1) % 3], all_policies[(j + 2) % 3], all_policies[j]);
		for (int first = 0; first < 256; first++) {
			struct cs_verdict got;
			__u32 asked;

			packet[0] = first;
			for (size_t size = 1; size <= sizeof(packet) && !(first & 0x40); size += 21)
				check_policy(all_policies[j], &expected, packet, size,
					     CS_C_not_quic, CS_C_dropped_not_quic);
			*ring_of(H3, &tuple_one, TUPLE_BYTES) = ACTIVE;
			got = decide(H3, &tuple_one, packet, sizeof(packet), &asked);
			cr_assert_eq(got.reason == CS_C_not_quic, !(first & 0x40),
				     "first byte 0x%02x: reason %u", first, got.reason);
		}
		check_policy(all_policies[(j + 2) % 3], &expected, packet, 0, CS_C_malformed,
			     CS_C_dropped_malformed);
	}
}

/* RFC 9000, section 14.1: by table and by ring alike, and of no other type. */
Test(decide, an_initial_below_1200_bytes_is_noted_and_dropped_by_choice)
{
	static const __u16 routed[] = { NOBODY, ACTIVE, DEAD };
	static __u8 packet[1300];

	for (size_t i = 0; i < KINDS; i++) {
		build(&kinds[i], kinds[i].len, packet);
		*ring_of(H3, dcid_one, kinds[i].len) = BY_DCID;
		for (int bits = 0; bits < 2 * 2 * 3; bits++) {
			size_t size = bits & 1 ? 1199 : 1200;
			__u32 small = bits & 1 && kinds[i].type == CS_TYPE_INITIAL;
			struct cs_verdict got;
			__u32 asked;

			maps->service[H3].small_initial = bits & 2 ? CS_POLICY_DROP :
								     CS_POLICY_HASH;
			route(H3, dcid_one, kinds[i].len, routed[bits / 4]);
			got = decide(H3, &tuple_one, packet, size, &asked);
			cr_assert_eq(got.small, small, "%s", kinds[i].name);
			cr_assert_eq(got.drop, small && bits & 2 ? CS_C_dropped_initial : 0, "%s",
				     kinds[i].name);
			cr_assert_neq(got.worker, NOBODY);
		}
	}
	/* Nobody is registered. */
	build(&kinds[0], 8, packet);
	route(H3, dcid_one, 8, NOBODY);
	maps->service[H3].small_initial = CS_POLICY_DROP;
	for (int worker = NOBODY; worker <= ACTIVE; worker++) {
		struct cs_verdict got;
		__u32 asked;

		*ring_of(H3, dcid_one, 8) = worker;
		got = decide(H3, &tuple_one, packet, 64, &asked);
		cr_assert_eq(got.drop, worker ? CS_C_dropped_initial : 0);
	}
}

Test(decide, a_tuple_hashes_as_its_36_bytes)
{
	__u64 seed = 10, count = rounds(20000);

	for (__u64 round = 0; round < count; round++) {
		struct {
			__u8 key[16];
			struct cs_tuple tuple;
		} in = { { 0 }, { .pad = 0 } };
		__u64 key[2];

		random_fill(&seed, in.key, sizeof(in.key));
		random_fill(&seed, &in.tuple, TUPLE_BYTES);
		memcpy(key, in.key, sizeof(key));
		check(cs_tuple_hash(key, &in.tuple) ==
			      siphash_reference(1, 3, in.key, &in.tuple, TUPLE_BYTES),
		      "round %llu", round);
	}
	cr_assert_eq(sizeof(struct cs_tuple), TUPLE_BYTES + 4);
}

#define ROUTES 64

/* Workers of every state in the ring, and ROUTES routes; as many DCIDs behind them have none. */
static void random_maps(__u64 *seed, __u8 dcid[2 * ROUTES][CS_MAX_CID])
{
	struct cs_table table = { maps->table[H3], BUCKETS - 1 };

	memset(maps->table[H3], 0, sizeof(maps->table[H3]));
	random_fill(seed, dcid, 2 * ROUTES * CS_MAX_CID);
	for (int i = 0; i < CS_RING_SIZE; i++)
		maps->ring[H3].worker[i] = random_below(seed, WORKERS);
	for (int i = 0; i < ROUTES; i++) {
		__u64 tag = reference_hash(H3, dcid[i], 8) >> 16;
		__u32 worker = 1 + random_below(seed, WORKERS - 1);

		check(!cs_table_insert(&table, tag, worker, CS_BUCKET_ROUTES), "insert");
	}
}

/* A packet of any kind, 1 in 8 with a zero-length DCID, 1 in 8 cut; returns its size. */
static size_t random_packet(__u64 *seed, __u8 dcid[2 * ROUTES][CS_MAX_CID], __u8 packet[64])
{
	const struct kind *kind = &kinds[random_below(seed, KINDS)];
	int empty = kind->form == CS_FORM_LONG && random_below(seed, 8) == 0;
	size_t at = kind->form == CS_FORM_LONG ? CS_LONG_HEADER_DCID : CS_SHORT_HEADER_DCID;
	size_t size = build(kind, empty ? 0 : 8, packet);

	memcpy(packet + at, dcid[random_below(seed, 2 * ROUTES)], 8);
	return random_below(seed, 8) ? size : random_below(seed, 16);
}

/* What holds of every verdict, whatever the maps say. */
static void check_verdict(const struct cs_verdict *verdict, __u32 asked)
{
	const struct cs_worker *worker = &maps->worker[verdict->worker];

	if (verdict->worker) {
		check(worker->service == verdict->service, "worker %u is another service's",
		      verdict->worker);
		check(is_there(verdict->worker) || verdict->worker >= BY_DCID,
		      "worker %u is not there", verdict->worker);
		check(verdict->state == worker->state, "state %u", verdict->state);
	}
	check((verdict->worker == NOBODY) == (verdict->reason == CS_C_no_worker),
	      "reason %u, worker %u", verdict->reason, verdict->worker);
	check(asked <= 1, "the 4-tuple was asked for %u times", asked);
}

/* A verdict depends on the DCID or on the tuple, and each of them alone has one worker. */
Test(decide, one_dcid_or_one_tuple_comes_to_one_worker)
{
	__u64 seed = 11, count = rounds(60000), reasons[CS_COUNTERS] = { 0 };
	__u8 dcid[2 * ROUTES][CS_MAX_CID];

	for (__u64 round = 0; round < count; round++) {
		struct cs_tuple here = { .pad = 0 }, there = { .pad = 0 };
		__u32 by_tuple, moved_by_tuple, other_by_tuple;
		struct cs_verdict one, moved, other;
		__u8 packet[64];
		size_t size;

		if (round % 1000 == 0)
			random_maps(&seed, dcid);
		random_fill(&seed, &here, TUPLE_BYTES);
		random_fill(&seed, &there, TUPLE_BYTES);
		size = random_packet(&seed, dcid, packet);
		one = decide(H3, &here, packet, size, &by_tuple);
		check_verdict(&one, by_tuple);
		reasons[one.reason]++;

		moved = decide(H3, &there, packet, size, &moved_by_tuple);
		check(moved_by_tuple == by_tuple, "another tuple, another way");
		check(by_tuple || !memcmp(&one, &moved, sizeof(one)),
		      "one DCID, reason %u: workers %u and %u", one.reason, one.worker,
		      moved.worker);

		size = random_packet(&seed, dcid, packet);
		other = decide(H3, &here, packet, size, &other_by_tuple);
		check(!by_tuple || !other_by_tuple || one.worker == other.worker,
		      "one tuple, reasons %u and %u: workers %u and %u", one.reason, other.reason,
		      one.worker, other.worker);
	}
	for (__u32 reason = CS_C_malformed; reason <= CS_C_no_worker; reason++)
		cr_assert_gt(reasons[reason], count / 100, "reason %u: %llu", reason,
			     reasons[reason]);
}

/* The second half of a ClientHello, 0-RTT, another version after negotiation. */
Test(decide, whatever_opens_a_connection_with_one_dcid_comes_to_one_worker)
{
	__u64 seed = 12, count = rounds(1000), sent = 0;
	__u8 dcid[2 * ROUTES][CS_MAX_CID];

	for (__u64 round = 0; round < count; round++) {
		__u8 packet[64];
		struct cs_tuple tuple = { .pad = 0 };
		__u16 worker = 0;

		if (round % 100 == 0)
			random_maps(&seed, dcid);
		for (size_t i = 0; i < KINDS; i++) {
			size_t size = build(&kinds[i], 8, packet);
			struct cs_verdict got;
			__u32 asked;

			if (!kinds[i].opens)
				continue;
			random_fill(&seed, &tuple, TUPLE_BYTES);
			memcpy(packet + CS_LONG_HEADER_DCID, dcid[round % (2 * ROUTES)], 8);
			got = decide(H3, &tuple, packet, size, &asked);
			check(i == 0 || got.worker == worker, "%s: worker %u instead of %u",
			      kinds[i].name, got.worker, worker);
			worker = got.worker;
		}
		sent += worker != NOBODY;
	}
	cr_assert_gt(sent, count / 4);
}

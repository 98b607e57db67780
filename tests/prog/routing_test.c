// SPDX-License-Identifier: GPL-2.0-only
/* cs_xdp and cs_explain in the kernel: from the UDP payload to the worker. */
#include "packet.h"

#include "core/decide.h"

TestSuite(routing, .init = make_all);

/* What a long header must come to, by its version and type bits, when nothing was issued. */
static __u32 reason_of(__u32 version, int type, int len)
{
	static const __u8 opens_v1[4] = { 1, 1, 0, 0 }, opens_v2[4] = { 0, 1, 1, 0 };
	bool known = version == CS_QUIC_V1 || version == CS_QUIC_V2;

	if (known && len > CS_MAX_CID)
		return CS_C_malformed;
	if (!len)
		return CS_C_by_tuple;
	if (!known || (version == CS_QUIC_V1 ? opens_v1 : opens_v2)[type])
		return CS_C_by_ring;
	return CS_C_unknown_cid;
}

static void check_long(__u32 version, int type, int len, bool fixed_bit)
{
	__u8 payload[300], dcid[256];
	struct frame_spec spec = { .payload = payload };
	__u32 reason = reason_of(version, type, len);
	struct cs_verdict got;
	char what[64];
	__u64 seed = len + type + version;

	random_fill(&seed, dcid, sizeof(dcid));
	spec.payload_len = quic_long(payload, 0x80 | fixed_bit << 6 | type << 4 | len % 16, version,
				     dcid, len, sizeof(payload));
	spec.sport = 1024 + len;
	snprintf(what, sizeof(what), "version %x, type %d, DCID of %d", version, type, len);
	got = check_spec(&spec, reason, H3, what);
	if (reason == CS_C_by_ring)
		check(got.worker == model_ringed(&model, H3, dcid, len > 20 ? 20 : len),
		      "%s: worker %u", what, got.worker);
}

Test(routing, long_headers_open_connections_by_the_type_codes_of_their_version)
{
	static const __u32 versions[] = { CS_QUIC_V1, CS_QUIC_V2, 0,	      0x1a2a3a4a,
					  0xff00001d, 2,	  0x6b3343d0, 0xffffffff };

	for (size_t i = 0; i < COUNT(versions); i++) {
		for (int type = 0; type < 4; type++) {
			for (int len = 0; len <= CS_MAX_CID + 4; len++)
				check_long(versions[i], type, len, len % 2);
		}
	}
}

Test(routing, a_dcid_above_20_bytes_is_malformed_in_known_versions_and_cut_in_others)
{
	for (int len = 21; len < 256; len++) {
		check_long(CS_QUIC_V1, len % 4, len, true);
		check_long(CS_QUIC_V2, len % 4, len, true);
		check_long(0x0a0a0a0a, len % 4, len, true);
	}
}

Test(routing, a_short_header_has_the_services_dcid_length)
{
	__u8 payload[64];
	struct frame_spec spec = { .payload = payload, .payload_len = sizeof(payload) };
	__u8 firsts[] = { 0x40, 0x00, 0x7f, 0x3f };

	for (int len = 0; len <= CS_MAX_CID; len++) {
		__u8 first = firsts[len % COUNT(firsts)];

		quic_short(payload, first, dcid_one, len, sizeof(payload));
		clear_routes(H3);
		set_service(H3, len, true);
		check_spec(&spec, len ? CS_C_unknown_cid : CS_C_by_tuple, H3, "no route");
		/* One byte more or less is another ID. */
		if (len > 1)
			add_route(H3, dcid_one, len - 1, DRAINING);
		if (len && len < CS_MAX_CID)
			add_route(H3, dcid_one, len + 1, DRAINING);
		check_spec(&spec, len ? CS_C_unknown_cid : CS_C_by_tuple, H3, "other routes");
		if (!len)
			continue;
		add_route(H3, dcid_one, len, ACTIVE);
		check(check_spec(&spec, CS_C_by_table, H3, "route").worker == ACTIVE, "worker");
		for (size_t cut = 0; cut < 1u + len; cut++) {
			spec.payload_len = cut;
			check_spec(&spec, CS_C_malformed, H3, "cut");
		}
		spec.payload_len = sizeof(payload);
	}
}

/* A route wins for every form and type, also over what opens a connection. */
Test(routing, a_route_is_found_for_every_kind_of_packet)
{
	static const __u32 versions[] = { CS_QUIC_V1, CS_QUIC_V2, 0, 0x1a2a3a4a };
	__u8 payload[64];
	struct frame_spec spec = { .payload = payload, .payload_len = sizeof(payload) };

	for (int len = 1; len <= CS_MAX_CID; len++) {
		clear_routes(H3);
		add_route(H3, dcid_one, len, len % 2 ? ACTIVE : DRAINING);
		for (size_t i = 0; i < COUNT(versions) * 4; i++) {
			struct cs_verdict got;

			quic_long(payload, 0xc0 | i % 4 << 4, versions[i / 4], dcid_one, len, 64);
			got = check_spec(&spec, CS_C_by_table, H3, "long header");
			check(got.worker == (len % 2 ? ACTIVE : DRAINING), "worker %u", got.worker);
		}
	}
}

static void put_word(__u16 service, int bucket, __u64 word)
{
	__u64 tag = word >> CS_TAG_SHIFT;
	__u32 mask = table[service].mask;
	__u32 index = bucket ? cs_bucket_second(tag, mask) : cs_bucket_first(tag, mask);

	cs_bucket_words(&table[service], index)[CS_BUCKET_ROUTES - 1] = word;
}

Test(routing, a_committed_route_is_found_in_both_buckets_and_a_pending_one_is_passed_over)
{
	__u64 word = tag_of(H3, dcid_one, 8) << CS_TAG_SHIFT;
	struct frame_spec spec = short_spec();

	for (int bucket = 0; bucket < 2; bucket++) {
		clear_routes(H3);
		put_word(H3, bucket, word | CS_PENDING | ACTIVE);
		check_spec(&spec, CS_C_unknown_cid, H3, "pending");
		put_word(H3, bucket, word | ACTIVE);
		model.route[model.routes++] =
			(struct model_route){ H3, ACTIVE, 8, { 0xd0, 1, 2, 3, 4, 5, 6, 7 } };
		check_spec(&spec, CS_C_by_table, H3, "committed");
		/* The loser of a race for the same tag has not yet given up. */
		put_word(H3, !bucket, word | CS_PENDING | DRAINING);
		check_spec(&spec, CS_C_by_table, H3, "committed, and pending of another");
	}
	/* The tag next to it is another route's. */
	clear_routes(H3);
	put_word(H3, 0, (word ^ 1ULL << 63) | ACTIVE);
	put_word(H3, 1, (word ^ 1ULL << CS_TAG_SHIFT) | ACTIVE);
	check_spec(&spec, CS_C_unknown_cid, H3, "another tag");
}

Test(routing, a_route_to_a_worker_that_is_gone_goes_where_it_would_without_a_route)
{
	static const __u16 gone[] = { DEAD, UNUSED, FOREIGN, 255 };
	__u8 payload[64];

	for (size_t i = 0; i < COUNT(gone); i++) {
		struct frame_spec spec = short_spec();
		struct cs_verdict got;

		clear_routes(H3);
		add_route(H3, dcid_one, 8, gone[i]);
		got = check_spec(&spec, CS_C_dead_worker, H3, "short header");
		check(got.routed == gone[i] && got.worker, "routed %u", got.routed);
		quic_long(payload, 0xc0, CS_QUIC_V1, dcid_one, 8, sizeof(payload));
		spec.payload = payload;
		got = check_spec(&spec, CS_C_dead_worker, H3, "Initial");
		check(got.worker == model_ringed(&model, H3, dcid_one, 8), "worker %u", got.worker);
		quic_long(payload, 0xe0, CS_QUIC_V1, dcid_one, 8, sizeof(payload));
		check_spec(&spec, CS_C_dead_worker, H3, "Handshake");
	}
}

Test(routing, without_an_active_worker_packets_are_left_to_the_kernel)
{
	static const __u16 nobody[] = { 0, DEAD, UNUSED, FOREIGN };
	struct frame_spec spec = short_spec();
	__u8 initial[64];

	quic_long(initial, 0xc0, CS_QUIC_V1, dcid_one, 8, sizeof(initial));
	for (size_t i = 0; i < COUNT(nobody); i++) {
		for (int bucket = 0; bucket < CS_RING_SIZE; bucket++)
			model.service[H3].ring[bucket] = nobody[i];
		set_ring(H3);
		clear_routes(H3);
		check_spec(&spec, CS_C_no_worker, H3, "short header");
		spec.payload = initial;
		check_spec(&spec, CS_C_no_worker, H3, "Initial");
		add_route(H3, dcid_one, 8, DEAD);
		check_spec(&spec, CS_C_no_worker, H3, "Initial of a dead worker");
		clear_routes(H3);
		add_route(H3, dcid_one, 8, DRAINING);
		check_spec(&spec, CS_C_by_table, H3, "Initial of a draining worker");
		spec = short_spec();
	}
}

/* A draining worker in the ring: the ring is renewed a moment after the worker's state. */
Test(routing, the_ring_of_a_moment_ago_may_name_a_draining_worker)
{
	struct frame_spec spec = short_spec();

	for (int bucket = 0; bucket < CS_RING_SIZE; bucket++)
		model.service[H3].ring[bucket] = DRAINING;
	set_ring(H3);
	check(check_spec(&spec, CS_C_unknown_cid, H3, "short header").worker == DRAINING, "worker");
}

Test(routing, one_connection_id_in_two_services_is_two_routes)
{
	__u8 payload[64];
	struct frame_spec spec = { .payload = payload, .payload_len = sizeof(payload) };

	quic_long(payload, 0xc0, CS_QUIC_V1, dcid_one, 20, sizeof(payload));
	add_route(H3, dcid_one, 20, ACTIVE);
	spec.daddr = "10.0.0.8";
	check_spec(&spec, CS_C_by_ring, EXACT, "not this service's");
	add_route(EXACT, dcid_one, 20, FOREIGN);
	check(check_spec(&spec, CS_C_by_table, EXACT, "exact").worker == FOREIGN, "worker");
	spec.daddr = "10.0.0.7";
	check(check_spec(&spec, CS_C_by_table, H3, "h3").worker == ACTIVE, "worker");
}

Test(routing, a_service_that_is_not_there_is_counted_under_its_number)
{
	struct frame_spec spec = short_spec();

	set_service(H3, 8, false);
	check_spec(&spec, CS_C_no_service, H3, "removed");
	set_service(H3, 8, true);
	check_spec(&spec, CS_C_unknown_cid, H3, "back");
}

Test(routing, a_service_without_its_table_goes_on_with_the_ring)
{
	struct frame_spec spec = short_spec();
	__u32 id = H3;

	check(!bpf_map_delete_elem(plane.map[PLANE_CIDS], &id), "delete");
	check_spec(&spec, CS_C_unknown_cid, H3, "short header");
}

/* ---- three opinions ------------------------------------------------------------------------ */

/* cs_decide() as user space compiles it, over the memory of the maps. */
struct cs_packet {
	struct cs_tuple tuple;
	const struct model_packet *read;
};

static struct cs_service service_copy[SERVICES];
static struct cs_worker worker_copy[CS_MAX_WORKERS];

CS_INLINE const struct cs_service *cs_map_service(__u32 service)
{
	return service < SERVICES ? &service_copy[service] : NULL;
}

CS_INLINE const struct cs_worker *cs_map_worker(__u32 worker)
{
	return worker < CS_MAX_WORKERS ? &worker_copy[worker] : NULL;
}

CS_INLINE __u32 cs_map_route(__u32 service, __u64 tag)
{
	return cs_table_find(&table[service], tag);
}

CS_INLINE __u32 cs_map_server(__u32 service, const struct cs_cid *cid)
{
	(void)service;
	(void)cid;
	return CS_ID_UNKNOWN;
}

CS_INLINE __u32 cs_map_ring(__u32 service, __u32 bucket)
{
	return model.service[service].ring[bucket];
}

CS_INLINE void cs_packet_tuple(const struct cs_packet *packet, struct cs_tuple *tuple)
{
	*tuple = packet->tuple;
}

CS_INLINE int cs_packet_quic(const struct cs_packet *packet, const struct cs_service *service,
			     struct cs_quic *quic)
{
	__u8 head[CS_HEAD_BYTES] = { 0 };
	size_t len = packet->read->length;

	memcpy(head, packet->read->payload, len < sizeof(head) ? len : sizeof(head));
	return cs_quic_parse(head, len, service, quic);
}

static struct cs_verdict core_verdict(const __u8 *frame, size_t len)
{
	struct model_packet read = {};
	struct cs_verdict verdict = {};
	struct cs_packet packet = { .read = &read };
	struct cs_listener listener = {};

	verdict.reason = model_read(&model, frame, len, &read);
	if (verdict.reason != CS_C_seen)
		return verdict;
	memcpy(&packet.tuple, read.tuple, sizeof(read.tuple));
	listener.service = read.listener->service;
	listener.listener = read.listener->number;
	listener.position = read.listener->position;
	cs_decide(&packet, &listener, &verdict);
	return verdict;
}

#define CIDS 48

/* Rings and workers of every state; half of the IDs have a route, to any worker. */
static void random_maps(__u64 *seed, __u8 cid[CIDS][CS_MAX_CID])
{
	random_fill(seed, cid, CIDS * CS_MAX_CID);
	for (__u32 id = 1; id < SERVICES; id++) {
		clear_routes(id);
		for (int i = 0; i < CS_RING_SIZE; i++)
			model.service[id].ring[i] = random_below(seed, 210);
		set_ring(id);
		set_policies(id, random_below(seed, 3), random_below(seed, 3),
			     random_below(seed, 4),
			     random_below(seed, 2) ? CS_POLICY_DROP : CS_POLICY_HASH);
	}
	for (int i = 0; i < CIDS / 2; i++)
		add_route(i % 3 ? H3 : 1 + random_below(seed, SERVICES - 1), cid[i],
			  i % 2 ? 8 : 1 + random_below(seed, CS_MAX_CID),
			  random_below(seed, 4) ? 1 + random_below(seed, 210) : ACTIVE);
	check(!plane_workers(&plane, worker_copy), "cs_workers");
	for (__u32 id = 1; id < SERVICES; id++)
		check(!plane_service(&plane, id, &service_copy[id]), "cs_services");
}

static size_t random_payload(__u64 *seed, __u8 cid[CIDS][CS_MAX_CID], __u8 payload[64])
{
	static const __u32 versions[] = { CS_QUIC_V1, CS_QUIC_V2, 0, 0x1a2a3a4a };
	const struct model_route *route = &model.route[random_below(seed, model.routes)];
	const __u8 *dcid = random_below(seed, 2) ? route->cid : cid[random_below(seed, CIDS)];
	__u8 len = dcid == route->cid ? route->len : random_below(seed, 24);
	__u8 first = random_word(seed);

	memset(payload, 0x77, 64);
	if (first < 0x60)
		quic_short(payload, first, dcid, CS_MAX_CID, 64);
	else
		quic_long(payload, first | 0x80, versions[random_below(seed, 4)], dcid,
			  len > CS_MAX_CID ? CS_MAX_CID : len, 64);
	if (first >= 0x60)
		payload[5] = len;
	return random_below(seed, 4) ? 64 : random_below(seed, 40);
}

static size_t random_frame(__u64 *seed, __u8 cid[CIDS][CS_MAX_CID], struct frame *frame)
{
	static const char *const v4[] = { "10.0.0.1", "10.0.0.7", "10.0.0.8", "10.0.0.9" };
	static const __u8 types[] = { IPPROTO_HOPOPTS, IPPROTO_ROUTING, IPPROTO_FRAGMENT,
				      IPPROTO_DSTOPTS, 51 };
	__u8 chain[16] = { types[random_below(seed, COUNT(types))] };
	static const char *const v6[] = { V6("1"), V6("7"), V6("9"), "::ffff:10.0.0.7",
					  "::ffff:10.0.0.5" };
	static const __u16 ports[] = { 4433, 4433, 4433, 4433, 4500, 4600, 4700, 4800, 4434 };
	__u8 payload[64];
	bool ipv6 = random_below(seed, 2);
	struct frame_spec spec = {
		.saddr = ipv6 ? V6("1") : "10.0.0.9",
		.daddr = ipv6 ? v6[random_below(seed, COUNT(v6))] :
				v4[random_below(seed, COUNT(v4))],
		.sport = random_below(seed, 65536),
		.dport = ports[random_below(seed, COUNT(ports))],
		.payload = payload,
		.options = random_below(seed, 16) ? 0 : 4 * random_below(seed, 11),
		.padding = random_below(seed, 8) ? 0 : random_below(seed, 40),
		.udp_longer = random_below(seed, 8) ? 0 : (int)random_below(seed, 90) - 45,
		.ip_longer = random_below(seed, 16) ? 0 : (int)random_below(seed, 40) - 20,
		.vlan = random_below(seed, 4) ? 0 : random_below(seed, 4096),
		.outer = random_below(seed, 4) ? 0 : random_below(seed, 4096),
	};

	if (!random_below(seed, 4)) {
		chain[8] = IPPROTO_UDP;
		spec.extensions = chain;
		spec.extensions_len = sizeof(chain);
		spec.first_extension = types[random_below(seed, COUNT(types))];
	}

	spec.payload_len = random_payload(seed, cid, payload);
	if (spec.udp_longer < -(int)spec.payload_len - 8)
		spec.udp_longer = 0;
	frame_build(frame, &spec);
	/* Anything may be wrong in the headers. */
	for (int i = random_below(seed, 8) ? 0 : 2; i; i--)
		frame->byte[12 + random_below(seed, frame->payload - 12)] = random_word(seed);
	if (!random_below(seed, 8))
		frame->len = ETH_HLEN + random_below(seed, frame->len - ETH_HLEN);
	return frame->len;
}

/* The kernel's verdict, the model's, cs_decide()'s in user space; and the sum of all counters. */
Test(routing, kernel_model_and_user_space_agree_on_random_packets)
{
	static struct counters expected, got;
	__u64 seed = 20, count = rounds(40000), reasons[CS_COUNTERS] = { 0 };
	__u8 cid[CIDS][CS_MAX_CID];
	bool lease = false, dropped;

	counters_read(&plane, &expected);
	for (__u64 round = 0; round < count; round++) {
		struct cs_verdict kernel, mine, core;
		struct frame frame;
		char what[32];
		size_t len;

		if (round % 500 == 0) {
			lease = random_below(&seed, 2);
			set_lease(lease);
			random_maps(&seed, cid);
		}
		len = random_frame(&seed, cid, &frame);
		snprintf(what, sizeof(what), "round %llu", round);
		kernel = run_explain(&plane, frame.byte, len, what);
		mine = model_verdict(&model, frame.byte, len);
		core = core_verdict(frame.byte, len);
		same_verdict(&kernel, &mine, what);
		same_verdict(&core, &mine, what);
		dropped = mine.drop && lease;
		check(run_xdp(&plane, frame.byte, len, what) == dropped, "%s: dropped, or not",
		      what);
		counters_add(&expected, CS_HOOK_XDP, &mine, dropped);
		reasons[dropped ? mine.drop : mine.reason]++;
		reasons[CS_C_small_initial] += mine.small;
		reasons[CS_C_not_enforced] += mine.drop && !dropped;
	}
	counters_read(&plane, &got);
	counters_check(&expected, &got, "all rounds");
	for (__u32 reason = CS_C_not_ours; reason < CS_COUNTERS; reason++) {
		/* What a random frame has no way to. */
		if (reason == CS_C_no_socket || reason == CS_C_no_service || reason >= CS_C_to_cpu)
			continue;
		check(reasons[reason] > count / 4000, "reason %u came %llu times", reason,
		      reasons[reason]);
	}
}

/* Without a lease nothing is dropped, and it is said that it was not. */
Test(routing, what_is_to_be_dropped_passes_once_the_lease_is_over)
{
	static struct counters before, after;
	struct frame_spec spec = short_spec();
	struct cs_lease lease = { 0 };
	struct cs_verdict expected;
	struct frame frame;
	__u32 zero = 0;

	set_policies(H3, CS_POLICY_DROP, CS_POLICY_HASH, CS_POLICY_QUIC, CS_POLICY_HASH);
	frame_build(&frame, &spec);
	expected = model_verdict(&model, frame.byte, frame.len);
	check(expected.drop == CS_C_dropped_unknown, "drop %u", expected.drop);
	for (int seconds = -2; seconds <= 2; seconds++) {
		struct timespec now;

		if (!seconds)
			continue;
		clock_gettime(CLOCK_MONOTONIC, &now);
		now.tv_sec += 20 * seconds;
		if (now.tv_sec < 0) /* the machine has been up for less */
			now.tv_sec = 0;
		lease.until_ns = now.tv_sec * 1000000000ULL + now.tv_nsec;
		check(!bpf_map_update_elem(plane.map[PLANE_LEASE], &zero, &lease, BPF_ANY),
		      "cs_lease");
		counters_read(&plane, &before);
		check(run_xdp(&plane, frame.byte, frame.len, "lease") == (seconds > 0),
		      "%d s from now", 20 * seconds);
		counters_read(&plane, &after);
		counters_add(&before, CS_HOOK_XDP, &expected, seconds > 0);
		counters_check(&before, &after, "lease");
	}
}

// SPDX-License-Identifier: GPL-2.0-only
/* cs_xdp and cs_explain in the kernel: connection IDs that say who made them (core/lb.h). */
#include <bpf/libbpf.h>

#include "../hex.h"
#include "../lb_vectors.h"
#include "packet.h"

#include "core/lb.h"

TestSuite(server, .init = make_all);

/* What the service of a CID has. */
static void set_configs(__u8 configs, const __u8 len[7], __u8 key_at, __u8 key_len)
{
	struct cs_service service;
	__u32 id = H3;

	check(!bpf_map_lookup_elem(plane.map[PLANE_SERVICES], &id, &service), "service");
	service.lb_configs = configs;
	memcpy(service.lb_len, len, 7);
	service.key_at = key_at;
	service.key_len = key_len;
	check(!bpf_map_update_elem(plane.map[PLANE_SERVICES], &id, &service, BPF_ANY), "service");
}

static void set_config(const struct cs_lb *lb, __u8 short_len)
{
	__u32 index = H3 * CS_LB_CONFIGS + lb->id;
	__u8 len[7] = { 0 };

	len[lb->id] = short_len;
	check(!bpf_map_update_elem(plane.map[PLANE_LB_CONFIGS], &index, lb, BPF_ANY),
	      "configuration");
	set_configs(1 << lb->id, len, 0, 0);
}

static struct cs_server_key key_of(__u8 config, const __u8 *id, __u32 len)
{
	struct cs_server_key key = { .service = H3, .config = config };

	memcpy(key.id, id, len);
	return key;
}

static void set_server(const struct cs_server_key *key, __u16 worker, __u8 flags)
{
	struct cs_server server = { .worker = worker, .flags = flags };

	check(!bpf_map_update_elem(plane.map[PLANE_SERVERS], key, &server, BPF_ANY), "server ID");
}

static void clear_server(const struct cs_server_key *key)
{
	check(!bpf_map_delete_elem(plane.map[PLANE_SERVERS], key), "server ID");
}

enum {
	SHORT,
	HANDSHAKE,
	INITIAL,
	KINDS
};

static size_t make_frame(struct frame *frame, int kind, const __u8 *cid, __u8 len)
{
	static __u8 payload[1200];
	struct frame_spec spec = { .payload = payload };

	memset(payload, 0, sizeof(payload));
	spec.payload_len = kind == SHORT ? quic_short(payload, 0x41, cid, len, 64) :
					   quic_long(payload, kind == INITIAL ? 0xc0 : 0xe0,
						     CS_QUIC_V1, cid, len, sizeof(payload));
	frame_build(frame, &spec);
	return frame->len;
}

static struct cs_hits hits_of(__u8 config)
{
	int cpus = libbpf_num_possible_cpus();
	struct cs_hits each[cpus], sum = { 0 };
	__u32 key = H3 * CS_CONFIGS + config;

	check(!bpf_map_lookup_elem(plane.map[PLANE_HITS], &key, each), "hits");
	for (int i = 0; i < cpus; i++) {
		sum.known[CS_HOOK_XDP] += each[i].known[CS_HOOK_XDP];
		sum.opening[CS_HOOK_XDP] += each[i].opening[CS_HOOK_XDP];
	}
	return sum;
}

/* What cs_explain says. */
static struct cs_verdict check_verdict(int kind, const __u8 *cid, __u8 len, __u32 reason,
				       __u16 worker, __u8 config)
{
	struct cs_verdict got;
	struct frame frame;

	make_frame(&frame, kind, cid, len);
	got = run_explain(&plane, frame.byte, frame.len, "explain");
	check(got.reason == reason, "kind %d, %u octets, first 0x%02x: reason %u, not %u", kind,
	      len, cid[0], got.reason, reason);
	check(!worker || got.worker == worker, "kind %d: worker %u, not %u", kind, got.worker,
	      worker);
	check(got.config == config, "kind %d: configuration %d", kind, got.config - 1);
	check(got.dcid_len == len && !memcmp(got.dcid, cid, len), "kind %d: DCID of %u, not %u",
	      kind, got.dcid_len, len);
	return got;
}

/* And cs_xdp counts it, as one verdict, and as a hit if it is one. */
static void check_cid(int kind, const __u8 *cid, __u8 len, __u32 reason, __u16 worker, __u8 config)
{
	struct cs_verdict said = check_verdict(kind, cid, len, reason, worker, config);
	struct cs_hits hits = config ? hits_of(config - 1) : (struct cs_hits){ 0 }, now;
	bool hit = config && worker && reason != CS_C_by_table;
	static struct counters before, after;
	struct frame frame;

	make_frame(&frame, kind, cid, len);
	counters_read(&plane, &before);
	check(!run_xdp(&plane, frame.byte, frame.len, "XDP"), "dropped");
	counters_read(&plane, &after);
	counters_add(&before, CS_HOOK_XDP, &said, false);
	counters_check(&before, &after, "counters");
	if (!config)
		return;
	now = hits_of(config - 1);
	check(now.known[CS_HOOK_XDP] - hits.known[CS_HOOK_XDP] == (hit && kind != INITIAL) &&
		      now.opening[CS_HOOK_XDP] - hits.opening[CS_HOOK_XDP] ==
			      (hit && kind == INITIAL),
	      "kind %d: hits", kind);
}

/* A CID whose ID is @key: from being nobody's to being a worker's that is gone. */
static void check_life(const __u8 *cid, __u8 len, const struct cs_server_key *key)
{
	__u8 config = 1 + key->config;

	check_cid(SHORT, cid, len, CS_C_unknown_cid, 0, 0);
	check_cid(HANDSHAKE, cid, len, CS_C_unknown_cid, 0, 0);
	check_cid(INITIAL, cid, len, CS_C_by_ring, 0, 0);
	set_server(key, ACTIVE, 0);
	check_cid(SHORT, cid, len, CS_C_by_server_id, ACTIVE, config);
	check_cid(HANDSHAKE, cid, len, CS_C_by_server_id, ACTIVE, config);
	check_cid(INITIAL, cid, len, CS_C_opens_by_server_id, ACTIVE, config);
	set_server(key, DRAINING, 0);
	check_cid(SHORT, cid, len, CS_C_by_server_id, DRAINING, config);
	check_cid(HANDSHAKE, cid, len, CS_C_by_server_id, DRAINING, config);
	check_cid(INITIAL, cid, len, CS_C_opens_by_draining, DRAINING, config);
	set_server(key, DEAD, 0);
	for (int kind = 0; kind < KINDS; kind++)
		check_cid(kind, cid, len, CS_C_dead_worker, 0, config);
	set_server(key, 0, 0); /* it rests */
	for (int kind = 0; kind < KINDS; kind++)
		check_cid(kind, cid, len, CS_C_dead_worker, 0, config);
	set_server(key, 0, CS_SERVER_ELSEWHERE);
	for (int kind = 0; kind < KINDS; kind++)
		check_cid(kind, cid, len, CS_C_elsewhere, 0, config);
	clear_server(key);
}

Test(server, the_draft_s_examples_lead_to_their_servers)
{
	for (size_t i = 0; i < COUNT(published); i++) {
		__u8 cid[CS_MAX_CID], id[16], nonce[20], key[16];
		size_t len = from_hex(cid, sizeof(cid), published[i].cid);
		size_t id_len = from_hex(id, sizeof(id), published[i].server_id);
		size_t nonce_len = from_hex(nonce, sizeof(nonce), published[i].nonce);
		struct cs_server_key server = key_of(published[i].id, id, id_len);
		struct cs_lb lb;

		if (published[i].key)
			from_hex(key, sizeof(key), published[i].key);
		cs_lb_init(&lb, published[i].id, id_len, nonce_len, 1,
			   published[i].key ? key : NULL);
		set_config(&lb, 0);
		check_life(cid, len, &server);
	}
}

/* One configuration of these lengths, and a CID of it with octets behind. */
static void check_lengths(__u64 *seed, __u32 id_len, __u32 nonce_len, bool has_key)
{
	__u8 octet[4][CS_MAX_CID], *cid = octet[3], len = 1 + id_len + nonce_len;
	bool tells = random_below(seed, 2);
	struct cs_server_key server;
	struct cs_lb lb;

	for (int i = 0; i < 4; i++)
		random_fill(seed, octet[i], CS_MAX_CID);
	len += random_below(seed, CS_MAX_CID + 1 - len);
	cs_lb_init(&lb, random_below(seed, CS_LB_CONFIGS), id_len, nonce_len, tells,
		   has_key ? octet[0] : NULL);
	check(!cs_lb_encode(&lb, octet[1], octet[2], random_below(seed, 32), cid, len), "encode");
	set_config(&lb, tells ? 0 : len);
	server = key_of(lb.id, octet[1], id_len);
	set_server(&server, ACTIVE, 0);
	check_verdict(SHORT, cid, len, CS_C_by_server_id, ACTIVE, 1 + lb.id);
	check_verdict(HANDSHAKE, cid, len, CS_C_by_server_id, ACTIVE, 1 + lb.id);
	clear_server(&server);
	/* With another last octet it is another server. */
	octet[1][id_len - 1] ^= 1;
	server = key_of(lb.id, octet[1], id_len);
	set_server(&server, ACTIVE, 0);
	check_verdict(SHORT, cid, len, CS_C_unknown_cid, 0, 0);
	clear_server(&server);
}

Test(server, every_length_of_server_id_and_nonce_is_decoded_with_and_without_a_key)
{
	__u64 seed = 5;

	for (__u32 id_len = 1; id_len <= CS_LB_MAX_SERVER_ID; id_len++) {
		for (__u32 nonce_len = CS_LB_MIN_NONCE; id_len + nonce_len <= CS_LB_MAX_LEN;
		     nonce_len++) {
			for (__u64 i = 0; i < 2 * rounds(1); i++)
				check_lengths(&seed, id_len, nonce_len, i % 2);
		}
	}
}

/* Plain IDs of three octets in each configuration, all live at once, of different lengths. */
Test(server, seven_configurations_live_side_by_side_and_0b111_is_the_table_s)
{
	static const __u8 len[7] = { 8, 9, 0, 20, 12, 0, 8 };
	__u8 cid[CS_MAX_CID] = { 0 };

	for (__u8 id = 0; id < 7; id++) {
		__u32 index = H3 * CS_LB_CONFIGS + id;
		__u8 name[3] = { 1, 2, id };
		struct cs_server_key key = key_of(id, name, 3);
		struct cs_lb lb;

		cs_lb_init(&lb, id, 3, 4, !len[id], NULL);
		check(!bpf_map_update_elem(plane.map[PLANE_LB_CONFIGS], &index, &lb, BPF_ANY),
		      "lb");
		set_server(&key, id % 2 ? ACTIVE : DRAINING, 0);
	}
	set_configs(0x7f, len, 0, 0);
	for (int first = 0; first < 256; first++) {
		__u8 id = first / 32, size = id == 7 ? 8 : len[id] ?: 1 + first % 32;

		if (size < 8 || size > CS_MAX_CID)
			continue;
		memcpy(cid, (__u8[]){ first, 1, 2, id }, 4);
		if (id < 7)
			check_verdict(SHORT, cid, size, CS_C_by_server_id,
				      id % 2 ? ACTIVE : DRAINING, 1 + id);
		else
			check_verdict(SHORT, cid, size, CS_C_unknown_cid, 0, 0);
	}
	cid[0] = 0xe0;
	add_route(H3, cid, 8, ACTIVE);
	check_verdict(SHORT, cid, 8, CS_C_by_table, ACTIVE, 0);
}

/* The table first in a long header, behind in a short one. */
Test(server, an_issued_route_wins_over_what_a_long_header_s_dcid_carries)
{
	__u8 cid[8] = { 0x07, 1, 2, 3, 9, 9, 9, 9 };
	struct cs_server_key key = key_of(0, cid + 1, 3);
	struct cs_lb lb;

	cs_lb_init(&lb, 0, 3, 4, 1, NULL);
	set_config(&lb, 0);
	set_server(&key, ACTIVE, 0);
	add_route(H3, cid, sizeof(cid), DRAINING);
	check_cid(INITIAL, cid, sizeof(cid), CS_C_by_table, DRAINING, 0);
	check_cid(HANDSHAKE, cid, sizeof(cid), CS_C_by_table, DRAINING, 0);
	check_cid(SHORT, cid, sizeof(cid), CS_C_by_server_id, ACTIVE, 1);
	/* What is another host's is looked for in the table, too. */
	set_server(&key, 0, CS_SERVER_ELSEWHERE);
	check_cid(SHORT, cid, sizeof(cid), CS_C_by_table, DRAINING, 1);
}

Test(server, other_formats_are_cut_out_behind_the_table)
{
	static const __u8 no_len[7];
	static const struct {
		__u8 at, len;
	} format[] = { { 0, 8 }, { 0, 1 }, { 7, 1 }, { 3, 4 }, { 1, 7 } };
	__u64 seed = 9;

	for (size_t i = 0; i < COUNT(format); i++) {
		struct cs_server_key key;
		__u8 cid[8];

		random_fill(&seed, cid, sizeof(cid));
		key = key_of(CS_BY_EXTRACTOR, cid + format[i].at, format[i].len);
		clear_routes(H3);
		set_configs(0, no_len, format[i].at, format[i].len);
		check_life(cid, sizeof(cid), &key);
		set_server(&key, ACTIVE, 0);
		add_route(H3, cid, sizeof(cid), DRAINING);
		check_cid(SHORT, cid, sizeof(cid), CS_C_by_table, DRAINING, 0);
		check_cid(INITIAL, cid, sizeof(cid), CS_C_by_table, DRAINING, 0);
		clear_server(&key);
	}
	/* A DCID that a client chose may be too short. */
	set_configs(0, no_len, 4, 8);
	clear_routes(H3);
	check_cid(INITIAL, (const __u8 *)"abcdefgh", 8, CS_C_by_ring, 0, 0);
}

/* By the service's policy, as what has no route. */
Test(server, packets_of_another_host_s_servers_are_dropped_where_unknown_ones_are)
{
	__u8 cid[8] = { 0x07, 1, 2, 3, 9, 9, 9, 9 };
	struct cs_server_key key = key_of(0, cid + 1, 3);
	struct frame frame;
	struct cs_lb lb;

	cs_lb_init(&lb, 0, 3, 4, 1, NULL);
	set_config(&lb, 0);
	set_server(&key, 0, CS_SERVER_ELSEWHERE);
	set_policies(H3, CS_POLICY_DROP, 0, CS_POLICY_QUIC, 0);
	set_lease(true);
	make_frame(&frame, SHORT, cid, sizeof(cid));
	check(run_xdp(&plane, frame.byte, frame.len, "short header"), "passes");
	make_frame(&frame, INITIAL, cid, sizeof(cid));
	check(!run_xdp(&plane, frame.byte, frame.len, "Initial"), "an Initial is dropped");
	set_policies(H3, CS_POLICY_PASS, 0, CS_POLICY_QUIC, 0);
	check_cid(SHORT, cid, sizeof(cid), CS_C_elsewhere, 0, 1);
}

/* ---- hosts: server IDs that are known by their first octets -----------------------------------
 */

static struct cs_server_key host_of(__u8 config, const __u8 *id, __u32 len)
{
	struct cs_server_key key = key_of(config, id, len);

	key.host = 1;
	return key;
}

static void encode(const struct cs_lb *lb, const __u8 *id, __u8 *cid, __u8 len)
{
	static const __u8 nonce[CS_LB_MAX_LEN] = { 9, 9, 9, 9 };

	check(!cs_lb_encode(lb, id, nonce, 0, cid, len), "encode");
}

/* All kinds of packets, at cs_xdp too. */
static void check_kinds(const __u8 *cid, __u8 len, __u32 reason, __u8 config)
{
	bool is_unknown = reason == CS_C_unknown_cid;

	check_cid(SHORT, cid, len, reason, 0, config);
	check_cid(HANDSHAKE, cid, len, reason, 0, config);
	check_cid(INITIAL, cid, len, is_unknown ? CS_C_by_ring : reason, 0, config);
}

/* The host's octets are asked for, each of them, and no other. */
static void check_octets(const struct cs_lb *lb, __u8 *id, __u8 len)
{
	__u8 cid[CS_MAX_CID];

	for (int i = 0; i < lb->server_id_len; i++) {
		bool is_host = i < lb->host_len;

		for (int bit = 0; bit < 8; bit += 7) {
			id[i] ^= 1 << bit;
			encode(lb, id, cid, len);
			check_verdict(SHORT, cid, len, is_host ? CS_C_unknown_cid : CS_C_elsewhere,
				      0, is_host ? 0 : 1 + lb->id);
			id[i] ^= 1 << bit;
		}
	}
	for (int i = lb->host_len; i < lb->server_id_len; i++)
		id[i] = 0;
	encode(lb, id, cid, len);
	check_verdict(SHORT, cid, len, CS_C_elsewhere, 0, 1 + lb->id);
}

/* The whole ID goes before what its host says. */
static void check_whole(const struct cs_lb *lb, const __u8 *id, const __u8 *cid, __u8 len)
{
	struct cs_server_key whole = key_of(lb->id, id, lb->server_id_len);

	set_server(&whole, ACTIVE, 0);
	check_cid(SHORT, cid, len, CS_C_by_server_id, ACTIVE, 1 + lb->id);
	check_cid(INITIAL, cid, len, CS_C_opens_by_server_id, ACTIVE, 1 + lb->id);
	set_server(&whole, 0, 0);
	check_verdict(SHORT, cid, len, CS_C_dead_worker, 0, 1 + lb->id);
	set_server(&whole, 0, CS_SERVER_ELSEWHERE);
	check_verdict(SHORT, cid, len, CS_C_elsewhere, 0, 1 + lb->id);
	clear_server(&whole);
}

/* Entries that are nearly the host's. */
static void check_near(const struct cs_lb *lb, const __u8 *id, const __u8 *cid, __u8 len)
{
	struct cs_server_key near[] = {
		host_of(lb->id, id, lb->host_len - 1),
		host_of(lb->id, id, lb->host_len + 1),
		host_of(lb->id, id, lb->server_id_len),
		host_of((lb->id + 1) % CS_LB_CONFIGS, id, lb->host_len),
		host_of(CS_BY_EXTRACTOR, id, lb->host_len),
		host_of(lb->id, id, lb->host_len),
		key_of(lb->id, id, lb->host_len),
	};

	near[5].service++;
	for (size_t i = 0; i < COUNT(near); i++) {
		set_server(&near[i], 0, CS_SERVER_ELSEWHERE);
		check_verdict(SHORT, cid, len, CS_C_unknown_cid, 0, 0);
		clear_server(&near[i]);
	}
}

static void check_host(__u64 *seed, __u32 host_len, __u32 id_len, bool has_key)
{
	__u8 id[CS_LB_MAX_SERVER_ID], key[16], cid[CS_MAX_CID], len = 1 + id_len + CS_LB_MIN_NONCE;
	struct cs_server_key host;
	struct cs_lb lb;

	random_fill(seed, id, sizeof(id));
	random_fill(seed, key, sizeof(key));
	for (__u32 i = 0; i < id_len; i++)
		id[i] |= 1; /* no zeros, which are behind the octets of a key */
	cs_lb_init(&lb, random_below(seed, CS_LB_CONFIGS), id_len, CS_LB_MIN_NONCE, 1,
		   has_key ? key : NULL);
	lb.host_len = host_len;
	set_config(&lb, 0);
	encode(&lb, id, cid, len);
	host = host_of(lb.id, id, host_len);
	check_kinds(cid, len, CS_C_unknown_cid, 0);
	check_near(&lb, id, cid, len);
	set_server(&host, 0, CS_SERVER_ELSEWHERE);
	check_kinds(cid, len, CS_C_elsewhere, 1 + lb.id);
	check_whole(&lb, id, cid, len);
	check_octets(&lb, id, len);
	set_server(&host, 0, 0); /* this host's own */
	check_kinds(cid, len, CS_C_unknown_cid, 0);
	encode(&lb, id, cid, len); /* with zeros behind the host's octets */
	check_kinds(cid, len, CS_C_unknown_cid, 0);
	check_whole(&lb, id, cid, len);
	clear_server(&host);
}

Test(server, an_id_that_is_nobody_s_here_is_its_host_s_for_every_number_of_octets)
{
	__u64 seed = 11;

	for (__u32 host_len = 1; host_len < CS_LB_MAX_SERVER_ID; host_len++) {
		for (__u32 id_len = host_len + 1; id_len <= CS_LB_MAX_SERVER_ID; id_len++)
			check_host(&seed, host_len, id_len, id_len % 2);
	}
}

Test(server, where_no_octets_say_which_host_entries_of_hosts_say_nothing)
{
	static const __u8 no_len[7], cid[8] = { 0x07, 1, 2, 3, 9, 9, 9, 9 };
	struct cs_lb lb;

	cs_lb_init(&lb, 0, 3, 4, 1, NULL);
	set_config(&lb, 0);
	for (__u32 len = 0; len <= 3; len++) {
		struct cs_server_key host = host_of(0, cid + 1, len);

		set_server(&host, 0, CS_SERVER_ELSEWHERE);
	}
	check_kinds(cid, sizeof(cid), CS_C_unknown_cid, 0);
	set_configs(0, no_len, 1, 3);
	for (__u32 len = 0; len <= 3; len++) {
		struct cs_server_key host = host_of(CS_BY_EXTRACTOR, cid + 1, len);

		set_server(&host, 0, CS_SERVER_ELSEWHERE);
	}
	check_kinds(cid, sizeof(cid), CS_C_unknown_cid, 0);
}

/* What opens a connection is this host's to take; what is in the table was issued here. */
Test(server, an_id_of_a_host_is_treated_as_one_that_is_known_whole)
{
	__u8 cid[8] = { 0x07, 1, 2, 3, 9, 9, 9, 9 };
	struct cs_server_key host = host_of(0, cid + 1, 2);
	struct frame frame;
	struct cs_lb lb;

	cs_lb_init(&lb, 0, 3, 4, 1, NULL);
	lb.host_len = 2;
	set_config(&lb, 0);
	set_server(&host, 0, CS_SERVER_ELSEWHERE);
	set_policies(H3, CS_POLICY_DROP, 0, CS_POLICY_QUIC, 0);
	set_lease(true);
	make_frame(&frame, SHORT, cid, sizeof(cid));
	check(run_xdp(&plane, frame.byte, frame.len, "short header"), "passes");
	make_frame(&frame, INITIAL, cid, sizeof(cid));
	check(!run_xdp(&plane, frame.byte, frame.len, "Initial"), "an Initial is dropped");
	add_route(H3, cid, sizeof(cid), DRAINING);
	check_cid(SHORT, cid, sizeof(cid), CS_C_by_table, DRAINING, 1);
	check_cid(INITIAL, cid, sizeof(cid), CS_C_by_table, DRAINING, 0);
}

/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the packet tests share: services and workers in the maps and in the model, and the check of
 * one packet.  It passes unchanged, exactly one verdict of exactly one service is counted, and
 * explain says what the model says and counts nothing.
 */
#ifndef CS_TEST_PACKET_H
#define CS_TEST_PACKET_H

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/if_ether.h>

#include "fixture.h"
#include "model.h"

static const char configuration[] =
	"service \"h3\" { listen = {\"[::]:4433\", \"10.0.0.7:4433\", \"[2001:db8::7]:4433\"} "
	"max_cids = 64 }\n"
	"service \"exact\" { listen = {\"10.0.0.8:4433\"} cid_length = 20 max_cids = 64 }\n"
	"service \"both\" { listen = {\"[::]:4500\", \"0.0.0.0:4500\"} max_cids = 64 }\n"
	"service \"v4\" { listen = {\"0.0.0.0:4600\"} cid_length = 1 max_cids = 64 }\n"
	"service \"bare\" { listen = {\"[::]:4700\"} cid_length = 0 max_cids = 64 }\n"
	"service \"idle\" { listen = {\"[2001:db8::9]:4800\"} max_cids = 64 }\n";

/* Of this host: 10.0.0.7 and 2001:db8::9 are only listened on. */
static const char *const local_addresses[] = { "10.0.0.1",    "10.0.0.8",    "2001:db8::1",
					       "2001:db8::7", "2001:db8::8", "2001:db8::108" };

enum {
	H3 = 1,
	EXACT,
	BOTH,
	V4,
	BARE,
	IDLE,
	SERVICES
};

/* Workers; 20 * service + 1 .. + 16 are the active ones in a service's ring. */
enum {
	ACTIVE = 200,
	DRAINING,
	DEAD,
	UNUSED,
	FOREIGN
};
#define RING_WORKERS 16

static struct plane plane;
static struct model model;
static struct cs_table table[SERVICES];

static inline void set_worker(__u32 id, __u8 state, __u16 service)
{
	struct cs_worker worker = { .state = state, .service = service, .index = 1000 + 3 * id };

	model.worker[id].state = state;
	model.worker[id].service = service;
	model.worker[id].index = worker.index;
	check(!bpf_map_update_elem(plane.map[PLANE_WORKERS], &id, &worker, BPF_ANY), "worker");
}

static inline void set_ring(__u32 service)
{
	check(!bpf_map_update_elem(plane.map[PLANE_RING], &service, model.service[service].ring,
				   BPF_ANY),
	      "ring");
}

/* The key is the test's, so that each run is the same. */
static inline void set_service(__u32 id, __u8 cid_len, bool used)
{
	struct cs_service service;

	check(!bpf_map_lookup_elem(plane.map[PLANE_SERVICES], &id, &service), "service");
	service.key[0] = 0x0706050403020100 * id;
	service.key[1] = 0x0f0e0d0c0b0a0908 + id;
	service.cid_len = cid_len;
	service.used = used;
	memcpy(model.service[id].key, service.key, 16);
	model.service[id].cid_len = cid_len;
	model.service[id].unknown_cid = service.unknown_cid;
	model.service[id].malformed = service.malformed;
	model.service[id].not_quic = service.not_quic;
	model.service[id].small_initial = service.small_initial;
	model.service[id].used = used;
	check(!bpf_map_update_elem(plane.map[PLANE_SERVICES], &id, &service, BPF_ANY), "service");
}

static inline void set_policies(__u32 id, __u8 unknown_cid, __u8 malformed, __u8 not_quic,
				__u8 small_initial)
{
	struct cs_service service;

	check(!bpf_map_lookup_elem(plane.map[PLANE_SERVICES], &id, &service), "service");
	service.unknown_cid = model.service[id].unknown_cid = unknown_cid;
	service.malformed = model.service[id].malformed = malformed;
	service.not_quic = model.service[id].not_quic = not_quic;
	service.small_initial = model.service[id].small_initial = small_initial;
	check(!bpf_map_update_elem(plane.map[PLANE_SERVICES], &id, &service, BPF_ANY), "service");
}

/* Tells the model of a listener: what the kernel looks up for it, checked against the claim. */
static inline void listens(const char *address, __u16 service, __u8 position, __u8 flags)
{
	struct model_listener *listener = &model.listener[model.listeners++];
	struct cs_listener value;
	struct cs_addr addr;

	check(!address_parse(address, &addr), "%s", address);
	check(!bpf_map_lookup_elem(plane.map[PLANE_ADDRS], &addr, &value), "%s is not there",
	      address);
	check(value.service == service && value.position == position && value.flags == flags,
	      "%s: service %u, position %u, flags %u", address, value.service, value.position,
	      value.flags);
	memcpy(listener->ip, addr.ip, 16);
	listener->port = ntohs(addr.port);
	listener->service = service;
	listener->position = position;
	listener->number = value.listener;
}

static inline void make_listeners(void)
{
	listens("[::]:4433", H3, 0, 0);
	listens("0.0.0.0:4433", H3, 0, CS_LISTENER_ALIAS);
	check(model.listener[0].number == model.listener[1].number, "the alias is another group");
	listens("10.0.0.7:4433", H3, 1, 0);
	listens("[2001:db8::7]:4433", H3, 2, 0);
	listens("10.0.0.8:4433", EXACT, 0, 0);
	listens("[::]:4500", BOTH, 0, 0);
	listens("0.0.0.0:4500", BOTH, 1, 0);
	listens("0.0.0.0:4600", V4, 0, 0);
	listens("[::]:4700", BARE, 0, 0);
	listens("0.0.0.0:4700", BARE, 0, CS_LISTENER_ALIAS);
	listens("[2001:db8::9]:4800", IDLE, 0, 0);
}

/* Takes an address for one of this host's; which place of its line it gets says nothing. */
static inline void make_local(const char *address)
{
	__u8 *ip = model.local[model.locals++];
	struct cs_local local;
	__u32 line;
	int free = 0;

	memcpy(ip, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 12);
	check(inet_pton(AF_INET6, address, ip) == 1 || inet_pton(AF_INET, address, ip + 12) == 1,
	      "%s", address);
	line = cs_local_line(0, (const __u64 *)ip);
	check(!bpf_map_lookup_elem(plane.map[PLANE_LOCALS], &line, &local), "cs_locals");
	while (free < 4 && local.addr[free][1])
		free++;
	check(free < 4, "%s: no room", address);
	memcpy(local.addr[free], ip, 16);
	check(!bpf_map_update_elem(plane.map[PLANE_LOCALS], &line, &local, BPF_ANY), "cs_locals");
}

static inline void set_lease(bool valid)
{
	struct cs_lease lease = { valid ? -1ULL : 1 };
	__u32 zero = 0;

	check(!bpf_map_update_elem(plane.map[PLANE_LEASE], &zero, &lease, BPF_ANY), "cs_lease");
}

static inline void make_all(void)
{
	static const __u8 cid_len[SERVICES] = {
		[H3] = 8, [EXACT] = 20, [BOTH] = 8, [V4] = 1, [BARE] = 0, [IDLE] = 8
	};
	__u64 seed = 1;

	sandbox_enter(120);
	plane_make(&plane, configuration);
	make_listeners();
	for (size_t i = 0; i < COUNT(local_addresses); i++)
		make_local(local_addresses[i]);
	for (__u32 id = 1; id < SERVICES; id++) {
		set_service(id, cid_len[id], true);
		check(!plane_map_table(plane_table_fd(&plane, id), true, &table[id]), "table");
		for (__u32 i = 1; i <= RING_WORKERS; i++)
			set_worker(20 * id + i, CS_WORKER_ACTIVE, id);
		for (int i = 0; i < CS_RING_SIZE && id != IDLE; i++)
			model.service[id].ring[i] = 20 * id + 1 + random_below(&seed, RING_WORKERS);
		set_ring(id);
	}
	set_worker(ACTIVE, CS_WORKER_ACTIVE, H3);
	set_worker(DRAINING, CS_WORKER_DRAINING, H3);
	set_worker(DEAD, CS_WORKER_DEAD, H3);
	set_worker(FOREIGN, CS_WORKER_ACTIVE, EXACT);
}

static inline __u64 tag_of(__u16 service, const void *cid, __u8 len)
{
	return siphash_reference(1, 3, model.service[service].key, cid, len) >> 16;
}

static inline void add_route(__u16 service, const void *cid, __u8 len, __u16 worker)
{
	struct model_route *route = &model.route[model.routes++];

	*route = (struct model_route){ .service = service, .worker = worker, .len = len };
	memcpy(route->cid, cid, len);
	check(!cs_table_insert(&table[service], tag_of(service, cid, len), worker,
			       CS_BUCKET_ROUTES),
	      "insert");
}

static inline void clear_routes(__u16 service)
{
	model.routes = 0;
	memset(table[service].buckets, 0, (table[service].mask + 1) * sizeof(struct cs_bucket));
}

static inline void same_verdict(const struct cs_verdict *got, const struct cs_verdict *expected,
				const char *what)
{
	check(got->reason == expected->reason, "%s: reason %u instead of %u", what, got->reason,
	      expected->reason);
	check(got->service == expected->service, "%s: service %u instead of %u", what, got->service,
	      expected->service);
	check(got->worker == expected->worker, "%s: worker %u instead of %u", what, got->worker,
	      expected->worker);
	check(got->form == expected->form && got->type == expected->type &&
		      got->dcid_len == expected->dcid_len && got->version == expected->version,
	      "%s: form %u, type %u, DCID of %u, version %x", what, got->form, got->type,
	      got->dcid_len, got->version);
	check(got->drop == expected->drop && got->small == expected->small, "%s: drop %u, small %u",
	      what, got->drop, got->small);
	check(got->routed == expected->routed && got->state == expected->state,
	      "%s: routed %u, state %u", what, got->routed, got->state);
	check(!memcmp(got, expected, sizeof(*got)), "%s: another verdict", what);
}

/*
 * One packet through both programs.  The whole counter array moves by what @reason and @service
 * say, and the verdict is the model's, member for member.  Without a policy that drops it passes.
 */
static inline struct cs_verdict check_packet(const void *frame, size_t len, __u32 reason,
					     __u16 service, const char *what)
{
	static struct counters before, after;
	struct cs_verdict expected = model_verdict(&model, frame, len), got;

	counters_read(&plane, &before);
	check(!run_xdp(&plane, frame, len, what), "%s: dropped", what);
	counters_read(&plane, &after);
	counters_add(&before, CS_HOOK_XDP, &expected, false);
	counters_check(&before, &after, what);
	got = run_explain(&plane, frame, len, what);
	counters_read(&plane, &before);
	counters_check(&after, &before, "explain counts");
	check(got.reason == reason && got.service == service,
	      "%s: explain says reason %u of service %u", what, got.reason, got.service);
	same_verdict(&got, &expected, what);
	return got;
}

/* clang-format off */
static const __u8 dcid_one[CS_MAX_CID] = { 0xd0, 1, 2, 3, 4, 5, 6, 7, 8, 9,
					   10, 11, 12, 13, 14, 15, 16, 17, 18, 19 };
/* clang-format on */

static inline struct cs_verdict check_spec(const struct frame_spec *spec, __u32 reason,
					   __u16 service, const char *what)
{
	struct frame frame;

	frame_build(&frame, spec);
	return check_packet(frame.byte, frame.len, reason, service, what);
}

/* A short header of h3, by default without a route. */
static inline struct frame_spec short_spec(void)
{
	static __u8 payload[64];
	struct frame_spec spec = { .payload = payload };

	spec.payload_len = quic_short(payload, 0x41, dcid_one, 8, sizeof(payload));
	return spec;
}

#define V6(last) "2001:db8::" last

#endif

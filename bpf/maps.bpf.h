/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Every map, each under its card: who writes, who reads, what happens when it is full.
 * All are pinned and outlive the daemon.  Sizes are fixed here, so that `ip link` can load them
 * too; only the inner maps of cs_cids are sized by the configuration.
 */
#ifndef CS_MAPS_BPF_H
#define CS_MAPS_BPF_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "core/decide.h"
#include "core/lb.h"

/* Layout version and network namespaces.  Written: daemon.  Read: daemon, command. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct cs_abi);
} cs_abi SEC(".maps");

/*
 * Network namespace -> port -> line of cs_lines, and what listens on all addresses of that port.
 * Written: daemon, from cs_addrs.  Read: XDP.  Never full: a line for each key of cs_addrs.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CS_MAX_NETNS);
	__type(key, __u32);
	__type(value, struct cs_ports);
} cs_ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CS_MAX_ADDRS + 1);
	__type(key, __u32);
	__type(value, struct cs_line);
} cs_lines SEC(".maps");

/*
 * Address -> service and listener, exact and wildcard.  Written: daemon.  Read: XDP, command.
 * Full: the daemon refuses the configuration.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, CS_MAX_ADDRS);
	__type(key, struct cs_addr);
	__type(value, struct cs_listener);
} cs_addrs SEC(".maps");

/* Addresses that are local in a network namespace.  Written: daemon, from rtnetlink.  Read: XDP.
 * Full: a line's fifth address is in cs_prefixes.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CS_MAX_NETNS *CS_LOCAL_LINES);
	__type(key, __u32);
	__type(value, struct cs_local);
} cs_locals SEC(".maps");

/* Local prefixes.  Written: daemon.  Read: XDP, for what cs_locals has not.  Full: the daemon says
 * which prefix is not taken for local.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, CS_MAX_PREFIXES);
	__type(key, struct cs_prefix);
	__type(value, __u32);
} cs_prefixes SEC(".maps");

/* Until when verdicts may drop.  Written: daemon, each second.  Read: XDP. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct cs_lease);
} cs_lease SEC(".maps");

/* Service id -> settings.  Written: daemon.  Read: programs, command.  Holds secrets. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CS_MAX_SERVICES);
	__type(key, __u32);
	__type(value, struct cs_service);
} cs_services SEC(".maps");

/* Templates of the inner maps.  The daemon makes the real ones, with this BTF too: 6.1 takes no
 * inner map with BTF where the template has none.
 */
struct cs_table_map {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE | BPF_F_INNER_MAP);
	__uint(max_entries, CS_MIN_BUCKETS);
	__type(key, __u32);
	__type(value, struct cs_bucket);
};

/*
 * Service id -> CID table.  Written: workers and daemon, through mappings.  Read: programs.
 * Full: issue returns -ENOSPC, counted in cs_usage.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, CS_MAX_SERVICES);
	__type(key, __u32);
	__array(values, struct cs_table_map);
} cs_cids SEC(".maps");

struct cs_usage_map {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, CS_MAX_SERVICE_WORKERS);
	__type(key, __u32);
	__type(value, struct cs_usage);
};

/*
 * Service id -> what each of its workers did.  Written: each line by its owner, through a
 * mapping; line 0 by the daemon.  Read: daemon, command.  Full: registering is refused.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, CS_MAX_SERVICES);
	__type(key, __u32);
	__array(values, struct cs_usage_map);
} cs_usage SEC(".maps");

/* clang 14 to 19 keep a type behind a pointer inside __array as a forward declaration, unless the
 * code of some program asks for it.  Costs two instructions.
 */
CS_INLINE void cs_keep_types(void)
{
	__u64 kept = bpf_core_type_id_local(struct cs_bucket) +
		     bpf_core_type_id_local(struct cs_usage);

	asm volatile("" ::"r"(kept));
}

/*
 * Service and id -> QUIC-LB configuration, at service * CS_LB_CONFIGS + id.  Written: daemon,
 * before its bit in cs_services is set.  Read: programs.  Holds secrets.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CS_MAX_SERVICES *CS_LB_CONFIGS);
	__type(key, __u32);
	__type(value, struct cs_lb);
} cs_lb_configs SEC(".maps");

/* Server ID, or a host's first octets of it -> worker, or another host's.  Written: daemon.  Read:
 * programs, command.  Full: a worker that wants an ID gets none.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, CS_MAX_SERVER_IDS);
	__type(key, struct cs_server_key);
	__type(value, struct cs_server);
} cs_servers SEC(".maps");

/* Service and configuration -> packets, at service * CS_CONFIGS + configuration, for each CPU.
 * Written: programs.  Read: daemon, command.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CS_MAX_SERVICES *CS_CONFIGS);
	__type(key, __u32);
	__type(value, struct cs_hits);
} cs_hits SEC(".maps");

/* Worker id -> state and target.  Written: daemon.  Read: programs, command.  Full: refused. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CS_MAX_WORKERS);
	__type(key, __u32);
	__type(value, struct cs_worker);
} cs_workers SEC(".maps");

/*
 * Worker's index + listener's position -> socket.  Written: daemon; the kernel empties the slot
 * of a socket that closes.  Read: cs_reuseport; a slot reads as its socket's SO_COOKIE.
 * A socket can be in one slot of one such map: this layout never changes.
 */
struct {
	__uint(type, BPF_MAP_TYPE_REUSEPORT_SOCKARRAY);
	__uint(max_entries, CS_MAX_SOCKETS);
	__type(key, __u32);
	__type(value, __u64);
} cs_sockets SEC(".maps");

/* Service id -> ring.  Written: daemon, all of it in one update.  Read: programs. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CS_MAX_SERVICES);
	__type(key, __u32);
	__type(value, struct cs_ring);
} cs_ring SEC(".maps");

/* Hook and service -> verdicts, for each CPU.  Written: programs.  Read: command. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CS_COUNTER_LINES);
	__type(key, __u32);
	__type(value, struct cs_counters);
} cs_counters SEC(".maps");

/*
 * Head of a UDP payload that does not lie whole in one piece: in fragments of an skb, in a second
 * buffer, or shorter than CS_HEAD_BYTES.  Written and read: programs, within one run, which is
 * never preempted by another of its hook on its CPU; a line for each hook.  Not on the stack,
 * where the verifier wants 8-byte loads aligned (6.1 to 6.18); a short header's DCID begins at
 * byte 1.
 */
struct cs_head {
	__u8 byte[CS_HEAD_BYTES + 6];
};
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CS_HOOKS);
	__type(key, __u32);
	__type(value, struct cs_head);
} cs_head SEC(".maps");

/* struct bpf_map as CO-RE finds it: the table's size is its own, never a setting beside it. */
struct bpf_map {
	__u32 max_entries;
} __attribute__((preserve_access_index));

CS_INLINE const struct cs_service *cs_map_service(__u32 service)
{
	return bpf_map_lookup_elem(&cs_services, &service);
}

CS_INLINE const struct cs_worker *cs_map_worker(__u32 worker)
{
	return bpf_map_lookup_elem(&cs_workers, &worker);
}

CS_INLINE __u32 cs_map_route(__u32 service, __u64 tag)
{
	struct bpf_map *table = bpf_map_lookup_elem(&cs_cids, &service);
	struct cs_bucket *bucket;
	__u32 index, mask, worker;

	if (!table)
		return 0;
	mask = table->max_entries - 1;
	index = cs_bucket_first(tag, mask);
	bucket = bpf_map_lookup_elem(table, &index);
	if (!bucket)
		return 0;
	worker = cs_bucket_find(bucket, tag); /* model: first */
	if (worker)
		return worker;
	index = cs_bucket_second(tag, mask);
	bucket = bpf_map_lookup_elem(table, &index);
	return bucket ? cs_bucket_find(bucket, tag) : 0; /* model: second */
}

CS_INLINE __u32 cs_map_ring(__u32 service, __u32 bucket)
{
	const struct cs_ring *ring = bpf_map_lookup_elem(&cs_ring, &service);

	return ring ? ring->worker[bucket & (CS_RING_SIZE - 1)] : 0;
}

/* The server ID that a CID carries.  Returns how many octets of it say which host, or -1: it
 * carries none.
 */
CS_INLINE int read_server_id(__u32 service, const struct cs_cid *cid, struct cs_server_key *key)
{
	const struct cs_service *settings = cs_map_service(service);
	__u32 index = service * CS_LB_CONFIGS + (cid->byte[0] >> 5);
	const struct cs_lb *lb;
	struct cs_server_id id;
	int err, host_len = 0;

	if (!settings)
		return -1;
	key->service = service;
	if (settings->key_len) {
		key->config = CS_BY_EXTRACTOR;
		err = cs_extract(cid, settings->key_at, settings->key_len, &id);
	} else {
		key->config = cid->byte[0] >> 5;
		lb = bpf_map_lookup_elem(&cs_lb_configs, &index);
		err = lb ? cs_lb_decode(lb, cid, &id) : -1;
		host_len = lb ? lb->host_len : 0;
	}
	if (err)
		return -1;
	key->id[0] = id.word[0];
	key->id[1] = id.word[1];
	return host_len;
}

/* Of an ID that is nobody's here: is it of another host? */
CS_INLINE __u32 find_host(struct cs_server_key *key, int host_len)
{
	const struct cs_server *host;

	key->id[0] = cs_keep_bytes(key->id[0], host_len);
	key->id[1] = cs_keep_bytes(key->id[1], host_len - 8);
	key->host = 1;
	host = bpf_map_lookup_elem(&cs_servers, key);
	return host && host->flags & CS_SERVER_ELSEWHERE ? CS_ID_ELSEWHERE : CS_ID_UNKNOWN;
}

/*
 * A function of its own for the verifier.  The CID comes in numbers, its length above its last
 * octets: a packet whose CID carries no server ID then need not have it in memory.
 */
__attribute__((noinline)) __u32 cs_find_server(__u32 service, __u64 first, __u64 second,
					       __u64 third_and_len)
{
	struct cs_cid cid = { .word = { first, second, (__u32)third_and_len },
			      .len = third_and_len >> 32 };
	struct cs_server_key key = {};
	const struct cs_server *server;
	int host_len = read_server_id(service, &cid, &key);

	if (host_len < 0)
		return CS_ID_UNKNOWN;
	server = bpf_map_lookup_elem(&cs_servers, &key);
	if (!server)
		return host_len ? find_host(&key, host_len) : CS_ID_UNKNOWN;
	return server->flags & CS_SERVER_ELSEWHERE ? CS_ID_ELSEWHERE : CS_ID_HERE | server->worker;
}

CS_INLINE __u32 cs_map_server(__u32 service, const struct cs_cid *cid)
{
	return cs_find_server(service, cid->word[0], cid->word[1],
			      cid->word[2] | (__u64)cid->len << 32);
}

/* A packet that went where its server ID says. */
CS_INLINE void count_hit(__u32 hook, const struct cs_verdict *verdict)
{
	__u32 key = verdict->service * CS_CONFIGS + verdict->config - 1;
	struct cs_hits *hits = bpf_map_lookup_elem(&cs_hits, &key);

	if (!hits || hook >= CS_HOOKS)
		return;
	if (verdict->reason == CS_C_by_server_id)
		hits->known[hook]++;
	else
		hits->opening[hook]++;
}

/*
 * One packet seen, one verdict, and what is to be noted beside it: also @note, CS_C_* or 0.  What
 * is still to be dropped was not.
 */
CS_INLINE void cs_count(__u32 hook, const struct cs_verdict *verdict, __u32 note)
{
	__u32 key = CS_COUNTER_KEY(hook, verdict->service);
	struct cs_counters *counters = bpf_map_lookup_elem(&cs_counters, &key);
	__u32 reason = verdict->reason;

#ifdef CS_EDITION /* tests replace the programs by others that do the same */
	asm volatile("r0 = %0" ::"i"(CS_EDITION) : "r0");
#endif
	/* clang 16 looks at one copy of it and uses another, which is on the stack: the verifiers
	 * do not know that they are the same.
	 */
	asm volatile("" : "+r"(reason));
	if (!counters || reason >= CS_COUNTERS)
		return;
	counters->seen++;
	((__u64 *)counters)[reason]++;
	if (verdict->small)
		counters->small_initial++;
	if (note) {
		/* clang looks at one less. */
		asm volatile("" : "+r"(note));
		if (note < CS_COUNTERS)
			((__u64 *)counters)[note]++;
	}
	if (verdict->drop)
		counters->not_enforced++;
	if (reason >= CS_C_by_server_id && reason <= CS_C_opens_by_draining)
		count_hit(hook, verdict);
}

#endif

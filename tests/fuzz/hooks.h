/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The programs of bpf/cidsteer.bpf.c in user space: helpers over memory, maps that are filled once,
 * a packet whose end is the end of what can be read.
 *
 * The first buffer of a frame lies below 4 GB, since struct xdp_md has 32 bits for its address, and
 * ends where a page ends that has no access behind it: so the first byte too many faults.
 */
#ifndef FUZZ_HOOKS_H
#define FUZZ_HOOKS_H

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cidsteer.bpf.c"
#include "common/address.h"
#include "fuzz.h"

#if __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(from, size) (void)(size)
#define ASAN_UNPOISON_MEMORY_REGION(from, size) (void)(size)
#endif

#define ROOM (1 << 17)	     /* bytes for a first buffer */
#define BELOW_4GB 0x60000000 /* where nothing else is */
#define NOW_NS 1000

/* ---- the packet ---------------------------------------------------------------------------- */

/* Bytes that a helper reads from: memory of exactly their length. */
struct bytes {
	__u8 *byte;
	__u32 length;
};

static __u8 *low;	     /* ROOM bytes, then a page without access */
static struct bytes whole;   /* the frame, or what lies from the UDP header on */
static struct bytes network; /* from the IP header on, at sk_reuseport */
static __u32 selected;	     /* slot + 1; 0: none */

/* A first buffer with these bytes; what lies in front of it is poisoned. */
static __u8 *place(const __u8 *bytes, __u32 length)
{
	static __u8 *before;
	__u8 *end = low + ROOM, *at = end - length;

	LAW(length <= ROOM);
	if (!before)
		before = low;
	ASAN_POISON_MEMORY_REGION(before, end - before);
	ASAN_UNPOISON_MEMORY_REGION(at, length);
	before = at;
	return memcpy(at, bytes, length);
}

static long load(const struct bytes *from, __u32 offset, void *to, __u32 length)
{
	LAW(length); /* the verifier refuses a program that could ask for none */
	if (offset > from->length || length > from->length - offset)
		return -EINVAL;
	memcpy(to, from->byte + offset, length);
	return 0;
}

__u64 bpf_xdp_get_buff_len(struct xdp_md *ctx)
{
	(void)ctx;
	return whole.length;
}

long bpf_xdp_load_bytes(struct xdp_md *ctx, __u32 offset, void *to, __u32 length)
{
	(void)ctx;
	return load(&whole, offset, to, length);
}

/* Writes zeros where it fails, as the kernel does. */
long bpf_skb_load_bytes(const void *md, __u32 offset, void *to, __u32 length)
{
	long err = load(&whole, offset, to, length);

	(void)md;
	if (err)
		memset(to, 0, length);
	return err;
}

long bpf_skb_load_bytes_relative(const void *md, __u32 offset, void *to, __u32 length, __u32 start)
{
	long err = load(&network, offset, to, length);

	(void)md;
	LAW(start == BPF_HDR_START_NET);
	if (err)
		memset(to, 0, length);
	return err;
}

__u64 bpf_ktime_get_ns(void)
{
	return NOW_NS;
}

/* ---- maps ---------------------------------------------------------------------------------- */

#define TABLE_BUCKETS 16

/* An array map.  The lines are one allocation, so that an index too high is seen. */
struct array {
	void *map;
	__u32 entries, value_size;
	char *value;
};

static struct array arrays[] = {
	{ &cs_ports, CS_MAX_NETNS, sizeof(struct cs_ports), NULL },
	{ &cs_lines, CS_MAX_ADDRS + 1, sizeof(struct cs_line), NULL },
	{ &cs_locals, CS_MAX_NETNS *CS_LOCAL_LINES, sizeof(struct cs_local), NULL },
	{ &cs_lease, 1, sizeof(struct cs_lease), NULL },
	{ &cs_services, CS_MAX_SERVICES, sizeof(struct cs_service), NULL },
	{ &cs_workers, CS_MAX_WORKERS, sizeof(struct cs_worker), NULL },
	{ &cs_ring, CS_MAX_SERVICES, sizeof(struct cs_ring), NULL },
	{ &cs_counters, CS_COUNTER_LINES, sizeof(struct cs_counters), NULL },
	{ &cs_head, CS_HOOKS, sizeof(struct cs_head), NULL },
	{ &cs_record, CS_RECORDS, sizeof(struct cs_record), NULL },
	{ &cs_left_out, CS_HOOKS, sizeof(struct cs_left_out), NULL },
	{ &cs_draft, CS_HOOKS, sizeof(struct cs_draft), NULL },
	{ &cs_targets, CS_MAX_WORKERS, sizeof(struct cs_target), NULL },
	{ &cs_cpu_counts, CS_MAX_CPUS, sizeof(struct cs_cpu_count), NULL },
	{ &cs_dev_counts, CS_MAX_DEVICES, sizeof(struct cs_dev_count), NULL },
	{ &cs_lb_configs, CS_MAX_SERVICES *CS_LB_CONFIGS, sizeof(struct cs_lb), NULL },
	{ &cs_hits, CS_MAX_SERVICES *CS_CONFIGS, sizeof(struct cs_hits), NULL },
};

/* A service's CID table: what cs_cids holds. */
struct inner {
	struct bpf_map map;
	struct cs_table table;
};

enum {
	PLAIN = 1,
	PASSES,
	DROPS,
	BY_TUPLE,
	GONE,
	EMPTY,
	ENCODED,
	EXTRACTED,
	SERVICES
};

static struct inner inner[SERVICES];

static struct {
	struct cs_addr addr;
	struct cs_listener listener;
} exact[CS_MAX_ADDRS];
static unsigned int exacts;

static struct cs_prefix prefixes[4];
static unsigned int prefix_count;

static void *array_at(const struct array *array, __u32 index)
{
	return index < array->entries ? array->value + (size_t)index * array->value_size : NULL;
}

/* A line of a map that is an array. */
static void *line_of(void *map, __u32 index)
{
	for (size_t i = 0; i < sizeof(arrays) / sizeof(arrays[0]); i++) {
		if (arrays[i].map == map)
			return array_at(&arrays[i], index);
	}
	return NULL;
}

static void *find_exact(const struct cs_addr *addr)
{
	for (unsigned int i = 0; i < exacts; i++) {
		if (!memcmp(&exact[i].addr, addr, sizeof(*addr)))
			return &exact[i].listener;
	}
	return NULL;
}

/* Whole bytes only: the prefixes here are of that kind. */
static void *find_prefix(const struct cs_prefix *key)
{
	for (unsigned int i = 0; i < prefix_count; i++) {
		if (key->netns == prefixes[i].netns &&
		    !memcmp(key->ip, prefixes[i].ip, (prefixes[i].len - 32) / 8))
			return &prefixes[i];
	}
	return NULL;
}

/* Half of all server IDs are somebody's: a worker's of each state, another host's, nobody's now. */
static void *find_server(const struct cs_server_key *key)
{
	static struct cs_server server;
	__u32 which = key->id[0] & 15;

	LAW(key->service == ENCODED ? key->config <= 2 :
				      key->service == EXTRACTED && key->config == CS_BY_EXTRACTOR);
	server = (struct cs_server){ .worker = which < 4 ? key->service * 4 + which :
					       which < 5 ? CS_MAX_WORKERS - 1 :
							   0,
				     .flags = which == 6 ? CS_SERVER_ELSEWHERE : 0 };
	return which < 8 ? &server : NULL;
}

static void *bucket_at(const struct inner *in, __u32 index)
{
	return index <= in->table.mask ? &in->table.buckets[index] : NULL;
}

void *bpf_map_lookup_elem(void *map, const void *key)
{
	__u32 index;

	if (map == &cs_addrs)
		return find_exact(key);
	if (map == &cs_prefixes)
		return find_prefix(key);
	if (map == &cs_servers)
		return find_server(key);
	memcpy(&index, key, sizeof(index));
	if (map == &cs_cids)
		return index < SERVICES && inner[index].table.buckets ? &inner[index] : NULL;
	if ((struct inner *)map >= inner && (struct inner *)map < inner + SERVICES)
		return bucket_at(map, index);
	return line_of(map, index);
}

/* A trace that nobody reads: what it is given can be read. */
long bpf_ringbuf_output(void *map, void *data, __u64 size, __u64 flags)
{
	static struct cs_record record;

	LAW(map == &cs_traced && size == sizeof(record) && !flags);
	memcpy(&record, data, size);
	return 0;
}

#define QUEUED_CPU 1   /* has a queue; others have not */
static __u32 this_cpu; /* that the programs run on */
#define FULL_SLOT 1    /* has a device; others have not */
#define GONE_DEVICE 9  /* an interface's index that is nobody's any more */
#define DEVICE_MTU 1400
#define XSK_NIC 7  /* where workers have AF_XDP sockets, of queues 2 to 5, in slots 3 to 6 */
#define FULL_XSK 4 /* slot that has one; others have not */
static const __u8 device_mac[6] = { 2, 0, 0, 0xd, 0xe, 0xf };

__u32 bpf_get_smp_processor_id(void)
{
	return this_cpu;
}

long bpf_redirect_map(void *map, __u64 key, __u64 flags)
{
	LAW((map == &cs_cpus || map == &cs_devs || map == &cs_xsks) && flags == XDP_PASS);
	if (map == &cs_xsks)
		return key == FULL_XSK ? XDP_REDIRECT : (long)flags;
	return key == (map == &cs_cpus ? QUEUED_CPU : FULL_SLOT) ? XDP_REDIRECT : (long)flags;
}

long bpf_check_mtu(void *ctx, __u32 ifindex, __u32 *bytes, __s32 difference, __u64 flags)
{
	LAW(ctx && ifindex && *bytes == whole.length - ETH_HLEN && !difference && !flags);
	if (ifindex == GONE_DEVICE)
		return -ENODEV;
	return *bytes > DEVICE_MTU ? BPF_MTU_CHK_RET_FRAG_NEEDED : BPF_MTU_CHK_RET_SUCCESS;
}

long bpf_sk_select_reuseport(struct sk_reuseport_md *md, void *map, void *key, __u64 flags)
{
	__u32 slot;

	memcpy(&slot, key, sizeof(slot));
	LAW(md && map == &cs_sockets && !flags && slot < CS_MAX_SOCKETS);
	if (slot % 4) /* each worker has one socket, in the first of its slots */
		return -ENOENT;
	selected = slot + 1;
	return 0;
}

/* ---- what is in the maps ------------------------------------------------------------------- */

static const struct cs_service services[SERVICES] = {
	[PLAIN] = { .used = 1, .cid_len = 8, .not_quic = CS_POLICY_QUIC },
	[PASSES] = { .used = 1,
		     .cid_len = 20,
		     .unknown_cid = CS_POLICY_PASS,
		     .malformed = CS_POLICY_PASS,
		     .not_quic = CS_POLICY_HASH,
		     .small_initial = CS_POLICY_DROP },
	[DROPS] = { .used = 1,
		    .cid_len = 4,
		    .unknown_cid = CS_POLICY_DROP,
		    .malformed = CS_POLICY_DROP,
		    .not_quic = CS_POLICY_DROP,
		    .small_initial = CS_POLICY_DROP,
		    .no_xsk = CS_POLICY_DROP },
	[BY_TUPLE] = { .used = 1, .not_quic = CS_POLICY_PASS },
	[GONE] = {},
	[EMPTY] = { .used = 1,
		    .cid_len = 16,
		    .unknown_cid = CS_POLICY_DROP,
		    .malformed = CS_POLICY_DROP,
		    .not_quic = CS_POLICY_QUIC,
		    .small_initial = CS_POLICY_DROP },
	[ENCODED] = { .used = 1,
		      .cid_len = 8,
		      .unknown_cid = CS_POLICY_DROP,
		      .not_quic = CS_POLICY_QUIC,
		      .lb_configs = 7,
		      .lb_len = { 8, 0, 12 } },
	[EXTRACTED] = { .used = 1,
			.cid_len = 18,
			.not_quic = CS_POLICY_QUIC,
			.key_at = 7,
			.key_len = 10 },
};

/* Of each service but EMPTY: one of each state, by the lower two bits of their ids. */
static const __u8 states[] = { CS_WORKER_WAITING, CS_WORKER_ACTIVE, CS_WORKER_DRAINING,
			       CS_WORKER_DEAD };

static __u32 worker_of(__u32 service, __u32 number)
{
	return service * 4 + number % 4;
}

/* The ID of @len bytes that are all @fill is worker @fill's, also where that is another service's.
 */
static void add_routes(__u32 id, const struct cs_service *service)
{
	struct inner *in = &inner[id];

	in->map.max_entries = TABLE_BUCKETS;
	in->table.mask = TABLE_BUCKETS - 1;
	in->table.buckets = aligned_alloc(64, TABLE_BUCKETS * sizeof(struct cs_bucket));
	memset(in->table.buckets, 0, TABLE_BUCKETS * sizeof(struct cs_bucket));
	for (__u32 fill = 1; fill < 8; fill++) {
		struct cs_cid cid = { .len = service->cid_len ?: 8 };
		__u32 worker = fill < 5 ? worker_of(id, fill) :
			       fill < 7 ? fill :
					  CS_MAX_WORKERS - 1;

		memset(cid.byte, fill, cid.len);
		LAW(!cs_table_insert(&in->table, cs_tag(cs_cid_hash(service->key, &cid)), worker,
				     CS_BUCKET_ROUTES));
	}
}

static void add_service(__u32 id)
{
	struct cs_service *service = line_of(&cs_services, id);
	struct cs_ring *ring = line_of(&cs_ring, id);

	*service = services[id];
	service->key[0] = id;
	if (id == EMPTY || id == GONE)
		return;
	for (__u32 number = 0; number < 4; number++) {
		struct cs_worker *worker = line_of(&cs_workers, worker_of(id, number));
		struct cs_target *target = line_of(&cs_targets, worker_of(id, number));

		*worker = (struct cs_worker){
			.state = states[number],
			.service = id,
			.index = worker_of(id, number) * 4,
			.target = (id + number) % 4,
		};
		target->index = id % 2 ? 1 : 2; /* QUEUED_CPU or FULL_SLOT, or neither */
		target->ifindex = number % 2 ? 7 : GONE_DEVICE;
		memcpy(target->mac, device_mac, sizeof(target->mac));
		/* On the last of its interfaces. */
		target->nic[0] = (struct cs_nic){ .ifindex = XSK_NIC + 1 };
		target->nic[number] = (struct cs_nic){ XSK_NIC, 3, 2, 3 };
	}
	for (__u32 bucket = 0; bucket < CS_RING_SIZE; bucket++)
		ring->worker[bucket] = bucket % 8 ? worker_of(id, bucket) : bucket % 16 ? 0 : 1;
	add_routes(id, service);
}

static void add_local(const struct cs_addr *addr)
{
	__u64 word[2];
	struct cs_local *local;

	memcpy(word, addr->ip, sizeof(word));
	local = line_of(&cs_locals, cs_local_line(0, word));
	memcpy(local->addr[0], word, sizeof(word));
}

static void add_prefix(const char *text, __u32 bits)
{
	struct cs_ports *ports = line_of(&cs_ports, 0);
	struct cs_addr addr;

	LAW(!address_parse(text, &addr));
	prefixes[prefix_count].len = 32 + bits;
	memcpy(prefixes[prefix_count++].ip, addr.ip, 16);
	ports->prefixes = prefix_count;
}

/* Listens on an address; a dual-stack wildcard takes IPv4, too. */
static void add_listener(const char *text, __u16 service, __u8 position, int dual)
{
	struct cs_listener listener = { .service = service, .listener = 1, .position = position };
	struct cs_ports *ports = line_of(&cs_ports, 0);
	static __u32 lines;
	struct cs_line *line;
	struct cs_addr addr;

	LAW(!address_parse(text, &addr));
	if (!ports->line[addr.port])
		ports->line[addr.port] = ++lines;
	line = line_of(&cs_lines, ports->line[addr.port]);
	if (!address_is_wildcard(&addr)) {
		line->exact = 1;
		exact[exacts].addr = addr;
		exact[exacts++].listener = listener;
		return;
	}
	line->any[address_is_ipv4(&addr)] = listener;
	if (dual)
		line->any[1] = listener;
}

static const struct {
	const char *addr;
	__u16 service;
	__u8 position;
	int dual;
} listeners[] = {
	{ "192.0.2.1:443", PLAIN, 0, 0 }, { "[2001:db8::1]:443", PASSES, 1, 0 },
	{ "[::]:443", DROPS, 0, 1 },	  { "0.0.0.0:444", DROPS, 0, 0 },
	{ "[::]:445", BY_TUPLE, 0, 1 },	  { "[::]:446", GONE, 0, 1 },
	{ "[::]:447", EMPTY, 0, 1 },	  { "[::]:448", PLAIN, 0, 1 },
	{ "[::]:449", ENCODED, 0, 1 },	  { "[::]:450", EXTRACTED, 0, 1 },
};

/* Configurations without a key, of one block, of four passes. */
static void add_configs(void)
{
	static const __u8 key[16] = "not a secret key";
	__u32 at = ENCODED * CS_LB_CONFIGS;

	cs_lb_init(line_of(&cs_lb_configs, at), 0, 3, 4, 0, NULL);
	cs_lb_init(line_of(&cs_lb_configs, at + 1), 1, 8, 8, 1, key);
	cs_lb_init(line_of(&cs_lb_configs, at + 2), 2, 5, 6, 0, key);
}

/* Memory, and in it what is local. */
static void begin_world(void)
{
	long page = sysconf(_SC_PAGESIZE);
	struct cs_addr addr;

	low = mmap((void *)BELOW_4GB, ROOM + page, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	LAW(low != MAP_FAILED && (uintptr_t)low + ROOM + page <= UINT32_MAX &&
	    !mprotect(low + ROOM, page, PROT_NONE));
	for (size_t i = 0; i < sizeof(arrays) / sizeof(arrays[0]); i++)
		arrays[i].value = calloc(arrays[i].entries, arrays[i].value_size);
	for (size_t i = 0; i < sizeof(listeners) / sizeof(listeners[0]); i++) {
		LAW(!address_parse(listeners[i].addr, &addr));
		if (!address_is_wildcard(&addr))
			add_local(&addr);
	}
	add_prefix("198.51.100.0:1", 96 + 24);
	add_prefix("[2001:db8:1::]:1", 64);
}

/* A service with its workers, routes and listeners. */
static void populate(__u32 id)
{
	add_service(id);
	if (id == ENCODED)
		add_configs();
	for (size_t i = 0; i < sizeof(listeners) / sizeof(listeners[0]); i++) {
		if (listeners[i].service == id)
			add_listener(listeners[i].addr, id, listeners[i].position,
				     listeners[i].dual);
	}
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	begin_world();
	for (__u32 id = 1; id < SERVICES; id++)
		populate(id);
	return 0;
}

/* ---- running ------------------------------------------------------------------------------- */

static inline void set_lease(int valid)
{
	struct cs_lease *lease = line_of(&cs_lease, 0);

	lease->until_ns = valid ? NOW_NS + 1 : NOW_NS;
}

/* Writes what a program's loader writes into its read-only data. */
static void set_listener(const struct cs_listener *listener)
{
	static int writable;
	long page = sysconf(_SC_PAGESIZE);
	void *to = (void *)&cs_listener;

	barrier_var(to); /* the compiler leaves out what is written to a constant */
	if (!writable)
		LAW(!mprotect((void *)((uintptr_t)to & -page), 2 * page, PROT_READ | PROT_WRITE));
	writable = 1;
	memcpy(to, listener, sizeof(*listener));
}

/* Of one verdict: one packet seen, one reason, notes beside it. */
static void check_counted(__u32 hook, const struct cs_verdict *verdict, int dropped, __u32 note)
{
	struct cs_counters *now = line_of(&cs_counters, CS_COUNTER_KEY(hook, verdict->service));
	struct cs_hits *hits = line_of(&cs_hits,
				       verdict->service * CS_CONFIGS + verdict->config - 1);
	int hit = verdict->reason >= CS_C_by_server_id && verdict->reason <= CS_C_opens_by_draining;
	__u64 verdicts = 0;

	for (__u32 i = CS_C_not_ours; i < CS_COUNTERS; i++) {
		if (i < CS_C_small_initial || i >= CS_C_dropped_no_xsk)
			verdicts += ((const __u64 *)now)[i];
	}
	LAW(!hit || hits->known[hook] + hits->opening[hook] == (!dropped && !now->no_socket));
	if (hit)
		memset(hits, 0, sizeof(*hits));
	LAW(now->seen == 1 && verdicts == 1);
	LAW(verdict->dcid_len <= CS_MAX_CID);
	LAW(now->small_initial == !!verdict->small);
	for (__u32 i = CS_C_to_cpu; i <= CS_C_not_to_xsk; i++)
		LAW(((const __u64 *)now)[i] == (i == note));
	LAW(now->not_enforced == (verdict->drop && !dropped));
	memset(now, 0, sizeof(*now));
}

/* What an earlier packet left in cs_head says nothing. */
static void spoil_heads(void)
{
	static __u8 junk;

	junk++;
	for (__u32 hook = 0; hook < CS_HOOKS; hook++)
		memset(line_of(&cs_head, hook), junk, sizeof(struct cs_head));
}

/* A frame of which @first bytes are in the first buffer. */
static inline struct xdp_md xdp_context(const struct bytes *frame, __u32 first)
{
	__u8 *at = place(frame->byte, first);

	spoil_heads();
	whole = *frame;
	return (struct xdp_md){ .data = (long)at, .data_end = (long)(at + first) };
}

/* A datagram of which @linear bytes, from the UDP header on, are readable in place. */
static struct sk_reuseport_md skb_context(const struct bytes *datagram, __u32 linear,
					  const struct bytes *ip, __u16 ethertype)
{
	__u8 *at = place(datagram->byte, linear);

	whole = *datagram;
	network = *ip;
	return (struct sk_reuseport_md){
		.data = at,
		.data_end = at + linear,
		.len = datagram->length,
		.eth_protocol = bpf_htons(ethertype),
	};
}

/* What cs_reuseport decides; it passes every packet. */
static void run_reuseport(struct sk_reuseport_md *md, const struct cs_listener *listener,
			  struct cs_verdict *verdict)
{
	struct cs_packet packet = { .md = md };
	struct cs_verdict counted;

	spoil_heads();
	set_listener(listener);
	cs_decide(&packet, listener, verdict);
	selected = 0;
	LAW(cs_reuseport(md) == SK_PASS);
	LAW(!selected || (verdict->worker && selected == verdict->index + listener->position + 1));
	counted = *verdict;
	check_counted(CS_HOOK_REUSEPORT, &counted, 0, 0);
}

#endif

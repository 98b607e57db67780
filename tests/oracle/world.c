// SPDX-License-Identifier: GPL-2.0-only
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include "../siphash_reference.h"
#include "core/lb.h"
#include "core/quic.h"
#include "oracle.h"

#define ROUTES 48	  /* of each service */
#define WORKERS 7	  /* of each service */
#define IDS 8		  /* server IDs of each QUIC-LB configuration and of each extractor */
#define HOSTS 4		  /* and hosts: this one, two others, one with all octets of an ID */
#define CARRIERS 16	  /* more routes of a service that has them, of CIDs with such an ID */
#define PREFIXES 12	  /* that are local */
#define SCATTERED 12	  /* local addresses */
#define CROWDED 5	  /* more of them, which share a line of cs_locals */
#define ELSEWHERE_NETNS 5 /* another namespace */

/* Every way in which a listener can be found, or be missed. */
static const char *const listeners[][3] = {
	{ "[::]:4433", "10.0.0.7:4433", "[2001:db8::7]:4433" },
	{ "10.0.0.8:4433" },
	{ "[2001:db8::8]:4433" },
	{ "[::]:4500" },
	{ "0.0.0.0:4500" },
	{ "0.0.0.0:4600" },
	{ "[2001:db8::9]:4700" },
	{ "10.0.0.9:4800", "[::]:443" },
	{ "[::]:5001" },
	{ "[::]:5002" },
	{ "[::]:5003" },
	{ "[::]:5004" },
	{ "[::]:5005" },
	{ "[::]:5006" },
	{ "[::]:5007" },
	{ "[::]:5008" },
	{ "[::]:5009" },
	{ "[::]:5010" },
	{ "[::]:5011" },
	{ "[::]:5012" },
};
__u32 world_cpu, world_other_cpu, world_device;
const __u8 world_mac[6] = { 2, 0, 0, 0xd, 0xe, 0xf };
const __u32 world_services = COUNT(listeners);

static const char *const policies[] = { [CS_POLICY_HASH] = "hash",
					[CS_POLICY_PASS] = "pass",
					[CS_POLICY_DROP] = "drop",
					[CS_POLICY_QUIC] = "quic" };
static const char *const states[] = { [CS_WORKER_NONE] = "none",
				      [CS_WORKER_WAITING] = "waiting",
				      [CS_WORKER_ACTIVE] = "active",
				      [CS_WORKER_DRAINING] = "draining",
				      [CS_WORKER_DEAD] = "dead" };

struct plane plane = PLANE_INIT;
static struct cs_table table[COUNT(listeners) + 1];
static struct cs_service service[COUNT(listeners) + 1];
static __u16 worker[COUNT(listeners) + 1][WORKERS];
static int locals, prefixes, lease;
static __u32 netns;
static __u64 seed;
static FILE *out;

/* ---- numbers -------------------------------------------------------------------------------- */

/* SplitMix64 (Steele, Lea, Flood 2014). */
static __u64 random_word(void)
{
	__u64 z = seed += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

/* 0 .. @bound - 1 */
static __u32 below(__u32 bound)
{
	return (random_word() >> 32) * bound >> 32;
}

static int percent(__u32 chance)
{
	return below(100) < chance;
}

static void random_fill(void *to, size_t size)
{
	for (size_t i = 0; i < size; i++)
		((__u8 *)to)[i] = random_word();
}

static void print_hex(const void *bytes, size_t size)
{
	fputc('"', out);
	for (size_t i = 0; i < size; i++)
		fprintf(out, "%02x", ((const __u8 *)bytes)[i]);
	fputc('"', out);
}

static const char *comma(int first)
{
	return first ? "" : ", ";
}

/* ---- loading -------------------------------------------------------------------------------- */

static void write_config(void)
{
	FILE *file = fopen(CONFIG, "we");

	check(file, "%s: %s", CONFIG, strerror(errno));
	for (__u32 id = 1; id <= world_services; id++) {
		fprintf(file, "service \"s%u\" { max_cids = 64 listen = {", id);
		for (int i = 0; i < 3 && listeners[id - 1][i]; i++)
			fprintf(file, "%s\"%s\"", comma(!i), listeners[id - 1][i]);
		fprintf(file, "} }\n");
	}
	check(!fclose(file), "%s: %s", CONFIG, strerror(errno));
}

static int open_map(const char *name)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), PINS "/%s", name);
	fd = bpf_obj_get(path);
	check(fd >= 0, "%s: %s", path, strerror(errno));
	return fd;
}

void world_load(void)
{
	struct error error = { "" };
	bool adopted, upgraded;
	struct config *config;

	write_config();
	check(!config_read(CONFIG, &config, &error), "%s", error.line);
	check(!plane_start(&plane, PINS, config, &adopted, &upgraded, &error), "%s", error.line);
	config_free(config);
	for (__u32 id = 1; id <= world_services; id++) {
		char name[CS_NAME_SIZE];

		snprintf(name, sizeof(name), "s%u", id);
		check(!plane_service(&plane, id, &service[id]) && !strcmp(service[id].name, name),
		      "service %u is not %s", id, name);
		check(!plane_map_table(plane_table_fd(&plane, id), true, &table[id]), "table %u",
		      id);
	}
	locals = open_map("cs_locals");
	prefixes = open_map("cs_prefixes");
	lease = open_map("cs_lease");
	while (netns < CS_MAX_NETNS && plane.abi.netns_cookie[netns] != plane_netns_cookie())
		netns++;
	check(netns < CS_MAX_NETNS && netns != ELSEWHERE_NETNS, "the namespace is not in cs_abi");
}

void world_lease(int valid)
{
	struct cs_lease value = { 0 };
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	value.until_ns = now.tv_sec * 1000000000ULL + now.tv_nsec;
	if (valid)
		value.until_ns += 3600 * 1000000000ULL;
	check(!bpf_map_update_elem(lease, &(__u32){ 0 }, &value, BPF_ANY), "cs_lease");
}

/* ---- local addresses ------------------------------------------------------------------------ */

static struct cs_local line[CS_LOCAL_LINES];
static struct cs_prefix prefix[64];
static __u32 prefix_count;

static void random_address(__u8 ip[16])
{
	static const __u8 mapped[12] = { [10] = 0xff, 0xff };

	random_fill(ip, 16);
	if (percent(50))
		memcpy(ip, mapped, sizeof(mapped));
	else
		memcpy(ip, "\x20\x01\x0d\xb8", 4);
}

static void add_prefix(__u32 of, const void *ip, __u32 bits)
{
	struct cs_prefix *key = &prefix[prefix_count++];

	*key = (struct cs_prefix){ .len = 32 + bits, .netns = of };
	memcpy(key->ip, ip, 16);
	for (__u32 bit = bits; bit < 128; bit++)
		key->ip[bit / 8] &= ~(0x80 >> bit % 8);
	check(!bpf_map_update_elem(prefixes, key, &(__u32){ 1 }, BPF_ANY), "cs_prefixes: %s",
	      strerror(errno));
}

static void add_local(const __u8 ip[16])
{
	struct cs_local *at;
	__u64 words[2];
	__u32 key;

	memcpy(words, ip, 16);
	key = cs_local_line(netns, words);
	at = &line[key - netns * CS_LOCAL_LINES];
	for (int i = 0; i < 4; i++) {
		if (at->addr[i][0] || at->addr[i][1])
			continue;
		memcpy(at->addr[i], words, 16);
		check(!bpf_map_update_elem(locals, &key, at, BPF_ANY), "cs_locals");
		return;
	}
	add_prefix(netns, ip, 128);
}

/* One that another namespace has, in both maps. */
static void add_elsewhere(const __u8 ip[16])
{
	struct cs_local other = {};
	__u64 words[2];
	__u32 key;

	memcpy(words, ip, 16);
	memcpy(other.addr[0], words, 16);
	key = cs_local_line(ELSEWHERE_NETNS, words);
	check(!bpf_map_update_elem(locals, &key, &other, BPF_ANY), "cs_locals");
	add_prefix(ELSEWHERE_NETNS, ip, 128);
}

static void forget_locals(void)
{
	static const struct cs_local none;

	for (__u32 i = 0; i < CS_LOCAL_LINES; i++) {
		__u32 key = netns * CS_LOCAL_LINES + i;

		if (line[i].addr[0][0] || line[i].addr[0][1])
			check(!bpf_map_update_elem(locals, &key, &none, BPF_ANY), "cs_locals");
	}
	memset(line, 0, sizeof(line));
	while (prefix_count)
		bpf_map_delete_elem(prefixes, &prefix[--prefix_count]);
}

static void print_address(const __u8 ip[16], int first)
{
	fputs(comma(first), out);
	print_hex(ip, 16);
}

/* Alone in their lines, and so many in one line that the last has no room there. */
static void make_addresses(void)
{
	__u8 ip[16], first[16];
	__u64 words[2];

	fprintf(out, "\"locals\": [");
	for (int i = 0; i < SCATTERED + CROWDED; i++) {
		do {
			random_address(ip);
			memcpy(words, ip, 16);
		} while (i > SCATTERED &&
			 cs_local_line(netns, words) != cs_local_line(netns, (__u64 *)first));
		if (i == SCATTERED)
			memcpy(first, ip, 16);
		add_local(ip);
		print_address(ip, !i);
	}
	fprintf(out, "],\n\"elsewhere\": [");
	for (int i = 0; i < 8; i++) {
		random_address(ip);
		add_elsewhere(ip);
		print_address(ip, !i);
	}
	fprintf(out, "],\n");
}

/* Of all lengths; every second lies in the one before. */
static void make_prefixes(void)
{
	__u32 bits = 0, begin, ours = 0;
	struct cs_ports ports;
	__u8 ip[16];

	fprintf(out, "\"prefixes\": [");
	for (int i = 0; i < PREFIXES; i++) {
		if (!(i % 2))
			random_address(ip);
		begin = ip[0] ? 8 : 96 + 4;
		if (i % 2 && bits > begin)
			begin = bits;
		bits = begin + below(128 - begin + 1);
		add_prefix(netns, ip, bits);
		fprintf(out, "%s[", comma(!i));
		print_hex(ip, 16);
		fprintf(out, ", %u]", bits);
	}
	fprintf(out, "],\n");
	for (__u32 i = 0; i < prefix_count; i++)
		ours += prefix[i].netns == netns;
	check(!bpf_map_lookup_elem(plane.map[PLANE_PORTS], &netns, &ports), "cs_ports");
	ports.prefixes = ours;
	check(!bpf_map_update_elem(plane.map[PLANE_PORTS], &netns, &ports, BPF_ANY), "cs_ports");
}

/* ---- services ------------------------------------------------------------------------------- */

/* Each fourth has none, a CPU, a device, AF_XDP sockets.  CPUs: this one and the next have queues,
 * others not.
 */
static __u8 kind_of_target(__u16 id)
{
	return id % 4;
}

static __u32 cpu_of(__u16 id)
{
	const __u32 targets[] = { world_cpu,
				  world_other_cpu,
				  world_other_cpu,
				  world_other_cpu,
				  CS_MAX_CPUS - 1,
				  CS_MAX_CPUS,
				  ~0u };

	return targets[id / 4 % COUNT(targets)];
}

/* Slots: the first has the device, others have none; there is no other device. */
static __u32 slot_of(__u16 id)
{
	const __u32 slots[] = { 0, 0, 0, 0, 0, 1, CS_MAX_DEVICES - 1, CS_MAX_DEVICES, ~0u };

	return slots[id / 4 % COUNT(slots)];
}

static __u32 device_of(__u16 id)
{
	return id / 4 % 8 ? world_device : 99999;
}

/* Packets come in on queue 0 of the device.  Half of them find the socket. */
static void nics_of(__u16 id, struct cs_nic nic[2])
{
	struct cs_nic found = { .ifindex = world_device, .first = WORLD_XSK, .queues = id / 64 };
	struct cs_nic other = { .ifindex = 99999, .first = WORLD_XSK, .queues = 255 };
	__u32 kind = id / 4 % 8;

	nic[0] = kind == 6 || kind == 7 ? other : found;
	nic[1] = kind == 6 ? found : (struct cs_nic){};
	nic[0].first += kind == 4;
	nic[0].queue = kind == 5;
}

static struct cs_target target_of(__u16 id)
{
	struct cs_target target = { .index = cpu_of(id) };

	if (kind_of_target(id) == CS_TARGET_XSK)
		nics_of(id, target.nic);
	if (kind_of_target(id) != CS_TARGET_DEVICE)
		return target;
	target.index = slot_of(id);
	target.ifindex = device_of(id);
	memcpy(target.mac, world_mac, sizeof(target.mac));
	return target;
}

static void set_worker(__u32 id, __u8 state, __u16 of)
{
	struct cs_worker value = { .state = state, .service = of, .index = below(CS_MAX_SOCKETS) };
	struct cs_target target = target_of(id);

	value.target = kind_of_target(id);
	check(!bpf_map_update_elem(plane.map[PLANE_TARGETS], &id, &target, BPF_ANY), "cs_targets");
	check(!bpf_map_update_elem(plane.map[PLANE_WORKERS], &id, &value, BPF_ANY), "cs_workers");
}

static void print_nics(__u16 id)
{
	struct cs_nic nic[2];

	nics_of(id, nic);
	fprintf(out, "{\"nics\": [");
	for (int i = 0; i < 2 && nic[i].ifindex; i++)
		fprintf(out, "%s[%u, %u, %u, %u]", comma(!i), nic[i].ifindex, nic[i].first,
			nic[i].queue, nic[i].queues + 1);
	fprintf(out, "]}]");
}

static int is_worker(__u16 id)
{
	for (__u32 i = 1; i <= world_services; i++) {
		for (int k = 0; k < WORKERS; k++) {
			if (worker[i][k] == id)
				return 1;
		}
	}
	return 0;
}

static void make_workers(void)
{
	static const __u8 usual[WORKERS] = { CS_WORKER_ACTIVE,	 CS_WORKER_ACTIVE,
					     CS_WORKER_ACTIVE,	 CS_WORKER_WAITING,
					     CS_WORKER_DRAINING, CS_WORKER_DEAD,
					     CS_WORKER_NONE };

	for (__u32 i = 0; i < (world_services + 1) * WORKERS; i++) {
		__u16 *id = &worker[i / WORKERS][i % WORKERS];

		set_worker(*id, CS_WORKER_NONE, 0);
		*id = 0;
	}
	fprintf(out, "\"workers\": {");
	for (__u32 i = 0; i < world_services * WORKERS; i++) {
		__u32 of = 1 + i / WORKERS, state = usual[i % WORKERS];
		__u16 id = !i ? CS_MAX_WORKERS - 1 : 0;

		while (!id || is_worker(id))
			id = below(CS_MAX_WORKERS);
		worker[of][i % WORKERS] = id;
		set_worker(id, state, of);
		fprintf(out, "%s\"%u\": [%u, \"%s\", ", comma(!i), id, of, states[state]);
		if (kind_of_target(id) == CS_TARGET_SOCKET)
			fprintf(out, "null]");
		else if (kind_of_target(id) == CS_TARGET_CPU)
			fprintf(out, "%u]", cpu_of(id));
		else if (kind_of_target(id) == CS_TARGET_DEVICE)
			fprintf(out, "[%u, %u]]", slot_of(id), device_of(id));
		else
			print_nics(id);
	}
	fprintf(out, "},\n");
}

/* Mostly a worker that is there. */
static __u16 some_worker(__u32 of, __u32 sane)
{
	if (percent(sane))
		return worker[of][below(5)];
	if (percent(60))
		return worker[of][5 + below(2)];
	return worker[1 + below(world_services)][below(WORKERS)];
}

/* All workers, some gaps, or nobody; numbers that are nobody's too. */
static void make_ring(__u32 of)
{
	__u32 kind = below(10), sane = kind < 6 ? 100 : 80;
	struct cs_ring ring = {};

	for (int i = 0; i < CS_RING_SIZE && kind; i++) {
		ring.worker[i] = some_worker(of, sane);
		if (kind > 6 && percent(20))
			ring.worker[i] = percent(50) ? 0 : CS_MAX_WORKERS + below(CS_MAX_WORKERS);
	}
	check(!bpf_map_update_elem(plane.map[PLANE_RING], &of, &ring, BPF_ANY), "cs_ring");
	fprintf(out, "\"ring\": [");
	for (int i = 0; i < CS_RING_SIZE; i++)
		fprintf(out, "%s%u", i ? "," : "", ring.worker[i]);
	fprintf(out, "]");
}

static void make_service(__u32 id)
{
	static const __u8 usual[] = { 0, 1, 4, 8, 8, 8, 16, 19, 20, 20 };
	struct cs_service *to = &service[id];

	random_fill(to->key, sizeof(to->key));
	to->used = !percent(8);
	to->cid_len = percent(70) ? usual[below(COUNT(usual))] : below(CS_MAX_CID + 1);
	to->unknown_cid = below(3);
	to->malformed = below(3);
	to->not_quic = below(4);
	to->small_initial = percent(50) ? CS_POLICY_DROP : CS_POLICY_HASH;
	to->no_xsk = percent(50) ? CS_POLICY_DROP : CS_POLICY_PASS;
	to->lb_configs = to->key_at = to->key_len = 0; /* make_format() */
	memset(to->lb_len, 0, sizeof(to->lb_len));
	check(!bpf_map_update_elem(plane.map[PLANE_SERVICES], &id, to, BPF_ANY), "cs_services");
	fprintf(out, "\"%u\": {\"there\": %s, \"key\": ", id, to->used ? "true" : "false");
	print_hex(to->key, sizeof(to->key));
	fprintf(out,
		", \"cid_length\": %u, \"unknown_cid\": \"%s\", \"malformed\": \"%s\", "
		"\"not_quic\": \"%s\", \"small_initial\": \"%s\", \"no_xsk\": \"%s\", ",
		to->cid_len, policies[to->unknown_cid], policies[to->malformed],
		policies[to->not_quic], to->small_initial == CS_POLICY_DROP ? "drop" : "count",
		policies[to->no_xsk]);
	make_ring(id);
	fprintf(out, "}");
}

/* The tag is the reference's, not the core's.  Returns 1, or 0: it is there already. */
static int add_route(__u32 of, const __u8 *cid, __u32 len, __u16 to)
{
	__u8 key[16];

	memcpy(key, service[of].key, sizeof(key));
	return !cs_table_insert(&table[of], siphash_reference(1, 3, key, cid, len) >> 16, to,
				CS_BUCKET_ROUTES);
}

/* As long as a short header's ID, or of any length. */
static void make_routes(__u32 of, int first)
{
	__u8 cid[CS_MAX_CID];

	memset(table[of].buckets, 0, (table[of].mask + 1) * sizeof(struct cs_bucket));
	for (int i = 0; i < ROUTES; i++) {
		__u32 len = service[of].cid_len, to = some_worker(of, 60);

		if (!len || percent(30))
			len = 1 + below(CS_MAX_CID);
		random_fill(cid, len);
		if (!add_route(of, cid, len, to))
			continue; /* one of one byte */
		fprintf(out, "%s[%u, ", comma(first && !i), of);
		print_hex(cid, len);
		fprintf(out, ", %u]", to);
	}
}

/* ---- server IDs ----------------------------------------------------------------------------- */

static struct cs_server_key server[COUNT(listeners) * CS_LB_CONFIGS * (IDS + HOSTS)];
static __u32 servers, first_server;    /* of all services, of the one in hand */
static struct cs_lb lb[CS_LB_CONFIGS]; /* of the one in hand */
static __u8 name[IDS][sizeof(server->id)];
static __u8 host[CS_CONFIGS][HOSTS][sizeof(server->id)]; /* of the one in hand */

static void forget_servers(void)
{
	while (servers) {
		servers--;
		check(!bpf_map_delete_elem(plane.map[PLANE_SERVERS], &server[servers]),
		      "cs_servers");
	}
}

/* Fewer octets than a server ID has, often a word and more; 0: none. */
static __u32 random_host_len(__u32 server_id)
{
	if (percent(30))
		return 0;
	return server_id > 8 && percent(60) ? 8 + below(server_id - 8) : below(server_id);
}

/* Plain, of one block, of four passes; IDs that tell their length, or have room to spare. */
static void make_config(__u32 of, __u32 id)
{
	__u32 server_id = 1 + below(CS_LB_MAX_SERVER_ID), index = of * CS_LB_CONFIGS + id;
	__u32 nonce = CS_LB_MIN_NONCE + below(CS_LB_MAX_LEN + 1 - CS_LB_MIN_NONCE - server_id);
	int has_key = percent(65), tells = percent(50);
	__u32 len;
	__u8 key[16];

	if (server_id + CS_LB_MIN_NONCE <= 16 && percent(25))
		nonce = 16 - server_id;
	len = 1 + server_id + nonce;
	if (percent(50))
		len += below(CS_MAX_CID + 1 - len);
	random_fill(key, sizeof(key));
	service[of].lb_len[id] = tells ? 0 : len;
	cs_lb_init(&lb[id], id, server_id, nonce, tells, has_key ? key : NULL);
	lb[id].host_len = random_host_len(server_id);
	check(!bpf_map_update_elem(plane.map[PLANE_LB_CONFIGS], &index, &lb[id], BPF_ANY),
	      "cs_lb_configs");
	fprintf(out,
		"%s{\"id\": %u, \"live\": %s, \"server_id\": %u, \"host\": %u, \"nonce\": %u, "
		"\"length\": %u, \"key\": ",
		comma(!id), id, service[of].lb_configs >> id & 1 ? "true" : "false", server_id,
		lb[id].host_len, nonce, service[of].lb_len[id]);
	if (has_key)
		print_hex(key, sizeof(key));
	else
		fprintf(out, "null");
	fprintf(out, "}");
}

/* Returns 0: it is there already, one of few octets. */
static int add_server(const struct cs_server_key *key, const struct cs_server *value)
{
	if (bpf_map_update_elem(plane.map[PLANE_SERVERS], key, value, BPF_NOEXIST)) {
		check(errno == EEXIST, "cs_servers: %s", strerror(errno));
		return 0;
	}
	server[servers++] = *key;
	return 1;
}

/* Many are the same octets elsewhere: service and configuration tell them apart.  Some are a
 * host's, which says nothing of them.
 */
static void make_servers(__u32 of, __u8 config, __u32 len)
{
	for (int i = 0; i < IDS; i++) {
		struct cs_server_key key = { .service = of, .config = config };
		struct cs_server value = {};

		random_fill(key.id, len);
		if (percent(50))
			memcpy(key.id, name[i], len);
		if (percent(40) && config != CS_BY_EXTRACTOR)
			memcpy(key.id, host[config][below(HOSTS)], lb[config].host_len);
		if (percent(20))
			value.flags = CS_SERVER_ELSEWHERE;
		else if (percent(85))
			value.worker = some_worker(of, 65);
		if (!add_server(&key, &value))
			continue;
		fprintf(out, "%s[%u, ", comma(servers == first_server + 1), config);
		print_hex(key.id, len);
		if (value.flags)
			fprintf(out, ", \"elsewhere\"]");
		else
			fprintf(out, ", %u]", value.worker);
	}
}

/* Those with all octets of an ID are asked for by nobody: there where none says which host, and the
 * last one, whose octets do not end with zeros.
 */
static void make_hosts(__u32 of, __u8 config, __u32 len, int *printed)
{
	__u32 host_len = config == CS_BY_EXTRACTOR ? 0 : lb[config].host_len;

	for (int i = 0; i < HOSTS; i++) {
		struct cs_server_key key = { .service = of, .config = config, .host = 1 };
		struct cs_server value = { .flags = i ? CS_SERVER_ELSEWHERE : 0 };
		__u32 octets = host_len && i < HOSTS - 1 ? host_len : len;

		memcpy(key.id, host[config][i], octets);
		if (octets > host_len)
			((__u8 *)key.id)[octets - 1] |= 1;
		if (!add_server(&key, &value))
			continue;
		fprintf(out, "%s[%u, ", comma(!(*printed)++), config);
		print_hex(key.id, octets);
		fprintf(out, ", \"%s\"]", value.flags ? "elsewhere" : "own");
	}
}

/* A CID with a server ID of the service in hand.  Returns its length. */
static __u32 random_carrier(__u32 of, __u8 cid[CS_MAX_CID])
{
	const struct cs_server_key *key = &server[first_server + below(servers - first_server)];
	const struct cs_service *to = &service[of];
	const struct cs_lb *by = &lb[key->config % CS_LB_CONFIGS];
	__u32 least = to->key_at + to->key_len, len = to->cid_len;
	__u8 nonce[CS_MAX_CID], server_id[CS_LB_MAX_SERVER_ID];

	random_fill(cid, CS_MAX_CID);
	if (key->config == CS_BY_EXTRACTOR) {
		memcpy(cid + to->key_at, key->id, to->key_len);
		return len > least ? len : least;
	}
	least = 1 + by->server_id_len + by->nonce_len;
	len = to->lb_len[key->config] ?: least + below(CS_MAX_CID + 1 - least);
	random_fill(nonce, sizeof(nonce));
	random_fill(server_id, sizeof(server_id));
	memcpy(server_id, key->id, key->host ? by->host_len : by->server_id_len);
	check(!cs_lb_encode(by, server_id, nonce, below(32), cid, len), "encode");
	return len;
}

static void make_carriers(__u32 of)
{
	__u8 cid[CS_MAX_CID];
	int printed = 0;

	for (int i = 0; i < CARRIERS; i++) {
		__u32 len = random_carrier(of, cid), to = some_worker(of, 60);

		if (!add_route(of, cid, len, to))
			continue;
		fprintf(out, "%s[", comma(!printed++));
		print_hex(cid, len);
		fprintf(out, ", %u]", to);
	}
}

/* Many begin as server IDs do, of this service and of others. */
static void random_hosts(void)
{
	random_fill(host, sizeof(host));
	for (__u32 config = 0; config < CS_CONFIGS; config++) {
		for (int i = 0; i < HOSTS; i++) {
			if (percent(50))
				memcpy(host[config][i], name[i], sizeof(name[i]));
		}
	}
}

/* Mostly within a short header's DCID. */
static void random_extractor(struct cs_service *to)
{
	__u32 within = percent(80) ? to->cid_len : CS_MAX_CID;

	to->key_len = 1 + below(within < sizeof(server->id) ? within : sizeof(server->id));
	to->key_at = below(within + 1 - to->key_len);
}

/* Most services have neither.  With one configuration all are in cs_lb_configs, and their server
 * IDs in cs_servers: those that are not live say nothing.
 */
static void make_format(__u32 of)
{
	struct cs_service *to = &service[of];
	__u32 kind = below(10), choice = below(10);
	int hosts = 0;

	first_server = servers;
	random_hosts();
	if (kind < 3 && to->cid_len)
		to->lb_configs = choice < 3 ? 0x7fu : choice < 6 ? 1u << below(7) : 1 + below(0x7f);
	else if (kind < 5 && to->cid_len)
		random_extractor(to);
	fprintf(out, "%s\"%u\": {\"extractor\": [%u, %u], \"configs\": [", comma(of == 1), of,
		to->key_at, to->key_len);
	for (__u32 id = 0; id < CS_LB_CONFIGS && to->lb_configs; id++)
		make_config(of, id);
	fprintf(out, "], \"servers\": [");
	for (__u32 id = 0; id < CS_LB_CONFIGS && to->lb_configs; id++)
		make_servers(of, id, lb[id].server_id_len);
	if (to->key_len)
		make_servers(of, CS_BY_EXTRACTOR, to->key_len);
	fprintf(out, "], \"hosts\": [");
	for (__u32 id = 0; id < CS_LB_CONFIGS && to->lb_configs; id++)
		make_hosts(of, id, lb[id].server_id_len, &hosts);
	if (to->key_len)
		make_hosts(of, CS_BY_EXTRACTOR, to->key_len, &hosts);
	fprintf(out, "], \"routes\": [");
	if (servers > first_server)
		make_carriers(of);
	fprintf(out, "]}");
	check(!bpf_map_update_elem(plane.map[PLANE_SERVICES], &of, to, BPF_ANY), "cs_services");
}

static void make_formats(void)
{
	forget_servers();
	random_fill(name, sizeof(name));
	for (__u32 id = 1; id <= world_services; id++)
		make_format(id);
}

/* ---- what never changes --------------------------------------------------------------------- */

static void print_names(void)
{
#define CS_COUNTER(name, group, text)                                                              \
	fprintf(out, "%s[\"" #name "\", \"" #group "\"]", comma(CS_C_##name == 0));
	fprintf(out, "\"counters\": [");
#include "core/counters.def"
#undef CS_COUNTER
	fprintf(out,
		"],\n\"types\": {\"%u\": \"none\", \"%u\": \"initial\", \"%u\": \"0-rtt\", "
		"\"%u\": \"handshake\", \"%u\": \"retry\"},\n",
		CS_TYPE_NONE, CS_TYPE_INITIAL, CS_TYPE_0RTT, CS_TYPE_HANDSHAKE, CS_TYPE_RETRY);
	fprintf(out, "\"forms\": {\"%u\": \"short\", \"%u\": \"long\"},\n", CS_FORM_SHORT,
		CS_FORM_LONG);
}

static void print_listeners(void)
{
	struct cs_listener listener;
	struct cs_addr addr;
	const char *text;

	fprintf(out, "\"listeners\": [");
	for (__u32 i = 0; i < world_services * 3; i++) {
		text = listeners[i / 3][i % 3];
		if (!text)
			continue;
		check(!address_parse(text, &addr), "%s", text);
		addr.netns = netns;
		check(!bpf_map_lookup_elem(plane.map[PLANE_ADDRS], &addr, &listener) &&
			      listener.service == i / 3 + 1,
		      "%s is not in cs_addrs", text);
		fprintf(out, "%s[\"%s\", %u, %u]", comma(!i), text, listener.service,
			listener.listener);
	}
	fprintf(out, "],\n");
}

void world_make(__u64 from, FILE *to)
{
	seed = from;
	out = to;
	fprintf(out, "{\"cpu\": %u, \"queues\": [%u, %u], ", world_cpu, world_cpu, world_other_cpu);
	fprintf(out, "\"slots\": {\"0\": %u}, \"mtus\": {\"%u\": %u}, ", world_device, world_device,
		WORLD_MTU);
	fprintf(out, "\"came_in_on\": [%u, 0], \"xsks\": [%u], ", world_device, WORLD_XSK);
	print_names();
	print_listeners();
	forget_locals();
	make_addresses();
	make_prefixes();
	make_workers();
	fprintf(out, "\"services\": {");
	for (__u32 id = 1; id <= world_services; id++) {
		fputs(comma(id == 1), out);
		make_service(id);
	}
	fprintf(out, "},\n\"routes\": [");
	for (__u32 id = 1; id <= world_services; id++)
		make_routes(id, id == 1);
	fprintf(out, "],\n\"formats\": {");
	make_formats();
	fprintf(out, "}}\n");
}

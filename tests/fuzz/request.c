// SPDX-License-Identifier: GPL-2.0-only
/*
 * The daemon, and clients that send anything, descriptors included.
 *
 * An input is a row of steps.  Sockets are the kernel's; its maps are stood in for, since what a
 * client sends is no map's business.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "daemon/control.c" /* accepts and reads; its functions are its own */
#include "daemon/discard.h"
#include "daemon/generations.h"
#include "daemon/holdings.h"
#include "daemon/reap.h"
#include "daemon/server_ids.h"
#include "dataplane/internal.h"
#include "dataplane/lb.h"
#include "fuzz.h"

#define CLIENTS 4
#define MOST_STEPS 64
#define MESSAGE_MAX 1600

/* A step: what, whose (the lowest two bits), how. */
#define CLIENT 3
#define STEP (7 << 2)
#define STEP_HANG_UP (0 << 2)
#define STEP_STRANGER (1 << 2)	   /* the client is another user's */
#define STEP_PROCESS_ENDS (2 << 2) /* of a worker */
#define STEP_HIDDEN (3 << 2)	   /* the client's process is not to be seen */
#define STEP_NOTHING (4 << 2)	   /* to be read, or too many clients */
#define STEP_ADOPT (5 << 2)	   /* server IDs, as a daemon that starts; other steps: a message */
#define STEP_HONEST 32		   /* a head as it should be */
#define STEP_DEAF 64		   /* answers are not read */

#define IDS 32	       /* of workers */
#define SERVERS 40     /* entries of cs_servers */
#define DEVICE_INDEX 3 /* of the interface that workers of BEHIND are behind */

enum {
	SHARED = 1,
	BY_MESSAGE,
	PAIR,
	BLUE,	/* in another network namespace */
	LOST,	/* in one that has no name any more */
	BEHIND, /* in another one, and its workers are behind a device */
	LB,	/* with two QUIC-LB configurations */
	KEYED,	/* whose IDs have what the worker says, */
	COOKIE, /* or its socket's cookie */
	SERVICES
};

static struct plane plane = PLANE_INIT;
static struct workers workers;
static struct control control;
static struct loop loop;
static int client[CLIENTS];
static bool unread[CLIENTS];
static __u32 worker_of[CLIENTS]; /* as its last REGISTERED says */
static struct sockaddr_un control_addr;
static socklen_t control_len;
static __u64 slot_cookie[CS_MAX_SOCKETS];
static struct error said; /* the last line that was logged */

/* Descriptors that a client may send. */
enum {
	GOOD,
	GOOD_2,
	GOOD_3,
	PAIR_4,
	PAIR_6,
	V6ONLY,
	GRO,
	PLAIN,
	CONNECTED,
	UNBOUND,
	ELSEWHERE,
	TCP,
	UNIX,
	DEV_NULL,
	MEMFD,
	DEVICE,
	XSK, /* stood in for, too: to bind one is a privilege */
	XSK_2,
	XSK_BARE,
	XSK_TX_ONLY,
	KINDS
};
static int kinds[KINDS];

/* ---- what the daemon finds in place of the kernel's maps, of main.c and of the log ---------- */

static __u64 cookie_of(int fd)
{
	__u64 cookie = 0;
	socklen_t len = sizeof(cookie);

	return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) ? 0 : cookie;
}

/* Which of the sockets that stand for AF_XDP ones a descriptor is; 0: none. */
static int kind_of_xsk(int fd)
{
	for (int kind = XSK; kind <= XSK_TX_ONLY; kind++) {
		if (cookie_of(fd) && cookie_of(fd) == cookie_of(kinds[kind]))
			return kind;
	}
	return 0;
}

static bool is_xsk(int fd)
{
	return kind_of_xsk(fd) == XSK || kind_of_xsk(fd) == XSK_2;
}

/* cs_sockets: a socket is in one slot at most. */
static int put_socket(__u32 slot, int fd)
{
	LAW(slot < CS_MAX_SOCKETS);
	for (int i = 0; i < 2 * IDS; i++) {
		if (slot_cookie[i] == cookie_of(fd)) {
			errno = EBUSY;
			return -1;
		}
	}
	slot_cookie[slot] = cookie_of(fd);
	return 0;
}

/* cs_targets, cs_cpus, cs_devs, cs_xsks: who is sent to a CPU finds its queue there, or its device,
 * or its first socket.
 */
static struct cs_target target_of[CS_MAX_WORKERS];
static bool queue_there[CS_MAX_CPUS], device_there[CS_MAX_DEVICES], xsk_there[CS_MAX_XSKS];

/* Only of slots that the daemon has given away. */
static bool has_slots(const struct cs_nic *nic)
{
	for (__u32 i = 0; nic->ifindex && i <= nic->queues; i++)
		LAW(nic->first + i < CS_MAX_XSKS && workers.xsk_taken[nic->first + i]);
	return !nic->ifindex || xsk_there[nic->first];
}

static bool has_xsks(const struct cs_target *target)
{
	for (int i = 0; i < CS_MAX_WORKER_NICS; i++) {
		if (!has_slots(&target->nic[i]))
			return false;
	}
	return target->nic[0].ifindex;
}

static void put_worker(__u32 id, const struct cs_worker *worker)
{
	LAW(id && id < CS_MAX_WORKERS);
	LAW(worker->state == CS_WORKER_NONE || worker->state == CS_WORKER_DEAD ||
	    worker->target == CS_TARGET_SOCKET ||
	    (worker->target == CS_TARGET_CPU && queue_there[target_of[id].index]) ||
	    (worker->target == CS_TARGET_DEVICE && device_there[target_of[id].index]) ||
	    (worker->target == CS_TARGET_XSK && has_xsks(&target_of[id])));
}

/* ---- cs_servers, cs_lb_configs ------------------------------------------------------------- */

static struct cs_lb lb_config[SERVICES * CS_LB_CONFIGS];
static struct server {
	struct cs_server_key key;
	struct cs_server value;
	bool used;
} server[SERVERS];

/* Nonces that were taken from a server ID, and whether a worker has heard of them. */
static struct block {
	struct cs_server_key key;
	__u64 first, count;
	bool told;
} block[MOST_STEPS * 2];
static unsigned int blocks;
static bool adopting; /* what anybody may have written there is put in order */

static struct server *find_server(const struct cs_server_key *key)
{
	for (int i = 0; i < SERVERS; i++) {
		if (server[i].used && !memcmp(&server[i].key, key, sizeof(*key)))
			return &server[i];
	}
	return NULL;
}

/* Could the worker that it names still have IDs in use? */
static bool may_serve(const struct server *at)
{
	const struct worker *worker = workers.worker[at->value.worker];

	return worker &&
	       (!worker->dead || (worker_service(worker)->value.shared_table && !worker->gone));
}

/* An ID is taken from nobody who may use it, but for one that a service's workers say. */
static void check_owner_change(const struct server *was, __u32 to)
{
	__u32 from = was->value.worker;
	const struct worker *worker = workers.worker[from];

	if (!from || from == to)
		return;
	if (!to)
		LAW(!may_serve(was));
	else
		LAW(was->key.config == CS_BY_EXTRACTOR && (!worker || worker->dead));
}

/* Nonces are given in a row, and none comes back. */
static void check_nonces(const struct server *was, const struct cs_server *to)
{
	const struct server_ids *ids = &workers.service[was->key.service].ids[was->key.config];
	__u64 taken = was->value.left - to->left, space;

	if (!ids->nonce_len || ids->nonce_len >= CS_RANDOM_NONCE) {
		LAW(!to->left && !to->next);
		return;
	}
	space = 1ULL << (ids->nonce_len * 8);
	LAW(to->left <= was->value.left && to->next < space);
	LAW((was->value.next + taken) % space == to->next);
	if (!taken)
		return;
	LAW(blocks < sizeof(block) / sizeof(block[0]));
	block[blocks++] = (struct block){ was->key, was->value.next, taken, false };
}

static int put_server(const struct cs_server_key *key, const struct cs_server *value)
{
	struct server *at = find_server(key);

	LAW(key->service && key->service < SERVICES && key->config < CS_CONFIGS);
	LAW(value->worker < CS_MAX_WORKERS);
	if (at && !key->host && !adopting) {
		check_owner_change(at, value->worker);
		check_nonces(at, value);
	}
	for (int i = 0; i < SERVERS && !at; i++) {
		if (!server[i].used)
			at = &server[i];
	}
	if (!at) {
		errno = E2BIG;
		return -E2BIG;
	}
	*at = (struct server){ *key, *value, true };
	return 0;
}

static int delete_server(const struct cs_server_key *key)
{
	struct server *at = find_server(key);

	if (!at) {
		errno = ENOENT;
		return -ENOENT;
	}
	/* Of a configuration that is there: not of one that goes, or comes. */
	if (!adopting && (key->config == CS_BY_EXTRACTOR ||
			  workers.service[key->service].value.lb_configs >> key->config & 1))
		LAW(!at->value.worker || !may_serve(at));
	at->used = false;
	return 0;
}

int bpf_map_get_next_key(int fd, const void *key, void *next)
{
	const struct server *at = key ? find_server(key) : NULL;

	LAW(fd == PLANE_SERVERS);
	for (int i = at ? at - server + 1 : 0; i < SERVERS; i++) {
		if (!server[i].used)
			continue;
		memcpy(next, &server[i].key, sizeof(server[i].key));
		return 0;
	}
	errno = ENOENT;
	return -ENOENT;
}

/* A worker is told of nonces that cs_servers says are given, and no other was told of. */
static void check_leased(const struct cs_msg_leased *leased)
{
	LAW(leased->result <= 0 && leased->config < CS_LB_CONFIGS);
	if (leased->result || leased->count == CS_NONCES_RANDOM)
		return;
	for (unsigned int i = 0; i < blocks; i++) {
		if (block[i].told || block[i].first != leased->first ||
		    block[i].count != leased->count || block[i].key.config != leased->config ||
		    memcmp(block[i].key.id, leased->server_id, sizeof(leased->server_id)))
			continue;
		block[i].told = true;
		return;
	}
	LAW(false); /* nobody has them to give */
}

/* What the daemon knows is what the map says, and whom that names is there. */
static void check_servers(void)
{
	unsigned int known = 0, there = 0;

	for (int id = 1; id < SERVICES; id++) {
		for (int config = 0; config < CS_CONFIGS; config++) {
			const struct server_ids *ids = &workers.service[id].ids[config];

			known += ids->count;
			for (__u32 i = 0; i < ids->count; i++) {
				const struct server *at = find_server(&ids->id[i].key);

				LAW(at &&
				    !memcmp(&at->value, &ids->id[i].value, sizeof(at->value)));
			}
		}
	}
	for (int i = 0; i < SERVERS; i++) {
		__u32 named = server[i].value.worker;

		if (!server[i].used || server[i].key.host ||
		    server[i].value.flags & CS_SERVER_ELSEWHERE)
			continue;
		there++;
		LAW(named < CS_MAX_WORKERS);
		LAW(!named || (workers.worker[named] &&
			       workers.worker[named]->value.service == server[i].key.service));
	}
	LAW(known == there);
}

/* The first numbers and nonces are the last that there are: what follows begins anew. */
ssize_t getrandom(void *bytes, size_t size, unsigned int flags)
{
	LAW(!flags);
	memset(bytes, 0xff, size);
	return size;
}

/* ---- the other maps ------------------------------------------------------------------------ */

int bpf_map_update_elem(int fd, const void *key, const void *value, __u64 flags)
{
	__u32 index = *(const __u32 *)key;

	(void)flags;
	if (fd == PLANE_SOCKETS)
		return put_socket(index, *(const __u64 *)value);
	if (fd == PLANE_SERVERS)
		return put_server(key, value);
	LAW(fd == PLANE_WORKERS || fd == PLANE_RING || fd == PLANE_SERVICES ||
	    fd == PLANE_TARGETS || fd == PLANE_CPUS || fd == PLANE_DEVS || fd == PLANE_XSKS ||
	    fd == PLANE_LB_CONFIGS);
	if (fd == PLANE_LB_CONFIGS) {
		LAW(index < SERVICES * CS_LB_CONFIGS);
		lb_config[index] = *(const struct cs_lb *)value;
	}
	if (fd == PLANE_WORKERS)
		put_worker(index, value);
	if (fd == PLANE_TARGETS)
		target_of[index] = *(const struct cs_target *)value;
	if (fd == PLANE_CPUS)
		queue_there[index] = true;
	if (fd == PLANE_DEVS)
		device_there[index] = *(const __u32 *)value == DEVICE_INDEX;
	if (fd == PLANE_XSKS) {
		LAW(workers.xsk_taken[index] && is_xsk(*(const int *)value));
		xsk_there[index] = true;
	}
	return 0;
}

/* A line of cs_hits, which nobody counts in here. */
int plane_clear_line(int map, __u32 key, size_t bytes)
{
	LAW(map == PLANE_HITS && key < CS_MAX_SERVICES * CS_CONFIGS);
	LAW(bytes == sizeof(struct cs_hits));
	return 0;
}

int plane_sum_line(int map, __u32 key, void *sum, size_t bytes)
{
	(void)map, (void)key;
	memset(sum, 0, bytes);
	return 0;
}

int bpf_obj_get_info_by_fd(int fd, void *info, __u32 *len)
{
	(void)fd, (void)info, (void)len;
	return 0;
}

int bpf_map_lookup_elem(int fd, const void *key, void *value)
{
	__u32 slot = *(const __u32 *)key;
	const struct server *at = fd == PLANE_SERVERS ? find_server(key) : NULL;

	if (at) {
		memcpy(value, &at->value, sizeof(at->value));
		return 0;
	}
	if (fd == PLANE_LB_CONFIGS) {
		LAW(slot < SERVICES * CS_LB_CONFIGS);
		memcpy(value, &lb_config[slot], sizeof(lb_config[slot]));
		return 0;
	}
	LAW(fd == PLANE_SOCKETS && slot < CS_MAX_SOCKETS);
	if (!slot_cookie[slot]) {
		errno = ENOENT;
		return -1;
	}
	memcpy(value, &slot_cookie[slot], sizeof(slot_cookie[slot]));
	return 0;
}

int bpf_map_delete_elem(int fd, const void *key)
{
	if (fd == PLANE_SERVERS)
		return delete_server(key);
	if (fd == PLANE_CPUS) {
		LAW(queue_there[*(const __u32 *)key]);
		queue_there[*(const __u32 *)key] = false;
		return 0;
	}
	if (fd == PLANE_DEVS) {
		LAW(device_there[*(const __u32 *)key]);
		device_there[*(const __u32 *)key] = false;
		return 0;
	}
	if (fd == PLANE_XSKS) {
		LAW(workers.xsk_taken[*(const __u32 *)key]);
		xsk_there[*(const __u32 *)key] = false;
		return 0;
	}
	LAW(fd == PLANE_SOCKETS);
	slot_cookie[*(const __u32 *)key] = 0;
	return 0;
}

/* The device that workers of BEHIND are behind. */
int way_nsid(const char *netns, int socket, struct error *error)
{
	(void)error;
	LAW(!*netns && cookie_of(socket));
	return 5;
}

int way_find(const char *netns, int nsid, const struct cs_addr *addr, struct way *way,
	     struct error *error)
{
	(void)error;
	LAW(!*netns && nsid == 5 && addr->port);
	*way = (struct way){ .ifindex = DEVICE_INDEX, .up = true, .nsid = nsid };
	return 0;
}

int way_read(const char *netns, int ifindex, struct way *way)
{
	(void)netns, (void)ifindex, (void)way;
	LAW(false); /* nobody adopts here, and no second passes */
	return -ENODEV;
}

int plane_clear_device_count(const struct plane *of, __u32 slot)
{
	LAW(of == &plane && slot < CS_MAX_DEVICES && !device_there[slot]);
	return 0;
}

/* Which namespace this is nobody asks here. */
__u64 plane_netns_cookie(void)
{
	return 1;
}

/* The recorder, of which only what is added counts. */
void watch_add(const struct watch *watch, const struct cs_record *record)
{
	(void)watch;
	LAW(record->kind == CS_KIND_STRAY && record->verdict.worker);
	LAW(record->verdict.dcid_len && record->verdict.dcid_len <= CS_MAX_CID);
}

__u64 watch_now(void)
{
	return 1;
}

int plane_stub(const struct plane *from, __u16 listener, struct error *error)
{
	(void)from, (void)listener, (void)error;
	return 0;
}

/* Attaching a program is the kernel's business, too. */
int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	if (level == SOL_SOCKET && name == SO_ATTACH_REUSEPORT_EBPF)
		return 0;
	return syscall(SYS_setsockopt, fd, level, name, value, len);
}

int getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	if (level == SOL_SOCKET && name == SO_DOMAIN && kind_of_xsk(fd)) {
		*(int *)value = AF_XDP;
		return 0;
	}
	return syscall(SYS_getsockopt, fd, level, name, value, len);
}

/* As an AF_XDP socket answers who wants to wait. */
ssize_t recv(int fd, void *bytes, size_t size, int flags)
{
	int kind = kind_of_xsk(fd);

	if (!kind)
		return syscall(SYS_recvfrom, fd, bytes, size, flags, NULL, NULL);
	LAW(!flags);
	errno = kind == XSK_BARE ? ENXIO : kind == XSK_TX_ONLY ? ENOBUFS : EOPNOTSUPP;
	return -1;
}

/*
 * The daemon reads what is queued in a connection that it closes, and, since a message of no bytes
 * reads like the end, goes on for as many as a peer can queue.  An input has fewer.
 */
ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
	static int empty;
	ssize_t len = syscall(SYS_recvmsg, fd, msg, flags);

	empty = len ? 0 : empty + 1;
	if (empty <= MOST_STEPS)
		return len;
	empty = 0;
	errno = EAGAIN;
	return -1;
}

void discard_fd(int fd)
{
	LAW(!close(fd));
}

static void say(const char *format, va_list args)
{
	vsnprintf(said.line, sizeof(said.line), format, args);
}

void log_line(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say(format, args);
	va_end(args);
}

void log_limited(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say(format, args);
	va_end(args);
}

static int reload(struct control *from, struct error *error)
{
	LAW(from == &control);
	return error_set(error, -EINVAL, "no");
}

/* ---- what the daemon serves ---------------------------------------------------------------- */

/* Shared memory, whose descriptor goes to the client. */
static void *memory(size_t bytes, int *fd)
{
	void *at;

	*fd = memfd_create("map", MFD_CLOEXEC);
	LAW(*fd >= 0 && !ftruncate(*fd, bytes));
	at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
	LAW(at != MAP_FAILED);
	return at;
}

static void add_service(__u32 id, const char *name, bool shared, __u8 listeners)
{
	struct service *service = &workers.service[id];

	service->value = (struct cs_service){ .used = 1,
					      .cid_len = 8,
					      .max_cids = 64,
					      .uid = 33,
					      .shared_table = shared,
					      .listeners = listeners };
	strcpy(service->value.name, name);
	service->table.mask = CS_MIN_BUCKETS - 1;
	service->table.buckets = memory(CS_MIN_BUCKETS * sizeof(struct cs_bucket),
					&service->table_fd);
	service->usage = memory(CS_MAX_SERVICE_WORKERS * sizeof(struct cs_usage),
				&service->usage_fd);
}

static void add_listener(__u16 id, __u16 service, __u8 position, int fd)
{
	struct sockaddr_storage addr;
	socklen_t len = sizeof(addr);
	struct listener *listener = &workers.listener[id];

	LAW(!getsockname(fd, (struct sockaddr *)&addr, &len));
	LAW(!address_from_socket((struct sockaddr *)&addr, &listener->addr));
	listener->value = (struct cs_listener){ service, id, position, 0, 0 };
	listener->dual = addr.ss_family == AF_INET6;
	listener->used = true;
	listener->stub = -1;
}

/* A socket bound to @port of the loopback address; 0: any. */
static int bound(int family, int type, bool group, bool v6only, in_port_t port)
{
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} addr = { .any.sa_family = family };
	int fd = socket(family, type | SOCK_CLOEXEC, 0), on = 1, only = v6only;

	addr.in.sin_port = port; /* both have it there */
	if (family == AF_INET)
		addr.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only));
	if (group)
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	LAW(fd >= 0 &&
	    !bind(fd, &addr.any, family == AF_INET ? sizeof(addr.in) : sizeof(addr.in6)));
	return fd;
}

static in_port_t port_of(int fd)
{
	struct sockaddr_in6 addr;
	socklen_t len = sizeof(addr);

	LAW(!getsockname(fd, (struct sockaddr *)&addr, &len));
	return addr.sin6_port;
}

static void make_kinds(void)
{
	struct sockaddr_in nobody = { .sin_family = AF_INET,
				      .sin_port = htons(9),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int on = 1;

	kinds[GOOD] = bound(AF_INET, SOCK_DGRAM, true, false, 0);
	kinds[GOOD_2] = bound(AF_INET, SOCK_DGRAM, true, false, port_of(kinds[GOOD]));
	kinds[GOOD_3] = bound(AF_INET, SOCK_DGRAM, true, false, port_of(kinds[GOOD]));
	kinds[GRO] = bound(AF_INET, SOCK_DGRAM, true, false, port_of(kinds[GOOD]));
	setsockopt(kinds[GRO], IPPROTO_UDP, UDP_GRO, &on, sizeof(on));
	kinds[PAIR_4] = bound(AF_INET, SOCK_DGRAM, true, false, 0);
	kinds[PAIR_6] = bound(AF_INET6, SOCK_DGRAM, true, false, 0);
	kinds[V6ONLY] = bound(AF_INET6, SOCK_DGRAM, true, true, port_of(kinds[PAIR_6]));
	kinds[PLAIN] = bound(AF_INET, SOCK_DGRAM, false, false, 0);
	kinds[CONNECTED] = bound(AF_INET, SOCK_DGRAM, true, false, 0);
	LAW(!connect(kinds[CONNECTED], (struct sockaddr *)&nobody, sizeof(nobody)));
	kinds[UNBOUND] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	setsockopt(kinds[UNBOUND], SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	kinds[ELSEWHERE] = bound(AF_INET, SOCK_DGRAM, true, false, 0);
	kinds[TCP] = bound(AF_INET, SOCK_STREAM, true, false, 0);
	kinds[UNIX] = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	kinds[DEV_NULL] = open("/dev/null", O_RDWR | O_CLOEXEC);
	kinds[MEMFD] = memfd_create("file", MFD_CLOEXEC);
	kinds[DEVICE] = bound(AF_INET, SOCK_DGRAM, true, false, port_of(kinds[GOOD]));
	LAW(!setsockopt(kinds[DEVICE], SOL_SOCKET, SO_BINDTODEVICE, "lo", 3));
	for (int kind = XSK; kind <= XSK_TX_ONLY; kind++)
		kinds[kind] = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

static void listen_for_clients(void)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	control_addr.sun_family = AF_UNIX; /* the kernel chooses an abstract name */
	LAW(!bind(fd, (struct sockaddr *)&control_addr, sizeof(sa_family_t)) && !listen(fd, 16));
	control_len = sizeof(control_addr);
	LAW(!getsockname(fd, (struct sockaddr *)&control_addr, &control_len));
	control.source = (struct source){ fd, accept_connection };
	control.workers = &workers;
	control.loop = &loop;
	control.spare = -1;
	control.reload = reload;
	LAW(!loop_init(&loop) && !loop_watch(&loop, &control.source));
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	socklen_t len = sizeof(plane.abi.netns_cookie[0]);

	(void)argc, (void)argv;
	for (int i = 0; i < PLANE_MAPS; i++)
		plane.map[i] = i;
	workers.plane = &plane;
	workers.loop = &loop;
	workers.tell = connection_tell;
	make_kinds();
	add_service(SHARED, "shared", true, 1);
	add_service(BY_MESSAGE, "message", false, 1);
	add_service(PAIR, "pair", true, 2);
	add_listener(0, SHARED, 0, kinds[GOOD]);
	add_listener(1, BY_MESSAGE, 0, kinds[GOOD]);
	add_listener(2, PAIR, 0, kinds[PAIR_4]);
	add_listener(3, PAIR, 1, kinds[PAIR_6]);
	add_service(BLUE, "blue", true, 1);
	add_listener(4, BLUE, 0, kinds[GOOD]);
	workers.listener[4].addr.netns = 1;
	add_service(LOST, "lost", true, 1);
	add_listener(5, LOST, 0, kinds[GOOD]);
	workers.listener[5].addr.netns = CS_MAX_NETNS;
	LAW(!getsockopt(kinds[GOOD], SOL_SOCKET, SO_NETNS_COOKIE, &plane.abi.netns_cookie[0],
			&len));
	add_service(BEHIND, "behind", true, 1);
	add_listener(6, BEHIND, 0, kinds[GOOD]);
	workers.listener[6].addr.netns = 2;
	plane.abi.netns_cookie[2] = ~0ULL;
	workers.service[BEHIND].behind_device = true;
	add_service(LB, "lb", true, 1);
	add_listener(7, LB, 0, kinds[GOOD]);
	add_service(KEYED, "keyed", false, 1);
	add_listener(8, KEYED, 0, kinds[GOOD]);
	add_service(COOKIE, "cookie", true, 1);
	add_listener(9, COOKIE, 0, kinds[GOOD]);
	workers.service[COOKIE].key = CONFIG_KEY_COOKIE;
	workers.service[COOKIE].little_endian = true;
	listen_for_clients();
	return 0;
}

/* ---- the clients --------------------------------------------------------------------------- */

/* The daemon's events, until there are none. */
static void serve(void)
{
	struct epoll_event event;

	for (int events = 0; epoll_wait(loop.epoll, &event, 1, 0) > 0; events++) {
		struct source *source = event.data.ptr;

		source->ready(source, event.events);
		LAW(events < 10000);
	}
	while (workers_reap_some(&workers))
		;
}

static void hang_up(int who)
{
	if (client[who] >= 0)
		close(client[who]);
	client[who] = -1;
	serve();
}

static void connect_client(int who)
{
	if (client[who] >= 0)
		return;
	worker_of[who] = 0;
	client[who] = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	LAW(!connect(client[who], (struct sockaddr *)&control_addr, control_len));
	serve();
}

/* The daemon's end of a connection that has just been made, or the newest that is left. */
static struct connection *newest(void)
{
	return control.first;
}

/* What a worker is told to use is its own. */
static void check_whose(int who, const struct cs_msg_leased *leased)
{
	const struct worker *worker = workers.worker[worker_of[who]];
	struct cs_server_key key = { .config = leased->config };
	const struct server *at;

	if (leased->result || !worker || worker->dead)
		return;
	key.service = worker->value.service;
	memcpy(key.id, leased->server_id, sizeof(key.id));
	at = find_server(&key);
	LAW(at && at->value.worker == worker->id);
}

/* With answers left @unread the serial is one of theirs. */
static void check_answer(const struct cs_msg *head, size_t len, __u32 serial, bool unread)
{
	const struct cs_msg_refused *refused = (const void *)head;

	LAW(len >= sizeof(*head) && head->magic == CS_PROTOCOL_MAGIC);
	LAW(head->version == CS_PROTOCOL_VERSION && head->bytes == len);
	LAW(unread || head->serial == serial || !head->serial);
	if (head->type == CS_MSG_LEASED) {
		LAW(len == sizeof(struct cs_msg_leased));
		check_leased((const void *)head);
	}
	if (head->type == CS_MSG_FORMATS)
		LAW(len == sizeof(struct cs_msg_formats));
	if (head->type == CS_MSG_REFUSED)
		LAW(len == sizeof(*refused) && refused->error < 0 &&
		    memchr(refused->line, '\0', sizeof(refused->line)));
}

/* Descriptors that come are left with the kernel, which closes them. */
static void read_answers(int who, __u32 serial)
{
	static union {
		struct cs_msg head;
		struct cs_msg_registered registered;
		struct cs_msg_leased leased;
		char bytes[2048];
	} answer;
	ssize_t len;

	while ((len = recv(client[who], &answer, sizeof(answer), MSG_DONTWAIT)) > 0) {
		check_answer(&answer.head, len, serial, unread[who]);
		if (answer.head.type == CS_MSG_REGISTERED)
			worker_of[who] = answer.registered.worker;
		/* One that was left unread may be of a configuration that is gone. */
		if (answer.head.type == CS_MSG_LEASED && !unread[who])
			check_whose(who, &answer.leased);
	}
	unread[who] = false;
	if (!len)
		hang_up(who);
}

static void put_fds(struct msghdr *msg, struct input *input, __u8 count)
{
	struct cmsghdr *cmsg = msg->msg_control;

	msg->msg_controllen = CMSG_SPACE(count * sizeof(int));
	*cmsg = (struct cmsghdr){ CMSG_LEN(count * sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
	for (int i = 0; i < count; i++)
		memcpy(CMSG_DATA(cmsg) + i * sizeof(int), &kinds[input_byte(input) % KINDS],
		       sizeof(int));
}

static void send_message(struct input *input, __u8 step)
{
	static union {
		struct cs_msg head;
		char bytes[MESSAGE_MAX];
	} message;
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(32 * sizeof(int))];
	} cmsg = {};
	__u8 fds = input_byte(input) % 32;
	struct iovec iov = { &message, input_u16(input) % sizeof(message) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = fds ? &cmsg : NULL };
	int who = step & CLIENT;

	if (fds)
		put_fds(&msg, input, fds);
	memset(&message, 0, sizeof(message));
	input_bytes(input, &message, iov.iov_len);
	if (step & STEP_HONEST) {
		message.head.magic = CS_PROTOCOL_MAGIC;
		message.head.version = CS_PROTOCOL_VERSION;
		message.head.bytes = iov.iov_len;
	}
	connect_client(who);
	sendmsg(client[who], &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	serve();
	if (step & STEP_DEAF)
		unread[who] = true;
	else
		read_answers(who, message.head.serial);
}

static void process_ends(__u32 id)
{
	struct worker *worker = workers.worker[id % (IDS + 1)];

	if (worker && !worker->gone)
		worker_process_ended(&worker->process, 0);
	serve();
}

/* An event without a message; a client that is one too many. */
static void nothing(__u8 step)
{
	if (step & STEP_HONEST)
		control.count += MAX_CONNECTIONS;
	connect_client(step & CLIENT);
	if (step & STEP_HONEST)
		control.count -= MAX_CONNECTIONS;
	else if (newest())
		newest()->source.ready(&newest()->source, 0);
	read_answers(step & CLIENT, 0);
}

/* Whatever is in cs_servers. */
static void put_hostile(struct input *input)
{
	for (int i = 0; i < SERVERS; i++) {
		if (server[i].used)
			continue;
		input_bytes(input, &server[i].key, sizeof(server[i].key));
		input_bytes(input, &server[i].value, sizeof(server[i].value));
		server[i].used = true;
		for (int other = 0; other < i; other++) {
			if (server[other].used &&
			    !memcmp(&server[other].key, &server[i].key, sizeof(server[i].key)))
				server[i].used = false;
		}
		return;
	}
}

/* Some that have been somebody's, with so many nonces left. */
static void put_some(__u64 left)
{
	for (int i = 0; i < 8; i++) {
		const struct cs_server_key key = { .service = LB, .id = { i } };
		const struct cs_server value = { .next = i, .left = left };

		if (!find_server(&key))
			put_server(&key, &value);
	}
}

static void adopt(struct input *input, __u8 step)
{
	if (step & STEP_HONEST)
		put_some(input_byte(input) << 14);
	else
		put_hostile(input);
	adopting = true;
	for (int id = SHARED; id < SERVICES; id++) {
		for (int config = 0; config < CS_CONFIGS; config++)
			server_ids_close(&workers.service[id], config);
		LAW(!server_ids_follow(&workers, id));
	}
	LAW(!server_ids_adopt(&workers));
	adopting = false;
	if (step & STEP_DEAF) /* there are no others */
		workers.service[LB].ids[0].tried = 256;
}

static void run_step(struct input *input)
{
	__u8 step = input_byte(input);

	switch (step & STEP) {
	case STEP_HANG_UP:
		hang_up(step & CLIENT);
		break;
	case STEP_STRANGER:
		connect_client(step & CLIENT);
		if (newest())
			newest()->peer.uid = step & STEP_HONEST ? 33 : 1000;
		break;
	case STEP_PROCESS_ENDS:
		process_ends(input_byte(input));
		break;
	case STEP_HIDDEN:
		connect_client(step & CLIENT);
		if (newest())
			newest()->peer.pid = 0;
		break;
	case STEP_NOTHING:
		nothing(step);
		break;
	case STEP_ADOPT:
		adopt(input, step);
		break;
	default:
		send_message(input, step);
	}
	check_servers();
}

/* The configurations of LB: counted nonces, and drawn ones with a key and hosts. */
static void begin_lb(void)
{
	static const struct config_lb lb[] = {
		{ .id = 0, .server_id_len = 1, .nonce_len = 4, .cid_len = 8, .active = true },
		{ .id = 2, .server_id_len = 3, .nonce_len = 9, .has_key = true, .host_len = 2 },
	};
	static const lb_host other[] = { { 1, 2 } };

	for (int i = 0; i < 2; i++) {
		LAW(!lb_write(&plane, LB, &lb[i], other, i));
		lb_set(&workers.service[LB].value, &lb[i]);
	}
}

static void begin_ids(void)
{
	memset(server, 0, sizeof(server));
	memset(lb_config, 0, sizeof(lb_config));
	workers.returned_ids = blocks = 0;
	for (int id = SHARED; id < SERVICES; id++) {
		struct service *service = &workers.service[id];

		for (int config = 0; config < CS_CONFIGS; config++)
			server_ids_close(service, config);
		service->value.lb_configs = service->value.lb_active = 0;
		memset(service->value.lb_len, 0, sizeof(service->value.lb_len));
		service->value.key_len = id == KEYED ? 2 : id == COOKIE ? 8 : 0;
		if (id == LB)
			begin_lb();
		LAW(!server_ids_follow(&workers, id));
	}
}

/* Each input begins with the same daemon. */
static void begin(void)
{
	workers.free_first = workers.free_count = workers.xsk_next = 0;
	for (__u32 id = 1; id <= IDS; id++)
		id_give_back(&workers, id);
	for (int id = SHARED; id < SERVICES; id++) {
		workers.service[id].value.generation = 0;
		memset(workers.service[id].usage, 0, sizeof(struct cs_usage) * (IDS + 1));
	}
	for (int i = 0; i < CLIENTS; i++)
		client[i] = -1;
	begin_ids();
}

/* With all clients gone nothing of them is left. */
static void end(void)
{
	static const struct cs_ring no_ring;

	for (int i = 0; i < CLIENTS; i++)
		hang_up(i);
	for (__u32 id = 1; id <= IDS; id++)
		process_ends(id);
	check_servers();
	LAW(!control.count && !control.first && workers.free_count == IDS && !workers.sweeping);
	for (int cpu = 0; cpu < CS_MAX_CPUS; cpu++)
		LAW(!queue_there[cpu] && !workers.cpu_users[cpu]);
	for (int slot = 0; slot < CS_MAX_DEVICES; slot++)
		LAW(!device_there[slot] && !workers.device[slot].users);
	LAW(!memchr(xsk_there, true, sizeof(xsk_there)));
	LAW(!memchr(workers.xsk_taken, true, sizeof(workers.xsk_taken)));
	for (int i = 0; i < 2 * IDS; i++)
		LAW(!slot_cookie[i] && !workers.slot_taken[i]);
	for (int id = SHARED; id < SERVICES; id++) {
		const struct service *service = &workers.service[id];

		LAW(!memcmp(&service->ring, &no_ring, sizeof(no_ring)));
		LAW(!service->usage[0].provisional);
		for (int i = 0; i < CS_MIN_BUCKETS; i++) {
			for (int r = 0; r < CS_BUCKET_ROUTES; r++)
				LAW(!cs_bucket_words(&service->table, i)[r]);
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct open_fds before = open_fds(), after;
	struct input input = { data, size };

	begin();
	for (int step = 0; step < MOST_STEPS && input.left; step++)
		run_step(&input);
	end();
	after = open_fds();
	LAW(!memcmp(&before, &after, sizeof(before)));
	return 0;
}

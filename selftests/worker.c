// SPDX-License-Identifier: GPL-2.0-only
/*
 * worker: a server without QUIC.  It binds SO_REUSEPORT sockets, registers them through
 * libcidsteer, and does what its standard input says, a command a line, each answered with one
 * line: "ok", the name of an errno, or what is asked for.  It counts the packets of its sockets;
 * with --gro the datagrams of a train, each for itself.  Frames of its AF_XDP sockets (xsk.h) are
 * packets, too, and counted as odd if they are not whole or not for a port of --listen.
 *
 *   worker --service NAME --listen ADDR:PORT... [--control PATH] [--handles N] [--generation N]
 *          [--cpu N|own] [--user NAME] [--v6only] [--gro] [--unsteered] [--serve]
 *
 * First it says "ready ID..." with the worker id of each handle, or "refused ERRNO LINE".
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/udp.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cidsteer/cidsteer.h"
#include "tool.h"
#include "xsk.h"

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

#define MAX_LISTENERS 17 /* one more than a service can have */
#define MAX_HANDLES 64

struct cid {
	uint8_t len; /* 0: empty; GONE: retired */
	uint8_t byte[CIDSTEER_CID_MAX];
};
#define GONE 255

/* What this worker has issued: open addressing, at most half full. */
struct set {
	struct cid *slot;
	size_t slots, used;
};

struct member {
	struct cidsteer *handle;
	int socket[MAX_LISTENERS];
	struct set issued;
	bool lost;	       /* cidsteer_dispatch() said that the daemon went away */
	unsigned long no_xsks; /* it said CIDSTEER_NO_XSKS */
	struct xsk xsk[CIDSTEER_XSKS_MAX];
	unsigned int xsks;
	unsigned long packets[MAX_LISTENERS], own, foreign, bytes, trains, frames, odd;
	unsigned long bulk_errors;
};

static struct {
	const char *service, *control;
	struct address listen[MAX_LISTENERS];
	unsigned int listeners, handles;
	uint32_t generation, cpu;
	const char *user;
	bool v6only, gro, unsteered, serve;
} options = { .handles = 1 };

static struct member member[MAX_HANDLES], *current = member;
static unsigned long bulk_count;
static __thread uint64_t random_state;

static const char *result(int err)
{
	static char text[32];

	if (!err)
		return "ok";
	if (err > 0) {
		snprintf(text, sizeof(text), "%d", err);
		return text;
	}
	return strerrorname_np(-err);
}

/* xorshift64*: no system call, so that strace counts the library's only. */
static uint64_t next_random(void)
{
	if (!random_state) {
		struct timespec now;

		clock_gettime(CLOCK_MONOTONIC, &now);
		random_state = ((uint64_t)getpid() << 40) ^ (uint64_t)now.tv_nsec << 8 ^
			       (uintptr_t)&now;
	}
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return random_state * 0x2545f4914f6cdd1dull;
}

static void make_cid(const struct member *at, struct cid *cid)
{
	cid->len = cidsteer_cid_length(at->handle);
	for (int i = 0; i < cid->len; i++)
		cid->byte[i] = next_random() >> 32;
}

/* ---- what was issued ---- */

static struct cid *set_find(struct set *set, const uint8_t *byte, uint8_t len)
{
	uint64_t hash = 14695981039346656037ull;
	size_t i;

	if (!set->slots)
		return NULL;
	for (i = 0; i < len; i++)
		hash = (hash ^ byte[i]) * 1099511628211ull;
	for (i = (hash ^ hash >> 32) % set->slots; set->slot[i].len; i = (i + 1) % set->slots) {
		if (set->slot[i].len == len && !memcmp(set->slot[i].byte, byte, len))
			break;
	}
	return &set->slot[i];
}

static bool set_has(struct set *set, const uint8_t *byte, uint8_t len)
{
	struct cid *found = set_find(set, byte, len);

	return found && found->len;
}

static void set_put(struct set *set, const struct cid *cid)
{
	struct set old = *set;

	if (2 * (set->used + 1) > set->slots) {
		set->slots = set->slots ? 2 * set->slots : 64;
		set->slot = calloc(set->slots, sizeof(*set->slot));
		if (!set->slot)
			err(1, "calloc");
		set->used = 0;
		for (size_t i = 0; i < old.slots; i++) {
			if (old.slot[i].len && old.slot[i].len != GONE)
				set_put(set, &old.slot[i]);
		}
		free(old.slot);
	}
	*set_find(set, cid->byte, cid->len) = *cid;
	set->used++;
}

static void set_remove(struct set *set, const struct cid *cid)
{
	struct cid *found = set_find(set, cid->byte, cid->len);

	if (found && found->len)
		found->len = GONE;
}

/* ---- sockets ---- */

static int make_socket(const struct address *address)
{
	int fd = socket(address->any.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int one = 1, room = 64 << 20, v6only = options.v6only;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)))
		err(1, "socket");
	/* No packet may be lost for want of room: counts are exact. */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)))
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
	if (address->any.sa_family == AF_INET6 &&
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof(v6only)))
		err(1, "IPV6_V6ONLY");
	if (options.gro && setsockopt(fd, IPPROTO_UDP, UDP_GRO, &one, sizeof(one)))
		err(1, "UDP_GRO");
	if (bind(fd, &address->any, address->len))
		err(1, "bind");
	return fd;
}

static void bind_all(void)
{
	for (unsigned int h = 0; h < options.handles; h++) {
		for (unsigned int i = 0; i < options.listeners; i++)
			member[h].socket[i] = make_socket(&options.listen[i]);
	}
}

static void count_packet(struct member *at, const uint8_t *byte, size_t len)
{
	size_t start = len && byte[0] & 0x80 ? 6 : 1;
	size_t cid_len = start == 1 ? (at->handle ? cidsteer_cid_length(at->handle) : 0) :
				      (len > 5 ? byte[5] : 0);

	at->bytes += len;
	if (cid_len && cid_len <= CIDSTEER_CID_MAX && start + cid_len <= len &&
	    set_has(&at->issued, byte + start, cid_len))
		at->own++;
	else
		at->foreign++;
}

/* With UDP_GRO: bytes of each datagram of a train; 0: it is no train. */
static size_t segment_size(struct msghdr *msg)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		int size;

		if (c->cmsg_level != IPPROTO_UDP || c->cmsg_type != UDP_GRO)
			continue;
		memcpy(&size, CMSG_DATA(c), sizeof(size));
		return size;
	}
	return 0;
}

/* Returns whether there may be more. */
static bool receive_one(struct member *at, unsigned int i)
{
	static uint8_t byte[65536];
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = { byte, sizeof(byte) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	ssize_t len = recvmsg(at->socket[i], &msg, 0);
	size_t segment;

	if (len < 0)
		return errno == ECONNREFUSED;
	segment = segment_size(&msg);
	if (!segment) {
		at->packets[i]++;
		count_packet(at, byte, len);
		return true;
	}
	at->trains++;
	for (size_t from = 0; from < (size_t)len; from += segment) {
		at->packets[i]++;
		count_packet(at, byte + from, segment < len - from ? segment : len - from);
	}
	return true;
}

static bool is_listened_to(uint8_t family, uint16_t port)
{
	for (unsigned int i = 0; i < options.listeners; i++) {
		const struct address *address = &options.listen[i];

		/* At the same place in both families; [::] takes IPv4, too. */
		if (address->in.sin_port == port &&
		    (address->any.sa_family == family || address->any.sa_family == AF_INET6))
			return true;
	}
	return false;
}

/* Bytes before UDP's header; 0: it is no UDP in IP without anything between. */
static size_t find_udp(const uint8_t *frame, size_t len, uint8_t *family, size_t *ip_bytes)
{
	const struct ip6_hdr *ip6 = (const void *)(frame + ETH_HLEN);
	const struct iphdr *ip = (const void *)(frame + ETH_HLEN);
	uint16_t type = len > ETH_HLEN ? frame[12] << 8 | frame[13] : 0;

	if (type == ETHERTYPE_IP && len >= ETH_HLEN + sizeof(*ip) && ip->protocol == IPPROTO_UDP) {
		*family = AF_INET;
		*ip_bytes = ntohs(ip->tot_len);
		return ETH_HLEN + 4 * ip->ihl;
	}
	if (type == ETHERTYPE_IPV6 && len >= ETH_HLEN + sizeof(*ip6) &&
	    ip6->ip6_nxt == IPPROTO_UDP) {
		*family = AF_INET6;
		*ip_bytes = sizeof(*ip6) + ntohs(ip6->ip6_plen);
		return ETH_HLEN + sizeof(*ip6);
	}
	return 0;
}

static void count_frame(struct member *at, const uint8_t *frame, size_t len)
{
	const struct udphdr *udp;
	size_t ip_bytes = 0, start;
	uint8_t family = 0;

	start = find_udp(frame, len, &family, &ip_bytes);
	udp = (const void *)(frame + start);
	at->frames++;
	if (!start || start + sizeof(*udp) > len || ETH_HLEN + ip_bytes != len ||
	    start + ntohs(udp->len) != len || !is_listened_to(family, udp->dest)) {
		at->odd++;
		return;
	}
	count_packet(at, (const uint8_t *)(udp + 1), len - start - sizeof(*udp));
}

static void receive_all(struct member *at)
{
	const uint8_t *frame;
	size_t len;

	for (unsigned int i = 0; i < options.listeners; i++) {
		while (at->socket[i] >= 0 && receive_one(at, i))
			;
	}
	for (unsigned int i = 0; i < at->xsks; i++) {
		while ((frame = xsk_next(&at->xsk[i], &len)))
			count_frame(at, frame, len);
	}
}

/* ---- registering ---- */

static void drop_privileges(void)
{
	const struct passwd *user = getpwnam(options.user);

	if (!user)
		errx(1, "user %s does not exist", options.user);
	if (setgroups(0, NULL) || setgid(user->pw_gid) || setuid(user->pw_uid) ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		err(1, "dropping privileges");
}

static uint32_t cpu_named(const char *text)
{
	return strcmp(text, "own") ? CIDSTEER_CPU(atoi(text)) : CIDSTEER_CPU_OWN;
}

static int open_handle(struct member *at, char *line, size_t size)
{
	struct cidsteer_options how = CIDSTEER_OPTIONS_INIT;

	how.control = options.control;
	how.generation = options.generation;
	how.cpu = options.cpu;
	how.error = line;
	how.error_size = size;
	at->lost = false;
	return cidsteer_open(&at->handle, options.service, at->socket, options.listeners, &how);
}

static void start(void)
{
	char line[512];

	bind_all();
	if (options.user)
		drop_privileges();
	for (unsigned int h = 0; h < options.handles && !options.unsteered; h++) {
		int err = open_handle(&member[h], line, sizeof(line));

		if (!err)
			continue;
		printf("refused %s %s\n", result(err), line);
		exit(1);
	}
	printf("ready");
	for (unsigned int h = 0; h < options.handles && !options.unsteered; h++)
		printf(" %u", cidsteer_worker_id(member[h].handle));
	puts("");
}

/* ---- commands: each prints one line ---- */

static void do_cid(const char *name, const char *hex,
		   int (*call)(struct cidsteer *, const uint8_t *, size_t))
{
	struct cid cid = {};
	int len = hex_read(hex, cid.byte, sizeof(cid.byte)), err;

	if (len < 0) {
		puts("not a connection ID");
		return;
	}
	cid.len = len;
	err = call(current->handle, cid.byte, len);
	if (!err && (!strcmp(name, "issue") || !strcmp(name, "provisional")))
		set_put(&current->issued, &cid);
	if (!err && !strcmp(name, "retire"))
		set_remove(&current->issued, &cid);
	puts(result(err));
}

/* random N: issues so many, and prints them. */
static void do_random(const char *argument)
{
	struct cid cid = {};
	int err = 0;

	printf("cids");
	for (int left = atoi(argument); left > 0; left--) {
		make_cid(current, &cid);
		err = cidsteer_issue(current->handle, cid.byte, cid.len);
		if (err)
			break;
		set_put(&current->issued, &cid);
		putchar(' ');
		hex_print(cid.byte, cid.len);
	}
	puts(err ? result(err) : "");
}

/* retire-all: what was issued and not retired. */
static void do_retire_all(const char *argument)
{
	unsigned long errors = 0, count = 0;

	(void)argument;
	for (size_t i = 0; i < current->issued.slots; i++) {
		struct cid *cid = &current->issued.slot[i];

		if (!cid->len || cid->len == GONE)
			continue;
		count++;
		errors += cidsteer_retire(current->handle, cid->byte, cid->len) != 0;
		cid->len = GONE;
	}
	printf("retired %lu errors %lu\n", count, errors);
}

/* fill N: issues so many without remembering them. */
static void do_fill(const char *argument)
{
	unsigned long issued = 0, refused = 0;
	struct cid cid = {};

	for (long left = atol(argument); left > 0; left--) {
		make_cid(current, &cid);
		if (cidsteer_issue(current->handle, cid.byte, cid.len))
			refused++;
		else
			issued++;
	}
	printf("issued %lu refused %lu\n", issued, refused);
}

static void *run_bulk(void *arg)
{
	struct member *at = arg;
	struct cid cid = {};

	at->bulk_errors = 0;
	for (unsigned long i = 0; i < bulk_count; i++) {
		make_cid(at, &cid);
		at->bulk_errors += cidsteer_issue(at->handle, cid.byte, cid.len) != 0;
		at->bulk_errors += cidsteer_retire(at->handle, cid.byte, cid.len) != 0;
	}
	return NULL;
}

/* bulk N: issues and retires so many, one after the other. */
static void do_bulk(const char *argument)
{
	bulk_count = atol(argument);
	run_bulk(current);
	printf("bulk %lu errors %lu\n", bulk_count, current->bulk_errors);
}

/* threads N: the same in one thread for each handle, at once. */
static void do_threads(const char *argument)
{
	pthread_t thread[MAX_HANDLES];
	unsigned long errors = 0;

	bulk_count = atol(argument);
	for (unsigned int h = 0; h < options.handles; h++) {
		if (pthread_create(&thread[h], NULL, run_bulk, &member[h]))
			err(1, "pthread_create");
	}
	for (unsigned int h = 0; h < options.handles; h++) {
		pthread_join(thread[h], NULL);
		errors += member[h].bulk_errors;
	}
	printf("threads %u each %lu errors %lu\n", options.handles, bulk_count, errors);
}

/* count: of the handle's sockets together; in the order of --listen; in that of `xsk`. */
static void do_count(const char *argument)
{
	unsigned long udp = 0;

	(void)argument;
	receive_all(current);
	for (unsigned int i = 0; i < options.listeners; i++)
		udp += current->packets[i];
	printf("packets=%lu own=%lu foreign=%lu bytes=%lu trains=%lu udp=%lu xsk=%lu odd=%lu "
	       "xsks=",
	       udp + current->frames, current->own, current->foreign, current->bytes,
	       current->trains, udp, current->frames, current->odd);
	for (unsigned int i = 0; i < current->xsks; i++)
		printf("%s%lu", i ? "," : "", current->xsk[i].frames);
	printf(" sockets=");
	for (unsigned int i = 0; i < options.listeners; i++)
		printf("%s%lu", i ? "," : "", current->packets[i]);
	puts("");
}

static void do_reset(const char *argument)
{
	(void)argument;
	for (unsigned int h = 0; h < options.handles; h++) {
		struct member *at = &member[h];

		receive_all(at);
		memset(at->packets, 0, sizeof(at->packets));
		at->own = at->foreign = at->bytes = at->trains = at->frames = at->odd = 0;
		for (unsigned int i = 0; i < at->xsks; i++)
			at->xsk[i].frames = 0;
	}
	puts("ok");
}

static void do_use(const char *argument)
{
	unsigned int h = atoi(argument);

	if (h < options.handles)
		current = &member[h];
	puts(h < options.handles ? "ok" : "no such handle");
}

static void do_path(const char *argument)
{
	(void)argument;
	puts(result(cidsteer_report_path_change(current->handle)));
}

static void do_drain(const char *argument)
{
	(void)argument;
	puts(result(cidsteer_drain(current->handle)));
}

/* ready: this generation takes over. */
static void do_ready(const char *argument)
{
	(void)argument;
	puts(result(cidsteer_ready(current->handle)));
}

static void do_dispatch(const char *argument)
{
	(void)argument;
	puts(result(cidsteer_dispatch(current->handle)));
}

/* state: what the handle says of itself. */
static void do_state(const char *argument)
{
	struct pollfd fd = { .fd = current->handle ? cidsteer_fd(current->handle) : -1,
			     .events = POLLIN };

	(void)argument;
	poll(&fd, 1, 0);
	printf("id=%u cid_length=%zu notes=%u readable=%d no_xsks=%lu lost=%d\n",
	       cidsteer_worker_id(current->handle), cidsteer_cid_length(current->handle),
	       cidsteer_notes(current->handle), fd.revents & POLLIN, current->no_xsks,
	       current->lost);
}

/* close: the handle, not its sockets. */
static void do_close(const char *argument)
{
	(void)argument;
	cidsteer_close(current->handle);
	current->handle = NULL;
	puts("ok");
}

static void do_open(const char *argument)
{
	char line[512] = "";
	int err = open_handle(current, line, sizeof(line));

	(void)argument;
	if (err)
		printf("refused %s %s\n", result(err), line);
	else
		printf("ready %u\n", cidsteer_worker_id(current->handle));
}

static void do_close_sockets(const char *argument)
{
	(void)argument;
	for (unsigned int i = 0; i < options.listeners; i++) {
		close(current->socket[i]);
		current->socket[i] = -1;
	}
	puts("ok");
}

/* ---- AF_XDP sockets ---- */

static int set_xsks(const struct cidsteer_xsk *xsks, size_t count)
{
	int err = cidsteer_set_xsks(current->handle, xsks, count);

	if (err)
		printf("xsk %s %s\n", result(err), cidsteer_error(current->handle));
	else
		puts("xsk 0");
	return err;
}

/* All that it has, and those that it says it has. */
static int set_all_xsks(const struct cidsteer_xsk *more, size_t count)
{
	struct cidsteer_xsk set[2 * CIDSTEER_XSKS_MAX + 1];

	for (unsigned int i = 0; i < current->xsks; i++)
		set[i] = (struct cidsteer_xsk){ current->xsk[i].fd, current->xsk[i].ifindex,
						current->xsk[i].queue };
	if (count)
		memcpy(set + current->xsks, more, count * sizeof(*more));
	return set_xsks(set, current->xsks + count);
}

static struct xsk *find_xsk(struct member *at, uint32_t ifindex, uint32_t queue)
{
	for (unsigned int i = 0; i < at->xsks; i++) {
		if (at->xsk[i].ifindex == ifindex && at->xsk[i].queue == queue)
			return &at->xsk[i];
	}
	return NULL;
}

/* Of any handle: one that has the queue's UMEM. */
static const struct xsk *find_other(uint32_t ifindex, uint32_t queue)
{
	const struct xsk *found = NULL;

	for (unsigned int h = 0; h < options.handles && !found; h++)
		found = find_xsk(&member[h], ifindex, queue);
	return found;
}

static int open_xsks(const char *name, const char *queues)
{
	unsigned int ifindex = if_nametoindex(name), queue;
	int read, err = 0;

	for (; !err && sscanf(queues, "%u%n", &queue, &read) == 1; queues += read) {
		if (current->xsks == CIDSTEER_XSKS_MAX)
			return -ENOSPC;
		err = xsk_open(&current->xsk[current->xsks], ifindex, queue,
			       find_other(ifindex, queue));
		if (!err)
			current->xsks++;
	}
	return err;
}

static void close_xsks(unsigned int but)
{
	while (current->xsks > but)
		xsk_close(&current->xsk[--current->xsks]);
}

/* xsk [IFACE QUEUE...]: opens a socket for each, and sets all that it has; refused, it closes them.
 */
static void do_xsk(const char *argument)
{
	unsigned int had = current->xsks;
	char name[IFNAMSIZ] = "";
	int read = 0, err = 0;

	if (sscanf(argument, "%15s%n", name, &read) == 1)
		err = open_xsks(name, argument + read);
	if (err)
		printf("no socket: %s\n", result(err));
	else
		err = set_all_xsks(NULL, 0);
	if (err && err != -ENOTCONN)
		close_xsks(had);
}

/* no-xsk: sets none, and keeps them. */
static void do_no_xsk(const char *argument)
{
	(void)argument;
	set_xsks(NULL, 0);
}

/* close-xsk IFACE QUEUE: without telling.  The number of an interface that is gone. */
static void do_close_xsk(const char *argument)
{
	char name[IFNAMSIZ] = "";
	struct xsk *xsk = NULL;
	unsigned int queue;

	if (sscanf(argument, "%15s %u", name, &queue) == 2)
		xsk = find_xsk(current, if_nametoindex(name) ?: strtoul(name, NULL, 10), queue);
	if (!xsk) {
		puts("no such socket");
		return;
	}
	xsk_close(xsk);
	current->xsks--;
	memmove(xsk, xsk + 1, (current->xsk + current->xsks - xsk) * sizeof(*xsk));
	puts("ok");
}

/* In a network namespace that nobody else is in. */
static int open_elsewhere(void)
{
	int here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), fd;

	if (here < 0 || unshare(CLONE_NEWNET))
		err(1, "a network namespace");
	fd = xsk_open_flawed(XSK_BARE, 0, 0);
	if (setns(here, CLONE_NEWNET))
		err(1, "setns");
	close(here);
	return fd;
}

static int open_what(const char *kind, uint32_t ifindex, uint32_t queue)
{
	if (!strcmp(kind, "bare"))
		return xsk_open_flawed(XSK_BARE, ifindex, queue);
	if (!strcmp(kind, "unbound"))
		return xsk_open_flawed(XSK_UNBOUND, ifindex, queue);
	if (!strcmp(kind, "tx-only"))
		return xsk_open_flawed(XSK_TX_ONLY, ifindex, queue);
	if (!strcmp(kind, "elsewhere"))
		return open_elsewhere();
	if (!strcmp(kind, "closed"))
		return -1;
	if (!strcmp(kind, "had") && current->xsks)
		return dup(current->xsk[0].fd);
	return dup(!strcmp(kind, "udp") ? current->socket[0] : STDIN_FILENO);
}

/*
 * claim KIND IFINDEX:QUEUE...: sets all that it has and these, which are bare, unbound, tx-only or
 * elsewhere (AF_XDP sockets that are no good), had (copies of its first), udp or pipe.  Then they
 * are closed.
 */
static void do_claim(const char *argument)
{
	struct cidsteer_xsk more[CIDSTEER_XSKS_MAX + 1];
	size_t count = 0;
	char kind[16];
	int read = 0;

	if (sscanf(argument, "%15s%n", kind, &read) != 1)
		return;
	for (; count < CIDSTEER_XSKS_MAX + 1; count++) {
		struct cidsteer_xsk *xsk = &more[count];

		argument += read;
		if (sscanf(argument, "%u:%u%n", &xsk->ifindex, &xsk->queue, &read) != 2)
			break;
		xsk->fd = open_what(kind, xsk->ifindex, xsk->queue);
	}
	set_all_xsks(more, count);
	while (count)
		close(more[--count].fd);
}

/* fork: what the calls say in a child, which then closes its copy of the handle. */
static void do_fork(const char *argument)
{
	static const uint8_t cid[CIDSTEER_CID_MAX];
	size_t len = cidsteer_cid_length(current->handle);
	struct cidsteer *handle = current->handle;
	pid_t child;
	int status;

	(void)argument;
	fflush(stdout);
	child = fork();
	if (!child) {
		printf("issue=%s ", result(cidsteer_issue(handle, cid, len)));
		printf("provisional=%s ", result(cidsteer_issue_provisional(handle, cid, len)));
		printf("retire=%s ", result(cidsteer_retire(handle, cid, len)));
		printf("stray=%s ", result(cidsteer_report_stray(handle, cid, len)));
		printf("path=%s ", result(cidsteer_report_path_change(handle)));
		printf("drain=%s ", result(cidsteer_drain(handle)));
		printf("xsks=%s ", result(cidsteer_set_xsks(handle, NULL, 0)));
		printf("dispatch=%s ", result(cidsteer_dispatch(handle)));
		cidsteer_close(handle);
		puts("closed");
		fflush(stdout);
		_exit(0);
	}
	if (waitpid(child, &status, 0) != child || status)
		printf("the child ended with %#x\n", status);
}

/* hold: a child that does nothing but keep copies of all descriptors. */
static void do_hold(const char *argument)
{
	pid_t child = fork();

	(void)argument;
	if (!child) {
		close(0);
		close(1);
		for (;;)
			pause();
	}
	printf("held by %d\n", child);
}

/* who: user and privileges, as the kernel says. */
static void do_who(const char *argument)
{
	char line[256];
	FILE *file = fopen("/proc/self/status", "re");
	unsigned int uid = 0;
	unsigned long long caps;

	(void)argument;
	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "Uid: %*u %u", &uid) == 1)
			printf("euid=%u ", uid);
		else if (sscanf(line, "CapEff: %llx", &caps) == 1)
			printf("CapEff=%llx ", caps);
		else if (sscanf(line, "NoNewPrivs: %u", &uid) == 1)
			printf("NoNewPrivs=%u", uid);
	}
	puts("");
	if (file)
		fclose(file);
}

/* An own program for the group that picks socket 0: what a second steering tool would do. */
static int load_intruder(void)
{
	static const struct bpf_insn insn[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr attr = { .prog_type = BPF_PROG_TYPE_SOCKET_FILTER, .insn_cnt = 2 };

	attr.insns = (uintptr_t)insn;
	attr.license = (uintptr_t) "GPL";
	strcpy(attr.prog_name, "intruder");
	return syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
}

/* intrude ebpf|cbpf */
static void do_intrude(const char *argument)
{
	struct sock_filter filter[] = { BPF_STMT(BPF_RET | BPF_K, 0) };
	struct sock_fprog classic = { 1, filter };
	int fd, err;

	if (!strcmp(argument, "cbpf")) {
		err = setsockopt(current->socket[0], SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &classic,
				 sizeof(classic));
		puts(result(err ? -errno : 0));
		return;
	}
	fd = load_intruder();
	err = fd < 0 ||
	      setsockopt(current->socket[0], SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, &fd, sizeof(fd));
	puts(result(err ? -errno : 0));
	if (fd >= 0)
		close(fd);
}

static void do_quit(const char *argument)
{
	(void)argument;
	for (unsigned int h = 0; h < options.handles; h++)
		cidsteer_close(member[h].handle);
	puts("ok");
	exit(0);
}

static void do_issue(const char *hex)
{
	do_cid("issue", hex, cidsteer_issue);
}

static void do_provisional(const char *hex)
{
	do_cid("provisional", hex, cidsteer_issue_provisional);
}

static void do_retire(const char *hex)
{
	do_cid("retire", hex, cidsteer_retire);
}

static void do_stray(const char *hex)
{
	do_cid("stray", hex, cidsteer_report_stray);
}

static const struct {
	const char *name;
	void (*run)(const char *argument);
} commands[] = {
	{ "issue", do_issue },	   { "provisional", do_provisional },
	{ "retire", do_retire },   { "stray", do_stray },
	{ "random", do_random },   { "retire-all", do_retire_all },
	{ "fill", do_fill },	   { "bulk", do_bulk },
	{ "threads", do_threads }, { "count", do_count },
	{ "reset", do_reset },	   { "use", do_use },
	{ "path", do_path },	   { "drain", do_drain },
	{ "ready", do_ready },	   { "dispatch", do_dispatch },
	{ "state", do_state },	   { "close", do_close },
	{ "open", do_open },	   { "close-sockets", do_close_sockets },
	{ "fork", do_fork },	   { "hold", do_hold },
	{ "who", do_who },	   { "intrude", do_intrude },
	{ "xsk", do_xsk },	   { "close-xsk", do_close_xsk },
	{ "no-xsk", do_no_xsk },   { "claim", do_claim },
	{ "quit", do_quit },
};

static void obey(char *line)
{
	char *name = strtok(line, " \n"), *argument = strtok(NULL, "\n");

	for (size_t i = 0; name && i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(commands[i].name, name))
			continue;
		commands[i].run(argument ? argument : "");
		return;
	}
	puts("no such command");
}

/* ---- the loop ---- */

static void dispatch(struct member *at)
{
	struct cidsteer_state state = { .size = sizeof(state) };
	int said = cidsteer_dispatch(at->handle);

	at->no_xsks += said == CIDSTEER_NO_XSKS;
	if (said == -ENOTCONN)
		at->lost = true;
	else if (!cidsteer_get_state(at->handle, &state) && state.connected)
		at->lost = false;
}

/* With --serve packets are read when they come; otherwise when they are asked for. */
static nfds_t add_sockets(struct pollfd *fds, nfds_t count)
{
	for (unsigned int h = 0; h < options.handles && options.serve; h++) {
		for (unsigned int i = 0; i < options.listeners; i++)
			fds[count++] = (struct pollfd){ .fd = member[h].socket[i],
							.events = POLLIN };
		for (unsigned int i = 0; i < member[h].xsks; i++)
			fds[count++] = (struct pollfd){ .fd = member[h].xsk[i].fd,
							.events = POLLIN };
	}
	return count;
}

static void wait_and_serve(void)
{
	static struct pollfd
		fds[1 + MAX_HANDLES + MAX_HANDLES * (MAX_LISTENERS + CIDSTEER_XSKS_MAX)];
	char line[4096];

	fds[0] = (struct pollfd){ .fd = 0, .events = POLLIN };

	for (unsigned int h = 0; h < options.handles; h++) {
		struct member *at = &member[h];

		fds[1 + h].fd = at->handle ? cidsteer_fd(at->handle) : -1;
		fds[1 + h].events = POLLIN;
	}
	poll(fds, add_sockets(fds, 1 + options.handles), -1);
	for (unsigned int h = 0; h < options.handles; h++) {
		if (fds[1 + h].revents)
			dispatch(&member[h]);
		if (options.serve)
			receive_all(&member[h]);
	}
	if (!fds[0].revents)
		return;
	if (!fgets(line, sizeof(line), stdin))
		do_quit("");
	obey(line);
	fflush(stdout);
}

static const char *value(char ***argv)
{
	if (!*++*argv)
		errx(2, "a value is missing");
	return **argv;
}

int main(int argc, char **argv)
{
	(void)argc;
	while (*++argv) {
		if (!strcmp(*argv, "--service"))
			options.service = value(&argv);
		else if (!strcmp(*argv, "--control"))
			options.control = value(&argv);
		else if (!strcmp(*argv, "--listen") && options.listeners < MAX_LISTENERS)
			address_read(value(&argv), &options.listen[options.listeners++]);
		else if (!strcmp(*argv, "--handles"))
			options.handles = atoi(value(&argv));
		else if (!strcmp(*argv, "--generation"))
			options.generation = atoi(value(&argv));
		else if (!strcmp(*argv, "--cpu"))
			options.cpu = cpu_named(value(&argv));
		else if (!strcmp(*argv, "--user"))
			options.user = value(&argv);
		else if (!strcmp(*argv, "--v6only"))
			options.v6only = true;
		else if (!strcmp(*argv, "--gro"))
			options.gro = true;
		else if (!strcmp(*argv, "--unsteered"))
			options.unsteered = true;
		else if (!strcmp(*argv, "--serve"))
			options.serve = true;
		else
			errx(2, "%s: not an option", *argv);
	}
	if (options.handles < 1 || options.handles > MAX_HANDLES)
		errx(2, "1 to %d handles", MAX_HANDLES);
	/* One line of input at a time, so that poll() tells when there is more. */
	setvbuf(stdin, NULL, _IONBF, 0);
	start();
	fflush(stdout);
	for (;;)
		wait_and_serve();
}

/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tests of cs_reuseport share, for which there is no BPF_PROG_TEST_RUN.  Real sockets,
 * registered by the library with the real daemon, receive datagrams over the loopback; which
 * socket receives each is compared with what explain says of the same packet, and the whole
 * counter array with the one verdict that this is.
 */
#ifndef CS_TEST_SOCKETS_H
#define CS_TEST_SOCKETS_H

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "fixture.h"

static const char configuration[] =
	"service \"h3\" { listen = {\"[::]:4433\", \"127.0.0.7:4433\"} max_cids = 64 }\n"
	"service \"told\" { listen = {\"127.0.0.1:4435\"} shared_table = no max_cids = 64 }\n"
	"service \"bare\" { listen = {\"0.0.0.0:4700\"} cid_length = 0 max_cids = 64 }\n";

#define SERVICES 3
#define WORKERS 4
#define CIDS 4
static struct worker {
	struct cidsteer *handle;
	int socket[2];
	__u8 cid[CIDS][CS_MAX_CID];
} worker[SERVICES][WORKERS];

/* A service's listeners, and how its workers are reached. */
static const struct place {
	const char *service, *listen[2];
	int listeners;
} places[SERVICES] = {
	{ "h3", { "[::]:4433", "127.0.0.7:4433" }, 2 },
	{ "told", { "127.0.0.1:4435" }, 1 },
	{ "bare", { "0.0.0.0:4700" }, 1 },
};

static struct plane plane;

static inline void make_worker(int service, int i)
{
	const struct place *place = &places[service];
	struct cidsteer_options options = CIDSTEER_OPTIONS_INIT;
	struct worker *made = &worker[service][i];
	__u64 seed = 100 * service + i;
	char line[256] = "";

	options.control = CONTROL;
	options.error = line;
	options.error_size = sizeof(line);
	for (int l = 0; l < place->listeners; l++)
		made->socket[l] = udp_bind(place->listen[l]);
	check(!cidsteer_open(&made->handle, place->service, made->socket, place->listeners,
			     &options),
	      "%s", line);
	random_fill(&seed, made->cid, sizeof(made->cid));
	for (int c = 0; c < CIDS && cidsteer_cid_length(made->handle); c++)
		check(!cidsteer_issue(made->handle, made->cid[c], 8), "issue");
}

static inline void begin(void)
{
	sandbox_enter(100);
	/* 127.0.0.0/8 is not taken for local addresses, each of it by itself is. */
	check(!system("ip address add 127.0.0.3/32 dev lo"), "ip address add");
	daemon_start(configuration);
	plane_look(&plane);
	for (int service = 0; service < SERVICES; service++) {
		for (int i = 0; i < WORKERS; i++)
			make_worker(service, i);
	}
}

/* ---- one datagram -------------------------------------------------------------------------- */

/* Where one comes from and goes to, and how it is sent. */
struct path {
	const char *from, *to; /* addresses without port */
	__u16 port;
	size_t cork; /* first send this many bytes and MSG_MORE; 0: all at once */
	bool zerocopy;
	__u8 ipv4_options; /* bytes */
	bool dst_options;  /* IPv6 */
};

static inline socklen_t to_address(const char *text, __u16 port, struct sockaddr_storage *to)
{
	struct sockaddr_in6 *in6 = (void *)to;
	struct sockaddr_in *in = (void *)to;

	memset(to, 0, sizeof(*to));
	if (strchr(text, ':')) {
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(port);
		inet_pton(AF_INET6, text, &in6->sin6_addr);
		return sizeof(*in6);
	}
	in->sin_family = AF_INET;
	in->sin_port = htons(port);
	inet_pton(AF_INET, text, &in->sin_addr);
	return sizeof(*in);
}

static inline int open_client(const struct path *path)
{
	static const __u8 no_operation[40] = { [0 ... 39] = 1 };
	static const __u8 padding[8] = { [2] = 1, [3] = 4 };
	struct sockaddr_storage from, to;
	socklen_t from_len = to_address(path->from, 0, &from);
	socklen_t to_len = to_address(path->to, path->port, &to);
	int fd = socket(from.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0), one = 1, big = 1 << 20;

	check(fd >= 0 && !bind(fd, (struct sockaddr *)&from, from_len) &&
		      !connect(fd, (struct sockaddr *)&to, to_len),
	      "%s to %s: %s", path->from, path->to, strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &big, sizeof(big));
	if (path->zerocopy)
		check(!setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one)), "SO_ZEROCOPY");
	if (path->ipv4_options)
		check(!setsockopt(fd, IPPROTO_IP, IP_OPTIONS, no_operation, path->ipv4_options),
		      "IP_OPTIONS");
	if (path->dst_options)
		check(!setsockopt(fd, IPPROTO_IPV6, IPV6_DSTOPTS, padding, sizeof(padding)),
		      "IPV6_DSTOPTS: %s", strerror(errno));
	return fd;
}

static inline __u16 local_port(int fd)
{
	struct sockaddr_in6 addr;
	socklen_t len = sizeof(addr);

	check(!getsockname(fd, (struct sockaddr *)&addr, &len), "getsockname");
	return ntohs(addr.sin6_port);
}

/* The same packet as a frame; of a large one the beginning, which decides. */
static inline struct cs_verdict predict(const struct path *path, __u16 sport, const void *payload,
					size_t len)
{
	size_t there = len < 1400 ? len : 1400;
	struct frame_spec spec = { .saddr = path->from,
				   .daddr = path->to,
				   .sport = sport,
				   .dport = path->port,
				   .options = path->ipv4_options,
				   .payload = payload,
				   .payload_len = there };
	struct frame frame;

	frame_build(&frame, &spec);
	return run_explain(&plane, frame.byte, frame.len, path->to);
}

static inline void send_it(int fd, const struct path *path, const __u8 *payload, size_t len)
{
	size_t cork = path->cork < len ? path->cork : 0;
	int flags = path->zerocopy ? MSG_ZEROCOPY : 0;

	if (cork)
		check(send(fd, payload, cork, flags | MSG_MORE) == (ssize_t)cork, "send: %s",
		      strerror(errno));
	check(send(fd, payload + cork, len - cork, flags) == (ssize_t)(len - cork),
	      "send of %zu: %s", len, strerror(errno));
}

/* The socket that one datagram came to, as 100 * listener + worker. */
static inline int receiver(int service, size_t len)
{
	struct pollfd ready[2 * WORKERS];
	int count = 0, found = -1;

	for (int l = 0; l < places[service].listeners; l++) {
		for (int i = 0; i < WORKERS; i++)
			ready[count++] = (struct pollfd){ worker[service][i].socket[l], POLLIN, 0 };
	}
	check(poll(ready, count, 2000) == 1, "no socket, or more than one, has received");
	for (int i = 0; i < count; i++) {
		ssize_t got;

		if (!ready[i].revents)
			continue;
		got = recv(ready[i].fd, NULL, 0, MSG_TRUNC | MSG_DONTWAIT);
		check(got == (ssize_t)len, "%zd bytes instead of %zu", got, len);
		found = 100 * (i / WORKERS) + i % WORKERS;
	}
	return found;
}

static inline int number_of(int service, __u16 id)
{
	for (int i = 0; i < WORKERS; i++) {
		if (worker[service][i].handle &&
		    cidsteer_worker_id(worker[service][i].handle) == id)
			return i;
	}
	return -1;
}

/*
 * Sends one datagram.  It must come to the worker that explain names, at the listener that explain
 * names, and be counted as explain says; with @reason above 0 that is what it must say.
 */
static inline struct cs_verdict check_datagram(int service, const struct path *path,
					       const void *payload, size_t len, __u32 reason)
{
	static struct counters before, after;
	int fd = open_client(path), got;
	struct cs_verdict said = predict(path, local_port(fd), payload, len);

	counters_read(&plane, &before);
	send_it(fd, path, payload, len);
	got = receiver(service, len);
	counters_read(&plane, &after);
	check(said.service == service_named(&plane, places[service].service), "service %u",
	      said.service);
	check(!reason || said.reason == reason, "%s: reason %u instead of %u", path->to,
	      said.reason, reason);
	check(got / 100 == said.position, "listener %d instead of %u", got / 100, said.position);
	check(!said.worker || got % 100 == number_of(service, said.worker),
	      "%s to %s, %zu bytes, reason %u: the socket of number %d, explain says %d",
	      path->from, path->to, len, said.reason, got % 100, number_of(service, said.worker));
	counters_add(&before, CS_HOOK_REUSEPORT, &said, false);
	counters_check(&before, &after, path->to);
	close(fd);
	return said;
}

static const struct path to_h3[] = {
	{ .from = "127.0.0.1", .to = "127.0.0.1", .port = 4433 },
	{ .from = "127.0.0.9", .to = "127.0.0.3", .port = 4433 },
	{ .from = "127.0.0.1", .to = "127.0.0.7", .port = 4433 },
	{ .from = "::1", .to = "::1", .port = 4433 },
};

#endif

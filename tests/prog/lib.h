/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tests of libcidsteer share: services whose workers write the table (h3, few, tiny) and
 * services whose daemon writes it (their names end in told), and how to open a worker in each.
 */
#ifndef CS_TEST_LIB_H
#define CS_TEST_LIB_H

#include <bpf/bpf.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

#include "fixture.h"

/* In a child, where an assertion would speak for the parent. */
#define must(law)                                                                                  \
	do {                                                                                       \
		if (!(law)) {                                                                      \
			fprintf(stderr, "%s:%d: in a child: %s\n", __FILE__, __LINE__, #law);      \
			_exit(1);                                                                  \
		}                                                                                  \
	} while (0)

static const char configuration[] =
	"service \"h3\" { listen = {\"127.0.0.1:4433\"} max_cids = 4096 }\n"
	"service \"told\" { listen = {\"127.0.0.1:4435\"} shared_table = no max_cids = 4096 }\n"
	"service \"tiny\" { listen = {\"127.0.0.1:4436\"} max_cids = 1 }\n"
	"service \"few\" { listen = {\"127.0.0.1:4438\"} max_cids = 64 }\n"
	"service \"fewtold\" { listen = {\"127.0.0.1:4439\"} shared_table = no max_cids = 64 }\n"
	"service \"tinytold\" { listen = {\"127.0.0.1:4437\"} shared_table = no max_cids = 1 }\n";

static const char *const modes[] = { "h3", "told" };

static inline void begin(void)
{
	sandbox_enter(100);
	daemon_start(configuration);
}

static inline const char *address_of(const char *service)
{
	static const char *const address[][2] = {
		{ "h3", "127.0.0.1:4433" },	 { "told", "127.0.0.1:4435" },
		{ "tiny", "127.0.0.1:4436" },	 { "few", "127.0.0.1:4438" },
		{ "fewtold", "127.0.0.1:4439" }, { "tinytold", "127.0.0.1:4437" }
	};

	for (size_t i = 0; i < COUNT(address); i++) {
		if (!strcmp(address[i][0], service))
			return address[i][1];
	}
	return NULL;
}

static inline int try_open(struct cidsteer **handle, const char *service, int socket,
			   uint32_t timeout_ms)
{
	struct cidsteer_options options = CIDSTEER_OPTIONS_INIT;

	options.control = CONTROL;
	options.timeout_ms = timeout_ms;
	return cidsteer_open(handle, service, &socket, 1, &options);
}

/* A worker whose socket nobody needs to know: it is closed at the test's end. */
static inline struct cidsteer *open_worker(const char *service)
{
	struct cidsteer *handle = NULL;
	int err = try_open(&handle, service, udp_bind(address_of(service)), 0);

	check(!err && handle, "opening a worker of %s: %s", service, strerror(-err));
	return handle;
}

static inline const __u8 *cid_number(__u32 number)
{
	static __u8 cid[CS_MAX_CID];

	memset(cid, 0xc1, sizeof(cid));
	memcpy(cid, &number, sizeof(number));
	return cid;
}

static inline struct cs_usage usage_of(const struct plane *plane, const char *service,
				       const struct cidsteer *handle)
{
	int fd = plane_usage_fd(plane, service_named(plane, service));
	__u32 id = cidsteer_worker_id(handle), line;
	struct cs_worker worker;
	struct cs_usage usage;

	check(!bpf_map_lookup_elem(plane->map[PLANE_WORKERS], &id, &worker), "worker");
	line = worker.usage;
	check(!bpf_map_lookup_elem(fd, &line, &usage), "usage");
	close(fd);
	return usage;
}

static inline __u8 state_of(const struct plane *plane, __u32 id)
{
	struct cs_worker worker = {};

	check(!bpf_map_lookup_elem(plane->map[PLANE_WORKERS], &id, &worker), "worker");
	return worker.state;
}

static inline bool is_readable(const struct cidsteer *handle)
{
	struct pollfd ready = { .fd = cidsteer_fd(handle), .events = POLLIN };

	return poll(&ready, 1, 0) == 1;
}

#endif

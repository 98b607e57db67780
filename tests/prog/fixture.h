/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tests in the kernel share.
 *
 * Each test runs in a mount and a network namespace of its own.  A tmpfs covers /mnt there, and
 * everything that a test makes lies on it: the bpffs, the configuration, the control socket.  So
 * nothing is left behind, however a test ends, and tests of several users do not meet.
 */
#ifndef CS_TEST_FIXTURE_H
#define CS_TEST_FIXTURE_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>
#include <time.h>

#include "../law.h"
#include "cidsteer/cidsteer.h"
#include "common/protocol.h"
#include "core/quic.h"
#include "dataplane/plane.h"

#define SANDBOX "/mnt"
#define PINS SANDBOX "/bpf/cidsteer"
#define CONFIG SANDBOX "/cidsteer.conf"
#define CONTROL SANDBOX "/control.sock"
#define DAEMON_LOG SANDBOX "/log"

/* Nobody's id is 65534, and some other unprivileged user's. */
#define UID_NOBODY 65534
#define UID_OTHER 1

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Own namespaces, loopback up; ends the test after @seconds. */
void sandbox_enter(unsigned int seconds);

/* Polls a fact, for at most 10 s. */
#define eventually(fact)                                                                           \
	({                                                                                         \
		struct timespec nap_ = { 0, 1000000 };                                             \
		int left_ = 10000;                                                                 \
		while (!(fact) && --left_)                                                         \
			nanosleep(&nap_, NULL);                                                    \
		left_ > 0;                                                                         \
	})

double seconds_now(void);

/* ---- data plane without a daemon ----------------------------------------------------------- */

/* Loads and pins the data plane for a configuration, in this process. */
void plane_make(struct plane *plane, const char *configuration);

/* Opens what a daemon pinned. */
void plane_look(struct plane *plane);

/* Id of a service by its name. */
__u32 service_named(const struct plane *plane, const char *name);

/* Every counter of both hooks and all services, summed over the CPUs. */
struct counters {
	__u64 value[CS_HOOKS * CS_MAX_SERVICES][CS_COUNTERS];
};
void counters_read(const struct plane *plane, struct counters *counters);

/* What @times packets of one hook and service add when they get one verdict. */
void counters_expect(struct counters *counters, __u32 hook, __u32 service, __u32 reason,
		     __u64 times);

/* What one packet of a verdict adds; @dropped: it was dropped. */
void counters_add(struct counters *counters, __u32 hook, const struct cs_verdict *verdict,
		  bool dropped);

/* Fails the test at the first counter that is not as expected. */
void counters_check(const struct counters *expected, const struct counters *got, const char *what);

/* The contents of all maps but the counters, for comparison. */
struct snapshot;
struct snapshot *snapshot_take(const struct plane *plane);
void snapshot_free(struct snapshot *snapshot);

/* Name of the first map that differs, or NULL.  The usage of departed workers does not count. */
const char *snapshot_differs(const struct snapshot *a, const struct snapshot *b);

/* Workers that are there, dead ones too. */
int snapshot_workers(const struct snapshot *snapshot);

/* ---- packets ------------------------------------------------------------------------------- */

struct frame {
	__u8 byte[2048];
	size_t len;
	size_t ip, udp, payload; /* offsets */
};

/* What a frame is made of; zero members are what is usual. */
struct frame_spec {
	const char *saddr, *daddr; /* both IPv4 or both IPv6; by default 10.0.0.9 and 10.0.0.1 */
	__u16 sport, dport;	   /* by default 5000, 4433 */
	__u16 eth_type;		   /* what the frame says that it carries */
	__u16 vlan;		   /* tag, in front of the Ethernet type; 0: none */
	__u16 outer;		   /* and another in front of it (802.1ad) */
	__u8 options;		   /* bytes of IPv4 options, a multiple of 4 */
	__u8 ihl;		   /* what the IPv4 header says instead, + 1 */
	__u8 proto;		   /* what the IP header says instead */
	__u16 frag_off;		   /* IPv4, with its flags */
	const __u8 *extensions;	   /* of IPv6: a chain of headers before UDP, */
	size_t extensions_len;	   /* which ends with this byte */
	__u8 first_extension;	   /* and begins with this type */
	int ip_longer;		   /* what the IP length says more or less than is there */
	int udp_longer;		   /* what the UDP length says more or less than is there */
	const void *payload;
	size_t payload_len;
	size_t padding; /* bytes behind the payload */
};
void frame_build(struct frame *frame, const struct frame_spec *spec);

/* Writes a QUIC packet of @size bytes; returns @size. */
size_t quic_long(__u8 *to, __u8 first, __u32 version, const void *dcid, __u8 len, size_t size);
size_t quic_short(__u8 *to, __u8 first, const void *dcid, __u8 len, size_t size);

/* Runs cs_xdp over a frame, which stays untouched.  Returns XDP_*. */
__u32 run_xdp_action(const struct plane *plane, const void *frame, size_t len, const char *what);

/* The same over one that may be altered; @out receives it. */
__u32 run_xdp_bytes(const struct plane *plane, const void *frame, size_t len, void *out,
		    size_t size, const char *what);

/* The same; it is not moved.  Returns whether it was dropped. */
bool run_xdp(const struct plane *plane, const void *frame, size_t len, const char *what);

/* Asks cs_explain about a frame, which comes back untouched behind the answer. */
struct cs_verdict run_explain(const struct plane *plane, const void *frame, size_t len,
			      const char *what);

/* ---- daemon -------------------------------------------------------------------------------- */

extern pid_t daemon_pid;

/* Starts the daemon that was built, or $CIDSTEERD, and waits until it is ready. */
void daemon_start(const char *configuration);

/* Ends it with a signal and waits for its end. */
void daemon_end(int signal);

int daemon_descriptors(void);
bool daemon_logged(const char *text);

/* A UDP socket with SO_REUSEPORT, bound; "[::]:443" is dual-stack. */
int udp_bind(const char *address);

/* A UDP socket connected to an address. */
int udp_connect(const char *address);

/* Takes one datagram; returns whether one was there within 2 s. */
bool udp_take(int fd);

/* A process of another user that ends with the result of @act, 0 for well. */
pid_t spawn_as(uid_t uid, int (*act)(void *), void *arg);

/* Waits; returns the exit status, or -signal. */
int spawn_result(pid_t pid);

/* ---- the control socket, by hand ----------------------------------------------------------- */

int control_connect(void);
int control_send(int fd, const void *message, size_t bytes, const int *fds, unsigned int count);

/* Bytes received, 0 at the end, or a negative errno; closes descriptors that come. */
int control_receive(int fd, void *message, size_t bytes);

void message_head(struct cs_msg *head, __u16 type, size_t bytes);
void message_register(struct cs_msg_register *message, const char *service, __u32 sockets);

#endif

// SPDX-License-Identifier: GPL-2.0-only
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include "daemon/lease.h"
#include "daemon/log.h"

#define SECOND_NS 1000000000ULL

/*
 * Renewed each second.  Nine late renewals are nothing: a machine under load holds a process up for
 * so long, and dropping must not flicker.  Much more and a server that is started anew without a
 * daemon would wait for long until its clients are heard.
 */
#define LEASE_NS (10 * SECOND_NS)

/*
 * Workers that were adopted are routed to at once.  Those that a daemon does not know, since they
 * started while there was none, connect within two seconds (lib/session.c, LAST_RETRY_MS), and
 * then register what they have issued: until then their packets look like nobody's.
 */
#define SETTLE_NS (5 * SECOND_NS)

static __u64 now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * SECOND_NS + now.tv_nsec;
}

void lease_start(struct lease *lease, const struct plane *plane)
{
	lease->plane = plane;
	lease->begin_ns = now_ns() + SETTLE_NS;
	lease->until_ns = 0;
}

void lease_renew(struct lease *lease)
{
	struct cs_lease value = { .until_ns = now_ns() + LEASE_NS };
	__u64 now = value.until_ns - LEASE_NS;
	__u32 key = 0;

	/* A daemon that was stopped for so long knows as little as one that starts. */
	if (lease->until_ns && now >= lease->until_ns)
		lease_start(lease, lease->plane);
	if (now < lease->begin_ns)
		return;
	if (bpf_map_update_elem(lease->plane->map[PLANE_LEASE], &key, &value, BPF_ANY))
		log_limited("cs_lease: %s: nothing is dropped without it", strerror(errno));
	else
		lease->until_ns = value.until_ns;
}

/* SPDX-License-Identifier: GPL-2.0-only */
/* What the tests of generations and of daemons that come back share. */
#ifndef CS_TEST_GENERATIONS_H
#define CS_TEST_GENERATIONS_H

#include "lib.h"

static struct plane plane;

static inline struct cidsteer *open_generation(const char *service, uint32_t generation)
{
	struct cidsteer_options options = CIDSTEER_OPTIONS_INIT;
	int socket = udp_bind(address_of(service)), err;
	struct cidsteer *handle = NULL;

	options.control = CONTROL;
	options.generation = generation;
	err = cidsteer_open(&handle, service, &socket, 1, &options);
	check(!err, "opening in generation %u: %s", generation, strerror(-err));
	return handle;
}

static inline struct cidsteer_state told(struct cidsteer *handle)
{
	struct cidsteer_state state = { .size = sizeof(state) };

	cidsteer_dispatch(handle);
	check(!cidsteer_get_state(handle, &state), "get_state");
	return state;
}

/* In the kernel's maps. */
static inline __u8 is(struct cidsteer *handle)
{
	return state_of(&plane, cidsteer_worker_id(handle));
}

/* Buckets of a service's ring that are a worker's. */
static inline int buckets_of(const char *service, __u32 worker)
{
	__u32 id = service_named(&plane, service);
	static struct cs_ring ring;
	int count = 0;

	check(!bpf_map_lookup_elem(plane.map[PLANE_RING], &id, &ring), "ring");
	for (int i = 0; i < CS_RING_SIZE; i++)
		count += ring.worker[i] == worker;
	return count;
}

static inline int share(const char *service, struct cidsteer *handle)
{
	return buckets_of(service, cidsteer_worker_id(handle));
}

static inline void new_daemon(void)
{
	daemon_end(SIGKILL);
	daemon_start(NULL);
}

/* Until the worker is connected.  Returns whether its IDs were asked for. */
static inline int come_back(struct cidsteer *handle)
{
	int asked = 0;

	check(eventually((asked |= cidsteer_dispatch(handle) == CIDSTEER_REISSUE,
			  told(handle).connected)),
	      "not back: %s", cidsteer_error(handle));
	return asked;
}

#endif

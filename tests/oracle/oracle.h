/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel's side of the differential run: a data plane in a sandbox, a world of services,
 * workers, routes, server IDs and local addresses in its maps, packets through its programs.
 */
#ifndef CS_ORACLE_H
#define CS_ORACLE_H

#include <stdio.h>
#include <stdlib.h>

#include "dataplane/plane.h"

#define SANDBOX "/mnt"
#define PINS SANDBOX "/bpf/cidsteer"
#define CONFIG SANDBOX "/cidsteer.conf"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define check(fact, ...)                                                                           \
	do {                                                                                       \
		if (fact)                                                                          \
			break;                                                                     \
		fprintf(stderr, "oracle: " __VA_ARGS__);                                           \
		fputc('\n', stderr);                                                               \
		exit(1);                                                                           \
	} while (0)

extern struct plane plane;

/* Id of the last service; they begin at 1. */
extern const __u32 world_services;

/* CPU that packets are run on, and another; the same where there is one. */
extern __u32 world_cpu, world_other_cpu;

/* The one device: in slot 0 of cs_devs, with this MTU and, at its other end, this MAC. */
#define WORLD_MTU 1280
extern __u32 world_device;
extern const __u8 world_mac[6];

/* The one slot of cs_xsks that has a socket.  Packets are run as if they came in on that device. */
#define WORLD_XSK 5

/* Loads and pins a data plane with the listeners of all worlds. */
void world_load(void);

/*
 * Makes all else that packets meet anew: settings, keys, rings, workers, routes, server IDs, local
 * addresses.  The same seed, the same world.  Writes what a model has to know of it as JSON.
 */
void world_make(__u64 seed, FILE *out);

/* Whether verdicts may drop from now on. */
void world_lease(int valid);

#endif

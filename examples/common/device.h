/* SPDX-License-Identifier: GPL-2.0-only */
/* What an AF_XDP socket has to know of a network interface. */
#ifndef EXAMPLES_COMMON_DEVICE_H
#define EXAMPLES_COMMON_DEVICE_H

#include <net/if.h>
#include <stdint.h>

struct device {
	char name[IF_NAMESIZE];
	uint32_t index;
	uint32_t queues; /* that receive; at least 1 */
	uint32_t mtu;	 /* bytes, without the Ethernet header; 0: the interface is gone */
};

/* device_find - in this network namespace.  Returns 0, or a negative errno: -ENODEV */
int device_find(struct device *device, const char *name);

/* device_look - reads the MTU again, which is 0 if the interface is not there any more */
void device_look(struct device *device);

#endif

/* SPDX-License-Identifier: GPL-2.0-only */
/* The configuration file, as cidsteer.conf(5) describes it. */
#ifndef CS_CONFIG_H
#define CS_CONFIG_H

#include <net/if.h>
#include <stdbool.h>
#include <sys/types.h>

#include "common/address.h"
#include "common/error.h"
#include "core/abi.h"
#include "dataplane/netns.h"

/* Which workers' packets are moved to their CPU. */
enum config_cpu {
	CONFIG_CPU_ASKED,    /* of those that name it when they register */
	CONFIG_CPU_AFFINITY, /* also of those whose process may run on one CPU only */
	CONFIG_CPU_NEVER,
};

struct config_service {
	char name[CS_NAME_SIZE];
	char netns[NETNS_NAME];				 /* "": that of the daemon */
	struct cs_addr listen[CS_MAX_SERVICE_LISTENERS]; /* their netns: plane_sync() finds it */
	unsigned int listen_count;
	char interface[CS_MAX_SERVICE_LISTENERS][IFNAMSIZ];
	unsigned int interface_count;
	uid_t uid;
	__u8 cid_len;	/* bytes */
	__u32 max_cids; /* routes */
	bool shared_table;
	__u8 unknown_cid, malformed, not_quic, small_initial, no_xsk; /* CS_POLICY_* */
	enum config_cpu cpu;
	bool behind_device;  /* workers in other namespaces, behind a veth, may register */
	__u32 drain_seconds; /* longest time that a worker may drain; 0: for ever */
	int line;	     /* where the service begins */
};

struct config {
	struct config_service service[CS_MAX_SERVICES];
	unsigned int count;
	__u32 cpu_queue; /* packets that wait for a CPU at once */
};

/*
 * config_read - read and check a file
 * @config:	receives it; free with free()
 * @error:	"FILE:LINE: reason", the first mistake
 *
 * Returns 0, -ENOENT and the like (the file cannot be read), -EINVAL (a mistake), -ENOMEM.
 */
int config_read(const char *path, struct config **config, struct error *error);

/* What a policy of a service is called in the file, by option and CS_POLICY_*; "?": it is none. */
const char *config_policy(const char *option, __u8 policy);

/* 1 to 15 letters, digits, '-', '_' or '.': safe to print. */
bool config_is_name(const char *name);

#endif

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
#include "core/lb.h"
#include "dataplane/netns.h"

#define CONFIG_LB_KEY 16 /* octets, AES-128 */

/* Which workers' packets are moved to their CPU. */
enum config_cpu {
	CONFIG_CPU_ASKED,    /* of those that name it when they register */
	CONFIG_CPU_AFFINITY, /* also of those whose process may run on one CPU only */
	CONFIG_CPU_NEVER,
};

/* A QUIC-LB configuration: cs_lb_mistake() finds nothing. */
struct config_lb {
	__u8 id, server_id_len, nonce_len;
	__u8 cid_len; /* octets of an ID, the first included; 0: each tells its length */
	bool active;  /* workers are to make IDs with it, if they make none yet */
	bool has_key;
	bool key_forgotten;	 /* it was wiped: it is the one that is loaded */
	__u8 key[CONFIG_LB_KEY]; /* a secret */
	__u8 host_len; /* octets of @host, fewer than a server ID has; 0: there is one host */
	__u8 host[CS_LB_MAX_SERVER_ID]; /* that this host's server IDs begin with */
	int line;			/* where it ends */
};

/* Another host of a configuration: its server IDs begin with @host_len such octets. */
struct config_host {
	__u16 service; /* index into config.service */
	__u8 lb;       /* id of the configuration */
	__u8 host[CS_LB_MAX_SERVER_ID];
};
#define CONFIG_MAX_HOSTS 4096 /* of all services */

/* Whose octets a format of somebody else's has. */
enum config_key {
	CONFIG_KEY_NONE,   /* there is no such format */
	CONFIG_KEY_COOKIE, /* SO_COOKIE of a socket that the worker has registered */
	CONFIG_KEY_WORKER, /* the worker says them when it registers, or the daemon gives it some */
};

struct config_extract {
	enum config_key key;
	__u8 at, len;	    /* octets of the CID */
	bool little_endian; /* a number's octets begin with the lowest */
	int line;
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
	struct config_lb lb[CS_LB_CONFIGS];
	unsigned int lb_count;
	struct config_extract extract; /* never beside @lb */
	int line;		       /* where the service ends */
};

struct config {
	struct config_service service[CS_MAX_SERVICES];
	unsigned int count;
	struct config_host host[CONFIG_MAX_HOSTS];
	unsigned int host_count;
	__u32 cpu_queue; /* packets that wait for a CPU at once */
};

/*
 * config_read - read and check a file
 * @config:	receives it; free with config_free()
 * @error:	"FILE:LINE: reason", the first mistake
 *
 * Returns 0, -ENOENT and the like (the file cannot be read), -EINVAL (a mistake), -ENOMEM.
 */
int config_read(const char *path, struct config **config, struct error *error);

/* Wipes the keys.  NULL is allowed. */
void config_free(struct config *config);

/* They are loaded now: nobody needs them here. */
void config_forget_keys(struct config *config);

static inline void cleanup_config(struct config **config)
{
	config_free(*config);
}

#define _cleanup_config_ __attribute__((cleanup(cleanup_config)))

/*
 * config_read_key - a QUIC-LB key from a file that only root, or who runs this, can read
 * @key:	32 hexadecimal digits in the file, spaces and line ends around them
 * @error:	"PATH: reason", without what is in the file
 *
 * Returns 0, -EACCES (somebody else can read or write it, or owns it), -EINVAL (no regular file,
 * or not such digits), or what open(2) and read(2) say.
 */
int config_read_key(const char *path, __u8 key[CONFIG_LB_KEY], struct error *error);

/* Octets in hexadecimal, two digits each.  Returns how many, at most @most, or -EINVAL. */
int config_hex(const char *text, __u8 *octets, unsigned int most);

/* What a policy of a service is called in the file, by option and CS_POLICY_*; "?": it is none. */
const char *config_policy(const char *option, __u8 policy);

/* 1 to 15 letters, digits, '-', '_' or '.': safe to print. */
bool config_is_name(const char *name);

#endif

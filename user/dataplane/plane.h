/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The data plane in the kernel: programs and maps, pinned in one directory of a bpffs.
 *
 * Daemon and command reach it through this header; nothing here logs.
 *
 *   DIR/cs_abi ... cs_counters   the maps of bpf/maps.bpf.h, bpf/watch.bpf.h; cs_abi is pinned last
 *   DIR/cs_listeners             listener -> instance of cs_reuseport
 *   DIR/xdp                      cs_xdp, for `ip link set dev X xdpdrv pinned DIR/xdp`
 *   DIR/xdp-NAME                 its instance for the network namespace NAME
 *   DIR/xdp_ID                   another cs_xdp of ours that an interface has
 *   DIR/explain                  cs_explain
 *   DIR/cpu                      cs_cpu, for the entries of cs_cpus
 *   DIR/reuseport                an instance of cs_reuseport, with the code of all: see upgrade.c
 *   DIR/inner/ID                 the inner maps of cs_cids and cs_usage, by their ids
 */
#ifndef CS_PLANE_H
#define CS_PLANE_H

#include <stdbool.h>
#include <time.h>

#include "common/error.h"
#include "core/abi.h"
#include "core/watch.h"
#include "core/cid_table.h"
#include "dataplane/config.h"

enum plane_map {
	PLANE_PORTS,
	PLANE_LINES,
	PLANE_ADDRS,
	PLANE_SERVICES,
	PLANE_CIDS,
	PLANE_USAGE,
	PLANE_WORKERS,
	PLANE_SOCKETS,
	PLANE_RING,
	PLANE_COUNTERS,
	PLANE_HEAD,
	PLANE_LOCALS,
	PLANE_PREFIXES,
	PLANE_LEASE,
	PLANE_WATCH,
	PLANE_RECORD,
	PLANE_TRACED,
	PLANE_LEFT_OUT,
	PLANE_DRAFT,
	PLANE_TARGETS,
	PLANE_CPUS,
	PLANE_CPU_COUNTS,
	PLANE_DEVS,
	PLANE_DEV_COUNTS,
	PLANE_XSKS,
	PLANE_LB_CONFIGS,
	PLANE_SERVERS,
	PLANE_HITS,
	PLANE_AES,
	PLANE_LISTENERS,
	PLANE_ABI, /* last: pinned when all others are */
	PLANE_MAPS,
};

/* Each listener has a program of its own, which the kernel verifies: many take seconds. */
struct plane_progress {
	void (*say)(unsigned int loaded); /* every PLANE_PROGRESS_SECONDS */
	unsigned int loaded;		  /* listeners so far */
	time_t said;			  /* or begun; 0: not yet */
};
#define PLANE_PROGRESS_SECONDS 5

struct plane {
	char dir[256];
	int lock;	       /* held by the daemon and by commands that change things; -1: none */
	int map[PLANE_MAPS];   /* descriptors */
	int xdp, explain, cpu; /* programs */
	struct cs_abi abi;     /* as read when it was opened, or written since */
	char netns[CS_MAX_NETNS][NETNS_NAME]; /* what the configuration calls each; "": [0], none */
	struct plane_progress *progress;      /* the caller's; or NULL */
};

#define PLANE_INIT                                                                                 \
	{                                                                                          \
		.lock = -1, .map = { [0 ... PLANE_MAPS - 1] = -1 }, .xdp = -1, .explain = -1,      \
		.cpu = -1                                                                          \
	}

/* $CIDSTEER_BPFFS, or /sys/fs/bpf/cidsteer. */
const char *plane_default_dir(void);

/*
 * plane_open - open what is pinned, to read it or to work on it
 *
 * Returns 0, -ENOENT (nothing is loaded; no bpffs), -EPROTO (pins of another layout, or a pin is
 * missing: the line says which), or -EPERM, ...  Free with plane_close() in every case.
 */
int plane_open(struct plane *plane, const char *dir, struct error *error);

/*
 * plane_lock - claim the directory until plane_close()
 *
 * Makes it if it is not there.  Returns 0, -EBUSY (a daemon or a command holds it), -ENOENT (no
 * bpffs), or another errno.
 */
int plane_lock(struct plane *plane, const char *dir, struct error *error);

/*
 * plane_start - lock the directory, load or adopt, and make it what the configuration says
 * @adopted:	receives whether programs and maps were there
 * @upgraded:	receives whether programs were replaced, because this build has others:
 *		attach_upgrade() does the same for interfaces
 *
 * A service that is there keeps its id, key, table and routes.  All is checked before anything
 * is changed; on failure nothing new is left.  plane_close() in every case.
 *
 * Returns 0, what plane_lock() returns, -EPROTO as plane_open(), -EINVAL (loaded in another network
 * namespace; max_cids of a loaded service changed; a limit), or an errno of the kernel's.
 */
int plane_start(struct plane *plane, const char *dir, const struct config *config, bool *adopted,
		bool *upgraded, struct error *error);

/*
 * plane_reload - make a loaded plane what another configuration says
 *
 * Returns as plane_start(), with nothing changed on failure.
 */
int plane_reload(struct plane *plane, const struct config *config, struct error *error);

/*
 * Raises the soft limit of descriptors, as far as the hard one goes, to what the largest
 * configuration takes while it is loaded, and so many more.
 */
void plane_raise_descriptors(unsigned int more);

/* Gives a service an empty table and empty usage lines in place of those it has. */
int plane_renew_table(const struct plane *plane, __u32 service);

/* plane_unload - remove our pins and, if nothing else is in it, the directory; needs plane_lock().
 */
int plane_unload(struct plane *plane, struct error *error);

void plane_close(struct plane *plane);

/* Loads cs_explain of this build for a namespace, an index into cs_abi.netns_cookie; the pinned one
 * is for 0.  Returns its descriptor, the caller's, or a negative errno.
 */
int plane_load_explain(const struct plane *plane, __u32 netns);

/* Loads cs_stub for a listener.  Returns its descriptor, the caller's, or a negative errno. */
int plane_stub(const struct plane *plane, __u16 listener, struct error *error);

/* All workers in one system call: @workers has CS_MAX_WORKERS.  Returns 0 or a negative errno. */
int plane_workers(const struct plane *plane, struct cs_worker *workers);

/* A service by its id; returns 0, or -ENOENT. */
int plane_service(const struct plane *plane, __u32 id, struct cs_service *service);

/* Calls @visit for each address, aliases too; stops at the first result that is not 0. */
int plane_each_address(const struct plane *plane,
		       int (*visit)(const struct cs_addr *, const struct cs_listener *, void *),
		       void *arg);

/* Sums a counter line over all CPUs.  Returns 0 or a negative errno. */
int plane_counters(const struct plane *plane, __u32 hook, __u32 service, struct cs_counters *sum);

/* What was sent to a CPU, summed up.  Returns 0 or a negative errno. */
int plane_cpu_count(const struct plane *plane, __u32 cpu, struct cs_cpu_count *sum);

/* The same of a slot of cs_devs; and none yet. */
int plane_device_count(const struct plane *plane, __u32 slot, struct cs_dev_count *sum);
int plane_clear_device_count(const struct plane *plane, __u32 slot);

/* A service's inner maps, opened; the caller closes. */
int plane_table_fd(const struct plane *plane, __u32 service);
int plane_usage_fd(const struct plane *plane, __u32 service);

/*
 * Maps a table or the usage lines; @writable false gives memory that faults on writing.
 * Undo with plane_unmap_table(), plane_unmap_usage().  Returns 0 or a negative errno.
 */
int plane_map_table(int fd, bool writable, struct cs_table *table);
void plane_unmap_table(struct cs_table *table);
struct cs_usage *plane_map_usage(int fd, bool writable);
void plane_unmap_usage(struct cs_usage *usage);

/* "xdp", or "xdp-NAME" for a network namespace. */
void plane_netns_pin(const char *netns, char pin[NETNS_NAME + 4]);

/* Fills plane->netns with the names that there are now; with CAP_SYS_ADMIN only. */
void plane_find_netns(struct plane *plane);

/* Removes a pin; 0 also if it is not there. */
int plane_unpin(const struct plane *plane, const char *name);

/* The cookie of the network namespace that this process is in; 0: not to be had, see errno. */
__u64 plane_netns_cookie(void);

#endif

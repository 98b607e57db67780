/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One look at the pinned maps, for printing.  Maps are input: ids, positions, names and lines
 * in them are checked here, once.
 */
#ifndef CS_VIEW_H
#define CS_VIEW_H

#include <jansson.h>
#include <net/if.h>

#include "common/address.h"
#include "common/error.h"
#include "core/abi.h"
#include "dataplane/plane.h"

struct view_listener {
	struct cs_addr addr;
	char text[ADDRESS_TEXT];
	__u16 id;      /* of all services: slot of cs_listeners */
	__u8 position; /* in its service */
	bool dual;     /* takes IPv4 too */
};

struct view_service {
	__u32 id;
	char name[CS_NAME_SIZE];
	struct cs_service settings;
	unsigned int listeners;
	struct view_listener listener[CS_MAX_SERVICE_LISTENERS]; /* by position */
};

struct view {
	struct plane plane;
	__u64 lease_ns; /* that is left of it; 0: it has run out */
	unsigned int services;
	struct view_service service[CS_MAX_SERVICES];
	struct cs_worker worker[CS_MAX_WORKERS];
	int explain[CS_MAX_NETNS]; /* of other namespaces, as they are asked for; 0: not yet */
};

/* Returns what plane_open() does.  Undo with view_close(), in every case. */
int view_open(struct view **view, const char *dir, struct error *error);
void view_close(struct view **view);
#define _cleanup_view_ __attribute__((cleanup(view_close)))

/* NULL: there is no such service. */
const struct view_service *view_service_by_id(const struct view *view, __u32 id);
const struct view_service *view_service_by_name(const struct view *view, const char *name);

/* Name of a worker's service, or "?". */
const char *view_service_name(const struct view *view, const struct cs_worker *worker);

/* "active", "draining", "reaping", "?" */
const char *view_state(__u8 state);

/* Active or draining: a worker that packets are sent to. */
bool view_is_live(const struct cs_worker *worker);

/* CPU that its packets are moved to, or -1. */
int view_cpu(const struct view *view, int id);

/* The device that it is behind: returns whether it is behind one, and what cs_targets says of it.
 */
bool view_device(const struct view *view, int id, struct cs_target *target);

/* Is that device in its slot of cs_devs? */
bool view_device_is_there(const struct view *view, const struct cs_target *target);

/* Its name; "?": it is gone, or not to be had; NULL: the worker is behind none. */
const char *view_device_name(const struct view *view, int id, char name[IFNAMSIZ]);

/* Has it AF_XDP sockets?  Then @target is what cs_targets says of them. */
bool view_xsks(const struct view *view, int id, struct cs_target *target);

/* Their interfaces and queues, "eth0:0-3,eth1:0"; NULL: it has none. */
#define XSKS_TEXT (CS_MAX_WORKER_NICS * (IFNAMSIZ + sizeof(":255-255,")))
const char *view_xsks_text(const struct view *view, int id, char text[XSKS_TEXT]);
json_t *view_xsks_json(const struct view *view, int id);

/* Has the service a policy that drops? */
bool view_drops(const struct view_service *service);

/* Network namespace of a service, an index into cs_abi.netns_cookie. */
__u32 view_netns(const struct view_service *service);

/*
 * Can it be looked into?  Index 0 if this process is in it, another if it has a name: then its name
 * is in plane.netns.
 */
bool view_is_open(const struct view *view, __u32 netns);

/*
 * The namespace of a name: its index.  "" is that of this process.  Returns -ENOENT (there is none,
 * or no service is in it) or another errno, with the line.
 */
int view_find_netns(const struct view *view, const char *name, struct error *error);

/* cs_explain for a namespace.  Returns a descriptor, the view's, or a negative errno, with the
 * line. */
int view_explain(struct view *view, __u32 netns, struct error *error);

/* Writes "worker 2 (h3, pid 811), ..." of those that are live.  Returns their number. */
unsigned int view_name_workers(const struct view *view, char *text, size_t size);

/* A service's usage lines; NULL: not to be had.  Undo with plane_unmap_usage(). */
struct cs_usage *view_usage(const struct view *view, const struct view_service *service);

/* Copies a line; all zero if @lines is NULL or has no such line. */
struct cs_usage view_usage_line(const struct cs_usage *lines, __u32 line);

/* Packets of others: those by the table, and those by server ID. */
__u64 view_strays(const struct cs_usage *usage);

/* Live routes.  Workers write the lines: a wrong one is no reason to print 2^64. */
__u64 view_routes(const struct cs_usage *usage);

#endif

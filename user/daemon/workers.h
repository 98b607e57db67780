/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Workers: admitting them, draining them, reaping them.
 *
 *   admit ---> WAITING ---> ACTIVE ---> DRAINING
 *                   \         |           /
 *              hang-up, death of the process, or expelled
 *                        |
 *                      DEAD: out of the ring, sockets out of cs_sockets, routes swept
 *                        |   process gone, and swept once more since
 *                       FREE: the id goes to the end of the queue
 *
 * A worker's mapping of the table cannot be revoked, and a hang-up is not death: until its
 * process is gone it could still write routes with its id, so nobody else gets the id before.
 * (A worker without a mapping, shared_table = no, has nothing to write with: its id is free
 * when it is buried and swept.)
 */
#ifndef CS_WORKERS_H
#define CS_WORKERS_H

#include <sys/socket.h>
#include <sys/types.h>

#include "common/error.h"
#include "common/protocol.h"
#include "common/routes.h"
#include "core/ring.h"
#include "daemon/loop.h"
#include "dataplane/plane.h"
#include "dataplane/watch.h"
#include "dataplane/way.h"

struct worker {
	struct source process; /* pidfd */
	struct workers *all;
	struct cs_worker value; /* as in cs_workers */
	__u32 id;
	__u32 cpu_asked; /* that it runs on, and 1; 0: it did not say */
	__u32 cpu;	 /* that its packets are moved to, and 1; 0: none */
	__u32 device;	 /* that it is behind, its slot in cs_devs and 1; 0: none */
	struct cs_nic nic[CS_MAX_WORKER_NICS]; /* where it has AF_XDP sockets, as in cs_targets */
	struct routes routes;		       /* for a service whose table is not shared */
	struct worker **holder; /* set to NULL when the worker is freed; NULL: nobody holds it */
	bool gone;		/* the process */
	bool dead;		/* buried */
	bool sweeping;
	__u32 sweep_next;    /* bucket */
	__u32 drain_seconds; /* that it was given when it began to drain */
	__u64 drain_end;   /* CLOCK_MONOTONIC in ms: then a draining worker is expelled; 0: never */
	__u64 told_routes; /* of its generation, as the worker was told last */
	__u64 swept;	   /* routes removed */
	bool logged;
};

/* One that workers are behind: see devices.h. */
struct device {
	__u32 users; /* workers behind it; 0: the slot is free */
	__u16 netns; /* that it is in, an index into cs_abi.netns_cookie */
	bool there;  /* it is in cs_devs */
	bool lost;   /* it went, or went down, and that was said */
	struct way way;
};

/* What an ID says of who made it: see server_ids.h. */
struct server_id {
	struct cs_server_key key;
	struct cs_server value; /* as in cs_servers */
	__u64 returned;		/* when, counted over all; 0: it has been nobody's yet */
};

/* Of one configuration of a service, or of its own format. */
struct server_ids {
	struct server_id *id;
	__u32 room, count;
	__u32 first; /* number that was tried first, of those that have been nobody's, */
	__u64 tried; /* and how many were tried */
	__u8 len, nonce_len;
	__u8 host_len, host[CS_LB_MAX_SERVER_ID];
	bool open; /* there is such a configuration */
};

/* What the daemon keeps of a service: mappings for as long as it runs. */
struct service {
	struct cs_service value;
	__u32 drain_seconds; /* longest time that a worker may drain; 0: for ever */
	enum config_cpu cpu;
	bool behind_device;  /* workers in other namespaces may register */
	enum config_key key; /* whose octets its own format has */
	bool little_endian;  /* and how a number is written there */
	struct server_ids ids[CS_CONFIGS];
	struct cs_table table;
	struct cs_usage *usage;
	bool usage_taken[CS_MAX_SERVICE_WORKERS];
	int table_fd, usage_fd;
	struct cs_ring ring; /* as in cs_ring */
	bool ring_owed;	     /* it could not be written */
	__u64 ring_from;     /* CLOCK_MONOTONIC in ms: until then packets find it empty; 0: no */
	struct cs_ring_scores scores;
};

struct listener {
	struct cs_addr addr;
	struct cs_listener value;
	bool dual; /* its sockets take IPv4 too: they must not be IPV6_V6ONLY */
	bool used;
	int stub; /* loaded when it is first attached */
};

struct workers {
	struct plane *plane;
	struct loop *loop;
	struct service service[CS_MAX_SERVICES];
	struct listener listener[CS_MAX_LISTENERS];
	struct worker *worker[CS_MAX_WORKERS]; /* by id */
	__u16 free_id[CS_MAX_WORKERS];	       /* queue, first in first out */
	__u32 free_first, free_count;
	bool slot_taken[CS_MAX_SOCKETS];
	__u16 cpu_users[CS_MAX_CPUS]; /* workers whose packets are moved there */
	bool cpu_online[CS_MAX_CPUS];
	bool cpu_owed; /* a queue could not be made */
	__u32 cpu_queue;
	struct device device[CS_MAX_DEVICES]; /* by their slots in cs_devs */
	bool xsk_taken[CS_MAX_XSKS];	      /* slots of cs_xsks */
	__u32 xsk_next;			      /* slot that is looked at first */
	__u32 sweeping;			      /* workers whose table is being swept */
	__u64 returned_ids;		      /* server IDs that came back, since it began */
	/* Hears that a worker's state or numbers changed. */
	void (*tell)(struct worker *worker);
	struct source tick; /* once a second */
	struct watch watch; /* the recorder, for strays */
};

/* Who asks, and with what. */
struct admission {
	struct ucred peer;
	int pidfd;   /* of the peer; taken over on success */
	__u64 start; /* of its process, in clock ticks since boot */
	char service[CS_NAME_SIZE];
	__u32 token;	    /* of its generation; 0: none */
	__u8 state;	    /* CS_WORKER_* that an earlier daemon said */
	bool serves;	    /* it was there before it asked */
	__u32 cpu;	    /* that it runs on, and 1; 0: it did not say */
	const int *sockets; /* the caller closes them */
	__u32 count;
	__u8 key_len; /* octets that the worker's IDs have, in a service's own format; 0: it said
			 none */
	__u8 key[16];
};

/* Opens tables and listeners, adopts workers that live, reaps those that died meanwhile. */
int workers_init(struct workers *workers, struct plane *plane, struct loop *loop,
		 const struct config *config, struct error *error);

/*
 * workers_reload - see what services and listeners there are now
 *
 * After plane_reload(), which refuses what would cost a worker its routes.  Returns 0, or why a
 * service or the listeners could not be read; the others are known then.
 */
int workers_reload(struct workers *workers, const struct config *config, struct error *error);

/*
 * workers_admit - register a worker
 * @notes:	receives CIDSTEER_NOTE_*
 * @returning:	receives whether it is a worker that was there, see below
 *
 * A worker that an earlier daemon admitted, with the same sockets and of the same process, is
 * that worker again: it keeps id and routes.
 *
 * On failure nothing has changed.  Returns the worker, or NULL with *@err a negative errno.
 */
struct worker *workers_admit(struct workers *workers, const struct admission *admission,
			     __u32 *notes, bool *returning, int *err, struct error *error);

/* Takes no new connections from now on.  Returns 0 or a negative errno. */
int workers_drain(struct worker *worker);

/* Its connection ended, or its process. */
void workers_bury(struct worker *worker);

/*
 * workers_expel - declare a worker dead that may still live
 *
 * Its routes go; its id is nobody else's before its process is gone.  Returns 0, or -ENOENT: there
 * is no such worker.
 */
int workers_expel(struct workers *workers, __u32 id, struct error *error);

/* The worker with this id, not a dead one; or NULL. */
struct worker *workers_find(struct workers *workers, __u32 id);

/* Sweeps a piece of a dead worker's table; returns whether more is left. */
bool workers_reap_some(void *workers);

/* The service of this name, or 0. */
__u32 workers_service(const struct workers *workers, const char *name);

const struct service *worker_service(const struct worker *worker);

/* A worker got a packet with a DCID that another one has issued: the recorder learns of it. */
void worker_record_stray(const struct worker *worker, const __u8 *cid, size_t len);

#endif

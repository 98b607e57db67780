/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What programs, daemon, library and command agree on: map keys, map values, limits, version.
 *
 * <linux/types.h> only; fixed widths, named zero padding, no pointer, enum, bool or long.
 * Any change to a layout here raises CS_LAYOUT, and pins of another layout are refused.
 */
#ifndef CS_ABI_H
#define CS_ABI_H

#include <linux/types.h>

#define CS_MAGIC 0x43494453u /* "CIDS" */
#define CS_LAYOUT 9

/* Limits, and what happens at each. */
#define CS_MAX_SERVICES 257   /* ids 1..256; 0 is "no service": the configuration is refused */
#define CS_MAX_LISTENERS 1024 /* of all services: the configuration is refused */
#define CS_MAX_SERVICE_LISTENERS 16 /* of one service: the configuration is refused */
#define CS_MAX_WORKERS 32768	    /* ids 1..32767, 15 bits: registering is refused */
#define CS_MAX_SERVICE_WORKERS 1024 /* usage lines of one service, 0 is the departed: refused */
#define CS_MAX_SOCKETS 65536	    /* slots of cs_sockets: registering is refused */
#define CS_MAX_ADDRS 4096	    /* keys of cs_addrs, two for a dual-stack wildcard */
#define CS_MAX_NETNS 16		    /* network namespaces: the configuration is refused */
#define CS_LOCAL_LINES 1024	    /* of cs_locals for each namespace, a power of two */
#define CS_MAX_PREFIXES 4096	    /* local prefixes: those too many are not local */
#define CS_MAX_CPUS 512		    /* of cs_cpus: packets are not moved to a CPU above */
#define CS_MAX_DEVICES 1024	    /* of cs_devs: registering behind one more is refused */
#define CS_MAX_XSKS 16384	    /* slots of cs_xsks: sockets that find none are refused */
#define CS_MAX_WORKER_XSKS 128	    /* AF_XDP sockets of one worker: more are refused */
#define CS_MAX_WORKER_NICS 4	    /* interfaces on which it has them: more are refused */
#define CS_MAX_QUEUES 256	    /* of an interface: sockets of a queue above are refused */
#define CS_MAX_SERVER_IDS 65536	    /* keys of cs_servers: more are refused */
#define CS_LB_CONFIGS                                                                              \
	7 /* QUIC-LB of a service: ids 0..6, 7 is of IDs that none made (section 3.1) */
#define CS_RING_SIZE 4096	 /* buckets of a service's ring, a power of two */
#define CS_MAX_CID 20		 /* bytes (RFC 9000, section 17.2) */
#define CS_NAME_SIZE 16		 /* of a service, with the final NUL: refused */
#define CS_MIN_BUCKETS 16	 /* of a table: smaller max_cids get this many */
#define CS_MAX_BUCKETS (1 << 24) /* of a table: the configuration is refused */

/* The hooks, as the first index of cs_counters. */
#define CS_HOOK_XDP 0
#define CS_HOOK_REUSEPORT 1
#define CS_HOOKS 2

/* One value, key 0, of cs_abi: pinned last, read first. */
struct cs_abi {
	__u32 magic;			  /* CS_MAGIC */
	__u32 layout;			  /* CS_LAYOUT of who made the pins */
	__u64 netns_cookie[CS_MAX_NETNS]; /* SO_NETNS_COOKIE of each; 0: not in use */
};
_Static_assert(sizeof(struct cs_abi) == 136, "map value layout");

/*
 * Key of cs_addrs: an address that a service listens on.  IPv4 is written as an IPv4-mapped
 * IPv6 address (RFC 4291, section 2.5.5.2); a wildcard has :: or ::ffff:0.0.0.0.
 */
struct cs_addr {
	__u8 ip[16];
	__be16 port;
	__u16 netns; /* index into cs_abi.netns_cookie */
};
_Static_assert(sizeof(struct cs_addr) == 20, "map key layout");

/* Value of cs_addrs. */
struct cs_listener {
	__u16 service;
	__u16 listener; /* of all services: slot of cs_listeners */
	__u8 position;	/* in its service: added to a worker's first slot in cs_sockets */
	__u8 flags;	/* CS_LISTENER_* */
	__u16 pad;	/* must be zero */
};
_Static_assert(sizeof(struct cs_listener) == 8, "map value layout");

#define CS_LISTENER_ALIAS 1 /* the IPv4 half of a dual-stack wildcard */

/*
 * Values of cs_ports and cs_lines: cs_addrs by port, so that a packet of another port costs two
 * array look-ups, and one of a wildcard no hash look-up.
 */
struct cs_ports {
	/*
	 * Port in network order, as it is in the packet -> line of cs_lines; 0: nobody listens.
	 * In host order clang swaps and scales in one step, after which the verifiers of 6.1 and
	 * 6.12 no longer see that the offset is even, and refuse the program.
	 */
	__u16 line[65536];
	__u32 prefixes; /* of this namespace that are in cs_prefixes */
};

struct cs_line {
	struct cs_listener any[2]; /* wildcard for IPv6, IPv4; service 0: none */
	__u32 exact;		   /* cs_addrs has other addresses with this port */
	__u32 pad;		   /* must be zero */
};
_Static_assert(sizeof(struct cs_line) == 24, "map value layout");

/*
 * Local addresses, which wildcards are matched against: a line of cs_locals has those whose
 * cs_local_line() it is, from the front; 0: free, since :: is nobody's address.  Those that find
 * no room there, and prefixes that are shorter (AnyIP: `ip route add local 2001:db8::/64 dev lo`),
 * are in cs_prefixes.  So an address of the host costs one array look-up.
 */
struct cs_local {
	__u64 addr[4][2]; /* each as the 16 bytes of struct cs_addr */
};
_Static_assert(sizeof(struct cs_local) == 64, "map value layout");

/* Key of cs_prefixes; the value says nothing. */
struct cs_prefix {
	__u32 len;   /* bits that count of what follows: 32 and those of the address */
	__u32 netns; /* index into cs_abi.netns_cookie */
	__u8 ip[16];
};
_Static_assert(sizeof(struct cs_prefix) == 24, "map key layout");

static inline __attribute__((always_inline, unused)) __u32 cs_local_line(__u32 netns,
									 const __u64 addr[2])
{
	__u64 mixed = (addr[0] ^ addr[1]) * 0x9e3779b97f4a7c15ULL;

	return netns * CS_LOCAL_LINES + (mixed >> 54);
}

/* What happens to a packet without a route, one that is malformed, one that is not QUIC. */
#define CS_POLICY_HASH 0 /* to the ring's worker for its 4-tuple */
#define CS_POLICY_PASS 1 /* left to the kernel's own hash */
#define CS_POLICY_DROP 2 /* dropped at XDP; elsewhere, and past the lease, as CS_POLICY_HASH */
#define CS_POLICY_QUIC 3 /* of not_quic only: nobody looks, all is QUIC */

/* Value of cs_lease: until when packets may be dropped or sent to a device, on CLOCK_MONOTONIC. */
struct cs_lease {
	__u64 until_ns;
};

/* Value of cs_services. */
struct cs_service {
	__u64 key[2];		 /* SipHash key of the service's table and ring: a secret */
	char name[CS_NAME_SIZE]; /* NUL-terminated */
	__u32 max_cids;		 /* routes that the table was sized for */
	__u32 uid;		 /* user of its workers */
	__u8 used;		 /* 0: no such service */
	__u8 cid_len;		 /* bytes of a short header's DCID, 0..20 */
	__u8 shared_table;	 /* workers map the table and write it; else the daemon writes */
	__u8 listeners;
	__u32 generation;   /* of its workers, the last that was counted */
	__u8 unknown_cid;   /* CS_POLICY_* */
	__u8 malformed;	    /* CS_POLICY_* */
	__u8 not_quic;	    /* CS_POLICY_* */
	__u8 small_initial; /* CS_POLICY_DROP, or CS_POLICY_HASH: only counted */
	__u8 no_xsk;	    /* CS_POLICY_PASS: to the stack; or CS_POLICY_DROP */
	/* Bit c: there is QUIC-LB configuration c.  The DCIDs of its short headers have lb_len[c]
	 * bytes; 0: as many as their first octet says.
	 */
	__u8 lb_configs;
	__u8 lb_len[CS_LB_CONFIGS];
	/* A format of somebody else's: @key_len octets of the CID, from @key_at on, say who made
	 * it; 0: there is none.  Never beside @lb_configs.
	 */
	__u8 key_at;
	__u8 key_len;
	__u8 lb_active; /* 1 + the configuration that workers make IDs with; 0: none */
};
_Static_assert(sizeof(struct cs_service) == 64, "map value layout");

/*
 * Key of cs_servers: what a CID says of who made it, decoded by a QUIC-LB configuration of a
 * service or cut out by its extractor.
 */
struct cs_server_key {
	__u64 id[2]; /* octets, zero behind them */
	__u16 service;
	__u8 config; /* 0..6, or CS_BY_EXTRACTOR */
	__u8 host;   /* 1: not a server's, but the first octets of all that a host has */
	__u8 pad[4]; /* must be zero */
};
_Static_assert(sizeof(struct cs_server_key) == 24, "map key layout");

#define CS_BY_EXTRACTOR CS_LB_CONFIGS
#define CS_CONFIGS (CS_BY_EXTRACTOR + 1) /* of a service */

/* Value of cs_servers. */
struct cs_server {
	__u16 worker; /* 0: nobody now */
	__u8 flags;   /* CS_SERVER_* */
	__u8 pad[5];  /* must be zero */
	/* Nonces that no worker was given yet: @left of them, from @next on, modulo as many as the
	 * configuration has.  So none is used twice with this ID, whoever has it.
	 */
	__u64 next;
	__u64 left;
};
_Static_assert(sizeof(struct cs_server) == 24, "map value layout");

#define CS_SERVER_ELSEWHERE 1 /* of flags: another host's */

/*
 * Value of cs_hits, by service and configuration: packets that went where their server ID says.
 * Of clients that know the ID from a server: short headers, Handshake packets; who opens a
 * connection may have hit upon it.
 */
struct cs_hits {
	__u64 known[2]; /* by CS_HOOK_* */
	__u64 opening[2];
};
_Static_assert(sizeof(struct cs_hits) == 32, "map value layout");

/* One route of the CID table, as bpftool prints it; core/cid_table.h is its law. */
struct cs_route {
	__u64 worker : 15;
	__u64 pending : 1;
	__u64 tag : 48;
};

/* Value of a service's inner map in cs_cids: one cache line. */
struct cs_bucket {
	struct cs_route route[8];
};
_Static_assert(sizeof(struct cs_bucket) == 64, "map value layout");

#define CS_WORKER_NONE 0     /* this id is not in use */
#define CS_WORKER_WAITING 1  /* of a generation that is not ready: only what it has issued */
#define CS_WORKER_ACTIVE 2   /* takes new connections */
#define CS_WORKER_DRAINING 3 /* keeps those that it has */
#define CS_WORKER_DEAD 4     /* is being reaped */

#define CS_WORKER_GRO 1	   /* of flags: a socket had UDP_GRO when it registered */
#define CS_WORKER_SERVED 2 /* of flags: it served before it registered */

/* Where XDP sends a worker's packets; cs_reuseport then picks its socket, whichever it was. */
#define CS_TARGET_SOCKET 0 /* to the stack, where they are */
#define CS_TARGET_CPU 1	   /* to the stack on the worker's CPU */
#define CS_TARGET_DEVICE 2 /* through a veth, to the stack of the worker's namespace */
#define CS_TARGET_XSK 3	   /* to its AF_XDP socket of the queue that the packet came in on */

/* Value of cs_workers: who owns a connection, and where its packets go. */
struct cs_worker {
	__u32 generation; /* start of the server it belongs to, counted in its service; 0: none */
	__u8 state;	  /* CS_WORKER_* */
	__u8 target;	  /* CS_TARGET_* */
	__u16 service;
	__u32 index; /* its first slot in cs_sockets */
	__u16 usage; /* its line in the service's usage map */
	__u8 slots;  /* that it has in cs_sockets, from @index on */
	__u8 flags;  /* CS_WORKER_GRO, CS_WORKER_SERVED */
	__u32 pid;   /* for people and for a restarted daemon; 0: not known */
	__u32 token; /* by which the server names the generation */
	__u64 start; /* start time of @pid in clock ticks since boot (proc(5), stat field 22) */
};
_Static_assert(sizeof(struct cs_worker) == 32, "map value layout");

/*
 * AF_XDP sockets of a worker on one interface: those of the queues @queue to @queue + @queues - 1
 * are in as many slots of cs_xsks, from @first on.  A queue without a socket has an empty slot.
 * 8 bytes, aligned: read and written as one word.
 */
struct cs_nic {
	__u32 ifindex; /* 0: none */
	__u16 first;
	__u8 queue;
	__u8 queues; /* and 1: 0 is one queue, 255 are 256 */
} __attribute__((aligned(8)));
_Static_assert(sizeof(struct cs_nic) == 8, "map value layout");

/* Value of cs_targets: what CS_TARGET_* needs to know beside it. */
struct cs_target {
	__u32 index;			       /* the CPU, or the slot of cs_devs */
	__u32 ifindex;			       /* of the device in that slot; 0: it is none */
	__u8 mac[6];			       /* at the other end of that device */
	__u16 pad;			       /* must be zero */
	struct cs_nic nic[CS_MAX_WORKER_NICS]; /* those in use come first */
};
_Static_assert(sizeof(struct cs_target) == 48, "map value layout");

/* Value of cs_cpu_counts, by the CPU that is sent to; sent - arrived were dropped, or are on
 * their way.
 */
struct cs_cpu_count {
	__u64 sent;    /* counted where XDP runs */
	__u64 arrived; /* counted where they are sent to */
};
_Static_assert(sizeof(struct cs_cpu_count) == 16, "map value layout");

/* Value of cs_dev_counts, by the slot of cs_devs. */
struct cs_dev_count {
	__u64 sent;
};
_Static_assert(sizeof(struct cs_dev_count) == 8, "map value layout");

/* May packets be sent to a worker in this state? */
static inline __attribute__((always_inline, unused)) int cs_worker_serves(__u8 state)
{
	return state == CS_WORKER_WAITING || state == CS_WORKER_ACTIVE ||
	       state == CS_WORKER_DRAINING;
}

/* Value of cs_ring. */
struct cs_ring {
	__u16 worker[CS_RING_SIZE]; /* 0: no active worker */
};

/*
 * Value of a service's inner map in cs_usage: what one worker did, a cache line of its own that
 * its owner writes; the daemon writes @buried and @decoded_strays.  Line 0 is the sum of the
 * workers that are gone, but for its @provisional: that is the service's number, which all workers
 * add to.
 */
struct cs_usage {
	__u64 issued; /* since it registered */
	__u64 retired;
	__u64 provisional; /* live routes of clients' first DCIDs */
	__u64 refused;	   /* issues without room, or over the provisional share */
	__u64 strays;
	__u64 path_changes;
	__u64 buried; /* the daemon has declared this worker dead: it may issue nothing more */
	__u64 decoded_strays; /* beside @strays: IDs with a server ID of another, as the daemon saw
			       */
};
_Static_assert(sizeof(struct cs_usage) == 64, "map value layout");

/* Index of each counter, and the value of cs_counters with a named member for each. */
#define CS_COUNTER(name, group, text) CS_C_##name,
enum {
#include "core/counters.def"
	CS_COUNTERS,
};
#undef CS_COUNTER

#define CS_COUNTER(name, group, text) __u64 name;
struct cs_counters {
#include "core/counters.def"
};
#undef CS_COUNTER
_Static_assert(sizeof(struct cs_counters) == CS_COUNTERS * 8, "map value layout");

/* Key of cs_counters. */
#define CS_COUNTER_KEY(hook, service) ((hook)*CS_MAX_SERVICES + (service))
#define CS_COUNTER_LINES (CS_HOOKS * CS_MAX_SERVICES)

/* What decide() says of one packet; cs_explain writes it in front of the packet. */
struct cs_verdict {
	__u32 reason;	/* CS_C_* of group verdict */
	__u16 service;	/* 0: none */
	__u16 listener; /* of all services */
	__u16 worker;	/* 0: none */
	__u8 position;	/* of the listener in its service */
	__u8 target;	/* of @worker, CS_TARGET_* */
	__u32 version;	/* of a long header, host order; 0 else */
	__u8 form;	/* CS_FORM_* (core/quic.h) */
	__u8 type;	/* CS_TYPE_* (core/quic.h) */
	__u8 dcid_len;	/* bytes */
	__u8 state;	/* of the worker, CS_WORKER_* */
	__u8 dcid[CS_MAX_CID];
	__u32 routed; /* worker that the table or the server ID names, dead or alive; 0: none */
	__u32 index;  /* of @worker: its first slot in cs_sockets */
	__u32 drop;   /* CS_C_dropped_*: to be dropped, and @reason if that cannot be; else 0 */
	__u8 small;   /* an Initial in less than 1200 bytes (RFC 9000, section 14.1) */
	__u8 config; /* 1 + that by which somebody's server ID was found in its DCID; 0: none was */
	__u16 pad;   /* must be zero */
};
_Static_assert(sizeof(struct cs_verdict) == 56, "verdict layout");

#endif

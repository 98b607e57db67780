/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The control protocol: AF_UNIX SOCK_SEQPACKET, one message a packet, fixed layouts.
 *
 *   worker                                   daemon
 *   REGISTER + its sockets          ->
 *                                   <-       REGISTERED (+ table, usage lines)  or  REFUSED
 *   READY, DRAIN                    ->
 *                                   <-       DONE
 *   XSKS + its AF_XDP sockets       ->
 *                                   <-       DONE  or  REFUSED, which does not close
 *   WRITE, shared_table = no only   ->
 *                                   <-       WRITTEN, in the order of the WRITEs
 *                                   <-       STATE, unasked: what the worker is now
 *                                   <-       FORMATS, unasked: how IDs are made
 *   LEASE                           ->
 *                                   <-       LEASED, also unasked: a server ID, and nonces
 *   STRAY, for the recorder         ->
 *   operator (root)
 *   COMMAND, CONFIG                 ->
 *                                   <-       DONE  or  REFUSED
 *
 * Every length is checked against the type's.  A message that is not understood is answered
 * with REFUSED and the connection is closed.  Descriptors are closed before the answer is sent:
 * a copy of a socket would keep it swallowing packets after its worker's death.
 */
#ifndef CS_PROTOCOL_H
#define CS_PROTOCOL_H

#include <linux/types.h>
#include "core/abi.h"

#define CS_PROTOCOL_MAGIC 0x43534354u /* "CSCT" */
#define CS_PROTOCOL_VERSION 7
#define CS_CONTROL_PATH "/run/cidsteer/control.sock"

enum {
	CS_MSG_REGISTER = 1,
	CS_MSG_REGISTERED,
	CS_MSG_REFUSED,
	CS_MSG_DRAIN,
	CS_MSG_DONE,
	CS_MSG_WRITE,
	CS_MSG_WRITTEN,
	CS_MSG_READY,
	CS_MSG_STATE,
	CS_MSG_COMMAND,
	CS_MSG_STRAY,
	CS_MSG_XSKS,
	CS_MSG_FORMATS,
	CS_MSG_LEASE,
	CS_MSG_LEASED,
	CS_MSG_CONFIG,
};

struct cs_msg {
	__u32 magic;   /* CS_PROTOCOL_MAGIC */
	__u16 version; /* CS_PROTOCOL_VERSION */
	__u16 type;    /* CS_MSG_* */
	__u32 bytes;   /* of the whole message */
	__u32 serial;  /* of the request; an answer repeats it */
};
_Static_assert(sizeof(struct cs_msg) == 16, "message layout");

enum {
	/* It registers again, or late: it may have connections that the daemon does not know. */
	CS_REGISTER_SERVES = 1 << 0,
};

struct cs_msg_register {
	struct cs_msg head;
	char service[CS_NAME_SIZE]; /* NUL-terminated */
	__u32 token;		    /* by which the server names its generation; 0: none */
	__u32 sockets;		    /* descriptors that come with it, 1..CS_MAX_SERVICE_LISTENERS */
	__u32 state;   /* CS_WORKER_* that an earlier daemon said; CS_WORKER_NONE: there was none */
	__u32 flags;   /* CS_REGISTER_* */
	__u32 cpu;     /* that it runs on, and 1; 0: none in particular */
	__u32 key_len; /* of @key: by which its IDs are known, in a service that has such a format
			*/
	__u8 key[16];
};
_Static_assert(sizeof(struct cs_msg_register) == 72, "message layout");

struct cs_msg_registered {
	struct cs_msg head;
	__u64 key[2];	   /* of the table; zero with shared_table = no */
	__u32 worker;	   /* id */
	__u32 usage;	   /* index of its usage line */
	__u32 provisional; /* provisional routes that the service may have at once */
	__u32 notes;	   /* CIDSTEER_NOTE_* */
	__u8 cid_len;	   /* bytes */
	__u8 shared;	   /* with it come two descriptors: table, usage lines */
	__u8 state;	   /* CS_WORKER_* */
	__u8 returning;	   /* it is the worker that it was for an earlier daemon, routes and all */
	__u8 follow; /* messages that come at once: FORMATS, LEASED; 0: there are no formats */
	__u8 pad[3]; /* must be zero */
};
_Static_assert(sizeof(struct cs_msg_registered) == 56, "message layout");

struct cs_msg_refused {
	struct cs_msg head;
	__s32 error;	/* negative errno */
	char line[492]; /* why, for people, NUL-terminated */
};
_Static_assert(sizeof(struct cs_msg_refused) == 512, "message layout");

struct cs_msg_done {
	struct cs_msg head;
	__s32 result; /* 0, or a negative errno */
	__u32 pad;    /* must be zero */
};
_Static_assert(sizeof(struct cs_msg_done) == 24, "message layout");

struct cs_msg_state {
	struct cs_msg head;
	__u64 routes;		 /* of the worker */
	__u64 generation_routes; /* of all workers of its generation */
	__u64 drain_ms;		 /* until it is expelled; 0: it is not */
	__u32 state;		 /* CS_WORKER_*; CS_WORKER_DEAD: expelled */
	__u32 pad;		 /* must be zero */
};
_Static_assert(sizeof(struct cs_msg_state) == 48, "message layout");

/* A stray that the worker has counted by itself; not answered.  A few in a second. */
struct cs_msg_stray {
	struct cs_msg head;
	__u8 len;    /* bytes of @cid */
	__u8 pad[3]; /* must be zero */
	__u8 cid[CS_MAX_CID];
};
_Static_assert(sizeof(struct cs_msg_stray) == 40, "message layout");

/* Of an AF_XDP socket: where it is bound. */
struct cs_xsk {
	__u32 ifindex;
	__u32 queue;
};
_Static_assert(sizeof(struct cs_xsk) == 8, "message layout");

/* All AF_XDP sockets of the worker; their descriptors come with it, in the same order. */
struct cs_msg_xsks {
	struct cs_msg head;
	__u32 count; /* of @xsk that follow; the message ends behind the last */
	__u32 pad;   /* must be zero */
	struct cs_xsk xsk[CS_MAX_WORKER_XSKS];
};
_Static_assert(sizeof(struct cs_msg_xsks) == 24 + 8 * CS_MAX_WORKER_XSKS, "message layout");

/* A QUIC-LB configuration, as those who make IDs need it. */
struct cs_format {
	__u8 used; /* 0: there is none with this id */
	__u8 server_id_len, nonce_len;
	__u8 cid_len; /* octets; 0: each tells its length */
	__u8 has_key;
	__u8 pad[3]; /* must be zero */
	__u8 key[16];
};
_Static_assert(sizeof(struct cs_format) == 24, "message layout");

/* All formats of the service, each time that one changes. */
struct cs_msg_formats {
	struct cs_msg head;
	__u8 active; /* 1 + the configuration to make IDs with; 0: none, they go to the table */
	__u8 key_at; /* of somebody else's format, as in struct cs_service */
	__u8 key_len;
	__u8 pad[5];	     /* must be zero */
	__u8 worker_key[16]; /* its octets for this worker */
	struct cs_format lb[CS_LB_CONFIGS];
};
_Static_assert(sizeof(struct cs_msg_formats) == 40 + 24 * CS_LB_CONFIGS, "message layout");

/* A worker wants nonces. */
struct cs_msg_lease {
	struct cs_msg head;
	__u8 config; /* id */
	__u8 claims; /* an earlier daemon has given it @server_id, and IDs with it are in use */
	__u8 pad[6]; /* must be zero */
	__u64 next;  /* with @claims: the first nonce that was not used */
	__u8 server_id[16];
};
_Static_assert(sizeof(struct cs_msg_lease) == 48, "message layout");

struct cs_msg_leased {
	struct cs_msg head;
	__s32 result; /* 0; -ENOSPC: no server ID is free; -ENOENT: no such configuration */
	__u8 config;  /* id */
	__u8 pad[3];  /* must be zero */
	__u8 server_id[16];
	__u64 first; /* nonce, in network order when it is written */
	__u64 count; /* from @first on; CS_NONCES_RANDOM: the worker draws them */
};
_Static_assert(sizeof(struct cs_msg_leased) == 56, "message layout");

#define CS_NONCES_RANDOM (~0ULL)
#define CS_RANDOM_NONCE 8 /* octets of a nonce from which on they are drawn */

enum {
	CS_CONFIG_ADD = 1,
	CS_CONFIG_ACTIVATE,
	CS_CONFIG_RETIRE,
};

#define CS_MAX_MSG_HOSTS 32

/* A QUIC-LB configuration comes, is what IDs are made with, or goes. */
struct cs_msg_config {
	struct cs_msg head;
	char service[CS_NAME_SIZE]; /* NUL-terminated */
	__u8 kind;		    /* CS_CONFIG_* */
	__u8 id;
	__u8 host_len;
	__u8 hosts;  /* of @other_host */
	__u8 pad[4]; /* must be zero */
	/* Of CS_CONFIG_ADD; else all of it is zero. */
	struct cs_format format;
	__u8 host[16]; /* that this host's server IDs begin with */
	__u8 other_host[CS_MAX_MSG_HOSTS][16];
};
_Static_assert(sizeof(struct cs_msg_config) == 80 + 16 * CS_MAX_MSG_HOSTS, "message layout");

enum {
	CS_COMMAND_DRAIN = 1, /* a worker */
	CS_COMMAND_EXPEL,     /* a worker */
	CS_COMMAND_RELOAD,    /* the configuration */
};

struct cs_msg_command {
	struct cs_msg head;
	__u32 kind;   /* CS_COMMAND_* */
	__u32 worker; /* id, or 0 */
};
_Static_assert(sizeof(struct cs_msg_command) == 24, "message layout");

enum {
	CS_WRITE_ISSUE = 1,
	CS_WRITE_ISSUE_PROVISIONAL,
	CS_WRITE_RETIRE,
	CS_WRITE_STRAY,
	CS_WRITE_PATH_CHANGE, /* len 0 */
};

struct cs_write {
	__u8 kind; /* CS_WRITE_* */
	__u8 len;  /* bytes of @cid */
	__u16 pad; /* must be zero */
	__u8 cid[CS_MAX_CID];
};
_Static_assert(sizeof(struct cs_write) == 24, "message layout");

#define CS_MAX_WRITES 64 /* in one message: more are refused */

struct cs_msg_write {
	struct cs_msg head;
	__u32 count; /* of @write that follow; the message ends behind the last */
	__u32 pad;   /* must be zero */
	struct cs_write write[CS_MAX_WRITES];
};
_Static_assert(sizeof(struct cs_msg_write) == 24 + 24 * CS_MAX_WRITES, "message layout");

struct cs_msg_written {
	struct cs_msg head;
	__u32 count;
	__u32 pad;
	__s32 result[CS_MAX_WRITES]; /* as the library's call would return */
};
_Static_assert(sizeof(struct cs_msg_written) == 24 + 4 * CS_MAX_WRITES, "message layout");

#endif

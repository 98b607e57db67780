/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the files of the library share.
 *
 *   cidsteer.c   the public calls
 *   session.c    registering, and doing so again with the next daemon
 *   xsks.c       AF_XDP sockets
 *   generate.c   IDs, their formats and nonces
 *   batch.c      writes by message, where the table is not shared
 *   link.c       the connection
 */
#ifndef CS_LIB_INTERNAL_H
#define CS_LIB_INTERNAL_H

#include <stdbool.h>
#include <sys/un.h>

#include "cidsteer/cidsteer.h"
#include "common/protocol.h"
#include "common/routes.h"

#define EXPORT __attribute__((visibility("default")))

/* WRITEs that may be on their way without an answer: the daemon's socket buffer holds them. */
#define MAX_UNANSWERED 16
/* Writes that may wait for the next daemon. */
#define MAX_QUEUED (1 << 20)
/* Strays that the daemon is told of in a second: its recorder keeps fewer of a kind for long. */
#define MAX_STRAYS 10
/* Nonces below which more are asked for: half of what the daemon gives at once. */
#define CS_NONCES_LOW (1 << 15)

struct queue {
	struct cs_write *write;
	uint32_t room;	/* entries of @write */
	uint32_t first; /* the oldest that is not answered */
	uint32_t count; /* from @first on */
	uint32_t sent;	/* of those, in messages that are on their way */

	uint32_t flights; /* such messages, oldest first */
	struct {
		uint32_t serial, count;
	} flight[MAX_UNANSWERED];
	int32_t last_result; /* of the last write of the last answer */
};

struct xsks {
	uint32_t count;
	struct cidsteer_xsk xsk[CIDSTEER_XSKS_MAX]; /* the caller's */
	uint64_t cookie[CIDSTEER_XSKS_MAX];	    /* by which they are known to be the same */
};

struct cidsteer {
	volatile uint8_t *owner; /* a page that the kernel wipes in a forked child */
	int poll;		 /* epoll instance: one descriptor for the handle's whole life */
	int timer;		 /* when to connect again */
	int control;		 /* connection to the daemon; -1: it went away */
	bool registering;	 /* REGISTER was sent, and is not answered */
	bool registered;	 /* once: there are an id, a table */
	bool missed;		 /* an ID could not be issued, because no daemon was there */
	bool claim;		 /* it is a new worker, and the formats are to come */
	bool reissue;		 /* to be said by the next cidsteer_dispatch() */
	bool ready;		 /* READY is to be said, until a daemon has answered it */
	bool draining;		 /* the server wants it, whatever the daemon has said since */
	uint32_t ready_serial;	 /* of the READY that this daemon was sent; 0: none */
	uint32_t retry_ms;
	uint32_t serial; /* of the last request */
	uint32_t timeout_ms;
	uint32_t notes;
	bool shared; /* routes and usage are mapped; else all goes by message */
	char error[512];

	/* What is registered. */
	char service[CS_NAME_SIZE];
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	uint32_t token;
	uint32_t cpu;	     /* of options */
	uint32_t cid_length; /* that the server wants; 0: what the service has */
	uint32_t sockets;
	int socket[CS_MAX_SERVICE_LISTENERS];	   /* the caller's */
	uint64_t cookie[CS_MAX_SERVICE_LISTENERS]; /* by which they are known to be the same */

	struct xsks xsks;     /* that were set last */
	bool xsks_owed;	      /* no daemon has answered for them */
	bool xsks_waits;      /* cidsteer_set_xsks() waits for that */
	bool no_xsks;	      /* to be said by the next cidsteer_dispatch() */
	uint32_t xsks_serial; /* of the XSKS that this daemon was sent; 0: none, or answered */
	int32_t xsks_result;

	struct generator *generator;
	uint32_t follow; /* messages behind REGISTERED that are to come */
	uint32_t key_len;
	uint8_t key[16]; /* of options */

	struct routes routes;
	struct cs_usage *usage_lines; /* mapping of the service's lines */
	uint32_t table_id;	      /* map whose mapping that is */
	struct cs_msg_state state;    /* the last that was said */

	struct queue queue;
	uint64_t stray_second; /* of CLOCK_MONOTONIC, in which the last strays were told, */
	uint32_t strays;       /* so many */
	uint32_t done;	       /* serial of the last DONE */
	int32_t done_result;
};

static inline bool is_child(const struct cidsteer *handle)
{
	return !*handle->owner;
}

/* Is there a daemon that knows this worker? */
static inline bool is_connected(const struct cidsteer *handle)
{
	return handle->control >= 0 && !handle->registering;
}

/* May a call return this that a daemon says: up to @most, or a negative errno? */
static inline bool is_result(int32_t result, int32_t most)
{
	return result <= most && result >= -4095;
}

/* ---- link.c: each returns 0 or a negative errno -----------------------------------------------
 */
int link_connect(struct cidsteer *handle, int timeout_ms);
/* Closes; what is queued is kept for the next daemon. */
void link_close(struct cidsteer *handle);
int link_send(struct cidsteer *handle, struct cs_msg *message, uint16_t type, size_t bytes,
	      const int *fds, size_t count, int timeout_ms);
/* Waits for one message; descriptors that come with it are the caller's. */
int link_receive(struct cidsteer *handle, void *message, size_t size, int *fds, size_t *count,
		 int timeout_ms);
/* An answer's head: the right protocol, a length that is the type's. */
bool link_is(const struct cs_msg *message, size_t received, uint16_t type, size_t bytes);

/* ---- session.c ------------------------------------------------------------------------------ */
/* Registers, waiting for the answer; @handle->error says why not. */
int session_open(struct cidsteer *handle);
/* Unmaps. */
void session_forget(struct cidsteer *handle);
/* The daemon is gone, or makes no sense: the next attempt is due soon. */
void session_lost(struct cidsteer *handle);
/* Connects again if that is due. */
void session_retry(struct cidsteer *handle);
/* Takes one message of any kind.  -EAGAIN, -ETIMEDOUT: none came; -ENOTCONN: the daemon is gone. */
int session_take(struct cidsteer *handle, int timeout_ms);
/* Sends READY and waits for it, unless @timeout_ms is 0. */
int session_ready(struct cidsteer *handle, int timeout_ms);
/* Tells the daemon of a stray if that costs no wait, and it was not told of many a moment ago. */
void session_stray(struct cidsteer *handle, const uint8_t *cid, size_t len);

/* ---- xsks.c --------------------------------------------------------------------------------- */
/* Passes the sockets to a daemon that does not know them yet; waits for nothing. */
void xsks_resend(struct cidsteer *handle);
/* An answer to that, or to cidsteer_set_xsks(): 0 or a negative errno. */
void xsks_answered(struct cidsteer *handle, int result);

/* ---- generate.c ----------------------------------------------------------------------------- */
int generator_init(struct cidsteer *handle);
void generator_free(struct cidsteer *handle);
/* Messages of the daemon.  Each returns 0, or -EPROTO: it makes no sense. */
int generator_formats(struct cidsteer *handle, const struct cs_msg_formats *message);
int generator_leased(struct cidsteer *handle, const struct cs_msg_leased *message);
/* There may be a configuration to make IDs with, without nonces yet. */
void generator_prepare(struct cidsteer *handle);
/* The daemon is gone: what it was asked for does not come. */
void generator_away(struct cidsteer *handle);
/* To a daemon for which this is a new worker: its server IDs are asked for again; until that is
 * answered, generator_claims().  Returns false: the daemon went away, the next one is to be asked.
 */
bool generator_claim(struct cidsteer *handle);
bool generator_claims(const struct cidsteer *handle);

/* Whose server ID, or key in the service's own format, an ID of @len octets, 1 to 20, carries. */
enum carried {
	CARRIES_NONE,
	CARRIES_OWN,
	CARRIES_OTHER
};
enum carried generator_carried(const struct cidsteer *handle, const uint8_t *cid, size_t len);
/* May the table have a route for an ID that carries none? */
bool generator_allows(const struct cidsteer *handle, const uint8_t *cid);
size_t generator_length(const struct cidsteer *handle);
/* As cidsteer_generate(). */
int generator_make(struct cidsteer *handle, uint8_t *cid, size_t len);

/* ---- batch.c: writes by message, in order -----------------------------------------------------
 */
int batch_add(struct cidsteer *handle, uint8_t kind, const uint8_t *cid, size_t len);
int batch_call(struct cidsteer *handle, uint8_t kind, const uint8_t *cid, size_t len);
int batch_flush(struct cidsteer *handle, int timeout_ms);
/* A WRITTEN came.  Returns 0, or -EPROTO: nothing like that was asked for. */
int batch_written(struct cidsteer *handle, const struct cs_msg_written *answer, size_t received);
/* The connection is gone, or, with @all, the worker: what may be wanted of the next daemon stays.
 */
void batch_lost(struct cidsteer *handle, bool all);

#endif

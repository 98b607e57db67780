/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * libcidsteer - tell the kernel which connection IDs belong to this worker
 *
 * A worker is one owner of QUIC connections: a process, or one thread of it, with one
 * SO_REUSEPORT UDP socket for each listener of its service.  It opens one handle, issues every
 * connection ID before a client can use it, and retires it when RFC 9000 says that no packet
 * with it can come any more.  From the return of cidsteer_issue() on, the kernel delivers each
 * packet with that Destination Connection ID to this worker's socket, from whatever address.
 *
 * A server that is started anew beside its old processes (a reload) opens its workers with another
 * generation: they wait, while the old ones go on.  cidsteer_ready() sends all new connections to
 * the new generation at once, and the old one drains: it keeps every ID, may issue more for the
 * connections that it has, and ends when cidsteer_get_state() says that nothing is left.
 *
 * A daemon that goes away takes nothing with it: packets go on being routed, IDs go on being issued
 * (in a service with a shared table).  The handle connects again by itself from
 * cidsteer_dispatch().
 *
 * Nothing here starts a thread, installs a signal handler, prints, or calls exit().  Every
 * function that can fail returns 0 or a negative errno and changes nothing on failure, but for
 * -ETIMEDOUT: what was asked of the daemon may still happen.
 *
 * Threads: handles are independent of each other; one handle is used by one thread at a time.
 *
 * fork: a handle belongs to the process that opened it.  In a child every call on it that returns
 * an errno returns -ECHILD and touches nothing of the parent's; cidsteer_close() there frees the
 * child's memory and descriptors only.  Open the handle in the process that serves the connections.
 */
#ifndef CIDSTEER_H
#define CIDSTEER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Longest connection ID of QUIC v1 and v2, in bytes (RFC 9000, section 17.2). */
#define CIDSTEER_CID_MAX 20

struct cidsteer;

/* How to open.  Start from CIDSTEER_OPTIONS_INIT; members that are added later stay zero. */
struct cidsteer_options {
	size_t size;	     /* sizeof(struct cidsteer_options) of the caller */
	const char *control; /* control socket; NULL: $CIDSTEER_CONTROL, else the default path */
	uint32_t generation; /* any number that all workers of one start of the server share, and no
			      * other start that still runs; 0: such a worker never waits */
	uint32_t timeout_ms; /* longest wait for an answer of the daemon; 0: 5000 */
	char *error;	     /* receives one English line when open fails; NULL: not wanted */
	size_t error_size;   /* bytes at @error */
	size_t cid_length;   /* bytes of the IDs that this server issues, 1..20: open succeeds also
			      * where no daemon answers, and the worker is steered when one comes;
			      * 0: the service says it, and open fails without a daemon */
	uint32_t cpu;	     /* CIDSTEER_CPU(n): the worker runs on CPU n, and its packets are to be
			      * moved there by XDP; CIDSTEER_CPU_OWN: on the one that the calling
			      * thread may run on, if it is one; 0: they stay where they are */
	const uint8_t *worker_key; /* octets of this worker in IDs of the service's own format
				    * (worker_key of the configuration); NULL: the daemon gives it
				    * some */
	size_t worker_key_len;	   /* octets, as many as that format has */
};
#define CIDSTEER_CPU(n) ((uint32_t)(n) + 1)
#define CIDSTEER_CPU_OWN UINT32_MAX
/* clang-format off */
#define CIDSTEER_OPTIONS_INIT { sizeof(struct cidsteer_options), NULL, 0, 0, NULL, 0, 0, 0, NULL, 0 }
/* clang-format on */

/*
 * cidsteer_open - register this worker and its sockets
 * @handle:	receives the handle; the caller gives it back with cidsteer_close()
 * @service:	name of a service in the daemon's configuration
 * @sockets:	bound, unconnected UDP sockets with SO_REUSEPORT, one for each listener of the
 *		service, in any order.  They stay the caller's: the library and the daemon keep
 *		no copy.  A socket that closes takes itself out of the kernel's map.  To connect
 *		again the library passes them again, by their numbers, if they are the same sockets.
 * @count:	number of @sockets
 * @options:	NULL for the defaults
 *
 * Needs no capability.  New connections reach this worker as soon as this returns, unless another
 * generation of the service is active: then when cidsteer_ready() was called.
 *
 * Returns 0, or
 *   -ENOENT         no daemon at the control socket, or the service is not configured
 *   -ECONNREFUSED   the control socket is stale: no daemon listens at it; or it closed the
 *                   connection: too many are open
 *   -EACCES, -EPERM the user may not connect, is not the service's user, or a socket was
 *                   created by a user who is neither the service's nor root
 *   -EINVAL         @options->cid_length is neither 0 nor the service's; a socket is not a bound,
 *                   unconnected UDP socket with SO_REUSEPORT of one of the service's listeners,
 *                   or one is missing or too many; it is in another network namespace, and
 *                   the service has no workers there, or no veth leads there; there is no CPU
 *                   @options->cpu
 *   -EPROTO         daemon and library speak different versions of the protocol
 *   -EBUSY          a socket is registered already, as another worker
 *   -EEXIST         another worker has @options->worker_key
 *   -ENOSPC         no worker id, socket slot or usage line is free
 *   -ETIMEDOUT      the daemon did not answer in time
 *   -EMFILE, -ENOMEM, ... from socket(2), mmap(2)
 */
int cidsteer_open(struct cidsteer **handle, const char *service, const int *sockets, size_t count,
		  const struct cidsteer_options *options);

/* An AF_XDP socket, and where it is bound. */
struct cidsteer_xsk {
	int fd;
	uint32_t ifindex; /* of the interface, in the network namespace of the service */
	uint32_t queue;	  /* of that interface */
};

/* That one worker may have: sockets, and interfaces on which it has them. */
#define CIDSTEER_XSKS_MAX 128
#define CIDSTEER_XSK_INTERFACES_MAX 4

/*
 * cidsteer_set_xsks - have this worker's packets delivered to AF_XDP sockets
 * @xsks, @count:	all that the worker has from now on; none: its packets go to its UDP sockets
 *			again.  Each is bound, has an RX ring, and is in the network namespace of
 *			the service.  They stay the caller's, as the UDP sockets do.
 *
 * A packet goes to the socket of the queue that it came in on, as the frame that it is: from the
 * Ethernet header on.  What comes in on a queue without one, or over another interface, goes to
 * the UDP sockets, or is dropped if the service says no_xsk = "drop".  What has a VLAN tag, is in
 * several buffers or in IP fragments, or comes in where no XDP program is attached, goes to the
 * UDP sockets: so a worker reads both.  All else (ARP, neighbour discovery, ICMP, other ports) goes
 * to the stack.  Connection IDs are issued and retired as ever.
 *
 * A UDP checksum that the sender left to its interface, as those of a veth do, is missing in the
 * frame.  Sockets that share a queue are of one process, and share its UMEM.  A socket that is
 * closed, or whose interface is gone, is nobody's: there is no need to say so.  The library passes
 * the others again when it connects again, by their numbers, if they are the same sockets.
 *
 * Returns 0, or
 *   -EINVAL     a descriptor is no AF_XDP socket, or the socket is not bound, has no RX ring, or is
 *               in another network namespace than the service; its interface is down or gone; there
 *               is no such interface; two are for one queue; @count, the number of interfaces, or a
 *               queue is too large; the worker is behind a device
 *   -ENOSPC     the daemon has no slots left
 *   -EMFILE     the daemon has no descriptors left
 *   -ESTALE     the worker was expelled
 *   -ENOTCONN   no daemon is there: it will be asked when one is
 *   -ECHILD, -ETIMEDOUT as for cidsteer_issue()
 *
 * With an error but -ENOTCONN and -ETIMEDOUT the worker has the sockets that it had, and
 * cidsteer_error() says why.  Whether a socket is bound to what @xsks says is not looked at: where
 * it is not, the kernel drops the packets.
 */
int cidsteer_set_xsks(struct cidsteer *handle, const struct cidsteer_xsk *xsks, size_t count);

/*
 * cidsteer_generate - make a connection ID of the service's format
 * @cid:	receives it
 * @len:	bytes of it that are wanted: cidsteer_cid_length(), or what the connection has had
 *		so far
 *
 * By the QUIC-LB configuration that is active (draft-ietf-quic-load-balancers-21), if its IDs can
 * be so long; else by another one that the service has; else, or if it has none, random octets that
 * the table is to know; these also as long as no daemon has said the format.  In a service with
 * worker_key it has this worker's octets where its format has them.  Give every ID to
 * cidsteer_issue(), wherever it is from: that needs no route for one that says itself where it
 * belongs.
 *
 * A nonce is used once.  They come from the daemon in blocks, before the last one is used up; of 8
 * octets on they are random.
 *
 * Returns 0, or
 *   -EINVAL  the service has no IDs of this length
 *   -EAGAIN  no nonce is left: the daemon has been asked, call again behind cidsteer_dispatch()
 *   -ENOSPC  no server ID is free: workers come and go faster than IDs may be used again, or the
 *            server ID is too short
 *   -ENOTCONN  no nonce is left, and no daemon is there to give more
 *   -ESTALE  the daemon has declared this worker dead
 *   -ECHILD  this handle belongs to the parent process
 *   -EIO     getrandom(2) fails
 */
int cidsteer_generate(struct cidsteer *handle, uint8_t *cid, size_t len);

/*
 * cidsteer_issue - make a connection ID of this worker routable
 * @cid, @len:	the bytes that a peer will send as DCID, as cidsteer_generate() made them; a short
 *		header does not carry @len (RFC 9000, section 17.3)
 *
 * On return the next packet with this ID reaches this worker.  An ID that carries a server ID of
 * this worker (cidsteer_generate()) does so without a route.
 *
 * Returns 0, or
 *   -EINVAL  the ID does not carry this worker, and @len is not cid_length of the service; or the
 *            service has QUIC-LB configurations, and the ID neither carries this worker's server
 *            ID nor begins with three bits 1
 *   -EEXIST  an ID with the same 48-bit tag is issued, by this worker or another: choose
 *            another ID (by chance: about routes / 2^48)
 *   -ENOSPC  both buckets of the table are full: choose another ID, or see max_cids
 *   -ESTALE  the daemon has declared this worker dead (CIDSTEER_EXPELLED): close, and open again
 *   -ECHILD  this handle belongs to the parent process
 *   -ENOTCONN  no daemon has been there yet, or, in a service with shared_table = no, it is gone:
 *            go on without; cidsteer_dispatch() will ask for the ID (CIDSTEER_REISSUE)
 *   -ETIMEDOUT  in a service with shared_table = no
 */
int cidsteer_issue(struct cidsteer *handle, const uint8_t *cid, size_t len);

/*
 * cidsteer_issue_provisional - make a client's first DCID routable while it may be in use
 * @cid, @len:	the DCID of the Initial that opened the connection, 1..20 bytes (RFC 9000,
 *		section 7.2).  Retire it when the handshake is done or the connection ends.
 *
 * Such routes are made by strangers.  They are refused above a share of the table's load and
 * into nearly full buckets, so that a flood of Initials never makes cidsteer_issue() fail.
 * A server that is refused goes on without: the ring still brings the client here.
 *
 * Returns 0, or
 *   -EINVAL  @len is not 1..20
 *   -EEXIST  as for cidsteer_issue()
 *   -EDQUOT  the service's share of provisional routes is used up, or the buckets are nearly full
 *   -ESTALE, -ECHILD, -ENOTCONN, -ETIMEDOUT as for cidsteer_issue()
 */
int cidsteer_issue_provisional(struct cidsteer *handle, const uint8_t *cid, size_t len);

/*
 * cidsteer_retire - take back an ID that this worker issued, provisionally or not
 *
 * For RETIRE_CONNECTION_ID, and for each ID of a connection when its closing or draining
 * period is over (RFC 9000, sections 5.1.2 and 10.2).
 *
 * Returns 0, or
 *   -EINVAL  @len is not 1..20
 *   -ENOENT  this worker has not issued it (with shared_table = no this is not said)
 *   -ECHILD, -ETIMEDOUT as for cidsteer_issue()
 *   -ENOTCONN  no daemon has been there yet: there is nothing to take back
 *   -ENOBUFS  with shared_table = no: the daemon is gone, and a million wait for the next
 *
 * With shared_table = no it is batched: it waits only when a thousand are on their way; without a
 * daemon it is kept for the next one.
 */
int cidsteer_retire(struct cidsteer *handle, const uint8_t *cid, size_t len);

/*
 * cidsteer_report_stray - a packet came with a DCID that is not this worker's
 * @cid, @len:	that DCID
 *
 * Counted as a stray if at this moment the table has a route for the ID: another worker has
 * issued it, or its route was altered.  An ID without a route (a connection that is over, a scan)
 * is no fault of the routing.  Of an ID that carries a server ID the daemon says whether another
 * worker has that, and counts it; here it is none.  Do not answer a stray
 * with a stateless reset: it would be valid, and end a healthy connection.  The daemon is told of
 * up to 10 in a second, without waiting, for its recorder (cidsteer report).
 *
 * Returns 1 for a stray, 0 for none, or -EINVAL, -ECHILD, -ENOTCONN, -ETIMEDOUT as above.
 */
int cidsteer_report_stray(struct cidsteer *handle, const uint8_t *cid, size_t len);

/*
 * cidsteer_report_path_change - a connection went on from another address of its client
 *
 * Call it once for each path validated after a change (RFC 9000, section 9).  It feeds the
 * number that operators read first.  Returns 0, -ECHILD, -ENOTCONN, or -ETIMEDOUT.
 */
int cidsteer_report_path_change(struct cidsteer *handle);

/*
 * cidsteer_ready - all workers of this generation have opened: give it the new connections
 *
 * Called by any one of them, once, or by each when it knows that all are there.  Every waiting
 * worker of the generation becomes active, all others of the service drain.  With generation 0 it
 * does nothing.
 *
 * Returns 0, -ESTALE (a newer generation is ready: this one drains; or this worker was expelled),
 * -ECHILD, -ENOTCONN (the daemon is gone; it is told when it is back), or -ETIMEDOUT.
 */
int cidsteer_ready(struct cidsteer *handle);

/*
 * cidsteer_drain - take no new connections, keep those that are here
 *
 * Issued IDs stay routable, more may be issued, until cidsteer_close().
 * Returns 0, -ESTALE (it was expelled), -ECHILD, -ENOTCONN (the daemon is gone; it is told when it
 * is back), or -ETIMEDOUT.
 */
int cidsteer_drain(struct cidsteer *handle);

/*
 * cidsteer_fd - the one descriptor to poll for reading
 *
 * It is the same for the handle's whole life and stays the library's.  When it is readable,
 * call cidsteer_dispatch().
 */
int cidsteer_fd(const struct cidsteer *handle);

/*
 * cidsteer_dispatch - do what cidsteer_fd() announced; also sends what is batched
 *
 * Never blocks.  Learns what cidsteer_get_state() tells.  When the daemon went away, connects
 * again: first soon, then every two seconds.  A daemon that finds the worker's sockets in the
 * kernel's maps gives it back its id and its routes.
 *
 * Returns 0, or
 *   CIDSTEER_REISSUE  issue every ID that is alive again, provisional ones as such: the worker is
 *              new to the daemon, or IDs could not be issued meanwhile.  -EEXIST then says that
 *              the ID is routed already
 *   CIDSTEER_NO_XSKS  the daemon did not take the sockets of an earlier cidsteer_set_xsks():
 *              cidsteer_error() says why.  The packets go to the UDP sockets
 *   -ENOTCONN  the daemon has just gone away: no emergency, packets go on being routed and, in a
 *              service with a shared table, issue and retire go on
 *   -ESTALE    this worker has just been declared dead (CIDSTEER_EXPELLED): close, and open again
 *   -ECHILD    this handle belongs to the parent process
 */
int cidsteer_dispatch(struct cidsteer *handle);

#define CIDSTEER_REISSUE 1
#define CIDSTEER_NO_XSKS 2

/* What the daemon last said of this worker. */
struct cidsteer_state {
	size_t size;		    /* sizeof(struct cidsteer_state) of the caller */
	int state;		    /* CIDSTEER_* below */
	int connected;		    /* 1: to a daemon, that has answered */
	uint64_t routes;	    /* that this worker has */
	uint64_t generation_routes; /* that its generation has, all workers together */
	uint64_t drain_ms;	    /* to its expulsion, as of the last word; 0: no time is set */
};

enum {
	CIDSTEER_UNSTEERED = 0, /* no daemon has been there yet */
	CIDSTEER_WAITING = 1,	/* another generation is active: see cidsteer_ready() */
	CIDSTEER_ACTIVE = 2,	/* takes new connections */
	CIDSTEER_DRAINING = 3,	/* keeps those that it has */
	CIDSTEER_EXPELLED = 4,	/* declared dead, by an operator or at the deadline of draining: its
				 * routes are gone; close, and open again */
};

/*
 * cidsteer_get_state - what this worker is now
 * @state:	its member size is set by the caller
 *
 * While it drains, the daemon sends its numbers at least when they have changed, once a second.
 * Returns 0, -EINVAL (size), or -ECHILD.
 */
int cidsteer_get_state(const struct cidsteer *handle, struct cidsteer_state *state);

/*
 * Why the last attempt to connect, or the last cidsteer_set_xsks(), failed, one English line; "" if
 * it did not.
 */
const char *cidsteer_error(const struct cidsteer *handle);

/*
 * cidsteer_close - leave: routes of this worker end, its sockets leave the kernel's map
 *
 * The sockets stay open and the caller's.  The id is not given to another worker before this
 * process ends.  Without a daemon the routes end at once and the rest when the next one starts;
 * with shared_table = no all of it when this process ends.  NULL is allowed.
 */
void cidsteer_close(struct cidsteer *handle);

/*
 * Length in bytes of the IDs that new connections are to get: of the QUIC-LB configuration that is
 * active, else cid_length of the service.
 */
size_t cidsteer_cid_length(const struct cidsteer *handle);

/* The worker's id, 1..32767, as `cidsteer workers` shows it. */
unsigned int cidsteer_worker_id(const struct cidsteer *handle);

/* What registering noticed about the sockets, CIDSTEER_NOTE_*. */
unsigned int cidsteer_notes(const struct cidsteer *handle);

/*
 * A socket has UDP_GRO: the kernel picks the worker once for a train of segments.  Check the
 * DCID of each segment and send no reset for one that is not the first's.
 */
#define CIDSTEER_NOTE_GRO 1u

/* Version of the library, "MAJOR.MINOR.PATCH". */
const char *cidsteer_version(void);

#ifdef __cplusplus
}
#endif

#endif

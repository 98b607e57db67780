/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * AF_XDP sockets, several on one queue of an interface
 *
 *                    memory (UMEM), one for a queue
 *   kernel <-- fill ring  --- frames that may be received into ---.
 *          --> done ring  --- frames that were sent ------------. |
 *   one lock for the two, and for the frames that are spare     | |
 *                                                               | |
 *   socket 1: RX ring, TX ring   socket 2: RX ring, TX ring  ...| |
 *             `-- frames that came, to be given back -----------|-'
 *                    `-- frames to send -----------------------'
 *
 * The queue has a socket of its own, which receives nothing: so every other one may be closed at
 * any time, and only that one.  A queue can be had by one memory at a time: while another process
 * has it, xsk_bind() says -EBUSY, and may be called again.
 *
 * To open takes CAP_NET_RAW, and CAP_IPC_LOCK or enough RLIMIT_MEMLOCK; to bind takes neither.
 * libxdp opens sockets when it binds them.  So the rings are set up here, and only its functions
 * for using them are used.
 */
#ifndef EXAMPLES_COMMON_XSK_H
#define EXAMPLES_COMMON_XSK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define XSK_FRAME 2048 /* bytes of the memory for each; the kernel keeps some of them */

struct xsk_queue;
struct xsk;

/*
 * xsk_queue_open - memory and rings for one queue of an interface
 * @sockets:	how many will be opened on it
 *
 * Returns 0, or a negative errno: -EPERM without CAP_NET_RAW, -ENOBUFS if no more memory may be
 * locked.
 */
int xsk_queue_open(struct xsk_queue **queue, uint32_t ifindex, uint32_t number,
		   unsigned int sockets);

/* After its sockets; NULL is allowed. */
void xsk_queue_close(struct xsk_queue *queue);

/* Opens a socket that one thread uses.  Returns 0, or a negative errno as above. */
int xsk_open(struct xsk **xsk, struct xsk_queue *queue);

/* Returns 0, -EBUSY: another process has the queue, or another negative errno of bind(2). */
int xsk_bind(struct xsk *xsk);

/* NULL is allowed. */
void xsk_close(struct xsk *xsk);

int xsk_fd(const struct xsk *xsk);

/* The next frame that was received, to be used until the next call; NULL: there is none. */
const uint8_t *xsk_next(struct xsk *xsk, size_t *len);

/* Lets the kernel have the frames that xsk_next() returned: at the end of each round. */
void xsk_give_back(struct xsk *xsk);

/* XSK_FRAME bytes for a frame that xsk_send() sends; NULL: too many are being sent. */
uint8_t *xsk_room(struct xsk *xsk);

/* The frame of xsk_room(): the kernel sends it when it is told to by xsk_kick(). */
void xsk_send(struct xsk *xsk, size_t len);

/* Never waits.  Returns whether something is left for which it should be called again soon. */
bool xsk_kick(struct xsk *xsk);

#endif

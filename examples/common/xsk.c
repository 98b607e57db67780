// SPDX-License-Identifier: GPL-2.0-only
/* AF_XDP sockets (Documentation/networking/af_xdp.rst of the kernel). */
#include "common/xsk.h"

#include "common/xsk_ring.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define RING 1024	 /* descriptors of a socket's RX and TX ring */
#define FRAMES_MIN 2048	 /* of a queue, to receive; as many to send */
#define FRAMES_MAX 16384 /* 64 MB for both */
#define BATCH 32	 /* the kernel copies as many frames with one call */

struct xsk_queue {
	int fd;
	uint32_t ifindex, number;
	uint32_t frames; /* to receive; as many to send */
	struct xsk_map memory, fill_map, done_map;

	/* Guards what follows.  Held for some copies, and to bind, when nothing is on its way. */
	pthread_mutex_t lock;
	bool bound;
	struct xsk_ring_prod fill;
	struct xsk_ring_cons done;
	uint64_t *spare; /* frames to send with */
	uint32_t spares;
};

struct xsk {
	struct xsk_queue *queue;
	int fd;
	struct xsk_map rx_map, tx_map;
	struct xsk_ring_cons rx;
	struct xsk_ring_prod tx;
	uint64_t taken[BATCH]; /* frames to give back */
	uint32_t takens;
	uint64_t room; /* of xsk_room() */
	bool has_room;
	bool pending; /* the kernel is to be told */
};

/* ---- a queue --------------------------------------------------------------------------------- */

/* Some frames wait in each socket's RX ring, and some in the interface. */
static uint32_t frames_for(unsigned int sockets)
{
	uint32_t frames = FRAMES_MIN;

	while (frames < sockets * RING && frames < FRAMES_MAX)
		frames *= 2;
	return frames;
}

static int register_memory(struct xsk_queue *queue)
{
	size_t len = (size_t)queue->frames * 2 * XSK_FRAME;
	struct xdp_umem_reg memory = { .len = len, .chunk_size = XSK_FRAME };
	void *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		return -errno;
	queue->memory = (struct xsk_map){ at, len };
	memory.addr = (uintptr_t)at;
	if (setsockopt(queue->fd, SOL_XDP, XDP_UMEM_REG, &memory, sizeof(memory)) < 0)
		return -errno;
	return 0;
}

/* It could not be bound without an RX ring. */
static int open_queue_rings(struct xsk_queue *queue)
{
	struct xdp_mmap_offsets offsets;
	int err = xsk_set_option(queue->fd, XDP_UMEM_FILL_RING, queue->frames);

	if (!err)
		err = xsk_set_option(queue->fd, XDP_UMEM_COMPLETION_RING, queue->frames);
	if (!err)
		err = xsk_set_option(queue->fd, XDP_RX_RING, 1);
	if (!err)
		err = xsk_get_offsets(queue->fd, &offsets);
	if (!err)
		err = xsk_map_ring(&queue->fill_map, queue->fd, XDP_UMEM_PGOFF_FILL_RING,
				   &offsets.fr, queue->frames, sizeof(uint64_t));
	if (!err)
		err = xsk_map_ring(&queue->done_map, queue->fd, XDP_UMEM_PGOFF_COMPLETION_RING,
				   &offsets.cr, queue->frames, sizeof(uint64_t));
	if (err)
		return err;
	xsk_use_prod(&queue->fill, &queue->fill_map, &offsets.fr, queue->frames);
	xsk_use_cons(&queue->done, &queue->done_map, &offsets.cr, queue->frames);
	return 0;
}

/* With the lock held.  There is room for all frames that there are. */
static void fill(struct xsk_queue *queue, const uint64_t *frames, uint32_t count)
{
	uint32_t at, i;

	if (xsk_ring_prod__reserve(&queue->fill, count, &at) != count)
		return;
	for (i = 0; i < count; i++)
		*xsk_ring_prod__fill_addr(&queue->fill, at + i) = frames[i];
	xsk_ring_prod__submit(&queue->fill, count);
}

/* The first half is to receive, the second to send. */
static int deal_frames(struct xsk_queue *queue)
{
	uint64_t frame = 0;

	queue->spare = calloc(queue->frames, sizeof(*queue->spare));
	if (!queue->spare)
		return -ENOMEM;
	for (; frame < (uint64_t)queue->frames * XSK_FRAME; frame += XSK_FRAME)
		fill(queue, &frame, 1);
	for (; frame < queue->memory.len; frame += XSK_FRAME)
		queue->spare[queue->spares++] = frame;
	return 0;
}

int xsk_queue_open(struct xsk_queue **out, uint32_t ifindex, uint32_t number, unsigned int sockets)
{
	struct xsk_queue *queue = calloc(1, sizeof(*queue));
	int err;

	if (!queue)
		return -ENOMEM;
	pthread_mutex_init(&queue->lock, NULL);
	queue->ifindex = ifindex;
	queue->number = number;
	queue->frames = frames_for(sockets);
	queue->fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
	err = queue->fd < 0 ? -errno : register_memory(queue);
	if (!err)
		err = open_queue_rings(queue);
	if (!err)
		err = deal_frames(queue);
	if (err) {
		xsk_queue_close(queue);
		return err;
	}
	*out = queue;
	return 0;
}

void xsk_queue_close(struct xsk_queue *queue)
{
	if (!queue)
		return;
	/* The kernel keeps a socket as long as one of its rings is mapped. */
	xsk_unmap(&queue->fill_map);
	xsk_unmap(&queue->done_map);
	if (queue->fd >= 0)
		close(queue->fd);
	xsk_unmap(&queue->memory);
	pthread_mutex_destroy(&queue->lock);
	free(queue->spare);
	free(queue);
}

/* ---- a socket -------------------------------------------------------------------------------- */

static int open_rings(struct xsk *xsk)
{
	struct xdp_mmap_offsets offsets;
	int err = xsk_set_option(xsk->fd, XDP_RX_RING, RING);

	if (!err)
		err = xsk_set_option(xsk->fd, XDP_TX_RING, RING);
	if (!err)
		err = xsk_get_offsets(xsk->fd, &offsets);
	if (!err)
		err = xsk_map_ring(&xsk->rx_map, xsk->fd, XDP_PGOFF_RX_RING, &offsets.rx, RING,
				   sizeof(struct xdp_desc));
	if (!err)
		err = xsk_map_ring(&xsk->tx_map, xsk->fd, XDP_PGOFF_TX_RING, &offsets.tx, RING,
				   sizeof(struct xdp_desc));
	if (err)
		return err;
	xsk_use_cons(&xsk->rx, &xsk->rx_map, &offsets.rx, RING);
	xsk_use_prod(&xsk->tx, &xsk->tx_map, &offsets.tx, RING);
	return 0;
}

int xsk_open(struct xsk **out, struct xsk_queue *queue)
{
	struct xsk *xsk = calloc(1, sizeof(*xsk));
	int err;

	if (!xsk)
		return -ENOMEM;
	xsk->queue = queue;
	xsk->fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
	err = xsk->fd < 0 ? -errno : open_rings(xsk);
	if (err) {
		xsk_close(xsk);
		return err;
	}
	*out = xsk;
	return 0;
}

/* @memory: -1 for a socket that has its own. */
static int bind_to(int fd, const struct xsk_queue *queue, int memory)
{
	struct sockaddr_xdp to = {
		.sxdp_family = AF_XDP,
		.sxdp_ifindex = queue->ifindex,
		.sxdp_queue_id = queue->number,
		/* Without a word of copying the kernel does not, where the driver can do without.
		 */
		.sxdp_flags = memory < 0 ? XDP_USE_NEED_WAKEUP : XDP_SHARED_UMEM,
		.sxdp_shared_umem_fd = memory < 0 ? 0 : (uint32_t)memory,
	};

	return bind(fd, (struct sockaddr *)&to, sizeof(to)) < 0 ? -errno : 0;
}

int xsk_bind(struct xsk *xsk)
{
	struct xsk_queue *queue = xsk->queue;
	int err = 0;

	pthread_mutex_lock(&queue->lock);
	if (!queue->bound)
		err = bind_to(queue->fd, queue, -1);
	queue->bound = !err;
	pthread_mutex_unlock(&queue->lock);
	return err ? err : bind_to(xsk->fd, queue, queue->fd);
}

static void return_room(struct xsk *xsk)
{
	if (!xsk->has_room)
		return;
	pthread_mutex_lock(&xsk->queue->lock);
	xsk->queue->spare[xsk->queue->spares++] = xsk->room;
	pthread_mutex_unlock(&xsk->queue->lock);
}

void xsk_close(struct xsk *xsk)
{
	size_t len;

	if (!xsk)
		return;
	/* What came and was not looked at is lost, but not its frames. */
	while (xsk->rx_map.at && xsk_next(xsk, &len))
		;
	xsk_give_back(xsk);
	return_room(xsk);
	xsk_unmap(&xsk->rx_map);
	xsk_unmap(&xsk->tx_map);
	if (xsk->fd >= 0)
		close(xsk->fd);
	free(xsk);
}

int xsk_fd(const struct xsk *xsk)
{
	return xsk->fd;
}

/* ---- receiving ------------------------------------------------------------------------------- */

const uint8_t *xsk_next(struct xsk *xsk, size_t *len)
{
	const struct xdp_desc *desc;
	const uint8_t *bytes;
	uint32_t at;

	if (xsk->takens == BATCH)
		xsk_give_back(xsk);
	if (xsk_ring_cons__peek(&xsk->rx, 1, &at) != 1)
		return NULL;
	desc = xsk_ring_cons__rx_desc(&xsk->rx, at);
	bytes = (uint8_t *)xsk->queue->memory.at + desc->addr;
	*len = desc->len;
	xsk->taken[xsk->takens++] = desc->addr & ~(uint64_t)(XSK_FRAME - 1);
	xsk_ring_cons__release(&xsk->rx, 1);
	return bytes;
}

void xsk_give_back(struct xsk *xsk)
{
	struct xsk_queue *queue = xsk->queue;
	bool wakeup;

	if (!xsk->takens)
		return;
	pthread_mutex_lock(&queue->lock);
	fill(queue, xsk->taken, xsk->takens);
	wakeup = xsk_ring_prod__needs_wakeup(&queue->fill);
	pthread_mutex_unlock(&queue->lock);
	xsk->takens = 0;
	if (wakeup)
		recvfrom(xsk->fd, NULL, 0, MSG_DONTWAIT, NULL, NULL);
}

/* ---- sending --------------------------------------------------------------------------------- */

/* With the lock held. */
static void take_done(struct xsk_queue *queue)
{
	uint32_t at, i, n = xsk_ring_cons__peek(&queue->done, queue->frames, &at);

	for (i = 0; i < n; i++)
		queue->spare[queue->spares++] = *xsk_ring_cons__comp_addr(&queue->done, at + i);
	xsk_ring_cons__release(&queue->done, n);
}

uint8_t *xsk_room(struct xsk *xsk)
{
	struct xsk_queue *queue = xsk->queue;

	if (!xsk_prod_nb_free(&xsk->tx, 1))
		return NULL;
	if (!xsk->has_room) {
		pthread_mutex_lock(&queue->lock);
		if (!queue->spares)
			take_done(queue);
		xsk->has_room = queue->spares > 0;
		if (xsk->has_room)
			xsk->room = queue->spare[--queue->spares];
		pthread_mutex_unlock(&queue->lock);
	}
	return xsk->has_room ? (uint8_t *)queue->memory.at + xsk->room : NULL;
}

void xsk_send(struct xsk *xsk, size_t len)
{
	struct xdp_desc *desc;
	uint32_t at;

	if (!xsk->has_room || xsk_ring_prod__reserve(&xsk->tx, 1, &at) != 1)
		return;
	desc = xsk_ring_prod__tx_desc(&xsk->tx, at);
	*desc = (struct xdp_desc){ .addr = xsk->room, .len = (uint32_t)len };
	xsk_ring_prod__submit(&xsk->tx, 1);
	xsk->has_room = false;
	xsk->pending = true;
}

/* How many descriptors the kernel has not taken. */
static uint32_t left(const struct xsk *xsk)
{
	return *xsk->tx.producer - __atomic_load_n(xsk->tx.consumer, __ATOMIC_ACQUIRE);
}

bool xsk_kick(struct xsk *xsk)
{
	uint32_t before, now = xsk->pending ? left(xsk) : 0;
	int err = EAGAIN;

	if (!xsk->pending)
		return false;
	/* Where the kernel copies it takes a batch for each call: as long as it takes any. */
	do {
		before = now;
		if (xsk_ring_prod__needs_wakeup(&xsk->tx))
			err = sendto(xsk->fd, NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 ? errno : 0;
		now = left(xsk);
	} while (now && now < before && err == EAGAIN);
	/* Else an interface that is down or gone: what is left goes with what comes next, or never.
	 */
	xsk->pending = now && (err == EAGAIN || err == EBUSY || err == ENOBUFS);
	return xsk->pending;
}

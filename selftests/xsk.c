// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <linux/if_xdp.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "xsk.h"

#define FRAME_BYTES 2048
#define FRAMES                                                                                     \
	4096 /* of a queue, and entries of each ring: so many wait unread before one is lost */
#define MASK (FRAMES - 1)

struct xsk_umem {
	unsigned int users;
	uint8_t *area;
	char *map; /* of its fill ring */
	size_t map_bytes;
	volatile uint32_t *producer;
	uint64_t *address;
};

/* ---- rings ---------------------------------------------------------------------------------- */

static int set_ring(int fd, int name)
{
	int entries = FRAMES;

	return setsockopt(fd, SOL_XDP, name, &entries, sizeof(entries)) ? -errno : 0;
}

static int read_offsets(int fd, struct xdp_mmap_offsets *offsets)
{
	socklen_t len = sizeof(*offsets);

	return getsockopt(fd, SOL_XDP, XDP_MMAP_OFFSETS, offsets, &len) ? -errno : 0;
}

static void *map_ring(int fd, size_t bytes, off_t at)
{
	void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, at);

	return map == MAP_FAILED ? NULL : map;
}

static int map_fill_ring(struct xsk_umem *umem, int fd)
{
	struct xdp_mmap_offsets offsets;
	int err = read_offsets(fd, &offsets);

	if (err)
		return err;
	umem->map_bytes = offsets.fr.desc + FRAMES * sizeof(uint64_t);
	umem->map = map_ring(fd, umem->map_bytes, XDP_UMEM_PGOFF_FILL_RING);
	if (!umem->map)
		return -errno;
	umem->producer = (void *)(umem->map + offsets.fr.producer);
	umem->address = (void *)(umem->map + offsets.fr.desc);
	return 0;
}

static int map_rx_ring(struct xsk *xsk)
{
	struct xdp_mmap_offsets offsets;
	int err = read_offsets(xsk->fd, &offsets);

	if (err)
		return err;
	xsk->map_bytes = offsets.rx.desc + FRAMES * sizeof(struct xdp_desc);
	xsk->map = map_ring(xsk->fd, xsk->map_bytes, XDP_PGOFF_RX_RING);
	if (!xsk->map)
		return -errno;
	xsk->producer = (void *)(xsk->map + offsets.rx.producer);
	xsk->consumer = (void *)(xsk->map + offsets.rx.consumer);
	xsk->desc = (void *)(xsk->map + offsets.rx.desc);
	return 0;
}

/* ---- UMEM ----------------------------------------------------------------------------------- */

/* There is room: no more frames are in the ring than there are. */
static void fill(struct xsk_umem *umem, uint64_t address)
{
	uint32_t at = *umem->producer;

	umem->address[at & MASK] = address & ~(uint64_t)(FRAME_BYTES - 1);
	__atomic_store_n(umem->producer, at + 1, __ATOMIC_RELEASE);
}

static int register_umem(struct xsk_umem *umem, int fd)
{
	struct xdp_umem_reg reg = { .len = (uint64_t)FRAMES * FRAME_BYTES,
				    .chunk_size = FRAME_BYTES };
	int err;

	umem->area = mmap(NULL, reg.len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			  0);
	if (umem->area == MAP_FAILED) {
		umem->area = NULL;
		return -errno;
	}
	reg.addr = (uintptr_t)umem->area;
	if (setsockopt(fd, SOL_XDP, XDP_UMEM_REG, &reg, sizeof(reg)))
		return -errno;
	err = set_ring(fd, XDP_UMEM_FILL_RING);
	if (!err)
		err = set_ring(fd, XDP_UMEM_COMPLETION_RING);
	return err ? err : map_fill_ring(umem, fd);
}

static void leave_umem(struct xsk_umem *umem)
{
	if (--umem->users)
		return;
	if (umem->map)
		munmap(umem->map, umem->map_bytes);
	if (umem->area)
		munmap(umem->area, (size_t)FRAMES * FRAME_BYTES);
	free(umem);
}

static int make_umem(struct xsk *xsk)
{
	int err;

	xsk->umem = calloc(1, sizeof(*xsk->umem));
	if (!xsk->umem)
		return -ENOMEM;
	xsk->umem->users = 1;
	err = register_umem(xsk->umem, xsk->fd);
	for (uint64_t i = 0; !err && i < FRAMES; i++)
		fill(xsk->umem, i * FRAME_BYTES);
	return err;
}

/* ---- sockets -------------------------------------------------------------------------------- */

static int bind_to(int fd, uint32_t ifindex, uint32_t queue, const struct xsk *other)
{
	struct sockaddr_xdp address = { .sxdp_family = AF_XDP,
					.sxdp_ifindex = ifindex,
					.sxdp_queue_id = queue,
					.sxdp_flags = XDP_COPY };

	if (other) {
		address.sxdp_flags = XDP_SHARED_UMEM;
		address.sxdp_shared_umem_fd = other->fd;
	}
	return bind(fd, (struct sockaddr *)&address, sizeof(address)) ? -errno : 0;
}

static int set_up(struct xsk *xsk, const struct xsk *other)
{
	int err = 0;

	if (xsk->fd < 0)
		return -errno;
	if (other) {
		xsk->umem = other->umem;
		xsk->umem->users++;
	} else {
		err = make_umem(xsk);
	}
	if (!err)
		err = set_ring(xsk->fd, XDP_RX_RING);
	if (!err)
		err = map_rx_ring(xsk);
	return err ? err : bind_to(xsk->fd, xsk->ifindex, xsk->queue, other);
}

int xsk_open(struct xsk *xsk, uint32_t ifindex, uint32_t queue, const struct xsk *other)
{
	int err;

	*xsk = (struct xsk){ .ifindex = ifindex, .queue = queue };
	xsk->fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
	err = set_up(xsk, other);
	if (err)
		xsk_close(xsk);
	return err;
}

void xsk_close(struct xsk *xsk)
{
	if (xsk->fd >= 0)
		close(xsk->fd);
	if (xsk->map)
		munmap(xsk->map, xsk->map_bytes);
	if (xsk->umem)
		leave_umem(xsk->umem);
	*xsk = (struct xsk){ .fd = -1 };
}

const uint8_t *xsk_next(struct xsk *xsk, size_t *len)
{
	uint32_t at = *xsk->consumer;
	const struct xdp_desc *desc = &xsk->desc[at & MASK];

	/* What the last call returned has been read. */
	if (xsk->lent) {
		fill(xsk->umem, xsk->lent_address);
		xsk->lent = false;
	}
	if (at == __atomic_load_n(xsk->producer, __ATOMIC_ACQUIRE))
		return NULL;
	*len = desc->len;
	xsk->lent = true;
	xsk->lent_address = desc->addr;
	xsk->frames++;
	__atomic_store_n(xsk->consumer, at + 1, __ATOMIC_RELEASE);
	return xsk->umem->area + xsk->lent_address;
}

int xsk_open_flawed(enum xsk_flaw flaw, uint32_t ifindex, uint32_t queue)
{
	struct xsk xsk = { .fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0) };
	int err;

	if (xsk.fd < 0)
		return -errno;
	if (flaw == XSK_BARE)
		return xsk.fd;
	err = make_umem(&xsk);
	if (!err)
		err = set_ring(xsk.fd, flaw == XSK_TX_ONLY ? XDP_TX_RING : XDP_RX_RING);
	if (!err && flaw == XSK_TX_ONLY)
		err = bind_to(xsk.fd, ifindex, queue, NULL);
	if (!err)
		return xsk.fd;
	xsk_close(&xsk);
	return err;
}

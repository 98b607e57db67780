// SPDX-License-Identifier: GPL-2.0-only
/* Rings of AF_XDP sockets, for libxdp's functions to use. */
#include "common/xsk_ring.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/socket.h>

int xsk_set_option(int fd, int name, uint32_t value)
{
	return setsockopt(fd, SOL_XDP, name, &value, sizeof(value)) < 0 ? -errno : 0;
}

int xsk_get_offsets(int fd, struct xdp_mmap_offsets *offsets)
{
	socklen_t len = sizeof(*offsets);

	if (getsockopt(fd, SOL_XDP, XDP_MMAP_OFFSETS, offsets, &len) < 0)
		return -errno;
	/* Before Linux 5.4 it was shorter: no flags. */
	return len == sizeof(*offsets) ? 0 : -EOPNOTSUPP;
}

int xsk_map_ring(struct xsk_map *map, int fd, off_t page, const struct xdp_ring_offset *o,
		 uint32_t size, size_t entry)
{
	size_t len = o->desc + size * entry;
	void *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, page);

	if (at == MAP_FAILED)
		return -errno;
	*map = (struct xsk_map){ at, len };
	return 0;
}

void xsk_unmap(struct xsk_map *map)
{
	if (map->at)
		munmap(map->at, map->len);
	map->at = NULL;
}

/* Both kinds of libxdp's rings have the same members. */
#define USE_RING(ring, map, o, n)                                                                  \
	do {                                                                                       \
		char *at_ = (map)->at;                                                             \
		(ring)->mask = (n)-1;                                                              \
		(ring)->size = (n);                                                                \
		(ring)->producer = (uint32_t *)(at_ + (o)->producer);                              \
		(ring)->consumer = (uint32_t *)(at_ + (o)->consumer);                              \
		(ring)->flags = (uint32_t *)(at_ + (o)->flags);                                    \
		(ring)->ring = at_ + (o)->desc;                                                    \
	} while (0)

void xsk_use_prod(struct xsk_ring_prod *ring, const struct xsk_map *map,
		  const struct xdp_ring_offset *o, uint32_t size)
{
	USE_RING(ring, map, o, size);
	ring->cached_prod = 0;
	ring->cached_cons = size;
}

void xsk_use_cons(struct xsk_ring_cons *ring, const struct xsk_map *map,
		  const struct xdp_ring_offset *o, uint32_t size)
{
	USE_RING(ring, map, o, size);
	ring->cached_prod = 0;
	ring->cached_cons = 0;
}

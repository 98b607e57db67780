/* SPDX-License-Identifier: GPL-2.0-only */
/* For xsk.c: the rings of a socket, set up on one that is open already. */
#ifndef EXAMPLES_COMMON_XSK_RING_H
#define EXAMPLES_COMMON_XSK_RING_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <xdp/xsk.h>

struct xsk_map {
	void *at; /* NULL: nothing is mapped */
	size_t len;
};

/* Each of these returns 0 or a negative errno.  @name: XDP_*_RING */
int xsk_set_option(int fd, int name, uint32_t value);
int xsk_get_offsets(int fd, struct xdp_mmap_offsets *offsets);

/* @page: XDP_*PGOFF_*; @size: descriptors, of @entry bytes each */
int xsk_map_ring(struct xsk_map *map, int fd, off_t page, const struct xdp_ring_offset *o,
		 uint32_t size, size_t entry);
void xsk_unmap(struct xsk_map *map);

/* As libxdp's functions want a ring that is empty. */
void xsk_use_prod(struct xsk_ring_prod *ring, const struct xsk_map *map,
		  const struct xdp_ring_offset *o, uint32_t size);
void xsk_use_cons(struct xsk_ring_cons *ring, const struct xsk_map *map,
		  const struct xdp_ring_offset *o, uint32_t size);

#endif

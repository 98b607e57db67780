// SPDX-License-Identifier: GPL-2.0-only
/*
 * An AF_XDP socket in copy mode (Documentation/networking/af_xdp.rst): each frame is copied into
 * the UMEM, whose chunks are in the fill ring, or in the RX ring, or being looked at.
 */
#include <errno.h>
#include <linux/if_xdp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "bench.h"

#define CHUNKS 2048 /* more than are sent at once, a power of two: entries of both rings */
#define CHUNK 2048  /* bytes */

struct ring {
	__u32 *producer, *consumer;
	void *entries;
};

struct xsk {
	int fd;
	struct ring fill, rx;
	__u8 *umem;
};

static void set(const struct xsk *xsk, int option, const void *value, socklen_t len)
{
	check(!setsockopt(xsk->fd, SOL_XDP, option, value, len), "AF_XDP option %d: %s", option,
	      strerror(errno));
}

static void map_ring(const struct xsk *xsk, const struct xdp_ring_offset *at, size_t entry,
		     off_t which, struct ring *ring)
{
	char *memory = mmap(NULL, at->desc + CHUNKS * entry, PROT_READ | PROT_WRITE, MAP_SHARED,
			    xsk->fd, which);

	check(memory != MAP_FAILED, "AF_XDP ring: %s", strerror(errno));
	ring->producer = (__u32 *)(memory + at->producer);
	ring->consumer = (__u32 *)(memory + at->consumer);
	ring->entries = memory + at->desc;
}

static void map_rings(struct xsk *xsk)
{
	struct xdp_mmap_offsets at;
	socklen_t len = sizeof(at);

	check(!getsockopt(xsk->fd, SOL_XDP, XDP_MMAP_OFFSETS, &at, &len), "AF_XDP rings: %s",
	      strerror(errno));
	map_ring(xsk, &at.rx, sizeof(struct xdp_desc), XDP_PGOFF_RX_RING, &xsk->rx);
	map_ring(xsk, &at.fr, sizeof(__u64), XDP_UMEM_PGOFF_FILL_RING, &xsk->fill);
}

/* The @ahead-th of those that the kernel is told of next. */
static void fill(const struct xsk *xsk, __u32 ahead, __u64 chunk)
{
	((__u64 *)xsk->fill.entries)[(*xsk->fill.producer + ahead) % CHUNKS] = chunk;
}

static void move_on(__u32 *place, __u32 count)
{
	__atomic_store_n(place, *place + count, __ATOMIC_RELEASE);
}

struct xsk *xsk_open(__u32 ifindex)
{
	struct sockaddr_xdp here = { .sxdp_family = AF_XDP,
				     .sxdp_flags = XDP_COPY,
				     .sxdp_ifindex = ifindex };
	struct xsk *xsk = calloc(1, sizeof(*xsk));
	struct xdp_umem_reg umem = { .len = CHUNKS * CHUNK, .chunk_size = CHUNK };
	__u32 entries = CHUNKS, unused = 64;

	check(xsk, "out of memory");
	xsk->fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
	check(xsk->fd >= 0, "AF_XDP: %s", strerror(errno));
	xsk->umem = mmap(NULL, umem.len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			 0);
	check(xsk->umem != MAP_FAILED, "UMEM: %s", strerror(errno));
	umem.addr = (__u64)xsk->umem;
	set(xsk, XDP_UMEM_REG, &umem, sizeof(umem));
	set(xsk, XDP_UMEM_FILL_RING, &entries, sizeof(entries));
	set(xsk, XDP_UMEM_COMPLETION_RING, &unused, sizeof(unused)); /* bind() wants it */
	set(xsk, XDP_RX_RING, &entries, sizeof(entries));
	map_rings(xsk);
	for (__u32 i = 0; i < CHUNKS; i++)
		fill(xsk, i, (__u64)i * CHUNK);
	move_on(xsk->fill.producer, CHUNKS);
	check(!bind(xsk->fd, (struct sockaddr *)&here, sizeof(here)), "AF_XDP socket: %s",
	      strerror(errno));
	return xsk;
}

int xsk_fd(const struct xsk *xsk)
{
	return xsk->fd;
}

__u32 xsk_take(struct xsk *xsk, __u32 most, void (*look)(const struct frame *frame))
{
	__u32 first = *xsk->rx.consumer;
	__u32 ready = __atomic_load_n(xsk->rx.producer, __ATOMIC_ACQUIRE) - first;
	__u32 count = ready < most ? ready : most;

	for (__u32 i = 0; i < count; i++) {
		const struct xdp_desc *at = (struct xdp_desc *)xsk->rx.entries +
					    (first + i) % CHUNKS;

		look((struct frame *)(xsk->umem + at->addr));
		fill(xsk, i, at->addr - at->addr % CHUNK);
	}
	move_on(xsk->rx.consumer, count);
	move_on(xsk->fill.producer, count);
	return count;
}

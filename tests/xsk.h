/* SPDX-License-Identifier: GPL-2.0-only */
/* An AF_XDP socket that is bound to nothing, to be put into a map. */
#ifndef CS_TESTS_XSK_H
#define CS_TESTS_XSK_H

#include <linux/if_xdp.h>
#include <sys/mman.h>
#include <sys/socket.h>

/* With memory and rings: Linux 7.3 puts no other into a map.  Returns a descriptor, or -1. */
static inline int make_unbound_xsk(void)
{
	enum {
		CHUNK_BYTES = 4096
	};
	const int entries = 1, fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
	const int rings[] = { XDP_UMEM_FILL_RING, XDP_UMEM_COMPLETION_RING, XDP_RX_RING };
	struct xdp_umem_reg umem = { .len = CHUNK_BYTES, .chunk_size = CHUNK_BYTES };
	void *memory = mmap(NULL, CHUNK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			    -1, 0);

	umem.addr = (__u64)(unsigned long)memory;
	if (fd < 0 || memory == MAP_FAILED ||
	    setsockopt(fd, SOL_XDP, XDP_UMEM_REG, &umem, sizeof(umem)))
		return -1;
	for (int i = 0; i < 3; i++) {
		if (setsockopt(fd, SOL_XDP, rings[i], &entries, sizeof(entries)))
			return -1;
	}
	return fd;
}

#endif

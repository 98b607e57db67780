// SPDX-License-Identifier: GPL-2.0-only
/*
 * slots: which slots of a pinned XSKMAP have a socket
 *
 *   slots PIN
 *
 * Prints their numbers in one line.  The kernel does not tell; but it refuses to put a socket where
 * one is.  Where none is, this socket, which gets no packet, is for a moment: a packet is lost
 * then.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/if_xdp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#define CHUNK 4096

static int set(int fd, int name, const void *value, socklen_t len)
{
	return setsockopt(fd, SOL_XDP, name, value, len);
}

/* With memory and rings: Linux 7.3 puts no other into a map.  Returns a descriptor, or -1. */
static int make_xsk(void)
{
	const int entries = 1, fd = socket(AF_XDP, SOCK_RAW, 0);
	struct xdp_umem_reg umem = { .len = CHUNK, .chunk_size = CHUNK };
	void *memory = mmap(NULL, CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			    0);

	umem.addr = (__u64)(unsigned long)memory;
	if (fd < 0 || memory == MAP_FAILED || set(fd, XDP_UMEM_REG, &umem, sizeof(umem)) ||
	    set(fd, XDP_UMEM_FILL_RING, &entries, sizeof(entries)) ||
	    set(fd, XDP_UMEM_COMPLETION_RING, &entries, sizeof(entries)) ||
	    set(fd, XDP_RX_RING, &entries, sizeof(entries)))
		return -1;
	return fd;
}

int main(int argc, char **argv)
{
	int map = argc == 2 ? bpf_obj_get(argv[1]) : -1, xsk = make_xsk();
	struct bpf_map_info info = {};
	__u32 len = sizeof(info), found = 0;

	if (map < 0 || xsk < 0 || bpf_obj_get_info_by_fd(map, &info, &len) ||
	    info.type != BPF_MAP_TYPE_XSKMAP) {
		fprintf(stderr, "slots: no XSKMAP: %s\n", strerror(errno));
		return 1;
	}
	for (__u32 slot = 0; slot < info.max_entries; slot++) {
		if (!bpf_map_update_elem(map, &slot, &xsk, BPF_NOEXIST))
			bpf_map_delete_elem(map, &slot);
		else if (errno == EEXIST)
			printf("%s%u", found++ ? " " : "", slot);
		else
			return fprintf(stderr, "slots: %u: %s\n", slot, strerror(errno)), 1;
	}
	puts("");
	return 0;
}

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
#include <stdio.h>
#include <string.h>

#include "../tests/xsk.h"

int main(int argc, char **argv)
{
	int map = argc == 2 ? bpf_obj_get(argv[1]) : -1, xsk = make_unbound_xsk();
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

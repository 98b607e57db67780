// SPDX-License-Identifier: GPL-2.0-only
/*
 * The index of cs_addrs by port.  A line is written before the port that points to it, and a
 * port that goes is cleared before its line is anybody else's, so that a packet that comes
 * meanwhile finds the old listener or the new one.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/address.h"
#include "common/cleanup.h"
#include "dataplane/internal.h"

struct port_index {
	struct cs_ports old[CS_MAX_NETNS], new[CS_MAX_NETNS];
	struct cs_line line[CS_MAX_ADDRS + 1];
	bool taken[CS_MAX_ADDRS + 1];
};

static __u16 free_line(struct port_index *index)
{
	for (__u32 line = 1; line <= CS_MAX_ADDRS; line++) {
		if (index->taken[line])
			continue;
		index->taken[line] = true;
		return line;
	}
	return 0;
}

/* A port keeps its line; the lines of all ports that are loaded are taken. */
static void add_address(struct port_index *index, const struct cs_addr *addr,
			const struct cs_listener *listener)
{
	__u16 *line = &index->new[addr->netns].line[addr->port];

	if (!*line)
		*line = index->old[addr->netns].line[addr->port] ?: free_line(index);
	if (address_is_wildcard(addr))
		index->line[*line].any[address_is_ipv4(addr)] = *listener;
	else
		index->line[*line].exact = 1;
}

static int write_lines(const struct plane *plane, const struct port_index *index,
		       const struct cs_ports *ports)
{
	for (__u32 port = 0; port < 65536; port++) {
		__u32 line = ports->line[port];

		if (line && bpf_map_update_elem(plane->map[PLANE_LINES], &line, &index->line[line],
						BPF_ANY))
			return -errno;
	}
	return 0;
}

static int read_ports(const struct plane *plane, struct port_index *index)
{
	for (__u32 netns = 0; netns < CS_MAX_NETNS; netns++) {
		struct cs_ports *old = &index->old[netns];

		if (bpf_map_lookup_elem(plane->map[PLANE_PORTS], &netns, old))
			return -errno;
		for (__u32 port = 0; port < 65536; port++) {
			if (old->line[port] > CS_MAX_ADDRS)
				return -EPROTO;
			index->taken[old->line[port]] = true;
		}
		index->new[netns].prefixes = old->prefixes; /* locals.c writes it */
	}
	return 0;
}

int plane_index_ports(const struct plane *plane, const struct plane_address *address,
		      unsigned int count)
{
	_cleanup_free_ struct port_index *index = calloc(1, sizeof(*index));
	int err = index ? read_ports(plane, index) : -ENOMEM;

	for (unsigned int i = 0; i < count && !err; i++)
		add_address(index, &address[i].addr, &address[i].listener);
	for (__u32 netns = 0; netns < CS_MAX_NETNS && !err; netns++) {
		const struct cs_ports *new = &index->new[netns];

		err = write_lines(plane, index, new);
		if (!err && memcmp(new, &index->old[netns], sizeof(*new)) &&
		    bpf_map_update_elem(plane->map[PLANE_PORTS], &netns, new, BPF_ANY))
			err = -errno;
	}
	return err;
}

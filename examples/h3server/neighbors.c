// SPDX-License-Identifier: GPL-2.0-only
/* A table of paths, in sets of a few. */
#include "h3server/neighbors.h"

#include "common/quic.h"

#include <string.h>

void neighbors_init(struct neighbors *table)
{
	memset(table, 0, sizeof(*table));
	quic_random(&table->key, sizeof(table->key));
}

static uint64_t mix(uint64_t hash, uint64_t word)
{
	hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
	return hash ^ hash >> 32;
}

/* An address has one form throughout: that of the listener that it belongs to. */
static unsigned int set_of(const struct neighbors *table, const union addr *remote)
{
	uint64_t words[2] = { 0 };

	if (remote->sa.sa_family == AF_INET)
		memcpy(words, &remote->in.sin_addr, sizeof(remote->in.sin_addr));
	else
		memcpy(words, &remote->in6.sin6_addr, sizeof(words));
	words[0] = mix(mix(table->key, words[0]), words[1]);
	return mix(words[0], addr_port(remote)) % NEIGHBOR_SETS;
}

static bool is_path(const struct neighbor *n, const union addr *local, const union addr *remote)
{
	return n->seen && addr_equal(&n->ends.remote, remote) && addr_equal(&n->ends.local, local);
}

void neighbors_learn(struct neighbors *table, const struct frame_ends *ends, unsigned int lane)
{
	struct neighbor *set = table->sets[set_of(table, &ends->remote)];
	struct neighbor *n = set;
	int i;

	for (i = 0; i < NEIGHBOR_WAYS; i++) {
		if (is_path(&set[i], &ends->local, &ends->remote)) {
			n = &set[i];
			break;
		}
		if (set[i].seen < n->seen)
			n = &set[i];
	}
	n->ends = *ends;
	n->lane = lane;
	n->seen = ++table->clock;
}

const struct neighbor *neighbors_find(const struct neighbors *table, const union addr *local,
				      const union addr *remote)
{
	const struct neighbor *set = table->sets[set_of(table, remote)];
	int i;

	for (i = 0; i < NEIGHBOR_WAYS; i++)
		if (is_path(&set[i], local, remote))
			return &set[i];
	return NULL;
}

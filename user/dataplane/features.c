// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "common/cleanup.h"
#include "dataplane/features.h"

#define FEATURES_MAX 1024

static bool ask(int fd, const char *interface, void *what)
{
	struct ifreq request = { .ifr_data = what };

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
	return !ioctl(fd, SIOCETHTOOL, &request);
}

static __u32 count_features(int fd, const char *interface)
{
	union {
		struct ethtool_sset_info info;
		__u8 room[sizeof(struct ethtool_sset_info) + sizeof(__u32)]; /* and one number */
	} sets = { .info = { .cmd = ETHTOOL_GSSET_INFO, .sset_mask = 1ULL << ETH_SS_FEATURES } };

	return ask(fd, interface, &sets) && sets.info.sset_mask &&
			       sets.info.data[0] <= FEATURES_MAX ?
		       sets.info.data[0] :
		       0;
}

static bool has_bit(__u32 word, __u32 at)
{
	return word >> at % 32 & 1;
}

void features_each(int fd, const char *interface,
		   void (*visit)(const struct feature *feature, void *arg), void *arg)
{
	__u32 count = count_features(fd, interface), blocks = (count + 31) / 32;
	_cleanup_free_ struct ethtool_gstrings *names =
		calloc(1, sizeof(*names) + (size_t)count * ETH_GSTRING_LEN);
	_cleanup_free_ struct ethtool_gfeatures *state =
		calloc(1, sizeof(*state) + blocks * sizeof(state->features[0]));

	if (!count || !names || !state)
		return;
	*names = (struct ethtool_gstrings){ ETHTOOL_GSTRINGS, ETH_SS_FEATURES, count };
	*state = (struct ethtool_gfeatures){ ETHTOOL_GFEATURES, blocks };
	if (!ask(fd, interface, names) || !ask(fd, interface, state))
		return;
	for (__u32 i = 0; i < count; i++) {
		const struct ethtool_get_features_block *block = &state->features[i / 32];
		char name[ETH_GSTRING_LEN + 1] = "";

		memcpy(name, names->data + i * ETH_GSTRING_LEN, ETH_GSTRING_LEN);
		visit(&(struct feature){ name, has_bit(block->active, i),
					 !has_bit(block->available, i) ||
						 has_bit(block->never_changed, i) },
		      arg);
	}
}

int queues_read(int fd, const char *interface, struct queues *queues)
{
	struct ethtool_channels channels = { .cmd = ETHTOOL_GCHANNELS };

	*queues = (struct queues){};
	if (!ask(fd, interface, &channels))
		return -errno;
	*queues = (struct queues){ channels.rx_count, channels.tx_count, channels.combined_count,
				   channels.max_rx,   channels.max_tx,	 channels.max_combined };
	return 0;
}

// SPDX-License-Identifier: GPL-2.0-only
/* What a network interface is set to, as far as it matters to the programs; by ethtool's ioctl. */
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "cli/attached.h"
#include "cli/output.h"
#include "cli/report.h"
#include "common/cleanup.h"

#define FEATURES_MAX 1024

/* As the kernel calls them.  `ethtool -k` has other names for the first ones. */
static const char *const features[] = {
	"rx-checksum",	    "tx-checksum-ipv4",
	"tx-checksum-ipv6", "tx-checksum-ip-generic",
	"rx-lro",	    "rx-gro",
	"rx-gro-hw",	    "rx-gro-list",
	"rx-vlan-hw-parse", "rx-udp-gro-forwarding",
};

static bool ask(int fd, const char *name, void *what)
{
	struct ifreq request = { .ifr_data = what };

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	return !ioctl(fd, SIOCETHTOOL, &request);
}

static __u32 count_features(int fd, const char *name)
{
	union {
		struct ethtool_sset_info info;
		__u8 room[sizeof(struct ethtool_sset_info) + sizeof(__u32)]; /* and one number */
	} sets = { .info = { .cmd = ETHTOOL_GSSET_INFO, .sset_mask = 1ULL << ETH_SS_FEATURES } };

	return ask(fd, name, &sets) && sets.info.sset_mask && sets.info.data[0] <= FEATURES_MAX ?
		       sets.info.data[0] :
		       0;
}

static bool is_wanted(const char *feature)
{
	for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
		if (!strncmp(features[i], feature, ETH_GSTRING_LEN))
			return true;
	}
	return false;
}

static json_t *offloads_json(int fd, const char *name)
{
	__u32 count = count_features(fd, name), blocks = (count + 31) / 32;
	_cleanup_free_ struct ethtool_gstrings *names =
		calloc(1, sizeof(*names) + (size_t)count * ETH_GSTRING_LEN);
	_cleanup_free_ struct ethtool_gfeatures *state =
		calloc(1, sizeof(*state) + blocks * sizeof(state->features[0]));
	json_t *json = json_object();

	if (!count || !names || !state)
		return json;
	*names = (struct ethtool_gstrings){ ETHTOOL_GSTRINGS, ETH_SS_FEATURES, count };
	*state = (struct ethtool_gfeatures){ ETHTOOL_GFEATURES, blocks };
	if (!ask(fd, name, names) || !ask(fd, name, state))
		return json;
	for (__u32 i = 0; i < count; i++) {
		const char *feature = (const char *)names->data + i * ETH_GSTRING_LEN;
		bool on = state->features[i / 32].active >> i % 32 & 1;

		if (is_wanted(feature))
			json_object_set_new(json, feature, json_boolean(on));
	}
	return json;
}

static json_t *channels_json(int fd, const char *name)
{
	struct ethtool_channels channels = { .cmd = ETHTOOL_GCHANNELS };

	if (!ask(fd, name, &channels))
		return json_null();
	return json_pack("{s:i, s:i, s:i, s:i}", "rx", channels.rx_count, "tx", channels.tx_count,
			 "combined", channels.combined_count, "combined_max",
			 channels.max_combined);
}

static json_t *rings_json(int fd, const char *name)
{
	struct ethtool_ringparam rings = { .cmd = ETHTOOL_GRINGPARAM };

	if (!ask(fd, name, &rings))
		return json_null();
	return json_pack("{s:i, s:i, s:i, s:i}", "rx", rings.rx_pending, "tx", rings.tx_pending,
			 "rx_max", rings.rx_max_pending, "tx_max", rings.tx_max_pending);
}

static json_t *link_json(int fd, const char *name)
{
	struct ethtool_drvinfo driver = { .cmd = ETHTOOL_GDRVINFO };
	char text[2][sizeof(driver.driver)];
	struct ifreq mtu = {}, flags = {};

	snprintf(mtu.ifr_name, sizeof(mtu.ifr_name), "%s", name);
	flags = mtu;
	if (ioctl(fd, SIOCGIFMTU, &mtu) || ioctl(fd, SIOCGIFFLAGS, &flags))
		return NULL; /* it has gone */
	if (!ask(fd, name, &driver))
		strcpy(driver.driver, "-"); /* lo has none */
	name_copy(text[0], driver.driver, sizeof(text[0]));
	name_copy(text[1], driver.version, sizeof(text[1]));
	return json_pack("{s:s, s:s, s:s, s:i, s:b}", "interface", name, "driver", text[0],
			 "driver_version", text[1], "mtu", mtu.ifr_mtu, "up",
			 !!(flags.ifr_flags & IFF_UP));
}

/* @place: NULL: nothing is loaded */
static json_t *netdev_json(int fd, const char *name, const struct attach_place *place)
{
	json_t *json = link_json(fd, name);
	struct attach_info info;
	struct error unused;

	if (!json)
		return NULL;
	json_object_set_new(json, "offloads", offloads_json(fd, name));
	json_object_set_new(json, "channels", channels_json(fd, name));
	json_object_set_new(json, "rings", rings_json(fd, name));
	json_object_set_new(json, "xdp",
			    place && !attach_query(place, name, &info, &unused) && info.prog_id ?
				    attached_json("", name, &info) :
				    json_null());
	return json;
}

json_t *netdevs_json(const struct plane *plane)
{
	_cleanup_fd_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct if_nameindex *all = fd < 0 ? NULL : if_nameindex();
	_cleanup_place_ struct attach_place place = ATTACH_PLACE_INIT;
	json_t *list = json_array();
	struct error unused;
	bool entered = plane && !attach_enter(&place, plane, "", &unused);

	for (unsigned int i = 0; all && all[i].if_index; i++) {
		json_t *netdev = netdev_json(fd, all[i].if_name, entered ? &place : NULL);

		if (netdev)
			json_array_append_new(list, netdev);
	}
	if (all)
		if_freenameindex(all);
	return list;
}

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
#include "dataplane/features.h"

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

static bool is_wanted(const char *feature)
{
	for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
		if (!strcmp(features[i], feature))
			return true;
	}
	return false;
}

static void add_offload(const struct feature *feature, void *json)
{
	if (is_wanted(feature->name))
		json_object_set_new(json, feature->name, json_boolean(feature->on));
}

static json_t *offloads_json(int fd, const char *name)
{
	json_t *json = json_object();

	features_each(fd, name, add_offload, json);
	return json;
}

static json_t *channels_json(int fd, const char *name)
{
	struct queues queues;

	if (queues_read(fd, name, &queues))
		return json_null();
	return json_pack("{s:i, s:i, s:i, s:i}", "rx", queues.rx, "tx", queues.tx, "combined",
			 queues.combined, "combined_max", queues.combined_max);
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

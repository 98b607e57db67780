// SPDX-License-Identifier: GPL-2.0-only
/* Network interfaces, as the kernel tells of them. */
#include "common/device.h"

#include <dirent.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Returns 0, or a negative errno. */
static int ask(unsigned long what, const char *name, struct ifreq *answer)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int err = 0;

	if (fd < 0)
		return -errno;
	snprintf(answer->ifr_name, sizeof(answer->ifr_name), "%s", name);
	if (ioctl(fd, what, answer) < 0)
		err = -errno;
	close(fd);
	return err;
}

/* Returns 0 if the driver does not say. */
static uint32_t channels_of(const char *name)
{
	struct ethtool_channels channels = { .cmd = ETHTOOL_GCHANNELS };
	struct ifreq request = { .ifr_data = (void *)&channels };

	return ask(SIOCETHTOOL, name, &request) ? 0 : channels.rx_count + channels.combined_count;
}

/* /sys may show another network namespace, with an interface of that name: its address tells. */
static bool is_in_sysfs(const char *name)
{
	struct ifreq request = { 0 };
	unsigned char *own = (unsigned char *)request.ifr_hwaddr.sa_data;
	unsigned int shown[6];
	char path[64];
	FILE *file;
	int i, n;

	snprintf(path, sizeof(path), "/sys/class/net/%s/address", name);
	file = fopen(path, "re");
	if (!file)
		return false;
	n = fscanf(file, "%2x:%2x:%2x:%2x:%2x:%2x", &shown[0], &shown[1], &shown[2], &shown[3],
		   &shown[4], &shown[5]);
	fclose(file);
	if (n != 6 || ask(SIOCGIFHWADDR, name, &request))
		return false;
	for (i = 0; i < 6; i++)
		if (own[i] != shown[i])
			return false;
	return true;
}

static uint32_t directories_of(const char *name)
{
	const struct dirent *entry;
	uint32_t count = 0;
	char path[64];
	DIR *dir;

	if (!is_in_sysfs(name))
		return 0;
	snprintf(path, sizeof(path), "/sys/class/net/%s/queues", name);
	dir = opendir(path);
	if (!dir)
		return 0;
	while ((entry = readdir(dir)))
		count += strncmp(entry->d_name, "rx-", 3) == 0;
	closedir(dir);
	return count;
}

void device_look(struct device *device)
{
	struct ifreq request = { 0 };

	/* It may have been renamed, and another may have the name. */
	if (!if_indextoname(device->index, device->name) || ask(SIOCGIFMTU, device->name, &request))
		device->mtu = 0;
	else
		device->mtu = (uint32_t)request.ifr_mtu;
}

int device_find(struct device *device, const char *name)
{
	memset(device, 0, sizeof(*device));
	device->index = if_nametoindex(name);
	if (!device->index)
		return -errno;
	device_look(device);
	if (!device->mtu)
		return -ENODEV;
	device->queues = channels_of(name);
	if (!device->queues)
		device->queues = directories_of(name);
	if (!device->queues)
		device->queues = 1;
	return 0;
}

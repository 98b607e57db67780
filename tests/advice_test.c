// SPDX-License-Identifier: GPL-2.0-only
/*
 * What to run where a driver refuses native XDP.  Drivers and their words are those of Linux 6.1 to
 * 6.18; selftests/47-interfaces.sh and scripts/kernels.d/virtio.sh ask those that are there.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "dataplane/advice.h"

#define GRO_HW                                                                                     \
	"virtio_net: Can't set XDP while host is implementing GRO_HW/CSUM, disable GRO_HW/CSUM "   \
	"first"

static void says(const struct link *link, const struct link *peer, int err, const char *said,
		 const char *wanted)
{
	char text[ADVICE];

	advice_native(link, peer, err, said, text);
	cr_assert(!strcmp(text, wanted), "%s: %s", said, text);
}

Test(advice, a_driver_without_native_xdp_gets_none)
{
	says(&(struct link){ .name = "lo" }, NULL, -EOPNOTSUPP,
	     "Underlying driver does not support XDP in native mode", "");
}

Test(advice, what_joins_packets_is_turned_off)
{
	struct link link = { .name = "eth0", .joins = { .gro_hw = true } };

	says(&link, NULL, -EOPNOTSUPP, GRO_HW, "ethtool -K eth0 rx-gro-hw off");
	link.joins.lro = true;
	says(&link, NULL, -EINVAL, "can't set XDP while LRO is on, disable LRO first",
	     "ethtool -K eth0 lro off rx-gro-hw off");
	says(&link, NULL, -EINVAL, "", "ethtool -K eth0 lro off rx-gro-hw off");
}

Test(advice, what_is_fixed_is_the_hosts)
{
	struct link link = { .name = "eth0", .joins = { .gro_hw = true, .fixed = true } };
	const char *host = "only who runs this machine can: QEMU's ctrl_guest_offloads=on for eth0";

	says(&link, NULL, -EOPNOTSUPP, GRO_HW, host);
	link.joins = (struct joins){}; /* checksums alone */
	says(&link, NULL, -EOPNOTSUPP, GRO_HW, host);
}

Test(advice, a_large_mtu_is_lowered_where_it_is)
{
	const char *virtio = "virtio_net: MTU too large to enable XDP without frags";
	const char *veth = "veth: Peer MTU is too large to set XDP";
	struct link eth = { .name = "eth0", .mtu = 9000 };
	struct link near = { .name = "s0", .kind = "veth", .mtu = 1500 };
	struct link far = { .name = "c0", .kind = "veth", .netns = "client", .mtu = 9000 };

	says(&eth, NULL, -EINVAL, virtio, "ip link set dev eth0 mtu 1500");
	strcpy(eth.netns, "red");
	says(&eth, NULL, -EINVAL, virtio, "ip netns exec red ip link set dev eth0 mtu 1500");
	says(&near, &far, -ERANGE, veth, "ip netns exec client ip link set dev c0 mtu 1500");
	says(&near, NULL, -ERANGE, veth, "its peer's MTU: ip link set dev PEER mtu 1500");
}

Test(advice, a_veth_gets_as_many_queues_as_its_peer)
{
	const char *said = "veth: XDP expects number of rx queues not less than peer tx queues";
	struct link near = { .name = "s0", .kind = "veth", .queues = { .rx = 1, .rx_max = 4 } };
	struct link far = { .name = "c0", .kind = "veth", .netns = "client" };

	far.queues.tx = 4;
	says(&near, &far, -ENOSPC, said, "ethtool -L s0 rx 4");
	far.queues.tx = 8;
	says(&near, &far, -ENOSPC, said,
	     "ethtool -L s0 rx 4; ip netns exec client ethtool -L c0 tx 4");
	says(&near, NULL, -ENOSPC, said, "ethtool -L s0 rx N, at least as many as its peer has tx");
}

Test(advice, a_nic_that_wants_queues_for_itself_gets_fewer)
{
	const char *said = "The Rx/Tx channel count should be at most half the maximum allowed "
			   "channel count to enable XDP";
	struct link link = { .name = "eth0", .queues = { .combined = 8, .combined_max = 8 } };

	says(&link, NULL, -EINVAL, said, "ethtool -L eth0 combined 4");
	link.queues.combined = 4;
	says(&link, NULL, -EINVAL, said, "fewer or combined queues: ethtool -L eth0");
}

Test(advice, a_driver_that_says_nothing_is_guessed_at)
{
	struct link link = { .name = "eth0", .mtu = 9000 };

	says(&link, NULL, -EINVAL, "", "ip link set dev eth0 mtu 1500");
	link.mtu = 1500;
	says(&link, NULL, -EINVAL, "", "dmesg may say why");
}

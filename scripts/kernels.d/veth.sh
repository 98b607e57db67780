#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# shellcheck disable=SC1091 # words are meant to be split; names are used by who sources this
# HTTP/3 transfers survive a rebinding: over veth, with native XDP attached either way.
. "$(dirname "$0")/../../selftests/lib.sh"
. "$(dirname "$0")/http3.bash"

topology_pair
start_h3
transfers "without XDP, transfers survive a rebinding"
steered reuseport

check "ip link attaches the pinned program, native" \
	in_ns server ip link set dev s0 xdpdrv pinned "$BPFFS/xdp"
like "status sees it" "$(cidsteer status 2>&1)" 's0 native XDP'
transfers "with XDP, transfers survive a rebinding"
steered xdp
steered reuseport
check "ip link takes it off" in_ns server ip link set dev s0 xdpdrv off

like "cidsteer attaches it, native" "$(cidsteer attach s0 --mode native 2>&1)" '^s0: attached, native'
transfers "attached by cidsteer, transfers survive a rebinding"
steered xdp
check "cidsteer takes it off" cidsteer detach s0 --force
is "nothing is at the hook" "$(in_ns server ip link show s0 | grep -c xdp)" 0
no_strays
done_testing

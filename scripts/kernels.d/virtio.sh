#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# shellcheck disable=SC1091,SC2016,SC2317 # words are meant to be split; names are used by who sources this
# HTTP/3 transfers survive a rebinding: between two virtio-net NICs, with native XDP; and drivers
# that have none are told apart.
#
#   client                         server
#  .-----------. 10.9.1.0/24      .-----------.
#  | eth0   .2 |----- a hub ------|.1    eth1 |  XDP here
#  '-----------' fd09:1::/64      '-----------'
. "$(dirname "$0")/../../selftests/lib.sh"
. "$(dirname "$0")/http3.bash"

# nic MAC NS: moves the NIC that has this address from process 1's namespace, and prints its name.
nic()
{
	local name

	name=$(nsenter --net=/netns-of-init ip -o link | sed -n "/$1/s/^[0-9]*: \([^:@]*\).*/\1/p")
	[ -n "$name" ] && nsenter --net=/netns-of-init ip link set "$name" netns "$2" &&
		in_ns "$2" ip link set "$name" up && echo "$name"
}

ns_add client server
c0=$(nic 52:54:00:00:00:01 client) || bail "no first NIC"
s0=$(nic 52:54:00:00:00:02 server) || bail "no second NIC"
address client "$c0" 10.9.1.2/24 fd09:1::2/64
address server "$s0" 10.9.1.1/24 fd09:1::1/64
start_h3
like "cidsteer attaches cs_xdp, native" "$(cidsteer attach "$s0" --mode native 2>&1)" \
	"^$s0: attached, native"
transfers "transfers survive a rebinding"
steered xdp
steered reuseport
no_strays
check "cidsteer takes it off" cidsteer detach "$s0" --force
check "ip link attaches the pinned program, native" \
	in_ns server ip link set dev "$s0" xdpdrv pinned "$BPFFS/xdp"
transfers "attached by ip link, transfers survive a rebinding"
check "ip link takes it off" in_ns server ip link set dev "$s0" xdpdrv off

# ---- AF_XDP ---------------------------------------------------------------------------------
# zero_copy: "1" of each UMEM that the driver uses itself, "0" of each that is copied to.
zero_copy()
{
	in_ns server ss --xdp -e | grep -o 'zc:[01]' | sort -u | sed 's/zc://' | xargs
}

has_xsks()
{
	[ "$(cidsteer workers | grep -c " $s0:0\$")" = 4 ]
}

check "cs_xdp is attached again, native" cidsteer attach "$s0" --mode native
check "h3server serves with AF_XDP sockets" start_server --threads --generation 2 --io "xsk:$s0"
check "AF_XDP: 4 workers have the queue" wait_for has_xsks
transfers "AF_XDP: transfers survive a rebinding"
check "AF_XDP: frames went to the sockets" [ "$(counter xdp h3 to_xsk)" -ge 40 ]
is "AF_XDP: and nowhere else" "$(counter xdp h3 not_to_xsk)" 0
no_strays
# virtio-net has all of it since Linux 6.14.
if [ "$(zero_copy)" = "" ]; then
	skip "this kernel does not tell of AF_XDP sockets (xsk_diag)" "AF_XDP: zero copy"
elif printf '6.14\n%s\n' "$(uname -r)" | sort -VC; then
	is "AF_XDP: zero copy" "$(zero_copy)" 1
else
	is "AF_XDP: copies, on this kernel" "$(zero_copy)" 0
fi
check "AF_XDP: XDP comes off" cidsteer detach "$s0" --force
transfers "AF_XDP: without XDP transfers survive a rebinding"
check "h3server serves with UDP sockets again" start_server --generation 3
check "AF_XDP: the others end" wait_for eval '[ "$(cidsteer workers | grep -c "$s0:0")" = 0 ]'

# refuses DEVICE WHAT: it has no native XDP; generic is offered, and taken by auto.
refuses()
{
	local message

	message=$(cidsteer attach "$1" --mode native 2>&1)
	is "$2: native XDP is refused" $? 1
	like "$2: and said so" "$message" "^cidsteer: attach: $1: .*--mode generic"
	is "$2: nothing is at the hook" "$(in_ns server ip link show "$1" | grep -c xdp)" 0
	like "$2: generic XDP is to be had" "$(cidsteer attach "$1" --mode generic 2>&1)" \
		"^$1: attached, generic"
	check "$2: and comes off" cidsteer detach "$1" --force
	like "$2: auto takes generic XDP" "$(cidsteer attach "$1" 2>&1)" "^$1: attached, generic"
	check "$2: and that comes off" cidsteer detach "$1" --force
}

old=$(nic 52:54:00:00:00:03 server) || bail "no third NIC"
refuses "$old" "virtio-net without VIRTIO_F_ANY_LAYOUT"
in_ns server ip link add d0 up type dummy
refuses d0 "a driver that knows no XDP"
check "the MTU can be raised" in_ns server ip link set "$s0" mtu 9000
# The driver hands frames of several buffers to XDP since Linux 6.3.
if printf '6.3\n%s\n' "$(uname -r)" | sort -VC; then
	like "virtio-net with an MTU of 9000: native XDP, which takes several buffers" \
		"$(cidsteer attach "$s0" --mode native 2>&1)" "^$s0: attached, native"
	transfers "virtio-net with an MTU of 9000: transfers survive a rebinding"
	check "virtio-net with an MTU of 9000: it comes off" cidsteer detach "$s0" --force
else
	refuses "$s0" "virtio-net with an MTU of 9000"
	message=$(cidsteer attach "$s0" --mode native 2>&1)
	like "virtio-net with an MTU of 9000: what to run is said" "$message" \
		"MTU too large.*: ip link set dev $s0 mtu 1500; or use --mode generic$"
	message=${message##*: }
	check "virtio-net with an MTU of 9000: that can be done" eval "in_ns server ${message%; or use*}"
	like "virtio-net with an MTU of 9000: and helps" "$(cidsteer attach "$s0" --mode native 2>&1)" \
		"^$s0: attached, native"
	check "virtio-net with an MTU of 9000: it comes off" cidsteer detach "$s0" --force
fi

# ---- what the host joins --------------------------------------------------------------------
# findings: "REASON|ACTION" of no one service.
findings()
{
	cidsteer status --json | "$PYTHON" -c '
import json, sys
for finding in json.load(sys.stdin)["findings"]:
    print(finding["reason"] + "|" + finding["action"])'
}

# joins DEVICE: "on", "off", "on [fixed]"
joins()
{
	in_ns server ethtool -k "$1" | sed -n 's/^rx-gro-hw: //p'
}

if fixed=$(nic 52:54:00:00:00:04 server) && free=$(nic 52:54:00:00:00:05 server) &&
	[ "$(joins "$fixed")" = "on [fixed]" ]; then
	like "hardware GRO that is fixed: native XDP is refused" "$(cidsteer attach "$fixed" --mode native 2>&1)" \
		"^cidsteer: attach: $fixed: the driver refuses native XDP: .*Can't set XDP while host is implementing GRO_HW/CSUM, disable GRO_HW/CSUM first: only who runs this machine can: QEMU's ctrl_guest_offloads=on for $fixed; or use --mode generic$"
	like "hardware GRO that is fixed: auto takes generic" "$(cidsteer attach "$fixed" 2>&1)" \
		"^$fixed: attached, generic, because the driver refuses native XDP: "
	on="rx-gro-hw is on: what the NIC joins, XDP and the group's program decide on once"
	like "hardware GRO that is fixed: status finds it" "$(findings)" \
		"^$fixed: $on\|it is fixed here: who runs this machine can$"
	check "hardware GRO that is fixed: it comes off" cidsteer detach "$fixed" --force

	# As on the other NIC, but for what that lacks: this is what it was told to get.
	is "hardware GRO: it is on" "$(joins "$free")" on
	like "hardware GRO: native XDP is to be had" "$(cidsteer attach "$free" --mode native 2>&1)" "^$free: attached, native"
	is "hardware GRO: nothing is found" "$(findings)" ""
	check "hardware GRO: it comes off" cidsteer detach "$free" --force
	is "hardware GRO: it is on again" "$(joins "$free")" on
	message=$(cidsteer attach "$free" --mode generic 2>&1)
	like "hardware GRO: that generic XDP turns it off is said" "$message" \
		"; the kernel has turned off for that what this turns on again: ethtool -K $free rx-gro-hw on(;|$)"
	is "hardware GRO: and so it is" "$(joins "$free")" off
	check "hardware GRO: what it says to do" in_ns server ethtool -K "$free" rx-gro-hw on
	is "hardware GRO: turns it on" "$(joins "$free")" on
	is "hardware GRO: which status finds" "$(findings)" "$free: $on|ethtool -K $free rx-gro-hw off"
	message=$(findings)
	check "hardware GRO: what that says to do" eval "in_ns server ${message##*|}"
	is "hardware GRO: helps" "$(findings)" ""
	check "hardware GRO: it comes off again" cidsteer detach "$free" --force
else
	skip "this guest has no NIC whose host joins packets" "hardware GRO that is fixed" "hardware GRO"
fi
done_testing

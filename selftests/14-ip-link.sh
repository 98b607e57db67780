#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Attached with ip link and with bpftool, without a daemon; who else is at the hook.
#
#   client                    server
#  .------. 10.9.1.0/24      .------.
#  | c0 .2|------------------|.1 s0 |  XDP here
#  '------' fd09:1::/64      '------'
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

topology_pair
DAEMON_NS=server
configure <<END
service "h3" { listen = {"[::]:443"} }
END

# words: what status says, on one line with single blanks.
words()
{
	cidsteer status | tr -s ' \n' ' '
}
# seen_by_xdp NUMBER: sends so many Initials, and they are counted at XDP.
seen_by_xdp()
{
	local before

	before=$(counter xdp h3 seen)
	send client --to 10.9.1.1:443 --ports 10 --form initial --count "$1" 0102030405060708 >/dev/null
	[ $(($(counter xdp h3 seen) - before)) = "$1" ] || { cidsteer counters; return 1; }
}

# ---- the documented way ---------------------------------------------------------------------
is "cidsteer load" "$(cidsteer load)" "loaded: 1 service, 1 listener, pinned in $BPFFS"
is "again" "$(cidsteer load)" "adopted: 1 service, 1 listener, pinned in $BPFFS"
check "ip link set dev s0 xdpdrv pinned $BPFFS/xdp" \
	in_ns server ip link set dev s0 xdpdrv pinned "$BPFFS/xdp"
like "ip link shows cs_xdp" "$(in_ns server ip link show dev s0)" "prog/xdp id [0-9]+ name cs_xdp"
like "status shows it" "$(words)" "s0 native XDP; \[::\]:443 dual-stack"
check "traffic is counted" seen_by_xdp 100
is "with no worker it is left to the kernel" "$(verdicts xdp h3)" "no_worker=100"
like "attach is satisfied" "$(cidsteer attach s0)" "^s0: attached, native"
check "ip -force replaces it without a gap" \
	in_ns server ip -force link set dev s0 xdpdrv pinned "$BPFFS/xdp"
start_daemon
start_worker a --service h3 --listen '[::]:443'
check "a daemon that comes later uses it" seen_by_xdp 100
is "and routes" "$(verdicts xdp h3)" "by_ring=100 no_worker=100"
like "which is steering" "$(words)" "^h3 steering 1 worker, .* s0 native XDP; "
check "ip link set dev s0 xdpdrv off" in_ns server ip link set dev s0 xdpdrv off
like "is noticed" "$(words)" "^h3 steering 1 worker, .* no XDP attached; "

# ---- by an object file: a second, empty set of maps -----------------------------------------
check "ip link set dev s0 xdp obj cidsteer.bpf.o sec xdp" \
	in_ns server ip link set dev s0 xdp obj "$BUILD/bpf/cidsteer.bpf.o" sec xdp
status=$(cidsteer status)
is "status says degraded, 3" "$?" 3
is "and what to do" "$(tail -n +3 <<<"$status" | tr -s ' \n' ' ')" \
	"- degraded s0 has a cs_xdp over maps of its own, which are empty: loaded with ip link ... obj, or left by an unload ip link set dev s0 xdp off, then cidsteer attach s0 "
output=$(cidsteer attach s0 2>&1)
like "attach does not take it away" "$?: $output" \
	"^1: cidsteer: attach: s0: program [0-9]+ \(cs_xdp\) holds the XDP hook and lets no other in"
check "nothing of it is counted in our maps" eval '! seen_by_xdp 10'
in_ns server ip link set dev s0 xdp off
is "nothing of it is pinned" "$(find /sys/fs/bpf -type f | grep -v "^$BPFFS/" | grep -v debug$)" ""

# ---- bpftool --------------------------------------------------------------------------------
check "bpftool net attach xdpdrv pinned" \
	in_ns server bpftool net attach xdpdrv pinned "$BPFFS/xdp" dev s0
check "counts too" seen_by_xdp 100
like "bpftool net shows it" "$(in_ns server bpftool net show)" "s0\([0-9]+\) driver id [0-9]+"
is "detach takes off what ip or bpftool put there" "$(cidsteer detach s0 --force)" "s0: detached"
is "nothing is left on it" "$(in_ns server ip -d link show s0 | grep -c prog/xdp)" 0
output=$(cidsteer detach s0 --force 2>&1)
is "a second detach" "$?: $output" "1: cidsteer: detach: s0: cidsteer is not attached there"

# ---- generic, and devices that are not there ------------------------------------------------
like "--mode generic" "$(cidsteer attach s0 --mode generic)" "^s0: attached, generic"
check "counts too" seen_by_xdp 100
cidsteer detach s0 --force >/dev/null
output=$(cidsteer attach lo --mode native 2>&1)
is "a driver without native XDP" "$?: $output" \
	"1: cidsteer: attach: lo: the driver refuses native XDP: Underlying driver does not support XDP in native mode: use --mode generic; or lower the MTU, see the kernel's log, or attach to the ports of a bond, bridge or VLAN device"
like "auto falls back" "$(cidsteer attach lo)" "^lo: attached, generic"
cidsteer detach lo --force >/dev/null
output=$(cidsteer attach s9 2>&1)
is "an interface that is not there" "$?: $output" \
	"1: cidsteer: attach: s9: there is no such interface in this network namespace"

# ---- somebody else's program ----------------------------------------------------------------
cat >"$WORK/other.c" <<END
__attribute__((section("xdp"), used)) int other(void *ctx) { return 2; }
char license[] __attribute__((section("license"), used)) = "GPL";
END
if clang -O2 -target bpf -c "$WORK/other.c" -o "$WORK/other.o" 2>"$WORK/clang.log" &&
	in_ns server ip link set dev s0 xdpdrv obj "$WORK/other.o" sec xdp; then
	for command in "attach s0" "detach s0 --force"; do
		output=$(cidsteer $command 2>&1)
		like "$command leaves another's program alone and names it" "$?: $output" \
			"^1: cidsteer: ${command%% *}: s0: .*other"
	done
	like "it is still there" "$(in_ns server ip link show dev s0)" "name other"
	in_ns server ip link set dev s0 xdpdrv off
else
	skip "no other program could be loaded" "attach and detach leave another's program alone"
fi

check "seen is the sum of the verdicts" seen_is_sum xdp
stop_worker a
stop_daemon
is "unload" "$(cidsteer unload)" "unloaded: $BPFFS is gone"
is "nothing is pinned" "$(find /sys/fs/bpf -type f | grep -v debug$)" ""
done_testing

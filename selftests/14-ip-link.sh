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
# Alone at the hook: behind libxdp's dispatcher nothing is moved.
configure <<END
service "h3" { listen = {"[::]:443"} interface = {"s0"} behind_device = "allowed" }
END
in_ns client ethtool -K c0 tx on >/dev/null
attached=$(cidsteer load)
like "it attaches to what the file names" "$attached" $'\n'"s0: attached, native"
is "and says what would be lost, as attach does" "$(tail -1 <<<"$attached")" \
	"note: s0: its peer c0 leaves checksums to offload: what is moved is lost: ip netns exec client ethtool -K c0 tx off"
in_ns client ethtool -K c0 tx off >/dev/null
is "which is so no more when that was done" "$(cidsteer load | grep -c ^note:)" 0
cidsteer detach s0 --force >/dev/null
configure <<END
service "h3" { listen = {"[::]:443"} }
END
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
	"1: cidsteer: attach: lo: the driver refuses native XDP: Underlying driver does not support XDP in native mode: use --mode generic"
like "auto falls back, and says why" "$(cidsteer attach lo)" \
	"^lo: attached, generic, because the driver refuses native XDP: Underlying driver does not support XDP in native mode(; alone: .*)?$"
cidsteer detach lo --force >/dev/null

# over KIND: a device above s1 and s2 is known, and what is below it.
over()
{
	if ! ip -n server link add over type "$1" ${2:+link s1 id 7} 2>/dev/null; then
		skip "the kernel has no $1" "a $1 says what to attach to"
		return
	fi
	if [ -z "${2:-}" ]; then
		for below in s1 s2; do
			ip -n server link set "$below" down || bail "$1"
			ip -n server link set "$below" master over || bail "$1"
		done
	fi
	output=$(cidsteer attach over --mode native 2>&1)
	case $?:$output in
	0:*) pass "a $1 has native XDP" ;;
	*) like "a $1 says what to attach to" "$output" "^cidsteer: attach: over: the driver refuses native XDP: .*: it is a $1: attach to ${2:-s1, s2}; or use --mode generic$" ;;
	esac
	ip -n server link del over
}
veth server s1 client c1
veth server s2 client c2
over bridge
over bond
over vlan s1

# ---- for a while ----------------------------------------------------------------------------
attached()
{
	[ "$(in_ns server ip -d link show s0 | grep -c prog/xdp)" = "$1" ]
}
output=$(cidsteer attach s0 --try 1 </dev/null 2>&1)
is "nobody says that it may stay" "$?: $(tail -1 <<<"$output")" \
	"1: cidsteer: attach: s0: taken off again: nobody pressed Enter in 1 s"
like "it has said so before" "$output" "^s0: taken off again in 1 s, unless you press Enter$"
check "and it is taken off" attached 0
is "somebody does" "$(cidsteer attach s0 --try 60 <<<"" | tail -1)" "s0: stays attached"
check "and it stays" attached 1
like "what was there before is not taken off" "$(cidsteer attach s0 --try 1 </dev/null 2>&1)" "^s0: attached, native"
sleep 1.5
check "it is not" attached 1
cidsteer detach s0 --force >/dev/null
for signal in KILL HUP INT; do
	(exec_in_ns server env --default-signal=INT,HUP "$BUILD/cidsteer" --bpffs "$BPFFS" attach s0 --try 60 >"$WORK/try" 2>&1 </dev/zero) &
	pid=$!
	check "attached for a minute" wait_for grep -q Enter "$WORK/try"
	kill -$signal $pid
	check "the command ends by SIG$signal: it is taken off" wait_for attached 0
	wait $pid 2>/dev/null
done
output=$(cidsteer attach s9 --try 60 2>&1)
is "what cannot be attached is said at once" "$?: $output" \
	"1: cidsteer: attach: s9: there is no such interface in this network namespace"
for words in 0 3601 1x ""; do
	output=$(cidsteer attach s0 --try "$words" 2>&1)
	is "--try '$words'" "$?: $(head -1 <<<"$output")" "2: cidsteer: attach: --try $words: not 1 to 3600 seconds"
done
output=$(cidsteer attach s9 2>&1)
is "an interface that is not there" "$?: $output" \
	"1: cidsteer: attach: s9: there is no such interface in this network namespace"

# ---- somebody else's program ----------------------------------------------------------------
cat >"$WORK/other.c" <<END
__attribute__((section("xdp"), used)) int other(void *ctx) { return 2; }
char _license[] __attribute__((section("license"), used)) = "GPL";
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

#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Beside others.
# Another version of the daemon replaces the programs at both hooks under traffic, over the same
# maps, and back again; one with another layout does not.
#
#   client                    server
#  .------. 10.9.1.0/24      .------.
#  | c0 .2|------------------|.1 s0 |  XDP here
#  '------' fd09:1::/64      '------'
#
# What is asked of it by make: build/edition, whose programs have another tag and whose daemon can
# be stopped between the hooks.

# shellcheck disable=SC2317 # functions that check and wait_for call
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=traffic.bash
. "$(dirname "$0")/traffic.bash"

FIRST=$BUILD
SECOND=$BUILD/edition
[ -x "$SECOND/cidsteerd" ] || bail "$SECOND/cidsteerd is not built: make edition"

topology_pair
lossless client c0
DAEMON_NS=server
configure <<END
service "h3" { listen = {"[::]:443"} }
service "two" { listen = {"0.0.0.0:444", "0.0.0.0:445"} }
END

# tag_of KIND SPEC...: of a program, as the kernel names its instructions.
tag_of()
{
	bpftool -j prog show "$@" | sed -n 's/.*"tag":"\([0-9a-f]*\)".*/\1/p'
}

xdp_tag()
{
	tag_of id "$(in_ns server ip -j link show dev s0 | sed -n 's/.*"prog":{"id":\([0-9]*\).*/\1/p')"
}

# instance_tags: of the programs in the slots of cs_listeners, each once.
instance_tags()
{
	local id

	bpftool -j map dump pinned "$BPFFS/cs_listeners" | "$PYTHON" -c 'import json, sys
for entry in json.load(sys.stdin):
    value = entry["value"]
    if isinstance(value, list):
        print(int.from_bytes(bytes(int(byte, 16) for byte in value), "little"))' |
		while read -r id; do tag_of id "$id"; done | sort -u | xargs
}

# edition BUILD: another daemon takes over.
edition()
{
	stop_daemon KILL
	BUILD=$1 start_daemon
}

# held BUILD [POINT]: the same, stopped; by default where the listeners have the new programs and XDP
# has the old.
held()
{
	stop_daemon KILL
	(
		export CIDSTEER_STOP_AT=${2:-between the hooks}
		exec_in_ns server "$1/cidsteerd" --config "$CONFIG" --control "$CONTROL" --bpffs "$BPFFS" \
			>>"$DAEMON_LOG" 2>&1
	) &
	DAEMON_PID=$!
	wait_for is_stopped "$DAEMON_PID"
}

is_stopped()
{
	[ "$(awk '{ print $3 }' "/proc/$1/stat")" = T ]
}

check "the daemon starts" start_daemon
check "XDP is attached" in_ns server ip link set dev s0 xdpdrv pinned "$BPFFS/xdp"
start_worker a --service h3 --listen '[::]:443'
start_worker b --service h3 --listen '[::]:443'
ids="$(ask a random 4) $(ask b random 4)"
ids=${ids//cids /}

xdp_1=$(xdp_tag)
instance_1=$(instance_tags)
is "all listeners have one program" "$(wc -w <<<"$instance_1")" 1
edition "$FIRST"
is "a daemon of the same version replaces nothing" "$(xdp_tag) $(instance_tags)" \
	"$xdp_1 $instance_1"
check "and does not say that it has" eval '! grep -q replaced "$DAEMON_LOG"'

under_traffic "another version takes over" edition "$SECOND"
xdp_2=$(xdp_tag)
instance_2=$(instance_tags)
check "it says so" logged "the programs of another version were replaced"
check "of the interface too" logged "s0: program replaced"
check "XDP runs another program ($xdp_1, $xdp_2)" test "$xdp_2" != "$xdp_1"
check "so does each listener" test "$instance_2" != "$instance_1" -a "$(wc -w <<<"$instance_2")" = 1
is "what is pinned is what runs" "$(tag_of pinned "$BPFFS/xdp")" "$xdp_2"

under_traffic "the first version comes back" edition "$FIRST"
is "XDP has its program again" "$(xdp_tag)" "$xdp_1"
is "each listener too" "$(instance_tags)" "$instance_1"

under_traffic "a version is held between the hooks" held "$SECOND"
is "the listeners have its program" "$(instance_tags)" "$instance_2"
is "XDP has the other's" "$(xdp_tag)" "$xdp_1"
under_traffic "it goes on" eval 'kill -CONT $DAEMON_PID && logged "s0: program replaced"'
is "XDP has its program, too" "$(xdp_tag)" "$xdp_2"

under_traffic "killed between the hooks, it is replaced by the first" eval \
	'edition "$FIRST" && held "$SECOND" && edition "$FIRST"'
is "whose programs are at both" "$(xdp_tag) $(instance_tags)" "$xdp_1 $instance_1"
is "no pin is left over" "$(find "$BPFFS" -name '*_new')" ""
instances=$(bpftool -j map dump pinned "$BPFFS/cs_listeners")
check "it starts once more" edition "$FIRST"
is "and replaces nothing" "$(bpftool -j map dump pinned "$BPFFS/cs_listeners")" "$instances"

# ---- two at once, after one that was killed ---------------------------------------------------
held "$SECOND" "stale socket"
before=$(wc -l <"$DAEMON_LOG")
is "of two daemons that find a stale socket one is refused" \
	"$(timeout 20 "$FIRST/cidsteerd" --config "$CONFIG" --control "$CONTROL" --bpffs "$BPFFS" 2>&1)" \
	"cidsteerd: $CONTROL: another daemon listens there"
kill -CONT "$DAEMON_PID"
check "the other listens" wait_for cidsteer reload
check "and the workers come back to it" wait_for eval \
	'[ $(tail -n +$((before + 1)) "$DAEMON_LOG" | grep -c "worker .* is back") = 2 ]'
edition "$FIRST"

# ---- another layout -------------------------------------------------------------------------
stop_daemon
# cs_abi: magic, layout, 16 cookies.
bytes=$(bpftool -j map lookup pinned "$BPFFS/cs_abi" key 0 0 0 0 |
	"$PYTHON" -c 'import json, sys
value = json.load(sys.stdin)["value"]
value[4:8] = ["0x63", "0x00", "0x00", "0x00"]
print(*[int(byte, 16) for byte in value])')
# shellcheck disable=SC2086 # numbers
bpftool map update pinned "$BPFFS/cs_abi" key 0 0 0 0 value $bytes
start_daemon
like "pins of another layout are refused in one line" "$(tail -1 "$DAEMON_LOG")" \
	"^cidsteerd: $BPFFS has pins of layout 99, this is layout [0-9]*: stop the servers, then .*"
reset a b
# shellcheck disable=SC2086 # IDs
send client --to 10.9.1.1:443 --ports 10 --count 50 $ids >/dev/null
arrived 400 a b
is "and the old version goes on" "$(($(count a own) + $(count b own)))" 400
is "with its programs" "$(xdp_tag) $(instance_tags)" "$xdp_1 $instance_1"
done_testing

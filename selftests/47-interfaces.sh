#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# How interfaces are set up wrong: what attach and status say, and that doing what they say helps.
#
#   client                    server
#  .------. 10.9.1.0/24      .------.
#  | c0 .2|------------------|.1 s0 |  XDP here
#  '------' fd09:1::/64      '------'
# shellcheck disable=SC2317 # functions that check and wait_for call
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

topology_pair
DAEMON_NS=server

# said COMMAND...: exit code and what it prints.
said()
{
	local output

	output=$("$@" 2>&1)
	echo "$?: $output"
}

# here COMMANDS: as somebody at the server would type them.
here()
{
	PATH=$BUILD:$PATH CIDSTEER_BPFFS=$BPFFS in_ns server bash -c "$1"
}

# findings [JSON KEY...]: "WORD|REASON|ACTION" of no one service.
findings()
{
	cidsteer status --json | "$PYTHON" -c '
import json, sys
for finding in json.load(sys.stdin)["findings"]:
    print(finding["word"], finding["reason"], finding["action"], sep="|")'
}

# mode INTERFACE: of what is attached there.
mode()
{
	cidsteer status --json | "$PYTHON" -c '
import json, sys
print(*(i["mode"] for i in json.load(sys.stdin)["interfaces"] if i["interface"] == sys.argv[1] and i["state"] == "attached"))' "$1"
}

configure <<END
service "h3" { listen = {"[::]:443"} }
END
check "the daemon starts" start_daemon
start_worker a --service h3 --listen '[::]:443'

# ---- the mode, and why ----------------------------------------------------------------------
like "native is what auto takes" "$(cidsteer attach s0)" "^s0: attached, native, because the driver has it(; alone: .*)?$"
cidsteer detach s0 --force >/dev/null
like "native is asked for" "$(cidsteer attach s0 --mode native)" "^s0: attached, native, because that was asked for(; alone: .*)?$"
cidsteer detach s0 --force >/dev/null
like "generic is asked for" "$(cidsteer attach s0 --mode generic)" "^s0: attached, generic, because that was asked for(; alone: .*)?$"
cidsteer detach s0 --force >/dev/null

# ---- too few queues for native XDP ----------------------------------------------------------
# queues RX TX: a veth q0 that can have so many queues to receive by and has one, whose other end
# sends by TX.
queues()
{
	ip link add q0 netns server numrxqueues "$1" type veth peer name q1 netns client numtxqueues "$2" &&
		in_ns server ethtool -L q0 rx 1 && in_ns client ethtool -L q1 tx "$2" && ip -n server link set q0 up && ip -n client link set q1 up ||
		bail "a veth with $1 and $2 queues"
}
refusal="the driver refuses native XDP: veth: XDP expects number of rx queues not less than peer tx queues"
queues 4 4
is "a veth with fewer queues than its peer" "$(said cidsteer attach q0 --mode native)" \
	"1: cidsteer: attach: q0: $refusal: ethtool -L q0 rx 4; or use --mode generic"
output=$(cidsteer attach q0)
like "auto takes generic XDP, and says what would help" "$output" \
	"^q0: attached, generic, because $refusal: ethtool -L q0 rx 4, then detach it and attach again(; alone: .*)?$"
check "what it says to do" here "ethtool -L q0 rx 4; cidsteer detach q0 --force; cidsteer attach q0"
is "helps" "$(mode q0)" native
cidsteer detach q0 --force >/dev/null
ip -n server link del q0
queues 2 4
is "and that cannot have as many" "$(said cidsteer attach q0 --mode native)" \
	"1: cidsteer: attach: q0: $refusal: ethtool -L q0 rx 2; ip netns exec client ethtool -L q1 tx 2; or use --mode generic"
check "what it says to do" here "ethtool -L q0 rx 2; ip netns exec client ethtool -L q1 tx 2"
like "helps" "$(cidsteer attach q0 --mode native)" "^q0: attached, native"
ip -n server link del q0

# ---- a device above, which has a program ----------------------------------------------------
veth server p1 client p2
if ip -n server link add over type bridge 2>/dev/null; then
	ip -n server link set p1 master over && ip -n server link set over up || bail "a bridge"
	cidsteer attach over >/dev/null
	like "the device above has XDP" "$(said cidsteer attach p1)" \
		"^1: cidsteer: attach: p1: program [0-9]+ \(cs_xdp\) is at over, which is above it: cidsteer detach over --force$"
	advice=$(cidsteer attach p1 2>&1)
	check "what it says to do" here "${advice##*: }"
	check "helps" cidsteer attach p1 --mode native
	cidsteer detach p1 --force >/dev/null
	ip -n server link del over
else
	skip "the kernel has no bridge" "a device above has XDP"
fi
ip -n server link del p1
done_testing

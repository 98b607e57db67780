#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Beside others.
# XDP sends a worker's packets through a veth into the network namespace that the worker is in.
#
#   client                    server                    box
#  .------. 10.9.1.0/24      .------.                  .----------------------.
#  | c0 .2|------------------|.1 s0 |  XDP here        |                      |
#  '------' fd09:1::/64      |    b0|------------------|b1 10.9.7.1 fd09:7::1 |  workers
#                            '------'                  '----------------------'
#
# 10.9.7.1 and fd09:7::1 are addresses of box alone; 10.9.1.1 is one of server and of box.
# shellcheck disable=SC2317 # functions that check and wait_for call
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

topology_pair
ns_add box lonely
veth server b0 box b1
address box b1 10.9.7.1/32 fd09:7::1/128 10.9.1.1/32
address lonely lo 10.9.7.1/32 fd09:7::1/128
ip -n client route add 10.9.7.1 via 10.9.1.1
ip -n client -6 route add fd09:7::1 via fd09:1::1
in_ns client ethtool -K c0 tx off >/dev/null
in_ns box ethtool -K b1 gro on >/dev/null
DAEMON_NS=server
N=2000
alone='service "alone" { behind_device = "allowed" interface = {"s0"}
	listen = {"10.9.7.1:443", "[fd09:7::1]:443"} }'
mixed='service "mixed" { behind_device = "allowed" listen = {"10.9.1.1:444"} interface = {"s0"} }'
alone_at=(--service alone --listen 10.9.7.1:443 --listen '[fd09:7::1]:443')
mixed_at=(--service mixed --listen 10.9.1.1:444)

# The daemon has no more than its unit gives it.
mkdir "$WORK/bin"
cat >"$WORK/bin/cidsteerd" <<END
#!/bin/bash
exec setpriv --no-new-privs --bounding-set=-all,+bpf,+net_admin,+perfmon "$BUILD/cidsteerd" "\$@"
END
chmod +x "$WORK/bin/cidsteerd"
daemon()
{
	BUILD=$WORK/bin start_daemon "$@"
}

# with CLAIM: standard input is the configuration from now on.
with()
{
	configure
	check "$1" cidsteer reload --control "$CONTROL"
}

# boxed NAME ARGUMENTS...: a worker in box, or in $NETNS.
boxed()
{
	DAEMON_NS=${NETNS:-box} start_worker "$@"
}

# devices: "DEVICE:workers:sent ..." of status.
devices()
{
	cidsteer status --json | "$PYTHON" -c '
import json, sys
print(*("{device}:{workers}:{sent}".format(**d) for d in json.load(sys.stdin)["devices"]))'
}
devices_are()
{
	[ "$(devices)" = "$1" ]
}

# behind NAME: the device that `cidsteer workers` has for a worker.
behind()
{
	cidsteer workers --json | "$PYTHON" -c '
import json, sys
print(*(w["device"] or "-" for w in json.load(sys.stdin)["workers"] if w["pid"] == int(sys.argv[1])))' \
		"${worker_pid[$1]}"
}

# mac_of NAME: that cs_targets has for a worker.
mac_of()
{
	local id

	id=$(cidsteer workers | awk -v pid="${worker_pid[$1]}" '$4 == pid { print $1 }')
	bpftool -j map lookup pinned "$BPFFS/cs_targets" key "$id" 0 0 0 | "$PYTHON" -c '
import json, sys
print(*(byte[2:] for byte in json.load(sys.stdin)["value"][8:14]), sep=":")'
}

# findings: "REASON|ACTION" of no one service.
findings()
{
	cidsteer status --json | "$PYTHON" -c '
import json, sys
for finding in json.load(sys.stdin)["findings"]:
    print(finding["reason"] + "|" + finding["action"])'
}

# slots: those of cs_devs that are not empty.
slots()
{
	bpftool -j map dump pinned "$BPFFS/cs_devs" | "$PYTHON" -c '
import json, sys
print(sum(isinstance(e.get("value"), list) for e in json.load(sys.stdin)))'
}
slots_are()
{
	[ "$(slots)" = "$1" ]
}

# received: packets that came out of b1.
received()
{
	ip -n box -s -j link show b1 | "$PYTHON" -c '
import json, sys
print(json.load(sys.stdin)[0]["stats64"]["rx"]["packets"])'
}

# delivered NS: datagrams that the stack of a namespace had for its sockets, IPv4.
delivered()
{
	in_ns "$1" awk '/^Udp: [0-9]/ { print $2 }' /proc/net/snmp
}

# to ADDR:PORT ARGUMENTS...
to()
{
	local where=$1
	shift
	send client --to "$where" "$@"
}

# cids NAME: an ID that a worker has issued.
cids()
{
	local ids

	ids=$(ask "$1" random 1)
	echo "${ids#cids }"
}

# leased: the daemon has begun to renew it, five seconds after its start.
leased()
{
	wait_for eval '[ "$(cidsteer status --json | "$PYTHON" -c "
import json, sys
print(json.load(sys.stdin)[\"lease_seconds\"])")" != 0 ]'
}

# noted NAME: counter of service alone at XDP.
noted()
{
	counter xdp alone "$1"
}

# goes CLAIM: 100 packets are sent to the device, and are worker a's.
goes()
{
	local was

	was=$(noted to_device)
	reset a
	to 10.9.7.1:443 --count 100 "$id_a" >/dev/null
	arrived 100 a
	is "$1" "$(count a own) $(($(noted to_device) - was))" "100 100"
}

# ---- who may --------------------------------------------------------------------------------
printf '%s\n' "${alone/allowed/never}" "$mixed" >"$CONFIG"
check "the daemon starts, with three capabilities" daemon
boxed a "${alone_at[@]}"
is "a worker in another namespace is refused" "$answer" \
	"refused EINVAL a socket is in another network namespace than the daemon"
configure <<<"${alone/allowed/always}"
is "no such word" "$(cidsteer reload --control "$CONTROL" 2>&1)" \
	"cidsteer: reload: $CONFIG:1: behind_device = \"always\": not \"never\" or \"allowed\""
with "unless that is allowed" <<<"$alone
$mixed"
no_way="no veth leads from the service's network namespace to that of the socket: behind_device is for those that one leads to"
NETNS=lonely boxed a "${alone_at[@]}"
is "no veth leads there" "$answer" "refused EINVAL $no_way"
ip -n server link set b0 down
boxed a "${alone_at[@]}"
is "its veth is down" "$answer" "refused EINVAL b0 or its other end, b1, is down: ip link set up"
ip -n server link set b0 up
veth server d0 box d1
veth lonely d2 box d3
ip -n box address del 10.9.7.1/32 dev b1
address box lo 10.9.7.1/32
boxed a "${alone_at[@]}"
like "several lead there" "$answer" \
	"^refused EINVAL 2 veths lead to the socket's network namespace, (b0 and d0|d0 and b0) among them: the service's address, 10.9.7.1:443, has to be at the other end of one of them$"
ip -n box address del 10.9.7.1/32 dev lo
address box b1 10.9.7.1/32
is "nothing is left of them" "$(cidsteer workers --json | grep -c '"pid"') $(slots)" "0 0"

check "worker a registers" boxed a "${alone_at[@]}"
is "its veth has the address, of two" "$(behind a)" b0
ip -n server link del d0
ip -n lonely link del d2
id_a=$(cids a)
like "workers says so" "$(cidsteer workers)" " +- +b0 +-$"
is "and status" "$(devices) $(slots)" "b0:1:0 1"

# ---- sent -----------------------------------------------------------------------------------
lease_over="nothing is sent to devices: the lease that the daemon renews has run out"
check "the daemon has a lease" leased
was=$(received)
passed=$(delivered server)
begin=$(noted to_device)
reset a
to 10.9.7.1:443 --count $N "$id_a" >/dev/null
check "all packets arrive in box" arrived $N a
is "at the worker that has issued the ID" "$(count a own) $(count a foreign)" "$N 0"
is "XDP sent them" "$(($(noted to_device) - begin))" "$N"
check "through b1" test $(($(received) - was)) -ge $N
is "and past the stack of server" "$(($(delivered server) - passed))" 0
to "[fd09:7::1]:443" --count $N "$id_a" >/dev/null
check "IPv6 too" arrived $((2 * N)) a
is "status counts them" "$(devices)" "b0:1:$((2 * N + begin))"
like "and says so" "$(cidsteer status)" "device b0: packets of 1 worker are sent there, 4,000 so far"
packet=$(to 10.9.7.1:443 --print "$id_a")
like "explain says it" "$(cidsteer explain --hex "$packet")" \
	"XDP sends it to the device b0, if it is not too large for that, sk_reuseport picks the socket of worker"
like "in JSON too" "$(cidsteer explain --json --hex "$packet" | tr -d ' \n')" '"xdp":"send".*"device":"b0"'

# ---- what is not sent -----------------------------------------------------------------------
ip -n server link set b0 mtu 1300
large=$(noted too_large)
reset a
to 10.9.7.1:443 --count 50 --size 1400 "$id_a" >/dev/null
to 10.9.7.1:443 --count 50 --size 1272 "$id_a" >/dev/null
check "what the device takes arrives" arrived 50 a
is "what is larger passes, counted" "$(($(noted too_large) - large))" 50
ip -n server link set b0 mtu 1500
goes "as before"

ip -n box link set b1 mtu 1300
reset a
to 10.9.7.1:443 --count 50 --size 1400 "$id_a" >/dev/null
to 10.9.7.1:443 --count 50 --size 1200 "$id_a" >/dev/null
check "the smaller MTU of the other end" arrived 50 a
is "is found" "$(findings)" \
	"b0: its other end, b1, takes packets of up to 1300 bytes only: larger ones are lost|nsenter -t ${worker_pid[a]} -n ip link set b1 mtu 1500"
advice=$(findings)
check "what it says to do" eval "${advice#*|}"
goes "helps"

# ---- how the other end is set ---------------------------------------------------------------
is "status finds nothing" "$(findings)" ""
in_ns box ethtool -K b1 gro off >/dev/null
reset a
to 10.9.7.1:443 --count 200 "$id_a" >/dev/null
sleep 0.5
is "without GRO, or XDP, the other end takes nothing" "$(count a)" 0
gro="b0: its other end, b1, has neither GRO nor XDP: what XDP sends there is lost"
is "status says so" "$(findings)" "$gro|nsenter -t ${worker_pid[a]} -n ethtool -K b1 gro on"
advice=$(findings)
check "what it says to do" eval "${advice#*|}"
is "helps" "$(findings)" ""
reset a
to 10.9.7.1:443 --count 200 "$id_a" >/dev/null
check "all arrive" arrived 200 a
in_ns client ethtool -K c0 tx on >/dev/null
is "what the sender leaves to offload" "$(findings)" \
	"s0: its peer c0 leaves checksums to offload: what is moved is lost|ip netns exec client ethtool -K c0 tx off"
advice=$(findings)
check "what it says to do" eval "${advice#*|}"
goes "helps, too"
in_ns box ethtool -K b1 gro off >/dev/null
check "a program of its own" in_ns box ip link set dev b1 xdpdrv obj "$BUILD/bpf/cidsteer.bpf.o" sec xdp
is "is as good as GRO" "$(findings)" ""
goes "which takes them"
ip -n box link set b1 xdpdrv off
check "generic XDP needs neither" eval 'cidsteer detach s0 --force && cidsteer attach s0 --mode generic --alone'
is "so that nothing is found" "$(findings)" ""
goes "and packets arrive"
cidsteer detach s0 --force >/dev/null
none="workers are behind b0, and no interface has XDP that sends to it"
is "no XDP is found" "$(findings)" "$none|cidsteer attach INTERFACE"
in_ns box ethtool -K b1 gro on
like "as before" "$(cidsteer attach s0 --mode native --alone)" \
	"s0: attached, native, because that was asked for; alone: no other XDP program can share this hook, because behind libxdp's dispatcher"
goes "with native XDP"
cidsteer detach s0 --force >/dev/null
check "as the command does it" cidsteer attach s0
if [[ $(cidsteer status --json | tr -d ' \n') = *'"dispatcher":true'* ]]; then
	is "libxdp's dispatcher is found" "$(findings)" \
		"s0: behind libxdp's dispatcher nothing is moved to a CPU or sent to a device|cidsteer detach s0 --force; cidsteer attach s0 --alone"
	advice=$(findings)
	check "what it says to do" eval "${advice#*|}"
else
	skip "this kernel does not let it be loaded" "libxdp's dispatcher is found"
fi
goes "with native XDP again"

# ---- a mixed group --------------------------------------------------------------------------
check "on the host" start_worker h "${mixed_at[@]}"
check "on a CPU of the host" start_worker c "${mixed_at[@]}" --cpu $(($(nproc) - 1))
check "behind a device" boxed b "${mixed_at[@]}" --cpu 0
is "a CPU is nothing for who is behind a device" "$(behind b) $(cidsteer workers --json | "$PYTHON" -c '
import json, sys
print(*(w["cpu"] for w in json.load(sys.stdin)["workers"] if w["device"] and w["service"] == "mixed"))')" "b0 None"
is "two services share a device, and its slot" "$(slots)" 1
for name in h c b; do
	id=$(cids "$name")
	in_ns client taskset -c 0 "$TOOLS/send" --to 10.9.1.1:444 --count $N "$id" >/dev/null
done
check "all arrive" arrived $((3 * N)) h c b
is "each has its own" "$(count h own) $(count c own) $(count b own)" "$N $N $N"
is "of b those went through the device" "$(counter xdp mixed to_device)" $N
[ "$(nproc)" = 1 ] || is "of c those to its CPU" "$(counter xdp mixed to_cpu)" $N
mapfile -t strangers < <(for i in $(seq 300); do printf '%016x\n' $((i * 7919))$i; done)
reset h c b
to 10.9.1.1:444 --count 1 --form initial --size 1200 "${strangers[@]}" >/dev/null
check "300 new connections" arrived 300 h c b
check "each has some of them" test "$(count h)" -gt 0 -a "$(count c)" -gt 0 -a "$(count b)" -gt 0
kill_worker b
check "b dies" wait_for eval '[ "$(cidsteer workers --json | grep -c "\"mixed\"")" = 2 ]'
is "a keeps the device" "$(devices | cut -d: -f1,2) $(slots)" "b0:1 1"
reset h c
to 10.9.1.1:444 --count 1 --form initial --size 1200 "${strangers[@]}" >/dev/null
check "what it would have got is the others'" arrived 300 h c
stop_worker h
stop_worker c

# ---- a device that changes ------------------------------------------------------------------
ip -n box link set b1 address 02:00:00:00:77:01
check "another MAC is followed" wait_for eval '[ "$(mac_of a)" = 02:00:00:00:77:01 ]'
goes "packets have it"
ip -n server link set b0 down
check "down, it is taken out" wait_for slots_are 0
check "the daemon says so" logged "^cidsteerd: b0, behind which 1 worker is, is gone or down: their packets go to the stack"
was=$(noted not_to_device)
to 10.9.7.1:443 --count 10 "$id_a" >/dev/null
is "packets pass" "$(($(noted not_to_device) - was))" 10
like "status says so" "$(findings)" \
	"^the device that worker [0-9]+ \(alone, pid ${worker_pid[a]}\) is behind is gone or down: its packets go to the stack\|"
is "workers too" "$(behind a)" "?"
ip -n server link set b0 up
check "up, it is there again" wait_for slots_are 1
goes "and gets packets"
ip -n server link del b0
check "gone, it is taken out" wait_for slots_are 0
veth server b9 box b1
address box b1 10.9.7.1/32 fd09:7::1/128
in_ns box ethtool -K b1 gro on >/dev/null
check "another that leads there takes its place" wait_for slots_are 1
is "and has its name" "$(behind a)" b9
goes "and gets packets"

# ---- daemons --------------------------------------------------------------------------------
stop_daemon KILL
goes "without a daemon packets are sent, for as long as the lease"
lease -1
was=$(noted not_to_device)
to 10.9.7.1:443 --count 10 "$id_a" >/dev/null
is "past it they pass" "$(($(noted not_to_device) - was))" 10
is "explain says so" "$(cidsteer explain --hex "$packet" | grep -o 'XDP passes')" "XDP passes"
like "status too" "$(findings)" "^$lease_over\|"
# in_slot: the interface in the only slot.
in_slot()
{
	bpftool -j map lookup pinned "$BPFFS/cs_devs" key 0 0 0 0 2>/dev/null | "$PYTHON" -c '
import json, sys
value = (json.load(sys.stdin) or {}).get("value")
print(int.from_bytes(bytes(int(b, 16) for b in value), "little") if isinstance(value, list) else "none")'
}
index_of()
{
	ip -n server -j link show "$1" | "$PYTHON" -c 'import json, sys; print(json.load(sys.stdin)[0]["ifindex"])'
}
is "the device is in its slot" "$(in_slot)" "$(index_of b9)"
# shellcheck disable=SC2046 # words
in_ns server bpftool map update pinned "$BPFFS/cs_devs" key 0 0 0 0 value $(printf '%d %d 0 0' $(($(index_of s0) % 256)) $(($(index_of s0) / 256)))
is "somebody puts another there" "$(in_slot)" "$(index_of s0)"
check "a new daemon" daemon
check "takes that out" test "$(in_slot)" != "$(index_of s0)"
check "and puts its own in" wait_for eval '[ "$(in_slot)" = "$(index_of b9)" ]'
is "knows the device" "$(behind a) $(slots)" "b9 1"
check "a comes back" logged "worker [0-9]+ is back"
check "there is a lease" leased
goes "and its packets arrive"

# ---- its end --------------------------------------------------------------------------------
stop_daemon KILL
ip -n server link del b9
veth server b7 box b1
address box b1 10.9.7.1/32 fd09:7::1/128
in_ns box ethtool -K b1 gro on >/dev/null
is "a device that goes while no daemon runs is in no slot" "$(slots)" 0
check "the next daemon" daemon
check "finds another when the worker comes back" wait_for slots_are 1
check "there is a lease" leased
is "that leads there" "$(behind a)" b7
goes "and gets packets"
stop_daemon KILL
kill_worker a
check "the last daemon" daemon
check "leaves no slot of who died meanwhile" wait_for slots_are 0
is "status has no device" "$(devices)" ""
check "seen is the sum" seen_is_sum xdp

# ---- a service in a namespace of its own ----------------------------------------------------
stop_daemon
check "all is taken away" eval 'cidsteer detach s0 && cidsteer unload'
# The interface is named first by a service whose workers are here: it is one program for both.
configure <<<"service \"first\" { netns = \"server\" listen = {\"10.9.1.1:447\"} interface = {\"s0\"} }
${alone/interface/netns = \"server\" interface}"
DAEMON_NS=-
check "a daemon in another namespace than the service" start_daemon
check "attaches alone, for those behind devices" \
	logged "server: s0: attached, .* because behind libxdp's dispatcher nothing is sent"
check "a worker behind a device of the service's" boxed a "${alone_at[@]}"
id_a=$(cids a)
is "has it" "$(behind a) $(slots)" "b7 1"
check "there is a lease" leased
goes "and gets packets"
ip -n server link set b7 down
check "down, it is taken out" wait_for slots_are 0
ip -n server link set b7 up
check "up, it is there again" wait_for slots_are 1
goes "and gets packets"
done_testing

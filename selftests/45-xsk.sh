#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Beside others.
# XDP hands a worker's packets to its AF_XDP socket of the queue that they came in on.
#
#   client                    server
#  .------. 10.9.1.0/24      .------.
#  | c0 .2|------------------|.1 s0 |  XDP here; 4 queues
#  |      | fd09:1::/64      |      |
#  | c1 .2|------------------|.1 s1 |  and here; 2 queues
#  '------' 10.9.2.0/24      '------'
# shellcheck disable=SC2317 # functions that check and wait_for call
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=traffic.bash
. "$(dirname "$0")/traffic.bash"

VETH_QUEUES=4 topology_pair
VETH_QUEUES=2 veth client c1 server s1
address client c1 10.9.2.2/24
address server s1 10.9.2.1/24
in_ns client ethtool -K c0 tx off >/dev/null
DAEMON_NS=server
N=400
h3='service "h3" { listen = {"[::]:443"} interface = {"s0", "s1"} }'
h3_at=(--service h3 --listen '[::]:443' --serve)
declare -A id # that a worker has issued

# with CLAIM: standard input is the configuration from now on.
with()
{
	configure
	check "$1" cidsteer reload --control "$CONTROL"
}

# queue N...: the client sends to these queues of s0, each packet to that of its flow.  A veth's packet
# comes in on the queue that it went out on, which XPS names.
queue()
{
	# shellcheck disable=SC2016 # for the other shell, which has the client's /sys
	ip netns exec client bash -c '
		all=$(sed -n "s/^Cpus_allowed:[[:space:]]*//p" /proc/self/status)
		for queue in /sys/class/net/c0/queues/tx-*/xps_cpus; do
			echo 0 >"$queue"
		done
		for queue; do
			echo "$all" >"/sys/class/net/c0/queues/tx-$queue/xps_cpus"
		done' - "$@" || bail "XPS"
}

# index NS DEV: of an interface.
index()
{
	ip -n "$1" -o link show "$2" | cut -d: -f1
}

# worker NAME ARGUMENTS...: starts one of h3, which issues an ID.
worker()
{
	local name=$1
	shift
	start_worker "$name" "${h3_at[@]}" "$@" || return
	issue "$name"
}

# issue NAME: another ID, of the handle that the worker uses now.
issue()
{
	id[$1]=$(ask "$1" random 1)
	id[$1]=${id[$1]#cids }
}

# noted NAME: counter of service h3 at XDP.
noted()
{
	counter xdp h3 "$1"
}

# slots: how many have a socket.
slots()
{
	"$TOOLS/slots" "$BPFFS/cs_xsks" | wc -w
}
slots_are()
{
	[ "$(slots)" = "$1" ]
}

# got NAME: "own=N udp=N xsk=N odd=N xsks=N,..." of a worker.
got()
{
	ask "$1" count | tr ' ' '\n' | grep -E '^(own|udp|xsk|odd|xsks)=' | xargs
}

# goes CLAIM NAME UDP XSKS: of $N packets with the ID of worker NAME it gets so many from its UDP
# sockets, and from each AF_XDP socket.
goes()
{
	reset "$2"
	send client --to "${TO:-10.9.1.1:443}" --count $N "${id[$2]}" >/dev/null
	arrived $N "$2"
	is "$1" "$(got "$2")" "own=$N udp=$3 xsk=$((N - $3)) odd=0 xsks=$4"
}

# opens NAME IFACE QUEUE...: the worker has sockets for these, too.  The kernel gives a queue back some
# time after its socket was closed.
opens()
{
	wait_for eval '[ "$(ask '"$1"' xsk '"${*:2}"')" != "no socket: EBUSY" ]'
	[ "$(ask "$1" xsk)" = "xsk 0" ]
}

# leased: the daemon has begun to renew it, five seconds after its start.
leased()
{
	wait_for eval '[ "$(cidsteer status --json | "$PYTHON" -c "
import json, sys
print(json.load(sys.stdin)[\"lease_seconds\"])")" != 0 ]'
}

# ---- each queue its socket ------------------------------------------------------------------
configure <<<"$h3"
check "the daemon starts" start_daemon
check "worker a registers" worker a
queue 0
goes "without AF_XDP sockets packets go to the UDP socket" a $N ""
is "worker a sets a socket for each of four queues" "$(ask a xsk s0 0 1 2 3)" "xsk 0"
check "the daemon says so" logged ": h3: worker 1 has 4 AF_XDP sockets$"
is "so many slots have one" "$(slots)" 4
was="$(noted to_xsk) $(counter reuseport h3 seen)"
for q in 0 1 2 3; do
	queue $q
	expected=0,0,0,0
	expected=${expected:0:2*q}$N${expected:2*q+1}
	goes "what comes in on queue $q goes to its socket" a 0 $expected
	TO="[fd09:1::1]:443" goes "IPv6 too" a 0 $expected
done
is "each is counted; the stack has seen none" "$(noted to_xsk) $(counter reuseport h3 seen)" \
	"$((${was% *} + 8 * N)) ${was#* }"
queue 0 1 2 3
reset a
send client --to 10.9.1.1:443 --ports 32 --count $N "${id[a]}" >/dev/null
arrived $N a
like "flows that are spread go to all sockets" "$(got a)" \
	"^own=$N udp=0 xsk=$N odd=0 xsks=[1-9][0-9]*,[1-9][0-9]*,[1-9][0-9]*,[1-9][0-9]*$"
queue 2
reset a
send client --to 10.9.1.1:443 --count 20 --form initial --size 1200 aaaaaaaaaaaaaaaa >/dev/null
arrived 20 a
is "what opens connections goes there, too" "$(got a)" "own=0 udp=0 xsk=20 odd=0 xsks=0,0,20,0"
reset a
send client --to 10.9.1.1:443 --count 20 --gso 10 "${id[a]}" >/dev/null
arrived 200 a
is "and each segment of a train" "$(got a)" "own=200 udp=0 xsk=200 odd=0 xsks=0,0,200,0"

# ---- what is not for them -------------------------------------------------------------------
queue 1
was=$(noted not_to_xsk)
ask a close-xsk s0 1 >/dev/null
check "a socket is closed, and leaves its slot" slots_are 3
goes "its packets go to the UDP socket" a $N 0,0,0
is "each is counted" "$(($(noted not_to_xsk) - was))" $N
is "nothing is wrong with a queue left out" "$(ask a xsk)" "xsk 0"
goes "its packets go to the UDP socket, too" a $N 0,0,0
ask a close-xsk s0 0 >/dev/null
is "nor with the first and the last left out" "$(ask a close-xsk s0 3) $(ask a xsk) $(slots)" "ok xsk 0 1"
for q in 0 1 3; do
	queue $q
	goes "what comes in on queue $q goes to the UDP socket" a $N 0
done
queue 2
goes "and on queue 2 to the AF_XDP socket" a 0 $N

reset a
send client --to 10.9.1.1:443 --count 10 --size 4000 "${id[a]}" >/dev/null
arrived 10 a
is "fragments go to the stack" "$(got a)" "own=10 udp=10 xsk=0 odd=0 xsks=0"
# tagged: 10 packets of a that have a VLAN tag, of no VLAN.
tagged()
{
	in_ns client "$PYTHON" "$TOP/selftests/frame.py" --device c0 --count 10 \
		--to "$(ip -n server -o link show s0 | sed 's/.*ether \([^ ]*\).*/\1/')" tag=8100:0 \
		v4=10.9.1.2,10.9.1.1 udp=443 "payload=40${id[a]}$(printf '00%.0s' {1..40})" >/dev/null
}
reset a
was="$(noted to_xsk) $(noted not_to_xsk)"
tagged
arrived 10 a
is "what has a VLAN tag goes to the stack" "$(got a)" "own=10 udp=10 xsk=0 odd=0 xsks=0"
is "and is counted" "$(noted to_xsk) $(noted not_to_xsk)" "${was% *} $((${was#* } + 10))"
# ping ADDR: waits for the answer.
ping()
{
	in_ns client "$PYTHON" -c '
import socket, sys
v6 = ":" in sys.argv[1]
kind = socket.IPPROTO_ICMPV6 if v6 else socket.IPPROTO_ICMP
s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_RAW, kind)
s.settimeout(10)
s.connect((sys.argv[1], 0))
ask, answer = (128, 129) if v6 else (8, 0)
head = bytes([ask, 0])
s.send(head + (b"\0\0" if v6 else (0xffff - ask * 256).to_bytes(2, "big")) + bytes(4))
while s.recv(100)[0 if v6 else 20] != answer:
    pass' "$1"
}
check "ICMP is answered" ping 10.9.1.1
check "ICMPv6 too" ping fd09:1::1
refused_at()
{
	! send client --strict --to "$1" --count 50 00
}
check "another port is unreachable" wait_for refused_at 10.9.1.1:9
ip -n client neighbour flush dev c0
goes "who forgets its neighbours finds them again" a 0 $N
ip -n client neighbour flush dev c0
TO="[fd09:1::1]:443" goes "IPv6 too" a 0 $N
# Where a veth has no native XDP it numbers its queues otherwise.
check "sockets for all queues again" opens a s0 0 1 3
check "with generic XDP" eval 'cidsteer detach s0 --force && cidsteer attach s0 --mode generic --alone'
reset a
send client --to 10.9.1.1:443 --count $N "${id[a]}" >/dev/null
arrived $N a
like "packets go to the sockets" "$(got a)" "^own=$N udp=0 xsk=$N odd=0 "
check "as before" eval 'cidsteer detach s0 --force && cidsteer attach s0 --mode native'

# ---- several workers ------------------------------------------------------------------------
is "worker a keeps sockets for two queues" "$(ask a close-xsk s0 2) $(ask a close-xsk s0 3) $(ask a xsk)" \
	"ok ok xsk 0"
check "worker b registers" worker b
check "and has one for the two others" opens b s0 2 3
is "four slots are in use" "$(slots)" 4
queue 0
goes "on a queue of a, its packets go to its socket" a 0 $N,0
goes "those of b to its UDP socket" b $N 0,0
is "none goes to the other" "$(count a foreign) $(count b foreign)" "0 0"
queue 3
goes "on a queue of b, its packets go to its socket" b 0 0,$N
goes "those of a to its UDP socket" a $N 0,0
is "none goes to the other" "$(count a foreign) $(count b foreign)" "0 0"
is "no socket" "$(ask b no-xsk) $(slots)" "xsk 0 2"
goes "is as before" b $N 0,0
is "and again" "$(ask b xsk) $(slots)" "xsk 0 4"
goes "all" b 0 0,$N

check "a process registers two workers" start_worker pair "${h3_at[@]}" --handles 2
queue 1
is "only one process can have a queue's sockets" "$(ask pair xsk s0 1)" "no socket: EBUSY"
ask a close-xsk s0 1 >/dev/null
check "the first has a socket" opens pair s0 1
issue pair
goes "and gets its packets there" pair 0 $N
first=${id[pair]}
ask pair use 1 >/dev/null
is "the second has one for the same queue, which shares its UMEM" "$(ask pair xsk s0 1)" "xsk 0"
issue pair
goes "and gets its own packets there" pair 0 $N
second=${id[pair]}
ask pair use 0 >/dev/null
is "which the first does not" "$(got pair)" "own=0 udp=0 xsk=0 odd=0 xsks=0"
id[pair]=$first
reset pair
send client --to 10.9.1.1:443 --count $N "$first" "$second" "$first" >/dev/null
arrived $((2 * N)) pair
is "both at once: the first" "$(got pair)" "own=$((2 * N)) udp=0 xsk=$((2 * N)) odd=0 xsks=$((2 * N))"
ask pair use 1 >/dev/null
arrived $N pair
is "and the second" "$(got pair)" "own=$N udp=0 xsk=$N odd=0 xsks=$N"
stop_worker pair
check "their slots are empty" slots_are 3

# ---- under traffic --------------------------------------------------------------------------
lossless client c0
queue 0 1 2 3
check "worker a has a socket for each queue but those of b" opens a s0 1
ids="$(ask a random 4 | cut -d' ' -f2-) $(ask b random 4 | cut -d' ' -f2-)"
# whole CLAIM COMMAND...: no packet is lost, or comes to another worker.
whole()
{
	local claim=$1 sent own selected seen was
	shift
	was="$(noted to_xsk) $(noted not_to_xsk)"
	check "$claim" with_traffic 1000 "$@"
	is "$claim: of $sent packets each reached its worker" "$own" "$sent"
	is "$claim: XDP has counted each" "$seen" "$sent"
	is "$claim: what it did not hand over went through the stack" \
		"$(($(noted to_xsk) - ${was% *})) $selected" \
		"$(($(count a xsk) + $(count b xsk))) $(($(count a udp) + $(count b udp)))"
	is "$claim: frames are whole" "$(count a odd) $(count b odd)" "0 0"
}
change_sets()
{
	local n

	for n in 1 2 3 4 5 6 7 8; do
		[ "$(ask a no-xsk) $(ask b no-xsk) $(ask a xsk) $(ask b xsk)" = "xsk 0 xsk 0 xsk 0 xsk 0" ] ||
			return
	done
}
whole "sets change" change_sets
check "sets change: some went to either" test "$(count a xsk)" -gt 0 -a "$(count a udp)" -gt 0
is "slots are as before" "$(slots)" 4
# From now on on those queues only for which their worker has a socket.
queue 0 1
ids=$(ask a random 4 | cut -d' ' -f2-)
same_set()
{
	local n

	for n in {1..20}; do
		[ "$(ask a xsk)" = "xsk 0" ] || return
	done
}
whole "a set is replaced" same_set
is "a set is replaced: no packet was without a socket" "$(count a udp)" 0

# ---- daemons --------------------------------------------------------------------------------
# passed NAME: how many sets the daemons have taken from a worker.
passed()
{
	grep -c ": h3: worker $(ask "$1" state | sed 's/^id=\([0-9]*\) .*/\1/') has [0-9]* AF_XDP sockets*$" "$DAEMON_LOG"
}
# passes_again NAME...: and waits until each worker has passed its sockets once more than $before.
declare -A before
passes_again()
{
	local name

	for name; do
		wait_for eval '[ "$(passed '"$name"')" = '$((${before[$name]} + 1))' ]' || return
	done
}
# succeed [BUILD]: a daemon is killed, and another one takes its place, to which workers a and b pass
# their sockets.
succeed()
{
	before=([a]=$(passed a) [b]=$(passed b))
	stop_daemon KILL
	BUILD=${1:-$BUILD} start_daemon && passes_again a b
}
queue 3
stop_daemon KILL
goes "the daemon is killed, and packets go on" b 0 0,$N
is "slots are as they were" "$(slots)" 4
like "a worker that sets none meanwhile is told" "$(ask a no-xsk)" "^xsk ENOTCONN "
before[b]=$(passed b)
check "a new daemon" start_daemon
check "b passes its sockets again" passes_again b
check "a, which wants none, has none" slots_are 2
goes "packets of b go to the same sockets" b 0 0,$N
is "a wants them again" "$(ask a xsk) $(slots)" "xsk 0 4"
queue 0 1
whole "a daemon is killed, and another one comes" succeed
is "a daemon is killed, and another one comes: no packet was without a socket" "$(count a udp) $(slots)" "0 4"
is_stopped()
{
	[ "$(awk '{ print $3 }' "/proc/$1/stat")" = T ]
}
if [ -x "$BUILD/edition/cidsteerd" ]; then
	whole "a daemon of another version comes" succeed "$BUILD/edition"
	is "a daemon of another version comes: no packet was without a socket" "$(count a udp) $(slots)" "0 4"
	ask a no-xsk >/dev/null
	before[b]=$(passed b)
	stop_daemon KILL
	CIDSTEER_STOP_AT=xsks:2 BUILD=$BUILD/edition start_daemon
	passes_again b
	queue 1
	reset a
	tell a xsk
	check "a daemon is about to send packets to sockets" wait_for is_stopped "$DAEMON_PID"
	is "which are there" "$(slots)" 4
	send client --to 10.9.1.1:443 --count $N "${id[a]}" >/dev/null
	stop_daemon KILL
	hear a
	like "and dies" "$answer" "^xsk ENOTCONN"
	is "packets went to the UDP socket" "$(count a udp) $(count a xsk)" "$N 0"
	before=([a]=$(passed a) [b]=$(passed b))
	CIDSTEER_STOP_AT=xsks:5 BUILD=$BUILD/edition start_daemon
	check "the next one is passed the sockets" passes_again a b
	goes "which get their packets" a 0 0,$N
	# What was put into slots that are nobody's now goes with its socket.
	ask a close-xsk s0 0 >/dev/null
	ask a close-xsk s0 1 >/dev/null
	check "others in their place" opens a s0 0 1
	is "are all that is there" "$(slots)" 4
	tell a xsk
	check "a daemon is about to replace them" wait_for is_stopped "$DAEMON_PID"
	is "the old ones are there still, the new ones already" "$(slots)" 6
	kill -CONT "$DAEMON_PID"
	hear a
	is "and at last the new ones" "$answer $(slots)" "xsk 0 4"
	check "and back" succeed
else
	skip "there is no other version: make edition" "an upgrade" "a daemon that dies meanwhile"
fi
# target_of NAME [VALUE]: of a worker, as bytes of cs_targets.
target_of()
{
	local key
	key="$(($(ask "$1" state | sed 's/^id=\([0-9]*\) .*/\1/'))) 0 0 0"
	shift
	# shellcheck disable=SC2086 # words
	if [ $# = 0 ]; then
		bpftool -j map lookup pinned "$BPFFS/cs_targets" key $key | grep -o '0x..' | tail -n +5 | xargs
	else
		bpftool map update pinned "$BPFFS/cs_targets" key $key value "$@"
	fi
}
queue 1
stop_daemon KILL
before=([a]=$(passed a) [b]=$(passed b))
reset a
# shellcheck disable=SC2046 # words
check "somebody writes that b has the slots of a" target_of b $(target_of a)
kill -STOP "${worker_pid[a]}" # who would get others
check "a daemon comes" start_daemon
check "b passes its sockets again" passes_again b
send client --to 10.9.1.1:443 --count $N "${id[a]}" >/dev/null
kill -CONT "${worker_pid[a]}"
arrived $N a
is "and a has its own still" "$(got a)" "own=$N udp=0 xsk=$N odd=0 xsks=0,$N"
check "a passes its sockets again, too" passes_again a
check "nobody has less than before" test "$(slots)" -ge 4

# ---- ends -----------------------------------------------------------------------------------
# orphans CLAIM: what the killed worker b had issued goes where the ring says, and that is a.
orphans()
{
	reset a
	send client --to 10.9.1.1:443 --count $N "${id[b]}" >/dev/null
	arrived $N a
	is "$1" "$(got a)" "own=0 udp=$N xsk=0 odd=0 xsks=0,0"
}
queue 3
kill_worker b
check "who is killed leaves no socket" slots_are 2
check "and is buried" wait_for eval '[ "$(cidsteer workers --json | grep -c "\"pid\"")" = 1 ]'
was=$(($(noted dead_worker) + $(noted unknown_cid)))
orphans "its packets are treated as if there were no route"
is "which is counted" "$(($(noted dead_worker) + $(noted unknown_cid) - was))" $N
check "another worker" worker b
check "has sockets for the same queues" opens b s0 2 3
goes "and gets its packets there" b 0 0,$N
stop_daemon KILL
kill_worker b
check "who is killed while no daemon runs leaves no socket either" slots_are 2
orphans "its packets go to who is left"
check "the next daemon" start_daemon
check "buries it" wait_for eval '[ "$(cidsteer workers --json | grep -c "\"pid\"")" = 1 ]'
queue 0
goes "who is left is as before" a 0 $N,0

# ---- a CPU ----------------------------------------------------------------------------------
# cpu_queues: of cs_cpus.
cpu_queues()
{
	bpftool -j map dump pinned "$BPFFS/cs_cpus" | "$PYTHON" -c '
import json, sys
print(sum(isinstance(e.get("value"), list) for e in json.load(sys.stdin)))'
}
# moved CLAIM NUMBER: of 100 packets of b so many are moved to its CPU, and the others go to its AF_XDP
# socket.
moved()
{
	local was

	was="$(noted to_cpu) $(noted to_xsk)"
	reset b
	in_ns client taskset -c 0 "$TOOLS/send" --to 10.9.1.1:443 --count 100 "${id[b]}" >/dev/null
	arrived 100 b
	is "$1" "$(count b own) $(($(noted to_cpu) - ${was% *})) $(($(noted to_xsk) - ${was#* }))" \
		"100 $2 $((100 - $2))"
}
if [ "$(nproc)" -gt 1 ]; then
	queue 3
	check "a worker on a CPU" worker b --cpu 1
	moved "has its packets moved there" 100
	check "until it has AF_XDP sockets" opens b s0 3
	moved "which get them" 0
	is "the CPU's queue is gone" "$(cpu_queues)" 0
	sleep 1.5
	moved "also when the daemon has looked at what is to be moved" 0
	is "without them" "$(ask b no-xsk)" "xsk 0"
	moved "packets are moved again" 100
	is "with the CPU's queue" "$(cpu_queues)" 1
	stop_worker b
else
	skip "this machine has one CPU" "a worker on a CPU"
fi

# ---- no_xsk ---------------------------------------------------------------------------------
configure <<<"${h3/listen/no_xsk = \"hash\" listen}"
is "no such word" "$(cidsteer reload --control "$CONTROL" 2>&1)" \
	"cidsteer: reload: $CONFIG:1: no_xsk = \"hash\": not \"pass\" or \"drop\""
with "no_xsk is drop" <<<"${h3/listen/no_xsk = \"drop\" listen}"
check "another worker, without AF_XDP sockets" worker b
check "the daemon has a lease" leased
queue 2
# policy: counters that a packet without a socket may come to.
policy()
{
	echo "dropped=$(noted dropped_no_xsk) passed=$(noted not_to_xsk) unenforced=$(noted not_enforced)"
}
# dropped CLAIM ARGUMENTS...: so are $N packets of a, all of them.
dropped()
{
	local claim=$1 was stack
	shift
	reset a
	was=$(policy)
	was=${was#dropped=}
	stack=$(counter reuseport h3 seen)
	send client --to 10.9.1.1:443 --count $N "${id[a]}" >/dev/null
	check "$claim" wait_for eval '[ "$(policy)" = "dropped='$((${was%% *} + N))' '"${was#* }"'" ]'
	is "and come nowhere" "$(got a) $(counter reuseport h3 seen)" \
		"own=0 udp=0 xsk=0 odd=0 xsks=0,0 $stack"
}
dropped "packets without a socket are dropped"
goes "not those of who has none at all" b $N ""
queue 1
goes "nor those that have one" a 0 0,$N
was=$(policy)
reset a
send client --to 10.9.1.1:443 --count 10 --size 4000 "${id[a]}" >/dev/null
arrived 10 a
tagged
arrived 20 a
is "nor fragments, and what has a VLAN tag" "$(count a own) $(policy)" \
	"20 ${was/passed=*/passed=$(($(noted not_to_xsk)))} unenforced=${was#*unenforced=}"
queue 2
stop_daemon KILL
dropped "without a daemon they are dropped for as long as the lease"
lease -1
was=$(policy)
goes "past it they pass" a $N 0,0
was=${was#*passed=}
is "and are counted" "$(policy | cut -d' ' -f2-)" "passed=$((${was% *} + N)) unenforced=$((${was#*=} + N))"
before[a]=$(passed a)
check "a new daemon" start_daemon
check "a passes its sockets again" passes_again a
with "as before" <<<"$h3"
goes "all pass" a $N 0,0
stop_worker b

# ---- what is refused ------------------------------------------------------------------------
s0=$(index server s0)
s1=$(index server s1)
# refuses CLAIM LINE KIND IFINDEX:QUEUE...: what worker a says that it has beside what it has.
refuses()
{
	local claim=$1 line=$2
	shift 2
	is "$claim" "$(ask a claim "$@")" "xsk EINVAL $line"
}
many=$(seq -f "$s0:%.0f" 10 138)
# descriptors: how many the daemon has.
descriptors()
{
	find "/proc/$DAEMON_PID/fd" -mindepth 1 | wc -l
}
few=$(descriptors)
not_one="a descriptor is not an AF_XDP socket"
unbound="an AF_XDP socket is not bound, or its interface is gone"
refuses "a UDP socket" "$not_one" udp "$s0:2"
refuses "a pipe" "$not_one" pipe "$s0:2"
refuses "a descriptor that is not there" "$not_one" closed "$s0:2"
refuses "a socket without rings" "$unbound" bare "$s0:2"
refuses "a socket that is not bound" "$unbound" unbound "$s0:2"
refuses "a socket that only sends" "an AF_XDP socket has no RX ring" tx-only "$s0:2"
refuses "a socket of another network namespace" \
	"an AF_XDP socket is in another network namespace than the service" elsewhere "$s0:2"
refuses "two for one queue" "two AF_XDP sockets are for queue 0 of interface $s0" had "$s0:0"
refuses "an interface that is not there" \
	"there is no interface 4711 in the service's network namespace" had 4711:0
refuses "a queue that cannot be" "an AF_XDP socket is for queue 256: 0..255" had "$s0:256"
# shellcheck disable=SC2086 # words
refuses "129 sockets" "more than 128 AF_XDP sockets" had $many
ip -n server link set s1 down
is "a socket of an interface that is down" "$(ask a xsk s1 0)" \
	"xsk EINVAL the interface of an AF_XDP socket is down"
ip -n server link set s1 up
queue 0
goes "with all that the worker has what it had" a 0 $N,0
for n in 1 2 3 4; do
	ip -n server link add "d$n" type veth peer name "e$n" || bail "d$n"
	ip -n server link set "d$n" up
	ip -n server link set "e$n" up
done
is "sockets on four interfaces" \
	"$(ask a xsk d1 0) $(ask a xsk d2 0) $(ask a xsk d3 0) $(slots)" "xsk 0 xsk 0 xsk 0 5"
is "but not on five" "$(ask a xsk d4 0)" "xsk EINVAL AF_XDP sockets on more than 4 interfaces"
goes "the others go on" a 0 $N,0,0,0,0
for n in 1 2 3; do
	ask a close-xsk "d$n" 0 >/dev/null
done
prlimit --pid "$DAEMON_PID" --nofile=3:1024
is "for which the daemon has no descriptors" "$(ask a xsk)" \
	"xsk EMFILE the daemon has no descriptor left for the sockets: raise its RLIMIT_NOFILE"
prlimit --pid "$DAEMON_PID" --nofile=1024:1024
is "with descriptors" "$(ask a xsk) $(slots)" "xsk 0 2"
goes "packets go to them" a 0 $N,0
check "none is kept open by the daemon" wait_for eval '[ "$(descriptors)" = '"$few"' ]'

# ---- an interface that goes away ------------------------------------------------------------
is "sockets on two interfaces" "$(ask a xsk s1 0 1) $(slots)" "xsk 0 4"
queue 1
goes "packets of one go to its sockets" a 0 0,$N,0,0
reset a
send client --to 10.9.2.1:443 --ports 32 --count $N "${id[a]}" >/dev/null
arrived $N a
like "and of the other to its" "$(got a)" "^own=$N udp=0 xsk=$N odd=0 xsks=0,0,[0-9]+,[0-9]+$"
ip -n server link del s1
goes "one goes away, the other goes on" a 0 0,$N,0,0
before[a]=$(passed a)
stop_daemon KILL
goes "without a daemon, too" a 0 0,$N,0,0
check "a new daemon" start_daemon
check "is passed those that are left" passes_again a
goes "which get their packets" a 0 0,$N,0,0
is "the server need not do anything" "$(ask a state | grep -o 'no_xsks=.*')" "no_xsks=0 lost=0"
like "it may not set them all any more" "$(ask a xsk)" "^xsk EINVAL "
ask a close-xsk "$s1" 0 >/dev/null
is "but those that are left" "$(ask a close-xsk "$s1" 1) $(ask a xsk) $(slots)" "ok xsk 0 2"

check "sockets on another interface" opens a d1 0
stop_daemon KILL
ip -n server link set d1 down
check "a new daemon" start_daemon
check "does not take sockets of which one is no good" \
	wait_for eval '[[ "$(ask a state)" = *"no_xsks=1 lost=0" ]]'
check "then it takes none" slots_are 0
goes "and packets go to the UDP socket" a $N 0,0,0
ip -n server link set d1 up
is "until the worker sets them" "$(ask a xsk) $(slots)" "xsk 0 3"
goes "which get their packets" a 0 0,$N,0

# ---- more than there can be -----------------------------------------------------------------
for n in 1 2 3 4; do
	VETH_QUEUES=256 veth server "w$n" server "x$n"
done
check "a process registers 16 workers" start_worker many "${h3_at[@]}" --handles 16
# fill: each has the first and the last queue of four interfaces of 256: two sockets, 256 slots.
fill()
{
	local h n

	for ((h = 0; h < 16; h++)); do
		ask many use $h >/dev/null
		for n in 1 2 3 4; do
			refused=$(ask many xsk "w$n" 0 255)
			[ "$refused" = "xsk 0" ] || return
		done
	done
}
fill
is "at last there is no slot" "$refused" \
	"xsk ENOSPC of the 16384 AF_XDP sockets that there can be, no 256 in a row are free"
was=$(slots)
is "nor later, and what they have stays" "$(ask many xsk w4 0 255) $(slots)" "$refused $was"
queue 1
goes "others go on" a 0 0,$N,0
stop_worker many
check "and the slots are given back" slots_are 3
ask a close-xsk d1 0 >/dev/null
is "for others" "$(ask a xsk w1 0 255) $(ask a xsk w2 0 255) $(ask a xsk w3 0 255)" "xsk 0 xsk 0 xsk 0"

# ---- who is elsewhere -----------------------------------------------------------------------
ns_add box
veth server b0 box b1
address box b1 10.9.7.1/32
in_ns box ethtool -K b1 gro on >/dev/null
with "a service whose workers may be behind a device" <<END
$h3
service "box" { behind_device = "allowed" listen = {"10.9.7.1:443"} interface = {"s0"} }
END
DAEMON_NS=box check "has one" start_worker boxed --service box --listen 10.9.7.1:443
is "which has no AF_XDP sockets" "$(ask boxed xsk b1 0)" \
	"xsk EINVAL a worker behind a device has no AF_XDP sockets here"
is "and need not say so" "$(ask boxed no-xsk)" "xsk 0"
stop_worker boxed
check "seen is the sum" seen_is_sum xdp
check "an operator expels a worker" cidsteer expel "$(ask a state | sed 's/^id=\([0-9]*\) .*/\1/')" --control "$CONTROL"
like "which may set none" "$(ask a xsk)" "^xsk ESTALE "
check "and has none" slots_are 0
stop_worker a
stop_daemon
check "all is taken away" eval 'cidsteer detach s0 && cidsteer unload'
configure <<<"${h3/interface = \{\"s0\", \"s1\"\}/netns = \"server\" interface = {\"s0\"\}}"
DAEMON_NS=- check "a daemon in another namespace than the service" start_daemon
check "has a worker" worker b
check "and knows its interfaces" opens b s0 1
goes "packets go to its socket" b 0 $N
is "what is not there is refused" "$(ask b claim had 4711:0)" \
	"xsk EINVAL there is no interface 4711 in the service's network namespace"
is "and what is in the daemon's namespace" "$(ask b claim elsewhere "$s0:3")" \
	"xsk EINVAL an AF_XDP socket is in another network namespace than the service"
stop_worker b
DAEMON_NS=- check "nothing is left" slots_are 0
done_testing

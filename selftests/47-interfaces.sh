#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Beside others.
# How interfaces are set up wrong: what attach and status say, and that doing what they say helps.
#
#   client                    server                    box
#  .------. 10.9.1.0/24      .------.                  .-------------.
#  | c0 .2|------------------|.1 s0 |  XDP here        |             |
#  '------' fd09:1::/64      |    b0|------------------|b1 10.9.1.1  |  the last tests' workers
#                            '------'                  '-------------'
# shellcheck disable=SC2015,SC2317 # || bail also when the middle fails; functions that check and wait_for call
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=traffic.bash
. "$(dirname "$0")/traffic.bash"

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

# watch_nft NS: what nftables has at its first hook, of UDP; seen_by_nft NS PORT: so many packets.
watch_nft()
{
	in_ns "$1" nft -f - <<-RULES || bail "nft"
		table inet watch {
			chain first {
				type filter hook prerouting priority raw
				udp dport 443 counter
				udp dport 444 counter
			}
		}
	RULES
}
seen_by_nft()
{
	in_ns "$1" nft list table inet watch | sed -n "s/.*udp dport $2 counter packets \([0-9]*\) .*/\1/p"
}

# watch_frames NS DEV PORT: what tcpdump has there, of UDP to a port; frames DEV: so many, and the end.
declare -A watcher
watch_frames()
{
	(exec_in_ns "$1" "$PYTHON" -c '
import signal, socket, sys
seen = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
seen.setsockopt(socket.SOL_SOCKET, 33, 1 << 23) # SO_RCVBUFFORCE: it reads at the end only
seen.bind((sys.argv[1], 0))
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
print("ready", flush=True)
signal.sigwait([signal.SIGTERM])
seen.setblocking(False)
count = 0
try:
    while True:
        frame = seen.recv(2048)
        count += frame[12:14] == b"\x08\x00" and frame[23] == 17 and frame[36:38] == int(sys.argv[2]).to_bytes(2, "big")
except BlockingIOError:
    print(count)' \
		"$2" "$3" >"$WORK/frames.$2") &
	watcher[$2]=$!
	wait_for grep -q ready "$WORK/frames.$2" || bail "no packet socket at $2"
}
frames()
{
	sleep 0.2
	kill "${watcher[$1]}"
	wait_for eval '[ "$(tail -1 "$WORK/frames.'"$1"'")" != ready ]'
	tail -1 "$WORK/frames.$1"
}

configure <<END
service "h3" { listen = {"[::]:443"} }
END
check "the daemon starts" start_daemon
start_worker a --service h3 --listen '[::]:443'
start_worker b --service h3 --listen '[::]:443'
ids_a=$(ask a random 1) ids_a=${ids_a#cids }
ids_b=$(ask b random 1) ids_b=${ids_b#cids }

# ---- the mode, and why ----------------------------------------------------------------------
like "native is what auto takes" "$(cidsteer attach s0)" "^s0: attached, native, because the driver has it(; alone: .*)?$"
cidsteer detach s0 --force >/dev/null
like "native is asked for" "$(cidsteer attach s0 --mode native)" "^s0: attached, native, because that was asked for(; alone: .*)?$"
cidsteer detach s0 --force >/dev/null
like "generic is asked for" "$(cidsteer attach s0 --mode generic)" "^s0: attached, generic, because that was asked for(; alone: .*)?$"
cidsteer detach s0 --force >/dev/null

# ---- what would be lost if packets were moved -----------------------------------------------
offload="s0: its peer c0 leaves checksums to offload: what is moved is lost"
is "status finds nothing while nothing is moved" "$(findings)" ""
# Alone: behind libxdp's dispatcher, where the kernel has that, nothing is moved.
output=$(cidsteer attach s0 --mode native --alone)
is "attach says what would be lost" "$(tail -n +2 <<<"$output")" "note: $offload: ip netns exec client ethtool -K c0 tx off"
cidsteer detach s0 --force >/dev/null
is "in JSON too" "$(cidsteer attach s0 --alone --json | "$PYTHON" -c '
import json, sys
attached = json.load(sys.stdin)
print(attached["why"], *(f["reason"] for f in attached["findings"]), sep="|")')" "the driver has it|$offload"
cidsteer detach s0 --force >/dev/null
check "what it says to do" here "ip netns exec client ethtool -K c0 tx off"
like "helps" "$(cidsteer attach s0 --mode native | tail -1)" "^s0: attached"

# ---- what joins datagrams -------------------------------------------------------------------
# foreign: of 1,600 datagrams whose IDs take turns, those at the worker that has not issued theirs.
foreign()
{
	local i

	reset a b
	for i in $(seq 50); do
		send client --to 10.9.1.1:443 --from 10.9.1.2:5000 --alternate --gso 32 --size 1200 --count 1 \
			"$ids_a" "$ids_b" >/dev/null
		arrived $((i * 32)) a b || bail "of call $i not all has arrived: $(total a b)"
	done
	echo $(($(count a foreign) + $(count b foreign)))
}
lossless client c0
# Linux 6.1 has no UDP_SEGMENT where the checksum is not left to offload.
in_ns client ethtool -K c0 tx on >/dev/null
in_ns server ethtool -K s0 gro on >/dev/null
is "with GRO alone each datagram is its worker's" "$(foreign)" 0
in_ns server ethtool -K s0 rx-gro-list on >/dev/null
is "GRO of lists joins them" "$(foreign)" 800
is "status says so" "$(findings)" "degraded|s0: rx-gro-list is on: GRO joins datagrams behind XDP, whatever connections they are of, and the group's program picks a worker once for all of them|ethtool -K s0 rx-gro-list off"
like "attach too" "$(cidsteer attach s0 | tail -1)" "^note: s0: rx-gro-list is on: .*: ethtool -K s0 rx-gro-list off$"
advice=$(findings)
check "what it says to do" here "${advice##*|}"
is "helps" "$(foreign) $(findings)" "0 "
in_ns server ethtool -K s0 gro off >/dev/null
in_ns client ethtool -K c0 tx off >/dev/null

# ---- queues of packets that are moved -------------------------------------------------------
start_worker m0 --service h3 --listen '[::]:443' --cpu 0
if [ "$(nproc)" = 1 ]; then
	skip "this machine has one CPU" "too few queues for packets that are moved"
else
	start_worker m1 --service h3 --listen '[::]:443' --cpu 1
	is "one queue, and two CPUs" "$(findings)" "steering|s0 has 1 queue to receive by, and packets are moved to 2 CPUs: no more CPUs than queues take them from it at a time|ethtool -L s0 rx 2; ip netns exec client ethtool -L c0 tx 2"
	check "it is no fault" cidsteer status
	advice=$(findings)
	check "what it says to do" here "${advice##*|}"
	is "helps" "$(findings)" ""
	ids_m=$(ask m1 random 1) ids_m=${ids_m#cids }
	watch_nft server
	watch_frames server s0 443
	in_ns client taskset -c 0 "$TOOLS/send" --to 10.9.1.1:443 --ports 20 --count 200 "$ids_m" >/dev/null
	check "packets come by both, and arrive" arrived 200 m1
	check "some are moved" test "$(counter xdp h3 to_cpu)" -gt 0
	is "nftables and tcpdump see all of them" "$(seen_by_nft server 443) $(frames s0)" "200 200"
	in_ns server nft delete table inet watch
	in_ns client ethtool -L c0 tx 1 && in_ns server ethtool -L s0 rx 1

	worse()
	{
		findings | grep -v ^steering
	}
	attached_notes()
	{
		grep ^note: "$WORK/attached" | grep -v "to receive by"
	}
	# Generic XDP hands on all of a packet, also what is left to offload; some kernels lose all of it.
	cidsteer detach s0 --force >/dev/null
	in_ns client ethtool -K c0 tx on >/dev/null
	cidsteer attach s0 --mode generic >"$WORK/attached"
	reset m1
	in_ns client taskset -c 0 "$TOOLS/send" --to 10.9.1.1:443 --count 200 "$ids_m" >/dev/null
	check "generic XDP moves packets" wait_for eval '[ "$(counter xdp h3 to_cpu)" -ge 200 ]'
	sleep 0.5
	lost="s0: generic XDP, of Linux 6.9 and newer: what is moved to a CPU is lost"
	never="; without native XDP: cpu = \"never\""
	native="cidsteer detach s0 --force; cidsteer attach s0 --mode native"
	case $(count m1) in
	200) is "which arrive: nothing is found" "$(worse)$(attached_notes)" "" ;;
	0)
		is "which are lost: that is found" "$(worse)" "not steering|$lost|$native$never"
		is "and said when it is attached" "$(attached_notes)" "note: $lost: $native$never"
		in_ns client ethtool -K c0 tx off >/dev/null
		check "what it says to do" here "$native"
		reset m1
		in_ns client taskset -c 0 "$TOOLS/send" --to 10.9.1.1:443 --count 200 "$ids_m" >/dev/null
		check "helps" arrived 200 m1
		;;
	*) flunk "packets that generic XDP moves arrive, or none does" "$(count m1) of 200" ;;
	esac
	in_ns client ethtool -K c0 tx off >/dev/null
	stop_worker m1
fi
stop_worker m0
cidsteer detach s0 --force >/dev/null

# ---- somebody else's program ----------------------------------------------------------------
cat >"$WORK/other.c" <<END
__attribute__((section("xdp"), used)) int other(void *ctx) { return 2; }
char _license[] __attribute__((section("license"), used)) = "GPL";
END
if "${CLANG:-clang}" -O2 -target bpf -c "$WORK/other.c" -o "$WORK/other.o" 2>"$WORK/clang.log" &&
	in_ns server ip link set dev s0 xdpdrv obj "$WORK/other.o" sec xdp; then
	like "another's program is found" "$(findings)" \
		"^steering\|s0 has another XDP program \(id [0-9]+, other\): packets are steered at sockets only\|if it may go: ip link set dev s0 xdp off; cidsteer attach s0$"
	like "attach says whose it is" "$(said cidsteer attach s0)" \
		"^1: cidsteer: attach: s0: program [0-9]+ \(other\) holds the XDP hook and lets no other in: take it off with ip link set dev s0 xdp off, if it may go$"
	advice=$(findings)
	check "what it says to do" here "${advice##*: }"
	is "helps" "$(findings) $(mode s0)" " native"
	cidsteer detach s0 --force >/dev/null
else
	skip "no other program could be loaded" "another's program is found"
fi

# ---- an MTU that native XDP may not take ----------------------------------------------------
if ip -n server tuntap add dev t0 mode tap 2>/dev/null; then
	ip -n server link set t0 mtu 9000 up
	cidsteer attach t0 --mode generic >/dev/null
	is "generic XDP, and a large MTU" "$(findings)" "steering|t0: generic XDP, and its MTU is 9000: many drivers have native XDP for frames that fit a page only|ip link set dev t0 mtu 1500; cidsteer detach t0 --force; cidsteer attach t0"
	advice=$(findings)
	check "what it says to do" here "${advice##*|}"
	is "helps" "$(findings) $(mode t0)" " native"
	ip -n server link del t0
else
	skip "the kernel has no tap" "generic XDP, and a large MTU"
fi

# ---- too few queues for native XDP ----------------------------------------------------------
# queues RX TX: a veth q0 that can have so many queues to receive by and has one, whose other end
# sends by TX.
queues()
{
	ip link add q0 netns server numrxqueues "$1" type veth peer name q1 netns client numtxqueues "$2" &&
		in_ns server ethtool -L q0 rx 1 && in_ns client ethtool -L q1 tx "$2" || bail "queues $1, $2"
	ip -n server link set q0 up
	ip -n client link set q1 up
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

# ---- devices above others -------------------------------------------------------------------
# above KIND [WORDS...]: generic XDP on it is found, and in the way of who attaches to what is below.
above()
{
	local kind=$1 advice said
	shift

	veth server p1 client p2
	if ip -n server link add over "$@" type "$kind" ${1:+id 7} 2>/dev/null; then
		if [ $# = 0 ]; then
			ip -n server link set p1 down
			ip -n server link set p1 master over || bail "$kind"
			ip -n server link set p1 up
		fi
		ip -n server link set over up
		cidsteer attach over --mode generic >/dev/null
		is "generic XDP on a $kind" "$(findings)" "steering|over: generic XDP on a $kind: what is below may have native: attach to, and name in the configuration, p1|cidsteer detach over --force; cidsteer attach p1"
		said=$(said cidsteer attach p1)
		like "is in the way below it" "$said" \
			"^1: cidsteer: attach: p1: program [0-9]+ \(cs_xdp\) is at over, which is above it: cidsteer detach over --force$"
		check "what it says to do" here "${said##*: }"
		check "helps" cidsteer attach p1 --mode native
		cidsteer detach p1 --force >/dev/null
		cidsteer attach over --mode generic >/dev/null
		advice=$(findings)
		check "what status says to do" here "${advice##*|}"
		is "helps" "$(findings) $(mode p1)" " native"
		ip -n server link del over
	else
		skip "the kernel has no $kind" "generic XDP on a $kind"
	fi
	ip -n server link del p1
}
above bridge
above bond
above vlan link p1

stop_worker a
stop_worker b

# ---- a container with the host's address ----------------------------------------------------
ns_add box
veth server b0 box b1
address box b1 10.9.1.1/32
in_ns box ethtool -K b1 gro on >/dev/null
in_ns client ethtool -K c0 tx off >/dev/null
in_ns server sysctl -q -w net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.b0.rp_filter=0
configure <<END
service "boxed" { behind_device = "allowed" listen = {"10.9.1.1:444"} interface = {"s0"} }
END
check "another service" cidsteer reload --control "$CONTROL"
DAEMON_NS=box check "a worker in a container" start_worker w --service boxed --listen 10.9.1.1:444
id_w=$(ask w random 1) id_w=${id_w#cids }
check "there is a lease" wait_for eval '[ "$(cidsteer status --json | "$PYTHON" -c "
import json, sys
print(json.load(sys.stdin)[\"lease_seconds\"])")" != 0 ]'
is "nothing is found as long as it has no way back" "$(findings)" ""

# ---- who else is in its group ---------------------------------------------------------------
# of_boxed: "WORD|REASON|ACTION" of the service.
of_boxed()
{
	cidsteer status --json | "$PYTHON" -c '
import json, sys
for service in json.load(sys.stdin)["services"]:
    for finding in service["findings"]:
        print(finding["word"], finding["reason"], finding["action"], sep="|")'
}
if cidsteer status | grep -q "^note: the groups cannot be looked at"; then
	skip "this kernel does not list groups" "a stranger in the container"
else
	is "nobody" "$(of_boxed)" ""
	DAEMON_NS=box start_worker stranger --service boxed --unsteered --listen 10.9.1.1:444
	pid=${worker_pid[stranger]}
	is "a socket that is not registered" "$(of_boxed)" \
		"degraded|a socket of pid $pid is in the group of 10.9.1.1:444 behind b0 without being registered: what is left to the kernel's own hash can go to it|start it with libcidsteer, or stop it"
	kill_worker stranger
	is "when it is stopped all is well" "$(of_boxed)" ""
	DAEMON_NS=server start_worker stranger --service boxed --unsteered --listen 10.9.1.1:444
	is "one that has the address here is in no group of the service" "$(of_boxed)" \
		"degraded|a socket of pid ${worker_pid[stranger]} is at 10.9.1.1:444 without being registered: packets to that address go to it, whoever owns the connection|start it with libcidsteer, or stop it"
	kill_worker stranger
	is "somebody puts a program of his own on the group" "$(ask w intrude ebpf)" ok
	like "it is named" "$(of_boxed)" \
		"^not steering\|another program \(id [0-9]+, intruder\) is on the group of 10.9.1.1:444 behind b0: it picks the worker\|stop what has put it there, and restart the server$"
	stop_worker w
	DAEMON_NS=box start_worker w --service boxed --listen 10.9.1.1:444
	id_w=$(ask w random 1) id_w=${id_w#cids }
	is "a restarted server is steered again" "$(of_boxed)" ""
fi

# ---- its end of the veth --------------------------------------------------------------------
# notes: of what attach says.
notes()
{
	cidsteer attach s0 | sed -n 's/^note: //p' | grep -v "past the stack"
}
is "attach finds nothing" "$(notes)" ""
in_ns box ethtool -K b1 gro off >/dev/null
is "attach says that its end has no GRO" "$(notes)" \
	"b0: its other end, b1, has neither GRO nor XDP: what XDP sends there is lost: nsenter -t ${worker_pid[w]} -n ethtool -K b1 gro on"
advice=$(notes)
check "what it says to do" here "${advice##*: }"
is "helps" "$(notes)" ""
ip -n box link set b1 mtu 1300
is "attach says that it has a smaller MTU" "$(notes)" \
	"b0: its other end, b1, takes packets of up to 1300 bytes only: larger ones are lost: nsenter -t ${worker_pid[w]} -n ip link set b1 mtu 1500"
advice=$(notes)
check "what it says to do" here "${advice##*: }"
is "helps" "$(notes)" ""

# ---- who no longer sees it ------------------------------------------------------------------
is "attach says who is blind" "$(cidsteer attach s0 | grep ^note)" \
	"note: s0 sends what is for workers behind b0 past the stack: nftables and tcpdump do not see it here, neither at s0 nor at b0: nsenter -t ${worker_pid[w]} -n tcpdump -i b1"
check "the daemon too" logged "^cidsteerd: b0: workers are behind it: nftables and tcpdump here do not see what XDP sends there, b1 does$"
like "status too" "$(cidsteer status | tr -s ' \n' ' ')" "device b0: packets of 1 worker are sent there, 0 so far, which nftables and tcpdump here do not see"
watch_nft server
watch_frames server s0 444
watch_frames server b0 444
watch_frames box b1 444
reset w
send client --to 10.9.1.1:444 --count 100 "$id_w" >/dev/null
check "packets are sent to the device" arrived 100 w
is "which nftables does not see" "$(seen_by_nft server 444)" 0
is "nor tcpdump at s0 and b0, but at b1" "$(frames s0) $(frames b0) $(frames b1)" "0 0 100"

# answers: of 10 packets from the container, those that reach the client.
answers()
{
	local before

	before=$(in_ns client awk '/^Udp: [0-9]/ { print $3 }' /proc/net/snmp) # of no socket there
	send box --to 10.9.1.2:9 --from 10.9.1.1 --count 10 "$id_w" >/dev/null
	sleep 0.3
	echo $(($(in_ns client awk '/^Udp: [0-9]/ { print $3 }' /proc/net/snmp) - before))
}
mac=$(ip -n server -j link show b0 | "$PYTHON" -c 'import json, sys; print(json.load(sys.stdin)[0]["address"])')
ip -n box route add default dev b1
ip -n box neigh add 10.9.1.2 lladdr "$mac" dev b1
# discarded CLAIM ACTION: what the container sends is discarded, status says so and what to run, and
# that helps.
discarded()
{
	is "$1: no answer arrives" "$(answers)" 0
	like "  status says so" "$(findings)" \
		"^not steering\|10\.9\.1\.1 is an address here, too: what worker [0-9]+ \(boxed, pid ${worker_pid[w]}\) sends from it through b0 is discarded\|$2$"
	advice=$(findings)
	check "  what it says to do" here "${advice##*|}"
	is "  helps" "$(answers) $(findings)" "10 "
}
accept=net/ipv4/conf/b0/accept_local=1 own=net/ipv4/conf/b0/rp_filter=0 all=net/ipv4/conf/all/rp_filter=0
discarded "an address of both" "sysctl -w $accept"
in_ns server sysctl -q -w net.ipv4.conf.b0.rp_filter=1
discarded "a strict filter" "sysctl -w $own"
in_ns server sysctl -q -w net.ipv4.conf.b0.accept_local=0 net.ipv4.conf.all.rp_filter=1
discarded "both" "sysctl -w $accept $all"
in_ns server sysctl -q -w net.ipv4.conf.b0.rp_filter=2
discarded "a loose filter, and no address" "sysctl -w $own"
address server b0 10.9.8.1/32
in_ns server sysctl -q -w net.ipv4.conf.b0.rp_filter=2
is "a loose filter, and an address" "$(answers) $(findings)" "10 "
if ip -n server link add bridge0 type bridge 2>/dev/null; then
	ip -n server address flush dev b0
	ip -n server link set bridge0 up address "$mac"
	ip -n server link set b0 master bridge0
	discarded "a bridge between them" "sysctl -w net/ipv4/conf/bridge0/accept_local=1"
	ip -n server link del bridge0
else
	skip "the kernel has no bridge" "a bridge between host and container"
fi
in_ns server sysctl -q -w net.ipv4.conf.b0.accept_local=0 net.ipv4.conf.all.accept_local=1 net.ipv4.conf.b0.rp_filter=0
is "accepted on all interfaces" "$(answers) $(findings)" "10 "
done_testing

#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Beside others.
# Services in network namespaces of their own: the same address and port in each, and every
# datagram reaches the workers of its own service.  Namespaces come and go; one that was made anew
# under its old name is another.
#
#    c0            own        cr            red        cb            blue
#  .----.  veth  .----.     .----.  veth  .----.     .----.  veth  .----.
#  | .2 |--------| .1 |     | .2 |--------| .1 |     | .2 |--------| .1 |    10.9.1.0/24, fd09:1::/64
#  '----'   c0 s0'----'     '----'   c0 s0'----'     '----'   c0 s0'----'    everywhere
#                 daemon; XDP at each s0
# shellcheck disable=SC2086 # lists of IDs
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

SECOND=$BUILD/edition # the programs of another version: see 22-upgrade.sh
[ -x "$SECOND/cidsteerd" ] || bail "$SECOND/cidsteerd is not built: make edition"

# pair CLIENT SERVER: see above.
pair()
{
	veth "$1" c0 "$2" s0
	tc -n "$1" qdisc replace dev c0 root pfifo limit 100000 # waits: see lossless in traffic.bash
	address "$1" c0 10.9.1.2/24 fd09:1::2/64
	address "$2" s0 10.9.1.1/24 fd09:1::1/64
}
ns_add own c0 cr cb red blue
pair c0 own
pair cr red
pair cb blue
DAEMON_NS=own
own='service "own" { listen = {"[::]:443"} interface = {"s0"} }'
red='service "red" { netns = "red" listen = {"[::]:443"} interface = {"s0"} }'
blue='service "blue" { netns = "blue" listen = {"10.9.1.1:443", "[::]:443"} interface = {"s0"} }'
printf '%s\n' "$own" "$red" "$blue" >"$CONFIG"

# worker NAME SERVICE [LISTEN...]: in the namespace of that name.
worker()
{
	local name=$1 service=$2
	shift 2
	DAEMON_NS=${NETNS:-$service} start_worker "$name" --service "$service" "$@"
}

check "the daemon starts" start_daemon
check "its interface has XDP" logged "^cidsteerd: s0: attached, native"
check "red's too" logged "^cidsteerd: red: s0: attached, native"
check "and blue's" logged "^cidsteerd: blue: s0: attached, native"
is "each namespace has a pin" "$(cd "$BPFFS" && echo xdp-*)" "xdp-blue xdp-red"
is "all have native XDP" "$(for ns in own red blue; do ip -n $ns link show s0; done | grep -c 'prog/xdp')" 3
both=(--listen '[::]:443')
check "workers register: own" worker o own "${both[@]}"
check "red" worker r1 red "${both[@]}"
check "red, another" worker r2 red "${both[@]}"
check "blue" worker b blue --listen 10.9.1.1:443 --listen '[::]:443'
is "a socket of blue is none of red's" "$(NETNS=blue worker x red "${both[@]}"; echo "$answer")" \
	"refused EINVAL a socket is in another network namespace than the service, which is in red as that was when the configuration was read"
is "nor is one of red the daemon's" "$(NETNS=red worker y own "${both[@]}"; echo "$answer")" \
	"refused EINVAL a socket is in another network namespace than the daemon"

# ids NAME: eight that it has issued.
ids()
{
	local ids

	ids=$(ask "$1" random 8)
	echo "${ids#cids }"
}
o=$(ids o)
r1=$(ids r1)
r2=$(ids r2)
b=$(ids b)

# counted SERVICE...: "SERVICE xdp NUMBER reuseport NUMBER, ..." routed by table since begin.
declare -A before
begin()
{
	local service

	reset o r1 r2 b
	for service in own red blue; do
		before[xdp$service]=$(counter xdp $service seen)
		before[reuseport$service]=$(counter reuseport $service seen)
	done
}

seen()
{
	local service hook

	for service in own red blue; do
		printf '%s' "$service"
		for hook in xdp reuseport; do
			printf ' %s' $(($(counter $hook $service seen) - before[$hook$service]))
		done
		printf '; '
	done
}

# each CLAIM: traffic of all three at once, to one address and port.
each()
{
	local n4 n6

	begin
	send c0 --to 10.9.1.1:443 --ports 7 --count 30 $o >"$WORK/sent.o" &
	send cr --to 10.9.1.1:443 --ports 7 --count 20 $r1 $r2 >"$WORK/sent.r" &
	send cb --to 10.9.1.1:443 --ports 7 --count 10 $b >"$WORK/sent.b" &
	wait $!
	n4=$(send c0 --to '[fd09:1::1]:443' --count 3 $o)
	n6=$(send cr --to '[fd09:1::1]:443' --count 2 $r1)
	is "$1: so many were sent" "$n4 $n6 $(send cb --to '[fd09:1::1]:443' --count 1 $b)" "24 16 8"
	arrived 264 o
	arrived 336 r1 r2
	arrived 88 b
	is "$1: each worker has its own" \
		"$(count o own) $(count r1 own) $(count r2 own) $(count b own)" "264 176 160 88"
	is "$1: and no more" "$(count o) $(count r1) $(count r2) $(count b)" "264 176 160 88"
	is "$1: both hooks have counted each for its service" "$(seen)" \
		"own 264 264; red 336 336; blue 88 88; "
}
each "one address, three services"
was=$(verdicts xdp blue)
send cb --to 10.9.1.1:443 --count 10 $r1 >/dev/null
wait_for eval '[ "$(verdicts xdp blue)" != "'"$was"'" ]'
like "an ID of red is unknown in blue" "$(verdicts xdp blue)" "unknown_cid=80$"

# ---- explain --------------------------------------------------------------------------------
# ends CLAIM LISTENER REASON ARGUMENTS...
ends()
{
	local claim=$1 listener=$2 reason=$3
	shift 3
	output=$(cidsteer explain "$@" 2>&1)
	like "$claim: of which service" "$output" "^listener $listener"
	like "$claim: and why" "$output" "^reason $reason; "
}
packet=$(send cr --to 10.9.1.1:443 --from 10.9.1.2:7000 --print "${r1%% *}")
ends "a packet to red" "\[::\]:443, a wildcard, of service red" by_table --netns red --hex "$packet"
ends "the same to blue" "10.9.1.1:443, exact, of service blue" unknown_cid --netns blue --hex "$packet"
ends "the same to the daemon's" "\[::\]:443, a wildcard, of service own" unknown_cid --hex "$packet"
ends "the same, by name" "\[::\]:443, a wildcard, of service own" unknown_cid --netns own --hex "$packet"
ends "an ID of red" "\[::\]:443, a wildcard, of service red" by_table --cid "${r1%% *}" --service red
is "a namespace without a service" "$(cidsteer explain --netns cr --hex "$packet" 2>&1)" \
	"cidsteer: explain: no service is in network namespace cr"
is "one that is not there" "$(cidsteer explain --netns none --hex "$packet" 2>&1)" \
	"cidsteer: explain: network namespace none: there is no /run/netns/none: ip netns add none"
is "--netns with --cid" "$(cidsteer explain --netns red --cid 01 2>&1 | head -1)" \
	"cidsteer: explain: --netns is for --hex and --pcap: a service is in its own"

# ---- by hand --------------------------------------------------------------------------------
id_at()
{
	ip -n "$1" -j link show dev s0 | sed -n 's/.*"prog":{"id":\([0-9]*\).*/\1/p'
}

id_of()
{
	bpftool -j prog show pinned "$BPFFS/$1" | sed -n 's/.*"id":\([0-9]*\).*/\1/p'
}

# is_attached NAME: the pinned program of this namespace is at its s0; or a program with the same
# instructions is behind libxdp's dispatcher, which wants it loaded again, as an extension.
is_attached()
{
	local at pinned behind

	at=$(id_at $1)
	pinned=$(id_of xdp-$1)
	echo "attached: $at, pinned: $pinned"
	[ -n "$at" ] || return 1
	[ "$(bpftool -j prog show id "$at" | sed -n 's/.*"name":"\([^"]*\)".*/\1/p')" = xdp_dispatcher ] ||
		{ [ "$at" = "$pinned" ]; return; }
	for behind in /sys/fs/bpf/xdp/dispatch-*-"$at"/prog*-prog; do
		echo "behind the dispatcher: $(bpftool -j prog show pinned "$behind")"
		[ "$(tag "$behind")" != "$(tag "$BPFFS/xdp-$1")" ] || return 0
	done
	return 1
}

tag()
{
	bpftool -j prog show pinned "$1" | sed -n 's/.*"tag":"\([^"]*\)".*/\1/p'
}

ip -n red link set dev s0 xdpdrv off
like "status says what has no XDP" "$(cidsteer status | tr -s ' \n' ' ')" \
	"red steering 2 workers, 16 routes, .*no XDP attached; \[::\]:443 dual-stack; network namespace red"
# Not ip -n, which mounts a /sys of its own.
check "ip link attaches the pin" in_ns red ip link set dev s0 xdpdrv pinned "$BPFFS/xdp-red"
check "  it is there" is_attached red
each "attached by ip link"
is "status has no finding" "$(cidsteer status >"$WORK/status"; echo $?)" 0
like "  but names each namespace" "$(tr -s ' \n' ' ' <"$WORK/status")" \
	"own steering 1 worker, .* s0 native XDP; \[::\]:443 dual-stack red steering .* s0 native XDP; \[::\]:443 dual-stack; network namespace red blue steering 1 .*; network namespace blue"
ip -n red link set dev s0 xdpdrv off
in_ns red ip link set dev s0 xdpdrv pinned "$BPFFS/xdp"
like "status says where the pin of another namespace is" "$(cidsteer status | tr -s ' \n' ' ')" \
	"s0 has the cs_xdp of another network namespace: cidsteer attach s0 --netns red"
like "cidsteer attach sets it right" "$(cidsteer attach s0 --netns red)" "^s0: attached, native"
each "set right"
is "JSON names the namespaces" "$(cidsteer status --json | "$PYTHON" -c '
import json, sys
doc = json.load(sys.stdin)
print(*(s["name"] + "=" + s["netns"] for s in doc["services"]),
      *sorted(i["netns"] + "/" + i["interface"] + "=" + i["state"] for i in doc["interfaces"]))')" \
	"own= red=red blue=blue /s0=attached blue/s0=attached red/s0=attached"
is "detach takes it off" "$(cidsteer detach s0 --netns red --force; id_at red)" "s0: detached"
like "attach puts it back" "$(cidsteer attach s0 --netns red)" "^s0: attached, native"
like "a namespace without a service has no program" "$(cidsteer attach c0 --netns cr 2>&1)" \
	"^cidsteer: attach: c0: no service is in network namespace cr: cidsteer load, or cidsteer reload"
like "from inside its name is asked for" "$(DAEMON_NS=red cidsteer attach lo 2>&1)" \
	"^cidsteer: attach: lo: services name this network namespace: use --netns NAME"
like "the daemon's program is for its own namespace" "$(DAEMON_NS=cr cidsteer attach c0 2>&1)" \
	"^cidsteer: attach: c0: no service is in this network namespace: cidsteer load"
like "one that is not there is named" "$(cidsteer attach c0 --netns green 2>&1)" \
	"^cidsteer: attach: network namespace green: there is no /run/netns/green: ip netns add green"

# ---- local addresses ------------------------------------------------------------------------
# to50: packets of each client to 10.9.1.50, 8 from each; what is counted.
to50()
{
	begin
	send c0 --to 10.9.1.50:443 $o >/dev/null
	send cr --to 10.9.1.50:443 $r1 >/dev/null
	send cb --to 10.9.1.50:443 $b >/dev/null
	wait_for eval '[ "$(seen)" = "'"$1"'" ]'
	seen
}
for ns in c0=own cr=red cb=blue; do
	mac=$(ip -n ${ns#*=} -j link show s0 | sed -n 's/.*"address":"\([^"]*\)".*/\1/p')
	ip -n ${ns%=*} neigh replace 10.9.1.50 lladdr "$mac" dev c0 nud permanent
done
address red s0 10.9.1.50/24
wait_for eval 'send cr --to 10.9.1.50:443 $r1 >/dev/null; [ "$(to50 "own 0 0; red 8 8; blue 0 0; ")" = "own 0 0; red 8 8; blue 0 0; " ]'
is "an address of red is local in red alone" "$(to50 "own 0 0; red 8 8; blue 0 0; ")" "own 0 0; red 8 8; blue 0 0; "

# ---- another daemon -------------------------------------------------------------------------
are_back()
{
	[ "$(grep -c "is back" "$DAEMON_LOG")" = "$1" ]
}
old=$(id_at blue)
stop_daemon KILL
each "without a daemon"
check "another daemon adopts" start_daemon
check "all workers come back" wait_for are_back 4
is "the programs stay" "$(id_at blue)" "$old"
each "with another daemon"
stop_daemon
real=$BUILD
BUILD=$SECOND
old=$(id_of xdp-red)
check "one of another version starts" start_daemon
check "  replaces red's program" logged "^cidsteerd: red: s0: program replaced"
check "  and blue's" logged "^cidsteerd: blue: s0: program replaced"
check "  and the pin" test "$(id_of xdp-red)" != "$old"
check "  which is attached" is_attached red
is "  no pin is left over" "$(cd "$BPFFS" && echo xdp*)" "xdp xdp-blue xdp-red"
check "  all workers come back" wait_for are_back 8
BUILD=$real
each "with another version"
stop_daemon
check "and back" start_daemon
check "  all workers come back" wait_for are_back 12

# ---- reading it again -----------------------------------------------------------------------
# with LINES...: the configuration from now on.
with()
{
	printf '%s\n' "$@" >"$CONFIG"
	cidsteer reload --control "$CONTROL" 2>&1
}
all=("$own" "$red" "$blue")
# Not of the local addresses: the kernel may still be about to make some (RFC 4862, section 5.4).
state()
{
	(cd "$BPFFS" && "$TOOLS/sums" cs_abi cs_addrs cs_services cs_workers cs_listeners) ||
		echo "not read at $EPOCHREALTIME"
	(cd "$BPFFS" && echo ./*)
}

# mistake CLAIM REASON LINES...: refused, and nothing has changed.
mistake()
{
	local claim=$1 reason=$2 before
	shift 2
	before=$(state)
	like "$claim" "$(with "$@")" "^cidsteer: reload: $reason"
	is "  changes nothing" "$(state)" "$before"
}
green='service "green" { netns = "green" listen = {"[::]:443"} interface = {"s0"} }'
mistake "a namespace that is not there" \
	'service "green": network namespace green: there is no /run/netns/green: ip netns add green' \
	"${all[@]}" "$green"
touch /run/netns/green
mistake "a file that is none" 'service "green": /run/netns/green is no network namespace' "${all[@]}" "$green"
rm /run/netns/green
mistake "a name with a dot" "$CONFIG:4: netns \"a.b\": a name has 1 to 47 letters, digits, '-' or '_'" \
	"${all[@]}" 'service "x" { netns = "a.b" listen = {"[::]:443"} }'
mistake "the same address twice in one namespace" \
	"$CONFIG:4: service \"x\" listens on \[::\]:443, and so does service \"red\"" \
	"${all[@]}" 'service "x" { netns = "red" listen = {"[::]:443"} }'
ip netns attach rouge "$(in_ns red sh -c 'echo $$; exec sleep 30' | head -1)" 2>/dev/null ||
	{ touch /run/netns/rouge && mount --bind /run/netns/red /run/netns/rouge; }
mistake "one namespace by two names" 'service "x": rouge and red are the same network namespace: use one name' \
	"${all[@]}" 'service "x" { netns = "rouge" listen = {"[::]:444"} }'
ip netns del rouge
mistake "a service that moves while it has workers" \
	'service "red": its workers are in another network namespace than what is called cr is now: stop them first' \
	"$own" "${red/netns = \"red\"/netns = \"cr\"}" "$blue"
many=()
for n in $(seq 16); do
	ip netns add n$n
	many+=("service \"n$n\" { netns = \"n$n\" listen = {\"[::]:443\"} max_cids = 100 }")
done
mistake "more than 16 namespaces" 'service "n14": no more than 16 network namespaces' "${all[@]}" "${many[@]}"
check "13 more are taken" with "${all[@]}" "${many[@]:0:13}"
is "  and have pins" "$(cd "$BPFFS" && echo xdp-n* | wc -w)" 13
each "with 16"
check "and go" with "${all[@]}"
is "  with their pins" "$(cd "$BPFFS" && echo xdp-*)" "xdp-blue xdp-red"
is "  and cookies" "$(bpftool -j map dump pinned "$BPFFS/cs_abi" | "$PYTHON" -c '
import json, sys
print(sum(map(bool, json.load(sys.stdin)[0]["formatted"]["value"]["netns_cookie"])))')" 3
for n in $(seq 16); do
	ip netns del n$n
done

ns_add green cg
pair cg green
check "a namespace is added" with "${all[@]}" "$green"
check "  its interface is attached to" logged "^cidsteerd: green: s0: attached, native"
check "  a worker registers" worker g green "${both[@]}"
g=$(ids g)
send cg --to 10.9.1.1:443 --count 5 $g >/dev/null
arrived 40 g
is "  and gets what is its own" "$(count g own) $(counter xdp green by_table)" "40 40"
each "beside it"
mistake "removing it while it has a worker" \
	'service "green" is not in the configuration, but has workers: stop them first' "${all[@]}"
stop_worker g
wait_for eval '! cidsteer workers | grep -q green'
check "it is removed" with "${all[@]}"
check "  and detached from" logged "^cidsteerd: green: s0: detached"
is "  nothing is there" "$(id_at green)" ""
ip netns del green
check "  nobody keeps it" wait_for eval '! ip -n cg link show c0'
each "without it"

# ---- a name that leads elsewhere --------------------------------------------------------------
ns_add green
pair cg green
check "it is there again" with "${all[@]}" "$green"
check "  with a worker" worker g green "${both[@]}"
g=$(ids g)
ip netns del green
check "its name goes" logged "^cidsteerd: network namespace green is gone: what has its name then is not served before the configuration is read again"
check "  the pin, too" wait_for test ! -e "$BPFFS/xdp-green"
reset g
send cg --to 10.9.1.1:443 --count 5 $g >/dev/null
arrived 40 g
is "  its worker has packets all the same" "$(count g own)" 40
like "  status says so" "$(cidsteer status | tr -s ' \n' ' ')" \
	"green degraded its network namespace has no name any more"
ip netns add green
ip -n green link set lo up
mistake "another of its name is not taken for it" \
	'service "green": its workers are in another network namespace than what is called green is now: stop them first' \
	"${all[@]}" "$green"
is "  nor are its sockets" "$(NETNS=green worker z green "${both[@]}"; echo "$answer")" \
	"refused EINVAL a socket is in another network namespace than the service, which is in green as that was when the configuration was read"
stop_worker g
wait_for eval '! cidsteer workers | grep -q green'
check "  the old one is gone" wait_for eval '! ip -n cg link show c0'
pair cg green
check "without workers it is" with "${all[@]}" "$green"
check "  attached to" eval '[ "$(grep -c "green: s0: attached" "$DAEMON_LOG")" = 3 ]'
like "  by its own program" "$(cidsteer status --json | tr -s ' \n' ' ')" \
	'"netns": "green", "interface": "s0", "state": "attached"'
check "  a worker registers" worker g green "${both[@]}"
g=$(ids g)
old=$(counter xdp green by_table)
send cg --to 10.9.1.1:443 --count 5 $g >/dev/null
arrived 40 g
is "  and gets what is its own" "$(count g own) $(($(counter xdp green by_table) - old))" "40 40"
each "beside it"
stop_worker g
wait_for eval '! cidsteer workers | grep -q green'

# ---- what it may not --------------------------------------------------------------------------
stop_daemon
BUILD=$WORK/bin
mkdir "$BUILD"
ln -s "$real/cidsteer" "$BUILD/cidsteer"
printf '#!/bin/sh\nexec setpriv --no-new-privs --bounding-set=-all,+bpf,+net_admin,+perfmon "%s/cidsteerd" "$@"\n' "$real" >"$BUILD/cidsteerd"
chmod +x "$BUILD/cidsteerd"
start_daemon
like "without CAP_SYS_ADMIN a daemon says what it lacks" "$(tail -1 "$DAEMON_LOG")" \
	'^cidsteerd: service "red": network namespace red: entering it needs CAP_SYS_ADMIN, which this process lacks: see PRIVILEGES in cidsteerd\(8\)$'
BUILD=$real
each "and nothing changes"
check "cidsteer load does all of it, too" cidsteer load
each "after a load"
stop_worker o
stop_worker r1
stop_worker r2
stop_worker b
check "cidsteer unload takes all away" cidsteer unload --force
is "  no program is left at an interface" \
	"$(for ns in own red blue green; do ip -n $ns link show s0; done | grep -c 'prog/xdp')" 0
check "  nor a pin" test ! -e "$BPFFS"
done_testing

#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Beside others.
# HTTP/3 through AF_XDP sockets: clients move, the server is reloaded, from and to UDP sockets too, its
# daemon is killed, XDP comes off and on again, and no connection is lost.
#
#   client               nat                  server
#  .------. 10.9.0.0/24 .------. 10.9.1.0/24 .------.
#  | c0   |-------------|n0  n1|-------------| s0   |  XDP here, h3server with 4 workers
#  '------' fd09:0::/64 '------' fd09:1::/64 '------'
#
# Each cable has 4 queues.
# shellcheck disable=SC2317 # functions that check and wait_for call
# shellcheck disable=SC2119 # start_daemon takes options, or none
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=../scripts/demo-net.sh
. "$(dirname "$0")/../scripts/demo-net.sh"

LIMIT=40 # seconds for one transfer
CLIENTS=8
RATE=1000000
LONG=/bytes/4000000
LONGER=/bytes/10000000 # as long as what happens meanwhile

VETH_QUEUES=4 topology_nat
add_clients $CLIENTS
DAEMON_NS=server
configure <<END
service "h3" {
	listen = {"[::]:443"}
	user = "nobody"
}
END

# ---- what is looked at ----------------------------------------------------------------------
# of_workers PYTHON: an expression over workers, those of the daemon that live.
of_workers()
{
	cidsteer workers --json | "$PYTHON" -c "
import json, sys
workers = [w for w in json.load(sys.stdin)['workers'] if w['state'] != 'reaping']
print($1)"
}

# "s0:0-3 s0:0-3 ...": of each worker.
xsks()
{
	of_workers "*sorted('+'.join('%s:%d-%d' % (x['interface'], x['first_queue'], x['first_queue'] + x['queues'] - 1)
		for x in w['xsks']) or '-' for w in workers)"
}

xsks_are()
{
	[ "$(xsks)" = "$1" ]
}

strays()
{
	of_workers "sum(w['strays'] for w in workers)"
}

# sum_of MEMBER: over the workers of the server, as they say now.
sum_of()
{
	worker_lines "$WORK/lines"
	sed -n "s/^{\"event\":\"worker\",.*\"$1\":\([0-9]*\)[,}].*/\1/p" "$WORK/lines" |
		awk '{ n += $1 } END { print n + 0 }'
}

# Datagrams that the stack had for UDP sockets, of both families.
delivered()
{
	in_ns server cat /proc/net/snmp /proc/net/snmp6 |
		awk '/^Udp: [0-9]/ { n += $2 } $1 == "Udp6InDatagrams" { n += $2 } END { print n + 0 }'
}

xdp()
{
	counter xdp h3 "$1"
}

findings()
{
	cidsteer status --json | "$PYTHON" -c '
import json, sys
for finding in json.load(sys.stdin)["findings"]:
    print(finding["reason"] + "|" + finding["action"])'
}

# ---- transfers ------------------------------------------------------------------------------
declare -A running=() # number -> pid

# begin PATH: downloads of all clients; half of them move by themselves, half are rebound, at 40%.
begin()
{
	local i moves

	rm -rf "$WORK/out"
	mkdir -p "$WORK/out"
	nat_reset $CLIENTS
	for ((i = 0; i < CLIENTS; i++)); do
		moves=--report-at
		[ $((i / 2 % 2)) = 0 ] || moves=--migrate-after
		transfer "$WORK/out" $i --rate $RATE $moves 40% "$1" &
		running[$i]=$!
	done
	wait_for answered $CLIENTS || bail "the clients do not connect"
}

answered()
{
	[ "$(in_ns nat conntrack -L -p udp 2>/dev/null | grep -vc UNREPLIED)" -ge "$1" ]
}

# finish CLAIM: all of them have ended, and each is right.
finish()
{
	local i lost=

	for i in "${!running[@]}"; do
		wait "${running[$i]}" || lost+="$i: $(cat "$WORK/out/$i.json" "$WORK/out/$i.err" 2>&1)"
	done
	running=()
	is "$1: $CLIENTS of $CLIENTS transfers survive" "$lost" ""
	is "$1: no strays" "$(strays)" 0
}

in_flight()
{
	local pid

	for pid in "${running[@]}"; do kill -0 "$pid" || return 1; done
}

# moved FROM: transfers of which the server's statistics from this line on have a change of path.
moved()
{
	tail -n "+$1" "$SERVER_DIR/stats" | grep -c '"complete":true,"path_changes":1,'
}

said()
{
	grep -Ec -- "$1" "$SERVER_DIR/log"
}

has_said()
{
	[ "$(said "$1")" -ge "${2:-1}" ]
}

reload_to()
{
	kill -HUP "$SERVER_PID"
	wait_for has_said "^h3server: serving .*, generation $1\$"
}

# ---- wrong use ------------------------------------------------------------------------------
start_daemon || bail "the daemon does not start"
check "cs_xdp is attached" cidsteer attach s0 --mode native
run_server()
{
	in_ns server timeout 10 "$BUILD/h3server" --listen '[::]:443' --user nobody "$@" 2>&1
	echo "exits with $?"
}
like "an interface that is not there" "$(run_server --io xsk:eth7 | xargs)" "eth7: .*exits with 1$"
like "no interface" "$(run_server --io xsk: | xargs)" "--io.*exits with 2$"
like "no such way" "$(run_server --io tcp | xargs)" "--io tcp: .*exits with 2$"
like "without steering" "$(run_server --io xsk:s0 --no-steer | xargs)" "exits with 2$"

# ---- threads --------------------------------------------------------------------------------
start_server "$WORK/threads" --listen '[::]:443' --workers 4 --threads --io xsk:s0
check "threads: each has a socket on every queue" wait_for xsks_are "s0:0-3 s0:0-3 s0:0-3 s0:0-3"
was=$(delivered)
begin $LONG
finish "threads"
is "threads: the server saw each of them move" "$(moved 1)" $CLIENTS
read_from=$(sum_of xsk_in)
is "threads: what XDP sent was read" "$read_from" "$(xdp to_xsk)"
is "threads: it is all that came" "$read_from" "$(xdp seen)"
check "threads: thousands of datagrams" test "$read_from" -gt 1000
is "threads: no UDP socket has got one" "$(($(delivered) - was))" 0
check "threads: answers left the same way" test "$(sum_of xsk_out)" -gt 10000

# ---- XDP goes -------------------------------------------------------------------------------
begin $LONGER
check "XDP comes off" cidsteer detach s0 --force
like "status says so" "$(findings)" \
	"^s0: 4 workers have AF_XDP sockets there, and it has no XDP that sends to them: packets go to UDP sockets\|cidsteer attach s0$"
advice=$(findings)
sleep 1
check "the transfers go on" in_flight
check "what it says to do" eval "${advice#*|}"
is "helps" "$(findings)" ""
finish "XDP off and on"
check "UDP sockets have got packets meanwhile" test "$(delivered)" -gt "$was"

# ---- the daemon goes ------------------------------------------------------------------------
begin $LONGER
stop_daemon KILL
sent=$(xdp to_xsk)
sleep 1
check "without a daemon frames go on coming" test "$(xdp to_xsk)" -gt "$sent"
check "another daemon" start_daemon
check "all pass their sockets again" wait_for eval '[ "$(grep -c "has 4 AF_XDP sockets" "$DAEMON_LOG")" = 8 ]'
check "meanwhile the transfers go on" in_flight
finish "another daemon"
is "they have the same queues" "$(xsks)" "s0:0-3 s0:0-3 s0:0-3 s0:0-3"

# ---- a reload: the old generation holds the queues ------------------------------------------
begin $LONGER
check "a reload" reload_to 1
check "meanwhile the transfers go on" in_flight
finish "reload"
check "the old generation ends" wait_for has_said "^h3server: generation 0 has drained\$"
check "the new one has the queues then" wait_for xsks_are "s0:0-3 s0:0-3 s0:0-3 s0:0-3"
sent=$(xdp to_xsk)
begin /bytes/500000
finish "the new generation"
check "frames come" test "$(xdp to_xsk)" -gt "$sent"

# ---- to UDP sockets and back, by generations ------------------------------------------------
begin $LONGER
old=$SERVER_PID
add_server --listen '[::]:443' --workers 4 --generation 20
check "from AF_XDP to UDP sockets: the transfers go on" in_flight
finish "from AF_XDP to UDP"
check "the old server has ended" wait_for has_said "^h3server: generation 1 has drained\$"
check "no worker has AF_XDP sockets" wait_for xsks_are "- - - -"
kill -TERM $old 2>/dev/null
SERVER_PIDS=("$SERVER_PID")
begin $LONGER
add_server --listen '[::]:443' --workers 4 --generation 30 --io xsk:s0
check "from UDP to AF_XDP sockets: the transfers go on" in_flight
finish "from UDP to AF_XDP"
check "the old server has drained" wait_for has_said "^h3server: generation 20 has drained\$"

# ---- processes ------------------------------------------------------------------------------
check "processes: each has a queue" wait_for xsks_are "s0:0-0 s0:1-1 s0:2-2 s0:3-3"
kill -TERM "${SERVER_PIDS[0]}" 2>/dev/null
SERVER_PIDS=("$SERVER_PID")
from=$(($(wc -l <"$SERVER_DIR/stats") + 1))
seen=$(xdp seen) sent=$(xdp to_xsk) passed=$(xdp not_to_xsk)
begin $LONG
finish "processes"
is "processes: the server saw each of them move" "$(moved "$from")" $CLIENTS
seen=$(($(xdp seen) - seen)) sent=$(($(xdp to_xsk) - sent)) passed=$(($(xdp not_to_xsk) - passed))
is "processes: frames that come in on another's queue pass" "$((sent + passed))" "$seen"
check "processes: some went each way ($sent, $passed)" test "$sent" -gt 0 -a "$passed" -gt 0
check "seen is the sum" seen_is_sum xdp
stop_server
is "the server ends orderly" $? 0
done_testing

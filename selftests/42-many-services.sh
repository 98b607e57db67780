#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Beside others.
# As many services and listeners as there can be, in two namespaces with the same addresses and
# ports, and one connection ID that is issued in all of them.  SERVICES: fewer.
#
#   client                    server
#  .------. 10.9.1.0/24      .------.
#  | c0 .2|------------------|.1 s0 |  services 1 to 128
#  '------' fd09:1::/64      '------'
#   client2                   server2     the same addresses
#  .------.                  .------.
#  | c0 .2|------------------|.1 s0 |  services 129 to 256
#  '------'                  '------'
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

MOST=256
SERVICES=${SERVICES:-$MOST}
HALF=$((MOST / 2))
PACKETS=8 # to each listener
cid=0102030405060708

ns_add client server client2 server2
for n in "" 2; do
	veth client$n c0 server$n s0
	address client$n c0 10.9.1.2/24 fd09:1::2/64
	address server$n s0 10.9.1.1/24 10.9.1.10/24 fd09:1::1/64
done
DAEMON_NS=server
PATIENCE=60

# half N: "" or 2, how the namespaces of the service are called.
half()
{
	[ "$1" -le $HALF ] || echo 2
}

# listeners N: of a service; two have an exact address, two share a port with a wildcard.
listeners()
{
	local port=$((1000 + $1 % HALF))

	echo "10.9.1.1:$port [fd09:1::1]:$port [::]:$((port + 1000)) 10.9.1.10:$((port + 1000))"
}

# service N [LISTENER...]: its paragraph in the configuration.
service()
{
	local n=$1 netns="" list
	shift
	[ $n -le $HALF ] || netns='netns = "server2"'
	# shellcheck disable=SC2046 # words
	list=$(printf '"%s", ' $(listeners $n) "$@")
	echo "service \"s$n\" { $netns listen = {${list%, }} max_cids = 64 }"
}

services()
{
	local n

	for ((n = 1; n <= $1; n++)); do
		service $n
	done
}

# ---- limits ---------------------------------------------------------------------------------
services $((MOST + 1)) | configure
is "257 services are refused" "$("$BUILD/cidsteerd" --config "$CONFIG" --check 2>&1)" \
	"cidsteerd: $CONFIG: no more than 256 services"
{
	services $((MOST - 1))
	service $MOST 10.9.1.10:9
} | configure
check "1,025 listeners: the daemon does not start" eval '! start_daemon'
like "and says why" "$(cat "$DAEMON_LOG")" "service \"s256\": no more than 1024 listeners"
check "nothing of it is left" test ! -e "$BPFFS"

# ---- all of them ----------------------------------------------------------------------------
HALF=$((SERVICES / 2))
services $SERVICES | configure
from=$SECONDS
# More descriptors than the usual limit are needed while it loads.
check "$SERVICES services with $((4 * SERVICES)) listeners are loaded" \
	eval 'ulimit -Sn 1024; cidsteer load 2>"$WORK/progress"'
took=$((SECONDS - from))
told=$(grep -Ec '^cidsteer: load: the programs of [0-9]+ listeners so far$' "$WORK/progress")
if [ $took -lt 10 ]; then
	skip "it took $took s" "it tells of its progress every five seconds"
else
	check "it tells of its progress every five seconds ($told times in $took s)" \
		test "$told" -ge 1 -a $((5 * told)) -le $((took + 1)) -a $((took - 5 * told)) -le $((10 + took / 5))
fi
check "the daemon starts" start_daemon
is "all are there" \
	"$(cidsteer report --json | "$PYTHON" -c '
import json, sys
services = json.load(sys.stdin)["services"]
print(len(services), sum(s["listeners"] for s in services))')" "$SERVICES $((4 * SERVICES))"

# start N: the worker process of a service.  It is two workers, of which the second issues the ID, and
# is asked later what it got.
start()
{
	local listener listen=()

	for listener in $(listeners $1); do
		listen+=(--listen "$listener")
	done
	DAEMON_NS=server$(half $1) start_worker w$1 --service s$1 --handles 2 "${listen[@]}" &&
		answer="$(ask w$1 use 1) $(ask w$1 issue $cid)" && [ "$answer" = "ok ok" ]
}

start_all()
{
	local n

	for ((n = 1; n <= SERVICES; n++)); do
		start $n || {
			echo "s$n: $answer"
			return 1
		}
	done
}
check "each has two workers, and the second of each issues one and the same ID" start_all

# send_all FROM TO: to each listener of these services, from as many ports as packets.
send_all()
{
	local n listener

	for ((n = $1; n <= $2; n++)); do
		for listener in $(listeners $n); do
			# That is a wildcard's: by the address that no other listener has there.
			[[ $listener != "[::]"* ]] || listener="[fd09:1::1]${listener#\[::\]}"
			send "client$(half $n)" --to "$listener" --ports $PACKETS --count $PACKETS $cid \
				>/dev/null || return 1
		done
	done
}

# wrong FROM TO: the services whose worker has not got exactly its packets, each to its socket.
wrong()
{
	local n got wanted="$PACKETS,$PACKETS,$PACKETS,$PACKETS"

	for ((n = $1; n <= $2; n++)); do
		arrived $((4 * PACKETS)) w$n
		got=$(ask w$n count)
		[[ $got == *" own=$((4 * PACKETS)) "*"sockets=$wanted" ]] || echo "s$n: $got"
		reset w$n
	done
}

# some: of every eighth, and the last.  What passes XDP comes to the same programs: all is tried there.
some()
{
	local n

	for ((n = 1; n <= SERVICES; n += 8)); do
		"$1" $n $n || return 1
	done
	"$1" $SERVICES $SERVICES
}

check "no XDP: packets are sent to every eighth service" some send_all
is "no XDP: each has got its $((4 * PACKETS)), and nothing else" "$(some wrong)" ""
check "cs_xdp is attached in server" cidsteer attach s0 --mode native
check "and in server2" cidsteer attach s0 --mode native --netns server2
check "native XDP: $((4 * PACKETS * SERVICES)) packets are sent" send_all 1 $SERVICES
is "native XDP: each of the $SERVICES has got its $((4 * PACKETS)), and nothing else" "$(wrong 1 $SERVICES)" ""
for n in 1 $HALF $((HALF + 1)) $SERVICES; do
	is "XDP finds those of s$n in the table" "$(verdicts xdp s$n)" "by_table=$((4 * PACKETS))"
done

# ---- one goes, and comes again --------------------------------------------------------------
services $((SERVICES - 1)) | configure
stop_worker w$SERVICES
check "the last service is taken out" cidsteer reload
check "packets are sent to s$((HALF - 2)) to s$((SERVICES - 1))" send_all $((HALF - 2)) $((SERVICES - 1))
is "they have lost nothing" "$(wrong $((HALF - 2)) $((SERVICES - 1)))" ""
services $SERVICES | configure
check "it comes again" cidsteer reload
check "with a worker" start $SERVICES
check "packets are sent to it" send_all $SERVICES $SERVICES
is "it gets them" "$(wrong $SERVICES $SERVICES)" ""
check "cs_xdp comes off in server" cidsteer detach s0 --force
check "and in server2" cidsteer detach s0 --force --netns server2
done_testing

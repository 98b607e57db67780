#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Beside others.
# All packets of a handshake reach one worker: retransmissions, a ClientHello in two datagrams, 0-RTT,
# what follows a Retry, from whatever address, and while workers come and go.
#
#   client                    server
#  .------. 10.9.1.0/24      .------.
#  | c0 .2|------------------|.1 s0 |  XDP here; workers a, b, c, d
#  '------' fd09:1::/64      '------'
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

topology_pair
DAEMON_NS=server
configure <<END
service "h3" { listen = {"10.9.1.1:443", "[fd09:1::1]:443"} }
service "real" { listen = {"10.9.1.1:444"} }
END
check "the daemon starts" start_daemon

join()
{
	start_worker "$1" --service h3 --listen 10.9.1.1:443 --listen '[fd09:1::1]:443' ||
		bail "worker $1: $answer"
	workers="${workers:-} $1"
	name_of[$(ask "$1" state | sed 's/^id=\([0-9]*\) .*/\1/')]=$1
}

declare -A name_of
for name in a b c d; do
	join $name
done

# ringed CID: who gets an Initial with it that has no route.
ringed()
{
	local packet

	packet=$(send client --to 10.9.1.1:443 --form initial --print "$1")
	echo "${name_of[$(cidsteer explain --hex "$packet" | sed -n 's/.*socket of worker //p')]}"
}

# dcid WORKER FIRST: sets $cid to the first from FIRST on for which the ring names this worker.
dcid()
{
	local n

	for ((n = $2; ; n++)); do
		printf -v cid '5e%014d' $n
		[ "$(ringed $cid)" != "$1" ] || break
	done
}

FROM4=$(for n in 2 3 4 5 6 7 8 9; do echo "--from 10.9.1.$n"; done)
FROM6=$(for n in 2 3 4 5 6 7 8 9; do echo "--from fd09:1::$n"; done)

# flights CID FORM...: 32 packets of each form over each family, from 8 addresses and 4 ports each.
flights()
{
	local cid=$1 form sent=0
	shift
	for form; do
		sent=$((sent + $(send client --to 10.9.1.1:443 $FROM4 --ports 4 --count 32 --size 1200 \
			--form $form $cid)))
		sent=$((sent + $(send client --to '[fd09:1::1]:443' $FROM6 --ports 4 --count 32 \
			--size 1200 --form $form $cid)))
	done
	echo $sent
}

# all_at CLAIM WORKER NUMBER: got so many, and nobody else one.
all_at()
{
	local name got=

	# shellcheck disable=SC2086 # a list
	arrived "$3" $workers
	for name in $workers; do
		[ "$(count $name)" = 0 ] || got="$got$name=$(count $name) "
	done
	is "$1" "$got" "$2=$3 "
	# shellcheck disable=SC2086 # a list
	reset $workers
}

# handshake CLAIM WORKER CID: a client's first flight, twice, with 0-RTT, and in two datagrams.
handshake()
{
	local sent

	sent=$(flights "$3" initial initial 0rtt)
	all_at "$1: Initials, again, and 0-RTT, from 64 addresses and ports" "$2" "$sent"
}

# spread: "a=N b=N ...", whom 1,000 new connections go to.
spread()
{
	local name

	seq -f '77%014.0f' 1000 | send client --to 10.9.1.1:443 --form initial --size 1200 --ports 7 - \
		>/dev/null
	# shellcheck disable=SC2086 # a list
	arrived 1000 $workers
	for name in $workers; do
		echo -n "$name=$(count $name) "
	done
	# shellcheck disable=SC2086 # a list
	reset $workers
}

all()
{
	local claim=$1 worker cid server before after left

	for worker in a b; do
		dcid $worker 1
		handshake "$claim: first flight" $worker $cid
		# The server's answer names its own ID; the client goes on with that.
		server=$(ask $worker random 1)
		left=$(flights "${server#cids }" handshake short initial)
		all_at "$claim: what follows, with the server's ID, from 64 addresses and ports" \
			$worker "$left"
		# After a Retry the client's DCID is the Retry's SCID, which nobody has issued.
		dcid $worker 1000
		handshake "$claim: after a Retry whose SCID the ring has for its sender" $worker $cid
	done

	before=$(spread)
	dcid b 2000
	is "$claim: b issues the client's DCID provisionally" "$(ask b provisional $cid)" ok
	is "$claim: b drains" "$(ask b drain)" ok
	handshake "$claim: while b drains: a connection that it has" b $cid
	after=$(spread)
	like "$claim: none of 1,000 new connections is a draining worker's" "$after" ' b=0 '
	check "$claim: and only those that were its have moved" only_from b "$before" "$after"
	is "$claim: the ID is retired" "$(ask b retire $cid)" ok
	left=$(ringed $cid)
	check "$claim: then it opens a connection elsewhere ($left)" test "$left" != b
	handshake "$claim: there" "$left" $cid
	stop_worker b
	workers=${workers/ b/}

	before=$(spread)
	dcid a 3000
	ask a provisional $cid >/dev/null
	join $2
	after=$(spread)
	check "$claim: a worker that joins takes connections from all, and none else moves" \
		only_to $2 "$before" "$after"
	handshake "$claim: behind that: a connection that a has" a $cid
	ask a retire $cid >/dev/null
	dcid $2 1
	handshake "$claim: and one that the newcomer has now" $2 $cid
}

# share WORKER COUNTS
share()
{
	tr ' ' '\n' <<<"$2" | sed -n "s/^$1=//p"
}

# only_from WORKER BEFORE AFTER: nobody else has less than before, and some have more.
only_from()
{
	local name

	echo "before: $2 after: $3"
	[ "$(share "$1" "$2")" -gt 100 ] || return 1
	for name in $workers; do
		[ $name = "$1" ] || [ "$(share $name "$3")" -ge "$(share $name "$2")" ] || return 1
	done
}

# only_to WORKER BEFORE AFTER: nobody else has more than before, and it has its share.
only_to()
{
	local name

	echo "before: $2 after: $3"
	for name in $workers; do
		[ $name = "$1" ] || [ "$(share $name "$3")" -lt "$(share $name "$2")" ] || return 1
	done
	[ "$(share "$1" "$3")" -gt 150 ] && [ "$(share "$1" "$3")" -lt 350 ]
}

# ---- a real client whose ClientHello takes two datagrams ----------------------------------------
CONNECTIONS=20
test -x "$BUILD/h3server" -a -x "$BUILD/h3client" || bail "h3server, h3client: make examples"

# flights_of HOOK: what became of the Initials with a DCID of the client's; the server's are shorter.
# One worker of all 20 connections would be a ring that does not spread.
flights_of()
{
	"$PYTHON" - "$WORK/trace" "$1" <<-'END'
		import collections, json, sys
		workers, reasons = collections.defaultdict(list), set()
		for line in open(sys.argv[1]):
		    it = json.loads(line)
		    if it["hook"] == sys.argv[2] and it["type"] == "Initial" and len(it["dcid"]) > 16:
		        workers[it["dcid"]].append(it["worker"])
		        reasons.add(it["reason"])
		print(len(workers), "connections,", sum(len(of) > 1 for of in workers.values()),
		      "of two datagrams or more,", sum(len(set(of)) > 1 or 0 in of for of in workers.values()),
		      "at two workers or none, reasons other than the table and the ring:",
		      *(reasons - {"by_ring", "by_table"}), "one worker for all:", len(set(map(max, workers.values()))) == 1)
	END
}

is_tracing()
{
	bpftool map dump pinned "$BPFFS/cs_watch" | grep -q '"on": 1'
}

# connect N...: as many connections one after another.
connect()
{
	local n

	for n; do
		in_ns client "$BUILD/h3client" --hello 1500 --bind 10.9.1.$((n % 8 + 2)) 10.9.1.1 444 \
			/bytes/20000 || return 1
	done
}

# real_clients CLAIM HOOK...
real_clients()
{
	local claim=$1 hook tracer
	shift

	: >"$WORK/trace"
	(exec_in_ns server "$BUILD/cidsteer" --bpffs "$BPFFS" trace --json --service real --rate 5000 \
		>"$WORK/trace" 2>"$WORK/trace.err") &
	tracer=$!
	wait_for is_tracing || bail "no trace: $(cat "$WORK/trace.err")"
	check "$claim: $CONNECTIONS clients with a ClientHello of two datagrams" \
		connect $(seq $CONNECTIONS)
	kill -INT $tracer
	check "$claim: the trace ends orderly" wait $tracer
	for hook; do
		is "$claim: all Initials of each at one worker, says $hook" "$(flights_of $hook)" \
			"$CONNECTIONS connections, $CONNECTIONS of two datagrams or more, 0 at two workers or none, reasons other than the table and the ring: one worker for all: False"
	done
}

(exec_in_ns server "$BUILD/h3server" --listen 10.9.1.1:444 --service real --workers 4 \
	>"$WORK/server.log" 2>&1) &
server=$!
check "a server with 4 workers serves" wait_for grep -q '^h3server: serving' "$WORK/server.log"

all "no XDP" b
real_clients "no XDP" reuseport
like "cs_xdp is attached, native" "$(cidsteer attach s0 --mode native 2>&1)" "^s0: attached, native"
all "native XDP" b
real_clients "native XDP" xdp reuseport
kill $server
check "the server ends orderly" wait $server
is "XDP has counted no unknown ID" "$(counter xdp h3 unknown_cid)" 0
is "nor has cs_reuseport" "$(counter reuseport h3 unknown_cid)" 0
check "cs_xdp comes off" cidsteer detach s0 --force
done_testing

#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Trains of datagrams: XDP decides each datagram, sk_reuseport each train.
#
#   client                    server
#  .------. 10.9.1.0/24      .------.
#  | c0 .2|------------------|.1 s0 |  XDP here; workers a, b
#  '------' fd09:1::/64      '------'
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=traffic.bash
. "$(dirname "$0")/traffic.bash"

topology_pair
DAEMON_NS=server
configure <<END
service "h3" { listen = {"10.9.1.1:443", "[fd09:1::1]:443"} }
service "real" { listen = {"10.9.1.1:444"} }
END
check "the daemon starts" start_daemon

# offload on|off: GRO where the server receives.
offload()
{
	in_ns server ethtool -K s0 gro "$1" || bail "ethtool -K s0 gro $1"
}

# serve [OPTIONS...]: workers a and b; A and B are IDs that they have issued.
serve()
{
	local name

	for name in a b; do
		start_worker $name --service h3 --listen 10.9.1.1:443 --listen '[fd09:1::1]:443' "$@" ||
			bail "worker $name: $answer"
	done
	A=$(ask a random 1) B=$(ask b random 1)
	A=${A#cids } B=${B#cids }
}

leave()
{
	stop_worker a
	stop_worker b
}

# words NAME: "own=N foreign=M", of what it got: datagrams with IDs of its own, and of the other.
words()
{
	ask "$1" count | sed 's/.*\(own=[0-9]* foreign=[0-9]*\) .*/\1/'
}

# alternate CLAIM TO TRAINS SEGMENTS DECISIONS A B [XDP]: so many trains of one 4-tuple, in which the
# IDs of a and b take turns; SEGMENTS 1: datagrams without UDP_SEGMENT.  A and B are the words of
# both, DECISIONS those of cs_reuseport, XDP those of cs_xdp, none without.  Where a train is one
# decision the next is sent when all of it has arrived: else two might be joined.
alternate()
{
	local claim=$1 to=$2 trains=$3 segments=$4 decisions xdp calls=1 each i from=10.9.1.2:5000
	local gso=(--gso "$segments")

	decisions=$(counter reuseport h3 by_table)
	xdp=$(counter xdp h3 by_table)
	[ "${to#*.}" != "$to" ] || from='[fd09:1::2]:5000'
	[ "$segments" != 1 ] || gso=()
	[ "$5" = $((trains * segments)) ] || calls=$trains
	each=$((trains / calls))
	for ((i = 1; i <= calls; i++)); do
		send client --to "$to" --from "$from" --alternate "${gso[@]}" --size 1200 \
			--count $each $A $B >/dev/null
		arrived $((i * each * segments)) a b ||
			bail "$claim: of call $i not all has arrived: $(total a b)"
	done
	is "$claim: what a got" "$(words a)" "$6"
	is "$claim: what b got" "$(words b)" "$7"
	is "$claim: decisions of cs_reuseport" $(($(counter reuseport h3 by_table) - decisions)) "$5"
	is "$claim: decisions of cs_xdp" $(($(counter xdp h3 by_table) - xdp)) "${8:-0}"
	reset a b
}

RIGHT="own=800 foreign=0"
WRONG="own=800 foreign=800" # what began with an ID of a, and all behind it
NONE="own=0 foreign=0"

lossless client c0
for to in 10.9.1.1:443 '[fd09:1::1]:443'; do
	serve
	offload off
	alternate "no XDP, one by one, $to" "$to" 1600 1 1600 "$RIGHT" "$RIGHT"
	alternate "no XDP, UDP_SEGMENT, $to" "$to" 50 32 50 "$WRONG" "$NONE"
	cidsteer attach s0 --mode native >/dev/null 2>&1
	alternate "native XDP, one by one, $to" "$to" 1600 1 1600 "$RIGHT" "$RIGHT" 1600
	alternate "native XDP, UDP_SEGMENT, $to" "$to" 50 32 1600 "$RIGHT" "$RIGHT" 1600
	offload on
	alternate "native XDP, GRO, no UDP_GRO, $to" "$to" 50 32 1600 "$RIGHT" "$RIGHT" 1600
	leave

	serve --gro
	alternate "native XDP, GRO and UDP_GRO, $to" "$to" 50 32 50 "$WRONG" "$NONE" 1600
	offload off
	alternate "native XDP, UDP_GRO, but no GRO, $to" "$to" 50 32 1600 "$RIGHT" "$RIGHT" 1600
	cidsteer detach s0 --force >/dev/null
	alternate "no XDP, UDP_SEGMENT, UDP_GRO, $to" "$to" 50 32 50 "$WRONG" "$NONE"
	leave
done

# ---- who has UDP_GRO is told ------------------------------------------------------------------
words_of_status()
{
	cidsteer status | tr -s ' \n' ' '
}
serve
like "without UDP_GRO status says nothing of it" "$(words_of_status)" "^h3 steering 2 workers"
leave
serve --gro
id=$(ask a state | sed 's/^id=\([0-9]*\) .*/\1/')
like "with it, what to do" "$(words_of_status)" \
	"^h3 degraded 2 workers, worker $id \(pid ${worker_pid[a]}\) the first, have sockets with UDP_GRO: the kernel picks a worker once for a train of segments, whatever connections they are of have the server clear UDP_GRO before it registers; till then it has to check the DCID of each segment"
stop_daemon
start_daemon
like "another daemon says so too" "$(words_of_status)" "^h3 degraded 2 workers, worker $id "
stop_worker a
like "of one" "$(words_of_status)" "^h3 degraded 1 worker, worker [0-9]+ \(pid ${worker_pid[b]}\) the first, has sockets"
stop_worker b

# ---- a server that looks at each datagram of a train ------------------------------------------
("$BUILD/h3server" --help | grep -q -- --gro) || bail "h3server has no --gro"
(exec_in_ns server "$BUILD/h3server" --listen 10.9.1.1:444 --service real --workers 1 --gro \
	--stats "$WORK/stats" >"$WORK/server.log" 2>&1) &
server=$!
check "h3server --gro serves" wait_for grep -q '^h3server: serving' "$WORK/server.log"
# The kernel joins if the socket has UDP_GRO that its own hash picks: so both have it.
start_worker w --service real --gro --listen 10.9.1.1:444
W=$(ask w random 1)
W=${W#cids }
U=eeeeeeeeeeeeeeee
real=$(cidsteer workers | awk -v w="$(ask w state | sed 's/^id=\([0-9]*\) .*/\1/')" \
	'$2 == "real" && $1 != w { print $1 }')
for ((port = 6000; port < 6200; port++)); do
	packet=$(send client --to 10.9.1.1:444 --from 10.9.1.2:$port --print $U)
	[ "$(cidsteer explain --hex "$packet" | sed -n 's/.*socket of worker //p')" != "$real" ] || break
done

# said NAME: of the server's worker, when it is asked.
said()
{
	local lines

	lines=$(grep -c '"event":"worker"' "$WORK/stats")
	kill -USR1 $server
	wait_for eval '[ $(grep -c "\"event\":\"worker\"" "$WORK/stats") -gt '"$lines"' ]'
	tail -1 "$WORK/stats" | sed 's/.*"'"$1"'":\([0-9]*\).*/\1/'
}

received()
{
	wait_for eval '[ "$(said datagrams_in)" = '"$1"' ]'
}

in_ns client nft -f - <<RULES || bail "nft"
	table inet answers {
		counter answer { }
		chain in { type filter hook input priority 0; udp sport 444 counter name answer; }
	}
RULES
# train: 32 datagrams to IDs that nobody and w has issued, from where the ring names the server.
train()
{
	send client --to 10.9.1.1:444 --from 10.9.1.2:$port --alternate --gso 32 --size 1200 $U $W >/dev/null
}

cidsteer attach s0 --mode native >/dev/null 2>&1
offload on
for i in 1 2 3 4 5; do
	train
	received $((32 * i)) || bail "train $i has not arrived"
done
is "of 5 trains of 32 the server has taken each datagram for itself" \
	"$(said trains) $(said datagrams_in) $(said unknown) $(said strays)" "5 160 80 80"
is "each that is another worker's is a stray" \
	"$(cidsteer workers | awk -v id="$real" '$1 == id { print $9 }')" 80
is "who has issued the ID got none" "$(count w)" 0
offload off
train
arrived 16 w
received 176
is "without GRO there are no more trains, and no more strays" \
	"$(said trains) $(said datagrams_in) $(said unknown) $(said strays) $(count w own)" "5 176 96 80 16"
is "none was answered, with a stateless reset or otherwise" \
	"$(in_ns client nft list counter inet answers answer | sed -n 's/.*packets \([0-9]*\) .*/\1/p')" 0

# ---- and serves -------------------------------------------------------------------------------
stop_worker w
offload on
# Datagrams that come within 2 ms are joined, though each comes by itself.
ip netns exec server sh -c 'echo 2000000 >/sys/class/net/s0/gro_flush_timeout' || bail "GRO"
check "an upload of 3 MB to h3server --gro" in_ns client "$BUILD/h3client" --upload 3000000 10.9.1.1 444 /sink
check "came in trains" test "$(said trains)" -gt 5
is "and none of it was a stray" "$(said strays)" 80
kill -TERM $server
check "h3server ends orderly" wait $server
check "cs_xdp comes off" cidsteer detach s0 --force
done_testing

#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Beside others.
# Each packet reaches the worker that the maps name, with and without XDP, from any address.
#
#   client                    server
#  .------. 10.9.1.0/24      .------.
#  | c0 .2|------------------|.1 s0 |  XDP here; workers a, b, c, d
#  '------' fd09:1::/64      '------'
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

topology_pair
DAEMON_NS=server
workers="a b c d"

configure <<END
service "h3" {
    listen = {"[::]:443"}
}
END

start_all()
{
	local name

	check "the daemon starts" start_daemon
	for name in $workers; do
		check "worker $name registers" start_worker $name --service h3 --listen '[::]:443'
	done
}

# everyone_got NUMBER: each worker got so many packets, all with IDs that it issued.
everyone_got()
{
	local name line

	for name in $workers; do
		line=$(ask $name count)
		case $line in
		"packets=$1 own=$1 foreign=0 "*) ;;
		*) echo "$name: $line"; return 1 ;;
		esac
	done
}

# counts: packets of each worker, most first.
counts()
{
	local name

	for name in $workers; do
		count $name
	done | sort -rn | xargs
}

# to_one CLAIM NUMBER: of all workers one got all.
to_one()
{
	arrived "$2" $workers
	is "$1" "$(counts)" "$2 0 0 0"
	reset $workers
}

# FROM4 and FROM6: eight client addresses of each family.
FROM4=$(for n in 2 3 4 5 6 7 8 9; do echo "--from 10.9.1.$n"; done)
FROM6=$(for n in 2 3 4 5 6 7 8 9; do echo "--from fd09:1::$n"; done)
declare -A cids sent_by

# to_server HOOK-REASON NUMBER ARGUMENTS...: sends, and keeps the account of what must be counted.
to_server()
{
	local reason=$1 wanted=$2 got
	shift 2
	got=$(send client "$@")
	[ "$got" = "$wanted" ] || bail "send: $got datagrams instead of $wanted"
	sent_by[$reason]=$((${sent_by[$reason]:-0} + got))
}

traffic()
{
	local name form all

	for name in $workers; do
		cids[$name]=$(ask $name random 25)
		cids[$name]=${cids[$name]#cids }
	done
	all="${cids[a]} ${cids[b]} ${cids[c]} ${cids[d]}"
	reset $workers

	to_server by_table 3200 --to 10.9.1.1:443 $FROM4 --ports 8 --count 32 $all
	arrived 3200 $workers
	check "$1, IPv4: 3,200 short headers from 64 addresses and ports reach who issued their IDs" \
		everyone_got 800
	reset $workers
	to_server by_table 3200 --to '[fd09:1::1]:443' $FROM6 --ports 8 --count 32 $all
	arrived 3200 $workers
	check "$1, IPv6: 3,200 short headers from 64 addresses and ports reach who issued their IDs" \
		everyone_got 800
	reset $workers
	for form in initial handshake 0rtt unknown handshake-v2 short-fixed0; do
		to_server by_table 200 --to 10.9.1.1:443 --ports 50 --form $form --count 2 $all
	done
	arrived 1200 $workers
	check "$1: an issued ID in any kind of header reaches who issued it" everyone_got 300
	reset $workers

	for form in initial 0rtt unknown initial-v2 0rtt-v2; do
		to_server by_ring 256 --to 10.9.1.1:443 $FROM4 --ports 32 --count 256 \
			--form $form --size 1200 8394c8f03e515708
		to_one "$1: $form with one DCID from 256 addresses and ports reaches one worker" 256
	done
	to_server by_ring 128 --to 10.9.1.1:443 --ports 4 --count 128 --form initial 8394c8f03e515709
	arrived 128 $workers
	to_server by_ring 128 --to '[fd09:1::1]:443' --ports 4 --count 128 --form 0rtt 8394c8f03e515709
	to_one "$1: Initial over IPv4 and 0-RTT over IPv6 with one DCID reach one worker" 256

	to_server unknown_cid 100 --to 10.9.1.1:443 $(seq -f 'ffffffffffff%04.0f' 100)
	to_one "$1: unknown short IDs of one 4-tuple reach one worker" 100
	to_server unknown_cid 100 --to 10.9.1.1:443 --form handshake $(seq -f 'ffffffffffff%04.0f' 100)
	to_one "$1: Handshakes with unknown IDs of one 4-tuple reach one worker" 100
	to_server unknown_cid 512 --to 10.9.1.1:443 --ports 512 --count 512 ffffffffffffffff
	arrived 512 $workers
	check "$1: those of 512 4-tuples are spread over all four workers" \
		awk '{ exit !($4 > 64) }' <<<"$(counts)"
	reset $workers
	to_server by_tuple 64 --to 10.9.1.1:443 --form handshake --count 64
	to_one "$1: long headers without a DCID go by 4-tuple" 64
	to_server malformed 64 --to 10.9.1.1:443 --form cut --count 64 8394c8f03e515708
	to_one "$1: headers that say more than there is go by 4-tuple" 64
	to_server malformed 16 --to 10.9.1.1:443 --form empty --count 16
	to_one "$1: empty datagrams go by 4-tuple" 16
}

# account: as verdicts() prints it.
account()
{
	local reason

	for reason in malformed by_table by_ring by_tuple unknown_cid; do
		printf '%s=%s ' "$reason" "${sent_by[$reason]}"
	done | sed 's/ $//'
}

sent_in_all()
{
	local sum=0 reason

	for reason in "${!sent_by[@]}"; do
		sum=$((sum + sent_by[$reason]))
	done
	echo $sum
}

# ---- without XDP ----------------------------------------------------------------------------
start_all
traffic "without XDP"
is "without XDP: cs_reuseport has counted what was sent, by reason" \
	"$(verdicts reuseport h3)" "$(account)"
is "without XDP: seen is what was sent" "$(counter reuseport h3 seen)" "$(sent_in_all)"
is "without XDP: cs_xdp has seen nothing" "$(verdicts xdp h3)$(verdicts xdp -)" ""
check "seen is the sum of the verdicts" seen_is_sum reuseport

# ---- with native XDP: the counters go on ----------------------------------------------------
received()
{
	in_ns server cat /proc/net/dev | awk '$1 == "s0:" { print $3 }'
}

# seen_and_received: of cs_xdp, in all services and none, and of the interface.  ARP and neighbour
# discovery, which are seen too, may come between two looks.
seen_and_received()
{
	local seen in again

	while :; do
		seen=$(($(counter xdp h3 seen) + $(counter xdp - seen)))
		in=$(received)
		again=$(($(counter xdp h3 seen) + $(counter xdp - seen)))
		[ "$seen" != "$again" ] || break
	done
	echo "$seen $in"
}

like "cs_xdp is attached, native" "$(cidsteer attach s0 --mode native 2>&1)" "^s0: attached, native"
read -r seen_before received_before < <(seen_and_received)
declare -A without_xdp
for reason in "${!sent_by[@]}"; do
	without_xdp[$reason]=${sent_by[$reason]}
done
traffic "with XDP"
is "with XDP: cs_reuseport has counted what was sent, by reason" \
	"$(verdicts reuseport h3)" "$(account)"
for reason in "${!sent_by[@]}"; do
	sent_by[$reason]=$((sent_by[$reason] - without_xdp[$reason]))
done
is "with XDP: cs_xdp has counted the same packets with the same reasons" \
	"$(verdicts xdp h3)" "$(account)"
is "with XDP: cs_xdp's seen is what was sent" "$(counter xdp h3 seen)" "$(sent_in_all)"

read -r seen received < <(seen_and_received)
is "cs_xdp has seen what the interface has received" $((seen - seen_before)) \
	$((received - received_before))
check "seen is the sum of the verdicts, XDP" seen_is_sum xdp
check "seen is the sum of the verdicts, sk_reuseport" seen_is_sum reuseport
is "UDP to another port is sent" "$(send client --to 10.9.1.1:444 --count 7 aa)" 7
is "and is not counted as ours" "$(counter xdp h3 seen)" "$(sent_in_all)"

# ---- what decide() says of a frame is where the packet goes ---------------------------------
agree()
{
	local form name packet predicted got port=20000 wrong=0

	for form in short initial handshake cut unknown 0rtt-v2; do
		for to in 10.9.1.1:443 '[fd09:1::1]:443'; do
			from=10.9.1.4
			[ "$to" = 10.9.1.1:443 ] || from='[fd09:1::4]'
			port=$((port + 1))
			packet=$(send client --to "$to" --from "$from:$port" --form $form --print \
				0102030405060708)
			predicted=$(cidsteer explain --hex "$packet" | sed -n 's/.*socket of worker //p')
			reset $workers
			send client --to "$to" --from "$from:$port" --form $form \
				0102030405060708 >/dev/null
			arrived 1 $workers
			got=
			for name in $workers; do
				[ "$(count $name)" = 0 ] || got=${id[$name]}
			done
			[ "$got" = "$predicted" ] && continue
			echo "$form to $to: explain says ${predicted:-nobody}, worker ${got:-none} got it"
			wrong=1
		done
	done
	return $wrong
}
declare -A id
for name in $workers; do
	id[$name]=$(ask "$name" state | sed 's/^id=\([0-9]*\) .*/\1/')
done
check "explain names the worker that gets the packet, for 12 kinds" agree

# ---- packets that do not lie in one piece ---------------------------------------------------
# On loopback a datagram above 16 KB, one sent with MSG_ZEROCOPY and a train of segments have
# nothing but the UDP header in the skb's linear part.
in_pieces()
{
	local name all

	all="${cids[a]} ${cids[b]} ${cids[c]} ${cids[d]}"
	reset $workers
	DAEMON_SEND=$(in_ns server "$TOOLS/send" --to "$1" --size 40000 --ports 8 --count 4 $all)
	is "$2: 400 datagrams of 40,000 bytes are sent" "$DAEMON_SEND" 400
	arrived 400 $workers
	check "$2: and reach who issued their IDs" everyone_got 100
	reset $workers
	in_ns server "$TOOLS/send" --to "$1" --size 1200 --zerocopy --ports 8 --count 4 $all >/dev/null
	arrived 400 $workers
	check "$2: so do 400 that were sent with MSG_ZEROCOPY" everyone_got 100
	reset $workers
	in_ns server "$TOOLS/send" --to "$1" --size 1200 --gso 10 --count 2 $all >/dev/null
	arrived 2000 $workers
	check "$2: and 200 trains of 10 segments" everyone_got 500
	reset $workers
	in_ns server "$TOOLS/send" --to "$1" --size 40000 --form initial --ports 64 --count 64 \
		8394c8f03e515708 >/dev/null
	to_one "$2: Initials of 40,000 bytes with one DCID reach one worker" 64
}
in_pieces 127.0.0.1:443 "loopback, IPv4"
in_pieces '[::1]:443' "loopback, IPv6"

check "cs_xdp comes off" cidsteer detach s0 --force
done_testing

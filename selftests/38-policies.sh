#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Beside others.
# Each policy at each hook: who gets the packets that no route names, which counters move, and that
# nobody who is dropped hears of it.
#
# Each service has a ring's worker, a kernel's worker and a table's worker: packets come from a port
# for which the ring names a and the kernel's own hash b, and c has issued the DCID that is asked for.
#
#   client                    server
#  .------. 10.9.1.0/24      .------.
#  | c0 .2|------------------|.1 s0 |  XDP here
#  '------' fd09:1::/64      '------'
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=account.bash
. "$(dirname "$0")/account.bash"

topology_pair
DAEMON_NS=server
quiet_cable c0
watch_icmp

# First with the default of each: policies may change while workers are registered.
configure <<END
service "one" { listen = {"10.9.1.1:1001"} }
service "two" { listen = {"[fd09:1::1]:1002"} }
service "three" { listen = {"10.9.1.1:1003"} }
service "four" { listen = {"[fd09:1::1]:1004"} }
service "all" { listen = {"10.9.1.1:1005"} }
END
check "the daemon starts" start_daemon
declare -A to=([one]=10.9.1.1:1001 [two]="[fd09:1::1]:1002" [three]=10.9.1.1:1003
	[four]="[fd09:1::1]:1004" [all]=10.9.1.1:1005)
declare -A from=([one]=10.9.1.2 [two]="[fd09:1::2]" [three]=10.9.1.2 [four]="[fd09:1::2]" [all]=10.9.1.2)
declare -A number=([one]=1 [two]=2 [three]=3 [four]=4) # of each service
declare -A issued opening ports

# explained SERVICE ARGUMENTS...: the id of the worker that explain names, of a packet as of send.c.
explained()
{
	local service=$1
	shift
	cidsteer explain --hex "$(send client --to "${to[$service]}" --print "$@")" |
		sed -n 's/.*socket of worker //p'
}

# opens SERVICE WORKER: sets $opening to a DCID for which the ring names this one.
opens()
{
	local cid

	for cid in $(seq -f 'aaaaaaaaaaaa%04.0f' 200); do
		[ "$(explained "$1" --form initial "$cid")" != "$2" ] || break
	done
	opening[$1]=$cid
}

# is_used SERVICE 0|1: the maps say that it is not there, or is.  Then cs_reuseport leaves all to the
# kernel's own hash, in the same groups of the same sockets.
is_used()
{
	local key="${number[$1]} 0 0 0" value

	# shellcheck disable=SC2086,SC2046 # words
	value=$(bpftool -j map lookup pinned "$BPFFS/cs_services" key $key |
		grep -o '"value":\["[^]]*' | cut -d'[' -f2 | tr -d '"' | tr , ' ')
	# shellcheck disable=SC2086,SC2206 # words
	value=($value)
	value[40]=$2 # struct cs_service, used
	# shellcheck disable=SC2086 # words
	bpftool map update pinned "$BPFFS/cs_services" key $key value "${value[@]}" || bail "cs_services"
}

# picks SERVICE PORT: sets $picked to a, b or c: the worker that the kernel's own hash picks.
picks()
{
	local name

	send client --to "${to[$1]}" --from "${from[$1]}:$2" ffff >/dev/null
	arrived $((got[$1a] + got[$1b] + got[$1c] + 1)) "$1a" "$1b" "$1c" ||
		bail "the kernel gives a packet to nobody"
	for name in a b c; do
		[ "$(count "$1$name")" != "${got[$1$name]}" ] || continue
		got[$1$name]=$((got[$1$name] + 1))
		picked=$name
	done
}

# find_port SERVICE: of the client, for which the ring names a, and the kernel's own hash picks b.
find_port()
{
	local port ring

	ring=$(worker_id "$1a")
	for ((port = 20000; port < 20400; port++)); do
		[ "$(explained "$1" --from "${from[$1]}:$port" --form handshake)" = "$ring" ] || continue
		is_used "$1" 0
		picks "$1" $port
		is_used "$1" 1
		wanted["reuseport $1 no_service"]=$((${wanted["reuseport $1 no_service"]:-0} + 1))
		[ "$picked" != b ] || break
	done
	[ "$picked" = b ] || bail "no port for service $1"
	ports[$1]=$port
}

worker_id()
{
	ask "$1" state | sed 's/^id=\([0-9]*\) .*/\1/'
}

# ---- who is there -----------------------------------------------------------------------------
for service in one two three four; do
	for name in a b c; do
		start_worker $service$name --service $service --listen "${to[$service]}" ||
			bail "worker $service$name: $answer"
		got[$service$name]=0
	done
	issued[$service]=$(ask ${service}c random 1)
	issued[$service]=${issued[$service]#cids }
	opens $service "$(worker_id ${service}a)"
done
start_worker stranger --unsteered --listen "${to[all]}"
got[stranger]=0
# Each value of each setting at least once; in a service, no two of the first three are alike.
configure <<END
service "one" {
	listen = {"10.9.1.1:1001"}
	unknown_cid = "hash" malformed = "pass" not_quic = "drop" small_initial = "count"
}
service "two" {
	listen = {"[fd09:1::1]:1002"}
	unknown_cid = "pass" malformed = "drop" not_quic = "quic" small_initial = "drop"
}
service "three" {
	listen = {"10.9.1.1:1003"}
	unknown_cid = "drop" malformed = "hash" not_quic = "pass" small_initial = "count"
}
service "four" {
	listen = {"[fd09:1::1]:1004"}
	unknown_cid = "pass" malformed = "drop" not_quic = "hash" small_initial = "drop"
}
service "all" {
	listen = {"10.9.1.1:1005"}
	unknown_cid = "drop" malformed = "drop" not_quic = "drop" small_initial = "drop"
}
END
check "policies change while workers are registered" cidsteer reload
stop_daemon # who would renew the lease
for service in one two three four; do
	find_port $service
done
check "before anything else: $(xargs -n1 <<<"${ports[*]}" | wc -l) ports are found, and all is counted" agrees

# ---- the table --------------------------------------------------------------------------------
N=25
UNKNOWN=eeeeeeeeeeeeeeee

# cell SERVICE CLAIM REASON NOTE WHO DROPPED ARGUMENTS...: of N such packets; WHO gets what is not
# dropped; NOTE and DROPPED may be "-".
cell()
{
	local service=$1 claim="$state: $2" reason=$3 note=$4 who=$5 dropped=$6 hook counters to_whom
	shift 6
	counters=
	to_whom=$service$who=$N
	for hook in xdp reuseport; do
		[ "$hook$state" != "xdpno XDP" ] || continue
		[ "$note" = - ] || counters="$counters $hook:$service:$note=$N"
		if [ "$dropped" = - ]; then
			counters="$counters $hook:$service:$reason=$N"
		elif [ "$state" = "XDP, lease" ]; then
			counters="$counters $hook:$service:$dropped=$N"
			to_whom=
			break
		else
			counters="$counters $hook:$service:$reason=$N $hook:$service:not_enforced=$N"
		fi
	done
	ACCOUNTED="${service}a ${service}b ${service}c icmp"
	expect "$claim" "$counters" "$to_whom" send client --strict --to "${to[$service]}" \
		--from "${from[$service]}:${ports[$service]}" --count $N "$@"
}

# small_initials SERVICE VALUE DROPPED
small_initials()
{
	local service=$1 claim="small_initial = $2" dropped=$3 opens=${opening[$1]}

	cell $service "$claim: 1,199 bytes, DCID issued" by_table small_initial c "$dropped" \
		--form initial --size 1199 "${issued[$service]}"
	cell $service "$claim: 1,199 bytes, v2" by_ring small_initial a "$dropped" \
		--form initial-v2 --size 1199 "$opens"
	cell $service "$claim: 1,199 bytes without a DCID" by_tuple small_initial a "$dropped" \
		--form initial --size 1199
	cell $service "$claim: 1,200 bytes" by_ring - a - --form initial --size 1200 "$opens"
	cell $service "$claim: 0-RTT of 1,199 bytes is none" by_ring - a - --form 0rtt --size 1199 "$opens"
}

cells()
{
	local form

	for form in short handshake; do
		cell one "unknown_cid = hash: $form" unknown_cid - a - --form $form $UNKNOWN
		cell two "unknown_cid = pass: $form" unknown_cid - b - --form $form $UNKNOWN
		cell three "unknown_cid = drop: $form" unknown_cid - a dropped_unknown \
			--form $form $UNKNOWN
	done
	for form in cut empty; do
		cell one "malformed = pass: $form" malformed - b - --form $form $UNKNOWN
		cell two "malformed = drop: $form" malformed - a dropped_malformed \
			--form $form $UNKNOWN
		cell three "malformed = hash: $form" malformed - a - --form $form $UNKNOWN
	done
	cell one "not_quic = drop" not_quic - a dropped_not_quic --form short-fixed0 "${issued[one]}"
	cell two "not_quic = quic: issued" by_table - c - --form short-fixed0 "${issued[two]}"
	cell two "not_quic = quic: unknown" unknown_cid - b - --form short-fixed0 $UNKNOWN
	cell three "not_quic = pass" not_quic - b - --form short-fixed0 "${issued[three]}"
	cell four "not_quic = hash" not_quic - a - --form short-fixed0 "${issued[four]}"
	small_initials one count -
	small_initials two drop dropped_initial
	cell three "an issued DCID is no policy's" by_table - c - "${issued[three]}"
	unset ACCOUNTED
	check "$state: nobody else has got anything, and nothing came late" agrees
}

state="no XDP"
cells
like "cs_xdp is attached, native" "$(cidsteer attach s0 --mode native 2>&1)" "^s0: attached, native"
state="XDP, lease"
lease 3600
cells

# ---- nobody has registered: what is there is not steered, and must not starve -------------------
state="XDP, lease, no worker"
for form in "short $UNKNOWN" "cut $UNKNOWN" empty "short-fixed0 $UNKNOWN"; do
	# shellcheck disable=SC2086 # form and DCID
	expect "$state: drop drops nothing: $form" xdp:all:no_worker=$N stranger=$N \
		send client --strict --to "${to[all]}" --count $N --form $form
done
expect "$state: nor small Initials" "xdp:all:no_worker=$N xdp:all:small_initial=$N" stranger=$N \
	send client --strict --to "${to[all]}" --count $N --form initial --size 1199 $UNKNOWN

# ---- the lease runs out -------------------------------------------------------------------------
state="XDP, past the lease"
lease 0
cells

has_seen()
{
	[ "$(counter xdp three seen)" = "$1" ]
}

# probe: sends a packet that is dropped for as long as the lease holds; is it past?
probe()
{
	local dropped

	dropped=$(counter xdp three dropped_unknown)
	probes=$((probes + 1))
	send client --to "${to[three]}" --from "${from[three]}:${ports[three]}" $UNKNOWN >/dev/null
	wait_for has_seen $((seen + probes))
	[ "$(counter xdp three dropped_unknown)" = "$dropped" ]
}

lease 3
probes=0
seen=$(counter xdp three seen)
check "after three seconds a lease is past" wait_for probe
like "it was valid before" "$probes" '^([2-9]|..+)$'
expect "what came before was dropped, one came behind, and arrived" \
	"xdp:three:dropped_unknown=$((probes - 1)) xdp:three:unknown_cid=1 xdp:three:not_enforced=1
	reuseport:three:unknown_cid=1 reuseport:three:not_enforced=1" threea=1 true

# ---- would an ICMP have been noticed? -------------------------------------------------------------
got[icmp]=1
send client --to 10.9.1.1:9 00 >/dev/null
wait_for eval '[ "$(count_icmp)" = 1 ]'
is "an ICMP to the client is counted: there was no other" "$(count_icmp)" 1
got[icmp]=2
send client --to '[fd09:1::1]:9' 00 >/dev/null
wait_for eval '[ "$(count_icmp)" = 2 ]'
is "over IPv6 too" "$(count_icmp)" 2
refused_at()
{
	! send client --strict --to "$1" --count 100 00
}
check "a connected socket that gets one says so" wait_for refused_at 10.9.1.1:9
check "over IPv6 too" wait_for refused_at '[fd09:1::1]:9'
check "cs_xdp comes off" cidsteer detach s0 --force
done_testing

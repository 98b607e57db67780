# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash disable=SC2317,SC2154 # functions that check and wait_for call; ids is the test's
# Traffic that goes on while something is done, in which no packet may be lost.  Workers a and b of
# service $TRAFFIC_SERVICE at $TRAFFIC_TO have issued the connection IDs in $ids; XDP is attached.

TRAFFIC_FROM=${TRAFFIC_FROM:-client}
TRAFFIC_SERVICE=${TRAFFIC_SERVICE:-h3}
TRAFFIC_TO=${TRAFFIC_TO:-10.9.1.1:443}
TRAFFIC_COUNT=${TRAFFIC_COUNT:-50} # packets for each ID at a time

# lossless NS DEV: a veth that is full (256 packets, while its peer's XDP has no processor) makes the
# sender wait.  It does so only below a qdisc, and since Linux 6.16; else it drops.
lossless()
{
	tc -n "$1" qdisc replace dev "$2" root pfifo limit 100000 || bail "qdisc of $2"
}

# Packets whose every DCID is issued, from ever new ports, until the file "stop" is there; "sent"
# then has their number.
generate()
{
	local sent=0 now

	rm -f "$WORK/stop"
	until [ -e "$WORK/stop" ]; do
		wait_for all_is_read || break
		# shellcheck disable=SC2086 # IDs
		now=$(send "$TRAFFIC_FROM" --to "$TRAFFIC_TO" --ports 10 --count "$TRAFFIC_COUNT" $ids) || break
		sent=$((sent + now))
	done
	echo $sent >"$WORK/sent"
}

# No socket is so full that it would lose a packet.
all_is_read()
{
	in_ns server ss -Huan sport = ":${TRAFFIC_TO##*:}" | awk '{ waiting += $2 } END { exit waiting > 20000 }'
}

has_grown()
{
	[ "$(total a b)" -gt "$1" ]
}

# with_traffic LEAST COMMAND...: while it runs, and a while before and behind it: more than LEAST
# packets before, and behind.  Numbers of packets are in $sent, $own (reached the worker that
# issued the ID), $selected and $seen (counted as routed by table, by each hook).
with_traffic()
{
	local least=$1 generator status
	shift
	reset a b
	selected=$(counter reuseport "$TRAFFIC_SERVICE" by_table)
	seen=$(counter xdp "$TRAFFIC_SERVICE" by_table)
	generate &
	generator=$!
	wait_for has_grown "$least"
	status=$?
	[ $status != 0 ] || "$@"
	status=$((status | $?))
	wait_for has_grown $(($(total a b) + least))
	status=$((status | $?))
	touch "$WORK/stop"
	wait "$generator"
	sent=$(cat "$WORK/sent")
	arrived "$sent" a b
	own=$(($(count a own) + $(count b own)))
	selected=$(($(counter reuseport "$TRAFFIC_SERVICE" by_table) - selected))
	seen=$(($(counter xdp "$TRAFFIC_SERVICE" by_table) - seen))
	return $status
}

# under_traffic CLAIM COMMAND...: nothing is lost.
under_traffic()
{
	local claim=$1 sent own selected seen
	shift
	check "$claim" with_traffic 1000 "$@"
	is "$claim: of $sent packets each reached its worker" "$own" "$sent"
	is "$claim: socket selection has counted each" "$selected" "$sent"
	is "$claim: so has XDP" "$seen" "$sent"
}

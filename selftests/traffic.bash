# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash disable=SC2317,SC2154 # functions that check and wait_for call; ids is the test's
# Traffic that goes on while something is done, in which no packet may be lost.  Workers a and b of
# service h3 at 10.9.1.1:443 have issued the connection IDs in $ids; XDP is attached.

# Packets whose every DCID is issued, from ever new ports, until the file "stop" is there; "sent"
# then has their number.
generate()
{
	local sent=0

	rm -f "$WORK/stop"
	until [ -e "$WORK/stop" ]; do
		wait_for all_is_read || break
		# shellcheck disable=SC2086 # IDs
		send client --to 10.9.1.1:443 --ports 10 --count 50 $ids >/dev/null || break
		sent=$((sent + 50 * 8))
	done
	echo $sent >"$WORK/sent"
}

# No socket is so full that it would lose a packet.
all_is_read()
{
	in_ns server ss -Huan sport = :443 | awk '{ waiting += $2 } END { exit waiting > 20000 }'
}

has_grown()
{
	[ "$(total a b)" -gt $(($1 + 1000)) ]
}

# under_traffic CLAIM COMMAND...: while it runs, and a while before and behind it, nothing is lost.
under_traffic()
{
	local claim=$1 before sent seen generator
	shift
	reset a b
	before=$(counter reuseport h3 by_table)
	seen=$(counter xdp h3 by_table)
	generate &
	generator=$!
	wait_for eval '[ "$(total a b)" -gt 1000 ]'
	check "$claim" "$@"
	wait_for has_grown "$(total a b)"
	touch "$WORK/stop"
	wait "$generator"
	sent=$(cat "$WORK/sent")
	arrived "$sent" a b
	is "$claim: of $sent packets each reached its worker" "$(($(count a own) + $(count b own)))" "$sent"
	is "$claim: socket selection has counted each" \
		"$(($(counter reuseport h3 by_table) - before))" "$sent"
	is "$claim: so has XDP" "$(($(counter xdp h3 by_table) - seen))" "$sent"
}


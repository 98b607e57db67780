#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# cidsteer trace: what it shows of known packets at both hooks, its filters, its rate, and that off is
# off, however its command ended.
#
#   client                    server
#  .------. 10.9.1.0/24      .------.
#  | c0 .2|------------------|.1 s0 |  XDP here; h3: workers a and b, other: worker c
#  '------' fd09:1::/64      '------'
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

topology_pair
DAEMON_NS=server
configure <<END
service "h3"    { listen = {"10.9.1.1:443", "[fd09:1::1]:443"} }
service "other" { listen = {"10.9.1.1:444"} unknown_cid = "drop" }
END
check "the daemon starts" start_daemon
for name in a b; do
	check "worker $name registers" \
		start_worker $name --service h3 --listen 10.9.1.1:443 --listen '[fd09:1::1]:443'
done
check "worker c registers" start_worker c --service other --listen 10.9.1.1:444
ask a issue 0101010101010101 >/dev/null
ask b issue 0202020202020202 >/dev/null
ask c issue 0303030303030303 >/dev/null
declare -A id
for name in a b c; do
	id[$name]=$(ask $name state | sed 's/^id=\([0-9]*\) .*/\1/')
done
like "cs_xdp is attached, native" "$(cidsteer attach s0 --mode native 2>&1)" "^s0: attached, native"

# watched FIELD: a number in cs_watch.
watched()
{
	bpftool map dump pinned "$BPFFS/cs_watch" | sed -n "s/^ *\"$1\": \([0-9]*\),\?$/\1/p" | head -1
}

is_on()
{
	[ "$(watched on)" = 1 ]
}

is_off()
{
	[ "$(watched on)" = 0 ]
}

TRACE_PID=
# trace_begin [ARGUMENTS...]: returns when the programs trace; what is shown goes to $WORK/trace.
trace_begin()
{
	: >"$WORK/trace"
	(exec_in_ns server "$BUILD/cidsteer" --bpffs "$BPFFS" trace --json "$@" \
		>"$WORK/trace" 2>"$WORK/trace.err") &
	TRACE_PID=$!
	wait_for is_on || bail "no trace: $(cat "$WORK/trace.err")"
}

# has_lines NUMBER: so many records were shown.
has_lines()
{
	[ "$(grep -c '"hook"' "$WORK/trace")" -ge "$1" ]
}

# trace_end NUMBER: waits for so many records, and ends it as an operator does.
trace_end()
{
	wait_for has_lines "$1"
	kill -INT "$TRACE_PID"
	wait "$TRACE_PID"
}

# shown FIELD...: these of each record, a line each, sorted; no time, which nobody knows.
shown()
{
	"$PYTHON" - "$WORK/trace" "$@" <<-'END' | sort
		import json, sys
		for line in open(sys.argv[1]):
		    record = json.loads(line)
		    # What the client's kernel says to all routers is not the test's.
		    if "hook" in record and not (record["to"] or "").startswith("[ff02:"):
		        print(*["-" if record[name] is None else record[name] for name in sys.argv[2:]])
	END
}

# left_out: what the trace says that it has not shown.
left_out()
{
	"$PYTHON" -c '
import json, sys
print(sum(json.loads(line).get("left_out", 0) for line in open(sys.argv[1])))' "$WORK/trace"
}

to4()
{
	send client --to 10.9.1.1:443 --from 10.9.1.2:5000 "$@" >/dev/null
}

# ---- what is shown of known packets ---------------------------------------------------------
is "without a trace the switch is off" "$(watched on)" 0
FIELDS="hook service from to header type dcid reason table_worker not_enforced"
# at_both LINE: the same line of both hooks.
at_both()
{
	printf 'xdp %s\nreuseport %s\n' "$1" "$1"
}
trace_begin
to4 0101010101010101
to4 --form initial --size 1200 aaaaaaaaaaaaaaaa
to4 --form initial-v2 --size 1200 aaaaaaaaaaaaaaab
to4 --form 0rtt aaaaaaaaaaaaaaac
to4 --form handshake 0202020202020202
to4 --form handshake bbbbbbbbbbbbbbbb
to4 --form retry-v2 bbbbbbbbbbbbbbbc
to4 --form unknown cccccccccccccccccccccccccccccccccccccccc
to4 --form unknown
to4 --form cut dddddddddddddddd
to4 --form empty
send client --to '[fd09:1::1]:443' --from '[fd09:1::2]:5000' 0202020202020202 >/dev/null
send client --to 10.9.1.1:444 --from 10.9.1.2:5001 eeeeeeeeeeeeeeee >/dev/null
trace_end 26
from="h3 10.9.1.2:5000 10.9.1.1:443"
# The policy drop needs a lease at XDP; this script says below what it has there.
is "each decision at both hooks, with addresses, header, DCID, reason and the table's worker" \
	"$(shown $FIELDS | grep -v '^xdp other')" "$(
		{
			at_both "$from short - 0101010101010101 by_table ${id[a]} -"
			at_both "$from long Initial aaaaaaaaaaaaaaaa by_ring 0 -"
			at_both "$from long Initial aaaaaaaaaaaaaaab by_ring 0 -"
			at_both "$from long 0-RTT aaaaaaaaaaaaaaac by_ring 0 -"
			at_both "$from long Handshake 0202020202020202 by_table ${id[b]} -"
			at_both "$from long Handshake bbbbbbbbbbbbbbbb unknown_cid 0 -"
			at_both "$from long Retry bbbbbbbbbbbbbbbc unknown_cid 0 -"
			at_both "$from long - cccccccccccccccccccccccccccccccccccccccc by_ring 0 -"
			at_both "$from long - - by_tuple 0 -"
			at_both "$from - - - malformed 0 -"
			at_both "$from - - - malformed 0 -"
			at_both "h3 [fd09:1::2]:5000 [fd09:1::1]:443 short - 0202020202020202 by_table ${id[b]} -"
			echo "reuseport other 10.9.1.2:5001 10.9.1.1:444 short - eeeeeeeeeeeeeeee unknown_cid 0 dropped_unknown"
		} | sort
	)"
is "a packet that its worker got names that worker" \
	"$(shown hook reason worker dcid | grep by_table)" "$(
		{
			at_both "by_table ${id[a]} 0101010101010101"
			at_both "by_table ${id[b]} 0202020202020202"
			at_both "by_table ${id[b]} 0202020202020202"
		} | sort
	)"
is "both hooks name the same worker for each packet" "$(shown from type dcid worker | grep -v :5001 | uniq -c | awk '$1 % 2')" ""
like "the time is now, in UTC" "$(head -1 "$WORK/trace")" \
	"\"time\": ?\"$(date -u +%Y-%m-%d)T[0-9:]{8}\.[0-9]{6}Z\""
check "it has ended, and the switch is off" is_off

# agrees: the trace says of a packet what explain says.
agrees()
{
	local form packet said

	for form in short initial handshake 0rtt-v2 cut; do
		packet=$(send client --to 10.9.1.1:443 --from 10.9.1.4:7000 --form $form --size 1200 \
			--print 0102030405060708)
		said=$(cidsteer explain --json --hex "$packet" |
			"$PYTHON" -c 'import json, sys; e = json.load(sys.stdin); print(e["reason"], e["worker"])')
		trace_begin --count 2
		send client --to 10.9.1.1:443 --from 10.9.1.4:7000 --form $form --size 1200 \
			0102030405060708 >/dev/null
		wait "$TRACE_PID"
		[ "$(shown reason worker | uniq)" = "$said" ] && continue
		echo "$form: explain: $said; trace: $(shown hook reason worker)"
		return 1
	done
}
check "what it says of 5 kinds of packets is what explain says" agrees

# ---- filters --------------------------------------------------------------------------------
# mix: one packet of each of several sorts, to both services.
mix()
{
	to4 0101010101010101 0202020202020202 ffffffffffffff01
	to4 --form initial --size 1200 ffffffffffffff02
	to4 --form cut ffffffffffffff03
	send client --to 10.9.1.1:444 --from 10.9.1.2:5001 0303030303030303 >/dev/null
	send client --to 10.9.1.1:444 --from 10.9.1.2:5001 --form initial --size 1200 \
		ffffffffffffff04 >/dev/null
	send client --to 10.9.1.1:445 --from 10.9.1.2:5001 0303030303030303 >/dev/null
}

# filtered CLAIM FILTER... -- FIELDS... -- LINES: what of mix() is shown.
filtered()
{
	local claim=$1 filter=() fields=()

	shift
	while [ "$1" != -- ]; do filter+=("$1") && shift; done
	shift
	while [ "$1" != -- ]; do fields+=("$1") && shift; done
	trace_begin "${filter[@]}"
	mix
	# What comes last is looked for at last: all before it has been shown by then.
	trace_end "$(grep -c . <<<"$2")"
	is "$claim" "$(shown "${fields[@]}")" "$(sort <<<"$2")"
}
filtered "--service shows that service's packets" --service other -- hook service dcid -- \
	"$(at_both "other 0303030303030303" && at_both "other ffffffffffffff04")"
filtered "--reason shows that reason's" --reason unknown_cid -- hook dcid -- \
	"$(at_both ffffffffffffff01)"
filtered "--reason takes several" --reason by_table,malformed -- hook reason dcid -- \
	"$(at_both "by_table 0101010101010101" && at_both "by_table 0202020202020202" &&
		at_both "by_table 0303030303030303" && at_both "malformed -")"
filtered "--reason not_ours shows what is nobody's, which else is not shown" --reason not_ours \
	-- hook service to -- "xdp - 10.9.1.1:445"
filtered "--worker shows what that worker got" --worker "${id[c]}" -- hook worker dcid -- \
	"$(at_both "${id[c]} 0303030303030303" && at_both "${id[c]} ffffffffffffff04")"
filtered "--cid shows that DCID" --cid 02:02:02:02:02:02:02:02 -- hook dcid -- \
	"$(at_both 0202020202020202)"
filtered "filters are all to fit" --service h3 --reason by_ring --cid ffffffffffffff02 -- hook dcid -- \
	"$(at_both ffffffffffffff02)"
# The beginning of another DCID is not that DCID.
trace_begin --cid 02020202 --count 2
to4 0202020202020202
to4 --form initial --size 1200 02020202
wait "$TRACE_PID"
is "--cid is a whole DCID" "$(shown dcid type | uniq)" "02020202 Initial"

# ---- wrong use ------------------------------------------------------------------------------
# wrong STATUS TEXT ARGUMENTS...
wrong()
{
	local status=$1 text=$2 output

	shift 2
	output=$(cidsteer trace "$@" 2>&1)
	is "trace $*: refused" "$?: $output" "$status: cidsteer: trace: $text"
}
wrong 2 "--reason: seen: not a reason; see cidsteer counters" --reason by_table,seen
wrong 2 "--reason: small_initial: not a reason; see cidsteer counters" --reason small_initial
wrong 2 "--reason: it names none" --reason ""
wrong 2 "--rate 0: not 1 to 1000000" --rate 0
wrong 2 "--rate 10x: not 1 to 1000000" --rate 10x
wrong 2 "--count -1: not 1 to 1000000000" --count -1
wrong 2 "--worker 40000: not a worker's id" --worker 40000
wrong 2 "--cid 012: not 1 to 20 bytes in hex" --cid 012
wrong 1 "there is no service h4" --service h4
check "and the switch stays off" is_off

# ---- count and rate -------------------------------------------------------------------------
trace_begin --count 3
to4 --count 10 0101010101010101
check "--count 3 ends by itself" wait "$TRACE_PID"
is "with 3 records" "$(grep -c hook "$WORK/trace")" 3
check "and the switch is off" is_off

# all_told NUMBER: what was shown and what was left out.
all_told()
{
	[ "$(($(grep -c hook "$WORK/trace") + $(left_out)))" = "$1" ]
}
# limited CLAIM FILTER...: 2,000 packets are 4,000 decisions, of which 10 a second are shown.
limited()
{
	local claim=$1 start end most shown

	shift
	start=$(date +%s)
	trace_begin --rate 10 "$@"
	to4 --ports 1 --count 2000 0101010101010101
	wait_for all_told 4000
	kill -INT "$TRACE_PID"
	wait "$TRACE_PID"
	end=$(date +%s)
	most=$((10 * (end - start + 2)))
	shown=$(grep -c hook "$WORK/trace")
	diag "$shown shown, at least 10, at most $most; $(left_out) left out"
	check "$claim: of 4,000 decisions at most 10 in each second are shown" \
		test "$shown" -ge 10 -a "$shown" -le $most
	check "$claim: the others are counted" all_told 4000
}
limited "a trace of everything"
limited "a trace with a filter" --cid 0101010101010101
trace_begin --rate 1000000
to4 --count 500 0101010101010101
trace_end 1000
is "within the rate all are shown" "$(grep -c hook "$WORK/trace") $(left_out)" "1000 0"

# ---- one at a time, and none that nobody watches --------------------------------------------
trace_begin
is "a second trace is refused, and told whose the first is" "$(cidsteer trace 2>&1)" \
	"cidsteer: trace: pid $TRACE_PID traces, or was killed less than 2 seconds ago: one trace at a time"
check "the first goes on" is_on
kill -KILL "$TRACE_PID"
wait "$TRACE_PID" 2>/dev/null
# ends_with_packets: each look sends one; the first behind the deadline turns it off.
ends_with_packets()
{
	to4 0101010101010101
	is_off
}
start=$(date +%s%N)
check "one that was killed is turned off by a packet" wait_for ends_with_packets
took=$((($(date +%s%N) - start) / 1000000))
diag "$took ms after it was killed"
check "two seconds after it last said that it goes on, and a little" test $took -lt 3500
trace_begin --count 2
to4 --form initial --size 1200 abababababababab
wait "$TRACE_PID"
is "the next one shows its own packets, not those that the killed one has not read" \
	"$(shown dcid | uniq)" abababababababab

trace_begin
kill -STOP "$TRACE_PID"
check "one that is stopped is turned off, too" wait_for ends_with_packets
kill -CONT "$TRACE_PID"
check "and comes back when it goes on" wait_for is_on
to4 --form initial --size 1200 cdcdcdcdcdcdcdcd
wait_for grep -q cdcdcdcdcdcdcdcd "$WORK/trace"
kill -TERM "$TRACE_PID"
check "SIGTERM ends it well" wait "$TRACE_PID"
check "and it is off" is_off

# The reader of a pipe goes away after its first line.
to_head()
{
	(exec_in_ns server "$BUILD/cidsteer" --bpffs "$BPFFS" trace) 2>/dev/null | head -1 >"$WORK/head"
}
to_head &
wait_for is_on
lines_until_off()
{
	to4 0101010101010101
	is_off
}
check "one whose reader has gone ends" wait_for lines_until_off
wait $!
like "text has a line for each decision" "$(cat "$WORK/head")" \
	"^[0-9:]{8}\.[0-9]{6} xdp h3 10\.9\.1\.2:5000 > 10\.9\.1\.1:443 short 0101010101010101: by_table, worker ${id[a]}$"

# ---- what it costs when it is off -----------------------------------------------------------
# cost PIN: of the program's own code, from the address of the switch to the branch behind it.
cost()
{
	local watch

	watch=$(bpftool -j map show pinned "$BPFFS/cs_watch" | grep -o '"id":[0-9]*' | cut -d: -f2)
	bpftool prog dump xlated pinned "$BPFFS/$1" | awk -v switch="map\\[id:$watch\\]\\[0\\]" '
		/^int / { functions++ }
		functions != 1 || !/^ *[0-9]+: / { next } # what is called, and source lines
		/call .*cs_watch_/ { calls++ }
		$0 ~ switch { addresses++; open = 1; next }
		open { print > "/dev/stderr" }
		open && / = \*\(/ { loads++ }
		open && / \*\(.*\) = / { stores++ }
		open && / if / { branches++; open = 0 }
		open && /(call|goto)/ { open = 0; branches += 100 }
		END {
			printf "addresses %d loads %d stores %d branches %d calls %d\n", addresses, loads,
				stores, branches, calls
		}' 2>"$WORK/cost"
	diag "$(cat "$WORK/cost")" >&2
}
for pin in xdp reuseport; do
	is "$pin: off, there are one load of the switch and one branch, which passes over the one call" \
		"$(cost $pin 2>/dev/null)" "addresses 1 loads 1 stores 0 branches 1 calls 1"
	diag "$pin, from the switch to the branch:" "$(cat "$WORK/cost")"
done

# ---- counters -------------------------------------------------------------------------------
# counted: all counters, after the same packets.
counted()
{
	local before after

	before=$(cidsteer counters --json)
	mix
	wait_for test "$(counter xdp - not_ours)" -ge 0
	after=$(cidsteer counters --json)
	"$PYTHON" - "$before" "$after" <<-'END'
		import json, sys
		before, after = (json.loads(text)["counters"] for text in sys.argv[1:])
		for a, b in zip(before, after):
		    for name in a:
		        if isinstance(a[name], int) and b[name] != a[name] and b["service"] != "-":
		            print(a["hook"], a["service"], name, b[name] - a[name])
	END
}
off=$(counted)
trace_begin
on=$(counted)
trace_end 14
is "a trace changes no counter" "$on" "$off"
like "and there are some" "$on" "reuseport h3 by_table 2"
done_testing

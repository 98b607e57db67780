#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Reloads, deaths of workers and of the daemon, upgrades, under continuous load: 200 HTTP/3
# connections that rebind and migrate all the time, and around each event a generator whose every
# packet carries a connection ID that is issued.  Nothing is lost but what was the killed worker's.
#
#   client               nat                  server
#  .------. 10.9.0.0/24 .------. 10.9.1.0/24 .------.
#  | c0   |-------------|n0  n1|-------------| s0   |  XDP here; daemon, h3server with 4 workers,
#  '------' fd09:0::/64 '------' fd09:1::/64 '------'  workers a and b of the generator's service
#
# TIMES (1) is how often each is done, in tenths of what `make soak` does.
#
# What is asked of it by make: build/edition, whose programs have another tag, and whose daemon and
# worker can be stopped at the points of user/common/point.h.

# shellcheck disable=SC2317 # functions that event, check and wait_for call
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=../scripts/demo-net.sh
. "$(dirname "$0")/../scripts/demo-net.sh"
TRAFFIC_FROM=nat
TRAFFIC_SERVICE=udp
TRAFFIC_TO=10.9.1.1:444
TRAFFIC_COUNT=500
# shellcheck source=traffic.bash
. "$(dirname "$0")/traffic.bash"

TIMES=${TIMES:-1}
CONNECTIONS=200
EDITION=$BUILD/edition
[ -x "$EDITION/cidsteerd" ] || bail "$EDITION/cidsteerd is not built: make edition"
say_seed()
{
	SEED=${SEED:-$RANDOM}
	RANDOM=$SEED
	diag "SEED=$SEED repeats these random numbers, if not this interleaving"
}

# ---- the load -------------------------------------------------------------------------------

declare -A load=() # address -> pid

# start_load CONNECTIONS PATH OPTION...: half of them over each IP version; returns when so many are
# there.
start_load()
{
	local connections=$1 path=$2 before to
	shift 2

	before=$(connections)
	for to in 10.9.1.1 fd09:1::1; do
		(exec_in_ns client "$BUILD/h3client" --busy $((connections / 2)) --seconds 3000 "$@" \
			--json "$to" 443 "$path" >"$WORK/load-$to.json" 2>"$WORK/load-$to.err") &
		load[$to]=$!
	done
	wait_for has_connections $((before + connections))
}

connections()
{
	grep -c '"event":"connection"' "$SERVER_DIR/stats"
}

has_connections()
{
	[ "$(connections)" -ge "$1" ]
}

# Connections that last six seconds and move twice in them.
start_moving_load()
{
	start_load $CONNECTIONS /bytes/15000 --change-every 2000 --requests 3 --rate 10000
}

# stop_load: transfers that were under way end; the totals are then in $totals.
stop_load()
{
	local to

	for to in "${!load[@]}"; do
		kill -TERM "${load[$to]}"
		wait "${load[$to]}"
	done
	totals=$(cat "$WORK"/load-*.json)
	diag "" "$totals" >&2
	load=()
}

# load_sum MEMBER
load_sum()
{
	grep -o "\"$1\":[0-9]*" <<<"$totals" | awk -F: '{ n += $2 } END { print n + 0 }'
}

# ---- events ---------------------------------------------------------------------------------

# went_back BEFORE: counters that are smaller than they were.
went_back()
{
	cidsteer counters | awk -v before="$1" '
		BEGIN {
			count = split(before, line, "\n")
			for (i = 1; i <= count; i++) {
				split(line[i], word)
				gsub(",", "", word[4])
				was[word[1] " " word[2] " " word[3]] = word[4]
			}
		}
		{ name = $1 " " $2 " " $3; gsub(",", "", $4); is[name] = $4 }
		END {
			for (name in was)
				if (was[name] + 0 > is[name] + 0) print name, was[name], is[name] + 0
		}'
}

# event CLAIM COMMAND...: it succeeds; each of over 10,000 packets that were sent around it has
# reached the worker that issued its ID, each hook has counted each, no counter went back.
#
# $CLOSES sockets of the generator's group close in it.  The kernel takes a socket out of its group
# before it takes it out of its hash (udp_lib_unhash()): a packet that is looked up in between is
# given to the socket that closes, and no program is asked.  So as many may be missing, and are told.
event()
{
	local claim=$1 sent own selected seen before back status swallowed
	shift
	before=$(cidsteer counters)
	with_traffic 5000 "$@" >"$WORK/output" 2>&1
	status=$?
	back=$(went_back "$before")
	swallowed=$((sent - own))
	if [ "$status" = 0 ] && [ -z "$back" ] && [ "$sent" -gt 10000 ] &&
		[ "$selected/$seen" = "$own/$sent" ] &&
		[ $swallowed -ge 0 ] && [ $swallowed -le "${CLOSES:-0}" ]; then
		pass "$claim: $sent sent, $own received"
		[ $swallowed = 0 ] || diag "" "$claim: $swallowed given to a socket that closed" >&2
	else
		flunk "$claim" "$* exited with $status" "$(tail -20 "$WORK/output")" \
			"$sent packets sent, $own received; socket selection counted $selected, XDP $seen" \
			"counters that went back: ${back:-none}" "$(tail -5 "$DAEMON_LOG")"
	fi
}

is_stopped()
{
	[ "$(awk '{ print $3 }' "/proc/$1/stat")" = T ]
}

# Workers of the table's words of a service: "1 1 1 2 2"
routes_name()
{
	local id

	id=$(bpftool -j map dump pinned "$BPFFS/cs_cids" |
		"$PYTHON" -c 'import json, sys
for entry in json.load(sys.stdin):
    key, value = (int.from_bytes(bytes(int(b, 16) for b in entry[k]), "little") for k in ("key", "value"))
    if key == int(sys.argv[1]):
        print(value)' "$1")
	bpftool -j map dump id "$id" | "$PYTHON" -c 'import json, sys
for entry in json.load(sys.stdin):
    value = bytes(int(b, 16) for b in entry["value"])
    for at in range(0, 64, 8):
        word = int.from_bytes(value[at:at + 8], "little")
        if word:
            print(word & 0x7fff)'
}

SERVICE_H3=1
SERVICE_UDP=2

declare -A killed=() # state -> how many
took_ms=()

# dies STATE PID SERVICE COMMAND...: kills; when the daemon says that it is gone, no route names it.
dies()
{
	local state=$1 pid=$2 service=$3 start id ms

	start=${EPOCHREALTIME/./}
	kill -9 "$pid" || return 1
	logged "worker [0-9]+ \(pid $pid\) is gone" || return 1
	ms=$(((${EPOCHREALTIME/./} - start) / 1000))
	took_ms+=("$ms")
	id=$(sed -n "s/.*worker \([0-9]*\) (pid $pid) is gone.*/\1/p" "$DAEMON_LOG" | tail -1)
	echo "worker $id, pid $pid, $ms ms"
	killed[$state]=$((${killed[$state]:-0} + 1))
	routes_name "$service" >"$WORK/named" || return 1
	! grep -qx "$id" "$WORK/named"
}

# ---- reloads --------------------------------------------------------------------------------

# reload_to NUMBER: SIGHUP, and this generation serves.
reload_to()
{
	kill -HUP "$SERVER_PID"
	wait_for grep -q "^h3server: serving .*, generation $1\$" "$SERVER_DIR/log"
}

reloads()
{
	local n

	for ((n = 1; n <= TIMES; n++)); do
		generation=$((generation + 1))
		event "reload $n of $TIMES" reload_to $generation
	done
}

# ---- workers die ----------------------------------------------------------------------------

# At the Nth point of this name in issue or retire.
killed_writing()
{
	local victim

	CIDSTEER_STOP_AT="$1:$2" TOOLS=$EDITION/selftests \
		start_worker victim --service udp --listen $TRAFFIC_TO || return 1
	victim=${worker_pid[victim]}
	tell victim bulk 100000000
	wait_for is_stopped "$victim" || return 1
	dies "$1" "$victim" $SERVICE_UDP
	victim_ends $?
}

# victim_ends STATUS: the daemon knows it, too: a later one would have to bury it, and might stop there.
victim_ends()
{
	local pid=${worker_pid[victim]}

	kill_worker victim
	wait_for is_not_listed "$pid" || return
	return "$1"
}

is_not_listed()
{
	! cidsteer workers | awk -v pid="$1" '$4 == pid { found = 1 } END { exit !found }'
}

killed_registering()
{
	CIDSTEER_STOP_AT=register TOOLS=$EDITION/selftests \
		launch_worker victim --service udp --listen $TRAFFIC_TO
	wait_for is_stopped "${worker_pid[victim]}" &&
		logged "registered \(pid ${worker_pid[victim]}," &&
		dies registration "${worker_pid[victim]}" $SERVICE_UDP
	victim_ends $?
}

# It has said that its generation is ready.
killed_in_reload()
{
	start_worker old --service reloaded --listen 10.9.1.1:445 --generation $RANDOM || return 1
	CIDSTEER_STOP_AT=ready TOOLS=$EDITION/selftests start_worker victim --service reloaded \
		--listen 10.9.1.1:445 --generation $((RANDOM + 40000)) || return 1
	ask victim random 3
	tell victim ready
	wait_for is_stopped "${worker_pid[victim]}" &&
		logged "reloaded: generation [0-9]+ is ready" &&
		dies reload "${worker_pid[victim]}" 3 &&
		[ "$(cidsteer workers | awk '$2 == "reloaded" { print $5 }')" = draining ]
	victim_ends $?
	stop_worker old
}

# A worker of h3server, whatever it does.
killed_serving()
{
	local pids

	mapfile -t pids < <(cidsteer workers | awk '$2 == "h3" && $5 == "active" { print $4 }')
	h3_killed+=("${pids[RANDOM % ${#pids[@]}]}")
	h3_ids+=("$(cidsteer workers | awk -v pid="${h3_killed[-1]}" '$4 == pid { print $1 }')")
	dies idle "${h3_killed[-1]}" $SERVICE_H3
}

udp_workers_die()
{
	local n all=$((2 * TIMES))

	for ((n = 1; n <= all; n++)); do
		CLOSES=1
		event "a worker is killed in issue, $n of $all" killed_writing issue $((RANDOM % 3000 + 1))
		event "a worker is killed in retire, $n of $all" killed_writing retire $((RANDOM % 2000 + 1))
		event "a worker is killed in registration, $n of $all" killed_registering
		CLOSES=0
		event "a worker is killed in a reload, $n of $all" killed_in_reload
	done
}

# ---- the daemon dies ------------------------------------------------------------------------

# As many of h3server's workers are back as there are.
all_are_back()
{
	cidsteer workers | awk '$2 == "h3"' >"$WORK/rows"
	[ "$(tail -n +$((log_before + 1)) "$DAEMON_LOG" | grep -c 'h3: worker .* is back')" -ge \
		"$(wc -l <"$WORK/rows")" ]
}

comes_back()
{
	log_before=$(wc -l <"$DAEMON_LOG")
	stop_daemon KILL
	BUILD=$DAEMON_BUILD start_daemon && wait_for all_are_back
}

DAEMON_BUILD=$BUILD

killed_whenever()
{
	sleep "0.$((RANDOM % 200 + 100))"
	comes_back
}

# to_be_stopped_at POINT: another daemon is started that will stop there.
to_be_stopped_at()
{
	log_before=$(wc -l <"$DAEMON_LOG")
	stop_daemon KILL
	CIDSTEER_STOP_AT=$1 BUILD=$EDITION start_daemon && wait_for all_are_back
}

daemon_stops()
{
	wait_for is_stopped "$DAEMON_PID"
}

killed_in_registration()
{
	local id

	to_be_stopped_at "registration:$1" || return 1
	launch_worker victim --service udp --listen $TRAFFIC_TO
	daemon_stops && comes_back
	victim_ends $? || return 1
	# What that left behind is in nobody's way.
	start_worker victim --service udp --listen $TRAFFIC_TO && id=${answer#ready } &&
		[ "$(ask victim issue 0101010101010101)" = ok ] &&
		[ "$(routes_name $SERVICE_UDP | grep -cx "$id")" = 1 ]
	victim_ends $?
}

killed_in_sweep()
{
	local pid

	to_be_stopped_at "sweep:$1" || return 1
	start_worker victim --service udp --listen $TRAFFIC_TO || return 1
	ask victim random 20
	pid=${worker_pid[victim]}
	kill_worker victim
	daemon_stops && comes_back && logged "worker [0-9]+ \(pid $pid\) is gone" &&
		[ "$(routes_name $SERVICE_UDP | sort -u | wc -l)" = 2 ]
}

killed_in_generations()
{
	to_be_stopped_at "reload:$1" || return 1
	start_worker old --service reloaded --listen 10.9.1.1:445 --generation $RANDOM &&
		start_worker victim --service reloaded --listen 10.9.1.1:445 \
			--generation $((RANDOM + 40000)) || return 1
	tell victim ready
	daemon_stops && comes_back && wait_for generations_settle
	victim_ends $?
	stop_worker old
}

# The worker says to the next daemon what the last has not answered.
generations_settle()
{
	[ "$(cidsteer workers | awk '$2 == "reloaded" { print $5 }' | xargs)" = "draining active" ]
}

killed_in_configuration()
{
	to_be_stopped_at configuration || return 1
	sed -i 's/drain_seconds = [0-9]*/drain_seconds = '$((1000 + RANDOM))'/' "$CONFIG"
	kill -HUP "$DAEMON_PID"
	daemon_stops && comes_back
}

daemons_die()
{
	local n all=$((6 * TIMES))

	for ((n = 1; n <= TIMES; n++)); do
		CLOSES=2
		event "the daemon is killed in a registration, $n of $TIMES" killed_in_registration $((n % 2 + 1))
		CLOSES=1
		event "the daemon is killed in a sweep, $n of $TIMES" killed_in_sweep $((n % 2 + 1))
		CLOSES=0
		event "the daemon is killed between two generations, $n of $TIMES" \
			killed_in_generations $((n % 2 + 1))
		event "the daemon is killed in a reload of its configuration, $n of $TIMES" \
			killed_in_configuration
	done
	for ((n = 1; n <= all; n++)); do
		event "the daemon is killed, $n of $all" killed_whenever
	done
}

# ---- upgrades -------------------------------------------------------------------------------

upgrades()
{
	local n all=$(((TIMES + 1) / 2))

	comes_back
	for ((n = 1; n <= all; n++)); do
		DAEMON_BUILD=$EDITION
		event "upgrade $n of $all" takes_over
		[ $n -lt $all ] || break
		DAEMON_BUILD=$BUILD comes_back
	done
	DAEMON_BUILD=$BUILD
	event "a downgrade" takes_over
}

takes_over()
{
	comes_back && tail -n +$((log_before + 1)) "$DAEMON_LOG" | grep "s0: program replaced"
}

# ---- a worker that is stopped inside issue --------------------------------------------------

# stopped_in_issue CLAIM POINTS: its id comes back to nobody while it lives, and what it writes when
# it goes on sends no packet to anybody.
stopped_in_issue()
{
	local cid=0202020202020202 id next pid before routed

	comes_back # a new daemon begins with the lowest ids that are free
	CIDSTEER_STOP_AT="issue:$2" TOOLS=$EDITION/selftests \
		start_worker victim --service udp --listen $TRAFFIC_TO
	id=${answer#ready }
	pid=${worker_pid[victim]}
	tell victim issue $cid
	check "$1: a worker stops inside issue" wait_for is_stopped "$pid"
	check "$1: it is expelled" cidsteer expel "$id"
	check "$1: its routes are gone" logged "worker $id \(pid $pid\) is gone"
	comes_back
	start_worker next --service udp --listen $TRAFFIC_TO --handles 48
	next=${answer#ready }
	check "$1: 48 more workers get ids up to ${next##* }" test "${next##* }" -gt "$id"
	is "$1: and none gets $id" "$(grep -cw "$id" <<<"$next")" 0
	kill -CONT "$pid"
	if [[ $2 = *,* ]]; then
		check "$1: the worker goes on, and stops where the route is written" wait_for is_stopped "$pid"
		is "$1: which names nobody else" \
			"$(routes_name $SERVICE_UDP | sort | uniq -c | xargs)" \
			"$(printf '4 1 4 2 1 %s' "$id")"
		before=$(counter reuseport udp seen)
		routed=$(counter reuseport udp by_table)
		send client --to $TRAFFIC_TO --count 100 $cid >/dev/null
		check "$1: its packets come" wait_for has_seen $((before + 100))
		is "$1: none goes by the table" "$(counter reuseport udp by_table)" "$routed"
		kill -CONT "$pid"
	fi
	hear victim
	is "$1: issue says that the worker was expelled" "$answer" ESTALE
	is "$1: no route is left" "$(routes_name $SERVICE_UDP | grep -cx "$id")" 0
	victim_ends 0
	stop_worker next
	wait_for only_two_are_there
	comes_back
	start_worker next --service udp --listen $TRAFFIC_TO --handles 48
	is "$1: when it has ended, its id is free" "$(grep -cw "$id" <<<"$answer")" 1
	stop_worker next
	wait_for only_two_are_there
}

only_two_are_there()
{
	[ "$(cidsteer workers | grep -c ' udp ')" = 2 ]
}

has_seen()
{
	[ "$(counter reuseport udp seen)" = "$1" ]
}

# Killed workers for each state; and from the kill to the daemon's line, seen every 20 ms.
summary()
{
	local state states="" sorted

	for state in "${!killed[@]}"; do states+=", ${killed[$state]} $state"; done
	mapfile -t sorted < <(printf '%s\n' "${took_ms[@]}" | sort -n)
	diag "" "killed workers: ${#took_ms[@]}: ${states#, }" \
		"gone for the daemon after: median ${sorted[${#sorted[@]} / 2]} ms, longest ${sorted[-1]} ms"
}

# ---- together -------------------------------------------------------------------------------

set_up()
{
	topology_nat
	nat_to 10.9.1.2 fd09:1::2 20000-60000
	# What the generator sends from there is its own.
	in_ns nat nft 'table ip raw { chain out { type filter hook output priority raw; udp dport 444 notrack; }; }' ||
		bail "nft"
	lossless nat n1
	DAEMON_NS=server
	configure <<-END
		service "h3" {
			listen = {"[::]:443"}
			user = "nobody"
			max_cids = 8000
		}
		service "udp" {
			listen = {"$TRAFFIC_TO"}
			max_cids = 1000
		}
		service "reloaded" {
			listen = {"10.9.1.1:445"}
			max_cids = 1000
			drain_seconds = 1000
		}
	END
	start_daemon || bail "the daemon did not start"
	check "XDP is attached" in_ns server ip link set dev s0 xdpdrv pinned "$BPFFS/xdp"
	start_worker a --service udp --listen $TRAFFIC_TO --serve
	start_worker b --service udp --listen $TRAFFIC_TO --serve
	ids="$(ask a random 4) $(ask b random 4)"
	ids=${ids//cids /}
	start_server "$WORK/h3" --listen "[::]:443" --workers 4
	generation=0
}

# Strays of those that are there and of those that have ended.
strays()
{
	cidsteer status | grep -o '[0-9]* strays*' | awk '{ n += $1 } END { print n + 0 }'
}

# connections_of ID...: client connections that a worker has answered.
connections_of()
{
	local id

	for id; do
		sed -n "s/^{\"event\":\"connection\",\"worker\":$id,.*\"connection\":\"\([0-9a-f]*\)\"}/\1/p" \
			"$SERVER_DIR/stats"
	done | sort -u
}

# Most of these connections are in their handshake when the server is reloaded.
handshakes_survive()
{
	start_load 60 /bytes/1000 --requests 1
	reloads
	stop_load
	check "$(load_sum connections) connections with one request each were made meanwhile" \
		test "$(load_sum connections)" -gt 120
	is "of these, broken" "$(load_sum broken)" 0
}

nothing_is_lost()
{
	start_moving_load
	reloads
	udp_workers_die
	daemons_die
	upgrades
	stop_load
	check "$CONNECTIONS HTTP/3 connections were busy: $(load_sum completed) transfers in $(load_sum connections) connections, $(load_sum rebindings) rebindings, $(load_sum migrations) migrations" \
		test "$(load_sum completed)" -gt $((CONNECTIONS * 3))
	is "of these transfers, lost" "$(load_sum lost)" 0
	is "of these connections, broken" "$(load_sum broken)" 0
	is "strays" "$(strays)" 0
}

only_the_killed_end()
{
	local n all=$((2 * TIMES)) broken theirs

	h3_killed=() h3_ids=()
	start_moving_load
	for ((n = 1; n <= all; n++)); do
		event "a worker is killed while it serves, $n of $all" killed_serving
		generation=$((generation + 1))
		event "and a reload brings four again" reload_to $generation
	done
	stop_load
	broken=$(sed -n 's/^h3client: connection \([0-9a-f]*\): .*/\1/p' "$WORK"/load-*.err | sort -u)
	theirs=$(connections_of "${h3_ids[@]}")
	check "$(wc -w <<<"$broken") connections broke of $(load_sum connections)" test -n "$broken"
	is "each was the killed workers'" "$(comm -23 <(echo "$broken") <(echo "$theirs"))" ""
	is "no more transfers were lost than connections" \
		"$(($(load_sum lost) <= $(load_sum broken)))" 1
	# Strays may be there: until its death is noticed, the dead worker's packets are another's.
}

say_seed
set_up
handshakes_survive
nothing_is_lost
only_the_killed_end
stopped_in_issue "before it writes" 1
stopped_in_issue "before it writes, and then before it is told" 1,3
stopped_in_issue "between its two stores" 2
stopped_in_issue "behind its two stores" 3
stop_server
summary >&2
done_testing

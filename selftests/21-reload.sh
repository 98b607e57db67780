#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Beside others.
#
# A server with real HTTP/3 connections is reloaded, and its daemon goes away: no connection is
# lost.
#
#   client               nat                  server
#  .------. 10.9.0.0/24 .------. 10.9.1.0/24 .------.
#  | c0   |-------------|n0  n1|-------------| s0   |  XDP here; daemon, h3server with 4 workers
#  '------' fd09:0::/64 '------' fd09:1::/64 '------'

# shellcheck disable=SC2317 # functions that check and wait_for call
# shellcheck disable=SC2119 # start_daemon takes options, or none

# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=../scripts/demo-net.sh
. "$(dirname "$0")/../scripts/demo-net.sh"

TRANSFERS=10
CLIENTS=18 # the other eight make new connections
LIMIT=40 # seconds for one transfer: it lasts as long as what happens meanwhile
LONG=/bytes/2500000 # ten seconds of a download
SHORT=/bytes/1250000
RATE=250000
SERVER=$WORK/bin/h3server # the binary "on disk"; each test may put another there

# ---- the server -----------------------------------------------------------------------------

# install_binary FILE: in one step, as a package manager does it.
install_binary()
{
	mkdir -p "$WORK/bin" &&
		install -m 755 "$1" "$SERVER.new" && mv "$SERVER.new" "$SERVER"
}

# said REGEX: how many lines of the server's log match.
said()
{
	grep -Ec -- "$1" "$SERVER_DIR/log"
}

has_said()
{
	[ "$(said "$1")" -ge "${2:-1}" ]
}

serving()
{
	has_said "^h3server: serving .*, generation $1\$"
}

# reload_to NUMBER: SIGHUP, and this generation serves.
reload_to()
{
	kill -HUP "$SERVER_PID"
	wait_for serving "$1"
}

# pids WHICH: of the workers of the newest generation that runs, new, or of the oldest, old.
pids()
{
	local which=(-n) generation

	[ "$1" = new ] || which=(-o)
	generation=$(pgrep "${which[@]}" -P "$SERVER_PID")
	pgrep -P "$generation" || echo "$generation" # its threads
}

# states WHICH: "4 draining", as the daemon knows them.
states()
{
	cidsteer workers | awk -v pids=" $(pids "$1" | xargs) " \
		'index(pids, " " $4 " ") { print $5 }' | sort | uniq -c | xargs
}

has_states()
{
	[ "$(states "$1")" = "$2" ]
}

# ended PID...: all of them.
ended()
{
	local pid

	for pid; do [ ! -d "/proc/$pid" ] || return 1; done
}

# generations_of PATH [GENERATION]: that have served complete transfers of this path, and how many
# each: "4x0 4x1"
generations_of()
{
	grep "\"path\":\"$1\",.*\"complete\":true" "$SERVER_DIR/stats" |
		sed 's/.*"generation":\([0-9]*\),.*/\1/' | sort -n | uniq -c |
		awk '{ printf "%s%sx%s", separator, $1, $2; separator = " " }'
}

# sum_of MEMBER: over all workers that have ended.
sum_of()
{
	sed -n "s/^{\"event\":\"worker\",.*\"$1\":\([0-9]*\)[,}].*/\1/p" "$SERVER_DIR/stats" |
		awk '{ n += $1 } END { print n + 0 }'
}

# ---- its clients ----------------------------------------------------------------------------

# A test's long transfers are its clients 0 to 9, so no two tests run at once.
declare -A long=() # number -> pid

# begin_long COUNT PATH: downloads that go on in the background; returns when the server has
# answered each of them.
begin_long()
{
	rm -rf "$WORK/long"
	mkdir -p "$WORK/long"
	nat_reset "$CLIENTS"
	begin_more "$@"
}

# begin_more COUNT PATH: until so many are there.
begin_more()
{
	local i

	for ((i = ${#long[@]}; i < $1; i++)); do
		transfer "$WORK/long" "$i" --rate $RATE "$2" &
		long[$i]=$!
	done
	wait_for answered "$1" || bail "the clients do not connect"
}

# As the NAT sees it.
answered()
{
	[ "$(in_ns nat conntrack -L -p udp 2>/dev/null | grep -vc UNREPLIED)" -ge "$1" ]
}

# all_in_flight: none of the long transfers has ended.
all_in_flight()
{
	local pid

	for pid in "${long[@]}"; do kill -0 "$pid" || return 1; done
}

rebind_long()
{
	local i

	for i in "${!long[@]}"; do nat_rebind "$i" >"$WORK/long/$i.nat" 2>&1 || return 1; done
}

# finish_long: waits for them; what each that failed says is in $lost.  Not in a subshell, where
# they could not be waited for.
finish_long()
{
	local i

	lost=
	for i in "${!long[@]}"; do
		wait "${long[$i]}" || lost+="$i: $(cat "$WORK/long/$i.json" "$WORK/long/$i.err" 2>&1)"
	done
	long=()
}

# short_transfers PATH: eight new connections, to their end; prints what each that failed says.
short_transfers()
{
	local i dir=$WORK/short pids=()

	rm -rf "$dir"
	mkdir -p "$dir"
	for ((i = TRANSFERS; i < CLIENTS; i++)); do
		transfer "$dir" "$i" "$1" &
		pids+=($!)
	done
	wait "${pids[@]}"
	for ((i = TRANSFERS; i < CLIENTS; i++)); do
		grep -qs '^{"ok":true' "$dir/$i.json" || cat "$dir/$i.json" "$dir/$i.err"
	done 2>&1
}

# ---- what is claimed ------------------------------------------------------------------------

set_up()
{
	topology_nat
	add_clients $CLIENTS
	DAEMON_NS=server
	configure <<-END
		service "h3" {
			listen = {"[::]:443"}
			user = "nobody"
		}
		service "short" {
			listen = {"[::]:444"}
			user = "nobody"
			drain_seconds = 1
		}
		service "messages" {
			listen = {"[::]:445"}
			user = "nobody"
			shared_table = no
		}
	END
	start_daemon || bail "the daemon did not start"
	check "XDP is attached" in_ns server ip link set dev s0 xdpdrv pinned "$BPFFS/xdp"
	install_binary "$BUILD/h3server"
}

# Ten downloads are under way; three times the server is reloaded, and new connections are made.
three_reloads()
{
	local n old workers

	start_server "$WORK/three" --listen "[::]:443" --workers 4
	begin_long $TRANSFERS $LONG
	old=$(pids old)
	for n in 1 2 3; do
		install_binary "$BUILD/h3server"
		check "reload $n: a new generation serves" reload_to $n
		is "reload $n: its 4 workers are active" "$(states new)" "4 active"
		is "reload $n: new connections succeed" "$(short_transfers /bytes/100$n)" ""
		wait_for eval '[ "$(generations_of /bytes/100$n)" = "8x$n" ]'
		is "reload $n: new pids only have served them" "$(generations_of /bytes/100$n)" "8x$n"
	done
	workers=$(pids new)
	is "they run the binary that is on disk, not the one that the server was started with" \
		"$(for n in $workers; do readlink "/proc/$n/exe"; done | sort -u)" "$SERVER"
	check "generations without connections end by themselves, 1 and 2" \
		wait_for has_said "^h3server: generation [12] has drained\$" 2
	is "the old workers that have connections drain" \
		"$(states old | sed 's/^[1-4] //')" draining
	check "all ten transfers are still under way" all_in_flight
	check "now the NAT rebinds each of them" rebind_long
	finish_long
	is "10 of 10 transfers survive three reloads and a rebinding" "$lost" ""
	is "the generation that they began with has served them" \
		"$(generations_of $LONG)" "${TRANSFERS}x0"
	check "and ends by itself" wait_for has_said "^h3server: generation 0 has drained\$"
	# shellcheck disable=SC2086 # a list
	check "with all of its processes" ended $old
	is "the last generation has not changed" "$(pids new)" "$workers"
	check "the supervisor is the one that was started" kill -0 "$SERVER_PID"
	stop_server
	is "and ends orderly" $? 0
	is "the server saw each connection move" "$(sum_of path_changes)" "$TRANSFERS"
	is "no strays, in any generation" "$(sum_of strays)" 0
	is "each connection was accepted once" "$(sum_of connections)" $((TRANSFERS + 3 * 8))
}

# undisturbed CLAIM REGEX: a reload fails with this line, the same workers go on.
undisturbed()
{
	local workers

	workers=$(pids old)
	kill -HUP "$SERVER_PID"
	check "$1: one line says so" wait_for has_said "^h3server: reload: $2; generation 0 goes on\$"
	is "$1: and no more than one" "$(said "^h3server: reload: $2")" 1
	is "$1: the old workers are there" "$(pids old) $(states old)" "$workers 4 active"
	wait_for alone
	is "$1: what was started is ended" "$(pgrep -c -P "$SERVER_PID")" 1
}

alone()
{
	[ "$(pgrep -c -P "$SERVER_PID")" = 1 ]
}

failed_reloads()
{
	start_server "$WORK/failed" --listen "[::]:443" --workers 4
	begin_long 4 $LONG
	echo "no program" >"$WORK/garbage"
	install_binary "$WORK/garbage"
	undisturbed "a binary that cannot be executed" "$SERVER: Exec format error"
	install_binary /bin/false
	undisturbed "a binary that ends" "generation 2 ended with code 1 before it served"
	install_binary "$BUILD/h3server"
	stop_daemon KILL
	undisturbed "workers that cannot register" "generation 3 ended with code 1 before it served"
	check "the daemon is back" start_daemon
	check "and knows the workers" wait_for has_states new "4 active"
	is "new connections succeed" "$(short_transfers /bytes/1000)" ""
	check "then a reload works" reload_to 4
	finish_long
	is "the transfers that were under way survive" "$lost" ""
	check "the old generation ends" wait_for has_said "^h3server: generation 0 has drained\$"
	stop_server
	is "no strays" "$(sum_of strays)" 0
}

# A program that becomes the server once the file "go" is there.
slow_binary()
{
	install_binary "$BUILD/h3server"
	cp "$SERVER" "$SERVER.real"
	cat >"$WORK/slow" <<-END
		#!/bin/bash
		until [ -e "$WORK/go" ]; do sleep 0.02; done
		exec "$SERVER.real" "\$@"
	END
	install_binary "$WORK/slow"
}

children()
{
	[ "$(pgrep -c -P "$SERVER_PID")" = "$1" ]
}

signals_during_a_reload()
{
	start_server "$WORK/signals" --listen "[::]:443" --workers 4
	slow_binary
	kill -HUP "$SERVER_PID"
	check "a reload is under way" wait_for children 2
	kill -HUP "$SERVER_PID"
	kill -HUP "$SERVER_PID"
	kill -USR1 "$SERVER_PID" # taken after SIGHUP: what it writes proves that both have come
	wait_for has_worker_lines 4
	is "signals meanwhile start nothing beside it" "$(pgrep -c -P "$SERVER_PID")" 2
	touch "$WORK/go"
	check "another reload follows" wait_for serving 2
	check "and then only its workers are there" wait_for children 1
	is "4 of them" "$(states new)" "4 active"
	is "none for the third signal" "$(said '^h3server: serving')" 3
	rm "$WORK/go"
	kill -HUP "$SERVER_PID"
	check "SIGTERM during a reload" wait_for children 2
	kill -TERM "$SERVER_PID"
	touch "$WORK/go"
	wait "$SERVER_PID"
	is "ends the server orderly" $? 0
	install_binary "$BUILD/h3server"
}

# The supervisor goes on when workers die, old and new.
killed_workers()
{
	start_server "$WORK/killed" --listen "[::]:443" --workers 4
	begin_long 4 $SHORT
	reload_to 1
	kill -KILL "$(pids new | head -1)"
	check "a worker of the new generation is killed" \
		wait_for has_said "killed by signal 9; the others go on"
	wait_for has_states new "3 active"
	is "the others are there" "$(states new)" "3 active"
	is "and take new connections" "$(short_transfers /bytes/1000)" ""
	# shellcheck disable=SC2046 # a list
	kill -KILL $(pids old)
	# "ended with code 1", unless one of them had no connection and was drained before.
	check "all of the old one are killed" wait_for has_said "^h3server: generation 0 "
	finish_long # in vain
	is "new connections succeed" "$(short_transfers /bytes/1001)" ""
	check "a reload brings four again" reload_to 2
	is "four" "$(states new)" "4 active"
	stop_server
	is "the server ends orderly" $? 0
}

threads_reload()
{
	local process

	start_server "$WORK/threads" --listen "[::]:443" --workers 4 --threads
	begin_long 4 $SHORT
	process=$(pids old)
	check "threads: a new generation serves" reload_to 1
	is "threads: it is another process" \
		"$(pids new | grep -vcx "$process") $(states new)" "1 4 active"
	is "threads: new connections succeed" "$(short_transfers /bytes/1000)" ""
	check "threads: the old transfers are under way" all_in_flight
	rebind_long
	finish_long
	is "threads: and survive" "$lost" ""
	is "threads: old ones in the old process, new ones in the new" \
		"$(generations_of $SHORT) $(generations_of /bytes/1000)" "4x0 8x1"
	check "threads: the old process ends by itself" wait_for ended "$process"
	stop_server
	is "threads: no strays" "$(sum_of strays)" 0
}

drain_deadline()
{
	start_server "$WORK/deadline" --listen "[::]:443" --workers 4 --drain-seconds 1
	begin_long 4 $SHORT
	reload_to 1
	check "--drain-seconds: the old generation ends with its connections" \
		wait_for has_said "^h3server: generation 0 has drained\$"
	finish_long
	is "--drain-seconds: its clients are told, none waits in vain" "$(told <<<"$lost")" 4
	stop_server
}

# The daemon's own deadline: it takes the routes away.
expelled()
{
	PORT=444
	start_server "$WORK/expelled" --listen "[::]:444" --workers 4 --service short
	begin_long 4 $SHORT
	reload_to 1
	check "drain_seconds: the old generation ends" \
		wait_for has_said "^h3server: generation 0 has drained\$"
	like "drain_seconds: its workers say why" "$(said 'cidsteer: expelled, its connections')" \
		'^[1-4]$' # those that had a connection
	finish_long
	is "drain_seconds: their clients are told" "$(told <<<"$lost")" 4
	is "drain_seconds: the new workers go on" "$(short_transfers /bytes/1000)" ""
	stop_server
	PORT=443
}

# Clients that the server has told that it closes their connection.
told()
{
	grep -o 'closed the connection with HTTP/3 error 0x100"' | wc -l
}

# Forty connections that come and go and move all the time, while generations do.
busy_reloads()
{
	local n client

	start_server "$WORK/busy" --listen "[::]:443" --workers 4
	nat_to 10.9.1.2 fd09:1::2 20000-60000 # for all of them, whatever their address
	(exec_in_ns client "$BUILD/h3client" --busy 40 --seconds 5 --change-every 700 --requests 2 \
		--rate 50000 --json 10.9.1.1 443 /bytes/50000 >"$WORK/busy.json" 2>&1) &
	client=$!
	for n in 1 2 3; do
		wait_for has_transfers $((n * 30))
		check "busy: reload $n" reload_to $n
	done
	wait "$client"
	is "busy: no transfer is lost" $? 0
	stop_server
	like "busy: connections have moved, both ways" "$(cat "$WORK/busy.json")" \
		'"lost":0,"rebindings":[1-9][0-9]+,"migrations":[1-9][0-9]+,'
	is "busy: client and server agree on what is complete" \
		"$(sed 's/.*"completed":\([0-9]*\),.*/\1/' "$WORK/busy.json")" \
		"$(grep -c '"complete":true' "$SERVER_DIR/stats")"
	is "busy: no strays" "$(sum_of strays)" 0
}

has_transfers()
{
	[ "$(grep -c '"complete":true' "$SERVER_DIR/stats")" -ge "$1" ]
}

# without_daemon SERVICE PORT: a daemon comes, goes, and comes: the server was there before.
# Without a shared table the IDs of new connections are not routed before the daemon is back.
without_daemon()
{
	local how="--without-daemon, $1" before=2

	PORT=$2
	stop_daemon
	in_ns server ip link set dev s0 xdp off
	check "$how: nothing is loaded" cidsteer unload
	start_server "$WORK/$1" --listen "[::]:$2" --workers 4 --service "$1" --without-daemon
	begin_long 4 $SHORT
	check "$how: a daemon comes, and knows its workers" \
		eval 'start_daemon && wait_for has_states new "4 active"'
	wait_for said_by_all "the daemon is there"
	rebind_long
	finish_long
	is "$how: connections from before are steered" "$lost" ""
	[ "$1" != messages ] || before=4
	begin_long $before $LONG
	stop_daemon KILL
	[ "$1" = messages ] || is "$how: the daemon is killed, new connections succeed" \
		"$(short_transfers /bytes/1000)" ""
	begin_more 4 $LONG
	check "$how: the next one knows the workers" \
		eval 'start_daemon && wait_for has_states new "4 active"'
	wait_for said_by_all "the daemon is there" 2
	rebind_long
	finish_long
	is "$how: connections from before and of meanwhile survive" "$lost" ""
	check "$how: a reload works" reload_to 1
	check "$how: the old generation ends" \
		wait_for has_said "^h3server: generation 0 has drained\$"
	stop_server
	is "$how: the server saw each connection move" "$(sum_of path_changes)" 8
	is "$how: no strays" "$(sum_of strays)" 0
	PORT=443
}

# said_by_all TEXT [TIMES]: by each of four workers.
said_by_all()
{
	has_said "$1" $((4 * ${2:-1}))
}

unsteered()
{
	start_server "$WORK/unsteered" --listen "[::]:443" --workers 4 --no-steer
	kill -HUP "$SERVER_PID"
	check "without steering SIGHUP says why it does nothing" \
		wait_for has_said "^h3server: reload: without steering .* nothing has changed\$"
	is "and does nothing" "$(pgrep -c -P "$SERVER_PID")" 1
	stop_server
	is "the server ends orderly" $? 0
}

set_up
three_reloads
failed_reloads
signals_during_a_reload
killed_workers
threads_reload
drain_deadline
expelled
busy_reloads
unsteered
without_daemon h3 443
without_daemon messages 445
done_testing

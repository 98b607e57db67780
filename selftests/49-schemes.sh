#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Beside others.
#
# Real HTTP/3 with connection IDs of every format: 20 transfers whose clients move for each of them,
# and one format after the other while connections last.  The server has no option for it.
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

TRANSFERS=20
SIZE=500000
RATE=250000 # two seconds for each transfer: it moves in the midst of it
LIMIT=40

# A port, and what is in the service's section.
declare -A port=() section=()
port[table]=443
port[plain]=444 section[plain]='
	quic_lb "0" { server_id_length = 3 nonce_length = 4 tells_length = yes active = yes }'
port[single]=445 section[single]='
	quic_lb "1" { server_id_length = 4 nonce_length = 12 key_file = "'$WORK'/key1" active = yes }'
port[four]=446 section[four]='
	quic_lb "6" { server_id_length = 7 nonce_length = 4 key_file = "'$WORK'/key2" active = yes }'
port[three]=447 section[three]='
	quic_lb "3" { server_id_length = 3 nonce_length = 4 key_file = "'$WORK'/key0" active = yes }'
port[cookie]=448 section[cookie]='
	cid_length = 20
	worker_key { offset = 0 length = 8 from = "cookie" }'
port[octet]=449 section[octet]='
	worker_key { offset = 1 length = 1 from = "worker" }'
port[rotation]=450 section[rotation]='
	quic_lb "0" { server_id_length = 3 nonce_length = 4 key_file = "'$WORK'/key0" active = yes }'
SCHEMES="plain single four three cookie octet"

set_up()
{
	local name n

	topology_nat
	add_clients $TRANSFERS
	DAEMON_NS=server
	for n in 0 1 2; do
		(umask 077 && od -An -N16 -tx1 /dev/urandom | tr -d ' \n' >"$WORK/key$n")
	done
	for name in table $SCHEMES rotation; do
		printf 'service "%s" {\n\tlisten = {"[::]:%s"}\n\tuser = "nobody"%s\n}\n' \
			"$name" "${port[$name]}" "${section[$name]:-}"
	done | configure
	start_daemon || bail "the daemon does not start"
	check "cs_xdp is attached" cidsteer attach s0 --mode native
}

# ---- the server -----------------------------------------------------------------------------

# serve NAME [DIR]: four workers of that service.
serve()
{
	PORT=${port[$1]}
	start_server "$WORK/${2:-$1}" --listen "[::]:$PORT" --workers 4 --service "$1"
}

# of_workers NAME MEMBER: the sum over the workers of this service.
of_workers()
{
	cidsteer workers --json | "$PYTHON" -c '
import json, sys
print(sum(w[sys.argv[2]] for w in json.load(sys.stdin)["workers"] if w["service"] == sys.argv[1]))' "$1" "$2"
}

has_no_routes()
{
	[ "$(of_workers "$1" routes)" = 0 ]
}

# Connections that the server has had: each had one provisional route, of its client's first DCID.
connections()
{
	grep -c '"event":"connection"' "$SERVER_DIR/stats"
}

has_connections()
{
	[ "$(connections)" -ge "$1" ]
}

# Transfers that the server saw moved in their midst.
moved_in_their_midst()
{
	grep '"complete":true,"path_changes":1,' "$SERVER_DIR/stats" |
		sed 's/.*"bytes":\([0-9]*\),.*"bytes_at_change":\([0-9]*\).*/\1 \2/' |
		awk '$2 > 0 && $2 < $1 { n++ } END { print n + 0 }'
}

# ---- transfers ------------------------------------------------------------------------------

# Down and up, by IPv4 and IPv6, moved by the NAT and by the client.
kind_of()
{
	local moves=--report-at what=/bytes/$SIZE

	[ $(($1 / 2 % 2)) = 0 ] || moves=--migrate-after
	[ "$1" -lt $((TRANSFERS / 2)) ] || what="--upload $SIZE /sink"
	echo "--rate $RATE $moves 40% $what"
}

# transfers COUNT: so many at once, to their end; what each that failed says is in $lost.
transfers()
{
	local i options dir=$SERVER_DIR/out pids=()

	mkdir -p "$dir"
	nat_reset $TRANSFERS
	for ((i = 0; i < $1; i++)); do
		read -ra options <<<"$(kind_of "$i")"
		transfer "$dir" "$i" "${options[@]}" &
		pids+=($!)
	done
	lost=
	for ((i = 0; i < $1; i++)); do
		wait "${pids[$i]}" || lost+="$i: $(cat "$dir/$i.what" "$dir/$i.err")"$'\n'
	done
}

twenty()
{
	serve "$1"
	transfers $TRANSFERS
	is "$1: $TRANSFERS of $TRANSFERS transfers survive" "$lost" ""
	is "$1: the server saw each move in mid-transfer" "$(moved_in_their_midst)" $TRANSFERS
	is "$1: no strays" "$(of_workers "$1" strays)" 0
	check "$1: no route is left" wait_for has_no_routes "$1"
}

# ---- what is claimed ------------------------------------------------------------------------

table_is_as_it_was()
{
	twenty table
	check "table: every ID has had a route" \
		test "$(of_workers table issued)" -ge $((2 * TRANSFERS))
	is "table: none goes by a server ID" \
		"$(counter xdp table by_server_id) $(counter reuseport table by_server_id)" "0 0"
	stop_server
}

carried()
{
	twenty "$1"
	is "$1: no ID has had a route, but for clients' first ones" \
		"$(of_workers "$1" issued)" "$(connections)"
	check "$1: XDP goes by server IDs" \
		test "$(counter xdp "$1" by_server_id)" -gt $((10 * TRANSFERS))
	check "$1: so does socket selection" \
		test "$(counter reuseport "$1" by_server_id)" -gt $((10 * TRANSFERS))
	is "$1: XDP knew every connection ID" "$(counter xdp "$1" unknown_cid)" 0
	stop_server
	is "$1: the server ends orderly" $? 0
}

# exchange NAME: each server ID of the service is its next worker's, as the kernel sees it.
exchange()
{
	cidsteer workers --json >"$WORK/workers"
	"$PYTHON" - "$1" "$WORK/workers" "$BPFFS/cs_servers" <<-'END'
		import json, subprocess, sys
		name, workers, servers = sys.argv[1:]
		with open(workers) as file:
		    ids = [w["id"] for w in json.load(file)["workers"] if w["service"] == name]
		dump = ["bpftool", "-j", "map", "dump", "pinned", servers]
		for server in json.loads(subprocess.check_output(dump)):
		    key, value = ([octet[2:] for octet in server[what]] for what in ("key", "value"))
		    worker = int(value[1] + value[0], 16)
		    if worker in ids:
		        worker = ids[(ids.index(worker) + 1) % len(ids)]
		        value[:2] = ["%02x" % (worker & 255), "%02x" % (worker >> 8)]
		        subprocess.check_call(["bpftool", "map", "update", "pinned", servers,
		                               "key", "hex", *key, "value", "hex", *value])
	END
}

has_strays()
{
	[ "$(of_workers "$1" strays)" -gt 0 ]
}

# The negative control: what was 0 above can be another number.
a_wrong_worker_is_noticed()
{
	local i pids=() survived=0

	serve plain wrong
	mkdir -p "$SERVER_DIR/out"
	nat_reset $TRANSFERS
	for i in 0 1 2 3; do
		STALL=2 transfer "$SERVER_DIR/out" $i --rate $RATE /bytes/2000000 &
		pids+=($!)
	done
	check "wrong workers: transfers begin" wait_for has_connections 4
	check "server IDs are given to wrong workers" exchange plain
	check "wrong workers: strays are counted" wait_for has_strays plain
	for i in "${pids[@]}"; do
		wait "$i" && survived=$((survived + 1))
	done
	is "wrong workers: no transfer survives" $survived 0
	stop_server
}

# ---- one after the other --------------------------------------------------------------------

# Connections that move three times a second, each with three requests; then a new one follows.
begin_busy()
{
	nat_to 10.9.1.2 fd09:1::2 20000-60000
	(exec_in_ns client "$BUILD/h3client" --busy 12 --seconds 60 --change-every 300 --requests 3 \
		--rate 60000 --json 10.9.1.1 "$PORT" /bytes/60000 >"$WORK/busy.json" 2>&1) &
	BUSY_PID=$!
}

# Connections of before move on, new ones come, and in the end all are new.
some_time()
{
	wait_for has_connections $(($(connections) + 24))
}

# hits: packets with IDs of each configuration, as XDP saw them: "0:312 1:99"
hits()
{
	cidsteer config rotation --json | "$PYTHON" -c '
import json, sys
print(*("%d:%d" % (c["id"], c["known"]["xdp"]) for c in json.load(sys.stdin)["configs"]))'
}

# The length changes with each: 8, 12 and 17 octets, and 8 from the table.
rotate()
{
	serve rotation
	begin_busy
	check "rotation: the first configuration" some_time
	check "rotation: another one is added" cidsteer config add rotation 1 --server-id-length 3 \
		--nonce-length 4 --cid-length 12 --key-file "$WORK/key1"
	check "rotation: and a third" cidsteer config add rotation 2 --server-id-length 4 \
		--nonce-length 12 --key-file "$WORK/key2"
	check "rotation: the second is activated" cidsteer config activate rotation 1
	check "rotation: transfers go on" some_time
	check "rotation: the third is activated" cidsteer config activate rotation 2
	check "rotation: transfers go on" some_time
	check "rotation: until now no ID has had a route, but for clients' first ones" \
		test "$(of_workers rotation issued)" -le "$(connections)"
	check "rotation: IDs go to the table" cidsteer config activate rotation none
	check "rotation: transfers go on" some_time
	kill -TERM $BUSY_PID
	wait $BUSY_PID
	is "rotation: no transfer is lost" $? 0
	like "rotation: connections have moved, both ways" "$(cat "$WORK/busy.json")" \
		'"lost":0,"rebindings":[1-9][0-9]+,"migrations":[1-9][0-9]+,'
	like "rotation: each configuration was used" "$(hits)" \
		'^0:[1-9][0-9]{2,} 1:[1-9][0-9]{2,} 2:[1-9][0-9]{2,}$'
	check "rotation: the table too" test "$(of_workers rotation issued)" -gt "$(connections)"
	is "rotation: no strays" "$(of_workers rotation strays)" 0
	is "rotation: XDP knew every connection ID" "$(counter xdp rotation unknown_cid)" 0
}

retire_the_old()
{
	check "rotation: back to the third" cidsteer config activate rotation 2
	check "rotation: no route is left" wait_for has_no_routes rotation
	check "rotation: the first is retired" cidsteer config retire rotation 0 --wait 1
	check "rotation: so is the second" cidsteer config retire rotation 1 --wait 1
	transfers 4
	is "rotation: new connections have the third" "$lost" ""
	like "rotation: which is the only one" "$(hits)" '^2:[1-9][0-9]{2,}$'
	is "rotation: no strays" "$(of_workers rotation strays)" 0
	stop_server
	is "rotation: the server ends orderly" $? 0
}

# ---- reloads of the server ------------------------------------------------------------------

RELOADS=10

serves_generation()
{
	grep -q "^h3server: serving .*, generation $1\$" "$SERVER_DIR/log"
}

# Each while connections of the generations before go on.
reload_all()
{
	local n

	serve four reloads
	begin_busy
	check "reloads: transfers begin" some_time
	for ((n = 1; n <= RELOADS; n++)); do
		kill -HUP "$SERVER_PID"
		wait_for serves_generation $n || break
		wait_for has_connections $(($(connections) + 4)) || break
	done
	is "reloads: $RELOADS in a row" $((n - 1)) $RELOADS
	kill -TERM $BUSY_PID
	wait $BUSY_PID
	is "reloads: no transfer is lost" $? 0
	like "reloads: connections have moved, both ways" "$(cat "$WORK/busy.json")" \
		'"lost":0,"rebindings":[1-9][0-9]+,"migrations":[1-9][0-9]+,'
	is "reloads: no strays" "$(strays_of_all four)" 0
	is "reloads: XDP knew every connection ID" "$(counter xdp four unknown_cid)" 0
	stop_server
}

# Also of the workers that are gone.
strays_of_all()
{
	cidsteer status --json | "$PYTHON" -c '
import json, sys
print(*(s["strays"] for s in json.load(sys.stdin)["services"] if s["name"] == sys.argv[1]))' "$1"
}

set_up
table_is_as_it_was
for scheme in $SCHEMES; do carried "$scheme"; done
a_wrong_worker_is_noticed
rotate
retire_the_old
reload_all
done_testing

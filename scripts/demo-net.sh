# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Servers, a NAT that rebinds, and transfers: for scripts/demo and selftests/20-http3.sh, which
# source selftests/lib.sh first and call topology_nat.
#
# Each transfer has a client address of its own, and the NAT a range of ports for each of them:
# so one client can be rebound while the others stay as they are.

STALL=4 # seconds without progress after which a transfer counts as failed
LIMIT=20 # seconds for one transfer

# Of two clients one has IPv4 and one IPv6.
is_ipv6()
{
	[ $(($1 % 2)) = 1 ]
}

client_address()
{
	if is_ipv6 "$1"; then printf 'fd09:0::%x\n' $((256 + $1)); else echo "10.9.0.$((100 + $1))"; fi
}

server_address()
{
	if is_ipv6 "$1"; then echo fd09:1::1; else echo 10.9.1.1; fi
}

# add_clients COUNT: addresses for transfers 0 to COUNT - 1, and their ports at the NAT.
add_clients()
{
	local i

	for ((i = 0; i < $1; i++)); do
		if is_ipv6 "$i"; then echo "address add $(client_address "$i")/64 dev c0 nodad"
		else echo "address add $(client_address "$i")/24 dev c0"; fi
	done | in_ns client ip -batch - || bail "addresses of the clients"
	nat_reset "$1"
}

# nat_ports NUMBER REBOUND: 100 ports for each client; the first 50 until it is rebound.
nat_ports()
{
	local low=$((20000 + 100 * $1 + 50 * $2))

	echo "$low-$((low + 49))"
}

# nat_rule NUMBER REBOUND: as whom the NAT sends this client's datagrams.
nat_rule()
{
	local to

	if is_ipv6 "$1"; then to="ip6 to [fd09:1::2]"; else to="ip to 10.9.1.2"; fi
	echo "add rule inet clients client$1 meta l4proto udp snat $to:$(nat_ports "$1" "$2")"
}

# nat_reset COUNT: nobody is rebound, nothing is remembered.
nat_reset()
{
	local i

	{
		echo "table inet clients"
		echo "delete table inet clients"
		echo "table inet clients {"
		for ((i = 0; i < $1; i++)); do echo "chain client$i { }"; done
		echo "chain out { type nat hook postrouting priority srcnat; }; }"
		for ((i = 0; i < $1; i++)); do
			nat_rule "$i" 0
			if is_ipv6 "$i"; then echo -n "add rule inet clients out ip6 saddr "
			else echo -n "add rule inet clients out ip saddr "; fi
			echo "$(client_address "$i") jump client$i"
		done
	} | in_ns nat nft -f - || bail "the NAT's rules"
	in_ns nat conntrack -F >/dev/null 2>&1
}

# nat_rebind NUMBER: the NAT gives this client other ports and forgets what it had.
nat_rebind()
{
	local family=ipv4

	if is_ipv6 "$1"; then family=ipv6; fi
	{
		echo "flush chain inet clients client$1"
		nat_rule "$1" 1
	} | in_ns nat nft -f - &&
		in_ns nat conntrack -D -f "$family" -p udp -s "$(client_address "$1")"
}

# start_server DIR OPTIONS...: h3server with its log and statistics in DIR, in namespace $SERVER_NS.
start_server()
{
	SERVER_DIR=$1
	SERVER_PIDS=()
	shift
	mkdir -p "$SERVER_DIR"
	: >"$SERVER_DIR/log"
	add_server "$@"
}

# add_server OPTIONS...: another one beside it, with the same log and statistics.
add_server()
{
	(exec_in_ns "${SERVER_NS:-server}" "${SERVER:-$BUILD/h3server}" --stats "$SERVER_DIR/stats" \
		--user nobody "$@" >>"$SERVER_DIR/log" 2>&1) &
	SERVER_PID=$!
	SERVER_PIDS+=("$SERVER_PID")
	wait_for server_is_up || bail "h3server: $(tail -3 "$SERVER_DIR/log")"
	kill -0 "$SERVER_PID" 2>/dev/null || bail "h3server: $(tail -3 "$SERVER_DIR/log")"
}

server_is_up()
{
	[ "$(grep -c '^h3server: serving' "$SERVER_DIR/log")" -ge ${#SERVER_PIDS[@]} ] ||
		! kill -0 "$SERVER_PID" 2>/dev/null
}

# Fails with the last one's status.
stop_server()
{
	kill -TERM "${SERVER_PIDS[@]}"
	wait "${SERVER_PIDS[@]}"
}

# worker_lines FILE: what each worker of the server says of itself now.
worker_lines()
{
	local before workers

	before=$(grep -c '"event":"worker"' "$SERVER_DIR/stats")
	workers=$(grep -c '^worker [0-9]*: pid' "$SERVER_DIR/log")
	kill -USR1 "${SERVER_PIDS[@]}"
	wait_for has_worker_lines $((before + workers)) || bail "h3server does not report"
	grep '"event":"worker"' "$SERVER_DIR/stats" | tail -n "$workers" >"$1"
}

has_worker_lines()
{
	[ "$(grep -c '"event":"worker"' "$SERVER_DIR/stats")" -ge "$1" ]
}

# transfer DIR NUMBER OPTIONS... PATH: one client, to its end; DIR/NUMBER.json is what it says.
# At `--report-at` the NAT rebinds it.  Fails unless all of it arrived and is right.
transfer()
{
	local out=$1/$2 number=$2 line
	shift 2
	local path=${*: -1} options=("${@:1:$#-1}")

	echo "$(client_address "$number") ${options[*]} $path" >"$out.what"
	in_ns client "$BUILD/h3client" --json --timeout "$LIMIT" --stall "$STALL" \
		--bind "$(client_address "$number")" "${options[@]}" \
		"$(server_address "$number")" "${PORT:-443}" "$path" 2>"$out.err" |
		while read -r line; do
			case $line in
			at*) nat_rebind "$number" >"$out.nat" 2>&1 ;;
			*) echo "$line" >"$out.json" ;;
			esac
		done
	grep -q '^{"ok":true' "$out.json" 2>/dev/null
}

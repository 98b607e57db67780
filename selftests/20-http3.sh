#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Beside others.
#
# Real HTTP/3: the claims of the demo, and what the demo has no time for.

# shellcheck disable=SC2317 # functions that check and wait_for call
# shellcheck disable=SC2119 # start_daemon takes options, or none

# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=../scripts/demo-net.sh
. "$(dirname "$0")/../scripts/demo-net.sh"

# The lines of its TAP become lines of ours.
the_demo()
{
	local line lines=0

	while IFS= read -r line; do
		case $line in
		"ok "*) pass "demo: ${line#*- }" ;;
		"not ok "*) flunk "demo: ${line#*- }" ;;
		"1.."*) lines=${line#1..} ;;
		*) echo "$line" ;;
		esac
	done < <("$TOP/scripts/demo" --tap 2>&1)
	is "the demo ran to its end" "$checks" "$lines"
}

# What a demo could leave to us: processes, mounts, namespaces, files.
belongings()
{
	pgrep -fa 'scripts/demo|unshare|h3server|h3client|cidsteer'
	cat /proc/self/mountinfo
	ls /run/netns /sys/fs/bpf /run
	ls -d /tmp/cidsteer-demo.* 2>/dev/null
}

# interrupt SIGNAL TARGET: TARGET - is the process group, as for Ctrl-C, twice; else the process.
# Not a plain background job: in those the shell has SIGINT ignored.
interrupt()
{
	local before pid status

	before=$(belongings)
	env --default-signal=INT setsid "$TOP/scripts/demo" >"$WORK/demo.log" 2>&1 &
	pid=$!
	PATIENCE=60 wait_for grep -q 'done' "$WORK/demo.log" || return 1
	kill -s "$1" -- "$2$pid"
	kill -s "$1" -- "$2$pid"
	wait "$pid"
	status=$?
	echo "status $status"
	tail -3 "$WORK/demo.log"
	wait_for same_belongings "$before" || diff <(echo "$before") <(belongings) || return 1
	[ "$status" -gt 128 ] && grep -q interrupted "$WORK/demo.log"
}

same_belongings()
{
	[ "$(belongings)" = "$1" ]
}

set_up()
{
	topology_nat
	add_clients 16
	DAEMON_NS=server
	configure <<-END
		service "h3" {
			listen = {"[::]:443"}
			user = "nobody"
		}
		service "moving" {
			listen = {"10.9.1.1:4433", "10.9.1.1:8443"}
			user = "nobody"
		}
	END
	start_daemon || bail "the daemon did not start"
}

# failures_of DIR COMMAND...: runs `transfer DIR N ...` for each N that the command prints with
# its options, all at once; prints what each failed one says.
failures_of()
{
	local dir=$WORK/$1 number options pids=()

	mkdir -p "$dir"
	while read -ra options; do
		transfer "$dir" "${options[@]}" &
		pids+=($!)
	done < <("${@:2}")
	wait "${pids[@]}"
	for number in "$dir"/*.what; do
		grep -qs '^{"ok":true' "${number%.what}.json" ||
			echo "$(basename "$number" .what): $(cat "$number" "${number%.what}.err")"
	done
}

moved_transfers()
{
	local i moves what

	for i in {0..7}; do
		moves=--report-at what=/bytes/1000000
		[ $((i / 2 % 2)) = 0 ] || moves=--migrate-after
		[ "$i" -lt 4 ] || what="--upload 1000000 /sink"
		echo "$i --rate 1000000 $moves 40% $what"
	done
}

# Of the server: transfers that it saw moved in their midst.
moved_in_their_midst()
{
	grep '"complete":true,"path_changes":1,' "$SERVER_DIR/stats" |
		sed 's/.*"bytes":\([0-9]*\),.*"bytes_at_change":\([0-9]*\).*/\1 \2/' |
		awk '$2 > 0 && $2 < $1 { n++ } END { print n + 0 }'
}

# Path changes of all workers, whose totals are there when the server has ended.  A client goes to
# the preferred address when the handshake is done, which may be before its request has come.
path_changes()
{
	sed -n 's/^{"event":"worker",.*"path_changes":\([0-9]*\),.*/\1/p' "$SERVER_DIR/stats" |
		awk '{ n += $1 } END { print n + 0 }'
}

strays()
{
	cidsteer workers --json | sed -n 's/.*"strays": \([0-9]*\).*/\1/p' |
		awk '{ n += $1 } END { print n + 0 }'
}

threads_are_steered()
{
	start_server "$WORK/threads" --listen "[::]:443" --workers 4 --threads
	is "workers that are threads: 8 of 8 moved transfers survive, IPv4 and IPv6" \
		"$(failures_of threads-out moved_transfers)" ""
	is "workers that are threads: the server saw each move in mid-transfer" \
		"$(moved_in_their_midst)" 8
	is "workers that are threads: 4 workers of one process" \
		"$(cidsteer workers --json | sed -n 's/.*"pid": \([0-9]*\).*/\1/p' | uniq -c |
			awk '{ print $1 }')" 4
	is "workers that are threads: no strays" "$(strays)" 0
	stop_server
	is "workers that are threads: the server ends orderly" $? 0
}

# IPv4 only: one preferred address is one address family.
preferring_transfers()
{
	local i

	for i in 0 2 4 6 8 10 12 14; do
		echo "$i --rate 1000000 /bytes/500000"
	done
}

# Ports of the NAT that sent there.
clients_at_8443()
{
	in_ns server nft -j list set netdev count clients | grep -o '"packets"' | wc -l
}

# Their new path is another group of sockets; the connection ID for it came with the handshake.
preferred_address_is_steered()
{
	in_ns server nft -f - <<-RULES || bail "nft"
		table netdev count {
			set clients { type inet_service; flags dynamic; counter; }
			chain in {
				type filter hook ingress device "s0" priority 0
				udp dport 8443 update @clients { udp sport }
			}
		}
	RULES
	start_server "$WORK/moving" --listen 10.9.1.1:4433 --listen 10.9.1.1:8443 --workers 4 \
		--service moving --preferred-address 10.9.1.1:8443
	check "XDP is attached" in_ns server ip link set dev s0 xdpdrv pinned "$BPFFS/xdp"
	is "preferred address: 8 of 8 transfers survive" \
		"$(PORT=4433 failures_of moving-out preferring_transfers)" ""
	is "preferred address: each client went there" "$(clients_at_8443)" 8
	is "preferred address: no strays" "$(strays)" 0
	is "preferred address: XDP knew every connection ID" "$(counter xdp moving unknown_cid)" 0
	is "preferred address: so did socket selection" \
		"$(counter reuseport moving unknown_cid)" 0
	stop_server
	is "preferred address: the server saw each of them move" "$(path_changes)" 8
}

the_demo
check "Ctrl-C, twice, ends the demo and leaves nothing behind" interrupt INT -
check "SIGTERM to the demo alone ends it and leaves nothing behind" interrupt TERM ""
set_up
threads_are_steered
preferred_address_is_steered
done_testing

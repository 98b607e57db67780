# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-only
# shellcheck disable=SC2034 # words are meant to be split; names are used by who sources this
#
# HTTP/3 transfers that rebind, for the scripts beside this, which source selftests/lib.sh first:
# from namespace client to namespace server.

TRANSFERS=4
BYTES=300000
LIMIT=60

start_h3()
{
	DAEMON_NS=server
	configure <<-END
		service "h3" {
		    listen = {"[::]:443"}
		    user = "nobody"
		}
	END
	check "the daemon starts" start_daemon
	check "h3server serves with 4 workers" start_server
	like "status says that h3 is steered" "$(cidsteer status 2>&1)" '^h3 +steering'
}

# start_server OPTION...: one more; those of an older generation end.
start_server()
{
	local log

	log=$(mktemp "$WORK/h3server.XXXX")
	(exec_in_ns server "$BUILD/h3server" --workers 4 --user nobody --stats "$WORK/stats" "$@" \
		>"$log" 2>&1) &
	PATIENCE=30 wait_for grep -q '^h3server: serving' "$log" || cat "$log"
	grep '^h3server: serving' "$log"
}

# transfer ADDRESS OPTION...: downloads, and sends from another port in the midst.
transfer()
{
	local address=$1
	shift
	in_ns client "$BUILD/h3client" --json --timeout $LIMIT --stall 20 --rebind-after 40% "$@" \
		"$address" 443 /bytes/$BYTES
}

# transfers CLAIM: over both families; the server saw each of them change its path and end well.
transfers()
{
	local i address output failed=

	: >"$WORK/stats"
	for ((i = 0; i < TRANSFERS; i++)); do
		address=10.9.1.1
		[ $((i % 2)) = 0 ] || address=fd09:1::1
		output=$(transfer $address 2>&1) || failed+="$address: $output"$'\n'
	done
	is "$1: $TRANSFERS of $TRANSFERS" "$failed" ""
	is "$1: the server saw each client move" \
		"$(grep -c '"complete":true,"path_changes":1,' "$WORK/stats")" $TRANSFERS
}

# steered HOOK: what the counters of a hook must say when nothing went astray.
steered()
{
	check "$1: packets were routed by the table" [ "$(counter "$1" h3 by_table)" -ge 40 ]
	is "$1: every connection ID was known" "$(counter "$1" h3 unknown_cid)" 0
	check "$1: seen is the sum of the verdicts" seen_is_sum "$1"
}

no_strays()
{
	is "no worker got another's packet" "$(cidsteer workers --json |
		grep -o '"strays": [0-9]*' | sort -u)" '"strays": 0'
}

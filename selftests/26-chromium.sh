#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# A browser, with a QUIC stack that is none of ours: Chromium loads a page of 50 objects over HTTP/3
# while the NAT in front of it rebinds twice.

# shellcheck disable=SC2317 # functions that check and wait_for call
# shellcheck disable=SC2119 # start_daemon takes options, or none

# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=../scripts/demo-net.sh
. "$(dirname "$0")/../scripts/demo-net.sh"

OBJECTS=50
RATE=4mbit # towards the client: the page would take ten seconds
PATIENCE=60 # seconds: a browser starts slowly
BROWSER_LOG=$WORK/browser.log

# The rate is limited behind the NAT: what it has let through still reaches the client after a
# rebinding, and makes it send.  Without a packet from the client no server learns its new address.
rate_towards_client()
{
	tc -n nat qdisc replace dev n0 root tbf rate "$1" burst 10k latency 1s || bail "tbf"
}

set_up()
{
	topology_nat
	rate_towards_client "$RATE"
	nat_to 10.9.1.2 fd09:1::2 20000-20099
	DAEMON_NS=server
	configure <<-END
		service "h3" {
			listen = {"[::]:443"}
			user = "nobody"
		}
	END
	start_daemon || bail "the daemon did not start"
	make_page "$WORK/root"
	start_server "$WORK/server" --listen "[::]:443" --workers 4 --root "$WORK/root"
	in_ns server ip link set dev s0 xdpdrv pinned "$BPFFS/xdp" || bail "XDP"
}

# make_page DIR: objects of random size, 1 kB to 200 kB, and a page that says what it got of each.
make_page()
{
	local i

	mkdir -p "$1"
	for ((i = 1; i <= OBJECTS; i++)); do
		head -c $((1000 + (RANDOM << 15 | RANDOM) % 199001)) /dev/urandom >"$1/$i"
	done
	cat >"$1/index.html" <<-END
		<!doctype html>
		<link rel="icon" href="data:,">
		<script>
		function hex(bytes) {
			return [...new Uint8Array(bytes)].map(b => b.toString(16).padStart(2, "0")).join("");
		}
		async function get(i) {
			const url = new URL(i, location).href;
			const bytes = await (await fetch(url)).arrayBuffer();
			const sum = hex(await crypto.subtle.digest("SHA-256", bytes));
			const protocol = performance.getEntriesByName(url)[0].nextHopProtocol;
			console.log("object " + i + " " + sum + " " + protocol + " end");
		}
		Promise.all(Array.from({ length: $OBJECTS }, (_, i) => get(i + 1)))
			.then(() => console.log("page done"), error => console.log("page " + error));
		</script>
	END
	chmod -R a+rX "$1"
}

# Its files are below $WORK, its console is its error output.
start_browser()
{
	local spki

	spki=$(sed -n 's/.*SPKI SHA-256 //p' "$SERVER_DIR/log")
	(exec_in_ns client env HOME="$WORK" TMPDIR="$WORK" "$CHROMIUM" --headless --no-sandbox \
		--disable-gpu --disable-dev-shm-usage --disable-breakpad --no-first-run \
		--disable-background-networking --disable-component-update --disable-sync \
		--user-data-dir="$WORK/profile" --enable-logging=stderr --enable-quic \
		--origin-to-force-quic-on=h3.test:443 --host-resolver-rules="MAP h3.test 10.9.1.1" \
		--ignore-certificate-errors-spki-list="$spki" https://h3.test/ \
		>"$BROWSER_LOG" 2>&1) &
	BROWSER_PID=$!
}

stop_browser()
{
	kill -TERM "$BROWSER_PID"
	wait "$BROWSER_PID"
	wait_for no_browser_runs
}

# In this process namespace.
no_browser_runs()
{
	! pgrep -l '^chrom'
}

objects_served()
{
	grep '"complete":true' "$SERVER_DIR/stats" | grep -c '"path":"/[0-9]'
}

has_served()
{
	[ "$(objects_served)" -ge "$1" ]
}

page_is_over()
{
	grep -q '"page ' "$BROWSER_LOG" || ! kill -0 "$BROWSER_PID"
}

got()
{
	grep -o 'object [0-9]* [0-9a-f]* .* end' "$BROWSER_LOG" | sort -V
}

wanted()
{
	local i

	for ((i = 1; i <= OBJECTS; i++)); do
		echo "object $i $(sha256sum <"$WORK/root/$i" | cut -d' ' -f1) h3 end"
	done
}

# Path changes that the server has reported.
moves()
{
	cidsteer status --json | sed -n 's/.*"path_changes": \([0-9]*\).*/\1/p'
}

has_moved()
{
	[ "$(moves)" -gt "$1" ]
}

# rebind ADDR4 ADDR6 LOW-HIGH: returns when the server has seen it.
rebind()
{
	local before

	before=$(moves)
	nat_to "$@"
	wait_for has_moved "$before"
}

connections_of_objects()
{
	grep '"complete":true' "$SERVER_DIR/stats" | grep '"path":"/[0-9]' |
		sed 's/.*"connection":"\([0-9a-f]*\)".*/\1/' | sort -u | wc -l
}

# sum_of_workers FIELD: of what each says of itself.
sum_of_workers()
{
	sed "s/.*\"$1\":\([0-9]*\).*/\1/" "$WORK/workers" | awk '{ n += $1 } END { print n + 0 }'
}

CHROMIUM=$(type -P chromium) || skip_all "chromium is not installed: scripts/setup browser"
set_up
start_browser
wait_for has_served 5 || bail "the browser does not load: $(tail -1 "$BROWSER_LOG")"
check "the NAT rebinds, and the server sees the path change" rebind 10.9.1.2 fd09:1::2 30000-30099
wait_for has_served 10
check "it rebinds once more, and the server sees that" rebind 10.9.1.3 fd09:1::3 20000-20099
was_served=$(objects_served)
rate_towards_client 1gbit
wait_for page_is_over
worker_lines "$WORK/workers"
check "most objects were on their way then: $was_served had come" [ "$was_served" -lt $((OBJECTS / 2)) ]
is "Chromium got all $OBJECTS objects, each with its SHA-256, over HTTP/3" \
	"$(diff <(got) <(wanted))" "" || diag "$(grep -v 'dbus\|object' "$BROWSER_LOG" | tail -3)"
is "they came over one connection" "$(connections_of_objects)" 1
is "no strays" "$(sum_of_workers strays)" 0
is "no packet was for a connection that nobody has" "$(sum_of_workers unknown)" 0
is "XDP knew every connection ID" "$(counter xdp h3 unknown_cid)" 0
is "so did socket selection" "$(counter reuseport h3 unknown_cid)" 0
check "the browser ends" stop_browser
stop_server
is "the server ends orderly" $? 0
done_testing

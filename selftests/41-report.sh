#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# cidsteer report: each anomaly is in the recorder, floods leave the others there, no key is in it,
# and the host is described as it is.
#
#   client                    server
#  .------. 10.9.1.0/24      .------.
#  | c0 .2|------------------|.1 s0 |  XDP here in the second half
#  '------' fd09:1::/64      '------'
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

TOKEN=3735928559
topology_pair
DAEMON_NS=server
configure <<END
service "h3"     { listen = {"10.9.1.1:443", "[fd09:1::1]:443"} max_cids = 64 }
service "strict" { listen = {"10.9.1.1:444"} unknown_cid = "drop" small_initial = "drop" }
service "msg"    { listen = {"10.9.1.1:445"} shared_table = no }
service "empty"  { listen = {"10.9.1.1:446"} }
END

# report FIELDS...: these of each record, a line each, oldest first.
report()
{
	cidsteer report --json >"$WORK/report" || return 1
	"$PYTHON" - "$WORK/report" "$@" <<-'END'
		import json, sys
		for record in json.load(open(sys.argv[1]))["recorder"]["records"]:
		    print(*["-" if record[name] is None else record[name] for name in sys.argv[2:]])
	END
}

# of_report EXPRESSION: of the object r.
of_report()
{
	cidsteer report --json | "$PYTHON" -c "import json, sys; r = json.load(sys.stdin); print($1)"
}

# ---- without anything loaded ----------------------------------------------------------------
output=$(cidsteer report 2>"$WORK/err")
is "with nothing loaded it fails" "$?: $(cat "$WORK/err")" \
	"1: cidsteer: report: $BPFFS: nothing is loaded: run cidsteer load, or cidsteerd"
like "and says what there is" "$output" "^cidsteer .*, kernel $(uname -r | sed "s/[.+]/[&]/g"),"

check "the daemon starts" start_daemon
for name in a b; do
	check "worker $name registers" start_worker $name --service h3 --listen 10.9.1.1:443 \
		--listen '[fd09:1::1]:443' --generation $TOKEN
done
check "worker c registers" start_worker c --service strict --listen 10.9.1.1:444
for name in d e; do
	check "worker $name registers" start_worker $name --service msg --listen 10.9.1.1:445
done
declare -A id
for name in a b c d e; do
	id[$name]=$(ask $name state | sed 's/^id=\([0-9]*\) .*/\1/')
done
is "the recorder is empty" "$(report number)" ""

# ---- each anomaly, at the sockets -----------------------------------------------------------
to4()
{
	send client --to 10.9.1.1:443 --from 10.9.1.2:5000 "$@" >/dev/null
}
# dead_route CID: a word in the empty table of h3, of worker 77; core/cid_table.h.
dead_route()
{
	local tag first table

	read -r tag first < <(cidsteer lookup --service h3 "$1" |
		sed -n 's/.*tag \([0-9a-f]*\), buckets \([0-9]*\) and .*/\1 \2/p')
	table=$(bpftool map lookup pinned "$BPFFS/cs_cids" key 1 0 0 0 | "$PYTHON" -c '
import re, sys
word = re.findall(r"0x[0-9a-f]{2}|\b[0-9a-f]{2}\b|\d+", sys.stdin.read().split("value")[-1])
print(int.from_bytes(bytes(int(w, 16) for w in word), "little") if len(word) == 4 else word[-1])')
	# shellcheck disable=SC2046 # a list of bytes
	bpftool map update id "$table" key "$first" 0 0 0 value hex 4d 00 \
		"${tag:10:2}" "${tag:8:2}" "${tag:6:2}" "${tag:4:2}" "${tag:2:2}" "${tag:0:2}" \
		$(printf '0 %.0s' $(seq 56))
}
check "a route names worker 77, which is not there" dead_route aaaaaaaaaaaaaa04
ask a issue 0101010101010101 >/dev/null
ask b issue 0202020202020202 >/dev/null
ask d issue 0404040404040404 >/dev/null

to4 aaaaaaaaaaaaaa01
send client --to '[fd09:1::1]:443' --from '[fd09:1::3]:5001' --form handshake \
	aaaaaaaaaaaaaa02 >/dev/null
to4 --form cut aaaaaaaaaaaaaa03
to4 aaaaaaaaaaaaaa04
send client --to 10.9.1.1:444 --from 10.9.1.4:5002 --form initial aaaaaaaaaaaaaa05 >/dev/null
send client --to 10.9.1.1:444 --from 10.9.1.4:5002 aaaaaaaaaaaaaa06 >/dev/null
is "a worker tells of a stray" "$(ask b stray 0101010101010101)" 1
is "one with its table at the daemon, too" "$(ask e stray 0404040404040404)" 1
is "what is no stray is none" "$(ask b stray aaaaaaaaaaaaaa07)" ok
recorded()
{
	[ "$(of_report 'r["recorder"]["ever"]')" = "$1" ]
}
check "8 anomalies are recorded" wait_for recorded 8
FIELDS="number hook kind service from to type dcid reason table_worker not_enforced"
# The daemon learns of the two strays when it reads its sockets.
is "each with its kind, addresses, DCID and reason, in their order" \
	"$(report $FIELDS | grep -v stray)" "\
1 reuseport unknown_cid h3 10.9.1.2:5000 10.9.1.1:443 - aaaaaaaaaaaaaa01 unknown_cid 0 -
2 reuseport unknown_cid h3 [fd09:1::3]:5001 [fd09:1::1]:443 Handshake aaaaaaaaaaaaaa02 unknown_cid 0 -
3 reuseport malformed h3 10.9.1.2:5000 10.9.1.1:443 - - malformed 0 -
4 reuseport dead_worker h3 10.9.1.2:5000 10.9.1.1:443 - aaaaaaaaaaaaaa04 dead_worker 77 -
5 reuseport not_enforced strict 10.9.1.4:5002 10.9.1.1:444 Initial aaaaaaaaaaaaaa05 by_ring 0 dropped_initial
6 reuseport unknown_cid strict 10.9.1.4:5002 10.9.1.1:444 - aaaaaaaaaaaaaa06 unknown_cid 0 dropped_unknown"
is "strays with who got the packet, and whom the table names" \
	"$(report hook kind service from dcid worker table_worker | grep stray | sort -k5)" "\
worker stray h3 - 0101010101010101 ${id[b]} ${id[a]}
worker stray msg - 0404040404040404 ${id[e]} ${id[d]}"
like "text has a line for each" "$(cidsteer report)" \
	"^$(date +%Y-%m)-[0-9]{2} [0-9:]{8}\.[0-9]{6} reuseport strict 10\.9\.1\.4:5002 > 10\.9\.1\.1:444 Initial aaaaaaaaaaaaaa05: by_ring, worker ${id[c]}; not enforced: dropped_initial$"

# strays: how many are recorded; the daemon may not have read all of them yet.
strays()
{
	report kind | grep -c stray
}
has_strays()
{
	[ "$(strays)" -ge "$1" ]
}
start=$(date +%s)
is "100 strays at once are all counted" \
	"$(for _ in $(seq 100); do ask b stray 0101010101010101; done | sort | uniq -c | xargs)" "100 1"
most=$((2 + 10 * ($(date +%s) - start + 1)))
check "the daemon is told of some" wait_for has_strays 10
told=$(strays)
diag "$told are recorded, at most $most"
check "and of no more than ten in a second" test "$told" -le $most

# What goes well is not recorded.
before=$(report kind | grep -vc stray)
to4 --count 100 0101010101010101 0202020202020202
to4 --count 100 --form initial --size 1200 bbbbbbbbbbbbbb01
to4 --form unknown --count 10
wait_for test "$(counter reuseport h3 by_tuple)" = 10
is "by_table, by_ring and by_tuple are never recorded" "$(report kind | grep -vc stray)" "$before"

# ---- a worker that dies while no daemon runs ------------------------------------------------
stop_daemon KILL
kill_worker a
to4 0101010101010101
FIELDS=${FIELDS#number }
is "a route whose worker has no socket any more" "$(report $FIELDS | tail -1)" \
	"reuseport no_socket h3 10.9.1.2:5000 10.9.1.1:443 - 0101010101010101 no_socket ${id[a]} -"
is "it names the worker" "$(report worker | tail -1)" "${id[a]}"
check "another daemon starts" start_daemon
is "and what was recorded is still there" "$(report dcid | sed -n 1p)" aaaaaaaaaaaaaa01

# ---- at XDP ---------------------------------------------------------------------------------
cidsteer attach s0 --mode native >/dev/null 2>&1
before=$(of_report 'r["recorder"]["ever"]')
# Until the end of time: what is to be dropped is dropped.
bpftool map update pinned "$BPFFS/cs_lease" key 0 0 0 0 value hex 0 0 0 0 0 0 0 7f
send client --to 10.9.1.1:444 --from 10.9.1.4:5002 cccccccccccccc01 >/dev/null
send client --to 10.9.1.1:446 --from 10.9.1.4:5002 cccccccccccccc03 >/dev/null
to4 cccccccccccccc02
is "XDP records what it drops, what finds no worker, and what it passes on, which is seen twice" \
	"$(report hook kind service from to dcid reason not_enforced | tail -4)" "\
xdp unknown_cid strict 10.9.1.4:5002 10.9.1.1:444 cccccccccccccc01 dropped_unknown -
xdp no_worker empty 10.9.1.4:5002 10.9.1.1:446 cccccccccccccc03 no_worker -
xdp unknown_cid h3 10.9.1.2:5000 10.9.1.1:443 cccccccccccccc02 unknown_cid -
reuseport unknown_cid h3 10.9.1.2:5000 10.9.1.1:443 cccccccccccccc02 unknown_cid -"
is "and nothing else" "$(of_report 'r["recorder"]["ever"]')" $((before + 4))

# ---- floods ---------------------------------------------------------------------------------
# cs_watch in little-endian words, from the recorder on: see core/watch.h.
RECORDER=$((128 / 8))
# set_words WORD VALUE...: some words of cs_watch.
set_words()
{
	bpftool -j map dump pinned "$BPFFS/cs_watch" >"$WORK/watch" || return 1
	# shellcheck disable=SC2046 # a list of bytes
	bpftool map update pinned "$BPFFS/cs_watch" key 0 0 0 0 value hex $("$PYTHON" - "$WORK/watch" "$@" <<-'END'
		import json, sys
		value = json.load(open(sys.argv[1]))[0]["value"]
		words = bytearray(int(byte, 16) for byte in value)
		at = int(sys.argv[2]) * 8
		for word in sys.argv[3:]:
		    words[at:at + 8] = int(word).to_bytes(8, "little")
		    at += 8
		print(*["%02x" % byte for byte in words])
	END
	)
}
# calm: as if nothing had been recorded for long.
calm()
{
	set_words $((RECORDER + 1)) 0 0 0 0 0 0 0 0
}
cidsteer detach s0 --force >/dev/null 2>&1
check "each kind may have its burst" calm
before=$(of_report 'r["recorder"]["ever"]')
left=$(of_report 'r["recorder"]["left_out"]["unknown_cid"]')
start=$(date +%s)
to4 --count 5000 dddddddddddddd01
wait_for test "$(counter reuseport h3 unknown_cid)" -ge 5000
kept=$(($(of_report 'r["recorder"]["ever"]') - before))
most=$((512 + $(date +%s) - start + 1))
diag "$kept of 5,000 recorded, at least 512, at most $most"
check "of 5,000 of one kind 512 are recorded, and one a second" test $kept -ge 512 -a $kept -le $most
is "the others are counted" \
	$((kept + $(of_report 'r["recorder"]["left_out"]["unknown_cid"]') - left)) 5000
is "what was there before them is still there" "$(report dcid | sed -n 1p)" aaaaaaaaaaaaaa01
to4 --form cut dddddddddddddd02
is "another kind is recorded at once" "$(report kind | tail -1)" malformed

# The whole recorder, written round.
burst()
{
	calm && seq -f 'ee%014.0f' $(($1 * 500 + 1)) $(($1 * 500 + 500)) | to4 -
}
for burst in 0 1 2 3 4 5 6 7 8 9; do
	burst $burst || bail "burst $burst"
done
wait_for test "$(counter reuseport h3 unknown_cid)" -ge 10000
is "5,000 anomalies, slower, leave the newest 4,096, the newest last" \
	"$(report dcid | md5sum)" "$(seq -f 'ee%014.0f' 905 5000 | md5sum)"
is "numbers go on" "$(report number | awk 'NR > 1 && $1 != last + 1 { bad = 1 } { last = $1 } END { print NR, bad + 0 }')" "4096 0"

# ---- secrets --------------------------------------------------------------------------------
key()
{
	bpftool -j map lookup pinned "$BPFFS/cs_services" key "$1" 0 0 0 >"$WORK/service" || return 1
	"$PYTHON" - "$WORK/service" <<-'END'
		import json, sys
		value = json.load(open(sys.argv[1]))["value"]
		print("".join("%02x" % int(byte, 16) for byte in value[:16]))
	END
}
# finds KEY FILE: is the key in it, whole or a half, in any order of its bytes, as hex or number?
finds()
{
	"$PYTHON" - "$@" <<-'END'
		import re, sys
		key, text = bytes.fromhex(sys.argv[1]), open(sys.argv[2]).read().lower()
		assert len(key) == 16 and any(key)
		plain = re.sub("0x|[^0-9a-f]", "", text)
		halves = [key, key[:8], key[8:]]
		wanted = [part[::step].hex() for part in halves for step in (1, -1)]
		numbers = [str(int.from_bytes(part, order)) for part in halves for order in ("little", "big")]
		numbers += [str(int(n) - 2 ** 64) for n in numbers]
		listed = [re.sub("[^0-9,]", "", text)] + [",".join(str(byte) for byte in part) for part in halves]
		found = [w for w in wanted if w in plain] + [n for n in numbers if n in text]
		found += [w for w in listed[1:] if w in listed[0]]
		print(*found)
		sys.exit(not found)
	END
}
is "a service's key is 16 bytes" "$(key 1 | grep -cE '^[0-9a-f]{32}$')" 1
cidsteer report >"$WORK/text"
cidsteer report --json >"$WORK/json"
for service in 1 2 3 4; do
	key=$(key $service)
	for file in text json; do
		if finds "$key" "$WORK/$file" >"$WORK/found"; then
			flunk "the key of service $service is not in the report ($file)" "$(cat "$WORK/found")"
		else
			pass "the key of service $service is not in the report ($file)"
		fi
	done
done
# The search finds what is there, in each form.
key=$(key 1)
# shellcheck disable=SC2001 # between each two digits
spaced=$(sed 's/../& /g' <<<"$key")
for form in "$key" "$spaced" "$(printf '0x%s, ' "${key:6:2}" "${key:4:2}" \
	"${key:2:2}" "${key:0:2}")" "\"key\": [$((0x${key:14:2}${key:12:2}${key:10:2}${key:8:2}${key:6:2}${key:4:2}${key:2:2}${key:0:2})), 1]"; do
	{ cat "$WORK/json" && echo "$form"; } >"$WORK/with"
	[ "${#form}" -lt 30 ] || check "a key that is there as '${form:0:20}...' is found" finds "$key" "$WORK/with"
done
is "nor is the token of a generation" \
	"$(grep -ciE "$TOKEN|$(printf '%x' $TOKEN)|-559038737" "$WORK/text" "$WORK/json" | xargs)" \
	"$WORK/text:0 $WORK/json:0"

# ---- the host -------------------------------------------------------------------------------
is "versions" "$(of_report '"cidsteer %(cidsteer)s, layout %(layout)d" % r["versions"]')" \
	"$(cidsteer --version)"
is "kernel" "$(of_report 'r["versions"]["kernel"]')" "$(uname -r)"
like "libraries" "$(of_report 'r["versions"]["libbpf"] + " " + r["versions"]["libxdp"]')" \
	'^v[0-9]+\.[0-9]+ [0-9]+(\.[0-9]+\.[0-9]+)?$' # by the name of its file
of_s0()
{
	of_report "[i for i in r['interfaces'] if i['interface'] == 's0'][0]$1"
}
ip -n server link set s0 mtu 1400
cidsteer attach s0 --mode generic >/dev/null 2>&1
is "an interface has its driver, MTU, state and XDP mode" \
	"$(of_s0 "['driver']") $(of_s0 "['mtu']") $(of_s0 "['up']") $(of_s0 "['xdp']['mode']")" \
	"veth 1400 True generic"
is "and its channels" "$(of_s0 "['channels']['rx']") $(of_s0 "['rings']")" \
	"$(in_ns server ethtool -l s0 | awk '/^Current/ { now = 1 } now && /^RX:/ { print $2 }') None"
# offloads: as ethtool(8) prints them, under the kernel's names.
offloads()
{
	in_ns server ethtool -k s0 | awk -F': ' '
		{ sub(/^\t/, "", $1) }
		$1 == "rx-checksumming" { $1 = "rx-checksum" }
		$1 == "large-receive-offload" { $1 = "rx-lro" }
		$1 == "generic-receive-offload" { $1 = "rx-gro" }
		$1 == "rx-vlan-offload" { $1 = "rx-vlan-hw-parse" }
		$1 ~ /^(rx-checksum|tx-checksum-(ipv4|ipv6|ip-generic)|rx-lro|rx-gro|rx-gro-hw|rx-gro-list|rx-vlan-hw-parse|rx-udp-gro-forwarding)$/ {
			print $1, $2 ~ /^on/ ? "True" : "False"
		}' | sort
}
for what in "gro on" "gro off" "tx off" "rx-gro-list on"; do
	# shellcheck disable=SC2086 # two words
	in_ns server ethtool -K s0 $what >/dev/null
	is "offloads after ethtool -K s0 $what" \
		"$(of_report "'\n'.join(n + ' ' + str(on) for i in r['interfaces'] if i['interface'] == 's0' for n, on in sorted(i['offloads'].items()))" | sort)" \
		"$(offloads)"
done
is "sysctls" "$(of_report 'r["sysctls"]["net.core.rmem_max"]')" \
	"$(in_ns server sysctl -n net.core.rmem_max 2>/dev/null || echo None)" # Linux 6.12 has it in the first namespace only
in_ns server sysctl -q -w net.ipv4.ip_forward=1
is "as they are now" "$(of_report 'r["sysctls"]["net.ipv4.ip_forward"]')" 1
is "services with their settings" \
	"$(of_report '[(s["unknown_cid"], s["malformed"], s["not_quic"], s["small_initial"]) for s in r["services"][:2]], r["services"][2]["shared_table"]')" \
	"[('hash', 'hash', 'quic', 'count'), ('drop', 'hash', 'quic', 'drop')] False"
is "workers and counters as their commands say" \
	"$(of_report '[len(r["workers"]), len(r["counters"])]')" \
	"$(for what in workers counters; do
		cidsteer $what --json | "$PYTHON" -c "import json, sys; print(len(json.load(sys.stdin)['$what']))"
	done | xargs | sed 's/\(.*\) \(.*\)/[\1, \2]/')"
like "what status finds" "$(cat "$WORK/text")" "^empty +not steering  no active worker"
done_testing

#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Beside others.
# cidsteer config: what it lists, add, activate, retire, and what each of them refuses; no key is ever
# printed.  Strays by server ID are in workers and status.
#
#   client                    server
#  .------. 10.9.1.0/24      .------.
#  | c0 .2|------------------|.1 s0 |  XDP here; h3: workers a and b, later c, d and e
#  '------'                  '------'
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

topology_pair
DAEMON_NS=server
configure <<END
service "h3"   { listen = {"10.9.1.1:443"} max_cids = 1000 }
service "dns"  {
    listen = {"10.9.1.1:853"}
    max_cids = 1000
    quic_lb "1" { server_id_length = 2 nonce_length = 5 }
}
service "zero" { listen = {"10.9.1.1:444"} max_cids = 1000 cid_length = 0 }
service "own"  {
    listen = {"10.9.1.1:445"}
    max_cids = 1000
    worker_key { offset = 0 length = 8 from = "worker" }
}
END
check "the daemon starts" start_daemon
like "cs_xdp is attached" "$(cidsteer attach s0 2>&1)" "^s0: attached"

KEY=8f95f09245765f80256934e50c66207f
(umask 077 && echo $KEY >"$WORK/key" && echo "${KEY}00" >"$WORK/long")

# config ARGUMENTS...: what it prints, and its result if that is not 0; kept, to be searched.
config()
{
	{ cidsteer config "$@" 2>&1 || echo "exit $?"; } | tee -a "$WORK/said"
}

# wrong CLAIM RESULT LINE ARGUMENTS...: one line, and the result.
wrong()
{
	local claim=$1 result=$2 line=$3
	shift 3
	is "$claim" "$(config "$@")" "cidsteer: config $1: $line
exit $result"
}

# rows [SERVICE]: without the heads, single blanks.
rows()
{
	config "$@" | tail -n +2 | sed 's/^ *//; s/  */ /g'
}

# json EXPRESSION [SERVICE]: of the list, by Python.
json()
{
	config "${@:2}" --json | "$PYTHON" -c \
		"import json, sys; configs = json.load(sys.stdin)['configs']; print($1)" 2>&1
}

# hits CONFIGURATION KIND: of h3, known or opening, at XDP and at the sockets.
hits()
{
	json "[(c['$2']['xdp'], c['$2']['reuseport']) for c in configs if c['id'] == $1][0]" h3
}

# server_id NAME CONFIGURATION OCTETS [SERVICE]: the server ID of a worker, in hex; SERVICE is its number, 1: h3.
server_id()
{
	bpftool -j map dump pinned "$BPFFS/cs_servers" | "$PYTHON" -c '
import json, sys
worker, config, octets, service = (int(word) for word in sys.argv[1:])
for entry in json.load(sys.stdin):
    key, value = entry["formatted"]["key"], entry["formatted"]["value"]
    if (key["service"], key["config"], value["worker"]) == (service, config, worker):
        print(b"".join(word.to_bytes(8, "little") for word in key["id"])[:octets].hex())' \
		"$(ask "$1" state | sed 's/^id=\([0-9]*\) .*/\1/')" "$2" "$3" "${4:-1}"
}

# to_h3 ARGUMENTS...: datagrams.
to_h3()
{
	send client --to 10.9.1.1:443 "$@" >/dev/null
}

# ---- add ------------------------------------------------------------------------------------
is "nothing is there: heads alone" "$(config h3)" \
	"SERVICE  ID  HOW  OCTETS  LENGTH  HOST  OTHERS  ACTIVE  IN USE  RESTING  ELSEWHERE  KNOWN  OPENING"
is "  in JSON an empty list" "$(json configs h3)" "[]"
wrong "it needs a service and an id" 2 \
	"its operand is missing: cidsteer config add SERVICE ID --server-id-length N --nonce-length N [--key-file FILE] [...]" \
	add h3
wrong "and both lengths" 2 "--server-id-length is missing; see cidsteer config add --help" add h3 0
wrong "  also the nonce's" 2 "--nonce-length is missing; see cidsteer config add --help" \
	add h3 0 --server-id-length 3

# wrong_lengths CLAIM RESULT LINE SERVER-ID NONCE [OPTION...]: of configuration 0.
wrong_lengths()
{
	wrong "$1" "$2" "$3" add h3 0 --server-id-length "$4" --nonce-length "$5" "${@:6}"
}
wrong_lengths "a length is a number" 2 "--nonce-length 4x: not a number of octets" 3 4x
wrong_lengths "no server ID" 2 \
	"configuration 0: the server ID has no octet: there would be one server" 0 4
wrong_lengths "a server ID of 16 octets" 2 \
	"configuration 0: the server ID has more than 15 octets: with the shortest nonce, 4, a connection ID has no room for it" \
	16 4
wrong_lengths "a nonce of 3" 2 \
	"configuration 0: the nonce has less than 4 octets: a server would run out of them" 3 3
wrong_lengths "both together are too long" 2 \
	"configuration 0: server ID and nonce have more than 19 octets: with the first one, that is longer than a connection ID may be" \
	10 10
wrong_lengths "an ID that is too short for them" 2 \
	"--cid-length 7: not 8 to 20: first octet, server ID and nonce have 8" 3 4 --cid-length 7
wrong_lengths "or too long" 2 \
	"--cid-length 21: not 8 to 20: first octet, server ID and nonce have 8" 3 4 --cid-length 21
wrong_lengths "one length, or one in each ID" 2 \
	"--cid-length and --tells-length: only one of them" 3 4 --cid-length 8 --tells-length
wrong_lengths "a host that is no octets" 2 \
	"--host a: not 1 to 14 octets of two hexadecimal digits" 3 4 --host a
wrong_lengths "a host that leaves nothing" 1 \
	"configuration 0: a host has 3 octets: of 3 that a server ID has, none is left for the workers" \
	3 4 --host 0a0b0c
wrong_lengths "another host, and not this one" 2 \
	"--other-host is for --host, which says what is this one" 3 4 --other-host 0a
wrong_lengths "another host of another length" 2 \
	"--other-host 0b0c: not as many octets as --host 0a" 3 4 --host 0a --other-host 0b --other-host 0b0c
wrong_lengths "another host that is this one" 2 \
	"--other-host 0a: it is this one, as --host says" 3 4 --host 0a --other-host 0b --other-host 0a
# shellcheck disable=SC2046 # words
wrong_lengths "33 other hosts" 2 "--other-host: more than 32: the configuration file takes more" \
	3 4 --host 0a $(printf -- '--other-host %02x ' {100..132})
wrong_lengths "a key file that is not there" 1 \
	"$WORK/none: there is no such file: openssl rand -hex 16 makes a key, umask 077 keeps it from others" \
	3 4 --key-file "$WORK/none"
chmod 640 "$WORK/key"
wrong_lengths "one that others can read" 1 \
	"$WORK/key: its group or others may read or write it: chmod 600 $WORK/key" \
	3 4 --key-file "$WORK/key"
chmod 600 "$WORK/key"
wrong_lengths "one that has no key" 1 \
	"$WORK/long: not a key, which is 32 hexadecimal digits and nothing else: openssl rand -hex 16 makes one" \
	3 4 --key-file "$WORK/long"
wrong_lengths "--wait is for retire" 2 "--wait is not for this command" 3 4 --wait 1
wrong "id 7" 2 \
	"configuration 7: its id is not 0 to 6: 3 bits have no more, and 7 means that there is none" \
	add h3 7 --server-id-length 3 --nonce-length 4
wrong "an id that is none" 2 "x: not a configuration's id, 0 to 6" \
	add h3 x --server-id-length 3 --nonce-length 4
wrong "a service that is none" 1 'service "h4" is not configured' \
	add h4 0 --server-id-length 3 --nonce-length 4
wrong "nor is one with a longer name than there can be" 1 \
	'service "long-name-here-and-on" is not configured' \
	add long-name-here-and-on 0 --server-id-length 3 --nonce-length 4
wrong "a service without connection IDs" 1 \
	'service "zero" has cid_length 0: configuration 0 would never be asked' \
	add zero 0 --server-id-length 3 --nonce-length 4
wrong "a service with worker_key" 1 \
	'service "own" has worker_key: IDs of that format and of a QUIC-LB configuration cannot be told apart' \
	add own 0 --server-id-length 3 --nonce-length 4
check "a worker registers" start_worker early --service h3 --listen 10.9.1.1:443
wrong "the first one while workers are registered" 1 \
	'service "h3": its first QUIC-LB configuration cannot come while workers are registered: they have IDs that would be taken for its own; stop them first' \
	add h3 0 --server-id-length 3 --nonce-length 4
stop_worker early
wait_for eval '[ "$(cidsteer workers | wc -l)" = 1 ]'
is "all of that has changed nothing" "$(json configs h3) $(bpftool -j map dump pinned "$BPFFS/cs_servers")" \
	"[] []"

is "a configuration is added" "$(config add h3 0 --server-id-length 3 --nonce-length 4)" \
	"h3: configuration 0 is added"
check "  the daemon says so" logged "h3: configuration 0 is added$"
is "  it is listed" "$(rows h3)" "h3 0 plain 3+4 8 - 0 - 0 0 0 0 0"
wrong "  not twice" 1 \
	'service "h3" has a configuration 0: it never changes; retire it, or give the new one another id' \
	add h3 0 --server-id-length 3 --nonce-length 4
is "one with a key, in JSON" \
	"$(config add h3 1 --server-id-length 8 --nonce-length 8 --key-file "$WORK/key" --json | xargs)" \
	"{ service: h3, id: 1, state: added }"
is "one with hosts, whose IDs tell their length" "$(config add dns 2 --server-id-length 6 \
	--nonce-length 4 --tells-length --key-file "$WORK/key" --host 0a01 --other-host 0a02 \
	--other-host 0b00)" "dns: configuration 2 is added"
is "one of three passes, with octets of the server's" "$(config add dns 6 --server-id-length 4 \
	--nonce-length 5 --cid-length 12 --key-file "$WORK/key")" "dns: configuration 6 is added"
is "all are listed" "$(rows)" "h3 0 plain 3+4 8 - 0 - 0 0 0 0 0
h3 1 single pass 8+8 17 - 0 - 0 0 0 0 0
dns 1 plain 2+5 8 - 0 - 0 0 0 0 0
dns 2 four passes 6+4 tells 0a01 2 - 0 0 0 0 0
dns 6 three passes 4+5 12 - 0 - 0 0 0 0 0
own - worker_key 8 at 0 8 - 0 yes 0 0 0 0 0"
is "or those of one service" "$(json '[(c["service"], c["id"]) for c in configs]' dns)" \
	"[('dns', 1), ('dns', 2), ('dns', 6)]"
is "  with these members" "$(json 'configs[1]' dns)" \
	"{'service': 'dns', 'id': 2, 'how': 'four passes', 'at': 1, 'server_id_length': 6, 'nonce_length': 4, 'cid_length': None, 'host': '0a01', 'other_hosts': 2, 'active': False, 'server_ids': {'in_use': 0, 'resting': 0, 'elsewhere': 0}, 'known': {'xdp': 0, 'reuseport': 0}, 'opening': {'xdp': 0, 'reuseport': 0}}"
is "of one that is none" "$(config h4)" "cidsteer: config: there is no service h4
exit 1"
is "there is no other word" "$(config remove h3 0)" \
	"cidsteer: config: h3: one word too many; see cidsteer config --help
exit 2"

# ---- activate -------------------------------------------------------------------------------
wrong "one that is not there cannot be active" 1 'service "h3" has no configuration 5' activate h3 5
wrong "nor one that cannot be" 2 "7: not a configuration's id, 0 to 6, nor none" activate h3 7
wrong "nor of a service that is none" 1 'service "h4" is not configured' activate h4 0
is "one is activated" "$(config activate h3 0)" "h3: configuration 0 is what IDs are made with"
check "  the daemon says so" logged "h3: configuration 0 is what IDs are made with$"
is "  and listed so" "$(json '[c["id"] for c in configs if c["active"]]' h3)" "[0]"
is "none is" "$(config activate h3 none)" \
	"h3: no configuration is what IDs are made with: they go to the table"
is "  none is listed" "$(json '[c["id"] for c in configs if c["active"]]' h3)" "[]"
is "in JSON" "$(config activate h3 none --json | xargs) $(config activate h3 0 --json | xargs)" \
	"{ service: h3, id: null, state: none } { service: h3, id: 0, state: active }"

# ---- server IDs and packets -----------------------------------------------------------------
for name in a b; do
	check "worker $name registers" start_worker $name --service h3 --listen 10.9.1.1:443
done
is "both have a server ID" "$(rows h3 | head -1)" "h3 0 plain 3+4 8 - 0 yes 2 0 0 0 0"
OF_A=00$(server_id a 0 3)aaaaaaaa
to_h3 --count 3 "$OF_A"
to_h3 --count 2 --form handshake "$OF_A"
to_h3 --count 4 --form initial --size 1200 "$OF_A"
check "packets with its IDs reach worker a" arrived 9 a
is "known are those that a client has from the server" "$(hits 0 known)" "(5, 5)"
is "an Initial opens a connection" "$(hits 0 opening)" "(4, 4)"
is "  packets are counted once in the list" "$(rows h3 | head -1)" "h3 0 plain 3+4 8 - 0 yes 2 0 0 5 4"

is "b reports what is a's" "$(ask b stray "$OF_A")" ok
check "  a stray in status" wait_for eval 'cidsteer status | grep -q "^h3 .* 1 stray$"'
is "  and in its JSON" "$(cidsteer status --json | sed -n 's/.*"strays": \([0-9]*\),/\1/p' | head -1)" 1
is "  in workers" "$(cidsteer workers | awk 'NR > 1 { print $9 }' | xargs)" "0 1"
is "  in JSON" "$(cidsteer workers --json | sed -n 's/.*"strays": \([0-9]*\),/\1/p' | xargs)" "0 1"
stop_worker b
wait_for eval '[ "$(cidsteer workers | wc -l)" = 2 ]'
is "a server ID of who has gone rests" "$(rows h3 | head -1)" "h3 0 plain 3+4 8 - 0 yes 1 1 0 5 4"
like "  its stray stays in status" "$(cidsteer status)" "^h3 .* 1 stray$"

config activate h3 1 >/dev/null
check "worker c registers" start_worker c --service h3 --listen 10.9.1.1:443
if command -v openssl >/dev/null; then
	reset a c
	block=$(printf %b "$(server_id c 1 8 | sed 's/../\\x&/g')nonceabc" | openssl enc -aes-128-ecb -nopad -K $KEY |
		od -An -v -tx1 | tr -d ' \n')
	to_h3 --count 6 "3f$block"
	check "the key is that of the file: c gets what is encrypted with it" arrived 6 c
	is "  counted for its configuration" "$(hits 1 known) $(hits 0 known)" "(6, 6) (5, 5)"
else
	skip "no openssl" "the key is that of the file: c gets what is encrypted with it" \
		"  counted for its configuration"
fi

# ---- retire ---------------------------------------------------------------------------------
BEGINS="cidsteer: config retire: h3: 2 s to see whether packets with IDs of configuration 0 come; Ctrl-C changes nothing"
RETIRE_PID=

# retire_begin ARGUMENTS...: returns when packets are counted.
retire_begin()
{
	: >"$WORK/retire"
	(exec_in_ns server "$BUILD/cidsteer" --bpffs "$BPFFS" config retire "$@" >"$WORK/retire" 2>&1) &
	RETIRE_PID=$!
	wait_for grep -q "to see whether" "$WORK/retire" || bail "retire: $(cat "$WORK/retire")"
}

# retire_end: waits for its end; $answer is what it has printed.
retire_end()
{
	wait "$RETIRE_PID" || echo "exit $?" >>"$WORK/retire"
	cat "$WORK/retire" >>"$WORK/said"
	answer=$(cat "$WORK/retire")
}

wrong "what IDs are made with is not retired, and nobody waits" 1 \
	"workers make IDs with configuration 1: first cidsteer config activate h3 with another one, or with none" \
	retire h3 1
wrong "nor what is not there" 1 'service "h3" has no configuration 5' retire h3 5
wrong "nor of a service that is none" 1 'service "h4" is not configured' retire h4 0
wrong "id 7 is none" 2 "7: not a configuration's id, 0 to 6" retire h3 7
wrong "a time that is none" 2 "--wait -1: not 0 to 86400 seconds" retire h3 0 --wait -1
wrong "or too long" 2 "--wait 86401: not 0 to 86400 seconds" retire h3 0 --wait 86401
wrong "no time without --force" 2 "--wait 0 is for --force: in no time no packet is seen" \
	retire h3 0 --wait 0

retire_begin h3 0 --wait 2
to_h3 --count 1234 "$OF_A"
retire_end
is "packets come: it refuses" "$answer" "$BEGINS
cidsteer: config retire: configuration 0 of h3: at least 1,234 packets with its IDs came in 2 s: try again when these connections are over, or use --force, which ends them
exit 1"
retire_begin h3 0 --wait 1
to_h3 "$OF_A"
retire_end
like "one is enough" "$answer" ": at least 1 packet with its IDs came in 1 s: try again"
retire_begin h3 0 --wait 1
send server --to 10.9.1.1:443 --count 3 "$OF_A" >/dev/null
retire_end
like "also if XDP does not see them" "$answer" ": at least 3 packets with its IDs came in 1 s: try again"
retire_begin h3 0
kill -INT "$RETIRE_PID"
retire_end
is "Ctrl-C ends it; it would have waited for a minute" "$answer" "${BEGINS/2 s/60 s}
cidsteer: config retire: interrupted: configuration 0 of h3 is as it was
exit 1"
is "after all of that it is there" "$(rows h3 | head -1)" "h3 0 plain 3+4 8 - 0 - 1 1 0 1,243 4"

retire_begin h3 0 --wait 2
to_h3 --count 5 --form initial --size 1200 "$OF_A"
retire_end
is "none come but those that open connections: it is retired" "$answer" "$BEGINS
h3: configuration 0 is retired; no packet with its IDs came in 2 s"
check "  the daemon says so" logged "h3: configuration 0 is retired$"
is "  its server IDs are gone" "$(json '[c["id"] for c in configs]' h3) $(bpftool -j map dump pinned "$BPFFS/cs_servers" |
	"$PYTHON" -c 'import json, sys; print({e["formatted"]["key"]["config"] for e in json.load(sys.stdin)})')" \
	"[1] {1, 2}"
is "  no packet goes by it" "$(cidsteer explain --cid "$OF_A" --service h3 | grep '^reason' | sort -u | sed 's/;.*//')" \
	"reason unknown_cid"

config add h3 0 --server-id-length 3 --nonce-length 4 >/dev/null
is "one that comes again begins anew" "$(rows h3 | head -1)" "h3 0 plain 3+4 8 - 0 - 0 0 0 0 0"
config activate h3 0 >/dev/null
check "worker d registers" start_worker d --service h3 --listen 10.9.1.1:443
config activate h3 1 >/dev/null
retire_begin h3 0 --wait 1 --force
to_h3 --count 12 "00$(server_id d 0 3)aaaaaaaa"
retire_end
is "--force names the number" "$(tail -1 <<<"$answer")" \
	"h3: configuration 0 is retired; at least 12 packets with its IDs came in 1 s"
config add h3 0 --server-id-length 3 --nonce-length 4 >/dev/null
config activate h3 0 >/dev/null
check "worker e registers" start_worker e --service h3 --listen 10.9.1.1:443
config activate h3 none >/dev/null
to_h3 --count 21 "00$(server_id e 0 3)aaaaaaaa"
check "it gets what has the ID" arrived 21 e
is "without time, of all there were" "$(config retire h3 0 --wait 0 --force)" \
	"h3: configuration 0 is retired; at least 21 packets with its IDs came since it was added"
is "in JSON" "$(config retire dns 6 --wait 0 --force --json | xargs)" \
	"{ service: dns, id: 6, state: retired, packets: 0, seconds: null }"
is "the file's is retired" "$(config retire dns 1 --wait 1 2>&1 | tail -1)" \
	"dns: configuration 1 is retired; no packet with its IDs came in 1 s"
cidsteer reload >/dev/null
is "  and is back with the next reload, while the file has it" \
	"$(json '[c["id"] for c in configs]' dns)" "[1, 2]"

# ---- somebody else's format -----------------------------------------------------------------
check "a worker of a service with worker_key registers" start_worker own --service own --listen 10.9.1.1:445
send client --to 10.9.1.1:445 --count 2 "$(server_id own 7 8 4)" >/dev/null
check "what carries its octets reaches it" arrived 2 own
is "it is listed" "$(rows own)" "own - worker_key 8 at 0 8 - 0 yes 1 0 0 2 0"
is "  in JSON" "$(json '[(c["id"], c["how"], c["at"], c["server_id_length"], c["nonce_length"]) for c in configs]' own)" \
	"[(None, 'worker_key', 0, 8, None)]"

# ---- without a daemon -----------------------------------------------------------------------
stop_daemon
gone="$CONTROL: No such file or directory: is cidsteerd running?"
wrong "without a daemon nothing is added" 1 "$gone" add dns 0 --server-id-length 3 --nonce-length 4
wrong "  nor activated" 1 "$gone" activate dns 2
wrong "  nor retired, and nobody waits" 1 "$gone" retire dns 2
is "  but listed" "$(json '[c["id"] for c in configs]')" "[1, 1, 2, None]"

# ---- keys -----------------------------------------------------------------------------------
{
	cidsteer report
	cidsteer report --json
	cat "$DAEMON_LOG" "$WORK/workers.log"
} >>"$WORK/said" 2>&1
like "what was printed can be searched" "$(grep -c "configuration 1" "$WORK/said")" "^[1-9]"
is "no part of the key is in it" \
	"$(grep -iE "${KEY:0:8}|${KEY:8:8}|${KEY:16:8}|${KEY:24:8}" "$WORK/said")" ""
done_testing

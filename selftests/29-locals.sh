#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Beside others.
# A wildcard is matched against addresses that are local: what the host forwards is nobody's at XDP,
# addresses and prefixes come and go while packets arrive, and one that stays is never missed.  Then
# the lease: what drops needs a daemon that lives.
#
#   client                    server                    host
#  .------. 10.9.1.0/24      .------. 10.9.2.0/24      .------.
#  | c0 .2|------------------|.1 s0 |                  |      |
#  |      | fd09:1::/64      |  f0.1|------------------|.2 h0 |
#  '------'                  '------' fd09:2::/64      '------'
#                             XDP at s0; forwards
# shellcheck disable=SC2086 # lists of words
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

ROUNDS=${ROUNDS:-9} # of changes while packets come; a ninth of it: a ninth of the addresses
# shellcheck source=traffic.bash
. "$(dirname "$0")/traffic.bash"

topology_pair
lossless client c0
ns_add host
veth server f0 host h0
address server f0 10.9.2.1/24 fd09:2::1/64
address host h0 10.9.2.2/24 fd09:2::2/64
in_ns server sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 \
	net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.s0.send_redirects=0 || bail "forwarding"
mac_of()
{
	ip -n "$1" -j link show "$2" | sed -n 's/.*"address":"\([^"]*\)".*/\1/p'
}
mac=$(mac_of server s0)
# What waits for an answer to ARP is dropped from 213 KB on, which are 48 packets that XDP has seen.
for to in 10.9.2.2 fd09:2::2; do
	ip -n server neigh replace $to lladdr "$(mac_of host h0)" dev f0 nud permanent || bail "neighbour"
done
# Nothing but the tests' packets leaves the client, so all that XDP sees can be counted.
in_ns client nft -f - <<END || bail "nft"
table inet quiet {
	chain out {
		type filter hook output priority 0; policy drop;
		udp dport 443 accept
	}
}
END
for to in 10.9.1.1 fd09:1::1; do
	ip -n client route add default via $to || bail "routes"
	ip -n client neigh replace $to lladdr "$mac" dev c0 nud permanent || bail "neighbours"
done
# Nor does the server have to ask who the client is: its answers by ARP would be counted, too.
peer=$(ip -n client -j link show c0 | sed -n 's/.*"address":"\([^"]*\)".*/\1/p')
for n in 2 3 4 5 6 7 8 9; do
	for to in 10.9.1.$n fd09:1::$n; do
		ip -n server neigh replace $to lladdr "$peer" dev s0 nud permanent || bail "neighbours"
	done
done
in_ns host nft -f - <<END || bail "nft"
table inet arrived {
	counter got { }
	chain in {
		type filter hook input priority 0;
		udp dport 443 counter name got drop
	}
}
END
DAEMON_NS=server
configure <<<'service "h3" { listen = {"[::]:443"} interface = {"s0"} }'
check "the daemon starts" start_daemon
check "XDP is attached" logged "s0: attached"
start_worker a --service h3 --listen '[::]:443'
ids=$(ask a random 4)
ids=${ids#cids }

# ---- what the maps say ----------------------------------------------------------------------
cat >"$WORK/locals.py" <<'END'
# agree: is what the maps say what the routing table says?  line N ADDRESS: others of its line.
import ctypes, errno, ipaddress, json, os, struct, subprocess, sys

def run(*command):
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout or "[]")

def words(address):
    raw = address.packed if address.version == 6 else b"\0" * 10 + b"\xff\xff" + address.packed
    return [int.from_bytes(raw[i:i + 8], "little") for i in (0, 8)]

def line(address):
    one, other = words(address)
    return (((one ^ other) * 0x9E3779B97F4A7C15) % (1 << 64)) >> 54

def network(raw, bits):
    if raw[:12] == b"\0" * 10 + b"\xff\xff" and bits >= 96:
        return ipaddress.ip_network((raw[12:], bits - 96))
    return ipaddress.ip_network((raw, bits))

def listed():
    found = set()
    for family in "-4", "-6":
        for route in run("ip", "-n", sys.argv[2], family, "-j", "route", "show", "table", "local", "type", "local"):
            found.add(ipaddress.ip_network(route["dst"]))
    return {n for n in found if n.version == 6 or not n.subnet_of(ipaddress.ip_network("127.0.0.0/8")) or n.prefixlen == 32}

libbpf = ctypes.CDLL("libbpf.so.1")

def pinned(path):
    fd = libbpf.bpf_obj_get(path.encode())
    assert fd >= 0, path
    return fd

def batch(fd, after, key_size, value_size, most):
    """Pairs of bytes behind a key, or, with None, from the first: a dump as text takes seconds."""
    keys, values = ctypes.create_string_buffer(key_size * most), ctypes.create_string_buffer(value_size * most)
    count, at = ctypes.c_uint32(most), ctypes.create_string_buffer(max(key_size, 8))
    err = libbpf.bpf_map_lookup_batch(fd, after, at, keys, values, ctypes.byref(count), None)
    assert err in (0, -errno.ENOENT), os.strerror(-err)
    key, value = keys.raw, values.raw
    return [(key[i * key_size:(i + 1) * key_size], value[i * value_size:(i + 1) * value_size])
            for i in range(count.value)], err == 0

def mapped(bpffs, index):
    lines, short = set(), set()
    after = struct.pack("<I", index * 1024 - 1) if index else None
    for key, value in batch(pinned(bpffs + "/cs_locals"), after, 4, 64, 1024)[0]:
        (key,) = struct.unpack("<I", key)
        assert key // 1024 == index, key
        for at in range(0, 64, 16):
            raw = value[at:at + 16]
            if not any(raw):
                continue
            net = network(raw, 128)
            assert key % 1024 == line(net.network_address), net
            assert net not in lines, net
            lines.add(net)
    prefixes, more = batch(pinned(bpffs + "/cs_prefixes"), None, 24, 4, 8192)
    assert not more
    for key, _ in prefixes:
        bits, netns = struct.unpack_from("<II", key)
        if netns == index:
            short.add(network(key[8:], bits - 32))
    ports = struct.Struct("<131072xI") # struct cs_ports: lines of ports, then the number of prefixes
    value = ctypes.create_string_buffer(ports.size)
    assert libbpf.bpf_map_lookup_elem(pinned(bpffs + "/cs_ports"), struct.pack("<I", index), value) == 0
    return lines, short, ports.unpack(value.raw)[0]

if sys.argv[1] == "agree":
    lines, short, number = mapped(sys.argv[3], int(sys.argv[4]))
    print(f"{len(lines)} in lines, {len(short)} prefixes, number {number}")
    wrong = lines & short | (lines | short) ^ listed()
    if wrong or number != len(short):
        print("wrong:", *sorted(map(str, wrong))[:5], file=sys.stderr)
        sys.exit(1)
elif sys.argv[1] == "line":
    first = ipaddress.ip_address(sys.argv[3])
    found, at = [], first
    while len(found) < int(sys.argv[2]):
        if line(at) == line(first):
            found.append(str(at))
        at += 1
    print(*found)
END

# agree: prints how many there are.
agree()
{
	"$PYTHON" "$WORK/locals.py" agree server "$BPFFS" 0
}

# seen: "h3 NUMBER, others NUMBER", packets that XDP has seen since begin.
begin()
{
	h3_before=$(counter xdp h3 seen)
	others_before=$(counter xdp - not_ours)
}

seen()
{
	echo "h3 $(($(counter xdp h3 seen) - h3_before)), others $(($(counter xdp - not_ours) - others_before))"
}

check "the maps say what the routing table says" wait_for agree

# ---- what is forwarded ----------------------------------------------------------------------
begin
reset a
n=$(send client --to 10.9.1.1:443 --count 100 $ids)
n=$((n + $(send client --to '[fd09:1::1]:443' --count 100 $ids)))
arrived "$n" a
is "packets to the host are the service's" "$(seen), worker $(count a own)" "h3 800, others 0, worker 800"
n=$(send client --to 10.9.2.1:443 --count 100 $ids)
arrived $((800 + n)) a
is "to its other address too" "$(seen), worker $(count a own)" "h3 1200, others 0, worker 1200"

at_host()
{
	in_ns host nft list counter inet arrived got | sed -n 's/.*packets \([0-9]*\).*/\1/p'
}

begin
# A hundred at a time: what is forwarded waits in a queue of the kernel's that has an end
# (net.core.netdev_max_backlog).
n=0
for to in 10.9.2.2:443 '[fd09:2::2]:443'; do
	for _ in $(seq 10); do
		n=$((n + $(send client --to "$to" --count 25 $ids)))
		wait_for eval '[ "$(at_host)" = $n ]'
	done
done
is "what it forwards to another host is nobody's, and arrives there" \
	"$(seen), sent $n, arrived $(at_host)" "h3 0, others 2000, sent 2000, arrived 2000"

# ---- addresses come and go ------------------------------------------------------------------
# stream ADDRESS...: sends to these until the file "stop" is there; "sent" then has the number.  It
# waits for no worker: what XDP has seen is counted.
stream()
{
	local sent=0 now to

	until [ -e "$WORK/stop" ]; do
		for to; do
			now=$(send client --to "$to" --ports 4 --count 5 $ids) || break 2
			sent=$((sent + now))
		done
	done
	rm -f "$WORK/stop"
	echo $sent >"$WORK/sent"
}

# grows SERVICE COUNTER: the counter is more than when it was asked last.
grows()
{
	local now

	now=$(counter xdp "$1" "$2")
	[ "$now" -gt "$last" ] || return
}

comes_to_grow()
{
	last=$(counter xdp "$1" "$2")
	wait_for grows "$1" "$2"
}

for to in 10.9.1.77 fd09:1::77; do
	case $to in
	*:*) prefix=64 port="[$to]:443" ;;
	*) prefix=24 port=$to:443 ;;
	esac
	ip -n client neigh replace $to lladdr "$mac" dev c0 nud permanent
	stream "$port" &
	sender=$!
	check "$to is nobody's" comes_to_grow - not_ours
	address server s0 $to/$prefix
	check "it is the service's when it comes" comes_to_grow h3 by_table
	check "  and the maps agree" wait_for agree
	others=$(counter xdp - not_ours)
	check "  and goes on to be" comes_to_grow h3 by_table
	is "  nothing of it is nobody's then" "$(counter xdp - not_ours)" "$others"
	ip -n server address del $to/$prefix dev s0
	check "it is nobody's when it is gone" comes_to_grow - not_ours
	check "  and the maps agree" wait_for agree
	touch "$WORK/stop"
	wait $sender
done

# ---- prefixes -------------------------------------------------------------------------------
ip -n server route add local 192.0.2.0/24 dev s0 && ip -n server -6 route add local 2001:db8:5::/64 dev lo
check "AnyIP prefixes are in the maps" wait_for agree
like "  as prefixes" "$(agree)" ", 2 prefixes, number 2$"
begin
reset a
for to in 192.0.2.1 192.0.2.255 '[2001:db8:5::1]' '[2001:db8:5:0:ffff::]'; do
	send client --to $to:443 --count 25 $ids >/dev/null
done
arrived 400 a
is "packets to them are the service's" "$(seen), worker $(count a own)" "h3 400, others 0, worker 400"
check "the configuration is read again" cidsteer reload --control "$CONTROL"
like "  and the prefixes are there" "$(agree)" ", 2 prefixes, number 2$"
begin
for to in 192.0.3.1 '[2001:db8:5:1::1]'; do
	send client --to $to:443 --count 25 $ids >/dev/null
done
wait_for eval '[ "$(seen)" = "h3 0, others 200" ]'
is "packets beside them are not" "$(seen)" "h3 0, others 200"
ip -n server -6 route add local ::/0 dev lo
check "all of IPv6 is taken for local" wait_for eval 'agree 2>&1 | grep -q "98 prefixes, number 98"'
begin
send client --to '[2001:db8:5:1::1]:443' --count 25 $ids >/dev/null
send client --to 192.0.3.1:443 --count 25 $ids >/dev/null
wait_for eval '[ "$(seen)" = "h3 100, others 100" ]'
is "  but not of IPv4" "$(seen)" "h3 100, others 100"
ip -n server -6 route del local ::/0 dev lo
check "until it goes" wait_for agree
# With the last IPv4 address of its device a route goes of which the kernel says nothing.
ip -n server address del 10.9.1.1/24 dev s0
check "a prefix that goes with the address of its device is gone" wait_for agree
like "  as the other stays" "$(agree)" ", 1 prefixes, number 1$"
address server s0 10.9.1.1/24
ip -n server -6 route del local 2001:db8:5::/64 dev lo
check "no prefix is left" wait_for eval 'agree | grep -q ", 0 prefixes, number 0$"'

# ---- more than four in a line; what stays is never missed --------------------------------------
line=$("$PYTHON" "$WORK/locals.py" line 8 fd09:1::100)
read -ra line <<<"$line"
for to in "${line[@]:0:6}"; do
	address server s0 $to/64
	ip -n client neigh replace $to lladdr "$mac" dev c0 nud permanent
done
check "of 6 addresses of a line all are local" wait_for agree
like "  two as prefixes" "$(agree)" ", 2 prefixes, number 2$"
begin
reset a
for to in "${line[@]:0:6}"; do
	send client --to "[$to]:443" --count 25 $ids >/dev/null
done
arrived 600 a
is "  packets to each are the service's" "$(seen), worker $(count a own)" "h3 600, others 0, worker 600"

# In slots 2 and 3 of the line, and as a prefix that will get a slot.
stay="[${line[1]}]:443 [${line[2]}]:443 [${line[5]}]:443 10.9.1.1:443"
churn()
{
	local times=$1 n

	for ((n = 0; n < times; n++)); do
		ip -n server -batch - <<-END || return
			address del ${line[0]}/64 dev s0
			address add ${line[6]}/64 dev s0 nodad
			address del ${line[4]}/64 dev s0
			address add 10.9.1.78/24 dev s0
			route add local 192.0.2.0/24 dev lo
			address add ${line[7]}/64 dev s0 nodad
		END
		wait_for agree || return
		ip -n server -batch - <<-END || return
			address del ${line[7]}/64 dev s0
			address del ${line[6]}/64 dev s0
			address add ${line[0]}/64 dev s0 nodad
			address add ${line[4]}/64 dev s0 nodad
			address del 10.9.1.78/24 dev s0
			route del local 192.0.2.0/24 dev lo
		END
		wait_for agree || return
	done
}
begin
stream $stay &
sender=$!
check "addresses beside those that stay come and go" churn $ROUNDS
# And so many that they come and go while the kernel lists them.
number=$((1500 * ROUNDS / 9))
many=$(for n in $(seq $number); do echo "fd09:1::a:$(printf %x "$n")"; done)
batch()
{
	local addr

	for addr in $many; do
		echo "address $1 $addr/64 dev s0 $2"
	done | ip -n server -6 -batch -
}
for ((n = 0; n < ROUNDS; n += 3)); do
	check "$number others come" batch add nodad
	check "  and go" batch del ""
done
check "and the maps agree" wait_for agree
touch "$WORK/stop"
wait $sender
sent=$(cat "$WORK/sent")
wait_for eval '[ "$(seen)" = "h3 $sent, others 0" ]'
is "of $sent packets to those that stay none was missed" "$(seen)" "h3 $sent, others 0"

# ---- what nobody heard, and what has no room --------------------------------------------------
kill -STOP "$DAEMON_PID"
batch add nodad
kill -CONT "$DAEMON_PID"
check "$number that came while the daemon was stopped are there" wait_for agree
kill -STOP "$DAEMON_PID"
batch del ""
kill -CONT "$DAEMON_PID"
check "  and they go" wait_for agree
# So much of others that nothing is heard of the one address behind it (ENOBUFS, netlink(7)).
foreign=$(for n in $(seq 0 1023); do echo "route add 10.$((64 + n / 256)).$((n % 256)).0/24 dev f0"; done)
kill -STOP "$DAEMON_PID"
ip -n server -batch - <<<"$foreign"
address server s0 10.9.1.80/24
kill -CONT "$DAEMON_PID"
check "one that nobody heard of is there" wait_for agree
ip -n server -batch - <<<"${foreign//route add/route del}"
ip -n server address del 10.9.1.80/24 dev s0
check "  and goes" wait_for agree

batch=$(for n in $(seq 0 4199); do echo "route add local 10.$((128 + n / 16384)).$((n / 64 % 256)).$((n % 64 * 4))/30 dev lo"; done)
ip -n server -batch - <<<"$batch"
check "prefixes that have no room are named" logged \
	"^cidsteerd: 10\.128\.[0-9.]+/30 and [0-9]+ more are not taken for local at XDP: there is room for 4096 prefixes"
like "  the rest is there" "$(agree 2>/dev/null)" ", 4096 prefixes, number 4096$"
begin
reset a
send client --to 10.9.1.1:443 --count 25 $ids >/dev/null
arrived 100 a
is "  and so are the addresses" "$(seen)" "h3 100, others 0"
ip -n server -batch - <<<"${batch//route add/route del}"
check "when they go all is as it was" wait_for agree

stop_daemon
address server s0 10.9.1.79/24
check "without a daemon the maps do not follow" eval '! agree 2>/dev/null'
check "cidsteer load makes them true, once" cidsteer load
check "  they agree" agree

# ---- the lease ------------------------------------------------------------------------------
PATIENCE=30
POLL=0.5 # each look takes a Python
configure <<<'service "h3" { listen = {"[::]:443"} interface = {"s0"} unknown_cid = "drop" }'
now_ns()
{
	"$PYTHON" -c 'import time; print(time.clock_gettime_ns(time.CLOCK_MONOTONIC))'
}

lease_until()
{
	bpftool -j map lookup pinned "$BPFFS/cs_lease" key 0 0 0 0 |
		sed -n 's/.*"until_ns": *\([0-9]*\).*/\1/p'
}

lease_is_valid()
{
	[ "$(lease_until)" -gt "$(now_ns)" ]
}

no_lease()
{
	! lease_is_valid
}

# unknown: "dropped NUMBER, not NUMBER" of 100 packets with an ID that nobody has issued.
unknown()
{
	local dropped not

	dropped=$(counter xdp h3 dropped_unknown)
	not=$(counter xdp h3 not_enforced)
	send client --to 10.9.1.1:443 --count 100 f00dfeedf00dfeed >/dev/null
	echo "dropped $(($(counter xdp h3 dropped_unknown) - dropped)), not $(($(counter xdp h3 not_enforced) - not))"
}

check "the old lease has run out" wait_for no_lease
before=$(now_ns)
old=$(lease_until)
check "a daemon starts with a policy that drops" start_daemon
check "and renews the lease" wait_for lease_is_valid
check "not before libraries had five seconds to come back" \
	test "$(lease_until)" -ge $((before + 15000000000))
check "it was another lease" test "$(lease_until)" -gt "$old"
is "an unknown ID is dropped" "$(unknown)" "dropped 100, not 0"
first=$(lease_until)
check "it goes on renewing it" wait_for eval '[ "$(lease_until)" -gt '"$first"' ]'
is "status has nothing to say of that" "$(cidsteer status | grep -c lease)" 0

# over CLAIM: of a lease that nobody renews.
over()
{
	check "$1: the lease runs out" wait_for no_lease
	is "$1: nothing is dropped" "$(unknown)" "dropped 0, not 100"
	like "$1: status says so" "$(cidsteer status | tr -s ' \n' ' ')" \
		"^h3 degraded nothing is dropped: the lease that the daemon renews has run out start cidsteerd"
	like "$1: in JSON too" "$(cidsteer status --json | tr -s ' \n' ' ')" '"lease_seconds": 0, .*"drops": true'
}
kill -STOP "$DAEMON_PID"
over "a daemon that is stopped"
before=$(now_ns)
kill -CONT "$DAEMON_PID"
check "one that goes on renews it" wait_for lease_is_valid
check "  after it has waited for libraries again" test "$(lease_until)" -ge $((before + 15000000000))
is "  an unknown ID is dropped" "$(unknown)" "dropped 100, not 0"
stop_daemon KILL
over "a daemon that was killed"
check "the next one starts" start_daemon
check "  and renews it" wait_for lease_is_valid
is "  an unknown ID is dropped" "$(unknown)" "dropped 100, not 0"
done_testing

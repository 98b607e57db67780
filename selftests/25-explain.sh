#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Beside others.
# cidsteer explain: of digits, of a captured packet (captures.py), of a connection ID.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

CAPTURES=$WORK/captures
mkdir "$CAPTURES"
ip address add 10.9.1.1/24 dev lo || bail "address"
ip address add fd09:1::1/64 dev lo nodad || bail "address"

configure <<END
service "h3" {
    listen = {"[::]:443", "10.9.1.1:444"}
}
service "dns" {
    listen = {"127.0.0.1:443"}
    cid_length = 4
}
service "zero" {
    listen = {"[::]:1000"}
    cid_length = 0
}
service "v6" {
    listen = {"[::]:2000", "0.0.0.0:2000"}
}
END
check "the daemon starts" start_daemon
for name in a b; do
	check "worker $name registers" start_worker $name --service h3 --listen '[::]:443' \
		--listen 10.9.1.1:444
done
read -r _ CID DRAINS DIES _ < <(ask a random 3)
"$PYTHON" "$TOP/selftests/captures.py" "$CAPTURES" "$CID" || bail "captures.py"
cd "$CAPTURES" || bail "$CAPTURES"

# explain ARGUMENTS...: what it prints, and its result if that is not 0.
explain()
{
	cidsteer explain "$@" 2>&1 || echo "exit $?"
}

# packet FILE N: without the line of the link.
packet()
{
	explain --pcap "$1" --packet "$2" | tail -n +2
}

# wrong CLAIM RESULT LINE ARGUMENTS...: nothing but one line, and the result.
wrong()
{
	local claim=$1 result=$2 line=$3
	shift 3
	is "$claim" "$(explain "$@")" "cidsteer: explain: $line
exit $result"
}

# field EXPRESSION ARGUMENTS...: of the JSON, by Python.
field()
{
	local expression=$1
	shift
	cidsteer explain --json "$@" | "$PYTHON" -c \
		"import json, sys; j = json.load(sys.stdin); print($expression)" 2>&1
}

# fields NAMES ARGUMENTS...
fields()
{
	field "[j[name] for name in '$1'.split()]" "${@:2}"
}

# ---- wrong use ------------------------------------------------------------------------------
missing="the packet is missing: --hex PACKET, --pcap FILE or --cid CID"
one="--hex, --pcap and --cid: only one of them"
wrong "nothing to explain" 2 "$missing"
wrong "a number alone" 2 "$missing" --packet 3
wrong "--hex and --pcap" 2 "$one" --hex 45 --pcap one.pcap
wrong "--pcap and --cid" 2 "$one" --pcap one.pcap --cid 01
wrong "--hex and --cid" 2 "$one" --hex 45 --cid 01
wrong "all three" 2 "$one" --hex 45 --pcap one.pcap --cid 01
wrong "--packet without a file" 2 "--packet is for --pcap" --cid 01 --packet 1
wrong "--service for a packet" 2 "--service is for --cid" --pcap one.pcap --service h3
for number in 0 -1 x 1x "" 18446744073709551616 " 1"; do
	wrong "--packet '$number'" 2 "--packet: $number: not a number from 1 on" \
		--pcap one.pcap --packet "$number"
done
for cid in "" 0 zz 010203040506070809101112131415161718192021; do
	wrong "--cid '$cid'" 2 "--cid: $cid: not a connection ID of 1 to 20 bytes in hex" --cid "$cid"
done
wrong "an operand" 2 "one.pcap: one word too many; see cidsteer explain --help" one.pcap
wrong "--hex without digits" 2 "--hex: not pairs of hex digits" --hex 4g
wrong "--hex of 13 bytes" 2 "--hex: shorter than an Ethernet header, 14 bytes" \
	--hex 01020304050601020304050608
wrong "--hex of 3,387 bytes" 2 "--hex: longer than 3386 bytes; the first 128 are enough" \
	--hex "$(printf '00%.0s' {1..3387})"

# ---- all steps of one packet, as digits and behind each link header -------------------------
routed="listener [::]:443, a wildcard, of service h3
short header, DCID $CID (8)
in the table: worker 1, active
reason by_table; XDP passes, sk_reuseport picks the socket of worker 1"
steps4="IPv4 10.9.1.2 to 10.9.1.1, not a fragment, 128 bytes
UDP port 7000 to 443, 108 bytes
$routed"
steps6="IPv6 fd09:1::2 to fd09:1::1, not a fragment, 148 bytes
UDP port 7000 to 443, 108 bytes
$routed"
digits=$(send - --to 10.9.1.1:443 --from 127.0.0.1:7000 --print "$CID")
is "digits of an IP packet" "$(explain --hex "$digits")" "raw IP; 128 bytes
${steps4/10.9.1.2/127.0.0.1}"
is "digits of a frame" "$(explain --hex "0200000000010200000000020800$digits")" "Ethernet; 142 bytes
${steps4/10.9.1.2/127.0.0.1}"
is "of a frame with a tag, whose address looks like IP" \
	"$(explain --hex "45000000000102000000000281000064 0800$digits" | head -2)" \
	"Ethernet, VLAN 100; 146 bytes
IPv4 127.0.0.1 to 10.9.1.1, not a fragment, 128 bytes"
is "of the head of an IP packet from 129.0.0.1, which looks like a tag" \
	"$(explain --hex "${digits:0:24}81000001${digits:32:68}" | head -2)" "raw IP; 128 bytes
cut: 50 of them are there; the rest is taken to have been there, as long as the headers say"
is "of a packet, cut behind the DCID" "$(explain --hex "${digits:0:74}")" "raw IP; 128 bytes
cut: 37 of them are there; the rest is taken to have been there, as long as the headers say
${steps4/10.9.1.2/127.0.0.1}"
wrong "of a packet, cut inside the DCID" 1 \
	"36 of 128 bytes are there, and they end inside its QUIC header: capture more of each packet (tcpdump -s 256)" \
	--hex "${digits:0:72}"

# link FILE NAME BYTES-V4 BYTES-V6 [STEPS4 STEPS6]
link()
{
	is "$1: IPv4" "$(explain --pcap "$1")" "$2; $3 bytes
${5:-$steps4}"
	is "$1: IPv6" "$(explain --pcap "$1" --packet 2)" "$2; $4 bytes
${6:-$steps6}"
}
for kind in pcap pcapng; do
	link ethernet.$kind Ethernet 142 162
	link raw.$kind "raw IP" 128 148
	link ipv4.$kind "raw IPv4" 128 128 "$steps4" "$steps4"
	link ipv6.$kind "raw IPv6" 148 148 "$steps6" "$steps6"
	link sll.$kind "Linux cooked" 144 164
	link sll2.$kind "Linux cooked v2" 148 168
	link null.$kind "BSD loopback" 132 152
	link null-swapped.$kind "BSD loopback" 132 152
	link loop.$kind "OpenBSD loopback" 132 152
	link big-endian.$kind Ethernet 142 162
done
link nanoseconds.pcap Ethernet 142 162
is "Linux cooked, with a tag" "$(explain --pcap sll-vlan.pcap | head -1)" \
	"Linux cooked, VLAN 100; 148 bytes"
not_ours="not UDP to a service: passed untouched
reason not_ours; XDP passes"
for number in 1 2; do
	is "raw IP that is none, $number" "$(packet netlink.pcap $number)" "neither IPv4 nor IPv6
$not_ours"
	is "a loopback family that is none, $number" "$(packet family.pcap $number)" \
		"neither IPv4 nor IPv6
$not_ours"
done

# ---- what is between link and UDP -----------------------------------------------------------
# The loaded program may route it at XDP, or leave it to sk_reuseport; what is said is its word.
routed_somewhere()
{
	local said=$1 at_xdp=$2

	if grep -q "^reason by_table; XDP" <<<"$said"; then
		[ "$(tail -4 <<<"$said")" = "$routed" ]
	else
		[ "$(tail -5 <<<"$said")" = "reason $at_xdp; XDP passes; then, if the stack delivers it:
${routed/XDP passes, /}" ]
	fi || { echo "$said"; return 1; }
}
# layers NUMBER CLAIM REASON-AT-XDP LINES
layers()
{
	local said

	said=$(explain --pcap layers.pcap --packet "$1")
	is "$2" "$(head -3 <<<"$said")" "$4"
	check "$2: and is routed" routed_somewhere "$said" "$3"
}
layers 1 "a VLAN tag" not_ours "Ethernet, VLAN 100; 146 bytes
$(head -2 <<<"$steps4")"
layers 2 "two VLAN tags" not_ours "Ethernet, VLAN 7, VLAN 100; 170 bytes
$(head -2 <<<"$steps6")"
layers 3 "ten VLAN tags" not_ours \
	"Ethernet, VLAN 100, VLAN 100, VLAN 100, VLAN 100, VLAN 100, VLAN 100, VLAN 100, VLAN 100, 2 more; 182 bytes
$(head -2 <<<"$steps4")"
layers 4 "extension headers" not_ours "Ethernet; 178 bytes
IPv6 fd09:1::2 to fd09:1::1, hop-by-hop options, destination options, not a fragment, 164 bytes
UDP port 7000 to 443, 108 bytes"
layers 5 "the first fragment, IPv6" fragment "Ethernet; 862 bytes
IPv6 fd09:1::2 to fd09:1::1, fragment header, first fragment, 848 bytes
UDP port 7000 to 443, 1,408 bytes"
fragment="IP fragment: passed, routed after reassembly
reason fragment; XDP passes"
is "a later fragment, IPv6" "$(packet layers.pcap 6)" \
	"IPv6 fd09:1::2 to fd09:1::1, fragment header, later fragment, from byte 800 on, 656 bytes
$fragment"
layers 7 "a fragment header around the whole" fragment "Ethernet; 170 bytes
IPv6 fd09:1::2 to fd09:1::1, fragment header, whole in its fragment, 156 bytes
UDP port 7000 to 443, 108 bytes"
layers 8 "the first fragment, IPv4" fragment "Ethernet; 834 bytes
IPv4 10.9.1.2 to 10.9.1.1, first fragment, 820 bytes
UDP port 7000 to 443, 1,408 bytes"
is "a later fragment, IPv4" "$(packet layers.pcap 9)" \
	"IPv4 10.9.1.2 to 10.9.1.1, later fragment, from byte 800 on, 628 bytes
$fragment"
is "TCP" "$(packet layers.pcap 10)" "IPv4 10.9.1.2 to 10.9.1.1, not a fragment, TCP, 40 bytes
$not_ours"
is "another protocol" "$(packet layers.pcap 11)" \
	"IPv4 10.9.1.2 to 10.9.1.1, not a fragment, protocol 132, 40 bytes
$not_ours"
is "ARP" "$(packet layers.pcap 12)" "neither IPv4 nor IPv6: EtherType 0x0806
$not_ours"
is "an IPv4 header of 8 bytes, of version 5" "$(packet layers.pcap 13)" \
	"IPv4 10.9.1.2 to 10.9.1.1, with 5 in its version field, with a header of 8 bytes, not a fragment, 128 bytes
$not_ours"
is "a frame that ends inside UDP" "$(packet layers.pcap 14)" \
	"IPv4 10.9.1.2 to 10.9.1.1, not a fragment, 128 bytes of which 26 are there
it ends inside its UDP header
$not_ours"
like "a UDP length of 5" "$(packet layers.pcap 15 | xargs -d '\n')" \
	"^IPv4 10.9.1.2 to 10.9.1.1, not a fragment, 28 bytes UDP port 7000 to 443, length 5, which is less than its header listener \[::\]:443, a wildcard, of service h3 too short for its header, .* ring bucket [0-9,]+ of 4,096, of its 4-tuple: worker [12], active reason malformed; XDP passes"
is "lengths that are more than there is" "$(packet layers.pcap 16 | head -2)" \
	"IPv4 10.9.1.2 to 10.9.1.1, not a fragment, 520 bytes of which 128 are there
UDP port 7000 to 443, 500 bytes of which 108 are there"
is "more captured than there was" "$(explain --pcap liar.pcap)" "Ethernet; 142 bytes
$steps4"

# ---- packet numbers -------------------------------------------------------------------------
# dcids FILE: of its packets.
dcids()
{
	local number

	for number in 1 2 3 4 5; do
		explain --pcap "$1" --packet $number | sed -n 's/.*DCID \([0-9a-f]*\) .*/\1/p'
	done | xargs
}
five="0101010101010101 0202020202020202 0303030303030303 0404040404040404 0505050505050505"
is "packets count from 1" "$(dcids numbers.pcap)" "$five"
is "what is no packet of a pcapng file does not count" "$(dcids numbers.pcapng)" "$five"
like "without --packet it is the first" "$(explain --pcap numbers.pcapng)" "DCID 0101010101010101"
wrong "a number past the end" 1 "numbers.pcapng: there is no packet 6: the file has 5 packets" \
	--pcap numbers.pcapng --packet 6
wrong "far past the end" 1 \
	"numbers.pcap: there is no packet 18446744073709551615: the file has 5 packets" \
	--pcap numbers.pcap --packet 18446744073709551615
wrong "of a file with one packet" 1 "one.pcap: there is no packet 2: the file has 1 packet" \
	--pcap one.pcap --packet 2
wrong "of a file without packets" 1 "none.pcap: there is no packet 1: the file has no packets" \
	--pcap none.pcap

# ---- cut by the snap length -----------------------------------------------------------------
# cut_in FILE NUMBER CAPTURED LENGTH WHERE
cut_in()
{
	wrong "$1: cut to $3 bytes" 1 "$1: packet $2: $3 of $4 bytes are there, and they end inside its $5: capture more of each packet (tcpdump -s 256)" \
		--pcap "$1" --packet "$2"
}
for kind in pcap pcapng; do
	is "cut.$kind: cut behind the DCID" "$(explain --pcap cut.$kind)" "Ethernet; 1,242 bytes
cut: 56 of them are there; the rest is taken to have been there, as long as the headers say
IPv4 10.9.1.2 to 10.9.1.1, not a fragment, 1,228 bytes
UDP port 7000 to 443, 1,208 bytes
${routed/short header/long header, QUIC v1, Handshake}"
	number=2
	for where in "55 QUIC header" "48 QUIC header" "47 QUIC header" "42 QUIC header" \
		"41 UDP header" "34 UDP header" "33 IPv4 header" "14 IPv4 header"; do
		cut_in cut.$kind $number "${where%% *}" 1242 "${where#* }"
		number=$((number + 1))
	done
	wrong "cut.$kind: cut inside Ethernet" 1 \
		"cut.$kind: packet 10: 13 of 1242 bytes are there, and the link header (Ethernet) has 14" \
		--pcap cut.$kind --packet 10
done
like "a short header, cut behind the DCID" "$(explain --pcap cut-short.pcap)" \
	"^reason by_table; XDP passes, sk_reuseport picks the socket of worker 1"
cut_in cut-short.pcap 2 50 1242 "QUIC header"
cut_in cut-tag.pcap 1 16 146 "VLAN tag"
cut_in cut-tag.pcap 2 65 178 "destination options"
wrong "cut inside the header of Linux cooked" 1 \
	"cut-sll.pcap: packet 1: 15 of 144 bytes are there, and the link header (Linux cooked) has 16" \
	--pcap cut-sll.pcap
cut="cut: 42 of them are there; the rest is taken to have been there, as long as the headers say"
is "TCP, cut" "$(packet cut-other.pcap 1)" "$cut
IPv4 10.9.1.2 to 10.9.1.1, not a fragment, TCP, 1,020 bytes
$not_ours"
is "UDP to another port, cut behind UDP" "$(packet cut-other.pcap 2)" "$cut
IPv4 10.9.1.2 to 10.9.1.1, not a fragment, 1,228 bytes
UDP port 7000 to 80, 1,208 bytes
$not_ours"
# Without connection IDs, too: it might be malformed.
cut_in cut-other.pcap 3 42 1242 "QUIC header"
cut_in cut-other.pcap 4 41 1242 "UDP header"
for number in 1 2 3; do
	like "a jumbo frame, $number" "$(explain --pcap jumbo.pcap --packet $number)" \
		"^reason by_table; XDP passes, sk_reuseport picks the socket of worker 1"
done

# ---- files that are wrong -------------------------------------------------------------------
mkfifo fifo
none="no pcap or pcapng file"
to_do="capture on an Ethernet interface or on \"any\", or give the IP packet to --hex"
wrong "no such file" 1 "nothing.pcap: No such file or directory" --pcap nothing.pcap
wrong "an empty name" 1 ": No such file or directory" --pcap ""
wrong "a directory" 1 "/: not a regular file" --pcap /
wrong "a FIFO" 1 "fifo: not a regular file" --pcap fifo
wrong "a device" 1 "/dev/zero: not a regular file" --pcap /dev/zero
wrong "an empty file" 1 \
	"empty: $none: truncated dump file; tried to read 4 file header bytes, only got 0" --pcap empty
wrong "a text" 1 "text: $none: unknown file format" --pcap text
wrong "half a file header" 1 \
	"header-only: $none: truncated dump file; tried to read 24 file header bytes, only got 16" \
	--pcap header-only
wrong "a packet that is not all there" 1 \
	"truncated.pcap: packet 5: truncated dump file; tried to read 142 captured bytes, only got 112" \
	--pcap truncated.pcap --packet 5
wrong "the same, on the way to the next" 1 \
	"truncated.pcap: packet 5: truncated dump file; tried to read 142 captured bytes, only got 112" \
	--pcap truncated.pcap --packet 6
like "a packet in front of it is explained" "$(explain --pcap truncated.pcap --packet 4)" \
	"^reason unknown_cid"
wrong "a block that is not all there" 1 \
	"truncated.pcapng: packet 5: truncated pcapng dump file; tried to read 168 bytes, only got 138" \
	--pcap truncated.pcapng --packet 5
wrong "a record of 2 GB" 1 \
	"huge-record.pcap: packet 2: invalid packet capture length 2147483647, bigger than snaplen of 262144" \
	--pcap huge-record.pcap --packet 2
wrong "a block of 2 GB" 1 \
	"huge-block.pcapng: packet 1: pcapng block size 2147483632 > maximum 16777216" \
	--pcap huge-block.pcapng
wrong "a block smaller than a block" 1 \
	"small-block.pcapng: packet 1: block in pcapng dump file has a length of 4 < 12" \
	--pcap small-block.pcapng
wrong "a packet of no interface" 1 \
	"no-interface.pcapng: $none: the capture file has a packet block before any Interface Description Blocks" \
	--pcap no-interface.pcapng
wrong "two link types" 1 \
	"two-links.pcapng: packet 2: an interface has a type 113 different from the type of the first interface" \
	--pcap two-links.pcapng --packet 2
wrong "a link type that is not read" 1 \
	"wireless.pcap: packets of link type IEEE802_11_RADIO (127) are not read: $to_do" \
	--pcap wireless.pcap
wrong "one that nobody knows" 1 \
	"unnamed.pcap: packets of link type without a name (9999) are not read: $to_do" \
	--pcap unnamed.pcap
wrong "a packet of 3 bytes" 1 \
	"tiny.pcap: packet 2: 3 of 3 bytes are there, and the link header (Ethernet) has 14" \
	--pcap tiny.pcap --packet 2
wrong "600,000 interfaces" 1 \
	"interfaces.pcapng: packet 1: out of memory for per-interface information (524289 interfaces)" \
	--pcap interfaces.pcapng

# Files of anything, two packets of each: explained, or one line of why not; and both happens,
# else this says nothing.
anything()
{
	local number file status explained=0 refused=0 bad=0

	for file in any*; do
		for number in 1 3; do
			timeout 10 "$BUILD/cidsteer" explain --pcap "$file" --packet $number >out 2>err
			status=$?
			case "$status $(wc -l <err) $(grep -c '^reason ' out)" in
			"0 0 "[12]) explained=$((explained + 1)) ;;
			"1 1 0") refused=$((refused + 1)) ;;
			*)
				echo "$file, packet $number: exit $status:"
				cat out err
				bad=1
				;;
			esac
		done
	done
	echo "$explained explained, $refused refused"
	[ $bad = 0 ] && [ $explained -gt 30 ] && [ $refused -gt 30 ]
}
check "80 files of anything: each packet is explained, or refused in one line" anything

# ---- JSON -----------------------------------------------------------------------------------
is "JSON: a decision" "$(fields \
	"reason meaning service listener worker table_worker has_socket state dcid header" \
	--hex "$digits")" \
	"['by_table', 'sent to the worker that issued the connection ID', 'h3', '[::]:443', 1, 1, True, 'active', '$CID', 'short']"
is "JSON: the steps to it" "$(fields \
	"link length captured vlans ether_type ip source destination ip_length fragment extensions protocol" \
	--pcap ethernet.pcap --packet 2)" \
	"['Ethernet', 162, 162, [], 34525, 6, 'fd09:1::2', 'fd09:1::1', 148, 'not a fragment', [], 17]"
is "JSON: from UDP on" "$(fields \
	"source_port destination_port udp_length match dcid_length xdp sk_reuseport" \
	--pcap ethernet.pcap --packet 2)" "[7000, 443, 108, 'wildcard', 8, 'pass', 'socket']"
is "JSON: a cut packet, its type, its number" "$(fields \
	"length captured header version type packet file" --pcap cut.pcap)" \
	"[1242, 56, 'long', 1, 'Handshake', 1, 'cut.pcap']"
is "JSON: tags" "$(field 'j["vlans"]' --pcap layers.pcap --packet 2)" "[7, 100]"
is "JSON: extension headers" "$(field 'j["extensions"]' --pcap layers.pcap --packet 4)" "[0, 60]"
is "JSON: where it ends" "$(field 'j["ends_inside"]' --pcap layers.pcap --packet 14)" "UDP header"
is "JSON: of a fragment, what sk_reuseport says" "$(field \
	'j["reason"], j["worker"], j["behind"]["reason"], j["behind"]["worker"], "xdp" in j["behind"]' \
	--pcap layers.pcap --packet 8)" "fragment 0 by_table 1 False"
is "JSON: nothing of a service" "$(field \
	'j["service"], j["worker"], "behind" in j, "sk_reuseport" in j' \
	--pcap layers.pcap --packet 12)" "None 0 False False"

# ---- the ring, and listeners ----------------------------------------------------------------
# With two workers another bucket would name the wrong one half of the time.
buckets()
{
	local form port=7000

	bpftool -j map lookup pinned "$BPFFS/cs_ring" key 1 0 0 0 >ring || return 1
	while [ $port -lt 7012 ]; do
		port=$((port + 1))
		for form in initial handshake short; do
			cidsteer explain --json --hex "$(send - --to 10.9.1.1:443 --form $form \
				--from 127.0.0.1:$port --print ff0000000000$port)" >said.$port.$form || return 1
		done
	done
	"$PYTHON" - said.* <<-'PYTHON'
		import json, sys
		ring = json.load(open("ring"))["formatted"]["value"]["worker"]
		for name in sys.argv[1:]:
		    said = json.load(open(name))
		    key = "dcid" if "initial" in name else "4-tuple"
		    if (ring[said["ring_bucket"]], said["ring_key"]) != (said["worker"], key):
		        sys.exit(f"{name}: {said}: the bucket has {ring[said['ring_bucket']]}")
		print(len(sys.argv) - 1)
	PYTHON
}
is "36 packets: the bucket that is said has the worker that is said" "$(buckets 2>&1)" 36
initial=$(send - --to 10.9.1.1:444 --from 127.0.0.1:7000 --form initial --print 8394c8f03e515708)
worker=$(cidsteer lookup --json --service h3 8394c8f03e515708 |
	sed -n 's/.*"ring_worker": \([0-9]*\).*/\1/p')
bucket=$(field 'format(j["ring_bucket"], ",")' --hex "$initial")
is "an Initial to an exact listener" "$(explain --hex "$initial" | tail -6)" \
	"listener 10.9.1.1:444, exact, of service h3
long header, QUIC v1, Initial, DCID 8394c8f03e515708 (8)
an Initial in a datagram below 1200 bytes
not in the table
ring bucket $bucket of 4,096, of its DCID: worker $worker, active
reason by_ring; XDP passes, sk_reuseport picks the socket of worker $worker"
short=$(send - --to 10.9.1.1:443 --from 127.0.0.1:7000 --form cut --print 8394c8f03e515708)
like "a datagram that is too short for its header" \
	"$(explain --hex "$short" | tail -3 | xargs -d '\n')" \
	"^too short for its header, .* ring bucket [0-9,]+ of 4,096, of its 4-tuple: worker [12], active reason malformed; XDP passes, sk_reuseport picks"
short=$(send - --to 127.0.0.1:443 --from 127.0.0.1:7000 --form cut --print 8394c8f03e515708)
like "the same to a service without workers" "$(explain --hex "$short" | tail -4 | xargs -d '\n')" \
	"^listener 127.0.0.1:443, exact, of service dns without a connection ID that could be read ring bucket [0-9,]+ of 4,096, of its 4-tuple: no active worker reason no_worker; XDP passes, sk_reuseport leaves it to the kernel's own hash"

# ---- a connection ID ------------------------------------------------------------------------
# both STEPS: the same of a short header and of a Handshake.
both()
{
	printf 'listener [::]:443, a wildcard, of service h3\nshort header, %s\nlong header, QUIC v1, Handshake, %s' \
		"$1" "$1"
}
of_worker1="(8)
in the table: worker 1, active
reason by_table; XDP passes, sk_reuseport picks the socket of worker 1"
is "an ID that is routed" "$(explain --cid "$CID" --service h3)" "$(both "DCID $CID $of_worker1")"
is "an ID that nobody knows" "$(explain --cid 01:02:03:04:05:06:07:08 --service h3)" \
	"$(both "DCID 0102030405060708 (8)
not in the table
the ring's worker for the client's 4-tuple
reason unknown_cid; XDP passes, sk_reuseport picks that worker's socket")"
is "an ID in all services" "$(explain --cid 01020304 | head -21)" "listener [::]:443, a wildcard, of service h3
no short header has it: this service reads 8 bytes, and it has 4
long header, QUIC v1, Handshake, DCID 01020304 (4)
not in the table
the ring's worker for the client's 4-tuple
reason unknown_cid; XDP passes, sk_reuseport picks that worker's socket
listener 127.0.0.1:443, exact, of service dns
short header, DCID 01020304 (4)
not in the table
the ring: no active worker
reason no_worker; XDP passes, sk_reuseport leaves it to the kernel's own hash
long header, QUIC v1, Handshake, DCID 01020304 (4)
not in the table
the ring: no active worker
reason no_worker; XDP passes, sk_reuseport leaves it to the kernel's own hash
listener [::]:1000, a wildcard, of service zero
no short header has it: this service's connection IDs are empty
long header, QUIC v1, Handshake, DCID 01020304 (4)
the service's connection IDs are empty
the ring: no active worker
reason no_worker; XDP passes, sk_reuseport leaves it to the kernel's own hash"
wrong "in a service that is not there" 1 "there is no service h2" --cid 01 --service h2
is "JSON: an ID that is routed" "$(field \
	'j["cid"], [(s["service"], [s[k] and (s[k]["reason"], s[k]["worker"], s[k]["sk_reuseport"]) for k in ("short", "handshake")]) for s in j["services"]]' \
	--cid "$CID")" \
	"$CID [('h3', [('by_table', 1, 'socket'), ('by_table', 1, 'socket')]), ('dns', [None, ('no_worker', 0, 'hash')]), ('zero', [None, ('no_worker', 0, 'hash')]), ('v6', [('no_worker', 0, 'hash'), ('no_worker', 0, 'hash')])]"
is "JSON: one that nobody knows names no worker and no bucket" "$(field \
	'[(s["short"]["worker"], "ring_bucket" in s["short"], "has_socket" in s["short"]) for s in j["services"]]' \
	--cid 0102030405060708 --service h3)" "[(0, False, False)]"

ip -6 address flush dev lo
is "a wildcard that no address of this host leads to" "$(explain --cid 01 --service v6)" \
	"listener [::]:2000, a wildcard, of service v6
no short header has it: this service reads 8 bytes, and it has 1
no packet to an address of this host comes to [::]:2000"

is "worker a drains" "$(ask a drain)" ok
is "an ID of a worker that drains" "$(explain --cid "$DRAINS" --service h3)" \
	"$(both "DCID $DRAINS ${of_worker1/active/draining}")"
is "a packet to it" "$(explain --pcap ethernet.pcap | tail -2 | head -1)" \
	"in the table: worker 1, draining"

# A worker that dies while no daemon runs keeps its entry, and has no socket any more.
stop_daemon KILL
kill_worker a
is "an ID of a worker without a socket" "$(explain --cid "$DIES" --service h3 | tail -1)" \
	"reason by_table; XDP passes, worker 1 has no socket there: sk_reuseport leaves it to the kernel's own hash"
# mark_worker STATE [WORKER]: as a daemon that dies between two steps would leave it.
mark_worker()
{
	local value worker=${2:-1}

	value=$(bpftool -j map lookup pinned "$BPFFS/cs_workers" key "$worker" 0 0 0 |
		"$PYTHON" -c 'import json, sys
value = json.load(sys.stdin)["value"]
value[4] = sys.argv[1]
print(*value)' "$1")
	# shellcheck disable=SC2086 # bytes
	bpftool map update pinned "$BPFFS/cs_workers" key "$worker" 0 0 0 value $value
}
dead="DCID $DIES (8)
in the table: worker 1, which is reaping
the ring's worker for the client's 4-tuple
reason dead_worker; XDP passes, sk_reuseport picks that worker's socket"
check "it is marked as dead" mark_worker 4
is "an ID of a worker that is dead" "$(explain --cid "$DIES" --service h3)" "$(both "$dead")"
check "it is marked as never there" mark_worker 0
is "an ID of a worker that is gone" "$(explain --cid "$DIES" --service h3)" \
	"$(both "${dead/reaping/gone}")"
is "JSON: an ID of a worker that is gone" "$(field \
	'[(s["short"]["reason"], s["short"]["table_worker"], s["short"]["worker"]) for s in j["services"]]' \
	--cid "$DIES" --service h3)" "[('dead_worker', 1, 0)]"
like "a packet to it" "$(explain --pcap ethernet.pcap | tail -3 | xargs -d '\n')" \
	"^in the table: worker 1, which is gone ring bucket [0-9,]+ of 4,096, of its 4-tuple: worker 2, active reason dead_worker; XDP passes, sk_reuseport picks the socket of worker 2$"

# ---- policies -------------------------------------------------------------------------------
sed -i '/"10.9.1.1:444"/a unknown_cid = "drop" malformed = "pass" not_quic = "drop" small_initial = "drop"' "$CONFIG"
check "policies" start_daemon
stop_daemon KILL # who would renew the lease

# last FORM CID: the decision about a datagram to h3, from the header on.
last()
{
	explain --hex "$(send - --to 10.9.1.1:443 --from 127.0.0.1:7000 --form "$1" --print "$2")" |
		tail -n +5 | sed 's/ring bucket [0-9,]* of/ring bucket N of/' | xargs -d '\n'
}

# dropped CLAIM FORM STEPS REASON AS: what is to be dropped, with the lease and past it.
dropped()
{
	local by_worker2="sk_reuseport picks the socket of worker 2"

	lease 3600
	is "$1: it is dropped" "$(last "$2" 0102030405060708)" \
		"$3 reason $4; XDP drops it, as $5; without XDP, $by_worker2"
	is "$1: JSON says so" "$(field '(j["xdp"], j["drop"], j["worker"])' --hex \
		"$(send - --to 10.9.1.1:443 --from 127.0.0.1:7000 --form "$2" --print 0102030405060708)")" \
		"('drop', '$5', 2)"
	lease -1
	is "$1: without the lease it passes" "$(last "$2" 0102030405060708)" \
		"$3 reason $4; XDP would drop it, as $5, if it had the daemon's lease: it passes, $by_worker2"
}
by_ring="ring bucket N of 4,096, of its"
dropped "an unknown ID" short \
	"short header, DCID 0102030405060708 (8) not in the table $by_ring 4-tuple: worker 2, active" \
	unknown_cid dropped_unknown
dropped "a small Initial" initial \
	"long header, QUIC v1, Initial, DCID 0102030405060708 (8) an Initial in a datagram below 1200 bytes not in the table $by_ring DCID: worker 2, active" \
	by_ring dropped_initial
dropped "what is not QUIC" short-fixed0 \
	"the fixed bit is 0, as in STUN, DTLS, RTP: by the policy not_quic $by_ring 4-tuple: worker 2, active" \
	not_quic dropped_not_quic
malformed="too short for its header, or QUIC v1 or v2 with a DCID above 20 bytes: by the policy malformed"
is "malformed, left to the kernel" "$(last cut 0102030405060708)" \
	"$malformed nobody is chosen: the policy is \"pass\" reason malformed; XDP passes, sk_reuseport leaves it to the kernel's own hash"

# ---- connection IDs that carry their server -------------------------------------------------
# put MAP KEY VALUE: hex digits.
put()
{
	# shellcheck disable=SC2046
	bpftool map update pinned "$BPFFS/$1" key hex $(fold -w2 <<<"$2") value hex $(fold -w2 <<<"$3")
}

# Service 1, "h3", gets QUIC-LB configuration 0: IDs of 3 octets and nonces of 4, without a key.
check "a configuration is written" put cs_lb_configs 07000000 "0100030400000000ffffff$(printf '%0922d' 0)"
configured=$("$PYTHON" -c '
import json, subprocess, sys
shown = json.loads(subprocess.check_output(["bpftool", "-j", "map", "lookup", "pinned", sys.argv[1],
                                            "key", "1", "0", "0", "0"]))
value = bytearray(int(byte, 16) for byte in shown["value"])
value[53:55] = 1, 8  # lb_configs, lb_len[0]
print(value.hex())' "$BPFFS/cs_services")
check "and switched on" put cs_services 01000000 "$configured"

# carried NAME FLAGS: what is said of such an ID that is in use.
carried()
{
	put cs_servers "000000000000000000000000000000000100000000000000" "$1$2$(printf '%042d' 0)"
	last short 0700000009090909
}

decoded="short header, DCID 0700000009090909 (8) carries a server ID, by QUIC-LB configuration 0:"
is "a worker's" "$(carried 0200 00)" "$decoded worker 2, active reason by_server_id; XDP passes, sk_reuseport picks the socket of worker 2"
is "JSON says so" "$(fields "server_id_by server_worker worker" --hex \
	"$(send - --to 10.9.1.1:443 --from 127.0.0.1:7000 --print 0700000009090909)")" "[0, 2, 2]"
is "nobody's any more" "$(carried 0000 00 | cut -d";" -f1)" "$decoded a worker that is gone $by_ring 4-tuple: worker 2, active reason dead_worker"
is "another host's" "$(carried 0000 01 | cut -d";" -f1)" "$decoded another host's $by_ring 4-tuple: worker 2, active reason elsewhere"
is "an ID that nobody has" "$(last short 0700010009090909 | cut -d";" -f1)" "short header, DCID 0700010009090909 (8) not in the table $by_ring 4-tuple: worker 2, active reason unknown_cid"

# Of an ID that nobody has, the first octet may say which host made it.
check "a host has an octet of them" put cs_lb_configs 07000000 "0100030400000001ffffff$(printf '%0922d' 0)"
# of_host NAME FLAGS: what is said of an ID of a host.
of_host()
{
	put cs_servers "${1}000000000000000000000000000000""0100000100000000" "0000$2$(printf '%042d' 0)"
	last short "07${1}010209090909" | cut -d";" -f1
}
is "by its first octet another host's" "$(of_host a2 01)" "${decoded/0700000009090909/07a2010209090909} another host's $by_ring 4-tuple: worker 2, active reason elsewhere"
is "JSON: another host's" "$(fields "reason server_id_by server_worker" --hex \
	"$(send - --to 10.9.1.1:443 --from 127.0.0.1:7000 --print 07a2010209090909)")" "['elsewhere', 0, 0]"
is "by its first octet of this host" "$(of_host a1 00)" "short header, DCID 07a1010209090909 (8) not in the table $by_ring 4-tuple: worker 2, active reason unknown_cid"

is "no counter has moved" "$(cidsteer counters | grep -c seen)" 0
stop_worker b
check "worker 2 is marked as dead" mark_worker 4 2
is "another host's, and no worker is there" "$(last short 07a2010209090909)" "${decoded/0700000009090909/07a2010209090909} no worker's $by_ring 4-tuple: no active worker reason no_worker; XDP passes, sk_reuseport leaves it to the kernel's own hash"
check "unload" cidsteer unload --force
wrong "without a plane" 1 "$BPFFS: nothing is loaded: run cidsteer load, or cidsteerd" \
	--pcap one.pcap
done_testing

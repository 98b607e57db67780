#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Beside others.
# What lies around a datagram: fragments, tags, extension headers, options, contradicting lengths,
# DNAT, frames of several buffers.  Whatever it is, each hook says what docs/packets.md says, and
# the datagram reaches who issued its DCID.
#
#   client                    server
#  .------. 10.9.1.0/24      .------.
#  | c0 .2|------------------|.1 s0 |  XDP here; workers a, b of h3, o of other
#  '------' fd09:1::/64      '------'
# and, where the kernel has VLAN devices:
#   c0.100                    s0.100  tag 100: 10.9.2.0/24, fd09:2::/64
#   c0.ad.100                 ...     802.1ad 200 around 100: 10.9.3.0/24, fd09:3::/64
#   c0.ad.100.300             ...     300 within: 10.9.4.0/24, fd09:4::/64
# shellcheck disable=SC2015 # "|| bail" also when the middle fails
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=account.bash
. "$(dirname "$0")/account.bash"

# nested NS DEV: the tagged devices on it.
nested()
{
	ip -n "$1" link add link "$2" name "$2.100" type vlan id 100 &&
		ip -n "$1" link add link "$2" name "$2.ad" type vlan proto 802.1ad id 200 &&
		ip -n "$1" link add link "$2.ad" name "$2.ad.100" type vlan id 100 &&
		ip -n "$1" link add link "$2.ad.100" name "$2.ad.100.300" type vlan id 300 ||
		bail "vlan devices of $2"
	# A veth takes one tag more than its MTU says.
	for dev in 100:1500 ad:1496 ad.100:1492 ad.100.300:1488; do
		ip -n "$1" link set "$2.${dev%:*}" mtu "${dev#*:}" up || bail "$2.${dev%:*}"
	done
}

topology_pair
DAEMON_NS=server
address server s0 10.9.1.10/24 fd09:1::10/64
MAC=$(mac server s0)
devices=c0
VLANS=
ip -n client link add link c0 name c0.probe type vlan id 7 2>/dev/null && VLANS=yes
if [ -n "$VLANS" ]; then
	ip -n client link delete c0.probe
	nested client c0
	nested server s0
	devices="c0 c0.ad"
	for n in 2:100 3:ad.100 4:ad.100.300; do
		dev=c0.${n#*:} n=${n%%:*}
		address client "$dev" "10.9.$n.2/24" "fd09:$n::2/64"
		address server "s${dev#c}" "10.9.$n.1/24" "fd09:$n::1/64"
		devices="$devices $dev"
	done
fi
# shellcheck disable=SC2086 # a list
quiet_cable $devices

configure <<END
service "h3" {
	listen = {"10.9.1.1:443", "10.9.1.10:443", "10.9.2.1:443", "10.9.3.1:443", "10.9.4.1:443",
		"[fd09:1::1]:443", "[fd09:1::10]:443", "[fd09:2::1]:443", "[fd09:3::1]:443",
		"[fd09:4::1]:443"}
}
service "other" { listen = {"10.9.1.1:444", "[fd09:1::1]:444"} }
END
check "the daemon starts" start_daemon
in_ns server sysctl -q -w net.ipv4.ip_nonlocal_bind=1 net.ipv6.ip_nonlocal_bind=1 || bail "sysctl"
h3=(--service h3 --listen 10.9.1.10:443 --listen '[fd09:1::10]:443')
for n in 1 2 3 4; do
	h3+=(--listen "10.9.$n.1:443" --listen "[fd09:$n::1]:443")
done
for name in a b; do
	start_worker $name "${h3[@]}" || bail "worker $name: $answer"
done
start_worker o --service other --listen 10.9.1.1:444 --listen '[fd09:1::1]:444' ||
	bail "worker o: $answer"
ids_a=$(ask a random 4)
ids_b=$(ask b random 4)
ids="${ids_a#cids } ${ids_b#cids }"
read -r A _ <<<"${ids_a#cids }"
declare -A worker_id
for name in a b; do
	worker_id[$name]=$(ask "$name" state | sed 's/^id=\([0-9]*\) .*/\1/')
done

got=([a]=0 [b]=0 [o]=0)

# frames DEV NUMBER WORD...: see frame.py.
frames()
{
	local dev=$1 number=$2
	shift 2
	in_ns client "$PYTHON" "$TOP/selftests/frame.py" --device "$dev" --to "$MAC" \
		--count "$number" "$@"
}

V4=v4=10.9.1.2,10.9.1.1
V6=v6=fd09:1::2,fd09:1::1
QUIC=payload=40${A}00112233445566778899aabbccddeeff
SEEN="xdp:h3:by_table=20 reuseport:h3:by_table=20"     # by both hooks
STACK="xdp:-:not_ours=20 reuseport:h3:by_table=20"     # passed, and routed at the socket
NOBODY="xdp:-:not_ours=20"			       # passed, and nobody's

# 40 datagrams for each address, 20 to IDs of each worker.
# from_sockets CLAIM XDP TO [OPTIONS...]: XDP is what it counts for each 40.
from_sockets()
{
	local claim=$1 xdp=$2 to=$3
	shift 3
	expect "$claim" "$xdp reuseport:h3:by_table=40" "a=20 b=20" \
		send client --to "$to" --count 5 --ports 5 "$@" $ids
}

# ---- fragments ------------------------------------------------------------------------------
# 3,000 bytes are three fragments: XDP counts each, the datagram is routed once it is whole.
fragments()
{
	from_sockets "$1: IPv4 in three fragments" xdp:-:fragment=120 10.9.1.1:443 --size 3000
	from_sockets "$1: IPv6 in three fragments" xdp:-:fragment=120 '[fd09:1::1]:443' --size 3000
	expect "$1: a first fragment of IPv4 alone reaches nobody" xdp:-:fragment=20 "" \
		frames c0 20 $V4 more udp=443 $QUIC
	expect "$1: a first fragment of IPv6 alone reaches nobody" xdp:-:fragment=20 "" \
		frames c0 20 $V6 fragment udp=443 $QUIC
	expect "$1: an atomic fragment of IPv6 is a whole datagram" "$SEEN" a=20 \
		frames c0 20 $V6 atomic udp=443 $QUIC
}

# ---- tags -----------------------------------------------------------------------------------
# In the frame, as most drivers show them.  Tags of id 0 say a priority, and no network.
tagged_frames()
{
	local outer

	for outer in 8100 88a8; do
		expect "$1: IPv4 behind a tag of type $outer" "$SEEN" a=20 \
			frames c0 20 tag=$outer:0 $V4 udp=443 $QUIC
		expect "$1: IPv6 behind tags of types $outer and 8100" "$SEEN" a=20 \
			frames c0 20 tag=$outer:0 tag=8100:0 $V6 udp=443 $QUIC
		expect "$1: IPv6 with options behind tags of types $outer and 88a8" "$SEEN" a=20 \
			frames c0 20 tag=$outer:0 tag=88a8:0 $V6 dest udp=443 $QUIC
	done
	expect "$1: three tags are the stack's" "$STACK" a=20 \
		frames c0 20 tag=8100:0 tag=8100:0 tag=8100:0 $V4 udp=443 $QUIC
	expect "$1: a network that is not there: seen, and the stack's to discard" \
		xdp:h3:by_table=20 "" frames c0 20 tag=8100:63 $V4 udp=443 $QUIC
}

# The tag of a device travels beside the frame, unless its sender does not offload it.
vlan_devices()
{
	local offload

	for offload in on off; do
		in_ns client ethtool -K c0 txvlan $offload tx-vlan-stag-hw-insert $offload ||
			bail "ethtool -K c0 txvlan $offload"
		is "$1: c0 has offload of tags $offload" \
			"$(in_ns client ethtool -k c0 | grep -c "^tx-vlan.*: $offload\$")" 2
		from_sockets "$1: offload $offload: one tag, IPv4" xdp:h3:by_table=40 10.9.2.1:443
		from_sockets "$1: offload $offload: one tag, IPv6" xdp:h3:by_table=40 '[fd09:2::1]:443'
		from_sockets "$1: offload $offload: 802.1ad around 802.1Q, IPv4" xdp:h3:by_table=40 \
			10.9.3.1:443
		from_sockets "$1: offload $offload: 802.1ad around 802.1Q, IPv6" xdp:h3:by_table=40 \
			'[fd09:3::1]:443'
		from_sockets "$1: offload $offload: fragments behind two tags" xdp:-:fragment=120 \
			10.9.3.1:443 --size 3000
	done
	# Without offload all three are in the frame; with it the outer one is not, and two are left.
	from_sockets "$1: three devices, no offload: the stack's" xdp:-:not_ours=40 10.9.4.1:443
	in_ns client ethtool -K c0 txvlan on tx-vlan-stag-hw-insert on
	from_sockets "$1: three devices, one tag offloaded" xdp:h3:by_table=40 10.9.4.1:443
}

tags()
{
	tagged_frames "$1"
	if [ -n "$VLANS" ]; then
		vlan_devices "$1"
	else
		skip "this kernel has no VLAN devices" "$1: devices of one, two and three tags"
	fi
}

# ---- headers between IP and UDP ---------------------------------------------------------------
headers()
{
	local words

	for words in hop dest route=0 atomic "hop dest route=0 atomic dest" \
		"dest dest dest dest dest dest dest dest"; do
		expect "$1: IPv6 with $words" "$SEEN" a=20 frames c0 20 $V6 $words udp=443 $QUIC
	done
	expect "$1: nine extension headers are the stack's" "$STACK" a=20 \
		frames c0 20 $V6 dest dest dest dest dest dest dest dest dest udp=443 $QUIC
	expect "$1: segments are left: not for this host yet" "$NOBODY" "" \
		frames c0 20 $V6 route=1 udp=443 $QUIC
	expect "$1: hop-by-hop options that are not first: discarded by the stack" "$NOBODY" "" \
		frames c0 20 $V6 dest hop udp=443 $QUIC
	expect "$1: IPv4 with 4 bytes of options" "$SEEN" a=20 \
		frames c0 20 $V4 options=01010101 udp=443 $QUIC
	expect "$1: IPv4 with 40 bytes of options" "$SEEN" a=20 \
		frames c0 20 $V4 options="$(printf '01%.0s' {1..40})" udp=443 $QUIC
}

# by_tuple WORD...: "a=N b=M", whom explain names for 20 such frames.
by_tuple()
{
	local packet

	while read -r packet; do
		cidsteer explain --hex "${packet:28}" # without Ethernet's header
	done < <(frames c0 20 --print "$@") | awk -v a="${worker_id[a]}" -v b="${worker_id[b]}" '
		/ socket of worker / { got[$NF]++ }
		END { print "a=" got[a] + 0, "b=" got[b] + 0 }'
}

# ---- lengths --------------------------------------------------------------------------------
# The payload ends where UDP says.  What follows here would make a whole DCID of its beginning.
lengths()
{
	local v name ring cut=payload=40${A:0:8} rest=padding=${A:8}00112233445566778899aabbccddeeff

	for v in $V4 $V6; do
		name="$1, IP${v%%=*}"
		ring=$(by_tuple "$v" udp=443 $cut)
		expect "$name: IP's length is more than UDP's" "$SEEN" a=20 \
			frames c0 20 $v udp=443 $QUIC padding=ffffffffffff
		expect "$name: UDP's length cuts the datagram within its DCID" \
			"xdp:h3:malformed=20 reuseport:h3:malformed=20" "$ring" \
			frames c0 20 $v udp=443 $cut "$rest"
		expect "$name: bytes behind IP's end do not belong to it either" \
			"xdp:h3:malformed=20 reuseport:h3:malformed=20" "$ring" \
			frames c0 20 $v udp=443 $cut ip-end "$rest"
		expect "$name: and do no harm to what is whole" "$SEEN" a=20 \
			frames c0 20 $v udp=443 payload=40$A ip-end padding=ffffffffffffffffffff
		expect "$name: UDP's length is more than IP's: malformed, discarded by the stack" \
			xdp:h3:malformed=20 "" frames c0 20 $v udp=443 $QUIC length=+1
		expect "$name: UDP's length is below its header's: the same" \
			xdp:h3:malformed=20 "" frames c0 20 $v udp=443 $QUIC length==7
	done
	expect "$1, IPv4: UDP's length is 0: the same" \
		xdp:h3:malformed=20 "" frames c0 20 $V4 udp=443 $QUIC length==0
	jumbo_length "$1"
}

# Linux 6.18 takes a UDP length of 0 over IPv6 for a jumbogram's, Linux 7.3 discards it.
jumbo_length()
{
	local before discarded

	before=$(discarded)
	frames c0 20 $V6 udp=443 $QUIC length==0 >/dev/null
	wait_for eval '[ $(($(discarded) - before + $(count a) - got[a])) = 20 ]'
	discarded=$(($(discarded) - before))
	expect "$1, IPv6: UDP's length is 0: the stack's, which has discarded $discarded of 20" \
		"xdp:-:not_ours=20 reuseport:h3:by_table=$((20 - discarded))" "a=$((20 - discarded))" true
}

discarded()
{
	in_ns server awk '$1 == "Udp6InErrors" { print $2 }' /proc/net/snmp6
}

# ---- DNAT -----------------------------------------------------------------------------------
# XDP sees the address that the client sent to; cs_reuseport is told its listener.
translated()
{
	in_ns server nft -f - <<-RULES || bail "nft"
		table inet nat {
			chain in {
				type nat hook prerouting priority dstnat
				ip daddr 10.9.1.1 udp dport { 444, 8443 } dnat ip to 10.9.1.10:443
				ip6 daddr fd09:1::1 udp dport { 444, 8443 } dnat ip6 to [fd09:1::10]:443
			}
		}
	RULES
	from_sockets "$1: DNAT of IPv4 from a port that nobody has" xdp:-:not_ours=40 10.9.1.1:8443
	from_sockets "$1: DNAT of IPv6 from a port that nobody has" xdp:-:not_ours=40 \
		'[fd09:1::1]:8443'
	from_sockets "$1: DNAT of IPv4 from another service's address" xdp:other:unknown_cid=40 \
		10.9.1.1:444
	from_sockets "$1: DNAT of IPv6 from another service's address" xdp:other:unknown_cid=40 \
		'[fd09:1::1]:444'
	in_ns server nft delete table inet nat
	expect "$1: without DNAT they are the other service's" \
		"xdp:other:unknown_cid=40 reuseport:other:unknown_cid=40" o=40 \
		send client --to '[fd09:1::1]:444' --count 5 $ids
}

# ---- datagrams that do not lie in one piece, frames of several buffers ------------------------
in_pieces()
{
	local to

	for to in 10.9.1.1:443 '[fd09:1::1]:443'; do
		from_sockets "$1: 40 datagrams of 1,200 bytes, MSG_ZEROCOPY, to $to" "$2" "$to" \
			--size 1200 --zerocopy
		from_sockets "$1: 40 datagrams of 8,000 bytes to $to" "$2" "$to" --size 8000
		from_sockets "$1: 40 of them, MSG_ZEROCOPY, to $to" "$2" "$to" --size 8000 --zerocopy
	done
}

mtu()
{
	ip -n client link set c0 mtu "$1" && ip -n server link set s0 mtu "$1" || bail "MTU $1"
}

all_layers()
{
	fragments "$1"
	tags "$1"
	headers "$1"
	lengths "$1"
	translated "$1"
}

for mode in native generic; do
	like "cs_xdp is attached, $mode" "$(cidsteer attach s0 --mode $mode 2>&1)" "^s0: attached, $mode"
	all_layers "$mode XDP"
	check "cs_xdp comes off" cidsteer detach s0 --force
done

mtu 9000
in_pieces "no XDP, MTU 9,000" ""
like "cs_xdp is attached where frames have several buffers, native" \
	"$(cidsteer attach s0 --mode native 2>&1)" "^s0: attached, native"
in_pieces "native XDP, MTU 9,000" xdp:h3:by_table=40
expect "native XDP: behind 8,000 bytes of padding the DCID is read as well" "$SEEN" a=20 \
	frames c0 20 $V4 udp=443 $QUIC padding="$(printf '%016000d' 0)"
check "cs_xdp comes off" cidsteer detach s0 --force
done_testing

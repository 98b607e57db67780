#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Beside others.
# Addresses, ports and services: which one a packet belongs to, which sockets are admitted.
#
#   client                    server
#  .------. 10.9.1.0/24      .------.
#  | c0 .2|------------------|.1 s0 |  XDP here; also 10.9.1.10, fd09:1::10
#  '------' fd09:1::/64      '------'
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

topology_pair
address server s0 10.9.1.10/24 fd09:1::10/64
DAEMON_NS=server

configure <<END
service "any"   { listen = {"[::]:443"} interface = {"s0"} }
service "exact" { listen = {"10.9.1.10:443", "[fd09:1::10]:443"} }
service "short" { listen = {"[::]:4431"} cid_length = 1 }
service "long"  { listen = {"[::]:4432"} cid_length = 20 }
service "none"  { listen = {"[::]:4433"} cid_length = 0 }
service "both"  { listen = {"10.9.1.1:4434", "10.9.1.10:4435", "[fd09:1::10]:4435"} }
service "split" { listen = {"[::]:4436", "0.0.0.0:4436"} }
END
check "the daemon starts" start_daemon
check "it attaches cs_xdp to the interface of the configuration" logged "s0: attached"

# sockets NAME: packets of each of a worker's sockets.
sockets()
{
	ask "$1" count | sed 's/.*sockets=//'
}

# ---- exact and wildcard ---------------------------------------------------------------------
start_worker any1 --service any --listen '[::]:443'
start_worker any2 --service any --listen '[::]:443'
start_worker exact1 --service exact --listen 10.9.1.10:443 --listen '[fd09:1::10]:443'
start_worker exact2 --service exact --listen '[fd09:1::10]:443' --listen 10.9.1.10:443
cid=0102030405060708
is "an ID may be issued in two services" "$(ask any1 issue $cid) $(ask exact2 issue $cid)" "ok ok"
for to in 10.9.1.1:443 '[fd09:1::1]:443'; do
	send client --to "$to" --ports 10 --count 30 $cid >/dev/null
done
for to in 10.9.1.10:443 '[fd09:1::10]:443'; do
	send client --to "$to" --ports 10 --count 20 $cid >/dev/null
done
arrived 100 any1 any2 exact1 exact2
is "each goes to the worker of its own service" \
	"$(count any1) $(count any2) $(count exact1) $(count exact2)" "60 0 0 40"
is "one socket on [::] takes both families, one on each exact address its own" \
	"$(sockets any1) $(sockets exact2)" "60 20,20"
is "the exact address wins at XDP" \
	"$(verdicts xdp any) $(verdicts xdp exact)" "by_table=60 by_table=40"
is "and is a group of its own" \
	"$(verdicts reuseport any) $(verdicts reuseport exact)" "by_table=60 by_table=40"

# ---- lengths of connection IDs --------------------------------------------------------------
start_worker short1 --service short --listen '[::]:4431'
start_worker short2 --service short --listen '[::]:4431'
start_worker long1 --service long --listen '[::]:4432'
start_worker long2 --service long --listen '[::]:4432'
cid20=000102030405060708090a0b0c0d0e0f10111213
is "an ID has the length of its service, or -EINVAL" \
	"$(ask short2 issue 07) $(ask short2 issue 0708) $(ask long1 issue $cid20) $(ask long1 issue 07)" \
	"ok EINVAL ok EINVAL"
is "a provisional ID has any length from 1 to 20" \
	"$(ask long1 provisional 0102030405060708) $(ask short1 provisional 010203040506070809) $(ask short1 provisional ${cid20}14)" \
	"ok ok not a connection ID"
send client --to 10.9.1.1:4431 --ports 25 --count 50 07 >/dev/null
send client --to '[fd09:1::1]:4432' --ports 25 --count 50 $cid20 >/dev/null
arrived 100 short1 short2 long1 long2
is "IDs of 1 byte and of 20 bytes are routed" \
	"$(count short1) $(count short2) $(count long1) $(count long2)" "0 50 50 0"
send client --to 10.9.1.1:4432 --ports 25 --count 50 --form initial 0102030405060708 >/dev/null
arrived 150 short1 short2 long1 long2
is "so is a provisional one, of another length, in a long header" "$(count long1)" 100

# ---- zero-length ----------------------------------------------------------------------------
start_worker none1 --service none --listen '[::]:4433'
start_worker none2 --service none --listen '[::]:4433'
is "in a service without IDs none can be issued" "$(ask none1 issue 07)" EINVAL
where=()
one_of()
{
	[ "$1" = "$3 0" ] || [ "$1" = "0 $3" ] || [ "$1" = "$2" ]
}
for form in short initial handshake; do
	reset none1 none2
	send client --to 10.9.1.1:4433 --from 10.9.1.4:30000 --form $form --count 40 0102 >/dev/null
	arrived 40 none1 none2
	check "cid_length 0: $form packets of one 4-tuple reach one worker" \
		one_of "$(count none1) $(count none2)" "" 40
	where[${#where[@]}]=$(count none1)
done
is "the same one" "${where[0]} ${where[0]}" "${where[1]} ${where[2]}"
reset none1 none2
send client --to 10.9.1.1:4433 --ports 256 --count 256 --form initial 0102030405060708 >/dev/null
arrived 256 none1 none2
check "and Initials of 256 4-tuples reach both" eval '[ "$(count none1)" -gt 64 -a "$(count none2)" -gt 64 ]'
is "they are counted as by_tuple" "$(verdicts reuseport none)" "by_tuple=376"

# ---- several listeners of one service: preferred_address ------------------------------------
both="--service both --listen 10.9.1.1:4434 --listen 10.9.1.10:4435 --listen [fd09:1::10]:4435"
start_worker both1 $both
start_worker both2 $both
ask both2 issue 1111111111111111 >/dev/null
send client --to 10.9.1.1:4434 --ports 5 --count 10 1111111111111111 >/dev/null
send client --to 10.9.1.10:4435 --ports 5 --count 20 1111111111111111 >/dev/null
send client --to '[fd09:1::10]:4435' --ports 5 --count 30 1111111111111111 >/dev/null
arrived 60 both1 both2
is "a connection that moves to the preferred address stays with its worker" \
	"$(sockets both1) $(sockets both2)" "0,0,0 10,20,30"
for port in 4434 4435; do
	addr=10.9.1.1
	[ $port = 4434 ] || addr=10.9.1.10
	send client --to $addr:$port --ports 8 --count 32 --form initial 2222222222222222 >/dev/null
done
arrived 124 both1 both2
check "an Initial's DCID means the same worker at each address" \
	one_of "$(count both1) $(($(count both2) - 60))" "" 64

# ---- both families apart --------------------------------------------------------------------
check "with 0.0.0.0 listed too, the socket on [::] may be IPV6_V6ONLY" \
	start_worker split1 --service split --v6only --listen 0.0.0.0:4436 --listen '[::]:4436'
ask split1 issue 3333333333333333 >/dev/null
send client --to 10.9.1.1:4436 --count 11 3333333333333333 >/dev/null
send client --to '[fd09:1::1]:4436' --count 12 3333333333333333 >/dev/null
arrived 23 split1
is "and each socket gets its family" "$(sockets split1)" "11,12"

# ---- what is refused, and what is said ------------------------------------------------------
# refused CLAIM ANSWER ARGUMENTS...
refused()
{
	local claim=$1 wanted=$2
	shift 2
	start_worker refused "$@"
	is "$claim" "$answer" "refused $wanted"
	kill_worker refused 2>/dev/null
}
refused "IPV6_V6ONLY on a dual-stack listener is refused" \
	"EINVAL the socket on [::]:443 is IPV6_V6ONLY: clear that, or let the service listen on 0.0.0.0 too" \
	--service any --v6only --listen '[::]:443'
refused "a service that is not configured" 'ENOENT service "h9" is not configured' \
	--service h9 --listen '[::]:443'
refused "a socket elsewhere" \
	'EINVAL a socket is bound to [::]:444, where service "any" does not listen' \
	--service any --listen '[::]:444'
refused "a socket of another service" \
	'EINVAL a socket is bound to [::]:443, where service "long" does not listen' \
	--service long --listen '[::]:443'
refused "a socket that is missing" 'EINVAL service "both" has 3 listeners, 2 sockets came' \
	--service both --listen 10.9.1.1:4434 --listen 10.9.1.10:4435
refused "two sockets of one listener" 'EINVAL two sockets are bound to one listener' \
	--service any --listen '[::]:443' --listen '[::]:443'
start_worker gro --service any --gro --listen '[::]:443'
like "UDP_GRO is noted" "$(ask gro state)" "notes=1 "
check "and logged" logged "^cidsteerd: any: worker [0-9]+ has UDP_GRO: .* must check the DCID of each"
gro=${worker_pid[gro]}
stop_worker gro
check "it is gone" wait_for eval '! cidsteer workers | grep -qw "$gro"'
before=$(cidsteer workers | wc -l)
DAEMON_NS=client refused "a socket in another network namespace" \
	"EINVAL a socket is in another network namespace than the daemon" \
	--service any --listen '[::]:443'
is "nothing of the refused is left" "$(cidsteer workers | wc -l)" "$before"

check "both hooks have counted all they saw" eval 'seen_is_sum xdp && seen_is_sum reuseport'
done_testing

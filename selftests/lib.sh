# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-only
#
# What selftests and the demo share.  A script sources this file first:
#
#	. "$(dirname "$0")/lib.sh"
#
# and is thereby started again in namespaces of its own: mounts (with an empty tmpfs on /run and
# an empty bpffs on /sys/fs/bpf), processes, network.  So the default paths can be used, names of
# network namespaces cannot clash with anybody's, and when the script ends, however it ends
# (SIGKILL too), the kernel takes away everything that it has made.
#
# A script that sets WORLD=shared before stays where it is, and cleans up after itself.
#
# Output is TAP (testanything.org), read by prove(1).

# shellcheck disable=SC2015 # "|| bail" also when the middle fails
set -u

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
BUILD=${BUILD:-$TOP/build}
TOOLS=${TOOLS:-$BUILD/selftests}
BPFFS=/sys/fs/bpf/cidsteer
CONTROL=/run/cidsteer/control.sock
WORK=/run/selftest	     # files of this run
CONFIG=$WORK/cidsteer.conf
DAEMON_LOG=$WORK/daemon.log
# shellcheck disable=SC2034 # for the scripts
PYTHON=$(command -v /usr/bin/python3 python3 | head -1) # not a slow wrapper, where there is one
PROTOCOL=$(sed -n 's/^#define CS_PROTOCOL_VERSION //p' "$TOP/user/common/protocol.h")
export PROTOCOL # for what speaks to the daemon without the library
PATIENCE=10		     # seconds after which what is waited for counts as missing
POLL=${POLL:-0.02}	     # seconds between two looks

# ---- a world of its own ---------------------------------------------------------------------

# unshare(1) keeps SIGINT and SIGTERM to itself, so the script itself is what they end: it is in
# the same process group and gets them from the terminal, from timeout(1) and from prove(1).
enter_private_world()
{
	if [ "$(id -u)" != 0 ]; then
		echo "Bail out! $(basename "$0") needs root"
		exit 1
	fi
	CIDSTEER_OUTSIDE=$(readlink /proc/self/ns/mnt)
	export CIDSTEER_OUTSIDE
	exec unshare --mount --net --pid --fork --kill-child --mount-proc bash "$0" "$@"
}

# In the new namespaces this shell is process 1: what it leaves running ends with it.
is_private_world()
{
	[ -n "${CIDSTEER_OUTSIDE:-}" ] && [ $$ = 1 ] &&
		[ "$(readlink /proc/self/ns/mnt)" != "$CIDSTEER_OUTSIDE" ]
}

set_up_private_world()
{
	unset CIDSTEER_OUTSIDE CIDSTEER_CONFIG CIDSTEER_CONTROL CIDSTEER_BPFFS
	mount -t tmpfs -o mode=755 selftest /run &&
		mount -t sysfs selftest /sys &&
		mount -t bpf selftest /sys/fs/bpf &&
		mkdir -p "$WORK" /run/netns &&
		ip link set lo up
}

if [ "${WORLD:-private}" = private ]; then
	is_private_world || enter_private_world "$@"
	if ! set_up_private_world; then
		echo "Bail out! no private mounts: see the lines above"
		exit 1
	fi
else
	WORK=$(mktemp -d) || exit 1
	trap 'rm -rf "$WORK"' EXIT
fi
trap 'echo "Bail out! interrupted"; exit 130' INT
trap 'echo "Bail out! terminated"; exit 143' TERM

# ---- claims ---------------------------------------------------------------------------------

checks=0
failures=0

diag()
{
	printf '%s\n' "$@" | sed 's/^/# /'
}

# pass CLAIM, flunk CLAIM [LINES...]
pass()
{
	checks=$((checks + 1))
	echo "ok $checks - $1"
}

flunk()
{
	checks=$((checks + 1))
	failures=$((failures + 1))
	echo "not ok $checks - $1"
	# To the error output: prove(1) shows that, also when nobody has asked for details.
	{
		diag "" "not ok $checks - $1"
		shift
		[ $# = 0 ] || diag "$@"
	} >&2
	return 1
}

# check CLAIM COMMAND...: the command succeeds; what it prints is shown when it does not.  It
# runs in this shell: it may start a daemon or set a variable.
check()
{
	local claim=$1 status
	shift
	"$@" >"$WORK/output" 2>&1
	status=$?
	if [ "$status" = 0 ]; then
		pass "$claim"
	else
		flunk "$claim" "$* exited with $status" "$(tail -20 "$WORK/output")"
	fi
}

# is CLAIM GOT WANTED: the same text.
is()
{
	if [ "$2" = "$3" ]; then
		pass "$1"
	else
		flunk "$1" "got:    $2" "wanted: $3"
	fi
}

# like CLAIM TEXT REGEX: an extended regular expression matches in the text.
like()
{
	if grep -Eq -- "$3" <<<"$2"; then
		pass "$1"
	else
		flunk "$1" "got:    $2" "wanted: $3"
	fi
}

# skip REASON CLAIM...: says what was not tried, and why.
skip()
{
	local reason=$1 claim
	shift
	for claim; do
		checks=$((checks + 1))
		echo "ok $checks - $claim # SKIP $reason"
	done
}

# skip_all REASON: nothing of this script can be tried here; the runner shows why.
skip_all()
{
	echo "1..0 # SKIP $*"
	exit 0
}

# A script that checked nothing has failed; one that ended before this has no plan and fails too.
done_testing()
{
	[ "$checks" != 0 ] || flunk "something was checked"
	echo "1..$checks"
	exit $((failures != 0))
}

# bail REASON: going on makes no sense.
bail()
{
	echo "Bail out! $*"
	[ ! -s "$DAEMON_LOG" ] || diag "$(tail -20 "$DAEMON_LOG")"
	exit 1
}

# wait_for COMMAND...: polls until it succeeds; fails after $PATIENCE seconds.
wait_for()
{
	local end=$((SECONDS + PATIENCE))

	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || return 1
		sleep "$POLL"
	done
}

# ---- networks -------------------------------------------------------------------------------

# ns_add NAME...: network namespaces with lo up, seen by ip(8) as NAME.
ns_add()
{
	local name

	for name; do
		ip netns add "$name" && ip -n "$name" link set lo up || bail "namespace $name"
	done
}

# in_ns NAME COMMAND...: not `ip netns exec`, which mounts a /sys of its own and hides the pins.
# NAME - is the script's own namespace.
in_ns()
{
	local name=$1
	shift
	if [ "$name" = - ]; then
		"$@"
	else
		nsenter --net="/run/netns/$name" -- "$@"
	fi
}

# The same for a shell function or a command that replaces this (sub)shell.
exec_in_ns()
{
	local name=$1
	shift
	[ "$name" != - ] || exec "$@"
	exec nsenter --net="/run/netns/$name" -- "$@"
}

# veth NS1 DEV1 NS2 DEV2: a cable between two namespaces.  $VETH_QUEUES: queues of each end, if not the
# kernel's default.
veth()
{
	local queues=()

	[ -z "${VETH_QUEUES:-}" ] || queues=(numrxqueues "$VETH_QUEUES" numtxqueues "$VETH_QUEUES")
	ip link add "$2" netns "$1" "${queues[@]}" type veth peer name "$4" netns "$3" "${queues[@]}" &&
		ip -n "$1" link set "$2" up && ip -n "$3" link set "$4" up ||
		bail "veth $2 - $4"
}

# address NS DEV ADDR/PREFIX...: usable at once, no duplicate address detection.
address()
{
	local ns=$1 dev=$2 addr
	shift 2
	for addr; do
		case $addr in
		*:*) ip -n "$ns" address add "$addr" dev "$dev" nodad ;;
		*) ip -n "$ns" address add "$addr" dev "$dev" ;;
		esac || bail "address $addr"
	done
}

#   client                    server
#  .------. 10.9.1.0/24      .------.
#  | c0 .2|------------------|.1 s0 |  XDP here
#  '------' fd09:1::/64      '------'
#
# c0 has the further addresses .3 to .9 in both families.
topology_pair()
{
	ns_add client server
	veth client c0 server s0
	address server s0 10.9.1.1/24 fd09:1::1/64
	for n in 2 3 4 5 6 7 8 9; do
		address client c0 10.9.1.$n/24 fd09:1::$n/64
	done
}

#   client               nat                  server
#  .------. 10.9.0.0/24 .------. 10.9.1.0/24 .------.
#  | c0 .2|-------------|.1 n0 |             |      |
#  |      |             | n1 .2|-------------|.1 s0 |  XDP here
#  '------'             '------'             '------'
#
# and the same in fd09:0::/64, fd09:1::/64.  n1 has the further addresses .3 to .9.
topology_nat()
{
	local n

	ns_add client nat server
	veth client c0 nat n0
	veth nat n1 server s0
	address client c0 10.9.0.2/24 fd09:0::2/64
	address nat n0 10.9.0.1/24 fd09:0::1/64
	for n in 2 3 4 5 6 7 8 9; do
		address nat n1 10.9.1.$n/24 fd09:1::$n/64
	done
	address server s0 10.9.1.1/24 fd09:1::1/64
	ip -n client route add default via 10.9.0.1 &&
		ip -n client -6 route add default via fd09:0::1 || bail "routes"
	in_ns nat sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 ||
		bail "forwarding"
}

# nat_to ADDR4 ADDR6 LOW-HIGH: the nat sends from these addresses and ports from now on, and has
# forgotten what it did before: to the server, each client comes from somewhere else.
nat_to()
{
	in_ns nat nft -f - <<-RULES || bail "nft"
		table inet nat
		delete table inet nat
		table inet nat {
			chain out {
				type nat hook postrouting priority srcnat;
				oifname "n1" meta l4proto udp snat ip to $1:$3
				oifname "n1" meta l4proto udp snat ip6 to [$2]:$3
			}
		}
	RULES
	in_ns nat conntrack -F >/dev/null 2>&1
}

# ---- the daemon and the command -------------------------------------------------------------

DAEMON_NS=- # network namespace that the daemon, the command and the workers are in
DAEMON_PID=

# configure <<END: writes $CONFIG.
configure()
{
	cat >"$CONFIG"
}

# start_daemon [OPTIONS...]: returns when it is ready, or fails when it ended or is not.
start_daemon()
{
	local before=0

	[ ! -e "$DAEMON_LOG" ] || before=$(grep -c ' ready at ' "$DAEMON_LOG")
	(exec_in_ns "$DAEMON_NS" "$BUILD/cidsteerd" --config "$CONFIG" --control "$CONTROL" \
		--bpffs "$BPFFS" "$@" >>"$DAEMON_LOG" 2>&1) &
	DAEMON_PID=$!
	wait_for daemon_is_ready "$before" && kill -0 "$DAEMON_PID" 2>/dev/null
}

daemon_is_ready()
{
	[ "$(grep -c ' ready at ' "$DAEMON_LOG")" -gt "$1" ] || ! kill -0 "$DAEMON_PID"
}

# stop_daemon [SIGNAL]: and waits for its end; the data path stays.
stop_daemon()
{
	[ -n "$DAEMON_PID" ] || return 0
	kill -s "${1:-TERM}" "$DAEMON_PID" 2>/dev/null
	wait "$DAEMON_PID" 2>/dev/null
	DAEMON_PID=
}

# logged REGEX: waits until the daemon has said so.
logged()
{
	wait_for grep -Eq -- "$1" "$DAEMON_LOG" || {
		tail -5 "$DAEMON_LOG"
		return 1
	}
}

# cidsteer ARGUMENTS...: the command.
cidsteer()
{
	in_ns "$DAEMON_NS" "$BUILD/cidsteer" --bpffs "$BPFFS" --config "$CONFIG" "$@"
}

# counter HOOK SERVICE NAME: HOOK xdp or reuseport; NAME as in counters.def; SERVICE - is none.
counter()
{
	cidsteer counters | awk -v hook="$1" -v service="$2" -v name="$3" '
		$1 == hook && $2 == service && $3 == name { gsub(",", "", $4); value = $4 }
		END { print value + 0 }'
}

# lease SECONDS: it ends so long from now; less than 0: it has ended.  Only while no daemon runs.
lease()
{
	local bytes

	bytes=$("$PYTHON" -c '
import struct, sys, time
until = time.clock_gettime_ns(time.CLOCK_MONOTONIC) + int(sys.argv[1]) * 10**9
print(*struct.pack("<Q", until))' "$1")
	# shellcheck disable=SC2086 # words
	bpftool map update pinned "$BPFFS/cs_lease" key 0 0 0 0 value $bytes || bail "cs_lease"
}

# Counters that stand beside a verdict.
NOTES=$(sed -n 's/^CS_COUNTER(\([a-z_]*\), *note,.*/\1/p' "$TOP/include/core/counters.def" | xargs)

# verdicts HOOK SERVICE: "by_table=4000 by_ring=12 ...", all that are not 0, without seen.
verdicts()
{
	cidsteer counters | awk -v hook="$1" -v service="$2" -v notes=" $NOTES " '
		$1 == hook && $2 == service && $3 != "seen" && !index(notes, " " $3 " ") {
			gsub(",", "", $4)
			printf "%s%s=%s", separator, $3, $4
			separator = " "
		}
		END { print "" }'
}

# seen_is_sum HOOK: of each service, seen is the sum of its verdicts.
seen_is_sum()
{
	cidsteer counters | awk -v hook="$1" -v notes=" $NOTES " '
		$1 != hook || index(notes, " " $3 " ") { next }
		{ gsub(",", "", $4); lines++ }
		$3 == "seen" { seen[$2] = $4; next }
		{ sum[$2] += $4 }
		END {
			for (service in seen)
				if (seen[service] != sum[service]) {
					print service ": seen " seen[service] ", verdicts " sum[service]
					wrong = 1
				}
			exit !lines || wrong
		}'
}

# ---- workers (worker.c) and packets (send.c) ------------------------------------------------

declare -A worker_in worker_out worker_pid

# start_worker NAME ARGUMENTS...: its first answer is in $answer, "ready ID..." or "refused ...";
# fails unless it is ready.
start_worker()
{
	launch_worker "$@"
	hear "$1"
	[ "${answer%% *}" = ready ]
}

# The same, not waiting for its answer.
launch_worker()
{
	local name=$1 in out
	shift
	[ -x "$TOOLS/worker" ] || bail "$TOOLS/worker is not built: make selftest"
	mkfifo "$WORK/$name.in" "$WORK/$name.out" || bail "mkfifo $name"
	exec {in}<>"$WORK/$name.in" {out}<>"$WORK/$name.out"
	rm "$WORK/$name.in" "$WORK/$name.out"
	(exec_in_ns "$DAEMON_NS" "$TOOLS/worker" --control "$CONTROL" "$@" <&"$in" >&"$out" \
		{in}<&- {out}<&- 2>>"$WORK/workers.log") &
	worker_pid[$name]=$!
	worker_in[$name]=$in
	worker_out[$name]=$out
}

# hear NAME: the next line of a worker, into $answer.
hear()
{
	local end=$((SECONDS + PATIENCE)) part

	answer=
	until read -r -t 0.5 -u "${worker_out[$1]}" part; do
		answer+=$part # half a line, when the time was over
		if ! kill -0 "${worker_pid[$1]}" 2>/dev/null; then
			answer="it has ended"
			return
		elif [ $SECONDS -ge $end ]; then
			answer="no answer"
			return
		fi
	done
	answer+=$part
}

# ask NAME COMMAND...: tells a worker to do something, and prints its answer, one line.
ask()
{
	tell "$@"
	hear "$1"
	echo "$answer"
}

# tell NAME COMMAND...: not waiting for its answer.
tell()
{
	local name=$1
	shift
	echo "$*" >&"${worker_in[$name]}"
}

# stop_worker NAME: it closes its handles and ends.
stop_worker()
{
	ask "$1" quit >/dev/null
	wait "${worker_pid[$1]}" 2>/dev/null
	forget_worker "$1"
}

# kill_worker NAME: without a good-bye.
kill_worker()
{
	kill -9 "${worker_pid[$1]}" 2>/dev/null
	wait "${worker_pid[$1]}" 2>/dev/null
	forget_worker "$1"
}

forget_worker()
{
	local in=${worker_in[$1]} out=${worker_out[$1]}

	exec {in}>&- {out}>&-
	unset "worker_in[$1]" "worker_out[$1]" "worker_pid[$1]"
}

# count NAME [WORD]: packets that a worker's sockets got since it was reset.  WORD packets
# (default), own (their DCID is issued by this worker), foreign (by none or another), xsk and udp (its
# AF_XDP sockets, its UDP sockets), odd (frames that it should not have got), xsks (of each AF_XDP
# socket).
count()
{
	ask "$1" count | tr ' ' '\n' | sed -n "s/^${2:-packets}=//p"
}

# total NAME...: packets of several workers together.
total()
{
	local sum=0 name

	for name; do
		sum=$((sum + $(count "$name")))
	done
	echo $sum
}

# arrived NUMBER NAME...: waits until the workers have got so many packets together.  When as
# many have come as were sent, none is on its way any more.
arrived()
{
	local number=$1
	shift
	wait_for has_total "$number" "$@"
}

has_total()
{
	local number=$1
	shift
	[ "$(total "$@")" = "$number" ]
}

# reset NAME...: counts from 0 again.
reset()
{
	local name

	for name; do
		ask "$name" reset >/dev/null
	done
}

# send NS ARGUMENTS...: see send.c; prints how many datagrams it has sent.
send()
{
	local ns=$1
	shift
	in_ns "$ns" "$TOOLS/send" "$@"
}

#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# XDP moves a worker's packets to the worker's CPU.
#
#   client                    server
#  .------. 10.9.1.0/24      .------.
#  | c0 .2|------------------|.1 s0 |  XDP here; workers a (CPU 0), b (CPU 1), c
#  '------' fd09:1::/64      '------'
# shellcheck disable=SC2317 # functions that check and wait_for call
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=account.bash
. "$(dirname "$0")/account.bash"

topology_pair
# XDP runs where the veth's sender does, unless it runs already: for what the client's kernel says by
# itself, on whatever CPU.
quiet_cable c0
DAEMON_NS=server
N=4000
two='service "h3" { listen = {"[::]:443"} interface = {"s0"} }'
CPUS=$(nproc)

# with CLAIM: standard input is the configuration from now on.
with()
{
	configure
	check "$1" cidsteer reload --control "$CONTROL"
}

# cpus: of workers a, b, c, as `cidsteer workers` has them.
cpus()
{
	cidsteer workers --json | "$PYTHON" -c '
import json, sys
cpu = {w["pid"]: w["cpu"] for w in json.load(sys.stdin)["workers"] if w["state"] == "active"}
print(*("-" if cpu.get(int(pid)) is None else cpu[int(pid)] for pid in sys.argv[1:]))' \
		"${worker_pid[a]}" "${worker_pid[b]}" "${worker_pid[c]}"
}
cpus_are()
{
	[ "$(cpus)" = "$1" ]
}

# queues: "CPU:size ..." of cs_cpus.
queues()
{
	bpftool -j map dump pinned "$BPFFS/cs_cpus" | "$PYTHON" -c '
import json, sys
for entry in json.load(sys.stdin):
    if "value" not in entry or isinstance(entry["value"], str) or "error" in entry["value"]:
        continue
    key, value = (int.from_bytes(bytes(int(b, 16) for b in entry[k][:4]), "little") for k in ("key", "value"))
    print(f"{key}:{value}", end=" ")' | sed 's/ $//'
}

# moved CPU: "sent=N arrived=N elsewhere=N"; elsewhere: counted as arrived on other CPUs.
moved()
{
	bpftool -j map lookup pinned "$BPFFS/cs_cpu_counts" key "$1" 0 0 0 | "$PYTHON" -c '
import json, sys
total = {"sent": 0, "arrived": 0, "elsewhere": 0}
for line in json.load(sys.stdin)["values"]:
    words = bytes(int(b, 16) for b in line["value"])
    total["sent"] += int.from_bytes(words[:8], "little")
    total["arrived" if line["cpu"] == int(sys.argv[1]) else "elsewhere"] += int.from_bytes(words[8:], "little")
print(*(f"{k}={v}" for k, v in total.items()))' "$1"
}
sent_to()
{
	local now

	now=$(moved "$1")
	now=${now#sent=}
	echo "${now%% *}"
}

# processed CPU: packets that the stack took on a CPU, of all namespaces.
processed()
{
	awk -v cpu="$1" 'BEGIN { n = 0 } $13 == sprintf("%08x", cpu) { print strtonum("0x" $1) }' \
		/proc/net/softnet_stat 2>/dev/null ||
		"$PYTHON" -c '
import sys
for line in open("/proc/net/softnet_stat"):
    words = line.split()
    if int(words[12], 16) == int(sys.argv[1]):
        print(int(words[0], 16))' "$1"
}

# from_cpu CPU ARGUMENTS...: sends from there, and so XDP runs there.
from_cpu()
{
	local cpu=$1
	shift
	in_ns client taskset -c "$cpu" "$TOOLS/send" --to 10.9.1.1:443 "$@"
}

configure <<<"$two"
check "the daemon starts" start_daemon
start_worker a --service h3 --listen '[::]:443' --cpu 600
is "a CPU that cannot be" "$answer" "refused EINVAL CPU 600: packets can be moved to 0..511 only"
start_worker a --service h3 --listen '[::]:443' --cpu 511
is "a CPU that is not there" "$answer" "refused EINVAL there is no CPU 511"
is "nothing is left of them" "$(cidsteer workers --json | grep -c '"pid"') $(queues)" "0 "

check "worker a registers, on CPU 0" start_worker a --service h3 --listen '[::]:443' --cpu 0
ids_a=$(ask a random 1)
is "its queue is there" "$(queues)" "0:2048"
is "packets from its own CPU" "$(from_cpu 0 --count "$N" "${ids_a#cids }")" "$N"
arrived $N a
is "reach it" "$(count a own)" "$N"

if [ "$CPUS" -lt 2 ]; then
	skip "this machine has one CPU" "packets are moved" "policies" "a full queue" "a new daemon"
	done_testing
	exit
fi
is "and are not moved" "$(moved 0)" "sent=0 arrived=0 elsewhere=0"

check "worker b registers, on CPU 1" start_worker b --service h3 --listen '[::]:443' --cpu 1
check "worker c registers" start_worker c --service h3 --listen '[::]:443'
is "workers says so" "$(cpus)" "0 1 -"
ids_b=$(ask b random 1)
ids_c=$(ask c random 1)
is "each CPU has its queue" "$(queues)" "0:2048 1:2048"

# ---- what interfaces lose -------------------------------------------------------------------
# findings: "REASON|ACTION" of no one service; those that are no fault are 47-interfaces' matter.
findings()
{
	cidsteer status --json | "$PYTHON" -c '
import json, sys
for finding in json.load(sys.stdin)["findings"]:
    if finding["word"] == "steering":
        continue
    print(finding["reason"] + "|" + finding["action"])'
}
from_cpu 0 --count 100 "${ids_b#cids }" >/dev/null
check "what a veth's peer leaves to offload" wait_for eval '[ "$(moved 1)" = "sent=100 arrived=100 elsewhere=0" ]'
is "is lost" "$(count b packets) $(in_ns server awk '/^Udp: [0-9]/ { print $8 }' /proc/net/snmp)" "0 100"
lost="s0: its peer c0 leaves checksums to offload: what is moved is lost"
is "status says so" "$(findings)" "$lost|ip netns exec client ethtool -K c0 tx off"
advice=$(findings)
check "what it says to do" eval "${advice#*|}"
is "helps" "$(findings)" ""
(exec_in_ns client sleep 60) &
stays=$!
wait_for test "$(readlink /proc/$stays/ns/net)" != "$(readlink /proc/self/ns/net)"
umount /run/netns/client || bail "the name of a namespace"
like "a peer that cannot be looked at is noted" "$(cidsteer status)" \
	"^note: s0: its peer is where this process cannot look: it must not leave checksums to offload: ethtool -K PEER tx off"
mount --bind /proc/$stays/ns/net /run/netns/client || bail "the name of a namespace"
kill $stays
if ip -n server link add link s0 name s0.7 type vlan id 7 2>/dev/null; then
	is "tags that the peer leaves to offload" "$(findings)" \
		"s0: its peer c0 leaves VLAN tags to offload: what is moved has none|ip netns exec client ethtool -K c0 txvlan off"
	advice=$(findings)
	check "what it says to do" eval "${advice#*|}"
	is "helps, too" "$(findings)" ""
	ip -n server link del s0.7
else
	skip "the kernel has no 802.1Q" "tags that the peer leaves to offload"
fi

# ---- moved ----------------------------------------------------------------------------------
reset a b c
before=$(processed 1)
# Not more at once than a queue holds.
for burst in 1 2 3 4; do
	from_cpu 0 --count 1000 "${ids_b#cids }" >/dev/null
	arrived $((burst * 1000)) b || break
done
arrived $N b
is "all packets of b are moved to CPU 1, by XDP on CPU 0" "$(moved 1)" \
	"sent=$((N + 100)) arrived=$((N + 100)) elsewhere=0"
is "b gets them" "$(count b own) $(count b foreign)" "$N 0"
is "the service counts them" "$(counter xdp h3 to_cpu)" "$((N + 100))"
check "the stack took them on CPU 1" test $(($(processed 1) - before)) -ge $N
from_cpu 0 --count 1000 "${ids_c#cids }" >/dev/null
arrived 1000 c
is "those of c stay" "$(sent_to 0) $(sent_to 1)" "0 $((N + 100))"
is "c gets them" "$(count c own)" 1000

# ---- policies -------------------------------------------------------------------------------
taskset -pc 1 "${worker_pid[c]}" >/dev/null
sleep 1.5
is "an affinity is not followed unasked" "$(cpus)" "0 1 -"
with "affinities are followed" <<<"${two/listen/cpu = \"affinity\" listen}"
check "c is on CPU 1" wait_for cpus_are "0 1 1"
taskset -pc 0 "${worker_pid[c]}" >/dev/null
check "and on CPU 0" wait_for cpus_are "0 1 0"
taskset -pc 0,1 "${worker_pid[c]}" >/dev/null
check "on both is on none" wait_for cpus_are "0 1 -"
with "never" <<<"${two/listen/cpu = \"never\" listen}"
check "nobody is moved" wait_for cpus_are "- - -"
is "no queue is left" "$(queues)" ""
with "as before" <<<"$two"
check "who asked is" wait_for cpus_are "0 1 -"
configure <<<"${two/listen/cpu = \"always\" listen}"
is "no such word" "$(cidsteer reload --control "$CONTROL" 2>&1)" \
	"cidsteer: reload: $CONFIG:1: cpu = \"always\": not \"asked\", \"affinity\" or \"never\""
configure <<<"cpu_queue = 0
$two"
is "no such queue" "$(cidsteer reload --control "$CONTROL" 2>&1)" \
	"cidsteer: reload: $CONFIG:1: cpu_queue = 0: not in 1..16384"

# ---- a full queue ---------------------------------------------------------------------------
with "a queue of one" <<<"cpu_queue = 1
$two"
is "both have it" "$(queues)" "0:1 1:1"
lost_at()
{
	local now sent

	now=$(moved "$1")
	sent=${now#sent=}
	now=${now#*arrived=}
	echo $((${sent%% *} - ${now%% *}))
}
settled()
{
	local now

	now=$(lost_at 1)
	sleep 0.3
	[ "$(lost_at 1)" = "$now" ]
}
reset b
was=$(sent_to 1)
from_cpu 0 --count 20000 "${ids_b#cids }" >/dev/null
check "20,000 are sent at once" wait_for settled
lost=$(lost_at 1)
check "it is full" test "$lost" -gt 0
diag "$lost lost"
is "status has what was lost" "$(cidsteer status --json | "$PYTHON" -c '
import json, sys
for cpu in json.load(sys.stdin)["cpus"]:
    print(cpu["cpu"], cpu["queue"], cpu["workers"], cpu["lost"], end=";")')" "0 1 1 0;1 1 1 $lost;"
like "and says so" "$(cidsteer status | tr -s ' \n' ' ')" "CPU 1: packets of 1 worker are moved there, [0-9,]+ so far, of which [0-9,]+ were lost"
check "each that arrived is its worker's" arrived $(($(sent_to 1) - was - lost)) b
with "a queue of 4096" <<<"cpu_queue = 4096
$two"
is "counts on" "$(lost_at 1)" "$lost"

# ---- daemons --------------------------------------------------------------------------------
stop_daemon KILL
reset b
was=$(sent_to 1)
from_cpu 0 --count 1000 "${ids_b#cids }" >/dev/null
arrived 1000 b
is "without a daemon packets are moved" "$(($(sent_to 1) - was))" 1000
check "a new daemon" start_daemon
is "queues are the same" "$(queues)" "0:4096 1:4096"
check "b comes back" wait_for grep -q "worker 2 is back" "$DAEMON_LOG"
check "workers are moved on" wait_for cpus_are "0 1 -"
from_cpu 0 --count 1000 "${ids_b#cids }" >/dev/null
arrived 2000 b
is "and their packets" "$(($(sent_to 1) - was))" 2000

# ---- another version's programs -------------------------------------------------------------
program_of()
{
	bpftool -j map lookup pinned "$BPFFS/cs_cpus" key "$1" 0 0 0 | "$PYTHON" -c '
import json, sys
value = bytes(int(b, 16) for b in json.load(sys.stdin)["value"])
print(int.from_bytes(value[4:8], "little"))'
}
pinned_program()
{
	bpftool -j prog show pinned "$BPFFS/cpu" | sed 's/.*"id":\([0-9]*\).*/\1/'
}
old=$(pinned_program)
is "its queue has the program that is pinned" "$(program_of 1)" "$old"
if [ -x "$BUILD/edition/cidsteerd" ]; then
	stop_daemon KILL
	BUILD=$BUILD/edition check "a daemon of another version" start_daemon
	check "which is another program" test "$(pinned_program)" != "$old"
	is "takes its place in each queue" "$(program_of 0) $(program_of 1)" "$(pinned_program) $(pinned_program)"
	was=$(sent_to 1)
	from_cpu 0 --count 1000 "${ids_b#cids }" >/dev/null
	arrived 3000 b
	is "which goes on" "$(($(sent_to 1) - was)) $(lost_at 1)" "1000 $lost"
	stop_daemon KILL
	check "and back" start_daemon
else
	skip "there is no other version: make edition" "an upgrade"
fi

kill -KILL "${worker_pid[b]}"
check "who is killed leaves no queue" wait_for eval '[ "$(queues)" = 0:4096 ]'
stop_daemon KILL
kill -KILL "${worker_pid[a]}"
check "the next daemon" start_daemon
check "removes the queue of who died meanwhile" wait_for eval '[ -z "$(queues)" ]'
check "seen is the sum" seen_is_sum xdp
done_testing

#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Beside others.
# The daemon ends, is killed, comes back, is refused: the data path stays, nothing is overwritten.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

configure <<END
service "h3"  { listen = {"127.0.0.1:443"} }
service "msg" { listen = {"127.0.0.1:444"} shared_table = no }
END
check "the daemon starts" start_daemon
listen="--service h3 --listen 127.0.0.1:443"
for name in a b c; do
	start_worker $name $listen
done
ids=$(ask a random 10)
ids=${ids#cids }
ids_c=$(ask c random 10)
ids_c=${ids_c#cids }

# a_gets CIDS: worker a gets 100 packets with each ID, b none.
a_gets()
{
	local sent

	reset a b
	sent=$(send - --to 127.0.0.1:443 --ports 10 --count 100 $1)
	arrived "$sent" a b
	[ "$(count a own) $(count b)" = "$sent 0" ]
}

ids_of_workers()
{
	cidsteer workers | awk 'NR > 1 { print $1, $4, $5, $6 }' | xargs
}

# ---- SIGTERM --------------------------------------------------------------------------------
before=$(ids_of_workers)
table=$(bpftool -j map dump pinned "$BPFFS/cs_cids" | md5sum)
stop_daemon TERM
check "SIGTERM is answered with one line" logged "signal 15: ending; packets go on being routed"
check "the control socket is gone" test ! -e "$CONTROL"
check "without a daemon packets are routed" a_gets "$ids"
is "issue and retire work" \
	"$(ask a issue 0101010101010101) $(ask a issue 0202020202020202) $(ask a retire 0202020202020202)" \
	"ok ok ok"
check "what was issued is routed" a_gets 0101010101010101
check "the handle says so once" wait_for eval '[[ "$(ask a state)" = *lost=1 ]]'
is "and is not connected" "$(ask a dispatch)" ok
start_worker late $listen
like "a worker cannot register" "$answer" "^refused ENOENT $CONTROL: No such file"

# ---- somebody dies meanwhile ----------------------------------------------------------------
pid_c=${worker_pid[c]}
kill_worker c
before_restart=$(counter reuseport h3 seen)
check "the daemon comes back" start_daemon
check "it adopts what is pinned" logged "^cidsteerd: adopted what is pinned in $BPFFS$"
check "who lives goes on" logged "^cidsteerd: h3: worker 1 \(pid ${worker_pid[a]}\) goes on$"
check "who died meanwhile is reaped" logged \
	"^cidsteerd: h3: worker 3 \(pid $pid_c\) is gone, 10 routes removed$"
wait_for eval '[ "$(cidsteer workers | wc -l)" = 3 ]'
is "ids and routes are what they were" "$(ids_of_workers)" \
	"$(sed "s/ 3 $pid_c active 10//; s/ active 10/ active 11/" <<<"$before")"
is "the tables too" "$(bpftool -j map dump pinned "$BPFFS/cs_cids" | md5sum)" "$table"
check "packets are routed" a_gets "$ids 0101010101010101"
check "who lives is back by itself" logged \
	"^cidsteerd: h3: worker 1 is back \(pid ${worker_pid[a]}, uid 0\)$"
is "counters went on" "$(($(counter reuseport h3 seen) - before_restart))" 1100
start_worker c $listen
is "a new worker gets another id" "$answer" "ready 4"

# ---- adopted workers die under the new daemon -----------------------------------------------
pid_b=${worker_pid[b]}
kill_worker b
check "an adopted worker that dies is reaped" logged "worker 2 \(pid $pid_b\) is gone"

# ---- kill -9 --------------------------------------------------------------------------------
start_worker b $listen
stop_daemon KILL
check "a killed daemon leaves its socket" test -S "$CONTROL"
check "and packets are routed" a_gets "$ids"
start_worker late $listen
like "a worker is told that nobody listens" "$answer" "^refused ECONNREFUSED "
check "the next daemon starts" start_daemon
check "removes the stale socket" logged "^cidsteerd: $CONTROL: removed a stale socket$"
check "and routes" a_gets "$ids"
is "no packet has met a worker without a socket" "$(counter reuseport h3 no_socket)" 0

# ---- two at once ----------------------------------------------------------------------------
# one_line CLAIM STATUS LINE COMMAND...: it ends with that status and says only that.
one_line()
{
	local claim=$1 wanted="$2: $3" output status
	shift 3
	output=$("$@" 2>&1 </dev/null)
	status=$?
	is "$claim" "$status: $output" "$wanted"
}
daemon()
{
	timeout 20 "$BUILD/cidsteerd" --config "$CONFIG" --control "$CONTROL" --bpffs "$BPFFS" "$@"
}
one_line "a second daemon says one line" 1 \
	"cidsteerd: $CONTROL: another daemon listens there" daemon
one_line "also with other pins" 1 "cidsteerd: $CONTROL: another daemon listens there" \
	daemon --bpffs /sys/fs/bpf/other
check "which it has not made" test ! -e /sys/fs/bpf/other
one_line "also with another control socket" 1 \
	"cidsteerd: $BPFFS is held by a running cidsteerd, or by another cidsteer" \
	daemon --control /run/other.sock
check "which is gone again" test ! -e /run/other.sock
check "the first is undisturbed" a_gets "$ids"
one_line "load while a daemon runs" 1 \
	"cidsteer: load: $BPFFS is held by a running cidsteerd, or by another cidsteer" cidsteer load
one_line "unload while a daemon runs" 1 \
	"cidsteer: unload: $BPFFS is held by a running cidsteerd, or by another cidsteer" \
	cidsteer unload --force

# ---- refusals -------------------------------------------------------------------------------
stop_daemon
ip link add x0 type veth peer name x1
ip link set x0 up
cidsteer attach x0 --mode native >/dev/null 2>&1
one_line "unload while workers are registered" 1 \
	"cidsteer: unload: still registered: worker 1 (h3, pid ${worker_pid[a]}), worker 4 (h3, pid ${worker_pid[c]}), worker 5 (h3, pid ${worker_pid[b]}); stop the server, or use --force" \
	cidsteer unload
one_line "detach too" 1 \
	"cidsteer: detach: x0: still registered: worker 1 (h3, pid ${worker_pid[a]}), worker 4 (h3, pid ${worker_pid[c]}), worker 5 (h3, pid ${worker_pid[b]}); stop the server, or use --force" \
	cidsteer detach x0
check "both have changed nothing" a_gets "$ids"
one_line "detach --force" 0 "x0: detached" cidsteer detach x0 --force
cidsteer attach x0 --mode native >/dev/null 2>&1
one_line "unload --force takes it off too" 0 "unloaded: $BPFFS is gone" cidsteer unload --force
check "nothing is pinned" test ! -e "$BPFFS"
is "nothing is attached" "$(ip -d link show x0 | grep -c prog/xdp)" 0
one_line "unload with nothing loaded" 1 \
	"cidsteer: unload: $BPFFS: nothing is loaded: run cidsteer load, or cidsteerd" cidsteer unload
check "and makes no directory" test ! -e "$BPFFS"
for name in a b c; do
	stop_worker $name
done
one_line "unload of what is attached and has no workers" 1 \
	"cidsteer: unload: attached to x0: run cidsteer detach x0 first, or use --force" \
	eval 'cidsteer load >/dev/null && cidsteer attach x0 >/dev/null 2>&1; cidsteer unload'
cidsteer detach x0 >/dev/null
one_line "and after detach" 0 "unloaded: $BPFFS is gone" cidsteer unload

# ---- a place that will not do ---------------------------------------------------------------
mkdir /run/plain
one_line "no bpffs" 1 "cidsteerd: /run/plain: no bpffs is mounted there: mount -t bpf bpf /run/plain" \
	daemon --bpffs /run/plain/cidsteer
echo precious >/run/precious
one_line "a regular file in the way of the socket" 1 \
	"cidsteerd: /run/precious: is in the way, and no socket" \
	daemon --control /run/precious
is "is left alone" "$(cat /run/precious)" precious
cidsteer unload >/dev/null 2>&1

# ---- pins of another layout -----------------------------------------------------------------
cidsteer load >/dev/null
# cs_abi: magic, layout, 16 cookies.
bpftool -j map lookup pinned "$BPFFS/cs_abi" key 0 0 0 0 >"$WORK/abi"
bytes=$("$PYTHON" -c '
import json, sys
value = json.load(open(sys.argv[1]))["value"]
value[4:8] = ["0x63", "0x00", "0x00", "0x00"]
print(*[int(byte, 16) for byte in value])' "$WORK/abi")
bpftool map update pinned "$BPFFS/cs_abi" key 0 0 0 0 value $bytes
pins=$(ls "$BPFFS" && bpftool -j map dump pinned "$BPFFS/cs_services" | md5sum)
layout=$(sed -n 's/^#define CS_LAYOUT //p' "$TOP/include/core/abi.h")
line="$BPFFS has pins of layout 99, this is layout $layout: stop the servers, then cidsteer unload --force, or go back to the version that made them"
one_line "the daemon refuses pins of another layout" 1 "cidsteerd: $line" daemon
one_line "load too" 1 "cidsteer: load: $line" cidsteer load
one_line "unload too" 1 "cidsteer: unload: $line" cidsteer unload
is "nothing was overwritten" \
	"$(ls "$BPFFS" && bpftool -j map dump pinned "$BPFFS/cs_services" | md5sum)" "$pins"
status=$(cidsteer status)
is "status says not steering, 4" "$?" 4
like "and why" "$(tr -s ' \n' ' ' <<<"$status")" "^cidsteer not steering .*has pins of layout 99, this is layout $layout"
one_line "unload --force removes them" 0 "unloaded: $BPFFS is gone" cidsteer unload --force

# ---- changes that a restart may bring -------------------------------------------------------
start_daemon
start_worker a $listen
stop_daemon
sed -i 's/127.0.0.1:443"}/127.0.0.1:443"} max_cids = 1000000/' "$CONFIG"
one_line "a loaded table cannot change its size" 1 \
	'cidsteerd: service "h3": max_cids is 100000 in the loaded table and 1000000 in the configuration: a table cannot change its size; put 100000 back, or cidsteer unload' \
	daemon
sed -i 's/ max_cids = 1000000/ cid_length = 9/' "$CONFIG"
one_line "cid_length cannot change under workers" 1 \
	'cidsteerd: service "h3": cid_length, shared_table and user cannot change while workers are registered: stop them first' \
	daemon
sed -i '/h3/d' "$CONFIG"
one_line "a service with workers cannot go" 1 \
	'cidsteerd: service "h3" is not in the configuration, but has workers: stop them first' daemon
done_testing

#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Beside others.
# cidsteer status: three words, a reason, what to do, and exit codes 0, 3, 4; the same in JSON.
#
#   client                    server
#  .------. 10.9.1.0/24      .------.
#  | c0 .2|------------------|.1 s0 |
#  '------' fd09:1::/64      '------'
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

topology_pair
DAEMON_NS=server

# status_is CLAIM STATUS REGEX: text on one line with single blanks, and JSON with the same word.
status_is()
{
	local text status word

	text=$(cidsteer status 2>&1)
	status=$?
	like "$1" "$status: $(tr -s ' \n' ' ' <<<"$text")" "^$2: $3"
	case $2 in
	0) word=steering ;;
	3) word=degraded ;;
	*) word="not steering" ;;
	esac
	cidsteer status --json >"$WORK/json" 2>&1
	status=$?
	is "  in JSON too" "$status $(json 'doc["word"]')" "$2 $word"
}

# json EXPRESSION: of what status has just said.
json()
{
	"$PYTHON" -c '
import json, sys
doc = json.load(open(sys.argv[1]))
services = {s["name"]: s for s in doc.get("services", [])}
print(eval(sys.argv[2]))' "$WORK/json" "$1" 2>&1 | tail -1
}

# ---- nothing is there -----------------------------------------------------------------------
status_is "nothing loaded" 4 \
	"cidsteer not steering $BPFFS: nothing is loaded: run cidsteer load, or cidsteerd"
is "  no service" "$(json 'doc["services"]')" "[]"

configure <<END
service "h3" { listen = {"[::]:443"} max_cids = 200 }
service "long-name-here" { listen = {"10.9.1.1:853", "10.9.1.1:854"} }
END
check "the daemon starts" start_daemon
status_is "no active worker" 4 \
	"h3 not steering no active worker: run the server, or see cidsteer workers no XDP attached; \[::\]:443 dual-stack long-name-here not steering no active worker: "
is "  each finding has a reason and what to do" "$(json 'services["h3"]["findings"]')" \
	"[{'word': 'not steering', 'reason': 'no active worker', 'action': 'run the server, or see cidsteer workers'}]"

# ---- all is well ----------------------------------------------------------------------------
start_worker a --service h3 --listen '[::]:443'
start_worker dns --service long-name-here --listen 10.9.1.1:853 --listen 10.9.1.1:854
cidsteer attach s0 >/dev/null 2>&1
ask a random 20 >/dev/null
ask a path >/dev/null
status_is "steering" 0 \
	"h3 steering 1 worker, 20 routes, 1 path change survived, 0 strays s0 native XDP; \[::\]:443 dual-stack long-name-here steering 1 worker, 0 routes, 0 path changes survived, 0 strays s0 native XDP; 10.9.1.1:853, 10.9.1.1:854 $"
is "  with the same numbers" \
	"$(json '[services["h3"][k] for k in ("word", "routes", "path_changes", "strays", "max_cids")]')" \
	"['steering', 20, 1, 0, 200]"
is "  the interface" "$(json '[(i["interface"], i["state"], i["mode"]) for i in doc["interfaces"]]')" \
	"[('s0', 'attached', 'native')]"
is "  and the listeners" "$(json '[l["address"] for s in doc["services"] for l in s["listeners"]]')" \
	"['[::]:443', '10.9.1.1:853', '10.9.1.1:854']"

# ---- the table fills ------------------------------------------------------------------------
ask a fill 139 >/dev/null
status_is "159 routes of 200: still steering" 0 "h3 steering 1 worker, 159 routes"
ask a fill 1 >/dev/null
status_is "160 of 200: degraded" 3 "h3 degraded table is 80% full \(160 of 200\): raise max_cids 1 worker"
is "  only this service" "$(json 'services["long-name-here"]["word"]')" steering
ask a close >/dev/null
wait_for eval '[ "$(cidsteer workers | grep -c reaping)" = 1 ]'
status_is "closed and being reaped: no active worker" 4 "h3 not steering no active worker: .* 0 workers, 1 being reaped"
stop_worker a
start_worker a --service h3 --listen '[::]:443'
start_worker b --service h3 --listen '[::]:443'
ask b drain >/dev/null
status_is "draining workers are told apart" 0 "h3 steering 2 workers \(1 draining\), 0 routes"

# ---- a worker without a socket --------------------------------------------------------------
ask b close-sockets >/dev/null
status_is "a worker whose socket is closed is named" 3 \
	"h3 degraded worker [0-9]+ \(pid ${worker_pid[b]}\) has no socket at \[::\]:443: its packets are left to the kernel's own hash start cidsteerd, if it does not run, or restart the server"
stop_worker b

# ---- others in the group --------------------------------------------------------------------
note=$(cidsteer status | grep "^note: the groups cannot be looked at")
if [ -n "$note" ]; then
	skip "$note" "a socket that is not registered is named" "another program is named"
else
	start_worker stranger --service h3 --unsteered --listen '[::]:443'
	status_is "a socket that is not registered is named by its pid" 3 \
		"h3 degraded a socket of pid ${worker_pid[stranger]} is in the group of \[::\]:443 without being registered: what is left to the kernel's own hash can go to it start it with libcidsteer, or stop it"
	start_worker stranger2 --service h3 --unsteered --listen '[::]:443'
	status_is "two are counted" 3 \
		"h3 degraded 2 sockets of pids? (${worker_pid[stranger]}|${worker_pid[stranger2]}), (${worker_pid[stranger]}|${worker_pid[stranger2]}) are in the group of "
	kill_worker stranger2
	kill_worker stranger
	status_is "when they are gone all is well" 0 "h3 steering"

	start_worker stranger --service h3 --unsteered --listen 10.9.1.1:443
	status_is "a socket on a more special address wins all its packets" 3 \
		"h3 degraded a socket of pid ${worker_pid[stranger]} is at 10.9.1.1:443 without being registered: packets to that address go to it, whoever owns the connection"
	kill_worker stranger

	is "somebody puts a program of his own on the group" "$(ask a intrude ebpf)" ok
	status_is "it is named" 4 \
		"h3 not steering another program \(id [0-9]+, intruder\) is on the group of \[::\]:443: it picks the worker stop what has put it there, and restart the server"
	is "or a classic filter" "$(ask a intrude cbpf)" ok
	status_is "that is said" 4 "h3 not steering cs_stub is no longer on the group of \[::\]:443: "
	is "of two groups of a service" "$(ask dns intrude ebpf)" ok
	cidsteer status --json >"$WORK/json"
	is "one makes it degraded" "$(json 'services["long-name-here"]["word"]')" degraded
	stop_worker dns
	stop_worker a
	start_worker a --service h3 --listen '[::]:443'
	start_worker dns --service long-name-here --listen 10.9.1.1:853 --listen 10.9.1.1:854
	status_is "a restarted server is steered again" 0 "h3 steering"
fi

# ---- the hook -------------------------------------------------------------------------------
cidsteer detach s0 --force >/dev/null
status_is "no XDP is no fault" 0 "h3 steering 1 worker, .* no XDP attached; "
in_ns server ip link set dev s0 xdp obj "$BUILD/bpf/cidsteer.bpf.o" sec xdp
status_is "a cs_xdp over foreign maps is" 3 \
	"h3 steering .* - degraded s0 has a cs_xdp over maps of its own, which are empty: "
is "  in JSON" "$(json '[i["state"] for i in doc["interfaces"]]')" "['foreign maps']"
in_ns server ip link set dev s0 xdp off
cidsteer attach s0 >/dev/null 2>&1

# ---- who died while no daemon ran -----------------------------------------------------------
stop_daemon
status_is "without a daemon it goes on steering" 0 "h3 steering"
kill_worker a
status_is "a dead worker that nobody reaps is noticed" 4 \
	"h3 not steering no active worker has a socket at \[::\]:443 start cidsteerd, which removes workers that are gone, and the server"
bpftool map delete pinned "$BPFFS/cs_listeners" key 1 0 0 0
bpftool map delete pinned "$BPFFS/cs_listeners" key 2 0 0 0
status_is "an empty slot of cs_listeners too" 4 \
	".*long-name-here not steering no program is in the slot of 10.9.1.1:853: the kernel's own hash picks the worker"
start_daemon
cidsteer status --json >"$WORK/json"
is "a daemon mends it" "$(json 'services["long-name-here"]["word"]')" steering

# ---- from elsewhere -------------------------------------------------------------------------
DAEMON_NS=client status_is "from another network namespace" 4 \
	".*note: loaded from another network namespace: groups of sockets and interfaces there are not looked at"
done_testing

#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Beside others.
# Workers come, drain, close, die, fork and have threads; nobody else loses a packet.
# All on loopback: here the routing is cs_reuseport's alone.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

configure <<END
service "h3" { listen = {"127.0.0.1:443"} }
END
check "the daemon starts" start_daemon
listen="--service h3 --listen 127.0.0.1:443"

# worker_row ID: its state and its routes.
worker_row()
{
	cidsteer workers | awk -v id="$1" '$1 == id { print $5, $6 }'
}

# slots: sockets in the first slots of cs_sockets; slots are given out first fit.
slots()
{
	local slot used=0

	for slot in 0 1 2 3 4 5 6 7; do
		! bpftool map lookup pinned "$BPFFS/cs_sockets" key hex $slot 0 0 0 >/dev/null 2>&1 ||
			used=$((used + 1))
	done
	echo $used
}

{
	start_worker a $listen --generation 1
	is "the first worker has id 1" "$answer" "ready 1"
	start_worker b $listen --generation 1
	start_worker c $listen
	is "ids come in order" "$answer" "ready 3"
}
is "cidsteer workers lists generation and state" \
	"$(cidsteer workers | awk 'NR > 1 { print $1, $2, $3, $5 }' | xargs)" \
	"1 h3 1 active 2 h3 1 active 3 h3 0 active"
is "and the pid" "$(cidsteer workers | awk '$1 == 2 { print $4 }')" "${worker_pid[b]}"
is "each has a socket in cs_sockets" "$(slots)" 3

# ---- drain ----------------------------------------------------------------------------------
ids_a=$(ask a random 10)
ids_b=$(ask b random 10)
ids_c=$(ask c random 10)
ids_a=${ids_a#cids } ids_b=${ids_b#cids } ids_c=${ids_c#cids }

# traffic: 20 packets to each ID of each worker; 300 Initials.
traffic()
{
	reset "$@"
	send - --to 127.0.0.1:443 --ports 20 --count 20 $ids_a $ids_b $ids_c >/dev/null
	send - --to 127.0.0.1:443 --ports 20 --form initial \
		$(seq -f 'aabbccddeeff%04.0f' 300) >/dev/null
	arrived 900 "$@"
}
traffic a b c
is "600 packets with issued IDs reach their workers" \
	"$(count a own) $(count b own) $(count c own)" "200 200 200"
check "300 new connections are shared among three" \
	eval '[ "$(count a foreign)" -gt 40 -a "$(count b foreign)" -gt 40 -a "$(count c foreign)" -gt 40 ]'
is "drain" "$(ask a drain) $(ask a drain)" "ok ok"
check "is logged" logged "^cidsteerd: h3: worker 1 drains$"
is "and seen" "$(worker_row 1)" "draining 10"
traffic a b c
is "a draining worker keeps its connections and gets no new one" \
	"$(count a own) $(count a foreign)" "200 0"
is "all new ones go to the others" "$(($(count b foreign) + $(count c foreign)))" 300
is "it may issue more" "$(ask a issue 0101010101010101)" ok
send - --to 127.0.0.1:443 --count 5 0101010101010101 >/dev/null
arrived 905 a b c
is "which are routed" "$(count a own)" 205

# ---- close ----------------------------------------------------------------------------------
is "close" "$(ask a close)" ok
check "is logged with the routes that went" logged \
	"^cidsteerd: h3: worker 1 \(pid ${worker_pid[a]}\) is gone, 11 routes removed$"
is "its socket has left cs_sockets" "$(slots)" 2
is "its routes have left the table" "$(cidsteer lookup 0101010101010101 | head -1 | cut -d';' -f1)" \
	"h3: not in the table"
ask a reset >/dev/null
traffic b c
is "its packets are treated as unknown, the others are undisturbed" \
	"$(count a) $(count b own) $(count c own) $(($(count b foreign) + $(count c foreign)))" \
	"0 200 200 500"

# ---- ids ------------------------------------------------------------------------------------
# The process of worker 1 lives, and could still write routes with this id.
is "the id of a closed handle in a living process is kept" "$(worker_row 1)" "reaping 0"
is "the process may register again, as another worker" "$(ask a open)" "ready 4"
ask a close >/dev/null
check "close again" logged "worker 4 .* is gone, 0 routes removed"
kill_worker a
check "when the process is gone, its ids are free" wait_for eval '[ -z "$(worker_row 1)$(worker_row 4)" ]'
start_worker a $listen
is "but ids come back first in, first out: the next is a new one" "$answer" "ready 5"

# ---- kill -9 --------------------------------------------------------------------------------
ids_a=$(ask a random 10)
ids_a=${ids_a#cids }
traffic a b c
pid=${worker_pid[a]}
kill_worker a
check "a killed worker is logged with the routes that went" logged \
	"^cidsteerd: h3: worker 5 \(pid $pid\) is gone, 10 routes removed$"
check "its id is free" wait_for eval '[ -z "$(worker_row 5)" ]'
is "its socket has left cs_sockets" "$(slots)" 2
traffic b c
is "its packets fall to others, which lose none of their own" \
	"$(count b own) $(count c own) $(($(count b foreign) + $(count c foreign)))" "200 200 500"

# A kill in the middle of traffic: of the other workers' packets none is lost.
{
	start_worker a $listen
	ids_a=$(ask a random 10)
	ids_a=${ids_a#cids }
	reset b c
	send - --to 127.0.0.1:443 --ports 40 --count 2000 $ids_b $ids_c >"$WORK/sent" &
	sender=$!
	send - --to 127.0.0.1:443 --ports 40 --count 2000 $ids_a >/dev/null &
	kill_worker a
	wait $sender
}
has_own()
{
	[ "$(count b own) $(count c own)" = "$1" ]
}
is "40,000 packets are sent while a worker is killed" "$(cat "$WORK/sent")" 40000
check "and all of the others' arrive" wait_for has_own "20000 20000"
wait_for eval '[ "$(cidsteer workers | wc -l)" = 3 ]'

# ---- a child that holds the socket and the connection ---------------------------------------
start_worker a $listen
held_id=${answer#ready }
ask a issue 0202020202020202 >/dev/null
child=$(ask a hold)
child=${child#held by }
kill_worker a
check "a worker whose child holds its sockets and connection is noticed by its pidfd" \
	logged "worker $held_id .* is gone, 1 routes removed"
is "its socket is taken out of cs_sockets though the child has it open" "$(slots)" 2
reset b c
send - --to 127.0.0.1:443 --ports 64 --form initial $(seq -f 'bbbbccddeeff%04.0f' 300) >/dev/null
check "no new connection goes to the child's copy" arrived 300 b c
kill -9 "$child"

# ---- fork -----------------------------------------------------------------------------------
start_worker a $listen
ask a issue 0303030303030303 >/dev/null
is "in a child each call says -ECHILD" "$(ask a fork)" \
	"issue=ECHILD provisional=ECHILD retire=ECHILD stray=ECHILD path=ECHILD drain=ECHILD xsks=ECHILD dispatch=ECHILD closed"
reset a
send - --to 127.0.0.1:443 --count 9 0303030303030303 >/dev/null
arrived 9 a
is "the child's close is not the parent's: it is active, its route is there" \
	"$(count a own) $(ask a issue 0404040404040404) $(ask a retire 0404040404040404) $(ask a drain)" \
	"9 ok ok ok"
stop_worker a

# ---- what the calls say ---------------------------------------------------------------------
start_worker a $listen
is "issue twice, by another worker, retire, retire again" \
	"$(ask a issue 0505050505050505) $(ask a issue 0505050505050505) $(ask b issue 0505050505050505) $(ask a retire 0505050505050505) $(ask a retire 0505050505050505) $(ask b issue 0505050505050505)" \
	"ok EEXIST EEXIST ok ENOENT ok"
is "another's route cannot be retired" "$(ask a retire 0505050505050505)" ENOENT
is "a stray is a packet that the table sends here, not one without a route" \
	"$(ask a stray 0505050505050505) $(ask a stray 0606060606060606)" "1 ok"
is "it is counted" "$(cidsteer workers | awk -v pid="${worker_pid[a]}" '$4 == pid { print $9 }')" 1
is "a path change is counted" "$(ask a path) $(ask a path) $(cidsteer status | grep -o '[0-9]* path changes')" \
	"ok ok 2 path changes"
is "a socket that is registered cannot be registered again" "$(ask a open)" \
	"refused EBUSY a socket is registered already, as another worker's"
stop_worker a
like "what the departed counted stays" "$(cidsteer status)" "2 path changes survived, 1 stray"

# ---- several handles in one process ---------------------------------------------------------
start_worker t $listen --handles 4
like "one process has four workers" "$answer" "^ready [0-9]+ [0-9]+ [0-9]+ [0-9]+$"
is "four threads issue and retire 50,000 IDs each, at once" "$(ask t threads 50000)" \
	"threads 4 each 50000 errors 0"
for handle in 0 1 2 3; do
	ask t use $handle >/dev/null
	ask t issue 070707070707070$handle >/dev/null
done
ask t reset >/dev/null
send - --to 127.0.0.1:443 --ports 10 --count 100 070707070707070{0,1,2,3} >/dev/null
own=
for handle in 0 1 2 3; do
	ask t use $handle >/dev/null
	wait_for eval '[ "$(count t own)" = 100 ]'
	own="$own$(count t own) "
done
is "each handle's packets come to its own socket" "$own" "100 100 100 100 "
ask t use 1 >/dev/null
ask t close >/dev/null
check "one handle closes" logged "\(pid ${worker_pid[t]}\) is gone, 1 routes removed"
ask t use 2 >/dev/null
is "its siblings stay" "$(ask t issue 0808080808080808)" ok
is "and are three" \
	"$(cidsteer workers | awk -v pid="${worker_pid[t]}" '$4 == pid && $5 == "active"' | wc -l)" 3
stop_worker t

# ---- a hundred -------------------------------------------------------------------------------
for n in 1 2; do
	start_worker m$n $listen --handles 64
done
is "128 workers more are there" "$(cidsteer workers | grep -c active)" 130
for n in 1 2; do
	kill_worker m$n
done
check "and gone" wait_for eval '[ "$(cidsteer workers | wc -l)" = 3 ]'
is "no route is left of them" "$(cidsteer status | grep -o '[0-9]* routes,')" "21 routes,"
traffic b c
is "who stayed has lost nothing" "$(count b own) $(count c own)" "200 200"

# ---- what cannot be routed is left to the kernel's own hash, and counted so ------------------
start_worker a $listen
ask a issue 0909090909090909 >/dev/null
ask a close-sockets >/dev/null
reset b c
before=$(counter reuseport h3 no_socket)
send - --to 127.0.0.1:443 --ports 20 --count 100 0909090909090909 >/dev/null
check "packets for a worker that has closed its socket reach the others" arrived 100 b c
is "and are counted" $(($(counter reuseport h3 no_socket) - before)) 100
stop_worker a
ask b drain >/dev/null
ask c drain >/dev/null
reset b c
send - --to 127.0.0.1:443 --ports 20 --count 100 --form initial 0909090909090909 >/dev/null
check "with nobody active, new connections reach those that drain" arrived 100 b c
is "and are counted" "$(counter reuseport h3 no_worker)" 100
check "seen is the sum of the verdicts" seen_is_sum reuseport
done_testing

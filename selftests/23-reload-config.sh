#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Beside others.
# The configuration is read again while packets come: services, listeners and interfaces are added,
# removed and changed, and a mistake changes nothing.
#
#   client                    server
#  .------. 10.9.1.0/24      .------.
#  | c0 .2|------------------|.1 s0 |  XDP here; d0 another interface
#  '------' fd09:1::/64      '------'

# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=traffic.bash
. "$(dirname "$0")/traffic.bash"

topology_pair
lossless client c0
in_ns server ip link add d0 up type veth peer name d1
DAEMON_NS=server
# Each step writes these again.
first='service "h3" { listen = {"[::]:443"} interface = {"s0"} }'
configure <<<"$first"
check "the daemon starts" start_daemon
check "XDP is attached" logged "s0: attached"
start_worker a --service h3 --listen '[::]:443'
start_worker b --service h3 --listen '[::]:443'
ids="$(ask a random 4) $(ask b random 4)"
ids=${ids//cids /}

times=0
# reload: by signal and by command in turn.
reload()
{
	local before

	times=$((times + 1))
	if [ $((times % 2)) = 0 ]; then
		cidsteer reload --control "$CONTROL" >/dev/null
		return
	fi
	before=$(grep -c 'read again\|stays as it was' "$DAEMON_LOG")
	kill -HUP "$DAEMON_PID"
	wait_for eval '[ "$(grep -c "read again\|stays as it was" "$DAEMON_LOG")" -gt '"$before"' ]'
	tail -1 "$DAEMON_LOG" | grep -q 'read again'
}

# with CLAIM: standard input is the configuration from now on.
with()
{
	configure
	under_traffic "$1" reload
}

# state: what is to be the same after a mistake: maps, but for counters, and programs.
state()
{
	(cd "$BPFFS" && "$TOOLS/sums" cs_abi cs_addrs cs_ports cs_services cs_workers cs_ring cs_listeners \
		cs_cids cs_sockets) || echo "not read at $EPOCHREALTIME"
	in_ns server ip link | grep -c xdp
}

# mistake CLAIM REASON: standard input is refused, for this reason, and nothing has changed.
mistake()
{
	local before

	configure
	before=$(state)
	output=$(cidsteer reload --control "$CONTROL" 2>&1)
	is "$1 fails" $? 1
	like "$1: it says why" "$output" "^cidsteer: reload: $2"
	kill -HUP "$DAEMON_PID"
	check "$1: so does the log" logged "the configuration stays as it was: $2"
	is "$1: nothing has changed" "$(state)" "$before"
}

# ---- services -------------------------------------------------------------------------------
with "a service is added" <<END
$first
service "dns" { listen = {"0.0.0.0:853"} }
END
start_worker d --service dns --listen 0.0.0.0:853
dns=$(ask d random 1)
send client --to 10.9.1.1:853 --count 100 "${dns#cids }" >/dev/null
arrived 100 d
is "it is steered" "$(count d own) $(counter reuseport dns by_table)" "100 100"

mistake "removing it while it has a worker" \
	"service \"dns\" is not in the configuration, but has workers: stop them first" <<<"$first"
stop_worker d
wait_for eval '! cidsteer workers | grep -q dns'
with "it is removed" <<<"$first"
check "it is gone" eval '! cidsteer status | grep -q dns'
is "nobody can register" "$(start_worker d --service dns --listen 0.0.0.0:853; echo "$answer")" \
	'refused ENOENT service "dns" is not configured'

# ---- listeners ------------------------------------------------------------------------------
with "a listener is added to a service with workers" <<END
service "h3" { listen = {"[::]:443", "0.0.0.0:8443"} interface = {"s0"} }
END
start_worker c --service h3 --listen '[::]:443' --listen 0.0.0.0:8443
is "a new worker has both" "$answer" "ready 4"
more=$(ask c random 1)
send client --to 10.9.1.1:8443 --ports 5 --count 100 "${more#cids }" >/dev/null
arrived 100 c
is "the new listener is steered" "$(count c own)" 100
# back_to NUMBER: a new daemon has so many of the workers back.
back_to()
{
	local before

	stop_daemon KILL
	before=$(grep -c "is back" "$DAEMON_LOG")
	start_daemon && wait_for are_back $((before + $1))
}

are_back()
{
	[ "$(grep -c "is back" "$DAEMON_LOG")" = "$1" ]
}

under_traffic "a new daemon has those back that were there before the listener, too" back_to 3
with "a listener is removed from a service with workers" <<<"$first"
reset c
send client --to 10.9.1.1:443 --ports 5 --count 100 "${more#cids }" >/dev/null
arrived 100 c
is "who had both keeps the other" "$(count c own)" 100
check "and comes back to a new daemon" back_to 3

# ---- interfaces -----------------------------------------------------------------------------
with "an interface is added" <<END
service "h3" { listen = {"[::]:443"} interface = {"s0", "d0"} }
END
check "it is attached" logged "^cidsteerd: d0: attached, native"
with "it is removed" <<<"$first"
check "it is detached" logged "^cidsteerd: d0: detached"
is "the other is not" "$(in_ns server ip link | grep -c "prog/xdp")" 1

# ---- settings -------------------------------------------------------------------------------
with "the time to drain changes" <<END
service "h3" { listen = {"[::]:443"} interface = {"s0"} drain_seconds = 1 }
END
is "a worker drains" "$(ask c drain)" ok
check "by the new setting" logged "worker 4 .* has drained for 1 s: expelled"
mistake "another size of the table" 'service "h3": max_cids is 100000 in the loaded table and 5000' <<END
service "h3" { listen = {"[::]:443"} interface = {"s0"} max_cids = 5000 }
END
mistake "another length of IDs under workers" 'service "h3": cid_length, shared_table and user cannot' <<END
service "h3" { listen = {"[::]:443"} interface = {"s0"} cid_length = 9 }
END

# ---- mistakes -------------------------------------------------------------------------------
mistake "a wrong word in line 2" "$CONFIG:2: " <<END
$first
service "x" { listne = {"[::]:444"} }
END
mistake "an address that two services want" "$CONFIG:2: service \"x\" listens on \[::\]:443" <<END
$first
service "x" { listen = {"[::]:443"} }
END
mistake "an empty file" "$CONFIG:1: no service is configured" </dev/null
rm "$CONFIG"
before=$(state)
like "a file that is not there" "$(cidsteer reload --control "$CONTROL" 2>&1)" \
	"^cidsteer: reload: $CONFIG: No such file or directory"
is "changes nothing" "$(state)" "$before"
configure <<<"$first"
like "another user" "$(in_ns server setpriv --reuid 65534 --clear-groups \
	"$BUILD/cidsteer" reload --control "$CONTROL" 2>&1)" \
	"^cidsteer: reload: only root, or who runs the daemon, commands it"
with "the same again" <<<"$first"
stop_daemon
like "without a daemon" "$(cidsteer reload --control "$CONTROL" 2>&1)" \
	"^cidsteer: reload: $CONTROL: .*: is cidsteerd running\?"
done_testing

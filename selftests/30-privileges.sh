#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Beside others.
# Workers need no privilege, and get none: an ordinary user without capabilities serves port 443,
# registers, issues, is steered, and can read neither pins nor keys.
#
#   client                    server
#  .------. 10.9.1.0/24      .------.
#  | c0 .2|------------------|.1 s0 |  XDP here; daemon, h3server with 4 workers
#  '------' fd09:1::/64      '------'
. "$(dirname "$0")/lib.sh"

USER_ID=$(id -u nobody)
GROUP_ID=$(id -g nobody)

topology_pair
DAEMON_NS=server
configure <<END
service "h3"   { listen = {"[::]:443"} interface = {"s0"} user = "nobody" }
service "user" { listen = {"127.0.0.1:4433"} user = "nobody" }
service "root" { listen = {"127.0.0.1:4434"} }
END
check "the daemon starts" start_daemon

# as_user COMMAND...: as what a worker is, in the server's network namespace.
as_user()
{
	in_ns server setpriv --reuid "$USER_ID" --regid "$GROUP_ID" --clear-groups \
		--inh-caps=-all --no-new-privs "$@"
}

# start_server OPTIONS...: returns when it serves.
start_server()
{
	: >"$WORK/server.log" # what the one before it said is still there
	(exec_in_ns server "$BUILD/h3server" --listen '[::]:443' --user nobody \
		--control "$CONTROL" "$@" >"$WORK/server.log" 2>&1) &
	SERVER_PID=$!
	wait_for grep -q "^h3server: serving" "$WORK/server.log" && kill -0 "$SERVER_PID"
}

stop_server()
{
	kill -TERM "$SERVER_PID"
	wait "$SERVER_PID"
}

# field FILE NAME: all words of a line of a proc(5) status file.
field()
{
	sed -n "s/^$2:[[:space:]]*//p" "$1" | xargs
}

# privileges STATUS-FILE: user, group, groups, capabilities.
privileges()
{
	local name

	for name in Uid Gid Groups CapInh CapPrm CapEff CapAmb NoNewPrivs; do
		echo "$name=$(field "$1" $name | tr ' ' ,)"
	done | xargs
}
no_cap=0000000000000000
none="Uid=$USER_ID,$USER_ID,$USER_ID,$USER_ID Gid=$GROUP_ID,$GROUP_ID,$GROUP_ID,$GROUP_ID Groups=$GROUP_ID CapInh=$no_cap CapPrm=$no_cap CapEff=$no_cap CapAmb=$no_cap NoNewPrivs=1"

# workers_of_server: pid of each worker that has registered.
workers_of_server()
{
	cidsteer workers | awk '$2 == "h3" && $5 == "active" { print $4 }' | sort -n
}

# ---- processes ------------------------------------------------------------------------------
check "h3server serves [::]:443 with 4 workers as nobody" start_server --workers 4
is "each worker says its user, that it has no capability, and that it can get none" \
	"$(sed -n 's/^worker \([0-9]*\): pid [0-9]* /\1 /p' "$WORK/server.log" | sort)" \
	"$(for n in 1 2 3 4; do echo "$n uid $USER_ID CapEff $no_cap NoNewPrivs 1"; done)"
pids=$(sed -n 's/^worker [0-9]*: pid \([0-9]*\) .*/\1/p' "$WORK/server.log" | sort -n)
is "these are the workers that have registered" "$(workers_of_server)" "$pids"
is "and they are 4 processes" "$(sort -u <<<"$pids" | wc -l)" 4
for pid in $pids; do
	is "proc(5) agrees, pid $pid" "$(privileges "/proc/$pid/status")" "$none"
done
generation=$(pgrep -P "$SERVER_PID")
is "the process that has started them has none either" \
	"$(privileges "/proc/$generation/status")" "$none"
# CAP_DAC_OVERRIDE, CAP_KILL, CAP_SETGID, CAP_SETUID, CAP_NET_BIND_SERVICE, CAP_NET_RAW, CAP_IPC_LOCK
for set in CapPrm CapEff CapBnd; do
	is "the supervisor has what a reload takes and can get no more, $set" \
		"$(field "/proc/$SERVER_PID/status" $set)" 00000000000064e2
done

# /proc/net/udp6: 8th column is the user who made the socket, 10th the inode.
is "their sockets were bound before: root has made them" \
	"$(in_ns server awk '$2 ~ /:01BB$/ { print $8 }' /proc/net/udp6 | xargs)" "0 0 0 0"
# own_socket PID: how many sockets on port 443 a process holds.
own_socket()
{
	local inode held=0

	for inode in $(in_ns server awk '$2 ~ /:01BB$/ { print $10 }' /proc/net/udp6); do
		[ -z "$(find "/proc/$1/fd" -lname "socket:\[$inode\]")" ] || held=$((held + 1))
	done
	echo $held
}
is "each worker holds one, nobody else any" \
	"$(for pid in $pids $generation $SERVER_PID; do own_socket "$pid"; done | xargs)" \
	"1 1 1 1 0 0"
# The build may lie where nobody can go.
install -m 755 "$TOOLS/worker" "$BUILD/cidsteer" "$WORK"
like "by itself the user cannot bind this port" \
	"$(as_user "$WORK/worker" --unsteered --listen '[::]:443' 2>&1 </dev/null)" \
	"bind: Permission denied"

# ---- a transfer -----------------------------------------------------------------------------
transfer()
{
	in_ns client "$BUILD/h3client" --json --bind "$1" --migrate-to "$2" --migrate-after 40% \
		--rate 2000000 "$3" 443 /bytes/1000000
}
# moves: path changes and strays of h3.
moves()
{
	cidsteer status --json | python3 -c '
import json, sys
for service in json.load(sys.stdin)["services"]:
    if service["name"] == "h3":
        print(service["path_changes"], service["strays"])'
}
like "a download whose client moves is complete and right" \
	"$(transfer 10.9.1.2 10.9.1.3 10.9.1.1)" '^\{"ok":true,"bytes":1000000,'
like "over IPv6 too" \
	"$(transfer fd09:1::2 fd09:1::3 fd09:1::1)" '^\{"ok":true,"bytes":1000000,'
wait_for eval '[ "$(moves)" = "2 0" ]'
is "the workers have reported both moves, and no stray" "$(moves)" "2 0"
check "most of their datagrams by_table has routed, at XDP" \
	eval '[ "$(counter xdp h3 by_table)" -gt "$(($(counter xdp h3 seen) / 2))" ]'

# ---- what a worker has, and what it cannot get ----------------------------------------------
holds()
{
	echo "$(find "/proc/$1/fd" -lname '*bpf*' | wc -l) $(grep -c bpf-map "/proc/$1/maps")"
}
is "a worker holds two mappings, its table and usage lines, and no descriptor" \
	"$(for pid in $pids; do holds "$pid"; done | sort | uniq -c | xargs)" "4 0 2"

# denied CLAIM REGEX COMMAND...: root may, the user may not, and is told so.
denied()
{
	local claim=$1 said=$2 output
	shift 2
	if ! in_ns server "$@" >"$WORK/output" 2>&1; then
		flunk "$claim" "root may not either: $(tail -3 "$WORK/output")"
	elif output=$(as_user "$@" 2>&1); then
		flunk "$claim" "the user may: $output"
	else
		like "$claim" "$output" "$said"
	fi
}

id_of_services=$(bpftool -j map show pinned "$BPFFS/cs_services" | python3 -c '
import json, sys
print(json.load(sys.stdin)["id"])')
may_not="Permission denied|not permitted"
mapfile -t zeros < <(yes 0 | head -64) # a struct cs_service, of a service that is not used
denied "a worker's user cannot list the pins" "$may_not" ls "$BPFFS"
for pin in cs_services cs_cids cs_workers cs_sockets cs_abi; do
	denied "nor open $pin" "$may_not" \
		bpftool map dump pinned "$BPFFS/$pin"
done
denied "nor read the keys by the map's id" "$may_not" \
	bpftool map dump id "$id_of_services"
denied "nor write by its id" "$may_not" \
	bpftool map update id "$id_of_services" key 255 0 0 0 value "${zeros[@]}"
denied "nor see what is loaded" "$may_not" \
	bpftool map show id "$id_of_services"
denied "nor use the command" "$may_not" "$WORK/cidsteer" --bpffs "$BPFFS" workers
is "the directory of the pins is root's alone" "$(stat -c '%U %a' "$BPFFS")" "root 700"
is "and so are the pins" "$(find "$BPFFS" -type f -printf '%u %m\n' | sort -u)" "root 600"
# The keys are secrets also where people look.
key=$(bpftool -j map dump pinned "$BPFFS/cs_services" | python3 -c '
import json, sys
print("".join(byte[2:] for byte in json.load(sys.stdin)[1]["value"][:16]))')
like "a service has its key" "${key/00000000000000000000000000000000/none}" "^[0-9a-f]{32}$"
check "and is in no output of the command, no log" eval '! {
	cidsteer status --json; cidsteer workers --json; cidsteer counters --json
	cidsteer lookup 0102030405060708 --json; cat "$DAEMON_LOG"; } | tr -d " " | grep -i "$key"'
stop_server
wait_for eval '[ -z "$(workers_of_server)" ]'

# ---- threads --------------------------------------------------------------------------------
check "h3server serves with 4 threads" start_server --workers 4 --threads
generation=$(pgrep -P "$SERVER_PID")
is "of one process" "$(workers_of_server | sort -u | xargs)" "$generation"
is "no thread of which has a capability" \
	"$(for task in /proc/"$generation"/task/*; do privileges "$task/status"; done | sort -u)" "$none"
is "and 4 of which say so" "$(grep -c "^worker [1-4]: pid $generation uid $USER_ID CapEff $no_cap NoNewPrivs 1$" "$WORK/server.log")" 4
like "a download whose client moves is complete and right" \
	"$(transfer 10.9.1.4 10.9.1.5 10.9.1.1)" '^\{"ok":true,"bytes":1000000,'
stop_server

# ---- never root -----------------------------------------------------------------------------
# TOOLS with a worker that is the user's from its first instruction.
mkdir -p "$WORK/user"
cat >"$WORK/user/worker" <<END
#!/bin/sh
exec setpriv --reuid $USER_ID --regid $GROUP_ID --clear-groups --inh-caps=-all --no-new-privs \
	"$WORK/worker" "\$@"
END
chmod 755 "$WORK/user/worker"
TOOLS=$WORK/user check "a worker that never was root registers" \
	start_worker u --service user --listen 127.0.0.1:4433
is "without a capability" "$(ask u who)" "euid=$USER_ID CapEff=0 NoNewPrivs=1"
ids=$(ask u random 10)
# shellcheck disable=SC2086 # a list
in_ns server "$TOOLS/send" --to 127.0.0.1:4433 --ports 4 --count 10 ${ids#cids } >/dev/null
arrived 100 u
is "and gets the packets with its IDs" "$(count u own)" 100
is "reports, retires, drains and leaves" \
	"$(ask u path) $(ask u retire-all) $(ask u drain) $(ask u close)" "ok retired 10 errors 0 ok ok"
stop_worker u
TOOLS=$WORK/user start_worker u --service root --listen 127.0.0.1:4434
is "into a service of root's alone it is not let" "$answer" \
	"refused EACCES uid $USER_ID is not allowed in service \"root\", its user is uid 0"
done_testing

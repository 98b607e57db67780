#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# The capabilities of docs/privileges.md are what the daemon needs: with them alone it does all its
# work, without any one of them it says which is missing, and strace shows what was refused.
#
#   client                    server
#  .------. 10.9.1.0/24      .------.
#  | c0 .2|------------------|.1 s0 |  XDP here; daemon, worker of nobody
#  '------' fd09:1::/64      '------'
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

topology_pair
DAEMON_NS=server
cat >"$WORK/all.conf" <<END
service "h3"  { listen = {"[::]:443"} interface = {"s0"} user = "nobody" }
service "msg" { listen = {"[::]:444"} user = "nobody" shared_table = no }
END
cp "$WORK/all.conf" "$CONFIG"

# ---- one list -------------------------------------------------------------------------------
rows=$(sed -n 's/^| `\(CAP_[A-Z_]*\)` |.*| `\(.*\)` | \(E[A-Z]*\) |$/\1|\2|\3/p' "$TOP/docs/privileges.md")
needed=$(cut -d'|' -f1 <<<"$rows" | xargs)
check "the table has rows" test -n "$needed"
is "the unit's list is the table's" \
	"$(sed -n 's/^CapabilityBoundingSet=//p' "$TOP/systemd/cidsteerd.service.in")" "$needed"
is "so is the manual's" \
	"$(sed -n 's/^\.It Dv \(CAP_[A-Z_]*\)$/\1/p' "$TOP/man/cidsteerd.8" | xargs)" "$needed"

# without CAPABILITY...: the table's without these, as setpriv(1) writes them.
without()
{
	local name dropped=" $* "

	for name in $needed; do
		[ "${dropped/ $name /}" != "$dropped" ] || printf ',+%s' "${name#CAP_}"
	done | tr '[:upper:]' '[:lower:]'
}

# PRIVILEGES: what the next daemon gets, options of setpriv(1).
mkdir "$WORK/bin"
real=$BUILD
cat >"$WORK/bin/cidsteerd" <<END
#!/bin/sh
exec setpriv --no-new-privs \$PRIVILEGES "$WORK/bin/daemon" "\$@"
END
chmod +x "$WORK/bin/cidsteerd"
install -m 755 "$real/cidsteer" "$WORK/bin"
install -m 755 "$real/cidsteerd" "$WORK/bin/daemon" # the build may lie where nobody can go
BUILD=$WORK/bin
PRIVILEGES="--bounding-set=-all$(without)"
export PRIVILEGES

# ---- with these alone -----------------------------------------------------------------------
# capabilities PID: the names of all that it can ever get.
capabilities()
{
	"$PYTHON" - "$1" <<'END'
import re, sys
names = {12: "CAP_NET_ADMIN", 38: "CAP_PERFMON", 39: "CAP_BPF"}
sets = {}
for line in open(f"/proc/{sys.argv[1]}/status"):
    found = re.match(r"Cap(Inh|Prm|Eff|Bnd|Amb):\s*([0-9a-f]+)", line)
    if found:
        mask = int(found[2], 16)
        sets[found[1]] = [names.get(bit, str(bit)) for bit in range(64) if mask >> bit & 1]
print(*sorted(set(sum(sets.values(), []))))
END
}
check "with these alone the daemon starts" start_daemon
is "it has these, in every set" "$(capabilities "$DAEMON_PID")" "$(tr ' ' '\n' <<<"$needed" | sort | xargs)"
like "attaches native XDP to an interface of the configuration" \
	"$(cat "$DAEMON_LOG")" "^cidsteerd: s0: attached, native; alone: .* needs CAP_SYS_ADMIN$"
like "which is the pinned program" "$(ip -n server -d link show s0 | grep 'prog/xdp')" \
	" id $(bpftool -j prog show pinned "$BPFFS/xdp" | grep -o '"id":[0-9]*' | tr -dc 0-9) "

worker_does_all()
{
	local name=$1 service=$2 port=$3 ids

	check "$name: a worker of nobody registers" \
		start_worker "$name" --service "$service" --user nobody --listen "[::]:$port"
	ids=$(ask "$name" random 10)
	reset "$name"
	send client --to "10.9.1.1:$port" --ports 10 --count 100 ${ids#cids } >/dev/null
	arrived 1000 "$name"
	is "$name: what it issues is routed to it" "$(count "$name" own)" 1000
}
worker_does_all h3 h3 443
worker_does_all msg msg 444
is "both hooks count" "$(counter xdp h3 by_table) $(counter reuseport h3 by_table)" "1000 1000"
start_worker root --service h3 --user nobody --listen '[::]:443'
pid=${worker_pid[root]}
kill_worker root
check "who dies is reaped" logged "^cidsteerd: h3: worker 3 \(pid $pid\) is gone, 0 routes removed$"

# ---- another daemon -------------------------------------------------------------------------
stop_daemon
check "the next one adopts" start_daemon
check "the workers" eval '[ "$(grep -c "goes on$" "$DAEMON_LOG")" = 2 ]'
is "knows its program at the interface" "$(grep -c "s0:" "$DAEMON_LOG")" 1
worker_does_all late h3 443
pid=${worker_pid[msg]}
stop_worker msg
check "an adopted worker that ends is reaped" logged "^cidsteerd: msg: worker 2 \(pid $pid\) is gone"

# Another user's service gets another table, and the pins follow.
stop_daemon
sed -i '/"msg"/s/nobody/root/' "$CONFIG"
inner_pins()
{
	find "$BPFFS/inner" -type f -printf '%f\n' | sort
}
before=$(inner_pins)
check "a daemon that replaces a table starts" start_daemon
is "of four pins of inner maps two are others" \
	"$(inner_pins | wc -l) $(comm -12 <(echo "$before") <(inner_pins) | wc -l)" "4 2"
stop_daemon

# ---- somebody else's program ----------------------------------------------------------------
ip -n server link set s0 xdp off
in_ns server bpftool prog load "$real/bpf/cidsteer.bpf.o" /sys/fs/bpf/other >/dev/null 2>&1 ||
	bail "another cs_xdp"
in_ns server bpftool net attach xdpdrv pinned /sys/fs/bpf/other dev s0 || bail "attaching it"
check "with another program at the interface it starts" start_daemon
like "which it leaves" "$(grep 's0:' "$DAEMON_LOG" | tail -1)" \
	"^cidsteerd: s0: program [0-9]+ is at the XDP hook already; whose it is only CAP_SYS_ADMIN may see: cidsteer attach s0, as root, will say$"
stop_daemon
ip -n server link set s0 xdpdrv off

# ---- without an inner pin -------------------------------------------------------------------
rm "$BPFFS/inner/$(inner_pins | head -1)"
# says CLAIM LINE: the daemon ends with 1, and this one line.
says()
{
	local output status

	output=$(in_ns server timeout 20 "$BUILD/cidsteerd" --config "$CONFIG" --control "$CONTROL" \
		--bpffs "$BPFFS" 2>&1 </dev/null)
	status=$?
	like "$1" "$status: $output" "^1: $2$"
	is "and nothing else" "$(wc -l <<<"$output")" 1
}
says "what it cannot put back it names" \
	"cidsteerd: $BPFFS/inner/[0-9]+ is missing, and cannot be put back without CAP_SYS_ADMIN: run cidsteer load as root"
like "which puts it back" "$(cidsteer load)" "^adopted: "
check "and then the daemon starts" start_daemon
check "with the workers" eval '[ "$(cidsteer workers | grep -c " active ")" = 2 ]'
stop_daemon

# ---- adopting with one less -----------------------------------------------------------------
ip -n server link set s0 xdp off 2>/dev/null
PRIVILEGES="--bounding-set=-all$(without CAP_NET_ADMIN)"
check "without CAP_NET_ADMIN it adopts" start_daemon
check "and says why it cannot attach" logged \
	"^cidsteerd: s0: not permitted: this process lacks CAP_NET_ADMIN: see cidsteerd\(8\)$"
stop_daemon
PRIVILEGES="--bounding-set=-all$(without CAP_BPF)"
check "without CAP_BPF too" start_daemon
start_worker none --service h3 --user nobody --listen '[::]:443'
like "but it takes no worker, who hears why" "$answer" \
	"^refused EPERM cs_stub: not permitted: this process lacks CAP_BPF: see cidsteerd\(8\)$"
stop_daemon
for name in h3 late; do
	stop_worker $name
done
cidsteer unload --force >/dev/null
check "unload leaves no pin" test ! -e "$BPFFS"

# ---- without each ---------------------------------------------------------------------------
while IFS='|' read -r name call errno; do
	PRIVILEGES="--bounding-set=-all$(without "$name") strace -f -Z -e signal=none -o $WORK/trace"
	says "without $name it says so" \
		"cidsteerd: loading the programs: not permitted: this process lacks $name: see cidsteerd\(8\)"
	refused=$(grep -E ' = -1 (EPERM|EACCES) ' "$WORK/trace" | tail -1 | sed 's/^[0-9]* *//')
	is "strace: what was refused at last is the table's" \
		"${refused:0:${#call}} $(grep -oE 'E(PERM|ACCES)' <<<"$refused")" "$call $errno"
	check "and nothing is left" test ! -e "$BPFFS" -a ! -e "$CONTROL"
done <<<"$rows"

# ---- a user of its own ----------------------------------------------------------------------
cp "$WORK/all.conf" "$CONFIG"
PRIVILEGES="--reuid 4711 --regid 4711 --clear-groups --bounding-set=-all$(without)"
PRIVILEGES="$PRIVILEGES --inh-caps=-all$(without) --ambient-caps=-all$(without)"
CONTROL=/run/own/control.sock
install -d -o 4711 -g 4711 /run/own
check "with the three as ambient capabilities any user can be the daemon" start_daemon
is "this one" "$(stat -c %u "/proc/$DAEMON_PID" "$BPFFS" "$CONTROL" | xargs)" "4711 4711 4711"
worker_does_all own h3 443
stop_daemon
check "it adopts too" start_daemon
check "its worker" eval '[ "$(grep -c "worker 1 (pid ${worker_pid[own]}) goes on$" "$DAEMON_LOG")" = 1 ]'
stop_worker own
stop_daemon
mkdir /run/bpf
mount -t bpf -o mode=700 bpf /run/bpf || bail "a bpffs of root's"
BPFFS=/run/bpf/cidsteer
says "but not where root alone may enter, as systemd mounts it" \
	"cidsteerd: $BPFFS: Permission denied"
done_testing

#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Beside others.
# The capabilities of docs/privileges.md are what the daemon needs: with them alone it does all its
# work, without any one of them it says which is missing, and strace shows what was refused.
#
#   client                    server
#  .------. 10.9.1.0/24      .------.
#  | c0 .2|------------------|.1 s0 |  XDP here; daemon, worker of nobody
#  '------' fd09:1::/64      '------'
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=traffic.bash
. "$(dirname "$0")/traffic.bash"

SECOND=$BUILD/edition # the programs of another version: see 22-upgrade.sh
[ -x "$SECOND/cidsteerd" ] || bail "$SECOND/cidsteerd is not built: make edition"
topology_pair
lossless client c0
DAEMON_NS=server
cat >"$WORK/all.conf" <<END
service "h3"  { listen = {"[::]:443"} interface = {"s0"} user = "nobody" }
service "msg" { listen = {"[::]:444"} user = "nobody" shared_table = no }
END
cp "$WORK/all.conf" "$CONFIG"

# ---- one list -------------------------------------------------------------------------------
rows=$(sed -n 's/^| `\(CAP_[A-Z_]*\)` |.*| `\(.*\)` | \(E[A-Z or]*\) |$/\1|\2|\3/p' "$TOP/docs/privileges.md")
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
	"$(cat "$DAEMON_LOG")" "^cidsteerd: s0: attached, native, because the driver has it; alone: .* needs CAP_SYS_ADMIN$"
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

# ---- another version ------------------------------------------------------------------------
# programs: ids of what is at the interface, pinned, and in the listeners' slots.
programs()
{
	in_ns server ip -j link show dev s0 | sed -n 's/.*"prog":{"id":\([0-9]*\).*/\1/p'
	bpftool -j prog show pinned "$BPFFS/xdp" | sed -n 's/.*"id":\([0-9]*\).*/\1/p'
	bpftool -j map dump pinned "$BPFFS/cs_listeners" | "$PYTHON" -c 'import json, sys
for entry in json.load(sys.stdin):
    value = entry["value"]
    if isinstance(value, list):
        print(int.from_bytes(bytes(int(byte, 16) for byte in value), "little"))'
}

# tags: of all these, one word for each code: XDP's, if it is what is pinned, then the listeners'.
tags()
{
	local id

	for id in $(programs); do
		bpftool -j prog show id "$id" | sed -n 's/.*"tag":"\([0-9a-f]*\)".*/\1/p'
	done | uniq | xargs
}

is_stopped()
{
	[ "$(awk '{ print $3 }' "/proc/$1/stat")" = T ]
}

# version BUILD [POINT]: its daemon takes over; stopped at a point where there is one.
version()
{
	stop_daemon KILL
	install -m 755 "$1/cidsteerd" "$WORK/bin/daemon"
	if [ $# = 1 ]; then
		start_daemon
		return
	fi
	(
		export CIDSTEER_STOP_AT=$2
		exec_in_ns server "$BUILD/cidsteerd" --config "$CONFIG" --control "$CONTROL" \
			--bpffs "$BPFFS" >>"$DAEMON_LOG" 2>&1
	) &
	DAEMON_PID=$!
	wait_for is_stopped "$DAEMON_PID"
}

start_worker a --service h3 --user nobody --listen '[::]:443'
start_worker b --service h3 --user nobody --listen '[::]:443'
ids="$(ask a random 4) $(ask b random 4)"
ids=${ids//cids /}
before=$(programs)
check "a daemon of the same version starts" version "$real"
is "and replaces no program" "$(programs)" "$before"
check "nor says so" eval '! grep -q replaced "$DAEMON_LOG"'
first=$(tags)
is "XDP has one code, the listeners have one" "$(wc -w <<<"$first")" 2
under_traffic "with these alone another version takes over" version "$SECOND"
check "it says so" logged "the programs of another version were replaced"
check "of the interface too" logged "s0: program replaced"
second=$(tags)
is "both hooks have its programs" "$(tr ' ' '\n' <<<"$first $second" | sort -u | wc -l)" 4
under_traffic "the first comes back" version "$real"
is "with its programs" "$(tags)" "$first"
under_traffic "the other is killed between two listeners" eval \
	'version "$SECOND" "between two listeners" && version "$real"'
is "and the first has its programs in all" "$(tags)" "$first"
under_traffic "killed between the hooks, twice" eval \
	'version "$SECOND" "between the hooks" && version "$SECOND" "between the hooks" && version "$SECOND"'
is "its next start has its programs in all" "$(tags)" "$second"
under_traffic "the first, once more after such an end" eval \
	'version "$real" && version "$SECOND" "between the hooks" && version "$real"'
is "has its own in all" "$(tags)" "$first"
before=$(programs)
check "it starts again" version "$real"
is "and finds that they are its own" "$(programs)" "$before"
is "no pin is left over but of what the interface has" \
	"$(find "$BPFFS" -name '*_*' ! -name 'cs_*' ! -name "xdp_$(programs | sed -n 1p)")" ""

# ---- another configuration ------------------------------------------------------------------
# reload: returns when the daemon has read it again.
reload()
{
	local before

	before=$(grep -c ' read again: ' "$DAEMON_LOG")
	kill -HUP "$DAEMON_PID"
	wait_for eval '[ "$(grep -c " read again: " "$DAEMON_LOG")" -gt '"$before"' ]'
}
sed -i 's/interface = {"s0"}//' "$CONFIG"
echo 'service "new" { listen = {"[::]:445"} user = "nobody" }' >>"$CONFIG"
check "a reload" reload
is "takes XDP off an interface" "$(grep 's0:' "$DAEMON_LOG" | tail -1)" "cidsteerd: s0: detached"
check "really" eval '! ip -n server link show s0 | grep -q xdp'
worker_does_all new new 445
stop_worker new
cp "$WORK/all.conf" "$CONFIG"
check "a reload that takes a service away" reload
check "and attaches again" logged "s0: attached, native"
is "what is attached is what is pinned" "$(programs | sed -n 1p)" "$(programs | sed -n 2p)"
for name in a b; do
	stop_worker $name
done

# ---- another table --------------------------------------------------------------------------
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
check "after an upgrade it says that it stays" version "$SECOND"
like "and why" "$(grep 's0: program' "$DAEMON_LOG" | grep -v 'at the XDP hook' | tail -1)" \
	"^cidsteerd: s0: program [0-9]+ stays: whether it is of another version of cidsteer only CAP_SYS_ADMIN may see: "
sed -i 's/interface = {"s0"}//' "$CONFIG"
check "a configuration without the interface" reload
like "leaves it too" "$(grep 's0:' "$DAEMON_LOG" | tail -1)" \
	"^cidsteerd: s0: program [0-9]+ stays at the XDP hook: whose it is only CAP_SYS_ADMIN may see: cidsteer detach s0, as root$"
stop_daemon
ip -n server link set s0 xdpdrv off

# ---- what root has attached -----------------------------------------------------------------
claims=("a program that root has attached is known" "and replaced by that of another version")
version "$real"
if cidsteer attach s0 | grep -q ' alone: '; then
	sed -i '/"h3"/s/user/interface = {"s0"} user/' "$CONFIG"
	lines=$(grep -c 's0:' "$DAEMON_LOG")
	version "$real"
	is "${claims[0]}" "$(grep -c 's0:' "$DAEMON_LOG")" "$lines"
	version "$SECOND"
	is "${claims[1]}" "$(grep 's0:' "$DAEMON_LOG" | tail -1)" "cidsteerd: s0: program replaced"
	stop_daemon
else
	skip "it is behind libxdp's dispatcher here" "${claims[@]}"
	cidsteer detach s0
	stop_daemon
fi
like "without CAP_NET_ADMIN nobody attaches" \
	"$(ip -n server link set s0 xdpdrv off; in_ns server setpriv --bounding-set="-all$(without CAP_NET_ADMIN)" \
		"$real/cidsteer" --bpffs "$BPFFS" attach s0 2>&1)" \
	"^cidsteer: attach: s0: not permitted: this process lacks CAP_NET_ADMIN: see cidsteerd\(8\)$"

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
pins()
{
	find "$BPFFS" | sort
	programs
}
before=$(pins)
for name in $needed; do
	PRIVILEGES="--bounding-set=-all$(without "$name")"
	says "without $name it does not adopt" \
		"cidsteerd: the programs of this version: not permitted: this process lacks $name: see cidsteerd\(8\)"
done
is "and changes nothing" "$(pins)" "$before"
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
	is "strace: what was refused at last is the table's" "${refused:0:${#call}}" "$call"
	like "with that errno" "$refused" " = -1 (${errno// or /|}) "
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

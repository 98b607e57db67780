#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# The unit as it is installed, started by a systemd that is process 1 of its own namespaces: the
# sandbox takes nothing from the daemon that it needs.
#
#   client                    server
#  .------. 10.9.1.0/24      .------.
#  | c0 .2|------------------|.1 s0 |  XDP here; systemd, cidsteerd.service, worker of nobody
#  '------' fd09:1::/64      '------'
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

SYSTEMD=/lib/systemd/systemd
GUEST=/run/guest
BOOT=
CGROUP=

# A cgroup outlives who is in it, however that ends: those that nobody is in any more go first.
remove_cgroups()
{
	find "$WORK/cgroup" -mindepth 1 -depth -type d -path "$WORK/cgroup/cidsteer-selftest-*" \
		-exec rmdir {} + 2>/dev/null
	true
}

# The machine's own root, with changes that go to /run, and the unit in it.
make_guest()
{
	local units=$GUEST/etc/systemd/system

	mkdir "$GUEST" "$GUEST.upper" "$GUEST.work" "$WORK/cgroup"
	mount -t overlay -o "lowerdir=/,upperdir=$GUEST.upper,workdir=$GUEST.work" guest "$GUEST" ||
		skip_all "no overlay of / on this machine"
	mount -t cgroup2 cgroup "$WORK/cgroup" || skip_all "no second mount of cgroup2"
	remove_cgroups
	CGROUP=$WORK/cgroup/cidsteer-selftest-$(readlink /proc/self/ns/pid | tr -dc 0-9)
	mkdir "$CGROUP" || skip_all "no cgroup can be made"
	make -s -C "$TOP" B="$BUILD" install "DESTDIR=$GUEST" PREFIX=/usr/local >/dev/null ||
		bail "make install"
	# Nothing of the machine's own is started: the guest shares its kernel.
	rm -rf "$GUEST"/{etc,usr/lib}/systemd/system/*.{wants,requires} "$GUEST/etc/fstab"
	printf '[Unit]\nDefaultDependencies=no\n' >"$units/sysinit.target"
	printf '[Unit]\nDefaultDependencies=no\nRequires=systemd-journald.service\n' >"$units/guest.target"
	cp "$CONFIG" "$GUEST/etc/cidsteer.conf"
}

# What becomes process 1.  Its /proc/sys is read-only, its /dev has nothing of the machine's.
cat >"$WORK/boot" <<END
set -e
mount --make-rprivate /
mount -t proc proc $GUEST/proc
mount --bind $GUEST/proc/sys $GUEST/proc/sys
mount -o remount,bind,ro $GUEST/proc/sys
mount -t sysfs sysfs $GUEST/sys
mount -t cgroup2 cgroup $GUEST/sys/fs/cgroup
mount --bind /sys/fs/bpf $GUEST/sys/fs/bpf
mount -t tmpfs -o mode=755 run $GUEST/run
mkdir $GUEST/run/selftest
mount --bind $WORK $GUEST/run/selftest
mount -t tmpfs -o mode=755 dev $GUEST/dev
for node in null:3 zero:5 full:7 random:8 urandom:9; do
	mknod -m 666 $GUEST/dev/\${node%:*} c 1 \${node#*:}
done
mkdir $GUEST/dev/pts $GUEST/dev/shm $GUEST/dev/mqueue $GUEST/dev/hugepages
mount -t devpts -o newinstance,ptmxmode=666 devpts $GUEST/dev/pts
ln -s pts/ptmx $GUEST/dev/ptmx
mkdir $GUEST/machine
cd $GUEST
pivot_root . machine
umount -l machine
exec env -i container=selftest PATH=/usr/sbin:/usr/bin:/sbin:/bin $SYSTEMD --system \
	--unit=guest.target --log-target=journal --show-status=no
END

# boot: returns when the guest has come up; $INIT is its process 1 as seen from here.
boot()
{
	(echo 0 >"$CGROUP/cgroup.procs" && exec_in_ns server unshare --mount --pid --fork --uts --ipc \
		--cgroup --kill-child bash "$WORK/boot" >"$WORK/boot.log" 2>&1 </dev/null) &
	BOOT=$!
	wait_for eval 'INIT=$(pgrep -x systemd)' && wait_for in_guest systemctl is-active guest.target
}

shut_down()
{
	[ -z "$INIT" ] || kill -KILL "$INIT"
	wait "$BOOT" 2>/dev/null
	wait_for eval '! grep -q "populated 1" "$CGROUP/cgroup.events"'
	remove_cgroups
}

# main_pid UNIT: as the guest sees it.
main_pid()
{
	in_guest systemctl show --property=MainPID --value "$1"
}

# kill_there PID: SIGKILL in the guest; never to 0, which is this script's own group.
kill_there()
{
	[ "${1:-0}" -gt 1 ] && in_guest kill -KILL "$1"
}

in_guest()
{
	nsenter --target "$INIT" --mount --net --uts --ipc --pid --cgroup --root --wd=/ -- "$@"
}

# Workers are started there: see start_worker.
exec_in_ns()
{
	local name=$1
	shift
	if [ "$name" = guest ]; then
		exec nsenter --target "$INIT" --mount --net --uts --ipc --pid --cgroup --root --wd=/ -- "$@"
	fi
	exec nsenter --net="/run/netns/$name" -- "$@"
}

journal()
{
	in_guest journalctl --no-pager --output=cat --unit=cidsteerd
}

# unit_is PROPERTY VALUE [UNIT]
unit_is()
{
	[ "$(in_guest systemctl show --property="$1" --value "${3:-cidsteerd}")" = "$2" ]
}

systemctl_says()
{
	in_guest timeout 30 systemctl "$@" || {
		in_guest journalctl --no-pager --output=cat | tail -20
		return 1
	}
}

# ---- a machine in the machine ---------------------------------------------------------------
[ -x "$SYSTEMD" ] || skip_all "there is no $SYSTEMD"
topology_pair
configure <<END
service "h3"  { listen = {"[::]:443"} interface = {"s0"} user = "nobody" }
service "msg" { listen = {"[::]:444"} user = "nobody" shared_table = no }
END
install -m 755 "$TOOLS/worker" "$WORK"
TOOLS_HERE=$TOOLS
TOOLS=$WORK
make_guest
trap 'shut_down; bail "interrupted"' INT TERM
INIT=
boot || {
	diag "$(cat "$WORK/boot.log")"
	shut_down
	skip_all "systemd does not come up in namespaces"
}

# ---- the unit -------------------------------------------------------------------------------
check "systemctl enable --now cidsteerd" systemctl_says enable --now cidsteerd || {
	shut_down
	bail "the unit does not start: nothing below could be seen"
}
check "the unit is active" unit_is ActiveState active
check "its status is the daemon's line" unit_is StatusText \
	"2 services, workers register at $CONTROL, pins in $BPFFS"
main=$(main_pid cidsteerd)
is "its capabilities are three, and those of none else" \
	"$(in_guest grep -E '^Cap(Prm|Eff|Bnd|Amb|Inh)' "/proc/$main/status" | awk '{ print $2 }' | xargs)" \
	"0000000000000000 000000c000001000 000000c000001000 000000c000001000 0000000000000000"
is "seccomp, no new privileges" \
	"$(in_guest sed -nE 's/^(Seccomp|NoNewPrivs):\s*//p' "/proc/$main/status" | xargs)" "1 2"
is "as many descriptors as the unit says, or as systemd may give" \
	"$(in_guest awk '/^Max open files/ { print $4, $5 }' "/proc/$main/limits")" \
	"$(in_guest awk '/^Max open files/ { most = $5 < 65536 ? $5 : 65536; print most, most }' /proc/1/limits)"
check "pins made inside are there outside" test -e "$BPFFS/cs_abi"
check "in a bpffs that is read-only inside but for them" eval \
	'in_guest grep -q " / /sys/fs/bpf ro," "/proc/$main/mountinfo" &&
	 in_guest grep -q " /cidsteer /sys/fs/bpf/cidsteer rw," "/proc/$main/mountinfo"'
like "native XDP is on the veth" "$(ip -n server -d link show s0)" "prog/xdp id [0-9]+ name cs_xdp"
is "the socket is everybody's to connect to" \
	"$(in_guest stat -c '%U %a' "${CONTROL%/*}" "$CONTROL" | xargs)" "root 755 root 666"

# works NAME SERVICE PORT: a worker of nobody gets what it issues.
works()
{
	local ids

	check "a worker of nobody registers in $2" \
		start_worker "$1" --service "$2" --user nobody --listen "[::]:$3"
	ids=$(ask "$1" random 10)
	reset "$1"
	TOOLS=$TOOLS_HERE send client --to "10.9.1.1:$3" --ports 10 --count 100 ${ids#cids } >/dev/null
	arrived 1000 "$1"
	is "and is routed to" "$(count "$1" own)" 1000
}
DAEMON_NS=guest
works h3 h3 443
works msg msg 444

# ---- reload ---------------------------------------------------------------------------------
main=$(main_pid cidsteerd)
echo 'service "new" { listen = {"[::]:445"} user = "nobody" }' >>"$GUEST/etc/cidsteer.conf"
check "systemctl reload" systemctl_says reload cidsteerd
check "has read the configuration when it returns" unit_is StatusText \
	"3 services, workers register at $CONTROL, pins in $BPFFS"
works new new 445
echo 'servise' >>"$GUEST/etc/cidsteer.conf"
check "with a mistake it fails" eval '! in_guest timeout 30 systemctl reload cidsteerd'
like "the unit's log has the line" "$(journal)" \
	"^cidsteer: reload: /etc/cidsteer.conf:4: "
check "and the daemon goes on as it was" eval 'unit_is ActiveState active && unit_is MainPID "$main"'
sed -i '$d' "$GUEST/etc/cidsteer.conf"

# ---- a server that is a unit ----------------------------------------------------------------
mkfifo "$WORK/server.in"
cat >"$GUEST/etc/systemd/system/server.service" <<END
[Unit]
DefaultDependencies=no
Wants=cidsteerd.service
After=cidsteerd.service

[Service]
ExecStart=sh -c 'exec $WORK/worker --control $CONTROL --service h3 --user nobody --listen [::]:443 <>$WORK/server.in'
END
check "a server that wants the unit starts" systemctl_says start server
check "and registers" wait_for eval 'journal | grep -q " worker 4 registered"'
server=$(main_pid server)

# ---- restart, death, end --------------------------------------------------------------------
check "systemctl restart" systemctl_says restart cidsteerd
is "adopts all four" "$(journal | grep -c ' goes on$')" 4
works late h3 443
{
	kill_there "$(journal | sed -n 's/.* worker 5 registered (pid \([0-9]*\),.*/\1/p')"
	wait "${worker_pid[late]}"
} 2>/dev/null # or bash says that it was killed
check "who dies is reaped" wait_for eval 'journal | grep -q "h3: worker 5 .* is gone, 10 routes removed"'
main=$(main_pid cidsteerd)
kill_there "$main"
check "a daemon that is killed is started again" wait_for eval \
	'unit_is ActiveState active && ! unit_is MainPID "$main"'
wait_for eval '[ "$(journal | grep -c " goes on$")" = 8 ]'
is "and adopts all four" "$(journal | grep -c ' goes on$')" 8
check "a server in a unit of its own has seen nothing of it" eval \
	'unit_is ActiveState active server && unit_is MainPID "$server" server'
is "the kernel has refused it nothing that it says" "$(journal | grep -ciE 'not permitted|denied|read-only')" 0
check "systemctl stop" systemctl_says stop cidsteerd
check "ends it well" unit_is Result success
check "and the data path stays" test -e "$BPFFS/cs_abi"
check "so does the server" unit_is MainPID "$server" server

# ---- network namespaces ---------------------------------------------------------------------
in_guest ip netns add red || bail "a namespace in the guest"
echo 'service "red" { netns = "red" listen = {"[::]:443"} }' >>"$GUEST/etc/cidsteer.conf"
check "with netns the unit as it is does not start" eval '! in_guest timeout 30 systemctl start cidsteerd'
check "and says why" wait_for eval 'journal | grep -q "network namespace red: entering it needs CAP_SYS_ADMIN"'
drop_in=$(sed -n '/^    \[Service\]$/,/^$/s/^    //p' "$TOP/docs/privileges.md")
like "docs/privileges.md has a drop-in" "$drop_in" "^CapabilityBoundingSet="
mkdir "$GUEST/etc/systemd/system/cidsteerd.service.d"
echo "$drop_in" >"$GUEST/etc/systemd/system/cidsteerd.service.d/netns.conf"
in_guest systemctl daemon-reload
in_guest systemctl stop cidsteerd
in_guest systemctl reset-failed cidsteerd
check "with that it starts" systemctl_says start cidsteerd
check "and has a program for it" test -e "$BPFFS/xdp-red"
in_guest ip netns add blue
echo 'service "blue" { netns = "blue" listen = {"[::]:443"} }' >>"$GUEST/etc/cidsteer.conf"
check "one that is made later is seen behind PrivateMounts" systemctl_says reload cidsteerd
check "and has its own" test -e "$BPFFS/xdp-blue"
in_guest ip netns del blue
check "when it goes the daemon leaves it" wait_for eval 'journal | grep -q "network namespace blue is gone"'
check "systemctl stop, again" systemctl_says stop cidsteerd
for name in h3 msg new; do
	stop_worker $name
done
forget_worker late
shut_down
done_testing

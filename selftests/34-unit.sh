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

claim="the unit under systemd as process 1"
SYSTEMD=/lib/systemd/systemd
GUEST=/run/guest
BOOT=
CGROUP=

# not_here REASON: what cannot be shown on this machine.
not_here()
{
	skip "$1" "$claim"
	done_testing
}

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
		not_here "no overlay of / on this machine"
	mount -t cgroup2 cgroup "$WORK/cgroup" || not_here "no second mount of cgroup2"
	remove_cgroups
	CGROUP=$WORK/cgroup/cidsteer-selftest-$(readlink /proc/self/ns/pid | tr -dc 0-9)
	mkdir "$CGROUP" || not_here "no cgroup can be made"
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

unit_is()
{
	[ "$(in_guest systemctl show --property="$1" --value cidsteerd)" = "$2" ]
}

systemctl_says()
{
	in_guest timeout 30 systemctl "$@" || {
		in_guest journalctl --no-pager --output=cat | tail -20
		return 1
	}
}

# ---- a machine in the machine ---------------------------------------------------------------
[ -x "$SYSTEMD" ] || not_here "there is no $SYSTEMD"
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
	not_here "systemd does not come up in namespaces"
}

# ---- the unit -------------------------------------------------------------------------------
check "systemctl enable --now cidsteerd" systemctl_says enable --now cidsteerd
check "the unit is active" unit_is ActiveState active
check "its status is the daemon's line" unit_is StatusText \
	"2 services, workers register at $CONTROL, pins in $BPFFS"
main=$(in_guest systemctl show --property=MainPID --value cidsteerd)
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

# ---- restart, death, end --------------------------------------------------------------------
check "systemctl restart" systemctl_says restart cidsteerd
is "adopts both" "$(journal | grep -c ' goes on$')" 2
works late h3 443
in_guest kill -KILL "$(journal | sed -n 's/.* worker 3 registered (pid \([0-9]*\),.*/\1/p')"
check "who dies is reaped" wait_for eval 'journal | grep -q "h3: worker 3 .* is gone, 10 routes removed"'
main=$(in_guest systemctl show --property=MainPID --value cidsteerd)
in_guest kill -KILL "$main"
check "a daemon that is killed is started again" wait_for eval \
	'unit_is ActiveState active && ! unit_is MainPID "$main"'
is "and adopts both" "$(journal | grep -c ' goes on$')" 4
is "the kernel has refused it nothing that it says" "$(journal | grep -ciE 'not permitted|denied|read-only')" 0
check "systemctl stop" systemctl_says stop cidsteerd
check "ends it well" unit_is Result success
check "and the data path stays" test -e "$BPFFS/cs_abi"
for name in h3 msg; do
	stop_worker $name
done
forget_worker late
shut_down
done_testing

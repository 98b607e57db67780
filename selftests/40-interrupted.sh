#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Ctrl-C, SIGTERM or SIGKILL in the middle of a test or of the demo leave nothing behind.
WORLD=shared
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

[ "$(id -u)" = 0 ] || bail "this needs root"

# shell_of GROUP: the shell of this process group that is process 1 of a script's own world.
shell_of()
{
	local pid

	for pid in $(pgrep -g "$1"); do
		awk '$1 == "NSpid:" && NF > 2 && $NF == 1 { found = 1 } END { exit !found }' \
			"/proc/$pid/status" 2>/dev/null && echo "$pid" && return
	done
	return 1
}

in_world_of()
{
	nsenter --target "$1" --mount --pid -- "${@:2}"
}

# belongings PID: programs, maps and namespaces of a script's world, as in the list of
# scripts/selftest: what is pinned, and the programs that use it.
belongings()
{
	local maps name

	maps=$(in_world_of "$1" bash -c 'for map in "$1"/cs_*; do bpftool map show pinned "$map"; done' \
		- "$BPFFS" | sed -n 's/^\([0-9]*\): \([a-z_]*\)  name \([^ ]*\).*/map \1 \2 \3/p')
	echo "$maps"
	bpftool prog show | awk -v maps="$(awk '{ print $2 }' <<<"$maps" | xargs)" '
		BEGIN { split(maps, list, " "); for (i in list) ours[list[i]] = 1 }
		/^[0-9]+:/ { id = $1; sub(":", "", id); type = $2; name = $4 }
		match($0, /map_ids [0-9,]+/) {
			count = split(substr($0, RSTART + 8, RLENGTH - 8), used, ",")
			for (i = 1; i <= count; i++)
				if (used[i] in ours) { print "prog " id " " type " " name; break }
		}'
	for name in net mnt; do
		stat -L -c "${name}ns %i" "/proc/$1/ns/$name"
	done
	in_world_of "$1" sh -c 'stat -c "netns %i" /run/netns/* 2>/dev/null'
}

# processes_in PID-NAMESPACE
processes_in()
{
	local pid

	for pid in /proc/[0-9]*; do
		[ "$(readlink "$pid/ns/pid" 2>/dev/null)" != "$1" ] || tr '\0' ' ' <"$pid/cmdline"
	done
}

none_is_left()
{
	! "$TOP/scripts/selftest" --list | grep -Fx -f "$WORK/belongings" && [ -z "$(processes_in "$pidns")" ]
}

# cs_abi is pinned last.
is_loaded()
{
	inner=$(shell_of "$victim") && in_world_of "$inner" test -e "$BPFFS/cs_abi" && has_said "$1"
}

has_network()
{
	inner=$(shell_of "$victim") && [ -n "$(in_world_of "$inner" ls /run/netns)" ] && has_said "$1"
}

has_said()
{
	[ "$(wc -l <"$WORK/out")" -ge "$1" ]
}

# interrupt CLAIM SIGNAL TARGET STATE LINES COMMAND...: starts a script as a terminal does, in a
# process group of its own, and ends it when it is in that STATE (is_loaded, has_network) and has
# said so many lines.  TARGET group or leader.
interrupt()
{
	local claim=$1 signal=$2 target=$3 state=$4 lines=$5 status kinds="prog map netns mntns"
	shift 5

	[ "$state" = is_loaded ] || kinds="netns mntns"
	: >"$WORK/out"
	set -m # so that the shell does not have SIGINT ignored in what it starts
	env -u CIDSTEER_OUTSIDE --default-signal=INT "$@" >"$WORK/out" 2>&1 </dev/null &
	victim=$!
	set +m
	if ! PATIENCE=60 wait_for "$state" "$lines"; then
		kill -9 -- "-$victim"
		flunk "$claim: it runs" "$(tail -5 "$WORK/out")"
		return
	fi
	# Not to be overtaken while looking.
	kill -s STOP -- "-$victim"
	pidns=$(readlink "/proc/$inner/ns/pid")
	belongings "$inner" 2>/dev/null | sort -u >"$WORK/belongings"
	is "$claim: it has $kinds" \
		"$(for kind in $kinds; do grep -o "^$kind" "$WORK/belongings" | head -1; done | xargs)" \
		"$kinds"
	[ "$target" != group ] || target=-
	kill -s "$signal" -- "${target%leader}$victim"
	kill -s CONT -- "-$victim" 2>/dev/null
	# bash(1) may lose a signal that comes while its child ends: whoever pressed Ctrl-C does so again.
	for _ in 1 2 3; do
		! PATIENCE=10 wait_for has_ended "$victim" || break
		diag "" "$claim: once more" >&2
		kill -s "$signal" -- "${target%leader}$victim"
	done
	# A shell that waits for a job says how the job ended.
	wait "$victim" 2>/dev/null
	status=$?
	check "$claim: it fails ($status)" test "$status" -ge 1
	check "$claim: nothing of that is left" wait_for none_is_left
}

# The shell has not waited for it: a zombie has ended.
has_ended()
{
	[ ! -e "/proc/$1" ] || [ "$(awk '{ print $3 }' "/proc/$1/stat")" = Z ]
}

here=$TOP/selftests
"$TOP/scripts/selftest" --list >"$WORK/before"
interrupt "Ctrl-C in 10-routing" INT group is_loaded 8 "$here/10-routing.sh"
interrupt "Ctrl-C in 12-worker-life" INT group is_loaded 12 "$here/12-worker-life.sh"
interrupt "SIGTERM in 16-status" TERM group is_loaded 6 "$here/16-status.sh"
interrupt "SIGKILL of 10-routing" KILL leader is_loaded 8 "$here/10-routing.sh"
if [ ! -x "$TOP/scripts/demo" ]; then
	skip "there is no scripts/demo" "Ctrl-C in the demo"
elif [ ! -x "$BUILD/h3server" ]; then
	skip "$BUILD/h3server is not built" "Ctrl-C in the demo"
else
	interrupt "Ctrl-C in the demo" INT group has_network 1 "$TOP/scripts/demo"
fi

# ---- and of nothing else --------------------------------------------------------------------
claim="programs, maps, links, namespaces, mounts, pins, processes and settings are as before"
if "$TOP/scripts/selftest" --compare "$WORK/before" >"$WORK/difference"; then
	pass "$claim"
elif [ -n "${SHARED:-}" ]; then
	skip "others use this machine, and something came or went" "$claim"
	diag "$(head -20 "$WORK/difference")"
else
	flunk "$claim" "$(cat "$WORK/difference")"
fi
done_testing

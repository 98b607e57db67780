#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# What issue and retire cost, and when they take effect: no system call, and at once.
# CALLS and LOOKUPS change how often each is tried.
. "$(dirname "$0")/lib.sh"

CALLS=${CALLS:-1000000}
LOOKUPS=${LOOKUPS:-100000}

configure <<END
service "h3"  { listen = {"127.0.0.1:443"} }
service "msg" { listen = {"127.0.0.1:444"} shared_table = no }
END
check "the daemon starts" start_daemon

# ---- system calls ---------------------------------------------------------------------------
# start_traced NAME ARGUMENTS...: as start_worker; $WORK/NAME.calls says at its end what it called.
start_traced()
{
	mkdir -p "$WORK/traced"
	cat >"$WORK/traced/worker" <<-END
		#!/bin/sh
		exec strace -f -c -U calls,name -o "$WORK/$1.calls" "$TOOLS/worker" "\$@"
	END
	chmod +x "$WORK/traced/worker"
	TOOLS=$WORK/traced start_worker "$@"
}

# calls NAME [CALL]: how many it made of one kind, or all together.
calls()
{
	awk -v name="${2:-total}" '$2 == name { calls = $1 } END { print calls + 0 }' "$WORK/$1.calls"
}

# fewer NAME NUMBER: than so many.
fewer()
{
	local made

	made=$(calls "$1")
	[ "$made" -gt 0 ] && [ "$made" -lt "$2" ] && return
	cat "$WORK/$1.calls"
	return 1
}

if ! why=$(strace -c -o /dev/null true 2>&1); then
	skip "strace: $why" "system calls are counted"
else
	check "a worker runs under strace" start_traced shared --service h3 --listen 127.0.0.1:443
	is "it issues and retires $CALLS IDs" "$(PATIENCE=120 ask shared bulk "$CALLS")" \
		"bulk $CALLS errors 0"
	stop_worker shared
	# Most of them are the dynamic linker's.
	check "with fewer than 1,000 system calls in the whole process" fewer shared 1000
	diag "$(calls shared) system calls for $CALLS IDs issued and retired"
	is "of which one told the daemon: it was sent its sockets" "$(calls shared sendmsg)" 1

	# The same calls by message are seen by strace: what it does not see was not there.
	check "in a service with shared_table = no" \
		start_traced message --service msg --listen 127.0.0.1:444
	is "1,000 IDs" "$(PATIENCE=120 ask message bulk 1000)" "bulk 1000 errors 0"
	stop_worker message
	is "are 1,000 messages, one for REGISTER, one for the last retire" \
		"$(calls message sendmsg)" 1002
fi

# ---- at once --------------------------------------------------------------------------------
[ -x "$TOOLS/prompt" ] || bail "$TOOLS/prompt is not built: make selftest"
prompt()
{
	"$TOOLS/prompt" --control "$CONTROL" --explain "$BPFFS/explain" --count "$LOOKUPS" "$@" 2>&1
}
# still_busy NAME: it has not answered yet.
still_busy()
{
	! read -r -t 0.01 -u "${worker_out[$1]}" && kill -0 "${worker_pid[$1]}"
}
nothing_missed="looked up $((2 * LOOKUPS)), errors 0, missed 0, stale 0"
is "a look-up in the kernel right after issue and after retire, $LOOKUPS times each, misses 0" \
	"$(prompt --service h3 --listen 127.0.0.1:443)" "$nothing_missed"

# Others write the same table meanwhile: it is half full, and has routes that come and go.
start_worker others --service h3 --listen 127.0.0.1:443 --handles 2
ask others fill 80000 >/dev/null
echo "threads 200000000" >&"${worker_in[others]}"
is "the same while two others issue and retire as fast as they can" \
	"$(prompt --service h3 --listen 127.0.0.1:443)" "$nothing_missed"
check "who were at it all the time" still_busy others
kill_worker others
is "by message issue is as prompt; a retire waits for what is sent next" \
	"$(prompt --service msg --listen 127.0.0.1:444)" \
	"${nothing_missed/stale 0/stale $LOOKUPS}"
done_testing

#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# What the daemon tells a service manager, and when.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

configure <<END
service "h3"  { listen = {"127.0.0.1:443"} }
service "dns" { listen = {"127.0.0.1:853"} }
END

# A service manager: for each notification a line, with what is there when it comes.  "early" is
# what the daemon has promised and does not keep.
cat >"$WORK/manager.py" <<'END'
import os, socket, struct, sys

path, control_path, pin, version = sys.argv[1:]
manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
manager.bind(path)

def answers():
    """A message of a type that there is not is refused by name."""
    control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    control.settimeout(10)
    try:
        control.connect(control_path)
        control.send(struct.pack("<IHHII", 0x43534354, int(version), 999, 16, 1))
        return b"unknown type 999" in control.recv(4096)
    except OSError as error:
        return f"{error}"

print("listening", flush=True)
while True:
    said = manager.recv(4096).decode().splitlines()
    if "READY=1" in said:
        state = f"pinned={os.path.exists(pin)}"
        state += f" answers={answers()}"
    else:
        state = f"socket={os.path.exists(control_path)}"
    print(*said, state, sep="|", flush=True)
END
"$PYTHON" "$WORK/manager.py" "$WORK/notify" "$CONTROL" "$BPFFS/cs_abi" "$PROTOCOL" >"$WORK/heard" 2>&1 &
manager=$!
wait_for grep -q listening "$WORK/heard" || bail "$(cat "$WORK/heard")"
export NOTIFY_SOCKET=$WORK/notify

# heard NUMBER: so many notifications have come.
heard()
{
	wait_for eval '[ "$(wc -l <"$WORK/heard")" -gt '"$1"' ]'
	sed -n "$(($1 + 1))p" "$WORK/heard"
}

check "the daemon starts" start_daemon
is "READY=1 comes when the pins are there and the socket answers, with one line of status" \
	"$(heard 1)" \
	"READY=1|STATUS=2 services, workers register at $CONTROL, pins in $BPFFS|pinned=True answers=True"
echo 'service "new" { listen = {"127.0.0.1:854"} }' >>"$CONFIG"
kill -HUP "$DAEMON_PID"
like "after a reload the status is another" "$(heard 2)" "^STATUS=3 services, [^|]*\|socket=True$"
stop_daemon
like "STOPPING=1 when it ends" "$(heard 3)" "^STOPPING=1\|"
check "a daemon that adopts" start_daemon
like "says READY=1 too" "$(heard 4)" "^READY=1\|.*\|pinned=True answers=True$"
stop_daemon
heard 5 >/dev/null
sed -i 's/listen/lisen/' "$CONFIG"
check "one that cannot start" eval '! start_daemon'
unset NOTIFY_SOCKET
sed -i 's/lisen/listen/' "$CONFIG"
check "and one without NOTIFY_SOCKET, which starts" start_daemon
stop_daemon
kill $manager
wait $manager 2>/dev/null
is "say nothing" "$(wc -l <"$WORK/heard")" 6
done_testing

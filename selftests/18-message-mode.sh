#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Beside others.
# shared_table = no: the same calls, by message, in order; a worker cannot touch another's routes.
# All on loopback.  msg goes by message, h3 is a shared table to compare with.
. "$(dirname "$0")/lib.sh"

configure <<END
service "msg" { listen = {"127.0.0.1:444"} shared_table = no user = "nobody" max_cids = 1000 }
service "few" { listen = {"127.0.0.1:445"} shared_table = no max_cids = 16 }
service "h3"  { listen = {"127.0.0.1:443"} }
END
check "the daemon starts" start_daemon
msg="--service msg --listen 127.0.0.1:444 --user nobody"

# routes NAME [PID]: of a worker, as the daemon counts them; PID if it knows another one.
routes()
{
	cidsteer workers | awk -v pid="${2:-${worker_pid[$1]}}" '$4 == pid { print $6 }'
}

# got NUMBER NAME...: packets of each, when so many have come together.
got()
{
	local name
	arrived "$@"
	shift
	for name; do
		count "$name"
	done | xargs
}

# holds NAME: what a worker has of the tables: descriptors and mappings.
holds()
{
	local pid=${worker_pid[$1]}
	echo "$(find "/proc/$pid/fd" -lname '*bpf*' | wc -l) descriptors," \
		"$(grep -c bpf "/proc/$pid/maps") mappings"
}

# ---- the same calls -------------------------------------------------------------------------
# shellcheck disable=SC2086 # lists of options and of IDs, throughout
{
	check "worker a registers" start_worker a $msg
	check "and worker b" start_worker b $msg
	start_worker s --service h3 --listen 127.0.0.1:443
}
is "neither has a table or usage lines" "$(holds a), $(holds b)" \
	"0 descriptors, 0 mappings, 0 descriptors, 0 mappings"
is "as a worker has whose table is shared" "$(holds s)" "0 descriptors, 2 mappings"

x=0505050505050505
is "issue: once, twice, by another; another ID; of a wrong length" \
	"$(ask a issue $x) $(ask a issue $x) $(ask b issue $x) $(ask b issue 0606060606060606) $(ask b issue 0606)" \
	"ok EEXIST EEXIST ok EINVAL"
is "a stray is an ID that has a route" "$(ask a stray 0606060606060606) $(ask a stray 0707070707070707)" \
	"1 ok"
is "retire is batched, and does not say whose it was" "$(ask b retire $x) $(ask b retire 0909090909090909)" \
	"ok ok"
is "what is sent behind it finds it done: the other's route is there" "$(ask b issue $x)" EEXIST
is "retire, and issue by another" \
	"$(ask a retire $x) $(wait_for eval '[ "$(routes a)" = 0 ]' && ask b issue $x)" "ok ok"
is "path changes are counted" "$(ask a path) $(ask a path) $(wait_for eval 'cidsteer status | grep -q "2 path changes"' && echo 2)" "ok ok 2"
start_worker f --service few --listen 127.0.0.1:445
is "provisional IDs have their share: max_cids / 8" \
	"$(ask f provisional 01) $(ask f provisional 02) $(ask f provisional 03)" "ok ok EDQUOT"
is "retired, there is room" \
	"$(ask f retire 01) $(wait_for eval '[ "$(routes f)" = 1 ]' && ask f provisional 03)" "ok ok"
stop_worker f
is "a full table is -ENOSPC" "$(ask a fill 3000 | sed 's/issued [0-9]* refused [1-9][0-9]*/refused/')" refused
is "drain" "$(ask b drain) $(cidsteer workers | awk '$1 == 2 { print $5 }')" "ok draining"
is "in a child each call says -ECHILD" "$(ask a fork)" \
	"issue=ECHILD provisional=ECHILD retire=ECHILD stray=ECHILD path=ECHILD drain=ECHILD xsks=ECHILD dispatch=ECHILD closed"
stop_worker a
stop_worker b
wait_for eval '[ "$(cidsteer workers | wc -l)" = 2 ]'
check "when they leave, the table is empty" logged "msg: worker 2 \(pid [0-9]+\) is gone, 2 routes removed"

# ---- packets --------------------------------------------------------------------------------
# shellcheck disable=SC2086
{
	start_worker a $msg
	start_worker b $msg
	ids_a=$(ask a random 10)
	ids_a=${ids_a#cids }
	ids_b=$(ask b random 10)
	ids_b=${ids_b#cids }
	send - --to 127.0.0.1:444 --ports 20 --count 40 $ids_a $ids_b >/dev/null
}
is "each of 800 packets reaches who issued its ID" "$(got 800 a b) $(count a own) $(count b own)" \
	"400 400 400 400"

# ---- messages -------------------------------------------------------------------------------
# Between worker and daemon, it writes down each message and forwards it with its descriptors.
cat >"$WORK/relay.py" <<'END'
import os, select, socket, struct, sys

TYPES = ["?", "REGISTER", "REGISTERED", "REFUSED", "DRAIN", "DONE", "WRITE", "WRITTEN", "READY",
         "STATE", "COMMAND"]
KINDS = ["?", "issue", "provisional", "retire", "stray", "path"]
path, control, log = sys.argv[1:]


def describe(arrow, data, fds):
    magic, version, kind, size, serial = struct.unpack_from("=IHHII", data)
    line = f"{arrow} {TYPES[kind]} {serial}"
    if kind == 6:
        count, = struct.unpack_from("=I", data, 16)
        for i in range(count):
            what, length = struct.unpack_from("=BB", data, 24 + 24 * i)
            line += f" {KINDS[what]}:{data[28 + 24 * i:28 + 24 * i + length].hex()}"
    if kind == 7:
        count, = struct.unpack_from("=I", data, 16)
        line += "".join(f" {result}" for result in struct.unpack_from(f"={count}i", data, 24))
    if kind == 2:
        line += f" key={data[16:32].hex()}"
    print(line, "fds", len(fds), file=log, flush=True)


def forward(source, to, arrow):
    data, fds, _, _ = socket.recv_fds(source, 4096, 32)
    if not data:
        return False
    describe(arrow, data, fds)
    socket.send_fds(to, [data], fds)
    for fd in fds:
        os.close(fd)
    return True


listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
listener.bind(path)
listener.listen()
log = open(log, "a")
while True:
    worker, _ = listener.accept()
    daemon = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    daemon.connect(control)
    open_both = True
    while open_both:
        for ready in select.select([worker, daemon], [], [])[0]:
            if ready is worker:
                open_both = open_both and forward(worker, daemon, "->")
            else:
                open_both = open_both and forward(daemon, worker, "<-")
    worker.close()
    daemon.close()
    print("closed", file=log, flush=True)
END
python3 "$WORK/relay.py" "$WORK/relay.sock" "$CONTROL" "$WORK/messages" &
# shellcheck disable=SC2034 # wait_for uses it
relay=$!
wait_for test -S "$WORK/relay.sock"

# messages: what the last commands have caused; forgets it.  All WRITEs are answered.
messages()
{
	wait_for eval '[ "$(grep -c WRITE\  "$WORK/messages")" = "$(grep -c WRITTEN "$WORK/messages")" ]'
	cat "$WORK/messages"
	: >"$WORK/messages"
}

# The relay is whom the daemon sees: root.
CONTROL=$WORK/relay.sock start_worker r --service msg --listen 127.0.0.1:444
seen=$(messages)
like "REGISTERED has no key and comes without descriptors" "$seen" \
	"^<- REGISTERED 1 key=0{32} fds 0$"

ask r issue 1111111111111111 >/dev/null
ask r issue 1111111111111111 >/dev/null
is "each issue is a message and its answer" "$(messages)" \
	"-> WRITE 2 issue:1111111111111111 fds 0
<- WRITTEN 2 0 fds 0
-> WRITE 3 issue:1111111111111111 fds 0
<- WRITTEN 3 -17 fds 0"
ask r random 149 >/dev/null
: >"$WORK/messages"
is "150 IDs are retired" "$(ask r retire-all)" "retired 150 errors 0"
wait_for eval '[ "$(routes r "$relay")" = 0 ]'
seen=$(messages)
is "in messages of 64" "$(awk '$2 == "WRITE" { print NF - 5 }' <<<"$seen" | xargs)" "64 64 22"
is "all succeeded" "$(awk '$2 == "WRITTEN"' <<<"$seen" | sed 's/.*WRITTEN [0-9]*//; s/ fds 0//' | xargs -n 1 | sort | uniq -c | xargs)" "150 0"

: >"$WORK/messages"
ask r bulk 100 >/dev/null
wait_for eval '[ "$(routes r "$relay")" = 0 ]'
# in_order: each issue is behind the retire of the ID before it, in one message; one retire is
# left.  Each message is answered before the next one, with its serial.
in_order()
{
	awk '
		$2 == "WRITE" {
			serial = $3
			if (writes && writes != $3 - first) wrong = "serial " $3
			if (!writes++) first = $3
			if ((writes == 1 || writes == 101) != (NF == 6)) wrong = "fields of " $0
			if (writes > 1 && $4 != "retire:" id) wrong = "not the retire of " id ": " $0
			split($(writes == 1 ? 4 : 5), parts, ":")
			if (writes < 101 && parts[1] != "issue") wrong = "no issue: " $0
			id = parts[2]
		}
		$2 == "WRITTEN" && (++answers != writes || $3 != serial) { wrong = "answer " $0 }
		END {
			if (writes != 101 || answers != 101) wrong = writes " WRITEs, " answers " answers"
			print wrong
			exit wrong != ""
		}' "$WORK/messages"
}
check "100 times issue and retire: each retire goes before the next issue, in one message" in_order

# retire and issue of one ID in turn: out of order the issue would be refused.
in_turn()
{
	python3 - "$BUILD/libcidsteer.so" "$CONTROL" "$DAEMON_PID" <<-'END'
		import ctypes, os, signal, socket, sys
		lib = ctypes.CDLL(sys.argv[1])
		class Options(ctypes.Structure):
		    _fields_ = [("size", ctypes.c_size_t), ("control", ctypes.c_char_p),
		                ("generation", ctypes.c_uint32), ("timeout_ms", ctypes.c_uint32),
		                ("error", ctypes.c_char_p), ("error_size", ctypes.c_size_t)]
		udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
		udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
		udp.bind(("127.0.0.1", 444))
		handle, cid = ctypes.c_void_p(), bytes(range(8))
		options = Options(size=ctypes.sizeof(Options), control=sys.argv[2].encode())
		fds = (ctypes.c_int * 1)(udp.fileno())
		wrong = lib.cidsteer_open(ctypes.byref(handle), b"msg", fds, ctypes.c_size_t(1),
		                          ctypes.byref(options))
		for _ in range(1000):
		    wrong += lib.cidsteer_issue(handle, cid, ctypes.c_size_t(8)) != 0
		    wrong += lib.cidsteer_retire(handle, cid, ctypes.c_size_t(8)) != 0
		# The daemon comes to what is batched when the worker has left.
		os.kill(int(sys.argv[3]), signal.SIGSTOP)
		for _ in range(200):
		    wrong += lib.cidsteer_report_path_change(handle) != 0
		lib.cidsteer_close(handle)
		os.kill(int(sys.argv[3]), signal.SIGCONT)
		print(wrong, "wrong")
	END
}
is "1,000 times issue and retire of one ID" "$(in_turn)" "0 wrong"
check "close sends what is batched, all of it: 200 path changes, and the 2 of before" \
	wait_for eval 'cidsteer status | grep -q " 202 path changes"'
stop_worker r
wait_for eval '[ "$(cidsteer workers | wc -l)" = 4 ]'

# ---- a worker that does not use the library -------------------------------------------------
# It binds its socket as worker.c does, drops its privileges, and says what it likes.
mkdir -p "$WORK/raw"
cat >"$WORK/raw/worker" <<'END'
#!/usr/bin/env python3
import errno, os, pwd, select, socket, struct, sys

option = dict(zip(sys.argv[1::2], sys.argv[2::2]))
REGISTER, REGISTERED, REFUSED, DRAIN, DONE, WRITE, WRITTEN = range(1, 8)
KINDS = {"issue": 1, "provisional": 2, "retire": 3, "stray": 4, "path": 5}
serial = 0


def connect():
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.connect(option["--control"])
    return sock


def send(sock, kind, body=b"", fds=(), size=None):
    global serial
    serial += 1
    size = 16 + len(body) if size is None else size
    head = struct.pack("=IHHII", 0x43534354, int(os.environ["PROTOCOL"]), kind, size, serial)
    socket.send_fds(sock, [head + body], list(fds))


def hear(sock):
    """kind, body, number of descriptors; kind 0: the connection is closed"""
    sock.settimeout(5)
    try:
        data, fds, _, _ = socket.recv_fds(sock, 4096, 32)
    except ConnectionResetError:
        return 0, b"", 0
    if not data:
        return 0, b"", 0
    return struct.unpack_from("=IHH", data)[2], data[16:], len(fds)


def name(result):
    return "ok" if not result else errno.errorcode.get(-result, str(result))


def one(text):
    """KIND:CID, where a KIND may be a number and a CID of any length up to 20"""
    kind, _, cid = text.partition(":")
    cid = bytes.fromhex(cid)
    return struct.pack("=BBH20s", KINDS.get(kind) or int(kind), len(cid), 0, cid)


def written(sock):
    kind, body, _ = hear(sock)
    if kind == REFUSED:
        line = body[4:].split(b"\0")[0].decode()
        return f"refused {name(struct.unpack_from('=i', body)[0])} {line}" + \
            ", open" * (hear(sock)[0] != 0)
    if kind != WRITTEN:
        return f"message {kind}"
    count, = struct.unpack_from("=I", body)
    return " ".join(map(name, struct.unpack_from(f"={count}i", body, 8)))


def register(sock, fds):
    service = option["--service"].encode()
    send(sock, REGISTER, struct.pack("=16sIIIIII16s", service, 0, len(fds), 0, 0, 0, 0, b""), fds)
    return hear(sock)


def write(sock, writes, count=None):
    body = b"".join(map(one, writes))
    send(sock, WRITE, struct.pack("=II", len(writes) if count is None else count, 0) + body)


def flood(sock, cid):
    """Retires another's ID over and over, and reads no answer."""
    sock.setblocking(False)
    sent = 0
    try:
        while select.select([], [sock], [], 1)[1]:
            write(sock, [f"retire:{cid}"] * 64)
            sent += 1
    except BlockingIOError:
        return f"it waits after {sent > 0}"
    except (BrokenPipeError, ConnectionResetError):
        return "closed"
    return "it waits"


host, port = option["--listen"].split(":")
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
udp.bind((host, int(port)))
if "--user" in option:
    os.setgroups([])
    os.setgid(pwd.getpwnam(option["--user"]).pw_gid)
    os.setuid(pwd.getpwnam(option["--user"]).pw_uid)
control = connect()
kind, body, fds = register(control, [udp.fileno()])
key, worker, shared = body[:16], struct.unpack_from("=I", body, 16)[0], body[33]
print("ready", worker, f"key {'none' if key == bytes(16) else 'there'}, shared {shared}, fds {fds}",
      flush=True)
for line in sys.stdin:
    command, *arguments = line.split()
    if command == "write":
        write(control, arguments)
        print(written(control), flush=True)
    elif command == "count-says":
        write(control, arguments[1:], int(arguments[0]))
        print(written(control), flush=True)
    elif command == "again":
        send(control, REGISTER, struct.pack("=16sIIIIII", option["--service"].encode(), 0, 1, 0, 0, 0, 0),
             [udp.fileno()])
        print(written(control), flush=True)
    elif command == "stranger": # on a connection that has not registered
        sock = connect()
        write(sock, arguments)
        print(written(sock), flush=True)
    elif command == "flood":
        print(flood(control, arguments[0]), flush=True)
    elif command == "quit":
        print("ok", flush=True)
        break
END
chmod +x "$WORK/raw/worker"

# start_raw NAME ARGUMENTS...: as start_worker.
start_raw()
{
	TOOLS=$WORK/raw start_worker "$@"
}

# shellcheck disable=SC2086
start_raw x $msg
like "it is given no key, no table, no usage lines" "$answer" "^ready [0-9]+ key none, shared 0, fds 0$"
start_raw y --service h3 --listen 127.0.0.1:443
like "which a worker with a shared table is" "$answer" "^ready [0-9]+ key there, shared 1, fds 2$"

victim=${ids_a%% *}
# still_routed CLAIM: all of a's and b's IDs, by the exact number of packets.
still_routed()
{
	reset a b
	# shellcheck disable=SC2086
	send - --to 127.0.0.1:444 --ports 20 --count 40 $ids_a $ids_b >/dev/null
	is "$1" "$(got 800 a b) $(count a own) $(count b own)" "400 400 400 400"
}

is "it retires another's ID: it has issued no such" "$(ask x write "retire:$victim")" ENOENT
is "nor another's ten" "$(ask x write "retire:${ids_a// / retire:}")" \
	"ENOENT ENOENT ENOENT ENOENT ENOENT ENOENT ENOENT ENOENT ENOENT ENOENT"
still_routed "and nobody has lost a packet"
is "it issues another's ID, provisionally too" \
	"$(ask x write "issue:$victim" "provisional:$victim")" "EEXIST EEXIST"
is "retires, issues, retires in one message" \
	"$(ask x write "retire:$victim" "issue:$victim" "retire:$victim")" "ENOENT EEXIST ENOENT"
still_routed "and nobody has lost a packet, still"
is "its own it may, and they are its own" \
	"$(ask x write issue:1212121212121212 retire:1212121212121212 retire:1212121212121212)" \
	"ok ok ENOENT"
is "what makes no sense is -EINVAL, one by one, and the rest is done" \
	"$(ask x write issue: issue:0101 retire: 9:0101010101010101 255: issue:1313131313131313)" \
	"EINVAL EINVAL EINVAL EINVAL EINVAL ok"
like "who has not registered cannot write" "$(ask x stranger "retire:$victim")" \
	"^refused EPROTO WRITE without a registered worker$"
is "nor who can write a shared table" "$(ask y write issue:0101010101010101)" \
	"refused EPROTO WRITE in a service with a shared table: write it yourself"
kill_worker y
refused="refused EPROTO WRITE has"
is "a count that is not the message's ends it" \
	"$(ask x count-says 2 "retire:$victim")" "$refused 48 bytes, which is not what it counts"
check "and its routes" logged "worker [0-9]+ \(pid ${worker_pid[x]}\) is gone, 1 routes removed"
kill_worker x
# shellcheck disable=SC2086
for wrong in "count-says 0" "count-says 65$(printf " retire:$victim%.0s" {1..65})" \
	"count-says 4294967295 retire:$victim" "count-says 178956970 retire:$victim"; do
	start_raw x $msg
	set -- $wrong
	like "so does one of $2" "$(ask x $wrong)" "^refused EPROTO "
	kill_worker x
done
# shellcheck disable=SC2086
{
	start_raw x $msg
	is "and registering twice" "$(ask x again)" \
		"refused EINVAL this connection has registered already"
	kill_worker x
	start_raw x $msg
	is "who does not read answers is given up" "$(ask x flood "$victim")" closed
	kill_worker x
}
still_routed "after all of that nobody has lost a packet"

# ---- without the daemon ---------------------------------------------------------------------
rows()
{
	cidsteer workers | awk '$2 == "msg" { print $1, $4, $5, $6 }' | xargs
}
before=$(rows)
stop_daemon
wait_for eval 'ask a state | grep -q lost=1'
is "when the daemon is gone each call says so" \
	"$(ask a issue $x) $(ask a provisional 01) $(ask a stray $x)" \
	"ENOTCONN ENOTCONN ENOTCONN"
is "but for what can wait for the next one" "$(ask a retire $x) $(ask a path)" "ok ok"
still_routed "packets are routed as before"
check "the daemon comes back" start_daemon
for name in a b; do
	check "it adopts worker $name" logged "^cidsteerd: msg: worker [0-9]+ \(pid ${worker_pid[$name]}\) goes on$"
done
check "who is back by itself" wait_for eval '[[ "$(ask a state)" = *lost=0 ]]'
is "with id and routes" "$(rows)" "$before"
still_routed "packets are routed as before, again"
# shellcheck disable=SC2086
start_worker c $msg
is "a new worker cannot take their IDs" "$(ask c issue "$victim") $(ask c issue $x)" "EEXIST ok"
pid=${worker_pid[a]}
kill_worker a
check "an adopted worker that dies is reaped" logged "\(pid $pid\) is gone, 10 routes removed"
is "then the ID is free" "$(ask c issue "$victim")" ok
check "seen is the sum of the verdicts" seen_is_sum reuseport
done_testing

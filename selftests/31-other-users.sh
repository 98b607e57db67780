#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# What other users of the machine, and the service's user himself, cannot do.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

configure <<END
service "h3"   { listen = {"[::]:443"}  user = "www-data" max_cids = 64 }
service "root" { listen = {"[::]:444"} }
END
for user in www-data nobody; do
	getent passwd $user >/dev/null || bail "user $user is missing"
done
www=$(id -u www-data)
nobody=$(id -u nobody)
check "the daemon starts" start_daemon
check "a server that bound port 443 and then became www-data registers" \
	start_worker b --service h3 --user www-data --listen '[::]:443'
is "it has no privilege left" "$(ask b who)" "euid=$www CapEff=0 NoNewPrivs=1"
check "the daemon says whose worker it is" logged \
	"^cidsteerd: h3: worker 1 registered \(pid ${worker_pid[b]}, uid $www\)$"
check "root may register in every service" start_worker r --service h3 --listen '[::]:443'
stop_worker r

# ---- registering ----------------------------------------------------------------------------
refused()
{
	local claim=$1 wanted=$2
	shift 2
	start_worker refused "$@"
	is "$claim" "$answer" "refused $wanted"
	kill_worker refused
}
refused "another user is refused" \
	"EACCES uid $nobody is not allowed in service \"h3\", its user is uid $www" \
	--service h3 --user nobody --listen '[::]:443'
refused "in a service without user only root is allowed" \
	"EACCES uid $www is not allowed in service \"root\", its user is uid 0" \
	--service root --user www-data --listen '[::]:444'

# ---- what the library does not do: prints "claim|got|wanted" --------------------------------
cat >"$WORK/hostile.py" <<'END'
import ctypes, errno, mmap, os, socket, struct, sys

www, nobody = int(sys.argv[1]), int(sys.argv[2])
libc = ctypes.CDLL(None, use_errno=True)

def udp(port):
    made = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(("::", port))
    return made

def register(service, port, made):
    control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    control.connect("/run/cidsteer/control.sock")
    body = struct.pack("<IHHII16sIIIIII16s", 0x43534354, int(os.environ["PROTOCOL"]), 1, 72, 1, service, 0, 1, 0, 0, 0, 0, b"")
    socket.send_fds(control, [body], [made.fileno()])
    data, fds, _, _ = socket.recv_fds(control, 4096, 4)
    if data[6] == 3:
        return control, fds, data[20:].split(bytes(1))[0].decode()
    return control, fds, "registered"

def bpf(command, *words):
    attr = ctypes.create_string_buffer(128)
    struct.pack_into(f"<{len(words)}I", attr, 0, *words)
    done = libc.syscall(321, command, attr, 128)
    return "ok" if done >= 0 else errno.errorcode[ctypes.get_errno()]

def claim(text, got, wanted):
    print(f"{text}|{got}|{wanted}", flush=True)

os.setgroups([])
os.seteuid(nobody)
foreign = udp(4444)
os.seteuid(0)
# The kernel keeps groups of different users apart, so this port is not the service's; the user
# is looked at before the address.
_, _, line = register(b"h3", 4444, foreign)
claim("a socket that a third user made is refused", line,
      f'a socket was created by uid {nobody}: only root and the user of service "h3" (uid {www}) may')

own = udp(443)
os.setgid(www)
os.setuid(www)
control, fds, line = register(b"h3", 443, own)
claim("www-data registers with a socket that root made", line, "registered")
claim("and is handed the table and the usage lines", len(fds), 2)
BPF_MAP_FREEZE = 22
claim("it cannot freeze the table for everybody", bpf(BPF_MAP_FREEZE, fds[0]), "EBUSY")
claim("nor the usage lines", bpf(BPF_MAP_FREEZE, fds[1]), "EBUSY")
table = mmap.mmap(fds[0], 4096)
claim("it can map and write its service's table", len(table), 4096)
for name in ("cs_cids", "cs_services", "cs_workers", "xdp"):
    path = ctypes.create_string_buffer(f"/sys/fs/bpf/cidsteer/{name}".encode())
    address = ctypes.addressof(path)
    claim(f"it cannot open the pin {name}", bpf(7, address & 0xffffffff, address >> 32), "EACCES")
END
while IFS='|' read -r claim got wanted; do
	is "$claim" "$got" "$wanted"
done < <("$PYTHON" "$WORK/hostile.py" "$www" "$nobody" 2>&1)

# ---- another user cannot take part of the traffic -------------------------------------------
joins()
{
	setpriv --reuid "$1" --clear-groups --ambient-caps +net_bind_service --inh-caps +net_bind_service \
		"$TOOLS/worker" --service h3 --unsteered --listen '[::]:443' </dev/null 2>&1
}
like "another user cannot join the group" "$(joins nobody)" "bind: Address already in use"
is "the worker that is there is undisturbed" "$(ask b issue 0303030303030303)" ok
send - --to 127.0.0.1:443 --ports 50 --count 200 0303030303030303 >/dev/null
arrived 200 b
is "and gets its packets" "$(count b own)" 200
done_testing

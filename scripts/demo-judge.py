#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Read what the demo has collected, print the table and the claims, and judge.

usage: demo-judge.py [--tap] DIRECTORY
       demo-judge.py --isolation SERVER-LOG

The directory has one directory for each pass (demo describes what is in it).
--isolation looks at the descriptors of the workers that the log names, in this network
namespace, and prints what lets one worker reach another; nothing if nothing does.
Exit status 1 if a claim does not hold.
"""
import json
import os
import re
import subprocess
import sys
from pathlib import Path

TRANSFERS = 20
UNSTEERED_FAILURES = 8
SERVED = 2
WITNESSES = 2
TITLES = {
    "kernel": "kernel's own hash",
    "xdp": "steered, XDP",
    "cpu": "moved to workers' CPUs",
    "xsk": "to AF_XDP sockets",
    "device": "to a container's veth",
    "mixed": "one worker of each sort",
    "stack": "steered, XDP detached",
    "rewritten": "one route rewritten",
}
CPUS = os.cpu_count()
O_ACCMODE = os.O_RDONLY | os.O_WRONLY | os.O_RDWR


def read_json(path):
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


class Transfer:
    """What the client says, and what the server says of the same connection."""

    def __init__(self, directory, number, served):
        out = directory / f"{number}.json"
        self.number = number
        self.client = read_json(out) or {"ok": False, "bytes": 0, "error": "no result"}
        self.what = (directory / f"{number}.what").read_text().strip()
        self.served = [t for t in served if t["connection"] == self.client.get("odcid")]
        self.survived = self.client["ok"]

    def why_not_moved(self):
        """None if the server saw one path change, in mid-transfer, of one connection."""
        if len(self.served) != 1:
            return f"the server served {len(self.served)} requests of its connection"
        seen = self.served[0]
        if seen["path_changes"] != 1:
            return f"the server saw {seen['path_changes']} path changes"
        if not 0 < seen["bytes_at_change"] < seen["bytes"]:
            return f"path change at {seen['bytes_at_change']} of {seen['bytes']} bytes"
        return None

    def __str__(self):
        return f"transfer {self.number} ({self.what}): {self.client['error']}"


class Pass:
    def __init__(self, directory):
        self.directory = directory
        served = [t for t in lines_of(directory / "stats") if t["event"] == "transfer"]
        numbers = sorted(int(f.stem) for f in directory.glob("*.what"))
        self.all = [Transfer(directory, n, served) for n in numbers]
        self.counted = [t for t in self.all if t.number < TRANSFERS]
        self.survivors = [t for t in self.counted if t.survived]
        self.failures = [t for t in self.counted if not t.survived]
        complete = [t for t in served if t["complete"]]
        self.per_worker = [sum(t["index"] == i for t in complete) for i in range(1, 5)]
        self.changes = sum(t["path_changes"] for t in served)

    def snapshot(self, name):
        """What was so before the pass, and after."""
        return [read_json(self.directory / when / name) for when in ("before", "after")]

    def sum_of_workers(self, member):
        """How much the workers' statistics have grown."""
        before, after = (lines_of(self.directory / w / "served") for w in ("before", "after"))
        return sum(w[member] for w in after) - sum(w[member] for w in before)

    def strays(self):
        before, after = (sum(w["strays"] for w in s["workers"]) for s in self.snapshot("workers"))
        return after - before

    def seen(self, hook, counter="seen"):
        def of(counters):
            rows = [c for c in counters["counters"] if (c["hook"], c["service"]) == (hook, "h3")]
            return rows[0][counter]

        before, after = (of(s) for s in self.snapshot("counters"))
        return after - before

    def moved(self):
        """What CPUs were sent, and what arrived there."""
        before, after = ([sum(c[n] for c in s["cpus"]) for n in ("sent", "arrived")]
                         for s in self.snapshot("status"))
        return [a - b for a, b in zip(after, before)]

    def in_box(self):
        """Packets that came out of the container's end of the veth."""
        before, after = (s[0]["stats64"]["rx"]["packets"] for s in self.snapshot("box"))
        return after - before

    def received(self):
        def of(ruleset):
            rules = [o["rule"]["expr"] for o in ruleset["nftables"] if "rule" in o]
            return next(e["counter"]["packets"] for e in rules[0] if "counter" in e)

        before, after = (of(s) for s in self.snapshot("received"))
        return after - before

    def xdp(self):
        """What was attached at the beginning and at the end: {"native cs_xdp"}, or {"none"}."""

        def of(link):
            xdp = link[0].get("xdp")
            if not xdp:
                return "none"
            mode = {1: "native", 2: "generic"}.get(xdp["mode"], "other")
            return f"{mode} {xdp['prog']['name']}"

        return {of(s) for s in self.snapshot("link")}


class Claims:
    def __init__(self, tap):
        self.tap = tap
        self.count = 0
        self.failed = 0
        self.rows = []

    def claim(self, text, problems):
        """@problems: what contradicts it, as lines; or whether it holds."""
        if isinstance(problems, bool):
            problems = [] if problems else [""]
        self.count += 1
        self.failed += bool(problems)
        if self.tap:
            row = f"{'not ok' if problems else 'ok'} {self.count} - {text}"
        else:
            row = f"{'FAILED' if problems else 'ok':8}{text}"
        indent = "#   " if self.tap else "          "
        self.rows += [row] + [indent + p for p in map(str, problems) if p]


def judge_unsteered(claims, p):
    claims.claim(
        f"{TITLES['kernel']}: {len(p.failures)} of {TRANSFERS} transfers failed "
        f"(fewer than {UNSTEERED_FAILURES} would prove nothing)",
        len(p.counted) == TRANSFERS and len(p.failures) >= UNSTEERED_FAILURES,
    )
    moved = [t for t in p.failures if t.client["bytes"] == 0 or len(t.served) > 1]
    claims.claim(f"{TITLES['kernel']}: each of them had begun, and failed in mid-transfer", moved)


def judge_steered(claims, name, p):
    title = TITLES[name]
    claims.claim(
        f"{title}: {len(p.survivors)} of {TRANSFERS} survived, all bytes there and their hash right",
        [t for t in p.all if not t.survived] or len(p.counted) == TRANSFERS,
    )
    started, accepted = len(p.all), p.sum_of_workers("connections")
    claims.claim(
        f"{title}: one single connection for each: {accepted} accepted, {started} clients",
        [t for t in p.survivors if t.client["connections"] != 1] or accepted == started,
    )
    still = [f"transfer {t.number}: {t.why_not_moved()}" for t in p.survivors if t.why_not_moved()]
    claims.claim(
        f"{title}: the server saw each path change, after some and before all of the bytes", still
    )
    claims.claim(f"{title}: {p.strays()} strays", p.strays() == 0)
    claims.claim(
        f"{title}: each worker served at least {SERVED}: {' '.join(map(str, p.per_worker))}",
        min(p.per_worker) >= SERVED,
    )


def judge_hooks(claims, xdp, stack):
    claims.claim(
        f"{TITLES['xdp']}: native XDP saw {xdp.seen('xdp')} datagrams, "
        f"the interface received {xdp.received()}",
        xdp.xdp() == {"native cs_xdp"} and xdp.seen("xdp") == xdp.received() > 0,
    )
    claims.claim(
        f"{TITLES['stack']}: XDP saw {stack.seen('xdp')} of {stack.received()} datagrams, "
        f"socket selection {stack.seen('reuseport')}",
        stack.xdp() == {"none"} and stack.seen("xdp") == 0 < stack.seen("reuseport"),
    )


def judge_cpus(claims, p):
    sent, arrived = p.moved()
    claims.claim(
        f"{TITLES['cpu']}: {sent} of {p.seen('xdp')} datagrams, {arrived} arrived",
        0 < sent == arrived == p.seen("xdp", "to_cpu"),
    )


def judge_xsks(claims, p):
    sent, read = p.seen("xdp", "to_xsk"), p.sum_of_workers("xsk_in")
    claims.claim(
        f"{TITLES['xsk']}: {sent} of {p.seen('xdp')} datagrams, {read} read from their rings, "
        f"the stack received {p.received()}",
        0 < read == sent == p.seen("xdp") - p.received(),
    )


def judge_device(claims, p):
    sent, arrived = p.seen("xdp", "to_device"), p.in_box()
    claims.claim(
        f"{TITLES['device']}: {sent} of {p.seen('xdp')} datagrams, {arrived} packets came out of "
        f"its other end, the stack received {p.received()} here",
        0 < sent <= arrived and sent == p.seen("xdp") - p.received(),
    )


def judge_mixed(claims, p):
    ways = {w: p.seen("xdp", w) for w in ("to_cpu", "to_xsk", "to_device") if w != "to_cpu" or CPUS > 1}
    claims.claim(
        f"{TITLES['mixed']}: of {p.seen('xdp')} datagrams "
        + ", ".join(f"{n} {w.replace('_', ' ')}" for w, n in ways.items())
        + f", the stack received {p.received()}",
        all(ways.values())
        and p.received() == p.seen("xdp") - ways["to_xsk"] - ways["to_device"],
    )


def judge_workers(claims, root):
    rows = re.findall(r"^worker \d+: (pid.*)$", (root / "steered" / "log").read_text(), re.M)
    nobody = [r for r in rows if re.search(r"uid 65534 CapEff 0+ NoNewPrivs 1$", r)]
    claims.claim(
        "4 workers without privilege: another user, no capability, no way to get one",
        [] if len(rows) == len(nobody) == 4 else rows or ["no worker said so"],
    )
    isolation = (root / "isolation").read_text().splitlines()
    claims.claim("no socket and no pipe from worker to worker", isolation)


def judge_control(claims, p):
    rewritten = (p.directory / "route").read_text().strip() or "no route was rewritten"
    failed = [t.number for t in p.all if not t.survived]
    witnesses = {int(n) for n in (p.directory / "witnesses").read_text().split()} - {0}
    claims.claim(
        f"{TITLES['rewritten']}: exactly that transfer failed, "
        f"{len(witnesses)} others that ran meanwhile did not",
        []
        if failed == [0] and len(witnesses) >= WITNESSES
        else [rewritten] + [t for t in p.all if not t.survived],
    )
    claims.claim(
        f"{TITLES['rewritten']}: the stray counter moved, by {p.strays()}",
        []
        if p.strays() > 0
        else [rewritten, f"datagrams of unknown connections: {p.sum_of_workers('unknown')}"],
    )


def table(passes):
    rows = [f"{'pass':24}{'survived':>10}{'path changes':>14}{'strays':>8}   served per worker"]
    for name, p in passes.items():
        total = len(p.all) if name == "rewritten" else TRANSFERS
        alive = sum(t.survived for t in p.all) if name == "rewritten" else len(p.survivors)
        extra = len(p.all) - total
        rows.append(
            f"{TITLES[name]:24}{f'{alive} of {total}':>10}{p.changes:14}"
            f"{'-' if name == 'kernel' else p.strays():>8}   {' '.join(map(str, p.per_worker))}"
            + (f" ({extra} short downloads more)" if extra else "")
        )
    return rows


def judge(root, tap):
    # A machine with one CPU has none to move to.
    passes = {name: Pass(root / name) for name in TITLES if name != "cpu" or (root / name).exists()}
    claims = Claims(tap)
    judge_unsteered(claims, passes["kernel"])
    for name in ("xdp", "cpu", "xsk", "device", "mixed", "stack"):
        if name in passes:
            judge_steered(claims, name, passes[name])
    judge_hooks(claims, passes["xdp"], passes["stack"])
    if "cpu" in passes:
        judge_cpus(claims, passes["cpu"])
    judge_xsks(claims, passes["xsk"])
    judge_device(claims, passes["device"])
    judge_mixed(claims, passes["mixed"])
    judge_workers(claims, root)
    judge_control(claims, passes["rewritten"])
    print("\n".join(("# " if tap else "") + row for row in table(passes)))
    print("" if not tap else "#", *claims.rows, sep="\n")
    if tap:
        print(f"1..{claims.count}")
    elif claims.failed:
        print(f"\n{claims.failed} of {claims.count} claims FAILED")
    else:
        print(f"\nall {claims.count} claims hold")
    return claims.failed == 0


def descriptors(pid):
    """[(kind, inode, access)] of the sockets and pipes beyond standard input and output."""
    found = []
    for fd in (d for d in os.listdir(f"/proc/{pid}/fd") if int(d) > 2):
        match = re.match(r"(socket|pipe):\[(\d+)\]", os.readlink(f"/proc/{pid}/fd/{fd}"))
        if match:
            info = Path(f"/proc/{pid}/fdinfo/{fd}").read_text()
            flags = int(re.search(r"flags:\s*(\d+)", info)[1], 8)
            found.append((match[1], int(match[2]), flags & O_ACCMODE))
    return found


def sockets():
    """inode -> (what it is, inode of its peer) of all sockets in this network namespace."""
    rows = {}

    def ss(options):  # -e complains of a missing cgroup2 mount
        done = subprocess.run(["ss", options], text=True, capture_output=True, check=True)
        return done.stdout.splitlines()

    for line in ss("-xHan"):
        column = line.split()
        rows[int(column[5])] = (column[0], int(column[7]))
    for line in ss("-uHaneO"):
        rows[int(re.search(r"ino:(\d+)", line)[1])] = ("udp " + line.split()[3], 0)
    return rows


def isolation(log):
    """Each worker has its own UDP socket and its own connection to the daemon, no more."""
    pids = [int(p) for p in re.findall(r"^worker \d+: pid (\d+)", Path(log).read_text(), re.M)]
    owner, known, problems = {}, sockets(), []
    readers, writers = {}, {}
    for pid in pids:
        kinds = []
        for kind, inode, access in descriptors(pid):
            if kind == "pipe":
                (readers if access == os.O_RDONLY else writers).setdefault(inode, pid)
                continue
            if owner.setdefault(inode, pid) != pid:
                problems.append(f"workers {owner[inode]} and {pid} share socket {inode}")
            kinds.append(known.get(inode, ("another kind", 0))[0])
        if sorted(kinds) != ["u_seq", "udp *:443"]:
            problems.append(f"worker {pid} has {', '.join(sorted(kinds))}")
    for inode, pid in owner.items():
        peer = owner.get(known.get(inode, ("", 0))[1])
        if peer:
            problems.append(f"a socket of worker {pid} is connected to worker {peer}")
    for inode, pid in readers.items():
        if writers.get(inode, pid) != pid:
            problems.append(f"worker {pid} reads a pipe that worker {writers[inode]} writes")
    return problems if len(pids) == 4 else problems + [f"{len(pids)} workers"]


def main():
    args = sys.argv[1:]
    if args[0] == "--isolation":
        print(*isolation(args[1]), sep="\n", end="")
        return 0
    return 0 if judge(Path(args[-1]), "--tap" in args) else 1


sys.exit(main())

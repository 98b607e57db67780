# SPDX-License-Identifier: GPL-2.0-only
"""What has to happen to a packet at XDP: docs/packets.md, section by section.

Written from that page alone, and from the drafts and RFCs that it names; it shares no file with
the programs.  It is told which services, workers, routes, server IDs and addresses there are as
JSON (tests/oracle/world.c writes it), and nothing about how the maps hold them.

Each way out of the page has a name, its "clause", so that a run can say which were met.
"""
import ipaddress
import struct
from collections import namedtuple

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

PASS, DROP, REDIRECT = 2, 1, 4  # XDP_*

V1, V2 = 0x00000001, 0x6B3343CF
TYPES = {
    V1: ("initial", "0-rtt", "handshake", "retry"),
    V2: ("retry", "initial", "0-rtt", "handshake"),
}
TAGS = (b"\x81\x00", b"\x88\xa8")
MAPPED = bytes(10) + b"\xff\xff"
MAX_TAGS = 2
MAX_EXTENSIONS = 8
FIRST_BYTES = 512  # of a frame, in which all headers lie
MAX_CID = 20
LEAST_INITIAL = 1200
RING = 4096
SERVES = ("waiting", "active", "draining")
EXTRACTOR = 7  # beside the numbers of QUIC-LB's configurations
ELSEWHERE = "elsewhere"  # whose a server ID of another host is; the reason, too
OWN = "own"  # which host is this one

# What was decided: the counter, the service, the counters beside it, what XDP does.  Then what
# `explain` knows: what is counted if nothing can be dropped, to be counted as which drop, listener,
# worker.  @quic and @routed are None where nobody has asked.  @config: 1 + the configuration whose
# server ID was found, 0 if none was.
Verdict = namedtuple(
    "Verdict",
    "reason service notes action otherwise drop listener worker quic routed config clause",
)
Quic = namedtuple("Quic", "form version type dcid")
Datagram = namedtuple("Datagram", "source destination ports size payload clause")


# What BPF_PROG_TEST_RUN puts into the first buffer: a page without XDP's headroom (256 bytes) and
# struct skb_shared_info behind it (320).
ONE_BUFFER = 4096 - 256 - 320


class Passes(Exception):
    """The frame passes as this reason, under no service; which clause says so."""


class Malformed(Exception):
    pass


# ---- the world ---------------------------------------------------------------------------------
class World:
    def __init__(self, known):
        formats = {int(number): form for number, form in known["formats"].items()}
        self.services = {
            int(number): Service(s, formats[int(number)]) for number, s in known["services"].items()
        }
        self.workers = {int(number): tuple(w[:2]) for number, w in known["workers"].items()}
        self.targets = {int(number): w[2] for number, w in known["workers"].items()}
        self.cpu, self.queues = known["cpu"], known["queues"]
        self.slots = {int(slot): device for slot, device in known["slots"].items()}
        self.mtus = {int(device): mtu for device, mtu in known["mtus"].items()}
        self.came_in_on, self.xsks = known["came_in_on"], set(known["xsks"])
        self.routes = {(s, bytes.fromhex(cid)): worker for s, cid, worker in known["routes"]}
        self.servers = {}  # a worker, 0: nobody any more, or ELSEWHERE
        self.hosts = {}  # of first bytes of server IDs: OWN or ELSEWHERE
        for number, form in formats.items():
            for cid, worker in form["routes"]:
                self.routes[number, bytes.fromhex(cid)] = worker
            for config, server_id, whose in form["servers"]:
                self.servers[number, config, bytes.fromhex(server_id)] = whose
            for config, begin, whose in form["hosts"]:
                self.hosts[number, config, bytes.fromhex(begin)] = whose
        self.locals = {bytes.fromhex(address) for address in known["locals"]}
        self.elsewhere = [bytes.fromhex(address) for address in known["elsewhere"]]
        self.prefixes = [(bytes.fromhex(a), bits) for a, bits in known["prefixes"]]
        self.covered = {(bits, as_number(a) >> 128 - bits) for a, bits in self.prefixes}
        self.lengths = sorted({bits for _, bits in self.prefixes})
        self.exact, self.any4, self.any6 = {}, {}, {}
        for text, service, listener in known["listeners"]:
            self.listen(text, (service, listener))

    def listen(self, text, who):
        host, port = text.rsplit(":", 1)
        address, port = ipaddress.ip_address(host.strip("[]")), int(port)
        if host == "[::]":
            self.any6[port] = who
        elif host == "0.0.0.0":
            self.any4[port] = who
        elif address.version == 4:
            self.exact[MAPPED + address.packed, port] = who
        else:
            self.exact[address.packed, port] = who

    def is_local(self, address):
        if address in self.locals:
            return True
        number = as_number(address)
        return any((bits, number >> 128 - bits) in self.covered for bits in self.lengths)

    def is_moved(self, worker):
        target = self.targets.get(worker)
        return isinstance(target, int) and target != self.cpu and target in self.queues

    def device(self, worker):
        """Slot and device that a worker is behind, or None."""
        target = self.targets.get(worker)
        return target if isinstance(target, list) else None

    def to_device(self, behind, frame, lease):
        """How a packet for a worker behind a device is counted."""
        slot, device = behind
        if not lease or frame[12:14] not in (b"\x08\x00", b"\x86\xdd") or device not in self.mtus:
            return "not_to_device"
        if len(frame) - 14 > self.mtus[device]:
            return "too_large"
        return "to_device" if self.slots.get(slot) == device else "not_to_device"

    def has_xsks(self, worker):
        return isinstance(self.targets.get(worker), dict)

    def finds_xsk(self, worker):
        """Has the worker a socket for the interface and queue that packets come in on?"""
        interface, queue = self.came_in_on
        for there, slot, first, queues in self.targets[worker]["nics"]:
            if there == interface:
                return first <= queue < first + queues and slot + queue - first in self.xsks
        return False

    def serves(self, worker, service):
        owner, state = self.workers.get(worker, (0, "none"))
        return owner == service and state in SERVES

    def whose(self, worker, service):
        """In words, for clauses."""
        if worker is None or worker == ELSEWHERE:
            return worker or "unknown"
        owner, state = self.workers.get(worker, (0, "nobody's now"))
        return state if owner in (0, service) else "another service's"

    def server(self, service, dcid):
        """Whose server ID a DCID carries, None: nobody's; its configuration; which clauses."""
        carried, how = self.services[service].read_server_id(dcid)
        if not carried:
            return None, 0, how
        number, server_id = carried
        found = self.servers.get((service, number, server_id))
        host, clauses = self.host(service, number, server_id)
        if found is not None:
            clauses = [f"order: server ID before host, {host}"] if host else []
        elif host == ELSEWHERE:
            found = ELSEWHERE
        config = 0 if found is None else 1 + number
        return found, config, [f"server ID, {how}: {self.whose(found, service)}", *clauses]

    def host(self, service, number, server_id):
        """Which host a server ID's first bytes say, None: none that is known; which clauses."""
        if number == EXTRACTOR:
            return None, []
        size = self.services[service].configs[number].host
        if not size:
            return None, ["host: not said"]
        found = self.hosts.get((service, number, server_id[:size]))
        width = "below 8" if size < 8 else "8" if size == 8 else "above 8"
        return found, [f"host, {width} bytes: {found or 'unknown'}"]


class Service:
    def __init__(self, known, form):
        self.there = known["there"]
        self.key = struct.unpack("<QQ", bytes.fromhex(known["key"]))
        self.cid_length = known["cid_length"]
        self.unknown_cid = known["unknown_cid"]
        self.malformed = known["malformed"]
        self.not_quic = known["not_quic"]
        self.small_initial = known["small_initial"]
        self.no_xsk = known["no_xsk"]
        self.ring = known["ring"]
        self.extractor = tuple(form["extractor"]) if form["extractor"][1] else None
        configs = [(c["live"], Config(c)) for c in form["configs"]]
        self.configs = {config.number: config for live, config in configs if live}
        self.others = {config.number: config for live, config in configs if not live}

    def short_length(self, begin):
        """How long a short header's DCID is that begins so, and what says that."""
        if not self.configs:
            return self.cid_length, "cid_length"
        config = self.configs.get(begin[0] >> 5) if begin else None
        if not config:
            return self.cid_length, "of no configuration"
        if config.length:
            return config.length, "of its configuration"
        told = 1 + (begin[0] & 31)
        return (told, "told") if told <= MAX_CID else (MAX_CID, "told, above 20 bytes")

    def read_server_id(self, dcid):
        """Configuration and server ID that a DCID carries, or None; how, or why not: clauses."""
        if self.extractor:
            at, size = self.extractor
            if len(dcid) < at + size:
                return None, ["server ID: short for the extractor"]
            return (EXTRACTOR, dcid[at : at + size]), "extractor"
        if not self.configs:
            return None, []
        config = self.configs.get(dcid[0] >> 5)
        if not config:
            return None, ["server ID: no configuration"]
        if len(dcid) < 1 + config.size:
            return None, ["server ID: short"]
        if config.length == 0 and dcid[0] & 31 != len(dcid) - 1:
            return None, ["server ID: another length told"]
        octets = config.decipher(dcid[1 : 1 + config.size])
        return (config.number, octets[: config.server_id]), config.kind


def as_number(address):
    return int.from_bytes(address, "big")


# ---- 1. From the frame to the UDP payload -------------------------------------------------------
def parse_ethernet(frame, first):
    """EtherType, and what begins behind Ethernet and its tags."""
    if first < 14:
        raise Passes("not_ours", "ethernet: short")
    at = 14
    for _ in range(MAX_TAGS):
        if frame[at - 2 : at] not in TAGS:
            break
        at += 4
        if at > first:
            raise Passes("not_ours", "tag: cut")
    if frame[at - 2 : at] in TAGS:
        raise Passes("not_ours", "tag: a third")
    return frame[at - 2 : at], at


def parse_ipv4(frame, first, at):
    """Source, destination, where UDP begins, and how much it gets."""
    left = len(frame) - at
    if left < 20:
        raise Passes("not_ours", "ipv4: short")
    if first < at + 20:
        raise Passes("not_ours", "ipv4: beyond the first buffer")
    if frame[at] >> 4 != 4:
        raise Passes("not_ours", "ipv4: version")
    header = (frame[at] & 15) * 4
    total, flags = struct.unpack_from(">H2xH", frame, at + 2)
    if header < 20:
        raise Passes("not_ours", "ipv4: header length")
    if total < header:
        raise Passes("not_ours", "ipv4: total below header")
    if total > left:
        raise Passes("not_ours", "ipv4: total above frame")
    if frame[at + 9] != 17:
        raise Passes("not_ours", "ipv4: protocol")
    if flags & 0x2000:
        raise Passes("fragment", "ipv4: more fragments")
    if flags & 0x1FFF:
        raise Passes("fragment", "ipv4: offset")
    source, destination = MAPPED + frame[at + 12 : at + 16], MAPPED + frame[at + 16 : at + 20]
    return source, destination, at + header, total - header


def parse_ipv6(frame, first, at):
    left = len(frame) - at
    if left < 40:
        raise Passes("not_ours", "ipv6: short")
    if first < at + 40:
        raise Passes("not_ours", "ipv6: beyond the first buffer")
    if frame[at] >> 4 != 6:
        raise Passes("not_ours", "ipv6: version")
    length, following = struct.unpack_from(">HB", frame, at + 4)
    if length == 0:
        raise Passes("not_ours", "ipv6: jumbogram")
    if length > left - 40:
        raise Passes("not_ours", "ipv6: payload above frame")
    end = at + 40 + length
    udp = parse_extensions(frame, at + 40, end, following)
    return frame[at + 8 : at + 24], frame[at + 24 : at + 40], udp, end - udp


def parse_extensions(frame, at, end, following):
    """Where UDP begins."""
    first = True
    for _ in range(MAX_EXTENSIONS):
        if following == 17:
            return at
        if following not in (0, 43, 44, 60):
            raise Passes("not_ours", "ipv6: protocol")
        if following == 0 and not first:
            raise Passes("not_ours", "ipv6: hop-by-hop is not the first")
        size = 8
        if at + 2 <= end and following != 44:
            size = 8 * (frame[at + 1] + 1)
        if at + size > end:
            raise Passes("not_ours", "ipv6: extension above payload")
        if at + size > FIRST_BYTES:
            raise Passes("not_ours", "ipv6: beyond the first bytes")
        if following == 43 and frame[at + 3] != 0:
            raise Passes("not_ours", "ipv6: segments left")
        if following == 44:
            offset = struct.unpack_from(">H", frame, at + 2)[0]
            if offset & 0x0001:
                raise Passes("fragment", "ipv6: more fragments")
            if offset & 0xFFF8:
                raise Passes("fragment", "ipv6: offset")
        following = frame[at]
        at += size
        first = False
    if following != 17:
        raise Passes("not_ours", "ipv6: a ninth header")
    return at


def parse_frame(frame, first):
    """@first: bytes of it that lie in its first buffer."""
    ether_type, at = parse_ethernet(frame, first)
    if ether_type == b"\x08\x00":
        source, destination, udp, gets = parse_ipv4(frame, first, at)
    elif ether_type == b"\x86\xdd":
        source, destination, udp, gets = parse_ipv6(frame, first, at)
    else:
        raise Passes("not_ours", "ethernet: type")
    if gets < 8:
        raise Passes("not_ours", "udp: short")
    if udp + 8 > FIRST_BYTES:
        raise Passes("not_ours", "udp: beyond the first bytes")
    if udp + 8 > first:
        raise Passes("not_ours", "udp: beyond the first buffer")
    size = int.from_bytes(frame[udp + 4 : udp + 6], "big")
    clause = "udp: well"
    if size == 0 and ether_type == b"\x86\xdd":
        raise Passes("not_ours", "udp: length 0 over IPv6")
    if size < 8:
        size, clause = 8, "udp: length below 8"
    elif size > gets:
        size, clause = 8, "udp: length above IP's"
    return Datagram(
        source, destination, frame[udp : udp + 4], size - 8, frame[udp + 8 : udp + size], clause
    )


def find_listener(world, datagram):
    """Service and listener."""
    address = datagram.destination
    port = int.from_bytes(datagram.ports[2:], "big")
    found = world.exact.get((address, port))
    if found:
        return found, "listener: exact"
    if address.startswith(MAPPED):
        found = world.any4.get(port) or world.any6.get(port)
    else:
        found = world.any6.get(port)
    if not found:
        raise Passes("not_ours", "listener: none")
    if not world.is_local(address):
        raise Passes("not_ours", "listener: not local")
    return found, "listener: wildcard"


# ---- 2. The QUIC header -------------------------------------------------------------------------
def parse_quic(datagram, service):
    payload, size = datagram.payload, datagram.size
    if size == 0:
        raise Malformed("empty")
    if not payload[0] & 0x80:
        length, _ = service.short_length(payload[1:2])
        if size < 1 + length:
            raise Malformed("short header")
        return Quic("short", 0, "none", payload[1 : 1 + length])
    if size < 6:
        raise Malformed("long header")
    version, length = int.from_bytes(payload[1:5], "big"), payload[5]
    if size < 6 + length:
        raise Malformed("long header's DCID")
    types = TYPES.get(version)
    if types and length > MAX_CID:
        raise Malformed("DCID above 20 bytes")
    kind = types[payload[0] >> 4 & 3] if types else "none"
    return Quic("long", version, kind, payload[6 : 6 + min(length, MAX_CID)])


# ---- 3. The decision ----------------------------------------------------------------------------
class Decision:
    """Of one datagram of one service; the lease does not count yet."""

    def __init__(self, world, service_id, datagram):
        self.world = world
        self.id = service_id
        self.service = world.services[service_id]
        self.datagram = datagram
        self.reason = self.drop = self.quic = self.routed = None
        self.small = False
        self.worker = self.config = 0
        self.clauses = []
        self.clauses.append(self.decide())

    def decide(self):
        service, datagram = self.service, self.datagram
        if not service.there:
            self.reason = "no_service"
            return "no service"
        if service.not_quic != "quic" and datagram.size and not datagram.payload[0] & 0x40:
            self.by_policy(service.not_quic, "not_quic", "dropped_not_quic")
            return f"not quic: {service.not_quic}"
        try:
            self.quic = quic = parse_quic(datagram, service)
        except Malformed as why:
            self.by_policy(service.malformed, "malformed", "dropped_malformed")
            return f"malformed, {why}: {service.malformed}"
        if quic.form == "short":
            self.clauses.append(f"short DCID: {service.short_length(quic.dcid)[1]}")
        clause = self.route()
        if quic.type == "initial" and datagram.size < LEAST_INITIAL:
            self.small = True
            if service.small_initial == "drop" and self.reason != "no_worker":
                self.drop = "dropped_initial"
            return f"small initial: {clause}"
        return clause

    def route(self):
        quic = self.quic
        if self.service.cid_length == 0 or not quic.dcid:
            self.by_ring(self.tuple_bytes(), "by_tuple")
            return "empty ID" if self.service.cid_length else "service without IDs"
        opens = quic.type in ("initial", "0-rtt") or (quic.form == "long" and quic.type == "none")
        named = self.named()
        if self.world.serves(self.routed, self.id):
            self.worker = self.routed
            return self.to_worker(named, opens, self.world.workers[self.routed][1])
        instead = "dead_worker" if named in ("table", "server ID") else named
        if opens:
            self.by_ring(quic.dcid, instead or "by_ring")
            return f"opens, {quic.type}: {self.reason}"
        self.by_policy(self.service.unknown_cid, instead or "unknown_cid", "dropped_unknown")
        return f"unknown, {self.reason}, {quic.type}: {self.service.unknown_cid}"

    def named(self):
        """What names a worker, @routed: "table" or "server ID"; else ELSEWHERE, or None."""
        server_first = self.quic.form == "short" and self.service.configs
        route = self.world.routes.get((self.id, self.quic.dcid))
        server, config, clauses = self.world.server(self.id, self.quic.dcid)
        if route is not None and not server_first:
            if config:
                self.clauses.append(f"order: route before server ID, {self.quic.form}")
            self.routed = route
            return "table"
        self.clauses += clauses
        self.config = config
        if config and server != ELSEWHERE:
            if route is not None:
                self.clauses.append("order: server ID before route")
            self.routed = server
            return "server ID"
        self.routed = route or 0
        if route is None:
            return server
        self.clauses.append(f"order: {server or 'nothing'} before route")
        return "table"

    def to_worker(self, named, opens, state):
        if named == "table":
            self.reason = "by_table"
            return f"table: {state}"
        if not opens:
            self.reason = "by_server_id"
            return f"by server ID, {self.quic.type}: {state}"
        self.reason = "opens_by_draining" if state == "draining" else "opens_by_server_id"
        return f"opens by server ID, {self.quic.type}: {state}"

    def by_ring(self, bytes_hashed, reason):
        worker = self.service.ring[siphash(self.service.key, bytes_hashed) % RING]
        if self.world.serves(worker, self.id):
            self.reason, self.worker = reason, worker
        else:
            self.reason = "no_worker"

    def by_policy(self, policy, reason, dropped):
        if policy == "pass":
            self.reason = reason
            return
        self.by_ring(self.tuple_bytes(), reason)
        if policy == "drop" and self.reason != "no_worker":
            self.drop = dropped

    def tuple_bytes(self):
        return self.datagram.source + self.datagram.destination + self.datagram.ports


# ---- 4. What the hooks do -----------------------------------------------------------------------
def verdict(world, frame, first, lease):
    """What cs_xdp does with a frame; @first: bytes in its first buffer, 0: all that matter."""
    try:
        datagram = parse_frame(frame, first or len(frame))
        (service, listener), found = find_listener(world, datagram)
    except Passes as passes:
        reason, clause = passes.args
        return Verdict(reason, 0, (), PASS, reason, None, 0, 0, None, None, 0, (clause,))
    made = Decision(world, service, datagram)
    reason, action, notes = made.reason, PASS, []
    if made.small:
        notes.append("small_initial")
    if made.drop and lease:
        reason, action = made.drop, DROP
    elif made.drop:
        notes.append("not_enforced")
    if action == PASS and made.worker and world.is_moved(made.worker):
        action = REDIRECT
        notes.append("to_cpu")
    behind = world.device(made.worker)
    if action == PASS and behind:
        notes.append(world.to_device(behind, frame, lease))
        action = REDIRECT if notes[-1] == "to_device" else PASS
    if action == PASS and made.worker and world.has_xsks(made.worker):
        split = first and first < len(frame) or len(frame) > ONE_BUFFER
        if split or frame[12:14] not in (b"\x08\x00", b"\x86\xdd"):
            notes.append("not_to_xsk")
        elif world.finds_xsk(made.worker):
            notes.append("to_xsk")
            action = REDIRECT
        elif world.services[service].no_xsk == "pass":
            notes.append("not_to_xsk")
        elif lease:
            reason, action = "dropped_no_xsk", DROP
        else:
            notes += ["not_to_xsk"] + ["not_enforced"] * ("not_enforced" not in notes)
    return Verdict(
        reason,
        service,
        tuple(notes),
        action,
        made.reason,
        made.drop,
        listener,
        made.worker,
        made.quic,
        made.routed,
        made.config,
        (datagram.clause, found, *made.clauses),
    )


# Every clause.
POLICIES = ("hash", "pass", "drop")
REASONS_MALFORMED = (
    "empty",
    "short header",
    "long header",
    "long header's DCID",
    "DCID above 20 bytes",
)
ROUTED = (
    "service without IDs",
    "empty ID",
    *(f"table: {state}" for state in SERVES),
    *(
        f"opens by server ID, {kind}: {state}"
        for kind in ("initial", "0-rtt", "none")
        for state in SERVES
    ),
    *(
        f"opens, {kind}: {reason}"
        for kind in ("initial", "0-rtt", "none")
        for reason in ("by_ring", "dead_worker", "elsewhere", "no_worker")
    ),
)
CARRIED = ("plain", "one block", "four passes, even", "four passes, odd", "extractor")
WHOSE = (*SERVES, "dead", "none", "another service's", "nobody's now", ELSEWHERE, "unknown")
CLAUSES = frozenset(
    (
        "ethernet: type",
        "tag: cut",
        "tag: a third",
        "ipv4: short",
        "ipv4: version",
        "ipv4: header length",
        "ipv4: total below header",
        "ipv4: total above frame",
        "ipv4: protocol",
        "ipv4: more fragments",
        "ipv4: offset",
        "ipv6: short",
        "ipv6: version",
        "ipv6: jumbogram",
        "ipv6: payload above frame",
        "ipv6: protocol",
        "ipv6: hop-by-hop is not the first",
        "ipv6: extension above payload",
        "ipv6: beyond the first bytes",
        "ipv6: segments left",
        "ipv6: more fragments",
        "ipv6: offset",
        "ipv6: a ninth header",
        "udp: short",
        "udp: beyond the first bytes",
        "udp: length 0 over IPv6",
        "udp: length below 8",
        "udp: length above IP's",
        "udp: well",
        "listener: exact",
        "listener: none",
        "listener: not local",
        "listener: wildcard",
        "no service",
        *(f"not quic: {policy}" for policy in POLICIES),
        *(f"malformed, {why}: {policy}" for why in REASONS_MALFORMED for policy in POLICIES),
        *ROUTED,
        *(f"small initial: {clause}" for clause in ROUTED if ", 0-" not in clause),
        *(
            f"unknown, {reason}, {kind}: {policy}"
            for reason in ("unknown_cid", "dead_worker", "elsewhere")
            for kind in ("handshake", "retry", "none")
            for policy in POLICIES
        ),
        *(
            f"unknown, no_worker, {kind}: {policy}"
            for kind in ("handshake", "retry", "none")
            for policy in ("hash", "drop")
        ),
        "short DCID: cid_length",
        "short DCID: of no configuration",
        "short DCID: of its configuration",
        "short DCID: told",
        "short DCID: told, above 20 bytes",
        "server ID: no configuration",
        "server ID: short",
        "server ID: another length told",
        "server ID: short for the extractor",
        *(f"server ID, {how}: {whose}" for how in CARRIED for whose in WHOSE),
        "host: not said",
        *(
            f"host, {width} bytes: {whose}"
            for width in ("below 8", "8", "above 8")
            for whose in (OWN, ELSEWHERE, "unknown")
        ),
        *(
            f"by server ID, {kind}: {state}"
            for kind in ("handshake", "retry", "none")
            for state in SERVES
        ),
        "order: route before server ID, long",
        "order: route before server ID, short",
        "order: server ID before route",
        "order: elsewhere before route",
        "order: nothing before route",
        *(f"order: server ID before host, {whose}" for whose in (OWN, ELSEWHERE)),
    )
)
SPLIT = frozenset(f"{header}: beyond the first buffer" for header in ("ipv4", "ipv6", "udp"))
CLAUSES -= {clause for clause in CLAUSES if clause.startswith("small ") and ", none:" in clause}


# ---- 5. Server IDs ------------------------------------------------------------------------------
class Config:
    """A QUIC-LB configuration (draft-ietf-quic-load-balancers-21, section 5)."""

    def __init__(self, known):
        self.number = known["id"]
        self.server_id = known["server_id"]  # octets
        self.host = known["host"]  # so many of them say which host; 0: they do not
        self.size = known["server_id"] + known["nonce"]
        self.length = known["length"]  # of a short header's DCID; 0: each tells its own
        self.kind = "plain"
        if known["key"]:
            cipher = Cipher(algorithms.AES(bytes.fromhex(known["key"])), modes.ECB())
            self.encrypt, self.decrypt = cipher.encryptor().update, cipher.decryptor().update
            self.kind = f"four passes, {'odd' if self.size % 2 else 'even'}"
            if self.size == 16:
                self.kind = "one block"

    def encipher(self, octets):
        if self.kind == "plain":
            return octets
        if self.kind == "one block":
            return self.encrypt(octets)
        return four_passes(self.encrypt, octets, (1, 2, 3, 4))

    def decipher(self, octets):
        if self.kind == "plain":
            return octets
        if self.kind == "one block":
            return self.decrypt(octets)
        return four_passes(self.encrypt, octets, (4, 3, 2, 1))


def four_passes(encrypt, octets, passes):
    """Section 5.4.2, in hexadecimal digits: of n octets each half has n."""
    size = len(octets)
    digits = size + size % 2  # a half begins and ends with an octet
    left, right = octets.hex()[:size], octets.hex()[size:]
    for number in passes:
        half = left.ljust(digits, "0") if number % 2 else right.rjust(digits, "0")
        block = bytes.fromhex(half).ljust(14, b"\0") + bytes((size, number))
        mask = encrypt(block).hex()[:digits]
        if number % 2:
            right = digits_xor(right, mask[-size:])
        else:
            left = digits_xor(left, mask[:size])
    return bytes.fromhex(left + right)


def digits_xor(some, others):
    return f"{int(some, 16) ^ int(others, 16):0{len(some)}x}"


# ---- 6. The two hashes --------------------------------------------------------------------------
def siphash(key, data):
    """SipHash-1-3 (Aumasson and Bernstein, "SipHash: a fast short-input PRF"), 64 bits."""
    mask = 0xFFFFFFFFFFFFFFFF
    v0, v1 = key[0] ^ 0x736F6D6570736575, key[1] ^ 0x646F72616E646F6D
    v2, v3 = key[0] ^ 0x6C7967656E657261, key[1] ^ 0x7465646279746573
    padded = data + bytes(7 - len(data) % 8) + bytes((len(data) & 255,))
    words = struct.unpack(f"<{len(padded) // 8}Q", padded)
    for word in words + (None, 0, 0):
        if word is None:
            v2 ^= 0xFF
            word = 0
        v3 ^= word
        v0 = v0 + v1 & mask
        v1 = (v1 << 13 & mask | v1 >> 51) ^ v0
        v0 = v0 << 32 & mask | v0 >> 32
        v2 = v2 + v3 & mask
        v3 = (v3 << 16 & mask | v3 >> 48) ^ v2
        v0 = v0 + v3 & mask
        v3 = (v3 << 21 & mask | v3 >> 43) ^ v0
        v2 = v2 + v1 & mask
        v1 = (v1 << 17 & mask | v1 >> 47) ^ v2
        v2 = v2 << 32 & mask | v2 >> 32
        v0 ^= word
    return v0 ^ v1 ^ v2 ^ v3

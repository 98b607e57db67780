# SPDX-License-Identifier: GPL-2.0-only
"""Packets for the differential run: valid ones of every kind, and ones that are wrong in one place.

A packet is built from the payload outwards, each part mostly right, sometimes wrong by one, at
times at random; a few are cut or altered afterwards.  The same seed and world, the same packets.
"""
import random
import struct

from model import EXTRACTOR, MAPPED, MAX_CID, V1, V2

LEAST_FRAME = 14  # BPF_PROG_TEST_RUN takes no less
MOST_FRAME = 3200  # nor more than a page less its own, in one buffer

# Versions that have no types: negotiation, greased, drafts, those next to and the wrong way round.
VERSIONS = (0, 0, 0x1A2A3A4A, 0x0A0A0A0A, 0xFAFAFAFA, 0xFF00001D, 2, 0x01000000, 0xCF43336B)
VERSIONS += (0x6B3343CE, 0x6B3343D0, 0x00010001, 0x6B33, 0xFFFFFFFF, 0x80000001)
NOT_QUIC = (
    b"\x00\x01\x00\x00\x21\x12\xa4\x42",  # STUN
    b"\x01\x01\x00\x08\x21\x12\xa4\x42",
    b"\x10\x00ZRTP\x00\x00",
    b"\x16\xfe\xfd\x00\x00\x00\x00\x00",  # DTLS
    b"\x3f\xfe\xfd\x00\x01\x00\x00\x00",
    b"\x40\x00\x00\x10\x00\x00\x00\x00",  # TURN channel: has the bit
    b"\x80\x60\x00\x01\x00\x00\x00\x00",  # RTP
    b"\x80\x00\x00\x00\x01\x08\x00\x00",  # and what could be an Initial as well
    b"\x90\x6b\x33\x43\xcf\x08\x00\x00",
    b"\xbf\xc8\x00\x01\x00\x00\x00\x00",
)
EXTENSIONS = (0, 43, 44, 60)
STRANGERS = (6, 50, 51, 58, 59, 135, 139, 253)  # other protocols, other extension headers
ETHER_TYPES = (0x0806, 0x88CC, 0x0100, 0x9100, 0x0008, 0xDD86, 0x0081)
NOBODYS = (
    MAPPED + bytes((127, 0, 0, 1)),
    MAPPED + bytes((224, 0, 0, 251)),
    MAPPED + bytes(4),
    bytes(15) + b"\x01",
    bytes(16),
    b"\xff\x02" + bytes(13) + b"\x01",
)


class Generator:
    def __init__(self, world, seed, split):
        self.world = world
        self.split = split  # the kernel takes frames in several buffers
        self.random = random.Random(seed)
        self.chance = self.random.random
        self.exact = list(world.exact)
        ports = sorted(set(world.any6) | set(world.any4))
        self.wild = [(port, port in world.any6, world.any4.get(port)) for port in ports]
        self.ports = ports + [port for _, port in self.exact]
        self.local = sorted(world.locals)
        self.cids = [(service, cid) for service, cid in world.routes]
        self.cids_of = {service: [] for service in world.services}
        for service, cid in self.cids:
            self.cids_of[service].append(cid)
        self.fit_of = {}  # as long as a short header has them
        for number, service in world.services.items():
            own = self.cids_of[number]
            self.fit_of[number] = [c for c in own if len(c) == service.short_length(c)[0]]
        self.server_ids_of = {service: {} for service in world.services}
        for service, config, server_id in world.servers:
            self.server_ids_of[service].setdefault(config, []).append(server_id)
        self.hosts_of = {service: {} for service in world.services}
        for service, config, begin in world.hosts:
            self.hosts_of[service].setdefault(config, []).append(begin)
        self.service = None
        self.lease = True
        self.pattern = self.random.randbytes(4096)

    # ---- choices -------------------------------------------------------------------------------
    def pick(self, choices):
        return choices[int(self.chance() * len(choices))]

    def below(self, bound):
        return int(self.chance() * bound)

    def bytes(self, size):
        """That look random: what only fills need not be.  None if there is no room."""
        if size <= 24:
            return self.random.randbytes(max(size, 0))
        begin = self.below(4096 - size) if size < 4096 else 0
        return self.pattern[begin : begin + size]

    def near(self, number, most):
        """A number that is right, or nearly, or not at all."""
        choice = self.chance()
        if choice < 0.5:
            number += self.pick((-1, 1))
        elif choice < 0.7:
            number += self.pick((-9, -8, -7, -4, -2, 2, 4, 7, 8, 9))
        elif choice < 0.85:
            number = self.below(64)
        elif choice < 0.95:
            number = self.below(most + 1)
        else:
            number = number >> 8 | (number & 255) << 8
        return min(max(number, 0), most)

    # ---- where to ------------------------------------------------------------------------------
    def destination(self):
        """Address and port, and the service that may be meant."""
        choice = self.chance()
        if choice < 0.14:
            address, port = self.pick(self.exact)
            self.service = self.world.exact[address, port][0]
            if self.chance() < 0.1:
                port = self.pick(self.ports)
            return address, port
        port, six, four = self.pick(self.wild)
        found = self.world.any6[port] if six else four
        address = self.address(six)
        if four and address.startswith(MAPPED):
            found = four
        self.service = found[0]
        if choice < 0.17:
            port = self.near(port, 65535)
        return address, port

    def address(self, six):
        choice = self.chance()
        if choice < 0.45:
            found = self.pick(self.local)
        elif choice < 0.83:
            found = self.within(*self.pick(self.world.prefixes))
        elif choice < 0.9:
            found = self.flipped(self.pick(self.local))
        elif choice < 0.94:
            found = self.beside(*self.pick(self.world.prefixes))
        elif choice < 0.97:
            found = self.pick(self.world.elsewhere)
        elif choice < 0.98:
            found = self.pick(NOBODYS)
        elif choice < 0.99:
            found = self.pick(self.exact)[0]
        else:
            found = self.random.randbytes(16)
        # A wildcard of IPv4 alone gets some of the other family.
        if not six and not found.startswith(MAPPED) and self.chance() < 0.8:
            found = MAPPED + self.pick(self.world.prefixes)[0][12:]
        return found

    def within(self, address, bits):
        """An address of a prefix: what is behind it is anything."""
        if bits == 128:
            return address
        keep = int.from_bytes(address, "big") >> 128 - bits << 128 - bits
        return (keep | self.random.getrandbits(128 - bits)).to_bytes(16, "big")

    def beside(self, address, bits):
        """One that differs from a prefix in its last bits only."""
        number = int.from_bytes(address, "big") ^ 1 << 128 - bits + self.pick((0, 0, 0, 1, 2, 3))
        return number.to_bytes(16, "big")

    def flipped(self, data):
        at = self.below(len(data))
        return data[:at] + bytes((data[at] ^ 1 << self.below(8),)) + data[at + 1 :]

    # ---- payload -------------------------------------------------------------------------------
    def cid(self, size=None):
        """A connection ID that is issued, or nearly; of @size bytes if somebody cuts there."""
        own = self.cids_of[self.service]
        choice = self.chance()
        if choice < 0.5 and own:
            found = self.pick(size and self.fit_of[self.service] or own)
            if choice > 0.42:
                found = self.flipped(found)
            elif choice > 0.4 and not size:
                found = found[:-1] if choice > 0.41 else found + self.bytes(1)
            return found
        if choice < 0.58:
            return self.pick(self.cids)[1]
        if size:
            return self.bytes(size)
        if choice < 0.9:
            return self.bytes(self.pick((0, 0, 1, 4, 7, 8, 8, 8, 16, 18, 19, 20, 20, 20)))
        if choice < 0.95:
            return self.bytes(self.pick((21, 21, 22, 32, 254, 255)))
        return self.bytes(self.below(256))

    def carrier(self, short):
        """A connection ID that says who made it, or nearly."""
        service = self.world.services[self.service]
        cid = self.extracted(service, short) if service.extractor else self.made(service, short)
        return self.flipped(cid) if cid and self.chance() < 0.06 else cid

    def extracted(self, service, short):
        """With somebody's octets where the extractor looks."""
        at, size = service.extractor
        length = service.cid_length
        if not short and self.chance() < 0.5:
            length = at + size + self.below(MAX_CID + 1 - at - size)
        if self.chance() < 0.05:
            length = at + size - 1
        server_id = self.server_id(EXTRACTOR, size)
        return (self.bytes(at) + server_id + self.bytes(MAX_CID))[:length]

    def server_id(self, config, size):
        """One that is known, or that begins like a host's; behind that is anything, or zero."""
        if self.chance() < 0.6:
            return self.pick(self.server_ids_of[self.service][config])
        begin = self.pick(self.hosts_of[self.service][config])
        if self.chance() < 0.1:
            begin = self.flipped(begin)
        rest = size - len(begin)
        return begin + (bytes(rest) if self.chance() < 0.2 else self.random.randbytes(rest))

    def made(self, service, short):
        """By one of QUIC-LB's configurations, mostly one that is live."""
        live = self.chance() < 0.9 or not service.others
        config = self.pick(list((service.configs if live else service.others).values()))
        least = 1 + config.size
        nonce = self.random.randbytes(config.size - config.server_id)
        body = config.encipher(self.server_id(config.number, config.server_id) + nonce)
        size = config.length
        if not size or not short:
            size = least + self.pick((0, self.below(MAX_CID + 1 - least)))
        if self.chance() < 0.06:
            size = self.pick((least - 1, least - 1, least - 2, 1 + self.below(least)))
        told = size - 1 if not config.length else self.below(32)
        if self.chance() < 0.06:
            told = self.near(told, 31)
        number = config.number if self.chance() < 0.94 else self.below(8)
        body += self.bytes(size - least)
        if not short and self.chance() < 0.04:  # of some versions an ID is cut to 20 bytes
            size, body = MAX_CID + self.below(13), body + self.bytes(2 * MAX_CID)
            told = self.pick((MAX_CID, size)) - 1
        return (bytes((number << 5 | told,)) + body)[:size]

    def some_cid(self, short):
        if self.server_ids_of[self.service] and self.chance() < 0.6:
            return self.carrier(short)
        return self.cid(self.world.services[self.service].cid_length if short else None)

    def long_header(self):
        choice = self.chance()
        if choice < 0.4:
            version = V1
        elif choice < 0.7:
            version = V2
        elif choice < 0.96:
            version = self.pick(VERSIONS)
        else:
            version = self.random.getrandbits(32)
        first = 0x80 | self.below(64)
        if self.chance() < 0.93:
            first |= 0x40
        cid = self.some_cid(False) if self.chance() < 0.95 else b""
        header = struct.pack(">BIB", first, version, len(cid)) + cid
        choice = self.chance()
        if choice < 0.25:
            size = len(header) + self.pick((-2, -1, -1, 0, 0, 1, 2))
        elif choice < 0.28:
            size = self.pick((1, 5, 5, 6, 6, 7))
        elif choice < 0.3:
            size = self.below(len(header) + 1)
        elif choice < 0.5:
            size = self.pick((1198, 1199, 1199, 1200, 1200, 1201))
        elif choice < 0.62:
            size = 1200 + self.below(300)
        else:
            size = len(header) + self.below(150)
        return header[:size] + self.bytes(size - len(header))

    def short_header(self):
        first = self.below(64) | (0x40 if self.chance() < 0.9 else 0)
        cid = self.some_cid(True)
        header = bytes((first,)) + cid
        end = 1 + self.world.services[self.service].short_length(cid)[0]
        choice = self.chance()
        if choice < 0.3:
            size = end + self.pick((-2, -1, -1, 0, 0, 1, 2))
        elif choice < 0.33:
            size = self.below(end + 1)
        else:
            size = end + self.below(80)
        return (header + self.bytes(size - len(header)))[: max(size, 0)]

    def payload(self):
        choice = self.chance()
        if choice < 0.56:
            return self.long_header()
        if choice < 0.88:
            return self.short_header()
        if choice < 0.94:
            return self.pick(NOT_QUIC) + self.bytes(self.below(40))
        if choice < 0.98:
            return self.random.randbytes(self.below(60))
        return b""

    # ---- headers -------------------------------------------------------------------------------
    def udp(self, port):
        payload = self.payload()
        size = 8 + len(payload)
        said = size if self.chance() < 0.94 else self.near(size, 65535)
        if self.chance() < 0.01:
            said = self.pick((0, 0, 1, 7, 7, 8))
        source = self.random.getrandbits(16)
        checksum = self.random.getrandbits(16)
        whole = struct.pack(">4H", source, port, said, checksum) + payload
        choice = self.chance()
        if choice < 0.04:
            whole += self.bytes(1 + self.below(20))
        elif choice < 0.05:
            whole = whole[: self.pick((0, 4, 7, 7, 8))]
        return whole

    def ipv4(self, destination, above):
        words = 5 if self.chance() < 0.85 else 6 + self.below(10)
        said_words = words if self.chance() < 0.985 else self.below(16)
        total = 4 * words + len(above)
        said = total
        choice = self.chance()
        if choice < 0.04:
            said = self.near(total, 65535)
        elif choice < 0.05:
            said = 4 * words + self.pick((-1, 0, 7, 7, 8))
        flags = 0x4000
        choice = self.chance()
        if choice < 0.3:
            flags = self.pick((0, 0, 0, 0x8000, 0xC000))
        elif choice < 0.34:
            flags = self.pick((0x2000, 0x6000, 1, 0x0100, 0x1FFF, 0x20, 0x8001, 0x2001))
        version = 4 if self.chance() < 0.99 else self.below(16)
        protocol = 17 if self.chance() < 0.985 else self.pick(STRANGERS + EXTENSIONS + (136,))
        head = struct.pack(
            ">BBHHHBBH4s4s",
            version << 4 | said_words,
            self.below(256),
            said,
            self.random.getrandbits(16),
            flags,
            1 + self.below(255),
            protocol,
            self.random.getrandbits(16),
            self.random.randbytes(4),
            destination[12:],
        )
        return head + self.bytes(4 * words - 20) + above

    def short_ipv4(self):
        """A header of 16 bytes: who takes it reads UDP's ports from the destination's address."""
        port, six, four = self.pick(self.wild)
        self.service = (self.world.any6[port] if six and not four else four)[0]
        payload = self.payload()
        inner = struct.pack(">HH", 8 + len(payload), self.random.getrandbits(16)) + payload
        wide = [p for p in self.world.prefixes if p[0].startswith(MAPPED) and p[1] <= 112]
        if not wide:
            return self.ipv4(self.pick(self.local), inner)
        destination = self.within(*self.pick(wide))[:14] + port.to_bytes(2, "big")
        head = struct.pack(">BBHH", 0x44, 0, 20 + len(inner), self.random.getrandbits(16))
        head += struct.pack(">HBBH4s4s", 0x4000, 64, 17, 0, self.bytes(4), destination[12:])
        return head + inner

    def chain(self):
        """Extension headers: a list of type and bytes without the first, which says what follows."""
        choice = self.chance()
        if choice < 0.6:
            return []
        if choice < 0.8:  # in the order of RFC 8200, section 4.1
            kinds = [k for k in (0, 60, 43, 44, 60) if self.chance() < 0.4]
        elif choice < 0.87:
            kinds = [self.pick((60, 60, 43, 44)) for _ in range(self.pick((7, 8, 8, 9, 9, 10)))]
        elif choice < 0.91:
            kinds = [self.pick(EXTENSIONS) for _ in range(1 + self.below(5))]
        elif choice < 0.94:
            kinds = [self.pick(EXTENSIONS + STRANGERS) for _ in range(1 + self.below(5))]
        else:  # up to the end of the first 512 bytes, and beyond
            kinds = [self.pick((0, 60, 60, 43))] + [60] * self.below(3)
            units = self.pick((54, 55, 55, 56, 56, 57, 57, 58, 60, 80, 250))
            extra = [self.pick((60, 44, 43))] if self.chance() < 0.4 else []
            parts = []
            for i, kind in enumerate(kinds):
                take = units - (len(kinds) - 1 - i) if i == len(kinds) - 1 else 1
                units -= take
                parts.append((kind, self.extension(kind, take)))
            return parts + [(kind, self.extension(kind, 1)) for kind in extra]
        return [(kind, self.extension(kind)) for kind in kinds]

    def extension(self, kind, units=None):
        if kind == 44:
            offset = 0
            if self.chance() < 0.2:
                offset = self.pick((1, 8, 0x0100, 0xFFF8, 0x8000, 9))
            if self.chance() < 0.3:
                offset |= self.pick((2, 4, 6))  # reserved
            reserved = self.below(256)
            return struct.pack(">BHI", reserved, offset, self.random.getrandbits(32))
        if not units:
            units = self.pick((1, 1, 1, 1, 2, 3, 1 + self.below(12)))
        said = units - 1
        if self.chance() < 0.02:
            said = self.near(said, 255)
        left = 0 if kind != 43 or self.chance() < 0.85 else self.pick((1, 1, 2, 128, 255))
        data = bytearray(self.bytes(8 * units - 1))
        data[0] = said
        if kind == 43:
            data[1], data[2] = self.pick((0, 2, 3, 4)), left
        return bytes(data)

    def ipv6(self, destination, above):
        chain = self.chain()
        following = 17 if self.chance() < 0.985 else self.pick(STRANGERS + EXTENSIONS)
        parts = [above]
        for kind, data in reversed(chain):
            parts.append(bytes((following,)) + data)
            following = kind
        inner = b"".join(reversed(parts))
        length = len(inner)
        choice = self.chance()
        if choice < 0.04:
            length = self.near(length, 65535)
        elif choice < 0.06:  # ends within an extension header, or within UDP
            length = max(len(inner) - len(above) + self.pick((-16, -8, -7, -1, 0, 7, 7, 8)), 0)
        elif chain and chain[-1][0] == 44 and choice < 0.12:  # with a fragment header
            length = len(inner) - len(above) + self.pick((-1, 0))
        elif choice < 0.065:
            length = 0
        version = 6 if self.chance() < 0.99 else self.below(16)
        head = struct.pack(
            ">IHBB16s16s",
            version << 28 | self.random.getrandbits(28),
            length,
            following,
            1 + self.below(255),
            self.random.randbytes(16),
            destination,
        )
        return head + inner

    def ethernet(self, ether_type, above):
        choice = self.chance()
        tags = 0 if choice < 0.7 else 1 if choice < 0.86 else 2 if choice < 0.96 else 3
        if choice > 0.99:
            tags = 4
        head = self.random.randbytes(12)
        for _ in range(tags):
            tag = self.pick((0x8100, 0x8100, 0x88A8))
            head += struct.pack(">HH", tag, self.random.getrandbits(16))
        if self.chance() < 0.01:
            ether_type = self.pick(ETHER_TYPES + (0x0800, 0x86DD))
        return head + struct.pack(">H", ether_type) + above

    # ---- frames --------------------------------------------------------------------------------
    def altered(self, frame):
        choice = self.chance()
        if choice < 0.03:
            frame = frame[: LEAST_FRAME + self.below(len(frame) - LEAST_FRAME)]
        elif choice < 0.05:
            frame = frame[: LEAST_FRAME + self.below(min(len(frame) - LEAST_FRAME, 100))]
        elif choice < 0.08:
            frame = frame + self.bytes(1 + self.below(46))
        elif choice < 0.11:
            frame = self.flipped(frame[:120]) + frame[120:]
        elif choice < 0.12:
            at = self.below(min(len(frame), 80))
            frame = frame[:at] + self.bytes(1) + frame[at + 1 :]
        elif choice < 0.13:
            at = self.below(min(len(frame), 80))
            frame = frame[:at] + self.bytes(1 + self.below(8)) + frame[at:]
        elif choice < 0.132:
            frame = self.random.randbytes(LEAST_FRAME + self.below(100))
        return frame

    def packet(self):
        """A frame, how much of it is in the first buffer (0: all), whether the lease is valid."""
        if self.chance() < 0.03:
            self.lease = self.chance() < 0.7
        if self.chance() < 0.003:
            return self.ethernet(0x0800, self.short_ipv4()), 0, self.lease
        address, port = self.destination()
        above = self.udp(port)
        if address.startswith(MAPPED) and self.chance() < 0.998:
            frame = self.ethernet(0x0800, self.ipv4(address, above))
        else:
            frame = self.ethernet(0x86DD, self.ipv6(address, above))
        udp = len(frame) - len(above)
        frame = self.altered(frame)
        first = 0
        if self.split and self.chance() < 0.06:
            first = self.buffer(len(frame), udp)
        elif self.split and self.chance() < 0.002:
            return frame + self.bytes(4096) + self.bytes(4096), 0, self.lease
        return frame[:MOST_FRAME], first, self.lease

    def buffer(self, size, udp):
        """Where a frame's first buffer ends: behind the headers, or near them, or anywhere."""
        choice = self.chance()
        if choice < 0.5:
            first = udp + 8 + self.pick((0, 0, 0, 1, 5, 6, 25, 26, 27))
        elif choice < 0.7:
            first = udp + self.pick((-20, -1, 0, 1, 4, 7, 7))
        elif choice < 0.85:
            first = LEAST_FRAME + self.below(60)
        else:
            first = LEAST_FRAME + self.below(size)
        return first if LEAST_FRAME <= first < min(size, MOST_FRAME) else 0

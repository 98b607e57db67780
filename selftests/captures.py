#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""captures.py DIR CID: writes capture files, byte by byte, for 25-explain.sh.

Each has packets to 10.9.1.1 or fd09:1::1 from 10.9.1.2 or fd09:1::2, port 7000.  No library that
knows the formats is used: pcap (draft-ietf-opsawg-pcap), pcapng (draft-ietf-opsawg-pcapng).
"""
import socket
import struct
import sys

directory, cid = sys.argv[1], bytes.fromhex(sys.argv[2])

ETHERNET, NULL, RAW, LOOP, SLL, IPV4, IPV6, SLL2 = 1, 0, 101, 108, 113, 228, 229, 276
MACS = bytes.fromhex("020000000001020000000002")
BLOCK_SHB, BLOCK_IDB, BLOCK_SPB, BLOCK_NRB, BLOCK_ISB, BLOCK_EPB = 0x0A0D0D0A, 1, 3, 4, 5, 6


# ---- packets --------------------------------------------------------------------------------
def short(dcid, size=100):
    return (b"\x40" + dcid).ljust(size, b"\xaa")


def handshake(dcid, size=100):
    return (b"\xe0\0\0\0\1" + bytes([len(dcid)]) + dcid + b"\0").ljust(size, b"\xaa")


def udp(payload, port=443, length=None):
    return struct.pack(">HHHH", 7000, port, length or 8 + len(payload), 0) + payload


def ip4(payload, protocol=17, fragment=0, length=None):
    return (
        struct.pack(">BBHHHBBH", 0x45, 0, length or 20 + len(payload), 1, fragment, 64, protocol, 0)
        + socket.inet_aton("10.9.1.2")
        + socket.inet_aton("10.9.1.1")
        + payload
    )


def ip6(payload, protocol=17):
    return (
        struct.pack(">IHBB", 6 << 28, len(payload), protocol, 64)
        + socket.inet_pton(socket.AF_INET6, "fd09:1::2")
        + socket.inet_pton(socket.AF_INET6, "fd09:1::1")
        + payload
    )


def ethernet(packet, tags=(), ether_type=None):
    kind = ether_type or (0x0800 if packet[0] >> 4 == 4 else 0x86DD)
    return MACS + b"".join(struct.pack(">HH", *tag) for tag in tags) + struct.pack(">H", kind) + packet


def sll(packet, kind):
    return struct.pack(">HHH8sH", 0, 1, 6, MACS, kind) + packet


def sll2(packet, kind):
    return struct.pack(">HHIHBB8s", kind, 0, 3, 1, 0, 6, MACS) + packet


# ---- files ----------------------------------------------------------------------------------
def write(name, data):
    with open(f"{directory}/{name}", "wb") as file:
        file.write(data)


def pcap(link, packets, order="<", nano=False, snap=262144):
    """packets: bytes, or (bytes, bytes that there were)."""
    data = struct.pack(order + "IHHiIII", 0xA1B23C4D if nano else 0xA1B2C3D4, 2, 4, 0, 0, snap, link)
    for packet in packets:
        packet, length = packet if isinstance(packet, tuple) else (packet, len(packet))
        data += struct.pack(order + "IIII", 1, 2, len(packet), length) + packet
    return data


def block(kind, body, order="<"):
    body += b"\0" * (-len(body) % 4)
    size = struct.pack(order + "I", 12 + len(body))
    return struct.pack(order + "I", kind) + size + body + size


def section(order="<"):
    return block(BLOCK_SHB, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(link, snap=262144, order="<"):
    return block(BLOCK_IDB, struct.pack(order + "HHI", link, 0, snap), order)


def enhanced(packet, length=None, order="<", number=0):
    head = struct.pack(order + "IIIII", number, 0, 1, len(packet), length or len(packet))
    return block(BLOCK_EPB, head + packet, order)


def simple(packet, order="<"):
    return block(BLOCK_SPB, struct.pack(order + "I", len(packet)) + packet, order)


def pcapng(link, packets, order="<"):
    return section(order) + interface(link, order=order) + b"".join(enhanced(p, order=order) for p in packets)


# ---- the same two packets behind each link header -------------------------------------------
v4, v6 = ip4(udp(short(cid))), ip6(udp(short(cid)))
links = {
    "ethernet": (ETHERNET, ethernet(v4), ethernet(v6)),
    "raw": (RAW, v4, v6),
    "ipv4": (IPV4, v4, v4),
    "ipv6": (IPV6, v6, v6),
    "sll": (SLL, sll(v4, 0x0800), sll(v6, 0x86DD)),
    "sll2": (SLL2, sll2(v4, 0x0800), sll2(v6, 0x86DD)),
    "null": (NULL, struct.pack("<I", 2) + v4, struct.pack("<I", 30) + v6),
    "null-swapped": (NULL, struct.pack(">I", 2) + v4, struct.pack(">I", 24) + v6),
    "loop": (LOOP, struct.pack(">I", 2) + v4, struct.pack(">I", 28) + v6),
}
for name, (link, *packets) in links.items():
    write(f"{name}.pcap", pcap(link, packets))
    write(f"{name}.pcapng", pcapng(link, packets))
write("big-endian.pcap", pcap(ETHERNET, links["ethernet"][1:], ">"))
write("big-endian.pcapng", pcapng(ETHERNET, links["ethernet"][1:], ">"))
write("nanoseconds.pcap", pcap(ETHERNET, links["ethernet"][1:], nano=True))

# ---- tags, extension headers, fragments, what is no UDP --------------------------------------
tag, outer = (0x8100, 0xE000 | 100), (0x88A8, 7)
options = bytes([17, 0, 1, 4, 0, 0, 0, 0])
whole = udp(short(cid, 1400))
write(
    "layers.pcap",
    pcap(
        ETHERNET,
        [
            ethernet(v4, [tag]),
            ethernet(v6, [outer, tag]),
            ethernet(v4, [tag] * 10),
            ethernet(ip6(bytes([60]) + options[1:] + options + udp(short(cid)), 0)),
            ethernet(ip6(b"\x11\0\0\1\0\0\0\5" + whole[:800], 44)),
            ethernet(ip6(b"\x11\0\3\x20\0\0\0\5" + whole[800:], 44)),
            ethernet(ip6(b"\x11\0\0\0\0\0\0\5" + udp(short(cid)), 44)),
            ethernet(ip4(whole[:800], fragment=0x2000)),
            ethernet(ip4(whole[800:], fragment=100)),
            ethernet(ip4(bytes(20), 6)),
            ethernet(ip4(bytes(20), 132)),
            ethernet(bytes(28), ether_type=0x0806),
            ethernet(b"\x52" + v4[1:], ether_type=0x0800),
            ethernet(v4[:26]),
            ethernet(ip4(udp(b"", length=5))),
            ethernet(ip4(udp(short(cid), length=500), length=520)),
        ],
    ),
)
write("sll-vlan.pcap", pcap(SLL, [sll(struct.pack(">HH", 100, 0x0800) + v4, 0x8100)]))
write("netlink.pcap", pcap(RAW, [b"\0" * 40, b""]))
write("family.pcap", pcap(NULL, [struct.pack("<I", 3) + v4, b"\2\1\0\0" + v4]))

# ---- packet numbers: what is no packet is between ---------------------------------------------
numbered = [ethernet(ip4(udp(short(bytes([n] * 8))))) for n in range(1, 6)]
names, statistics = block(BLOCK_NRB, bytes(4)), block(BLOCK_ISB, bytes(12))
write(
    "numbers.pcapng",
    section()
    + names
    + interface(ETHERNET)
    + enhanced(numbered[0])
    + statistics
    + simple(numbered[1])
    + block(0xBAD, b"custom block")
    + interface(ETHERNET)
    + enhanced(numbered[2], number=1)
    + names
    + section()
    + interface(ETHERNET)
    + enhanced(numbered[3])
    + block(0x80000001, bytes(40))
    + enhanced(numbered[4])
    + statistics,
)
write("numbers.pcap", pcap(ETHERNET, numbered))
write("one.pcap", pcap(ETHERNET, numbered[:1]))
write("none.pcap", pcap(ETHERNET, []))

# ---- cut by the snap length: 14 Ethernet, 20 IP, 8 UDP, 1 + 8 QUIC ----------------------------
long4, tcp4 = ethernet(ip4(udp(handshake(cid, 1200)))), ethernet(ip4(bytes(1000), 6))
other, zero = ethernet(ip4(udp(short(cid, 1200), 80))), ethernet(ip4(udp(short(cid, 1200), 1000)))
sizes = [56, 55, 48, 47, 42, 41, 34, 33, 14, 13]
write("cut.pcap", pcap(ETHERNET, [(long4[:n], len(long4)) for n in sizes]))
write("cut.pcapng", section() + interface(ETHERNET) + b"".join(enhanced(long4[:n], len(long4)) for n in sizes))
short4 = ethernet(ip4(udp(short(cid, 1200))))
jumbo = ethernet(ip4(udp(short(cid, 8000))))
write("cut-short.pcap", pcap(ETHERNET, [(short4[:51], len(short4)), (short4[:50], len(short4))]))
write("cut-other.pcap", pcap(ETHERNET, [(p[:42], len(p)) for p in (tcp4, other, zero)] + [(other[:41], len(other))]))
extended = ethernet(ip6(bytes([60]) + options[1:] + options + udp(short(cid)), 0))
write("cut-tag.pcap", pcap(ETHERNET, [(ethernet(v4, [tag])[:16], 146), (extended[:65], len(extended))]))
write("cut-sll.pcap", pcap(SLL, [(links["sll"][1][:15], 144)]))
write("jumbo.pcap", pcap(ETHERNET, [jumbo, (jumbo[:5000], len(jumbo)), (jumbo[:60], len(jumbo))]))
write("liar.pcap", pcap(ETHERNET, [(ethernet(v4), 20)]))

# ---- what is wrong ----------------------------------------------------------------------------
good = pcap(ETHERNET, numbered)
write("empty", b"")
write("text", b"this is no capture, but it is long enough to be one\n")
write("header-only", good[:20])
write("truncated.pcap", good[:-30])
write("truncated.pcapng", pcapng(ETHERNET, numbered)[:-30])
write("huge-record.pcap", good[: 24 + 16 + len(numbered[0])] + struct.pack("<IIII", 0, 0, 0x7FFFFFFF, 60) + bytes(100))
write("huge-block.pcapng", section() + interface(ETHERNET) + struct.pack("<II", 6, 0x7FFFFFF0) + bytes(100))
write("small-block.pcapng", section() + interface(ETHERNET) + struct.pack("<II", 6, 4) + bytes(100))
write("no-interface.pcapng", section() + enhanced(numbered[0]))
write("two-links.pcapng", section() + interface(ETHERNET) + enhanced(numbered[0]) + interface(SLL) + enhanced(numbered[1]))
write("wireless.pcap", pcap(127, numbered))
write("unnamed.pcap", pcap(9999, numbered))
write("tiny.pcap", pcap(ETHERNET, [numbered[0], b"\1\2\3"]))
write("interfaces.pcapng", section() + interface(ETHERNET) * 600000 + enhanced(numbered[0]))

# ---- and anything: good files with a few bytes that are others, the same in each run ----------
state = 25


def dice(sides):
    """Knuth's MMIX generator: the interpreter of a guest has no module random."""
    global state
    state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
    return (state >> 33) % sides


def pick(*values):
    return values[dice(len(values))]


for number in range(80):
    name = pick("layers.pcap", "numbers.pcapng", "sll.pcap", "sll2.pcapng", "cut.pcap", "null.pcap")
    with open(f"{directory}/{name}", "rb") as file:
        data = bytearray(file.read())
    for _ in range(pick(1, 3, 10, 40)):
        data[dice(len(data))] = pick(0, 1, 0x7F, 0x80, 0xFF, dice(256))
    write(f"any{number}", data[: pick(len(data), dice(len(data)))])

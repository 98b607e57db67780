# SPDX-License-Identifier: GPL-2.0-only
"""frame: Ethernet frames that no UDP socket would send, with a QUIC short header in them.

    frame.py --device NAME --to MAC [--count N] [--print] WORD...

Each word is one thing of the frame, from the outside to the inside:

    tag=TYPE:ID         a tag, both hexadecimal: 8100:64
    v4=FROM,TO  v6=FROM,TO
    options=HEX         of IPv4
    hop  dest  route=LEFT  atomic  fragment    extension headers of IPv6, 8 bytes each
    more                IPv4: more fragments follow
    udp=PORT            destination; the source ports are 20000 and the next ones, one for each frame
    length=+N, -N, =N   of UDP, other than it is
    payload=HEX
    ip-end              IP's length ends here; what follows is padding
    padding=HEX

Prints how many were sent; --print sends nothing and prints each as hexadecimal digits.
"""
import argparse
import ipaddress
import socket
import struct

NEXT = {"hop": 0, "route": 43, "fragment": 44, "atomic": 44, "dest": 60, "udp": 17}


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def extension(name, value, following):
    if name in ("hop", "dest"):
        return struct.pack("!BBBB4x", following, 0, 1, 4)  # PadN of 6 bytes
    if name == "route":
        return struct.pack("!BBBBI", following, 0, 0, int(value), 0)
    more = 1 if name == "fragment" else 0
    return struct.pack("!BxHI", following, more, 7)


def udp(words, sport, pseudo):
    payload = bytes.fromhex(words.get("payload", ""))
    length = real = 8 + len(payload)
    change = words.get("length", "+0")
    length = int(change[1:]) if change[0] == "=" else length + int(change)
    header = struct.pack("!HHH", sport, int(words["udp"]), length)
    # The receiver sums up what UDP's length says, or discards what is longer than it is.
    covered = (header + b"\0\0" + payload)[: length or real]
    value = checksum(pseudo + struct.pack("!IHH", length or real, 0, 17) + covered)
    return header + struct.pack("!H", value or 0xFFFF) + payload


def ipv4(words, sport):
    source, to = (ipaddress.ip_address(a).packed for a in words["v4"].split(","))
    options = bytes.fromhex(words.get("options", ""))
    inner = udp(words, sport, source + to)
    if "ip-end" not in words:
        inner += bytes.fromhex(words.get("padding", ""))
    header = struct.pack("!BBHHHBBH", 0x45 + len(options) // 4, 0, 20 + len(options) + len(inner),
                         7, 0x2000 if "more" in words else 0, 64, 17, 0)
    header += source + to + options
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + inner


def ipv6(words, sport, order):
    source, to = (ipaddress.ip_address(a).packed for a in words["v6"].split(","))
    chain = [(n, v) for n, v in order if n in NEXT]
    inner = b""
    for (name, value), (following, _) in zip(chain, chain[1:]):
        inner += extension(name, value, NEXT[following])
    inner += udp(words, sport, source + to)
    if "ip-end" not in words:
        inner += bytes.fromhex(words.get("padding", ""))
    return struct.pack("!IHBB", 0x60000000, len(inner), NEXT[chain[0][0]], 64) + source + to + inner


def frame(order, macs, sport):
    words = dict(order)
    data = macs
    for name, value in order:
        if name == "tag":
            kind, number = value.split(":")
            data += struct.pack("!HH", int(kind, 16), int(number, 16))
    if "v4" in words:
        data += b"\x08\x00" + ipv4(words, sport)
    else:
        data += b"\x86\xdd" + ipv6(words, sport, order)
    if "ip-end" in words:
        data += bytes.fromhex(words.get("padding", ""))
    return data


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", required=True)
    parser.add_argument("--to", required=True)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--print", action="store_true")
    parser.add_argument("word", nargs="+")
    args = parser.parse_args()
    order = [tuple(word.partition("=")[::2]) for word in args.word]
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as device:
        device.bind((args.device, 0))
        macs = bytes.fromhex(args.to.replace(":", "")) + device.getsockname()[4]
        for number in range(args.count):
            data = frame(order, macs, 20000 + number)
            if args.print:
                print(data.hex())
            else:
                device.send(data)
    if not args.print:
        print(args.count)


main()

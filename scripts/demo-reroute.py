#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Rewrite the route of one client's connection to another worker, with bpftool.

usage: demo-reroute.py CIDSTEER BPFFS INTERFACE LOW-HIGH

The client is the one whose datagrams come from source ports LOW to HIGH.  Which of its
connection IDs is in use, only its packets say: one short header is read from INTERFACE.
Prints what was done, as one line.
"""
import json
import socket
import subprocess
import sys

ETH_P_ALL = 3
CID_BYTES = 8
WORKER_MASK = 0x7FFF
PATIENCE = 5  # seconds


def udp_of(frame):
    """Source port, destination port and payload, or None."""
    eth_type = int.from_bytes(frame[12:14], "big")
    if eth_type == 0x0800 and frame[23] == socket.IPPROTO_UDP:
        udp = frame[14 + (frame[14] & 15) * 4 :]
    elif eth_type == 0x86DD and frame[20] == socket.IPPROTO_UDP:
        udp = frame[54:]
    else:
        return None
    return int.from_bytes(udp[0:2], "big"), int.from_bytes(udp[2:4], "big"), udp[8:]


def dcid_in_use(interface, low, high):
    """DCID of the next short header from one of these ports."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as packets:
        packets.bind((interface, 0))
        packets.settimeout(PATIENCE)
        while True:
            udp = udp_of(packets.recv(2048))
            if udp and low <= udp[0] <= high and udp[1] == 443 and not udp[2][0] & 0x80:
                return udp[2][1 : 1 + CID_BYTES].hex()


def ask(*command):
    return json.loads(subprocess.check_output(command))


def number(hex_bytes):
    return int.from_bytes(bytes(int(byte, 16) for byte in hex_bytes), "little")


def in_hex(value, size):
    return [f"{byte:02x}" for byte in value.to_bytes(size, "little")]


def rewrite(table, bucket, tag, worker):
    """Give the route in this bucket to a worker; whether it was there."""
    key = ["key", "hex", *in_hex(bucket, 4)]
    found = ask("bpftool", "-j", "map", "lookup", "id", str(table), *key)
    words = [number(found["value"][i : i + 8]) for i in range(0, 64, 8)]
    routes = [word >> 16 == tag and word != 0 for word in words]
    if not any(routes):
        return False
    words = [word & ~WORKER_MASK | worker if here else word for word, here in zip(words, routes)]
    value = [byte for word in words for byte in in_hex(word, 8)]
    command = ["bpftool", "map", "update", "id", str(table), *key, "value", "hex", *value]
    subprocess.check_call(command)
    return True


def main():
    cidsteer, bpffs, interface, ports = sys.argv[1:]
    low, high = (int(port) for port in ports.split("-"))
    cid = dcid_in_use(interface, low, high)
    route = ask(cidsteer, "--bpffs", bpffs, "lookup", cid, "--json")["services"][0]
    workers = ask(cidsteer, "--bpffs", bpffs, "workers", "--json")["workers"]
    other = next(w["id"] for w in workers if w["id"] != route["worker"])
    tables = ask("bpftool", "-j", "map", "dump", "pinned", bpffs + "/cs_cids")
    table = number(tables[0]["value"])
    if not any(rewrite(table, b, int(route["tag"], 16), other) for b in route["in_buckets"]):
        sys.exit(f"demo-reroute: {cid}: no such route in table {table}")
    print(f"route of {cid}: worker {route['worker']} -> {other}, in map {table}")


main()

# SPDX-License-Identifier: Apache-2.0
"""Just enough of IPv4 for the memory dataplane and for tests: make, take apart, rewrite.

Checksums are computed afresh, not updated, so that tests of the core's arithmetic can be held
against them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

from hashmvt.model import Endpoint, Proto

_PROTOCOLS = {Proto.ICMP: 1, Proto.TCP: 6, Proto.UDP: 17}
_NAMES = {number: proto for proto, number in _PROTOCOLS.items()}
_IP_HEADER = 20
_L4_HEADER = {Proto.ICMP: 8, Proto.TCP: 20, Proto.UDP: 8}
_CHECKSUM_AT = {Proto.ICMP: 2, Proto.TCP: 16, Proto.UDP: 6}
_ECHO_REPLY, _ECHO_REQUEST = 0, 8
_FRAGMENT = 0x3FFF
SYN = 0x02


@dataclass(frozen=True, slots=True)
class Flow:
    """Both ends of a packet. For ICMP the query id stands for the port of both."""

    source: Endpoint
    target: Endpoint


def checksum(data: bytes) -> int:
    """Return the Internet checksum."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:  # noqa: PLR2004
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def make(
    source: Endpoint,
    target: Endpoint,
    payload: bytes = b"",
    *,
    tcp_flags: int = SYN,
    reply: bool = False,
) -> bytes:
    """Return a packet between two endpoints of one protocol (``reply``: an ICMP echo reply)."""
    match source.proto:
        case Proto.UDP:
            segment = struct.pack("!HHHH", source.port, target.port, 8 + len(payload), 0)
        case Proto.TCP:
            segment = struct.pack(
                "!HHIIBBHHH", source.port, target.port, 1, 0, 5 << 4, tcp_flags, 65535, 0, 0
            )
        case Proto.ICMP:
            kind = _ECHO_REPLY if reply else _ECHO_REQUEST
            segment = struct.pack("!BBHHH", kind, 0, 0, source.port, 1)
    segment += payload
    header = struct.pack(
        "!BBHHHBBH4s4s",
        0x45,
        0,
        _IP_HEADER + len(segment),
        1,
        0,
        64,
        _PROTOCOLS[source.proto],
        0,
        source.addr.packed,
        target.addr.packed,
    )
    return _seal(bytearray(header + segment), source.proto)


def parse(data: bytes) -> Flow | None:
    """Take apart a packet without options that is no fragment; None for anything else."""
    if len(data) < _IP_HEADER or data[0] != 0x45:  # noqa: PLR2004
        return None
    length, fragment = struct.unpack_from("!H2xH", data, 2)
    proto = _NAMES.get(data[9])
    if proto is None or fragment & _FRAGMENT or length > len(data):
        return None
    if length < _IP_HEADER + _L4_HEADER[proto]:
        return None
    source, target = IPv4Address(data[12:16]), IPv4Address(data[16:20])
    if proto is Proto.ICMP:
        (query,) = struct.unpack_from("!H", data, 24)
        return Flow(Endpoint(source, query, proto), Endpoint(target, query, proto))
    ports = struct.unpack_from("!HH", data, _IP_HEADER)
    return Flow(Endpoint(source, ports[0], proto), Endpoint(target, ports[1], proto))


def rewrite(
    data: bytes, *, source: Endpoint | None = None, target: Endpoint | None = None
) -> bytes:
    """Return a packet with another source or target endpoint and right checksums."""
    packet = bytearray(data)
    flow = parse(data)
    if flow is None:
        raise ValueError("only a packet that parse understands can be rewritten")
    proto = flow.source.proto
    for endpoint, addr_at, port_at in ((source, 12, 20), (target, 16, 22)):
        if endpoint is None:
            continue
        packet[addr_at : addr_at + 4] = endpoint.addr.packed
        at = 24 if proto is Proto.ICMP else port_at
        struct.pack_into("!H", packet, at, endpoint.port)
    return _seal(packet, proto, keep_zero=proto is Proto.UDP and not any(data[26:28]))


def sound(data: bytes) -> bool:
    """Say whether all checksums of a packet that ``parse`` understands are right."""
    flow = parse(data)
    return flow is not None and data == rewrite(data)


def _seal(packet: bytearray, proto: Proto, *, keep_zero: bool = False) -> bytes:
    """Fill in both checksums; a UDP checksum that was absent stays so (RFC 768)."""
    packet[10:12] = b"\0\0"
    struct.pack_into("!H", packet, 10, checksum(bytes(packet[:_IP_HEADER])))
    at = _IP_HEADER + _CHECKSUM_AT[proto]
    packet[at : at + 2] = b"\0\0"
    if keep_zero:
        return bytes(packet)
    segment = bytes(packet[_IP_HEADER:])
    pseudo = b""
    if proto is not Proto.ICMP:
        pseudo = bytes(packet[12:20]) + struct.pack("!BBH", 0, packet[9], len(segment))
    value = checksum(pseudo + segment)
    struct.pack_into("!H", packet, at, value or (0xFFFF if proto is Proto.UDP else 0))
    return bytes(packet)

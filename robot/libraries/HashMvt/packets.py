# SPDX-License-Identifier: Apache-2.0
"""Packets that the suites send, built by scapy."""

import struct
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address
from typing import Any

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.packet import Raw
from scapy.utils import checksum as internet_checksum

from HashMvt import wire
from HashMvt.words import Checksum, Embed, HostPort, IcmpError, Query

TTL = 64
_DF = 0x4000
_QUOTE = 8
_EXTRA_CUT = 4
_WORD = 0xFFFF


def _ip(source: IPv4Address, target: IPv4Address, **fields: Any) -> IP:
    return IP(src=str(source), dst=str(target), ttl=TTL, **fields)


@lru_cache(maxsize=4096)
def udp(
    source: HostPort,
    target: HostPort,
    payload: bytes = b"",
    *,
    checksum: Checksum = Checksum.RIGHT,
    options: bytes = b"",
    ident: int = 1,
) -> bytes:
    """Return a datagram; a WRONG checksum is off by one.

    Remembered, because suites send the same ones again and again.
    """
    extra = {"options": options} if options else {}
    packet = _ip(source.addr, target.addr, id=ident, **extra)
    packet /= UDP(sport=source.port, dport=target.port) / Raw(payload)
    data = bytes(packet)
    at = wire.header(data).length + 6
    match checksum:
        case Checksum.NONE:
            return data[:at] + b"\0\0" + data[at + 2 :]
        case Checksum.WRONG:
            (right,) = struct.unpack_from("!H", data, at)
            wrong = right % _WORD + 1
            return data[:at] + struct.pack("!H", wrong) + data[at + 2 :]
        case _:
            return data


def udp_from_each(sources: Sequence[HostPort], target: HostPort, payload: bytes) -> list[bytes]:
    """Return a datagram from each source: one is built, the others are copies of another source.

    Each has an identification of its own, from 1. Building hundreds of packets field by field would
    take most of a suite's time.
    """
    if not sources:
        return []
    data = udp(sources[0], target, payload)
    return [_from(data, source, ident) for ident, source in enumerate(sources, 1)]


def _from(data: bytes, source: HostPort, ident: int) -> bytes:
    """Return a datagram without IP options as if it came from ``source``."""
    at = wire.header(data).length
    addr, port = source.addr.packed, struct.pack("!H", source.port)
    segment = port + data[at + 2 : at + 6] + b"\0\0" + data[at + 8 :]
    pseudo = addr + data[16:20] + struct.pack("!HH", wire.UDP, len(segment))
    right = internet_checksum(pseudo + segment) or _WORD
    segment = segment[:6] + struct.pack("!H", right) + segment[8:]
    head = data[:4] + struct.pack("!H", ident) + data[6:12] + addr + data[16:at]
    return wire.sealed(head + segment)


def zero_sum_payload(source: HostPort, target: HostPort) -> bytes:
    """Return a payload with which the checksum of the datagram computes to 0."""
    data = udp(source, target, b"\0\0")
    (complement,) = struct.unpack_from("!H", data, wire.header(data).length + 6)
    return struct.pack("!H", complement)


def tcp(source: HostPort, target: HostPort, flags: str = "S", payload: bytes = b"") -> bytes:
    """Return a segment; flags are letters of FSRPAUEC."""
    segment = TCP(sport=source.port, dport=target.port, flags=flags, seq=1000, ack=2000)
    return bytes(_ip(source.addr, target.addr) / segment / Raw(payload))


def tcp_of(source: HostPort, target: HostPort, payload: bytes) -> bytes:
    """Return a SYN with data."""
    return tcp(source, target, "S", payload)


def pattern(length: int) -> bytes:
    """Return bytes that show where each belongs."""
    return bytes(i % 251 for i in range(length))


def query(
    source: HostPort, target: IPv4Address, kind: Query = Query.ECHO, *, reply: bool = False
) -> bytes:
    """Return an ICMP query whose id is the source's port, or the reply to one."""
    icmp = ICMP(type=kind.reply if reply else kind.request, id=source.port, seq=1)
    body = Raw(b"abcdefgh") if kind is Query.ECHO else Raw(b"")
    return bytes(_ip(source.addr, target) / icmp / body)


def other(proto: int, source: IPv4Address, target: IPv4Address, payload: bytes) -> bytes:
    """Return a packet of a protocol without ports."""
    return bytes(_ip(source, target, proto=proto) / Raw(payload))


def icmp_error(
    sender: IPv4Address, kind: IcmpError, about: bytes, embed: Embed = Embed.WHOLE
) -> bytes:
    """Return what ``sender`` says to the source of ``about``."""
    head = wire.header(about)
    quote = about
    match embed:
        case Embed.SHORTEST:
            quote = about[: head.length + _QUOTE]
        case Embed.CUT:
            quote = about[: head.length - _EXTRA_CUT]
        case Embed.BROKEN:
            quote = about[:10] + bytes([about[10] ^ 1]) + about[11:]
        case Embed.WHOLE:
            pass
    icmp = ICMP(type=kind.value[0], code=kind.value[1])
    # as bytes: scapy must not take the quote apart and build it anew
    body = bytearray(bytes(icmp)[:8] + quote)
    body[2:4] = b"\0\0"
    body[2:4] = struct.pack("!H", internet_checksum(bytes(body)))
    return bytes(_ip(sender, head.source, proto=wire.ICMP) / Raw(bytes(body)))


def fragments(data: bytes, size: int) -> list[bytes]:
    """Cut a packet into fragments that carry ``size`` bytes each, a multiple of 8."""
    head = wire.header(data)
    body = data[head.length :]
    pieces = []
    for at in range(0, len(body), size):
        part = body[at : at + size]
        more = 0x2000 if at + size < len(body) else 0
        bare = (
            data[:2]
            + struct.pack("!HHH", head.length + len(part), head.ident, more | at // 8)
            + data[8 : head.length]
            + part
        )
        pieces.append(wire.sealed(bare))
    return pieces


def in_order(pieces: Sequence[bytes], order: Sequence[int]) -> list[bytes]:
    """Return fragments by their numbers, from 1; a number may be left out or repeated.

    Raises:
        ValueError: there is no such fragment.

    """
    for number in order:
        if not 1 <= number <= len(pieces):
            raise ValueError(f"the datagram has the fragments 1 to {len(pieces)}, not {number}")
    return [pieces[number - 1] for number in order]


def back(data: bytes, payload: bytes = b"answer", flags: str = "SA") -> bytes:
    """Return what the receiver of a packet answers.

    Raises:
        ValueError: nothing answers such a packet.

    """
    source, target = wire.ends(data)
    head = wire.header(data)
    match head.proto:
        case wire.UDP:
            return udp(target, source, payload)
        case wire.TCP:
            return tcp(target, source, flags)
        case wire.ICMP:
            kind = data[head.length]
            found = [q for q in Query if q.request == kind]
            if found:
                return query(target, source.addr, found[0], reply=True)
    raise ValueError(f"there is no answer to {wire.describe(data)}")

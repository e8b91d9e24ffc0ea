# SPDX-License-Identifier: Apache-2.0
"""Packets of the vectors: a description and the bytes that it means.

Built from scratch with full checksums, as in ``tests/c/vector_packet.h``: the expected packet is
the same description with other endpoints, so what the core changes incrementally must equal what
is computed here from every byte.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

ICMP, TCP, UDP, DCCP, UDPLITE = 1, 6, 17, 33, 136
_CHECKSUM_AT = {ICMP: 2, TCP: 16, UDP: 6, DCCP: 6, UDPLITE: 6}
_L4_HEADER = {ICMP: 8, TCP: 20, UDP: 8, DCCP: 12, UDPLITE: 8}
_ZERO_IS_NONE = (UDP, UDPLITE)
_MORE, _DF = 0x2000, 0x4000


@dataclass(frozen=True, slots=True)
class Flow:
    """Addresses and ports as numbers; the id of an ICMP query is in both ports."""

    src: int
    dst: int
    sport: int = 0
    dport: int = 0


@dataclass(frozen=True, slots=True)
class Patch:
    """Bytes that replace those of a finished packet."""

    at: int
    data: bytes
    spoil: bool = False
    """Leave the header checksum as it was."""


@dataclass(frozen=True, slots=True)
class Spec:
    """Everything of a packet but its endpoints. See docs/vectors.md."""

    proto: int
    icmp_type: int = 0
    code: int = 0
    rest: int = 0
    flags: int = 0
    payload: int = 0
    fill: int = 0
    options: int = 0
    id: int = 0
    ttl: int = 64
    df: bool = False
    no_checksum: bool = False
    wrong: int = 0
    zero_sum: str = ""
    """Empty, "in" or "out"."""
    cut: int = 0
    piece: int = 0
    reverse: bool = False
    keep: int = 0
    tail: int = 0
    truncate: int = 0
    patches: tuple[Patch, ...] = ()
    raw: bytes = b""
    about: Spec | None = None


def ones_sum(data: bytes, start: int = 0) -> int:
    """Return the one's complement sum of 16-bit words (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total: int = start + sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def checksum(data: bytes, start: int = 0) -> int:
    """Return the Internet checksum."""
    return ~ones_sum(data, start) & 0xFFFF


def _header_checksum(packet: bytearray) -> None:
    length = min((packet[0] & 15) * 4, len(packet))
    if length >= 12:
        packet[10:12] = b"\0\0"
        packet[10:12] = checksum(bytes(packet[:length])).to_bytes(2)


def l4_checksum(proto: int, flow: Flow, segment: bytes) -> int:
    """Return the checksum of a segment whose checksum field is 0."""
    if proto == ICMP:
        return checksum(segment)
    pseudo = struct.pack("!IIHH", flow.src, flow.dst, proto, len(segment))
    return checksum(segment, ones_sum(pseudo))


def _segment(spec: Spec, flow: Flow, payload: bytes | bytearray) -> bytearray:
    """Return L4 header, with a checksum of 0, and payload."""
    length = _L4_HEADER.get(spec.proto, 0) + len(payload)
    match spec.proto:
        case 17 | 136:
            header = struct.pack("!HHHH", flow.sport, flow.dport, length, 0)
        case 33:
            header = struct.pack("!HHQ", flow.sport, flow.dport, 0)
        case 6:
            sequence = 0x01020304 + spec.fill
            ports = (flow.sport, flow.dport, sequence, 0)
            header = struct.pack("!HHIIBBHHH", *ports, 0x50, spec.flags, 0xFFFF, 0, 0)
        case 1 if spec.about:
            header = struct.pack("!BBHI", spec.icmp_type, spec.code, 0, spec.rest)
        case 1:
            header = struct.pack(
                "!BBHHH", spec.icmp_type, spec.code, 0, flow.sport, spec.fill & 0xFF
            )
        case _:
            header = b""
    return bytearray(header + payload)


def _filler(spec: Spec, length: int) -> bytearray:
    return bytearray((spec.fill + i * 7) & 0xFF for i in range(length))


def _payload(spec: Spec, flows: Sequence[Flow]) -> bytearray:
    if spec.about is None:
        return _filler(spec, spec.payload)
    embedded = _patch(spec.about, _datagram(spec.about, flows[1:], b""))
    embedded = embedded[: spec.about.keep or None]
    data = _filler(spec, len(embedded) + spec.tail)
    data[: len(embedded)] = embedded
    return data


def _datagram(spec: Spec, flows: Sequence[Flow], first: bytes) -> bytes:
    """Return a whole datagram, not cut, patched or truncated; ``first`` begins its payload."""
    payload = _payload(spec, flows)
    payload[: len(first)] = first
    segment = _segment(spec, flows[0], payload)
    at = _CHECKSUM_AT.get(spec.proto)
    if at is not None and not spec.no_checksum:
        total = l4_checksum(spec.proto, flows[0], bytes(segment))
        if total == 0 and spec.proto in _ZERO_IS_NONE:
            total = 0xFFFF
        total += spec.wrong
        segment[at : at + 2] = ((total & 0xFFFF) + (total >> 16)).to_bytes(2)
    return bytes(_ip_header(spec, flows[0], len(segment)) + segment)


def _ip_header(spec: Spec, flow: Flow, length: int) -> bytearray:
    options = b"\1" * (spec.options - 1) + b"\0" if spec.options else b""
    size = 20 + len(options)
    first = (0x40 | size // 4, 0, size + length, spec.id, _DF if spec.df else 0)
    rest = (spec.ttl, spec.proto, 0, flow.src, flow.dst)
    header = bytearray(struct.pack("!BBHHHBBHII", *first, *rest) + options)
    _header_checksum(header)
    return header


def _zero_word(spec: Spec, flow: Flow) -> bytes:
    """Return the payload's first word that makes the checksum of this flow compute to 0."""
    plain = _segment(spec, flow, _filler(spec, spec.payload))
    plain[8:10] = b"\0\0"
    return l4_checksum(spec.proto, flow, bytes(plain)).to_bytes(2)


def _pieces(spec: Spec, whole: bytes) -> list[bytes]:
    size = (whole[0] & 15) * 4
    pieces = []
    for at in range(0, len(whole) - size, spec.cut):
        data = whole[size + at : size + at + spec.cut]
        header = bytearray(whole[:size])
        more = _MORE if size + at + len(data) < len(whole) else 0
        struct.pack_into("!H", header, 2, size + len(data))
        struct.pack_into("!H", header, 6, more | at // 8)
        _header_checksum(header)
        pieces.append(bytes(header) + data)
    return pieces


def _patch(spec: Spec, packet: bytes) -> bytes:
    changed = bytearray(packet)
    for patch in spec.patches:
        if patch.at + len(patch.data) <= len(packet):
            changed[patch.at : patch.at + len(patch.data)] = patch.data
            if not patch.spoil:
                _header_checksum(changed)
    return bytes(changed)


def build(spec: Spec, flows: Sequence[Flow], zero_for: Flow | None = None) -> list[bytes]:
    """Return the packets that a description means.

    Args:
        spec: the description.
        flows: endpoints of the packet and of what it embeds.
        zero_for: endpoints with which the checksum computes to 0, where ``zero_sum`` asks for it.

    """
    if spec.raw:
        return [spec.raw]
    first = _zero_word(spec, zero_for or flows[0]) if spec.zero_sum else b""
    whole = _datagram(spec, flows, first)
    packets = [_patch(spec, p) for p in (_pieces(spec, whole) if spec.cut else [whole])]
    return [p[: spec.truncate or None] for p in packets]

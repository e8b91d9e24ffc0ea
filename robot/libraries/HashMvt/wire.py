# SPDX-License-Identifier: Apache-2.0
"""Packets on the wire: whether they are sound, what they say, whether only endpoints changed.

Works on bytes and shares no arithmetic with the dataplane: checksums are computed afresh over the
whole packet, by scapy. A packet is *sound* when an endpoint's stack would take it: lengths agree,
the IPv4 header checksum is right, and so are the checksums of UDP, TCP and ICMP and of a packet
quoted by an ICMP error. Fragments are put together first.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address

from scapy.layers.inet import IP
from scapy.utils import checksum

from HashMvt.words import HostPort

ICMP, TCP, UDP = 1, 6, 17
ICMP_ERRORS = frozenset({3, 4, 11, 12})
ICMP_QUERIES = frozenset({0, 8, 13, 14, 15, 16, 17, 18})

_IP_LEAST = 20
_MORE_FRAGMENTS = 0x2000
_OFFSET = 0x1FFF
_L4_LEAST = {ICMP: 8, TCP: 20, UDP: 8}
_CHECKSUM_AT = {ICMP: 2, TCP: 16, UDP: 6}


@dataclass(frozen=True, slots=True)
class Header:
    """What an IPv4 header says."""

    length: int
    """Of the header."""
    total: int
    ident: int
    offset: int
    """Of a fragment, in bytes."""
    more: bool
    ttl: int
    proto: int
    source: IPv4Address
    target: IPv4Address

    @property
    def fragment(self) -> bool:
        """Is it part of a datagram?"""
        return self.more or self.offset > 0


def header(data: bytes) -> Header:
    """Read the IPv4 header.

    Raises:
        ValueError: there is none.

    """
    if len(data) < _IP_LEAST or data[0] >> 4 != 4:  # noqa: PLR2004
        raise ValueError(f"no IPv4 packet: {data[:32].hex()}")
    length = (data[0] & 15) * 4
    if length < _IP_LEAST or len(data) < length:
        raise ValueError(f"the header length {length} does not fit: {data[:32].hex()}")
    total, ident, fragment = struct.unpack_from("!HHH", data, 2)
    return Header(
        length=length,
        total=total,
        ident=ident,
        offset=(fragment & _OFFSET) * 8,
        more=bool(fragment & _MORE_FRAGMENTS),
        ttl=data[8],
        proto=data[9],
        source=IPv4Address(data[12:16]),
        target=IPv4Address(data[16:20]),
    )


def ends(data: bytes) -> tuple[HostPort, HostPort]:
    """Return source and target; the query id of ICMP stands for both ports, 0 for no port."""
    head = header(data)
    source = target = 0
    if head.offset == 0 and head.proto in (TCP, UDP):
        source, target = struct.unpack_from("!HH", data, head.length)
    elif head.offset == 0 and head.proto == ICMP and data[head.length] in ICMP_QUERIES:
        (source,) = struct.unpack_from("!H", data, head.length + 4)
        target = source
    return HostPort(head.source, source), HostPort(head.target, target)


def payload(data: bytes) -> bytes:
    """Return what UDP, TCP or ICMP carry."""
    head = header(data)
    least = _L4_LEAST.get(head.proto, 0)
    if head.proto == TCP:
        least = (data[head.length + 12] >> 4) * 4
    return data[head.length + least : head.total]


def quoted(data: bytes) -> bytes:
    """Return the packet that an ICMP error quotes.

    Raises:
        ValueError: it is no ICMP error.

    """
    head = header(data)
    if head.proto != ICMP or head.offset or data[head.length] not in ICMP_ERRORS:
        raise ValueError(f"no ICMP error: {describe(data)}")
    return data[head.length + 8 :]


def describe(data: bytes) -> str:
    """Return a packet in one line, for messages."""
    return str(IP(data).summary())


# ---- soundness ----


def faults(packets: Iterable[bytes]) -> list[str]:
    """Return what is wrong with packets; an empty list when they are sound."""
    found: list[str] = []
    readable: list[bytes] = []
    for data in packets:
        try:
            header(data)
            readable.append(data)
        except ValueError as error:
            found.append(str(error))
    whole, rest = reassembled(readable)
    for data in whole:
        found += [f"{fault}: {describe(data)}" for fault in _faults(data)]
    for data in rest:
        found += [f"{fault}: {describe(data)}" for fault in _header_faults(data)]
    return found


def _header_faults(data: bytes) -> list[str]:
    head = header(data)
    found = []
    if head.total != len(data):
        found.append(f"total length is {head.total}, not {len(data)}")
    if checksum(data[: head.length]):
        found.append("IPv4 header checksum is wrong")
    return found


def _faults(data: bytes) -> list[str]:
    found = _header_faults(data)
    head = header(data)
    segment = data[head.length :]
    if head.proto not in _L4_LEAST:
        return found
    if len(segment) < _L4_LEAST[head.proto]:
        return [*found, "the L4 header is cut short"]
    if not _l4_right(data, head, segment):
        found.append(f"checksum of protocol {head.proto} is wrong")
    if head.proto == ICMP and segment[0] in ICMP_ERRORS:
        found += [f"{fault} in the quoted packet" for fault in _quote_faults(segment[8:])]
    return found


def _l4_right(data: bytes, head: Header, segment: bytes) -> bool:
    if head.proto == ICMP:
        return int(checksum(segment)) == 0
    if head.proto == UDP and segment[6:8] == b"\0\0":
        return True
    pseudo = data[12:20] + struct.pack("!HH", head.proto, len(segment))
    return int(checksum(pseudo + segment)) == 0


def _quote_faults(data: bytes) -> list[str]:
    """Check a quoted packet as far as it goes."""
    try:
        head = header(data)
    except ValueError as error:
        return [str(error)]
    found = []
    if checksum(data[: head.length]):
        found.append("IPv4 header checksum is wrong")
    whole = len(data) >= head.total and not head.fragment
    segment = data[head.length : head.total]
    if whole and head.proto in _L4_LEAST and not _l4_right(data, head, segment):
        found.append(f"checksum of protocol {head.proto} is wrong")
    return found


def reassembled(packets: Iterable[bytes]) -> tuple[list[bytes], list[bytes]]:
    """Put fragments together; return whole packets, and fragments whose datagram is not whole."""
    whole: list[bytes] = []
    parts: dict[tuple[IPv4Address, IPv4Address, int, int], list[bytes]] = {}
    for data in packets:
        head = header(data)
        if head.fragment:
            parts.setdefault((head.source, head.target, head.ident, head.proto), []).append(data)
        else:
            whole.append(data)
    rest: list[bytes] = []
    for pieces in parts.values():
        datagram = _join(pieces)
        whole += [] if datagram is None else [datagram]
        rest += pieces if datagram is None else []
    return whole, rest


def _join(pieces: list[bytes]) -> bytes | None:
    """Return the datagram of fragments, None while some are missing or its headers are broken."""
    body = b""
    first = None
    more = True
    for data in sorted(pieces, key=lambda piece: header(piece).offset):
        head = header(data)
        if head.offset > len(body) or _header_faults(data):
            return None
        first = first or data[: head.length]
        body = body[: head.offset] + data[head.length :]
        more = head.more
    if first is None or more:
        return None
    return sealed(
        first[:2]
        + struct.pack("!H", len(first) + len(body))
        + first[4:6]
        + b"\0\0"
        + first[8:]
        + body
    )


def sealed(data: bytes) -> bytes:
    """Return a packet with a fresh IPv4 header checksum."""
    length = header(data).length
    bare = data[:10] + b"\0\0" + data[12:length]
    return data[:10] + struct.pack("!H", checksum(bare)) + data[12:]


def aged(data: bytes, hops: int) -> bytes:
    """Return a packet after so many routers."""
    return sealed(data[:8] + bytes([data[8] - hops]) + data[9:])


# ---- what a NAT may change ----


def same_but_ends(before: bytes, after: bytes, hops: int = 0) -> bool:
    """Say whether only what a NAT changes differs: endpoints, checksums, ``hops`` of the TTL."""
    if header(before).ttl - hops != header(after).ttl:
        return False
    return _without_ends(before) == _without_ends(after)


def _without_ends(data: bytes) -> bytes:
    head = header(data)
    bare = bytearray(data)
    bare[8] = 0
    bare[10:20] = bytes(10)
    bare[9] = head.proto
    if head.offset or head.proto not in _L4_LEAST:
        return bytes(bare)
    l4 = head.length
    absent = head.proto == UDP and data[l4 + 6 : l4 + 8] == b"\0\0"
    at = l4 + _CHECKSUM_AT[head.proto]
    if not absent:
        bare[at : at + 2] = b"**"
    if head.proto in (TCP, UDP):
        bare[l4 : l4 + 4] = bytes(4)
    elif data[l4] in ICMP_QUERIES:
        bare[l4 + 4 : l4 + 6] = bytes(2)
    return bytes(bare)

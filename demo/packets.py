# SPDX-License-Identifier: Apache-2.0
"""IPv4 packets as the judgement reads them: a plain parser, checksums summed afresh, pcap files.

Written from the RFCs and sharing nothing with the NAT, so that a mistake there is not repeated
here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

ICMP, TCP, UDP = 1, 6, 17
ICMP_QUERIES = frozenset({0, 8, 13, 14, 15, 16, 17, 18})
ICMP_ERRORS = frozenset({3, 4, 5, 11, 12})
TTL_EXCEEDED = bytes((11, 0))
"""Type and code."""
LINKTYPE_RAW = 101
TTL = 64
_PCAP_HEADER = struct.Struct("=IHHiIII")
_PCAP_RECORD = struct.Struct("=IIII")
_PCAP_MAGIC = 0xA1B2C3D4

Endpoint = tuple[int, bytes, int]
"""Protocol, address, and port or query id."""


def ones_sum(data: bytes) -> int:
    """The ones' complement sum of 16-bit words, 0 to 0xffff; an odd byte is padded (RFC 1071).

    2**16 is 1 modulo 0xffff, so the sum is the number itself modulo 0xffff. A multiple of 0xffff
    that is not all zero bytes is "negative zero", 0xffff.
    """
    if len(data) % 2:
        data += b"\0"
    number = int.from_bytes(data, "big")
    return number % 0xFFFF or (0xFFFF if number else 0)


def checksum(data: bytes) -> int:
    """The Internet checksum of ``data``, whose checksum field is zero."""
    return ~ones_sum(data) & 0xFFFF


@dataclass(frozen=True, slots=True)
class Packet:
    """A view of one IPv4 packet."""

    raw: bytes
    header: int
    """Length of the IP header."""
    proto: int
    ident: int
    more: bool
    offset: int
    """Of a fragment, in bytes."""

    @property
    def src(self) -> bytes:
        """Source address."""
        return self.raw[12:16]

    @property
    def dst(self) -> bytes:
        """Destination address."""
        return self.raw[16:20]

    @property
    def body(self) -> bytes:
        """What follows the IP header."""
        return self.raw[self.header :]

    @property
    def ttl(self) -> int:
        """Time to live."""
        return self.raw[8]

    @property
    def fragment(self) -> bool:
        """Whether this is a part of a datagram."""
        return self.more or self.offset > 0

    @property
    def icmp_error(self) -> bool:
        """Whether it quotes another packet."""
        return self.proto == ICMP and not self.offset and self.raw[self.header] in ICMP_ERRORS

    @property
    def time_exceeded(self) -> bool:
        """Whether it is the ICMP error about a time to live that ended in transit."""
        return self.icmp_error and self.raw[self.header : self.header + 2] == TTL_EXCEEDED

    @property
    def source(self) -> Endpoint:
        """Source endpoint; ICMP queries have one id for both ends."""
        at = 4 if self.proto == ICMP else 0
        return self.proto, self.src, _u16(self.raw, self.header + at)

    @property
    def target(self) -> Endpoint:
        """Destination endpoint."""
        at = 4 if self.proto == ICMP else 2
        return self.proto, self.dst, _u16(self.raw, self.header + at)


def _u16(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "big")


def parse(raw: bytes) -> Packet | None:
    """A packet, without what lies after its total length; None when it is no whole IPv4 packet."""
    if len(raw) < 20 or raw[0] >> 4 != 4:
        return None
    header = (raw[0] & 15) * 4
    total = _u16(raw, 2)
    if header < 20 or total < header or total > len(raw):
        return None
    flags = _u16(raw, 6)
    packet = Packet(
        raw[:total], header, raw[9], _u16(raw, 4), bool(flags & 0x2000), (flags & 0x1FFF) * 8
    )
    least = {TCP: 20, UDP: 8, ICMP: 8}.get(packet.proto, 0)
    if not packet.offset and total - header < least:
        return None
    return packet


def header_is_right(packet: Packet) -> bool:
    """Whether the IP header's checksum is right."""
    return ones_sum(packet.raw[: packet.header]) == 0xFFFF


def payload_is_right(proto: int, src: bytes, dst: bytes, body: bytes) -> bool:
    """Whether the checksum of a whole TCP, UDP or ICMP body is right."""
    if proto == ICMP:
        return ones_sum(body) == 0xFFFF
    if proto == UDP and body[6:8] == b"\0\0":
        return True  # none (RFC 768)
    if proto == UDP and _u16(body, 4) != len(body):
        return False
    return ones_sum(src + dst + struct.pack("!HH", proto, len(body)) + body) == 0xFFFF


def build(proto: int, src: bytes, dst: bytes, body: bytes, ident: int = 0) -> bytes:
    """An IPv4 packet; fills in both checksums."""
    at = {TCP: 16, UDP: 6, ICMP: 2}[proto]
    body = body[:at] + b"\0\0" + body[at + 2 :]
    pseudo = b"" if proto == ICMP else src + dst + struct.pack("!HH", proto, len(body))
    value = checksum(pseudo + body)
    if proto == UDP and value == 0:
        value = 0xFFFF
    body = body[:at] + struct.pack("!H", value) + body[at + 2 :]
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), ident, 0, TTL, proto, 0, src, dst)
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body


def fragments(packet: bytes, mtu: int) -> list[bytes]:
    """The packet cut into fragments (RFC 791); it has no IP options."""
    body = packet[20:]
    step = (mtu - 20) // 8 * 8
    parts = []
    for start in range(0, len(body), step):
        part = body[start : start + step]
        word = start // 8 | (0x2000 if start + step < len(body) else 0)
        head = packet[:2] + struct.pack("!H", 20 + len(part)) + packet[4:6]
        head += struct.pack("!H", word) + packet[8:10] + b"\0\0" + packet[12:20]
        parts.append(head[:10] + struct.pack("!H", checksum(head)) + head[12:] + part)
    return parts


def pcap_open(path: Path) -> BinaryIO:
    """A new pcap file of raw IP packets."""
    file = path.open("wb")
    file.write(_PCAP_HEADER.pack(_PCAP_MAGIC, 2, 4, 0, 0, 65535, LINKTYPE_RAW))
    return file


def pcap_write(file: BinaryIO, raw: bytes, time_us: int) -> None:
    """Append a packet."""
    second, micro = divmod(time_us, 1_000_000)
    file.write(_PCAP_RECORD.pack(second, micro, len(raw), len(raw)))
    file.write(raw)


def pcap_save(path: Path, packets: Iterable[tuple[int, bytes]]) -> None:
    """Write (microseconds, packet) pairs."""
    with pcap_open(path) as file:
        for time_us, raw in packets:
            pcap_write(file, raw, time_us)


def pcap_read(path: Path) -> Iterator[bytes]:
    """The packets of a file that was written as above.

    Raises:
        ValueError: when it is no such file or ends in the middle of a packet.
    """
    with path.open("rb") as file:
        header = file.read(_PCAP_HEADER.size)
        if len(header) < _PCAP_HEADER.size or _PCAP_HEADER.unpack(header)[0] != _PCAP_MAGIC:
            raise ValueError(f"{path} is no pcap file")
        if _PCAP_HEADER.unpack(header)[6] != LINKTYPE_RAW:
            raise ValueError(f"{path} holds no raw IP packets")
        while record := file.read(_PCAP_RECORD.size):
            length = _PCAP_RECORD.unpack(record)[2]
            raw = file.read(length)
            if len(raw) < length:
                raise ValueError(f"{path} is cut")
            yield raw

# SPDX-License-Identifier: Apache-2.0
"""Judges a NAT by the packets on its two sides, knowing nothing else of it.

1. Every checksum of every packet on both sides is summed afresh; fragments are put together first.
2. A packet is the same on both sides except for what a NAT may change: one endpoint (for errors
   also the quoted one) and checksums. Blank these out and what is left, the *essence*, names the
   packet. Essences that occur once on each side teach the mapping, inside endpoint <-> outside
   endpoint; it must be one to one (RFC 4787 REQ-1, and no two inside endpoints on one outside
   endpoint), and all endpoints of a host must have one outside address (REQ-2).
3. With the mapping known, each packet on one side says exactly which packet must be on the other.
   What is missing was lost, what is too much was invented or translated wrongly.

A NAT that is a router besides (it has a *gateway* address) takes one of each packet's time to live,
and answers itself what has none left.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import NamedTuple

from demo.packets import (
    ICMP,
    ICMP_QUERIES,
    TCP,
    UDP,
    Endpoint,
    Packet,
    header_is_right,
    parse,
    payload_is_right,
)

PROBLEMS_KEPT = 20
_NAMES = {ICMP: "ICMP", TCP: "TCP", UDP: "UDP"}


@dataclass(slots=True)
class Judgement:
    """What was found; ``problems`` tells the first few in words."""

    in2out: int = 0
    out2in: int = 0
    hairpinned: int = 0
    icmp_errors: int = 0
    fragments: int = 0
    mappings: int = 0
    hosts: dict[str, set[str]] = field(default_factory=dict)
    """Inside address -> outside addresses."""
    malformed: int = 0
    bad_checksums: int = 0
    conflicts: int = 0
    """Mappings that are not one to one."""
    lost: int = 0
    wrong: int = 0
    """Packets that nothing on the other side accounts for."""
    untranslated: int = 0
    """Packets outside that are neither from nor to the pool."""
    problems: list[str] = field(default_factory=list)

    @property
    def packets(self) -> int:
        """Packets that went through."""
        return self.in2out + self.out2in + self.hairpinned

    @property
    def faults(self) -> int:
        """0: every packet was translated rightly."""
        return self.malformed + self.bad_checksums + self.conflicts + self.wrong + self.untranslated

    def tell(self, text: str) -> None:
        """Keep a problem."""
        if len(self.problems) < PROBLEMS_KEPT:
            self.problems.append(text)


Host = bytes
Key = Endpoint | Host
"""What a NAT translates: an endpoint, or only an address in a fragment without ports."""


class Essence(NamedTuple):
    """What names a packet on both sides; ends are None where the NAT changes nothing."""

    digest: int
    """Of what may not change."""
    source: Key | None
    target: Key | None


Ends = Iterable[tuple[int, Key | None]]
"""Digests with the end that is translated."""


def _text(key: Key) -> str:
    if isinstance(key, bytes):
        return str(IPv4Address(key))
    proto, address, port = key
    return f"{_NAMES.get(proto, proto)} {IPv4Address(address)}:{port}"


def _describe(packet: Packet) -> str:
    if packet.proto in (TCP, UDP) and not packet.offset:
        ends = f"{_text(packet.source)} to {_text(packet.target)}"
    else:
        ends = f"{_NAMES.get(packet.proto)} {_text(packet.src)} to {_text(packet.dst)}"
    return f"{ends}, {len(packet.raw)} bytes, id {packet.ident:#06x}, offset {packet.offset}"


class _Blank:
    """A packet with fields blanked out."""

    def __init__(self, packet: Packet) -> None:
        self._bytes = bytearray(packet.raw)
        self._bytes[10:12] = b"\0\0"

    def age(self, hops: int) -> None:
        """Take something of the time to live."""
        self._bytes[8] -= min(hops, self._bytes[8])

    def field(self, at: int, size: int) -> None:
        self._bytes[at : at + size] = bytes(size)

    def transport_checksum(self, proto: int, at: int) -> None:
        """Blank it, but keep whether there is one: none must stay none (RFC 3022 4.1)."""
        where = at + {TCP: 16, UDP: 6, ICMP: 2}[proto]
        if where + 2 <= len(self._bytes):
            none = proto == UDP and not any(self._bytes[where : where + 2])
            self._bytes[where : where + 2] = b"\0\0" if none else b"\1\1"

    def digest(self) -> int:
        return hash(bytes(self._bytes))


def _essence(packet: Packet, *, source: bool, target: bool, hops: int = 0) -> Essence:
    """``source`` and ``target`` say which endpoints the NAT translates.

    ``hops`` is what it has still to take of the time to live.
    """
    blank = _Blank(packet)
    blank.age(hops)
    at = packet.header
    addresses = (packet.src if source else None, packet.dst if target else None)
    if source:
        blank.field(12, 4)
    if target:
        blank.field(16, 4)
    if packet.offset:
        return Essence(blank.digest(), *addresses)
    if packet.icmp_error:
        return _error_essence(packet, blank, source=source, target=target)
    query = packet.proto == ICMP and packet.raw[at] in ICMP_QUERIES
    if packet.proto not in (TCP, UDP) and not query:
        return Essence(blank.digest(), *addresses)
    blank.transport_checksum(packet.proto, at)
    if packet.proto == ICMP:
        blank.field(at + 4, 2)
    else:
        if source:
            blank.field(at, 2)
        if target:
            blank.field(at + 2, 2)
    return Essence(
        blank.digest(), packet.source if source else None, packet.target if target else None
    )


def _error_essence(packet: Packet, blank: _Blank, *, source: bool, target: bool) -> Essence:
    """An error to ``target`` quotes a packet from there; one from ``source`` a packet to there.

    Only the quoted side is translated: a router that is neither client nor server sends errors too.
    """
    at = packet.header
    quoted = at + 8
    inner = parse_quoted(packet)
    addresses = (packet.src if source else None, packet.dst if target else None)
    blank.transport_checksum(ICMP, at)
    blank.field(quoted + 10, 2)
    if inner is None or inner.proto not in (TCP, UDP, ICMP):
        return Essence(blank.digest(), *addresses)
    inner_at = quoted + inner.header
    blank.transport_checksum(inner.proto, inner_at)
    key_source: Key | None = None
    key_target: Key | None = None
    if target:
        blank.field(quoted + 12, 4)
        blank.field(inner_at + (4 if inner.proto == ICMP else 0), 2)
        key_target = inner.source
    if source:
        blank.field(quoted + 16, 4)
        blank.field(inner_at + (4 if inner.proto == ICMP else 2), 2)
        key_source = inner.target
    return Essence(blank.digest(), key_source, key_target)


def parse_quoted(packet: Packet) -> Packet | None:
    """The packet that an ICMP error quotes; it may be cut after 8 bytes of its body (RFC 792)."""
    raw = packet.raw[packet.header + 8 :]
    if len(raw) < 20 or raw[0] >> 4 != 4:
        return None
    header = (raw[0] & 15) * 4
    if header < 20 or len(raw) < header + 8 or int.from_bytes(raw[6:8], "big") & 0x1FFF:
        return None
    return Packet(raw, header, raw[9], int.from_bytes(raw[4:6], "big"), more=False, offset=0)


class _Judge:
    def __init__(self, inside: IPv4Network, pool: IPv4Network, gateway: IPv4Address | None) -> None:
        self.result = Judgement()
        self._gateway = gateway.packed if gateway else None
        self._hops = 1 if gateway else 0
        self._inside = int(inside.network_address), int(inside.netmask)
        self._pool = int(pool.network_address), int(pool.netmask)
        self._out: dict[Endpoint, Endpoint] = {}
        self._in: dict[Endpoint, Endpoint] = {}

    # ---- sorting ----

    def _is_inside(self, address: bytes) -> bool:
        return int.from_bytes(address, "big") & self._inside[1] == self._inside[0]

    def _is_pool(self, address: bytes) -> bool:
        return int.from_bytes(address, "big") & self._pool[1] == self._pool[0]

    def judge(self, inside: Iterable[bytes], outside: Iterable[bytes]) -> Judgement:
        sent: list[Packet] = []  # by clients, to the world
        calls: list[Packet] = []  # by clients, to the pool: hairpins
        expired: list[Packet] = []  # by clients, and no further than the NAT
        answers: list[Packet] = []  # the NAT's own, to clients
        got: list[Packet] = []  # by clients, from the world
        called: list[Packet] = []  # by clients, from the pool: hairpins
        left: list[Packet] = []  # the NAT, for the world
        came: list[Packet] = []  # from the world, for the NAT
        for packet in self._read(inside, "inside"):
            if packet.src == self._gateway:
                answers.append(packet)
            elif self._is_inside(packet.src) and packet.ttl <= self._hops:
                expired.append(packet)
            elif self._is_inside(packet.src):
                (calls if self._is_pool(packet.dst) else sent).append(packet)
            elif self._is_inside(packet.dst):
                (called if self._is_pool(packet.src) else got).append(packet)
            else:
                self._stray(packet, "inside")
        for packet in self._read(outside, "outside"):
            if self._is_pool(packet.src):
                left.append(packet)
            elif self._is_pool(packet.dst):
                came.append(packet)
            else:
                self._stray(packet, "outside")

        hops = self._hops
        sent_keys = [_essence(p, source=True, target=False, hops=hops) for p in sent]
        left_keys = [_essence(p, source=True, target=False) for p in left]
        came_keys = [_essence(p, source=False, target=True, hops=hops) for p in came]
        got_keys = [_essence(p, source=False, target=True) for p in got]
        self._learn(_sources(sent_keys), _sources(left_keys))
        self._learn(_targets(got_keys), _targets(came_keys))
        result = self.result
        result.mappings = len(self._out)
        self._hosts()

        expected = [Essence(h, self._outside(s), None) for h, s, _ in sent_keys]
        result.in2out = self._compare(sent, expected, left, left_keys, "in2out")
        expected = [Essence(h, None, self._within(t)) for h, _, t in came_keys]
        result.out2in = self._compare(came, expected, got, got_keys, "out2in")
        call_keys = [_essence(p, source=True, target=True, hops=hops) for p in calls]
        expected = [Essence(h, self._outside(s), self._within(t)) for h, s, t in call_keys]
        called_keys = [_essence(p, source=True, target=True) for p in called]
        result.hairpinned = self._compare(calls, expected, called, called_keys, "hairpin")

        self._check_answers(expired, answers)
        delivered = [*got, *called, *answers]
        result.icmp_errors = sum(p.icmp_error for p in delivered)
        result.fragments = sum(p.fragment for p in [*sent, *calls, *delivered])
        self._check_quotes([*sent, *calls, *expired], delivered)
        return result

    def _stray(self, packet: Packet, side: str) -> None:
        self.result.untranslated += 1
        self.result.tell(f"{side}: does not belong here: {_describe(packet)}")

    # ---- checksums ----

    def _read(self, side: Iterable[bytes], name: str) -> Iterable[Packet]:
        parts: dict[tuple[bytes, bytes, int, int], list[Packet]] = defaultdict(list)
        for raw in side:
            packet = parse(raw)
            if packet is None:
                self.result.malformed += 1
                self.result.tell(f"{name}: malformed packet of {len(raw)} bytes: {raw[:40].hex()}")
                continue
            right = header_is_right(packet)
            if packet.fragment:
                parts[packet.src, packet.dst, packet.ident, packet.proto].append(packet)
            elif packet.proto in (TCP, UDP, ICMP):
                right = right and payload_is_right(
                    packet.proto, packet.src, packet.dst, packet.body
                )
            if not right:
                self._bad_checksum(packet, name)
            yield packet
        for (src, dst, _, proto), pieces in parts.items():
            body = _reassemble(pieces)
            if body is None or not payload_is_right(proto, src, dst, body):
                self._bad_checksum(pieces[0], f"{name}, put together")

    def _bad_checksum(self, packet: Packet, side: str) -> None:
        self.result.bad_checksums += 1
        self.result.tell(f"{side}: wrong checksum: {_describe(packet)}")

    # ---- the mapping ----

    def _learn(self, inner: Ends, outer: Ends) -> None:
        """From essences that occur once on each side."""
        once_inside = _once(inner)
        once_outside = _once(outer)
        for digest, inside in once_inside.items():
            outside = once_outside.get(digest)
            if isinstance(inside, tuple) and isinstance(outside, tuple):
                self._map(inside, outside)

    def _map(self, inside: Endpoint, outside: Endpoint) -> None:
        known = self._out.setdefault(inside, outside)
        if known != outside:
            self.result.conflicts += 1
            self.result.tell(f"{_text(inside)} has two: {_text(known)} and {_text(outside)}")
            return
        owner = self._in.setdefault(outside, inside)
        if owner != inside:
            self.result.conflicts += 1
            self.result.tell(f"{_text(outside)} has two: {_text(owner)} and {_text(inside)}")

    def _hosts(self) -> None:
        hosts: dict[bytes, set[bytes]] = defaultdict(set)
        for inside, outside in self._out.items():
            hosts[inside[1]].add(outside[1])
        self._host_out = {inside: min(outside) for inside, outside in hosts.items()}
        self.result.hosts = {
            _text(inside): {_text(address) for address in outside}
            for inside, outside in hosts.items()
        }

    def _outside(self, key: Key | None) -> Key | None:
        if isinstance(key, bytes):
            return self._host_out.get(key, key)
        return key and self._out.get(key, key)

    def _within(self, key: Key | None) -> Key | None:
        """For a fragment without ports the address alone does not tell the host."""
        if isinstance(key, bytes):
            return key
        return key and self._in.get(key, key)

    # ---- both sides ----

    def _compare(
        self,
        before: list[Packet],
        expected: list[Essence],
        after: list[Packet],
        found: list[Essence],
        direction: str,
    ) -> int:
        """Count what is expected and found; tell what is not. Returns how many there were."""
        ambiguous = direction != "in2out"
        balance: Counter[Essence] = Counter(_loose(e, ambiguous) for e in expected)
        balance.subtract(_loose(e, ambiguous) for e in found)
        for packet, essence in zip(before, expected, strict=True):
            if balance[_loose(essence, ambiguous)] > 0:
                balance[_loose(essence, ambiguous)] -= 1
                self.result.lost += 1
                self.result.tell(f"{direction}: lost: {_describe(packet)}")
        for packet, essence in zip(after, found, strict=True):
            if balance[_loose(essence, ambiguous)] < 0:
                balance[_loose(essence, ambiguous)] += 1
                self.result.wrong += 1
                self.result.tell(f"{direction}: wrong: {_describe(packet)}")
        return len(after)

    def _check_answers(self, expired: list[Packet], answers: list[Packet]) -> None:
        """A router says of each packet whose time to live ended there that it did."""
        unanswered = Counter((p.src, p.dst, p.ident) for p in expired)
        for answer in answers:
            quote = parse_quoted(answer) if answer.time_exceeded else None
            about = (quote.src, quote.dst, quote.ident) if quote else (b"", b"", 0)
            if unanswered[about] and answer.dst == about[0]:
                unanswered[about] -= 1
            else:
                self.result.wrong += 1
                self.result.tell(f"an answer to nothing: {_describe(answer)}")
        for packet in expired:
            if unanswered[packet.src, packet.dst, packet.ident]:
                unanswered[packet.src, packet.dst, packet.ident] -= 1
                self.result.lost += 1
                self.result.tell(f"no answer when its time to live ended: {_describe(packet)}")

    def _check_quotes(self, sent: list[Packet], delivered: list[Packet]) -> None:
        """An error must quote to a client what the client itself sent, byte for byte."""
        quotes = [p for p in delivered if p.icmp_error]
        if not quotes:
            return
        wanted = {(q.src, q.dst, q.ident) for p in quotes if (q := parse_quoted(p))}
        originals = defaultdict(list)
        for packet in sent:
            if (packet.src, packet.dst, packet.ident) in wanted:
                originals[packet.src, packet.dst, packet.ident].append(packet)
        for packet in quotes:
            quote = parse_quoted(packet)
            if quote is None:
                continue
            candidates = originals[quote.src, quote.dst, quote.ident]
            if not header_is_right(quote) or not any(
                original.body[: len(quote.body)] == quote.body[: len(original.body)]
                for original in candidates
            ):
                self.result.wrong += 1
                self.result.tell(f"error quotes what was never sent: {_describe(quote)}")


def _loose(essence: Essence, ambiguous: bool) -> Essence:
    """A fragment without ports that comes in says only by its content whom it is for."""
    return (
        essence._replace(target=None)
        if ambiguous and isinstance(essence.target, bytes)
        else essence
    )


def _sources(essences: Iterable[Essence]) -> Ends:
    return ((e.digest, e.source) for e in essences)


def _targets(essences: Iterable[Essence]) -> Ends:
    return ((e.digest, e.target) for e in essences)


def _once(ends: Ends) -> dict[int, Key | None]:
    """The translated end by digest, where a digest occurs once."""
    seen: dict[int, Key | None] = {}
    repeated: set[int] = set()
    for digest, key in ends:
        if digest in seen:
            repeated.add(digest)
        seen[digest] = key
    return {digest: key for digest, key in seen.items() if digest not in repeated}


def _reassemble(pieces: list[Packet]) -> bytes | None:
    """The datagram's body, or None when parts are missing."""
    body = b""
    for piece in sorted(pieces, key=lambda p: p.offset):
        if piece.offset != len(body):
            return None
        body += piece.body
    return None if max(pieces, key=lambda p: p.offset).more else body


def judge(
    inside: Iterable[bytes],
    outside: Iterable[bytes],
    inside_net: IPv4Network,
    pool: IPv4Network,
    gateway: IPv4Address | None = None,
) -> Judgement:
    """Judge a NAT by all packets on its inside and on its outside.

    Args:
        inside: the packets on its inside.
        outside: the packets on its outside.
        inside_net: addresses of clients.
        pool: addresses that stand for them.
        gateway: the NAT's own inside address, where it is a router too.
    """
    return _Judge(inside_net, pool, gateway).judge(inside, outside)

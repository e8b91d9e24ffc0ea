# SPDX-License-Identifier: Apache-2.0
"""The judge must see every kind of wrong translation; a judge that never fails proves nothing."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network

import pytest

from demo.packets import ICMP, TCP, UDP, build, checksum, fragments
from demo.verify import Judgement, judge

INSIDE, POOL = IPv4Network("10.77.0.0/24"), IPv4Network("198.51.100.0/28")
A, B = bytes([10, 77, 0, 1]), bytes([10, 77, 0, 2])
X, Y = bytes([198, 51, 100, 3]), bytes([198, 51, 100, 4])
SERVER, ROUTER = bytes([203, 0, 113, 10]), bytes([192, 0, 2, 1])


def udp(src: bytes, sport: int, dst: bytes, dport: int, data: bytes = b"data") -> bytes:
    body = struct.pack("!HHHH", sport, dport, 8 + len(data), 0) + data
    return build(UDP, src, dst, body, ident=len(data))


def tcp(src: bytes, sport: int, dst: bytes, dport: int, seq: int) -> bytes:
    body = struct.pack("!HHIIBBHHH", sport, dport, seq, 0, 0x50, 0x10, 100, 0, 0) + b"tcp"
    return build(TCP, src, dst, body, ident=seq)


def echo(src: bytes, dst: bytes, ident: int, kind: int = 8) -> bytes:
    return build(ICMP, src, dst, struct.pack("!BBHHH", kind, 0, 0, ident, 1) + b"ping")


def unreachable(src: bytes, dst: bytes, quoted: bytes) -> bytes:
    return build(ICMP, src, dst, struct.pack("!BBHI", 3, 3, 0, 0) + quoted)


@dataclass
class Sides:
    """What was on both sides of a NAT that does A:1000 <-> X:5000 and B:1000 <-> Y:6000."""

    inside: list[bytes] = field(default_factory=list)
    outside: list[bytes] = field(default_factory=list)

    def judge(self) -> Judgement:
        return judge(self.inside, self.outside, INSIDE, POOL)


@pytest.fixture
def good() -> Sides:
    sides = Sides()
    sides.inside += [udp(A, 1000, SERVER, 53), udp(B, 1000, SERVER, 53, b"from b")]
    sides.outside += [udp(X, 5000, SERVER, 53), udp(Y, 6000, SERVER, 53, b"from b")]
    sides.outside += [udp(SERVER, 53, X, 5000, b"answer")]
    sides.inside += [udp(SERVER, 53, A, 1000, b"answer")]
    sides.inside += [tcp(A, 2000, SERVER, 80, 7), echo(B, SERVER, 77)]
    sides.outside += [tcp(X, 2222, SERVER, 80, 7), echo(Y, SERVER, 99)]
    sides.outside += [echo(SERVER, Y, 99, kind=0)]
    sides.inside += [echo(SERVER, B, 77, kind=0)]
    # A calls B by B's outside endpoint
    sides.inside += [udp(A, 1000, Y, 6000, b"hairpin"), udp(X, 5000, B, 1000, b"hairpin")]
    # a router says that A's first datagram went nowhere
    sides.outside += [unreachable(ROUTER, X, udp(X, 5000, SERVER, 53))]
    sides.inside += [unreachable(ROUTER, A, udp(A, 1000, SERVER, 53))]
    big = bytes(range(256)) * 12
    sides.inside += fragments(udp(A, 1000, SERVER, 53, big), 1500)
    sides.outside += fragments(udp(X, 5000, SERVER, 53, big), 1500)
    sides.outside += fragments(udp(SERVER, 53, X, 5000, big + b"!"), 1500)
    sides.inside += fragments(udp(SERVER, 53, A, 1000, big + b"!"), 1500)
    return sides


def test_right_translation_is_right(good: Sides) -> None:
    found = good.judge()
    assert found.problems == []
    assert (found.faults, found.lost) == (0, 0)
    assert (found.in2out, found.out2in, found.hairpinned) == (7, 6, 1)
    assert (found.icmp_errors, found.fragments) == (1, 6)
    assert found.mappings == 4
    assert found.hosts == {"10.77.0.1": {"198.51.100.3"}, "10.77.0.2": {"198.51.100.4"}}


def test_order_does_not_matter(good: Sides) -> None:
    good.inside.reverse()
    assert (good.judge().faults, good.judge().lost) == (0, 0)


@pytest.mark.parametrize("side", ["inside", "outside"])
def test_a_missing_packet_is_seen(good: Sides, side: str) -> None:
    for index in range(len(getattr(good, side))):
        broken = Sides(list(good.inside), list(good.outside))
        getattr(broken, side).pop(index)
        found = broken.judge()
        assert found.lost or found.faults, index


@pytest.mark.parametrize("side", ["inside", "outside"])
def test_any_flipped_bit_is_seen(good: Sides, side: str) -> None:
    for index, raw in enumerate(getattr(good, side)):
        for at in {2, 5, 8, 11, 13, 17, 21, 23, 25, 27, 29, len(raw) - 1} - {len(raw)}:
            broken = Sides(list(good.inside), list(good.outside))
            flipped = raw[:at] + bytes([raw[at] ^ 4]) + raw[at + 1 :]
            getattr(broken, side)[index] = flipped
            found = broken.judge()
            assert found.lost or found.faults, (index, at)


def test_a_doubled_packet_is_seen(good: Sides) -> None:
    good.outside.append(good.outside[0])
    assert good.judge().wrong == 1


def test_two_outside_endpoints_for_one_inside_endpoint(good: Sides) -> None:
    good.inside.append(udp(A, 1000, ROUTER, 9, b"elsewhere"))
    good.outside.append(udp(X, 5001, ROUTER, 9, b"elsewhere"))
    assert good.judge().conflicts == 1


def test_two_inside_endpoints_on_one_outside_endpoint(good: Sides) -> None:
    good.inside.append(udp(A, 1001, SERVER, 53, b"another"))
    good.outside.append(udp(X, 5000, SERVER, 53, b"another"))
    assert good.judge().conflicts == 1


def test_a_host_with_two_outside_addresses(good: Sides) -> None:
    good.inside.append(udp(A, 1001, SERVER, 53, b"another"))
    good.outside.append(udp(Y, 5000, SERVER, 53, b"another"))
    found = good.judge()
    assert found.hosts["10.77.0.1"] == {"198.51.100.3", "198.51.100.4"}


def test_an_answer_to_the_wrong_client(good: Sides) -> None:
    good.outside.append(udp(SERVER, 53, X, 5000, b"for a"))
    good.inside.append(udp(SERVER, 53, B, 1000, b"for a"))
    found = good.judge()
    assert found.conflicts or (found.lost and found.wrong)


def test_a_packet_that_was_not_translated(good: Sides) -> None:
    good.inside.append(udp(A, 1000, SERVER, 53, b"leak"))
    good.outside.append(udp(A, 1000, SERVER, 53, b"leak"))
    found = good.judge()
    assert found.untranslated == 1
    assert found.lost == 1


def test_a_hairpin_that_shows_the_inside_source(good: Sides) -> None:
    good.inside += [udp(A, 1000, Y, 6000, b"second"), udp(A, 1000, B, 1000, b"second")]
    assert good.judge().lost > 0


def test_no_checksum_must_stay_none(good: Sides) -> None:
    before, after = udp(A, 1000, SERVER, 53, b"none"), udp(X, 5000, SERVER, 53, b"none")
    good.inside.append(before[:26] + b"\0\0" + before[28:])
    good.outside.append(after)
    found = good.judge()
    assert (found.lost, found.wrong) == (1, 1)


def test_a_quote_that_the_client_never_sent(good: Sides) -> None:
    good.outside += [unreachable(ROUTER, X, udp(X, 5000, SERVER, 53, b"other"))]
    good.inside += [unreachable(ROUTER, A, udp(A, 1000, SERVER, 53, b"other"))]
    assert good.judge().wrong == 1


def test_a_quote_with_a_wrong_header_checksum(good: Sides) -> None:
    quoted = udp(A, 1000, SERVER, 53)
    good.outside += [unreachable(ROUTER, X, udp(X, 5000, SERVER, 53))]
    good.inside += [unreachable(ROUTER, A, quoted[:10] + b"\x12\x34" + quoted[12:])]
    assert good.judge().wrong == 1


def test_nothing_at_all_is_no_success() -> None:
    assert Sides().judge().packets == 0


# ---- a NAT that is a router too ----

GATEWAY = bytes([10, 78, 0, 1])


def with_ttl(raw: bytes, ttl: int) -> bytes:
    """The packet with another time to live, and a right checksum."""
    bare = raw[:8] + bytes([ttl]) + raw[9:10] + b"\0\0" + raw[12:]
    return bare[:10] + struct.pack("!H", checksum(bare[:20])) + bare[12:]


def exceeded(dst: bytes, quoted: bytes, kind: int = 11) -> bytes:
    return build(ICMP, GATEWAY, dst, struct.pack("!BBHI", kind, 0, 0, 0) + quoted)


def judge_router(sides: Sides) -> Judgement:
    return judge(sides.inside, sides.outside, INSIDE, POOL, IPv4Address(GATEWAY))


@pytest.fixture
def router(good: Sides) -> Sides:
    """The same NAT, taking one of every time to live; A's probe ends at it."""
    probe = with_ttl(udp(A, 1000, SERVER, 33434, b"probe"), 1)
    sides = Sides()
    for raw in good.inside:
        before = raw[12:16] in (A, B)
        # what comes out inside, a hairpin too, has been through
        sides.inside.append(raw if before else with_ttl(raw, 63))
    for raw in good.outside:
        sides.outside.append(with_ttl(raw, 63) if raw[12:16] in (X, Y) else raw)
    hairpin = next(i for i, raw in enumerate(sides.inside) if raw[12:20] == X + B)
    sides.inside[hairpin] = with_ttl(good.inside[hairpin], 63)
    sides.inside += [probe, exceeded(A, probe)]
    return sides


def test_a_router_is_right(router: Sides) -> None:
    found = judge_router(router)
    assert found.problems == []
    assert (found.faults, found.lost) == (0, 0)
    assert (found.in2out, found.out2in, found.hairpinned) == (7, 6, 1)
    assert found.icmp_errors == 2


def test_a_router_that_takes_no_time_to_live_is_wrong(good: Sides) -> None:
    assert judge_router(good).lost > 0
    assert judge_router(good).wrong > 0


def test_a_probe_without_answer_is_seen(router: Sides) -> None:
    router.inside.pop()
    assert judge_router(router).lost == 1


@pytest.mark.parametrize("kind", [3, 11])
def test_an_answer_to_nothing_is_seen(router: Sides, kind: int) -> None:
    router.inside.append(exceeded(B, udp(B, 1000, SERVER, 53, b"from b"), kind))
    assert judge_router(router).wrong == 1


def test_an_answer_to_somebody_else_is_seen(router: Sides) -> None:
    router.inside.append(exceeded(B, router.inside[-2]))
    router.inside.pop(-2)
    found = judge_router(router)
    assert (found.wrong, found.lost) == (1, 1)

# SPDX-License-Identifier: Apache-2.0
"""The judge of packets: it must take every sound packet and no damaged one."""

from ipaddress import IPv4Address

import pytest

from HashMvt import packets, wire
from HashMvt.words import Checksum, Embed, HostPort, IcmpError, Query

CLIENT = HostPort.parse("10.0.0.1:5000")
SERVER = HostPort.parse("192.0.2.1:53")
ROUTER = IPv4Address("192.0.2.254")

# written by hand from RFC 791 and RFC 768, not by the builders under test
KNOWN = bytes.fromhex("4500001c0001000040110cbeac100001c00002011388003500080000")

UDP = packets.udp(CLIENT, SERVER, b"odd")
SOUND = {
    "udp": UDP,
    "udp without data": packets.udp(CLIENT, SERVER),
    "udp without checksum": packets.udp(CLIENT, SERVER, b"x", checksum=Checksum.NONE),
    "udp with options": packets.udp(CLIENT, SERVER, b"x", options=bytes.fromhex("94040000")),
    "tcp": packets.tcp(CLIENT, SERVER, "PA", b"data"),
    "echo": packets.query(CLIENT, SERVER.addr),
    "timestamp": packets.query(CLIENT, SERVER.addr, Query.TIMESTAMP),
    "gre": packets.other(47, CLIENT.addr, SERVER.addr, b"carried"),
    "error": packets.icmp_error(ROUTER, IcmpError.TIME_EXCEEDED, UDP),
    "short error": packets.icmp_error(ROUTER, IcmpError.TIME_EXCEEDED, UDP, Embed.SHORTEST),
    "by hand": KNOWN,
}


@pytest.mark.parametrize("name", SOUND)
def test_sound_packets_have_no_fault(name: str) -> None:
    assert wire.faults([SOUND[name]]) == []


@pytest.mark.parametrize("name", ["udp", "udp with options", "tcp", "echo", "timestamp", "error"])
def test_every_flipped_bit_is_a_fault(name: str) -> None:
    data = SOUND[name]
    unseen = []
    for bit in range(len(data) * 8):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        if not wire.faults([bytes(damaged)]):
            unseen.append(bit)
    assert unseen == []


def test_a_wrong_udp_checksum_is_a_fault() -> None:
    (fault,) = wire.faults([packets.udp(CLIENT, SERVER, b"x", checksum=Checksum.WRONG)])
    assert fault.startswith("checksum of protocol 17 is wrong")


def test_a_broken_quote_is_a_fault_although_the_error_is_right() -> None:
    data = packets.icmp_error(ROUTER, IcmpError.TIME_EXCEEDED, UDP, Embed.BROKEN)
    (fault,) = wire.faults([data])
    assert "in the quoted packet" in fault


@pytest.mark.parametrize("cut", [1, 5, 12])
def test_a_packet_that_is_cut_is_a_fault(cut: int) -> None:
    assert wire.faults([UDP[:-cut]])


@pytest.mark.parametrize("data", [b"", b"E" * 19, b"\x65" + bytes(30), b"\x44" + bytes(30)])
def test_what_is_no_ipv4_has_no_header(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"no IPv4 packet|does not fit"):
        wire.header(data)


def test_fragments_are_put_together_in_any_order() -> None:
    whole = packets.udp(CLIENT, SERVER, packets.pattern(60))
    one, two, three = packets.fragments(whole, 24)
    assert wire.reassembled([three, one, two]) == ([whole], [])
    assert wire.faults([two, three, one]) == []


def test_fragments_of_which_one_is_missing_stay_apart() -> None:
    one, two, three = packets.fragments(packets.udp(CLIENT, SERVER, packets.pattern(60)), 24)
    for some in ([one, two], [one, three], [two, three]):
        whole, rest = wire.reassembled(some)
        assert whole == []
        assert sorted(rest) == sorted(some)


def test_a_wrong_checksum_over_the_whole_datagram_is_seen() -> None:
    wrong = packets.udp(CLIENT, SERVER, packets.pattern(60), checksum=Checksum.WRONG)
    assert wire.faults(packets.fragments(wrong, 24))


def test_only_endpoints_may_change() -> None:
    before = packets.udp(CLIENT, SERVER, b"same", ident=9)
    after = packets.udp(HostPort.parse("198.51.100.1:1"), SERVER, b"same", ident=9)
    assert wire.same_but_ends(before, after)
    assert not wire.same_but_ends(before, packets.udp(CLIENT, SERVER, b"sane", ident=9))
    assert not wire.same_but_ends(before, packets.udp(CLIENT, SERVER, b"same", ident=8))


def test_an_invented_udp_checksum_is_a_change() -> None:
    before = packets.udp(CLIENT, SERVER, b"same", checksum=Checksum.NONE)
    assert not wire.same_but_ends(before, packets.udp(CLIENT, SERVER, b"same"))


def test_the_time_to_live_falls_by_the_hops() -> None:
    before = bytearray(UDP)
    after = bytearray(UDP)
    after[8] -= 1
    assert wire.same_but_ends(bytes(before), bytes(after), hops=1)
    assert not wire.same_but_ends(bytes(before), bytes(after))


def test_a_changed_tcp_flag_is_a_change() -> None:
    assert not wire.same_but_ends(
        packets.tcp(CLIENT, SERVER, "S"), packets.tcp(CLIENT, SERVER, "A")
    )


def test_ends_of_queries_are_their_id() -> None:
    source, target = wire.ends(packets.query(CLIENT, SERVER.addr))
    assert (source.port, target.port) == (CLIENT.port, CLIENT.port)


def test_only_errors_quote() -> None:
    assert wire.quoted(SOUND["error"]) == UDP
    with pytest.raises(ValueError, match="no ICMP error"):
        wire.quoted(SOUND["echo"])

# SPDX-License-Identifier: Apache-2.0
"""The packets that suites send."""

import pytest

from HashMvt import packets, wire
from HashMvt.words import Embed, HostPort, IcmpError, Query

CLIENT = HostPort.parse("10.0.0.1:5000")
SERVER = HostPort.parse("192.0.2.1:53")


def test_copies_are_what_building_each_would_give() -> None:
    sources = [HostPort.parse(f"10.{i}.0.{i}:{1 + 997 * i}") for i in range(60)]
    copies = packets.udp_from_each(sources, SERVER, b"begin")
    assert copies == [
        packets.udp(source, SERVER, b"begin", ident=ident)
        for ident, source in enumerate(sources, 1)
    ]
    assert packets.udp_from_each([], SERVER, b"") == []


def test_zero_sum_payload_makes_the_checksum_all_ones() -> None:
    data = packets.udp(CLIENT, SERVER, packets.zero_sum_payload(CLIENT, SERVER))
    assert data[26:28] == b"\xff\xff"
    assert wire.faults([data]) == []


@pytest.mark.parametrize("kind", IcmpError)
def test_errors_say_what_they_are(kind: IcmpError) -> None:
    about = packets.udp(CLIENT, SERVER, b"x")
    data = packets.icmp_error(SERVER.addr, kind, about, Embed.SHORTEST)
    assert (data[20], data[21]) == kind.value
    assert wire.header(data).target == CLIENT.addr
    assert wire.quoted(data) == about[:28]


@pytest.mark.parametrize(
    "data",
    [
        packets.udp(CLIENT, SERVER, b"x"),
        packets.tcp(CLIENT, SERVER),
        packets.query(CLIENT, SERVER.addr),
        packets.query(CLIENT, SERVER.addr, Query.TIMESTAMP),
    ],
)
def test_answers_go_back(data: bytes) -> None:
    source, target = wire.ends(data)
    answer = packets.back(data)
    assert wire.ends(answer) == (target, source)
    assert wire.faults([answer]) == []


def test_nothing_answers_a_reply() -> None:
    with pytest.raises(ValueError, match="there is no answer"):
        packets.back(packets.query(CLIENT, SERVER.addr, reply=True))


def test_fragments_can_be_left_out_and_repeated_but_not_invented() -> None:
    pieces = packets.fragments(packets.udp(CLIENT, SERVER, packets.pattern(60)), 24)
    assert packets.in_order(pieces, [3, 3, 1]) == [pieces[2], pieces[2], pieces[0]]
    with pytest.raises(ValueError, match="fragments 1 to 3, not 4"):
        packets.in_order(pieces, [4])

# SPDX-License-Identifier: Apache-2.0
"""The demonstration's own packet code against values worked out by hand and by others."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from demo import packets
from demo.packets import ICMP, TCP, UDP, build, fragments, parse, payload_is_right

A, B = bytes([10, 77, 0, 1]), bytes([203, 0, 113, 10])


def test_sum_of_rfc_1071_example() -> None:
    assert packets.ones_sum(bytes.fromhex("0001f203f4f5f6f7")) == 0xDDF2


def test_sum_pads_an_odd_byte() -> None:
    assert packets.ones_sum(b"\x01") == 0x0100


def test_sum_distinguishes_the_two_zeros() -> None:
    assert packets.ones_sum(b"\0\0") == 0
    assert packets.ones_sum(b"\xff\xff\xff\xff") == 0xFFFF


def test_ip_header_that_a_textbook_has() -> None:
    header = bytes.fromhex("45000073000040004011b861c0a80001c0a800c7")
    packet = parse(header + bytes(0x73 - 20))
    assert packet is not None
    assert packets.header_is_right(packet)


@pytest.mark.parametrize(
    ("proto", "body"),
    [
        (UDP, struct.pack("!HHHH", 1, 2, 11, 0) + b"odd"),
        (TCP, struct.pack("!HHIIBBHHH", 1, 2, 3, 4, 0x50, 2, 5, 0, 0)),
        (ICMP, struct.pack("!BBHHH", 8, 0, 0, 7, 1) + b"echo"),
    ],
)
def test_built_packets_are_right_and_one_bit_makes_them_wrong(proto: int, body: bytes) -> None:
    raw = build(proto, A, B, body)
    packet = parse(raw)
    assert packet is not None
    assert packets.header_is_right(packet)
    assert payload_is_right(proto, A, B, packet.body)
    broken = packet.body[:-1] + bytes([packet.body[-1] ^ 1])
    assert not payload_is_right(proto, A, B, broken)


def test_udp_without_checksum_is_right() -> None:
    assert payload_is_right(UDP, A, B, struct.pack("!HHHH", 1, 2, 8, 0))


def test_udp_whose_length_lies_is_wrong() -> None:
    body = build(UDP, A, B, struct.pack("!HHHH", 1, 2, 9, 0) + b"ab")[20:]
    assert not payload_is_right(UDP, A, B, body)


def test_fragments_put_together_are_the_datagram() -> None:
    whole = build(UDP, A, B, struct.pack("!HHHH", 1, 2, 3008, 0) + bytes(3000), ident=9)
    parts = [parse(raw) for raw in fragments(whole, 1500)]
    assert [p and (p.offset, p.more) for p in parts] == [(0, True), (1480, True), (2960, False)]
    assert b"".join(p.body for p in parts if p) == whole[20:]
    assert all(p and packets.header_is_right(p) for p in parts)


@pytest.mark.parametrize(
    "raw",
    [b"", bytes(20), b"\x60" + bytes(39), b"\x44" + bytes(40), b"\x45\0\0\xff" + bytes(40)],
)
def test_what_is_no_packet(raw: bytes) -> None:
    assert parse(raw) is None


def test_pcap_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    packets.pcap_save(path, [(1_500_000, b"one"), (2_000_001, b"three")])
    assert list(packets.pcap_read(path)) == [b"one", b"three"]


def test_cut_pcap_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    packets.pcap_save(path, [(0, b"one")])
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="cut"):
        list(packets.pcap_read(path))

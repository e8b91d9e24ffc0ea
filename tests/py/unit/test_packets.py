# SPDX-License-Identifier: Apache-2.0
"""The packets that tests make are those that scapy makes."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP

from hashmvt.dataplane.packets import Flow, checksum, make, parse, rewrite, sound
from hashmvt.model import Endpoint, Proto

if TYPE_CHECKING:
    from scapy.packet import Packet

addresses = st.integers(0, 2**32 - 1).map(IPv4Address)
ports = st.integers(0, 65535)
protos = st.sampled_from(list(Proto))
payloads = st.binary(max_size=40)


def scapy_packet(source: Endpoint, target: Endpoint, payload: bytes) -> bytes:
    ip = IP(src=str(source.addr), dst=str(target.addr), id=1)
    segment: Packet
    match source.proto:
        case Proto.UDP:
            segment = UDP(sport=source.port, dport=target.port)
        case Proto.TCP:
            segment = TCP(sport=source.port, dport=target.port, seq=1, flags="S", window=65535)
        case Proto.ICMP:
            segment = ICMP(type=8, id=source.port, seq=1)
    return bytes(ip / segment / payload)


@given(addresses, addresses, ports, ports, protos, payloads)
def test_make_is_scapys(  # noqa: PLR0917 - what hypothesis gives
    a: IPv4Address, b: IPv4Address, p: int, q: int, proto: Proto, payload: bytes
) -> None:
    source, target = Endpoint(a, p, proto), Endpoint(b, q, proto)
    packet = make(source, target, payload)
    assert packet == scapy_packet(source, target, payload)
    flow = parse(packet)
    expected = Flow(source, Endpoint(b, p, proto) if proto is Proto.ICMP else target)
    assert flow == expected
    assert sound(packet)


@given(addresses, addresses, ports, ports, protos, payloads)
def test_rewrite_is_made_afresh(  # noqa: PLR0917 - what hypothesis gives
    a: IPv4Address, b: IPv4Address, p: int, q: int, proto: Proto, payload: bytes
) -> None:
    source, target = Endpoint(a, p, proto), Endpoint(b, q, proto)
    other = Endpoint(IPv4Address("192.0.2.1"), 4242, proto)
    assert rewrite(make(source, target, payload), source=other) == make(other, target, payload)


def test_an_absent_udp_checksum_stays_absent() -> None:
    packet = bytearray(make(Endpoint(IPv4Address(1), 1, Proto.UDP),
                            Endpoint(IPv4Address(2), 2, Proto.UDP)))  # fmt: skip
    packet[26:28] = b"\0\0"
    moved = rewrite(bytes(packet), source=Endpoint(IPv4Address(9), 9, Proto.UDP))
    assert moved[26:28] == b"\0\0"


@pytest.mark.parametrize("at", [10, 16, 21, 27])
def test_a_flipped_bit_is_not_sound(at: int) -> None:
    packet = bytearray(make(Endpoint(IPv4Address("10.0.0.1"), 1000, Proto.UDP),
                            Endpoint(IPv4Address("192.0.2.1"), 53, Proto.UDP), b"x"))  # fmt: skip
    packet[at] ^= 1
    assert not sound(bytes(packet))


@given(st.binary(max_size=60))
def test_parse_takes_anything(data: bytes) -> None:
    parse(data)


def test_checksum_of_rfc_1071() -> None:
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0x220D
    assert checksum(b"") == 0xFFFF

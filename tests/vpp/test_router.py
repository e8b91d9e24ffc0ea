# SPDX-License-Identifier: Apache-2.0
"""The router stays a router: ARP, its own addresses, exempt destinations."""

from __future__ import annotations

import pytest
from conftest import HOSTS, OUTSIDE, POOL, SERVER, Nat
from scapy.layers.inet import ICMP, IP, TCP, UDP

GATEWAY, UPLINK = "10.0.0.1", "198.51.100.1"


@pytest.mark.parametrize("address", POOL)
def test_arp_for_pool_addresses(nat: Nat, address: str) -> None:
    """The outside link is told whose the pool's addresses are."""
    [said] = nat.arp(address)
    assert (said.psrc, said.hwsrc) == (address, nat.vpp.mac(OUTSIDE))


def test_arp_inside_the_links_subnet(nat: Nat) -> None:
    """Also for a pool address of the link's own subnet, until it is deleted."""
    nat.vpp.do("hashmvt pool add 198.51.100.64/30")
    for n in range(64, 68):
        assert len(nat.arp(f"198.51.100.{n}")) == 1
    assert nat.arp("198.51.100.68") == []
    nat.vpp.do("hashmvt pool del 198.51.100.64/30 force")
    assert nat.arp("198.51.100.64") == []
    [seen] = nat.outward(IP(src=HOSTS[0], dst=SERVER) / UDP(sport=1, dport=2), expect=1)
    assert seen.dst == SERVER


def test_no_arp_after_disable(nat: Nat) -> None:
    """Nothing of the NAT stays behind."""
    nat.vpp.do("hashmvt disable")
    assert nat.arp(POOL[0]) == []


def test_ping_the_gateway_from_inside(nat: Nat) -> None:
    """The inside gateway and the router's outside address answer inside hosts, untranslated."""
    for address in (GATEWAY, UPLINK):
        echo = IP(src=HOSTS[0], dst=address) / ICMP(id=5, seq=1) / b"x"
        [reply] = nat.outward(echo, expect=1, back=True)
        assert (reply.src, reply.dst, reply[ICMP].type) == (address, HOSTS[0], 0)
    assert nat.mappings() == []


def test_ping_the_outside_interface(nat: Nat) -> None:
    """What is for the router itself goes on to it."""
    echo = IP(src=SERVER, dst=UPLINK) / ICMP(id=5, seq=1) / b"x"
    [reply] = nat.inward(echo, expect=1, back=True)
    assert (reply.src, reply[ICMP].type) == (UPLINK, 0)


def test_outside_interface_in_the_pool(nat: Nat) -> None:
    """An interface's address can be the pool: mappings first, the router's services after."""
    nat.vpp.do(f"hashmvt pool del {POOL[0]}-{POOL[-1]}", f"hashmvt pool add {UPLINK}")
    [seen] = nat.outward(IP(src=HOSTS[0], dst=SERVER) / UDP(sport=1000, dport=53), expect=1)
    assert seen.src == UPLINK
    answer = IP(src=SERVER, dst=UPLINK) / UDP(sport=53, dport=seen.sport)
    [back] = nat.inward(answer, expect=1)
    assert back.dst == HOSTS[0]
    echo = IP(src=SERVER, dst=UPLINK) / ICMP(id=5, seq=1) / b"x"
    [reply] = nat.inward(echo, expect=1, back=True)
    assert (reply.src, reply[ICMP].type) == (UPLINK, 0)
    # a TCP service: without a listener VPP's stack answers or drops, but not the NAT
    nat.inward(IP(src=SERVER, dst=UPLINK) / TCP(sport=9, dport=179, flags="S"))
    assert nat.count("packets without a mapping to an address of the router") == 2
    assert nat.count("to a pool endpoint that has no mapping") == 0
    assert sum(nat.counters("dropped", 3)) == 0


def test_router_keeps_its_address_after_the_pool_leaves_it(nat: Nat) -> None:
    """Deleting the pool address does not take the interface's own route along."""
    nat.vpp.do(f"hashmvt pool add {UPLINK}", f"hashmvt pool del {UPLINK} force")
    echo = IP(src=SERVER, dst=UPLINK) / ICMP(id=5, seq=1) / b"x"
    assert len(nat.inward(echo, expect=1, back=True)) == 1


def test_exempt(nat: Nat) -> None:
    """Exempt destinations are not translated, on hits too."""
    packet = IP(src=HOSTS[0], dst=SERVER) / UDP(sport=1000, dport=53)
    [seen] = nat.outward(packet, expect=1)
    assert seen.src in POOL
    nat.vpp.do(f"hashmvt exempt add {SERVER}/32")
    [seen] = nat.outward(packet, expect=1)
    assert seen.src == HOSTS[0]
    assert nat.count("destination is exempt from translation") == 1
    nat.vpp.do(f"hashmvt exempt del {SERVER}/32")
    [seen] = nat.outward(packet, expect=1)
    assert seen.src in POOL


def test_new_interface_address_is_exempt(nat: Nat) -> None:
    """An address that the router gets later is the router's, too."""
    packet = IP(src=HOSTS[0], dst="198.18.0.1") / ICMP(id=1) / b"x"
    nat.vpp.do("set interface ip address pg1 198.18.0.1/24")
    try:
        [reply] = nat.outward(packet, back=True)
        assert reply[ICMP].type == 0
    finally:
        nat.vpp.do("set interface ip address del pg1 198.18.0.1/24")


def test_outsiders_pass(nat: Nat) -> None:
    """Hosts that are not inside are routed as before, as is transit traffic to nobody's pool."""
    seen = nat.outward(IP(src="192.0.2.5", dst=SERVER) / UDP(sport=1, dport=2), expect=1)
    assert [p.src for p in seen] == ["192.0.2.5"]
    seen = nat.inward(IP(src=SERVER, dst=HOSTS[0]) / UDP(sport=1, dport=2), expect=1)
    assert [p.dst for p in seen] == [HOSTS[0]]

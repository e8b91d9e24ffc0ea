# SPDX-License-Identifier: Apache-2.0
"""The router stays a router: ARP, its own addresses, exempt destinations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import Ether

from conftest import HOSTS, OUTSIDE, POOL, SERVER, Nat
from vpp import wait_until

if TYPE_CHECKING:
    from scapy.packet import Packet

MATCHES = ("rules", "home", "inside", "exempt", "static_in", "static_out")
GATEWAY, UPLINK = "10.0.0.1", "198.51.100.1"


def test_arp_for_pool_addresses(nat: Nat) -> None:
    """The outside link is told whose the pool's addresses are."""
    said = nat.arp(*POOL, expect=len(POOL))
    assert {(a.psrc, a.hwsrc) for a in said} == {(p, nat.vpp.mac(OUTSIDE)) for p in POOL}
    assert len(said) == len(POOL)


def test_arp_inside_the_links_subnet(nat: Nat) -> None:
    """Also for a pool address of the link's own subnet, until it is deleted."""
    links = [f"198.51.100.{n}" for n in range(64, 69)]
    nat.vpp.do("hashmvt pool add 198.51.100.64/30")
    assert {a.psrc for a in nat.arp(*links, expect=4)} == set(links[:4])
    nat.vpp.do("hashmvt pool del 198.51.100.64/30 force")
    assert nat.arp(*links) == []
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


def test_tcp_service_of_the_router(nat: Nat) -> None:
    """VPP's own TCP answers on either side, untranslated: with a reset, as nobody listens."""
    nat.vpp.cli("session enable")
    syn = TCP(sport=9, dport=179, flags="S", seq=5)
    try:
        [reply] = nat.inward(IP(src=SERVER, dst=UPLINK) / syn, expect=1, back=True)
        assert (reply.src, reply[TCP].sport, reply[TCP].ack) == (UPLINK, 179, 6)
        [reply] = nat.outward(IP(src=HOSTS[0], dst=GATEWAY) / syn, expect=1, back=True)
        assert (reply.src, reply.dst, reply[TCP].ack) == (GATEWAY, HOSTS[0], 6)
        # the same where the interface's address is a pool address too
        nat.vpp.do(f"hashmvt pool add {UPLINK}")
        [reply] = nat.inward(IP(src=SERVER, dst=UPLINK) / syn, expect=1, back=True)
        assert (reply.src, reply[TCP].ack) == (UPLINK, 6)
    finally:
        nat.vpp.cli("session disable")
    assert nat.mappings() == []


def test_dhcp_client_outside(nat: Nat) -> None:
    """The outside interface gets its address by DHCP while the NAT is on it."""
    leased, server = "198.18.7.2", "198.18.7.1"
    vpp, peer = nat.vpp, nat.vpp.peer_mac(OUTSIDE)

    def message(found: list[Packet], kind: int) -> Packet:
        return next(f for f in found if DHCP in f and ("message-type", kind) in f[DHCP].options)

    def offer(to: Packet, kind: str) -> Packet:
        options = [
            ("message-type", kind), ("server_id", server), ("lease_time", 3600),
            ("subnet_mask", "255.255.255.0"), "end",
        ]  # fmt: skip
        return (
            Ether(src=peer, dst=vpp.mac(OUTSIDE))
            / IP(src=server, dst=leased)
            / UDP(sport=67, dport=68)
            / BOOTP(op=2, xid=to[BOOTP].xid, yiaddr=leased, siaddr=server, chaddr=to[BOOTP].chaddr)
            / DHCP(options=options)
        )

    list(vpp.arrived(OUTSIDE))
    vpp.do(f"set dhcp client intfc {OUTSIDE} hostname router")
    try:
        seen: list[Packet] = []

        def heard(kind: int) -> bool:
            seen.extend(Ether(f) for f in vpp.arrived(OUTSIDE))
            return any(DHCP in f and ("message-type", kind) in f[DHCP].options for f in seen)

        wait_until("DISCOVER", lambda: heard(1))
        vpp.emit(OUTSIDE, [bytes(offer(message(seen, 1), "offer"))])
        wait_until("REQUEST", lambda: heard(3))
        vpp.emit(OUTSIDE, [bytes(offer(message(seen, 3), "ack"))])
        wait_until("the lease", lambda: leased in vpp.cli(f"show interface address {OUTSIDE}"))
        assert nat.mappings() == []
    finally:
        vpp.cli(f"set dhcp client del intfc {OUTSIDE}")


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
    """An address that the router gets later is the router's, too, from the first packet on."""
    packet = IP(src=HOSTS[0], dst="198.18.0.1") / ICMP(id=1) / b"x"
    exempt = MATCHES.index("exempt")

    def entries() -> list[int]:
        found = nat.listing(nat.api.hashmvt_match_get)
        return [m.entries for m in found if m.table == exempt]

    before = entries()
    nat.vpp.do("set interface ip address pg1 198.18.0.1/24")
    try:
        assert entries() == [n + 1 for n in before]
        [reply] = nat.outward(packet, expect=1, back=True)
        assert (reply.dst, reply[ICMP].type) == (HOSTS[0], 0)
    finally:
        nat.vpp.do("set interface ip address del pg1 198.18.0.1/24")
    assert entries() == before


def test_outsiders_pass(nat: Nat) -> None:
    """Hosts that are not inside are routed as before, as is transit traffic to nobody's pool."""
    seen = nat.outward(IP(src="192.0.2.5", dst=SERVER) / UDP(sport=1, dport=2), expect=1)
    assert [p.src for p in seen] == ["192.0.2.5"]
    seen = nat.inward(IP(src=SERVER, dst=HOSTS[0]) / UDP(sport=1, dport=2), expect=1)
    assert [p.dst for p in seen] == [HOSTS[0]]

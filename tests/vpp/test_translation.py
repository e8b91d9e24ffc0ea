# SPDX-License-Identifier: Apache-2.0
"""Packets through a real VPP: what goes out comes back, whole, by whatever thread it came."""

from __future__ import annotations

from itertools import chain

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPerror, UDPerror, fragment
from scapy.packet import Raw

from conftest import HOSTS, OUTSIDE, POOL, SERVER, Nat, check_sums
from vpp import wait_until


def udp(host: str, port: int = 1000, **fields: object) -> IP:
    return IP(src=host, dst=SERVER, **fields) / UDP(sport=port, dport=53) / b"question"


def answer(seen: IP) -> IP:
    return IP(src=seen.dst, dst=seen.src) / UDP(sport=seen.dport, dport=seen.sport) / b"answer"


def test_udp_both_ways(nat: Nat) -> None:
    """Every host gets an endpoint of the pool of its own, and its answers come back."""
    seen = nat.outward(*[udp(h) for h in HOSTS], expect=len(HOSTS))
    assert len(seen) == len(HOSTS)
    assert {p.src for p in seen} <= set(POOL)
    assert len({(p.src, p.sport) for p in seen}) == len(HOSTS)
    assert all(p.ttl == 63 for p in seen)
    back = nat.inward(*[answer(p) for p in seen], expect=len(HOSTS))
    assert sorted(p.dst for p in back) == sorted(HOSTS)
    assert all(p[UDP].dport == 1000 for p in back)


def test_tcp_and_ping(nat: Nat) -> None:
    """A TCP handshake and an echo pass in both directions."""
    syn = IP(src=HOSTS[0], dst=SERVER) / TCP(sport=2000, dport=80, flags="S", seq=7)
    [out] = nat.outward(syn, expect=1)
    assert out.src in POOL
    synack = IP(src=SERVER, dst=out.src) / TCP(sport=80, dport=out.sport, flags="SA", ack=8)
    [back] = nat.inward(synack, expect=1)
    assert (back.dst, back[TCP].dport) == (HOSTS[0], 2000)

    echo = IP(src=HOSTS[1], dst=SERVER) / ICMP(type=8, id=77, seq=1) / b"ping"
    [out] = nat.outward(echo, expect=1)
    reply = IP(src=SERVER, dst=out.src) / ICMP(type=0, id=out[ICMP].id, seq=1) / b"ping"
    [back] = nat.inward(reply, expect=1)
    assert (back.dst, back[ICMP].id) == (HOSTS[1], 77)


def test_icmp_error_reaches_its_owner(nat: Nat) -> None:
    """RFC 5508 REQ-4: the error, its embedded packet and all checksums are translated."""
    seen = nat.outward(*[udp(h) for h in HOSTS[:8]], expect=8)
    errors = [
        IP(src="198.51.100.77", dst=p.src) / ICMP(type=3, code=3) / IP(bytes(p)) for p in seen
    ]
    back = nat.inward(*errors, expect=8)
    assert sorted(p.dst for p in back) == sorted(HOSTS[:8])
    for packet in back:
        quoted = packet[IPerror]
        assert (quoted.src, quoted[UDPerror].sport) == (packet.dst, 1000)
        check_sums(IP(bytes(quoted)))


def test_truncated_icmp_errors_are_dropped(nat: Nat) -> None:
    """An error whose embedded packet ends too early is counted and does no harm."""
    [seen] = nat.outward(udp(HOSTS[0]), expect=1)
    errors = [
        IP(src="198.51.100.77", dst=seen.src) / ICMP(type=11) / Raw(bytes(seen)[:cut])
        for cut in (0, 1, 4, 8, 12, 19, 20, 23)
    ]
    assert nat.inward(*errors) == []
    assert sum(map(sum, (nat.counters("dropped", r) for r in (14, 15)))) == len(errors)
    assert nat.inward(answer(seen), expect=1)


@pytest.mark.parametrize("reverse", [False, True])
def test_45_fragments(nat: Nat, reverse: bool) -> None:
    """45 fragments pass both ways, also where the first one comes last."""
    size = 44 * 64 + 32
    whole = IP(src=HOSTS[0], dst=SERVER, id=9) / UDP(sport=1000, dport=53) / bytes(size - 8)
    pieces = fragment(whole, 64)
    assert len(pieces) == 45
    out = nat.outward(*(pieces[::-1] if reverse else pieces), expect=45)
    assert len(out) == 45
    [source] = {p.src for p in out}
    port = next(p for p in out if p.frag == 0)[UDP].sport
    back = IP(src=SERVER, dst=source, id=10) / UDP(sport=53, dport=port) / bytes(size - 8)
    pieces = fragment(back, 64)
    got = nat.inward(*(pieces[::-1] if reverse else pieces), expect=45)
    assert len(got) == 45
    assert {p.dst for p in got} == {HOSTS[0]}


def test_first_fragment_never_comes(nat: Nat) -> None:
    """Fragments that wait in vain are dropped, counted, and their buffers come back."""
    whole = IP(src=HOSTS[0], dst=SERVER, id=9) / UDP(sport=1000, dport=53) / bytes(500)
    assert nat.outward(*fragment(whole, 64)[1:]) == []
    assert nat.count("fragments kept until their first one comes") > 0
    assert nat.api.hashmvt_clock_advance(seconds=10).retval == 0
    assert nat.outward() == []
    assert nat.count("first fragment did not come in time") > 0


def test_hairpin(nat: Nat) -> None:
    """RFC 4787 REQ-9: inside hosts meet at an external endpoint, and see external sources.

    Every host calls every other one, so that both ends lie at one instance and at two.
    """
    nat.outward(*[udp(h) for h in HOSTS], expect=len(HOSTS))
    owner = {str(m.inside.address): m.instance for m in nat.mappings()}
    homed = [[h for h in HOSTS if owner[h] == i][:3] for i in range(nat.instances)]
    assert all(homed)
    hosts = list(chain.from_iterable(homed))
    external = {str(m.inside.address): m.external for m in nat.mappings()}
    calls = [
        IP(src=a, dst=str(external[b].address)) / UDP(sport=1000, dport=external[b].port) / b"peer"
        for a in hosts
        for b in hosts
    ]
    got = nat.outward(*calls, expect=len(calls), back=True)
    meant = {(str(external[a].address), external[a].port, b, 1000) for a in hosts for b in hosts}
    assert {(p.src, p.sport, p.dst, p.dport) for p in got} == meant
    assert len(got) == len(calls)


def test_unmapped_is_dropped(nat: Nat) -> None:
    """What nobody asked for is dropped and counted, and does not go back to the upstream."""
    packet = IP(src=SERVER, dst=POOL[0]) / UDP(sport=1, dport=40000) / b"x"
    assert nat.inward(packet) == []
    assert nat.inward(packet, back=True) == []
    assert nat.count("to a pool endpoint that has no mapping") == 2


def test_expiry(nat: Nat) -> None:
    """RFC 4787 REQ-5: a mapping is there at its timeout and gone after it."""
    nat.vpp.do("hashmvt policy add default udp-timeout 100")
    [seen] = nat.outward(udp(HOSTS[0]), expect=1)
    nat.api.hashmvt_clock_advance(seconds=90)
    assert len(nat.inward(answer(seen), expect=1)) == 1
    nat.api.hashmvt_clock_advance(seconds=102)
    assert nat.inward(answer(seen)) == []
    assert nat.mappings() == []


def test_ttl_ends_at_the_router(nat: Nat) -> None:
    """RFC 1812 5.3.1: the error tells the inside host of its own packet."""
    [error] = nat.outward(udp(HOSTS[0], ttl=1), expect=1, back=True)
    assert error[ICMP].type == 11
    assert (error.dst, error[IPerror].src) == (HOSTS[0], HOSTS[0])


def test_out_of_ports(nat: Nat) -> None:
    """What finds no port is dropped under its reason; no port is given out twice."""
    nat.vpp.do("hashmvt disable")
    nat.vpp.do(
        "hashmvt enable max-mappings 10000 ports 1024-1151 hold-down 0",
        "hashmvt interface add pg0 in",
        f"hashmvt interface add {OUTSIDE} out",
        "hashmvt policy add 10.0.0.0/8",
        f"hashmvt pool add {POOL[0]}",
    )
    # all of one host: its instance gets the blocks that the others do not use
    packets = [udp(HOSTS[0], 5000 + n) for n in range(200)]
    given: set[int] = set()
    refused = 0

    def full() -> bool:
        nonlocal refused
        seen = {p.sport for p in nat.outward(*packets)}
        refused += len(packets) - len(seen)
        assert given <= seen
        given.update(seen)
        return len(given) == 128

    wait_until("all ports to be in use", full)
    assert given == set(range(1024, 1152))
    assert len(nat.mappings()) == len(given)
    assert nat.count("no free external port") == refused


def test_trace(nat: Nat) -> None:
    """A trace shows the endpoint before and after, the instance, and the reason of a drop."""
    nat.vpp.cli("clear trace")
    nat.vpp.cli("trace add pg-input 10")
    [seen] = nat.outward(udp(HOSTS[0]), expect=1)
    nat.inward(IP(src=SERVER, dst=POOL[1]) / UDP(sport=1, dport=40000))
    trace = nat.vpp.cli("show trace")
    assert "in2out translated instance" in trace
    assert f"udp {HOSTS[0]}:1000 -> udp {SERVER}:53" in trace
    assert f"udp {seen.src}:{seen.sport} -> udp {SERVER}:53" in trace
    assert "reason no_mapping" in trace


def test_handoff_in_every_direction(nat: Nat) -> None:
    """What comes in on a worker reaches its owner, of every pair of workers and both ways."""
    if nat.vpp.workers < 2:
        pytest.skip("one thread hands nothing over")
    nat.outward(*[udp(h) for h in HOSTS], expect=len(HOSTS))
    owner = {str(m.inside.address): m.instance for m in nat.mappings()}
    back = {
        str(m.inside.address): IP(src=SERVER, dst=str(m.external.address))
        / UDP(sport=53, dport=m.external.port)
        for m in nat.mappings()
    }
    workers = range(nat.vpp.workers)
    assert set(owner.values()) == set(workers)
    for source in workers:
        for target in workers:
            hosts = [h for h in HOSTS if owner[h] == target]
            for send, packets, name in (
                (nat.outward, [udp(h) for h in hosts], "received_in2out"),
                (nat.inward, [back[h] for h in hosts], "received_out2in"),
            ):
                given, taken = nat.each("handed_over"), nat.each(name)
                assert len(send(*packets, expect=len(hosts), worker=source)) == len(hosts)
                given[source] += len(hosts) * (source != target)
                taken[target] += len(hosts)
                assert (nat.each("handed_over"), nat.each(name)) == (given, taken)
    assert nat.count("ring to another instance is full") == 0

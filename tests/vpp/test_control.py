# SPDX-License-Identifier: Apache-2.0
"""Control over the binary API and the commands: whole or not at all, and without a barrier."""

from __future__ import annotations

import itertools
import os
import threading
import time
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from vpp_papi.vpp_stats import VPPStats

from conftest import ALL, HOSTS, NAT_COMMANDS, POOL, SERVER, Nat
from vpp import wait_until

# VPP's vnet/error.h
RETVALS = {
    "INVALID_SW_IF_INDEX": -2,
    "NO_SUCH_FIB": -3,
    "NO_SUCH_ENTRY": -6,
    "INVALID_VALUE": -7,
    "INVALID_VALUE_2": -8,
    "FEATURE_DISABLED": -30,
    "VALUE_EXIST": -81,
    "INVALID_INTERFACE": -71,
    "INVALID_ADDRESS_FAMILY": -97,
    "ENTRY_ALREADY_EXISTS": -116,
    "UNSUPPORTED": -126,
    "INVALID_PROTOCOL": -153,
    "RSRC_IN_USE": -155,
    "LIMIT_EXCEEDED": -162,
    "FEATURE_ALREADY_ENABLED": -170,
}


def udp(host: str, port: int = 1000) -> IP:
    return IP(src=host, dst=SERVER) / UDP(sport=port, dport=53) / b"x"


def endpoint(address: str, port: int, proto: int = 0) -> dict[str, Any]:
    return {"address": address, "port": port, "proto": proto}


def policy_with(timeout: int, seconds: int) -> dict[str, Any]:
    """Return a policy with one of its timeouts changed."""
    timeouts = [300, 7440, 240, 6, 60]
    timeouts[timeout] = seconds
    return {"timeouts": timeouts, "filtering": bytes(3), "mappings_per_host": [0, 0, 0]}


# ---- static mappings, pool ----


def test_static_mapping(nat: Nat) -> None:
    """A server inside is reached from outside, and answers with its external endpoint."""
    nat.vpp.do(f"hashmvt static add tcp {HOSTS[0]} 80 {POOL[1]} 8080")
    syn = IP(src=SERVER, dst=POOL[1]) / TCP(sport=5, dport=8080, flags="S")
    [seen] = nat.inward(syn, expect=1)
    assert (seen.dst, seen[TCP].dport) == (HOSTS[0], 80)
    reply = IP(src=HOSTS[0], dst=SERVER) / TCP(sport=80, dport=5, flags="SA")
    [out] = nat.outward(reply, expect=1)
    assert (out.src, out[TCP].sport) == (POOL[1], 8080)
    said = nat.vpp.cli(f"hashmvt static add tcp {HOSTS[1]} 80 {POOL[1]} 8080")
    assert "in use" in said
    nat.vpp.do(f"hashmvt static del tcp {POOL[1]} 8080")
    assert nat.inward(syn) == []


def test_one_to_one(nat: Nat) -> None:
    """A 1:1 rule translates every protocol and keeps host bits; its addresses answer ARP."""
    nat.vpp.do("hashmvt static add prefix 10.0.0.8/29 203.0.113.80/29")
    seen = nat.outward(udp("10.0.0.10"), expect=1)
    assert [(p.src, p[UDP].sport) for p in seen] == [("203.0.113.82", 1000)]
    seen = nat.inward(IP(src=SERVER, dst="203.0.113.82") / UDP(sport=1, dport=9), expect=1)
    assert [p.dst for p in seen] == ["10.0.0.10"]
    assert len(nat.arp("203.0.113.87", expect=1)) == 1
    nat.vpp.do("hashmvt static del prefix 10.0.0.8/29 203.0.113.80/29")
    assert nat.arp("203.0.113.87") == []


def test_large_one_to_one(nat: Nat) -> None:
    """A rule of a million addresses translates too, without as many routes in VPP's heap."""
    rule = "prefix 10.0.0.0/12 20.0.0.0/12"
    nat.vpp.do(f"hashmvt static add {rule}")
    [seen] = nat.outward(udp("10.0.0.10"), expect=1)
    assert (seen.src, seen[UDP].sport) == ("20.0.0.10", 1000)
    seen = nat.inward(IP(src=SERVER, dst="20.0.0.10") / UDP(sport=53, dport=1000), expect=1)
    assert [p.dst for p in seen] == ["10.0.0.10"]
    assert "20.0.0.10/32" not in nat.vpp.cli("show ip fib 20.0.0.10")
    assert "20.0.0.0/12: route it here" in nat.vpp.cli("show logging")
    nat.vpp.do(f"hashmvt static del {rule}")


def test_pool_address_drains(nat: Nat) -> None:
    """A deleted address serves what it has, takes nothing new and then is gone."""
    nat.vpp.do(f"hashmvt pool del {POOL[1]}-{POOL[3]}")
    [seen] = nat.outward(udp(HOSTS[0]), expect=1)
    assert seen.src == POOL[0]
    nat.vpp.do(f"hashmvt pool del {POOL[0]}", f"hashmvt pool add {POOL[2]}")
    assert f"{POOL[0]} draining" in nat.vpp.cli("hashmvt show pool")
    back = IP(src=SERVER, dst=seen.src) / UDP(sport=53, dport=seen.sport)
    assert len(nat.inward(back, expect=1)) == 1
    [other] = nat.outward(udp(HOSTS[1]), expect=1)
    assert other.src == POOL[2]
    nat.vpp.do("hashmvt pool add 203.0.113.9", "hashmvt pool del 203.0.113.9 force")
    nat.api.hashmvt_clock_advance(seconds=500)
    nat.outward()
    nat.api.hashmvt_clock_advance(seconds=10)
    wait_until("the address to go", lambda: POOL[0] not in nat.vpp.cli("hashmvt show pool"), 20)
    assert nat.arp(POOL[0]) == []


def test_pool_delete_by_force(nat: Nat) -> None:
    """With force the mappings of that address end at once, and nobody else's."""
    seen = nat.outward(*[udp(h) for h in HOSTS], expect=len(HOSTS))
    gone = seen[0].src
    left = [p for p in seen if p.src != gone]
    assert left
    nat.vpp.do(f"hashmvt pool del {gone} force")
    assert {str(m.external.address) for m in nat.mappings()} == {p.src for p in left}
    assert nat.gauge("mappings_deleted") == len(seen) - len(left)
    assert nat.arp(gone) == []
    back = [IP(src=SERVER, dst=p.src) / UDP(sport=53, dport=p.sport) for p in left]
    assert len(nat.inward(*back, expect=len(left))) == len(left)
    # its hosts get another address, and the address may come back
    assert gone not in {p.src for p in nat.outward(*[udp(h) for h in HOSTS], expect=len(HOSTS))}
    nat.vpp.do(f"hashmvt pool add {gone}")
    assert len(nat.arp(gone, expect=1)) == 1


def test_force_ends_what_it_names(nat: Nat) -> None:
    """Force leaves other addresses that drain alone, and ends one that drains already."""
    nat.vpp.do(f"hashmvt pool del {POOL[1]}-{POOL[3]}")
    [first] = nat.outward(udp(HOSTS[0]), expect=1)
    nat.vpp.do(f"hashmvt pool del {POOL[0]}", f"hashmvt pool add {POOL[2]}")
    [second] = nat.outward(udp(HOSTS[1]), expect=1)
    assert (first.src, second.src) == (POOL[0], POOL[2])
    nat.vpp.do(f"hashmvt pool del {POOL[2]} force")
    assert [str(m.external.address) for m in nat.mappings()] == [POOL[0]]
    assert f"{POOL[0]} draining" in nat.vpp.cli("hashmvt show pool")
    back = IP(src=SERVER, dst=first.src) / UDP(sport=53, dport=first.sport)
    assert len(nat.inward(back, expect=1)) == 1
    nat.vpp.do(f"hashmvt pool del {POOL[0]} force")
    assert nat.mappings() == []
    assert POOL[0] not in nat.vpp.cli("hashmvt show pool")
    assert "no such entry" in nat.vpp.cli(f"hashmvt pool del {POOL[0]} force")


def test_what_drains_may_be_deleted_again(nat: Nat) -> None:
    """A range may hold addresses that drain already; one that never was refuses it whole."""
    [seen] = nat.outward(udp(HOSTS[0]), expect=1)
    nat.vpp.do(f"hashmvt pool del {seen.src}")
    assert "no such entry" in nat.vpp.cli(f"hashmvt pool del {POOL[0]}-203.0.113.4")
    left = [p for p in POOL if p != seen.src]
    assert [p.src in left for p in nat.outward(udp(HOSTS[1]), expect=1)] == [True]
    nat.vpp.do(f"hashmvt pool del {POOL[0]}-{POOL[-1]}", f"hashmvt pool del {seen.src}")
    assert nat.outward(udp(HOSTS[2])) == []
    back = IP(src=SERVER, dst=seen.src) / UDP(sport=53, dport=seen.sport)
    assert len(nat.inward(back, expect=1)) == 1


def test_query_id_0(nat: Nat) -> None:
    """A query id may be 0, where a port may not."""
    nat.vpp.do(f"hashmvt static add icmp {HOSTS[0]} 0 {POOL[1]} 0")
    echo = IP(src=SERVER, dst=POOL[1]) / ICMP(id=0, seq=1) / b"x"
    assert [(p.dst, p[ICMP].id) for p in nat.inward(echo, expect=1)] == [(HOSTS[0], 0)]


# ---- listings and events ----


def test_listings(nat: Nat) -> None:
    """Pages hold every mapping once; filters and limits hold."""
    nat.outward(*[udp(h, 100 + n) for h in HOSTS for n in range(5)], expect=5 * len(HOSTS))
    mappings = nat.mappings()
    made = 5 * len(HOSTS)
    assert len({(str(m.inside.address), m.inside.port) for m in mappings}) == made == len(mappings)
    assert len(nat.mappings(inside=f"{HOSTS[3]}/32")) == 5
    assert len(nat.mappings(inside_port=102)) == len(HOSTS)
    assert nat.mappings(statics=1) == []
    hosts = nat.listing(nat.api.hashmvt_host_get, instance=ALL, inside="10.0.0.0/8", max=7)
    assert sorted(str(h.address) for h in hosts) == sorted(HOSTS)
    assert all(h.mappings[0] == 5 for h in hosts)
    blocks = nat.listing(nat.api.hashmvt_block_get, instance=ALL, max=3)
    assert sum(b.in_use[0] for b in blocks) == made
    assert f"{made} mappings" in nat.vpp.cli("hashmvt show mappings count")
    said = nat.vpp.cli("show hashmvt mappings limit 3")
    assert len(said.splitlines()) == 4
    assert (
        nat.api.hashmvt_mapping_delete(filter={"instance": ALL, "inside": f"{HOSTS[3]}/32"}).ended
        == 5
    )
    assert len(nat.mappings()) == made - 5


def test_events(nat: Nat, api: Any) -> None:
    """A subscriber is told of every mapping."""
    got: list[Any] = []
    api.register_event_callback(lambda _name, message: got.append(message))
    assert nat.api.want_hashmvt_events(enable=True, pid=1).retval == 0
    nat.outward(udp(HOSTS[0]), expect=1)
    wait_until("events", lambda: any(str(e.inside) == HOSTS[0] for e in got))
    assert nat.api.want_hashmvt_events(enable=False, pid=1).retval == 0


# ---- instances ----


def test_shard_drain_activate(nat: Nat) -> None:
    """Blocks move, an instance that drains turns spare and comes back; nothing is lost."""
    if nat.instances < 2:
        pytest.skip("there is one instance")
    packets = [udp(h) for h in HOSTS]
    before = nat.outward(*packets, expect=len(HOSTS))
    moved = nat.api.hashmvt_shard(from_instance=0, to_instance=1, percent=50, generation=7)
    assert moved.retval == 0
    assert moved.moved > 100
    again = nat.api.hashmvt_shard(from_instance=0, to_instance=1, percent=50, generation=7)
    assert again.moved == moved.moved
    assert nat.api.hashmvt_instance_control(instance=1, op=1, generation=8).retval == 0
    live = nat.listing(nat.api.hashmvt_host_get, instance=1, inside="10.0.0.0/8", max=64)
    assert live
    pins = {f"{m.inside.address}/32": m.instance for m in nat.mappings() if m.instance}
    set_maps(nat, 5, {"0.0.0.0/0": 0, **pins})
    # mappings stay where they are, and packets find them
    after = nat.outward(*packets, expect=len(HOSTS))
    assert {(p.src, p.sport) for p in after} == {(p.src, p.sport) for p in before}
    for _ in range(3):
        nat.api.hashmvt_clock_advance(seconds=400)
        nat.outward()
    set_maps(nat, 6, {"0.0.0.0/0": 0})
    wait_until("instance 1 to be spare", lambda: _state(nat, 1) == 0, 20)
    assert len(nat.outward(*packets, expect=len(HOSTS))) == len(HOSTS)
    assert nat.api.hashmvt_instance_control(instance=1, op=0, generation=9).retval == 0
    assert _state(nat, 1) == 1


def set_maps(nat: Nat, version: int, owners: dict[str, int]) -> None:
    """Put a home map in force and the same as the dispatcher's rules."""
    ranges = [
        {"prefix": prefix, "instance": owner, "table": 0xFFFFFFFF, "external": "0.0.0.0"}
        for prefix, owner in owners.items()
    ]
    for kind in (0, 1):
        change = nat.api.hashmvt_change_begin(kind=kind, version=version).change
        added = nat.api.hashmvt_change_add_ranges(change=change, n=len(ranges), ranges=ranges)
        assert added.retval == 0
        assert nat.api.hashmvt_change_end(change=change, commit=True).retval == 0
    assert nat.api.hashmvt_get().home_version == version
    back = nat.listing(nat.api.hashmvt_range_get, kind=0)
    assert {str(d.range.prefix): d.range.instance for d in back} == owners


def _state(nat: Nat, instance: int) -> int:
    return int(nat.api.hashmvt_instance_get()[1][instance].state)


def test_last_instance_does_not_drain(nat: Nat) -> None:
    """Somebody must serve."""
    for instance in range(1, nat.instances):
        assert nat.api.hashmvt_instance_control(instance=instance, op=1).retval == 0
    assert nat.api.hashmvt_instance_control(instance=0, op=1).retval == RETVALS["RSRC_IN_USE"]


def test_reset(nat: Nat) -> None:
    """Takeover: the mappings end, the epoch rises, new flows go on."""
    nat.outward(*[udp(h) for h in HOSTS], expect=len(HOSTS))
    for instance in range(nat.instances):
        assert nat.api.hashmvt_instance_control(instance=instance, op=2).retval == 0
    assert nat.mappings() == []
    assert all(i.epoch == 2 for i in nat.api.hashmvt_instance_get()[1])
    assert len(nat.outward(*[udp(h) for h in HOSTS], expect=len(HOSTS))) == len(HOSTS)


def test_no_worker_barrier(nat: Nat) -> None:
    """1,000 control operations, polling and a dump of all mappings stop the workers not once."""
    nat.flood(hosts=250, ports=32)
    stats = VPPStats(str(nat.vpp.directory / "stats.sock"))
    stats.connect()
    inside = endpoint(HOSTS[0], 9)
    before = nat.api.hashmvt_get().barriers
    try:
        for n in range(250):
            outside = endpoint(POOL[0], 500 + n)
            for is_add in (True, False):
                done = nat.api.hashmvt_exempt_add_del(is_add=is_add, prefix=f"192.0.2.{n}/32")
                assert done.retval == 0
                done = nat.api.hashmvt_static_mapping_add_del(
                    is_add=is_add, inside=inside, outside=outside
                )
                assert done.retval == 0
            assert sum(map(sum, stats["/hashmvt/mappings"])) >= 8000
            assert len(nat.api.hashmvt_instance_get()[1]) == nat.instances
        assert len(nat.mappings()) == 8000
    finally:
        stats.disconnect()
    if nat.instances > 1:
        assert nat.api.hashmvt_shard(from_instance=0, to_instance=1, percent=10).retval == 0
    set_maps(nat, 5, {"0.0.0.0/0": 0})
    assert nat.api.hashmvt_mapping_delete(filter={"instance": ALL}).ended == 8000
    assert nat.api.hashmvt_get().barriers == before


def test_polling_moves_no_barrier(nat: Nat) -> None:
    """A client that asks for everything, all the time, stops the workers not once."""
    seconds = float(os.environ.get("HASHMVT_POLL_SECONDS", "3"))
    nat.outward(*[udp(h) for h in HOSTS], expect=len(HOSTS))
    stats = VPPStats(str(nat.vpp.directory / "stats.sock"))
    stats.connect()
    before, end, rounds = nat.api.hashmvt_get().barriers, time.monotonic() + seconds, 0
    try:
        while time.monotonic() < end:
            assert len(nat.api.hashmvt_instance_get()[1]) == nat.instances
            assert len(nat.mappings()) == len(HOSTS)
            assert nat.listing(nat.api.hashmvt_pool_get)
            assert nat.listing(nat.api.hashmvt_match_get)
            assert nat.listing(nat.api.hashmvt_range_get, kind=0)
            assert sum(map(sum, stats["/hashmvt/mappings"])) == len(HOSTS)
            rounds += 1
    finally:
        stats.disconnect()
    assert rounds > seconds
    assert nat.api.hashmvt_get().barriers == before


def test_statistics_segment(nat: Nat) -> None:
    """Counters are there for everyone, by thread, and go on live."""
    stats = VPPStats(str(nat.vpp.directory / "stats.sock"))
    stats.connect()
    try:

        def total(name: str) -> int:
            return int(sum(sum(thread) for thread in stats[f"/hashmvt/{name}"]))

        start = total("translated_in2out")
        nat.outward(*[udp(h) for h in HOSTS], expect=len(HOSTS))
        wait_until("counters", lambda: total("translated_in2out") - start == len(HOSTS))
        assert total("mappings") == len(HOSTS)
        assert total("cycles_total") > total("cycles_busy") > 0
        assert stats["/hashmvt/dropped/no_mapping"] is not None
        assert stats["/hashmvt/passed/exempt"] is not None
    finally:
        stats.disconnect()


def test_one_number_for_the_policies(nat: Nat) -> None:
    """The gauge of the instances is the generation that the API gives, whatever else changed."""
    nat.vpp.do("set interface ip address pg1 198.18.0.1/24")
    nat.vpp.do("set interface ip address del pg1 198.18.0.1/24")
    nat.vpp.do("hashmvt exempt add 192.0.2.0/24")
    nat.outward(*[udp(h) for h in HOSTS], expect=len(HOSTS))
    generation = nat.api.hashmvt_get().policy_generation
    stats = VPPStats(str(nat.vpp.directory / "stats.sock"))
    stats.connect()
    try:
        first = nat.api.hashmvt_get().first_thread
        counted = [thread[0] for thread in stats["/hashmvt/policy_generation"]]
    finally:
        stats.disconnect()
    assert counted[first:] == [generation] * nat.instances
    assert nat.each("policy_generation") == [generation] * nat.instances


# ---- refusals ----


def test_enable_says_why_not(disabled: Nat) -> None:
    """Over the API as on the command line: what is wrong, in a sentence, and nothing is enabled."""
    for settings, command, retval, words in (
        ({"max_addresses": 65537}, "max-addresses 65537", "INVALID_VALUE", "1 to 65536"),
        ({"fragment_timeout": 1 << 31}, "fragment-timeout 0", "INVALID_VALUE", "1 to 31536000"),
        ({"block_size": 3}, "block-size 3", "INVALID_VALUE", "power of two"),
        ({"instances": 99}, "instances 99", "INVALID_VALUE", "initial must be 1 to max"),
        ({"frame_queue_nelts": 100}, "frame-queue-nelts 100", "INVALID_VALUE", "power of two"),
        ({"log": 9}, "log loud", "INVALID_VALUE", "log"),
    ):
        reply = disabled.api.hashmvt_enable(**settings)
        assert reply.retval == RETVALS[retval], settings
        assert words in reply.error, settings
        assert words in disabled.vpp.cli(f"hashmvt enable {command}")
    assert not disabled.api.hashmvt_get().enabled
    reply = disabled.api.hashmvt_enable(max_mappings=1000)
    assert (reply.retval, reply.error) == (0, "")
    assert "enabled already" in disabled.api.hashmvt_enable().error


def test_sizes_are_those_of_this_enable(disabled: Nat) -> None:
    """What one enable asked for is not what the next one gets."""
    disabled.vpp.do("hashmvt enable block-size 128 max-mappings 777", "hashmvt disable")
    disabled.vpp.do("hashmvt enable")
    assert disabled.api.hashmvt_get().block_size == 64
    assert disabled.api.hashmvt_get().max_mappings == 1 << 20


def test_enable_disable_many_times(disabled: Nat) -> None:
    """Memory and buffers come back."""
    for _ in range(5):
        disabled.vpp.do("hashmvt enable max-mappings 10000", "hashmvt interface add pg0 in")
        disabled.vpp.do("hashmvt disable")
    assert "not enabled" in disabled.vpp.cli("hashmvt disable")


WRONG_WORDS = [
    ("hashmvt pool add bogus", "bogus"),
    ("hashmvt pool frob 1.2.3.4", "frob"),
    ("hashmvt pool add 203.0.113.50 now", "now"),
    ("hashmvt interface add nosuch in", "nosuch"),
    ("hashmvt interface add pg0 sideways", "sideways"),
    ("hashmvt policy add 10.1.0.0/16 tempo 7", "tempo"),
    ("hashmvt policy add 10.1.0.0/99", "10.1.0.0/99"),
    ("hashmvt static add sctp 10.0.0.1 1 203.0.113.1 1", "sctp"),
    ("hashmvt static add udp 10.0.0.9 70000 203.0.113.1 1", "70000"),
    ("hashmvt exempt add everything", "everything"),
    ("hashmvt instance activate 99", "99"),
    ("hashmvt instance wake 0", "wake"),
    ("hashmvt shard 0 0 halves", "halves"),
    ("hashmvt clear everything", "everything"),
    ("hashmvt show nonsense", "nonsense"),
    ("show hashmvt mappings inside nowhere", "inside"),
    ("hashmvt show pool now", "now"),
    ("hashmvt pool add", "missing"),
    # what is written well, and refused
    ("hashmvt pool add 127.0.0.1", "pool: 127.0.0.1: invalid"),
    ("hashmvt pool add 203.0.113.2-203.0.113.5", "pool: 203.0.113.2-203.0.113.5: exists"),
    ("hashmvt policy del 11.0.0.0/8", "policy: 11.0.0.0/8: no such"),
    ("hashmvt exempt del 192.0.3.0/24", "exempt: 192.0.3.0/24: no such"),
    ("hashmvt static del udp 203.0.113.1 9", "static: udp 203.0.113.1:9: no such"),
    ("hashmvt shard 0 0 percent 10", "shard: from 0 to 0: invalid"),
    ("hashmvt policy add default udp-timeout 4000000000", "`udp-timeout'"),
    # numbers that 32 bits do not hold are not taken for others
    ("hashmvt policy add 10.1.0.0/16 udp-timeout 4294967297", "udp-timeout"),
    ("hashmvt static add udp 10.0.0.9 4294967376 203.0.113.1 1", "4294967376"),
    ("hashmvt instance activate 4294967296", "4294967296"),
    ("hashmvt enable max-mappings 4294967297", "`max-mappings'"),
    ("hashmvt enable ports 70000-80000", "`ports'"),
    # the whole word is named, and words that only begin well are wrong
    ("hashmvt interface add pg0 inside", "`inside': expected in or out"),
    ("hashmvt pool addition 203.0.113.50", "`addition': expected add or del"),
    ("hashmvt show poolside", "`poolside'"),
    ("hashmvt show mappings udpx", "`udpx'"),
    ("hashmvt enable allocation ports", "`allocation'"),
    # 0 is no timeout, no port and no interface
    ("hashmvt policy add default udp-timeout 0", "`udp-timeout'"),
    ("hashmvt policy add 10.1.0.0/16 tcp-transitory-timeout 0", "`tcp-transitory-timeout'"),
    ("hashmvt static add udp 10.0.0.9 0 203.0.113.1 80", "`0': expected the inside PORT"),
    ("hashmvt static add tcp 10.0.0.9 80 203.0.113.1 0", "`0': expected the outside PORT"),
    ("hashmvt interface add local0 in", "local0 carries no packets"),
]


def test_commands_name_the_wrong_word(nat: Nat) -> None:
    """Every refusal names the word that is wrong, and changes nothing."""
    before = nat.vpp.cli("hashmvt show policies")
    for command, word in WRONG_WORDS:
        assert word in nat.vpp.cli(command), command
        assert nat.vpp.cli("hashmvt show policies") == before, command


def test_shard_with_a_word_too_many_moves_nothing(nat: Nat) -> None:
    """The whole line is read before anything is done."""
    if nat.instances < 2:
        pytest.skip("there is one instance")
    before = nat.each("blocks_free")
    for how in ("percent 10", "blocks 3"):
        assert "unknown input `now'" in nat.vpp.cli(f"hashmvt shard 0 1 {how} now")
    assert nat.each("blocks_free") == before


def _calls() -> list[tuple[str, dict[str, Any], str]]:
    e = endpoint
    bad_filter = {"instance": ALL}
    return [
        ("hashmvt_enable", {}, "FEATURE_ALREADY_ENABLED"),
        (
            "hashmvt_pool_add_del",
            {"is_add": True, "first": POOL[0], "last": POOL[0]},
            "ENTRY_ALREADY_EXISTS",
        ),
        (
            "hashmvt_pool_add_del",
            {"is_add": True, "first": POOL[1], "last": POOL[0]},
            "INVALID_VALUE",
        ),
        (
            "hashmvt_pool_add_del",
            {"is_add": True, "first": "2001:db8::1", "last": "2001:db8::1"},
            "INVALID_ADDRESS_FAMILY",
        ),
        (
            "hashmvt_pool_add_del",
            {"is_add": True, "first": "10.0.0.77", "last": "10.0.0.77"},
            "INVALID_VALUE",
        ),
        (
            "hashmvt_pool_add_del",
            {"is_add": True, "first": "192.0.0.0", "last": "192.0.255.255"},
            "LIMIT_EXCEEDED",
        ),
        (
            "hashmvt_pool_add_del",
            {"is_add": False, "first": "192.0.2.1", "last": "192.0.2.1"},
            "NO_SUCH_ENTRY",
        ),
        (
            "hashmvt_interface_add_del",
            {"is_add": True, "is_inside": True, "sw_if_index": 9999},
            "INVALID_SW_IF_INDEX",
        ),
        (
            "hashmvt_interface_add_del",
            {"is_add": True, "is_inside": True, "sw_if_index": 1},
            "VALUE_EXIST",
        ),
        (
            "hashmvt_interface_add_del",
            {"is_add": True, "is_inside": False, "sw_if_index": 1},
            "RSRC_IN_USE",
        ),
        (
            "hashmvt_interface_add_del",
            {"is_add": False, "is_inside": False, "sw_if_index": 1},
            "NO_SUCH_ENTRY",
        ),
        (
            "hashmvt_interface_add_del",
            {"is_add": True, "is_inside": True, "sw_if_index": 0},
            "INVALID_INTERFACE",
        ),
        *(
            (
                "hashmvt_policy_add_del",
                {"is_add": True, "is_default": True, "policy": policy_with(k, seconds)},
                "INVALID_VALUE",
            )
            for k in range(5)
            for seconds in (0, 31536001)
        ),
        (
            "hashmvt_static_mapping_add_del",
            {"is_add": True, "inside": e("10.0.0.9", 0), "outside": e(POOL[0], 1)},
            "INVALID_VALUE",
        ),
        (
            "hashmvt_static_mapping_add_del",
            {"is_add": True, "inside": e("10.0.0.9", 1, 1), "outside": e(POOL[0], 0, 1)},
            "INVALID_VALUE",
        ),
        ("hashmvt_exempt_add_del", {"is_add": False, "prefix": "192.0.2.0/24"}, "NO_SUCH_ENTRY"),
        (
            "hashmvt_exempt_add_del",
            {"is_add": True, "prefix": "2001:db8::/32"},
            "INVALID_ADDRESS_FAMILY",
        ),
        ("hashmvt_inside_add_del", {"is_add": False, "prefix": "172.16.0.0/12"}, "NO_SUCH_ENTRY"),
        (
            "hashmvt_static_rule_add_del",
            {"is_add": True, "inside": "10.1.0.0/16", "outside": "192.0.2.0/24"},
            "INVALID_VALUE",
        ),
        (
            "hashmvt_static_rule_add_del",
            {"is_add": False, "inside": "10.1.0.0/16", "outside": "10.2.0.0/16"},
            "NO_SUCH_ENTRY",
        ),
        (
            "hashmvt_static_rule_add_del",
            {"is_add": True, "inside": "10.1.0.0/32", "outside": f"{POOL[0]}/32"},
            "RSRC_IN_USE",
        ),
        (
            "hashmvt_static_mapping_add_del",
            {"is_add": True, "inside": e("10.0.0.9", 1), "outside": e("192.0.2.1", 1)},
            "NO_SUCH_ENTRY",
        ),
        (
            "hashmvt_static_mapping_add_del",
            {"is_add": True, "inside": e("10.0.0.9", 1, 0), "outside": e(POOL[0], 1, 1)},
            "INVALID_VALUE",
        ),
        (
            "hashmvt_static_mapping_add_del",
            {"is_add": True, "inside": e("10.0.0.9", 1, 7), "outside": e(POOL[0], 1, 7)},
            "INVALID_PROTOCOL",
        ),
        (
            "hashmvt_static_mapping_add_del",
            {"is_add": True, "realm": 3, "inside": e("10.0.0.9", 1), "outside": e(POOL[0], 1)},
            "NO_SUCH_FIB",
        ),
        (
            "hashmvt_static_mapping_add_del",
            {"is_add": False, "inside": e("10.0.0.9", 1), "outside": e(POOL[0], 1)},
            "NO_SUCH_ENTRY",
        ),
        ("hashmvt_instance_control", {"instance": 77, "op": 0}, "INVALID_VALUE_2"),
        ("hashmvt_instance_control", {"instance": 0, "op": 9}, "INVALID_VALUE_2"),
        ("hashmvt_shard", {"from_instance": 0, "to_instance": 77, "percent": 1}, "INVALID_VALUE_2"),
        ("hashmvt_shard", {"from_instance": 0, "to_instance": 0, "percent": 1}, "INVALID_VALUE"),
        (
            "hashmvt_transfer",
            {"from_instance": 0, "to_instance": 0, "any": True, "n": 1, "external": POOL[0]},
            "INVALID_VALUE",
        ),
        (
            "hashmvt_mapping_delete",
            {"filter": {"proto_plus1": 9, **bad_filter}},
            "INVALID_PROTOCOL",
        ),
        ("hashmvt_mapping_delete", {"filter": {"statics": 9, **bad_filter}}, "INVALID_VALUE"),
        ("hashmvt_mapping_delete", {"filter": {"realm": 9, **bad_filter}}, "NO_SUCH_FIB"),
        (
            "hashmvt_mapping_delete",
            {"filter": {"inside": "2001:db8::/64", **bad_filter}},
            "INVALID_ADDRESS_FAMILY",
        ),
        ("hashmvt_change_begin", {"kind": 9, "version": 1}, "INVALID_VALUE_2"),
        ("hashmvt_change_end", {"change": 999, "commit": True}, "INVALID_VALUE_2"),
        ("hashmvt_change_add_table", {"change": 999, "table": [0] * 256}, "INVALID_VALUE_2"),
        ("hashmvt_table_get", {"kind": 0, "table": 999}, "NO_SUCH_ENTRY"),
        ("hashmvt_table_get", {"kind": 2, "table": 0}, "INVALID_VALUE_2"),
        ("hashmvt_rss_queues_set", {"sw_if_index": 9999, "queues": 1}, "INVALID_SW_IF_INDEX"),
        ("hashmvt_rss_queues_set", {"sw_if_index": 1, "queues": 1}, "UNSUPPORTED"),
        ("want_hashmvt_events", {"enable": False, "pid": 1}, "NO_SUCH_ENTRY"),
    ]


def test_invalid_calls(nat: Nat) -> None:
    """Every invalid call has a return value of its own kind and changes nothing."""
    before = nat.api.hashmvt_get()
    policies = nat.vpp.cli("hashmvt show policies")
    for message, arguments, expected in _calls():
        retval = getattr(nat.api, message)(**arguments).retval
        assert retval == RETVALS[expected], (message, arguments)
        after = nat.api.hashmvt_get()
        assert after.policy_generation == before.policy_generation, (message, arguments)
        assert after.generation == before.generation, (message, arguments)
        assert nat.vpp.cli("hashmvt show policies") == policies, (message, arguments)


def test_everything_is_refused_while_disabled(disabled: Nat) -> None:
    """Every message but enable and get."""
    for message, arguments, _ in _calls():
        if message in ("hashmvt_enable", "want_hashmvt_events", "hashmvt_rss_queues_set"):
            continue
        assert getattr(disabled.api, message)(**arguments).retval == RETVALS["FEATURE_DISABLED"]


def test_older_versions_are_stale(nat: Nat) -> None:
    """An older map or policy set is refused; the same one again is nothing new."""
    ranges = [{"prefix": "0.0.0.0/0", "instance": 0, "table": 0xFFFFFFFF, "external": "0.0.0.0"}]
    for version, retval in ((5, 0), (4, RETVALS["VALUE_EXIST"]), (5, 0)):
        change = nat.api.hashmvt_change_begin(kind=0, version=version).change
        nat.api.hashmvt_change_add_ranges(change=change, n=1, ranges=ranges)
        assert nat.api.hashmvt_change_end(change=change, commit=True).retval == retval
    assert nat.api.hashmvt_get().home_version == 5
    change = nat.api.hashmvt_change_begin(kind=0, version=9).change
    assert nat.api.hashmvt_change_end(change=change, commit=True).retval == RETVALS["INVALID_VALUE"]
    assert nat.api.hashmvt_get().home_version == 5


def _buffers_in_use(nat: Nat) -> int:
    words = nat.vpp.cli("show buffers").splitlines()[-1].split()
    return int(words[-1])


def test_buffers_come_back(nat: Nat) -> None:
    """Fragments that wait when the NAT is disabled give their buffers back."""
    nat.vpp.cli("show buffers")
    before = _buffers_in_use(nat)
    whole = IP(src=HOSTS[0], dst=SERVER, id=9) / UDP(sport=1000, dport=53) / bytes(1000)
    for n in range(5):
        whole.id = 100 + n
        assert nat.outward(*fragment(whole, 64)[1:]) == []
    assert _buffers_in_use(nat) > before
    nat.vpp.do("hashmvt disable")
    assert _buffers_in_use(nat) <= before


def test_control_under_traffic_loses_nothing(nat: Nat) -> None:
    """Blocks move, rules and policies are swapped while packets flow, and every packet arrives."""
    rounds = 6
    stop = threading.Event()
    done = []

    def churn() -> None:
        client = nat.vpp.connect("churn")
        api, n = client.api, nat.instances
        for turn in itertools.count():
            if stop.is_set():
                break
            for is_add in (True, False):
                api.hashmvt_exempt_add_del(is_add=is_add, prefix=f"192.0.2.{turn % 250}/32")
            if n > 1:
                a, b = turn % n, (turn + 1) % n
                api.hashmvt_shard(from_instance=a, to_instance=b, percent=20, generation=0)
            # wrong for most hosts, which costs a hand-off and nothing else
            change = api.hashmvt_change_begin(kind=1, version=turn + 1).change
            everybody = {
                "prefix": "0.0.0.0/0",
                "instance": turn % n,
                "table": 0xFFFFFFFF,
                "external": "0.0.0.0",
            }
            api.hashmvt_change_add_ranges(change=change, n=1, ranges=[everybody])
            assert api.hashmvt_change_end(change=change, commit=True).retval == 0
            done.append(turn)
        client.disconnect()

    changes = threading.Thread(target=churn)
    changes.start()
    try:
        # new flows in every round, and those of all rounds before
        for turn in range(rounds):
            packets = [udp(h, 4000 + n) for n in range(turn + 1) for h in HOSTS]
            assert len(nat.outward(*packets, expect=len(packets))) == len(packets)
            back = [answer_to(m) for m in nat.mappings()]
            assert len(nat.inward(*back, expect=len(packets))) == len(packets)
    finally:
        stop.set()
        changes.join()
    assert len(done) > rounds
    assert [r for r in range(32) if any(nat.counters("dropped", r))] == []
    assert len(nat.mappings()) == rounds * len(HOSTS)


def test_reload_keeps_mappings(nat: Nat) -> None:
    """Policies, pool and exemptions are replaced whole; who has a mapping keeps it."""
    packets = [udp(h) for h in HOSTS]
    before = {(str(p.src), p.sport) for p in nat.outward(*packets, expect=len(packets))}
    addresses = [str(r.first) for r in nat.listing(nat.api.hashmvt_pool_get)]
    assert addresses == [POOL[0]]
    generation = nat.api.hashmvt_get().policy_generation
    change = nat.api.hashmvt_change_begin(kind=2, version=generation + 1).change
    policy = {
        "timeouts": [120, 7440, 240, 6, 60],
        "filtering": bytes([1, 1, 1]),
        "paired_only": 0,
        "mappings_per_host": [0, 0, 0],
        "mappings_per_host_all": 100,
        "new_per_second_per_host": 0,
        "max_blocks_per_host": 4,
    }
    run = {"first": POOL[0], "count": 8, "slot": 0, "draining": 0}
    inside = {"prefix": "10.0.0.0/8", "policy": 0}
    api = nat.api
    assert api.hashmvt_change_add_policies(change=change, n=1, policies=[policy]).retval == 0
    slots = list(range(8))
    assert api.hashmvt_change_add_slots(change=change, policy=0, n=8, slots=slots).retval == 0
    assert api.hashmvt_change_add_runs(change=change, n=1, runs=[run]).retval == 0
    assert api.hashmvt_change_add_inside(change=change, n=1, inside=[inside]).retval == 0
    assert api.hashmvt_change_end(change=change, commit=True).retval == 0
    assert api.hashmvt_get().policy_generation == generation + 1
    after = {(str(p.src), p.sport) for p in nat.outward(*packets, expect=len(packets))}
    assert after == before
    assert len(nat.arp("203.0.113.7", expect=1)) == 1


def test_disable_and_enable(nat: Nat) -> None:
    """Without the NAT packets go untranslated; with it again nothing old is there."""
    boot = nat.api.hashmvt_get().boot
    [seen] = nat.outward(udp(HOSTS[0]), expect=1)
    nat.vpp.do("hashmvt disable")
    [plain] = nat.outward(udp(HOSTS[0]), expect=1)
    assert plain.src == HOSTS[0]
    nat.vpp.do(*NAT_COMMANDS)
    assert nat.api.hashmvt_get().boot != boot
    assert nat.mappings() == []
    back = IP(src=SERVER, dst=seen.src) / UDP(sport=53, dport=seen.sport)
    assert nat.inward(back) == []
    assert nat.count("to a pool endpoint that has no mapping") == 1
    [again] = nat.outward(udp(HOSTS[0]), expect=1)
    assert again.src in POOL


def answer_to(mapping: Any) -> IP:
    end = mapping.external
    return IP(src=SERVER, dst=str(end.address)) / UDP(sport=53, dport=end.port)

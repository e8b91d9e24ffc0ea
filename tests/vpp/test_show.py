# SPDX-License-Identifier: Apache-2.0
"""What the plugin shows of itself: matching, traces, hand-offs; and what it refuses at enable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from scapy.layers.inet import IP, UDP, fragment
from vpp_papi.vpp_stats import VPPStats

from conftest import HOSTS, INSIDE, OUTSIDE, POOL, SERVER, Nat
from hashmvt.private_vpp import VppError
from vpp import Vpp, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

INVALID_SW_IF_INDEX, INVALID_VALUE, INVALID_VALUE_2 = -2, -7, -8
INVALID_QUEUE, UNSUPPORTED, RSRC_IN_USE = -125, -126, -155
TABLES = ("rules", "home", "inside", "exempt", "static_in", "static_out")


def udp(host: str, port: int = 1000, server: str = SERVER) -> IP:
    return IP(src=host, dst=server) / UDP(sport=port, dport=53) / b"x"


def matches(nat: Nat, table: str) -> list[Any]:
    """How each instance has matched in a table."""
    number = TABLES.index(table)
    return [m for m in nat.listing(nat.api.hashmvt_match_get) if m.table == number]


def told(nat: Nat, show: str, table: str) -> tuple[int, int, int]:
    """Lookups, hits and state-cache hits of a table that a command shows, over all instances."""
    rows = [line.split() for line in nat.vpp.cli(f"hashmvt show {show}").splitlines()]
    rows = [row for row in rows if len(row) == 7 and row[0] == table]
    assert len(rows) == nat.instances
    return tuple(sum(int(row[k]) for row in rows) for k in (4, 5, 6))  # type: ignore[return-value]


def test_startup_names_the_wrong_word(tmp_path: Path) -> None:
    """VPP does not start with a section that the plugin does not understand, and says why."""
    with pytest.raises(VppError, match="unknown or incomplete setting `foo'"):
        Vpp(tmp_path / "vpp", sections="hashmvt { foo 1 }").start()


# ---- prefix matching ----


def test_policies_show_hits_and_cache_hits(nat: Nat) -> None:
    """Three packets to the router ask thrice whether it is exempt, twice the state cache."""
    nat.outward(*[udp(HOSTS[0], server="198.51.100.1")] * 3)
    assert told(nat, "policies", "exempt") == (3, 3, 2)
    found = matches(nat, "exempt")
    assert len(found) == nat.instances
    counted = [sum(getattr(m, k) for m in found) for k in ("lookups", "hits", "cache_hits")]
    assert counted == [3, 3, 2]
    assert all(m.entries > 2 for m in found)


def test_rules_show_hits(nat: Nat) -> None:
    """Rules of two prefixes are matched for every packet from inside, by the worker that has it."""
    begun = nat.api.hashmvt_change_begin(kind=1, version=1)
    ranges = [
        {"prefix": p, "instance": i, "table": 0xFFFFFFFF}
        for p, i in (("0.0.0.0/0", 0), ("10.0.0.0/24", nat.instances - 1))
    ]
    assert nat.api.hashmvt_change_add_ranges(change=begun.change, n=2, ranges=ranges).retval == 0
    assert nat.api.hashmvt_change_end(change=begun.change, commit=True).retval == 0
    nat.outward(*[udp(HOSTS[0])] * 3, expect=3)
    assert told(nat, "rules", "rules") == (3, 3, 2)


def test_every_rule_has_its_hits(nat: Nat) -> None:
    """Rules, inside prefixes, exemptions and 1:1 rules count their packets, over all instances."""
    ranges = [
        {"prefix": prefix, "instance": 0, "table": 0xFFFFFFFF}
        for prefix in ("0.0.0.0/0", "10.0.0.32/27")
    ]
    for kind in (0, 1):
        change = nat.api.hashmvt_change_begin(kind=kind, version=5).change
        assert nat.api.hashmvt_change_add_ranges(change=change, n=2, ranges=ranges).retval == 0
        assert nat.api.hashmvt_change_end(change=change, commit=True).retval == 0
    nat.vpp.do(
        f"hashmvt policy add {HOSTS[0]}/32 mappings-per-host 9",
        "hashmvt exempt add 192.0.2.0/24",
        f"hashmvt static add prefix {HOSTS[1]}/32 203.0.113.77/32",
    )
    nat.outward(*[udp(h) for h in HOSTS], expect=len(HOSTS))
    nat.outward(udp(HOSTS[2], server="192.0.2.9"), expect=1)
    nat.inward(IP(src=SERVER, dst="203.0.113.77") / UDP(sport=53, dport=1000), expect=1)
    rules = nat.vpp.cli("hashmvt show rules").split("dispatcher rules")[1]
    near = sum(32 <= int(h.split(".")[3]) < 64 for h in HOSTS)
    # every packet from inside, and where there is a choice the one to the 1:1 rule's outside
    asked = len(HOSTS) + 1 + (nat.instances > 1)
    assert f"10.0.0.32/27 -> instance 0 hits {near}\n" in rules
    assert f"0.0.0.0/0 -> instance 0 hits {asked - near}\n" in rules
    said = nat.vpp.cli("hashmvt show policies")
    assert f"inside {HOSTS[0]}/32 -> policy 1 hits 1\n" in said
    # all but that host and the one with a 1:1 rule; the exempt packet made no mapping
    assert f"inside 10.0.0.0/8 -> policy 0 hits {len(HOSTS) - 2}\n" in said
    assert "exempt 192.0.2.0/24 hits 1\n" in said
    assert f"static {HOSTS[1]}/32 hits " in said
    assert "203.0.113.77/32 hits " in said
    found = nat.listing(nat.api.hashmvt_hits_get, table=0, instance=0xFFFF, max=1)
    assert {str(f.prefix) for f in found} == {"0.0.0.0/0", "10.0.0.32/27"}
    assert sum(f.hits for f in found) == asked
    nat.vpp.do("hashmvt exempt del 192.0.2.0/24")
    assert "inside 10.0.0.0/8 -> policy 0 hits 0\n" in nat.vpp.cli("hashmvt show policies")
    assert nat.api.hashmvt_hits_get(table=6, instance=0xFFFF)[0].retval == INVALID_VALUE
    beyond = nat.api.hashmvt_hits_get(table=0, instance=nat.instances)[0]
    assert beyond.retval == INVALID_VALUE_2


def test_neighbors_of_the_router_go_fast(nat: Nat) -> None:
    """Who shares a /16 with an address of the router is not looked up for exemption."""
    nat.outward(*[udp(HOSTS[0])] * 5, expect=5)
    assert sum(m.lookups for m in matches(nat, "exempt")) == 0
    nat.outward(udp(HOSTS[0], server="198.51.100.1"))
    assert sum(m.hits for m in matches(nat, "exempt")) > 0


# ---- lists ----


@pytest.mark.parametrize("what", ["pool", "rules", "policies"])
def test_lists_are_cut_by_a_limit(nat: Nat, what: str) -> None:
    """A long list shows as many lines as asked for, and how many more there are."""
    nat.vpp.do(
        *(f"hashmvt exempt add 192.0.2.{n}/32" for n in range(3)), "hashmvt pool del 203.0.113.1"
    )
    said = nat.vpp.cli(f"hashmvt show {what} limit 1")
    assert ("more: use limit N" in said) == (what != "rules")
    assert "unknown input `x'" in nat.vpp.cli(f"hashmvt show {what} limit x")


def test_no_instance_beyond_the_last(nat: Nat) -> None:
    """Listings of an instance that there is not are refused."""
    beyond = nat.instances
    calls: list[Callable[[], Any]] = [
        lambda: nat.api.hashmvt_mapping_get(filter={"instance": beyond}, max=1)[0],
        lambda: nat.api.hashmvt_host_get(instance=beyond, inside="0.0.0.0/0", max=1)[0],
        lambda: nat.api.hashmvt_block_get(instance=beyond, max=1)[0],
        lambda: nat.api.hashmvt_mapping_delete(filter={"instance": beyond}),
    ]
    assert [call().retval for call in calls] == [INVALID_VALUE_2] * len(calls)


def test_memory_is_where_the_worker_runs(nat: Nat) -> None:
    """Every instance has memory of its own; the node is the CPU's where the machine has several."""
    _, instances = nat.api.hashmvt_instance_get()
    assert all(i.memory > 10000 * 64 for i in instances)
    assert nat.vpp.cli("hashmvt show memory").count("reserved, node") == nat.instances


# ---- policies by prefix ----


def test_policy_of_a_prefix(nat: Nat) -> None:
    """A policy is set for a prefix or for everybody else, and goes with its prefix."""
    policy = {
        "timeouts": [60, 600, 240, 6, 30],
        "filtering": bytes([2, 2, 2]),
        "mappings_per_host": [0, 0, 0],
        "mappings_per_host_all": 1,
    }

    def add(**fields: Any) -> Any:
        return nat.api.hashmvt_policy_add_del(**{"policy": policy, **fields})

    assert add(is_add=True, prefix=f"{HOSTS[0]}/32").retval == 0
    assert len(nat.outward(udp(HOSTS[0], 1), udp(HOSTS[0], 2))) == 1
    assert len(nat.outward(udp(HOSTS[1], 1), udp(HOSTS[1], 2), expect=2)) == 2
    assert add(is_add=True, is_default=True).retval == 0
    assert nat.outward(udp(HOSTS[1], 3)) == []
    assert add(is_add=False, prefix=f"{HOSTS[0]}/32").retval == 0
    assert add(is_add=False, prefix=f"{HOSTS[0]}/32").retval == -6
    assert add(is_add=False, is_default=True).retval == INVALID_VALUE
    assert (
        add(is_add=True, is_default=True, policy={**policy, "filtering": bytes([3, 0, 0])}).retval
        == INVALID_VALUE
    )


def test_policy_before_its_pool(nat: Nat) -> None:
    """A policy that has the default's pool gets what is added to that later, too."""
    nat.vpp.do(
        f"hashmvt pool del {POOL[0]}-{POOL[-1]} force",
        f"hashmvt policy add {HOSTS[0]}/32 mappings-per-host 9",
    )
    assert nat.outward(udp(HOSTS[0])) == []
    nat.vpp.do(f"hashmvt pool add {POOL[1]}")
    assert [p.src for p in nat.outward(udp(HOSTS[0]), expect=1)] == [POOL[1]]


# ---- receive queues ----


def test_rss_queues(disabled: Nat) -> None:
    """They can be asked for with the NAT disabled; what cannot be set says why."""
    api, sw = disabled.api, disabled.sw[INSIDE]
    assert api.hashmvt_rss_queues_get(sw_if_index=sw).retval == 0
    assert api.hashmvt_rss_queues_get(sw_if_index=sw).queues == 0
    assert api.hashmvt_rss_queues_get(sw_if_index=99).retval == INVALID_SW_IF_INDEX
    assert api.hashmvt_rss_queues_set(sw_if_index=99).retval == INVALID_SW_IF_INDEX
    assert api.hashmvt_rss_queues_set(sw_if_index=sw, queues=1).retval == UNSUPPORTED


# ---- enable ----


def test_frame_queue(disabled: Nat) -> None:
    """VPP ends itself over a size that is no power of two: it is refused before."""
    for size in (100, 8, 0x80000001):
        said = disabled.vpp.cli(f"hashmvt enable frame-queue-nelts {size}")
        assert "must be a power of two and at least" in said
        assert disabled.api.hashmvt_enable(frame_queue_nelts=size).retval == INVALID_VALUE
    disabled.vpp.do("hashmvt enable max-mappings 1000", "hashmvt disable")
    assert "until VPP is started again" in disabled.vpp.cli("hashmvt enable frame-queue-nelts 256")
    assert disabled.api.hashmvt_enable(frame_queue_nelts=256).retval == RSRC_IN_USE
    assert not disabled.api.hashmvt_get().enabled


def test_instances_that_begin_spare(disabled: Nat) -> None:
    """With fewer instances than workers the others own nothing, and work once they are active."""
    nat = disabled
    if nat.instances < 2:
        pytest.skip("one instance is never spare")
    nat.vpp.do(
        "hashmvt enable instances 1 max-mappings 10000",
        f"hashmvt interface add {INSIDE} in",
        f"hashmvt interface add {OUTSIDE} out",
        "hashmvt policy add 10.0.0.0/8",
        f"hashmvt pool add {POOL[0]}",
    )
    _, instances = nat.api.hashmvt_instance_get()
    assert [i.state for i in instances] == [1] + [0] * (nat.instances - 1)
    # packets that reach a spare instance's worker are the active one's
    for worker in range(nat.instances):
        assert len(nat.outward(udp(HOSTS[worker]), worker=worker, expect=1)) == 1
    assert {m.instance for m in nat.mappings()} == {0}
    nat.vpp.do("hashmvt instance activate 1")
    assert "blocks moved" in nat.vpp.cli("hashmvt shard 0 1 percent 50")
    assert len(nat.outward(udp(HOSTS[9]), expect=1)) == 1
    said = nat.vpp.cli("hashmvt enable")
    assert "already" in said
    nat.vpp.do("hashmvt disable")
    assert "initial must be 1 to max" in nat.vpp.cli(
        f"hashmvt enable instances {nat.instances + 1}"
    )


# ---- packets between threads ----


def test_handed_over_fragments_keep_both_ports(nat: Nat) -> None:
    """A filter by address and port holds for every fragment, wherever it arrives."""
    nat.vpp.do("hashmvt policy add default filtering address-and-port-dependent")
    [seen] = nat.outward(udp(HOSTS[0]), expect=1)
    answer = IP(src=SERVER, dst=seen.src, id=7) / UDP(sport=53, dport=seen.sport) / bytes(2000)
    stranger = IP(src=SERVER, dst=seen.src, id=8) / UDP(sport=54, dport=seen.sport) / bytes(2000)
    for worker in range(nat.instances):
        answer.id += 16
        stranger.id += 16
        pieces = fragment(answer, 800)
        assert len(nat.inward(*pieces, worker=worker, expect=len(pieces))) == len(pieces)
        assert nat.inward(*fragment(stranger, 800), worker=worker) == []


def test_handed_off_by_pair(nat: Nat) -> None:
    """The statistics tell from which thread to which instance packets were meant to go."""
    stats = VPPStats(str(nat.vpp.directory / "stats.sock"))
    stats.connect()
    first = nat.api.hashmvt_get().first_thread
    pairs = [(a, b) for a in range(nat.instances) for b in range(nat.instances) if a != b]

    def counted() -> list[int]:
        matrix = stats["/hashmvt/handed_off"]
        return [matrix[first + a][b] for a, b in pairs]

    try:
        for worker in range(nat.instances):
            nat.outward(*map(udp, HOSTS), worker=worker, expect=len(HOSTS))
        wait_until("every pair", lambda: all(counted()))
        assert sum(counted()) == len(HOSTS) * (nat.instances - 1)
    finally:
        stats.disconnect()


def test_trace_names_the_entry(nat: Nat) -> None:
    """Both directions of a mapping are translated by the same entry."""
    nat.vpp.do("clear trace", "trace add pg-input 10")
    [seen] = nat.outward(udp(HOSTS[0]), expect=1)
    nat.inward(IP(src=SERVER, dst=seen.src) / UDP(sport=53, dport=seen.sport), expect=1)
    said = nat.vpp.cli("show trace")
    entries = [w[1] for w in (line.split("entry ") for line in said.splitlines()) if len(w) > 1]
    assert len(entries) == 2
    assert len({e.split()[0] for e in entries}) == 1
    assert f"udp {HOSTS[0]}:1000 -> udp {SERVER}:53" in said
    assert f"udp {seen.src}:{seen.sport} -> udp {SERVER}:53" in said

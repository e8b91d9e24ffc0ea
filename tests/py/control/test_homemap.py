# SPDX-License-Identifier: Apache-2.0
"""Edits of home maps, and the dispatcher's rules that are made from them."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashmvt.control import homemap
from hashmvt.control.homemap import Alive, Read
from hashmvt.dispatch import rules_of
from hashmvt.model import (
    ANYWHERE,
    Closing,
    Endpoint,
    EndpointPin,
    HomeMap,
    HomeRange,
    Proto,
)

ONE = HomeMap(1, (HomeRange(ANYWHERE, 0),))
TABLE = tuple(n % 2 for n in range(256))
TWO = HomeMap(1, (HomeRange(ANYWHERE, None, 0),), (TABLE,))
NET = IPv4Network("10.0.0.0/24")
HOST = IPv4Address("10.0.0.9")
NOTHING = Alive(frozenset(), frozenset())


def value(home: HomeMap, addr: IPv4Address) -> homemap.Owner:
    found = max((r for r in home.ranges if addr in r.prefix), key=lambda r: r.prefix.prefixlen)
    return homemap.owner_of(home, found)


def no_bucket(realm: int, addr: IPv4Address) -> int | None:
    return None


def test_a_move_in_three_beats() -> None:
    closed = homemap.close(ONE, [(0, NET)], source=0, target=1)
    assert closed.version == 2
    (moving,) = homemap.moving(closed)
    assert (moving.prefix, moving.instance, moving.closing) == (NET, 0, Closing(0, 1))
    swapped = homemap.swap(closed, Read(hosts=frozenset({(0, HOST, 0)})))
    assert homemap.moving(swapped) == ()
    assert value(swapped, HOST + 1) == homemap.Owner(1)
    (pin,) = homemap.host_pins(swapped)
    assert (pin.prefix.network_address, pin.instance, pin.closing) == (HOST, 0, Closing(0, 1))
    kept = homemap.settle(swapped, Alive(frozenset({(0, HOST, 0)}), frozenset()), no_bucket)
    assert kept is swapped
    assert homemap.host_pins(homemap.settle(swapped, NOTHING, no_bucket)) == ()


def test_a_table_moves_only_its_own_hosts() -> None:
    closed = homemap.close(TWO, [(0, NET)], source=0, target=2)
    swapped = homemap.swap(closed, Read())
    assert value(swapped, HOST).buckets == tuple(2 if b == 0 else b for b in TABLE)
    assert value(swapped, IPv4Address("11.0.0.0")).buckets == TABLE
    pinned = homemap.swap(closed, Read(hosts=frozenset({(0, HOST, 0)})))
    assert homemap.settle(pinned, NOTHING, no_bucket) is pinned  # nobody knows whose it would be
    freed = homemap.settle(pinned, NOTHING, lambda _realm, _addr: 4)
    assert homemap.host_pins(freed) == ()


def test_a_table_of_one_instance_is_that_instance() -> None:
    swapped = homemap.swap(homemap.close(TWO, [(0, NET)], source=0, target=1), Read())
    assert value(swapped, HOST) == homemap.Owner(1)


def test_nothing_to_move_is_the_same_map() -> None:
    assert homemap.close(ONE, [(0, NET)], source=3, target=1) is ONE
    assert homemap.close(ONE, [(0, IPv4Network("10.0.0.1/32"))], source=0, target=1) is ONE
    assert homemap.swap(ONE, Read()) is ONE


def test_an_opened_host() -> None:
    external = IPv4Address("198.51.100.1")
    endpoint = Endpoint(HOST, 7, Proto.TCP)
    swapped = homemap.swap(
        homemap.close(ONE, [(0, NET)], source=0, target=1),
        Read(hosts=frozenset({(0, HOST, 0)})),
    )
    opening = homemap.open_hosts(swapped, {(0, HOST): external})
    (moving,) = homemap.moving(opening)
    assert moving.closing == Closing(0, 1, by_endpoint=True)
    opened = homemap.swap(opening, Read(endpoints=frozenset({(0, endpoint, 0)})))
    assert opened.pins == (EndpointPin(endpoint, 0),)
    assert value(opened, HOST) == homemap.Owner(1)
    assert homemap.moving(opened) == ()
    ended = homemap.settle(opened, NOTHING, no_bucket)
    for _ in range(3):
        ended = homemap.settle(ended, NOTHING, no_bucket)
    assert ended.pins == ()
    assert len(ended.ranges) == 2


def test_a_dead_instance_leaves_no_trace() -> None:
    swapped = homemap.swap(
        homemap.close(TWO, [(0, NET)], source=0, target=2),
        Read(hosts=frozenset({(0, HOST, 0)})),
    )
    left = homemap.without(swapped, 2, (0, 1))
    assert 2 not in homemap.named(left)
    assert 0 not in homemap.named(homemap.without(swapped, 0, (1, 2)))
    with pytest.raises(ValueError, match="heir"):
        homemap.without(swapped, 2, ())


@given(
    st.dictionaries(st.integers(0, 255), st.integers(1, 50), max_size=40).map(
        lambda found: {IPv4Address("10.0.0.0") + n: float(w) for n, w in found.items()}
    )
)
def test_a_cut_has_two_sides(weights: dict[IPv4Address, float]) -> None:
    prefixes = homemap.cut_in_half(weights)
    if len(weights) < 2:
        assert prefixes == []
        return
    total = sum(weights.values())
    moved = sum(w for addr, w in weights.items() if any(addr in p for p in prefixes))
    assert 0 < moved < total
    heaviest = max(weights.values())
    assert abs(moved - total / 2) <= max(heaviest / 2, 0.1 * total) + 1e-9


@st.composite
def home_maps(draw: st.DrawFn) -> HomeMap:
    nets = st.integers(0, 15).flatmap(
        lambda n: st.sampled_from([8, 26, 28]).map(
            lambda length: IPv4Network((0x0A000000 + n * 16, length), strict=False)
        )
    )
    hosts = st.integers(0, 255).map(lambda n: IPv4Network((0x0A000000 + n, 32)))
    ranges = {ANYWHERE: HomeRange(ANYWHERE, None, 0)}
    for prefix in draw(st.lists(nets | hosts, max_size=20)):
        instance = draw(st.sampled_from([0, 1, 2, None]))
        table = draw(st.sampled_from([0, 1])) if instance is None else None
        ranges[prefix] = HomeRange(prefix, instance, table)
    tables = (TABLE, tuple(2 - b for b in TABLE))
    pins = tuple(EndpointPin(Endpoint(HOST, port, Proto.UDP), 1) for port in range(3))
    return HomeMap(7, tuple(ranges.values()), tables, pins)


@given(home_maps(), st.integers(1, 30))
def test_rules_say_what_the_home_map_says(home: HomeMap, budget: int) -> None:
    exact, lost = rules_of(home, budget=1000, weights={})
    assert lost == 0
    assert exact.pins == home.pins
    assert len(exact.ranges) <= len(home.ranges)
    rules, lost = rules_of(home, budget=budget, weights={HOST: 9.0})
    assert rules.version == home.version
    assert len(rules.ranges) + len(rules.pins) <= max(budget, 1)
    for found in (exact, rules):
        assert ANYWHERE in [entry.prefix for entry in found.ranges]
    for number in range(300):
        addr = IPv4Address("10.0.0.0") + number
        assert value(exact, addr) == value(home, addr)
    if lost == 0:
        assert value(rules, HOST) == value(home, HOST)


def test_rules_keep_other_realms() -> None:
    home = replace(ONE, ranges=(*ONE.ranges, HomeRange(NET, 2, realm=5)))
    rules, _lost = rules_of(home, budget=10, weights={})
    assert HomeRange(NET, 2, realm=5) in rules.ranges

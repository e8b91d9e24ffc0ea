# SPDX-License-Identifier: Apache-2.0
"""The software dispatcher: rules that the dataplane itself looks up for every packet.

It takes bucket tables and endpoints as they are, so only the prefixes are aggregated. Over the
budget, endpoint pins go first (each is one flow), then the prefixes that carry least.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

from hashmvt.dispatch.base import Installed
from hashmvt.model import HomeMap, HomeRange
from hashmvt.rules import Rule, aggregate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hashmvt.dataplane.base import Dataplane

_Target = tuple[int | None, tuple[int, ...]]


class SoftwareDispatcher:
    """Rules in the dataplane. Whoever made it also owns the dataplane."""

    def __init__(self, dataplane: Dataplane, *, rule_budget: int) -> None:
        """Install into a dataplane, at most so many rules."""
        self._plane = dataplane
        most = dataplane.capabilities.rule_budget
        self._budget = rule_budget if most is None else min(rule_budget, most)

    async def install(
        self, home: HomeMap, weights: Mapping[IPv4Address, float] | None = None
    ) -> Installed:
        """See ``Dispatcher``."""
        rules, given_up = await asyncio.to_thread(
            rules_of,
            home,
            budget=self._budget,
            weights=dict(weights or {}),
            endpoint_pins=self._plane.capabilities.endpoint_pins,
        )
        await self._plane.set_rules(rules)
        return Installed(home.version, len(rules.ranges), len(rules.pins), given_up)


def rules_of(
    home: HomeMap,
    *,
    budget: int,
    weights: Mapping[IPv4Address, float],
    endpoint_pins: bool = True,
) -> tuple[HomeMap, float]:
    """Rules of a home map within a budget, and the share of traffic that they send astray.

    Of a closing range, the rules still name the old owner: it is who serves what lives there.
    """
    pins = home.pins if endpoint_pins else ()
    others = tuple(entry for entry in home.ranges if entry.realm)
    room = max(budget - len(others), 1)
    found = aggregate(_prefix_rules(home, weights), budget=room)
    tables: dict[tuple[int, ...], int] = {}
    ranges = [_range(rule, tables) for rule in _with_default(found.rules)]
    for entry in others:
        target = _target(home, entry)
        ranges.append(HomeRange(entry.prefix, target[0], _table(target, tables), realm=entry.realm))
    pins = pins[: max(room - len(found.rules), 0)]
    given_up = found.misdirected / found.total if found.total else 0.0
    return HomeMap(home.version, tuple(ranges), tuple(tables), pins), given_up


def _prefix_rules(home: HomeMap, weights: Mapping[IPv4Address, float]) -> list[Rule[_Target]]:
    """The ranges of realm 0; one of many hosts weighs as much as all pins: pins go first."""
    heavy = sum(weights.values()) + len(home.ranges)
    rules = []
    for entry in home.ranges:
        if entry.realm:
            continue
        address, length = entry.prefix.network_address, entry.prefix.prefixlen
        one = length == entry.prefix.max_prefixlen
        weight = weights.get(address, 1.0) if one else float(heavy)
        rules.append(Rule(int(address), length, _target(home, entry), weight))
    return rules


def _target(home: HomeMap, entry: HomeRange) -> _Target:
    if entry.instance is not None:
        return entry.instance, ()
    return None, home.tables[entry.table or 0]


def _table(target: _Target, tables: dict[tuple[int, ...], int]) -> int | None:
    instance, buckets = target
    return None if instance is not None else tables.setdefault(buckets, len(tables))


def _range(rule: Rule[_Target], tables: dict[tuple[int, ...], int]) -> HomeRange:
    prefix = IPv4Network((rule.address, rule.length))
    return HomeRange(prefix, rule.target[0], _table(rule.target, tables))


def _with_default(rules: Sequence[Rule[_Target]]) -> list[Rule[_Target]]:
    """The same with a default: everything is covered, so the widest rule may as well be it."""
    widest = min(rules, key=lambda rule: (rule.length, rule.address))
    return [replace(r, address=0, length=0) if r is widest else r for r in rules]

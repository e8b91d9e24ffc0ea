# SPDX-License-Identifier: Apache-2.0
"""Bit merging: prefix rules in, rules with arbitrary masks out.

For targets that match under wildcard masks (switches, some NICs). Rules of one prefix length are
disjoint and take precedence over all shorter ones, so two of them with the same target that differ
in one bit may become one rule with that bit wild, at the same place in the order: the union of the
two is exactly the merged rule. Repeated until nothing merges. The minimum over all ternary rule
sets is NP-hard; this one never has more rules than it was given.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, TypeVar

from hashmvt.rules.values import WIDTH, Rule, TernaryRule, mask_of

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

T = TypeVar("T", bound="Hashable")


def merge_bits(rules: Iterable[Rule[T]]) -> tuple[TernaryRule[T], ...]:
    """Merge prefix rules; the result is in match order: the first that matches wins."""
    levels: dict[int, dict[T, set[int]]] = defaultdict(lambda: defaultdict(set))
    for rule in rules:
        levels[rule.length][rule.target].add(rule.address)
    merged: list[TernaryRule[T]] = []
    for length in sorted(levels, reverse=True):
        level = [
            TernaryRule(address, mask, target)
            for target, addresses in levels[length].items()
            for address, mask in _merge_level(addresses, mask_of(length))
        ]
        merged.extend(sorted(level, key=lambda rule: (rule.address, rule.mask)))
    return tuple(merged)


def _merge_level(addresses: set[int], mask: int) -> list[tuple[int, int]]:
    """Disjoint values under one mask -> disjoint (value, mask) pairs with the same union."""
    done: list[tuple[int, int]] = []
    work = {mask: set(addresses)}
    while work:
        # Fullest mask first: whatever can still arrive at a mask has arrived when its turn comes.
        mask = max(work, key=lambda m: (m.bit_count(), m))
        values = work.pop(mask)
        while bit := _best_bit(values, mask):
            pairs = {value for value in values if not value & bit and value | bit in values}
            values = {value for value in values if value & ~bit not in pairs}
            work.setdefault(mask & ~bit, set()).update(pairs)
        done.extend((value, mask) for value in values)
    return done


def _best_bit(values: set[int], mask: int) -> int:
    """The bit of the mask in which most values have a partner, 0 when none has."""
    best, most = 0, 0
    for position in range(WIDTH):
        bit = 1 << position
        if mask & bit:
            count = sum(1 for value in values if not value & bit and value | bit in values)
            if count > most:
                best, most = bit, count
    return best

# SPDX-License-Identifier: Apache-2.0
"""What turns one installed rule set into another, for targets that take rules one by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from hashmvt.rules.values import Rule

T = TypeVar("T", bound="Hashable")


@dataclass(frozen=True, slots=True)
class RuleDiff(Generic[T]):
    """Changes between two rule sets, each by address and length.

    Carried out as *add* (longest first), *change*, *remove* (shortest last), no address is ever
    without a rule that it has in both sets.
    """

    add: tuple[Rule[T], ...]
    """Prefixes that only the new set has."""
    change: tuple[Rule[T], ...]
    """Prefixes of both, with another target: the new rule."""
    remove: tuple[Rule[T], ...]
    """Prefixes that only the old set has."""

    def __bool__(self) -> bool:
        """Is there anything to do?"""
        return bool(self.add or self.change or self.remove)


def diff(old: Iterable[Rule[T]], new: Iterable[Rule[T]]) -> RuleDiff[T]:
    """Compare two rule sets by prefix and target; weights do not matter.

    Raises:
        ValueError: a set holds one prefix twice.
    """
    before, after = _by_prefix(old), _by_prefix(new)
    return RuleDiff(
        add=_longest_first(rule for key, rule in after.items() if key not in before),
        change=_longest_first(
            rule
            for key, rule in after.items()
            if key in before and before[key].target != rule.target
        ),
        remove=_longest_first(rule for key, rule in before.items() if key not in after),
    )


def _by_prefix(rules: Iterable[Rule[T]]) -> dict[tuple[int, int], Rule[T]]:
    found: dict[tuple[int, int], Rule[T]] = {}
    for rule in rules:
        if found.setdefault((rule.address, rule.length), rule) is not rule:
            raise ValueError(f"{rule.address:#010x}/{rule.length} is in the rule set twice")
    return found


def _longest_first(rules: Iterable[Rule[T]]) -> tuple[Rule[T], ...]:
    return tuple(sorted(rules, key=lambda rule: (-rule.length, rule.address)))

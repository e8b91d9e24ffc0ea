# SPDX-License-Identifier: Apache-2.0
"""Rules as values, and as lines of text.

A `Rule` sends a prefix to a target; among rules the longest prefix wins. A `TernaryRule` matches
an address under any mask; among these the order decides, the first that matches wins.

Targets are names (``host/n``), numbers, or anything else that is hashable; the functions of this
package only compare them.
"""

from __future__ import annotations

import ipaddress
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from hashmvt.errors import HashMvtError

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

T = TypeVar("T", bound="Hashable")

WIDTH = 32
FULL = 0xFFFFFFFF


def mask_of(length: int) -> int:
    """The network mask of a prefix length."""
    return (FULL << (WIDTH - length)) & FULL


class RuleSyntaxError(HashMvtError):
    """A line that is no rule. `line` counts from 1."""

    def __init__(self, line: int, reason: str) -> None:
        """Refuse one line."""
        super().__init__(f"line {line}: {reason}")
        self.line = line
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Rule(Generic[T]):
    """`address/length` goes to `target`. Bits of the address below the length must be 0.

    `weight` is the traffic of the addresses for which this rule is the longest match, in any
    unit; it only decides what a rule budget gives up first.
    """

    address: int
    length: int
    target: T
    weight: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what cannot be a rule."""
        if not 0 <= self.length <= WIDTH:
            raise ValueError(f"prefix length {self.length} is not in 0..{WIDTH}")
        if not 0 <= self.address <= FULL or self.address & ~mask_of(self.length):
            raise ValueError(f"{self.address:#x}/{self.length} has bits below its prefix length")
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise ValueError(f"weight {self.weight} is negative or not finite")

    def matches(self, address: int) -> bool:
        """Does the prefix cover this address?"""
        return (address ^ self.address) & mask_of(self.length) == 0


@dataclass(frozen=True, slots=True)
class TernaryRule(Generic[T]):
    """Addresses that equal `address` in the bits of `mask` go to `target`."""

    address: int
    mask: int
    target: T

    def matches(self, address: int) -> bool:
        """Does the rule cover this address?"""
        return (address ^ self.address) & self.mask == 0


def format_rule(rule: Rule[T] | TernaryRule[T]) -> str:
    """One line: ``prefix target``, or ``address/mask target`` for a ternary rule."""
    address = ipaddress.IPv4Address(rule.address)
    if isinstance(rule, TernaryRule):
        return f"{address}/{ipaddress.IPv4Address(rule.mask)} {rule.target}"
    return f"{address}/{rule.length} {rule.target}"


def parse_rules(lines: Iterable[str]) -> list[Rule[str]]:
    """Read lines ``prefix target [weight]``.

    Empty lines and what follows ``#`` are ignored. A prefix without length is a host.

    Raises:
        RuleSyntaxError: a line is none of these, has host bits set, or repeats a prefix with
            another target.
    """
    rules: list[Rule[str]] = []
    seen: dict[tuple[int, int], str] = {}
    for number, text in enumerate(lines, 1):
        words = text.split("#", 1)[0].split()
        if not words:
            continue
        rule = _parse_rule(number, words)
        key = (rule.address, rule.length)
        if seen.setdefault(key, rule.target) != rule.target:
            raise RuleSyntaxError(
                number, f"{words[0]} goes to {rule.target} here and to {seen[key]} above: keep one"
            )
        rules.append(rule)
    return rules


def _parse_rule(number: int, words: list[str]) -> Rule[str]:
    try:
        prefix, target, *rest = words
        (weight_text,) = rest or ["0"]
    except ValueError:
        raise RuleSyntaxError(
            number, "write 'prefix instance' or 'prefix instance weight'"
        ) from None
    try:
        network = ipaddress.IPv4Network(prefix)
    except ValueError as error:
        raise RuleSyntaxError(number, f"{prefix} is no IPv4 prefix: {error}") from None
    try:
        weight = float(weight_text)
    except ValueError:
        weight = -1.0
    if not (math.isfinite(weight) and weight >= 0):
        raise RuleSyntaxError(number, f"weight {weight_text} is no number of 0 or more")
    return Rule(int(network.network_address), network.prefixlen, target, weight)

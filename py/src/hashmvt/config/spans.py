# SPDX-License-Identifier: Apache-2.0
"""Which of many ranges of addresses overlaps another one: sorted once, then a few steps each."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hashmvt.config.values import AddressRange

T = TypeVar("T")


class Spans(Generic[T]):
    """Ranges that may overlap each other, and what each stands for."""

    def __init__(self, items: Iterable[tuple[AddressRange, T]]) -> None:
        """Sort the ranges."""
        ordered = sorted(items, key=lambda item: item[0].first)
        self._firsts = [span.first for span, _ in ordered]
        # of a range and those before it, the one that reaches furthest
        self._reach: list[tuple[AddressRange, T]] = list(accumulate(ordered, _further))

    def overlapping(self, span: AddressRange) -> T | None:
        """Return what one range that overlaps ``span`` stands for; None when none does."""
        at = bisect_right(self._firsts, span.last)
        if not at:
            return None
        furthest, found = self._reach[at - 1]
        return found if furthest.last >= span.first else None


def _further(one: tuple[AddressRange, T], other: tuple[AddressRange, T]) -> tuple[AddressRange, T]:
    return other if other[0].last > one[0].last else one

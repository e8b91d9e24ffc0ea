# SPDX-License-Identifier: Apache-2.0
"""Getters that assert: they read again while the dataplane may still change its mind."""

from typing import TYPE_CHECKING

import pytest

from HashMvt import assertion
from HashMvt.words import Operator

if TYPE_CHECKING:
    from collections.abc import Iterator


class Readings:
    """Gives one value after the other, the last one for ever."""

    def __init__(self, *values: int) -> None:
        self._values: Iterator[int] = iter(values)
        self._last = 0
        self.reads = 0

    async def __call__(self) -> int:
        self.reads += 1
        self._last = next(self._values, self._last)
        return self._last


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assertion, "INTERVAL_S", 0.0)


async def test_without_an_operator_it_only_reads() -> None:
    read = Readings(7)
    assert await assertion.settle(read, None, 8, what="it", patience_s=9.0) == 7
    assert read.reads == 1


async def test_it_reads_until_the_comparison_holds() -> None:
    read = Readings(1, 2, 3, 4)
    found = await assertion.settle(read, Operator.AT_LEAST, 3, what="it", patience_s=9.0)
    assert (found, read.reads) == (3, 3)


async def test_without_patience_it_reads_once() -> None:
    read = Readings(1, 2)
    with pytest.raises(AssertionError, match="it is 1, expected == 2"):
        await assertion.settle(read, Operator.EQUAL, 2, what="it", patience_s=0.0)
    assert read.reads == 1


async def test_the_message_has_the_last_value() -> None:
    with pytest.raises(AssertionError, match="it is 3, expected == 9"):
        await assertion.settle(Readings(1, 2, 3), Operator.EQUAL, 9, what="it", patience_s=0.02)

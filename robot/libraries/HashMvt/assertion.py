# SPDX-License-Identifier: Apache-2.0
"""Getters with an assertion: read, compare, and where the dataplane needs time, read again."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from HashMvt.words import Operator

T = TypeVar("T")

INTERVAL_S = 0.05


async def settle(
    read: Callable[[], Awaitable[T]],
    compare: Operator | None,
    expected: object,
    *,
    what: str,
    patience_s: float,
) -> T:
    """Return what ``read`` returns, once it compares with what is expected.

    Without an operator nothing is compared. With one, ``read`` is called until the comparison
    holds or ``patience_s`` have passed, at least once.

    Raises:
        AssertionError: it did not come to hold; the message has the last value.

    """
    deadline = time.monotonic() + patience_s
    while True:
        value = await read()
        if compare is None or compare.holds(value, expected):
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(f"{what} is {value}, expected {compare.value} {expected}")
        await asyncio.sleep(INTERVAL_S)

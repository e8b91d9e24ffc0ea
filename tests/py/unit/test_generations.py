# SPDX-License-Identifier: Apache-2.0
"""Each call is carried out once."""

from __future__ import annotations

from itertools import count

import pytest

from hashmvt.dataplane.base import REMEMBERED_GENERATIONS
from hashmvt.dataplane.generations import Generations
from hashmvt.errors import Rejected
from hashmvt.names import ErrorCode


def test_a_repeated_call_answers_as_before() -> None:
    generations, calls = Generations(), count(100)
    assert generations.once(5, lambda: next(calls)) == 100
    assert generations.once(6, lambda: next(calls)) == 101
    assert generations.once(5, lambda: next(calls)) == 100
    assert generations.latest == 6


def test_without_a_number_it_is_the_next() -> None:
    generations = Generations()
    generations.once(41, lambda: 0)
    generations.once(None, lambda: 0)
    assert generations.latest == 42


def test_an_old_call_is_stale() -> None:
    generations = Generations()
    generations.once(5, lambda: 0)
    with pytest.raises(Rejected, match="generation 4 is older than 5") as caught:
        generations.once(4, lambda: 0)
    assert caught.value.code is ErrorCode.STALE


def test_a_call_that_failed_was_not_carried_out() -> None:
    generations = Generations()

    def fail() -> int:
        raise Rejected(ErrorCode.INVALID, "no")

    with pytest.raises(Rejected, match="no"):
        generations.once(5, fail)
    assert generations.latest == 0
    assert generations.once(5, lambda: 7) == 7


def test_memory_is_bounded() -> None:
    generations = Generations()
    for number in range(1, REMEMBERED_GENERATIONS + 2):
        generations.once(number, lambda: 0)
    with pytest.raises(Rejected):
        generations.once(1, lambda: 0)
    assert generations.once(2, lambda: 99) == 0

# SPDX-License-Identifier: Apache-2.0
"""Idempotence: which control calls were carried out, and what they answered."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from hashmvt.dataplane.base import REMEMBERED_GENERATIONS
from hashmvt.errors import Rejected
from hashmvt.names import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable


class Generations:
    """The last calls of one dataplane and their answers. Not thread-safe: one caller at a time."""

    def __init__(self) -> None:
        """Start with nothing carried out."""
        self.latest = 0
        self._answers: OrderedDict[int, int] = OrderedDict()

    def once(self, generation: int | None, call: Callable[[], int]) -> int:
        """Carry out ``call`` unless its generation was carried out already; return its answer.

        A call that raises counts as not carried out.

        Raises:
            Rejected: STALE, the generation is older than the latest and not remembered.

        """
        if generation is None:
            generation = self.latest + 1
        elif generation in self._answers:
            return self._answers[generation]
        elif generation <= self.latest:
            raise Rejected(
                ErrorCode.STALE,
                f"generation {generation} is older than {self.latest}; "
                f"take a snapshot and go on from there",
            )
        answer = call()
        self.latest = generation
        self._answers[generation] = answer
        if len(self._answers) > REMEMBERED_GENERATIONS:
            self._answers.popitem(last=False)
        return answer

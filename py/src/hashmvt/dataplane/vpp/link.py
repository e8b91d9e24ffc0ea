# SPDX-License-Identifier: Apache-2.0
"""``Link``: one connection to one VPP, as the NAT side needs it. ``papi`` makes real ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hashmvt.dataplane.vpp.settings import VppSettings


class Link(Protocol):
    """Messages to VPP and what it counts. Of no use any more after it raised ``Unavailable``.

    One thread calls. Whoever opened it calls ``close``.
    """

    @property
    def alive(self) -> bool:
        """False once VPP has closed the connection, as far as it is known without a call."""
        ...

    def call(self, message: str, **fields: object) -> Any:
        """Send a message; return its reply, whatever ``retval`` it has.

        Raises:
            Unavailable: the connection broke, or VPP does not answer.
            Rejected: INVALID, a field cannot hold its value.

        """
        ...

    def page(self, message: str, **fields: object) -> tuple[Any, list[Any]]:
        """Send a message that lists; return its reply and the details. Raises as ``call``."""
        ...

    def on_event(self, message: str, take: Callable[[Any], None]) -> None:
        """Have ``take`` called with each event message of that name, on another thread."""
        ...

    def counters(self, names: Sequence[str]) -> list[list[int]]:
        """Return counter vectors of the stats segment: for each name a value for each thread.

        Raises:
            Unavailable: they cannot be read.

        """
        ...

    def close(self) -> None:
        """Close the connection; again is a no-op."""
        ...


Opener = Callable[["VppSettings"], Link]
"""Connects to VPP. Raises ``Unavailable`` when it cannot be done, and says what to do."""

# SPDX-License-Identifier: Apache-2.0
"""``DataplaneDriver``: all that the suites need of a dataplane, so that they run on any.

A driver starts a dataplane with a configuration, sends packets in on one of its two interfaces and
gives back what came out of either, and moves its clock. Everything else goes through the
``Dataplane`` that it holds: instances, mappings, counters, home maps. It tells no verdict of a
packet, because a router tells none: what left is seen on the wire, why something did not is
counted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from hashmvt.config import Config
from hashmvt.dataplane.base import Dataplane
from HashMvt.words import Side


@dataclass(frozen=True, slots=True)
class Leaving:
    """An IPv4 packet that came out of an interface."""

    side: Side
    data: bytes


class DataplaneDriver(Protocol):
    """Runs one dataplane after the other. Whoever made it calls ``stop``."""

    @property
    def kind(self) -> str:
        """The word of ``DATAPLANE`` and of ``dataplane.kind``."""
        ...

    @property
    def settings(self) -> Mapping[str, object]:
        """What a configuration says so that it means this dataplane: values by their paths."""
        ...

    @property
    def hops(self) -> int:
        """What a packet's TTL loses on its way through: 1 where the dataplane is a router."""
        ...

    @property
    def patience_s(self) -> float:
        """How long a getter waits for what it expects; 0 where calls return when all is done."""
        ...

    @property
    def dataplane(self) -> Dataplane:
        """The running dataplane.

        Raises:
            RuntimeError: none is running.

        """
        ...

    async def start(self, config: Config) -> None:
        """Start a dataplane; one that runs is stopped first.

        Raises:
            HashMvtError: it could not be started.

        """
        ...

    async def stop(self) -> None:
        """Stop the dataplane; nothing when none is running."""
        ...

    async def send(self, side: Side, packets: Sequence[bytes]) -> list[Leaving]:
        """Send packets in on an interface; return all that came out, in its order."""
        ...

    async def advance(self, seconds: int) -> None:
        """Move the clock; returns when every instance has seen it."""
        ...


def make_driver(kind: str) -> DataplaneDriver:
    """Return the driver of a dataplane.

    Raises:
        ValueError: this build has none for it.

    """
    # imported when asked for, so that a machine needs only what its dataplane needs
    if kind == "embedded":
        from HashMvt.embedded import EmbeddedDriver  # noqa: PLC0415

        return EmbeddedDriver()
    if kind == "vpp":
        try:
            from HashMvt.vpp import VppDriver  # noqa: PLC0415
        except ModuleNotFoundError as error:
            raise ValueError(
                f"{error.name} is missing: install the Python package with its extra vpp"
            ) from error
        return VppDriver()
    raise ValueError(f"there is no dataplane {kind!r}: write embedded or vpp")

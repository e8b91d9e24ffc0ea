# SPDX-License-Identifier: Apache-2.0
"""The driver of the embedded engine, in this process and in steps.

Stepped, because then nothing is left to chance or to the machine's speed: a call returns when every
packet has found its end, and the same suite gives the same packets.
"""

from collections.abc import Mapping, Sequence

from hashmvt.config import Config
from hashmvt.dataplane.base import Dataplane
from hashmvt.dataplane.embedded import EmbeddedDataplane, engine_settings, stepped
from HashMvt.driver import Leaving
from hashmvt.model import Direction, Packet, Verdict
from HashMvt.words import Side

_DIRECTION = {Side.INSIDE: Direction.IN2OUT, Side.OUTSIDE: Direction.OUT2IN}
_SIDE = {Direction.IN2OUT: Side.OUTSIDE, Direction.OUT2IN: Side.INSIDE}
_SEED = 20


class EmbeddedDriver:
    """An embedded engine without threads and devices."""

    kind = "embedded"
    settings: Mapping[str, object] = {"dataplane.kind": kind}
    hops: int = 0
    patience_s = 0.0

    def __init__(self) -> None:
        """Start nothing yet."""
        self._dataplane: EmbeddedDataplane | None = None

    @property
    def dataplane(self) -> Dataplane:
        """The running dataplane."""
        if self._dataplane is None:
            raise RuntimeError("no dataplane is running: begin the test with Start Dataplane")
        return self._dataplane

    async def start(self, config: Config) -> None:
        """Make an engine."""
        await self.stop()
        settings = stepped(engine_settings(config), seed=_SEED)
        self._dataplane = await EmbeddedDataplane.open(settings)

    async def stop(self) -> None:
        """Close the engine."""
        dataplane, self._dataplane = self._dataplane, None
        if dataplane is not None:
            await dataplane.aclose()

    async def send(self, side: Side, packets: Sequence[bytes]) -> list[Leaving]:
        """Inject; what waited from earlier calls comes with what leaves now."""
        direction = _DIRECTION[side]
        outcomes = await self.dataplane.inject([Packet(data, direction) for data in packets])
        return [
            Leaving(_SIDE[outcome.direction], outcome.data)
            for outcome in outcomes
            if outcome.verdict in (Verdict.TRANSLATED, Verdict.PASSED)
        ]

    async def advance(self, seconds: int) -> None:
        """Move the engine's clock."""
        await self.dataplane.advance(seconds)

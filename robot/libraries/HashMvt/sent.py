# SPDX-License-Identifier: Apache-2.0
"""What became of packets that were sent: what left, and what was counted for what did not."""

from collections import Counter
from dataclasses import dataclass, field

from HashMvt import wire
from HashMvt.driver import Leaving
from hashmvt.names import DropReason
from HashMvt.testbed import Reasons
from HashMvt.words import HostPort, Side


@dataclass(frozen=True, slots=True)
class Sent:
    """Packets sent in on one interface, and all that came out until the dataplane was done."""

    side: Side
    packets: tuple[bytes, ...]
    left: tuple[Leaving, ...] = ()
    reasons: Reasons = field(default_factory=Reasons)

    @property
    def one(self) -> Leaving:
        """The one packet that left.

        Raises:
            AssertionError: none did, or more than one.

        """
        if len(self.left) != 1:
            raise AssertionError(f"{self}; expected one to leave")
        return self.left[0]

    @property
    def translations(self) -> list[tuple[bytes, Leaving]]:
        """What was sent beside what left, when as many left as were sent.

        Raises:
            AssertionError: more or fewer left.

        """
        if len(self.left) != len(self.packets):
            raise AssertionError(f"{self}; expected all to leave")
        return list(zip(self.packets, self.left, strict=True))

    @property
    def drops(self) -> Counter[DropReason]:
        """Packets dropped, by reason."""
        return Counter({reason: n for reason, n in self.reasons.dropped.items() if n})

    def __str__(self) -> str:
        """Say it in one line."""
        sent = ", ".join(wire.describe(data) for data in self.packets[:3])
        sent += f" and {len(self.packets) - 3} more" if len(self.packets) > 3 else ""  # noqa: PLR2004
        why = [f"{n} dropped as {reason.label}" for reason, n in self.drops.items()]
        why += [f"{n} passed as {r.label}" for r, n in self.reasons.passed.items() if n]
        return f"sent {self.side.value}: {sent}; {len(self.left)} left" + "".join(
            f", {item}" for item in why
        )


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow through the NAT, as both of its ends see it."""

    inside: HostPort
    external: HostPort
    remote: HostPort

    def __str__(self) -> str:
        """Say it in one line."""
        return f"{self.inside} as {self.external} to {self.remote}"

# SPDX-License-Identifier: Apache-2.0
"""``Dispatcher``: the interface of what brings packets to instances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from ipaddress import IPv4Address

    from hashmvt.model import HomeMap


@dataclass(frozen=True, slots=True)
class Installed:
    """What became of a home map."""

    version: int
    """Of the home map that the rules were made of."""
    rules: int
    """Prefix rules in force."""
    endpoints: int
    """Endpoint rules in force."""
    given_up: float
    """Share of the known traffic that the rules send astray, because of the budget; it is handed
    over."""


class Dispatcher(Protocol):
    """One host's dispatcher. ``install`` is idempotent: the same version again is a no-op."""

    async def install(
        self, home: HomeMap, weights: Mapping[IPv4Address, float] | None = None
    ) -> Installed:
        """Replace the rules by those of a home map, whole.

        ``weights`` is the traffic of hosts, as far as known, in any unit: over a rule budget, what
        carries least is given up first.

        Raises:
            DataplaneError: they could not be installed; those before are still in force.

        """
        ...

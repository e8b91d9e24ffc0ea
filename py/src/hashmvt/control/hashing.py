# SPDX-License-Identifier: Apache-2.0
"""``Hashing``: what a dataplane can say about its bucket tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv4Address


@runtime_checkable
class Hashing(Protocol):
    """A dataplane that says in which bucket a host is; the answer never changes while it lives.

    Without it, a pin inside a range of several instances cannot be taken back, because nobody
    above the dataplane knows whose the host would then be.
    """

    async def buckets(self, hosts: Sequence[IPv4Address], *, realm: int = 0) -> tuple[int, ...]:
        """Return the bucket of each host.

        Raises:
            Unsupported: the far end cannot say.

        """
        ...

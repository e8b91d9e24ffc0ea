# SPDX-License-Identifier: Apache-2.0
"""``Dataplane``: the one interface between control and what moves packets.

Small verbs over frozen values. Nothing above asks which kind it has: what a kind cannot do is data
in its ``Capabilities``, and calling it raises ``Unsupported``. Retrying, diffing and deciding sit
above this interface, once.

**Idempotence.** Every call that changes something takes a ``generation``, a number that the caller
raises with each new intent. A call whose generation was carried out already returns what it
returned then and changes nothing; an older one that is not remembered (the last
``REMEMBERED_GENERATIONS`` are) is refused as STALE. So a caller that lost an answer repeats the
call with the same number. A new caller goes on from ``Snapshot.generation``. ``None`` (people,
tests) means: the next number.

**Errors.** All methods may raise ``Unavailable`` (cannot be reached, or closed), ``ProtocolError``
(a remote side answered nonsense), ``Rejected`` (with the core's code; nothing was changed) and
``Unsupported``. Only what is particular is repeated below.

**Listings** are pages: pass the cursor of the page before, ``""`` to start.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from ipaddress import IPv4Address, IPv4Network

    from hashmvt.model import (
        Block,
        Endpoint,
        Event,
        HomeMap,
        Host,
        Mapping,
        MappingFilter,
        Outcome,
        Packet,
        Page,
        Snapshot,
        StaticMapping,
    )
    from hashmvt.policy import PolicySet

REMEMBERED_GENERATIONS = 256
"""Answers of so many generations are kept for callers that repeat a call."""
PAGE = 1024
"""Items of a page where the caller names no limit."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a dataplane can do; constant while it lives."""

    kind: str
    """``embedded``, ``vpp``, ``memory``; a remote one says what is at the far end."""
    host: str
    """Name of the host it runs on; instances are ``host/n``."""
    max_instances: int
    block_size: int
    clock: bool = False
    """``advance`` moves its clock (tests)."""
    inject: bool = False
    """``inject`` brings packets through (tests and tools)."""
    endpoint_pins: bool = True
    """Rules may hold endpoints, not only prefixes."""
    rule_budget: int | None = None
    """Most rules its dispatcher takes; None: no bound."""


@runtime_checkable
class Dataplane(Protocol):
    """A host's NAT instances. Whoever opened it calls ``aclose``."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do; never raises."""
        ...

    # ---- read ----

    async def snapshot(self, cursor: str = "") -> Snapshot:
        """State, counters and load of the instances, spare ones included."""
        ...

    async def home(self) -> HomeMap:
        """Return the home map in force."""
        ...

    async def rules(self) -> HomeMap:
        """Return the dispatcher's rules in force."""
        ...

    async def policy(self) -> PolicySet:
        """Return the policies in force."""
        ...

    async def live(
        self,
        inside: IPv4Network,
        cursor: str = "",
        *,
        instance: int | None = None,
        realm: int = 0,
        limit: int = PAGE,
    ) -> Page[Host]:
        """List hosts of ``inside`` with mappings, at one instance or at all."""
        ...

    async def mappings(
        self, where: MappingFilter, cursor: str = "", *, limit: int = PAGE
    ) -> Page[Mapping]:
        """List mappings; an unknown instance in the filter has none."""
        ...

    async def blocks(
        self, cursor: str = "", *, instance: int | None = None, limit: int = PAGE
    ) -> Page[Block]:
        """List blocks of the pool that are in use."""
        ...

    def events(self) -> AsyncIterator[Event]:
        """Iterate over what instances report from now on, forever.

        Each subscriber gets every event; one that is too slow loses the oldest, counted in
        ``events_lost`` of the instance or logged by the dataplane. Iteration ends when the
        dataplane is closed.
        """
        ...

    # ---- instances and blocks ----

    async def activate(self, instance: int, *, generation: int | None = None) -> None:
        """Make a spare or draining instance active; nothing when it is.

        Raises:
            Rejected: INVALID, no such instance.

        """
        ...

    async def drain(self, instance: int, *, generation: int | None = None) -> None:
        """Mark an instance draining: its blocks leave as they become free.

        It turns SPARE once it has no mapping, no block and no range of the home map; that is
        seen in ``snapshot``. A spare instance stays so.

        Raises:
            Rejected: INVALID, no such instance; IN_USE, it is the last active one.

        """
        ...

    async def transfer(
        self,
        blocks: int,
        *,
        from_instance: int,
        to_instance: int,
        external: IPv4Address | None = None,
        generation: int | None = None,
    ) -> int:
        """Move up to ``blocks`` free blocks, of one external address or of any.

        Returns how many were moved. Mappings stay where they are.

        Raises:
            Rejected: INVALID, no such instance, or both the same; NOT_FOUND, no such address.

        """
        ...

    async def shard(
        self,
        percent: int,
        *,
        from_instance: int,
        to_instance: int,
        generation: int | None = None,
    ) -> int:
        """Move ``percent`` of the free blocks, evenly over all addresses; return how many.

        Raises:
            Rejected: INVALID, no such instance, both the same, or percent not in 0..100.

        """
        ...

    async def reset(self, instance: int, *, generation: int | None = None) -> None:
        """Raise the ownership epoch: it drops its mappings before its next packet (takeover)."""
        ...

    # ---- who serves whom ----

    async def set_home(self, home: HomeMap) -> None:
        """Publish a home map; returns when every instance has acknowledged it.

        ``home.version`` is the generation: the version in force again is a no-op.

        Raises:
            Rejected: STALE, older than the one in force; INVALID, see ``HomeMap``.

        """
        ...

    async def set_rules(self, rules: HomeMap) -> None:
        """Replace the dispatcher's rules whole; as ``set_home``."""
        ...

    async def buckets(self, hosts: Sequence[IPv4Address], *, realm: int = 0) -> tuple[int, ...]:
        """Return the bucket of each host; the answer never changes while the dataplane lives.

        Where a range has a bucket table, only this says to whom a host belongs.
        """
        ...

    # ---- policies and static mappings ----

    async def set_policy(self, policy: PolicySet, *, force: bool = False) -> None:
        """Replace the policies; ``policy.generation`` is the generation.

        Addresses that vanished from the pool, or are listed as draining, take nothing new and
        are gone when empty; with ``force`` their mappings end. Static mappings with a port
        (``policy.endpoints``) are then added and removed to match.

        Raises:
            Rejected: STALE; INVALID, EXISTS, IN_USE as the core says; nothing was changed. Also
                when a static mapping was refused: then everything else is in force.

        """
        ...

    async def static_add(self, mapping: StaticMapping, *, generation: int | None = None) -> None:
        """Add a static mapping; a dynamic mapping of that inside endpoint ends.

        Raises:
            Rejected: IN_USE, somebody else has the external endpoint; EXISTS, the inside endpoint
                has another static mapping; NOT_FOUND, the external address is not in the pool;
                INVALID, protocols differ. The same mapping again is a no-op.

        """
        ...

    async def static_del(self, outside: Endpoint, *, generation: int | None = None) -> None:
        """Remove the static mapping of an external endpoint.

        Raises:
            Rejected: NOT_FOUND, there is none.

        """
        ...

    async def mapping_delete(self, where: MappingFilter, *, generation: int | None = None) -> int:
        """End the dynamic mappings that the filter means (static ones with ``statics=True``).

        Returns how many ended.
        """
        ...

    # ---- tests and tools ----

    async def advance(self, seconds: int) -> None:
        """Move the clock forward; returns when every instance has seen it.

        Raises:
            Unsupported: ``capabilities.clock`` is false.

        """
        ...

    async def inject(self, packets: Sequence[Packet]) -> tuple[Outcome, ...]:
        """Bring packets through and return what became of each, in order.

        A fragment that waits for its first one is HELD; its final outcome is returned, after
        those of the packets, by the call in which it is decided.

        Raises:
            Unsupported: ``capabilities.inject`` is false.

        """
        ...

    async def aclose(self) -> None:
        """Stop and free everything; again is a no-op. Later calls raise ``Unavailable``."""
        ...

# SPDX-License-Identifier: Apache-2.0
"""``EmbeddedDataplane``: an engine as ``Dataplane``.

Every call runs on the engine's one worker thread, so calls are carried out one after the other in
the order in which they were made, and the event loop never waits for an instance.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from hashmvt.dataplane.base import PAGE
from hashmvt.dataplane.embedded.engine import Engine
from hashmvt.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from ipaddress import IPv4Address, IPv4Network
    from typing import TypeVar

    from hashmvt.dataplane.base import Capabilities
    from hashmvt.dataplane.embedded.settings import EngineSettings
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

    T = TypeVar("T")

_POLL_S = 0.05
_BACKLOG = 65536
"""Events that a slow subscriber may be behind; older ones are lost to it."""


class _Subscriber:
    """One iterator over events."""

    def __init__(self) -> None:
        self.queue: deque[Event] = deque(maxlen=_BACKLOG)
        self.wake = asyncio.Event()


class EmbeddedDataplane:
    """The dataplane of machines without VPP. Made by ``open``, ended by ``aclose``."""

    def __init__(self, engine: Engine, worker: ThreadPoolExecutor) -> None:
        """Take over an engine and its worker; use ``open``."""
        self._engine = engine
        self._worker = worker
        self._closed = False
        self._subscribers: set[_Subscriber] = set()
        self._pump: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, settings: EngineSettings) -> EmbeddedDataplane:
        """Create an engine and start it.

        Raises:
            Rejected: the core refused, with its sentence.

        """
        worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="hashmvt-engine")
        try:
            loop = asyncio.get_running_loop()
            engine = await loop.run_in_executor(worker, partial(Engine, settings))
        except BaseException:
            worker.shutdown(wait=False)
            raise
        return cls(engine, worker)

    async def _run(self, call: Callable[[], T]) -> T:
        if self._closed:
            raise Unavailable("the dataplane is closed")
        return await asyncio.get_running_loop().run_in_executor(self._worker, call)

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        return self._engine.capabilities

    # ---- read ----

    async def snapshot(self, cursor: str = "") -> Snapshot:
        """Return all instances in one page."""
        del cursor
        return await self._run(self._engine.snapshot)

    async def home(self) -> HomeMap:
        """Return the home map in force."""
        return await self._run(self._engine.home)

    async def rules(self) -> HomeMap:
        """Return the dispatcher's rules in force."""
        return await self._run(self._engine.rules)

    async def policy(self) -> PolicySet:
        """Return the policies in force."""
        return await self._run(self._engine.policy)

    async def live(
        self,
        inside: IPv4Network,
        cursor: str = "",
        *,
        instance: int | None = None,
        realm: int = 0,
        limit: int = PAGE,
    ) -> Page[Host]:
        """List hosts with mappings."""
        return await self._run(partial(self._engine.hosts, inside, cursor, limit, instance, realm))

    async def mappings(
        self, where: MappingFilter, cursor: str = "", *, limit: int = PAGE
    ) -> Page[Mapping]:
        """List mappings."""
        return await self._run(partial(self._engine.mappings, where, cursor, limit))

    async def blocks(
        self, cursor: str = "", *, instance: int | None = None, limit: int = PAGE
    ) -> Page[Block]:
        """List blocks in use."""
        return await self._run(partial(self._engine.blocks, cursor, limit, instance))

    async def events(self) -> AsyncIterator[Event]:
        """Iterate over events; what the instances' rings still hold comes first."""
        subscriber = _Subscriber()
        self._subscribers.add(subscriber)
        if self._pump is None and not self._closed:
            self._pump = asyncio.create_task(self._pump_events(), name="hashmvt-events")
        try:
            while not self._closed or subscriber.queue:
                while subscriber.queue:
                    yield subscriber.queue.popleft()
                if self._closed:
                    return
                subscriber.wake.clear()
                await subscriber.wake.wait()
        finally:
            self._subscribers.discard(subscriber)

    async def _pump_events(self) -> None:
        """Carry events from the engine to the subscribers, while there are any."""
        try:
            while self._subscribers and not self._closed:
                events = await self._run(self._engine.events)
                for subscriber in self._subscribers:
                    subscriber.queue.extend(events)
                    if events:
                        subscriber.wake.set()
                if not events:
                    await asyncio.sleep(_POLL_S)
        finally:
            self._pump = None
            for subscriber in self._subscribers:
                subscriber.wake.set()

    # ---- instances and blocks ----

    async def activate(self, instance: int, *, generation: int | None = None) -> None:
        """Make an instance active."""
        await self._run(partial(self._engine.activate, instance, generation))

    async def drain(self, instance: int, *, generation: int | None = None) -> None:
        """Mark an instance draining."""
        await self._run(partial(self._engine.drain, instance, generation))

    async def transfer(
        self,
        blocks: int,
        *,
        from_instance: int,
        to_instance: int,
        external: IPv4Address | None = None,
        generation: int | None = None,
    ) -> int:
        """Move free blocks."""
        return await self._run(
            partial(self._engine.transfer, blocks, from_instance, to_instance, external, generation)
        )

    async def shard(
        self,
        percent: int,
        *,
        from_instance: int,
        to_instance: int,
        generation: int | None = None,
    ) -> int:
        """Move a share of the free blocks."""
        return await self._run(
            partial(self._engine.shard, percent, from_instance, to_instance, generation)
        )

    async def reset(self, instance: int, *, generation: int | None = None) -> None:
        """Raise an instance's ownership epoch."""
        await self._run(partial(self._engine.reset, instance, generation))

    # ---- who serves whom ----

    async def set_home(self, home: HomeMap) -> None:
        """Publish a home map."""
        await self._run(partial(self._engine.set_home, home))

    async def set_rules(self, rules: HomeMap) -> None:
        """Replace the dispatcher's rules."""
        await self._run(partial(self._engine.set_rules, rules))

    async def buckets(self, hosts: Sequence[IPv4Address], *, realm: int = 0) -> tuple[int, ...]:
        """Return the bucket of each host."""
        return await self._run(partial(self._engine.buckets, tuple(hosts), realm))

    # ---- policies and static mappings ----

    async def set_policy(self, policy: PolicySet, *, force: bool = False) -> None:
        """Replace the policies."""
        await self._run(partial(self._engine.set_policy, policy, force=force))

    async def static_add(self, mapping: StaticMapping, *, generation: int | None = None) -> None:
        """Add a static mapping."""
        await self._run(partial(self._engine.static_add, mapping, generation))

    async def static_del(self, outside: Endpoint, *, generation: int | None = None) -> None:
        """Remove a static mapping."""
        await self._run(partial(self._engine.static_del, outside, generation))

    async def mapping_delete(self, where: MappingFilter, *, generation: int | None = None) -> int:
        """End mappings."""
        return await self._run(partial(self._engine.mapping_delete, where, generation))

    # ---- tests and tools ----

    async def advance(self, seconds: int) -> None:
        """Move the clock forward."""
        await self._run(partial(self._engine.advance, seconds))

    async def inject(self, packets: Sequence[Packet]) -> tuple[Outcome, ...]:
        """Bring packets through."""
        return await self._run(partial(self._engine.inject, packets))

    async def aclose(self) -> None:
        """Stop the engine; what travels in its rings is finished first."""
        if self._closed:
            return
        closing = asyncio.get_running_loop().run_in_executor(self._worker, self._engine.close)
        self._closed = True
        if self._pump is not None:
            with contextlib.suppress(Unavailable):
                await self._pump
        for subscriber in self._subscribers:
            subscriber.wake.set()
        await closing
        self._worker.shutdown(wait=False)

# SPDX-License-Identifier: Apache-2.0
"""``ThreadedDataplane``: something synchronous as ``Dataplane``.

Every call runs on one worker thread, so calls are carried out one after the other in the order in
which they were made, and the event loop never waits for an instance.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Protocol

from hashmvt.dataplane.base import PAGE
from hashmvt.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from ipaddress import IPv4Address, IPv4Network
    from typing import TypeVar

    from hashmvt.dataplane.base import Capabilities
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


class _Blocking(Protocol):
    """What is behind the worker thread: the calls of ``Dataplane``, which see for what they do."""

    @property
    def capabilities(self) -> Capabilities: ...
    def snapshot(self) -> Snapshot: ...
    def home(self) -> HomeMap: ...
    def rules(self) -> HomeMap: ...
    def policy(self) -> PolicySet: ...
    def hosts(
        self, inside: IPv4Network, cursor: str, limit: int, instance: int | None, realm: int
    ) -> Page[Host]: ...
    def mappings(self, where: MappingFilter, cursor: str, limit: int) -> Page[Mapping]: ...
    def blocks(self, cursor: str, limit: int, instance: int | None) -> Page[Block]: ...
    def events(self) -> list[Event]:
        """Return what instances reported since the last call, oldest first per instance."""
        ...

    def activate(self, instance: int, generation: int | None) -> None: ...
    def drain(self, instance: int, generation: int | None) -> None: ...
    def reset(self, instance: int, generation: int | None) -> None: ...
    def transfer(
        self,
        blocks: int,
        source: int,
        target: int,
        external: IPv4Address | None,
        generation: int | None,
    ) -> int: ...
    def shard(self, percent: int, source: int, target: int, generation: int | None) -> int: ...
    def set_home(self, home: HomeMap) -> None: ...
    def set_rules(self, rules: HomeMap) -> None: ...
    def buckets(self, hosts: Sequence[IPv4Address], realm: int = 0) -> tuple[int, ...]: ...
    def set_policy(self, policy: PolicySet, *, force: bool) -> None: ...
    def static_add(self, mapping: StaticMapping, generation: int | None) -> None: ...
    def static_del(self, outside: Endpoint, generation: int | None) -> None: ...
    def mapping_delete(self, where: MappingFilter, generation: int | None) -> int: ...
    def advance(self, seconds: int) -> None: ...
    def inject(self, packets: Sequence[Packet]) -> tuple[Outcome, ...]: ...
    def close(self) -> None: ...


class _Subscriber:
    """One iterator over events."""

    def __init__(self) -> None:
        self.queue: deque[Event] = deque(maxlen=_BACKLOG)
        self.wake = asyncio.Event()


class ThreadedDataplane:
    """A dataplane whose calls block. Made by ``open`` of its kinds, ended by ``aclose``."""

    def __init__(self, nat: _Blocking, worker: ThreadPoolExecutor) -> None:
        """Take over what blocks and its worker."""
        self._nat = nat
        self._worker = worker
        self._closed = False
        self._subscribers: set[_Subscriber] = set()
        self._pump: asyncio.Task[None] | None = None

    @staticmethod
    async def started(make: Callable[[], T], name: str) -> tuple[T, ThreadPoolExecutor]:
        """Make something on a worker thread of its own; return both."""
        worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        try:
            return await asyncio.get_running_loop().run_in_executor(worker, make), worker
        except BaseException:
            worker.shutdown(wait=False)
            raise

    async def _run(self, call: Callable[[], T]) -> T:
        if self._closed:
            raise Unavailable("the dataplane is closed")
        return await asyncio.get_running_loop().run_in_executor(self._worker, call)

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        return self._nat.capabilities

    # ---- read ----

    async def snapshot(self, cursor: str = "") -> Snapshot:
        """Return all instances in one page."""
        del cursor
        return await self._run(self._nat.snapshot)

    async def home(self) -> HomeMap:
        """Return the home map in force."""
        return await self._run(self._nat.home)

    async def rules(self) -> HomeMap:
        """Return the dispatcher's rules in force."""
        return await self._run(self._nat.rules)

    async def policy(self) -> PolicySet:
        """Return the policies in force."""
        return await self._run(self._nat.policy)

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
        return await self._run(partial(self._nat.hosts, inside, cursor, limit, instance, realm))

    async def mappings(
        self, where: MappingFilter, cursor: str = "", *, limit: int = PAGE
    ) -> Page[Mapping]:
        """List mappings."""
        return await self._run(partial(self._nat.mappings, where, cursor, limit))

    async def blocks(
        self, cursor: str = "", *, instance: int | None = None, limit: int = PAGE
    ) -> Page[Block]:
        """List blocks in use."""
        return await self._run(partial(self._nat.blocks, cursor, limit, instance))

    async def events(self) -> AsyncIterator[Event]:
        """Iterate over events."""
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
        """Carry events to the subscribers, while there are any."""
        try:
            while self._subscribers and not self._closed:
                events = await self._run(self._nat.events)
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
        await self._run(partial(self._nat.activate, instance, generation))

    async def drain(self, instance: int, *, generation: int | None = None) -> None:
        """Mark an instance draining."""
        await self._run(partial(self._nat.drain, instance, generation))

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
            partial(self._nat.transfer, blocks, from_instance, to_instance, external, generation)
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
            partial(self._nat.shard, percent, from_instance, to_instance, generation)
        )

    async def reset(self, instance: int, *, generation: int | None = None) -> None:
        """Raise an instance's ownership epoch."""
        await self._run(partial(self._nat.reset, instance, generation))

    # ---- who serves whom ----

    async def set_home(self, home: HomeMap) -> None:
        """Publish a home map."""
        await self._run(partial(self._nat.set_home, home))

    async def set_rules(self, rules: HomeMap) -> None:
        """Replace the dispatcher's rules."""
        await self._run(partial(self._nat.set_rules, rules))

    async def buckets(self, hosts: Sequence[IPv4Address], *, realm: int = 0) -> tuple[int, ...]:
        """Return the bucket of each host."""
        return await self._run(partial(self._nat.buckets, tuple(hosts), realm))

    # ---- policies and static mappings ----

    async def set_policy(self, policy: PolicySet, *, force: bool = False) -> None:
        """Replace the policies."""
        await self._run(partial(self._nat.set_policy, policy, force=force))

    async def static_add(self, mapping: StaticMapping, *, generation: int | None = None) -> None:
        """Add a static mapping."""
        await self._run(partial(self._nat.static_add, mapping, generation))

    async def static_del(self, outside: Endpoint, *, generation: int | None = None) -> None:
        """Remove a static mapping."""
        await self._run(partial(self._nat.static_del, outside, generation))

    async def mapping_delete(self, where: MappingFilter, *, generation: int | None = None) -> int:
        """End mappings."""
        return await self._run(partial(self._nat.mapping_delete, where, generation))

    # ---- tests and tools ----

    async def advance(self, seconds: int) -> None:
        """Move the clock forward."""
        await self._run(partial(self._nat.advance, seconds))

    async def inject(self, packets: Sequence[Packet]) -> tuple[Outcome, ...]:
        """Bring packets through."""
        return await self._run(partial(self._nat.inject, packets))

    async def aclose(self) -> None:
        """Finish what was begun, then close."""
        if self._closed:
            return
        closing = asyncio.get_running_loop().run_in_executor(self._worker, self._nat.close)
        self._closed = True
        if self._pump is not None:
            with contextlib.suppress(Unavailable):
                await self._pump
        for subscriber in self._subscribers:
            subscriber.wake.set()
        await closing
        self._worker.shutdown(wait=False)

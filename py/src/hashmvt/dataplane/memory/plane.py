# SPDX-License-Identifier: Apache-2.0
"""``MemoryDataplane``: the memory NAT as ``Dataplane``."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING, TypeVar

from hashmvt.dataplane.base import PAGE, Capabilities
from hashmvt.dataplane.generations import Generations
from hashmvt.dataplane.memory.nat import MemoryNat, bucket_of, named
from hashmvt.errors import Rejected, Unavailable
from hashmvt.model import (
    ANYWHERE,
    MAX_INSTANCES,
    Block,
    Endpoint,
    Event,
    HomeMap,
    Host,
    InstanceState,
    Mapping,
    MappingFilter,
    Outcome,
    Packet,
    Page,
    Proto,
    Snapshot,
    StaticMapping,
)
from hashmvt.names import ErrorCode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from ipaddress import IPv4Address, IPv4Network

    from hashmvt.policy import PolicySet

T = TypeVar("T")


class MemoryDataplane:
    """See the package; made by tests, which also close it."""

    def __init__(
        self,
        policy: PolicySet,
        *,
        initial: int = 1,
        most: int = 4,
        block_size: int = 64,
        first_port: int = 1024,
    ) -> None:
        """Start ``initial`` instances; the pool is cut evenly among them."""
        if not 1 <= initial <= most <= MAX_INSTANCES:
            raise Rejected(ErrorCode.INVALID, f"{initial} of {most} instances cannot be")
        self._generations = Generations()
        self._subscribers: set[asyncio.Queue[Event | None]] = set()
        self._closed = False
        self._nat = MemoryNat(
            policy,
            initial=initial,
            most=most,
            block_size=block_size,
            first_port=first_port,
            listener=self._tell,
        )
        self.capabilities = Capabilities(
            kind="memory",
            host="memory",
            max_instances=most,
            block_size=block_size,
            clock=True,
            inject=True,
        )

    def _tell(self, event: Event) -> None:
        for queue in self._subscribers:
            queue.put_nowait(event)

    # ---- the pool ----

    # ---- mappings ----

    # ---- packets ----

    async def inject(self, packets: Sequence[Packet]) -> tuple[Outcome, ...]:
        """Bring packets through."""
        self._open()
        return tuple(self._nat.inject(packet) for packet in packets)

    async def advance(self, seconds: int) -> None:
        """Move the clock."""
        self._open()
        if seconds < 0:
            raise Rejected(ErrorCode.INVALID, "a clock goes forward only")
        self._nat.tick += seconds
        self._nat.settle()

    # ---- read ----

    def _open(self) -> None:
        if self._closed:
            raise Unavailable("the dataplane is closed")

    async def snapshot(self, cursor: str = "") -> Snapshot:
        """Return all instances."""
        del cursor
        self._open()
        self._nat.settle()
        return Snapshot(
            taken_ns=time.monotonic_ns(),
            tick=self._nat.tick,
            generation=self._generations.latest,
            home_version=self._nat.home.version,
            rules_version=self._nat.rules.version,
            policy_generation=self._nat.policy.generation,
            instances=tuple(
                self._nat.snapshot(i, one) for i, one in enumerate(self._nat.instances)
            ),
        )

    async def home(self) -> HomeMap:
        """Return the home map."""
        self._open()
        return self._nat.home

    async def buckets(self, hosts: Sequence[IPv4Address], *, realm: int = 0) -> tuple[int, ...]:
        """Return the bucket of each host."""
        self._open()
        return tuple(bucket_of(host, realm) for host in hosts)

    async def rules(self) -> HomeMap:
        """Return the rules."""
        self._open()
        return self._nat.rules

    async def policy(self) -> PolicySet:
        """Return the policies."""
        self._open()
        return self._nat.policy

    async def live(
        self,
        inside: IPv4Network,
        cursor: str = "",
        *,
        instance: int | None = None,
        realm: int = 0,
        limit: int = PAGE,
    ) -> Page[Host]:
        """List hosts."""
        del realm
        self._open()
        protos: dict[tuple[int, IPv4Address, IPv4Address], Counter[Proto]] = {}
        for m in self._nat.matching(MappingFilter(inside=inside, instance=instance)):
            key = (m.instance, m.inside.addr, m.external.addr)
            protos.setdefault(key, Counter())[m.inside.proto] += 1
        hosts = [
            Host(addr, at, external, n[Proto.UDP], n[Proto.TCP], n[Proto.ICMP])
            for (at, addr, external), n in sorted(protos.items())
        ]
        return _page(hosts, cursor, limit)

    async def mappings(
        self, where: MappingFilter, cursor: str = "", *, limit: int = PAGE
    ) -> Page[Mapping]:
        """List mappings."""
        self._open()
        found = [self._nat.mapping(m) for m in self._nat.matching(where)]
        return _page(sorted(found, key=lambda m: (m.instance, m.inside)), cursor, limit)

    async def blocks(
        self, cursor: str = "", *, instance: int | None = None, limit: int = PAGE
    ) -> Page[Block]:
        """List blocks in use."""
        self._open()
        self._nat.settle()
        protos: dict[tuple[IPv4Address, int], Counter[Proto]] = {}
        for endpoint in self._nat.by_external:
            protos.setdefault(self._nat.block_of(endpoint), Counter())[endpoint.proto] += 1
        found = [
            Block(
                addr,
                block * self._nat.block_size,
                self._nat.block_size,
                self._nat.owner[addr, block],
                n[Proto.UDP],
                n[Proto.TCP],
                n[Proto.ICMP],
            )
            for (addr, block), n in sorted(protos.items())
            if instance in (None, self._nat.owner[addr, block])
        ]
        return _page(found, cursor, limit)

    async def events(self) -> AsyncIterator[Event]:
        """Iterate over events."""
        self._open()
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self._subscribers.add(queue)
        try:
            while (event := await queue.get()) is not None:
                yield event
        finally:
            self._subscribers.discard(queue)

    # ---- instances and blocks ----

    def _known(self, *instances: int) -> None:
        self._open()
        for instance in instances:
            if not 0 <= instance < len(self._nat.instances):
                raise Rejected(ErrorCode.INVALID, f"there is no instance {instance}")

    async def activate(self, instance: int, *, generation: int | None = None) -> None:
        """Make an instance active."""
        self._known(instance)
        self._generations.once(
            generation, lambda: self._nat.set_state(instance, InstanceState.ACTIVE)
        )

    async def drain(self, instance: int, *, generation: int | None = None) -> None:
        """Mark an instance draining."""
        self._known(instance)
        if self._nat.instances[instance].state is InstanceState.ACTIVE:
            if len(self._nat.in_state(InstanceState.ACTIVE)) == 1:
                raise Rejected(ErrorCode.IN_USE, "somebody must serve")
            self._generations.once(
                generation, lambda: self._nat.set_state(instance, InstanceState.DRAINING)
            )

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
        self._known(from_instance, to_instance)
        if from_instance == to_instance or blocks < 0:
            raise Rejected(ErrorCode.INVALID, "nothing can be moved so")
        if external is not None and external not in self._nat.pool():
            raise Rejected(ErrorCode.NOT_FOUND, f"{external} is no address of the pool")
        nat = self._nat
        return self._generations.once(
            generation,
            lambda: nat.move(
                [b for b in nat.free_blocks(from_instance) if external in (None, b[0])][:blocks],
                to_instance,
            ),
        )

    async def shard(
        self,
        percent: int,
        *,
        from_instance: int,
        to_instance: int,
        generation: int | None = None,
    ) -> int:
        """Move a share of the free blocks of each address."""
        self._known(from_instance, to_instance)
        if from_instance == to_instance or not 0 <= percent <= 100:  # noqa: PLR2004
            raise Rejected(ErrorCode.INVALID, "nothing can be moved so")
        return self._generations.once(
            generation, lambda: self._nat.shard(percent, from_instance, to_instance)
        )

    async def reset(self, instance: int, *, generation: int | None = None) -> None:
        """Drop an instance's mappings."""
        self._known(instance)

        def drop() -> int:
            self._nat.instances[instance].epoch += 1
            for live in [m for m in self._nat.by_inside.values() if m.instance == instance]:
                self._nat.end(live, "mappings_deleted")
            return 0

        self._generations.once(generation, drop)

    # ---- who serves whom ----

    def _check_home(self, new: HomeMap, old: HomeMap) -> None:
        self._open()
        if new.version < old.version:
            raise Rejected(ErrorCode.STALE, f"{new.version} is older than {old.version}")
        keys = [(r.realm, r.prefix) for r in new.ranges]
        instances = named(new)
        if (
            (0, ANYWHERE) not in keys
            or len(set(keys)) != len(keys)
            or any((r.instance is None) == (r.table is None) for r in new.ranges)
            or any((r.table or 0) >= max(len(new.tables), 1) for r in new.ranges)
            or any(not 0 <= i < len(self._nat.instances) for i in instances)
        ):
            raise Rejected(ErrorCode.INVALID, "this is no home map")

    async def set_home(self, home: HomeMap) -> None:
        """Publish a home map."""
        self._check_home(home, self._nat.home)
        if home.version > self._nat.home.version:
            self._nat.home = home
            self._nat.settle()

    async def set_rules(self, rules: HomeMap) -> None:
        """Replace the rules."""
        self._check_home(rules, self._nat.rules)
        if rules.version > self._nat.rules.version:
            self._nat.rules = rules

    # ---- policies and static mappings ----

    async def set_policy(self, policy: PolicySet, *, force: bool = False) -> None:
        """Replace the policies."""
        self._open()
        if policy.generation < self._nat.policy.generation:
            raise Rejected(ErrorCode.STALE, "these policies are older")
        if policy.generation == self._nat.policy.generation:
            return
        before, self._nat.policy = self._nat.policy, policy
        for mapping in before.endpoints:
            if mapping not in policy.endpoints:
                self._nat.static_del(mapping.outside)
        pool = self._nat.pool()
        for live in [
            m for m in self._nat.by_inside.values() if force and pool.get(m.external.addr, True)
        ]:
            self._nat.end(live, "mappings_deleted")
        self._nat.take_pool()
        self._nat.settle()
        for mapping in policy.endpoints:
            if mapping not in before.endpoints:
                self._nat.static_add(mapping)

    async def static_add(self, mapping: StaticMapping, *, generation: int | None = None) -> None:
        """Add a static mapping."""
        self._open()
        if mapping.inside.proto != mapping.outside.proto:
            raise Rejected(ErrorCode.INVALID, "a static mapping has one protocol on both sides")
        self._generations.once(generation, lambda: self._nat.static_add(mapping))

    async def static_del(self, outside: Endpoint, *, generation: int | None = None) -> None:
        """Remove a static mapping."""
        self._open()
        self._generations.once(generation, lambda: self._nat.static_del(outside))

    async def mapping_delete(self, where: MappingFilter, *, generation: int | None = None) -> int:
        """End mappings."""
        self._open()

        def end() -> int:
            found = [m for m in self._nat.matching(where) if m.is_static is (where.statics is True)]
            for live in found:
                self._nat.end(live, "mappings_deleted")
            return len(found)

        return self._generations.once(generation, end)

    async def aclose(self) -> None:
        """Close it."""
        self._closed = True
        for queue in self._subscribers:
            queue.put_nowait(None)


def _page(items: Sequence[T], cursor: str, limit: int) -> Page[T]:
    """Return one page of a list; a cursor is a position."""
    if cursor and not (cursor.isascii() and cursor.isdigit()):
        raise Rejected(ErrorCode.INVALID, f"{cursor!r} is no cursor of this dataplane")
    start = int(cursor or 0)
    stop = start + max(limit, 1)
    return Page(tuple(items[start:stop]), str(stop) if stop < len(items) else None)

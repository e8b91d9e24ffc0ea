# SPDX-License-Identifier: Apache-2.0
"""``MemoryDataplane``: a NAT of dicts and sets, for tests of what stands above a dataplane.

It keeps the contract of ``Dataplane`` and the meaning of home maps, blocks and draining, and
leaves out what makes a real one fast or hard: threads, hashes, TCP states, fragments, ICMP errors,
limits, 1:1 rules. One table serves all instances, each entry with its owner, so what only the
owner may do is plain to see. Packets are UDP, TCP and ICMP echo without options.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from hashmvt.dataplane.base import PAGE, Capabilities
from hashmvt.dataplane.generations import Generations
from hashmvt.dataplane.packets import Flow, parse, rewrite
from hashmvt.errors import Rejected, Unavailable
from hashmvt.model import (
    ANYWHERE,
    MAX_INSTANCES,
    Block,
    Closing,
    Direction,
    Endpoint,
    Event,
    HomeMap,
    HomeRange,
    Host,
    InstanceSnapshot,
    InstanceState,
    Mapping,
    MappingFilter,
    Outcome,
    Packet,
    Page,
    Proto,
    Snapshot,
    StaticMapping,
    Verdict,
)
from hashmvt.names import Counters, DropReason, ErrorCode, EventType, Gauges, PassReason

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence
    from ipaddress import IPv4Address, IPv4Network

    from hashmvt.policy import PolicySet

T = TypeVar("T")

_PORTS = 65536


@dataclass(slots=True)
class _Live:
    """A mapping as the table keeps it."""

    inside: Endpoint
    external: Endpoint
    instance: int
    made: int
    last: int
    is_static: bool = False
    packets: list[int] = field(default_factory=lambda: [0, 0])


@dataclass(slots=True)
class _Instance:
    state: InstanceState = InstanceState.SPARE
    epoch: int = 1
    loops: int = 0
    counted: Counter[str] = field(default_factory=Counter)
    dropped: Counter[DropReason] = field(default_factory=Counter)
    passed: Counter[PassReason] = field(default_factory=Counter)


class MemoryDataplane:
    """See the module; made by tests, which also close it."""

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
        self._policy = policy
        self._block_size = block_size
        self._first_block = first_port // block_size
        self._tick = 1
        self._instances = [_Instance() for _ in range(most)]
        self._owner: dict[tuple[IPv4Address, int], int] = {}
        self._by_inside: dict[Endpoint, _Live] = {}
        self._by_external: dict[Endpoint, _Live] = {}
        self._generations = Generations()
        self._subscribers: set[asyncio.Queue[Event | None]] = set()
        self._closed = False
        for instance in self._instances[:initial]:
            instance.state = InstanceState.ACTIVE
        table = tuple(bucket % initial for bucket in range(256))
        first = HomeRange(ANYWHERE, 0) if initial == 1 else HomeRange(ANYWHERE, None, 0)
        self._home = HomeMap(1, (first,), () if initial == 1 else (table,))
        self._rules = self._home
        self._take_pool()
        for mapping in policy.endpoints:
            self._static_add(mapping)
        self.capabilities = Capabilities(
            kind="memory",
            host="memory",
            max_instances=most,
            block_size=block_size,
            clock=True,
            inject=True,
        )

    # ---- the pool ----

    def _pool(self) -> dict[IPv4Address, bool]:
        """Return the pool's addresses and whether each drains."""
        return {run.first + i: run.draining for run in self._policy.runs for i in range(run.count)}

    def _take_pool(self) -> None:
        """Give new addresses' blocks to the active instances, in turn."""
        active = self._in_state(InstanceState.ACTIVE)
        for addr in self._pool():
            for block in range(_PORTS // self._block_size):
                self._owner.setdefault((addr, block), active[block % len(active)])

    def _in_state(self, state: InstanceState) -> list[int]:
        return [i for i, one in enumerate(self._instances) if one.state is state]

    def _block_of(self, endpoint: Endpoint) -> tuple[IPv4Address, int]:
        return (endpoint.addr, endpoint.port // self._block_size)

    def _free_blocks(self, instance: int) -> list[tuple[IPv4Address, int]]:
        used = {self._block_of(endpoint) for endpoint in self._by_external}
        return [
            block for block, owner in self._owner.items() if owner == instance and block not in used
        ]

    def _move(self, blocks: Iterable[tuple[IPv4Address, int]], to: int) -> int:
        count = 0
        for block in blocks:
            self._owner[block] = to
            count += 1
        return count

    def _settle(self) -> None:
        """End what is over: expired mappings, drained addresses and instances."""
        for live in [m for m in self._by_inside.values() if self._expired(m)]:
            self._end(live, "mappings_expired")
        pool = self._pool()
        used = {self._block_of(endpoint) for endpoint in self._by_external}
        for block in [b for b in self._owner if pool.get(b[0], True) and b not in used]:
            del self._owner[block]
        active = self._in_state(InstanceState.ACTIVE)
        for instance in self._in_state(InstanceState.DRAINING):
            used = {self._block_of(endpoint) for endpoint in self._by_external}
            mine = [b for b, owner in self._owner.items() if owner == instance and b not in used]
            for n, block in enumerate(mine if active else []):
                self._owner[block] = active[n % len(active)]
            busy = instance in self._owner.values() or instance in _named(self._home)
            if not busy and all(m.instance != instance for m in self._by_inside.values()):
                self._instances[instance].state = InstanceState.SPARE

    # ---- mappings ----

    def _timeout(self, proto: Proto) -> int:
        timeouts = self._policy.policies[0].timeouts
        return {
            Proto.UDP: timeouts.udp,
            Proto.TCP: timeouts.tcp_established,
            Proto.ICMP: timeouts.icmp,
        }[proto]

    def _expired(self, live: _Live) -> bool:
        return not live.is_static and self._tick - live.last > self._timeout(live.inside.proto)

    def _end(self, live: _Live, why: str) -> None:
        del self._by_inside[live.inside]
        del self._by_external[live.external]
        self._instances[live.instance].counted[why] += 1
        self._tell(EventType.MAPPING_ENDED, live)

    def _add(self, live: _Live) -> None:
        self._by_inside[live.inside] = live
        self._by_external[live.external] = live
        self._instances[live.instance].counted["mappings_created"] += 1
        self._tell(EventType.MAPPING_CREATED, live)

    def _serves(self, instance: int, addr: IPv4Address) -> bool:
        return any(
            m.inside.addr == addr and m.instance == instance for m in self._by_inside.values()
        )

    def _home_of(self, endpoint: Endpoint) -> tuple[int, IPv4Address | None]:
        """Return who creates a mapping for an endpoint, and the address it must have, if any."""
        covering = [r for r in self._home.ranges if endpoint.addr in r.prefix]
        found = max(covering, key=lambda r: r.prefix.prefixlen)
        pin = next((p for p in self._home.pins if p.endpoint == endpoint), None)
        home = pin.instance if pin else found.instance
        if home is None:
            home = self._home.tables[found.table or 0][int(endpoint.addr) % 256]
        move: Closing | None = found.closing
        if move and not pin and home == move.from_instance:
            stays = self._serves(home, endpoint.addr) and not move.by_endpoint
            home = home if stays else move.to_instance
        return home, found.external

    def _create(self, inside: Endpoint) -> _Live | DropReason:
        home, fixed = self._home_of(inside)
        paired = next(
            (m.external.addr for m in self._by_inside.values() if m.inside.addr == inside.addr),
            None,
        )
        draining = self._pool()
        usable = [addr for addr in draining if not draining[addr]]
        if fixed or paired:
            usable = [addr for addr in usable if addr == (fixed or paired)] + usable * (not fixed)
        elif usable:
            turn = int(inside.addr) % len(usable)
            usable = usable[turn:] + usable[:turn]
        for addr in usable:
            for block_addr, block in [b for b, o in self._owner.items() if o == home]:
                if block_addr != addr or block < self._first_block:
                    continue
                first = block * self._block_size
                for port in range(max(first, 1), first + self._block_size):
                    external = Endpoint(addr, port, inside.proto)
                    if external not in self._by_external:
                        live = _Live(inside, external, home, self._tick, self._tick)
                        self._add(live)
                        return live
        return DropReason.OUT_OF_PORTS

    # ---- packets ----

    async def inject(self, packets: Sequence[Packet]) -> tuple[Outcome, ...]:
        """Bring packets through."""
        self._open()
        return tuple(self._inject(packet) for packet in packets)

    def _inject(self, packet: Packet) -> Outcome:
        self._settle()
        flow = parse(packet.data)
        if flow is None:
            return self._outcome(packet, 0, DropReason.MALFORMED)
        if packet.direction is Direction.OUT2IN:
            return self._out2in(packet, flow)
        return self._in2out(packet, flow)

    def _in2out(self, packet: Packet, flow: Flow) -> Outcome:
        if not any(flow.source.addr in rule.inside for rule in self._policy.inside):
            return self._outcome(packet, 0, PassReason.NOT_INSIDE)
        exempt = [*self._policy.exempt, *(rule.inside for rule in self._policy.inside)]
        if any(flow.target.addr in prefix for prefix in exempt):
            return self._outcome(packet, 0, PassReason.EXEMPT)
        live = self._by_inside.get(flow.source) or self._create(flow.source)
        if isinstance(live, DropReason):
            return self._outcome(packet, self._home_of(flow.source)[0], live)
        live.last = self._tick
        live.packets[0] += 1
        out = rewrite(packet.data, source=live.external)
        if flow.target.addr in self._pool():  # hairpin
            return self._out2in(replace(packet, data=out), replace(flow, source=live.external))
        return self._outcome(packet, live.instance, out)

    def _out2in(self, packet: Packet, flow: Flow) -> Outcome:
        if flow.target.addr not in self._pool():
            return self._outcome(packet, 0, PassReason.NOT_POOL)
        live = self._by_external.get(flow.target)
        owner = self._owner.get(self._block_of(flow.target), 0)
        if live is None:
            return self._outcome(packet, owner, DropReason.NO_MAPPING)
        live.last = self._tick
        live.packets[1] += 1
        data = rewrite(packet.data, target=live.inside)
        return self._outcome(replace(packet, direction=Direction.OUT2IN), live.instance, data)

    def _outcome(
        self, packet: Packet, instance: int, result: bytes | DropReason | PassReason
    ) -> Outcome:
        one = self._instances[instance]
        way = "in2out" if packet.direction is Direction.IN2OUT else "out2in"
        one.loops += 1
        one.counted[f"received_{way}"] += 1
        verdict, data = Verdict.TRANSLATED, packet.data
        drop = passed = None
        match result:
            case bytes():
                data = result
                one.counted[f"translated_{way}"] += 1
            case DropReason():
                verdict, drop = Verdict.DROPPED, result
                one.dropped[result] += 1
            case PassReason():
                verdict, passed = Verdict.PASSED, result
                one.passed[result] += 1
        return Outcome(
            verdict, data, packet.direction, instance, instance, drop, passed, packet.cookie
        )

    async def advance(self, seconds: int) -> None:
        """Move the clock."""
        self._open()
        if seconds < 0:
            raise Rejected(ErrorCode.INVALID, "a clock goes forward only")
        self._tick += seconds
        self._settle()

    # ---- read ----

    def _open(self) -> None:
        if self._closed:
            raise Unavailable("the dataplane is closed")

    async def snapshot(self, cursor: str = "") -> Snapshot:
        """Return all instances."""
        del cursor
        self._open()
        self._settle()
        return Snapshot(
            taken_ns=time.monotonic_ns(),
            tick=self._tick,
            generation=self._generations.latest,
            home_version=self._home.version,
            rules_version=self._rules.version,
            policy_generation=self._policy.generation,
            instances=tuple(self._snapshot(i, one) for i, one in enumerate(self._instances)),
        )

    def _snapshot(self, at: int, one: _Instance) -> InstanceSnapshot:
        mine = [m for m in self._by_inside.values() if m.instance == at]
        protos = Counter(m.inside.proto for m in mine)
        blocks = sum(1 for owner in self._owner.values() if owner == at)
        free = len(self._free_blocks(at))
        return InstanceSnapshot(
            id=at,
            state=one.state,
            epoch=one.epoch,
            cycles_busy=one.loops,
            cycles_total=one.loops + 1,
            loops=one.loops,
            counters=Counters(**one.counted),
            gauges=Gauges(
                mappings=len(mine),
                mappings_udp=protos[Proto.UDP],
                mappings_tcp=protos[Proto.TCP],
                mappings_icmp=protos[Proto.ICMP],
                hosts=len({m.inside.addr for m in mine}),
                blocks=blocks,
                blocks_free=free,
                blocks_open=blocks - free,
                max_mappings=_PORTS,
                home_version=self._home.version,
                policy_generation=self._policy.generation,
            ),
            passed=tuple(one.passed[reason] for reason in PassReason),
            dropped=tuple(one.dropped[reason] for reason in DropReason),
        )

    async def home(self) -> HomeMap:
        """Return the home map."""
        self._open()
        return self._home

    async def rules(self) -> HomeMap:
        """Return the rules."""
        self._open()
        return self._rules

    async def policy(self) -> PolicySet:
        """Return the policies."""
        self._open()
        return self._policy

    def _matching(self, where: MappingFilter) -> list[_Live]:
        self._settle()
        return [
            m
            for m in self._by_inside.values()
            if m.inside.addr in where.inside
            and m.external.addr in where.external
            and where.inside_port in (0, m.inside.port)
            and where.external_port in (0, m.external.port)
            and where.proto in (None, m.inside.proto)
            and where.statics in (None, m.is_static)
            and where.instance in (None, m.instance)
        ]

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
        for m in self._matching(MappingFilter(inside=inside, instance=instance)):
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
        found = [self._mapping(m) for m in self._matching(where)]
        return _page(sorted(found, key=lambda m: (m.instance, m.inside)), cursor, limit)

    def _mapping(self, m: _Live) -> Mapping:
        idle = self._tick - m.last
        return Mapping(
            inside=m.inside,
            external=m.external,
            remote=None,
            instance=m.instance,
            is_static=m.is_static,
            age_s=self._tick - m.made,
            idle_s=idle,
            expires_in_s=None if m.is_static else self._timeout(m.inside.proto) - idle,
            packets_in2out=m.packets[0],
            packets_out2in=m.packets[1],
        )

    async def blocks(
        self, cursor: str = "", *, instance: int | None = None, limit: int = PAGE
    ) -> Page[Block]:
        """List blocks in use."""
        self._open()
        self._settle()
        protos: dict[tuple[IPv4Address, int], Counter[Proto]] = {}
        for endpoint in self._by_external:
            protos.setdefault(self._block_of(endpoint), Counter())[endpoint.proto] += 1
        found = [
            Block(
                addr,
                block * self._block_size,
                self._block_size,
                self._owner[addr, block],
                n[Proto.UDP],
                n[Proto.TCP],
                n[Proto.ICMP],
            )
            for (addr, block), n in sorted(protos.items())
            if instance in (None, self._owner[addr, block])
        ]
        return _page(found, cursor, limit)

    def _tell(self, kind: EventType, live: _Live) -> None:
        event = Event(
            tick=self._tick,
            type=kind,
            instance=live.instance,
            inside=live.inside.addr,
            inside_port=live.inside.port,
            external=live.external.addr,
            external_port=live.external.port,
            ports=1,
            proto=live.inside.proto,
        )
        for queue in self._subscribers:
            queue.put_nowait(event)

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
            if not 0 <= instance < len(self._instances):
                raise Rejected(ErrorCode.INVALID, f"there is no instance {instance}")

    def _set_state(self, instance: int, state: InstanceState) -> int:
        self._instances[instance].state = state
        self._settle()
        return 0

    async def activate(self, instance: int, *, generation: int | None = None) -> None:
        """Make an instance active."""
        self._known(instance)
        self._generations.once(generation, lambda: self._set_state(instance, InstanceState.ACTIVE))

    async def drain(self, instance: int, *, generation: int | None = None) -> None:
        """Mark an instance draining."""
        self._known(instance)
        if self._instances[instance].state is InstanceState.ACTIVE:
            if len(self._in_state(InstanceState.ACTIVE)) == 1:
                raise Rejected(ErrorCode.IN_USE, "somebody must serve")
            self._generations.once(
                generation, lambda: self._set_state(instance, InstanceState.DRAINING)
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
        if external is not None and external not in self._pool():
            raise Rejected(ErrorCode.NOT_FOUND, f"{external} is no address of the pool")
        return self._generations.once(
            generation,
            lambda: self._move(
                [b for b in self._free_blocks(from_instance) if external in (None, b[0])][:blocks],
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
            generation, lambda: self._shard(percent, from_instance, to_instance)
        )

    def _shard(self, percent: int, source: int, target: int) -> int:
        free = self._free_blocks(source)
        moved = 0
        for addr in self._pool():
            mine = [block for block in free if block[0] == addr]
            moved += self._move(mine[: len(mine) * percent // 100], target)
        return moved

    async def reset(self, instance: int, *, generation: int | None = None) -> None:
        """Drop an instance's mappings."""
        self._known(instance)

        def drop() -> int:
            self._instances[instance].epoch += 1
            for live in [m for m in self._by_inside.values() if m.instance == instance]:
                self._end(live, "mappings_deleted")
            return 0

        self._generations.once(generation, drop)

    # ---- who serves whom ----

    def _check_home(self, new: HomeMap, old: HomeMap) -> None:
        self._open()
        if new.version < old.version:
            raise Rejected(ErrorCode.STALE, f"{new.version} is older than {old.version}")
        keys = [(r.realm, r.prefix) for r in new.ranges]
        named = _named(new)
        if (
            (0, ANYWHERE) not in keys
            or len(set(keys)) != len(keys)
            or any((r.instance is None) == (r.table is None) for r in new.ranges)
            or any((r.table or 0) >= max(len(new.tables), 1) for r in new.ranges)
            or any(not 0 <= i < len(self._instances) for i in named)
        ):
            raise Rejected(ErrorCode.INVALID, "this is no home map")

    async def set_home(self, home: HomeMap) -> None:
        """Publish a home map."""
        self._check_home(home, self._home)
        if home.version > self._home.version:
            self._home = home
            self._settle()

    async def set_rules(self, rules: HomeMap) -> None:
        """Replace the rules."""
        self._check_home(rules, self._rules)
        if rules.version > self._rules.version:
            self._rules = rules

    # ---- policies and static mappings ----

    async def set_policy(self, policy: PolicySet, *, force: bool = False) -> None:
        """Replace the policies."""
        self._open()
        if policy.generation < self._policy.generation:
            raise Rejected(ErrorCode.STALE, "these policies are older")
        if policy.generation == self._policy.generation:
            return
        before, self._policy = self._policy, policy
        for mapping in before.endpoints:
            if mapping not in policy.endpoints:
                self._static_del(mapping.outside)
        pool = self._pool()
        for live in [
            m for m in self._by_inside.values() if force and pool.get(m.external.addr, True)
        ]:
            self._end(live, "mappings_deleted")
        self._take_pool()
        self._settle()
        for mapping in policy.endpoints:
            if mapping not in before.endpoints:
                self._static_add(mapping)

    def _static_add(self, mapping: StaticMapping) -> int:
        if mapping.outside.addr not in self._pool():
            raise Rejected(ErrorCode.NOT_FOUND, f"{mapping.outside.addr} is not in the pool")
        taken = self._by_external.get(mapping.outside)
        if taken and taken.inside == mapping.inside and taken.is_static:
            return 0
        if taken and taken.inside != mapping.inside:
            raise Rejected(ErrorCode.IN_USE, f"{mapping.outside} is taken")
        if old := self._by_inside.get(mapping.inside):
            if old.is_static:
                raise Rejected(ErrorCode.EXISTS, f"{mapping.inside} has a static mapping")
            self._end(old, "mappings_deleted")
        owner = self._owner.get(self._block_of(mapping.outside), 0)
        self._add(
            _Live(mapping.inside, mapping.outside, owner, self._tick, self._tick, is_static=True)
        )
        return 0

    def _static_del(self, outside: Endpoint) -> int:
        live = self._by_external.get(outside)
        if live is None or not live.is_static:
            raise Rejected(ErrorCode.NOT_FOUND, f"{outside} has no static mapping")
        self._end(live, "mappings_deleted")
        return 0

    async def static_add(self, mapping: StaticMapping, *, generation: int | None = None) -> None:
        """Add a static mapping."""
        self._open()
        if mapping.inside.proto != mapping.outside.proto:
            raise Rejected(ErrorCode.INVALID, "a static mapping has one protocol on both sides")
        self._generations.once(generation, lambda: self._static_add(mapping))

    async def static_del(self, outside: Endpoint, *, generation: int | None = None) -> None:
        """Remove a static mapping."""
        self._open()
        self._generations.once(generation, lambda: self._static_del(outside))

    async def mapping_delete(self, where: MappingFilter, *, generation: int | None = None) -> int:
        """End mappings."""
        self._open()

        def end() -> int:
            found = [m for m in self._matching(where) if m.is_static is (where.statics is True)]
            for live in found:
                self._end(live, "mappings_deleted")
            return len(found)

        return self._generations.once(generation, end)

    async def aclose(self) -> None:
        """Close it."""
        self._closed = True
        for queue in self._subscribers:
            with contextlib.suppress(asyncio.QueueFull):
                queue.put_nowait(None)


def _named(home: HomeMap) -> set[int]:
    """Return every instance that a home map names."""
    named = {r.instance for r in home.ranges if r.instance is not None}
    named |= {
        i
        for r in home.ranges
        if r.closing
        for i in (r.closing.from_instance, r.closing.to_instance)
    }
    named |= {entry for table in home.tables for entry in table}
    return named | {pin.instance for pin in home.pins}


def _page(items: Sequence[T], cursor: str, limit: int) -> Page[T]:
    """Return one page of a list; a cursor is a position."""
    if cursor and not (cursor.isascii() and cursor.isdigit()):
        raise Rejected(ErrorCode.INVALID, f"{cursor!r} is no cursor of this dataplane")
    start = int(cursor or 0)
    stop = start + max(limit, 1)
    return Page(tuple(items[start:stop]), str(stop) if stop < len(items) else None)

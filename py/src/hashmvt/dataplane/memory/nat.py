# SPDX-License-Identifier: Apache-2.0
"""The NAT of the memory dataplane: one table for all instances, each entry with its owner.

Synchronous and single-threaded. What it leaves out, the package's text says.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from hashmvt.dataplane.packets import Flow, parse, rewrite
from hashmvt.errors import Rejected
from hashmvt.model import (
    ANYWHERE,
    Closing,
    Direction,
    Endpoint,
    Event,
    HomeMap,
    HomeRange,
    InstanceSnapshot,
    InstanceState,
    Mapping,
    MappingFilter,
    Outcome,
    Packet,
    Proto,
    StaticMapping,
    Verdict,
)
from hashmvt.names import Counters, DropReason, ErrorCode, EventType, Gauges, PassReason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from ipaddress import IPv4Address

    from hashmvt.policy import PolicySet

PORTS = 65536


def bucket_of(host: IPv4Address, realm: int = 0) -> int:
    """Return the bucket of a host: its last byte, whatever the realm."""
    del realm
    return int(host) % 256


@dataclass(slots=True)
class Live:
    """A mapping as the table keeps it."""

    inside: Endpoint
    external: Endpoint
    instance: int
    made: int
    last: int
    is_static: bool = False
    packets: list[int] = field(default_factory=lambda: [0, 0])


@dataclass(slots=True)
class Instance:
    """An instance as the table keeps it."""

    state: InstanceState = InstanceState.SPARE
    epoch: int = 1
    loops: int = 0
    counted: Counter[str] = field(default_factory=Counter)
    dropped: Counter[DropReason] = field(default_factory=Counter)
    passed: Counter[PassReason] = field(default_factory=Counter)


class MemoryNat:
    """Instances, blocks and mappings; owned by one ``MemoryDataplane``."""

    def __init__(
        self,
        policy: PolicySet,
        *,
        initial: int,
        most: int,
        block_size: int,
        first_port: int,
        listener: Callable[[Event], None],
    ) -> None:
        """Start ``initial`` instances; the pool is cut evenly among them."""
        self.policy = policy
        self.block_size = block_size
        self.first_block = first_port // block_size
        self.tick = 1
        self.instances = [Instance() for _ in range(most)]
        self.owner: dict[tuple[IPv4Address, int], int] = {}
        self.by_inside: dict[Endpoint, Live] = {}
        self.by_external: dict[Endpoint, Live] = {}
        self._listener = listener
        for instance in self.instances[:initial]:
            instance.state = InstanceState.ACTIVE
        table = tuple(bucket % initial for bucket in range(256))
        first = HomeRange(ANYWHERE, 0) if initial == 1 else HomeRange(ANYWHERE, None, 0)
        self.home = HomeMap(1, (first,), () if initial == 1 else (table,))
        self.rules = self.home
        self.take_pool()
        for mapping in policy.endpoints:
            self.static_add(mapping)

    def _report(self, kind: EventType, live: Live) -> None:
        self._listener(
            Event(
                tick=self.tick,
                type=kind,
                instance=live.instance,
                inside=live.inside.addr,
                inside_port=live.inside.port,
                external=live.external.addr,
                external_port=live.external.port,
                ports=1,
                proto=live.inside.proto,
            )
        )

    def pool(self) -> dict[IPv4Address, bool]:
        """Return the pool's addresses and whether each drains."""
        return {run.first + i: run.draining for run in self.policy.runs for i in range(run.count)}

    def take_pool(self) -> None:
        """Give new addresses' blocks to the active instances, in turn."""
        active = self.in_state(InstanceState.ACTIVE)
        for addr in self.pool():
            for block in range(PORTS // self.block_size):
                self.owner.setdefault((addr, block), active[block % len(active)])

    def in_state(self, state: InstanceState) -> list[int]:
        """Return the instances in a state."""
        return [i for i, one in enumerate(self.instances) if one.state is state]

    def block_of(self, endpoint: Endpoint) -> tuple[IPv4Address, int]:
        """Return the block of an external endpoint."""
        return (endpoint.addr, endpoint.port // self.block_size)

    def free_blocks(self, instance: int) -> list[tuple[IPv4Address, int]]:
        """Return the blocks that an instance could give away."""
        used = {self.block_of(endpoint) for endpoint in self.by_external}
        return [
            block for block, owner in self.owner.items() if owner == instance and block not in used
        ]

    def move(self, blocks: Iterable[tuple[IPv4Address, int]], to: int) -> int:
        """Give blocks to an instance; return how many."""
        count = 0
        for block in blocks:
            self.owner[block] = to
            count += 1
        return count

    def settle(self) -> None:
        """End what is over: expired mappings, drained addresses and instances."""
        for live in [m for m in self.by_inside.values() if self.expired(m)]:
            self.end(live, "mappings_expired")
        pool = self.pool()
        used = {self.block_of(endpoint) for endpoint in self.by_external}
        for block in [b for b in self.owner if pool.get(b[0], True) and b not in used]:
            del self.owner[block]
        active = self.in_state(InstanceState.ACTIVE)
        for instance in self.in_state(InstanceState.DRAINING):
            used = {self.block_of(endpoint) for endpoint in self.by_external}
            mine = [b for b, owner in self.owner.items() if owner == instance and b not in used]
            for n, block in enumerate(mine if active else []):
                self.owner[block] = active[n % len(active)]
            busy = instance in self.owner.values() or instance in named(self.home)
            if not busy and all(m.instance != instance for m in self.by_inside.values()):
                self.instances[instance].state = InstanceState.SPARE

    def timeout(self, proto: Proto) -> int:
        """Return the idle seconds of a protocol."""
        timeouts = self.policy.policies[0].timeouts
        return {
            Proto.UDP: timeouts.udp,
            Proto.TCP: timeouts.tcp_established,
            Proto.ICMP: timeouts.icmp,
        }[proto]

    def expired(self, live: Live) -> bool:
        """Say whether a mapping is over: never early."""
        return not live.is_static and self.tick - live.last > self.timeout(live.inside.proto)

    def end(self, live: Live, why: str) -> None:
        """End a mapping; ``why`` is the counter."""
        del self.by_inside[live.inside]
        del self.by_external[live.external]
        self.instances[live.instance].counted[why] += 1
        self._report(EventType.MAPPING_ENDED, live)

    def add(self, live: Live) -> None:
        """Put a mapping into the table."""
        self.by_inside[live.inside] = live
        self.by_external[live.external] = live
        self.instances[live.instance].counted["mappings_created"] += 1
        self._report(EventType.MAPPING_CREATED, live)

    def serves(self, instance: int, addr: IPv4Address) -> bool:
        """Say whether an instance has a mapping of a host."""
        return any(
            m.inside.addr == addr and m.instance == instance for m in self.by_inside.values()
        )

    def home_of(self, endpoint: Endpoint) -> tuple[int, IPv4Address | None]:
        """Return who creates a mapping for an endpoint, and the address it must have, if any."""
        covering = [r for r in self.home.ranges if endpoint.addr in r.prefix]
        found = max(covering, key=lambda r: r.prefix.prefixlen)
        pin = next((p for p in self.home.pins if p.endpoint == endpoint), None)
        home = pin.instance if pin else found.instance
        if home is None:
            home = self.home.tables[found.table or 0][bucket_of(endpoint.addr)]
        move: Closing | None = found.closing
        if move and not pin and home == move.from_instance:
            stays = self.serves(home, endpoint.addr) and not move.by_endpoint
            home = home if stays else move.to_instance
        return home, found.external

    def create(self, inside: Endpoint) -> Live | DropReason:
        """Make a mapping at its home, or say why not."""
        home, fixed = self.home_of(inside)
        paired = next(
            (m.external.addr for m in self.by_inside.values() if m.inside.addr == inside.addr),
            None,
        )
        draining = self.pool()
        usable = [addr for addr in draining if not draining[addr]]
        if fixed or paired:
            usable = [addr for addr in usable if addr == (fixed or paired)] + usable * (not fixed)
        elif usable:
            turn = int(inside.addr) % len(usable)
            usable = usable[turn:] + usable[:turn]
        for addr in usable:
            for block_addr, block in [b for b, o in self.owner.items() if o == home]:
                if block_addr != addr or block < self.first_block:
                    continue
                first = block * self.block_size
                for port in range(max(first, 1), first + self.block_size):
                    external = Endpoint(addr, port, inside.proto)
                    if external not in self.by_external:
                        live = Live(inside, external, home, self.tick, self.tick)
                        self.add(live)
                        return live
        return DropReason.OUT_OF_PORTS

    def inject(self, packet: Packet) -> Outcome:
        """Bring one packet through."""
        self.settle()
        flow = parse(packet.data)
        if flow is None:
            return self.outcome(packet, 0, DropReason.MALFORMED)
        if packet.direction is Direction.OUT2IN:
            return self.out2in(packet, flow)
        return self.in2out(packet, flow)

    def in2out(self, packet: Packet, flow: Flow) -> Outcome:
        """Translate a packet from inside."""
        if not any(flow.source.addr in rule.inside for rule in self.policy.inside):
            return self.outcome(packet, 0, PassReason.NOT_INSIDE)
        exempt = [*self.policy.exempt, *(rule.inside for rule in self.policy.inside)]
        if any(flow.target.addr in prefix for prefix in exempt):
            return self.outcome(packet, 0, PassReason.EXEMPT)
        live = self.by_inside.get(flow.source) or self.create(flow.source)
        if isinstance(live, DropReason):
            return self.outcome(packet, self.home_of(flow.source)[0], live)
        live.last = self.tick
        live.packets[0] += 1
        out = rewrite(packet.data, source=live.external)
        if flow.target.addr in self.pool():  # hairpin
            return self.out2in(replace(packet, data=out), replace(flow, source=live.external))
        return self.outcome(packet, live.instance, out)

    def out2in(self, packet: Packet, flow: Flow) -> Outcome:
        """Translate a packet to a pool address."""
        if flow.target.addr not in self.pool():
            return self.outcome(packet, 0, PassReason.NOT_POOL)
        live = self.by_external.get(flow.target)
        owner = self.owner.get(self.block_of(flow.target), 0)
        if live is None:
            return self.outcome(packet, owner, DropReason.NO_MAPPING)
        live.last = self.tick
        live.packets[1] += 1
        data = rewrite(packet.data, target=live.inside)
        return self.outcome(replace(packet, direction=Direction.OUT2IN), live.instance, data)

    def outcome(
        self, packet: Packet, instance: int, result: bytes | DropReason | PassReason
    ) -> Outcome:
        """Count what became of a packet."""
        one = self.instances[instance]
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

    def snapshot(self, at: int, one: Instance) -> InstanceSnapshot:
        """Return one instance as it is now."""
        mine = [m for m in self.by_inside.values() if m.instance == at]
        protos = Counter(m.inside.proto for m in mine)
        blocks = sum(1 for owner in self.owner.values() if owner == at)
        free = len(self.free_blocks(at))
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
                max_mappings=PORTS,
                home_version=self.home.version,
                policy_generation=self.policy.generation,
            ),
            passed=tuple(one.passed[reason] for reason in PassReason),
            dropped=tuple(one.dropped[reason] for reason in DropReason),
        )

    def matching(self, where: MappingFilter) -> list[Live]:
        """Return the mappings that a filter means."""
        self.settle()
        return [
            m
            for m in self.by_inside.values()
            if m.inside.addr in where.inside
            and m.external.addr in where.external
            and where.inside_port in (0, m.inside.port)
            and where.external_port in (0, m.external.port)
            and where.proto in (None, m.inside.proto)
            and where.statics in (None, m.is_static)
            and where.instance in (None, m.instance)
        ]

    def mapping(self, m: Live) -> Mapping:
        """Return a mapping as a value."""
        idle = self.tick - m.last
        return Mapping(
            inside=m.inside,
            external=m.external,
            remote=None,
            instance=m.instance,
            is_static=m.is_static,
            age_s=self.tick - m.made,
            idle_s=idle,
            expires_in_s=None if m.is_static else self.timeout(m.inside.proto) - idle,
            packets_in2out=m.packets[0],
            packets_out2in=m.packets[1],
        )

    def set_state(self, instance: int, state: InstanceState) -> int:
        """Change the state of an instance."""
        self.instances[instance].state = state
        self.settle()
        return 0

    def shard(self, percent: int, source: int, target: int) -> int:
        """Move a share of the free blocks of each address."""
        free = self.free_blocks(source)
        moved = 0
        for addr in self.pool():
            mine = [block for block in free if block[0] == addr]
            moved += self.move(mine[: len(mine) * percent // 100], target)
        return moved

    def static_add(self, mapping: StaticMapping) -> int:
        """Add a static mapping."""
        if mapping.outside.addr not in self.pool():
            raise Rejected(ErrorCode.NOT_FOUND, f"{mapping.outside.addr} is not in the pool")
        taken = self.by_external.get(mapping.outside)
        if taken and taken.inside == mapping.inside and taken.is_static:
            return 0
        if taken and taken.inside != mapping.inside:
            raise Rejected(ErrorCode.IN_USE, f"{mapping.outside} is taken")
        if old := self.by_inside.get(mapping.inside):
            if old.is_static:
                raise Rejected(ErrorCode.EXISTS, f"{mapping.inside} has a static mapping")
            self.end(old, "mappings_deleted")
        owner = self.owner.get(self.block_of(mapping.outside), 0)
        self.add(Live(mapping.inside, mapping.outside, owner, self.tick, self.tick, is_static=True))
        return 0

    def static_del(self, outside: Endpoint) -> int:
        """Remove a static mapping."""
        live = self.by_external.get(outside)
        if live is None or not live.is_static:
            raise Rejected(ErrorCode.NOT_FOUND, f"{outside} has no static mapping")
        self.end(live, "mappings_deleted")
        return 0


def named(home: HomeMap) -> set[int]:
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

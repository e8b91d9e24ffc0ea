# SPDX-License-Identifier: Apache-2.0
"""A dataplane whose instances disagree for a while, for tests of the three beats.

Every instance has its own table of mappings and its own view of the home map; `set_home` gives
the new map to one instance after the other, and `chaos` is called in between: it may send packets
through the mixture, end mappings, or raise as if the caller had crashed or the answer was lost.
The rules of an instance are those of the core (plugin/mvt/nat44_slow.c): a mark says that the old
owner has none and will make none. What must never happen raises `Violation` where it happens.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

from hashmvt.dataplane.base import Capabilities
from hashmvt.errors import Rejected
from hashmvt.model import (
    ANYWHERE,
    Endpoint,
    HomeMap,
    HomeRange,
    Host,
    InstanceSnapshot,
    InstanceState,
    Mapping,
    MappingFilter,
    Page,
    Snapshot,
)
from hashmvt.names import ErrorCode, Gauges
from hashmvt.policy import InsidePolicy, Policy, PolicySet, PoolRun

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LIMIT = 1000
HOPS = 2  # hand-overs that a packet survives
POOL = (IPv4Address("198.51.100.0"), IPv4Address("198.51.100.1"))
POLICY = PolicySet(
    generation=1,
    policies=(Policy(slots=(0, 1)),),
    inside=(InsidePolicy(IPv4Network("10.0.0.0/24"), 0),),
    runs=(PoolRun(POOL[0], len(POOL), 0),),
)


class Violation(AssertionError):  # noqa: N818
    """Something happened that never may."""


@dataclass
class SimInstance:
    """One instance: what it maps, and what it believes."""

    state: InstanceState
    view: HomeMap
    free_blocks: int = 0
    mapped: dict[Endpoint, IPv4Address] = field(default_factory=dict)
    loops: int = 0
    epoch: int = 0
    stands_still: bool = False

    def serves(self, addr: IPv4Address) -> bool:
        """Has the host a mapping here?"""
        return any(endpoint.addr == addr for endpoint in self.mapped)

    def external_of(self, addr: IPv4Address) -> IPv4Address | None:
        """The address that its mappings here use."""
        return next((ext for end, ext in self.mapped.items() if end.addr == addr), None)


class SimDataplane:
    """See the module. `chaos` is called wherever time passes inside a call."""

    def __init__(self, *, initial: int = 1, most: int = 4) -> None:
        """Start `initial` instances."""
        first = HomeRange(ANYWHERE, 0) if initial == 1 else HomeRange(ANYWHERE, None, 0)
        tables = () if initial == 1 else (tuple(b % initial for b in range(256)),)
        self.home_map = HomeMap(1, (first,), tables)
        self.rules_map = self.home_map
        self.instances = [
            SimInstance(
                InstanceState.ACTIVE if i < initial else InstanceState.SPARE,
                self.home_map,
                1000 if i < initial else 0,
            )
            for i in range(most)
        ]
        self.chaos: Callable[[], None] = lambda: None
        self.generation = 0
        self.answers: dict[int, int] = {}
        self.mixed = False
        self.handed_over = 0
        self.moment = 0  # the controller's steps: reads and what follows fall into one
        self.aging: dict[Endpoint, int] = {}
        self.lost_in_mixture = 0
        self.capabilities = Capabilities("sim", "sim", most, 64)

    # ---- packets ----

    @staticmethod
    def bucket(addr: IPv4Address) -> int:
        """hash(host)."""
        return int(addr) * 2654435761 >> 7 & 0xFF

    def lookup(self, home: HomeMap, endpoint: Endpoint) -> tuple[HomeRange, int]:
        """The longest range, and the instance of pin or range."""
        covering = [r for r in home.ranges if endpoint.addr in r.prefix]
        found = max(covering, key=lambda r: r.prefix.prefixlen)
        for pin in home.pins:
            if pin.endpoint == endpoint:
                return found, pin.instance
        if found.instance is not None:
            return found, found.instance
        return found, home.tables[found.table or 0][self.bucket(endpoint.addr)]

    def owner(self, endpoint: Endpoint) -> int | None:
        """Where an endpoint is mapped."""
        return next((i for i, one in enumerate(self.instances) if endpoint in one.mapped), None)

    def packet(self, endpoint: Endpoint) -> int | None:  # noqa: C901
        """Bring a packet from inside through; who translated it, None when it was dropped."""
        live = self.owner(endpoint)
        at = self.lookup(self.rules_map, endpoint)[1]
        marked, hint, hops = False, None, 0
        while hops <= HOPS:
            one = self.instances[at]
            if endpoint in one.mapped:
                self.aging.pop(endpoint, None)
                return at
            found, home = self.lookup(one.view, endpoint)
            move = found.closing if found.closing and home == found.closing.from_instance else None
            pinned = any(pin.endpoint == endpoint for pin in one.view.pins)
            if move and pinned and found.prefix.prefixlen != 32:
                move = None
            if marked:
                return self.create(at, endpoint, hint)
            if move is None:
                if home == at:
                    return self.create(at, endpoint, found.external)
                at = home
            elif move.from_instance != at:
                at = move.from_instance
            elif one.serves(endpoint.addr) and not move.by_endpoint:
                return self.create(at, endpoint, found.external)
            else:
                marked, hint, at = True, one.external_of(endpoint.addr), move.to_instance
            self.handed_over += 1
            hops += 1
        if live is not None:
            raise Violation(f"a packet of {endpoint}, mapped at {live}, went round in circles")
        if not self.mixed:
            raise Violation(f"{endpoint} finds no home though all agree")
        self.lost_in_mixture += 1
        return None

    def create(self, at: int, endpoint: Endpoint, external: IPv4Address | None) -> int:
        """Make a mapping; all that the three beats must keep is checked here."""
        other = self.owner(endpoint)
        if other is not None:
            raise Violation(f"{endpoint} is mapped at {other} and would be at {at} too")
        one = self.instances[at]
        if one.state is InstanceState.SPARE:
            raise Violation(f"{endpoint} would be mapped at the spare instance {at}")
        chosen = (
            one.external_of(endpoint.addr) or external or POOL[int(endpoint.addr) * 40503 >> 3 & 1]
        )
        for elsewhere in self.instances:
            paired = elsewhere.external_of(endpoint.addr)
            if paired not in (None, chosen):
                raise Violation(f"host {endpoint.addr} would have {paired} and {chosen}")
        one.mapped[endpoint] = chosen
        return at

    def age(self, endpoint: Endpoint) -> None:
        """A mapping ends by time; a pinned one first says for a while that it will."""
        pinned = any(pin.endpoint == endpoint for pin in self.home_map.pins)
        if not pinned or self.moment > self.aging.setdefault(endpoint, self.moment):
            self.end(endpoint)

    def end(self, endpoint: Endpoint) -> None:
        """A mapping ends now."""
        self.aging.pop(endpoint, None)
        for one in self.instances:
            one.mapped.pop(endpoint, None)
        self._settle()

    def _settle(self) -> None:
        for number, one in enumerate(self.instances):
            if one.state is InstanceState.DRAINING and not one.mapped and not self._named(number):
                one.state = InstanceState.SPARE
                self._give_blocks(one)

    def _named(self, number: int) -> bool:
        home = self.home_map
        ranged = any(
            r.instance == number
            or (r.instance is None and number in home.tables[r.table or 0])
            or (r.closing and number in (r.closing.from_instance, r.closing.to_instance))
            for r in home.ranges
        )
        return ranged or any(pin.instance == number for pin in home.pins)

    def _give_blocks(self, one: SimInstance) -> None:
        active = [o for o in self.instances if o.state is InstanceState.ACTIVE and o is not one]
        if active:
            active[0].free_blocks += one.free_blocks
            one.free_blocks = 0

    # ---- Dataplane, as far as a controller uses it ----

    async def snapshot(self, cursor: str = "") -> Snapshot:
        self.chaos()
        for one in self.instances:
            one.loops += not one.stands_still
        return Snapshot(
            taken_ns=0,
            tick=0,
            generation=self.generation,
            home_version=self.home_map.version,
            rules_version=self.rules_map.version,
            policy_generation=1,
            instances=tuple(
                InstanceSnapshot(
                    i,
                    one.state,
                    loops=one.loops,
                    gauges=Gauges(
                        mappings=len(one.mapped),
                        max_mappings=LIMIT,
                        blocks_free=one.free_blocks,
                    ),
                )
                for i, one in enumerate(self.instances)
            ),
        )

    async def home(self) -> HomeMap:
        self.chaos()
        return self.home_map

    async def policy(self) -> PolicySet:
        return POLICY

    async def live(
        self,
        inside: IPv4Network,
        cursor: str = "",
        *,
        instance: int | None = None,
        realm: int = 0,
        limit: int = 4,
    ) -> Page[Host]:
        self.chaos()
        assert instance is not None
        one = self.instances[instance]
        hosts = sorted({end.addr for end in one.mapped if end.addr in inside})
        left = [addr for addr in hosts if not cursor or addr > IPv4Address(cursor)]
        page = tuple(
            Host(
                addr,
                instance,
                one.external_of(addr) or POOL[0],
                mappings_udp=sum(end.addr == addr for end in one.mapped),
            )
            for addr in left[:limit]
        )
        return Page(page, str(page[-1].addr) if len(left) > limit else None)

    async def mappings(
        self, where: MappingFilter, cursor: str = "", *, limit: int = 1024
    ) -> Page[Mapping]:
        self.chaos()
        assert where.instance is not None
        one = self.instances[where.instance]
        return Page(
            tuple(
                Mapping(
                    end,
                    Endpoint(ext, 1, end.proto),
                    None,
                    where.instance,
                    expires_in_s=0 if end in self.aging else 100,
                )
                for end, ext in one.mapped.items()
            ),
            None,
        )

    async def buckets(self, hosts: Sequence[IPv4Address], *, realm: int = 0) -> tuple[int, ...]:
        return tuple(self.bucket(host) for host in hosts)

    def _once(self, generation: int | None, call: Callable[[], int]) -> int:
        assert generation is not None
        if generation in self.answers:
            return self.answers[generation]
        if generation <= self.generation:
            raise Rejected(ErrorCode.STALE, "old")
        answer = self.answers[generation] = call()
        self.generation = generation
        return answer

    def _set_state(self, instance: int, state: InstanceState) -> int:
        self.instances[instance].state = state
        self._settle()
        return 0

    async def activate(self, instance: int, *, generation: int | None = None) -> None:
        self.chaos()
        self._once(generation, lambda: self._set_state(instance, InstanceState.ACTIVE))
        self.chaos()

    async def drain(self, instance: int, *, generation: int | None = None) -> None:
        self.chaos()
        self._once(generation, lambda: self._set_state(instance, InstanceState.DRAINING))
        self.chaos()

    async def shard(
        self,
        percent: int,
        *,
        from_instance: int,
        to_instance: int,
        generation: int | None = None,
    ) -> int:
        self.chaos()

        def move() -> int:
            source = self.instances[from_instance]
            moved = source.free_blocks * percent // 100
            source.free_blocks -= moved
            self.instances[to_instance].free_blocks += moved
            return moved

        answer = self._once(generation, move)
        self.chaos()
        return answer

    async def reset(self, instance: int, *, generation: int | None = None) -> None:
        self.chaos()

        def drop() -> int:
            self.instances[instance].epoch += 1
            self.instances[instance].mapped.clear()
            return 0

        self._once(generation, drop)

    async def set_home(self, home: HomeMap) -> None:
        self.chaos()
        if home.version < self.home_map.version:
            raise Rejected(ErrorCode.STALE, "old home map")
        keys = [(entry.realm, entry.prefix) for entry in home.ranges]
        if len(set(keys)) != len(keys) or (0, ANYWHERE) not in keys:
            raise Violation("this is no home map")
        if home.version > self.home_map.version:
            self.home_map, self.mixed = home, True
        try:
            for one in self.order():
                if one.view.version < home.version:
                    if not one.stands_still:
                        one.view = home
                    self.chaos()
        finally:
            # the dataplane goes on though the caller vanished: all will have seen it before any
            # later call is carried out
            for one in self.instances:
                if not one.stands_still:
                    one.view = self.home_map
            self.mixed = False
            self._settle()
        self.chaos()

    def order(self) -> list[SimInstance]:
        """The order in which instances see a new map; tests shuffle it."""
        return list(self.instances)

    async def set_rules(self, rules: HomeMap) -> None:
        self.chaos()
        if rules.version < self.rules_map.version:
            raise Rejected(ErrorCode.STALE, "old rules")
        if rules.version > self.rules_map.version:
            self.rules_map = rules
        self.chaos()

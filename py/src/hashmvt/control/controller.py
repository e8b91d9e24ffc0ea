# SPDX-License-Identifier: Apache-2.0
"""``HostController``: brings one host's dataplane to what `plan` says, one change at a time.

Each step observes, asks `plan`, and carries out the first change that is due. A change may be
carried out twice (its answer was lost) without harm: home maps have versions, other calls keep
their generation until they were answered. A controller that vanishes between any two steps is
replaced by a new one, which finds the rest to do in the dataplane.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hashmvt.control import homemap
from hashmvt.control import plan as plans
from hashmvt.control.homemap import Alive, Read, is_pin
from hashmvt.control.plan import InstanceView, Observed, Operation, ScaleIn, ScaleOut
from hashmvt.errors import DataplaneError, HashMvtError, Rejected, Unavailable, Unsupported
from hashmvt.model import ANYWHERE, HomeMap, InstanceState, MappingFilter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from ipaddress import IPv4Address, IPv4Network

    from hashmvt.control.plan import Change, Desired
    from hashmvt.control.wire import Heartbeat, InstanceBeat
    from hashmvt.dataplane.base import Dataplane
    from hashmvt.dispatch import Dispatcher
    from hashmvt.model import Endpoint, HomeRange, Host, InstanceSnapshot, Mapping, Snapshot

HOST_PINS_PATIENCE_S = 60.0
"""A host that stays pinned for longer may be opened."""
TIDY_S = 10.0
LASTING_S = 5
"""A mapping that expires no sooner cannot end while a home map is published."""
TIDY_SHARE = 20
"""A look through the pins may take one part in so many of the time."""
OPEN_AT_ONCE = 1024
ENDPOINTS_AT_ONCE = 65536
LOG_STEPS = 1000
GIVE_UP_AFTER = 3
"""Refusals of one change after which its operation is dropped."""

log = logging.getLogger(__name__)


class Busy(HashMvtError):  # noqa: N818 - reads as the state it reports
    """What was asked for cannot be begun now."""


@dataclass(frozen=True, slots=True)
class Step:
    """What was done, for an observer."""

    number: int
    at: float
    """Seconds since 1970."""
    text: str


class HostController:
    """One host's controller. Whoever made it runs `step` and owns the dataplane."""

    def __init__(
        self,
        plane: Dataplane,
        dispatcher: Dispatcher,
        desired: Desired,
        *,
        clock: Callable[[], float] = time.monotonic,
        period_s: float = 1.0,
    ) -> None:
        """Control a dataplane through a dispatcher."""
        self.desired = desired
        self.operation: Operation | None = None
        self.steps: deque[Step] = deque(maxlen=LOG_STEPS)
        self._plane = plane
        self._dispatcher = dispatcher
        self._clock = clock
        self._period_s = period_s
        self._home: HomeMap | None = None
        self._fewest: int | None = None  # what an operator's last command left active
        self._measured = 0
        self._sampled_at = float("-inf")
        self._sample: dict[int, tuple[int, int]] = {}  # cycles busy and in all, by instance
        self._loads: dict[int, float] = {}
        self._beats: dict[int, tuple[float, InstanceBeat]] = {}
        self._loops: dict[int, tuple[int, float]] = {}  # loop counter, and since when it stands
        self._calm_since: float | None = None
        self._pinned_since: dict[HomeRange, float] = {}
        self._tidy_at = 0.0
        self._weights: dict[IPv4Address, float] = {}
        self._retry: tuple[Change, int] | None = None
        self._refusals = 0
        self.observed: Observed | None = None

    # ---- what others ask for ----

    def offer(self, beat: Heartbeat, now: float) -> None:
        """Take a heartbeat's loads as measured."""
        for one in beat.instances:
            self._beats[one.id] = (now, one)
        self._measured += 1

    async def begin_scale_out(
        self, *, source: int | None = None, target: int | None = None, open_hosts: bool = False
    ) -> ScaleOut:
        """Begin a scale-out by command; it goes on in `step`.

        What an operator started is not scaled in again for being calm, as long as this controller
        lives.

        Raises:
            Busy: another operation is going on, or there is no such or no spare instance.

        """
        observed = await self._idle()
        source = plans.busiest(observed) if source is None else source
        target = plans.spare(observed) if target is None else target
        if target is None:
            raise Busy(
                "every instance is active already; raise dataplane.instances.max, or on VPP the "
                "number of its workers"
            )
        states = {one.id: one.state for one in observed.instances}
        if source is None or states.get(source) is not InstanceState.ACTIVE:
            raise Busy(_no_active(source, states))
        if states.get(target, InstanceState.ACTIVE) is InstanceState.ACTIVE:
            what = "is active already" if target in states else "does not exist"
            others = [n for n, state in states.items() if state is not InstanceState.ACTIVE]
            raise Busy(f"instance {target} {what}: name a spare one ({_list(others)}), or none")
        operation = ScaleOut(source, target, open_hosts=open_hosts)
        active = list(states.values()).count(InstanceState.ACTIVE)
        self._fewest = active + 1
        self._begin(operation, "by command")
        return operation

    async def begin_scale_in(self, instance: int) -> ScaleIn:
        """Begin a scale-in by command; it goes on in `step`.

        Raises:
            Busy: another operation is going on, or the instance is not active, or the only one.

        """
        observed = await self._idle()
        states = {one.id: one.state for one in observed.instances}
        if states.get(instance) is not InstanceState.ACTIVE:
            raise Busy(_no_active(instance, states))
        heir = plans.heir_of(observed, instance)
        if heir is None:
            raise Busy(f"instance {instance} is the only active one: scale out first")
        operation = ScaleIn(instance, heir)
        self._fewest = list(states.values()).count(InstanceState.ACTIVE) - 1
        self._begin(operation, "by command")
        return operation

    async def _idle(self) -> Observed:
        if self.operation:
            raise Busy(f"{self.operation} is going on; wait for it")
        observed = await self.observe(self._clock())
        if homemap.moving(observed.home):
            raise Busy("ranges are moving; wait for the swap")
        return observed

    # ---- observing ----

    async def observe(self, now: float) -> Observed:
        """Read the truth by request."""
        snapshot = await self._snapshot()
        if self._home is None or self._home.version != snapshot.home_version:
            self._home = await self._plane.home()
        self._measure(snapshot, now)
        views = tuple(self._view(one, now) for one in snapshot.instances)
        fewest = self.desired.fewest if self._fewest is None else self._fewest
        calm = plans.calm(replace(self.desired, fewest=fewest), views)
        self._calm_since = (self._calm_since or now) if calm else None
        self.observed = Observed(
            home=self._home,
            rules_version=snapshot.rules_version,
            instances=views,
            operation=self.operation,
            measured=self._measured,
            calm_since=self._calm_since,
            openable=self._openable(self._home, views, now),
            tidy_due=now >= self._tidy_at and len(self._home.ranges) > 1,
        )
        self._generation = snapshot.generation
        return self.observed

    async def _snapshot(self) -> Snapshot:
        found = await self._plane.snapshot()
        cursor = found.next
        while cursor:
            more = await self._plane.snapshot(cursor)
            found = replace(found, instances=(*found.instances, *more.instances))
            cursor = more.next
        return found

    def _measure(self, snapshot: Snapshot, now: float) -> None:
        """Load by cycles between two looks, where no heartbeat says it."""
        if now - self._sampled_at < self._period_s:
            return
        fresh = any(now - at < 2.5 * self._period_s for at, _beat in self._beats.values())
        if self._sample and not fresh:
            self._measured += 1
        for one in snapshot.instances:
            busy, total = self._sample.get(one.id, (one.cycles_busy, one.cycles_total))
            spent = one.cycles_total - total
            self._loads[one.id] = (one.cycles_busy - busy) / spent if spent > 0 else 0.0
            self._sample[one.id] = (one.cycles_busy, one.cycles_total)
        self._sampled_at = now

    def _view(self, one: InstanceSnapshot, now: float) -> InstanceView:
        at, beat = self._beats.get(one.id, (float("-inf"), None))
        fresh = beat is not None and now - at < 2.5 * self._period_s
        loops, since = self._loops.get(one.id, (-1, now))
        if one.loops != loops:
            since = now
        self._loops[one.id] = (one.loops, since)
        stalled_s = 0.0 if one.state is InstanceState.SPARE else now - since
        return InstanceView(
            one.id,
            one.state,
            load=beat.load if beat and fresh else self._loads.get(one.id, 0.0),
            mappings=one.gauges.mappings,
            limit=one.gauges.max_mappings,
            free_blocks=one.gauges.blocks_free,
            stalled_s=stalled_s,
            failed=stalled_s >= self.desired.failure_s,
        )

    def _openable(self, home: HomeMap, views: Iterable[InstanceView], now: float) -> frozenset[int]:
        """Instances that would be relieved if hosts that are pinned for long were opened."""
        since = self._pinned_since
        pins = homemap.host_pins(home)
        self._pinned_since = {pin: since.get(pin, now) for pin in pins}
        old = [pin for pin, at in self._pinned_since.items() if now - at >= HOST_PINS_PATIENCE_S]
        moves = [pin.closing for pin in old if pin.closing]
        draining = {one.id for one in views if one.state is InstanceState.DRAINING}
        return frozenset(move.from_instance for move in moves) | (
            frozenset(move.to_instance for move in moves) & draining
        )

    # ---- acting ----

    async def step(self) -> Change | None:
        """Observe and carry out what is due first; None when nothing is.

        Raises:
            Unavailable: the dataplane does not answer; the same change is tried next time.

        """
        now = self._clock()
        observed = await self.observe(now)
        changes = plans.plan(self.desired, observed, now)
        if not changes:
            return None
        change = changes[0]
        try:
            await self._perform(change, observed)
        except Unavailable:
            raise
        except Rejected as error:
            self._refused(change, error)
            return change
        self._retry, self._refusals = None, 0
        self.operation = plans.after(self.operation, change)
        if isinstance(change, plans.Finish | plans.OpenPinned | plans.TakeOver):
            self._measured, self._calm_since = 0, None
        return change

    def _refused(self, change: Change, error: DataplaneError) -> None:
        self._refusals += 1
        self._home = None  # somebody else may have changed it
        self._say(f"{type(change).__name__} was refused: {error}")
        if self._refusals >= GIVE_UP_AFTER and self.operation:
            self._say(f"{self.operation}: given up")
            self.operation, self._retry, self._refusals = None, None, 0

    def _number(self, change: Change) -> int:
        """The generation of a change: the same until it was answered."""
        if self._retry is None or self._retry[0] != change:
            self._retry = (change, self._generation + 1)
        return self._retry[1]

    async def _perform(self, change: Change, observed: Observed) -> None:  # noqa: C901, PLR0912
        match change:
            case plans.Begin(operation, why):
                self._begin(operation, why)
            case plans.Activate(instance):
                await self._plane.activate(instance, generation=self._number(change))
                self._say(f"(i) instance {instance} is active; (ii) nothing moved yet")
            case plans.Shard(source, target, percent):
                await self._shard(change, source, target, percent)
            case plans.CloseHalf(source, target):
                await self._close_half(observed.home, source, target)
            case plans.CloseAll(source, target):
                closed = homemap.close_all(observed.home, source=source, target=target)
                await self._publish(closed)
                self._say(f"closed all ranges of instance {source} towards {target}")
            case plans.Swap():
                await self._swap(observed.home)
            case plans.InstallRules():
                await self._install(observed.home)
            case plans.RaiseHome():
                await self._publish(replace(observed.home, version=observed.rules_version + 1))
            case plans.Drain(instance):
                await self._plane.drain(instance, generation=self._number(change))
                self._say(f"instance {instance} drains: its blocks leave as they become free")
            case plans.OpenPinned(instance):
                await self._open(observed.home, instance)
            case plans.TakeOver(instance, heirs):
                await self._take_over(change, observed, instance, heirs)
            case plans.Tidy():
                await self._tidy(observed.home)
            case plans.Finish():
                self._say(f"{self.operation}: done")

    def _begin(self, operation: Operation, why: str) -> None:
        self.operation = operation
        self._measured, self._calm_since = 0, None
        self._say(f"{operation}: begun, {why}")

    async def _shard(self, change: Change, source: int, target: int, percent: int) -> None:
        moved = await self._plane.shard(
            percent, from_instance=source, to_instance=target, generation=self._number(change)
        )
        self._say(
            f"(iii) {moved} blocks, {percent} % of the free ones, "
            f"went from instance {source} to {target}; mappings stay"
        )

    async def _close_half(self, home: HomeMap, source: int, target: int) -> None:
        pinned = {entry.prefix.network_address for entry in home.ranges if is_pin(entry)}
        hosts = await self._live(source)
        weights = {h.addr: float(h.mappings) for h in hosts if h.addr not in pinned}
        for regions in (homemap.cut_in_half(weights), await self._half_of_space(home, source)):
            wanted = [(0, prefix) for prefix in regions]
            closed = homemap.close(home, wanted, source=source, target=target)
            if closed is not home:
                await self._publish(closed)
                names = ", ".join(map(str, regions))
                self._say(
                    f"(iv) closed {names} from instance {source} to {target}, "
                    f"home map {closed.version} acknowledged by all"
                )
                return
        self.operation = ScaleIn(target, source)
        self._say(f"instance {source} has no range that could be cut: {target} is taken back")

    async def _half_of_space(self, home: HomeMap, source: int) -> list[IPv4Network]:
        """Half of the widest inside space that is the source's: for when no host lives there."""
        inside = [rule.inside for rule in (await self._plane.policy()).inside]
        pieces = [
            entry.prefix if entry.prefix.subnet_of(prefix) else prefix
            for entry in home.ranges
            if not is_pin(entry) and source in homemap.owner_of(home, entry).instances
            for prefix in inside
            if entry.prefix.overlaps(prefix)
        ]
        halves = [p for p in pieces if p.prefixlen < homemap.HOST_BITS - 1]
        if not halves:
            return []
        return [list(min(halves, key=lambda p: p.prefixlen).subnets())[1]]

    async def _swap(self, home: HomeMap) -> None:
        await self._plane.set_home(home)  # whoever closed it may not have seen it acknowledged
        read = await self._read(homemap.moving(home))
        swapped = homemap.swap(home, read)
        await self._publish(swapped)
        moved = {
            f"{m.from_instance} to {m.to_instance}" for entry in home.ranges if (m := entry.closing)
        }
        self._say(
            f"swapped {', '.join(sorted(moved))}: home map {swapped.version} in force, "
            f"{sum(map(is_pin, swapped.ranges))} hosts and {len(swapped.pins)} endpoints pinned; "
            f"(v) new flows of the moved ranges go to their new owner"
        )

    async def _read(self, closing: Iterable[HomeRange]) -> Read:
        """The second beat: what lives at the old owners."""
        sources: dict[tuple[int, int], list[HomeRange]] = {}
        for entry in closing:
            if entry.closing:
                sources.setdefault((entry.realm, entry.closing.from_instance), []).append(entry)
        hosts: set[tuple[int, IPv4Address, int]] = set()
        endpoints: set[tuple[int, Endpoint, int]] = set()
        for (realm, source), ranges in sources.items():
            opened = {
                e.prefix.network_address for e in ranges if e.closing and e.closing.by_endpoint
            }
            if len(opened) < len(ranges):
                found = await self._live(source, realm=realm)
                hosts |= {(realm, host.addr, source) for host in found}
                self._weights.update({host.addr: float(host.mappings) for host in found})
            if opened:
                endpoints |= {
                    (realm, mapping.inside, source)
                    for mapping in await self._mappings(source, realm)
                    if mapping.inside.addr in opened
                }
        return Read(frozenset(hosts), frozenset(endpoints))

    async def _install(self, home: HomeMap) -> None:
        pins = {entry.prefix.network_address for entry in home.ranges if is_pin(entry)}
        self._weights = {a: w for a, w in self._weights.items() if a in pins}
        done = await self._dispatcher.install(home, self._weights)
        lost = f", {done.given_up:.1%} of the known traffic is handed over" * bool(done.given_up)
        self._say(
            f"the dispatcher has {done.rules} rules and {done.endpoints} endpoints "
            f"of home map {done.version}{lost}"
        )

    async def _open(self, home: HomeMap, instance: int) -> None:
        """Open hosts that are pinned at an instance, or (while it drains) that would come to it."""
        now = self._clock()
        pins: dict[tuple[int, IPv4Address], int] = {}
        for pin in homemap.host_pins(home):
            move = pin.closing
            if move and instance in {move.from_instance, move.to_instance}:
                pins[pin.realm, pin.prefix.network_address] = move.from_instance
                self._pinned_since[pin] = now
        chosen: dict[tuple[int, IPv4Address], IPv4Address] = {}
        room = ENDPOINTS_AT_ONCE - len(home.pins)
        for source in sorted(set(pins.values())):
            hosts = await self._live(source)
            for host in sorted(hosts, key=lambda h: (-h.mappings, h.addr)):
                if pins.get((host.realm, host.addr)) == source and len(chosen) < OPEN_AT_ONCE:
                    room -= host.mappings
                    if room >= 0:
                        chosen[host.realm, host.addr] = host.external
        opened = homemap.open_hosts(home, chosen)
        if opened is not home:
            await self._publish(opened)
            self._say(f"{len(chosen)} hosts that stayed at their old owner are being opened")

    async def _take_over(
        self, change: Change, observed: Observed, instance: int, heirs: tuple[int, ...]
    ) -> None:
        home = homemap.without(observed.home, instance, heirs)
        home = replace(home, version=max(home.version, observed.rules_version))
        await self._dispatcher.install(home, self._weights)
        self._say(f"instance {instance} stands still: the dispatcher sends it nothing more")
        await self._plane.reset(instance, generation=self._number(change))
        self._say(f"instance {instance}: ownership epoch raised, its mappings are void")
        await self._publish(home)
        self._say(f"instance {instance}: its ranges went to {', '.join(map(str, heirs))}")
        if self.operation and instance in {
            getattr(self.operation, "source", None),
            getattr(self.operation, "target", None),
            getattr(self.operation, "instance", None),
            getattr(self.operation, "heir", None),
        }:
            self.operation = None

    async def _tidy(self, home: HomeMap) -> None:
        """Take back pins whose hosts or endpoints are gone."""
        started = self._clock()
        hosts: set[tuple[int, IPv4Address, int]] = set()
        endpoints: set[tuple[int, Endpoint, int]] = set()
        lasting: set[Endpoint] = set()
        for realm, instance in sorted(
            {(pin.realm, pin.instance or 0) for pin in homemap.host_pins(home)}
        ):
            found = await self._live(instance, realm=realm)
            hosts |= {(realm, host.addr, instance) for host in found}
        for realm, instance in sorted({(pin.realm, pin.instance) for pin in home.pins}):
            for mapping in await self._mappings(instance, realm):
                endpoints.add((realm, mapping.inside, instance))
                if mapping.expires_in_s is None or mapping.expires_in_s >= LASTING_S:
                    lasting.add(mapping.inside)
        bucket = await self._buckets(
            [entry.prefix.network_address for entry in home.ranges if is_pin(entry)]
        )
        alive = Alive(frozenset(hosts), frozenset(endpoints), frozenset(lasting))
        settled = homemap.settle(home, alive, bucket)
        if settled is not home:
            await self._publish(settled)
            before, left = (sum(map(is_pin, h.ranges)) for h in (home, settled))
            self._say(
                f"what is no longer needed is taken back: {len(home.ranges) - before} to "
                f"{len(settled.ranges) - left} ranges, {before} to {left} pinned hosts, "
                f"{len(home.pins)} to {len(settled.pins)} pinned endpoints"
            )
            return  # the next step of the same pins is due at once
        took = self._clock() - started
        self._tidy_at = self._clock() + max(TIDY_S, TIDY_SHARE * took)

    # ---- small helpers ----

    async def _publish(self, home: HomeMap) -> None:
        await self._plane.set_home(home)
        self._home = home

    async def _live(self, instance: int, *, realm: int = 0) -> list[Host]:
        found: list[Host] = []
        cursor: str | None = ""
        while cursor is not None:
            page = await self._plane.live(ANYWHERE, cursor, instance=instance, realm=realm)
            found += page.items
            cursor = page.next
        return found

    async def _mappings(self, instance: int, realm: int) -> list[Mapping]:
        found: list[Mapping] = []
        where = MappingFilter(instance=instance, realm=realm)
        cursor: str | None = ""
        while cursor is not None:
            page = await self._plane.mappings(where, cursor)
            found += page.items
            cursor = page.next
        return found

    async def _buckets(self, hosts: list[IPv4Address]) -> Callable[[int, IPv4Address], int | None]:
        known: dict[IPv4Address, int] = {}
        if hosts:
            with contextlib.suppress(Unsupported):
                known = dict(zip(hosts, await self._plane.buckets(hosts), strict=True))
        return lambda realm, addr: None if realm else known.get(addr)

    def _say(self, text: str) -> None:
        number = self.steps[-1].number + 1 if self.steps else 1
        self.steps.append(Step(number, time.time(), text))
        log.info("%s: %s", self._plane.capabilities.host, text)


def _no_active(instance: int | None, states: dict[int, InstanceState]) -> str:
    """Why an instance can be neither relieved nor scaled in."""
    active = [number for number, state in states.items() if state is InstanceState.ACTIVE]
    if instance is None:
        return "no instance is active: restart the agent"
    what = f"is {states[instance].name.lower()}" if instance in states else "does not exist"
    return f"instance {instance} {what}: name an active one ({_list(active)})"


def _list(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers)) or "there is none"

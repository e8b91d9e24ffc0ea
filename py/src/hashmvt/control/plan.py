# SPDX-License-Identifier: Apache-2.0
"""What to do next: a pure function of what is wanted, what is observed, and the time.

`plan` looks at one host's dataplane and returns the changes that it needs now, the first of which
is to be carried out before the next look. Nearly everything it knows stands in the dataplane
itself, so that whoever starts anew, after a crash at any point, goes on where the last one was:

    a range waits for its swap     read and swap (second and third beat)
    rules older than the home map  give the dispatcher the new ones
    active, and no range names it  a scale-out was begun: go on with it; or, if it has mappings or
                                   pins, a scale-in: go on with that. A scale-out to one that still
                                   drained looks the same; to take it back loses nothing
    draining                       it empties by itself; its pins are retired as hosts go

An `Operation` is the intent of one scale-out or scale-in. It is only kept in memory, because the
list above finds it again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from hashmvt.control.homemap import moving, named
from hashmvt.model import HomeMap, InstanceState

FRESH = 2
"""Load must be measured so often after a change before it triggers another one."""
CALM_SHARE = 0.5
"""Scale-in only when the rest would then be below this share of the thresholds."""
CALM_S = 30.0
"""And only when that was so for this long."""


@dataclass(frozen=True, slots=True)
class Desired:
    """What the configuration asks for."""

    cpu: float = 0.8
    memory: float = 0.8
    retain: float = 0.2
    """Share of free blocks that a scaled-out instance keeps."""
    fewest: int = 1
    """Scale-in by itself goes no further."""
    failure_s: float = 8.0
    """A thread whose loop stood still for so long has failed."""


@dataclass(frozen=True, slots=True)
class InstanceView:
    """One instance, as last measured."""

    id: int
    state: InstanceState
    load: float = 0.0
    mappings: int = 0
    limit: int = 0
    free_blocks: int = 0
    stalled_s: float = 0.0
    """For how long its loop counter stood still."""
    failed: bool = False
    """It stood still for longer than `Desired.failure_s`."""

    @property
    def memory(self) -> float:
        """Live mappings over the limit."""
        return self.mappings / self.limit if self.limit else 0.0


@dataclass(frozen=True, slots=True)
class ScaleOut:
    """Part of `source`'s hosts and blocks go to `target`."""

    source: int
    target: int
    open_hosts: bool = False
    """Also open the hosts that stay pinned, so that their new flows go at once."""
    sharded: bool = False
    closed: bool = False

    def __str__(self) -> str:
        """For the log."""
        return f"scale-out of instance {self.source} to {self.target}"


@dataclass(frozen=True, slots=True)
class ScaleIn:
    """Everything of `instance` goes to `heir`."""

    instance: int
    heir: int

    def __str__(self) -> str:
        """For the log."""
        return f"scale-in of instance {self.instance} to {self.heir}"


Operation = ScaleOut | ScaleIn


@dataclass(frozen=True, slots=True)
class Observed:
    """What is known about a host's dataplane."""

    home: HomeMap
    rules_version: int
    instances: tuple[InstanceView, ...]
    operation: Operation | None = None
    measured: int = 0
    """How often load was measured since the last change."""
    calm_since: float | None = None
    """Since when scale-in would be right (`calm`)."""
    openable: frozenset[int] = frozenset()
    """Instances with hosts that have been pinned there for long."""
    tidy_due: bool = False
    """Pins were not looked through for a while."""


# ---- changes ----


@dataclass(frozen=True, slots=True)
class TakeOver:
    """An instance failed: nothing more to it, its epoch raised, its ranges to the heirs."""

    instance: int
    heirs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Swap:
    """Read what lives at the old owners of the closing ranges, and end them."""


@dataclass(frozen=True, slots=True)
class InstallRules:
    """Give the dispatcher the rules of the home map in force."""


@dataclass(frozen=True, slots=True)
class RaiseHome:
    """Publish the same home map again, with a version above the rules'."""


@dataclass(frozen=True, slots=True)
class Activate:
    """Start an instance."""

    instance: int


@dataclass(frozen=True, slots=True)
class Shard:
    """Give a share of the source's free blocks to the target."""

    source: int
    target: int
    percent: int


@dataclass(frozen=True, slots=True)
class CloseHalf:
    """Choose ranges with half of the source's load, and close them towards the target."""

    source: int
    target: int


@dataclass(frozen=True, slots=True)
class CloseAll:
    """Close everything of the source towards the target."""

    source: int
    target: int


@dataclass(frozen=True, slots=True)
class Drain:
    """No more blocks and hosts for an instance."""

    instance: int


@dataclass(frozen=True, slots=True)
class OpenPinned:
    """Open the hosts that are pinned at an instance."""

    instance: int


@dataclass(frozen=True, slots=True)
class Finish:
    """The operation is carried out."""


@dataclass(frozen=True, slots=True)
class Begin:
    """A trigger was met, or an unfinished operation was found."""

    operation: Operation
    why: str


@dataclass(frozen=True, slots=True)
class Tidy:
    """Look for pins whose hosts are gone, and take them back."""


Change = (
    TakeOver
    | Swap
    | InstallRules
    | RaiseHome
    | Activate
    | Shard
    | CloseHalf
    | CloseAll
    | Drain
    | OpenPinned
    | Finish
    | Begin
    | Tidy
)


# ---- decisions ----


def plan(desired: Desired, observed: Observed, now: float) -> tuple[Change, ...]:
    """The changes that are due, the first one first; empty when all is as it should be."""
    return (
        _failed(observed)
        or _beats(observed)
        or (observed.operation and _go_on(desired, observed, observed.operation))
        or _unfinished(observed)
        or _trigger(desired, observed, now)
        or _emptying(observed)
        or ((Tidy(),) if observed.tidy_due else ())
    )


def _beats(observed: Observed) -> tuple[Change, ...]:
    """What the home map itself says must follow."""
    if observed.rules_version > observed.home.version:
        return (RaiseHome(),)  # a takeover ended half-way: its rules are ahead
    if moving(observed.home):
        return (Swap(),)
    if observed.rules_version < observed.home.version:
        return (InstallRules(),)
    return ()


def _emptying(observed: Observed) -> tuple[Change, ...]:
    """Hosts that stay at a draining instance for long are opened, so that it can end."""
    return tuple(
        OpenPinned(one.id)
        for one in observed.instances
        if one.state is InstanceState.DRAINING and one.id in observed.openable
    )


def _failed(observed: Observed) -> tuple[Change, ...]:
    """Takeover of instances whose thread stands still, where somebody is left to inherit."""
    dead = [one for one in observed.instances if one.failed]
    heirs = tuple(one.id for one in _active(observed))
    there = named(observed.home)
    if not heirs:
        return ()  # all of a process stand still together: nobody could take over
    return tuple(TakeOver(one.id, heirs) for one in dead if one.id in there)


def _go_on(desired: Desired, observed: Observed, operation: Operation) -> tuple[Change, ...]:
    if isinstance(operation, ScaleOut):
        return _go_on_out(desired, observed, operation)
    changes: list[Change] = []
    state = _view(observed, operation.instance).state
    if operation.instance in named(observed.home, pins=False):
        changes.append(CloseAll(operation.instance, operation.heir))
    if state is InstanceState.ACTIVE:
        changes.append(Drain(operation.instance))
    return (*changes, Finish())


def _go_on_out(desired: Desired, observed: Observed, operation: ScaleOut) -> tuple[Change, ...]:
    changes: list[Change] = []
    if _view(observed, operation.target).state is not InstanceState.ACTIVE:
        changes.append(Activate(operation.target))
    if not operation.sharded:
        percent = round(100 * (1 - desired.retain))
        changes.append(Shard(operation.source, operation.target, percent))
    if not operation.closed:
        changes.append(CloseHalf(operation.source, operation.target))
    if operation.open_hosts:
        changes.append(OpenPinned(operation.source))
    return (*changes, Finish())


def after(operation: Operation | None, change: Change) -> Operation | None:
    """The operation once a change of it was carried out."""
    if isinstance(change, Begin):
        return change.operation
    if isinstance(change, Finish) or operation is None:
        return None
    if isinstance(operation, ScaleOut):
        if isinstance(change, Shard):
            return replace(operation, sharded=True)
        if isinstance(change, CloseHalf):
            return replace(operation, closed=True)
        if isinstance(change, OpenPinned):
            return replace(operation, open_hosts=False)
    return operation


def _unfinished(observed: Observed) -> tuple[Change, ...]:
    """Operations that somebody began and did not end."""
    ranged, anywhere = named(observed.home, pins=False), named(observed.home)
    active = _active(observed)
    for one in active:
        if one.id in ranged:
            continue
        others = [other for other in active if other.id in ranged]
        if not others:
            continue
        if one.mappings or one.id in anywhere:
            heir = min(others, key=_weight).id
            why = (
                "it serves hosts and no range names it: a scale-in of it was not ended, or a "
                "scale-out to it was not before its first range moved, which is taken back"
            )
            return (Begin(ScaleIn(one.id, heir), why),)
        source = max(others, key=_weight).id
        found = ScaleOut(source, one.id, sharded=one.free_blocks > 0)
        return (Begin(found, "it was begun and not ended"),)
    return ()


def _trigger(desired: Desired, observed: Observed, now: float) -> tuple[Change, ...]:
    if observed.measured < FRESH:
        return ()
    active = _active(observed)
    hot = [one for one in active if one.load >= desired.cpu or one.memory >= desired.memory]
    if hot:
        worst = max(hot, key=_weight)
        if worst.id in observed.openable:
            return (OpenPinned(worst.id),)
        target = spare(observed)
        if target is None:
            return ()
        what, share, limit = (
            ("load", worst.load, desired.cpu)
            if worst.load >= desired.cpu
            else ("memory", worst.memory, desired.memory)
        )
        why = f"{what} of instance {worst.id} is {share:.0%}, threshold {limit:.0%}"
        return (Begin(ScaleOut(worst.id, target), why),)
    if observed.calm_since is not None and now - observed.calm_since >= CALM_S:
        leaving = min(active, key=lambda one: (_weight(one), -one.id))
        heir = min((one for one in active if one is not leaving), key=_weight)
        why = f"the others carry its load below {CALM_SHARE:.0%} of the thresholds"
        return (Begin(ScaleIn(leaving.id, heir.id), why),)
    return ()


def calm(desired: Desired, instances: tuple[InstanceView, ...]) -> bool:
    """Would one instance less still be far below the thresholds?"""
    active = [one for one in instances if one.state is InstanceState.ACTIVE]
    left = len(active) - 1
    if left < max(desired.fewest, 1):
        return False
    load = sum(one.load for one in active) / left
    memory = sum(one.memory for one in active) / left
    return load <= desired.cpu * CALM_SHARE and memory <= desired.memory * CALM_SHARE


def spare(observed: Observed) -> int | None:
    """The instance that a scale-out would start, if there is one; draining ones last."""
    idle = [one for one in observed.instances if one.state is InstanceState.SPARE]
    draining = [one for one in observed.instances if one.state is InstanceState.DRAINING]
    return next((one.id for one in (*idle, *draining) if not one.failed), None)


def busiest(observed: Observed) -> int | None:
    """The active instance that a scale-out would relieve."""
    active = _active(observed)
    return max(active, key=_weight).id if active else None


def heir_of(observed: Observed, instance: int) -> int | None:
    """Who would take over from an instance that is scaled in."""
    others = [one for one in _active(observed) if one.id != instance]
    return min(others, key=_weight).id if others else None


def _active(observed: Observed) -> list[InstanceView]:
    return [
        one for one in observed.instances if one.state is InstanceState.ACTIVE and not one.failed
    ]


def _view(observed: Observed, instance: int) -> InstanceView:
    return next(one for one in observed.instances if one.id == instance)


def _weight(one: InstanceView) -> tuple[float, int]:
    return max(one.load, one.memory), one.mappings

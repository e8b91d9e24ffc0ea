# SPDX-License-Identifier: Apache-2.0
"""``Nat44Config`` -> ``PolicySet``: pure.

A pool address keeps its slot as long as it is configured or drains, because a dataplane's tables
are indexed by slots. So a new plan is made from the one in force: addresses that stay keep their
slots, those that vanished go on as draining runs until they are known to be empty, new ones take
the lowest slots that are free.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from hashmvt.policy import InsidePolicy, Policy, PolicySet, PoolRun

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hashmvt.config.values import AddressRange, Nat44Config, PolicyConfig
    from hashmvt.model import Block


def plan_policy(
    nat44: Nat44Config,
    *,
    generation: int,
    previous: PolicySet | None = None,
    empty: frozenset[int] = frozenset(),
) -> PolicySet:
    """Return the policies of a configuration.

    Args:
        nat44: the configuration.
        generation: of the result; above that of ``previous``.
        previous: the policies in force, if any.
        empty: slots of ``previous`` that drained and hold nothing (``drained_slots``).

    """
    old = _slots(previous.runs) if previous else {}
    configured = [int(r.first) + i for r in nat44.pool for i in range(r.count)]
    slots, draining = _assign(configured, old, empty)
    policies = [nat44.default, *nat44.policies]
    own = {prefix for policy in nat44.policies for prefix in policy.inside}
    return PolicySet(
        generation=generation,
        policies=tuple(_policy(policy, slots) for policy in policies),
        inside=tuple(
            InsidePolicy(prefix, index)
            for index, policy in enumerate(policies)
            for prefix in policy.inside
            if index or prefix not in own
        ),
        runs=(*_runs(slots, draining=False), *_runs(draining, draining=True)),
        exempt=nat44.exempt,
        statics=nat44.statics,
        endpoints=nat44.static_endpoints,
    )


def rebase_policy(
    policy: PolicySet,
    previous: PolicySet,
    *,
    generation: int,
    empty: frozenset[int] = frozenset(),
) -> PolicySet:
    """Return policies that were planned for another life of the dataplane, for this one.

    Args:
        policy: whose pool, less what drains, is wanted.
        previous: the policies in force, which addresses have their slots from.
        generation: of the result; above that of ``previous``.
        empty: slots of ``previous`` that drained and hold nothing.

    """
    planned = _slots(run for run in policy.runs if not run.draining)
    slots, draining = _assign(list(planned), _slots(previous.runs), empty)
    moved = {planned[addr]: slot for addr, slot in slots.items()}
    return replace(
        policy,
        generation=generation,
        policies=tuple(
            replace(one, slots=tuple(moved[slot] for slot in one.slots)) for one in policy.policies
        ),
        runs=(*_runs(slots, draining=False), *_runs(draining, draining=True)),
    )


def drained_slots(policy: PolicySet, in_use: Iterable[Block]) -> frozenset[int]:
    """Return the draining slots of ``policy`` that no block in use belongs to."""
    used = {int(block.external) for block in in_use}
    return frozenset(
        slot
        for addr, slot in _slots(run for run in policy.runs if run.draining).items()
        if addr not in used
    )


def slot_table(policy: PolicySet) -> dict[IPv4Address, int]:
    """Return the slot of every pool address, draining ones included."""
    return {IPv4Address(addr): slot for addr, slot in _slots(policy.runs).items()}


def _slots(runs: Iterable[PoolRun]) -> dict[int, int]:
    return {int(r.first) + i: r.slot + i for r in runs for i in range(r.count)}


def _assign(
    configured: list[int], old: dict[int, int], empty: frozenset[int]
) -> tuple[dict[int, int], dict[int, int]]:
    """Return the slots of configured addresses, and of those that vanished and drain."""
    slots = {addr: old[addr] for addr in configured if addr in old}
    wanted = set(configured)
    draining = {
        addr: slot for addr, slot in old.items() if addr not in wanted and slot not in empty
    }
    # a static 1:1 rule may take over an address that left the pool only when it is empty: the
    # core refuses the overlap, which is what its operator must hear
    # a slot that has just become empty is not given to another address yet: the dataplane may
    # forget it a moment later
    free = _free(set(slots.values()) | set(draining.values()) | empty)
    for addr in configured:
        if addr not in slots:
            slots[addr] = next(free)
    return slots, draining


def _free(taken: set[int]) -> Iterator[int]:
    slot = 0
    while True:
        if slot not in taken:
            yield slot
        slot += 1


def _policy(config: PolicyConfig, slots: dict[int, int]) -> Policy:
    return Policy(
        slots=tuple(_ordered(config.pool, slots)),
        timeouts=config.timeouts,
        filtering=config.filtering,
        mappings_per_host=config.limits.mappings_per_host,
        mappings_per_host_all=config.limits.mappings_per_host_all,
        new_per_second_per_host=config.limits.new_per_second_per_host,
        max_blocks_per_host=config.max_blocks_per_host,
        paired_only=not config.fallback,
    )


def _ordered(pool: tuple[AddressRange, ...], slots: dict[int, int]) -> Iterator[int]:
    for item in sorted(pool):
        for i in range(item.count):
            yield slots[int(item.first) + i]


def _runs(slots: dict[int, int], *, draining: bool) -> list[PoolRun]:
    """Join neighbours whose slots are neighbours too."""
    runs: list[PoolRun] = []
    for addr, slot in sorted(slots.items()):
        last = runs[-1] if runs else None
        if last and addr == int(last.first) + last.count and slot == last.slot + last.count:
            runs[-1] = PoolRun(last.first, last.count + 1, last.slot, draining)
        else:
            runs.append(PoolRun(IPv4Address(addr), 1, slot, draining))
    return runs

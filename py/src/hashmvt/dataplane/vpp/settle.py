# SPDX-License-Identifier: Apache-2.0
"""How VPP's NAT becomes what the settings say, one thing at a time; ``nat`` says in which order."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hashmvt.config.plan import drained_slots, rebase_policy
from hashmvt.dataplane.vpp import convert
from hashmvt.dataplane.vpp.listings import PAGE, everything, read_policy
from hashmvt.dataplane.vpp.replies import check
from hashmvt.errors import Unavailable
from hashmvt.policy import PolicySet

if TYPE_CHECKING:
    from hashmvt.dataplane.vpp.link import Link
    from hashmvt.dataplane.vpp.settings import VppSettings

log = logging.getLogger(__name__)


def enable(link: Link, settings: VppSettings) -> None:
    """Enable the NAT.

    Raises:
        Rejected: VPP refused a setting; says which.

    """
    words = settings.words
    reply = link.call(
        "hashmvt_enable",
        instances=settings.instances_initial,
        max_mappings=settings.max_mappings,
        block_size=settings.block_size,
        max_addresses=settings.max_addresses,
        fragment_timeout=settings.fragment_timeout,
        hold_seconds=settings.hold_seconds,
        hold_share_1024=settings.hold_share_1024,
        allocation_by_block=int(settings.by_host),
        exact=True,
        log=settings.log,
        n_words=len(words),
        allocatable=list(words),
    )
    check(reply, "the NAT cannot be enabled in VPP", reply.error)
    log.info("enabled the NAT in VPP")


def check_fixed(state: Any, settings: VppSettings) -> None:
    """Check what cannot change while the NAT is enabled.

    Raises:
        Unavailable: it is not as the settings have it.

    """
    fixed = (
        ("nat44.block_size", state.block_size, settings.block_size),
        ("nat44.max_mappings", state.max_mappings, settings.max_mappings),
        ("nat44.allocation: block", bool(state.allocation_by_block), settings.by_host),
        ("nat44.timeouts.fragment", state.fragment_timeout, settings.fragment_timeout),
        ("nat44.hold_down.seconds", state.hold_seconds, settings.hold_seconds),
        ("nat44.hold_down.max_share", state.hold_share_1024, settings.hold_share_1024),
        ("nat44.ports", state.ports_digest, settings.ports_digest),
        ("log.events", state.log, settings.log),
    )
    differ = [key for key, have, want in fixed if have != want]
    if differ:
        raise Unavailable(
            f"the NAT that runs in VPP was enabled with another {', '.join(differ)}: put back "
            f"what was there, or end it with `vppctl hashmvt disable` and start the agent anew"
        )


def policies(
    link: Link, wanted: PolicySet, generation: int, block_size: int
) -> tuple[PolicySet, PolicySet]:
    """Return the policies in force, of that generation, and those to replace them by."""
    if generation == 0:  # a new NAT: nothing can drain in it
        runs = tuple(run for run in wanted.runs if not run.draining)
        return PolicySet(0, (), (), ()), replace(wanted, runs=runs)
    before = read_policy(link)
    blocks = everything(link, "hashmvt_block_get", max=PAGE, instance=convert.EVERY_INSTANCE)
    in_use = [convert.block_from(one, block_size) for one in blocks]
    empty = drained_slots(before, in_use)
    return before, rebase_policy(wanted, before, generation=generation + 1, empty=empty)


def same(a: PolicySet, b: PolicySet) -> bool:
    """Do two sets mean the same? Their order and generations do not matter."""

    def meaning(policy: PolicySet) -> tuple[object, ...]:
        return (
            tuple(replace(one, slots=tuple(sorted(one.slots))) for one in policy.policies),
            frozenset(policy.inside),
            frozenset(
                (run.first + i, run.slot + i, run.draining)
                for run in policy.runs
                for i in range(run.count)
            ),
            frozenset(policy.exempt),
            frozenset(policy.statics),
            frozenset(policy.endpoints),
        )

    return meaning(a) == meaning(b)


def bring_interfaces(link: Link, settings: VppSettings) -> None:
    """Make VPP's inside and outside interfaces those of the settings.

    Raises:
        Unavailable: VPP has no such interface.
        Rejected: VPP refused one.

    """
    index = {one.interface_name: one.sw_if_index for one in link.call("sw_interface_dump")}
    for name in (*settings.inside, *settings.outside):
        if name not in index:
            raise Unavailable(
                f"VPP has no interface {name!r}: create it, or name others in dataplane.vpp "
                f"(there are {', '.join(sorted(index))})"
            )
    wanted = {index[name]: True for name in settings.inside}
    wanted |= {index[name]: False for name in settings.outside}
    names = {number: name for name, number in index.items()}
    have = {
        one.sw_if_index: bool(one.is_inside) for one in everything(link, "hashmvt_interface_get")
    }
    for sides, is_add in ((have, False), (wanted, True)):
        for number, is_inside in sides.items():
            if have.get(number) == wanted.get(number):
                continue
            side = "inside" if is_inside else "outside"
            name = names.get(number, number)
            check(
                link.call(
                    "hashmvt_interface_add_del",
                    is_add=is_add,
                    is_inside=is_inside,
                    sw_if_index=number,
                ),
                f"interface {name} cannot be {'' if is_add else 'no more '}{side}",
            )
            log.info("interface %s is %s%s now", name, "" if is_add else "no more ", side)

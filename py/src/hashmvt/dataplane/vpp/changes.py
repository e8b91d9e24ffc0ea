# SPDX-License-Identifier: Apache-2.0
"""What is replaced whole in VPP's NAT: maps and policies; and static mappings with a port."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hashmvt.dataplane.vpp import convert
from hashmvt.dataplane.vpp.replies import NO_SUCH_ENTRY, check
from hashmvt.errors import Rejected
from hashmvt.names import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hashmvt.dataplane.vpp.convert import Fields
    from hashmvt.dataplane.vpp.link import Link
    from hashmvt.model import Endpoint, HomeMap, StaticMapping
    from hashmvt.policy import PolicySet

HOME, RULES, POLICY = 0, 1, 2
_PARTS = 1024
"""Parts of a change in one message."""


def replace_whole(
    link: Link,
    kind: int,
    version: int,
    what: str,
    parts: Iterable[tuple[str, Iterable[Any]]],
    *,
    tables: Iterable[Sequence[int]] = (),
    slots: Iterable[Sequence[int]] = (),
    force: bool = False,
) -> None:
    """Collect a change in VPP and put it in force whole, or give it up."""
    change = check(link.call("hashmvt_change_begin", kind=kind, version=version), what).change

    def add(name: str, **fields: Any) -> None:
        check(link.call(f"hashmvt_change_add_{name}", change=change, **fields), what)

    try:
        for name, values in parts:
            items = list(values)
            message = "exempt" if name == "prefixes" else name
            for first in range(0, len(items), _PARTS):
                some = items[first : first + _PARTS]
                add(message, n=len(some), **{name: some})
        for table in tables:
            add("table", table=list(table))
        for number, of_policy in enumerate(slots):
            for first in range(0, len(of_policy), _PARTS):
                some = list(of_policy[first : first + _PARTS])
                add("slots", policy=number, n=len(some), slots=some)
    except Rejected:
        link.call("hashmvt_change_end", change=change, commit=False)
        raise
    check(link.call("hashmvt_change_end", change=change, commit=True, force=force), what)


def replace_map(link: Link, kind: int, new: HomeMap, what: str) -> None:
    """Replace the home map or the rules."""
    replace_whole(
        link,
        kind,
        new.version,
        what,
        (
            ("ranges", map(convert.range_to_fields, new.ranges)),
            ("pins", map(convert.pin_to_fields, new.pins)),
        ),
        tables=new.tables,
    )


def replace_policy(link: Link, policy: PolicySet, *, force: bool) -> None:
    """Replace the policies, but not the static mappings with a port."""
    try:
        replace_whole(
            link,
            POLICY,
            policy.generation,
            "policies",
            (
                ("policies", map(convert.policy_to_fields, policy.policies)),
                ("inside", map(convert.inside_to_fields, policy.inside)),
                # what is not named drains, and by force ends
                ("runs", (convert.run_to_fields(r) for r in policy.runs if not r.draining)),
                ("prefixes", policy.exempt),
                ("rules", map(convert.rule_to_fields, policy.statics)),
            ),
            slots=[one.slots for one in policy.policies],
            force=force,
        )
    except Rejected as error:
        if error.code is not ErrorCode.FULL:
            raise
        raise Rejected(
            ErrorCode.FULL,
            "the pool has grown beyond the addresses that VPP's NAT was enabled for, draining "
            "ones included: end it with `vppctl hashmvt disable` and start the agent anew",
        ) from None


def replace_statics(
    link: Link, before: Sequence[StaticMapping], after: Sequence[StaticMapping]
) -> None:
    """Replace the static mappings with a port, each for itself.

    Raises:
        Rejected: the first that was refused; all others are as they should be.

    """
    for mapping in before:
        if mapping not in after:
            reply = link.call(
                "hashmvt_static_mapping_add_del", **static_del_fields(mapping.outside)
            )
            if reply.retval != NO_SUCH_ENTRY:  # gone already
                check(reply, f"static mapping of {mapping.outside}")
    refused = []
    for mapping in after:
        if mapping not in before:
            try:
                check(
                    link.call("hashmvt_static_mapping_add_del", **static_add_fields(mapping)),
                    f"static mapping of {mapping.outside}",
                )
            except Rejected as error:
                refused.append(error)
    if refused:
        raise refused[0]


def static_add_fields(mapping: StaticMapping) -> Fields:
    """Return what adds a static mapping."""
    return {
        "is_add": True,
        "realm": mapping.realm,
        "inside": convert.endpoint_to_fields(mapping.inside),
        "outside": convert.endpoint_to_fields(mapping.outside),
    }


def static_del_fields(outside: Endpoint) -> Fields:
    """Return what deletes the one that has this outside."""
    nobody = convert.endpoint_to_fields(replace(outside, port=0))
    return {
        "is_add": False,
        "inside": nobody,
        "outside": convert.endpoint_to_fields(outside),
    }

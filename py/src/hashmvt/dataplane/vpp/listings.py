# SPDX-License-Identifier: Apache-2.0
"""What VPP's NAT says is in force: its state, maps and policies, read page by page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hashmvt.dataplane.vpp import convert
from hashmvt.dataplane.vpp.replies import EAGAIN, Disabled, check
from hashmvt.model import HomeMap
from hashmvt.policy import PolicySet

if TYPE_CHECKING:
    from hashmvt.dataplane.vpp.link import Link

PAGE = 1024
_INSIDE, _EXEMPT, _STATICS = 0, 1, 2


def in_force(link: Link) -> Any:
    """Return what is in force.

    Raises:
        Unavailable: the NAT is disabled.

    """
    found = check(link.call("hashmvt_get"))
    if not found.enabled:
        raise Disabled
    return found


def pages(link: Link, message: str, details: list[Any], **fields: Any) -> Any:
    """Append all pages of a listing; return the first reply."""
    first = None
    cursor = 0
    while True:
        reply, page = link.page(message, cursor=cursor, **fields)
        first = first or reply
        details += page
        if reply.retval != EAGAIN:
            check(reply)
            return first
        cursor = reply.cursor


def everything(link: Link, message: str, **fields: Any) -> list[Any]:
    """Return all items of a listing."""
    details: list[Any] = []
    pages(link, message, details, **fields)
    return details


def read_map(link: Link, kind: int) -> HomeMap:
    """Read a map again until no other one came meanwhile."""
    while True:
        ranges: list[Any] = []
        reply = pages(link, "hashmvt_range_get", ranges, kind=kind)
        tables = [
            check(link.call("hashmvt_table_get", kind=kind, table=number)).table
            for number in range(reply.n_tables)
        ]
        pins = everything(link, "hashmvt_pin_get", kind=kind) if reply.n_pins else []
        last, _ = link.page("hashmvt_range_get", kind=kind, cursor=len(ranges))
        if last.version == reply.version:
            return HomeMap(
                reply.version,
                tuple(convert.range_from(one.range) for one in ranges),
                tuple(tuple(table) for table in tables),
                tuple(convert.pin_from(one.pin) for one in pins),
            )


def read_policy(link: Link) -> PolicySet:
    """Read the policies again until no others came meanwhile."""
    while True:
        policies: list[Any] = []
        reply = pages(link, "hashmvt_policy_get", policies)
        parts = [everything(link, "hashmvt_prefix_get", part=part) for part in range(_STATICS + 1)]
        pool = everything(link, "hashmvt_pool_get")
        statics = everything(link, "hashmvt_static_mapping_get")
        if in_force(link).policy_generation == reply.generation:
            return PolicySet(
                generation=reply.generation,
                policies=tuple(convert.policy_from(one) for one in policies),
                inside=tuple(convert.inside_from(one) for one in parts[_INSIDE]),
                runs=tuple(convert.run_from(one) for one in pool),
                exempt=tuple(convert.exempt_from(one) for one in parts[_EXEMPT]),
                statics=tuple(convert.rule_from(one) for one in parts[_STATICS]),
                endpoints=tuple(convert.static_from(one) for one in statics),
            )

# SPDX-License-Identifier: Apache-2.0
"""Checks of arguments that the synchronous dataplanes share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hashmvt.errors import Rejected
from hashmvt.model import HOME_BUCKETS
from hashmvt.names import ErrorCode

if TYPE_CHECKING:
    from hashmvt.model import HomeMap, StaticMapping

_END = (1 << 64) - 1


def check_instance(instance: int, count: int) -> None:
    """Check that there is such an instance.

    Raises:
        Rejected: INVALID.

    """
    if not 0 <= instance < count:
        raise Rejected(
            ErrorCode.INVALID, f"there is no instance {instance}; they are 0 to {count - 1}"
        )


def check_pair(source: int, target: int, count: int) -> None:
    """Check that blocks can go from one to the other.

    Raises:
        Rejected: INVALID.

    """
    check_instance(source, count)
    check_instance(target, count)
    if source == target:
        raise Rejected(ErrorCode.INVALID, f"instance {source} is both giver and taker")


def check_blocks(blocks: int) -> None:
    """Check a number of blocks to move.

    Raises:
        Rejected: INVALID.

    """
    if blocks < 0:
        raise Rejected(ErrorCode.INVALID, f"{blocks} blocks cannot be moved")


def check_percent(percent: int) -> None:
    """Check a share of the free blocks.

    Raises:
        Rejected: INVALID.

    """
    if not 0 <= percent <= 100:  # noqa: PLR2004
        raise Rejected(ErrorCode.INVALID, f"{percent} percent is not from 0 to 100")


def check_seconds(seconds: int) -> None:
    """Check by how much a clock is to move.

    Raises:
        Rejected: INVALID.

    """
    if seconds < 0:
        raise Rejected(ErrorCode.INVALID, "a clock goes forward only")


def check_static(mapping: StaticMapping) -> None:
    """Check a static mapping.

    Raises:
        Rejected: INVALID.

    """
    if mapping.inside.proto != mapping.outside.proto:
        raise Rejected(ErrorCode.INVALID, "a static mapping has one protocol on both sides")


def check_home(home: HomeMap) -> None:
    """Check what the core's structures cannot say for themselves.

    Raises:
        Rejected: INVALID.

    """
    for item in home.ranges:
        if (item.instance is None) == (item.table is None):
            raise Rejected(
                ErrorCode.INVALID, f"range {item.prefix} names an instance or a table, not both"
            )
    if any(len(table) != HOME_BUCKETS for table in home.tables):
        raise Rejected(ErrorCode.INVALID, f"a bucket table has {HOME_BUCKETS} entries")


def parse_cursor(cursor: str) -> tuple[int, int]:
    """Take a cursor ``instance:place`` apart; ``""`` is the start.

    Raises:
        Rejected: INVALID, it is none.

    """
    if not cursor:
        return (0, 0)
    at, colon, place = cursor.partition(":")
    numbers = at.isascii() and at.isdigit() and place.isascii() and place.isdigit()
    if not colon or not numbers or len(at) > 3 or int(place[:21]) > _END:  # noqa: PLR2004
        raise Rejected(ErrorCode.INVALID, f"{cursor!r} is no cursor of this dataplane")
    return (int(at), int(place))

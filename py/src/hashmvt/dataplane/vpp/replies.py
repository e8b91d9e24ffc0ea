# SPDX-License-Identifier: Apache-2.0
"""What VPP's answers mean: a reply, or one of the package's errors."""

from __future__ import annotations

from typing import Any

from hashmvt.errors import Rejected, Unavailable
from hashmvt.names import ErrorCode

FEATURE_DISABLED, NO_SUCH_ENTRY, EAGAIN = -30, -6, -165

# VPP's vnet/error.h, as hashmvt.api uses it
REFUSALS = {
    -1: (ErrorCode.AGAIN, "not finished"),
    -2: (ErrorCode.NOT_FOUND, "no such interface"),
    -3: (ErrorCode.INVALID, "there is no such realm"),
    -6: (ErrorCode.NOT_FOUND, "no such entry"),
    -7: (ErrorCode.INVALID, "invalid argument"),
    -8: (ErrorCode.INVALID, "invalid argument"),
    -71: (ErrorCode.INVALID, "it carries no packets"),
    -73: (ErrorCode.NOT_SIBLINGS, "entries are not siblings with equal values"),
    -81: (ErrorCode.STALE, "older than what is in force"),
    -97: (ErrorCode.INVALID, "not an IPv4 address"),
    -99: (ErrorCode.NO_MEMORY, "out of memory"),
    -116: (ErrorCode.EXISTS, "exists already"),
    -126: (ErrorCode.UNSUPPORTED, "not supported"),
    -147: (ErrorCode.NOT_OWNER, "belongs to another instance"),
    -153: (ErrorCode.INVALID, "no such protocol"),
    -155: (ErrorCode.IN_USE, "in use"),
    -162: (ErrorCode.FULL, "table is full"),
    -170: (ErrorCode.EXISTS, "enabled already"),
}


class Disabled(Unavailable):
    """The NAT was disabled under a connection that stands."""

    def __init__(self) -> None:
        """Say what to do."""
        super().__init__(
            "the NAT was disabled in VPP: restart the agent to enable it again, as its "
            "configuration says"
        )


def check(reply: Any, what: str = "", why: str = "") -> Any:
    """Return a reply that is no refusal.

    Args:
        reply: VPP's.
        what: was tried.
        why: VPP's own words, where it has some.

    Raises:
        Rejected: it is one.
        Unavailable: the NAT is disabled.

    """
    if reply.retval == 0:
        return reply
    if reply.retval == FEATURE_DISABLED:
        raise Disabled
    code, meaning = REFUSALS.get(
        reply.retval, (ErrorCode.UNSUPPORTED, f"VPP refused ({reply.retval})")
    )
    why = why or meaning
    raise Rejected(code, f"{what}: {why}" if what else why)

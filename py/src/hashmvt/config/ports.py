# SPDX-License-Identifier: Apache-2.0
"""What a dataplane's tables are sized by: ports that may be allocated, addresses that may come."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashmvt.config.values import Nat44Config
    from hashmvt.policy import PolicySet

PORTS = 65536
_MIN_SLOTS = 64
_MAX_SLOTS = 1 << 20
MAX_VPP_ADDRESSES = 1 << 16
"""Of a pool on VPP: each takes a route of VPP's."""


def port_bitmap(nat44: Nat44Config) -> bytes:
    """Return the bitmap of allocatable ports: bit p % 8 of byte p // 8."""
    bits = bytearray(PORTS // 8)
    for port in range(nat44.ports.first, nat44.ports.last + 1):
        bits[port // 8] |= 1 << (port % 8)
    for item in nat44.reserved_ports:
        for port in range(item.first, item.last + 1):
            bits[port // 8] &= ~(1 << (port % 8))
    return bytes(bits)


def pool_slots(policy: PolicySet, most: int = _MAX_SLOTS) -> int:
    """Return room for the pool to grow to twice its size, draining addresses included."""
    used = sum(run.count for run in policy.runs)
    return min(max(used * 2, _MIN_SLOTS), most)

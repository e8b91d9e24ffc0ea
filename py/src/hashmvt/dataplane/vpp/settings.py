# SPDX-License-Identifier: Apache-2.0
"""What VPP's NAT is to be: how VPP is reached, what is fixed while the NAT is enabled, and what
it starts with.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hashmvt.config import Allocation, Config, plan_policy
from hashmvt.config.ports import MAX_VPP_ADDRESSES, pool_slots, port_bitmap
from hashmvt.model import EventLog

if TYPE_CHECKING:
    from pathlib import Path

    from hashmvt.policy import PolicySet

_LOG = {EventLog.OFF: 1, EventLog.BLOCK: 2, EventLog.MAPPING: 3}
_SHARE = 1024
_FNV_OFFSET, _FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3
_WORDS = 1024


@dataclass(frozen=True, slots=True)
class VppSettings:
    """Everything that a connection to VPP is made with."""

    api: Path
    """VPP's API socket."""
    stats: Path
    """VPP's stats socket."""
    inside: tuple[str, ...]
    """Names of VPP's inside interfaces."""
    outside: tuple[str, ...]
    policy: PolicySet
    """In force first; later ones are set through the dataplane."""
    host: str
    """Name of the host, for ``host/n``."""
    instances_initial: int
    """Active at first; 0: one for each worker."""
    max_mappings: int
    block_size: int
    max_addresses: int
    """Pool addresses that there may ever be, draining ones included."""
    allocatable: bytes
    """Bitmap of the ports that dynamic mappings may use: bit p % 8 of byte p // 8."""
    fragment_timeout: int
    hold_seconds: int
    hold_share: float
    by_host: bool
    events: EventLog

    @property
    def words(self) -> tuple[int, ...]:
        """The bitmap of ports as the 64-bit words of the API."""
        return struct.unpack(f"<{_WORDS}Q", self.allocatable)

    @property
    def ports_digest(self) -> int:
        """The digest of the ports that the plugin gives for what is in force."""
        digest = _FNV_OFFSET
        for word in self.words:
            digest = (digest ^ word) * _FNV_PRIME % (1 << 64)
        return digest

    @property
    def hold_share_1024(self) -> int:
        """The share in units of the API."""
        return round(self.hold_share * _SHARE)

    @property
    def log(self) -> int:
        """The API's number for ``events``."""
        return _LOG[self.events]


def vpp_settings(config: Config) -> VppSettings:
    """Return the settings that a configuration asks for."""
    nat44 = config.nat44
    vpp = config.dataplane.vpp
    policy = plan_policy(nat44, generation=1)
    return VppSettings(
        api=vpp.api,
        stats=vpp.stats,
        inside=vpp.inside,
        outside=vpp.outside,
        policy=policy,
        host=config.agent.name or socket.gethostname(),
        instances_initial=config.dataplane.instances.initial,
        max_mappings=nat44.max_mappings,
        block_size=nat44.block_size,
        max_addresses=pool_slots(policy, MAX_VPP_ADDRESSES),
        allocatable=port_bitmap(nat44),
        fragment_timeout=nat44.fragment_timeout,
        hold_seconds=nat44.hold_down.seconds,
        hold_share=nat44.hold_down.max_share,
        by_host=nat44.allocation is Allocation.BLOCK,
        events=config.log.events,
    )

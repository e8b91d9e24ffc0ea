# SPDX-License-Identifier: Apache-2.0
"""What an embedded engine is made with: fixed while it lives."""

from __future__ import annotations

import socket
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hashmvt.config import Allocation, Config, plan_policy
from hashmvt.config.ports import pool_slots, port_bitmap
from hashmvt.model import EventLog

if TYPE_CHECKING:
    from hashmvt.policy import PolicySet

_LOG = {EventLog.OFF: 0, EventLog.BLOCK: 1, EventLog.MAPPING: 2}


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Everything that ``mvt_engine_new`` is told."""

    policy: PolicySet
    host: str
    """Name of the host, for ``host/n``."""
    instances_initial: int
    instances_max: int
    max_mappings: int
    block_size: int
    max_slots: int
    """Pool addresses that there may ever be, draining ones included."""
    allocatable: bytes
    """Bitmap of the ports that dynamic mappings may use: bit p % 8 of byte p // 8."""
    fragment_timeout: int = 2
    hold_seconds: int = 120
    hold_share: float = 0.1
    by_host: bool = False
    events: EventLog = EventLog.BLOCK
    stepped: bool = False
    """No threads; the clock and the packets are the caller's."""
    truncated_ok: bool = False
    """Packets may be cut short, as in captures with a snap length."""
    pin_threads: bool = False
    seed: tuple[int, int, int, int] | None = None
    """None: real entropy."""
    tun_inside: str | None = None
    tun_outside: str | None = None
    max_sessions: int = 0
    """0: as many as the core thinks fit."""
    max_hosts: int = 0

    @property
    def log_level(self) -> int:
        """Return the core's word for ``events``."""
        return _LOG[self.events]


def engine_settings(config: Config) -> EngineSettings:
    """Return the settings that a configuration asks for: threaded, with its devices."""
    nat44 = config.nat44
    policy = plan_policy(nat44, generation=1)
    return EngineSettings(
        policy=policy,
        host=config.agent.name or socket.gethostname(),
        instances_initial=config.dataplane.instances.initial,
        instances_max=config.dataplane.instances.max,
        max_mappings=nat44.max_mappings,
        block_size=nat44.block_size,
        max_slots=pool_slots(policy),
        allocatable=port_bitmap(nat44),
        fragment_timeout=nat44.fragment_timeout,
        hold_seconds=nat44.hold_down.seconds,
        hold_share=nat44.hold_down.max_share,
        by_host=nat44.allocation is Allocation.BLOCK,
        events=config.log.events,
        tun_inside=config.dataplane.embedded.inside,
        tun_outside=config.dataplane.embedded.outside,
    )


def stepped(
    settings: EngineSettings,
    *,
    instances: int | None = None,
    seed: int = 1,
    truncated_ok: bool = False,
) -> EngineSettings:
    """Return settings without threads, devices and chance: the same input gives the same output.

    Args:
        settings: to start from.
        instances: initial ones; those of ``settings`` when None.
        seed: of every random choice.
        truncated_ok: packets may be cut short.

    """
    count = settings.instances_initial if instances is None else instances
    return replace(
        settings,
        instances_initial=count,
        instances_max=max(count, settings.instances_max),
        seed=spread_seed(seed),
        stepped=True,
        truncated_ok=truncated_ok,
        tun_inside=None,
        tun_outside=None,
    )


def spread_seed(seed: int) -> tuple[int, int, int, int]:
    """Return four well mixed words of one number (SplitMix64); never all zero."""
    mask = (1 << 64) - 1
    words = []
    state = seed & mask
    for _ in range(4):
        state = (state + 0x9E3779B97F4A7C15) & mask
        word = state
        word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & mask
        word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & mask
        words.append(word ^ (word >> 31))
    return (words[0], words[1], words[2], words[3])

# SPDX-License-Identifier: Apache-2.0
"""What the operator wants of NAT44, as dataplanes take it: plain frozen values.

``hashmvt.config`` makes a ``PolicySet`` of a configuration file. Slots are the stable numbers of
pool addresses: the dataplane's tables are indexed by them, so an address keeps its slot as long as
it is configured or drains. ``hashmvt.config.plan_policy`` keeps them stable over a reload.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from hashmvt.model import Filtering, StaticMapping


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Idle seconds after which a session ends."""

    udp: int = 300
    """RFC 4787 REQ-5: at least 120, 300 recommended."""
    tcp_established: int = 7440
    """RFC 5382 REQ-5: at least 7,440."""
    tcp_transitory: int = 240
    """RFC 5382 REQ-5: at least 240."""
    tcp_incoming_syn: int = 6
    """RFC 5382 REQ-4: at least 6."""
    icmp: int = 60
    """RFC 5508 REQ-2: at least 60."""


@dataclass(frozen=True, slots=True)
class PerProto:
    """One value for each protocol with endpoints."""

    udp: int = 0
    tcp: int = 0
    icmp: int = 0


@dataclass(frozen=True, slots=True)
class FilteringPerProto:
    """Filtering behaviour for each protocol with endpoints."""

    udp: Filtering = Filtering.ENDPOINT_INDEPENDENT
    tcp: Filtering = Filtering.ENDPOINT_INDEPENDENT
    icmp: Filtering = Filtering.ENDPOINT_INDEPENDENT


@dataclass(frozen=True, slots=True)
class Policy:
    """How the hosts of some inside prefixes are treated."""

    slots: tuple[int, ...]
    """Slots of its pool addresses."""
    timeouts: Timeouts = Timeouts()
    filtering: FilteringPerProto = FilteringPerProto()
    mappings_per_host: PerProto = PerProto()
    """0: no limit."""
    mappings_per_host_all: int = 0
    """Over all protocols; 0: no limit."""
    new_per_second_per_host: int = 0
    """0: no limit."""
    max_blocks_per_host: int = 0
    """Allocation by block; 0: no limit."""
    paired_only: bool = False
    """An exhausted external address does not fall back to another."""


@dataclass(frozen=True, slots=True)
class PoolRun:
    """Consecutive pool addresses with consecutive slots."""

    first: IPv4Address
    count: int
    slot: int
    draining: bool = False
    """Nothing new; gone when empty."""


@dataclass(frozen=True, slots=True)
class InsidePolicy:
    """Inside prefix -> policy; the longest prefix wins."""

    inside: IPv4Network
    policy: int


@dataclass(frozen=True, slots=True)
class StaticRule:
    """A 1:1 rule: prefixes of equal length, all protocols."""

    inside: IPv4Network
    outside: IPv4Network


@dataclass(frozen=True, slots=True)
class PolicySet:
    """Everything of NAT44 that can be replaced while packets flow."""

    generation: int
    policies: tuple[Policy, ...]
    """Policy 0 is the default."""
    inside: tuple[InsidePolicy, ...]
    runs: tuple[PoolRun, ...]
    exempt: tuple[IPv4Network, ...] = ()
    statics: tuple[StaticRule, ...] = ()
    endpoints: tuple[StaticMapping, ...] = ()
    """Static mappings with a port: applied with static_add after the set is in force."""

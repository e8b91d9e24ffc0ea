# SPDX-License-Identifier: Apache-2.0
"""A configuration as frozen values, complete with defaults and resolved against nothing outside.

Field names are the keys of the file; their defaults here are the defaults that the documentation
prints, and a test holds the two together.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from hashmvt.errors import Problem
from hashmvt.model import EventLog, StaticMapping
from hashmvt.policy import FilteringPerProto, PerProto, StaticRule, Timeouts


class Allocation(Enum):
    """To whom an open block belongs."""

    PORT = "port"
    """Any host's mapping may use it."""
    BLOCK = "block"
    """It is assigned to one host (CGN)."""


class DataplaneKind(Enum):
    """What moves packets."""

    EMBEDDED = "embedded"
    VPP = "vpp"


class DispatcherKind(Enum):
    """What brings packets to instances."""

    SOFTWARE = "software"
    VPP_FLOW = "vpp-flow"
    OPENFLOW = "openflow"


@dataclass(frozen=True, slots=True, order=True)
class AddressRange:
    """Consecutive addresses, both ends included."""

    first: IPv4Address
    last: IPv4Address

    @property
    def count(self) -> int:
        """Return how many addresses."""
        return int(self.last) - int(self.first) + 1

    def overlaps(self, other: AddressRange) -> bool:
        """Say whether an address is in both."""
        return self.first <= other.last and other.first <= self.last

    @classmethod
    def of(cls, network: IPv4Network) -> AddressRange:
        """Return all addresses of a prefix."""
        return cls(network.network_address, network.broadcast_address)

    def __str__(self) -> str:
        """Return ``first-last``, or the one address."""
        return f"{self.first}" if self.first == self.last else f"{self.first}-{self.last}"


@dataclass(frozen=True, slots=True, order=True)
class PortRange:
    """Consecutive ports, both ends included."""

    first: int
    last: int

    def __str__(self) -> str:
        """Return ``first-last``, or the one port."""
        return f"{self.first}" if self.first == self.last else f"{self.first}-{self.last}"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one host may take; 0: no limit."""

    mappings_per_host: PerProto = PerProto()
    mappings_per_host_all: int = 0
    new_per_second_per_host: int = 0


@dataclass(frozen=True, slots=True)
class HoldDown:
    """How long a freed port is kept from others, and how many ports may be."""

    seconds: int = 120
    """RFC 6888 REQ-8."""
    max_share: float = 0.1


@dataclass(frozen=True, slots=True)
class PolicyConfig:
    """How the hosts of some prefixes are treated, complete."""

    inside: tuple[IPv4Network, ...]
    pool: tuple[AddressRange, ...]
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()
    filtering: FilteringPerProto = FilteringPerProto()
    max_blocks_per_host: int = 0
    fallback: bool = True


@dataclass(frozen=True, slots=True)
class Nat44Config:
    """Section ``nat44``."""

    default: PolicyConfig
    """What the section's own keys say: inside, pool, limits, timeouts, filtering."""
    policies: tuple[PolicyConfig, ...] = ()
    ports: PortRange = PortRange(1024, 65535)
    """Whole blocks: rounded inward."""
    reserved_ports: tuple[PortRange, ...] = ()
    block_size: int = 64
    allocation: Allocation = Allocation.PORT
    hold_down: HoldDown = HoldDown()
    fragment_timeout: int = 2
    max_mappings: int = 1048576
    exempt: tuple[IPv4Network, ...] = ()
    statics: tuple[StaticRule, ...] = ()
    static_endpoints: tuple[StaticMapping, ...] = ()

    @property
    def pool(self) -> tuple[AddressRange, ...]:
        """Every pool address of every policy: sorted, disjoint, neighbours joined."""
        joined: list[AddressRange] = []
        ranges = [r for policy in (self.default, *self.policies) for r in policy.pool]
        for item in sorted(ranges):
            if joined and int(item.first) <= int(joined[-1].last) + 1:
                joined[-1] = AddressRange(joined[-1].first, max(joined[-1].last, item.last))
            else:
                joined.append(item)
        return tuple(joined)

    @property
    def blocks_per_address(self) -> int:
        """Whole blocks that dynamic mappings may use."""
        return (self.ports.last - self.ports.first + 1) // self.block_size

    def allocatable(self, port: int) -> bool:
        """Say whether a dynamic mapping may use ``port``."""
        return self.ports.first <= port <= self.ports.last and not any(
            reserved.first <= port <= reserved.last for reserved in self.reserved_ports
        )


@dataclass(frozen=True, slots=True)
class Instances:
    """How many instances, at the start and at most."""

    initial: int = 1
    """0: one for each worker of VPP, which is the default there."""
    max: int = 4
    """On VPP the workers are the instances, whatever this says."""


@dataclass(frozen=True, slots=True)
class EmbeddedConfig:
    """TUN devices of the embedded engine."""

    inside: str = "hmvt-in"
    outside: str = "hmvt-out"


@dataclass(frozen=True, slots=True)
class VppConfig:
    """How VPP is reached, and its interfaces."""

    api: Path = Path("/run/vpp/api.sock")
    stats: Path = Path("/run/vpp/stats.sock")
    inside: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DataplaneConfig:
    """Section ``dataplane``."""

    kind: DataplaneKind = DataplaneKind.EMBEDDED
    instances: Instances = Instances()
    embedded: EmbeddedConfig = EmbeddedConfig()
    vpp: VppConfig = VppConfig()


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """Files of mutual TLS between hosts (PEM)."""

    certificate: Path
    key: Path
    authority: Path


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """Section ``agent``."""

    control: Path = Path("/run/hashmvt/agent.sock")
    name: str = ""
    """Name of this host; empty: the system's."""
    listen: str = ""
    """``address:port`` for a coordinator on another host; needs tls."""
    tls: TlsConfig | None = None


@dataclass(frozen=True, slots=True)
class FailureConfig:
    """When an instance counts as failed: no sign of life for ``periods`` times ``period``."""

    period: float = 4.0
    periods: int = 2


@dataclass(frozen=True, slots=True)
class CoordinatorConfig:
    """Section ``coordinator``."""

    listen: str = "127.0.0.1:7788"
    """UDP address for heartbeats; agents send to it."""
    control: Path = Path("/run/hashmvt/coord.sock")
    key_file: Path = Path("heartbeat.key")
    """Secret that authenticates heartbeats; relative to the configuration file."""
    cpu: float = 0.8
    """Load at which an instance is scaled out."""
    memory: float = 0.8
    """Mappings over max_mappings at which an instance is scaled out."""
    retain: float = 0.2
    """Share of its free blocks that a scaled-out instance keeps."""
    heartbeat: float = 1.0
    """Seconds between heartbeats."""
    failure: FailureConfig = FailureConfig()
    agents: tuple[str, ...] = ()
    """Agents on other hosts, ``address:port``; empty: the one of this host."""
    tls: TlsConfig | None = None


@dataclass(frozen=True, slots=True)
class DispatcherConfig:
    """Section ``dispatcher``."""

    kind: DispatcherKind = DispatcherKind.SOFTWARE
    rule_budget: int = 9325


@dataclass(frozen=True, slots=True)
class LogConfig:
    """Section ``log``."""

    events: EventLog = EventLog.BLOCK
    to: str = "syslog"


@dataclass(frozen=True, slots=True)
class Config:
    """A configuration file, checked."""

    path: Path
    nat44: Nat44Config
    dataplane: DataplaneConfig = DataplaneConfig()
    agent: AgentConfig = AgentConfig()
    coordinator: CoordinatorConfig = CoordinatorConfig()
    dispatcher: DispatcherConfig = DispatcherConfig()
    log: LogConfig = LogConfig()
    warnings: tuple[Problem, ...] = field(default=(), compare=False)
    """Doubtful but allowed, such as a timeout below what an RFC asks for."""

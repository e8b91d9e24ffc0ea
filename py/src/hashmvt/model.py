# SPDX-License-Identifier: Apache-2.0
"""The frozen values that dataplanes, control plane and commands exchange.

Everything is immutable, compared by value and free of behaviour that needs a dataplane, so it may
be kept, sent and compared at will. An *instance* is named by its number inside its host; the
host's name is added where several hosts meet. Ticks are whole seconds of a dataplane's clock.
Addresses are ``ipaddress`` values; a realm (VRF) is part of every inside key and is 0 for now.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, IntEnum
from ipaddress import IPv4Address, IPv4Network
from typing import Generic, TypeVar

from hashmvt.names import Counters, DropReason, EventType, Gauges, PassReason

MAX_INSTANCES = 64
"""Instances of one dataplane; their numbers are below."""
HOME_BUCKETS = 256
"""Entries of a bucket table."""
ANYWHERE = IPv4Network("0.0.0.0/0")

T = TypeVar("T")


class Proto(IntEnum):
    """Protocols with endpoints; the port of ICMP is the query id."""

    UDP = 0
    TCP = 1
    ICMP = 2


class Direction(IntEnum):
    """The way a packet goes."""

    IN2OUT = 0
    OUT2IN = 1


class Filtering(IntEnum):
    """Filtering behaviour, RFC 4787 section 5."""

    ENDPOINT_INDEPENDENT = 0
    ADDRESS_DEPENDENT = 1
    ADDRESS_AND_PORT_DEPENDENT = 2


class Verdict(IntEnum):
    """What became of a packet."""

    NONE = 0
    TRANSLATED = 1
    PASSED = 2
    DROPPED = 3
    HANDOFF = 4
    HELD = 5


class InstanceState(IntEnum):
    """What an instance is there for."""

    SPARE = 0
    ACTIVE = 1
    DRAINING = 2


class TcpState(IntEnum):
    """State of a tracked TCP connection (RFC 7857 figure 1)."""

    CLOSED = 0
    INIT_IN2OUT = 1
    INIT_OUT2IN = 2
    ESTABLISHED = 3
    FIN_IN2OUT = 4
    FIN_OUT2IN = 5
    FIN_BOTH = 6
    TRANS = 7


class TimeoutClass(IntEnum):
    """Which of a policy's timeouts a session has."""

    UDP = 0
    TCP_ESTABLISHED = 1
    TCP_TRANSITORY = 2
    TCP_INCOMING_SYN = 3
    ICMP = 4


class EventLog(Enum):
    """How much is reported as events."""

    OFF = "off"
    BLOCK = "block"
    MAPPING = "mapping"


# ---- endpoints, mappings, hosts, blocks ----


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """Address, port (or ICMP query id) and protocol."""

    addr: IPv4Address
    port: int
    proto: Proto

    def __str__(self) -> str:
        """``udp 10.0.0.1:53``."""
        return f"{self.proto.name.lower()} {self.addr}:{self.port}"


@dataclass(frozen=True, slots=True)
class MappingFilter:
    """Which mappings are meant; the default means all."""

    inside: IPv4Network = ANYWHERE
    external: IPv4Network = ANYWHERE
    inside_port: int = 0
    """0: any."""
    external_port: int = 0
    """0: any."""
    proto: Proto | None = None
    statics: bool | None = None
    """None: all; True: only static ones; False: only dynamic ones."""
    instance: int | None = None
    realm: int = 0


@dataclass(frozen=True, slots=True)
class Mapping:
    """An inside endpoint and the external endpoint that stands for it."""

    inside: Endpoint
    external: Endpoint
    remote: Endpoint | None
    """Of the oldest live session; None when no session is tracked."""
    instance: int
    policy: int = 0
    is_static: bool = False
    tcp_state: TcpState = TcpState.CLOSED
    filtering: Filtering = Filtering.ENDPOINT_INDEPENDENT
    sessions: int = 0
    age_s: int = 0
    idle_s: int = 0
    expires_in_s: int | None = None
    """None for a static mapping."""
    packets_in2out: int = 0
    packets_out2in: int = 0
    realm: int = 0


@dataclass(frozen=True, slots=True)
class StaticMapping:
    """A configured mapping of one endpoint; both sides have the same protocol."""

    inside: Endpoint
    outside: Endpoint
    realm: int = 0


@dataclass(frozen=True, slots=True)
class Host:
    """An inside address with mappings, at one instance."""

    addr: IPv4Address
    instance: int
    external: IPv4Address
    """The external address that it keeps (paired pooling)."""
    mappings_udp: int = 0
    mappings_tcp: int = 0
    mappings_icmp: int = 0
    blocks: int = 0
    """Blocks that it holds, where blocks are assigned to hosts."""
    realm: int = 0

    @property
    def mappings(self) -> int:
        """Mappings of all protocols."""
        return self.mappings_udp + self.mappings_tcp + self.mappings_icmp


@dataclass(frozen=True, slots=True)
class Block:
    """A block of the pool that is in use."""

    external: IPv4Address
    first_port: int
    ports: int
    instance: int
    in_use_udp: int = 0
    in_use_tcp: int = 0
    in_use_icmp: int = 0
    holder: IPv4Address | None = None
    """The host it is assigned to, where blocks are assigned to hosts."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A bounded part of a listing. Listings are weakly consistent: what lives from before the
    first page to after the last one is seen at least once.
    """

    items: tuple[T, ...]
    next: str | None
    """Cursor of the next page; None when this was the last one."""


# ---- home map and dispatcher rules ----


@dataclass(frozen=True, slots=True)
class Closing:
    """A range is changing its owner (the first of the three beats)."""

    from_instance: int
    to_instance: int
    by_endpoint: bool = False
    """A host is being opened: ``from_instance`` creates nothing new even for hosts it serves."""


@dataclass(frozen=True, slots=True)
class HomeRange:
    """Inside prefix -> instance, or -> a bucket table; the longest prefix wins."""

    prefix: IPv4Network
    instance: int | None
    """None: ``table`` decides."""
    table: int | None = None
    """Index of a bucket table of the same map."""
    closing: Closing | None = None
    external: IPv4Address | None = None
    """An opened host (a /32): new mappings must use this external address."""
    realm: int = 0


@dataclass(frozen=True, slots=True)
class EndpointPin:
    """An inside endpoint of an opened host that stays at its instance."""

    endpoint: Endpoint
    instance: int
    realm: int = 0


@dataclass(frozen=True, slots=True)
class HomeMap:
    """Inside addresses -> instance: the home map, or dispatcher rules made from it."""

    version: int
    ranges: tuple[HomeRange, ...]
    """Must hold 0.0.0.0/0 of realm 0; a prefix of a realm appears once."""
    tables: tuple[tuple[int, ...], ...] = ()
    """Bucket tables of HOME_BUCKETS instances each."""
    pins: tuple[EndpointPin, ...] = ()


# ---- snapshots and events ----


@dataclass(frozen=True, slots=True)
class InstanceSnapshot:
    """One instance at one moment. Counters only grow; after ``epoch`` changed they go on."""

    id: int
    state: InstanceState
    epoch: int = 0
    """Ownership epoch: raised when its mappings were dropped (takeover)."""
    cycles_busy: int = 0
    """Clock cycles of loop turns that moved packets."""
    cycles_total: int = 0
    """Clock cycles of all loop turns. Load is the quotient of the two differences."""
    loops: int = 0
    """Loop turns: stands still when the thread does."""
    ring_dropped: int = 0
    """Packets for which this instance's ring was full."""
    io_errors: int = 0
    """Packets that a device refused."""
    counters: Counters = field(default_factory=Counters)
    gauges: Gauges = field(default_factory=Gauges)
    passed: tuple[int, ...] = (0,) * len(PassReason)
    """By PassReason.number."""
    dropped: tuple[int, ...] = (0,) * len(DropReason)
    """By DropReason.number."""

    def drops(self, reason: DropReason) -> int:
        """Packets dropped for one reason."""
        return self.dropped[reason.number]

    def passes(self, reason: PassReason) -> int:
        """Packets passed untranslated for one reason."""
        return self.passed[reason.number]


@dataclass(frozen=True, slots=True)
class IoSide:
    """What one device delivered."""

    packets: int = 0
    """Read; given to instances or counted as not_ipv4, oversize or some ring_dropped."""
    not_ipv4: int = 0
    oversize: int = 0
    errors: int = 0
    """Reads that failed."""
    failed_errno: int = 0
    """After which the device is read no more; 0: all is well."""


@dataclass(frozen=True, slots=True)
class IoSnapshot:
    """The dispatcher's devices at one moment."""

    inside: IoSide = IoSide()
    outside: IoSide = IoSide()
    no_buffer: int = 0
    """Times that reading paused because every buffer was in use."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A dataplane at one moment, or the part of it from a cursor on."""

    taken_ns: int
    """Monotonic clock of the dataplane's host."""
    tick: int
    """The dataplane's clock in seconds."""
    generation: int
    """Highest generation of a control call that was carried out."""
    home_version: int
    rules_version: int
    policy_generation: int
    instances: tuple[InstanceSnapshot, ...]
    io: IoSnapshot = IoSnapshot()
    next: str | None = None
    """Cursor of the rest; None when this is all."""


@dataclass(frozen=True, slots=True)
class Event:
    """What an instance reported."""

    tick: int
    type: EventType
    instance: int
    inside: IPv4Address
    inside_port: int
    external: IPv4Address
    external_port: int
    """Blocks: the first port."""
    ports: int
    """Blocks: how many; 1 for mappings."""
    proto: Proto | None = None
    """None for blocks."""
    reason: DropReason | None = None
    """For HOST_LIMIT and EXHAUSTED: what new flows are dropped for."""
    realm: int = 0


# ---- packets, for tests and tools ----


@dataclass(frozen=True, slots=True)
class Packet:
    """An IPv4 packet and the side it comes from."""

    data: bytes
    direction: Direction
    cookie: int = 0
    """Given back with the outcome."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a packet."""

    verdict: Verdict
    data: bytes
    """As it leaves: rewritten when TRANSLATED, unchanged when PASSED."""
    direction: Direction
    """The side it leaves by: IN2OUT outside, OUT2IN inside (also a hairpin)."""
    instance: int
    """That gave the verdict."""
    first_instance: int
    """That the dispatcher chose."""
    drop: DropReason | None = None
    passed: PassReason | None = None
    cookie: int = 0

# SPDX-License-Identifier: Apache-2.0
"""Values <-> the structs of the binding. The only place that knows both.

A C description borrows the arrays it points to; ``Description`` keeps them alive as long as the
description itself.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Any

from hashmvt._ffi._mvt import ffi, lib
from hashmvt.model import (
    Block,
    Endpoint,
    Event,
    Filtering,
    Host,
    InstanceSnapshot,
    InstanceState,
    IoSide,
    IoSnapshot,
    Mapping,
    Outcome,
    Proto,
    TcpState,
    TimeoutClass,
    Verdict,
)
from hashmvt.model import Direction as Dir
from hashmvt.names import Counters, DropReason, EventType, Gauges, PassReason

if TYPE_CHECKING:
    from hashmvt._ffi._mvt import CData
    from hashmvt.dataplane.embedded.settings import EngineSettings
    from hashmvt.model import HomeMap, MappingFilter
    from hashmvt.policy import Policy, PolicySet

DROPS = tuple(DropReason)
PASSES = tuple(PassReason)
_EVENTS = tuple(EventType)
_COUNTERS = len(fields(Counters))
_GAUGES = len(fields(Gauges))
_SHARE = 1024


@dataclass(frozen=True, slots=True)
class Description:
    """A C struct and everything that it points to."""

    c: CData
    keep: tuple[Any, ...]


def text(c_string: CData) -> str:
    """Return a C string."""
    return ffi.string(c_string).decode("utf-8", "replace")


# ---- to C ----


def _prefix(c: CData, network: IPv4Network) -> None:
    c.addr = int(network.network_address)
    c.len = network.prefixlen


def endpoint_to_c(c: CData, endpoint: Endpoint) -> None:
    """Fill a ``mvt_endpoint_t``."""
    c.addr = int(endpoint.addr)
    c.port = endpoint.port
    c.proto = endpoint.proto


def filter_to_c(c: CData, where: MappingFilter) -> None:
    """Fill a ``mvt_mapping_filter_t``."""
    _prefix(c.inside, where.inside)
    _prefix(c.external, where.external)
    c.in_port = where.inside_port
    c.ext_port = where.external_port
    c.proto_plus1 = 0 if where.proto is None else where.proto + 1
    c.statics = {None: 0, True: 1, False: 2}[where.statics]
    c.realm = where.realm


def policy_to_c(policy: PolicySet) -> Description:
    """Return a ``mvt_policy_desc_t *``."""
    slots = [slot for one in policy.policies for slot in one.slots]
    c_policies = ffi.new("mvt_policy_t[]", len(policy.policies))
    first = 0
    for c_policy, one in zip(c_policies, policy.policies, strict=True):
        _policy(c_policy, one)
        c_policy.slots_first, c_policy.n_slots = first, len(one.slots)
        first += len(one.slots)
    c_slots = ffi.new("uint32_t[]", slots)
    c_inside = ffi.new("mvt_policy_rule_t[]", len(policy.inside))
    for c_rule, rule in zip(c_inside, policy.inside, strict=True):
        _prefix(c_rule.inside, rule.inside)
        c_rule.policy = rule.policy
    # an address that is not described any more drains, and is forgotten once it is empty
    runs = [run for run in policy.runs if not run.draining]
    c_runs = ffi.new("mvt_pool_run_t[]", len(runs))
    for c_run, run in zip(c_runs, runs, strict=True):
        c_run.first, c_run.count, c_run.slot = int(run.first), run.count, run.slot
    c_exempt = ffi.new("mvt_prefix4_t[]", len(policy.exempt))
    for c_prefix, network in zip(c_exempt, policy.exempt, strict=True):
        _prefix(c_prefix, network)
    c_statics = ffi.new("mvt_static_rule_t[]", len(policy.statics))
    for c_static, static in zip(c_statics, policy.statics, strict=True):
        _prefix(c_static.inside, static.inside)
        _prefix(c_static.outside, static.outside)
    desc: CData = ffi.new("mvt_policy_desc_t *")
    desc.generation = policy.generation
    desc.policies, desc.n_policies = c_policies, len(policy.policies)
    desc.slots, desc.n_slots = c_slots, len(slots)
    desc.inside, desc.n_inside = c_inside, len(policy.inside)
    desc.runs, desc.n_runs = c_runs, len(runs)
    desc.exempt, desc.n_exempt = c_exempt, len(policy.exempt)
    desc.statics, desc.n_statics = c_statics, len(policy.statics)
    return Description(desc, (c_policies, c_slots, c_inside, c_runs, c_exempt, c_statics))


def _policy(c: CData, policy: Policy) -> None:
    for timeout in TimeoutClass:
        c.timeout[timeout] = getattr(policy.timeouts, timeout.name.lower())
    for proto in Proto:
        c.filter[proto] = getattr(policy.filtering, proto.name.lower())
        c.mappings_per_host[proto] = getattr(policy.mappings_per_host, proto.name.lower())
    c.paired_only = policy.paired_only
    c.mappings_per_host_all = policy.mappings_per_host_all
    c.new_per_second_per_host = policy.new_per_second_per_host
    c.max_blocks_per_host = policy.max_blocks_per_host


def home_to_c(home: HomeMap, instances: int) -> Description:
    """Return a ``mvt_home_desc_t *`` for a dataplane of so many instances."""
    c_ranges = ffi.new("mvt_home_range_t[]", len(home.ranges))
    for c, item in zip(c_ranges, home.ranges, strict=True):
        _prefix(c.prefix, item.prefix)
        c.realm = item.realm
        c.instance = lib.MVT_NO_INSTANCE if item.instance is None else item.instance
        c.table = lib.MVT_NONE if item.table is None else item.table
        if item.closing:
            c.flags |= lib.MVT_HOME_F_CLOSING
            c.flags |= lib.MVT_HOME_F_BY_ENDPOINT if item.closing.by_endpoint else 0
            setattr(c, "from", item.closing.from_instance)
            c.to = item.closing.to_instance
        if item.external is not None:
            c.flags |= lib.MVT_HOME_F_OPENED
            c.ext_addr = int(item.external)
    c_tables = ffi.new("uint16_t[]", [entry for table in home.tables for entry in table])
    c_pins = ffi.new("mvt_home_pin_t[]", len(home.pins))
    for c, pin in zip(c_pins, home.pins, strict=True):
        endpoint_to_c(c.endpoint, pin.endpoint)
        c.realm, c.instance = pin.realm, pin.instance
    desc: CData = ffi.new("mvt_home_desc_t *")
    desc.version = home.version
    desc.ranges, desc.n_ranges = c_ranges, len(home.ranges)
    desc.tables, desc.n_tables = c_tables, len(home.tables)
    desc.pins, desc.n_pins = c_pins, len(home.pins)
    desc.n_instances = instances
    return Description(desc, (c_ranges, c_tables, c_pins))


def settings_to_c(settings: EngineSettings) -> Description:
    """Return a ``mvt_engine_config_t *``."""
    policy = policy_to_c(settings.policy)
    words = ffi.new("uint64_t[1024]")
    ffi.memmove(words, settings.allocatable, len(settings.allocatable))
    devices = [
        ffi.new("char[]", name.encode()) if name else ffi.NULL
        for name in (settings.tun_inside, settings.tun_outside)
    ]
    c: CData = ffi.new("mvt_engine_config_t *")
    c.instances_initial, c.instances_max = settings.instances_initial, settings.instances_max
    c.max_mappings = settings.max_mappings
    c.max_sessions, c.max_hosts = settings.max_sessions, settings.max_hosts
    c.block_size, c.max_slots = settings.block_size, settings.max_slots
    c.fragment_timeout = settings.fragment_timeout
    c.hold_seconds = settings.hold_seconds
    c.hold_share_1024 = round(settings.hold_share * _SHARE)
    c.by_host, c.log = settings.by_host, settings.log_level
    c.stepped, c.truncated_ok = settings.stepped, settings.truncated_ok
    c.pin_threads = settings.pin_threads
    c.allocatable = words
    c.policy = policy.c
    c.seed = settings.seed or (0, 0, 0, 0)
    c.tun_inside, c.tun_outside = devices
    return Description(c, (policy, words, devices))


# ---- from C ----


def _endpoint(c: CData) -> Endpoint:
    return Endpoint(IPv4Address(c.addr), c.port, Proto(c.proto))


def mapping_from_c(c: CData) -> Mapping:
    """Read a ``mvt_mapping_info_t``."""
    return Mapping(
        inside=_endpoint(getattr(c, "in")),
        external=_endpoint(c.ext),
        remote=_endpoint(c.remote) if c.remote.addr else None,
        instance=c.instance,
        policy=c.policy,
        is_static=bool(c.is_static),
        tcp_state=TcpState(c.tcp_state),
        filtering=Filtering(c.filter),
        sessions=c.sessions,
        age_s=c.age,
        idle_s=c.idle,
        expires_in_s=None if c.expires_in == lib.MVT_NONE else c.expires_in,
        packets_in2out=c.packets[0],
        packets_out2in=c.packets[1],
        realm=c.realm,
    )


def host_from_c(c: CData) -> Host:
    """Read a ``mvt_host_info_t``."""
    return Host(
        addr=IPv4Address(c.addr),
        instance=c.instance,
        external=IPv4Address(c.ext_addr),
        mappings_udp=c.mappings[Proto.UDP],
        mappings_tcp=c.mappings[Proto.TCP],
        mappings_icmp=c.mappings[Proto.ICMP],
        blocks=c.blocks,
        realm=c.realm,
    )


def block_from_c(c: CData, block_size: int) -> Block:
    """Read a ``mvt_block_info_t``."""
    return Block(
        external=IPv4Address(c.ext_addr),
        first_port=c.first_port,
        ports=block_size,
        instance=c.instance,
        in_use_udp=c.in_use[Proto.UDP],
        in_use_tcp=c.in_use[Proto.TCP],
        in_use_icmp=c.in_use[Proto.ICMP],
        holder=IPv4Address(c.holder) if c.holder else None,
    )


def snapshot_from_c(c: CData) -> InstanceSnapshot:
    """Read a ``mvt_instance_snapshot_t``."""
    counters = ffi.unpack(c.counters, _COUNTERS + _GAUGES)
    return InstanceSnapshot(
        id=c.id,
        state=InstanceState(c.state),
        epoch=c.epoch,
        cycles_busy=c.cycles_busy,
        cycles_total=c.cycles_total,
        loops=c.loops,
        ring_dropped=c.ring_dropped,
        io_errors=c.io_errors,
        counters=Counters(*counters[:_COUNTERS]),
        gauges=Gauges(*counters[_COUNTERS:]),
        passed=tuple(ffi.unpack(c.passed, len(PASSES))),
        dropped=tuple(ffi.unpack(c.dropped, len(DROPS))),
    )


def io_from_c(c: CData) -> IoSnapshot:
    """Read a ``mvt_io_snapshot_t``."""
    inside, outside = (
        IoSide(c.packets[way], c.not_ipv4[way], c.oversize[way], c.errors[way], c.failed[way])
        for way in Dir
    )
    return IoSnapshot(inside, outside, c.no_buffer)


def event_from_c(c: CData) -> Event:
    """Read a ``mvt_event_t``."""
    kind = _EVENTS[c.type]
    has_reason = kind in (EventType.HOST_LIMIT, EventType.EXHAUSTED)
    return Event(
        tick=c.tick,
        type=kind,
        instance=c.instance,
        inside=IPv4Address(c.in_addr),
        inside_port=c.in_port,
        external=IPv4Address(c.ext_addr),
        external_port=c.ext_port,
        ports=c.ports,
        proto=Proto(c.proto) if c.proto < len(Proto) else None,
        reason=DROPS[c.detail] if has_reason and c.detail < len(DROPS) else None,
        realm=c.realm,
    )


def outcome_from_c(c: CData, cookie: int) -> Outcome:
    """Read a ``mvt_engine_packet_t`` with its verdict."""
    verdict = Verdict(c.verdict)
    return Outcome(
        verdict=verdict,
        data=ffi.buffer(c.data, c.len)[:],
        direction=Dir(c.dir),
        instance=c.instance,
        first_instance=c.first_instance,
        drop=DROPS[c.reason] if verdict is Verdict.DROPPED else None,
        passed=PASSES[c.reason] if verdict is Verdict.PASSED else None,
        cookie=cookie,
    )


def drops_from_c(c: CData) -> tuple[tuple[DropReason, int], ...]:
    """Read an array of drop counters: reasons that occurred only."""
    values = ffi.unpack(c, len(DROPS))
    return tuple((reason, n) for reason, n in zip(DROPS, values, strict=True) if n)

# SPDX-License-Identifier: Apache-2.0
"""Values <-> the fields of the plugin's messages. The only place that knows both.

Addresses and prefixes need no conversion: vpp-papi takes and gives ``ipaddress`` values.
"""

from __future__ import annotations

from dataclasses import fields
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Any

from hashmvt.model import (
    Block,
    Closing,
    Endpoint,
    EndpointPin,
    Event,
    Filtering,
    HomeRange,
    Host,
    InstanceSnapshot,
    InstanceState,
    Mapping,
    MappingFilter,
    Proto,
    StaticMapping,
    TcpState,
)
from hashmvt.names import Counters, DropReason, EventType, Gauges, PassReason
from hashmvt.policy import (
    FilteringPerProto,
    InsidePolicy,
    PerProto,
    Policy,
    PoolRun,
    StaticRule,
    Timeouts,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

Fields = dict[str, Any]

EVERY_INSTANCE = 0xFFFF
_NO_INSTANCE = 0xFFFF
_NONE = 0xFFFFFFFF
_NO_ADDRESS = IPv4Address(0)
_CLOSING, _BY_ENDPOINT, _OPENED = 1, 2, 4
_TIMEOUTS = tuple(f.name for f in fields(Timeouts))
_PROTOS = tuple(p.name.lower() for p in Proto)
_DROPS = tuple(DropReason)
_EVENTS = tuple(EventType)

# ---- to messages ----


def endpoint_to_fields(endpoint: Endpoint) -> Fields:
    """A ``hashmvt_endpoint``."""
    return {"address": endpoint.addr, "port": endpoint.port, "proto": int(endpoint.proto)}


def filter_to_fields(where: MappingFilter, statics: int) -> Fields:
    """A ``hashmvt_filter``."""
    return {
        "inside": where.inside,
        "external": where.external,
        "inside_port": where.inside_port,
        "external_port": where.external_port,
        "proto_plus1": 0 if where.proto is None else where.proto + 1,
        "statics": statics,
        "instance": EVERY_INSTANCE if where.instance is None else where.instance,
        "realm": where.realm,
    }


def range_to_fields(item: HomeRange) -> Fields:
    """A ``hashmvt_range``."""
    closing = item.closing
    flags = 0
    if closing:
        flags |= _CLOSING | (_BY_ENDPOINT if closing.by_endpoint else 0)
    if item.external is not None:
        flags |= _OPENED
    return {
        "prefix": item.prefix,
        "realm": item.realm,
        "instance": _NO_INSTANCE if item.instance is None else item.instance,
        "table": _NONE if item.table is None else item.table,
        "from_instance": closing.from_instance if closing else 0,
        "to_instance": closing.to_instance if closing else 0,
        "flags": flags,
        "external": item.external or _NO_ADDRESS,
    }


def pin_to_fields(pin: EndpointPin) -> Fields:
    """A ``hashmvt_pin``."""
    return {
        "endpoint": endpoint_to_fields(pin.endpoint),
        "realm": pin.realm,
        "instance": pin.instance,
    }


def policy_to_fields(policy: Policy) -> Fields:
    """A ``hashmvt_policy``."""
    return {
        "timeouts": [getattr(policy.timeouts, name) for name in _TIMEOUTS],
        "filtering": bytes(getattr(policy.filtering, name) for name in _PROTOS),
        "paired_only": int(policy.paired_only),
        "mappings_per_host": [getattr(policy.mappings_per_host, name) for name in _PROTOS],
        "mappings_per_host_all": policy.mappings_per_host_all,
        "new_per_second_per_host": policy.new_per_second_per_host,
        "max_blocks_per_host": policy.max_blocks_per_host,
    }


def run_to_fields(run: PoolRun) -> Fields:
    """A ``hashmvt_run``."""
    return {
        "first": run.first,
        "count": run.count,
        "slot": run.slot,
        "draining": int(run.draining),
    }


def inside_to_fields(item: InsidePolicy) -> Fields:
    """A ``hashmvt_inside``."""
    return {"prefix": item.inside, "policy": item.policy}


def rule_to_fields(rule: StaticRule) -> Fields:
    """A ``hashmvt_rule``."""
    return {"inside": rule.inside, "outside": rule.outside}


# ---- from messages ----


def endpoint_from(m: Any) -> Endpoint:
    """Read a ``hashmvt_endpoint``."""
    return Endpoint(m.address, m.port, Proto(m.proto))


def mapping_from(m: Any) -> Mapping:
    """Read a ``hashmvt_mapping_details``."""
    return Mapping(
        inside=endpoint_from(m.inside),
        external=endpoint_from(m.external),
        remote=None if m.remote.address == _NO_ADDRESS else endpoint_from(m.remote),
        instance=m.instance,
        policy=m.policy,
        is_static=m.is_static,
        tcp_state=TcpState(m.tcp_state),
        filtering=Filtering(m.filtering),
        sessions=m.sessions,
        age_s=m.age,
        idle_s=m.idle,
        expires_in_s=None if m.expires_in == _NONE else m.expires_in,
        packets_in2out=m.packets_in2out,
        packets_out2in=m.packets_out2in,
        realm=m.realm,
    )


def host_from(m: Any) -> Host:
    """Read a ``hashmvt_host_details``."""
    return Host(
        addr=m.address,
        instance=m.instance,
        external=m.external,
        mappings_udp=m.mappings[Proto.UDP],
        mappings_tcp=m.mappings[Proto.TCP],
        mappings_icmp=m.mappings[Proto.ICMP],
        blocks=m.blocks,
        realm=m.realm,
    )


def block_from(m: Any, block_size: int) -> Block:
    """Read a ``hashmvt_block_details``."""
    return Block(
        external=m.external,
        first_port=m.first_port,
        ports=block_size,
        instance=m.instance,
        in_use_udp=m.in_use[Proto.UDP],
        in_use_tcp=m.in_use[Proto.TCP],
        in_use_icmp=m.in_use[Proto.ICMP],
        holder=None if m.holder == _NO_ADDRESS else m.holder,
    )


def static_from(m: Any) -> StaticMapping:
    """Read a ``hashmvt_static_mapping_details``."""
    return StaticMapping(endpoint_from(m.inside), endpoint_from(m.outside), m.realm)


def range_from(m: Any) -> HomeRange:
    """Read a ``hashmvt_range``."""
    return HomeRange(
        prefix=m.prefix,
        # where a table says who, the plugin says anything here
        instance=m.instance if m.table == _NONE else None,
        table=None if m.table == _NONE else m.table,
        closing=Closing(m.from_instance, m.to_instance, bool(m.flags & _BY_ENDPOINT))
        if m.flags & _CLOSING
        else None,
        external=m.external if m.flags & _OPENED else None,
        realm=m.realm,
    )


def pin_from(m: Any) -> EndpointPin:
    """Read a ``hashmvt_pin``."""
    return EndpointPin(endpoint_from(m.endpoint), m.instance, m.realm)


def policy_from(m: Any) -> Policy:
    """Read a ``hashmvt_policy_details``."""
    policy = m.policy
    return Policy(
        slots=tuple(m.slots),
        timeouts=Timeouts(*policy.timeouts),
        filtering=FilteringPerProto(*(Filtering(value) for value in policy.filtering)),
        mappings_per_host=PerProto(*policy.mappings_per_host),
        mappings_per_host_all=policy.mappings_per_host_all,
        new_per_second_per_host=policy.new_per_second_per_host,
        max_blocks_per_host=policy.max_blocks_per_host,
        paired_only=bool(policy.paired_only),
    )


def inside_from(m: Any) -> InsidePolicy:
    """Read a ``hashmvt_prefix_details`` of part 0."""
    return InsidePolicy(m.prefix, m.value)


def exempt_from(m: Any) -> IPv4Network:
    """Read a ``hashmvt_prefix_details`` of part 1."""
    prefix: IPv4Network = m.prefix
    return prefix


def rule_from(m: Any) -> StaticRule:
    """Read a ``hashmvt_prefix_details`` of part 2."""
    return StaticRule(m.prefix, m.outside)


def run_from(m: Any) -> PoolRun:
    """Read a ``hashmvt_pool_details``."""
    return PoolRun(m.first, m.count, m.slot, m.draining)


def event_from(m: Any) -> Event:
    """Read a ``hashmvt_event``."""
    kind = _EVENTS[m.type]
    has_reason = kind in (EventType.HOST_LIMIT, EventType.EXHAUSTED)
    return Event(
        tick=m.tick,
        type=kind,
        instance=m.instance,
        inside=m.inside,
        inside_port=m.inside_port,
        external=m.external,
        external_port=m.external_port,
        ports=m.ports,
        proto=Proto(m.proto) if m.proto < len(Proto) else None,
        reason=_DROPS[m.detail] if has_reason and m.detail < len(_DROPS) else None,
        realm=m.realm,
    )


# ---- the stats segment ----

_STATE = ("state", "epoch", "cycles_busy", "cycles_total", "loops", "handoff_congestion")
_COUNTERS = tuple(f.name for f in fields(Counters))
_GAUGES = tuple(f.name for f in fields(Gauges))

STATS = (
    *(f"/hashmvt/{name}" for name in (*_STATE, *_COUNTERS, *_GAUGES)),
    *(f"/hashmvt/passed/{reason.label}" for reason in PassReason),
    *(f"/hashmvt/dropped/{reason.label}" for reason in DropReason),
)
"""Counter vectors that make a snapshot: one value for each thread."""


def instance_from(number: int, thread: int, vectors: Sequence[Sequence[int]]) -> InstanceSnapshot:
    """Read one instance from the vectors of ``STATS``; a vector may end before its thread."""
    column = [vector[thread] if thread < len(vector) else 0 for vector in vectors]
    parts: list[list[int]] = []
    for size in (len(_STATE), len(_COUNTERS), len(_GAUGES), len(PassReason), len(DropReason)):
        parts.append(column[:size])
        column = column[size:]
    (state, epoch, busy, total, loops, congestion), counters, gauges, passed, dropped = parts
    return InstanceSnapshot(
        id=number,
        state=InstanceState(state),
        epoch=epoch,
        cycles_busy=busy,
        cycles_total=total,
        loops=loops,
        ring_dropped=congestion,
        counters=Counters(*counters),
        gauges=Gauges(*gauges),
        passed=tuple(passed),
        dropped=tuple(dropped),
    )

# SPDX-License-Identifier: Apache-2.0
"""Model -> JSON: the stable keys that docs/cli.md documents."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from hashmvt.names import DropReason, PassReason

if TYPE_CHECKING:
    from hashmvt.cli.output import Json
    from hashmvt.cli.rates import Rates
    from hashmvt.model import (
        Block,
        Endpoint,
        Event,
        HomeMap,
        HomeRange,
        Host,
        InstanceSnapshot,
        IoSide,
        Mapping,
        Snapshot,
    )
    from hashmvt.policy import Policy, PolicySet


def endpoint(value: Endpoint) -> Json:
    """Return an endpoint."""
    return {
        "address": str(value.addr),
        "port": value.port,
        "protocol": value.proto.name.lower(),
    }


def mapping(value: Mapping) -> Json:
    """Return a mapping."""
    return {
        "inside": endpoint(value.inside),
        "external": endpoint(value.external),
        "remote": endpoint(value.remote) if value.remote else None,
        "instance": value.instance,
        "policy": value.policy,
        "static": value.is_static,
        "tcp_state": value.tcp_state.name.lower(),
        "filtering": value.filtering.name.lower().replace("_", "-"),
        "sessions": value.sessions,
        "age": value.age_s,
        "idle": value.idle_s,
        "expires_in": value.expires_in_s,
        "packets_in2out": value.packets_in2out,
        "packets_out2in": value.packets_out2in,
        "realm": value.realm,
    }


def host(value: Host) -> Json:
    """Return a host."""
    return {
        "address": str(value.addr),
        "external": str(value.external),
        "instance": value.instance,
        "mappings": value.mappings,
        "mappings_udp": value.mappings_udp,
        "mappings_tcp": value.mappings_tcp,
        "mappings_icmp": value.mappings_icmp,
        "blocks": value.blocks,
        "realm": value.realm,
    }


def block(value: Block) -> Json:
    """Return a block."""
    return {
        "external": str(value.external),
        "first_port": value.first_port,
        "ports": value.ports,
        "instance": value.instance,
        "in_use_udp": value.in_use_udp,
        "in_use_tcp": value.in_use_tcp,
        "in_use_icmp": value.in_use_icmp,
        "holder": str(value.holder) if value.holder else None,
    }


def event(value: Event) -> Json:
    """Return an event."""
    return {
        "tick": value.tick,
        "type": value.type.label,
        "instance": value.instance,
        "inside": str(value.inside),
        "inside_port": value.inside_port,
        "external": str(value.external),
        "external_port": value.external_port,
        "ports": value.ports,
        "protocol": value.proto.name.lower() if value.proto is not None else None,
        "reason": value.reason.label if value.reason else None,
        "realm": value.realm,
    }


def instance(value: InstanceSnapshot, host_name: str, rates: Rates | None) -> Json:
    """Return an instance with its counters and gauges."""
    result: dict[str, Json] = {
        "id": value.id,
        "name": f"{host_name}/{value.id}",
        "state": value.state.name.lower(),
        "epoch": value.epoch,
        "load": rates.load if rates else None,
        "ring_dropped": value.ring_dropped,
        "io_errors": value.io_errors,
        "counters": asdict(value.counters),
        "gauges": asdict(value.gauges),
        "passed": {reason.label: value.passes(reason) for reason in PassReason},
        "dropped": {reason.label: value.drops(reason) for reason in DropReason},
    }
    return result


def _io(value: IoSide) -> Json:
    return {
        "packets": value.packets,
        "not_ipv4": value.not_ipv4,
        "oversize": value.oversize,
        "errors": value.errors,
        "failed_errno": value.failed_errno,
    }


def snapshot(value: Snapshot, host_name: str, rates: dict[int, Rates]) -> Json:
    """Return a snapshot."""
    return {
        "host": host_name,
        "tick": value.tick,
        "generation": value.generation,
        "home_version": value.home_version,
        "rules_version": value.rules_version,
        "policy_generation": value.policy_generation,
        "instances": [instance(i, host_name, rates.get(i.id)) for i in value.instances],
        "io": {
            "inside": _io(value.io.inside),
            "outside": _io(value.io.outside),
            "no_buffer": value.io.no_buffer,
        },
    }


def _range(value: HomeRange) -> Json:
    move = value.closing
    return {
        "prefix": str(value.prefix),
        "instance": value.instance,
        "table": value.table,
        "closing": {
            "from": move.from_instance,
            "to": move.to_instance,
            "by_endpoint": move.by_endpoint,
        }
        if move
        else None,
        "external": str(value.external) if value.external else None,
        "realm": value.realm,
    }


def home(value: HomeMap) -> Json:
    """Return a home map or rules."""
    return {
        "version": value.version,
        "ranges": [_range(r) for r in value.ranges],
        "tables": [list(table) for table in value.tables],
        "pins": [
            {"endpoint": endpoint(p.endpoint), "instance": p.instance, "realm": p.realm}
            for p in value.pins
        ],
    }


def _policy(value: Policy) -> Json:
    return {
        "slots": list(value.slots),
        "timeouts": asdict(value.timeouts),
        "filtering": {
            name: getattr(value.filtering, name).name.lower().replace("_", "-")
            for name in ("udp", "tcp", "icmp")
        },
        "mappings_per_host": {
            **asdict(value.mappings_per_host),
            "all": value.mappings_per_host_all,
        },
        "new_per_second_per_host": value.new_per_second_per_host,
        "max_blocks_per_host": value.max_blocks_per_host,
        "fallback": not value.paired_only,
    }


def policies(value: PolicySet) -> Json:
    """Return policies."""
    return {
        "generation": value.generation,
        "policies": [_policy(p) for p in value.policies],
        "inside": [{"prefix": str(r.inside), "policy": r.policy} for r in value.inside],
        "pool": [
            {
                "first": str(r.first),
                "count": r.count,
                "slot": r.slot,
                "draining": r.draining,
            }
            for r in value.runs
        ],
        "exempt": [str(p) for p in value.exempt],
        "one_to_one": [{"inside": str(r.inside), "outside": str(r.outside)} for r in value.statics],
        "static": [
            {"inside": endpoint(m.inside), "outside": endpoint(m.outside)} for m in value.endpoints
        ],
    }

# SPDX-License-Identifier: Apache-2.0
"""Reads section ``nat44``: addresses, ports, policies and static mappings, and what they mean
together (overlaps, rounding, RFC minimums).
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, collapse_addresses
from typing import TYPE_CHECKING, Generic, TypeVar

from hashmvt.config import addresses
from hashmvt.config.addresses import Unreadable
from hashmvt.config.spans import Spans
from hashmvt.config.structure import spell
from hashmvt.config.values import (
    AddressRange,
    Allocation,
    HoldDown,
    Limits,
    Nat44Config,
    PolicyConfig,
    PortRange,
)
from hashmvt.model import Endpoint, Filtering, Proto, StaticMapping
from hashmvt.policy import FilteringPerProto, PerProto, StaticRule, Timeouts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hashmvt.config.section import Section
    from hashmvt.config.yamlfile import Key, Value

T = TypeVar("T")
R = TypeVar("R")

MAX_POOL = 1 << 19
"""Pool addresses: half of the core's slots, so that a new pool fits while the old one drains."""
MAX_POLICIES = 4095
"""Beside the default: the core's bound."""
_PORTS = 65536
_FILTERINGS = {
    "endpoint-independent": Filtering.ENDPOINT_INDEPENDENT,
    "address-dependent": Filtering.ADDRESS_DEPENDENT,
    "address-and-port-dependent": Filtering.ADDRESS_AND_PORT_DEPENDENT,
}
_MINIMUMS = {
    "udp": (120, "RFC 4787 REQ-5"),
    "tcp_established": (7440, "RFC 5382 REQ-5"),
    "tcp_transitory": (240, "RFC 5382 REQ-5"),
    "tcp_incoming_syn": (6, "RFC 5382 REQ-4"),
    "icmp": (60, "RFC 5508 REQ-2"),
}
_HOLD_DOWN = 120
_UNUSABLE = tuple(
    AddressRange.of(IPv4Network(text)) for text in ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3")
)


@dataclass(frozen=True, slots=True)
class _Placed(Generic[T]):
    """A value and where it stands."""

    key: Key
    value: T


def read_nat44(section: Section) -> Nat44Config:
    """Return the section's values; problems and warnings go to the section's lists."""
    block_size = _block_size(section)
    ports = _ports(section, block_size)
    reserved = _reserved(section, ports)
    inside = _prefixes(section, "inside")
    pool = _pool(section)
    default = PolicyConfig(
        inside=tuple(item.value for item in inside),
        pool=tuple(item.value for item in pool),
        limits=_limits(section, Limits()),
        timeouts=_timeouts(section, Timeouts()),
        filtering=_filtering(section, FilteringPerProto()),
        max_blocks_per_host=section.whole("max_blocks_per_host", 0),
        fallback=section.flag("fallback", default=True),
    )
    policies = _policies(section, default, inside, pool)
    _hosts(section, inside)
    _apart(section, inside, pool)
    statics, endpoints = _statics(section, inside, pool)
    timeouts = section.sub("timeouts")
    fragment = timeouts.whole("fragment", Nat44Config(default).fragment_timeout)
    allocation = Allocation(section.word("allocation", "port"))
    if allocation is Allocation.PORT and section.has("max_blocks_per_host"):
        section.warn_at(
            "max_blocks_per_host",
            "max_blocks_per_host has no effect here",
            "write allocation: block, or remove it",
        )
    hold = section.sub("hold_down")
    seconds = hold.whole("seconds", HoldDown().seconds)
    if seconds < _HOLD_DOWN:
        hold.warn_at(
            "seconds",
            f"a hold-down of {seconds} s is below {_HOLD_DOWN} s",
            "RFC 6888 REQ-8 asks for 120 s",
        )
    return Nat44Config(
        default=default,
        policies=policies,
        ports=ports,
        reserved_ports=reserved,
        block_size=block_size,
        allocation=allocation,
        hold_down=HoldDown(seconds, hold.number("max_share", HoldDown().max_share)),
        fragment_timeout=fragment,
        max_mappings=section.whole("max_mappings", Nat44Config(default).max_mappings),
        exempt=_exempt(section),
        statics=statics,
        static_endpoints=endpoints,
    )


# ---- ports ----


def _block_size(section: Section) -> int:
    size = section.whole("block_size", 64)
    if size & (size - 1):
        below = 1 << (size.bit_length() - 1)
        section.problem_at(
            "block_size", f"block_size {size} is no power of two", f"write {below} or {below * 2}"
        )
        return below
    return size


def _ports(section: Section, block_size: int) -> PortRange:
    """Round the range inward to whole blocks; port 0 is never used."""
    value = section.get("ports")
    wanted = PortRange(1024, _PORTS - 1)
    if isinstance(value, str | int):
        wanted = _try(section, (*section.key, "ports"), addresses.port_range, value) or wanted
    first = -(-max(wanted.first, 1) // block_size) * block_size
    last = (wanted.last + 1) // block_size * block_size - 1
    if first > last:
        section.problem_at(
            "ports" if section.has("ports") else "block_size",
            f"ports {wanted} hold no whole block of {block_size}",
            "widen the range or write a smaller block_size",
        )
        return wanted
    return PortRange(first, last)


def _reserved(section: Section, ports: PortRange) -> tuple[PortRange, ...]:
    result = [
        found
        for key, value in section.items("reserved_ports")
        if isinstance(value, str | int)
        and (found := _try(section, key, addresses.port_range, value)) is not None
    ]
    left = set(range(ports.first, ports.last + 1))
    for item in result:
        left.difference_update(range(item.first, item.last + 1))
    if not left:
        section.problem_at(
            "reserved_ports", f"reserved_ports leave none of the ports {ports}", "reserve fewer"
        )
    return tuple(result)


# ---- addresses ----


def _try(section: Section, key: Key, parse: Callable[[T], R], value: T) -> R | None:
    """Parse a value; report what is wrong with it and return None."""
    try:
        return parse(value)
    except Unreadable as error:
        section.problem(key, f"{spell(key)}: {error.reason}", error.remedy)
        return None


def _prefixes(section: Section, name: str) -> list[_Placed[IPv4Network]]:
    """Read a list of prefixes; one of them twice is a problem."""
    result: list[_Placed[IPv4Network]] = []
    seen: set[IPv4Network] = set()
    for key, value in section.items(name):
        if not isinstance(value, str):
            continue
        found = _try(section, key, addresses.prefix, value)
        if found is None:
            section.refuse(key)
        elif found in seen:
            section.problem(
                key, f"{found} stands in {spell((*section.key, name))} twice", "remove one"
            )
        else:
            seen.add(found)
            result.append(_Placed(key, found))
    return result


def _pool(section: Section) -> list[_Placed[AddressRange]]:
    """Read a pool: not empty, no address twice, only addresses that hosts can have."""
    result: list[_Placed[AddressRange]] = []
    ordered: list[_Placed[AddressRange]] = []  # by address; no two overlap
    where = (*section.key, "pool")
    if section.get("pool") == []:
        section.problem(
            where, "the pool is empty", "name addresses, such as pool: [198.51.100.0/28]"
        )
        section.refuse(where)
    for key, value in section.items("pool"):
        found = _pool_item(section, key, value)
        if found is None:
            section.refuse(key)
            continue
        at = bisect_left(ordered, found.first, key=lambda item: item.value.first)
        beside = ordered[max(at - 1, 0) : at + 1]
        if bad := next((u for u in _UNUSABLE if u.overlaps(found)), None):
            section.problem(
                key, f"pool {found} holds addresses that no host can have ({bad})", "remove them"
            )
            section.refuse(key)
        elif twice := next((o for o in beside if o.value.overlaps(found)), None):
            section.problem(
                key,
                f"pool {found} overlaps {twice.value} of line {section.document.line(twice.key)}",
                "name each address once",
            )
            section.refuse(key)
        else:
            ordered.insert(at, _Placed(key, found))
            result.append(_Placed(key, found))
    count = sum(item.value.count for item in result)
    if count > MAX_POOL:
        section.problem(
            where,
            f"the pool has {count} addresses, at most {MAX_POOL} are possible",
            "split it over several hosts",
        )
    return result


def _pool_item(section: Section, key: Key, value: Value) -> AddressRange | None:
    if isinstance(value, dict):
        name = value.get("interface")
        if not isinstance(name, str):
            return None
        found = _try(section, key, addresses.interface_address, name)
        return AddressRange(found, found) if found else None
    return _try(section, key, addresses.address_range, str(value))


def _hosts(section: Section, inside: list[_Placed[IPv4Network]]) -> None:
    """Packets from multicast addresses and above are never translated."""
    for item in inside:
        if bad := next((u for u in _UNUSABLE if u.overlaps(AddressRange.of(item.value))), None):
            section.problem(
                item.key,
                f"inside {item.value} holds addresses that no host can have ({bad})",
                "write the prefixes of the hosts",
            )


def _apart(
    section: Section,
    inside: list[_Placed[IPv4Network]],
    pool: list[_Placed[AddressRange]],
) -> None:
    """RFC 4787 REQ-7: no external address may be an inside one."""
    spans = _prefix_spans(inside)
    for item in pool:
        if clash := spans.overlapping(item.value):
            section.problem(
                item.key,
                f"pool {item.value} overlaps inside {clash.value} of line "
                f"{section.document.line(clash.key)}",
                "take other addresses for one of them",
            )


def _prefix_spans(items: Iterable[_Placed[IPv4Network]]) -> Spans[_Placed[IPv4Network]]:
    return Spans((AddressRange.of(item.value), item) for item in items)


def _exempt(section: Section) -> tuple[IPv4Network, ...]:
    result = _prefixes(section, "exempt")
    for item in result:
        if item.value.prefixlen == 0:
            section.warn(
                item.key,
                "exempt 0.0.0.0/0 means that nothing is translated",
                "name the destinations that are not",
            )
    return tuple(item.value for item in result)


# ---- policies ----


def _timeouts(section: Section, base: Timeouts) -> Timeouts:
    value = section.get("timeouts")
    if isinstance(value, int | float):
        seconds = int(value)
        result = replace(
            base, udp=seconds, tcp_established=seconds, tcp_transitory=seconds, icmp=seconds
        )
        written = {"udp", "tcp_established", "tcp_transitory", "icmp"}
    else:
        part = section.sub("timeouts")
        result = Timeouts(**{name: part.whole(name, getattr(base, name)) for name in _MINIMUMS})
        written = {name for name in _MINIMUMS if part.has(name)}
    for name, (least, rfc) in _MINIMUMS.items():
        seconds = getattr(result, name)
        if name in written and seconds < least:
            key = (*section.key, "timeouts", name)
            section.warn(
                key,
                f"{spell(key)}: {seconds} s is below {least} s",
                f"{rfc} asks for at least {least}",
            )
    return result


def _filtering(section: Section, base: FilteringPerProto) -> FilteringPerProto:
    value = section.get("filtering")
    if isinstance(value, str):
        one = _FILTERINGS[value]
        return FilteringPerProto(one, one, one)
    part = section.sub("filtering")
    names = {v: k for k, v in _FILTERINGS.items()}
    return FilteringPerProto(
        udp=_FILTERINGS[part.word("udp", names[base.udp])],
        tcp=_FILTERINGS[part.word("tcp", names[base.tcp])],
        icmp=_FILTERINGS[part.word("icmp", names[base.icmp])],
    )


def _limits(section: Section, base: Limits) -> Limits:
    limits = section.sub("limits")
    rate = limits.whole("new_per_second_per_host", base.new_per_second_per_host)
    value = limits.get("mappings_per_host")
    if isinstance(value, int | float):
        return Limits(PerProto(), int(value), rate)
    part = limits.sub("mappings_per_host")
    return Limits(
        PerProto(
            udp=part.whole("udp", base.mappings_per_host.udp),
            tcp=part.whole("tcp", base.mappings_per_host.tcp),
            icmp=part.whole("icmp", base.mappings_per_host.icmp),
        ),
        part.whole("all", base.mappings_per_host_all),
        rate,
    )


def _policies(
    section: Section,
    default: PolicyConfig,
    inside: list[_Placed[IPv4Network]],
    pool: list[_Placed[AddressRange]],
) -> tuple[PolicyConfig, ...]:
    """Read the policies; their prefixes and pools are added to ``inside`` and ``pool``."""
    result = []
    seen: dict[IPv4Network, _Placed[IPv4Network]] = {}
    known = {item.value for item in inside}
    covered = Spans((AddressRange.of(item), item) for item in collapse_addresses(known))
    for key, _ in section.items("policies"):
        part = section.sub(*key[len(section.key) :])
        prefixes = _prefixes(part, "inside")
        for item in prefixes:
            if (twice := seen.setdefault(item.value, item)) is not item:
                section.problem(
                    item.key,
                    f"{item.value} has a policy already, in line "
                    f"{section.document.line(twice.key)}",
                    "merge the two",
                )
                continue
            wide = covered.overlapping(AddressRange.of(item.value))
            if not section.refused("inside") and not (wide and item.value.subnet_of(wide)):
                section.warn(
                    item.key,
                    f"{item.value} of a policy is not in nat44.inside; it is translated anyway",
                    "add it to nat44.inside, or write a prefix within",
                )
        own = _pool(part)
        pool += own
        result.append(
            PolicyConfig(
                inside=tuple(item.value for item in prefixes),
                pool=tuple(item.value for item in own) if part.has("pool") else default.pool,
                limits=_limits(part, default.limits),
                timeouts=_timeouts(part, default.timeouts),
                filtering=_filtering(part, default.filtering),
                max_blocks_per_host=part.whole("max_blocks_per_host", default.max_blocks_per_host),
                fallback=part.flag("fallback", default=default.fallback),
            )
        )
    inside += [item for prefix, item in seen.items() if prefix not in known]
    if len(result) > MAX_POLICIES:
        section.problem_at(
            "policies",
            f"{len(result)} policies are more than {MAX_POLICIES}",
            "join prefixes that have equal policies",
        )
    return tuple(result)


# ---- static mappings ----


def _statics(
    section: Section,
    inside: list[_Placed[IPv4Network]],
    pool: list[_Placed[AddressRange]],
) -> tuple[tuple[StaticRule, ...], tuple[StaticMapping, ...]]:
    """Read the static list: 1:1 rules and mappings of one endpoint."""
    rules: list[_Placed[StaticRule]] = []
    endpoints: list[_Placed[StaticMapping]] = []
    for key, _ in section.items("static"):
        part = section.sub(*key[len(section.key) :])
        here, there = (
            _try(section, (*key, name), addresses.static_side, part.word(name, ""))
            if part.has(name)
            else None
            for name in ("inside", "outside")
        )
        if here is None or there is None:
            continue
        if (here.port is None) != (there.port is None):
            section.problem(
                key,
                f"{spell(key)} has a port on one side only",
                "write a port on both sides, or on none for 1:1",
            )
        elif here.port is None or there.port is None:
            if part.has("protocol"):
                section.problem(
                    (*key, "protocol"),
                    f"{spell(key)} is 1:1 for all protocols",
                    "remove protocol, or write ports on both sides",
                )
            elif rule := _rule(section, key, StaticRule(here.network, there.network)):
                rules.append(_Placed(key, rule))
        else:
            for name in part.words("protocol") or ("tcp", "udp"):
                proto = Proto[name.upper()]
                endpoints.append(
                    _Placed(
                        key,
                        StaticMapping(
                            Endpoint(here.network.network_address, here.port, proto),
                            Endpoint(there.network.network_address, there.port, proto),
                        ),
                    )
                )
    _check_rules(section, rules, inside, pool)
    _check_endpoints(section, endpoints, inside, pool)
    return tuple(r.value for r in rules), tuple(e.value for e in endpoints)


def _rule(section: Section, key: Key, rule: StaticRule) -> StaticRule | None:
    if rule.inside.prefixlen != rule.outside.prefixlen:
        section.problem(
            key,
            f"{rule.inside} and {rule.outside} are of different size",
            "write prefixes of equal length",
        )
        return None
    return rule


def _check_rules(
    section: Section,
    rules: list[_Placed[StaticRule]],
    inside: list[_Placed[IPv4Network]],
    pool: list[_Placed[AddressRange]],
) -> None:
    pools = Spans((item.value, item) for item in pool)
    insides = _prefix_spans(inside)
    taken: dict[tuple[str, IPv4Network], Key] = {}
    for item in rules:
        here, there = (AddressRange.of(side) for side in (item.value.inside, item.value.outside))
        if any(u.overlaps(there) for u in _UNUSABLE):
            section.problem(
                item.key, f"outside {item.value.outside} is no address of a host", "write another"
            )
        if clash := pools.overlapping(there):
            section.problem(
                item.key,
                f"outside {item.value.outside} of a 1:1 rule lies in the pool ({clash.value}, "
                f"line {section.document.line(clash.key)})",
                "take it out of the pool",
            )
        if host := insides.overlapping(there):
            section.problem(
                item.key,
                f"outside {item.value.outside} of a 1:1 rule lies in inside {host.value}",
                "write an address of the outside",
            )
        if clash := pools.overlapping(here):
            section.problem(
                item.key,
                f"inside {item.value.inside} of a 1:1 rule lies in the pool ({clash.value}, "
                f"line {section.document.line(clash.key)})",
                "write an inside address",
            )
        for side, network in (("inside", item.value.inside), ("outside", item.value.outside)):
            if (first := taken.setdefault((side, network), item.key)) is not item.key:
                section.problem(
                    item.key,
                    f"{side} {network} has a 1:1 rule already, in line "
                    f"{section.document.line(first)}",
                    "remove one",
                )
    outsides = Spans((AddressRange.of(item.value.outside), item) for item in rules)
    for item in rules:
        if other := outsides.overlapping(AddressRange.of(item.value.inside)):
            section.problem(
                item.key,
                f"inside {item.value.inside} and outside {other.value.outside} of 1:1 rules "
                f"overlap (line {section.document.line(other.key)})",
                "take other addresses for one of them",
            )


def _check_endpoints(
    section: Section,
    endpoints: list[_Placed[StaticMapping]],
    inside: list[_Placed[IPv4Network]],
    pool: list[_Placed[AddressRange]],
) -> None:
    pools = Spans((item.value, item) for item in pool)
    insides = _prefix_spans(inside)
    sides: dict[Endpoint, Key] = {}
    checked: set[Key] = set()
    for item in endpoints:
        mapping = item.value
        here, there = (AddressRange(e.addr, e.addr) for e in (mapping.inside, mapping.outside))
        again = item.key in checked  # the same addresses, of another protocol
        checked.add(item.key)
        if not again and not section.refused("pool") and not pools.overlapping(there):
            section.problem(
                (*item.key, "outside"),
                f"{mapping.outside.addr} of a static mapping is not in the pool",
                "add it to the pool, or write 1:1 without ports",
            )
        if not again and not section.refused("inside") and not insides.overlapping(here):
            section.problem(
                (*item.key, "inside"),
                f"{mapping.inside.addr} of a static mapping is not inside",
                "add its prefix to inside",
            )
        for name, endpoint in (("inside", mapping.inside), ("outside", mapping.outside)):
            if endpoint in sides:
                section.problem(
                    (*item.key, name),
                    f"{endpoint} has a static mapping already, in line "
                    f"{section.document.line(sides[endpoint])}",
                    "remove one",
                )
            sides[endpoint] = item.key

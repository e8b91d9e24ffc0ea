# SPDX-License-Identifier: Apache-2.0
"""Edits of a home map: the three beats, pins and opened hosts, as pure functions.

A *move* takes regions from one instance to another. Each is two edits with a read between them:

* `close` marks every range that the move concerns as closing, from A to B;
* A's live hosts in those ranges are read (`Read`), which is complete once the closed map is in
  force everywhere;
* `swap` makes the ranges B's and pins those hosts to A.

The closed map itself says all that the swap needs, so whoever finds one, after a crash at any
point, reads and swaps. Retiring a pin is the same move for one host's /32: closed to the instance
that the range around it names, and taken away by the swap if the host is no longer live. Opening
a host closes it by endpoint: its live endpoints become endpoint pins, and the host is B's.

A region whose range is a bucket table keeps a table: a copy in which B stands for A.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, summarize_address_range
from typing import TYPE_CHECKING

from hashmvt.model import Closing, EndpointPin, HomeMap, HomeRange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from hashmvt.model import Endpoint

HOST_BITS = 32

Buckets = tuple[int, ...]
Key = tuple[int, "IPv4Network"]


@dataclass(frozen=True, slots=True)
class Read:
    """What lives at the old owners of a closed map's ranges."""

    hosts: frozenset[tuple[int, IPv4Address, int]] = frozenset()
    """Realm, inside address, instance: hosts with mappings there."""
    endpoints: frozenset[tuple[int, Endpoint, int]] = frozenset()
    """Realm, inside endpoint, instance: mappings of hosts that are being opened."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The value of a range: one instance, or the instances of a bucket table."""

    instance: int | None
    buckets: Buckets = ()

    @property
    def instances(self) -> frozenset[int]:
        """Everyone whom it names."""
        return frozenset(self.buckets) if self.instance is None else frozenset((self.instance,))

    def with_for(self, old: int, new: int) -> Owner:
        """The same with one instance standing for another."""
        if self.instance is not None:
            return Owner(new) if self.instance == old else self
        buckets = tuple(new if one == old else one for one in self.buckets)
        return Owner(buckets[0]) if len(set(buckets)) == 1 else Owner(None, buckets)

    def inherited(self, dead: int, heirs: Iterator[int]) -> Owner:
        """The same with each place of a dead instance taken by the next heir."""
        if self.instance is not None:
            return Owner(next(heirs))
        buckets = tuple(next(heirs) if one == dead else one for one in self.buckets)
        return Owner(buckets[0]) if len(set(buckets)) == 1 else Owner(None, buckets)


def is_pin(entry: HomeRange) -> bool:
    """A range of one host: a pin, or an opened host."""
    return entry.prefix.prefixlen == HOST_BITS


def owner_of(home: HomeMap, entry: HomeRange) -> Owner:
    """What a range names."""
    if entry.instance is not None:
        return Owner(entry.instance)
    return Owner(None, home.tables[entry.table or 0])


def around(home: HomeMap, prefix: IPv4Network, realm: int) -> HomeRange:
    """The longest range that covers a prefix and is not it; the default serves other realms."""
    covering = [
        entry
        for entry in home.ranges
        if entry.realm == realm and entry.prefix != prefix and prefix.subnet_of(entry.prefix)
    ]
    if covering:
        return max(covering, key=lambda entry: entry.prefix.prefixlen)
    return next(r for r in home.ranges if r.realm == 0 and r.prefix.prefixlen == 0)


class _Index:
    """Ranges by realm and prefix, for lookups that take one step per prefix length."""

    def __init__(self, home: HomeMap) -> None:
        self.by_key: dict[Key, HomeRange] = {(r.realm, r.prefix): r for r in home.ranges}
        self._lengths = sorted({r.prefix.prefixlen for r in home.ranges}, reverse=True)

    def longest(self, realm: int, addr: IPv4Address, below: int = HOST_BITS + 1) -> HomeRange:
        """The longest range of an address among those shorter than `below` bits."""
        host = _host(addr)
        for length in self._lengths:
            if length < below:
                prefix = host.supernet(new_prefix=length) if length < HOST_BITS else host
                found = self.by_key.get((realm, prefix))
                if found:
                    return found
        return self.by_key[0, _host(addr).supernet(new_prefix=0)]


def named(home: HomeMap, *, pins: bool = True) -> frozenset[int]:
    """Instances that a map names; without `pins`, by ranges of more than one host only."""
    found: set[int] = set()
    for entry in home.ranges:
        if pins or not is_pin(entry):
            found |= owner_of(home, entry).instances
        if entry.closing:
            found.add(entry.closing.to_instance)
    if pins:
        found |= {pin.instance for pin in home.pins}
    return frozenset(found)


def closing_ranges(home: HomeMap) -> tuple[HomeRange, ...]:
    """Ranges that are changing their owner."""
    return tuple(entry for entry in home.ranges if entry.closing)


# ---- the first beat ----


def close(
    home: HomeMap, regions: Iterable[tuple[int, IPv4Network]], *, source: int, target: int
) -> HomeMap:
    """Close all of some regions (realm and prefix), from `source` to `target`.

    Ranges inside a region close where they name the source; a region without a range of its own
    gets one with the value of the range around it. Pins stay as they are. The same map, when there
    is nothing to move.
    """
    wanted = tuple(regions)
    edit = _Edit(home)
    move = Closing(source, target)
    wide = [entry for entry in home.ranges if not is_pin(entry)]
    for realm, prefix in wanted:
        for entry in wide:
            inside = entry.realm == realm and entry.prefix.subnet_of(prefix)
            if inside and source in owner_of(home, entry).instances:
                edit.put(replace(entry, closing=move), owner_of(home, entry))
        if edit.get(realm, prefix) is None:
            outer = around(home, prefix, realm)
            value = owner_of(home, outer)
            if source in value.instances:
                edit.put(HomeRange(prefix, None, None, move, realm=realm), value)
    return edit.done()


def close_all(home: HomeMap, *, source: int, target: int) -> HomeMap:
    """Close every range of more than one host that names `source` (scale-in)."""
    regions = [
        (entry.realm, entry.prefix)
        for entry in home.ranges
        if not is_pin(entry) and source in owner_of(home, entry).instances
    ]
    return close(home, regions, source=source, target=target)


def retire(
    home: HomeMap,
    dead: Iterable[tuple[int, IPv4Address]],
    bucket: Callable[[int, IPv4Address], int | None],
) -> HomeMap:
    """Take back the pins of hosts that are no longer live there.

    A pin that names the instance of the range around it goes at once; the others close towards
    that instance. `bucket` gives a host's bucket; None leaves a pin that needs one.
    """
    edit, index = _Edit(home), _Index(home)
    opened = {(pin.realm, pin.endpoint.addr) for pin in home.pins}
    for realm, addr in dead:
        entry = index.by_key.get((realm, _host(addr)))
        if entry is None or entry.instance is None or entry.closing:
            continue
        if (realm, addr) in opened:
            continue  # the host's endpoint pins go first
        target = _instance_for(home, index.longest(realm, addr, HOST_BITS), realm, addr, bucket)
        if target == entry.instance:
            edit.remove(entry)
        elif target is not None:
            move = Closing(entry.instance, target)
            edit.put(replace(entry, closing=move), Owner(entry.instance))
    return edit.done()


def _instance_for(
    home: HomeMap,
    entry: HomeRange,
    realm: int,
    addr: IPv4Address,
    bucket: Callable[[int, IPv4Address], int | None],
) -> int | None:
    owner = owner_of(home, entry)
    if owner.instance is not None:
        return owner.instance
    number = bucket(realm, addr)
    return None if number is None else owner.buckets[number]


def drop_redundant(home: HomeMap, bucket: Callable[[int, IPv4Address], int | None]) -> HomeMap:
    """Take away the ranges of single hosts that say what the range around them says anyway.

    An opened host among them has no pinned endpoint left: who serves it knows its external
    address from its mappings, or it has none.
    """
    edit, index = _Edit(home), _Index(home)
    opened = {(pin.realm, pin.endpoint.addr) for pin in home.pins}
    for entry in home.ranges:
        addr = entry.prefix.network_address
        if not is_pin(entry) or entry.closing or (entry.realm, addr) in opened:
            continue
        outer = index.longest(entry.realm, addr, HOST_BITS)
        if outer.closing:
            continue
        if _instance_for(home, outer, entry.realm, addr, bucket) == entry.instance is not None:
            edit.remove(entry)
    return edit.done()


def open_hosts(
    home: HomeMap,
    hosts: Mapping[tuple[int, IPv4Address], IPv4Address],
    bucket: Callable[[int, IPv4Address], int | None],
    *,
    target: int | None = None,
) -> HomeMap:
    """Open pinned hosts: realm and address -> the external address that they keep.

    Their new endpoints will be mapped at the instance that the range around them names (or at
    `target`), what is live stays where it is. A host whose pin is there already is left alone.
    """
    edit, index = _Edit(home), _Index(home)
    for (realm, addr), external in hosts.items():
        entry = index.by_key.get((realm, _host(addr)))
        if entry is None or entry.instance is None or entry.closing or entry.external:
            continue
        to = target
        if to is None:
            outer = index.longest(realm, addr, HOST_BITS)
            to = _instance_for(home, outer, realm, addr, bucket)
        if to is not None and to != entry.instance:
            move = Closing(entry.instance, to, by_endpoint=True)
            edit.put(replace(entry, closing=move, external=external), Owner(entry.instance))
    return edit.done()


def retire_endpoints(home: HomeMap, dead: Iterable[EndpointPin]) -> HomeMap:
    """Close opened hosts again from where pinned endpoints ended; the swap keeps what is live."""
    edit, index = _Edit(home), _Index(home)
    for pin in dead:
        entry = index.by_key.get((pin.realm, _host(pin.endpoint.addr)))
        if entry is None or entry.instance is None:
            edit.unpin(pin)  # without its host's range it means nothing
        elif pin.instance == entry.instance:
            edit.unpin(pin)
        elif not entry.closing:
            move = Closing(pin.instance, entry.instance, by_endpoint=True)
            edit.put(replace(entry, closing=move), Owner(entry.instance))
    return edit.done()


# ---- the third beat ----


def swap(home: HomeMap, read: Read) -> HomeMap:
    """End every closing range of a map, given what lives at the old owners."""
    edit, index = _Edit(home), _Index(home)
    endpoints: dict[tuple[int, IPv4Address, int], list[Endpoint]] = {}
    for realm, endpoint, instance in read.endpoints:
        endpoints.setdefault((realm, endpoint.addr, instance), []).append(endpoint)
    for entry in closing_ranges(home):
        move = entry.closing
        if move is None:
            continue
        if move.by_endpoint:
            _swap_opened(edit, entry, move, endpoints)
        elif is_pin(entry):
            _swap_pin(edit, entry, move, read)
        else:
            after = owner_of(home, entry).with_for(move.from_instance, move.to_instance)
            edit.put(replace(entry, closing=None), after)
    for realm, addr, instance in sorted(read.hosts, key=lambda host: (host[0], host[1])):
        entry = index.longest(realm, addr)
        move = entry.closing
        if move and not is_pin(entry) and move.from_instance == instance:
            edit.put(HomeRange(_host(addr), instance, realm=realm), Owner(instance))
    return edit.done()


def _swap_pin(edit: _Edit, entry: HomeRange, move: Closing, read: Read) -> None:
    if (entry.realm, entry.prefix.network_address, move.from_instance) in read.hosts:
        edit.put(replace(entry, closing=None), Owner(move.from_instance))
    else:
        edit.remove(entry)


def _swap_opened(
    edit: _Edit,
    entry: HomeRange,
    move: Closing,
    endpoints: Mapping[tuple[int, IPv4Address, int], list[Endpoint]],
) -> None:
    addr, source = entry.prefix.network_address, move.from_instance
    for pin in edit.pins_of(entry.realm, addr):
        if pin.instance == source:
            edit.unpin(pin)
    for endpoint in endpoints.get((entry.realm, addr, source), ()):
        edit.pin(EndpointPin(endpoint, source, entry.realm))
    edit.put(replace(entry, closing=None), Owner(move.to_instance))


# ---- failure ----


def without(home: HomeMap, dead: int, heirs: tuple[int, ...]) -> HomeMap:
    """The map without an instance that lost everything: its pins go, its ranges go to the heirs.

    Only for an instance whose mappings are gone: nothing is closed first. A closing range ends:
    whoever of the two is left has it.

    Raises:
        ValueError: there is no heir.

    """
    if not heirs or dead in heirs:
        raise ValueError("a dead instance needs a living heir")
    edit = _Edit(home)
    for pin in home.pins:
        if pin.instance == dead:
            edit.unpin(pin)
    turns = itertools.cycle(heirs)
    for entry in home.ranges:
        owner, move = owner_of(home, entry), entry.closing
        if move and dead in {move.from_instance, move.to_instance}:
            if move.from_instance == dead:
                owner = owner.with_for(dead, move.to_instance)
            edit.put(replace(entry, closing=None), owner)
        if is_pin(entry) and owner.instance == dead:
            edit.remove(entry)
        elif dead in owner.instances:
            edit.put(edit.get(entry.realm, entry.prefix) or entry, owner.inherited(dead, turns))
    return edit.done()


# ---- what to move ----


def cut_in_half(
    weights: Mapping[IPv4Address, float], *, tolerance: float = 0.1
) -> list[IPv4Network]:
    """Prefixes that hold about half of the weight: one cut through the span of the addresses.

    Among cuts that are within `tolerance` of a half, the one at the roundest address wins, because
    it needs the fewest prefixes. Empty when nothing can be cut: one address, or all in one.
    """
    hosts = sorted((addr, weight) for addr, weight in weights.items() if weight > 0)
    if len(hosts) < 2:  # noqa: PLR2004 - a cut needs two sides
        return []
    total = sum(weight for _addr, weight in hosts)
    best: tuple[tuple[bool, float, float], int] | None = None
    below = 0.0
    for (low, weight), (high, _next) in itertools.pairwise(hosts):
        below += weight
        off = abs(below / total - 0.5)
        round_bits = (int(low) ^ int(high)).bit_length() - 1
        within = off <= tolerance
        rank = (within, float(round_bits), -off) if within else (within, -off, float(round_bits))
        if best is None or rank > best[0]:
            best = (rank, int(high) >> round_bits << round_bits)
    if best is None:
        return []
    first, last = int(hosts[0][0]), int(hosts[-1][0])
    bits = (first ^ last).bit_length()
    start, end = first >> bits << bits, (last >> bits << bits) + (1 << bits) - 1
    lower, upper = _prefixes(start, best[1] - 1), _prefixes(best[1], end)
    return lower if len(lower) < len(upper) else upper


def _prefixes(first: int, last: int) -> list[IPv4Network]:
    return list(summarize_address_range(IPv4Address(first), IPv4Address(last)))


def _host(addr: IPv4Address) -> IPv4Network:
    return IPv4Network(addr)


class _Edit:
    """A map under change; `done` is the next version, or the old map when nothing changed."""

    def __init__(self, home: HomeMap) -> None:
        self._home = home
        self._ranges: dict[Key, tuple[HomeRange, Owner]] = {
            (entry.realm, entry.prefix): (entry, owner_of(home, entry)) for entry in home.ranges
        }
        self._pins: dict[tuple[int, IPv4Address], dict[Endpoint, EndpointPin]] = {}
        for pin in home.pins:
            self.pin(pin)

    def get(self, realm: int, prefix: IPv4Network) -> HomeRange | None:
        found = self._ranges.get((realm, prefix))
        return found[0] if found else None

    def put(self, entry: HomeRange, owner: Owner) -> None:
        self._ranges[entry.realm, entry.prefix] = (entry, owner)

    def remove(self, entry: HomeRange) -> None:
        del self._ranges[entry.realm, entry.prefix]

    def pin(self, pin: EndpointPin) -> None:
        self._pins.setdefault((pin.realm, pin.endpoint.addr), {})[pin.endpoint] = pin

    def unpin(self, pin: EndpointPin) -> None:
        self._pins.get((pin.realm, pin.endpoint.addr), {}).pop(pin.endpoint, None)

    def pins_of(self, realm: int, addr: IPv4Address) -> list[EndpointPin]:
        return list(self._pins.get((realm, addr), {}).values())

    def done(self) -> HomeMap:
        """Ranges by realm and prefix, each table once."""
        tables: dict[Buckets, int] = {}
        ranges = []
        for key in sorted(self._ranges):
            entry, owner = self._ranges[key]
            table = None
            if owner.instance is None:
                table = tables.setdefault(owner.buckets, len(tables))
            ranges.append(replace(entry, instance=owner.instance, table=table))
        pins = tuple(
            pin for host in sorted(self._pins) for _end, pin in sorted(self._pins[host].items())
        )
        home = HomeMap(self._home.version, tuple(ranges), tuple(tables), pins)
        old = self._home
        same = _plain(home) == _plain(old)
        return old if same else replace(home, version=old.version + 1)


def _plain(home: HomeMap) -> tuple[frozenset[tuple[HomeRange, Owner]], frozenset[EndpointPin]]:
    """A map's meaning, whatever the order of its ranges and tables."""
    ranges = frozenset(
        (replace(entry, instance=None, table=None), owner_of(home, entry)) for entry in home.ranges
    )
    return ranges, frozenset(home.pins)

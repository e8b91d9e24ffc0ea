# SPDX-License-Identifier: Apache-2.0
"""Edits of a home map: the three beats, pins and opened hosts, as pure functions.

A *move* takes regions from instance A to B in two edits with a read between them:

* `close` marks every range that the move concerns as closing, from A to B;
* A's live hosts in those ranges are read (`Read`); they are complete once the closed map is in
  force everywhere, because from then on A only loses hosts;
* `swap` makes the ranges B's and pins those hosts to A.

The closed map itself says all that the swap needs (`moving`), so whoever finds one, after a crash
at any point, reads and swaps.

*Pins stay closing.* Between the read and the moment when A sees the swapped map, a host may end
its last mapping at A and begin a new one, which A, by the rules of a closing range, has given to B.
An unconditional pin would now make A map it a second time. So the pin of a host is a /32 that goes
on closing, from A to B: A creates for the host as long as it serves it, and never again
afterwards. That makes it safe to take the pin back at any time after the host was seen gone
(`settle`): at once where the range around it names B, else in steps, each of which all instances
have seen before the next.

*Opened hosts.* Opening closes a host's /32 by endpoint: A creates nothing new for it. Its live
endpoints at A are read, the swap makes the host B's, with the external address that it keeps, and
pins those endpoints to A. Its range, too, goes on closing by endpoint while there are any, so
that an endpoint that ends at A never comes back there. When the host moves on to C meanwhile, its
range closes from B; A's pins lose that condition. They get it back when B has no pins (any more),
and only then are those taken back whose endpoints are gone: B, which serves nobody, may end.

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
        if entry.closing and (pins or not is_pin(entry)):
            found |= {entry.closing.from_instance, entry.closing.to_instance}
    if pins:
        found |= {pin.instance for pin in home.pins}
    return frozenset(found)


def moving(home: HomeMap) -> tuple[HomeRange, ...]:
    """Ranges that wait for their swap: closing, and neither a pin nor an opened host."""
    return tuple(
        entry
        for entry in home.ranges
        if (move := entry.closing)
        and (not is_pin(entry) or (move.by_endpoint and entry.instance == move.from_instance))
    )


def host_pins(home: HomeMap) -> tuple[HomeRange, ...]:
    """Hosts that stay where they were as long as they are served there."""
    return tuple(
        entry
        for entry in home.ranges
        if is_pin(entry) and entry.closing and not entry.closing.by_endpoint
    )


# ---- the first beat ----


def close(
    home: HomeMap, regions: Iterable[tuple[int, IPv4Network]], *, source: int, target: int
) -> HomeMap:
    """Close all of some regions (realm and prefix), from `source` to `target`.

    Ranges inside a region close where they name the source; a region without a range of its own
    gets one with the value of the range around it. Pins stay as they are, and a region of one host
    is left out: its range would be a pin. The same map, when there is nothing to move.
    """
    wanted = [(realm, prefix) for realm, prefix in regions if prefix.prefixlen < HOST_BITS]
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


def open_hosts(home: HomeMap, hosts: Mapping[tuple[int, IPv4Address], IPv4Address]) -> HomeMap:
    """Open pinned hosts: realm and address -> the external address that they keep.

    Their new endpoints will be mapped where their pins lead to; what is live stays where it is.
    """
    edit = _Edit(home)
    for entry in host_pins(home):
        external = hosts.get((entry.realm, entry.prefix.network_address))
        if external is not None and entry.closing and entry.instance is not None:
            move = replace(entry.closing, by_endpoint=True)
            edit.put(replace(entry, closing=move, external=external), Owner(entry.instance))
    return edit.done()


# ---- the third beat ----


def swap(home: HomeMap, read: Read) -> HomeMap:
    """End every move of a map, given what lives at the old owners."""
    edit, index = _Edit(home), _Index(home)
    endpoints: dict[tuple[int, IPv4Address, int], list[Endpoint]] = {}
    for realm, endpoint, instance in read.endpoints:
        endpoints.setdefault((realm, endpoint.addr, instance), []).append(endpoint)
    for entry in moving(home):
        move = entry.closing
        if move is None:
            continue
        if is_pin(entry):
            key = (entry.realm, entry.prefix.network_address, move.from_instance)
            for endpoint in endpoints.get(key, ()):
                edit.pin(EndpointPin(endpoint, move.from_instance, entry.realm))
            edit.put(entry, Owner(move.to_instance))
        else:
            after = owner_of(home, entry).with_for(move.from_instance, move.to_instance)
            edit.put(replace(entry, closing=None), after)
    for realm, addr, instance in read.hosts:
        entry = index.longest(realm, addr)
        move = entry.closing
        if move and not is_pin(entry) and move.from_instance == instance:
            pin = HomeRange(_host(addr), instance, closing=move, realm=realm)
            edit.put(pin, Owner(instance))
    return edit.done()


# ---- afterwards ----


@dataclass(frozen=True, slots=True)
class Alive:
    """What was live at some moment after a map was in force everywhere."""

    hosts: frozenset[tuple[int, IPv4Address, int]]
    """Realm, inside address, instance: hosts of host pins."""
    endpoints: frozenset[tuple[int, Endpoint, int]]
    """Realm, inside endpoint, instance: endpoints that are pinned."""
    lasting: frozenset[Endpoint] = frozenset()
    """Those of them that cannot end while a map is published."""


def settle(
    home: HomeMap, alive: Alive, bucket: Callable[[int, IPv4Address], int | None]
) -> HomeMap:
    """Take back what is no longer needed: one step for each pin whose host or endpoint is gone.

    To be repeated until the map stays the same. `bucket` gives a host's bucket; None leaves pins
    that need one.
    """
    edit, index = _Edit(home), _Index(home)
    for pin in home.pins:
        entry = index.by_key.get((pin.realm, _host(pin.endpoint.addr)))
        gone = (pin.realm, pin.endpoint, pin.instance) not in alive.endpoints
        if gone and (entry is None or _ends_for_good(entry, pin)):
            edit.unpin(pin)
    for entry in home.ranges:
        if not is_pin(entry):
            _settle_range(edit, home, index, entry)
            continue
        if entry.instance is None:
            continue
        addr = entry.prefix.network_address
        outer = index.longest(entry.realm, addr, HOST_BITS)
        target = _instance_for(home, outer, entry.realm, addr, bucket)
        if outer.closing is None and target is not None:
            _settle_host(edit, entry, target, alive)
    return edit.done()


def _ends_for_good(entry: HomeRange, pin: EndpointPin) -> bool:
    """Does an endpoint that ends where it is pinned stay away, or has its host's range there?"""
    move = entry.closing
    return entry.instance == pin.instance or bool(
        move and move.by_endpoint and move.from_instance == pin.instance
    )


def _settle_range(edit: _Edit, home: HomeMap, index: _Index, entry: HomeRange) -> None:
    """Take away a range that says what the range around it says anyway."""
    prefix = entry.prefix
    if prefix.prefixlen == 0 or entry.closing:
        return
    outer = index.longest(entry.realm, prefix.network_address, prefix.prefixlen)
    if outer.closing is None and owner_of(home, outer) == owner_of(home, entry):
        edit.remove(entry)


def _settle_host(edit: _Edit, entry: HomeRange, target: int, alive: Alive) -> None:
    """One step towards `target`, whom the range around the host names."""
    addr, move, here = entry.prefix.network_address, entry.closing, entry.instance
    if here is None or (move and move.by_endpoint and here == move.from_instance):
        return  # it waits for its swap
    if entry.external is not None:
        _settle_opened(edit, entry, target, alive)
    elif move is None:
        if here == target:
            edit.remove(entry)
        else:
            edit.put(replace(entry, closing=Closing(here, target)), Owner(here))
    elif target == here:
        # The range came back: turn the pin round. Whoever of the two serves the host goes on.
        back = Closing(move.to_instance, here)
        edit.put(replace(entry, closing=back), Owner(move.to_instance))
    elif (entry.realm, addr, here) not in alive.hosts:
        if move.to_instance == target:
            edit.remove(entry)
        else:
            edit.put(replace(entry, closing=None), Owner(move.to_instance))


def _settle_opened(edit: _Edit, entry: HomeRange, target: int, alive: Alive) -> None:
    here = entry.instance
    if here is None:
        return
    pinned: list[EndpointPin] = []
    for pin in edit.pins_of(entry.realm, entry.prefix.network_address):
        if pin.instance == here:
            edit.unpin(pin)  # its host's range says the same
        else:
            pinned.append(pin)
    bound = [pin for pin in pinned if _ends_for_good(entry, pin)]
    if here != target:
        # Pins of one owner lose their condition while the next one's endpoints are read, so none
        # of them may end meanwhile.
        if all(pin.endpoint in alive.lasting for pin in bound):
            move = Closing(here, target, by_endpoint=True)
            edit.put(replace(entry, closing=move), Owner(here))
    elif pinned and not bound:
        move = Closing(pinned[0].instance, here, by_endpoint=True)
        edit.put(replace(entry, closing=move), Owner(here))
    elif not pinned:
        if entry.closing:
            edit.put(replace(entry, closing=None), Owner(here))
        else:
            edit.remove(entry)


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
    turns = itertools.cycle(heirs)
    for pin in home.pins:
        if pin.instance == dead:
            edit.unpin(pin)
    for entry in home.ranges:
        owner, move = owner_of(home, entry), entry.closing
        left = entry
        if move and dead in {move.from_instance, move.to_instance}:
            other = move.to_instance if move.from_instance == dead else move.from_instance
            left = replace(entry, closing=None)
            owner = owner.with_for(dead, other)
            edit.put(left, owner)
        if is_pin(entry) and owner.instance == dead:
            edit.remove(entry)
        elif dead in owner.instances:
            edit.put(left, owner.inherited(dead, turns))
    return edit.done()


# ---- what to move ----


def cut_in_half(
    weights: Mapping[IPv4Address, float], *, tolerance: float = 0.1
) -> list[IPv4Network]:
    """Prefixes that hold about half of the weight: one cut through the span of the addresses.

    Among cuts that are within `tolerance` of a half, the one at the roundest address wins, because
    it needs the fewest prefixes. Empty when nothing can be cut: one address, or all in one.
    """
    hosts = sorted((int(addr), weight) for addr, weight in weights.items() if weight > 0)
    if len(hosts) < 2:  # noqa: PLR2004 - a cut needs two sides
        return []
    total = sum(weight for _addr, weight in hosts)
    best: tuple[tuple[bool, float, float], int] | None = None
    below = 0.0
    for (low, weight), (high, _next) in itertools.pairwise(hosts):
        below += weight
        off = abs(below / total - 0.5)
        round_bits = (low ^ high).bit_length() - 1
        within = off <= tolerance
        rank = (within, float(round_bits), -off) if within else (within, -off, float(round_bits))
        if best is None or rank > best[0]:
            best = (rank, high >> round_bits << round_bits)
    if best is None:
        return []
    first, last = hosts[0][0], hosts[-1][0]
    bits = (first ^ last).bit_length()
    start, end = first >> bits << bits, (last >> bits << bits) + (1 << bits) - 1
    lower, upper = _prefixes(start, best[1] - 1), _prefixes(best[1], end)
    return lower if len(lower) < len(upper) else upper


def _prefixes(first: int, last: int) -> list[IPv4Network]:
    return list(summarize_address_range(IPv4Address(first), IPv4Address(last)))


def _host(addr: IPv4Address) -> IPv4Network:
    return IPv4Network((int(addr), HOST_BITS))  # of an address alone it would go by its text


def _place(key: Key) -> tuple[int, int, int]:
    """Where a range stands in a map; prefixes compare as that says, but ten times slower."""
    realm, prefix = key
    return realm, int(prefix.network_address), prefix.prefixlen


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
        for key in sorted(self._ranges, key=_place):
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

# SPDX-License-Identifier: Apache-2.0
"""Home maps on the way of a range from one instance to another: DESIGN's three beats, pure.

Written on its own, not with the coordinator's edits, so that the suites say what a dataplane must
do with such maps whoever makes them. Ranges here name one instance each.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network

from hashmvt.model import Closing, Endpoint, EndpointPin, HomeMap, HomeRange

_HOST_BITS = 32


@dataclass(frozen=True, slots=True)
class Read:
    """What lives at the old owner of closing ranges (the second beat)."""

    hosts: frozenset[IPv4Address] = frozenset()
    endpoints: frozenset[Endpoint] = frozenset()


def is_host(entry: HomeRange) -> bool:
    """Say whether a range is a single host: a pin, or an opened host."""
    return entry.prefix.prefixlen == _HOST_BITS


def closing(home: HomeMap) -> list[HomeRange]:
    """Return the ranges that are changing their owner."""
    return [entry for entry in home.ranges if entry.closing is not None]


def closed(home: HomeMap, prefix: IPv4Network, *, giver: int, taker: int) -> HomeMap:
    """First beat: the range is closing; it is made when the map has it only as part of another.

    Raises:
        ValueError: it is not the giver's.

    """
    if owner(home, prefix) != giver:
        raise ValueError(f"{prefix} is not instance {giver}'s")
    return _with(home, [HomeRange(prefix, giver, closing=Closing(giver, taker))])


def all_closed(home: HomeMap, *, giver: int, taker: int) -> HomeMap:
    """First beat of a scale-in: every range of the giver is closing."""
    mine = [entry for entry in home.ranges if entry.instance == giver and not is_host(entry)]
    return _with(home, [replace(entry, closing=Closing(giver, taker)) for entry in mine])


def opening(home: HomeMap, host: IPv4Address, external: IPv4Address, *, taker: int) -> HomeMap:
    """First beat of opening a pinned host: nothing new is made for it at its instance.

    Raises:
        ValueError: it has no pin.

    """
    prefix = IPv4Network(host)
    pins = [entry for entry in home.ranges if entry.prefix == prefix]
    if not pins or pins[0].instance is None:
        raise ValueError(f"{host} is not pinned")
    move = Closing(pins[0].instance, taker, by_endpoint=True)
    return _with(home, [replace(pins[0], closing=move, external=external)])


def unpinning(home: HomeMap, hosts: Iterable[IPv4Address]) -> HomeMap:
    """First beat of taking pins back: towards the owner of the range around each."""
    new: list[HomeRange] = []
    gone: list[IPv4Network] = []
    for host in hosts:
        prefix = IPv4Network(host)
        instance, target = owner(home, prefix), owner(home, prefix.supernet())
        if instance == target:
            gone.append(prefix)  # it says what the range around it says
        else:
            new.append(HomeRange(prefix, instance, closing=Closing(instance, target)))
    return _with(home, new, gone)


def swapped(home: HomeMap, read: Read) -> HomeMap:
    """Third beat: closing ranges are their takers', except what was read."""
    gone: list[IPv4Network] = []
    new: list[HomeRange] = []
    pins = list(home.pins)
    for entry in closing(home):
        move = entry.closing
        if move is None:
            continue
        if move.by_endpoint:
            addr = entry.prefix.network_address
            mine = sorted(one for one in read.endpoints if one.addr == addr)
            pins += [EndpointPin(one, move.from_instance) for one in mine]
            new.append(replace(entry, instance=move.to_instance, closing=None))
        elif not is_host(entry):
            new.append(replace(entry, instance=move.to_instance, closing=None))
            own = {other.prefix for other in home.ranges if is_host(other)}
            new += [
                HomeRange(IPv4Network(host), move.from_instance)
                for host in sorted(read.hosts)
                if host in entry.prefix and IPv4Network(host) not in own
            ]
        elif entry.prefix.network_address in read.hosts:
            new.append(replace(entry, closing=None))
        else:
            gone.append(entry.prefix)
    return _with(replace(home, pins=tuple(pins)), new, gone)


def owner(home: HomeMap, prefix: IPv4Network) -> int:
    """Return the instance of the longest range that covers a prefix.

    Raises:
        ValueError: it is a table's.

    """
    covering = [entry for entry in home.ranges if prefix.subnet_of(entry.prefix)]
    found = max(covering, key=lambda entry: entry.prefix.prefixlen).instance
    if found is None:
        raise ValueError(f"{prefix} is of a bucket table, not of one instance")
    return found


def _with(home: HomeMap, new: Iterable[HomeRange], gone: Iterable[IPv4Network] = ()) -> HomeMap:
    """Return the next version, with ranges put in place of those of the same prefix."""
    ranges = {entry.prefix: entry for entry in home.ranges}
    ranges |= {entry.prefix: entry for entry in new}
    for prefix in gone:
        del ranges[prefix]
    return replace(home, version=home.version + 1, ranges=tuple(ranges.values()))

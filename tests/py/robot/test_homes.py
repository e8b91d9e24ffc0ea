# SPDX-License-Identifier: Apache-2.0
"""The home maps of the three beats."""

from ipaddress import IPv4Address, IPv4Network

import pytest

from HashMvt import homes
from HashMvt.homes import Read
from hashmvt.model import ANYWHERE, Closing, Endpoint, HomeMap, HomeRange, Proto

START = HomeMap(3, (HomeRange(ANYWHERE, 0),))
MOVED = IPv4Network("10.0.0.0/17")
HOST = IPv4Address("10.0.0.1")
EXTERNAL = IPv4Address("198.51.100.1")


def owners(home: HomeMap) -> dict[str, int | None]:
    return {str(entry.prefix): entry.instance for entry in home.ranges}


def test_three_beats_move_a_range_and_pin_what_lives() -> None:
    closed = homes.closed(START, MOVED, giver=0, taker=1)
    assert (closed.version, owners(closed)) == (4, {"0.0.0.0/0": 0, "10.0.0.0/17": 0})
    assert [entry.closing for entry in homes.closing(closed)] == [Closing(0, 1)]
    swapped = homes.swapped(closed, Read(frozenset({HOST, IPv4Address("10.0.200.1")})))
    assert swapped.version == 5
    assert owners(swapped) == {"0.0.0.0/0": 0, "10.0.0.0/17": 1, "10.0.0.1/32": 0}
    assert homes.closing(swapped) == []


def test_a_range_of_somebody_else_cannot_be_given() -> None:
    with pytest.raises(ValueError, match="not instance 2's"):
        homes.closed(START, MOVED, giver=2, taker=1)


def test_scale_in_closes_all_that_the_giver_has_but_pins() -> None:
    moved = homes.swapped(homes.closed(START, MOVED, giver=0, taker=1), Read(frozenset({HOST})))
    back = homes.all_closed(moved, giver=1, taker=0)
    assert [str(entry.prefix) for entry in homes.closing(back)] == ["10.0.0.0/17"]


def test_a_pin_of_a_host_that_is_gone_is_taken_back() -> None:
    moved = homes.swapped(homes.closed(START, MOVED, giver=0, taker=1), Read(frozenset({HOST})))
    closing = homes.unpinning(moved, [HOST])
    assert [entry.closing for entry in homes.closing(closing)] == [Closing(0, 1)]
    assert "10.0.0.1/32" not in owners(homes.swapped(closing, Read()))
    kept = homes.swapped(closing, Read(frozenset({HOST})))
    assert owners(kept)["10.0.0.1/32"] == 0


def test_a_pin_that_says_what_is_said_around_it_goes_at_once() -> None:
    pinned = HomeMap(3, (HomeRange(ANYWHERE, 0), HomeRange(IPv4Network(HOST), 0)))
    assert owners(homes.unpinning(pinned, [HOST])) == {"0.0.0.0/0": 0}


def test_an_opened_host_keeps_its_endpoints_and_its_address() -> None:
    live = Endpoint(HOST, 6000, Proto.UDP)
    moved = homes.swapped(homes.closed(START, MOVED, giver=0, taker=1), Read(frozenset({HOST})))
    opening = homes.opening(moved, HOST, EXTERNAL, taker=1)
    assert [entry.closing for entry in homes.closing(opening)] == [Closing(0, 1, by_endpoint=True)]
    opened = homes.swapped(opening, Read(endpoints=frozenset({live})))
    assert [(pin.endpoint, pin.instance) for pin in opened.pins] == [(live, 0)]
    entry = next(entry for entry in opened.ranges if homes.is_host(entry))
    assert (entry.instance, entry.external) == (1, EXTERNAL)


def test_only_pinned_hosts_are_opened() -> None:
    with pytest.raises(ValueError, match="not pinned"):
        homes.opening(START, HOST, EXTERNAL, taker=1)


def test_a_bucket_table_is_not_of_one_instance() -> None:
    table = HomeMap(0, (HomeRange(ANYWHERE, None, 0),), ((0,) * 256,))
    with pytest.raises(ValueError, match="bucket table"):
        homes.owner(table, MOVED)

# SPDX-License-Identifier: Apache-2.0
"""Keywords of scaling: instances, blocks, and a range's way from one instance to another.

The three beats of a range that moves, each a keyword of its own, so that a suite can look between
any two: ``Close Range``, ``Read Hosts To Pin``, ``Swap Range``. What the home maps say is in
``homes``.
"""

from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address, IPv4Network

from robot.api.deco import keyword

from HashMvt import homes
from HashMvt.homes import Read
from hashmvt.model import Endpoint, HomeMap, MappingFilter
from hashmvt.names import ErrorCode
from HashMvt.testbed import Testbed, every
from HashMvt.words import HostPort, Operator

_Hosts = frozenset[IPv4Address]
_Endpoints = frozenset[Endpoint]


class Scaling:
    """Moves work between instances."""

    def __init__(self, testbed: Testbed) -> None:
        """Work on a testbed."""
        self._testbed = testbed

    # ---- instances and blocks ----

    @keyword
    async def start_instance(self, instance: int) -> None:
        """Make a spare instance active."""
        await self._testbed.dataplane.activate(instance)

    @keyword
    async def drain_instance(self, instance: int) -> None:
        """Let an instance go: its blocks leave as they become free."""
        await self._testbed.dataplane.drain(instance)

    @keyword
    async def take_over_instance(self, instance: int) -> None:
        """Raise an instance's ownership epoch: it drops its mappings before its next packet."""
        await self._testbed.dataplane.reset(instance)

    @keyword
    async def give_share_of_free_blocks(self, percent: int, *, giver: int, taker: int) -> int:
        """Move a share of the free blocks, evenly over all addresses; return how many."""
        return await self._testbed.dataplane.shard(percent, from_instance=giver, to_instance=taker)

    @keyword
    async def give_free_blocks(
        self, count: int, *, giver: int, taker: int, external: IPv4Address | None = None
    ) -> int:
        """Move up to ``count`` free blocks, of one address or of any; return how many."""
        return await self._testbed.dataplane.transfer(
            count, from_instance=giver, to_instance=taker, external=external
        )

    # ---- the three beats ----

    @keyword
    async def close_range(self, prefix: IPv4Network, *, giver: int, taker: int) -> None:
        """First beat: every instance learns that a range is on its way."""
        home = await self._testbed.dataplane.home()
        await self._publish(homes.closed(home, prefix, giver=giver, taker=taker))

    @keyword
    async def close_all_ranges(self, *, giver: int, taker: int) -> None:
        """First beat of a scale-in: all ranges of an instance are on their way."""
        home = await self._testbed.dataplane.home()
        await self._publish(homes.all_closed(home, giver=giver, taker=taker))

    @keyword
    async def close_host_by_endpoint(
        self, host: IPv4Address, external: HostPort, *, taker: int
    ) -> None:
        """First beat of opening a pinned host: its new endpoints go to ``taker``."""
        home = await self._testbed.dataplane.home()
        await self._publish(homes.opening(home, host, external.addr, taker=taker))

    @keyword
    async def read_hosts_to_pin(self) -> Read:
        """Second beat: what lives at the old owners of closing ranges. It changes nothing."""
        found = Read()
        for entry in homes.closing(await self._testbed.dataplane.home()):
            if entry.closing is not None:
                hosts, endpoints = await self._read(entry.prefix, entry.closing.from_instance)
                found = Read(found.hosts | hosts, found.endpoints | endpoints)
        return found

    async def _read(self, prefix: IPv4Network, instance: int) -> tuple[_Hosts, _Endpoints]:
        """Return the live hosts and endpoints of a prefix at one instance."""
        plane = self._testbed.dataplane
        where = MappingFilter(inside=prefix, instance=instance)
        hosts = await every(partial(plane.live, prefix, instance=instance))
        mappings = await every(partial(plane.mappings, where))
        return (
            frozenset(host.addr for host in hosts),
            frozenset(mapping.inside for mapping in mappings),
        )

    @keyword
    async def swap_range(self, read: Read) -> None:
        """Third beat: closing ranges belong to their new owners, except what was read."""
        await self._publish(homes.swapped(await self._testbed.dataplane.home(), read))

    @keyword
    async def move_range(self, prefix: IPv4Network, *, giver: int, taker: int) -> None:
        """Move a range in three beats and tell the dispatcher."""
        await self.close_range(prefix, giver=giver, taker=taker)
        await self.swap_range(await self.read_hosts_to_pin())
        await self.install_rules()

    @keyword
    async def take_back_pins_of_hosts_that_are_gone(self) -> None:
        """Retire the pins of hosts without mappings at their instance, in three beats."""
        plane = self._testbed.dataplane
        home = await plane.home()
        dead = []
        for entry in home.ranges:
            if homes.is_host(entry) and entry.instance is not None:
                page = await plane.live(entry.prefix, instance=entry.instance)
                dead += [] if page.items else [entry.prefix.network_address]
        await self._publish(homes.unpinning(home, dead))
        await self.swap_range(await self.read_hosts_to_pin())
        await self.install_rules()

    async def _publish(self, home: HomeMap) -> None:
        await self._testbed.dataplane.set_home(home)

    # ---- rules and versions ----

    @keyword
    async def install_rules(self) -> None:
        """Give the dispatcher the home map in force as its rules."""
        plane = self._testbed.dataplane
        await plane.set_rules(await plane.home())

    @keyword
    async def repeat_home_map(self) -> None:
        """Publish the home map in force once more, as a coordinator does that lost an answer."""
        await self._publish(await self._testbed.dataplane.home())

    @keyword
    async def older_home_map_should_be_refused(self) -> None:
        """A home map of an older version than the one in force is STALE."""
        home = await self._testbed.dataplane.home()
        with self._testbed.refused(ErrorCode.STALE):
            await self._publish(replace(home, version=home.version - 1))

    @keyword
    async def get_pin_count(
        self, operator: Operator | None = None, expected: int | None = None
    ) -> int:
        """Return how many hosts the home map in force pins."""

        async def read() -> int:
            home = await self._testbed.dataplane.home()
            return sum(map(homes.is_host, home.ranges))

        return await self._testbed.settle(read, operator, expected, "the number of pinned hosts")

    @keyword
    async def get_endpoint_pin_count(
        self, operator: Operator | None = None, expected: int | None = None
    ) -> int:
        """Return how many endpoints of opened hosts the home map in force pins."""

        async def read() -> int:
            return len((await self._testbed.dataplane.home()).pins)

        return await self._testbed.settle(read, operator, expected, "the pinned endpoints")

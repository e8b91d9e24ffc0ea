# SPDX-License-Identifier: Apache-2.0
"""Keywords that start, configure and stop the dataplane, and move its clock."""

from datetime import timedelta
from ipaddress import IPv4Address

from robot.api.deco import keyword

from hashmvt.model import ANYWHERE, Endpoint, MappingFilter, Proto, StaticMapping
from hashmvt.names import ErrorCode
from HashMvt.testbed import Testbed, whole
from HashMvt.words import HostPort


class Lifecycle:
    """Owns the dataplane of a test."""

    def __init__(self, testbed: Testbed) -> None:
        """Work on a testbed."""
        self._testbed = testbed

    @keyword
    async def start_dataplane(self, **settings: str) -> None:
        """Start a dataplane with the base configuration and what the test writes otherwise.

        A setting is its path in the configuration file and the value as it would stand there:
        ``nat44.timeouts={udp: 120}``, ``dataplane.instances.initial=2``.
        """
        await self._testbed.start(dict(settings))

    @keyword
    async def stop_dataplane(self) -> None:
        """Stop it and free everything; nothing when none is running."""
        await self._testbed.stop()

    @keyword
    async def change_configuration(self, *, force: bool = False, **settings: str) -> None:
        """Replace the policies while packets flow, as a reload does.

        With ``force`` the mappings of addresses that left the pool end.
        """
        await self._testbed.reload(dict(settings), force=force)

    @keyword
    async def advance_clock(self, by: timedelta) -> None:
        """Move the dataplane's clock forward by whole seconds; nobody sleeps.

        Raises:
            ValueError: not whole seconds.

        """
        seconds = int(by.total_seconds())
        if timedelta(seconds=seconds) != by:
            raise ValueError(f"the clock counts whole seconds, {by} is none")
        await self._testbed.driver.advance(seconds)

    @keyword
    async def add_static_mapping(
        self, inside: HostPort, outside: HostPort, *, proto: Proto = Proto.UDP
    ) -> None:
        """Give an inside endpoint an external endpoint for good."""
        mapping = StaticMapping(
            Endpoint(inside.addr, inside.port, proto), Endpoint(outside.addr, outside.port, proto)
        )
        await self._testbed.dataplane.static_add(mapping)

    @keyword
    async def remove_static_mapping(self, outside: HostPort, *, proto: Proto = Proto.UDP) -> None:
        """Take a static mapping away."""
        await self._testbed.dataplane.static_del(Endpoint(outside.addr, outside.port, proto))

    @keyword
    async def delete_mappings_of(self, host: IPv4Address) -> int:
        """End the dynamic mappings of a host; return how many there were."""
        where = MappingFilter(inside=whole(host))
        return await self._testbed.dataplane.mapping_delete(where)

    @keyword
    async def delete_all_mappings(self) -> int:
        """End all dynamic mappings; return how many there were."""
        return await self._testbed.dataplane.mapping_delete(MappingFilter(inside=ANYWHERE))

    @keyword
    async def static_mapping_should_be_refused(
        self, inside: HostPort, outside: HostPort, code: ErrorCode, *, proto: Proto = Proto.UDP
    ) -> None:
        """Adding it is refused with this code."""
        with self._testbed.refused(code):
            await self.add_static_mapping(inside, outside, proto=proto)

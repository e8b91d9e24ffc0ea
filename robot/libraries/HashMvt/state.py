# SPDX-License-Identifier: Apache-2.0
"""Getters of the dataplane's state.

Each takes an operator and what is expected, ``Get Mapping Count    ==    1``, waits for it as long
as the driver says that the dataplane may need, and returns what it read; without an operator it
only reads.
"""

from ipaddress import IPv4Address, IPv4Network

from robot.api.deco import keyword

from hashmvt.model import (
    ANYWHERE,
    Block,
    Host,
    InstanceSnapshot,
    InstanceState,
    Mapping,
    MappingFilter,
    Proto,
    TcpState,
)
from hashmvt.names import DropReason, EventType
from HashMvt.testbed import Testbed, every, reasons, whole
from HashMvt.words import HostPort, Operator

_EVENTS_S = 2.0
"""Events travel behind the packets."""


class State:
    """Reads mappings, hosts, blocks, counters and instances."""

    def __init__(self, testbed: Testbed) -> None:
        """Read from a testbed."""
        self._testbed = testbed

    # ---- mappings ----

    async def _mappings(self, where: MappingFilter) -> list[Mapping]:
        return await every(lambda cursor: self._testbed.dataplane.mappings(where, cursor))

    async def _mapping(self, inside: HostPort, proto: Proto) -> Mapping:
        found = await self._mappings(
            MappingFilter(inside=whole(inside.addr), inside_port=inside.port, proto=proto)
        )
        if len(found) != 1:
            raise AssertionError(f"{inside} has {len(found)} {proto.name} mappings, expected one")
        return found[0]

    @keyword
    async def get_mapping_count(
        self,
        operator: Operator | None = None,
        expected: int | None = None,
        *,
        inside: IPv4Network = ANYWHERE,
        proto: Proto | None = None,
        instance: int | None = None,
    ) -> int:
        """Return how many mappings there are, of all or of some."""

        async def read() -> int:
            where = MappingFilter(inside=inside, proto=proto, instance=instance)
            return len(await self._mappings(where))

        return await self._testbed.settle(read, operator, expected, "the number of mappings")

    @keyword
    async def get_external_endpoint(
        self,
        inside: HostPort,
        operator: Operator | None = None,
        expected: HostPort | None = None,
        *,
        proto: Proto = Proto.UDP,
    ) -> HostPort:
        """Return the external endpoint of an inside endpoint's mapping."""

        async def read() -> HostPort:
            mapping = await self._mapping(inside, proto)
            return HostPort(mapping.external.addr, mapping.external.port)

        what = f"the external endpoint of {inside}"
        return await self._testbed.settle(read, operator, expected, what)

    @keyword
    async def get_tcp_state(
        self,
        inside: HostPort,
        operator: Operator | None = None,
        expected: TcpState | None = None,
    ) -> TcpState:
        """Return the state of the TCP connection of an inside endpoint."""

        async def read() -> TcpState:
            return (await self._mapping(inside, Proto.TCP)).tcp_state

        return await self._testbed.settle(read, operator, expected, f"the state of {inside}")

    @keyword
    async def get_remaining_seconds(
        self,
        inside: HostPort,
        operator: Operator | None = None,
        expected: int | None = None,
        *,
        proto: Proto = Proto.UDP,
    ) -> int | None:
        """Return after how many idle seconds a mapping will expire."""

        async def read() -> int | None:
            return (await self._mapping(inside, proto)).expires_in_s

        return await self._testbed.settle(read, operator, expected, f"the life of {inside}")

    @keyword
    async def get_instance_of(
        self,
        inside: HostPort,
        operator: Operator | None = None,
        expected: int | None = None,
        *,
        proto: Proto = Proto.UDP,
    ) -> int:
        """Return the instance that has an inside endpoint's mapping."""

        async def read() -> int:
            return (await self._mapping(inside, proto)).instance

        return await self._testbed.settle(read, operator, expected, f"the instance of {inside}")

    # ---- hosts and blocks ----

    @keyword
    async def get_live_host_count(
        self,
        inside: IPv4Network,
        operator: Operator | None = None,
        expected: int | None = None,
        *,
        instance: int | None = None,
    ) -> int:
        """Return how many hosts of a prefix have mappings, at one instance or at all."""

        async def read() -> int:
            hosts: list[Host] = await every(
                lambda cursor: self._testbed.dataplane.live(inside, cursor, instance=instance)
            )
            return len(hosts)

        return await self._testbed.settle(read, operator, expected, f"the hosts of {inside}")

    async def _blocks(self) -> list[Block]:
        return await every(self._testbed.dataplane.blocks)

    @keyword
    async def get_blocks_held_by(
        self, host: IPv4Address, operator: Operator | None = None, expected: int | None = None
    ) -> int:
        """Return how many blocks are assigned to a host."""

        async def read() -> int:
            return sum(block.holder == host for block in await self._blocks())

        return await self._testbed.settle(read, operator, expected, f"the blocks of {host}")

    # ---- instances ----

    async def _instance(self, number: int) -> InstanceSnapshot:
        snapshot = await self._testbed.dataplane.snapshot()
        found = [item for item in snapshot.instances if item.id == number]
        if not found:
            raise AssertionError(f"there is no instance {number}")
        return found[0]

    @keyword
    async def get_instance_state(
        self,
        instance: int,
        operator: Operator | None = None,
        expected: InstanceState | None = None,
    ) -> InstanceState:
        """Return whether an instance is spare, active or draining."""

        async def read() -> InstanceState:
            return (await self._instance(instance)).state

        what = f"the state of instance {instance}"
        return await self._testbed.settle(read, operator, expected, what)

    @keyword
    async def get_gauge(
        self,
        name: str,
        operator: Operator | None = None,
        expected: int | None = None,
        *,
        instance: int | None = None,
    ) -> int:
        """Return what an instance holds now, or all together: ``blocks_free``, ``sessions``, ..."""

        async def read() -> int:
            return await self._sum("gauges", name, instance)

        return await self._testbed.settle(read, operator, expected, name)

    @keyword
    async def get_counter(
        self,
        name: str,
        operator: Operator | None = None,
        expected: int | None = None,
        *,
        instance: int | None = None,
    ) -> int:
        """Return what an instance has counted, or all together: ``handed_over``, ..."""

        async def read() -> int:
            return await self._sum("counters", name, instance)

        return await self._testbed.settle(read, operator, expected, name)

    async def _sum(self, group: str, name: str, instance: int | None) -> int:
        snapshot = await self._testbed.dataplane.snapshot()
        return sum(
            getattr(getattr(item, group), name)
            for item in snapshot.instances
            if instance in (None, item.id)
        )

    @keyword
    async def get_drop_count(
        self,
        reason: DropReason,
        operator: Operator | None = None,
        expected: int | None = None,
    ) -> int:
        """Return how many packets were dropped for a reason since the start."""

        async def read() -> int:
            return reasons(await self._testbed.dataplane.snapshot()).dropped[reason]

        what = f"the packets dropped as {reason.label}"
        return await self._testbed.settle(read, operator, expected, what)

    @keyword
    async def get_event_count(
        self,
        kind: EventType,
        operator: Operator | None = None,
        expected: int | None = None,
        *,
        host: IPv4Address | None = None,
    ) -> int:
        """Return how many events of a kind were reported, of one host or at all."""

        async def read() -> int:
            return sum(
                event.type is kind and host in (None, event.inside)
                for event in self._testbed.events
            )

        what = f"the number of {kind.label} events"
        return await self._testbed.settle(read, operator, expected, what, least_s=_EVENTS_S)

    @keyword
    async def get_all_drops(
        self, operator: Operator | None = None, expected: int | None = None
    ) -> int:
        """Return how many packets were dropped since the start, for whatever reason."""

        async def read() -> int:
            return reasons(await self._testbed.dataplane.snapshot()).dropped.total()

        return await self._testbed.settle(read, operator, expected, "the packets dropped")

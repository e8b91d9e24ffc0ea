# SPDX-License-Identifier: Apache-2.0
"""Keywords that send packets.

A packet goes in on the interface behind which its source lives. Everything that comes out is
checked then and there, whatever the test goes on to say of it: lengths, checksums, fragments, and
the packet that an ICMP error quotes. So no suite repeats that, and none can forget it.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network

from robot.api.deco import keyword

from HashMvt import packets, wire
from hashmvt.model import Proto
from HashMvt.sent import Flow, Sent
from HashMvt.testbed import Testbed
from HashMvt.words import Checksum, Embed, HostPort, IcmpError, Order, Query, Side

_FLOW_PORT = 6000
_FIRST_PORT = 1


class Traffic:
    """Sends packets and hands back what became of them."""

    def __init__(self, testbed: Testbed) -> None:
        """Send on a testbed."""
        self._testbed = testbed

    async def _send(self, side: Side, data: Sequence[bytes], *, intact: bool = True) -> Sent:
        """Send packets and check what comes out; ``intact``: their L4 checksums are right."""
        async with self._testbed.counting() as reasons:
            left = await self._testbed.driver.send(side, data)
        sent = Sent(side, tuple(data), tuple(left), reasons)
        found = wire.faults(leaving.data for leaving in left) if intact else []
        if found:
            raise AssertionError(f"{'; '.join(found)} ({sent})")
        return sent

    async def _send_from(self, source: IPv4Address, *data: bytes, intact: bool = True) -> Sent:
        return await self._send(self._testbed.side_of(source), data, intact=intact)

    # ---- one packet ----

    @keyword
    async def send_udp(
        self,
        source: HostPort,
        target: HostPort,
        payload: bytes = b"question",
        *,
        checksum: Checksum = Checksum.RIGHT,
        options: str = "",
    ) -> Sent:
        """Send a UDP datagram.

        ``options`` are IP options in hexadecimal, a multiple of four bytes.
        """
        data = packets.udp(
            source, target, payload, checksum=checksum, options=bytes.fromhex(options)
        )
        intact = checksum is not Checksum.WRONG
        return await self._send_from(source.addr, data, intact=intact)

    @keyword
    async def send_tcp(
        self, source: HostPort, target: HostPort, flags: str = "S", payload: bytes = b""
    ) -> Sent:
        """Send a TCP segment; flags are letters: S, SA, A, PA, F, FA, R."""
        return await self._send_from(source.addr, packets.tcp(source, target, flags, payload))

    @keyword
    async def send_query(
        self, source: HostPort, target: IPv4Address, kind: Query = Query.ECHO
    ) -> Sent:
        """Send an ICMP query; the id is written as the source's port: ``10.0.0.1:77``."""
        return await self._send_from(source.addr, packets.query(source, target, kind))

    @keyword
    async def send_query_reply(
        self, source: IPv4Address, target: HostPort, kind: Query = Query.ECHO
    ) -> Sent:
        """Send a reply that nobody asked for to an address and query id."""
        data = packets.query(HostPort(source, target.port), target.addr, kind, reply=True)
        return await self._send_from(source, data)

    @keyword
    async def send_protocol(
        self, number: int, source: IPv4Address, target: IPv4Address, payload: bytes = b"carried"
    ) -> Sent:
        """Send a packet of a protocol that has no ports."""
        return await self._send_from(source, packets.other(number, source, target, payload))

    @keyword
    async def send_raw(self, side: Side, data: str) -> Sent:
        """Send bytes, written in hexadecimal, in on an interface."""
        return await self._send(side, [bytes.fromhex(data)])

    @keyword
    async def reply_to(self, sent: Sent, flags: str = "SA", payload: bytes = b"answer") -> Sent:
        """Let the receiver of a packet answer it."""
        data = packets.back(sent.one.data, payload, flags)
        return await self._send(sent.one.side, [data])

    @keyword
    async def send_icmp_error(
        self,
        about: Sent,
        sender: IPv4Address,
        kind: IcmpError = IcmpError.PORT_UNREACHABLE,
        embed: Embed = Embed.WHOLE,
    ) -> Sent:
        """Let ``sender`` complain about a packet as it left the NAT."""
        data = packets.icmp_error(sender, kind, about.one.data, embed)
        return await self._send(about.one.side, [data], intact=embed is not Embed.CUT)

    @keyword
    async def send_icmp_error_about_protocol(
        self, number: int, source: IPv4Address, target: IPv4Address, sender: IPv4Address
    ) -> Sent:
        """Let ``sender`` complain about a packet without ports that this NAT never sent."""
        about = packets.other(number, source, target, bytes(24))
        data = packets.icmp_error(sender, IcmpError.HOST_UNREACHABLE, about)
        return await self._send_from(sender, data)

    # ---- several ----

    @keyword
    async def open_tcp_connection(self, client: HostPort, server: HostPort) -> Flow:
        """Do the three-way handshake; return the connection."""
        opened = await self.send_tcp(client, server, "S")
        answered = await self.reply_to(opened, "SA")
        await self.send_tcp(client, server, "A")
        for packet in (opened, answered):
            packet.translations  # noqa: B018 - raises when one was dropped
        external, _ = wire.ends(opened.one.data)
        return Flow(client, external, server)

    @keyword
    async def send_segments_of(self, connection: Flow, *segments: str) -> Sent:
        """Send segments of a connection: ``> FA`` from inside, ``< A`` from outside.

        Returns what became of the last one.

        Raises:
            ValueError: a segment has no direction.

        """
        sent = Sent(Side.INSIDE, ())
        for segment in segments:
            direction, _, flags = segment.partition(" ")
            if direction == ">":
                data = packets.tcp(connection.inside, connection.remote, flags)
                sent = await self._send(Side.INSIDE, [data])
            elif direction == "<":
                data = packets.tcp(connection.remote, connection.external, flags)
                sent = await self._send(Side.OUTSIDE, [data])
            else:
                raise ValueError(f"{segment!r} does not begin with > (from inside) or <")
        return sent

    @keyword
    async def send_fragments(
        self,
        source: HostPort,
        target: HostPort,
        *,
        order: Order,
        size: int = 24,
        length: int = 60,
        proto: Proto = Proto.UDP,
    ) -> Sent:
        """Send a datagram with ``length`` bytes of data as fragments of ``size`` bytes each.

        ``order`` says which are sent, and when: ``3 1 2``.
        """
        make = packets.tcp_of if proto is Proto.TCP else packets.udp
        whole = make(source, target, packets.pattern(length))
        pieces = packets.in_order(packets.fragments(whole, size), order.numbers)
        return await self._send_from(source.addr, *pieces)

    @keyword
    async def start_flows(
        self, count: int, sources: IPv4Network, server: HostPort, *, port: int = _FLOW_PORT
    ) -> list[Flow]:
        """Send a UDP packet from each of ``count`` hosts, the first ones of a prefix."""
        first = int(sources.network_address) + 1
        clients = [HostPort(IPv4Address(first + i), port) for i in range(count)]
        data = packets.udp_from_each(clients, server, b"begin")
        sent = await self._send_from(clients[0].addr, *data)
        return [
            Flow(client, wire.ends(leaving.data)[0], server)
            for client, (_, leaving) in zip(clients, sent.translations, strict=True)
        ]

    @keyword
    async def send_udp_from_ports(
        self, count: int, client: IPv4Address, server: HostPort, *, first_port: int = _FIRST_PORT
    ) -> Sent:
        """Send a UDP packet from each of ``count`` ports of one host."""
        clients = [HostPort(client, first_port + i) for i in range(count)]
        data = packets.udp_from_each(clients, server, b"begin")
        return await self._send_from(client, *data)

    @keyword
    async def send_udp_from_hosts(
        self, count: int, sources: IPv4Network, server: HostPort, *, port: int = _FLOW_PORT
    ) -> Sent:
        """Send a UDP packet from each of ``count`` hosts; some may be dropped."""
        first = int(sources.network_address) + 1
        clients = [HostPort(IPv4Address(first + i), port) for i in range(count)]
        data = packets.udp_from_each(clients, server, b"begin")
        return await self._send_from(clients[0].addr, *data)

    @keyword
    def payload_with_zero_checksum(self, source: HostPort, target: HostPort) -> bytes:
        """Return a payload with which a datagram between two ends has a checksum of zero."""
        return packets.zero_sum_payload(source, target)

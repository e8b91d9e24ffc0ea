# SPDX-License-Identifier: Apache-2.0
"""The servers' end: answers everything and remembers what it saw.

Says ``ready``; on the command ``report`` says ``report {...}``; ends with its standard input.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import socket
from functools import partial
from ipaddress import IPv4Address
from typing import cast

from demo.plan import PLAN, Plan
from demo.traffic import wire

BUFFER = 128 * 1024
ICMP_ECHO = 8


class Server:
    """All services on all server addresses."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._report = wire.ServerReport()
        self._sources: dict[str, set[str]] = {}

    def report(self) -> wire.ServerReport:
        """What was seen until now."""
        self._report.sources = {k: sorted(v) for k, v in self._sources.items()}
        return self._report

    def _saw(self, client: bytes, source: str) -> None:
        self._sources.setdefault(str(IPv4Address(client)), set()).add(source)

    async def start(self) -> None:
        """Open every socket."""
        loop = asyncio.get_running_loop()
        plan = self._plan
        for address in (str(plan.server_a), str(plan.server_b)):
            for port, serve in (
                (plan.port_bulk, self._bulk),
                (plan.port_line, self._line),
                (plan.port_short, self._short),
            ):
                sock = wire.tcp_socket(BUFFER)
                sock.bind((address, port))
                await asyncio.start_server(serve, sock=sock, backlog=1024)
            for port in (plan.port_dns, plan.port_stun):
                udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
                udp.bind((address, port))
                await loop.create_datagram_endpoint(partial(_Udp, self, port), sock=udp)
        icmp = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        icmp.setblocking(False)
        loop.add_reader(icmp, self._echo, icmp)

    def datagram(self, data: bytes, source: wire.Endpoint, port: int) -> bytes | None:
        """Count a query; the answer to it."""
        if len(data) < wire.QUERY.size or not data.startswith(wire.MAGIC):
            self._report.errors.append(f"UDP from {source} holds no query")
            return None
        if len(data) > 1500:
            kind = "udp fragmented"
        else:
            kind = "udp dns" if port == self._plan.port_dns else "udp long-lived"
        reply = wire.pack_reply(data, source)
        tally = self._report.tallies[kind]
        tally.out += 1
        tally.back += 1
        tally.bytes_out += len(data)
        tally.bytes_back += len(reply)
        self._saw(data[4:8], source[0])
        return reply

    def _echo(self, sock: socket.socket) -> None:
        """The kernel answers; this only looks on."""
        packet, (source, _) = sock.recvfrom(2048)
        body = packet[(packet[0] & 15) * 4 :]
        if body[0] != ICMP_ECHO or body[8:12] != wire.MAGIC:
            return
        tally = self._report.tallies["icmp echo"]
        tally.out += 1
        tally.bytes_out += len(body)
        self._saw(body[12:16], source)

    async def _bulk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tally = self._report.tallies["tcp bulk"]
        head = await self._head(reader, writer, wire.BULK.size)
        if head is None:
            return
        _, _, up, down, seed = wire.BULK.unpack(head)
        tally.out += 1
        try:
            digest = hashlib.sha256()
            left = up
            while left:
                chunk = await reader.read(min(left, 65536))
                if not chunk:
                    self._report.errors.append(f"bulk: {left} bytes short")
                    return
                digest.update(chunk)
                left -= len(chunk)
                tally.bytes_out += len(chunk)
            data = random.Random(seed).randbytes(down)
            writer.write(digest.digest())
            writer.write(hashlib.sha256(data).digest())
            for start in range(0, down, 65536):
                writer.write(data[start : start + 65536])
                await writer.drain()
            tally.bytes_back += down
            await self._finish(reader, writer, tally)
        except OSError as error:
            self._report.errors.append(f"bulk: {error}")

    async def _short(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tally = self._report.tallies["tcp short"]
        try:
            query = await self._head(reader, writer, wire.SHORT_BYTES)
            if query is None:
                return
            tally.out += 1
            seen = cast("wire.Endpoint", writer.get_extra_info("peername"))
            reply = wire.pack_reply(query, seen)
            writer.write(reply)
            tally.bytes_out += len(query)
            tally.bytes_back += len(reply)
            await self._finish(reader, writer, tally)
        except OSError as error:
            self._report.errors.append(f"short connection: {error}")

    async def _line(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tally = self._report.tallies["tcp long-lived"]
        seen = cast("wire.Endpoint", writer.get_extra_info("peername"))
        tally.out += 1
        try:
            while True:
                query = await reader.readexactly(wire.LINE.size)
                self._saw(query[4:8], seen[0])
                reply = wire.pack_reply(query, seen)
                writer.write(reply)
                tally.bytes_out += len(query)
                tally.bytes_back += len(reply)
        except asyncio.IncompleteReadError as end:
            if end.partial:
                self._report.errors.append("long-lived TCP ended in a message")
            await self._finish(reader, writer, tally)
        except OSError as error:
            self._report.errors.append(f"long-lived TCP: {error}")

    async def _head(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, size: int
    ) -> bytes | None:
        """The first bytes of a connection."""
        try:
            head = await reader.readexactly(size)
        except (asyncio.IncompleteReadError, OSError) as error:
            self._report.errors.append(f"a connection without a request: {error}")
            writer.close()
            return None
        self._saw(head[4:8], writer.get_extra_info("peername")[0])
        return head

    async def _finish(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tally: wire.Tally
    ) -> None:
        """Let the client close first, as clients do; then count the connection as finished."""
        await writer.drain()
        if await reader.read(1) == b"":
            tally.back += 1
        writer.close()
        await writer.wait_closed()


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: Server, port: int) -> None:
        self._server = server
        self._port = port
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        reply = self._server.datagram(data, addr, self._port)
        if reply is not None and self._transport is not None:
            self._transport.sendto(reply, addr)


async def serve(plan: Plan) -> None:
    """Serve until standard input ends."""
    server = Server(plan)
    await server.start()
    wire.say("ready")
    async for command in wire.commands():
        if command == "report":
            wire.say("report", wire.dump(server.report()))


if __name__ == "__main__":
    asyncio.run(serve(PLAN))

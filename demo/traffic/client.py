# SPDX-License-Identifier: Apache-2.0
"""The clients' end: one asyncio task group, one source address for each client.

``python -m demo.traffic.client DATAPLANE`` says ``ready`` at once and ``progress {...}`` twice a
second. Commands: ``start`` starts the early clients, ``late`` the others, ``finish`` ends the
long-lived flows, after which it says ``report {...}`` and ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import socket
import struct
import sys
from collections.abc import AsyncIterator, Coroutine, Iterator

from demo.packets import checksum
from demo.plan import PLANS, Plan
from demo.traffic import wire
from demo.traffic.errors import PORT_UNREACHABLE, TTL_EXCEEDED, probe

BUFFER = 128 * 1024
ICMP_ECHO, ICMP_REPLY = 8, 0
FRAGMENTED_BYTES = 4200
HAIRPIN_PAIRS = ((0, 1), (3, 10), (22, 7), (30, 61), (2, 4), (5, 12), (8, 11))
"""(who calls, who is called); with the default plan 2, 5, 8 and 11 are late ones."""
FRAGMENTING = (0, 1, 2, 3, 5, 6, 9, 24, 50, 86)
TRACING = (0, 3, 5, 13, 31, 62)


class Clients:
    """All clients."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._report = wire.ClientReport()
        self._bulk_slots = asyncio.Semaphore(plan.bulk_at_once)
        self._finish = asyncio.Event()
        self._sequence = 0
        self._rounds: dict[int, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, *, late: bool) -> None:
        """Start the early or the late clients and what they do between them."""
        chosen = [i for i in range(self._plan.clients) if self._plan.is_late(i) == late]
        self._report.clients += len(chosen)
        if late:
            self._rounds.update(dict.fromkeys(chosen, 0))
        for order, index in enumerate(chosen):
            self._spawn(self._client(index, order / len(chosen)))
        for caller, called in HAIRPIN_PAIRS:
            if any(self._plan.is_late(i) for i in (caller, called)) == late:
                self._spawn(self._hairpin(caller, called))

    def report(self) -> wire.ClientReport:
        """What was seen until now."""
        if self._rounds:
            self._report.late_rounds = min(self._rounds.values())
        return self._report

    async def finish(self) -> None:
        """End what lives long, and wait for everything."""
        self._finish.set()
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = task.exception()
        if error is not None:
            self._report.errors.append(f"{type(error).__name__}: {error}")

    # ---- one client ----

    async def _client(self, index: int, phase: float) -> None:
        """All that one client does; ``phase`` spreads the clients over a round."""
        plan = self._plan
        address = str(plan.client(index))
        chance = random.Random(index)
        bulk_round = index // plan.late_every % 4 + 1
        await asyncio.sleep(phase * plan.round_s)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_udp(address))
            group.create_task(self._keep_tcp(address))
            if index in FRAGMENTING:
                group.create_task(self._fragmented(address))
            if index in TRACING:
                group.create_task(self._traceroute(address))
            for number in range(plan.rounds_max):
                if self._finish.is_set() and number > bulk_round:
                    break
                if number == bulk_round:
                    group.create_task(self._bulk(address, seed=index))
                await self._round(address, chance)
                self._report.rounds += 1
                if index in self._rounds:
                    self._rounds[index] = number + 1
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._finish.wait(), plan.round_s)

    async def _round(self, address: str, chance: random.Random) -> None:
        plan = self._plan
        work = ["short"] * plan.short_per_round + ["dns"] * plan.dns_per_round + ["ping"]
        chance.shuffle(work)
        for kind in work:
            server = str(chance.choice((plan.server_a, plan.server_b)))
            if kind == "short":
                await self._short(address, server)
            elif kind == "dns":
                with self._udp(address) as sock:
                    size = chance.randrange(40, 80)
                    await self._ask(sock, address, (server, plan.port_dns), "udp dns", size)
            else:
                await self._ping(address, server)

    # ---- TCP ----

    @contextlib.asynccontextmanager
    async def _connect(
        self, address: str, server: wire.Endpoint, kind: str
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A connection from ``address``, counted; closed by us first and to its end."""
        sock = wire.tcp_socket(BUFFER)
        sock.bind((address, 0))
        try:
            async with asyncio.timeout(self._plan.reply_s):
                await asyncio.get_running_loop().sock_connect(sock, server)
        except OSError as error:
            sock.close()
            raise ConnectionError(f"{kind} from {address} to {server}: {error}") from error
        reader, writer = await asyncio.open_connection(sock=sock)
        tally = self._report.tallies[kind]
        tally.out += 1
        try:
            yield reader, writer
            writer.write_eof()
            async with asyncio.timeout(self._plan.reply_s):
                if await reader.read(1) == b"":
                    tally.back += 1
        except (OSError, asyncio.IncompleteReadError) as error:
            self._report.errors.append(f"{kind} from {address}: {type(error).__name__} {error}")
        finally:
            writer.close()

    async def _short(self, address: str, server: str) -> None:
        tally = self._report.tallies["tcp short"]
        query = wire.pack_query(address, self._next(), wire.SHORT_BYTES)
        target = (server, self._plan.port_short)
        async with self._connect(address, target, "tcp short") as (reader, writer):
            writer.write(query)
            tally.bytes_out += len(query)
            async with asyncio.timeout(self._plan.reply_s):
                reply = await reader.readexactly(len(query) + 6)
            tally.bytes_back += len(reply)
            if wire.read_reply(reply, query) is None:
                self._report.errors.append(f"short connection of {address}: damaged answer")

    async def _bulk(self, address: str, seed: int) -> None:
        plan = self._plan
        tally = self._report.tallies["tcp bulk"]
        size = plan.bulk_bytes
        data = random.Random(~seed).randbytes(size)
        head = wire.BULK.pack(wire.MAGIC, socket.inet_aton(address), size, size, seed)
        target = (str(plan.server_a), plan.port_bulk)
        async with (
            self._bulk_slots,
            self._connect(address, target, "tcp bulk") as (reader, writer),
            asyncio.timeout(8 * plan.reply_s),
        ):
            writer.write(head)
            for start in range(0, size, 65536):
                writer.write(data[start : start + 65536])
                await writer.drain()
            tally.bytes_out += size
            if await reader.readexactly(32) != hashlib.sha256(data).digest():
                self._report.errors.append(f"bulk of {address}: damaged on the way out")
            expected = await reader.readexactly(32)
            digest = hashlib.sha256()
            left = size
            while left:
                chunk = await reader.read(min(left, 65536))
                if not chunk:
                    raise asyncio.IncompleteReadError(b"", left)
                digest.update(chunk)
                left -= len(chunk)
                tally.bytes_back += len(chunk)
            if digest.digest() != expected:
                self._report.errors.append(f"bulk of {address}: damaged on the way back")

    async def _keep_tcp(self, address: str) -> None:
        """A connection that is used from the client's first second to its last."""
        tally = self._report.tallies["tcp long-lived"]
        target = (str(self._plan.server_a), self._plan.port_line)
        seen: set[wire.Endpoint] = set()
        async with self._connect(address, target, "tcp long-lived") as (reader, writer):
            while not self._finish.is_set():
                query = wire.LINE.pack(wire.MAGIC, socket.inet_aton(address), self._next())
                writer.write(query)
                tally.bytes_out += len(query)
                async with asyncio.timeout(self._plan.reply_s):
                    reply = await reader.readexactly(len(query) + 6)
                tally.bytes_back += len(reply)
                self._saw(seen, f"TCP {address}", wire.read_reply(reply, query))
                await self._pause()
            self._report.kept += 1

    # ---- UDP ----

    @contextlib.contextmanager
    def _udp(self, address: str) -> Iterator[socket.socket]:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.bind((address, 0))
        with sock:
            yield sock

    async def _ask(
        self,
        sock: socket.socket,
        address: str,
        server: wire.Endpoint,
        kind: str,
        size: int = 64,
    ) -> wire.Endpoint | None:
        """Send a query and take its answer: the endpoint that the server saw. No second try."""
        loop = asyncio.get_running_loop()
        query = wire.pack_query(address, self._next(), size)
        tally = self._report.tallies[kind]
        tally.out += 1
        tally.bytes_out += len(query)
        try:
            await loop.sock_sendto(sock, query, server)
            async with asyncio.timeout(self._plan.reply_s):
                reply, source = await loop.sock_recvfrom(sock, 65536)
        except TimeoutError:
            self._report.errors.append(f"{kind} from {address} to {server}: no answer")
            return None
        tally.back += 1
        tally.bytes_back += len(reply)
        seen = wire.read_reply(reply, query)
        if seen is None or source != server:
            self._report.errors.append(f"{kind} from {address}: wrong answer from {source}")
        return seen

    async def _keep_udp(self, address: str) -> None:
        """One socket, two servers in turn, from first to last: one mapping (RFC 4787 REQ-1)."""
        servers = [
            (str(s), self._plan.port_stun) for s in (self._plan.server_a, self._plan.server_b)
        ]
        seen: set[wire.Endpoint] = set()
        turn = 0
        with self._udp(address) as sock:
            while not self._finish.is_set():
                turn += 1
                answer = await self._ask(sock, address, servers[turn % 2], "udp long-lived")
                self._saw(seen, f"UDP {address}:{sock.getsockname()[1]}", answer)
                await self._pause()
        self._report.kept += 1

    async def _fragmented(self, address: str) -> None:
        """Datagrams of several fragments, both ways."""
        with self._udp(address) as sock:
            for extra in (0, 700, 4000):
                server = (str(self._plan.server_b), self._plan.port_stun)
                size = FRAGMENTED_BYTES + extra
                await self._ask(sock, address, server, "udp fragmented", size)
                await self._pause()

    async def _hairpin(self, caller: int, called: int) -> None:
        """The caller reaches the called by the endpoint that a server saw, and gets an answer."""
        loop = asyncio.get_running_loop()
        a, b = str(self._plan.client(caller)), str(self._plan.client(called))
        stun = (str(self._plan.server_a), self._plan.port_stun)
        await asyncio.sleep(1.0)
        with self._udp(a) as sock_a, self._udp(b) as sock_b:
            seen_a = await self._ask(sock_a, a, stun, "udp long-lived")
            seen_b = await self._ask(sock_b, b, stun, "udp long-lived")
            if seen_a is None or seen_b is None:
                return
            try:
                async with asyncio.timeout(self._plan.reply_s):
                    await loop.sock_sendto(sock_a, b"from a to b " + a.encode(), seen_b)
                    data, source = await loop.sock_recvfrom(sock_b, 2048)
                    right = data.endswith(a.encode()) and source == seen_a
                    await loop.sock_sendto(sock_b, b"from b to a " + b.encode(), source)
                    data, source = await loop.sock_recvfrom(sock_a, 2048)
                    right = right and data.endswith(b.encode()) and source == seen_b
            except TimeoutError:
                self._report.errors.append(f"hairpin {a} to {b}: no answer")
                return
            if right:
                self._report.hairpins += 1
            else:
                self._report.errors.append(f"hairpin {a} to {b}: from {source}, not {seen_b}")

    # ---- ICMP ----

    async def _ping(self, address: str, server: str) -> None:
        loop = asyncio.get_running_loop()
        tally = self._report.tallies["icmp echo"]
        body = wire.pack_query(address, self._next(), 56)
        ident = random.getrandbits(16)
        head = struct.pack("!BBHHH", ICMP_ECHO, 0, 0, ident, 1)
        head = struct.pack("!BBHHH", ICMP_ECHO, 0, checksum(head + body), ident, 1)
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
            sock.setblocking(False)
            sock.bind((address, 0))
            tally.out += 1
            tally.bytes_out += len(head + body)
            await loop.sock_sendto(sock, head + body, (server, 0))
            try:
                async with asyncio.timeout(self._plan.reply_s):
                    while True:
                        packet, (source, _) = await loop.sock_recvfrom(sock, 2048)
                        reply = packet[(packet[0] & 15) * 4 :]
                        if reply[0] == ICMP_REPLY and reply[4:6] == head[4:6]:
                            break
            except TimeoutError:
                self._report.errors.append(f"ping from {address} to {server}: no answer")
                return
        tally.back += 1
        tally.bytes_back += len(reply)
        if source != server or reply[8:] != body:
            self._report.errors.append(f"ping from {address}: wrong answer from {source}")

    async def _traceroute(self, address: str) -> None:
        """Probes with growing TTL until the far end says that nobody listens."""
        plan = self._plan
        target = (str(plan.server_b), plan.port_closed)
        way = [(TTL_EXCEEDED, str(router)) for router in plan.routers]
        for ttl, expected in enumerate([*way, (PORT_UNREACHABLE, target[0])], 1):
            error = await asyncio.to_thread(probe, address, target, ttl, plan.reply_s)
            if error is None:
                self._report.errors.append(f"traceroute from {address}, TTL {ttl}: no answer")
                return
            if (error.kind, error.offender) != expected:
                self._report.errors.append(f"traceroute from {address}, TTL {ttl}: {error}")
                return
            if error.kind == TTL_EXCEEDED:
                self._report.ttl_exceeded += 1
            else:
                self._report.port_unreachable += 1

    # ---- small things ----

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._finish.wait(), self._plan.keep_s)

    def _saw(self, seen: set[wire.Endpoint], whose: str, answer: wire.Endpoint | None) -> None:
        """A long-lived flow was told its outside endpoint; it must always be the same."""
        if answer is None:
            return
        self._report.endpoints_checked += 1
        if seen and answer not in seen:
            self._report.endpoints_changed.append(f"{whose}: {min(seen)} became {answer}")
        seen.add(answer)


async def _progress(clients: Clients) -> None:
    while True:
        wire.say("progress", wire.dump(clients.report()))
        await asyncio.sleep(0.5)


async def drive(plan: Plan) -> None:
    """Obey the commands on standard input until it ends or ``finish`` is done."""
    clients = Clients(plan)
    wire.say("ready")
    progress = asyncio.create_task(_progress(clients))
    async for command in wire.commands():
        if command in ("start", "late"):
            clients.start(late=command == "late")
        elif command == "finish":
            await clients.finish()
            break
    progress.cancel()
    wire.say("report", wire.dump(clients.report()))


if __name__ == "__main__":
    asyncio.run(drive(PLANS[sys.argv[1]]))

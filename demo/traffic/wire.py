# SPDX-License-Identifier: Apache-2.0
"""What client and server say to each other, and what both report.

Every message names the client's own address, so that the server, which sees only what the NAT
made of it, can say which outside address each client came from.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import struct
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from ipaddress import IPv4Address

QUERY = struct.Struct("!4s4sI")  # magic, client, sequence
REPLY = struct.Struct("!4s4sI4sH")  # the query's words, then the endpoint that the server saw
BULK = struct.Struct("!4s4sIII")  # magic, client, bytes up, bytes down, seed
LINE = struct.Struct("!4s4sI")
MAGIC = b"hmvt"
SHORT_BYTES = 400
"""Of the request on a short connection; the answer is as long as a reply to it."""

Endpoint = tuple[str, int]
"""Address and port, as sockets name them."""


@dataclass(slots=True)
class Tally:
    """One kind of traffic at one end. TCP: connections opened and finished; else datagrams."""

    out: int = 0
    back: int = 0
    bytes_out: int = 0
    bytes_back: int = 0


def tallies() -> dict[str, Tally]:
    """An empty tally for each kind of traffic."""
    return {
        kind: Tally()
        for kind in ("tcp bulk", "tcp short", "tcp long-lived", "udp dns", "udp long-lived",
                     "udp fragmented", "icmp echo")
    }  # fmt: skip


@dataclass(slots=True)
class ServerReport:
    """What the servers saw."""

    tallies: dict[str, Tally] = field(default_factory=tallies)
    sources: dict[str, list[str]] = field(default_factory=dict)
    """Client's own address -> outside addresses that it came from."""
    errors: list[str] = field(default_factory=list)


@dataclass(slots=True)
class ClientReport:
    """What the clients saw."""

    tallies: dict[str, Tally] = field(default_factory=tallies)
    clients: int = 0
    rounds: int = 0
    late_rounds: int = 0
    """Fewest rounds that any late client has finished."""
    endpoints_checked: int = 0
    """Answers that named the endpoint the server saw."""
    endpoints_changed: list[str] = field(default_factory=list)
    kept: int = 0
    """Long-lived flows, TCP and UDP, that were open from start to end."""
    hairpins: int = 0
    ttl_exceeded: int = 0
    port_unreachable: int = 0
    errors: list[str] = field(default_factory=list)


def dump(report: ServerReport | ClientReport) -> str:
    """A report as one line."""
    return json.dumps(asdict(report))


def load_server(text: str) -> ServerReport:
    """The inverse of ``dump``."""
    raw = json.loads(text)
    raw["tallies"] = {kind: Tally(**value) for kind, value in raw["tallies"].items()}
    return ServerReport(**raw)


def load_client(text: str) -> ClientReport:
    """The inverse of ``dump``."""
    raw = json.loads(text)
    raw["tallies"] = {kind: Tally(**value) for kind, value in raw["tallies"].items()}
    return ClientReport(**raw)


def pack_query(client: str, sequence: int, size: int) -> bytes:
    """A query of ``size`` bytes whose padding depends on the sequence number."""
    head = QUERY.pack(MAGIC, IPv4Address(client).packed, sequence)
    return head + random.Random(sequence).randbytes(size - len(head))


def pack_reply(query: bytes, seen: Endpoint) -> bytes:
    """The answer: the query with the endpoint it came from, at least as long as the query."""
    head = query[: QUERY.size] + IPv4Address(seen[0]).packed + struct.pack("!H", seen[1])
    return head + query[QUERY.size :]


def read_reply(reply: bytes, query: bytes) -> Endpoint | None:
    """The endpoint in an answer, or None when it is no answer to ``query`` or was damaged."""
    if len(reply) != len(query) + 6 or reply[: QUERY.size] != query[: QUERY.size]:
        return None
    if reply[REPLY.size :] != query[QUERY.size :]:
        return None
    address, port = struct.unpack_from("!4sH", reply, QUERY.size)
    return str(IPv4Address(address)), port


def tcp_socket(buffer_bytes: int) -> socket.socket:
    """A non-blocking socket with bounded buffers: no more is in flight than queues hold."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setblocking(False)
    return sock


async def commands() -> AsyncIterator[str]:
    """Lines from standard input; ends with it, so no process outlives the one that drives it."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    async for line in reader:
        yield line.decode().strip()


def say(word: str, text: str = "") -> None:
    """One line to the process that drives this one."""
    print(word, text, flush=True)

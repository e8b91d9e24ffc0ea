# SPDX-License-Identifier: Apache-2.0
"""Runs ``hashmvt`` in this process, and serves a dataplane for it as an agent does."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Any

import grpc.aio
import pytest

from hashmvt.cli import run
from hashmvt.config import AddressRange, Nat44Config, PolicyConfig, plan_policy
from hashmvt.control.service import DataplaneService
from hashmvt.dataplane.memory import MemoryDataplane
from hashmvt.dataplane.packets import make
from hashmvt.dataplane.rpc import methods
from hashmvt.model import Direction, Endpoint, Packet, Proto, StaticMapping

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path

REMOTE = Endpoint(IPv4Address("203.0.113.9"), 53, Proto.UDP)


@dataclass(frozen=True, slots=True)
class Result:
    """What a command line did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def hashmvt(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Return a function that runs ``hashmvt ARGUMENTS``."""

    def call(*arguments: str | Path) -> Result:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return call


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Return a small right configuration."""
    path = tmp_path / "hashmvt.yaml"
    path.write_text("nat44:\n  inside: [10.0.0.0/8]\n  pool: [198.51.100.0/30]\n")
    return path


class Agent:
    """A memory dataplane at a socket, on a thread of its own."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.do(self._start())

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run something on the agent's loop and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    async def _start(self) -> None:
        policy = plan_policy(
            Nat44Config(
                PolicyConfig(
                    (IPv4Network("10.0.0.0/8"),),
                    (AddressRange.of(IPv4Network("198.51.100.0/30")),),
                )
            ),
            generation=1,
        )
        self.plane = MemoryDataplane(policy, initial=2)
        self._server = grpc.aio.server(options=methods.CHANNEL_OPTIONS)
        self._server.add_generic_rpc_handlers((DataplaneService(self.plane).handler(),))
        self._server.add_insecure_port(f"unix:{self.socket}")
        await self._server.start()

    async def _stop(self) -> None:
        await self.plane.aclose()
        await self._server.stop(None)

    def send(self, source: Endpoint) -> None:
        """Open a mapping."""
        remote = replace(REMOTE, proto=source.proto)
        packet = Packet(make(source, remote), Direction.IN2OUT)
        self.do(self.plane.inject([packet]))

    def add_static(self, mapping: StaticMapping) -> None:
        self.do(self.plane.static_add(mapping))

    def close(self) -> None:
        self.do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    """Return a running agent with 12 mappings of 4 hosts."""
    agent = Agent(tmp_path / "agent.sock")
    for host in range(1, 4):
        for port in range(1000, 1003):
            agent.send(Endpoint(IPv4Address(f"10.0.0.{host}"), port, Proto.UDP))
    for port in range(2000, 2002):
        agent.send(Endpoint(IPv4Address("10.5.0.9"), port, Proto.TCP))
    agent.add_static(
        StaticMapping(
            Endpoint(IPv4Address("10.5.0.9"), 80, Proto.TCP),
            Endpoint(IPv4Address("198.51.100.1"), 80, Proto.TCP),
        )
    )
    yield agent
    agent.close()

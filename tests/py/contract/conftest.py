# SPDX-License-Identifier: Apache-2.0
"""Where dataplanes register for the contract suite.

A dataplane passes the contract when every test here passes on it. To add one, append a ``Kind``:
its name, how it is opened for a ``Setup``, and markers (such as ``pytest.mark.vpp``). What it
cannot do, its capabilities say; the suite never asks which one it has.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import grpc.aio
import pytest

from hashmvt.config import AddressRange, Config, Instances, Nat44Config, PolicyConfig, plan_policy
from hashmvt.config.values import DataplaneConfig, EmbeddedConfig
from hashmvt.control.service import DataplaneService
from hashmvt.dataplane.embedded import EmbeddedDataplane, engine_settings, stepped
from hashmvt.dataplane.memory import MemoryDataplane
from hashmvt.dataplane.remote import RemoteDataplane
from hashmvt.dataplane.rpc import methods
from hashmvt.model import EventLog

if TYPE_CHECKING:
    from hashmvt.dataplane import Dataplane

INSIDE = IPv4Network("10.0.0.0/8")
POOL = IPv4Network("198.51.100.0/30")


@dataclass(frozen=True, slots=True)
class Setup:
    """What a test wants of its dataplane."""

    tmp_path: Path
    initial: int = 1
    most: int = 4

    def config(self) -> Config:
        policy = PolicyConfig(inside=(INSIDE,), pool=(AddressRange.of(POOL),))
        return Config(
            path=Path("contract"),
            nat44=Nat44Config(policy, max_mappings=4096),
            dataplane=DataplaneConfig(
                instances=Instances(self.initial, self.most), embedded=EmbeddedConfig("", "")
            ),
        )


Opener: TypeAlias = Callable[[Setup], AbstractAsyncContextManager["Dataplane"]]


@dataclass(frozen=True, slots=True)
class Kind:
    """A dataplane that keeps the contract."""

    name: str
    open: Opener
    marks: tuple[pytest.MarkDecorator, ...] = ()


@contextlib.asynccontextmanager
async def memory(setup: Setup) -> AsyncIterator[Dataplane]:
    policy = plan_policy(setup.config().nat44, generation=1)
    dataplane = MemoryDataplane(policy, initial=setup.initial, most=setup.most)
    try:
        yield dataplane
    finally:
        await dataplane.aclose()


@contextlib.asynccontextmanager
async def embedded(setup: Setup, *, threads: bool) -> AsyncIterator[Dataplane]:
    settings = replace(
        engine_settings(setup.config()),
        tun_inside=None,
        tun_outside=None,
        events=EventLog.MAPPING,
    )
    dataplane = await EmbeddedDataplane.open(settings if threads else stepped(settings))
    try:
        yield dataplane
    finally:
        await dataplane.aclose()


@contextlib.asynccontextmanager
async def remote(setup: Setup) -> AsyncIterator[Dataplane]:
    """An embedded dataplane behind the service that the agent runs."""
    async with embedded(setup, threads=False) as far:
        path = setup.tmp_path / "agent.sock"
        server = grpc.aio.server(options=methods.CHANNEL_OPTIONS)
        server.add_generic_rpc_handlers((DataplaneService(far).handler(),))
        server.add_insecure_port(f"unix:{path}")
        await server.start()
        try:
            near = await RemoteDataplane.connect(path)
            try:
                yield near
            finally:
                await near.aclose()
        finally:
            await server.stop(None)


KINDS = [
    Kind("memory", memory),
    Kind("stepped", lambda setup: embedded(setup, threads=False)),
    Kind("threaded", lambda setup: embedded(setup, threads=True)),
    Kind("remote", remote),
]


@pytest.fixture(params=[pytest.param(kind, id=kind.name, marks=kind.marks) for kind in KINDS])
def kind(request: pytest.FixtureRequest) -> Kind:
    found = request.param
    assert isinstance(found, Kind)
    return found


@pytest.fixture
async def plane(kind: Kind, tmp_path: Path) -> AsyncIterator[Dataplane]:
    """One active instance of four."""
    async with kind.open(Setup(tmp_path)) as dataplane:
        yield dataplane


@pytest.fixture
async def pair(kind: Kind, tmp_path: Path) -> AsyncIterator[Dataplane]:
    """Two active instances of four."""
    async with kind.open(Setup(tmp_path, initial=2)) as dataplane:
        yield dataplane

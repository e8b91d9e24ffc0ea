# SPDX-License-Identifier: Apache-2.0
"""Where dataplanes register for the contract suite.

A dataplane passes the contract when every test here passes on it. To add one, append a ``Kind``:
its name, how it is opened for a ``Setup``, and markers (such as ``pytest.mark.vpp``). What it
cannot do, its capabilities say; the suite never asks which one it has.

VPP runs where it is installed, the plugin is built and we are root: one process with four workers
for all tests, started by the first of them; each test enables the NAT afresh.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import grpc.aio
import pytest

from hashmvt.config import AddressRange, Config, Instances, Nat44Config, PolicyConfig, plan_policy
from hashmvt.config.values import DataplaneConfig, DataplaneKind, EmbeddedConfig, VppConfig
from hashmvt.control.service import DataplaneService
from hashmvt.dataplane.embedded import EmbeddedDataplane, engine_settings, stepped
from hashmvt.dataplane.memory import MemoryDataplane
from hashmvt.dataplane.remote import RemoteDataplane
from hashmvt.dataplane.rpc import methods
from hashmvt.dataplane.vpp import VppDataplane, vpp_settings
from hashmvt.model import EventLog
from hashmvt.private_vpp import why_not

if TYPE_CHECKING:
    from port import Port
    from vpp import Vpp

    from hashmvt.dataplane import Dataplane

VPP_TESTS = str(Path(__file__).resolve().parents[2] / "vpp")  # the launcher and the port
if VPP_TESTS not in sys.path:
    sys.path.insert(0, VPP_TESTS)

INSIDE = IPv4Network("10.0.0.0/8")
POOL = IPv4Network("198.51.100.0/30")


@dataclass(frozen=True, slots=True)
class RunningVpp:
    """The VPP of all tests."""

    vpp: Vpp
    port: Port

    @property
    def config(self) -> VppConfig:
        """How it is reached."""
        directory = self.vpp.directory
        return VppConfig(directory / "api.sock", directory / "stats.sock", ("pg0",), ("pg1",))


@dataclass(frozen=True, slots=True)
class Setup:
    """What a test wants of its dataplane."""

    tmp_path: Path
    vpp: Callable[[], RunningVpp]
    initial: int = 1
    most: int = 4

    def config(self, kind: DataplaneKind = DataplaneKind.EMBEDDED) -> Config:
        policy = PolicyConfig(inside=(INSIDE,), pool=(AddressRange.of(POOL),))
        return Config(
            path=Path("contract"),
            nat44=Nat44Config(policy, max_mappings=4096),
            dataplane=DataplaneConfig(
                kind=kind,
                instances=Instances(self.initial, self.most),
                embedded=EmbeddedConfig("", ""),
                vpp=self.vpp().config if kind is DataplaneKind.VPP else VppConfig(),
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


@contextlib.asynccontextmanager
async def vpp(setup: Setup) -> AsyncIterator[Dataplane]:
    """The NAT of a VPP, enabled for this test."""
    running = setup.vpp()
    settings = replace(vpp_settings(setup.config(DataplaneKind.VPP)), events=EventLog.MAPPING)
    dataplane = await VppDataplane.open(settings, port=running.port)
    try:
        yield dataplane
    finally:
        await dataplane.aclose()
        running.port.disable()


VPPS: list[Vpp] = []
"""Those of the tests that run."""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Run a test against VPP again when VPP got no CPU time."""
    if not item.get_closest_marker("vpp"):
        return None
    import again  # noqa: PLC0415

    return again.run(item, nextitem, VPPS)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if VPPS:
        import again  # noqa: PLC0415

        again.summary(terminalreporter)


@pytest.fixture(scope="session")
def running_vpp() -> Iterator[Callable[[], RunningVpp]]:
    """Return how a test gets the one VPP; whoever asks first starts it."""
    from port import Port  # noqa: PLC0415
    from vpp import Vpp  # noqa: PLC0415

    directory = Path(tempfile.gettempdir()) / f"hmvt-contract-{os.getpid()}"
    running: list[RunningVpp] = []

    def get() -> RunningVpp:
        if not running:
            process = Vpp(directory, workers=4)
            process.start(Port.set_up)
            VPPS.append(process)
            running.append(RunningVpp(process, Port(process)))
        return running[0]

    yield get
    for one in running:
        one.vpp.end()


KINDS = [
    Kind("memory", memory),
    Kind("stepped", lambda setup: embedded(setup, threads=False)),
    Kind("threaded", lambda setup: embedded(setup, threads=True)),
    Kind("remote", remote),
    Kind("vpp", vpp, (pytest.mark.vpp,)),
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs VPP where it cannot run, and give it time to start."""
    for item in items:
        if item.get_closest_marker("vpp"):
            item.add_marker(pytest.mark.timeout(180))
            if why := why_not(Path(__file__).resolve().parents[3]):
                item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture(params=[pytest.param(kind, id=kind.name, marks=kind.marks) for kind in KINDS])
def kind(request: pytest.FixtureRequest) -> Kind:
    found = request.param
    assert isinstance(found, Kind)
    return found


@pytest.fixture
async def plane(
    kind: Kind, tmp_path: Path, running_vpp: Callable[[], RunningVpp]
) -> AsyncIterator[Dataplane]:
    """One active instance of four."""
    async with kind.open(Setup(tmp_path, running_vpp)) as dataplane:
        yield dataplane


@pytest.fixture
async def pair(
    kind: Kind, tmp_path: Path, running_vpp: Callable[[], RunningVpp]
) -> AsyncIterator[Dataplane]:
    """Two active instances of four."""
    async with kind.open(Setup(tmp_path, running_vpp, initial=2)) as dataplane:
        yield dataplane

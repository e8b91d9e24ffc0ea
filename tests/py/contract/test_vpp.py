# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: ASYNC110, ASYNC240 - tests wait for what will be, and files are small
"""What only a real VPP can show: restarts of either side, and the programs on it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hashmvt.config import (
    AddressRange,
    Config,
    DataplaneConfig,
    DataplaneKind,
    Instances,
    Nat44Config,
    PolicyConfig,
    VppConfig,
    load,
)
from hashmvt.dataplane import packets
from hashmvt.dataplane.vpp import VppDataplane, vpp_settings
from hashmvt.errors import Unavailable
from hashmvt.model import (
    Direction,
    Endpoint,
    InstanceState,
    MappingFilter,
    Packet,
    Proto,
    StaticMapping,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from port import Port
    from vpp import Vpp

    from tests.py.contract.conftest import RunningVpp

pytestmark = pytest.mark.vpp

BIN = Path(sys.executable).parent
STATIC = StaticMapping(
    Endpoint(IPv4Address("10.3.3.3"), 8000, Proto.UDP),
    Endpoint(IPv4Address("198.51.100.1"), 80, Proto.UDP),
)


@pytest.fixture
def directory() -> Iterator[Path]:
    """A short name, for sockets."""
    path = Path(tempfile.mkdtemp(prefix="hmvt-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def vpp(directory: Path) -> Iterator[Vpp]:
    """A VPP of this test; without workers it starts at once."""
    from vpp import Vpp  # noqa: PLC0415

    with Vpp(directory) as process:
        yield process


def plug(vpp: Vpp) -> Port:
    """Make the interfaces."""
    from port import Port  # noqa: PLC0415

    Port.set_up(vpp)
    return Port(vpp)


def config_of(directory: Path, **nat44: Any) -> Config:
    policy = PolicyConfig(
        inside=(IPv4Network("10.0.0.0/8"),),
        pool=(AddressRange.of(IPv4Network("198.51.100.0/30")),),
    )
    return Config(
        path=Path("test"),
        nat44=Nat44Config(policy, max_mappings=4096, **nat44),
        dataplane=DataplaneConfig(
            kind=DataplaneKind.VPP,
            instances=Instances(0, 4),
            vpp=VppConfig(directory / "api.sock", directory / "stats.sock", ("pg0",), ("pg1",)),
        ),
    )


async def send(plane: VppDataplane) -> Verdict:
    source = Endpoint(IPv4Address("10.0.0.1"), 1000, Proto.UDP)
    target = Endpoint(IPv4Address("203.0.113.9"), 53, Proto.UDP)
    (outcome,) = await plane.inject([Packet(packets.make(source, target), Direction.IN2OUT)])
    return outcome.verdict


async def why_not(plane: VppDataplane) -> str:
    """Why it does not answer, if so."""
    try:
        await plane.snapshot()
    except Unavailable as error:
        return str(error)
    return ""


async def test_a_new_agent_finds_the_mappings_of_the_old_one(vpp: Vpp, directory: Path) -> None:
    port = plug(vpp)
    settings = vpp_settings(config_of(directory))
    first = await VppDataplane.open(settings, port=port)
    assert await send(first) is Verdict.TRANSLATED
    await first.static_add(STATIC)
    (dynamic,) = (await first.mappings(MappingFilter(statics=False))).items
    barriers = vpp.api.hashmvt_get().barriers
    await first.aclose()
    second = await VppDataplane.open(settings, port=port)
    try:
        (found,) = (await second.mappings(MappingFilter(statics=False))).items
        assert (found.inside, found.external) == (dynamic.inside, dynamic.external)
        # what the configuration has not, it takes away: it is what the file says
        assert (await second.mappings(MappingFilter(statics=True))).items == ()
        assert vpp.api.hashmvt_get().barriers <= barriers + 1  # only the list of interfaces
    finally:
        await second.aclose()


async def test_a_vpp_that_was_restarted_gets_its_nat_again(vpp: Vpp, directory: Path) -> None:
    plane = await VppDataplane.open(vpp_settings(config_of(directory)), port=plug(vpp))
    try:
        policy = await plane.policy()
        await plane.set_policy(
            type(policy)(
                generation=7,
                policies=policy.policies,
                inside=policy.inside,
                runs=policy.runs,
                exempt=(IPv4Network("192.0.2.0/24"),),
                endpoints=(STATIC,),
            )
        )
        vpp.stop()
        with pytest.raises(Unavailable, match="VPP is not running"):
            await plane.snapshot()
        vpp.start()
        # VPP listens before its interfaces are there, as where another controller makes them
        async with asyncio.timeout(20):
            while "VPP has no interface 'pg0'" not in await why_not(plane):
                await asyncio.sleep(0.1)
        port = plug(vpp)
        plane._nat._port = port  # type: ignore[attr-defined]
        async with asyncio.timeout(20):
            while await why_not(plane):
                await asyncio.sleep(0.1)
        found = await plane.policy()
        assert (found.generation, found.exempt, found.endpoints) == (
            7,
            (IPv4Network("192.0.2.0/24"),),
            (STATIC,),
        )
        assert len((await plane.mappings(MappingFilter(statics=True))).items) == 1
        assert await send(plane) is Verdict.TRANSLATED
        assert [i.state for i in (await plane.snapshot()).instances] == [InstanceState.ACTIVE]
    finally:
        await plane.aclose()


async def test_counters_are_those_of_now(vpp: Vpp, directory: Path) -> None:
    """The stats segment is written ten times a second; a snapshot does not wait for that."""
    plane = await VppDataplane.open(vpp_settings(config_of(directory)), port=plug(vpp))
    try:
        for count in range(1, 4):
            assert await send(plane) is Verdict.TRANSLATED
            (one,) = (await plane.snapshot()).instances
            assert one.counters.translated_in2out == count
    finally:
        await plane.aclose()


async def test_a_vpp_without_the_plugin_says_so(directory: Path) -> None:
    from vpp import Vpp  # noqa: PLC0415

    without = Vpp(directory, plugins=["ping"])
    with without, pytest.raises(Unavailable, match="runs without the HashMVT plugin: install"):
        await VppDataplane.open(vpp_settings(config_of(directory)))


FILE = """
nat44:
  inside: [10.0.0.0/8]
  pool: [198.51.100.0/30]
  max_mappings: 4096
  timeouts: {{udp: {udp}}}
dataplane:
  kind: vpp
  vpp: {{api: {folder}/api.sock, stats: {folder}/stats.sock, inside: [pg0], outside: [pg1]}}
agent: {{control: {folder}/agent.sock}}
coordinator: {{control: {folder}/coord.sock, listen: "127.0.0.1:{port}", heartbeat: 0.2}}
log: {{events: "off"}}
"""


async def test_the_agent_brings_about_its_file_and_serves_it(vpp: Vpp, directory: Path) -> None:
    """Start, show, reload by SIGHUP, end: VPP's NAT goes on."""
    plug(vpp)
    path = directory / "hashmvt.yaml"
    path.write_text(FILE.format(folder=directory, port=40000 + os.getpid() % 20000, udp=300))
    log = directory / "agent.log"
    agent = start("hashmvt-agent", "-c", str(path), log=log)
    try:
        await said(log, "serving")
        shown = show(directory, "instances")
        assert [one["state"] for one in shown["instances"]] == ["active"]
        path.write_text(path.read_text().replace("udp: 300", "udp: 200"))
        agent.send_signal(signal.SIGHUP)
        await said(log, "reloaded: nat44.timeouts.udp: 300 -> 200")
        _, policies = vpp.api.hashmvt_policy_get()
        assert policies[0].policy.timeouts[0] == 200
    finally:
        agent.terminate()
        assert agent.wait(20) == 0, log.read_text()
    assert vpp.api.hashmvt_get().enabled


@contextlib.asynccontextmanager
async def programs(running: RunningVpp, directory: Path) -> AsyncIterator[VppDataplane]:
    """Run agent and coordinator on a VPP, one instance active; yield a dataplane beside them."""
    path = directory / "hashmvt.yaml"
    text = FILE.format(folder=running.vpp.directory, port=40000 + os.getpid() % 20000, udp=300)
    text = text.replace("kind: vpp", "kind: vpp\n  instances: {initial: 1}")
    path.write_text(text.replace(f"{running.vpp.directory}/coord", f"{directory}/coord"))
    agent = start("hashmvt-agent", "-c", str(path), log=directory / "agent.log")
    coordinator = None
    try:
        await said(directory / "agent.log", "serving")
        coordinator = start("hashmvt-coord", "-c", str(path), log=directory / "coord.log")
        await said(directory / "coord.log", "coordinating")
        plane = await VppDataplane.open(vpp_settings(load(path)), port=running.port)
        try:
            yield plane
        finally:
            await plane.aclose()
        assert agent.poll() is None, (directory / "agent.log").read_text()
        assert coordinator.poll() is None, (directory / "coord.log").read_text()
    finally:
        for process in (coordinator, agent):
            if process is not None:
                process.terminate()
                process.wait(20)
        running.port.disable()


async def scale_out(directory: Path) -> str:
    """Ask the coordinator for it; return what was said."""
    command = [str(BIN / "hashmvt"), "scale", "--socket", f"{directory}/coord.sock", "out"]
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, timeout=60, check=False
    )
    return f"{done.stdout}{done.stderr}"


SOURCES = [Endpoint(IPv4Address(f"10.{n}.0.1"), 1000, Proto.UDP) for n in range(64)]


def from_all(offset: int = 0) -> list[Packet]:
    """Return a packet of each of 64 hosts, wide apart."""
    target = Endpoint(IPv4Address("203.0.113.9"), 53, Proto.UDP)
    sources = [replace(one, addr=one.addr + offset) for one in SOURCES]
    return [Packet(packets.make(one, target), Direction.IN2OUT) for one in sources]


async def test_a_scale_out_onto_a_spare_worker_changes_no_mapping(
    running_vpp: Callable[[], RunningVpp], directory: Path
) -> None:
    """The coordinator's five steps, as on the embedded engine; new flows share the work."""
    async with programs(running_vpp(), directory) as plane:
        before = [outcome.data for outcome in await plane.inject(from_all())]
        assert "scale-out of instance 0 to 1: done" in await scale_out(directory)
        assert [outcome.data for outcome in await plane.inject(from_all())] == before
        others = await plane.inject(from_all(1))
        assert {one.verdict for one in others} == {Verdict.TRANSLATED}
        first, second, *spare = (await plane.snapshot()).instances
        assert first.gauges.mappings + second.gauges.mappings == 2 * len(SOURCES)
        assert second.gauges.mappings > 0
        assert {one.state for one in spare} == {InstanceState.SPARE}


async def test_agent_and_coordinator_survive_a_vpp_that_is_killed(
    running_vpp: Callable[[], RunningVpp], directory: Path
) -> None:
    """Under a NAT that was scaled out: they reconnect, configure the new one and scale it out."""
    running = running_vpp()
    async with programs(running, directory) as plane:
        await plane.inject(from_all())
        assert "scale-out of instance 0 to 1: done" in await scale_out(directory)
        os.kill(running.vpp.pid, signal.SIGKILL)
        assert "VPP" in await why_not(plane)
        running.vpp.stop()
        assert "done" not in await scale_out(directory)
        running.vpp.start()  # by this thread, for VPP ends with the one that started it
        async with asyncio.timeout(30):
            while await why_not(plane):
                await asyncio.sleep(0.1)
        states = [one.state for one in (await plane.snapshot()).instances]
        assert states == [InstanceState.ACTIVE] + [InstanceState.SPARE] * (len(states) - 1)
        fresh = await plane.inject(from_all())
        assert {one.verdict for one in fresh} == {Verdict.TRANSLATED}
        async with asyncio.timeout(30):
            while "scale-out of instance 0 to 1: done" not in (told := await scale_out(directory)):
                await asyncio.sleep(0.5)
        before = [outcome.data for outcome in fresh]
        assert [outcome.data for outcome in await plane.inject(from_all())] == before, told
        assert {o.verdict for o in await plane.inject(from_all(1))} == {Verdict.TRANSLATED}
        first, second, *_ = (await plane.snapshot()).instances
        assert first.gauges.mappings + second.gauges.mappings == 2 * len(SOURCES)
        assert second.gauges.mappings > 0


def start(*command: str, log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as out:
        return subprocess.Popen([str(BIN / command[0]), *command[1:]], stdout=out, stderr=out)


async def said(log: Path, words: str) -> None:
    try:
        async with asyncio.timeout(30):
            while words not in log.read_text():
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"{words!r} was not said: {log.read_text()}") from None


def show(directory: Path, what: str) -> Any:
    command = [str(BIN / "hashmvt"), "show", what, "--json", "--socket", f"{directory}/agent.sock"]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)

# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: ASYNC110, ASYNC221, ASYNC240 - tests wait for what will be, and files are small
"""Agent and coordinator over real sockets, in one process, in front of a memory dataplane."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from errno import EBADFD
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from hashmvt.config import load, plan_policy
from hashmvt.control import agent as agents
from hashmvt.control import coordinator as coordinators
from hashmvt.control import daemon, keyfile
from hashmvt.control.agent import Agent, DeviceError
from hashmvt.control.cli import CoordinatorClient, command
from hashmvt.control.coordinator import Coordinator
from hashmvt.control.wire import Receiver, Refusal, Sender
from hashmvt.dataplane.memory import MemoryDataplane
from hashmvt.dataplane.remote import RemoteDataplane
from hashmvt.dataplane.rpc import dataplane_pb2 as pb
from hashmvt.dataplane.rpc import methods
from hashmvt.errors import ConfigError, Rejected, Unavailable
from hashmvt.model import (
    ANYWHERE,
    HomeMap,
    HomeRange,
    InstanceSnapshot,
    InstanceState,
    IoSide,
    IoSnapshot,
    Snapshot,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CONFIG = """
nat44:
  inside: [10.0.0.0/24]
  pool: [198.51.100.0/31]
  timeouts: {{udp: 300}}
dataplane:
  instances: {{initial: 1, max: 3}}
agent: {{control: agent.sock}}
coordinator: {{listen: "127.0.0.1:{port}", control: coord.sock, heartbeat: 0.1,
               failure: {{period: 1.0, periods: 2}}}}
log: {{events: "off"}}
"""


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "hashmvt.yaml"
    found.write_text(CONFIG.format(port=free_port()))
    keyfile.create_key(tmp_path / "heartbeat.key")
    return found


@asynccontextmanager
async def running(path: Path, *, coordinate: bool) -> AsyncIterator[Coordinator | Agent]:
    """An agent, and where asked for a coordinator; stopped in the other order."""
    config = load(path)
    plane = MemoryDataplane(plan_policy(config.nat44, generation=1), most=3)
    stop, reload = asyncio.Event(), asyncio.Event()
    agent = Agent(config, plane)
    serving = asyncio.create_task(agent.serve(stop, reload))
    await until(lambda: daemon.answers(config.agent.control))
    try:
        if not coordinate:
            yield agent
        else:
            key = keyfile.load_key(config.coordinator.key_file)
            coordinator = Coordinator(config, key)
            halt = asyncio.Event()
            coordinating = asyncio.create_task(coordinator.serve(halt, asyncio.Event()))
            await until(lambda: daemon.answers(config.coordinator.control))
            try:
                yield coordinator
            finally:
                halt.set()
                await coordinating
    finally:
        stop.set()
        await serving
        await plane.aclose()


async def until(ready: object, timeout_s: float = 10.0) -> None:
    """Wait for something that will be."""
    async with asyncio.timeout(timeout_s):
        while not ready():  # type: ignore[operator]
            await asyncio.sleep(0.01)


async def test_an_agent_whose_device_has_gone_ends(path: Path) -> None:
    config = load(path)
    plane = MemoryDataplane(plan_policy(config.nat44, generation=1), most=3)
    whole = plane.snapshot

    async def without_a_device(cursor: str = "") -> Snapshot:
        return replace(await whole(cursor), io=IoSnapshot(outside=IoSide(failed_errno=EBADFD)))

    plane.snapshot = without_a_device  # type: ignore[method-assign]
    with pytest.raises(DeviceError, match="device hmvt-out cannot be read any more"):
        await asyncio.wait_for(Agent(config, plane).serve(asyncio.Event(), asyncio.Event()), 10)
    assert not config.agent.control.exists()
    await plane.aclose()


async def test_heartbeats_arrive_and_noise_is_counted(path: Path) -> None:
    async with running(path, coordinate=True) as coordinator:
        assert isinstance(coordinator, Coordinator)
        await until(lambda: coordinator.receiver.accepted > 2)
        host, _, port = coordinator.config.coordinator.listen.rpartition(":")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"x" * 200, (host, int(port)))
        await until(lambda: sum(coordinator.receiver.refused.values()) == 1)
        (member,) = coordinator.members.values()
        assert member.heard_at is not None


async def test_two_agents_of_one_name_are_said_once_in_a_while(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with running(path, coordinate=True) as coordinator:
        assert isinstance(coordinator, Coordinator)
        await until(lambda: coordinator.receiver.accepted)
        (host,) = coordinator.members
        config = coordinator.config.coordinator
        other = Sender(host, keyfile.load_key(config.key_file), boot_id=1)
        home = HomeMap(1, (HomeRange(ANYWHERE, 0),))
        (datagram,) = other.datagrams(home, (), now_ms=time.time_ns() // 1_000_000)
        coordinator.heard(datagram)
        await until(lambda: coordinator.receiver.refused[Refusal.CONFLICT] > 12)
        said = [r.message for r in caplog.records if "two agents" in r.message]
        assert len(said) == 1
        assert said[0].startswith(f"{host}: ")
        assert "agent.name" in said[0]


async def test_another_key_is_said_and_a_reload_reads_it(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    path.write_text(path.read_text().replace("period: 1.0, periods: 2", "period: 0.2, periods: 1"))
    key_file = path.parent / "heartbeat.key"
    right = key_file.read_bytes()
    async with running(path, coordinate=True) as coordinator:
        assert isinstance(coordinator, Coordinator)
        await until(lambda: coordinator.receiver.accepted)
        key_file.write_bytes(right[::-1])
        coordinator.reload()
        assert f"reloaded: the key of heartbeats, {key_file}" in caplog.text
        await until(lambda: "no heartbeat for" in caplog.text)
        (member,) = coordinator.members
        (said,) = [r.message for r in caplog.records if "no heartbeat for" in r.message]
        assert said.startswith(f"{member}: no heartbeat for 0.2 s, though its agent answers")
        assert "coordinator.key_file" in said
        accepted = coordinator.receiver.accepted
        key_file.write_bytes(right)
        coordinator.reload()
        await until(lambda: coordinator.receiver.accepted > accepted)
        caplog.clear()
        coordinator.reload()
        assert "nothing of the coordinator has changed" in caplog.text
        key_file.unlink()
        with pytest.raises(ConfigError, match="key file"):
            coordinator.reload()


async def test_a_heartbeat_that_never_came_is_said(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_text(path.read_text().replace("period: 1.0, periods: 2", "period: 0.2, periods: 1"))
    config = load(path)
    keyfile.load_key(config.coordinator.key_file)
    plane = MemoryDataplane(plan_policy(config.nat44, generation=1), most=3)
    stop = asyncio.Event()
    far = replace(config, coordinator=replace(config.coordinator, listen="127.0.0.1:9"))
    serving = asyncio.create_task(Agent(far, plane).serve(stop, asyncio.Event()))
    await until(lambda: daemon.answers(config.agent.control))
    coordinating = asyncio.create_task(Coordinator(config, b"k" * 32).serve(stop, asyncio.Event()))
    await until(lambda: "no heartbeat for" in caplog.text)
    assert f"let UDP to {config.coordinator.listen} through" in caplog.text
    stop.set()
    await asyncio.gather(serving, coordinating)
    await plane.aclose()


async def test_an_agent_reloads_its_key(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    key_file = path.parent / "heartbeat.key"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", int(load(path).coordinator.listen.rpartition(":")[2])))
        sock.setblocking(False)  # noqa: FBT003
        loop = asyncio.get_running_loop()
        async with running(path, coordinate=False) as agent:
            assert isinstance(agent, Agent)
            await loop.sock_recv(sock, 2000)
            key_file.write_bytes(b"x" * 32)
            await agent.reload()
            assert f"reloaded: the key of heartbeats, {key_file}" in caplog.text
            receiver = Receiver(b"x" * 32)
            while not receiver.accepted:
                now_ms = time.time_ns() // 1_000_000
                receiver.accept(await loop.sock_recv(sock, 2000), now_ms=now_ms)
            key_file.chmod(0o644)
            with pytest.raises(ConfigError, match="open to others"):
                await agent.reload()


async def test_scale_out_and_in_by_command(path: Path) -> None:
    async with running(path, coordinate=True) as coordinator:
        assert isinstance(coordinator, Coordinator)
        client = CoordinatorClient(coordinator.config.coordinator.control)
        begun = await client.call(methods.SCALE_OUT, pb.ScaleOutRequest())
        texts = []
        follow = pb.StepsRequest(follow=True, first=begun.step)
        async for step in client.steps(follow):
            texts.append(step.text)
            if step.text == f"{begun.operation}: done":
                break
        assert [t for t in texts if t.startswith("(iv)")]
        own = await RemoteDataplane.connect(coordinator.config.coordinator.control)
        states = [one.state for one in (await own.snapshot()).instances]
        assert states == [InstanceState.ACTIVE, InstanceState.ACTIVE, InstanceState.SPARE]
        assert (await own.home()).version == (await own.rules()).version
        await own.aclose()
        with pytest.raises(Rejected, match="instance 1 is active already"):
            await client.call(methods.SCALE_OUT, pb.ScaleOutRequest(target=1))
        with pytest.raises(Rejected, match="no host is called"):
            await client.call(methods.SCALE_IN, pb.ScaleInRequest(host="other", instance=1))
        await client.call(methods.SCALE_IN, pb.ScaleInRequest(instance=1))
        (member,) = coordinator.members.values()
        await until(lambda: member.controller.operation is None)
        status = await client.call(methods.STATUS, pb.Empty())
        assert [one.state for one in status.hosts[0].instances][1] == InstanceState.SPARE
        await client.aclose()


async def test_the_commands_show_it(path: Path) -> None:
    async with running(path, coordinate=True) as coordinator:
        assert isinstance(coordinator, Coordinator)
        await until(lambda: coordinator.receiver.accepted)
        runner = CliRunner()

        async def run(*words: str) -> str:
            arguments = ["-c", str(path), *words]
            result = await asyncio.to_thread(runner.invoke, command, arguments)
            assert result.exception is None, result.output
            return result.output

        assert "instance  1  spare" in await run("status")
        found = json.loads(await run("status", "--json"))
        assert isinstance(found["heartbeats"], int)
        (host,) = found["hosts"]
        assert host["home_version"] >= 0
        assert [one["state"] for one in host["instances"]][:2] == ["active", "spare"]
        assert all(isinstance(one["limit"], int) for one in host["instances"])
        assert ": done" in await run("out")
        assert "(iii)" in await run("steps")


async def test_reload_changes_what_may_change(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with running(path, coordinate=False) as agent:
        assert isinstance(agent, Agent)
        await agent.reload()
        assert "nothing has changed" in caplog.text
        path.write_text(path.read_text().replace("udp: 300", "udp: 200"))
        await agent.reload()
        assert "nat44.timeouts.udp: 300 -> 200" in caplog.text
        remote = await RemoteDataplane.connect(agent.config.agent.control)
        assert (await remote.policy()).policies[0].timeouts.udp == 200
        await remote.aclose()


async def test_reload_refuses_what_needs_a_restart(path: Path) -> None:
    async with running(path, coordinate=False) as agent:
        assert isinstance(agent, Agent)
        before = path.read_text()
        path.write_text(before.replace("udp: 300", "udp: 200").replace("max: 3", "max: 4"))
        with pytest.raises(daemon.StartError, match=r"dataplane\.instances\.max cannot change"):
            await agent.reload()
        assert agent.config.nat44.default.timeouts.udp == 300
        path.write_text("nonsense")
        with pytest.raises(ConfigError):
            await agent.reload()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make certificates")
async def test_an_agent_on_another_host(path: Path) -> None:
    made = ("req", "-x509", "-newkey", "rsa:2048", "-noenc", "-subj", "/CN=all")
    command = ["openssl", *made, "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem"]
    subprocess.run([*command, "-out", "cert.pem"], cwd=path.parent, check=True, capture_output=True)
    tls = "tls: {certificate: cert.pem, key: key.pem, authority: cert.pem}"
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        there = f"127.0.0.1:{sock.getsockname()[1]}"
    text = path.read_text()
    text = text.replace("agent.sock}", f'agent.sock, name: far, listen: "{there}", {tls}}}')
    text = text.replace("heartbeat: 0.1,", f'heartbeat: 0.1, agents: ["{there}"], {tls},')
    path.write_text(text)
    async with running(path, coordinate=True) as coordinator:
        assert isinstance(coordinator, Coordinator)
        (member,) = coordinator.members.values()
        assert member.address == there
        await until(lambda: member.controller.observed is not None)
        await member.controller.begin_scale_out()
        await until(lambda: member.controller.operation is None)
        assert member.controller.steps[-1].text.endswith("done")


async def test_the_socket_is_closed_to_others_and_goes_with_the_agent(path: Path) -> None:
    control = path.parent / "agent.sock"
    async with running(path, coordinate=False):
        assert stat.S_IMODE(control.stat().st_mode) == 0o660
        with pytest.raises(daemon.StartError, match="runs already"):
            daemon.clear_socket(control, "an agent")
    assert not control.exists()


def test_a_dead_socket_is_cleared_and_a_file_is_not(tmp_path: Path) -> None:
    path = tmp_path / "run" / "agent.sock"
    daemon.clear_socket(path, "an agent")
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o750
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    daemon.clear_socket(path, "an agent")
    assert not path.exists()
    path.write_text("precious")
    with pytest.raises(daemon.StartError, match="is no socket"):
        daemon.clear_socket(path, "an agent")
    assert path.read_text() == "precious"


async def test_the_agent_is_named_that_does_not_answer(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(path, coordinate=True) as coordinator:
        assert isinstance(coordinator, Coordinator)
        (member,) = coordinator.members.values()
        await until(lambda: member.controller.observed is not None)
        client = CoordinatorClient(coordinator.config.coordinator.control)

        async def hang(_self: MemoryDataplane, _cursor: str = "") -> Snapshot:
            return await asyncio.Future()

        monkeypatch.setattr(MemoryDataplane, "snapshot", hang)
        monkeypatch.setattr(member.plane, "_timeout_s", 0.2)
        hangs = f"the agent at {member.address} does not answer: nothing came within 0.2 s"
        with pytest.raises(Unavailable, match=f"^{member.host}: {hangs}"):
            await client.call(methods.SCALE_OUT, pb.ScaleOutRequest())
        with pytest.raises(Unavailable, match=f"^{member.host}: {hangs}"):
            await client.call(methods.SCALE_IN, pb.ScaleInRequest(instance=1))
        await until(lambda: not member.reachable)
        assert f"{member.host}: {hangs}" in caplog.text
        assert "Deadline" not in caplog.text
        await client.aclose()


async def test_no_coordinator_is_one_sentence(tmp_path: Path) -> None:
    client = CoordinatorClient(tmp_path / "none")
    with pytest.raises(Unavailable, match="nobody listens there: start it with hashmvt-coord"):
        await client.call(methods.STATUS, pb.Empty())
    await client.aclose()


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def start(module: str, path: Path) -> subprocess.CompletedProcess[str]:
    """Run a daemon that ends at once."""
    return subprocess.run(
        [sys.executable, "-m", f"hashmvt.control.{module}", "-c", str(path)],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )


@pytest.mark.parametrize("module", ["agent", "coordinator"])
def test_a_wrong_configuration_is_exit_2_and_starts_nothing(module: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("nat44: {inside: [10.0.0.0/8], pool: [], colour: blue}\n")
    done = start(module, path)
    assert done.returncode == 2
    assert "bad.yaml:1" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("module", ["agent", "coordinator"])
def test_without_its_certificates_it_does_not_start(module: str, path: Path) -> None:
    tls = "tls: {certificate: a.pem, key: a.key, authority: ca.pem}"
    text = path.read_text().replace(
        "heartbeat: 0.1,", f'heartbeat: 0.1, agents: ["127.0.0.1:1"], {tls},'
    )
    text = text.replace("agent.sock}", f'agent.sock, listen: "127.0.0.1:1", {tls}}}')
    path.write_text(text)
    done = start(module, path)
    assert done.returncode == 2
    assert f"{path}: {module}.tls.certificate: {path.parent}/a.pem: no such file" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_socket_that_cannot_be_made_is_one_sentence(path: Path, tmp_path: Path) -> None:
    with pytest.raises(
        daemon.StartError, match=r"the control socket /proc/x/a\.sock does not exist"
    ):
        daemon.clear_socket(Path("/proc/x/a.sock"), "an agent")
    # gRPC would say it in lines of its own
    code = (
        "import asyncio, sys, pathlib; from hashmvt.control import daemon; "
        "daemon.clear_socket = lambda *_: None; "
        "asyncio.run(daemon.served((), pathlib.Path(sys.argv[1]) / 'none' / 'x', 'x').__aenter__())"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
    assert "x cannot listen at" in done.stderr.splitlines()[-1]
    assert "add_port" not in done.stderr


async def test_an_agent_that_cannot_start_is_named(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(daemon.StartError, match="ended with exit code 1"):
        await coordinators.own_agent(load(path))


def test_readiness_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        daemon.notify("READY=1")
        assert manager.recv(100) == b"READY=1"


def test_load_is_busy_over_all_cycles() -> None:
    before = InstanceSnapshot(0, InstanceState.ACTIVE, cycles_busy=100, cycles_total=1000)
    now = replace(before, cycles_busy=400, cycles_total=2000)
    assert agents.load_between(before, now) == pytest.approx(0.3)
    assert agents.load_between(None, now) == 0
    assert agents.load_between(now, now) == 0

# SPDX-License-Identifier: Apache-2.0
"""HashMVT itself as the demonstration uses it: the commands an operator types, and what they say.

``hashmvt-agent`` and ``hashmvt-coord`` run in the namespace ``nat`` with one configuration; what
they do is read by way of the agent's control socket, as ``hashmvt show`` does.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path

from demo import topology
from demo.child import Child, ChildError
from demo.plan import Plan
from demo.report import InstanceReport, ScaleOut
from demo.view import InstanceView, View
from hashmvt.dataplane.remote import RemoteDataplane
from hashmvt.errors import HashMvtError, Unavailable
from hashmvt.model import InstanceSnapshot, InstanceState, Snapshot
from hashmvt.names import DropReason, PassReason

START_S = 15.0
LOOK_S = 0.1
CPU_THRESHOLD = 0.01
"""Low on purpose: any traffic is more than that, an idle instance is less."""
STAMP = re.compile(r"^[\d-]+ [\d:,.]+ (?:\S+: )?")
STEP = re.compile(r"\((i|ii|iii|iv|v)\)")
DONE = re.compile(r"scale-out .*: done")

CONFIG = """\
nat44:
  inside: [{inside}]
  pool: [{pool}]
dataplane:
  kind: {kind}
  instances: {{initial: {initial}, max: {most}}}
  {kind}: {devices}
agent: {{control: {directory}/agent.sock}}
coordinator:
  listen: "127.0.0.1:7788"
  control: {directory}/coord.sock
  key_file: {directory}/heartbeat.key
  cpu: {cpu}
dispatcher: {{kind: software}}
"""


class AgentNat(ABC):
    """A dataplane with its agent and coordinator; see ``live.Nat``."""

    def __init__(self, plan: Plan, directory: Path) -> None:
        self._plan = plan
        self._directory = directory
        self._agent: Child | None = None
        self._coordinator: Child | None = None
        self._plane: RemoteDataplane | None = None
        self._before: Snapshot | None = None

    @abstractmethod
    def _devices(self) -> str:
        """The dataplane's own section of the configuration, in one line."""

    async def _start_agent(self) -> None:
        """Write the configuration, start the agent, wait until it answers.

        Raises:
            ChildError: it does not.
        """
        key = self._directory / "heartbeat.key"
        key.touch(mode=0o600)
        key.write_text(secrets.token_hex(32))
        self._config.write_text(
            CONFIG.format(
                inside=self._plan.inside,
                pool=self._plan.pool,
                kind=self._plan.dataplane,
                initial=self._plan.instances,
                most=self._plan.instances + 1,
                devices=self._devices(),
                directory=self._directory,
                cpu=CPU_THRESHOLD,
            )
        )
        self._agent = await self._command("hashmvt-agent")
        socket = self._directory / "agent.sock"
        deadline = time.monotonic() + START_S
        while self._plane is None:
            self.check()
            if time.monotonic() > deadline:
                raise self._agent.error(f"does not answer on {socket} after {START_S:g} s")
            if socket.exists():
                try:
                    self._plane = await RemoteDataplane.connect(socket)
                except Unavailable:
                    await asyncio.sleep(LOOK_S)
            else:
                await asyncio.sleep(LOOK_S)

    @property
    def _config(self) -> Path:
        return self._directory / "hashmvt.yaml"

    async def _command(self, name: str) -> Child:
        program = str(Path(sys.executable).parent / name)
        command = [*topology.inside(topology.NAT), program, "-c", str(self._config)]
        return await Child.start(name, command, self._directory)

    def check(self) -> None:
        """Raise ``ChildError`` when agent or coordinator has ended."""
        for child in (self._agent, self._coordinator):
            if child is not None:
                child.check()

    async def _snapshot(self) -> Snapshot:
        assert self._plane is not None and self._agent is not None  # noqa: S101, PT018 - started
        try:
            return await self._plane.snapshot()
        except HashMvtError as error:
            self.check()
            raise ChildError(f"the agent does not answer: {error}") from error

    async def look(self) -> list[InstanceView]:
        """The instances now, with rates since the last look."""
        now = await self._snapshot()
        before = {i.id: i for i in self._before.instances} if self._before else {}
        seconds = (now.taken_ns - self._before.taken_ns) / 1e9 if self._before else 1.0
        self._before = now
        return [_view(i, before.get(i.id), seconds) for i in now.instances]

    async def instances(self) -> list[InstanceReport]:
        """The instances that ever moved a packet or may."""
        return [
            _report(i, self._block_size)
            for i in (await self._snapshot()).instances
            if i.state is not InstanceState.SPARE or _packets(i)
        ]

    @property
    def _block_size(self) -> int:
        return self._plane.capabilities.block_size if self._plane else 0

    async def scale_out(self, show: View, timeout_s: float) -> ScaleOut:
        """Start the coordinator: it sees the load in the heartbeats and adds an instance."""
        active = {i.id for i in (await self._snapshot()).instances if _is_active(i)}
        started = time.monotonic()
        self._coordinator = await self._command("hashmvt-coord")
        told: list[str] = []
        while time.monotonic() < started + timeout_s:
            log = self._log()
            for line in log[len(told) :]:
                show.note(line)
            told = log
            if any(DONE.search(line) for line in told):
                added = {i.id for i in (await self._snapshot()).instances if _is_active(i)} - active
                return ScaleOut(min(added, default=None), _steps(told), time.monotonic() - started)
            await asyncio.sleep(LOOK_S)
        return ScaleOut(None, _steps(told), time.monotonic() - started)

    def _log(self) -> list[str]:
        """What the coordinator has logged, without time and host."""
        assert self._coordinator is not None  # noqa: S101 - started by the caller
        lines = self._coordinator.log.read_text(errors="replace").splitlines()
        return [STAMP.sub("", line) for line in lines]

    async def stop(self) -> list[str]:
        """End coordinator and agent in order; what did not end well, in words."""
        if self._plane is not None:
            await self._plane.aclose()
        children = [child for child in (self._coordinator, self._agent) if child is not None]
        codes = [(child, await child.end()) for child in children]
        return [str(child.error(f"ended with exit code {code}")) for child, code in codes if code]


class EmbeddedNat(AgentNat):
    """The embedded engine, which runs in the agent; its devices are the kernel's TUN."""

    def _devices(self) -> str:
        return f"{{inside: {topology.INSIDE_DEVICE}, outside: {topology.OUTSIDE_DEVICE}}}"

    async def start(self) -> None:
        """Start the agent, which makes both devices, and move these to where traffic is."""
        await self._start_agent()
        if not await asyncio.to_thread(topology.wait_for_devices, START_S):
            self.check()
            raise RuntimeError(f"the agent made no TUN devices within {START_S:g} s")
        await asyncio.to_thread(topology.place_devices, self._plan)


def _steps(log: Iterable[str]) -> tuple[str, ...]:
    return tuple(step for line in log for step in STEP.findall(line))


def _is_active(instance: InstanceSnapshot) -> bool:
    return instance.state is InstanceState.ACTIVE


def _packets(instance: InstanceSnapshot) -> int:
    counters = instance.counters
    return counters.translated_in2out + counters.translated_out2in + counters.hairpinned


def _counts(
    reasons: Iterable[DropReason] | Iterable[PassReason], counts: tuple[int, ...]
) -> dict[str, int]:
    return {r.label: counts[r.number] for r in reasons if counts[r.number]}


def _dropped(instance: InstanceSnapshot) -> dict[str, int]:
    dropped = _counts(DropReason, instance.dropped)
    for name, count in (("ring full", instance.ring_dropped), ("device", instance.io_errors)):
        if count:
            dropped[name] = count
    return dropped


def _view(now: InstanceSnapshot, before: InstanceSnapshot | None, seconds: float) -> InstanceView:
    old = before or InstanceSnapshot(now.id, now.state)
    cycles = now.cycles_total - old.cycles_total
    return InstanceView(
        id=now.id,
        state=now.state.name.lower(),
        packets=_packets(now),
        rate=(_packets(now) - _packets(old)) / seconds if before else 0.0,
        load=(now.cycles_busy - old.cycles_busy) / cycles if cycles else 0.0,
        mappings=now.gauges.mappings,
        dropped=sum(_dropped(now).values()),
    )


def _report(instance: InstanceSnapshot, block_size: int) -> InstanceReport:
    return InstanceReport(
        id=instance.id,
        state=instance.state.name.lower(),
        packets=_packets(instance),
        mappings=instance.gauges.mappings,
        made=instance.counters.mappings_created,
        blocks=instance.gauges.blocks,
        ports=instance.gauges.blocks * block_size,
        handed_over=instance.counters.handed_over,
        dropped=_dropped(instance),
        passed=_counts(PassReason, instance.passed),
    )

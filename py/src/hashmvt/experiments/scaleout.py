# SPDX-License-Identifier: Apache-2.0
"""Throughput over time while the rate varies and the coordinator adds instances.

Agent and coordinator are the real ones, in this process: heartbeats over UDP, changes over gRPC,
the embedded engine with a thread per instance. Only where packets come from is the experiment's
own (`Source`): a queue for each instance, as of a NIC that follows the dispatcher's rules.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import socket
import tempfile
import time
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING

from hashmvt.config import (
    AddressRange,
    AgentConfig,
    Config,
    CoordinatorConfig,
    DataplaneConfig,
    HoldDown,
    Instances,
    LogConfig,
    Nat44Config,
    PolicyConfig,
)
from hashmvt.control import daemon, keyfile
from hashmvt.control.agent import Agent
from hashmvt.control.coordinator import Coordinator
from hashmvt.dataplane.embedded import EmbeddedDataplane, engine_settings
from hashmvt.errors import HashMvtError
from hashmvt.experiments.mixes import Mix, Source
from hashmvt.model import EventLog, InstanceState
from hashmvt.policy import Timeouts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from hashmvt.control.controller import Step
    from hashmvt.experiments.mixes import Counts

WARM_S = 1.0
CALIBRATE_S = 2.0
UNDISTURBED = 0.1
_TRIES = 3
_START_S = 10.0
_ADDRESSES = 64
_MAPPINGS = 1 << 18


@dataclass(frozen=True, slots=True)
class Plan:
    """How the rate varies, and who serves it."""

    instances: int
    """At most; the rate is relative to what all of them can do."""
    start: int
    """Active at the start."""
    seconds: float
    least: float
    """Lowest rate, as a share of the capacity."""
    most: float
    period_s: float
    """From the lowest rate to the highest and back."""
    lifetime_s: float
    """Of a host, until another one comes with another address."""
    interval_s: float
    """Between two samples."""

    def share(self, at_s: float) -> float:
        """Return the rate at a second, as a share of the capacity: up, and down again."""
        phase = at_s / self.period_s % 1.0
        return self.least + (self.most - self.least) * (1.0 - abs(2.0 * phase - 1.0))


@dataclass(frozen=True, slots=True)
class Sample:
    """What an interval gave, all instances together; packets per second."""

    at_s: float
    """Its end."""
    share: float
    """Of the capacity that was asked for."""
    offered: float
    translated: float
    lost: float
    refused: float
    active: int
    """Instances at its end."""
    by_instance: tuple[float, ...]
    """Translated."""
    disturbed: float = 0.0
    """CPUs that other processes and other virtual machines took meanwhile, as far as is known."""


@dataclass(frozen=True, slots=True)
class Event:
    """A step of the coordinator."""

    at_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Run:
    """What one run gave."""

    capacity: float
    """Packets per second that all instances translated just before, when they got all they took."""
    samples: tuple[Sample, ...]
    events: tuple[Event, ...]


class Others:
    """How many CPUs others take: everything that is not this process, and what the hypervisor took.

    By the kernel's count, in ticks of 10 ms as a rule. Where there is none, nobody takes any.
    """

    def __init__(self, stat: Path = Path("/proc/stat")) -> None:
        """Begin to count."""
        self._stat = stat
        self._tick_s = 1 / os.sysconf("SC_CLK_TCK")
        self._last = self._read()

    def since(self) -> float:
        """Return the CPUs that others took on average since the last call."""
        before, self._last = self._last, self._read()
        at, all_s, own_s = (b - a for a, b in zip(before, self._last, strict=True))
        return max(0.0, (all_s - own_s) / at) if at > 0 else 0.0

    def _read(self) -> tuple[float, float, float]:
        """Return now, and the CPU seconds of all and of this process."""
        own = time.process_time()
        try:
            user, nice, system, _idle, _wait, irq, softirq, steal = map(
                int, self._stat.read_text(encoding="ascii").split(maxsplit=9)[1:9]
            )
        except (OSError, ValueError):
            return time.monotonic(), own, own
        ticks = user + nice + system + irq + softirq + steal
        return time.monotonic(), ticks * self._tick_s, own


def run(plan: Plan, mix: Mix, step: Callable[[], None] = lambda: None) -> Run:
    """Run once, at rates relative to what all instances can do; ``step`` is called per sample.

    Raises:
        HashMvtError: no memory for it, or the daemons cannot start.

    """
    return run_at(plan, mix, asyncio.run(_capacity(plan, mix)), step)


def run_at(
    plan: Plan, mix: Mix, packets_per_second: float, step: Callable[[], None] = lambda: None
) -> Run:
    """Run once, at rates relative to a capacity that is given; otherwise as `run`."""
    return asyncio.run(_run(plan, mix, packets_per_second, step))


async def _capacity(plan: Plan, mix: Mix) -> float:
    """Let all instances have all they take; again, a few times, while others disturb it."""
    with tempfile.TemporaryDirectory() as folder:
        config = _config(plan, Path(folder), initial=plan.instances)
        async with _fed(config, plan, mix) as (_plane, source):
            source.rate(None)
            await asyncio.sleep(WARM_S)
            found = []
            for _try in range(_TRIES):
                others = Others()
                began, before = source.read()
                await asyncio.sleep(CALIBRATE_S)
                ended, after = source.read()
                done = _sum(after, "translated") - _sum(before, "translated")
                found.append((others.since(), done / (ended - began)))
                if found[-1][0] <= UNDISTURBED:
                    break
            return min(found)[1]


async def _run(plan: Plan, mix: Mix, capacity: float, step: Callable[[], None]) -> Run:
    samples: list[Sample] = []
    with tempfile.TemporaryDirectory() as folder:
        config = _config(plan, Path(folder), initial=plan.start)
        async with _fed(config, plan, mix) as (plane, source):
            source.rate(capacity * plan.share(0.0))
            await asyncio.sleep(WARM_S)
            began = time.time()
            async with _coordinated(config, plane) as steps:
                others = Others()
                start, before = source.read()
                at = start
                while at - start < plan.seconds:
                    share = plan.share(at - start)
                    source.rate(capacity * share)
                    await asyncio.sleep(plan.interval_s)
                    now, after = source.read()
                    samples.append(
                        replace(
                            _sample(before, after, now - at),
                            at_s=now - start,
                            share=share,
                            active=await _active(plane),
                            disturbed=others.since(),
                        )
                    )
                    at, before = now, after
                    step()
                events = tuple(Event(one.at - began, one.text) for one in steps())
    return Run(capacity, tuple(samples), events)


def _sum(counts: Sequence[Counts], name: str) -> int:
    return sum(int(getattr(one, name)) for one in counts)


def _sample(before: Sequence[Counts], after: Sequence[Counts], seconds: float) -> Sample:
    def rate(name: str) -> float:
        return (_sum(after, name) - _sum(before, name)) / seconds

    each = tuple(
        (b.translated - a.translated) / seconds for a, b in zip(before, after, strict=True)
    )
    return Sample(
        0.0, 0.0, rate("offered"), rate("translated"), rate("lost"), rate("refused"), 0, each
    )


async def _active(plane: EmbeddedDataplane) -> int:
    snapshot = await plane.snapshot()
    return sum(one.state is InstanceState.ACTIVE for one in snapshot.instances)


# ---- the daemons ----


def _config(plan: Plan, folder: Path, *, initial: int) -> Config:
    idle_s = math.ceil(2 * plan.lifetime_s)
    first = IPv4Address("198.18.0.0")
    policy = PolicyConfig(
        inside=(IPv4Network("10.0.0.0/8"),),
        pool=(AddressRange(first, first + _ADDRESSES - 1),),
        timeouts=Timeouts(udp=idle_s, tcp_established=idle_s, tcp_transitory=idle_s),
    )
    return Config(
        path=folder / "hashmvt.yaml",
        nat44=Nat44Config(policy, max_mappings=_MAPPINGS, hold_down=HoldDown(seconds=idle_s)),
        dataplane=DataplaneConfig(instances=Instances(initial, plan.instances)),
        agent=AgentConfig(control=folder / "agent.sock", name="bench"),
        coordinator=CoordinatorConfig(
            listen=f"127.0.0.1:{_free_port()}",
            control=folder / "coord.sock",
            key_file=folder / "heartbeat.key",
        ),
        log=LogConfig(events=EventLog.OFF),
    )


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextlib.asynccontextmanager
async def _fed(
    config: Config, plan: Plan, mix: Mix
) -> AsyncIterator[tuple[EmbeddedDataplane, Source]]:
    """Open an engine whose instances get their packets from a mix."""
    settings = replace(engine_settings(config), tun_inside=None, tun_outside=None, pin_threads=True)
    plane = await EmbeddedDataplane.open(settings)
    source: Source | None = None
    try:
        source = Source(
            plane.engine.handle, mix, instances=plan.instances, lifetime_s=plan.lifetime_s
        )
        yield plane, source
    finally:
        if source:
            source.rate(0)
        await plane.aclose()
        if source:
            source.close()


@contextlib.asynccontextmanager
async def _coordinated(
    config: Config, plane: EmbeddedDataplane
) -> AsyncIterator[Callable[[], Sequence[Step]]]:
    """Run agent and coordinator of a dataplane; gives what returns the steps taken so far."""
    coordinator_of = config.coordinator
    keyfile.create_key(coordinator_of.key_file)
    stop, halt, reload = asyncio.Event(), asyncio.Event(), asyncio.Event()
    agent = asyncio.create_task(Agent(config, plane).serve(stop, reload))
    try:
        await _until_answered(config.agent.control, agent)
        coordinator = Coordinator(config, keyfile.load_key(coordinator_of.key_file))
        coordinating = asyncio.create_task(coordinator.serve(halt, reload))
        try:
            await _until_answered(coordinator_of.control, coordinating)
            controller = next(iter(coordinator.members.values())).controller
            yield lambda: tuple(controller.steps)
        finally:
            halt.set()
            await coordinating
    finally:
        stop.set()
        await agent


async def _until_answered(path: Path, task: asyncio.Task[None]) -> None:
    deadline = time.monotonic() + _START_S
    while not daemon.answers(path):
        if task.done():
            task.result()
        if time.monotonic() > deadline:
            raise HashMvtError(f"nobody answers at {path} after {_START_S:.0f} s")
        await asyncio.sleep(0.01)

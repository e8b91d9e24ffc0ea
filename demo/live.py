# SPDX-License-Identifier: Apache-2.0
"""The demonstration on real traffic; runs inside the sandbox.

namespaces, servers, the NAT, captures, clients -> traffic of the early clients -> the coordinator
adds an instance -> traffic of all clients -> everything ends by itself -> judgement
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Protocol, TypeVar

from demo import report, topology, view
from demo.child import Child
from demo.packets import pcap_read
from demo.plan import Plan
from demo.report import Captured, Check, InstanceReport, ScaleOut
from demo.traffic import wire
from demo.verify import Judgement, judge

T = TypeVar("T")
DIRECTORY = Path("/run/hashmvt-demo")
START_S = 15.0
FINISH_S = 25.0
SETTLE_S = 0.5
ROUNDS_LATE = 3
"""Rounds that every late client does at least."""


class Nat(Protocol):
    """What is demonstrated: makes the devices, tells of itself, adds an instance."""

    async def start(self) -> None:
        """Begin; when it returns, packets go between clients and router by way of the NAT.

        Its devices are ``hmvt-in`` in the namespace ``client`` and ``hmvt-out`` in ``router``.

        Raises:
            ChildError: a part of it has ended.
            RuntimeError: something else did not work.
        """

    async def look(self) -> list[view.InstanceView]:
        """The instances now."""

    async def scale_out(self, show: view.View, timeout_s: float) -> ScaleOut:
        """Have an instance added; returns when it is done, tells steps as they come."""

    async def instances(self) -> list[InstanceReport]:
        """The instances at the end."""

    def check(self) -> None:
        """Raise ``ChildError`` when a part of it has ended."""

    async def stop(self) -> list[str]:
        """End it in order; what did not end well, in words."""


class Live:
    """One run. ``run`` is called once."""

    def __init__(self, plan: Plan, nat: Nat) -> None:
        self._plan = plan
        self._nat = nat
        self._state = view.State()
        self._children: list[Child] = []
        self._progress = wire.ClientReport()
        self._watcher: asyncio.Task[None] | None = None

    async def run(self) -> bool:
        """Whether every check was ok."""
        DIRECTORY.mkdir(parents=True)
        with view.make(self._state) as show:
            try:
                client, server, scale, instances, captured = await self._traffic(show)
                self._state.phase = "stopping"
                unwell = await self._stop()
            finally:
                self._state.phase = "ended"
        judgement = await asyncio.to_thread(self._judge)
        checks = [
            *report.ends(client, server),
            *report.behaviour(self._plan, client, server),
            *report.wire_checks(judgement, captured),
            *report.instance_checks(self._plan, instances),
            *report.scale_checks(self._plan, scale, instances, client),
            Check("everything ended in order", not unwell, "; ".join(unwell) or "exit codes 0"),
        ]
        report.print_instances(instances)
        ok = report.print_checks(checks)
        if judgement.problems:
            print("\n".join(["", "what the packets on both sides show:", *judgement.problems]))
        return ok

    async def _traffic(
        self, show: view.View
    ) -> tuple[wire.ClientReport, wire.ServerReport, ScaleOut, list[InstanceReport], Captured]:
        plan = self._plan
        self._state.phase = "building namespaces"
        show.update()
        await asyncio.to_thread(topology.build, plan)
        server = await self._child("server", topology.SERVER, "demo.traffic.server")
        await self._nat.start()
        captures = [
            await self._child(side, namespace, "demo.capture", device, str(_pcap(side)))
            for side, namespace, device in (
                ("inside", topology.CLIENT, topology.INSIDE_DEVICE),
                ("outside", topology.ROUTER, topology.OUTSIDE_DEVICE),
            )
        ]
        client = await self._child("client", topology.CLIENT, "demo.traffic.client", plan.dataplane)

        watcher = self._watcher = asyncio.create_task(self._watch(show))
        try:
            self._state.phase = "early clients"
            await client.send("start")
            await self._sleep(plan.warm_s)
            self._state.phase = "adding an instance"
            scale = await self._while_alive(self._nat.scale_out(show, plan.scale_s))
            self._state.phase = "all clients"
            await client.send("late")
            await self._late_rounds()
            self._state.phase = "clients end"
            await client.send("finish")
            ours = wire.load_client(await client.expect("report", FINISH_S))
            await asyncio.sleep(SETTLE_S)
            await server.send("report")
            theirs = wire.load_server(await server.expect("report", START_S))
            instances = await self._nat.instances()
            captured = await self._end_captures(captures)
        finally:
            watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watcher
        return ours, theirs, scale, instances, captured

    async def _stop(self) -> list[str]:
        unwell = await self._nat.stop()
        for child in self._children:
            await child.end()
        return unwell

    async def _child(self, name: str, namespace: str, module: str, *words: str) -> Child:
        command = [*topology.inside(namespace), sys.executable, "-m", module, *words]
        child = await Child.start(name, command, DIRECTORY, {"progress": self._on_progress})
        self._children.append(child)
        await child.expect("ready", START_S)
        return child

    async def _watch(self, show: view.View) -> None:
        """Once a second: look at the NAT, show everything."""
        while True:
            self._state.instances = await self._nat.look()
            show.update()
            await asyncio.sleep(1.0)

    def _on_progress(self, text: str) -> None:
        self._progress = wire.load_client(text)
        tallies = self._progress.tallies
        state = self._state
        state.connections = sum(t.out for k, t in tallies.items() if k.startswith("tcp"))
        state.datagrams = sum(t.out for k, t in tallies.items() if not k.startswith("tcp"))
        state.megabytes = sum(t.bytes_out + t.bytes_back for t in tallies.values()) / 1e6
        state.errors = len(self._progress.errors)

    async def _while_alive(self, work: Awaitable[T]) -> T:
        """Await, but not longer than every part is there."""
        task = asyncio.ensure_future(work)
        try:
            while True:
                done, _ = await asyncio.wait({task}, timeout=0.2)
                if done:
                    return task.result()
                self._check()
        finally:
            task.cancel()

    def _check(self) -> None:
        if self._watcher is not None and self._watcher.done():
            self._watcher.result()  # raises what ended it
        self._nat.check()
        for child in self._children:
            child.check()

    async def _sleep(self, seconds: float) -> None:
        await self._while_alive(asyncio.sleep(seconds))

    async def _late_rounds(self) -> None:
        """Traffic for a while, and until every late client has done something."""
        deadline = time.monotonic() + 2 * self._plan.after_s
        await self._sleep(self._plan.after_s)
        while self._progress.late_rounds < ROUNDS_LATE and time.monotonic() < deadline:
            await self._sleep(0.2)

    async def _end_captures(self, captures: list[Child]) -> Captured:
        counts = []
        for capture in captures:
            await capture.close_stdin()
            counts.append([int(n) for n in (await capture.expect("done", FINISH_S)).split()])
        return Captured(counts[0][0], counts[1][0], counts[0][1] + counts[1][1])

    def _judge(self) -> Judgement:
        return judge(
            pcap_read(_pcap("inside")),
            pcap_read(_pcap("outside")),
            self._plan.inside,
            self._plan.pool,
            self._plan.gateway,
        )


def _pcap(side: str) -> Path:
    return DIRECTORY / f"{side}.pcap"

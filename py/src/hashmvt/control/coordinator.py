# SPDX-License-Identifier: Apache-2.0
"""``hashmvt-coord``: scales the instances of its hosts.

A thin shell: it receives heartbeats over UDP, runs one `HostController` per agent, and serves
commands at its control socket, where the dataplane of its own host can be read too. All decisions
are `plan`'s. It starts the agent of its own host if none runs; that agent outlives it.

The coordinator keeps nothing on disk: what it began stands in the dataplanes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from hashmvt.config import load
from hashmvt.control import daemon, keyfile, wire
from hashmvt.control.commands import CoordinatorService
from hashmvt.control.controller import HostController
from hashmvt.control.plan import Desired
from hashmvt.control.service import DataplaneService
from hashmvt.control.wire import Refusal
from hashmvt.dataplane.remote import RemoteDataplane, Tls
from hashmvt.dispatch import SoftwareDispatcher
from hashmvt.errors import DataplaneError, HashMvtError, Unavailable
from hashmvt.model import MAX_INSTANCES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from hashmvt.config import Config

NAME = "hashmvt-coord"
AGENT_START_S = 20.0
RETRY_S = 1.0
QUICK_S = 0.01
"""Between two steps of one operation."""
WATCH_S = 1.0
SAY_AGAIN_S = 60.0
"""What goes on being wrong is said so often."""

log = logging.getLogger(__name__)


class Member:
    """One agent: its connection and controller, and when it was heard of. Lives with the
    coordinator.
    """

    def __init__(self, address: Path | str, plane: RemoteDataplane, config: Config) -> None:
        """Control the dataplane of an agent."""
        self.address = address
        self.plane = plane
        self.host = plane.capabilities.host
        self.reachable = True
        self.heard_at: float | None = None
        coordinator = config.coordinator
        self._listen = coordinator.listen
        self._period_s = coordinator.heartbeat
        self._silent_s = coordinator.failure.period * coordinator.failure.periods
        self._silent = False
        self._due_since = time.monotonic()  # heartbeats are: since it began to answer
        self.controller = HostController(
            plane,
            SoftwareDispatcher(plane, rule_budget=config.dispatcher.rule_budget),
            desired_of(config),
            period_s=coordinator.heartbeat,
        )
        self._said = ""

    async def run(self, wake: asyncio.Event, receiver: wire.Receiver) -> None:
        """Step until cancelled: at once while there is something to do, else every period."""
        refused = dict(receiver.refused)
        while True:
            wait_s = self._period_s
            try:
                if await self.controller.step():
                    wait_s = QUICK_S
                if not self.reachable:
                    log.info("%s answers again", self.host)
                    self._due_since = time.monotonic()
                self.reachable, self._said = True, ""
            except Unavailable as error:
                self.reachable, wait_s = False, RETRY_S
                self._complain(error)
            except DataplaneError as error:
                wait_s = RETRY_S
                self._complain(error)
            if not self._quiet():
                self._silent, refused = False, dict(receiver.refused)
            elif not self._silent:
                # silence is no failure: it may be the network, and requests are answered or not
                self._silent = True
                log.warning(
                    "%s: no heartbeat for %g s, though its agent answers: %s",
                    self.host,
                    self._silent_s,
                    self._why(receiver.refused, refused),
                )
            wake.clear()
            # not wait_for: in Python 3.11 it loses a cancellation that comes with the event
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await wake.wait()

    def _quiet(self) -> bool:
        """Has it answered for long without a heartbeat?"""
        since = max(self.heard_at or self._due_since, self._due_since)
        return self.reachable and time.monotonic() - since > self._silent_s

    def _why(self, now: Mapping[Refusal, int], before: Mapping[Refusal, int]) -> str:
        """What may keep heartbeats away, by what was refused meanwhile."""
        if now[Refusal.AUTHENTICATION] > before[Refusal.AUTHENTICATION]:
            return "datagrams with another key arrive; give both the same coordinator.key_file"
        if now[Refusal.TIME] > before[Refusal.TIME]:
            return f"datagrams arrive that are more than {wire.WINDOW_S:.0f} s off; set the clocks"
        return f"let UDP to {self._listen} through, and see in the agent's log whether it has a key"

    def _complain(self, error: DataplaneError) -> None:
        if str(error) != self._said:
            self._said = str(error)
            log.warning("%s: %s", self.host, error)


def desired_of(config: Config) -> Desired:
    """The thresholds of a configuration."""
    coordinator = config.coordinator
    initial = config.dataplane.instances.initial
    return Desired(
        cpu=coordinator.cpu,
        memory=coordinator.memory,
        retain=coordinator.retain,
        fewest=initial or MAX_INSTANCES,
        failure_s=coordinator.failure.period * coordinator.failure.periods,
    )


class _Heartbeats(asyncio.DatagramProtocol):
    """Datagrams from the network to the controllers."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator

    def datagram_received(self, data: bytes, addr: object) -> None:
        """Take one datagram, whoever sent it."""
        del addr
        self._coordinator.heard(data)


class Coordinator:
    """One run of the coordinator. Made by `run`."""

    def __init__(self, config: Config, key: bytes) -> None:
        """Coordinate as a configuration says."""
        self.config = config
        self.receiver = wire.Receiver(key)
        self.members: dict[str, Member] = {}
        self._wake: dict[str, asyncio.Event] = {}

    def heard(self, datagram: bytes) -> None:
        """Take a heartbeat; what does not authenticate is counted and dropped."""
        beat = self.receiver.accept(datagram, now_ms=time.time_ns() // 1_000_000)
        member = self.members.get(beat.host) if beat else None
        if beat and member:
            member.heard_at = time.monotonic()
            member.controller.offer(beat, member.heard_at)
            self._wake[member.host].set()

    def wake(self, host: str) -> None:
        """Let a host's controller look at once."""
        self._wake[host].set()

    async def serve(self, stop: asyncio.Event, reload: asyncio.Event) -> None:
        """Coordinate until `stop`.

        Raises:
            StartError: a socket cannot be taken, or an agent cannot be reached or started.

        """
        coordinator = self.config.coordinator
        planes = await self._connect()
        try:
            self.members = {
                plane.capabilities.host: Member(address, plane, self.config)
                for address, plane in planes
            }
            self._wake = {host: asyncio.Event() for host in self.members}
            own = next(iter(self.members.values()))
            handlers = (
                DataplaneService(own.plane).handler(),
                CoordinatorService(self).handler(),
            )
            transport = await self._listen()
            try:
                async with (
                    daemon.served(handlers, coordinator.control, "a coordinator"),
                    daemon.tasks_of(
                        self._reloads(reload),
                        self._watch(),
                        *(
                            member.run(self._wake[host], self.receiver)
                            for host, member in self.members.items()
                        ),
                    ),
                ):
                    log.info("coordinating %s", ", ".join(self.members))
                    daemon.notify("READY=1")
                    await stop.wait()
                    daemon.notify("STOPPING=1")
                    log.info("stopping; agents go on")
            finally:
                transport.close()
        finally:
            for _address, plane in planes:
                await plane.aclose()

    async def _watch(self) -> None:
        """Say once in a while that two agents have one name."""
        said: dict[str, tuple[int, float]] = {}  # conflicts and time, by host
        while True:
            now = time.monotonic()
            for host, conflicts in self.receiver.conflicts.items():
                before, at = said.get(host, (0, float("-inf")))
                if conflicts > before and now - at >= SAY_AGAIN_S:
                    said[host] = conflicts, now
                    log.warning(
                        "%s: two agents send heartbeats under this name, and only the last one to "
                        "begin is listened to: give one of them another agent.name, or stop it",
                        host,
                    )
            await asyncio.sleep(WATCH_S)

    async def _listen(self) -> asyncio.DatagramTransport:
        host, _, port = self.config.coordinator.listen.rpartition(":")
        try:
            transport, _protocol = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: _Heartbeats(self), local_addr=(host, int(port))
            )
        except OSError as error:
            raise daemon.StartError(
                f"heartbeats cannot be received at {self.config.coordinator.listen}: "
                f"{(error.strerror or str(error)).lower()}"
            ) from None
        return transport

    async def _connect(self) -> Sequence[tuple[Path | str, RemoteDataplane]]:
        coordinator = self.config.coordinator
        if not coordinator.agents:
            return [(self.config.agent.control, await own_agent(self.config))]
        found: list[tuple[Path | str, RemoteDataplane]] = []
        tls = coordinator.tls
        for address in coordinator.agents:
            if tls is None:
                raise daemon.StartError("coordinator.agents needs coordinator.tls")
            files = Tls(tls.certificate, tls.key, tls.authority)
            try:
                found.append((address, await RemoteDataplane.connect(address, tls=files)))
            except HashMvtError:
                for _address, plane in found:
                    await plane.aclose()
                raise
        return found

    async def _reloads(self, reload: asyncio.Event) -> None:
        while True:
            await reload.wait()
            reload.clear()
            daemon.notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
            try:
                self.reload()
            except HashMvtError as error:
                log.error("not reloaded: %s", error)  # noqa: TRY400 - for people
            daemon.notify("READY=1")

    def reload(self) -> None:
        """Read the configuration and the key again, and put into force what may change.

        Raises:
            ConfigError: the file or the key is wrong; nothing was changed.
            StartError: it changes what needs a restart; nothing was changed.

        """
        from hashmvt.config import changes  # noqa: PLC0415

        new = load(self.config.path)
        mine = [
            change
            for change in changes(self.config, new)
            if change.key.startswith(("coordinator", "dispatcher", "dataplane.instances"))
        ]
        fixed_keys = ("coordinator.agents", "coordinator.key_file", "coordinator.heartbeat")
        fixed = [
            change.key
            for change in mine
            if change.needs_restart or change.key.startswith((*fixed_keys, "dispatcher"))
        ]
        if fixed:
            raise daemon.StartError(
                f"{', '.join(fixed)} cannot change while the coordinator runs: restart it (its "
                f"agents go on), or put back what was there"
            )
        key = keyfile.load_key(new.coordinator.key_file)
        self.config = new
        for member in self.members.values():
            member.controller.desired = desired_of(new)
        for change in mine:
            log.info("reloaded: %s", change)
        if key != self.receiver.key:
            self.receiver.key = key
            log.info("reloaded: the key of heartbeats, %s", new.coordinator.key_file)
        elif not mine:
            log.info("reloaded: nothing of the coordinator has changed")


async def own_agent(config: Config) -> RemoteDataplane:
    """Connect to the agent of this host; start it if none runs.

    Raises:
        StartError: it does not come up; its own message says why.

    """
    path = config.agent.control
    if daemon.answers(path):
        return await RemoteDataplane.connect(path)
    log.info("no agent answers at %s: starting one", path)
    command = [sys.executable, "-m", "hashmvt.control.agent", "-c", str(config.path)]
    agent = subprocess.Popen(  # noqa: ASYNC220, S603 - it outlives us, and nobody waits for it
        command, stdin=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + AGENT_START_S
    while time.monotonic() < deadline:
        if agent.poll() is not None:
            raise daemon.StartError(
                f"the agent ended with exit code {agent.returncode}; its message is above"
            )
        if daemon.answers(path):
            with contextlib.suppress(Unavailable):
                return await RemoteDataplane.connect(path)
        await asyncio.sleep(0.05)
    raise daemon.StartError(f"the agent did not answer at {path} within {AGENT_START_S:.0f} s")


async def run(path: Path) -> None:
    """Run the coordinator until it is told to stop.

    Raises:
        ConfigError: the configuration or the key file is wrong; nothing was started.
        StartError: it could not start.

    """
    config = load(path)
    if config.coordinator.agents:
        daemon.need_files(path, "coordinator.tls", config.coordinator.tls)
    daemon.clear_socket(config.coordinator.control, "a coordinator")
    if not config.coordinator.agents and keyfile.create_key(config.coordinator.key_file):
        log.info("made a new key for heartbeats: %s", config.coordinator.key_file)
    key = keyfile.load_key(config.coordinator.key_file)
    stop, reload = asyncio.Event(), asyncio.Event()
    with daemon.signals(stop, reload):
        await Coordinator(config, key).serve(stop, reload)
    log.info("stopped")


main = daemon.command(
    NAME, "Scale the instances of this host's agent, or of those that the file names.", run
)


if __name__ == "__main__":
    main()

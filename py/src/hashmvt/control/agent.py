# SPDX-License-Identifier: Apache-2.0
"""``hashmvt-agent``: holds the dataplane of its host and serves it.

The embedded engine runs in this process; a VPP is connected to and made what the configuration
says, again whenever it was restarted. The agent serves the dataplane over gRPC
(`DataplaneService`), sends a heartbeat to the coordinator every second, and writes what instances
report to the log. While the dataplane is away it goes on and says so once.

SIGTERM and SIGINT drain: no more calls, what is in the rings goes out, the devices are closed,
exit 0. Mappings of the embedded engine end with the process, VPP goes on. When a device of the
engine has gone, the agent ends too, for nothing else could open it again. SIGHUP reads the
configuration again and says what changed: what can change while packets flow does, and a file that
changes anything else is refused whole, with the keys that need a restart.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import time
from typing import TYPE_CHECKING

from hashmvt.config import Config, DataplaneKind, changes, drained_slots, load, plan_policy
from hashmvt.control import daemon, keyfile, wire
from hashmvt.control.service import DataplaneService
from hashmvt.errors import ConfigError, DataplaneError, HashMvtError, Unavailable
from hashmvt.model import EventLog
from hashmvt.names import EventType

if TYPE_CHECKING:
    from pathlib import Path

    from hashmvt.dataplane.base import Dataplane
    from hashmvt.model import Block, Event, HomeMap, InstanceSnapshot, Snapshot

NAME = "hashmvt-agent"
TIDY_POOL_S = 10.0

log = logging.getLogger(__name__)


async def open_dataplane(config: Config) -> Dataplane:
    """Open the dataplane of this host.

    Raises:
        DataplaneError: the engine cannot start, or VPP cannot be used; says why.

    """
    # imported when asked for, so that a host needs only what its dataplane needs
    if config.dataplane.kind is DataplaneKind.VPP:
        from hashmvt.dataplane.vpp import VppDataplane, vpp_settings  # noqa: PLC0415

        return await VppDataplane.open(vpp_settings(config))
    from hashmvt.dataplane.embedded import EmbeddedDataplane, engine_settings  # noqa: PLC0415

    return await EmbeddedDataplane.open(engine_settings(config))


class DeviceError(HashMvtError):
    """A device that packets came from is read no more; says which and what to do."""


class Agent:
    """One run of the agent. Made by `run`."""

    def __init__(self, config: Config, plane: Dataplane) -> None:
        """Serve a dataplane as a configuration says."""
        self.config = config
        self._plane = plane
        self._boot_id = secrets.randbits(64)
        self._sender: wire.Sender | None = None
        self._said = ""
        self._no_key = ""

    async def serve(self, stop: asyncio.Event, reload: asyncio.Event) -> None:
        """Serve until `stop`.

        Raises:
            StartError: the sockets cannot be taken.
            DeviceError: a device has gone.

        """
        handlers = (DataplaneService(self._plane).handler(),)
        agent = self.config.agent
        async with daemon.served(
            handlers, agent.control, "an agent", listen=agent.listen, tls=agent.tls
        ):
            log.info("serving %s at %s", self._plane.capabilities.host, agent.control)
            daemon.notify("READY=1")
            async with daemon.tasks_of(
                self._heartbeats(),
                self._events(),
                self._reloads(reload),
                self._drained_addresses(),
            ):
                await stop.wait()
                daemon.notify("STOPPING=1")
                log.info("stopping: what is in the rings goes out, then the devices close")

    # ---- heartbeat ----

    async def _heartbeats(self) -> None:
        address = self.config.coordinator.listen
        before: Snapshot | None = None
        home: HomeMap | None = None
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.setblocking(False)  # noqa: FBT003 - the standard library's signature
            failed = False
            while True:
                try:
                    snapshot = await self._plane.snapshot()
                    if home is None or home.version != snapshot.home_version:
                        home = await self._plane.home()
                except Unavailable as error:  # no heartbeat says it to the coordinator
                    self._complain(error)
                    before = home = None
                    await asyncio.sleep(self.config.coordinator.heartbeat)
                    continue
                self._content()
                self._check_devices(snapshot)
                beats = beats_of(before, snapshot)
                before = snapshot
                sender = self._sender = self._sender or self._new_sender()
                try:
                    datagrams = sender.datagrams(home, beats, now_ms=_now_ms()) if sender else ()
                    for datagram in datagrams:
                        sock.sendto(datagram, _split(address))
                    failed = False
                except OSError as error:
                    if not failed:  # a coordinator that is away must not fill the log
                        reason = (error.strerror or str(error)).lower()
                        log.warning("heartbeats do not reach %s: %s", address, reason)
                    failed = True
                await asyncio.sleep(self.config.coordinator.heartbeat)

    def _complain(self, error: Unavailable) -> None:
        """Say once why the dataplane is away."""
        if str(error) != self._said:
            self._said = str(error)
            log.error("%s", error)

    def _content(self) -> None:
        """Say that it is back."""
        if self._said:
            self._said = ""
            log.info("the dataplane is back")

    def _check_devices(self, snapshot: Snapshot) -> None:
        names = self.config.dataplane.embedded
        for name, side in (
            (names.inside, snapshot.io.inside),
            (names.outside, snapshot.io.outside),
        ):
            if side.failed_errno:
                raise DeviceError(
                    f"device {name} cannot be read any more "
                    f"({os.strerror(side.failed_errno).lower()}): was it deleted? Start the agent "
                    f"again, which makes it again"
                )

    def _new_sender(self) -> wire.Sender | None:
        """Return what makes heartbeats; while there is no key, the agent works and sends none."""
        try:
            key = keyfile.load_key(self.config.coordinator.key_file)
        except ConfigError as error:
            if str(error) != self._no_key:
                self._no_key = str(error)
                log.warning("no heartbeats are sent: %s", error)
            return None
        return wire.Sender(self._plane.capabilities.host, key, self._boot_id)

    # ---- events ----

    async def _events(self) -> None:
        if self.config.log.events is EventLog.OFF:
            return
        events = daemon.event_log(NAME, to_syslog=self.config.log.to == "syslog")
        async for event in self._plane.events():
            events.info("%s", describe(event))

    # ---- reload ----

    async def _reloads(self, reload: asyncio.Event) -> None:
        while True:
            await reload.wait()
            reload.clear()
            daemon.notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
            try:
                await self.reload()
            except HashMvtError as error:
                log.error("not reloaded: %s", error)  # noqa: TRY400 - for people, no traceback
            daemon.notify("READY=1")

    async def reload(self) -> None:
        """Read the configuration again and put into force what may change while packets flow.

        Raises:
            ConfigError: the file or the key is wrong; nothing was changed.
            StartError: it changes what needs a restart; nothing was changed.
            DataplaneError: the dataplane refused; nothing was changed.

        """
        new = load(self.config.path)
        found = changes(self.config, new)
        fixed = [change.key for change in found if change.needs_restart]
        if fixed:
            raise daemon.StartError(
                f"{', '.join(fixed)} cannot change while the agent runs: restart it, or put back "
                f"what was there"
            )
        # without a sender there was no key yet: it is looked for with each heartbeat
        sender, key = self._sender, b""
        if sender:
            key = keyfile.load_key(new.coordinator.key_file)
        if any(change.key.startswith("nat44") for change in found):
            await self._set_policy(new)
        self.config = new
        for change in found:
            log.info("reloaded: %s", change)
        if sender and sender.key != key:
            sender.key = key
            log.info("reloaded: the key of heartbeats, %s", new.coordinator.key_file)
        elif not found:
            log.info("reloaded: nothing has changed")

    async def _set_policy(self, new: Config) -> None:
        before = await self._plane.policy()
        empty = drained_slots(before, await self._blocks_in_use())
        policy = plan_policy(
            new.nat44, generation=before.generation + 1, previous=before, empty=empty
        )
        await self._plane.set_policy(policy)

    async def _drained_addresses(self) -> None:
        """Forget pool addresses that were removed and are empty now."""
        while True:
            await asyncio.sleep(TIDY_POOL_S)
            with contextlib.suppress(DataplaneError):  # away, or somebody else set one: next time
                before = await self._plane.policy()
                if not any(run.draining for run in before.runs):
                    continue
                if drained_slots(before, await self._blocks_in_use()):
                    await self._set_policy(self.config)
                    log.info("a removed pool address is empty now and has gone")

    async def _blocks_in_use(self) -> list[Block]:
        found: list[Block] = []
        cursor: str | None = ""
        while cursor is not None:
            page = await self._plane.blocks(cursor)
            found += page.items
            cursor = page.next
        return found


# ---- pure parts ----


def beats_of(before: Snapshot | None, now: Snapshot) -> tuple[wire.InstanceBeat, ...]:
    """What a heartbeat says of each instance; load is that since the snapshot before."""
    earlier = {one.id: one for one in before.instances} if before else {}
    return tuple(
        wire.InstanceBeat(
            one.id,
            one.state,
            load_between(earlier.get(one.id), one),
            one.gauges.mappings,
            one.gauges.max_mappings,
            one.gauges.blocks,
            one.gauges.blocks_free,
            one.loops,
            one.epoch,
        )
        for one in now.instances
    )


def load_between(before: InstanceSnapshot | None, now: InstanceSnapshot) -> float:
    """Busy cycles over all cycles; 0 without a snapshot before."""
    if before is None:
        return 0.0
    total = now.cycles_total - before.cycles_total
    busy = now.cycles_busy - before.cycles_busy
    return min(max(busy / total, 0.0), 1.0) if total > 0 else 0.0


def describe(event: Event) -> str:
    """An event as a line of the log (RFC 6888 section 4: who had which ports, and when)."""
    what = event.type.label
    where = f"instance={event.instance} inside={event.inside}"
    if event.type in {EventType.BLOCK_ASSIGNED, EventType.BLOCK_RELEASED}:
        last = event.external_port + event.ports - 1
        return f"{what} {where} external={event.external} ports={event.external_port}-{last}"
    if event.type in {EventType.MAPPING_CREATED, EventType.MAPPING_ENDED}:
        proto = event.proto.name.lower() if event.proto is not None else "any"
        return (
            f"{what} {where} port={event.inside_port} proto={proto} "
            f"external={event.external} external_port={event.external_port}"
        )
    reason = event.reason.label if event.reason else "unknown"
    return f"{what} {where} reason={reason}"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


# ---- the program ----


async def run(path: Path) -> None:
    """Run the agent until it is told to stop.

    Raises:
        ConfigError: the configuration is wrong; nothing was started.
        StartError, DataplaneError: it could not start.
        DeviceError: a device has gone.

    """
    config = load(path)
    for warning in config.warnings:
        log.warning("%s", warning)
    if config.agent.listen:
        daemon.need_files(path, "agent.tls", config.agent.tls)
    daemon.clear_socket(config.agent.control, "an agent")
    stop, reload = asyncio.Event(), asyncio.Event()
    with daemon.signals(stop, reload):
        plane = await open_dataplane(config)
        try:
            await Agent(config, plane).serve(stop, reload)
        finally:
            await plane.aclose()
    log.info("stopped")


main = daemon.command(
    NAME,
    "Hold the dataplane of this host and serve it to commands and to the coordinator.",
    run,
)


if __name__ == "__main__":
    main()

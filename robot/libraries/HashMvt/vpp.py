# SPDX-License-Identifier: Apache-2.0
"""The driver of VPP: a private one between two links, with a worker for each instance.

One VPP serves test after test; each enables the NAT anew. The NAT's clock stands still unless a
test moves it. The links are veth pairs in a network namespace of this process's own, with a raw
socket at the far ends: packet-generator streams would stop all workers for each packet that is
sent. A router tells no verdicts, so ``send`` waits until all that was sent either came out or is
counted.
"""

import asyncio
import atexit
import ctypes
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from HashMvt import wire
from hashmvt.config import Config
from hashmvt.dataplane.base import Dataplane
from hashmvt.dataplane.vpp import VppDataplane, vpp_settings
from HashMvt.driver import Leaving
from hashmvt.errors import Unavailable
from hashmvt.model import Snapshot
from hashmvt.private_vpp import Options, PrivateVpp, VppError, find_installation
from HashMvt.words import Side

_ROOT = Path(__file__).resolve().parents[3]
_DIRECTORY = Path(tempfile.gettempdir()) / f"hmvt-robot-{os.getpid()}"
_INTERFACE = {Side.INSIDE: "host-vpp-in", Side.OUTSIDE: "host-vpp-out"}
_FAR_END = {Side.INSIDE: "inside", Side.OUTSIDE: "outside"}
_MAC = {Side.INSIDE: "02:fe:00:00:00:01", Side.OUTSIDE: "02:fe:00:00:00:02"}
_FAR_MAC = "02:aa:00:00:00:01"
_LINKS = """\
link set lo up
link add inside type veth peer name vpp-in
link add outside type veth peer name vpp-out
link set inside up
link set outside up
link set vpp-in up
link set vpp-out up
"""
_TOPOLOGY = (
    f"create host-interface name vpp-in hw-addr {_MAC[Side.INSIDE]} cksum-gso-disable",
    f"create host-interface name vpp-out hw-addr {_MAC[Side.OUTSIDE]} cksum-gso-disable",
    "set interface ip address host-vpp-in 192.168.255.1/30",
    "set interface ip address host-vpp-out 192.168.255.5/30",
    "set interface state host-vpp-in up",
    "set interface state host-vpp-out up",
    f"set ip neighbor host-vpp-in 192.168.255.2 {_FAR_MAC}",
    f"set ip neighbor host-vpp-out 192.168.255.6 {_FAR_MAC}",
    "ip route add 0.0.0.0/0 via 192.168.255.6 host-vpp-out",
    "ip route add 10.0.0.0/8 via 192.168.255.2 host-vpp-in",
    # around the pool, so that what is not of the pool has somewhere to go
    "ip route add 198.51.100.0/24 via 192.168.255.2 host-vpp-in",
)
_CLONE_NEWNET = 0x40000000
_ETH_P_ALL, _ETH_P_IP = 3, b"\x08\x00"
_ETHERNET = 14
_QUEUE_BYTES = 8 << 20
_AT_ONCE = 64
"""Packets that may be on their way: fewer than any queue takes."""
_POLL_S = 0.002
_QUIET_S = 0.01
"""All is done when nothing more has happened for so long."""
_LOST_S = 3.0
"""A packet that neither came out nor was counted by then will not."""


class Wire:
    """A private VPP and what is at both of its ends. Whoever makes it calls ``close``."""

    def __init__(self, directory: Path, workers: int) -> None:
        """Start VPP; this thread is in a network namespace of its own from then on.

        Raises:
            VppError: it cannot be started.

        """
        self._directory = directory
        self.vpp = PrivateVpp(
            directory,
            find_installation(_ROOT),
            Options(
                ("hashmvt", "ping", "af_packet"),
                workers=workers,
                sections="hashmvt { clock manual }",
            ),
        )
        _own_network()
        self._sockets = {side: _socket(name) for side, name in _FAR_END.items()}
        try:
            self.vpp.start(*_TOPOLOGY)
        except VppError:
            self.close()
            raise

    def close(self) -> None:
        """Stop VPP."""
        self.vpp.stop()
        for each in self._sockets.values():
            each.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def put(self, side: Side, packets: Sequence[bytes]) -> None:
        """Send packets in on an interface."""
        head = _bytes(_MAC[side]) + _bytes(_FAR_MAC) + _ETH_P_IP
        for data in packets:
            self._sockets[side].send(head + data)

    def take(self) -> Iterator[Leaving]:
        """Return what has come out and was not taken yet."""
        for side, each in self._sockets.items():
            while True:
                try:
                    frame = each.recv(1 << 16)
                except BlockingIOError:
                    break
                if frame[12:14] == _ETH_P_IP:
                    yield Leaving(side, frame[_ETHERNET:])


def _own_network() -> None:
    """Leave the machine's network for an empty one, and make the links."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET):
        raise VppError(f"no network namespace can be made: {os.strerror(ctypes.get_errno())}")
    for scope in ("all", "default"):
        setting = Path(f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6")
        if setting.exists():  # nobody announces himself on the links
            setting.write_text("1", encoding="ascii")
    done = subprocess.run(
        ["ip", "-batch", "-"],  # noqa: S607 - found by PATH, as every tool
        input=_LINKS,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise VppError(f"ip: {done.stderr.strip()}")


def _socket(device: str) -> socket.socket:
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _QUEUE_BYTES)
    made.bind((device, 0))
    made.setblocking(False)  # noqa: FBT003
    return made


def _bytes(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


_running: list[Wire] = []
"""The one that runs, if any; it outlives suites, and ends with this process."""


@atexit.register
def _close() -> None:
    while _running:
        _running.pop().close()


def _wire(workers: int) -> Wire:
    """Return a running VPP with so many workers."""
    if not _running or _running[0].vpp.workers != workers or not _running[0].vpp.alive:
        _close()
        _running.append(Wire(_DIRECTORY, workers))
    return _running[0]


class VppDriver:
    """The NAT of a private VPP."""

    kind = "vpp"
    hops = 1
    patience_s = 10.0

    def __init__(self) -> None:
        """Start nothing yet."""
        self._dataplane: VppDataplane | None = None

    @property
    def settings(self) -> dict[str, object]:
        """See ``DataplaneDriver``."""
        return {
            "dataplane.kind": self.kind,
            "dataplane.vpp": {
                "api": str(_DIRECTORY / "api.sock"),
                "stats": str(_DIRECTORY / "stats.sock"),
                "inside": [_INTERFACE[Side.INSIDE]],
                "outside": [_INTERFACE[Side.OUTSIDE]],
            },
        }

    @property
    def dataplane(self) -> Dataplane:
        """The running dataplane."""
        if self._dataplane is None:
            raise RuntimeError("no dataplane is running: begin the test with Start Dataplane")
        return self._dataplane

    async def start(self, config: Config) -> None:
        """Enable the NAT; start VPP where none with enough workers runs."""
        await self.stop()
        for last in (False, False, True):
            vpp = _wire(config.dataplane.instances.max).vpp
            try:
                self._dataplane = await VppDataplane.open(vpp_settings(config))
            except Unavailable:  # it may be slow to answer, but must not have crashed
                if last or not (vpp.alive or vpp.starved):
                    raise
            else:
                return

    async def stop(self) -> None:
        """Disable the NAT; VPP goes on."""
        dataplane, self._dataplane = self._dataplane, None
        if dataplane is None:
            return
        await dataplane.aclose()
        vpp = _running[0].vpp
        try:
            vpp.do("hashmvt disable")
        except VppError:
            if not vpp.starved:  # then the next test gets another one
                raise

    async def send(self, side: Side, packets: Sequence[bytes]) -> list[Leaving]:
        """Send, wait until all of it came out or is counted, and return what came out.

        It is in the order in which it was sent, as far as identifications tell: workers do not wait
        for each other.
        """
        left: list[Leaving] = []
        for first in range(0, len(packets), _AT_ONCE):
            left += await self._bring_through(side, packets[first : first + _AT_ONCE])
        return _as_sent(packets, left)

    async def _bring_through(self, side: Side, packets: Sequence[bytes]) -> list[Leaving]:
        before = _ended(await self.dataplane.snapshot())
        left = list(_running[0].take())
        _running[0].put(side, packets)
        last: tuple[int, int] | None = None
        changed = time.monotonic()
        while True:
            left += _running[0].take()
            seen = len(left), _ended(await self.dataplane.snapshot()) - before
            now = time.monotonic()
            if seen != last:
                last, changed = seen, now
            if now - changed > (_QUIET_S if sum(seen) >= len(packets) else _LOST_S):
                return left
            await asyncio.sleep(_POLL_S)

    async def advance(self, seconds: int) -> None:
        """Move the NAT's clock."""
        await self.dataplane.advance(seconds)


def _ended(snapshot: Snapshot) -> int:
    """Return how many packets were dropped, or kept until their first fragment comes."""
    return sum(sum(i.dropped) + i.counters.fragments_held for i in snapshot.instances)


def _as_sent(packets: Sequence[bytes], left: list[Leaving]) -> list[Leaving]:
    """Return packets in the order of those of the same datagram and offset that were sent."""
    order = {_name(data): position for position, data in reversed(list(enumerate(packets)))}
    return sorted(left, key=lambda leaving: order.get(_name(leaving.data), len(packets)))


def _name(data: bytes) -> tuple[int, int]:
    try:
        head = wire.header(data)
    except ValueError:
        return (-1, -1)
    return (head.ident, head.offset)

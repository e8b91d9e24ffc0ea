# SPDX-License-Identifier: Apache-2.0
"""A private VPP with interfaces that tests send packets into and see them leave.

``cli`` says one command, over the binary API, whose messages the running VPP itself tells. Packets
go in and out of packet-generator interfaces through pcap files, or of one end of a veth pair, where
no packet needs a command that stops the workers. All is in a network namespace that ends with the
tests.
"""

from __future__ import annotations

import contextlib
import ctypes
import shutil
import socket
import struct
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scapy.layers.l2 import Ether
from vpp_papi import VPPApiClient

from hashmvt import private_vpp
from hashmvt.names import Counters
from hashmvt.private_vpp import HASHMVT, Options, PrivateVpp, find_installation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from scapy.packet import Packet

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = (HASHMVT, "ping", "dhcp", "af_packet")
PATIENCE_S = 30.0
"""How long to wait for what must come; a loaded machine needs some of it, a failure all."""
ENDS = 3
MOMENT_S = 0.3
SETTLE_S = 0.02
CLONE_NEWNET = 0x40000000
ETH_P_ALL = 3
PCAP_HEADER = struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 1 << 16, 1)
PCAP_RECORD = struct.Struct("=IIII")


def leave_network() -> None:
    """Put this process and its children into a network namespace of their own.

    Raises:
        OSError: the right to is missing.

    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")


def why_not() -> str | None:
    """Return why the tests against VPP cannot run, or None."""
    return private_vpp.why_not(ROOT)


def wait_until(what: str, check: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    """Wait until ``check`` holds.

    Raises:
        TimeoutError: it did not.

    """
    end = time.monotonic() + patience_s
    while not check():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {patience_s} s for {what}")
        time.sleep(0.01)


class Vpp(PrivateVpp):
    """One VPP process, spoken to over the binary API."""

    def __init__(
        self,
        directory: Path,
        *,
        workers: int = 0,
        plugins: Sequence[str] = PLUGINS,
        sections: str = "",
        pause_us: int = 100,
    ) -> None:
        """Prepare; ``start`` runs it."""
        options = Options(
            plugins,
            workers=workers,
            heap=512 << 20,
            buffers=16384,
            sections=sections,
            pause_us=pause_us,
        )
        super().__init__(directory, find_installation(ROOT), options)
        self._prepare: Callable[[Vpp], None] = lambda _: None
        self._api: Any = None
        self._ends: dict[str, Capture | Wire] = {}
        self._macs: dict[str, tuple[str, str]] = {}
        self._streams = 0

    def start(self, set_up: Callable[[Vpp], None] | None = None) -> None:
        """Start VPP, wait until it listens, and set it up; as before where nothing is named."""
        self._prepare = set_up or self._prepare
        super().start()

    def restart(self) -> None:
        """Start it again as it was after ``start``."""
        self.stop()
        self.start()

    def end(self) -> None:
        """Stop it for good and remove its directory.

        VPP's threads must meet once more when it is told to end, and it allows them one second.
        Where they did not get the CPU it starts and ends again; one that is stuck fails each time.

        Raises:
            AssertionError: it ended badly.

        """
        for _ in range(ENDS - 1):
            self.stop()
            if self.status == 0 or not self.starved:
                break
            self.start()
        self.stop()
        assert self.status == 0, f"VPP ended with {self.status}: {self.output()}"
        shutil.rmtree(self.directory)

    def _listens(self) -> bool:
        try:
            self._api = self.connect("control")
        except OSError:
            return False
        return True

    def _set_up(self, _: Sequence[str]) -> None:
        try:
            self._prepare(self)
        except OSError:
            self.check(MOMENT_S)
            raise

    def stop(self) -> None:
        """Stop it; the exit status must tell of no crash."""
        api, self._api = self._api, None
        if api is not None:
            api.disconnect()
        for end in self._ends.values():
            end.close()
        self._ends.clear()
        super().stop()

    # ---- API and commands ----

    def connect(self, name: str) -> Any:
        """Return a new connection of vpp-papi; each may be used by one thread.

        Raises:
            OSError: VPP does not listen.

        """
        client = VPPApiClient(
            bootstrapapi=True, server_address=str(self.directory / "api.sock"), read_timeout=60
        )
        try:
            client.connect(f"hashmvt-tests-{name}")
        except OSError:
            client.transport.socket.close()
            raise
        return client

    @property
    def client(self) -> Any:
        """The connection that commands and packets use too."""
        return self._api

    @property
    def api(self) -> Any:
        """Its messages."""
        return self._api.api

    def cli(self, command: str) -> str:
        """Say one command; return what it printed, errors too."""
        reply = self.api.cli_inband(cmd=command)
        return str(reply.reply).replace("\r", "").strip()

    # ---- interfaces ----

    def create_pg(self, number: int, address: str, neighbors: Sequence[str] = ()) -> str:
        """Create interface ``pgN`` with an address and static neighbours; return its name."""
        name = f"pg{number}"
        path = self.directory / f"out-{name}.pcap"
        path.unlink(missing_ok=True)  # of a VPP before this one
        self.cli(f"create packet-generator interface {name}")
        self._create(name, number, address, neighbors)
        self.do(f"packet-generator capture {name} pcap {path}")
        self._ends[name] = Capture(path)
        return name

    def create_wire(self, number: int, address: str, neighbors: Sequence[str] = ()) -> str:
        """Create interface ``host-wN``, the end of a veth pair; return its name.

        Worker N looks after it, if there are as many.
        """
        name = f"host-w{number}"
        self._ends[name] = Wire(f"w{number}")
        self.cli(f"create host-interface name w{number} cksum-gso-disable")
        self._create(name, number, address, neighbors)
        self.do(f"set interface mtu packet 9000 {name}")
        if self.workers:
            self.do(f"set interface rx-placement {name} worker {number % self.workers}")
        return name

    def _create(self, name: str, number: int, address: str, neighbors: Sequence[str]) -> None:
        self._macs[name] = (f"02:fe:00:00:00:{number:02x}", f"02:aa:00:00:00:{number:02x}")
        self.do(
            f"set interface mac address {name} {self.mac(name)}",
            f"set interface ip address {name} {address}",
            f"set interface state {name} up",
            *(f"set ip neighbor {name} {n} {self.peer_mac(name)}" for n in neighbors),
        )

    def mac(self, name: str) -> str:
        """Return the address of an interface."""
        return self._macs[name][0]

    def peer_mac(self, name: str) -> str:
        """Return the address of whoever is behind an interface."""
        return self._macs[name][1]

    def ethernet(self, name: str) -> bytes:
        """Return the header of an IPv4 frame to an interface."""
        return bytes.fromhex("".join(self._macs[name]).replace(":", "")) + b"\x08\x00"

    def frame(self, name: str, packet: Packet) -> Packet:
        """Put an IP packet into a frame to an interface."""
        return Ether(src=self.peer_mac(name), dst=self.mac(name)) / packet

    def errors(self) -> dict[tuple[str, str], int]:
        """Return all nodes' counters that are not 0, by node and text; VPP cuts long texts."""
        found: dict[tuple[str, str], int] = {}
        for line in self.cli("show errors").splitlines()[1:]:
            count, node, *text = line.split()
            key = (node, " ".join(text[:-1]))
            found[key] = found.get(key, 0) + int(count)
        return found

    def emit(self, name: str, frames: Sequence[bytes], worker: int | None = None) -> None:
        """Send frames into an interface; of a packet-generator one as worker N if it is named."""
        end = self._ends[name]
        if isinstance(end, Wire):
            end.write(frames)
            return
        self._streams += 1
        stream = f"s{self._streams}"
        path = self.directory / f"{stream}.pcap"
        with path.open("wb") as file:
            file.write(PCAP_HEADER)
            for frame in frames:
                file.write(PCAP_RECORD.pack(0, 0, len(frame), len(frame)) + frame)
        on = "" if worker is None else f" worker {worker}"
        # never deleted: each command stops the workers, which takes long where they share CPUs
        self.do(
            f"packet-generator new pcap {path} source {name} name {stream}{on}",
            f"packet-generator enable-stream {stream}",
        )
        path.unlink()

    def arrived(self, name: str) -> Iterator[bytes]:
        """Yield the frames that came out of an interface since the last call."""
        return self._ends[name].read()

    def send(
        self,
        sent: dict[str, list[Packet]],
        *,
        expect: int | None = None,
        worker: dict[str, int] | None = None,
        decide_s: float = MOMENT_S,
    ) -> dict[str, list[Packet]]:
        """Send frames into interfaces; return what came out of every interface.

        Waits until ``expect`` frames came out in all. Where none is named, until the NAT has
        decided about as many packets as were sent, or for ``decide_s`` if it does not see them, and
        until what it let through came out.
        """
        out: dict[str, list[Packet]] = {name: [] for name in self._ends}
        for name in out:
            list(self.arrived(name))
        decided, through = self.decided()

        def come() -> int:
            for name, frames in out.items():
                frames += [Ether(frame) for frame in self.arrived(name)]
            return sum(map(len, out.values()))

        for name, frames in sent.items():
            if frames:
                self.emit(name, [bytes(f) for f in frames], (worker or {}).get(name))
        wanted = sum(map(len, sent.values()))
        with contextlib.suppress(TimeoutError):
            if expect is not None:
                wait_until(f"{expect} frames", lambda: come() >= expect)
            else:
                wait_until("decisions", lambda: self.decided()[0] - decided >= wanted, decide_s)
                wait_until("packets", lambda: come() >= self.decided()[1] - through, 1.0)
        time.sleep(SETTLE_S)
        come()
        return out

    def decided(self) -> tuple[int, int]:
        """Return how many packets the NAT has decided about, and how many it let through."""
        _, instances = self.api.hashmvt_instance_get()
        names = list(Counters.__dataclass_fields__)
        translated = [names.index(name) for name in ("translated_in2out", "translated_out2in")]
        through = sum(
            sum(i.counters[n] for n in translated) + sum(i.passed) + i.to_router for i in instances
        )
        held = names.index("fragments_held")
        stopped = sum(sum(i.dropped) + i.counters[held] for i in instances)
        return through + stopped, through


class Capture:
    """What a pg interface wrote into its pcap file, read as it grows."""

    def __init__(self, path: Path) -> None:
        """Take a file that VPP will make with its first packet."""
        self._path = path
        self._at = len(PCAP_HEADER)

    def close(self) -> None:
        """Nothing is kept open."""

    def read(self) -> Iterator[bytes]:
        """Yield the frames that are whole and were not read before."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._at)
            data = file.read()
        at = 0
        while at + PCAP_RECORD.size <= len(data):
            size = PCAP_RECORD.unpack_from(data, at)[2]
            end = at + PCAP_RECORD.size + size
            if end > len(data):
                break
            yield data[at + PCAP_RECORD.size : end]
            at = end
        self._at += at


class Wire:
    """A veth pair: VPP has one end, packets go in and out at the other."""

    def __init__(self, name: str) -> None:
        """Make it; ``name`` is the end for VPP."""
        self._name = name
        run = ["ip", "link"]
        pair = [*run, "add", name, "mtu", "9000", "type", "veth", "peer", "name", f"{name}p"]
        subprocess.run([*pair, "mtu", "9000"], check=True)
        for end in (name, f"{name}p"):
            subprocess.run([*run, "set", end, "up"], check=True)
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK)
        self._socket.bind((f"{name}p", ETH_P_ALL))

    def close(self) -> None:
        """Remove it."""
        self._socket.close()
        subprocess.run(["ip", "link", "del", self._name], check=True)

    def write(self, frames: Sequence[bytes]) -> None:
        """Send frames."""
        for frame in frames:
            self._socket.send(frame)

    def read(self) -> Iterator[bytes]:
        """Yield the frames that came since the last call."""
        while True:
            try:
                yield self._socket.recv(1 << 16)
            except BlockingIOError:
                return

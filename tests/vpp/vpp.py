# SPDX-License-Identifier: Apache-2.0
"""A VPP of one's own: private runtime directory, small heaps, packet-generator interfaces.

``Vpp`` starts the process and stops it; ``cli`` says one command over its CLI socket. Packets go
in and out of packet-generator interfaces through pcap files. Nothing of the machine's network is
touched; no PCI device is looked at. VPP refuses more workers than CPUs are online: with workers it
runs in a mount namespace of its own where the kernel's list of online CPUs is a file that names
enough of them, and its threads are plain pthreads.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from scapy.layers.l2 import Ether
from scapy.utils import PcapReader, wrpcap

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scapy.packet import Packet

ROOT = Path(__file__).resolve().parents[2]
ONLINE = "/sys/devices/system/cpu/online"
START_S = 30.0
START_ATTEMPTS = 5
PATIENCE_S = 5.0


def find_vpp() -> str | None:
    """Return VPP's program, if one is installed."""
    return os.environ.get("HASHMVT_VPP") or shutil.which("vpp")


def find_plugins() -> Path | None:
    """Return the directory of the plugin that was built last."""
    named = os.environ.get("HASHMVT_VPP_PLUGINS")
    found = [Path(named)] if named else [p.parent for p in ROOT.glob("build*/**/hashmvt_plugin.so")]
    found = [p for p in found if (p / "hashmvt_plugin.so").exists()]
    return max(found, key=lambda p: (p / "hashmvt_plugin.so").stat().st_mtime, default=None)


def find_stock_plugins(program: str) -> Path:
    """Return the directory of the plugins that came with VPP."""
    prefix = Path(program).resolve().parents[1]
    found = sorted(prefix.glob("lib*/**/vpp_plugins/ping_plugin.so"))
    return found[0].parent if found else prefix / "lib" / "vpp_plugins"


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


class CliError(Exception):
    """VPP refused a command."""


class Vpp:
    """One VPP process."""

    def __init__(
        self, directory: Path, *, workers: int = 0, section: str = "", plugins: str = ""
    ) -> None:
        """Prepare; ``start`` runs it. ``section`` goes into ``hashmvt { }`` of startup.conf."""
        self.directory = directory
        self.workers = workers
        self.program = find_vpp() or "vpp"
        ours = find_plugins()
        if ours is None:
            raise FileNotFoundError("hashmvt_plugin.so is not built")
        self.api_json = ours.parents[1] / "plugin" / "hashmvt" / "hashmvt.api.json"
        self._interfaces: dict[str, str] = {}
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)
        cpu = f"cpu {{ use-pthreads workers {workers} }}" if workers else "cpu { use-pthreads }"
        self._config = directory / "startup.conf"
        self._config.write_text(
            f"""unix {{
  nodaemon
  nosyslog
  log {directory}/vpp.log
  runtime-dir {directory}
  cli-listen {directory}/cli.sock
  full-coredump
  poll-sleep-usec 100
}}
api-segment {{ prefix hmvt{os.getpid()}-{directory.name} }}
socksvr {{ socket-name {directory}/api.sock }}
statseg {{ socket-name {directory}/stats.sock size 32m update-interval 1 }}
memory {{ main-heap-size 256m main-heap-page-size 4k }}
buffers {{ buffers-per-numa 8192 page-size 4k default data-size 2048 }}
{cpu}
plugins {{
  add-path {find_stock_plugins(self.program)}
  add-path {ours}
  plugin default {{ disable }}
  plugin hashmvt_plugin.so {{ enable }}
  plugin ping_plugin.so {{ enable }}
  plugin dhcp_plugin.so {{ enable }}
  plugin af_packet_plugin.so {{ enable }}
  {plugins}
}}
hashmvt {{ {section} }}
"""
        )

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.stop()

    def start(self) -> None:
        """Start VPP and wait until it listens.

        More workers than CPUs may fail to meet at VPP's first barrier within its second: once more.

        Raises:
            RuntimeError: it ended instead.

        """
        for _ in range(START_ATTEMPTS):
            said = self._start()
            if said is None:
                return
            if "worker thread deadlock" not in said:
                break
        raise RuntimeError(f"vpp did not start: {said[-2000:]}")

    def _start(self) -> str | None:
        """Return None, or what it said before it ended."""
        command = [self.program, "-c", str(self._config)]
        if self.workers:
            online = self.directory / "online"
            online.write_text(f"0-{max(7, self.workers + 1)}\n")
            script = f'mount --bind "$1" {ONLINE} && shift && exec "$@"'
            command = ["unshare", "--mount", "sh", "-c", script, "sh", str(online), *command]
        with (self.directory / "stdout").open("wb") as out:
            self._process = subprocess.Popen(
                command, stdout=out, stderr=subprocess.STDOUT, cwd=self.directory
            )
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            if self._process.poll() is not None:
                break
            try:
                if "vpp" in self.cli("show version"):
                    return None
            except OSError:
                time.sleep(0.05)
        self.stop()
        return (self.directory / "stdout").read_text(errors="replace")

    def stop(self) -> None:
        """Stop it; the exit status must tell of no crash."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.status = process.returncode

    @property
    def alive(self) -> bool:
        """Is it running?"""
        return self._process is not None and self._process.poll() is None

    # ---- commands ----

    def cli(self, command: str) -> str:
        """Say one command; return what it printed, errors too."""
        done = subprocess.run(
            [self.program + "ctl", "-s", str(self.directory / "cli.sock"), command],
            capture_output=True,
            timeout=30,
            check=False,
        )
        if done.returncode:
            raise ConnectionError(done.stderr.decode(errors="replace"))
        return done.stdout.decode(errors="replace").replace("\r", "").strip()

    def do(self, *commands: str) -> None:
        """Say commands that print nothing.

        Raises:
            CliError: one printed something.

        """
        for command in commands:
            said = self.cli(command)
            if said:
                raise CliError(f"{command}: {said}")

    # ---- packet-generator interfaces ----

    def create_pg(self, number: int, address: str, neighbors: Sequence[str] = ()) -> str:
        """Create interface ``pgN`` with an address and static neighbours; return its name."""
        name = f"pg{number}"
        self.cli(f"create packet-generator interface {name}")
        self.do(
            f"set interface mac address {name} 02:fe:00:00:00:{number:02x}",
            f"set interface ip address {name} {address}",
            f"set interface state {name} up",
        )
        for neighbor in neighbors:
            self.do(f"set ip neighbor {name} {neighbor} {self.peer_mac(name)}")
        return name

    def mac(self, name: str) -> str:
        """Return the address of a pg interface."""
        return f"02:fe:00:00:00:{int(name[2:]):02x}"

    def peer_mac(self, name: str) -> str:
        """Return the address of whoever is behind a pg interface."""
        return f"02:aa:00:00:00:{int(name[2:]):02x}"

    def frame(self, name: str, packet: Packet) -> Packet:
        """Put an IP packet into a frame to a pg interface."""
        return Ether(src=self.peer_mac(name), dst=self.mac(name)) / packet

    def send(
        self,
        sent: dict[str, list[Packet]],
        *,
        expect: int | None = None,
        worker: dict[str, int] | None = None,
        settle_s: float = 0.2,
    ) -> dict[str, list[Packet]]:
        """Send frames into interfaces; return what came out of every pg interface.

        Waits until ``expect`` frames came out in all, or ``settle_s`` when none is named.
        """
        names = sorted(
            {
                line.split()[0]
                for line in self.cli("show interface").splitlines()[1:]
                if line.startswith("pg")
            }
        )
        captures = {}
        for name in names:
            captures[name] = self.directory / f"out-{name}.pcap"
            captures[name].unlink(missing_ok=True)
            self.cli(f"packet-generator capture {name} pcap {captures[name]}")
        for name, frames in sent.items():
            if not frames:
                continue
            path = self.directory / f"in-{name}.pcap"
            wrpcap(str(path), frames)
            on = f" worker {worker[name]}" if worker and name in worker else ""
            said = self.cli(f"packet-generator new pcap {path} source {name} name s-{name}{on}")
            if said and "rror" in said:
                raise CliError(said)
        self.cli("packet-generator enable-stream")
        try:
            if expect is not None:
                wait_until(
                    f"{expect} frames",
                    lambda: sum(len(self._read(p)) for p in captures.values()) >= expect,
                )
            else:
                time.sleep(settle_s)
        except TimeoutError:
            pass
        time.sleep(0.03)
        self.cli("packet-generator disable-stream")
        for name in sent:
            self.cli(f"packet-generator delete s-{name}")
        result = {}
        for name in names:
            self.cli(f"packet-generator capture {name} disable")
            result[name] = self._read(captures[name])
        return result

    @staticmethod
    def _read(path: Path) -> list[Packet]:
        if not path.exists() or path.stat().st_size < 24:
            return []
        packets = []
        with PcapReader(str(path)) as reader:
            try:
                packets = [p for p in reader]
            except EOFError:
                pass
        return packets

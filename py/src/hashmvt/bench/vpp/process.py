# SPDX-License-Identifier: Apache-2.0
"""A VPP of one's own: in a private directory, on two cores, and gone when it is done with.

VPP gets a session of its own, so an interrupt reaches this process alone, which then stops it; if
this process is killed, the kernel kills VPP too. Nothing of the machine's network is touched.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from hashmvt.bench.vpp.traffic import interface_mac, neighbor_mac
from hashmvt.errors import HashMvtError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

OURS = "hashmvt_plugin.so"
WORKER = "vpp_wk_0"
_START_S, _STOP_S, _COMMAND_S = 60.0, 20.0, 240.0
_HUGE_2M = Path("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages")
_BUFFERS = 16384
_SOCKET_PATH = 107
_BUFFERS_BYTES = _BUFFERS * 2560
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where VPP puts its API's segment
_RESIDENT = re.compile(r"^(?:Rss|Shared_Hugetlb|Private_Hugetlb):\s+(\d+) kB", re.MULTILINE)
_COLOUR = re.compile(r"\x1b\[[\d;]*m")
_USED = re.compile(r"used: ([\d.]+)([KMG]?)", re.IGNORECASE)
_POPULATED = re.compile(r"page-size (\d+)([KMG]), .*?populated (\d+)", re.IGNORECASE)
_UNIT = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_SAID = 300
"""Characters of a reason that are worth showing."""


class VppError(HashMvtError):
    """VPP cannot be run, ended, or refused a command."""


class StarvedError(VppError):
    """VPP's worker did not run for a second, so VPP gave up: the machine is busy with others."""


@dataclass(frozen=True, slots=True)
class Installation:
    """The VPP that is measured."""

    program: Path
    plugins: Path
    """Directory of the plugins that came with it."""
    ours: Path
    """Directory of HashMVT's plugin."""

    def has(self, plugin: str) -> bool:
        """Is a plugin there?"""
        return (self.ours if plugin == OURS else self.plugins).joinpath(plugin).exists()


def find_installation(program: str | None = None, ours: Path | None = None) -> Installation:
    """Return the VPP of ``program`` (or HASHMVT_VPP, or the path's) and HashMVT's plugin.

    The plugin is looked for in ``ours``, HASHMVT_VPP_PLUGINS, VPP's own directory and below
    ``build*`` of the working directory.

    Raises:
        VppError: one of them is missing.

    """
    found = shutil.which(program or os.environ.get("HASHMVT_VPP", "vpp"))
    if found is None:
        raise VppError("no VPP is installed: install it (see docs/vpp.md) or name it with --vpp")
    prefix = Path(found).resolve().parents[1]
    stock = next(iter(sorted(prefix.glob("lib*/**/vpp_plugins"))), prefix / "lib" / "vpp_plugins")
    named = ours or os.environ.get("HASHMVT_VPP_PLUGINS")
    places = (
        [Path(named)] if named else [stock, *(p.parent for p in Path().glob(f"build*/**/{OURS}"))]
    )
    having = [place.resolve() for place in places if (place / OURS).exists()]
    if not having:
        raise VppError(
            f"{OURS} is not built: build it with -DHASHMVT_WITH_VPP=ON (see docs/vpp.md) "
            "or name its directory with --plugins"
        )
    newest = max(having, key=lambda place: (place / OURS).stat().st_mtime)
    return Installation(Path(found), stock, newest)


@dataclass(frozen=True, slots=True)
class Cores:
    """Where VPP's threads run."""

    main: int = 0
    worker: int = 1


@dataclass(frozen=True, slots=True)
class Memory:
    """What a VPP may take."""

    heap_bytes: int
    stats_bytes: int
    heap_page: str = "4k"


def buffer_page() -> str:
    """Return the page size that packet buffers get here: 2 MiB where enough of them are free."""
    try:
        free = int(_HUGE_2M.read_text(encoding="ascii"))
    except OSError:
        free = 0
    return "2m" if free << 21 >= _BUFFERS_BYTES else "4k"


def startup_text(
    directory: Path,
    installation: Installation,
    plugins: Sequence[str],
    *,
    cores: Cores,
    memory: Memory,
    section: str,
) -> str:
    """Return startup.conf; ``section`` is what a NAT says there."""
    enabled = "\n".join(f"  plugin {plugin} {{ enable }}" for plugin in plugins)
    return f"""unix {{
  nodaemon
  nosyslog
  log {directory}/vpp.log
  runtime-dir {directory}
  cli-listen {directory}/cli.sock
}}
api-segment {{ prefix {_prefix(directory)} }}
socksvr {{ socket-name {directory}/api.sock }}
cpu {{ main-core {cores.main} corelist-workers {cores.worker} }}
memory {{ main-heap-size {memory.heap_bytes >> 20}m main-heap-page-size {memory.heap_page} }}
statseg {{ socket-name {directory}/stats.sock size {memory.stats_bytes >> 20}m }}
buffers {{ buffers-per-numa {_BUFFERS} page-size {buffer_page()} }}
plugins {{
  add-path {installation.plugins}
  add-path {installation.ours}
  plugin default {{ disable }}
{enabled}
}}
{section}
"""


class Vpp:
    """One VPP; a context manager that starts and stops it."""

    def __init__(
        self,
        directory: Path,
        installation: Installation,
        plugins: Sequence[str],
        *,
        cores: Cores,
        memory: Memory,
        section: str = "",
    ) -> None:
        """Prepare; ``directory`` exists, is private, and belongs to the caller."""
        self.directory = directory
        self.startup = startup_text(
            directory, installation, plugins, cores=cores, memory=memory, section=section
        )
        self._program = installation.program
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start it and wait until it listens.

        Raises:
            VppError: it ended instead.

        """
        if len(str(self.directory / "stats.sock")) > _SOCKET_PATH:
            raise VppError(f"{self.directory} is too long for a socket: set a shorter TMPDIR")
        config = self.directory / "startup.conf"
        config.write_text(self.startup, encoding="utf-8")
        command = [str(self._program), "-c", str(config)]
        keeper = shutil.which("setpriv")
        if keeper:
            command = [keeper, "--pdeathsig", "KILL", *command]
        with (self.directory / "output").open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 - the program that is measured
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=self.directory,
                start_new_session=True,
            )
        try:
            self._wait_until_it_listens()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self._stop()

    def _wait_until_it_listens(self) -> None:
        end = time.monotonic() + _START_S
        while time.monotonic() < end:
            self._check_alive()
            if (self.directory / "cli.sock").exists() and "vpp" in self._say("show version"):
                return
            time.sleep(0.05)
        raise VppError(f"VPP did not listen within {_START_S:.0f} s: {reason_in(self._output())}")

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
        process.wait()
        for left in SHARED_MEMORY.glob(f"{_prefix(self.directory)}*"):
            left.unlink(missing_ok=True)

    # ---- commands ----

    def cli(self, command: str) -> str:
        """Say one command; return what it printed, refusals too.

        Raises:
            VppError: VPP is gone.

        """
        said = self._say(command)
        self._check_alive()
        return said

    def do(self, *commands: str) -> None:
        """Say commands that print nothing when they are obeyed.

        Raises:
            VppError: one printed something, or VPP is gone.

        """
        for command in commands:
            said = self.cli(command)
            if said:
                raise VppError(f"VPP refused `{_short(command)}`: {_short(said)}")

    def _say(self, command: str) -> str:
        try:
            done = subprocess.run(  # noqa: S603 - its own control program
                [f"{self._program}ctl", "-s", str(self.directory / "cli.sock"), command],
                capture_output=True,
                timeout=_COMMAND_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise VppError(
                f"VPP did not answer `{_short(command)}` within {_COMMAND_S:.0f} s"
            ) from error
        return done.stdout.decode(errors="replace").replace("\r", "").strip()

    def _check_alive(self) -> None:
        """Raise when VPP has ended.

        A crash closes the CLI's socket a little before the process is gone.
        """
        if self._process is None:
            raise VppError("VPP is not running")
        status = self._process.poll()
        if status is not None:
            lines = self._output()
            if any("vlib_worker_thread_barrier_sync" in line for line in lines):
                raise StarvedError(
                    "VPP's worker was kept from its core for a second, and VPP ended: "
                    "measure on a machine with nothing else to do"
                )
            how = f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
            raise VppError(f"VPP ended with {how}: {reason_in(lines)}")

    def _output(self) -> list[str]:
        """Return what VPP wrote."""
        path = self.directory / "output"
        text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
        return _COLOUR.sub("", text).splitlines()

    # ---- interfaces ----

    def make_interfaces(self) -> None:
        """Make ``pg0`` (inside) and ``pg1`` (outside), each with one neighbour, and the routes."""
        for number, network, prefix in (
            (0, "192.0.2", "10.0.0.0/8"),
            (1, "203.0.113", "0.0.0.0/0"),
        ):
            name, neighbor = f"pg{number}", f"{network}.2"
            self.cli(f"create packet-generator interface {name}")
            self.do(
                f"set interface mac address {name} {_mac(interface_mac(number))}",
                f"set interface ip address {name} {network}.1/24",
                f"set interface state {name} up",
                f"set ip neighbor {name} {neighbor} {_mac(neighbor_mac(number))}",
                f"ip route add {prefix} via {neighbor} {name}",
            )

    def used_bytes(self) -> int:
        """Return the memory that VPP uses: what is allocated in its heap, and what is resident
        outside of it.

        The heap keeps pages that starting up has touched and freed, so its residence says little.
        """
        if self._process is None:
            raise VppError("VPP is not running")
        # exact, where the counters of /proc/PID/status lag behind
        rollup = Path(f"/proc/{self._process.pid}/smaps_rollup").read_text(encoding="ascii")
        heap = read_heap(self.cli("show memory main-heap"))
        return heap.used_bytes + read_resident(rollup) - heap.resident_bytes

    def kept_waiting_s(self) -> float:
        """Return how long the worker was ready to run while others had its core, since it started.

        A worker always has something to do, so this is time that VPP counts as its nodes' own.
        """
        if self._process is None:
            raise VppError("VPP is not running")
        for task in Path(f"/proc/{self._process.pid}/task").iterdir():
            if (task / "comm").read_text(encoding="utf-8").strip() == WORKER:
                return int((task / "schedstat").read_text(encoding="ascii").split()[1]) / 1e9
        raise VppError("VPP has no worker")

    def wait(self, what: str, check: Callable[[], bool], patience_s: float) -> None:
        """Wait until ``check`` holds.

        Raises:
            VppError: it did not, or VPP is gone.

        """
        end = time.monotonic() + patience_s
        while not check():
            if time.monotonic() > end:
                raise VppError(f"{what} took more than {patience_s:.0f} s")
            time.sleep(0.02)


@dataclass(frozen=True, slots=True)
class Heap:
    """VPP's main heap."""

    used_bytes: int
    resident_bytes: int


def read_heap(text: str) -> Heap:
    """Read ``show memory main-heap``.

    Raises:
        VppError: it is of another form.

    """
    used, pages = _USED.search(text), _POPULATED.search(text)
    if used is None or pages is None:
        raise VppError(f"VPP does not tell what its heap uses: {_short(text)}")
    page = int(pages[1]) * _UNIT[pages[2].upper()]
    return Heap(int(float(used[1]) * _UNIT[used[2].upper()]), page * int(pages[3]))


def read_resident(rollup: str) -> int:
    """Return the resident bytes of ``/proc/PID/smaps_rollup``, huge pages with them."""
    return sum(int(size) << 10 for size in _RESIDENT.findall(rollup))


def reason_in(lines: Sequence[str]) -> str:
    """Return the most telling of a dying VPP's lines."""
    telling = re.compile(
        r"out of memory|cannot|can't|fail|error|abort|assert|unknown|exhaust", re.IGNORECASE
    )
    lines = [line.strip() for line in lines if line.strip()]
    found = [line for line in lines if telling.search(line)] or lines[-1:]
    return _short(found[0]) if found else "it said nothing"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SAID else line[: _SAID - 3] + "..."


def _prefix(directory: Path) -> str:
    """Return a name for shared memory that no other VPP has."""
    return f"hashmvt-bench-{os.getpid()}-{directory.name}"


def _mac(address: bytes) -> str:
    return ":".join(f"{byte:02x}" for byte in address)

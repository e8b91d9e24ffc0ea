# SPDX-License-Identifier: Apache-2.0
"""A VPP of one's own, for demonstrations, tests and measurements: private directory and sockets.

Nothing of the machine's network is touched, and no PCI device is looked at. VPP refuses more
workers than CPUs are online; here it gets them in a mount namespace where the kernel's list of
online CPUs is a file that names enough, and its threads are plain pthreads. It has a session of
its own, so an interrupt reaches only whoever started it, who then stops it; and when that thread
ends in any other way, killed for example, the kernel kills VPP.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from hashmvt.errors import HashMvtError

if TYPE_CHECKING:
    from collections.abc import Sequence

HASHMVT = "hashmvt"
TOUCH = "hashmvt_touch"
"""The plugin that HashMVT's clocks are compared with."""
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where VPP leaves its API's segment
_ONLINE = "/sys/devices/system/cpu/online"
# the kernel sends it when the thread that started VPP ends: start from one that lasts
_KEPT = ["setpriv", "--pdeathsig", "KILL"]
_START_S, _STOP_S, _GONE_S, _POLL_S = 60.0, 30.0, 1.0, 0.05
_START_ATTEMPTS = 5
_SOCKET_PATH = 107
_STARVED = "worker thread deadlock"
_COLOUR = re.compile(r"\x1b\[[\d;]*m")
_USUAL = re.compile(r"vat_plugin_register|feature node")
_TELLING = re.compile(
    r"out.of.memory|cannot|can't|fail|error|abort|assert|unknown|exhaust", re.IGNORECASE
)
_SAID, _OUTPUT = 300, 3000
"""Characters of a reason, and of VPP's output, that are worth showing."""


class VppError(HashMvtError):
    """VPP is missing, does not start, ended, or refused a command."""


class StarvedError(VppError):
    """VPP ended itself because a thread of it did not get the CPU for a second."""


@dataclass(frozen=True, slots=True)
class Installation:
    """A VPP that can run with our plugin."""

    program: Path
    stock: Path
    """Directory of the plugins that came with VPP."""
    ours: Path
    """Directory of HashMVT's plugins."""

    def has(self, plugin: str) -> bool:
        """Is a plugin there?"""
        place = self.ours if plugin in {HASHMVT, TOUCH} else self.stock
        return (place / _file(plugin)).exists()


def find_installation(
    root: Path, program: str | None = None, ours: Path | None = None
) -> Installation:
    """Return the VPP and the plugin to run.

    Args:
        root: the tree that the plugin is built in; the one that was built last below ``build*``
            comes before one beside VPP's own.
        program: instead of HASHMVT_VPP, or else ``vpp`` of the path.
        ours: the plugin's directory, instead of HASHMVT_VPP_PLUGINS and of looking for it.

    Raises:
        VppError: one of them is missing, or this process may not run them.

    """
    wanted = program or os.environ.get("HASHMVT_VPP") or "vpp"
    found = shutil.which(wanted)
    if found is None:
        raise VppError(
            f"VPP is not installed, or not as {wanted}: docs/vpp.md says where its packages are"
        )
    prefix = Path(found).resolve().parents[1]
    came = sorted(prefix.glob(f"lib*/**/vpp_plugins/{_file('ping')}"))
    stock = came[0].parent if came else prefix / "lib" / "vpp_plugins"
    named = ours or os.environ.get("HASHMVT_VPP_PLUGINS")
    built = [path.parent.resolve() for path in root.glob(f"build*/**/{_file(HASHMVT)}")]
    for places in ([Path(named)],) if named else (built, [stock]):
        having = [place for place in places if (place / _file(HASHMVT)).exists()]
        if having:
            break
    else:
        raise VppError(
            f"the VPP plugin is not in {named}"
            if named
            else f"the VPP plugin is neither below {root.resolve()}/build* nor in {stock}: "
            "where vpp-dev is installed, `make build` makes it"
        )
    if not Path(f"{found}ctl").exists():
        raise VppError(f"{found}ctl is missing, by which VPP is told what to do")
    if os.geteuid() != 0:
        raise VppError("VPP needs root")
    newest = max(having, key=lambda place: (place / _file(HASHMVT)).stat().st_mtime)
    return Installation(Path(found), stock, newest)


def why_not(root: Path) -> str | None:
    """Return why ``find_installation`` finds nothing that can run, or None."""
    try:
        find_installation(root)
    except VppError as error:
        return str(error)
    return None


@dataclass(frozen=True, slots=True)
class Options:
    """What startup.conf says; sizes in bytes."""

    plugins: Sequence[str] = (HASHMVT, "ping")
    """All that are loaded, without ``_plugin.so``."""
    workers: int = 0
    """0 to 62, of which VPP makes 63 threads, whatever the machine has."""
    pause_us: int = 100
    """How long a thread without work sleeps; longer where threads are many more than CPUs."""
    cores: tuple[int, int] | None = None
    """Of the main thread and one worker, which then poll without a pause."""
    heap: int = 256 << 20
    heap_page: str = "4k"
    stats: int = 32 << 20
    buffers: int = 8192
    buffer_page: str = "4k"
    sections: str = ""
    """Further ones, such as ``hashmvt { clock manual }``."""

    def text(self, directory: Path, installation: Installation) -> str:
        """Return startup.conf for a VPP with its files in ``directory``."""
        if self.cores:
            pause, cpu = "", "main-core {} corelist-workers {}".format(*self.cores)
        else:
            pause = f"poll-sleep-usec {self.pause_us}"
            cpu = f"use-pthreads{f' workers {self.workers}' if self.workers else ''}"
        enabled = "\n".join(f"  plugin {_file(plugin)} {{ enable }}" for plugin in self.plugins)
        return f"""unix {{
  nodaemon
  nosyslog
  log {directory}/vpp.log
  runtime-dir {directory}
  cli-listen {directory}/cli.sock
  full-coredump
  {pause}
}}
api-segment {{ prefix {_segment(directory)} }}
socksvr {{ socket-name {directory}/api.sock }}
statseg {{ socket-name {directory}/stats.sock size {self.stats >> 20}m update-interval 1 }}
memory {{ main-heap-size {self.heap >> 20}m main-heap-page-size {self.heap_page} }}
buffers {{ buffers-per-numa {self.buffers} page-size {self.buffer_page} }}
cpu {{ {cpu} }}
plugins {{
  add-path {installation.stock}
  add-path {installation.ours}
  plugin default {{ disable }}
{enabled}
}}
{self.sections}
"""


class PrivateVpp:
    """One VPP process; whoever starts it stops it."""

    patience_s: ClassVar[float] = 30.0
    """How long a command may take."""

    def __init__(
        self,
        directory: Path,
        installation: Installation,
        options: Options = Options(),
        *,
        prefix: Sequence[str] = (),
    ) -> None:
        """Prepare; ``start`` runs it.

        Args:
            directory: private to it; is made. Its path is short, for sockets lie in it.
            installation: what to run.
            options: what startup.conf says.
            prefix: words before the command, such as those that enter a network namespace.

        """
        self.directory = directory
        self.workers = options.workers
        self.startup = options.text(directory, installation)
        self.status: int | None = None
        self._program = installation.program
        self._prefix = prefix
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.stop()

    def start(self, *commands: str) -> None:
        """Start VPP, wait until it listens, and say commands to it, whatever they print.

        Where its threads starve meanwhile, because they are more than the CPUs: once more.

        Raises:
            VppError: it ended instead.

        """
        if len(str(self.directory / "stats.sock")) > _SOCKET_PATH:
            raise VppError(f"{self.directory} is too long for a socket: set a shorter TMPDIR")
        self.directory.mkdir(parents=True, exist_ok=True)
        for _ in range(_START_ATTEMPTS - 1):
            with contextlib.suppress(StarvedError):
                return self._start(commands)
        return self._start(commands)

    def _start(self, commands: Sequence[str]) -> None:
        (self.directory / "startup.conf").write_text(self.startup, encoding="utf-8")
        with (self.directory / "output").open("wb") as output:
            self._process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                start_new_session=True,
            )
        try:
            self._wait_until_it_listens()
            self._set_up(commands)
        except BaseException:
            self.stop()
            raise

    def _command(self) -> list[str]:
        command = [str(self._program), "-c", str(self.directory / "startup.conf")]
        if self.workers:
            online = self.directory / "online"
            online.write_text(f"0-{max(7, self.workers + 1)}\n", encoding="ascii")
            script = f'mount --bind "$1" {_ONLINE} && shift && exec "$@"'
            command = ["unshare", "--mount", "sh", "-c", script, "sh", str(online), *command]
        # all of them become the next by exec, so the signal is VPP's in the end
        return [*_KEPT, *self._prefix, *command]

    def _wait_until_it_listens(self) -> None:
        end = time.monotonic() + _START_S
        while not self._listens():
            self.check()
            if time.monotonic() > end:
                raise VppError(f"VPP did not listen within {_START_S:g} s: {self._reason()}")
            time.sleep(_POLL_S)

    def _listens(self) -> bool:
        """Does it answer?"""
        return b"vpp" in self._ask("show version").stdout

    def _set_up(self, commands: Sequence[str]) -> None:
        """Do what follows each start."""
        for command in commands:
            self.cli(command)

    def stop(self) -> None:
        """Stop it; ``status`` is then its exit code, 0 unless something is wrong."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
        self.status = process.wait()
        for left in SHARED_MEMORY.glob(f"{_segment(self.directory)}-*"):
            left.unlink(missing_ok=True)

    @property
    def alive(self) -> bool:
        """Is it running?"""
        return self._process is not None and self._process.poll() is None

    @property
    def starved(self) -> bool:
        """Did it end itself because a thread of it did not get the CPU for a second?"""
        return not self.alive and _STARVED in self._text()

    @property
    def pid(self) -> int:
        """Its process.

        Raises:
            VppError: it is not running.

        """
        if self._process is None:
            raise VppError("VPP is not running")
        return self._process.pid

    def check(self, patience_s: float = 0.0) -> None:
        """Raise when VPP has ended, or does so meanwhile.

        Its sockets close a little before the process is gone.

        Raises:
            VppError: it has; ``StarvedError`` where that is why.

        """
        if self._process is None:
            raise VppError("VPP is not running")
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = self._process.wait(patience_s)
            if self.starved:
                raise StarvedError(
                    "VPP ended itself because a thread of it did not get the CPU for a second: "
                    "run less beside it"
                )
            how = f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
            raise VppError(f"VPP ended with {how}: {self._reason()}")

    def output(self) -> str:
        """Return the end of what it said."""
        return self._text()[-_OUTPUT:].strip()

    def _text(self) -> str:
        path = self.directory / "output"
        text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
        return _COLOUR.sub("", text)

    def _reason(self) -> str:
        return reason_in(self._text().splitlines())

    # ---- commands ----

    def cli(self, command: str) -> str:
        """Say one command; return what it printed, refusals too.

        Raises:
            VppError: it does not answer, or has ended.

        """
        done = self._ask(command)
        self.check(_GONE_S if done.returncode else 0.0)
        if done.returncode:
            raise VppError(f"`{_short(command)}`: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout.decode(errors="replace").replace("\r", "").strip()

    def do(self, *commands: str) -> None:
        """Say commands that print nothing when they are obeyed.

        Raises:
            VppError: one printed something, or VPP is gone.

        """
        for command in commands:
            said = self.cli(command)
            if said:
                raise VppError(f"VPP refused `{_short(command)}`: {_short(said)}")

    def _ask(self, command: str) -> subprocess.CompletedProcess[bytes]:
        try:
            return subprocess.run(
                [f"{self._program}ctl", "-s", str(self.directory / "cli.sock"), command],
                capture_output=True,
                timeout=self.patience_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise VppError(
                f"VPP did not answer `{_short(command)}` within {self.patience_s:g} s"
            ) from error


def reason_in(lines: Sequence[str]) -> str:
    """Return the most telling of a dying VPP's lines, of those that not every VPP prints."""
    lines = [line.strip() for line in lines if line.strip() and not _USUAL.search(line)]
    found = [line for line in lines if _TELLING.search(line)] or lines[-1:]
    return _short(found[0]) if found else "it said nothing"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SAID else line[: _SAID - 3] + "..."


def _file(plugin: str) -> str:
    return f"{plugin}_plugin.so"


def _segment(directory: Path) -> str:
    """Return a name for shared memory that no other VPP has."""
    return f"hashmvt-{os.getpid()}-{directory.name}"

# SPDX-License-Identifier: Apache-2.0
"""A VPP of one's own, for demonstrations and tests: private directory and sockets, small memory.

Nothing of the machine's network is touched, and no PCI device is looked at. VPP refuses more
workers than CPUs are online; here it gets them in a mount namespace where the kernel's list of
online CPUs is a file that names enough, and its threads are plain pthreads.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from hashmvt.errors import HashMvtError

if TYPE_CHECKING:
    from collections.abc import Sequence

PLUGIN = "hashmvt_plugin.so"
ONLINE = "/sys/devices/system/cpu/online"
_START_S = 30.0
_START_ATTEMPTS = 5
_STOP_S = 10.0
_COMMAND_S = 30.0
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where VPP leaves its API's segment
_GONE_S = 1.0
_POLL_S = 0.05
_STARVED = "worker thread deadlock"
_TAIL = 2000
"""Characters of VPP's output that an error shows."""


class VppError(HashMvtError):
    """VPP is missing, does not start, or refused a command."""


@dataclass(frozen=True, slots=True)
class Installation:
    """A VPP that can run with our plugin."""

    program: Path
    stock: Path
    """Directory of the plugins that came with VPP."""
    ours: Path
    """Directory of ``hashmvt_plugin.so``."""


def find_program() -> Path | None:
    """Return VPP's program: HASHMVT_VPP, or ``vpp`` of the path."""
    found = shutil.which(os.environ.get("HASHMVT_VPP") or "vpp")
    return Path(found) if found else None


def find_stock_plugins(program: Path) -> Path:
    """Return the directory of the plugins that came with VPP."""
    prefix = program.resolve().parents[1]
    found = sorted(prefix.glob("lib*/**/vpp_plugins/ping_plugin.so"))
    return found[0].parent if found else prefix / "lib" / "vpp_plugins"


def find_plugin(program: Path, root: Path) -> Path | None:
    """Return the directory of our plugin.

    HASHMVT_VPP_PLUGINS, else where it was built last below ``build*`` of ``root``, else beside
    VPP's own.
    """
    named = os.environ.get("HASHMVT_VPP_PLUGINS")
    built = [path.parent for path in root.glob(f"build*/**/{PLUGIN}")]
    for places in ([Path(named)],) if named else (built, [find_stock_plugins(program)]):
        having = [place for place in places if (place / PLUGIN).exists()]
        if having:
            return max(having, key=lambda place: (place / PLUGIN).stat().st_mtime)
    return None


def find_installation(root: Path) -> Installation:
    """Return the VPP and the plugin to run; ``root`` is the tree that the plugin is built in.

    Raises:
        VppError: one of them is missing, or this process may not run them.

    """
    program = find_program()
    if program is None:
        raise VppError("VPP is not installed: docs/vpp.md says where its packages are")
    ours = find_plugin(program, root)
    if ours is None:
        raise VppError(
            "the VPP plugin is not built: install vpp-dev, and `make build` makes it too"
        )
    if os.geteuid() != 0:
        raise VppError("VPP needs root")
    return Installation(program, find_stock_plugins(program), ours)


def startup_text(
    directory: Path,
    installation: Installation,
    *,
    workers: int = 0,
    section: str = "",
    plugins: Sequence[str] = (),
) -> str:
    """Return a startup.conf; ``section`` goes into ``hashmvt { }``, ``plugins`` are enabled too."""
    enabled = "\n".join(
        f"  plugin {plugin}_plugin.so {{ enable }}" for plugin in ("hashmvt", "ping", *plugins)
    )
    return f"""unix {{
  nodaemon
  nosyslog
  log {directory}/vpp.log
  runtime-dir {directory}
  cli-listen {directory}/cli.sock
  full-coredump
  poll-sleep-usec 100
}}
api-segment {{ prefix {_prefix(directory)} }}
socksvr {{ socket-name {directory}/api.sock }}
statseg {{ socket-name {directory}/stats.sock size 32m update-interval 1 }}
memory {{ main-heap-size 256m main-heap-page-size 4k }}
buffers {{ buffers-per-numa 8192 page-size 4k default data-size 2048 }}
cpu {{ use-pthreads{f" workers {workers}" if workers else ""} }}
plugins {{
  add-path {installation.stock}
  add-path {installation.ours}
  plugin default {{ disable }}
{enabled}
}}
hashmvt {{ {section} }}
"""


def _prefix(directory: Path) -> str:
    """Return a name for shared memory that no other VPP has."""
    return f"hmvt{os.getpid()}-{directory.name}"


class PrivateVpp:
    """One VPP process; whoever starts it stops it."""

    def __init__(
        self,
        directory: Path,
        installation: Installation,
        *,
        workers: int = 0,
        section: str = "",
        plugins: Sequence[str] = (),
        prefix: Sequence[str] = (),
    ) -> None:
        """Prepare; ``start`` runs it.

        Args:
            directory: private to it; is made. Its path is short, for sockets lie in it.
            installation: what to run.
            workers: how many, 0 to 63, whatever the machine has.
            section: what goes into ``hashmvt { }`` of startup.conf.
            plugins: of VPP, to enable besides.
            prefix: words before the command, such as those that enter a network namespace.

        """
        self.directory = directory
        self.workers = workers
        self.api = directory / "api.sock"
        self.stats = directory / "stats.sock"
        self.status: int | None = None
        self._program = installation.program
        self._prefix = prefix
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)
        self._config = directory / "startup.conf"
        self._config.write_text(
            startup_text(
                directory, installation, workers=workers, section=section, plugins=plugins
            ),
            encoding="utf-8",
        )

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
        for _ in range(_START_ATTEMPTS):
            if self._start() and self._set_up(commands):
                return
            if not self.starved:
                break
            self.stop()
        raise VppError(f"VPP did not start: {self.output()}")

    def _set_up(self, commands: Sequence[str]) -> bool:
        try:
            for command in commands:
                self.cli(command)
        except VppError:
            if not self.starved:
                raise
            return False
        return True

    def _start(self) -> bool:
        with (self.directory / "output").open("wb") as output:
            self._process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
            )
        end = time.monotonic() + _START_S
        while time.monotonic() < end and self.alive:
            try:
                if "vpp" in self.cli("show version"):
                    return True
            except VppError:
                time.sleep(_POLL_S)
        self.stop()
        return False

    def _command(self) -> list[str]:
        command = [str(self._program), "-c", str(self._config)]
        if self.workers:
            online = self.directory / "online"
            online.write_text(f"0-{max(7, self.workers + 1)}\n", encoding="ascii")
            script = f'mount --bind "$1" {ONLINE} && shift && exec "$@"'
            command = ["unshare", "--mount", "sh", "-c", script, "sh", str(online), *command]
        return [*self._prefix, *command]

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
        for left in _SHARED_MEMORY.glob(f"{_prefix(self.directory)}-*"):
            left.unlink(missing_ok=True)

    @property
    def alive(self) -> bool:
        """Is it running?"""
        return self._process is not None and self._process.poll() is None

    @property
    def starved(self) -> bool:
        """Did it end itself because a thread of it did not get the CPU for a second?

        The socket of a VPP that ends itself closes a little before the process is gone.
        """
        end = time.monotonic() + _GONE_S
        while self.alive and time.monotonic() < end:
            time.sleep(_POLL_S)
        return not self.alive and _STARVED in self.output()

    def output(self) -> str:
        """Return the end of what it said."""
        path = self.directory / "output"
        return path.read_text(errors="replace")[-_TAIL:].strip() if path.exists() else ""

    # ---- commands ----

    def cli(self, command: str) -> str:
        """Say one command; return what it printed, refusals too.

        Raises:
            VppError: it does not answer.

        """
        try:
            done = subprocess.run(
                [f"{self._program}ctl", "-s", str(self.directory / "cli.sock"), command],
                capture_output=True,
                timeout=_COMMAND_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise VppError(f"VPP did not answer `{command}` within {_COMMAND_S:g} s") from error
        if done.returncode:
            raise VppError(f"`{command}`: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout.decode(errors="replace").replace("\r", "").strip()

    def do(self, *commands: str) -> None:
        """Say commands that print nothing when they are obeyed.

        Raises:
            VppError: one printed something.

        """
        for command in commands:
            said = self.cli(command)
            if said:
                raise VppError(f"VPP refused `{command}`: {said}")

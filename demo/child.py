# SPDX-License-Identifier: Apache-2.0
"""A process of the demonstration: started, spoken to in lines, watched, ended."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

Watchers = Mapping[str, Callable[[str], None]]


class ChildError(Exception):
    """A part of the demonstration failed; the message ends with what it said last."""


class Child:
    """One process. Lines it says are ``word rest``; its log goes to a file.

    Created by ``start``; whoever starts it calls ``end``.
    """

    def __init__(
        self, name: str, process: asyncio.subprocess.Process, log: Path, watchers: Watchers
    ) -> None:
        self.name = name
        self.log = log
        self._process = process
        self._lines: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self._watchers = watchers
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def start(
        cls,
        name: str,
        command: Sequence[str],
        directory: Path,
        watchers: Watchers = MappingProxyType({}),
    ) -> Child:
        """Start a process of its own session; standard error goes to ``directory/name.log``.

        Args:
            name: for messages and the log.
            command: to run.
            directory: of the log.
            watchers: called for lines that begin with their word; these are not waited for.
        """
        log = directory / f"{name}.log"
        with log.open("wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
                limit=1 << 20,
            )
        return cls(name, process, log, watchers)

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.returncode is None

    async def send(self, line: str) -> None:
        """Say one line to it."""
        stdin = self._process.stdin
        assert stdin is not None  # noqa: S101 - it was started with a pipe
        stdin.write(line.encode() + b"\n")
        with contextlib.suppress(ConnectionError):
            await stdin.drain()

    async def expect(self, word: str, timeout_s: float) -> str:
        """The rest of the next line, which must begin with ``word``.

        Raises:
            ChildError: it said something else, nothing in time, or ended.
        """
        try:
            async with asyncio.timeout(timeout_s):
                said, rest = await self._lines.get()
        except TimeoutError:
            raise self.error(f"did not say '{word}' within {timeout_s:g} s") from None
        if said != word:
            raise self.error("ended" if said == "" else f"said '{said}', not '{word}'")
        return rest

    def check(self) -> None:
        """Raise when it has ended.

        Raises:
            ChildError: it has.
        """
        if not self.running:
            raise self.error(f"ended with exit code {self._process.returncode}")

    def error(self, text: str) -> ChildError:
        """An error about it, with the end of its log."""
        tail = self.log.read_text(errors="replace").strip().splitlines()[-12:]
        return ChildError("\n  ".join([f"{self.name} {text}", *tail]))

    async def close_stdin(self) -> None:
        """Let its standard input end."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    async def end(self, timeout_s: float = 5.0) -> int:
        """Ask it to end (SIGTERM), after ``timeout_s`` make it; its exit code."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(timeout_s):
                    await self._process.wait()
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    self._process.kill()
        code = await self._process.wait()
        await self._reader
        return code

    async def _read(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None  # noqa: S101 - it was started with a pipe
        async for line in stdout:
            word, _, rest = line.decode(errors="replace").strip().partition(" ")
            watcher = self._watchers.get(word)
            if watcher is not None:
                watcher(rest)
            else:
                self._lines.put_nowait((word, rest))
        self._lines.put_nowait(("", ""))

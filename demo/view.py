# SPDX-License-Identifier: Apache-2.0
"""The live view: a table on a terminal, one line a second in a pipe."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

LOG_LINES = 10


@dataclass(slots=True)
class InstanceView:
    """One instance now."""

    id: int
    state: str
    packets: int
    rate: float
    load: float
    mappings: int
    dropped: int


@dataclass(slots=True)
class State:
    """What there is to see now; the driver changes it, the view reads it."""

    phase: str = "starting"
    instances: list[InstanceView] = field(default_factory=list)
    connections: int = 0
    datagrams: int = 0
    megabytes: float = 0.0
    errors: int = 0
    log: list[str] = field(default_factory=list)


class View(Protocol):
    """Shows the state; used as a context manager."""

    def __enter__(self) -> View: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
    def update(self) -> None:
        """Show what changed; called at least once a second."""

    def note(self, line: str) -> None:
        """Something happened that is worth a line."""


class _Base:
    def __init__(self, state: State) -> None:
        self.state = state
        self.started = time.monotonic()

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.started


class PipeView(_Base):
    """Lines."""

    def __enter__(self) -> PipeView:
        return self

    def __exit__(self, *_: object) -> None:
        sys.stdout.flush()

    def update(self) -> None:
        """One line."""
        state = self.state
        instances = "  ".join(
            f"[{i.id}] {i.rate:6.0f} p/s {i.load:4.0%} {i.mappings:5} mappings"
            for i in state.instances
            if i.state != "spare"
        )
        drops = sum(i.dropped for i in state.instances)
        print(
            f"{self.elapsed:5.1f} s  {state.phase:<24} {state.connections:6} connections "
            f"{state.datagrams:6} datagrams {state.megabytes:6.1f} MB  {instances}  "
            f"drops {drops} errors {state.errors}",
            flush=True,
        )

    def note(self, line: str) -> None:
        """One line."""
        print(f"{self.elapsed:5.1f} s  | {line}", flush=True)


class TerminalView(_Base):
    """A table that is redrawn; the log below it."""

    def __init__(self, state: State, console: Console) -> None:
        super().__init__(state)
        self._live = Live(console=console, refresh_per_second=4, transient=False)

    def __enter__(self) -> TerminalView:
        self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def update(self) -> None:
        """Redraw."""
        state = self.state
        table = Table(title=f"HashMVT  {self.elapsed:4.0f} s  {state.phase}", title_justify="left")
        for column in ("instance", "state", "packets", "packets/s", "load", "mappings", "drops"):
            table.add_column(column, justify="left" if column == "state" else "right")
        for i in state.instances:
            table.add_row(
                str(i.id), i.state, f"{i.packets:,}", f"{i.rate:,.0f}", f"{i.load:.0%}",
                f"{i.mappings:,}", str(i.dropped),
                style="dim" if i.state == "spare" else None,
            )  # fmt: skip
        traffic = Text(
            f"{state.connections:,} TCP connections, {state.datagrams:,} datagrams, "
            f"{state.megabytes:,.1f} MB at the clients; {state.errors} errors"
        )
        log = Text("\n".join(state.log[-LOG_LINES:]), style="cyan")
        self._live.update(Group(table, traffic, log))

    def note(self, line: str) -> None:
        """Keep it for the log below the table."""
        self.state.log.append(f"{self.elapsed:5.1f} s  {line}")
        self.update()


def make(state: State) -> View:
    """The view for where standard output goes."""
    console = Console()
    return TerminalView(state, console) if console.is_terminal else PipeView(state)

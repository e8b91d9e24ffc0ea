# SPDX-License-Identifier: Apache-2.0
"""What the measurements have in common: options, spreads, progress, the frame of the output."""

from __future__ import annotations

import contextlib
import signal
import statistics
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from hashmvt import __version__
from hashmvt.cli.machine import this_machine
from hashmvt.cli.output import Json, plural, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

PAPER_RUNS = 20
"""Of each point, as in the paper's experiments."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A median with what lies around it."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of some values."""
        return cls(statistics.median(values), min(values), max(values))

    def json(self, name: str, digits: int = 2) -> dict[str, Json]:
        """Return the figure ``name`` with ``_min`` and ``_max`` beside it."""
        return {
            name: round(self.median, digits),
            f"{name}_min": round(self.least, digits),
            f"{name}_max": round(self.most, digits),
        }


class NumbersType(click.ParamType["tuple[int, ...]"]):
    """Numbers with commas between, each in a range."""

    name = "numbers"

    def __init__(self, what: str, most: int, example: str) -> None:
        """Take ``what`` they count (for the error), from 1 to ``most``."""
        self._what, self._most, self._example = what, most, example

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Read them; usage error when they are none."""
        if isinstance(value, tuple):
            return value
        parts = [part.strip().replace("_", "") for part in str(value).split(",")]
        if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):  # noqa: PLR2004
            self.fail(f"{value!r} is no list of numbers such as {self._example}", param, ctx)
        numbers = tuple(int(part) for part in parts)
        if not all(1 <= number <= self._most for number in numbers):
            self.fail(f"{self._what} are from 1 to {self._most}", param, ctx)
        return numbers


seed_option = click.option(
    "--seed", type=click.IntRange(0, (1 << 64) - 1), default=1, help="Of every random choice."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON.")
plot_option = click.option(
    "--plot",
    "plot_dir",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write plots (SVG) to this folder; needs matplotlib.",
)


def measurement_options(
    runs: int, *, seeded: bool = True
) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Return ``--runs`` with its default, ``--seed`` where ``seeded``, ``--json``, ``--plot``."""
    runs_option = click.option(
        "--runs",
        type=click.IntRange(1, 1000),
        default=runs,
        metavar="N",
        help="Runs of each case; figures are their median.",
    )

    def add(function: Callable[..., int]) -> Callable[..., int]:
        function = json_option(plot_option(function))
        return runs_option(seed_option(function) if seeded else function)

    return add


def takes_only(flag: str, *names: str) -> None:
    """Refuse options beside ``flag`` other than those of ``names`` (of the command's parameters).

    For flags that measure something else, which would leave them unread.
    """
    ctx = click.get_current_context()
    for parameter in ctx.command.params:
        name = parameter.name or ""
        given = ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if given and name not in names and flag not in parameter.opts:
            raise click.UsageError(f"{flag} takes no {parameter.opts[0]}")


table_argument = click.argument(
    "tables",
    metavar="TABLE...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)


@contextlib.contextmanager
def progress(total: int) -> Iterator[Callable[[], None]]:
    """Show progress on a terminal, nothing in a pipe; never while something is measured."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    bar = Progress(
        TextColumn("bench"),
        BarColumn(),
        MofNCompleteColumn(),
        console=Console(stderr=True),
        transient=True,
        auto_refresh=False,
    )
    with bar:
        task = bar.add_task("bench", total=total)

        def step() -> None:
            bar.advance(task)
            bar.refresh()

        yield step


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM end the measurement as Ctrl-C does, and let nothing interrupt the end.

    Processes stop and files go once; a second signal, as `timeout` sends it, would leave some
    behind. It stays ignored until the program has said that it was interrupted, and is gone.
    """
    signals = (signal.SIGINT, signal.SIGTERM)
    interrupted = False

    def interrupt(signum: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        del signum, frame
        interrupted = True
        for each in signals:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {each: signal.signal(each, interrupt) for each in signals}
    try:
        yield
    finally:
        if not interrupted:
            for each, handler in before.items():
                signal.signal(each, handler)


def heading(runs: int) -> str:
    """Return the line above a table: the machine, and of how many runs figures are medians."""
    machine = this_machine()
    return (
        f"{machine.cpu}, {plural(machine.cpus, 'CPU')}, kernel {machine.kernel}; "
        f"median of {plural(runs, 'run')}"
    )


def write_results(results: list[Json]) -> None:
    """Write the JSON of a measurement: the machine, then one row per measured case."""
    write_json({"machine": {**asdict(this_machine()), "hashmvt": __version__}, "results": results})

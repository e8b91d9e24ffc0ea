# SPDX-License-Identifier: Apache-2.0
"""``hashmvt bench collisions``: how prefixes of real tables collide (the paper's figure 6)."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from hashmvt.cli.bench.common import (
    PAPER_RUNS,
    NumbersType,
    Spread,
    heading,
    measurement_options,
    progress,
    table_argument,
    write_results,
)
from hashmvt.cli.bench.plot import Axes, Line, Plots
from hashmvt.cli.output import Column, Json, number, table
from hashmvt.experiments.collisions import Collisions, Counter, Keys
from hashmvt.experiments.tables import Table, read

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_MAX_ENTRIES = 1 << 24
_PARTS = (8, 4, 2, 1)
_PLAIN = (Keys.PADDED, Keys.EXACT)
"""Their hash has no secret: the whole table gives the same in every run."""


@dataclass(frozen=True, slots=True)
class _Result:
    """One way to hash, one table, one size."""

    table: str
    prefixes: int
    keys: Keys
    runs: Sequence[Collisions]

    @property
    def entries(self) -> int:
        return self.runs[0].entries

    def of(self, figure: Callable[[Collisions], float]) -> Spread:
        return Spread.of([figure(run) for run in self.runs])

    def share(self, name: str) -> Spread:
        """Return a count as percent of the entries."""
        return self.of(lambda run: 100 * int(getattr(run, name)) / run.entries)


@click.command("collisions")
@table_argument
@click.option(
    "--entries",
    "sizes",
    type=NumbersType("entries", _MAX_ENTRIES, "65536,262144"),
    metavar="N,N,...",
    help="Prefixes picked at random; default: 1/8, 1/4, 1/2 and all of each table.",
)
@click.option(
    "--rows",
    type=click.IntRange(1, 1 << 30),
    metavar="N",
    help="Rows for plain CRC32C, a power of two; default: the first from the entries up.",
)
@measurement_options(PAPER_RUNS)
def command(
    *,
    tables: tuple[Path, ...],
    sizes: tuple[int, ...] | None,
    rows: int | None,
    runs: int,
    seed: int,
    as_json: bool,
    plot_dir: Path | None,
) -> int:
    """Count how the prefixes of routing tables collide.

    A TABLE has one prefix a line (an origin AS may follow), `#` and `;` begin comments; gzip is
    recognised. Three things that are not the same are told apart: inserts that meet the very same
    key because lengths are rounded down, other keys with an equal 32-bit hash, and other hashes
    on an occupied row. The paper's figure 6.
    """
    if rows is not None and rows & (rows - 1):
        raise click.BadParameter(f"{rows} is no power of two", param_hint="--rows")
    plots = Plots(plot_dir) if plot_dir else None
    read_tables = [read(path) for path in tables]
    cases = [
        (one, size, keys) for one in read_tables for size in _sizes(one, sizes) for keys in Keys
    ]
    results = []
    counter: dict[int, Counter] = {}
    with progress(len(cases)) as step:
        for one, size, keys in cases:
            count = counter.setdefault(id(one), Counter(one)).count
            same = keys in _PLAIN and size == len(one.prefixes)
            found = [
                count(keys, size, rows=rows or 0, seed=seed + turn)
                for turn in range(1 if same else runs)
            ]
            results.append(_Result(one.name, len(one.prefixes), keys, found))
            step()
    if as_json:
        write_results([_json(result) for result in results])
    else:
        click.echo(_text(results, runs))
    if plots:
        _plot(plots, results)
    return 0


def _sizes(one: Table, sizes: tuple[int, ...] | None) -> list[int]:
    """Return the sizes to measure; usage error when the table has fewer prefixes."""
    have = len(one.prefixes)
    if sizes is None:
        return sorted({max(1, have // part) for part in _PARTS})
    for size in sizes:
        if size > have:
            raise click.BadParameter(
                f"{one.name} has {have} prefixes, not {size}", param_hint="--entries"
            )
    return list(sizes)


def _percent(spread: Spread) -> str:
    return f"{spread.median:.2f}"


def _text(results: Sequence[_Result], runs: int) -> str:
    rows = [
        (
            result.table,
            number(result.entries),
            result.keys.value,
            number(result.runs[0].rows),
            _percent(result.share("same_key")),
            _percent(result.share("same_hash")),
            _percent(result.share("same_row")),
            f"{result.of(lambda run: run.chain_max).median:.0f}",
            f"{mean:.1f}" if (mean := result.of(lambda run: run.chain_mean).median) else "-",
        )
        for result in results
    ]
    columns = [
        Column("table", right=False),
        Column("entries"),
        Column("keys", right=False),
        Column("rows"),
        Column("same key %"),
        Column("same hash %"),
        Column("same row %"),
        Column("longest"),
        Column("mean chain"),
    ]
    return f"{heading(runs)}; percent of the entries\n{table(columns, rows)}"


def _json(result: _Result) -> Json:
    row: dict[str, Json] = {
        "table": result.table,
        "prefixes": result.prefixes,
        "keys": result.keys.value,
        "entries": result.entries,
        "rows": result.runs[0].rows,
        "runs": len(result.runs),
    }
    for name in ("same_key", "same_hash", "same_row", "chain_max", "chain_mean"):
        row.update(result.of(operator.attrgetter(name)).json(name))
    return row


def _plot(plots: Plots, results: Sequence[_Result]) -> None:
    for name, what in (
        ("same_key", "very same key"),
        ("same_hash", "other key, equal 32-bit hash"),
        ("same_row", "other hash, occupied row"),
    ):
        lines = []
        for one in dict.fromkeys(result.table for result in results):
            for keys in Keys:
                mine = [r for r in results if r.table == one and r.keys is keys]
                x = [r.entries for r in mine]
                lines.append(Line(f"{one}: {keys.value}", x, [r.share(name) for r in mine]))
        axes = Axes(f"Inserts that meet: {what}", "prefixes", "percent of inserts")
        plots.lines(f"collisions-{name.replace('_', '-')}", axes, lines)

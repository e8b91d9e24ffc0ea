# SPDX-License-Identifier: Apache-2.0
"""``hashmvt bench hash``: CRC32C in hardware against tables (the paper's figure 7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from hashmvt.cli import say
from hashmvt.cli.bench.common import (
    PAPER_RUNS,
    NumbersType,
    Spread,
    heading,
    measurement_options,
    progress,
    write_results,
)
from hashmvt.cli.bench.plot import Axes, Line, Plots
from hashmvt.cli.output import Column, Json, table
from hashmvt.experiments.hashing import KEY_BYTES, Hash, has_hardware, measure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hashmvt.experiments.cost import Cost

_KEYS = 1 << 20


@dataclass(frozen=True, slots=True)
class _Result:
    """A hash at one length."""

    how: Hash
    key_bytes: int
    throughput: Sequence[Cost]
    latency: Sequence[Cost]

    def clocks(self, *, chained: bool) -> Spread:
        return Spread.of([cost.clocks for cost in (self.latency if chained else self.throughput)])

    def ns(self, *, chained: bool) -> Spread:
        return Spread.of([cost.ns for cost in (self.latency if chained else self.throughput)])


@click.command("hash")
@click.option(
    "--bytes",
    "key_bytes",
    type=NumbersType("lengths of keys", KEY_BYTES[-1], "4,8,16,40"),
    default=",".join(map(str, KEY_BYTES)),
    metavar="N,N,...",
    help="Lengths of keys: 4, 8, ... 40.",
)
@click.option(
    "--keys",
    type=click.IntRange(1, 1 << 30),
    default=_KEYS,
    metavar="N",
    help="Keys hashed in a run.",
)
@measurement_options(PAPER_RUNS, seeded=False)
def command(
    *, key_bytes: tuple[int, ...], keys: int, runs: int, as_json: bool, plot_dir: Path | None
) -> int:
    """Measure hashes of short keys.

    CRC32C by the CPU's instruction, by slicing-by-8 and byte by byte from a table, and the keyed
    hash that HashMVT uses. Throughput: independent keys. Latency: each key contains the hash of
    the one before. The paper's figure 7.
    """
    for length in key_bytes:
        if length not in KEY_BYTES:
            raise click.BadParameter(f"{length} is none of 4, 8, ... 40", param_hint="--bytes")
    plots = Plots(plot_dir) if plot_dir else None
    if not has_hardware():
        say("this build has no CRC32C instruction: its rows are slicing-by-8's")
    cases = [(how, length) for how in Hash for length in key_bytes]
    found: dict[tuple[Hash, int], tuple[list[Cost], list[Cost]]] = {c: ([], []) for c in cases}
    with progress(runs * len(cases)) as step:
        for _ in range(runs):
            for how, length in cases:
                throughput, latency = found[how, length]
                throughput.append(measure(how, length, keys=keys, chained=False))
                latency.append(measure(how, length, keys=keys, chained=True))
                step()
    results = [_Result(*case, *costs) for case, costs in found.items()]
    if as_json:
        write_results([_json(result, runs) for result in results])
    else:
        click.echo(_text(results, runs))
    if plots:
        _plot(plots, results)
    return 0


def _text(results: Sequence[_Result], runs: int) -> str:
    best = {
        (r.key_bytes, chained): r.clocks(chained=chained).median
        for r in results
        for chained in (False, True)
        if r.how is Hash.HARDWARE
    }
    rows = []
    for result in results:
        cells = [result.how.value, str(result.key_bytes)]
        for chained in (False, True):
            clocks, ns = result.clocks(chained=chained), result.ns(chained=chained)
            ratio = clocks.median / best[result.key_bytes, chained]
            cells += [f"{clocks.median:.1f}", f"{ns.median:.1f}", f"{ratio:.1f}"]
        rows.append(cells)
    columns = [
        Column("hash", right=False),
        Column("bytes"),
        Column("throughput: clocks"),
        Column("ns"),
        Column("times hardware"),
        Column("latency: clocks"),
        Column("ns"),
        Column("times hardware"),
    ]
    return f"{heading(runs)}; per key\n{table(columns, rows)}"


def _json(result: _Result, runs: int) -> Json:
    row: dict[str, Json] = {
        "hash": result.how.value,
        "key_bytes": result.key_bytes,
        "runs": runs,
        "hardware": has_hardware(),
    }
    for name, chained in (("throughput", False), ("latency", True)):
        row.update(result.clocks(chained=chained).json(f"{name}_clocks"))
        row.update(result.ns(chained=chained).json(f"{name}_ns", 3))
    return row


def _plot(plots: Plots, results: Sequence[_Result]) -> None:
    for name, chained in (("throughput", False), ("latency", True)):
        lines = []
        for how in Hash:
            mine = [r for r in results if r.how is how]
            lines.append(
                Line(
                    how.value,
                    [r.key_bytes for r in mine],
                    [r.clocks(chained=chained) for r in mine],
                )
            )
        axes = Axes(f"Hash of a key, {name}", "bytes of the key", "clocks per key", log_y=True)
        plots.lines(f"hash-{name}", axes, lines)

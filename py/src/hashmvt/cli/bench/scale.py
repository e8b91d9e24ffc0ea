# SPDX-License-Identifier: Apache-2.0
"""``hashmvt bench scale``: shards against one shared pool (the paper's figure 8a)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from hashmvt.cli import DONE, FAILED, say
from hashmvt.cli.bench.common import (
    HELP,
    PAPER_RUNS,
    Spread,
    heading,
    measurement_options,
    progress,
    write_results,
)
from hashmvt.cli.bench.plot import Axes, Line, Plots
from hashmvt.cli.machine import this_machine
from hashmvt.cli.output import Column, Json, plural, table
from hashmvt.experiments.scaling import Case, Nat, Run, Trace, measure, trace

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_MAX_INSTANCES = 64
_FLOWS = 65536
_NEW = 82
_BATCHES = 2048
_TRACED_FLOWS = 1024
_TRACED_BATCHES = 2


@dataclass(frozen=True, slots=True)
class _Result:
    """A NAT with a number of instances."""

    case: Case
    trace: Trace | None
    runs: list[Run] = field(default_factory=list)

    @property
    def mpps(self) -> Spread:
        return Spread.of([run.mpps for run in self.runs])

    @property
    def clocks(self) -> Spread:
        return Spread.of([run.clocks_per_packet for run in self.runs])

    @property
    def wrong(self) -> int:
        return sum(run.wrong for run in self.runs)


@click.command("scale", context_settings=HELP)
@click.option(
    "--instances",
    type=click.IntRange(1, _MAX_INSTANCES),
    metavar="N",
    help="Measure 1 to N instances; default: as many as there are CPUs.",
)
@click.option(
    "--flows",
    type=click.IntRange(256, 1 << 22),
    default=_FLOWS,
    show_default=True,
    metavar="N",
    help="Mappings of each instance, made before.",
)
@click.option(
    "--new",
    "new_per_1024",
    type=click.IntRange(0, 1024),
    default=_NEW,
    show_default=True,
    metavar="N",
    help="Of 1,024 packets, how many open a flow: 8 % as in a mix of many sites.",
)
@click.option(
    "--batches",
    type=click.IntRange(1, 1 << 16),
    default=_BATCHES,
    show_default=True,
    metavar="N",
    help="Batches of 256 packets of each instance in a run.",
)
@click.option(
    "--trace/--no-trace",
    "traced",
    default=True,
    show_default=True,
    help="Count instructions, and lines of memory that two instances write.",
)
@measurement_options(PAPER_RUNS)
def command(
    *,
    instances: int | None,
    flows: int,
    new_per_1024: int,
    batches: int,
    traced: bool,
    runs: int,
    seed: int,
    as_json: bool,
    plot_dir: Path | None,
) -> int:
    """Measure throughput against the number of instances.

    HashMVT's shards beside a plain NAT whose threads share one pool of ports, under a lock and
    under atomic operations; and the same plain NAT with a pool for each thread, which tells the
    cost of sharing from everything else. Each instance writes its own packets. The trace runs two
    instances in turn, an instruction at a time, and counts the cache lines that both write. The
    paper's figure 8a.
    """
    cpus = this_machine().cpus
    most = instances or min(cpus, _MAX_INSTANCES)
    plots = Plots(plot_dir) if plot_dir else None
    # before any thread is there: a trace watches the memory of the whole process
    traces = {
        nat: trace(Case(nat, 2, _TRACED_FLOWS, new_per_1024, _TRACED_BATCHES), seed=seed)
        if traced
        else None
        for nat in Nat
    }
    results = [
        _Result(Case(nat, n, flows, new_per_1024, batches), traces[nat])
        for nat in Nat
        for n in range(1, most + 1)
    ]
    with progress(runs * len(results)) as step:
        for turn in range(runs):
            for result in results:
                result.runs.append(measure(result.case, seed=seed + turn))
                step()
    if as_json:
        write_results([_json(result, results, runs) for result in results])
    else:
        click.echo(_text(results, runs))
    if plots:
        _plot(plots, results)
    if most > cpus:
        say(f"{most} instances share {plural(cpus, 'CPU')}: these figures are no scaling")
    if traced and traces[Nat.HASHMVT] is None:
        say("instructions and written lines are not counted: only x86-64 Linux can")
    wrong = sum(result.wrong for result in results)
    if wrong:
        say(f"{plural(wrong, 'packet')} were not translated: these figures say nothing")
        return FAILED
    return DONE


def _speedup(result: _Result, results: Sequence[_Result]) -> float:
    """Return throughput over that of one instance of the same NAT."""
    one = next(r for r in results if r.case.nat is result.case.nat and r.case.instances == 1)
    return result.mpps.median / one.mpps.median


def _text(results: Sequence[_Result], runs: int) -> str:
    rows = [
        (
            result.case.nat.value,
            str(result.case.instances),
            f"{result.mpps.median:.2f}",
            f"{result.mpps.least:.2f}-{result.mpps.most:.2f}",
            f"{_speedup(result, results):.2f}",
            f"{result.clocks.median:.0f}",
            f"{result.trace.instructions:.0f}" if result.trace else "-",
            str(result.trace.both) if result.trace else "-",
        )
        for result in results
    ]
    columns = [
        Column("nat", right=False),
        Column("instances"),
        Column("Mpps"),
        Column("min-max"),
        Column("times one"),
        Column("clocks/packet"),
        Column("instructions"),
        Column("lines written by 2"),
    ]
    return f"{heading(runs)}\n{table(columns, rows)}"


def _json(result: _Result, results: Sequence[_Result], runs: int) -> Json:
    row: dict[str, Json] = {
        "nat": result.case.nat.value,
        "instances": result.case.instances,
        "flows": result.case.flows,
        "new_per_1024": result.case.new_per_1024,
        "runs": runs,
        **result.mpps.json("mpps", 3),
        "times_one": round(_speedup(result, results), 3),
        **result.clocks.json("clocks_per_packet"),
        "packets": sum(run.packets for run in result.runs),
        "wrong": result.wrong,
        "instructions_per_packet": None,
        "lines_written": None,
        "lines_written_by_two": None,
    }
    if result.trace:
        row["instructions_per_packet"] = round(result.trace.instructions, 1)
        row["lines_written"] = sum(result.trace.lines) - result.trace.both
        row["lines_written_by_two"] = result.trace.both
    return row


def _plot(plots: Plots, results: Sequence[_Result]) -> None:
    lines = []
    for nat in Nat:
        mine = [result for result in results if result.case.nat is nat]
        lines.append(Line(nat.value, [r.case.instances for r in mine], [r.mpps for r in mine]))
    ticks = [line.case.instances for line in results if line.case.nat is Nat.HASHMVT]
    plots.lines("scale", Axes("Throughput", "instances", "Mpps", ticks=ticks), lines)

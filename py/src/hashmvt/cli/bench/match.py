# SPDX-License-Identifier: Apache-2.0
"""``hashmvt bench match``: longest match in real routing tables, and exact flows."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from hashmvt.cli import DONE, FAILED, say
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
from hashmvt.cli.bench.plot import Axes, Plots
from hashmvt.cli.output import Column, Json, number, size, table
from hashmvt.experiments import dpdk
from hashmvt.experiments.matching import (
    Exact,
    ExactMatcher,
    Lookups,
    Matcher,
    Structure,
    Traffic,
)
from hashmvt.experiments.tables import Table, read

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from hashmvt.experiments.cost import Cost

_LOOKUPS = 1 << 20
_CACHE_LINES = 1 << 16
_FLOWS = "65536,1048576"
_MAX_FLOWS = 1 << 26


@dataclass(frozen=True, slots=True)
class _Result:
    """One structure on one table or number of flows, one kind of traffic."""

    kind: str
    """``prefixes`` or ``flows``."""
    table: str
    entries: int
    structure: str
    batch: bool
    cache_lines: int
    traffic: str
    memory_bytes: int
    costs: list[Cost] = field(default_factory=list)

    @property
    def name(self) -> str:
        cache = f", cache {number(self.cache_lines)}" if self.cache_lines else ""
        return f"{self.structure}{', batch' if self.batch else ''}{cache}"

    @property
    def ns(self) -> Spread:
        return Spread.of([cost.ns for cost in self.costs])

    @property
    def clocks(self) -> Spread:
        return Spread.of([cost.clocks for cost in self.costs])


@click.command("match")
@table_argument
@click.option(
    "--lookups",
    type=click.IntRange(1, 1 << 28),
    default=_LOOKUPS,
    metavar="N",
    help="Addresses looked up in a run; Zipf ranks as many.",
)
@click.option(
    "--cache-lines",
    type=click.IntRange(1, 1 << 24),
    default=_CACHE_LINES,
    metavar="N",
    help="Of the state cache where it is on, a power of two.",
)
@click.option(
    "--flows",
    type=NumbersType("flows", _MAX_FLOWS, "65536,1048576"),
    default=_FLOWS,
    metavar="N,N,...",
    help="Sizes of the tables of exact flows.",
)
@click.option(
    "--dpdk/--no-dpdk",
    "with_dpdk",
    default=None,
    help="With DPDK's DIR-24-8 and hash table; default: where it was built in.",
)
@measurement_options(PAPER_RUNS)
def command(
    *,
    tables: tuple[Path, ...],
    lookups: int,
    cache_lines: int,
    flows: tuple[int, ...],
    with_dpdk: bool | None,
    runs: int,
    seed: int,
    as_json: bool,
    plot_dir: Path | None,
) -> int:
    """Measure longest match in routing tables, and exact flows.

    The paper's mode and the default mode, one address at a time with and without the state cache
    and 256 at a time, beside DIR-24-8 of DPDK (rte_fib); HashMVT's index of flows beside DPDK's
    rte_hash. A TABLE has one prefix a line (an origin AS may follow); gzip is recognised. All
    structures see the same addresses, in turn, and must find the same.
    """
    if cache_lines & (cache_lines - 1):
        raise click.BadParameter(f"{cache_lines} is no power of two", param_hint="--cache-lines")
    plots = Plots(plot_dir) if plot_dir else None
    note = _dpdk_note(with_dpdk)
    results: list[_Result] = []
    different = 0
    read_tables = [read(path) for path in tables]
    with progress(runs * (len(read_tables) + len(flows))) as step:
        for one in read_tables:
            found, wrong = _prefixes(
                one, lookups, cache_lines, runs=runs, seed=seed, with_dpdk=not note, step=step
            )
            results += found
            different += wrong
        for n in flows:
            found, wrong = _flows(n, lookups, runs=runs, seed=seed, with_dpdk=not note, step=step)
            results += found
            different += wrong
    if as_json:
        write_results([_json(result, runs) for result in results])
    else:
        click.echo(_text(results, runs))
    if plots:
        _plot(plots, results)
    if note and with_dpdk is None:
        say(f"DPDK was left out: {note}")
    if different:
        say(f"{different} runs found something else than the first structure: a defect")
        return FAILED
    return DONE


def _dpdk_note(wanted: bool | None) -> str:
    """Return why DPDK is left out; empty when it takes part."""
    if wanted is False:
        return "not asked for"
    try:
        dpdk.version()
    except dpdk.MissingError as error:
        if wanted:
            raise
        return str(error)
    return ""


def _prefixes(
    one: Table,
    n: int,
    cache_lines: int,
    *,
    runs: int,
    seed: int,
    with_dpdk: bool,
    step: Callable[[], None],
) -> tuple[list[_Result], int]:
    """Measure every structure on a table, in turn; return results and how many runs differed."""
    cases = [
        (structure, batch, lines)
        for structure in (Structure.PAPER, Structure.DEFAULT)
        for batch, lines in ((False, 0), (False, cache_lines), (True, 0))
    ]
    if with_dpdk:
        cases += [(Structure.DPDK_FIB, False, 0), (Structure.DPDK_FIB, True, 0)]
    with ExitStack() as held:
        matchers = [
            held.enter_context(
                closing(Matcher(structure, one, batch=batch, cache_lines=lines, seed=seed))
            )
            for structure, batch, lines in cases
        ]
        results = [
            _Result(
                kind="prefixes",
                table=one.name,
                entries=len(one.prefixes),
                structure=m.structure.value,
                batch=m.batch,
                cache_lines=m.cache_lines,
                traffic=traffic.value,
                memory_bytes=m.memory_bytes,
            )
            for traffic in Traffic
            for m in matchers
        ]
        different = 0
        for turn in range(runs):
            row = iter(results)
            for traffic in Traffic:
                addresses = Lookups(one, traffic, n, seed=seed + turn)
                right: bytes | None = None
                for matcher in matchers:
                    cost, found = matcher.look_up(addresses)
                    right = right or found
                    different += found != right
                    next(row).costs.append(cost)
            step()
    return results, different


def _flows(
    n: int, lookups: int, *, runs: int, seed: int, with_dpdk: bool, step: Callable[[], None]
) -> tuple[list[_Result], int]:
    """The same for exact flows."""
    structures = [Exact.INDEX, *([Exact.RTE_HASH] if with_dpdk else [])]
    with ExitStack() as held:
        matchers = [
            held.enter_context(closing(ExactMatcher(structure, n, seed=seed)))
            for structure in structures
        ]
        results = [
            _Result(
                kind="flows",
                table="",
                entries=n,
                structure=m.structure.value,
                batch=True,
                cache_lines=0,
                traffic=Traffic.UNIFORM.value,
                memory_bytes=m.memory_bytes,
            )
            for m in matchers
        ]
        different = 0
        for turn in range(runs):
            right: bytes | None = None
            for matcher, result in zip(matchers, results, strict=True):
                cost, found = matcher.look_up(lookups, seed=seed + turn)
                right = right or found
                different += found != right
                result.costs.append(cost)
            step()
    return results, different


def _text(results: Sequence[_Result], runs: int) -> str:
    rows = [
        (
            result.table or "flows",
            number(result.entries),
            result.traffic,
            result.name,
            f"{result.ns.median:.1f}",
            f"{result.ns.least:.1f}-{result.ns.most:.1f}",
            f"{result.clocks.median:.0f}",
            size(result.memory_bytes),
        )
        for result in results
    ]
    columns = [
        Column("table", right=False),
        Column("entries"),
        Column("traffic", right=False),
        Column("structure", right=False),
        Column("ns/lookup"),
        Column("min-max"),
        Column("clocks"),
        Column("memory"),
    ]
    pages = ""
    if any(result.structure.startswith("dpdk") for result in results):
        pages = f"; {dpdk.version()} in {'2 MiB' if dpdk.huge_pages() else 'ordinary'} pages"
    return f"{heading(runs)}{pages}\n{table(columns, rows)}"


def _json(result: _Result, runs: int) -> Json:
    return {
        "kind": result.kind,
        "table": result.table,
        "entries": result.entries,
        "structure": result.structure,
        "batch": result.batch,
        "cache_lines": result.cache_lines,
        "traffic": result.traffic,
        "runs": runs,
        **result.ns.json("ns_per_lookup"),
        **result.clocks.json("clocks_per_lookup"),
        "memory_bytes": result.memory_bytes,
    }


def _plot(plots: Plots, results: Sequence[_Result]) -> None:
    prefixes = [result for result in results if result.kind == "prefixes"]
    for one in dict.fromkeys(result.table for result in prefixes):
        mine = [result for result in prefixes if result.table == one]
        series = [
            (name, [r.ns for r in mine if r.name == name])
            for name in dict.fromkeys(r.name for r in mine)
        ]
        axes = Axes(f"Longest match, {one}", "addresses", "ns per lookup", log_y=True)
        plots.bars(f"match-{one}", axes, [traffic.value for traffic in Traffic], series)
    flows = [result for result in results if result.kind == "flows"]
    series = [
        (name, [r.ns for r in flows if r.name == name])
        for name in dict.fromkeys(r.name for r in flows)
    ]
    groups = [number(n) for n in dict.fromkeys(r.entries for r in flows)]
    plots.bars("match-flows", Axes("Exact flows", "flows", "ns per lookup"), groups, series)

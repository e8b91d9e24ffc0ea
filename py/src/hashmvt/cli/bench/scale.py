# SPDX-License-Identifier: Apache-2.0
"""``hashmvt bench scale``: shards against one shared pool (the paper's figure 8a)."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from hashmvt.cli import DONE, FAILED, say
from hashmvt.cli.bench.common import (
    PAPER_RUNS,
    Spread,
    heading,
    measurement_options,
    progress,
    write_results,
)
from hashmvt.cli.bench.nat import default_config
from hashmvt.cli.bench.plot import Axes, Line, Plots
from hashmvt.cli.machine import this_machine
from hashmvt.cli.output import Column, Json, plural, table
from hashmvt.dataplane.embedded import engine_settings, stepped
from hashmvt.experiments.scaling import (
    UNDISTURBED,
    AgentParts,
    Case,
    Meter,
    Nat,
    Run,
    Trace,
    agent_parts,
    heartbeat_s,
    trace,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_MAX_INSTANCES = 64
_FLOWS = 65536
_NEW = 82
_BATCHES = 256
_TRACED_FLOWS = 1024
_TRACED_BATCHES = 2
_HEARTBEATS = 200
_PARTS = ("mailbox", "load", "sweep")


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

    @property
    def disturbed(self) -> int:
        """Runs that others disturbed however often they were tried."""
        return sum(run.disturbed > UNDISTURBED for run in self.runs)


@dataclass(frozen=True, slots=True)
class _Agent:
    """What agent and instances do for each other, as shares of an instance's core."""

    turns: Sequence[AgentParts]
    heartbeats: Spread
    """CPU microseconds of one for all instances; one a second."""

    def clocks(self, part: str) -> Spread:
        return Spread.of([float(getattr(turn, part)) for turn in self.turns])

    def shares(self) -> dict[str, float]:
        found = {part: self.clocks(part).median / self.clocks("turn").median for part in _PARTS}
        return {**found, "heartbeat": self.heartbeats.median / 1e6}


@click.command("scale")
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
    metavar="N",
    help="Mappings of each instance, made before.",
)
@click.option(
    "--new",
    "new_per_1024",
    type=click.IntRange(0, 1024),
    default=_NEW,
    metavar="N",
    help="Of 1,024 packets, how many open a flow: 8 % as in a mix of many sites.",
)
@click.option(
    "--batches",
    type=click.IntRange(1, 1 << 16),
    default=_BATCHES,
    metavar="N",
    help="Batches of 256 packets in a run, of the instance that is done first.",
)
@click.option(
    "--trace/--no-trace",
    "traced",
    default=True,
    help="Count instructions, and lines of memory that two instances share.",
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
    cost of sharing from everything else. Each instance writes its own packets. Arithmetic without
    memory tells how far the CPUs themselves are so many. Ratios are of runs of the same round; a
    run that others disturb is tried again. The trace runs two instances in turn, an instruction at
    a time, and counts the cache lines that both write, or one writes and the other reads. At the
    end, what the agent takes of an instance's core. The paper's figure 8a.
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
    meter = Meter(most)
    parts: list[AgentParts] = []
    with progress(runs * len(results)) as step:
        for turn in range(runs):
            parts.append(agent_parts(results[0].case, seed=seed + turn))
            for result in results:
                result.runs.append(meter.measure(result.case, seed=seed + turn))
                step()
    settings = stepped(engine_settings(default_config()), instances=most)
    beats = [1e6 * heartbeat_s(settings, times=_HEARTBEATS) for _turn in range(runs)]
    agent = _Agent(parts, Spread.of(beats))
    if as_json:
        write_results([*(_json(result, results, runs) for result in results), *_agent_json(agent)])
    else:
        click.echo(f"{_text(results, runs)}\n{_agent_text(agent)}")
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


def _speedups(result: _Result, results: Sequence[_Result]) -> list[float]:
    """Return throughput over that of one instance of the same NAT, round by round."""
    one = next(r for r in results if r.case.nat is result.case.nat and r.case.instances == 1)
    return [run.mpps / alone.mpps for run, alone in zip(result.runs, one.runs, strict=True)]


def _of_cpus(result: _Result, results: Sequence[_Result]) -> list[float]:
    """Return the speedups over those of arithmetic alone, which are what the CPUs give."""
    cpus = next(
        r for r in results if r.case.nat is Nat.NONE and r.case.instances == result.case.instances
    )
    pairs = zip(_speedups(result, results), _speedups(cpus, results), strict=True)
    return [ours / theirs for ours, theirs in pairs]


def _agent_text(agent: _Agent) -> str:
    rows = [
        (part, f"{agent.clocks(part).median:.0f} clocks a turn", f"{100 * share:.3f}")
        if part in _PARTS
        else (part, f"{agent.heartbeats.median:.0f} us a second", f"{100 * share:.3f}")
        for part, share in agent.shares().items()
    ]
    rows.append(("all", "", f"{100 * sum(agent.shares().values()):.3f}"))
    columns = [Column("the agent's part", right=False), Column("cost"), Column("% of a core")]
    turn = agent.clocks("turn").median
    return f"a turn of an instance's loop is 256 packets, {turn:.0f} clocks\n{table(columns, rows)}"


def _agent_json(agent: _Agent) -> list[Json]:
    return [
        {
            "agent": part,
            "share_of_core": round(share, 7),
            "clocks_per_turn": round(agent.clocks(part).median, 1) if part in _PARTS else None,
            "turn_clocks": round(agent.clocks("turn").median, 1),
            "us_per_second": None if part in _PARTS else round(agent.heartbeats.median, 1),
        }
        for part, share in agent.shares().items()
    ]


def _text(results: Sequence[_Result], runs: int) -> str:
    rows = []
    for result in results:
        times = Spread.of(_speedups(result, results))
        rows.append(
            (
                result.case.nat.value,
                str(result.case.instances),
                f"{result.mpps.median:.2f}",
                f"{result.mpps.least:.2f}-{result.mpps.most:.2f}",
                f"{times.median:.2f}",
                f"{times.least:.2f}-{times.most:.2f}",
                f"{statistics.median(_of_cpus(result, results)):.2f}",
                f"{result.clocks.median:.0f}",
                str(result.disturbed),
                f"{result.trace.instructions:.0f}" if result.trace else "-",
                str(result.trace.both) if result.trace else "-",
                str(result.trace.across) if result.trace else "-",
            )
        )
    columns = [
        Column("nat", right=False),
        Column("instances"),
        Column("Mpps"),
        Column("min-max"),
        Column("times one"),
        Column("min-max"),
        Column("of the CPUs"),
        Column("clocks/packet"),
        Column("disturbed"),
        Column("instructions"),
        Column("lines written by 2"),
        Column("by 1, read by 1"),
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
        **Spread.of(_speedups(result, results)).json("times_one", 3),
        **Spread.of(_of_cpus(result, results)).json("times_one_over_arithmetic", 3),
        **result.clocks.json("clocks_per_packet"),
        "disturbed": round(max(run.disturbed for run in result.runs), 4),
        "disturbed_runs": result.disturbed,
        "packets": sum(run.packets for run in result.runs),
        "wrong": result.wrong,
        "instructions_per_packet": None,
        "lines_written": None,
        "lines_written_by_two": None,
        "lines_written_by_one_read_by_the_other": None,
    }
    if result.trace:
        row["instructions_per_packet"] = round(result.trace.instructions, 1)
        row["lines_written"] = sum(result.trace.lines) - result.trace.both
        row["lines_written_by_two"] = result.trace.both
        row["lines_written_by_one_read_by_the_other"] = result.trace.across
    return row


def _plot(plots: Plots, results: Sequence[_Result]) -> None:
    lines = []
    for nat in Nat:
        if nat is Nat.NONE:
            continue
        mine = [result for result in results if result.case.nat is nat]
        lines.append(Line(nat.value, [r.case.instances for r in mine], [r.mpps for r in mine]))
    ticks = [line.case.instances for line in results if line.case.nat is Nat.HASHMVT]
    plots.lines("scale", Axes("Throughput", "instances", "Mpps", ticks=ticks), lines)

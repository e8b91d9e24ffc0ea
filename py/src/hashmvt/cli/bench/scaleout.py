# SPDX-License-Identifier: Apache-2.0
"""``hashmvt bench scaleout``: throughput over time with a scale-out (the paper's figure 8b)."""

from __future__ import annotations

import statistics
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hashmvt.cli import DONE, say
from hashmvt.cli.bench.common import (
    Spread,
    heading,
    measurement_options,
    progress,
    terminable,
    write_results,
)
from hashmvt.cli.bench.plot import Axes, Line, Plots
from hashmvt.cli.machine import this_machine
from hashmvt.cli.output import Column, Json, number, plural, table
from hashmvt.cli.ranges import FloatRange
from hashmvt.experiments.mixes import Mix
from hashmvt.experiments.scaleout import UNDISTURBED, Plan, Run, Sample, run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_MAX_INSTANCES = 64
_PERCENT = FloatRange(1, 200)
_FIGURES = ("offered", "translated", "lost", "refused")


@click.command("scaleout")
@click.argument(
    "capture",
    metavar="[CAPTURE]",
    required=False,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option(
    "--instances",
    type=click.IntRange(1, _MAX_INSTANCES),
    metavar="N",
    help="At most; default: as many as there are CPUs.",
)
@click.option(
    "--start",
    type=click.IntRange(1, _MAX_INSTANCES),
    default=1,
    metavar="N",
    help="Instances at the start.",
)
@click.option("--seconds", type=FloatRange(1, 3600), default=30.0, metavar="S", help="Of a run.")
@click.option(
    "--least",
    type=_PERCENT,
    default=80.0,
    metavar="PERCENT",
    help="Lowest rate, of what all instances can do.",
)
@click.option("--most", type=_PERCENT, default=100.0, metavar="PERCENT", help="Highest rate.")
@click.option(
    "--period",
    type=FloatRange(1, 3600),
    default=10.0,
    metavar="S",
    help="From the lowest rate to the highest and back.",
)
@click.option(
    "--lifetime",
    type=FloatRange(0.5, 3600),
    default=2.0,
    metavar="S",
    help="Of a host and its flows, until another one comes.",
)
@click.option(
    "--interval",
    type=FloatRange(0.1, 60),
    default=0.5,
    metavar="S",
    help="Between two points.",
)
@measurement_options(runs=3)
def command(
    *,
    capture: Path | None,
    instances: int | None,
    start: int,
    seconds: float,
    least: float,
    most: float,
    period: float,
    lifetime: float,
    interval: float,
    runs: int,
    seed: int,
    as_json: bool,
    plot_dir: Path | None,
) -> int:
    """Measure throughput over time while the rate varies and instances are added.

    First in each run, what all instances do when they get all they take. Then, with the instances
    of the start, the rate goes up and down between two shares of that; agent and coordinator watch
    the load as they always do, and scale out. Figures are relative to what all could do in the same
    run; where others had a tenth of a CPU, the run is left out of that point. The mix of flows is
    that of a CAPTURE (pcap or pcapng; gzip is recognised), else one that is made up; packets have
    64 bytes. The paper's figure 8b.
    """
    cpus = this_machine().cpus
    all_of_them = instances or min(cpus, _MAX_INSTANCES)
    if start > all_of_them:
        raise click.BadParameter(
            f"{start} is more than --instances {all_of_them}", param_hint="--start"
        )
    if least > most:
        raise click.BadParameter(f"{least:g} is above --most {most:g}", param_hint="--least")
    plots = Plots(plot_dir) if plot_dir else None
    plan = Plan(
        instances=all_of_them,
        start=start,
        seconds=seconds,
        least=least / 100,
        most=most / 100,
        period_s=period,
        lifetime_s=lifetime,
        interval_s=interval,
    )
    with (
        terminable(),
        closing(Mix.read(capture) if capture else Mix.make(seed=seed)) as mix,
        progress(runs * round(seconds / interval)) as step,
    ):
        found = [run(plan, mix, step) for _turn in range(runs)]
    if as_json:
        write_results(_json(mix, plan, found))
    else:
        click.echo(_text(mix, plan, found))
    if plots:
        _plot(plots, plan, found)
    if all_of_them > cpus:
        say(f"{all_of_them} instances share {plural(cpus, 'CPU')}: these figures are no scaling")
    return DONE


@dataclass(frozen=True, slots=True)
class _Point:
    """The samples of all runs at one time, each with what its run could do."""

    seen: Sequence[tuple[Sample, float]]

    @property
    def undisturbed(self) -> Sequence[tuple[Sample, float]]:
        """Those that others did not disturb; all where there is none."""
        return [one for one in self.seen if one[0].disturbed <= UNDISTURBED] or self.seen

    def of(self, figure: Callable[[Sample], float]) -> Spread:
        return Spread.of([figure(sample) for sample, _capacity in self.undisturbed])

    def percent(self, figure: Callable[[Sample], float]) -> Spread:
        """Of what all instances could do in the same run."""
        return Spread.of([100 * figure(sample) / all_ for sample, all_ in self.undisturbed])


def _points(found: Sequence[Run]) -> list[_Point]:
    """Return the points of all runs: a run may end with one more or less."""
    rows = zip(*([(one, run.capacity) for one in run.samples] for run in found), strict=False)
    return [_Point(row) for row in rows]


def _capacity(found: Sequence[Run]) -> Spread:
    return Spread.of([one.capacity / 1e6 for one in found])


def _rate(name: str) -> Callable[[Sample], float]:
    return lambda sample: float(getattr(sample, name))


def _mpps(name: str) -> Callable[[Sample], float]:
    return lambda sample: float(getattr(sample, name)) / 1e6


def _text(mix: Mix, plan: Plan, found: Sequence[Run]) -> str:
    rows = []
    for point in _points(found):
        done, each = point.percent(_rate("translated")), point.percent
        rows.append(
            (
                f"{point.of(lambda s: s.at_s).median:.1f}",
                f"{100 * point.of(lambda s: s.share).median:.0f}",
                f"{each(_rate('offered')).median:.1f}",
                f"{done.median:.1f}",
                f"{done.least:.1f}-{done.most:.1f}",
                f"{each(_rate('lost')).median:.1f}",
                f"{point.of(_mpps('translated')).median:.2f}",
                f"{point.of(lambda s: s.active).median:g}",
                str(len(point.seen) - len(point.undisturbed)),
            )
        )
    columns = [
        Column("second"),
        Column("rate %"),
        Column("offered %"),
        Column("translated %"),
        Column("min-max"),
        Column("lost %"),
        Column("translated Mpps"),
        Column("instances"),
        Column("left out"),
    ]
    steps = "\n".join(f"{event.at_s:6.2f} s  {event.text}" for event in found[0].events)
    best = _capacity(found)
    return (
        f"{heading(len(found))}\n"
        f"{mix.name}: {number(mix.packets)} packets, {number(mix.flows)} flows, "
        f"{number(mix.hosts)} hosts; 100 %: {plural(plan.instances, 'instance')} can do "
        f"{best.median:.2f} Mpps ({best.least:.2f}-{best.most:.2f})\n"
        f"{table(columns, rows)}"
        + (f"\nsteps of the coordinator, first run:\n{steps}" if steps else "")
    )


def _json(mix: Mix, plan: Plan, found: Sequence[Run]) -> list[Json]:
    results: list[Json] = [
        {
            "kind": "capacity",
            "mix": mix.name,
            "packets": mix.packets,
            "flows": mix.flows,
            "hosts": mix.hosts,
            "instances": plan.instances,
            "runs": len(found),
            **_capacity(found).json("mpps", 3),
        }
    ]
    for point in _points(found):
        row: dict[str, Json] = {
            "kind": "point",
            "second": round(point.of(lambda s: s.at_s).median, 3),
            "rate": round(point.of(lambda s: s.share).median, 4),
            **point.of(lambda s: s.active).json("instances", 1),
            "left_out": len(point.seen) - len(point.undisturbed),
        }
        for name in _FIGURES:
            row.update(point.of(_mpps(name)).json(f"{name}_mpps", 3))
            row.update(point.percent(_rate(name)).json(f"{name}_percent", 2))
        results.append(row)
    for n, one in enumerate(found):
        results += [
            {"kind": "step", "run": n, "second": round(event.at_s, 3), "text": event.text}
            for event in one.events
        ]
    return results


def _marks(found: Sequence[Run]) -> list[tuple[float, str]]:
    """Return when the first scale-out begins and ends: medians of the runs that saw it."""
    marks = []
    for end, label in ((": begun", "scale-out begins"), (": done", "done")):
        firsts = [
            next((event.at_s for event in one.events if end in event.text), None) for one in found
        ]
        seconds = [at for at in firsts if at is not None]
        if seconds:
            marks.append((statistics.median(seconds), label))
    return marks


def _plot(plots: Plots, plan: Plan, found: Sequence[Run]) -> None:
    points = _points(found)
    seconds = [point.of(lambda s: s.at_s).median for point in points]
    lines = [
        Line(name, seconds, [point.percent(_rate(name)) for point in points])
        for name in ("offered", "translated")
    ]
    if plan.start < plan.instances:
        lines += [
            Line(
                f"by instance {i}",
                seconds,
                [point.percent(lambda s, i=i: s.by_instance[i]) for point in points],  # type: ignore[misc]
            )
            for i in range(min(plan.instances, 4))
        ]
    axes = Axes(
        f"Rate {100 * plan.least:g} to {100 * plan.most:g} % of {_capacity(found).median:.1f} Mpps",
        "seconds",
        f"% of what {plural(plan.instances, 'instance')} can do",
        marks=_marks(found),
    )
    plots.lines("scaleout", axes, lines)

# SPDX-License-Identifier: Apache-2.0
"""``hashmvt bench scaleout``: throughput over time with a scale-out (the paper's figure 8b)."""

from __future__ import annotations

from contextlib import closing
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
from hashmvt.experiments.scaleout import Plan, Run, Sample, capacity, run

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

    First, what all instances do when they get all they take. Then, with the instances of the
    start, the rate goes up and down between two shares of that; agent and coordinator watch
    the load as they always do, and scale out. The mix of flows is that of a CAPTURE (pcap or
    pcapng; gzip is recognised), else one that is made up; packets have 64 bytes. The paper's
    figure 8b.
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
    found, capacities = [], []
    with (
        terminable(),
        closing(Mix.read(capture) if capture else Mix.make(seed=seed)) as mix,
        progress(runs * round(seconds / interval)) as step,
    ):
        for _turn in range(runs):
            capacities.append(capacity(plan, mix))
            found.append(run(plan, mix, capacities[-1], step))
    best = Spread.of([one / 1e6 for one in capacities])
    if as_json:
        write_results(_json(mix, plan, best, found))
    else:
        click.echo(_text(mix, plan, best, found))
    if plots:
        _plot(plots, plan, best, found)
    if all_of_them > cpus:
        say(f"{all_of_them} instances share {plural(cpus, 'CPU')}: these figures are no scaling")
    return DONE


def _points(found: Sequence[Run]) -> list[list[Sample]]:
    """Return the samples of all runs, point by point: a run may end with one more or less."""
    return [list(point) for point in zip(*(one.samples for one in found), strict=False)]


def _of(point: Sequence[Sample], figure: Callable[[Sample], float]) -> Spread:
    return Spread.of([figure(sample) for sample in point])


def _mpps(point: Sequence[Sample], name: str) -> Spread:
    return _of(point, lambda sample: float(getattr(sample, name)) / 1e6)


def _text(mix: Mix, plan: Plan, best: Spread, found: Sequence[Run]) -> str:
    rows = []
    for point in _points(found):
        offered, lost = _mpps(point, "offered").median, _mpps(point, "lost").median
        done = _mpps(point, "translated")
        rows.append(
            (
                f"{_of(point, lambda s: s.at_s).median:.1f}",
                f"{100 * _of(point, lambda s: s.share).median:.0f}",
                f"{offered:.2f}",
                f"{done.median:.2f}",
                f"{done.least:.2f}-{done.most:.2f}",
                f"{100 * lost / offered if offered else 0.0:.1f}",
                f"{_of(point, lambda s: s.active).median:g}",
            )
        )
    columns = [
        Column("second"),
        Column("rate %"),
        Column("offered Mpps"),
        Column("translated"),
        Column("min-max"),
        Column("lost %"),
        Column("instances"),
    ]
    steps = "\n".join(f"{event.at_s:6.2f} s  {event.text}" for event in found[0].events)
    return (
        f"{heading(len(found))}\n"
        f"{mix.name}: {number(mix.packets)} packets, {number(mix.flows)} flows, "
        f"{number(mix.hosts)} hosts; {plural(plan.instances, 'instance')} can do "
        f"{best.median:.2f} Mpps ({best.least:.2f}-{best.most:.2f})\n"
        f"{table(columns, rows)}"
        + (f"\nsteps of the coordinator, first run:\n{steps}" if steps else "")
    )


def _json(mix: Mix, plan: Plan, best: Spread, found: Sequence[Run]) -> list[Json]:
    results: list[Json] = [
        {
            "kind": "capacity",
            "mix": mix.name,
            "packets": mix.packets,
            "flows": mix.flows,
            "hosts": mix.hosts,
            "instances": plan.instances,
            "runs": len(found),
            **best.json("mpps", 3),
        }
    ]
    for point in _points(found):
        row: dict[str, Json] = {
            "kind": "point",
            "second": round(_of(point, lambda s: s.at_s).median, 3),
            "rate": round(_of(point, lambda s: s.share).median, 4),
            **_of(point, lambda s: s.active).json("instances", 1),
        }
        for name in _FIGURES:
            row.update(_mpps(point, name).json(f"{name}_mpps", 3))
        results.append(row)
    for n, one in enumerate(found):
        results += [
            {"kind": "step", "run": n, "second": round(event.at_s, 3), "text": event.text}
            for event in one.events
        ]
    return results


def _plot(plots: Plots, plan: Plan, best: Spread, found: Sequence[Run]) -> None:
    points = _points(found)
    seconds = [_of(point, lambda s: s.at_s).median for point in points]
    lines = [
        Line("offered", seconds, [_mpps(point, "offered") for point in points]),
        Line("translated", seconds, [_mpps(point, "translated") for point in points]),
    ]
    if plan.start < plan.instances:
        lines += [
            Line(
                f"by instance {i}",
                seconds,
                [_of(point, lambda s, i=i: s.by_instance[i] / 1e6) for point in points],  # type: ignore[misc]
            )
            for i in range(min(plan.instances, 4))
        ]
    marks = [
        (event.at_s, "scale-out begins" if "begun" in event.text else "done")
        for event in found[0].events
        if "begun" in event.text or event.text.endswith("done")
    ]
    title = f"Rate {100 * plan.least:g} to {100 * plan.most:g} % of {best.median:.1f} Mpps"
    plots.lines("scaleout", Axes(title, "seconds", "Mpps", marks=marks), lines)

# SPDX-License-Identifier: Apache-2.0
"""``hashmvt top``: a live view."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from hashmvt.cli import Failed, connection
from hashmvt.cli.output import number, percent, plural
from hashmvt.cli.ranges import FloatRange
from hashmvt.cli.rates import Rates, between
from hashmvt.model import InstanceState

if TYPE_CHECKING:
    from pathlib import Path

    from hashmvt.dataplane import Dataplane
    from hashmvt.model import Snapshot

_HIGH, _FULL = 0.6, 0.8
_TITLES = (
    "load",
    "out/s",
    "in/s",
    "new/s",
    "drop/s",
    "mappings",
    "full",
    "free",
)


@click.command("top")
@connection.options
@click.option(
    "--interval",
    metavar="S",
    type=FloatRange(0.1, 60),
    default=1.0,
    help="Seconds between two views.",
)
@click.option(
    "--views",
    metavar="N",
    type=click.IntRange(1),
    default=None,
    help="End after N views; without it Ctrl-C ends.",
)
def command(
    socket_path: Path | None, config_path: Path | None, interval: float, views: int | None
) -> None:
    """Show instances, load and traffic of a running agent or coordinator, live.

    Load is busy cycles over all cycles of the instance's thread. Needs a terminal; in a pipe use
    `hashmvt show instances`.
    """
    if not sys.stdout.isatty():
        raise Failed("top needs a terminal; use 'hashmvt show instances --json' in a pipe")

    async def work(dataplane: Dataplane) -> None:
        left = views
        before = await dataplane.snapshot()
        console = Console()
        with Live(console=console, auto_refresh=False, screen=views is None) as live:
            while left is None or left > 0:
                await asyncio.sleep(interval)
                after = await dataplane.snapshot()
                live.update(view(before, after, dataplane.capabilities.host), refresh=True)
                before = after
                left = None if left is None else left - 1

    with contextlib.suppress(KeyboardInterrupt):
        connection.with_dataplane(socket_path, config_path, work)


def view(before: Snapshot, after: Snapshot, host: str) -> RenderableType:
    """Return what happened between two snapshots, for a terminal."""
    rates = between(before, after)
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="bold")
    for title in ("instance", "state"):
        table.add_column(title, no_wrap=True)
    for title in _TITLES:
        table.add_column(title, justify="right", no_wrap=True)
    spare = 0
    for one in after.instances:
        if one.state is InstanceState.SPARE and not one.gauges.blocks:
            spare += 1
            continue
        rate = rates.get(one.id, Rates(None))
        gauges = one.gauges
        full = gauges.mappings / gauges.max_mappings if gauges.max_mappings else 0.0
        table.add_row(
            f"{host}/{one.id}",
            one.state.name.lower(),
            _load(rate.load),
            number(rate.in2out),
            number(rate.out2in),
            number(rate.created),
            Text(number(rate.dropped), style="red" if rate.dropped else ""),
            number(gauges.mappings),
            percent(full),
            number(gauges.blocks_free),
        )
    every = rates.values()
    total = (
        f"{number(sum(r.in2out for r in every))} packets/s out, "
        f"{number(sum(r.out2in for r in every))} in, "
        f"{plural(sum(i.gauges.mappings for i in after.instances), 'mapping')}, "
        f"home map {after.home_version}, rules {after.rules_version}"
    )
    return Group(
        Text(f"HashMVT on {host}", style="bold"),
        table,
        Text(total + (f", {spare} spare" if spare else "")),
    )


def _load(load: float | None) -> Text:
    if load is None:
        return Text("-")
    style = "green" if load < _HIGH else "yellow" if load < _FULL else "red"
    return Text(percent(load), style=style)

# SPDX-License-Identifier: Apache-2.0
"""Figures of ``hashmvt bench vpp``: clocks and Mpps of each NAT over the number of flows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from hashmvt.cli.bench.common import Spread
    from hashmvt.cli.bench.vpp import Row


def draw(rows: Sequence[Row], directory: Path) -> list[Path]:
    """Draw one figure for each protocol, direction and order; return the files."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        case = row.case
        key = (case.flows.proto.name.lower(), case.way.value, case.visit.value)
        groups.setdefault(key, []).append(row)
    directory.mkdir(parents=True, exist_ok=True)
    return [_figure(group, directory / f"vpp-{'-'.join(key)}.svg") for key, group in groups.items()]


def _figure(rows: Sequence[Row], path: Path) -> Path:
    figure, (clocks, mpps) = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    for nat in dict.fromkeys(row.case.nat for row in rows):
        mine = [row for row in rows if row.case.nat == nat]
        flows = [row.case.flows.count for row in mine]
        if any(row.nodes for row in mine):
            _line(clocks, nat, flows, (row.clocks for row in mine))
        _line(mpps, nat, flows, (row.mpps for row in mine))
    clocks.set_ylabel("clocks of all nodes that the NAT adds, per packet")
    mpps.set_ylabel("Mpps, whole path")
    for axes in (clocks, mpps):
        axes.set_xscale("log", base=2)
        axes.set_xlabel("flows")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(path.stem)
    figure.savefig(path)
    plt.close(figure)
    return path


def _line(axes: Axes, nat: str, flows: Sequence[int], spreads: Iterable[Spread]) -> None:
    """Draw medians with their spread."""
    found = list(spreads)
    below = [spread.median - spread.least for spread in found]
    above = [spread.most - spread.median for spread in found]
    axes.errorbar(
        flows, [s.median for s in found], [below, above], label=nat, marker="o", capsize=3
    )

# SPDX-License-Identifier: Apache-2.0
"""Plots of measurements, by matplotlib: an optional dependency that is imported when asked for.

Files are SVG and depend on the figures alone, so they can be kept in a repository.
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hashmvt.cli import Failed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hashmvt.cli.bench.common import Spread

_SIZE = (6.4, 4.0)  # inches
_BAR_WIDTH = 0.8


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a plot: medians, with least and most as error bars."""

    name: str
    x: Sequence[float]
    y: Sequence[Spread]


@dataclass(frozen=True, slots=True)
class Axes:
    """Title and axes of a plot."""

    title: str
    x: str
    y: str
    log_x: bool = False
    log_y: bool = False
    ticks: Sequence[float] = ()
    """Of the x axis; none: matplotlib's choice."""
    marks: Sequence[tuple[float, str]] = ()
    """Upright lines with what happened there."""


class Plots:
    """Writes plots to a folder, which it makes."""

    def __init__(self, folder: Path) -> None:
        """Import matplotlib.

        Raises:
            Failed: matplotlib is not installed.
            OSError: the folder cannot be made.

        """
        try:
            matplotlib = importlib.import_module("matplotlib")
        except ImportError:
            raise Failed(
                "--plot needs matplotlib, which is not installed: "
                f"{sys.executable} -m pip install 'hashmvt[plot]'"
            ) from None
        matplotlib.use("svg")
        matplotlib.rcParams["svg.hashsalt"] = "hashmvt"  # else names in the file are random
        matplotlib.rcParams["svg.fonttype"] = "none"
        self._pyplot = importlib.import_module("matplotlib.pyplot")
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def lines(self, name: str, axes: Axes, lines: Sequence[Line]) -> Path:
        """Write ``name.svg``: lines with error bars."""
        figure, ax = self._begin(axes)
        for line in lines:
            middle = [spread.median for spread in line.y]
            around = [
                [spread.median - spread.least for spread in line.y],
                [spread.most - spread.median for spread in line.y],
            ]
            marker = "o" if len(middle) <= 32 else None  # noqa: PLR2004
            bars = around if marker else None
            ax.errorbar(line.x, middle, bars, label=line.name, marker=marker, capsize=2, ms=4)
        if axes.ticks:
            ax.set_xticks(axes.ticks, [f"{tick:,g}" for tick in axes.ticks])
            ax.minorticks_off()
        for x, text in axes.marks:
            ax.axvline(x, color="gray", linewidth=0.8, linestyle="--")
            ax.annotate(text, (x, 1), xycoords=("data", "axes fraction"), rotation=90,
                        ha="right", va="top", fontsize="x-small", color="gray")  # fmt: skip
        return self._end(figure, ax, name)

    def bars(
        self, name: str, axes: Axes, groups: Sequence[str], series: Sequence[tuple[str, Any]]
    ) -> Path:
        """Write ``name.svg``: per group a bar of each series, whose values are spreads."""
        figure, ax = self._begin(axes)
        width = _BAR_WIDTH / len(series)
        for i, (label, spreads) in enumerate(series):
            at = [group + (i - (len(series) - 1) / 2) * width for group in range(len(groups))]
            around = [
                [spread.median - spread.least for spread in spreads],
                [spread.most - spread.median for spread in spreads],
            ]
            ax.bar(at, [s.median for s in spreads], width, yerr=around, label=label, capsize=2)
        ax.set_xticks(range(len(groups)), groups)
        return self._end(figure, ax, name, loc="upper left", bbox_to_anchor=(1, 1))  # beside bars

    def _begin(self, axes: Axes) -> tuple[Any, Any]:
        figure, ax = self._pyplot.subplots(figsize=_SIZE)
        ax.set_title(axes.title)
        ax.set_xlabel(axes.x)
        ax.set_ylabel(axes.y)
        if axes.log_x:
            ax.set_xscale("log", base=2)
        if axes.log_y:
            ax.set_yscale("log")
        return figure, ax

    def _end(self, figure: Any, ax: Any, name: str, **legend: Any) -> Path:
        ax.grid(alpha=0.3)
        ax.legend(fontsize="small", **legend)
        if ax.get_yscale() == "linear":
            ax.set_ylim(bottom=0)  # only now: it would have fixed the upper end too
        path = self._folder / f"{name}.svg"
        figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
        self._pyplot.close(figure)
        return path

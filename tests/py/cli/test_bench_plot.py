# SPDX-License-Identifier: Apache-2.0
"""The plots of ``hashmvt bench``: what was measured can be seen in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hashmvt.cli.bench.common import Spread
from hashmvt.cli.bench.plot import Axes, Line, Plots

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("matplotlib", reason="without matplotlib there are no plots")


@pytest.mark.parametrize("log_y", [False, True])
def test_every_point_is_within_the_axes(tmp_path: Path, log_y: bool) -> None:
    """Axes from 0 were fixed before the points were known, so all above 1 was cut off."""
    drawn = []
    for name, scale in (("small", 0.001), ("large", 1000.0)):
        spreads = [Spread(scale * n, scale * n, scale * n) for n in (1, 2, 3)]
        axes = Axes(name, "x", "y", log_y=log_y, marks=[(1.5, "here")])
        path = Plots(tmp_path).lines(name, axes, [Line("line", [1, 2, 3], spreads)])
        text = path.read_text()
        drawn.append(text[text.index("LineCollection") :].count("<use "))
        assert ">here<" in text
    assert drawn[0] == drawn[1] >= 3  # a marker each, besides ends of bars

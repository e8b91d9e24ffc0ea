# SPDX-License-Identifier: Apache-2.0
"""``hashmvt bench nat``: that it measures what it says, not how fast it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hashmvt.cli.bench.nat import Result as BenchResult
from hashmvt.cli.machine import this_machine
from hashmvt.dataplane.embedded.bench import Case, Run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.py.cli.conftest import Result

QUICK = ("--runs", "2", "--batches", "4")


def test_one_row_per_case(hashmvt: Callable[..., Result]) -> None:
    result = hashmvt("bench", "nat", "--flows", "512,1024", *QUICK, "--json")
    assert (result.code, result.err) == (0, "")
    rows = result.json["results"]
    assert [(r["flows"], r["direction"], r["order"]) for r in rows] == [
        (flows, direction, order)
        for flows in (512, 1024)
        for direction in ("in2out", "out2in")
        for order in ("random", "sequential")
    ] + [(512, "in2out", "new"), (1024, "in2out", "new")]
    for row in rows:
        assert row["nat"] == "hashmvt"
        assert row["proto"] == "udp"
        assert row["runs"] == 2
        assert row["wrong"] == 0
        assert 0 < row["clocks_per_packet_min"] <= row["clocks_per_packet"]
        assert row["clocks_per_packet"] <= row["clocks_per_packet_max"]
        assert 0 < row["mpps_min"] <= row["mpps"] <= row["mpps_max"]
        # 2 MiB are backed for mappings to come
        assert 64 < row["bytes_per_mapping"] < 2048 + (2 << 20) / row["flows"]
        pages = row["huge_pages"]
        assert 0 <= pages["reserved"] + pages["transparent"] <= 1
        if row["order"] == "new":
            assert row["touch_clocks"] is None
        else:
            assert 0 < row["touch_clocks_min"] <= row["touch_clocks"] <= row["touch_clocks_max"]
    machine = result.json["machine"]
    assert machine["cpus"] >= 1
    assert set(machine) >= {"cpu", "mhz", "kernel", "memory_bytes", "huge_pages_2m", "hashmvt"}


@pytest.mark.parametrize("proto", ["udp", "tcp"])
def test_cases_are_selected(hashmvt: Callable[..., Result], proto: str) -> None:
    rows = hashmvt(
        "bench", "nat", "--flows", "512", *QUICK, "--json", "--no-new",
        "--direction", "out2in", "--order", "sequential", "--proto", proto, "--remotes", "3",
    ).json["results"]  # fmt: skip
    assert [(r["direction"], r["order"], r["proto"], r["remotes"]) for r in rows] == [
        ("out2in", "sequential", proto, 3)
    ]


def test_sessions_are_measured_beside_the_default(hashmvt: Callable[..., Result]) -> None:
    rows = hashmvt(
        "bench", "nat", "--flows", "512", *QUICK, "--json", "--sessions", "--direction", "out2in"
    ).json["results"]
    assert [(r["proto"], r["filtering"], r["remotes"]) for r in rows] == [
        ("udp", "independent", 1),
        ("udp", "address", 1),
        ("udp", "address and port", 4),
        ("tcp", "independent", 1),
        ("tcp", "independent", 4),
        ("tcp", "address", 4),
    ]
    for row in rows:
        assert (row["direction"], row["order"], row["wrong"]) == ("out2in", "random", 0)
        share = row["clocks_per_packet"] / rows[0]["clocks_per_packet"]
        assert row["of_default"] == pytest.approx(share, rel=0.02)


def test_text_and_configuration(hashmvt: Callable[..., Result], config: Path) -> None:
    result = hashmvt("bench", "nat", "--flows", "512", *QUICK, "-c", config, "--order", "random")
    assert result.code == 0
    assert "clocks/packet" in result.out
    assert "median of 2 runs" in result.out
    assert "touch" in result.out


def test_figures_are_medians_with_their_spread() -> None:
    runs = [
        Run(c, p * 1e6, 256, 0, memory, t, resident_bytes=100, reserved_bytes=r)
        for c, p, memory, t, r in ((30, 9, 6400, 3, 90), (10, 5, 0, 2, 90), (20, 7, 0, 7, 0))
    ]
    found = BenchResult.of(Case(100), runs)
    assert (found.clocks.median, found.clocks.least, found.clocks.most) == (20, 10, 30)
    assert (found.mpps.median, found.mpps.least, found.mpps.most) == (7, 5, 9)
    assert (found.touch.median, found.touch.least, found.touch.most) == (3, 2, 7)
    assert found.bytes_per_mapping == 64
    assert (found.reserved, found.transparent) == (0.6, 0)
    assert found.packets == 768


def test_figures_of_wrong_packets_fail(
    hashmvt: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hashmvt.cli.bench.nat.measure", lambda *_a, **_k: Run(1, 1, 256, 3, 0))
    result = hashmvt("bench", "nat", "--flows", "512", "--runs", "1", "--no-new")
    assert result.code == 1
    assert "12 packets were not translated" in result.err


def test_the_machine_is_described() -> None:
    machine = this_machine()
    assert machine.cpus >= 1
    assert machine.memory_bytes > 1 << 20
    assert machine.kernel

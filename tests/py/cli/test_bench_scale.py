# SPDX-License-Identifier: Apache-2.0
"""``hashmvt bench scale``: that it measures what it says, not how fast."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from hashmvt.experiments import scaling
from hashmvt.experiments.scaling import UNDISTURBED, Case, Meter, Nat, Run, trace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hashmvt._ffi._mvt import CData
    from tests.py.cli.conftest import Result

QUICK = ("--flows", "512", "--batches", "8", "--runs", "2")


def test_one_row_per_nat_and_number(hashmvt: Callable[..., Result]) -> None:
    result = hashmvt("bench", "scale", *QUICK, "--instances", "2", "--no-trace", "--json")
    assert result.code == 0
    results = result.json["results"]
    rows = [row for row in results if "nat" in row]
    assert [(row["nat"], row["instances"]) for row in rows] == [
        (nat.value, n) for nat in Nat for n in (1, 2)
    ]
    for row in rows:
        assert row["wrong"] == 0
        fewest = row["runs"] * 8 * 256  # of the instance that is done first
        assert fewest <= row["packets"] <= row["instances"] * fewest
        assert row["disturbed_runs"] in {0, 1, 2}
        assert (row["disturbed"] > UNDISTURBED) == (row["disturbed_runs"] > 0)
        assert 0 < row["times_one_min"] <= row["times_one"] <= row["times_one_max"]
        assert 0 < row["mpps_min"] <= row["mpps"] <= row["mpps_max"]
        assert 0 < row["clocks_per_packet_min"] <= row["clocks_per_packet"]
        assert row["lines_written_by_two"] is None
        assert row["lines_written_by_one_read_by_the_other"] is None
        assert row["times_one"] == 1 or row["instances"] > 1
        assert row["times_one_over_arithmetic"] == 1 or row["nat"] != "arithmetic"
    agent = {row["agent"]: row for row in results if "agent" in row}
    assert list(agent) == ["mailbox", "load", "sweep", "heartbeat"]
    for row in agent.values():
        assert row["share_of_core"] >= 0
    assert agent["sweep"]["clocks_per_turn"] > 0
    assert agent["sweep"]["turn_clocks"] > 0
    assert agent["heartbeat"]["us_per_second"] > 0


@pytest.mark.parametrize("nat", [nat for nat in Nat if nat is not Nat.NONE])
def test_flows_are_made_as_asked(nat: Nat) -> None:
    meter = Meter(2)
    none = meter.measure(Case(nat, 2, 512, new_per_1024=0, batches=8), seed=3)
    assert (none.created, none.wrong) == (2 * 512, 0)
    all_new = meter.measure(Case(nat, 2, 512, new_per_1024=1024, batches=8), seed=3)
    assert (all_new.created, all_new.wrong) == (2 * 512 + all_new.packets, 0)


def _runs(monkeypatch: pytest.MonkeyPatch, *runs: tuple[float, int]) -> Meter:
    """Return a meter whose runs are disturbed by other threads, and last long, as is said."""
    meter, said = Meter(1), iter(runs)

    def run(c: CData) -> int:
        c.disturbed, c.probe = next(said)
        c.packets = c.probe
        return 0

    monkeypatch.setattr(scaling, "lib", SimpleNamespace(bench_scale=run))
    meter._best = {1: 1000}
    return meter


CASE = Case(Nat.NONE, 1, 512, new_per_1024=0, batches=8)


def test_a_disturbed_run_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """By other threads, and by who uses the other thread of the core."""
    run = _runs(monkeypatch, (0.2, 1000), (0.0, 1600), (0.002, 1001), (0, 1)).measure(CASE, seed=1)
    assert run.packets == 1001
    assert 0 < run.disturbed <= UNDISTURBED


def test_the_least_disturbed_run_counts_at_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "TRIES", 3)
    run = _runs(monkeypatch, (0.2, 1000), (0.0, 1600), (0.1, 1001), (0, 1)).measure(CASE, seed=1)
    assert run.packets == 1001
    assert run.disturbed == pytest.approx(0.1)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_shards_share_no_line_and_pools_do() -> None:
    """The control is the lock: what it does must show, although it leaves no trace in memory."""
    ours = trace(Case(Nat.HASHMVT, 2, 256, new_per_1024=82, batches=1), seed=3)
    if ours is None:
        pytest.skip("only x86-64 Linux can trace")
    assert (ours.both, ours.across) == (0, 0)
    assert min(ours.lines) > 32
    assert 50 < ours.instructions < 3000
    locked = trace(Case(Nat.LOCK, 2, 256, new_per_1024=82, batches=1), seed=3)
    assert locked is not None
    assert locked.both > 0


def test_figures_of_wrong_packets_fail(
    hashmvt: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Meter, "measure", lambda *_a, **_k: Run(1, 1, 0, 256, 9, 3))
    result = hashmvt("bench", "scale", "--instances", "1", "--runs", "1", "--no-trace")
    assert result.code == 1
    assert "15 packets were not translated" in result.err


def test_what_cannot_be_measured(hashmvt: Callable[..., Result]) -> None:
    result = hashmvt("bench", "scale", "--instances", "65")
    assert result.code == 2
    result = hashmvt(
        "bench", "scale", "--flows", "256", "--new", "1024", "--batches", "65536", "--instances",
        "1", "--no-trace", "--runs", "1",
    )  # fmt: skip
    assert result.code == 1
    assert "hashmvt: 1 instances with 256 flows cannot be measured: invalid argument" in result.err


def test_more_instances_than_cpus_is_said(
    hashmvt: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: {0})
    result = hashmvt("bench", "scale", *QUICK, "--instances", "2", "--no-trace", "--plot", tmp_path)
    assert result.code == 0
    assert "2 instances share 1 CPU: these figures are no scaling" in result.err
    assert [path.name for path in tmp_path.iterdir()] == ["scale.svg"]

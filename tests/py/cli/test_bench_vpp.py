# SPDX-License-Identifier: Apache-2.0
"""``hashmvt bench vpp``: what is made of samples, and when it fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hashmvt.bench.vpp.campaign import Findings
from hashmvt.bench.vpp.traffic import Flows
from hashmvt.bench.vpp.trial import Failure, Sample, Visit, Way
from hashmvt.cli.bench import vpp
from hashmvt.model import Proto
from hashmvt.private_vpp import SHARED_MEMORY, Installation, VppError, find_installation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.py.cli.conftest import Result

FLOWS = Flows(4096, Proto.UDP, 16)


def sample(nat: str, clocks: float, mpps: float, number: int = 1) -> Sample:
    nodes = {f"{nat}-in2out": clocks - 5, "reassembly": 5.0} if clocks else {}
    return Sample(nat, FLOWS, number, Way.IN2OUT, Visit.RANDOM, clocks, mpps, nodes)


SAMPLES = [
    replace(sample("plain", 0, 32, 1), disturbed=0.03),
    sample("nat44-ei", 80, 15, 1),
    sample("hashmvt", 40, 20, 1),
    sample("plain", 0, 30, 2),
    sample("nat44-ei", 100, 10, 2),
    sample("hashmvt", 60, 18, 2),
    sample("plain", 0, 28, 3),
    sample("nat44-ei", 90, 12, 3),
    sample("hashmvt", 30, 24, 3),
    *(sample("touch", 20 + n, 25, n) for n in (1, 2, 3)),
    replace(sample("touch", 300, 2), visit=Visit.NEW, bytes_per_mapping=74.0),
    replace(sample("nat44-ed", 1000, 1), visit=Visit.NEW, bytes_per_mapping=600.0, disturbed=0.4),
    replace(sample("hashmvt", 500, 3), visit=Visit.NEW, bytes_per_mapping=90.0),
]


class FakeCampaign:
    """Finds what it is told to find."""

    findings = Findings([], SAMPLES)
    asked: dict[str, Any] = {}  # noqa: RUF012 - for the test to look at

    def __init__(self, setting: Any, names: Sequence[str], plan: Any) -> None:
        self.asked.update(setting=setting, names=names, plan=plan)

    def run(self, flows: Sequence[Flows], *, rounds: int, step: Callable[[], None]) -> Findings:
        self.asked.update(flows=flows, rounds=rounds)
        step()
        return self.findings


@pytest.fixture
def bench(hashmvt: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setattr(vpp, "Campaign", FakeCampaign)
    monkeypatch.setattr(vpp, "find_installation", lambda *_: None)
    monkeypatch.setattr(vpp, "_usable", lambda _: True)
    monkeypatch.setattr(FakeCampaign, "findings", Findings([], list(SAMPLES)))
    return lambda *arguments: hashmvt("bench", "vpp", *arguments)


def rows(result: Result) -> dict[tuple[str, str], Any]:
    return {(row["nat"], row.get("order", "")): row for row in result.json["results"]}


def test_figures_are_medians_over_rounds(bench: Callable[..., Result]) -> None:
    result = bench("--json")
    assert (result.code, result.err) == (0, "")
    row = rows(result)["hashmvt", "random"]
    assert (row["direction"], row["flows"], row["proto"]) == ("in2out", 4096, "udp")
    assert (
        row["clocks_per_packet"],
        row["clocks_per_packet_min"],
        row["clocks_per_packet_max"],
    ) == (40, 30, 60)
    assert (row["mpps"], row["mpps_min"], row["mpps_max"]) == (20, 18, 24)
    assert row["nodes"] == {"hashmvt-in2out": 35, "reassembly": 5}
    assert "hashmvt_over_this" not in row
    assert (row["touch_clocks"], row["touch_clocks_min"], row["touch_clocks_max"]) == (22, 21, 23)
    assert row["touch_bound"] == 50.2
    for other in (("hashmvt", "new"), ("nat44-ei", "random"), ("touch", "random")):
        assert not {"touch_clocks", "touch_bound"} & set(rows(result)[other])
    assert rows(result)["touch", "random"]["clocks_per_packet"] == 22
    assert ("touch", "new") not in rows(result)
    assert result.json["machine"]["cpus"] >= 1


def test_ratios_pair_what_one_round_measured(bench: Callable[..., Result]) -> None:
    found = rows(bench("--json"))
    ratio = found["nat44-ei", "random"]["hashmvt_over_this"]
    assert ratio["clocks_per_packet"] == 0.5  # of 0.5, 0.6, 0.333
    assert (ratio["clocks_per_packet_min"], ratio["clocks_per_packet_max"]) == (0.333, 0.6)
    assert ratio["mpps"] == 1.8  # of 1.333, 1.8, 2
    assert "clocks_per_packet" not in found["plain", "random"]["hashmvt_over_this"]
    new = found["nat44-ed", "new"]
    assert (new["bytes_per_mapping"], new["hashmvt_over_this"]["bytes_per_mapping"]) == (600, 0.15)


def test_text(bench: Callable[..., Result]) -> None:
    out = bench().out
    assert "\nUDP in2out, 4,096 flows, in random order\n" in out
    assert "nat44-ei-in2out 85.0, reassembly 5.0" in out
    assert "core for at most 3.0% of the time with flows that live" in out
    assert "core for at most 40.0% of the time with new flows" in out
    line = next(line for line in out.splitlines() if line.startswith("nat44-ei "))
    assert line.split()[:8] == [
        "nat44-ei",
        "90.0",
        "80.0-100.0",
        "0.50",
        "-",
        "12.00",
        "10.00-15.00",
        "1.80",
    ]
    # beside HashMVT's clocks stands what touch lets it take, not where flows are made
    ours = [line.split()[1:6] for line in out.splitlines() if line.startswith("hashmvt ")]
    assert ours == [
        ["40.0", "30.0-60.0", "-", "50.2", "20.00"],
        ["500.0", "500.0-500.0", "-", "3.00", "3.00-3.00"],
    ]
    assert "is not beside hashmvt_plugin.so" not in out


def test_without_touch_there_is_no_bound(
    bench: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = [s for s in SAMPLES if s.nat != "touch"]
    monkeypatch.setattr(FakeCampaign, "findings", Findings(["touch"], samples))
    said = (
        "hashmvt_touch_plugin.so is not beside hashmvt_plugin.so, so there is no bound: "
        "`make build` makes both"
    )
    result = bench()
    assert result.code == 0
    assert said in result.out.splitlines()
    assert "not built in this VPP" not in result.out
    line = next(line for line in result.out.splitlines() if line.startswith("hashmvt "))
    assert line.split()[4] == "-"
    found = rows(bench("--json"))
    assert "touch_bound" not in found["hashmvt", "random"]
    assert found["touch", ""]["failed"] == said


def test_a_failing_peer_is_reported(
    bench: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = [
        Failure("det44", FLOWS, "out of memory"),
        Failure("sfdp", FLOWS, "lost", Way.OUT2IN),
    ]
    monkeypatch.setattr(FakeCampaign, "findings", Findings(["cnat"], list(SAMPLES), failures))
    result = bench()
    assert result.code == 0
    assert "det44 failed at 4,096 UDP flows: out of memory" in result.out
    assert "sfdp failed at 4,096 UDP flows, out2in: lost" in result.out
    assert "not built in this VPP: cnat" in result.out
    failed = [row for row in bench("--json").json["results"] if "failed" in row]
    assert failed == [
        {"nat": "det44", "flows": 4096, "proto": "udp", "failed": "out of memory"},
        {"nat": "sfdp", "flows": 4096, "proto": "udp", "direction": "out2in", "failed": "lost"},
        {"nat": "cnat", "failed": "not built in this VPP"},
    ]


def test_without_both_nat44_nothing_is_compared(
    bench: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        FakeCampaign, "findings", Findings([], [s for s in SAMPLES if s.nat != "nat44-ed"])
    )
    result = bench()
    assert result.code == 1
    assert result.err == "hashmvt: nat44-ed did not run: without them nothing is compared\n"


def test_hashmvt_failing_fails(
    bench: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = [Failure("hashmvt", FLOWS, "no ports")]
    monkeypatch.setattr(FakeCampaign, "findings", Findings([], list(SAMPLES), failures))
    result = bench("--json")
    assert result.code == 1
    assert result.err == "hashmvt: hashmvt failed at 4,096 UDP flows: no ports\n"


def test_options_choose(bench: Callable[..., Result]) -> None:
    bench("--nats", "nat44-ei,hashmvt", "--flows", "16,32", "--direction", "all",
          "--order", "random",
          "--proto", "both", "--rounds", "7", "--seconds", "0.5", "--ports-per-host", "4",
          "--sessions", "3", "--filtering", "address-dependent", "--pool-use", "99.9",
          "--main-core", "3", "--worker-core", "2", "--heap-page", "2m")  # fmt: skip
    asked = FakeCampaign.asked
    assert asked["names"] == ("nat44-ei", "hashmvt")
    assert [(f.proto.name, f.count, f.ports_per_host) for f in asked["flows"]] == [
        ("UDP", 16, 4), ("UDP", 32, 4), ("TCP", 16, 4), ("TCP", 32, 4),
    ]  # fmt: skip
    assert asked["plan"].ways == tuple(Way)
    assert asked["plan"].visits == (Visit.RANDOM,)
    assert {f.sessions for f in asked["flows"]} == {3}
    assert asked["plan"].filtering == "address-dependent"
    assert asked["plan"].used == pytest.approx(0.999)
    assert (asked["rounds"], asked["plan"].seconds) == (7, 0.5)
    assert asked["setting"].cores == (3, 2)
    assert asked["setting"].heap_page == "2m"


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (("--nats", "nat45"), "'nat45' is none of plain, nat44-ei"),
        (("--worker-core", "0"), "main thread and worker need a core each"),
        (("--flows", "0"), "flows are from 1 to"),
    ],
)
def test_wrong_usage(bench: Callable[..., Result], arguments: tuple[str, ...], wrong: str) -> None:
    result = bench(*arguments)
    assert result.code == 2
    assert wrong in result.err


def test_no_vpp(
    hashmvt: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HASHMVT_VPP", str(tmp_path / "vpp"))
    result = hashmvt("bench", "vpp")
    assert result.code == 1
    assert result.err == (
        f"hashmvt: VPP is not installed, or not as {tmp_path}/vpp: "
        "docs/vpp.md says where its packages are\n"
    )


def test_plots(bench: Callable[..., Result], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert bench("--plot", tmp_path / "new").code == 0
    names = {path.name for path in (tmp_path / "new").iterdir()}
    assert names == {
        f"vpp-udp-in2out-{visit}-{figure}.svg"
        for visit in ("new", "random")
        for figure in ("clocks", "mpps")
    }
    random = "vpp-udp-in2out-random-{}.svg"
    assert "plain" in (tmp_path / "new" / random.format("mpps")).read_text()
    assert "plain" not in (tmp_path / "new" / random.format("clocks")).read_text()


@pytest.fixture
def real_vpp() -> Installation:
    if (os.cpu_count() or 1) < 2:
        pytest.skip("needs two CPUs")
    try:
        return find_installation(Path())
    except VppError as error:
        pytest.skip(str(error))


@pytest.mark.vpp
@pytest.mark.timeout(180)
@pytest.mark.usefixtures("real_vpp")
def test_a_real_vpp(hashmvt: Callable[..., Result], tmp_path: Path) -> None:
    result = hashmvt(
        "bench", "vpp", "--flows", "256", "--rounds", "1", "--direction", "all", "--seconds", "0.1",
        "--nats", "nat44-ei,nat44-ed,hashmvt", "--proto", "both", "--json", "--out", tmp_path,
    )  # fmt: skip
    assert (result.code, result.err) == (0, "")
    cases = [
        (row["nat"], row["proto"], row["direction"], row["order"]) for row in result.json["results"]
    ]
    lives = {"sequential", "random"}
    assert len(cases) == len(set(cases)) == 2 * (4 * (2 + 3 * 2) + 3 * 2)
    for row in result.json["results"]:
        assert row["mpps"] > 0
        bounded = row["nat"] == "hashmvt" and row["order"] in lives
        assert (row.get("touch_bound", 0) > 15) == bounded
        assert (row["clocks_per_packet"] > 0) == (row["nat"] != "plain")
    nodes = {(row["nat"], row["direction"]): set(row["nodes"]) for row in result.json["results"]}
    assert nodes["hashmvt", "in2out"] == {"hashmvt-in2out"}
    assert nodes["touch", "in2out"] == {"touch-in2out"}
    assert nodes["touch", "out2in"] == {"touch-out2in"}
    assert nodes["touch", "mixed"] == {"touch-in2out", "touch-out2in"}
    assert (tmp_path / "udp-256" / "hashmvt-round1" / "startup.conf").exists()


@pytest.mark.vpp
@pytest.mark.timeout(120)
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_interrupt(real_vpp: Installation, tmp_path: Path, how: signal.Signals) -> None:
    command = [sys.executable, "-c", "from hashmvt.cli import main; main()", "bench", "vpp",
               "--flows", "4096", "--plugins", str(real_vpp.ours)]  # fmt: skip
    with subprocess.Popen(
        command,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stderr=subprocess.PIPE,
    ) as bench:
        while not list(tmp_path.glob("hashmvt-bench-*/*/cli.sock")):
            assert bench.poll() is None
            time.sleep(0.05)
        bench.send_signal(how)
        time.sleep(0.02)
        bench.send_signal(how)  # as `timeout` does; it must not disturb the end
        _, err = bench.communicate()
    assert (bench.returncode, err.decode().strip()) == (1, "hashmvt: interrupted")
    assert list(tmp_path.iterdir()) == []
    assert not list(SHARED_MEMORY.glob(f"hashmvt-{bench.pid}-*"))
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not any(str(tmp_path).encode() in line for line in lines)

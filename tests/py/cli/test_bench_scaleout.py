# SPDX-License-Identifier: Apache-2.0
"""``hashmvt bench scaleout``: that rate, losses and scale-out are what is said, not how fast."""

from __future__ import annotations

import gzip
import os
import signal
import struct
import subprocess
import sys
import time
from contextlib import closing
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from hashmvt.experiments import scaleout
from hashmvt.experiments.mixes import Mix, MixError
from hashmvt.experiments.scaleout import UNDISTURBED, Event, Others, Plan, Run, Sample, run_at

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.py.cli.conftest import Result

UDP, TCP, ICMP = 17, 6, 1


def _packet(proto: int, source: tuple[str, int], target: tuple[str, int], offset: int = 0) -> bytes:
    def addr(dotted: str) -> bytes:
        return bytes(map(int, dotted.split(".")))

    head = struct.pack(">BBHHHBBH", 0x45, 0, 40, 1, offset, 64, proto, 0)
    return head + addr(source[0]) + addr(target[0]) + struct.pack(">HH", source[1], target[1])


def _capture(packets: list[bytes]) -> bytes:
    """Raw IP in the classic format."""
    records = [struct.pack("<IIII", i, 0, len(p), len(p)) + p for i, p in enumerate(packets)]
    return struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101) + b"".join(records)


A, B, C = ("192.0.2.1", 1000), ("192.0.2.2", 2000), ("203.0.113.1", 443)
MIX = [
    _packet(UDP, A, C),
    _packet(UDP, C, A),
    _packet(TCP, A, C),  # the same ends: another flow
    _packet(UDP, C, B),  # begun by what answers elsewhere
    _packet(UDP, A, C, offset=100),  # a later fragment has no ports
    _packet(ICMP, A, C),
    _packet(UDP, B, C),
]


@pytest.mark.parametrize("packed", [False, True])
def test_flows_of_a_capture(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / "mix.pcap"
    path.write_bytes(gzip.compress(_capture(MIX)) if packed else _capture(MIX))
    with closing(Mix.read(path)) as mix:
        assert (mix.name, mix.packets, mix.flows, mix.hosts) == ("mix.pcap", 5, 3, 2)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"no capture at all", "cannot be read"),
        (_capture([_packet(ICMP, A, C)]), "holds no IPv4 packet with TCP or UDP ports"),
        (gzip.compress(_capture(MIX))[:-9], "is damaged"),
    ],
)
def test_what_is_no_mix(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "mix.pcap"
    path.write_bytes(content)
    with pytest.raises(MixError, match=why) as found:
        Mix.read(path)
    assert str(path) in str(found.value)


def test_the_rate_goes_up_and_down() -> None:
    plan = Plan(2, 1, 30, 0.8, 1.0, period_s=10, lifetime_s=2, interval_s=0.5)
    shares = [round(plan.share(at), 3) for at in (0, 2.5, 5, 7.5, 10, 15)]
    assert shares == [0.8, 0.9, 1.0, 0.9, 0.8, 1.0]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_slow_mix_arrives_whole_and_a_fast_one_scales_out() -> None:
    """What is offered is translated or lost; overload brings the second instance to work."""
    with closing(Mix.make(seed=1)) as mix:
        slow = Plan(1, 1, 2, 0.5, 0.5, period_s=10, lifetime_s=2, interval_s=0.5)
        for sample in run_at(slow, mix, 100_000).samples:
            assert 45_000 < sample.offered < 55_000
            assert sample.active == 1
            assert sample.refused == 0
        fast = Plan(2, 1, 20, 1.0, 1.0, period_s=10, lifetime_s=1, interval_s=0.5)
        found = run_at(fast, mix, 1e9)
    assert any("scale-out of instance 0 to 1: done" in event.text for event in found.events)
    first, last = found.samples[0], found.samples[-1]
    assert (first.active, last.active) == (1, 2)
    assert first.by_instance[1] == 0
    assert last.by_instance[1] > 0
    for sample in found.samples:
        assert sample.lost > 0  # a thousand million packets per second are too many
        assert sample.offered >= sample.translated


def _run(capacity: float, *samples: tuple[float, float], done_s: float = 2.0) -> Run:
    """Return a run of a capacity whose samples have a rate and others."""
    return Run(
        capacity,
        tuple(
            Sample(1.0 + i, 1.0, rate, rate, 0.0, 0.0, 2, (rate / 2, rate / 2), disturbed)
            for i, (rate, disturbed) in enumerate(samples)
        ),
        (Event(1.0, "scale-out: begun, load"), Event(done_s, "scale-out: done")),
    )


def test_points_are_relative_to_their_run_and_leave_out_what_was_disturbed(
    hashmvt: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A machine that is slower in one run than in another changes nothing; one in use is seen."""
    much = 2 * UNDISTURBED
    runs = iter(
        [
            _run(10e6, (8e6, 0.0), (1e6, much), done_s=2.0),
            _run(20e6, (18e6, 0.0), (18e6, 0.0), done_s=3.0),
            _run(40e6, (4e6, much), (2e6, much), done_s=7.0),
        ]
    )
    monkeypatch.setattr("hashmvt.cli.bench.scaleout.run", lambda *_a, **_k: next(runs))
    options = ("--instances", "2", "--seconds", "2", "--runs", "3", "--plot", tmp_path)
    result = hashmvt("bench", "scaleout", *options, "--json")
    points = [row for row in result.json["results"] if row["kind"] == "point"]
    assert [point["left_out"] for point in points] == [1, 2]
    assert [point["translated_percent"] for point in points] == [85.0, 90.0]
    assert points[0]["translated_percent_min"] == 80.0
    assert points[0]["translated_mpps"] == 13.0
    drawing = (tmp_path / "scaleout.svg").read_text()
    for text in ("% of what 2 instances can do", "by instance 1", "done"):
        assert text in drawing


def test_where_all_were_disturbed_none_is_left_out(
    hashmvt: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "hashmvt.cli.bench.scaleout.run", lambda *_a, **_k: _run(10e6, (8e6, 2 * UNDISTURBED))
    )
    result = hashmvt("bench", "scaleout", "--instances", "2", "--runs", "2")
    assert "100 %: 2 instances can do 10.00 Mpps (10.00-10.00)" in result.out
    assert result.out.splitlines()[3].split() == [
        "1.0", "100", "80.0", "80.0", "80.0-80.0", "0.0", "8.00", "2", "0",
    ]  # fmt: skip


def test_who_else_uses_the_cpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All that is busy or was taken by the hypervisor, less this process."""
    stat = tmp_path / "stat"
    tick = os.sysconf("SC_CLK_TCK")
    now, own = [10.0], [1.0]
    clock = SimpleNamespace(monotonic=lambda: now[0], process_time=lambda: own[0])
    monkeypatch.setattr(scaleout, "time", clock)
    stat.write_text(f"cpu  {tick} 0 0 999 999 0 0 0 0 0\n")
    others = Others(stat)
    now[0], own[0] = 12.0, 4.0  # this one took 3 of the 4 seconds there are
    stat.write_text(f"cpu  {4 * tick} 0 {tick} 999 999 0 0 {tick} 0 0\n")
    assert others.since() == pytest.approx((3 + 1 + 1 - 3) / 2)
    stat.unlink()
    now[0], own[0] = 13.0, 5.0
    assert others.since() == 0


def test_output_and_plot(
    hashmvt: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(scaleout, "CALIBRATE_S", 0.3)
    path = tmp_path / "mix.pcap"
    path.write_bytes(_capture(MIX * 100))
    quick = ("--seconds", "1", "--instances", "1", "--interval", "0.5", "--runs", "2")
    result = hashmvt("bench", "scaleout", path, *quick, "--json", "--plot", tmp_path)
    assert result.code == 0
    rows = result.json["results"]
    assert (rows[0]["kind"], rows[0]["mix"], rows[0]["flows"]) == ("capacity", "mix.pcap", 3)
    points = [row for row in rows if row["kind"] == "point"]
    assert len(points) == 2
    for point in points:
        assert 0.8 <= point["rate"] <= 1.0
        assert 0 < point["translated_mpps_min"] <= point["translated_mpps"]
        assert point["instances"] == 1
        assert point["left_out"] in {0, 1}
        assert 0 < point["translated_percent_min"] <= point["translated_percent"]
    assert (tmp_path / "scaleout.svg").exists()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--instances", "1", "--start", "2"), "2 is more than --instances 1"),
        (("--least", "90", "--most", "80"), "90 is above --most 80"),
    ],
)
def test_usage(hashmvt: Callable[..., Result], options: tuple[str, ...], why: str) -> None:
    result = hashmvt("bench", "scaleout", *options)
    assert result.code == 2
    assert why in result.err


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_interrupt(tmp_path: Path, how: signal.Signals) -> None:
    """Its folder stayed behind when SIGTERM ended it."""
    command = [sys.executable, "-c", "from hashmvt.cli import main; main()", "bench", "scaleout",
               "--instances", "1"]  # fmt: skip
    with subprocess.Popen(
        command, env={**os.environ, "TMPDIR": str(tmp_path)}, stderr=subprocess.PIPE
    ) as bench:
        while not list(tmp_path.iterdir()):
            assert bench.poll() is None
            time.sleep(0.05)
        bench.send_signal(how)
        _, err = bench.communicate()
    assert (bench.returncode, err.decode().strip()) == (1, "hashmvt: interrupted")
    assert list(tmp_path.iterdir()) == []

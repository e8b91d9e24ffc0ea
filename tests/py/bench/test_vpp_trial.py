# SPDX-License-Identifier: Apache-2.0
"""Trials and campaigns against a VPP that is only its command line, with a NAT behind it."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pytest

from hashmvt.bench.vpp import campaign, process, traffic
from hashmvt.bench.vpp.campaign import Campaign, Setting
from hashmvt.bench.vpp.nats import POOL
from hashmvt.bench.vpp.traffic import Flows
from hashmvt.bench.vpp.trial import Plan, Visit, Way
from hashmvt.model import Proto
from hashmvt.private_vpp import Installation, Options, StarvedError, VppError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FLOWS = Flows(512, Proto.UDP, 16)
PLAN = Plan((Way.IN2OUT, Way.OUT2IN), (Visit.SEQUENTIAL, Visit.RANDOM), seconds=0.0, seed=1)
COST = {"plain": 0, "nat44-ei": 80, "nat44-ed": 120, "hashmvt": 40, "touch": 10}


class FakeVpp:
    """Routes, and translates when the plugin of a NAT is loaded."""

    lossy: tuple[str, str] = ("", "")
    """A NAT and a direction in which it loses half of the packets."""
    dies: dict[str, Exception] = {}  # noqa: RUF012 - set by tests
    """What starting a NAT raises."""
    waits: Iterator[float] = iter(())
    """How long the worker waited, each time that somebody asks."""
    started: list[str] = []  # noqa: RUF012 - cleared by tests

    def __init__(self, directory: Path, _where: Any, options: Options) -> None:
        names = {"nat44_ei": "nat44-ei", "nat": "nat44-ed", "hashmvt_touch": "touch"}
        plugin = options.plugins[0] if options.plugins else "plain"
        self.nat = names.get(plugin, plugin)
        self.directory = directory
        self.startup = f"startup of {self.nat}"
        self.streams: dict[str, tuple[str, traffic.Frames]] = {}
        self.seen: Path | None = None
        self.runtime = ""
        self.commands: list[str] = []

    def __enter__(self) -> Self:
        self.started.append(self.nat)
        with contextlib.suppress(KeyError):
            raise self.dies[self.nat]
        return self

    def __exit__(self, *_: object) -> None:
        self.commands.append("stopped")

    def kept_waiting_s(self) -> float:
        return next(self.waits, 0.0)

    def make_interfaces(self) -> None:
        self.commands.append("interfaces")

    def used_bytes(self) -> int:
        return 1000 + 100 * FLOWS.count * sum(
            c.startswith("packet-generator enable") for c in self.commands
        )

    def do(self, *commands: str) -> None:
        for command in commands:
            self.cli(command)

    def is_sending(self, stream: str) -> bool:
        assert stream in self.streams
        return False

    def wait(self, _what: str, check: Callable[[], bool], _patience_s: float) -> None:
        assert check()

    def cli(self, command: str) -> str:
        self.commands.append(command)
        match command.split():
            case ["packet-generator", "new", "name", name, "source", interface, "pcap", path]:
                self.streams[name] = (interface, traffic.read(Path(path)))
            case ["packet-generator", "delete", name]:
                del self.streams[name]
            case ["packet-generator", "capture", _, "pcap", path, "count", _]:
                self.seen = Path(path)
            case ["packet-generator", "capture", _, "disable"]:
                self.seen = None
            case ["packet-generator", "enable-stream", name]:
                self._send(*self.streams[name])
            case ["show", "cpu"]:
                return "Base frequency:           2.5000 GHz"
            case ["show", "runtime"]:
                return self.runtime
        return ""

    def _send(self, interface: str, frames: traffic.Frames) -> None:
        inside = interface == "pg0"
        lost = self.lossy == (self.nat, "in2out" if inside else "out2in")
        n = len(frames)
        lines = [
            ("pg-input", n, 27),
            ("ip4-lookup", n, 13),
            ("pg1-tx" if inside else "pg0-tx", n // 2 if lost else n, 8),
        ]
        if self.nat != "plain":
            lines.append((f"{self.nat}-node", n, COST[self.nat]))
        text = "".join(f"{name}  active  1  {p}  0  {c:.2e}  1.00\n" for name, p, c in lines)
        self.runtime = (
            "Thread 1 vpp_wk_0 (lcore 1)\nTime 1.0\n"
            f"  vector rates in {1e9 / (48 + COST[self.nat]):.4e}, out 0, drop 0, punt 0\n{text}"
        )
        if self.seen is not None:
            out = frames.copy()
            if self.nat not in {"plain", "touch"}:
                out["src"], out["sport"] = int(POOL), 1024 + np.arange(n)
            traffic.write(self.seen, out)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FakeVpp]]:
    monkeypatch.setattr(campaign, "Vpp", FakeVpp)
    monkeypatch.setattr("hashmvt.bench.vpp.trial._WARM_S", 0.0)
    monkeypatch.setattr(Installation, "has", lambda _self, plugin: plugin != "det44")

    def reset() -> None:
        FakeVpp.lossy, FakeVpp.dies, FakeVpp.started, FakeVpp.waits = ("", ""), {}, [], iter(())

    reset()
    yield FakeVpp
    reset()


def setting(keep: Path | None = None) -> Setting:
    here = Path("/nowhere")
    return Setting(Installation(here, here, here), (0, 1), "4k", keep)


def run(
    names: tuple[str, ...] = ("nat44-ei", "nat44-ed", "hashmvt"),
    *,
    rounds: int = 1,
    keep: Path | None = None,
    flows: Flows = FLOWS,
) -> campaign.Findings:
    return Campaign(setting(keep), names, PLAN).run([flows], rounds=rounds, step=lambda: None)


def test_every_nat_in_every_direction_and_order(fake: type[FakeVpp]) -> None:
    found = run()
    assert fake.started == ["plain", "nat44-ei", "nat44-ed", "hashmvt", "touch"]
    assert not found.failures
    for nat, cost in COST.items():
        mine = [s for s in found.samples if s.nat == nat]
        assert [(s.way, s.visit) for s in mine] == [
            (Way.IN2OUT, Visit.NEW),
            (Way.IN2OUT, Visit.MORE),
            (Way.IN2OUT, Visit.SEQUENTIAL),
            (Way.OUT2IN, Visit.SEQUENTIAL),
            (Way.IN2OUT, Visit.RANDOM),
            (Way.OUT2IN, Visit.RANDOM),
        ]
        assert all(s.clocks == cost for s in mine)
        assert all(s.nodes == ({f"{nat}-node": cost} if cost else {}) for s in mine)
        assert [s.mpps for s in mine[2:]] == pytest.approx([1e3 / (48 + cost)] * 4, rel=1e-3)
        assert [s.mpps for s in mine[:2]] == pytest.approx([2.5e3 / (48 + cost)] * 2)
        assert mine[0].bytes_per_mapping == 100


def test_without_its_plugin_touch_is_absent(
    fake: type[FakeVpp], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Installation, "has", lambda _self, plugin: plugin != "hashmvt_touch")
    found = run(("hashmvt",))
    assert found.absent == ["touch"]
    assert fake.started == ["plain", "hashmvt"]
    assert not found.failures


def test_what_others_disturbed_is_measured_again_and_told(
    fake: type[FakeVpp], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(10000))
    monkeypatch.setattr("hashmvt.bench.vpp.trial.time.monotonic", lambda: float(next(clock)))
    quiet = [0.0] * 8  # routing, new, more, again
    fake.waits = iter([*quiet, 0, 0.5, 0.5, 0.505, *[n / 2 for n in range(2, 10)]])
    found = run(())
    steady = [s for s in found.samples if s.nat == "plain" and s.visit in PLAN.visits]
    assert [s.disturbed for s in steady] == pytest.approx([0.005, 0.5, 0, 0])


def test_rounds_are_interleaved(fake: type[FakeVpp]) -> None:
    found = run(("nat44-ei", "hashmvt"), rounds=2)
    assert fake.started == ["plain", "nat44-ei", "hashmvt", "touch"] * 2
    assert {s.round for s in found.samples} == {1, 2}


def test_a_nat_that_this_vpp_does_not_have_is_told(fake: type[FakeVpp]) -> None:
    found = run(("det44", "nat44-ei"))
    assert found.absent == ["det44"]
    assert found.missing == ["nat44-ed"]
    assert fake.started == ["plain", "nat44-ei", "touch"]


def test_losing_packets_in_one_direction_is_a_failure_of_that_direction(
    fake: type[FakeVpp],
) -> None:
    fake.lossy = ("nat44-ei", "out2in")
    found = run(rounds=2)
    (failure,) = found.failures
    assert (failure.nat, failure.way) == ("nat44-ei", Way.OUT2IN)
    assert failure.reason.startswith("50.0% of the packets did not come out")
    assert {s.way for s in found.samples if s.nat == "nat44-ei"} == {Way.IN2OUT}


def test_losing_flows_is_a_failure_and_is_not_tried_again(fake: type[FakeVpp]) -> None:
    fake.lossy = ("nat44-ed", "in2out")
    found = run(rounds=2)
    (failure,) = found.failures
    assert failure.reason == "128 of 256 packets did not come out: no counter tells why"
    assert found.missing == ["nat44-ed"]
    assert fake.started.count("nat44-ed") == 1


def test_a_vpp_that_dies_is_a_failure_with_its_reason(fake: type[FakeVpp]) -> None:
    fake.dies = {"nat44-ed": VppError("VPP ended with signal SIGABRT: out of memory")}
    found = run()
    assert [f.reason for f in found.failures] == ["VPP ended with signal SIGABRT: out of memory"]
    assert {s.nat for s in found.samples} == {"plain", "nat44-ei", "hashmvt", "touch"}


def test_a_vpp_that_dies_with_less_memory_than_it_should_have(
    fake: type[FakeVpp], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(campaign, "_available_bytes", lambda: 1 << 30)
    fake.dies = {"nat44-ed": VppError("VPP ended with signal SIGABRT: out of memory")}
    (failure,) = run().failures
    assert failure.reason == (
        "VPP ended with signal SIGABRT: out of memory "
        "(its heap was 819 MiB instead of 1,152 MiB: no more memory is free)"
    )


def test_huge_pages_for_the_heap_are_counted_first(
    fake: type[FakeVpp], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "free_huge", lambda page: {"2m": 100, "1g": 1}[page])
    for page, needed in (("2m", 597), ("1g", 2)):
        huge = Campaign(replace(setting(), heap_page=page), (), PLAN)
        with pytest.raises(VppError, match=f"takes {needed} huge pages of {page}.*, and .* free"):
            huge.run([FLOWS], rounds=1, step=lambda: None)
    assert not fake.started


def test_a_busy_machine_is_tried_again_and_then_told(fake: type[FakeVpp]) -> None:
    fake.dies = {"hashmvt": StarvedError("busy")}
    with pytest.raises(StarvedError):
        run(("hashmvt",))
    assert fake.started == ["plain", "hashmvt", "hashmvt", "hashmvt"]


def test_without_plain_routing_nothing_is_measured(fake: type[FakeVpp]) -> None:
    fake.lossy = ("plain", "out2in")
    with pytest.raises(VppError, match="plain routing failed, so nothing can be measured"):
        run()


def test_raw_output_is_kept(fake: type[FakeVpp], tmp_path: Path) -> None:
    run(("nat44-ei",), keep=tmp_path)
    kept = {p.name: p.read_text() for p in (tmp_path / "udp-512" / "nat44-ei-round1").iterdir()}
    assert kept["startup.conf"] == "startup of nat44-ei\n"
    assert "nat44 ei plugin enable" in kept["commands.txt"]
    assert "nat44-ei-node" in kept["runtime-out2in-random.txt"]


def test_tcp_shakes_hands_first(fake: type[FakeVpp], monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, int]] = []
    send = FakeVpp._send

    def watch(self: FakeVpp, interface: str, frames: traffic.Frames) -> None:
        sent.append((interface, int(frames["rest"][0, 4]) & 0xFF))
        send(self, interface, frames)

    monkeypatch.setattr(FakeVpp, "_send", watch)
    run((), flows=replace(FLOWS, proto=Proto.TCP))
    shake = [("pg0", 2), ("pg1", 0x12), ("pg0", 0x10)]
    plain = sent[: len(sent) // 2]
    assert sent == plain * 2
    assert plain[:6] == [("pg0", 2), ("pg0", 2), ("pg0", 2), *shake]
    assert set(plain[6:]) == {("pg0", 0x10), ("pg1", 0x10)}

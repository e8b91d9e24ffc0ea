# SPDX-License-Identifier: Apache-2.0
"""One NAT in one VPP: make the flows, then measure them in every direction and order.

Each trial starts a VPP of its own, which routes some packets before it becomes a NAT, so that its
buffers and frames are there and count for none. Then every flow sends one packet (``new``), then
some more flows do while these live (``more``); what comes out is captured and checked, and
answered. Then streams run for a fixed time in each direction and order, the counters are cleared
when they are under way, and read before they stop. That is done again, a few times, where others
had the worker's core for more than a hundredth of it.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from hashmvt.bench.vpp import traffic
from hashmvt.bench.vpp.nats import PLAIN, Nat, Scale
from hashmvt.bench.vpp.process import WORKER, Vpp
from hashmvt.bench.vpp.runtime import Runtime, read_errors, read_runtime, worst_errors
from hashmvt.bench.vpp.traffic import TcpFlags, TrafficError
from hashmvt.model import Proto
from hashmvt.private_vpp import VppError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from hashmvt.bench.vpp.traffic import Flows, Frames, Order

_WARM_S = 0.3
_PASS_S = 120.0
_TRIES, _UNDISTURBED = 4, 0.01
_MOST_LOST = 0.001
_MOST_SPARE = 65536


class Way(StrEnum):
    """Directions that are measured."""

    IN2OUT = "in2out"
    OUT2IN = "out2in"
    MIXED = "mixed"
    """Both at once, a frame of each in turn."""


_EXIT = {Way.IN2OUT: "pg1-tx", Way.OUT2IN: "pg0-tx"}
"""The node that a packet must reach, or it was not routed as it should."""


class Visit(StrEnum):
    """Orders in which flows are visited."""

    SEQUENTIAL = "sequential"
    RANDOM = "random"
    NEW = "new"
    """Each for the first time, from an empty table."""
    MORE = "more"
    """Further flows for the first time, while the others live."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What was measured once."""

    nat: str
    flows: Flows
    round: int
    way: Way
    visit: Visit
    clocks: float
    """Of all nodes that the NAT adds, for a packet."""
    mpps: float
    """Of the whole path."""
    nodes: dict[str, float]
    """Clocks for a packet of each node that the NAT adds."""
    disturbed: float = 0.0
    """Share of the time in which others had the worker's core."""
    bytes_per_mapping: float | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """A NAT could not do it."""

    nat: str
    flows: Flows
    reason: str
    way: Way | None = None
    """The direction in which it could not; none: it could not at all."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured in each trial."""

    ways: tuple[Way, ...]
    visits: tuple[Visit, ...]
    """Sequential and random, as far as wanted."""
    seconds: float
    seed: int
    used: float = 0.5
    """Share of the pool's ports that the flows take."""
    filtering: str = "endpoint-independent"
    """HashMVT's."""


class Material:
    """The frames of some flows, as files: made once, replayed by every NAT in every round."""

    def __init__(self, root: Path, flows: Flows, plan: Plan) -> None:
        """Write them into a directory of their own below ``root``, which belongs to the caller."""
        self.root = root
        self.directory = root / f"{flows.proto.name.lower()}-{flows.count}"
        self.directory.mkdir()
        self.flows = flows
        spare = min(_MOST_SPARE, max(256, flows.count // 4))
        self.scale = Scale(flows, spare, plan.used, plan.filtering)
        self._order = (
            traffic.shuffled(flows.count, plan.seed) if Visit.RANDOM in plan.visits else None
        )
        first = TcpFlags.SYN
        self.new = self._write("new", traffic.requests(flows, tcp=first))
        self.more = self._write(
            "more",
            traffic.requests(flows, first=flows.count, count=self.scale.spare, tcp=first),
        )
        self.requests = self.in_orders("request", traffic.requests(flows), plan.visits)

    def in_orders(self, name: str, frames: Frames, visits: Sequence[Visit]) -> dict[Visit, Path]:
        """Write frames in each order; ``frames`` are in the order of the flows."""
        orders: dict[Visit, Order | slice] = {Visit.SEQUENTIAL: slice(None)}
        if self._order is not None:
            orders[Visit.RANDOM] = self._order
        return {visit: self._write(f"{name}-{visit}", frames[orders[visit]]) for visit in visits}

    def _write(self, name: str, frames: Frames) -> Path:
        path = self.directory / f"{name}.pcap"
        traffic.write(path, frames)
        return path


class Trial:
    """A NAT in a VPP that runs."""

    def __init__(
        self, vpp: Vpp, nat: Nat, material: Material, plan: Plan, *, number: int, plain: set[str]
    ) -> None:
        """Prepare round ``number``; ``plain`` are plain routing's nodes, or filled when it is."""
        self._vpp = vpp
        self._nat = nat
        self._material = material
        self._plan = plan
        self._round = number
        self._plain = plain
        self._flows = material.flows
        self._disturbed = 0.0
        self.raw: dict[str, str] = {}

    def run(self, emit: Callable[[Sample | Failure], None]) -> None:
        """Measure everything; ``emit`` gets each sample as soon as it is there.

        A NAT that makes its mappings but fails in one direction is measured in the others.

        Raises:
            VppError: VPP refused or ended.
            TrafficError: flows were lost or not translated.

        """
        vpp, material = self._vpp, self._material
        self.raw["version"] = vpp.cli("show version verbose")
        self.raw["buffers"] = vpp.cli("show buffers")
        vpp.make_interfaces()
        self._load("more", material.more, 0)
        self._pass("more", material.scale.spare)
        self._drop("more")
        self._load("new", material.new, 0)
        empty = vpp.used_bytes()
        commands = list(self._nat.commands(material.scale))
        self.raw["commands"] = "\n".join(commands)
        vpp.do(*commands)
        made = self._pass("new", self._flows.count)
        grown = max(0, vpp.used_bytes() - empty)
        emit(replace(self._new(made, Visit.NEW), bytes_per_mapping=grown / self._flows.mappings))
        self._load("more", material.more, 0)
        emit(self._new(self._pass("more", material.scale.spare), Visit.MORE))
        self._drop("more")
        answers = self._answers()
        for visit in self._plan.visits:
            self._load("in2out", material.requests[visit], 0, forever=True)
            if answers:
                self._load("out2in", answers[visit], 1, forever=True)
            for way in self._plan.ways:
                try:
                    emit(self._steady(way, visit))
                except TrafficError as error:
                    emit(Failure(self._nat.name, self._flows, str(error), way))
            self._drop("in2out", *(["out2in"] if answers else []))
        self.raw["errors"] = vpp.cli("show errors")

    def _answers(self) -> dict[Visit, Path]:
        """Capture what comes out, check it, finish handshakes, return the replies in each order."""
        vpp, material, flows = self._vpp, self._material, self._flows
        seen_file = material.directory / "seen.pcap"
        seen_file.unlink(missing_ok=True)
        vpp.do(f"packet-generator capture pg1 pcap {seen_file} count {flows.count}")
        self._pass("new", flows.count)
        vpp.do("packet-generator capture pg1 disable")
        self._drop("new")
        seen = traffic.read(seen_file)
        seen_file.unlink()
        if self._nat.translates:
            traffic.check_translation(seen, flows, self._nat.pool(material.scale))
        if flows.proto is Proto.TCP:
            shake = material.directory / "handshake.pcap"
            traffic.write(shake, traffic.replies(seen, flows.proto, TcpFlags.SYN | TcpFlags.ACK))
            for number, path in ((1, shake), (0, next(iter(material.requests.values())))):
                self._load("handshake", path, number)
                self._pass("handshake", flows.count, (Way.IN2OUT, Way.OUT2IN)[number])
                self._drop("handshake")
        if not {Way.OUT2IN, Way.MIXED} & set(self._plan.ways):
            return {}
        return material.in_orders("answer", traffic.replies(seen, flows.proto), self._plan.visits)

    # ---- runs ----

    def _steady(self, way: Way, visit: Visit) -> Sample:
        """Measure existing flows."""
        vpp = self._vpp
        streams = [Way.IN2OUT, Way.OUT2IN] if way is Way.MIXED else [way]
        errors = read_errors(vpp.cli("show errors"))
        for stream in streams:
            vpp.do(f"packet-generator enable-stream {stream}")
        time.sleep(_WARM_S)
        for _ in range(_TRIES):
            runtime = self._count(f"{way}-{visit}", lambda: time.sleep(self._plan.seconds))
            if self._disturbed < _UNDISTURBED:
                break
        for stream in streams:
            vpp.do(f"packet-generator disable-stream {stream}")
        sent = [runtime.sent(_EXIT[stream]) for stream in streams]
        least = runtime.packets / len(streams) * (1 - _MOST_LOST)
        if not runtime.packets or min(sent) < least:
            share = 1 - sum(sent) / runtime.packets if runtime.packets else 1.0
            why = worst_errors(errors, read_errors(vpp.cli("show errors")))
            raise TrafficError(
                f"{share:.1%} of the packets did not come out {way} in {visit} order: {why}"
            )
        return self._sample(runtime, way, visit, mpps=runtime.mpps(sum(sent)))

    def _pass(self, stream: str, count: int, way: Way = Way.IN2OUT) -> Runtime:
        """Send each frame of a stream once; every one must come out."""
        vpp = self._vpp
        errors = read_errors(vpp.cli("show errors"))

        def send() -> None:
            vpp.do(f"packet-generator enable-stream {stream}")
            vpp.wait(f"sending {count} packets", lambda: not vpp.is_sending(stream), _PASS_S)

        runtime = self._count(f"pass-{stream}", send)
        came = runtime.sent(_EXIT[way])
        if came < count * (1 - _MOST_LOST):
            why = worst_errors(errors, read_errors(vpp.cli("show errors")))
            raise TrafficError(f"{count - came} of {count} packets did not come out: {why}")
        return runtime

    def _new(self, runtime: Runtime, visit: Visit) -> Sample:
        """Make a sample of a pass; its rate is that of the nodes, since the thread was idle too."""
        hz = _clocks_per_second(self._vpp.cli("show cpu"))
        mpps = runtime.packets * hz / runtime.busy_clocks() / 1e6
        return self._sample(runtime, Way.IN2OUT, visit, mpps=mpps)

    def _sample(self, runtime: Runtime, way: Way, visit: Visit, *, mpps: float) -> Sample:
        if self._nat.name == PLAIN:
            self._plain.update(runtime.nodes)
        idle = visit in (Visit.NEW, Visit.MORE)
        nodes = runtime.added(self._plain, busy_only=idle)
        return Sample(
            nat=self._nat.name,
            flows=self._flows,
            round=self._round,
            way=way,
            visit=visit,
            clocks=sum(nodes.values()),
            mpps=mpps,
            nodes=nodes,
            disturbed=self._disturbed,
        )

    def _count(self, name: str, run: Callable[[], None]) -> Runtime:
        """Return what the worker did during ``run``; note how much of it others had its core."""
        vpp = self._vpp
        waited, began = vpp.kept_waiting_s(), time.monotonic()
        vpp.cli("clear runtime")
        run()
        text = vpp.cli("show runtime")
        elapsed = time.monotonic() - began
        self._disturbed = (vpp.kept_waiting_s() - waited) / elapsed
        self.raw[f"runtime-{name}"] = text
        return read_runtime(text, WORKER)

    # ---- streams ----

    def _load(self, name: str, path: Path, interface: int, *, forever: bool = False) -> None:
        self._vpp.do(f"packet-generator new name {name} source pg{interface} pcap {path}")
        if forever:
            self._vpp.do(f"packet-generator configure {name} limit 0")

    def _drop(self, *names: str) -> None:
        for name in names:
            self._vpp.do(f"packet-generator delete {name}")


def _clocks_per_second(said: str) -> float:
    """Return the rate of VPP's clock, from what ``show cpu`` said."""
    found = re.search(r"Base frequency:\s+(\S+) GHz", said)
    if found is None:
        raise VppError("VPP does not tell the rate of its clock")
    return float(found[1]) * 1e9

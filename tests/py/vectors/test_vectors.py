# SPDX-License-Identifier: Apache-2.0
"""Every vector of tests/vectors through the embedded engine, stepped, by way of the binding."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, fields, replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hashmvt.dataplane.embedded import Engine, EngineSettings
from hashmvt.model import (
    Direction,
    Endpoint,
    Filtering,
    Outcome,
    Packet,
    Proto,
    StaticMapping,
    Verdict,
)
from hashmvt.names import Counters, DropReason, PassReason
from hashmvt.policy import (
    FilteringPerProto,
    InsidePolicy,
    PerProto,
    Policy,
    PolicySet,
    PoolRun,
    StaticRule,
    Timeouts,
)
from tests.py.vectors.language import (
    CompareStep,
    CountStep,
    LateStep,
    PacketStep,
    Vector,
    WaitStep,
    end,
    read,
)
from tests.py.vectors.packets import Spec, build
from tests.py.vectors.values import Values

if TYPE_CHECKING:
    from tests.py.vectors.language import Ends, Want

FOLDER = Path(__file__).resolve().parents[2] / "vectors"
VECTORS = [vector for path in sorted(FOLDER.glob("*.vec")) for vector in read(path)]
NEVER = {
    DropReason.INDEX_FULL: "needs keys that collide under a secret",
    DropReason.HANDOFF_LOOP: "needs home maps that contradict each other",
    DropReason.HANDOFF_CONGESTION: "the rings of threads",
    DropReason.NO_OWNER: "needs a block that belongs to nobody",
}
"""Reasons that no sequence of packets can bring about with a consistent home map."""


# ---- configuration ----


def _number(settings: EngineSettings, policy: Policy, key: str, value: int) -> tuple[str, object]:
    """Return the field of ``settings`` (or of ``policy``, with a dot) and its new value."""
    section, _, name = key.partition(".")
    match section:
        case "timeouts":
            return ".timeouts", replace(policy.timeouts, **{name: value})
        case "limits":
            name, _, proto = name.partition(".")
            if name == "mappings_per_host" and proto:
                return ".mappings_per_host", replace(policy.mappings_per_host, **{proto: value})
            return f".{name}_all" if name == "mappings_per_host" else f".{name}", value
        case "hold_down":
            return "hold_seconds", value
        case "max_blocks_per_host":
            return ".max_blocks_per_host", value
        case _:
            return key, value


def settings_of(  # noqa: C901, PLR0912 - one case for each key
    vector: Vector, instances: int
) -> EngineSettings:
    """Return an engine's settings for a vector's ``config`` lines."""
    pool, ports = IPv4Network("198.51.100.0/30"), range(1024, 65536)
    exempt: list[IPv4Network] = []
    rules: list[StaticRule] = []
    endpoints: list[StaticMapping] = []
    policy = Policy((), Timeouts(), FilteringPerProto(), PerProto(), max_blocks_per_host=4)
    inside = (InsidePolicy(IPv4Network("10.0.0.0/8"), 0),)
    settings = EngineSettings(
        policy=PolicySet(1, (policy,), inside, ()),
        host="test",
        instances_initial=instances,
        instances_max=instances,
        max_mappings=4096,
        block_size=64,
        max_slots=64,
        allocatable=b"",
        hold_seconds=0,
        stepped=True,
        seed=(1, 2, 3, instances),
    )
    for key, values in vector.config:
        match key, values:
            case "pool", (text,):
                pool = IPv4Network(text)
            case "ports", (text,):
                first, last = map(int, text.split("-"))
                ports = range(first, last + 1)
            case "filtering", (text,):
                mode = Filtering[text.upper().replace("-", "_")]
                policy = replace(policy, filtering=FilteringPerProto(mode, mode, mode))
            case "allocation", (text,):
                settings = replace(settings, by_host=text == "block")
            case "fallback", (text,):
                policy = replace(policy, paired_only=text == "false")
            case "exempt", (text,):
                exempt.append(IPv4Network(text))
            case "static", (one, other):
                rules.append(StaticRule(IPv4Network(one), IPv4Network(other)))
            case "static", (proto, one, other):
                endpoints.append(StaticMapping(_endpoint(proto, one), _endpoint(proto, other)))
            case _, (text,):
                name, value = _number(settings, policy, key, int(text))
                if name.startswith("."):
                    policy = replace(policy, **{name[1:]: value})  # type: ignore[arg-type]
                else:
                    settings = replace(settings, **{name: value})  # type: ignore[arg-type]
            case _:
                pytest.fail(f"{vector.file}: config {key} {values}")
    bits = bytearray(8192)
    for port in ports:
        bits[port // 8] |= 1 << port % 8
    policies = PolicySet(
        generation=1,
        policies=(replace(policy, slots=tuple(range(pool.num_addresses))),),
        inside=inside,
        runs=(PoolRun(pool.network_address, pool.num_addresses, 0),),
        exempt=tuple(exempt),
        statics=tuple(rules),
        endpoints=tuple(endpoints),
    )
    return replace(settings, policy=policies, allocatable=bytes(bits))


def _endpoint(proto: str, text: str) -> Endpoint:
    one = end(text)
    assert isinstance(one.addr, int)
    assert isinstance(one.port, int)
    return Endpoint(IPv4Address(one.addr), one.port, Proto[proto.upper()])


# ---- running ----


@dataclass(frozen=True, slots=True)
class Sent:
    """A packet on its way; its place in the list is its cookie."""

    spec: Spec
    ends: tuple[Ends, ...]
    piece: int
    direction: Direction


@dataclass(slots=True, kw_only=True)
class Run(Values):
    """A vector on its way through an engine."""

    engine: Engine
    sent: list[Sent] = field(default_factory=list)
    late: deque[Outcome] = field(default_factory=deque)

    def packet(self, step: PacketStep) -> None:
        """Send a packet, or its pieces, and check what becomes of each."""
        assert step.want is not None
        flows = self.flows(step.spec, step.ends)
        zero_for = None
        if step.spec.zero_sum == "out":
            assert step.want.ends is not None
            zero_for = self.flow(step.spec, step.want.ends)
        pieces = list(enumerate(build(step.spec, flows, zero_for)))
        if step.spec.piece:
            pieces = [pieces[step.spec.piece - 1]]
        elif step.spec.reverse:
            pieces.reverse()
        held = 0
        for number, data in pieces:
            self.sent.append(Sent(step.spec, step.ends, number, step.direction))
            cookie = len(self.sent) - 1
            outcome, *late = self.engine.inject([Packet(data, step.direction, cookie)])
            self.late += late
            if outcome.verdict is Verdict.HELD and step.want.verdict is not Verdict.HELD:
                held += 1
            else:
                self.check(step.want, outcome)
        for _ in range(held):
            self.check(step.want, self.late.popleft())

    def check(self, want: Want, outcome: Outcome) -> None:
        """Compare verdict, reason, side and every byte."""
        sent = self.sent[outcome.cookie]
        reason = outcome.drop or outcome.passed
        got = (outcome.verdict.name, reason.name.lower() if reason else "")
        assert got == (want.verdict.name, want.reason)
        if want.verdict in (Verdict.DROPPED, Verdict.HELD):
            return
        flows = inside = self.flows(sent.spec, sent.ends)
        if want.ends is not None:
            sides = {"": sent.direction, "inside": Direction.OUT2IN, "outside": Direction.IN2OUT}
            assert outcome.direction is sides[want.side]
            self.bind(want.ends, outcome.data, has_ports=sent.piece == 0)
            flows = [self.flow(sent.spec, want.ends)]
            assert (want.about is None) == (sent.spec.about is None)
            if want.about and sent.spec.about:
                embedded = outcome.data[(outcome.data[0] & 15) * 4 + 8 :]
                self.bind(want.about, embedded, has_ports=True)
                flows.append(self.flow(sent.spec.about, want.about))
        zero_for = inside[0] if sent.spec.zero_sum == "in" else None
        assert outcome.data.hex() == build(sent.spec, flows, zero_for)[sent.piece].hex()

    def count(self, name: str) -> int:
        """Return a counter or gauge over all instances, after housekeeping."""
        self.engine.advance(0)
        self.late += self.engine.inject([])
        total = 0
        for instance in self.engine.snapshot().instances:
            is_counter = name in {one.name for one in fields(Counters)}
            total += getattr(instance.counters if is_counter else instance.gauges, name)
        return total

    def late_fragment(self, want: Want) -> None:
        """Check the next fragment that comes out of the store."""
        if not self.late:
            self.engine.advance(0)
            self.late += self.engine.inject([])
        assert self.late, "nothing came out of the fragment store"
        self.check(want, self.late.popleft())

    def steps(self, vector: Vector) -> None:
        """Take every step; a failure names its line."""
        for step in vector.steps:
            try:
                match step:
                    case PacketStep():
                        self.packet(step)
                    case LateStep():
                        self.late_fragment(step.want)
                    case WaitStep():
                        self.engine.advance(step.seconds)
                        self.late += self.engine.inject([])
                    case CountStep():
                        assert self.count(step.name) == step.value, step.name
                    case CompareStep():
                        self.compare(step)
            except AssertionError as error:
                error.add_note(f"{FOLDER / vector.file}:{step.line}")
                raise
        assert not self.late, "a fragment came out of the store that no `late` line expects"


@pytest.mark.parametrize("vector", VECTORS, ids=[f"{v.file}/{v.name}" for v in VECTORS])
def test_vector(vector: Vector) -> None:
    for instances in vector.instances:
        with Engine(settings_of(vector, instances)) as engine:
            Run(engine=engine).steps(vector)


def test_every_vector_says_what_it_shows() -> None:
    assert len({(v.file, v.name) for v in VECTORS}) == len(VECTORS) > 100
    for vector in VECTORS:
        assert vector.shows, vector.name
        assert all(step.want for step in vector.steps if isinstance(step, PacketStep))


def test_every_reason_is_shown() -> None:
    shown = {
        (step.want.verdict, step.want.reason)
        for vector in VECTORS
        for step in vector.steps
        if isinstance(step, PacketStep | LateStep) and step.want
    }
    for drop in DropReason:
        assert ((Verdict.DROPPED, drop.name.lower()) in shown) != (drop in NEVER), drop
    for passed in PassReason:
        assert (Verdict.PASSED, passed.name.lower()) in shown, passed

# SPDX-License-Identifier: Apache-2.0
"""Every vector of tests/vectors through VPP: the same packets, the same bytes, the same reasons.

One worker has the inside interface and another the outside one, so with several of them most
packets are handed over. What differs from the core alone is VPP's part of a packet's way:

* the router takes one from the TTL, so a packet is sent with one more than the vector says;
* ``ip4-input`` refuses malformed headers, wrong header checksums and a fragment offset of 1
  before the NAT sees them;
* VPP does not forward packets with IP options and takes multicast elsewhere;
* the interfaces carry 9,000 bytes.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from conftest import RUNNING, worker_counts
from vpp import ROOT, Vpp, wait_until

sys.path.insert(0, str(ROOT))

from hashmvt.model import Direction, Verdict
from hashmvt.names import Counters, DropReason, Gauges, PassReason
from tests.py.vectors.language import (
    CompareStep,
    CountStep,
    LateStep,
    PacketStep,
    Vector,
    WaitStep,
    read,
)
from tests.py.vectors.packets import Spec, build
from tests.py.vectors.values import Values

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.py.vectors.language import Ends, Want

FOLDER = ROOT / "tests" / "vectors"
VECTORS = [vector for path in sorted(FOLDER.glob("*.vec")) for vector in read(path)]
INSIDE, OUTSIDE = "host-w0", "host-w1"
SIDES = {Direction.IN2OUT: (INSIDE, OUTSIDE), Direction.OUT2IN: (OUTSIDE, INSIDE)}
MOST = 8900
"""Bytes of payload that fit a packet."""
VPP_REFUSES = ("malformed", "bad_checksum", "fragment_invalid")
"""Reasons for which ``ip4-input`` may have dropped a packet already."""
ENABLE = {
    "ports": "ports",
    "block_size": "block-size",
    "allocation": "allocation",
    "max_mappings": "max-mappings",
    "max_sessions": "max-sessions",
    "max_hosts": "max-hosts",
    "hold_down.seconds": "hold-down",
}
POLICY = {
    "filtering": "filtering",
    "max_blocks_per_host": "max-blocks-per-host",
    "limits.mappings_per_host": "mappings-per-host",
    "limits.mappings_per_host.udp": "udp-mappings-per-host",
    "limits.new_per_second_per_host": "new-per-second-per-host",
    "timeouts.udp": "udp-timeout",
    "timeouts.icmp": "icmp-timeout",
    "timeouts.tcp_established": "tcp-established-timeout",
    "timeouts.tcp_transitory": "tcp-transitory-timeout",
    "timeouts.tcp_incoming_syn": "tcp-incoming-syn-timeout",
}


def commands_of(vector: Vector, instances: int) -> list[str]:
    """Return what to say to VPP for a vector's ``config`` lines."""
    enable = {"max-mappings": "4096", "block-size": "64", "hold-down": "0"}
    policy = {"max-blocks-per-host": "4"}
    flags: list[str] = []
    pool = "198.51.100.0/30"
    more: list[str] = []
    for key, values in vector.config:
        match key, values:
            case "pool", (pool,):
                pass
            case "fallback", (text,):
                flags += ["paired-only"] if text == "false" else []
            case "exempt", (text,):
                more.append(f"hashmvt exempt add {text}")
            case "static", (one, other):
                more.append(f"hashmvt static add prefix {one} {other}")
            case "static", (proto, one, other):
                more.append(
                    f"hashmvt static add {proto} {one.replace(':', ' ')} {other.replace(':', ' ')}"
                )
            case _, (text,) if key in ENABLE:
                enable[ENABLE[key]] = text
            case _, (text,) if key in POLICY:
                policy[POLICY[key]] = text
            case _:
                pytest.fail(f"{vector.file}: config {key} {values}")
    words = [f"{k} {v}" for k, v in enable.items()]
    options = [f"{k} {v}" for k, v in policy.items()] + flags
    return [
        f"hashmvt enable instances {instances} max-addresses 64 clock manual {' '.join(words)}",
        f"hashmvt interface add {INSIDE} in",
        f"hashmvt interface add {OUTSIDE} out",
        f"hashmvt policy add default {' '.join(options)}",
        "hashmvt policy add 10.0.0.0/8",
        f"hashmvt pool add {pool}",
        *more,
    ]


@pytest.fixture(scope="module", params=worker_counts(), ids=lambda n: f"workers{n}")
def router(request: pytest.FixtureRequest) -> Iterator[Vpp]:
    """Run a VPP that is only for vectors."""
    directory = Path(f"/tmp/hmvt-{os.getpid()}-v{request.param}")
    vpp = Vpp(directory, workers=request.param)
    vpp.start(set_up)
    RUNNING.append(vpp)
    yield vpp
    RUNNING.remove(vpp)
    vpp.end()


def set_up(vpp: Vpp) -> None:
    """Route 10.0.0.0/8 to the inside and everything else to the outside."""
    for number in (0, 1):
        vpp.create_wire(number, f"100.64.{number}.1/30", [f"100.64.{number}.2"])
    vpp.do(
        f"ip route add 10.0.0.0/8 via 100.64.0.2 {INSIDE}",
        f"ip route add 0.0.0.0/0 via 100.64.1.2 {OUTSIDE}",
    )


def as_routed(spec: Spec) -> tuple[Spec, Spec]:
    """Return what is sent so that VPP routes it, and what comes out if nothing is translated."""
    if not spec.raw and not spec.cut:
        spec = replace(spec, payload=min(spec.payload, MOST))
    if not spec.patches:
        spec = replace(spec, options=0)
    sent = replace(spec, ttl=min(255, spec.ttl + 1))
    return sent, replace(spec, ttl=sent.ttl - 1)


@dataclass(frozen=True, slots=True)
class Seen:
    """An IP packet that came out of an interface."""

    side: str
    data: bytes

    @property
    def first(self) -> bool:
        """Does it hold the L4 header?"""
        return not int.from_bytes(self.data[6:8]) & 0x1FFF


@dataclass(slots=True, kw_only=True)
class Run(Values):
    """A vector on its way through VPP."""

    vpp: Vpp
    api: Any
    seen: deque[Seen] = field(default_factory=deque)
    """What came out and was not expected yet."""
    waiting: deque[tuple[PacketStep, int]] = field(default_factory=deque)
    """Pieces that the NAT holds."""

    # ---- counters ----

    def instances(self) -> list[Any]:
        """Return every instance's counters."""
        return list(self.api.hashmvt_instance_get()[1])

    def dropped(self, reason: str) -> int:
        """Return how many packets were dropped for a reason, by the NAT or in its stead by VPP."""
        position = DropReason[reason.upper()].value[0]
        count = sum(i.dropped[position] for i in self.instances())
        if reason in VPP_REFUSES:
            errors = self.vpp.errors().items()
            count += sum(n for (node, _), n in errors if node == "ip4-input")
        return count

    def passed(self, reason: str) -> int:
        """Return how many packets were passed for a reason."""
        position = PassReason[reason.upper()].value[0]
        return sum(i.passed[position] for i in self.instances())

    def counter(self, name: str) -> int:
        """Return a counter or gauge, summed over the instances."""
        names = [*Counters.__dataclass_fields__, *Gauges.__dataclass_fields__]
        return sum(i.counters[names.index(name)] for i in self.instances())

    # ---- packets ----

    def arrive(self) -> None:
        """Take what came out."""
        for side in (INSIDE, OUTSIDE):
            for frame in self.vpp.arrived(side):
                length = int.from_bytes(frame[16:18])
                if frame[12:14] == b"\x08\x00":
                    self.seen.append(Seen(side, frame[14 : 14 + length]))

    def any_first(self) -> Seen:
        """Wait for a packet that holds its L4 header and return it."""
        wait_until("a packet to come out", lambda: self.arrive() or any(s.first for s in self.seen))
        return next(s for s in self.seen if s.first)

    def take(self, wanted: Seen) -> None:
        """Wait for the very packet; a wrong one is shown beside it."""

        def come() -> bool:
            self.arrive()
            return bool(self.seen)

        wait_until("a packet to come out", come)
        if wanted not in self.seen:
            wait_until("the last packet", lambda: self.arrive() or wanted in self.seen, 1.0)
        self.seen.remove(wanted)

    def packet(self, step: PacketStep) -> None:
        """Send a packet, or its pieces, and check what becomes of them."""
        want = step.want
        assert want is not None
        sent, unchanged = as_routed(step.spec)
        step = replace(step, spec=unchanged)
        flows = self.flows(sent, step.ends)
        zero_for = None
        if sent.zero_sum == "out":
            assert want.ends is not None
            zero_for = self.flow(sent, want.ends)
        pieces = list(enumerate(build(sent, flows, zero_for)))
        if sent.piece:
            pieces = [pieces[sent.piece - 1]]
        elif sent.reverse:
            pieces.reverse()
        before = self.fates(want)
        source = SIDES[step.direction][0]
        self.vpp.emit(source, [self.vpp.ethernet(source) + p for _, p in pieces])
        if want.verdict in (Verdict.TRANSLATED, Verdict.PASSED):
            for piece, _ in sorted(pieces):
                self.come_out(want, step, piece)
            if want.verdict is Verdict.TRANSLATED:
                return
        if want.verdict is Verdict.HELD:
            self.waiting += [(step, piece) for piece, _ in pieces]
        if self.multicast(step):
            return
        wait_until(
            f"{want.verdict.name.lower()} {want.reason}",
            lambda: self.fates(want) >= before + len(pieces),
        )

    def fates(self, want: Want) -> int:
        """Return how many packets had this fate."""
        match want.verdict:
            case Verdict.DROPPED:
                return self.dropped(want.reason)
            case Verdict.PASSED:
                return self.passed(want.reason)
            case Verdict.HELD:
                return self.counter("fragments_held")
            case _:
                return 0

    def multicast(self, step: PacketStep) -> bool:
        """Is it for a group? VPP shows unicast features only unicast packets."""
        return bool(step.ends) and 224 <= self.value(step.ends[0].dst.addr) >> 24 < 240

    def come_out(self, want: Want, step: PacketStep, piece: int) -> None:
        """Check that a packet comes out: side and every byte."""
        target = SIDES[step.direction][1]
        flows = inside = self.flows(step.spec, step.ends)
        if want.ends is not None:
            side = {"": target, "inside": INSIDE, "outside": OUTSIDE}[want.side]
            if self.unbound(want.ends) or (want.about and self.unbound(want.about)):
                first = self.any_first()
                self.bind(want.ends, first.data, has_ports=True)
                if want.about:
                    embedded = first.data[(first.data[0] & 15) * 4 + 8 :]
                    self.bind(want.about, embedded, has_ports=True)
            flows = [self.flow(step.spec, want.ends)]
            if want.about and step.spec.about:
                flows.append(self.flow(step.spec.about, want.about))
        else:
            to = IPv4Address(flows[0].dst)
            if int(to) >> 24 >= 224:
                return
            side = INSIDE if int(to) >> 24 == 10 else OUTSIDE
        zero_for = inside[0] if step.spec.zero_sum == "in" else None
        data = build(step.spec, flows, zero_for)[piece]
        self.take(Seen(side, data[: int.from_bytes(data[2:4])]))

    def unbound(self, ends: Ends) -> bool:
        """Has a variable no value yet?"""
        terms = (ends.src.addr, ends.src.port, ends.dst.addr, ends.dst.port)
        return any(getattr(t, "name", None) not in {None, *self.values} for t in terms)

    def late(self, want: Want) -> None:
        """Check the next fragment that the NAT lets go."""
        step, piece = self.waiting.popleft()
        if want.verdict is Verdict.DROPPED:
            wait_until(f"dropped {want.reason}", lambda: self.dropped(want.reason) > 0)
        else:
            self.come_out(want, step, piece)

    def steps(self, vector: Vector) -> None:
        """Take every step; a failure names its line."""
        for step in vector.steps:
            try:
                match step:
                    case PacketStep():
                        self.packet(step)
                    case LateStep():
                        self.late(step.want)
                    case WaitStep():
                        assert self.api.hashmvt_clock_advance(seconds=step.seconds).retval == 0
                    case CountStep():
                        self.count(step)
                    case CompareStep():
                        self.compare(step)
            except (AssertionError, TimeoutError, ValueError) as error:
                error.add_note(f"{FOLDER / vector.file}:{step.line}")
                error.add_note(f"came out: {[(s.side, s.data.hex()) for s in self.seen]}")
                raise
        self.arrive()
        assert not self.seen, "packets came out that no line expects"

    def count(self, step: CountStep) -> None:
        """Wait until a counter or gauge is what is expected."""
        wait_until(
            f"{step.name} {step.value}, it is {self.counter(step.name)}",
            lambda: self.counter(step.name) == step.value,
        )


@pytest.mark.parametrize("vector", VECTORS, ids=[f"{v.file}/{v.name}" for v in VECTORS])
def test_vector(router: Vpp, vector: Vector) -> None:
    """One vector, with as many active instances as it allows and there are workers."""
    instances = max(n for n in vector.instances if n <= max(1, router.workers))
    router.do(*commands_of(vector, instances))
    try:
        Run(vpp=router, api=router.api).steps(vector)
    finally:
        router.do("hashmvt disable")

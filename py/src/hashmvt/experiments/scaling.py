# SPDX-License-Identifier: Apache-2.0
"""Instances side by side, on shards or on one shared pool, and what their agent takes."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from hashmvt._ffi._bench import ffi, lib
from hashmvt._ffi._mvt import ffi as mvt_ffi
from hashmvt._ffi._mvt import lib as mvt_lib
from hashmvt.control import wire
from hashmvt.control.agent import beats_of
from hashmvt.dataplane.embedded import Engine
from hashmvt.errors import HashMvtError
from hashmvt.names import ErrorCode

if TYPE_CHECKING:
    from hashmvt._ffi._mvt import CData
    from hashmvt.dataplane.embedded import EngineSettings


UNDISTURBED = 0.01
TRIES = 64
_LEARN = 100


class Nat(Enum):
    """What is compared; the value is its name in output."""

    HASHMVT = "hashmvt"
    """The core, a shard for each instance."""
    OWN = "plain-own-pool"
    """A plain NAT, a pool for each instance: what the next two are to be compared with."""
    LOCK = "plain-shared-lock"
    """The same, one pool for all under a lock."""
    ATOMIC = "plain-shared-atomic"
    """The same, one pool for all under atomic operations."""
    NONE = "arithmetic"
    """No NAT and no memory, but all of a CPU's adders busy: how far the CPUs themselves are two."""


_C = {
    Nat.HASHMVT: lib.BENCH_NAT_HASHMVT,
    Nat.OWN: lib.BENCH_NAT_OWN,
    Nat.LOCK: lib.BENCH_NAT_LOCK,
    Nat.ATOMIC: lib.BENCH_NAT_ATOMIC,
    Nat.NONE: lib.BENCH_NAT_NONE,
}


@dataclass(frozen=True, slots=True)
class Case:
    """What is measured."""

    nat: Nat
    instances: int
    flows: int
    """Of each instance, made before."""
    new_per_1024: int
    """Packets that open a flow."""
    batches: int
    """Of 256 packets, of the instance that is done first; then the others stop."""


@dataclass(frozen=True, slots=True)
class Run:
    """What one run gave."""

    mpps: float
    clocks_per_packet: float
    disturbed: float
    """Largest share of an instance's CPU that others had."""
    packets: int
    created: int
    wrong: int


@dataclass(frozen=True, slots=True)
class Trace:
    """Which lines of memory two instances use, and what a packet takes."""

    lines: tuple[int, int]
    """Written."""
    both: int
    """Lines that both wrote."""
    across: int
    """Lines that one wrote and the other read."""
    instructions: float
    """Per packet, its source not included."""


@dataclass(frozen=True, slots=True)
class AgentParts:
    """What an instance's thread does beside packets in a turn of its loop; clocks."""

    turn: float
    """All of it, with 256 packets and their source."""
    mailbox: float
    load: float
    """Counting loops and cycles, which is how load is known."""
    sweep: float


def _case(case: Case, seed: int) -> CData:
    return ffi.new(
        "bench_scale_t *",
        {
            "nat": _C[case.nat],
            "instances": case.instances,
            "flows": case.flows,
            "new_per_1024": case.new_per_1024,
            "batches": case.batches,
            "seed": seed,
        },
    )


def _check(case: Case, code: int) -> None:
    if code < 0:
        reason = mvt_ffi.string(mvt_lib.mvt_err_text(code)).decode()
        raise HashMvtError(
            f"{case.nat.value}: {case.instances} instances with {case.flows} flows cannot be "
            f"measured: {reason}"
        )


class Meter:
    """Measures cases while nobody else uses their CPUs, as far as that can be had.

    Others take a CPU's time, which its thread's clock tells. Or they use the other thread of the
    same core, which a virtual machine is not told: a piece of arithmetic before and after each run
    tells it, which takes longer than it did at its best with as many instances.
    """

    def __init__(self, most: int) -> None:
        """Learn what arithmetic takes with 1 to ``most`` instances, in a second or less."""
        self._best: dict[int, int] = {}
        for n in range(1, most + 1):
            for seed in range(_LEARN):
                self._run(Case(Nat.NONE, n, _LEARN, 0, _LEARN), seed=seed)

    def measure(self, case: Case, *, seed: int) -> Run:
        """Run a case, each instance on a thread and CPU of its own, all in the same span of time.

        Again, up to ``TRIES`` times, while others had more than a hundredth of an instance's CPU;
        the least disturbed run counts.

        Raises:
            HashMvtError: there is no memory for it, or its numbers are out of range.

        """
        best = self._run(case, seed=seed)
        for _again in range(TRIES - 1):
            if best.disturbed <= UNDISTURBED:
                break
            best = min(best, self._run(case, seed=seed), key=lambda run: run.disturbed)
        return best

    def _run(self, case: Case, *, seed: int) -> Run:
        c = _case(case, seed)
        _check(case, lib.bench_scale(c))
        best = min(c.probe, self._best.get(case.instances, c.probe))
        self._best[case.instances] = best
        disturbed = max(c.disturbed, 1 - best / c.probe)
        return Run(c.mpps, c.cost.clocks, disturbed, c.packets, c.created, c.wrong)


def trace(case: Case, *, seed: int) -> Trace | None:
    """Watch two instances, in turn on this thread, ``batches`` of 32 packets each.

    None where the CPU or the system cannot do it, and without a NAT. No other thread may run.

    Raises:
        HashMvtError: there is no memory for it, or its numbers are out of range.

    """
    if case.nat is Nat.NONE:
        return None
    out = ffi.new("bench_trace_t *")
    code = lib.bench_scale_trace(_case(case, seed), out)
    if code == ErrorCode.UNSUPPORTED:
        return None
    _check(case, code)
    return Trace((out.lines[0], out.lines[1]), out.both, out.across, out.instructions)


def agent_parts(case: Case, *, seed: int) -> AgentParts:
    """Time the parts of a turn, on this thread; the case is one instance of HashMVT.

    Raises:
        HashMvtError: there is no memory for it, or its numbers are out of range.

    """
    out = ffi.new("bench_agent_t *")
    _check(case, lib.bench_scale_agent(_case(case, seed), out))
    return AgentParts(out.turn, out.mailbox, out.load, out.sweep)


def heartbeat_s(settings: EngineSettings, *, times: int) -> float:
    """Return the CPU seconds that a heartbeat of all instances takes, sending included."""
    with Engine(settings) as engine, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
        nobody.bind(("127.0.0.1", 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sender = wire.Sender(settings.host, bytes(32), boot_id=1)
            before, home = engine.snapshot(), engine.home()
            began = time.thread_time()
            for now_ms in range(times):
                snapshot = engine.snapshot()
                for datagram in sender.datagrams(home, beats_of(before, snapshot), now_ms=now_ms):
                    sock.sendto(datagram, nobody.getsockname())
                before = snapshot
            return (time.thread_time() - began) / times

# SPDX-License-Identifier: Apache-2.0
"""Measuring the core, without I/O: one call is one run of one case."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hashmvt._ffi._mvt import ffi, lib
from hashmvt.dataplane.embedded import convert
from hashmvt.dataplane.embedded.engine import rejected
from hashmvt.model import Direction, Filtering, Proto

if TYPE_CHECKING:
    from hashmvt.dataplane.embedded.settings import EngineSettings


@dataclass(frozen=True, slots=True)
class Case:
    """What is measured."""

    flows: int
    """Mappings of each instance."""
    direction: Direction = Direction.IN2OUT
    random_order: bool = True
    proto: Proto = Proto.UDP
    new_flows: bool = False
    """Making mappings instead of hits."""
    instances: int = 1
    """Side by side, each on a thread of its own."""
    remotes: int = 1
    """That each flow talks with, at random."""
    filtering: Filtering = Filtering.ENDPOINT_INDEPENDENT
    """Of all protocols, instead of what the settings say; endpoint-independent: what they say."""


@dataclass(frozen=True, slots=True)
class Run:
    """What one run gave."""

    clocks_per_packet: float
    packets_per_second: float
    packets: int
    wrong: int
    """Packets that were not translated; a run with any says nothing."""
    memory_bytes: int = 0
    """What one instance's mappings take in pages of 4 KiB, where it was asked for."""
    touch_clocks: float = 0.0
    """Clocks of a packet whose two lines are only read, 0 for new mappings."""
    resident_bytes: int = 0
    """Of the timed instances, in all pages."""
    reserved_bytes: int = 0
    """Of them, in huge pages that were reserved."""
    transparent_bytes: int = 0
    """Of them, in transparent huge pages."""


def measure(
    settings: EngineSettings, case: Case, *, batches: int, seed: int, count_memory: bool = False
) -> Run:
    """Run a case once: ``batches`` of 256 packets after a warm-up.

    Raises:
        Rejected: the case cannot be measured here (memory, out of range), with its sentence.

    """
    config = convert.settings_to_c(settings)
    bench = ffi.new("mvt_bench_case_t *")
    bench.flows, bench.batches = case.flows, batches
    bench.direction, bench.proto = case.direction, case.proto
    bench.random_order, bench.new_flows = case.random_order, case.new_flows
    bench.instances, bench.seed = case.instances, seed
    bench.count_memory, bench.remotes = count_memory, case.remotes
    bench.filter = case.filtering
    sentence = ffi.new("char[]", lib.MVT_ENGINE_ERR_LEN)
    code = lib.mvt_engine_bench(config.c, bench, sentence)
    if code < 0:
        raise rejected(code, convert.text(sentence))
    return Run(
        clocks_per_packet=bench.clocks_per_packet,
        packets_per_second=bench.packets / bench.seconds if bench.seconds > 0 else 0.0,
        packets=bench.packets,
        wrong=bench.wrong,
        memory_bytes=bench.memory_bytes,
        touch_clocks=bench.touch_clocks,
        resident_bytes=bench.resident,
        reserved_bytes=bench.resident_reserved,
        transparent_bytes=bench.resident_transparent,
    )

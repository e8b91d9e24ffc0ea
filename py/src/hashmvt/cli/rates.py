# SPDX-License-Identifier: Apache-2.0
"""What happened between two snapshots: pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashmvt.model import InstanceSnapshot, Snapshot


@dataclass(frozen=True, slots=True)
class Rates:
    """One instance, per second."""

    load: float | None
    """Busy cycles over all cycles; None when the thread did not turn."""
    in2out: float = 0.0
    """Packets translated."""
    out2in: float = 0.0
    passed: float = 0.0
    dropped: float = 0.0
    created: float = 0.0
    """Mappings made."""
    handed_over: float = 0.0


def between(before: Snapshot, after: Snapshot) -> dict[int, Rates]:
    """Return the rates of every instance that both snapshots hold."""
    seconds = max((after.taken_ns - before.taken_ns) / 1e9, 1e-9)
    old = {instance.id: instance for instance in before.instances}
    return {new.id: _rates(old[new.id], new, seconds) for new in after.instances if new.id in old}


def _rates(old: InstanceSnapshot, new: InstanceSnapshot, seconds: float) -> Rates:
    cycles = new.cycles_total - old.cycles_total
    busy = new.cycles_busy - old.cycles_busy
    was, now = old.counters, new.counters
    return Rates(
        load=min(busy / cycles, 1.0) if cycles > 0 else None,
        in2out=(now.translated_in2out - was.translated_in2out) / seconds,
        out2in=(now.translated_out2in - was.translated_out2in) / seconds,
        passed=(sum(new.passed) - sum(old.passed)) / seconds,
        dropped=(drops(new) - drops(old)) / seconds,
        created=(now.mappings_created - was.mappings_created) / seconds,
        handed_over=(now.handed_over - was.handed_over) / seconds,
    )


def drops(instance: InstanceSnapshot) -> int:
    """Return every packet lost at an instance: dropped, ring full, refused by the device."""
    return sum(instance.dropped) + instance.ring_dropped + instance.io_errors

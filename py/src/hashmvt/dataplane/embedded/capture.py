# SPDX-License-Identifier: Apache-2.0
"""Captures through a stepped engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hashmvt._ffi._mvt import ffi, lib
from hashmvt.dataplane.embedded import convert
from hashmvt.dataplane.embedded.engine import rejected

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hashmvt._ffi._mvt import CData
    from hashmvt.dataplane.embedded.engine import Engine
    from hashmvt.names import DropReason


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of a capture."""

    packets_in: int
    """IPv4 packets read."""
    packets_out: int
    """Packets written, translated or passed."""
    passed: int
    held: int
    """Fragments that still waited for their first one at the end."""
    dropped: tuple[tuple[DropReason, int], ...]
    """Reasons that occurred."""
    skipped: int
    """Records that hold no IPv4 packet: written unchanged."""
    truncated: int
    """Packets that the capture cut short: written translated as far as they go."""
    cut_at: int | None
    """Offset of the broken record, when the capture is cut; everything before it was written."""


class _Progress:
    """Carries progress out of C, and Ctrl-C into it."""

    def __init__(self, report: Callable[[int, int], None] | None) -> None:
        self._report = report
        self.error: BaseException | None = None

    def __call__(self, done: int, total: int) -> int:
        try:
            if self._report:
                self._report(done, total)
        except BaseException as error:  # noqa: BLE001 - raised again by replay
            self.error = error
            return 1
        return 0


@ffi.def_extern(error=1)
def hashmvt_progress(ctx: CData, done: int, total: int) -> int:
    """Call the progress object behind ``ctx``."""
    progress: _Progress = ffi.from_handle(ctx)
    return progress(done, total)


def replay(
    engine: Engine,
    source: Path,
    target: Path,
    report: Callable[[int, int], None] | None = None,
) -> Replayed:
    """NAT a capture through a stepped engine; time is the packets'.

    Args:
        engine: stepped.
        source: pcap or pcapng.
        target: is written; replaced when it exists.
        report: called now and then with (done, total) bytes; what it raises stops the replay and
            is raised here.

    Raises:
        Rejected: a file cannot be read or written, or is no capture; with its sentence.

    """
    progress = _Progress(report)
    handle = ffi.new_handle(progress)
    result = ffi.new("mvt_replay_result_t *")
    sentence = ffi.new("char[]", lib.MVT_ENGINE_ERR_LEN)
    code = lib.mvt_engine_replay(
        engine.handle,
        bytes(source),
        bytes(target),
        result,
        lib.hashmvt_progress,
        handle,
        sentence,
    )
    if progress.error is not None:
        raise progress.error
    if code < 0:
        raise rejected(code, convert.text(sentence))
    return Replayed(
        packets_in=getattr(result, "in"),
        packets_out=result.out,
        passed=result.passed,
        held=result.held,
        dropped=convert.drops_from_c(result.dropped),
        skipped=result.skipped,
        truncated=result.truncated,
        cut_at=result.bytes_offset if result.cut else None,
    )

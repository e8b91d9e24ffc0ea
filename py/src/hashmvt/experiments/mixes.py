# SPDX-License-Identifier: Apache-2.0
"""A mix of flows, from a capture or made up, as what NICs bring to the instances of an engine."""

from __future__ import annotations

import gzip
import tempfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hashmvt._ffi._bench import ffi, lib
from hashmvt._ffi._mvt import lib as mvt_lib
from hashmvt.errors import HashMvtError

if TYPE_CHECKING:
    from pathlib import Path

    from hashmvt._ffi._mvt import CData

_GZIP = b"\x1f\x8b"


class MixError(HashMvtError):
    """There is no such mix; the message says why."""


class Mix:
    """Which flow each packet belongs to, in their order. Whoever makes it closes it."""

    def __init__(self, name: str, mix: CData) -> None:
        """Take over a C mix; ``read`` and ``make`` are the ways to one."""
        self.name = name
        self.c = mix
        info = lib.bench_mix_info(mix)
        self.packets: int = info.packets
        self.flows: int = info.flows
        self.hosts: int = info.hosts
        """That began flows: they are inside."""

    @classmethod
    def read(cls, path: Path) -> Mix:
        """Read the TCP and UDP packets of a capture (pcap or pcapng, perhaps with gzip).

        Raises:
            MixError: it is no capture, or has no such packet.
            OSError: it cannot be read.

        """
        with path.open("rb") as file:
            packed = file.read(2) == _GZIP
        if not packed:
            return cls(path.name, _read(path, str(path)))
        with tempfile.NamedTemporaryFile() as plain:
            try:
                plain.write(gzip.decompress(path.read_bytes()))
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise MixError(f"{path} is damaged: {error}") from None
            plain.flush()
            return cls(path.name, _read(path, plain.name))

    @classmethod
    def make(cls, *, seed: int) -> Mix:
        """Make one up: flows whose sizes are after Zipf.

        Raises:
            MixError: there is no memory for it.

        """
        mix = lib.bench_mix_make(seed)
        if mix == ffi.NULL:
            raise MixError("no memory for a mix of flows")
        return cls("made up", mix)

    def close(self) -> None:
        """Give its memory back."""
        lib.bench_mix_remove(self.c)


def _read(path: Path, name: str) -> CData:
    sentence = ffi.new("char[]", mvt_lib.MVT_ENGINE_ERR_LEN)
    mix = lib.bench_mix_read(name.encode(), sentence)
    if mix == ffi.NULL:
        raise MixError(ffi.string(sentence).decode().replace(name, str(path)))
    return mix


@dataclass(frozen=True, slots=True)
class Counts:
    """Packets of one instance since the beginning."""

    offered: int
    """That came to its queue."""
    lost: int
    """Of them, its queue was full."""
    translated: int
    refused: int


class Source:
    """Brings a mix to an engine's instances. Close it when the engine is closed, not before."""

    def __init__(self, engine: CData, mix: Mix, *, instances: int, lifetime_s: float) -> None:
        """Attach to an engine with threads and without devices; nothing comes yet.

        Raises:
            MixError: there is no memory for it.

        """
        self._n = instances
        ours = ffi.cast("struct mvt_engine *", int(ffi.cast("uintptr_t", engine)))
        self._c = lib.bench_source_new(ours, mix.c, lifetime_s)
        if self._c == ffi.NULL:
            raise MixError("no memory for the queues of the instances")

    def rate(self, packets_per_second: float | None) -> None:
        """Let come so many; None: as many as instances take."""
        most = packets_per_second is None
        lib.bench_source_rate(
            self._c, lib.BENCH_RATE_MOST if most else int(packets_per_second or 0)
        )

    def read(self) -> tuple[float, tuple[Counts, ...]]:
        """Return what was counted, and the second that it is of."""
        counts = ffi.new("bench_source_count_t[]", self._n)
        at = lib.bench_source_read(self._c, counts, self._n)
        return at, tuple(Counts(c.offered, c.lost, c.translated, c.refused) for c in counts)

    def close(self) -> None:
        """Give its memory back."""
        lib.bench_source_remove(self._c)

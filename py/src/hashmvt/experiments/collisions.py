# SPDX-License-Identifier: Apache-2.0
"""Collisions of a routing table's prefixes, told apart."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from hashmvt._ffi._bench import ffi, lib
from hashmvt.errors import HashMvtError

if TYPE_CHECKING:
    from hashmvt._ffi._mvt import CData
    from hashmvt.experiments.tables import Table


class Keys(Enum):
    """How prefixes become keys, and keys rows; the value is its name in output."""

    PADDED = "crc32c-padded"
    """The paper's five lengths; CRC32C of the address with zeros for what is masked."""
    EXACT = "crc32c-exact"
    """The same, CRC32C over the bytes of the prefix alone."""
    PAPER = "paper"
    """HashMVT's paper mode: the length is part of the key, the hash is keyed."""
    DEFAULT = "default"
    """HashMVT's default mode: every prefix is a key of its own, rows are buckets of 8."""


_C = {
    Keys.PADDED: lib.BENCH_KEYS_PADDED,
    Keys.EXACT: lib.BENCH_KEYS_EXACT,
    Keys.PAPER: lib.BENCH_KEYS_PAPER,
    Keys.DEFAULT: lib.BENCH_KEYS_DEFAULT,
}


@dataclass(frozen=True, slots=True)
class Collisions:
    """Of one table; each insert is counted once, under the first of the three that holds."""

    entries: int
    rows: int
    same_key: int
    """Inserts that met an entry with the very same key."""
    same_hash: int
    """Inserts that met another key with an equal 32-bit hash."""
    same_row: int
    """Inserts that met an occupied row; default mode: entries outside their own bucket."""
    chain_max: int
    chain_mean: float
    """Entries on the row of an entry, mean over entries; 0 in default mode."""


class Counter:
    """Counts samples of one table."""

    def __init__(self, table: Table) -> None:
        """Take a copy of the table's prefixes."""
        self._n = len(table.prefixes)
        self._c: CData = table.to_c()

    def count(self, keys: Keys, entries: int, *, rows: int = 0, seed: int = 1) -> Collisions:
        """Insert ``entries`` prefixes picked at random; 0 rows are as many as the table takes.

        Raises:
            HashMvtError: there is no memory for it.

        """
        lib.bench_sample(self._c, self._n, entries, seed)
        out = ffi.new("bench_collisions_t *")
        if lib.bench_collisions(_C[keys], self._c, entries, rows, seed, out) < 0:
            raise HashMvtError(f"there is no memory for a table of {entries} prefixes")
        return Collisions(
            out.entries,
            out.rows,
            out.same_key,
            out.same_hash,
            out.same_row,
            out.chain_max,
            out.chain_mean,
        )

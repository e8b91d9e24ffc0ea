# SPDX-License-Identifier: Apache-2.0
"""Longest match in routing tables, and exact flows: HashMVT beside DPDK.

A ``Matcher`` is a structure filled with a table; the same addresses are looked up in all of them,
and what they find can be compared.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from hashmvt._ffi._bench import ffi, lib
from hashmvt.errors import HashMvtError
from hashmvt.experiments import dpdk
from hashmvt.experiments.cost import Cost

if TYPE_CHECKING:
    from hashmvt.experiments.tables import Table


class Structure(Enum):
    """What matches; the value is its name in output."""

    PAPER = "paper"
    DEFAULT = "default"
    DPDK_FIB = "dpdk-fib"


class Traffic(Enum):
    """Which addresses are looked up; the value is its name in output."""

    UNIFORM = "uniform"
    """Any address."""
    PREFIX = "prefix"
    """Any prefix, and any address in it."""
    ZIPF = "zipf"
    """By rank, 1/rank, of addresses as in PREFIX."""


_TRAFFIC = {
    Traffic.UNIFORM: lib.BENCH_TRAFFIC_UNIFORM,
    Traffic.PREFIX: lib.BENCH_TRAFFIC_PREFIX,
    Traffic.ZIPF: lib.BENCH_TRAFFIC_ZIPF,
}
_OWN = {
    (Structure.PAPER, False): lib.BENCH_MATCH_PAPER,
    (Structure.PAPER, True): lib.BENCH_MATCH_PAPER_BATCH,
    (Structure.DEFAULT, False): lib.BENCH_MATCH_DEFAULT,
    (Structure.DEFAULT, True): lib.BENCH_MATCH_DEFAULT_BATCH,
}


class Lookups:
    """Addresses to look up, the same for every matcher."""

    def __init__(self, table: Table, traffic: Traffic, n: int, *, seed: int) -> None:
        """Choose ``n`` addresses; Zipf ranks as many.

        Raises:
            HashMvtError: there is no memory for it.

        """
        self.n = n
        self.addrs = ffi.new("uint32_t[]", n)
        prefixes = table.to_c()
        code = lib.bench_addresses(
            _TRAFFIC[traffic], prefixes, len(table.prefixes), n, seed, self.addrs, n
        )
        if code < 0:
            raise HashMvtError(f"there is no memory for {n} addresses")


class Matcher:
    """A structure that holds a table. Whoever makes it closes it."""

    def __init__(
        self, structure: Structure, table: Table, *, batch: bool, cache_lines: int, seed: int
    ) -> None:
        """Build it. ``batch``: 256 addresses at a time, in stages; past the state cache.

        Raises:
            HashMvtError: there is no memory for it, or no DPDK.

        """
        self.structure, self.batch, self.cache_lines = structure, batch, cache_lines
        if structure is Structure.DPDK_FIB:
            self._ops = dpdk.fib(bulk=batch)
        else:
            self._ops = lib.bench_matcher(_OWN[structure, batch])
        config = ffi.new("bench_table_config_t *", {"cache_lines": cache_lines, "seed": seed})
        self._table = self._ops.build(table.to_c(), len(table.prefixes), config)
        if self._table == ffi.NULL:
            raise HashMvtError(
                f"{structure.value}: no memory for a table of {len(table.prefixes)} prefixes"
            )

    @property
    def memory_bytes(self) -> int:
        """Return the memory that the structure takes."""
        taken: int = self._ops.bytes(self._table)
        return taken

    def look_up(self, lookups: Lookups) -> tuple[Cost, bytes]:
        """Look all addresses up once; the bytes are what was found, for comparing."""
        found = ffi.new("uint32_t[]", lookups.n)
        cost = ffi.new("bench_cost_t *")
        lib.bench_match_run(self._ops, self._table, lookups.addrs, lookups.n, found, cost)
        return Cost(cost.clocks, cost.ns), bytes(ffi.buffer(found))

    def close(self) -> None:
        """Give its memory back."""
        self._ops.remove(self._table)


class Exact(Enum):
    """What finds exact flows; the value is its name in output."""

    INDEX = "index"
    """HashMVT's in2out index with its entries."""
    RTE_HASH = "dpdk-hash"
    """DPDK's cuckoo hash with a line per session."""


class ExactMatcher:
    """A structure that holds flows. Whoever makes it closes it."""

    def __init__(self, structure: Exact, flows: int, *, seed: int) -> None:
        """Build it with so many flows, 16 a host.

        Raises:
            HashMvtError: there is no memory for it, or no DPDK.

        """
        self.structure, self.n = structure, flows
        self._ops = lib.bench_index() if structure is Exact.INDEX else dpdk.exact()
        self._flows = ffi.new("uint64_t[]", flows)
        lib.bench_flows(self._flows, flows)
        self._table = self._ops.build(self._flows, flows, seed)
        if self._table == ffi.NULL:
            raise HashMvtError(f"{structure.value}: no memory for {flows} flows")

    @property
    def memory_bytes(self) -> int:
        """Return the memory that the structure takes, entries included."""
        taken: int = self._ops.bytes(self._table)
        return taken

    def look_up(self, n: int, *, seed: int) -> tuple[Cost, bytes]:
        """Look up ``n`` flows in random order; the bytes are what was found."""
        keys, found = ffi.new("uint64_t[]", n), ffi.new("uint32_t[]", n)
        lib.bench_flow_keys(self._flows, self.n, seed, keys, n)
        cost = ffi.new("bench_cost_t *")
        lib.bench_exact_run(self._ops, self._table, keys, n, found, cost)
        return Cost(cost.clocks, cost.ns), bytes(ffi.buffer(found))

    def close(self) -> None:
        """Give its memory back."""
        self._ops.remove(self._table)

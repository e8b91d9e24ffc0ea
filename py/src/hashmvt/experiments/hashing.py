# SPDX-License-Identifier: Apache-2.0
"""Hashes of short keys: the instruction against tables."""

from __future__ import annotations

from enum import Enum

from hashmvt._ffi._bench import ffi, lib
from hashmvt.experiments.cost import Cost

KEY_BYTES = tuple(range(4, 41, 4))
"""Lengths that can be measured: an IPv4 address to an IPv6 5-tuple."""


class Hash(Enum):
    """A hash function; the value is its name in output."""

    HARDWARE = "crc32c-hardware"
    SLICING = "crc32c-slicing-by-8"
    BYTEWISE = "crc32c-bytewise"
    KEYED = "keyed"
    """What HashMVT hashes with: a keyed multiplication, then CRC32C in hardware."""


_C = {
    Hash.HARDWARE: lib.BENCH_HASH_HARDWARE,
    Hash.SLICING: lib.BENCH_HASH_SLICING,
    Hash.BYTEWISE: lib.BENCH_HASH_BYTEWISE,
    Hash.KEYED: lib.BENCH_HASH_KEYED,
}


def has_hardware() -> bool:
    """Is CRC32C an instruction in this build?"""
    return lib.bench_hash_has_hardware()


def value(how: Hash, key: bytes) -> int:
    """Return the hash of a key of 4, 8, ... 40 bytes."""
    return lib.bench_hash_value(_C[how], ffi.new("char[]", key), len(key))


def measure(how: Hash, key_bytes: int, *, keys: int, chained: bool) -> Cost:
    """Hash ``keys`` keys: independent ones (throughput) or each from the last (latency)."""
    cost = ffi.new("bench_cost_t *")
    lib.bench_hash_run(_C[how], key_bytes, keys, chained, cost)
    return Cost(cost.clocks, cost.ns)

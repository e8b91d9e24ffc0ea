# SPDX-License-Identifier: Apache-2.0
# Types of the compiled binding of the experiments; its declarations are in build_bench.py.
from typing import Final

from hashmvt._ffi._mvt import CData, _Ffi

ffi: _Ffi

class _Lib:
    BENCH_HASH_HARDWARE: Final[int]
    BENCH_HASH_SLICING: Final[int]
    BENCH_HASH_BYTEWISE: Final[int]
    BENCH_HASH_KEYED: Final[int]
    BENCH_MATCH_PAPER: Final[int]
    BENCH_MATCH_DEFAULT: Final[int]
    BENCH_MATCH_PAPER_BATCH: Final[int]
    BENCH_MATCH_DEFAULT_BATCH: Final[int]
    BENCH_TRAFFIC_UNIFORM: Final[int]
    BENCH_TRAFFIC_PREFIX: Final[int]
    BENCH_TRAFFIC_ZIPF: Final[int]
    BENCH_NAT_HASHMVT: Final[int]
    BENCH_NAT_OWN: Final[int]
    BENCH_NAT_LOCK: Final[int]
    BENCH_NAT_ATOMIC: Final[int]
    BENCH_NAT_NONE: Final[int]
    BENCH_KEYS_PADDED: Final[int]
    BENCH_KEYS_EXACT: Final[int]
    BENCH_KEYS_PAPER: Final[int]
    BENCH_KEYS_DEFAULT: Final[int]

    def bench_hash_has_hardware(self) -> bool: ...
    def bench_hash_value(self, how: int, key: CData, key_bytes: int) -> int: ...
    def bench_hash_run(
        self, how: int, key_bytes: int, keys: int, chained: bool, cost: CData
    ) -> int: ...
    def bench_matcher(self, which: int) -> CData: ...
    def bench_addresses(
        self,
        traffic: int,
        prefixes: CData,
        n_prefixes: int,
        distinct: int,
        seed: int,
        addrs: CData,
        n: int,
    ) -> int: ...
    def bench_match_run(
        self, matcher: CData, table: CData, addrs: CData, n: int, found: CData, cost: CData
    ) -> None: ...
    def bench_index(self) -> CData: ...
    def bench_flows(self, flows: CData, n: int) -> None: ...
    def bench_flow_keys(
        self, flows: CData, n_flows: int, seed: int, keys: CData, n: int
    ) -> None: ...
    def bench_exact_run(
        self, exact: CData, table: CData, keys: CData, n: int, found: CData, cost: CData
    ) -> None: ...
    def bench_collisions(
        self, keys: int, prefixes: CData, n: int, rows: int, seed: int, out: CData
    ) -> int: ...
    def bench_sample(self, prefixes: CData, n: int, count: int, seed: int) -> None: ...
    def bench_scale(self, c: CData) -> int: ...
    def bench_scale_trace(self, c: CData, out: CData) -> int: ...
    def bench_scale_agent(self, c: CData, out: CData) -> int: ...

lib: _Lib

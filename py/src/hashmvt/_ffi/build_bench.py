# SPDX-License-Identifier: Apache-2.0
"""The cffi binding of the experiments (plugin/bench), in API mode.

A module of its own: programs that forward packets do not load it.
"""

from __future__ import annotations

from pathlib import Path

from cffi import FFI

_PACKAGE = Path(__file__).resolve().parents[3]
_PLUGIN = _PACKAGE.parent / "plugin"
_NATIVE = _PACKAGE / "build" / "native" / "plugin"

DECLARATIONS = """
typedef struct { uint32_t addr; uint8_t len; ...; } mvt_prefix4_t;
typedef struct { double clocks; double ns; } bench_cost_t;

#define BENCH_HASH_HARDWARE ...
#define BENCH_HASH_SLICING ...
#define BENCH_HASH_BYTEWISE ...
#define BENCH_HASH_KEYED ...
bool bench_hash_has_hardware (void);
uint32_t bench_hash_value (int how, const void *key, uint32_t key_bytes);
int bench_hash_run (int how, uint32_t key_bytes, uint32_t keys, int chained, bench_cost_t *cost);

typedef struct { uint32_t cache_lines; uint64_t seed; } bench_table_config_t;
typedef struct {
    void *(*build) (const mvt_prefix4_t *prefixes, uint32_t n, const bench_table_config_t *c);
    void (*lookup) (void *table, const uint32_t *addrs, uint32_t n, uint32_t *found);
    void (*remove) (void *table);
    uint64_t (*bytes) (const void *table);
} bench_matcher_t;
#define BENCH_MATCH_PAPER ...
#define BENCH_MATCH_DEFAULT ...
#define BENCH_MATCH_PAPER_BATCH ...
#define BENCH_MATCH_DEFAULT_BATCH ...
const bench_matcher_t *bench_matcher (int which);
#define BENCH_TRAFFIC_UNIFORM ...
#define BENCH_TRAFFIC_PREFIX ...
#define BENCH_TRAFFIC_ZIPF ...
int bench_addresses (int traffic, const mvt_prefix4_t *prefixes, uint32_t n_prefixes,
                     uint32_t distinct, uint64_t seed, uint32_t *addrs, uint32_t n);
void bench_match_run (const bench_matcher_t *matcher, void *table, const uint32_t *addrs,
                      uint32_t n, uint32_t *found, bench_cost_t *cost);

typedef struct {
    void *(*build) (const uint64_t *flows, uint32_t n, uint64_t seed);
    void (*lookup) (void *table, const uint64_t *keys, uint32_t n, uint32_t *found);
    void (*remove) (void *table);
    uint64_t (*bytes) (const void *table);
} bench_exact_t;
const bench_exact_t *bench_index (void);
void bench_flows (uint64_t *flows, uint32_t n);
void bench_flow_keys (const uint64_t *flows, uint32_t n_flows, uint64_t seed, uint64_t *keys,
                      uint32_t n);
void bench_exact_run (const bench_exact_t *exact, void *table, const uint64_t *keys, uint32_t n,
                      uint32_t *found, bench_cost_t *cost);

#define BENCH_KEYS_PADDED ...
#define BENCH_KEYS_EXACT ...
#define BENCH_KEYS_PAPER ...
#define BENCH_KEYS_DEFAULT ...
typedef struct {
    uint32_t entries;
    uint32_t rows;
    uint32_t same_key, same_hash, same_row;
    uint32_t chain_max;
    double chain_mean;
} bench_collisions_t;
int bench_collisions (int keys, const mvt_prefix4_t *prefixes, uint32_t n, uint32_t rows,
                      uint64_t seed, bench_collisions_t *out);
void bench_sample (mvt_prefix4_t *prefixes, uint32_t n, uint32_t count, uint64_t seed);

#define BENCH_NAT_HASHMVT ...
#define BENCH_NAT_OWN ...
#define BENCH_NAT_LOCK ...
#define BENCH_NAT_ATOMIC ...
#define BENCH_NAT_NONE ...
typedef struct {
    unsigned int nat;
    uint32_t instances;
    uint32_t flows;
    uint32_t new_per_1024;
    uint32_t batches;
    uint64_t seed;
    double mpps;
    bench_cost_t cost;
    double disturbed;
    uint64_t probe;
    uint64_t packets, created;
    uint64_t wrong;
    ...;
} bench_scale_t;
int bench_scale (bench_scale_t *c);
typedef struct {
    uint64_t lines[2]; uint64_t both; uint64_t across; double instructions; ...;
} bench_trace_t;
int bench_scale_trace (const bench_scale_t *c, bench_trace_t *out);
typedef struct { double turn, mailbox, load, sweep; } bench_agent_t;
int bench_scale_agent (const bench_scale_t *c, bench_agent_t *out);

typedef struct bench_mix bench_mix_t;
typedef struct { uint32_t packets, flows, hosts; } bench_mix_info_t;
bench_mix_t *bench_mix_read (const char *path, char *err);
bench_mix_t *bench_mix_make (uint64_t seed);
void bench_mix_remove (bench_mix_t *mix);
const bench_mix_info_t *bench_mix_info (const bench_mix_t *mix);
typedef struct bench_source bench_source_t;
struct mvt_engine;
#define BENCH_RATE_MOST ...
bench_source_t *bench_source_new (struct mvt_engine *engine, const bench_mix_t *mix,
                                  double lifetime_s);
void bench_source_remove (bench_source_t *source);
void bench_source_rate (bench_source_t *source, uint64_t rate);
typedef struct { uint64_t offered, lost, translated, refused; } bench_source_count_t;
double bench_source_read (const bench_source_t *source, bench_source_count_t *counts, uint32_t n);
"""

ffibuilder = FFI()
ffibuilder.cdef(DECLARATIONS)
ffibuilder.set_source(
    "hashmvt._ffi._bench",
    '#include "bench.h"',
    include_dirs=[str(_PLUGIN / folder) for folder in ("bench", "mvt", "engine")],
    extra_objects=[
        str(_NATIVE / folder / library)
        for folder, library in (
            ("bench", "libmvt_bench.a"),
            ("engine", "libmvt_engine.a"),
            ("mvt", "libmvt.a"),
        )
    ],
    extra_compile_args=["-std=gnu11"],
    libraries=["pcap", "pthread", "m"],
    py_limited_api=False,
)

# SPDX-License-Identifier: Apache-2.0
"""The cffi binding of the embedded engine, in API mode: the C compiler checks every declaration.

``setup.py`` runs this with the static libraries built before. What is declared here is the part of
``nat44.h`` and ``engine.h`` that Python uses; a struct that ends in ``...`` may grow in C.
"""

from __future__ import annotations

from pathlib import Path

from cffi import FFI

_PACKAGE = Path(__file__).resolve().parents[3]
_ROOT = _PACKAGE.parent
_NATIVE = _PACKAGE / "build" / "native" / "plugin"

_DECLARATIONS = """
typedef struct { uint32_t addr; uint16_t port; uint8_t proto; ...; } mvt_endpoint_t;
typedef struct { uint32_t addr; uint8_t len; ...; } mvt_prefix4_t;

typedef struct {
    uint32_t timeout[8];
    uint8_t filter[3];
    uint8_t paired_only;
    uint32_t mappings_per_host[3];
    uint32_t mappings_per_host_all;
    uint32_t new_per_second_per_host;
    uint32_t max_blocks_per_host;
    uint32_t slots_first, n_slots;
    ...;
} mvt_policy_t;
typedef struct { uint32_t first; uint32_t count; uint32_t slot; uint8_t draining; ...; }
    mvt_pool_run_t;
typedef struct { mvt_prefix4_t inside; mvt_prefix4_t outside; ...; } mvt_static_rule_t;
typedef struct { mvt_prefix4_t inside; uint32_t policy; ...; } mvt_policy_rule_t;
typedef struct {
    uint64_t generation;
    const mvt_policy_t *policies;
    uint32_t n_policies;
    const uint32_t *slots;
    uint32_t n_slots;
    const mvt_policy_rule_t *inside;
    uint32_t n_inside;
    const mvt_pool_run_t *runs;
    uint32_t n_runs;
    const mvt_prefix4_t *exempt;
    uint32_t n_exempt;
    const mvt_static_rule_t *statics;
    uint32_t n_statics;
    ...;
} mvt_policy_desc_t;

typedef struct {
    mvt_prefix4_t prefix;
    uint16_t realm;
    uint16_t instance;
    uint32_t table;
    uint16_t from, to;
    uint32_t flags;
    uint32_t ext_addr;
    ...;
} mvt_home_range_t;
typedef struct { mvt_endpoint_t endpoint; uint16_t realm; uint16_t instance; ...; }
    mvt_home_pin_t;
typedef struct {
    uint64_t version;
    const mvt_home_range_t *ranges;
    uint32_t n_ranges;
    const uint16_t *tables;
    uint32_t n_tables;
    const mvt_home_pin_t *pins;
    uint32_t n_pins;
    uint16_t n_instances;
    ...;
} mvt_home_desc_t;
#define MVT_HOME_F_CLOSING ...
#define MVT_HOME_F_BY_ENDPOINT ...
#define MVT_HOME_F_OPENED ...
#define MVT_HOME_BUCKETS ...
#define MVT_HOME_INSTANCES ...
#define MVT_NO_INSTANCE ...
#define MVT_NONE ...

typedef struct {
    uint32_t tick;
    uint8_t type;
    uint8_t proto;
    uint16_t realm;
    uint32_t in_addr;
    uint32_t ext_addr;
    uint16_t in_port;
    uint16_t ext_port;
    uint16_t ports;
    uint16_t instance;
    uint32_t detail;
    ...;
} mvt_event_t;

#define MVT_JOB_LIST_MAPPINGS ...
#define MVT_JOB_LIST_HOSTS ...
#define MVT_JOB_DELETE_MAPPINGS ...
#define MVT_JOB_STATIC_ADD ...
#define MVT_JOB_STATIC_DEL ...
#define MVT_JOB_LIST_BLOCKS ...
typedef struct {
    mvt_prefix4_t inside;
    mvt_prefix4_t external;
    uint16_t in_port, ext_port;
    uint8_t proto_plus1;
    uint8_t statics;
    uint16_t realm;
    ...;
} mvt_mapping_filter_t;
typedef struct {
    mvt_endpoint_t in, ext, remote;
    uint16_t realm;
    uint16_t instance;
    uint16_t policy;
    uint8_t is_static;
    uint8_t tcp_state;
    uint8_t filter;
    uint32_t sessions;
    uint32_t age;
    uint32_t idle;
    uint32_t expires_in;
    uint32_t packets[2];
    ...;
} mvt_mapping_info_t;
typedef struct {
    uint32_t addr;
    uint16_t realm;
    uint16_t instance;
    uint32_t ext_addr;
    uint32_t mappings[3];
    uint32_t blocks;
    ...;
} mvt_host_info_t;
typedef struct {
    uint32_t ext_addr;
    uint16_t first_port;
    uint16_t instance;
    uint32_t in_use[3];
    uint32_t holder;
    ...;
} mvt_block_info_t;
typedef struct {
    uint16_t op;
    uint32_t max;
    mvt_mapping_filter_t filter;
    mvt_endpoint_t inside_endpoint, external_endpoint;
    uint16_t realm;
    uint64_t cursor;
    uint32_t n;
    union {
        uint32_t *blocks;
        mvt_mapping_info_t *mappings;
        mvt_host_info_t *hosts;
        mvt_block_info_t *block_infos;
    } out;
    ...;
} mvt_job_t;

typedef struct mvt_engine mvt_engine_t;
#define MVT_ENGINE_ERR_LEN ...
typedef struct {
    uint32_t instances_initial;
    uint32_t instances_max;
    uint32_t max_mappings;
    uint32_t max_sessions, max_hosts;
    uint32_t block_size;
    uint32_t max_slots;
    uint32_t fragment_timeout;
    uint32_t hold_seconds, hold_share_1024;
    uint8_t by_host, log;
    uint8_t stepped;
    uint8_t truncated_ok;
    uint8_t low_water_percent;
    uint8_t pin_threads;
    const uint64_t *allocatable;
    const mvt_policy_desc_t *policy;
    uint64_t seed[4];
    const char *tun_inside;
    const char *tun_outside;
    ...;
} mvt_engine_config_t;

mvt_engine_t *mvt_engine_new (const mvt_engine_config_t *config, int *code, char *err);
int mvt_engine_start (mvt_engine_t *engine);
int mvt_engine_stop (mvt_engine_t *engine);
void mvt_engine_free (mvt_engine_t *engine);

uint32_t mvt_engine_now (mvt_engine_t *engine);
int mvt_engine_advance (mvt_engine_t *engine, uint32_t seconds);
int mvt_engine_set_tick (mvt_engine_t *engine, uint32_t tick);

typedef struct {
    uint8_t *data;
    uint32_t len;
    uint8_t dir;
    uint8_t verdict;
    uint8_t reason;
    uint8_t flags;
    uint16_t instance;
    uint16_t first_instance;
    uint64_t cookie;
    ...;
} mvt_engine_packet_t;
int mvt_engine_step (mvt_engine_t *engine, mvt_engine_packet_t *packets, uint32_t n);
uint32_t mvt_engine_late (mvt_engine_t *engine, mvt_engine_packet_t *out, uint32_t max);
uint32_t mvt_engine_inject (mvt_engine_t *engine, const mvt_engine_packet_t *packets, uint32_t n);
uint32_t mvt_engine_collect (mvt_engine_t *engine, mvt_engine_packet_t *out, uint32_t max,
                             uint8_t *buf, uint32_t buf_len, uint32_t timeout_ms);

typedef struct {
    uint32_t id;
    uint32_t state;
    uint64_t cycles_busy, cycles_total;
    uint64_t loops;
    uint64_t epoch;
    uint64_t ring_dropped;
    uint64_t io_errors;
    uint64_t counters[...];
    uint64_t passed[...];
    uint64_t dropped[...];
    ...;
} mvt_instance_snapshot_t;
uint64_t mvt_engine_hung (mvt_engine_t *engine, int *dispatcher);
uint32_t mvt_engine_snapshot (mvt_engine_t *engine, mvt_instance_snapshot_t *out, uint32_t max);

typedef struct {
    uint64_t packets[2];
    uint64_t not_ipv4[2];
    uint64_t oversize[2];
    uint64_t errors[2];
    uint32_t failed[2];
    uint64_t no_buffer;
    ...;
} mvt_io_snapshot_t;
void mvt_engine_io_snapshot (mvt_engine_t *engine, mvt_io_snapshot_t *out);

int mvt_engine_activate (mvt_engine_t *engine, uint32_t instance);
int mvt_engine_drain (mvt_engine_t *engine, uint32_t instance);
int mvt_engine_transfer (mvt_engine_t *engine, uint32_t from, uint32_t to, uint32_t slot,
                         uint32_t n);
int mvt_engine_shard (mvt_engine_t *engine, uint32_t from, uint32_t to, uint32_t percent);
int mvt_engine_set_home (mvt_engine_t *engine, const mvt_home_desc_t *desc);
int mvt_engine_set_rules (mvt_engine_t *engine, const mvt_home_desc_t *desc);
int mvt_engine_set_policy (mvt_engine_t *engine, const mvt_policy_desc_t *desc, int force);
uint64_t mvt_engine_home_version (mvt_engine_t *engine);
uint32_t mvt_engine_bucket (mvt_engine_t *engine, uint16_t realm, uint32_t addr);
int mvt_engine_bucket_table (mvt_engine_t *engine, uint16_t *table);
int mvt_engine_job (mvt_engine_t *engine, uint32_t instance, mvt_job_t *job);
uint32_t mvt_engine_events (mvt_engine_t *engine, mvt_event_t *out, uint32_t max);
int mvt_engine_reset_instance (mvt_engine_t *engine, uint32_t instance);

typedef struct {
    uint64_t in, out, passed, held;
    uint64_t dropped[...];
    uint64_t skipped, truncated;
    uint64_t bytes_offset;
    uint8_t cut;
    ...;
} mvt_replay_result_t;
int mvt_engine_replay (mvt_engine_t *engine, const char *in_path, const char *out_path,
                       mvt_replay_result_t *result,
                       int (*progress) (void *ctx, uint64_t done, uint64_t total), void *ctx,
                       char *err);
extern "Python" int hashmvt_progress (void *ctx, uint64_t done, uint64_t total);

typedef struct {
    uint32_t flows;
    uint32_t batches;
    uint8_t direction;
    uint8_t random_order;
    uint8_t proto;
    uint8_t new_flows;
    uint64_t seed;
    double clocks_per_packet;
    double touch_clocks;
    double seconds;
    uint64_t packets;
    uint64_t wrong;
    uint64_t memory_bytes;
    uint64_t resident;
    uint64_t resident_reserved;
    uint64_t resident_transparent;
    uint32_t instances;
    uint8_t remotes;
    uint8_t count_memory, filter;
    ...;
} mvt_bench_case_t;
int mvt_engine_bench (const mvt_engine_config_t *config, mvt_bench_case_t *bench, char *err);

const char *mvt_drop_name (unsigned drop);
const char *mvt_pass_name (unsigned pass);
const char *mvt_event_name (unsigned type);
const char *mvt_err_text (int err);
#define MVT_PROTO_UDP ...
#define MVT_PROTO_TCP ...
#define MVT_PROTO_ICMP ...
#define MVT_FILTER_EI ...
#define MVT_FILTER_AD ...
#define MVT_FILTER_APD ...
#define MVT_INSTANCE_SPARE ...
#define MVT_INSTANCE_ACTIVE ...
#define MVT_INSTANCE_DRAINING ...
#define MVT_TIMEOUT_UDP ...
#define MVT_TIMEOUT_TCP_ESTABLISHED ...
#define MVT_TIMEOUT_TCP_TRANSITORY ...
#define MVT_TIMEOUT_TCP_INCOMING_SYN ...
#define MVT_TIMEOUT_ICMP ...
#define MVT_VERDICT_NONE ...
#define MVT_VERDICT_TRANSLATED ...
#define MVT_VERDICT_PASSED ...
#define MVT_VERDICT_DROPPED ...
#define MVT_VERDICT_HANDOFF ...
#define MVT_VERDICT_HELD ...
#define MVT_TCP_CLOSED ...
#define MVT_TCP_INIT_IN2OUT ...
#define MVT_TCP_INIT_OUT2IN ...
#define MVT_TCP_ESTABLISHED ...
#define MVT_TCP_FIN_IN2OUT ...
#define MVT_TCP_FIN_OUT2IN ...
#define MVT_TCP_FIN_BOTH ...
#define MVT_TCP_TRANS ...
#define MVT_DROP_N ...
#define MVT_PASS_N ...
#define MVT_EVENT_N ...

/* what the C compiler makes of the X-macros, for the test of names.py */
static const char *const hashmvt_err_names[];
static const int hashmvt_err_values[];
static const char *const hashmvt_drop_names[];
static const char *const hashmvt_pass_names[];
static const char *const hashmvt_event_names[];
static const char *const hashmvt_counter_names[];
static const char *const hashmvt_gauge_names[];
"""

_SOURCE = """
#include "engine.h"

#define _(NAME, value, text) #NAME,
static const char *const hashmvt_err_names[] = { foreach_mvt_err NULL };
#undef _
#define _(NAME, value, text) value,
static const int hashmvt_err_values[] = { foreach_mvt_err 0 };
#undef _
#define _(NAME, name, text) #name,
static const char *const hashmvt_drop_names[] = { foreach_mvt_drop NULL };
static const char *const hashmvt_pass_names[] = { foreach_mvt_pass NULL };
#undef _
#define _(NAME, name) #name,
static const char *const hashmvt_event_names[] = { foreach_mvt_event NULL };
#undef _
#define _(name, text) #name,
static const char *const hashmvt_counter_names[] = { foreach_mvt_counter NULL };
static const char *const hashmvt_gauge_names[] = { foreach_mvt_gauge NULL };
#undef _
"""

_LIBRARIES = [_NATIVE / "engine" / "libmvt_engine.a", _NATIVE / "mvt" / "libmvt.a"]

ffibuilder = FFI()
ffibuilder.cdef(_DECLARATIONS)
ffibuilder.set_source(
    "hashmvt._ffi._mvt",
    _SOURCE,
    include_dirs=[str(_ROOT / "plugin" / "mvt"), str(_ROOT / "plugin" / "engine")],
    extra_objects=[str(library) for library in _LIBRARIES],
    extra_compile_args=["-std=gnu11", "-Wno-unused-function"],
    libraries=["pcap", "pthread"],
    py_limited_api=False,
)

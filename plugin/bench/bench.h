/* SPDX-License-Identifier: Apache-2.0
 *
 * The experiments: what `hashmvt bench hash | match | collisions | scale | scaleout` measures. Each
 * call is one run of one case, on the caller's thread unless it says otherwise; medians, cases and
 * output are the caller's. Nothing here is part of a dataplane.
 *
 * Clocks are those of the time stamp counter; on CPUs without one that can be read they are
 * nanoseconds.
 */
#ifndef BENCH_H
#define BENCH_H

#include "mvt_types.h"

/* ---- time ---- */

typedef struct
{
	double clocks; /* per key, lookup or packet */
	double ns;
} bench_cost_t;

/* ---- hashes ---- */

typedef enum
{
	BENCH_HASH_HARDWARE, /* CRC32C by the CPU's instruction */
	BENCH_HASH_SLICING,  /* CRC32C by eight tables, 8 bytes a step */
	BENCH_HASH_BYTEWISE, /* CRC32C by one table, a byte a step */
	BENCH_HASH_KEYED,    /* what HashMVT hashes with: keyed multiply, then hardware CRC32C */
	BENCH_HASH_N
} bench_hash_t;

/* Is CRC32C an instruction in this build? If not, HARDWARE and KEYED use slicing. */
bool bench_hash_has_hardware (void);

/* The value that the measured code gives for a key, for tests. 0 when a size cannot be measured.
 * => key_bytes is 4, 8, ... 40 */
uint32_t bench_hash_value (bench_hash_t how, const void *key, uint32_t key_bytes);

/* Hash `keys` keys one after the other. chained: each key contains the hash before it, so the time
 * is the latency; else keys are independent, and it is throughput. 0 or MVT_ERR_INVALID. */
int bench_hash_run (bench_hash_t how, uint32_t key_bytes, uint32_t keys, int chained,
		    bench_cost_t *cost);

/* ---- tables of prefixes ---- */

typedef struct
{
	uint32_t cache_lines; /* of the state cache; 0: none */
	uint64_t seed;	      /* of the table's secret */
} bench_table_config_t;

/* What can be asked for the longest match of addresses. The value of prefix i is i. */
typedef struct
{
	/* NULL: no memory, or too much for it */
	void *(*build) (const mvt_prefix4_t *prefixes, uint32_t n, const bench_table_config_t *c);
	/* found[i]: the longest prefix of addrs[i], MVT_NONE: none */
	void (*lookup) (void *table, const uint32_t *addrs, uint32_t n, uint32_t *found);
	void (*remove) (void *table);
	uint64_t (*bytes) (const void *table); /* of memory */
} bench_matcher_t;

typedef enum
{
	BENCH_MATCH_PAPER,	   /* the paper's mode, one address at a time */
	BENCH_MATCH_DEFAULT,	   /* the default mode, one address at a time */
	BENCH_MATCH_PAPER_BATCH,   /* 256 at a time, in stages */
	BENCH_MATCH_DEFAULT_BATCH, /* the same */
	BENCH_MATCH_N
} bench_match_t;

const bench_matcher_t *bench_matcher (bench_match_t which);

typedef enum
{
	BENCH_TRAFFIC_UNIFORM, /* every address is as likely as any other */
	BENCH_TRAFFIC_PREFIX,  /* uniform within a prefix, each of which is as likely */
	BENCH_TRAFFIC_ZIPF,    /* by rank, 1 / rank, over `distinct` addresses as in PREFIX */
} bench_traffic_t;

/* Fills addrs. 0 or MVT_ERR_NO_MEMORY. => n_prefixes > 0, distinct > 0 */
int bench_addresses (bench_traffic_t traffic, const mvt_prefix4_t *prefixes, uint32_t n_prefixes,
		     uint32_t distinct, uint64_t seed, uint32_t *addrs, uint32_t n);

/* Looks all addresses up, 256 per call of the matcher. */
void bench_match_run (const bench_matcher_t *matcher, void *table, const uint32_t *addrs,
		      uint32_t n, uint32_t *found, bench_cost_t *cost);

/* ---- tables of exact flows ---- */

/* A flow's inside endpoint: address, port << 32, protocol << 48. The value of flow i is i. */
typedef struct
{
	void *(*build) (const uint64_t *flows, uint32_t n, uint64_t seed);
	void (*lookup) (void *table, const uint64_t *keys, uint32_t n, uint32_t *found);
	void (*remove) (void *table);
	uint64_t (*bytes) (const void *table);
} bench_exact_t;

/* The in2out index with its entries, in batches. A hit has touched the entry's line. */
const bench_exact_t *bench_index (void);

/* n different flows of 16 ports a host; keys are flows in random order. */
void bench_flows (uint64_t *flows, uint32_t n);
void bench_flow_keys (const uint64_t *flows, uint32_t n_flows, uint64_t seed, uint64_t *keys,
		      uint32_t n);
void bench_exact_run (const bench_exact_t *exact, void *table, const uint64_t *keys, uint32_t n,
		      uint32_t *found, bench_cost_t *cost);

/* ---- collisions ---- */

typedef enum
{
	BENCH_KEYS_PADDED,  /* the paper's classes; CRC32C of the address, what is masked is zero */
	BENCH_KEYS_EXACT,   /* the paper's classes; CRC32C of the bytes of the prefix alone */
	BENCH_KEYS_PAPER,   /* HashMVT's paper mode: the length is part of the key, keyed hash */
	BENCH_KEYS_DEFAULT, /* HashMVT's default mode: one key per prefix, buckets of 8 */
	BENCH_KEYS_N
} bench_keys_t;

/* Of the inserts: same_key met an entry with the very same key; same_hash, of the others, met an
 * equal 32-bit hash; same_row, of the others, met an occupied row. In the default mode a row is a
 * bucket of 8, and same_row counts the entries that are not in their own bucket. */
typedef struct
{
	uint32_t entries;
	uint32_t rows;
	uint32_t same_key, same_hash, same_row;
	uint32_t chain_max; /* entries on one row; in the default mode 8 */
	double chain_mean;  /* entries on the row of an entry, mean over entries */
} bench_collisions_t;

/* Inserts n different prefixes. 0, MVT_ERR_INVALID, MVT_ERR_NO_MEMORY, MVT_ERR_FULL.
 * => rows is a power of two, 0: the first from n up, as the table has; the two modes of HashMVT
 * choose theirs themselves */
int bench_collisions (bench_keys_t keys, const mvt_prefix4_t *prefixes, uint32_t n, uint32_t rows,
		      uint64_t seed, bench_collisions_t *out);

/* Moves `count` prefixes to the front, chosen at random without repetition. => count <= n */
void bench_sample (mvt_prefix4_t *prefixes, uint32_t n, uint32_t count, uint64_t seed);

/* ---- scaling ---- */

/* The NATs that are compared. The plain ones share the core's parser, index and rewrite; they
 * differ in who owns the pool alone (bench_plain.h). */
typedef enum
{
	BENCH_NAT_HASHMVT, /* the core: a shard of its own for each instance */
	BENCH_NAT_OWN,	   /* plain, a pool of its own for each instance */
	BENCH_NAT_LOCK,	   /* plain, one pool for all under a spinlock */
	BENCH_NAT_ATOMIC,  /* plain, one pool for all under atomic operations */
	BENCH_NAT_NONE,	   /* no NAT and no memory: adders alone, the measure of the CPUs */
	BENCH_NAT_N
} bench_nat_t;

typedef struct
{
	bench_nat_t nat;
	uint32_t instances;    /* threads, each on a CPU of its own as long as there are some */
	uint32_t flows;	       /* of each instance, made before; UDP in2out, in random order */
	uint32_t new_per_1024; /* packets that open a flow */
	uint32_t batches;      /* of 256 packets, of the instance that is done first */
	uint64_t seed;
	/* out */
	double mpps;	   /* of all instances while all of them ran: until the first was done */
	bench_cost_t cost; /* per packet of an instance, its source included */
	double disturbed;  /* largest share of an instance's time in which others had its CPU */
	uint64_t probe;	   /* clocks of some arithmetic before or after, the longest of all
			      instances: longer than another time, others use the same core, which
			      a virtual machine is not told */
	uint64_t packets, created;
	uint64_t wrong; /* packets that were not translated */
} bench_scale_t;

/* Each instance's thread writes its own packets (64 bytes on Ethernet) and has them translated.
 * 0, MVT_ERR_INVALID, MVT_ERR_NO_MEMORY. */
int bench_scale (bench_scale_t *c);

/* The same two instances in turn on the caller's thread, `batches` of 32 packets each, one
 * instruction at a time: which lines of memory does which of them write and read? All of the
 * process's memory is watched but this thread's stack. */
typedef struct
{
	uint64_t lines[2];   /* written by each instance */
	uint64_t both;	     /* of them, by the two */
	uint64_t across;     /* of the others, those that the other one reads */
	double instructions; /* per packet, source not included */
} bench_trace_t;

/* 0, MVT_ERR_UNSUPPORTED (only x86-64 Linux can), MVT_ERR_INVALID, MVT_ERR_NO_MEMORY.
 * => no other thread of the process writes memory meanwhile */
int bench_scale_trace (const bench_scale_t *c, bench_trace_t *out);

/* What an instance's thread does for its agent, beside packets, per turn of its loop: the same run
 * as one instance of BENCH_NAT_HASHMVT, each part timed by itself after each batch of 256 packets
 * has had its caches. Medians; clocks. */
typedef struct
{
	double turn;	/* all of it, packets and their source included */
	double mailbox; /* looking for jobs */
	double load;	/* counting loops and cycles, two readings of the clock */
	double sweep;	/* ageing, the part of it that each turn does */
} bench_agent_t;

/* 0 or as bench_scale. => c->nat is HASHMVT, c->instances is 1 */
int bench_scale_agent (const bench_scale_t *c, bench_agent_t *out);

/* ---- a mix of flows through a running engine ---- */

typedef struct bench_mix bench_mix_t;
typedef struct
{
	uint32_t packets, flows, hosts; /* hosts that began flows */
} bench_mix_info_t;

/* From a capture (pcap, pcapng): its TCP and UDP packets, in their order. NULL with a sentence in
 * err (MVT_ENGINE_ERR_LEN bytes). */
bench_mix_t *bench_mix_read (const char *path, char *err);
/* One that is made up: 8,192 flows of 3,072 hosts, their sizes after Zipf. NULL: no memory. */
bench_mix_t *bench_mix_make (uint64_t seed);
void bench_mix_remove (bench_mix_t *mix); /* NULL is allowed */
const bench_mix_info_t *bench_mix_info (const bench_mix_t *mix);

/* The mix over and over, as packets of 64 bytes on Ethernet, to the instances of an engine with
 * threads and without devices. Each instance has a queue of its own, to which a NIC, which costs
 * nothing, brings what the dispatcher's rules say: so an instance takes its own packets of the
 * mix. They come in bursts of 256; what is more than 4,096 behind is lost, as in a NIC's ring.
 * After lifetime_s a host is another one, with another address; some host is all the time. */
typedef struct bench_source bench_source_t;
struct mvt_engine;

#define BENCH_RATE_MOST UINT64_MAX /* as many as instances take */

/* Begins at rate 0. NULL: no memory. => the engine outlives the source's rate, the source and the
 * mix outlive the engine; 10.0.0.0/8 is inside; 0 < lifetime_s */
bench_source_t *bench_source_new (struct mvt_engine *engine, const bench_mix_t *mix,
				  double lifetime_s);
void bench_source_remove (bench_source_t *source);
/* Packets per second, all instances together. Any thread. */
void bench_source_rate (bench_source_t *source, uint64_t rate);

typedef struct
{
	uint64_t offered;    /* packets that came to this instance's queue */
	uint64_t lost;	     /* of them, the queue was full */
	uint64_t translated; /* by this instance, whoever's queue they came from */
	uint64_t refused;    /* the same: every other verdict */
} bench_source_count_t;

/* Counts since the beginning; returns the time in seconds that they are of. Any thread.
 * => n is at most the engine's instances */
double bench_source_read (const bench_source_t *source, bench_source_count_t *counts, uint32_t n);

#endif /* BENCH_H */

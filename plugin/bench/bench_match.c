/* SPDX-License-Identifier: Apache-2.0
 *
 * Longest match in tables of prefixes, and exact flows: HashMVT's side of the comparison, and the
 * traffic that all sides see.
 */
#include "bench_private.h"
#include "memory.h"
#include "mvt_index.h"
#include "mvt_table.h"

#include <stdlib.h>

/* ---- the match-value table ---- */

typedef struct
{
	mvt_t *t;
	arena_t arena;
} mvt_matcher_t;

static void
table_remove (void *table)
{
	mvt_matcher_t *m = table;

	mvt_remove (m->t);
	free (m);
}

static void *
table_build (mvt_mode_t mode, const mvt_prefix4_t *prefixes, uint32_t n,
	     const bench_table_config_t *c)
{
	uint64_t random = c->seed;
	mvt_config_t config = { .field_bits = 32,
				.max_entries = n,
				.mode = mode,
				.cache_lines = c->cache_lines,
				.seed = { bench_random (&random), bench_random (&random) } };
	mvt_matcher_t *m = calloc (1, sizeof *m);

	if (!m)
		return NULL;
	arena_init (&m->arena, -1, memory_free ());
	m->t = mvt_new (&config, &m->arena.mem);
	for (uint32_t i = 0; m->t && i < n; i++)
		if (mvt_set4 (m->t, prefixes[i].addr, prefixes[i].len, i))
		{
			mvt_remove (m->t);
			m->t = NULL;
		}
	if (m->t)
		return m;
	free (m);
	return NULL;
}

static void *
paper_build (const mvt_prefix4_t *prefixes, uint32_t n, const bench_table_config_t *c)
{
	return table_build (MVT_MODE_PAPER, prefixes, n, c);
}

static void *
default_build (const mvt_prefix4_t *prefixes, uint32_t n, const bench_table_config_t *c)
{
	return table_build (MVT_MODE_DEFAULT, prefixes, n, c);
}

/* A row is a prefix's number as long as nothing was deleted; the state says it for certain, and
 * whoever matches reads it. */
static inline uint32_t
value_of (const mvt_t *t, uint32_t row)
{
	return row == MVT_NONE ? MVT_NONE : (uint32_t) mvt_value (t, row)->state;
}

static void
table_lookup (void *table, const uint32_t *addrs, uint32_t n, uint32_t *found)
{
	const mvt_matcher_t *m = table;

	for (uint32_t i = 0; i < n; i++)
		found[i] = value_of (m->t, mvt_lookup4 (m->t, addrs[i], 0));
}

static void
table_lookup_batch (void *table, const uint32_t *addrs, uint32_t n, uint32_t *found)
{
	const mvt_matcher_t *m = table;

	mvt_lookup4_batch (m->t, addrs, n, 0, found);
	for (uint32_t i = 0; i < n; i++)
		found[i] = value_of (m->t, found[i]);
}

static uint64_t
table_bytes (const void *table)
{
	return ((const mvt_matcher_t *) table)->arena.reserved;
}

const bench_matcher_t *
bench_matcher (bench_match_t which)
{
	static const bench_matcher_t matchers[BENCH_MATCH_N] = {
		[BENCH_MATCH_PAPER] = { paper_build, table_lookup, table_remove, table_bytes },
		[BENCH_MATCH_DEFAULT] = { default_build, table_lookup, table_remove, table_bytes },
		[BENCH_MATCH_PAPER_BATCH] = { paper_build, table_lookup_batch, table_remove,
					      table_bytes },
		[BENCH_MATCH_DEFAULT_BATCH] = { default_build, table_lookup_batch, table_remove,
						table_bytes },
	};
	return which < BENCH_MATCH_N ? &matchers[which] : NULL;
}

/* ---- addresses ---- */

static uint32_t
address_in (const mvt_prefix4_t *prefix, uint64_t *random)
{
	uint32_t host = prefix->len ? (uint32_t) ((1ull << (32 - prefix->len)) - 1) : ~0u;
	return (prefix->addr & ~host) | ((uint32_t) bench_random (random) & host);
}

static int
zipf_addresses (const mvt_prefix4_t *prefixes, uint32_t n_prefixes, uint32_t distinct,
		uint64_t *random, uint32_t *addrs, uint32_t n)
{
	uint32_t *ranked = malloc (distinct * sizeof *ranked);
	double *sum = malloc (distinct * sizeof *sum), all = 0;

	if (!ranked || !sum)
	{
		free (ranked);
		free (sum);
		return MVT_ERR_NO_MEMORY;
	}
	for (uint32_t i = 0; i < distinct; i++)
	{
		ranked[i] = address_in (&prefixes[bench_below (random, n_prefixes)], random);
		sum[i] = all += 1.0 / (i + 1);
	}
	for (uint32_t i = 0; i < n; i++)
	{
		double at = all * (double) (bench_random (random) >> 11) * 0x1p-53;
		uint32_t low = 0, high = distinct - 1;
		while (low < high)
		{
			uint32_t middle = low + (high - low) / 2;
			if (sum[middle] > at)
				high = middle;
			else
				low = middle + 1;
		}
		addrs[i] = ranked[low];
	}
	free (ranked);
	free (sum);
	return MVT_OK;
}

int
bench_addresses (bench_traffic_t traffic, const mvt_prefix4_t *prefixes, uint32_t n_prefixes,
		 uint32_t distinct, uint64_t seed, uint32_t *addrs, uint32_t n)
{
	uint64_t random = seed;

	if (traffic == BENCH_TRAFFIC_ZIPF)
		return zipf_addresses (prefixes, n_prefixes, distinct, &random, addrs, n);
	for (uint32_t i = 0; i < n; i++)
		addrs[i] = traffic == BENCH_TRAFFIC_UNIFORM
				   ? (uint32_t) bench_random (&random)
				   : address_in (&prefixes[bench_below (&random, n_prefixes)],
						 &random);
	return MVT_OK;
}

void
bench_match_run (const bench_matcher_t *matcher, void *table, const uint32_t *addrs, uint32_t n,
		 uint32_t *found, bench_cost_t *cost)
{
	bench_watch_t start = bench_start ();

	for (uint32_t i = 0; i < n; i += MVT_BATCH_MAX)
		matcher->lookup (table, addrs + i, n - i < MVT_BATCH_MAX ? n - i : MVT_BATCH_MAX,
				 found + i);
	*cost = bench_stop (start, n);
}

/* ---- exact flows ---- */

typedef struct
{
	mvt_index_t *ix;
	mvt_entry_t *lines;
	uint32_t n;
	arena_t arena;
} index_t;

static void
index_remove (void *table)
{
	index_t *x = table;

	mvt_index_remove (x->ix);
	mvt_mem_free (&x->arena.mem, x->lines, x->n * sizeof *x->lines);
	free (x);
}

static uint32_t
flow_hash (const mvt_index_t *ix, uint64_t flow)
{
	return mvt_index_hash (ix, (uint32_t) flow, (uint16_t) (flow >> 32), (uint8_t) (flow >> 48),
			       0);
}

static void *
index_build (const uint64_t *flows, uint32_t n, uint64_t seed)
{
	uint64_t pair[2] = { bench_random (&seed), bench_random (&seed) };
	mvt_secret_t secret;
	index_t *x = calloc (1, sizeof *x);

	if (!x)
		return NULL;
	mvt_secret_init (&secret, pair);
	arena_init (&x->arena, -1, memory_free ());
	x->n = n;
	x->ix = mvt_index_new (n, &secret, &x->arena.mem);
	x->lines = mvt_mem_alloc (&x->arena.mem, n * sizeof *x->lines, MVT_CACHE_LINE);
	for (uint32_t i = 0; x->ix && x->lines && i < n; i++)
	{
		x->lines[i] = (mvt_entry_t){ .in_addr = (uint32_t) flows[i],
					     .in_port = (uint16_t) (flows[i] >> 32),
					     .proto = (uint8_t) (flows[i] >> 48) };
		if (mvt_index_insert (x->ix, flow_hash (x->ix, flows[i]), i))
			break;
		mvt_index_maintain (x->ix, 4);
	}
	if (x->ix && x->lines && x->ix->buckets.count == n)
		return x;
	index_remove (x);
	return NULL;
}

static void
index_lookup (void *table, const uint64_t *keys, uint32_t n, uint32_t *found)
{
	enum
	{
		STAGE = 32
	};
	const index_t *x = table;

	for (uint32_t done = 0, step; done < n; done += step, keys += step, found += step)
	{
		uint32_t hash[STAGE];
		step = n - done < STAGE ? n - done : STAGE;
		for (uint32_t i = 0; i < step; i++)
		{
			hash[i] = flow_hash (x->ix, keys[i]);
			mvt_buckets_prefetch (&x->ix->buckets, hash[i]);
		}
		for (uint32_t i = 0; i < step; i++)
		{
			uint32_t line = mvt_buckets_candidate (&x->ix->buckets, hash[i]);
			if (line != MVT_NONE)
				__builtin_prefetch (&x->lines[line]);
		}
		for (uint32_t i = 0; i < step; i++)
			found[i] = mvt_index_find (x->ix, x->lines, hash[i], (uint32_t) keys[i],
						   (uint16_t) (keys[i] >> 32),
						   (uint8_t) (keys[i] >> 48), 0);
	}
}

static uint64_t
index_bytes (const void *table)
{
	return ((const index_t *) table)->arena.reserved;
}

const bench_exact_t *
bench_index (void)
{
	static const bench_exact_t exact = { index_build, index_lookup, index_remove, index_bytes };
	return &exact;
}

void
bench_flows (uint64_t *flows, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		flows[i] = (0x0a000000u + i / 16) | (uint64_t) (1024 + i % 16) << 32;
}

void
bench_flow_keys (const uint64_t *flows, uint32_t n_flows, uint64_t seed, uint64_t *keys, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		keys[i] = flows[bench_below (&seed, n_flows)];
}

void
bench_exact_run (const bench_exact_t *exact, void *table, const uint64_t *keys, uint32_t n,
		 uint32_t *found, bench_cost_t *cost)
{
	bench_watch_t start = bench_start ();

	for (uint32_t i = 0; i < n; i += MVT_BATCH_MAX)
		exact->lookup (table, keys + i, n - i < MVT_BATCH_MAX ? n - i : MVT_BATCH_MAX,
			       found + i);
	*cost = bench_stop (start, n);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * DPDK's tables, for comparison: rte_fib (DIR-24-8) and rte_hash. Built only where DPDK is; knows
 * nothing of the core but the interface of the experiments (bench.h).
 *
 * DPDK wants its environment before anything else. It gets huge pages where the system has any
 * free, as HashMVT's tables do, else ordinary memory; it touches no device.
 */
#define _GNU_SOURCE 1
#include "bench.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_fib.h>
#include <rte_hash.h>
#include <rte_hash_crc.h>
#include <rte_malloc.h>
#include <rte_version.h>

#define TBL8_GROUPS (1u << 16)
#define NO_ROUTE    0x7fffffffu /* the largest value that it has room for */

int bench_dpdk_start (int huge_pages);
const char *bench_dpdk_version (void);
const bench_matcher_t *bench_dpdk_fib (int bulk);
const bench_exact_t *bench_dpdk_hash (void);

const char *
bench_dpdk_version (void)
{
	return rte_version ();
}

/* Once per process. 0, or what rte_eal_init failed with, negative. It speaks on standard error, and
 * pins the calling thread to one CPU: both are taken back. */
int
bench_dpdk_start (int huge_pages)
{
	char name[] = "hashmvt", log[] = "--log-level=1", pci[] = "--no-pci",
	     shared[] = "--no-shconf", telemetry[] = "--no-telemetry", memory[] = "--in-memory",
	     huge[] = "--no-huge", amount[] = "-m", size[] = "1024", lcores[32];
	char lcore_option[] = "--lcores";
	char *args[] = { name,	 log,	 pci,  shared, telemetry, lcore_option,
			 lcores, memory, huge, amount, size };
	cpu_set_t before, first;
	int n = (int) (sizeof args / sizeof *args), result;

	if (sched_getaffinity (0, sizeof before, &before))
		return -1;
	first = before;
	int cpu = 0;
	while (!CPU_ISSET (cpu, &first))
		cpu++;
	snprintf (lcores, sizeof lcores, "0@%d", cpu);
	result = rte_eal_init (huge_pages ? n - 3 : n, args);
	sched_setaffinity (0, sizeof before, &before);
	return result < 0 ? -rte_errno : 0;
}

/* DPDK's tables have names, each its own. => one thread at a time */
static const char *
fresh_name (void)
{
	static char name[16];
	static unsigned n;

	snprintf (name, sizeof name, "hashmvt%u", n++);
	return name;
}

static size_t
in_use (void)
{
	struct rte_malloc_socket_stats stats;
	return rte_malloc_get_socket_stats (0, &stats) ? 0 : stats.heap_allocsz_bytes;
}

/* ---- DIR-24-8 ---- */

typedef struct
{
	struct rte_fib *fib;
	uint32_t default_route; /* prefix of length 0, MVT_NONE if there is none */
	size_t bytes;
} fib_t;

static void
fib_remove (void *table)
{
	fib_t *t = table;

	rte_fib_free (t->fib);
	free (t);
}

static void *
fib_build (const mvt_prefix4_t *prefixes, uint32_t n, const bench_table_config_t *c)
{
	struct rte_fib_conf config = { .type = RTE_FIB_DIR24_8,
				       .default_nh = NO_ROUTE,
				       .max_routes = (int) n + 1,
				       .dir24_8 = { RTE_FIB_DIR24_8_4B, TBL8_GROUPS } };
	size_t before = in_use ();
	fib_t *t = n < NO_ROUTE ? calloc (1, sizeof *t) : NULL;

	(void) c;
	if (!t)
		return NULL;
	t->fib = rte_fib_create (fresh_name (), 0, &config);
	t->default_route = MVT_NONE;
	for (uint32_t i = 0; t->fib && i < n; i++)
		if (prefixes[i].len == 0)
			t->default_route = i;
		else if (rte_fib_add (t->fib, prefixes[i].addr, prefixes[i].len, i))
		{
			rte_fib_free (t->fib);
			t->fib = NULL;
		}
	t->bytes = in_use () - before;
	if (t->fib)
		return t;
	free (t);
	return NULL;
}

static inline uint32_t
route (const fib_t *t, uint64_t hop)
{
	return hop == NO_ROUTE ? t->default_route : (uint32_t) hop;
}

static void
fib_lookup (void *table, const uint32_t *addrs, uint32_t n, uint32_t *found)
{
	const fib_t *t = table;

	for (uint32_t i = 0; i < n; i++)
	{
		uint32_t addr = addrs[i];
		uint64_t hop;
		rte_fib_lookup_bulk (t->fib, &addr, &hop, 1);
		found[i] = route (t, hop);
	}
}

/* => n <= MVT_BATCH_MAX */
static void
fib_lookup_bulk (void *table, const uint32_t *addrs, uint32_t n, uint32_t *found)
{
	const fib_t *t = table;
	uint32_t copy[MVT_BATCH_MAX];
	uint64_t hops[MVT_BATCH_MAX];

	memcpy (copy, addrs, n * sizeof *addrs);
	rte_fib_lookup_bulk (t->fib, copy, hops, (int) n);
	for (uint32_t i = 0; i < n; i++)
		found[i] = route (t, hops[i]);
}

static uint64_t
fib_bytes (const void *table)
{
	return ((const fib_t *) table)->bytes;
}

/* One address at a time, or 256. It has no call for one: it is a bulk of one. */
const bench_matcher_t *
bench_dpdk_fib (int bulk)
{
	static const bench_matcher_t one = { fib_build, fib_lookup, fib_remove, fib_bytes };
	static const bench_matcher_t many = { fib_build, fib_lookup_bulk, fib_remove, fib_bytes };
	return bulk ? &many : &one;
}

/* ---- exact flows ---- */

typedef struct
{
	struct rte_hash *hash;
	uint8_t (*lines)[MVT_CACHE_LINE]; /* a session's line per flow */
	size_t bytes;
} hash_t;

static void
hash_remove (void *table)
{
	hash_t *t = table;

	rte_hash_free (t->hash);
	rte_free (t->lines);
	free (t);
}

static void *
hash_build (const uint64_t *flows, uint32_t n, uint64_t seed)
{
	struct rte_hash_parameters parameters = { .name = fresh_name (),
						  .entries = n + n / 8 + 8,
						  .key_len = sizeof *flows,
						  .hash_func = rte_hash_crc,
						  .hash_func_init_val = (uint32_t) seed,
						  .socket_id = 0 };
	size_t before = in_use ();
	hash_t *t = calloc (1, sizeof *t);
	uint32_t i = 0;

	if (!t)
		return NULL;
	t->hash = rte_hash_create (&parameters);
	t->lines = rte_zmalloc (NULL, (size_t) n * sizeof *t->lines, MVT_CACHE_LINE);
	while (t->hash && t->lines && i < n &&
	       rte_hash_add_key_data (t->hash, &flows[i], (void *) (uintptr_t) i) == 0)
	{
		*(uint32_t *) (void *) t->lines[i] = i;
		i++;
	}
	t->bytes = in_use () - before;
	if (i == n)
		return t;
	hash_remove (t);
	return NULL;
}

/* As NAT would use it: 64 keys at a time, which is its most, then the session's line of each. */
static void
hash_lookup (void *table, const uint64_t *keys, uint32_t n, uint32_t *found)
{
	const hash_t *t = table;

	for (uint32_t done = 0, step; done < n; done += step)
	{
		const void *at[RTE_HASH_LOOKUP_BULK_MAX];
		void *data[RTE_HASH_LOOKUP_BULK_MAX];
		uint64_t hit = 0;

		step = n - done < RTE_HASH_LOOKUP_BULK_MAX ? n - done : RTE_HASH_LOOKUP_BULK_MAX;
		for (uint32_t i = 0; i < step; i++)
			at[i] = &keys[done + i];
		rte_hash_lookup_bulk_data (t->hash, at, step, &hit, data);
		for (uint32_t i = 0; i < step; i++)
			if (hit >> i & 1)
				__builtin_prefetch (t->lines[(uintptr_t) data[i]]);
		for (uint32_t i = 0; i < step; i++)
			found[done + i] = hit >> i & 1 ? *(const uint32_t *) (const void *)
								  t->lines[(uintptr_t) data[i]]
						       : MVT_NONE;
	}
}

static uint64_t
hash_bytes (const void *table)
{
	return ((const hash_t *) table)->bytes;
}

const bench_exact_t *
bench_dpdk_hash (void)
{
	static const bench_exact_t exact = { hash_build, hash_lookup, hash_remove, hash_bytes };
	return &exact;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "bench_plain.h"
#include "bench_private.h"
#include "memory.h"
#include "mvt_index.h"
#include "mvt_rewrite.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define STAGE	       32u
#define EXTERNAL       0xc6120000u /* 198.18.0.0/15, for benchmarks (RFC 2544) */
#define FIRST_PORT     1024u
#define PORTS_PER_ADDR (65536u - FIRST_PORT)

struct plain_pool
{
	bench_nat_t nat;
	uint32_t ports;
	mvt_entry_t *lines; /* [ports]: the entry of each port */
	arena_t arena;
	/* OWN, LOCK: a chain of the ports in use, oldest first, closed by port `ports`; of the free
	 * ones next is the next free one */
	_Alignas (MVT_CACHE_LINE) pthread_spinlock_t lock;
	uint32_t free;
	uint32_t *next, *before;
	/* ATOMIC: a bit per port */
	_Alignas (MVT_CACHE_LINE) _Atomic uint32_t cursor;
	_Atomic uint64_t *used;
};

struct plain_nat
{
	plain_pool_t *pool;
	mvt_index_t *ix;
	arena_t arena;
};

/* ---- the pool ---- */

plain_pool_t *
plain_pool_new (bench_nat_t nat, uint32_t ports)
{
	plain_pool_t *pool;

	if (posix_memalign ((void **) &pool, MVT_CACHE_LINE, sizeof *pool))
		return NULL;
	ports = (ports + 63) / 64 * 64;
	*pool = (plain_pool_t){ .nat = nat, .ports = ports };
	arena_init (&pool->arena, -1, memory_free ());
	pthread_spin_init (&pool->lock, PTHREAD_PROCESS_PRIVATE);
	const mvt_mem_t *mem = &pool->arena.mem;
	size_t links = (ports + 1) * sizeof *pool->next;
	pool->lines = mvt_mem_alloc (mem, ports * sizeof *pool->lines, MVT_CACHE_LINE);
	pool->next = mvt_mem_alloc (mem, links, MVT_CACHE_LINE);
	pool->before = mvt_mem_alloc (mem, links, MVT_CACHE_LINE);
	pool->used = mvt_mem_alloc (mem, ports / 8, MVT_CACHE_LINE);
	if (!pool->lines || !pool->next || !pool->before || !pool->used)
	{
		plain_pool_remove (pool);
		return NULL;
	}
	for (uint32_t i = 0; i < ports; i++)
		pool->next[i] = i + 1;
	pool->next[ports] = pool->before[ports] = ports;
	return pool;
}

void
plain_pool_remove (plain_pool_t *pool)
{
	if (!pool)
		return;
	const mvt_mem_t *mem = &pool->arena.mem;
	size_t links = (pool->ports + 1) * sizeof *pool->next;
	mvt_mem_free (mem, pool->lines, pool->ports * sizeof *pool->lines);
	mvt_mem_free (mem, pool->next, links);
	mvt_mem_free (mem, pool->before, links);
	mvt_mem_free (mem, pool->used, pool->ports / 8);
	pthread_spin_destroy (&pool->lock);
	free (pool);
}

static inline void
lock (plain_pool_t *pool)
{
	if (pool->nat == BENCH_NAT_LOCK)
		pthread_spin_lock (&pool->lock);
}

static inline void
unlock (plain_pool_t *pool)
{
	if (pool->nat == BENCH_NAT_LOCK)
		pthread_spin_unlock (&pool->lock);
}

/* Puts a port at the young end of the chain. */
static inline void
append (plain_pool_t *pool, uint32_t port)
{
	uint32_t end = pool->ports, youngest = pool->before[end];

	pool->next[youngest] = port;
	pool->before[port] = youngest;
	pool->next[port] = end;
	pool->before[end] = port;
}

static uint32_t
take_bit (plain_pool_t *pool)
{
	uint32_t words = pool->ports / 64;

	for (uint32_t tries = 0; tries < words; tries++)
	{
		uint32_t at = atomic_fetch_add_explicit (&pool->cursor, 1, memory_order_relaxed);
		_Atomic uint64_t *word = &pool->used[at % words];
		uint64_t seen = atomic_load_explicit (word, memory_order_relaxed);

		while (~seen)
		{
			uint32_t bit = (uint32_t) __builtin_ctzll (~seen);
			if (atomic_compare_exchange_weak (word, &seen, seen | 1ull << bit))
				return at % words * 64 + bit;
		}
	}
	return MVT_NONE;
}

static uint32_t
take (plain_pool_t *pool)
{
	uint32_t port;

	if (pool->nat == BENCH_NAT_ATOMIC)
		return take_bit (pool);
	lock (pool);
	port = pool->free;
	if (port < pool->ports)
	{
		pool->free = pool->next[port];
		append (pool, port);
	}
	unlock (pool);
	return port < pool->ports ? port : MVT_NONE;
}

/* A packet has used the port. */
static inline void
touch (plain_pool_t *pool, uint32_t port, uint32_t now)
{
	mvt_entry_t *e = &pool->lines[port];

	e->packets[MVT_IN2OUT]++;
	if (e->last != now)
		e->last = now;
	if (pool->nat == BENCH_NAT_ATOMIC)
		return;
	lock (pool);
	pool->next[pool->before[port]] = pool->next[port];
	pool->before[pool->next[port]] = pool->before[port];
	append (pool, port);
	unlock (pool);
}

/* ---- the NAT ---- */

plain_nat_t *
plain_nat_new (plain_pool_t *pool, uint32_t max_flows, uint64_t seed)
{
	uint64_t pair[2] = { bench_random (&seed), bench_random (&seed) };
	mvt_secret_t secret;
	plain_nat_t *nat = calloc (1, sizeof *nat);

	if (!nat)
		return NULL;
	mvt_secret_init (&secret, pair);
	arena_init (&nat->arena, -1, memory_free ());
	nat->pool = pool;
	nat->ix = mvt_index_new (max_flows, &secret, &nat->arena.mem);
	if (nat->ix)
		return nat;
	free (nat);
	return NULL;
}

void
plain_nat_remove (plain_nat_t *nat)
{
	if (!nat)
		return;
	mvt_index_remove (nat->ix);
	free (nat);
}

static uint32_t
make (plain_nat_t *nat, uint32_t hash, uint32_t addr, uint16_t port, uint8_t proto, uint32_t now)
{
	mvt_entry_t *lines = nat->pool->lines;
	uint32_t line = take (nat->pool);

	if (line == MVT_NONE)
		return line;
	uint32_t ext_addr = EXTERNAL + line / PORTS_PER_ADDR;
	uint16_t ext_port = (uint16_t) (FIRST_PORT + line % PORTS_PER_ADDR);
	lines[line] = (mvt_entry_t){
		.in_addr = addr,
		.in_port = port,
		.ext_addr = ext_addr,
		.ext_port = ext_port,
		.proto = proto,
		.delta_ip = mvt_delta_addr (addr, ext_addr),
		.delta_l4 = mvt_delta_l4 (proto, addr, port, ext_addr, ext_port),
		.last = now,
		.created = now,
	};
	return mvt_index_insert (nat->ix, hash, line) ? MVT_NONE : line;
}

void
plain_nat_process (plain_nat_t *nat, mvt_pkt_t *pkts, uint32_t n, uint32_t now)
{
	mvt_entry_t *lines = nat->pool->lines;

	for (uint32_t done = 0, step; done < n; done += step, pkts += step)
	{
		mvt_plain_t plain[STAGE];
		uint32_t hash[STAGE];

		step = n - done < STAGE ? n - done : STAGE;
		for (uint32_t i = 0; i < step; i++)
		{
			pkts[i].verdict = MVT_VERDICT_DROPPED;
			if (!mvt_packet_plain (&pkts[i], &plain[i]))
				continue;
			pkts[i].verdict = MVT_VERDICT_NONE;
			hash[i] = mvt_index_hash (nat->ix, (uint32_t) (plain[i].addrs >> 32),
						  (uint16_t) (plain[i].ports >> 16), plain[i].proto,
						  0);
			mvt_buckets_prefetch (&nat->ix->buckets, hash[i]);
		}
		for (uint32_t i = 0; i < step; i++)
		{
			uint32_t line = MVT_NONE;
			if (pkts[i].verdict == MVT_VERDICT_NONE)
				line = mvt_buckets_candidate (&nat->ix->buckets, hash[i]);
			if (line != MVT_NONE)
				__builtin_prefetch (&lines[line]);
		}
		for (uint32_t i = 0; i < step; i++)
		{
			uint32_t addr = (uint32_t) (plain[i].addrs >> 32), line;
			uint16_t port = (uint16_t) (plain[i].ports >> 16);
			uint8_t proto = plain[i].proto;

			if (pkts[i].verdict != MVT_VERDICT_NONE)
				continue;
			line = mvt_index_find (nat->ix, lines, hash[i], addr, port, proto, 0);
			if (line == MVT_NONE)
				line = make (nat, hash[i], addr, port, proto, now);
			pkts[i].verdict = MVT_VERDICT_DROPPED;
			if (line == MVT_NONE)
				continue;
			touch (nat->pool, line, now);
			mvt_rewrite_plain (pkts[i].l3, proto, MVT_IN2OUT, lines[line].ext_addr,
					   lines[line].ext_port, lines[line].delta_ip,
					   lines[line].delta_l4);
			pkts[i].verdict = MVT_VERDICT_TRANSLATED;
		}
		mvt_index_maintain (nat->ix, 4);
	}
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * What the pool's tests share: lazily backed memory, a directory, pools that own parts of it.
 */
#ifndef POOL_FIXTURE_H
#define POOL_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mvt_pool_private.h"

#define FIXTURE_POOLS_MAX 4u

/* Counts what is live, so that a test can see that remove gives everything back, and can refuse. */
typedef struct
{
	size_t live;
	int refuse_after; /* allocations that succeed; -1: all */
} fixture_mem_t;

static void *
fixture_alloc (void *ctx, size_t size, size_t align)
{
	fixture_mem_t *m = ctx;
	char *p;
	size_t at;

	if (m->refuse_after == 0)
		return NULL;
	if (m->refuse_after > 0)
		m->refuse_after--;
	/* calloc maps large sizes and touches nothing */
	p = calloc (1, size + align + sizeof (void *));
	if (!p)
		return NULL;
	at = ((size_t) p + sizeof (void *) + align - 1) & ~(align - 1);
	((void **) at)[-1] = p;
	m->live += size;
	return (void *) at;
}

static void
fixture_free (void *ctx, void *p, size_t size)
{
	((fixture_mem_t *) ctx)->live -= size;
	free (((void **) p)[-1]);
}

typedef struct
{
	fixture_mem_t counts;
	mvt_mem_t mem;
	void *dir_memory;
	mvt_directory_t *dir;
	mvt_hosts_t *hosts;
	uint32_t n_pools;
	mvt_pool_t *pool[FIXTURE_POOLS_MAX];
	uint64_t allocatable[1024];
	uint64_t seed;
} fixture_t;

typedef struct
{
	uint32_t n_slots, block_bits, n_pools, max_mappings, hold_seconds, hold_share;
	uint32_t first_port, last_port; /* allocatable; 0, 0: 1024..65535 */
	bool by_host;
	bool take_none;
} fixture_config_t;

static inline uint32_t
fixture_blocks (const fixture_t *f)
{
	return f->dir->n_slots << (16 - f->dir->block_bits);
}

/* Pools 0..n-1; block b belongs to pool b mod n. */
static inline void
fixture_init (fixture_t *f, const fixture_config_t *c)
{
	uint32_t first = c->last_port ? c->first_port : 1024;
	uint32_t last = c->last_port ? c->last_port : 65535;
	const uint64_t seed[2] = { 11, 12 };
	mvt_secret_t secret;

	memset (f, 0, sizeof (*f));
	f->counts.refuse_after = -1;
	f->mem = (mvt_mem_t){ .alloc = fixture_alloc, .free = fixture_free, .ctx = &f->counts };
	f->seed = 0x5eed;
	for (uint32_t p = first; p <= last; p++)
		f->allocatable[p >> 6] |= 1ull << (p & 63);
	f->dir_memory = aligned_alloc (64, mvt_directory_footprint (c->n_slots, c->block_bits));
	f->dir = mvt_directory_format (f->dir_memory, c->n_slots, c->block_bits);
	mvt_secret_init (&secret, seed);
	f->hosts = mvt_hosts_new (1 << 16, &secret, &f->mem);
	assert_non_null (f->hosts);
	f->n_pools = c->n_pools ? c->n_pools : 1;
	for (uint32_t i = 0; i < f->n_pools; i++)
	{
		mvt_pool_config_t config = { .instance = (uint16_t) i,
					     .max_mappings = c->max_mappings,
					     .hold_seconds = c->hold_seconds,
					     .hold_share_1024 = c->hold_share,
					     .by_host = c->by_host,
					     .allocatable = f->allocatable,
					     .seed = 77 + i };
		mvt_err_t err;

		f->pool[i] = mvt_pool_new (&config, f->dir, &f->mem, &err);
		assert_int_equal (err, MVT_OK);
		assert_non_null (f->pool[i]);
	}
	for (uint32_t b = 0; !c->take_none && b < fixture_blocks (f); b++)
		mvt_pool_take (f->pool[b % f->n_pools], &b, 1);
}

static inline void
fixture_done (fixture_t *f)
{
	for (uint32_t i = 0; i < f->n_pools; i++)
		mvt_pool_remove (f->pool[i]);
	mvt_hosts_remove (f->hosts);
	free (f->dir_memory);
	assert_int_equal (f->counts.live, 0);
}

static inline void
fixture_verify (const fixture_t *f)
{
	for (uint32_t i = 0; i < f->n_pools; i++)
	{
		int line = mvt_pool_verify (f->pool[i]);
		if (line)
			fail_msg ("pool %u: invariant of mvt_pool_verify.c:%d is broken", i, line);
	}
}

/* Address of a slot, and a host's record: host i is 10.0.0.0 + i. */
static inline uint32_t
fixture_ext (uint32_t slot)
{
	return 0xc6336400u + slot;
}

static inline uint32_t
fixture_host (fixture_t *f, uint32_t i)
{
	uint32_t host = mvt_hosts_get (f->hosts, 0x0a000000u + i, 0, 0);
	assert_int_not_equal (host, MVT_NONE);
	return host;
}

/* Allocate as nat44 does: the inside endpoint is the caller's to fill. */
static inline mvt_err_t
fixture_alloc_port (fixture_t *f, uint32_t pool, uint32_t slot, uint8_t proto, uint32_t host,
		    uint32_t max_blocks, uint32_t now, mvt_entry_t **e)
{
	mvt_err_t err = mvt_pool_alloc (f->pool[pool], slot, fixture_ext (slot), proto, f->hosts,
					host, max_blocks, now, e);
	if (err == MVT_OK)
	{
		mvt_host_t *h = mvt_hosts_at (f->hosts, host);
		assert_int_equal ((*e)->state, MVT_ENTRY_DYNAMIC);
		assert_int_equal ((*e)->host, host);
		assert_int_equal ((*e)->ext_addr, fixture_ext (slot));
		(*e)->in_addr = h->addr;
		(*e)->realm = h->realm;
		h->count[proto]++;
	}
	return err;
}

static inline void
fixture_free_port (fixture_t *f, uint32_t pool, mvt_entry_t *e, bool hold, uint32_t now)
{
	mvt_hosts_at (f->hosts, e->host)->count[e->proto]--;
	mvt_pool_free (f->pool[pool], f->hosts, e, hold, now);
}

enum
{
	UDP = MVT_PROTO_UDP,
	TCP = MVT_PROTO_TCP,
	ICMP = MVT_PROTO_ICMP
};

static inline mvt_pool_stats_t
stats_of (const fixture_t *f, uint32_t pool)
{
	mvt_pool_stats_t s;

	mvt_pool_stats (f->pool[pool], &s);
	return s;
}

static inline mvt_entry_t *
must_alloc (fixture_t *f, uint32_t slot, uint8_t proto, uint32_t host, uint32_t now)
{
	mvt_entry_t *e = NULL;

	assert_int_equal (fixture_alloc_port (f, 0, slot, proto, host, 0, now, &e), MVT_OK);
	return e;
}

#endif /* POOL_FIXTURE_H */

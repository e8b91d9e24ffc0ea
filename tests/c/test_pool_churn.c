/* SPDX-License-Identifier: Apache-2.0
 *
 * What open blocks are for: free blocks stay free under churn, so that they can move; and an
 * allocation costs as much in a nearly full pool as in an empty one.
 */
#include "pool_fixture.h"

typedef struct
{
	const char *name;
	uint32_t n_slots, block_bits, n_pools, n_protos;
	bool hold;
	uint32_t churn; /* replaced entries, in multiples of the ports */
} shape_t;

static const shape_t shapes[] = {
	{ "one address, blocks of 64", 1, 6, 1, 1, false, 6 },
	{ "one address, blocks of 64, held down", 1, 6, 1, 1, true, 6 },
	{ "four addresses, a quarter of each", 4, 6, 4, 1, false, 6 },
	{ "four addresses, a quarter of each, held down", 4, 6, 4, 1, true, 6 },
	{ "one address, three protocols", 1, 6, 1, 3, false, 6 },
	{ "one address, three protocols, held down", 1, 6, 1, 3, true, 6 },
	{ "one address, blocks of 256", 1, 8, 1, 1, false, 10 },
	{ "one address, blocks of 256, held down", 1, 8, 1, 1, true, 10 },
	{ "one address, blocks of 8", 1, 3, 1, 1, false, 4 },
	{ "one address, blocks of 8, held down", 1, 3, 1, 1, true, 4 },
	{ "one address, blocks of 1", 1, 0, 1, 1, true, 2 },
};

typedef struct
{
	fixture_t f;
	const shape_t *shape;
	mvt_entry_t **live[MVT_PROTO_N];
	uint32_t n[MVT_PROTO_N], ports, now;
	uint64_t ops;
} churn_t;

static void
churn_init (churn_t *c, const shape_t *shape)
{
	fixture_config_t config = { .n_slots = shape->n_slots,
				    .block_bits = shape->block_bits,
				    .n_pools = shape->n_pools,
				    .max_mappings = shape->n_slots * 65536 * shape->n_protos,
				    .hold_seconds = shape->hold ? 120 : 0,
				    .hold_share = shape->hold ? 102 : 0 };
	mvt_pool_stats_t stats;

	memset (c, 0, sizeof (*c));
	c->shape = shape;
	fixture_init (&c->f, &config);
	mvt_pool_stats (c->f.pool[0], &stats);
	c->ports = (uint32_t) stats.ports;
	for (uint32_t proto = 0; proto < MVT_PROTO_N; proto++)
		c->live[proto] = calloc (c->ports, sizeof (*c->live[proto]));
	c->now = 1000;
}

static void
churn_done (churn_t *c)
{
	for (uint32_t proto = 0; proto < MVT_PROTO_N; proto++)
		free (c->live[proto]);
	fixture_done (&c->f);
}

/* A tick is 1/500 of the ports replaced: at a hold of 120 ticks the share of 10 % is what bounds.
 */
static void
churn_tick (churn_t *c)
{
	if (++c->ops % (c->ports * c->shape->n_protos / 500) == 0)
	{
		c->now++;
		mvt_pool_release (c->f.pool[0], c->now, 1 << 20);
	}
}

static void
add (churn_t *c, uint8_t proto)
{
	uint32_t slot = mvt_random_below (&c->f.seed, c->shape->n_slots);
	uint32_t host = fixture_host (&c->f, mvt_random_below (&c->f.seed, 4096));

	/* like a host whose address is exhausted: the next one */
	for (uint32_t i = 0; i < c->shape->n_slots; i++, slot = (slot + 1) % c->shape->n_slots)
		if (fixture_alloc_port (&c->f, 0, slot, proto, host, 0, c->now,
					&c->live[proto][c->n[proto]]) == MVT_OK)
		{
			c->n[proto]++;
			return;
		}
	fail_msg ("%s: refused at %u of %u", c->shape->name, c->n[proto], c->ports);
}

static void
drop (churn_t *c, uint8_t proto)
{
	uint32_t i = mvt_random_below (&c->f.seed, c->n[proto]);

	fixture_free_port (&c->f, 0, c->live[proto][i], c->shape->hold, c->now);
	c->live[proto][i] = c->live[proto][--c->n[proto]];
}

static void
fill_to (churn_t *c, uint32_t n)
{
	/* the last protocol's number is reached last */
	while (c->n[c->shape->n_protos - 1] != n)
		for (uint8_t proto = 0; proto < c->shape->n_protos; proto++, churn_tick (c))
			if (c->n[proto] < n)
				add (c, proto);
			else
				drop (c, proto);
}

/* Replace `times` the ports, each protocol's. */
static void
churn (churn_t *c, uint32_t times)
{
	for (uint64_t n = (uint64_t) c->ports * times; n--;)
		for (uint8_t proto = 0; proto < c->shape->n_protos; proto++, churn_tick (c))
		{
			drop (c, proto);
			add (c, proto);
		}
}

static double
share_in_free_blocks (const churn_t *c)
{
	mvt_pool_stats_t s;
	double least = 1;

	mvt_pool_stats (c->f.pool[0], &s);
	for (uint32_t proto = 0; proto < c->shape->n_protos; proto++)
	{
		uint64_t unused = s.unused_in_free_blocks[proto] + s.unused_elsewhere[proto];
		double share = (double) s.unused_in_free_blocks[proto] / (double) unused;
		least = share < least ? share : least;
	}
	return least;
}

static void
expect_share (const churn_t *c, const char *when, double least)
{
	double share = share_in_free_blocks (c);

	fixture_verify (&c->f);
	print_message ("%-46s %-26s %5.1f %%\n", c->shape->name, when, share * 100);
	if (share < least)
		fail_msg ("%s, %s: %.3f of the unused ports are in free blocks, not %.2f",
			  c->shape->name, when, share, least);
}

static void
test_free_blocks_stay_free (void **state)
{
	(void) state;
	for (size_t i = 0; i < sizeof (shapes) / sizeof (shapes[0]); i++)
	{
		churn_t c;

		churn_init (&c, &shapes[i]);
		fill_to (&c, c.ports / 2);
		churn (&c, shapes[i].churn);
		expect_share (&c, "50 % under churn", 0.90);
		fill_to (&c, c.ports / 4);
		expect_share (&c, "fallen to 25 %", 0.50);
		churn (&c, 2);
		expect_share (&c, "25 % under churn", 0.90);
		/* the hard way: down from a pool that was full, every block with holes */
		fill_to (&c, c.ports - c.ports / 50);
		fill_to (&c, c.ports / 2);
		churn (&c, shapes[i].churn);
		expect_share (&c, "50 % after it was full", 0.90);
		churn_done (&c);
	}
}

/* Steps (turns of every loop whose length depends on state) of n replacements at a fill. */
static void
steps_at (churn_t *c, uint32_t fill, uint64_t n, double *mean, uint64_t *most)
{
	mvt_pool_t *pool = c->f.pool[0];
	uint64_t total = 0;

	*most = 0;
	fill_to (c, fill);
	for (uint64_t i = 0; i < n; i++)
	{
		uint64_t before;

		drop (c, MVT_PROTO_UDP);
		before = pool->steps;
		add (c, MVT_PROTO_UDP);
		total += pool->steps - before;
		if (pool->steps - before > *most)
			*most = pool->steps - before;
	}
	*mean = (double) total / (double) n;
}

static void
test_allocation_is_constant_time (void **state)
{
	static const shape_t rows[] = {
		{ "steps, blocks of 64", 1, 6, 1, 1, false, 0 },
		{ "steps, blocks of 1024", 1, 10, 1, 1, false, 0 },
		{ "steps, blocks of 1", 1, 0, 1, 1, false, 0 },
	};

	(void) state;
	for (size_t i = 0; i < sizeof (rows) / sizeof (rows[0]); i++)
	{
		double empty, full;
		uint64_t most_empty, most_full;
		churn_t c;

		churn_init (&c, &rows[i]);
		steps_at (&c, 100, 20000, &empty, &most_empty);
		steps_at (&c, c.ports - c.ports / 1000, 20000, &full, &most_full);
		fixture_verify (&c.f);
		print_message ("%-24s empty %.2f (at most %u), 99.9 %% %.2f (at most %u)\n",
			       rows[i].name, empty, (unsigned) most_empty, full,
			       (unsigned) most_full);
		/* one step is the allocation itself */
		assert_true (1 + full <= 2 * (1 + empty));
		assert_in_range (most_full, 0, MVT_POOL_REOPEN + 40);
		churn_done (&c);
	}
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#define SANITIZED (__has_feature (address_sanitizer) || __has_feature (thread_sanitizer))
#else
#define SANITIZED 0
#endif

#if !SANITIZED
static size_t
resident_bytes (void)
{
	FILE *f = fopen ("/proc/self/statm", "r");
	unsigned long size = 0, resident = 0;

	if (!f || fscanf (f, "%lu %lu", &size, &resident) != 2)
		resident = 0;
	if (f)
		fclose (f);
	return (size_t) resident * 4096;
}

/* A million mappings of hosts with 16 each, with churn: 96 bytes of memory for each in all, of
 * which 12 are the index's. 16 M in reserve, so what is not touched must not cost. */
static void
test_memory_per_mapping (void **state)
{
	enum
	{
		M = 1 << 20,
		SLOTS = 32
	};
	fixture_t f;
	size_t before = resident_bytes (), used;
	const uint64_t seed[2] = { 1, 2 };
	mvt_secret_t secret;
	mvt_hosts_t *hosts;

	(void) state;
	if (!before)
		skip ();
	fixture_init (&f, &(fixture_config_t){ .n_slots = SLOTS,
					       .block_bits = 6,
					       .max_mappings = 16u << 20,
					       .hold_seconds = 120,
					       .hold_share = 102 });
	mvt_secret_init (&secret, seed);
	hosts = mvt_hosts_new (1 << 20, &secret, &f.mem);
	assert_non_null (hosts);
	for (uint32_t i = 0; i < M; i++)
	{
		uint32_t host = mvt_hosts_get (hosts, i / 16, 0, 0);
		mvt_entry_t *e;

		for (uint32_t again = 0; again < 1 + (i % 4 == 0); again++)
		{
			if (again)
				mvt_pool_free (f.pool[0], hosts, e, false, 0);
			assert_int_equal (
				mvt_pool_alloc (f.pool[0], i / 16 % SLOTS, 1,
						i % 16 < 12 ? MVT_PROTO_UDP : MVT_PROTO_TCP, hosts,
						host, 0, 0, &e),
				MVT_OK);
		}
	}
	used = resident_bytes () - before;
	print_message ("%.1f bytes per mapping\n", (double) used / M);
	assert_in_range (used / M, 64, 96 - 12);
	mvt_hosts_remove (hosts);
	fixture_done (&f);
}
#else
static void
test_memory_per_mapping (void **state)
{
	(void) state;
	skip (); /* a sanitizer's memory is not the pool's */
}
#endif

int
main (void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test (test_memory_per_mapping),
		cmocka_unit_test (test_allocation_is_constant_time),
		cmocka_unit_test (test_free_blocks_stay_free),
	};

	return cmocka_run_group_tests (tests, NULL, NULL);
}

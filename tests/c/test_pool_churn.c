/* SPDX-License-Identifier: Apache-2.0
 *
 * What open blocks are for: free blocks stay free under churn, so that they can move; and an
 * allocation costs as much in a nearly full pool as in an empty one.
 */
#include "pool_fixture.h"

typedef struct
{
	const char *name;
	uint32_t n_slots, block_bits, n_pools;
	bool hold;
	uint32_t churn; /* replaced entries, in multiples of the ports */
} shape_t;

static const shape_t shapes[] = {
	{ "one address, blocks of 64", 1, 6, 1, false, 12 },
	{ "one address, blocks of 64, held down", 1, 6, 1, true, 12 },
	{ "four addresses, a quarter of each", 4, 6, 4, false, 12 },
	{ "four addresses, a quarter of each, held down", 4, 6, 4, true, 12 },
	{ "two addresses, blocks of 256", 2, 8, 1, false, 20 },
	{ "two addresses, blocks of 256, held down", 2, 8, 1, true, 20 },
	{ "one address, blocks of 8", 1, 3, 1, false, 8 },
	{ "one address, blocks of 8, held down", 1, 3, 1, true, 8 },
	{ "one address, blocks of 1", 1, 0, 1, true, 4 },
};

typedef struct
{
	fixture_t f;
	const shape_t *shape;
	mvt_entry_t **live;
	uint32_t n, ports, now;
	uint64_t ops;
} churn_t;

static void
churn_init (churn_t *c, const shape_t *shape)
{
	fixture_config_t config = { .n_slots = shape->n_slots,
				    .block_bits = shape->block_bits,
				    .n_pools = shape->n_pools,
				    .max_mappings = shape->n_slots * 65536,
				    .hold_seconds = shape->hold ? 120 : 0,
				    .hold_share = shape->hold ? 102 : 0 };
	mvt_pool_stats_t stats;

	memset (c, 0, sizeof (*c));
	c->shape = shape;
	fixture_init (&c->f, &config);
	mvt_pool_stats (c->f.pool[0], &stats);
	c->ports = (uint32_t) stats.ports;
	c->live = calloc (c->ports, sizeof (*c->live));
	c->now = 1000;
}

static void
churn_done (churn_t *c)
{
	free (c->live);
	fixture_done (&c->f);
}

/* A tick is 1/500 of the ports replaced: at a hold of 120 ticks the share of 10 % is what bounds.
 */
static void
churn_tick (churn_t *c)
{
	if (++c->ops % (c->ports / 500) == 0)
	{
		c->now++;
		mvt_pool_release (c->f.pool[0], c->now, 1 << 20);
	}
}

static void
add (churn_t *c)
{
	uint32_t slot = mvt_random_below (&c->f.seed, c->shape->n_slots);
	uint32_t host = fixture_host (&c->f, mvt_random_below (&c->f.seed, 4096));

	/* like a host whose address is exhausted: the next one */
	for (uint32_t i = 0; i < c->shape->n_slots; i++, slot = (slot + 1) % c->shape->n_slots)
		if (fixture_alloc_port (&c->f, 0, slot, MVT_PROTO_UDP, host, 0, c->now,
					&c->live[c->n]) == MVT_OK)
		{
			c->n++;
			return;
		}
	fail_msg ("%s: refused at %u of %u", c->shape->name, c->n, c->ports);
}

static void
drop (churn_t *c)
{
	uint32_t i = mvt_random_below (&c->f.seed, c->n);

	fixture_free_port (&c->f, 0, c->live[i], c->shape->hold, c->now);
	c->live[i] = c->live[--c->n];
}

static void
fill_to (churn_t *c, uint32_t n)
{
	for (; c->n < n; churn_tick (c))
		add (c);
	for (; c->n > n; churn_tick (c))
		drop (c);
}

static void
churn (churn_t *c, uint64_t n)
{
	while (n--)
	{
		drop (c);
		add (c);
		churn_tick (c);
	}
}

static double
share_in_free_blocks (const churn_t *c)
{
	mvt_pool_stats_t s;

	mvt_pool_stats (c->f.pool[0], &s);
	return (double) s.unused_in_free_blocks[MVT_PROTO_UDP] /
	       (double) (s.unused_in_free_blocks[MVT_PROTO_UDP] +
			 s.unused_elsewhere[MVT_PROTO_UDP]);
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
		churn (&c, (uint64_t) c.ports * shapes[i].churn);
		expect_share (&c, "50 % under churn", 0.90);
		fill_to (&c, c.ports / 4);
		expect_share (&c, "fallen to 25 %", 0.50);
		churn (&c, (uint64_t) c.ports * 2);
		expect_share (&c, "25 % under churn", 0.50);
		/* the hard way: down from a pool that was full, every block with holes */
		fill_to (&c, c.ports - c.ports / 50);
		fill_to (&c, c.ports / 2);
		churn (&c, (uint64_t) c.ports * shapes[i].churn);
		expect_share (&c, "50 % after it was full", 0.90);
		churn_done (&c);
	}
}

int
main (void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test (test_free_blocks_stay_free),
	};

	return cmocka_run_group_tests (tests, NULL, NULL);
}

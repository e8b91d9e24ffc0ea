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
		expect_share (&c, "25 % under churn", 0.50);
		/* the hard way: down from a pool that was full, every block with holes */
		fill_to (&c, c.ports - c.ports / 50);
		fill_to (&c, c.ports / 2);
		churn (&c, shapes[i].churn);
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

/* SPDX-License-Identifier: Apache-2.0
 * The pool's contract: blocks of hosts, walks, transfers between pools. */
#include "pool_fixture.h"

static void
expect_event (fixture_t *f, uint32_t block, uint32_t addr, bool assigned)
{
	mvt_pool_event_t event;

	assert_int_equal (mvt_pool_events (f->pool[0], &event, 1), 1);
	assert_int_equal (event.block, block);
	assert_int_equal (event.host_addr, addr);
	assert_int_equal (event.assigned, assigned);
}

static void
test_blocks_of_hosts (void **state)
{
	fixture_t f;
	mvt_entry_t *a[129], *e;
	mvt_pool_event_t event;
	uint32_t host1, host2, block1, block2;

	(void) state;
	fixture_init (
		&f, &(fixture_config_t){
			    .n_slots = 2, .block_bits = 6, .max_mappings = 9999, .by_host = true });
	host1 = fixture_host (&f, 1);
	host2 = fixture_host (&f, 2);
	for (uint32_t i = 0; i < 64; i++)
		assert_int_equal (fixture_alloc_port (&f, 0, 0, UDP, host1, 2, 0, &a[i]), MVT_OK);
	block1 = a[0]->ext_port >> 6;
	for (uint32_t i = 0; i < 64; i++)
		assert_int_equal (a[i]->ext_port >> 6, block1);
	expect_event (&f, block1, 0x0a000001, true);
	/* the other protocols have the same block */
	assert_int_equal (must_alloc (&f, 0, TCP, host1, 0)->ext_port >> 6, block1);
	assert_int_equal (mvt_pool_events (f.pool[0], &event, 1), 0);
	for (uint32_t i = 64; i < 128; i++)
		assert_int_equal (fixture_alloc_port (&f, 0, 0, UDP, host1, 2, 0, &a[i]), MVT_OK);
	block2 = a[64]->ext_port >> 6;
	assert_int_not_equal (block1, block2);
	expect_event (&f, block2, 0x0a000001, true);
	assert_int_equal (mvt_hosts_at (f.hosts, host1)->n_blocks, 2);
	assert_int_equal (stats_of (&f, 0).blocks_open, 2);
	assert_int_equal (fixture_alloc_port (&f, 0, 0, UDP, host1, 2, 0, &e), MVT_ERR_UNSUPPORTED);
	assert_int_equal (mvt_pool_starved (f.pool[0]), MVT_NONE);
	fixture_verify (&f);

	assert_int_equal (fixture_alloc_port (&f, 0, 0, UDP, host2, 2, 0, &e), MVT_OK);
	assert_int_not_equal (e->ext_port >> 6, block1);
	assert_int_not_equal (e->ext_port >> 6, block2);
	expect_event (&f, e->ext_port >> 6, 0x0a000002, true);

	for (uint32_t i = 64; i < 128; i++)
		fixture_free_port (&f, 0, a[i], false, 0);
	expect_event (&f, block2, 0x0a000001, false);
	assert_int_equal (mvt_hosts_at (f.hosts, host1)->n_blocks, 1);
	for (uint32_t i = 0; i < 64; i++)
		fixture_free_port (&f, 0, a[i], false, 0);
	assert_int_equal (mvt_pool_events (f.pool[0], &event, 1), 0); /* its TCP port is in use */
	assert_int_equal (mvt_hosts_at (f.hosts, host1)->n_blocks, 1);
	fixture_verify (&f);
	fixture_done (&f);
}

/* Hosts with a few mappings of each protocol leave most of their slabs empty. */
static void
test_max_mappings_of_hosts_with_blocks (void **state)
{
	enum
	{
		M = 32000
	};
	fixture_t f;

	(void) state;
	fixture_init (&f,
		      &(fixture_config_t){
			      .n_slots = 4, .block_bits = 6, .max_mappings = M, .by_host = true });
	for (uint32_t i = 0; i < M; i++)
		must_alloc (&f, i / 16 % 4, (uint8_t) (i % 16 ? i % 4 == 1 : ICMP),
			    fixture_host (&f, i / 16), 0);
	assert_int_equal (stats_of (&f, 0).slabs, M / 16 * 3);
	fixture_verify (&f);
	fixture_done (&f);
}

/* With several blocks each free port is equally likely. */
static void
test_ports_of_all_blocks_of_a_host (void **state)
{
	fixture_t f;
	mvt_entry_t *a[192];
	uint32_t host, last = 0;

	(void) state;
	fixture_init (
		&f, &(fixture_config_t){
			    .n_slots = 1, .block_bits = 6, .max_mappings = 9999, .by_host = true });
	host = fixture_host (&f, 1);
	for (uint32_t i = 0; i < 192; i++)
		a[i] = must_alloc (&f, 0, UDP, host, 0);
	/* 24 free ports in each of three blocks */
	for (uint32_t i = 0; i < 192; i++)
		if (i % 64 < 24)
			fixture_free_port (&f, 0, a[i], false, 0);
	for (uint32_t i = 0; i < 600; i++)
	{
		mvt_entry_t *e = must_alloc (&f, 0, UDP, host, 0);
		last += e->ext_port >> 6 == a[191]->ext_port >> 6;
		fixture_free_port (&f, 0, e, false, 0);
	}
	assert_in_range (last, 140, 260);
	assert_int_equal (mvt_hosts_at (f.hosts, host)->n_blocks, 3);
	fixture_verify (&f);
	fixture_done (&f);
}

/* The last mapping releases the block even if ports are held; it is free after the hold-down. */
static void
test_block_released_while_held (void **state)
{
	fixture_t f;
	mvt_entry_t *e, *last;
	uint32_t host, block;

	(void) state;
	fixture_init (&f, &(fixture_config_t){ .n_slots = 1,
					       .block_bits = 6,
					       .max_mappings = 9999,
					       .hold_seconds = 120,
					       .hold_share = 1024,
					       .first_port = 1024,
					       .last_port = 1151,
					       .by_host = true });
	host = fixture_host (&f, 1);
	/* a full block: the host's own held port comes before a further block */
	for (uint32_t i = 0; i < 64; i++)
		last = must_alloc (&f, 0, UDP, host, 0);
	fixture_free_port (&f, 0, last, true, 0);
	assert_int_equal (last->state, MVT_ENTRY_HELD);
	assert_ptr_equal (must_alloc (&f, 0, UDP, host, 0), last);
	assert_int_equal (mvt_hosts_at (f.hosts, host)->n_blocks, 1);

	host = fixture_host (&f, 2);
	e = must_alloc (&f, 0, UDP, host, 0);
	block = e->ext_port >> 6;
	fixture_free_port (&f, 0, e, true, 50);
	assert_int_equal (mvt_hosts_at (f.hosts, host)->n_blocks, 0);
	assert_int_equal (mvt_hosts_at (f.hosts, host)->blocks, MVT_NONE);
	mvt_hosts_put (f.hosts, host); /* the record may go */
	assert_int_equal (stats_of (&f, 0).blocks_free, 0);
	assert_int_equal (stats_of (&f, 0).blocks_closed, 1);
	fixture_verify (&f);
	assert_int_equal (mvt_pool_release (f.pool[0], 169, 10), 0);
	assert_int_equal (mvt_pool_release (f.pool[0], 170, 10), 1);
	assert_int_equal (stats_of (&f, 0).blocks_free, 1);
	fixture_verify (&f);

	/* no block but a held one: it is freed early */
	host = fixture_host (&f, 3);
	e = must_alloc (&f, 0, UDP, host, 200);
	fixture_free_port (&f, 0, must_alloc (&f, 0, ICMP, host, 200), true, 200);
	fixture_free_port (&f, 0, e, true, 200);
	host = fixture_host (&f, 4);
	assert_int_equal (must_alloc (&f, 0, UDP, host, 200)->ext_port >> 6, block);
	assert_int_equal (stats_of (&f, 0).held, 0);
	assert_int_equal (fixture_alloc_port (&f, 0, 0, UDP, fixture_host (&f, 5), 0, 0, &e),
			  MVT_ERR_FULL);
	assert_int_equal (mvt_pool_starved (f.pool[0]), 0);
	fixture_verify (&f);
	fixture_done (&f);
}

static void
test_event_ring_counts_loss (void **state)
{
	fixture_t f;
	mvt_pool_event_t events[100];
	uint32_t total = 0, n;

	(void) state;
	fixture_init (
		&f, &(fixture_config_t){
			    .n_slots = 1, .block_bits = 6, .max_mappings = 9999, .by_host = true });
	for (uint32_t i = 0; i < 700; i++)
		fixture_free_port (&f, 0, must_alloc (&f, 0, UDP, fixture_host (&f, i), 0), false,
				   0);
	assert_int_equal (stats_of (&f, 0).events_lost, 1400 - 1024);
	while ((n = mvt_pool_events (f.pool[0], events, 100)) != 0)
	{
		assert_int_equal (events[0].host_addr, 0x0a000000 + total / 2);
		total += n;
	}
	assert_int_equal (total, 1024);
	fixture_done (&f);
}

static void
test_walk_is_stable (void **state)
{
	enum
	{
		KEPT = 500,
		OTHERS = 3000
	};
	fixture_t f;
	static mvt_entry_t *kept[KEPT], *others[OTHERS];
	static uint8_t seen[65536][MVT_PROTO_N];
	uint32_t host;

	(void) state;
	for (uint32_t bits = 0; bits <= 12; bits += 4)
	{
		uint64_t cursor = 0;

		fixture_init (&f, &(fixture_config_t){ .n_slots = 1,
						       .block_bits = bits,
						       .max_mappings = 10000,
						       .hold_seconds = 2,
						       .hold_share = 102 });
		host = fixture_host (&f, 1);
		memset (others, 0, sizeof (others));
		for (uint32_t i = 0; i < KEPT; i++)
			kept[i] = must_alloc (&f, 0, (uint8_t) (i % 3), host, 0);
		for (uint32_t round = 0; round < 20; round++)
		{
			bool wrapped = false;

			memset (seen, 0, sizeof (seen));
			while (!wrapped)
			{
				mvt_entry_t *out[16];
				uint32_t n =
					mvt_pool_walk (f.pool[0], &cursor, out, 16, 64, &wrapped);

				for (uint32_t i = 0; i < n; i++)
				{
					assert_int_equal (out[i]->state, MVT_ENTRY_DYNAMIC);
					seen[out[i]->ext_port][out[i]->proto]++;
				}
				for (uint32_t i = 0; i < 40; i++)
				{
					uint32_t k = mvt_random_below (&f.seed, OTHERS);
					if (others[k])
						fixture_free_port (&f, 0, others[k], k & 1, round);
					others[k] = others[k]
							    ? NULL
							    : must_alloc (&f, 0, (uint8_t) (k % 3),
									  host, round);
				}
				mvt_pool_release (f.pool[0], round, 100);
			}
			assert_int_equal (cursor, 0);
			for (uint32_t i = 0; i < KEPT; i++)
				assert_int_equal (seen[kept[i]->ext_port][kept[i]->proto], 1);
		}
		fixture_verify (&f);
		fixture_done (&f);
	}
}

/* Everything at once on four pools, at several block sizes, in either mode of allocation: the
 * blocks that are owned stay the same, no block has two owners, every invariant holds. */
static void
test_random_operations_on_four_pools (void **state)
{
	enum
	{
		LIVE = 4000
	};
	static mvt_entry_t *live[4][LIVE];
	uint32_t n[4];

	(void) state;
	for (uint32_t run = 0; run < 8; run++)
	{
		static const uint32_t bits[] = { 6, 4, 9, 1 };
		fixture_t f;
		uint32_t now = 10, blocks;

		fixture_init (&f, &(fixture_config_t){ .n_slots = 3,
						       .block_bits = bits[run / 2],
						       .n_pools = 4,
						       .max_mappings = LIVE,
						       .hold_seconds = 5,
						       .hold_share = 300,
						       .first_port = 60001,
						       .last_port = 64000,
						       .by_host = run & 1 });
		memset (n, 0, sizeof (n));
		blocks = fixture_blocks (&f);
		for (uint32_t op = 0; op < 60000; op++)
		{
			uint32_t p = mvt_random_below (&f.seed, 4);
			uint32_t what = mvt_random_below (&f.seed, 100);
			uint8_t proto = (uint8_t) mvt_random_below (&f.seed, 3);
			uint32_t slot = mvt_random_below (&f.seed, 3), out[8];
			uint32_t grow = op / 10000 % 2 ? 35 : 60;
			mvt_entry_t *e;

			if (what < grow && n[p] < LIVE)
			{
				uint32_t host = fixture_host (
					&f, p * 100 + mvt_random_below (&f.seed, 100));
				if (fixture_alloc_port (&f, p, slot, proto, host, 4, now, &e) ==
				    MVT_OK)
					live[p][n[p]++] = e;
			}
			else if (what < 94 && n[p])
			{
				uint32_t i = mvt_random_below (&f.seed, n[p]);
				bool is_static = live[p][i]->state == MVT_ENTRY_STATIC;

				if (is_static)
					mvt_pool_free (f.pool[p], f.hosts, live[p][i], true, now);
				else
					fixture_free_port (&f, p, live[p][i], what & 1, now);
				live[p][i] = live[p][--n[p]];
			}
			else if (what < 96)
			{
				uint32_t to = mvt_random_below (&f.seed, 4);
				uint32_t from = what & 1 ? slot : MVT_NONE;
				uint32_t got = to == p ? 0
						       : mvt_pool_give (f.pool[p], from,
									(uint16_t) to, out, 8);
				for (uint32_t i = 0; i < got; i++)
					assert_int_equal (mvt_directory_owner (f.dir, out[i]), to);
				mvt_pool_take (f.pool[to], out, got);
			}
			else if (what < 98 && n[p] < LIVE)
			{
				uint16_t port =
					(uint16_t) (59990 + mvt_random_below (&f.seed, 4020));
				if (mvt_pool_alloc_static (f.pool[p], slot, 1, proto, port, &e) ==
				    MVT_OK)
					live[p][n[p]++] = e;
			}
			else
				mvt_pool_release (f.pool[p], now += op % 50 == 0, 64);
			if (op % 2000 == 0)
			{
				uint32_t owned = 0;

				fixture_verify (&f);
				for (uint32_t i = 0; i < 4; i++)
				{
					mvt_pool_stats_t s = stats_of (&f, i);
					owned += s.blocks;
					assert_int_equal (s.in_use[0] + s.in_use[1] + s.in_use[2],
							  n[i]);
				}
				assert_int_equal (owned, blocks);
			}
		}
		/* all of it back: nothing is left behind */
		for (uint32_t p = 0; p < 4; p++)
		{
			mvt_pool_stats_t s;

			while (n[p])
			{
				mvt_entry_t *e = live[p][--n[p]];
				if (e->state == MVT_ENTRY_STATIC)
					mvt_pool_free (f.pool[p], f.hosts, e, false, now);
				else
					fixture_free_port (&f, p, e, false, now);
			}
			mvt_pool_release (f.pool[p], now + 5, 1 << 20);
			s = stats_of (&f, p);
			assert_int_equal (s.slabs | s.held | s.blocks_open | s.blocks_closed, 0);
			for (uint32_t proto = 0; proto < MVT_PROTO_N; proto++)
				assert_int_equal (s.unused_in_free_blocks[proto], s.ports);
		}
		fixture_verify (&f);
		for (uint32_t i = 0; i < mvt_hosts_count (f.hosts); i++)
			assert_int_equal (mvt_hosts_at (f.hosts, i)->n_blocks, 0);
		fixture_done (&f);
	}
}

/* All load on one of four instances: with refill it uses every port of the pool. */
static void
test_one_loaded_pool_uses_all (void **state)
{
	fixture_t f;
	uint32_t n = 0, host, refills = 0, failed = 0;

	(void) state;
	fixture_init (&f, &(fixture_config_t){ .n_slots = 4,
					       .block_bits = 6,
					       .n_pools = 4,
					       .max_mappings = 4 * 65536 });
	host = fixture_host (&f, 1);
	for (uint32_t slot = 0; failed < 4; slot = (slot + 1) % 4)
	{
		mvt_entry_t *e;
		mvt_err_t err = fixture_alloc_port (&f, 0, slot, UDP, host, 0, 0, &e);

		if (err == MVT_OK)
		{
			n++;
			failed = 0;
			continue;
		}
		assert_int_equal (err, MVT_ERR_FULL);
		assert_int_equal (mvt_pool_starved (f.pool[0]), slot);
		failed++;
		for (uint32_t from = 1; from < 4; from++)
		{
			uint32_t out[16];
			uint32_t got = mvt_pool_give (f.pool[from], slot, 0, out, 16);

			mvt_pool_take (f.pool[0], out, got);
			refills += got != 0;
			failed = got ? 0 : failed;
		}
	}
	assert_int_equal (n, 4 * (65536 - 1024));
	assert_true (refills > 100);
	fixture_verify (&f);
	fixture_done (&f);
}

static void
test_give_is_random_and_in_turn (void **state)
{
	fixture_t f;
	uint32_t out[400], by_slot[4] = { 0 }, in_order = 0;

	(void) state;
	fixture_init (&f, &(fixture_config_t){ .n_slots = 4, .block_bits = 6, .max_mappings = 99 });
	assert_int_equal (mvt_pool_free_blocks (f.pool[0], 2), 1008);
	assert_int_equal (mvt_pool_give (f.pool[0], MVT_NONE, 1, out, 400), 400);
	for (uint32_t i = 0; i < 400; i++)
	{
		by_slot[out[i] >> 10]++;
		in_order += i >= 4 && out[i] > out[i - 4];
		assert_int_equal (mvt_directory_owner (f.dir, out[i]), 1);
	}
	for (uint32_t slot = 0; slot < 4; slot++)
		assert_int_equal (by_slot[slot], 100);
	assert_in_range (in_order, 120, 280);
	assert_int_equal (mvt_pool_free_blocks (f.pool[0], 2), 908);
	assert_int_equal (mvt_pool_give (f.pool[0], 9, 1, out, 4), 0);
	/* blocks of ports that may not be allocated are not free */
	for (uint32_t slot = 0; slot < 4; slot++)
		while (mvt_pool_give (f.pool[0], slot, 1, out, 100))
			;
	assert_int_equal (stats_of (&f, 0).blocks, 4 * 16);
	assert_int_equal (stats_of (&f, 0).blocks_free, 0);
	assert_int_equal (mvt_pool_give (f.pool[0], MVT_NONE, 1, out, 100), 0);
	fixture_verify (&f);
	fixture_done (&f);
}

int
main (void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test (test_blocks_of_hosts),
		cmocka_unit_test (test_max_mappings_of_hosts_with_blocks),
		cmocka_unit_test (test_ports_of_all_blocks_of_a_host),
		cmocka_unit_test (test_block_released_while_held),
		cmocka_unit_test (test_event_ring_counts_loss),
		cmocka_unit_test (test_walk_is_stable),
		cmocka_unit_test (test_random_operations_on_four_pools),
		cmocka_unit_test (test_one_loaded_pool_uses_all),
		cmocka_unit_test (test_give_is_random_and_in_turn),
	};

	return cmocka_run_group_tests (tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 * The pool's contract: every port once, limits, hold-down to the tick, static mappings. What blocks
 * do in the long run is test_pool_churn.c. */
#include "pool_fixture.h"

static void
test_refused_configurations (void **state)
{
	fixture_t f;
	mvt_err_t err;
	const mvt_pool_config_t good = { .instance = 9, .max_mappings = 1000, .seed = 1 };
	struct
	{
		const char *what;
		mvt_pool_config_t config;
	} rows[] = {
		{ "no mappings", good }, { "no seed", good },	      { "no ports", good },
		{ "no instance", good }, { "share above one", good }, { "too many mappings", good },
	};

	(void) state;
	fixture_init (&f, &(fixture_config_t){ .n_slots = 1, .block_bits = 6, .max_mappings = 10 });
	for (size_t i = 0; i < 6; i++)
		rows[i].config.allocatable = f.allocatable;
	rows[0].config.max_mappings = 0;
	rows[1].config.seed = 0;
	rows[2].config.allocatable = NULL;
	rows[3].config.instance = MVT_NO_INSTANCE;
	rows[4].config.hold_share_1024 = 1025;
	rows[5].config = good;
	rows[5].config.allocatable = f.allocatable;
	for (size_t i = 0; i < 5; i++)
	{
		assert_null (mvt_pool_new (&rows[i].config, f.dir, &f.mem, &err));
		if (err != MVT_ERR_INVALID)
			fail_msg ("%s: error %d", rows[i].what, err);
	}
	for (int n = 0; n < 3; n++)
	{
		size_t before = f.counts.live;

		f.counts.refuse_after = n;
		assert_null (mvt_pool_new (&rows[5].config, f.dir, &f.mem, &err));
		assert_int_equal (err, MVT_ERR_NO_MEMORY);
		assert_int_equal (f.counts.live, before);
	}
	f.counts.refuse_after = -1;
	fixture_done (&f);
}

/* Every allocatable port of an address, each once; ranges that begin and end inside a block. */
static void
test_every_port_once (void **state)
{
	static const struct
	{
		uint32_t block_bits, first, last;
	} rows[] = {
		{ 6, 1024, 65535 }, { 6, 1, 65535 },	 { 6, 1000, 1000 }, { 6, 30001, 40444 },
		{ 0, 1024, 9000 },  { 15, 1024, 65535 }, { 12, 5, 65530 },  { 3, 1027, 50001 },
	};

	(void) state;
	for (size_t r = 0; r < sizeof (rows) / sizeof (rows[0]); r++)
	{
		fixture_t f;
		uint32_t n = rows[r].last - rows[r].first + 1, host;
		static uint8_t seen[65536];
		mvt_entry_t *e, *last = NULL;

		fixture_init (&f, &(fixture_config_t){ .n_slots = 2,
						       .block_bits = rows[r].block_bits,
						       .max_mappings = 200000,
						       .first_port = rows[r].first,
						       .last_port = rows[r].last });
		memset (seen, 0, sizeof (seen));
		host = fixture_host (&f, 1);
		assert_int_equal (stats_of (&f, 0).ports, 2 * n);
		for (uint32_t i = 0; i < n; i++)
		{
			uint32_t block;

			e = must_alloc (&f, 1, TCP, host, 0);
			assert_in_range (e->ext_port, rows[r].first, rows[r].last);
			assert_int_equal (seen[e->ext_port]++, 0);
			assert_int_equal (e->sessions, MVT_NONE);
			block = mvt_directory_block (f.dir, 1, e->ext_port);
			assert_ptr_equal (mvt_pool_place (f.pool[0], block, TCP, e->ext_port), e);
			assert_ptr_equal (
				mvt_pool_line (f.pool[0], mvt_pool_line_of (f.pool[0], e)), e);
			if (i == n / 2)
				fixture_verify (&f);
			last = e;
		}
		fixture_verify (&f);
		assert_int_equal (mvt_pool_starved (f.pool[0]), MVT_NONE);
		assert_int_equal (fixture_alloc_port (&f, 0, 1, TCP, host, 0, 0, &e), MVT_ERR_FULL);
		assert_int_equal (mvt_pool_starved (f.pool[0]), 1);
		assert_int_equal (mvt_pool_starved (f.pool[0]), MVT_NONE);
		/* the one that is freed is the one that comes */
		fixture_free_port (&f, 0, last, false, 0);
		assert_int_equal (last->state, MVT_ENTRY_FREE);
		assert_ptr_equal (must_alloc (&f, 1, TCP, host, 0), last);
		/* another protocol and another address have their own */
		must_alloc (&f, 1, UDP, host, 0);
		must_alloc (&f, 0, TCP, host, 0);
		fixture_verify (&f);
		fixture_done (&f);
	}
}

static void
test_place_of_unused_blocks (void **state)
{
	fixture_t f;
	mvt_entry_t *e;
	uint32_t block, port;

	(void) state;
	fixture_init (&f, &(fixture_config_t){ .n_slots = 1, .block_bits = 6, .max_mappings = 99 });
	e = must_alloc (&f, 0, UDP, fixture_host (&f, 1), 0);
	port = e->ext_port;
	block = mvt_directory_block (f.dir, 0, e->ext_port);
	assert_null (mvt_pool_place (f.pool[0], block, TCP, (uint16_t) port));
	assert_null (mvt_pool_place (f.pool[0], block, MVT_PROTO_OTHER, (uint16_t) port));
	assert_null (mvt_pool_place (f.pool[0], block ^ 1, UDP, (uint16_t) (port ^ 64)));
	assert_int_equal (mvt_pool_place (f.pool[0], block, UDP, (uint16_t) (port ^ 1))->state,
			  MVT_ENTRY_FREE);
	assert_int_equal (stats_of (&f, 0).blocks_open, 1);
	fixture_free_port (&f, 0, e, false, 0);
	assert_null (mvt_pool_place (f.pool[0], block, UDP, (uint16_t) port));
	assert_int_equal (stats_of (&f, 0).slabs, 0);
	assert_int_equal (stats_of (&f, 0).blocks_open, 0);
	assert_int_equal (stats_of (&f, 0).blocks_free, 1008);
	fixture_verify (&f);
	fixture_done (&f);
}

static void
test_max_mappings (void **state)
{
	fixture_t f;
	mvt_entry_t *e, *first;
	uint32_t host;

	(void) state;
	/* few mappings over many addresses and protocols: the arena must not end before them */
	fixture_init (&f,
		      &(fixture_config_t){ .n_slots = 64, .block_bits = 6, .max_mappings = 5000 });
	host = fixture_host (&f, 1);
	first = must_alloc (&f, 0, UDP, host, 0);
	for (uint32_t i = 1; i < 5000; i++)
		must_alloc (&f, i % 64, (uint8_t) (i % 3), host, 0);
	assert_int_equal (fixture_alloc_port (&f, 0, 5, UDP, host, 0, 0, &e), MVT_ERR_NO_MEMORY);
	assert_int_equal (mvt_pool_alloc_static (f.pool[0], 5, 1, UDP, 80, &e), MVT_ERR_NO_MEMORY);
	fixture_free_port (&f, 0, first, false, 0);
	must_alloc (&f, 7, TCP, host, 0);
	fixture_verify (&f);
	fixture_done (&f);
}

/* A load that moved from some addresses to others leaves slabs half empty: max_mappings are there
 * all the same. */
static void
test_max_mappings_after_a_fall (void **state)
{
	enum
	{
		M = 40000
	};
	fixture_t f;
	static mvt_entry_t *live[M];
	uint32_t host, n = 0;

	(void) state;
	fixture_init (&f, &(fixture_config_t){ .n_slots = 8, .block_bits = 6, .max_mappings = M });
	host = fixture_host (&f, 1);
	while (n < M)
		live[n] = must_alloc (&f, n % 4, UDP, host, 0), n++;
	while (n > M * 6 / 10)
	{
		uint32_t i = mvt_random_below (&f.seed, n);
		fixture_free_port (&f, 0, live[i], false, 0);
		live[i] = live[--n];
	}
	for (; n < M; n++)
		must_alloc (&f, 4 + n % 4, UDP, host, 0);
	fixture_verify (&f);
	fixture_done (&f);
}

/* Half of the load on one half of many addresses, which take most slabs for their candidates, then
 * as much on the other half. */
static void
test_max_mappings_over_many_addresses (void **state)
{
	enum
	{
		M = 100000
	};
	fixture_t f;
	uint32_t host;

	(void) state;
	fixture_init (&f,
		      &(fixture_config_t){ .n_slots = 200, .block_bits = 6, .max_mappings = M });
	host = fixture_host (&f, 1);
	for (uint32_t i = 0; i < M; i++)
		must_alloc (&f, i < M / 2 ? i % 100 : i / (M / 200), UDP, host, 0);
	assert_true (stats_of (&f, 0).slabs > 2400);
	fixture_done (&f);
}

/* Ports of successive mappings: spread evenly, none near the previous one more often than chance
 * has it, and another order under another seed. */
static void
test_ports_are_hard_to_guess (void **state)
{
	enum
	{
		ROUNDS = 400,
		PER = 40
	};
	uint32_t near = 0, bins[16] = { 0 }, same_block = 0;

	(void) state;
	for (uint32_t round = 0; round < ROUNDS; round++)
	{
		fixture_t f;
		uint32_t previous = 0;

		fixture_init (&f, &(fixture_config_t){ .n_slots = 1,
						       .block_bits = 6,
						       .max_mappings = 1000,
						       .first_port = 0,
						       .last_port = 65535 });
		f.pool[0]->seed = 1 + (uint64_t) round * 0x9e3779b97f4a7c15ull;
		for (uint32_t i = 0; i < PER; i++)
		{
			uint32_t port = must_alloc (&f, 0, UDP, fixture_host (&f, i), 0)->ext_port;

			bins[port >> 12]++;
			near += i && (port - previous + 8) % 65536 <= 16;
			same_block += i && port >> 6 == previous >> 6;
			previous = port;
		}
		fixture_done (&f);
	}
	for (uint32_t i = 0; i < 16; i++)
		assert_in_range (bins[i], ROUNDS * PER / 16 * 8 / 10, ROUNDS * PER / 16 * 12 / 10);
	/* 24 of 40 come from 16 or so open blocks: a neighbour within 8 once in about 80 */
	assert_in_range (near, 0, ROUNDS * PER / 40);
	assert_in_range (same_block, 0, ROUNDS * PER / 12);
}

static void
test_hold_down_to_the_tick (void **state)
{
	fixture_t f;
	mvt_entry_t *e;

	(void) state;
	fixture_init (&f, &(fixture_config_t){ .n_slots = 1,
					       .block_bits = 6,
					       .max_mappings = 99,
					       .hold_seconds = 120,
					       .hold_share = 102 });
	e = must_alloc (&f, 0, UDP, fixture_host (&f, 1), 4000000000u);
	/* the tick wraps while the port is held */
	fixture_free_port (&f, 0, e, true, 0xffffffc0u);
	assert_int_equal (e->state, MVT_ENTRY_HELD);
	assert_int_equal (stats_of (&f, 0).held, 1);
	assert_int_equal (stats_of (&f, 0).in_use[UDP], 0);
	assert_int_equal (mvt_pool_release (f.pool[0], 0xffffffc0u + 119, 100), 0);
	fixture_verify (&f);
	assert_int_equal (mvt_pool_release (f.pool[0], 0xffffffc0u + 120, 0), 0);
	assert_int_equal (mvt_pool_release (f.pool[0], 0xffffffc0u + 120, 100), 1);
	assert_int_equal (e->state, MVT_ENTRY_FREE);
	assert_int_equal (stats_of (&f, 0).held, 0);
	assert_int_equal (stats_of (&f, 0).slabs, 0);
	/* only who asks for it, and never a static one */
	e = must_alloc (&f, 0, UDP, fixture_host (&f, 1), 5);
	fixture_free_port (&f, 0, e, false, 5);
	assert_int_equal (stats_of (&f, 0).held, 0);
	assert_int_equal (mvt_pool_alloc_static (f.pool[0], 0, 1, UDP, 5000, &e), MVT_OK);
	mvt_pool_free (f.pool[0], f.hosts, e, true, 5);
	assert_int_equal (stats_of (&f, 0).held, 0);
	fixture_verify (&f);
	fixture_done (&f);
}

/* While other ports are left, nobody gets a held one. */
static void
test_held_ports_are_not_candidates (void **state)
{
	fixture_t f;
	static mvt_entry_t *live[640];
	static bool held[65536];
	uint32_t host;

	(void) state;
	fixture_init (&f, &(fixture_config_t){ .n_slots = 1,
					       .block_bits = 6,
					       .max_mappings = 5000,
					       .hold_seconds = 120,
					       .hold_share = 1024,
					       .first_port = 1024,
					       .last_port = 1663 });
	host = fixture_host (&f, 1);
	memset (held, 0, sizeof (held));
	for (uint32_t i = 0; i < 200; i++)
		live[i] = must_alloc (&f, 0, UDP, host, 0);
	for (uint32_t i = 0; i < 200; i++)
	{
		held[live[i]->ext_port] = true;
		fixture_free_port (&f, 0, live[i], true, i);
		fixture_verify (&f);
	}
	host = fixture_host (&f, 2);
	for (uint32_t i = 0; i < 440; i++)
		assert_false (held[must_alloc (&f, 0, UDP, host, 10)->ext_port]);
	assert_int_equal (stats_of (&f, 0).held, 200);

	/* then held ones are used rather than refused: the oldest first ... */
	for (uint32_t i = 0; i < 5; i++)
	{
		live[i]->in_addr = 0; /* of a host that is no other's */
		assert_ptr_equal (must_alloc (&f, 0, UDP, host, 10), live[i]);
		assert_int_equal (live[i]->freed_host, 0);
	}
	/* ... but a host's own at once, when it is among the oldest */
	assert_ptr_equal (must_alloc (&f, 0, UDP, fixture_host (&f, 1), 10), live[5]);
	live[8]->in_addr = live[9]->in_addr = 0x0a000002;
	live[8]->realm = 1; /* another host: same address, another realm */
	assert_ptr_equal (must_alloc (&f, 0, UDP, host, 10), live[9]);
	assert_int_equal (stats_of (&f, 0).held, 193);
	fixture_verify (&f);
	fixture_done (&f);
}

static void
test_hold_share (void **state)
{
	fixture_t f;
	static mvt_entry_t *live[300];
	uint32_t host, block;

	(void) state;
	/* 1/16 of 2,048 ports: 128, for each protocol */
	fixture_init (&f, &(fixture_config_t){ .n_slots = 1,
					       .block_bits = 6,
					       .max_mappings = 5000,
					       .hold_seconds = 120,
					       .hold_share = 64,
					       .first_port = 4096,
					       .last_port = 6143 });
	host = fixture_host (&f, 1);
	for (uint32_t i = 0; i < 300; i++)
		live[i] = must_alloc (&f, 0, UDP, host, 0);
	for (uint32_t i = 0; i < 300; i++)
		fixture_free_port (&f, 0, live[i], true, 7);
	assert_int_equal (stats_of (&f, 0).held, 128);
	assert_int_equal (live[299]->state, MVT_ENTRY_HELD);
	assert_int_equal (live[299 - 127]->state, MVT_ENTRY_HELD);
	fixture_free_port (&f, 0, must_alloc (&f, 0, TCP, host, 7), true, 7);
	assert_int_equal (stats_of (&f, 0).held, 129);
	fixture_verify (&f);

	/* the share shrinks with the blocks */
	while (mvt_pool_give (f.pool[0], 0, 3, &block, 1))
		;
	mvt_pool_release (f.pool[0], 8, 10000);
	assert_true (stats_of (&f, 0).held <= stats_of (&f, 0).ports * 2 / 16);
	fixture_verify (&f);
	fixture_done (&f);
}

static void
test_static (void **state)
{
	fixture_t f;
	mvt_entry_t *e, *other;
	uint32_t host, block, free_before;

	(void) state;
	fixture_init (&f, &(fixture_config_t){ .n_slots = 2,
					       .block_bits = 6,
					       .n_pools = 2,
					       .max_mappings = 500,
					       .hold_seconds = 120,
					       .hold_share = 102 });
	host = fixture_host (&f, 1);
	free_before = stats_of (&f, 0).blocks_free;

	/* a well-known port is not allocatable; blocks 0, 2, ... are pool 0's */
	assert_int_equal (mvt_pool_alloc_static (f.pool[0], 0, 9, TCP, 22, &e), MVT_OK);
	assert_int_equal (e->state, MVT_ENTRY_STATIC);
	assert_int_equal (e->ext_port, 22);
	assert_int_equal (e->ext_addr, 9);
	assert_int_equal (e->host, MVT_NONE);
	assert_int_equal (stats_of (&f, 0).blocks_free, free_before);
	assert_int_equal (mvt_pool_alloc_static (f.pool[0], 0, 9, TCP, 22, &other), MVT_ERR_IN_USE);
	assert_int_equal (mvt_pool_alloc_static (f.pool[0], 0, 9, UDP, 22, &other), MVT_OK);
	assert_int_equal (mvt_pool_alloc_static (f.pool[0], 0, 9, TCP, 64, &other),
			  MVT_ERR_NOT_OWNER);
	assert_int_equal (mvt_pool_alloc_static (f.pool[0], 2, 9, TCP, 22, &other),
			  MVT_ERR_NOT_OWNER);
	assert_int_equal (mvt_pool_alloc_static (f.pool[0], 0, 9, MVT_PROTO_OTHER, 22, &other),
			  MVT_ERR_INVALID);
	mvt_pool_free (f.pool[0], f.hosts, e, false, 0);
	assert_int_equal (mvt_pool_alloc_static (f.pool[0], 0, 9, TCP, 22, &e), MVT_OK);
	fixture_verify (&f);

	/* in the allocatable range: a block with it is not free, its other ports are used */
	assert_int_equal (mvt_pool_alloc_static (f.pool[0], 0, 9, TCP, 2048, &e), MVT_OK);
	assert_int_equal (stats_of (&f, 0).blocks_free, free_before - 1);
	assert_int_equal (mvt_pool_give_block (f.pool[0], 2048 / 64, 1), MVT_ERR_IN_USE);
	for (uint32_t i = 0; i < 100; i++)
		assert_int_not_equal (must_alloc (&f, 0, TCP, host, 0)->ext_port, 2048);

	/* what a mapping has is in use, what is held is taken */
	other = must_alloc (&f, 0, UDP, host, 0);
	assert_int_equal (mvt_pool_alloc_static (f.pool[0], 0, 9, UDP, other->ext_port, &e),
			  MVT_ERR_IN_USE);
	fixture_free_port (&f, 0, other, true, 0);
	assert_int_equal (other->state, MVT_ENTRY_HELD);
	assert_int_equal (mvt_pool_alloc_static (f.pool[0], 0, 9, UDP, other->ext_port, &e),
			  MVT_OK);
	assert_ptr_equal (e, other);
	assert_int_equal (stats_of (&f, 0).held, 0);
	fixture_verify (&f);

	/* a certain block moves, also one without allocatable ports */
	block = 3;
	assert_int_equal (mvt_pool_give_block (f.pool[0], block, 0), MVT_ERR_NOT_OWNER);
	assert_int_equal (mvt_pool_give_block (f.pool[1], block, 0), MVT_OK);
	mvt_pool_take (f.pool[0], &block, 1);
	assert_int_equal (mvt_pool_alloc_static (f.pool[0], 0, 9, TCP, 3 * 64, &e), MVT_OK);
	fixture_verify (&f);
	fixture_done (&f);
}

static void
test_drain_slot (void **state)
{
	fixture_t f;
	mvt_entry_t *e, *old;
	uint32_t host, out[8];

	(void) state;
	fixture_init (&f, &(fixture_config_t){ .n_slots = 2, .block_bits = 6, .max_mappings = 99 });
	host = fixture_host (&f, 1);
	old = must_alloc (&f, 1, UDP, host, 0);
	mvt_pool_drain_slot (f.pool[0], 1, true);
	assert_int_equal (fixture_alloc_port (&f, 0, 1, UDP, host, 0, 0, &e), MVT_ERR_FULL);
	assert_int_equal (mvt_pool_starved (f.pool[0]), MVT_NONE);
	must_alloc (&f, 0, UDP, host, 0);
	assert_int_equal (mvt_pool_give (f.pool[0], 1, 4, out, 8), 8);
	fixture_free_port (&f, 0, old, false, 0);
	mvt_pool_drain_slot (f.pool[0], 1, false);
	must_alloc (&f, 1, UDP, host, 0);
	fixture_verify (&f);
	fixture_done (&f);
}

/* Against the k-th set bit, found by taking the lower ones away. */
static void
test_a_random_bit_is_the_kth (void **state)
{
	(void) state;
	uint64_t seed = 12345;

	for (uint32_t i = 0; i < 60000; i++)
	{
		uint64_t word = (uint64_t) mvt_random (&seed) << 32 | mvt_random (&seed);
		switch (i % 5)
		{
		case 1:
			word &= (uint64_t) mvt_random (&seed) << 32 | mvt_random (&seed);
			break;
		case 2:
			word = 1ull << i % 64;
			break;
		case 3:
			word = ~0ull << i % 64;
			break;
		case 4:
			word &= 0xff000000000000ffull;
			break;
		}
		if (!word)
			continue;
		uint64_t same = seed, left = word;
		uint32_t n = 0;
		for (; left; left &= left - 1)
			n++;
		left = word;
		for (uint32_t k = mvt_random_below (&same, n); k; k--)
			left &= left - 1;
		assert_int_equal (mvt_bit_random (word, &seed), __builtin_ctzll (left));
	}
}

int
main (void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test (test_a_random_bit_is_the_kth),
		cmocka_unit_test (test_refused_configurations),
		cmocka_unit_test (test_every_port_once),
		cmocka_unit_test (test_place_of_unused_blocks),
		cmocka_unit_test (test_max_mappings),
		cmocka_unit_test (test_max_mappings_after_a_fall),
		cmocka_unit_test (test_max_mappings_over_many_addresses),
		cmocka_unit_test (test_ports_are_hard_to_guess),
		cmocka_unit_test (test_hold_down_to_the_tick),
		cmocka_unit_test (test_held_ports_are_not_candidates),
		cmocka_unit_test (test_hold_share),
		cmocka_unit_test (test_static),
		cmocka_unit_test (test_drain_slot),
	};

	return cmocka_run_group_tests (tests, NULL, NULL);
}

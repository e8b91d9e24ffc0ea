/* SPDX-License-Identifier: Apache-2.0
 *
 * Host records against a plain array, and the walk's promise while hosts come and go.
 */
#include "pool_fixture.h"

enum
{
	N = 2000,
	MAX = 512
};

static fixture_mem_t counts;
static mvt_mem_t mem;

static mvt_hosts_t *
hosts_new (uint32_t max)
{
	const uint64_t seed[2] = { 3, 4 };
	mvt_secret_t secret;
	mvt_hosts_t *hosts;

	counts = (fixture_mem_t){ .refuse_after = -1 };
	mem = (mvt_mem_t){ .alloc = fixture_alloc, .free = fixture_free, .ctx = &counts };
	mvt_secret_init (&secret, seed);
	hosts = mvt_hosts_new (max, &secret, &mem);
	assert_non_null (hosts);
	return hosts;
}

static void
hosts_done (mvt_hosts_t *hosts)
{
	mvt_hosts_remove (hosts);
	assert_int_equal (counts.live, 0);
}

static void
test_new_record (void **state)
{
	mvt_hosts_t *hosts = hosts_new (4);
	uint32_t a, b;
	mvt_host_t *h;

	(void) state;
	assert_int_equal (mvt_hosts_find (hosts, 0x0a000001, 0), MVT_NONE);
	a = mvt_hosts_get (hosts, 0x0a000001, 0, 77);
	b = mvt_hosts_get (hosts, 0x0a000001, 1, 78);
	assert_int_not_equal (a, MVT_NONE);
	assert_int_not_equal (a, b); /* a realm is part of the key */
	assert_int_equal (mvt_hosts_get (hosts, 0x0a000001, 0, 99), a);
	assert_int_equal (mvt_hosts_find (hosts, 0x0a000001, 1), b);
	h = mvt_hosts_at (hosts, a);
	assert_int_equal (h->addr, 0x0a000001);
	assert_int_equal (h->realm, 0);
	assert_int_equal (h->slot, MVT_NONE);
	assert_int_equal (h->blocks, MVT_NONE);
	assert_int_equal (h->since, 77);
	assert_int_equal (h->n_blocks | h->count[0] | h->count[1] | h->count[2] | h->epoch, 0);
	assert_int_equal (mvt_hosts_count (hosts), 2);

	/* a record that is used again starts afresh */
	h->count[1] = 5;
	h->epoch = 9;
	mvt_hosts_put (hosts, a);
	assert_int_equal (mvt_hosts_find (hosts, 0x0a000001, 0), MVT_NONE);
	a = mvt_hosts_get (hosts, 0x0a000007, 3, 80);
	h = mvt_hosts_at (hosts, a);
	assert_int_equal (h->count[1] | h->epoch, 0);
	assert_int_equal (h->since, 80);
	hosts_done (hosts);
}

static void
test_full_and_no_memory (void **state)
{
	mvt_hosts_t *hosts = hosts_new (3);
	const uint64_t seed[2] = { 3, 4 };
	mvt_secret_t secret;

	(void) state;
	for (uint32_t i = 0; i < 3; i++)
		assert_int_not_equal (mvt_hosts_get (hosts, i, 0, 0), MVT_NONE);
	assert_int_equal (mvt_hosts_get (hosts, 3, 0, 0), MVT_NONE);
	assert_int_not_equal (mvt_hosts_get (hosts, 2, 0, 0), MVT_NONE);
	mvt_hosts_put (hosts, mvt_hosts_find (hosts, 1, 0));
	assert_int_not_equal (mvt_hosts_get (hosts, 3, 0, 0), MVT_NONE);
	hosts_done (hosts);

	mvt_secret_init (&secret, seed);
	assert_null (mvt_hosts_new (0, &secret, &mem));
	for (int n = 0; n < 3; n++)
	{
		counts.refuse_after = n;
		assert_null (mvt_hosts_new (1000, &secret, &mem));
		assert_int_equal (counts.live, 0);
	}
}

/* Hosts in pairs that differ in nothing but the realm; few buckets, so that chains are long. */
static void
against_array (uint32_t max, uint32_t n_hosts)
{
	mvt_hosts_t *hosts = hosts_new (max);
	uint32_t index[N], live = 0;
	uint64_t seed = 99;

	memset (index, 0xff, sizeof (index));
	for (uint32_t op = 0; op < 100000; op++)
	{
		uint32_t i = mvt_random_below (&seed, n_hosts);
		uint32_t addr = 0x0a000000 + (i >> 1) * 256;
		uint16_t realm = i & 1;

		assert_int_equal (mvt_hosts_find (hosts, addr, realm), index[i]);
		if (index[i] != MVT_NONE && mvt_random_below (&seed, 2))
		{
			mvt_hosts_put (hosts, index[i]);
			index[i] = MVT_NONE;
			live--;
		}
		else
		{
			uint32_t host = mvt_hosts_get (hosts, addr, realm, op);
			if (index[i] != MVT_NONE)
				assert_int_equal (host, index[i]);
			else if (live == max)
				assert_int_equal (host, MVT_NONE);
			else
			{
				assert_true (host < max);
				live++;
			}
			index[i] = host;
		}
		assert_int_equal (mvt_hosts_count (hosts), live);
	}
	hosts_done (hosts);
}

static void
test_against_array (void **state)
{
	(void) state;
	against_array (MAX, N);
	against_array (16, 100);
	against_array (1, 4);
}

static void
test_walk_prefix_and_realm (void **state)
{
	mvt_hosts_t *hosts = hosts_new (1024);
	static const struct
	{
		mvt_prefix4_t prefix;
		uint16_t realm;
		uint32_t expected;
	} rows[] = {
		{ { .addr = 0x0a000000, .len = 24 }, 0, 256 },
		{ { .addr = 0x0a000180, .len = 25 }, 0, 128 },
		{ { .addr = 0x0a000005, .len = 32 }, 0, 1 },
		{ { .addr = 0, .len = 0 }, 0, 512 },
		{ { .addr = 0, .len = 0 }, 7, 1 },
		{ { .addr = 0x0b000000, .len = 8 }, 0, 0 },
	};

	(void) state;
	for (uint32_t i = 0; i < 512; i++)
		mvt_hosts_get (hosts, 0x0a000000 + i, 0, 0);
	mvt_hosts_get (hosts, 0x0a000000, 7, 0);
	for (size_t r = 0; r < sizeof (rows) / sizeof (rows[0]); r++)
	{
		uint32_t cursor = 0, total = 0, out[16];

		while (cursor != MVT_NONE)
		{
			uint32_t before = cursor;
			uint32_t n = mvt_hosts_walk (hosts, rows[r].prefix, rows[r].realm, &cursor,
						     out, 16, 40);
			assert_true (n <= 16);
			assert_true (cursor == MVT_NONE || cursor - before <= 40);
			total += n;
		}
		assert_int_equal (total, rows[r].expected);
	}
	hosts_done (hosts);
}

/* Hosts 0..99 live throughout; the others come and go between the calls. */
static void
test_walk_is_stable (void **state)
{
	mvt_hosts_t *hosts = hosts_new (MAX);
	uint64_t seed = 5;

	(void) state;
	for (uint32_t i = 0; i < MAX; i++)
		mvt_hosts_get (hosts, i * 7 % MAX, 0, 0);
	for (uint32_t round = 0; round < 50; round++)
	{
		uint32_t cursor = 0, seen[MAX] = { 0 }, out[8];

		while (cursor != MVT_NONE)
		{
			uint32_t n =
				mvt_hosts_walk (hosts, (mvt_prefix4_t){ 0 }, 0, &cursor, out, 8, 8);
			for (uint32_t i = 0; i < n; i++)
				seen[mvt_hosts_at (hosts, out[i])->addr]++;
			for (uint32_t i = 0; i < 20; i++)
			{
				uint32_t addr = 100 + mvt_random_below (&seed, MAX - 100);
				uint32_t host = mvt_hosts_find (hosts, addr, 0);
				if (host == MVT_NONE)
					mvt_hosts_get (hosts, addr, 0, 0);
				else
					mvt_hosts_put (hosts, host);
			}
		}
		for (uint32_t i = 0; i < 100; i++)
			assert_int_equal (seen[i], 1);
	}
	hosts_done (hosts);
}

int
main (void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test (test_new_record),
		cmocka_unit_test (test_full_and_no_memory),
		cmocka_unit_test (test_against_array),
		cmocka_unit_test (test_walk_prefix_and_realm),
		cmocka_unit_test (test_walk_is_stable),
	};

	return cmocka_run_group_tests (tests, NULL, NULL);
}

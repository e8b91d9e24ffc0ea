/* SPDX-License-Identifier: Apache-2.0
 * The known ways to get longest match by hashing wrong, one case each, in both modes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "counted_mem.h"
#include "mvt_table.h"

#define NO_MATCH UINT64_MAX

static mvt_t *
table (int mode, uint32_t max, uint32_t cache_lines)
{
	mvt_config_t c = { .field_bits = 32,
			   .max_entries = max,
			   .mode = (mvt_mode_t) mode,
			   .cache_lines = cache_lines,
			   .seed = { 11, 22 } };
	mvt_t *t = mvt_new (&c, &counted_mem);
	assert_non_null (t);
	return t;
}

static uint64_t
lookup (mvt_t *t, uint32_t addr)
{
	uint32_t row = mvt_lookup4 (t, addr, 0);
	return row == MVT_NONE ? NO_MATCH : mvt_value (t, row)->state;
}

#define for_each_mode(mode) for (int mode = MVT_MODE_DEFAULT; mode <= MVT_MODE_PAPER; mode++)

/* Trap 1. A row is shared by all lengths: the probe for a /24 can meet the /8 that also covers the
 * address, and must not take it while a /16 is still to come. With 16 rows one address in 16 is
 * such a case. */
static void
test_row_shared_by_lengths (void **state)
{
	(void) state;
	for_each_mode (mode)
	{
		mvt_t *t = table (mode, 16, 0);
		mvt_set4 (t, 0x0a000000, 8, 8);
		mvt_set4 (t, 0x0a010000, 16, 16);
		/* classes 24, 30 and 32 must be probed at all */
		mvt_set4 (t, 0x0b000000, 24, 24);
		mvt_set4 (t, 0x0b000000, 30, 30);
		mvt_set4 (t, 0x0b000000, 32, 32);
		for (uint32_t low = 0; low < 65536; low++)
		{
			assert_int_equal (lookup (t, 0x0a010000 | low), 16);
			assert_int_equal (lookup (t, 0x0a020000 | low), 8);
		}
		mvt_remove (t);
	}
}

/* Trap 2. Entries that round down to one key: the longest wins in whatever order they came. */
static void
test_chain_longest_first (void **state)
{
	(void) state;
	for_each_mode (mode) for (uint64_t order = 1; order < 200; order++)
	{
		mvt_t *t = table (mode, 32, 0);
		uint64_t random = order;
		uint8_t lens[] = { 16, 17, 18, 19, 20, 21, 22, 23 };
		for (uint32_t n = 8; n > 1; n--)
		{
			uint32_t k = mvt_random_below (&random, n);
			uint8_t swap = lens[n - 1];
			lens[n - 1] = lens[k];
			lens[k] = swap;
		}
		for (unsigned i = 0; i < 8; i++)
			mvt_set4 (t, 0x0a010000, lens[i], lens[i]);
		for (uint32_t len = 16; len < 23; len++) /* first address beyond len + 1 */
			assert_int_equal (lookup (t, 0x0a010000 | 1u << (31 - len)), len);
		assert_int_equal (lookup (t, 0x0a010000), 23);
		mvt_delete (t, mvt_get4 (t, 0x0a010000, 23));
		assert_int_equal (lookup (t, 0x0a010000), 22);
		mvt_remove (t);
	}
}

/* Trap 3. Lengths below 8, and the default route. */
static void
test_short_lengths_and_default (void **state)
{
	(void) state;
	for_each_mode (mode)
	{
		mvt_t *t = table (mode, 64, 16);
		assert_int_equal (lookup (t, 0x80000000), NO_MATCH);
		for (unsigned len = 0; len <= 9; len++)
			assert_int_equal (mvt_set4 (t, 0x80000000, len, len), MVT_OK);
		assert_int_equal (lookup (t, 0x7fffffff), 0);
		for (unsigned len = 1; len < 9; len++)
			assert_int_equal (lookup (t, 0x80000000 | 0x80000000 >> len), len);
		assert_int_equal (lookup (t, 0x80000001), 9);
		assert_int_equal (lookup (t, 0xffffffff), 1);
		mvt_delete (t, mvt_get4 (t, 0, 0));
		assert_int_equal (lookup (t, 0x7fffffff), NO_MATCH);
		mvt_delete (t, mvt_get4 (t, 0x80000000, 1));
		assert_int_equal (lookup (t, 0xffffffff), NO_MATCH);
		assert_int_equal (mvt_verify (t), 0);
		mvt_remove (t);
	}
}

/* Trap 4. Whatever changes an answer reaches what is cached, "no match" too. */
static void
test_cache_is_never_stale (void **state)
{
	(void) state;
	for_each_mode (mode)
	{
		mvt_t *t = table (mode, 64, 64);
		const uint32_t addr = 0x0a010203;
		uint32_t half[2], row;
		assert_int_equal (lookup (t, addr), NO_MATCH);
		mvt_set4 (t, addr, 8, 8); /* insert after a negative answer */
		assert_int_equal (lookup (t, addr), 8);
		mvt_set4 (t, addr, 24, 24); /* a longer one */
		assert_int_equal (lookup (t, addr), 24);
		mvt_store (t, mvt_get4 (t, addr, 24), 25); /* values are not cached */
		assert_int_equal (lookup (t, addr), 25);
		mvt_delete (t, mvt_get4 (t, addr, 24));
		assert_int_equal (lookup (t, addr), 8);
		mvt_set4 (t, 0xc0000000, 8, 1); /* takes the freed row: not to be mistaken for it */
		assert_int_equal (lookup (t, addr), 8);
		assert_int_equal (mvt_split (t, mvt_get4 (t, addr, 8), MVT_SPLIT_COPY, half),
				  MVT_OK);
		assert_int_equal (mvt_lookup4 (t, addr, 0), half[0]);
		mvt_store (t, half[1], 9);
		assert_int_equal (lookup (t, addr), 8);
		mvt_store (t, half[1], 8);
		assert_int_equal (mvt_merge (t, half[0], half[1], &row), MVT_OK);
		assert_int_equal (mvt_lookup4 (t, addr, 0), row);
		mvt_set_valid (t, row, false);
		assert_int_equal (lookup (t, addr), NO_MATCH);
		mvt_set4 (t, addr, 8, 88); /* a set makes it valid again */
		assert_int_equal (lookup (t, addr), 88);
		/* whole-table operations */
		mvt_t *second;
		const uint8_t ten[4] = { 10 };
		const mvt_prefix_t prefix = { ten, 8 };
		const mvt_pick_prefixes_t pick = { &prefix, 1 };
		assert_int_equal (mvt_shard (t, mvt_pick_prefixes, &pick, &second), MVT_OK);
		assert_int_equal (lookup (t, addr), NO_MATCH);
		assert_int_equal (lookup (second, addr), 88);
		assert_int_equal (mvt_combine (t, second), MVT_OK);
		assert_int_equal (lookup (t, addr), 88);
		assert_int_equal (lookup (second, addr), NO_MATCH);
		mvt_remove (second);
		mvt_remove (t);
	}
}

/* Trap 5. Whoever sweeps addresses gets no cache hit, and still the right answers. */
static void
test_cache_under_a_sweep (void **state)
{
	(void) state;
	for_each_mode (mode)
	{
		mvt_t *t = table (mode, 64, 1024);
		mvt_stats_t stats;
		mvt_set4 (t, 0x0a000000, 8, 8);
		for (uint32_t i = 0; i < 10000; i++)
			assert_int_equal (lookup (t, 0x0a000000 + i * 977), 8);
		mvt_stats (t, &stats);
		assert_int_equal (stats.match.lookups, 10000);
		assert_int_equal (stats.match.hits, 10000);
		assert_int_equal (stats.match.cache_hits, 0);
		for (uint32_t i = 0; i < 1000; i++)
			assert_int_equal (lookup (t, 0x0b000000), NO_MATCH);
		mvt_stats (t, &stats);
		assert_int_equal (stats.match.cache_hits, 999);
		assert_int_equal (stats.match.hits, 10000);
		mvt_remove (t);
	}
}

/* Trap 6. The paper's example takes 10.0.0.0/8 and 160.0.0.0/4 for overlapping; they are not. */
static void
test_worked_example (void **state)
{
	(void) state;
	for_each_mode (mode)
	{
		mvt_t *t = table (mode, 64, 0);
		mvt_set4 (t, 0xa0000000, 4, 160);
		assert_int_equal (lookup (t, 0x0a000001), NO_MATCH);
		assert_int_equal (lookup (t, 0xa0000001), 160);
		mvt_set4 (t, 0x0a000000, 8, 10);
		assert_int_equal (lookup (t, 0x0a000001), 10);
		assert_int_equal (lookup (t, 0xaf000001), 160);
		mvt_remove (t);
	}
}

/* 10.0.0.0/8 and 10.0.0.0/16 are one key to a hash of the padded address: the length is part of
 * the key, so nested networks do not collide. */
static void
test_nested_keys_are_different_keys (void **state)
{
	(void) state;
	mvt_t *t = table (MVT_MODE_PAPER, 1 << 16, 0);
	mvt_stats_t stats;
	for (uint32_t i = 0; i < 256; i++)
	{
		mvt_set4 (t, i << 24, 8, 8);
		mvt_set4 (t, i << 24, 16, 16);
		mvt_set4 (t, i << 24, 24, 24);
		mvt_set4 (t, i << 24, 32, 32);
	}
	mvt_stats (t, &stats);
	assert_int_equal (stats.same_key, 0);
	assert_int_equal (stats.same_hash, 0);
	assert_true (stats.same_row < 30);
	mvt_set4 (t, 0, 9, 9);
	mvt_stats (t, &stats);
	assert_int_equal (stats.same_key, 1);
	assert_true (stats.chain_squares >= stats.entries);
	assert_true (stats.chains <= stats.rows);
	mvt_remove (t);
}

/* Trap 7. In a full table some entries lie in their alternate bucket. A shorter match that is at
 * home in its own must not be taken before the longer one was looked for there. */
static void
test_longer_match_in_alternate_bucket (void **state)
{
	(void) state;
	enum
	{
		OUTER = 64,
		INNER = 256
	};
	mvt_t *t = table (MVT_MODE_DEFAULT, OUTER * (INNER + 1), 0);
	mvt_stats_t stats;

	for (uint32_t i = 0; i < OUTER; i++)
	{
		assert_int_equal (mvt_set4 (t, i << 16, 16, i), MVT_OK);
		for (uint32_t k = 0; k < INNER; k++)
			assert_int_equal (mvt_set4 (t, i << 16 | k << 8, 24, 1000 + k), MVT_OK);
	}
	mvt_stats (t, &stats);
	assert_true (stats.alternates > 50);
	assert_true (stats.alternates < OUTER * INNER / 4);
	for (uint32_t i = 0; i < OUTER; i++)
		for (uint32_t k = 0; k < INNER; k++)
			assert_int_equal (lookup (t, i << 16 | k << 8 | 7), 1000 + k);
	mvt_remove (t);
}

int
main (void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test (test_row_shared_by_lengths),
		cmocka_unit_test (test_chain_longest_first),
		cmocka_unit_test (test_short_lengths_and_default),
		cmocka_unit_test (test_cache_is_never_stale),
		cmocka_unit_test (test_cache_under_a_sweep),
		cmocka_unit_test (test_worked_example),
		cmocka_unit_test (test_nested_keys_are_different_keys),
		cmocka_unit_test (test_longer_match_in_alternate_bucket),
	};
	return cmocka_run_group_tests (tests, NULL, NULL);
}

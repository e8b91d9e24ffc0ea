/* SPDX-License-Identifier: Apache-2.0
 * shard, combine, split and merge: what they promise, and that a failure changes nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "counted_mem.h"
#include "mvt_table.h"

static mvt_t *
table (unsigned bits, mvt_mode_t mode, uint32_t max)
{
	mvt_config_t c = { .field_bits = bits,
			   .max_entries = max,
			   .mode = mode,
			   .cache_lines = 32,
			   .seed = { 3, 4 } };
	mvt_t *t = mvt_new (&c, &counted_mem);
	assert_non_null (t);
	return t;
}

/* Order-independent digest of everything that a table says. */
static uint64_t
digest (const mvt_t *t)
{
	uint64_t sum = mvt_entries (t);
	for (uint32_t cursor = 0, row; mvt_iterate (t, &cursor, &row);)
	{
		const mvt_value_t *v = mvt_value (t, row);
		uint8_t all[MVT_KEY_MAX + 24] = { 0 };
		memcpy (all, mvt_field (t, row), mvt_config (t)->field_bits / 8);
		memcpy (all + MVT_KEY_MAX, v, sizeof *v);
		uint64_t h = mvt_crc32c (1, all, sizeof all);
		sum += h * h;
	}
	return sum;
}

static void
fill (mvt_t *t, uint64_t seed, unsigned n)
{
	uint64_t random = seed;
	unsigned bytes = mvt_config (t)->field_bits / 8;
	for (unsigned i = 0; i < n; i++)
	{
		uint8_t field[MVT_KEY_MAX];
		uint32_t row;
		for (unsigned b = 0; b < bytes; b++)
			field[b] = (uint8_t) (mvt_random (&random) & (b ? 0xff : 0x7f));
		assert_int_equal (mvt_set (t, field, mvt_random_below (&random, bytes * 8 + 1),
					   mvt_random (&random), i % 3 ? 0 : i, i, &row),
				  MVT_OK);
		mvt_set_aux (t, row, i * 7);
		mvt_set_valid (t, row, i % 5 != 0);
	}
}

static bool
pick_upper_half (const void *ctx, const void *field, unsigned len, const mvt_value_t *value)
{
	(void) ctx, (void) value;
	return len && ((const uint8_t *) field)[0] >= 0x40;
}

static void
test_shard_and_combine (void **state)
{
	static const unsigned widths[] = { 32, 128, 320 };
	(void) state;
	for (int mode = 0; mode < 2; mode++)
		for (unsigned w = 0; w < 3; w++)
		{
			mvt_t *t = table (widths[w], (mvt_mode_t) mode, 3000), *second;
			fill (t, 9, 2000);
			uint64_t whole = digest (t);
			uint32_t n = mvt_entries (t);
			assert_int_equal (mvt_shard (t, pick_upper_half, NULL, &second), MVT_OK);
			assert_int_equal (mvt_entries (t) + mvt_entries (second), n);
			assert_in_range (mvt_entries (second), n / 3, n * 2 / 3);
			for (uint32_t cursor = 0, row; mvt_iterate (t, &cursor, &row);)
				assert_false (pick_upper_half (NULL, mvt_field (t, row),
							       mvt_value (t, row)->len, NULL));
			for (uint32_t cursor = 0, row; mvt_iterate (second, &cursor, &row);)
				assert_true (pick_upper_half (NULL, mvt_field (second, row),
							      mvt_value (second, row)->len, NULL));
			assert_int_equal (mvt_verify (t), 0);
			assert_int_equal (mvt_verify (second), 0);
			assert_int_equal (mvt_combine (t, second), MVT_OK);
			assert_int_equal (mvt_entries (second), 0);
			assert_int_equal (mvt_verify (second), 0);
			assert_int_equal (mvt_verify (t), 0);
			assert_true (digest (t) == whole);
			mvt_remove (second);
			mvt_remove (t);
		}
	assert_int_equal (counted_mem_bytes, 0);
}

static void
test_shard_without_memory (void **state)
{
	(void) state;
	mvt_t *t = table (32, MVT_MODE_DEFAULT, 300), *second;
	fill (t, 9, 200);
	uint64_t before = digest (t);
	size_t bytes = counted_mem_bytes;
	int err = MVT_ERR_NO_MEMORY;
	for (unsigned n = 1; err; n++)
	{
		counted_mem_fail = n;
		err = mvt_shard (t, pick_upper_half, NULL, &second);
		counted_mem_fail = 0;
		if (!err)
			break;
		assert_int_equal (err, MVT_ERR_NO_MEMORY);
		assert_null (second);
		assert_true (digest (t) == before);
		assert_int_equal (counted_mem_bytes, bytes);
	}
	mvt_remove (second);
	mvt_remove (t);
}

static void
test_picks (void **state)
{
	(void) state;
	const uint8_t a[4] = { 10, 16 }, b[4] = { 192, 168, 1 };
	const mvt_prefix_t prefixes[] = { { a, 12 }, { b, 24 } };
	const mvt_pick_prefixes_t pick = { prefixes, 2 };
	static const struct
	{
		uint8_t field[4];
		unsigned len;
		bool in;
	} rows[] = {
		{ { 10, 16 }, 12, true },	   { { 10, 31, 255 }, 24, true },
		{ { 10, 32 }, 16, false },	   { { 10 }, 8, false },
		{ { 10, 16 }, 11, false },	   { { 192, 168, 1, 5 }, 32, true },
		{ { 192, 168, 0, 0 }, 23, false }, { { 0 }, 0, false },
	};
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_int_equal (mvt_pick_prefixes (&pick, rows[i].field, rows[i].len, NULL),
				  rows[i].in);

	for (uint32_t share = 0; share <= 65536; share += 16384)
	{
		const mvt_pick_share_t by_share = { share, 77, 4 };
		unsigned picked = 0;
		for (uint32_t i = 0; i < 10000; i++)
		{
			uint8_t field[4] = { 10, (uint8_t) (i >> 16), (uint8_t) (i >> 8),
					     (uint8_t) i };
			picked += mvt_pick_share (&by_share, field, 32, NULL);
			assert_int_equal (mvt_pick_share (&by_share, field, 32, NULL),
					  mvt_pick_share (&by_share, field, 32, NULL));
		}
		assert_in_range (picked + 200, share * 10000ull / 65536,
				 share * 10000ull / 65536 + 400);
	}
}

static void
test_combine_fails_cleanly (void **state)
{
	(void) state;
	for (int mode = 0; mode < 2; mode++)
	{
		mvt_t *t = table (32, (mvt_mode_t) mode, 300);
		mvt_t *other = table (32, (mvt_mode_t) !mode, 300);
		mvt_t *wide = table (64, (mvt_mode_t) mode, 300);
		fill (t, 1, 200);
		fill (other, 2, 90);
		uint64_t before = digest (t), before_other = digest (other);
		assert_int_equal (mvt_combine (t, t), MVT_ERR_INVALID);
		assert_int_equal (mvt_combine (t, wide), MVT_ERR_INVALID);
		/* one field in both, with the same value or not */
		uint32_t cursor = 100, row;
		assert_true (mvt_iterate (t, &cursor, &row));
		uint8_t field[4];
		memcpy (field, mvt_field (t, row), 4);
		unsigned len = mvt_value (t, row)->len;
		assert_int_equal (mvt_set (other, field, len, 1, 0, 0, &row), MVT_OK);
		assert_int_equal (mvt_combine (t, other), MVT_ERR_EXISTS);
		mvt_delete (other, row);
		assert_true (digest (t) == before);
		assert_true (digest (other) == before_other);
		/* too many */
		fill (other, 3, 50);
		before_other = digest (other);
		assert_int_equal (mvt_combine (t, other), MVT_ERR_FULL);
		assert_true (digest (t) == before);
		assert_true (digest (other) == before_other);
		assert_int_equal (mvt_verify (t), 0);
		assert_int_equal (mvt_verify (other), 0);
		mvt_remove (t);
		mvt_remove (other);
		mvt_remove (wide);
	}
}

/* A chain that is full refuses half-way: what was copied is taken back. */
static void
test_combine_rolls_back (void **state)
{
	(void) state;
	mvt_t *t = table (64, MVT_MODE_PAPER, 4000), *other = table (64, MVT_MODE_DEFAULT, 4000);
	for (unsigned i = 0; i < 1400; i++)
	{
		uint8_t field[8] = { 1, 2, (uint8_t) (i >> 3), (uint8_t) (i << 5) };
		assert_int_equal (mvt_set (i < 700 ? t : other, field, 27, i, 0, 0, NULL), MVT_OK);
	}
	uint64_t before = digest (t), before_other = digest (other);
	assert_int_equal (mvt_combine (t, other), MVT_ERR_FULL);
	assert_true (digest (t) == before);
	assert_true (digest (other) == before_other);
	assert_int_equal (mvt_verify (t), 0);
	mvt_remove (t);
	mvt_remove (other);
}

static void
test_split (void **state)
{
	(void) state;
	for (int mode = 0; mode < 2; mode++)
	{
		mvt_t *t = table (32, (mvt_mode_t) mode, 4);
		const uint8_t field[4] = { 10 };
		uint32_t row, half[2];
		assert_int_equal (mvt_set (t, field, 8, 7, 30, 100, &row), MVT_OK);
		mvt_set_aux (t, row, 5);
		assert_int_equal (mvt_split (t, row, MVT_SPLIT_DIVIDE, half), MVT_OK);
		assert_int_equal (mvt_entries (t), 2);
		assert_int_equal (mvt_get (t, field, 8), MVT_NONE);
		for (int i = 0; i < 2; i++)
		{
			const mvt_value_t *v = mvt_value (t, half[i]);
			assert_int_equal (v->state, i ? 3 : 4);
			assert_int_equal (v->len, 9);
			assert_int_equal (v->last, 100);
			assert_int_equal (v->timeout, 30);
			assert_int_equal (v->aux, 5);
			assert_int_equal (v->valid, 1);
			assert_int_equal (mvt_field (t, half[i])[1], i ? 0x80 : 0);
			assert_int_equal (mvt_lookup4 (t, i ? 0x0affffff : 0x0a000000, 100),
					  half[i]);
		}
		/* copies, and a half that exists */
		assert_int_equal (mvt_split (t, half[1], MVT_SPLIT_COPY, NULL), MVT_OK);
		assert_int_equal (mvt_value (t, mvt_get4 (t, 0x0ac00000, 10))->state, 3);
		assert_int_equal (mvt_value (t, mvt_get4 (t, 0x0a800000, 10))->state, 3);
		assert_int_equal (mvt_set4 (t, 0x0a400000, 10, 1), MVT_OK);
		assert_int_equal (mvt_split (t, half[0], MVT_SPLIT_COPY, NULL), MVT_ERR_EXISTS);
		/* full */
		row = mvt_get4 (t, 0x0ac00000, 10);
		uint64_t before = digest (t);
		assert_int_equal (mvt_split (t, row, MVT_SPLIT_COPY, NULL), MVT_ERR_FULL);
		assert_true (digest (t) == before);
		mvt_delete (t, row);
		/* nothing left to split */
		assert_int_equal (mvt_set4 (t, 0x01020304, 32, 1), MVT_OK);
		assert_int_equal (mvt_split (t, mvt_get4 (t, 0x01020304, 32), MVT_SPLIT_COPY, NULL),
				  MVT_ERR_INVALID);
		assert_int_equal (mvt_verify (t), 0);
		mvt_remove (t);
	}
}

static void
test_merge (void **state)
{
	(void) state;
	for (int mode = 0; mode < 2; mode++)
	{
		mvt_t *t = table (32, (mvt_mode_t) mode, 4);
		const uint8_t lower[4] = { 10 }, upper[4] = { 10, 128 }, cousin[4] = { 11 };
		uint32_t a, b, c, parent;
		mvt_set (t, lower, 9, 7, 30, 0xfffffff0u, &a);
		mvt_set (t, upper, 9, 7, 30, 16, &b);
		mvt_set (t, cousin, 9, 7, 30, 16, &c);
		uint64_t before = digest (t);
		assert_int_equal (mvt_merge (t, a, a, NULL), MVT_ERR_NOT_SIBLINGS);
		assert_int_equal (mvt_merge (t, b, c, NULL), MVT_ERR_NOT_SIBLINGS);
		assert_true (digest (t) == before);
		/* each part of the value counts */
		mvt_store (t, b, 8);
		assert_int_equal (mvt_merge (t, a, b, NULL), MVT_ERR_NOT_SIBLINGS);
		mvt_store (t, b, 7);
		mvt_set_aux (t, b, 1);
		assert_int_equal (mvt_merge (t, a, b, NULL), MVT_ERR_NOT_SIBLINGS);
		mvt_set_aux (t, b, 0);
		mvt_timeout (t, b, 31);
		assert_int_equal (mvt_merge (t, a, b, NULL), MVT_ERR_NOT_SIBLINGS);
		mvt_timeout (t, b, 30);
		mvt_set_valid (t, b, false);
		assert_int_equal (mvt_merge (t, a, b, NULL), MVT_ERR_NOT_SIBLINGS);
		mvt_set_valid (t, b, true);
		/* the parent is there already */
		assert_int_equal (mvt_set4 (t, 0x0a000000, 8, 1), MVT_OK);
		assert_int_equal (mvt_merge (t, a, b, NULL), MVT_ERR_EXISTS);
		mvt_delete (t, mvt_get4 (t, 0x0a000000, 8));
		assert_true (digest (t) == before);
		/* also in a full table; the later timestamp is kept, across the wrap */
		assert_int_equal (mvt_set4 (t, 0xff000000, 8, 1), MVT_OK);
		assert_int_equal (mvt_merge (t, b, a, &parent), MVT_OK);
		assert_int_equal (mvt_entries (t), 3);
		assert_int_equal (mvt_get (t, lower, 9), MVT_NONE);
		assert_int_equal (mvt_get (t, upper, 9), MVT_NONE);
		assert_int_equal (mvt_get (t, lower, 8), parent);
		assert_int_equal (mvt_value (t, parent)->last, 16);
		assert_int_equal (mvt_value (t, parent)->state, 7);
		assert_int_equal (mvt_lookup4 (t, 0x0affffff, 20), parent);
		assert_int_equal (mvt_verify (t), 0);
		mvt_remove (t);
	}
}

/* Down to single addresses and back up to <*>, in the widest field too. */
static void
test_split_down_and_merge_up (void **state)
{
	(void) state;
	static const unsigned widths[] = { 32, 72, 320 };
	for (unsigned w = 0; w < 3; w++)
	{
		mvt_t *t = table (widths[w], MVT_MODE_DEFAULT, 400);
		const uint8_t any[MVT_KEY_MAX] = { 0 };
		uint32_t row, half[2], n = widths[w];
		assert_int_equal (mvt_set (t, any, 0, 1, 0, 0, &row), MVT_OK);
		for (unsigned i = 0; i < n; i++)
		{
			assert_int_equal (mvt_split (t, row, MVT_SPLIT_COPY, half), MVT_OK);
			row = half[i % 2]; /* 0101... */
		}
		assert_int_equal (mvt_value (t, row)->len, n);
		assert_int_equal (mvt_entries (t), n + 1);
		assert_int_equal (mvt_verify (t), 0);
		/* whatever address: exactly one entry covers it */
		uint64_t random = 3;
		for (unsigned i = 0; i < 200; i++)
		{
			uint8_t field[MVT_KEY_MAX];
			for (unsigned b = 0; b < n / 8; b++)
				field[b] = (uint8_t) (mvt_random_below (&random, 4)
							      ? 0x55
							      : mvt_random (&random));
			assert_int_not_equal (mvt_lookup (t, field, 0), MVT_NONE);
		}
		for (unsigned len = n; len; len--)
		{
			uint8_t field[MVT_KEY_MAX];
			memset (field, 0x55, sizeof field);
			uint32_t a = mvt_get (t, field, len);
			field[(len - 1) / 8] ^= (uint8_t) (0x80 >> (len - 1) % 8);
			uint32_t b = mvt_get (t, field, len);
			assert_int_equal (mvt_merge (t, a, b, &row), MVT_OK);
		}
		assert_int_equal (mvt_entries (t), 1);
		assert_int_equal (mvt_value (t, row)->len, 0);
		assert_int_equal (mvt_verify (t), 0);
		mvt_remove (t);
	}
}

int
main (void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test (test_shard_and_combine),
		cmocka_unit_test (test_shard_without_memory),
		cmocka_unit_test (test_picks),
		cmocka_unit_test (test_combine_fails_cleanly),
		cmocka_unit_test (test_combine_rolls_back),
		cmocka_unit_test (test_split),
		cmocka_unit_test (test_merge),
		cmocka_unit_test (test_split_down_and_merge_up),
	};
	return cmocka_run_group_tests (tests, NULL, NULL);
}

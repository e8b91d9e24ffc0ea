/* SPDX-License-Identifier: Apache-2.0
 * The match-value table: random operations against a model in both modes and many widths; then one
 * case for each promise and each known trap. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "counted_mem.h"
#include "mvt_table.h"
#include "table_model.h"

static mvt_config_t
config (unsigned bits, mvt_mode_t mode, uint32_t max, uint32_t cache_lines)
{
	return (mvt_config_t){ .field_bits = bits,
			       .max_entries = max,
			       .mode = mode,
			       .cache_lines = cache_lines,
			       .seed = { 0xfeed, 0xbeef } };
}

static uint64_t
state_of (const mvt_t *t, uint32_t row)
{
	return row == MVT_NONE ? UINT64_MAX : mvt_value (t, row)->state;
}

/* ---- against the model ---- */

/* Few distinct bytes, so that prefixes nest and meet. */
static void
random_field (uint64_t *random, uint8_t *field, unsigned bytes)
{
	static const uint8_t some[8] = { 0, 1, 0x80, 0xff, 0x0a, 0xa0, 0x55, 0x7f };
	for (unsigned i = 0; i < bytes; i++)
		field[i] = mvt_random_below (random, 16)
				   ? some[mvt_random_below (random, i ? 8 : 3)]
				   : (uint8_t) mvt_random (random);
}

static void
compare_lookups (mvt_t *t, mvt_view_t *view, model_t *m, uint64_t *random, uint32_t now)
{
	enum
	{
		N = 20
	};
	uint8_t fields[N * MODEL_BYTES];
	uint32_t rows[N], bytes = m->bits / 8;
	for (unsigned i = 0; i < N; i++)
	{
		uint8_t *field = fields + i * bytes;
		random_field (random, field, bytes);
		if (m->n && mvt_random_below (random, 2))
		{
			/* inside an entry, other bits random */
			const model_entry_t *e = &m->e[mvt_random_below (random, m->n)];
			for (unsigned b = 0; b < e->len; b++)
				if (model_bit (e->field, b) != model_bit (field, b))
					field[b / 8] ^= (uint8_t) (0x80 >> b % 8);
		}
		const model_entry_t *best = model_lookup (m, field, now);
		uint64_t expected = best ? best->state : UINT64_MAX;
		assert_int_equal (state_of (t, mvt_lookup_shared (t, field, now)), expected);
		assert_int_equal (state_of (t, mvt_lookup (t, field, now)), expected);
		assert_int_equal (state_of (t, mvt_lookup (t, field, now)), expected);
		assert_int_equal (state_of (t, mvt_view_lookup (view, field, now)), expected);
	}
	mvt_lookup_batch (t, fields, N, now, rows);
	for (unsigned i = 0; i < N; i++)
		assert_int_equal (rows[i], mvt_lookup_shared (t, fields + i * bytes, now));
}

static void
random_operations (unsigned bits, mvt_mode_t mode, uint32_t cache_lines, unsigned steps,
		   uint32_t max)
{
	mvt_config_t c = config (bits, mode, max, cache_lines);
	mvt_t *t = mvt_new (&c, &counted_mem);
	mvt_view_t *view = mvt_view_new (t, 64, &counted_mem);
	model_t *m = calloc (1, sizeof *m);
	uint64_t random = 0x9e3779b97f4a7c15ull + bits;
	uint32_t now = 0xffffff00u; /* the tick wraps on the way */
	unsigned calls = counted_mem_calls, bytes = bits / 8;
	assert_non_null (t);
	m->bits = bits;

	for (unsigned step = 0; step < steps; step++)
	{
		uint8_t field[MODEL_BYTES];
		uint32_t row, kind = mvt_random_below (&random, 16);
		random_field (&random, field, bytes);
		unsigned len = mvt_random_below (&random, 4) ? mvt_random_below (&random, bits + 1)
							     : mvt_random_below (&random, 33);
		model_entry_t *e = m->n ? &m->e[mvt_random_below (&random, m->n)] : NULL;
		now += mvt_random_below (&random, 3);
		if (kind < 8 || !e)
		{
			uint32_t timeout = mvt_random_below (&random, 3) ? 0 : 1 + step % 40;
			uint64_t state = mvt_random (&random);
			if (m->n == MODEL_MAX && !model_get (m, field, len))
				continue;
			assert_int_equal (mvt_set (t, field, len, state, timeout, now, &row),
					  MVT_OK);
			assert_int_equal (mvt_get (t, field, len), row);
			model_set (m, field, len, state, timeout, now);
		}
		else
		{
			row = mvt_get (t, e->field, e->len);
			assert_int_not_equal (row, MVT_NONE);
			assert_int_equal (mvt_value (t, row)->state, e->state);
			switch (kind)
			{
			case 8:
			case 9:
			case 10:
				mvt_delete (t, row);
				model_delete (m, e);
				break;
			case 11:
				e->state += step;
				assert_int_equal (mvt_inc (t, row, step), e->state);
				break;
			case 12:
				mvt_timeout (t, row, e->timeout = step % 50);
				break;
			case 13:
				mvt_renew (t, row, e->last = now);
				break;
			case 14:
				mvt_set_valid (t, row, e->valid = !e->valid);
				break;
			default:
				mvt_store (t, row, e->state = step);
				break;
			}
		}
		assert_int_equal (mvt_entries (t), m->n);
		if (step % 4 == 0)
			compare_lookups (t, view, m, &random, now);
		if (step % 256 == 0)
			assert_int_equal (mvt_verify (t), 0);
	}
	assert_int_equal (mvt_verify (t), 0);
	while (m->n)
	{
		mvt_delete (t, mvt_get (t, m->e[0].field, m->e[0].len));
		model_delete (m, &m->e[0]);
	}
	assert_int_equal (mvt_verify (t), 0);
	assert_int_equal (counted_mem_calls, calls);
	free (m);
	mvt_view_remove (view);
	mvt_remove (t);
	assert_int_equal (counted_mem_bytes, 0);
}

static void
test_model_default (void **state)
{
	static const unsigned widths[] = { 32, 40, 64, 72, 96, 128, 256, 320 };
	(void) state;
	for (unsigned i = 0; i < sizeof widths / sizeof *widths; i++)
		random_operations (widths[i], MVT_MODE_DEFAULT, i % 2 ? 64 : 0, 1200, MODEL_MAX);
	random_operations (32, MVT_MODE_DEFAULT, 128, 6000, MODEL_MAX);
}

/* Room for so many entries brings the front by /24, whatever is in the table. */
static void
test_model_front (void **state)
{
	(void) state;
	random_operations (32, MVT_MODE_DEFAULT, 0, 1200, 1u << 16);
	random_operations (32, MVT_MODE_DEFAULT, 128, 400, 1u << 16);
}

static void
test_model_paper (void **state)
{
	static const unsigned widths[] = { 32, 40, 64, 72, 96, 128, 256, 320 };
	(void) state;
	for (unsigned i = 0; i < sizeof widths / sizeof *widths; i++)
		random_operations (widths[i], MVT_MODE_PAPER, i % 2 ? 64 : 0, 1200, MODEL_MAX);
	random_operations (32, MVT_MODE_PAPER, 128, 6000, MODEL_MAX);
}

/* ---- creation ---- */

static void
test_new_refuses (void **state)
{
	(void) state;
	static const struct
	{
		unsigned bits, max, cache;
		int mode;
	} bad[] = {
		{ 24, 10, 0, 0 }, { 33, 10, 0, 0 }, { 328, 10, 0, 0 },
		{ 32, 0, 0, 0 },  { 32, 10, 3, 0 }, { 32, (1u << 27) + 1, 0, 0 },
		{ 32, 10, 0, 2 },
	};
	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++)
	{
		mvt_config_t c =
			config (bad[i].bits, (mvt_mode_t) bad[i].mode, bad[i].max, bad[i].cache);
		assert_null (mvt_new (&c, &counted_mem));
	}
	mvt_remove (NULL);
	mvt_view_remove (NULL);
	/* whichever allocation fails, nothing is left behind */
	for (int mode = 0; mode < 2; mode++)
	{
		mvt_config_t c = config (32, (mvt_mode_t) mode, 100, 64);
		mvt_t *t = NULL;
		for (unsigned n = 1; !t; n++)
		{
			counted_mem_fail = n;
			t = mvt_new (&c, &counted_mem);
			counted_mem_fail = 0;
			assert_true (t || counted_mem_bytes == 0);
			assert_true (n < 20);
		}
		counted_mem_fail = 2;
		assert_null (mvt_view_new (t, 64, &counted_mem));
		counted_mem_fail = 0;
		assert_null (mvt_view_new (t, 3, &counted_mem));
		mvt_remove (t);
		assert_int_equal (counted_mem_bytes, 0);
	}
}

static void
test_full_is_counted (void **state)
{
	(void) state;
	for (int mode = 0; mode < 2; mode++)
	{
		mvt_config_t c = config (32, (mvt_mode_t) mode, 3, 0);
		mvt_t *t = mvt_new (&c, &counted_mem);
		mvt_stats_t stats;
		assert_int_equal (mvt_set4 (t, 0x0a000000, 8, 1), MVT_OK);
		assert_int_equal (mvt_set4 (t, 0x0a000000, 9, 2), MVT_OK);
		assert_int_equal (mvt_set4 (t, 0x0a000000, 10, 3), MVT_OK);
		assert_int_equal (mvt_set4 (t, 0x0a000000, 11, 4), MVT_ERR_FULL);
		assert_int_equal (mvt_set4 (t, 0x0a000000, 10, 5), MVT_OK);
		assert_int_equal (mvt_set4 (t, 0x0a000000, 33, 5), MVT_ERR_INVALID);
		assert_int_equal (mvt_split (t, mvt_get4 (t, 0x0a000000, 10), MVT_SPLIT_COPY, NULL),
				  MVT_ERR_FULL);
		mvt_stats (t, &stats);
		assert_int_equal (stats.refused, 2);
		assert_int_equal (stats.entries, 3);
		assert_int_equal (mvt_verify (t), 0);
		mvt_delete (t, mvt_get4 (t, 0x0a000000, 9));
		assert_int_equal (mvt_set4 (t, 0x0a000000, 11, 4), MVT_OK);
		mvt_remove (t);
	}
}

/* Chosen entries of one class and masked key make one chain: it is bounded, the rest is refused. */
static void
test_chain_is_bounded (void **state)
{
	(void) state;
	mvt_config_t c = config (64, MVT_MODE_PAPER, 3000, 0);
	mvt_t *t = mvt_new (&c, &counted_mem);
	unsigned placed = 0;
	for (unsigned i = 0; i < 2048; i++)
	{
		/* /31 below one /16 of 64 bits: class 16 */
		uint8_t field[8] = { 1, 2, (uint8_t) (i >> 3), (uint8_t) (i << 5) };
		int err = mvt_set (t, field, 27, i, 0, 0, NULL);
		assert_true (err == MVT_OK || err == MVT_ERR_FULL);
		placed += err == MVT_OK;
	}
	mvt_stats_t stats;
	mvt_stats (t, &stats);
	assert_int_equal (placed, 1024);
	assert_int_equal (stats.chain_max, 1024);
	assert_int_equal (stats.chains, 1);
	assert_int_equal (stats.same_key, 1023);
	assert_int_equal (stats.refused, 1024);
	assert_int_equal (mvt_verify (t), 0);
	mvt_remove (t);
}

/* Growth from the smallest size to the full one, while lookups go on and all answers stay. */
static void
test_growth (void **state)
{
	(void) state;
	enum
	{
		N = 100000
	};
	mvt_config_t c = config (32, MVT_MODE_DEFAULT, N, 0);
	mvt_t *t = mvt_new (&c, &counted_mem);
	mvt_stats_t stats;
	uint32_t addr[64], rows[64];
	for (uint32_t i = 0; i < N; i++)
	{
		assert_int_equal (mvt_set4 (t, i * 2654435761u, 32, i), MVT_OK);
		if (i % 997)
			continue;
		for (uint32_t k = 0; k < 64; k++)
			addr[k] = (k * i / 64) * 2654435761u;
		mvt_lookup4_batch (t, addr, 64, 0, rows);
		for (uint32_t k = 0; k < 64; k++)
			assert_int_equal (mvt_value (t, rows[k])->state, k * i / 64);
	}
	mvt_stats (t, &stats);
	assert_true (stats.grown >= 5);
	assert_int_equal (stats.refused, 0);
	assert_int_equal (mvt_verify (t), 0);
	mvt_remove (t);
}

/* ---- iterate, sweep, time ---- */

static void
test_expires_never_early (void **state)
{
	(void) state;
	for (int mode = 0; mode < 2; mode++)
	{
		mvt_config_t c = config (32, (mvt_mode_t) mode, 10, 16);
		mvt_t *t = mvt_new (&c, &counted_mem);
		const uint8_t field[4] = { 10, 1, 2, 3 };
		uint32_t row, t0 = 0xfffffff8u; /* wraps */
		mvt_set4 (t, 0, 0, 100);
		mvt_set (t, field, 24, 1, 10, t0, &row);
		assert_int_equal (state_of (t, mvt_lookup (t, field, t0 + 9)), 1);
		assert_int_equal (state_of (t, mvt_lookup (t, field, t0 + 10)), 1);
		assert_int_equal (state_of (t, mvt_lookup (t, field, t0 + 11)), 100);
		assert_int_equal (mvt_get (t, field, 24), row);
		/* renewed: alive, although the shorter match was cached */
		mvt_renew (t, row, t0 + 20);
		assert_int_equal (state_of (t, mvt_lookup (t, field, t0 + 20)), 1);
		assert_int_equal (state_of (t, mvt_lookup (t, field, t0 + 31)), 100);
		/* a longer timeout revives it too */
		mvt_timeout (t, row, 15);
		assert_int_equal (state_of (t, mvt_lookup (t, field, t0 + 31)), 1);
		assert_int_equal (state_of (t, mvt_lookup (t, field, t0 + 36)), 100);
		mvt_timeout (t, row, 0);
		assert_int_equal (state_of (t, mvt_lookup (t, field, t0 + 1000000)), 1);
		mvt_set_valid (t, row, false);
		assert_int_equal (state_of (t, mvt_lookup (t, field, t0 + 20)), 100);
		mvt_set_valid (t, row, true);
		assert_int_equal (state_of (t, mvt_lookup (t, field, t0 + 20)), 1);
		mvt_remove (t);
	}
}

static void
test_sweep_and_iterate (void **state)
{
	(void) state;
	mvt_config_t c = config (32, MVT_MODE_DEFAULT, 1000, 0);
	mvt_t *t = mvt_new (&c, &counted_mem);
	uint32_t cursor = 0, row, seen = 0, deleted = 0;
	uint64_t sum = 0;
	for (uint32_t i = 0; i < 1000; i++)
	{
		uint8_t field[4] = { 10, 0, (uint8_t) (i >> 8), (uint8_t) i };
		assert_int_equal (mvt_set (t, field, 32, i, i % 2 ? 0 : 5, 0, &row), MVT_OK);
		mvt_set_aux (t, row, i);
	}
	while (mvt_iterate (t, &cursor, &row))
	{
		seen++;
		sum += mvt_value (t, row)->state;
		assert_int_equal (mvt_value (t, row)->aux,
				  mvt_field (t, row)[2] << 8 | mvt_field (t, row)[3]);
	}
	assert_int_equal (seen, 1000);
	assert_int_equal (sum, 499500);
	cursor = 0;
	assert_int_equal (mvt_sweep (t, &cursor, 100, 5), 0);
	assert_int_equal (cursor, 100);
	assert_int_equal (mvt_sweep (t, &cursor, 100, 6), 50);
	do
		deleted += mvt_sweep (t, &cursor, 64, 6);
	while (cursor);
	assert_int_equal (deleted, 400);
	do
		deleted += mvt_sweep (t, &cursor, 64, 6);
	while (cursor);
	assert_int_equal (deleted, 450);
	assert_int_equal (mvt_entries (t), 500);
	cursor = 0;
	for (seen = 0; mvt_iterate (t, &cursor, &row); seen++)
	{
		assert_int_equal (mvt_value (t, row)->state % 2, 1);
		mvt_delete (t, row);
	}
	assert_int_equal (seen, 500);
	assert_int_equal (mvt_entries (t), 0);
	assert_int_equal (mvt_verify (t), 0);
	mvt_remove (t);
}

/* ---- views ---- */

static void
test_view (void **state)
{
	(void) state;
	mvt_config_t c = config (32, MVT_MODE_DEFAULT, 10, 0),
		     wide = config (64, MVT_MODE_DEFAULT, 10, 0);
	mvt_t *old = mvt_new (&c, &counted_mem), *new = mvt_new (&c, &counted_mem);
	mvt_t *other = mvt_new (&wide, &counted_mem);
	mvt_view_t *view = mvt_view_new (old, 16, &counted_mem);
	mvt_match_stats_t stats;
	mvt_stats_t table;
	mvt_set4 (old, 0x0a000000, 8, 1);
	mvt_set4 (new, 0x0b000000, 8, 2);
	assert_int_equal (state_of (old, mvt_view_lookup4 (view, 0x0a010203, 0)), 1);
	assert_int_equal (state_of (old, mvt_view_lookup4 (view, 0x0a010203, 0)), 1);
	assert_int_equal (mvt_view_lookup4 (view, 0x0b010203, 0), MVT_NONE);
	mvt_view_stats (view, &stats);
	assert_int_equal (stats.lookups, 3);
	assert_int_equal (stats.hits, 2);
	assert_int_equal (stats.cache_hits, 1);
	/* both tables are in the same epoch, yet nothing of the old one is remembered */
	assert_int_equal (mvt_view_attach (view, other), MVT_ERR_INVALID);
	assert_int_equal (mvt_view_attach (view, new), MVT_OK);
	assert_int_equal (mvt_view_lookup4 (view, 0x0a010203, 0), MVT_NONE);
	assert_int_equal (state_of (new, mvt_view_lookup4 (view, 0x0b010203, 0)), 2);
	mvt_stats (old, &table);
	assert_int_equal (table.match.lookups, 0);
	mvt_view_remove (view);
	mvt_remove (old);
	mvt_remove (new);
	mvt_remove (other);
	assert_int_equal (counted_mem_bytes, 0);
}

int
main (void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test (test_model_default),
		cmocka_unit_test (test_model_front),
		cmocka_unit_test (test_model_paper),
		cmocka_unit_test (test_new_refuses),
		cmocka_unit_test (test_full_is_counted),
		cmocka_unit_test (test_chain_is_bounded),
		cmocka_unit_test (test_growth),
		cmocka_unit_test (test_expires_never_early),
		cmocka_unit_test (test_sweep_and_iterate),
		cmocka_unit_test (test_view),
	};
	return cmocka_run_group_tests (tests, NULL, NULL);
}

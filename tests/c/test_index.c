/* SPDX-License-Identifier: Apache-2.0
 * The in2out index against a plain array as model: random inserts, deletes and finds, also while
 * it grows, in the old and the new part, with entries in alternate buckets and in the stash. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "counted_mem.h"
#include "mvt_index.h"

static mvt_secret_t
secret (void)
{
	mvt_secret_t s;
	mvt_secret_init (&s, (uint64_t[2]){ 0x1234, 0x5678 });
	return s;
}

static uint32_t
hash_of (const mvt_index_t *ix, const mvt_entry_t *e)
{
	return mvt_index_hash (ix, e->in_addr, e->in_port, e->proto, e->realm);
}

static uint32_t
find (const mvt_index_t *ix, const mvt_entry_t *lines, const mvt_entry_t *e)
{
	return mvt_index_find (ix, lines, hash_of (ix, e), e->in_addr, e->in_port, e->proto,
			       e->realm);
}

static void
set_key (mvt_entry_t *e, uint32_t i)
{
	e->in_addr = 0x0a000000 + i / 7;
	e->in_port = (uint16_t) (1000 + i % 7);
	e->proto = (uint8_t) (i % 3);
	e->realm = (uint16_t) (i % 5);
}

static void
test_new_refuses (void **state)
{
	(void) state;
	mvt_secret_t s = secret ();
	assert_null (mvt_index_new (0, &s, &counted_mem));
	assert_null (mvt_index_new (MVT_BUCKETS_MAX_ROWS + 1, &s, &counted_mem));
	mvt_index_remove (NULL);
	assert_int_equal (counted_mem_bytes, 0);
}

static void
test_every_part_of_the_key_counts (void **state)
{
	(void) state;
	mvt_secret_t s = secret ();
	mvt_index_t *ix = mvt_index_new (100, &s, &counted_mem);
	mvt_entry_t lines[2] = { { .in_addr = 0x0a000001, .in_port = 53, .proto = 0, .realm = 9 } };
	assert_int_equal (mvt_index_insert (ix, hash_of (ix, lines), 0), MVT_OK);
	assert_int_equal (find (ix, lines, lines), 0);
	for (unsigned part = 0; part < 4; part++)
	{
		mvt_entry_t other = lines[0];
		other.in_addr ^= part == 0;
		other.in_port ^= part == 1;
		other.proto ^= part == 2;
		other.realm ^= part == 3;
		assert_int_not_equal (hash_of (ix, &other), hash_of (ix, lines));
		assert_int_equal (find (ix, lines, &other), MVT_NONE);
		/* and if the hashes were equal, the key itself would tell */
		assert_int_equal (mvt_index_find (ix, lines, hash_of (ix, lines), other.in_addr,
						  other.in_port, other.proto, other.realm),
				  MVT_NONE);
	}
	assert_int_equal (mvt_index_delete (ix, hash_of (ix, lines), 1), MVT_ERR_NOT_FOUND);
	assert_int_equal (mvt_index_delete (ix, hash_of (ix, lines), 0), MVT_OK);
	assert_int_equal (find (ix, lines, lines), MVT_NONE);
	mvt_index_remove (ix);
}

static void
random_operations (uint32_t max, uint32_t operations, uint32_t verify_every)
{
	mvt_secret_t s = secret ();
	unsigned before;
	mvt_index_t *ix = mvt_index_new (max, &s, &counted_mem);
	mvt_entry_t *lines = calloc (max, sizeof *lines);
	bool *present = calloc (max, 1);
	uint32_t count = 0, verified_growing = 0;
	uint64_t random = 88172645463325252ull;
	for (uint32_t i = 0; i < max; i++)
		set_key (&lines[i], i);
	before = counted_mem_calls;
	for (uint32_t op = 0; op < operations; op++)
	{
		/* up to full, down to a quarter, up again */
		bool fill = op / (2 * max) % 2 == 0;
		uint32_t line = mvt_random_below (&random, max);
		uint32_t hash = hash_of (ix, &lines[line]);
		assert_int_equal (find (ix, lines, &lines[line]), present[line] ? line : MVT_NONE);
		if (present[line] && mvt_random_below (&random, 8) < (fill ? 1 : 6))
		{
			assert_int_equal (mvt_index_delete (ix, hash, line), MVT_OK);
			present[line] = false;
			count--;
		}
		else if (!present[line] && mvt_random_below (&random, 8) < (fill ? 8 : 1))
		{
			assert_int_equal (mvt_index_insert (ix, hash, line), MVT_OK);
			present[line] = true;
			count++;
		}
		else if (op % 64 == 0)
			mvt_index_maintain (ix, 1);
		assert_int_equal (ix->buckets.count, count);
		if (op % verify_every == 0)
		{
			assert_int_equal (mvt_index_verify (ix, lines), 0);
			verified_growing += mvt_buckets_growing (&ix->buckets);
		}
	}
	mvt_index_maintain (ix, UINT32_MAX);
	assert_int_equal (mvt_index_verify (ix, lines), 0);
	for (uint32_t i = 0; i < max; i++)
		assert_int_equal (find (ix, lines, &lines[i]), present[i] ? i : MVT_NONE);
	if (ix->buckets.grown)
		assert_true (verified_growing > 0);
	assert_int_equal (counted_mem_calls, before);
	free (present);
	free (lines);
	mvt_index_remove (ix);
	assert_int_equal (counted_mem_bytes, 0);
}

static void
test_model_small (void **state)
{
	(void) state;
	random_operations (500, 20000, 7);
}

static void
test_model_growing (void **state)
{
	(void) state;
	random_operations (20000, 200000, 499);
}

static void
test_model_not_a_power_of_two (void **state)
{
	(void) state;
	random_operations (12345, 100000, 499);
}

/* Filled to the last entry: nothing is refused, few bytes per entry, and a miss mostly costs one
 * line because the overflow counts are exact after growth. */
static void
test_full (void **state)
{
	(void) state;
	enum
	{
		MAX = 1 << 20
	};
	mvt_secret_t s = secret ();
	mvt_index_t *ix = mvt_index_new (MAX, &s, &counted_mem);
	mvt_entry_t *lines = calloc (MAX + 1, sizeof *lines);
	for (uint32_t i = 0; i <= MAX; i++)
	{
		set_key (&lines[i], i);
		assert_int_equal (mvt_index_insert (ix, hash_of (ix, &lines[i]), i),
				  i < MAX ? MVT_OK : MVT_ERR_FULL);
	}
	assert_int_equal (ix->buckets.refused, 1);
	assert_true (counted_mem_bytes <= 12u * MAX);
	assert_true (ix->buckets.grown >= 9);
	mvt_index_maintain (ix, UINT32_MAX);
	assert_int_equal (mvt_index_verify (ix, lines), 0);
	for (uint32_t i = 0; i < MAX; i++)
		assert_int_equal (find (ix, lines, &lines[i]), i);
	assert_int_equal (find (ix, lines, &lines[MAX]), MVT_NONE);
	for (uint32_t i = 0; i < MAX; i++)
		assert_int_equal (mvt_index_delete (ix, hash_of (ix, &lines[i]), i), MVT_OK);
	for (uint32_t p = 0; p < ix->buckets.n; p++)
		assert_int_equal (ix->buckets.bucket[p].overflow[ix->buckets.live], 0);
	free (lines);
	mvt_index_remove (ix);
}

/* One hash for all, what no secret would allow: two buckets and the stash take them, the rest is
 * refused and counted, nothing is lost and nothing loops. */
static void
test_one_hash_is_bounded (void **state)
{
	(void) state;
	enum
	{
		N = 200
	};
	mvt_secret_t s = secret ();
	mvt_index_t *ix = mvt_index_new (N, &s, &counted_mem);
	mvt_entry_t lines[N];
	const uint32_t hash = 0xdeadbeef, room = 2 * MVT_BUCKET_SLOTS + MVT_BUCKETS_STASH;
	memset (lines, 0, sizeof lines);
	for (uint32_t i = 0; i < N; i++)
	{
		set_key (&lines[i], i);
		assert_int_equal (mvt_index_insert (ix, hash, i), i < room ? MVT_OK : MVT_ERR_FULL);
	}
	assert_int_equal (ix->buckets.refused, N - room);
	assert_int_equal (ix->buckets.stashed, MVT_BUCKETS_STASH);
	for (uint32_t i = 0; i < N; i++)
		assert_int_equal (mvt_index_find (ix, lines, hash, lines[i].in_addr,
						  lines[i].in_port, lines[i].proto, lines[i].realm),
				  i < room ? i : MVT_NONE);
	for (uint32_t i = 0; i < room; i++)
		assert_int_equal (mvt_index_delete (ix, hash, i), MVT_OK);
	assert_int_equal (ix->buckets.count, 0);
	assert_int_equal (ix->buckets.stash_n, 0);
	mvt_index_remove (ix);
}

/* What a staged batch prefetches is what find then verifies, for nearly every entry. */
static void
test_candidate (void **state)
{
	(void) state;
	enum
	{
		N = 10000
	};
	mvt_secret_t s = secret ();
	mvt_index_t *ix = mvt_index_new (N, &s, &counted_mem);
	mvt_entry_t *lines = calloc (N, sizeof *lines);
	uint32_t right = 0;
	for (uint32_t i = 0; i < N; i++)
	{
		set_key (&lines[i], i);
		assert_int_equal (mvt_index_insert (ix, hash_of (ix, &lines[i]), i), MVT_OK);
	}
	for (uint32_t i = 0; i < N; i++)
		right += mvt_buckets_candidate (&ix->buckets, hash_of (ix, &lines[i])) == i;
	assert_true (right > N * 85 / 100);
	free (lines);
	mvt_index_remove (ix);
}

static void
test_bucket_match_variants_agree (void **state)
{
	(void) state;
	uint64_t random = 7;
	uint32_t matches = 0;
	for (unsigned i = 0; i < 10000; i++)
	{
		static const uint16_t tags[] = { 0, 1, 0x7fff, 0x8000, 0xffff };
		mvt_bucket_t b = { .used = (uint8_t) mvt_random (&random) };
		for (unsigned slot = 0; slot < MVT_BUCKET_SLOTS; slot++)
			b.tag[slot] = tags[mvt_random_below (&random, 5)];
		uint32_t hash = (mvt_random (&random) << 16) | tags[mvt_random_below (&random, 5)];
		uint32_t mask = mvt_bucket_match (&b, hash);
		assert_int_equal (mask, mvt_bucket_match_portable (&b, hash));
		for (unsigned slot = 0; slot < MVT_BUCKET_SLOTS; slot++)
			assert_int_equal (mask >> slot & 1,
					  (b.used >> slot & 1) && b.tag[slot] == (uint16_t) hash);
		matches += mask != 0;
	}
	assert_true (matches > 1000);
}

int
main (void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test (test_new_refuses),
		cmocka_unit_test (test_every_part_of_the_key_counts),
		cmocka_unit_test (test_model_small),
		cmocka_unit_test (test_model_growing),
		cmocka_unit_test (test_model_not_a_power_of_two),
		cmocka_unit_test (test_full),
		cmocka_unit_test (test_one_hash_is_bounded),
		cmocka_unit_test (test_candidate),
		cmocka_unit_test (test_bucket_match_variants_agree),
	};
	return cmocka_run_group_tests (tests, NULL, NULL);
}

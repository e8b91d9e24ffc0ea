/* SPDX-License-Identifier: Apache-2.0
 * CRC32C gives one value however it is computed, and the keyed hash withstands key sets that are
 * built by linear algebra to fall into one bucket of plain CRC32C under every seed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "counted_mem.h"
#include "mvt_crc32c.h"
#include "mvt_index.h"

/* RFC 3720, B.4, and the customary check value. */
static void
test_known_values (void **state)
{
	(void) state;
	uint8_t data[32];
	assert_int_equal (mvt_crc32c (0, "123456789", 9), 0xe3069283);
	memset (data, 0, sizeof data);
	assert_int_equal (mvt_crc32c (0, data, sizeof data), 0x8a9136aa);
	memset (data, 0xff, sizeof data);
	assert_int_equal (mvt_crc32c (0, data, sizeof data), 0x62a8ab43);
	for (unsigned i = 0; i < sizeof data; i++)
		data[i] = (uint8_t) i;
	assert_int_equal (mvt_crc32c (0, data, sizeof data), 0x46dd794e);
	assert_int_equal (mvt_crc32c (mvt_crc32c (0, data, 13), data + 13, 19), 0x46dd794e);
	assert_int_equal (mvt_crc32c (0, data, 0), 0);
}

static void
test_variants_agree (void **state)
{
	(void) state;
	uint64_t random = 42;
	uint8_t data[73];
	for (unsigned i = 0; i < 10000; i++)
	{
		uint32_t crc = mvt_random (&random);
		uint64_t word = (uint64_t) mvt_random (&random) << 32 | mvt_random (&random);
		uint32_t expected = crc;
		for (unsigned bit = 0; bit < 64; bit++) /* the definition, bit by bit */
			expected = (expected >> 1) ^
				   (((expected ^ (uint32_t) (word >> bit)) & 1) ? 0x82f63b78u : 0);
		assert_int_equal (mvt_crc32c_u64 (crc, word), expected);
		assert_int_equal (mvt_crc32c_u64_bytewise (crc, word), expected);
		assert_int_equal (mvt_crc32c_u64_slicing (crc, word), expected);
	}
	for (unsigned size = 0; size <= sizeof data; size++)
	{
		for (unsigned i = 0; i < size; i++)
			data[i] = (uint8_t) mvt_random (&random);
		uint32_t expected = mvt_crc32c_bytewise (0, data, size);
		assert_int_equal (mvt_crc32c (0, data, size), expected);
		assert_int_equal (mvt_crc32c_slicing (0, data, size), expected);
	}
}

/* ---- crafted keys ---- */

#define BUCKET_BITS 20
#define BUCKETS	    (1u << BUCKET_BITS)
#define KEY_BITS    16
#define KEYS	    (1u << KEY_BITS)

static uint32_t
plain_bucket (uint32_t seed, uint64_t key)
{
	return mvt_crc32c_u64 (seed, key) % BUCKETS;
}

/* The CRC of a sum is the sum of the CRCs (up to the seed's share), so the keys that go to the
 * bucket of key 0 are a vector space of at least 64 - BUCKET_BITS dimensions: KEYS of them. */
static uint64_t *
crafted_keys (void)
{
	uint64_t pivot_key[BUCKET_BITS] = { 0 }, kernel[KEY_BITS];
	unsigned n = 0;
	for (unsigned bit = 0; bit < 64 && n < KEY_BITS; bit++)
	{
		uint64_t key = 1ull << bit;
		uint32_t image = plain_bucket (0, key);
		for (unsigned b = 0; b < BUCKET_BITS; b++)
		{
			if (!(image >> b & 1))
				continue;
			if (!pivot_key[b])
			{
				pivot_key[b] = key;
				break;
			}
			key ^= pivot_key[b];
			image ^= plain_bucket (0, pivot_key[b]);
		}
		if (!image)
			kernel[n++] = key;
	}
	assert_int_equal (n, KEY_BITS);
	uint64_t *keys = malloc (KEYS * sizeof *keys);
	for (uint32_t i = 0; i < KEYS; i++)
	{
		keys[i] = 0;
		for (unsigned k = 0; k < KEY_BITS; k++)
			keys[i] ^= i >> k & 1 ? kernel[k] : 0;
	}
	return keys;
}

typedef struct
{
	uint32_t used, longest;
} spread_t;

static spread_t
spread (const uint32_t *hashes, uint32_t shift)
{
	uint32_t *count = calloc (BUCKETS, sizeof *count);
	spread_t s = { 0, 0 };
	for (uint32_t i = 0; i < KEYS; i++)
	{
		uint32_t n = ++count[(hashes[i] >> shift) % BUCKETS];
		s.used += n == 1;
		s.longest = n > s.longest ? n : s.longest;
	}
	free (count);
	return s;
}

/* Random functions use 63,540 of 2^20 buckets for 65,536 keys, give or take 50, at most 5 or 6 in
 * one. */
static void
assert_random (const uint32_t *hashes)
{
	for (uint32_t shift = 0; shift <= 32 - BUCKET_BITS; shift += 32 - BUCKET_BITS)
	{
		spread_t s = spread (hashes, shift);
		assert_in_range (s.used, 63200, 63900);
		assert_in_range (s.longest, 2, 9);
	}
}

static void
test_crafted_keys_spread (void **state)
{
	(void) state;
	static uint32_t hashes[KEYS];
	uint64_t *keys = crafted_keys ();
	for (uint32_t seed = 0; seed < 5; seed++)
	{
		for (uint32_t i = 0; i < KEYS; i++)
			hashes[i] = plain_bucket (seed * 0x9e3779b9u, keys[i]);
		assert_int_equal (spread (hashes, 0).used, 1);
		assert_int_equal (spread (hashes, 0).longest, KEYS);
	}
	for (uint64_t secret = 0; secret < 5; secret++)
	{
		mvt_secret_t s;
		mvt_secret_init (&s, (uint64_t[2]){ secret, secret });
		for (uint32_t i = 0; i < KEYS; i++)
			hashes[i] = mvt_hash_u64 (keys[i], &s);
		assert_random (hashes);
		/* wide keys, crafted in one word of five, whichever */
		for (unsigned word = 0; word < MVT_KEY_WORDS_MAX; word++)
		{
			for (uint32_t i = 0; i < KEYS; i++)
			{
				uint64_t wide[MVT_KEY_WORDS_MAX] = { 1, 2, 3, 4, 5 };
				wide[word] = keys[i];
				hashes[i] = mvt_hash_bytes (wide, sizeof wide, &s);
			}
			assert_random (hashes);
		}
	}
	free (keys);
}

/* Plain structure must not show through either: hosts and ports count upwards. */
static void
test_sequential_keys_spread (void **state)
{
	(void) state;
	static uint32_t hashes[KEYS];
	for (unsigned shift = 0; shift <= 48; shift += 8)
	{
		mvt_secret_t s;
		mvt_secret_init (&s, (uint64_t[2]){ shift, 7 });
		for (uint32_t i = 0; i < KEYS; i++)
			hashes[i] = mvt_hash_u64 ((uint64_t) i << shift, &s);
		assert_random (hashes);
	}
}

/* The same attack on the NAT's index: address and port chosen so that plain CRC32C has one bucket.
 * Its own keyed hash takes all of them; with the plain one as hash nearly all would be refused. */
static void
test_crafted_endpoints_do_not_fill_the_index (void **state)
{
	(void) state;
	uint64_t *keys = crafted_keys ();
	mvt_entry_t *lines = calloc (KEYS, sizeof *lines);
	for (int keyed = 0; keyed < 2; keyed++)
	{
		mvt_secret_t s;
		mvt_secret_init (&s, (uint64_t[2]){ 5, 6 });
		mvt_index_t *ix = mvt_index_new (KEYS, &s, &counted_mem);
		for (uint32_t i = 0; i < KEYS; i++)
		{
			lines[i].in_addr = (uint32_t) (keys[i] >> 32);
			lines[i].in_port = (uint16_t) (keys[i] >> 16);
			lines[i].realm = (uint16_t) keys[i];
			/* the index takes the bucket from the top of the hash */
			uint32_t plain = plain_bucket (0, keys[i]) << (32 - BUCKET_BITS);
			uint32_t hash = keyed ? mvt_index_hash (ix, lines[i].in_addr,
								lines[i].in_port, 0, lines[i].realm)
					      : plain;
			(void) mvt_index_insert (ix, hash, i);
		}
		if (keyed)
		{
			assert_int_equal (ix->buckets.refused, 0);
			assert_true (ix->buckets.stashed < 4);
			assert_int_equal (mvt_index_verify (ix, lines), 0);
		}
		else
			assert_true (ix->buckets.refused > KEYS - 100);
		mvt_index_remove (ix);
	}
	free (lines);
	free (keys);
}

static void
test_secret_and_size_matter (void **state)
{
	(void) state;
	static const uint64_t seeds[][2] = { { 0, 0 }, { 0, 1 }, { 1, 0 }, { 1, 1 } };
	const uint8_t zeros[MVT_KEY_MAX] = { 0 };
	mvt_secret_t s[4], again;
	for (unsigned i = 0; i < 4; i++)
		mvt_secret_init (&s[i], seeds[i]);
	mvt_secret_init (&again, seeds[0]);
	assert_memory_equal (&again, &s[0], sizeof again);
	for (unsigned i = 1; i < 4; i++)
		assert_int_not_equal (mvt_hash_u64 (99, &s[i]), mvt_hash_u64 (99, &s[0]));
	for (unsigned a = 1; a <= MVT_KEY_MAX; a++)
		for (unsigned b = 0; b < a; b++)
			assert_int_not_equal (mvt_hash_bytes (zeros, a, &s[0]),
					      mvt_hash_bytes (zeros, b, &s[0]));
	for (unsigned w = 0; w < MVT_KEY_WORDS_MAX; w++)
		assert_int_equal (s[0].word[w].mul & 1, 1);
}

int
main (void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test (test_known_values),
		cmocka_unit_test (test_variants_agree),
		cmocka_unit_test (test_crafted_keys_spread),
		cmocka_unit_test (test_sequential_keys_spread),
		cmocka_unit_test (test_crafted_endpoints_do_not_fill_the_index),
		cmocka_unit_test (test_secret_and_size_matter),
	};
	return cmocka_run_group_tests (tests, NULL, NULL);
}

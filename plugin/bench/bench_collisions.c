/* SPDX-License-Identifier: Apache-2.0
 *
 * Collisions, told apart. The two ways to read the paper (plain CRC32C) are counted here on keys
 * and hashes alone; HashMVT's own modes are asked.
 */
#include "bench_private.h"
#include "memory.h"
#include "mvt_crc32c.h"
#include "mvt_table.h"

#include <stdlib.h>

static const uint8_t classes[] = { 32, 30, 24, 16, 8, 0 };

static uint8_t
class_of (uint8_t len)
{
	const uint8_t *c = classes;

	while (len < *c)
		c++;
	return *c;
}

static uint32_t
crc_key (bench_keys_t keys, uint32_t masked, uint8_t class)
{
	uint8_t bytes[4] = { (uint8_t) (masked >> 24), (uint8_t) (masked >> 16),
			     (uint8_t) (masked >> 8), (uint8_t) masked };
	return mvt_crc32c (0, bytes, keys == BENCH_KEYS_PADDED ? 4 : (class + 7u) / 8);
}

/* A set of 64-bit numbers. */
typedef struct
{
	uint64_t *slot; /* number + 1; 0: empty */
	uint32_t mask;
} set_t;

static bool
set_init (set_t *set, uint32_t n)
{
	uint32_t size = 16;

	while (size < 2 * n)
		size *= 2;
	set->mask = size - 1;
	set->slot = calloc (size, sizeof *set->slot);
	return set->slot != NULL;
}

/* Adds; was it there? */
static bool
set_add (set_t *set, uint64_t number)
{
	uint64_t state = number;
	uint32_t at = (uint32_t) bench_random (&state) & set->mask;

	for (; set->slot[at]; at = (at + 1) & set->mask)
		if (set->slot[at] == number + 1)
			return true;
	set->slot[at] = number + 1;
	return false;
}

static int
count (bench_keys_t how, const mvt_prefix4_t *prefixes, uint32_t n, bench_collisions_t *out)
{
	uint32_t *chain = calloc (out->rows, sizeof *chain);
	set_t keys = { 0 }, hashes = { 0 };
	bool ready = set_init (&keys, n) && set_init (&hashes, n) && chain;

	for (uint32_t i = 0; ready && i < n; i++)
	{
		uint8_t class = class_of (prefixes[i].len);
		uint32_t masked = class ? prefixes[i].addr & ~0u << (32 - class) : 0;
		uint32_t hash = crc_key (how, masked, class), row = hash & (out->rows - 1);
		bool same_key = set_add (&keys, (uint64_t) class << 32 | masked);
		bool same_hash = set_add (&hashes, hash);

		out->same_key += same_key;
		out->same_hash += !same_key && same_hash;
		out->same_row += !same_key && !same_hash && chain[row];
		chain[row]++;
		out->chain_max = chain[row] > out->chain_max ? chain[row] : out->chain_max;
	}
	for (uint32_t i = 0; ready && i < out->rows; i++)
		out->chain_mean += (double) chain[i] * chain[i] / n;
	free (chain);
	free (keys.slot);
	free (hashes.slot);
	return ready ? MVT_OK : MVT_ERR_NO_MEMORY;
}

/* Equal 32-bit hashes of different keys in the default mode, whose secret this is too. */
static int
count_default_hashes (const mvt_prefix4_t *prefixes, uint32_t n, const uint64_t seed[2],
		      bench_collisions_t *out)
{
	mvt_secret_t secret;
	set_t hashes;

	if (!set_init (&hashes, n))
		return MVT_ERR_NO_MEMORY;
	mvt_secret_init (&secret, seed);
	for (uint32_t i = 0; i < n; i++)
	{
		uint64_t word = (uint64_t) prefixes[i].addr << 32;
		out->same_hash +=
			set_add (&hashes, mvt_hash_words (&word, 1, prefixes[i].len, &secret));
	}
	free (hashes.slot);
	return MVT_OK;
}

static int
ask (bench_keys_t how, const mvt_prefix4_t *prefixes, uint32_t n, uint64_t random,
     bench_collisions_t *out)
{
	mvt_config_t config = { .field_bits = 32,
				.max_entries = n,
				.mode = how == BENCH_KEYS_PAPER ? MVT_MODE_PAPER : MVT_MODE_DEFAULT,
				.seed = { bench_random (&random), bench_random (&random) } };
	arena_t arena;
	mvt_stats_t stats;
	int err = MVT_OK;

	arena_init (&arena, -1, memory_free ());
	mvt_t *t = mvt_new (&config, &arena.mem);
	if (!t)
		return MVT_ERR_NO_MEMORY;
	for (uint32_t i = 0; i < n && !err; i++)
		err = mvt_set4 (t, prefixes[i].addr, prefixes[i].len, i);
	mvt_stats (t, &stats);
	mvt_remove (t);
	if (err)
		return err;
	if (how == BENCH_KEYS_DEFAULT)
	{
		out->rows = stats.buckets;
		out->same_row = stats.alternates + stats.stashed;
		out->chain_max = 8;
		return count_default_hashes (prefixes, n, config.seed, out);
	}
	out->rows = stats.rows;
	out->same_key = (uint32_t) stats.same_key;
	out->same_hash = (uint32_t) stats.same_hash;
	out->same_row = (uint32_t) stats.same_row;
	out->chain_max = stats.chain_max;
	out->chain_mean = (double) stats.chain_squares / n;
	return MVT_OK;
}

int
bench_collisions (bench_keys_t keys, const mvt_prefix4_t *prefixes, uint32_t n, uint32_t rows,
		  uint64_t seed, bench_collisions_t *out)
{
	*out = (bench_collisions_t){ .entries = n, .rows = rows };
	if (!n || n > 1u << 27 || rows & (rows - 1) || keys >= BENCH_KEYS_N)
		return MVT_ERR_INVALID;
	if (keys >= BENCH_KEYS_PAPER)
		return ask (keys, prefixes, n, seed, out);
	if (!rows)
		for (out->rows = 16; out->rows < n;)
			out->rows *= 2;
	return count (keys, prefixes, n, out);
}

void
bench_sample (mvt_prefix4_t *prefixes, uint32_t n, uint32_t count, uint64_t seed)
{
	for (uint32_t i = 0; i < count; i++)
	{
		uint32_t other = i + bench_below (&seed, n - i);
		mvt_prefix4_t swap = prefixes[i];
		prefixes[i] = prefixes[other];
		prefixes[other] = swap;
	}
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Hashes of short keys. Each hash and size is compiled for itself, as a caller with a key of fixed
 * size would have it: no call, no loop over bytes but the hash's own.
 */
#include "bench_private.h"
#include "mvt_crc32c.h"

#define WORDS 5	 /* of the longest key */
#define KEYS  64 /* different ones: they stay in the nearest cache */

#define foreach_size _ (4) _ (8) _ (12) _ (16) _ (20) _ (24) _ (28) _ (32) _ (36) _ (40)

static const mvt_secret_t secret = { .word = { { 0x243f6a8885a308d3, 0x9e3779b97f4a7c15 },
					       { 0x13198a2e03707344, 0xbf58476d1ce4e5b9 },
					       { 0xa4093822299f31d0, 0x94d049bb133111eb },
					       { 0x082efa98ec4e6c89, 0xd6e8feb86659fd93 },
					       { 0x452821e638d01377, 0xcaf649a9fab1b6a5 } } };

static inline uint32_t
tail_bytewise (uint32_t crc, uint32_t word)
{
	for (int i = 0; i < 4; i++, word >>= 8)
		crc = mvt_crc32c_slice[0][(crc ^ word) & 0xff] ^ (crc >> 8);
	return crc;
}

static inline uint32_t
tail_hardware (uint32_t crc, uint32_t word)
{
#if defined(__SSE4_2__) && defined(__x86_64__)
	return _mm_crc32_u32 (crc, word);
#elif defined(__ARM_FEATURE_CRC32) && defined(__aarch64__)
	return __crc32cw (crc, word);
#else
	return tail_bytewise (crc, word);
#endif
}

/* => how and bytes are constants; words beyond the key are 0 */
static inline __attribute__ ((always_inline)) uint32_t
hash (bench_hash_t how, const uint64_t *word, uint32_t bytes)
{
	uint32_t crc = ~0u, i = 0;

	if (how == BENCH_HASH_KEYED)
		return mvt_hash_words (word, (bytes + 7) / 8, bytes, &secret);
	for (; bytes >= 8; bytes -= 8, i++)
		crc = how == BENCH_HASH_HARDWARE  ? mvt_crc32c_u64 (crc, word[i])
		      : how == BENCH_HASH_SLICING ? mvt_crc32c_u64_slicing (crc, word[i])
						  : mvt_crc32c_u64_bytewise (crc, word[i]);
	if (bytes)
		crc = how == BENCH_HASH_HARDWARE ? tail_hardware (crc, (uint32_t) word[i])
						 : tail_bytewise (crc, (uint32_t) word[i]);
	return ~crc;
}

static inline __attribute__ ((always_inline)) uint32_t
run (bench_hash_t how, uint32_t bytes, uint32_t keys, bool chained, uint64_t key[KEYS][WORDS])
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < keys; i++)
	{
		uint64_t word[WORDS];
		for (uint32_t w = 0; w < (bytes + 7) / 8; w++)
			word[w] = key[i % KEYS][w];
		if (chained)
			word[0] ^= sum;
		uint32_t h = hash (how, word, bytes);
		sum = chained ? h : sum ^ h;
	}
	return sum;
}

/* One function per hash; `chained` becomes a constant of each loop. */
#define RUN(NAME)                                                                       \
	static __attribute__ ((noinline)) uint32_t run_##NAME (                         \
		uint32_t bytes, uint32_t keys, bool chained, uint64_t key[KEYS][WORDS]) \
	{                                                                               \
		switch (bytes)                                                          \
		{                                                                       \
			foreach_size default : return 0;                                \
		}                                                                       \
	}

#define _(n)    \
	case n: \
		return chained ? run (HOW, n, keys, true, key) : run (HOW, n, keys, false, key);
#define HOW BENCH_HASH_HARDWARE
RUN (hardware)
#undef HOW
#define HOW BENCH_HASH_SLICING
RUN (slicing)
#undef HOW
#define HOW BENCH_HASH_BYTEWISE
RUN (bytewise)
#undef HOW
#define HOW BENCH_HASH_KEYED
RUN (keyed)
#undef HOW
#undef _

static uint32_t (*const runs[BENCH_HASH_N]) (uint32_t bytes, uint32_t keys, bool chained,
					     uint64_t key[KEYS][WORDS]) = {
	[BENCH_HASH_HARDWARE] = run_hardware,
	[BENCH_HASH_SLICING] = run_slicing,
	[BENCH_HASH_BYTEWISE] = run_bytewise,
	[BENCH_HASH_KEYED] = run_keyed,
};

bool
bench_hash_has_hardware (void)
{
	return MVT_CRC32C_HARDWARE;
}

static bool
valid (bench_hash_t how, uint32_t key_bytes)
{
	return how < BENCH_HASH_N && key_bytes >= 4 && key_bytes <= 8 * WORDS && key_bytes % 4 == 0;
}

uint32_t
bench_hash_value (bench_hash_t how, const void *key, uint32_t key_bytes)
{
	uint64_t keys[KEYS][WORDS] = { { 0 } };

	if (!valid (how, key_bytes))
		return 0;
	__builtin_memcpy (keys[0], key, key_bytes);
	return runs[how](key_bytes, 1, false, keys);
}

int
bench_hash_run (bench_hash_t how, uint32_t key_bytes, uint32_t keys, int chained,
		bench_cost_t *cost)
{
	static volatile uint32_t sink; /* so that nothing is left out as unused */
	uint64_t key[KEYS][WORDS] = { { 0 } }, random = key_bytes;

	if (!valid (how, key_bytes) || !keys)
		return MVT_ERR_INVALID;
	for (uint32_t i = 0; i < KEYS; i++)
		for (uint32_t left = key_bytes, w = 0; left; left -= left < 8 ? left : 8, w++)
			key[i][w] = bench_random (&random) >> (left < 8 ? 32 : 0);
	sink = runs[how](key_bytes, keys / 8 + 1, chained, key); /* warm */
	bench_watch_t start = bench_start ();
	sink = runs[how](key_bytes, keys, chained, key);
	*cost = bench_stop (start, keys);
	(void) sink;
	return MVT_OK;
}

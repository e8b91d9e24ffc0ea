/* SPDX-License-Identifier: Apache-2.0
 *
 * Two-level bitmaps, for random choice among the bits that are set.
 *
 * A map of more than 64 bits is followed by a summary: one bit per word, set while the word is not
 * zero. A random pick in 65,536 bits reads at most 17 summary words and one word, whatever the
 * number of bits that are set. The pick is uniform inside a word; words are found from a random
 * start, so a word behind a gap is likelier: hard to guess, which is what ports need, though not
 * uniform.
 *
 * Private to the core. Zeroed memory is an empty map. Owner thread only.
 */
#ifndef MVT_BITMAP_H
#define MVT_BITMAP_H

#include "mvt_types.h"

/* Words of the bits alone, and with the summary. */
static inline uint32_t
mvt_bitmap_data_words (uint32_t bits)
{
	return (bits + 63) / 64;
}

static inline uint32_t
mvt_bitmap_words (uint32_t bits)
{
	uint32_t n = mvt_bitmap_data_words (bits);
	return n == 1 ? 1 : n + (n + 63) / 64;
}

static inline bool
mvt_bitmap_test (const uint64_t *map, uint32_t i)
{
	return map[i >> 6] >> (i & 63) & 1;
}

/* n: data words of the map, here and below. */
static inline void
mvt_bitmap_set (uint64_t *map, uint32_t n, uint32_t i)
{
	map[i >> 6] |= 1ull << (i & 63);
	if (n > 1)
		map[n + (i >> 12)] |= 1ull << (i >> 6 & 63);
}

static inline void
mvt_bitmap_clear (uint64_t *map, uint32_t n, uint32_t i)
{
	map[i >> 6] &= ~(1ull << (i & 63));
	if (n > 1 && map[i >> 6] == 0)
		map[n + (i >> 12)] &= ~(1ull << (i >> 6 & 63));
}

/* Rebuild the summary after the words were written directly. */
static inline void
mvt_bitmap_summarize (uint64_t *map, uint32_t n)
{
	if (n == 1)
		return;
	for (uint32_t i = 0; i < (n + 63) / 64; i++)
		map[n + i] = 0;
	for (uint32_t i = 0; i < n; i++)
		if (map[i])
			map[n + (i >> 6)] |= 1ull << (i & 63);
}

#define MVT_BYTES(byte) ((byte) *0x0101010101010101ull)

/* Byte i: how many bits are set in bytes 0 to i. In plain C: a builtin may become a libgcc call,
 * and the core depends on none. */
static inline uint64_t
mvt_bits_through (uint64_t x)
{
	x -= x >> 1 & MVT_BYTES (0x55);
	x = (x & MVT_BYTES (0x33)) + (x >> 2 & MVT_BYTES (0x33));
	x = (x + (x >> 4)) & MVT_BYTES (0x0f);
	return MVT_BYTES (x);
}

/* How many bytes of `through` are at most k. => all of them and k are below 128 */
static inline uint32_t
mvt_bytes_up_to (uint64_t through, uint32_t k)
{
	uint64_t up_to = (MVT_BYTES (0x80ull | k) - through) & MVT_BYTES (0x80);
	return (uint32_t) (MVT_BYTES (up_to >> 7) >> 56);
}

/* Position of a bit of a word, each that is set equally likely: the k-th for a random k, its byte
 * first and then the bit inside, all bytes and all bits at once, since a branch on a random number
 * is mispredicted. => word is not 0 */
static inline uint32_t
mvt_bit_random (uint64_t word, uint64_t *seed)
{
	uint64_t through = mvt_bits_through (word);
	uint32_t k = mvt_random_below (seed, (uint32_t) (through >> 56));
	uint32_t at = 8 * mvt_bytes_up_to (through, k);
	uint64_t byte = word >> at & 0xff;

	k -= (uint32_t) (through << 8 >> at) & 0xff;
	/* byte i: bit i of the byte, as 0 or 1 */
	byte = ((MVT_BYTES (byte) & 0x8040201008040201ull) + MVT_BYTES (0x7f)) >> 7 & MVT_BYTES (1);
	return at + mvt_bytes_up_to (MVT_BYTES (byte), k);
}

/* First word that is not zero, at or cyclically after word `from`; MVT_NONE when all are zero.
 * *steps counts the words that were read. */
static inline uint32_t
mvt_bitmap_next_word (const uint64_t *map, uint32_t n, uint32_t from, uint64_t *steps)
{
	uint32_t n_sum = (n + 63) / 64, s = from >> 6;
	uint64_t word;

	if (n == 1)
		return map[0] ? 0 : MVT_NONE;
	word = map[n + s] & ~0ull << (from & 63);
	for (uint32_t i = 0; i <= n_sum; i++)
	{
		++*steps;
		if (word)
			return s << 6 | (uint32_t) __builtin_ctzll (word);
		s = s + 1 == n_sum ? 0 : s + 1;
		word = map[n + s];
	}
	return MVT_NONE;
}

/* First bit that is set, at or cyclically after bit `from`; MVT_NONE when none is. */
static inline uint32_t
mvt_bitmap_next (const uint64_t *map, uint32_t n, uint32_t from, uint64_t *steps)
{
	uint64_t word = map[from >> 6] & ~0ull << (from & 63);
	uint32_t w = from >> 6;

	if (!word)
	{
		w = mvt_bitmap_next_word (map, n, w + 1 < n ? w + 1 : 0, steps);
		if (w == MVT_NONE)
			return MVT_NONE;
		word = map[w];
	}
	return w << 6 | (uint32_t) __builtin_ctzll (word);
}

/* A random bit of those that are set; MVT_NONE when none is. */
static inline uint32_t
mvt_bitmap_random (const uint64_t *map, uint32_t n, uint64_t *seed, uint64_t *steps)
{
	uint32_t from = n == 1 ? 0 : mvt_random_below (seed, n);
	uint32_t w = mvt_bitmap_next_word (map, n, from, steps);

	return w == MVT_NONE ? MVT_NONE : w << 6 | mvt_bit_random (map[w], seed);
}

#endif /* MVT_BITMAP_H */

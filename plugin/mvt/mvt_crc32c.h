/* SPDX-License-Identifier: Apache-2.0
 *
 * CRC32C (Castagnoli, reflected polynomial 0x82f63b78) and the keyed hash built on it.
 *
 * CRC32C is one instruction on x86-64 (SSE4.2) and Armv8. Where the compiler may not assume that
 * instruction, a table gives the same value, so a hash may cross builds: VPP compiles the hot path
 * once per CPU variant and the cold path once, and both meet in one table.
 *
 * CRC is linear over GF(2): keys of one length that collide under one seed collide under every
 * seed, so a secret seed protects nothing. Whoever can choose addresses could fill one bucket. So
 * keys are first mixed with a secret by a keyed 64x64->128 bit multiplication, folded, which is not
 * linear, and only then reduced by CRC32C. All tables of the core hash with mvt_hash_u64 or
 * mvt_hash_words; plain CRC32C is here for benchmarks and tests.
 *
 * 64-bit targets only. Stateless; any thread may call anything here. Cost for an 8-byte key:
 * about 2.6 clocks in a stream of independent keys with the instruction, about 10 with
 * slicing-by-8.
 */
#ifndef MVT_CRC32C_H
#define MVT_CRC32C_H

#include "mvt_types.h"

#if defined(__SSE4_2__) && defined(__x86_64__)
#include <nmmintrin.h>
#define MVT_CRC32C_HARDWARE 1
#elif defined(__ARM_FEATURE_CRC32) && defined(__aarch64__)
#include <arm_acle.h>
#define MVT_CRC32C_HARDWARE 1
#else
#define MVT_CRC32C_HARDWARE 0
#endif

#define MVT_KEY_MAX	  40 /* bytes: the widest field, 320 bits */
#define MVT_KEY_WORDS_MAX (MVT_KEY_MAX / 8)

/* slice k: the CRC of one byte followed by k zero bytes */
extern const uint32_t mvt_crc32c_slice[8][256];

/* The raw register update: CRC of the 8 bytes of `word`, least significant first, from register
 * `crc`. No inversion before or after. The three give the same value; bytewise and slicing are
 * always there, for machines without the instruction, for tests and as the baselines of the
 * benchmark. */
static inline uint32_t
mvt_crc32c_u64_bytewise (uint32_t crc, uint64_t word)
{
	for (int i = 0; i < 8; i++, word >>= 8)
		crc = mvt_crc32c_slice[0][(crc ^ word) & 0xff] ^ (crc >> 8);
	return crc;
}

static inline uint32_t
mvt_crc32c_u64_slicing (uint32_t crc, uint64_t word)
{
	uint64_t x = word ^ crc;
	return mvt_crc32c_slice[7][x & 0xff] ^ mvt_crc32c_slice[6][x >> 8 & 0xff] ^
	       mvt_crc32c_slice[5][x >> 16 & 0xff] ^ mvt_crc32c_slice[4][x >> 24 & 0xff] ^
	       mvt_crc32c_slice[3][x >> 32 & 0xff] ^ mvt_crc32c_slice[2][x >> 40 & 0xff] ^
	       mvt_crc32c_slice[1][x >> 48 & 0xff] ^ mvt_crc32c_slice[0][x >> 56];
}

static inline uint32_t
mvt_crc32c_u64 (uint32_t crc, uint64_t word)
{
#if defined(__SSE4_2__) && defined(__x86_64__)
	return (uint32_t) _mm_crc32_u64 (crc, word);
#elif defined(__ARM_FEATURE_CRC32) && defined(__aarch64__)
	return __crc32cd (crc, word);
#else
	return mvt_crc32c_u64_slicing (crc, word);
#endif
}

/* CRC32C of `size` bytes as RFC 3720 has it (inverted before and after); `crc` is 0 to begin, or
 * the CRC of the bytes before. The variants give the same value. */
uint32_t mvt_crc32c (uint32_t crc, const void *data, size_t size);
uint32_t mvt_crc32c_bytewise (uint32_t crc, const void *data, size_t size);
uint32_t mvt_crc32c_slicing (uint32_t crc, const void *data, size_t size);

/* ---- the keyed hash ---- */

/* Secret of one table: for each 8-byte word of a key its own addend and odd multiplier. */
typedef struct
{
	struct
	{
		uint64_t add, mul;
	} word[MVT_KEY_WORDS_MAX];
} mvt_secret_t;

_Static_assert (sizeof (mvt_secret_t) == 80, "5 words of 16 bytes");

/* Expands 128 bits of the host's entropy. The same seed gives the same secret.
 * => seed is unpredictable for whoever may choose keys; constant only in tests. */
void mvt_secret_init (mvt_secret_t *s, const uint64_t seed[2]);

__extension__ typedef unsigned __int128 mvt_u128_t;

/* The non-linear step: word i of a key under its own part of the secret. */
static inline uint64_t
mvt_mix (uint64_t key, uint64_t add, uint64_t mul)
{
	mvt_u128_t p = (mvt_u128_t) (key ^ add) * mul;
	return (uint64_t) p ^ (uint64_t) (p >> 64);
}

/* Hash of a 64-bit key. */
static inline uint32_t
mvt_hash_u64 (uint64_t key, const mvt_secret_t *s)
{
	return mvt_crc32c_u64 (0, mvt_mix (key, s->word[0].add, s->word[0].mul));
}

/* Hash of a key of n words and a small number that belongs to the key (a prefix length, a class):
 * the tag moves the addend of word 0 by a secret step, so it takes part in the multiplication.
 * The words' multiplications are independent and overlap.
 * => 1 <= n <= MVT_KEY_WORDS_MAX */
static inline uint32_t
mvt_hash_words (const uint64_t *words, unsigned n, uint32_t tag, const mvt_secret_t *s)
{
	uint64_t add = s->word[0].add + tag * s->word[1].mul;
	uint32_t h = mvt_crc32c_u64 (0, mvt_mix (words[0], add, s->word[0].mul));
	for (unsigned i = 1; i < n; i++)
		h = mvt_crc32c_u64 (h, mvt_mix (words[i], s->word[i].add, s->word[i].mul));
	return h;
}

/* Hash of a key of `size` bytes; keys of different sizes are different keys.
 * => size <= MVT_KEY_MAX */
uint32_t mvt_hash_bytes (const void *key, size_t size, const mvt_secret_t *s);

#endif /* MVT_CRC32C_H */

/* SPDX-License-Identifier: Apache-2.0 */
#include "mvt_crc32c.h"

/* CRC is linear, so 8 constants per slice span its 256 entries: entry i of slice k is the sum of
 * the CRCs of the single bits of i followed by k zero bytes. The compiler does the sums. */
/* clang-format off: version 15 takes (i) & 1 for a cast */
#define BIT(i, n, crc) (((i) >> (n)) % 2 ? crc##u : 0)
#define BITS(i, b0, b1, b2, b3, b4, b5, b6, b7)                                               \
	(BIT (i, 0, b0) ^ BIT (i, 1, b1) ^ BIT (i, 2, b2) ^ BIT (i, 3, b3) ^ BIT (i, 4, b4) ^ \
	 BIT (i, 5, b5) ^ BIT (i, 6, b6) ^ BIT (i, 7, b7))
#define SLICE_0(i)                                                                       \
	BITS (i, 0xf26b8303, 0xe13b70f7, 0xc79a971f, 0x8ad958cf, 0x105ec76f, 0x20bd8ede, \
	      0x417b1dbc, 0x82f63b78)
#define SLICE_1(i)                                                                       \
	BITS (i, 0x13a29877, 0x274530ee, 0x4e8a61dc, 0x9d14c3b8, 0x3fc5f181, 0x7f8be302, \
	      0xff17c604, 0xfbc3faf9)
#define SLICE_2(i)                                                                       \
	BITS (i, 0xa541927e, 0x4f6f520d, 0x9edea41a, 0x38513ec5, 0x70a27d8a, 0xe144fb14, \
	      0xc76580d9, 0x8b277743)
#define SLICE_3(i)                                                                       \
	BITS (i, 0xdd45aab8, 0xbf672381, 0x7b2231f3, 0xf64463e6, 0xe964b13d, 0xd725148b, \
	      0xaba65fe7, 0x52a0c93f)
#define SLICE_4(i)                                                                       \
	BITS (i, 0x38116fac, 0x7022df58, 0xe045beb0, 0xc5670b91, 0x8f2261d3, 0x1ba8b557, \
	      0x37516aae, 0x6ea2d55c)
#define SLICE_5(i)                                                                       \
	BITS (i, 0xef306b19, 0xdb8ca0c3, 0xb2f53777, 0x6006181f, 0xc00c303e, 0x85f4168d, \
	      0x0e045beb, 0x1c08b7d6)
#define SLICE_6(i)                                                                       \
	BITS (i, 0x68032cc8, 0xd0065990, 0xa5e0c5d1, 0x4e2dfd53, 0x9c5bfaa6, 0x3d5b83bd, \
	      0x7ab7077a, 0xf56e0ef4)
#define SLICE_7(i)                                                                       \
	BITS (i, 0x493c7d27, 0x9278fa4e, 0x211d826d, 0x423b04da, 0x847609b4, 0x0d006599, \
	      0x1a00cb32, 0x34019664)

#define ROW4(f, i)  f (i), f ((i) + 1), f ((i) + 2), f ((i) + 3)
#define ROW16(f, i) ROW4 (f, i), ROW4 (f, (i) + 4), ROW4 (f, (i) + 8), ROW4 (f, (i) + 12)
#define ROW64(f, i) ROW16 (f, i), ROW16 (f, (i) + 16), ROW16 (f, (i) + 32), ROW16 (f, (i) + 48)
#define ROW256(f)                                                           \
	{                                                                   \
		ROW64 (f, 0), ROW64 (f, 64), ROW64 (f, 128), ROW64 (f, 192) \
	}

const uint32_t mvt_crc32c_slice[8][256] = {
	ROW256 (SLICE_0), ROW256 (SLICE_1), ROW256 (SLICE_2), ROW256 (SLICE_3),
	ROW256 (SLICE_4), ROW256 (SLICE_5), ROW256 (SLICE_6), ROW256 (SLICE_7),
};
/* clang-format on */

static inline uint64_t
load_le (const uint8_t *p, size_t n)
{
	uint64_t w = 0;
	for (size_t i = 0; i < n; i++)
		w |= (uint64_t) p[i] << (8 * i);
	return w;
}

static inline uint64_t
load_le64 (const uint8_t *p)
{
	uint64_t w;
	__builtin_memcpy (&w, p, 8);
	return w;
}

/* One loop for all variants; `step` is constant in each caller, so it is inlined. */
static inline __attribute__ ((always_inline)) uint32_t
crc_bytes (uint32_t crc, const void *data, size_t size, uint32_t (*step) (uint32_t, uint64_t))
{
	const uint8_t *p = data;
	crc = ~crc;
	for (; size >= 8; size -= 8, p += 8)
		crc = step (crc, load_le64 (p));
	for (; size; size--, p++)
		crc = mvt_crc32c_slice[0][(crc ^ *p) & 0xff] ^ (crc >> 8);
	return ~crc;
}

uint32_t
mvt_crc32c (uint32_t crc, const void *data, size_t size)
{
	return crc_bytes (crc, data, size, mvt_crc32c_u64);
}

uint32_t
mvt_crc32c_bytewise (uint32_t crc, const void *data, size_t size)
{
	return crc_bytes (crc, data, size, mvt_crc32c_u64_bytewise);
}

uint32_t
mvt_crc32c_slicing (uint32_t crc, const void *data, size_t size)
{
	return crc_bytes (crc, data, size, mvt_crc32c_u64_slicing);
}

static uint64_t
splitmix64 (uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ull;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

void
mvt_secret_init (mvt_secret_t *s, const uint64_t seed[2])
{
	uint64_t add = seed[0], mul = ~seed[1]; /* equal halves still give two streams */
	for (unsigned i = 0; i < MVT_KEY_WORDS_MAX; i++)
	{
		s->word[i].add = splitmix64 (&add);
		/* a multiplier with few bits mixes little: about half of them must be set */
		do
			s->word[i].mul = splitmix64 (&mul) | 1;
		while (__builtin_popcountll (s->word[i].mul) < 24 ||
		       __builtin_popcountll (s->word[i].mul) > 40);
	}
}

uint32_t
mvt_hash_bytes (const void *key, size_t size, const mvt_secret_t *s)
{
	uint64_t words[MVT_KEY_WORDS_MAX] = { 0 };
	const uint8_t *p = key;
	unsigned n = 0;
	for (size_t left = size; left; n++)
	{
		size_t step = left < 8 ? left : 8;
		words[n] = step == 8 ? load_le64 (p) : load_le (p, step);
		p += step;
		left -= step;
	}
	return mvt_hash_words (words, n ? n : 1, (uint32_t) size, s);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * mvt_buckets_t: 32-bit hash -> u32 row, in buckets of one cache line. What the match-value table
 * (mvt_table.h) and the in2out index (mvt_index.h) have in common. It stores no keys: a find gives
 * candidates, and the caller compares the key that lies in its own row.
 *
 * Layout. A bucket holds 8 slots: 16-bit tags (compared in one instruction), rows, and 16 bytes of
 * control. An entry lies in its primary bucket; only when that is full in its alternate one, after
 * moving at most one other entry, or at last in a small stash. The primary bucket counts what lies
 * elsewhere, so a miss costs one line where that count is 0. No place left: MVT_ERR_FULL, counted.
 * So a probe is bounded whatever keys come.
 *
 * Hash recovery. The bucket's number and the 24 low hash bits in the slot are the whole hash, so
 * growth and displacement never touch the caller's rows.
 *
 * Growth. Buckets are addressed by the top of the hash (hash * count >> 32), so doubling sends
 * bucket b to 2b and 2b+1. Going down from the last bucket this works within one array: the old
 * buckets below `split` and the new ones from 2*split up lie side by side, never on each other.
 * Each insert moves two buckets, mvt_buckets_maintain as many as it is told. After the split a
 * second pass brings entries home from their alternates and counts the overflow afresh. All
 * memory is reserved at creation for the largest size and backed before the array doubles.
 *
 * Owner thread only; const functions may run in many threads while nobody writes. Cost: 64 bytes
 * for 6.2 entries at full size, 10.3 bytes each.
 */
#ifndef MVT_BUCKETS_H
#define MVT_BUCKETS_H

#include "mvt_backed.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__ARM_NEON) && defined(__aarch64__)
#include <arm_neon.h>
#endif

#define MVT_BUCKET_SLOTS     8
#define MVT_BUCKETS_MIN	     256 /* hash recovery needs 8 bits from the bucket's number */
#define MVT_BUCKETS_STASH    32
#define MVT_BUCKETS_MAX_ROWS (1u << 28)

typedef struct
{
	uint16_t tag[MVT_BUCKET_SLOTS]; /* hash bits 0..15 */
	uint32_t row[MVT_BUCKET_SLOTS];
	uint8_t ext[MVT_BUCKET_SLOTS]; /* hash bits 16..23 */
	uint8_t used;		       /* bit per slot */
	uint8_t alt;		       /* bit per slot: this is the entry's alternate bucket */
	/* entries whose primary bucket this is and that lie elsewhere: [live] what finds read, an
	 * upper bound while growing; [!live] the new count that the second pass builds */
	uint16_t overflow[2];
	uint16_t unused;
} mvt_bucket_t;

_Static_assert (sizeof (mvt_bucket_t) == MVT_CACHE_LINE, "a bucket is one cache line");

typedef struct
{
	mvt_bucket_t *bucket;
	uint32_t n;	 /* buckets, the new number while splitting */
	uint32_t split;	 /* buckets of the old number that are still to be split; 0: none */
	uint32_t settle; /* second pass has done the buckets below; n: it is not running */
	uint32_t live;	 /* index of the overflow count in force, 0 or 1 */
	uint32_t count;	 /* entries */
	uint32_t max;	 /* entries, never more */
	uint32_t n_max;	 /* buckets at full size */
	uint32_t stash_n;
	uint32_t stash_hash[MVT_BUCKETS_STASH];
	uint32_t stash_row[MVT_BUCKETS_STASH];
	uint64_t refused;   /* inserts that ended in MVT_ERR_FULL */
	uint64_t displaced; /* entries moved to make room */
	uint64_t stashed;   /* inserts that went to the stash */
	uint64_t grown;	    /* doublings begun */
	mvt_backed_t backed;
} mvt_buckets_t;

/* Creates room for up to max_rows entries in *b. MVT_ERR_INVALID when max_rows is 0 or above
 * MVT_BUCKETS_MAX_ROWS, MVT_ERR_NO_MEMORY. The memory is the host's until mvt_buckets_exit. */
int mvt_buckets_init (mvt_buckets_t *b, uint32_t max_rows, const mvt_mem_t *mem);
void mvt_buckets_exit (mvt_buckets_t *b, const mvt_mem_t *mem);

/* Bytes that mvt_buckets_init reserves for max_rows entries. */
size_t mvt_buckets_footprint (uint32_t max_rows);

/* Adds <hash, row>; several rows may have one hash. 0 or MVT_ERR_FULL, which changes nothing
 * that a find could see. => the pair is not there yet */
int mvt_buckets_insert (mvt_buckets_t *b, uint32_t hash, uint32_t row);

/* Removes <hash, row>. 0 or MVT_ERR_NOT_FOUND. */
int mvt_buckets_delete (mvt_buckets_t *b, uint32_t hash, uint32_t row);

/* Goes on with a growth under way, by at most `buckets` buckets. */
void mvt_buckets_maintain (mvt_buckets_t *b, uint32_t buckets);

/* Between batches: a step towards memory for the next doubling, true if it took one. */
bool mvt_buckets_back_ahead (mvt_buckets_t *b);

static inline bool
mvt_buckets_growing (const mvt_buckets_t *b)
{
	return b->split || b->settle < b->n;
}

/* For tests: checks every invariant and calls hash_of for every row, which must give the hash that
 * the row was inserted with. 0, or the number of the check that failed, negative. */
int mvt_buckets_verify (const mvt_buckets_t *b, uint32_t (*hash_of) (const void *ctx, uint32_t row),
			const void *ctx);

/* ---- hot path ---- */

/* Bucket of a hash, in the old array or the new one, whichever holds it now. */
static inline uint32_t
mvt_buckets_place (const mvt_buckets_t *b, uint32_t hash)
{
	uint32_t p = (uint32_t) (((uint64_t) hash * b->n) >> 32);
	if (mvt_likely (!b->split))
		return p;
	return p >> ((p >> 1) < b->split);
}

/* The other hash of an entry; its bucket is the alternate. An involution that keeps the tag, so
 * either of the two gives the other. */
static inline uint32_t
mvt_buckets_other (uint32_t hash)
{
	return hash ^ (((hash & 0xffff) * 0x9e3779b1u | 0x10000u) & 0xffff0000u);
}

/* always_inline: gcc takes a function that only prefetches for pure and drops calls to it */
static inline __attribute__ ((always_inline)) void
mvt_buckets_prefetch (const mvt_buckets_t *b, uint32_t hash)
{
	__builtin_prefetch (&b->bucket[mvt_buckets_place (b, hash)]);
}

/* Bit per slot of *bucket whose tag is that of hash. The portable one is for other CPUs, and for
 * the test that compares the two. */
static inline uint32_t
mvt_bucket_match_portable (const mvt_bucket_t *bucket, uint32_t hash)
{
	uint32_t mask = 0;
	for (unsigned i = 0; i < MVT_BUCKET_SLOTS; i++)
		mask |= (uint32_t) (bucket->tag[i] == (uint16_t) hash) << i;
	return mask & bucket->used;
}

static inline uint32_t
mvt_bucket_match (const mvt_bucket_t *bucket, uint32_t hash)
{
#if defined(__SSE2__)
	__m128i tags = _mm_loadu_si128 ((const __m128i *) (const void *) bucket->tag);
	__m128i eq = _mm_cmpeq_epi16 (tags, _mm_set1_epi16 ((short) (uint16_t) hash));
	uint32_t mask = (uint32_t) _mm_movemask_epi8 (_mm_packs_epi16 (eq, _mm_setzero_si128 ()));
	return mask & bucket->used;
#elif defined(__ARM_NEON) && defined(__aarch64__)
	static const uint16_t bits[MVT_BUCKET_SLOTS] = { 1, 2, 4, 8, 16, 32, 64, 128 };
	uint16x8_t eq = vceqq_u16 (vld1q_u16 (bucket->tag), vdupq_n_u16 ((uint16_t) hash));
	return (uint32_t) vaddvq_u16 (vandq_u16 (eq, vld1q_u16 (bits))) & bucket->used;
#else
	return mvt_bucket_match_portable (bucket, hash);
#endif
}

/* True with the first row in a bucket whose tag fits, not verified: it may even be the row of a
 * slot that is no longer used, one that a find once gave. False when none fits. */
static inline __attribute__ ((always_inline)) bool
mvt_bucket_first (const mvt_bucket_t *bucket, uint32_t hash, uint32_t *row)
{
#if defined(__SSE2__)
	__m128i tags = _mm_loadu_si128 ((const __m128i *) (const void *) bucket->tag);
	__m128i eq = _mm_cmpeq_epi16 (tags, _mm_set1_epi16 ((short) (uint16_t) hash));
	uint32_t mask = (uint32_t) _mm_movemask_epi8 (eq); /* two bits per slot */
	if (mvt_unlikely (!mask))
		return false;
	size_t at = 2 * (size_t) (uint32_t) __builtin_ctz (mask);
	__builtin_memcpy (row, (const uint8_t *) bucket->row + at, sizeof *row);
	return true;
#else
	uint32_t mask = mvt_bucket_match (bucket, hash);
	if (mvt_unlikely (!mask))
		return false;
	*row = bucket->row[__builtin_ctz (mask)];
	return true;
#endif
}

/* For prefetching: the row in the primary bucket that is likeliest to be the one, not verified.
 * MVT_NONE does not mean a miss. */
static inline uint32_t
mvt_buckets_candidate (const mvt_buckets_t *b, uint32_t hash)
{
	uint32_t row;
	return mvt_bucket_first (&b->bucket[mvt_buckets_place (b, hash)], hash, &row) ? row
										      : MVT_NONE;
}

typedef bool (*mvt_buckets_test_t) (const void *ctx, uint32_t row);

static inline __attribute__ ((always_inline)) uint32_t
mvt_bucket_find (const mvt_bucket_t *bucket, uint32_t hash, mvt_buckets_test_t test,
		 const void *ctx)
{
	for (uint32_t mask = mvt_bucket_match (bucket, hash); mask; mask &= mask - 1)
	{
		uint32_t row = bucket->row[__builtin_ctz (mask)];
		if (mvt_likely (test (ctx, row)))
			return row;
	}
	return MVT_NONE;
}

/* First row that may have this hash and for which `test` is true, or MVT_NONE. `test` compares
 * keys; it is a constant in every caller and so compiled in. */
static inline __attribute__ ((always_inline)) uint32_t
mvt_buckets_find (const mvt_buckets_t *b, uint32_t hash, mvt_buckets_test_t test, const void *ctx)
{
	const mvt_bucket_t *bucket = &b->bucket[mvt_buckets_place (b, hash)];
	uint32_t row = mvt_bucket_find (bucket, hash, test, ctx);
	if (mvt_likely (row != MVT_NONE || !bucket->overflow[b->live]))
		return row;
	uint32_t other = mvt_buckets_other (hash);
	row = mvt_bucket_find (&b->bucket[mvt_buckets_place (b, other)], other, test, ctx);
	for (uint32_t i = 0; i < b->stash_n && row == MVT_NONE; i++)
		if (b->stash_hash[i] == hash && test (ctx, b->stash_row[i]))
			row = b->stash_row[i];
	return row;
}

#endif /* MVT_BUCKETS_H */

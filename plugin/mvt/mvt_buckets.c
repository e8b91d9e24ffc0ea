/* SPDX-License-Identifier: Apache-2.0 */
#include "mvt_buckets.h"

/* Entries per bucket at which the array doubles: load 0.75. At full size it is left to fill up
 * to max, 6.2 per bucket (load 0.78), where one displacement and the stash still place all. */
#define GROW_AT		 6
#define FULL_PER_10	 62
#define STEPS_PER_INSERT 2

/* Low bits of the hash that a slot keeps; the bucket's number gives the rest. */
#define SLOT_BITS 24

/* ---- one slot ---- */

static uint32_t
first_free (const mvt_bucket_t *k)
{
	return k->used == 0xff ? MVT_BUCKET_SLOTS : (uint32_t) __builtin_ctz (~(uint32_t) k->used);
}

/* hash: the one whose bucket this is, so the other one of the entry when alt. */
static void
slot_fill (mvt_bucket_t *k, uint32_t slot, uint32_t hash, uint32_t row, bool alt)
{
	k->tag[slot] = (uint16_t) hash;
	k->ext[slot] = (uint8_t) (hash >> 16);
	k->row[slot] = row;
	k->used = (uint8_t) (k->used | 1u << slot);
	k->alt = (uint8_t) ((k->alt & ~(1u << slot)) | (uint32_t) alt << slot);
}

static void
slot_clear (mvt_bucket_t *k, uint32_t slot)
{
	k->used = (uint8_t) (k->used & ~(1u << slot));
	k->alt = (uint8_t) (k->alt & ~(1u << slot));
}

/* The one hash of bucket p (of n in all) whose low bits are in the slot: a bucket covers at most
 * 2^24 consecutive hashes because n >= 256. */
static uint32_t
slot_hash_in (const mvt_bucket_t *k, uint32_t slot, uint32_t p, uint32_t n)
{
	uint64_t low = (((uint64_t) p << 32) + n - 1) / n;
	uint64_t h = (low >> SLOT_BITS << SLOT_BITS) | (uint64_t) k->ext[slot] << 16 | k->tag[slot];
	return (uint32_t) (h < low ? h + (1u << SLOT_BITS) : h);
}

static uint32_t
slot_hash (const mvt_buckets_t *b, uint32_t p, uint32_t slot)
{
	return slot_hash_in (&b->bucket[p], slot, p, p < b->split ? b->n / 2 : b->n);
}

/* ---- overflow counts ---- */

static mvt_bucket_t *
bucket_of (const mvt_buckets_t *b, uint32_t hash)
{
	return &b->bucket[mvt_buckets_place (b, hash)];
}

/* An entry with this primary hash came to (+1) or left (-1) alternate bucket `at`, or the stash
 * (MVT_NONE). The second pass has counted what lies below `settle`; the stash it counts last. */
static void
overflow_add (mvt_buckets_t *b, uint32_t hash, uint32_t at, int delta)
{
	mvt_bucket_t *k = bucket_of (b, hash);
	k->overflow[b->live] = (uint16_t) (k->overflow[b->live] + delta);
	if (!b->split && b->settle < b->n && at < b->settle)
		k->overflow[!b->live] = (uint16_t) (k->overflow[!b->live] + delta);
}

static void
stash_remove (mvt_buckets_t *b, uint32_t i)
{
	b->stash_n--;
	b->stash_hash[i] = b->stash_hash[b->stash_n];
	b->stash_row[i] = b->stash_row[b->stash_n];
}

/* ---- growth ---- */

/* Old bucket p becomes new 2p and 2p+1. Both inherit the overflow count: which child the strays
 * belong to is not known here, and too many only costs a probe. */
static void
split_one (mvt_buckets_t *b)
{
	uint32_t p = b->split - 1, n_old = b->n / 2;
	mvt_bucket_t old = b->bucket[p];
	mvt_bucket_t *child = &b->bucket[2 * (size_t) p];
	uint32_t fill[2] = { 0, 0 };

	__builtin_memset (child, 0, 2 * sizeof *child);
	for (uint32_t used = old.used; used; used &= used - 1)
	{
		uint32_t slot = (uint32_t) __builtin_ctz (used);
		uint32_t hash = slot_hash_in (&old, slot, p, n_old);
		uint32_t side = (uint32_t) (((uint64_t) hash * b->n) >> 32) & 1;
		slot_fill (&child[side], fill[side]++, hash, old.row[slot], old.alt >> slot & 1);
	}
	child[0].overflow[b->live] = child[1].overflow[b->live] = old.overflow[b->live];
	b->split = p;
	if (!p)
		b->settle = 0;
}

static bool
go_home (mvt_buckets_t *b, uint32_t hash, uint32_t row)
{
	mvt_bucket_t *k = bucket_of (b, hash);
	uint32_t slot = first_free (k);
	if (slot == MVT_BUCKET_SLOTS)
		return false;
	slot_fill (k, slot, hash, row, false);
	k->overflow[b->live]--;
	return true;
}

static void
settle_one (mvt_buckets_t *b)
{
	uint32_t p = b->settle;
	mvt_bucket_t *k = &b->bucket[p];
	for (uint32_t alt = k->alt; alt; alt &= alt - 1)
	{
		uint32_t slot = (uint32_t) __builtin_ctz (alt);
		uint32_t hash = mvt_buckets_other (slot_hash (b, p, slot));
		/* its own bucket cannot be this one: then it would not be an alternate */
		if (go_home (b, hash, k->row[slot]))
			slot_clear (k, slot);
		else
			bucket_of (b, hash)->overflow[!b->live]++;
	}
	if (++b->settle < b->n)
		return;
	for (uint32_t i = b->stash_n; i-- > 0;)
		if (go_home (b, b->stash_hash[i], b->stash_row[i]))
			stash_remove (b, i);
		else
			bucket_of (b, b->stash_hash[i])->overflow[!b->live]++;
	b->live = !b->live;
}

static void
maybe_grow (mvt_buckets_t *b)
{
	if (b->n >= b->n_max || b->count < b->n * GROW_AT || mvt_buckets_growing (b))
		return;
	b->split = b->n;
	b->n *= 2;
	mvt_backed_need (&b->backed, b->n * sizeof (mvt_bucket_t));
	b->settle = b->n;
	b->grown++;
}

/* From half of the entries on that make it double there are batches enough for all steps. */
bool
mvt_buckets_back_ahead (mvt_buckets_t *b)
{
	size_t used = b->n * sizeof (mvt_bucket_t);
	if (b->n >= b->n_max || b->count < b->n * (GROW_AT / 2))
		return false;
	return mvt_backed_ahead (&b->backed, used, used);
}

void
mvt_buckets_maintain (mvt_buckets_t *b, uint32_t buckets)
{
	for (; buckets && mvt_buckets_growing (b); buckets--)
		if (b->split)
			split_one (b);
		else
			settle_one (b);
}

/* ---- creation ---- */

/* n_max is n << k for some 256 <= n < 512, so that doubling ends exactly there. */
static uint32_t
full_size (uint32_t max_rows, uint32_t *first)
{
	uint32_t n = (uint32_t) (((uint64_t) max_rows * 10 + FULL_PER_10 - 1) / FULL_PER_10);
	uint32_t k = 0;
	if (n < MVT_BUCKETS_MIN)
		n = MVT_BUCKETS_MIN;
	while ((n >> k) >= 2 * MVT_BUCKETS_MIN)
		k++;
	*first = (n + (1u << k) - 1) >> k;
	return *first << k;
}

size_t
mvt_buckets_footprint (uint32_t max_rows)
{
	uint32_t first;
	return (size_t) full_size (max_rows, &first) * sizeof (mvt_bucket_t);
}

int
mvt_buckets_init (mvt_buckets_t *b, uint32_t max_rows, const mvt_mem_t *mem)
{
	__builtin_memset (b, 0, sizeof *b);
	if (!max_rows || max_rows > MVT_BUCKETS_MAX_ROWS)
		return MVT_ERR_INVALID;
	b->max = max_rows;
	b->n_max = full_size (max_rows, &b->n);
	b->settle = b->n;
	size_t size = mvt_buckets_footprint (max_rows);
	b->bucket = mvt_mem_reserve (mem, size, MVT_CACHE_LINE, true);
	if (!b->bucket)
		return MVT_ERR_NO_MEMORY;
	mvt_backed_init (&b->backed, b->bucket, size, mem);
	mvt_backed_need (&b->backed, b->n * sizeof (mvt_bucket_t));
	return MVT_OK;
}

void
mvt_buckets_exit (mvt_buckets_t *b, const mvt_mem_t *mem)
{
	mvt_mem_free (mem, b->bucket, (size_t) b->n_max * sizeof (mvt_bucket_t));
	b->bucket = NULL;
}

/* ---- insert and delete ---- */

/* Moves one entry out of full bucket p to its other bucket. The freed slot, or MVT_BUCKET_SLOTS
 * when every other bucket is full too. */
static uint32_t
displace (mvt_buckets_t *b, uint32_t p)
{
	mvt_bucket_t *k = &b->bucket[p];
	for (uint32_t slot = 0; slot < MVT_BUCKET_SLOTS; slot++)
	{
		uint32_t here = slot_hash (b, p, slot);
		uint32_t there = mvt_buckets_other (here);
		uint32_t q = mvt_buckets_place (b, there);
		uint32_t to = first_free (&b->bucket[q]);
		if (to == MVT_BUCKET_SLOTS)
			continue;
		bool was_alt = k->alt >> slot & 1;
		slot_fill (&b->bucket[q], to, there, k->row[slot], !was_alt);
		slot_clear (k, slot);
		if (was_alt)
			overflow_add (b, there, p, -1);
		else
			overflow_add (b, here, q, +1);
		b->displaced++;
		return slot;
	}
	return MVT_BUCKET_SLOTS;
}

static bool
insert_at (mvt_buckets_t *b, uint32_t hash, uint32_t row, bool alt, bool may_displace)
{
	uint32_t here = alt ? mvt_buckets_other (hash) : hash;
	uint32_t p = mvt_buckets_place (b, here);
	uint32_t slot = first_free (&b->bucket[p]);
	if (slot == MVT_BUCKET_SLOTS && may_displace)
		slot = displace (b, p);
	if (slot == MVT_BUCKET_SLOTS)
		return false;
	slot_fill (&b->bucket[p], slot, here, row, alt);
	if (alt)
		overflow_add (b, hash, p, +1);
	return true;
}

int
mvt_buckets_insert (mvt_buckets_t *b, uint32_t hash, uint32_t row)
{
	if (mvt_unlikely (mvt_buckets_growing (b)))
		mvt_buckets_maintain (b, STEPS_PER_INSERT);
	if (b->count >= b->max)
		goto full;
	if (!insert_at (b, hash, row, false, false) && !insert_at (b, hash, row, true, false) &&
	    !insert_at (b, hash, row, false, true) && !insert_at (b, hash, row, true, true))
	{
		if (b->stash_n == MVT_BUCKETS_STASH)
			goto full;
		b->stash_hash[b->stash_n] = hash;
		b->stash_row[b->stash_n++] = row;
		overflow_add (b, hash, MVT_NONE, +1);
		b->stashed++;
	}
	b->count++;
	maybe_grow (b);
	return MVT_OK;
full:
	b->refused++;
	return MVT_ERR_FULL;
}

static bool
delete_at (mvt_buckets_t *b, uint32_t hash, uint32_t row, bool alt)
{
	uint32_t here = alt ? mvt_buckets_other (hash) : hash;
	uint32_t p = mvt_buckets_place (b, here);
	mvt_bucket_t *k = &b->bucket[p];
	for (uint32_t mask = mvt_bucket_match (k, here); mask; mask &= mask - 1)
	{
		uint32_t slot = (uint32_t) __builtin_ctz (mask);
		if (k->row[slot] != row || (k->alt >> slot & 1) != alt)
			continue;
		slot_clear (k, slot);
		if (alt)
			overflow_add (b, hash, p, -1);
		return true;
	}
	return false;
}

int
mvt_buckets_delete (mvt_buckets_t *b, uint32_t hash, uint32_t row)
{
	bool done = delete_at (b, hash, row, false) || delete_at (b, hash, row, true);
	for (uint32_t i = 0; i < b->stash_n && !done; i++)
		if (b->stash_hash[i] == hash && b->stash_row[i] == row)
		{
			stash_remove (b, i);
			overflow_add (b, hash, MVT_NONE, -1);
			done = true;
		}
	if (!done)
		return MVT_ERR_NOT_FOUND;
	b->count--;
	return MVT_OK;
}

/* ---- verify ---- */

static bool
same_row (const void *ctx, uint32_t row)
{
	return row == *(const uint32_t *) ctx;
}

/* That no single overflow count is too small follows from finding every entry; that none is too
 * large, from the sum over all. */
int
mvt_buckets_verify (const mvt_buckets_t *b, uint32_t (*hash_of) (const void *ctx, uint32_t row),
		    const void *ctx)
{
	uint64_t count = b->stash_n, strays = b->stash_n, overflow = 0;
	for (uint32_t p = 0; p < b->n; p++)
	{
		const mvt_bucket_t *k = &b->bucket[p];
		if (p >= b->split && p < 2 * b->split)
			continue; /* between the old and the new part: unreachable */
		if (k->alt & ~k->used)
			return -1;
		overflow += k->overflow[b->live];
		for (uint32_t used = k->used; used; used &= used - 1)
		{
			uint32_t slot = (uint32_t) __builtin_ctz (used);
			bool alt = k->alt >> slot & 1;
			uint32_t here = slot_hash (b, p, slot);
			uint32_t hash = alt ? mvt_buckets_other (here) : here;
			if (mvt_buckets_place (b, here) != p)
				return -2;
			if (hash_of (ctx, k->row[slot]) != hash)
				return -3;
			if (alt && !bucket_of (b, hash)->overflow[b->live])
				return -4;
			if (mvt_buckets_find (b, hash, same_row, &k->row[slot]) == MVT_NONE)
				return -5;
			count++;
			strays += alt;
		}
	}
	for (uint32_t i = 0; i < b->stash_n; i++)
		if (hash_of (ctx, b->stash_row[i]) != b->stash_hash[i] ||
		    !bucket_of (b, b->stash_hash[i])->overflow[b->live])
			return -6;
	if (count != b->count)
		return -7;
	if (overflow < strays || (!mvt_buckets_growing (b) && overflow != strays))
		return -8;
	return 0;
}

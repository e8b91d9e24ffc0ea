/* SPDX-License-Identifier: Apache-2.0 */
#include "mvt_table_private.h"

/* Fields of a batch that are in flight at once: more than a core has line fill buffers, few enough
 * for the stack. */
#define STAGE 64

/* ---- DEFAULT mode ---- */

typedef struct
{
	const mvt_t *t;
	const mvt_key_t *masked;
	uint32_t len, now;
} match_ctx_t;

static inline bool
match_equal (const void *ctx, uint32_t row)
{
	const match_ctx_t *m = ctx;
	return mvt_row_is (m->t, row, m->masked, m->len) &&
	       mvt_row_live (mvt_row (m->t, row), m->now);
}

static inline const uint32_t *
length_bits (const mvt_t *t, uint32_t slot)
{
	return &t->lengths.bits[slot * t->lengths.stride];
}

static inline uint32_t
find_default_route (const mvt_t *t, uint32_t now)
{
	uint32_t row = t->default_row;
	return row != MVT_NONE && mvt_row_live (mvt_row (t, row), now) ? row : MVT_NONE;
}

/* A few lengths at a time: their hashes first, so that the multiplications, CRCs and bucket lines
 * of all of them are under way before the first is compared. */
static uint32_t
find_wide (const mvt_t *t, const mvt_key_t *key, uint32_t now)
{
	const uint32_t *bits = length_bits (t, mvt_key_slot (key));
	uint32_t limit = t->config.field_bits + 1;
	for (;;)
	{
		mvt_key_t masked[MVT_AHEAD];
		uint32_t len[MVT_AHEAD], hash[MVT_AHEAD], n = 0;
		while (n < MVT_AHEAD && (len[n] = mvt_lengths_below (bits, limit)))
		{
			limit = len[n];
			mvt_key_mask (&masked[n], key, limit, t->words);
			hash[n] = mvt_prefix_hash (t, &masked[n], limit);
			mvt_buckets_prefetch (&t->buckets, hash[n]);
			n++;
		}
		for (uint32_t i = 0; i < n; i++)
		{
			match_ctx_t m = { t, &masked[i], len[i], now };
			uint32_t row = mvt_buckets_find (&t->buckets, hash[i], match_equal, &m);
			if (row != MVT_NONE)
				return row;
		}
		if (n < MVT_AHEAD)
			return find_default_route (t, now);
	}
}

/* The same for 32-bit fields, whose lengths fit one word. */
typedef struct
{
	const mvt_t *t;
	uint32_t masked, len, now;
} match4_ctx_t;

static inline bool
match4_equal (const void *ctx, uint32_t row)
{
	const match4_ctx_t *m = ctx;
	const mvt_value_t *v = mvt_row (m->t, row);
	return v->len == m->len && mvt_load32 ((const uint8_t *) (v + 1)) == m->masked &&
	       mvt_row_live (v, m->now);
}

static inline uint32_t
longest4 (uint32_t bits)
{
	return 32 - (uint32_t) __builtin_clz (bits);
}

/* `bits`: the lengths that are still to be probed. */
static inline uint32_t
find4_from (const mvt_t *t, uint32_t addr, uint32_t bits, uint32_t now)
{
	while (bits)
	{
		uint32_t len[MVT_AHEAD], hash[MVT_AHEAD], n = 0;
		for (; n < MVT_AHEAD && bits; n++)
		{
			len[n] = longest4 (bits);
			bits ^= 1u << (len[n] - 1);
			hash[n] = mvt_prefix_hash4 (t, addr & mvt_mask32 (len[n]), len[n]);
			mvt_buckets_prefetch (&t->buckets, hash[n]);
		}
		for (uint32_t i = 0; i < n; i++)
		{
			match4_ctx_t m = { t, addr & mvt_mask32 (len[i]), len[i], now };
			uint32_t row = mvt_buckets_find (&t->buckets, hash[i], match4_equal, &m);
			if (row != MVT_NONE)
				return row;
		}
	}
	return find_default_route (t, now);
}

/* Most lookups end with one of the longest lengths, in the first bucket looked at. This answers
 * them without a branch that depends on which one it is: a wrong guess would throw away the next
 * lookups, whose lines the CPU has asked for meanwhile. Whatever is not plain goes the long way. */
static inline uint32_t
find4_default (const mvt_t *t, uint32_t addr, uint32_t now)
{
	uint32_t bits = t->lengths.bits[addr >> 16], rest = bits;
	uint32_t len = 0, slot = 0;
	const mvt_bucket_t *found = NULL;
	bool plain = true;

	if (mvt_unlikely (!bits))
		return find_default_route (t, now);
	for (uint32_t i = 0; i < MVT_AHEAD; i++)
	{
		uint32_t l = longest4 (rest), more = rest ^ 1u << (l - 1);
		uint32_t hash = mvt_prefix_hash4 (t, addr & mvt_mask32 (l), l);
		const mvt_bucket_t *b = &t->buckets.bucket[mvt_buckets_place (&t->buckets, hash)];
		uint32_t match = mvt_bucket_match (b, hash);
		bool take = !found & (match != 0);
		len = take ? l : len;
		slot = take ? (uint32_t) __builtin_ctz (match | 1u << 8) : slot;
		/* this length may lie in its alternate bucket */
		plain &= (found != NULL) | (match != 0) | !b->overflow[t->buckets.live];
		found = take ? b : found;
		rest = more ? more : rest;
	}
	if (mvt_likely (found && plain))
	{
		match4_ctx_t m = { t, addr & mvt_mask32 (len), len, now };
		uint32_t row = found->row[slot];
		if (mvt_likely (match4_equal (&m, row)))
			return row;
	}
	return find4_from (t, addr, bits, now);
}

/* What the front could not answer: the longer lengths if there are any here, and what the table
 * says as a whole if the front's entry is not in force. */
static uint32_t
find4_behind (const mvt_t *t, uint32_t addr, uint32_t front, uint32_t now)
{
	uint32_t bits = t->lengths.bits[addr >> 16], row = (front & MVT_FRONT_ROW) - 1;
	bool in_force = row != MVT_NONE && mvt_row_live (mvt_row (t, row), now);

	if (in_force)
		bits &= ~((1u << 24) - 1);
	uint32_t longer = find4_from (t, addr, bits, now);
	return in_force && (longer == MVT_NONE || longer == t->default_row) ? row : longer;
}

static inline uint32_t
find4_front (const mvt_t *t, uint32_t addr, uint32_t now)
{
	uint32_t front = t->front[addr >> 8], row = front - 1;

	if (mvt_likely (front - 1 < MVT_FRONT_ROW && mvt_row_live (mvt_row (t, row), now)))
		return row;
	return front ? find4_behind (t, addr, front, now) : find_default_route (t, now);
}

/* ---- both modes ---- */

static inline uint32_t
find4 (const mvt_t *t, uint32_t addr, uint32_t now)
{
	if (t->front)
		return find4_front (t, addr, now);
	if (mvt_likely (t->config.mode == MVT_MODE_DEFAULT))
		return find4_default (t, addr, now);
	mvt_key_t key = { { (uint64_t) addr << 32 } };
	return mvt_paper_find (t, &key, now);
}

static inline uint32_t
find (const mvt_t *t, const void *field, uint32_t now)
{
	mvt_key_t key;
	if (t->config.field_bits == 32)
		return find4 (t, mvt_load32 (field), now);
	mvt_key_load (&key, field, t->config.field_bits / 8);
	return t->config.mode == MVT_MODE_PAPER ? mvt_paper_find (t, &key, now)
						: find_wide (t, &key, now);
}

uint32_t
mvt_lookup_shared (const mvt_t *t, const void *field, uint32_t now)
{
	return find (t, field, now);
}

uint32_t
mvt_lookup4_shared (const mvt_t *t, uint32_t addr, uint32_t now)
{
	return find4 (t, addr, now);
}

/* ---- the state cache ---- */

int
mvt_cache_init (mvt_cache_t *c, uint32_t lines, uint32_t field_bits, const mvt_mem_t *mem)
{
	c->n = lines;
	c->shift = field_bits == 32 ? 4 : 6;
	if (!lines)
		return MVT_OK;
	c->lines = mvt_mem_alloc (mem, (size_t) lines << c->shift, MVT_CACHE_LINE);
	return c->lines ? MVT_OK : MVT_ERR_NO_MEMORY;
}

void
mvt_cache_exit (mvt_cache_t *c, const mvt_mem_t *mem)
{
	mvt_mem_free (mem, c->lines, (size_t) c->n << c->shift);
}

static inline mvt_cache_line_t *
cache_line (const mvt_cache_t *c, uint32_t hash)
{
	return (mvt_cache_line_t *) (void *) (c->lines +
					      ((size_t) (hash & (c->n - 1)) << c->shift));
}

/* Is the line an answer in this epoch and at this time? An entry that has expired since is not:
 * the next shorter match has to be found. */
static inline bool
cache_valid (const mvt_t *t, const mvt_cache_line_t *line, uint32_t now)
{
	return line->epoch == t->epoch &&
	       (line->row == MVT_NONE || mvt_row_live (mvt_row (t, line->row), now));
}

/* => 32-bit fields; short lines end before `key` */
static uint32_t
cached_find4 (const mvt_t *t, const mvt_cache_t *c, uint32_t addr, uint32_t now,
	      mvt_match_stats_t *stats)
{
	mvt_cache_line_t *line = cache_line (c, mvt_prefix_hash4 (t, addr, 32));
	if (line->key4 == addr && cache_valid (t, line, now))
		stats->cache_hits++;
	else
	{
		line->row = find4 (t, addr, now);
		line->key4 = addr;
		line->epoch = t->epoch;
	}
	return line->row;
}

static uint32_t
cached_find_wide (const mvt_t *t, const mvt_cache_t *c, const void *field, uint32_t now,
		  mvt_match_stats_t *stats)
{
	mvt_key_t key;
	mvt_key_load (&key, field, t->config.field_bits / 8);
	mvt_cache_line_t *line = cache_line (c, mvt_prefix_hash (t, &key, t->config.field_bits));
	uint64_t differ = 0;
	for (uint32_t i = 0; i < t->words; i++)
		differ |= line->key.word[i] ^ key.word[i];
	if (!differ && cache_valid (t, line, now))
		stats->cache_hits++;
	else
	{
		line->row = t->config.mode == MVT_MODE_PAPER ? mvt_paper_find (t, &key, now)
							     : find_wide (t, &key, now);
		line->key = key;
		line->epoch = t->epoch;
	}
	return line->row;
}

static inline uint32_t
counted_find4 (const mvt_t *t, const mvt_cache_t *c, uint32_t addr, uint32_t now,
	       mvt_match_stats_t *stats)
{
	uint32_t row = c->n ? cached_find4 (t, c, addr, now, stats) : find4 (t, addr, now);
	stats->lookups++;
	stats->hits += row != MVT_NONE;
	return row;
}

static inline uint32_t
counted_find (const mvt_t *t, const mvt_cache_t *c, const void *field, uint32_t now,
	      mvt_match_stats_t *stats)
{
	if (t->config.field_bits == 32)
		return counted_find4 (t, c, mvt_load32 (field), now, stats);
	uint32_t row = c->n ? cached_find_wide (t, c, field, now, stats) : find (t, field, now);
	stats->lookups++;
	stats->hits += row != MVT_NONE;
	return row;
}

uint32_t
mvt_lookup (mvt_t *t, const void *field, uint32_t now)
{
	return counted_find (t, &t->cache, field, now, &t->match);
}

uint32_t
mvt_lookup4 (mvt_t *t, uint32_t addr, uint32_t now)
{
	return counted_find4 (t, &t->cache, addr, now, &t->match);
}

/* ---- batches ---- */

/* The rows of the two longest lengths are guessed from tags alone and prefetched.
 * always_inline as in mvt_buckets_prefetch. */
static inline __attribute__ ((always_inline)) void
prefetch_row (const mvt_t *t, uint32_t row)
{
	if (row != MVT_NONE)
		__builtin_prefetch (mvt_row (t, row));
}

/* The last stage of a batch: begins with the n longest lengths, whose hashes are there already. */
static inline uint32_t
find4_hashed (const mvt_t *t, uint32_t addr, uint32_t now, const uint32_t *hash, uint32_t n)
{
	uint32_t bits = t->lengths.bits[addr >> 16];
	for (uint32_t i = 0; i < n && bits; i++)
	{
		uint32_t len = longest4 (bits);
		match4_ctx_t m = { t, addr & mvt_mask32 (len), len, now };
		uint32_t row = mvt_buckets_find (&t->buckets, hash[i], match4_equal, &m);
		if (row != MVT_NONE)
			return row;
		bits ^= 1u << ((len - 1) & 31);
	}
	return bits ? find4_from (t, addr, bits, now) : find_default_route (t, now);
}

static void
stage4_front (const mvt_t *t, const uint32_t *addrs, unsigned n, uint32_t now, uint32_t *rows)
{
	for (unsigned i = 0; i < n; i++)
		__builtin_prefetch (&t->front[addrs[i] >> 8]);
	for (unsigned i = 0; i < n; i++)
	{
		uint32_t row = t->front[addrs[i] >> 8] & MVT_FRONT_ROW;
		__builtin_prefetch (mvt_row (t, row ? row - 1 : 0));
	}
	for (unsigned i = 0; i < n; i++)
		rows[i] = find4_front (t, addrs[i], now);
}

static void
stage4 (const mvt_t *t, const uint32_t *addrs, unsigned n, uint32_t now, uint32_t *rows)
{
	if (t->front)
	{
		stage4_front (t, addrs, n, now, rows);
		return;
	}
	uint32_t hash[STAGE][2], lengths[STAGE];
	for (unsigned i = 0; i < n; i++)
		__builtin_prefetch (&t->lengths.bits[addrs[i] >> 16]);
	for (unsigned i = 0; i < n; i++)
	{
		uint32_t bits = t->lengths.bits[addrs[i] >> 16];
		lengths[i] = 0;
		for (; lengths[i] < 2 && bits; lengths[i]++)
		{
			uint32_t len = longest4 (bits);
			bits ^= 1u << (len - 1);
			hash[i][lengths[i]] =
				mvt_prefix_hash4 (t, addrs[i] & mvt_mask32 (len), len);
			mvt_buckets_prefetch (&t->buckets, hash[i][lengths[i]]);
		}
	}
	for (unsigned i = 0; i < n; i++)
		for (uint32_t k = 0; k < lengths[i]; k++)
			prefetch_row (t, mvt_buckets_candidate (&t->buckets, hash[i][k]));
	for (unsigned i = 0; i < n; i++)
		rows[i] = find4_hashed (t, addrs[i], now, hash[i], lengths[i]);
}

static void
stage_wide (const mvt_t *t, const mvt_key_t *keys, unsigned n, uint32_t now, uint32_t *rows)
{
	uint32_t hash[STAGE][2], lengths[STAGE];
	for (unsigned i = 0; i < n; i++)
		__builtin_prefetch (length_bits (t, mvt_key_slot (&keys[i])));
	for (unsigned i = 0; i < n; i++)
	{
		const uint32_t *bits = length_bits (t, mvt_key_slot (&keys[i]));
		uint32_t len = t->config.field_bits + 1;
		lengths[i] = 0;
		for (; lengths[i] < 2 && (len = mvt_lengths_below (bits, len)); lengths[i]++)
		{
			mvt_key_t masked;
			mvt_key_mask (&masked, &keys[i], len, t->words);
			hash[i][lengths[i]] = mvt_prefix_hash (t, &masked, len);
			mvt_buckets_prefetch (&t->buckets, hash[i][lengths[i]]);
		}
	}
	for (unsigned i = 0; i < n; i++)
		for (uint32_t k = 0; k < lengths[i]; k++)
			prefetch_row (t, mvt_buckets_candidate (&t->buckets, hash[i][k]));
	for (unsigned i = 0; i < n; i++)
		rows[i] = find_wide (t, &keys[i], now);
}

static void
stage_paper (const mvt_t *t, const mvt_key_t *keys, unsigned n, uint32_t now, uint32_t *rows)
{
	for (unsigned i = 0; i < n; i++)
		mvt_paper_prefetch (t, &keys[i]);
	for (unsigned i = 0; i < n; i++)
		rows[i] = mvt_paper_find (t, &keys[i], now);
}

void
mvt_lookup_batch_shared (const mvt_t *t, const void *fields, unsigned n, uint32_t now,
			 uint32_t *rows)
{
	const uint8_t *field = fields;
	uint32_t bytes = t->config.field_bits / 8;
	for (unsigned done = 0, step; done < n; done += step, rows += step)
	{
		step = n - done < STAGE ? n - done : STAGE;
		if (bytes == 4 && t->config.mode == MVT_MODE_DEFAULT)
		{
			uint32_t addrs[STAGE];
			for (unsigned i = 0; i < step; i++, field += 4)
				addrs[i] = mvt_load32 (field);
			stage4 (t, addrs, step, now, rows);
			continue;
		}
		mvt_key_t keys[STAGE];
		for (unsigned i = 0; i < step; i++, field += bytes)
			mvt_key_load (&keys[i], field, bytes);
		if (t->config.mode == MVT_MODE_PAPER)
			stage_paper (t, keys, step, now, rows);
		else
			stage_wide (t, keys, step, now, rows);
	}
}

static void
batch_done (mvt_t *t, unsigned n, const uint32_t *rows)
{
	t->match.lookups += n;
	for (unsigned i = 0; i < n; i++)
		t->match.hits += rows[i] != MVT_NONE;
	if (mvt_unlikely (mvt_buckets_growing (&t->buckets)))
		mvt_buckets_maintain (&t->buckets, 4);
	if (mvt_unlikely (mvt_buckets_growing (&t->lengths.counts)))
		mvt_buckets_maintain (&t->lengths.counts, 4);
}

void
mvt_lookup_batch (mvt_t *t, const void *fields, unsigned n, uint32_t now, uint32_t *rows)
{
	mvt_lookup_batch_shared (t, fields, n, now, rows);
	batch_done (t, n, rows);
}

void
mvt_lookup4_batch (mvt_t *t, const uint32_t *addrs, unsigned n, uint32_t now, uint32_t *rows)
{
	for (unsigned done = 0, step; done < n; done += step)
	{
		step = n - done < STAGE ? n - done : STAGE;
		if (t->config.mode == MVT_MODE_DEFAULT)
			stage4 (t, addrs + done, step, now, rows + done);
		else
			for (unsigned i = done; i < done + step; i++)
				rows[i] = find4 (t, addrs[i], now);
	}
	batch_done (t, n, rows);
}

/* ---- views ---- */

struct mvt_view
{
	const mvt_t *t;
	uint32_t field_bits;
	mvt_cache_t cache;
	mvt_match_stats_t match;
	mvt_mem_t mem;
	uint64_t misses;
	uint64_t hits[MVT_VIEW_ROWS]; /* by row */
};

mvt_view_t *
mvt_view_new (const mvt_t *t, uint32_t cache_lines, const mvt_mem_t *mem)
{
	if (cache_lines & (cache_lines - 1))
		return NULL;
	mvt_view_t *view = mvt_mem_alloc (mem, sizeof *view, MVT_CACHE_LINE);
	if (!view)
		return NULL;
	view->t = t;
	view->field_bits = t ? t->config.field_bits : MVT_FIELD_BITS_MIN;
	view->mem = *mem;
	if (mvt_cache_init (&view->cache, cache_lines, view->field_bits, mem))
	{
		mvt_mem_free (mem, view, sizeof *view);
		return NULL;
	}
	return view;
}

void
mvt_view_remove (mvt_view_t *view)
{
	if (!view)
		return;
	mvt_mem_t mem = view->mem;
	mvt_cache_exit (&view->cache, &mem);
	mvt_mem_free (&mem, view, sizeof *view);
}

int
mvt_view_attach (mvt_view_t *view, const mvt_t *t)
{
	if (t->config.field_bits != view->field_bits)
		return MVT_ERR_INVALID;
	view->t = t;
	__builtin_memset (view->hits, 0, sizeof view->hits);
	/* another table's epochs mean nothing here */
	if (view->cache.n)
		__builtin_memset (view->cache.lines, 0,
				  (size_t) view->cache.n << view->cache.shift);
	return MVT_OK;
}

/* One count for the row is one for the hits: what the counters of a table take apart. */
static inline uint32_t
count_row (mvt_view_t *view, uint32_t row)
{
	view->match.lookups++;
	if (mvt_likely (row < MVT_VIEW_ROWS))
		view->hits[row]++;
	else if (row == MVT_NONE)
		view->misses++;
	return row;
}

uint32_t
mvt_view_lookup (mvt_view_t *view, const void *field, uint32_t now)
{
	if (view->field_bits == 32)
		return mvt_view_lookup4 (view, mvt_load32 (field), now);
	return count_row (view, view->cache.n ? cached_find_wide (view->t, &view->cache, field, now,
								  &view->match)
					      : find (view->t, field, now));
}

uint32_t
mvt_view_lookup4 (mvt_view_t *view, uint32_t addr, uint32_t now)
{
	return count_row (
		view, view->cache.n ? cached_find4 (view->t, &view->cache, addr, now, &view->match)
				    : find4 (view->t, addr, now));
}

void
mvt_view_stats (const mvt_view_t *view, mvt_match_stats_t *stats)
{
	*stats = view->match;
	stats->hits = stats->lookups - view->misses;
}

uint64_t
mvt_view_hits (const mvt_view_t *view, uint32_t row)
{
	return view->hits[row];
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "mvt_table_private.h"

enum
{
	ROW_FREE = 0, /* state is the next free row */
	ROW_USED = 1,
};

/* ---- creation ---- */

static bool
config_ok (const mvt_config_t *c)
{
	return c->field_bits >= MVT_FIELD_BITS_MIN && c->field_bits <= MVT_FIELD_BITS_MAX &&
	       c->field_bits % 8 == 0 && c->max_entries &&
	       c->max_entries <= MVT_TABLE_MAX_ENTRIES &&
	       (c->mode == MVT_MODE_DEFAULT || c->mode == MVT_MODE_PAPER) &&
	       !(c->cache_lines & (c->cache_lines - 1));
}

static int
default_init (mvt_t *t)
{
	int err = mvt_buckets_init (&t->buckets, t->n_rows, &t->mem);
	if (!err)
		err = mvt_lengths_init (&t->lengths, t->config.field_bits, t->n_rows, &t->mem);
	return err ? err : mvt_front_init (t);
}

static void
default_exit (mvt_t *t)
{
	mvt_front_exit (t);
	mvt_lengths_exit (&t->lengths, &t->mem);
	mvt_buckets_exit (&t->buckets, &t->mem);
}

mvt_t *
mvt_new (const mvt_config_t *config, const mvt_mem_t *mem)
{
	if (!config_ok (config))
		return NULL;
	mvt_t *t = mvt_mem_alloc (mem, sizeof *t, MVT_CACHE_LINE);
	if (!t)
		return NULL;
	t->config = *config;
	t->mem = *mem;
	mvt_secret_init (&t->secret, config->seed);
	t->words = (config->field_bits + 63) / 64;
	t->row_shift = t->words == 1 ? 5 : 6;
	/* one more than the user sees: split and merge insert before they delete */
	t->n_rows = config->max_entries + 1;
	t->free = t->default_row = MVT_NONE;
	t->epoch = 1;
	t->rows = mvt_mem_alloc (mem, (size_t) t->n_rows << t->row_shift, MVT_CACHE_LINE);
	int err = config->mode == MVT_MODE_PAPER ? mvt_paper_init (t) : default_init (t);
	if (!err)
		err = mvt_cache_init (&t->cache, config->cache_lines, config->field_bits, mem);
	if (err || !t->rows)
	{
		mvt_remove (t);
		return NULL;
	}
	return t;
}

void
mvt_remove (mvt_t *t)
{
	if (!t)
		return;
	mvt_mem_t mem = t->mem;
	mvt_cache_exit (&t->cache, &mem);
	if (t->config.mode == MVT_MODE_PAPER)
		mvt_paper_exit (t);
	else
		default_exit (t);
	mvt_mem_free (&mem, t->rows, (size_t) t->n_rows << t->row_shift);
	mvt_mem_free (&mem, t, sizeof *t);
}

/* ---- rows ---- */

static uint32_t
row_alloc (mvt_t *t)
{
	uint32_t row = t->free;
	if (row != MVT_NONE)
		t->free = (uint32_t) mvt_row (t, row)->state;
	else if (t->high < t->n_rows)
		row = t->high++;
	return row;
}

static void
row_free (mvt_t *t, uint32_t row)
{
	*mvt_row (t, row) = (mvt_value_t){ .state = t->free, .used = ROW_FREE };
	t->free = row;
}

static int
default_link (mvt_t *t, uint32_t row, const mvt_key_t *key, uint32_t len)
{
	uint32_t hash = mvt_prefix_hash (t, key, len);
	int err = mvt_buckets_insert (&t->buckets, hash, row);
	if (err)
		return err;
	err = mvt_lengths_add (&t->lengths, &t->secret, mvt_key_slot (key), len);
	if (err)
	{
		mvt_buckets_delete (&t->buckets, hash, row);
		return err;
	}
	if (!len)
		t->default_row = row;
	mvt_front_add (t, row, key, len);
	return MVT_OK;
}

static void
default_unlink (mvt_t *t, uint32_t row, const mvt_key_t *key, uint32_t len)
{
	mvt_buckets_delete (&t->buckets, mvt_prefix_hash (t, key, len), row);
	mvt_lengths_sub (&t->lengths, &t->secret, mvt_key_slot (key), len);
	if (!len)
		t->default_row = MVT_NONE;
	mvt_front_sub (t, row, key, len);
}

int
mvt_put (mvt_t *t, const mvt_key_t *key, const mvt_value_t *v, uint32_t *out)
{
	uint32_t row = row_alloc (t);
	if (row == MVT_NONE)
		goto full;

	mvt_key_t masked;
	mvt_key_mask (&masked, key, v->len, t->words);
	mvt_value_t *to = mvt_row (t, row);
	*to = *v;
	to->used = ROW_USED;
	for (uint32_t i = 0; i < t->words; i++)
	{
		/* load and store of big-endian words are the same swap */
		uint64_t be = mvt_load64 ((const uint8_t *) &masked.word[i]);
		__builtin_memcpy ((uint8_t *) (to + 1) + 8 * i, &be, 8);
	}
	int err = t->config.mode == MVT_MODE_PAPER ? mvt_paper_link (t, row)
						   : default_link (t, row, &masked, v->len);
	if (err)
	{
		row_free (t, row);
		goto full;
	}
	t->entries++;
	t->epoch++;
	if (out)
		*out = row;
	return MVT_OK;
full:
	t->refused++;
	return MVT_ERR_FULL;
}

/* ---- entry operations ---- */

typedef struct
{
	const mvt_t *t;
	const mvt_key_t *masked;
	uint32_t len;
} get_ctx_t;

static bool
get_equal (const void *ctx, uint32_t row)
{
	const get_ctx_t *g = ctx;
	return mvt_row_is (g->t, row, g->masked, g->len);
}

uint32_t
mvt_default_get (const mvt_t *t, const mvt_key_t *key, uint32_t len)
{
	mvt_key_t masked;
	mvt_key_mask (&masked, key, len, t->words);
	get_ctx_t g = { t, &masked, len };
	return mvt_buckets_find (&t->buckets, mvt_prefix_hash (t, &masked, len), get_equal, &g);
}

static uint32_t
get_key (const mvt_t *t, const mvt_key_t *key, uint32_t len)
{
	mvt_key_t masked;
	if (t->config.mode == MVT_MODE_DEFAULT)
		return mvt_default_get (t, key, len);
	mvt_key_mask (&masked, key, len, t->words);
	return mvt_paper_get (t, &masked, len);
}

uint32_t
mvt_get (const mvt_t *t, const void *field, unsigned len)
{
	mvt_key_t key;
	if (len > t->config.field_bits)
		return MVT_NONE;
	mvt_key_load (&key, field, t->config.field_bits / 8);
	return get_key (t, &key, len);
}

const mvt_value_t *
mvt_value (const mvt_t *t, uint32_t row)
{
	return mvt_row (t, row);
}

const uint8_t *
mvt_field (const mvt_t *t, uint32_t row)
{
	return mvt_row_field (t, row);
}

int
mvt_set (mvt_t *t, const void *field, unsigned len, uint64_t state, uint32_t timeout, uint32_t now,
	 uint32_t *out)
{
	mvt_key_t key;
	if (len > t->config.field_bits)
		return MVT_ERR_INVALID;
	mvt_key_load (&key, field, t->config.field_bits / 8);
	uint32_t row = get_key (t, &key, len);
	if (row == MVT_NONE)
	{
		mvt_value_t v = { .state = state,
				  .last = now,
				  .timeout = timeout,
				  .len = (uint16_t) len,
				  .valid = 1 };
		if (t->entries >= t->config.max_entries)
		{
			t->refused++;
			return MVT_ERR_FULL;
		}
		return mvt_put (t, &key, &v, out);
	}
	mvt_value_t *v = mvt_row (t, row);
	if (!mvt_row_live (v, now))
		t->epoch++; /* it comes back to life: shorter matches in the cache are stale */
	v->state = state;
	v->last = now;
	v->timeout = timeout;
	v->valid = 1;
	if (out)
		*out = row;
	return MVT_OK;
}

void
mvt_delete (mvt_t *t, uint32_t row)
{
	mvt_key_t key;
	mvt_row_key (t, row, &key);
	if (t->config.mode == MVT_MODE_PAPER)
		mvt_paper_unlink (t, row);
	else
		default_unlink (t, row, &key, mvt_row (t, row)->len);
	row_free (t, row);
	t->entries--;
	t->epoch++;
}

uint64_t
mvt_inc (mvt_t *t, uint32_t row, uint64_t delta)
{
	return mvt_row (t, row)->state += delta;
}

void
mvt_store (mvt_t *t, uint32_t row, uint64_t state)
{
	mvt_row (t, row)->state = state;
}

void
mvt_timeout (mvt_t *t, uint32_t row, uint32_t timeout)
{
	mvt_row (t, row)->timeout = timeout;
	t->epoch++; /* a longer one may bring an expired entry back */
}

void
mvt_renew (mvt_t *t, uint32_t row, uint32_t now)
{
	mvt_value_t *v = mvt_row (t, row);
	if (mvt_expired (v, now))
		t->epoch++;
	v->last = now;
}

void
mvt_set_valid (mvt_t *t, uint32_t row, bool valid)
{
	mvt_row (t, row)->valid = valid;
	t->epoch++;
}

void
mvt_set_aux (mvt_t *t, uint32_t row, uint32_t aux)
{
	mvt_row (t, row)->aux = aux;
}

/* ---- walks, counters ---- */

bool
mvt_iterate (const mvt_t *t, uint32_t *cursor, uint32_t *row)
{
	while (*cursor < t->high)
	{
		uint32_t at = (*cursor)++;
		if (mvt_row (t, at)->used == ROW_USED)
		{
			*row = at;
			return true;
		}
	}
	return false;
}

uint32_t
mvt_sweep (mvt_t *t, uint32_t *cursor, uint32_t n, uint32_t now)
{
	uint32_t deleted = 0, at = *cursor < t->high ? *cursor : 0;
	for (; n && at < t->high; n--, at++)
	{
		const mvt_value_t *v = mvt_row (t, at);
		if (v->used == ROW_USED && mvt_expired (v, now))
		{
			mvt_delete (t, at);
			deleted++;
		}
	}
	*cursor = at < t->high ? at : 0;
	return deleted;
}

void
mvt_stats (const mvt_t *t, mvt_stats_t *stats)
{
	*stats = (mvt_stats_t){ .match = t->match, .entries = t->entries, .refused = t->refused };
	if (t->config.mode == MVT_MODE_PAPER)
	{
		mvt_paper_stats (t, stats);
		return;
	}
	for (uint32_t i = 0; i < t->buckets.n; i++)
		stats->alternates += (uint32_t) __builtin_popcount (t->buckets.bucket[i].alt &
								    t->buckets.bucket[i].used);
	stats->buckets = t->buckets.n;
	stats->stashed = t->buckets.stash_n;
	stats->grown = t->buckets.grown;
}

const mvt_config_t *
mvt_config (const mvt_t *t)
{
	return &t->config;
}

uint32_t
mvt_entries (const mvt_t *t)
{
	return t->entries;
}

/* ---- verify ---- */

static uint32_t
hash_of_row (const void *ctx, uint32_t row)
{
	const mvt_t *t = ctx;
	mvt_key_t key;
	mvt_row_key (t, row, &key);
	return mvt_prefix_hash (t, &key, mvt_row (t, row)->len);
}

static int
default_verify (const mvt_t *t)
{
	if (mvt_buckets_verify (&t->buckets, hash_of_row, t) || t->buckets.count != t->entries)
		return -10;
	if (mvt_lengths_verify (&t->lengths, &t->secret))
		return -11;
	/* every entry has its bit; the sums show that no bit and no count is left over */
	uint64_t short_bits = 0, covered = 0, counted = 0, longer = 0;
	for (uint32_t i = 0; i < t->lengths.high_mark; i++)
		counted += t->lengths.marks[i].len ? t->lengths.marks[i].count : 0;
	for (uint32_t slot = 0; slot < 65536; slot++)
		short_bits += (uint64_t) __builtin_popcount (
			t->lengths.bits[slot * t->lengths.stride] & 0xffff);
	for (uint32_t row, cursor = 0; mvt_iterate (t, &cursor, &row);)
	{
		mvt_key_t key;
		uint32_t len = mvt_row (t, row)->len;
		mvt_row_key (t, row, &key);
		const uint32_t *bits = &t->lengths.bits[mvt_key_slot (&key) * t->lengths.stride];
		if (len && !(bits[(len - 1) / 32] >> (len - 1) % 32 & 1))
			return -12;
		if (!len && t->default_row != row)
			return -13;
		covered += len && len <= 16 ? 1u << (16 - len) : 0;
		longer += len > 16;
	}
	if (short_bits != covered || counted != longer)
		return -14;
	return mvt_front_verify (t) ? -15 : 0;
}

int
mvt_verify (const mvt_t *t)
{
	uint32_t used = 0, unused = 0;
	for (uint32_t row = 0; row < t->high; row++)
	{
		const mvt_value_t *v = mvt_row (t, row);
		mvt_key_t key, masked;
		if (v->used != ROW_USED)
			continue;
		used++;
		mvt_row_key (t, row, &key);
		mvt_key_mask (&masked, &key, v->len, t->words);
		if (v->len > t->config.field_bits || !mvt_row_is (t, row, &masked, v->len))
			return -1;
		if (get_key (t, &key, v->len) != row)
			return -2;
	}
	for (uint32_t row = t->free; row != MVT_NONE; row = (uint32_t) mvt_row (t, row)->state)
		if (mvt_row (t, row)->used != ROW_FREE || ++unused > t->high)
			return -3;
	if (used != t->entries || used + unused != t->high || used > t->config.max_entries)
		return -4;
	return t->config.mode == MVT_MODE_PAPER ? mvt_paper_verify (t) : default_verify (t);
}

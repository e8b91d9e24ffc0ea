/* SPDX-License-Identifier: Apache-2.0 */
#include "mvt_table_private.h"

/* The paper's classes are 8, 16, 24, 30 and 32 of 32 bits. In general: the quarters, all but the
 * last two bits, and the whole field. What is shorter than the first is in class 0. */
static void
set_classes (mvt_t *t)
{
	uint32_t bits = t->config.field_bits;
	t->class_bits[0] = 0;
	t->class_bits[1] = (uint16_t) (bits / 4);
	t->class_bits[2] = (uint16_t) (bits / 2);
	t->class_bits[3] = (uint16_t) (bits / 4 * 3);
	t->class_bits[4] = (uint16_t) (bits - 2);
	t->class_bits[5] = (uint16_t) bits;
}

static uint32_t
class_of (const mvt_t *t, uint32_t len)
{
	uint32_t c = MVT_CLASSES - 1;
	while (len < t->class_bits[c])
		c--;
	return c;
}

/* Hash and chain of a key in a class. */
static uint32_t
class_hash (const mvt_t *t, const mvt_key_t *key, uint32_t c)
{
	mvt_key_t masked;
	mvt_key_mask (&masked, key, t->class_bits[c], t->words);
	return mvt_prefix_hash (t, &masked, t->class_bits[c]);
}

int
mvt_paper_init (mvt_t *t)
{
	uint32_t rows = 16;
	while (rows < t->config.max_entries)
		rows *= 2;
	set_classes (t);
	t->chain_mask = rows - 1;
	t->chain = mvt_mem_alloc (&t->mem, (size_t) rows * sizeof *t->chain, MVT_CACHE_LINE);
	t->next = mvt_mem_alloc (&t->mem, (size_t) t->n_rows * sizeof *t->next, MVT_CACHE_LINE);
	return t->chain && t->next ? MVT_OK : MVT_ERR_NO_MEMORY;
}

void
mvt_paper_exit (mvt_t *t)
{
	mvt_mem_free (&t->mem, t->chain, ((size_t) t->chain_mask + 1) * sizeof *t->chain);
	mvt_mem_free (&t->mem, t->next, (size_t) t->n_rows * sizeof *t->next);
}

static bool
agree (const mvt_t *t, uint32_t row, const mvt_key_t *key, uint32_t bits)
{
	mvt_key_t field, a, b;
	mvt_row_key (t, row, &field);
	mvt_key_mask (&a, &field, bits, t->words);
	mvt_key_mask (&b, key, bits, t->words);
	uint64_t differ = 0;
	for (uint32_t i = 0; i < t->words; i++)
		differ |= a.word[i] ^ b.word[i];
	return differ == 0;
}

int
mvt_paper_link (mvt_t *t, uint32_t row)
{
	mvt_key_t key;
	mvt_row_key (t, row, &key);
	uint32_t len = mvt_row (t, row)->len, c = class_of (t, len), n = 0;
	uint32_t hash = class_hash (t, &key, c);
	uint32_t *chain = &t->chain[hash & t->chain_mask], *at = NULL;
	bool same_key = false, same_hash = false;

	for (uint32_t *link = chain; *link; link = &t->next[*link - 1], n++)
	{
		uint32_t other = *link - 1, other_len = mvt_row (t, other)->len;
		uint32_t other_class = class_of (t, other_len);
		if (!at && other_len < len)
			at = link;
		if (other_class == c && agree (t, other, &key, t->class_bits[c]))
			same_key = true;
		else
		{
			mvt_key_t other_key;
			mvt_row_key (t, other, &other_key);
			same_hash |= class_hash (t, &other_key, other_class) == hash;
		}
	}
	if (n >= MVT_CHAIN_MAX)
		return MVT_ERR_FULL;
	if (!at)
		for (at = chain; *at; at = &t->next[*at - 1])
			;
	t->next[row] = *at;
	*at = row + 1;
	t->class_count[c]++;
	t->same_key += same_key;
	t->same_hash += !same_key && same_hash;
	t->same_row += !same_key && !same_hash && n;
	return MVT_OK;
}

void
mvt_paper_unlink (mvt_t *t, uint32_t row)
{
	mvt_key_t key;
	mvt_row_key (t, row, &key);
	uint32_t c = class_of (t, mvt_row (t, row)->len);
	uint32_t *link = &t->chain[class_hash (t, &key, c) & t->chain_mask];
	while (*link != row + 1)
		link = &t->next[*link - 1];
	*link = t->next[row];
	t->next[row] = 0;
	t->class_count[c]--;
}

uint32_t
mvt_paper_get (const mvt_t *t, const mvt_key_t *masked, uint32_t len)
{
	uint32_t hash = class_hash (t, masked, class_of (t, len));
	for (uint32_t at = t->chain[hash & t->chain_mask]; at; at = t->next[at - 1])
		if (mvt_row_is (t, at - 1, masked, len))
			return at - 1;
	return MVT_NONE;
}

void
mvt_paper_prefetch (const mvt_t *t, const mvt_key_t *key)
{
	for (uint32_t c = MVT_CLASSES; c-- > 0;)
		if (t->class_count[c])
			__builtin_prefetch (&t->chain[class_hash (t, key, c) & t->chain_mask]);
}

/* A row is shared by classes, so an entry counts only for the class that is being probed: a /8
 * that covers the field may lie on the row of its /24, while a longer /16 is still to come. */
uint32_t
mvt_paper_find (const mvt_t *t, const mvt_key_t *key, uint32_t now)
{
	uint32_t at[MVT_CLASSES];
	for (uint32_t c = MVT_CLASSES; c-- > 0;)
	{
		at[c] = t->class_count[c] ? class_hash (t, key, c) & t->chain_mask : MVT_NONE;
		if (at[c] != MVT_NONE)
			__builtin_prefetch (&t->chain[at[c]]);
	}
	for (uint32_t c = MVT_CLASSES; c-- > 0;)
	{
		uint32_t longest = c + 1 < MVT_CLASSES ? t->class_bits[c + 1] : UINT32_MAX;
		if (at[c] == MVT_NONE)
			continue;
		for (uint32_t i = t->chain[at[c]]; i; i = t->next[i - 1])
		{
			const mvt_value_t *v = mvt_row (t, i - 1);
			if (v->len < t->class_bits[c])
				break; /* longest first: the rest is shorter still */
			if (v->len < longest && agree (t, i - 1, key, v->len) &&
			    mvt_row_live (v, now))
				return i - 1;
		}
	}
	return MVT_NONE;
}

void
mvt_paper_stats (const mvt_t *t, mvt_stats_t *stats)
{
	for (uint32_t c = 0; c <= t->chain_mask; c++)
	{
		uint32_t n = 0;
		for (uint32_t i = t->chain[c]; i; i = t->next[i - 1])
			n++;
		stats->chains += n > 0;
		stats->chain_max = n > stats->chain_max ? n : stats->chain_max;
		stats->chain_squares += (uint64_t) n * n;
	}
	stats->rows = t->chain_mask + 1;
	stats->same_key = t->same_key;
	stats->same_hash = t->same_hash;
	stats->same_row = t->same_row;
}

int
mvt_paper_verify (const mvt_t *t)
{
	uint32_t count[MVT_CLASSES] = { 0 }, entries = 0;
	for (uint32_t c = 0; c <= t->chain_mask; c++)
	{
		uint32_t len = UINT32_MAX;
		for (uint32_t i = t->chain[c]; i; i = t->next[i - 1])
		{
			const mvt_value_t *v = mvt_row (t, i - 1);
			uint32_t class = class_of (t, v->len);
			mvt_key_t key;
			mvt_row_key (t, i - 1, &key);
			if (!v->used || v->len > len)
				return -1;
			if ((class_hash (t, &key, class) & t->chain_mask) != c)
				return -2;
			len = v->len;
			count[class]++;
			if (++entries > t->entries)
				return -3;
		}
	}
	for (uint32_t c = 0; c < MVT_CLASSES; c++)
		if (count[c] != t->class_count[c])
			return -4;
	return entries == t->entries ? 0 : -5;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "mvt_table_private.h"

#define SLOTS 65536u

static uint32_t
mark_hash (const mvt_secret_t *s, uint32_t slot, uint32_t len)
{
	return mvt_hash_u64 ((uint64_t) slot << 32 | len, s);
}

typedef struct
{
	const mvt_lengths_t *l;
	const mvt_secret_t *s;
	uint32_t slot, len;
} mark_ctx_t;

static bool
mark_equal (const void *ctx, uint32_t mark)
{
	const mark_ctx_t *m = ctx;
	return m->l->marks[mark].slot == m->slot && m->l->marks[mark].len == m->len;
}

static uint32_t
mark_find (const mvt_lengths_t *l, const mvt_secret_t *s, uint32_t slot, uint32_t len)
{
	mark_ctx_t m = { l, s, slot, len };
	return mvt_buckets_find (&l->counts, mark_hash (s, slot, len), mark_equal, &m);
}

int
mvt_lengths_init (mvt_lengths_t *l, uint32_t field_bits, uint32_t max, const mvt_mem_t *mem)
{
	l->stride = (field_bits + 31) / 32;
	l->n_marks = max;
	l->free_mark = MVT_NONE;
	l->bits = mvt_mem_alloc (mem, (size_t) SLOTS * l->stride * 4, MVT_CACHE_LINE);
	l->marks = mvt_mem_alloc (mem, (size_t) max * sizeof *l->marks, MVT_CACHE_LINE);
	int err = mvt_buckets_init (&l->counts, max, mem);
	return l->bits && l->marks ? err : MVT_ERR_NO_MEMORY;
}

void
mvt_lengths_exit (mvt_lengths_t *l, const mvt_mem_t *mem)
{
	mvt_buckets_exit (&l->counts, mem);
	mvt_mem_free (mem, l->marks, (size_t) l->n_marks * sizeof *l->marks);
	mvt_mem_free (mem, l->bits, (size_t) SLOTS * l->stride * 4);
}

static void
set_bits (mvt_lengths_t *l, uint32_t slot, uint32_t slots, uint32_t len, bool on)
{
	uint32_t *word = &l->bits[slot * l->stride + (len - 1) / 32], bit = 1u << (len - 1) % 32;
	for (; slots; slots--, word += l->stride)
		*word = on ? *word | bit : *word & ~bit;
}

static void
set_short (mvt_lengths_t *l, uint32_t slot, uint32_t len, bool on)
{
	uint32_t slots = 1u << (16 - len);
	set_bits (l, slot & ~(slots - 1), slots, len, on);
}

int
mvt_lengths_add (mvt_lengths_t *l, const mvt_secret_t *s, uint32_t slot, uint32_t len)
{
	if (!len)
		return MVT_OK;
	if (len <= 16)
	{
		set_short (l, slot, len, true);
		return MVT_OK;
	}
	uint32_t mark = mark_find (l, s, slot, len);
	if (mark != MVT_NONE)
	{
		l->marks[mark].count++;
		return MVT_OK;
	}
	/* marks cannot run out: there are as many as rows, and each has an entry of its own */
	mark = l->free_mark != MVT_NONE ? l->free_mark : l->high_mark;
	int err = mvt_buckets_insert (&l->counts, mark_hash (s, slot, len), mark);
	if (err)
		return err;
	if (mark == l->free_mark)
		l->free_mark = l->marks[mark].count;
	else
		l->high_mark++;
	l->marks[mark] = (mvt_mark_t){ slot, len, 1 };
	set_bits (l, slot, 1, len, true);
	return MVT_OK;
}

void
mvt_lengths_sub (mvt_lengths_t *l, const mvt_secret_t *s, uint32_t slot, uint32_t len)
{
	if (!len)
		return;
	if (len <= 16)
	{
		set_short (l, slot, len, false);
		return;
	}
	uint32_t mark = mark_find (l, s, slot, len);
	if (--l->marks[mark].count)
		return;
	mvt_buckets_delete (&l->counts, mark_hash (s, slot, len), mark);
	l->marks[mark] = (mvt_mark_t){ 0, 0, l->free_mark };
	l->free_mark = mark;
	set_bits (l, slot, 1, len, false);
}

uint32_t
mvt_lengths_count (const mvt_lengths_t *l, const mvt_secret_t *s, uint32_t slot, uint32_t len)
{
	uint32_t mark = mark_find (l, s, slot, len);
	return mark == MVT_NONE ? 0 : l->marks[mark].count;
}

static uint32_t
hash_of_mark (const void *ctx, uint32_t mark)
{
	const mark_ctx_t *m = ctx;
	return mark_hash (m->s, m->l->marks[mark].slot, m->l->marks[mark].len);
}

/* Bits of lengths above 16 are as many as marks, and every mark's bit is set. */
int
mvt_lengths_verify (const mvt_lengths_t *l, const mvt_secret_t *s)
{
	mark_ctx_t m = { l, s, 0, 0 };
	uint32_t set = 0, marks = 0;
	if (mvt_buckets_verify (&l->counts, hash_of_mark, &m))
		return -1;
	for (uint32_t slot = 0; slot < SLOTS; slot++)
		for (uint32_t i = 0; i < l->stride; i++)
			set += (uint32_t) __builtin_popcount (l->bits[slot * l->stride + i] &
							      (i ? ~0u : 0xffff0000u));
	for (uint32_t i = 0; i < l->high_mark; i++)
	{
		const mvt_mark_t *k = &l->marks[i];
		if (!k->len)
			continue;
		marks++;
		if (!(l->bits[k->slot * l->stride + (k->len - 1) / 32] >> (k->len - 1) % 32 & 1))
			return -2;
	}
	return set == marks && marks == l->counts.count ? 0 : -3;
}

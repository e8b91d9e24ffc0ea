/* SPDX-License-Identifier: Apache-2.0
 * Operations on a match-value table, each compared with a list and linear search; at the end, the
 * invariants. They are verified once only: that walks the length bitmaps and takes milliseconds.
 *
 * Input: width, mode, then operations of a few bytes each. */
#include "fuzz_mem.h"
#include "mvt_table.h"
#include "table_model.h"

#include "fuzz_input.h"

#define MAX_ENTRIES 200u

typedef struct
{
	mvt_t *table;
	model_t *model;
	uint32_t now;
	uint32_t bytes;
	fuzz_input_t in;
} fuzz_t;

/* Fields crowd together: two bytes of input, repeated, so that prefixes nest and collide. */
static unsigned
next_field (fuzz_t *f, uint8_t field[MODEL_BYTES])
{
	uint8_t a = fuzz_u8 (&f->in), b = fuzz_u8 (&f->in);
	unsigned len = fuzz_u8 (&f->in) * 8u * f->bytes / 255;
	memset (field, 0, MODEL_BYTES);
	for (uint32_t i = 0; i < f->bytes; i++)
		field[i] = i & 1 ? b & 0x0f : a & 0x83;
	if (len > f->model->bits)
		len = f->model->bits;
	for (uint32_t i = len; i < f->model->bits; i++)
		field[i / 8] &= (uint8_t) ~(0x80 >> i % 8);
	return len;
}

static model_entry_t *
some_entry (fuzz_t *f)
{
	return f->model->n ? &f->model->e[fuzz_u16 (&f->in) % f->model->n] : NULL;
}

static void
check_row (const mvt_t *t, uint32_t row, const model_entry_t *e, uint32_t bytes)
{
	const mvt_value_t *v = mvt_value (t, row);
	FUZZ_CHECK (v->len == e->len && v->state == e->state && v->last == e->last);
	FUZZ_CHECK (v->timeout == e->timeout && v->valid == e->valid);
	FUZZ_CHECK (memcmp (mvt_field (t, row), e->field, bytes) == 0);
}

static void
check_lookup (fuzz_t *f)
{
	uint8_t field[MODEL_BYTES];
	next_field (f, field);
	for (uint32_t i = 0; i < f->bytes; i += 3)
		field[i] ^= fuzz_u8 (&f->in) & 0x11;
	const model_entry_t *want = model_lookup (f->model, field, f->now);
	uint32_t rows[4] = { mvt_lookup (f->table, field, f->now),
			     mvt_lookup_shared (f->table, field, f->now),
			     mvt_lookup (f->table, field, f->now), MVT_NONE };
	mvt_lookup_batch (f->table, field, 1, f->now, &rows[3]);
	for (int i = 0; i < 4; i++)
	{
		FUZZ_CHECK ((rows[i] != MVT_NONE) == (want != NULL));
		if (want)
			check_row (f->table, rows[i], want, f->bytes);
	}
}

static void
do_set (fuzz_t *f)
{
	uint8_t field[MODEL_BYTES];
	unsigned len = next_field (f, field);
	uint64_t state = fuzz_u8 (&f->in) & 3;
	uint32_t timeout = fuzz_u8 (&f->in) & 7, row;
	int err = mvt_set (f->table, field, len, state, timeout, f->now, &row);
	if (err == MVT_ERR_FULL)
	{
		FUZZ_CHECK (!model_get (f->model, field, len));
		return;
	}
	FUZZ_CHECK (err == MVT_OK);
	model_set (f->model, field, len, state, timeout, f->now);
	check_row (f->table, row, model_get (f->model, field, len), f->bytes);
}

static void
do_split (fuzz_t *f)
{
	model_entry_t *e = some_entry (f);
	if (!e)
		return;
	model_entry_t half[2] = { *e, *e };
	bool divide = fuzz_u8 (&f->in) & 1, full = e->len == f->model->bits;
	for (int i = 0; i < 2; i++)
		half[i].len++;
	if (!full)
		half[1].field[e->len / 8] |= (uint8_t) (0x80 >> e->len % 8);
	if (divide)
	{
		half[0].state = e->state - e->state / 2;
		half[1].state = e->state / 2;
	}
	bool exists = !full && (model_get (f->model, half[0].field, half[0].len) ||
				model_get (f->model, half[1].field, half[1].len));
	uint32_t rows[2];
	int err = mvt_split (f->table, mvt_get (f->table, e->field, e->len),
			     divide ? MVT_SPLIT_DIVIDE : MVT_SPLIT_COPY, rows);
	if (err == MVT_ERR_FULL)
		return;
	FUZZ_CHECK (err == (full ? MVT_ERR_INVALID : exists ? MVT_ERR_EXISTS : MVT_OK));
	if (err)
		return;
	*e = half[0];
	f->model->e[f->model->n++] = half[1];
	check_row (f->table, rows[0], &half[0], f->bytes);
	check_row (f->table, rows[1], &half[1], f->bytes);
}

static void
do_merge (fuzz_t *f)
{
	model_entry_t *a = some_entry (f), *b = some_entry (f);
	uint8_t sibling[MODEL_BYTES];
	if (!a || !b)
		return;
	/* two entries at random are no siblings; look for the one of a */
	if (a->len && fuzz_u8 (&f->in) & 1)
	{
		memcpy (sibling, a->field, MODEL_BYTES);
		sibling[(a->len - 1) / 8] ^= (uint8_t) (0x80 >> (a->len - 1) % 8);
		model_entry_t *found = model_get (f->model, sibling, a->len);
		b = found ? found : b;
	}
	bool siblings = a != b && a->len == b->len && a->len && a->state == b->state &&
			a->timeout == b->timeout && a->valid == b->valid;
	for (unsigned i = 0; siblings && i + 1 < a->len; i++)
		siblings = model_bit (a->field, i) == model_bit (b->field, i);
	model_entry_t parent = *a;
	if (siblings)
	{
		parent.len--;
		parent.field[parent.len / 8] &= (uint8_t) ~(0x80 >> parent.len % 8);
		parent.last = (int32_t) (b->last - a->last) > 0 ? b->last : a->last;
	}
	bool exists = siblings && model_get (f->model, parent.field, parent.len);
	uint32_t row;
	int err = mvt_merge (f->table, mvt_get (f->table, a->field, a->len),
			     mvt_get (f->table, b->field, b->len), &row);
	if (err == MVT_ERR_FULL)
		return;
	FUZZ_CHECK (err == (!siblings ? MVT_ERR_NOT_SIBLINGS : exists ? MVT_ERR_EXISTS : MVT_OK));
	if (err)
		return;
	*a = parent;
	check_row (f->table, row, a, f->bytes);
	model_delete (f->model, b);
}

static void
do_entry (fuzz_t *f)
{
	model_entry_t *e = some_entry (f);
	uint8_t what = fuzz_u8 (&f->in), to = fuzz_u8 (&f->in);
	if (!e)
		return;
	uint32_t row = mvt_get (f->table, e->field, e->len);
	FUZZ_CHECK (row != MVT_NONE);
	check_row (f->table, row, e, f->bytes);
	switch (what % 6)
	{
	case 0:
		mvt_delete (f->table, row);
		model_delete (f->model, e);
		break;
	case 1:
		e->state += to;
		FUZZ_CHECK (mvt_inc (f->table, row, to) == e->state);
		break;
	case 2:
		mvt_store (f->table, row, e->state = to & 3);
		break;
	case 3:
		mvt_timeout (f->table, row, e->timeout = to & 7);
		break;
	case 4:
		mvt_renew (f->table, row, e->last = f->now);
		break;
	default:
		mvt_set_valid (f->table, row, e->valid = to & 1);
	}
}

static void
do_sweep (fuzz_t *f)
{
	uint32_t cursor = 0;
	do
		mvt_sweep (f->table, &cursor, 32, f->now);
	while (cursor);
	for (uint32_t i = 0; i < f->model->n;)
	{
		model_entry_t *e = &f->model->e[i];
		if (e->timeout && f->now - e->last > e->timeout)
		{
			model_delete (f->model, e);
		}
		else
			i++;
	}
}

/* Shard, check that nothing is lost, and put it together again. */
static void
do_shard (fuzz_t *f)
{
	mvt_t *second;
	mvt_pick_share_t pick = { .share = fuzz_u16 (&f->in), .seed = 1, .field_bytes = f->bytes };
	uint32_t n = mvt_entries (f->table);

	FUZZ_CHECK (mvt_shard (f->table, mvt_pick_share, &pick, &second) == MVT_OK);
	FUZZ_CHECK (mvt_entries (f->table) + mvt_entries (second) == n);
	FUZZ_CHECK (mvt_combine (f->table, second) == MVT_OK);
	FUZZ_CHECK (mvt_entries (second) == 0);
	mvt_remove (second);
}

static void
check_all (fuzz_t *f)
{
	uint32_t cursor = 0, row, n = 0;

	FUZZ_CHECK (mvt_verify (f->table) == 0);
	FUZZ_CHECK (mvt_entries (f->table) == f->model->n);
	while (mvt_iterate (f->table, &cursor, &row))
	{
		const mvt_value_t *v = mvt_value (f->table, row);
		const model_entry_t *e = model_get (f->model, mvt_field (f->table, row), v->len);
		FUZZ_CHECK (e != NULL);
		check_row (f->table, row, e, f->bytes);
		n++;
	}
	FUZZ_CHECK (n == f->model->n);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
	static const uint32_t widths[] = { 4, 8, 12, 16, 40 };
	static model_t model;
	fuzz_t f = { .model = &model, .now = UINT32_MAX - 20, .in = { data, size } };
	uint8_t how = fuzz_u8 (&f.in);

	f.bytes = widths[how % 5];
	model.bits = f.bytes * 8;
	model.n = 0;
	mvt_config_t config = { .field_bits = model.bits,
				.max_entries = MAX_ENTRIES,
				.mode = how & 0x40 ? MVT_MODE_PAPER : MVT_MODE_DEFAULT,
				.cache_lines = how & 0x80 ? 16 : 0,
				.seed = { 1, how } };
	f.table = mvt_new (&config, &counted_mem);
	FUZZ_CHECK (f.table != NULL);
	for (unsigned i = 0; f.in.left && i < 1000; i++)
	{
		switch (fuzz_u8 (&f.in) % 16)
		{
		case 0:
			f.now += fuzz_u8 (&f.in) & 3;
			break;
		case 1:
			do_sweep (&f);
			break;
		case 2:
			do_shard (&f);
			break;
		case 3:
		case 4:
			do_split (&f);
			break;
		case 5:
		case 6:
			do_merge (&f);
			break;
		case 7:
		case 8:
			do_entry (&f);
			break;
		case 9:
		case 10:
		case 11:
			check_lookup (&f);
			break;
		default:
			do_set (&f);
		}
	}
	check_all (&f);
	mvt_remove (f.table);
	FUZZ_CHECK (counted_mem_bytes == 0);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "mvt_table_private.h"

/* Copies one entry of another table of the same width, with all of its value. */
static int
copy_entry (mvt_t *to, const mvt_t *from, uint32_t row)
{
	mvt_key_t key;
	mvt_row_key (from, row, &key);
	return mvt_put (to, &key, mvt_row (from, row), NULL);
}

/* ---- shard ---- */

int
mvt_shard (mvt_t *t, mvt_pick_t pick, const void *ctx, mvt_t **second)
{
	mvt_t *other = mvt_new (&t->config, &t->mem);
	uint32_t cursor = 0, row;
	*second = NULL;
	if (!other)
		return MVT_ERR_NO_MEMORY;
	/* t changes only when all is copied */
	while (mvt_iterate (t, &cursor, &row))
	{
		if (!pick (ctx, mvt_row_field (t, row), mvt_row (t, row)->len, mvt_row (t, row)))
			continue;
		int err = copy_entry (other, t, row);
		if (err)
		{
			mvt_remove (other);
			return err;
		}
	}
	for (cursor = 0; mvt_iterate (other, &cursor, &row);)
		mvt_delete (t, mvt_get (t, mvt_row_field (other, row), mvt_row (other, row)->len));
	*second = other;
	return MVT_OK;
}

static bool
bits_equal (const uint8_t *a, const uint8_t *b, unsigned bits)
{
	unsigned bytes = bits / 8, rest = bits % 8;
	if (__builtin_memcmp (a, b, bytes))
		return false;
	return !rest || (a[bytes] ^ b[bytes]) >> (8 - rest) == 0;
}

bool
mvt_pick_prefixes (const void *ctx, const void *field, unsigned len, const mvt_value_t *value)
{
	const mvt_pick_prefixes_t *p = ctx;
	(void) value;
	for (unsigned i = 0; i < p->n; i++)
		if (len >= p->prefix[i].len &&
		    bits_equal (field, p->prefix[i].field, p->prefix[i].len))
			return true;
	return false;
}

bool
mvt_pick_share (const void *ctx, const void *field, unsigned len, const mvt_value_t *value)
{
	const mvt_pick_share_t *p = ctx;
	const uint64_t seed[2] = { p->seed, len };
	mvt_secret_t secret;
	(void) value;
	mvt_secret_init (&secret, seed);
	return (mvt_hash_bytes (field, p->field_bytes, &secret) & 0xffff) < p->share;
}

/* ---- combine ---- */

int
mvt_combine (mvt_t *t, mvt_t *other)
{
	uint32_t cursor, row, copied = 0;
	int err = MVT_OK;
	if (t == other || t->config.field_bits != other->config.field_bits)
		return MVT_ERR_INVALID;
	if ((uint64_t) t->entries + other->entries > t->config.max_entries)
	{
		t->refused++;
		return MVT_ERR_FULL;
	}
	for (cursor = 0; mvt_iterate (other, &cursor, &row);)
		if (mvt_get (t, mvt_row_field (other, row), mvt_row (other, row)->len) != MVT_NONE)
			return MVT_ERR_EXISTS;
	for (cursor = 0; !err && mvt_iterate (other, &cursor, &row); copied += !err)
		err = copy_entry (t, other, row);
	if (err)
	{
		for (cursor = 0; copied && mvt_iterate (other, &cursor, &row); copied--)
			mvt_delete (t, mvt_get (t, mvt_row_field (other, row),
						mvt_row (other, row)->len));
		return err;
	}
	for (cursor = 0; mvt_iterate (other, &cursor, &row);)
		mvt_delete (other, row);
	return MVT_OK;
}

/* ---- split and merge ---- */

static void
key_flip (mvt_key_t *key, uint32_t bit)
{
	key->word[bit / 64] ^= 1ull << (63 - bit % 64);
}

static uint32_t
get_row (const mvt_t *t, const mvt_key_t *key, uint32_t len)
{
	uint8_t field[MVT_KEY_MAX];
	for (uint32_t i = 0; i < sizeof field; i++)
		field[i] = (uint8_t) (key->word[i / 8] >> (56 - 8 * (i % 8)));
	return mvt_get (t, field, len);
}

int
mvt_split (mvt_t *t, uint32_t row, mvt_split_t how, uint32_t half[2])
{
	mvt_value_t v[2] = { *mvt_row (t, row), *mvt_row (t, row) };
	uint32_t len = v[0].len, made[2];
	mvt_key_t key[2];
	if (len == t->config.field_bits)
		return MVT_ERR_INVALID;
	mvt_row_key (t, row, &key[0]);
	key[1] = key[0];
	key_flip (&key[1], len);
	if (get_row (t, &key[0], len + 1) != MVT_NONE || get_row (t, &key[1], len + 1) != MVT_NONE)
		return MVT_ERR_EXISTS;
	if (t->entries >= t->config.max_entries)
	{
		t->refused++;
		return MVT_ERR_FULL;
	}
	v[0].len = v[1].len = (uint16_t) (len + 1);
	if (how == MVT_SPLIT_DIVIDE)
	{
		v[1].state /= 2;
		v[0].state -= v[1].state;
	}
	int err = mvt_put (t, &key[0], &v[0], &made[0]);
	if (err)
		return err;
	/* the last row is free: the parent's goes only when both halves stand */
	err = mvt_put (t, &key[1], &v[1], &made[1]);
	if (err)
	{
		mvt_delete (t, made[0]);
		return err;
	}
	mvt_delete (t, row);
	if (half)
	{
		half[0] = made[0];
		half[1] = made[1];
	}
	return MVT_OK;
}

int
mvt_merge (mvt_t *t, uint32_t a, uint32_t b, uint32_t *merged)
{
	mvt_value_t va = *mvt_row (t, a), vb = *mvt_row (t, b);
	mvt_key_t key, sibling;
	mvt_row_key (t, a, &key);
	mvt_row_key (t, b, &sibling);
	if (!va.len || va.len != vb.len || va.state != vb.state || va.timeout != vb.timeout ||
	    va.valid != vb.valid || va.aux != vb.aux)
		return MVT_ERR_NOT_SIBLINGS;
	uint32_t len = va.len - 1u;
	key_flip (&sibling, len);
	if (__builtin_memcmp (&key, &sibling, sizeof key))
		return MVT_ERR_NOT_SIBLINGS;
	if (get_row (t, &key, len) != MVT_NONE)
		return MVT_ERR_EXISTS;
	va.len = (uint16_t) len;
	/* later as ticks count, which may wrap */
	if ((int32_t) (vb.last - va.last) > 0)
		va.last = vb.last;
	int err = mvt_put (t, &key, &va, merged);
	if (err)
		return err;
	mvt_delete (t, a);
	mvt_delete (t, b);
	return MVT_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "mvt_table_private.h"

/* Replaces a row by another wherever it answers for a /24 below the prefix. */
static void
replace (uint32_t *front, uint32_t addr, uint32_t len, uint32_t from, uint32_t to)
{
	uint32_t *at = &front[(addr & mvt_mask32 (len)) >> 8];

	for (uint32_t n = 1u << (24 - len); n; n--, at++)
		if ((*at & MVT_FRONT_ROW) == from)
			*at = (*at & MVT_FRONT_LONGER) | to;
}

/* What answers around a prefix: its longest shorter one, expired or not. 0: none but <*>. */
static uint32_t
around (const mvt_t *t, const mvt_key_t *key, uint32_t len)
{
	const uint32_t *bits = &t->lengths.bits[mvt_key_slot (key)];

	while ((len = mvt_lengths_below (bits, len)))
	{
		uint32_t row = mvt_default_get (t, key, len);
		if (row != MVT_NONE)
			return row + 1;
	}
	return 0;
}

/* Is there a prefix longer than 24 in this /24? Each that there could be is asked for, of the
 * lengths that exist near: at most 510. */
static bool
has_longer (const mvt_t *t, uint32_t addr)
{
	uint32_t bits = t->lengths.bits[addr >> 16];

	for (uint32_t len = 25; len <= 32; len++)
		for (uint32_t i = 0; (bits >> (len - 1) & 1) && i < 1u << (len - 24); i++)
		{
			uint32_t field = (addr & mvt_mask32 (24)) | i << (32 - len);
			mvt_key_t key = { { (uint64_t) field << 32 } };
			if (mvt_default_get (t, &key, len) != MVT_NONE)
				return true;
		}
	return false;
}

int
mvt_front_init (mvt_t *t)
{
	if (t->config.field_bits != 32 || t->config.max_entries < MVT_FRONT_MIN)
		return MVT_OK;
	t->front = mvt_mem_alloc (&t->mem, MVT_FRONT_SIZE * sizeof *t->front, MVT_CACHE_LINE);
	return t->front ? MVT_OK : MVT_ERR_NO_MEMORY;
}

void
mvt_front_exit (mvt_t *t)
{
	mvt_mem_free (&t->mem, t->front, MVT_FRONT_SIZE * sizeof *t->front);
}

void
mvt_front_add (mvt_t *t, uint32_t row, const mvt_key_t *key, uint32_t len)
{
	uint32_t addr = (uint32_t) (key->word[0] >> 32);

	if (!t->front || !len)
		return;
	if (len > 24)
		t->front[addr >> 8] |= MVT_FRONT_LONGER;
	else
		replace (t->front, addr, len, around (t, key, len), row + 1);
}

void
mvt_front_sub (mvt_t *t, uint32_t row, const mvt_key_t *key, uint32_t len)
{
	uint32_t addr = (uint32_t) (key->word[0] >> 32);

	if (!t->front || !len)
		return;
	if (len <= 24)
		replace (t->front, addr, len, row + 1, around (t, key, len));
	else if (!has_longer (t, addr))
		t->front[addr >> 8] &= ~MVT_FRONT_LONGER;
}

/* Every /24 says what the hash tables say. Where no length is above 16, all of a /16 are the same.
 */
int
mvt_front_verify (const mvt_t *t)
{
	for (uint32_t slot = 0; t->front && slot < 65536; slot++)
	{
		uint32_t bits = t->lengths.bits[slot], row = 0;
		for (uint32_t at = slot << 8; at < (slot + 1) << 8; at++)
		{
			mvt_key_t key = { { (uint64_t) at << 40 } };
			if (bits >> 16 || !(at & 0xff))
				row = around (t, &key, 25);
			if ((t->front[at] & MVT_FRONT_ROW) != row)
				return -1;
			if (t->front[at] & MVT_FRONT_LONGER && !has_longer (t, at << 8))
				return -2;
		}
	}
	for (uint32_t row, cursor = 0; t->front && mvt_iterate (t, &cursor, &row);)
	{
		uint32_t addr = mvt_load32 (mvt_row_field (t, row));
		if (mvt_row (t, row)->len > 24 && !(t->front[addr >> 8] & MVT_FRONT_LONGER))
			return -3;
	}
	return 0;
}

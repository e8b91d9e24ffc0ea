/* SPDX-License-Identifier: Apache-2.0
 *
 * A policy table with overlapping ranges: "these addresses, from here to there, get that policy",
 * where a later range overrides the earlier ones as long as it stands.
 *
 * A range becomes the few prefixes that make it up. Longest match alone would let an older, longer
 * prefix shine through, so shard() first moves everything inside the new range to a table of its
 * own. Withdrawing the range combines that table back: nothing has to be computed again.
 */
#include <stdio.h>

#include "host_memory.h"
#include "mvt_table.h"

#define MAX_PIECES 62 /* a range of 32-bit addresses is never more prefixes */

typedef struct
{
	uint32_t first, last;
	const char *policy;
} range_t;

typedef struct
{
	uint8_t field[MAX_PIECES][4];
	mvt_prefix_t prefix[MAX_PIECES];
	unsigned n;
	mvt_t *hidden; /* what the range overrides, while it stands */
} layer_t;

/* The longest aligned prefixes from first to last, in order. */
static void
cut_to_prefixes (layer_t *layer, uint32_t first, uint32_t last)
{
	uint64_t at = first;
	for (layer->n = 0; at <= last; layer->n++)
	{
		unsigned bits = at ? (unsigned) __builtin_ctzll (at) : 32;
		while (bits > 32 || at + (1ull << bits) - 1 > last)
			bits--;
		uint8_t *field = layer->field[layer->n];
		for (unsigned i = 0; i < 4; i++)
			field[i] = (uint8_t) (at >> (24 - 8 * i));
		layer->prefix[layer->n] = (mvt_prefix_t){ field, 32 - bits };
		at += 1ull << bits;
	}
}

static int
policy_push (mvt_t *t, const range_t *range, unsigned policy, layer_t *layer)
{
	cut_to_prefixes (layer, range->first, range->last);
	mvt_pick_prefixes_t inside = { layer->prefix, layer->n };
	int err = mvt_shard (t, mvt_pick_prefixes, &inside, &layer->hidden);
	for (unsigned i = 0; !err && i < layer->n; i++)
		err = mvt_set (t, layer->field[i], layer->prefix[i].len, policy, 0, 0, NULL);
	return err;
}

/* Withdraws the range that was pushed last. */
static int
policy_pop (mvt_t *t, layer_t *layer)
{
	for (unsigned i = 0; i < layer->n; i++)
		mvt_delete (t, mvt_get (t, layer->field[i], layer->prefix[i].len));
	int err = mvt_combine (t, layer->hidden);
	mvt_remove (layer->hidden);
	return err;
}

static const range_t ranges[] = {
	{ 0x0a000000, 0x0affffff, "customers" },   /* 10.0.0.0 - 10.255.255.255 */
	{ 0x0a000400, 0x0a0007ff, "servers" },	   /* 10.0.4.0 - 10.0.7.255 */
	{ 0x0a000701, 0x0a0013fe, "guests" },	   /* 10.0.7.1 - 10.0.19.254: overlaps servers */
	{ 0x0a000505, 0x0a001005, "maintenance" }, /* 10.0.5.5 - 10.0.16.5: overlaps both */
};
#define N_RANGES (sizeof ranges / sizeof *ranges)

/* Compares with the plain meaning, the last of the first n ranges that holds the address. */
static unsigned
check (mvt_t *t, unsigned n, unsigned *checked)
{
	unsigned wrong = 0;
	for (uint32_t addr = 0x0a000000 - 300; addr < 0x0a002000; addr++, ++*checked)
	{
		uint64_t expected = N_RANGES;
		for (unsigned i = 0; i < n; i++)
			if (addr >= ranges[i].first && addr <= ranges[i].last)
				expected = i;
		uint32_t row = mvt_lookup4 (t, addr, 0);
		wrong += (row == MVT_NONE ? N_RANGES : mvt_value (t, row)->state) != expected;
	}
	return wrong;
}

static void
show (mvt_t *t, uint32_t addr)
{
	uint32_t row = mvt_lookup4 (t, addr, 0);
	printf ("%u.%u.%u.%u  %s\n", addr >> 24, addr >> 16 & 255, addr >> 8 & 255, addr & 255,
		row == MVT_NONE ? "none" : ranges[mvt_value (t, row)->state].policy);
}

int
main (void)
{
	mvt_config_t config = {
		.field_bits = 32, .max_entries = 1024, .cache_lines = 256, .seed = { 3, 4 }
	};
	mvt_t *t = mvt_new (&config, &host_memory);
	layer_t layer[N_RANGES];
	unsigned wrong = 0, checked = 0;
	if (!t)
		return 1;
	for (unsigned i = 0; i < N_RANGES; i++)
	{
		if (policy_push (t, &ranges[i], i, &layer[i]))
			return 1;
		wrong += check (t, i + 1, &checked);
	}
	printf ("%u entries for %zu ranges\n", mvt_entries (t), N_RANGES);
	for (unsigned i = N_RANGES; i-- > 0;)
	{
		show (t, 0x0a000509);
		show (t, 0x0a000a01);
		if (policy_pop (t, &layer[i]))
			return 1;
		wrong += check (t, i, &checked);
	}
	show (t, 0x0a000509);
	printf ("%u of %u addresses differ from the ranges' meaning\n", wrong, checked);
	wrong += mvt_entries (t) != 0;
	mvt_remove (t);
	return wrong ? 1 : 0;
}

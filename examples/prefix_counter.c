/* SPDX-License-Identifier: Apache-2.0
 *
 * A per-prefix traffic counter that finds by itself where the traffic is.
 *
 * It begins with one entry, <*>. Every packet is an inc of its longest match. An entry with more
 * than its share is split, down to /24; after each period two idle siblings are merged. So a few
 * dozen entries follow the traffic through the whole address space, and no packet is lost.
 */
#include <inttypes.h>
#include <stdio.h>

#include "host_memory.h"
#include "mvt_table.h"

enum
{
	PERIODS = 10,
	BATCHES = 256, /* per period */
	PACKETS = BATCHES * MVT_BATCH_MAX,
	HOT = PACKETS / 16,  /* split above */
	IDLE = PACKETS / 64, /* merge where both are below */
	MAX_LEN = 24,
};

/* Half of the packets come from one /24, the other half from anywhere. */
static uint32_t
source (uint64_t *random, unsigned period)
{
	uint32_t hot = period < PERIODS / 2 ? 0x0a010200 : 0xac100900; /* 10.1.2/24, 172.16.9/24 */
	uint32_t r = mvt_random (random);
	return mvt_random (random) & 1 ? r : hot | (r & 0xff);
}

/* One batch of packets: longest match for all of them, then count. */
static void
count_batch (mvt_t *t, uint64_t *random, unsigned period)
{
	uint32_t src[MVT_BATCH_MAX], row[MVT_BATCH_MAX];
	for (unsigned i = 0; i < MVT_BATCH_MAX; i++)
		src[i] = source (random, period);
	mvt_lookup4_batch (t, src, MVT_BATCH_MAX, 0, row);
	for (unsigned i = 0; i < MVT_BATCH_MAX; i++)
		mvt_inc (t, row[i], 1);
}

/* Splits every entry that has counted more than its share. What it has counted is divided between
 * the halves, so the sum stays right; which half was the busy one shows soon. */
static int
split_busy (mvt_t *t)
{
	for (uint32_t cursor = 0, row; mvt_iterate (t, &cursor, &row);)
	{
		const mvt_value_t *v = mvt_value (t, row);
		if (v->state <= HOT || v->len >= MAX_LEN)
			continue;
		int err = mvt_split (t, row, MVT_SPLIT_DIVIDE, NULL);
		if (err && err != MVT_ERR_FULL)
			return err;
	}
	return MVT_OK;
}

/* Reads and clears all counters; aux says what was idle. */
static uint64_t
harvest (mvt_t *t, uint32_t *hottest)
{
	uint64_t total = 0, most = 0;
	for (uint32_t cursor = 0, row; mvt_iterate (t, &cursor, &row);)
	{
		uint64_t count = mvt_value (t, row)->state;
		if (count > most)
		{
			most = count;
			*hottest = row;
		}
		total += count;
		mvt_set_aux (t, row, count < IDLE);
		mvt_store (t, row, 0);
	}
	return total;
}

/* Merges idle siblings. After a harvest their values are equal; where one was busy, or is split
 * further, nothing happens. */
static int
merge_idle (mvt_t *t)
{
	for (uint32_t cursor = 0, row; mvt_iterate (t, &cursor, &row);)
	{
		const mvt_value_t *v = mvt_value (t, row);
		uint8_t sibling[4];
		if (!v->len || !v->aux)
			continue;
		memcpy (sibling, mvt_field (t, row), 4);
		sibling[(v->len - 1) / 8] ^= (uint8_t) (0x80 >> (v->len - 1) % 8);
		uint32_t other = mvt_get (t, sibling, v->len);
		int err = other == MVT_NONE ? MVT_OK : mvt_merge (t, row, other, NULL);
		if (err && err != MVT_ERR_NOT_SIBLINGS)
			return err;
	}
	return MVT_OK;
}

int
main (void)
{
	mvt_config_t config = { .field_bits = 32, .max_entries = 1024, .seed = { 1, 2 } };
	mvt_t *t = mvt_new (&config, &host_memory);
	uint64_t random = 20240229, counted = 0;
	uint32_t hottest = MVT_NONE;
	if (!t || mvt_set4 (t, 0, 0, 0))
		return 1;
	for (unsigned period = 0; period < PERIODS; period++)
	{
		for (unsigned batch = 0; batch < BATCHES; batch++)
		{
			count_batch (t, &random, period);
			if (split_busy (t))
				return 1;
		}
		counted += harvest (t, &hottest);
		if (period + 1 == PERIODS / 2 || period + 1 == PERIODS)
		{
			const uint8_t *f = mvt_field (t, hottest);
			printf ("after %u periods: %u entries, the hot one is %u.%u.%u.%u/%u\n",
				period + 1, mvt_entries (t), f[0], f[1], f[2], f[3],
				mvt_value (t, hottest)->len);
		}
		if (merge_idle (t) || mvt_verify (t))
			return 1;
	}
	printf ("counted %" PRIu64 " of %u packets, %s lost\n", counted, PERIODS * PACKETS,
		counted == (uint64_t) PERIODS * PACKETS ? "nothing" : "some");
	mvt_remove (t);
	return counted == (uint64_t) PERIODS * PACKETS ? 0 : 1;
}

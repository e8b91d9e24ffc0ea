/* SPDX-License-Identifier: Apache-2.0
 *
 * mvt_backed_t: an array that fills from its start, in memory that its host reserved
 * (mvt_mem_reserve) and backs as it fills. So an instance takes the memory that its mappings need
 * and not what max_mappings may need one day, and yet no packet waits for a page: between batches
 * its owner backs a little more than is in use, one step at a time. Only a batch that takes more
 * than was ahead backs what it needs itself, also in steps.
 *
 * Private to the core. Owner thread only.
 */
#ifndef MVT_BACKED_H
#define MVT_BACKED_H

#include "mvt_types.h"

#define MVT_BACKED_STEP ((size_t) 64 << 10)

typedef struct
{
	uint8_t *base;
	size_t size;
	size_t backed; /* bytes from base on that may be used */
	mvt_mem_t mem;
} mvt_backed_t;

/* The array of size bytes at base; nothing of it may be used yet. */
static inline void
mvt_backed_init (mvt_backed_t *b, void *base, size_t size, const mvt_mem_t *mem)
{
	*b = (mvt_backed_t){ .base = base, .size = size, .mem = *mem };
	if (!mem->back)
		b->backed = size;
}

static inline void
mvt_backed_step (mvt_backed_t *b)
{
	size_t left = b->size - b->backed;
	size_t step = left < MVT_BACKED_STEP ? left : MVT_BACKED_STEP;

	mvt_mem_back (&b->mem, b->base + b->backed, step);
	b->backed += step;
}

/* The first `bytes` bytes may be used from now on. => bytes <= size */
static inline void
mvt_backed_need (mvt_backed_t *b, size_t bytes)
{
	while (mvt_unlikely (b->backed < bytes))
		mvt_backed_step (b);
}

/* One step, if fewer than `ahead` bytes are backed beyond those `used`. Returns whether there was
 * one to do. */
static inline bool
mvt_backed_ahead (mvt_backed_t *b, size_t used, size_t ahead)
{
	if (b->backed == b->size || b->backed >= used + ahead)
		return false;
	mvt_backed_step (b);
	return true;
}

#endif /* MVT_BACKED_H */

/* SPDX-License-Identifier: Apache-2.0
 *
 * touch: a feature that reads two random lines of memory for each packet, the second known by the
 * first, both prefetched, and sends the packet on as it is. It is the yardstick for a NAT, which
 * reads as much at least: a bucket, and the entry that it names. A benchmark can compare the clocks
 * of the two, counted by VPP in the same way, where clocks of different CPUs say nothing.
 *
 * Where it reads follows from the packet's inside endpoint, so what is in the caches follows the
 * flows, as a NAT's table does. The lines lie where HashMVT's do, in pages of the same size, near
 * the first worker. Workers only read them.
 */
#ifndef included_hashmvt_touch_h
#define included_hashmvt_touch_h

#include "memory.h"

#include <vlib/vlib.h>

#define TOUCH_LINES_MAX (1u << 28) /* as many entries as an instance may have */
/* Packets that one line serves in ten instances: a bucket of a full index has 6.2 entries
 * (mvt_buckets.h). */
#define TOUCH_PER_FIRST_10 62
#define TOUCH_NAMES	   (MVT_CACHE_LINE / sizeof (u32))

typedef struct
{
	u32 name[TOUCH_NAMES]; /* each a second line, at random */
} touch_first_t;

typedef struct
{
	u64 one; /* 1, so that the sum of what was read says how many lines were */
	u64 rest[MVT_CACHE_LINE / sizeof (u64) - 1];
} touch_second_t;

STATIC_ASSERT_SIZEOF (touch_first_t, MVT_CACHE_LINE);
STATIC_ASSERT_SIZEOF (touch_second_t, MVT_CACHE_LINE);

typedef struct
{
	const touch_first_t *first; /* NULL until there are lines */
	const touch_second_t *second;
	u32 n_first;
	arena_t arena;
	size_t size; /* of both, from the first on */
} touch_main_t;

extern touch_main_t touch_main;

#endif /* included_hashmvt_touch_h */

/* SPDX-License-Identifier: Apache-2.0
 *
 * The blocks in use, for `show pool` and the like.
 */
#include "mvt_pool_private.h"

uint32_t
mvt_pool_walk_blocks (const mvt_pool_t *pool, uint64_t *cursor, mvt_pool_block_t *out, uint32_t max,
		      uint32_t budget, bool *wrapped)
{
	uint32_t slab = *cursor ? (uint32_t) *cursor : 1, n = 0;

	for (; budget && slab < pool->fresh && n < max; budget--, slab++)
	{
		const mvt_slab_t *s = &pool->slabs[slab];
		if (s->proto == MVT_SLAB_NO_PROTO)
			continue;
		/* a block has up to three slabs: it is told with the first of its protocols */
		mvt_pool_block_t info = { .block = s->block, .holder = MVT_NONE };
		unsigned first = MVT_PROTO_N;
		for (unsigned proto = MVT_PROTO_N; proto-- > 0;)
		{
			uint32_t other = mvt_pool_slab_of (pool, s->block, proto);
			if (!other)
				continue;
			first = proto;
			info.in_use[proto] = pool->slabs[other].n_used;
		}
		if (first != s->proto)
			continue;
		if (pool->block_host && pool->block_host[s->block].n_dynamic)
			info.holder = pool->block_host[s->block].host;
		out[n++] = info;
	}
	*wrapped = slab >= pool->fresh;
	*cursor = *wrapped ? 0 : slab;
	return n;
}

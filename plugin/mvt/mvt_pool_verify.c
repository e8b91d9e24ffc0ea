/* SPDX-License-Identifier: Apache-2.0 */
#include "mvt_pool_private.h"

/* Everything that is kept incrementally, counted again from the entries and slabs. */
#define CHECK(condition)                 \
	do                               \
	{                                \
		if (!(condition))        \
			return __LINE__; \
	} while (0)

/* What one slab says of itself against its entries. */
static int
verify_slab (const mvt_pool_t *pool, uint32_t s)
{
	const mvt_slab_t *slab = &pool->slabs[s];
	const uint64_t *free_ports = mvt_pool_free_ports (pool, s);
	const uint64_t *used_ports = mvt_pool_used_ports (pool, s);
	uint32_t first = slab->block << pool->head.block_bits & 0xffff;
	uint32_t n_free = 0, n_used = 0, n_held = 0;

	CHECK (slab->proto < MVT_PROTO_N);
	CHECK (mvt_pool_owns (pool, slab->block));
	CHECK (mvt_pool_slab_of (pool, slab->block, slab->proto) == s);
	for (uint32_t i = 0; i <= pool->head.block_mask; i++)
	{
		uint32_t line = (s << pool->head.block_bits) + i;
		const mvt_entry_t *e = mvt_pool_line (pool, line);
		bool is_free = mvt_bitmap_test (free_ports, i);
		bool is_used = mvt_bitmap_test (used_ports, i);
		bool allocatable = mvt_pool_is_allocatable (pool, (uint16_t) (first + i));

		n_free += is_free;
		n_used += is_used;
		n_held += e->state == MVT_ENTRY_HELD;
		CHECK (!is_free || allocatable);
		CHECK (is_used == (e->state == MVT_ENTRY_DYNAMIC || e->state == MVT_ENTRY_STATIC));
		CHECK (is_free == (allocatable && e->state == MVT_ENTRY_FREE));
		CHECK (e->state != MVT_ENTRY_DYNAMIC || allocatable);
		if (e->state == MVT_ENTRY_FREE)
			continue;
		CHECK (e->ext_port == first + i && e->proto == slab->proto && e->slab == s);
	}
	CHECK (n_free == slab->n_free && n_used == slab->n_used && n_held == slab->n_held);
	CHECK (n_used + n_held > 0);
	for (uint32_t w = 0; pool->port_words > 1 && w < pool->port_words; w++)
		CHECK (mvt_bitmap_test (free_ports + pool->port_words, w) == (free_ports[w] != 0));
	return 0;
}

static int
verify_slabs (const mvt_pool_t *pool)
{
	uint32_t taken = 0, listed = 0, in_use[MVT_PROTO_N] = { 0 }, held[MVT_PROTO_N] = { 0 };

	for (uint32_t s = 1; s < pool->fresh; s++)
	{
		const mvt_slab_t *slab = &pool->slabs[s];
		int broken;

		if (slab->proto == MVT_SLAB_NO_PROTO)
			continue;
		broken = verify_slab (pool, s);
		if (broken)
			return broken;
		taken++;
		in_use[slab->proto] += slab->n_used;
		held[slab->proto] += slab->n_held;
	}
	CHECK (taken == pool->slabs_taken);
	for (uint32_t s = pool->slab_free; s; s = pool->slabs[s].next)
	{
		CHECK (pool->slabs[s].proto == MVT_SLAB_NO_PROTO);
		listed++;
	}
	CHECK (listed + taken == pool->fresh - 1);
	CHECK (pool->fresh <= pool->n_slabs);
	for (uint32_t proto = 0; proto < MVT_PROTO_N; proto++)
	{
		CHECK (in_use[proto] == pool->in_use[proto]);
		CHECK (held[proto] == pool->held[proto].count);
	}
	CHECK (pool->in_use[0] + pool->in_use[1] + pool->in_use[2] == pool->in_use_all);
	CHECK (pool->in_use_all <= pool->config.max_mappings);
	return 0;
}

/* Lists and candidates of one (slot, protocol). *listed: slabs that are in them. */
static int
verify_lists (const mvt_pool_t *pool, uint32_t slot, uint32_t proto, uint32_t *listed)
{
	const mvt_slot_proto_t *sp = &pool->slots[slot].proto[proto];
	const uint16_t *open = mvt_pool_open_array (pool, slot, proto);
	uint32_t candidates = 0;

	CHECK (sp->n_open <= pool->open_max);
	for (uint32_t i = 0; i < sp->n_open; i++)
	{
		uint32_t s = mvt_pool_slab_of (pool, slot << pool->slot_bits_log2 | open[i], proto);
		CHECK (s && pool->slabs[s].where == MVT_SLAB_OPEN && pool->slabs[s].next == i);
		CHECK (pool->slabs[s].n_free);
		candidates += pool->slabs[s].n_free;
	}
	CHECK (candidates == sp->candidates);
	*listed = sp->n_open;
	for (uint32_t class = 0; class < MVT_POOL_CLASSES; class ++)
	{
		uint32_t prev = 0;

		CHECK ((sp->classes >> class & 1) == (sp->class_head[class] != 0));
		for (uint32_t s = sp->class_head[class]; s; s = pool->slabs[s].next)
		{
			CHECK (pool->slabs[s].where == class && pool->slabs[s].prev == prev);
			CHECK (pool->slabs[s].n_free && pool->slabs[s].proto == proto);
			CHECK (mvt_pool_block_slot (pool, pool->slabs[s].block) == slot);
			prev = s;
			++*listed;
		}
	}
	return 0;
}

static int
verify_slot (const mvt_pool_t *pool, uint32_t slot)
{
	const mvt_slot_t *at = &pool->slots[slot];
	uint32_t n_owned = 0, n_free = 0, n_bare[MVT_PROTO_N] = { 0 }, listed;
	uint32_t unused[MVT_PROTO_N] = { 0 }, in_lists[MVT_PROTO_N] = { 0 };

	for (uint32_t local = 0; local < 1u << pool->slot_bits_log2; local++)
	{
		uint32_t block = slot << pool->slot_bits_log2 | local;
		uint32_t usable = pool->usable[local];
		bool owned = mvt_pool_owns (pool, block);
		bool in_use = mvt_pool_block_in_use (pool, block);
		bool is_free = owned && !in_use && usable;

		n_owned += owned;
		n_free += is_free;
		CHECK (owned == (mvt_directory_owner (pool->dir, block) == pool->config.instance));
		CHECK (owned || !in_use);
		CHECK (is_free ==
		       mvt_bitmap_test (mvt_pool_slot_map (pool, slot, MVT_SLOT_FREE), local));
		for (uint32_t proto = 0; proto < MVT_PROTO_N; proto++)
		{
			uint32_t s = mvt_pool_slab_of (pool, block, proto);
			bool bare = in_use && usable && !s;

			CHECK (bare == mvt_bitmap_test (mvt_pool_slot_map (pool, slot,
									   MVT_SLOT_BARE + proto),
							local));
			n_bare[proto] += bare;
			unused[proto] += s ? pool->slabs[s].n_free : owned ? usable : 0;
			in_lists[proto] += s && pool->slabs[s].where != MVT_SLAB_UNLISTED;
			CHECK (!s || pool->block_host ||
			       (pool->slabs[s].n_free == 0) ==
				       (pool->slabs[s].where == MVT_SLAB_UNLISTED));
		}
	}
	CHECK (n_owned == at->n_owned && n_free == at->n_free);
	CHECK (mvt_bitmap_test (pool->free_slots, slot) == (n_free != 0));
	for (uint32_t map = MVT_SLOT_OWNED; map < MVT_SLOT_MAPS && pool->block_words > 1; map++)
	{
		const uint64_t *bits = mvt_pool_slot_map (pool, slot, map);
		for (uint32_t w = 0; w < pool->block_words; w++)
			CHECK (mvt_bitmap_test (bits + pool->block_words, w) == (bits[w] != 0));
	}
	for (uint32_t proto = 0; proto < MVT_PROTO_N; proto++)
	{
		int broken = verify_lists (pool, slot, proto, &listed);

		if (broken)
			return broken;
		CHECK (listed == in_lists[proto]);
		CHECK (unused[proto] == at->proto[proto].unused);
		CHECK (n_bare[proto] == at->proto[proto].n_bare);
	}
	return 0;
}

static int
verify_held (const mvt_pool_t *pool)
{
	for (uint32_t proto = 0; proto < MVT_PROTO_N; proto++)
	{
		uint32_t n = 0, by_slot = 0, prev = 0, last = 0;

		for (uint32_t line = pool->held[proto].head; line; n++)
		{
			const mvt_entry_t *e = mvt_pool_line (pool, line);
			CHECK (e->state == MVT_ENTRY_HELD && e->proto == proto);
			CHECK (n == 0 || e->last >= last);
			last = e->last;
			prev = line;
			line = mvt_pool_held_next (e);
		}
		CHECK (n == pool->held[proto].count && prev == pool->held[proto].tail);
		for (uint32_t slot = 0; slot < pool->n_slots; slot++)
		{
			prev = 0;
			for (uint32_t line = pool->slots[slot].proto[proto].held_head; line;
			     by_slot++)
			{
				const mvt_entry_t *e = mvt_pool_line (pool, line);
				CHECK (mvt_pool_block_slot (pool, pool->slabs[e->slab].block) ==
				       slot);
				prev = line;
				line = mvt_pool_held_slot_next (e);
			}
			CHECK (prev == pool->slots[slot].proto[proto].held_tail);
		}
		CHECK (by_slot == n);
	}
	return 0;
}

/* Allocation: block. A block has a host exactly while it has a dynamic entry. */
static int
verify_block_hosts (const mvt_pool_t *pool)
{
	for (uint32_t block = 0; block < pool->n_slots << pool->slot_bits_log2; block++)
	{
		const mvt_block_host_t *b = &pool->block_host[block];
		uint32_t n = 0;

		for (uint32_t proto = 0; proto < MVT_PROTO_N; proto++)
		{
			uint32_t s = mvt_pool_slab_of (pool, block, proto);
			uint32_t line = s << pool->head.block_bits;

			for (uint32_t i = 0; s && i <= pool->head.block_mask; i++)
			{
				const mvt_entry_t *e = mvt_pool_line (pool, line + i);
				if (e->state != MVT_ENTRY_DYNAMIC)
					continue;
				n++;
				CHECK (e->host == b->host);
			}
		}
		CHECK (n == b->n_dynamic);
		if (n && b->next != MVT_NONE)
		{
			CHECK (pool->block_host[b->next].prev == block);
			CHECK (pool->block_host[b->next].host == b->host);
		}
		CHECK (b->host != MVT_BLOCK_ORPHAN || mvt_pool_block_in_use (pool, block));
	}
	return 0;
}

int
mvt_pool_verify (const mvt_pool_t *pool)
{
	uint32_t owned = 0, free_blocks = 0, used = 0, open = 0;
	uint64_t ports = 0, in_free = 0, unused[MVT_PROTO_N] = { 0 };
	int broken = verify_slabs (pool);

	for (uint32_t slot = 0; !broken && slot < pool->n_slots; slot++)
		broken = verify_slot (pool, slot);
	if (!broken)
		broken = verify_held (pool);
	if (!broken && pool->block_host)
		broken = verify_block_hosts (pool);
	if (broken)
		return broken;

	for (uint32_t block = 0; block < pool->n_slots << pool->slot_bits_log2; block++)
	{
		uint32_t usable = mvt_pool_usable (pool, block);
		bool in_use = mvt_pool_block_in_use (pool, block), is_open = false;

		if (!mvt_pool_owns (pool, block))
			continue;
		owned++;
		ports += usable;
		used += in_use;
		free_blocks += !in_use && usable;
		in_free += in_use ? 0 : usable;
		for (uint32_t proto = 0; proto < MVT_PROTO_N; proto++)
		{
			uint32_t s = mvt_pool_slab_of (pool, block, proto);
			unused[proto] += s ? pool->slabs[s].n_free : usable;
			is_open |= s && pool->slabs[s].where == MVT_SLAB_OPEN;
		}
		open += pool->block_host ? pool->block_host[block].n_dynamic != 0 : is_open;
	}
	CHECK (owned == pool->n_blocks && free_blocks == pool->n_blocks_free);
	CHECK (used == pool->n_blocks_used && open == pool->n_blocks_open);
	CHECK (ports == pool->ports && in_free == pool->ports_in_free);
	for (uint32_t proto = 0; proto < MVT_PROTO_N; proto++)
		CHECK (unused[proto] == pool->unused[proto]);
	return 0;
}

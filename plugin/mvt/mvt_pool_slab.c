/* SPDX-License-Identifier: Apache-2.0 */
#include "mvt_pool_private.h"

/* Is the block open for any protocol? Where blocks are assigned to hosts the assigned ones are. */
static bool
block_is_open (const mvt_pool_t *pool, uint32_t block)
{
	if (pool->block_host)
		return pool->block_host[block].n_dynamic != 0;
	for (uint32_t proto = 0; proto < MVT_PROTO_N; proto++)
	{
		uint32_t slab = mvt_pool_slab_of (pool, block, proto);
		if (slab && pool->slabs[slab].where == MVT_SLAB_OPEN)
			return true;
	}
	return false;
}

static void
bare_set (mvt_pool_t *pool, uint32_t block, uint32_t proto, bool bare)
{
	uint32_t slot = mvt_pool_block_slot (pool, block);
	uint32_t local = mvt_pool_block_local (pool, block);
	uint64_t *map = mvt_pool_slot_map (pool, slot, MVT_SLOT_BARE + proto);

	if (mvt_bitmap_test (map, local) == bare)
		return;
	if (bare)
	{
		mvt_bitmap_set (map, pool->block_words, local);
		pool->slots[slot].proto[proto].n_bare++;
	}
	else
	{
		mvt_bitmap_clear (map, pool->block_words, local);
		pool->slots[slot].proto[proto].n_bare--;
	}
}

void
mvt_pool_block_freed (mvt_pool_t *pool, uint32_t block)
{
	uint32_t slot = mvt_pool_block_slot (pool, block);

	if (pool->block_host)
		mvt_pool_assign_block_freed (pool, block);
	if (mvt_pool_usable (pool, block) == 0)
		return;
	mvt_bitmap_set (mvt_pool_slot_map (pool, slot, MVT_SLOT_FREE), pool->block_words,
			mvt_pool_block_local (pool, block));
	if (pool->slots[slot].n_free++ == 0)
		mvt_bitmap_set (pool->free_slots, pool->free_slot_words, slot);
	pool->n_blocks_free++;
	pool->ports_in_free += mvt_pool_usable (pool, block);
}

void
mvt_pool_block_taken (mvt_pool_t *pool, uint32_t block)
{
	uint32_t slot = mvt_pool_block_slot (pool, block);

	if (mvt_pool_usable (pool, block) == 0)
		return;
	mvt_bitmap_clear (mvt_pool_slot_map (pool, slot, MVT_SLOT_FREE), pool->block_words,
			  mvt_pool_block_local (pool, block));
	if (--pool->slots[slot].n_free == 0)
		mvt_bitmap_clear (pool->free_slots, pool->free_slot_words, slot);
	pool->n_blocks_free--;
	pool->ports_in_free -= mvt_pool_usable (pool, block);
}

/* The ports of a block that may be allocated, as the words of its bitmap. */
static void
slab_fill (const mvt_pool_t *pool, uint64_t *map, uint32_t block)
{
	uint32_t port = mvt_pool_block_local (pool, block) << pool->head.block_bits;

	if (pool->head.block_bits < 6)
		map[0] = pool->allocatable[port >> 6] >> (port & 63) &
			 ((1ull << (pool->head.block_mask + 1)) - 1);
	else
		memcpy (map, &pool->allocatable[port >> 6], pool->port_words * sizeof (uint64_t));
	mvt_bitmap_summarize (map, pool->port_words);
}

uint32_t
mvt_pool_slab_new (mvt_pool_t *pool, uint32_t block, uint32_t proto)
{
	uint32_t s = pool->slab_free;
	mvt_slab_t *slab;

	if (s)
		pool->slab_free = pool->slabs[s].next;
	else if (pool->fresh < pool->n_slabs)
	{
		s = pool->fresh++;
		mvt_pool_back (pool, pool->fresh);
	}
	else
		return 0;

	slab = &pool->slabs[s];
	memset (slab, 0, sizeof (*slab));
	slab->block = block;
	slab->proto = (uint8_t) proto;
	slab->where = MVT_SLAB_UNLISTED;
	slab->n_free = (uint16_t) mvt_pool_usable (pool, block);
	slab_fill (pool, mvt_pool_free_ports (pool, s), block);
	memset (mvt_pool_used_ports (pool, s), 0, pool->port_words * sizeof (uint64_t));

	if (!mvt_pool_block_in_use (pool, block))
	{
		mvt_pool_block_taken (pool, block);
		pool->n_blocks_used++;
	}
	pool->head.slab_line[block][proto] = s << pool->head.block_bits;
	pool->slabs_taken++;
	if (mvt_pool_usable (pool, block))
		for (uint32_t p = 0; p < MVT_PROTO_N; p++)
			bare_set (pool, block, p, pool->head.slab_line[block][p] == 0);
	return s;
}

static void
slab_give_back (mvt_pool_t *pool, uint32_t s)
{
	mvt_slab_t *slab = &pool->slabs[s];
	uint32_t block = slab->block;
	bool in_use;

	mvt_pool_slab_move (pool, s, MVT_SLAB_UNLISTED);
	pool->head.slab_line[block][slab->proto] = 0;
	in_use = mvt_pool_block_in_use (pool, block);
	if (mvt_pool_usable (pool, block))
		for (uint32_t p = 0; p < MVT_PROTO_N; p++)
			bare_set (pool, block, p, in_use && pool->head.slab_line[block][p] == 0);
	slab->proto = MVT_SLAB_NO_PROTO;
	slab->next = pool->slab_free;
	pool->slab_free = s;
	pool->slabs_taken--;
	if (!in_use)
	{
		mvt_pool_block_freed (pool, block);
		pool->n_blocks_used--;
	}
}

static void
open_add (mvt_pool_t *pool, mvt_slot_proto_t *sp, mvt_slab_t *slab)
{
	uint32_t slot = mvt_pool_block_slot (pool, slab->block);

	if (!block_is_open (pool, slab->block))
		pool->n_blocks_open++;
	slab->where = MVT_SLAB_OPEN;
	slab->next = sp->n_open;
	mvt_pool_open_array (pool, slot, slab->proto)[sp->n_open++] =
		(uint16_t) mvt_pool_block_local (pool, slab->block);
	sp->candidates += slab->n_free;
}

static void
open_remove (mvt_pool_t *pool, mvt_slot_proto_t *sp, mvt_slab_t *slab)
{
	uint32_t slot = mvt_pool_block_slot (pool, slab->block);
	uint16_t *open = mvt_pool_open_array (pool, slot, slab->proto);
	uint16_t last = open[--sp->n_open];
	uint32_t block = slot << pool->slot_bits_log2 | last;

	open[slab->next] = last;
	pool->slabs[mvt_pool_slab_of (pool, block, slab->proto)].next = slab->next;
	sp->candidates -= slab->n_free;
	slab->where = MVT_SLAB_UNLISTED;
	if (!block_is_open (pool, slab->block))
		pool->n_blocks_open--;
}

static void
class_add (mvt_pool_t *pool, mvt_slot_proto_t *sp, uint32_t s, uint32_t class)
{
	mvt_slab_t *slab = &pool->slabs[s];

	slab->where = (uint8_t) class;
	slab->prev = 0;
	slab->next = sp->class_head[class];
	if (slab->next)
		pool->slabs[slab->next].prev = s;
	sp->class_head[class] = s;
	sp->classes |= 1u << class;
}

static void
class_remove (mvt_pool_t *pool, mvt_slot_proto_t *sp, mvt_slab_t *slab)
{
	if (slab->prev)
		pool->slabs[slab->prev].next = slab->next;
	else
		sp->class_head[slab->where] = slab->next;
	if (slab->next)
		pool->slabs[slab->next].prev = slab->prev;
	if (!sp->class_head[slab->where])
		sp->classes &= ~(1u << slab->where);
	slab->where = MVT_SLAB_UNLISTED;
}

void
mvt_pool_slab_move (mvt_pool_t *pool, uint32_t s, uint32_t where)
{
	mvt_slab_t *slab = &pool->slabs[s];
	mvt_slot_proto_t *sp =
		&pool->slots[mvt_pool_block_slot (pool, slab->block)].proto[slab->proto];

	if (slab->where == where)
		return;
	if (slab->where == MVT_SLAB_OPEN)
		open_remove (pool, sp, slab);
	else if (slab->where < MVT_POOL_CLASSES)
		class_remove (pool, sp, slab);
	if (where == MVT_SLAB_OPEN)
		open_add (pool, sp, slab);
	else if (where < MVT_POOL_CLASSES)
		class_add (pool, sp, s, where);
}

/* Entries in use or held in a block, all protocols. */
static uint32_t
block_occupancy (const mvt_pool_t *pool, uint32_t block)
{
	uint32_t n = 0;

	for (uint32_t proto = 0; proto < MVT_PROTO_N; proto++)
	{
		/* slab 0 is none and has no entries */
		const mvt_slab_t *slab = &pool->slabs[mvt_pool_slab_of (pool, block, proto)];
		n += (uint32_t) slab->n_used + slab->n_held;
	}
	return n;
}

static uint32_t
block_class (const mvt_pool_t *pool, uint32_t block)
{
	uint32_t class = block_occupancy (pool, block) * 8 >> pool->head.block_bits;
	return class < MVT_POOL_CLASSES ? class : MVT_POOL_CLASSES - 1;
}

/* Put the slabs of a block where they belong after its occupancy changed: an open one stays open
 * unless it is full, closed ones go to their class. `slab` is the one that changed. */
static void
block_settle (mvt_pool_t *pool, uint32_t block, const mvt_slab_t *slab)
{
	const uint32_t *line = pool->head.slab_line[block];
	uint32_t all = line[MVT_PROTO_UDP] | line[MVT_PROTO_TCP] | line[MVT_PROTO_ICMP], class;

	if (pool->block_host)
		return;
	/* the common case, and nothing to do: the block's only slab, open and not full */
	if (slab->where == MVT_SLAB_OPEN && slab->n_free && all == line[slab->proto])
		return;
	class = block_class (pool, block);
	for (uint32_t proto = 0; proto < MVT_PROTO_N; proto++)
	{
		uint32_t s = mvt_pool_slab_of (pool, block, proto);

		if (!s)
			continue;
		if (pool->slabs[s].n_free == 0)
			mvt_pool_slab_move (pool, s, MVT_SLAB_UNLISTED);
		else if (pool->slabs[s].where != MVT_SLAB_OPEN)
			mvt_pool_slab_move (pool, s, class);
	}
}

/* Too many candidates: close, of a few open slabs, the one whose block is emptiest, so that it
 * drains, unless that would leave too few. */
static void
close_one (mvt_pool_t *pool, uint32_t slot, uint32_t proto)
{
	mvt_slot_proto_t *sp = &pool->slots[slot].proto[proto];
	const uint16_t *open = mvt_pool_open_array (pool, slot, proto);
	uint32_t mark = mvt_pool_mark (pool, sp), best = 0, best_n = MVT_NONE;

	if (sp->candidates <= mark + mark / 4)
		return;
	for (uint32_t i = 0; i < MVT_POOL_SAMPLES; i++)
	{
		uint32_t local = open[mvt_random_below (&pool->seed, sp->n_open)];
		uint32_t block = slot << pool->slot_bits_log2 | local;
		uint32_t s = mvt_pool_slab_of (pool, block, proto);
		uint32_t n = block_occupancy (pool, block);

		pool->steps++;
		if (n < best_n && sp->candidates - pool->slabs[s].n_free >= mark)
		{
			best = s;
			best_n = n;
		}
	}
	if (best)
		mvt_pool_slab_move (pool, best, block_class (pool, pool->slabs[best].block));
}

void
mvt_pool_port_use (mvt_pool_t *pool, uint32_t s, uint32_t port)
{
	mvt_slab_t *slab = &pool->slabs[s];
	mvt_slot_proto_t *sp =
		&pool->slots[mvt_pool_block_slot (pool, slab->block)].proto[slab->proto];

	/* its bit was set if it may be allocated at all */
	if (mvt_bitmap_test (mvt_pool_free_ports (pool, s), port & pool->head.block_mask))
	{
		mvt_bitmap_clear (mvt_pool_free_ports (pool, s), pool->port_words,
				  port & pool->head.block_mask);
		slab->n_free--;
		sp->unused--;
		pool->unused[slab->proto]--;
		if (slab->where == MVT_SLAB_OPEN)
			sp->candidates--;
	}
	mvt_pool_used_set (pool, s, port);
	block_settle (pool, slab->block, slab);
}

void
mvt_pool_port_vacate (mvt_pool_t *pool, uint32_t s, uint32_t port)
{
	mvt_slab_t *slab = &pool->slabs[s];
	uint32_t block = slab->block, proto = slab->proto;
	uint32_t slot = mvt_pool_block_slot (pool, block);
	mvt_slot_proto_t *sp = &pool->slots[slot].proto[proto];

	if (mvt_pool_is_allocatable (pool, (uint16_t) port))
	{
		mvt_bitmap_set (mvt_pool_free_ports (pool, s), pool->port_words,
				port & pool->head.block_mask);
		slab->n_free++;
		sp->unused++;
		pool->unused[proto]++;
		if (slab->where == MVT_SLAB_OPEN)
			sp->candidates++;
	}
	if (slab->n_used == 0 && slab->n_held == 0)
		slab_give_back (pool, s);
	block_settle (pool, block, slab);
	if (slab->where == MVT_SLAB_OPEN)
		close_one (pool, slot, proto);
}

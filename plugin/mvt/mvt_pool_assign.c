/* SPDX-License-Identifier: Apache-2.0 */
#include "mvt_pool_private.h"

static void
event_push (mvt_pool_t *pool, uint32_t block, const mvt_host_t *host, bool assigned)
{
	mvt_pool_event_t *event;

	if (pool->event_tail - pool->event_head == MVT_POOL_EVENTS)
	{
		pool->events_lost++;
		return;
	}
	event = &pool->events[pool->event_tail++ & (MVT_POOL_EVENTS - 1)];
	*event = (mvt_pool_event_t){
		.block = block, .host_addr = host->addr, .realm = host->realm, .assigned = assigned
	};
}

uint32_t
mvt_pool_events (mvt_pool_t *pool, mvt_pool_event_t *out, uint32_t max)
{
	uint32_t n = 0;

	while (n < max && pool->event_head != pool->event_tail)
		out[n++] = pool->events[pool->event_head++ & (MVT_POOL_EVENTS - 1)];
	return n;
}

static void
assign (mvt_pool_t *pool, mvt_hosts_t *hosts, uint32_t host, uint32_t block)
{
	mvt_host_t *h = mvt_hosts_at (hosts, host);
	mvt_block_host_t *b = &pool->block_host[block];

	*b = (mvt_block_host_t){ .next = h->blocks, .prev = MVT_NONE, .host = host };
	if (h->blocks != MVT_NONE)
		pool->block_host[h->blocks].prev = block;
	h->blocks = block;
	h->n_blocks++;
	pool->n_blocks_open++;
	event_push (pool, block, h, true);
}

static void
orphan_add (mvt_pool_t *pool, uint32_t block)
{
	mvt_slot_t *slot = &pool->slots[mvt_pool_block_slot (pool, block)];

	pool->block_host[block] =
		(mvt_block_host_t){ .prev = slot->orphan_tail, .host = MVT_BLOCK_ORPHAN };
	if (slot->orphan_tail)
		pool->block_host[slot->orphan_tail - 1].next = block + 1;
	else
		slot->orphan_head = block + 1;
	slot->orphan_tail = block + 1;
}

static void
orphan_remove (mvt_pool_t *pool, uint32_t block)
{
	mvt_slot_t *slot = &pool->slots[mvt_pool_block_slot (pool, block)];
	mvt_block_host_t *b = &pool->block_host[block];

	if (b->prev)
		pool->block_host[b->prev - 1].next = b->next;
	else
		slot->orphan_head = b->next;
	if (b->next)
		pool->block_host[b->next - 1].prev = b->prev;
	else
		slot->orphan_tail = b->prev;
	*b = (mvt_block_host_t){ .host = MVT_NONE };
}

void
mvt_pool_assign_block_freed (mvt_pool_t *pool, uint32_t block)
{
	if (pool->block_host[block].host == MVT_BLOCK_ORPHAN)
		orphan_remove (pool, block);
}

void
mvt_pool_assign_ended (mvt_pool_t *pool, mvt_hosts_t *hosts, uint32_t block)
{
	mvt_block_host_t *b = &pool->block_host[block];
	mvt_host_t *h;

	if (--b->n_dynamic)
		return;
	h = mvt_hosts_at (hosts, b->host);
	if (b->prev != MVT_NONE)
		pool->block_host[b->prev].next = b->next;
	else
		h->blocks = b->next;
	if (b->next != MVT_NONE)
		pool->block_host[b->next].prev = b->prev;
	h->n_blocks--;
	pool->n_blocks_open--;
	event_push (pool, block, h, false);
	/* what is still held there ends with the hold-down, not with the host's record */
	if (mvt_pool_block_in_use (pool, block))
		orphan_add (pool, block);
	else
		*b = (mvt_block_host_t){ .host = MVT_NONE };
}

/* Rather refuse nobody: a block whose host left is freed before its hold-down is over, the one that
 * lost its host first. A block with a static entry stays. */
static void
purge_orphans (mvt_pool_t *pool, uint32_t slot)
{
	for (uint32_t i = 0; i < MVT_POOL_PURGE_TRIES && pool->slots[slot].orphan_head; i++)
	{
		uint32_t block = pool->slots[slot].orphan_head - 1;

		orphan_remove (pool, block);
		for (uint32_t proto = 0; proto < MVT_PROTO_N; proto++)
		{
			uint32_t s = mvt_pool_slab_of (pool, block, proto);
			for (uint32_t n = s ? pool->slabs[s].n_held : 0; n; n--)
				mvt_pool_held_release (pool, mvt_pool_held_in (pool, s));
		}
		if (pool->slots[slot].n_free)
			return;
	}
}

/* A block of the host's own with a free port, each port equally likely. */
static uint32_t
own_block (mvt_pool_t *pool, uint32_t slot, uint32_t proto, const mvt_host_t *h)
{
	uint32_t best = MVT_NONE, ports = 0;

	for (uint32_t b = h->blocks; b != MVT_NONE; b = pool->block_host[b].next)
	{
		uint32_t s = mvt_pool_slab_of (pool, b, proto), n = 0;

		if (mvt_pool_block_slot (pool, b) != slot)
			continue;
		if (s)
			n = pool->slabs[s].n_free;
		else if (mvt_pool_slabs_left (pool))
			n = mvt_pool_usable (pool, b);
		ports += n;
		if (n && mvt_random_below (&pool->seed, ports) < n)
			best = b;
	}
	return best;
}

static mvt_entry_t *
own_held (mvt_pool_t *pool, uint32_t slot, uint32_t proto, const mvt_host_t *h)
{
	for (uint32_t b = h->blocks; b != MVT_NONE; b = pool->block_host[b].next)
	{
		uint32_t s = mvt_pool_slab_of (pool, b, proto);
		if (s && pool->slabs[s].n_held && mvt_pool_block_slot (pool, b) == slot)
			return mvt_pool_held_in (pool, s);
	}
	return NULL;
}

mvt_err_t
mvt_pool_assign_find (mvt_pool_t *pool, uint32_t slot, uint32_t proto, mvt_hosts_t *hosts,
		      uint32_t host, uint32_t max_blocks, uint32_t *slab, mvt_entry_t **held)
{
	const mvt_host_t *h = mvt_hosts_at (hosts, host);
	uint32_t block = own_block (pool, slot, proto, h);

	*held = NULL;
	if (block == MVT_NONE)
	{
		/* hold-down keeps a port from others, not from the host that had it */
		*held = own_held (pool, slot, proto, h);
		if (*held)
			return MVT_OK;
		if (max_blocks && h->n_blocks >= max_blocks)
			return MVT_ERR_UNSUPPORTED;
		if (pool->slots[slot].n_free == 0)
			purge_orphans (pool, slot);
		if (pool->slots[slot].n_free == 0)
			return MVT_ERR_FULL;
		if (!mvt_pool_slabs_left (pool))
			return MVT_ERR_NO_MEMORY;
		block = slot << pool->slot_bits_log2 |
			mvt_bitmap_random (mvt_pool_slot_map (pool, slot, MVT_SLOT_FREE),
					   pool->block_words, &pool->seed, &pool->steps);
		assign (pool, hosts, host, block);
	}
	*slab = mvt_pool_slab_of (pool, block, proto);
	if (!*slab)
		*slab = mvt_pool_slab_new (pool, block, proto);
	return MVT_OK;
}

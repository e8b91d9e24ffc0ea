/* SPDX-License-Identifier: Apache-2.0 */
#include "mvt_pool_private.h"

static uint32_t
entry_slot (const mvt_pool_t *pool, const mvt_entry_t *entry)
{
	return mvt_pool_block_slot (pool, pool->slabs[entry->slab].block);
}

/* Entries of one protocol that may be held now: a share of the ports, and of the arena. */
static uint64_t
held_limit (const mvt_pool_t *pool)
{
	uint64_t limit = pool->ports * pool->config.hold_share_1024 >> 10;
	return limit < pool->held_max ? limit : pool->held_max;
}

bool
mvt_pool_hold (mvt_pool_t *pool, uint32_t s, mvt_entry_t *entry, uint32_t now)
{
	mvt_slab_t *slab = &pool->slabs[s];
	mvt_held_t *held = &pool->held[slab->proto];
	mvt_slot_proto_t *sp = &pool->slots[entry_slot (pool, entry)].proto[slab->proto];
	uint32_t line = mvt_pool_line_of (pool, entry);

	if (pool->config.hold_seconds == 0 || held_limit (pool) == 0)
		return false;

	entry->state = MVT_ENTRY_HELD;
	entry->last = now;
	entry->freed_host = entry->host;
	mvt_pool_held_next (entry) = mvt_pool_held_slot_next (entry) = 0;
	mvt_pool_held_prev (entry) = held->tail;
	mvt_pool_held_slot_prev (entry) = sp->held_tail;
	if (held->tail)
		mvt_pool_held_next (mvt_pool_line (pool, held->tail)) = line;
	else
		held->head = line;
	held->tail = line;
	if (sp->held_tail)
		mvt_pool_held_slot_next (mvt_pool_line (pool, sp->held_tail)) = line;
	else
		sp->held_head = line;
	sp->held_tail = line;
	held->count++;
	slab->n_held++;

	/* two, so that the queue also shrinks after blocks were given away */
	for (uint32_t i = 0; i < 2 && held->count > held_limit (pool); i++)
		mvt_pool_held_release (pool, mvt_pool_line (pool, held->head));
	return true;
}

void
mvt_pool_held_unlink (mvt_pool_t *pool, mvt_entry_t *entry)
{
	mvt_slab_t *slab = &pool->slabs[entry->slab];
	mvt_held_t *held = &pool->held[slab->proto];
	mvt_slot_proto_t *sp = &pool->slots[entry_slot (pool, entry)].proto[slab->proto];

	if (mvt_pool_held_prev (entry))
		mvt_pool_held_next (mvt_pool_line (pool, mvt_pool_held_prev (entry))) =
			mvt_pool_held_next (entry);
	else
		held->head = mvt_pool_held_next (entry);
	if (mvt_pool_held_next (entry))
		mvt_pool_held_prev (mvt_pool_line (pool, mvt_pool_held_next (entry))) =
			mvt_pool_held_prev (entry);
	else
		held->tail = mvt_pool_held_prev (entry);
	if (mvt_pool_held_slot_prev (entry))
		mvt_pool_held_slot_next (mvt_pool_line (pool, mvt_pool_held_slot_prev (entry))) =
			mvt_pool_held_slot_next (entry);
	else
		sp->held_head = mvt_pool_held_slot_next (entry);
	if (mvt_pool_held_slot_next (entry))
		mvt_pool_held_slot_prev (mvt_pool_line (pool, mvt_pool_held_slot_next (entry))) =
			mvt_pool_held_slot_prev (entry);
	else
		sp->held_tail = mvt_pool_held_slot_prev (entry);
	held->count--;
	slab->n_held--;
	entry->state = MVT_ENTRY_FREE;
}

void
mvt_pool_held_release (mvt_pool_t *pool, mvt_entry_t *entry)
{
	mvt_pool_held_unlink (pool, entry);
	mvt_pool_port_vacate (pool, entry->slab, entry->ext_port);
}

mvt_entry_t *
mvt_pool_held_for (mvt_pool_t *pool, uint32_t slot, uint32_t proto, const mvt_host_t *host)
{
	uint32_t head = pool->slots[slot].proto[proto].held_head, line = head;

	for (uint32_t i = 0; i < MVT_POOL_HELD_SEARCH && line; i++)
	{
		mvt_entry_t *entry = mvt_pool_line (pool, line);
		pool->steps++;
		if (entry->in_addr == host->addr && entry->realm == host->realm)
			return entry;
		line = mvt_pool_held_slot_next (entry);
	}
	return head ? mvt_pool_line (pool, head) : NULL;
}

mvt_entry_t *
mvt_pool_held_in (mvt_pool_t *pool, uint32_t s)
{
	const mvt_slab_t *slab = &pool->slabs[s];
	const uint64_t *free_ports = mvt_pool_free_ports (pool, s);
	const uint64_t *used_ports = mvt_pool_used_ports (pool, s);
	uint32_t first = slab->block << pool->head.block_bits & 0xffff;

	if (slab->n_held == 0)
		return NULL;
	for (uint32_t w = 0; w < pool->port_words; w++)
	{
		/* allocatable, neither free nor in use: held */
		uint64_t ports = pool->allocatable[(first >> 6) + w];

		if (pool->head.block_bits < 6)
			ports = ports >> (first & 63) & ((1ull << (pool->head.block_mask + 1)) - 1);
		ports &= ~free_ports[w] & ~used_ports[w];
		pool->steps++;
		if (ports)
			return mvt_pool_line (pool, (s << pool->head.block_bits) + (w << 6) +
							    (uint32_t) __builtin_ctzll (ports));
	}
	return NULL;
}

uint32_t
mvt_pool_release (mvt_pool_t *pool, uint32_t now, uint32_t budget)
{
	uint64_t limit = held_limit (pool);
	uint32_t n = 0;

	for (uint32_t proto = 0; proto < MVT_PROTO_N; proto++)
		for (mvt_held_t *held = &pool->held[proto]; held->head && n < budget; n++)
		{
			mvt_entry_t *oldest = mvt_pool_line (pool, held->head);
			if (now - oldest->last < pool->config.hold_seconds && held->count <= limit)
				break;
			mvt_pool_held_release (pool, oldest);
		}
	return n;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "mvt_pool_private.h"

/* ---- life ---- */

/* Slabs of the arena: see "Arena" in mvt_pool.h. One more, because slab 0 is none. */
static uint64_t
slab_count (const mvt_pool_config_t *config, uint32_t n_slots, uint32_t bits)
{
	uint64_t size = 1u << bits, max_mappings = config->max_mappings;
	uint64_t small = size < MVT_POOL_CANDIDATES ? size : MVT_POOL_CANDIDATES;
	uint64_t large = size > MVT_POOL_CANDIDATES ? size : MVT_POOL_CANDIDATES;
	uint64_t lines =
		max_mappings + max_mappings / 2 + 2ull * MVT_PROTO_N * (n_slots * small + large);
	uint64_t slabs = (lines + size - 1) >> bits;
	uint64_t all = (uint64_t) n_slots * MVT_PROTO_N << (16 - bits);

	if (config->by_host && slabs < max_mappings / 4)
		slabs = max_mappings / 4;
	return 1 + (slabs < all ? slabs : all);
}

static mvt_err_t
config_check (const mvt_pool_config_t *config, const mvt_directory_t *dir)
{
	if (config->max_mappings == 0 || config->seed == 0 || !config->allocatable ||
	    config->instance == MVT_NO_INSTANCE || config->hold_share_1024 > 1024)
		return MVT_ERR_INVALID;
	if (dir->block_bits > 15 || dir->n_slots == 0 || dir->n_slots > MVT_POOL_SLOTS_MAX)
		return MVT_ERR_INVALID;
	/* lines and blocks are u32 indices below MVT_NONE */
	if (slab_count (config, dir->n_slots, dir->block_bits) << dir->block_bits >= MVT_NONE ||
	    (uint64_t) dir->n_slots << (16 - dir->block_bits) >= MVT_BLOCK_ORPHAN)
		return MVT_ERR_INVALID;
	return MVT_OK;
}

/* One table after the other, each on its own cache line. */
static uint64_t
carve (uint64_t *at, uint64_t size)
{
	uint64_t here = *at;

	*at += (size + MVT_CACHE_LINE - 1) & ~(uint64_t) (MVT_CACHE_LINE - 1);
	return here;
}

/* Lay the tables out from base on; base NULL: only measure. */
static uint64_t
lay_out (mvt_pool_t *pool, uint8_t *base)
{
	uint64_t slots = pool->n_slots, size = 0;
	uint64_t blocks = slots << pool->slot_bits_log2;
	uint64_t slab_line = carve (&size, blocks * sizeof (*pool->head.slab_line));
	uint64_t slot = carve (&size, slots * sizeof (*pool->slots));
	uint64_t slot_bits =
		carve (&size, slots * MVT_SLOT_MAPS * pool->slot_words * sizeof (uint64_t));
	uint64_t free_slots = carve (&size, mvt_bitmap_words (pool->n_slots) * sizeof (uint64_t));
	uint64_t open = carve (&size, slots * MVT_PROTO_N * pool->open_max * sizeof (uint16_t));
	uint64_t usable = carve (&size, sizeof (uint16_t) << pool->slot_bits_log2);
	uint64_t block_host = size, events = size;

	if (pool->config.by_host)
	{
		block_host = carve (&size, blocks * sizeof (*pool->block_host));
		events = carve (&size, MVT_POOL_EVENTS * sizeof (*pool->events));
	}
	if (!base)
		return size;

	pool->head.slab_line = (void *) (base + slab_line);
	pool->slots = (void *) (base + slot);
	pool->slot_bits = (void *) (base + slot_bits);
	pool->free_slots = (void *) (base + free_slots);
	pool->open = (void *) (base + open);
	pool->usable = (void *) (base + usable);
	if (pool->config.by_host)
	{
		pool->block_host = (void *) (base + block_host);
		pool->events = (void *) (base + events);
	}
	return size;
}

mvt_pool_t *
mvt_pool_new (const mvt_pool_config_t *config, mvt_directory_t *dir, const mvt_mem_t *mem,
	      mvt_err_t *err)
{
	uint32_t bits = dir->block_bits, per_slot = 1u << (16 - bits);
	mvt_pool_t *pool;

	*err = config_check (config, dir);
	if (*err != MVT_OK)
		return NULL;
	*err = MVT_ERR_NO_MEMORY;
	pool = mvt_mem_alloc (mem, sizeof (*pool), MVT_CACHE_LINE);
	if (!pool)
		return NULL;

	pool->config = *config;
	pool->mem = *mem;
	pool->dir = dir;
	pool->seed = config->seed;
	pool->head.block_bits = bits;
	pool->head.block_mask = (1u << bits) - 1;
	pool->n_slots = dir->n_slots;
	pool->slot_bits_log2 = 16 - bits;
	pool->port_words = mvt_bitmap_data_words (1u << bits);
	pool->used_at = mvt_bitmap_words (1u << bits);
	pool->slab_words = pool->used_at + pool->port_words;
	pool->block_words = mvt_bitmap_data_words (per_slot);
	pool->slot_words = mvt_bitmap_words (per_slot);
	pool->open_max = per_slot < MVT_POOL_OPEN_MAX ? per_slot : MVT_POOL_OPEN_MAX;
	pool->free_slot_words = mvt_bitmap_data_words (pool->n_slots);
	pool->n_slabs = (uint32_t) slab_count (config, dir->n_slots, bits);
	pool->slabs_scarce = pool->n_slabs - pool->n_slabs / 4;
	if (pool->n_slabs > (uint64_t) pool->n_slots * MVT_PROTO_N << pool->slot_bits_log2)
		pool->slabs_scarce = MVT_NONE; /* one for each: never scarce */
	pool->fresh = 1;
	pool->starved = MVT_NONE;
	pool->held_max = config->max_mappings / 4;
	if (pool->held_max < MVT_POOL_CANDIDATES)
		pool->held_max = MVT_POOL_CANDIDATES;
	memcpy (pool->allocatable, config->allocatable, sizeof (pool->allocatable));
	pool->config.allocatable = pool->allocatable;

	pool->lines_size = (uint64_t) pool->n_slabs * sizeof (mvt_entry_t) << bits;
	pool->slabs_size = (uint64_t) pool->n_slabs * sizeof (*pool->slabs);
	pool->bits_size = (uint64_t) pool->n_slabs * pool->slab_words * sizeof (uint64_t);
	pool->tables_size = lay_out (pool, NULL);
	if (pool->lines_size <= SIZE_MAX && pool->tables_size <= SIZE_MAX)
	{
		pool->head.lines =
			mvt_mem_reserve (mem, (size_t) pool->lines_size, MVT_CACHE_LINE, true);
		pool->slabs =
			mvt_mem_reserve (mem, (size_t) pool->slabs_size, MVT_CACHE_LINE, true);
		pool->slab_bits =
			mvt_mem_reserve (mem, (size_t) pool->bits_size, MVT_CACHE_LINE, true);
		pool->tables =
			mvt_mem_reserve (mem, (size_t) pool->tables_size, MVT_CACHE_LINE, false);
	}
	if (!pool->head.lines || !pool->slabs || !pool->slab_bits || !pool->tables)
	{
		mvt_pool_remove (pool);
		return NULL;
	}
	lay_out (pool, pool->tables);
	mvt_backed_init (&pool->backed_lines, pool->head.lines, (size_t) pool->lines_size, mem);
	mvt_backed_init (&pool->backed_slabs, pool->slabs, (size_t) pool->slabs_size, mem);
	mvt_backed_init (&pool->backed_bits, pool->slab_bits, (size_t) pool->bits_size, mem);
	mvt_pool_back (pool, pool->fresh);
	for (uint32_t port = 0; port < 65536; port++)
		if (mvt_pool_is_allocatable (pool, (uint16_t) port))
			pool->usable[port >> bits]++;
	*err = MVT_OK;
	return pool;
}

void
mvt_pool_remove (mvt_pool_t *pool)
{
	mvt_mem_t mem;

	if (!pool)
		return;
	mem = pool->mem;
	mvt_mem_free (&mem, pool->head.lines, (size_t) pool->lines_size);
	mvt_mem_free (&mem, pool->slabs, (size_t) pool->slabs_size);
	mvt_mem_free (&mem, pool->slab_bits, (size_t) pool->bits_size);
	mvt_mem_free (&mem, pool->tables, (size_t) pool->tables_size);
	mvt_mem_free (&mem, pool, sizeof (*pool));
}

/* ---- memory ---- */

void
mvt_pool_back (mvt_pool_t *pool, uint32_t slabs)
{
	mvt_backed_need (&pool->backed_lines, (size_t) slabs * sizeof (mvt_entry_t)
						      << pool->head.block_bits);
	mvt_backed_need (&pool->backed_slabs, (size_t) slabs * sizeof (*pool->slabs));
	mvt_backed_need (&pool->backed_bits,
			 (size_t) slabs * pool->slab_words * sizeof (*pool->slab_bits));
}

bool
mvt_pool_back_ahead (mvt_pool_t *pool)
{
	size_t fresh = pool->fresh;
	bool more = mvt_backed_ahead (&pool->backed_slabs, fresh * sizeof (*pool->slabs),
				      MVT_BACKED_STEP);

	more |= mvt_backed_ahead (&pool->backed_bits,
				  fresh * pool->slab_words * sizeof (*pool->slab_bits),
				  MVT_BACKED_STEP);
	for (uint32_t i = 0; i < MVT_POOL_AHEAD_STEPS; i++)
		more |= mvt_backed_ahead (&pool->backed_lines,
					  fresh * sizeof (mvt_entry_t) << pool->head.block_bits,
					  MVT_POOL_AHEAD);
	return more;
}

/* A slot that gets its first block: what a mapping of it will touch. */
static void
back_slot (mvt_pool_t *pool, uint32_t slot)
{
	uint32_t first = slot << pool->slot_bits_log2, blocks = 1u << pool->slot_bits_log2;

	mvt_mem_back (&pool->mem, pool->head.slab_line[first],
		      blocks * sizeof (*pool->head.slab_line));
	mvt_mem_back (&pool->mem, mvt_pool_open_array (pool, slot, 0),
		      (size_t) MVT_PROTO_N * pool->open_max * sizeof (*pool->open));
	if (pool->block_host)
		mvt_mem_back (&pool->mem, &pool->block_host[first],
			      blocks * sizeof (*pool->block_host));
}

/* ---- blocks ---- */

void
mvt_pool_take (mvt_pool_t *pool, const uint32_t *blocks, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
	{
		uint32_t block = blocks[i], slot = mvt_pool_block_slot (pool, block), usable;

		if (slot >= pool->n_slots || mvt_pool_owns (pool, block))
			continue;
		usable = mvt_pool_usable (pool, block);
		mvt_directory_set_owner (pool->dir, block, pool->config.instance);
		mvt_bitmap_set (mvt_pool_slot_map (pool, slot, MVT_SLOT_OWNED), pool->block_words,
				mvt_pool_block_local (pool, block));
		if (pool->slots[slot].n_owned++ == 0)
			back_slot (pool, slot);
		pool->n_blocks++;
		pool->ports += usable;
		for (uint32_t proto = 0; proto < MVT_PROTO_N; proto++)
		{
			pool->slots[slot].proto[proto].unused += usable;
			pool->unused[proto] += usable;
		}
		mvt_pool_block_freed (pool, block);
	}
}

static void
give (mvt_pool_t *pool, uint32_t block, uint16_t to)
{
	uint32_t slot = mvt_pool_block_slot (pool, block), usable = mvt_pool_usable (pool, block);

	mvt_pool_block_taken (pool, block);
	mvt_bitmap_clear (mvt_pool_slot_map (pool, slot, MVT_SLOT_OWNED), pool->block_words,
			  mvt_pool_block_local (pool, block));
	pool->slots[slot].n_owned--;
	pool->n_blocks--;
	pool->ports -= usable;
	for (uint32_t proto = 0; proto < MVT_PROTO_N; proto++)
	{
		pool->slots[slot].proto[proto].unused -= usable;
		pool->unused[proto] -= usable;
	}
	mvt_directory_set_owner (pool->dir, block, to);
}

uint32_t
mvt_pool_give (mvt_pool_t *pool, uint32_t slot, uint16_t to, uint32_t *out, uint32_t max)
{
	bool any = slot == MVT_NONE;
	uint32_t n = 0;

	if (!any && slot >= pool->n_slots)
		return 0;
	while (n < max)
	{
		if (any)
			slot = mvt_bitmap_next (pool->free_slots, pool->free_slot_words,
						pool->give_next, &pool->steps);
		if (slot == MVT_NONE || pool->slots[slot].n_free == 0)
			break;
		if (any)
			pool->give_next = slot + 1 == pool->n_slots ? 0 : slot + 1;
		out[n] = slot << pool->slot_bits_log2 |
			 mvt_bitmap_random (mvt_pool_slot_map (pool, slot, MVT_SLOT_FREE),
					    pool->block_words, &pool->seed, &pool->steps);
		give (pool, out[n++], to);
	}
	return n;
}

mvt_err_t
mvt_pool_give_block (mvt_pool_t *pool, uint32_t block, uint16_t to)
{
	if (mvt_pool_block_slot (pool, block) >= pool->n_slots || !mvt_pool_owns (pool, block))
		return MVT_ERR_NOT_OWNER;
	if (mvt_pool_block_in_use (pool, block))
		return MVT_ERR_IN_USE;
	give (pool, block, to);
	return MVT_OK;
}

uint32_t
mvt_pool_free_blocks (const mvt_pool_t *pool, uint32_t slot)
{
	return slot < pool->n_slots ? pool->slots[slot].n_free : 0;
}

uint32_t
mvt_pool_starved (mvt_pool_t *pool)
{
	uint32_t slot = pool->starved;

	pool->starved = MVT_NONE;
	return slot;
}

void
mvt_pool_drain_slot (mvt_pool_t *pool, uint32_t slot, bool draining)
{
	if (slot < pool->n_slots)
		pool->slots[slot].draining = draining;
}

/* ---- entries ---- */

/* Reopen closed slabs, the fullest first, while the candidates are below the mark. */
static void
reopen (mvt_pool_t *pool, mvt_slot_proto_t *sp, uint32_t mark)
{
	for (uint32_t i = 0; i < MVT_POOL_REOPEN && sp->candidates < mark && sp->classes; i++)
	{
		uint32_t class = 31 - (uint32_t) __builtin_clz (sp->classes);

		pool->steps++;
		mvt_pool_slab_move (pool, sp->class_head[class], MVT_SLAB_OPEN);
	}
}

/* Open a block that has no slab for this protocol, at random: one that another protocol uses, so
 * that the protocols share blocks, else a free one. The caller takes a port of it at once, so
 * candidates are never opened in advance. 0 when there is none or the arena is full. */
static uint32_t
open_block (mvt_pool_t *pool, uint32_t slot, uint32_t proto)
{
	mvt_slot_t *at = &pool->slots[slot];
	uint32_t map = at->proto[proto].n_bare ? MVT_SLOT_BARE + proto : MVT_SLOT_FREE;
	uint32_t slab, local;

	if (!mvt_pool_slabs_left (pool) || (at->proto[proto].n_bare == 0 && at->n_free == 0))
		return 0;
	local = mvt_bitmap_random (mvt_pool_slot_map (pool, slot, map), pool->block_words,
				   &pool->seed, &pool->steps);
	slab = mvt_pool_slab_new (pool, slot << pool->slot_bits_log2 | local, proto);
	mvt_pool_slab_move (pool, slab, MVT_SLAB_OPEN);
	return slab;
}

/* An open slab at random. => n_open is not 0 */
static uint32_t
random_open (mvt_pool_t *pool, uint32_t slot, uint32_t proto)
{
	uint32_t n = pool->slots[slot].proto[proto].n_open;
	uint32_t local = mvt_pool_open_array (pool, slot, proto)[mvt_random_below (&pool->seed, n)];

	return mvt_pool_slab_of (pool, slot << pool->slot_bits_log2 | local, proto);
}

/* The line of a free port of a slab at random. => it has one */
static uint32_t
random_line (mvt_pool_t *pool, uint32_t slab)
{
	return (slab << pool->head.block_bits) +
	       mvt_bitmap_random (mvt_pool_free_ports (pool, slab), pool->port_words, &pool->seed,
				  &pool->steps);
}

/* Slabs change hands, so what was chosen ahead is looked at again. */
static bool
is_open_here (const mvt_pool_t *pool, uint32_t s, uint32_t slot, uint32_t proto)
{
	const mvt_slab_t *slab = &pool->slabs[s];

	return slab->where == MVT_SLAB_OPEN && slab->proto == proto &&
	       mvt_pool_block_slot (pool, slab->block) == slot;
}

/* The port and the slab of allocations to come, chosen now so that their lines are there by then:
 * the slab first, whose header and bitmap the choice of a port reads, then the port, whose entry is
 * the line that is the farthest away. */
static void
look_ahead (mvt_pool_t *pool, uint32_t slot, uint32_t proto)
{
	mvt_slot_proto_t *sp = &pool->slots[slot].proto[proto];
	uint32_t s = sp->next_slab;

	sp->next_line = 0;
	if (mvt_likely (s && is_open_here (pool, s, slot, proto)))
	{
		sp->next_line = random_line (pool, s);
		__builtin_prefetch (mvt_pool_line (pool, sp->next_line), 1);
	}
	sp->next_slab = 0;
	if (mvt_likely (sp->n_open))
	{
		sp->next_slab = random_open (pool, slot, proto);
		__builtin_prefetch (&pool->slabs[sp->next_slab], 1);
		__builtin_prefetch (mvt_pool_free_ports (pool, sp->next_slab), 1);
	}
}

/* Is the line that was chosen ahead still a free port of an open slab? */
static bool
next_is_good (const mvt_pool_t *pool, uint32_t slot, uint32_t proto)
{
	uint32_t line = pool->slots[slot].proto[proto].next_line;
	uint32_t s = line >> pool->head.block_bits;

	return line && is_open_here (pool, s, slot, proto) &&
	       mvt_bitmap_test (mvt_pool_free_ports (pool, s), line & pool->head.block_mask);
}

/* The line of a free port of the slot, 0 when there is none. */
static uint32_t
find_line (mvt_pool_t *pool, uint32_t slot, uint32_t proto)
{
	mvt_slot_proto_t *sp = &pool->slots[slot].proto[proto];
	uint32_t mark = mvt_pool_mark (pool, sp), slab = 0;

	if (sp->candidates < mark)
	{
		reopen (pool, sp, mark);
		/* a closed one left means that the reopening was bounded, not that there is none */
		if (sp->candidates < mark && !sp->classes)
			slab = open_block (pool, slot, proto);
	}
	if (!slab && mvt_likely (next_is_good (pool, slot, proto)))
		return sp->next_line;
	if (!slab && sp->n_open)
		slab = random_open (pool, slot, proto);
	return slab ? random_line (pool, slab) : 0;
}

static mvt_entry_t *
entry_set (mvt_pool_t *pool, uint32_t line, uint32_t ext_addr, uint16_t port, uint8_t proto,
	   uint8_t state)
{
	mvt_entry_t *entry = mvt_pool_line (pool, line);

	*entry = (mvt_entry_t){ .ext_addr = ext_addr,
				.ext_port = port,
				.proto = proto,
				.state = state,
				.host = MVT_NONE,
				.sessions = MVT_NONE,
				.slab = line >> pool->head.block_bits };
	pool->in_use[proto]++;
	pool->in_use_all++;
	return entry;
}

/* A held entry is in use again, with other contents. */
static void
held_reuse (mvt_pool_t *pool, mvt_entry_t *entry)
{
	mvt_pool_held_unlink (pool, entry);
	mvt_pool_used_set (pool, entry->slab, entry->ext_port);
}

mvt_err_t
mvt_pool_alloc (mvt_pool_t *pool, uint32_t slot, uint32_t ext_addr, uint8_t proto,
		mvt_hosts_t *hosts, uint32_t host, uint32_t max_blocks, uint32_t now,
		mvt_entry_t **entry)
{
	mvt_entry_t *held = NULL;
	uint32_t slab, line = 0, port;

	(void) now;
	if (pool->in_use_all >= pool->config.max_mappings)
		return MVT_ERR_NO_MEMORY;
	if (slot >= pool->n_slots || proto >= MVT_PROTO_N || pool->slots[slot].draining)
		return MVT_ERR_FULL;

	if (pool->block_host)
	{
		mvt_err_t err = mvt_pool_assign_find (pool, slot, proto, hosts, host, max_blocks,
						      &slab, &held);
		if (err == MVT_ERR_FULL)
			pool->starved = slot;
		if (err != MVT_OK)
			return err;
		if (!held)
			line = random_line (pool, slab);
	}
	else
	{
		line = find_line (pool, slot, proto);
		if (!line)
			held = mvt_pool_held_for (pool, slot, proto, mvt_hosts_at (hosts, host));
		if (!line && !held)
		{
			/* unused ports but no candidate: no slab is left to open a block with */
			if (pool->slots[slot].proto[proto].unused)
				return MVT_ERR_NO_MEMORY;
			pool->starved = slot;
			return MVT_ERR_FULL;
		}
	}

	if (held)
	{
		line = mvt_pool_line_of (pool, held);
		held_reuse (pool, held);
	}
	slab = line >> pool->head.block_bits;
	port = (pool->slabs[slab].block << pool->head.block_bits & 0xffff) +
	       (line & pool->head.block_mask);
	if (!held)
		mvt_pool_port_use (pool, slab, port);
	*entry = entry_set (pool, line, ext_addr, (uint16_t) port, proto, MVT_ENTRY_DYNAMIC);
	(*entry)->host = host;
	if (pool->block_host)
		pool->block_host[pool->slabs[slab].block].n_dynamic++;
	else
		look_ahead (pool, slot, proto);
	return MVT_OK;
}

mvt_err_t
mvt_pool_alloc_static (mvt_pool_t *pool, uint32_t slot, uint32_t ext_addr, uint8_t proto,
		       uint16_t port, mvt_entry_t **entry)
{
	uint32_t block = mvt_directory_block (pool->dir, slot, port), slab;

	if (slot >= pool->n_slots || !mvt_pool_owns (pool, block))
		return MVT_ERR_NOT_OWNER;
	if (proto >= MVT_PROTO_N)
		return MVT_ERR_INVALID;
	slab = mvt_pool_slab_of (pool, block, proto);
	if (slab)
	{
		mvt_entry_t *place = mvt_pool_place (pool, block, proto, port);
		if (place->state == MVT_ENTRY_DYNAMIC || place->state == MVT_ENTRY_STATIC)
			return MVT_ERR_IN_USE;
		if (pool->in_use_all >= pool->config.max_mappings)
			return MVT_ERR_NO_MEMORY;
		if (place->state == MVT_ENTRY_HELD)
			held_reuse (pool, place);
		else
			mvt_pool_port_use (pool, slab, port);
	}
	else
	{
		if (pool->in_use_all >= pool->config.max_mappings)
			return MVT_ERR_NO_MEMORY;
		slab = mvt_pool_slab_new (pool, block, proto);
		if (!slab)
			return MVT_ERR_NO_MEMORY;
		mvt_pool_port_use (pool, slab, port);
	}
	*entry = entry_set (pool, (slab << pool->head.block_bits) + (port & pool->head.block_mask),
			    ext_addr, port, proto, MVT_ENTRY_STATIC);
	return MVT_OK;
}

void
mvt_pool_free (mvt_pool_t *pool, mvt_hosts_t *hosts, mvt_entry_t *entry, bool hold, uint32_t now)
{
	uint32_t s = entry->slab, block = pool->slabs[s].block;
	bool dynamic = entry->state == MVT_ENTRY_DYNAMIC;

	pool->in_use[entry->proto]--;
	pool->in_use_all--;
	mvt_pool_used_clear (pool, s, entry->ext_port);
	if (!hold || !dynamic || !mvt_pool_hold (pool, s, entry, now))
	{
		entry->state = MVT_ENTRY_FREE;
		mvt_pool_port_vacate (pool, s, entry->ext_port);
	}
	if (pool->block_host && dynamic)
		mvt_pool_assign_ended (pool, hosts, block);
}

uint32_t
mvt_pool_walk (const mvt_pool_t *pool, uint64_t *cursor, mvt_entry_t **out, uint32_t max,
	       uint32_t budget, bool *wrapped)
{
	uint32_t bits = pool->head.block_bits, n = 0;
	uint64_t end = (uint64_t) pool->fresh << bits;
	uint64_t line = *cursor < 1ull << bits ? 1ull << bits : *cursor;

	*wrapped = false;
	while (line < end && n < max && budget)
	{
		uint32_t s = (uint32_t) (line >> bits);
		uint32_t at = (uint32_t) line & pool->head.block_mask;
		uint64_t used;

		budget--;
		if (pool->slabs[s].proto == MVT_SLAB_NO_PROTO)
		{
			line = (uint64_t) (s + 1) << bits;
			continue;
		}
		used = mvt_pool_used_ports (pool, s)[at >> 6] >> (at & 63);
		if (used)
		{
			line += (uint32_t) __builtin_ctzll (used);
			out[n++] = mvt_pool_line (pool, (uint32_t) line++);
		}
		else
			line = bits < 6 ? (uint64_t) (s + 1) << bits : (line | 63) + 1;
	}
	if (line >= end)
	{
		*wrapped = true;
		line = 0;
	}
	*cursor = line;
	return n;
}

void
mvt_pool_stats (const mvt_pool_t *pool, mvt_pool_stats_t *stats)
{
	*stats = (mvt_pool_stats_t){
		.blocks = pool->n_blocks,
		.blocks_free = pool->n_blocks_free,
		.blocks_open = pool->n_blocks_open,
		.ports = pool->ports,
		.slabs = pool->slabs_taken,
		.events_lost = pool->events_lost,
	};
	for (uint32_t proto = 0; proto < MVT_PROTO_N; proto++)
	{
		stats->in_use[proto] = pool->in_use[proto];
		stats->held += pool->held[proto].count;
		stats->unused_in_free_blocks[proto] = pool->ports_in_free;
		stats->unused_elsewhere[proto] = pool->unused[proto] - pool->ports_in_free;
	}
	stats->blocks_closed = pool->n_blocks_used - pool->n_blocks_open;
}

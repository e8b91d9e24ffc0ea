/* SPDX-License-Identifier: Apache-2.0
 *
 * Structure of mvt_pool_t, private to mvt_pool*.c and to the tests.
 *
 * Levels, from above:
 *   slot    one external address: which of its blocks are owned, free, bare; per protocol the open
 *           array, the lists of closed slabs by occupancy, the hold-down queue
 *   block   free (no slab in any protocol) or not; where blocks are assigned to hosts, a record
 *   slab    header and bitmaps of one (block, protocol) in use; its entries are in the arena
 *
 * Slab 0 and so line 0 are never used, so that 0 means "none" in every link and zeroed memory is
 * an empty pool: what is not touched costs no physical page. Entries, slabs and their bitmaps fill
 * up from the start and are backed as they do; what there is for each slot, when it gets a block.
 */
#ifndef MVT_POOL_PRIVATE_H
#define MVT_POOL_PRIVATE_H

#include <string.h>

#include "mvt_backed.h"
#include "mvt_bitmap.h"
#include "mvt_pool.h"

/* Closed slabs are listed by the occupancy (in use or held) of their block, all protocols together,
 * in eighths of a slab, and reopened from the fullest. That all protocols go by the same measure
 * lets them drain the same blocks. */
#define MVT_POOL_CLASSES (8u * MVT_PROTO_N)

/* Closed slabs that one allocation may reopen. Each brings at least one candidate and the
 * allocation takes one, so two would do; more let the candidates recover quickly. */
#define MVT_POOL_REOPEN 16u

/* Open slabs that are looked at for the emptiest one to close. */
#define MVT_POOL_SAMPLES 4u

/* The candidates kept open are 3/64 of the unused ports, between these. The share is what lets 90 %
 * of the unused ports be in free blocks; at the upper mark opening stops (RFC 6056 asks for many),
 * below the lower one the share would leave too few to choose from. */
#define MVT_POOL_CANDIDATES_MIN 64u

/* Open slabs of one (slot, protocol): each has a free port and opening stops at the mark. */
#define MVT_POOL_OPEN_MAX MVT_POOL_CANDIDATES

/* Oldest held entries that are searched for one of the same host. */
#define MVT_POOL_HELD_SEARCH 16u

/* Orphan blocks tried before an address counts as exhausted (allocation: block). */
#define MVT_POOL_PURGE_TRIES 4u

#define MVT_POOL_EVENTS 1024u /* power of two */

/* Bytes of entries that are backed ahead, and steps towards it in one call. Addresses that are used
 * for the first time open a slab for each of their first 16 mappings, so it may go fast. */
#define MVT_POOL_AHEAD	     ((size_t) 2 << 20)
#define MVT_POOL_AHEAD_STEPS 4u

/* mvt_slab_t.where: a class of closed slabs, or one of these. */
enum
{
	MVT_SLAB_OPEN = MVT_POOL_CLASSES,
	MVT_SLAB_UNLISTED, /* no free port, or the block is assigned to a host */
};

#define MVT_SLAB_NO_PROTO 0xffu

typedef struct
{
	uint32_t block;
	uint32_t prev;
	uint32_t next;	 /* class list; free list; OPEN: place in the open array */
	uint16_t n_free; /* allocatable, neither in use nor held */
	uint16_t n_used;
	uint16_t n_held;
	uint8_t proto; /* MVT_SLAB_NO_PROTO: slab not taken */
	uint8_t where;
} mvt_slab_t;

typedef struct
{
	uint32_t n_open;
	uint32_t candidates; /* free ports of open slabs */
	uint32_t unused;     /* allocatable, neither in use nor held, anywhere in the slot */
	uint32_t n_bare;
	/* chosen by the allocations before, 0 none; either may be stale */
	uint32_t next_line;	       /* of the next port */
	uint32_t next_slab;	       /* of the one after it */
	uint32_t held_head, held_tail; /* lines, oldest first */
	uint32_t classes;	       /* bit per class with a slab */
	uint32_t class_head[MVT_POOL_CLASSES];
} mvt_slot_proto_t;

typedef struct
{
	mvt_slot_proto_t proto[MVT_PROTO_N];
	uint32_t n_owned;
	uint32_t n_free;
	uint32_t orphan_head, orphan_tail; /* block + 1 */
	bool draining;
} mvt_slot_t;

/* Allocation: block. A block is assigned while it has a dynamic entry. */
typedef struct
{
	uint32_t next, prev; /* the host's chain: blocks or MVT_NONE; orphans: block + 1 or 0 */
	uint32_t host;
	uint32_t n_dynamic;
} mvt_block_host_t;

#define MVT_BLOCK_ORPHAN 0xfffffffeu /* mvt_block_host_t.host: held entries, no host */

typedef struct
{
	uint32_t head, tail; /* lines, oldest first */
	uint32_t count;
} mvt_held_t;

struct mvt_pool
{
	mvt_pool_head_t head;

	mvt_slab_t *slabs;
	uint64_t *slab_bits; /* per slab: free ports with summary, then ports in use */
	uint32_t slab_words; /* of both */
	uint32_t used_at;    /* where the second begins */
	uint32_t port_words; /* data words of a port bitmap */
	uint32_t n_slabs;
	uint32_t fresh; /* slabs from here on were never taken */
	uint32_t slab_free;
	uint32_t slabs_taken;
	uint32_t slabs_scarce; /* more than these taken: few are left */

	mvt_slot_t *slots;
	uint64_t *slot_bits;  /* per slot: owned, free, bare by protocol; each with summary */
	uint32_t slot_words;  /* of one of these */
	uint32_t block_words; /* data words of one of these */
	uint16_t *open;	      /* [slot][protocol][open_max]: block numbers within the slot */
	uint32_t open_max;
	uint32_t n_slots;
	uint32_t slot_bits_log2; /* log2 of blocks per slot */
	uint64_t *free_slots;	 /* slots that have free blocks */
	uint32_t free_slot_words;
	uint32_t give_next; /* where giving of all slots goes on */
	uint32_t starved;

	mvt_block_host_t *block_host; /* NULL unless by_host */
	mvt_pool_event_t *events;
	uint32_t event_head, event_tail;
	uint64_t events_lost;

	mvt_held_t held[MVT_PROTO_N];
	uint32_t held_max;

	/* counters behind mvt_pool_stats */
	uint32_t n_blocks, n_blocks_free, n_blocks_open;
	uint32_t n_blocks_used; /* have a slab: open and closed */
	uint64_t ports, ports_in_free;
	uint64_t unused[MVT_PROTO_N];
	uint32_t in_use[MVT_PROTO_N];
	uint32_t in_use_all;

	uint64_t seed;
	uint64_t steps; /* turns of every loop whose length depends on state: what tests bound */
	mvt_directory_t *dir;
	mvt_pool_config_t config;
	mvt_mem_t mem;
	void *tables; /* all arrays but those that fill up */
	uint64_t lines_size, slabs_size, bits_size, tables_size;
	mvt_backed_t backed_lines, backed_slabs, backed_bits; /* up to `fresh` and beyond */
	uint16_t *usable; /* allocatable ports by block number within a slot */
	uint64_t allocatable[65536 / 64];
};

/* ---- arithmetic ---- */

static inline uint32_t
mvt_pool_block_slot (const mvt_pool_t *pool, uint32_t block)
{
	return block >> pool->slot_bits_log2;
}

/* Number of a block within its slot. */
static inline uint32_t
mvt_pool_block_local (const mvt_pool_t *pool, uint32_t block)
{
	return block & ((1u << pool->slot_bits_log2) - 1);
}

static inline uint32_t
mvt_pool_usable (const mvt_pool_t *pool, uint32_t block)
{
	return pool->usable[mvt_pool_block_local (pool, block)];
}

static inline uint32_t
mvt_pool_slab_of (const mvt_pool_t *pool, uint32_t block, uint32_t proto)
{
	return pool->head.slab_line[block][proto] >> pool->head.block_bits;
}

static inline bool
mvt_pool_block_in_use (const mvt_pool_t *pool, uint32_t block)
{
	const uint32_t *line = pool->head.slab_line[block];
	return line[MVT_PROTO_UDP] || line[MVT_PROTO_TCP] || line[MVT_PROTO_ICMP];
}

static inline uint64_t *
mvt_pool_free_ports (const mvt_pool_t *pool, uint32_t slab)
{
	return &pool->slab_bits[(size_t) slab * pool->slab_words];
}

static inline uint64_t *
mvt_pool_used_ports (const mvt_pool_t *pool, uint32_t slab)
{
	return mvt_pool_free_ports (pool, slab) + pool->used_at;
}

static inline void
mvt_pool_used_set (mvt_pool_t *pool, uint32_t slab, uint32_t port)
{
	uint32_t i = port & pool->head.block_mask;

	mvt_pool_used_ports (pool, slab)[i >> 6] |= 1ull << (i & 63);
	pool->slabs[slab].n_used++;
}

static inline void
mvt_pool_used_clear (mvt_pool_t *pool, uint32_t slab, uint32_t port)
{
	uint32_t i = port & pool->head.block_mask;

	mvt_pool_used_ports (pool, slab)[i >> 6] &= ~(1ull << (i & 63));
	pool->slabs[slab].n_used--;
}

enum
{
	MVT_SLOT_OWNED,
	MVT_SLOT_FREE,
	MVT_SLOT_BARE, /* + protocol: in use by another protocol, without a slab for this one */
	MVT_SLOT_MAPS = MVT_SLOT_BARE + MVT_PROTO_N
};

static inline uint64_t *
mvt_pool_slot_map (const mvt_pool_t *pool, uint32_t slot, uint32_t map)
{
	return &pool->slot_bits[((size_t) slot * MVT_SLOT_MAPS + map) * pool->slot_words];
}

static inline bool
mvt_pool_owns (const mvt_pool_t *pool, uint32_t block)
{
	return mvt_bitmap_test (
		mvt_pool_slot_map (pool, mvt_pool_block_slot (pool, block), MVT_SLOT_OWNED),
		mvt_pool_block_local (pool, block));
}

static inline uint16_t *
mvt_pool_open_array (const mvt_pool_t *pool, uint32_t slot, uint32_t proto)
{
	return &pool->open[((size_t) slot * MVT_PROTO_N + proto) * pool->open_max];
}

static inline bool
mvt_pool_slabs_left (const mvt_pool_t *pool)
{
	return pool->slab_free || pool->fresh < pool->n_slabs;
}

static inline bool
mvt_pool_is_allocatable (const mvt_pool_t *pool, uint16_t port)
{
	return mvt_bitmap_test (pool->allocatable, port);
}

/* Candidates that a (slot, protocol) keeps open: few when slabs become scarce, so that those in use
 * fill up and max_mappings is reached. */
static inline uint32_t
mvt_pool_mark (const mvt_pool_t *pool, const mvt_slot_proto_t *sp)
{
	uint32_t mark = (uint32_t) ((uint64_t) sp->unused * 3 >> 6);

	if (mark < MVT_POOL_CANDIDATES_MIN || pool->slabs_taken > pool->slabs_scarce)
		return MVT_POOL_CANDIDATES_MIN;
	return mark < MVT_POOL_CANDIDATES ? mark : MVT_POOL_CANDIDATES;
}

/* ---- mvt_pool.c ---- */

/* So many slabs may be used, with their entries. */
void mvt_pool_back (mvt_pool_t *pool, uint32_t slabs);

/* ---- mvt_pool_slab.c: slabs, open array, class lists, free and bare blocks ---- */

/* A slab for a (block, protocol) that has none, UNLISTED. 0 when the arena is full. */
uint32_t mvt_pool_slab_new (mvt_pool_t *pool, uint32_t block, uint32_t proto);
/* To the open array, a class, or none of them. */
void mvt_pool_slab_move (mvt_pool_t *pool, uint32_t slab, uint32_t where);
/* A port that was free is in use from now on. The entry is the caller's to fill. */
void mvt_pool_port_use (mvt_pool_t *pool, uint32_t slab, uint32_t port);
/* A port is neither in use nor held any more; gives the slab back if it was the last. The caller
 * has taken it off n_used or n_held. */
void mvt_pool_port_vacate (mvt_pool_t *pool, uint32_t slab, uint32_t port);
/* The block became free, or ceased to be. */
void mvt_pool_block_freed (mvt_pool_t *pool, uint32_t block);
void mvt_pool_block_taken (mvt_pool_t *pool, uint32_t block);

/* ---- mvt_pool_hold.c: hold-down ---- */

/* While an entry is held, these of its fields link it into two queues, oldest first: all of its
 * protocol, and those of its address. The delay is one for all, so the head is due first. `last`
 * is the tick of the free. The inside endpoint stays, to know the host again. */
#define mvt_pool_held_next(e)	   ((e)->sessions)
#define mvt_pool_held_prev(e)	   ((e)->rem_addr)
#define mvt_pool_held_slot_next(e) ((e)->packets[0])
#define mvt_pool_held_slot_prev(e) ((e)->packets[1])

/* Keep an entry that is in use no more from others; false when nothing may be held. */
bool mvt_pool_hold (mvt_pool_t *pool, uint32_t slab, mvt_entry_t *entry, uint32_t now);
/* Take an entry out of the queues and out of its slab's count; the port is then the caller's. */
void mvt_pool_held_unlink (mvt_pool_t *pool, mvt_entry_t *entry);
/* Out of hold-down: the port is free. */
void mvt_pool_held_release (mvt_pool_t *pool, mvt_entry_t *entry);
/* For an address without a free port: the host's own among the oldest held entries, else the
 * oldest. NULL when none is held. */
mvt_entry_t *mvt_pool_held_for (mvt_pool_t *pool, uint32_t slot, uint32_t proto,
				const mvt_host_t *host);
/* A held entry of a slab, or NULL. O(block size / 64). */
mvt_entry_t *mvt_pool_held_in (mvt_pool_t *pool, uint32_t slab);

/* ---- mvt_pool_assign.c: allocation: block ---- */

/* Find a place for host: a slab with the number of a free port, or a held entry of the host's own
 * in *held. MVT_OK, FULL, NO_MEMORY or UNSUPPORTED. */
mvt_err_t mvt_pool_assign_find (mvt_pool_t *pool, uint32_t slot, uint32_t proto, mvt_hosts_t *hosts,
				uint32_t host, uint32_t max_blocks, uint32_t *slab,
				mvt_entry_t **held);
/* One dynamic entry of the block ended: its host loses the block with the last one. */
void mvt_pool_assign_ended (mvt_pool_t *pool, mvt_hosts_t *hosts, uint32_t block);
/* A block without host became free. */
void mvt_pool_assign_block_freed (mvt_pool_t *pool, uint32_t block);

#endif /* MVT_POOL_PRIVATE_H */

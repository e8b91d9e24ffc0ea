/* SPDX-License-Identifier: Apache-2.0
 *
 * mvt_pool_t: one instance's part of the pool: blocks, slabs, open blocks, hold-down.
 *
 * A block is block_size aligned ports of one external address, all protocols. For each (block,
 * protocol) in use there is a slab: block_size entries (mvt_entry.h) in the instance's arena, so
 * the entry of an external endpoint is found by arithmetic. A slab is taken in O(1) from a free
 * list when its first port is needed and given back when its last entry is neither in use nor held.
 * A block is free when it has no slab.
 *
 * Open blocks. Ports are random inside open blocks only (RFC 6056; DESIGN 4.2 "Open blocks"). Per
 * (address, protocol) the pool keeps as many candidates (free ports of open blocks) as 3/64 of the
 * unused ports, from 64 up to MVT_POOL_CANDIDATES. Below that mark it reopens partly used blocks,
 * the fullest first; when none is left, the port comes from a further block, chosen at random: one
 * that another protocol uses, so that the protocols share blocks, else a free one. When frees push
 * the candidates a quarter over the mark, the emptiest of a few open blocks is closed, so that it
 * drains. How full a block is counts all its protocols, so that they drain the same ones. That
 * keeps free blocks free, which is what can be moved to another instance.
 *
 * Hold-down (RFC 6888 REQ-8). A freed port can be kept from others for hold_seconds, in a queue per
 * protocol; a held port is no candidate. It ends early, the oldest first, when more ports than
 * hold_share_1024 are held; and when an address has no other port left: REQ-8 is a SHOULD, and
 * refusing a flow while ports idle is worse. Then the same host gets back its own held port if it
 * is among the oldest, else the oldest is taken.
 *
 * Arena. slabs = 1 + min (every (block, protocol) of the directory,
 *                         (1.5 max_mappings + 6 n_slots min (block_size, 1024)
 *                          + 6 max (block_size, 1024)) / block_size)
 * where all but max_mappings is for slabs that are partly used; when three quarters are taken the
 * pool makes do with 64 candidates. With by_host, where every host's slabs are partly used, there
 * are at least max_mappings / 4. Memory is reserved, and backed as mappings need it: with blocks of
 * 64 ports about 64 bytes per mapping and its share of the candidates, 1 for slab headers, 0.25 for
 * the map from blocks to slabs.
 *
 * Owner thread only. All memory is reserved at creation, nothing is allocated for a packet. No
 * function's cost depends on the size of the pool, except where said. `now` never goes back.
 */
#ifndef MVT_POOL_H
#define MVT_POOL_H

#include "mvt_entry.h"
#include "mvt_host.h"
#include "mvt_shared.h"

#define MVT_POOL_CANDIDATES 1024u
#define MVT_POOL_SLOTS_MAX  (1u << 20)

typedef struct
{
	uint16_t instance;
	uint32_t max_mappings;	  /* entries that may be in use at once */
	uint32_t hold_seconds;	  /* 0: no hold-down */
	uint32_t hold_share_1024; /* of the instance's allocatable ports, in 1/1024 and for each
				     protocol: more are not held, the oldest are released
				     early; nor more than max (max_mappings / 4, 1024) */
	bool by_host;		  /* allocation: block */
	const uint64_t
		*allocatable; /* bitmap of 65,536 ports that dynamic mappings may use; copied */
	uint64_t seed;	      /* of port and block choice, not 0 */
} mvt_pool_config_t;

/* Head of the private structure: what the inline below needs. */
typedef struct
{
	mvt_entry_t *lines;	  /* the arena */
	uint32_t (*slab_line)[4]; /* [block][proto]: first line of the slab, 0 if none */
	uint32_t block_bits;
	uint32_t block_mask; /* block_size - 1 */
} mvt_pool_head_t;

typedef struct mvt_pool mvt_pool_t;

typedef struct
{
	uint32_t blocks;      /* owned */
	uint32_t blocks_free; /* usable and free: may be given away */
	uint32_t blocks_open, blocks_closed;
	uint64_t ports;		      /* allocatable ports in owned blocks (per protocol) */
	uint32_t in_use[MVT_PROTO_N]; /* entries */
	uint32_t held;		      /* entries in hold-down */
	uint32_t slabs;		      /* taken from the arena */
	uint64_t unused_in_free_blocks[MVT_PROTO_N]; /* and unused elsewhere: fragmentation */
	uint64_t unused_elsewhere[MVT_PROTO_N];	     /* unused: neither in use nor held */
	uint64_t events_lost;
} mvt_pool_stats_t;

/* A pool without blocks. dir must outlive it and says block size and number of addresses.
 * Returns NULL with *err: INVALID (a number of config or dir out of range), NO_MEMORY. */
mvt_pool_t *mvt_pool_new (const mvt_pool_config_t *config, mvt_directory_t *dir,
			  const mvt_mem_t *mem, mvt_err_t *err);
void mvt_pool_remove (mvt_pool_t *pool);

/* ---- blocks ---- */

/* Take blocks (global block numbers) into this pool: sets the owner in the directory, whoever it
 * was. Blocks that this pool has already are left alone, as are numbers beyond the directory. O(n).
 */
void mvt_pool_take (mvt_pool_t *pool, const uint32_t *blocks, uint32_t n);
/* Give up to max free blocks: of `slot`, or of all slots in turn when slot is MVT_NONE. They are
 * written to out and belong in the directory to `to` from now on. Returns how many. Random free
 * blocks of a slot, so that neither instance's ports are guessable by position. Cost: O(max). */
uint32_t mvt_pool_give (mvt_pool_t *pool, uint32_t slot, uint16_t to, uint32_t *out, uint32_t max);
/* Give one certain block (for a static mapping's endpoint; or one without allocatable ports, which
 * never counts as free). MVT_OK, NOT_OWNER, IN_USE (it has an entry in use or held). */
mvt_err_t mvt_pool_give_block (mvt_pool_t *pool, uint32_t block, uint16_t to);
/* Free blocks of one slot. */
uint32_t mvt_pool_free_blocks (const mvt_pool_t *pool, uint32_t slot);
/* The slot whose exhaustion was met last since the last call, or MVT_NONE: where refill is due. */
uint32_t mvt_pool_starved (mvt_pool_t *pool);
/* A draining slot opens no block and allocates no port (MVT_ERR_FULL); static mappings may still be
 * made, its blocks be given away. */
void mvt_pool_drain_slot (mvt_pool_t *pool, uint32_t slot, bool draining);

/* ---- entries ---- */

/* The line of an external endpoint, or NULL when its slab is not open. The entry may be free. */
static inline mvt_entry_t *
mvt_pool_place (const mvt_pool_t *pool, uint32_t block, uint8_t proto, uint16_t port)
{
	const mvt_pool_head_t *head = (const mvt_pool_head_t *) (const void *) pool;
	uint32_t line = head->slab_line[block][proto];
	return line == 0 ? NULL : &head->lines[line + (port & head->block_mask)];
}

/* mvt_pool_place in two steps, for a batch that asks for memory ahead: where the slab's first line
 * stands, and the entry. Without a slab the second gives an entry that is free, for ever. */
static inline const uint32_t *
mvt_pool_slab_line (const mvt_pool_t *pool, uint32_t block, uint32_t proto)
{
	return &((const mvt_pool_head_t *) (const void *) pool)->slab_line[block][proto];
}

static inline mvt_entry_t *
mvt_pool_place_at (const mvt_pool_t *pool, const uint32_t *slab_line, uint32_t port)
{
	const mvt_pool_head_t *head = (const mvt_pool_head_t *) (const void *) pool;
	return &head->lines[*slab_line + (port & head->block_mask)];
}

static inline mvt_entry_t *
mvt_pool_line (const mvt_pool_t *pool, uint32_t line)
{
	return &((const mvt_pool_head_t *) (const void *) pool)->lines[line];
}

static inline uint32_t
mvt_pool_line_of (const mvt_pool_t *pool, const mvt_entry_t *entry)
{
	return (uint32_t) (entry - ((const mvt_pool_head_t *) (const void *) pool)->lines);
}

/* Allocate a port of `slot` for `host`. max_blocks: 0 is no limit; read with by_host only, as are
 * the host's chain of blocks and its count, which the pool keeps. On success the entry is state
 * DYNAMIC with ext_addr = ext_addr given, ext_port, proto, slab and host set, everything else zero
 * (sessions MVT_NONE). With by_host a host gets a further block when its own have no port left,
 * neither free nor held.
 *  => host is a live record; its count is the caller's to keep, its blocks are the pool's.
 * Returns MVT_OK, or MVT_ERR_FULL (no port, or no block, on this address; or it drains),
 * MVT_ERR_NO_MEMORY (max_mappings or arena), MVT_ERR_UNSUPPORTED (max_blocks reached). */
mvt_err_t mvt_pool_alloc (mvt_pool_t *pool, uint32_t slot, uint32_t ext_addr, uint8_t proto,
			  mvt_hosts_t *hosts, uint32_t host, uint32_t max_blocks, uint32_t now,
			  mvt_entry_t **entry);
/* Allocate one given external endpoint (a static mapping), allocatable or not; state STATIC.
 * host is MVT_NONE. MVT_OK, NOT_OWNER, INVALID (protocol without ports), NO_MEMORY, IN_USE (a
 * dynamic or static mapping has it; a held one is taken). */
mvt_err_t mvt_pool_alloc_static (mvt_pool_t *pool, uint32_t slot, uint32_t ext_addr, uint8_t proto,
				 uint16_t port, mvt_entry_t **entry);
/* Free an entry. hold: keep it from others for hold_seconds (not after tracked TCP, not with
 * address(-and-port)-dependent filtering, RFC 6888 REQ-8: the caller decides); in_addr and realm
 * must still be the host's. Static entries are never held. With by_host, a block's last dynamic
 * entry takes the block off its host: released, though it is free only after the hold-down.
 * => entry is DYNAMIC or STATIC; with by_host its host is live. */
void mvt_pool_free (mvt_pool_t *pool, mvt_hosts_t *hosts, mvt_entry_t *entry, bool hold,
		    uint32_t now);
/* Between batches: a few steps towards memory for the next mappings, true if it took one. */
bool mvt_pool_back_ahead (mvt_pool_t *pool);
/* Release what has been held for hold_seconds, at most `budget` entries. Returns how many. */
uint32_t mvt_pool_release (mvt_pool_t *pool, uint32_t now, uint32_t budget);
/* Next used entries (DYNAMIC or STATIC) from *cursor on, at most max, looking at no more than
 * `budget` lines (64 free ones, or a slab that is not taken, count as one). At the end *cursor is 0
 * again and *wrapped set. For the sweep and for dumps: a dump starts at cursor 0 and ends at
 * *wrapped; an entry that lives throughout is returned exactly once, as slabs never move. */
uint32_t mvt_pool_walk (const mvt_pool_t *pool, uint64_t *cursor, mvt_entry_t **out, uint32_t max,
			uint32_t budget, bool *wrapped);

/* The same over blocks in use: at most max, looking at no more than `budget` slabs. holder: the
 * host that a block is assigned to (allocation: block), MVT_NONE if none. */
typedef struct
{
	uint32_t block;
	uint32_t holder;
	uint32_t in_use[MVT_PROTO_N];
} mvt_pool_block_t;
uint32_t mvt_pool_walk_blocks (const mvt_pool_t *pool, uint64_t *cursor, mvt_pool_block_t *out,
			       uint32_t max, uint32_t budget, bool *wrapped);

void mvt_pool_stats (const mvt_pool_t *pool, mvt_pool_stats_t *stats);
/* Block events since the last call (with by_host: assigned to a host, released): at most max,
 * oldest first. 1,024 are kept; what finds no room is counted in events_lost. */
typedef struct
{
	uint32_t block;
	uint32_t host_addr;
	uint16_t realm;
	uint8_t assigned; /* 1 assigned, 0 released */
	uint8_t pad;
} mvt_pool_event_t;
uint32_t mvt_pool_events (mvt_pool_t *pool, mvt_pool_event_t *out, uint32_t max);

/* Every invariant of the structure, for tests: 0 or the line number of the broken check. O(n). */
int mvt_pool_verify (const mvt_pool_t *pool);

#endif /* MVT_POOL_H */

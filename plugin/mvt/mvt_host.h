/* SPDX-License-Identifier: Apache-2.0
 *
 * mvt_hosts_t: the inside hosts that an instance serves, one 64-byte record each.
 *
 * A record lives while its host has mappings at this instance. It carries what paired pooling and
 * per-host limits need: the external address, counts, the creation-rate bucket and, with
 * `allocation: block`, the blocks assigned to the host. Read on the new-mapping path only.
 * Owner thread only. Records are found by a keyed hash (chained, one bucket word per host at full
 * load). All memory is taken at creation; with lazily backed memory a live host costs 64 bytes and
 * its share of the bucket words.
 */
#ifndef MVT_HOST_H
#define MVT_HOST_H

#include "mvt_crc32c.h"
#include "mvt_types.h"

typedef struct
{
	uint32_t addr;
	uint16_t realm;
	uint16_t rate_count; /* mappings made in the second rate_tick */
	uint32_t slot;	     /* its external address; MVT_NONE before the first mapping */
	uint32_t rate_tick;
	uint32_t count[MVT_PROTO_N]; /* live mappings */
	uint32_t blocks;	     /* head of its assigned blocks (allocation: block), MVT_NONE */
	uint32_t n_blocks;
	uint32_t next;	/* private: hash chain or free list */
	uint32_t since; /* tick of the first mapping */
	uint32_t live;	/* private */
	/* the caller's; 0 in a new record */
	uint32_t epoch; /* of the snapshots under which the next two are true */
	uint32_t policy;
	uint32_t ext_addr; /* of slot while it may be allocated from, else 0 */
	uint32_t spare;
} mvt_host_t;

_Static_assert (sizeof (mvt_host_t) == MVT_CACHE_LINE, "a host record is one cache line");

typedef struct mvt_hosts mvt_hosts_t;

/* Room for max_hosts live hosts, 1..2^30. NULL when there is no memory. secret is copied; mem must
 * outlive the table. */
mvt_hosts_t *mvt_hosts_new (uint32_t max_hosts, const mvt_secret_t *secret, const mvt_mem_t *mem);
void mvt_hosts_remove (mvt_hosts_t *hosts);
/* Ask for what a find reads first, and, when that has come, for the record. */
void mvt_hosts_prefetch (const mvt_hosts_t *hosts, uint32_t addr, uint16_t realm);
void mvt_hosts_prefetch_record (const mvt_hosts_t *hosts, uint32_t addr, uint16_t realm);
/* Index of a host or MVT_NONE. */
uint32_t mvt_hosts_find (const mvt_hosts_t *hosts, uint32_t addr, uint16_t realm);
/* Find or add. MVT_NONE when max_hosts live. A new record has slot MVT_NONE and zero counts. */
uint32_t mvt_hosts_get (mvt_hosts_t *hosts, uint32_t addr, uint16_t realm, uint32_t now);
/* Forget a host. => no mapping is left; then no block is either (mvt_pool_free saw to it). */
void mvt_hosts_put (mvt_hosts_t *hosts, uint32_t host);
/* The record; valid as long as the host is live. => host came from get or find, and is live */
mvt_host_t *mvt_hosts_at (mvt_hosts_t *hosts, uint32_t host);
uint32_t mvt_hosts_count (const mvt_hosts_t *hosts);
/* Between batches: a step towards memory for the next thousand hosts or two, true if it took one.
 */
bool mvt_hosts_back_ahead (mvt_hosts_t *hosts);
/* Walk: hosts from *cursor on (0 to begin) of realm whose address is in prefix, at most max,
 * looking at no more than `budget` records. *cursor is MVT_NONE when done. Weakly consistent: a
 * host live throughout the walk is reported exactly once. */
uint32_t mvt_hosts_walk (const mvt_hosts_t *hosts, mvt_prefix4_t prefix, uint16_t realm,
			 uint32_t *cursor, uint32_t *out, uint32_t max, uint32_t budget);

#endif /* MVT_HOST_H */

/* SPDX-License-Identifier: Apache-2.0
 *
 * mvt_shared_t: the few words that all instances of a process share, and mvt_directory_t, the
 * owner of every block of the pool.
 *
 * Everything here is read-mostly. Snapshots are replaced whole by the control thread (release
 * store); an instance loads each pointer once per batch (acquire). Nobody does an atomic
 * read-modify-write. A replaced snapshot is freed by the host when every instance has passed one
 * loop since.
 */
#ifndef MVT_SHARED_H
#define MVT_SHARED_H

#include <stdatomic.h>

#include "mvt_home.h"
#include "mvt_packet.h"
#include "mvt_policy.h"

/* Owners of blocks: owner[slot << (16 - block_bits) | port >> block_bits]. Read by every
 * dispatcher, written (relaxed) only when a block changes owner, which happens only while free. */
typedef struct
{
	uint32_t n_slots;    /* capacity in addresses */
	uint32_t block_bits; /* log2 of block_size, 0..15 */
	_Atomic uint16_t owner[];
} mvt_directory_t;

/* => block_bits <= 15, n_slots << (16 - block_bits) < 2^32 */
size_t mvt_directory_footprint (uint32_t n_slots, uint32_t block_bits);
/* All blocks belong to nobody (MVT_NO_INSTANCE). mem: footprint bytes, cache-line aligned. */
mvt_directory_t *mvt_directory_format (void *mem, uint32_t n_slots, uint32_t block_bits);

static inline uint32_t
mvt_directory_block (const mvt_directory_t *dir, uint32_t slot, uint16_t port)
{
	return (uint32_t) (((uint64_t) slot << 16 | port) >> dir->block_bits);
}

static inline uint16_t
mvt_directory_owner (const mvt_directory_t *dir, uint32_t block)
{
	return atomic_load_explicit (&dir->owner[block], memory_order_relaxed);
}

static inline void
mvt_directory_set_owner (mvt_directory_t *dir, uint32_t block, uint16_t instance)
{
	atomic_store_explicit (&dir->owner[block], instance, memory_order_release);
}

typedef struct
{
	_Atomic (const mvt_policy_set_t *) policy;
	_Atomic (const mvt_home_t *) home;
	_Atomic (const mvt_home_t *) rules;
	mvt_directory_t *directory;
	uint64_t frag_key;    /* keys the hash that gives a datagram's fragments one instance */
	uint64_t address_key; /* keys the hash that gives a host its external address */
	/* fragments and stray packets are spread over active[0..n_active) */
	_Atomic uint32_t n_active;
	_Atomic uint16_t active[MVT_HOME_INSTANCES];
} mvt_shared_t;

/* The dispatcher (DESIGN 4.3): which instance is pkt for? Reads headers with bounds checks, sets
 * MVT_PKT_FRAG_HOME on out2in fragments, writes nothing shared.
 *   in2out                       rules by source address (endpoint where pins exist)
 *   in2out ICMP error            rules by the embedded packet's destination endpoint
 *   out2in                       directory by destination endpoint; a static 1:1 address: rules by
 *                                the inside address it stands for
 *   out2in ICMP error            directory by the embedded packet's source endpoint
 *   out2in fragment              mvt_dispatch_fragment, or the directory when MVT_PKT_PORT_KNOWN;
 *                                to a static 1:1 address: as a whole packet, it needs no port
 *   malformed, not ours          any active instance: it gives the verdict and counts
 * Returns an instance below MVT_HOME_INSTANCES, never MVT_NO_INSTANCE (a block without owner: any
 * active one). It is a hint: what instances do with a packet does not rely on it.
 *
 * Called by engine and VPP for every packet: the in2out case with a single rule reads nothing of
 * the packet, the out2in UDP/TCP case the headers, the pool's runs and one directory word.
 *  => a snapshot that is not set yet (NULL) is allowed: any active instance */
uint16_t mvt_dispatch_by (const mvt_shared_t *shared, mvt_views_t *views, mvt_pkt_t *pkt);

/* The same without the calling thread's views. */
static inline uint16_t
mvt_dispatch (const mvt_shared_t *shared, mvt_pkt_t *pkt)
{
	return mvt_dispatch_by (shared, NULL, pkt);
}

/* The instance that all fragments of a datagram meet at: hash (src, dst, id, protocol) over the
 * active instances. Any thread; instance 0 while none is active. */
uint16_t mvt_dispatch_fragment (const mvt_shared_t *shared, uint32_t src, uint32_t dst, uint16_t id,
				uint8_t ip_proto);

#endif /* MVT_SHARED_H */

/* SPDX-License-Identifier: Apache-2.0
 *
 * ring_t: a bounded queue of pointers between one producer thread and one consumer thread.
 *
 * Indices run freely and are masked on use. Producer and consumer each have a cache line of
 * their own, with a private copy of the other's index, so that a batch costs one line transfer at
 * most. Publication is a sequentially consistent store because whoever publishes looks at the
 * consumer's sleep flag next (park.h); that is once per batch, not per packet.
 */
#ifndef ENGINE_RING_H
#define ENGINE_RING_H

#include <stdatomic.h>

#include "mvt_types.h"

typedef struct
{
	/* producer */
	_Alignas (MVT_CACHE_LINE) _Atomic uint32_t tail; /* published */
	uint32_t put;					 /* written, not yet published */
	uint32_t head_seen;
	/* consumer */
	_Alignas (MVT_CACHE_LINE) _Atomic uint32_t head;
	uint32_t tail_seen;
	/* read only */
	_Alignas (MVT_CACHE_LINE) uint32_t mask;
	void *slot[];
} ring_t;

/* => capacity is a power of two */
static inline size_t
ring_footprint (uint32_t capacity)
{
	size_t size = sizeof (ring_t) + (size_t) capacity * sizeof (void *);
	return (size + MVT_CACHE_LINE - 1) & ~(size_t) (MVT_CACHE_LINE - 1);
}

/* mem: footprint bytes, zeroed, cache-line aligned. */
static inline ring_t *
ring_format (void *mem, uint32_t capacity)
{
	ring_t *ring = mem;
	ring->mask = capacity - 1;
	return ring;
}

/* ---- producer ---- */

/* Append without telling the consumer. False when full. */
static inline bool
ring_put (ring_t *ring, void *item)
{
	if (ring->put - ring->head_seen > ring->mask)
	{
		ring->head_seen = atomic_load_explicit (&ring->head, memory_order_acquire);
		if (ring->put - ring->head_seen > ring->mask)
			return false;
	}
	ring->slot[ring->put++ & ring->mask] = item;
	return true;
}

/* Make everything that was put visible. True when there was something. */
static inline bool
ring_publish (ring_t *ring)
{
	if (ring->put == atomic_load_explicit (&ring->tail, memory_order_relaxed))
		return false;
	atomic_store_explicit (&ring->tail, ring->put, memory_order_seq_cst);
	return true;
}

/* Put and publish as many as fit; returns how many. */
static inline uint32_t
ring_enqueue (ring_t *ring, void *const *items, uint32_t n)
{
	uint32_t i = 0;
	while (i < n && ring_put (ring, items[i]))
		i++;
	ring_publish (ring);
	return i;
}

/* ---- consumer ---- */

static inline uint32_t
ring_dequeue (ring_t *ring, void **items, uint32_t max)
{
	uint32_t head = atomic_load_explicit (&ring->head, memory_order_relaxed);
	uint32_t n = ring->tail_seen - head;

	if (n < max)
	{
		ring->tail_seen = atomic_load_explicit (&ring->tail, memory_order_acquire);
		n = ring->tail_seen - head;
	}
	if (n > max)
		n = max;
	if (n == 0)
		return 0;
	for (uint32_t i = 0; i < n; i++)
		items[i] = ring->slot[(head + i) & ring->mask];
	atomic_store_explicit (&ring->head, head + n, memory_order_release);
	return n;
}

/* The next item, which stays; NULL when empty. */
static inline void *
ring_peek (ring_t *ring)
{
	uint32_t head = atomic_load_explicit (&ring->head, memory_order_relaxed);

	if (ring->tail_seen == head)
		ring->tail_seen = atomic_load_explicit (&ring->tail, memory_order_acquire);
	return ring->tail_seen == head ? NULL : ring->slot[head & ring->mask];
}

/* Is there something to take? Ordered against the consumer's sleep flag. */
static inline bool
ring_ready (ring_t *ring)
{
	return atomic_load_explicit (&ring->tail, memory_order_seq_cst) !=
	       atomic_load_explicit (&ring->head, memory_order_relaxed);
}

/* ---- any thread: a hint ---- */

static inline uint32_t
ring_count_any (ring_t *ring)
{
	uint32_t head = atomic_load_explicit (&ring->head, memory_order_acquire);
	return atomic_load_explicit (&ring->tail, memory_order_acquire) - head;
}

#endif /* ENGINE_RING_H */

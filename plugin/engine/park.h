/* SPDX-License-Identifier: Apache-2.0
 *
 * park_t: a thread's sleep flag. A producer makes a system call only when the consumer sleeps.
 *
 * The consumer raises the flag, looks once more at its rings, then sleeps; the producer publishes
 * to a ring, then looks at the flag. All four accesses are sequentially consistent, so one of the
 * two sees the other and no wake-up is lost. The flag lies on a line of its own, which producers
 * only read while the consumer is awake.
 */
#ifndef ENGINE_PARK_H
#define ENGINE_PARK_H

#include <stdatomic.h>

#include "mvt_types.h"

typedef struct
{
	_Alignas (MVT_CACHE_LINE) _Atomic uint32_t asleep;
} park_t;

/* Before the last look: from now on producers wake this thread. */
static inline void
park_announce (park_t *park)
{
	atomic_store_explicit (&park->asleep, 1, memory_order_seq_cst);
}

/* There was work after all. */
static inline void
park_cancel (park_t *park)
{
	atomic_store_explicit (&park->asleep, 0, memory_order_relaxed);
}

/* Sleep until woken or timeout_us have passed, after park_announce. */
void park_sleep (park_t *park, uint32_t timeout_us);

void park_wake_sleeper (park_t *park);

static inline void
park_wake (park_t *park)
{
	if (mvt_unlikely (atomic_load_explicit (&park->asleep, memory_order_seq_cst)))
		park_wake_sleeper (park);
}

/* Wait until *word is no longer `value`, somebody wakes, or timeout_us have passed. */
void park_wait (_Atomic uint32_t *word, uint32_t value, uint32_t timeout_us);
/* The waiter may be gone already, and its word with it: a futex on a foreign address wakes at most
 * somebody who checks again. */
void park_wake_waiter (_Atomic uint32_t *word);

#endif /* ENGINE_PARK_H */

/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1
#include "park.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long
futex (_Atomic uint32_t *word, int op, uint32_t value, const struct timespec *timeout)
{
	return syscall (SYS_futex, (void *) word, op | FUTEX_PRIVATE_FLAG, value, timeout, NULL, 0);
}

void
park_sleep (park_t *park, uint32_t timeout_us)
{
	struct timespec ts = { (time_t) (timeout_us / 1000000),
			       (long) (timeout_us % 1000000) * 1000 };
	futex (&park->asleep, FUTEX_WAIT, 1, &ts);
	atomic_store_explicit (&park->asleep, 0, memory_order_relaxed);
}

void
park_wake_sleeper (park_t *park)
{
	if (atomic_exchange_explicit (&park->asleep, 0, memory_order_seq_cst))
		futex (&park->asleep, FUTEX_WAKE, 1, NULL);
}

void
park_wait_done (_Atomic uint32_t *done)
{
	while (!atomic_load_explicit (done, memory_order_acquire))
		futex (done, FUTEX_WAIT, 0, NULL);
}

/* The waiter may return, and its word be gone, before the wake: a futex on a foreign address wakes
 * at most somebody who checks again. */
void
park_set_done (_Atomic uint32_t *done)
{
	atomic_store_explicit (done, 1, memory_order_release);
	futex (done, FUTEX_WAKE, 1, NULL);
}

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
park_wait (_Atomic uint32_t *word, uint32_t value, uint32_t timeout_us)
{
	struct timespec ts = { (time_t) (timeout_us / 1000000),
			       (long) (timeout_us % 1000000) * 1000 };
	futex (word, FUTEX_WAIT, value, &ts);
}

void
park_wake_waiter (_Atomic uint32_t *word)
{
	futex (word, FUTEX_WAKE, 1, NULL);
}

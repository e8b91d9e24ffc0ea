/* SPDX-License-Identifier: Apache-2.0
 * The engine's parts on their own: rings, sleeping, memory, link layers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pcap/pcap.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "engine_private.h"

static ring_t *
ring_new (uint32_t capacity)
{
	void *p = NULL;
	assert_int_equal (posix_memalign (&p, MVT_CACHE_LINE, ring_footprint (capacity)), 0);
	memset (p, 0, ring_footprint (capacity));
	return ring_format (p, capacity);
}

static void
ring_holds_its_capacity_in_order (void **state)
{
	(void) state;
	ring_t *r = ring_new (8);
	uintptr_t next_in = 1, next_out = 1;
	void *items[16];

	/* over the wrap of the index, too */
	atomic_store (&r->tail, UINT32_MAX - 20);
	atomic_store (&r->head, UINT32_MAX - 20);
	r->put = r->head_seen = r->tail_seen = UINT32_MAX - 20;
	for (unsigned round = 0; round < 20; round++)
	{
		unsigned n = 0;
		while (ring_put (r, (void *) next_in))
			next_in++, n++;
		assert_int_equal (n, 8);
		assert_false (ring_ready (r)); /* put is not published */
		assert_null (ring_peek (r));
		assert_true (ring_publish (r));
		assert_false (ring_publish (r));
		assert_true (ring_ready (r));
		assert_int_equal (ring_count_any (r), 8);
		assert_ptr_equal (ring_peek (r), (void *) next_out);
		n = ring_dequeue (r, items, 3);
		assert_int_equal (n, 3);
		n += ring_dequeue (r, items + 3, 13);
		assert_int_equal (n, 8);
		for (unsigned i = 0; i < 8; i++)
			assert_ptr_equal (items[i], (void *) next_out++);
		assert_int_equal (ring_dequeue (r, items, 16), 0);
	}
	for (uintptr_t i = 0; i < 10; i++)
		items[i] = (void *) i;
	assert_int_equal (ring_enqueue (r, items, 10), 8);
	free (r);
}

/* Producer and consumer do not share a line that both write. */
static void
ring_sides_have_their_own_lines (void **state)
{
	(void) state;
	assert_int_equal (offsetof (ring_t, tail) / 64, 0);
	assert_int_equal (offsetof (ring_t, head_seen) / 64, 0);
	assert_int_equal (offsetof (ring_t, head) / 64, 1);
	assert_int_equal (offsetof (ring_t, tail_seen) / 64, 1);
	assert_int_equal (offsetof (ring_t, mask) / 64, 2);
	assert_int_equal (sizeof (park_t), 64);
	assert_int_equal (offsetof (instance_t, ring_dropped) % 64, 0);
	assert_int_equal (offsetof (instance_t, state) % 64, 0);
	assert_int_equal (sizeof (instance_t) % 64, 0);
}

#define ITEMS 300000u

typedef struct
{
	ring_t *ring;
	park_t park;
	uint64_t wrong;
} pair_t;

static void *
consume (void *arg)
{
	pair_t *p = arg;
	uintptr_t next = 1;
	void *items[32];

	while (next <= ITEMS)
	{
		uint32_t n = ring_dequeue (p->ring, items, 32);
		for (uint32_t i = 0; i < n; i++)
			p->wrong += items[i] != (void *) next++;
		if (n)
			continue;
		park_announce (&p->park);
		if (ring_ready (p->ring))
			park_cancel (&p->park);
		else
			park_sleep (&p->park, 60000000); /* a lost wake-up is a test that hangs */
	}
	return NULL;
}

static void
no_wake_up_is_lost (void **state)
{
	(void) state;
	pair_t *p = NULL;
	pthread_t thread;
	uint64_t seed = 1;

	assert_int_equal (posix_memalign ((void **) &p, 64, sizeof *p), 0);
	memset (p, 0, sizeof *p);
	p->ring = ring_new (64);
	pthread_create (&thread, NULL, consume, p);
	for (uintptr_t i = 1; i <= ITEMS;)
	{
		uint32_t batch = 1 + mvt_random_below (&seed, 20);
		while (batch-- && i <= ITEMS && ring_put (p->ring, (void *) i))
			i++;
		ring_publish (p->ring);
		park_wake (&p->park);
		if (mvt_random_below (&seed, 1000) == 0)
			usleep (100);
	}
	pthread_join (thread, NULL);
	assert_int_equal (p->wrong, 0);
	free (p->ring);
	free (p);
}

static void
sleep_ends_by_itself (void **state)
{
	(void) state;
	park_t park = { 0 };
	struct timespec a, b;

	clock_gettime (CLOCK_MONOTONIC, &a);
	park_announce (&park);
	park_sleep (&park, 20000);
	clock_gettime (CLOCK_MONOTONIC, &b);
	assert_in_range ((b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000, 19,
			 5000);
}

/* ---- memory ---- */

static void
arena_gives_zeroed_memory_of_every_size (void **state)
{
	(void) state;
	static const size_t sizes[] = { 1, 64, 4096, 300 << 10, 2 << 20, (2 << 20) + 1, 5 << 20 };
	arena_t arena;

	arena_init (&arena, -1, UINT64_MAX);
	for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++)
	{
		uint8_t *p = mvt_mem_alloc (&arena.mem, sizes[i], 64);
		assert_non_null (p);
		assert_int_equal ((uintptr_t) p % 64, 0);
		for (size_t at = 0; at < sizes[i]; at += 1 + sizes[i] / 1000)
			assert_int_equal (p[at], 0);
		p[0] = p[sizes[i] - 1] = 1;
		assert_int_equal (arena.reserved, sizes[i]);
		mvt_mem_free (&arena.mem, p, sizes[i]);
		assert_int_equal (arena.reserved, 0);
	}
}

static void
arena_refuses_what_does_not_fit (void **state)
{
	(void) state;
	arena_t arena;
	void *p;

	arena_init (&arena, -1, 1 << 20);
	p = mvt_mem_alloc (&arena.mem, 700 << 10, 64);
	assert_non_null (p);
	assert_null (mvt_mem_alloc (&arena.mem, 400 << 10, 64));
	assert_int_equal (arena.asked, 400 << 10);
	mvt_mem_free (&arena.mem, p, 700 << 10);
	p = mvt_mem_alloc (&arena.mem, 1 << 20, 64);
	assert_non_null (p);
	mvt_mem_free (&arena.mem, p, 1 << 20);
	assert_in_range (memory_free (), 1 << 20, 1ull << 50);
	assert_in_range (memory_use ().resident, 1 << 16, 1ull << 50);
}

/* Memory that was not used costs nothing. */
static void
arena_is_backed_lazily (void **state)
{
	(void) state;
	arena_t arena;
	uint64_t before = memory_use ().resident;
	size_t size = 900 << 10; /* no huge page */
	void *p[64];

	arena_init (&arena, -1, UINT64_MAX);
	for (unsigned i = 0; i < 64; i++)
		p[i] = mvt_mem_alloc (&arena.mem, size, 64);
	assert_true (memory_use ().resident < before + 64 * size / 4);
	for (unsigned i = 0; i < 64; i++)
		mvt_mem_free (&arena.mem, p[i], size);
}

/* What is reserved takes room only once it is backed, whatever its pages are, and is zero. */
static void
arena_backs_what_is_asked_for (void **state)
{
	(void) state;
	static const size_t size = 32 << 20, part = 2 << 20;

	for (unsigned small = 0; small < 2; small++)
		for (unsigned dense = 0; dense < 2; dense++)
		{
			arena_t arena;
			uint64_t before = memory_use ().resident;

			arena_init (&arena, -1, UINT64_MAX);
			arena.small_pages = small != 0;
			uint8_t *p = mvt_mem_reserve (&arena.mem, size, 64, dense != 0);
			assert_non_null (p);
			assert_true (memory_use ().resident < before + part);
			mvt_mem_back (&arena.mem, p + part + 64, part - 64);
			assert_true (memory_use ().resident >= before + part / 2);
			assert_true (memory_use ().resident < before + 3 * part);
			for (size_t at = part + 64; at < 2 * part; at += 64)
				assert_int_equal (p[at]++, 0);
			/* again: what lies there stays */
			mvt_mem_back (&arena.mem, p + part + 64, 64);
			assert_int_equal (p[part + 64], 1);
			assert_int_equal (arena.reserved, size);
			mvt_mem_free (&arena.mem, p, size);
			assert_true (memory_use ().resident < before + part);
		}
}

/* ---- link layers ---- */

static void
frames_are_taken_apart_within_their_bounds (void **state)
{
	(void) state;
	static const struct
	{
		int link;
		const char *frame; /* hex; nothing behind it */
		uint32_t l3;
	} cases[] = {
		{ DLT_EN10MB,
		  "0202020202020202020202020800"
		  "45",
		  14 },
		{ DLT_EN10MB, "0202020202020202020202020800", MVT_NONE },
		{ DLT_EN10MB, "02020202020202020202020208", MVT_NONE },
		{ DLT_EN10MB, "", MVT_NONE },
		{ DLT_EN10MB,
		  "0202020202020202020202020806"
		  "45",
		  MVT_NONE },
		{ DLT_EN10MB,
		  "020202020202020202020202"
		  "81000005"
		  "0800"
		  "45",
		  18 },
		{ DLT_EN10MB,
		  "020202020202020202020202"
		  "81000005"
		  "08",
		  MVT_NONE },
		{ DLT_EN10MB,
		  "020202020202020202020202"
		  "88a80005"
		  "81000006"
		  "0800"
		  "45",
		  22 },
		{ DLT_EN10MB,
		  "020202020202020202020202"
		  "81000005"
		  "81000005"
		  "81000005"
		  "81000005"
		  "81000005"
		  "0800"
		  "45",
		  MVT_NONE },
		{ DLT_RAW, "45", 0 },
		{ DLT_RAW, "60", MVT_NONE },
		{ DLT_RAW, "", MVT_NONE },
		{ DLT_LINUX_SLL,
		  "00000000000000000000000000000800"
		  "45",
		  16 },
		{ DLT_LINUX_SLL,
		  "00000000000000000000000000008100"
		  "0005"
		  "0800"
		  "45",
		  20 },
		{ DLT_LINUX_SLL,
		  "00000000000000000000000000000806"
		  "45",
		  MVT_NONE },
		{ DLT_LINUX_SLL, "000000000000000000000000000008", MVT_NONE },
		{ DLT_LINUX_SLL2,
		  "0800000000000000000000000000000000000000"
		  "45",
		  20 },
		{ DLT_LINUX_SLL2,
		  "8100000000000000000000000000000000000000"
		  "0005"
		  "0800"
		  "45",
		  24 },
		{ DLT_LINUX_SLL2, "0800000000000000000000000000000000000000", MVT_NONE },
		{ DLT_LINUX_SLL2, "0800", MVT_NONE },
	};
	for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++)
	{
		uint32_t len = (uint32_t) strlen (cases[i].frame) / 2;
		uint8_t *frame = malloc (len ? len : 1);
		for (uint32_t b = 0; b < len; b++)
		{
			char hex[3] = { cases[i].frame[2 * b], cases[i].frame[2 * b + 1], 0 };
			frame[b] = (uint8_t) strtoul (hex, NULL, 16);
		}
		if (capture_l3 (cases[i].link, frame, len) != cases[i].l3)
			fail_msg ("case %u: %u", i, capture_l3 (cases[i].link, frame, len));
		free (frame);
	}
	assert_false (capture_link_known (DLT_IEEE802_11));
}

int
main (void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test (ring_holds_its_capacity_in_order),
		cmocka_unit_test (ring_sides_have_their_own_lines),
		cmocka_unit_test (no_wake_up_is_lost),
		cmocka_unit_test (sleep_ends_by_itself),
		cmocka_unit_test (arena_gives_zeroed_memory_of_every_size),
		cmocka_unit_test (arena_refuses_what_does_not_fit),
		cmocka_unit_test (arena_is_backed_lazily),
		cmocka_unit_test (arena_backs_what_is_asked_for),
		cmocka_unit_test (frames_are_taken_apart_within_their_bounds),
	};
	return cmocka_run_group_tests (tests, NULL, NULL);
}

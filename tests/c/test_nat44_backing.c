/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory is backed before it is touched (counted_mem.h faults otherwise), between batches where
 * there is time for it, and no more of it than mappings need. */
#include "nat44_packets.h"

#define BATCH 256u
#define HOSTS 2048u

/* A batch of first packets: flow f is port f / HOSTS of host f % HOSTS. */
static void
first_packets (world_t *w, uint32_t flow, uint8_t ip_proto, uint32_t remote)
{
	static uint8_t bytes[BATCH][64];
	mvt_pkt_t pkts[BATCH];

	for (uint32_t i = 0; i < BATCH; i++, flow++)
	{
		build_t b = { .src = host (1 + flow % HOSTS),
			      .dst = WORLD_REMOTE + remote,
			      .sport = (uint16_t) (1024 + flow / HOSTS),
			      .dport = 80,
			      .ip_proto = ip_proto,
			      .tcp_flags = SYN };
		built_t built = build_packet (&b);
		assert_true (built.len <= sizeof bytes[i]);
		memcpy (bytes[i], built.p, built.len);
		pkts[i] = build_view (&built, MVT_IN2OUT, 0);
		pkts[i].l3 = bytes[i];
		free (built.p);
	}
	mvt_nat44_process (w->nat[0], pkts, BATCH, w->now);
	for (uint32_t i = 0; i < BATCH; i++)
		assert_int_equal (pkts[i].verdict, MVT_VERDICT_TRANSLATED);
}

static void
idle (world_t *w)
{
	for (unsigned i = 0; i < 1000; i++)
		mvt_nat44_background (w->nat[0], w->now, 256);
}

static void
start (world_t *w)
{
	world_defaults (w);
	w->n_addresses = 8;
	w->max_mappings = 1 << 18;
	w->log = 0;
	world_start (w);
}

/* An instance that gets its turn between batches backs nothing for a packet. */
static void
test_ahead_of_packets (void **state)
{
	(void) state;
	static world_t w;
	unsigned late = 0, before;

	start (&w);
	idle (&w);
	for (uint32_t flow = 0; flow < 1 << 18; flow += BATCH)
	{
		before = counted_mem_backs;
		first_packets (&w, flow, UDP, 1);
		late += counted_mem_backs - before;
		mvt_nat44_background (w.nat[0], w.now, 8);
	}
	assert_int_equal (late, 0);
	world_verify (&w);
	world_stop (&w);
}

/* Further sessions, too: memory for them comes with the first mapping that may have some. */
static void
test_ahead_of_sessions (void **state)
{
	(void) state;
	static world_t w;
	unsigned before;

	start (&w);
	idle (&w);
	for (uint32_t flow = 0; flow < 1 << 16; flow += BATCH)
	{
		first_packets (&w, flow, TCP, 1);
		mvt_nat44_background (w.nat[0], w.now, 8);
	}
	before = counted_mem_backs;
	idle (&w);
	assert_true (counted_mem_backs > before);
	before = counted_mem_backs;
	first_packets (&w, 0, TCP, 2);
	assert_int_equal (counted_mem_backs, before);
	assert_int_equal (WORLD_SUM (&w, sessions_created), BATCH);
	/* their own buckets get full, and those who may have more get the table, 8 MiB and more */
	before = counted_mem_backs;
	for (uint32_t remote = 3; remote <= 5; remote++)
		first_packets (&w, 0, TCP, remote);
	assert_int_equal (counted_mem_backs, before);
	idle (&w);
	assert_true (counted_mem_backs > before + 128);
	before = counted_mem_backs;
	first_packets (&w, 0, TCP, 6);
	assert_int_equal (counted_mem_backs, before);
	world_verify (&w);
	world_stop (&w);
}

/* An instance that gets no turn at all goes on nevertheless. */
static void
test_without_a_turn (void **state)
{
	(void) state;
	static world_t w;

	start (&w);
	for (uint32_t flow = 0; flow < 1 << 17; flow += BATCH)
		first_packets (&w, flow, TCP, 1);
	for (uint32_t flow = 0; flow < 1 << 17; flow += BATCH)
		first_packets (&w, flow, TCP, 2);
	assert_int_equal (WORLD_SUM (&w, sessions_created), 1 << 17);
	world_verify (&w);
	world_stop (&w);
}

/* An idle instance comes to rest, with far less than its maximum. */
static void
test_comes_to_rest (void **state)
{
	(void) state;
	static world_t w;
	unsigned before = counted_mem_backs, rest;

	start (&w);
	idle (&w);
	assert_int_equal (mvt_nat44_background (w.nat[0], w.now, 256), 0);
	rest = counted_mem_backs;
	idle (&w);
	assert_int_equal (counted_mem_backs, rest);
	/* steps of 64 KiB: of 25 MiB of entries 2 are backed */
	assert_in_range (rest - before, 32, 200);
	world_stop (&w);
}

int
main (void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test (test_ahead_of_packets),
		cmocka_unit_test (test_ahead_of_sessions),
		cmocka_unit_test (test_without_a_turn),
		cmocka_unit_test (test_comes_to_rest),
	};

	return cmocka_run_group_tests (tests, NULL, NULL);
}

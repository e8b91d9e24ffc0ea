/* SPDX-License-Identifier: Apache-2.0
 * The NAT44 instance among others: homes, hand-offs, ranges that move. */
#include "nat44_packets.h"

/* Move up to max free blocks from instance 0 to instance 1; returns how many. */
static uint32_t
move_blocks (world_t *w, uint32_t max)
{
	uint32_t blocks[4096];
	mvt_job_t give = { .op = MVT_JOB_GIVE_BLOCKS,
			   .to = 1,
			   .slot = MVT_NONE,
			   .max = max,
			   .out.blocks = blocks };
	while (mvt_nat44_job (w->nat[0], &give, w->now) == MVT_ERR_AGAIN)
		;
	mvt_job_t take = { .op = MVT_JOB_TAKE_BLOCKS, .n = give.n, .out.blocks = blocks };
	while (mvt_nat44_job (w->nat[1], &take, w->now) == MVT_ERR_AGAIN)
		;
	return give.n;
}

/* The host is about to be opened from instance 0 to instance 1. */
static void
close_host (world_t *w)
{
	mvt_home_range_t range = { .prefix = { host (1), 32, { 0 } },
				   .table = MVT_NONE,
				   .instance = 0,
				   .from = 0,
				   .to = 1,
				   .flags = MVT_HOME_F_CLOSING | MVT_HOME_F_BY_ENDPOINT };
	world_publish_home (w, &range, 1, NULL, 0, false);
}

/* It is open: instance 1 makes its mappings, at the address that it has. pin: the endpoint that
 * stays with instance 0, or NULL. */
static void
open_host (world_t *w, uint32_t ext, const mvt_home_pin_t *pin)
{
	mvt_home_range_t range = { .prefix = { host (1), 32, { 0 } },
				   .table = MVT_NONE,
				   .instance = 1,
				   .flags = MVT_HOME_F_OPENED,
				   .ext_addr = ext };
	world_publish_home (w, &range, 1, pin, pin != NULL, false);
}

/* The three beats (DESIGN 5): at no moment does an endpoint get a second mapping, whatever the
 * dispatcher believes. */
static void
test_range_changes_owner (void **state)
{
	(void) state;
	for (unsigned stale = 0; stale < 2; stale++)
	{
		world_t w;
		world_defaults (&w);
		w.n = 2;
		w.active = 1;
		world_start (&w);
		uint32_t ext[64], e;
		uint16_t port[64], p;
		for (uint32_t h = 0; h < 32; h++)
			open_mapping (&w, UDP, host (h), 1, WORLD_REMOTE, 53, &ext[h], &port[h]);
		/* shard */
		assert_int_equal (move_blocks (&w, 3000), 3000);
		/* close */
		mvt_home_range_t range = { .prefix = { WORLD_INSIDE, 24, { 0 } },
					   .table = 0,
					   .from = 0,
					   .to = 1,
					   .flags = MVT_HOME_F_CLOSING };
		world_publish_home (&w, &range, 1, NULL, 0, stale);
		for (uint32_t h = 0; h < 64; h++)
		{
			open_mapping (&w, UDP, host (h), 2, WORLD_REMOTE, 53, &e, &p);
			if (h < 32)
				assert_int_equal (e, ext[h]);
			else
				ext[h] = e;
			open_mapping (&w, UDP, host (h), 1, WORLD_REMOTE, 53, &e, &p);
			assert_int_equal (e, ext[h]);
			if (h < 32)
				assert_int_equal (p, port[h]);
			else
				port[h] = p;
		}
		/* read */
		mvt_host_info_t hosts[64];
		mvt_job_t live = { .op = MVT_JOB_LIST_HOSTS,
				   .max = 64,
				   .out.hosts = hosts,
				   .filter.inside = { WORLD_INSIDE, 24, { 0 } } };
		while (mvt_nat44_job (w.nat[0], &live, w.now) == MVT_ERR_AGAIN)
			;
		assert_int_equal (live.n, 32);
		/* swap */
		mvt_home_range_t ranges[33] = {
			{ .prefix = range.prefix, .table = MVT_NONE, .instance = 1 }
		};
		for (uint32_t i = 0; i < 32; i++)
			ranges[i + 1] = (mvt_home_range_t){ .prefix = { hosts[i].addr, 32, { 0 } },
							    .table = MVT_NONE };
		world_publish_home (&w, ranges, 33, NULL, 0, stale);
		for (uint32_t h = 0; h < 64; h++)
		{
			open_mapping (&w, UDP, host (h), 1, WORLD_REMOTE, 53, &e, &p);
			assert_int_equal (e, ext[h]);
			assert_int_equal (p, port[h]);
			open_mapping (&w, UDP, host (h), 3, WORLD_REMOTE, 53, &e, &p);
			assert_int_equal (e, ext[h]);
		}
		assert_int_equal (world_gauge (&w, 0)->mappings, 32 * 3);
		assert_int_equal (world_gauge (&w, 1)->mappings, 32 * 3);
		assert_int_equal (world_dropped (&w, MVT_DROP_HANDOFF_LOOP), 0);
		world_verify (&w);
		world_stop (&w);
	}
}

/* Opening a host: old endpoints stay, new ones are made elsewhere with the same address. */
static void
test_host_is_opened (void **state)
{
	(void) state;
	world_t w;
	world_defaults (&w);
	w.n = 2;
	w.active = 1;
	world_start (&w);
	uint32_t ext, e;
	uint16_t port, p;
	open_mapping (&w, UDP, host (1), 1, WORLD_REMOTE, 53, &ext, &port);
	move_blocks (&w, 3000);
	close_host (&w);
	open_mapping (&w, UDP, host (1), 2, WORLD_REMOTE, 53, &e, &p);
	assert_int_equal (e, ext);
	assert_int_equal (mvt_nat44_counters_any (w.nat[1])->mappings_created, 1);
	mvt_home_pin_t pin = { .endpoint = { .addr = host (1), .port = 1, .proto = MVT_PROTO_UDP },
			       .instance = 0 };
	open_host (&w, ext, &pin);
	open_mapping (&w, UDP, host (1), 3, WORLD_REMOTE, 53, &e, &p);
	assert_int_equal (e, ext);
	open_mapping (&w, UDP, host (1), 1, WORLD_REMOTE, 53, &e, &p);
	assert_int_equal (e, ext);
	assert_int_equal (p, port);
	assert_int_equal (mvt_nat44_counters_any (w.nat[1])->mappings_created, 2);
	world_verify (&w);
	world_stop (&w);
}

static void
test_handoffs_are_bounded (void **state)
{
	(void) state;
	world_t w;
	world_defaults (&w);
	w.n = w.active = 2;
	world_start (&w);
	for (uint8_t hops = 0; hops < 4; hops++)
		for (unsigned fragment = 0; fragment < 2; fragment++)
		{
			uint32_t h = 1;
			build_t b = { .dst = WORLD_REMOTE,
				      .sport = 9,
				      .dport = 53,
				      .ip_proto = UDP,
				      .payload = 32,
				      .frag = fragment ? 0x2000 : 0 };
			b.ip_id = (uint16_t) (1 + hops);
			/* a host whose home is instance 1, brought to instance 0 */
			while (mvt_home_instance (atomic_load (&w.shared.home), 0, host (h), 0,
						  0) != 1)
				h++;
			b.src = host (h);
			built_t built = build_packet (&b);
			mvt_pkt_t pkt = build_view (&built, MVT_IN2OUT, 0);
			pkt.hops = hops;
			mvt_nat44_process (w.nat[0], &pkt, 1, w.now);
			if (hops < (fragment ? 3 : 2))
				assert_int_equal (pkt.verdict, MVT_VERDICT_HANDOFF);
			else
			{
				assert_int_equal (pkt.verdict, MVT_VERDICT_DROPPED);
				assert_int_equal (pkt.reason, MVT_DROP_HANDOFF_LOOP);
			}
			free (built.p);
		}
	world_stop (&w);
}

/* While a range closes, packets come to the new owner too (a stale rule, a crossing hand-off):
 * it makes nothing that the old owner has not marked. */
static void
test_closing_range_at_the_new_owner (void **state)
{
	(void) state;
	world_t w;
	world_defaults (&w);
	w.n = 2;
	w.active = 1;
	world_start (&w);
	uint32_t ext;
	uint16_t port;
	move_blocks (&w, 3000);
	open_mapping (&w, UDP, host (1), 1, WORLD_REMOTE, 53, &ext, &port);
	mvt_home_range_t range = { .prefix = { WORLD_INSIDE, 24, { 0 } },
				   .table = 0,
				   .from = 0,
				   .to = 1,
				   .flags = MVT_HOME_F_CLOSING };
	world_publish_home (&w, &range, 1, NULL, 0, false);
	for (uint32_t h = 1; h <= 2; h++)
	{
		build_t b = { .src = host (h),
			      .dst = WORLD_REMOTE,
			      .sport = 2,
			      .dport = 53,
			      .ip_proto = UDP };
		built_t built = build_packet (&b);
		mvt_pkt_t pkt = build_view (&built, MVT_IN2OUT, 0);
		world_carry (&w, &pkt, 1);
		assert_int_equal (pkt.verdict, MVT_VERDICT_TRANSLATED);
		assert_int_equal (w.hops, h); /* a served host stays with 0; a new one comes back */
		free (built.p);
	}
	assert_int_equal (world_gauge (&w, 0)->mappings, 2);
	assert_int_equal (world_gauge (&w, 1)->mappings, 1);
	world_verify (&w);
	world_stop (&w);
}

/* An opened host keeps the address that it has, not the one that its hash would give. */
static void
test_opened_host_keeps_an_unusual_address (void **state)
{
	(void) state;
	world_t w;
	world_defaults (&w);
	w.n = 2;
	w.active = 1;
	w.n_addresses = 2;
	world_start (&w);
	uint32_t hashed, ext, e;
	uint16_t port;
	open_mapping (&w, UDP, host (1), 9, WORLD_REMOTE, 53, &hashed, &port);
	mvt_job_t del = { .op = MVT_JOB_DELETE_MAPPINGS };
	while (mvt_nat44_job (w.nat[0], &del, w.now) == MVT_ERR_AGAIN)
		;
	w.draining = hashed - WORLD_POOL + 1;
	world_publish_policy (&w);
	open_mapping (&w, UDP, host (1), 1, WORLD_REMOTE, 53, &ext, &port);
	assert_int_not_equal (ext, hashed);
	w.draining = 0;
	world_publish_policy (&w);

	move_blocks (&w, 1000);
	close_host (&w);
	open_mapping (&w, UDP, host (1), 2, WORLD_REMOTE, 53, &e, &port);
	assert_int_equal (e, ext);
	while (mvt_nat44_job (w.nat[1], &del, w.now) == MVT_ERR_AGAIN)
		; /* B forgets what it learned with the mark */
	open_host (&w, ext, NULL);
	open_mapping (&w, UDP, host (1), 3, WORLD_REMOTE, 53, &e, &port);
	assert_int_equal (e, ext);
	assert_int_equal (world_gauge (&w, 1)->mappings, 1);
	world_verify (&w);
	world_stop (&w);
}

int
main (void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test (test_range_changes_owner),
		cmocka_unit_test (test_host_is_opened),
		cmocka_unit_test (test_handoffs_are_bounded),
		cmocka_unit_test (test_closing_range_at_the_new_owner),
		cmocka_unit_test (test_opened_host_keeps_an_unusual_address),
	};

	return cmocka_run_group_tests (tests, NULL, NULL);
}

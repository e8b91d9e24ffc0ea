/* SPDX-License-Identifier: Apache-2.0
 * The NAT44 instance: exhaustion, limits, blocks of hosts, hold-down, events. */
#include "nat44_packets.h"

static void
test_exhaustion_leaves_the_living_alone (void **state)
{
	(void) state;
	world_t w;
	world_defaults (&w);
	w.n_addresses = 2;
	w.first_port = 1024;
	w.last_port = 1024 + 127;
	world_start (&w);
	uint32_t ext;
	uint16_t port;
	for (uint32_t i = 0; i < 256; i++)
		open_mapping (&w, UDP, host (i / 16 + 1), (uint16_t) (i + 1), WORLD_REMOTE, 53,
			      &ext, &port);
	build_t b = {
		.src = host (99), .dst = WORLD_REMOTE, .sport = 1, .dport = 53, .ip_proto = UDP
	};
	mvt_pkt_t pkt;
	free (send (&w, MVT_IN2OUT, &b, &pkt).p);
	assert_int_equal (pkt.verdict, MVT_VERDICT_DROPPED);
	assert_int_equal (pkt.reason, MVT_DROP_OUT_OF_PORTS);
	assert_int_equal (WORLD_SUM (&w, mappings), 256);
	/* everyone who was there still is */
	for (uint32_t i = 0; i < 256; i++)
		open_mapping (&w, UDP, host (i / 16 + 1), (uint16_t) (i + 1), WORLD_REMOTE, 53,
			      &ext, &port);
	assert_int_equal (WORLD_SUM (&w, mappings_created), 256);
	world_verify (&w);
	world_stop (&w);
}

static void
test_limits (void **state)
{
	(void) state;
	world_t w;
	world_defaults (&w);
	w.policy.mappings_per_host_all = 10;
	w.policy.mappings_per_host[MVT_PROTO_UDP] = 8;
	w.policy.new_per_second_per_host = 6;
	world_start (&w);
	uint32_t ext;
	uint16_t port;
	mvt_pkt_t pkt;
	build_t b = {
		.src = host (1), .dst = WORLD_REMOTE, .sport = 100, .dport = 53, .ip_proto = UDP
	};
	for (uint16_t i = 1; i <= 6; i++)
		open_mapping (&w, UDP, host (1), i, WORLD_REMOTE, 53, &ext, &port);
	free (send (&w, MVT_IN2OUT, &b, &pkt).p);
	assert_int_equal (pkt.reason, MVT_DROP_RATE_LIMIT);
	w.now++;
	open_mapping (&w, UDP, host (1), 7, WORLD_REMOTE, 53, &ext, &port);
	open_mapping (&w, UDP, host (1), 8, WORLD_REMOTE, 53, &ext, &port);
	free (send (&w, MVT_IN2OUT, &b, &pkt).p);
	assert_int_equal (pkt.reason, MVT_DROP_HOST_LIMIT);
	open_mapping (&w, ICMP, host (1), 1, WORLD_REMOTE, 0, &ext, &port);
	open_mapping (&w, ICMP, host (1), 2, WORLD_REMOTE, 0, &ext, &port);
	b.ip_proto = TCP, b.tcp_flags = SYN;
	free (send (&w, MVT_IN2OUT, &b, &pkt).p);
	assert_int_equal (pkt.reason, MVT_DROP_HOST_LIMIT);
	open_mapping (&w, UDP, host (2), 1, WORLD_REMOTE, 53, &ext, &port); /* others go on */
	world_verify (&w);
	world_stop (&w);
}

static void
test_block_allocation (void **state)
{
	(void) state;
	world_t w;
	world_defaults (&w);
	w.by_host = 1;
	w.block_size = 16;
	w.policy.max_blocks_per_host = 2;
	world_start (&w);
	uint32_t ext, first;
	uint16_t port;
	open_mapping (&w, UDP, host (1), 1, WORLD_REMOTE, 53, &first, &port);
	uint32_t blocks[2] = { port / 16u, port / 16u }, n_blocks = 1;
	for (uint16_t i = 2; i <= 32; i++)
	{
		open_mapping (&w, UDP, host (1), i, WORLD_REMOTE, 53, &ext, &port);
		assert_int_equal (ext, first);
		if (port / 16u != blocks[0] && port / 16u != blocks[1])
			blocks[n_blocks++ % 2] = port / 16u;
	}
	assert_int_equal (n_blocks, 2);
	build_t b = {
		.src = host (1), .dst = WORLD_REMOTE, .sport = 33, .dport = 53, .ip_proto = UDP
	};
	mvt_pkt_t pkt;
	free (send (&w, MVT_IN2OUT, &b, &pkt).p);
	assert_int_equal (pkt.reason, MVT_DROP_BLOCK_LIMIT);
	w.now += 301;
	for (unsigned i = 0; i < 200; i++)
		mvt_nat44_background (w.nat[0], w.now, 64);
	mvt_event_t events[256];
	uint32_t n = mvt_nat44_events_any (w.nat[0], events, 256), assigned = 0, released = 0;
	for (uint32_t i = 0; i < n; i++)
	{
		assigned += events[i].type == MVT_EVENT_BLOCK_ASSIGNED &&
			    events[i].in_addr == host (1) && events[i].ext_addr == first &&
			    events[i].ports == 16;
		released +=
			events[i].type == MVT_EVENT_BLOCK_RELEASED && events[i].in_addr == host (1);
	}
	assert_int_equal (assigned, 2);
	assert_int_equal (released, 2);
	world_verify (&w);
	world_stop (&w);
}

static void
test_draining_address (void **state)
{
	(void) state;
	world_t w;
	world_defaults (&w);
	w.n_addresses = 2;
	world_start (&w);
	uint32_t ext[20], e;
	uint16_t port[20], p;
	for (uint32_t h = 0; h < 20; h++)
		open_mapping (&w, UDP, host (h), 1, WORLD_REMOTE, 53, &ext[h], &port[h]);
	w.draining = 1;
	world_publish_policy (&w);
	for (uint32_t h = 0; h < 20; h++)
	{
		open_mapping (&w, UDP, host (h), 1, WORLD_REMOTE, 53, &e, &p);
		assert_int_equal (e, ext[h]);
		assert_int_equal (p, port[h]);
		open_mapping (&w, UDP, host (h), 2, WORLD_REMOTE, 53, &e, &p);
		assert_int_equal (e, WORLD_POOL + 1);
	}
	/* by force: what is left there ends */
	mvt_job_t del = { .op = MVT_JOB_DELETE_MAPPINGS,
			  .filter.external = { WORLD_POOL, 32, { 0 } } };
	while (mvt_nat44_job (w.nat[0], &del, w.now) == MVT_ERR_AGAIN)
		;
	uint32_t there = 0;
	for (uint32_t h = 0; h < 20; h++)
		there += ext[h] == WORLD_POOL;
	assert_true (there > 0);
	assert_int_equal (del.n, there);
	assert_int_equal (WORLD_SUM (&w, mappings), 40 - there);
	world_verify (&w);
	world_stop (&w);
}

static void
test_hold_down (void **state)
{
	(void) state;
	world_t w;
	world_defaults (&w);
	w.hold_seconds = 120;
	w.n_addresses = 1;
	w.first_port = 1024;
	w.last_port = 1024 + 1023;
	world_start (&w);
	uint32_t ext;
	uint16_t port, p;
	open_mapping (&w, UDP, host (1), 1, WORLD_REMOTE, 53, &ext, &port);
	w.now += 301;
	mvt_nat44_background (w.nat[0], w.now, 256);
	mvt_nat44_background (w.nat[0], w.now, 256);
	assert_int_equal (WORLD_SUM (&w, ports_held), 1);
	for (uint16_t i = 1; i <= 1000; i++)
	{
		open_mapping (&w, UDP, host (2), i, WORLD_REMOTE, 53, &ext, &p);
		assert_int_not_equal (p, port);
	}
	w.now += 119;
	mvt_nat44_background (w.nat[0], w.now, 256);
	assert_int_equal (WORLD_SUM (&w, ports_held), 1);
	w.now += 1;
	mvt_nat44_background (w.nat[0], w.now, 256);
	assert_int_equal (WORLD_SUM (&w, ports_held), 0);
	world_verify (&w);
	world_stop (&w);
}

/* An exhausted address: the host gets a port elsewhere, but remains bound to its own. */
static void
test_fallback_does_not_rebind (void **state)
{
	(void) state;
	world_t w;
	world_defaults (&w);
	w.n_addresses = 2;
	w.last_port = 1024 + 63;
	world_start (&w);
	uint32_t own, e;
	uint16_t port;
	open_mapping (&w, UDP, host (1), 1, WORLD_REMOTE, 53, &own, &port);
	uint32_t other = own == WORLD_POOL ? WORLD_POOL + 1 : WORLD_POOL;
	for (uint16_t i = 2; i <= 64; i++) /* the address is full of this host alone */
	{
		open_mapping (&w, UDP, host (1), i, WORLD_REMOTE, 53, &e, &port);
		assert_int_equal (e, own);
	}
	open_mapping (&w, UDP, host (1), 65, WORLD_REMOTE, 53, &e, &port);
	assert_int_equal (e, other);
	mvt_job_t del = { .op = MVT_JOB_DELETE_MAPPINGS,
			  .filter = { .inside = { host (1), 32, { 0 } },
				      .in_port = 7,
				      .proto_plus1 = MVT_PROTO_UDP + 1 } };
	assert_int_equal (mvt_nat44_job (w.nat[0], &del, w.now), MVT_OK);
	assert_int_equal (del.n, 1);
	open_mapping (&w, UDP, host (1), 66, WORLD_REMOTE, 53, &e, &port);
	assert_int_equal (e, own);
	world_verify (&w);
	world_stop (&w);
}

static void
test_events_are_bounded (void **state)
{
	(void) state;
	world_t w;
	world_defaults (&w);
	world_start (&w);
	uint32_t ext;
	uint16_t port;
	static mvt_event_t events[8192];
	for (uint32_t i = 0; i < 5000; i++)
		open_mapping (&w, UDP, host (i), 1, WORLD_REMOTE, 53, &ext, &port);
	assert_int_equal (mvt_nat44_events_any (w.nat[0], events, 8192), 4096);
	assert_int_equal (WORLD_SUM (&w, events_lost), 904);
	for (uint32_t i = 0; i < 4096; i++) /* the oldest are kept, unharmed */
	{
		assert_int_equal (events[i].type, MVT_EVENT_MAPPING_CREATED);
		assert_int_equal (events[i].in_addr, host (i));
	}
	/* refusals: one event a second, however many packets */
	w.policy.mappings_per_host_all = 1;
	world_publish_policy (&w);
	build_t b = {
		.src = host (1), .dst = WORLD_REMOTE, .sport = 2, .dport = 53, .ip_proto = UDP
	};
	mvt_pkt_t pkt;
	for (unsigned second = 0; second < 3; second++, w.now++)
		for (unsigned i = 0; i < 50; i++)
		{
			free (send (&w, MVT_IN2OUT, &b, &pkt).p);
			assert_int_equal (pkt.reason, MVT_DROP_HOST_LIMIT);
		}
	assert_int_equal (mvt_nat44_events_any (w.nat[0], events, 8192), 3);
	assert_int_equal (events[2].type, MVT_EVENT_HOST_LIMIT);
	assert_int_equal (events[2].in_addr, host (1));
	world_stop (&w);
}

int
main (void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test (test_exhaustion_leaves_the_living_alone),
		cmocka_unit_test (test_limits),
		cmocka_unit_test (test_block_allocation),
		cmocka_unit_test (test_draining_address),
		cmocka_unit_test (test_hold_down),
		cmocka_unit_test (test_fallback_does_not_rebind),
		cmocka_unit_test (test_events_are_bounded),
	};

	return cmocka_run_group_tests (tests, NULL, NULL);
}

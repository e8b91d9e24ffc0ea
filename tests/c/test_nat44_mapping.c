/* SPDX-License-Identifier: Apache-2.0
 * The NAT44 instance: mappings, what is translated, static mappings, jobs. */
#include "nat44_packets.h"

static void
test_both_ways_every_protocol (void **state)
{
	(void) state;
	static const uint8_t protos[] = { UDP, TCP, ICMP };
	for (unsigned n = 1; n <= 4; n++)
		for (unsigned i = 0; i < 3; i++)
		{
			world_t w;
			world_defaults (&w);
			w.n = w.active = (uint16_t) n;
			world_start (&w);
			for (uint32_t h = 1; h < 200; h++)
			{
				build_t b = { .src = host (h),
					      .dst = WORLD_REMOTE + 1,
					      .sport = 4000,
					      .dport = 53,
					      .ip_proto = protos[i],
					      .tcp_flags = SYN,
					      .icmp_type = 8,
					      .payload = 21,
					      .fill = (uint8_t) h };
				mvt_pkt_t pkt;
				built_t out = send (&w, MVT_IN2OUT, &b, &pkt);
				assert_int_equal (pkt.verdict, MVT_VERDICT_TRANSLATED);
				build_t want = b;
				want.src = at32 (&out, 12);
				want.sport = at16 (&out, protos[i] == ICMP ? 24 : 20);
				assert_in_range (want.src, WORLD_POOL, WORLD_POOL + 3);
				assert_true (want.sport >= 1024);
				assert_is (&out, &want);
				assert_int_equal (w.hops, 0);
				free (out.p);

				/* the answer finds the way back, to whichever instance it comes */
				build_t r = { .src = b.dst,
					      .dst = want.src,
					      .sport = 53,
					      .dport = want.sport,
					      .ip_proto = protos[i],
					      .tcp_flags = SYN | ACK,
					      .payload = 9 };
				if (protos[i] == ICMP)
					r.sport = want.sport;
				for (uint16_t at = 0; at < n; at++)
				{
					built_t back = build_packet (&r);
					pkt = build_view (&back, MVT_OUT2IN, 0);
					world_carry (&w, &pkt, at);
					assert_int_equal (pkt.verdict, MVT_VERDICT_TRANSLATED);
					build_t rw = r;
					rw.dst = b.src;
					rw.dport = 4000;
					if (protos[i] == ICMP)
						rw.sport = 4000;
					assert_is (&back, &rw);
					free (back.p);
				}
			}
			world_verify (&w);
			assert_int_equal (WORLD_SUM (&w, mappings_created), 199);
			world_stop (&w);
			assert_int_equal (counted_mem_bytes, 0);
		}
}

/* RFC 4787 REQ-1 and REQ-2: one mapping per inside endpoint, one address per host. */
static void
test_endpoint_independent_and_paired (void **state)
{
	(void) state;
	world_t w;
	world_defaults (&w);
	w.n = w.active = 3;
	world_start (&w);
	for (uint32_t h = 1; h < 50; h++)
	{
		uint32_t ext, ext2, first = 0;
		uint16_t port, port2;
		for (uint16_t p = 1; p < 20; p++)
		{
			open_mapping (&w, UDP, host (h), p, WORLD_REMOTE + 1, 53, &ext, &port);
			open_mapping (&w, UDP, host (h), p, WORLD_REMOTE + 9, 99, &ext2, &port2);
			assert_int_equal (ext, ext2);
			assert_int_equal (port, port2);
			if (!first)
				first = ext;
			assert_int_equal (ext, first);
		}
	}
	world_stop (&w);
}

static void
test_expiry_is_exact (void **state)
{
	(void) state;
	static const uint32_t waits[] = { 299, 300, 301 };
	for (unsigned i = 0; i < 3; i++)
	{
		world_t w;
		world_defaults (&w);
		world_start (&w);
		uint32_t ext;
		uint16_t port;
		open_mapping (&w, UDP, host (1), 1, WORLD_REMOTE + 1, 53, &ext, &port);
		w.now += waits[i];
		build_t r = { .src = WORLD_REMOTE + 1,
			      .dst = ext,
			      .sport = 53,
			      .dport = port,
			      .ip_proto = UDP };
		mvt_pkt_t pkt;
		built_t back = send (&w, MVT_OUT2IN, &r, &pkt);
		free (back.p);
		if (waits[i] <= 300)
			assert_int_equal (pkt.verdict, MVT_VERDICT_TRANSLATED);
		else
		{
			assert_int_equal (pkt.verdict, MVT_VERDICT_DROPPED);
			assert_int_equal (pkt.reason, MVT_DROP_NO_MAPPING);
			assert_int_equal (WORLD_SUM (&w, mappings_expired), 1);
		}
		world_verify (&w);
		world_stop (&w);
	}
}

static void
test_sweep_ends_what_nobody_asks_for (void **state)
{
	(void) state;
	world_t w;
	world_defaults (&w);
	world_start (&w);
	uint32_t ext;
	uint16_t port;
	for (uint32_t h = 1; h <= 3000; h++)
		open_mapping (&w, UDP, host (h), 1, WORLD_REMOTE + 1, 53, &ext, &port);
	w.now += 301;
	for (unsigned i = 0; i < 3000; i++)
		mvt_nat44_background (w.nat[0], w.now, 8);
	assert_int_equal (WORLD_SUM (&w, mappings), 0);
	assert_int_equal (WORLD_SUM (&w, mappings_expired), 3000);
	assert_int_equal (WORLD_SUM (&w, hosts), 0);
	assert_int_equal (WORLD_SUM (&w, blocks_free), 4 * 1008);
	world_verify (&w);
	world_stop (&w);
}

/* RFC 4787 REQ-9a: the other host sees the external endpoint. Also between instances. */
static void
test_hairpin (void **state)
{
	(void) state;
	for (unsigned n = 1; n <= 4; n += 3)
	{
		world_t w;
		world_defaults (&w);
		w.n = w.active = (uint16_t) n;
		world_start (&w);
		uint32_t a_ext, b_ext, handed = 0;
		uint16_t a_port, b_port;
		for (uint32_t k = 1; k < 40; k++)
		{
			open_mapping (&w, UDP, host (k), 7, WORLD_REMOTE, 9, &a_ext, &a_port);
			open_mapping (&w, UDP, host (k + 100), 8, WORLD_REMOTE, 9, &b_ext, &b_port);
			build_t b = { .src = host (k),
				      .dst = b_ext,
				      .sport = 7,
				      .dport = b_port,
				      .ip_proto = UDP,
				      .payload = 5 };
			mvt_pkt_t pkt;
			built_t got = send (&w, MVT_IN2OUT, &b, &pkt);
			handed += w.hops;
			assert_int_equal (pkt.verdict, MVT_VERDICT_TRANSLATED);
			assert_int_equal (pkt.dir, MVT_OUT2IN);
			build_t want = b;
			want.src = a_ext;
			want.sport = a_port;
			want.dst = host (k + 100);
			want.dport = 8;
			assert_is (&got, &want);
			free (got.p);
		}
		assert_int_equal (WORLD_SUM (&w, hairpinned), 39);
		if (n > 1)
			assert_true (handed > 0);
		world_verify (&w);
		world_stop (&w);
	}
}

static void
test_exempt_on_hits_too (void **state)
{
	(void) state;
	world_t w;
	world_defaults (&w);
	w.exempt[w.n_exempt++] = (mvt_prefix4_t){ 0xc0a80500, 24, { 0 } };
	world_start (&w);
	uint32_t ext;
	uint16_t port;
	open_mapping (&w, UDP, host (1), 1, WORLD_REMOTE, 53, &ext, &port);
	static const uint32_t dst[] = { 0xc0a80501, 0x0a010203, 0xe0000001, 0xffffffff };
	for (unsigned i = 0; i < 4; i++)
	{
		build_t b = {
			.src = host (1), .dst = dst[i], .sport = 1, .dport = 53, .ip_proto = UDP
		};
		mvt_pkt_t pkt;
		built_t got = send (&w, MVT_IN2OUT, &b, &pkt);
		assert_int_equal (pkt.verdict, MVT_VERDICT_PASSED);
		assert_int_equal (pkt.reason, MVT_PASS_EXEMPT);
		assert_is (&got, &b);
		free (got.p);
	}
	world_stop (&w);
}

static void
test_pass_and_drop_by_policy (void **state)
{
	(void) state;
	world_t w;
	world_defaults (&w);
	world_start (&w);
	static const struct
	{
		uint8_t dir;
		uint32_t src, dst;
		uint8_t proto, icmp;
		uint8_t verdict, reason;
	} rows[] = {
		{ MVT_IN2OUT, 0xc0000201, WORLD_REMOTE, UDP, 0, MVT_VERDICT_PASSED,
		  MVT_PASS_NOT_INSIDE },
		{ MVT_OUT2IN, WORLD_REMOTE, 0xc0000201, UDP, 0, MVT_VERDICT_PASSED,
		  MVT_PASS_NOT_POOL },
		{ MVT_OUT2IN, WORLD_REMOTE, WORLD_POOL, UDP, 0, MVT_VERDICT_DROPPED,
		  MVT_DROP_NO_MAPPING },
		{ MVT_IN2OUT, WORLD_INSIDE + 1, WORLD_REMOTE, 47, 0, MVT_VERDICT_DROPPED,
		  MVT_DROP_UNSUPPORTED_PROTOCOL },
		{ MVT_OUT2IN, WORLD_REMOTE, WORLD_POOL, 47, 0, MVT_VERDICT_DROPPED,
		  MVT_DROP_UNSUPPORTED_PROTOCOL },
		{ MVT_IN2OUT, WORLD_INSIDE + 1, WORLD_REMOTE, ICMP, 0, MVT_VERDICT_DROPPED,
		  MVT_DROP_NO_MAPPING },
		{ MVT_IN2OUT, WORLD_INSIDE + 1, WORLD_REMOTE, ICMP, 9, MVT_VERDICT_DROPPED,
		  MVT_DROP_ICMP_UNSUPPORTED },
	};
	for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++)
	{
		build_t b = { .src = rows[i].src,
			      .dst = rows[i].dst,
			      .sport = 9,
			      .dport = 2000,
			      .ip_proto = rows[i].proto,
			      .icmp_type = rows[i].icmp,
			      .payload = 8 };
		mvt_pkt_t pkt;
		built_t got = send (&w, rows[i].dir, &b, &pkt);
		assert_int_equal (pkt.verdict, rows[i].verdict);
		assert_int_equal (pkt.reason, rows[i].reason);
		assert_is (&got, &b);
		free (got.p);
	}
	world_stop (&w);
}

static void
test_one_to_one (void **state)
{
	(void) state;
	static const uint8_t protos[] = { UDP, TCP, ICMP, 47, 132 };
	world_t w;
	world_defaults (&w);
	w.n = w.active = 2;
	w.statics[w.n_statics++] =
		(mvt_static_rule_t){ { 0x0a090000, 24, { 0 } }, { 0xc0000200, 24, { 0 } } };
	world_start (&w);
	for (unsigned i = 0; i < sizeof protos; i++)
	{
		build_t b = { .src = 0x0a090007,
			      .dst = WORLD_REMOTE,
			      .sport = 1000,
			      .dport = 80,
			      .ip_proto = protos[i],
			      .icmp_type = 8,
			      .tcp_flags = ACK,
			      .payload = 16 };
		mvt_pkt_t pkt;
		built_t got = send (&w, MVT_IN2OUT, &b, &pkt);
		assert_int_equal (pkt.verdict, MVT_VERDICT_TRANSLATED);
		build_t want = b;
		want.src = 0xc0000207;
		assert_is (&got, &want);
		free (got.p);
		b.src = WORLD_REMOTE;
		b.dst = 0xc0000207;
		got = send (&w, MVT_OUT2IN, &b, &pkt);
		assert_int_equal (pkt.verdict, MVT_VERDICT_TRANSLATED);
		want = b;
		want.dst = 0x0a090007;
		assert_is (&got, &want);
		free (got.p);
	}
	assert_int_equal (WORLD_SUM (&w, mappings_created), 0);
	world_stop (&w);
}

static void
test_static_port (void **state)
{
	(void) state;
	world_t w;
	world_defaults (&w);
	world_start (&w);
	mvt_job_t add = {
		.op = MVT_JOB_STATIC_ADD,
		.inside_endpoint = { .addr = host (5), .port = 8080, .proto = MVT_PROTO_TCP },
		.external_endpoint = { .addr = WORLD_POOL + 1, .port = 80, .proto = MVT_PROTO_TCP },
	};
	assert_int_equal (job_at_owner (&w, &add), MVT_OK);
	assert_int_equal (job_at_owner (&w, &add), MVT_OK); /* again: the same */
	add.inside_endpoint.port = 8081;
	assert_int_equal (job_at_owner (&w, &add), MVT_ERR_IN_USE);

	w.now += 1000000; /* never expires */
	for (unsigned i = 0; i < 1000; i++)
		mvt_nat44_background (w.nat[0], w.now, 256);
	build_t b = { .src = WORLD_REMOTE,
		      .dst = WORLD_POOL + 1,
		      .sport = 5,
		      .dport = 80,
		      .ip_proto = TCP,
		      .tcp_flags = SYN };
	mvt_pkt_t pkt;
	built_t got = send (&w, MVT_OUT2IN, &b, &pkt);
	assert_int_equal (pkt.verdict, MVT_VERDICT_TRANSLATED);
	build_t want = b;
	want.dst = host (5);
	want.dport = 8080;
	assert_is (&got, &want);
	free (got.p);
	build_t r = { .src = host (5),
		      .dst = WORLD_REMOTE,
		      .sport = 8080,
		      .dport = 5,
		      .ip_proto = TCP,
		      .tcp_flags = SYN | ACK };
	got = send (&w, MVT_IN2OUT, &r, &pkt);
	assert_int_equal (pkt.verdict, MVT_VERDICT_TRANSLATED);
	assert_int_equal (at32 (&got, 12), WORLD_POOL + 1);
	assert_int_equal (at16 (&got, 20), 80);
	free (got.p);
	world_verify (&w);
	mvt_job_t del = { .op = MVT_JOB_STATIC_DEL,
			  .external_endpoint = {
				  .addr = WORLD_POOL + 1, .port = 80, .proto = MVT_PROTO_TCP } };
	assert_int_equal (job_at_owner (&w, &del), MVT_OK);
	assert_int_equal (job_at_owner (&w, &del), MVT_ERR_NOT_FOUND);
	free (send (&w, MVT_OUT2IN, &b, &pkt).p);
	assert_int_equal (pkt.verdict, MVT_VERDICT_DROPPED);
	world_stop (&w);
}

static void
test_listing (void **state)
{
	(void) state;
	world_t w;
	world_defaults (&w);
	world_start (&w);
	uint32_t ext, seen = 0;
	uint16_t port;
	for (uint32_t h = 0; h < 1000; h++)
		open_mapping (&w, UDP, host (h), 5, WORLD_REMOTE, 53, &ext, &port);
	mvt_mapping_info_t infos[100];
	static bool got[1000];
	memset (got, 0, sizeof got);
	mvt_job_t job = { .op = MVT_JOB_LIST_MAPPINGS, .max = 100, .out.mappings = infos };
	do
	{
		job.n = 0;
		while (mvt_nat44_job (w.nat[0], &job, w.now) == MVT_ERR_AGAIN)
			;
		for (uint32_t i = 0; i < job.n; i++, seen++)
		{
			assert_false (got[infos[i].in.addr - host (0)]);
			got[infos[i].in.addr - host (0)] = true;
			assert_int_equal (infos[i].expires_in, 300);
		}
	} while (job.cursor != UINT64_MAX);
	assert_int_equal (seen, 1000);
	job = (mvt_job_t){ .op = MVT_JOB_LIST_MAPPINGS,
			   .max = 100,
			   .out.mappings = infos,
			   .filter.inside = { host (64), 28, { 0 } } };
	while (mvt_nat44_job (w.nat[0], &job, w.now) == MVT_ERR_AGAIN)
		;
	assert_int_equal (job.n, 16);
	world_stop (&w);
}

/* Many flows, batches of every size, several instances: every answer comes back to its host. */
static void
test_batches (void **state)
{
	(void) state;
	world_t w;
	world_defaults (&w);
	w.n_addresses = 8;
	world_start (&w);
	uint64_t seed = 7;
	for (uint32_t round = 0; round < 400; round++)
	{
		uint32_t n = 1 + build_random (&seed) % MVT_BATCH_MAX;
		mvt_pkt_t pkts[MVT_BATCH_MAX];
		built_t built[MVT_BATCH_MAX];
		build_t b[MVT_BATCH_MAX];
		for (uint32_t i = 0; i < n; i++)
		{
			b[i] = (build_t){ .src = host (build_random (&seed) % 500),
					  .dst = WORLD_REMOTE + build_random (&seed) % 16,
					  .sport = (uint16_t) (build_random (&seed) % 40),
					  .dport = 80,
					  .ip_proto = build_random (&seed) % 2 ? TCP : UDP,
					  .tcp_flags = SYN };
			built[i] = build_packet (&b[i]);
			pkts[i] = build_view (&built[i], MVT_IN2OUT, 0);
		}
		mvt_nat44_process (w.nat[0], pkts, n, w.now);
		for (uint32_t i = 0; i < n; i++)
		{
			assert_int_equal (pkts[i].verdict, MVT_VERDICT_TRANSLATED);
			build_t r = { .src = b[i].dst,
				      .dst = at32 (&built[i], 12),
				      .sport = 80,
				      .dport = at16 (&built[i], 20),
				      .ip_proto = b[i].ip_proto,
				      .tcp_flags = ACK };
			free (built[i].p);
			built[i] = build_packet (&r);
			pkts[i] = build_view (&built[i], MVT_OUT2IN, 0);
		}
		mvt_nat44_process (w.nat[0], pkts, n, w.now);
		for (uint32_t i = 0; i < n; i++)
		{
			assert_int_equal (pkts[i].verdict, MVT_VERDICT_TRANSLATED);
			assert_int_equal (at32 (&built[i], 16), b[i].src);
			assert_int_equal (at16 (&built[i], 22), b[i].sport);
			free (built[i].p);
		}
		if (round % 50 == 0)
		{
			w.now += 100;
			mvt_nat44_background (w.nat[0], w.now, 4096);
			world_verify (&w);
		}
	}
	world_stop (&w);
}

static void
test_filters_of_jobs (void **state)
{
	(void) state;
	world_t w;
	world_defaults (&w);
	world_start (&w);
	uint32_t ext;
	uint16_t port;
	mvt_mapping_info_t info[4];
	mvt_job_t add = {
		.op = MVT_JOB_STATIC_ADD,
		.inside_endpoint = { .addr = host (5), .port = 80, .proto = MVT_PROTO_UDP },
		.external_endpoint = { .addr = WORLD_POOL, .port = 80, .proto = MVT_PROTO_UDP },
	};
	assert_int_equal (job_at_owner (&w, &add), MVT_OK);
	open_mapping (&w, UDP, host (1), 1, WORLD_REMOTE, 53, &ext, &port);
	for (uint8_t statics = 0; statics < 3; statics++)
	{
		mvt_job_t list = { .op = MVT_JOB_LIST_MAPPINGS,
				   .max = 4,
				   .out.mappings = info,
				   .filter.statics = statics };
		while (mvt_nat44_job (w.nat[0], &list, w.now) == MVT_ERR_AGAIN)
			;
		assert_int_equal (list.n, statics ? 1 : 2);
		if (statics)
			assert_int_equal (info[0].is_static, statics == 1);
	}
	mvt_job_t del = { .op = MVT_JOB_DELETE_MAPPINGS, .filter.statics = 2 };
	while (mvt_nat44_job (w.nat[0], &del, w.now) == MVT_ERR_AGAIN)
		;
	assert_int_equal (del.n, 1);
	/* what has expired is not listed, swept or not */
	open_mapping (&w, UDP, host (1), 1, WORLD_REMOTE, 53, &ext, &port);
	w.now += 301;
	mvt_job_t list = { .op = MVT_JOB_LIST_MAPPINGS, .max = 4, .out.mappings = info };
	while (mvt_nat44_job (w.nat[0], &list, w.now) == MVT_ERR_AGAIN)
		;
	assert_int_equal (list.n, 1);
	assert_true (info[0].is_static);
	world_stop (&w);
}

/* What the hit path leaves to the slow one may meet any bucket of the index, also a full one
 * without a tag that fits: an echo among so many mappings was once parsed as if it were UDP. */
static void
test_icmp_among_many_mappings (void **state)
{
	(void) state;
	world_t w;
	uint32_t ext;
	uint16_t ext_port;
	mvt_pkt_t pkt;

	world_defaults (&w);
	w.n_addresses = 2;
	w.max_mappings = 1 << 16;
	w.log = 0;
	world_start (&w);
	for (uint32_t flow = 0; flow < 20000; flow++)
	{
		open_mapping (&w, UDP, host (1 + flow % 250), (uint16_t) (1024 + flow / 250),
			      WORLD_REMOTE, 53, &ext, &ext_port);
		if (flow % 100)
			continue;
		build_t echo = { .src = host (1 + flow / 100),
				 .dst = WORLD_REMOTE,
				 .sport = 7,
				 .ip_proto = ICMP,
				 .icmp_type = 8,
				 .payload = 20 };
		built_t got = send (&w, MVT_IN2OUT, &echo, &pkt);
		assert_int_equal (pkt.verdict, MVT_VERDICT_TRANSLATED);
		echo.src = at32 (&got, 12);
		echo.sport = at16 (&got, 24);
		assert_is (&got, &echo);
		free (got.p);
	}
	world_stop (&w);
}

int
main (void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test (test_both_ways_every_protocol),
		cmocka_unit_test (test_endpoint_independent_and_paired),
		cmocka_unit_test (test_expiry_is_exact),
		cmocka_unit_test (test_sweep_ends_what_nobody_asks_for),
		cmocka_unit_test (test_hairpin),
		cmocka_unit_test (test_exempt_on_hits_too),
		cmocka_unit_test (test_pass_and_drop_by_policy),
		cmocka_unit_test (test_one_to_one),
		cmocka_unit_test (test_static_port),
		cmocka_unit_test (test_listing),
		cmocka_unit_test (test_batches),
		cmocka_unit_test (test_filters_of_jobs),
		cmocka_unit_test (test_icmp_among_many_mappings),
	};

	return cmocka_run_group_tests (tests, NULL, NULL);
}

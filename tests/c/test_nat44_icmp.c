/* SPDX-License-Identifier: Apache-2.0
 * The NAT44 instance: ICMP errors, and fragments. */
#include "nat44_packets.h"

/* RFC 5508 REQ-4, 5, 7: both directions, from the host itself and from a router. */
static void
test_icmp_errors (void **state)
{
	(void) state;
	static const uint8_t protos[] = { UDP, TCP, ICMP };
	world_t w;
	world_defaults (&w);
	w.n = w.active = 3;
	world_start (&w);
	for (unsigned i = 0; i < 3; i++)
		for (uint32_t h = 1; h < 30; h++)
		{
			uint32_t ext;
			uint16_t port;
			open_mapping (&w, protos[i], host (h), 77, WORLD_REMOTE, 53, &ext, &port);
			/* out2in: a router complains of what the host sent */
			build_t sent = { .src = ext,
					 .dst = WORLD_REMOTE,
					 .sport = port,
					 .dport = 53,
					 .ip_proto = protos[i],
					 .icmp_type = 8,
					 .tcp_flags = SYN,
					 .payload = 20 };
			build_t orig = sent;
			orig.src = host (h);
			orig.sport = 77;
			built_t embedded = build_packet (&sent), inside = build_packet (&orig);
			build_t outer = { .src = 0x08080808, .dst = ext };
			build_t outer_in = { .src = 0x08080808, .dst = host (h) };
			built_t error = build_error (&outer, 11, &embedded, 48, 0);
			built_t want = build_error (&outer_in, 11, &inside, 48, 0);
			mvt_pkt_t pkt = build_view (&error, MVT_OUT2IN, 0);
			world_send (&w, &pkt);
			assert_int_equal (pkt.verdict, MVT_VERDICT_TRANSLATED);
			assert_int_equal (w.hops, 0);
			assert_memory_equal (error.p, want.p, want.len);
			free (embedded.p), free (inside.p), free (error.p), free (want.p);

			/* in2out: the host complains of what it got */
			build_t got = { .src = WORLD_REMOTE,
					.dst = host (h),
					.sport = 53,
					.dport = 77,
					.ip_proto = protos[i],
					.tcp_flags = ACK,
					.payload = 20 };
			if (protos[i] == ICMP)
				got.sport = 77;
			build_t came = got;
			came.dst = ext;
			came.dport = port;
			if (protos[i] == ICMP)
				came.sport = port;
			embedded = build_packet (&got), inside = build_packet (&came);
			outer = (build_t){ .src = host (h), .dst = WORLD_REMOTE };
			outer_in = (build_t){ .src = ext, .dst = WORLD_REMOTE };
			error = build_error (&outer, 3, &embedded, 48, 0);
			want = build_error (&outer_in, 3, &inside, 48, 0);
			pkt = build_view (&error, MVT_IN2OUT, 0);
			world_send (&w, &pkt);
			assert_int_equal (pkt.verdict, MVT_VERDICT_TRANSLATED);
			assert_memory_equal (error.p, want.p, want.len);
			free (embedded.p), free (inside.p), free (error.p), free (want.p);
		}
	world_stop (&w);
}

/* VPP 26.06 crashed in production on an error about GRE. */
static void
test_icmp_error_about_gre (void **state)
{
	(void) state;
	world_t w;
	world_defaults (&w);
	world_start (&w);
	for (uint32_t keep = 20; keep < 60; keep++)
	{
		build_t gre = {
			.src = WORLD_POOL, .dst = WORLD_REMOTE, .ip_proto = 47, .payload = 60
		};
		built_t embedded = build_packet (&gre);
		build_t outer = { .src = WORLD_REMOTE, .dst = WORLD_POOL };
		built_t error = build_error (&outer, 3, &embedded, keep, 0);
		mvt_pkt_t pkt = build_view (&error, MVT_OUT2IN, 0);
		world_send (&w, &pkt);
		assert_int_equal (pkt.verdict, MVT_VERDICT_DROPPED);
		assert_int_equal (pkt.reason, MVT_DROP_ICMP_NO_MAPPING);
		free (embedded.p), free (error.p);
	}
	world_stop (&w);
}

/* 45 fragments in reverse order, both directions, several instances; all come through, with the
 * port of the first. */
static void
test_fragments (void **state)
{
	(void) state;
	for (unsigned n = 1; n <= 4; n++)
		for (unsigned reverse = 0; reverse < 2; reverse++)
			for (unsigned dir = 0; dir < 2; dir++)
			{
				world_t w;
				world_defaults (&w);
				w.n = w.active = (uint16_t) n;
				world_start (&w);
				uint32_t ext;
				uint16_t port;
				built_t frag[45];
				mvt_pkt_t late[64];
				uint32_t done = 0;
				open_mapping (&w, UDP, host (9), 500, WORLD_REMOTE, 53, &ext,
					      &port);
				for (uint32_t k = 0; k < 45; k++)
				{
					uint32_t i = reverse ? 44 - k : k;
					build_t b = { .ip_proto = i ? 0xff : UDP, .ip_id = 77 };
					b.src = dir == MVT_IN2OUT ? host (9) : WORLD_REMOTE;
					b.dst = dir == MVT_IN2OUT ? WORLD_REMOTE : ext;
					b.sport = dir == MVT_IN2OUT ? 500 : 53;
					b.dport = dir == MVT_IN2OUT ? 53 : port;
					b.payload = i ? 1400 : 1392;
					b.frag = (uint16_t) ((i < 44 ? 0x2000 : 0) | i * 175);
					frag[i] = build_packet (&b);
					if (i == 0)
						build_put16 (frag[0].p + 24, 45 * 1400);
					frag[i].p[9] = UDP;
					build_fill_ip (frag[i].p);
					mvt_pkt_t pkt = build_view (&frag[i], (uint8_t) dir, 0);
					world_send (&w, &pkt);
					done += pkt.verdict == MVT_VERDICT_TRANSLATED;
					if (reverse && i)
						assert_int_equal (pkt.verdict, MVT_VERDICT_HELD);
					uint32_t got = world_late (&w, late, 64);
					for (uint32_t j = 0; j < got; j++)
						done += late[j].verdict == MVT_VERDICT_TRANSLATED;
				}
				assert_int_equal (done, 45);
				for (uint32_t i = 0; i < 45; i++)
				{
					uint32_t off = dir == MVT_IN2OUT ? 12 : 16;
					assert_int_equal (at32 (&frag[i], off),
							  dir == MVT_IN2OUT ? ext : host (9));
					assert_int_equal (build_csum (0, frag[i].p, 20), 0);
					free (frag[i].p);
				}
				world_verify (&w);
				world_stop (&w);
			}
}

static void
test_hairpinned_fragments (void **state)
{
	(void) state;
	world_t w;
	world_defaults (&w);
	w.n = w.active = 4;
	world_start (&w);
	for (uint32_t k = 1; k < 20; k++)
	{
		uint32_t a_ext, b_ext;
		uint16_t a_port, b_port;
		mvt_pkt_t late[4];
		built_t frag[2];
		uint32_t done = 0;
		open_mapping (&w, UDP, host (k), 1, WORLD_REMOTE, 9, &a_ext, &a_port);
		open_mapping (&w, UDP, host (k + 50), 2, WORLD_REMOTE, 9, &b_ext, &b_port);
		for (int i = 1; i >= 0; i--)
		{
			build_t b = { .src = host (k),
				      .dst = b_ext,
				      .sport = 1,
				      .dport = b_port,
				      .ip_id = (uint16_t) k,
				      .ip_proto = i ? 0xff : UDP };
			b.payload = i ? 100 : 1472;
			b.frag = i ? 185 : 0x2000;
			frag[i] = build_packet (&b);
			if (i == 0)
				build_put16 (frag[0].p + 24, 1580);
			frag[i].p[9] = UDP;
			build_fill_ip (frag[i].p);
			mvt_pkt_t pkt = build_view (&frag[i], MVT_IN2OUT, 0);
			world_send (&w, &pkt);
			done += pkt.verdict == MVT_VERDICT_TRANSLATED;
		}
		for (unsigned round = 0; round < 3; round++)
		{
			uint32_t got = world_late (&w, late, 4);
			for (uint32_t j = 0; j < got; j++)
				done += late[j].verdict == MVT_VERDICT_TRANSLATED;
		}
		assert_int_equal (done, 2);
		for (int i = 0; i < 2; i++)
		{
			assert_int_equal (at32 (&frag[i], 12), a_ext);
			assert_int_equal (at32 (&frag[i], 16), host (k + 50));
			assert_int_equal (build_csum (0, frag[i].p, 20), 0);
			free (frag[i].p);
		}
	}
	world_stop (&w);
}

/* An error about one address's packet that is sent to another of ours is forged. */
static void
test_icmp_error_to_the_wrong_address (void **state)
{
	(void) state;
	world_t w;
	world_defaults (&w);
	world_start (&w);
	uint32_t ext;
	uint16_t port;
	open_mapping (&w, UDP, host (1), 77, WORLD_REMOTE, 53, &ext, &port);
	build_t sent = {
		.src = ext, .dst = WORLD_REMOTE, .sport = port, .dport = 53, .ip_proto = UDP
	};
	built_t embedded = build_packet (&sent);
	build_t outer = { .src = WORLD_REMOTE,
			  .dst = ext == WORLD_POOL ? WORLD_POOL + 1 : WORLD_POOL };
	built_t error = build_error (&outer, 3, &embedded, 28, 0);
	mvt_pkt_t pkt = build_view (&error, MVT_OUT2IN, 0);
	world_send (&w, &pkt);
	assert_int_equal (pkt.verdict, MVT_VERDICT_DROPPED);
	assert_int_equal (pkt.reason, MVT_DROP_ICMP_NO_MAPPING);
	free (embedded.p), free (error.p);
	world_stop (&w);
}

int
main (void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test (test_icmp_errors),
		cmocka_unit_test (test_icmp_error_about_gre),
		cmocka_unit_test (test_fragments),
		cmocka_unit_test (test_hairpinned_fragments),
		cmocka_unit_test (test_icmp_error_to_the_wrong_address),
	};

	return cmocka_run_group_tests (tests, NULL, NULL);
}

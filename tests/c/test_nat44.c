/* SPDX-License-Identifier: Apache-2.0
 * The NAT44 instance: what a packet gets, told by whole packets that are built and checked without
 * the core's code. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "nat44_world.h"

enum
{
	ICMP = 1,
	TCP = 6,
	UDP = 17,
	SYN = 2,
	ACK = 16,
	FIN = 1,
	RST = 4,
};

static uint32_t
host (uint32_t n)
{
	return WORLD_INSIDE + n;
}

/* Build, send, and give back the packet; the caller frees it. */
static built_t
send (world_t *w, uint8_t dir, const build_t *b, mvt_pkt_t *pkt)
{
	built_t built = build_packet (b);
	*pkt = build_view (&built, dir, 0);
	world_send (w, pkt);
	return built;
}

static uint16_t
at16 (const built_t *b, uint32_t off)
{
	return mvt_load16 (b->p + off);
}

static uint32_t
at32 (const built_t *b, uint32_t off)
{
	return mvt_load32 (b->p + off);
}

/* The packet must be byte for byte what building it with other endpoints gives. */
static void
assert_is (const built_t *got, const build_t *want)
{
	built_t w = build_packet (want);
	assert_int_equal (got->len, w.len);
	assert_memory_equal (got->p, w.p, w.len);
	free (w.p);
}

/* Open a UDP mapping and say where it is outside. */
static void
open_mapping (world_t *w, uint8_t proto, uint32_t in, uint16_t port, uint32_t remote,
	      uint16_t rport, uint32_t *ext, uint16_t *ext_port)
{
	mvt_pkt_t pkt;
	build_t b = { .src = in,
		      .dst = remote,
		      .sport = port,
		      .dport = rport,
		      .ip_proto = proto,
		      .tcp_flags = SYN,
		      .icmp_type = 8,
		      .payload = 4 };
	built_t p = send (w, MVT_IN2OUT, &b, &pkt);
	assert_int_equal (pkt.verdict, MVT_VERDICT_TRANSLATED);
	*ext = at32 (&p, 12);
	*ext_port = at16 (&p, proto == ICMP ? 24 : 20);
	free (p.p);
}

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

static void
test_filtering (void **state)
{
	(void) state;
	/* remote, remote port, allowed by EI, AD, APD; UDP and TCP alike */
	static const struct
	{
		uint32_t addr;
		uint16_t port;
		bool allowed[3];
	} rows[] = {
		{ WORLD_REMOTE + 1, 53, { true, true, true } },
		{ WORLD_REMOTE + 1, 54, { true, true, false } },
		{ WORLD_REMOTE + 2, 53, { true, false, false } },
		{ WORLD_REMOTE + 3, 80, { true, true, true } },
		{ WORLD_REMOTE + 3, 81, { true, true, false } },
	};
	static const uint8_t protos[] = { UDP, TCP };
	for (unsigned filter = 0; filter < 3; filter++)
		for (unsigned i = 0; i < 2; i++)
			for (unsigned row = 0; row < sizeof rows / sizeof rows[0]; row++)
			{
				world_t w;
				world_defaults (&w);
				memset (w.policy.filter, (int) filter, sizeof w.policy.filter);
				world_start (&w);
				uint32_t ext;
				uint16_t port;
				open_mapping (&w, protos[i], host (1), 1, WORLD_REMOTE + 1, 53,
					      &ext, &port);
				open_mapping (&w, protos[i], host (1), 1, WORLD_REMOTE + 3, 80,
					      &ext, &port);
				build_t r = { .src = rows[row].addr,
					      .dst = ext,
					      .sport = rows[row].port,
					      .dport = port,
					      .ip_proto = protos[i],
					      .tcp_flags = SYN };
				mvt_pkt_t pkt;
				built_t back = send (&w, MVT_OUT2IN, &r, &pkt);
				free (back.p);
				assert_int_equal (pkt.verdict, rows[row].allowed[filter]
								       ? MVT_VERDICT_TRANSLATED
								       : MVT_VERDICT_DROPPED);
				if (!rows[row].allowed[filter])
					assert_int_equal (pkt.reason, MVT_DROP_FILTERED);
				world_verify (&w);
				world_stop (&w);
			}
}

static void
test_session_table_full (void **state)
{
	(void) state;
	for (unsigned filter = 0; filter < 3; filter += 2)
	{
		world_t w;
		world_defaults (&w);
		w.max_sessions = 4;
		memset (w.policy.filter, (int) filter, sizeof w.policy.filter);
		world_start (&w);
		uint32_t ext;
		uint16_t port;
		for (uint32_t i = 0; i < 5; i++) /* one inline, four further */
			open_mapping (&w, TCP, host (1), 1, WORLD_REMOTE + i, 80, &ext, &port);
		build_t b = { .src = host (1),
			      .dst = WORLD_REMOTE + 9,
			      .sport = 1,
			      .dport = 80,
			      .ip_proto = TCP,
			      .tcp_flags = SYN };
		mvt_pkt_t pkt;
		built_t out = send (&w, MVT_IN2OUT, &b, &pkt);
		free (out.p);
		assert_int_equal (WORLD_SUM (&w, sessions), 4);
		if (filter == 0)
		{
			assert_int_equal (pkt.verdict, MVT_VERDICT_TRANSLATED);
			assert_int_equal (WORLD_SUM (&w, sessions_untracked), 1);
		}
		else
		{
			assert_int_equal (pkt.verdict, MVT_VERDICT_DROPPED);
			assert_int_equal (pkt.reason, MVT_DROP_OUT_OF_SESSIONS);
		}
		world_verify (&w);
		world_stop (&w);
	}
}

/* A mapping lives as long as its longest-lived session. */
static void
test_mapping_lives_with_its_sessions (void **state)
{
	(void) state;
	world_t w;
	world_defaults (&w);
	world_start (&w);
	uint32_t ext;
	uint16_t port;
	mvt_pkt_t pkt;
	/* inline: a connection that never answers; a second one that is established */
	open_mapping (&w, TCP, host (1), 1, WORLD_REMOTE + 1, 80, &ext, &port);
	open_mapping (&w, TCP, host (1), 1, WORLD_REMOTE + 2, 80, &ext, &port);
	build_t r = { .src = WORLD_REMOTE + 2,
		      .dst = ext,
		      .sport = 80,
		      .dport = port,
		      .ip_proto = TCP,
		      .tcp_flags = SYN | ACK };
	free (send (&w, MVT_OUT2IN, &r, &pkt).p);
	w.now += 241;
	for (unsigned i = 0; i < 100; i++)
		mvt_nat44_background (w.nat[0], w.now, 64);
	assert_int_equal (WORLD_SUM (&w, mappings), 1);
	assert_int_equal (WORLD_SUM (&w, sessions), 0); /* the second one moved inline */
	w.now += 7440 - 241;
	r.tcp_flags = ACK;
	free (send (&w, MVT_OUT2IN, &r, &pkt).p);
	assert_int_equal (pkt.verdict, MVT_VERDICT_TRANSLATED);
	w.now += 7441;
	free (send (&w, MVT_OUT2IN, &r, &pkt).p);
	assert_int_equal (pkt.verdict, MVT_VERDICT_DROPPED);
	world_verify (&w);
	world_stop (&w);
}

static void
test_tcp_without_syn_makes_nothing (void **state)
{
	(void) state;
	world_t w;
	world_defaults (&w);
	world_start (&w);
	static const uint8_t flags[] = { ACK, SYN | ACK, FIN | ACK, RST, 0 };
	for (unsigned i = 0; i < sizeof flags; i++)
	{
		build_t b = { .src = host (1),
			      .dst = WORLD_REMOTE,
			      .sport = 1,
			      .dport = 80,
			      .ip_proto = TCP,
			      .tcp_flags = flags[i] };
		mvt_pkt_t pkt;
		free (send (&w, MVT_IN2OUT, &b, &pkt).p);
		assert_int_equal (pkt.verdict, MVT_VERDICT_DROPPED);
		assert_int_equal (pkt.reason, MVT_DROP_TCP_NOT_SYN);
	}
	assert_int_equal (WORLD_SUM (&w, mappings_created), 0);
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

static mvt_err_t
job_at_owner (world_t *w, mvt_job_t *job)
{
	mvt_err_t err = MVT_ERR_NOT_OWNER;
	for (uint16_t i = 0; i < w->n && err == MVT_ERR_NOT_OWNER; i++)
		while ((err = mvt_nat44_job (w->nat[i], job, w->now)) == MVT_ERR_AGAIN)
			;
	return err;
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
		uint32_t blocks[4096];
		mvt_job_t give = { .op = MVT_JOB_GIVE_BLOCKS,
				   .to = 1,
				   .slot = MVT_NONE,
				   .max = 3000,
				   .out.blocks = blocks };
		while (mvt_nat44_job (w.nat[0], &give, w.now) == MVT_ERR_AGAIN)
			;
		mvt_job_t take = { .op = MVT_JOB_TAKE_BLOCKS, .n = give.n, .out.blocks = blocks };
		while (mvt_nat44_job (w.nat[1], &take, w.now) == MVT_ERR_AGAIN)
			;
		assert_int_equal (give.n, 3000);
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
	uint32_t ext, e, blocks[4096];
	uint16_t port, p;
	open_mapping (&w, UDP, host (1), 1, WORLD_REMOTE, 53, &ext, &port);
	mvt_job_t give = { .op = MVT_JOB_GIVE_BLOCKS,
			   .to = 1,
			   .slot = MVT_NONE,
			   .max = 3000,
			   .out.blocks = blocks };
	while (mvt_nat44_job (w.nat[0], &give, w.now) == MVT_ERR_AGAIN)
		;
	mvt_job_t take = { .op = MVT_JOB_TAKE_BLOCKS, .n = give.n, .out.blocks = blocks };
	while (mvt_nat44_job (w.nat[1], &take, w.now) == MVT_ERR_AGAIN)
		;
	mvt_home_range_t range = { .prefix = { host (1), 32, { 0 } },
				   .table = MVT_NONE,
				   .instance = 0,
				   .from = 0,
				   .to = 1,
				   .flags = MVT_HOME_F_CLOSING | MVT_HOME_F_BY_ENDPOINT };
	world_publish_home (&w, &range, 1, NULL, 0, false);
	open_mapping (&w, UDP, host (1), 2, WORLD_REMOTE, 53, &e, &p);
	assert_int_equal (e, ext);
	assert_int_equal (mvt_nat44_counters_any (w.nat[1])->mappings_created, 1);
	mvt_home_range_t opened = { .prefix = { host (1), 32, { 0 } },
				    .table = MVT_NONE,
				    .instance = 1,
				    .flags = MVT_HOME_F_OPENED,
				    .ext_addr = ext };
	mvt_home_pin_t pin = { .endpoint = { .addr = host (1), .port = 1, .proto = MVT_PROTO_UDP },
			       .instance = 0 };
	world_publish_home (&w, &opened, 1, &pin, 1, false);
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

/* ---- what a deleted line of the core would not be missed by above ---- */

static void
sweep_all (world_t *w)
{
	for (uint16_t i = 0; i < w->n; i++)
		for (unsigned k = 0; k < 64; k++)
			mvt_nat44_background (w->nat[i], w->now, 256);
}

/* Send one packet from outside and give its verdict; *reason when dropped. */
static uint8_t
from_outside (world_t *w, uint8_t proto, uint32_t remote, uint16_t rport, uint32_t ext,
	      uint16_t port, uint8_t flags, uint8_t *reason)
{
	build_t b = { .src = remote,
		      .dst = ext,
		      .sport = rport,
		      .dport = port,
		      .ip_proto = proto,
		      .tcp_flags = flags };
	mvt_pkt_t pkt;
	free (send (w, MVT_OUT2IN, &b, &pkt).p);
	*reason = pkt.reason;
	return pkt.verdict;
}

static void
test_longest_lived_session_moves_inline (void **state)
{
	(void) state;
	world_t w;
	world_defaults (&w);
	world_start (&w);
	uint32_t ext;
	uint16_t port;
	uint8_t reason;
	open_mapping (&w, TCP, host (1), 1, WORLD_REMOTE + 1, 80, &ext, &port);
	open_mapping (&w, TCP, host (1), 1, WORLD_REMOTE + 2, 80, &ext, &port);
	from_outside (&w, TCP, WORLD_REMOTE + 2, 80, ext, port, SYN | ACK, &reason);
	w.now += 100;
	open_mapping (&w, TCP, host (1), 1, WORLD_REMOTE + 3, 80, &ext, &port);
	w.now += 141; /* the first is over, the third has 99 s left, the second two hours */
	sweep_all (&w);
	mvt_mapping_info_t info;
	mvt_job_t list = { .op = MVT_JOB_LIST_MAPPINGS, .max = 1, .out.mappings = &info };
	while (mvt_nat44_job (w.nat[0], &list, w.now) == MVT_ERR_AGAIN)
		;
	assert_int_equal (list.n, 1);
	assert_int_equal (info.remote.addr, WORLD_REMOTE + 2);
	assert_int_equal (info.sessions, 2);
	assert_int_equal (info.expires_in, 7440 - 241);
	/* ended by command, nothing of it stays */
	mvt_job_t del = { .op = MVT_JOB_DELETE_MAPPINGS };
	while (mvt_nat44_job (w.nat[0], &del, w.now) == MVT_ERR_AGAIN)
		;
	assert_int_equal (WORLD_SUM (&w, sessions), 0);
	world_verify (&w);
	world_stop (&w);
}

/* That an address was spoken to lets it in, but keeps no mapping alive. */
static void
test_permission_is_no_session (void **state)
{
	(void) state;
	world_t w;
	world_defaults (&w);
	memset (w.policy.filter, MVT_FILTER_AD, sizeof w.policy.filter);
	world_start (&w);
	uint32_t ext;
	uint16_t port;
	uint8_t reason;
	open_mapping (&w, TCP, host (1), 1, WORLD_REMOTE + 1, 80, &ext, &port);
	w.now += 241;
	assert_int_equal (from_outside (&w, TCP, WORLD_REMOTE + 1, 81, ext, port, SYN, &reason),
			  MVT_VERDICT_DROPPED);
	assert_int_equal (reason, MVT_DROP_NO_MAPPING);
	assert_int_equal (WORLD_SUM (&w, sessions), 0);
	world_verify (&w);
	world_stop (&w);
}

/* A remote that has been silent for too long is filtered again, though the mapping lives. */
static void
test_expired_sessions_filter_again (void **state)
{
	(void) state;
	world_t w;
	world_defaults (&w);
	memset (w.policy.filter, MVT_FILTER_APD, sizeof w.policy.filter);
	world_start (&w);
	uint32_t ext;
	uint16_t port;
	uint8_t reason;
	open_mapping (&w, UDP, host (1), 1, WORLD_REMOTE + 1, 53, &ext, &port);
	open_mapping (&w, UDP, host (1), 1, WORLD_REMOTE + 2, 53, &ext, &port);
	w.now += 200;
	open_mapping (&w, UDP, host (1), 1, WORLD_REMOTE + 1, 53, &ext, &port);
	assert_int_equal (from_outside (&w, UDP, WORLD_REMOTE + 2, 53, ext, port, 0, &reason),
			  MVT_VERDICT_TRANSLATED); /* refreshed */
	w.now += 200;
	open_mapping (&w, UDP, host (1), 1, WORLD_REMOTE + 1, 53, &ext, &port);
	w.now += 101;
	assert_int_equal (from_outside (&w, UDP, WORLD_REMOTE + 2, 53, ext, port, 0, &reason),
			  MVT_VERDICT_DROPPED);
	assert_int_equal (reason, MVT_DROP_FILTERED);

	open_mapping (&w, TCP, host (1), 1, WORLD_REMOTE + 1, 80, &ext, &port);
	open_mapping (&w, TCP, host (1), 1, WORLD_REMOTE + 2, 80, &ext, &port);
	from_outside (&w, TCP, WORLD_REMOTE + 1, 80, ext, port, SYN | ACK, &reason);
	w.now += 241;
	assert_int_equal (from_outside (&w, TCP, WORLD_REMOTE + 2, 80, ext, port, ACK, &reason),
			  MVT_VERDICT_DROPPED);
	assert_int_equal (reason, MVT_DROP_FILTERED);
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
	uint32_t ext, blocks[4096];
	uint16_t port;
	mvt_job_t give = { .op = MVT_JOB_GIVE_BLOCKS,
			   .to = 1,
			   .slot = MVT_NONE,
			   .max = 3000,
			   .out.blocks = blocks };
	while (mvt_nat44_job (w.nat[0], &give, w.now) == MVT_ERR_AGAIN)
		;
	mvt_job_t take = { .op = MVT_JOB_TAKE_BLOCKS, .n = give.n, .out.blocks = blocks };
	while (mvt_nat44_job (w.nat[1], &take, w.now) == MVT_ERR_AGAIN)
		;
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
	uint32_t hashed, ext, e, blocks[4096];
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

	mvt_job_t give = { .op = MVT_JOB_GIVE_BLOCKS,
			   .to = 1,
			   .slot = MVT_NONE,
			   .max = 1000,
			   .out.blocks = blocks };
	while (mvt_nat44_job (w.nat[0], &give, w.now) == MVT_ERR_AGAIN)
		;
	mvt_job_t take = { .op = MVT_JOB_TAKE_BLOCKS, .n = give.n, .out.blocks = blocks };
	while (mvt_nat44_job (w.nat[1], &take, w.now) == MVT_ERR_AGAIN)
		;
	mvt_home_range_t range = { .prefix = { host (1), 32, { 0 } },
				   .table = MVT_NONE,
				   .instance = 0,
				   .from = 0,
				   .to = 1,
				   .flags = MVT_HOME_F_CLOSING | MVT_HOME_F_BY_ENDPOINT };
	world_publish_home (&w, &range, 1, NULL, 0, false);
	open_mapping (&w, UDP, host (1), 2, WORLD_REMOTE, 53, &e, &port);
	assert_int_equal (e, ext);
	while (mvt_nat44_job (w.nat[1], &del, w.now) == MVT_ERR_AGAIN)
		; /* B forgets what it learned with the mark */
	mvt_home_range_t opened = { .prefix = { host (1), 32, { 0 } },
				    .table = MVT_NONE,
				    .instance = 1,
				    .flags = MVT_HOME_F_OPENED,
				    .ext_addr = ext };
	world_publish_home (&w, &opened, 1, NULL, 0, false);
	open_mapping (&w, UDP, host (1), 3, WORLD_REMOTE, 53, &e, &port);
	assert_int_equal (e, ext);
	assert_int_equal (world_gauge (&w, 1)->mappings, 1);
	world_verify (&w);
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

int
main (void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test (test_both_ways_every_protocol),
		cmocka_unit_test (test_endpoint_independent_and_paired),
		cmocka_unit_test (test_expiry_is_exact),
		cmocka_unit_test (test_sweep_ends_what_nobody_asks_for),
		cmocka_unit_test (test_filtering),
		cmocka_unit_test (test_session_table_full),
		cmocka_unit_test (test_mapping_lives_with_its_sessions),
		cmocka_unit_test (test_tcp_without_syn_makes_nothing),
		cmocka_unit_test (test_hairpin),
		cmocka_unit_test (test_exempt_on_hits_too),
		cmocka_unit_test (test_pass_and_drop_by_policy),
		cmocka_unit_test (test_one_to_one),
		cmocka_unit_test (test_static_port),
		cmocka_unit_test (test_icmp_errors),
		cmocka_unit_test (test_icmp_error_about_gre),
		cmocka_unit_test (test_fragments),
		cmocka_unit_test (test_hairpinned_fragments),
		cmocka_unit_test (test_exhaustion_leaves_the_living_alone),
		cmocka_unit_test (test_limits),
		cmocka_unit_test (test_block_allocation),
		cmocka_unit_test (test_range_changes_owner),
		cmocka_unit_test (test_host_is_opened),
		cmocka_unit_test (test_draining_address),
		cmocka_unit_test (test_listing),
		cmocka_unit_test (test_batches),
		cmocka_unit_test (test_hold_down),
		cmocka_unit_test (test_longest_lived_session_moves_inline),
		cmocka_unit_test (test_permission_is_no_session),
		cmocka_unit_test (test_expired_sessions_filter_again),
		cmocka_unit_test (test_fallback_does_not_rebind),
		cmocka_unit_test (test_handoffs_are_bounded),
		cmocka_unit_test (test_closing_range_at_the_new_owner),
		cmocka_unit_test (test_opened_host_keeps_an_unusual_address),
		cmocka_unit_test (test_icmp_error_to_the_wrong_address),
		cmocka_unit_test (test_events_are_bounded),
		cmocka_unit_test (test_filters_of_jobs),
	};
	return cmocka_run_group_tests (tests, NULL, NULL);
}

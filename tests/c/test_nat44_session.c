/* SPDX-License-Identifier: Apache-2.0
 * The NAT44 instance: sessions, TCP tracking, filtering. */
#include "nat44_packets.h"

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

static void
sweep_all (world_t *w)
{
	for (uint16_t i = 0; i < w->n; i++)
		for (unsigned k = 0; k < 64; k++)
			mvt_nat44_background (w->nat[i], w->now, 256);
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

/* Address-dependent filtering: an address stays let in for as long as any connection with it goes
 * on, the mapping's first or a further one. */
static void
test_connections_keep_their_address_permitted (void **state)
{
	(void) state;
	world_t w;
	world_defaults (&w);
	memset (w.policy.filter, MVT_FILTER_AD, sizeof w.policy.filter);
	world_start (&w);
	uint32_t ext;
	uint16_t port;
	uint8_t reason;
	for (uint32_t remote = 1; remote <= 2; remote++)
	{
		open_mapping (&w, TCP, host (1), 1, WORLD_REMOTE + remote, 80, &ext, &port);
		from_outside (&w, TCP, WORLD_REMOTE + remote, 80, ext, port, SYN | ACK, &reason);
	}
	for (unsigned i = 0; i < 9; i++)
	{
		w.now += 1000;
		for (uint32_t remote = 1; remote <= 2; remote++)
			for (unsigned twice = 0; twice < 2; twice++)
				assert_int_equal (from_outside (&w, TCP, WORLD_REMOTE + remote, 80,
								ext, port, ACK, &reason),
						  MVT_VERDICT_TRANSLATED);
	}
	assert_int_equal (from_outside (&w, TCP, WORLD_REMOTE + 2, 81, ext, port, SYN, &reason),
			  MVT_VERDICT_TRANSLATED);
	/* and no longer than that */
	w.now += 7441;
	assert_int_equal (from_outside (&w, TCP, WORLD_REMOTE + 2, 82, ext, port, SYN, &reason),
			  MVT_VERDICT_DROPPED);
	world_verify (&w);
	world_stop (&w);
}

/* Mappings with the first session inline, further ones in their own bucket, and in the table. */
static const uint32_t many[] = { 1, 3, 9 };

/* A segment after a reset goes on with the connection, for hours again, and in the same tick: that
 * a session was refreshed in it already is not all that the hit path asks. */
static void
test_state_changes_within_a_tick (void **state)
{
	(void) state;
	for (unsigned i = 0; i < sizeof many / sizeof many[0]; i++)
	{
		world_t w;
		uint32_t ext, n = many[i];
		uint16_t port;
		uint8_t reason;

		world_defaults (&w);
		memset (w.policy.filter, MVT_FILTER_APD, sizeof w.policy.filter);
		world_start (&w);
		for (uint32_t r = 1; r <= n; r++)
		{
			open_mapping (&w, TCP, host (1), 1, WORLD_REMOTE + r, 80, &ext, &port);
			from_outside (&w, TCP, WORLD_REMOTE + r, 80, ext, port, SYN | ACK, &reason);
			from_outside (&w, TCP, WORLD_REMOTE + r, 80, ext, port, ACK, &reason);
			from_outside (&w, TCP, WORLD_REMOTE + r, 80, ext, port, RST, &reason);
		}
		for (uint32_t r = 1; r < n; r++) /* the last one stays reset */
			from_outside (&w, TCP, WORLD_REMOTE + r, 80, ext, port, ACK, &reason);
		w.now += 7440;
		for (uint32_t r = 1; r < n; r++)
			assert_int_equal (from_outside (&w, TCP, WORLD_REMOTE + r, 80, ext, port,
							ACK, &reason),
					  MVT_VERDICT_TRANSLATED);
		assert_int_equal (
			from_outside (&w, TCP, WORLD_REMOTE + n, 80, ext, port, ACK, &reason),
			MVT_VERDICT_DROPPED);
		world_verify (&w);
		world_stop (&w);
	}
}

/* Nobody gets in by another mapping's session, where those of several share a bucket. */
static void
test_sessions_are_of_one_mapping (void **state)
{
	enum
	{
		HOSTS = 8,
		REMOTES = 6 /* of each host: more than its own bucket holds */
	};
	(void) state;
	world_t w;
	uint32_t ext[HOSTS];
	uint16_t port[HOSTS];
	uint8_t reason;

	world_defaults (&w);
	w.max_sessions = HOSTS * REMOTES;
	memset (w.policy.filter, MVT_FILTER_APD, sizeof w.policy.filter);
	world_start (&w);
	for (uint32_t h = 0; h < HOSTS; h++)
		for (uint32_t r = 0; r < REMOTES; r++)
			open_mapping (&w, UDP, host (1 + h), 1, WORLD_REMOTE + h * REMOTES + r, 53,
				      &ext[h], &port[h]);
	for (uint32_t h = 0; h < HOSTS; h++)
		for (uint32_t r = 0; r < HOSTS * REMOTES; r++)
			assert_int_equal (from_outside (&w, UDP, WORLD_REMOTE + r, 53, ext[h],
							port[h], 0, &reason),
					  r / REMOTES == h ? MVT_VERDICT_TRANSLATED
							   : MVT_VERDICT_DROPPED);
	world_verify (&w);
	world_stop (&w);
}

/* The sweep takes further sessions whose time is up from a mapping that lives, however often it
 * went round before. */
static void
test_sweep_ends_further_sessions (void **state)
{
	(void) state;
	for (unsigned i = 0; i < sizeof many / sizeof many[0]; i++)
	{
		world_t w;
		uint32_t ext;
		uint16_t port;

		world_defaults (&w);
		memset (w.policy.filter, MVT_FILTER_APD, sizeof w.policy.filter);
		world_start (&w);
		for (uint32_t r = 1; r <= many[i]; r++)
			open_mapping (&w, UDP, host (1), 1, WORLD_REMOTE + r, 53, &ext, &port);
		sweep_all (&w);
		w.now += 200;
		open_mapping (&w, UDP, host (1), 1, WORLD_REMOTE + 1, 53, &ext, &port);
		sweep_all (&w);
		assert_int_equal (WORLD_SUM (&w, sessions), many[i] - 1);
		w.now += 101;
		sweep_all (&w);
		assert_int_equal (WORLD_SUM (&w, mappings), 1);
		assert_int_equal (WORLD_SUM (&w, sessions), 0);
		world_verify (&w);
		world_stop (&w);
	}
}

int
main (void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test (test_filtering),
		cmocka_unit_test (test_session_table_full),
		cmocka_unit_test (test_mapping_lives_with_its_sessions),
		cmocka_unit_test (test_connections_keep_their_address_permitted),
		cmocka_unit_test (test_state_changes_within_a_tick),
		cmocka_unit_test (test_sessions_are_of_one_mapping),
		cmocka_unit_test (test_sweep_ends_further_sessions),
		cmocka_unit_test (test_tcp_without_syn_makes_nothing),
		cmocka_unit_test (test_longest_lived_session_moves_inline),
		cmocka_unit_test (test_permission_is_no_session),
		cmocka_unit_test (test_expired_sessions_filter_again),
	};

	return cmocka_run_group_tests (tests, NULL, NULL);
}

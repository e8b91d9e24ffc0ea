/* SPDX-License-Identifier: Apache-2.0
 * The engine in stepped mode: packets through several instances, refill, drain, control. */
#include "engine_fixture.h"

/* ---- creation ---- */

static void
bad_configurations_are_refused (void **state)
{
	(void) state;
	fx_policy_t policy;
	char err[MVT_ENGINE_ERR_LEN];
	int code;

	fx_policy (&policy, 1, 0, 2);
#define REFUSED(change, want, words)                                     \
	do                                                               \
	{                                                                \
		mvt_engine_config_t c = fx_config (&policy, 1, 2);       \
		change;                                                  \
		assert_null (mvt_engine_new (&c, &code, err));           \
		assert_int_equal (code, want);                           \
		if (!strstr (err, words))                                \
			fail_msg ("'%s' does not say '%s'", err, words); \
	} while (0)
	REFUSED (c.instances_max = 0, MVT_ERR_INVALID, "max must be 1 to 64");
	REFUSED (c.instances_max = 65, MVT_ERR_INVALID, "max must be 1 to 64");
	REFUSED (c.instances_initial = 3, MVT_ERR_INVALID, "initial must be 1 to max (2)");
	REFUSED (c.block_size = 48, MVT_ERR_INVALID, "power of two");
	REFUSED (c.block_size = 65536, MVT_ERR_INVALID, "power of two");
	REFUSED (c.max_mappings = 0, MVT_ERR_INVALID, "max_mappings");
	REFUSED (c.max_slots = 1, MVT_ERR_FULL, "policy is not accepted");
	REFUSED (c.max_mappings = 4000000000u, MVT_ERR_NO_MEMORY, "lower max_mappings");
	REFUSED ((c.max_slots = 1u << 20, c.block_size = 1), MVT_ERR_NO_MEMORY, "the pool");
	REFUSED (c.tun_inside = "hmvt-x", MVT_ERR_INVALID, "no devices");
#undef REFUSED
}

static void
pool_is_shared_out_evenly (void **state)
{
	(void) state;
	fx_policy_t policy;
	fx_policy (&policy, 1, 0, 3);
	mvt_engine_config_t config = fx_config (&policy, 4, 6);
	mvt_engine_t *e = fx_new (&config);

	for (uint32_t i = 0; i < 4; i++)
	{
		/* 1,008 usable blocks per address */
		assert_int_equal (fx_count (e, i, "blocks_free"), 3 * 1008 / 4);
		assert_int_equal (fx_snapshot (e, i).state, MVT_INSTANCE_ACTIVE);
	}
	assert_int_equal (fx_sum (e, "blocks"), 3 * 1024);
	assert_int_equal (fx_snapshot (e, 4).state, MVT_INSTANCE_SPARE);
	assert_int_equal (fx_count (e, 4, "blocks"), 0);
	mvt_engine_free (e);
}

/* ---- packets ---- */

static void
packets_go_there_and_back (void **state)
{
	(void) state;
	fx_policy_t policy;
	fx_policy (&policy, 1, 0, 4);
	mvt_engine_config_t config = fx_config (&policy, 4, 4);
	mvt_engine_t *e = fx_new (&config);
	uint32_t seen = 0;

	for (uint32_t host = 1; host <= 200; host++)
	{
		mvt_endpoint_t ext, in;
		mvt_engine_packet_t p = fx_udp (e, host, 5000, &ext);
		assert_int_equal (p.verdict, MVT_VERDICT_TRANSLATED);
		assert_int_equal (p.dir, MVT_IN2OUT);
		assert_int_equal (p.instance, p.first_instance);
		seen |= 1u << p.instance;
		p = fx_answer (e, &ext, &in);
		assert_int_equal (p.verdict, MVT_VERDICT_TRANSLATED);
		assert_int_equal (p.dir, MVT_OUT2IN);
		assert_int_equal (in.addr, FX_INSIDE + host);
		assert_int_equal (in.port, 5000);
	}
	assert_int_equal (seen, 15);
	assert_int_equal (fx_sum (e, "mappings"), 200);
	assert_int_equal (fx_sum (e, "handed_over"), 0);
	mvt_engine_free (e);
}

/* Rules that are wrong cost a hand-off, never a packet. */
static void
wrong_rules_are_put_right (void **state)
{
	(void) state;
	fx_policy_t policy;
	fx_policy (&policy, 1, 0, 1);
	mvt_engine_config_t config = fx_config (&policy, 3, 3);
	mvt_engine_t *e = fx_new (&config);
	mvt_home_range_t range = { .table = MVT_NONE, .instance = 2 };
	mvt_home_desc_t desc = { .version = 1, .ranges = &range, .n_ranges = 1 };

	assert_int_equal (mvt_engine_set_home (e, &desc), 0);
	range.instance = 1;
	assert_int_equal (mvt_engine_set_rules (e, &desc), 0);
	mvt_engine_packet_t p = fx_udp (e, 7, 7000, NULL);
	assert_int_equal (p.verdict, MVT_VERDICT_TRANSLATED);
	assert_int_equal (p.first_instance, 1);
	assert_int_equal (p.instance, 2);
	assert_int_equal (fx_count (e, 1, "handed_over"), 1);
	assert_int_equal (fx_count (e, 2, "handed_in"), 1);
	mvt_engine_free (e);
}

static void
hairpin_leaves_by_the_inside (void **state)
{
	(void) state;
	fx_policy_t policy;
	fx_policy (&policy, 1, 0, 2);
	mvt_engine_config_t config = fx_config (&policy, 4, 4);
	mvt_engine_t *e = fx_new (&config);
	bool crossed = false;

	for (uint32_t host = 1; host < 40; host++)
	{
		mvt_endpoint_t ext, from;
		mvt_engine_packet_t a = fx_udp (e, host, 1000, &ext);
		mvt_engine_packet_t mine = fx_udp (e, 100 + host, 2000, &from);
		build_t b = { .src = FX_INSIDE + 100 + host,
			      .dst = ext.addr,
			      .sport = 2000,
			      .dport = ext.port,
			      .ip_proto = UDP,
			      .payload = 3 };
		built_t built = build_packet (&b);
		mvt_engine_packet_t p = fx_send (e, &built, MVT_IN2OUT);
		assert_int_equal (p.verdict, MVT_VERDICT_TRANSLATED);
		assert_int_equal (p.dir, MVT_OUT2IN);
		assert_int_equal (p.instance, a.instance);
		crossed |= mine.instance != a.instance;
		/* the filter and the host see the external source (RFC 4787 REQ-9a) */
		assert_int_equal (mvt_load32 (built.p + 12), from.addr);
		assert_int_equal (mvt_load16 (built.p + 20), from.port);
		assert_int_equal (mvt_load32 (built.p + 16), FX_INSIDE + host);
		assert_int_equal (mvt_load16 (built.p + 22), 1000);
		free (built.p);
	}
	assert_true (crossed);
	mvt_engine_free (e);
}

static void
fragments_wait_for_their_first (void **state)
{
	(void) state;
	fx_policy_t policy;
	fx_policy (&policy, 1, 0, 1);
	mvt_engine_config_t config = fx_config (&policy, 2, 2);
	mvt_engine_t *e = fx_new (&config);
	build_t b = { .src = FX_INSIDE + 5,
		      .dst = FX_REMOTE,
		      .sport = 99,
		      .dport = 53,
		      .ip_id = 77,
		      .ip_proto = UDP,
		      .payload = 16 };
	mvt_engine_packet_t late[4], p;

	b.frag = 3;
	built_t second = build_packet (&b);
	b.frag = 0x2000;
	built_t first = build_packet (&b);

	/* in one step: both have their verdict */
	mvt_engine_packet_t both[2] = { fx_packet (&second, MVT_IN2OUT),
					fx_packet (&first, MVT_IN2OUT) };
	assert_int_equal (mvt_engine_step (e, both, 2), 0);
	assert_int_equal (both[0].verdict, MVT_VERDICT_TRANSLATED);
	assert_int_equal (both[1].verdict, MVT_VERDICT_TRANSLATED);
	assert_int_equal (mvt_engine_late (e, late, 4), 0);
	free (second.p);
	free (first.p);

	/* in two: the second is late */
	b.ip_id = 78;
	b.frag = 3;
	second = build_packet (&b);
	b.frag = 0x2000;
	first = build_packet (&b);
	p = fx_packet (&second, MVT_IN2OUT);
	p.cookie = 4711;
	assert_int_equal (mvt_engine_step (e, &p, 1), 0);
	assert_int_equal (p.verdict, MVT_VERDICT_HELD);
	assert_int_equal (mvt_engine_late (e, late, 4), 0);
	p = fx_send (e, &first, MVT_IN2OUT);
	assert_int_equal (p.verdict, MVT_VERDICT_TRANSLATED);
	assert_int_equal (mvt_engine_late (e, late, 4), 1);
	assert_int_equal (late[0].verdict, MVT_VERDICT_TRANSLATED);
	assert_int_equal (late[0].cookie, 4711);
	assert_ptr_equal (late[0].data, second.p);
	assert_int_equal (mvt_load32 (second.p + 12), mvt_load32 (first.p + 12));
	free (first.p);
	free (second.p);

	/* the first never comes */
	b.ip_id = 79;
	b.frag = 3;
	second = build_packet (&b);
	p = fx_send (e, &second, MVT_IN2OUT);
	assert_int_equal (p.verdict, MVT_VERDICT_HELD);
	assert_int_equal (mvt_engine_advance (e, 2), 0);
	assert_int_equal (mvt_engine_late (e, late, 4), 0);
	assert_int_equal (mvt_engine_advance (e, 1), 0);
	assert_int_equal (mvt_engine_late (e, late, 4), 1);
	assert_int_equal (late[0].verdict, MVT_VERDICT_DROPPED);
	assert_int_equal (late[0].reason, MVT_DROP_FRAGMENT_TIMEOUT);
	free (second.p);
	mvt_engine_free (e);
}

/* The same packets give the same bytes, verdicts and instances; another seed gives other ports. */
static void
steps_are_deterministic (void **state)
{
	(void) state;
	uint64_t digest[3] = { 0 };

	for (unsigned run = 0; run < 3; run++)
	{
		fx_policy_t policy;
		fx_policy (&policy, 1, 0, 2);
		mvt_engine_config_t config = fx_config (&policy, 3, 4);
		config.seed[0] += run == 2;
		mvt_engine_t *e = fx_new (&config);
		uint64_t random = 42;

		for (uint32_t step = 0; step < 50; step++)
		{
			mvt_engine_packet_t packets[300];
			built_t built[300];
			for (uint32_t i = 0; i < 300; i++)
			{
				build_t b = { .src = FX_INSIDE + build_random (&random) % 500,
					      .dst = FX_REMOTE + build_random (&random) % 100,
					      .sport = (uint16_t) (1 + build_random (&random) % 50),
					      .dport = 80,
					      .ip_proto = build_random (&random) % 2 ? UDP : TCP,
					      .tcp_flags = 2 };
				built[i] = build_packet (&b);
				packets[i] = fx_packet (&built[i], MVT_IN2OUT);
			}
			assert_int_equal (mvt_engine_step (e, packets, 300), 0);
			for (uint32_t i = 0; i < 300; i++)
			{
				uint64_t h = packets[i].verdict + 8u * packets[i].instance;
				for (uint32_t at = 0; at < built[i].len; at++)
					h = h * 1099511628211ull + built[i].p[at];
				digest[run] = digest[run] * 1099511628211ull + h;
				free (built[i].p);
			}
			assert_int_equal (mvt_engine_set_tick (e, step), 0);
		}
		mvt_engine_free (e);
	}
	assert_int_equal (digest[0], digest[1]);
	assert_int_not_equal (digest[0], digest[2]);
}

/* ---- time ---- */

static void
mappings_expire_with_the_clock (void **state)
{
	(void) state;
	fx_policy_t policy;
	fx_policy (&policy, 1, 0, 1);
	mvt_engine_config_t config = fx_config (&policy, 2, 2);
	mvt_engine_t *e = fx_new (&config);
	mvt_endpoint_t ext;

	fx_udp (e, 1, 1, &ext);
	assert_int_equal (mvt_engine_advance (e, 300), 0);
	assert_int_equal (mvt_engine_now (e), 300);
	assert_int_equal (fx_sum (e, "mappings"), 1);
	assert_int_equal (mvt_engine_advance (e, 1), 0);
	assert_int_equal (fx_sum (e, "mappings"), 0);
	assert_int_equal (fx_answer (e, &ext, NULL).reason, MVT_DROP_NO_MAPPING);
	assert_int_equal (mvt_engine_set_tick (e, 300), MVT_ERR_INVALID);
	assert_int_equal (mvt_engine_set_tick (e, 301), MVT_OK);
	assert_int_equal (mvt_engine_start (e), MVT_ERR_UNSUPPORTED);
	mvt_engine_free (e);
}

/* ---- refill ---- */

/* New flows until nothing is left. Returns how many were translated. */
static uint32_t
exhaust (mvt_engine_t *e, uint32_t hosts, uint32_t limit)
{
	uint32_t good = 0, vain = 0;

	for (uint32_t flow = 0; flow < limit && vain < 2000;)
	{
		mvt_engine_packet_t packets[256];
		built_t built[256];
		for (uint32_t i = 0; i < 256; i++, flow++)
		{
			build_t b = { .src = FX_INSIDE + 1 + flow % hosts,
				      .dst = FX_REMOTE,
				      .sport = (uint16_t) (1 + flow / hosts),
				      .dport = 53,
				      .ip_proto = UDP };
			built[i] = build_packet (&b);
			packets[i] = fx_packet (&built[i], MVT_IN2OUT);
		}
		mvt_engine_step (e, packets, 256);
		for (uint32_t i = 0; i < 256; i++)
		{
			if (packets[i].verdict == MVT_VERDICT_TRANSLATED)
				good++, vain = 0;
			else
			{
				assert_int_equal (packets[i].reason, MVT_DROP_OUT_OF_PORTS);
				vain++;
			}
			free (built[i].p);
		}
	}
	return good;
}

/* All load on one of four instances: 99.9 % of the pool can be used. */
static void
one_instance_can_use_the_whole_pool (void **state)
{
	(void) state;
	static const uint32_t addresses[] = { 1, 4 };

	for (unsigned i = 0; i < 2; i++)
	{
		fx_policy_t policy;
		fx_policy (&policy, 1, 0, addresses[i]);
		mvt_engine_config_t config = fx_config (&policy, 4, 4);
		config.max_mappings = 300000;
		mvt_engine_t *e = fx_new (&config);
		uint32_t all = addresses[i] * 64512, used;

		assert_int_equal (fx_home (e, 1, 2, NULL, 0, 1), 0);
		used = exhaust (e, 500, all + all / 4);
		if (used < all - all / 1000)
			fail_msg ("%u of %u", used, all);
		assert_int_equal (fx_count (e, 2, "mappings"), used);
		assert_int_equal (fx_dropped (e, MVT_DROP_OUT_OF_MAPPINGS), 0);
		mvt_engine_free (e);
	}
}

/* Hosts that may use one address only: the instance is rich, but not in blocks of that address. */
static void
an_exhausted_address_is_refilled (void **state)
{
	(void) state;
	fx_policy_t policy;
	fx_policy (&policy, 1, 0, 4);
	policy.policy.paired_only = 1;
	mvt_engine_config_t config = fx_config (&policy, 4, 4);
	mvt_engine_t *e = fx_new (&config);
	mvt_endpoint_t ext;
	uint32_t hosts[64], n = 0, good = 0, vain = 0;

	assert_int_equal (fx_home (e, 1, 1, NULL, 0, 1), 0);
	for (uint32_t h = 1; n < 64; h++)
	{
		fx_udp (e, h, 1, &ext);
		if (ext.addr == FX_POOL + 2)
			hosts[n++] = h;
	}
	for (uint32_t flow = 0; vain < 1000; flow++)
	{
		mvt_engine_packet_t p =
			fx_udp (e, hosts[flow % 64], (uint16_t) (2 + flow / 64), &ext);
		if (p.verdict == MVT_VERDICT_TRANSLATED)
			good++, vain = 0;
		else
			vain++;
	}
	if (good + 64 < 64512 - 64)
		fail_msg ("%u of 64512", good + 64);
	mvt_engine_free (e);
}

/* ---- scale out and in ---- */

/* An instance that drains serves new hosts until they are sent elsewhere. */
static void
draining_ends_after_the_last_rule (void **state)
{
	(void) state;
	fx_policy_t policy;
	fx_policy (&policy, 1, 0, 1);
	mvt_engine_config_t config = fx_config (&policy, 2, 2);
	mvt_engine_t *e = fx_new (&config);
	mvt_home_range_t all = { .table = MVT_NONE, .instance = 0 };
	mvt_home_desc_t rules = { .version = 2, .ranges = &all, .n_ranges = 1 };

	assert_int_equal (fx_home (e, 1, 1, NULL, 0, 1), 0);
	assert_int_equal (mvt_engine_drain (e, 1), 0);
	for (uint32_t i = 0; i < 10; i++)
		mvt_engine_advance (e, 1);
	assert_int_equal (fx_snapshot (e, 1).state, MVT_INSTANCE_DRAINING);
	assert_true (fx_count (e, 1, "blocks_free") > 0);
	assert_true (fx_count (e, 1, "blocks_free") < 200);
	assert_int_equal (fx_udp (e, 1, 1, NULL).instance, 1);
	mvt_engine_advance (e, 301);
	assert_int_equal (fx_home (e, 2, 0, NULL, 0, 0), 0);
	mvt_engine_advance (e, 1);
	assert_int_equal (fx_snapshot (e, 1).state, MVT_INSTANCE_DRAINING);
	assert_int_equal (mvt_engine_set_rules (e, &rules), 0);
	mvt_engine_advance (e, 1);
	assert_int_equal (fx_snapshot (e, 1).state, MVT_INSTANCE_SPARE);
	/* and back again */
	assert_int_equal (mvt_engine_activate (e, 1), 0);
	assert_true (mvt_engine_shard (e, 0, 1, 50) > 400);
	assert_int_equal (fx_home (e, 3, 1, NULL, 0, 1), 0);
	assert_int_equal (fx_udp (e, 1, 1, NULL).instance, 1);
	mvt_engine_free (e);
}

static void
scale_out_and_in_changes_no_mapping (void **state)
{
	(void) state;
	fx_policy_t policy;
	fx_policy (&policy, 1, 0, 2);
	mvt_engine_config_t config = fx_config (&policy, 1, 3);
	mvt_engine_t *e = fx_new (&config);
	mvt_endpoint_t ext[300], again, in;
	mvt_home_range_t moved = { .prefix = { FX_INSIDE + 128, 25, { 0 } },
				   .instance = 1,
				   .table = MVT_NONE };
	uint64_t free_before;

	for (uint32_t h = 0; h < 100; h++)
		fx_udp (e, h, 9, &ext[h]);
	free_before = fx_count (e, 0, "blocks_free");
	/* nothing is sent to an instance that is not there */
	assert_int_equal (mvt_engine_transfer (e, 0, 1, MVT_NONE, 5), MVT_ERR_INVALID);
	assert_int_equal (fx_home (e, 1, 0, &moved, 1, 0), MVT_ERR_INVALID);
	assert_int_equal (fx_home (e, 1, 7, NULL, 0, 0), MVT_ERR_INVALID);
	assert_int_equal (mvt_engine_home_version (e), 0);
	assert_int_equal (mvt_engine_activate (e, 1), 0);
	assert_int_equal (mvt_engine_activate (e, 1), 0);
	assert_int_equal (mvt_engine_activate (e, 3), MVT_ERR_INVALID);
	assert_int_equal (fx_snapshot (e, 1).state, MVT_INSTANCE_ACTIVE);
	/* it has nothing until it is given something */
	mvt_engine_step (e, NULL, 0);
	assert_int_equal (fx_count (e, 1, "blocks"), 0);
	assert_int_equal (mvt_engine_shard (e, 0, 1, 80), free_before * 80 / 100);
	assert_int_equal (fx_count (e, 1, "blocks_free"), free_before * 80 / 100);
	assert_int_equal (mvt_engine_shard (e, 0, 1, 101), MVT_ERR_INVALID);
	assert_int_equal (mvt_engine_shard (e, 0, 0, 10), MVT_ERR_INVALID);

	/* hosts without mappings move: no beats are needed for them */
	assert_int_equal (fx_home (e, 2, 0, &moved, 1, 1), 0);
	assert_int_equal (fx_home (e, 1, 0, NULL, 0, 0), MVT_ERR_STALE);
	assert_int_equal (fx_home (e, 2, 0, NULL, 0, 0), 0);
	assert_int_equal (mvt_engine_home_version (e), 2);
	assert_int_equal (fx_udp (e, 200, 9, &ext[200]).instance, 1);
	for (uint32_t h = 0; h < 100; h++)
	{
		assert_int_equal (fx_udp (e, h, 9, &again).instance, 0);
		assert_memory_equal (&again, &ext[h], sizeof again);
	}

	/* back: 1 drains, keeps its mapping as long as it lives, then is spare */
	assert_int_equal (mvt_engine_drain (e, 1), 0);
	assert_int_equal (mvt_engine_drain (e, 1), 0);
	assert_int_equal (mvt_engine_drain (e, 0), MVT_ERR_IN_USE);
	assert_int_equal (fx_udp (e, 201, 9, &ext[201]).instance, 1);
	assert_int_equal (fx_home (e, 3, 0, NULL, 0, 1), 0);
	mvt_engine_step (e, NULL, 0);
	assert_int_equal (fx_count (e, 1, "blocks_free"), 0);
	assert_int_equal (fx_snapshot (e, 1).state, MVT_INSTANCE_DRAINING);
	assert_int_equal (fx_answer (e, &ext[200], &in).verdict, MVT_VERDICT_TRANSLATED);
	assert_int_equal (in.addr, FX_INSIDE + 200);
	for (uint32_t h = 0; h < 100; h++)
		fx_udp (e, h, 9, &again);
	mvt_engine_advance (e, 200);
	for (uint32_t h = 0; h < 100; h++)
		fx_udp (e, h, 9, &again);
	mvt_engine_advance (e, 200);
	mvt_engine_step (e, NULL, 0);
	assert_int_equal (fx_snapshot (e, 1).state, MVT_INSTANCE_SPARE);
	assert_int_equal (fx_count (e, 1, "blocks"), 0);
	assert_int_equal (fx_count (e, 0, "blocks"), 2 * 1024);
	/* counters outlive the instance */
	assert_int_equal (fx_count (e, 1, "mappings_created"), 2);
	assert_int_equal (fx_count (e, 1, "mappings_expired"), 2);
	for (uint32_t h = 0; h < 100; h++)
	{
		assert_int_equal (fx_udp (e, h, 9, &again).verdict, MVT_VERDICT_TRANSLATED);
		assert_memory_equal (&again, &ext[h], sizeof again);
	}
	mvt_engine_free (e);
}

static void
reset_drops_mappings_and_keeps_blocks (void **state)
{
	(void) state;
	fx_policy_t policy;
	fx_policy (&policy, 1, 0, 1);
	mvt_engine_config_t config = fx_config (&policy, 2, 2);
	mvt_engine_t *e = fx_new (&config);
	mvt_endpoint_t ext[20];
	mvt_event_t events[64];
	uint64_t blocks[2], mine = 0, ended = 0;

	for (uint32_t h = 0; h < 20; h++)
		mine += fx_udp (e, h, 3, &ext[h]).instance == 1;
	assert_true (mine > 0 && mine < 20);
	for (uint32_t i = 0; i < 2; i++)
		blocks[i] = fx_count (e, i, "blocks");
	assert_int_equal (fx_snapshot (e, 1).epoch, 1);
	assert_int_equal (mvt_engine_reset_instance (e, 1), 0);
	assert_int_equal (fx_snapshot (e, 1).epoch, 2);
	for (uint32_t i = 0; i < 2; i++)
		assert_int_equal (fx_count (e, i, "blocks"), blocks[i]);
	assert_int_equal (fx_sum (e, "mappings"), 20 - mine);
	assert_int_equal (fx_count (e, 1, "mappings_created"), mine);
	assert_int_equal (fx_count (e, 1, "mappings_deleted"), mine);
	for (uint32_t n; (n = mvt_engine_events (e, events, 64)) > 0;)
		for (uint32_t i = 0; i < n; i++)
			ended += events[i].type == MVT_EVENT_MAPPING_ENDED;
	assert_int_equal (ended, mine);
	for (uint32_t h = 0; h < 20; h++)
		assert_int_equal (fx_udp (e, h, 3, &ext[h]).verdict, MVT_VERDICT_TRANSLATED);
	mvt_engine_free (e);
}

/* DESIGN 5: after a takeover blocks wait the hold-down before others use them, because answers to
 * the mappings that ended are still under way. */
static void
blocks_rest_after_a_takeover (void **state)
{
	(void) state;
	fx_policy_t policy;
	fx_policy (&policy, 1, 0, 1);
	mvt_engine_config_t config = fx_config (&policy, 1, 1);
	config.hold_seconds = 120;
	config.hold_share_1024 = 102;
	mvt_engine_t *e = fx_new (&config);
	static uint8_t resting[1024];
	mvt_endpoint_t ext;
	uint64_t blocks = fx_count (e, 0, "blocks"), n_resting = 0;

	memset (resting, 0, sizeof resting);
	for (uint32_t h = 0; h < 500; h++)
	{
		fx_udp (e, h, 3, &ext);
		n_resting += !resting[ext.port / 64];
		resting[ext.port / 64] = 1;
	}
	assert_int_equal (mvt_engine_reset_instance (e, 0), 0);
	assert_int_equal (fx_sum (e, "mappings"), 0);
	assert_int_equal (fx_count (e, 0, "blocks"), blocks - n_resting);
	for (uint32_t h = 0; h < 3000; h++)
	{
		assert_int_equal (fx_udp (e, h, 4, &ext).verdict, MVT_VERDICT_TRANSLATED);
		assert_false (resting[ext.port / 64]);
	}
	mvt_engine_advance (e, 119);
	mvt_engine_step (e, NULL, 0);
	assert_int_equal (fx_count (e, 0, "blocks"), blocks - n_resting);
	mvt_engine_advance (e, 1);
	mvt_engine_step (e, NULL, 0);
	mvt_engine_step (e, NULL, 0);
	assert_int_equal (fx_count (e, 0, "blocks"), blocks);
	mvt_engine_free (e);
}

/* ---- addresses ---- */

static void
removed_addresses_drain_then_go (void **state)
{
	(void) state;
	fx_policy_t policy, less, other;
	fx_policy (&policy, 1, 0, 2);
	mvt_engine_config_t config = fx_config (&policy, 2, 2);
	mvt_engine_t *e = fx_new (&config);
	mvt_endpoint_t ext[50], now;
	mvt_pool_run_t runs[4];
	uint32_t on_first = 0, first = MVT_NONE;

	for (uint32_t h = 0; h < 50; h++)
	{
		fx_udp (e, h, 3, &ext[h]);
		if (ext[h].addr == FX_POOL)
			on_first++, first = h;
	}
	assert_true (on_first > 0 && on_first < 50);
	fx_policy (&less, 2, 1, 1);
	assert_int_equal (mvt_engine_set_policy (e, &less.desc, 0), 0);
	assert_int_equal (mvt_engine_set_policy (e, &less.desc, 0), 0);
	assert_int_equal (mvt_engine_set_policy (e, &policy.desc, 0), MVT_ERR_STALE);
	assert_int_equal (mvt_engine_slots (e, runs, 4), 2);
	assert_int_equal (runs[0].draining, 1);
	/* what lives goes on, what is new goes elsewhere */
	assert_int_equal (fx_answer (e, &ext[first], NULL).verdict, MVT_VERDICT_TRANSLATED);
	fx_udp (e, first, 3, &now);
	assert_int_equal (now.addr, FX_POOL);
	for (uint32_t h = 0; h < 50; h++)
	{
		assert_int_equal (fx_udp (e, h, 4, &now).verdict, MVT_VERDICT_TRANSLATED);
		assert_int_equal (now.addr, FX_POOL + 1);
	}
	/* its slot may not become another address while it drains */
	fx_policy (&other, 3, 0, 2);
	other.runs[0].first = FX_POOL + 1;
	assert_int_equal (mvt_engine_set_policy (e, &other.desc, 0), MVT_ERR_IN_USE);
	mvt_engine_advance (e, 301);
	mvt_engine_step (e, NULL, 0);
	assert_int_equal (mvt_engine_slots (e, runs, 4), 1);
	assert_int_equal (runs[0].first, FX_POOL + 1);
	assert_int_equal (fx_answer (e, &ext[first], NULL).verdict, MVT_VERDICT_PASSED);

	/* and it may come back */
	fx_policy (&other, 4, 0, 2);
	assert_int_equal (mvt_engine_set_policy (e, &other.desc, 0), 0);
	on_first = 0;
	for (uint32_t h = 0; h < 50; h++)
	{
		assert_int_equal (fx_udp (e, h, 5, &now).verdict, MVT_VERDICT_TRANSLATED);
		on_first += now.addr == FX_POOL;
	}
	assert_true (on_first > 0);
	mvt_engine_free (e);
}

static void
forced_removal_ends_mappings (void **state)
{
	(void) state;
	fx_policy_t policy, less;
	fx_policy (&policy, 1, 0, 5);
	mvt_engine_config_t config = fx_config (&policy, 2, 2);
	mvt_engine_t *e = fx_new (&config);
	mvt_endpoint_t ext[100];
	mvt_pool_run_t runs[4];
	uint32_t kept = 0;

	for (uint32_t h = 0; h < 100; h++)
	{
		fx_udp (e, h, 3, &ext[h]);
		kept += ext[h].addr == FX_POOL + 4;
	}
	fx_policy (&less, 2, 4, 1);
	assert_int_equal (mvt_engine_set_policy (e, &less.desc, 1), 0);
	assert_int_equal (fx_sum (e, "mappings"), kept);
	assert_int_equal (fx_sum (e, "mappings_deleted"), 100 - kept);
	assert_int_equal (mvt_engine_slots (e, runs, 4), 1);
	mvt_engine_free (e);
}

static void
added_addresses_are_shared_out (void **state)
{
	(void) state;
	fx_policy_t policy, more;
	fx_policy (&policy, 1, 0, 1);
	mvt_engine_config_t config = fx_config (&policy, 2, 3);
	mvt_engine_t *e = fx_new (&config);

	fx_policy (&more, 2, 0, 3);
	assert_int_equal (mvt_engine_set_policy (e, &more.desc, 0), 0);
	assert_int_equal (fx_count (e, 0, "blocks_free"), 3 * 1008 / 2);
	assert_int_equal (fx_count (e, 1, "blocks_free"), 3 * 1008 / 2);
	assert_int_equal (fx_sum (e, "blocks"), 3 * 1024);
	mvt_engine_free (e);
}

/* ---- static mappings ---- */

/* A static mapping lives where its external endpoint belongs; packets of its host find it there
 * whatever the host's home is, also after that instance is gone. */
static void
static_mapping_is_found_from_everywhere (void **state)
{
	(void) state;
	fx_policy_t policy;
	fx_policy (&policy, 1, 0, 1);
	mvt_engine_config_t config = fx_config (&policy, 3, 3);
	mvt_engine_t *e = fx_new (&config);
	mvt_endpoint_t now, in;
	mvt_job_t add = { .op = MVT_JOB_STATIC_ADD,
			  .external_endpoint = { FX_POOL, 443, MVT_PROTO_UDP, 0 } };
	mvt_job_t del = { .op = MVT_JOB_STATIC_DEL,
			  .external_endpoint = { FX_POOL, 443, MVT_PROTO_UDP, 0 } };
	uint16_t owner;

	/* a dynamic mapping of the same endpoint, at every instance once */
	for (uint16_t home = 0; home < 3; home++)
	{
		assert_int_equal (fx_home (e, home + 1, home, NULL, 0, 1), 0);
		assert_int_equal (fx_udp (e, 80, 8443, &now).instance, home);
		add.inside_endpoint = (mvt_endpoint_t){ FX_INSIDE + 80, 8443, MVT_PROTO_UDP, 0 };
		assert_int_equal (mvt_engine_job (e, MVT_NO_INSTANCE, &add), 0);
		assert_int_equal (mvt_engine_job (e, MVT_NO_INSTANCE, &add), 0);
		assert_int_equal (fx_sum (e, "mappings"), 1);
		owner = fx_udp (e, 80, 8443, &now).instance;
		assert_int_equal (now.addr, FX_POOL);
		assert_int_equal (now.port, 443);
		assert_int_equal (fx_answer (e, &now, &in).instance, owner);
		assert_int_equal (in.port, 8443);
		/* what is taken is taken */
		add.inside_endpoint.port = 1;
		assert_int_equal (mvt_engine_job (e, MVT_NO_INSTANCE, &add), MVT_ERR_IN_USE);
		if (home < 2)
			assert_int_equal (mvt_engine_job (e, MVT_NO_INSTANCE, &del), 0);
	}
	assert_int_equal (mvt_engine_reset_instance (e, owner), 0);
	assert_int_equal (fx_udp (e, 80, 8443, &now).verdict, MVT_VERDICT_TRANSLATED);
	assert_int_equal (now.port, 443);
	/* its instance goes: the mapping goes on elsewhere */
	assert_int_equal (fx_home (e, 9, (uint16_t) ((owner + 1) % 3), NULL, 0, 1), 0);
	assert_int_equal (mvt_engine_drain (e, owner), 0);
	mvt_engine_advance (e, 3);
	mvt_engine_step (e, NULL, 0);
	assert_int_equal (fx_snapshot (e, owner).state, MVT_INSTANCE_SPARE);
	assert_int_not_equal (fx_udp (e, 80, 8443, &now).instance, owner);
	assert_int_equal (now.port, 443);
	assert_int_equal (fx_answer (e, &now, &in).verdict, MVT_VERDICT_TRANSLATED);
	assert_int_equal (in.addr, FX_INSIDE + 80);
	assert_int_equal (mvt_engine_job (e, MVT_NO_INSTANCE, &del), 0);
	assert_int_equal (mvt_engine_job (e, MVT_NO_INSTANCE, &del), MVT_ERR_NOT_FOUND);
	assert_int_equal (fx_sum (e, "mappings"), 0);
	mvt_engine_free (e);
}

static void
jobs_are_for_what_callers_may_ask (void **state)
{
	(void) state;
	fx_policy_t policy;
	fx_policy (&policy, 1, 0, 1);
	mvt_engine_config_t config = fx_config (&policy, 1, 2);
	mvt_engine_t *e = fx_new (&config);
	mvt_mapping_info_t info[8];
	mvt_job_t list = { .op = MVT_JOB_LIST_MAPPINGS, .max = 8, .out.mappings = info };
	mvt_job_t take = { .op = MVT_JOB_TAKE_BLOCKS };

	fx_udp (e, 1, 2, NULL);
	fx_udp (e, 2, 2, NULL);
	assert_int_equal (mvt_engine_job (e, 0, &list), 0);
	assert_int_equal (list.n, 2);
	assert_true (list.cursor == UINT64_MAX);
	list.cursor = 0;
	assert_int_equal (mvt_engine_job (e, 1, &list), 0); /* spare */
	assert_int_equal (list.n, 0);
	assert_true (list.cursor == UINT64_MAX);
	assert_int_equal (mvt_engine_job (e, 2, &list), MVT_ERR_INVALID);
	assert_int_equal (mvt_engine_job (e, 0, &take), MVT_ERR_UNSUPPORTED);
	mvt_engine_free (e);
}

/* Two blocks for three instances: whoever has none is given one before its first flow, which is
 * not lost; the third finds none that is free, and only then is it lost. */
static void
a_starved_instance_is_fed_before_its_batch (void **state)
{
	(void) state;
	fx_policy_t policy;
	fx_policy (&policy, 1, 0, 1);
	mvt_engine_config_t config = fx_config (&policy, 3, 3);
	uint64_t ports[1024] = { 0 };

	memset (ports + 512, 0xff, 512 * sizeof *ports); /* 32768 to 65535 */
	config.allocatable = ports;
	config.block_size = 16384;
	mvt_engine_t *e = fx_new (&config);
	mvt_home_range_t more[2] = {
		{ .prefix = { FX_INSIDE + (1 << 16), 16, { 0 } },
		  .table = MVT_NONE,
		  .instance = 1 },
		{ .prefix = { FX_INSIDE + (2 << 16), 16, { 0 } }, .table = MVT_NONE, .instance = 2 }
	};
	uint32_t translated = 0;

	assert_int_equal (fx_home (e, 1, 0, more, 2, 1), 0);
	for (uint32_t i = 3; i-- > 0;)
		translated +=
			fx_udp (e, (i << 16) + 1, 1000, NULL).verdict == MVT_VERDICT_TRANSLATED;
	assert_int_equal (translated, 2);
	assert_int_equal (fx_dropped (e, MVT_DROP_OUT_OF_PORTS), 1);
	mvt_engine_free (e);
}

int
main (void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test (bad_configurations_are_refused),
		cmocka_unit_test (pool_is_shared_out_evenly),
		cmocka_unit_test (packets_go_there_and_back),
		cmocka_unit_test (wrong_rules_are_put_right),
		cmocka_unit_test (hairpin_leaves_by_the_inside),
		cmocka_unit_test (fragments_wait_for_their_first),
		cmocka_unit_test (steps_are_deterministic),
		cmocka_unit_test (mappings_expire_with_the_clock),
		cmocka_unit_test (one_instance_can_use_the_whole_pool),
		cmocka_unit_test (an_exhausted_address_is_refilled),
		cmocka_unit_test (draining_ends_after_the_last_rule),
		cmocka_unit_test (scale_out_and_in_changes_no_mapping),
		cmocka_unit_test (reset_drops_mappings_and_keeps_blocks),
		cmocka_unit_test (blocks_rest_after_a_takeover),
		cmocka_unit_test (removed_addresses_drain_then_go),
		cmocka_unit_test (forced_removal_ends_mappings),
		cmocka_unit_test (added_addresses_are_shared_out),
		cmocka_unit_test (static_mapping_is_found_from_everywhere),
		cmocka_unit_test (jobs_are_for_what_callers_may_ask),
		cmocka_unit_test (a_starved_instance_is_fed_before_its_batch),
	};
	return cmocka_run_group_tests (tests, NULL, NULL);
}

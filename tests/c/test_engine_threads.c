/* SPDX-License-Identifier: Apache-2.0
 * The engine with its threads: traffic in memory while everything that control can do happens
 * beside it. Built for ThreadSanitizer as well. HASHMVT_STRESS_SECONDS prolongs the stress.
 * What must come about is waited for: PATIENCE only ends a test that would not end. */
#include "engine_fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define HOSTS	 64u
#define PORTS	 16u
#define FLOWS	 (HOSTS * PORTS)
#define WINDOW	 256u /* packets under way: below every ring's size, so none may be lost */
#define BUF	 65536u
#define ANSWER	 (1ull << 32)
#define PATIENCE 60.0 /* seconds */

static double
seconds (void)
{
	struct timespec ts;
	clock_gettime (CLOCK_MONOTONIC, &ts);
	return (double) ts.tv_sec + (double) ts.tv_nsec / 1e9;
}

static double
stress_seconds (void)
{
	const char *s = getenv ("HASHMVT_STRESS_SECONDS");
	return s ? atof (s) : 2.0;
}

static mvt_engine_t *
threaded_holding (fx_policy_t *policy, uint32_t initial, uint32_t max, uint32_t hold_seconds)
{
	mvt_engine_config_t config = fx_config (policy, initial, max);
	config.stepped = 0;
	config.hold_seconds = hold_seconds;
	config.hold_share_1024 = 102;
	mvt_engine_t *e = fx_new (&config);
	assert_int_equal (mvt_engine_start (e), 0);
	return e;
}

static mvt_engine_t *
threaded (fx_policy_t *policy, uint32_t initial, uint32_t max)
{
	return threaded_holding (policy, initial, max, 0);
}

static uint64_t
all_drops (mvt_engine_t *e, bool silent)
{
	mvt_instance_snapshot_t all[MVT_HOME_INSTANCES];
	uint32_t n = mvt_engine_snapshot (e, all, MVT_HOME_INSTANCES);
	uint64_t sum = 0;

	for (uint32_t i = 0; i < n; i++)
	{
		sum += all[i].ring_dropped + all[i].io_errors;
		for (uint32_t d = 0; d < MVT_DROP_N; d++)
		{
			if (all[i].dropped[d] && !silent)
				fprintf (stderr, "instance %u dropped %llu: %s\n", i,
					 (unsigned long long) all[i].dropped[d], mvt_drop_name (d));
			sum += all[i].dropped[d];
		}
		if ((all[i].ring_dropped || all[i].io_errors) && !silent)
			fprintf (stderr, "instance %u: ring %llu, io %llu\n", i,
				 (unsigned long long) all[i].ring_dropped,
				 (unsigned long long) all[i].io_errors);
	}
	return sum;
}

/* ---- traffic that checks itself ---- */

typedef struct
{
	mvt_engine_t *e;
	mvt_endpoint_t ext[FLOWS];
	uint64_t sent, got, changed;
	uint32_t next;
} traffic_t;

static void
inject_one (traffic_t *t, const build_t *b, uint8_t dir, uint64_t cookie)
{
	built_t p = build_packet (b);
	mvt_engine_packet_t packet = fx_packet (&p, dir);
	double until = seconds () + PATIENCE;

	packet.cookie = cookie;
	while (mvt_engine_inject (t->e, &packet, 1) == 0)
	{
		if (seconds () > until)
			fail_msg ("a packet was not accepted for %.0f s", PATIENCE);
		usleep (100);
	}
	t->sent++;
	free (p.p);
}

static void
send_flow (traffic_t *t, uint32_t flow)
{
	build_t b = { .src = FX_INSIDE + 1 + flow % HOSTS,
		      .dst = FX_REMOTE + 9,
		      .sport = (uint16_t) (1000 + flow / HOSTS),
		      .dport = 53,
		      .ip_proto = UDP,
		      .payload = 20 };
	inject_one (t, &b, MVT_IN2OUT, flow);
}

static void
receive (traffic_t *t, const mvt_engine_packet_t *p)
{
	uint32_t flow = (uint32_t) p->cookie;

	t->got++;
	assert_int_equal (p->verdict, MVT_VERDICT_TRANSLATED);
	if (p->cookie & ANSWER)
	{
		assert_int_equal (p->dir, MVT_OUT2IN);
		assert_int_equal (mvt_load32 (p->data + 16), FX_INSIDE + 1 + flow % HOSTS);
		assert_int_equal (mvt_load16 (p->data + 22), 1000 + flow / HOSTS);
		return;
	}
	mvt_endpoint_t ext = { .addr = mvt_load32 (p->data + 12),
			       .port = mvt_load16 (p->data + 20) };
	if (t->ext[flow].addr && memcmp (&ext, &t->ext[flow], sizeof ext) != 0)
		t->changed++;
	t->ext[flow] = ext;
	build_t b = { .src = FX_REMOTE + 9,
		      .dst = ext.addr,
		      .sport = 53,
		      .dport = ext.port,
		      .ip_proto = UDP,
		      .payload = 20 };
	inject_one (t, &b, MVT_OUT2IN, flow | ANSWER);
}

/* Keep the window full; with `drain` only wait for what is under way. */
static void
traffic (traffic_t *t, bool drain)
{
	static uint8_t buf[BUF];
	mvt_engine_packet_t packets[64];
	uint32_t n;

	while (!drain && t->sent - t->got < WINDOW / 2)
		send_flow (t, t->next++ % FLOWS);
	n = mvt_engine_collect (t->e, packets, 64, buf, BUF, 100);
	for (uint32_t i = 0; i < n; i++)
		receive (t, &packets[i]);
}

static void
finish (traffic_t *t)
{
	double until = seconds () + PATIENCE;
	while (t->got < t->sent && seconds () < until)
		traffic (t, true);
}

/* The same where packets may be lost: those count, too. */
static void
finish_lossy (traffic_t *t)
{
	double until = seconds () + PATIENCE;
	while (t->got + all_drops (t->e, true) < t->sent && seconds () < until)
		traffic (t, true);
}

/* ---- control beside it ---- */

typedef struct
{
	mvt_engine_t *e;
	_Atomic bool stop;
	_Atomic uint32_t rounds, spare;
	bool reset;
} control_t;

static void *
control_main (void *arg)
{
	control_t *c = arg;
	uint64_t random = 7, version = 10, generation = 10;
	static mvt_mapping_info_t info[512];
	mvt_home_range_t idle = { .prefix = { FX_INSIDE + (99 << 16), 16, { 0 } },
				  .table = MVT_NONE };

	while (!atomic_load (&c->stop))
	{
		uint32_t a = build_random (&random) % 4, b = build_random (&random) % 4;
		mvt_instance_snapshot_t s[4];
		mvt_job_t list = { .op = MVT_JOB_LIST_MAPPINGS, .max = 512, .out.mappings = info };

		switch (build_random (&random) % 9)
		{
		case 0: /* the fourth comes and goes */
			mvt_engine_snapshot (c->e, s, 4);
			if (s[3].state == MVT_INSTANCE_SPARE)
				atomic_fetch_add (&c->spare, 1);
			assert_int_equal (s[3].state == MVT_INSTANCE_ACTIVE
						  ? mvt_engine_drain (c->e, 3)
						  : mvt_engine_activate (c->e, 3),
					  0);
			break;
		case 1: /* so does one that has mappings */
			mvt_engine_drain (c->e, 2);
			break;
		case 2:
			assert_int_equal (mvt_engine_activate (c->e, 2), 0);
			break;
		case 3:
			mvt_engine_transfer (c->e, a, b, MVT_NONE, 50);
			break;
		case 4:
			mvt_engine_shard (c->e, a, b, 30);
			break;
		case 5: /* rules are hints */
		{
			uint16_t table[MVT_HOME_BUCKETS];
			mvt_home_range_t all = { .table = 0 };
			mvt_home_desc_t rules = { .version = ++version,
						  .ranges = &all,
						  .n_ranges = 1,
						  .tables = table,
						  .n_tables = 1 };
			for (uint32_t i = 0; i < MVT_HOME_BUCKETS; i++)
				table[i] = (uint16_t) (build_random (&random) % 3);
			assert_int_equal (mvt_engine_set_rules (c->e, &rules), 0);
			break;
		}
		case 6: /* a range without hosts changes its home */
		{
			uint16_t table[MVT_HOME_BUCKETS];
			mvt_home_range_t ranges[2] = { { .table = 0 }, idle };
			mvt_home_desc_t home = { .version = ++version,
						 .ranges = ranges,
						 .n_ranges = 2,
						 .tables = table,
						 .n_tables = 1 };
			ranges[1].instance = (uint16_t) (build_random (&random) % 3);
			assert_int_equal (mvt_engine_bucket_table (c->e, table), 0);
			assert_int_equal (mvt_engine_set_home (c->e, &home), 0);
			assert_int_equal (mvt_engine_home_version (c->e), version);
			break;
		}
		case 7:
		{
			fx_policy_t policy;
			/* one address more, one less */
			generation++;
			fx_policy (&policy, generation, 0, 2 + generation % 2);
			int rc = mvt_engine_set_policy (c->e, &policy.desc, 0);
			assert_int_equal (rc, 0);
			assert_int_equal (mvt_engine_advance (c->e, generation < 100), 0);
			break;
		}
		default:
			do
				assert_int_equal (mvt_engine_job (c->e, a, &list), 0);
			while (list.cursor != UINT64_MAX);
			if (c->reset)
				assert_int_equal (mvt_engine_reset_instance (c->e, a), 0);
		}
		atomic_fetch_add (&c->rounds, 1);
		usleep (500);
	}
	return NULL;
}

static void *
watch_main (void *arg)
{
	control_t *c = arg;
	mvt_instance_snapshot_t before[4] = { 0 }, now[4];
	mvt_event_t events[256];
	mvt_mapping_info_t info[64];

	while (!atomic_load (&c->stop))
	{
		mvt_job_t list = { .op = MVT_JOB_LIST_MAPPINGS, .max = 64, .out.mappings = info };
		assert_int_equal (mvt_engine_snapshot (c->e, now, 4), 4);
		for (uint32_t i = 0; i < 4; i++)
		{
			assert_true (now[i].loops >= before[i].loops);
			assert_true (now[i].epoch >= before[i].epoch);
			assert_true (now[i].counters[fx_index ("translated_in2out")] >=
				     before[i].counters[fx_index ("translated_in2out")]);
			assert_true (now[i].cycles_busy <= now[i].cycles_total);
		}
		memcpy (before, now, sizeof now);
		while (mvt_engine_events (c->e, events, 256))
			;
		mvt_engine_job (c->e, build_random (&(uint64_t){ now[0].loops }) % 4, &list);
		usleep (300);
	}
	return NULL;
}

static void
stress (bool reset)
{
	fx_policy_t policy;
	traffic_t *t = calloc (1, sizeof *t);
	control_t c = { .reset = reset };
	pthread_t control, watch;
	double until, limit;

	fx_policy (&policy, 1, 0, 2);
	/* without hold-down, an answer that is under way during a reset may meet a stranger */
	t->e = c.e = threaded_holding (&policy, 3, 4, reset ? 1 : 0);
	pthread_create (&control, NULL, control_main, &c);
	pthread_create (&watch, NULL, watch_main, &c);
	until = seconds () + stress_seconds ();
	limit = until + PATIENCE;
	while (seconds () < until ||
	       ((atomic_load (&c.rounds) <= 20 || t->got <= 1000) && seconds () < limit))
		traffic (t, reset && t->sent - t->got - all_drops (t->e, true) > WINDOW / 4);
	atomic_store (&c.stop, true);
	pthread_join (control, NULL);
	pthread_join (watch, NULL);
	if (reset)
		finish_lossy (t);
	else
		finish (t);
	assert_true (c.rounds > 20);
	assert_true (t->got > 1000);
	if (!reset)
	{
		assert_int_equal (all_drops (t->e, false), 0);
		assert_int_equal (t->sent, t->got);
		assert_int_equal (t->changed, 0);
		assert_int_equal (fx_sum (t->e, "mappings"), FLOWS);
	}
	else
		assert_int_equal (t->sent, t->got + all_drops (t->e, false));
	mvt_engine_free (t->e);
	free (t);
}

/* Nothing is lost and no mapping changes, whatever control does. */
static void
control_beside_traffic_loses_nothing (void **state)
{
	(void) state;
	stress (false);
}

/* Takeover ends mappings, but every packet is either delivered or counted. */
static void
resets_beside_traffic_are_counted (void **state)
{
	(void) state;
	stress (true);
}

/* More than the rings hold: what is lost is counted where it is lost. */
static void
overload_is_counted (void **state)
{
	(void) state;
	fx_policy_t policy;
	fx_policy (&policy, 1, 0, 1);
	mvt_engine_t *e = threaded (&policy, 2, 2);
	uint16_t wrong[MVT_HOME_BUCKETS];
	mvt_home_range_t all = { .table = 0 };
	mvt_home_desc_t rules = {
		.version = 1, .ranges = &all, .n_ranges = 1, .tables = wrong, .n_tables = 1
	};
	static uint8_t buf[BUF];
	mvt_engine_packet_t packets[64], p;
	uint64_t sent = 0, got = 0;
	double until;
	build_t b = { .src = FX_INSIDE + 1, .dst = FX_REMOTE, .dport = 53, .ip_proto = UDP };

	/* every packet is handed over */
	mvt_engine_bucket_table (e, wrong);
	for (uint32_t i = 0; i < MVT_HOME_BUCKETS; i++)
		wrong[i] = (uint16_t) !wrong[i];
	assert_int_equal (mvt_engine_set_rules (e, &rules), 0);
	for (until = seconds () + 1; seconds () < until || sent <= 5000;)
	{
		built_t built;
		b.src = FX_INSIDE + 1 + (uint32_t) (sent % 200);
		b.sport = (uint16_t) (1 + sent / 200 % 100);
		built = build_packet (&b);
		p = fx_packet (&built, MVT_IN2OUT);
		sent += mvt_engine_inject (e, &p, 1);
		free (built.p);
	}
	for (until = seconds () + PATIENCE; got + all_drops (e, true) < sent && seconds () < until;)
		got += mvt_engine_collect (e, packets, 64, buf, BUF, 100);
	assert_int_equal (sent, got + all_drops (e, false));
	assert_int_equal (fx_dropped (e, MVT_DROP_HANDOFF_LOOP), 0);
	mvt_engine_free (e);
}

/* Buffers of dropped packets come back: more are dropped here than there are buffers. */
static void
dropped_packets_give_their_buffers_back (void **state)
{
	(void) state;
	fx_policy_t policy;
	fx_policy (&policy, 1, 0, 1);
	mvt_engine_t *e = threaded (&policy, 2, 2);
	traffic_t *t = calloc (1, sizeof *t);
	build_t b = { .src = FX_REMOTE, .dst = FX_POOL, .dport = 5, .ip_proto = UDP };
	double until;

	t->e = e;
	for (uint32_t i = 0; i < 40000; i++)
	{
		b.sport = (uint16_t) (1 + i % 60000);
		inject_one (t, &b, MVT_OUT2IN, 0);
	}
	for (until = seconds () + PATIENCE; seconds () < until;)
	{
		uint64_t drops = fx_dropped (e, MVT_DROP_NO_MAPPING) +
				 fx_snapshot (e, 0).ring_dropped + fx_snapshot (e, 1).ring_dropped;
		if (drops == 40000)
			break;
		usleep (1000);
	}
	assert_true (seconds () < until);
	t->sent = 0;
	for (uint32_t flow = 0; flow < 100; flow++)
		send_flow (t, flow);
	finish (t);
	assert_int_equal (t->sent, t->got);
	mvt_engine_free (e);
	free (t);
}

static double
cpu_seconds (void)
{
	struct rusage use;

	getrusage (RUSAGE_SELF, &use);
	return (double) (use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
	       (double) (use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
}

/* An idle engine sleeps, once it has gone round its tables. */
static void
idle_burns_no_cpu (void **state)
{
	(void) state;
	fx_policy_t policy;
	fx_policy (&policy, 1, 0, 2);
	mvt_engine_t *e = threaded (&policy, 4, 16);
	traffic_t *t = calloc (1, sizeof *t);
	double cpu = 1, until = seconds () + PATIENCE;

	t->e = e;
	for (uint32_t flow = 0; flow < 100; flow++)
		send_flow (t, flow);
	finish (t);
	while (cpu > 0.15 && seconds () < until)
	{
		double before = cpu_seconds ();
		sleep (1);
		cpu = cpu_seconds () - before;
	}
	if (cpu > 0.15)
		fail_msg ("%.3f s of CPU in an idle second", cpu);
	assert_true (fx_snapshot (e, 0).cycles_busy * 2 < fx_snapshot (e, 0).cycles_total);
	mvt_engine_free (e);
	free (t);
}

static void
start_and_stop_as_often_as_liked (void **state)
{
	(void) state;
	fx_policy_t policy;
	fx_policy (&policy, 1, 0, 1);
	mvt_engine_t *e = threaded (&policy, 2, 3);
	traffic_t *t = calloc (1, sizeof *t);
	mvt_endpoint_t first;

	t->e = e;
	send_flow (t, 0);
	finish (t);
	first = t->ext[0];
	for (uint32_t i = 0; i < 5; i++)
	{
		mvt_engine_stop (e);
		mvt_engine_stop (e);
		/* control works while no thread runs */
		assert_int_equal (mvt_engine_activate (e, 2), 0);
		assert_int_equal (fx_sum (e, "mappings"), 1);
		assert_int_equal (mvt_engine_start (e), 0);
		assert_int_equal (mvt_engine_start (e), 0);
		send_flow (t, 0);
		finish (t);
		assert_memory_equal (&first, &t->ext[0], sizeof first);
	}
	assert_int_equal (t->sent, t->got);
	assert_int_equal (mvt_engine_step (e, NULL, 0), MVT_ERR_UNSUPPORTED);
	mvt_engine_free (e);
	free (t);
}

/* The clock of a running engine can be moved, and every instance has seen it on return. */
static void
clock_moves_for_all (void **state)
{
	(void) state;
	fx_policy_t policy;
	fx_policy (&policy, 1, 0, 1);
	mvt_engine_t *e = threaded (&policy, 2, 2);
	traffic_t *t = calloc (1, sizeof *t);
	uint32_t now;
	double until = seconds () + PATIENCE;

	t->e = e;
	for (uint32_t flow = 0; flow < 50; flow++)
		send_flow (t, flow);
	finish (t);
	assert_int_equal (fx_sum (e, "mappings"), 50);
	now = mvt_engine_now (e);
	assert_int_equal (mvt_engine_advance (e, 302), 0);
	assert_in_range (mvt_engine_now (e), now + 302, now + 302 + (uint32_t) PATIENCE);
	while (fx_sum (e, "mappings") && seconds () < until)
		usleep (1000);
	assert_int_equal (fx_sum (e, "mappings"), 0);
	mvt_engine_free (e);
	free (t);
}

/* All load on one of four instances, with threads: refill comes in time. */
static void
refill_works_beside_traffic (void **state)
{
	(void) state;
	fx_policy_t policy;
	fx_policy (&policy, 1, 0, 1);
	mvt_engine_t *e = threaded (&policy, 4, 4);
	static uint8_t buf[BUF];
	mvt_engine_packet_t packets[64];
	uint64_t got = 0, sent = 0;
	double until = seconds () + 2 * PATIENCE;

	assert_int_equal (fx_home (e, 1, 3, NULL, 0, 1), 0);
	/* the housekeeper may be late on a loaded machine: flows that found no port try again */
	for (uint32_t flow = 0;
	     (flow < 70000 || fx_count (e, 3, "mappings") < 64512 - 64) && seconds () < until;
	     flow++)
	{
		build_t b = { .src = FX_INSIDE + 1 + flow % 1000,
			      .dst = FX_REMOTE,
			      .sport = (uint16_t) (1 + flow / 1000),
			      .dport = 53,
			      .ip_proto = UDP };
		built_t built = build_packet (&b);
		mvt_engine_packet_t p = fx_packet (&built, MVT_IN2OUT);
		while (mvt_engine_inject (e, &p, 1) == 0)
			usleep (10);
		free (built.p);
		sent++;
		while (sent - got > 200 + fx_dropped (e, MVT_DROP_OUT_OF_PORTS))
			got += mvt_engine_collect (e, packets, 64, buf, BUF, 5);
		/* at the very end blocks are few: leave the housekeeper its turn */
		while (flow > 60000 && flow % 64 == 0 && fx_count (e, 3, "blocks_free") == 0 &&
		       fx_sum (e, "blocks_free") > 0 && seconds () < until)
			usleep (1000);
	}
	assert_true (seconds () < until);
	if (fx_count (e, 3, "mappings") < 64512 - 64)
		fail_msg ("%llu of 64512", (unsigned long long) fx_count (e, 3, "mappings"));
	mvt_engine_free (e);
}

int
main (void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test (control_beside_traffic_loses_nothing),
		cmocka_unit_test (resets_beside_traffic_are_counted),
		cmocka_unit_test (overload_is_counted),
		cmocka_unit_test (dropped_packets_give_their_buffers_back),
		cmocka_unit_test (idle_burns_no_cpu),
		cmocka_unit_test (start_and_stop_as_often_as_liked),
		cmocka_unit_test (clock_moves_for_all),
		cmocka_unit_test (refill_works_beside_traffic),
	};
	return cmocka_run_group_tests (tests, NULL, NULL);
}

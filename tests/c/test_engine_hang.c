/* SPDX-License-Identifier: Apache-2.0
 * An instance whose thread does not die but hangs: here in a device that takes nothing, a full
 * pipe. Control must not wait for it, say which one it is, and go on with the others. */
#include "engine_fixture.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include "engine_private.h"

#define SICK  1u  /* the instance that hangs: home of 10.9.0.0/16 */
#define LIMIT 6.0 /* seconds: longer than it takes to see that somebody hangs */
#define SOON  0.5 /* for calls after that */

typedef struct
{
	mvt_engine_t *e;
	int pipe[2];
	fx_policy_t policy;
	uint64_t version;
} ward_t;

static double
seconds (void)
{
	struct timespec ts;
	clock_gettime (CLOCK_MONOTONIC, &ts);
	return (double) ts.tv_sec + (double) ts.tv_nsec / 1e9;
}

static void
wait_until (bool (*is) (ward_t *w), ward_t *w)
{
	double until = seconds () + 60;

	while (!is (w))
	{
		if (seconds () > until)
			fail_msg ("it did not happen within 60 s");
		usleep (1000);
	}
}

/* ---- packets ---- */

static void
send_from (ward_t *w, uint32_t host, uint16_t port)
{
	build_t b = { .src = FX_INSIDE + host,
		      .dst = FX_REMOTE,
		      .sport = port,
		      .dport = 53,
		      .ip_proto = UDP };
	built_t built = build_packet (&b);
	mvt_engine_packet_t p = fx_packet (&built, MVT_IN2OUT);

	while (mvt_engine_inject (w->e, &p, 1) == 0)
		usleep (100);
	free (built.p);
}

static int
home (ward_t *w, uint16_t sick)
{
	mvt_home_range_t range = { .prefix = { FX_INSIDE + (9 << 16), 16, { 0 } },
				   .instance = sick,
				   .table = MVT_NONE };
	return fx_home (w->e, ++w->version, 0, &range, 1, 0);
}

static int
rules (ward_t *w, uint16_t sick)
{
	mvt_home_range_t ranges[2] = { { .table = MVT_NONE },
				       { .prefix = { FX_INSIDE + (9 << 16), 16, { 0 } },
					 .instance = sick,
					 .table = MVT_NONE } };
	mvt_home_desc_t desc = { .version = ++w->version, .ranges = ranges, .n_ranges = 2 };
	return mvt_engine_set_rules (w->e, &desc);
}

/* ---- falling ill, and recovering ---- */

static bool
stands_still (ward_t *w)
{
	uint64_t before = fx_snapshot (w->e, SICK).loops;
	usleep (300000); /* it sleeps for 100 ms at most while it has nothing to do */
	return fx_snapshot (w->e, SICK).loops == before;
}

static bool
turns_again (ward_t *w)
{
	return !mail_hangs (w->e, SICK);
}

/* Three instances; what leaves outside goes into the pipe. `hold`: seconds of hold-down. */
static void
open_ward (ward_t *w, uint32_t hold)
{
	memset (w, 0, sizeof *w);
	fx_policy (&w->policy, 1, 0, 1);
	mvt_engine_config_t config = fx_config (&w->policy, 3, 3);
	config.stepped = 0;
	config.hold_seconds = hold;
	w->e = fx_new (&config);
	assert_int_equal (pipe (w->pipe), 0);
	w->e->side[MVT_OUT2IN].fd = w->pipe[1];
	w->e->by_device[MVT_OUT2IN] = true;
	assert_int_equal (mvt_engine_start (w->e), 0);
	assert_int_equal (home (w, SICK), 0);
	assert_int_equal (rules (w, SICK), 0);
}

static void
hang (ward_t *w)
{
	char junk[4096] = { 0 };
	uint64_t before = fx_count (w->e, SICK, "mappings");
	int null;

	send_from (w, (9 << 16) + 1, 999);
	while (fx_count (w->e, SICK, "mappings") == before)
		usleep (1000);
	fcntl (w->pipe[1], F_SETFL, O_NONBLOCK);
	while (write (w->pipe[1], junk, sizeof junk) > 0)
		;
	while (write (w->pipe[1], junk, 1) > 0)
		;
	fcntl (w->pipe[1], F_SETFL, 0);
	send_from (w, (9 << 16) + 1, 1000);
	wait_until (stands_still, w);
	/* whoever writes from now on finds a device that takes everything */
	null = open ("/dev/null", O_WRONLY);
	assert_int_equal (dup2 (null, w->pipe[1]), w->pipe[1]);
	close (null);
}

static void
recover (ward_t *w)
{
	char junk[65536];

	fcntl (w->pipe[0], F_SETFL, O_NONBLOCK);
	while (read (w->pipe[0], junk, sizeof junk) > 0)
		usleep (1000);
	wait_until (turns_again, w);
}

static void
close_ward (ward_t *w)
{
	mvt_engine_free (w->e); /* closes its device */
	close (w->pipe[0]);
}

#define within(limit, call)                                                      \
	({                                                                       \
		double before = seconds ();                                      \
		int64_t result = (int64_t) (call);                               \
		if (seconds () - before > (limit))                               \
			fail_msg ("%s took %.1f s", #call, seconds () - before); \
		result;                                                          \
	})

/* ---- */

/* Every control call ends, with an error where it needs the one that hangs, which is named. */
static void
control_does_not_wait_for_who_hangs (void **state)
{
	(void) state;
	ward_t w;
	int dispatcher;
	mvt_mapping_info_t info[16];
	mvt_job_t list = { .op = MVT_JOB_LIST_MAPPINGS, .max = 16, .out.mappings = info };
	uint64_t version;
	fx_policy_t more;

	open_ward (&w, 0);
	assert_int_equal (mvt_engine_hung (w.e, &dispatcher), 0);
	hang (&w);
	version = mvt_engine_home_version (w.e);
	assert_int_equal (within (LIMIT, home (&w, 2)), MVT_ERR_HUNG);
	assert_int_equal (mvt_engine_hung (w.e, &dispatcher), 1u << SICK);
	assert_false (dispatcher);
	/* nothing was changed, and nobody waits twice */
	assert_int_equal (mvt_engine_home_version (w.e), version);
	assert_int_equal (within (SOON, home (&w, 2)), MVT_ERR_HUNG);
	assert_int_equal (within (SOON, mvt_engine_job (w.e, SICK, &list)), MVT_ERR_HUNG);
	assert_int_equal (within (SOON, mvt_engine_job (w.e, 0, &list)), 0);
	assert_int_equal (within (SOON, mvt_engine_advance (w.e, 1)), MVT_ERR_HUNG);
	fx_policy (&more, 2, 0, 2);
	assert_int_equal (within (SOON, mvt_engine_set_policy (w.e, &more.desc, 0)), MVT_ERR_HUNG);
	assert_int_equal (within (SOON, mvt_engine_shard (w.e, SICK, 0, 50)), 0);
	assert_int_equal (within (SOON, mvt_engine_shard (w.e, 0, SICK, 50)), 0);
	/* rules are for the dispatcher, which is well */
	assert_int_equal (within (SOON, rules (&w, 2)), 0);

	recover (&w);
	assert_int_equal (mvt_engine_hung (w.e, &dispatcher), 0);
	assert_int_equal (home (&w, 2), 0);
	assert_int_equal (mvt_engine_set_policy (w.e, &more.desc, 0), 0);
	list.cursor = 0;
	assert_int_equal (mvt_engine_job (w.e, SICK, &list), 0);
	assert_int_equal (list.n, 2);
	/* no block was lost */
	assert_int_equal (fx_sum (w.e, "blocks"), 2 * 1024);
	close_ward (&w);
}

/* Takeover: rules, epoch, home map, as the coordinator does it. */
static void
takeover_goes_on_without_who_hangs (void **state)
{
	(void) state;
	ward_t w;
	int dispatcher;
	mvt_mapping_info_t info[16];
	mvt_job_t list = { .op = MVT_JOB_LIST_MAPPINGS, .max = 16, .out.mappings = info };
	mvt_job_t forward = { .op = MVT_JOB_STATIC_ADD,
			      .inside_endpoint = { FX_INSIDE + (9 << 16) + 7, 80, MVT_PROTO_TCP },
			      .external_endpoint = { FX_POOL, 0, MVT_PROTO_TCP } };
	uint64_t epoch;

	open_ward (&w, 120);
	/* a static mapping of the one that will hang */
	for (uint32_t port = 1; port < 65535 && !forward.external_endpoint.port; port++)
		if (mvt_directory_owner (w.e->shared.directory,
					 mvt_directory_block (w.e->shared.directory, 0,
							      (uint16_t) port)) == SICK)
			forward.external_endpoint.port = (uint16_t) port;
	assert_int_equal (mvt_engine_job (w.e, MVT_NO_INSTANCE, &forward), 0);
	hang (&w);
	epoch = fx_snapshot (w.e, SICK).epoch;

	assert_int_equal (within (LIMIT, rules (&w, 2)), 0);
	assert_int_equal (within (SOON, mvt_engine_reset_instance (w.e, SICK)), 0);
	assert_int_equal (within (SOON, home (&w, 2)), 0);

	assert_int_equal (fx_snapshot (w.e, SICK).epoch, epoch + 1);
	assert_int_equal (fx_snapshot (w.e, SICK).state, MVT_INSTANCE_SPARE);
	assert_int_equal (fx_count (w.e, SICK, "mappings"), 0);
	assert_int_equal (within (SOON, mvt_engine_activate (w.e, SICK)), MVT_ERR_HUNG);
	/* its host's new flows are the heir's, and the static mapping is still there */
	send_from (&w, (9 << 16) + 1, 1000);
	for (double until = seconds () + 30; fx_count (w.e, 2, "mappings") == 0;)
		assert_true (seconds () < until);
	list.filter.statics = 1;
	for (uint32_t i = 0; i < 3; i++)
	{
		list.cursor = 0;
		assert_int_equal (mvt_engine_job (w.e, i, &list), 0);
		if (list.n)
			break;
	}
	assert_int_equal (list.n, 1);
	assert_int_not_equal (info[0].instance, SICK);
	/* its blocks wait the hold-down before others use them */
	assert_true (fx_sum (w.e, "blocks") < 700);
	assert_int_equal (within (SOON, mvt_engine_advance (w.e, 121)), 0);
	for (double until = seconds () + 30; fx_sum (w.e, "blocks") < 1024;)
		assert_true (seconds () < until);

	/* it comes back, drops what it had, and can be used again */
	recover (&w);
	for (double until = seconds () + 30; mvt_engine_activate (w.e, SICK) != 0;)
		assert_true (seconds () < until);
	assert_int_equal (mvt_engine_hung (w.e, &dispatcher), 0);
	assert_int_equal (fx_count (w.e, SICK, "mappings"), 0);
	assert_int_equal (fx_count (w.e, SICK, "mappings_deleted"), 3); /* the static one too */
	assert_int_equal (fx_sum (w.e, "blocks"), 1024);
	assert_true (mvt_engine_transfer (w.e, 0, SICK, MVT_NONE, 100) > 0);
	assert_int_equal (home (&w, SICK), 0);
	close_ward (&w);
}

/* The last one cannot be taken over, and the program can still end. */
static void
stop_does_not_wait_for_who_hangs (void **state)
{
	(void) state;
	ward_t w;

	open_ward (&w, 0);
	assert_int_equal (mvt_engine_drain (w.e, 0), 0);
	assert_int_equal (mvt_engine_drain (w.e, 2), 0);
	hang (&w);
	assert_int_equal (within (LIMIT, mvt_engine_reset_instance (w.e, SICK)), MVT_ERR_HUNG);
	assert_int_equal (within (2 * LIMIT, mvt_engine_stop (w.e)), MVT_ERR_HUNG);
	assert_int_equal (mvt_engine_start (w.e), MVT_ERR_HUNG);
	assert_int_equal (within (SOON, home (&w, 0)), MVT_ERR_HUNG);
	mvt_engine_free (w.e); /* frees nothing */
	recover (&w);	       /* so its thread can go on, and end */
	pthread_join (w.e->instance[SICK].thread, NULL);
	w.e->instance[SICK].stuck = false;
	close_ward (&w);
}

int
main (void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test (control_does_not_wait_for_who_hangs),
		cmocka_unit_test (takeover_goes_on_without_who_hangs),
		cmocka_unit_test (stop_does_not_wait_for_who_hangs),
	};
	return cmocka_run_group_tests (tests, NULL, NULL);
}

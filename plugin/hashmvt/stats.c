/* SPDX-License-Identifier: Apache-2.0
 *
 * Counters of every instance in the stats segment, under /hashmvt: one vector for each name, by
 * thread. Instance i is thread i + 1 (thread 0 without workers). Written ten times a second by the
 * main thread from the instances' own words; reading them disturbs nobody.
 */
#include "hashmvt.h"

enum
{
#define _(name, text) COUNTER_##name,
	foreach_mvt_counter foreach_mvt_gauge
#undef _
		N_WORDS
};

#define foreach_hashmvt_stat           \
	_ (state, state)               \
	_ (epoch, epoch)               \
	_ (loops, loops)               \
	_ (cycles_busy, cycles_busy)   \
	_ (cycles_total, cycles_total) \
	_ (handoff_congestion, ring_dropped)

static vlib_simple_counter_main_t words[N_WORDS] = {
#define _(symbol, text) { .name = #symbol, .stat_segment_name = "/hashmvt/" #symbol },
	foreach_mvt_counter foreach_mvt_gauge
#undef _
};

static vlib_simple_counter_main_t passed[MVT_PASS_N] = {
#define _(NAME, symbol, text) { .name = #symbol, .stat_segment_name = "/hashmvt/passed/" #symbol },
	foreach_mvt_pass
#undef _
};

static vlib_simple_counter_main_t dropped[MVT_DROP_N] = {
#define _(NAME, symbol, text) { .name = #symbol, .stat_segment_name = "/hashmvt/dropped/" #symbol },
	foreach_mvt_drop
#undef _
};

#define _(symbol, field)                                                         \
	static vlib_simple_counter_main_t stat_##symbol = { .name = #symbol,     \
							    .stat_segment_name = \
								    "/hashmvt/" #symbol };
foreach_hashmvt_stat
#undef _

	static vlib_simple_counter_main_t packets = { .name = "packets",
						      .stat_segment_name = "/hashmvt/packets" };
static vlib_simple_counter_main_t to_router = { .name = "to_router",
						.stat_segment_name = "/hashmvt/to_router" };
/* [thread][instance]: from which to which */
static vlib_simple_counter_main_t handed_off = { .name = "handed_off",
						 .stat_segment_name = "/hashmvt/handed_off" };
static vlib_simple_counter_main_t barriers = { .name = "barriers",
					       .stat_segment_name = "/hashmvt/barriers" };

static void
make (vlib_simple_counter_main_t *cm)
{
	vlib_validate_simple_counter (cm, 0);
	vlib_zero_simple_counter (cm, 0);
}

void
hashmvt_stats_init (void)
{
	for (u32 i = 0; i < N_WORDS; i++)
		make (&words[i]);
	for (u32 i = 0; i < MVT_PASS_N; i++)
		make (&passed[i]);
	for (u32 i = 0; i < MVT_DROP_N; i++)
		make (&dropped[i]);
#define _(symbol, field) make (&stat_##symbol);
	foreach_hashmvt_stat
#undef _
		make (&packets);
	make (&to_router);
	make (&handed_off);
	vlib_validate_simple_counter (&handed_off, MVT_HOME_INSTANCES - 1);
	make (&barriers);
}

/* Packets that went to the router are no drops, whatever the core thinks of them. */
void
hashmvt_snapshot (mvt_instance_snapshot_t *out, u32 n)
{
	hashmvt_main_t *hm = &hashmvt_main;

	mvt_engine_snapshot (hm->engine, out, n);
	for (u32 i = 0; i < n; i++)
	{
		const hashmvt_thread_t *thread = &hm->threads[hm->first_thread + i];
		for (u32 r = 0; r < MVT_DROP_N; r++)
			out[i].dropped[r] -= clib_min (thread->to_router[r], out[i].dropped[r]);
		/* the core knows of those that it gave away itself, not of the dispatcher's */
		out[i].counters[COUNTER_handed_over] = 0;
		for (u32 to = 0; to < hm->n_instances; to++)
			out[i].counters[COUNTER_handed_over] += thread->handed_off[to];
		out[i].counters[COUNTER_policy_generation] =
			hashmvt_model_generation (out[i].counters[COUNTER_policy_generation]);
		out[i].dropped[MVT_DROP_HANDOFF_CONGESTION] += thread->congested;
		out[i].dropped[MVT_DROP_NO_OWNER] += thread->no_nat;
		out[i].ring_dropped = thread->congested;
	}
}

void
hashmvt_stats_publish (void)
{
	hashmvt_main_t *hm = &hashmvt_main;
	static mvt_instance_snapshot_t *snapshot; /* of the main thread alone */
	mvt_instance_snapshot_t *s;

	vec_validate (snapshot, hm->n_instances - 1);
	hashmvt_snapshot (snapshot, hm->n_instances);
	for (u32 i = 0; i < hm->n_instances; i++)
	{
		u32 thread = hm->first_thread + i;
		u64 routed = 0;

		s = &snapshot[i];
		for (u32 w = 0; w < N_WORDS; w++)
			vlib_set_simple_counter (&words[w], thread, 0, s->counters[w]);
		for (u32 r = 0; r < MVT_PASS_N; r++)
			vlib_set_simple_counter (&passed[r], thread, 0, s->passed[r]);
		for (u32 r = 0; r < MVT_DROP_N; r++)
		{
			vlib_set_simple_counter (&dropped[r], thread, 0, s->dropped[r]);
			routed += hm->threads[thread].to_router[r];
		}
#define _(symbol, field) vlib_set_simple_counter (&stat_##symbol, thread, 0, s->field);
		foreach_hashmvt_stat
#undef _
			vlib_set_simple_counter (&packets, thread, 0,
						 s->counters[COUNTER_received_in2out] +
							 s->counters[COUNTER_received_out2in]);
		vlib_set_simple_counter (&to_router, thread, 0, routed);
	}
	for (u32 thread = 0; thread < vlib_get_n_threads (); thread++)
		for (u32 i = 0; i < hm->n_instances; i++)
			vlib_set_simple_counter (&handed_off, thread, i,
						 hm->threads[thread].handed_off[i]);
	vlib_set_simple_counter (&barriers, 0, 0, vlib_worker_threads[0].barrier_sync_count);
}

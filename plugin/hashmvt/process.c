/* SPDX-License-Identifier: Apache-2.0
 *
 * Housekeeping on the main thread: refill and drain every 10 ms, counters every 100 ms.
 */
#include "hashmvt.h"

#define HOUSE_S	     0.010
#define STATS_ROUNDS 10
#define EVENTS	     256

static void
deliver_events (void)
{
	hashmvt_main_t *hm = &hashmvt_main;
	mvt_event_t events[EVENTS];
	u32 n;

	/* whoever subscribes sees what happens from then on */
	for (u32 i = 0; i < 64 && (n = mvt_engine_events (hm->engine, events, EVENTS)) > 0; i++)
		hashmvt_api_events (events, n);
}

/* Workers that sleep look after expired mappings too. */
static void
wake_idle (void)
{
	hashmvt_main_t *hm = &hashmvt_main;

	for (u32 i = 0; i < hm->n_instances; i++)
		if (hm->first_thread + i != 0)
			vlib_thread_wakeup (hm->first_thread + i);
}

static uword
hashmvt_process (vlib_main_t *vm, vlib_node_runtime_t *rt, vlib_frame_t *f)
{
	hashmvt_main_t *hm = &hashmvt_main;
	u32 round = 0;

	while (1)
	{
		if (!hm->engine)
			vlib_process_wait_for_event (vm);
		else
			vlib_process_wait_for_event_or_clock (vm, HOUSE_S);
		vlib_process_get_events (vm, 0);
		if (!hm->engine)
			continue;
		pthread_mutex_lock (&hm->engine->control);
		house_round (hm->engine);
		pthread_mutex_unlock (&hm->engine->control);
		hashmvt_fib_sync ();
		deliver_events ();
		if (++round % STATS_ROUNDS == 0)
		{
			hashmvt_stats_publish ();
			if (round % (10 * STATS_ROUNDS) == 0)
				wake_idle ();
		}
	}
	return 0;
}

VLIB_REGISTER_NODE (hashmvt_process_node) = {
	.function = hashmvt_process,
	.type = VLIB_NODE_TYPE_PROCESS,
	.name = "hashmvt-process",
	/* moving blocks between instances and snapshots of 64 of them take more than the usual 32
	   KiB */
	.process_log2_n_stack_bytes = 18,
};

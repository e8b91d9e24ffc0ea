/* SPDX-License-Identifier: Apache-2.0
 *
 * What the engine's control functions ask of their host: how a job reaches an instance, and how
 * to wait until every thread has begun a loop. Plus what they ask of an engine with devices of
 * its own, which this one has not.
 *
 * The main thread waits for workers, never the other way round, so nothing can wait in a circle.
 * While the barrier is held the workers stand still: then, and when the instance lives on this very
 * thread, the main thread does the instance's work itself.
 */
#include "hashmvt.h"

#include <vlib/threads.h>

#define WAKE_AGAIN_US 20

static u32
thread_of (u32 id)
{
	return hashmvt_main.first_thread + id;
}

/* Before enable has published the engine, too. */
bool
host_at_hand (mvt_engine_t *engine, uint32_t i)
{
	return hashmvt_main.engine != engine || thread_of (i) == vlib_get_thread_index () ||
	       vlib_worker_thread_barrier_held ();
}

/* A worker that is about to sleep may miss the first call, so it is called until it has answered.
 */
uint32_t
host_wake (mvt_engine_t *engine, uint32_t i)
{
	vlib_thread_wakeup (thread_of (i));
	return WAKE_AGAIN_US;
}

uint32_t
host_threads (const mvt_engine_t *engine)
{
	return engine->n;
}

/* Instances see the clock at the beginning of a turn, before their mail. */
int
mvt_engine_advance (mvt_engine_t *engine, uint32_t seconds)
{
	mvt_err_t err;
	bool all;

	pthread_mutex_lock (&engine->control);
	atomic_store (&engine->tick_offset, atomic_load (&engine->tick_offset) + seconds);
	err = mail_sync (engine, &all);
	pthread_mutex_unlock (&engine->control);
	return err;
}

/* ---- an engine without threads and devices ---- */

bool
dispatch_prepare (mvt_engine_t *engine, char *err)
{
	return true;
}

void
dispatch_cleanup (mvt_engine_t *engine)
{
}

void
stepped_free (mvt_engine_t *engine)
{
	free (engine->queue);
}

int
mvt_engine_stop (mvt_engine_t *engine)
{
	return MVT_OK;
}

int
tun_open (const char *name, uint32_t *mtu, char *err)
{
	return -1;
}

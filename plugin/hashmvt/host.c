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
#include <unistd.h>

#define SPINS 2000

static u32
thread_of (u32 id)
{
	return hashmvt_main.first_thread + id;
}

/* May this thread touch the instance's state now? Before enable has published the engine, too. */
static bool
at_hand (mvt_engine_t *engine, u32 id)
{
	return hashmvt_main.engine != engine || thread_of (id) == vlib_get_thread_index () ||
	       vlib_worker_thread_barrier_held ();
}

static void
post (mvt_engine_t *engine, u32 id, mail_t *mail)
{
	mailbox_t *box = &engine->instance[id].mail;

	pthread_mutex_lock (&box->post);
	while (!ring_put (box->ring, mail))
	{
		ring_publish (box->ring);
		vlib_thread_wakeup (thread_of (id));
		sched_yield ();
	}
	ring_publish (box->ring);
	pthread_mutex_unlock (&box->post);
	vlib_thread_wakeup (thread_of (id));
}

/* A worker that is about to sleep may miss the first call, so it is called until it has answered.
 */
static void
wait_for (u32 id, mail_t *mail)
{
	for (u32 i = 0; i < SPINS; i++)
	{
		if (atomic_load_explicit (&mail->done, memory_order_acquire))
			return;
		CLIB_PAUSE ();
	}
	while (!atomic_load_explicit (&mail->done, memory_order_acquire))
	{
		vlib_thread_wakeup (thread_of (id));
		usleep (20);
	}
}

mvt_err_t
mail_spare_answer (mvt_job_t *job)
{
	job->n = 0;
	job->result = MVT_OK;
	switch (job->op)
	{
	case MVT_JOB_LIST_MAPPINGS:
	case MVT_JOB_LIST_HOSTS:
	case MVT_JOB_LIST_BLOCKS:
		job->cursor = UINT64_MAX;
		break;
	case MVT_JOB_GIVE_BLOCKS:
	case MVT_JOB_DELETE_MAPPINGS:
	case MVT_JOB_MATCHES:
	case MVT_JOB_DRAIN_SLOT:
	case MVT_JOB_SYNC:
		break;
	default:
		job->result = MVT_ERR_NOT_OWNER;
	}
	return job->result;
}

mvt_err_t
mail_job (mvt_engine_t *engine, uint32_t id, mvt_job_t *job)
{
	mail_t mail = { .op = MAIL_JOB, .job = job };

	if (!engine_has_nat (engine, id))
		return mail_spare_answer (job);
	if (at_hand (engine, id))
	{
		mvt_err_t err;
		do
			err = mvt_nat44_job (engine->instance[id].nat, job, engine_tick (engine));
		while (err == MVT_ERR_AGAIN);
		return err;
	}
	post (engine, id, &mail);
	wait_for (id, &mail);
	return job->result;
}

mvt_nat44_t *
mail_swap (mvt_engine_t *engine, uint32_t id, mvt_nat44_t *nat, bool retire)
{
	mail_t mail = { .op = retire ? MAIL_RETIRE : MAIL_SWAP, .nat = nat };

	if (at_hand (engine, id))
		instance_swap (&engine->instance[id], &mail);
	else
	{
		post (engine, id, &mail);
		wait_for (id, &mail);
	}
	return mail.nat;
}

void
mail_sync (mvt_engine_t *engine)
{
	mail_t mail[MVT_HOME_INSTANCES] = { 0 };
	mvt_job_t job[MVT_HOME_INSTANCES] = { 0 };

	for (u32 i = 0; i < engine->n; i++)
	{
		job[i].op = MVT_JOB_SYNC;
		mail[i] = (mail_t){ .op = MAIL_JOB, .job = &job[i] };
		if (at_hand (engine, i))
			mail_job (engine, i, &job[i]);
		else
			post (engine, i, &mail[i]);
	}
	for (u32 i = 0; i < engine->n; i++)
		if (!at_hand (engine, i))
			wait_for (i, &mail[i]);
}

/* Instances see the clock at the beginning of a turn, before their mail. */
int
mvt_engine_advance (mvt_engine_t *engine, uint32_t seconds)
{
	pthread_mutex_lock (&engine->control);
	atomic_store (&engine->tick_offset, atomic_load (&engine->tick_offset) + seconds);
	mail_sync (engine);
	pthread_mutex_unlock (&engine->control);
	return MVT_OK;
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

void
mvt_engine_stop (mvt_engine_t *engine)
{
}

int
tun_open (const char *name, uint32_t *mtu, char *err)
{
	return -1;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * A running engine: its threads begin and end here, and its clock moves.
 */
#define _GNU_SOURCE 1
#include "engine_private.h"

#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define STOP_WAIT_US 1000000u
#define SPIN_MANY    2000u /* looks at the rings before sleeping, with CPUs to spare */
#define SPIN_FEW     20u
#define STACK_SIZE   (512u << 10)
#define JOIN_WAIT_US 50000u

/* ---- threads ---- */

static bool
spawn (pthread_t *thread, void *(*main) (void *), void *arg, const char *name, int cpu)
{
	pthread_attr_t attr;
	cpu_set_t set;
	bool good;

	pthread_attr_init (&attr);
	pthread_attr_setstacksize (&attr, STACK_SIZE);
	if (cpu >= 0)
	{
		CPU_ZERO (&set);
		CPU_SET ((size_t) cpu, &set);
		pthread_attr_setaffinity_np (&attr, sizeof set, &set);
	}
	good = pthread_create (thread, &attr, main, arg) == 0;
	pthread_attr_destroy (&attr);
	if (good)
		pthread_setname_np (*thread, name); /* one that is too long is left out */
	return good;
}

static bool
quiet (mvt_engine_t *engine)
{
	for (uint32_t i = 0; i < engine->n * engine->n; i++)
		if (ring_count_any (engine->handoff[i]))
			return false;
	for (uint32_t i = 0; i < engine->n; i++)
		if (ring_count_any (engine->to_instance[i]))
			return false;
	return true;
}

/* Wait for a thread that was told to end. False when it hangs: it is left to itself. */
static bool
join (pthread_t thread, const _Atomic uint64_t *loops)
{
	uint64_t before = count_get (loops);
	uint32_t waited_us = 0;
	struct timespec until;

	clock_gettime (CLOCK_REALTIME, &until);
	while (pthread_timedjoin_np (thread, NULL, &until) != 0)
	{
		if (count_get (loops) != before)
		{
			before = count_get (loops);
			waited_us = 0;
		}
		if (waited_us >= ENGINE_HANG_US)
			return false;
		waited_us += JOIN_WAIT_US;
		clock_gettime (CLOCK_REALTIME, &until);
		until.tv_nsec += JOIN_WAIT_US * 1000;
		if (until.tv_nsec >= 1000000000)
		{
			until.tv_sec++;
			until.tv_nsec -= 1000000000;
		}
	}
	return true;
}

/* False when one hangs. */
static bool
join_instances (mvt_engine_t *engine, uint32_t n)
{
	bool good = true;

	atomic_store (&engine->quit, 1);
	for (uint32_t i = 0; i < n; i++)
		park_wake (&engine->instance[i].park);
	for (uint32_t i = 0; i < n; i++)
	{
		instance_t *instance = &engine->instance[i];
		instance->stuck = !join (instance->thread, &instance->count.loops);
		good &= !instance->stuck;
	}
	return good;
}

static bool
is_stuck (const mvt_engine_t *engine)
{
	bool stuck = engine->dispatch_stuck;

	for (uint32_t i = 0; engine->instance && i < engine->n; i++)
		stuck |= engine->instance[i].stuck;
	return stuck;
}

int
mvt_engine_start (mvt_engine_t *engine)
{
	sigset_t all, old;
	uint32_t i = 0;
	char name[32];
	bool good = true;

	if (engine->stepped)
		return MVT_ERR_UNSUPPORTED;
	pthread_mutex_lock (&engine->control);
	if (engine->running)
	{
		pthread_mutex_unlock (&engine->control);
		return 0;
	}
	if (is_stuck (engine))
	{
		pthread_mutex_unlock (&engine->control);
		return MVT_ERR_HUNG;
	}
	pthread_rwlock_wrlock (&engine->life);
	atomic_store (&engine->quit, 0);
	atomic_store (&engine->stop_reading, 0);
	atomic_store (&engine->house_quit, 0);
	engine->spin = sysconf (_SC_NPROCESSORS_ONLN) > (long) engine->n + 1 ? SPIN_MANY : SPIN_FEW;
	/* signals are for the threads of the host */
	sigfillset (&all);
	pthread_sigmask (SIG_SETMASK, &all, &old);
	for (; good && i < engine->n; i += good)
	{
		snprintf (name, sizeof name, "hmvt-inst-%u", i);
		good = spawn (&engine->instance[i].thread, instance_main, &engine->instance[i],
			      name, engine->config.pin_threads ? engine_cpu_of (i) : -1);
	}
	if (good && !spawn (&engine->dispatcher, dispatch_main, engine, "hmvt-dispatch", -1))
		good = false;
	else if (good && !spawn (&engine->housekeeper, house_main, engine, "hmvt-house", -1))
	{
		atomic_store (&engine->stop_reading, 1);
		dispatch_wake (engine);
		pthread_join (engine->dispatcher, NULL);
		good = false;
	}
	pthread_sigmask (SIG_SETMASK, &old, NULL);
	if (!good)
		join_instances (engine, i);
	engine->running = good;
	pthread_rwlock_unlock (&engine->life);
	pthread_mutex_unlock (&engine->control);
	return good ? 0 : MVT_ERR_NO_MEMORY;
}

int
mvt_engine_stop (mvt_engine_t *engine)
{
	bool good;

	if (!engine->running)
		return is_stuck (engine) ? MVT_ERR_HUNG : MVT_OK;
	/* the housekeeper goes first: it takes `control` and may wait for the other threads */
	atomic_store (&engine->house_quit, 1);
	park_wake (&engine->house_park);
	pthread_join (engine->housekeeper, NULL);

	pthread_mutex_lock (&engine->control);
	pthread_rwlock_wrlock (&engine->life);
	atomic_store (&engine->stop_reading, 1);
	dispatch_wake (engine);
	engine->dispatch_stuck = !join (engine->dispatcher, &engine->dispatch_loops);
	for (uint32_t waited = 0; !quiet (engine) && waited < STOP_WAIT_US; waited += 1000)
		usleep (1000);
	good = join_instances (engine, engine->n) && !engine->dispatch_stuck;
	engine->running = false;
	pthread_rwlock_unlock (&engine->life);
	pthread_mutex_unlock (&engine->control);
	return good ? MVT_OK : MVT_ERR_HUNG;
}

/* ---- time ---- */

uint32_t
mvt_engine_now (mvt_engine_t *engine)
{
	return engine_tick (engine);
}

int
mvt_engine_advance (mvt_engine_t *engine, uint32_t seconds)
{
	mvt_err_t err = MVT_OK;
	bool all;

	pthread_mutex_lock (&engine->control);
	atomic_store (&engine->tick_offset, atomic_load (&engine->tick_offset) + seconds);
	if (engine->stepped)
		stepped_background (engine, true);
	else
		err = mail_sync (engine, &all);
	pthread_mutex_unlock (&engine->control);
	return err;
}

int
mvt_engine_set_tick (mvt_engine_t *engine, uint32_t tick)
{
	int result = MVT_OK;

	if (!engine->stepped)
		return MVT_ERR_UNSUPPORTED;
	pthread_mutex_lock (&engine->control);
	if (tick < engine_tick (engine))
		result = MVT_ERR_INVALID;
	else if (tick > engine_tick (engine))
	{
		atomic_store (&engine->tick_offset, tick);
		stepped_background (engine, false);
	}
	pthread_mutex_unlock (&engine->control);
	return result;
}

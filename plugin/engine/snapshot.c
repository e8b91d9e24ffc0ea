/* SPDX-License-Identifier: Apache-2.0
 *
 * What can be seen from outside, by any thread, without disturbing an instance.
 */
#define _GNU_SOURCE 1
#include "engine_private.h"

#include <stdlib.h>
#include <string.h>

#define LATE_EVENTS 65536u /* of nats that are gone, kept for the reader */

/* mvt_counters_t begins with counters, then gauges, all of one type, in the macros' order. */
enum
{
#define _(name, text) COUNTER_##name,
	foreach_mvt_counter
#undef _
		N_COUNTERS
};

enum
{
#define _(name, text) GAUGE_##name,
	foreach_mvt_gauge
#undef _
		N_GAUGES
};

_Static_assert (N_COUNTERS + N_GAUGES <= 64, "mvt_instance_snapshot_t.counters is too small");
_Static_assert (MVT_PASS_N <= 8, "mvt_instance_snapshot_t.passed is too small");
_Static_assert (MVT_DROP_N <= 32, "mvt_instance_snapshot_t.dropped is too small");
_Static_assert (offsetof (mvt_counters_t, passed) == (N_COUNTERS + N_GAUGES) * sizeof (uint64_t),
		"counters and gauges lie side by side");

static const _Atomic uint64_t *
words (const mvt_counters_t *counters)
{
	return (const _Atomic uint64_t *) (const void *) counters;
}

bool
engine_has_nat (const mvt_engine_t *engine, uint32_t id)
{
	mvt_engine_t *e = (mvt_engine_t *) (uintptr_t) engine;
	bool has;

	pthread_mutex_lock (&e->stat);
	has = engine->instance[id].nat_any != NULL && !atomic_load (&e->instance[id].taken_over);
	pthread_mutex_unlock (&e->stat);
	return has;
}

uint64_t
snapshot_gauge (mvt_engine_t *engine, uint32_t id, size_t offset)
{
	uint64_t value = 0;

	pthread_mutex_lock (&engine->stat);
	if (engine->instance[id].nat_any && !atomic_load (&engine->instance[id].taken_over))
		value = count_get (words (mvt_nat44_counters_any (engine->instance[id].nat_any)) +
				   offset / sizeof (uint64_t));
	pthread_mutex_unlock (&engine->stat);
	return value;
}

static void
keep_events (mvt_engine_t *engine, mvt_nat44_t *nat)
{
	mvt_event_t some[64], *all;
	uint32_t n;

	while ((n = mvt_nat44_events_any (nat, some, 64)) > 0)
	{
		all = engine->n_late_events < LATE_EVENTS
			      ? realloc (engine->late_events,
					 (engine->n_late_events + n) * sizeof *all)
			      : NULL;
		if (!all)
		{
			engine->instance[some[0].instance].base_counters[COUNTER_events_lost] += n;
			continue;
		}
		memcpy (all + engine->n_late_events, some, n * sizeof *all);
		engine->late_events = all;
		engine->n_late_events += n;
	}
}

void
snapshot_keep (instance_t *instance, mvt_nat44_t *nat)
{
	const mvt_counters_t *counters = mvt_nat44_counters_any (nat);

	keep_events (instance->engine, nat);
	for (uint32_t i = 0; i < N_COUNTERS; i++)
		instance->base_counters[i] += count_get (words (counters) + i);
	for (uint32_t i = 0; i < MVT_PASS_N; i++)
		instance->base_passed[i] += count_get (&counters->passed[i]);
	for (uint32_t i = 0; i < MVT_DROP_N; i++)
		instance->base_dropped[i] += count_get (&counters->dropped[i]);
}

static void
snapshot_one (instance_t *instance, mvt_instance_snapshot_t *out)
{
	instance_count_t *count = &instance->count;
	const mvt_counters_t *counters =
		instance->nat_any ? mvt_nat44_counters_any (instance->nat_any) : NULL;

	memset (out, 0, sizeof *out);
	out->id = instance->id;
	out->state = atomic_load_explicit (&instance->state, memory_order_relaxed);
	out->epoch = count_get (&instance->epoch);
	out->loops = count_get (&count->loops);
	out->cycles_busy = count_get (&count->cycles_busy);
	out->cycles_total = count_get (&count->cycles_total);
	out->ring_dropped = count_get (&instance->ring_dropped);
	out->io_errors = count_get (&count->io_errors);
	memcpy (out->counters, instance->base_counters, sizeof out->counters);
	for (uint32_t i = 0; i < MVT_PASS_N; i++)
		out->passed[i] = instance->base_passed[i];
	for (uint32_t i = 0; i < MVT_DROP_N; i++)
		out->dropped[i] = instance->base_dropped[i] + count_get (&count->dropped[i]);
	if (!counters)
		return;
	/* what is left of an instance that was taken over is nobody's */
	for (uint32_t i = 0; i < N_COUNTERS + (atomic_load (&instance->taken_over) ? 0 : N_GAUGES);
	     i++)
		out->counters[i] += count_get (words (counters) + i);
	for (uint32_t i = 0; i < MVT_PASS_N; i++)
		out->passed[i] += count_get (&counters->passed[i]);
	for (uint32_t i = 0; i < MVT_DROP_N; i++)
		out->dropped[i] += count_get (&counters->dropped[i]);
	out->free_blocks_by_slot_hint = out->counters[N_COUNTERS + GAUGE_starved_slot];
}

uint32_t
mvt_engine_snapshot (mvt_engine_t *engine, mvt_instance_snapshot_t *out, uint32_t max)
{
	uint32_t n = engine->n < max ? engine->n : max;

	pthread_mutex_lock (&engine->stat);
	for (uint32_t i = 0; i < n; i++)
		snapshot_one (&engine->instance[i], &out[i]);
	pthread_mutex_unlock (&engine->stat);
	return n;
}

void
mvt_engine_io_snapshot (mvt_engine_t *engine, mvt_io_snapshot_t *out)
{
	memset (out, 0, sizeof *out);
	for (unsigned dir = 0; dir < 2; dir++)
	{
		side_t *side = &engine->side[dir];
		out->packets[dir] = count_get (&side->packets);
		out->not_ipv4[dir] = count_get (&side->not_ipv4);
		out->oversize[dir] = count_get (&side->oversize);
		out->errors[dir] = count_get (&side->errors);
		out->failed[dir] = atomic_load_explicit (&side->failed, memory_order_relaxed);
	}
	out->no_buffer = count_get (&engine->no_buffer);
}

uint32_t
mvt_engine_events (mvt_engine_t *engine, mvt_event_t *out, uint32_t max)
{
	uint32_t n;

	pthread_mutex_lock (&engine->stat);
	n = engine->n_late_events < max ? engine->n_late_events : max;
	if (n)
	{
		memcpy (out, engine->late_events, n * sizeof *out);
		engine->n_late_events -= n;
		memmove (engine->late_events, engine->late_events + n,
			 engine->n_late_events * sizeof *out);
	}
	for (uint32_t i = 0; i < engine->n && n < max; i++)
		if (engine->instance[i].nat_any)
			n += mvt_nat44_events_any (engine->instance[i].nat_any, out + n, max - n);
	pthread_mutex_unlock (&engine->stat);
	return n;
}

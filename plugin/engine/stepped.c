/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine without threads: dispatcher and instances run on the caller's thread, packets in
 * order, instances by number, until no packet is under way. Nothing depends on addresses in
 * memory, on time or on threads, so the same input gives the same output.
 */
#include "engine_private.h"

#include <stdlib.h>
#include <string.h>

#define SET_TICK_SLICES 16u

/* ---- growing arrays: bounded by what the caller and the fragment stores hold ---- */

static bool
grow (void **array, uint32_t *size, uint32_t need, size_t item)
{
	uint32_t bigger = *size ? *size : 64;
	void *p;

	if (need <= *size)
		return true;
	while (bigger < need)
		bigger *= 2;
	p = realloc (*array, (size_t) bigger * item);
	if (!p)
		return false;
	*array = p;
	*size = bigger;
	return true;
}

/* Room for n packets more: then nothing in a step can fail. */
static bool
slots_reserve (mvt_engine_t *engine, uint32_t n)
{
	uint32_t old = engine->slots_size, have = 0;

	for (uint32_t i = engine->slot_free; i != MVT_NONE && have < n;
	     i = engine->slots[i].next_free)
		have++;
	if (have == n)
		return true;
	if (!grow ((void **) &engine->slots, &engine->slots_size, old + n, sizeof (slot_t)))
		return false;
	for (uint32_t i = engine->slots_size; i-- > old;)
	{
		engine->slots[i].next_free = engine->slot_free;
		engine->slot_free = i;
	}
	return true;
}

/* Every slot may be late, and every packet be in one queue. */
static bool
reserve (mvt_engine_t *engine, uint32_t n)
{
	if (!slots_reserve (engine, n))
		return false;
	if (engine->late_head)
	{
		engine->n_late -= engine->late_head;
		memmove (engine->late, engine->late + engine->late_head,
			 engine->n_late * sizeof *engine->late);
		engine->late_head = 0;
	}
	if (!grow ((void **) &engine->late, &engine->late_size, engine->n_late + engine->slots_size,
		   sizeof *engine->late))
		return false;
	for (uint32_t i = 0; i < engine->n; i++)
		if (!grow ((void **) &engine->queue[i].pkt, &engine->queue[i].size,
			   engine->slots_size, sizeof (mvt_pkt_t)))
			return false;
	return true;
}

static void
push (mvt_engine_t *engine, uint32_t to, const mvt_pkt_t *pkt)
{
	queue_t *q = &engine->queue[to];

	if (q->head + q->n == q->size)
	{
		memmove (q->pkt, q->pkt + q->head, q->n * sizeof *q->pkt);
		q->head = 0;
	}
	q->pkt[q->head + q->n++] = *pkt;
}

/* ---- verdicts ---- */

void
stepped_settle (instance_t *instance, mvt_pkt_t *pkt)
{
	mvt_engine_t *engine = instance->engine;
	slot_t *slot = &engine->slots[pkt->ref];
	mvt_engine_packet_t *rec = &slot->rec;

	if (pkt->verdict == MVT_VERDICT_HANDOFF)
	{
		if (pkt->to >= engine->n || pkt->to == instance->id)
			instance_drop (instance, pkt, MVT_DROP_NO_OWNER);
		else
		{
			pkt->hops++;
			push (engine, pkt->to, pkt);
			return;
		}
	}
	rec->verdict = pkt->verdict;
	rec->reason = pkt->reason;
	rec->flags = pkt->flags;
	/* the side it leaves by names itself by the direction of travel, which a hairpin turned */
	rec->dir = pkt->dir;
	rec->instance = instance->id;
	if (slot->index != MVT_NONE)
		engine->step_packets[slot->index] = *rec;
	if (pkt->verdict == MVT_VERDICT_HELD)
		return;
	if (slot->index == MVT_NONE)
		engine->late[engine->n_late++] = *rec;
	slot->next_free = engine->slot_free;
	engine->slot_free = (uint32_t) pkt->ref;
}

/* ---- a step ---- */

/* Until no packet is under way. */
static void
run (mvt_engine_t *engine, uint32_t now)
{
	mvt_pkt_t pkts[MVT_BATCH_MAX];
	bool worked;

	do
	{
		worked = false;
		for (uint32_t i = 0; i < engine->n; i++)
		{
			instance_t *instance = &engine->instance[i];
			queue_t *q = &engine->queue[i];
			uint32_t n = q->n < MVT_BATCH_MAX ? q->n : MVT_BATCH_MAX;
			uint64_t before = engine_cycles ();

			if (n && engine->n > 1)
				house_feed (engine, i);
			if (n)
			{
				memcpy (pkts, q->pkt + q->head, n * sizeof *pkts);
				q->head += n;
				q->n -= n;
				instance_process (instance, pkts, n, now);
				if (instance->nat)
					mvt_nat44_background (instance->nat, now,
							      ENGINE_BUSY_LINES);
			}
			n += instance_released (instance, now);
			count_add (&instance->count.loops, 1);
			if (n)
			{
				uint64_t cycles = engine_cycles () - before;
				count_add (&instance->count.cycles_busy, cycles);
				worked = true;
			}
		}
	} while (worked);
}

int
mvt_engine_step (mvt_engine_t *engine, mvt_engine_packet_t *packets, uint32_t n)
{
	uint64_t before = engine_cycles ();
	uint32_t taken[MVT_BATCH_MAX]; /* slots */
	uint32_t now;

	if (!engine->stepped)
		return MVT_ERR_UNSUPPORTED;
	pthread_mutex_lock (&engine->control);
	if (!reserve (engine, n < MVT_BATCH_MAX ? n : MVT_BATCH_MAX))
	{
		pthread_mutex_unlock (&engine->control);
		return MVT_ERR_NO_MEMORY;
	}
	now = engine_tick (engine);
	for (uint32_t at = 0; at < n; at += MVT_BATCH_MAX)
	{
		uint32_t chunk = n - at < MVT_BATCH_MAX ? n - at : MVT_BATCH_MAX;

		if (at && !reserve (engine, chunk))
		{
			/* the rest was not looked at: its verdict stays NONE */
			pthread_mutex_unlock (&engine->control);
			return MVT_ERR_NO_MEMORY;
		}
		engine->step_packets = packets + at;
		for (uint32_t i = 0; i < chunk; i++)
		{
			mvt_engine_packet_t *in = &packets[at + i];
			uint32_t s = engine->slot_free;
			slot_t *slot = &engine->slots[s];
			mvt_pkt_t pkt = { .l3 = in->data,
					  .ref = s,
					  .len = in->len,
					  .dir = in->dir != MVT_IN2OUT,
					  .flags = in->flags & MVT_PKT_TRUNCATED_OK };
			uint16_t to;

			if (engine->config.truncated_ok)
				pkt.flags |= MVT_PKT_TRUNCATED_OK;
			engine->slot_free = slot->next_free;
			to = mvt_dispatch (&engine->shared, &pkt);
			if (to >= engine->n)
				to = 0;
			in->verdict = MVT_VERDICT_NONE;
			in->first_instance = to;
			slot->rec = *in;
			slot->index = i;
			taken[i] = s;
			push (engine, to, &pkt);
		}
		run (engine, now);
		/* what still waits is given by mvt_engine_late */
		for (uint32_t i = 0; i < chunk; i++)
			if (packets[at + i].verdict == MVT_VERDICT_HELD)
				engine->slots[taken[i]].index = MVT_NONE;
		house_round (engine);
	}
	if (n == 0)
	{
		engine->step_packets = NULL;
		run (engine, now);
		house_round (engine);
	}
	for (uint32_t i = 0; i < engine->n; i++)
		count_add (&engine->instance[i].count.cycles_total, engine_cycles () - before);
	pthread_mutex_unlock (&engine->control);
	return 0;
}

uint32_t
mvt_engine_late (mvt_engine_t *engine, mvt_engine_packet_t *out, uint32_t max)
{
	uint32_t n;

	pthread_mutex_lock (&engine->control);
	n = engine->n_late - engine->late_head;
	if (n > max)
		n = max;
	if (n)
		memcpy (out, engine->late + engine->late_head, n * sizeof *out);
	engine->late_head += n;
	pthread_mutex_unlock (&engine->control);
	return n;
}

void
stepped_background (mvt_engine_t *engine, bool whole_round)
{
	uint32_t now = engine_tick (engine);

	for (uint32_t i = 0; i < engine->n; i++)
	{
		instance_t *instance = &engine->instance[i];
		const mvt_counters_t *counters;
		uint64_t rounds;
		uint32_t slices = 0;

		if (!instance->nat)
			continue;
		counters = mvt_nat44_counters_any (instance->nat);
		rounds = count_get (&counters->sweep_rounds);
		/* the second end of a round is the end of a whole one */
		while ((mvt_nat44_background (instance->nat, now, ENGINE_IDLE_LINES) > 0 ||
			count_get (&counters->sweep_rounds) < rounds + 2) &&
		       (whole_round || ++slices < SET_TICK_SLICES))
			;
	}
	if (reserve (engine, 0))
		run (engine, now);
	house_round (engine);
}

void
stepped_free (mvt_engine_t *engine)
{
	if (engine->queue)
		for (uint32_t i = 0; i < engine->n; i++)
			free (engine->queue[i].pkt);
	free (engine->queue);
	free (engine->slots);
	free (engine->late);
}

/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1
#include "engine_private.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define SLEEP_MIN_US   1000u
#define SLEEP_MAX_US   100000u
#define SLEEP_SPARE_US 1000000u
#define PEER_QUOTA     32u  /* per peer and turn, while others wait */
#define PEERS_QUOTA    128u /* of all peers together */
#define WAKE_AGAIN_US  100000u

static inline source_t *
source_of (mvt_engine_t *engine)
{
	return atomic_load_explicit (&engine->source, memory_order_acquire);
}

/* ---- after the verdict ---- */

static void
give_back (instance_t *instance, buffer_t *buffer)
{
	/* has room for every buffer that exists */
	ring_put (instance->engine->give_back[instance->id], buffer);
}

static void
leave (instance_t *instance, buffer_t *buffer)
{
	mvt_engine_t *engine = instance->engine;
	/* what comes in on one side leaves by the other; a hairpin has turned its direction */
	unsigned out = buffer->pkt.dir == MVT_IN2OUT ? MVT_OUT2IN : MVT_IN2OUT;

	buffer->instance = instance->id;
	if (engine->by_device[out])
	{
		ssize_t n;
		do
			n = write (engine->side[out].fd, buffer->pkt.l3, buffer->pkt.len);
		while (n < 0 && errno == EINTR);
		if (n < 0)
			count_add (&instance->count.io_errors, 1);
	}
	else if (ring_put (engine->collect[instance->id], buffer))
		return;
	else
		count_add (&instance->count.io_errors, 1);
	give_back (instance, buffer);
}

void
instance_drop (instance_t *instance, mvt_pkt_t *pkt, mvt_drop_t reason)
{
	pkt->verdict = MVT_VERDICT_DROPPED;
	pkt->reason = (uint8_t) reason;
	count_add (&instance->count.dropped[reason], 1);
}

static void
settle (instance_t *instance, mvt_pkt_t *pkt)
{
	mvt_engine_t *engine = instance->engine;
	source_t *source = source_of (engine);
	buffer_t *buffer = (buffer_t *) (uintptr_t) pkt->ref;

	if (pkt->verdict == MVT_VERDICT_HELD)
		return;
	if (pkt->verdict == MVT_VERDICT_HANDOFF)
	{
		pkt->hops++;
		buffer->pkt = *pkt;
		if (pkt->to >= engine->n || pkt->to == instance->id)
			instance_drop (instance, pkt, MVT_DROP_NO_OWNER);
		else if (!ring_put (engine->handoff[instance->id * engine->n + pkt->to], buffer))
			instance_drop (instance, pkt, MVT_DROP_HANDOFF_CONGESTION);
		else
		{
			instance->touched |= 1ull << pkt->to;
			return;
		}
	}
	if (mvt_unlikely (source != NULL))
	{
		source->done (source, instance, pkt);
		return;
	}
	if (pkt->verdict == MVT_VERDICT_DROPPED)
	{
		give_back (instance, buffer);
		return;
	}
	buffer->pkt = *pkt;
	leave (instance, buffer);
}

void
instance_process (instance_t *instance, mvt_pkt_t *pkts, uint32_t n, uint32_t now)
{
	bool stepped = instance->engine->stepped;

	if (mvt_likely (instance->nat != NULL))
		mvt_nat44_process (instance->nat, pkts, n, now);
	else
		for (uint32_t i = 0; i < n; i++)
			instance_drop (instance, &pkts[i], MVT_DROP_NO_OWNER);
	for (uint32_t i = 0; i < n; i++)
		if (stepped)
			stepped_settle (instance, &pkts[i]);
		else
			settle (instance, &pkts[i]);
}

uint32_t
instance_released (instance_t *instance, uint32_t now)
{
	mvt_pkt_t pkts[64];
	uint32_t all = 0, n;

	if (!instance->nat)
		return 0;
	while ((n = mvt_nat44_released (instance->nat, pkts, 64)) > 0)
	{
		uint32_t again = 0;
		for (uint32_t i = 0; i < n; i++)
			if (pkts[i].verdict == MVT_VERDICT_NONE)
				pkts[again++] = pkts[i];
			else if (instance->engine->stepped)
				stepped_settle (instance, &pkts[i]);
			else
				settle (instance, &pkts[i]);
		if (again)
			instance_process (instance, pkts, again, now);
		all += n;
	}
	return all;
}

/* ---- a turn ---- */

static uint32_t
gather (instance_t *instance, mvt_pkt_t *pkts)
{
	mvt_engine_t *engine = instance->engine;
	source_t *source = source_of (engine);
	buffer_t *buffers[MVT_BATCH_MAX];
	uint32_t n = 0, peer = instance->next_peer;

	for (uint32_t i = 0; i < engine->n && n < PEERS_QUOTA; i++)
	{
		if (peer != instance->id)
			n += ring_dequeue (engine->handoff[peer * engine->n + instance->id],
					   (void **) &buffers[n], PEER_QUOTA);
		peer = peer + 1 == engine->n ? 0 : peer + 1;
	}
	instance->next_peer = peer;
	n += ring_dequeue (engine->to_instance[instance->id], (void **) &buffers[n],
			   MVT_BATCH_MAX - n);
	for (uint32_t i = 0; i < n; i++)
	{
		__builtin_prefetch (buffers[i]);
		__builtin_prefetch (buffers[i]->data);
	}
	for (uint32_t i = 0; i < n; i++)
		pkts[i] = buffers[i]->pkt;
	if (mvt_unlikely (source != NULL))
		n += source->take (source, instance, pkts + n, MVT_BATCH_MAX - n);
	return n;
}

bool
host_packets_wait (instance_t *instance)
{
	mvt_engine_t *engine = instance->engine;

	if (ring_ready (engine->to_instance[instance->id]))
		return true;
	for (uint32_t peer = 0; peer < engine->n; peer++)
		if (peer != instance->id &&
		    ring_ready (engine->handoff[peer * engine->n + instance->id]))
			return true;
	return false;
}

bool
host_at_hand (mvt_engine_t *engine, uint32_t i)
{
	/* nobody may touch what a thread that did not end may still be working with */
	bool stuck = i < engine->n ? engine->instance[i].stuck : engine->dispatch_stuck;
	return !engine->running && !stuck;
}

uint32_t
host_wake (mvt_engine_t *engine, uint32_t i)
{
	if (i < engine->n)
		park_wake (&engine->instance[i].park);
	else
		dispatch_wake (engine);
	return WAKE_AGAIN_US;
}

uint32_t
host_threads (const mvt_engine_t *engine)
{
	return engine->n + 1;
}

/* Tell the others what this turn put into their rings. */
static void
publish (instance_t *instance)
{
	mvt_engine_t *engine = instance->engine;

	for (uint64_t left = instance->touched; left; left &= left - 1)
	{
		uint32_t peer = (uint32_t) __builtin_ctzll (left);
		ring_publish (engine->handoff[instance->id * engine->n + peer]);
		park_wake (&engine->instance[peer].park);
	}
	instance->touched = 0;
	if (ring_publish (engine->collect[instance->id]))
		park_wake (&engine->collect_park);
	ring_publish (engine->give_back[instance->id]);
}

static bool
has_work (instance_t *instance)
{
	return host_packets_wait (instance) || ring_ready (instance->mail.ring) ||
	       atomic_load_explicit (&instance->engine->quit, memory_order_relaxed);
}

static void
idle (instance_t *instance, bool more_to_sweep, uint32_t *sleep_us)
{
	if (mvt_unlikely (instance->nat && source_of (instance->engine) != NULL))
		return; /* whoever has a queue of its own polls it */
	for (uint32_t i = 0; i < instance->engine->spin; i++)
	{
		if (host_packets_wait (instance))
			return;
		cpu_relax ();
	}
	park_announce (&instance->park);
	if (has_work (instance))
		park_cancel (&instance->park);
	else
		park_sleep (&instance->park, *sleep_us);
	if (!instance->nat)
		*sleep_us = SLEEP_SPARE_US;
	else if (more_to_sweep)
		*sleep_us = SLEEP_MIN_US;
	else if (*sleep_us < SLEEP_MAX_US)
		*sleep_us *= 2;
	else
		*sleep_us = SLEEP_MAX_US;
}

void *
instance_main (void *arg)
{
	instance_t *instance = arg;
	mvt_engine_t *engine = instance->engine;
	mvt_pkt_t pkts[MVT_BATCH_MAX];
	uint64_t before = engine_cycles ();
	uint32_t sleep_us = SLEEP_MIN_US;

	for (;;)
	{
		uint32_t now, n;
		bool worked, more = false;
		uint64_t after;

		count_add (&instance->count.loops, 1);
		worked = mail_turn (instance, engine_tick (engine));
		/* after the jobs: whoever was told that a loop has begun may have moved the clock
		 */
		now = engine_tick (engine);
		n = gather (instance, pkts);
		if (n)
			instance_process (instance, pkts, n, now);
		else if (!worked && atomic_load_explicit (&engine->quit, memory_order_acquire))
			break;
		if (instance->nat)
		{
			if (n)
				mvt_nat44_background (instance->nat, now, ENGINE_BUSY_LINES);
			else if (!worked)
				more = instance_sweep (instance, now);
			n += instance_released (instance, now);
		}
		publish (instance);

		after = engine_cycles ();
		if (n)
			count_add (&instance->count.cycles_busy, after - before);
		count_add (&instance->count.cycles_total, after - before);
		before = after;
		if (n || worked)
		{
			sleep_us = SLEEP_MIN_US;
			continue;
		}
		idle (instance, more, &sleep_us);
		after = engine_cycles ();
		count_add (&instance->count.cycles_total, after - before);
		before = after;
	}
	return NULL;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Housekeeping between instances: free blocks go where they are needed (DESIGN 5, refill), out of
 * instances that drain, and instances that are empty become spare. Its own thread every 10 ms; in
 * a stepped engine, after every batch.
 */
#define _GNU_SOURCE 1
#include "engine_private.h"

#include <time.h>

#define STARVED_WAIT_MAX 64u /* rounds between two vain refills of an exhausted address */
#define STARVED_MIN	 4u  /* blocks of it that are asked for at once, at least */
#define PACE_ROUNDS	 8u  /* rounds that free blocks should last */
#define FED_ROUNDS	 64u /* rounds that blocks are left to whom they were given */

typedef struct
{
	uint16_t active[MVT_HOME_INSTANCES];
	uint32_t n_active;
	uint64_t blocks; /* of all instances */
	uint64_t free[MVT_HOME_INSTANCES];
	uint64_t pace[MVT_HOME_INSTANCES]; /* more blocks in use than at the last round */
	uint64_t low;			   /* an instance with less is refilled */
} view_t;

static uint64_t
blocks_used (mvt_engine_t *engine, uint32_t id)
{
	return GAUGE (engine, id, blocks_open) + GAUGE (engine, id, blocks_closed);
}

static void
look (mvt_engine_t *engine, view_t *v)
{
	v->n_active = control_active (engine, v->active);
	v->blocks = 0;
	for (uint32_t i = 0; i < engine->n; i++)
	{
		v->free[i] = GAUGE (engine, i, blocks_free);
		/* not by what is free: that also falls when blocks are given away */
		uint64_t used = blocks_used (engine, i), then = engine->instance[i].used_then;
		v->pace[i] = used > then ? used - then : 0;
		v->blocks += GAUGE (engine, i, blocks);
	}
	v->low = v->n_active ? v->blocks / v->n_active * engine->config.low_water_percent / 100 : 0;
	if (v->low == 0)
		v->low = 1;
}

/* Any instance may give, draining ones too. */
static uint32_t
richest (mvt_engine_t *engine, const view_t *v, uint32_t except)
{
	uint32_t best = MVT_NONE;

	for (uint32_t i = 0; i < engine->n; i++)
		if (i != except && v->free[i] && (best == MVT_NONE || v->free[i] > v->free[best]))
			best = i;
	return best;
}

static uint32_t
move (mvt_engine_t *engine, view_t *v, uint32_t from, uint32_t to, uint32_t slot, uint64_t n)
{
	uint32_t moved = control_move (engine, from, to, slot, (uint32_t) n);

	v->free[from] -= moved < v->free[from] ? moved : v->free[from];
	v->free[to] += moved;
	if (moved)
		engine->instance[to].fed = engine->house_rounds;
	return moved;
}

/* An address whose ports ran out here: blocks of it from whoever has some, the richest first. */
static void
refill_starved (mvt_engine_t *engine, view_t *v, uint32_t to)
{
	instance_t *instance = &engine->instance[to];
	uint64_t starved = GAUGE (engine, to, starved_slot);
	uint64_t asked = 1ull << to;

	if (!starved)
	{
		instance->starved_wait = 0;
		return;
	}
	if (engine->house_rounds < instance->starved_until)
		return;
	for (;;)
	{
		uint32_t from = MVT_NONE;
		uint64_t want;

		for (uint32_t i = 0; i < engine->n; i++)
			if (!(asked >> i & 1) && v->free[i] &&
			    (from == MVT_NONE || v->free[i] > v->free[from]))
				from = i;
		if (from == MVT_NONE)
			break;
		asked |= 1ull << from;
		want = v->free[from] / 2 / (engine->n_slots_used ? engine->n_slots_used : 1);
		if (want < STARVED_MIN)
			want = STARVED_MIN;
		if (move (engine, v, from, to, (uint32_t) starved - 1, want))
		{
			instance->starved_wait = 0;
			return;
		}
	}
	/* nobody has any: ask less and less often, since asking wakes them */
	if (!engine->stepped)
	{
		instance->starved_wait = instance->starved_wait ? instance->starved_wait * 2 : 1;
		if (instance->starved_wait > STARVED_WAIT_MAX)
			instance->starved_wait = STARVED_WAIT_MAX;
		instance->starved_until = engine->house_rounds + instance->starved_wait;
	}
}

/* Was it given blocks a moment ago? Then it needs them, though it may not have used them yet. */
static bool
just_fed (const mvt_engine_t *engine, uint32_t id)
{
	const instance_t *instance = &engine->instance[id];
	return instance->fed && engine->house_rounds - instance->fed < FED_ROUNDS;
}

/* Below the mark, which is as much as a few rounds take at the present pace: meet in the middle
 * with the richest, so that the next refill is far off. Where that is less than what is needed,
 * whoever does not use its blocks now gives more, down to the last: ports are worth nothing where
 * no flow comes. An instance that makes no mappings takes nobody's last block. */
static void
refill_low (mvt_engine_t *engine, view_t *v, uint32_t to)
{
	bool hungry = v->pace[to] != 0;
	uint64_t need = v->pace[to] * PACE_ROUNDS > v->low ? v->pace[to] * PACE_ROUNDS : v->low;

	for (uint32_t turn = 0; turn < engine->n && v->free[to] < need; turn++)
	{
		uint32_t from = richest (engine, v, to);
		uint64_t n = 0;

		if (from == MVT_NONE)
			return;
		if (v->free[from] > v->free[to])
			n = (v->free[from] - v->free[to]) / 2;
		if (hungry && v->pace[from] == 0 && !just_fed (engine, from))
		{
			if (n < need - v->free[to])
				n = need - v->free[to];
			if (n > v->free[from])
				n = v->free[from];
		}
		if (n == 0 || move (engine, v, from, to, MVT_NONE, n) == 0)
			return;
	}
}

/* Only who makes mappings needs blocks: an instance that was just started gets its part by `shard`,
 * not here. */
static void
refill (mvt_engine_t *engine, view_t *v)
{
	uint64_t named = engine->home.named;

	for (uint32_t i = 0; i < engine->n; i++)
	{
		uint32_t state = atomic_load (&engine->instance[i].state);

		if (state == MVT_INSTANCE_SPARE || !(named >> i & 1))
			continue;
		refill_starved (engine, v, i);
		refill_low (engine, v, i);
	}
}

void
house_feed (mvt_engine_t *engine, uint32_t id)
{
	view_t v;
	uint32_t from;

	if (!(engine->home.named >> id & 1) || !engine_has_nat (engine, id) ||
	    GAUGE (engine, id, blocks_free) != 0)
		return;
	look (engine, &v);
	from = richest (engine, &v, id);
	if (from != MVT_NONE)
		move (engine, &v, from, id, MVT_NONE, (v.free[from] + 1) / 2);
}

/* While the home map still sends it new hosts, an instance that drains keeps what it needs. */
static void
drain (mvt_engine_t *engine, view_t *v, uint32_t id)
{
	bool named = engine->home.named >> id & 1;
	uint64_t keep = named ? v->low : 0;
	uint64_t give = v->free[id] > keep ? v->free[id] - keep : 0;
	uint32_t n = v->n_active;

	for (uint32_t a = 0; a < v->n_active && give; a++, n--)
	{
		uint64_t part = (give + n - 1) / n;
		uint32_t moved = move (engine, v, id, v->active[a], MVT_NONE, part);
		give -= moved < give ? moved : give;
	}
}

/* Nothing is left but blocks without a mapping, and nobody is sent there. */
static bool
drained (mvt_engine_t *engine, uint32_t id)
{
	uint32_t now = engine_tick (engine);

	return !((engine->home.named | engine->rules.named) >> id & 1) &&
	       GAUGE (engine, id, blocks_free) == 0 &&
	       GAUGE (engine, id, mappings) == statics_of (engine, id) &&
	       GAUGE (engine, id, ports_held) == 0 &&
	       now - engine->instance[id].drain_tick > engine->config.fragment_timeout;
}

void
house_round (mvt_engine_t *engine)
{
	view_t v;

	engine->house_rounds++;
	look (engine, &v);
	if (engine->n > 1)
		refill (engine, &v);
	for (uint32_t i = 0; i < engine->n; i++)
	{
		control_returned (engine, i);
		if (atomic_load (&engine->instance[i].state) != MVT_INSTANCE_DRAINING)
			continue;
		drain (engine, &v, i);
		if (drained (engine, i) && control_retire (engine, i) == MVT_OK)
			atomic_store (&engine->instance[i].state, MVT_INSTANCE_SPARE);
	}
	rest_round (engine);
	publish_forget (engine);
	for (uint32_t i = 0; i < engine->n; i++)
		engine->instance[i].used_then = blocks_used (engine, i);
}

void *
house_main (void *arg)
{
	mvt_engine_t *engine = arg;

	while (!atomic_load (&engine->house_quit))
	{
		pthread_mutex_lock (&engine->control);
		house_round (engine);
		pthread_mutex_unlock (&engine->control);
		park_announce (&engine->house_park);
		if (!atomic_load (&engine->house_quit))
			park_sleep (&engine->house_park, ENGINE_HOUSE_US);
	}
	return NULL;
}

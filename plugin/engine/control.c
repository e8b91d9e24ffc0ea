/* SPDX-License-Identifier: Apache-2.0
 *
 * Control of instances and blocks.
 */
#define _GNU_SOURCE 1
#include "engine_private.h"

#include <stdlib.h>
#include <string.h>

/* ---- who is active ---- */

uint32_t
control_active (const mvt_engine_t *engine, uint16_t *active)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < engine->n; i++)
		if (atomic_load (&engine->instance[i].state) == MVT_INSTANCE_ACTIVE)
			active[n++] = (uint16_t) i;
	return n;
}

/* Readers may see the list half old, half new: each word names an instance that takes anything. */
void
control_publish_active (mvt_engine_t *engine)
{
	uint16_t active[MVT_HOME_INSTANCES];
	uint32_t n = control_active (engine, active);

	for (uint32_t i = 0; i < n; i++)
		atomic_store_explicit (&engine->shared.active[i], active[i], memory_order_relaxed);
	atomic_store_explicit (&engine->shared.n_active, n, memory_order_release);
}

/* ---- blocks ---- */

uint32_t
control_move (mvt_engine_t *engine, uint32_t from, uint32_t to, uint32_t slot, uint32_t n)
{
	uint32_t blocks[ENGINE_GIVE], moved = 0;

	while (moved < n)
	{
		uint32_t ask = n - moved < ENGINE_GIVE ? n - moved : ENGINE_GIVE;
		mvt_job_t give = { .op = MVT_JOB_GIVE_BLOCKS,
				   .to = (uint16_t) to,
				   .slot = slot,
				   .max = ask,
				   .out.blocks = blocks };
		mvt_job_t take = { .op = MVT_JOB_TAKE_BLOCKS, .out.blocks = blocks };

		if (mail_hangs (engine, to) || mail_job (engine, from, &give) != MVT_OK ||
		    give.n == 0)
			break;
		take.n = give.n;
		if (mail_job (engine, to, &take) == MVT_ERR_HUNG)
		{
			mail_job (engine, from, &take); /* back */
			break;
		}
		moved += give.n;
		if (give.n < ask)
			break;
	}
	return moved;
}

static bool
block_usable (const mvt_engine_t *engine, uint32_t local)
{
	uint32_t port = local << engine->block_bits, size = 1u << engine->block_bits;

	if (size < 64)
		return (engine->allocatable[port / 64] >> (port % 64) & ((1ull << size) - 1)) != 0;
	for (uint32_t w = port / 64; w < (port + size) / 64; w++)
		if (engine->allocatable[w])
			return true;
	return false;
}

/* Runs are cut by usable blocks, so that every instance gets as many; the blocks between, where
 * only static mappings may live, go with their neighbours. */
mvt_err_t
control_deal (mvt_engine_t *engine, uint32_t first_slot, uint32_t n_slots, uint16_t from)
{
	const mvt_directory_t *dir = engine->shared.directory;
	uint32_t per_slot = 65536u >> engine->block_bits, usable = 0;
	uint16_t active[MVT_HOME_INSTANCES];
	uint32_t n_active = control_active (engine, active);
	uint32_t *blocks = malloc ((size_t) n_slots * per_slot * sizeof *blocks);
	bool *is_usable = malloc (per_slot);

	if (!blocks || !is_usable || !n_active)
	{
		free (blocks);
		free (is_usable);
		return MVT_ERR_NO_MEMORY;
	}
	for (uint32_t b = 0; b < per_slot; b++)
		usable += is_usable[b] = block_usable (engine, b);
	for (uint32_t a = 0; a < n_active; a++)
	{
		mvt_job_t take = { .op = MVT_JOB_TAKE_BLOCKS, .out.blocks = blocks };
		uint32_t n = 0;

		for (uint32_t slot = first_slot; slot < first_slot + n_slots; slot++)
			for (uint32_t b = 0, k = 0; b < per_slot; k += is_usable[b++])
			{
				uint32_t block = slot * per_slot + b;
				uint32_t run =
					usable ? (uint32_t) ((uint64_t) k * n_active / usable) : 0;
				/* where addresses are few, not always the first gets one more */
				if ((run + slot) % n_active == a &&
				    (mvt_directory_owner (dir, block) == from))
					blocks[n++] = block;
			}
		take.n = n;
		if (n)
			mail_job (engine, active[a], &take);
	}
	free (blocks);
	free (is_usable);
	return MVT_OK;
}

static bool
instance_serves (const mvt_engine_t *engine, uint32_t id, bool draining_too)
{
	uint32_t state;

	if (id >= engine->n)
		return false;
	state = atomic_load (&engine->instance[id].state);
	return state == MVT_INSTANCE_ACTIVE || (draining_too && state == MVT_INSTANCE_DRAINING);
}

int
mvt_engine_transfer (mvt_engine_t *engine, uint32_t from, uint32_t to, uint32_t slot, uint32_t n)
{
	int moved = MVT_ERR_INVALID;

	pthread_mutex_lock (&engine->control);
	if (instance_serves (engine, from, true) && instance_serves (engine, to, false) &&
	    from != to && (slot == MVT_NONE || slot < engine->n_slots))
		moved = (int) control_move (engine, from, to, slot, n > INT32_MAX ? INT32_MAX : n);
	pthread_mutex_unlock (&engine->control);
	return moved;
}

int
mvt_engine_shard (mvt_engine_t *engine, uint32_t from, uint32_t to, uint32_t percent)
{
	int moved = MVT_ERR_INVALID;

	pthread_mutex_lock (&engine->control);
	if (instance_serves (engine, from, true) && instance_serves (engine, to, false) &&
	    from != to && percent <= 100)
		moved = (int) control_move (
			engine, from, to, MVT_NONE,
			(uint32_t) (GAUGE (engine, from, blocks_free) * percent / 100));
	pthread_mutex_unlock (&engine->control);
	return moved;
}

/* ---- instances come and go ---- */

static void
set_nat_any (mvt_engine_t *engine, instance_t *instance, mvt_nat44_t *nat, mvt_nat44_t *old)
{
	pthread_mutex_lock (&engine->stat);
	if (old)
		snapshot_keep (instance, old);
	instance->nat_any = nat;
	pthread_mutex_unlock (&engine->stat);
}

mvt_err_t
control_start_nat (mvt_engine_t *engine, uint32_t id)
{
	instance_t *instance = &engine->instance[id];
	mvt_err_t err;
	mvt_nat44_t *nat, *none;

	if (atomic_load (&instance->taken_over) || mail_hangs (engine, id))
		return MVT_ERR_HUNG;
	nat = engine_nat_new (engine, id, &err);
	if (!nat)
		return err;
	publish_drained_to (engine, nat);
	err = mail_swap (engine, id, nat, false, &none);
	if (!err)
		set_nat_any (engine, instance, nat, NULL);
	else if (err != MVT_ERR_AGAIN)
		mvt_nat44_remove (nat);
	return err;
}

/* A nat that no thread works with any more: its mappings end, counted and logged. */
static void
discard (mvt_engine_t *engine, instance_t *instance, mvt_nat44_t *old, mvt_nat44_t *new)
{
	mvt_job_t job = { .op = MVT_JOB_DELETE_MAPPINGS };

	if (!old)
		return;
	while (mvt_nat44_job (old, &job, engine_tick (engine)) == MVT_ERR_AGAIN)
		;
	set_nat_any (engine, instance, new, old);
	mvt_nat44_remove (old);
}

mvt_err_t
control_retire (mvt_engine_t *engine, uint32_t id)
{
	instance_t *instance = &engine->instance[id];
	mvt_nat44_t *old;
	mvt_err_t err;

	bool all;

	/* whoever still had a reason to send it something has begun another loop */
	err = mail_sync (engine, &all);
	if (!err)
		err = mail_swap (engine, id, NULL, true, &old);
	if (err)
		return err;
	discard (engine, instance, old, NULL);
	err = control_deal (engine, 0, engine->n_slots, (uint16_t) id);
	return err ? err : statics_move (engine, id);
}

int
mvt_engine_activate (mvt_engine_t *engine, uint32_t id)
{
	instance_t *instance = &engine->instance[id];
	mvt_err_t err = MVT_OK;

	if (id >= engine->n)
		return MVT_ERR_INVALID;
	pthread_mutex_lock (&engine->control);
	if (!engine_has_nat (engine, id))
		err = control_start_nat (engine, id);
	if (!err)
	{
		atomic_store (&instance->state, MVT_INSTANCE_ACTIVE);
		control_publish_active (engine);
	}
	pthread_mutex_unlock (&engine->control);
	return err;
}

int
mvt_engine_drain (mvt_engine_t *engine, uint32_t id)
{
	uint16_t active[MVT_HOME_INSTANCES];
	int result = MVT_OK;

	if (id >= engine->n)
		return MVT_ERR_INVALID;
	pthread_mutex_lock (&engine->control);
	if (atomic_load (&engine->instance[id].state) == MVT_INSTANCE_ACTIVE)
	{
		if (control_active (engine, active) == 1)
			result = MVT_ERR_IN_USE; /* somebody must serve */
		else
		{
			atomic_store (&engine->instance[id].state, MVT_INSTANCE_DRAINING);
			engine->instance[id].drain_tick = engine_tick (engine);
			control_publish_active (engine);
		}
	}
	pthread_mutex_unlock (&engine->control);
	return result;
}

/* The blocks of an instance's static mappings, for a nat that replaces its own. */
static void
take_static_blocks (mvt_engine_t *engine, uint32_t id, mvt_nat44_t *nat)
{
	const mvt_policy_set_t *policy = atomic_load (&engine->shared.policy);

	for (uint32_t i = 0; i < engine->n_statics; i++)
	{
		const static_t *s = &engine->statics[i];
		uint32_t slot = mvt_policy_slot_of (policy, s->ext.addr, NULL), block;
		mvt_job_t take = { .op = MVT_JOB_TAKE_BLOCKS, .n = 1, .out.blocks = &block };

		if (s->instance != id || slot == MVT_NONE)
			continue;
		block = mvt_directory_block (engine->shared.directory, slot, s->ext.port);
		mvt_nat44_job (nat, &take, engine_tick (engine));
	}
}

static mvt_err_t
replace_nat (mvt_engine_t *engine, uint32_t id)
{
	instance_t *instance = &engine->instance[id];
	mvt_nat44_t *nat, *old;
	mvt_err_t err;

	if (mail_hangs (engine, id))
		return MVT_ERR_HUNG;
	nat = engine_nat_new (engine, id, &err);
	if (!nat)
		return err;
	publish_drained_to (engine, nat);
	take_static_blocks (engine, id, nat);
	statics_to (engine, id, nat);
	err = mail_swap (engine, id, nat, false, &old);
	if (err == MVT_ERR_AGAIN)
		return MVT_ERR_HUNG;
	if (err)
	{
		mvt_nat44_remove (nat);
		return err;
	}
	rest_after (engine, id, old);
	discard (engine, instance, old, nat);
	return MVT_OK;
}

/* What hangs cannot be asked for anything: it becomes a spare instance whose thread gives up its
 * nat before its next packet, should it ever begin another loop. */
static mvt_err_t
take_over (mvt_engine_t *engine, uint32_t id)
{
	instance_t *instance = &engine->instance[id];
	uint16_t active[MVT_HOME_INSTANCES];
	uint32_t n = control_active (engine, active);

	if (n == 0 || (n == 1 && active[0] == id))
		return MVT_ERR_HUNG; /* nobody is left to take its place */
	atomic_store_explicit (&instance->taken_over, 1, memory_order_release);
	atomic_store (&instance->state, MVT_INSTANCE_SPARE);
	control_publish_active (engine);
	rest_all (engine, id);
	return statics_move (engine, id);
}

void
control_returned (mvt_engine_t *engine, uint32_t id)
{
	instance_t *instance = &engine->instance[id];
	mvt_nat44_t *old = atomic_exchange (&instance->void_nat, NULL);

	if (!old)
		return;
	discard (engine, instance, old, NULL);
	atomic_store (&instance->taken_over, 0);
}

int
mvt_engine_reset_instance (mvt_engine_t *engine, uint32_t id)
{
	instance_t *instance = &engine->instance[id];
	mvt_err_t err = MVT_OK;

	if (id >= engine->n)
		return MVT_ERR_INVALID;
	pthread_mutex_lock (&engine->control);
	if (engine_has_nat (engine, id))
	{
		err = replace_nat (engine, id);
		if (err == MVT_ERR_HUNG)
			err = take_over (engine, id);
	}
	if (!err)
		atomic_store (&instance->epoch, atomic_load (&instance->epoch) + 1);
	pthread_mutex_unlock (&engine->control);
	return err;
}

uint64_t
mvt_engine_hung (mvt_engine_t *engine, int *dispatcher)
{
	uint64_t hung = 0;

	for (uint32_t i = 0; i < engine->n; i++)
		if (mail_hangs (engine, i) || engine->instance[i].stuck)
			hung |= 1ull << i;
	*dispatcher = mail_hangs (engine, engine->n) || engine->dispatch_stuck;
	return hung;
}

/* ---- jobs of callers ---- */

int
mvt_engine_job (mvt_engine_t *engine, uint32_t instance, mvt_job_t *job)
{
	int result = MVT_ERR_INVALID;

	switch (job->op)
	{
	case MVT_JOB_STATIC_ADD:
	case MVT_JOB_STATIC_DEL:
		pthread_mutex_lock (&engine->control);
		result = job->op == MVT_JOB_STATIC_ADD ? statics_add (engine, job)
						       : statics_del (engine, job);
		job->result = (mvt_err_t) result;
		pthread_mutex_unlock (&engine->control);
		return result;
	case MVT_JOB_LIST_MAPPINGS:
	case MVT_JOB_LIST_HOSTS:
	case MVT_JOB_LIST_BLOCKS:
	case MVT_JOB_DELETE_MAPPINGS:
	case MVT_JOB_MATCHES:
	case MVT_JOB_LIST_HITS:
	case MVT_JOB_SYNC:
		break;
	default:
		return MVT_ERR_UNSUPPORTED;
	}
	if (instance >= engine->n)
		return MVT_ERR_INVALID;
	job->n = 0;
	/* a long list must not keep refill and others waiting */
	pthread_rwlock_rdlock (&engine->life);
	if (engine->running)
	{
		result = mail_job (engine, instance, job);
		pthread_rwlock_unlock (&engine->life);
	}
	else
	{
		pthread_rwlock_unlock (&engine->life);
		pthread_mutex_lock (&engine->control);
		result = mail_job (engine, instance, job);
		pthread_mutex_unlock (&engine->control);
	}
	return result == MVT_ERR_AGAIN ? MVT_ERR_HUNG : result;
}

/* ---- what is published ---- */

int
mvt_engine_set_home (mvt_engine_t *engine, const mvt_home_desc_t *desc)
{
	int result;

	pthread_mutex_lock (&engine->control);
	result = publish_home (engine, desc);
	pthread_mutex_unlock (&engine->control);
	return result;
}

int
mvt_engine_set_rules (mvt_engine_t *engine, const mvt_home_desc_t *desc)
{
	int result;

	pthread_mutex_lock (&engine->control);
	result = publish_rules (engine, desc);
	pthread_mutex_unlock (&engine->control);
	return result;
}

int
mvt_engine_set_policy (mvt_engine_t *engine, const mvt_policy_desc_t *desc, int force)
{
	int result;

	pthread_mutex_lock (&engine->control);
	result = publish_policy (engine, desc, force != 0);
	pthread_mutex_unlock (&engine->control);
	return result;
}

uint64_t
mvt_engine_home_version (mvt_engine_t *engine)
{
	return count_get (&engine->home.version);
}

uint32_t
mvt_engine_bucket (mvt_engine_t *engine, uint16_t realm, uint32_t addr)
{
	return mvt_home_bucket (engine->bucket_key, realm, addr);
}

int
mvt_engine_bucket_table (mvt_engine_t *engine, uint16_t *table)
{
	const mvt_home_desc_t *desc = &engine->home.desc;
	int result = MVT_ERR_NOT_FOUND;

	pthread_mutex_lock (&engine->control);
	for (uint32_t i = 0; i < desc->n_ranges; i++)
		if (desc->ranges[i].prefix.len == 0 && desc->ranges[i].realm == 0)
		{
			uint32_t t = desc->ranges[i].table;
			for (uint32_t b = 0; b < MVT_HOME_BUCKETS; b++)
				table[b] = t == MVT_NONE ? desc->ranges[i].instance
							 : desc->tables[t * MVT_HOME_BUCKETS + b];
			result = MVT_OK;
		}
	pthread_mutex_unlock (&engine->control);
	return result;
}

uint32_t
mvt_engine_slots (mvt_engine_t *engine, mvt_pool_run_t *out, uint32_t max)
{
	uint32_t n = 0;

	pthread_mutex_lock (&engine->control);
	for (uint32_t slot = 0; slot < engine->n_slots; slot++)
	{
		bool draining = engine->slot_state[slot] > SLOT_ACTIVE;
		mvt_pool_run_t *last = n ? &out[n - 1] : NULL;

		if (engine->slot_state[slot] == SLOT_NONE)
			continue;
		if (last && last->slot + last->count == slot && last->draining == draining &&
		    last->first + last->count == engine->slot_addr[slot])
			last->count++;
		else if (n == max)
			break;
		else
			out[n++] = (mvt_pool_run_t){ .first = engine->slot_addr[slot],
						     .count = 1,
						     .slot = slot,
						     .draining = draining };
	}
	pthread_mutex_unlock (&engine->control);
	return n;
}

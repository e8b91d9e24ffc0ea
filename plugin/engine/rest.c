/* SPDX-License-Identifier: Apache-2.0
 *
 * Takeover: blocks of a table that was dropped wait the hold-down before others use them
 * (DESIGN 5, "Failure is not silence"). Answers to the mappings that ended with it are still under
 * way; were their ports given out again at once, they would reach a stranger.
 *
 * Under `control`.
 */
#define _GNU_SOURCE 1
#include "engine_private.h"

#include <stdlib.h>
#include <string.h>

#define LIST_MAX   64u
#define HEIR_SHARE 64u /* blocks of an instance that hangs which one heir gets at once */

static bool
push (mvt_engine_t *engine, uint32_t block, uint32_t id)
{
	if (engine->n_rest == engine->size_rest)
	{
		uint32_t size = engine->size_rest ? engine->size_rest * 2 : 256;
		rest_t *rest = realloc (engine->rest, size * sizeof *rest);
		if (!rest)
			return false;
		engine->rest = rest;
		engine->size_rest = size;
	}
	engine->rest[engine->n_rest++] = (rest_t){
		.block = block,
		.instance = id,
		.since = engine_tick (engine),
	};
	return true;
}

static void
take (mvt_engine_t *engine, uint32_t id, uint32_t *blocks, uint32_t n)
{
	mvt_job_t job = { .op = MVT_JOB_TAKE_BLOCKS, .n = n, .out.blocks = blocks };
	if (n)
		mail_job (engine, id, &job);
}

/* Marks the blocks that have a mapping, or a port in hold-down. */
static void
mark_busy (mvt_engine_t *engine, mvt_nat44_t *old, uint8_t *busy)
{
	const mvt_policy_set_t *policy = atomic_load (&engine->shared.policy);
	mvt_block_info_t info[LIST_MAX] = { 0 };
	mvt_job_t job = { .op = MVT_JOB_LIST_BLOCKS, .max = LIST_MAX, .out.block_infos = info };

	do
	{
		job.n = 0;
		while (mvt_nat44_job (old, &job, engine_tick (engine)) == MVT_ERR_AGAIN)
			;
		for (uint32_t i = 0; i < job.n; i++)
		{
			uint32_t slot = mvt_policy_slot_of (policy, info[i].ext_addr, NULL);
			if (slot != MVT_NONE)
				busy[mvt_directory_block (engine->shared.directory, slot,
							  info[i].first_port)] = 1;
		}
	} while (job.cursor != UINT64_MAX);
}

void
rest_after (mvt_engine_t *engine, uint32_t id, mvt_nat44_t *old)
{
	const mvt_directory_t *dir = engine->shared.directory;
	uint32_t blocks[ENGINE_GIVE], n = 0, all = engine->n_slots << (16 - engine->block_bits);
	uint8_t *busy = old && engine->config.hold_seconds ? calloc (all, 1) : NULL;

	if (busy)
		mark_busy (engine, old, busy);
	for (uint32_t b = 0; b < all; b++)
	{
		if (mvt_directory_owner (dir, b) != id)
			continue;
		/* without memory for the list it is better to go on with the block than without */
		if (busy && busy[b] && push (engine, b, id))
			continue;
		blocks[n++] = b;
		if (n == ENGINE_GIVE)
		{
			take (engine, id, blocks, n);
			n = 0;
		}
	}
	take (engine, id, blocks, n);
	free (busy);
}

static bool
has_static (const mvt_engine_t *engine, uint32_t id, uint32_t block)
{
	const mvt_policy_set_t *policy = atomic_load (&engine->shared.policy);

	for (uint32_t i = 0; i < engine->n_statics; i++)
	{
		const static_t *s = &engine->statics[i];
		uint32_t slot = s->instance == id ? mvt_policy_slot_of (policy, s->ext.addr, NULL)
						  : MVT_NONE;
		if (slot != MVT_NONE &&
		    mvt_directory_block (engine->shared.directory, slot, s->ext.port) == block)
			return true;
	}
	return false;
}

void
rest_all (mvt_engine_t *engine, uint32_t id)
{
	mvt_directory_t *dir = engine->shared.directory;
	uint32_t all = engine->n_slots << (16 - engine->block_bits);
	uint16_t heirs[MVT_HOME_INSTANCES];
	uint32_t n = control_active (engine, heirs), turn = 0;

	for (uint32_t b = 0; b < all; b++)
	{
		if (mvt_directory_owner (dir, b) != id)
			continue;
		mvt_directory_set_owner (dir, b, MVT_NO_INSTANCE);
		if (has_static (engine, id, b) || !push (engine, b, MVT_NO_INSTANCE))
			take (engine, heirs[turn++ % n], &b, 1);
	}
}

void
rest_round (mvt_engine_t *engine)
{
	uint32_t now = engine_tick (engine), left = 0, n = 0, turn = 0;
	uint16_t heirs[MVT_HOME_INSTANCES];
	uint32_t n_heirs = control_active (engine, heirs);
	uint32_t blocks[HEIR_SHARE];

	for (uint32_t i = 0; i < engine->n_rest; i++)
	{
		rest_t rest = engine->rest[i];
		/* dealt to somebody else since: no longer ours to bring back */
		if (mvt_directory_owner (engine->shared.directory, rest.block) != rest.instance)
			continue;
		if (now - rest.since < engine->config.hold_seconds)
			engine->rest[left++] = rest;
		else if (rest.instance != MVT_NO_INSTANCE)
			take (engine, rest.instance, &rest.block, 1);
		else
			blocks[n++] = rest.block;
		if (n == HEIR_SHARE)
		{
			take (engine, heirs[turn++ % n_heirs], blocks, n);
			n = 0;
		}
	}
	take (engine, heirs[turn % n_heirs], blocks, n);
	engine->n_rest = left;
}

void
rest_free (mvt_engine_t *engine)
{
	free (engine->rest);
	engine->rest = NULL;
	engine->n_rest = engine->size_rest = 0;
}

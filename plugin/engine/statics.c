/* SPDX-License-Identifier: Apache-2.0
 *
 * Static mappings with ports. The engine remembers them because they outlive an instance's nat: a
 * reset, and the end of a drain, when they go on where their external endpoint then belongs. That
 * need not be their host's home, so home map and rules carry a pin for each (publish.c).
 */
#define _GNU_SOURCE 1
#include "engine_private.h"

#include <stdlib.h>

uint32_t
statics_of (const mvt_engine_t *engine, uint32_t id)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < engine->n_statics; i++)
		n += engine->statics[i].instance == id;
	return n;
}

static bool
same (const mvt_endpoint_t *a, const mvt_endpoint_t *b)
{
	return a->addr == b->addr && a->port == b->port && a->proto == b->proto;
}

static uint16_t
owner_of (mvt_engine_t *engine, const mvt_endpoint_t *ext)
{
	const mvt_directory_t *dir = engine->shared.directory;
	uint32_t slot = mvt_policy_slot_of (atomic_load (&engine->shared.policy), ext->addr, NULL);

	if (slot == MVT_NONE)
		return MVT_NO_INSTANCE;
	return mvt_directory_owner (dir, mvt_directory_block (dir, slot, ext->port));
}

/* Do packets of this endpoint come to its instance anyway? */
static bool
at_home (mvt_engine_t *engine, const static_t *s)
{
	const mvt_home_t *map[2] = { atomic_load (&engine->shared.home),
				     atomic_load (&engine->shared.rules) };

	for (unsigned i = 0; i < 2; i++)
		if (mvt_home_instance (map[i], s->realm, s->in.addr, s->in.port, s->in.proto) !=
		    s->instance)
			return false;
	return true;
}

mvt_err_t
statics_add (mvt_engine_t *engine, mvt_job_t *job)
{
	static_t s = { .in = job->inside_endpoint,
		       .ext = job->external_endpoint,
		       .realm = job->realm,
		       .instance = owner_of (engine, &job->external_endpoint) };
	mvt_err_t err = MVT_OK;
	bool pin;

	if (s.in.proto >= MVT_PROTO_N || s.in.proto != s.ext.proto)
		return MVT_ERR_INVALID;
	for (uint32_t i = 0; i < engine->n_statics; i++)
	{
		const static_t *old = &engine->statics[i];
		bool in = same (&old->in, &s.in) && old->realm == s.realm;
		bool ext = same (&old->ext, &s.ext);
		if (in || ext)
			return in && ext ? MVT_OK : ext ? MVT_ERR_IN_USE : MVT_ERR_EXISTS;
	}
	if (s.instance >= engine->n)
		return MVT_ERR_NOT_FOUND;
	if (engine->n_statics == engine->size_statics)
	{
		uint32_t size = engine->size_statics ? engine->size_statics * 2 : 64;
		static_t *bigger = realloc (engine->statics, size * sizeof *bigger);
		if (!bigger)
			return MVT_ERR_NO_MEMORY;
		engine->statics = bigger;
		engine->size_statics = size;
	}
	pin = !at_home (engine, &s);
	engine->statics[engine->n_statics++] = s;
	/* from now on no other instance makes a mapping of the endpoint, and those there are end */
	if (pin)
		err = publish_pins (engine);
	for (uint32_t i = 0; i < engine->n && !err; i++)
	{
		mvt_job_t end = { .op = MVT_JOB_DELETE_MAPPINGS,
				  .filter = { .inside = { .addr = s.in.addr, .len = 32 },
					      .in_port = s.in.port,
					      .proto_plus1 = (uint8_t) (s.in.proto + 1),
					      .realm = s.realm,
					      .statics = 2 } };
		if (i != s.instance && s.in.port)
			mail_job (engine, i, &end);
	}
	if (!err)
		err = mail_job (engine, s.instance, job);
	if (!err)
		return MVT_OK;
	engine->n_statics--;
	if (pin)
		publish_pins (engine);
	return err;
}

mvt_err_t
statics_del (mvt_engine_t *engine, mvt_job_t *job)
{
	for (uint32_t i = 0; i < engine->n_statics; i++)
		if (same (&engine->statics[i].ext, &job->external_endpoint))
		{
			mvt_err_t err = mail_job (engine, engine->statics[i].instance, job);
			engine->statics[i] = engine->statics[--engine->n_statics];
			if (engine->n > 1)
				publish_pins (engine);
			return err;
		}
	return MVT_ERR_NOT_FOUND;
}

void
statics_to (mvt_engine_t *engine, uint32_t id, mvt_nat44_t *nat)
{
	for (uint32_t i = 0; i < engine->n_statics; i++)
	{
		const static_t *s = &engine->statics[i];
		mvt_job_t job = { .op = MVT_JOB_STATIC_ADD,
				  .realm = s->realm,
				  .inside_endpoint = s->in,
				  .external_endpoint = s->ext };
		if (s->instance == id)
			mvt_nat44_job (nat, &job, engine_tick (engine));
	}
}

mvt_err_t
statics_move (mvt_engine_t *engine, uint32_t from)
{
	if (statics_of (engine, from) == 0)
		return MVT_OK;
	for (uint32_t i = 0; i < engine->n_statics; i++)
	{
		static_t *s = &engine->statics[i];
		mvt_job_t job = { .op = MVT_JOB_STATIC_ADD,
				  .realm = s->realm,
				  .inside_endpoint = s->in,
				  .external_endpoint = s->ext };

		if (s->instance != from)
			continue;
		s->instance = owner_of (engine, &s->ext);
		if (s->instance < engine->n)
			mail_job (engine, s->instance, &job);
	}
	return publish_pins (engine);
}

void
statics_forget (mvt_engine_t *engine, mvt_prefix4_t outside)
{
	for (uint32_t i = 0; i < engine->n_statics;)
		if (((engine->statics[i].ext.addr ^ outside.addr) >> (32 - outside.len)) == 0)
			engine->statics[i] = engine->statics[--engine->n_statics];
		else
			i++;
}

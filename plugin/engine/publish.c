/* SPDX-License-Identifier: Apache-2.0
 *
 * Snapshots that all threads read: home map, dispatcher rules, policies. Built aside, published by
 * one pointer, and the old one freed when every thread has begun a loop since.
 */
#define _GNU_SOURCE 1
#include "engine_private.h"

#include <stdlib.h>
#include <string.h>

/* A copy of n items; never NULL for success, so that n = 0 is no failure. */
static void *
copy (const void *items, size_t n, size_t size, bool *good)
{
	void *p = malloc (n ? n * size : 1);
	if (!p)
		*good = false;
	else if (n)
		memcpy (p, items, n * size);
	return p;
}

/* ---- home map and rules ---- */

static void
home_copy_free (home_copy_t *c)
{
	free ((void *) (uintptr_t) c->desc.ranges);
	free ((void *) (uintptr_t) c->desc.tables);
	free ((void *) (uintptr_t) c->desc.pins);
	memset (&c->desc, 0, sizeof c->desc);
}

static uint64_t
bit (uint32_t instance)
{
	return instance < MVT_HOME_INSTANCES ? 1ull << instance : 0;
}

static uint64_t
named_by (const mvt_home_desc_t *desc)
{
	uint64_t named = 0;

	for (uint32_t i = 0; i < desc->n_ranges; i++)
	{
		const mvt_home_range_t *r = &desc->ranges[i];
		if (r->table == MVT_NONE)
			named |= bit (r->instance);
		if (r->flags & MVT_HOME_F_CLOSING)
			named |= bit (r->from) | bit (r->to);
	}
	for (uint32_t i = 0; i < desc->n_tables * MVT_HOME_BUCKETS; i++)
		named |= bit (desc->tables[i]);
	for (uint32_t i = 0; i < desc->n_pins; i++)
		named |= bit (desc->pins[i].instance);
	return named;
}

static bool
same_endpoint (const mvt_endpoint_t *a, const mvt_endpoint_t *b)
{
	return a->addr == b->addr && a->port == b->port && a->proto == b->proto;
}

static const static_t *
static_inside (const mvt_engine_t *engine, const mvt_home_pin_t *pin)
{
	for (uint32_t i = 0; i < engine->n_statics; i++)
		if (same_endpoint (&engine->statics[i].in, &pin->endpoint) &&
		    engine->statics[i].realm == pin->realm)
			return &engine->statics[i];
	return NULL;
}

/* What was asked for, and a pin for every static mapping: it lives where its external endpoint
 * belongs, which need not be its host's home. */
static mvt_home_t *
build_home (mvt_engine_t *engine, const mvt_home_desc_t *asked, mvt_err_t *err)
{
	mvt_home_desc_t desc = *asked;
	mvt_home_pin_t *pins = NULL;
	mvt_home_t *home;

	memcpy (desc.secret, engine->secret, sizeof desc.secret);
	desc.bucket_key = engine->bucket_key;
	desc.n_instances = (uint16_t) engine->n;
	if (engine->n_statics && engine->n > 1)
	{
		pins = calloc (asked->n_pins + engine->n_statics, sizeof *pins);
		if (!pins)
		{
			*err = MVT_ERR_NO_MEMORY;
			return NULL;
		}
		desc.n_pins = 0;
		for (uint32_t i = 0; i < asked->n_pins; i++)
			if (!static_inside (engine, &asked->pins[i]))
				pins[desc.n_pins++] = asked->pins[i];
		for (uint32_t i = 0; i < engine->n_statics; i++)
			pins[desc.n_pins++] =
				(mvt_home_pin_t){ .endpoint = engine->statics[i].in,
						  .realm = engine->statics[i].realm,
						  .instance = engine->statics[i].instance };
		desc.pins = pins;
	}
	home = mvt_home_new (&desc, &engine->arena.mem, err);
	free (pins);
	return home;
}

/* Free a replaced snapshot, and those that had to be kept, once nobody can still read them. */
static void
replaced (mvt_engine_t *engine, const void *snapshot, void (*remove) (void *), bool all)
{
	if (all)
	{
		while (engine->n_kept)
		{
			kept_t *kept = &engine->kept[--engine->n_kept];
			kept->remove (kept->snapshot);
		}
		remove ((void *) (uintptr_t) snapshot);
		return;
	}
	if (engine->n_kept == engine->size_kept)
	{
		uint32_t size = engine->size_kept ? engine->size_kept * 2 : 16;
		kept_t *bigger = realloc (engine->kept, size * sizeof *bigger);
		if (!bigger)
			return; /* lost, but never freed under a reader */
		engine->kept = bigger;
		engine->size_kept = size;
	}
	engine->kept[engine->n_kept++] =
		(kept_t){ .snapshot = (void *) (uintptr_t) snapshot, .remove = remove };
}

static void
remove_home (void *home)
{
	mvt_home_remove (home);
}

static void
remove_policy (void *policy)
{
	mvt_policy_set_remove (policy);
}

/* An instance may know the map in force no longer than it takes to say so: before anything is
 * published, those that hang are found. */
static mvt_err_t
publish (mvt_engine_t *engine, home_copy_t *c, _Atomic (const mvt_home_t *) *at,
	 const mvt_home_desc_t *desc)
{
	home_copy_t new = { .desc = *desc };
	const mvt_home_t *old = atomic_load (at);
	mvt_home_t *home;
	mvt_err_t err = MVT_ERR_NO_MEMORY;
	bool good = true, all, is_home = c == &engine->home;

	if (c->set && desc->version < c->published)
		return MVT_ERR_STALE;
	if (c->set && desc->version == count_get (&c->version))
		return MVT_OK;
	/* rules are hints: who hangs may miss them. The home map is truth. */
	if (is_home)
	{
		mvt_err_t hung = mail_sync (engine, &all);
		if (hung)
			return hung;
	}
	if (c->set && desc->version == c->published)
	{
		atomic_store (&c->version, desc->version);
		return MVT_OK;
	}
	/* a spare instance would be a hole */
	for (uint64_t named = named_by (desc); named; named &= named - 1)
	{
		uint32_t id = (uint32_t) __builtin_ctzll (named);
		if (id >= engine->n || !engine_has_nat (engine, id))
			return MVT_ERR_INVALID;
	}
	home = build_home (engine, desc, &err);
	if (!home)
		return err;
	new.desc.ranges = copy (desc->ranges, desc->n_ranges, sizeof *desc->ranges, &good);
	new.desc.tables = copy (desc->tables, (size_t) desc->n_tables * MVT_HOME_BUCKETS,
				sizeof *desc->tables, &good);
	new.desc.pins = copy (desc->pins, desc->n_pins, sizeof *desc->pins, &good);
	if (!good)
	{
		home_copy_free (&new);
		mvt_home_remove (home);
		return MVT_ERR_NO_MEMORY;
	}
	home_copy_free (c);
	c->desc = new.desc;
	c->named = named_by (desc);
	c->set = true;
	c->published = desc->version;
	atomic_store_explicit (at, home, memory_order_release);
	err = mail_sync (engine, &all);
	replaced (engine, old, remove_home, all);
	if (err && (is_home || mail_hangs (engine, engine->n)))
		return err;
	atomic_store (&c->version, desc->version);
	return MVT_OK;
}

mvt_err_t
publish_home (mvt_engine_t *engine, const mvt_home_desc_t *desc)
{
	return publish (engine, &engine->home, &engine->shared.home, desc);
}

mvt_err_t
publish_rules (mvt_engine_t *engine, const mvt_home_desc_t *desc)
{
	return publish (engine, &engine->rules, &engine->shared.rules, desc);
}

mvt_err_t
publish_pins (mvt_engine_t *engine)
{
	mvt_err_t err = MVT_OK;
	bool all;
	const mvt_home_t *old_home = atomic_load (&engine->shared.home);
	const mvt_home_t *old_rules = atomic_load (&engine->shared.rules);
	mvt_home_t *home = build_home (engine, &engine->home.desc, &err);
	mvt_home_t *rules = home ? build_home (engine, &engine->rules.desc, &err) : NULL;

	if (!rules)
	{
		mvt_home_remove (home);
		return err;
	}
	atomic_store_explicit (&engine->shared.home, home, memory_order_release);
	atomic_store_explicit (&engine->shared.rules, rules, memory_order_release);
	err = mail_sync (engine, &all);
	replaced (engine, old_home, remove_home, all);
	replaced (engine, old_rules, remove_home, all);
	return err;
}

/* ---- policies ---- */

static void
policy_copy_free (mvt_policy_desc_t *d)
{
	free ((void *) (uintptr_t) d->policies);
	free ((void *) (uintptr_t) d->slots);
	free ((void *) (uintptr_t) d->inside);
	free ((void *) (uintptr_t) d->runs);
	free ((void *) (uintptr_t) d->exempt);
	free ((void *) (uintptr_t) d->statics);
	memset (d, 0, sizeof *d);
}

static bool
policy_copy (const mvt_policy_desc_t *from, mvt_policy_desc_t *to)
{
	bool good = true;

	*to = *from;
	to->policies = copy (from->policies, from->n_policies, sizeof *from->policies, &good);
	to->slots = copy (from->slots, from->n_slots, sizeof *from->slots, &good);
	to->inside = copy (from->inside, from->n_inside, sizeof *from->inside, &good);
	to->runs = copy (from->runs, from->n_runs, sizeof *from->runs, &good);
	to->exempt = copy (from->exempt, from->n_exempt, sizeof *from->exempt, &good);
	to->statics = copy (from->statics, from->n_statics, sizeof *from->statics, &good);
	if (!good)
		policy_copy_free (to);
	return good;
}

/* Addresses by slot: the state that a description leads to, before it is in force. */
typedef struct
{
	uint8_t *state;
	uint32_t *addr;
	mvt_pool_run_t *runs; /* all of them, kept ones included */
	uint32_t n_runs;
} plan_t;

static void
plan_free (plan_t *plan)
{
	free (plan->state);
	free (plan->addr);
	free (plan->runs);
}

/* Put the description's runs on top of what is in force: a slot keeps its address, and an address
 * that vanished stays as one that drains. */
static mvt_err_t
plan_slots (mvt_engine_t *engine, const mvt_policy_desc_t *desc, plan_t *plan)
{
	uint32_t n = engine->n_slots, kept = 0;

	plan->state = calloc (n, 1);
	plan->addr = calloc (n, sizeof *plan->addr);
	if (!plan->state || !plan->addr)
		return MVT_ERR_NO_MEMORY;
	for (uint32_t r = 0; r < desc->n_runs; r++)
	{
		const mvt_pool_run_t *run = &desc->runs[r];
		if (run->slot >= n || run->count > n - run->slot)
			return MVT_ERR_FULL;
		for (uint32_t i = 0; i < run->count; i++)
		{
			uint32_t slot = run->slot + i;
			if (engine->slot_state[slot] != SLOT_NONE &&
			    engine->slot_addr[slot] != run->first + i)
				return MVT_ERR_IN_USE;
			plan->state[slot] = run->draining ? SLOT_DRAINING : SLOT_ACTIVE;
			plan->addr[slot] = run->first + i;
		}
	}
	for (uint32_t slot = 0; slot < n; slot++)
		if (plan->state[slot] == SLOT_NONE && engine->slot_state[slot] != SLOT_NONE)
		{
			plan->state[slot] = SLOT_FORGETTING;
			plan->addr[slot] = engine->slot_addr[slot];
			kept++;
		}
	plan->runs = malloc ((desc->n_runs + kept + 1) * sizeof *plan->runs);
	if (!plan->runs)
		return MVT_ERR_NO_MEMORY;
	memcpy (plan->runs, desc->runs, desc->n_runs * sizeof *plan->runs);
	plan->n_runs = desc->n_runs;
	for (uint32_t slot = 0; slot < n && kept; slot++)
	{
		mvt_pool_run_t *last = &plan->runs[plan->n_runs - 1];
		if (plan->state[slot] != SLOT_FORGETTING)
			continue;
		if (plan->n_runs > desc->n_runs && last->slot + last->count == slot &&
		    last->first + last->count == plan->addr[slot])
			last->count++;
		else
			plan->runs[plan->n_runs++] = (mvt_pool_run_t){
				.first = plan->addr[slot], .count = 1, .slot = slot, .draining = 1
			};
	}
	return MVT_OK;
}

static void
tell_drained (mvt_engine_t *engine, uint32_t slot, bool drained)
{
	for (uint32_t i = 0; i < engine->n; i++)
	{
		mvt_job_t job = { .op = MVT_JOB_DRAIN_SLOT, .slot = slot, .drain = drained };
		mail_job (engine, i, &job);
	}
	engine->slot_drained[slot] = drained;
}

void
publish_drained_to (mvt_engine_t *engine, mvt_nat44_t *nat)
{
	for (uint32_t slot = 0; slot < engine->n_slots; slot++)
		if (engine->slot_drained[slot])
		{
			mvt_job_t job = { .op = MVT_JOB_DRAIN_SLOT, .slot = slot, .drain = 1 };
			mvt_nat44_job (nat, &job, engine_tick (engine));
		}
}

/* => plan is what desc leads to */
static mvt_err_t
publish_set (mvt_engine_t *engine, const mvt_policy_desc_t *desc, plan_t *plan)
{
	mvt_policy_desc_t d = *desc;
	const mvt_policy_set_t *old = atomic_load (&engine->shared.policy);
	mvt_policy_set_t *set;
	mvt_err_t err = MVT_OK;
	uint32_t used = 0, forgetting = 0;
	bool all;

	d.runs = plan->runs;
	d.n_runs = plan->n_runs;
	memcpy (d.secret, engine->secret, sizeof d.secret);
	set = mvt_policy_set_new (&d, &engine->arena.mem, &err);
	if (!set)
		return err;
	/* blocks first: an address that is announced can be used */
	for (uint32_t slot = 0, first; slot < engine->n_slots && !err; slot++)
	{
		for (first = slot; slot < engine->n_slots && plan->state[slot] != SLOT_NONE &&
				   engine->slot_state[slot] == SLOT_NONE;
		     slot++)
			;
		if (slot > first)
			err = control_deal (engine, first, slot - first, MVT_NO_INSTANCE);
	}
	if (err)
	{
		mvt_policy_set_remove (set);
		return err;
	}
	for (uint32_t slot = 0; slot < engine->n_slots; slot++)
		if (plan->state[slot] == SLOT_ACTIVE && engine->slot_drained[slot])
			tell_drained (engine, slot, false);
	atomic_store_explicit (&engine->shared.policy, set, memory_order_release);
	/* who hangs reads it when it comes back, before its next packet */
	mail_sync (engine, &all);
	replaced (engine, old, remove_policy, all);
	for (uint32_t slot = 0; slot < engine->n_slots; slot++)
	{
		if (plan->state[slot] > SLOT_ACTIVE && !engine->slot_drained[slot])
			tell_drained (engine, slot, true);
		used += plan->state[slot] != SLOT_NONE;
		forgetting += plan->state[slot] == SLOT_FORGETTING;
	}
	memcpy (engine->slot_state, plan->state, engine->n_slots);
	memcpy (engine->slot_addr, plan->addr, engine->n_slots * sizeof *plan->addr);
	engine->n_slots_used = used;
	engine->n_forgetting = forgetting;
	return MVT_OK;
}

static mvt_err_t
publish_planned (mvt_engine_t *engine, const mvt_policy_desc_t *desc)
{
	plan_t plan = { 0 };
	mvt_err_t err = plan_slots (engine, desc, &plan);

	if (!err)
		err = publish_set (engine, desc, &plan);
	plan_free (&plan);
	return err;
}

/* The longest prefix that starts at addr and holds at most n addresses. */
static mvt_prefix4_t
prefix_at (uint32_t addr, uint32_t n)
{
	mvt_prefix4_t prefix = { .addr = addr, .len = 32 };

	while (prefix.len > 1)
	{
		uint64_t size = 1ull << (33 - prefix.len);
		if (size > n || (addr & (size - 1)) != 0)
			break;
		prefix.len--;
	}
	return prefix;
}

/* Call fn for prefixes that cover exactly the addresses in state FORGETTING. */
static void
each_forgetting (mvt_engine_t *engine,
		 void (*fn) (mvt_engine_t *engine, mvt_prefix4_t prefix, uint32_t slot))
{
	for (uint32_t slot = 0; slot < engine->n_slots;)
	{
		uint32_t n = 0;
		mvt_prefix4_t prefix;

		while (slot + n < engine->n_slots &&
		       engine->slot_state[slot + n] == SLOT_FORGETTING &&
		       engine->slot_addr[slot + n] == engine->slot_addr[slot] + n)
			n++;
		if (n == 0)
		{
			slot++;
			continue;
		}
		prefix = prefix_at (engine->slot_addr[slot], n);
		fn (engine, prefix, slot);
		slot += (uint32_t) (1ull << (32 - prefix.len));
	}
}

static void
delete_mappings (mvt_engine_t *engine, mvt_prefix4_t prefix, uint32_t slot)
{
	(void) slot;
	for (uint32_t i = 0; i < engine->n; i++)
	{
		mvt_job_t job = { .op = MVT_JOB_DELETE_MAPPINGS, .filter.external = prefix };
		mail_job (engine, i, &job);
	}
	statics_forget (engine, prefix);
}

/* Slots of a prefix without a mapping anywhere are marked SLOT_NONE. */
static void
mark_empty (mvt_engine_t *engine, mvt_prefix4_t prefix, uint32_t slot)
{
	mvt_mapping_info_t info;

	for (uint32_t i = 0; i < engine->n; i++)
	{
		mvt_job_t job = { .op = MVT_JOB_LIST_MAPPINGS,
				  .filter.external = prefix,
				  .max = 1,
				  .out.mappings = &info };
		if (mail_job (engine, i, &job) == MVT_OK && job.n)
			return;
	}
	memset (engine->slot_state + slot, SLOT_NONE, 1ull << (32 - prefix.len));
}

static uint32_t
count_forgetting (const mvt_engine_t *engine)
{
	uint32_t n = 0;

	for (uint32_t slot = 0; slot < engine->n_slots; slot++)
		n += engine->slot_state[slot] == SLOT_FORGETTING;
	return n;
}

/* Publish without the slots that are SLOT_NONE now. Without memory for it they stay published a
 * while longer, and n_forgetting asks for another try. */
static mvt_err_t
publish_rest (mvt_engine_t *engine)
{
	mvt_err_t err = publish_planned (engine, &engine->policy);
	if (err)
		engine->n_forgetting = 1;
	return err;
}

mvt_err_t
publish_policy (mvt_engine_t *engine, const mvt_policy_desc_t *desc, bool force)
{
	mvt_policy_desc_t new;
	bool first = engine->policy.policies == NULL;
	uint32_t statics = engine->n_statics;
	mvt_err_t err;
	bool all;

	if (!first && desc->generation < engine->policy.generation)
		return MVT_ERR_STALE;
	if (!first && desc->generation == engine->policy.generation)
		return MVT_OK;
	err = mail_sync (engine, &all);
	if (err)
		return err;
	if (!policy_copy (desc, &new))
		return MVT_ERR_NO_MEMORY;
	err = publish_planned (engine, desc);
	if (err)
	{
		policy_copy_free (&new);
		return err;
	}
	policy_copy_free (&engine->policy);
	engine->policy = new;
	if (!force || !engine->n_forgetting)
		return MVT_OK;
	/* they drain already, so nothing new comes behind the deletion */
	each_forgetting (engine, delete_mappings);
	for (uint32_t slot = 0; slot < engine->n_slots; slot++)
		if (engine->slot_state[slot] == SLOT_FORGETTING)
			engine->slot_state[slot] = SLOT_NONE;
	err = publish_rest (engine);
	if (!err && statics != engine->n_statics)
		err = publish_pins (engine);
	return err;
}

void
publish_forget (mvt_engine_t *engine)
{
	uint32_t now = engine_tick (engine);

	if (!engine->n_forgetting || now - engine->forget_tick < ENGINE_FORGET_TICKS)
		return;
	engine->forget_tick = now;
	each_forgetting (engine, mark_empty);
	if (count_forgetting (engine) != engine->n_forgetting)
		publish_rest (engine);
}

/* ---- the beginning and the end ---- */

mvt_err_t
publish_initial (mvt_engine_t *engine, const mvt_policy_desc_t *policy)
{
	uint16_t table[MVT_HOME_BUCKETS], active[MVT_HOME_INSTANCES];
	uint32_t n = control_active (engine, active);
	mvt_home_range_t range = { .table = MVT_NONE, .instance = active[0] };
	mvt_home_desc_t desc = { .ranges = &range, .n_ranges = 1 };
	mvt_err_t err;

	if (n > 1)
	{
		for (uint32_t i = 0; i < MVT_HOME_BUCKETS; i++)
			table[i] = active[i * n / MVT_HOME_BUCKETS];
		range.table = 0;
		desc.tables = table;
		desc.n_tables = 1;
	}
	err = publish_policy (engine, policy, false);
	if (!err)
		err = publish_home (engine, &desc);
	if (!err)
		err = publish_rules (engine, &desc);
	return err;
}

void
publish_free (mvt_engine_t *engine)
{
	mvt_home_remove ((mvt_home_t *) (uintptr_t) atomic_load (&engine->shared.home));
	mvt_home_remove ((mvt_home_t *) (uintptr_t) atomic_load (&engine->shared.rules));
	mvt_policy_set_remove (
		(mvt_policy_set_t *) (uintptr_t) atomic_load (&engine->shared.policy));
	while (engine->n_kept)
	{
		kept_t *kept = &engine->kept[--engine->n_kept];
		kept->remove (kept->snapshot);
	}
	free (engine->kept);
	home_copy_free (&engine->home);
	home_copy_free (&engine->rules);
	policy_copy_free (&engine->policy);
	free (engine->statics);
	rest_free (engine);
}

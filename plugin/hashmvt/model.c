/* SPDX-License-Identifier: Apache-2.0
 *
 * The configuration that commands edit. An edit makes a copy, changes it and publishes the copy
 * whole: it is in force, or nothing has changed.
 *
 * Beside what the operator names, the addresses of the router's interfaces are exempt, so that
 * inside hosts reach the router; except those that are pool addresses themselves.
 */
#include "hashmvt.h"

/* ---- copies ---- */

void
hashmvt_model_free (hashmvt_model_t *m)
{
	for (u32 i = 0; i < vec_len (m->slots); i++)
		vec_free (m->slots[i]);
	vec_free (m->slots);
	vec_free (m->policies);
	vec_free (m->inside);
	vec_free (m->runs);
	vec_free (m->exempt);
	vec_free (m->statics);
	clib_memset (m, 0, sizeof *m);
}

void
hashmvt_model_copy (hashmvt_model_t *to, const hashmvt_model_t *from)
{
	clib_memset (to, 0, sizeof *to);
	to->generation = from->generation;
	to->policies = vec_dup (from->policies);
	to->inside = vec_dup (from->inside);
	to->runs = vec_dup (from->runs);
	to->exempt = vec_dup (from->exempt);
	to->statics = vec_dup (from->statics);
	vec_validate (to->slots, vec_len (from->slots) - 1);
	for (u32 i = 0; i < vec_len (from->slots); i++)
		to->slots[i] = vec_dup (from->slots[i]);
}

/* Timeouts of RFC 4787 REQ-5, RFC 5382 REQ-5 and REQ-4, RFC 5508 REQ-2. */
void
hashmvt_model_default (hashmvt_model_t *m)
{
	mvt_policy_t *policy;

	clib_memset (m, 0, sizeof *m);
	vec_add2 (m->policies, policy, 1);
	clib_memset (policy, 0, sizeof *policy);
	policy->timeout[MVT_TIMEOUT_UDP] = 300;
	policy->timeout[MVT_TIMEOUT_TCP_ESTABLISHED] = 7440;
	policy->timeout[MVT_TIMEOUT_TCP_TRANSITORY] = 240;
	policy->timeout[MVT_TIMEOUT_TCP_INCOMING_SYN] = 6;
	policy->timeout[MVT_TIMEOUT_ICMP] = 60;
	vec_validate (m->slots, 0);
}

/* ---- publish ---- */

static int
in_runs (const mvt_pool_run_t *runs, u32 addr)
{
	const mvt_pool_run_t *r;

	vec_foreach (r, runs) if (addr - r->first < r->count) return 1;
	return 0;
}

static mvt_err_t
publish (hashmvt_model_t *m, int force)
{
	hashmvt_main_t *hm = &hashmvt_main;
	u32 *slots = 0, *addr;
	mvt_prefix4_t *exempt = vec_dup (m->exempt);
	mvt_policy_desc_t desc;
	mvt_err_t err;

	for (u32 i = 0; i < vec_len (m->policies); i++)
	{
		m->policies[i].slots_first = vec_len (slots);
		m->policies[i].n_slots = vec_len (m->slots[i]);
		vec_append (slots, m->slots[i]);
	}
	vec_foreach (addr, hm->local_addresses) if (!in_runs (m->runs, *addr))
	{
		mvt_prefix4_t p = { .addr = *addr, .len = 32 };
		vec_add1 (exempt, p);
	}
	desc = (mvt_policy_desc_t){
		.generation = hm->generation[0].engine + 1,
		.policies = m->policies,
		.n_policies = vec_len (m->policies),
		.slots = slots,
		.n_slots = vec_len (slots),
		.inside = m->inside,
		.n_inside = vec_len (m->inside),
		.runs = m->runs,
		.n_runs = vec_len (m->runs),
		.exempt = exempt,
		.n_exempt = vec_len (exempt),
		.statics = m->statics,
		.n_statics = vec_len (m->statics),
	};
	err = mvt_engine_set_policy (hm->engine, &desc, force);
	if (!err)
	{
		hm->generation[1] = hm->generation[0];
		hm->generation[0] = (hashmvt_generation_t){ desc.generation, m->generation };
	}
	vec_free (slots);
	vec_free (exempt);
	return err;
}

mvt_err_t
hashmvt_model_publish (hashmvt_model_t *m, int force)
{
	hashmvt_main_t *hm = &hashmvt_main;
	mvt_err_t err = publish (m, force);

	if (err)
		return err;
	hashmvt_model_free (&hm->model);
	hm->model = *m;
	clib_memset (m, 0, sizeof *m);
	hm->routes_stale = 1;
	hashmvt_fib_sync ();
	return MVT_OK;
}

mvt_err_t
hashmvt_model_republish (void)
{
	hashmvt_main_t *hm = &hashmvt_main;
	mvt_err_t err = publish (&hm->model, 0);

	hm->routes_stale = 1;
	hashmvt_fib_sync ();
	return err;
}

/* An instance has seen the last policies, or those before. */
u64
hashmvt_model_generation (u64 engine)
{
	const hashmvt_generation_t *g = hashmvt_main.generation;

	return engine >= g[0].engine ? g[0].model : g[1].model;
}

/* The end of an edit: the copy is in force with a generation of its own, or gone. */
static mvt_err_t
commit (hashmvt_model_t *m, int force)
{
	mvt_err_t err;

	m->generation++;
	err = hashmvt_model_publish (m, force);
	if (err)
		hashmvt_model_free (m);
	return err;
}

/* ---- pool ---- */

/* The slot that an address has, also while it drains, or the first free one from *next on. */
static u32
slot_for (u32 addr, const mvt_pool_run_t *in_force, uword *used, u32 *next, u32 n_slots)
{
	const mvt_pool_run_t *r;

	vec_foreach (r, in_force) if (addr - r->first < r->count) return r->slot +
		(addr - r->first);
	while (*next < n_slots && clib_bitmap_get (used, *next))
		++*next;
	return *next < n_slots ? (*next)++ : MVT_NONE;
}

static void
add_address (mvt_pool_run_t **runs, u32 addr, u32 slot, u8 draining)
{
	mvt_pool_run_t run = { .first = addr, .count = 1, .slot = slot, .draining = draining };
	mvt_pool_run_t *last;

	if (vec_len (*runs))
	{
		last = vec_end (*runs) - 1;
		if (last->first + last->count == addr && last->slot + last->count == slot &&
		    last->draining == draining)
		{
			last->count++;
			return;
		}
	}
	vec_add1 (*runs, run);
}

static mvt_pool_run_t *
runs_in_force (void)
{
	hashmvt_main_t *hm = &hashmvt_main;
	mvt_pool_run_t *runs = 0;
	u32 n;

	vec_validate (runs, hm->engine->n_slots);
	n = mvt_engine_slots (hm->engine, runs, vec_len (runs));
	vec_set_len (runs, n);
	return runs;
}

/* Policies that have the default's pool go on having it. */
static void
slots_add (hashmvt_model_t *m, const u32 *slots)
{
	for (u32 p = vec_len (m->policies) - 1; p > 0; p--)
		if (vec_is_equal (m->slots[p], m->slots[0]))
			vec_append (m->slots[p], slots);
	vec_append (m->slots[0], slots);
}

static mvt_err_t
pool_add (hashmvt_model_t *m, u32 first, u32 last)
{
	hashmvt_main_t *hm = &hashmvt_main;
	mvt_pool_run_t *in_force, *r;
	u32 *slots = 0;
	uword *used = 0;
	mvt_err_t err = MVT_OK;
	u32 next = 0;

	if (last - first >= hm->engine->n_slots)
		return MVT_ERR_FULL;
	for (u32 addr = first; addr - first <= last - first; addr++)
		if (in_runs (m->runs, addr))
			return MVT_ERR_EXISTS;
	in_force = runs_in_force ();
	vec_foreach (r, in_force) for (u32 i = 0; i < r->count; i++) used =
		clib_bitmap_set (used, r->slot + i, 1);
	for (u32 addr = first; addr - first <= last - first; addr++)
	{
		u32 slot = slot_for (addr, in_force, used, &next, hm->engine->n_slots);
		if (slot == MVT_NONE)
		{
			err = MVT_ERR_FULL;
			break;
		}
		add_address (&m->runs, addr, slot, 0);
		vec_add1 (slots, slot);
	}
	slots_add (m, slots);
	vec_free (slots);
	clib_bitmap_free (used);
	vec_free (in_force);
	return err;
}

/* Of first to last, how many drain since an earlier change that left them out. */
static u32
n_draining (const hashmvt_model_t *m, u32 first, u32 last)
{
	mvt_pool_run_t *in_force = runs_in_force (), *r;
	u32 n = 0;

	vec_foreach (r, in_force) for (u32 i = 0; r->draining && i < r->count; i++) n +=
		r->first + i - first <= last - first && !in_runs (m->runs, r->first + i);
	vec_free (in_force);
	return n;
}

static mvt_err_t
pool_del (hashmvt_model_t *m, u32 first, u32 last)
{
	mvt_pool_run_t *kept = 0, *r;
	u32 removed = n_draining (m, first, last);

	vec_foreach (r, m->runs) for (u32 i = 0; i < r->count;
				      i++) if (r->first + i - first > last - first)
		add_address (&kept, r->first + i, r->slot + i, r->draining);
	else
	{
		removed++;
		for (u32 p = 0; p < vec_len (m->slots); p++)
		{
			u32 at = vec_search (m->slots[p], r->slot + i);
			if (at != ~0)
				vec_delete (m->slots[p], 1, at);
		}
	}
	vec_free (m->runs);
	m->runs = kept;
	return removed == last - first + 1 ? MVT_OK : MVT_ERR_NOT_FOUND;
}

/* Addresses outside first to last that drain and that the model does not name. */
static mvt_pool_run_t *
others_draining (const hashmvt_model_t *m, const mvt_pool_run_t *in_force, u32 first, u32 last)
{
	const mvt_pool_run_t *r;
	mvt_pool_run_t *others = 0;

	vec_foreach (r, in_force) for (u32 i = 0; r->draining && i < r->count; i++)
	{
		u32 addr = r->first + i;
		if (addr - first > last - first && !in_runs (m->runs, addr))
			add_address (&others, addr, r->slot + i, 1);
	}
	return others;
}

/* The engine's force ends the mappings of all that a description leaves out. So it names, for this
 * once, what drains already and is not meant. */
static mvt_err_t
pool_end (hashmvt_model_t *m, u32 first, u32 last)
{
	hashmvt_main_t *hm = &hashmvt_main;
	mvt_pool_run_t *in_force = runs_in_force ();
	mvt_pool_run_t *others = others_draining (m, in_force, first, last);
	u32 named = vec_len (m->runs);
	mvt_err_t err;

	vec_append (m->runs, others);
	err = commit (m, 1);
	if (!err && others)
	{
		vec_set_len (hm->model.runs, named);
		/* where there is no memory for it they drain until the next change */
		hashmvt_model_republish ();
	}
	vec_free (others);
	vec_free (in_force);
	return err;
}

mvt_err_t
hashmvt_pool_add_del (u32 first, u32 last, int is_add, int force)
{
	hashmvt_model_t m;
	mvt_err_t err;

	if (first > last)
		return MVT_ERR_INVALID;
	hashmvt_model_copy (&m, &hashmvt_main.model);
	err = is_add ? pool_add (&m, first, last) : pool_del (&m, first, last);
	if (err)
	{
		hashmvt_model_free (&m);
		return err;
	}
	return force && !is_add ? pool_end (&m, first, last) : commit (&m, 0);
}

/* ---- prefixes ---- */

static int
same_prefix (mvt_prefix4_t a, mvt_prefix4_t b)
{
	return a.addr == b.addr && a.len == b.len;
}

static mvt_prefix4_t
masked (mvt_prefix4_t p)
{
	p.addr = p.len ? p.addr & (~0u << (32 - p.len)) : 0;
	return p;
}

mvt_err_t
hashmvt_exempt_add_del (mvt_prefix4_t prefix, int is_add)
{
	hashmvt_model_t m;
	mvt_prefix4_t *p;

	if (prefix.len > 32)
		return MVT_ERR_INVALID;
	prefix = masked (prefix);
	hashmvt_model_copy (&m, &hashmvt_main.model);
	vec_foreach (p, m.exempt) if (same_prefix (*p, prefix))
	{
		if (is_add)
		{
			hashmvt_model_free (&m);
			return MVT_ERR_EXISTS;
		}
		vec_delete (m.exempt, 1, p - m.exempt);
		return commit (&m, 0);
	}
	if (!is_add)
	{
		hashmvt_model_free (&m);
		return MVT_ERR_NOT_FOUND;
	}
	vec_add1 (m.exempt, prefix);
	return commit (&m, 0);
}

mvt_err_t
hashmvt_rule_add_del (mvt_static_rule_t rule, int is_add)
{
	hashmvt_model_t m;
	mvt_static_rule_t *r;

	if (rule.inside.len > 32 || rule.inside.len != rule.outside.len)
		return MVT_ERR_INVALID;
	rule.inside = masked (rule.inside);
	rule.outside = masked (rule.outside);
	hashmvt_model_copy (&m, &hashmvt_main.model);
	vec_foreach (r, m.statics) if (same_prefix (r->inside, rule.inside) &&
				       same_prefix (r->outside, rule.outside))
	{
		if (is_add)
		{
			hashmvt_model_free (&m);
			return MVT_ERR_EXISTS;
		}
		vec_delete (m.statics, 1, r - m.statics);
		return commit (&m, 0);
	}
	if (!is_add)
	{
		hashmvt_model_free (&m);
		return MVT_ERR_NOT_FOUND;
	}
	vec_add1 (m.statics, rule);
	return commit (&m, 0);
}

/* ---- policies ---- */

static int
policy_is_used (const hashmvt_model_t *m, u32 policy)
{
	const mvt_policy_rule_t *rule;

	if (policy == 0)
		return 1;
	vec_foreach (rule, m->inside) if (rule->policy == policy) return 1;
	return 0;
}

/* A policy that no prefix has, so that the numbers of others stay: mappings remember them. */
static u32
policy_get (hashmvt_model_t *m, const mvt_policy_t *options)
{
	u32 i = 1;

	while (i < vec_len (m->policies) && policy_is_used (m, i))
		i++;
	if (i == vec_len (m->policies))
	{
		vec_validate (m->policies, i);
		vec_validate (m->slots, i);
	}
	m->policies[i] = *options;
	vec_free (m->slots[i]);
	m->slots[i] = vec_dup (m->slots[0]);
	return i;
}

mvt_err_t
hashmvt_policy_add_del (mvt_prefix4_t inside, const mvt_policy_t *options, int is_add)
{
	hashmvt_model_t m;
	mvt_policy_rule_t *rule, *found = 0;

	if (inside.len > 32)
		return MVT_ERR_INVALID;
	inside = masked (inside);
	hashmvt_model_copy (&m, &hashmvt_main.model);
	vec_foreach (rule, m.inside) if (same_prefix (rule->inside, inside)) found = rule;
	if (!found && !is_add)
	{
		hashmvt_model_free (&m);
		return MVT_ERR_NOT_FOUND;
	}
	if (found)
		vec_delete (m.inside, 1, found - m.inside);
	if (is_add)
	{
		mvt_policy_rule_t new = { .inside = inside };
		new.policy = options ? policy_get (&m, options) : 0;
		vec_add1 (m.inside, new);
	}
	return commit (&m, 0);
}

mvt_err_t
hashmvt_policy_default (const mvt_policy_t *options)
{
	hashmvt_model_t m;

	hashmvt_model_copy (&m, &hashmvt_main.model);
	m.policies[0] = *options;
	return commit (&m, 0);
}

/* ---- static mappings with a port ---- */

mvt_err_t
hashmvt_static_add_del (const mvt_endpoint_t *in, const mvt_endpoint_t *ext, int is_add)
{
	mvt_job_t job = { .op = is_add ? MVT_JOB_STATIC_ADD : MVT_JOB_STATIC_DEL,
			  .external_endpoint = *ext };

	if (in)
		job.inside_endpoint = *in;
	if (ext->proto >= MVT_PROTO_N || (is_add && (!in || in->proto >= MVT_PROTO_N)))
		return MVT_ERR_INVALID;
	/* a query id may be 0, a port may not */
	if (is_add && ext->proto != MVT_PROTO_ICMP && (in->port == 0 || ext->port == 0))
		return MVT_ERR_INVALID;
	return mvt_engine_job (hashmvt_main.engine, MVT_NO_INSTANCE, &job);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Binary API: policies, home maps and rules that are replaced whole. The parts are collected under
 * a number until the client commits or gives up.
 */
#include "api.h"

#define CHANGES 64	   /* at once, of all clients */
#define PARTS	(1u << 22) /* of each kind, in one change */

struct hashmvt_change
{
	u32 client_index;
	u8 kind;
	u64 version;
	mvt_home_range_t *ranges;
	u16 *tables;
	mvt_home_pin_t *pins;
	hashmvt_model_t model;
};

static void
change_free (hashmvt_change_t *c)
{
	vec_free (c->ranges);
	vec_free (c->tables);
	vec_free (c->pins);
	hashmvt_model_free (&c->model);
	pool_put (hashmvt_main.changes, c);
}

void
hashmvt_changes_flush (void)
{
	hashmvt_change_t *c;

	pool_foreach (c, hashmvt_main.changes) change_free (c);
	hashmvt_forget_answers ();
}

void
hashmvt_changes_reap (u32 client_index)
{
	hashmvt_change_t *c;

	pool_foreach (c, hashmvt_main.changes) if (c->client_index == client_index) change_free (c);
}

/* The client's own change, of that kind (policy or one of the maps). */
static hashmvt_change_t *
change_of (u32 client_index, u32 number, int is_policy, int *rv)
{
	hashmvt_main_t *hm = &hashmvt_main;
	hashmvt_change_t *c;

	if (HASHMVT_ENABLED (*rv))
		return 0;
	*rv = VNET_API_ERROR_INVALID_VALUE_2;
	if (pool_is_free_index (hm->changes, number))
		return 0;
	c = pool_elt_at_index (hm->changes, number);
	if (c->client_index != client_index ||
	    (is_policy >= 0 && (c->kind == HASHMVT_API_POLICY) != is_policy))
		return 0;
	*rv = 0;
	return c;
}

/* Room for n parts more. */
static int
room (u32 have, u32 n)
{
	return n > PARTS || have > PARTS - n ? VNET_API_ERROR_LIMIT_EXCEEDED : 0;
}

void
vl_api_hashmvt_change_begin_t_handler (vl_api_hashmvt_change_begin_t *mp)
{
	hashmvt_main_t *hm = &hashmvt_main;
	vl_api_hashmvt_change_begin_reply_t *rmp;
	u32 number = ~0;
	int rv = 0;

	if (HASHMVT_ENABLED (rv))
		;
	else if (mp->kind > HASHMVT_API_POLICY)
		rv = VNET_API_ERROR_INVALID_VALUE_2;
	else if (pool_elts (hm->changes) >= CHANGES)
		rv = VNET_API_ERROR_LIMIT_EXCEEDED;
	else
	{
		hashmvt_change_t *c;
		pool_get_zero (hm->changes, c);
		c->client_index = mp->client_index;
		c->kind = mp->kind;
		c->version = mp->version;
		number = c - hm->changes;
	}
	REPLY_MACRO2_END (VL_API_HASHMVT_CHANGE_BEGIN_REPLY, ({ rmp->change = number; }));
}

/* ---- parts of maps ---- */

static int
range_in (const vl_api_hashmvt_range_t *from, mvt_home_range_t *to)
{
	int rv;

	clib_memset (to, 0, sizeof *to);
	if ((rv = hashmvt_prefix_in (&from->prefix, &to->prefix)) ||
	    ((from->flags & MVT_HOME_F_OPENED) &&
	     (rv = hashmvt_address_in (&from->external, &to->ext_addr))))
		return rv;
	if (from->realm)
		return VNET_API_ERROR_NO_SUCH_FIB;
	if (from->flags & ~(MVT_HOME_F_CLOSING | MVT_HOME_F_BY_ENDPOINT | MVT_HOME_F_OPENED))
		return VNET_API_ERROR_INVALID_VALUE;
	to->instance = from->instance;
	to->table = from->table;
	to->from = from->from_instance;
	to->to = from->to_instance;
	to->flags = from->flags;
	return 0;
}

/* Adds all parts or none. */
#define ADD_PARTS(vector, type, count, convert)          \
	do                                               \
	{                                                \
		u32 had = vec_len (vector);              \
		rv = room (had, count);                  \
		for (u32 i = 0; i < (count) && !rv; i++) \
		{                                        \
			type part = { 0 };               \
			rv = convert;                    \
			if (!rv)                         \
				vec_add1 (vector, part); \
		}                                        \
		if (rv && vector)                        \
			vec_set_len (vector, had);       \
	} while (0)

void
vl_api_hashmvt_change_add_ranges_t_handler (vl_api_hashmvt_change_add_ranges_t *mp)
{
	vl_api_hashmvt_change_add_ranges_reply_t *rmp;
	int rv;
	hashmvt_change_t *c = change_of (mp->client_index, mp->change, 0, &rv);

	if (c)
		ADD_PARTS (c->ranges, mvt_home_range_t, mp->n, range_in (&mp->ranges[i], &part));
	REPLY_MACRO_END (VL_API_HASHMVT_CHANGE_ADD_RANGES_REPLY);
}

void
vl_api_hashmvt_change_add_table_t_handler (vl_api_hashmvt_change_add_table_t *mp)
{
	vl_api_hashmvt_change_add_table_reply_t *rmp;
	int rv;
	hashmvt_change_t *c = change_of (mp->client_index, mp->change, 0, &rv);

	if (c && !(rv = room (vec_len (c->tables), MVT_HOME_BUCKETS)))
		vec_add (c->tables, mp->table, MVT_HOME_BUCKETS);
	REPLY_MACRO_END (VL_API_HASHMVT_CHANGE_ADD_TABLE_REPLY);
}

static int
pin_in (const vl_api_hashmvt_pin_t *from, mvt_home_pin_t *to)
{
	to->instance = from->instance;
	if (from->realm)
		return VNET_API_ERROR_NO_SUCH_FIB;
	return hashmvt_endpoint_in (&from->endpoint, &to->endpoint);
}

void
vl_api_hashmvt_change_add_pins_t_handler (vl_api_hashmvt_change_add_pins_t *mp)
{
	vl_api_hashmvt_change_add_pins_reply_t *rmp;
	int rv;
	hashmvt_change_t *c = change_of (mp->client_index, mp->change, 0, &rv);

	if (c)
		ADD_PARTS (c->pins, mvt_home_pin_t, mp->n, pin_in (&mp->pins[i], &part));
	REPLY_MACRO_END (VL_API_HASHMVT_CHANGE_ADD_PINS_REPLY);
}

/* ---- parts of policies ---- */

void
vl_api_hashmvt_change_add_policies_t_handler (vl_api_hashmvt_change_add_policies_t *mp)
{
	vl_api_hashmvt_change_add_policies_reply_t *rmp;
	int rv;
	hashmvt_change_t *c = change_of (mp->client_index, mp->change, 1, &rv);

	if (c && mp->n > MVT_POLICY_MAX)
		rv = VNET_API_ERROR_LIMIT_EXCEEDED;
	else if (c)
	{
		ADD_PARTS (c->model.policies, mvt_policy_t, mp->n,
			   hashmvt_policy_in (&mp->policies[i], &part));
		if (vec_len (c->model.policies))
			vec_validate (c->model.slots, vec_len (c->model.policies) - 1);
	}
	REPLY_MACRO_END (VL_API_HASHMVT_CHANGE_ADD_POLICIES_REPLY);
}

void
vl_api_hashmvt_change_add_slots_t_handler (vl_api_hashmvt_change_add_slots_t *mp)
{
	vl_api_hashmvt_change_add_slots_reply_t *rmp;
	int rv;
	hashmvt_change_t *c = change_of (mp->client_index, mp->change, 1, &rv);

	if (c && mp->policy >= vec_len (c->model.policies))
		rv = VNET_API_ERROR_INVALID_VALUE;
	else if (c && !(rv = room (vec_len (c->model.slots[mp->policy]), mp->n)) && mp->n)
		vec_add (c->model.slots[mp->policy], mp->slots, mp->n);
	REPLY_MACRO_END (VL_API_HASHMVT_CHANGE_ADD_SLOTS_REPLY);
}

static int
run_in (const vl_api_hashmvt_run_t *from, mvt_pool_run_t *to)
{
	to->count = from->count;
	to->slot = from->slot;
	to->draining = from->draining != 0;
	return hashmvt_address_in (&from->first, &to->first);
}

void
vl_api_hashmvt_change_add_runs_t_handler (vl_api_hashmvt_change_add_runs_t *mp)
{
	vl_api_hashmvt_change_add_runs_reply_t *rmp;
	int rv;
	hashmvt_change_t *c = change_of (mp->client_index, mp->change, 1, &rv);

	if (c)
		ADD_PARTS (c->model.runs, mvt_pool_run_t, mp->n, run_in (&mp->runs[i], &part));
	REPLY_MACRO_END (VL_API_HASHMVT_CHANGE_ADD_RUNS_REPLY);
}

static int
inside_in (const vl_api_hashmvt_inside_t *from, mvt_policy_rule_t *to)
{
	to->policy = from->policy;
	return hashmvt_prefix_in (&from->prefix, &to->inside);
}

void
vl_api_hashmvt_change_add_inside_t_handler (vl_api_hashmvt_change_add_inside_t *mp)
{
	vl_api_hashmvt_change_add_inside_reply_t *rmp;
	int rv;
	hashmvt_change_t *c = change_of (mp->client_index, mp->change, 1, &rv);

	if (c)
		ADD_PARTS (c->model.inside, mvt_policy_rule_t, mp->n,
			   inside_in (&mp->inside[i], &part));
	REPLY_MACRO_END (VL_API_HASHMVT_CHANGE_ADD_INSIDE_REPLY);
}

void
vl_api_hashmvt_change_add_exempt_t_handler (vl_api_hashmvt_change_add_exempt_t *mp)
{
	vl_api_hashmvt_change_add_exempt_reply_t *rmp;
	int rv;
	hashmvt_change_t *c = change_of (mp->client_index, mp->change, 1, &rv);

	if (c)
		ADD_PARTS (c->model.exempt, mvt_prefix4_t, mp->n,
			   hashmvt_prefix_in (&mp->prefixes[i], &part));
	REPLY_MACRO_END (VL_API_HASHMVT_CHANGE_ADD_EXEMPT_REPLY);
}

static int
rule_in (const vl_api_hashmvt_rule_t *from, mvt_static_rule_t *to)
{
	int rv = hashmvt_prefix_in (&from->inside, &to->inside);
	return rv ? rv : hashmvt_prefix_in (&from->outside, &to->outside);
}

void
vl_api_hashmvt_change_add_rules_t_handler (vl_api_hashmvt_change_add_rules_t *mp)
{
	vl_api_hashmvt_change_add_rules_reply_t *rmp;
	int rv;
	hashmvt_change_t *c = change_of (mp->client_index, mp->change, 1, &rv);

	if (c)
		ADD_PARTS (c->model.statics, mvt_static_rule_t, mp->n,
			   rule_in (&mp->rules[i], &part));
	REPLY_MACRO_END (VL_API_HASHMVT_CHANGE_ADD_RULES_REPLY);
}

/* ---- the end ---- */

static mvt_err_t
commit_map (hashmvt_change_t *c)
{
	mvt_home_desc_t desc = {
		.version = c->version,
		.ranges = c->ranges,
		.n_ranges = vec_len (c->ranges),
		.tables = c->tables,
		.n_tables = vec_len (c->tables) / MVT_HOME_BUCKETS,
		.pins = c->pins,
		.n_pins = vec_len (c->pins),
	};

	return c->kind == HASHMVT_API_HOME ? mvt_engine_set_home (hashmvt_main.engine, &desc)
					   : mvt_engine_set_rules (hashmvt_main.engine, &desc);
}

static mvt_err_t
commit_policy (hashmvt_change_t *c, int force)
{
	hashmvt_main_t *hm = &hashmvt_main;

	if (c->version < hm->model.generation)
		return MVT_ERR_STALE;
	if (c->version == hm->model.generation)
		return MVT_OK;
	if (!vec_len (c->model.policies))
		return MVT_ERR_INVALID;
	c->model.generation = c->version;
	return hashmvt_model_publish (&c->model, force);
}

void
vl_api_hashmvt_change_end_t_handler (vl_api_hashmvt_change_end_t *mp)
{
	vl_api_hashmvt_change_end_reply_t *rmp;
	int rv;
	hashmvt_change_t *c = change_of (mp->client_index, mp->change, -1, &rv);

	if (c)
	{
		mvt_err_t err = MVT_OK;
		if (mp->commit)
			err = c->kind == HASHMVT_API_POLICY ? commit_policy (c, mp->force)
							    : commit_map (c);
		rv = hashmvt_error_to_api (err);
		change_free (c);
	}
	REPLY_MACRO_END (VL_API_HASHMVT_CHANGE_END_REPLY);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Binary API: enable, configuration piece by piece, instances and blocks, events.
 */
#include "api.h"

#include <vnet/ip/ip_types_api.h>
#include <vnet/format_fns.h>

/* ---- conversions ---- */

int
hashmvt_address_in (const vl_api_address_t *from, u32 *to)
{
	u32 be;

	if (from->af != ADDRESS_IP4)
		return VNET_API_ERROR_INVALID_ADDRESS_FAMILY;
	clib_memcpy (&be, from->un.ip4, sizeof be);
	*to = clib_net_to_host_u32 (be);
	return 0;
}

void
hashmvt_address_out (u32 from, vl_api_address_t *to)
{
	u32 be = clib_host_to_net_u32 (from);

	clib_memset (to, 0, sizeof *to);
	to->af = ADDRESS_IP4;
	clib_memcpy (to->un.ip4, &be, sizeof be);
}

int
hashmvt_prefix_in (const vl_api_prefix_t *from, mvt_prefix4_t *to)
{
	u32 addr;
	int rv = hashmvt_address_in (&from->address, &addr);

	if (rv)
		return rv;
	if (from->len > 32)
		return VNET_API_ERROR_INVALID_VALUE;
	*to = (mvt_prefix4_t){ .addr = from->len ? addr & (~0u << (32 - from->len)) : 0,
			       .len = from->len };
	return 0;
}

void
hashmvt_prefix_out (mvt_prefix4_t from, vl_api_prefix_t *to)
{
	hashmvt_address_out (from.addr, &to->address);
	to->len = from.len;
}

int
hashmvt_endpoint_in (const vl_api_hashmvt_endpoint_t *from, mvt_endpoint_t *to)
{
	clib_memset (to, 0, sizeof *to);
	to->port = from->port;
	to->proto = from->proto;
	if (from->proto >= MVT_PROTO_N)
		return VNET_API_ERROR_INVALID_PROTOCOL;
	return hashmvt_address_in (&from->address, &to->addr);
}

void
hashmvt_endpoint_out (const mvt_endpoint_t *from, vl_api_hashmvt_endpoint_t *to)
{
	hashmvt_address_out (from->addr, &to->address);
	to->port = from->port;
	to->proto = from->proto;
}

STATIC_ASSERT (MVT_TIMEOUT_N >= 5, "the API has five timeouts");

int
hashmvt_policy_in (const vl_api_hashmvt_policy_t *from, mvt_policy_t *to)
{
	clib_memset (to, 0, sizeof *to);
	for (u32 i = 0; i < ARRAY_LEN (from->timeouts); i++)
	{
		if (from->timeouts[i] == 0 || from->timeouts[i] > MVT_TIMEOUT_MAX)
			return VNET_API_ERROR_INVALID_VALUE;
		to->timeout[i] = from->timeouts[i];
	}
	for (u32 i = 0; i < MVT_PROTO_N; i++)
	{
		if (from->filtering[i] > MVT_FILTER_APD)
			return VNET_API_ERROR_INVALID_VALUE;
		to->filter[i] = from->filtering[i];
		to->mappings_per_host[i] = from->mappings_per_host[i];
	}
	to->paired_only = from->paired_only != 0;
	to->mappings_per_host_all = from->mappings_per_host_all;
	to->new_per_second_per_host = from->new_per_second_per_host;
	to->max_blocks_per_host = from->max_blocks_per_host;
	return 0;
}

void
hashmvt_policy_out (const mvt_policy_t *from, vl_api_hashmvt_policy_t *to)
{
	for (u32 i = 0; i < ARRAY_LEN (to->timeouts); i++)
		to->timeouts[i] = from->timeout[i];
	for (u32 i = 0; i < MVT_PROTO_N; i++)
	{
		to->filtering[i] = from->filter[i];
		to->mappings_per_host[i] = from->mappings_per_host[i];
	}
	to->paired_only = from->paired_only;
	to->mappings_per_host_all = from->mappings_per_host_all;
	to->new_per_second_per_host = from->new_per_second_per_host;
	to->max_blocks_per_host = from->max_blocks_per_host;
}

int
hashmvt_filter_in (const vl_api_hashmvt_filter_t *from, mvt_mapping_filter_t *to, u32 *instance)
{
	int rv;

	clib_memset (to, 0, sizeof *to);
	if ((rv = hashmvt_prefix_in (&from->inside, &to->inside)) ||
	    (rv = hashmvt_prefix_in (&from->external, &to->external)))
		return rv;
	if (from->realm)
		return VNET_API_ERROR_NO_SUCH_FIB;
	if (from->proto_plus1 > MVT_PROTO_N)
		return VNET_API_ERROR_INVALID_PROTOCOL;
	if (from->statics > 2)
		return VNET_API_ERROR_INVALID_VALUE;
	to->in_port = from->inside_port;
	to->ext_port = from->external_port;
	to->proto_plus1 = from->proto_plus1;
	to->statics = from->statics;
	*instance = hashmvt_instance_in (from->instance);
	return 0;
}

/* ---- generations ---- */

#define ANSWERS 256

static hashmvt_answer_t answers[ANSWERS];
static u32 next_answer;

const hashmvt_answer_t *
hashmvt_answered (u64 generation)
{
	if (generation == 0)
		return 0;
	for (u32 i = 0; i < ANSWERS; i++)
		if (answers[i].generation == generation)
			return &answers[i];
	return 0;
}

void
hashmvt_remember (u64 generation, i32 retval, u32 value)
{
	hashmvt_main_t *hm = &hashmvt_main;

	if (generation == 0 || retval)
		return;
	answers[next_answer++ % ANSWERS] =
		(hashmvt_answer_t){ .generation = generation, .retval = retval, .value = value };
	if (generation > hm->highest_generation)
		hm->highest_generation = generation;
}

void
hashmvt_forget_answers (void)
{
	clib_memset (answers, 0, sizeof answers);
}

/* The answer to give without doing anything: remembered, not enabled, or too old. */
static int
settled (u64 generation, int *rv, u32 *value)
{
	const hashmvt_answer_t *answer;

	if (HASHMVT_ENABLED (*rv))
		return 1;
	answer = hashmvt_answered (generation);
	if (answer)
	{
		*rv = answer->retval;
		*value = answer->value;
		return 1;
	}
	if (generation && generation <= hashmvt_main.highest_generation)
	{
		*rv = VNET_API_ERROR_VALUE_EXIST;
		return 1;
	}
	return 0;
}

/* ---- enable ---- */

/* What an error says, cut to the field of a message. */
static void
sentence_out (clib_error_t *error, u8 *to, u32 size)
{
	u8 *text = error ? format (0, "%v", error->what) : 0;
	u32 n = clib_min (vec_len (text), size - 1);

	clib_memset (to, 0, size);
	if (n)
		clib_memcpy (to, text, n);
	vec_free (text);
}

static void
vl_api_hashmvt_enable_t_handler (vl_api_hashmvt_enable_t *mp)
{
	vl_api_hashmvt_enable_reply_t *rmp;
	hashmvt_settings_t s = hashmvt_main.defaults;
	clib_error_t *error = 0;
	int rv = 0;

#define TAKE(field)    \
	if (mp->field) \
		s.field = mp->field;
	TAKE (instances)
	TAKE (max_mappings)
	TAKE (max_sessions)
	TAKE (max_hosts)
	TAKE (block_size)
	TAKE (max_addresses)
	TAKE (fragment_timeout)
	TAKE (hold_seconds)
	TAKE (hold_share_1024)
	TAKE (frame_queue_nelts)
#undef TAKE
	if (mp->exact)
	{
		s.hold_seconds = mp->hold_seconds;
		s.hold_share_1024 = mp->hold_share_1024;
		s.by_host = 0;
	}
	if (mp->allocation_by_block)
		s.by_host = 1;
	if (mp->log > 3)
		error = clib_error_return (0, "log must be 0 to 3, not %u", mp->log);
	else if (mp->n_words != 0 && mp->n_words != ARRAY_LEN (s.allocatable))
		error = clib_error_return (0, "allocatable must have 0 or %u words, not %u",
					   ARRAY_LEN (s.allocatable), mp->n_words);
	if (!error && mp->log)
		s.log = mp->log - 1;
	if (!error && mp->n_words)
		clib_memcpy (s.allocatable, mp->allocatable, sizeof s.allocatable);
	rv = error ? VNET_API_ERROR_INVALID_VALUE : hashmvt_enable (&s, &error);
	REPLY_MACRO2_END (VL_API_HASHMVT_ENABLE_REPLY,
			  ({ sentence_out (error, rmp->error, sizeof rmp->error); }));
	clib_error_free (error);
}

static void
vl_api_hashmvt_disable_t_handler (vl_api_hashmvt_disable_t *mp)
{
	vl_api_hashmvt_disable_reply_t *rmp;
	int rv = hashmvt_disable ();

	REPLY_MACRO_END (VL_API_HASHMVT_DISABLE_REPLY);
}

/* FNV-1a over the words of the bitmap. */
static u64
ports_digest (void)
{
	const hashmvt_settings_t *s = &hashmvt_main.settings;
	u64 digest = 0xcbf29ce484222325ull;

	for (u32 i = 0; i < ARRAY_LEN (s->allocatable); i++)
		digest = (digest ^ s->allocatable[i]) * 0x100000001b3ull;
	return digest;
}

static void
vl_api_hashmvt_get_t_handler (vl_api_hashmvt_get_t *mp)
{
	hashmvt_main_t *hm = &hashmvt_main;
	mvt_engine_t *e = hm->engine;
	vl_api_hashmvt_get_reply_t *rmp;
	int rv = 0;

	if (e)
		hashmvt_stats_publish ();
	REPLY_MACRO2_END (VL_API_HASHMVT_GET_REPLY, ({
				  clib_memset (&rmp->enabled, 0,
					       sizeof *rmp -
						       STRUCT_OFFSET_OF (vl_api_hashmvt_get_reply_t,
									 enabled));
				  rmp->barriers = vlib_worker_threads[0].barrier_sync_count;
				  if (e)
				  {
					  rmp->enabled = 1;
					  rmp->allocation_by_block = hm->settings.by_host;
					  rmp->n_instances = hm->n_instances;
					  rmp->first_thread = hm->first_thread;
					  rmp->block_size = 1 << e->block_bits;
					  rmp->max_addresses = e->n_slots;
					  rmp->max_mappings = hm->settings.max_mappings;
					  rmp->tick = engine_tick (e);
					  rmp->generation = hm->highest_generation;
					  rmp->home_version = count_get (&e->home.version);
					  rmp->rules_version = count_get (&e->rules.version);
					  rmp->policy_generation = hm->model.generation;
					  rmp->boot = hm->boot;
					  rmp->fragment_timeout = hm->settings.fragment_timeout;
					  rmp->hold_seconds = hm->settings.hold_seconds;
					  rmp->hold_share_1024 = hm->settings.hold_share_1024;
					  rmp->log = hm->settings.log + 1;
					  rmp->ports_digest = ports_digest ();
				  }
			  }));
}

static void
vl_api_hashmvt_clock_advance_t_handler (vl_api_hashmvt_clock_advance_t *mp)
{
	vl_api_hashmvt_clock_advance_reply_t *rmp;
	int rv = 0;

	if (!HASHMVT_ENABLED (rv))
		mvt_engine_advance (hashmvt_main.engine, mp->seconds);
	REPLY_MACRO_END (VL_API_HASHMVT_CLOCK_ADVANCE_REPLY);
}

/* ---- interfaces ---- */

static void
vl_api_hashmvt_interface_add_del_t_handler (vl_api_hashmvt_interface_add_del_t *mp)
{
	vl_api_hashmvt_interface_add_del_reply_t *rmp;
	int rv = hashmvt_interface (mp->sw_if_index,
				    mp->is_inside ? HASHMVT_SIDE_INSIDE : HASHMVT_SIDE_OUTSIDE,
				    mp->is_add);

	REPLY_MACRO_END (VL_API_HASHMVT_INTERFACE_ADD_DEL_REPLY);
}

/* ---- configuration, piece by piece ---- */

static void
vl_api_hashmvt_pool_add_del_t_handler (vl_api_hashmvt_pool_add_del_t *mp)
{
	vl_api_hashmvt_pool_add_del_reply_t *rmp;
	u32 first, last;
	int rv;

	if (!HASHMVT_ENABLED (rv) && !(rv = hashmvt_address_in (&mp->first, &first)) &&
	    !(rv = hashmvt_address_in (&mp->last, &last)))
		rv = hashmvt_error_to_api (
			hashmvt_pool_add_del (first, last, mp->is_add, mp->force));
	REPLY_MACRO_END (VL_API_HASHMVT_POOL_ADD_DEL_REPLY);
}

static void
vl_api_hashmvt_exempt_add_del_t_handler (vl_api_hashmvt_exempt_add_del_t *mp)
{
	vl_api_hashmvt_exempt_add_del_reply_t *rmp;
	mvt_prefix4_t prefix;
	int rv;

	if (!HASHMVT_ENABLED (rv) && !(rv = hashmvt_prefix_in (&mp->prefix, &prefix)))
		rv = hashmvt_error_to_api (hashmvt_exempt_add_del (prefix, mp->is_add));
	REPLY_MACRO_END (VL_API_HASHMVT_EXEMPT_ADD_DEL_REPLY);
}

static void
vl_api_hashmvt_inside_add_del_t_handler (vl_api_hashmvt_inside_add_del_t *mp)
{
	vl_api_hashmvt_inside_add_del_reply_t *rmp;
	mvt_prefix4_t prefix;
	int rv;

	if (!HASHMVT_ENABLED (rv) && !(rv = hashmvt_prefix_in (&mp->prefix, &prefix)))
		rv = hashmvt_error_to_api (hashmvt_policy_add_del (prefix, 0, mp->is_add));
	REPLY_MACRO_END (VL_API_HASHMVT_INSIDE_ADD_DEL_REPLY);
}

static void
vl_api_hashmvt_policy_add_del_t_handler (vl_api_hashmvt_policy_add_del_t *mp)
{
	vl_api_hashmvt_policy_add_del_reply_t *rmp;
	mvt_policy_t policy = { 0 };
	mvt_prefix4_t prefix;
	int rv;

	if (HASHMVT_ENABLED (rv) || (mp->is_add && (rv = hashmvt_policy_in (&mp->policy, &policy))))
		;
	else if (mp->is_default)
		rv = mp->is_add ? hashmvt_error_to_api (hashmvt_policy_default (&policy))
				: VNET_API_ERROR_INVALID_VALUE;
	else if (!(rv = hashmvt_prefix_in (&mp->prefix, &prefix)))
		rv = hashmvt_error_to_api (hashmvt_policy_add_del (prefix, &policy, mp->is_add));
	REPLY_MACRO_END (VL_API_HASHMVT_POLICY_ADD_DEL_REPLY);
}

static void
vl_api_hashmvt_static_rule_add_del_t_handler (vl_api_hashmvt_static_rule_add_del_t *mp)
{
	vl_api_hashmvt_static_rule_add_del_reply_t *rmp;
	mvt_static_rule_t rule;
	int rv;

	if (!HASHMVT_ENABLED (rv) && !(rv = hashmvt_prefix_in (&mp->inside, &rule.inside)) &&
	    !(rv = hashmvt_prefix_in (&mp->outside, &rule.outside)))
		rv = hashmvt_error_to_api (hashmvt_rule_add_del (rule, mp->is_add));
	REPLY_MACRO_END (VL_API_HASHMVT_STATIC_RULE_ADD_DEL_REPLY);
}

static void
vl_api_hashmvt_static_mapping_add_del_t_handler (vl_api_hashmvt_static_mapping_add_del_t *mp)
{
	vl_api_hashmvt_static_mapping_add_del_reply_t *rmp;
	mvt_endpoint_t in, ext;
	u32 value;
	int rv;

	if (!settled (mp->generation, &rv, &value))
	{
		if (mp->realm)
			rv = VNET_API_ERROR_NO_SUCH_FIB;
		else if (!(rv = hashmvt_endpoint_in (&mp->outside, &ext)) &&
			 (!mp->is_add || !(rv = hashmvt_endpoint_in (&mp->inside, &in))))
			rv = hashmvt_error_to_api (
				hashmvt_static_add_del (mp->is_add ? &in : 0, &ext, mp->is_add));
		hashmvt_remember (mp->generation, rv, 0);
	}
	REPLY_MACRO_END (VL_API_HASHMVT_STATIC_MAPPING_ADD_DEL_REPLY);
}

/* ---- instances and blocks ---- */

static void
vl_api_hashmvt_instance_control_t_handler (vl_api_hashmvt_instance_control_t *mp)
{
	static int (*const calls[]) (mvt_engine_t *, uint32_t) = {
		[HASHMVT_API_ACTIVATE] = mvt_engine_activate,
		[HASHMVT_API_DRAIN] = mvt_engine_drain,
		[HASHMVT_API_RESET] = mvt_engine_reset_instance,
	};
	vl_api_hashmvt_instance_control_reply_t *rmp;
	u32 value;
	int rv;

	if (!settled (mp->generation, &rv, &value))
	{
		if (mp->instance >= hashmvt_main.n_instances || mp->op >= ARRAY_LEN (calls))
			rv = VNET_API_ERROR_INVALID_VALUE_2;
		else
			rv = hashmvt_error_to_api (
				calls[mp->op](hashmvt_main.engine, mp->instance));
		hashmvt_remember (mp->generation, rv, 0);
	}
	REPLY_MACRO_END (VL_API_HASHMVT_INSTANCE_CONTROL_REPLY);
}

/* Of both messages that move blocks: moved, or the core's error. */
static int
moved_or_error (int result, u32 *moved)
{
	if (result < 0)
		return hashmvt_error_to_api (result);
	*moved = result;
	return 0;
}

static int
instances_differ (u16 from, u16 to)
{
	u32 n = hashmvt_main.n_instances;

	if (from >= n || to >= n)
		return VNET_API_ERROR_INVALID_VALUE_2;
	return from == to ? VNET_API_ERROR_INVALID_VALUE : 0;
}

static void
vl_api_hashmvt_transfer_t_handler (vl_api_hashmvt_transfer_t *mp)
{
	vl_api_hashmvt_transfer_reply_t *rmp;
	u32 moved = 0, addr, slot = MVT_NONE;
	int rv;

	if (!settled (mp->generation, &rv, &moved))
	{
		rv = instances_differ (mp->from_instance, mp->to_instance);
		if (!rv && !mp->any && !(rv = hashmvt_address_in (&mp->external, &addr)))
		{
			slot = mvt_policy_slot_of (
				atomic_load (&hashmvt_main.engine->shared.policy), addr, NULL);
			rv = slot == MVT_NONE ? VNET_API_ERROR_NO_SUCH_ENTRY : 0;
		}
		if (!rv)
			rv = moved_or_error (mvt_engine_transfer (hashmvt_main.engine,
								  mp->from_instance,
								  mp->to_instance, slot, mp->n),
					     &moved);
		hashmvt_remember (mp->generation, rv, moved);
	}
	REPLY_MACRO2_END (VL_API_HASHMVT_TRANSFER_REPLY, ({ rmp->moved = moved; }));
}

static void
vl_api_hashmvt_shard_t_handler (vl_api_hashmvt_shard_t *mp)
{
	vl_api_hashmvt_shard_reply_t *rmp;
	u32 moved = 0;
	int rv;

	if (!settled (mp->generation, &rv, &moved))
	{
		rv = instances_differ (mp->from_instance, mp->to_instance);
		if (!rv)
			rv = moved_or_error (mvt_engine_shard (hashmvt_main.engine,
							       mp->from_instance, mp->to_instance,
							       mp->percent),
					     &moved);
		hashmvt_remember (mp->generation, rv, moved);
	}
	REPLY_MACRO2_END (VL_API_HASHMVT_SHARD_REPLY, ({ rmp->moved = moved; }));
}

static void
vl_api_hashmvt_bucket_get_t_handler (vl_api_hashmvt_bucket_get_t *mp)
{
	vl_api_hashmvt_bucket_get_reply_t *rmp;
	u32 *hosts = 0, n = 0;
	int rv = 0;

	if (!HASHMVT_ENABLED (rv) && mp->realm)
		rv = VNET_API_ERROR_NO_SUCH_FIB;
	if (!rv && mp->n > MVT_HOME_BUCKETS)
		rv = VNET_API_ERROR_LIMIT_EXCEEDED;
	if (!rv)
		vec_validate (hosts, MVT_HOME_BUCKETS);
	for (; !rv && n < mp->n; n++)
		rv = hashmvt_address_in (&mp->hosts[n], &hosts[n]);
	REPLY_MACRO2_END (VL_API_HASHMVT_BUCKET_GET_REPLY, ({
				  clib_memset (rmp->buckets, 0, sizeof rmp->buckets);
				  for (u32 i = 0; !rv && i < n; i++)
					  rmp->buckets[i] = mvt_engine_bucket (hashmvt_main.engine,
									       0, hosts[i]);
			  }));
	vec_free (hosts);
}

static void
vl_api_hashmvt_mapping_delete_t_handler (vl_api_hashmvt_mapping_delete_t *mp)
{
	hashmvt_main_t *hm = &hashmvt_main;
	vl_api_hashmvt_mapping_delete_reply_t *rmp;
	mvt_mapping_filter_t filter;
	u32 ended = 0, instance;
	int rv;

	if (!settled (mp->generation, &rv, &ended))
	{
		rv = hashmvt_filter_in (&mp->filter, &filter, &instance);
		if (!rv && instance != MVT_NONE && instance >= hm->n_instances)
			rv = VNET_API_ERROR_INVALID_VALUE_2;
		if (filter.statics == 0)
			filter.statics = 2;
		for (u32 i = 0; i < hm->n_instances && !rv; i++)
		{
			mvt_job_t job = { .op = MVT_JOB_DELETE_MAPPINGS, .filter = filter };
			if (instance != MVT_NONE && instance != i)
				continue;
			mvt_engine_job (hm->engine, i, &job);
			ended += job.n;
		}
		hashmvt_remember (mp->generation, rv, ended);
	}
	REPLY_MACRO2_END (VL_API_HASHMVT_MAPPING_DELETE_REPLY, ({ rmp->ended = ended; }));
}

/* ---- events ---- */

static void
vl_api_want_hashmvt_events_t_handler (vl_api_want_hashmvt_events_t *mp)
{
	hashmvt_main_t *hm = &hashmvt_main;
	vl_api_want_hashmvt_events_reply_t *rmp;
	int rv = 0;

	if (mp->enable)
		hash_set (hm->subscribers, mp->client_index, mp->pid);
	else if (hash_get (hm->subscribers, mp->client_index))
		hash_unset (hm->subscribers, mp->client_index);
	else
		rv = VNET_API_ERROR_NO_SUCH_ENTRY;
	REPLY_MACRO_END (VL_API_WANT_HASHMVT_EVENTS_REPLY);
}

/* Below: the generated functions come last. */
static void event_to_network (vl_api_hashmvt_event_t *m);

static void
send_event (vl_api_registration_t *rp, u32 client_index, u32 pid, const mvt_event_t *e)
{
	vl_api_hashmvt_event_t *rmp = vl_msg_api_alloc_zero (sizeof *rmp);

	rmp->_vl_msg_id = VL_API_HASHMVT_EVENT + REPLY_MSG_ID_BASE;
	rmp->client_index = client_index;
	rmp->pid = pid;
	rmp->tick = e->tick;
	rmp->type = e->type;
	rmp->proto = e->proto;
	rmp->realm = e->realm;
	hashmvt_address_out (e->in_addr, &rmp->inside);
	hashmvt_address_out (e->ext_addr, &rmp->external);
	rmp->inside_port = e->in_port;
	rmp->external_port = e->ext_port;
	rmp->ports = e->ports;
	rmp->instance = e->instance;
	rmp->detail = e->detail;
	event_to_network (rmp);
	vl_api_send_msg (rp, (u8 *) rmp);
}

void
hashmvt_api_events (const mvt_event_t *events, u32 n)
{
	hashmvt_main_t *hm = &hashmvt_main;
	u32 client_index, *gone = 0;
	uword pid;

	hash_foreach (client_index, pid, hm->subscribers, ({
			      vl_api_registration_t *rp =
				      vl_api_client_index_to_registration (client_index);
			      if (!rp)
				      vec_add1 (gone, client_index);
			      else
				      /* a client that does not read loses what it has no room for
				       */
				      for (u32 i = 0; i < n && vl_api_can_send_msg (rp); i++)
					      send_event (rp, client_index, pid, &events[i]);
		      }));
	for (u32 i = 0; i < vec_len (gone); i++)
		hash_unset (hm->subscribers, gone[i]);
	vec_free (gone);
}

static clib_error_t *
reap (u32 client_index)
{
	hash_unset (hashmvt_main.subscribers, client_index);
	hashmvt_changes_reap (client_index);
	return 0;
}

VL_MSG_API_REAPER_FUNCTION (reap);

/* ---- registration ---- */

/* Handlers of the other files. */
#define foreach_other           \
	_ (change_begin)        \
	_ (change_add_ranges)   \
	_ (change_add_table)    \
	_ (change_add_pins)     \
	_ (change_add_policies) \
	_ (change_add_slots)    \
	_ (change_add_runs)     \
	_ (change_add_inside)   \
	_ (change_add_exempt)   \
	_ (change_add_rules)    \
	_ (change_end)          \
	_ (interface_get)       \
	_ (pool_get)            \
	_ (static_mapping_get)  \
	_ (range_get)           \
	_ (table_get)           \
	_ (pin_get)             \
	_ (policy_get)          \
	_ (prefix_get)          \
	_ (instance_get)        \
	_ (mapping_get)         \
	_ (host_get)            \
	_ (block_get)           \
	_ (match_get)           \
	_ (hits_get)            \
	_ (rss_queues_set)      \
	_ (rss_queues_get)

#define _(name) void vl_api_hashmvt_##name##_t_handler (vl_api_hashmvt_##name##_t *mp);
foreach_other
#undef _

#include <hashmvt.api.c>

	static void
	event_to_network (vl_api_hashmvt_event_t *m)
{
	vl_api_hashmvt_event_t_endian (m, 1);
}

clib_error_t *
hashmvt_api_init (vlib_main_t *vm)
{
	hashmvt_main_t *hm = &hashmvt_main;
	api_main_t *am = vlibapi_get_main ();

	hm->msg_id_base = setup_message_id_table ();
	hm->subscribers = hash_create (0, sizeof (uword));
	for (u32 id = 0; id < VL_MSG_HASHMVT_LAST; id++)
		vl_api_set_msg_thread_safe (am, hm->msg_id_base + id, 1);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Enable and disable, and which interfaces are inside and outside.
 */
#include "hashmvt.h"

#include <vnet/feature/feature.h>
#include <unistd.h>

void
hashmvt_settings_default (hashmvt_settings_t *s)
{
	clib_memset (s, 0, sizeof *s);
	s->max_mappings = 1 << 20;
	s->block_size = 64;
	s->max_addresses = 1024;
	s->fragment_timeout = 2;
	s->hold_seconds = 120;
	s->hold_share_1024 = 102;
	s->log = 1;
	s->frame_queue_nelts = HASHMVT_FRAME_QUEUE;
	for (u32 i = 1024 / 64; i < ARRAY_LEN (s->allocatable); i++)
		s->allocatable[i] = ~0ULL;
}

clib_error_t *
hashmvt_settings_check (const hashmvt_settings_t *s)
{
	if (s->fragment_timeout == 0 || s->fragment_timeout > MVT_TIMEOUT_MAX)
		return clib_error_return (0, "fragment-timeout must be 1 to %u seconds, not %u",
					  MVT_TIMEOUT_MAX, s->fragment_timeout);
	if (s->max_addresses == 0 || s->max_addresses > HASHMVT_MAX_ROUTES)
		return clib_error_return (
			0, "max-addresses must be 1 to %u, not %u: each takes a route of VPP's",
			HASHMVT_MAX_ROUTES, s->max_addresses);
	return 0;
}

int
hashmvt_error_to_api (mvt_err_t err)
{
	switch (err)
	{
	case MVT_OK:
		return 0;
	case MVT_ERR_INVALID:
		return VNET_API_ERROR_INVALID_VALUE;
	case MVT_ERR_NO_MEMORY:
		return VNET_API_ERROR_TABLE_TOO_BIG;
	case MVT_ERR_EXISTS:
		return VNET_API_ERROR_ENTRY_ALREADY_EXISTS;
	case MVT_ERR_NOT_FOUND:
		return VNET_API_ERROR_NO_SUCH_ENTRY;
	case MVT_ERR_FULL:
		return VNET_API_ERROR_LIMIT_EXCEEDED;
	case MVT_ERR_IN_USE:
		return VNET_API_ERROR_RSRC_IN_USE;
	case MVT_ERR_NOT_SIBLINGS:
		return VNET_API_ERROR_INVALID_ARGUMENT;
	case MVT_ERR_STALE:
		return VNET_API_ERROR_VALUE_EXIST;
	case MVT_ERR_AGAIN:
		return VNET_API_ERROR_UNSPECIFIED;
	case MVT_ERR_UNSUPPORTED:
		return VNET_API_ERROR_UNSUPPORTED;
	case MVT_ERR_NOT_OWNER:
		return VNET_API_ERROR_INSTANCE_IN_USE;
	case MVT_ERR_HUNG:
		return VNET_API_ERROR_RESPONSE_NOT_READY;
	}
	return VNET_API_ERROR_UNSPECIFIED;
}

/* ---- features ---- */

static const char *
feature_of (hashmvt_side_t side)
{
	return side == HASHMVT_SIDE_INSIDE ? "hashmvt-in2out" : "hashmvt-out2in";
}

int
hashmvt_interface (u32 sw_if_index, hashmvt_side_t side, int is_add)
{
	hashmvt_main_t *hm = &hashmvt_main;
	vlib_main_t *vm = vlib_get_main ();
	int rv;

	if (!hm->engine)
		return VNET_API_ERROR_FEATURE_DISABLED;
	if (side != HASHMVT_SIDE_INSIDE && side != HASHMVT_SIDE_OUTSIDE)
		return VNET_API_ERROR_INVALID_VALUE;
	if (sw_if_index == vnet_get_main ()->local_interface_sw_if_index)
		return VNET_API_ERROR_INVALID_INTERFACE;
	if (pool_is_free_index (vnet_get_main ()->interface_main.sw_interfaces, sw_if_index))
		return VNET_API_ERROR_INVALID_SW_IF_INDEX;
	vec_validate (hm->side, sw_if_index);
	if (is_add && hm->side[sw_if_index] != HASHMVT_SIDE_NONE)
		return hm->side[sw_if_index] == side ? VNET_API_ERROR_VALUE_EXIST
						     : VNET_API_ERROR_RSRC_IN_USE;
	if (!is_add && hm->side[sw_if_index] != side)
		return VNET_API_ERROR_NO_SUCH_ENTRY;
	vlib_worker_thread_barrier_sync (vm);
	rv = vnet_feature_enable_disable ("ip4-unicast", feature_of (side), sw_if_index, is_add, 0,
					  0);
	if (!rv)
		hm->side[sw_if_index] = is_add ? side : HASHMVT_SIDE_NONE;
	hm->routes_stale = 1;
	hashmvt_fib_sync ();
	vlib_worker_thread_barrier_release (vm);
	return rv;
}

static clib_error_t *
interface_add_del (vnet_main_t *vnm, u32 sw_if_index, u32 is_add)
{
	hashmvt_main_t *hm = &hashmvt_main;

	if (!is_add && sw_if_index < vec_len (hm->side) && hm->side[sw_if_index])
		hashmvt_interface (sw_if_index, hm->side[sw_if_index], 0);
	return 0;
}

VNET_SW_INTERFACE_ADD_DEL_FUNCTION (interface_add_del);

/* ---- enable ---- */

static void
set_callback (u32 thread, int on)
{
	vlib_main_t *vm = vlib_get_main_by_index (thread);

	clib_callback_enable_disable (vm->worker_thread_main_loop_callbacks,
				      vm->worker_thread_main_loop_callback_tmp,
				      vm->worker_thread_main_loop_callback_lock, hashmvt_turn, on);
}

static void
threads_start (mvt_engine_t *engine)
{
	hashmvt_main_t *hm = &hashmvt_main;

	clib_memset (hm->threads, 0, vec_bytes (hm->threads));
	for (u32 i = 0; i < hm->n_instances; i++)
	{
		hashmvt_thread_t *thread = vec_elt_at_index (hm->threads, hm->first_thread + i);
		thread->instance = &engine->instance[i];
		thread->turn_start = clib_cpu_time_now ();
		thread->vectors =
			vlib_get_main_by_index (hm->first_thread + i)->internal_node_vectors;
		thread->tick = engine_tick (engine);
		set_callback (hm->first_thread + i, 1);
	}
}

static void
threads_stop (void)
{
	hashmvt_main_t *hm = &hashmvt_main;

	for (u32 i = 0; i < hm->n_instances; i++)
	{
		hm->threads[hm->first_thread + i].instance = 0;
		set_callback (hm->first_thread + i, 0);
	}
}

/* Memory of an instance lies where its worker runs; instances that were made before this was known
 * are made again, they are empty still. */
static void
place_memory (mvt_engine_t *engine)
{
	hashmvt_main_t *hm = &hashmvt_main;

	for (u32 i = 0; i < hm->n_instances; i++)
	{
		int node = memory_node_of_cpu (vlib_worker_threads[hm->first_thread + i].cpu_id);
		if (node < 0)
			continue;
		engine->instance[i].arena.node = node;
		if (engine_has_nat (engine, i))
			mvt_engine_reset_instance (engine, i);
	}
}

static mvt_engine_t *
engine_new (const hashmvt_settings_t *s, u32 n, clib_error_t **error, int *code)
{
	char sentence[MVT_ENGINE_ERR_LEN];
	mvt_policy_desc_t policy = { .policies = hashmvt_main.model.policies, .n_policies = 1 };
	mvt_engine_config_t config = {
		.instances_initial = s->instances ? s->instances : n,
		.instances_max = n,
		.max_mappings = s->max_mappings,
		.max_sessions = s->max_sessions,
		.max_hosts = s->max_hosts,
		.block_size = s->block_size,
		.max_slots = s->max_addresses,
		.fragment_timeout = s->fragment_timeout,
		.hold_seconds = s->hold_seconds,
		.hold_share_1024 = s->hold_share_1024,
		.by_host = s->by_host,
		.log = s->log,
		.stepped = 1, /* no thread, ring or device of its own: host.c has VPP's */
		.allocatable = s->allocatable,
		.policy = &policy,
	};
	mvt_engine_t *engine = mvt_engine_new (&config, code, sentence);

	if (!engine)
		*error = clib_error_return (0, "%s", sentence);
	if (engine)
	{
		engine->stepped = false; /* from now on VPP's workers run it */
		engine->manual_clock = s->manual_clock;
	}
	return engine;
}

/* NULL, or why VPP as it is cannot run them; *rv is set then. */
static clib_error_t *
why_not (const hashmvt_settings_t *s, int *rv)
{
	hashmvt_main_t *hm = &hashmvt_main;
	u32 workers = vlib_num_workers ();

	*rv = VNET_API_ERROR_FEATURE_ALREADY_ENABLED;
	if (hm->engine)
		return clib_error_return (0, "hashmvt is enabled already");
	*rv = VNET_API_ERROR_LIMIT_EXCEEDED;
	if (workers > HASHMVT_MAX_WORKERS)
		return clib_error_return (
			0, "VPP has %u workers, and HashMVT runs on %u at most: start it with less",
			workers, HASHMVT_MAX_WORKERS);
	*rv = VNET_API_ERROR_INVALID_VALUE;
	if (!is_pow2 (s->frame_queue_nelts) || s->frame_queue_nelts < 9 + workers)
		return clib_error_return (
			0, "frame-queue-nelts must be a power of two and at least %u", 9 + workers);
	*rv = VNET_API_ERROR_RSRC_IN_USE;
	/* VPP never takes a frame queue down */
	if (hm->frame_queue != ~0 && s->frame_queue_nelts != hm->settings.frame_queue_nelts)
		return clib_error_return (0,
					  "frame-queue-nelts stays %u until VPP is started again",
					  hm->settings.frame_queue_nelts);
	*rv = VNET_API_ERROR_INVALID_VALUE;
	return hashmvt_settings_check (s);
}

int
hashmvt_enable (const hashmvt_settings_t *settings, clib_error_t **error)
{
	hashmvt_main_t *hm = &hashmvt_main;
	vlib_main_t *vm = vlib_get_main ();
	u32 workers = vlib_num_workers ();
	mvt_engine_t *engine;
	mvt_err_t err;
	int code;

	*error = why_not (settings, &code);
	if (*error)
		return code;
	hm->n_instances = workers ? workers : 1;
	hm->first_thread = workers ? 1 : 0;
	hashmvt_model_default (&hm->model);
	engine = engine_new (settings, hm->n_instances, error, &code);
	if (!engine)
	{
		hashmvt_model_free (&hm->model);
		return hashmvt_error_to_api (code);
	}
	hm->settings = *settings;
	clib_memset (hm->generation, 0, sizeof hm->generation);
	hm->highest_generation = 0;
	hm->boot = clib_cpu_time_now () ^ (u64) getpid () << 48;
	hm->routed_slots = 0;
	place_memory (engine);
	vlib_worker_thread_barrier_sync (vm);
	if (hm->frame_queue == ~0)
		hm->frame_queue = vlib_frame_queue_main_init (hashmvt_handoff_node.index,
							      settings->frame_queue_nelts);
	vec_validate_aligned (hm->threads, vlib_get_n_threads () - 1, CLIB_CACHE_LINE_BYTES);
	hm->engine = engine;
	threads_start (engine);
	hashmvt_local_addresses_refresh ();
	err = hashmvt_model_republish ();
	vlib_worker_thread_barrier_release (vm);
	hashmvt_stats_publish ();
	vlib_process_signal_event (vm, hashmvt_process_node.index, 0, 0);
	if (err)
	{
		hashmvt_disable ();
		*error = clib_error_return (0, "%s", mvt_err_text (err));
		return hashmvt_error_to_api (err);
	}
	return 0;
}

/* Fragments that an instance keeps are VPP's buffers. */
static void
free_held (mvt_engine_t *engine)
{
	vlib_main_t *vm = vlib_get_main ();

	for (u32 i = 0; i < engine->n; i++)
	{
		mvt_nat44_t *nat = engine->instance[i].nat;
		mvt_pkt_t pkts[64];
		u32 n;

		if (!nat)
			continue;
		while (mvt_nat44_background (
			       nat, engine_tick (engine) + engine->config.fragment_timeout + 1,
			       ENGINE_IDLE_LINES) > 0)
			;
		while ((n = mvt_nat44_released (nat, pkts, 64)) > 0)
			for (u32 k = 0; k < n; k++)
				vlib_buffer_free_one (vm, (u32) pkts[k].ref);
	}
}

int
hashmvt_disable (void)
{
	hashmvt_main_t *hm = &hashmvt_main;
	vlib_main_t *vm = vlib_get_main ();
	mvt_engine_t *engine = hm->engine;

	if (!engine)
		return VNET_API_ERROR_FEATURE_DISABLED;
	vlib_worker_thread_barrier_sync (vm);
	for (u32 i = 0; i < vec_len (hm->side); i++)
		if (hm->side[i] != HASHMVT_SIDE_NONE)
		{
			vnet_feature_enable_disable ("ip4-unicast", feature_of (hm->side[i]), i, 0,
						     0, 0);
			hm->side[i] = HASHMVT_SIDE_NONE;
		}
	hashmvt_fib_flush ();
	threads_stop ();
	free_held (engine);
	hm->engine = 0;
	vlib_worker_thread_barrier_release (vm);
	hashmvt_changes_flush ();
	hashmvt_model_free (&hm->model);
	mvt_engine_free (engine);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * hashmvt-in2out and hashmvt-out2in. A packet whose owner is this thread passes one of them and
 * nothing else: which instance it is for is asked here, the core looks at the whole frame at once.
 */
#include "node.h"

/* Does the packet's life end in this router? Only where it would be translated: what is for the
 * router itself may have a TTL of 1. The error speaks of the packet as its sender knows it. */
static_always_inline int
ttl_ends (const mvt_pkt_t *pkt, u8 dir)
{
	const mvt_shared_t *shared = &hashmvt_main.engine->shared;
	const mvt_policy_set_t *policy =
		atomic_load_explicit (&shared->policy, memory_order_acquire);
	u32 dst = mvt_load32 (pkt->l3 + 16);

	if (dir == MVT_IN2OUT)
		return !mvt_policy_exempt (policy, dst) && !hashmvt_is_local (dst) &&
		       mvt_policy_of (policy, mvt_load32 (pkt->l3 + 12)) != MVT_NONE;
	return mvt_policy_slot_of (policy, dst, NULL) != MVT_NONE && !hashmvt_is_local (dst);
}

/* The instance of every packet but fragments, MVT_NONE where each has to be asked about. */
static_always_inline u32
owner_of_all (const mvt_shared_t *shared, u8 dir)
{
	const mvt_home_t *rules;

	if (dir == MVT_OUT2IN)
		return hashmvt_main.n_instances == 1 ? 0 : MVT_NONE;
	rules = atomic_load_explicit (&shared->rules, memory_order_acquire);
	return rules ? mvt_home_head (rules)->single : MVT_NONE;
}

static_always_inline int
is_fragment (const mvt_pkt_t *pkt)
{
	return (mvt_load16 (pkt->l3 + 6) & 0x3fff) != 0;
}

static_always_inline uword
hashmvt_nat (vlib_main_t *vm, vlib_node_runtime_t *node, vlib_frame_t *frame, u8 dir)
{
	hashmvt_main_t *hm = &hashmvt_main;
	hashmvt_thread_t *me = vec_elt_at_index (hm->threads, vm->thread_index);
	u32 *from = vlib_frame_vector_args (frame), n = frame->n_vectors, n_mine = 0, all;
	u32 config, differ = 0;
	vlib_buffer_t *bufs[VLIB_FRAME_SIZE];
	int is_traced = (node->flags & VLIB_NODE_FLAG_TRACE) != 0;
	const mvt_shared_t *shared;
	mvt_views_t *views = 0;
	hashmvt_mine_t mine;
	hashmvt_out_t out;
	u16 me_id;

	hashmvt_out_init (&out);
	if (PREDICT_FALSE (!hm->engine))
	{
		vlib_node_increment_counter (vm, node->node_index, HASHMVT_COUNTER_NO_INSTANCE, n);
		vlib_buffer_free (vm, from, n);
		return n;
	}
	if (me->first_frame == 0)
		me->first_frame = clib_cpu_time_now ();
	me_id = MVT_NO_INSTANCE;
	if (PREDICT_TRUE (me->instance && me->instance->nat))
	{
		me_id = me->instance->id;
		views = mvt_nat44_views (me->instance->nat);
	}
	shared = &hm->engine->shared;
	all = owner_of_all (shared, dir);

	vlib_get_buffers (vm, from, bufs, n);
	config = bufs[0]->current_config_index;
	for (u32 i = 0; i < n; i++)
	{
		vlib_buffer_t *b = bufs[i];
		mvt_pkt_t *pkt = &mine.pkts[n_mine];
		hashmvt_trace_t *trace = 0;
		u16 owner = all;

		if (PREDICT_TRUE (i + 8 < n))
			vlib_prefetch_buffer_header (bufs[i + 8], LOAD);
		if (PREDICT_TRUE (i + 4 < n))
			clib_prefetch_store (vlib_buffer_get_current (bufs[i + 4]));
		differ |= b->current_config_index ^ config;
		hashmvt_view (b, from[i], dir, pkt);
		if (PREDICT_FALSE (pkt->l3[8] <= 1) && ttl_ends (pkt, dir))
		{
			icmp4_error_set_vnet_buffer (b, ICMP4_time_exceeded,
						     ICMP4_time_exceeded_ttl_exceeded_in_transit,
						     0);
			out.expired++;
			hashmvt_send (&out, from[i], HASHMVT_NEXT_ICMP_ERROR);
			continue;
		}
		if (all == MVT_NONE || (dir == MVT_OUT2IN && PREDICT_FALSE (is_fragment (pkt))))
			owner = mvt_dispatch_by (shared, views, pkt);
		if (PREDICT_FALSE (owner >= hm->n_instances))
			owner = 0;
		if (PREDICT_FALSE (is_traced && (b->flags & VLIB_BUFFER_IS_TRACED)))
			trace = hashmvt_trace_before (vm, node, b, pkt, owner);
		if (PREDICT_TRUE (owner == me_id))
		{
			mine.bufs[n_mine] = b;
			if (PREDICT_FALSE (is_traced))
				mine.traces[n_mine] = trace;
			n_mine++;
		}
		else if (PREDICT_TRUE (hm->first_thread + owner != vm->thread_index))
		{
			if (PREDICT_FALSE (trace != 0))
				trace->verdict = MVT_VERDICT_HANDOFF;
			hashmvt_hand_over (me, &out, b, pkt, owner);
		}
		else
		{
			/* the instance of this thread has just retired */
			me->no_nat++;
			hashmvt_drop (node, &out, from[i], b, HASHMVT_COUNTER_NO_INSTANCE);
		}
	}
	mine.n = n_mine;
	mine.differ = differ;
	if (PREDICT_TRUE (n_mine))
		hashmvt_decide (vm, node, me, &mine, n_mine == n ? from : 0, is_traced, dir, &out);
	hashmvt_flush (vm, node, me, &out);
	return n;
}

VLIB_NODE_FN (hashmvt_in2out_node)
(vlib_main_t *vm, vlib_node_runtime_t *node, vlib_frame_t *frame)
{
	return hashmvt_nat (vm, node, frame, MVT_IN2OUT);
}

VLIB_NODE_FN (hashmvt_out2in_node)
(vlib_main_t *vm, vlib_node_runtime_t *node, vlib_frame_t *frame)
{
	return hashmvt_nat (vm, node, frame, MVT_OUT2IN);
}

#ifndef CLIB_MARCH_VARIANT
vlib_error_desc_t hashmvt_error_counters[] = {
#define _(NAME, symbol, severity_, text) \
	{ .name = #symbol, .desc = text, .severity = VL_COUNTER_SEVERITY_##severity_ },
	foreach_hashmvt_counter
#undef _
#define _(NAME, symbol, text) \
	{ .name = #symbol, .desc = text, .severity = VL_COUNTER_SEVERITY_INFO },
		foreach_mvt_pass
#undef _
#define _(NAME, symbol, text) \
	{ .name = #symbol, .desc = text, .severity = VL_COUNTER_SEVERITY_ERROR },
			foreach_mvt_drop
#undef _
};

STATIC_ASSERT (ARRAY_LEN (hashmvt_error_counters) == HASHMVT_N_COUNTERS,
	       "one description for each counter");

VLIB_REGISTER_NODE (hashmvt_in2out_node) = {
  .name = "hashmvt-in2out",
  .vector_size = sizeof (u32),
  .format_trace = format_hashmvt_trace,
  .type = VLIB_NODE_TYPE_INTERNAL,
  .n_errors = HASHMVT_N_COUNTERS,
  .error_counters = hashmvt_error_counters,
  .n_next_nodes = HASHMVT_N_NEXT,
  .next_nodes = {
    [HASHMVT_NEXT_DROP] = "error-drop",
    [HASHMVT_NEXT_ICMP_ERROR] = "ip4-icmp-error",
  },
};

VLIB_REGISTER_NODE (hashmvt_out2in_node) = {
	.name = "hashmvt-out2in",
	.vector_size = sizeof (u32),
	.format_trace = format_hashmvt_trace,
	.type = VLIB_NODE_TYPE_INTERNAL,
	.n_errors = HASHMVT_N_COUNTERS,
	.error_counters = hashmvt_error_counters,
	.sibling_of = "hashmvt-in2out",
};

/* Where nat44-ed's nodes stand: access lists see what came in, a DHCP client gets its answers. */
VNET_FEATURE_INIT (hashmvt_in2out_feature, static) = {
	.arc_name = "ip4-unicast",
	.node_name = "hashmvt-in2out",
	.runs_after = VNET_FEATURES ("acl-plugin-in-ip4-fa", "ip4-sv-reassembly-feature"),
	.runs_before = VNET_FEATURES ("ip4-lookup"),
};

VNET_FEATURE_INIT (hashmvt_out2in_feature, static) = {
	.arc_name = "ip4-unicast",
	.node_name = "hashmvt-out2in",
	.runs_after = VNET_FEATURES ("acl-plugin-in-ip4-fa", "ip4-dhcp-client-detect",
				     "ip4-sv-reassembly-feature"),
	.runs_before = VNET_FEATURES ("ip4-lookup"),
};
#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * hashmvt-handoff: packets that another thread sent here because this instance owns them, and
 * fragments that this instance kept until their first one came.
 */
#include "node.h"

VLIB_NODE_FN (hashmvt_handoff_node)
(vlib_main_t *vm, vlib_node_runtime_t *node, vlib_frame_t *frame)
{
	hashmvt_main_t *hm = &hashmvt_main;
	hashmvt_thread_t *me = vec_elt_at_index (hm->threads, vm->thread_index);
	u32 *from = vlib_frame_vector_args (frame), n = frame->n_vectors;
	int is_traced = (node->flags & VLIB_NODE_FLAG_TRACE) != 0;
	hashmvt_mine_t mine;
	hashmvt_out_t out;

	hashmvt_out_init (&out);
	if (PREDICT_FALSE (!hm->engine || !me->instance || !me->instance->nat))
	{
		me->no_nat += n;
		vlib_node_increment_counter (vm, node->node_index, HASHMVT_COUNTER_NO_INSTANCE, n);
		vlib_buffer_free (vm, from, n);
		return n;
	}
	if (me->first_frame == 0)
		me->first_frame = clib_cpu_time_now ();

	vlib_get_buffers (vm, from, mine.bufs, n);
	mine.n = n;
	mine.differ = 0;
	for (u32 i = 0; i < n; i++)
	{
		vlib_buffer_t *b = mine.bufs[i];

		if (PREDICT_TRUE (i + 8 < n))
			vlib_prefetch_buffer_header (mine.bufs[i + 8], LOAD);
		if (PREDICT_TRUE (i + 4 < n))
			clib_prefetch_store (vlib_buffer_get_current (mine.bufs[i + 4]));
		mine.differ |= b->current_config_index ^ mine.bufs[0]->current_config_index;
		hashmvt_arrive (b, from[i], &mine.pkts[i]);
		if (PREDICT_FALSE (is_traced))
			mine.traces[i] = b->flags & VLIB_BUFFER_IS_TRACED
						 ? hashmvt_trace_before (vm, node, b, &mine.pkts[i],
									 me->instance->id)
						 : 0;
	}
	hashmvt_decide (vm, node, me, &mine, from, is_traced, NAT44_MIXED, &out);
	hashmvt_flush (vm, node, me, &out);
	return n;
}

#ifndef CLIB_MARCH_VARIANT
VLIB_REGISTER_NODE (hashmvt_handoff_node) = {
	.name = "hashmvt-handoff",
	.vector_size = sizeof (u32),
	.format_trace = format_hashmvt_trace,
	.type = VLIB_NODE_TYPE_INTERNAL,
	.n_errors = HASHMVT_N_COUNTERS,
	.error_counters = hashmvt_error_counters,
	.sibling_of = "hashmvt-in2out",
};
#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * touch-in2out and touch-out2in: as little as a node can do around the two reads.
 */
#include "touch.h"

#include "mvt_crc32c.h"

#include <vnet/feature/feature.h>

/* Packets that each step is behind the one before. 16 to 64 took the same within what one run
 * differs from the next, 8 more; so did chunks, loops without conditions and prefetching of
 * headers, which ip4-input has just read. */
#define TOUCH_AHEAD 32u

typedef struct
{
	u32 first, second;
} touch_trace_t;

/* A name of a first line, by the packet's inside endpoint. Ports are taken from where they are in a
 * header without options; what else lies there will do. */
static_always_inline u32
name_of (const touch_main_t *tm, const u8 *ip, int in2out)
{
	u64 addr = *(const u32u *) (ip + (in2out ? 12 : 16));
	u64 port = *(const u16u *) (ip + (in2out ? 20 : 22));
	u64 hash = mvt_mix (addr | port << 32, 0x2545f4914f6cdd1dull, 0x9e3779b97f4a7c15ull);

	return (u32) ((hash >> 32) * tm->n_first >> 32) * TOUCH_NAMES + hash % TOUCH_NAMES;
}

static_always_inline void
trace (vlib_main_t *vm, vlib_node_runtime_t *node, vlib_buffer_t **bufs, const u32 *name,
       const u32 *second, u32 n)
{
	for (u32 i = 0; i < n; i++)
		if (bufs[i]->flags & VLIB_BUFFER_IS_TRACED)
		{
			touch_trace_t *t = vlib_add_trace (vm, node, bufs[i], sizeof *t);
			t->first = name[i] / TOUCH_NAMES;
			t->second = second[i];
		}
}

static_always_inline uword
touch (vlib_main_t *vm, vlib_node_runtime_t *node, vlib_frame_t *frame, int in2out)
{
	const touch_main_t *tm = &touch_main;
	const u32 *names = tm->first->name;
	const touch_second_t *lines = tm->second;
	u32 *from = vlib_frame_vector_args (frame), n = frame->n_vectors;
	u32 name[VLIB_FRAME_SIZE], second[VLIB_FRAME_SIZE];
	u32 config, config_after, n_other = 0;
	vlib_buffer_t *bufs[VLIB_FRAME_SIZE];
	u16 nexts[VLIB_FRAME_SIZE], next;
	u64 touched = 0;

	vlib_get_buffers (vm, from, bufs, n);
	/* nearly always all packets have the same features ahead */
	config = bufs[0]->current_config_index;
	vnet_feature_next_u16 (&next, bufs[0]);
	config_after = bufs[0]->current_config_index;
	bufs[0]->current_config_index = config;
	for (u32 i = 0; i < n + 2 * TOUCH_AHEAD; i++)
	{
		u32 k = i;

		if (k < n)
		{
			vlib_buffer_t *b = bufs[k];

			name[k] = name_of (tm, vlib_buffer_get_current (b), in2out);
			__builtin_prefetch (&names[name[k]]);
			nexts[k] = next;
			if (PREDICT_TRUE (b->current_config_index == config))
				b->current_config_index = config_after;
			else
			{
				vnet_feature_next_u16 (&nexts[k], b);
				n_other++;
			}
		}
		k -= TOUCH_AHEAD;
		if (k < n)
		{
			second[k] = names[name[k]];
			__builtin_prefetch (&lines[second[k]]);
		}
		k -= TOUCH_AHEAD;
		if (k < n)
			touched += lines[second[k]].one;
	}
	if (PREDICT_FALSE (node->flags & VLIB_NODE_FLAG_TRACE))
		trace (vm, node, bufs, name, second, n);
	vlib_node_increment_counter (vm, node->node_index, 0, touched);
	if (PREDICT_TRUE (n_other == 0))
		vlib_buffer_enqueue_to_single_next (vm, node, from, next, n);
	else
		vlib_buffer_enqueue_to_next (vm, node, from, nexts, n);
	return n;
}

VLIB_NODE_FN (touch_in2out_node)
(vlib_main_t *vm, vlib_node_runtime_t *node, vlib_frame_t *frame)
{
	return touch (vm, node, frame, 1);
}

VLIB_NODE_FN (touch_out2in_node)
(vlib_main_t *vm, vlib_node_runtime_t *node, vlib_frame_t *frame)
{
	return touch (vm, node, frame, 0);
}

#ifndef CLIB_MARCH_VARIANT
static u8 *
format_touch_trace (u8 *s, va_list *args)
{
	CLIB_UNUSED (vlib_main_t * vm) = va_arg (*args, vlib_main_t *);
	CLIB_UNUSED (vlib_node_t * node) = va_arg (*args, vlib_node_t *);
	const touch_trace_t *t = va_arg (*args, const touch_trace_t *);

	return format (s, "line %u, which names line %u", t->first, t->second);
}

static vlib_error_desc_t touch_counters[] = {
	{ .name = "touched", .desc = "second lines read", .severity = VL_COUNTER_SEVERITY_INFO },
};

VLIB_REGISTER_NODE (touch_in2out_node) = {
	.name = "touch-in2out",
	.vector_size = sizeof (u32),
	.format_trace = format_touch_trace,
	.type = VLIB_NODE_TYPE_INTERNAL,
	.n_errors = ARRAY_LEN (touch_counters),
	.error_counters = touch_counters,
};

VLIB_REGISTER_NODE (touch_out2in_node) = {
	.name = "touch-out2in",
	.vector_size = sizeof (u32),
	.format_trace = format_touch_trace,
	.type = VLIB_NODE_TYPE_INTERNAL,
	.n_errors = ARRAY_LEN (touch_counters),
	.error_counters = touch_counters,
};

/* Where HashMVT's nodes stand. */
VNET_FEATURE_INIT (touch_in2out_feature, static) = {
	.arc_name = "ip4-unicast",
	.node_name = "touch-in2out",
	.runs_after = VNET_FEATURES ("acl-plugin-in-ip4-fa", "ip4-sv-reassembly-feature"),
	.runs_before = VNET_FEATURES ("ip4-lookup"),
};

VNET_FEATURE_INIT (touch_out2in_feature, static) = {
	.arc_name = "ip4-unicast",
	.node_name = "touch-out2in",
	.runs_after = VNET_FEATURES ("acl-plugin-in-ip4-fa", "ip4-sv-reassembly-feature"),
	.runs_before = VNET_FEATURES ("ip4-lookup"),
};
#endif

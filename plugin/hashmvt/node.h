/* SPDX-License-Identifier: Apache-2.0
 *
 * From packets to verdicts to next nodes, for the three nodes. They are siblings: a feature arc's
 * next index means the same in each, so a packet goes on along its arc from any of them.
 */
#ifndef included_hashmvt_node_h
#define included_hashmvt_node_h

#include "hashmvt.h"

#include <vnet/feature/feature.h>
#include <vnet/ip/icmp4.h>

typedef enum
{
	HASHMVT_NEXT_DROP,
	HASHMVT_NEXT_ICMP_ERROR,
	HASHMVT_N_NEXT,
} hashmvt_next_t;

/* Where the packets of one call go; none of the arrays can overflow, a packet is in one of them. */
typedef struct
{
	u32 to[VLIB_FRAME_SIZE];
	u16 nexts[VLIB_FRAME_SIZE];
	u32 away[VLIB_FRAME_SIZE];
	u16 away_thread[VLIB_FRAME_SIZE];
	u32 n_to, n_away;
	u32 translated, held, to_router, expired, stray;
	u32 passed[MVT_PASS_N];
} hashmvt_out_t;

static_always_inline void
hashmvt_send (hashmvt_out_t *out, u32 bi, u16 next)
{
	out->to[out->n_to] = bi;
	out->nexts[out->n_to++] = next;
}

static_always_inline void
hashmvt_send_on (hashmvt_out_t *out, u32 bi, vlib_buffer_t *b)
{
	u16 next;
	vnet_feature_next_u16 (&next, b);
	hashmvt_send (out, bi, next);
}

static_always_inline void
hashmvt_drop (vlib_node_runtime_t *node, hashmvt_out_t *out, u32 bi, vlib_buffer_t *b,
	      hashmvt_counter_t why)
{
	b->error = node->errors[why];
	hashmvt_send (out, bi, HASHMVT_NEXT_DROP);
}

static_always_inline void
hashmvt_hand_over (hashmvt_out_t *out, vlib_buffer_t *b, const mvt_pkt_t *pkt, u16 instance)
{
	out->away[out->n_away] = (u32) pkt->ref;
	hashmvt_carry (b, pkt);
	out->away_thread[out->n_away++] = hashmvt_main.first_thread + instance;
}

/* Packets without a mapping to an address of the router are for the router. */
static_always_inline int
hashmvt_is_for_router (const mvt_pkt_t *pkt)
{
	const u32 reasons = 1u << MVT_DROP_NO_MAPPING | 1u << MVT_DROP_UNSUPPORTED_PROTOCOL |
			    1u << MVT_DROP_ICMP_NO_MAPPING | 1u << MVT_DROP_ICMP_UNSUPPORTED |
			    1u << MVT_DROP_NO_OWNER;

	return pkt->dir == MVT_OUT2IN && !(pkt->flags & MVT_PKT_HAIRPIN) &&
	       (reasons >> pkt->reason & 1) && hashmvt_is_local (mvt_load32 (pkt->l3 + 16));
}

/* Endpoints as they stand in the packet, for traces. */
static_always_inline void
hashmvt_trace_ends (const mvt_pkt_t *pkt, mvt_endpoint_t *src, mvt_endpoint_t *dst)
{
	const u8 *p = pkt->l3;
	u32 header = (p[0] & 15) * 4;

	*src = (mvt_endpoint_t){ .addr = mvt_load32 (p + 12), .proto = mvt_proto_of (p[9]) };
	*dst = (mvt_endpoint_t){ .addr = mvt_load32 (p + 16), .proto = src->proto };
	if ((mvt_load16 (p + 6) & 0x1fff) || pkt->len < header + 8)
		return;
	if (src->proto == MVT_PROTO_ICMP)
		src->port = dst->port = mvt_load16 (p + header + 4);
	else if (src->proto != MVT_PROTO_OTHER)
	{
		src->port = mvt_load16 (p + header);
		dst->port = mvt_load16 (p + header + 2);
	}
}

static_always_inline hashmvt_trace_t *
hashmvt_trace_before (vlib_main_t *vm, vlib_node_runtime_t *node, vlib_buffer_t *b,
		      const mvt_pkt_t *pkt, u16 instance)
{
	hashmvt_trace_t *t = vlib_add_trace (vm, node, b, sizeof *t);

	clib_memset (t, 0, sizeof *t);
	hashmvt_trace_ends (pkt, &t->src[0], &t->dst[0]);
	t->src[1] = t->src[0];
	t->dst[1] = t->dst[0];
	t->instance = instance;
	t->dir = pkt->dir;
	t->hops = pkt->hops;
	return t;
}

static_always_inline void
hashmvt_trace_after (hashmvt_trace_t *t, const mvt_pkt_t *pkt, int is_router)
{
	if (!t)
		return;
	t->verdict = pkt->verdict;
	t->reason = pkt->reason;
	t->is_router = is_router;
	if (pkt->verdict == MVT_VERDICT_HANDOFF)
		t->instance = pkt->to;
	if (pkt->verdict == MVT_VERDICT_TRANSLATED || pkt->verdict == MVT_VERDICT_HANDOFF)
		hashmvt_trace_ends (pkt, &t->src[1], &t->dst[1]);
}

/* Let the core decide about packets of this thread's instance, and send each on its way.
 * traces: NULL, or one for each packet, NULL where it is not traced. */
static_always_inline void
hashmvt_decide (vlib_main_t *vm, vlib_node_runtime_t *node, hashmvt_thread_t *me, mvt_pkt_t *pkts,
		u32 n, hashmvt_trace_t **traces, hashmvt_out_t *out)
{
	instance_t *instance = me->instance;

	mvt_nat44_process (instance->nat, pkts, n, me->tick);
	for (u32 i = 0; i < n; i++)
	{
		mvt_pkt_t *pkt = &pkts[i];
		u32 bi = (u32) pkt->ref;
		vlib_buffer_t *b = vlib_get_buffer (vm, bi);
		int is_router = 0;

		if (PREDICT_TRUE (pkt->verdict == MVT_VERDICT_TRANSLATED))
		{
			out->translated++;
			hashmvt_send_on (out, bi, b);
		}
		else
			switch (pkt->verdict)
			{
			case MVT_VERDICT_PASSED:
				out->passed[pkt->reason]++;
				hashmvt_send_on (out, bi, b);
				break;
			case MVT_VERDICT_HANDOFF:
				pkt->hops++;
				if (PREDICT_TRUE (pkt->to < hashmvt_main.n_instances &&
						  pkt->to != instance->id))
					hashmvt_hand_over (out, b, pkt, pkt->to);
				else
				{
					count_add (&instance->count.dropped[MVT_DROP_NO_OWNER], 1);
					hashmvt_drop (node, out, bi, b, HASHMVT_DROP_NO_OWNER);
				}
				break;
			case MVT_VERDICT_HELD:
				out->held++;
				break;
			default:
				is_router = hashmvt_is_for_router (pkt);
				if (is_router)
				{
					me->to_router[pkt->reason]++;
					out->to_router++;
					hashmvt_send_on (out, bi, b);
				}
				else
					hashmvt_drop (node, out, bi, b,
						      HASHMVT_DROP_MALFORMED + pkt->reason);
			}
		if (PREDICT_FALSE (traces != 0))
			hashmvt_trace_after (traces[i], pkt, is_router);
	}
}

static_always_inline void
hashmvt_flush (vlib_main_t *vm, vlib_node_runtime_t *node, hashmvt_thread_t *me, hashmvt_out_t *out)
{
	if (PREDICT_FALSE (out->n_away))
	{
		u32 sent =
			vlib_buffer_enqueue_to_thread (vm, node, hashmvt_main.frame_queue,
						       out->away, out->away_thread, out->n_away, 1);
		me->handed_off += sent;
		vlib_node_increment_counter (vm, node->node_index, HASHMVT_COUNTER_HANDED_OFF,
					     sent);
		if (sent < out->n_away)
		{
			vlib_node_increment_counter (vm, node->node_index,
						     HASHMVT_DROP_HANDOFF_CONGESTION,
						     out->n_away - sent);
			me->congested += out->n_away - sent;
		}
	}
	if (out->n_to)
		vlib_buffer_enqueue_to_next (vm, node, out->to, out->nexts, out->n_to);
#define COUNT(field, counter)                                                                 \
	if (out->field)                                                                       \
		vlib_node_increment_counter (vm, node->node_index, HASHMVT_COUNTER_##counter, \
					     out->field);
	COUNT (translated, TRANSLATED)
	COUNT (held, HELD)
	COUNT (to_router, TO_ROUTER)
	COUNT (expired, TTL_EXPIRED)
#undef COUNT
	for (u32 i = 0; i < MVT_PASS_N; i++)
		if (out->passed[i])
			vlib_node_increment_counter (vm, node->node_index, HASHMVT_PASS_EXEMPT + i,
						     out->passed[i]);
}

#endif /* included_hashmvt_node_h */

/* SPDX-License-Identifier: Apache-2.0
 *
 * From packets to verdicts to next nodes, for the three nodes. They are siblings: a feature arc's
 * next index means the same in each, so a packet goes on along its arc from any of them.
 */
#ifndef included_hashmvt_node_h
#define included_hashmvt_node_h

/* the core's hit path, compiled here for every CPU that VPP has variants for */
#include "nat44_inlines.h"

#include "hashmvt.h"

#include <vnet/feature/feature.h>
#include <vnet/ip/icmp4.h>

typedef enum
{
	HASHMVT_NEXT_DROP,
	HASHMVT_NEXT_ICMP_ERROR,
	HASHMVT_N_NEXT,
} hashmvt_next_t;

/* Packets of this thread's instance, in the order that they came. */
typedef struct
{
	mvt_pkt_t pkts[VLIB_FRAME_SIZE];
	vlib_buffer_t *bufs[VLIB_FRAME_SIZE];
	hashmvt_trace_t *traces[VLIB_FRAME_SIZE]; /* NULL where a packet is not traced */
	u32 n;
	u32 differ; /* not 0: they have not all the same features ahead */
} hashmvt_mine_t;

/* Where the packets of one call go; none of the arrays can overflow, a packet is in one of them. */
typedef struct
{
	u32 to[VLIB_FRAME_SIZE];
	u16 nexts[VLIB_FRAME_SIZE];
	u32 away[VLIB_FRAME_SIZE];
	u16 away_thread[VLIB_FRAME_SIZE];
	u32 n_to, n_away;
	u32 translated, held, to_router, expired;
	u32 passed[MVT_PASS_N];
} hashmvt_out_t;

static_always_inline void
hashmvt_out_init (hashmvt_out_t *out)
{
	out->n_to = out->n_away = 0;
	out->translated = out->held = out->to_router = out->expired = 0;
	clib_memset (out->passed, 0, sizeof out->passed);
}

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
hashmvt_hand_over (hashmvt_thread_t *me, hashmvt_out_t *out, vlib_buffer_t *b, const mvt_pkt_t *pkt,
		   u16 instance)
{
	me->handed_off[instance]++;
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
	t->entry = MVT_NONE;
	t->instance = instance;
	t->dir = pkt->dir;
	t->hops = pkt->hops;
	return t;
}

/* The entry that a traced packet was translated by; MVT_NONE: by a 1:1 rule, or what it embeds. */
static_always_inline u32
hashmvt_trace_entry (const mvt_nat44_t *nat, const hashmvt_trace_t *t)
{
	const mvt_endpoint_t *ext = t->dir == MVT_IN2OUT ? &t->src[1] : &t->dst[0];
	const mvt_endpoint_t *in = t->dir == MVT_IN2OUT ? &t->src[0] : &t->dst[1];
	const mvt_directory_t *dir = nat->shared->directory;
	u32 slot = mvt_policy_slot_of (nat->policy, ext->addr, NULL);
	const mvt_entry_t *e;

	if (slot == MVT_NONE || ext->proto >= MVT_PROTO_N)
		return MVT_NONE;
	e = mvt_pool_place (nat->pool, mvt_directory_block (dir, slot, ext->port), ext->proto,
			    ext->port);
	return e && e->in_addr == in->addr && e->in_port == in->port
		       ? mvt_pool_line_of (nat->pool, e)
		       : MVT_NONE;
}

static_always_inline void
hashmvt_trace_after (const mvt_nat44_t *nat, hashmvt_trace_t *t, const mvt_pkt_t *pkt,
		     int is_router)
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
	if (pkt->verdict == MVT_VERDICT_TRANSLATED)
		t->entry = hashmvt_trace_entry (nat, t);
}

/* Translated packets that have the same features ahead go on together, and none needs a look of its
 * own. */
static_always_inline void
hashmvt_all_on (vlib_main_t *vm, vlib_node_runtime_t *node, const hashmvt_mine_t *mine, u32 *from)
{
	u32 config;
	u16 next;

	vnet_feature_next_u16 (&next, mine->bufs[0]);
	config = mine->bufs[0]->current_config_index;
	for (u32 i = 1; i < mine->n; i++)
		mine->bufs[i]->current_config_index = config;
	vlib_buffer_enqueue_to_single_next (vm, node, from, next, mine->n);
}

/* Send each packet where its verdict says. */
static_always_inline void
hashmvt_each_on (vlib_node_runtime_t *node, hashmvt_thread_t *me, hashmvt_mine_t *mine,
		 int is_traced, hashmvt_out_t *out)
{
	instance_t *instance = me->instance;

	for (u32 i = 0; i < mine->n; i++)
	{
		mvt_pkt_t *pkt = &mine->pkts[i];
		vlib_buffer_t *b = mine->bufs[i];
		u32 bi = (u32) pkt->ref;
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
					hashmvt_hand_over (me, out, b, pkt, pkt->to);
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
		if (PREDICT_FALSE (is_traced))
			hashmvt_trace_after (instance->nat, mine->traces[i], pkt, is_router);
	}
}

/* Let the core decide about packets of this thread's instance, and send each on its way. from: the
 * frame that they are all of, NULL when they are not. */
static_always_inline void
hashmvt_decide (vlib_main_t *vm, vlib_node_runtime_t *node, hashmvt_thread_t *me,
		hashmvt_mine_t *mine, u32 *from, int is_traced, unsigned kind, hashmvt_out_t *out)
{
	mvt_nat44_t *nat = me->instance->nat;
	u32 special = kind == NAT44_MIXED
			      ? nat44_process_batch (nat, mine->pkts, mine->n, me->tick)
			      : nat44_process_one_way (nat, mine->pkts, mine->n, me->tick, kind);

	if (PREDICT_TRUE (special == 0 && mine->differ == 0 && from && !is_traced))
	{
		hashmvt_all_on (vm, node, mine, from);
		out->translated = mine->n;
	}
	else
		hashmvt_each_on (node, me, mine, is_traced, out);
}

static_always_inline void
hashmvt_flush (vlib_main_t *vm, vlib_node_runtime_t *node, hashmvt_thread_t *me, hashmvt_out_t *out)
{
	if (PREDICT_FALSE (out->n_away))
	{
		u32 sent =
			vlib_buffer_enqueue_to_thread (vm, node, hashmvt_main.frame_queue,
						       out->away, out->away_thread, out->n_away, 1);
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

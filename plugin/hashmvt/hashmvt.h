/* SPDX-License-Identifier: Apache-2.0
 *
 * The VPP plugin's own state. Nothing here decides anything about NAT: packets are the core's
 * (plugin/mvt/nat44.h), instances, blocks and snapshots are the engine's control functions
 * (plugin/engine/engine.h), and this directory brings VPP's threads, buffers and commands to them.
 *
 *   main.c          enable and disable, interfaces
 *   host.c          what the engine's control asks of its host: mail to workers, no devices
 *   worker.c        an instance's turn: mail, sweep, load; a worker main-loop callback
 *   model.c         the configuration that commands edit, published whole
 *   fib.c           receive routes of pool addresses, the router's own addresses
 *   process.c       every 10 ms on the main thread: refill, drain, events; stats.c: counters
 *   node_nat.c      in2out and out2in; node_handoff.c: packets of another thread, and fragments
 *                   that were waited for
 *   cli*.c, api*.c, format.c
 *
 * Threads. Instance i lives on worker i, thread i + 1; without workers instance 0 lives on the main
 * thread. Everything but the nodes and worker.c runs on the main thread, without the worker
 * barrier; enable, disable, features and routes take it for themselves.
 */
#ifndef included_hashmvt_h
#define included_hashmvt_h

/* before VPP's headers: they make a macro of always_inline, which the core says as an attribute */
#include "engine_private.h"

#include <vlib/vlib.h>
#include <vnet/vnet.h>
#include <vnet/fib/fib_source.h>
#include <vnet/ip/ip.h>

#define HASHMVT_VERSION	    "0.1.0"
#define HASHMVT_MAX_WORKERS 63	/* of MVT_HOME_INSTANCES; the core keeps one bit each */
#define HASHMVT_FRAME_QUEUE 128 /* elements; one per frame and target */

/* Receive routes of pool addresses, and as many of 1:1 rules. A route takes some 700 bytes of VPP's
 * heap, and VPP ends when that is full. */
#define HASHMVT_MAX_ROUTES (1 << 16)

/* ---- what is fixed at enable ---- */
typedef struct
{
	u32 instances; /* active at first; 0: all */
	u32 max_mappings, max_sessions, max_hosts;
	u32 block_size, max_addresses;
	u32 fragment_timeout, hold_seconds, hold_share_1024;
	u32 frame_queue_nelts;
	u8 by_host, log;
	u8 manual_clock; /* tests: only hashmvt_clock_advance moves the NAT's time */
	u64 allocatable[1024];
} hashmvt_settings_t;

/* ---- the configuration, as vectors ---- */
typedef struct
{
	u64 generation;
	mvt_policy_t *policies; /* [0]: the default; slots_first and n_slots are filled in late */
	u32 **slots;		/* by policy */
	mvt_policy_rule_t *inside;
	mvt_pool_run_t *runs;
	mvt_prefix4_t *exempt;
	mvt_static_rule_t *statics;
} hashmvt_model_t;

/* The engine counts for itself: also when an address of the router came or went. */
typedef struct
{
	u64 engine, model;
} hashmvt_generation_t;

typedef enum
{
	HASHMVT_SIDE_NONE,
	HASHMVT_SIDE_INSIDE,
	HASHMVT_SIDE_OUTSIDE,
} hashmvt_side_t;

/* ---- a thread ---- */
typedef struct
{
	CLIB_CACHE_LINE_ALIGN_MARK (cacheline0);
	instance_t *instance; /* NULL: this thread is none (the main thread beside workers) */
	u32 tick;
	u32 file_polls;	 /* when this turn began */
	u32 skips;	 /* turns in a row that were kept from sleeping */
	u64 turn_start;	 /* clocks */
	u64 first_frame; /* of this turn, clocks; 0: none yet */
	u64 vectors;	 /* that nodes had seen when this turn began */
	/* handed to the router itself: dropped for the core, passed for VPP; owner writes */
	u64 to_router[MVT_DROP_N];
	u64 handed_off[MVT_HOME_INSTANCES]; /* packets meant for other threads, by instance */
	u64 congested; /* of them, dropped because that thread's queue was full */
	u64 no_nat;    /* packets that came while disabled or spare */
} hashmvt_thread_t;

typedef struct
{
	fib_prefix_t prefix;
	u32 sw_if_index, fib_index;
} hashmvt_route_t;

typedef struct hashmvt_change hashmvt_change_t;

typedef struct
{
	mvt_engine_t *engine; /* NULL: disabled */
	hashmvt_thread_t *threads;
	u32 *local_addresses; /* sorted vector; replaced whole */
	u32 n_instances;
	u32 first_thread; /* of instance 0 */
	u32 frame_queue;  /* ~0: not made yet */

	hashmvt_settings_t defaults; /* of startup.conf */
	hashmvt_settings_t settings; /* in force */
	hashmvt_model_t model;
	hashmvt_generation_t generation[2]; /* of the policies: in force, and before */
	u8 *side;			    /* hashmvt_side_t by sw_if_index */
	hashmvt_route_t *routes;
	u32 routed_slots; /* engine's n_slots_used when routes were made */
	u8 routes_stale;
	fib_source_t fib_source;

	hashmvt_change_t *changes; /* pool */
	uword *subscribers;	   /* client index -> pid */
	u64 highest_generation;
	u64 boot; /* tells one life of the NAT from another */

	u16 msg_id_base;
	vlib_log_class_t log_class;
} hashmvt_main_t;

extern hashmvt_main_t hashmvt_main;
extern vlib_node_registration_t hashmvt_in2out_node, hashmvt_out2in_node, hashmvt_handoff_node,
	hashmvt_process_node;

/* ---- counters of the nodes: what happened, then one for each reason of the core ---- */
#define foreach_hashmvt_counter                                                                 \
	_ (TRANSLATED, translated, INFO, "packets translated")                                  \
	_ (HANDED_OFF, handed_off, INFO, "packets given to another thread")                     \
	_ (HELD, held, INFO, "fragments kept until their first one comes")                      \
	_ (TO_ROUTER, to_router, INFO, "packets without a mapping to an address of the router") \
	_ (TTL_EXPIRED, ttl_expired, INFO, "packets whose time to live ends here")              \
	_ (NO_INSTANCE, no_instance, ERROR, "packets that met no instance")

typedef enum
{
#define _(NAME, name, severity, text) HASHMVT_COUNTER_##NAME,
	foreach_hashmvt_counter
#undef _
#define _(NAME, name, text) HASHMVT_PASS_##NAME,
		foreach_mvt_pass
#undef _
#define _(NAME, name, text) HASHMVT_DROP_##NAME,
			foreach_mvt_drop
#undef _
				HASHMVT_N_COUNTERS
} hashmvt_counter_t;

extern vlib_error_desc_t hashmvt_error_counters[];

/* ---- traces ---- */
typedef struct
{
	mvt_endpoint_t src[2], dst[2]; /* before, after */
	u16 instance;		       /* that this thread is, or that the packet is sent to */
	u8 dir, verdict, reason, hops, is_router;
	u32 entry; /* place in the instance's table; MVT_NONE: none */
} hashmvt_trace_t;

format_function_t format_hashmvt_trace;
format_function_t format_hashmvt_endpoint;   /* mvt_endpoint_t * */
format_function_t format_hashmvt_address;    /* u32, host order */
format_function_t format_hashmvt_prefix;     /* mvt_prefix4_t * */
format_function_t format_hashmvt_range;	     /* u32 first, u32 last */
unformat_function_t unformat_hashmvt_word;   /* const char *: that word and no longer one */
unformat_function_t unformat_hashmvt_number; /* u32 *, decimal; refuses what is larger */
unformat_function_t unformat_hashmvt_address;
unformat_function_t unformat_hashmvt_prefix;
unformat_function_t unformat_hashmvt_range; /* u32 *first, u32 *last */
unformat_function_t unformat_hashmvt_proto; /* u8 * */

/* Nothing but white space is left. */
static_always_inline int
hashmvt_at_end (unformat_input_t *input)
{
	unformat_skip_white_space (input);
	return unformat_check_input (input) == UNFORMAT_END_OF_INPUT;
}

/* ---- main.c: 0 or VNET_API_ERROR_*; then *error is a sentence, of the caller's; else NULL ---- */
void hashmvt_settings_default (hashmvt_settings_t *settings);
/* NULL, or what is wrong with them whatever VPP has. */
clib_error_t *hashmvt_settings_check (const hashmvt_settings_t *settings);
int hashmvt_enable (const hashmvt_settings_t *settings, clib_error_t **error);
int hashmvt_disable (void);
int hashmvt_interface (u32 sw_if_index, hashmvt_side_t side, int is_add);
int hashmvt_error_to_api (mvt_err_t err);

/* ---- model.c ---- */
void hashmvt_model_copy (hashmvt_model_t *to, const hashmvt_model_t *from);
void hashmvt_model_free (hashmvt_model_t *model);
void hashmvt_model_default (hashmvt_model_t *model);
/* Put a model in force, or change nothing. Takes the vectors of model when it succeeds. */
mvt_err_t hashmvt_model_publish (hashmvt_model_t *model, int force);
/* The same model again, because the router's addresses changed. */
mvt_err_t hashmvt_model_republish (void);
/* The model's generation that an engine's count stands for. */
u64 hashmvt_model_generation (u64 engine);
mvt_err_t hashmvt_pool_add_del (u32 first, u32 last, int is_add, int force);
mvt_err_t hashmvt_exempt_add_del (mvt_prefix4_t prefix, int is_add);
mvt_err_t hashmvt_rule_add_del (mvt_static_rule_t rule, int is_add);
/* options: NULL with is_add: the default policy serves the prefix */
mvt_err_t hashmvt_policy_add_del (mvt_prefix4_t inside, const mvt_policy_t *options, int is_add);
mvt_err_t hashmvt_policy_default (const mvt_policy_t *options);
mvt_err_t hashmvt_static_add_del (const mvt_endpoint_t *in, const mvt_endpoint_t *ext, int is_add);

/* ---- fib.c ---- */
void hashmvt_fib_init (void);
/* Routes of the addresses that are in force now. Takes the barrier if any is to change. */
void hashmvt_fib_sync (void);
void hashmvt_fib_flush (void);
void hashmvt_local_addresses_refresh (void);

static_always_inline int
hashmvt_is_local (u32 addr)
{
	const u32 *v = hashmvt_main.local_addresses;
	u32 at = 0, n = vec_len (v);
	while (n > 0)
	{
		u32 half = n / 2;
		if (v[at + half] < addr)
		{
			at += half + 1;
			n -= half + 1;
		}
		else
			n = half;
	}
	return at < vec_len (v) && v[at] == addr;
}

/* ---- worker.c ---- */
void hashmvt_turn (vlib_main_t *vm, u64 t);

/* ---- stats.c ---- */
void hashmvt_stats_init (void);
void hashmvt_stats_publish (void);
/* As mvt_engine_snapshot, with what VPP itself counts. */
void hashmvt_snapshot (mvt_instance_snapshot_t *out, u32 n);

/* ---- api.c ---- */
clib_error_t *hashmvt_api_init (vlib_main_t *vm);
void hashmvt_api_events (const mvt_event_t *events, u32 n);
void hashmvt_changes_flush (void);

/* ---- packets: state that travels with a buffer between threads ----
 *
 * In words of the first cache line that whatever follows this arc sets before it reads them:
 * ip4-lookup the flow hash and the table, ip4-receive the interface. (A frame queue's auxiliary
 * words would be the place, but vlib_frame_queue_main_init up to 26.06 looks at the node before it
 * knows which, and picks the dequeue function without them.) */
#define HASHMVT_CARRIED_FLAGS \
	(MVT_PKT_MARKED_NEW | MVT_PKT_PORT_KNOWN | MVT_PKT_HAIRPIN | MVT_PKT_FRAG_HOME)

static_always_inline void
hashmvt_carry (vlib_buffer_t *b, const mvt_pkt_t *pkt)
{
	vnet_buffer (b)->ip.flow_hash = pkt->l4_port | (u32) pkt->rem_port << 16;
	vnet_buffer (b)->ip.fib_index =
		(pkt->flags & HASHMVT_CARRIED_FLAGS) | (u32) pkt->dir << 8 | (u32) pkt->hops << 16;
	/* the external address that a marked packet must get */
	if (PREDICT_FALSE (pkt->flags & MVT_PKT_MARKED_NEW))
		vnet_buffer (b)->ip.rx_sw_if_index = pkt->hash;
}

/* A view of an IPv4 packet whose header ip4-input has checked. */
static_always_inline void
hashmvt_view (vlib_buffer_t *b, u32 bi, u8 dir, mvt_pkt_t *pkt)
{
	*pkt = (mvt_pkt_t){ .l3 = vlib_buffer_get_current (b),
			    .ref = bi,
			    .len = b->current_length,
			    .dir = dir,
			    .flags = MVT_PKT_CHECKSUM_DONE |
				     (b->flags & VLIB_BUFFER_NEXT_PRESENT ? MVT_PKT_TRUNCATED_OK
									  : 0) };
}

/* The view of a packet that another thread, or an instance's store of fragments, has sent. */
static_always_inline void
hashmvt_arrive (vlib_buffer_t *b, u32 bi, mvt_pkt_t *pkt)
{
	u32 ports = vnet_buffer (b)->ip.flow_hash, rest = vnet_buffer (b)->ip.fib_index;

	hashmvt_view (b, bi, rest >> 8 & 1, pkt);
	pkt->l4_port = (u16) ports;
	pkt->rem_port = (u16) (ports >> 16);
	pkt->flags |= rest & HASHMVT_CARRIED_FLAGS;
	pkt->hops = (u8) (rest >> 16);
	if (PREDICT_FALSE (pkt->flags & MVT_PKT_MARKED_NEW))
		pkt->hash = vnet_buffer (b)->ip.rx_sw_if_index;
	vnet_buffer (b)->ip.flow_hash = 0;
}

#endif /* included_hashmvt_h */

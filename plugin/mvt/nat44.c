/* SPDX-License-Identifier: Apache-2.0 */
#include "nat44.h"

#include "nat44_private.h"

/* ---- life cycle ---- */

static uint32_t
events_size (const mvt_nat44_config_t *config)
{
	return config->event_ring ? config->event_ring : 4096;
}

static uint32_t
default_hosts (uint32_t max_mappings)
{
	uint32_t n = max_mappings / 4;
	return n < 65536 ? 65536 : n;
}

static bool
create_parts (mvt_nat44_t *nat, const mvt_nat44_config_t *config, mvt_err_t *err)
{
	uint64_t random = config->seed[0] ^ config->seed[3];
	mvt_secret_t secret;

	*err = MVT_ERR_NO_MEMORY;
	nat->random = random ? random : 1;

	uint64_t seed_index[2] = { config->seed[0], config->seed[1] };
	mvt_secret_init (&secret, seed_index);
	nat->index = mvt_index_new (config->max_mappings, &secret, &config->mem);
	uint64_t seed_hosts[2] = { config->seed[1], config->seed[2] };
	mvt_secret_init (&secret, seed_hosts);
	nat->hosts = mvt_hosts_new (config->max_hosts ? config->max_hosts
						      : default_hosts (config->max_mappings),
				    &secret, &config->mem);
	uint64_t seed_sessions[2] = { config->seed[2], config->seed[3] };
	mvt_secret_init (&secret, seed_sessions);
	nat->sessions = mvt_sessions_new (config->max_sessions ? config->max_sessions
							       : config->max_mappings,
					  &secret, &config->mem);
	nat->events = mvt_mem_alloc (&config->mem, events_size (config) * sizeof (mvt_event_t),
				     MVT_CACHE_LINE);
	if (!nat->index || !nat->hosts || !nat->sessions || !nat->events)
		return false;

	mvt_pool_config_t pool = {
		.instance = config->instance,
		.max_mappings = config->max_mappings,
		.hold_seconds = config->hold_seconds,
		.hold_share_1024 = config->hold_share_1024,
		.by_host = config->by_host,
		.allocatable = config->allocatable,
		.seed = nat->random,
	};
	nat->pool = mvt_pool_new (&pool, config->shared->directory, &config->mem, err);
	if (!nat->pool)
		return false;

	mvt_frag_config_t frag = {
		.max_records = config->fragment_records,
		.max_held = config->fragment_held,
		.max_held_per_datagram = config->fragment_per_datagram,
		.timeout = config->fragment_timeout,
		.seed = { config->seed[3], config->seed[0] },
	};
	*err = mvt_frag_new (&frag, &config->mem, &nat->frag);
	return *err == MVT_OK;
}

mvt_nat44_t *
mvt_nat44_new (const mvt_nat44_config_t *config, mvt_err_t *err)
{
	uint32_t ring = events_size (config);

	*err = MVT_ERR_INVALID;
	if (!config->shared || !config->shared->directory || !config->max_mappings ||
	    config->instance >= config->n_instances || config->n_instances > 64 ||
	    (ring & (ring - 1)))
		return NULL;

	mvt_nat44_t *nat = mvt_mem_alloc (&config->mem, sizeof *nat, MVT_CACHE_LINE);
	if (!nat)
	{
		*err = MVT_ERR_NO_MEMORY;
		return NULL;
	}
	nat->mem = config->mem;
	nat->shared = config->shared;
	nat->instance = config->instance;
	nat->max_mappings = config->max_mappings;
	nat->event_mask = ring - 1;
	nat->log = config->log;
	nat->by_host = config->by_host;
	if (!create_parts (nat, config, err))
	{
		mvt_nat44_remove (nat);
		return NULL;
	}
	nat44_gauges (nat);
	*err = MVT_OK;
	return nat;
}

void
mvt_nat44_remove (mvt_nat44_t *nat)
{
	if (!nat)
		return;
	mvt_mem_t mem = nat->mem;
	mvt_frag_remove (nat->frag);
	if (nat->pool)
		mvt_pool_remove (nat->pool);
	if (nat->sessions)
		mvt_sessions_remove (nat->sessions);
	if (nat->hosts)
		mvt_hosts_remove (nat->hosts);
	mvt_index_remove (nat->index);
	mvt_mem_free (&mem, nat->events, (nat->event_mask + 1) * sizeof (mvt_event_t));
	mvt_mem_free (&mem, nat, sizeof *nat);
}

const mvt_counters_t *
mvt_nat44_counters_any (const mvt_nat44_t *nat)
{
	return &nat->counters;
}

/* ---- packets ---- */

/* Take the snapshots that this batch works with. Whoever replaces one waits until every instance
 * has begun a loop since, so they stay valid until the call returns. */
void
nat44_load_snapshots (mvt_nat44_t *nat)
{
	const mvt_policy_set_t *policy =
		atomic_load_explicit (&nat->shared->policy, memory_order_acquire);
	const mvt_home_t *home = atomic_load_explicit (&nat->shared->home, memory_order_acquire);

	if (policy != nat->policy)
	{
		nat->policy = policy;
		nat->timeouts = mvt_policy_timeouts (policy);
		nat->n_policies = mvt_policy_count (policy);
		nat->policy_generation = mvt_policy_generation (policy);
		nat44_set (&nat->counters.policy_generation, nat->policy_generation);
	}
	if (home != nat->home)
	{
		nat->home = home;
		nat44_set (&nat->counters.home_version, home ? mvt_home_version (home) : 0);
	}
}

void
nat44_translate (mvt_nat44_t *nat, mvt_pkt_t *pkt, mvt_parsed_t *parsed, mvt_entry_t *e,
		 unsigned dir, uint32_t now)
{
	e->packets[dir]++;
	pkt->verdict = MVT_VERDICT_TRANSLATED;
	if (dir == MVT_OUT2IN)
	{
		mvt_rewrite (pkt, parsed, MVT_OUT2IN, e->in_addr, e->in_port, e->delta_ip,
			     e->delta_l4);
		NAT44_COUNT (nat, translated_out2in);
		return;
	}
	mvt_rewrite (pkt, parsed, MVT_IN2OUT, e->ext_addr, e->ext_port, e->delta_ip, e->delta_l4);
	NAT44_COUNT (nat, translated_in2out);
	if (mvt_unlikely (nat44_is_ours (nat, parsed->dst)))
	{
		mvt_parsed_translated (parsed, MVT_IN2OUT, e->ext_addr, e->ext_port);
		nat44_hairpin (nat, pkt, parsed, now);
	}
}

/* What the first two stages leave for the third. */
typedef struct
{
	mvt_entry_t *entry; /* candidate, NULL if none; in2out: not verified */
	uint32_t key;	    /* in2out: hash; out2in: block */
	uint8_t kind;
} nat44_slot_t;

enum
{
	KIND_DONE,
	KIND_IN2OUT,
	KIND_OUT2IN,
	KIND_SLOW_IN2OUT,
	KIND_SLOW_OUT2IN,
};

/* Stage 1: parse, hash, ask for the bucket or the slab's place. */
static inline void
stage_parse (mvt_nat44_t *nat, mvt_pkt_t *pkt, mvt_parsed_t *parsed, nat44_slot_t *slot)
{
	mvt_drop_t drop;

	pkt->verdict = MVT_VERDICT_NONE;
	if (mvt_unlikely (!mvt_packet_parse_inline (pkt, parsed, &drop)))
	{
		nat44_drop (nat, pkt, drop);
		slot->kind = KIND_DONE;
		return;
	}
	bool plain = parsed->has_l4 & !parsed->fragment;
	if (pkt->dir == MVT_IN2OUT)
	{
		slot->kind = plain ? KIND_IN2OUT : KIND_SLOW_IN2OUT;
		slot->key =
			mvt_index_hash (nat->index, parsed->src, parsed->sport, parsed->proto, 0);
		mvt_index_prefetch (nat->index, slot->key);
		return;
	}
	uint32_t place = mvt_policy_slot_of (nat->policy, parsed->dst, NULL);
	slot->kind = plain && place != MVT_NONE ? KIND_OUT2IN : KIND_SLOW_OUT2IN;
	if (slot->kind == KIND_OUT2IN)
	{
		slot->key = mvt_directory_block (nat->shared->directory, place, parsed->dport);
		mvt_pool_prefetch (nat->pool, slot->key);
	}
}

/* Stage 2: look at the bucket or the place, ask for the entry. */
static inline void
stage_find (mvt_nat44_t *nat, const mvt_parsed_t *parsed, nat44_slot_t *slot)
{
	slot->entry = NULL;
	if (slot->kind == KIND_IN2OUT)
	{
		uint32_t line = mvt_index_candidate (nat->index, slot->key);
		if (mvt_likely (line != MVT_NONE))
			slot->entry = mvt_pool_line (nat->pool, line);
	}
	else if (slot->kind == KIND_OUT2IN)
		slot->entry = mvt_pool_place (nat->pool, slot->key, parsed->proto, parsed->dport);
	__builtin_prefetch (slot->entry, 1);
}

/* The entry is a live mapping, young enough. */
static inline bool
entry_live (const mvt_nat44_t *nat, const mvt_entry_t *e, uint32_t now)
{
	return (uint8_t) (e->state - MVT_ENTRY_DYNAMIC) <= MVT_ENTRY_STATIC - MVT_ENTRY_DYNAMIC &&
	       !nat44_expired (nat, e, now);
}

/* Nothing about sessions or filtering has to be asked: endpoint-independent and untracked, or the
 * inline TCP session in mid-life. */
static inline bool
entry_plain (const mvt_entry_t *e, const mvt_parsed_t *parsed, uint32_t rem_addr, uint16_t rem_port)
{
	if (e->proto != MVT_PROTO_TCP)
		return e->filter == MVT_FILTER_EI;
	return e->rem_addr == rem_addr && e->rem_port == rem_port &&
	       mvt_tcp_quiet (e->tcp_state, parsed->tcp_flags);
}

/* Stage 3: verify and rewrite; what is no plain hit takes the slow path, in order. */
static inline void
stage_in2out (mvt_nat44_t *nat, mvt_pkt_t *pkt, mvt_parsed_t *parsed, mvt_entry_t *e, uint32_t now)
{
	if (mvt_likely (e && e->in_addr == parsed->src && e->in_port == parsed->sport &&
			e->proto == parsed->proto && e->realm == 0 && entry_live (nat, e, now) &&
			entry_plain (e, parsed, parsed->dst, parsed->dport) &&
			!mvt_policy_exempt (nat->policy, parsed->dst)))
	{
		nat44_touch (e, now);
		nat44_translate (nat, pkt, parsed, e, MVT_IN2OUT, now);
		return;
	}
	nat44_slow_in2out (nat, pkt, parsed, now);
}

static inline void
stage_out2in (mvt_nat44_t *nat, mvt_pkt_t *pkt, mvt_parsed_t *parsed, mvt_entry_t *e, uint32_t now)
{
	/* the place was looked up before earlier packets of this batch were handled: they may have
	 * ended that mapping and made another, hence the endpoint is compared here too */
	if (mvt_likely (e && e->ext_addr == parsed->dst && e->ext_port == parsed->dport &&
			e->proto == parsed->proto && entry_live (nat, e, now) &&
			entry_plain (e, parsed, parsed->src, parsed->sport)))
	{
		nat44_touch (e, now);
		nat44_translate (nat, pkt, parsed, e, MVT_OUT2IN, now);
		return;
	}
	nat44_slow_out2in (nat, pkt, parsed, now);
}

void
mvt_nat44_process (mvt_nat44_t *nat, mvt_pkt_t *pkts, uint32_t n, uint32_t now)
{
	enum
	{
		AHEAD = 8
	};
	mvt_parsed_t parsed[MVT_BATCH_MAX];
	nat44_slot_t slots[MVT_BATCH_MAX];
	uint64_t received[2] = { 0, 0 }, handed_in = 0, handed_over = 0;

	nat44_load_snapshots (nat);
	for (uint32_t i = 0; i < n && i < AHEAD; i++)
		__builtin_prefetch (pkts[i].l3, 1);
	for (uint32_t i = 0; i < n; i++)
	{
		if (i + AHEAD < n)
			__builtin_prefetch (pkts[i + AHEAD].l3, 1);
		received[pkts[i].dir & 1]++;
		handed_in += pkts[i].hops != 0;
		stage_parse (nat, &pkts[i], &parsed[i], &slots[i]);
	}
	for (uint32_t i = 0; i < n; i++)
		stage_find (nat, &parsed[i], &slots[i]);
	for (uint32_t i = 0; i < n; i++)
	{
		switch (slots[i].kind)
		{
		case KIND_IN2OUT:
			stage_in2out (nat, &pkts[i], &parsed[i], slots[i].entry, now);
			break;
		case KIND_OUT2IN:
			stage_out2in (nat, &pkts[i], &parsed[i], slots[i].entry, now);
			break;
		case KIND_SLOW_IN2OUT:
			nat44_slow_in2out (nat, &pkts[i], &parsed[i], now);
			break;
		case KIND_SLOW_OUT2IN:
			nat44_slow_out2in (nat, &pkts[i], &parsed[i], now);
			break;
		default:
			break;
		}
		handed_over += pkts[i].verdict == MVT_VERDICT_HANDOFF;
	}
	nat44_add (&nat->counters.received_in2out, received[MVT_IN2OUT]);
	nat44_add (&nat->counters.received_out2in, received[MVT_OUT2IN]);
	nat44_add (&nat->counters.handed_in, handed_in);
	nat44_add (&nat->counters.handed_over, handed_over);
}

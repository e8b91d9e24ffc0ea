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

/* What the first two stages leave for the third: the little that a plain packet needs. Whatever is
 * not plain is parsed again, whole, by the slow path. */
typedef struct
{
	union
	{
		const mvt_bucket_t *bucket; /* in2out, between stages 1 and 2 */
		mvt_entry_t *entry;	    /* candidate, NULL if none; not verified */
	};
	mvt_plain_t plain;
	uint32_t key; /* in2out: tag; out2in: block; MVT_NONE: not plain */
	uint32_t pad;
} nat44_slot_t;

_Static_assert (sizeof (nat44_slot_t) == 32, "two slots in a cache line");

/* Entries begin with (in_addr, in_port, realm) and then (ext_addr, ext_port, proto, state): each
 * compares as one word. Realm is 0. */
static inline uint64_t
word_of (const void *field)
{
	uint64_t word;
	__builtin_memcpy (&word, field, sizeof word);
	return word;
}

_Static_assert (offsetof (mvt_entry_t, in_port) == 4 && offsetof (mvt_entry_t, realm) == 6 &&
			offsetof (mvt_entry_t, ext_addr) == 8 &&
			offsetof (mvt_entry_t, ext_port) == 12 &&
			offsetof (mvt_entry_t, proto) == 14 && offsetof (mvt_entry_t, state) == 15,
		"plain_hit reads two fields at once");

/* Pointers that every packet needs, on the stack so that no store through another pointer makes the
 * compiler load them again. */
typedef struct
{
	const mvt_index_t *index;
	const mvt_policy_set_t *policy;
	const mvt_directory_t *directory;
	const mvt_pool_t *pool;
	mvt_entry_t *lines;
	const uint32_t *timeouts;
	uint32_t now;
} nat44_batch_t;

/* Stage 1: parse, hash, ask for the bucket or the slab's place. */
static inline void
stage_parse (const nat44_batch_t *batch, const mvt_pkt_t *pkt, nat44_slot_t *slot, unsigned dir)
{
	mvt_plain_t plain;

	slot->key = MVT_NONE;
	if (mvt_unlikely (!mvt_packet_plain (pkt, &plain)))
		return;
	slot->plain = plain;
	if (dir == MVT_IN2OUT)
	{
		uint32_t hash = mvt_index_hash (batch->index, (uint32_t) (plain.addrs >> 32),
						(uint16_t) (plain.ports >> 16), plain.proto, 0);
		slot->bucket = mvt_index_bucket (batch->index, hash);
		slot->key = (uint16_t) hash; /* the tag */
		__builtin_prefetch (slot->bucket);
		return;
	}
	uint32_t place = mvt_policy_slot_of (batch->policy, (uint32_t) plain.addrs, NULL);
	if (mvt_unlikely (place == MVT_NONE))
		return;
	slot->key = mvt_directory_block (batch->directory, place, (uint16_t) plain.ports);
	mvt_pool_prefetch (batch->pool, slot->key);
}

/* Stage 2: look at the bucket or the place, ask for the entry. */
static inline void
stage_find (const nat44_batch_t *batch, nat44_slot_t *slot, unsigned dir)
{
	mvt_entry_t *entry = NULL;
	if (mvt_likely (slot->key != MVT_NONE))
	{
		if (dir == MVT_IN2OUT)
		{
			uint32_t line = mvt_bucket_candidate (slot->bucket, slot->key);
			if (mvt_likely (line != MVT_NONE))
				entry = &batch->lines[line];
		}
		else
			entry = mvt_pool_place (batch->pool, slot->key, slot->plain.proto,
						(uint16_t) slot->plain.ports);
	}
	slot->entry = entry;
	__builtin_prefetch (entry, 1);
}

/* The entry is this endpoint's live mapping, young enough, and nothing about sessions or filtering
 * has to be asked: endpoint-independent and untracked, or the inline TCP session in mid-life. The
 * candidate was looked up before earlier packets of this batch were handled: they may have ended
 * that mapping and made another, hence the whole endpoint is compared. */
static inline bool
plain_hit (const nat44_batch_t *batch, const mvt_entry_t *e, const mvt_plain_t *plain, unsigned dir)
{
	uint64_t inside = word_of (&e->in_addr), outside = word_of (&e->ext_addr);
	uint32_t remote = (uint32_t) (dir == MVT_IN2OUT ? plain->addrs : plain->addrs >> 32);
	uint16_t rem_port = (uint16_t) (dir == MVT_IN2OUT ? plain->ports : plain->ports >> 16);
	uint64_t want = dir == MVT_IN2OUT
				? plain->addrs >> 32 | (uint64_t) (plain->ports >> 16) << 32
				: (uint32_t) plain->addrs | (uint64_t) (uint16_t) plain->ports
								    << 32;

	/* protocol and LIVE */
	if (mvt_unlikely (((outside >> 48 ^ plain->proto) & (MVT_ENTRY_LIVE << 8 | 0xff)) !=
			  MVT_ENTRY_LIVE << 8))
		return false;
	if (mvt_unlikely ((dir == MVT_IN2OUT ? inside : outside & 0xffffffffffffull) != want))
		return false;
	if (e->last != batch->now &&
	    mvt_unlikely (nat44_idle_too_long (batch->now, e->last, batch->timeouts[e->tclass])))
		return false;
	if (plain->proto != MVT_PROTO_TCP)
		return mvt_likely (e->filter == MVT_FILTER_EI);
	return mvt_likely (e->rem_addr == remote && e->rem_port == rem_port &&
			   mvt_tcp_quiet (e->tcp_state, plain->tcp_flags));
}

static void
slow (mvt_nat44_t *nat, mvt_pkt_t *pkt, uint32_t now)
{
	mvt_parsed_t parsed;
	mvt_drop_t drop;

	pkt->verdict = MVT_VERDICT_NONE;
	if (!mvt_packet_parse_inline (pkt, &parsed, &drop))
		nat44_drop (nat, pkt, drop);
	else if (pkt->dir == MVT_IN2OUT)
		nat44_slow_in2out (nat, pkt, &parsed, now);
	else
		nat44_slow_out2in (nat, pkt, &parsed, now);
}

/* Stage 3: verify and rewrite; what is no plain hit takes the slow path, in order. Exempt
 * destinations and those that lead back inside are not plain. Returns 1 for a plain hit. */
static inline uint32_t
stage_rewrite (mvt_nat44_t *nat, const nat44_batch_t *batch, mvt_pkt_t *pkt,
	       const nat44_slot_t *slot, unsigned dir)
{
	mvt_entry_t *e = slot->entry;
	const mvt_plain_t *plain = &slot->plain;

	if (mvt_unlikely (!e || !plain_hit (batch, e, plain, dir) ||
			  (dir == MVT_IN2OUT &&
			   mvt_policy_special (batch->policy, (uint32_t) plain->addrs))))
	{
		slow (nat, pkt, batch->now);
		return 0;
	}
	nat44_touch (e, batch->now);
	e->packets[dir]++;
	pkt->verdict = MVT_VERDICT_TRANSLATED;
	mvt_rewrite_plain (pkt->l3, plain->proto, dir, dir == MVT_IN2OUT ? e->ext_addr : e->in_addr,
			   dir == MVT_IN2OUT ? e->ext_port : e->in_port, e->delta_ip, e->delta_l4);
	return 1;
}

/* The three stages over packets of one direction, or of both (mixed). Always inline: three copies,
 * each with its direction as a constant. */
static inline __attribute__ ((always_inline)) void
process (mvt_nat44_t *nat, mvt_pkt_t *pkts, uint32_t n, uint32_t now, bool mixed, unsigned dir)
{
	enum
	{
		AHEAD = 8
	};
	const nat44_batch_t batch = {
		.index = nat->index,
		.policy = nat->policy,
		.directory = nat->shared->directory,
		.pool = nat->pool,
		.lines = mvt_pool_line (nat->pool, 0),
		.timeouts = nat->timeouts,
		.now = now,
	};
	nat44_slot_t slots[MVT_BATCH_MAX];
	uint32_t translated[2] = { 0, 0 }, i, head = n < AHEAD ? n : AHEAD;

#define DIRECTION (mixed ? pkts[i].dir : dir)
	for (i = 0; i < head; i++)
		__builtin_prefetch (pkts[i].l3, 1);
	for (i = 0; i < n; i++)
	{
		if (mvt_likely (i + AHEAD < n))
			__builtin_prefetch (pkts[i + AHEAD].l3, 1);
		if (DIRECTION == MVT_IN2OUT)
			stage_parse (&batch, &pkts[i], &slots[i], MVT_IN2OUT);
		else
			stage_parse (&batch, &pkts[i], &slots[i], MVT_OUT2IN);
	}
	for (i = 0; i < n; i++)
	{
		if (DIRECTION == MVT_IN2OUT)
			stage_find (&batch, &slots[i], MVT_IN2OUT);
		else
			stage_find (&batch, &slots[i], MVT_OUT2IN);
	}
	for (i = 0; i < n; i++)
	{
		/* a hairpin turns pkt->dir, so it is not asked again afterwards */
		if (DIRECTION == MVT_IN2OUT)
			translated[MVT_IN2OUT] +=
				stage_rewrite (nat, &batch, &pkts[i], &slots[i], MVT_IN2OUT);
		else
			translated[MVT_OUT2IN] +=
				stage_rewrite (nat, &batch, &pkts[i], &slots[i], MVT_OUT2IN);
	}
#undef DIRECTION
	nat44_add (&nat->counters.translated_in2out, translated[MVT_IN2OUT]);
	nat44_add (&nat->counters.translated_out2in, translated[MVT_OUT2IN]);
}

void
mvt_nat44_process (mvt_nat44_t *nat, mvt_pkt_t *pkts, uint32_t n, uint32_t now)
{
	uint32_t out2in = 0, handed_in = 0;

	nat44_load_snapshots (nat);
	for (uint32_t i = 0; i < n; i++)
	{
		out2in += pkts[i].dir;
		handed_in += pkts[i].hops != 0;
	}
	nat44_add (&nat->counters.received_in2out, n - out2in);
	nat44_add (&nat->counters.received_out2in, out2in);
	nat44_add (&nat->counters.handed_in, handed_in);
	if (out2in == 0)
		process (nat, pkts, n, now, false, MVT_IN2OUT);
	else if (out2in == n)
		process (nat, pkts, n, now, false, MVT_OUT2IN);
	else
		process (nat, pkts, n, now, true, 0);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "nat44.h"

#include "nat44_inlines.h"

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
	nat->views = mvt_views_new (&config->mem);
	if (!nat->index || !nat->hosts || !nat->sessions || !nat->events || !nat->views)
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
	mvt_views_remove (nat->views);
	mvt_mem_free (&mem, nat->events, (nat->event_mask + 1) * sizeof (mvt_event_t));
	mvt_mem_free (&mem, nat, sizeof *nat);
}

mvt_views_t *
mvt_nat44_views (mvt_nat44_t *nat)
{
	return nat->views;
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
	const mvt_home_t *rules = atomic_load_explicit (&nat->shared->rules, memory_order_acquire);

	/* what host records remember of them is void; 0 is what a new record has */
	if ((policy != nat->policy || home != nat->home) && ++nat->epoch == 0)
		nat->epoch = 1;
	if (policy != nat->policy)
	{
		nat->policy = policy;
		mvt_policy_attach (policy, nat->views);
		nat->timeouts = mvt_policy_timeouts (policy);
		nat->n_policies = mvt_policy_count (policy);
		nat->policy_generation = mvt_policy_generation (policy);
		nat44_set (&nat->counters.policy_generation, nat->policy_generation);
	}
	if (rules != nat->rules)
	{
		nat->rules = rules;
		mvt_home_attach (rules, nat->views, MVT_MATCH_RULES);
	}
	if (home != nat->home)
	{
		nat->home = home;
		mvt_home_attach (home, nat->views, MVT_MATCH_HOME);
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

void
nat44_special (mvt_nat44_t *nat, mvt_pkt_t *pkt, bool plain, uint32_t now)
{
	mvt_parsed_t parsed;
	mvt_drop_t drop;

	pkt->verdict = MVT_VERDICT_NONE;
	if (mvt_likely (plain))
		mvt_packet_parse_plain (pkt, &parsed);
	else if (!mvt_packet_parse (pkt, &parsed, &drop))
	{
		nat44_drop (nat, pkt, drop);
		return;
	}
	if (pkt->dir == MVT_IN2OUT)
		nat44_slow_in2out (nat, pkt, &parsed, now);
	else
		nat44_slow_out2in (nat, pkt, &parsed, now);
}

void
mvt_nat44_process (mvt_nat44_t *nat, mvt_pkt_t *pkts, uint32_t n, uint32_t now)
{
	nat44_process_batch (nat, pkts, n, now);
}

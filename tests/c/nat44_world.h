/* SPDX-License-Identifier: Apache-2.0
 * A whole NAT for tests: instances, directory, policies and home map, with the few lines of a host
 * that carries packets between them. No threads; deterministic. */
#ifndef NAT44_WORLD_H
#define NAT44_WORLD_H

#include <assert.h>
#include <stdio.h>

#include "counted_mem.h"
#include "nat44.h"
#include "packet_build.h"

#define WORLD_MAX 8

typedef struct
{
	/* set before world_start */
	uint16_t n; /* instances; blocks and home are shared out among the first `active` */
	uint16_t active;
	uint32_t block_size;
	uint32_t n_addresses; /* pool 198.51.100.0/... */
	uint16_t first_port, last_port;
	uint32_t max_mappings, max_sessions, max_hosts;
	uint32_t hold_seconds;
	uint8_t by_host;
	uint8_t log;
	mvt_policy_t policy;
	mvt_static_rule_t statics[4];
	uint32_t n_statics;
	mvt_prefix4_t exempt[4];
	uint32_t n_exempt;
	uint32_t draining; /* slot that drains, plus 1 */
	/* set by world_start */
	mvt_shared_t shared;
	mvt_nat44_t *nat[WORLD_MAX];
	uint16_t table[MVT_HOME_BUCKETS];
	uint64_t version, generation;
	uint32_t now;
	uint32_t hops; /* of the last packet */
} world_t;

#define WORLD_POOL   0xc6336400u /* 198.51.100.0 */
#define WORLD_INSIDE 0x0a000000u /* 10.0.0.0/8 */
#define WORLD_REMOTE 0xcb007100u /* 203.0.113.0 */

static inline void
world_defaults (world_t *w)
{
	memset (w, 0, sizeof *w);
	w->n = w->active = 1;
	w->block_size = 64;
	w->n_addresses = 4;
	w->first_port = 1024;
	w->last_port = 65535;
	w->max_mappings = 65536;
	w->hold_seconds = 0;
	w->now = 1000;
	w->log = 2;
	w->policy = (mvt_policy_t){
		.timeout = { 300, 7440, 240, 6, 60 },
		.max_blocks_per_host = 4,
	};
}

static inline void
world_publish_policy (world_t *w)
{
	uint32_t slots[256], n_slots = 0;
	for (uint32_t i = 0; i < w->n_addresses; i++)
		if (w->draining != i + 1)
			slots[n_slots++] = i;
	mvt_policy_t policy = w->policy;
	policy.n_slots = n_slots;
	mvt_policy_rule_t inside = { { WORLD_INSIDE, 8, { 0 } }, 0 };
	mvt_pool_run_t runs[3];
	uint32_t n_runs = 0, cut = w->draining ? w->draining - 1 : w->n_addresses;
	if (cut)
		runs[n_runs++] = (mvt_pool_run_t){ .first = WORLD_POOL, .count = cut };
	if (w->draining)
	{
		runs[n_runs++] = (mvt_pool_run_t){
			.first = WORLD_POOL + cut, .count = 1, .slot = cut, .draining = 1
		};
		if (cut + 1 < w->n_addresses)
			runs[n_runs++] = (mvt_pool_run_t){ .first = WORLD_POOL + cut + 1,
							   .count = w->n_addresses - cut - 1,
							   .slot = cut + 1 };
	}
	mvt_policy_desc_t desc = {
		.generation = ++w->generation,
		.policies = &policy,
		.n_policies = 1,
		.slots = slots,
		.n_slots = n_slots,
		.inside = &inside,
		.n_inside = 1,
		.runs = runs,
		.n_runs = n_runs,
		.exempt = w->exempt,
		.n_exempt = w->n_exempt,
		.statics = w->statics,
		.n_statics = w->n_statics,
		.secret = { 1, 2, 3, 4 },
	};
	mvt_err_t err;
	mvt_policy_set_t *old = (mvt_policy_set_t *) (uintptr_t) atomic_load (&w->shared.policy);
	mvt_policy_set_t *set = mvt_policy_set_new (&desc, &counted_mem, &err);
	assert (set);
	atomic_store (&w->shared.policy, set);
	for (uint32_t i = 0; i < w->n; i++)
		if (w->nat[i])
			mvt_nat44_background (w->nat[i], w->now, 0);
	if (old)
		mvt_policy_set_remove (old);
}

/* Publish a home map: the bucket table for everything, plus the ranges and pins given. The
 * dispatcher's rules are the same, unless keep_rules. */
static inline void
world_publish_home (world_t *w, const mvt_home_range_t *ranges, uint32_t n_ranges,
		    const mvt_home_pin_t *pins, uint32_t n_pins, bool keep_rules)
{
	mvt_home_range_t all[64] = { { .prefix = { 0, 0, { 0 } }, .table = 0 } };
	for (uint32_t i = 0; i < n_ranges; i++)
		all[i + 1] = ranges[i];
	mvt_home_desc_t desc = {
		.version = ++w->version,
		.ranges = all,
		.n_ranges = n_ranges + 1,
		.tables = w->table,
		.n_tables = 1,
		.pins = pins,
		.n_pins = n_pins,
		.n_instances = w->n,
		.secret = { 5, 6, 7, 8 },
		.bucket_key = 99,
	};
	mvt_err_t err;
	mvt_home_t *home = mvt_home_new (&desc, &counted_mem, &err);
	assert (home);
	mvt_home_t *old = (mvt_home_t *) (uintptr_t) atomic_load (&w->shared.home);
	mvt_home_t *rules = (mvt_home_t *) (uintptr_t) atomic_load (&w->shared.rules);
	atomic_store (&w->shared.home, home);
	if (!keep_rules)
	{
		mvt_home_t *copy = mvt_home_new (&desc, &counted_mem, &err);
		assert (copy);
		atomic_store (&w->shared.rules, copy);
		if (rules)
			mvt_home_remove (rules);
	}
	for (uint32_t i = 0; i < w->n; i++)
		if (w->nat[i])
			mvt_nat44_background (w->nat[i], w->now, 0);
	if (old)
		mvt_home_remove (old);
}

static inline void
world_start (world_t *w)
{
	uint32_t bits = 0, n_slots = w->n_addresses;
	while (1u << bits < w->block_size)
		bits++;
	size_t size = mvt_directory_footprint (n_slots, bits);
	void *mem = counted_mem.alloc (NULL, size, MVT_CACHE_LINE);
	w->shared.directory = mvt_directory_format (mem, n_slots, bits);
	w->shared.frag_key = 0x1234567;
	w->shared.address_key = 0x7654321abcdefull;
	w->shared.n_active = w->active;
	for (uint16_t i = 0; i < w->active; i++)
		w->shared.active[i] = i;
	for (uint32_t b = 0; b < MVT_HOME_BUCKETS; b++)
		w->table[b] = (uint16_t) (b % w->active);
	world_publish_policy (w);
	world_publish_home (w, NULL, 0, NULL, 0, false);

	static uint64_t allocatable[1024];
	memset (allocatable, 0, sizeof allocatable);
	for (uint32_t p = w->first_port; p <= w->last_port; p++)
		allocatable[p / 64] |= 1ull << (p % 64);
	for (uint16_t i = 0; i < w->n; i++)
	{
		mvt_nat44_config_t config = {
			.instance = i,
			.n_instances = w->n,
			.max_mappings = w->max_mappings,
			.max_sessions = w->max_sessions,
			.max_hosts = w->max_hosts,
			.fragment_timeout = 2,
			.hold_seconds = w->hold_seconds,
			.hold_share_1024 = 102,
			.by_host = w->by_host,
			.log = w->log,
			.allocatable = allocatable,
			.seed = { 11u + i, 22u + i, 33u + i, 44u + i },
			.shared = &w->shared,
			.mem = counted_mem,
		};
		mvt_err_t err;
		w->nat[i] = mvt_nat44_new (&config, &err);
		assert (w->nat[i] && err == MVT_OK);
	}
	uint32_t per_slot = 1u << (16 - bits), share = per_slot / w->active;
	for (uint32_t b = 0; b < n_slots * per_slot; b++)
	{
		uint32_t owner = b % per_slot / share;
		if (owner >= w->active)
			owner = w->active - 1u;
		mvt_job_t job = { .op = MVT_JOB_TAKE_BLOCKS, .n = 1, .out.blocks = &b };
		assert (mvt_nat44_job (w->nat[owner], &job, w->now) == MVT_OK);
	}
}

static inline void
world_stop (world_t *w)
{
	for (uint16_t i = 0; i < w->n; i++)
		mvt_nat44_remove (w->nat[i]);
	mvt_policy_set_remove ((mvt_policy_set_t *) (uintptr_t) atomic_load (&w->shared.policy));
	mvt_home_remove ((mvt_home_t *) (uintptr_t) atomic_load (&w->shared.home));
	mvt_home_remove ((mvt_home_t *) (uintptr_t) atomic_load (&w->shared.rules));
	counted_mem.free (NULL, w->shared.directory,
			  mvt_directory_footprint (w->shared.directory->n_slots,
						   w->shared.directory->block_bits));
}

static inline void
world_verify (const world_t *w)
{
	for (uint16_t i = 0; i < w->n; i++)
	{
		int rc = mvt_nat44_verify (w->nat[i]);
		if (rc)
			fprintf (stderr, "instance %u: invariant at line %d\n", i, rc);
		assert (rc == 0);
	}
}

/* Carry one packet from instance `at` until it has a verdict. */
static inline void
world_carry (world_t *w, mvt_pkt_t *pkt, uint16_t at)
{
	w->hops = 0;
	for (;;)
	{
		mvt_nat44_process (w->nat[at], pkt, 1, w->now);
		assert (pkt->verdict != MVT_VERDICT_NONE);
		if (pkt->verdict != MVT_VERDICT_HANDOFF)
			break;
		assert (pkt->to < w->n && pkt->to != at);
		at = pkt->to;
		pkt->hops++;
		w->hops++;
	}
}

/* Dispatch and carry. */
static inline uint8_t
world_send (world_t *w, mvt_pkt_t *pkt)
{
	world_carry (w, pkt, mvt_dispatch (&w->shared, pkt));
	return pkt->verdict;
}

/* Fragments that were held and have a verdict now. */
static inline uint32_t
world_late (world_t *w, mvt_pkt_t *out, uint32_t max)
{
	uint32_t n = 0;
	for (uint16_t i = 0; i < w->n; i++)
	{
		uint32_t k;
		while (n < max && (k = mvt_nat44_released (w->nat[i], out + n, max - n)))
			for (; k; k--, n++)
				if (out[n].verdict == MVT_VERDICT_NONE)
					world_carry (w, &out[n], i);
	}
	return n;
}

static inline uint64_t
world_dropped (const world_t *w, mvt_drop_t reason)
{
	uint64_t n = 0;
	for (uint16_t i = 0; i < w->n; i++)
		n += mvt_nat44_counters_any (w->nat[i])->dropped[reason];
	return n;
}

/* Counters with gauges brought up to date. */
static inline const mvt_counters_t *
world_gauge (const world_t *w, uint16_t i)
{
	mvt_nat44_background (w->nat[i], w->now, 0);
	return mvt_nat44_counters_any (w->nat[i]);
}

#define WORLD_SUM(w, name)                                   \
	({                                                   \
		uint64_t sum_ = 0;                           \
		for (uint16_t i_ = 0; i_ < (w)->n; i_++)     \
			sum_ += world_gauge ((w), i_)->name; \
		sum_;                                        \
	})

#endif /* NAT44_WORLD_H */

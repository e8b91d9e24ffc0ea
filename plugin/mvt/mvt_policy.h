/* SPDX-License-Identifier: Apache-2.0
 *
 * mvt_policy_set_t: what the operator configured, as the packet path reads it.
 *
 * An immutable snapshot. The control thread builds a new one from a flat description, publishes
 * its pointer (mvt_shared.h) and frees the old one when every instance has passed one loop.
 * All instances read it through a const pointer; nobody writes it. It holds, as match-value
 * tables: policies by inside prefix, exempt destinations, static 1:1 rules in both directions;
 * and as plain arrays: the pool's addresses and the timeouts.
 */
#ifndef MVT_POLICY_H
#define MVT_POLICY_H

#include "mvt_tcp.h" /* MVT_TIMEOUT_* */
#include "mvt_types.h"

#define MVT_POLICY_MAX 4096 /* policies in one set; tclass is 16 bits: policy * MVT_TIMEOUT_N */

/* One policy. Policy 0 is the default that nat44's own keys describe. */
typedef struct
{
	uint32_t timeout[8];	    /* seconds, by MVT_TIMEOUT_* */
	uint8_t filter[MVT_PROTO_N]; /* mvt_filter_t */
	uint8_t paired_only;	    /* an exhausted address does not fall back to another */
	uint32_t mappings_per_host[MVT_PROTO_N]; /* 0: no limit */
	uint32_t mappings_per_host_all;		 /* over all protocols; 0: no limit */
	uint32_t new_per_second_per_host;	 /* 0: no limit */
	uint32_t max_blocks_per_host;		 /* allocation: block */
	uint32_t slots_first, n_slots; /* its pool: a run in the set's slot list */
} mvt_policy_t;

/* A run of pool addresses. A slot is an address's stable number: it keeps its number as long as
 * it is configured or drains, because the directory and the slabs are indexed by it. */
typedef struct
{
	uint32_t first;	   /* first address */
	uint32_t count;	   /* addresses in the run */
	uint32_t slot;	   /* slot of the first one; the others follow */
	uint8_t draining;  /* nothing new, gone when empty */
	uint8_t pad[3];
} mvt_pool_run_t;

/* A static 1:1 rule: prefixes of equal length, all protocols. */
typedef struct
{
	mvt_prefix4_t inside;
	mvt_prefix4_t outside;
} mvt_static_rule_t;

/* A policy by inside prefix. */
typedef struct
{
	mvt_prefix4_t inside;
	uint32_t policy;
} mvt_policy_rule_t;

/* The flat description; every array is copied, so the caller may free it at once. */
typedef struct
{
	uint64_t generation;
	const mvt_policy_t *policies; /* [n_policies], at least one */
	uint32_t n_policies;
	const uint32_t *slots; /* slot numbers, runs of which are the policies' pools */
	uint32_t n_slots;
	const mvt_policy_rule_t *inside; /* every inside prefix -> its policy; longest wins */
	uint32_t n_inside;
	const mvt_pool_run_t *runs; /* disjoint */
	uint32_t n_runs;
	const mvt_prefix4_t *exempt; /* configured exemptions and the router's own addresses */
	uint32_t n_exempt;
	const mvt_static_rule_t *statics;
	uint32_t n_statics;
	uint64_t secret[4]; /* keys every hash of the set */
} mvt_policy_desc_t;

typedef struct mvt_policy_set mvt_policy_set_t;

/* Build a set. Inside prefixes, multicast (224.0.0.0/4), class E, broadcast, loopback
 * and 0.0.0.0/8 are made exempt destinations here; static 1:1 outside addresses are not.
 * Returns NULL with *err set: INVALID (policy number, overlapping runs, static lengths that
 * differ, pool inside an inside prefix, more than MVT_POLICY_MAX), NO_MEMORY. */
mvt_policy_set_t *mvt_policy_set_new (const mvt_policy_desc_t *desc, const mvt_mem_t *mem,
				      mvt_err_t *err);
void mvt_policy_set_remove (mvt_policy_set_t *set);

/* All of these may be called by any thread: they write nothing. */
uint64_t mvt_policy_generation (const mvt_policy_set_t *set);
/* Policy index of an inside host, MVT_NONE when addr is not inside. */
uint32_t mvt_policy_of (const mvt_policy_set_t *set, uint32_t addr);
const mvt_policy_t *mvt_policy_at (const mvt_policy_set_t *set, uint32_t policy);
uint32_t mvt_policy_count (const mvt_policy_set_t *set);
/* timeouts, flat: [policy * 8 + class]; what mvt_entry_t.tclass indexes. */
const uint32_t *mvt_policy_timeouts (const mvt_policy_set_t *set);
/* The i-th slot of a policy's pool, i < n_slots. */
uint32_t mvt_policy_slot (const mvt_policy_set_t *set, uint32_t policy, uint32_t i);
/* Slot of an external address or MVT_NONE; *draining may be NULL. */
uint32_t mvt_policy_slot_of (const mvt_policy_set_t *set, uint32_t addr, bool *draining);
/* Address of a slot; 0 when the slot is not configured. */
uint32_t mvt_policy_slot_addr (const mvt_policy_set_t *set, uint32_t slot);
/* Static 1:1: true and *out set when addr has a rule. */
bool mvt_policy_static_in2out (const mvt_policy_set_t *set, uint32_t addr, uint32_t *out);
bool mvt_policy_static_out2in (const mvt_policy_set_t *set, uint32_t addr, uint32_t *out);
bool mvt_policy_has_statics (const mvt_policy_set_t *set);

/* Is the destination exempt? One bit per destination /16 answers nearly always; only a set bit
 * goes on to the prefix match. In the header because every in2out packet asks. */
bool mvt_policy_exempt_slow (const mvt_policy_set_t *set, uint32_t dst);

/* The first bytes of a set, for the inline below. */
typedef struct
{
	uint64_t exempt_bits[65536 / 64];
} mvt_policy_head_t;

static inline bool
mvt_policy_exempt (const mvt_policy_set_t *set, uint32_t dst)
{
	const mvt_policy_head_t *head = (const mvt_policy_head_t *) (const void *) set;
	uint32_t top = dst >> 16;
	return mvt_unlikely (head->exempt_bits[top / 64] >> (top % 64) & 1) &&
	       mvt_policy_exempt_slow (set, dst);
}

#endif /* MVT_POLICY_H */

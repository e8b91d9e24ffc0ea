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
#include "mvt_views.h"

#define MVT_POLICY_MAX	 4096 /* policies in one set; tclass is 16 bits: policy * MVT_TIMEOUT_N */
#define MVT_POLICY_SLOTS (1u << 20) /* slots are below: a /12 of pool addresses */

/* A year. Ticks are compared by the sign of their difference, so 2^31 would be over at once. */
#define MVT_TIMEOUT_MAX 31536000u

/* One policy. Policy 0 is the default that nat44's own keys describe. */
typedef struct
{
	uint32_t timeout[8];	     /* seconds, by MVT_TIMEOUT_*; up to MVT_TIMEOUT_MAX */
	uint8_t filter[MVT_PROTO_N]; /* mvt_filter_t */
	uint8_t paired_only;	     /* an exhausted address does not fall back to another */
	uint32_t mappings_per_host[MVT_PROTO_N]; /* 0: no limit */
	uint32_t mappings_per_host_all;		 /* over all protocols; 0: no limit */
	uint32_t new_per_second_per_host;	 /* 0: no limit */
	uint32_t max_blocks_per_host;		 /* allocation: block */
	uint32_t slots_first, n_slots;		 /* its pool: a run in the set's slot list */
} mvt_policy_t;

/* A run of pool addresses. A slot is an address's stable number: it keeps its number as long as
 * it is configured or drains, because the directory and the slabs are indexed by it. */
typedef struct
{
	uint32_t first;	  /* first address */
	uint32_t count;	  /* addresses in the run */
	uint32_t slot;	  /* slot of the first one; the others follow */
	uint8_t draining; /* nothing new, gone when empty */
	uint8_t pad[3];
} mvt_pool_run_t;

/* A static 1:1 rule: prefixes of equal length, all protocols; host bits are kept. Rules may nest,
 * the longest wins on either side. Where nested rules disagree (an address's outside address
 * belongs to another rule) that address has no rule: what is translated always translates back. */
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

/* Build a set. Exempt destinations are the configured ones, inside prefixes, the inside of 1:1
 * rules, and 0.0.0.0/8, loopback, multicast (224.0.0.0/4) and class E with broadcast. The outside
 * of 1:1 rules is taken out of an exemption that covers it: longest wins, 1:1 when equal. Bits of a
 * prefix below its length are ignored. Cost: O(size of the description).
 * Returns NULL with *err set (err may not be NULL):
 *   INVALID    a policy, slot, filter or prefix length out of range; no policy or more than
 *              MVT_POLICY_MAX; one inside prefix twice; runs that overlap in addresses or slots;
 *              a pool or 1:1 outside address that is an inside one (RFC 4787 REQ-7) or that no
 *              host can have (0/8, 127/8, 224.0.0.0 and above); lengths of a 1:1 rule that differ
 *   EXISTS     two 1:1 rules for one inside or one outside prefix
 *   IN_USE     the outside of a 1:1 rule overlaps the pool (a draining address counts)
 *   NO_MEMORY, or FULL (a hash table found no place: try another secret)
 * The caller owns the set; mem must outlive it. */
mvt_policy_set_t *mvt_policy_set_new (const mvt_policy_desc_t *desc, const mvt_mem_t *mem,
				      mvt_err_t *err);
void mvt_policy_set_remove (mvt_policy_set_t *set);

/* Turn a thread's views to the set's tables; NULL: to none. */
void mvt_policy_attach (const mvt_policy_set_t *set, mvt_views_t *views);

/* All of these may be called by any thread: they write nothing, but to views. Those that match
 * prefixes come twice: with _by they go through the calling thread's views (NULL: as without). */
uint64_t mvt_policy_generation (const mvt_policy_set_t *set);
/* Policy index of an inside host, MVT_NONE when addr is not inside. */
uint32_t mvt_policy_of_by (const mvt_policy_set_t *set, mvt_views_t *views, uint32_t addr);
/* => policy < count */
const mvt_policy_t *mvt_policy_at (const mvt_policy_set_t *set, uint32_t policy);
uint32_t mvt_policy_count (const mvt_policy_set_t *set);
/* timeouts, flat: [policy * MVT_TIMEOUT_N + class]; what mvt_entry_t.tclass indexes. Policies that
 * the set does not have, up to MVT_POLICY_MAX, read as policy 0: a mapping may be older than the
 * set. */
const uint32_t *mvt_policy_timeouts (const mvt_policy_set_t *set);
/* The i-th slot of a policy's pool. => policy < count, i < its n_slots */
uint32_t mvt_policy_slot (const mvt_policy_set_t *set, uint32_t policy, uint32_t i);
/* Address of a slot; 0 when the slot is not configured. */
uint32_t mvt_policy_slot_addr (const mvt_policy_set_t *set, uint32_t slot);
/* Static 1:1: true and *out set when addr has a rule. */
bool mvt_policy_static_in2out_by (const mvt_policy_set_t *set, mvt_views_t *views, uint32_t addr,
				  uint32_t *out);
bool mvt_policy_static_out2in_by (const mvt_policy_set_t *set, mvt_views_t *views, uint32_t addr,
				  uint32_t *out);

static inline uint32_t
mvt_policy_of (const mvt_policy_set_t *set, uint32_t addr)
{
	return mvt_policy_of_by (set, NULL, addr);
}

static inline bool
mvt_policy_static_in2out (const mvt_policy_set_t *set, uint32_t addr, uint32_t *out)
{
	return mvt_policy_static_in2out_by (set, NULL, addr, out);
}

static inline bool
mvt_policy_static_out2in (const mvt_policy_set_t *set, uint32_t addr, uint32_t *out)
{
	return mvt_policy_static_out2in_by (set, NULL, addr, out);
}

/* The first bytes of a set, for the inlines below: what nearly every packet asks. */
typedef struct
{
	uint32_t first; /* address */
	uint32_t count;
	uint32_t slot;
	uint32_t draining;
} mvt_policy_span_t;

typedef struct
{
	uint64_t special_bits[65536 / 64]; /* by a destination's first half as it lies in memory */
	uint64_t whole_bits[65536 / 64];   /* by its top 16 bits: every address is special */
	uint64_t near_bits[65536 / 64];	   /* by mvt_policy_near: of the others, and some more */
	const uint32_t *span_first;	   /* sorted first addresses of the spans */
	const mvt_policy_span_t *spans;	   /* the pool's runs, in the same order */
	const uint32_t
		*span_index; /* [t]: spans that begin below t << 16; NULL where they are few */
	uint32_t n_spans;
	bool has_statics;
	mvt_policy_span_t widest; /* of the spans, asked first; count 0 where there are none */
} mvt_policy_head_t;

static inline const mvt_policy_head_t *
mvt_policy_head (const mvt_policy_set_t *set)
{
	return (const mvt_policy_head_t *) (const void *) set;
}

static inline bool
mvt_policy_has_statics (const mvt_policy_set_t *set)
{
	return mvt_policy_head (set)->has_statics;
}

/* The span that an address lies in, NULL if none. The widest costs one comparison, others a binary
 * search among those of one /16. */
static inline const mvt_policy_span_t *
mvt_policy_span_of (const mvt_policy_head_t *head, uint32_t addr)
{
	const mvt_policy_span_t *span = &head->widest;
	uint32_t at = 0, n = head->n_spans;

	if (mvt_likely (addr - span->first < span->count))
		return span;
	if (head->span_index)
	{
		at = head->span_index[addr >> 16];
		n = head->span_index[(addr >> 16) + 1] - at;
	}
	/* at = how many spans begin at or below addr; no branch that depends on addr */
	while (n > 0)
	{
		uint32_t half = n / 2, above = head->span_first[at + half] > addr;
		at = above ? at : at + half + 1;
		n = above ? half : n - half - 1;
	}
	if (at == 0)
		return NULL;
	span = &head->spans[at - 1];
	return addr - span->first < span->count ? span : NULL;
}

/* Slot of an external address or MVT_NONE; *draining may be NULL and is set only with a slot. */
static inline uint32_t
mvt_policy_slot_of (const mvt_policy_set_t *set, uint32_t addr, bool *draining)
{
	const mvt_policy_span_t *span = mvt_policy_span_of (mvt_policy_head (set), addr);

	if (mvt_unlikely (!span))
		return MVT_NONE;
	if (draining)
		*draining = span->draining != 0;
	return span->slot + (addr - span->first);
}

/* Where in near_bits a /24 or an address is noted. */
static inline uint32_t
mvt_policy_near (uint32_t dst, uint32_t len)
{
	return (len == 24 ? (dst >> 8) * 0x85ebca6bu : dst * 0x9e3779b1u) >> 16;
}

static inline bool
mvt_policy_bit (const uint64_t *bits, uint32_t at)
{
	return bits[at / 64] >> (at % 64) & 1;
}

/* The second question of mvt_policy_special; no inline, for the sake of the first. */
bool mvt_policy_special_near (const mvt_policy_set_t *set, uint32_t dst);

/* One bit per destination /16 tells where an exempt prefix, a pool address or the outside of a 1:1
 * rule lies. False: the destination is none of these, and the packet simply goes out. In the
 * header because every in2out packet asks. Where the bit is set because of a few addresses (the
 * router's own, say), their neighbours are told apart: some, not all, of those that are none of
 * these, so true only says that it has to be asked. */
static inline bool
mvt_policy_special (const mvt_policy_set_t *set, uint32_t dst)
{
	uint16_t half = __builtin_bswap16 ((uint16_t) (dst >> 16));
	return mvt_unlikely (mvt_policy_bit (mvt_policy_head (set)->special_bits, half)) &&
	       mvt_policy_special_near (set, dst);
}

/* The same of the destination that a header has at dst. */
static inline bool
mvt_policy_special_at (const mvt_policy_set_t *set, const uint8_t *dst)
{
	uint16_t half;
	uint32_t addr;

	__builtin_memcpy (&half, dst, sizeof half);
	if (mvt_likely (!mvt_policy_bit (mvt_policy_head (set)->special_bits, half)))
		return false;
	__builtin_memcpy (&addr, dst, sizeof addr);
	return mvt_policy_special_near (set, __builtin_bswap32 (addr));
}

/* Is the destination exempt? Only where the bit is set, the prefix match is asked. */
bool mvt_policy_exempt_slow (const mvt_policy_set_t *set, mvt_views_t *views, uint32_t dst);

static inline bool
mvt_policy_exempt_by (const mvt_policy_set_t *set, mvt_views_t *views, uint32_t dst)
{
	return mvt_unlikely (mvt_policy_special (set, dst)) &&
	       mvt_policy_exempt_slow (set, views, dst);
}

static inline bool
mvt_policy_exempt (const mvt_policy_set_t *set, uint32_t dst)
{
	return mvt_policy_exempt_by (set, NULL, dst);
}

#endif /* MVT_POLICY_H */

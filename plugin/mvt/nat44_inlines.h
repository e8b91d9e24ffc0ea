/* SPDX-License-Identifier: Apache-2.0
 *
 * The hit path: what is done for every packet of a batch. nat44.c includes it once; a host that
 * compiles for several CPUs includes it once for each and calls nat44_process_one_way where it
 * knows the direction of all packets, else nat44_process_batch.
 *
 * Stages, of which each step does one packet, so that memory accesses are spread evenly between
 * instructions that wait for none, and those of a dozen packets are in flight:
 *
 *   scan     ask for the headers
 *   parse    check the headers, hash, ask for the bucket (in2out) or the slab's place (out2in)
 *   find     compare tags or read the place, ask for the entry
 *   stray    for the few without a candidate: their entry may lie in the alternate bucket
 *   near     ask for the entry again, from the second cache into the first
 *   further  where mappings have further sessions: ask for the bucket of the packet's
 *   rewrite  verify the entry and rewrite; whatever is no plain hit takes the slow path, in order
 *
 * What the stages hand on is little and never trusted: a candidate is looked up before earlier
 * packets of the batch are handled, which may end that mapping and make another, so the last stage
 * compares the whole endpoint.
 */
#ifndef MVT_NAT44_INLINES_H
#define MVT_NAT44_INLINES_H

#include "nat44_private.h"

#if defined(__SSSE3__)
#include <tmmintrin.h>
#endif

/* How many packets each stage lags behind the first: enough for a line to come from memory. What
 * may come from far is asked for into the second cache: the few misses that the first can wait for
 * are soon all in use, and then each further request stops the packets behind it.
 * (docs/performance.md)
 */
#define NAT44_AT_PARSE	 4u
#define NAT44_AT_FIND	 20u
#define NAT44_AT_STRAY	 26u
#define NAT44_AT_NEAR	 34u
#define NAT44_AT_REWRITE 40u
/* the same where there are further sessions */
#define NAT44_AT_FURTHER	 40u
#define NAT44_AT_REWRITE_FURTHER 52u

#define NAT44_FROM_FAR(line) __builtin_prefetch (line, 0, 2)

/* A packet between parse and rewrite. */
typedef struct
{
	union
	{
		const mvt_bucket_t *bucket; /* in2out, until find */
		const uint32_t *slab_line;  /* out2in, until find */
		mvt_entry_t *entry; /* candidate, not verified; line 0, which is never used: none */
	};
	uint64_t endpoint; /* word of the entry that the packet matches: nat44_endpoint */
	union
	{
		uint32_t hash;	  /* in2out only */
		uint32_t session; /* from further on: its bucket in their table */
	};
	uint32_t kind; /* proto and state LIVE as in the entry; NAT44_* */
} nat44_slot_t;

#define NAT44_SPECIAL 3u	 /* not plain; no entry has this protocol */
#define NAT44_FURTHER (1u << 16) /* session is asked for */
#define NAT44_STRAY   (1u << 17) /* no candidate in the primary bucket */

/* Directions of a batch: MVT_IN2OUT or MVT_OUT2IN where all packets have it, which is what the
 * loops are compiled for, or */
#define NAT44_MIXED 2u

/* Pointers that every packet needs, on the stack so that no store through another pointer makes the
 * compiler load them again. */
typedef struct
{
	const mvt_index_t *index;
	const mvt_policy_set_t *policy;
	const mvt_directory_t *directory;
	const mvt_pool_t *pool;
	mvt_entry_t *lines;
	mvt_hosts_t *hosts;
	const mvt_sessions_t *sessions;
	const uint32_t *timeouts;
	uint32_t now;
} nat44_batch_t;

_Static_assert (offsetof (mvt_entry_t, in_port) == 4 && offsetof (mvt_entry_t, realm) == 6 &&
			offsetof (mvt_entry_t, ext_addr) == 8 &&
			offsetof (mvt_entry_t, ext_port) == 12 &&
			offsetof (mvt_entry_t, proto) == 14 && offsetof (mvt_entry_t, state) == 15,
		"an endpoint is one word of the entry, protocol and state are another's top");
_Static_assert (offsetof (mvt_entry_t, rem_port) == offsetof (mvt_entry_t, rem_addr) + 4,
		"a remote endpoint is one word of the entry, but for its top");

static inline uint64_t
nat44_word (const void *field)
{
	uint64_t word;
	__builtin_memcpy (&word, field, sizeof word);
	return word;
}

static inline uint16_t
nat44_half (const void *field)
{
	uint16_t half;
	__builtin_memcpy (&half, field, sizeof half);
	return half;
}

static inline __attribute__ ((always_inline)) unsigned
nat44_dir (const mvt_pkt_t *pkt, unsigned kind)
{
	return kind == NAT44_MIXED ? pkt->dir : kind;
}

/* The endpoint of a plain packet that an entry is found by, as it lies there: realm 0 (inside), or
 * protocol and state 0 (external). */
static inline __attribute__ ((always_inline)) uint64_t
nat44_endpoint (const uint8_t *p, unsigned dir)
{
#if defined(__SSSE3__)
	/* bytes 8 to 23: source at 4, destination at 8, ports at 12 and 14 */
	const __m128i bytes = _mm_loadu_si128 ((const __m128i *) (const void *) (p + 8));
	const __m128i order = dir == MVT_IN2OUT
				      ? _mm_set_epi32 (-1, -1, (int) 0xffff0c0d, 0x04050607)
				      : _mm_set_epi32 (-1, -1, (int) 0xffff0e0f, 0x08090a0b);
	return (uint64_t) _mm_cvtsi128_si64 (_mm_shuffle_epi8 (bytes, order));
#else
	return mvt_load32 (p + (dir == MVT_IN2OUT ? 12 : 16)) |
	       (uint64_t) mvt_load16 (p + (dir == MVT_IN2OUT ? 20 : 22)) << 32;
#endif
}

static inline bool
nat44_is_special (const nat44_slot_t *slot)
{
	return (uint8_t) slot->kind == NAT44_SPECIAL;
}

/* Not plain: any bucket or block may be read for it, but no entry matches it. */
static inline void
nat44_slot_special (const nat44_batch_t *batch, nat44_slot_t *slot, unsigned dir)
{
	if (dir == MVT_IN2OUT)
		slot->bucket = batch->index->buckets.bucket;
	else
		slot->slab_line = mvt_pool_slab_line (batch->pool, 0, 0);
	slot->endpoint = 0;
	slot->hash = 0;
	slot->kind = NAT44_SPECIAL;
}

static inline __attribute__ ((always_inline)) void
nat44_stage_parse (const nat44_batch_t *batch, const mvt_pkt_t *pkt, nat44_slot_t *slot,
		   unsigned dir)
{
	mvt_plain_t plain;

	if (mvt_unlikely (!mvt_packet_plain (pkt, &plain)))
	{
		nat44_slot_special (batch, slot, dir);
		return;
	}
	uint64_t endpoint = nat44_endpoint (pkt->l3, dir);
	slot->endpoint = endpoint;
	slot->kind = plain.proto | MVT_ENTRY_LIVE << 8;
	if (dir == MVT_IN2OUT)
	{
		uint32_t hash = mvt_index_hash_word (batch->index, endpoint, plain.proto);
		slot->bucket = mvt_index_bucket (batch->index, hash);
		slot->hash = hash;
		NAT44_FROM_FAR (slot->bucket);
		return;
	}
	uint32_t place = mvt_policy_slot_of (batch->policy, (uint32_t) endpoint, NULL);
	if (mvt_unlikely (place == MVT_NONE))
	{
		nat44_slot_special (batch, slot, dir);
		return;
	}
	uint32_t block = mvt_directory_block (batch->directory, place, (uint16_t) (endpoint >> 32));
	slot->slab_line = mvt_pool_slab_line (batch->pool, block, plain.proto);
	NAT44_FROM_FAR (slot->slab_line);
}

static inline __attribute__ ((always_inline)) void
nat44_stage_find (const nat44_batch_t *batch, nat44_slot_t *slot, unsigned dir)
{
	mvt_entry_t *entry;

	if (dir == MVT_IN2OUT)
	{
		uint32_t line;
		if (mvt_unlikely (!mvt_bucket_first (slot->bucket, slot->hash, &line)))
		{
			mvt_hosts_prefetch (batch->hosts, (uint32_t) slot->endpoint, 0);
			bool elsewhere = slot->bucket->overflow[batch->index->buckets.live] != 0;
			slot->bucket = elsewhere ? mvt_index_bucket (batch->index,
								     mvt_buckets_other (slot->hash))
						 : NULL;
			NAT44_FROM_FAR (slot->bucket);
			slot->kind |= NAT44_STRAY;
			return;
		}
		entry = &batch->lines[line];
	}
	else
		entry = mvt_pool_place_at (batch->pool, slot->slab_line,
					   (uint32_t) (slot->endpoint >> 32));
	slot->entry = entry;
	NAT44_FROM_FAR (entry);
}

static inline void
nat44_stage_stray (const nat44_batch_t *batch, nat44_slot_t *slot)
{
	uint32_t line;

	/* both hashes have the tag */
	if (slot->bucket && mvt_bucket_first (slot->bucket, slot->hash, &line))
	{
		slot->entry = &batch->lines[line];
		NAT44_FROM_FAR (slot->entry);
		return;
	}
	/* it will need a mapping */
	slot->entry = batch->lines;
	mvt_hosts_prefetch_record (batch->hosts, (uint32_t) slot->endpoint, 0);
}

static inline uint32_t
nat44_line_of (const nat44_batch_t *batch, const mvt_entry_t *e)
{
	return (uint32_t) (e - batch->lines);
}

/* The entry is this endpoint's live mapping, and its packet leads out. */
static inline __attribute__ ((always_inline)) bool
nat44_is_mapping (const nat44_batch_t *batch, const mvt_entry_t *e, const nat44_slot_t *slot,
		  const uint8_t *p, unsigned dir)
{
	if (dir == MVT_OUT2IN) /* of the state only LIVE counts */
		return ((nat44_word (&e->ext_addr) ^ slot->endpoint ^ (uint64_t) slot->kind << 48)
			<< 7) == 0;
	return mvt_likely (nat44_word (&e->in_addr) == slot->endpoint) &&
	       mvt_likely (((nat44_half (&e->proto) ^ slot->kind) & (MVT_ENTRY_LIVE << 8 | 0xff)) ==
			   0) &&
	       mvt_likely (!mvt_policy_special_at (batch->policy, p + 16));
}

/* The remote endpoint that tells the sessions of a mapping apart: where a datagram is filtered by
 * address alone, its session has port 0 (nat44_mapping.c). */
static inline __attribute__ ((always_inline)) uint64_t
nat44_remote (const mvt_entry_t *e, const uint8_t *p, unsigned proto, unsigned dir)
{
	uint64_t remote = nat44_endpoint (p, dir == MVT_IN2OUT ? MVT_OUT2IN : MVT_IN2OUT);

	return proto == MVT_PROTO_UDP && e->filter == MVT_FILTER_AD ? (uint32_t) remote : remote;
}

static inline __attribute__ ((always_inline)) bool
nat44_is_inline (const mvt_entry_t *e, uint64_t remote)
{
	return (nat44_word (&e->rem_addr) ^ remote) << 16 == 0;
}

/* False: it has expired. */
static inline __attribute__ ((always_inline)) bool
nat44_refresh (const nat44_batch_t *batch, uint32_t *last, uint16_t tclass)
{
	if (*last == batch->now)
		return true;
	if (mvt_unlikely (nat44_idle_too_long (batch->now, *last, batch->timeouts[tclass])))
		return false;
	*last = batch->now;
	return true;
}

/* Ask for the bucket of a packet whose mapping has further sessions. It may yet be of the inline
 * one: telling them apart here is a branch that nobody can predict. */
static inline __attribute__ ((always_inline)) void
nat44_stage_further (const nat44_batch_t *batch, const mvt_pkt_t *pkt, nat44_slot_t *slot,
		     unsigned dir)
{
	const mvt_sessions_t *sessions = batch->sessions;
	const mvt_entry_t *e = slot->entry;

	if (mvt_sessions_is_own (sessions, e->sessions))
		__builtin_prefetch (mvt_sessions_own (sessions, e->sessions), 1);
	else if (mvt_unlikely (e->sessions != MVT_NONE) && !nat44_is_special (slot))
	{
		uint64_t remote = nat44_remote (e, pkt->l3, (uint8_t) slot->kind, dir);
		slot->session = mvt_sessions_hash (sessions, nat44_line_of (batch, e), remote);
		slot->kind |= NAT44_FURTHER;
		__builtin_prefetch (&sessions->table[slot->session], 1);
	}
}

/* A packet whose mapping has further sessions. Nearly always its session is there, in the state in
 * which nothing happens, and refreshed already in this tick: that is asked of all of them at once,
 * since nobody can predict which one it is. */
static inline __attribute__ ((always_inline)) bool
nat44_is_of_session (mvt_nat44_t *nat, const nat44_batch_t *batch, mvt_entry_t *e,
		     const nat44_slot_t *slot, uint64_t remote, const uint8_t *p, unsigned proto)
{
	const mvt_sessions_t *sessions = batch->sessions;
	uint32_t state = mvt_session_state (remote, 0, MVT_TIMEOUT_UDP);
	bool tcp = proto == MVT_PROTO_TCP;
	bool is_inline = nat44_is_inline (e, remote) & (e->last == batch->now);
	mvt_session_words_t further = { 0 };
	uint64_t hit;

	if (tcp)
	{
		is_inline &= e->tcp_state == MVT_TCP_ESTABLISHED;
		state = mvt_session_state (remote, MVT_TCP_ESTABLISHED,
					   MVT_TIMEOUT_TCP_ESTABLISHED);
	}
	if (mvt_likely (mvt_sessions_is_own (sessions, e->sessions)))
		further = mvt_sessions_fresh (mvt_sessions_own (sessions, e->sessions), remote,
					      state, batch->now);
	else if (slot->kind & NAT44_FURTHER)
	{
		const mvt_session_bucket_t *bucket = &sessions->table[slot->session];
		further = mvt_sessions_fresh (bucket, remote, state, batch->now) &
			  (mvt_session_words_t) (bucket->line == nat44_line_of (batch, e));
	}
	hit = mvt_sessions_any (further) | is_inline;
	/* gcc makes two branches of it otherwise, of which one depends on the packet */
	__asm__ ("" : "+r"(hit));
	if (mvt_likely (hit) && (!tcp || mvt_likely (mvt_tcp_quiet (MVT_TCP_ESTABLISHED, p[33]))))
		return true;
	return nat44_refresh_session (nat, e, remote, tcp ? p[33] : 0, batch->now);
}

/* Nothing more about sessions or filtering has to be asked: endpoint-independent and untracked, or
 * of a session that is there, TCP in mid-life. */
static inline __attribute__ ((always_inline)) bool
nat44_is_admitted (mvt_nat44_t *nat, const nat44_batch_t *batch, mvt_entry_t *e,
		   const nat44_slot_t *slot, const uint8_t *p, unsigned proto, unsigned dir,
		   bool sessions)
{
	if (proto == MVT_PROTO_TCP || mvt_unlikely (e->filter != MVT_FILTER_EI))
	{
		uint64_t remote = nat44_remote (e, p, proto, dir);
		if (sessions && e->sessions != MVT_NONE)
			return proto == MVT_PROTO_TCP
				       ? nat44_is_of_session (nat, batch, e, slot, remote, p,
							      MVT_PROTO_TCP)
				       : nat44_is_of_session (nat, batch, e, slot, remote, p,
							      MVT_PROTO_UDP);
		if (mvt_unlikely (!nat44_is_inline (e, remote)))
			return false;
		if (proto == MVT_PROTO_TCP && mvt_unlikely (!mvt_tcp_quiet (e->tcp_state, p[33])))
			return false;
	}
	return nat44_refresh (batch, &e->last, e->tclass);
}

static inline __attribute__ ((always_inline)) bool
nat44_stage_rewrite (mvt_nat44_t *nat, const nat44_batch_t *batch, mvt_pkt_t *pkt,
		     const nat44_slot_t *slot, unsigned dir, bool sessions)
{
	mvt_entry_t *e = slot->entry;
	uint8_t *p = pkt->l3, proto = (uint8_t) slot->kind;

	if (mvt_unlikely (!nat44_is_mapping (batch, e, slot, p, dir) ||
			  !nat44_is_admitted (nat, batch, e, slot, p, proto, dir, sessions)))
		return false;
	e->packets[dir]++;
	pkt->verdict = MVT_VERDICT_TRANSLATED;
	mvt_rewrite_plain (p, proto, dir, dir == MVT_IN2OUT ? e->ext_addr : e->in_addr,
			   dir == MVT_IN2OUT ? e->ext_port : e->in_port, e->delta_ip, e->delta_l4);
	return true;
}

/* Everything that is no plain hit; nat44.c. plain: mvt_packet_plain said so. */
void nat44_special (mvt_nat44_t *nat, mvt_pkt_t *pkt, bool plain, uint32_t now);

/* ---- the batch ---- */

/* One step: each stage does one packet, scan the one of this number. Returns how many were no plain
 * hits, 0 or 1, in the upper half if out2in. whole: every stage has a packet; constant, as are kind
 * and sessions. */
static inline __attribute__ ((always_inline)) uint32_t
nat44_step (mvt_nat44_t *nat, const nat44_batch_t *batch, mvt_pkt_t *pkts, nat44_slot_t *slots,
	    size_t number, size_t n, unsigned kind, bool sessions, bool whole)
{
	size_t i = number; /* in full width, so that the stages' lags are constants of addresses */

	if (whole || i < n)
		__builtin_prefetch (pkts[i].l3, 1);
	i = number - NAT44_AT_PARSE; /* beyond n too when it is below 0 */
	if (whole || i < n)
	{
		if (nat44_dir (&pkts[i], kind) == MVT_IN2OUT)
			nat44_stage_parse (batch, &pkts[i], &slots[i], MVT_IN2OUT);
		else
			nat44_stage_parse (batch, &pkts[i], &slots[i], MVT_OUT2IN);
	}
	i = number - NAT44_AT_FIND;
	if (whole || i < n)
	{
		if (nat44_dir (&pkts[i], kind) == MVT_IN2OUT)
			nat44_stage_find (batch, &slots[i], MVT_IN2OUT);
		else
			nat44_stage_find (batch, &slots[i], MVT_OUT2IN);
	}
	i = number - NAT44_AT_STRAY;
	if (kind != MVT_OUT2IN && (whole || i < n) && mvt_unlikely (slots[i].kind & NAT44_STRAY))
		nat44_stage_stray (batch, &slots[i]);
	i = number - NAT44_AT_NEAR;
	if (whole || i < n)
		__builtin_prefetch (slots[i].entry, 1);
	i = number - NAT44_AT_FURTHER;
	if (sessions && (whole || i < n))
	{
		if (nat44_dir (&pkts[i], kind) == MVT_IN2OUT)
			nat44_stage_further (batch, &pkts[i], &slots[i], MVT_IN2OUT);
		else
			nat44_stage_further (batch, &pkts[i], &slots[i], MVT_OUT2IN);
	}
	i = number - (sessions ? NAT44_AT_REWRITE_FURTHER : NAT44_AT_REWRITE);
	if (whole || i < n)
	{
		/* a hairpin turns its packet's dir, so it is asked before */
		unsigned dir = nat44_dir (&pkts[i], kind);
		bool hit = dir == MVT_IN2OUT ? nat44_stage_rewrite (nat, batch, &pkts[i], &slots[i],
								    MVT_IN2OUT, sessions)
					     : nat44_stage_rewrite (nat, batch, &pkts[i], &slots[i],
								    MVT_OUT2IN, sessions);
		if (mvt_unlikely (!hit))
		{
			nat44_special (nat, &pkts[i], !nat44_is_special (&slots[i]), batch->now);
			return dir == MVT_IN2OUT ? 1 : 1u << 16;
		}
	}
	return 0;
}

/* Returns how many packets were no plain hits, out2in << 16 | in2out; all others are TRANSLATED. */
static inline __attribute__ ((always_inline)) uint32_t
nat44_steps (mvt_nat44_t *nat, mvt_pkt_t *pkts, size_t n, uint32_t now, unsigned kind,
	     bool sessions)
{
	const nat44_batch_t batch = {
		.index = nat->index,
		.policy = nat->policy,
		.directory = nat->shared->directory,
		.pool = nat->pool,
		.lines = mvt_pool_line (nat->pool, 0),
		.hosts = nat->hosts,
		.sessions = nat->sessions,
		.timeouts = nat->timeouts,
		.now = now,
	};
	nat44_slot_t slots[MVT_BATCH_MAX];
	const size_t lag = sessions ? NAT44_AT_REWRITE_FURTHER : NAT44_AT_REWRITE;
	uint32_t special = 0;
	size_t i = 0;

	/* the last stages wait for the first packet, in the end the first ones have no more */
	for (size_t end = lag; i < n + lag; end = n + lag)
	{
		for (; i < end; i++)
			special +=
				nat44_step (nat, &batch, pkts, slots, i, n, kind, sessions, false);
		for (; i < n; i++)
			special +=
				nat44_step (nat, &batch, pkts, slots, i, n, kind, sessions, true);
	}
	return special;
}

/* Apart, so that what it keeps in registers does not crowd the others. */
static __attribute__ ((noinline)) uint32_t
nat44_steps_with_sessions (mvt_nat44_t *nat, mvt_pkt_t *pkts, uint32_t n, uint32_t now,
			   unsigned kind)
{
	if (kind == MVT_IN2OUT)
		return nat44_steps (nat, pkts, n, now, MVT_IN2OUT, true);
	if (kind == MVT_OUT2IN)
		return nat44_steps (nat, pkts, n, now, MVT_OUT2IN, true);
	return nat44_steps (nat, pkts, n, now, NAT44_MIXED, true);
}

/* kind: constant. Returns how many packets were no plain hits. */
static inline __attribute__ ((always_inline)) uint32_t
nat44_process_counted (mvt_nat44_t *nat, mvt_pkt_t *pkts, uint32_t n, uint32_t now, unsigned kind,
		       uint32_t out2in, uint32_t handed_in)
{
	nat44_load_snapshots (nat);
	uint32_t special = mvt_unlikely (mvt_sessions_count (nat->sessions))
				   ? nat44_steps_with_sessions (nat, pkts, n, now, kind)
				   : nat44_steps (nat, pkts, n, now, kind, false);
	nat44_add (&nat->counters.received_in2out, n - out2in);
	nat44_add (&nat->counters.received_out2in, out2in);
	nat44_add (&nat->counters.handed_in, handed_in);
	nat44_add (&nat->counters.translated_in2out, n - out2in - (special & 0xffff));
	nat44_add (&nat->counters.translated_out2in, out2in - (special >> 16));
	return (special & 0xffff) + (special >> 16);
}

/* mvt_nat44_process for packets of one direction (constant) of which none was handed over, and how
 * many were no plain hits. */
static inline __attribute__ ((always_inline)) uint32_t
nat44_process_one_way (mvt_nat44_t *nat, mvt_pkt_t *pkts, uint32_t n, uint32_t now, unsigned dir)
{
	return nat44_process_counted (nat, pkts, n, now, dir, dir == MVT_OUT2IN ? n : 0, 0);
}

/* mvt_nat44_process, and how many packets were no plain hits. */
static inline uint32_t
nat44_process_batch (mvt_nat44_t *nat, mvt_pkt_t *pkts, uint32_t n, uint32_t now)
{
	uint32_t out2in = 0, handed_in = 0;

	for (uint32_t i = 0; i < n; i++)
	{
		out2in += pkts[i].dir;
		handed_in += pkts[i].hops != 0;
	}
	if (out2in == 0)
		return nat44_process_counted (nat, pkts, n, now, MVT_IN2OUT, 0, handed_in);
	if (out2in == n)
		return nat44_process_counted (nat, pkts, n, now, MVT_OUT2IN, n, handed_in);
	return nat44_process_counted (nat, pkts, n, now, NAT44_MIXED, out2in, handed_in);
}

#endif /* MVT_NAT44_INLINES_H */

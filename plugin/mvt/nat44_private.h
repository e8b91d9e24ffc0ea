/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of mvt_nat44_t, shared by the nat44*.c files and nobody else.
 *
 *   nat44.c          life cycle, batches
 *   nat44_inlines.h  the hit path
 *   nat44_mapping.c  making and ending mappings, sessions, filtering
 *   nat44_slow.c     packets that are no plain hit: misses, ICMP errors, fragments, 1:1 rules
 *   nat44_job.c      jobs, housekeeping, events
 */
#ifndef MVT_NAT44_PRIVATE_H
#define MVT_NAT44_PRIVATE_H

#include "mvt_frag.h"
#include "mvt_host.h"
#include "mvt_index.h"
#include "mvt_rewrite.h"
#include "mvt_session.h"
#include "mvt_tcp.h"
#include "nat44.h"

/* A packet may be handed over twice; a fragment once more, to where its datagram is known, and a
 * hairpin once more, to the owner of its destination: a dispatcher behind the times and a closing
 * range have cost it two before. */
#define NAT44_MAX_HOPS	      2u
#define NAT44_MAX_HOPS_LONGER 3u
/* Addresses tried when a host's own is exhausted. */
#define NAT44_FALLBACK_TRIES 64u
/* Lines that a slice of a job looks at: about 20 us. */
#define NAT44_JOB_LINES 256u

struct mvt_nat44
{
	mvt_counters_t counters;

	/* read by every packet */
	_Alignas (MVT_CACHE_LINE) mvt_pool_t *pool;
	mvt_index_t *index;
	const mvt_policy_set_t *policy; /* of this batch */
	const mvt_home_t *home;		/* of this batch */
	const mvt_home_t *rules;	/* that the views look at */
	const uint32_t *timeouts;	/* of this batch's policy set */
	mvt_shared_t *shared;
	uint16_t instance;

	/* read by new mappings and by special packets */
	mvt_hosts_t *hosts;
	mvt_sessions_t *sessions;
	mvt_frag_t *frag;
	mvt_views_t *views;
	uint64_t policy_generation;
	uint32_t epoch; /* counts changes of the snapshots, never 0 */
	uint32_t n_policies;
	uint32_t fallback; /* where the last exhausted host found ports */
	uint32_t max_mappings;
	uint64_t random;
	uint64_t sweep;			    /* cursor */
	uint32_t sweep_tick;		    /* when this round began */
	bool swept;			    /* a whole round was made in this tick */
	uint32_t refused_tick[MVT_EVENT_N]; /* of the last such event: one a second is enough */
	uint8_t log;
	uint8_t by_host;
	bool tracks_sessions; /* a mapping was made that may have further ones */

	/* events: the owner writes tail, the reader head */
	mvt_event_t *events;
	uint32_t event_mask;
	_Alignas (MVT_CACHE_LINE) _Atomic uint32_t event_tail;
	_Alignas (MVT_CACHE_LINE) _Atomic uint32_t event_head;

	_Alignas (MVT_CACHE_LINE) mvt_mem_t mem;
};

/* A counter has one writer, so an increment needs no atomic read-modify-write; the atomic type
 * only keeps readers of other threads from seeing half a word. */
static inline void
nat44_add (_Atomic uint64_t *counter, uint64_t n)
{
	atomic_store_explicit (counter, atomic_load_explicit (counter, memory_order_relaxed) + n,
			       memory_order_relaxed);
}

static inline void
nat44_set (_Atomic uint64_t *gauge, uint64_t value)
{
	atomic_store_explicit (gauge, value, memory_order_relaxed);
}

#define NAT44_COUNT(nat, name) nat44_add (&(nat)->counters.name, 1)

static inline void
nat44_drop (mvt_nat44_t *nat, mvt_pkt_t *pkt, mvt_drop_t reason)
{
	pkt->verdict = MVT_VERDICT_DROPPED;
	pkt->reason = (uint8_t) reason;
	nat44_add (&nat->counters.dropped[reason], 1);
}

static inline void
nat44_pass (mvt_nat44_t *nat, mvt_pkt_t *pkt, mvt_pass_t reason)
{
	pkt->verdict = MVT_VERDICT_PASSED;
	pkt->reason = (uint8_t) reason;
	nat44_add (&nat->counters.passed[reason], 1);
}

/* Expired iff now - last > timeout, never early. Signed: an instance may hold a packet of the
 * second before against an entry that it touched in this one. */
static inline bool
nat44_idle_too_long (uint32_t now, uint32_t last, uint32_t timeout)
{
	return (int32_t) (now - last) > (int32_t) timeout;
}

static inline bool
nat44_expired (const mvt_nat44_t *nat, const mvt_entry_t *e, uint32_t now)
{
	return nat44_idle_too_long (now, e->last, nat->timeouts[e->tclass]);
}

static inline void
nat44_touch (mvt_entry_t *e, uint32_t now)
{
	if (e->last != now)
		e->last = now;
}

static inline uint16_t
nat44_tclass (const mvt_entry_t *e, unsigned class)
{
	return (uint16_t) (e->policy * MVT_TIMEOUT_N + class);
}

/* ---- nat44_mapping.c ---- */

/* The mapping of an inside endpoint, NULL if none. An expired one is ended and is none. */
mvt_entry_t *nat44_find_inside (mvt_nat44_t *nat, uint32_t addr, uint16_t port, uint8_t proto,
				uint32_t now);
/* The mapping at an external endpoint of one of this instance's blocks; the same. */
mvt_entry_t *nat44_find_outside (mvt_nat44_t *nat, uint32_t block, uint16_t port, uint8_t proto,
				 uint32_t now);
/* Leave to make a mapping, and how. */
typedef struct
{
	uint32_t host; /* its record, MVT_NONE if it has none yet */
	uint32_t policy;
	uint32_t ext_addr; /* that the mapping must have; 0: the host's own */
	bool lasting;	   /* the answer is the same for all endpoints of the host as long as the
			      snapshots are, so the host's record may remember it */
} nat44_leave_t;

/* Make a mapping for the inside endpoint of a packet. NULL with *drop.
 * => the endpoint has none: nat44_find_inside said so */
mvt_entry_t *nat44_create (mvt_nat44_t *nat, const mvt_parsed_t *parsed, const nat44_leave_t *leave,
			   uint32_t now, mvt_drop_t *drop);
/* End a mapping: index, sessions, host, pool. */
void nat44_end (mvt_nat44_t *nat, mvt_entry_t *e, uint32_t now);
/* An entry whose inline session is too old lives on if a further session does: that one moves
 * inline. False: nothing is left. */
bool nat44_revive (mvt_nat44_t *nat, mvt_entry_t *e, uint32_t now);
/* Sessions and filtering of a packet that has a mapping, when the inline answer does not do.
 * True: let it through. False with *drop. */
bool nat44_admit (mvt_nat44_t *nat, mvt_entry_t *e, const mvt_parsed_t *parsed, unsigned dir,
		  uint32_t now, mvt_drop_t *drop);
/* The hit path's question, where sessions are not all as they nearly always are: is the session of
 * this remote there, not expired, and does the segment leave it as it is? Then it is refreshed.
 * False says nothing about the packet. tcp_flags: 0 for UDP. => e is live and TCP or UDP */
bool nat44_refresh_session (mvt_nat44_t *nat, mvt_entry_t *e, uint64_t remote, uint8_t tcp_flags,
			    uint32_t now);
/* Would the filter let a later fragment in? It has no flags and may be anything of its datagram, so
 * it neither makes, refreshes nor changes a session. */
bool nat44_filter_allows (mvt_nat44_t *nat, const mvt_entry_t *e, const mvt_parsed_t *parsed,
			  uint32_t now);
/* A static mapping's entry, placed and indexed. */
mvt_err_t nat44_create_static (mvt_nat44_t *nat, const mvt_endpoint_t *in,
			       const mvt_endpoint_t *ext, uint32_t now);
/* Unlink expired further sessions, looking at no more than `look` live ones. */
void nat44_prune (mvt_nat44_t *nat, mvt_entry_t *e, uint32_t now, uint32_t look);
uint32_t nat44_sessions_of (mvt_nat44_t *nat, const mvt_entry_t *e);

/* ---- nat44.c, used by the other files ---- */

/* Take the snapshots that this batch or job works with. */
void nat44_load_snapshots (mvt_nat44_t *nat);

/* Translate a packet that has been admitted, and send a hairpin on its second half. */
void nat44_translate (mvt_nat44_t *nat, mvt_pkt_t *pkt, mvt_parsed_t *parsed, mvt_entry_t *e,
		      unsigned dir, uint32_t now);

/* ---- nat44_slow.c ---- */

/* Everything that is no plain hit. pkt->dir decides. */
void nat44_slow_in2out (mvt_nat44_t *nat, mvt_pkt_t *pkt, mvt_parsed_t *parsed, uint32_t now);
void nat44_slow_out2in (mvt_nat44_t *nat, mvt_pkt_t *pkt, mvt_parsed_t *parsed, uint32_t now);
/* A packet just translated in2out whose destination is ours: the second half. */
void nat44_hairpin (mvt_nat44_t *nat, mvt_pkt_t *pkt, mvt_parsed_t *parsed, uint32_t now);
/* Does an in2out destination lead back inside (pool address or 1:1 outside address)? */
bool nat44_is_ours (const mvt_nat44_t *nat, uint32_t dst);

/* ---- nat44_job.c ---- */

/* A mapping was made or ended. */
void nat44_event_mapping (mvt_nat44_t *nat, mvt_event_type_t type, const mvt_entry_t *e,
			  uint32_t now);
/* A host was refused a mapping (HOST_LIMIT, EXHAUSTED); at most one event a second of each type, so
 * that nobody can flood the log. */
void nat44_event_refused (mvt_nat44_t *nat, mvt_event_type_t type, const mvt_parsed_t *parsed,
			  mvt_drop_t drop, uint32_t now);
void nat44_gauges (mvt_nat44_t *nat);

#endif /* MVT_NAT44_PRIVATE_H */

/* SPDX-License-Identifier: Apache-2.0
 *
 * mvt_nat44_t: one NAT44 instance, the embedding API of the core.
 *
 * Life of a packet. The host (the embedded engine or the VPP plugin) asks mvt_dispatch which
 * instance a packet is for and gives it to that instance's thread, which calls
 * mvt_nat44_process on batches of up to 256. Stages: parse and hash; look at buckets; compare and
 * rewrite; so that many memory accesses are in flight at once. Afterwards each packet has a
 * verdict. Handed-off packets go to the named instance's ring and are processed there by the same
 * call; held fragments come back from mvt_nat44_released.
 *
 * Between batches, and also when idle, the host calls mvt_nat44_background: sweep of expired
 * mappings, release of held ports, growth of the index, fragment timeouts; a few lines at a time.
 *
 * Ownership. Only the instance's thread calls functions without the suffix _any. Other threads
 * ask through jobs: the host carries a mvt_job_t to the owner, which runs it in slices.
 *
 * A tick is one second, u32. Time, memory and randomness come from the host.
 * The core does not touch TTL, links or routes: forwarding is the host's business.
 */
#ifndef MVT_NAT44_H
#define MVT_NAT44_H

#include "mvt_entry.h"
#include "mvt_packet.h"
#include "mvt_pool.h"
#include "mvt_shared.h"

/* ---- configuration of an instance; fixed at its start ---- */
typedef struct
{
	uint16_t instance;
	uint16_t n_instances; /* of the process, active or spare; at most 64 */
	uint32_t max_mappings;
	uint32_t max_sessions;		/* further sessions; 0: as many as mappings */
	uint32_t max_hosts;		/* 0: as many as mappings / 4, at least 65,536 */
	uint32_t fragment_timeout;	/* seconds */
	uint32_t fragment_records;	/* 0: 1,024 datagrams */
	uint32_t fragment_held;		/* 0: 4,096 packets */
	uint32_t fragment_per_datagram; /* 0: 64 packets */
	uint32_t hold_seconds;
	uint32_t hold_share_1024;
	uint32_t event_ring;	     /* events, power of two; 0: 4,096 */
	uint8_t by_host;	     /* allocation: block */
	uint8_t log;		     /* 0 off, 1 block events, 2 mapping events too */
	const uint64_t *allocatable; /* bitmap of 65,536 ports; copied */
	uint64_t seed[4];	     /* real entropy, private to the instance */
	mvt_shared_t *shared;	     /* policy and home are set before the first packet */
	mvt_mem_t mem;
} mvt_nat44_config_t;

typedef struct mvt_nat44 mvt_nat44_t;

mvt_nat44_t *mvt_nat44_new (const mvt_nat44_config_t *config, mvt_err_t *err);
void mvt_nat44_remove (mvt_nat44_t *nat);

/* ---- packets ---- */

/* Give every packet a verdict. => n <= MVT_BATCH_MAX; pkts are writable, dir is set, hops is 0
 * for a fresh packet and is kept by the host across hand-offs. The packets are handled in order. */
void mvt_nat44_process (mvt_nat44_t *nat, mvt_pkt_t *pkts, uint32_t n, uint32_t now);

/* Fragments that were HELD and now have a verdict of their own to get: verdict NONE means "give it
 * to mvt_nat44_process again", DROPPED means expired. Returns how many were written. */
uint32_t mvt_nat44_released (mvt_nat44_t *nat, mvt_pkt_t *out, uint32_t max);

/* Housekeeping; `lines` bounds the entries looked at (8 per busy batch and 256 when idle serve).
 * Returns what it ended (mappings, hold-downs, waiting datagrams) and the steps that it took to
 * back memory ahead; 0 does not mean that the sweep has gone round (counter sweep_rounds). */
uint32_t mvt_nat44_background (mvt_nat44_t *nat, uint32_t now, uint32_t lines);

/* A part of that: back memory for mappings to come, a step (64 KiB) of each array, so that no
 * packet waits for it. For hosts that are idle and have swept. Returns the steps taken; 0: enough
 * is ahead. */
uint32_t mvt_nat44_back_ahead (mvt_nat44_t *nat);

/* The instance's views on the shared tables: for a dispatcher that runs on the same thread. */
mvt_views_t *mvt_nat44_views (mvt_nat44_t *nat);

/* ---- counters: any thread may read, the owner writes plain stores ---- */
#define foreach_mvt_counter                                                         \
	_ (received_in2out, "packets given to this instance, from inside")          \
	_ (received_out2in, "packets given to this instance, from outside")         \
	_ (translated_in2out, "packets translated towards the outside")             \
	_ (translated_out2in, "packets translated towards the inside")              \
	_ (hairpinned, "packets that were translated both ways here")               \
	_ (handed_over, "packets given to another instance")                        \
	_ (handed_in, "packets received from another instance")                     \
	_ (fragments_held, "fragments kept until their first one came")             \
	_ (mappings_created, "mappings made")                                       \
	_ (mappings_expired, "mappings ended by time")                              \
	_ (mappings_deleted, "mappings ended by command")                           \
	_ (sessions_created, "further sessions made")                               \
	_ (sessions_untracked, "packets let through without a session, table full") \
	_ (sweep_rounds, "times the sweep has gone round")                          \
	_ (events_lost, "events that found the ring full")

#define foreach_mvt_gauge                                                          \
	_ (mappings, "live mappings")                                              \
	_ (mappings_udp, "live UDP mappings")                                      \
	_ (mappings_tcp, "live TCP mappings")                                      \
	_ (mappings_icmp, "live ICMP query mappings")                              \
	_ (sessions, "further sessions")                                           \
	_ (hosts, "inside hosts with mappings here")                               \
	_ (blocks, "blocks owned")                                                 \
	_ (blocks_free, "blocks free")                                             \
	_ (blocks_open, "blocks that mappings are allocated from")                 \
	_ (blocks_closed, "blocks in use, nothing new")                            \
	_ (ports_held, "external ports in hold-down")                              \
	_ (max_mappings, "limit of mappings, fixed at start")                      \
	_ (home_version, "version of the home map last seen by a batch")           \
	_ (policy_generation, "generation of the policy set last seen by a batch") \
	_ (starved_slot, "slot whose exhaustion was met last, plus 1; 0 none")

typedef struct
{
#define _(name, text) _Atomic uint64_t name;
	foreach_mvt_counter foreach_mvt_gauge
#undef _
		_Atomic uint64_t passed[MVT_PASS_N];
	_Atomic uint64_t dropped[MVT_DROP_N];
} mvt_counters_t;

const mvt_counters_t *mvt_nat44_counters_any (const mvt_nat44_t *nat);

/* ---- events: a bounded ring, one reader thread ---- */
#define foreach_mvt_event                    \
	_ (BLOCK_ASSIGNED, block_assigned)   \
	_ (BLOCK_RELEASED, block_released)   \
	_ (MAPPING_CREATED, mapping_created) \
	_ (MAPPING_ENDED, mapping_ended)     \
	_ (HOST_LIMIT, host_limit)           \
	_ (EXHAUSTED, exhausted)

typedef enum
{
#define _(NAME, name) MVT_EVENT_##NAME,
	foreach_mvt_event
#undef _
		MVT_EVENT_N
} mvt_event_type_t;

typedef struct
{
	uint32_t tick;
	uint8_t type;  /* mvt_event_type_t */
	uint8_t proto; /* mvt_proto_t; MVT_PROTO_N for blocks */
	uint16_t realm;
	uint32_t in_addr;
	uint32_t ext_addr;
	uint16_t in_port;
	uint16_t ext_port; /* blocks: first port */
	uint16_t ports;	   /* blocks: how many, 1 for mappings */
	uint16_t instance;
	uint32_t detail; /* drop reason, for HOST_LIMIT and EXHAUSTED */
	uint32_t pad;
} mvt_event_t;

/* At most max events, oldest first. The one reader thread may be any thread. */
uint32_t mvt_nat44_events_any (mvt_nat44_t *nat, mvt_event_t *out, uint32_t max);

/* ---- jobs: what other threads want of the owner ---- */
typedef enum
{
	MVT_JOB_TAKE_BLOCKS = 1, /* blocks/n in */
	MVT_JOB_GIVE_BLOCKS,	 /* to, slot, max in; blocks/n out: they belong to `to` already and
				    must be brought to it by TAKE_BLOCKS */
	MVT_JOB_LIST_MAPPINGS,	 /* filter, cursor in/out; mappings/n out */
	MVT_JOB_LIST_HOSTS,	 /* filter.inside, cursor in/out; hosts/n out */
	MVT_JOB_DELETE_MAPPINGS, /* filter in; n = how many ended */
	MVT_JOB_STATIC_ADD,  /* filter.inside_endpoint, external_endpoint in; a dynamic mapping of
				that inside endpoint is ended first; IN_USE when the external
				endpoint is taken by somebody else */
	MVT_JOB_STATIC_DEL,  /* external_endpoint in */
	MVT_JOB_DRAIN_SLOT,  /* slot, drain in: allocate nothing of that address */
	MVT_JOB_LIST_BLOCKS, /* cursor in/out; block_infos/n out: blocks in use */
	MVT_JOB_MATCHES,     /* matches[MVT_MATCH_N] out: prefix matching here */
	MVT_JOB_LIST_HITS,   /* match, cursor in/out; hits/n out: of the entries of a table */
	MVT_JOB_SYNC,	     /* done once a loop has begun that sees all published snapshots */
} mvt_job_op_t;

/* Which mappings; a zeroed filter means all. */
typedef struct
{
	mvt_prefix4_t inside;	    /* len 0: any */
	mvt_prefix4_t external;	    /* len 0: any */
	uint16_t in_port, ext_port; /* 0: any */
	uint8_t proto_plus1;	    /* 0: any, else mvt_proto_t + 1 */
	uint8_t statics;	    /* 0: all, 1: only static, 2: only dynamic */
	uint16_t realm;
} mvt_mapping_filter_t;

typedef struct
{
	mvt_endpoint_t in, ext, remote; /* remote: of the oldest live session; 0 if none tracked */
	uint16_t realm;
	uint16_t instance;
	uint16_t policy;
	uint8_t is_static;
	uint8_t tcp_state;
	uint8_t filter;
	uint8_t pad[3];
	uint32_t sessions;   /* tracked, the inline one included */
	uint32_t age;	     /* seconds since made */
	uint32_t idle;	     /* seconds since refreshed */
	uint32_t expires_in; /* seconds; MVT_NONE for static */
	uint32_t packets[2];
} mvt_mapping_info_t;

typedef struct
{
	uint32_t addr;
	uint16_t realm;
	uint16_t instance;
	uint32_t ext_addr;
	uint32_t mappings[MVT_PROTO_N];
	uint32_t blocks;
} mvt_host_info_t;

typedef struct
{
	uint32_t ext_addr;
	uint16_t first_port;
	uint16_t instance;
	uint32_t in_use[MVT_PROTO_N];
	uint32_t holder; /* inside address, allocation: block; 0 otherwise */
} mvt_block_info_t;

typedef struct
{
	uint16_t op; /* mvt_job_op_t */
	uint16_t to;
	uint32_t slot;
	uint32_t drain;
	uint32_t max; /* capacity of the output array, or how many to give */
	mvt_mapping_filter_t filter;
	mvt_endpoint_t inside_endpoint, external_endpoint;
	uint16_t realm;
	uint16_t match;	 /* mvt_match_t */
	uint64_t cursor; /* 0 to start; UINT64_MAX when everything was listed */
	uint32_t n;
	union
	{
		uint32_t *blocks;
		mvt_mapping_info_t *mappings;
		mvt_host_info_t *hosts;
		mvt_block_info_t *block_infos;
		mvt_match_info_t *matches;
		mvt_entry_hits_t *hits;
	} out; /* memory of the asker, owned by the job until it is done */
	mvt_err_t result;
} mvt_job_t;

/* Run a slice of a job, at most 256 lines. Returns MVT_ERR_AGAIN until it is done, then the
 * result, which also stands in job->result. A listing is done when the output array is full or
 * everything was seen; ask again with the same cursor for the rest. */
mvt_err_t mvt_nat44_job (mvt_nat44_t *nat, mvt_job_t *job, uint32_t now);

/* Invariants between pool, index, sessions and hosts, for tests: 0 or the broken check's line. */
int mvt_nat44_verify (const mvt_nat44_t *nat);

/* Names, for every layer above: index into the X-macros. */
const char *mvt_drop_name (unsigned drop);
const char *mvt_pass_name (unsigned pass);
const char *mvt_event_name (unsigned type);
const char *mvt_err_text (int err);

#endif /* MVT_NAT44_H */

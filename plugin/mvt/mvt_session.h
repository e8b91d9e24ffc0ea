/* SPDX-License-Identifier: Apache-2.0
 *
 * mvt_sessions_t: the further sessions of an instance, a bounded table keyed (mapping, remote).
 *
 * A mapping's first session lies inline in its entry (mvt_entry.h), so most packets never come
 * here. What does: a second remote endpoint of a TCP mapping, and, where filtering is not
 * endpoint-independent, a second remote of a UDP or ICMP mapping. A session with remote port 0
 * stands for the whole address (address-dependent filtering).
 *
 * A keyed hash leads to a bucket of four places, which is one cache line and all that a packet
 * needs: it can be asked for ahead, and is laid out field by field, so that a packet is compared
 * with all four places at once. A session that finds its bucket full lies in one of the next ones,
 * and the buckets that it passed count it, so that a miss is one bucket where the count is 0.
 * Sessions never move. At full size half of the places are taken, and a session in 25 lies
 * elsewhere. The number of buckets where one may lie is bounded; when they are full, the table
 * refuses, as it does when it is full itself.
 *
 * Sessions of one mapping are chained from entry->sessions, beside the table. Owner thread only.
 * All memory is reserved at creation, 42 bytes per session, and backed when mappings come that may
 * have further ones.
 */
#ifndef MVT_SESSION_H
#define MVT_SESSION_H

#include "mvt_backed.h"
#include "mvt_crc32c.h"
#include "mvt_types.h"

#define MVT_SESSION_SLOTS  4u  /* of a bucket */
#define MVT_SESSION_PROBES 16u /* buckets where a session may lie */

/* One word for each place of a bucket. */
typedef uint32_t mvt_session_words_t __attribute__ ((vector_size (4 * MVT_SESSION_SLOTS)));

typedef struct
{
	mvt_session_words_t rem_addr;
	mvt_session_words_t state; /* remote port and what it has come to: mvt_session_state */
	mvt_session_words_t last;  /* tick of the last refresh */
	mvt_session_words_t line;  /* of the mapping; 0: the place is free */
} mvt_session_bucket_t;

_Static_assert (sizeof (mvt_session_bucket_t) == MVT_CACHE_LINE, "a bucket is one cache line");

/* What no packet asks for as long as it finds its session. */
typedef struct
{
	uint32_t sibling[MVT_SESSION_SLOTS]; /* by place: next session of the same mapping */
	uint32_t passed;		     /* sessions that lie beyond this bucket */
} mvt_session_side_t;

/* A session is known by its place's number: bucket * MVT_SESSION_SLOTS + slot. */
typedef struct
{
	mvt_session_bucket_t *buckets;
	mvt_session_side_t *sides;
	uint32_t n; /* buckets that a hash leads to */
	uint32_t count, max;
	mvt_backed_t backed, backed_sides; /* all of them, or none is read */
	mvt_secret_t secret;
	mvt_mem_t mem;
} mvt_sessions_t;

/* A remote endpoint as one word: port << 32 | address. */
static inline uint64_t
mvt_session_remote (uint32_t addr, uint16_t port)
{
	return (uint64_t) port << 32 | addr;
}

/* A session as one value. */
typedef struct
{
	uint64_t remote;
	uint32_t line; /* of the mapping */
	uint32_t last;
	uint8_t tcp_state; /* mvt_tcp_state_t */
	uint8_t tclass;	   /* MVT_TIMEOUT_*, of the mapping's policy */
} mvt_session_t;

/* NULL when memory is refused. => max <= 2^30 */
mvt_sessions_t *mvt_sessions_new (uint32_t max, const mvt_secret_t *secret, const mvt_mem_t *mem);
void mvt_sessions_remove (mvt_sessions_t *sessions);
/* Its place, MVT_NONE when there is none. */
uint32_t mvt_sessions_find (const mvt_sessions_t *sessions, uint32_t line, uint64_t remote);
/* Add one and chain it in front of *head (entry->sessions). Its place, MVT_NONE when the table is
 * full.
 *  => mvt_sessions_find would not find it; line is not 0 */
uint32_t mvt_sessions_add (mvt_sessions_t *sessions, uint32_t *head, uint32_t line,
			   uint64_t remote);
/* Remove the session that *link names, where link is the mapping's head or a sibling's; *link then
 * names the next one. */
void mvt_sessions_unlink (mvt_sessions_t *sessions, uint32_t *link);
mvt_session_t mvt_sessions_get (const mvt_sessions_t *sessions, uint32_t place);
/* Between batches, where mappings are such as have further sessions: a step towards memory for
 * them, true if it took one. Whoever adds the first one before all steps were done waits for them.
 */
bool mvt_sessions_back_ahead (mvt_sessions_t *sessions);
/* Sessions, counted the long way, and every one found: 0 or the broken check's line. */
int mvt_sessions_verify (const mvt_sessions_t *sessions);

static inline uint32_t
mvt_sessions_count (const mvt_sessions_t *sessions)
{
	return sessions->count;
}

/* Where the place of the next session of the same mapping stands, MVT_NONE if there is none. */
static inline uint32_t *
mvt_sessions_sibling (mvt_sessions_t *sessions, uint32_t place)
{
	return &sessions->sides[place / MVT_SESSION_SLOTS].sibling[place % MVT_SESSION_SLOTS];
}

/* ---- hot path ---- */

static inline mvt_session_bucket_t *
mvt_sessions_bucket_of (const mvt_sessions_t *sessions, uint32_t place)
{
	return &sessions->buckets[place / MVT_SESSION_SLOTS];
}

/* The place where a session's hash leads to: the first of a bucket. */
static inline uint32_t
mvt_sessions_hashed (const mvt_sessions_t *sessions, uint32_t line, uint64_t remote)
{
	uint32_t hash = mvt_hash_words (&remote, 1, line, &sessions->secret);
	return (uint32_t) ((uint64_t) hash * sessions->n >> 32) * MVT_SESSION_SLOTS;
}

static inline uint32_t
mvt_session_state (uint64_t remote, unsigned tcp_state, unsigned tclass)
{
	return (uint32_t) (remote >> 32) | tcp_state << 16 | tclass << 24;
}

/* Is one of the bucket's sessions this one, in this state, and refreshed in this tick? Which one is
 * not asked: nobody can predict it. */
static inline bool
mvt_sessions_fresh (const mvt_session_bucket_t *b, uint32_t line, uint32_t rem_addr, uint32_t state,
		    uint32_t now)
{
	typedef uint64_t halves_t __attribute__ ((vector_size (sizeof (mvt_session_words_t))));
	halves_t is = (halves_t) ((b->rem_addr == rem_addr) & (b->state == state) &
				  (b->last == now) & (b->line == line));
	return (is[0] | is[1]) != 0;
}

static inline void
mvt_sessions_touch (mvt_sessions_t *sessions, uint32_t place, uint32_t now)
{
	mvt_sessions_bucket_of (sessions, place)->last[place % MVT_SESSION_SLOTS] = now;
}

static inline void
mvt_sessions_set (mvt_sessions_t *sessions, uint32_t place, unsigned tcp_state, unsigned tclass,
		  uint32_t now)
{
	mvt_session_bucket_t *b = mvt_sessions_bucket_of (sessions, place);
	uint32_t slot = place % MVT_SESSION_SLOTS;

	b->state[slot] = (b->state[slot] & 0xffff) | tcp_state << 16 | tclass << 24;
	b->last[slot] = now;
}

#endif /* MVT_SESSION_H */

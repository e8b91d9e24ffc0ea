/* SPDX-License-Identifier: Apache-2.0
 *
 * mvt_sessions_t: the further sessions of an instance, bounded, found by mapping and remote.
 *
 * A mapping's first session lies inline in its entry (mvt_entry.h), so most packets never come
 * here. What does: a second remote endpoint of a TCP mapping, and, where filtering is not
 * endpoint-independent, a second remote of a UDP or ICMP mapping. A session with remote port 0
 * stands for the whole address (address-dependent filtering).
 *
 * Sessions lie in buckets of four places, one cache line each, which is all that a packet needs and
 * can be asked for ahead. A bucket is laid out field by field, so that a packet is compared with
 * all four at once.
 *
 *   own bucket  of one mapping, up to four sessions; entry->sessions leads there, so the remote is
 *               not hashed and the bucket of a busy mapping is in the caches
 *   table       where a mapping has more, all of them, by a keyed hash. One that finds its bucket
 *               full lies in one of the next, and the buckets that it passed count it, so that a
 *               miss is one bucket where the count is 0. At full size half of the places are taken,
 *               and a session in 25 lies elsewhere. The number of buckets where one may lie is
 *               bounded; when they are full, the session is refused
 *
 * A session that no packet asks for (a permission, nat44_mapping.c) lies in the table always, apart
 * from its mapping's others.
 *
 * Sessions of one mapping are chained from entry->sessions, those of its own bucket first. Owner
 * thread only. All memory is reserved at creation, 74 bytes per session. It is backed as own
 * buckets are used, and, for the table, when a mapping has filled its own.
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
	mvt_session_words_t state; /* remote port and more: mvt_session_state; 0: free */
	mvt_session_words_t last;  /* tick of the last refresh */
	union
	{
		mvt_session_words_t line;	     /* table: of the mapping */
		uint32_t sibling[MVT_SESSION_SLOTS]; /* own: the mapping's next session */
	};
} mvt_session_bucket_t;

_Static_assert (sizeof (mvt_session_bucket_t) == MVT_CACHE_LINE, "a bucket is one cache line");

/* What no packet asks for as long as it finds its session in the table. */
typedef struct
{
	uint32_t sibling[MVT_SESSION_SLOTS]; /* the mapping's next session */
	uint32_t passed;		     /* sessions that lie beyond this bucket */
} mvt_session_side_t;

/* A session is known by its place: bucket * MVT_SESSION_SLOTS + slot, own buckets first. */
typedef struct
{
	mvt_session_bucket_t *own;
	mvt_session_bucket_t *table;
	mvt_session_side_t *sides; /* of the table's buckets */
	uint32_t own_places;	   /* of all own buckets; the table's follow */
	uint32_t n_table;	   /* buckets that a hash leads to */
	uint32_t own_used;	   /* own buckets from here on were never used */
	uint32_t own_free;	   /* the others that are free, chained by sibling[0] */
	uint32_t count, max;
	uint32_t in_table; /* of count */
	bool wants_table;
	mvt_backed_t backed_own;
	mvt_backed_t backed_table, backed_sides; /* all of them, or none is read */
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
	uint32_t last;
	uint8_t tcp_state; /* mvt_tcp_state_t */
	uint8_t tclass;	   /* MVT_TIMEOUT_*, of the mapping's policy */
} mvt_session_t;

/* NULL when memory is refused. => max < 2^30 */
mvt_sessions_t *mvt_sessions_new (uint32_t max, const mvt_secret_t *secret, const mvt_mem_t *mem);
void mvt_sessions_remove (mvt_sessions_t *sessions);
/* Place of a session of the mapping at `line` whose chain begins at head, MVT_NONE when there is
 * none. */
uint32_t mvt_sessions_find (const mvt_sessions_t *sessions, uint32_t head, uint32_t line,
			    uint64_t remote);
/* Add one and chain it to *head (entry->sessions); apart: no packet will ask for it. Its place,
 * MVT_NONE when there is no room. The mapping's other sessions may change their places.
 *  => mvt_sessions_find would not find it; line is not 0 */
uint32_t mvt_sessions_add (mvt_sessions_t *sessions, uint32_t *head, uint32_t line, uint64_t remote,
			   bool apart);
/* Remove the session that *link names, where link is the mapping's head or a sibling's; *link then
 * names the next one. */
void mvt_sessions_unlink (mvt_sessions_t *sessions, uint32_t *link);
/* Between batches, where mappings are such as have further sessions: a step towards memory for
 * them, true if it took one. Whoever adds a session before all steps were done waits for them. */
bool mvt_sessions_back_ahead (mvt_sessions_t *sessions);
/* Whether a place of the chain that begins at head may be this mapping's. */
bool mvt_sessions_is_of (const mvt_sessions_t *sessions, uint32_t place, uint32_t head,
			 uint32_t line);
/* Sessions, counted the long way, and those of the table found: 0 or the broken check's line. */
int mvt_sessions_verify (const mvt_sessions_t *sessions);

static inline uint32_t
mvt_sessions_count (const mvt_sessions_t *sessions)
{
	return sessions->count;
}

/* ---- hot path ---- */

/* Does it lie in an own bucket? Also asked of a chain's head: MVT_NONE does not. */
static inline bool
mvt_sessions_is_own (const mvt_sessions_t *sessions, uint32_t place)
{
	return place < sessions->own_places;
}

/* => mvt_sessions_is_own */
static inline mvt_session_bucket_t *
mvt_sessions_own (const mvt_sessions_t *sessions, uint32_t place)
{
	return &sessions->own[place / MVT_SESSION_SLOTS];
}

/* The table's bucket that a session's hash leads to. */
static inline uint32_t
mvt_sessions_hash (const mvt_sessions_t *sessions, uint32_t line, uint64_t remote)
{
	uint32_t hash = mvt_hash_words (&remote, 1, line, &sessions->secret);
	return (uint32_t) ((uint64_t) hash * sessions->n_table >> 32);
}

#define MVT_SESSION_USED  (1u << 31)
#define MVT_SESSION_APART (1u << 30)

static inline uint32_t
mvt_session_state (uint64_t remote, unsigned tcp_state, unsigned tclass)
{
	return MVT_SESSION_USED | tclass << 24 | tcp_state << 16 | (uint32_t) (remote >> 32);
}

/* All ones for each place of a bucket whose session has this remote, is in this state, and was
 * refreshed in this tick. */
static inline mvt_session_words_t
mvt_sessions_fresh (const mvt_session_bucket_t *b, uint64_t remote, uint32_t state, uint32_t now)
{
	return (mvt_session_words_t) ((b->rem_addr == (uint32_t) remote) & (b->state == state) &
				      (b->last == now));
}

/* Not 0 when any place has ones. */
static inline uint64_t
mvt_sessions_any (mvt_session_words_t of)
{
	typedef uint64_t halves_t __attribute__ ((vector_size (sizeof of)));
	halves_t halves = (halves_t) of;
	return halves[0] | halves[1];
}

/* ---- one session ---- */

static inline mvt_session_bucket_t *
mvt_sessions_bucket (const mvt_sessions_t *sessions, uint32_t place)
{
	return mvt_sessions_is_own (sessions, place)
		       ? mvt_sessions_own (sessions, place)
		       : &sessions->table[(place - sessions->own_places) / MVT_SESSION_SLOTS];
}

static inline mvt_session_t
mvt_sessions_get (const mvt_sessions_t *sessions, uint32_t place)
{
	const mvt_session_bucket_t *b = mvt_sessions_bucket (sessions, place);
	uint32_t slot = place % MVT_SESSION_SLOTS, state = b->state[slot];

	return (mvt_session_t){
		.remote = mvt_session_remote (b->rem_addr[slot], (uint16_t) state),
		.last = b->last[slot],
		.tcp_state = (uint8_t) (state >> 16),
		.tclass = state >> 24 & 0xf,
	};
}

/* Where the place of the next session of the same mapping stands, MVT_NONE if there is none. */
static inline uint32_t *
mvt_sessions_sibling (const mvt_sessions_t *sessions, uint32_t place)
{
	uint32_t slot = place % MVT_SESSION_SLOTS;

	if (mvt_sessions_is_own (sessions, place))
		return &mvt_sessions_own (sessions, place)->sibling[slot];
	return &sessions->sides[(place - sessions->own_places) / MVT_SESSION_SLOTS].sibling[slot];
}

static inline void
mvt_sessions_touch (mvt_sessions_t *sessions, uint32_t place, uint32_t now)
{
	mvt_sessions_bucket (sessions, place)->last[place % MVT_SESSION_SLOTS] = now;
}

static inline void
mvt_sessions_set (mvt_sessions_t *sessions, uint32_t place, unsigned tcp_state, unsigned tclass,
		  uint32_t now)
{
	mvt_session_bucket_t *b = mvt_sessions_bucket (sessions, place);
	uint32_t slot = place % MVT_SESSION_SLOTS;
	uint32_t kept = b->state[slot] & (MVT_SESSION_APART | 0xffff);

	b->state[slot] = kept | mvt_session_state (0, tcp_state, tclass);
	b->last[slot] = now;
}

#endif /* MVT_SESSION_H */

/* SPDX-License-Identifier: Apache-2.0
 *
 * mvt_sessions_t: the further sessions of an instance, a bounded table keyed (mapping, remote).
 *
 * A mapping's first session lies inline in its entry (mvt_entry.h), so most packets never come
 * here. What does: a second remote endpoint of a TCP mapping, and, where filtering is not
 * endpoint-independent, a second remote of a UDP or ICMP mapping. A record with remote port 0
 * stands for the whole address (address-dependent filtering).
 *
 * A keyed hash leads to a bucket of four records, which is one cache line and all that a packet
 * needs: it can be asked for ahead. A record that finds its bucket full lies in one of the next
 * ones, and the buckets that it passed count it, so that a miss is one line where the count is 0.
 * Records never move. At full size half of the places are taken, and a record in 25 lies elsewhere.
 * The number of places where one may lie is bounded; when they are taken, the table refuses, as it
 * does when it is full.
 *
 * Records of one mapping are chained from entry->sessions, beside the table. Owner thread only. All
 * memory is reserved at creation, 40 bytes per session, and backed when mappings come that may have
 * further ones.
 */
#ifndef MVT_SESSION_H
#define MVT_SESSION_H

#include "mvt_backed.h"
#include "mvt_crc32c.h"
#include "mvt_types.h"

#define MVT_SESSION_SLOTS  4u  /* of a bucket */
#define MVT_SESSION_PROBES 16u /* buckets where a record may lie */

typedef struct
{
	uint32_t rem_addr;
	uint16_t rem_port;
	uint16_t line_low; /* of the mapping's line; a line of 0 is a free record */
	uint32_t last;	   /* tick of the last refresh */
	uint16_t line_high;
	uint8_t tcp_state : 4; /* mvt_tcp_state_t */
	uint8_t tclass : 4;    /* MVT_TIMEOUT_*, of the mapping's policy */
	uint8_t passed;	       /* a bucket's first: records that lie beyond this bucket */
} mvt_session_t;

_Static_assert (sizeof (mvt_session_t) * MVT_SESSION_SLOTS == MVT_CACHE_LINE,
		"a bucket is one cache line");

typedef struct
{
	mvt_session_t *records; /* bucket by bucket */
	uint32_t *sibling;	/* by record: next session of the same mapping */
	uint32_t n;		/* buckets that a hash leads to */
	uint32_t count, max;
	mvt_backed_t backed, backed_siblings; /* all of them, or none is read */
	mvt_secret_t secret;
	mvt_mem_t mem;
} mvt_sessions_t;

/* NULL when memory is refused. => max <= 2^30 */
mvt_sessions_t *mvt_sessions_new (uint32_t max, const mvt_secret_t *secret, const mvt_mem_t *mem);
void mvt_sessions_remove (mvt_sessions_t *sessions);
/* NULL when there is none. */
mvt_session_t *mvt_sessions_find (mvt_sessions_t *sessions, uint32_t line, uint32_t rem_addr,
				  uint16_t rem_port);
/* Add one and chain it in front of *head (entry->sessions). NULL when the table is full.
 *  => mvt_sessions_find would not find it; line is not 0 */
mvt_session_t *mvt_sessions_add (mvt_sessions_t *sessions, uint32_t *head, uint32_t line,
				 uint32_t rem_addr, uint16_t rem_port);
/* Remove the session that *link points to, where link is the mapping's head or a sibling's;
 * *link then names the next one. */
void mvt_sessions_unlink (mvt_sessions_t *sessions, uint32_t *link);
/* Between batches, where mappings are such as have further sessions: a step towards memory for
 * them, true if it took one. Whoever adds the first one before all steps were done waits for them.
 */
bool mvt_sessions_back_ahead (mvt_sessions_t *sessions);
/* Records in use, counted the long way, and every one found: 0 or the broken check's line. */
int mvt_sessions_verify (mvt_sessions_t *sessions);

static inline uint32_t
mvt_sessions_count (const mvt_sessions_t *sessions)
{
	return sessions->count;
}

static inline mvt_session_t *
mvt_sessions_at (mvt_sessions_t *sessions, uint32_t index)
{
	return &sessions->records[index];
}

/* Where the index of the next session of the same mapping stands, MVT_NONE if there is none. */
static inline uint32_t *
mvt_sessions_sibling (mvt_sessions_t *sessions, uint32_t index)
{
	return &sessions->sibling[index];
}

static inline uint32_t
mvt_session_line (const mvt_session_t *s)
{
	return (uint32_t) s->line_high << 16 | s->line_low;
}

static inline void
mvt_session_set (mvt_session_t *s, unsigned tcp_state, unsigned tclass, uint32_t now)
{
	s->tcp_state = tcp_state & 15u;
	s->tclass = tclass & 15u;
	s->last = now;
}

/* ---- hot path ---- */

/* The first record of the bucket that a session's hash leads to. */
static inline uint32_t
mvt_sessions_bucket (const mvt_sessions_t *sessions, uint32_t line, uint32_t rem_addr,
		     uint16_t rem_port)
{
	uint64_t key = (uint64_t) line << 32 | rem_addr;
	uint32_t hash = mvt_hash_words (&key, 1, rem_port, &sessions->secret);
	return (uint32_t) ((uint64_t) hash * sessions->n >> 32) * MVT_SESSION_SLOTS;
}

static inline bool
mvt_session_is (const mvt_session_t *s, uint32_t line, uint32_t rem_addr, uint16_t rem_port)
{
	return s->rem_addr == rem_addr && s->rem_port == rem_port && mvt_session_line (s) == line;
}

/* Moves *s, a bucket's first record, to the one of this session; 0 when it is there, else anything:
 * ask mvt_sessions_find. Without a branch, for which of the four it is nobody can predict. */
static inline uint64_t
mvt_sessions_candidate (mvt_session_t **s, uint32_t line, uint32_t rem_addr, uint16_t rem_port)
{
	uint64_t key = rem_addr | (uint64_t) rem_port << 32 | (uint64_t) line << 48, word;
	uint32_t at = 0;

	_Static_assert (offsetof (mvt_session_t, line_low) == 6, "the first word is the key");
	for (uint32_t i = 1; i < MVT_SESSION_SLOTS; i++)
	{
		__builtin_memcpy (&word, *s + i, sizeof word);
		at |= i & -(uint32_t) (word == key);
	}
	*s += at;
	__builtin_memcpy (&word, *s, sizeof word);
	return (word ^ key) | ((*s)->line_high ^ line >> 16);
}

#endif /* MVT_SESSION_H */

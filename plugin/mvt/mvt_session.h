/* SPDX-License-Identifier: Apache-2.0
 *
 * mvt_sessions_t: the further sessions of an instance, a bounded table keyed (mapping, remote).
 *
 * A mapping's first session lies inline in its entry (mvt_entry.h), so most packets never come
 * here. What does: a second remote endpoint of a TCP mapping, and, where filtering is not
 * endpoint-independent, a second remote of a UDP or ICMP mapping. A record with remote port 0
 * stands for the whole address (address-dependent filtering).
 *
 * Records of one mapping are chained from entry->sessions; of one hash bucket from the bucket.
 * Owner thread only. All memory is reserved at creation, lazily backed. A full table refuses.
 */
#ifndef MVT_SESSION_H
#define MVT_SESSION_H

#include "mvt_crc32c.h"
#include "mvt_types.h"

typedef struct
{
	uint32_t line; /* of the mapping */
	uint32_t rem_addr;
	uint16_t rem_port;
	uint16_t tclass;
	uint8_t tcp_state;
	uint8_t pad[3];
	uint32_t last;	  /* tick of the last refresh */
	uint32_t sibling; /* next session of the same mapping */
	uint32_t next;	  /* hash chain, or free list */
	uint32_t spare;
} mvt_session_t;

_Static_assert (sizeof (mvt_session_t) == 32, "two sessions in a cache line");

typedef struct mvt_sessions mvt_sessions_t;

/* NULL when memory is refused. */
mvt_sessions_t *mvt_sessions_new (uint32_t max, const mvt_secret_t *secret, const mvt_mem_t *mem);
void mvt_sessions_remove (mvt_sessions_t *sessions);
uint32_t mvt_sessions_count (const mvt_sessions_t *sessions);
mvt_session_t *mvt_sessions_at (mvt_sessions_t *sessions, uint32_t index);
/* NULL when there is none. */
mvt_session_t *mvt_sessions_find (mvt_sessions_t *sessions, uint32_t line, uint32_t rem_addr,
				  uint16_t rem_port);
/* Add one and chain it in front of *head (entry->sessions). NULL when the table is full.
 *  => mvt_sessions_find would not find it */
mvt_session_t *mvt_sessions_add (mvt_sessions_t *sessions, uint32_t *head, uint32_t line,
				 uint32_t rem_addr, uint16_t rem_port);
/* Remove the session that *link points to, where link is the mapping's head or a sibling field;
 * *link then names the next one. */
void mvt_sessions_unlink (mvt_sessions_t *sessions, uint32_t *link);
/* Between batches, where mappings are such as have further sessions: a step towards memory for the
 * next ones, true if it took one. */
bool mvt_sessions_back_ahead (mvt_sessions_t *sessions);
/* Records in use, counted the long way, and chains followed: 0 or the broken check's line. */
int mvt_sessions_verify (const mvt_sessions_t *sessions);

#endif /* MVT_SESSION_H */

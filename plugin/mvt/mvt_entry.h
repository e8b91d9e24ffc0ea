/* SPDX-License-Identifier: Apache-2.0
 *
 * mvt_entry_t: one external <address, port, protocol>, 64 bytes, one cache line.
 *
 * The entry is the pool element and the NAT mapping at once. While it is free its matching field
 * is <*>; once taken, the matching field is the inside endpoint. It lies in a slab whose place
 * follows from the external endpoint by arithmetic (mvt_pool.h), so out2in needs no hash.
 * Only the owning instance reads or writes it.
 */
#ifndef MVT_ENTRY_H
#define MVT_ENTRY_H

#include "mvt_types.h"

typedef enum
{
	MVT_ENTRY_FREE = 0,
	MVT_ENTRY_DYNAMIC = 1,
	MVT_ENTRY_HELD = 2,   /* freed, not to be reused yet (RFC 6888 REQ-8) */
	MVT_ENTRY_STATIC = 3, /* configured, never expires */
	MVT_ENTRY_LIVE = 1,   /* the bit that mappings have and free entries have not */
} mvt_entry_state_t;

typedef struct
{
	/* matching field: the inside endpoint */
	uint32_t in_addr;
	uint16_t in_port;
	uint16_t realm;
	/* the external endpoint */
	uint32_t ext_addr;
	uint16_t ext_port;
	uint8_t proto; /* mvt_proto_t */
	uint8_t state; /* mvt_entry_state_t */
	/* one's complement sums to add to a checksum in2out; their complements serve out2in */
	uint16_t delta_ip; /* address only: IPv4 header */
	uint16_t delta_l4; /* address and port: TCP, UDP (ICMP: port only) */
	uint32_t last;	 /* tick of the last packet that refreshed the mapping or inline session */
	uint16_t tclass; /* index into the timeout table: policy * MVT_TIMEOUT_N + class */
	uint8_t filter;	 /* mvt_filter_t */
	uint8_t tcp_state; /* of the inline session, mvt_tcp_state_t */
	uint32_t host;	   /* index of the inside host's record */
	/* the first session, inline */
	uint32_t rem_addr;
	uint16_t rem_port;
	uint16_t policy;     /* index into the policy set */
	uint32_t sessions;   /* head of further sessions in the session table, MVT_NONE if none */
	uint32_t created;    /* tick */
	uint32_t packets[2]; /* by direction, wrap at 2^32 */
	uint32_t freed_host; /* HELD: whose it was; the same host may have it again at once */
	uint32_t slab;	     /* index of the slab that it lies in */
} mvt_entry_t;

_Static_assert (sizeof (mvt_entry_t) == MVT_CACHE_LINE, "an entry is one cache line");
_Static_assert (offsetof (mvt_entry_t, rem_addr) == 32, "first half: what every packet needs");

#endif /* MVT_ENTRY_H */

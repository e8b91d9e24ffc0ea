/* SPDX-License-Identifier: Apache-2.0
 *
 * mvt_home_t: inside addresses -> instance, as an immutable, versioned snapshot.
 *
 * Two uses of one type. As *home map* it is the exact truth: read by an instance only when an
 * in2out packet has no mapping; home is me -> create, else hand over. As *dispatcher rules* it is
 * a copy of the home map, perhaps approximated; a wrong rule costs a hand-off, never a packet.
 *
 * A range is a prefix (longest wins; <*> is 0.0.0.0/0) whose value is one instance or a bucket
 * table (hash(host) -> instance, what a NIC calls RETA). A range that changes owner from A to B is
 * `closing` for the hosts that resolve to A (DESIGN 5, the three beats). A host pin is a /32
 * range. An opened host is a /32 range at B with the external address it keeps, plus endpoint
 * pins at A for what was live there.
 */
#ifndef MVT_HOME_H
#define MVT_HOME_H

#include "mvt_types.h"
#include "mvt_views.h"

#define MVT_HOME_BUCKETS   256u /* entries of a bucket table */
#define MVT_HOME_INSTANCES 64u	/* of a process at most; instance numbers are below */

enum
{
	MVT_HOME_F_CLOSING = 1 << 0,	 /* hosts resolving to `from` are moving to `to` */
	MVT_HOME_F_BY_ENDPOINT = 1 << 1, /* with CLOSING: `from` creates nothing new even for hosts
					    that it serves (a host is being opened) */
	MVT_HOME_F_OPENED = 1 << 2,	 /* /32 only: new mappings must use ext_addr */
};

typedef struct
{
	mvt_prefix4_t prefix;
	uint16_t realm;
	uint16_t instance; /* when table is MVT_NONE */
	uint32_t table;	   /* index of a bucket table, or MVT_NONE */
	uint16_t from, to; /* with CLOSING */
	uint32_t flags;
	uint32_t ext_addr; /* with OPENED */
} mvt_home_range_t;

typedef struct
{
	mvt_endpoint_t endpoint; /* inside endpoint */
	uint16_t realm;
	uint16_t instance;
} mvt_home_pin_t;

typedef struct
{
	uint64_t version;
	const mvt_home_range_t *ranges; /* must contain 0.0.0.0/0 of realm 0, which also serves
					   addresses of other realms that no range covers */
	uint32_t n_ranges;
	const uint16_t *tables; /* [n_tables][MVT_HOME_BUCKETS] */
	uint32_t n_tables;
	const mvt_home_pin_t *pins; /* endpoint pins */
	uint32_t n_pins;
	uint16_t n_instances; /* every instance named must be below; at most MVT_HOME_INSTANCES */
	uint64_t secret[4];   /* keys the tables */
	uint64_t bucket_key;  /* keys hash(host): the same in every version, independent of the
				 hash that chooses a host's external address */
} mvt_home_desc_t;

typedef struct
{
	uint16_t instance;
	uint16_t from, to; /* valid when flags has CLOSING, which is set only if the host resolves
			      to `from` */
	uint16_t pinned;   /* 1: by an endpoint pin */
	uint32_t flags;
	uint32_t ext_addr;
} mvt_home_answer_t;

typedef struct mvt_home mvt_home_t;

/* Every array is copied; bits of a prefix below its length are ignored. Returns NULL with *err
 * (which may not be NULL) INVALID, NO_MEMORY or FULL (a hash table found no place: try another
 * secret). INVALID: no default range; an instance, table, prefix length or protocol out of range;
 * one range or pin twice; CLOSING from an instance to itself; BY_ENDPOINT without CLOSING; OPENED
 * that is no /32 or without ext_addr.
 * The caller owns the map; mem must outlive it. */
mvt_home_t *mvt_home_new (const mvt_home_desc_t *desc, const mvt_mem_t *mem, mvt_err_t *err);
void mvt_home_remove (mvt_home_t *home);
uint64_t mvt_home_version (const mvt_home_t *home);

/* Turn a thread's view (MVT_MATCH_RULES or _HOME) to the map's ranges; NULL: to none. */
void mvt_home_attach (const mvt_home_t *home, mvt_views_t *views, mvt_match_t which);

/* Any thread; writes nothing, but to its own views (NULL: it has none; home is looked at as home
 * map). port and proto matter only where endpoint pins exist. The instance
 * is that of the endpoint pin, else of the longest range. What else the answer says:
 *   CLOSING   the longest range is closing and the instance is its `from`. For a pinned endpoint
 *             only if that range is the host's own /32: pins and host pins are longer than, and
 *             so not part of, a closing prefix around them.
 *   OPENED    with ext_addr, also for the host's pinned endpoints: they keep its address too.
 * Fields that are not said to be valid are 0. */
void mvt_home_lookup_by (const mvt_home_t *home, mvt_views_t *views, uint16_t realm, uint32_t addr,
			 uint16_t port, uint8_t proto, mvt_home_answer_t *answer);

static inline void
mvt_home_lookup (const mvt_home_t *home, uint16_t realm, uint32_t addr, uint16_t port,
		 uint8_t proto, mvt_home_answer_t *answer)
{
	mvt_home_lookup_by (home, NULL, realm, addr, port, proto, answer);
}

/* hash(host) -> bucket, 0..255. */
uint32_t mvt_home_bucket (uint64_t bucket_key, uint16_t realm, uint32_t addr);

/* The covering range of addr as it was described, for `show rules`. Always true: the default
 * covers everything. */
bool mvt_home_range_of (const mvt_home_t *home, uint16_t realm, uint32_t addr,
			mvt_home_range_t *range);

/* The first bytes of a map, for the inlines below. */
typedef struct
{
	uint64_t version;
	uint32_t single; /* the one instance of everything, or MVT_NONE */
	uint32_t n_pins; /* endpoint pins; 0: ports do not matter */
} mvt_home_head_t;

static inline const mvt_home_head_t *
mvt_home_head (const mvt_home_t *home)
{
	return (const mvt_home_head_t *) (const void *) home;
}

/* Does the answer depend on ports? */
static inline bool
mvt_home_has_pins (const mvt_home_t *home)
{
	return mvt_home_head (home)->n_pins != 0;
}

uint16_t mvt_home_instance_slow (const mvt_home_t *home, mvt_views_t *views, uint16_t realm,
				 uint32_t addr, uint16_t port, uint8_t proto);

/* The instance alone: the dispatcher's question, home is looked at as rules. One instance for
 * everything (a single <*> range without table and pins) costs no lookup. */
static inline uint16_t
mvt_home_instance_by (const mvt_home_t *home, mvt_views_t *views, uint16_t realm, uint32_t addr,
		      uint16_t port, uint8_t proto)
{
	uint32_t single = mvt_home_head (home)->single;
	if (mvt_likely (single != MVT_NONE))
		return (uint16_t) single;
	return mvt_home_instance_slow (home, views, realm, addr, port, proto);
}

static inline uint16_t
mvt_home_instance (const mvt_home_t *home, uint16_t realm, uint32_t addr, uint16_t port,
		   uint8_t proto)
{
	return mvt_home_instance_by (home, NULL, realm, addr, port, proto);
}

#endif /* MVT_HOME_H */

/* SPDX-License-Identifier: Apache-2.0
 *
 * mvt_views_t: one thread's own eyes on the prefix tables that all threads read. For each table
 * it has a state cache and counters (mvt_view_t), and counts each entry, without a shared write.
 * The tables are those of the snapshots in force (mvt_shared.h); mvt_views_update turns the views
 * to them. An instance owns one; its host's dispatcher on the same thread may use it too.
 */
#ifndef MVT_VIEWS_H
#define MVT_VIEWS_H

#include "mvt_table.h"
#include "mvt_types.h"

#define foreach_mvt_match                                          \
	_ (RULES, rules, "dispatcher's rules: which instance")     \
	_ (HOME, home, "home map: who makes a mapping")            \
	_ (INSIDE, inside, "inside prefixes: which policy")        \
	_ (EXEMPT, exempt, "destinations that are not translated") \
	_ (STATIC_IN, static_in, "1:1 rules by inside address")    \
	_ (STATIC_OUT, static_out, "1:1 rules by outside address")

typedef enum
{
#define _(NAME, name, text) MVT_MATCH_##NAME,
	foreach_mvt_match
#undef _
		MVT_MATCH_N
} mvt_match_t;

/* A table and how one instance has matched in it. chained: entries that found no place in their
 * bucket, and lie in a chain beside it. */
typedef struct
{
	mvt_match_stats_t match; /* since the instance began */
	uint32_t entries;
	uint32_t chained;
} mvt_match_info_t;

/* How often an entry was the longest match, since its table came into force; of the first
 * MVT_VIEW_ROWS. */
typedef struct
{
	mvt_prefix4_t prefix;
	uint64_t hits;
} mvt_entry_hits_t;

typedef struct mvt_views mvt_views_t;

/* Views on no table yet. NULL when there is no memory. The caller owns them. */
mvt_views_t *mvt_views_new (const mvt_mem_t *mem);
void mvt_views_remove (mvt_views_t *views);
/* Turn a view to a table of addresses, NULL for none. What was cached is forgotten, counters go
 * on. => the table is in force until the next call */
void mvt_views_attach (mvt_views_t *views, mvt_match_t which, const mvt_t *table);
/* Longest match of addr in a table: through the thread's own view if it looks at that table (views
 * may be NULL), else without cache and counters. Row or MVT_NONE. */
uint32_t mvt_views_find (mvt_views_t *views, mvt_match_t which, const mvt_t *table, uint32_t addr);
void mvt_views_info (const mvt_views_t *views, mvt_match_info_t info[MVT_MATCH_N]);
/* The next entries of a table that are counted, from *cursor on (0 to begin), at most max; how
 * many. *cursor is MVT_NONE at the end. */
uint32_t mvt_views_hits (const mvt_views_t *views, mvt_match_t which, uint32_t *cursor,
			 mvt_entry_hits_t *out, uint32_t max);

const char *mvt_match_name (unsigned which);

#endif /* MVT_VIEWS_H */

/* SPDX-License-Identifier: Apache-2.0 */
#include "mvt_views.h"

/* 8 KiB for each table that is asked, so that they leave the nearest cache to packets. */
#define CACHE_LINES 512u

struct mvt_views
{
	const mvt_t *table[MVT_MATCH_N]; /* that the view looks at; NULL: none */
	mvt_view_t *view[MVT_MATCH_N];
	mvt_mem_t mem;
};

mvt_views_t *
mvt_views_new (const mvt_mem_t *mem)
{
	mvt_views_t *views = mvt_mem_alloc (mem, sizeof *views, MVT_CACHE_LINE);

	if (!views)
		return NULL;
	views->mem = *mem;
	for (unsigned i = 0; i < MVT_MATCH_N; i++)
	{
		views->view[i] = mvt_view_new (NULL, CACHE_LINES, mem);
		if (!views->view[i])
		{
			mvt_views_remove (views);
			return NULL;
		}
	}
	return views;
}

void
mvt_views_remove (mvt_views_t *views)
{
	if (!views)
		return;
	mvt_mem_t mem = views->mem;
	for (unsigned i = 0; i < MVT_MATCH_N; i++)
		mvt_view_remove (views->view[i]);
	mvt_mem_free (&mem, views, sizeof *views);
}

void
mvt_views_attach (mvt_views_t *views, mvt_match_t which, const mvt_t *table)
{
	views->table[which] = table;
	if (table)
		mvt_view_attach (views->view[which], table);
}

uint32_t
mvt_views_find (mvt_views_t *views, mvt_match_t which, const mvt_t *table, uint32_t addr)
{
	if (mvt_likely (views && views->table[which] == table))
		return mvt_view_lookup4 (views->view[which], addr, 0);
	return mvt_lookup4_shared (table, addr, 0);
}

void
mvt_views_info (const mvt_views_t *views, mvt_match_info_t info[MVT_MATCH_N])
{
	for (unsigned i = 0; i < MVT_MATCH_N; i++)
	{
		mvt_stats_t stats = { 0 };
		if (views->table[i])
			mvt_stats (views->table[i], &stats);
		mvt_view_stats (views->view[i], &info[i].match);
		info[i].entries = stats.entries;
		info[i].chained = stats.stashed;
	}
}

uint32_t
mvt_views_hits (const mvt_views_t *views, mvt_match_t which, uint32_t *cursor,
		mvt_entry_hits_t *out, uint32_t max)
{
	const mvt_t *table = views->table[which];
	uint32_t n = 0, row;

	while (n < max && table && mvt_iterate (table, cursor, &row) && row < MVT_VIEW_ROWS)
	{
		out[n++] = (mvt_entry_hits_t){
			.prefix = { .addr = mvt_load32 (mvt_field (table, row)),
				    .len = (uint8_t) mvt_value (table, row)->len },
			.hits = mvt_view_hits (views->view[which], row),
		};
	}
	if (n < max)
		*cursor = MVT_NONE;
	return n;
}

const char *
mvt_match_name (unsigned which)
{
	static const char *const names[] = {
#define _(NAME, name, text) #name,
		foreach_mvt_match
#undef _
	};
	return which < MVT_MATCH_N ? names[which] : "unknown";
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "mvt_index.h"

_Static_assert (offsetof (mvt_entry_t, in_addr) == 0 && offsetof (mvt_entry_t, in_port) == 4 &&
			offsetof (mvt_entry_t, realm) == 6,
		"the compiler joins the key's comparison into one word");

mvt_index_t *
mvt_index_new (uint32_t max_entries, const mvt_secret_t *secret, const mvt_mem_t *mem)
{
	mvt_index_t *ix = mvt_mem_alloc (mem, sizeof *ix, MVT_CACHE_LINE);
	if (!ix)
		return NULL;
	ix->secret = *secret;
	ix->mem = *mem;
	if (mvt_buckets_init (&ix->buckets, max_entries, mem) != MVT_OK)
	{
		mvt_mem_free (mem, ix, sizeof *ix);
		return NULL;
	}
	return ix;
}

void
mvt_index_remove (mvt_index_t *ix)
{
	if (!ix)
		return;
	mvt_mem_t mem = ix->mem;
	mvt_buckets_exit (&ix->buckets, &mem);
	mvt_mem_free (&mem, ix, sizeof *ix);
}

int
mvt_index_insert (mvt_index_t *ix, uint32_t hash, uint32_t line)
{
	return mvt_buckets_insert (&ix->buckets, hash, line);
}

int
mvt_index_delete (mvt_index_t *ix, uint32_t hash, uint32_t line)
{
	return mvt_buckets_delete (&ix->buckets, hash, line);
}

typedef struct
{
	const mvt_index_t *ix;
	const mvt_entry_t *lines;
} verify_ctx_t;

static uint32_t
line_hash (const void *ctx, uint32_t line)
{
	const verify_ctx_t *v = ctx;
	const mvt_entry_t *e = &v->lines[line];
	return mvt_index_hash (v->ix, e->in_addr, e->in_port, e->proto, e->realm);
}

int
mvt_index_verify (const mvt_index_t *ix, const mvt_entry_t *lines)
{
	verify_ctx_t v = { ix, lines };
	return mvt_buckets_verify (&ix->buckets, line_hash, &v);
}

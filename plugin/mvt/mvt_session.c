/* SPDX-License-Identifier: Apache-2.0 */
#include "mvt_session.h"

#include "mvt_backed.h"

struct mvt_sessions
{
	mvt_session_t *records;
	uint32_t *buckets; /* record index + 1, so that zeroed memory is an empty table */
	uint32_t bucket_mask;
	uint32_t max;
	uint32_t count;
	uint32_t touched;	     /* records from here on were never used */
	uint32_t free;		     /* head of the free list, MVT_NONE if empty */
	mvt_backed_t backed;	     /* records */
	mvt_backed_t backed_buckets; /* all of them, or none is read */
	mvt_secret_t secret;
	mvt_mem_t mem;
};

static size_t
records_size (uint32_t max)
{
	return (size_t) max * sizeof (mvt_session_t);
}

static uint32_t
bucket_count (uint32_t max)
{
	uint32_t n = 64;
	while (n < max && n < 1u << 31)
		n <<= 1;
	return n;
}

mvt_sessions_t *
mvt_sessions_new (uint32_t max, const mvt_secret_t *secret, const mvt_mem_t *mem)
{
	mvt_sessions_t *s = mvt_mem_alloc (mem, sizeof *s, MVT_CACHE_LINE);
	if (!s)
		return NULL;
	uint32_t n = bucket_count (max);
	s->mem = *mem;
	s->max = max;
	s->bucket_mask = n - 1;
	s->free = MVT_NONE;
	s->secret = *secret;
	s->records = mvt_mem_reserve (mem, records_size (max), MVT_CACHE_LINE, true);
	s->buckets = mvt_mem_reserve (mem, n * sizeof (uint32_t), MVT_CACHE_LINE, true);
	if (!s->records || !s->buckets)
	{
		mvt_sessions_remove (s);
		return NULL;
	}
	mvt_backed_init (&s->backed, s->records, records_size (max), mem);
	mvt_backed_init (&s->backed_buckets, s->buckets, n * sizeof (uint32_t), mem);
	return s;
}

void
mvt_sessions_remove (mvt_sessions_t *s)
{
	if (!s)
		return;
	mvt_mem_t mem = s->mem;
	mvt_mem_free (&mem, s->records, records_size (s->max));
	mvt_mem_free (&mem, s->buckets, (s->bucket_mask + 1) * sizeof (uint32_t));
	mvt_mem_free (&mem, s, sizeof *s);
}

uint32_t
mvt_sessions_count (const mvt_sessions_t *s)
{
	return s->count;
}

mvt_session_t *
mvt_sessions_at (mvt_sessions_t *s, uint32_t index)
{
	return &s->records[index];
}

static uint32_t *
bucket_of (mvt_sessions_t *s, uint32_t line, uint32_t rem_addr, uint16_t rem_port)
{
	uint64_t words[2] = { (uint64_t) line << 32 | rem_addr, rem_port };
	return &s->buckets[mvt_hash_words (words, 2, 0, &s->secret) & s->bucket_mask];
}

mvt_session_t *
mvt_sessions_find (mvt_sessions_t *s, uint32_t line, uint32_t rem_addr, uint16_t rem_port)
{
	if (!s->count)
		return NULL;
	for (uint32_t i = *bucket_of (s, line, rem_addr, rem_port); i; i = s->records[i - 1].next)
	{
		mvt_session_t *r = &s->records[i - 1];
		if (r->line == line && r->rem_addr == rem_addr && r->rem_port == rem_port)
			return r;
	}
	return NULL;
}

mvt_session_t *
mvt_sessions_add (mvt_sessions_t *s, uint32_t *head, uint32_t line, uint32_t rem_addr,
		  uint16_t rem_port)
{
	uint32_t i;
	if (s->free != MVT_NONE)
	{
		i = s->free;
		s->free = s->records[i].next;
	}
	else if (s->touched < s->max)
	{
		i = s->touched++;
		mvt_backed_need (&s->backed, records_size (s->touched));
		mvt_backed_need (&s->backed_buckets, s->backed_buckets.size);
	}
	else
		return NULL;

	uint32_t *bucket = bucket_of (s, line, rem_addr, rem_port);
	s->records[i] = (mvt_session_t){
		.line = line,
		.rem_addr = rem_addr,
		.rem_port = rem_port,
		.sibling = *head,
		.next = *bucket,
	};
	*bucket = i + 1;
	*head = i;
	s->count++;
	return &s->records[i];
}

void
mvt_sessions_unlink (mvt_sessions_t *s, uint32_t *link)
{
	uint32_t i = *link;
	mvt_session_t *r = &s->records[i];
	uint32_t *p = bucket_of (s, r->line, r->rem_addr, r->rem_port);

	*link = r->sibling;
	while (*p != i + 1)
		p = &s->records[*p - 1].next;
	*p = r->next;
	r->line = MVT_NONE;
	r->next = s->free;
	s->free = i;
	s->count--;
}

bool
mvt_sessions_back_ahead (mvt_sessions_t *s)
{
	return mvt_backed_ahead (&s->backed_buckets, 0, s->backed_buckets.size) ||
	       mvt_backed_ahead (&s->backed, records_size (s->touched), 2 * MVT_BACKED_STEP);
}

int
mvt_sessions_verify (const mvt_sessions_t *s)
{
	uint32_t n = 0, free = 0;
	for (uint32_t b = 0; s->touched && b <= s->bucket_mask; b++)
		for (uint32_t i = s->buckets[b]; i; i = s->records[i - 1].next)
			if (++n > s->count || s->records[i - 1].line == MVT_NONE)
				return __LINE__;
	for (uint32_t i = s->free; i != MVT_NONE; i = s->records[i].next)
		if (++free > s->touched || s->records[i].line != MVT_NONE)
			return __LINE__;
	return n == s->count && n + free == s->touched ? 0 : __LINE__;
}

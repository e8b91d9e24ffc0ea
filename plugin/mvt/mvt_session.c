/* SPDX-License-Identifier: Apache-2.0 */
#include "mvt_session.h"

/* Places beyond the last bucket that a hash leads to, so that probing needs no wrap. */
static size_t
places (const mvt_sessions_t *s)
{
	return ((size_t) s->n + MVT_SESSION_PROBES - 1) * MVT_SESSION_SLOTS;
}

mvt_sessions_t *
mvt_sessions_new (uint32_t max, const mvt_secret_t *secret, const mvt_mem_t *mem)
{
	mvt_sessions_t *s = mvt_mem_alloc (mem, sizeof *s, MVT_CACHE_LINE);
	if (!s)
		return NULL;
	s->mem = *mem;
	s->max = max;
	s->n = max / (MVT_SESSION_SLOTS / 2) + 1;
	s->secret = *secret;
	s->records = mvt_mem_reserve (mem, places (s) * sizeof *s->records, MVT_CACHE_LINE, true);
	s->sibling = mvt_mem_reserve (mem, places (s) * sizeof *s->sibling, MVT_CACHE_LINE, true);
	if (!s->records || !s->sibling)
	{
		mvt_sessions_remove (s);
		return NULL;
	}
	mvt_backed_init (&s->backed, s->records, places (s) * sizeof *s->records, mem);
	mvt_backed_init (&s->backed_siblings, s->sibling, places (s) * sizeof *s->sibling, mem);
	return s;
}

void
mvt_sessions_remove (mvt_sessions_t *s)
{
	if (!s)
		return;
	mvt_mem_t mem = s->mem;
	mvt_mem_free (&mem, s->records, places (s) * sizeof *s->records);
	mvt_mem_free (&mem, s->sibling, places (s) * sizeof *s->sibling);
	mvt_mem_free (&mem, s, sizeof *s);
}

static uint32_t
bucket_of (const mvt_sessions_t *s, const mvt_session_t *r)
{
	return mvt_sessions_bucket (s, mvt_session_line (r), r->rem_addr, r->rem_port);
}

mvt_session_t *
mvt_sessions_find (mvt_sessions_t *s, uint32_t line, uint32_t rem_addr, uint16_t rem_port)
{
	mvt_session_t *bucket = &s->records[mvt_sessions_bucket (s, line, rem_addr, rem_port)];

	for (; s->count; bucket += MVT_SESSION_SLOTS)
	{
		for (uint32_t i = 0; i < MVT_SESSION_SLOTS; i++)
			if (mvt_session_is (&bucket[i], line, rem_addr, rem_port))
				return &bucket[i];
		if (!bucket->passed)
			break;
	}
	return NULL;
}

/* The buckets from the one that r's hash leads to up to the one that it lies in: it is, or is no
 * more, beyond them. */
static void
count_passed (mvt_sessions_t *s, uint32_t r, int delta)
{
	uint32_t at = bucket_of (s, &s->records[r]);

	for (; at + MVT_SESSION_SLOTS <= r; at += MVT_SESSION_SLOTS)
		s->records[at].passed = (uint8_t) (s->records[at].passed + delta);
}

mvt_session_t *
mvt_sessions_add (mvt_sessions_t *s, uint32_t *head, uint32_t line, uint32_t rem_addr,
		  uint16_t rem_port)
{
	uint32_t r = mvt_sessions_bucket (s, line, rem_addr, rem_port);
	uint32_t end = r + MVT_SESSION_PROBES * MVT_SESSION_SLOTS;

	mvt_backed_need (&s->backed, s->backed.size);
	mvt_backed_need (&s->backed_siblings, s->backed_siblings.size);
	while (r < end && mvt_session_line (&s->records[r]))
		r++;
	if (r == end || s->count == s->max)
		return NULL;
	s->records[r] = (mvt_session_t){
		.rem_addr = rem_addr,
		.rem_port = rem_port,
		.line_low = (uint16_t) line,
		.line_high = (uint16_t) (line >> 16),
		.passed = s->records[r].passed,
	};
	count_passed (s, r, +1);
	s->sibling[r] = *head;
	*head = r;
	s->count++;
	return &s->records[r];
}

void
mvt_sessions_unlink (mvt_sessions_t *s, uint32_t *link)
{
	uint32_t r = *link;

	count_passed (s, r, -1);
	*link = s->sibling[r];
	s->records[r] = (mvt_session_t){ .passed = s->records[r].passed };
	s->count--;
}

bool
mvt_sessions_back_ahead (mvt_sessions_t *s)
{
	return mvt_backed_ahead (&s->backed, 0, s->backed.size) ||
	       mvt_backed_ahead (&s->backed_siblings, 0, s->backed_siblings.size);
}

int
mvt_sessions_verify (mvt_sessions_t *s)
{
	uint64_t passed = 0, passes = 0;
	uint32_t count = 0;

	for (uint32_t r = 0; r < s->backed.backed / sizeof *s->records; r++)
	{
		const mvt_session_t *at = &s->records[r];
		passed += at->passed;
		if (!mvt_session_line (at))
			continue;
		if (mvt_sessions_find (s, mvt_session_line (at), at->rem_addr, at->rem_port) != at)
			return __LINE__;
		passes += (r - bucket_of (s, at)) / MVT_SESSION_SLOTS;
		count++;
	}
	return count == s->count && passed == passes ? 0 : __LINE__;
}

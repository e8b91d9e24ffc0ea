/* SPDX-License-Identifier: Apache-2.0 */
#include "mvt_session.h"

/* With those beyond the last bucket that a hash leads to, so that probing needs no wrap. */
static size_t
all_buckets (const mvt_sessions_t *s)
{
	return (size_t) s->n + MVT_SESSION_PROBES - 1;
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
	size_t size = all_buckets (s) * sizeof *s->buckets;
	size_t side = all_buckets (s) * sizeof *s->sides;
	s->buckets = mvt_mem_reserve (mem, size, MVT_CACHE_LINE, true);
	s->sides = mvt_mem_reserve (mem, side, MVT_CACHE_LINE, true);
	if (!s->buckets || !s->sides)
	{
		mvt_sessions_remove (s);
		return NULL;
	}
	mvt_backed_init (&s->backed, s->buckets, size, mem);
	mvt_backed_init (&s->backed_sides, s->sides, side, mem);
	return s;
}

void
mvt_sessions_remove (mvt_sessions_t *s)
{
	if (!s)
		return;
	mvt_mem_t mem = s->mem;
	mvt_mem_free (&mem, s->buckets, all_buckets (s) * sizeof *s->buckets);
	mvt_mem_free (&mem, s->sides, all_buckets (s) * sizeof *s->sides);
	mvt_mem_free (&mem, s, sizeof *s);
}

mvt_session_t
mvt_sessions_get (const mvt_sessions_t *s, uint32_t place)
{
	const mvt_session_bucket_t *b = mvt_sessions_bucket_of (s, place);
	uint32_t slot = place % MVT_SESSION_SLOTS, state = b->state[slot];

	return (mvt_session_t){
		.remote = mvt_session_remote (b->rem_addr[slot], (uint16_t) state),
		.line = b->line[slot],
		.last = b->last[slot],
		.tcp_state = (uint8_t) (state >> 16),
		.tclass = (uint8_t) (state >> 24),
	};
}

static bool
is_at (const mvt_sessions_t *s, uint32_t place, uint32_t line, uint64_t remote)
{
	mvt_session_t at = mvt_sessions_get (s, place);
	return at.line == line && at.remote == remote;
}

uint32_t
mvt_sessions_find (const mvt_sessions_t *s, uint32_t line, uint64_t remote)
{
	uint32_t first = mvt_sessions_hashed (s, line, remote);

	for (; s->count; first += MVT_SESSION_SLOTS)
	{
		for (uint32_t place = first; place < first + MVT_SESSION_SLOTS; place++)
			if (is_at (s, place, line, remote))
				return place;
		if (!s->sides[first / MVT_SESSION_SLOTS].passed)
			break;
	}
	return MVT_NONE;
}

/* The buckets from the one that a session's hash leads to up to the one that it lies in: it is, or
 * is no more, beyond them. */
static void
count_passed (mvt_sessions_t *s, uint32_t place, uint32_t delta)
{
	mvt_session_t at = mvt_sessions_get (s, place);
	uint32_t bucket = mvt_sessions_hashed (s, at.line, at.remote) / MVT_SESSION_SLOTS;

	for (; bucket < place / MVT_SESSION_SLOTS; bucket++)
		s->sides[bucket].passed += delta;
}

uint32_t
mvt_sessions_add (mvt_sessions_t *s, uint32_t *head, uint32_t line, uint64_t remote)
{
	uint32_t place = mvt_sessions_hashed (s, line, remote);
	uint32_t end = place + MVT_SESSION_PROBES * MVT_SESSION_SLOTS;

	mvt_backed_need (&s->backed, s->backed.size);
	mvt_backed_need (&s->backed_sides, s->backed_sides.size);
	while (place < end && mvt_sessions_get (s, place).line)
		place++;
	if (place == end || s->count == s->max)
		return MVT_NONE;
	mvt_session_bucket_t *b = mvt_sessions_bucket_of (s, place);
	uint32_t slot = place % MVT_SESSION_SLOTS;
	b->rem_addr[slot] = (uint32_t) remote;
	b->state[slot] = mvt_session_state (remote, 0, 0);
	b->last[slot] = 0;
	b->line[slot] = line;
	count_passed (s, place, +1u);
	*mvt_sessions_sibling (s, place) = *head;
	*head = place;
	s->count++;
	return place;
}

void
mvt_sessions_unlink (mvt_sessions_t *s, uint32_t *link)
{
	uint32_t place = *link;

	count_passed (s, place, -1u);
	*link = *mvt_sessions_sibling (s, place);
	mvt_sessions_bucket_of (s, place)->line[place % MVT_SESSION_SLOTS] = 0;
	s->count--;
}

bool
mvt_sessions_back_ahead (mvt_sessions_t *s)
{
	return mvt_backed_ahead (&s->backed, 0, s->backed.size) ||
	       mvt_backed_ahead (&s->backed_sides, 0, s->backed_sides.size);
}

int
mvt_sessions_verify (const mvt_sessions_t *s)
{
	uint64_t passed = 0, passes = 0;
	uint32_t count = 0, places = (uint32_t) all_buckets (s) * MVT_SESSION_SLOTS;

	if (s->backed_sides.backed < s->backed_sides.size) /* none was added yet */
		return s->count == 0 ? 0 : __LINE__;
	for (uint32_t place = 0; place < places; place++)
	{
		mvt_session_t at = mvt_sessions_get (s, place);
		if (place % MVT_SESSION_SLOTS == 0)
			passed += s->sides[place / MVT_SESSION_SLOTS].passed;
		if (!at.line)
			continue;
		if (mvt_sessions_find (s, at.line, at.remote) != place)
			return __LINE__;
		passes += (place - mvt_sessions_hashed (s, at.line, at.remote)) / MVT_SESSION_SLOTS;
		count++;
	}
	return count == s->count && passed == passes ? 0 : __LINE__;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "mvt_session.h"

/* Own buckets that are backed ahead of use, in bytes. */
#define OWN_AHEAD ((size_t) 128 << 10)
/* How many of a mapping's sessions are asked whether they lie apart, before it gets an own bucket.
 */
#define APART_LOOK 16u

/* With those beyond the last bucket that a hash leads to, so that probing needs no wrap. */
static size_t
table_buckets (const mvt_sessions_t *s)
{
	return (size_t) s->n_table + MVT_SESSION_PROBES - 1;
}

static size_t
own_size (const mvt_sessions_t *s)
{
	return s->own_places / MVT_SESSION_SLOTS * sizeof *s->own;
}

mvt_sessions_t *
mvt_sessions_new (uint32_t max, const mvt_secret_t *secret, const mvt_mem_t *mem)
{
	mvt_sessions_t *s = mvt_mem_alloc (mem, sizeof *s, MVT_CACHE_LINE);
	if (!s)
		return NULL;
	s->mem = *mem;
	s->max = max;
	s->n_table = max / (MVT_SESSION_SLOTS / 2) + 1;
	s->own_places = s->n_table * MVT_SESSION_SLOTS;
	s->own_free = MVT_NONE;
	s->secret = *secret;
	size_t own = own_size (s), table = table_buckets (s) * sizeof *s->table;
	size_t sides = table_buckets (s) * sizeof *s->sides;
	s->own = mvt_mem_reserve (mem, own, MVT_CACHE_LINE, true);
	s->table = mvt_mem_reserve (mem, table, MVT_CACHE_LINE, true);
	s->sides = mvt_mem_reserve (mem, sides, MVT_CACHE_LINE, true);
	if (!s->own || !s->table || !s->sides)
	{
		mvt_sessions_remove (s);
		return NULL;
	}
	mvt_backed_init (&s->backed_own, s->own, own, mem);
	mvt_backed_init (&s->backed_table, s->table, table, mem);
	mvt_backed_init (&s->backed_sides, s->sides, sides, mem);
	return s;
}

void
mvt_sessions_remove (mvt_sessions_t *s)
{
	if (!s)
		return;
	mvt_mem_t mem = s->mem;
	mvt_mem_free (&mem, s->own, own_size (s));
	mvt_mem_free (&mem, s->table, table_buckets (s) * sizeof *s->table);
	mvt_mem_free (&mem, s->sides, table_buckets (s) * sizeof *s->sides);
	mvt_mem_free (&mem, s, sizeof *s);
}

bool
mvt_sessions_is_of (const mvt_sessions_t *s, uint32_t place, uint32_t head, uint32_t line)
{
	if (mvt_sessions_is_own (s, place))
		return place / MVT_SESSION_SLOTS == head / MVT_SESSION_SLOTS;
	return mvt_sessions_bucket (s, place)->line[place % MVT_SESSION_SLOTS] == line;
}

static bool
is_free (const mvt_sessions_t *s, uint32_t place)
{
	return mvt_sessions_bucket (s, place)->state[place % MVT_SESSION_SLOTS] == 0;
}

/* ---- finding ---- */

static bool
is_at (const mvt_sessions_t *s, uint32_t place, uint64_t remote)
{
	return !is_free (s, place) && mvt_sessions_get (s, place).remote == remote;
}

/* First place of the table's bucket that a session's hash leads to. */
static uint32_t
hashed_place (const mvt_sessions_t *s, uint32_t line, uint64_t remote)
{
	return s->own_places + mvt_sessions_hash (s, line, remote) * MVT_SESSION_SLOTS;
}

static mvt_session_side_t *
side_of (const mvt_sessions_t *s, uint32_t place)
{
	return &s->sides[(place - s->own_places) / MVT_SESSION_SLOTS];
}

static uint32_t
find_in_table (const mvt_sessions_t *s, uint32_t line, uint64_t remote)
{
	uint32_t first = hashed_place (s, line, remote);

	for (; s->in_table; first += MVT_SESSION_SLOTS)
	{
		for (uint32_t place = first; place < first + MVT_SESSION_SLOTS; place++)
			if (is_at (s, place, remote) && mvt_sessions_is_of (s, place, 0, line))
				return place;
		if (!side_of (s, first)->passed)
			break;
	}
	return MVT_NONE;
}

uint32_t
mvt_sessions_find (const mvt_sessions_t *s, uint32_t head, uint32_t line, uint64_t remote)
{
	uint32_t first = head - head % MVT_SESSION_SLOTS;

	if (mvt_sessions_is_own (s, head))
		for (uint32_t place = first; place < first + MVT_SESSION_SLOTS; place++)
			if (is_at (s, place, remote))
				return place;
	return find_in_table (s, line, remote);
}

/* ---- adding ---- */

static void
put (mvt_sessions_t *s, uint32_t *link, uint32_t place, uint64_t remote, uint32_t flags)
{
	mvt_session_bucket_t *b = mvt_sessions_bucket (s, place);
	uint32_t slot = place % MVT_SESSION_SLOTS;

	b->rem_addr[slot] = (uint32_t) remote;
	b->state[slot] = mvt_session_state (remote, 0, 0) | flags;
	b->last[slot] = 0;
	*mvt_sessions_sibling (s, place) = *link;
	*link = place;
	s->count++;
}

/* A free place of the own bucket, MVT_NONE if there is none. */
static uint32_t
free_place (const mvt_sessions_t *s, uint32_t head)
{
	uint32_t first = head - head % MVT_SESSION_SLOTS;

	for (uint32_t place = first; place < first + MVT_SESSION_SLOTS; place++)
		if (is_free (s, place))
			return place;
	return MVT_NONE;
}

/* The first place of a bucket for a mapping that has none, MVT_NONE if there is none. */
static uint32_t
take_own (mvt_sessions_t *s)
{
	uint32_t bucket = s->own_free;

	if (bucket != MVT_NONE)
		s->own_free = s->own[bucket].sibling[0];
	else if (s->own_used < s->own_places / MVT_SESSION_SLOTS)
	{
		bucket = s->own_used++;
		mvt_backed_need (&s->backed_own, s->own_used * sizeof *s->own);
	}
	return bucket == MVT_NONE ? MVT_NONE : bucket * MVT_SESSION_SLOTS;
}

/* May a mapping without own bucket have one? Not while it has sessions in the table that packets
 * ask for: they would be looked for in the bucket first. */
static bool
may_own (const mvt_sessions_t *s, uint32_t head)
{
	for (uint32_t look = 0; head != MVT_NONE && look < APART_LOOK; look++)
	{
		uint32_t slot = head % MVT_SESSION_SLOTS;
		if (!(mvt_sessions_bucket (s, head)->state[slot] & MVT_SESSION_APART))
			return false;
		head = *mvt_sessions_sibling (s, head);
	}
	return true;
}

/* The link behind the chain's sessions of the own bucket. */
static uint32_t *
behind_own (mvt_sessions_t *s, uint32_t *link)
{
	while (mvt_sessions_is_own (s, *link))
		link = mvt_sessions_sibling (s, *link);
	return link;
}

/* The buckets from the one that a session's hash leads to up to the one that it lies in: it is, or
 * is no more, beyond them. */
static void
count_passed (mvt_sessions_t *s, uint32_t place, uint32_t delta)
{
	uint32_t line = mvt_sessions_bucket (s, place)->line[place % MVT_SESSION_SLOTS];
	uint32_t bucket = mvt_sessions_hash (s, line, mvt_sessions_get (s, place).remote);

	for (; bucket < (place - s->own_places) / MVT_SESSION_SLOTS; bucket++)
		s->sides[bucket].passed += delta;
}

static uint32_t
add_to_table (mvt_sessions_t *s, uint32_t *head, uint32_t line, uint64_t remote, uint32_t flags)
{
	uint32_t place = hashed_place (s, line, remote);
	uint32_t end = place + MVT_SESSION_PROBES * MVT_SESSION_SLOTS;

	s->wants_table = true;
	mvt_backed_need (&s->backed_table, s->backed_table.size);
	mvt_backed_need (&s->backed_sides, s->backed_sides.size);
	while (place < end && !is_free (s, place))
		place++;
	if (place == end)
		return MVT_NONE;
	mvt_sessions_bucket (s, place)->line[place % MVT_SESSION_SLOTS] = line;
	put (s, behind_own (s, head), place, remote, flags);
	count_passed (s, place, +1u);
	s->in_table++;
	return place;
}

/* Too many for an own bucket. Those that find no room stay where they are, and are found. */
static void
move_to_table (mvt_sessions_t *s, uint32_t *head, uint32_t line)
{
	while (mvt_sessions_is_own (s, *head))
	{
		mvt_session_t own = mvt_sessions_get (s, *head);
		uint32_t place = add_to_table (s, head, line, own.remote, 0);
		if (place == MVT_NONE)
			return;
		mvt_sessions_set (s, place, own.tcp_state, own.tclass, own.last);
		mvt_sessions_unlink (s, head);
	}
}

uint32_t
mvt_sessions_add (mvt_sessions_t *s, uint32_t *head, uint32_t line, uint64_t remote, bool apart)
{
	uint32_t place = MVT_NONE;

	if (s->count == s->max)
		return MVT_NONE;
	if (apart)
		return add_to_table (s, head, line, remote, MVT_SESSION_APART);
	if (mvt_sessions_is_own (s, *head))
		place = free_place (s, *head);
	else if (may_own (s, *head))
		place = take_own (s);
	if (place != MVT_NONE)
	{
		put (s, head, place, remote, 0);
		s->wants_table |= free_place (s, place) == MVT_NONE;
		return place;
	}
	move_to_table (s, head, line);
	return add_to_table (s, head, line, remote, 0);
}

/* ---- removing ---- */

void
mvt_sessions_unlink (mvt_sessions_t *s, uint32_t *link)
{
	uint32_t place = *link, bucket = place / MVT_SESSION_SLOTS;

	*link = *mvt_sessions_sibling (s, place);
	if (!mvt_sessions_is_own (s, place))
	{
		count_passed (s, place, -1u);
		s->in_table--;
	}
	mvt_sessions_bucket (s, place)->state[place % MVT_SESSION_SLOTS] = 0;
	s->count--;
	if (mvt_sessions_is_own (s, place) && !mvt_sessions_any (s->own[bucket].state))
	{
		s->own[bucket].sibling[0] = s->own_free;
		s->own_free = bucket;
	}
}

bool
mvt_sessions_back_ahead (mvt_sessions_t *s)
{
	if (mvt_backed_ahead (&s->backed_own, s->own_used * sizeof *s->own, OWN_AHEAD))
		return true;
	return s->wants_table && (mvt_backed_ahead (&s->backed_table, 0, s->backed_table.size) ||
				  mvt_backed_ahead (&s->backed_sides, 0, s->backed_sides.size));
}

/* ---- invariants ---- */

static uint32_t
used_places (const mvt_session_bucket_t *b)
{
	uint32_t n = 0;

	for (uint32_t slot = 0; slot < MVT_SESSION_SLOTS; slot++)
		n += b->state[slot] != 0;
	return n;
}

static int
verify_own (const mvt_sessions_t *s)
{
	uint32_t count = 0, empty = 0, chained = 0;

	for (uint32_t bucket = 0; bucket < s->own_used; bucket++)
	{
		uint32_t n = used_places (&s->own[bucket]);
		count += n;
		empty += n == 0;
	}
	for (uint32_t b = s->own_free; b != MVT_NONE && chained <= empty; b = s->own[b].sibling[0])
	{
		if (b >= s->own_used || used_places (&s->own[b]))
			return __LINE__;
		chained++;
	}
	return count == s->count - s->in_table && chained == empty ? 0 : __LINE__;
}

static int
verify_table (const mvt_sessions_t *s)
{
	uint64_t passed = 0, passes = 0;
	uint32_t count = 0;

	if (s->backed_sides.backed < s->backed_sides.size) /* none was ever added */
		return s->in_table == 0 ? 0 : __LINE__;
	for (size_t i = 0; i < table_buckets (s) * MVT_SESSION_SLOTS; i++)
	{
		uint32_t place = s->own_places + (uint32_t) i;
		uint32_t line = s->table[i / MVT_SESSION_SLOTS].line[i % MVT_SESSION_SLOTS];
		if (i % MVT_SESSION_SLOTS == 0)
			passed += side_of (s, place)->passed;
		if (is_free (s, place))
			continue;
		uint64_t remote = mvt_sessions_get (s, place).remote;
		if (find_in_table (s, line, remote) != place)
			return __LINE__;
		passes += i / MVT_SESSION_SLOTS - mvt_sessions_hash (s, line, remote);
		count++;
	}
	return count == s->in_table && passed == passes ? 0 : __LINE__;
}

int
mvt_sessions_verify (const mvt_sessions_t *s)
{
	int rc = verify_own (s);
	return rc ? rc : verify_table (s);
}

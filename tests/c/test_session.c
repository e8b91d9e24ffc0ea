/* SPDX-License-Identifier: Apache-2.0
 *
 * Further sessions against a plain array, up to full and while sessions come and go, few and many
 * of a mapping.
 */
#include "pool_fixture.h"

#include "mvt_session.h"

enum
{
	MAX = 3000,
	MAPPINGS = 500, /* lines 65,536 apart, so that many keys differ in few bits */
	STEPS = 200000
};

typedef struct
{
	uint32_t line;
	uint64_t remote;
} key_model_t;

static fixture_mem_t counts;
static mvt_mem_t mem;

static mvt_sessions_t *
sessions_new (uint32_t max)
{
	const uint64_t seed[2] = { 5, 6 };
	mvt_secret_t secret;
	mvt_sessions_t *s;

	counts = (fixture_mem_t){ .refuse_after = -1 };
	mem = (mvt_mem_t){ .alloc = fixture_alloc, .free = fixture_free, .ctx = &counts };
	mvt_secret_init (&secret, seed);
	s = mvt_sessions_new (max, &secret, &mem);
	assert_non_null (s);
	return s;
}

static key_model_t
random_key (uint64_t *random)
{
	uint32_t m = 1 + mvt_random_below (random, MAPPINGS);
	uint32_t range = m % 2 ? 2 : 4; /* every second one has few enough for an own bucket */
	uint32_t addr = 0xcb007100 + mvt_random_below (random, range);

	return (key_model_t){ m << 16, mvt_session_remote (
					       addr, (uint16_t) mvt_random_below (random, range)) };
}

enum
{
	TCP_STATE = 7,
	TCLASS = 3
};

/* A session that lies apart, as permissions do: those of port 0. */
static bool
is_apart (uint64_t remote)
{
	return remote >> 32 == 0;
}

/* Would the hit path find it in the one bucket that it looks at? */
static bool
is_hit (const mvt_sessions_t *s, uint32_t head, uint32_t line, uint64_t remote, uint32_t now)
{
	bool own = mvt_sessions_is_own (s, head);
	const mvt_session_bucket_t *b =
		own ? mvt_sessions_own (s, head) : &s->table[mvt_sessions_hash (s, line, remote)];
	uint32_t state = mvt_session_state (remote, TCP_STATE, TCLASS);
	mvt_session_words_t of = mvt_sessions_fresh (b, remote, state, now);

	if (!own)
		of &= (mvt_session_words_t) (b->line == line);
	return mvt_sessions_any (of) != 0;
}

/* The chain from heads[m] holds what the model has of this mapping, each once. */
static uint32_t
chain_length (mvt_sessions_t *s, uint32_t head, uint32_t line)
{
	uint32_t n = 0, first = head;

	for (; head != MVT_NONE; head = *mvt_sessions_sibling (s, head), n++)
		assert_true (mvt_sessions_is_of (s, head, first, line));
	return n;
}

static void
test_against_model (void **state)
{
	static bool model[MAPPINGS + 1][4][4];
	static uint32_t heads[MAPPINGS + 1], lengths[MAPPINGS + 1], last[MAPPINGS + 1][4][4];
	mvt_sessions_t *s = sessions_new (MAX);
	uint64_t random = 7;
	uint32_t count = 0, refused = 0, hits = 0, in_own = 0, in_table = 0;

	(void) state;
	for (uint32_t i = 0; i <= MAPPINGS; i++)
		heads[i] = MVT_NONE;
	for (uint32_t step = 0; step < STEPS; step++)
	{
		key_model_t k = random_key (&random);
		uint32_t m = k.line >> 16, *set = &last[m][k.remote & 3][k.remote >> 32];
		bool apart = is_apart (k.remote);
		bool *is_there = &model[m][k.remote & 3][k.remote >> 32];
		uint32_t found = mvt_sessions_find (s, heads[m], k.line, k.remote);

		assert_int_equal (found != MVT_NONE, *is_there);
		if (*is_there)
		{
			mvt_session_t is = mvt_sessions_get (s, found);
			assert_true (is.remote == k.remote && is.last == *set &&
				     is.tcp_state == TCP_STATE && is.tclass == TCLASS);
			in_own += mvt_sessions_is_own (s, found);
			in_table += !mvt_sessions_is_own (s, found);
		}
		if (is_hit (s, heads[m], k.line, k.remote, *set))
		{
			assert_true (*is_there && !apart);
			assert_false (is_hit (s, heads[m], k.line, k.remote, *set + 1));
			hits++;
		}
		/* mostly growing, then mostly shrinking */
		if (found == MVT_NONE &&
		    mvt_random_below (&random, 8) >= (step / 20000 % 2 ? 5 : 1))
		{
			found = mvt_sessions_add (s, &heads[m], k.line, k.remote, apart);
			*is_there = found != MVT_NONE;
			assert_int_equal (*is_there, count < MAX);
			refused += !*is_there;
			count += *is_there;
			lengths[m] += *is_there;
			if (*is_there)
				mvt_sessions_set (s, found, TCP_STATE, TCLASS, *set = step);
		}
		else if (*is_there && mvt_random_below (&random, 8) >= (step / 20000 % 2 ? 1 : 6))
		{
			uint32_t *link = &heads[m];
			while (*link != found)
				link = mvt_sessions_sibling (s, *link);
			mvt_sessions_unlink (s, link);
			*is_there = false;
			count--;
			lengths[m]--;
		}
		assert_int_equal (mvt_sessions_count (s), count);
		if (step % 5000 == 0)
		{
			assert_int_equal (mvt_sessions_verify (s), 0);
			for (uint32_t i = 1; i <= MAPPINGS; i++)
				assert_int_equal (chain_length (s, heads[i], i << 16), lengths[i]);
		}
	}
	assert_true (refused > 0); /* it was full, and every place could be reached */
	/* both kinds of bucket were used, and a hit is what nearly every packet is */
	assert_true (in_own > STEPS / 20 && in_table > STEPS / 20);
	assert_true (hits > STEPS / 4);
	mvt_sessions_remove (s);
	assert_int_equal (counts.live, 0);
}

/* Mappings of one further session each: when no own bucket is left, the table serves, and a bucket
 * that is free again has a new owner. */
static void
test_own_buckets_run_out (void **state)
{
	enum
	{
		N = 64
	};
	mvt_sessions_t *s = sessions_new (N);
	const uint64_t remote = mvt_session_remote (0xcb007101, 443);
	uint32_t heads[N], own = 0, again = 0;

	(void) state;
	for (uint32_t i = 0; i < N; i++)
	{
		heads[i] = MVT_NONE;
		assert_int_not_equal (mvt_sessions_add (s, &heads[i], i + 1, remote, false),
				      MVT_NONE);
		own += mvt_sessions_is_own (s, heads[i]);
	}
	assert_in_range (own, N / 2, N - 1);
	assert_int_equal (mvt_sessions_verify (s), 0);
	for (uint32_t i = 0; i < N; i++)
	{
		assert_int_equal (mvt_sessions_find (s, heads[i], i + 1, remote), heads[i]);
		mvt_sessions_unlink (s, &heads[i]);
		assert_int_equal (heads[i], MVT_NONE);
	}
	assert_int_equal (mvt_sessions_verify (s), 0);
	for (uint32_t i = 0; i < N; i++)
	{
		mvt_sessions_add (s, &heads[i], i + 1, remote, false);
		again += mvt_sessions_is_own (s, heads[i]);
	}
	assert_int_equal (again, own);
	assert_int_equal (mvt_sessions_verify (s), 0);
	mvt_sessions_remove (s);
	assert_int_equal (counts.live, 0);
}

/* What lies apart leaves a mapping its own bucket, before and after; a fifth session moves all but
 * that to the table, with what is known of them. */
static void
test_moves_to_the_table (void **state)
{
	mvt_sessions_t *s = sessions_new (MAX);
	const uint64_t permission = mvt_session_remote (0xcb007101, 0);
	uint32_t head = MVT_NONE, line = 7, n = 0;

	(void) state;
	assert_int_not_equal (mvt_sessions_add (s, &head, line, permission, true), MVT_NONE);
	assert_false (mvt_sessions_is_own (s, head));
	for (uint16_t port = 1; port <= MVT_SESSION_SLOTS + 1; port++)
	{
		uint64_t remote = mvt_session_remote (0xcb007101, port);
		uint32_t place = mvt_sessions_add (s, &head, line, remote, false);
		mvt_sessions_set (s, place, TCP_STATE, TCLASS, port);
		assert_int_equal (mvt_sessions_is_own (s, head), port <= MVT_SESSION_SLOTS);
	}
	for (uint16_t port = 1; port <= MVT_SESSION_SLOTS + 1; port++)
		assert_true (is_hit (s, head, line, mvt_session_remote (0xcb007101, port), port));
	assert_int_not_equal (mvt_sessions_find (s, head, line, permission), MVT_NONE);
	assert_int_equal (mvt_sessions_verify (s), 0);
	for (; head != MVT_NONE; n++)
		mvt_sessions_unlink (s, &head);
	assert_int_equal (n, MVT_SESSION_SLOTS + 2);
	assert_int_equal (mvt_sessions_verify (s), 0);
	mvt_sessions_remove (s);
}

static void
test_refused_memory (void **state)
{
	const uint64_t seed[2] = { 5, 6 };
	mvt_secret_t secret;

	(void) state;
	mvt_secret_init (&secret, seed);
	for (int i = 0; i < 4; i++)
	{
		counts = (fixture_mem_t){ .refuse_after = i };
		mem = (mvt_mem_t){ .alloc = fixture_alloc, .free = fixture_free, .ctx = &counts };
		assert_null (mvt_sessions_new (MAX, &secret, &mem));
		assert_int_equal (counts.live, 0);
	}
}

int
main (void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test (test_against_model),
		cmocka_unit_test (test_own_buckets_run_out),
		cmocka_unit_test (test_moves_to_the_table),
		cmocka_unit_test (test_refused_memory),
	};
	return cmocka_run_group_tests (tests, NULL, NULL);
}

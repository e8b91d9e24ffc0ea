/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of further sessions against a plain array, up to full and while sessions come and go.
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
	uint32_t line = (1 + mvt_random_below (random, MAPPINGS)) << 16;
	uint32_t addr = 0xcb007100 + mvt_random_below (random, 4);

	return (key_model_t){ line,
			      mvt_session_remote (addr, (uint16_t) mvt_random_below (random, 4)) };
}

/* The chain from heads[m] holds what the model has of this mapping, each once. */
static uint32_t
chain_length (mvt_sessions_t *s, uint32_t head, uint32_t line)
{
	uint32_t n = 0;

	for (; head != MVT_NONE; head = *mvt_sessions_sibling (s, head), n++)
		assert_int_equal (mvt_sessions_get (s, head).line, line);
	return n;
}

static void
test_against_model (void **state)
{
	static bool model[MAPPINGS + 1][4][4];
	static uint32_t heads[MAPPINGS + 1], lengths[MAPPINGS + 1];
	mvt_sessions_t *s = sessions_new (MAX);
	uint64_t random = 7;
	uint32_t count = 0, refused = 0;

	(void) state;
	for (uint32_t i = 0; i <= MAPPINGS; i++)
		heads[i] = MVT_NONE;
	for (uint32_t step = 0; step < STEPS; step++)
	{
		key_model_t k = random_key (&random);
		uint32_t m = k.line >> 16;
		bool *is_there = &model[m][k.remote & 3][k.remote >> 32];
		uint32_t found = mvt_sessions_find (s, k.line, k.remote);

		assert_int_equal (found != MVT_NONE, *is_there);
		/* mostly growing, then mostly shrinking */
		if (found == MVT_NONE &&
		    mvt_random_below (&random, 8) >= (step / 20000 % 2 ? 5 : 1))
		{
			found = mvt_sessions_add (s, &heads[m], k.line, k.remote);
			*is_there = found != MVT_NONE;
			assert_int_equal (*is_there, count < MAX);
			refused += !*is_there;
			count += *is_there;
			lengths[m] += *is_there;
			if (*is_there)
				mvt_sessions_set (s, found, 7, 3, step);
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
	mvt_sessions_remove (s);
	assert_int_equal (counts.live, 0);
}

static void
test_refused_memory (void **state)
{
	const uint64_t seed[2] = { 5, 6 };
	mvt_secret_t secret;

	(void) state;
	mvt_secret_init (&secret, seed);
	for (int i = 0; i < 3; i++)
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
		cmocka_unit_test (test_refused_memory),
	};
	return cmocka_run_group_tests (tests, NULL, NULL);
}
